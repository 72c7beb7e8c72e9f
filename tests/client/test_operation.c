/* Every operation keeps the same promises: an error or a completion, never both; once; in time; and nothing for nothing. */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;

static const char *const empty = "";

/* How to issue one. */
struct variant {
    struct probe *p;  /* NULL: no completion */
    const char *name; /* instead of a good one */
    bool no_wait;
    uint32_t timeout_ms;
    uintptr_t reserved;
    lago_table_t arguments;
};

#define NAMED(v, good) ((v)->name ? (v)->name : (good))
#define TOLD(v, type)  ((v)->p ? (type) : NULL)

/* ---------------------------------------------------------------- one function per operation */

static int qos(lago_channel_t *ch, const struct variant *v) {
    lago_basic_qos_t args = { .prefetch_count = 9, .timeout_ms = v->timeout_ms, .reserved = { v->reserved } };
    return lago_basic_qos(ch, &args, TOLD(v, noted_done), v->p);
}

static int consume(lago_channel_t *ch, const struct variant *v) {
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = NAMED(v, "new"),
                                  .on_message = noted_message,
                                  .data = t->self,
                                  .no_wait = v->no_wait,
                                  .timeout_ms = v->timeout_ms,
                                  .arguments = v->arguments,
                                  .reserved = { v->reserved } };
    return lago_basic_consume(ch, &args, TOLD(v, noted_consumer), v->p);
}

static int cancel(lago_channel_t *ch, const struct variant *v) {
    lago_basic_cancel_t args = {
        .consumer_tag = "c", .no_wait = v->no_wait, .timeout_ms = v->timeout_ms, .reserved = { v->reserved }
    };
    return lago_basic_cancel(ch, &args, TOLD(v, noted_consumer), v->p);
}

static int get(lago_channel_t *ch, const struct variant *v) {
    lago_basic_get_t args = { .queue = NAMED(v, "q"), .timeout_ms = v->timeout_ms, .reserved = { v->reserved } };
    return lago_basic_get(ch, &args, TOLD(v, noted_get), v->p);
}

static int recover(lago_channel_t *ch, const struct variant *v) {
    lago_basic_recover_t args = { .timeout_ms = v->timeout_ms, .reserved = { v->reserved } };
    return lago_basic_recover(ch, &args, TOLD(v, noted_done), v->p);
}

static int flow(lago_channel_t *ch, const struct variant *v) {
    lago_channel_flow_t args = { .active = true, .timeout_ms = v->timeout_ms };
    return lago_channel_flow(ch, &args, TOLD(v, noted_flow_ok), v->p);
}

static int confirm_select(lago_channel_t *ch, const struct variant *v) {
    lago_confirm_select_t args = { .no_wait = v->no_wait, .timeout_ms = v->timeout_ms };
    return lago_confirm_select(ch, &args, TOLD(v, noted_done), v->p);
}

static int tx_select(lago_channel_t *ch, const struct variant *v) {
    lago_tx_t args = { .timeout_ms = v->timeout_ms };
    return lago_tx_select(ch, &args, TOLD(v, noted_done), v->p);
}

static int tx_commit(lago_channel_t *ch, const struct variant *v) {
    lago_tx_t args = { .timeout_ms = v->timeout_ms };
    return lago_tx_commit(ch, &args, TOLD(v, noted_done), v->p);
}

static int tx_rollback(lago_channel_t *ch, const struct variant *v) {
    lago_tx_t args = { .timeout_ms = v->timeout_ms };
    return lago_tx_rollback(ch, &args, TOLD(v, noted_done), v->p);
}

static int exchange_declare(lago_channel_t *ch, const struct variant *v) {
    lago_exchange_declare_t args = { .exchange = NAMED(v, "x"),
                                     .no_wait = v->no_wait,
                                     .timeout_ms = v->timeout_ms,
                                     .arguments = v->arguments,
                                     .reserved = { v->reserved } };
    return lago_exchange_declare(ch, &args, TOLD(v, noted_done), v->p);
}

static int exchange_delete(lago_channel_t *ch, const struct variant *v) {
    lago_exchange_delete_t args = {
        .exchange = NAMED(v, "x"), .no_wait = v->no_wait, .timeout_ms = v->timeout_ms, .reserved = { v->reserved }
    };
    return lago_exchange_delete(ch, &args, TOLD(v, noted_done), v->p);
}

static lago_exchange_bind_t binding(const struct variant *v) {
    return (lago_exchange_bind_t){ .destination = "d",
                                   .source = "s",
                                   .routing_key = NAMED(v, "k"),
                                   .no_wait = v->no_wait,
                                   .timeout_ms = v->timeout_ms,
                                   .arguments = v->arguments,
                                   .reserved = { v->reserved } };
}

static int exchange_bind(lago_channel_t *ch, const struct variant *v) {
    lago_exchange_bind_t args = binding(v);
    return lago_exchange_bind(ch, &args, TOLD(v, noted_done), v->p);
}

static int exchange_unbind(lago_channel_t *ch, const struct variant *v) {
    lago_exchange_bind_t args = binding(v);
    return lago_exchange_unbind(ch, &args, TOLD(v, noted_done), v->p);
}

static int queue_declare(lago_channel_t *ch, const struct variant *v) {
    lago_queue_declare_t args = { .queue = NAMED(v, "q"),
                                  .no_wait = v->no_wait,
                                  .timeout_ms = v->timeout_ms,
                                  .arguments = v->arguments,
                                  .reserved = { v->reserved } };
    return lago_queue_declare(ch, &args, TOLD(v, noted_declare), v->p);
}

static int queue_bind(lago_channel_t *ch, const struct variant *v) {
    lago_queue_bind_t args = { .queue = "q",
                               .exchange = "x",
                               .routing_key = NAMED(v, "k"),
                               .no_wait = v->no_wait,
                               .timeout_ms = v->timeout_ms,
                               .arguments = v->arguments,
                               .reserved = { v->reserved } };
    return lago_queue_bind(ch, &args, TOLD(v, noted_done), v->p);
}

static int queue_unbind(lago_channel_t *ch, const struct variant *v) {
    lago_queue_bind_t args = { .queue = "q",
                               .exchange = "x",
                               .routing_key = NAMED(v, "k"),
                               .timeout_ms = v->timeout_ms,
                               .arguments = v->arguments,
                               .reserved = { v->reserved } };
    return lago_queue_unbind(ch, &args, TOLD(v, noted_done), v->p);
}

static int queue_purge(lago_channel_t *ch, const struct variant *v) {
    lago_queue_purge_t args = {
        .queue = NAMED(v, "q"), .no_wait = v->no_wait, .timeout_ms = v->timeout_ms, .reserved = { v->reserved }
    };
    return lago_queue_purge(ch, &args, TOLD(v, noted_count), v->p);
}

static int queue_delete(lago_channel_t *ch, const struct variant *v) {
    lago_queue_delete_t args = {
        .queue = NAMED(v, "q"), .no_wait = v->no_wait, .timeout_ms = v->timeout_ms, .reserved = { v->reserved }
    };
    return lago_queue_delete(ch, &args, TOLD(v, noted_count), v->p);
}

enum trait { NAME = 1, NO_WAIT = 2, RESERVED = 4, TABLE = 8, WITHOUT = 16 /* the completion may be NULL */ };

static const struct kind {
    const char *name;
    int (*issue)(lago_channel_t *ch, const struct variant *v);
    unsigned traits;
    const char *answer, *told;
} kinds[] = {
    { "qos", qos, RESERVED | WITHOUT, "1 basic.qos-ok", "qos ok" },
    { "consume", consume, NAME | NO_WAIT | RESERVED | TABLE | WITHOUT, "1 basic.consume-ok consumer_tag=\"new\"",
      "consume ok new" },
    { "cancel", cancel, NO_WAIT | RESERVED | WITHOUT, "1 basic.cancel-ok consumer_tag=\"c\"", "cancel ok c" },
    { "get", get, NAME | RESERVED, "1 basic.get-empty", "get empty" },
    { "recover", recover, RESERVED | WITHOUT, "1 basic.recover-ok", "recover ok" },
    { "flow", flow, WITHOUT, "1 channel.flow-ok active=1", "flow ok 1" },
    { "confirm", confirm_select, NO_WAIT | WITHOUT, "1 confirm.select-ok", "confirm ok" },
    { "tx-select", tx_select, WITHOUT, "1 tx.select-ok", "tx-select ok" },
    { "tx-commit", tx_commit, WITHOUT, "1 tx.commit-ok", "tx-commit ok" },
    { "tx-rollback", tx_rollback, WITHOUT, "1 tx.rollback-ok", "tx-rollback ok" },
    { "x-declare", exchange_declare, NAME | NO_WAIT | RESERVED | TABLE | WITHOUT, "1 exchange.declare-ok", "x-declare ok" },
    { "x-delete", exchange_delete, NAME | NO_WAIT | RESERVED | WITHOUT, "1 exchange.delete-ok", "x-delete ok" },
    { "x-bind", exchange_bind, NAME | NO_WAIT | RESERVED | TABLE | WITHOUT, "1 exchange.bind-ok", "x-bind ok" },
    { "x-unbind", exchange_unbind, NAME | NO_WAIT | RESERVED | TABLE | WITHOUT, "1 exchange.unbind-ok", "x-unbind ok" },
    { "declare", queue_declare, NAME | NO_WAIT | RESERVED | TABLE | WITHOUT,
      "1 queue.declare-ok queue=\"q\" message_count=2 consumer_count=1", "declare ok q 2 1" },
    { "bind", queue_bind, NAME | NO_WAIT | RESERVED | TABLE | WITHOUT, "1 queue.bind-ok", "bind ok" },
    { "unbind", queue_unbind, NAME | RESERVED | TABLE | WITHOUT, "1 queue.unbind-ok", "unbind ok" },
    { "purge", queue_purge, NAME | NO_WAIT | RESERVED | WITHOUT, "1 queue.purge-ok message_count=5", "purge ok 5" },
    { "delete", queue_delete, NAME | NO_WAIT | RESERVED | WITHOUT, "1 queue.delete-ok message_count=6", "delete ok 6" },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---------------------------------------------------------------- a channel with a consumer "c" */

static lago_channel_t *ch;

static void begin(void) {
    client_open(t);
    ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = noted_message, .data = t->self };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    virtual_forget_log(&t->v);
}

/* Refused: the code, no completion now or later, not a byte sent. */
static void refused(const struct kind *kind, struct variant v, int code) {
    begin();
    size_t frames = (size_t)lago_connection_counters(t->conn).frames_sent;
    if (!(kind->traits & NO_WAIT)) v.no_wait = false;
    int rc = kind->issue(ch, &v);
    if (rc != code) fail_msg("%s: %s instead of %s", kind->name, code_name(rc), code_name(code));
    assert_int_equal(lago_channel_error(ch), code);
    virtual_run(&t->v);
    assert_int_equal(lago_connection_counters(t->conn).frames_sent, frames);
    client_end(t);
    if (v.p) assert_int_equal(v.p->calls, 0);
}

static struct probe nobody; /* for what must not be called */

static void each_completes_exactly_once(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        begin();
        assert_int_equal(kinds[i].issue(ch, &(struct variant){ .p = probe(t, kinds[i].name) }), 0);
        assert_journal(t, ""); /* not inside the call */
        virtual_run(&t->v);
        assert_journal(t, ""); /* nor before the answer */
        server_send(&t->v, kinds[i].answer);
        assert_journal(t, kinds[i].told);
        assert_int_equal(lago_channel_error(ch), 0);
        client_end(t);
        assert_null(strstr(t->journal, kinds[i].name));
    }
}

static void a_completion_may_be_missing(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        if (!(kinds[i].traits & WITHOUT)) {
            refused(&kinds[i], (struct variant){ 0 }, LAGO_EINVAL);
            continue;
        }
        begin();
        assert_int_equal(kinds[i].issue(ch, &(struct variant){ 0 }), 0);
        server_send(&t->v, kinds[i].answer);
        assert_journal(t, "");
        assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
        client_end(t);
    }
}

static void no_wait_owes_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        if (!(kinds[i].traits & NO_WAIT)) continue;
        begin();
        assert_int_equal(kinds[i].issue(ch, &(struct variant){ .no_wait = true }), 0);
        server_send(&t->v, "0 heartbeat");
        assert_int_equal(virtual_saw(&t->v, "C> 1 *"), true);
        assert_non_null(strstr(t->v.log, "=1")); /* no_wait, or nowait: the bit is set */
        assert_journal(t, "");
        client_end(t);
        assert_journal(t, "channel free; connection free");
    }
}

static void no_wait_with_a_completion_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].traits & NO_WAIT) refused(&kinds[i], (struct variant){ .p = &nobody, .no_wait = true }, LAGO_EINVAL);
}

static void reserved_must_be_zero(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].traits & RESERVED) refused(&kinds[i], (struct variant){ .p = &nobody, .reserved = 1 }, LAGO_EINVAL);
}

static void long_names_are_refused(void **state) {
    static char name[257];
    (void)state;
    memset(name, 'n', 256);
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].traits & NAME) refused(&kinds[i], (struct variant){ .p = &nobody, .name = name }, LAGO_ETOOLONG);
}

static void bad_tables_are_refused(void **state) {
    static char long_text[140000];
    (void)state;
    memset(long_text, 'v', sizeof(long_text) - 1);
    lago_field_t big[] = { lago_field_str("big", long_text) };
    lago_field_t bad[] = { lago_field_of("bad", (lago_type_t)'?') };
    for (size_t i = 0; i < KINDS; i++) {
        if (!(kinds[i].traits & TABLE)) continue;
        refused(&kinds[i], (struct variant){ .p = &nobody, .arguments = LAGO_TABLE_OF(big) }, LAGO_ETOOBIG);
        refused(&kinds[i], (struct variant){ .p = &nobody, .arguments = LAGO_TABLE_OF(bad) }, LAGO_EINVAL);
    }
}

static void a_null_channel_is_refused(void **state) {
    (void)state;
    client_open(t);
    for (size_t i = 0; i < KINDS; i++) assert_int_equal(kinds[i].issue(NULL, &(struct variant){ .p = &nobody }), LAGO_EINVAL);
    client_end(t);
}

static void required_arguments_are_required(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_basic_consume(ch, NULL, noted_consumer, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_basic_consume(ch, &(lago_basic_consume_t){ .queue = "q" }, noted_consumer, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_basic_cancel(ch, NULL, noted_consumer, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ 0 }, noted_consumer, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_exchange_declare(ch, NULL, noted_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_exchange_declare(ch, &(lago_exchange_declare_t){ 0 }, noted_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_exchange_delete(ch, NULL, noted_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_exchange_bind(ch, &(lago_exchange_bind_t){ .source = "s" }, noted_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_exchange_unbind(ch, &(lago_exchange_bind_t){ .destination = "d" }, noted_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_queue_bind(ch, &(lago_queue_bind_t){ .queue = "q" }, noted_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_queue_unbind(ch, NULL, noted_done, &nobody), LAGO_EINVAL);
    lago_queue_bind_t waits_not = { .queue = "q", .exchange = "x", .no_wait = true };
    assert_int_equal(lago_queue_unbind(ch, &waits_not, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_declare(ch, &(lago_queue_declare_t){ .no_wait = true }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = empty, .no_wait = true }, NULL, NULL), LAGO_EINVAL);
    lago_basic_consume_t again = { .queue = "q", .consumer_tag = "c", .on_message = noted_message, .data = t->self };
    assert_int_equal(lago_basic_consume(ch, &again, noted_consumer, &nobody), LAGO_EEXIST);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "?" }, noted_consumer, &nobody), LAGO_ESTALE);
    client_end(t);
    assert_int_equal(nobody.calls, 0);
}

static void the_channel_remembers_its_first_failed_call(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_basic_ack(ch, 77, 0), LAGO_ESTALE);
    assert_int_equal(lago_channel_error(ch), 0); /* does not count */
    assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ 0 }, noted_publish, &nobody), LAGO_ENOCONFIRM);
    assert_int_equal(lago_exchange_declare(ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_error(ch), LAGO_ENOCONFIRM);
    client_end(t);
}

static void an_ended_channel_takes_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        begin();
        server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
        journal_clear(t);
        assert_int_equal(kinds[i].issue(ch, &(struct variant){ .p = &nobody }), LAGO_ECLOSED);
        virtual_run(&t->v);
        assert_journal(t, "");
        client_end(t);
    }
    for (size_t i = 0; i < KINDS; i++) {
        begin();
        assert_int_equal(lago_connection_close(t->conn, NULL), 0);
        assert_int_equal(kinds[i].issue(ch, &(struct variant){ .p = &nobody }), LAGO_ECLOSED);
        client_end(t);
    }
    assert_int_equal(nobody.calls, 0);
}

/* ---------------------------------------------------------------- deadlines */

static void each_ends_at_its_timeout(void **state) {
    char expected[64];
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        begin();
        struct probe *p = probe(t, kinds[i].name);
        assert_int_equal(kinds[i].issue(ch, &(struct variant){ .p = p, .timeout_ms = 700 }), 0);
        virtual_advance(&t->v, 699);
        assert_journal(t, "");
        virtual_advance(&t->v, 1);
        (void)snprintf(expected, sizeof(expected), "%s ETIMEDOUT", kinds[i].name);
        assert_memory_equal(t->journal, expected, strlen(expected));
        server_send(&t->v, kinds[i].answer); /* late: swallowed */
        assert_int_equal(kinds[i].issue == cancel ? LAGO_ESTALE : 0,
                         kinds[i].issue(ch, &(struct variant){ .p = p, .name = "2" }));
        assert_int_equal(p->calls, 1);
        assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
        assert_int_equal(lago_channel_state(ch), LAGO_CHANNEL_OPEN);
        client_end(t);
    }
}

/* Somebody is told all the same. */
static void without_a_completion_a_timeout_is_logged(void **state) {
    (void)state;
    begin();
    assert_int_equal(queue_declare(ch, &(struct variant){ .timeout_ms = 700 }), 0);
    virtual_advance(&t->v, 700);
    assert_true(virtual_saw(&t->v, "queue.declare was not answered in time*"));
    client_end(t);
}

static void frees(lago_channel_t *channel, const lago_reason_t *reason, void *data) {
    assert_int_equal(reason->code, LAGO_ETIMEDOUT);
    if (data) {
        lago_connection_free(t->conn);
        t->conn = NULL;
    } else {
        lago_channel_free(channel);
    }
}

/* The completion of a request that is late is called as any other: what it is of may be gone behind it. */
static void a_timeout_may_free_it(void **state) {
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        begin();
        lago_queue_bind_t args = { .queue = "q", .exchange = "e", .timeout_ms = 700 };
        assert_int_equal(lago_queue_bind(ch, &args, frees, whole ? &test : NULL), 0);
        args.timeout_ms = 5000;
        assert_int_equal(lago_queue_bind(ch, &args, noted_done, &nobody), 0);
        virtual_advance(&t->v, 10000);
        assert_journal(t, whole ? "channel free; connection free" : "channel free");
        client_end(t);
    }
    assert_int_equal(nobody.calls, 0);
}

static void transactions_need_no_arguments(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_tx_select(ch, NULL, noted_done, probe(t, "select")), 0);
    assert_int_equal(lago_tx_commit(ch, NULL, noted_done, probe(t, "commit")), 0);
    assert_int_equal(lago_tx_rollback(ch, NULL, noted_done, probe(t, "rollback")), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 tx.select-ok\n1 tx.commit-ok\n1 tx.rollback-ok");
    assert_journal(t, "select ok; commit ok; rollback ok");
    client_end(t);
}

static void operation_timeout_is_the_default(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .operation_timeout_ms = 500, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    journal_clear(t);
    ch = client_open_channel(t);
    assert_int_equal(queue_declare(ch, &(struct variant){ .p = probe(t, "a") }), 0);
    assert_int_equal(queue_declare(ch, &(struct variant){ .p = probe(t, "b"), .timeout_ms = LAGO_NO_TIMEOUT }), 0);
    assert_int_equal(queue_declare(ch, &(struct variant){ .p = probe(t, "c"), .timeout_ms = 200 }), 0);
    virtual_advance(&t->v, 5000);
    assert_journal(t, "c ETIMEDOUT; a ETIMEDOUT");
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"\n1 queue.declare-ok queue=\"q\"\n1 queue.declare-ok queue=\"q\"");
    assert_journal(t, "b ok q 0 0");
    client_end(t);
}

static void a_late_get_is_given_back(void **state) {
    (void)state;
    begin();
    assert_int_equal(get(ch, &(struct variant){ .p = probe(t, "get"), .timeout_ms = 100 }), 0);
    virtual_advance(&t->v, 100);
    server_send(&t->v, "1 basic.get-ok delivery_tag=1 routing_key=\"q\"\n1 header body_size=1\n1 body \"x\"");
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    client_end(t);
}

static void a_late_consumer_is_cancelled(void **state) {
    (void)state;
    begin();
    assert_int_equal(consume(ch, &(struct variant){ .p = probe(t, "consume"), .timeout_ms = 100 }), 0);
    virtual_advance(&t->v, 100);
    assert_journal(t, "consume ETIMEDOUT new");
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"new\"\n1 basic.deliver consumer_tag=\"new\" delivery_tag=1\n"
                       "1 header body_size=0");
    assert_true(virtual_saw(&t->v, "C> 1 basic.cancel consumer_tag=\"new\""));
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"new\"");
    assert_int_equal(consume(ch, &(struct variant){ 0 }), 0); /* the tag is free again */
    assert_journal(t, "");
    client_end(t);
}

/* RabbitMQ closes the channel (406) for a reject of what it takes as settled. */
static void what_a_late_consumer_with_auto_ack_got_is_not_given_back(void **state) {
    (void)state;
    begin();
    lago_basic_consume_t args = {
        .queue = "q", .consumer_tag = "auto", .auto_ack = true, .on_message = noted_message, .timeout_ms = 100, .data = t->self
    };
    assert_int_equal(lago_basic_consume(ch, &args, noted_consumer, probe(t, "consume")), 0);
    virtual_advance(&t->v, 100);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"auto\"\n1 basic.deliver consumer_tag=\"auto\" delivery_tag=1\n"
                       "1 header body_size=0");
    assert_false(virtual_saw(&t->v, "C> 1 basic.reject*"));
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    client_end(t);
}

/* ---------------------------------------------------------------- the connection's own */

static void a_secret_is_updated(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_update_secret(NULL, "s", NULL, noted_connection_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_update_secret(t->conn, NULL, NULL, noted_connection_done, &nobody), LAGO_EINVAL);
    assert_int_equal(lago_update_secret(t->conn, "token", "expired", noted_connection_done, probe(t, "secret")), 0);
    assert_int_equal(lago_update_secret(t->conn, "token", NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_null(strstr(t->v.log, "token"));
    server_send(&t->v, "0 connection.update-secret-ok");
    assert_journal(t, "secret ok");
    server_send(&t->v, "0 connection.update-secret-ok");
    assert_journal(t, "");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);
    assert_int_equal(nobody.calls, 0);
}

static void a_late_update_secret_ok_is_swallowed(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .operation_timeout_ms = 500 });
    server_handshake(&t->v);
    journal_clear(t);
    assert_int_equal(lago_update_secret(t->conn, "one", NULL, noted_connection_done, probe(t, "one")), 0);
    virtual_advance(&t->v, 499);
    assert_int_equal(lago_update_secret(t->conn, "two", NULL, noted_connection_done, probe(t, "two")), 0);
    virtual_advance(&t->v, 1);
    assert_journal(t, "one ETIMEDOUT");
    server_send(&t->v, "0 connection.update-secret-ok"); /* of the first */
    assert_journal(t, "");
    server_send(&t->v, "0 connection.update-secret-ok");
    assert_journal(t, "two ok");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);
}

static void an_answer_that_nobody_asked_for_breaks_the_protocol(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        begin();
        server_send(&t->v, kinds[i].answer);
        assert_true(virtual_saw(&t->v, "C> 0 connection.close reply_code=503*"));
        server_send(&t->v, "0 connection.close-ok");
        assert_journal(t, "1 close EPROTOCOL; channel free; close EPROTOCOL; connection free");
        client_end(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_completes_exactly_once),
        cmocka_unit_test(a_completion_may_be_missing),
        cmocka_unit_test(no_wait_owes_nothing),
        cmocka_unit_test(no_wait_with_a_completion_is_refused),
        cmocka_unit_test(reserved_must_be_zero),
        cmocka_unit_test(long_names_are_refused),
        cmocka_unit_test(bad_tables_are_refused),
        cmocka_unit_test(a_null_channel_is_refused),
        cmocka_unit_test(required_arguments_are_required),
        cmocka_unit_test(the_channel_remembers_its_first_failed_call),
        cmocka_unit_test(an_ended_channel_takes_nothing),
        cmocka_unit_test(each_ends_at_its_timeout),
        cmocka_unit_test(without_a_completion_a_timeout_is_logged),
        cmocka_unit_test(a_timeout_may_free_it),
        cmocka_unit_test(transactions_need_no_arguments),
        cmocka_unit_test(operation_timeout_is_the_default),
        cmocka_unit_test(a_late_get_is_given_back),
        cmocka_unit_test(a_late_consumer_is_cancelled),
        cmocka_unit_test(what_a_late_consumer_with_auto_ack_got_is_not_given_back),
        cmocka_unit_test(a_secret_is_updated),
        cmocka_unit_test(a_late_update_secret_ok_is_swallowed),
        cmocka_unit_test(an_answer_that_nobody_asked_for_breaks_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
