/*
 * Gives messages to a command, one after the other: the body on its stdin, names and properties in its environment. It has
 * taken the message when it ends with exit code 0.
 */
#include "consume.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILURE_PAUSE_MS 250 /* a message that fails again and again comes back at once: four commands a second are enough */

typedef struct waiting {
    struct waiting *next;
    lago_message_t *message;
} waiting_t;

extern char **environ;

static waiting_t *first, **last = &first;
static waiting_t *running;
static bool is_good;  /* the running command has ended, with exit code 0 */
static bool has_died; /* the running command has ended */
static int open_handles;
static uv_process_t process;
static uv_pipe_t input;
static uv_write_t request;
static uv_timer_t pause;
static char *text;

static void run_next(consume_t *c);

bool command_is_busy(void) { return running != NULL || first != NULL; }

static void waiting_free(waiting_t *waiting) {
    lago_message_release(waiting->message);
    free(waiting);
}

void command_stop(void) {
    while (first) {
        waiting_t *gone = first;
        first = gone->next;
        waiting_free(gone);
    }
    last = &first;
}

/* ---------------------------------------------------------------- its environment */

#define VARIABLES_MAX 20

typedef struct {
    char **all; /* ours, then the inherited ones */
    size_t count;
} environment_t;

static bool set(environment_t *e, const char *name, lago_string_t value) {
    size_t size = strlen(name) + value.size + 2;
    char *variable = malloc(size);
    if (!variable) return false;
    /* it ends at a NUL, as every variable */
    snprintf(variable, size, "%s=%.*s", name, (int)value.size, value.data ? value.data : "");
    e->all[e->count++] = variable;
    return true;
}

static bool set_number(environment_t *e, const char *name, uint64_t number) {
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%" PRIu64, number);
    return set(e, name, (lago_string_t){ digits, (size_t)size });
}

/* A property that is absent has no variable. */
static bool set_properties(environment_t *e, const lago_properties_t *p) {
    const struct {
        const char *name, *value;
        uint8_t size;
    } strings[] = {
        { "LAGO_CONTENT_TYPE", p->content_type, p->sizes.content_type },
        { "LAGO_CONTENT_ENCODING", p->content_encoding, p->sizes.content_encoding },
        { "LAGO_CORRELATION_ID", p->correlation_id, p->sizes.correlation_id },
        { "LAGO_REPLY_TO", p->reply_to, p->sizes.reply_to },
        { "LAGO_EXPIRATION", p->expiration, p->sizes.expiration },
        { "LAGO_MESSAGE_ID", p->message_id, p->sizes.message_id },
        { "LAGO_TYPE", p->type, p->sizes.type },
        { "LAGO_USER_ID", p->user_id, p->sizes.user_id },
        { "LAGO_APP_ID", p->app_id, p->sizes.app_id },
    };
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        if (strings[i].value && !set(e, strings[i].name, (lago_string_t){ strings[i].value, strings[i].size })) return false;
    }
    if (p->present & LAGO_PROPERTY_TIMESTAMP && !set_number(e, "LAGO_TIMESTAMP", p->timestamp)) return false;
    if (p->present & LAGO_PROPERTY_PRIORITY && !set_number(e, "LAGO_PRIORITY", p->priority)) return false;
    return !(p->present & LAGO_PROPERTY_DELIVERY_MODE) || set_number(e, "LAGO_DELIVERY_MODE", p->delivery_mode);
}

static bool environment_make(environment_t *e, const lago_message_t *m) {
    size_t inherited = 0;
    while (environ[inherited]) inherited++;
    *e = (environment_t){ .all = calloc(VARIABLES_MAX + inherited + 1, sizeof *e->all) };
    if (!e->all) return false;
    bool is_made = set(e, "LAGO_EXCHANGE", m->exchange) && set(e, "LAGO_ROUTING_KEY", m->routing_key) &&
                   set(e, "LAGO_CONSUMER_TAG", m->consumer_tag) && set_number(e, "LAGO_DELIVERY_TAG", m->delivery_tag) &&
                   set_number(e, "LAGO_REDELIVERED", m->redelivered) && set_properties(e, m->properties);
    for (size_t i = 0, at = e->count; i < inherited; i++) {
        /* of a lago-consume that runs us: they tell of another message */
        if (strncmp(environ[i], "LAGO_", 5) != 0) e->all[at++] = environ[i];
    }
    return is_made;
}

static void environment_free(environment_t *e) {
    for (size_t i = 0; i < e->count; i++) free(e->all[i]);
    free(e->all);
}

/* ---------------------------------------------------------------- its end */

/* The command has ended and its handles are closed: settle the message, and go on with the next. */
static void finish(consume_t *c) {
    consume_settle(c, running->message->delivery_tag, is_good);
    free(text);
    text = NULL;
    waiting_free(running);
    running = NULL;
    run_next(c);
}

static void on_paused(uv_timer_t *timer) {
    consume_t *c = timer->data;
    uv_close((uv_handle_t *)timer, NULL);
    finish(c);
}

static void on_closed(uv_handle_t *handle) {
    consume_t *c = handle->data;
    if (--open_handles > 0 || !running) return;
    if (!has_died) { /* it never ran */
        waiting_free(running);
        running = NULL;
        free(text);
        text = NULL;
    } else if (!is_good && running->message->redelivered && !program_is_ending(c->program)) {
        uv_timer_init(&c->program->loop, &pause);
        pause.data = c;
        uv_timer_start(&pause, on_paused, FAILURE_PAUSE_MS, 0);
    } else {
        finish(c);
    }
}

static void close_handle(uv_handle_t *handle) {
    if (!uv_is_closing(handle)) uv_close(handle, on_closed);
}

/* What it has not read it did not want; a child of its own may hold the pipe still. */
static void on_exit_of_command(uv_process_t *ended, int64_t exit_status, int term_signal) {
    has_died = true;
    is_good = exit_status == 0 && term_signal == 0;
    close_handle((uv_handle_t *)&input);
    close_handle((uv_handle_t *)ended);
}

/* End of file for the command. An error is no news: EPIPE, it has read enough. */
static void on_input_written(uv_write_t *written, int status) {
    (void)written, (void)status;
    close_handle((uv_handle_t *)&input);
}

/* ---------------------------------------------------------------- its beginning */

static int spawn(consume_t *c, const lago_message_t *message) {
    environment_t environment;
    uv_stdio_container_t stdio[3] = {
        { .flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE), .data.stream = (uv_stream_t *)&input },
        { .flags = UV_INHERIT_FD, .data.fd = 1 },
        { .flags = UV_INHERIT_FD, .data.fd = 2 },
    };
    char **args = NULL;
    memcpy(&args, &c->command, sizeof args); /* libuv does not change them, but wants them so */
    uv_process_options_t options = { .file = args[0], .args = args, .stdio = stdio, .stdio_count = 3 };
    options.exit_cb = on_exit_of_command;
    if (!environment_make(&environment, message)) {
        environment_free(&environment);
        return UV_ENOMEM;
    }
    options.env = environment.all;
    uv_pipe_init(&c->program->loop, &input, 0);
    open_handles = 2;
    has_died = is_good = false;
    int rc = uv_spawn(&c->program->loop, &process, &options);
    environment_free(&environment);
    process.data = input.data = c;
    return rc;
}

static void run(consume_t *c) {
    size_t size;
    text = consume_render(c, running->message, &size);
    int rc = text ? spawn(c, running->message) : UV_ENOMEM;
    if (rc == 0) {
        uv_buf_t body = { .base = text, .len = size };
        if (uv_write(&request, (uv_stream_t *)&input, &body, 1, on_input_written) < 0) close_handle((uv_handle_t *)&input);
        return;
    }
    program_complain(c->program, "cannot run '%s': %s", c->command[0], uv_strerror(rc));
    if (open_handles == 0) return; /* there was no memory */
    close_handle((uv_handle_t *)&input);
    close_handle((uv_handle_t *)&process);
}

static void run_next(consume_t *c) {
    if (running) return;
    if (!first) {
        consume_rest(c);
        return;
    }
    running = first;
    first = running->next;
    if (!first) last = &first;
    run(c);
}

void command_take(consume_t *c, const lago_message_t *message) {
    waiting_t *waiting = calloc(1, sizeof *waiting);
    if (!waiting || !program_took(c->program, "cannot keep the message", lago_message_keep(message, &waiting->message))) {
        if (!waiting) program_complain(c->program, "out of memory");
        free(waiting);
        return;
    }
    *last = waiting;
    last = &waiting->next;
    run_next(c);
}
