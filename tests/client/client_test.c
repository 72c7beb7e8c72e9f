/* The journal and its callbacks. Must not know what a test expects. */
#include "client_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void note(struct client_test *t, const char *format, ...) {
    char entry[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(entry, sizeof(entry), format, args);
    va_end(args);
    size_t left = sizeof(t->journal) - t->journal_size;
    int size = snprintf(t->journal + t->journal_size, left, "%s%s", t->journal_size ? "; " : "", entry);
    if (size < 0 || (size_t)size >= left) fail_msg("the journal is full");
    t->journal_size += (size_t)size;
}

size_t client_attempt_count(const struct client_test *t) {
    size_t count = 0;
    while (lago_connection_attempt(t->conn, count, NULL)) count++;
    return count;
}

void journal_clear(struct client_test *t) {
    t->journal_size = 0;
    t->journal[0] = '\0';
}

struct probe *probe(struct client_test *t, const char *name) {
    if (t->probe_count == PROBES_MAX) fail_msg("too many probes");
    struct probe *p = &t->probes[t->probe_count++];
    *p = (struct probe){ .t = t, .name = name };
    return p;
}

const char *code_name(int code) {
    const char *name = lago_error_name(code);
    return strncmp(name, "LAGO_", 5) == 0 ? name + 5 : name;
}

static const char *result(const lago_reason_t *reason) { return reason ? code_name(reason->code) : "ok"; }

static struct client_test *called(void *data, const char **name) {
    struct probe *p = data;
    p->calls++;
    *name = p->name;
    return p->t;
}

/* ---------------------------------------------------------------- connection */

static void on_open(lago_connection_t *conn, void *data) {
    const char *name;
    (void)conn;
    note(called(data, &name), "open");
}

static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    const char *name;
    (void)conn;
    note(called(data, &name), "open_error %s", result(reason));
}

static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    const char *name;
    (void)conn;
    note(called(data, &name), "close %s", result(reason));
}

static void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    const char *name;
    (void)conn;
    note(called(data, &name), "blocked %s", reason.data);
}

static void on_unblocked(lago_connection_t *conn, void *data) {
    const char *name;
    (void)conn;
    note(called(data, &name), "unblocked");
}

static void on_drain(lago_connection_t *conn, void *data) {
    const char *name;
    (void)conn;
    note(called(data, &name), "drain");
}

lago_connection_options_t client_options(struct client_test *t) {
    return (lago_connection_options_t){ .on_open = on_open,
                                        .on_open_error = on_open_error,
                                        .on_close = on_close,
                                        .on_blocked = on_blocked,
                                        .on_unblocked = on_unblocked,
                                        .on_drain = on_drain,
                                        .data = t->self,
                                        .free_data = noted_free };
}

void client_init(struct client_test *t) {
    memset(t, 0, sizeof(*t));
    virtual_init(&t->v);
    t->self = probe(t, "connection");
}

void client_connect(struct client_test *t, const char *url) {
    lago_connection_options_t options = client_options(t);
    assert_int_equal(virtual_connect(&t->v, url, &options), 0);
    t->conn = t->v.conn;
}

void client_connect_with(struct client_test *t, const lago_parameters_t *parameters) {
    lago_connection_options_t options = client_options(t);
    options.parameters = parameters;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
}

void client_open_options(struct client_test *t, const lago_connection_options_t *options) {
    assert_int_equal(virtual_connect(&t->v, NULL, options), 0);
    t->conn = t->v.conn;
    server_handshake(&t->v);
    journal_clear(t);
}

void client_open(struct client_test *t) {
    client_init(t);
    client_connect(t, NULL);
    server_handshake(&t->v);
    assert_journal(t, "open");
    virtual_forget_log(&t->v);
}

void client_end(struct client_test *t) {
    lago_connection_free(t->conn);
    t->conn = NULL;
    virtual_deinit(&t->v);
}

/* ---------------------------------------------------------------- channel */

void noted_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    if (reason)
        note(t, "%u open %s", lago_channel_number(ch), result(reason));
    else
        note(t, "%u open", lago_channel_number(ch));
}

void noted_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    const char *name;
    note(called(data, &name), "%u close %s", lago_channel_number(ch), result(reason));
}

void noted_return(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    const char *name;
    note(called(data, &name), "%u return %u %s", lago_channel_number(ch), returned->reply_code,
         returned->message->routing_key.data);
}

void noted_flow(lago_channel_t *ch, bool active, void *data) {
    const char *name;
    note(called(data, &name), "%u flow %d", lago_channel_number(ch), active);
}

lago_channel_options_t client_channel_options(struct client_test *t) {
    return (lago_channel_options_t){ .on_open = noted_channel_open,
                                     .on_close = noted_channel_close,
                                     .on_return = noted_return,
                                     .on_flow = noted_flow,
                                     .data = probe(t, "channel"),
                                     .free_data = noted_free };
}

lago_channel_t *client_channel(struct client_test *t) {
    lago_channel_options_t options = client_channel_options(t);
    lago_channel_t *ch = NULL;
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    return ch;
}

lago_channel_t *client_open_channel(struct client_test *t) {
    char line[64];
    lago_channel_t *ch = client_channel(t);
    virtual_run(&t->v);
    (void)snprintf(line, sizeof(line), "%u channel.open-ok", lago_channel_number(ch));
    server_send(&t->v, line);
    (void)snprintf(line, sizeof(line), "%u open", lago_channel_number(ch));
    assert_journal(t, line);
    virtual_forget_log(&t->v);
    return ch;
}

lago_channel_t *client_confirming_channel(struct client_test *t) {
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 confirm.select-ok");
    return ch;
}

/* ---------------------------------------------------------------- completions */

void noted_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s %s", name, result(reason));
}

void noted_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)conn;
    note(t, "%s %s", name, result(reason));
}

void noted_declare(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    if (ok)
        note(t, "%s ok %s %u %u", name, ok->queue.data, ok->message_count, ok->consumer_count);
    else
        note(t, "%s %s", name, result(reason));
}

void noted_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s %s %u", name, result(reason), message_count);
}

void noted_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s %s %d", name, result(reason), active);
}

void noted_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s %s %s", name, result(reason), consumer_tag.data);
}

void noted_get(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    if (message)
        note(t, "%s ok %s", name, (const char *)message->body.data);
    else
        note(t, "%s %s", name, reason ? result(reason) : "empty");
}

void noted_publish(lago_channel_t *ch, const lago_publish_result_t *result_, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s %llu %s", name, (unsigned long long)result_->sequence_number, lago_publish_outcome_name(result_->outcome));
}

void noted_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s got %s", name, (const char *)message->body.data);
}

void noted_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s %llu%s %llu+%zu/%llu%s%s%s", name, (unsigned long long)body->message->delivery_tag, body->begins ? " begins" : "",
         (unsigned long long)body->offset, body->piece.size, (unsigned long long)body->size, body->ends ? " ends" : "",
         body->reason ? " " : "", body->reason ? code_name(body->reason->code) : "");
}

void noted_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)ch;
    note(t, "%s cancelled %s", name, consumer_tag.data);
}

void noted_timer(lago_connection_t *conn, int status, void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    (void)conn;
    note(t, "%s %s", name, status ? code_name(status) : "ok");
}

void noted_free(void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    note(t, "%s free", name);
}

void noted_release(void *data) {
    const char *name;
    struct client_test *t = called(data, &name);
    note(t, "%s released", name);
}
