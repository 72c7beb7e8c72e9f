/* The life of a tool: loop, signals, connection, exit code. Knows no tool. */
#include "program.h"
#include "options.h"
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HURRIED_CLOSE_MS 5000 /* somebody waits for us to end: he has pressed Ctrl-C, or it has gone wrong anyway */
#define BLOCKED_NOTE_MS  1000 /* an alarm that is over sooner needs no words */

static const int watched[PROGRAM_SIGNALS] = { SIGINT, SIGTERM, SIGHUP };

/* ---------------------------------------------------------------- words */

const char *program_escape(lago_string_t text, char *buffer, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < text.size && used + 5 < size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 32 && byte != 127)
            buffer[used++] = (char)byte;
        else
            used += (size_t)snprintf(buffer + used, size - used, "\\%03o", byte);
    }
    buffer[used] = '\0';
    return buffer;
}

void program_note(const char *format, ...) {
    char line[768];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", options_program(), line); /* in one piece, beside the lines of commands */
}

void program_complain(program_t *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!p->complaint[0]) vsnprintf(p->complaint, sizeof p->complaint, format, args);
    va_end(args);
    p->exit_code = 1;
    program_close(p);
}

void program_fail(program_t *p, const char *what, const lago_reason_t *reason) {
    char why[640];
    /* what still waited when we closed ends with this reason: that is no failure */
    if (reason->code == LAGO_ECLOSED && reason->origin == LAGO_BY_CLIENT) return;
    lago_reason_format(reason, why, sizeof why);
    /* "login refused" says enough; that it kept us from declaring a queue goes without saying */
    if (lago_error_scope(reason->code) == LAGO_SCOPE_CONNECTION || reason->phase != LAGO_PHASE_RUNNING)
        program_complain(p, "%s", why);
    else
        program_complain(p, "%s: %s", what, why);
}

bool program_took(program_t *p, const char *what, int64_t rc) {
    if (rc >= 0) return true;
    if (rc == LAGO_ECLOSED)
        program_close(p);
    else
        program_complain(p, "%s: %s", what, lago_strerror((int)rc));
    return false;
}

void program_output_failed(program_t *p, int error) {
    if (error == UV_EPIPE) {
        if (!p->signum) p->signum = SIGPIPE;
        program_close(p);
    } else {
        program_complain(p, "cannot write to standard output: %s", uv_strerror(error));
    }
}

/* ---------------------------------------------------------------- the way out */

bool program_is_ending(const program_t *p) { return p->ended || p->signum != 0 || p->complaint[0]; }

void program_close(program_t *p) {
    lago_close_t options = { .timeout_ms = p->signum || p->complaint[0] ? HURRIED_CLOSE_MS : 0 };
    if (!p->conn) p->ended = true;
    lago_connection_close(p->conn, &options); /* a second time, or too late, it does nothing */
    for (program_link_t *link = p->links; link; link = link->next) lago_connection_close(link->conn, &options);
}

/* Without our handlers the signal does what it always does. Only as process 1 of a container it may be without effect. */
static int die_by(int signum) {
    signal(signum, SIG_DFL);
    raise(signum);
    return 128 + signum;
}

static void on_patience_lost(uv_timer_t *timer) { program_close(timer->data); }

static void on_signal(uv_signal_t *handle, int signum) {
    program_t *p = handle->data;
    if (p->signum) _exit(die_by(signum));
    p->signum = signum;
    if (options_timeout_ms() > 0) uv_timer_start(&p->patience, on_patience_lost, options_timeout_ms(), 0);
    if (p->on_stop)
        p->on_stop(p);
    else
        program_close(p);
}

/* The last callback of a connection that was open, or instead of on_open. */
static void on_connection_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    program_t *p = data;
    (void)conn;
    program_fail(p, "the connection has ended", reason);
    p->ended = --p->living == 0;
}

static void on_channel_end(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    program_fail(data, "the channel has ended", reason);
}

static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    if (reason) on_channel_end(ch, reason, data);
}

/* ---------------------------------------------------------------- a broker that is short of memory */

static void on_still_blocked(lago_connection_t *conn, int status, void *data) {
    program_t *p = data;
    p->will_note_blocked = false;
    if (status < 0 || !lago_connection_is_blocked(conn)) return;
    if (options_timeout_ms() > 0)
        program_note("the broker takes no messages for now (memory or disk alarm); waiting up to %u s",
                     (unsigned)(options_timeout_ms() / 1000));
    else
        program_note("the broker takes no messages for now (memory or disk alarm); waiting");
}

/* One of several connections tells for all. Only words: nothing is lost if this fails. */
static void note_blocked(program_t *p, lago_connection_t *conn) {
    if (p->will_note_blocked) return;
    p->will_note_blocked = lago_connection_call_later(conn, BLOCKED_NOTE_MS, on_still_blocked, p, NULL) == 0;
}

static void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    (void)reason;
    note_blocked(data, conn);
}

/* ---------------------------------------------------------------- further connections */

static void on_link_open(lago_connection_t *conn, void *data) {
    program_link_t *link = data;
    (void)conn;
    link->on_open(link);
}

static void on_link_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    on_connection_end(conn, reason, ((program_link_t *)data)->program);
}

static void on_link_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    on_blocked(conn, reason, ((program_link_t *)data)->program);
}

bool program_connect(program_t *p, program_link_t *link) {
    lago_connection_options_t options = {
        .parameters = p->parameters,
        .context = p->context,
        .on_open = on_link_open,
        .on_open_error = on_link_end,
        .on_close = on_link_end,
        .on_blocked = on_link_blocked,
        .data = link,
    };
    link->program = p;
    if (!program_took(p, "cannot connect", lago_connect(&p->loop, NULL, &options, &link->conn))) return false;
    link->next = p->links;
    p->links = link;
    p->living++;
    return true;
}

void program_connected(program_t *p) {
    lago_parameters_free(p->parameters);
    p->parameters = NULL;
    options_forget();
}

/* ---------------------------------------------------------------- the beginning */

/* A descriptor that was closed would be given to our socket, and a body could be printed into it. So each is taken, in such a way
 * that using it fails. */
static void take_standard_descriptors(void) {
    static const int modes[] = { O_WRONLY, O_RDONLY, O_RDONLY };
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd) _exit(1);
    }
}

static void watch_signals(program_t *p) {
    uv_timer_init(&p->loop, &p->patience);
    p->patience.data = p;
    signal(SIGPIPE, SIG_IGN); /* writing says EPIPE instead; libuv gives commands the default back */
    for (int i = 0; i < PROGRAM_SIGNALS; i++) {
        struct sigaction before;
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        /* what nohup, or a shell for its background jobs, has us ignore stays ignored */
        if (sigaction(watched[i], NULL, &before) < 0 || before.sa_handler != SIG_IGN)
            uv_signal_start(&p->signals[i], on_signal, watched[i]);
    }
}

static void on_connection_open(lago_connection_t *conn, void *data) {
    program_t *p = data;
    lago_channel_options_t channel = { .on_open = on_channel_open, .on_close = on_channel_end, .data = p };
    /* what the tool asks for need not wait for the channel; it leaves in order behind it */
    if (program_took(p, "cannot open a channel", lago_channel_open(conn, &channel, &p->ch))) p->start(p);
}

static void connect_to_broker(program_t *p) {
    lago_reason_t reason;
    int rc = options_parameters(&p->parameters, &reason);
    if (rc < 0) {
        program_fail(p, "cannot connect", &reason);
        options_forget();
        return;
    }
    lago_connection_options_t options = {
        .parameters = p->parameters,
        .context = p->context,
        .on_open = on_connection_open,
        .on_open_error = on_connection_end,
        .on_close = on_connection_end,
        .on_blocked = on_blocked,
        .on_drain = p->on_drain,
        .data = p,
    };
    rc = lago_connect(&p->loop, NULL, &options, &p->conn);
    if (rc == 0) p->living++;
    if (!p->will_connect || rc < 0) program_connected(p);
    if (rc < 0 && p->refusal[0])
        program_complain(p, "%s", p->refusal);
    else
        program_took(p, "cannot connect", rc);
}

/* A CA that cannot be read, a key that does not match: lago_connect returns a number only, and logs the words. */
static void on_log(lago_log_level_t level, const char *line, void *data) {
    program_t *p = data;
    (void)level;
    if (!p->refusal[0]) snprintf(p->refusal, sizeof p->refusal, "%s", line);
}

static void begin(program_t *p) {
    /* all failures are told here, once; so what lago logs is kept to itself */
    lago_context_options_t options = { .log_level = LAGO_LOG_ERROR, .log = on_log, .log_data = p };
    int rc = lago_context_new(&p->loop, &options, &p->context);
    if (program_took(p, "cannot start", rc)) connect_to_broker(p);
}

void program_run(program_t *p, void (*start)(program_t *p)) {
    take_standard_descriptors();
    int rc = uv_loop_init(&p->loop);
    if (rc < 0) options_fail("cannot start: %s", uv_strerror(rc));
    watch_signals(p);
    p->start = start;
    begin(p);
    /* not until the loop is empty: a look-up or a write to a terminal may still hang, and must not keep us */
    while (!p->ended) uv_run(&p->loop, UV_RUN_ONCE);
}

int program_end(program_t *p, const char *more) {
    if (p->complaint[0]) program_note("%s%s", p->complaint, more ? more : "");
    program_connected(p);
    for (program_link_t *link = p->links; link; link = link->next) lago_connection_free(link->conn);
    lago_connection_free(p->conn); /* and its channel */
    lago_context_free(p->context);
    uv_close((uv_handle_t *)&p->patience, NULL);
    for (int i = 0; i < PROGRAM_SIGNALS; i++) uv_close((uv_handle_t *)&p->signals[i], NULL);
    uv_run(&p->loop, UV_RUN_NOWAIT);
    if (p->signum) return die_by(p->signum);
    /* libuv waits for its threads in exit(): not for one that hangs in a write */
    if (uv_loop_close(&p->loop) < 0) _exit(p->exit_code);
    return p->exit_code;
}
