/*
 * fault-proxy: a proxy that breaks what passes, for whatever speaks TCP.
 *
 *     fault-proxy --to [IP:]PORT [--listen [IP:]PORT | --listen PATH] [--seed N] [--control PATH] [WORDS]...
 *
 * Says "listening IP:PORT", then a line for each thing that happens ("link 1 up 0 0", "link 1 fired down 1234", "link 1 gone 310
 * 522": bytes up and down). WORDS are faults of every link (proxy.h), an argument for each direction: 'down act=reset byte=100'.
 * Lines of control.h are read from standard input if it is a pipe, and from a Unix socket at PATH, by any number of clients, each of
 * which is also told what happens. Ends by "quit", or by the end of that pipe.
 */
#include "control.h"
#include "number.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/stat.h>

#define LINE_MAX_SIZE 1024

/* Who tells us what to do: standard input, or a client of the control socket. */
struct boss {
    union proxy_stream stream;
    struct boss *next;
    char line[LINE_MAX_SIZE];
    size_t size;
    bool is_stdin;
};

static struct proxy proxy;
static struct boss *bosses;
static uv_pipe_t control;
static bool has_control, quitting;

static void quit(void) {
    if (quitting) return;
    quitting = true;
    proxy_end(&proxy);
    if (has_control) uv_close((uv_handle_t *)&control, NULL);
    for (struct boss *boss = bosses; boss; boss = boss->next)
        if (!uv_is_closing(&boss->stream.handle)) uv_close(&boss->stream.handle, NULL);
}

/* ---------------------------------------------------------------- telling */

struct words {
    uv_write_t request;
    char text[];
};

static void on_told(uv_write_t *request, int status) {
    (void)status;
    free(request->data);
}

static void tell_boss(struct boss *boss, const char *text) {
    size_t size = strlen(text);
    struct words *words = malloc(sizeof *words + size);
    if (!words) abort();
    words->request.data = words;
    memcpy(words->text, text, size);
    uv_buf_t buffer = uv_buf_init(words->text, (unsigned)size);
    if (uv_write(&words->request, &boss->stream.stream, &buffer, 1, on_told) < 0) free(words);
}

static void on_event(struct proxy *of, struct proxy_link *link, enum proxy_event event) {
    char words[128];
    (void)of;
    if (event == PROXY_LINK_BEGINS) return;
    control_words(link, event, words, sizeof words);
    fputs(words, stdout);
    for (struct boss *boss = bosses; boss; boss = boss->next)
        if (!boss->is_stdin && !uv_is_closing(&boss->stream.handle)) tell_boss(boss, words);
}

/* ---------------------------------------------------------------- listening to orders */

static void obey(struct boss *boss, const char *line) {
    static char answer[65536];
    bool goes_on = control_line(&proxy, line, answer, sizeof answer);
    if (boss->is_stdin)
        fputs(answer, stdout);
    else
        tell_boss(boss, answer);
    if (!goes_on) quit();
}

static void on_boss_closed(uv_handle_t *handle) {
    struct boss *boss = handle->data, **at = &bosses;
    while (*at != boss) at = &(*at)->next;
    *at = boss->next;
    free(boss);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct boss *boss = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(boss->line + boss->size, (unsigned)(sizeof boss->line - 1 - boss->size));
}

static void on_orders(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct boss *boss = stream->data;
    (void)buffer;
    if (size < 0) {
        bool ends = boss->is_stdin;
        if (!uv_is_closing(&boss->stream.handle)) uv_close(&boss->stream.handle, on_boss_closed);
        if (ends) quit();
        return;
    }
    boss->size += (size_t)size;
    for (char *end; !quitting && (end = memchr(boss->line, '\n', boss->size)) != NULL;) {
        *end = '\0';
        obey(boss, boss->line);
        boss->size -= (size_t)(end + 1 - boss->line);
        memmove(boss->line, end + 1, boss->size);
    }
}

static struct boss *new_boss(bool is_stdin) {
    struct boss *boss = calloc(1, sizeof *boss);
    if (!boss) abort();
    boss->is_stdin = is_stdin;
    boss->next = bosses;
    bosses = boss;
    return boss;
}

static void on_client(uv_stream_t *listener, int status) {
    if (status < 0) return;
    struct boss *boss = new_boss(false);
    uv_pipe_init(listener->loop, &boss->stream.pipe, 0);
    boss->stream.handle.data = boss;
    if (uv_accept(listener, &boss->stream.stream) == 0)
        uv_read_start(&boss->stream.stream, on_alloc, on_orders);
    else
        uv_close(&boss->stream.handle, on_boss_closed);
}

static int listen_to(uv_loop_t *loop, const char *path) {
    uv_pipe_init(loop, &control, 0);
    has_control = true;
    int rc = uv_pipe_bind(&control, path);
    return rc < 0 ? rc : uv_listen((uv_stream_t *)&control, 8, on_client);
}

/* A pipe: else nobody is there. */
static void listen_to_stdin(uv_loop_t *loop) {
    struct stat stat;
    if (fstat(0, &stat) < 0 || !(S_ISFIFO(stat.st_mode) || S_ISSOCK(stat.st_mode))) return;
    struct boss *boss = new_boss(true);
    uv_pipe_init(loop, &boss->stream.pipe, 0);
    boss->stream.handle.data = boss;
    uv_pipe_open(&boss->stream.pipe, 0);
    uv_read_start(&boss->stream.stream, on_alloc, on_orders);
}

/* ---------------------------------------------------------------- the command line */

static const char usage[] =
    "fault-proxy --to [IP:]PORT|PATH [--listen [IP:]PORT|PATH] [--seed N] [--control PATH] [WORDS]...\n"
    "    WORDS, an argument for each direction, such as 'down act=reset byte=100': faults of every link (tests/proxy/proxy.h):\n"
    "    up|down  latency_ms= jitter_ms= bytes_per_s= slice_max= flip_per_million= close_ms=\n"
    "             act=close|reset|half_close|stall|drop|flip|tell  byte= | frame=KIND [channel=] | record=KIND\n"
    "             nth= offset= behind=1 within=\n"
    "    Bytes that the kernel has not sent when a reset comes are lost: fewer may arrive than \"fired\" says.\n"
    "    Lines on standard input, if it is a pipe, or at --control: tests/proxy/control.h\n";

static int complain(const char *about, const char *what) {
    fprintf(stderr, "fault-proxy: %s: %s\n", about, what);
    return 2;
}

/* "1.2.3.4:5", "[::1]:5", "5". */
static bool read_address(const char *word, uint64_t least, char *ip, size_t ip_size, uint16_t *port) {
    const char *colon = strrchr(word, ':');
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    uint64_t number;
    if (colon && (size_t)(colon - word) >= ip_size) return false;
    if (colon) snprintf(ip, ip_size, "%.*s", (int)(colon - word) - 2 * (*word == '['), word + (*word == '['));
    if (uv_ip4_addr(ip, 0, &address.v4) < 0 && uv_ip6_addr(ip, 0, &address.v6) < 0) return false;
    if (!number_read(colon ? colon + 1 : word, least, UINT16_MAX, &number)) return false;
    *port = (uint16_t)number;
    return true;
}

struct settings {
    struct proxy_options options;
    char ip[64], to_ip[64];
    const char *control;
};

/* @return NULL, or what is wrong. */
static const char *read_option(struct settings *settings, const char *option, const char *word) {
    static const char not_an_address[] = "not an address ([IP:]PORT, or a path)";
    struct proxy_options *options = &settings->options;
    if (strcmp(option, "--to") == 0 && *word == '/')
        options->to_path = word;
    else if (strcmp(option, "--to") == 0)
        return read_address(word, 1, settings->to_ip, sizeof settings->to_ip, &options->to_port) ? NULL : not_an_address;
    else if (strcmp(option, "--listen") == 0 && *word == '/')
        options->path = word;
    else if (strcmp(option, "--listen") == 0)
        return read_address(word, 0, settings->ip, sizeof settings->ip, &options->port) ? NULL : not_an_address;
    else if (strcmp(option, "--seed") == 0)
        return number_read(word, 0, UINT64_MAX, &options->seed) ? NULL : "not a number";
    else if (strcmp(option, "--control") == 0)
        settings->control = word;
    else
        return "there is no such option";
    return NULL;
}

/* @return 0, or the exit code. */
static int read_options(struct settings *settings, int argc, char **argv, int *at) {
    const char *wrong;
    for (; *at < argc && strncmp(argv[*at], "--", 2) == 0; *at += 2) {
        if (*at + 1 == argc) return complain(argv[*at], "no such option, or a word is missing behind it");
        if ((wrong = read_option(settings, argv[*at], argv[*at + 1])) != NULL) return complain(argv[*at], wrong);
    }
    return settings->options.to_port || settings->options.to_path ? 0 : complain("--to", "[IP:]PORT is missing");
}

static int serve(uv_loop_t *loop) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (proxy.options.path)
        printf("listening %s\n", proxy.options.path);
    else
        printf("listening %s:%u\n", proxy.options.ip, proxy.port);
    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}

int main(int argc, char **argv) {
    struct settings settings = { .ip = "127.0.0.1",
                                 .to_ip = "127.0.0.1",
                                 .options = { .holds_loop = true, .on_event = on_event } };
    uv_loop_t *loop = uv_default_loop();
    int i = 1, rc;
    const char *wrong;
    settings.options.ip = settings.ip;
    settings.options.to_ip = settings.to_ip;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout), 0;
    if ((rc = read_options(&settings, argc, argv, &i)) != 0) return rc;
    if ((rc = proxy_begin(&proxy, loop, &settings.options)) < 0) return complain("--listen", uv_strerror(rc));
    for (; i < argc; i++)
        if ((wrong = proxy_faults(&proxy, argv[i])) != NULL) return complain(argv[i], wrong);
    if (settings.control && (rc = listen_to(loop, settings.control)) < 0) return complain(settings.control, uv_strerror(rc));
    listen_to_stdin(loop);
    return serve(loop);
}
