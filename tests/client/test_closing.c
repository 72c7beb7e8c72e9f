/* Goodbye in order, of connections and of channels; and every way in which it does not go as planned. */
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
static lago_channel_t *ch;

static void begin(void) {
    client_open(t);
    ch = client_open_channel(t);
}

static void confirming(void) {
    begin();
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    server_send(&t->v, "1 confirm.select-ok");
}

static int64_t publish(const char *name) {
    return lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q", .body = { "x", 1 } }, noted_publish,
                              probe(t, name));
}

static void consuming(void) {
    begin();
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = noted_message, .data = probe(t, "c") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
}

static const char *deliver(unsigned tag) {
    static char line[128];
    (void)snprintf(line, sizeof(line), "1 basic.deliver consumer_tag=\"c\" delivery_tag=%u\n1 header body_size=1\n1 body \"%u\"",
                   tag, tag % 10);
    return line;
}

static bool saw(const char *line) {
    virtual_run(&t->v);
    return virtual_saw(&t->v, line);
}

/* ---------------------------------------------------------------- a connection */

static void closes_what_is_idle(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSING);
    assert_journal(t, "");
    assert_true(saw("C> 0 connection.close reply_code=200 reply_text=\"Normal shutdown\""));
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "close ECLOSED; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->origin, LAGO_BY_CLIENT);
    assert_int_equal(lago_connection_reason(t->conn)->reply_code, 200);
    assert_int_equal(lago_connection_close(t->conn, NULL), LAGO_ECLOSED);
    client_end(t);
}

static void awaits_confirms_then_channels_then_itself(void **state) {
    (void)state;
    confirming();
    lago_channel_t *second = client_open_channel(t);
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    assert_true(saw("C> 1 basic.publish routing_key=\"q\""));
    assert_true(saw("C> 2 channel.close*"));
    assert_false(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_journal(t, "p 1 confirmed");
    assert_true(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "1 close ECLOSED; channel free");
    assert_false(saw("C> 0 connection.close*"));
    server_send(&t->v, "2 channel.close-ok");
    assert_journal(t, "2 close ECLOSED; channel free");
    assert_true(saw("C> 0 connection.close*"));
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "close ECLOSED; connection free");
    assert_int_equal(lago_channel_state(second), LAGO_CHANNEL_CLOSED);
    client_end(t);
}

static void tells_the_broker_why(void **state) {
    static char long_text[257];
    (void)state;
    begin();
    memset(long_text, 'x', 256);
    assert_int_equal(lago_connection_close(t->conn, &(lago_close_t){ .reply_text = long_text }), LAGO_ETOOLONG);
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .reply_text = long_text }), LAGO_ETOOLONG);
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .reply_code = 320, .reply_text = "channel" }), 0);
    assert_true(saw("C> 1 channel.close reply_code=320 reply_text=\"channel\""));
    server_send(&t->v, "1 channel.close-ok");
    assert_string_equal(lago_channel_reason(ch)->reply_text, "channel");
    assert_int_equal(lago_connection_close(t->conn, &(lago_close_t){ .reply_code = 320, .reply_text = "bye" }), 0);
    assert_int_equal(lago_connection_close(t->conn, &(lago_close_t){ .reply_text = "again" }), 0); /* changes nothing */
    assert_true(saw("C> 0 connection.close reply_code=320 reply_text=\"bye\""));
    server_send(&t->v, "0 connection.close-ok");
    assert_string_equal(lago_connection_reason(t->conn)->reply_text, "bye");
    client_end(t);
}

static void need_not_await_confirms(void **state) {
    (void)state;
    confirming();
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_connection_close(t->conn, &(lago_close_t){ .no_await_confirms = true }), 0);
    assert_true(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "p 1 unknown; 1 close ECLOSED; channel free");
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "close ECLOSED; connection free");
    client_end(t);
}

static void confirms_that_never_come_end_at_the_deadline(void **state) {
    (void)state;
    confirming();
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_connection_close(t->conn, &(lago_close_t){ .timeout_ms = 3000 }), 0);
    virtual_advance(&t->v, 2999);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "p 1 unknown; 1 close ETIMEDOUT; channel free; close ETIMEDOUT; connection free");
    assert_int_equal(t->v.counts.reset, 1); /* nothing may linger in the kernel */
    client_end(t);
}

static void close_ok_that_never_comes_ends_at_the_deadline(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_advance(&t->v, 9999);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "close ETIMEDOUT; connection free");
    client_end(t);
}

static void a_link_lost_behind_the_goodbye_is_no_error(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_run(&t->v);
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
    assert_journal(t, "close ECLOSED; connection free");
    client_end(t);
}

static void two_goodbyes_may_cross(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    assert_true(saw("C> 0 connection.close-ok"));
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "close ECLOSED; connection free");
    client_end(t);
}

static void held_publishes_of_a_blocked_connection_are_not_sent(void **state) {
    (void)state;
    confirming();
    server_send(&t->v, "0 connection.blocked reason=\"low on memory\"");
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_advance(&t->v, 10000);
    assert_journal(t, "blocked low on memory; p 1 not sent; 1 close ETIMEDOUT; channel free; close ETIMEDOUT; connection free");
    assert_non_null(strstr(lago_connection_reason(t->conn)->hint, "blocked"));
    client_end(t);
}

static void takes_acks_and_no_operations_while_it_closes(void **state) {
    lago_channel_t *other = (lago_channel_t *)1;
    (void)state;
    consuming();
    server_send(&t->v, deliver(1));
    assert_int_equal(lago_confirm_select(ch, &(lago_confirm_select_t){ .no_wait = true }, NULL, NULL), 0);
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_run(&t->v);
    assert_int_equal(lago_basic_qos(ch, NULL, NULL, NULL), LAGO_ECLOSED);
    assert_int_equal(publish("q"), LAGO_ECLOSED);
    assert_int_equal(lago_channel_open(t->conn, NULL, &other), LAGO_ECLOSED);
    assert_null(other);
    assert_int_equal(lago_update_secret(t->conn, "s", NULL, NULL, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_basic_ack(ch, 1, 0), 0);
    assert_true(saw("C> 1 basic.ack delivery_tag=1"));
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_int_equal(lago_basic_ack(ch, 1, 0), LAGO_ECLOSED); /* channel.close has left */
    client_end(t);
}

/* They were never delivered, so no ack may cover them: the broker would take them as done. */
static void acks_do_not_cover_what_was_not_delivered(void **state) {
    (void)state;
    consuming();
    server_send(&t->v, deliver(1));
    assert_int_equal(lago_confirm_select(ch, &(lago_confirm_select_t){ .no_wait = true }, NULL, NULL), 0);
    assert_int_equal(publish("p"), 1);
    journal_clear(t);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    server_send(&t->v, deliver(2));
    assert_journal(t, "");
    assert_int_equal(lago_channel_unacked_count(ch), 1);
    assert_int_equal(lago_basic_ack(ch, 2, 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_ack(ch, 0, LAGO_MULTIPLE), 0);
    assert_true(saw("C> 1 basic.ack delivery_tag=1 multiple=1"));
    client_end(t);
}

/* A get that was under way brings a higher tag than what was dropped: then that must have been given back before. */
static void acks_of_a_late_get_do_not_cover_it_either(void **state) {
    (void)state;
    consuming();
    assert_int_equal(lago_confirm_select(ch, &(lago_confirm_select_t){ .no_wait = true }, NULL, NULL), 0);
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_basic_get(ch, NULL, noted_get, probe(t, "get")), 0);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    server_send(&t->v, deliver(1));
    assert_true(saw("C> 1 basic.reject delivery_tag=1 requeue=1"));
    server_send(&t->v, "1 basic.get-ok delivery_tag=2\n1 header body_size=1\n1 body \"g\"");
    assert_journal(t, "get ok g");
    server_send(&t->v, deliver(3)); /* nothing comes behind it: the close gives it back */
    assert_false(saw("C> 1 basic.reject*"));
    assert_int_equal(lago_basic_ack(ch, 2, LAGO_MULTIPLE), 0);
    assert_true(saw("C> 1 basic.ack delivery_tag=2 multiple=1"));
    client_end(t);
}

/* ---------------------------------------------------------------- a channel */

static void a_channel_awaits_its_confirms(void **state) {
    (void)state;
    confirming();
    assert_int_equal(publish("a"), 1);
    assert_int_equal(publish("b"), 2);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    assert_int_equal(lago_channel_close(ch, NULL), 0); /* changes nothing */
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_false(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 basic.nack delivery_tag=2");
    assert_true(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "a 1 confirmed; b 2 nacked; 1 close ECLOSED; channel free");
    assert_int_equal(lago_channel_close(ch, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);
}

static void a_channel_that_is_opening_closes_by_on_open(void **state) {
    (void)state;
    client_open(t);
    ch = client_channel(t);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    server_send(&t->v, "1 channel.open-ok\n1 channel.close-ok");
    assert_journal(t, "1 open ECLOSED; channel free");
    client_end(t);
}

static void operations_complete_before_the_goodbye_is_answered(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_basic_qos(ch, NULL, noted_done, probe(t, "qos")), 0);
    assert_int_equal(lago_basic_get(ch, NULL, noted_get, probe(t, "get")), 0);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    server_send(&t->v, "1 basic.qos-ok");
    assert_journal(t, "qos ok"); /* no channel.close yet: what came behind it would be dropped (1.5.2.5) */
    server_send(&t->v, "1 basic.get-empty");
    assert_journal(t, "get empty");
    assert_true(saw("C> 1 channel.close *"));
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "1 close ECLOSED; channel free");
    client_end(t);
}

/* One that was given up is owed no longer: nothing else would send the goodbye before the deadline ends it. */
static void the_goodbye_waits_for_no_operation_that_has_timed_out(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .timeout_ms = 500 }, noted_done, probe(t, "qos")), 0);
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .timeout_ms = 5000 }), 0);
    virtual_advance(&t->v, 499);
    assert_false(saw("C> 1 channel.close *"));
    virtual_advance(&t->v, 1);
    assert_journal(t, "qos ETIMEDOUT");
    assert_true(saw("C> 1 channel.close *"));
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "1 close ECLOSED; channel free");
    client_end(t);
}

static void two_goodbyes_of_a_channel_may_cross(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.close reply_code=406 reply_text=\"PRECONDITION_FAILED\"");
    assert_true(saw("C> 1 channel.close-ok"));
    assert_journal(t, "1 close ECHANNEL; channel free"); /* the broker's reason, as pika */
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    client_end(t);
}

static void a_channel_without_an_answer_ends_at_its_deadline(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .timeout_ms = 500 }), 0);
    virtual_advance(&t->v, 500);
    assert_journal(t, "1 close ETIMEDOUT; channel free");
    lago_channel_t *next = client_channel(t);
    assert_int_equal(lago_channel_number(next), 2); /* 1 waits for the broker's close-ok */
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "");
    lago_channel_t *again = client_channel(t);
    assert_int_equal(lago_channel_number(again), 1);
    client_end(t);
}

/* What it wanted to say is no reason of its end, and no reason to be silent about it. */
static void a_goodbye_in_words_without_an_answer_is_told_too(void **state) {
    (void)state;
    begin();
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .reply_text = "enough", .timeout_ms = 500 }), 0);
    virtual_advance(&t->v, 500);
    assert_journal(t, "1 close ETIMEDOUT; channel free");
    assert_string_equal(lago_channel_reason(ch)->reply_text, "");
    client_end(t);
}

static void a_channel_that_does_not_open_ends_at_its_deadline(void **state) {
    (void)state;
    client_open(t);
    lago_channel_options_t options = client_channel_options(t);
    options.timeout_ms = 500;
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    virtual_advance(&t->v, 500);
    assert_journal(t, "1 open ETIMEDOUT; channel free");
    assert_true(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 channel.open-ok\n1 channel.close-ok");
    assert_journal(t, "");
    client_end(t);
}

/* "Not sent" is a promise: whoever sends the message again must not find it twice. */
static void what_was_told_as_not_sent_never_leaves(void **state) {
    (void)state;
    confirming();
    server_send(&t->v, "0 connection.blocked reason=\"disk\"");
    journal_clear(t);
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .timeout_ms = 500 }), 0);
    virtual_advance(&t->v, 500);
    assert_journal(t, "p 1 not sent; 1 close ETIMEDOUT; channel free");
    server_send(&t->v, "0 connection.unblocked");
    assert_false(saw("C> 1 basic.publish*"));
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "unblocked");
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    client_end(t);
}

static void what_may_still_leave_is_unknown(void **state) {
    (void)state;
    confirming();
    virtual_take(&t->v, 0); /* the peer reads nothing */
    assert_int_equal(publish("p"), 1);
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .timeout_ms = 500 }), 0);
    virtual_advance(&t->v, 500);
    assert_journal(t, "p 1 unknown; 1 close ETIMEDOUT; channel free");
    virtual_take(&t->v, SIZE_MAX);
    assert_true(saw("C> 1 basic.publish*"));
    client_end(t);
}

static void a_freed_channel_still_sends_what_was_accepted(void **state) {
    (void)state;
    confirming();
    server_send(&t->v, "0 connection.blocked reason=\"disk\"");
    journal_clear(t);
    assert_int_equal(publish("p"), 1);
    lago_channel_free(ch);
    assert_journal(t, "channel free");
    server_send(&t->v, "0 connection.unblocked");
    assert_true(saw("C> 1 basic.publish*"));
    assert_true(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 basic.ack delivery_tag=1\n1 channel.close-ok");
    assert_journal(t, "unblocked");
    client_end(t);
}

static void slow_declare(lago_channel_t *channel, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    noted_declare(channel, reason, ok, data);
    t->v.now += 5; /* the turn ends behind it */
}

static void before_the_goodbye(lago_channel_t *channel, const lago_reason_t *reason, void *data) {
    noted_channel_close(channel, reason, data);
    assert_false(virtual_saw(&t->v, "C> 0 connection.close*"));
}

/* connection.close waits until the ends of channels have been told, however many turns that takes. */
static void a_channels_end_is_told_before_the_goodbye(void **state) {
    (void)state;
    client_open(t);
    lago_channel_options_t options = client_channel_options(t);
    options.on_close = before_the_goodbye;
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    server_send(&t->v, "1 channel.open-ok");
    for (int i = 0; i < 3; i++) assert_int_equal(lago_queue_declare(ch, NULL, slow_declare, probe(t, "declare")), 0);
    virtual_run(&t->v);
    journal_clear(t);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    assert_journal(t, "declare ECHANNEL; declare ECHANNEL; declare ECHANNEL; 1 close ECHANNEL; channel free");
    assert_true(virtual_saw(&t->v, "C> 0 connection.close*"));
    client_end(t);
}

/* What a freed channel had accepted leaves before the connection's goodbye. */
static void a_freed_channels_messages_leave_before_the_goodbye(void **state) {
    (void)state;
    confirming();
    server_send(&t->v, "0 connection.blocked reason=\"disk\"");
    assert_int_equal(publish("p"), 1);
    lago_channel_free(ch);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    assert_false(saw("C> 0 connection.close*"));
    server_send(&t->v, "0 connection.unblocked");
    assert_true(saw("C> 1 basic.publish*"));
    assert_true(saw("C> 1 channel.close*"));
    assert_true(saw("C> 0 connection.close*"));
    client_end(t);
}

/* Given up, and there was no memory to say so: for its broker it is open, and what that still sends is nobody's. */
static void a_channel_that_was_given_up_without_memory(void **state) {
    (void)state;
    consuming();
    assert_int_equal(lago_queue_declare(ch, NULL, noted_declare, probe(t, "declare")), 0);
    virtual_run(&t->v);
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .timeout_ms = 500 }), 0);
    virtual_advance(&t->v, 499);
    journal_clear(t);
    fail_alloc_at(&t->v.alloc, 1, true);
    virtual_advance(&t->v, 1);
    assert_int_equal(lago_channel_state(ch), LAGO_CHANNEL_CLOSED);
    fail_alloc_at(&t->v.alloc, 0, false);
    server_send(&t->v, deliver(1));
    assert_false(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"");
    assert_journal(t, "declare ENOMEM; 1 close ENOMEM; channel free");
    virtual_advance(&t->v, 1000);
    assert_true(saw("C> 1 channel.close*"));
    server_send(&t->v, "1 channel.close-ok");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    assert_int_equal(lago_channel_number(client_channel(t)), 1);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closes_what_is_idle),
        cmocka_unit_test(awaits_confirms_then_channels_then_itself),
        cmocka_unit_test(tells_the_broker_why),
        cmocka_unit_test(need_not_await_confirms),
        cmocka_unit_test(confirms_that_never_come_end_at_the_deadline),
        cmocka_unit_test(close_ok_that_never_comes_ends_at_the_deadline),
        cmocka_unit_test(a_link_lost_behind_the_goodbye_is_no_error),
        cmocka_unit_test(two_goodbyes_may_cross),
        cmocka_unit_test(held_publishes_of_a_blocked_connection_are_not_sent),
        cmocka_unit_test(takes_acks_and_no_operations_while_it_closes),
        cmocka_unit_test(acks_do_not_cover_what_was_not_delivered),
        cmocka_unit_test(acks_of_a_late_get_do_not_cover_it_either),
        cmocka_unit_test(a_channel_awaits_its_confirms),
        cmocka_unit_test(a_channel_that_is_opening_closes_by_on_open),
        cmocka_unit_test(operations_complete_before_the_goodbye_is_answered),
        cmocka_unit_test(the_goodbye_waits_for_no_operation_that_has_timed_out),
        cmocka_unit_test(two_goodbyes_of_a_channel_may_cross),
        cmocka_unit_test(a_channel_without_an_answer_ends_at_its_deadline),
        cmocka_unit_test(a_goodbye_in_words_without_an_answer_is_told_too),
        cmocka_unit_test(a_channel_that_does_not_open_ends_at_its_deadline),
        cmocka_unit_test(what_was_told_as_not_sent_never_leaves),
        cmocka_unit_test(what_may_still_leave_is_unknown),
        cmocka_unit_test(a_freed_channel_still_sends_what_was_accepted),
        cmocka_unit_test(a_channels_end_is_told_before_the_goodbye),
        cmocka_unit_test(a_freed_channels_messages_leave_before_the_goodbye),
        cmocka_unit_test(a_channel_that_was_given_up_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
