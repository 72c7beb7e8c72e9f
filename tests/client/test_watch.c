/* Who holds the loop: callbacks that take long are named, and a loop that is late for other reasons is told apart. */
#include "client_test.h"
#include <lago/observe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;

/* How long the next callback takes. */
static uint64_t hold_ms;

static void hold(void) {
    t->v.now += hold_ms;
    hold_ms = 0;
}

static void slow_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)ch;
    (void)message;
    (void)data;
    hold();
}

static void slow_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn;
    (void)status;
    (void)data;
    hold();
}

static void slow_declare(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch;
    (void)reason;
    (void)ok;
    (void)data;
    hold();
}

static lago_channel_t *consume(void) {
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "eater", .on_message = slow_message };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"eater\"");
    virtual_forget_log(&t->v);
    return ch;
}

static void deliver(unsigned tag) {
    char lines[160];
    (void)snprintf(lines, sizeof(lines), "1 basic.deliver consumer_tag=\"eater\" delivery_tag=%u\n1 header body_size=0", tag);
    server_send(&t->v, lines);
}

static void a_slow_consumer_is_named(void **state) {
    (void)state;
    client_open(t);
    consume();
    hold_ms = 499;
    deliver(1);
    assert_null(strstr(t->v.log, "held the loop"));
    hold_ms = 1234;
    deliver(2);
    assert_true(virtual_saw(&t->v, "the callback of basic.deliver on channel 1 (consumer eater) held the loop for 1234 ms; the "
                                   "heartbeat is 60 s"));
    assert_int_equal(lago_connection_counters(t->conn).slow_callbacks, 1);
    client_end(t);
}

/* It is blamed for its deliveries only. */
static void a_consumer_is_not_named_for_others(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = consume();
    deliver(1);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q" }, slow_declare, NULL);
    virtual_run(&t->v);
    hold_ms = 700;
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"");
    assert_true(virtual_saw(&t->v, "the callback of queue.declare-ok on channel 1 held the loop for 700 ms*"));
    client_end(t);
}

/* Nobody was asked before when it is wanted. */
static void the_first_turn_is_not_late(void **state) {
    (void)state;
    client_init(t);
    client_connect(t, NULL);
    link_turn(t->v.conn);
    virtual_run(&t->v);
    assert_null(strstr(t->v.log, "held the loop"));
    client_end(t);
}

static void so_are_timers_and_completions(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_call_later(t->conn, 1, slow_timer, NULL, NULL), 0);
    hold_ms = 600;
    virtual_oversleep(&t->v, 1);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "the callback of a timer held the loop for 600 ms*"));
    virtual_advance(&t->v, 2000);
    lago_channel_t *ch = client_open_channel(t);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q" }, slow_declare, NULL);
    virtual_run(&t->v);
    hold_ms = 700;
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"");
    assert_true(virtual_saw(&t->v, "the callback of queue.declare-ok on channel 1 held the loop for 700 ms*"));
    client_end(t);
}

/* One line a second; the next one says how many were left out. */
static void a_row_of_slow_ones_does_not_flood_the_log(void **state) {
    (void)state;
    client_open(t);
    consume();
    for (unsigned tag = 1; tag <= 2; tag++) {
        hold_ms = 500;
        deliver(tag);
    }
    virtual_advance(&t->v, 1000);
    hold_ms = 500;
    deliver(3);
    assert_non_null(strstr(t->v.log, "held the loop for 500 ms; "));
    assert_non_null(strstr(t->v.log, "held the loop for 500 ms (and 1 more such callbacks); "));
    assert_int_equal(lago_connection_counters(t->conn).slow_callbacks, 3);
    client_end(t);
}

/* The callback that freed the connection is named no more, and nothing of it is touched. */
static void slow_and_gone(lago_connection_t *conn, int status, void *data) {
    (void)status;
    (void)data;
    t->v.now += 5000;
    lago_connection_free(conn);
    t->conn = NULL;
}

static void a_slow_callback_may_free_its_connection(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_call_later(t->conn, 1, slow_and_gone, NULL, NULL), 0);
    virtual_advance(&t->v, 10);
    client_end(t);
}

static void a_loop_held_by_others_is_told_apart(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_call_later(t->conn, 100, noted_timer, probe(t, "timer"), NULL), 0);
    virtual_run(&t->v);
    virtual_oversleep(&t->v, 2100);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "something else than this connection's callbacks*"));
    assert_non_null(strstr(t->v.log, "held the loop for 2000 ms"));
    assert_int_equal(lago_connection_counters(t->conn).slow_callbacks, 0);
    client_end(t);
}

/* The time of a slow callback is its own, not that of the loop or of what was told behind it. */
static void what_is_told_behind_a_slow_one_is_not_blamed(void **state) {
    (void)state;
    client_open(t);
    consume();
    assert_int_equal(lago_connection_call_later(t->conn, 100, noted_timer, probe(t, "timer"), NULL), 0);
    virtual_run(&t->v);
    hold_ms = 3000;
    deliver(1);
    virtual_advance(&t->v, 2000);
    assert_int_equal(t->probes[t->probe_count - 1].calls, 1);
    assert_int_equal(lago_connection_counters(t->conn).slow_callbacks, 1);
    assert_true(virtual_saw(&t->v, "the callback of basic.deliver on channel 1 (consumer eater) held the loop for 3000 ms*"));
    assert_null(strstr(t->v.log, "something else"));
    client_end(t);
}

static void slow_release(void *data) {
    (void)data;
    hold();
}

static void lent_bodies_are_watched(void **state) {
    static const char body[100000];
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_publish_t args = { .routing_key = "q", .body = { body, sizeof(body) }, .release_body = slow_release };
    assert_int_equal(lago_basic_publish(ch, &args, NULL, NULL), 0);
    hold_ms = 800;
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "the callback of release_body held the loop for 800 ms*"));
    client_end(t);
}

static void slow_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    (void)result;
    (void)data;
    hold();
}

static void outcomes_are_watched(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_confirming_channel(t);
    assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q" }, slow_outcome, NULL), 1);
    virtual_run(&t->v);
    hold_ms = 900;
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_true(virtual_saw(&t->v, "the callback of a publish's outcome on channel 1 held the loop for 900 ms*"));
    client_end(t);
}

static void slow_free(void *data) {
    (void)data;
    hold();
}

/* It runs when nobody is on the stack any more, also in a call from outside the loop. */
static void free_data_is_watched(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = NULL;
    assert_int_equal(lago_channel_open(t->conn, &(lago_channel_options_t){ .free_data = slow_free }, &ch), 0);
    virtual_run(&t->v);
    virtual_advance(&t->v, 7000); /* that was not its time */
    hold_ms = 650;
    lago_channel_free(ch);
    assert_true(virtual_saw(&t->v, "the callback of free_data held the loop for 650 ms*"));
    assert_int_equal(lago_connection_counters(t->conn).slow_callbacks, 1);
    client_end(t);
}

/* No limit: neither callbacks nor the loop are looked at. */
static void it_can_be_switched_off(void **state) {
    (void)state;
    client_init(t);
    t->v.callback_limit_ms = LAGO_NO_TIMEOUT;
    client_connect(t, NULL);
    virtual_run(&t->v);
    assert_int_equal(lago_connection_call_later(t->conn, 10, slow_timer, NULL, NULL), 0);
    hold_ms = 5000;
    virtual_oversleep(&t->v, 5000);
    virtual_run(&t->v);
    assert_int_equal(hold_ms, 0);
    assert_null(strstr(t->v.log, "held the loop"));
    assert_int_equal(lago_connection_counters(t->conn).slow_callbacks, 0);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_consumer_is_named),
        cmocka_unit_test(a_consumer_is_not_named_for_others),
        cmocka_unit_test(the_first_turn_is_not_late),
        cmocka_unit_test(so_are_timers_and_completions),
        cmocka_unit_test(a_row_of_slow_ones_does_not_flood_the_log),
        cmocka_unit_test(a_slow_callback_may_free_its_connection),
        cmocka_unit_test(a_loop_held_by_others_is_told_apart),
        cmocka_unit_test(what_is_told_behind_a_slow_one_is_not_blamed),
        cmocka_unit_test(lent_bodies_are_watched),
        cmocka_unit_test(outcomes_are_watched),
        cmocka_unit_test(free_data_is_watched),
        cmocka_unit_test(it_can_be_switched_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
