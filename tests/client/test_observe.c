/* What a connection says of itself: counters, histograms, the dump. */
#include "client_test.h"
#include <lago/observe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;

static lago_histogram_t histogram(lago_metric_t metric) {
    lago_histogram_t h;
    assert_int_equal(lago_connection_histogram(t->conn, metric, &h), 0);
    return h;
}

/* One duration was measured, of so many milliseconds. */
static void assert_measured(lago_metric_t metric, uint64_t count, uint64_t sum_ms) {
    lago_histogram_t h = histogram(metric);
    assert_int_equal(h.count, count);
    assert_int_equal(h.sum_us, sum_ms * 1000);
}

static void publish(lago_channel_t *ch, bool mandatory) {
    lago_basic_publish_t args = { .routing_key = "q", .mandatory = mandatory, .body = { "x", 1 } };
    assert_true(lago_basic_publish(ch, &args, noted_publish, probe(t, "publish")) >= 0);
}

static lago_channel_t *consuming_channel(void) {
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = noted_message, .data = probe(t, "message") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    return ch;
}

static void deliver(unsigned tag, bool redelivered) {
    char lines[256];
    (void)snprintf(lines, sizeof(lines),
                   "1 basic.deliver consumer_tag=\"c\" delivery_tag=%u redelivered=%s routing_key=\"q\"\n1 header body_size=0",
                   tag, redelivered ? "1" : "0");
    server_send(&t->v, lines);
}

/* ---------------------------------------------------------------- histograms */

static void each_phase_of_connecting_is_measured(void **state) {
    (void)state;
    client_init(t);
    t->v.resolve_status = VIRTUAL_NEVER;
    client_connect(t, NULL);
    virtual_run(&t->v);
    virtual_advance(&t->v, 5);
    assert_measured(LAGO_METRIC_RESOLVE, 0, 0);
    client_end(t);

    client_init(t);
    client_connect(t, NULL);
    virtual_run(&t->v);
    virtual_advance(&t->v, 20);
    server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\" locales=\"en_US\"");
    virtual_advance(&t->v, 10);
    server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
    virtual_advance(&t->v, 7);
    server_send(&t->v, "0 connection.open-ok");
    assert_measured(LAGO_METRIC_RESOLVE, 1, 0);
    assert_measured(LAGO_METRIC_CONNECT, 1, 0);
    assert_measured(LAGO_METRIC_TLS, 0, 0);
    assert_measured(LAGO_METRIC_HANDSHAKE, 1, 30);
    assert_measured(LAGO_METRIC_OPEN, 1, 7);
    client_end(t);
}

static void operations_are_measured_from_call_to_answer(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "a" }, NULL, NULL);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "b" }, NULL, NULL);
    virtual_run(&t->v);
    virtual_advance(&t->v, 100);
    server_send(&t->v, "1 queue.declare-ok queue=\"a\"");
    virtual_advance(&t->v, 50);
    server_send(&t->v, "1 queue.declare-ok queue=\"b\"");
    assert_measured(LAGO_METRIC_OPERATION, 2, 250);
    assert_int_equal(histogram(LAGO_METRIC_OPERATION).max_us, 150000);
    client_end(t);
}

/* 2^32 us are 71 minutes. */
static void a_very_long_one_is_measured_as_well(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    journal_clear(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_measured(LAGO_METRIC_ACK_HOLD, 0, 0); /* nothing was held yet */
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "a" }, NULL, NULL);
    virtual_advance(&t->v, 72 * 60000);
    server_send(&t->v, "1 queue.declare-ok queue=\"a\"");
    assert_measured(LAGO_METRIC_OPERATION, 1, 72 * 60000);
    assert_int_equal(histogram(LAGO_METRIC_OPERATION).max_us, UINT64_C(72) * 60000 * 1000);
    client_end(t);
}

static void confirms_and_outcomes(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_confirming_channel(t);
    publish(ch, false);
    virtual_advance(&t->v, 30);
    publish(ch, false);
    publish(ch, true);
    publish(ch, false);
    virtual_advance(&t->v, 10);
    server_send(&t->v,
                "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"q\"\n1 header body_size=1\n1 body \"x\"");
    server_send(&t->v, "1 basic.ack delivery_tag=1\n1 basic.nack delivery_tag=2\n1 basic.ack delivery_tag=3");
    assert_measured(LAGO_METRIC_CONFIRM, 3, 60);
    lago_connection_abort(t->conn);
    virtual_run(&t->v);
    lago_counters_t c = lago_connection_counters(t->conn); /* after the end as well */
    assert_int_equal(c.messages_sent, 4);
    assert_int_equal(c.confirmed, 1);
    assert_int_equal(c.nacked, 1);
    assert_int_equal(c.returned, 1);
    assert_int_equal(c.unsettled, 1);
    assert_int_equal(c.channels_opened, 1);
    assert_measured(LAGO_METRIC_CONFIRM, 3, 60);
    client_end(t);
}

/* One answer for two: each from its own publish on. */
static void confirms_of_several(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_confirming_channel(t);
    publish(ch, false);
    virtual_advance(&t->v, 30);
    publish(ch, false);
    virtual_advance(&t->v, 10);
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_measured(LAGO_METRIC_CONFIRM, 2, 40 + 10);
    client_end(t);
}

/* As most consumers do: each from its own delivery on. */
static void acks_in_the_order_of_the_deliveries(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = consuming_channel();
    for (unsigned tag = 1; tag <= 3; tag++) {
        deliver(tag, false);
        virtual_advance(&t->v, 20);
    }
    assert_int_equal(lago_basic_ack(ch, 1, 0), 0);
    assert_measured(LAGO_METRIC_ACK_HOLD, 1, 60);
    assert_int_equal(lago_basic_ack(ch, 2, 0), 0);
    assert_measured(LAGO_METRIC_ACK_HOLD, 2, 60 + 40);
    assert_int_equal(lago_basic_ack(ch, 3, 0), 0);
    assert_measured(LAGO_METRIC_ACK_HOLD, 3, 60 + 40 + 20);
    client_end(t);
}

static void deliveries_and_their_settling(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = consuming_channel();
    deliver(1, false);
    virtual_advance(&t->v, 20);
    deliver(2, true);
    deliver(3, false);
    virtual_advance(&t->v, 5);
    assert_int_equal(lago_basic_ack(ch, 2, 0), 0);
    assert_measured(LAGO_METRIC_ACK_HOLD, 1, 5);
    assert_int_equal(lago_basic_ack(ch, 3, LAGO_MULTIPLE), 0); /* by its oldest, tag 1 */
    assert_measured(LAGO_METRIC_ACK_HOLD, 2, 30);
    deliver(4, false);
    assert_int_equal(lago_basic_nack(ch, 4, 0), 0);
    lago_counters_t c = lago_connection_counters(t->conn);
    assert_int_equal(c.messages_received, 4);
    assert_int_equal(c.redelivered, 1);
    assert_int_equal(c.acked, 3);
    assert_int_equal(c.refused, 1);
    client_end(t);
}

static void blocked_time_is_counted_up_to_now(void **state) {
    (void)state;
    client_open(t);
    server_send(&t->v, "0 connection.blocked reason=\"low on memory\"");
    virtual_advance(&t->v, 1000);
    server_send(&t->v, "0 heartbeat");
    assert_int_equal(lago_connection_counters(t->conn).blocked_ms, 1000);
    server_send(&t->v, "0 connection.unblocked");
    virtual_advance(&t->v, 1000);
    server_send(&t->v, "0 connection.blocked reason=\"low on disk\"");
    virtual_advance(&t->v, 500);
    server_send(&t->v, "0 connection.unblocked");
    lago_counters_t c = lago_connection_counters(t->conn);
    assert_int_equal(c.blocked_count, 2);
    assert_int_equal(c.blocked_ms, 1500);
    assert_int_equal(c.heartbeats_received, 1);
    client_end(t);
}

static void late_timers_are_lag(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_call_later(t->conn, 10, noted_timer, probe(t, "timer"), NULL), 0);
    virtual_oversleep(&t->v, 90);
    virtual_run(&t->v);
    assert_measured(LAGO_METRIC_LOOP_LAG, 1, 80);
    client_end(t);
}

static void bad_questions(void **state) {
    lago_histogram_t h = { .count = 7 };
    (void)state;
    assert_int_equal(lago_connection_histogram(NULL, LAGO_METRIC_OPEN, &h), LAGO_EINVAL);
    assert_int_equal(h.count, 0);
    client_open(t);
    assert_int_equal(lago_connection_histogram(t->conn, LAGO_METRIC_OPEN, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_histogram(t->conn, (lago_metric_t)LAGO_METRIC_COUNT, &h), LAGO_EINVAL);
    assert_string_equal(lago_metric_name(LAGO_METRIC_ACK_HOLD), "ack_hold");
    assert_string_equal(lago_metric_name((lago_metric_t)99), "unknown");
    assert_int_equal(lago_connection_counters(NULL).bytes_sent, 0);
    client_end(t);
}

/* ---------------------------------------------------------------- the dump */

static char page[16384];

static const char *dump(void) {
    size_t size = lago_connection_dump(t->conn, page, sizeof(page));
    assert_true(size > 0 && size < sizeof(page));
    assert_int_equal(strlen(page), size);
    return page;
}

static void a_page_of_a_busy_connection(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = consuming_channel();
    lago_confirm_select(ch, NULL, NULL, NULL);
    virtual_run(&t->v);
    server_send(&t->v, "1 confirm.select-ok");
    deliver(1, false);
    publish(ch, false);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q" }, NULL, NULL);
    virtual_run(&t->v);
    virtual_advance(&t->v, 1250);
    server_send(&t->v, "0 connection.blocked reason=\"x\"\n");
    assert_string_equal(dump(), "connection open to 192.0.2.1:5672, virtual host /, user guest\n"
                                "  tune: channel_max 2047, frame_max 131072, heartbeat 60 s\n"
                                "  blocked by the broker for 0.000 s\n"
                                "  link: 0 bytes to write, 415 sent, 350 received; last byte in 0.000 s ago, out 1.250 s ago\n"
                                "  timers: 0 of the application; the next deadline in 28.750 s\n"
                                "  channel 1 open, 1 published, last delivery tag 1\n"
                                "    waits for: queue.declare (1.250 s)\n"
                                "    unacknowledged: 1, the oldest is tag 1, since 1.250 s\n"
                                "    unconfirmed: 1, the oldest is number 1, since 1.250 s\n"
                                "    consumer c of queue \"q\" living, 1 delivered\n");
    client_end(t);
}

static void a_page_before_and_after(void **state) {
    (void)state;
    client_init(t);
    t->v.connect_status[0] = VIRTUAL_NEVER;
    client_connect(t, "amqp://user:very-secret@host/vh");
    virtual_run(&t->v);
    virtual_advance(&t->v, 3000);
    assert_non_null(strstr(dump(), "connection connecting to 192.0.2.1:5672, virtual host vh, user user\n"));
    assert_non_null(strstr(page, "connecting: connecting, round 1 of 1, address 1 of 1, for"));
    assert_null(strstr(page, "very-secret"));
    lago_connection_abort(t->conn);
    virtual_run(&t->v);
    assert_non_null(strstr(dump(), "connection closed"));
    assert_non_null(strstr(page, "ended: "));
    client_end(t);
}

/* As snprintf: any size, the whole length returned, what fits written. */
static void a_page_is_cut_at_any_size(void **state) {
    char small[200];
    (void)state;
    client_open(t);
    for (int i = 0; i < 80; i++) client_channel(t);
    size_t whole = strlen(dump());
    assert_non_null(strstr(page, "  and 16 channels more\n"));
    assert_int_equal(lago_connection_dump(t->conn, NULL, 0), whole);
    for (size_t size = 1; size <= sizeof(small); size++) {
        memset(small, 'X', sizeof(small));
        assert_int_equal(lago_connection_dump(t->conn, small, size), whole);
        assert_int_equal(strlen(small), size - 1);
        assert_memory_equal(small, page, size - 1);
    }
    assert_int_equal(lago_connection_dump(NULL, small, sizeof(small)), 0);
    assert_string_equal(small, "");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_phase_of_connecting_is_measured),
        cmocka_unit_test(operations_are_measured_from_call_to_answer),
        cmocka_unit_test(a_very_long_one_is_measured_as_well),
        cmocka_unit_test(confirms_and_outcomes),
        cmocka_unit_test(confirms_of_several),
        cmocka_unit_test(acks_in_the_order_of_the_deliveries),
        cmocka_unit_test(deliveries_and_their_settling),
        cmocka_unit_test(blocked_time_is_counted_up_to_now),
        cmocka_unit_test(late_timers_are_lag),
        cmocka_unit_test(bad_questions),
        cmocka_unit_test(a_page_of_a_busy_connection),
        cmocka_unit_test(a_page_before_and_after),
        cmocka_unit_test(a_page_is_cut_at_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
