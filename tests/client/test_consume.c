/* The life of consumers: what they are called, what a consume-ok that comes late or never means, and who ends them. */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CONSUME_OK "1 basic.consume-ok consumer_tag=\"c\""

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static lago_channel_t *open_channel(void) {
    client_open(t);
    return client_open_channel(t);
}

/* "c", which is called "c" in the journal as well. */
static void consume(lago_channel_t *ch, uint32_t timeout_ms, lago_consumer_cb callback) {
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = "c",
                                  .timeout_ms = timeout_ms,
                                  .on_message = noted_message,
                                  .on_cancel = noted_cancel,
                                  .data = probe(t, "c"),
                                  .free_data = noted_free };
    assert_int_equal(lago_basic_consume(ch, &args, callback, probe(t, "consume")), 0);
    virtual_run(&t->v);
}

static void cancel(lago_channel_t *ch, uint32_t timeout_ms) {
    lago_basic_cancel_t args = { .consumer_tag = "c", .timeout_ms = timeout_ms };
    assert_int_equal(lago_basic_cancel(ch, &args, noted_consumer, probe(t, "cancel")), 0);
    virtual_run(&t->v);
}

/* ---------------------------------------------------------------- names */

static void names_that_nobody_chose(void **state) {
    (void)state;
    lago_channel_t *ch = open_channel();
    assert_string_equal(lago_channel_last_consumer_tag(ch).data, "");
    assert_string_equal(lago_channel_last_consumer_tag(NULL).data, "");
    lago_basic_consume_t args = { .consumer_tag = "", .on_message = noted_message }; /* of the queue that was declared last */
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    assert_string_equal(lago_channel_last_consumer_tag(ch).data, "ctag1.1");
    args.consumer_tag = "ctag1.2"; /* a name that would be made next */
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    args.consumer_tag = NULL;
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    assert_string_equal(lago_channel_last_consumer_tag(ch).data, "ctag1.3");
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 basic.consume consumer_tag=\"ctag1.1\""));
    assert_true(virtual_saw(&t->v, "C> 1 basic.consume consumer_tag=\"ctag1.2\""));
    assert_true(virtual_saw(&t->v, "C> 1 basic.consume consumer_tag=\"ctag1.3\""));
    client_end(t);
}

/* Direct replies have no delivery tags, whole or in pieces: there is nothing to acknowledge. */
static void direct_replies_in_pieces(void **state) {
    (void)state;
    lago_channel_t *ch = open_channel();
    lago_basic_consume_t args = {
        .queue = LAGO_DIRECT_REPLY_TO, .consumer_tag = "c", .auto_ack = true, .on_body = noted_body, .data = probe(t, "b")
    };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, CONSUME_OK "\n1 basic.deliver consumer_tag=\"c\" delivery_tag=7\n1 header body_size=3\n1 body \"ab\"");
    server_send(&t->v, "1 body \"c\"\n1 basic.deliver consumer_tag=\"c\" delivery_tag=7\n1 header body_size=3\n1 body \"ab\"");
    assert_journal(t, "b 0 begins 0+0/3; b 0 0+2/3; b 0 2+1/3 ends; b 0 begins 0+0/3; b 0 0+2/3");
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    client_end(t);
}

/* ---------------------------------------------------------------- a consume-ok that is late */

/* Its user has heard of a timeout, and of nothing else; the broker is told that it shall not be. */
static void a_consumer_that_was_given_up_is_cancelled(void **state) {
    (void)state;
    lago_channel_t *ch = open_channel();
    consume(ch, 100, noted_consumer);
    virtual_advance(&t->v, 100);
    assert_journal(t, "consume ETIMEDOUT c; c free");
    server_send(&t->v, CONSUME_OK);
    assert_true(virtual_saw(&t->v, "C> 1 basic.cancel consumer_tag=\"c\""));
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"c\"");
    assert_journal(t, "");
    consume(ch, 0, noted_consumer); /* its name is free again */
    client_end(t);
}

/* It had been cancelled before: that cancel has waited, and leaves now; its own completion tells. */
static void its_cancel_leaves_with_it(void **state) {
    (void)state;
    lago_channel_t *ch = open_channel();
    consume(ch, 100, noted_consumer);
    cancel(ch, 1000);
    virtual_advance(&t->v, 100);
    assert_journal(t, "consume ETIMEDOUT c; c free");
    assert_false(virtual_saw(&t->v, "C> 1 basic.cancel*"));
    server_send(&t->v, CONSUME_OK);
    assert_true(virtual_saw(&t->v, "C> 1 basic.cancel consumer_tag=\"c\""));
    server_send(&t->v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=1\n1 header body_size=0"); /* it was under way */
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"c\"");
    assert_journal(t, "cancel ok c");
    client_end(t);
}

/* Its channel is closing, and takes it along: nothing is said between its last request and channel.close. */
static void a_channel_that_closes_takes_it_along(void **state) {
    (void)state;
    lago_channel_t *ch = open_channel();
    consume(ch, 100, noted_consumer);
    assert_int_equal(lago_queue_declare(ch, NULL, noted_declare, probe(t, "declare")), 0);
    virtual_advance(&t->v, 100);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    journal_clear(t);
    server_send(&t->v, CONSUME_OK);
    assert_false(virtual_saw(&t->v, "C> 1 basic.cancel*"));
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"");
    assert_true(virtual_saw(&t->v, "C> 1 channel.close*"));
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "declare ok q 0 0; 1 close ECLOSED; channel free");
    client_end(t);
}

static void closes_channel(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    noted_consumer(ch, reason, tag, data);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
}

/* Behind channel.close nothing may be said: not the cancel either that has waited for consume-ok, and was given up meanwhile. */
static void no_cancel_behind_a_goodbye(void **state) {
    (void)state;
    lago_channel_t *ch = open_channel();
    consume(ch, 1000, closes_channel);
    cancel(ch, 100);
    virtual_advance(&t->v, 100);
    assert_journal(t, "cancel ETIMEDOUT c");
    server_send(&t->v, CONSUME_OK);
    assert_true(virtual_saw(&t->v, "C> 1 channel.close*"));
    assert_false(virtual_saw(&t->v, "C> 1 *"));
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "consume ok c; c free; 1 close ECLOSED; channel free");
    client_end(t);
}

/* ---------------------------------------------------------------- the broker's cancel */

static void a_cancel_before_it_began_breaks_the_protocol(void **state) {
    (void)state;
    lago_channel_t *ch = open_channel();
    consume(ch, 0, noted_consumer);
    server_send(&t->v, "1 basic.cancel consumer_tag=\"c\" no_wait=1");
    assert_true(virtual_saw(&t->v, "C> 0 connection.close reply_code=503 *"));
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "consume EPROTOCOL c; c free; 1 close EPROTOCOL; channel free; close EPROTOCOL; connection free");
    (void)ch;
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_nobody_chose),
        cmocka_unit_test(direct_replies_in_pieces),
        cmocka_unit_test(a_consumer_that_was_given_up_is_cancelled),
        cmocka_unit_test(its_cancel_leaves_with_it),
        cmocka_unit_test(a_channel_that_closes_takes_it_along),
        cmocka_unit_test(no_cancel_behind_a_goodbye),
        cmocka_unit_test(a_cancel_before_it_began_breaks_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
