/*
 * lago-perf: how many messages a second a broker takes and gives, and how old they are when they arrive.
 *
 *   lago-perf [-x PRODUCERS] [-y CONSUMERS] [-u QUEUE] [-e EXCHANGE] [-k KEY] [-s SIZE] [-c WINDOW] [-q PREFETCH] [-a] [-f FLAG]...
 *             [-z SECONDS] [-C COUNT] [-D COUNT] [-r RATE] [--json] [--svg FILE]
 *
 * By the flags of RabbitMQ's PerfTest, and in its words. One process with one thread: both ends have the same clock. The first
 * connection sets up and then only waits; each producer and consumer has its own.
 */
#include "perf.h"
#include "arguments.h"
#include "options.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAXIMUM        (128 << 20) /* what RabbitMQ 3.10 takes at most */
#define CONNECTIONS_MAXIMUM 65536       /* more than a process has descriptors for */
#define CHANNELS_MAXIMUM    2047        /* RabbitMQ's channel_max */

static perf_t perf = {
    .settings = { .producers = 1,
                  .consumers = 1,
                  .producer_channels = 1,
                  .consumer_channels = 1,
                  .exchange_type = "direct",
                  .window = -1,
                  .auto_delete = true,
                  .interval_s = 1 },
};
static char *queue_arguments, *auto_delete, *chart_path, **flags;
static lago_table_builder_t *table;
static FILE *chart;
static uv_timer_t every_interval, at_the_end;
static bool has_timers, has_begun;
static int done_producers, done_consumers;
static int awaited;             /* what must come before the next step */
static void (*next_step)(void); /* when it has */

/* ---------------------------------------------------------------- the end */

/* From here on nothing is counted. */
static void stop_counting(const char *why) {
    if (perf.is_over) return;
    perf.is_over = true;
    if (has_begun) report_end(uv_hrtime(), why);
}

static void stop(const char *why) {
    stop_counting(why);
    program_close(&perf.program);
}

static void on_stop(program_t *p) {
    (void)p;
    stop("Interrupted");
}

void perf_on_channel_end(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    stop_counting("Failed");
    program_fail(&perf.program, "a channel has ended", reason);
}

void perf_on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    if (reason) perf_on_channel_end(ch, reason, data);
}

/* Each side that has a limit must have come to it. */
static void check_limits(const char *why) {
    const perf_settings_t *s = &perf.settings;
    bool produces = s->publishes > 0 && done_producers < s->producers * s->producer_channels;
    bool consumes = s->consumes > 0 && done_consumers < s->consumers * s->consumer_channels;
    if (!produces && !consumes) stop(why);
}

void perf_producer_is_done(perf_t *ours) {
    (void)ours;
    done_producers++;
    check_limits("Producer reached message limit");
}

void perf_consumer_is_done(perf_t *ours) {
    (void)ours;
    done_consumers++;
    check_limits("Consumer reached message limit");
}

static void close_timers(void) {
    if (!has_timers) return;
    uv_close((uv_handle_t *)&every_interval, NULL);
    uv_close((uv_handle_t *)&at_the_end, NULL);
}

static void on_time(uv_timer_t *timer) {
    (void)timer;
    stop("Reached time limit");
}

static void on_interval(uv_timer_t *timer) {
    (void)timer;
    if (perf.is_over) return;
    if (program_is_ending(&perf.program))
        stop_counting("Failed");
    else
        report_interval(uv_hrtime());
}

/* ---------------------------------------------------------------- the run */

static void run(void) {
    uint64_t now = uv_hrtime(), interval_ms = (uint64_t)perf.settings.interval_s * 1000;
    program_connected(&perf.program);
    if (perf.is_over) return;
    if (perf.began == 0) perf.began = now;
    report_begin(&perf, chart != NULL);
    has_begun = true;
    uv_update_time(&perf.program.loop);
    uv_timer_start(&every_interval, on_interval, interval_ms, interval_ms);
    if (perf.settings.time_s > 0) uv_timer_start(&at_the_end, on_time, (uint64_t)perf.settings.time_s * 1000, 0);
    producers_begin(now);
}

/* ---------------------------------------------------------------- coming up, step by step */

static void await(int count, void (*step)(void)) {
    awaited = count;
    next_step = step;
    if (count == 0) step();
}

void perf_one_is_ready(perf_t *ours) {
    (void)ours;
    if (--awaited == 0 && !program_is_ending(&perf.program)) next_step();
}

static void connect_producers(void) {
    bool is_good = producers_connect(&perf);
    if (is_good) await(perf.settings.producers * perf.settings.producer_channels, run);
}

/* They are there before the first message is. */
static void connect_consumers(void) {
    bool is_good = consumers_connect(&perf);
    if (is_good) await(perf.settings.consumers * perf.settings.consumer_channels, connect_producers);
}

static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch, (void)ok, (void)data;
    if (reason) program_fail(&perf.program, "cannot declare the queue", reason);
}

static void on_bound(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    if (reason) program_fail(&perf.program, "cannot bind the queue", reason);
}

bool perf_declare_queue(perf_t *ours, lago_channel_t *ch) {
    const perf_settings_t *s = &ours->settings;
    lago_queue_declare_t declare = {
        .queue = s->queue,
        .durable = s->persistent,
        .auto_delete = s->auto_delete,
        .arguments = arguments_table(table),
    };
    lago_queue_bind_t bind = { .queue = s->queue, .exchange = s->exchange, .routing_key = s->routing_key };
    if (s->predeclared) return true;
    if (!program_took(&ours->program, "cannot declare the queue", lago_queue_declare(ch, &declare, on_declared, NULL)))
        return false;
    if (!*s->exchange) return true;
    return program_took(&ours->program, "cannot bind the queue", lago_queue_bind(ch, &bind, on_bound, NULL));
}

static void on_exchange_declared(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    if (reason) program_fail(&perf.program, "cannot declare the exchange", reason);
}

/* Those of the broker are there. */
static bool declare_exchange(program_t *p) {
    const perf_settings_t *s = &perf.settings;
    lago_exchange_declare_t declare = { .exchange = s->exchange, .exchange_type = s->exchange_type };
    if (s->predeclared || !*s->exchange || strncmp(s->exchange, "amq.", 4) == 0) return true;
    return program_took(p, "cannot declare the exchange", lago_exchange_declare(p->ch, &declare, on_exchange_declared, NULL));
}

static void on_set_up(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    if (reason)
        program_fail(&perf.program, "cannot set up", reason);
    else
        perf_one_is_ready(&perf);
}

/* The last answer says that all is there, whatever was asked for. */
static void start(program_t *p) {
    const perf_settings_t *s = &perf.settings;
    uv_timer_init(&p->loop, &every_interval);
    uv_timer_init(&p->loop, &at_the_end);
    has_timers = true;
    await(1, connect_consumers);
    if (!declare_exchange(p)) return;
    if (s->consumers == 0 && s->queue && !perf_declare_queue(&perf, p->ch)) return;
    program_took(p, "cannot set up", lago_basic_qos(p->ch, &(lago_basic_qos_t){ .prefetch_count = 1 }, on_set_up, NULL));
}

/* ---------------------------------------------------------------- the command line */

static void check_range(const char *option, long long value, long long least, long long most) {
    if (value < least || value > most) options_fail("%s must be a number from %lld to %lld", option, least, most);
}

static void check_numbers(const perf_settings_t *s) {
    check_range("--producers", s->producers, 0, CONNECTIONS_MAXIMUM);
    check_range("--consumers", s->consumers, 0, CONNECTIONS_MAXIMUM);
    check_range("--producer-channel-count", s->producer_channels, 1, CHANNELS_MAXIMUM);
    check_range("--consumer-channel-count", s->consumer_channels, 1, CHANNELS_MAXIMUM);
    check_range("--size", s->size, 0, SIZE_MAXIMUM);
    if (s->window != -1) check_range("--confirm", s->window, 1, INT32_MAX);
    check_range("--qos", s->prefetch, 0, UINT16_MAX);
    check_range("--multi-ack-every", s->ack_every, 0, s->prefetch > 0 ? s->prefetch : INT32_MAX);
    check_range("--time", s->time_s, 0, INT32_MAX);
    check_range("--interval", s->interval_s, 1, 86400);
    check_range("--pmessages", s->publishes, 0, INT64_MAX);
    check_range("--cmessages", s->consumes, 0, INT64_MAX);
    if (!(s->rate >= 0 && s->rate <= 1e9)) options_fail("--rate must be a number from 0 to 1000000000");
    if (s->producers == 0 && s->consumers == 0) options_fail("--producers and --consumers are both 0: nothing to do");
}

static void read_flags(perf_settings_t *s) {
    for (char **flag = flags; flag && *flag; flag++) {
        if (strcmp(*flag, "persistent") == 0)
            s->persistent = true;
        else if (strcmp(*flag, "mandatory") == 0)
            s->mandatory = true;
        else
            options_fail("--flag must be persistent or mandatory");
    }
    if (!auto_delete) return;
    s->auto_delete = strcmp(auto_delete, "true") == 0;
    if (!s->auto_delete && strcmp(auto_delete, "false") != 0) options_fail("--auto-delete must be true or false");
}

/* name=value,name=value */
static void read_queue_arguments(void) {
    char *rest = NULL, *one = queue_arguments ? strtok_r(queue_arguments, ",", &rest) : NULL;
    size_t count = 0;
    char **all = calloc(queue_arguments ? strlen(queue_arguments) + 2 : 1, sizeof *all);
    if (!all) options_fail("out of memory");
    for (; one; one = strtok_r(NULL, ",", &rest)) all[count++] = one;
    table = arguments_parse(all);
    free(all);
}

static void fill_defaults(perf_settings_t *s) {
    static char id[64], key[64];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(id, sizeof id, "test-%H%M%S", localtime(&now.tv_sec));
    snprintf(id + strlen(id), sizeof id - strlen(id), "-%03ld", now.tv_nsec / 1000000);
    snprintf(key, sizeof key, "lago-perf-%llx-%lx", (unsigned long long)uv_hrtime(), (unsigned long)getpid());
    perf.run = (uint32_t)(uv_hrtime() * 2654435761u) ^ (uint32_t)getpid();
    if (!s->id) s->id = id;
    if (!s->exchange) s->exchange = s->exchange_type;
    if (!s->routing_key) s->routing_key = !*s->exchange && s->queue ? s->queue : key;
    if (s->size < PERF_STAMP_SIZE) s->size = PERF_STAMP_SIZE;
}

static void check_settings(perf_settings_t *s) {
    bool needs_name = s->predeclared || (s->exchange && !*s->exchange);
    check_numbers(s);
    if (needs_name && !s->queue && s->consumers > 0) options_fail("--predeclared, and --exchange \"\", need --queue");
    read_flags(s);
    read_queue_arguments();
    fill_defaults(s);
    if (!chart_path) return;
    chart = fopen(chart_path, "w"); /* better now than after an hour */
    if (!chart) options_fail("cannot write to %s: %s", chart_path, strerror(errno));
}

static void write_chart(void) {
    size_t count;
    const perf_sample_t *samples = report_samples(&count);
    if (!chart) return;
    chart_write(chart, &perf.settings, samples, count);
    bool is_good = fflush(chart) == 0 && !ferror(chart);
    if ((fclose(chart) != 0 || !is_good)) program_complain(&perf.program, "cannot write to %s: %s", chart_path, strerror(errno));
}

static void read_options(int argc, char **argv) {
    perf_settings_t *s = &perf.settings;
    struct poptOption known[] = {
        { "producers", 'x', POPT_ARG_INT, &s->producers, 0, "how many producers, each with its own connection; default 1",
          "count" },
        { "consumers", 'y', POPT_ARG_INT, &s->consumers, 0, "how many consumers, likewise; default 1", "count" },
        { "producer-channel-count", 'X', POPT_ARG_INT, &s->producer_channels, 0, "channels of each producer; default 1",
          "count" },
        { "consumer-channel-count", 'Y', POPT_ARG_INT, &s->consumer_channels, 0, "channels of each consumer; default 1",
          "count" },
        { "queue", 'u', POPT_ARG_STRING, &s->queue, 0, "the queue; default: one for each consumer, named by the broker",
          "queue" },
        { "exchange", 'e', POPT_ARG_STRING, &s->exchange, 0, "the exchange; default: named like its type", "exchange" },
        { "type", 't', POPT_ARG_STRING, &s->exchange_type, 0, "its type; default direct", "type" },
        { "routing-key", 'k', POPT_ARG_STRING, &s->routing_key, 0, "the routing key; default: a new one", "routing key" },
        { "size", 's', POPT_ARG_INT, &s->size, 0, "of a body in bytes, at least 12", "bytes" },
        { "confirm", 'c', POPT_ARG_INT, &s->window, 0, "have publishes confirmed; so many may be without one", "count" },
        { "qos", 'q', POPT_ARG_INT, &s->prefetch, 0, "prefetch count of each consumer; default: no limit", "count" },
        { "autoack", 'a', POPT_ARG_VAL, &s->auto_ack, 1, "consume without acknowledgements", NULL },
        { "multi-ack-every", 'A', POPT_ARG_INT, &s->ack_every, 0, "acknowledge so many at once", "count" },
        { "rate", 'r', POPT_ARG_DOUBLE, &s->rate, 0, "messages per second of each producer; default: no limit", "rate" },
        { "time", 'z', POPT_ARG_INT, &s->time_s, 0, "end after so many seconds", "seconds" },
        { "pmessages", 'C', POPT_ARG_LONGLONG, &s->publishes, 0, "end when each producer has published so many", "count" },
        { "cmessages", 'D', POPT_ARG_LONGLONG, &s->consumes, 0, "end when each consumer has received so many", "count" },
        { "flag", 'f', POPT_ARG_ARGV, &flags, 0, "persistent (the queue is durable then), mandatory; several times for both",
          "flag" },
        { "auto-delete", '\0', POPT_ARG_STRING, &auto_delete, 0, "whether the queue goes with its last consumer; default true",
          "true|false" },
        { "queue-args", '\0', POPT_ARG_STRING, &queue_arguments, 0, "arguments of the queue", "name[:type]=value,..." },
        { "predeclared", 'p', POPT_ARG_VAL, &s->predeclared, 1, "exchange, queue and binding are there already", NULL },
        { "id", 'd', POPT_ARG_STRING, &s->id, 0, "the name of this run in what is printed", "id" },
        { "interval", 'i', POPT_ARG_INT, &s->interval_s, 0, "seconds from line to line; default 1", "seconds" },
        { "json", '\0', POPT_ARG_VAL, &s->json, 1, "print lines of JSON", NULL },
        { "svg", '\0', POPT_ARG_STRING, &chart_path, 0, "draw rates and latencies over time", "file" },
        CONNECTION_OPTIONS,
        POPT_AUTOHELP POPT_TABLEEND,
    };
    options_letters('U', '\0'); /* -u and -s are PerfTest's */
    options_read(argc, argv, known, NULL);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    check_settings(&perf.settings);
    perf.program.on_stop = on_stop;
    perf.program.will_connect = true;
    program_run(&perf.program, start);

    stop_counting("Failed");
    report_flush();
    write_chart();
    producers_stop();
    close_timers();
    int exit_code = program_end(&perf.program, NULL);
    producers_free();
    consumers_free();
    report_free();
    lago_table_builder_free(table);
    return exit_code;
}
