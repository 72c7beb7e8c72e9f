/* The fixture of the tests against a real broker: see fixture.h. */
#include "fixture.h"
#include <unistd.h>

/* The longest that a condition may take: a loaded machine, a sanitizer and a ctl call fit. */
#define WATCHDOG_MS 30000u

bool broker_is_given(void) {
    if (getenv("AMQP_URL")) return true;
    puts("AMQP_URL is not set: no broker to test against");
    return false;
}

struct fixture *fixture_of(const lago_channel_t *ch) {
    return lago_connection_data(lago_channel_connection(ch));
}

/* ---------------------------------------------------------------- running the loop */

static void on_watchdog(uv_timer_t *timer) {
    struct fixture *f = timer->data;
    for (size_t i = 0; i < f->event_count; i++) print_error("    event: %s\n", f->events[i]);
    for (size_t i = 0; i < f->log_count && i < 4; i++) print_error("    log: %s\n", f->log[i]);
    fail_msg("waited too long for: %s", f->waiting_for);
}

void watchdog_start(struct fixture *f, const char *waiting_for) {
    f->waiting_for = waiting_for;
    uv_timer_start(&f->watchdog, on_watchdog, WATCHDOG_MS, 0);
}

void watchdog_stop(struct fixture *f) { uv_timer_stop(&f->watchdog); }

void run_once(struct fixture *f, const char *file, int line) {
    (void)file;
    (void)line;
    if (!uv_loop_alive(&f->loop)) on_watchdog(&f->watchdog); /* a loop without anything to do runs no timers either */
    f->running = true;
    uv_run(&f->loop, UV_RUN_ONCE);
    f->running = false;
}

static void on_synced(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    (void)ch;
    (void)reason;
    (void)active;
    *(bool *)data = true;
}

void sync_channel(struct fixture *f) {
    bool synced = false;
    assert_int_equal(lago_channel_flow(f->ch, &(lago_channel_flow_t){ .active = true }, on_synced, &synced), 0);
    run_until(f, synced);
}

/* ---------------------------------------------------------------- the record */

void record(struct fixture *f, const char *format, ...) {
    va_list args;
    assert_true(f->event_count < EVENTS_MAX);
    va_start(args, format);
    vsnprintf(f->events[f->event_count++], EVENT_SIZE, format, args);
    va_end(args);
}

void forget_events(struct fixture *f) { f->event_count = 0; }

bool has_event(const struct fixture *f, const char *event) {
    for (size_t i = 0; i < f->event_count; i++)
        if (strcmp(f->events[i], event) == 0) return true;
    return false;
}

void expect_these(struct fixture *f, const char *const *expected, const char *file, int line) {
    size_t count = 0;
    while (expected[count]) count++;
    run_until(f, f->event_count >= count);
    bool same = f->event_count == count;
    for (size_t i = 0; same && i < count; i++) same = strcmp(f->events[i], expected[i]) == 0;
    for (size_t i = 0; !same && (i < count || i < f->event_count); i++)
        print_error("    expected %-40s seen %s\n", i < count ? expected[i] : "-", i < f->event_count ? f->events[i] : "-");
    if (!same && f->reason.code) {
        char words[512];
        lago_reason_format(&f->reason, words, sizeof words);
        print_error("    last reason: %s\n", words);
    }
    if (!same) _fail(file, line);
    forget_events(f);
}

const char *reason_word(const lago_reason_t *reason) {
    static char number[8];
    if (!reason) return "ok";
    if (reason->reply_code && reason->origin == LAGO_BY_BROKER) {
        snprintf(number, sizeof number, "%u", reason->reply_code);
        return number;
    }
    return lago_error_name(reason->code) + strlen("LAGO_");
}

static void note(struct fixture *f, const char *what, const lago_reason_t *reason) {
    if (reason) f->reason = *reason;
    record(f, "%s %s", what, reason_word(reason));
}

void *label(const char *text) { return (void *)(uintptr_t)text; }

void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) { note(fixture_of(ch), data, reason); }

void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    struct fixture *f = fixture_of(ch);
    assert_true((reason == NULL) != (ok == NULL));
    if (ok) {
        f->declared = *ok;
        assert_int_equal(ok->queue.size, strlen(ok->queue.data));
        snprintf(f->declared_name, sizeof f->declared_name, "%s", ok->queue.data);
    }
    note(f, data, reason);
}

void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    struct fixture *f = fixture_of(ch);
    f->count = message_count;
    note(f, data, reason);
}

void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    assert_int_equal(consumer_tag.size, strlen(consumer_tag.data));
    note(fixture_of(ch), data, reason);
}

void on_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    if (!reason) assert_true(active);
    note(fixture_of(ch), data, reason);
}

void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    struct fixture *f = fixture_of(ch);
    if (reason)
        note(f, data, reason);
    else if (message)
        on_message(ch, message, NULL);
    else
        record(f, "%s empty", (char *)data);
}

void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    struct fixture *f = fixture_of(ch);
    assert_true((result->reason != NULL) ==
                (result->outcome == LAGO_PUBLISH_NOT_SENT || result->outcome == LAGO_PUBLISH_UNKNOWN));
    assert_true((result->reply_code != 0) == (result->outcome == LAGO_PUBLISH_RETURNED));
    record(f, "%s #%u %s", (char *)data, (unsigned)result->sequence_number, lago_publish_outcome_name(result->outcome));
}

void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct fixture *f = fixture_of(ch);
    (void)data;
    assert_true(f->tag_count < MESSAGES_MAX);
    f->tags[f->tag_count++] = message->delivery_tag;
    record(f, "got %.40s%s", (const char *)message->body.data, message->redelivered ? " again" : "");
}

void on_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    (void)data;
    record(fixture_of(ch), "cancelled %s", consumer_tag.data);
}

/* ---------------------------------------------------------------- connections and channels */

static void on_open(lago_connection_t *conn, void *data) {
    struct fixture *f = data;
    assert_int_equal(lago_connection_state(conn), LAGO_CONNECTION_OPEN);
    f->opened = true;
    record(f, "open");
}

static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct fixture *f = data;
    assert_int_equal(lago_connection_state(conn), LAGO_CONNECTION_CLOSED);
    f->closed = true;
    note(f, "open error", reason);
}

static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct fixture *f = data;
    assert_int_equal(lago_connection_state(conn), LAGO_CONNECTION_CLOSED);
    assert_ptr_equal(lago_connection_reason(conn), reason);
    f->closed = true;
    note(f, "close", reason);
}

static void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    assert_true(lago_connection_is_blocked(conn));
    record(data, "blocked: %s", reason.data);
}

static void on_unblocked(lago_connection_t *conn, void *data) {
    assert_false(lago_connection_is_blocked(conn));
    record(data, "unblocked");
}

static void on_drain(lago_connection_t *conn, void *data) {
    (void)conn;
    record(data, "drain");
}

lago_connection_options_t connection_options(struct fixture *f) {
    return (lago_connection_options_t){ .parameters = f->parameters,
                                        .context = f->context,
                                        .on_open = on_open,
                                        .on_open_error = on_open_error,
                                        .on_close = on_close,
                                        .on_blocked = on_blocked,
                                        .on_unblocked = on_unblocked,
                                        .on_drain = on_drain,
                                        .data = f };
}

void connect_now(struct fixture *f) {
    lago_connection_options_t options = connection_options(f);
    f->opened = f->closed = false;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
}

void connect_and_wait(struct fixture *f) {
    connect_now(f);
    run_until(f, f->opened || f->closed);
    assert_true(f->opened);
    forget_events(f);
}

static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    char what[32];
    (void)data;
    assert_int_equal(lago_channel_state(ch), reason ? LAGO_CHANNEL_CLOSED : LAGO_CHANNEL_OPEN);
    snprintf(what, sizeof what, "channel %u open", lago_channel_number(ch));
    note(fixture_of(ch), what, reason);
}

static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    char what[32];
    (void)data;
    assert_non_null(reason);
    assert_int_equal(lago_channel_state(ch), LAGO_CHANNEL_CLOSED);
    assert_ptr_equal(lago_channel_reason(ch), reason);
    fixture_of(ch)->channel_closes++;
    snprintf(what, sizeof what, "channel %u close", lago_channel_number(ch));
    note(fixture_of(ch), what, reason);
}

static void on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    (void)data;
    record(fixture_of(ch), "return %u %.40s", returned->reply_code, (const char *)returned->message->body.data);
}

lago_channel_options_t channel_options(void) {
    return (lago_channel_options_t){ .on_open = on_channel_open, .on_close = on_channel_close, .on_return = on_return };
}

lago_channel_t *open_channel(struct fixture *f) {
    lago_channel_options_t options = channel_options();
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(f->conn, &options, &ch), 0);
    run_until(f, lago_channel_state(ch) != LAGO_CHANNEL_OPENING);
    assert_int_equal(lago_channel_state(ch), LAGO_CHANNEL_OPEN);
    forget_events(f);
    return ch;
}

/* ---------------------------------------------------------------- setup and teardown */

static void on_log(lago_log_level_t level, const char *line, void *data) {
    struct fixture *f = data;
    (void)level;
    if (f->log_count < 4) snprintf(f->log[f->log_count], sizeof f->log[0], "%s", line);
    f->log_count++;
}

int setup_loop(void **state) {
    static unsigned number;
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    fail_alloc_init(&f->alloc);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->watchdog), 0);
    uv_unref((uv_handle_t *)&f->watchdog);
    f->watchdog.data = f;
    lago_context_options_t options = {
        .allocator = f->alloc.allocator, .log = on_log, .log_data = f, .log_level = LAGO_LOG_WARNING
    };
    assert_int_equal(lago_context_new(&f->loop, &options, &f->context), 0);
    lago_reason_t reason;
    assert_int_equal(lago_parameters_parse(getenv("AMQP_URL"), &f->parameters, &reason), 0);
    snprintf(f->connection_name, sizeof f->connection_name, "lago-test-%d-%u", (int)getpid(), ++number);
    f->parameters->connection_name = f->connection_name;
    return 0;
}

int setup_channel(void **state) {
    setup_loop(state);
    struct fixture *f = *state;
    connect_and_wait(f);
    f->ch = open_channel(f);
    return 0;
}

static void delete_names(struct fixture *f) {
    lago_channel_t *ch;
    if (f->name_count == 0) return;
    if (lago_connection_state(f->conn) != LAGO_CONNECTION_OPEN) {
        lago_connection_free(f->conn);
        connect_and_wait(f);
    }
    assert_int_equal(lago_channel_open(f->conn, NULL, &ch), 0);
    for (size_t i = 0; i < f->name_count; i++) {
        if (f->name_is_exchange[i])
            lago_exchange_delete(ch, &(lago_exchange_delete_t){ .exchange = f->names[i], .no_wait = true }, NULL, NULL);
        else
            lago_queue_delete(ch, &(lago_queue_delete_t){ .queue = f->names[i], .no_wait = true }, NULL, NULL);
    }
}

/* Whatever the test did: the connection ends, the loop closes, nothing of the allocator is left. */
int teardown(void **state) {
    struct fixture *f = *state;
    if (f->running) return 0; /* a callback failed: the loop is on a stack that is gone */
    delete_names(f);
    if (lago_connection_close(f->conn, NULL) == 0) run_until(f, f->closed);
    lago_connection_free(f->conn);
    lago_context_free(f->context);
    lago_parameters_free(f->parameters);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    fail_alloc_check(&f->alloc);
    free(f);
    return 0;
}

/* ---------------------------------------------------------------- topology */

static const char *new_name(struct fixture *f, bool exchange) {
    assert_true(f->name_count < NAMES_MAX);
    char *name = f->names[f->name_count];
    snprintf(name, NAME_SIZE, "%s.%zu", f->connection_name, f->name_count);
    f->name_is_exchange[f->name_count++] = exchange;
    return name;
}

const char *queue_name(struct fixture *f) { return new_name(f, false); }

const char *exchange_name(struct fixture *f) { return new_name(f, true); }

const char *new_queue_with(struct fixture *f, lago_table_t arguments) {
    const char *name = queue_name(f);
    lago_queue_declare_t args = { .queue = name, .exclusive = true, .arguments = arguments };
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
    return name;
}

const char *new_queue(struct fixture *f) { return new_queue_with(f, (lago_table_t){ 0 }); }

void publish_text(struct fixture *f, const char *queue, const char *text) {
    lago_basic_publish_t args = { .routing_key = queue, .body = { text, strlen(text) } };
    assert_true(lago_basic_publish(f->ch, &args, NULL, NULL) >= 0);
}

static void on_length(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch;
    assert_null(reason);
    *(int64_t *)data = ok->message_count;
}

static uint32_t queue_length(struct fixture *f, const char *queue) {
    int64_t length = -1;
    lago_queue_declare_t args = { .queue = queue, .passive = true };
    assert_int_equal(lago_queue_declare(f->ch, &args, on_length, &length), 0);
    run_until(f, length >= 0);
    return (uint32_t)length;
}

void expect_length(struct fixture *f, const char *queue, uint32_t length) {
    uint64_t bites_at = uv_now(&f->loop) + WATCHDOG_MS;
    uint32_t seen = queue_length(f, queue);
    while (seen < length && uv_now(&f->loop) < bites_at) seen = queue_length(f, queue);
    assert_int_equal(queue_length(f, queue), length);
}

/* ---------------------------------------------------------------- the broker's control */

unsigned broker_version(const struct fixture *f) {
    lago_table_t properties = lago_connection_server_properties(f->conn);
    lago_value_t version;
    char text[32];
    unsigned major, minor;
    assert_int_equal(lago_table_get(&properties, "version", &version), 1);
    snprintf(text, sizeof text, "%.*s", (int)version.as.string.size, version.as.string.data);
    assert_int_equal(sscanf(text, "%u.%u", &major, &minor), 2);
    return major * 100 + minor;
}

void need_control(void) {
    if (getenv("LAGO_TEST_BROKER") && getenv("BROKER_DIR")) return;
    print_message("LAGO_TEST_BROKER and BROKER_DIR are not set: the broker cannot be controlled\n");
    skip();
}

struct child {
    uv_process_t process;
    bool exited, closed;
    int64_t status;
};

static void on_exit_of_child(uv_process_t *process, int64_t status, int signal) {
    struct child *child = process->data;
    child->exited = true;
    child->status = signal ? -signal : status;
}

static void on_child_closed(uv_handle_t *handle) { ((struct child *)handle->data)->closed = true; }

#define WORDS_MAX 8u

void broker_run(struct fixture *f, const char *const *words) {
    struct child child = { .exited = false };
    char *args[WORDS_MAX + 3] = { getenv("LAGO_TEST_BROKER"), label(words[0]), getenv("BROKER_DIR") };
    for (size_t i = 1; words[i] && i < WORDS_MAX; i++) args[i + 2] = label(words[i]);
    uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE }, { .flags = UV_IGNORE }, { .flags = UV_INHERIT_FD, .data.fd = 2 } };
    uv_process_options_t options = {
        .file = args[0], .args = args, .exit_cb = on_exit_of_child, .stdio = stdio, .stdio_count = 3
    };
    child.process.data = &child;
    assert_int_equal(uv_spawn(&f->loop, &child.process, &options), 0);
    run_until(f, child.exited);
    uv_close((uv_handle_t *)&child.process, on_child_closed);
    run_until(f, child.closed);
    assert_int_equal(child.status, 0);
}

void broker_eval(struct fixture *f, const char *expression) { broker(f, "eval", expression); }

static void for_our_connections(const struct fixture *f, const char *what, char *expression, size_t size) {
    snprintf(expression, size,
             "[%s || [{pid, P}, {client_properties, Ps}] <- rabbit_networking:connection_info_all([pid, client_properties]), "
             "is_list(Ps), {<<\"connection_name\">>, longstr, <<\"%s\">>} <- Ps].",
             what, f->connection_name);
}

void broker_close_connections(struct fixture *f) {
    char expression[512];
    for_our_connections(f, "rabbit_networking:close_connection(P, \"enough\")", expression, sizeof expression);
    broker_eval(f, expression);
}

void broker_kill_connections(struct fixture *f) {
    char expression[512];
    for_our_connections(f, "exit(P, kill)", expression, sizeof expression);
    broker_eval(f, expression);
}

void broker_kill_connections_unseen(const struct fixture *f) {
    char expression[512], command[1024];
    for_our_connections(f, "exit(P, kill)", expression, sizeof expression);
    snprintf(command, sizeof command, "'%s' eval '%s' '%s' >/dev/null", getenv("LAGO_TEST_BROKER"), getenv("BROKER_DIR"),
             expression);
    assert_int_equal(system(command), 0);
}

/* Whoever is asked something else behind it has heard of it. */
void broker_alarm(struct fixture *f, bool on) {
    broker_eval(f, on ? "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}), gen_event:which_handlers(rabbit_alarm)."
                      : "rabbit_alarm:clear_alarm({resource_limit, memory, node()}), gen_event:which_handlers(rabbit_alarm).");
}
