/*
 * Memory that runs out: one life of a connection, in which the k-th allocation fails, once or from then on, for every k. Nothing
 * crashes or leaks, what was accepted completes exactly once, and what was refused never.
 */
#include "broker.h"
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALLOCATIONS_MAX 2000 /* the life needs far less */
#define LARGE           300000u

/* What was asked for, whether it was accepted, and how often it came. */
struct asked {
    struct probe *p;
    bool accepted;
};

static struct client_test test;
static struct client_test *const t = &test;
static struct broker broker;
static struct asked asked[64];
static size_t asked_count;
static int opened, open_failed, closed;
static char *large;
static lago_channel_t *first;

#define LAST (asked[asked_count - 1].p)

static struct probe *ask(const char *name) {
    struct asked *a = &asked[asked_count++];
    *a = (struct asked){ .p = probe(t, name) };
    return a->p;
}

static void answered(int64_t rc) {
    if (rc < 0 && rc != LAGO_ENOMEM && rc != LAGO_ECLOSED && rc != LAGO_ESTALE && rc != LAGO_ENOCONFIRM && rc != LAGO_ENOCHANNEL)
        fail_msg("%s: %s", LAST->name, code_name((int)rc));
    asked[asked_count - 1].accepted = rc >= 0;
}

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    opened++;
}
static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    open_failed++;
}
static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    closed++;
}
static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    lago_message_t *kept = NULL;
    (void)data;
    if (lago_message_keep(message, &kept) == 0) lago_message_release(kept);
    (void)lago_basic_ack(ch, message->delivery_tag, 0);
}

static int bodies; /* begun and not ended */

static void on_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    (void)data;
    bodies += (int)body->begins - (int)body->ends;
    assert_in_range(bodies, 0, 1);
    if (body->ends && !body->reason) (void)lago_basic_ack(ch, body->message->delivery_tag, 0);
}

/* ---------------------------------------------------------------- the life */

static void use_publisher(lago_channel_t *ch) {
    lago_publisher_t *publisher = NULL;
    struct probe *data = ask("publisher");
    lago_publisher_options_t options = { .routing_key = "q", .on_outcome = noted_publish, .data = data, .free_data = noted_free };
    answered(lago_publisher_new(ch, &options, &publisher));
    if (!publisher) return;
    (void)ask("prepared");
    answered(lago_publisher_publish(publisher, (lago_bytes_t){ "x", 1 }, LAST));
    (void)ask("prepared and copied");
    answered(lago_publisher_publish(publisher, (lago_bytes_t){ large, LARGE }, LAST));
    struct probe *outcome = ask("prepared and lent"), *body = ask("its body");
    lago_publisher_message_t lent = {
        .body = { large, LARGE }, .routing_key = "o", .release_body = noted_release, .release_data = body
    };
    int64_t rc = lago_publisher_publish_message(publisher, &lent, outcome);
    answered(rc);
    asked[asked_count - 2].accepted = rc >= 0;
}

static void use_channel(lago_channel_t *ch) {
    (void)ask("confirm");
    answered(lago_confirm_select(ch, NULL, noted_done, LAST));
    (void)ask("declare");
    answered(lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q", .arguments = LAGO_TABLE(LAGO_FIELD_I32("x", 1)) },
                                noted_declare, LAST));
    lago_basic_publish_t small = { .routing_key = "q", .mandatory = true, .body = { "x", 1 } };
    (void)ask("small");
    answered(lago_basic_publish(ch, &small, noted_publish, LAST));
    lago_basic_publish_t copied = { .routing_key = "q", .body = { large, LARGE } };
    (void)ask("copied");
    answered(lago_basic_publish(ch, &copied, noted_publish, LAST));
    struct probe *outcome = ask("lent");
    struct probe *body = ask("body");
    lago_basic_publish_t lent = {
        .routing_key = "q", .body = { large, LARGE }, .release_body = noted_release, .release_data = body
    };
    int64_t rc = lago_basic_publish(ch, &lent, noted_publish, outcome);
    answered(rc);
    asked[asked_count - 2].accepted = rc >= 0;
    use_publisher(ch);
    struct probe *consuming = ask("consume");
    struct probe *data = ask("consumer");
    lago_basic_consume_t args = {
        .queue = "q", .consumer_tag = "c", .on_message = on_message, .data = data, .free_data = noted_free
    };
    int consumed = lago_basic_consume(ch, &args, noted_consumer, consuming);
    answered(consumed);
    asked[asked_count - 2].accepted = consumed == 0;
    (void)ask("bodies");
    lago_basic_consume_t pieces = {
        .queue = "q", .consumer_tag = "b", .on_body = on_body, .data = LAST, .free_data = noted_free
    };
    answered(lago_basic_consume(ch, &pieces, NULL, NULL));
    (void)lago_consumer_pause(ch, "c");
    (void)ask("get");
    answered(lago_basic_get(ch, NULL, noted_get, LAST));
}

static void on_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data) {
    (void)rpc, (void)result;
    ((struct probe *)data)->calls++;
}

/* A request that is answered, and one that is not. */
static void use_rpc(void) {
    lago_channel_t *ch = NULL;
    lago_rpc_t *rpc = NULL;
    (void)ask("rpc channel");
    answered(lago_channel_open(t->conn, &(lago_channel_options_t){ .data = LAST, .free_data = noted_free }, &ch));
    if (!ch) return;
    (void)ask("rpc");
    answered(lago_rpc_new(ch, &(lago_rpc_options_t){ .data = LAST, .free_data = noted_free }, &rpc));
    if (!rpc) return;
    (void)ask("answered call");
    answered(lago_rpc_call(rpc, &(lago_rpc_call_t){ .routing_key = "q", .body = { "x", 1 } }, on_reply, LAST));
    (void)ask("call");
    lago_properties_t none = { .type = "no reply" };
    answered(lago_rpc_call(rpc, &(lago_rpc_call_t){ .routing_key = "q", .properties = &none, .timeout_ms = 50 }, on_reply, LAST));
}

static void use_connection(void) {
    lago_channel_t *ch = NULL;
    lago_channel_options_t options = { .data = ask("channel"), .free_data = noted_free };
    answered(lago_channel_open(t->conn, &options, &ch));
    first = ch;
    if (ch) use_channel(ch);
    use_rpc();
    (void)ask("secret");
    answered(lago_update_secret(t->conn, "s", NULL, noted_connection_done, LAST));
    (void)ask("timer");
    answered(lago_connection_call_later(t->conn, 5, noted_timer, LAST, NULL));
}

static bool connect_it(void) {
    lago_parameters_t parameters = { .connection_name = "oom", .stack_timeout_ms = 3000, .connection_attempts = 2 };
    lago_connection_options_t options = {
        .parameters = &parameters, .on_open = on_open, .on_open_error = on_open_error, .on_close = on_close
    };
    options.data = ask("connection");
    options.free_data = noted_free;
    int rc = virtual_connect(&t->v, NULL, &options);
    answered(rc);
    t->conn = t->v.conn;
    return rc == 0;
}

static void live(bool early) {
    if (!connect_it()) return;
    broker.deliver = 2;
    if (!early) broker_run(&broker);
    use_connection(); /* whatever has become of it */
    broker_run(&broker);
    virtual_advance(&t->v, 100);
    if (first) (void)lago_consumer_resume(first, "c");
    broker_run(&broker);
    lago_channel_t *second = NULL;
    (void)ask("second");
    answered(lago_channel_open(t->conn, &(lago_channel_options_t){ .data = LAST, .free_data = noted_free }, &second));
    broker_run(&broker);
    lago_channel_free(second);
    (void)lago_connection_close(t->conn, NULL);
    broker_run(&broker);
    if (t->v.conn) virtual_advance(&t->v, 30000);
    broker_run(&broker);
    if (t->v.conn) (void)lago_connection_abort(t->conn); /* what needs no memory must still end it */
    virtual_run(&t->v);
    assert_null(t->v.conn);
}

/* The life with its k-th allocation failing; whether there were so many. */
static bool run(size_t k, bool from_then_on, bool early) {
    client_init(t);
    asked_count = 0;
    opened = open_failed = closed = bodies = 0;
    t->v.log_level = LAGO_LOG_TRACE;
    broker_init(&broker, &t->v);
    fail_alloc_at(&t->v.alloc, k, from_then_on);
    live(early);
    bool failed = t->v.alloc.calls >= k;
    assert_int_equal(bodies, 0);
    if (t->conn && (opened + open_failed != 1 || closed != opened))
        fail_msg("k=%zu: opened %d, not opened %d, closed %d", k, opened, open_failed, closed);
    client_end(t);
    for (size_t i = 0; i < asked_count; i++)
        if (asked[i].p->calls != (asked[i].accepted ? 1u : 0u))
            fail_msg("k=%zu%s: %s was %s and came %u times", k, from_then_on ? " and on" : "", asked[i].p->name,
                     asked[i].accepted ? "accepted" : "refused", asked[i].p->calls);
    return failed;
}

static void fail_each(bool from_then_on, bool early) {
    size_t k = 1;
    large = malloc(LARGE);
    assert_non_null(large);
    memset(large, 'x', LARGE);
    while (run(k, from_then_on, early) && k < ALLOCATIONS_MAX) k++;
    free(large);
    assert_true(k > 40);
    assert_true(k < ALLOCATIONS_MAX);
    print_message("%zu allocations\n", k - 1);
}

static void one_failure_on_an_open_connection(void **state) {
    (void)state;
    fail_each(false, false);
}

static void no_memory_any_more_on_an_open_connection(void **state) {
    (void)state;
    fail_each(true, false);
}

static void one_failure_before_it_is_open(void **state) {
    (void)state;
    fail_each(false, true);
}

static void no_memory_any_more_before_it_is_open(void **state) {
    (void)state;
    fail_each(true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_failure_on_an_open_connection),
        cmocka_unit_test(no_memory_any_more_on_an_open_connection),
        cmocka_unit_test(one_failure_before_it_is_open),
        cmocka_unit_test(no_memory_any_more_before_it_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
