/*
 * What many idle connections cost: bench-many [--at-once COUNT] HOST PORT CONNECTIONS CHANNELS IDLE_SECONDS
 *
 * Opens CONNECTIONS with a channel each, COUNT of them (default 1000) on their way at a time; then CHANNELS - 1 more channels on each,
 * as many at a time; and then does nothing for a while. Prints one line: memory of this process and of lago's allocator by connection
 * and by further channel, what opening took, and what doing nothing costs. BENCH_CACERT: by TLS, with a broker of this certificate.
 */
#include "report.h"
#include <lago.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#define AT_ONCE     1000u /* what a listening socket's queue takes, and an application would do */
#define HEARTBEAT_S 60

static struct many {
    lago_parameters_t parameters;
    lago_tls_options_t tls;
    lago_context_t *context;
    uv_loop_t *loop;
    lago_connection_t **connections;
    size_t count, channels, at_once;
    size_t wanted, connections_begun, channels_begun, channels_opened; /* channels, but for the second */
    unsigned idle_ms;
    size_t live; /* octets of lago's allocator */
    uint64_t wakes, events;
} many = { .at_once = AT_ONCE };

static void die(const char *what, int rc) {
    fprintf(stderr, "bench-many: %s: %s\n", what, lago_strerror(rc));
    exit(1);
}

/* ---------------------------------------------------------------- memory */

/* What malloc has set aside, its rounding up included. */
static void *counting_malloc(size_t size, void *data) {
    void *pointer = malloc(size);
    (void)data;
    many.live += malloc_usable_size(pointer);
    return pointer;
}

static void *counting_realloc(void *pointer, size_t size, void *data) {
    size_t before = malloc_usable_size(pointer);
    void *moved = realloc(pointer, size);
    (void)data;
    if (moved != NULL) many.live += malloc_usable_size(moved) - before;
    return moved;
}

static void counting_free(void *pointer, void *data) {
    (void)data;
    many.live -= malloc_usable_size(pointer);
    free(pointer);
}

/* Octets of this process in memory. */
static size_t resident(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1) pages = 0;
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

struct state {
    struct bench_mark mark;
    size_t resident, live;
};

static struct state state_now(void) { return (struct state){ bench_mark(), resident(), many.live }; }

static double cpu_ms(const struct state *from, const struct state *to) {
    return (to->mark.user + to->mark.system - from->mark.user - from->mark.system) * 1e3;
}

/* ---------------------------------------------------------------- connections and channels */

static void begin_some(void);

static void on_channel(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    if (reason) die("channel.open", reason->code);
    if (++many.channels_opened == many.channels_begun) uv_stop(many.loop); /* unless there are more, it is done */
    begin_some();
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    char words[512];
    (void)conn, (void)data;
    lago_reason_format(reason, words, sizeof words);
    fprintf(stderr, "bench-many: %s\n", words);
    exit(1);
}

static void open_channel(lago_connection_t *conn) {
    static const lago_channel_options_t options = { .on_open = on_channel };
    lago_channel_t *ch;
    int rc = lago_channel_open(conn, &options, &ch);
    if (rc < 0) die("lago_channel_open", rc);
}

static lago_connection_t *connect_one(void) {
    lago_connection_options_t options = {
        .parameters = &many.parameters, .context = many.context, .on_open_error = on_end, .on_close = on_end
    };
    lago_connection_t **conn = &many.connections[many.connections_begun++];
    int rc = lago_connect(many.loop, NULL, &options, conn);
    if (rc < 0) die("lago_connect", rc);
    return *conn;
}

/* The first channel of a connection is opened with it, and the further ones when all have their first. */
static void begin_some(void) {
    for (; many.channels_begun < many.wanted && many.channels_begun - many.channels_opened < many.at_once; many.channels_begun++)
        open_channel(many.channels_begun < many.count ? connect_one() : many.connections[many.channels_begun % many.count]);
}

static void open_channels(size_t count) {
    many.wanted = count;
    if (many.channels_opened == count) return;
    begin_some();
    while (many.channels_opened < count) uv_run(many.loop, UV_RUN_DEFAULT);
}

/* ---------------------------------------------------------------- doing nothing */

static void on_check(uv_check_t *check) {
    (void)check;
    many.wakes++;
}

static void on_timer(uv_timer_t *timer) { uv_stop(timer->loop); }

static void idle(void) {
    uv_timer_t timer;
    uv_timer_init(many.loop, &timer);
    uv_timer_start(&timer, on_timer, many.idle_ms, 0);
    many.wakes = 0;
    uv_run(many.loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(many.loop, UV_RUN_NOWAIT);
}

/* ---------------------------------------------------------------- the line */

static double per(size_t more, size_t less, size_t count) { return count ? ((double)more - (double)less) / (double)count : 0; }

static void report(const struct state states[4]) {
    const struct state *none = &states[0], *connected = &states[1], *full = &states[2], *idled = &states[3];
    size_t further = many.count * (many.channels - 1);
    printf("peer=lago connections=%zu channels=%zu rss_b=%.0f rss_more_b=%.0f alloc_b=%.0f", many.count, many.channels,
           per(connected->resident, 0, many.count), per(connected->resident, none->resident, many.count),
           per(connected->live, none->live, many.count));
    printf(" channel_rss_b=%.0f channel_alloc_b=%.0f", per(full->resident, connected->resident, further),
           per(full->live, connected->live, further));
    printf(" open_s=%.3f open_cpu_us=%.1f", connected->mark.wall - none->mark.wall,
           cpu_ms(none, connected) * 1e3 / (double)many.count);
    double seconds = idled->mark.wall - full->mark.wall;
    printf(" idle_s=%.1f idle_cpu_ms_s=%.3f idle_wakes_s=%.1f idle_rss_b=%.0f idle_alloc_b=%.0f\n", seconds,
           cpu_ms(full, idled) / seconds, (double)many.wakes / seconds, per(idled->resident, full->resident, many.count),
           per(idled->live, full->live, many.count));
}

static bool read_arguments(int argc, char **argv) {
    int at = 1;
    if (argc > 2 && strcmp(argv[1], "--at-once") == 0) {
        many.at_once = strtoull(argv[2], NULL, 10);
        at = 3;
    }
    if (argc - at != 5) return false;
    many.tls.ca_file = getenv("BENCH_CACERT");
    many.parameters = (lago_parameters_t){ .host = argv[at],
                                           .port = (uint16_t)atoi(argv[at + 1]),
                                           .heartbeat_s = HEARTBEAT_S,
                                           .tls = many.tls.ca_file != NULL ? &many.tls : NULL };
    many.count = strtoull(argv[at + 2], NULL, 10);
    many.channels = strtoull(argv[at + 3], NULL, 10);
    many.idle_ms = (unsigned)(atof(argv[at + 4]) * 1e3);
    many.connections = calloc(many.count, sizeof *many.connections);
    return many.count > 0 && many.channels > 0 && many.at_once > 0 && many.connections != NULL;
}

static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
    lago_context_options_t options = { .allocator = { counting_malloc, counting_realloc, counting_free, NULL } };
    struct state states[4];
    uv_check_t check;
    if (!read_arguments(argc, argv)) {
        fprintf(stderr, "usage: bench-many [--at-once COUNT] HOST PORT CONNECTIONS CHANNELS IDLE_SECONDS\n");
        return 2;
    }
    raise_file_limit();
    many.loop = uv_default_loop();
    uv_check_init(many.loop, &check);
    uv_check_start(&check, on_check);
    uv_unref((uv_handle_t *)&check);
    int rc = lago_context_new(many.loop, &options, &many.context);
    if (rc < 0) die("lago_context_new", rc);
    states[0] = state_now();
    open_channels(many.count);
    states[1] = state_now();
    open_channels(many.count * many.channels);
    states[2] = state_now();
    idle();
    states[3] = state_now();
    report(states);
    for (size_t i = 0; i < many.count; i++) lago_connection_free(many.connections[i]);
    lago_context_free(many.context);
    uv_close((uv_handle_t *)&check, NULL);
    uv_run(many.loop, UV_RUN_DEFAULT);
    free(many.connections);
    if (many.live != 0) fprintf(stderr, "bench-many: %zu octets were not given back\n", many.live);
    return many.live != 0;
}
