/* Delivery tags: which may come, which are open, and what is given back for those that nobody takes. */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static void deliver(uint64_t tag) {
    char lines[128];
    (void)snprintf(lines, sizeof(lines), "1 basic.deliver consumer_tag=\"c\" delivery_tag=%llu\n1 header body_size=0",
                   (unsigned long long)tag);
    server_send(&t->v, lines);
}

static void quiet_deliver(uint64_t tag) {
    deliver(tag);
    journal_clear(t);
}

static lago_channel_t *consuming(bool auto_ack) {
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = {
        .queue = "q", .consumer_tag = "c", .auto_ack = auto_ack, .on_message = noted_message, .data = probe(t, "m")
    };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    virtual_forget_log(&t->v);
    return ch;
}

#define assert_broken(code)                                                                                                      \
    do {                                                                                                                         \
        assert_true(virtual_saw(&t->v, "C> 0 connection.close reply_code=" #code " *"));                                         \
        assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSING);                                               \
    } while (0)

/* ---------------------------------------------------------------- which may come */

/* Who leaves out tag after tag while all stay open means harm: each gap takes memory. */
static void gaps_have_an_end(void **state) {
    (void)state;
    lago_channel_t *ch = consuming(false);
    t->v.log_level = LAGO_LOG_ERROR;
    for (uint64_t i = 1; i <= 10000; i++) quiet_deliver(2 * i);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    assert_int_equal(lago_channel_unacked_count(ch), 10000);
    quiet_deliver(20001); /* no gap */
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    deliver(20003);
    assert_broken(506);
    client_end(t);
}

/* They are counted while something is open; with auto_ack nothing is. */
static void gaps_that_take_no_memory_are_free(void **state) {
    (void)state;
    lago_channel_t *ch = consuming(false);
    for (uint64_t i = 1; i <= 10100; i++) {
        quiet_deliver(2 * i);
        assert_int_equal(lago_basic_ack(ch, 2 * i, 0), 0);
    }
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);

    (void)consuming(true);
    for (uint64_t i = 1; i <= 10100; i++) quiet_deliver(2 * i);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);
}

/* The highest of all is a tag as any other; behind it there is none. */
static void tags_do_not_begin_anew(void **state) {
    (void)state;
    lago_channel_t *ch = consuming(false);
    deliver(UINT64_MAX - 1);
    deliver(UINT64_MAX);
    assert_journal(t, "m got ; m got ");
    assert_int_equal(lago_channel_unacked_count(ch), 2);
    deliver(0);
    assert_journal(t, "");
    assert_broken(503);
    client_end(t);
}

/* A message for nobody, on a channel that never asked for any; and one whose consumer is gone, with a tag that was there before. */
static void messages_for_nobody(void **state) {
    (void)state;
    client_open(t);
    (void)client_open_channel(t);
    deliver(1);
    assert_broken(503);
    client_end(t);

    lago_channel_t *ch = consuming(false);
    quiet_deliver(7);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL), 0);
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"c\"");
    deliver(8); /* it was under way, perhaps */
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=8 requeue=1"));
    deliver(8);
    assert_broken(503);
    client_end(t);
}

/* ---------------------------------------------------------------- recover */

/* Behind other requests too: what comes until recover-ok is not open, and needs no giving back. */
static void what_comes_between_recover_and_its_answer(void **state) {
    (void)state;
    lago_channel_t *ch = consuming(false);
    quiet_deliver(1);
    assert_int_equal(lago_queue_declare(ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_basic_recover(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    deliver(2);
    assert_journal(t, "m got ");
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL), 0);
    deliver(3);
    assert_false(virtual_saw(&t->v, "C> 1 basic.reject*"));
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"");
    deliver(4);
    server_send(&t->v, "1 basic.recover-ok");
    assert_false(virtual_saw(&t->v, "C> 1 basic.reject*"));
    deliver(5);
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=5 requeue=1"));
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"c\"");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);
}

/* ---------------------------------------------------------------- basic.get */

#define GET_OK(tag) "1 basic.get-ok delivery_tag=" #tag "\n1 header body_size=1\n1 body \"x\""

/* An old tag would settle the wrong message: the call ends with what that is, in time or late. */
static void a_get_with_an_old_tag(void **state) {
    (void)state;
    lago_channel_t *ch = consuming(false);
    quiet_deliver(7);
    assert_int_equal(lago_basic_get(ch, NULL, noted_get, probe(t, "get")), 0);
    server_send(&t->v, GET_OK(7));
    assert_journal(t, "get EPROTOCOL");
    assert_broken(503);
    client_end(t);

    ch = consuming(false);
    quiet_deliver(7);
    assert_int_equal(lago_basic_get(ch, &(lago_basic_get_t){ .timeout_ms = 100 }, noted_get, probe(t, "get")), 0);
    virtual_advance(&t->v, 100);
    assert_journal(t, "get ETIMEDOUT");
    server_send(&t->v, GET_OK(7));
    assert_broken(503);
    client_end(t);
}

/* ---------------------------------------------------------------- bodies in pieces */

static void consume_in_pieces(lago_channel_t *ch) {
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "b", .on_body = noted_body, .data = probe(t, "b") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
}

/* Before consume-ok it is put together, for its consumer may never be; the tags of pieces are judged as all others; nobody's are not told. */
static void bodies_that_are_not_handed_out(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    consume_in_pieces(ch);
    server_send(&t->v, "1 basic.deliver consumer_tag=\"b\" delivery_tag=1\n1 header body_size=4\n1 body \"ab\"");
    assert_journal(t, "");
    server_send(&t->v, "1 body \"cd\"");
    assert_journal(t, "b 1 begins 0+4/4 ends");
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"b\"\n"
                       "1 basic.deliver consumer_tag=\"b\" delivery_tag=1\n1 header body_size=4\n1 body \"ab\"");
    assert_journal(t, "");
    assert_broken(503);
    client_end(t);

    client_open(t);
    ch = client_open_channel(t);
    consume_in_pieces(ch);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"b\"\n"
                       "1 basic.deliver consumer_tag=\"x\" delivery_tag=1\n1 header body_size=4\n1 body \"ab\"");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    server_send(&t->v, "1 body \"cd\"");
    assert_broken(503);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_have_an_end),
        cmocka_unit_test(gaps_that_take_no_memory_are_free),
        cmocka_unit_test(tags_do_not_begin_anew),
        cmocka_unit_test(messages_for_nobody),
        cmocka_unit_test(what_comes_between_recover_and_its_answer),
        cmocka_unit_test(a_get_with_an_old_tag),
        cmocka_unit_test(bodies_that_are_not_handed_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
