/* Who is told what, in which order, when a link or a channel ends (connection.h's first page); and what frees may do then. */
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
static lago_channel_t *one, *two;

static void confirming(lago_channel_t *ch, unsigned n) {
    char line[32];
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    (void)snprintf(line, sizeof(line), "%u confirm.select-ok", n);
    server_send(&t->v, line);
}

static void begin(void) {
    client_open(t);
    one = client_open_channel(t);
    two = client_open_channel(t);
    confirming(one, 1);
    confirming(two, 2);
}

static void declare(lago_channel_t *ch, const char *name) {
    assert_int_equal(lago_queue_declare(ch, NULL, noted_declare, probe(t, name)), 0);
}

static void publish(lago_channel_t *ch, const char *name) {
    lago_basic_publish_t args = { .routing_key = "q", .body = { "x", 1 } };
    assert_true(lago_basic_publish(ch, &args, noted_publish, probe(t, name)) > 0);
}

static void consume(lago_channel_t *ch, const char *tag, lago_consumer_cb callback) {
    lago_basic_consume_t args = {
        .queue = "q", .consumer_tag = tag, .on_message = noted_message, .data = probe(t, tag), .free_data = noted_free
    };
    assert_int_equal(lago_basic_consume(ch, &args, callback, probe(t, "consume")), 0);
}

static void timer(const char *name) {
    assert_int_equal(lago_connection_call_later(t->conn, 1000, noted_timer, probe(t, name), NULL), 0);
}

static void lose(int status) {
    virtual_lose(&t->v, status);
    virtual_run(&t->v);
}

/* ---------------------------------------------------------------- order */

static void a_link_ends_in_the_order_of_the_contract(void **state) {
    (void)state;
    begin();
    timer("timer");
    publish(two, "p");
    declare(two, "a");
    publish(one, "q");
    declare(one, "b");
    consume(one, "c", noted_consumer);
    declare(two, "d");
    publish(one, "r");
    assert_int_equal(lago_update_secret(t->conn, "s", NULL, noted_connection_done, probe(t, "secret")), 0);
    virtual_run(&t->v);
    lose(RESET);
    assert_journal(t, "a ELOST; b ELOST; consume ELOST c; c free; d ELOST; secret ELOST; "
                      "q 1 unknown; r 2 unknown; 1 close ELOST; channel free; "
                      "p 1 unknown; 2 close ELOST; channel free; timer ECANCELED; close ELOST; connection free");
    assert_int_equal(t->v.counts.cancel_posts, 1);
    assert_int_equal(lago_connection_reason(t->conn)->os_error, RESET);
    assert_int_equal(lago_channel_reason(one)->os_error, RESET);
    client_end(t);
}

static void what_was_answered_is_told_before_the_end(void **state) {
    (void)state;
    begin();
    publish(one, "p");
    declare(one, "a");
    virtual_run(&t->v);
    server_queue(&t->v, "1 basic.ack delivery_tag=1\n1 queue.declare-ok queue=\"q\"");
    lose(END_OF_FILE);
    assert_journal(t, "p 1 confirmed; a ok q 0 0; 1 close ELOST; channel free; 2 close ELOST; channel free; close ELOST; "
                      "connection free");
    client_end(t);
}

static void channels_that_never_opened_end_by_on_open(void **state) {
    (void)state;
    client_open(t);
    one = client_channel(t);
    declare(one, "a");
    virtual_run(&t->v);
    lose(END_OF_FILE);
    assert_journal(t, "a ELOST; 1 open ELOST; channel free; close ELOST; connection free");
    client_end(t);
}

static void a_channel_ends_alone(void **state) {
    (void)state;
    begin();
    consume(one, "c", NULL);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    publish(one, "p");
    declare(one, "a");
    declare(two, "b");
    assert_int_equal(lago_basic_get(one, NULL, noted_get, probe(t, "get")), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\" class_id=50 method_id=10");
    assert_journal(t, "a ECHANNEL; get ECHANNEL; p 1 unknown; c free; 1 close ECHANNEL; channel free");
    assert_int_equal(lago_channel_reason(one)->reply_code, 404);
    assert_int_equal(lago_channel_reason(one)->class_id, 50);
    assert_true(virtual_saw(&t->v, "C> 1 channel.close-ok"));
    server_send(&t->v, "2 queue.declare-ok queue=\"q\"");
    assert_journal(t, "b ok q 0 0");
    client_end(t);
}

/* The number of a channel that has ended is free again: freeing the old handle must not touch the new one. */
static void an_old_handle_does_not_touch_the_next_of_its_number(void **state) {
    (void)state;
    for (unsigned by_us = 0; by_us < 2; by_us++) {
        begin();
        if (by_us) assert_int_equal(lago_channel_close(one, NULL), 0);
        virtual_run(&t->v);
        server_send(&t->v, by_us ? "1 channel.close-ok" : "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
        lago_channel_t *next = client_channel(t);
        assert_int_equal(lago_channel_number(next), 1);
        declare(next, "a");
        virtual_forget_log(&t->v);
        lago_channel_free(one);
        virtual_run(&t->v);
        assert_false(virtual_saw(&t->v, "C> 1 channel.close*"));
        journal_clear(t);
        server_send(&t->v, "1 channel.open-ok\n1 queue.declare-ok queue=\"q\"");
        assert_journal(t, "1 open; a ok q 0 0");
        client_end(t);
    }
}

static void channels_beyond_what_is_agreed_end(void **state) {
    (void)state;
    client_init(t);
    client_connect(t, NULL);
    for (unsigned i = 0; i < 4; i++) {
        lago_channel_t *ch = client_channel(t);
        if (i == 2) declare(ch, "a");
    }
    server_handshake_with(&t->v, "channel_max=2 frame_max=4096 heartbeat=60");
    assert_journal(t, "open; a ENOCHANNEL; 3 open ENOCHANNEL; channel free; 4 open ENOCHANNEL; channel free");
    assert_true(virtual_saw(&t->v, "C> 2 channel.open"));
    assert_false(virtual_saw(&t->v, "C> 3 channel.open"));
    client_end(t);
}

/* ---------------------------------------------------------------- reasons */

static void the_brokers_word_is_better_than_a_write_error(void **state) {
    (void)state;
    begin();
    virtual_fail_write(&t->v, RESET);
    declare(one, "a");
    virtual_run(&t->v);
    assert_journal(t, ""); /* not judged yet */
    server_send(&t->v, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    virtual_advance(&t->v, 1000);
    assert_int_equal(lago_connection_reason(t->conn)->code, LAGO_ECONNECTION);
    assert_int_equal(lago_connection_reason(t->conn)->reply_code, 320);
    client_end(t);
}

static void a_write_error_without_a_word_is_a_lost_link(void **state) {
    (void)state;
    begin();
    virtual_fail_write(&t->v, RESET);
    declare(one, "a");
    virtual_advance(&t->v, 999);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_int_equal(lago_connection_reason(t->conn)->code, LAGO_ELOST);
    assert_int_equal(lago_connection_reason(t->conn)->os_error, RESET);
    client_end(t);
}

static void a_silent_broker_is_dropped_by_reset(void **state) {
    (void)state;
    begin();
    virtual_advance(&t->v, 66000); /* 1.1 x heartbeat */
    assert_journal(t, "1 close EHEARTBEAT; channel free; 2 close EHEARTBEAT; channel free; close EHEARTBEAT; connection free");
    assert_int_equal(t->v.counts.reset, 1);
    client_end(t);
}

static void a_connection_that_is_blocked_too_long_is_dropped(void **state) {
    (void)state;
    client_init(t);
    client_connect(t, "amqp://mq/?blocked_connection_timeout=2");
    server_handshake(&t->v);
    server_send(&t->v, "0 connection.blocked reason=\"memory\"");
    virtual_advance(&t->v, 1000);
    server_send(&t->v, "0 connection.blocked reason=\"disk\""); /* does not begin anew */
    assert_true(lago_connection_is_blocked(t->conn));
    virtual_advance(&t->v, 999);
    assert_journal(t, "open; blocked memory; blocked disk");
    virtual_advance(&t->v, 1);
    assert_journal(t, "close EBLOCKED; connection free");
    assert_false(lago_connection_is_blocked(t->conn));
    client_end(t);
}

/* What says that it is over waits unread: because the application has paused, or, for a moment, because the loop is late. */
static void one_that_may_be_unblocked_is_not(void **state) {
    (void)state;
    client_init(t);
    client_connect(t, "amqp://mq/?blocked_connection_timeout=2&heartbeat=0");
    server_handshake(&t->v);
    server_send(&t->v, "0 connection.blocked reason=\"memory\"");
    assert_int_equal(lago_connection_pause(t->conn), 0);
    server_send(&t->v, "0 connection.unblocked");
    virtual_advance(&t->v, 60000);
    assert_journal(t, "open; blocked memory");
    t->v.hold_input = true;
    assert_int_equal(lago_connection_resume(t->conn), 0);
    virtual_advance(&t->v, 2005);
    assert_journal(t, "");
    t->v.hold_input = false;
    virtual_run(&t->v);
    assert_journal(t, "unblocked");
    server_send(&t->v, "0 connection.blocked reason=\"disk\"");
    virtual_advance(&t->v, 1999);
    assert_journal(t, "blocked disk");
    virtual_advance(&t->v, 1);
    assert_journal(t, "close EBLOCKED; connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- what is left */

static void an_ended_handle_stays_valid(void **state) {
    lago_channel_t *none = (lago_channel_t *)1;
    (void)state;
    begin();
    lose(END_OF_FILE);
    journal_clear(t);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSED);
    assert_int_equal(lago_channel_state(one), LAGO_CHANNEL_CLOSED);
    assert_int_equal(lago_channel_open(t->conn, NULL, &none), LAGO_ECLOSED);
    assert_null(none);
    assert_int_equal(lago_basic_publish(one, &(lago_basic_publish_t){ 0 }, NULL, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_basic_ack(one, 1, 0), LAGO_ECLOSED);
    assert_int_equal(lago_channel_close(one, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_connection_call_later(t->conn, 1, noted_timer, NULL, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_update_secret(t->conn, "s", NULL, NULL, NULL), LAGO_ECLOSED);
    lago_connection_unref(t->conn);
    lago_connection_ref(t->conn);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.1:5672");
    assert_true(lago_connection_server_has(t->conn, "basic.nack"));
    lago_channel_free(two);
    assert_int_equal(lago_channel_number(one), 1);
    client_end(t);
    assert_journal(t, "");
}

static void null_handles_are_harmless(void **state) {
    (void)state;
    assert_int_equal(lago_connection_close(NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_abort(NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_close(NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_call_later(NULL, 1, noted_timer, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_remove_timeout(NULL, 1), LAGO_EINVAL);
    assert_int_equal(lago_basic_ack(NULL, 1, 0), LAGO_EINVAL);
    assert_int_equal(lago_basic_nack(NULL, 1, 0), LAGO_EINVAL);
    assert_int_equal(lago_basic_reject(NULL, 1, 0), LAGO_EINVAL);
    assert_int_equal(lago_basic_publish(NULL, &(lago_basic_publish_t){ 0 }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_open(NULL, NULL, &one), LAGO_EINVAL);
    assert_int_equal(lago_connection_state(NULL), LAGO_CONNECTION_CLOSED);
    assert_int_equal(lago_channel_state(NULL), LAGO_CHANNEL_CLOSED);
    assert_null(lago_connection_reason(NULL));
    assert_null(lago_connection_data(NULL));
    assert_null(lago_channel_connection(NULL));
    assert_string_equal(lago_connection_endpoint(NULL), "");
    assert_int_equal(lago_connection_output_size(NULL), 0);
    assert_int_equal(lago_channel_unacked_count(NULL), 0);
    assert_int_equal(lago_channel_last_consumer_tag(NULL).size, 0);
    lago_connection_unref(NULL);
    lago_connection_ref(NULL);
    lago_channel_free(NULL);
    lago_connection_free(NULL);
}

/* A program that only waits for a dead channel ends, after a line in the log. */
static void a_channel_end_that_nobody_handles_lets_the_loop_go(void **state) {
    (void)state;
    client_init(t);
    assert_int_equal(virtual_connect(&t->v, NULL, NULL), 0);
    t->conn = t->v.conn;
    assert_int_equal(lago_channel_open(t->conn, NULL, &one), 0);
    server_handshake(&t->v);
    server_send(&t->v, "1 channel.open-ok");
    assert_true(link_wants(t->conn).alive);
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND - no queue\"");
    assert_non_null(strstr(t->v.log, "NOT_FOUND - no queue"));
    assert_false(link_wants(t->conn).alive);
    assert_int_equal(lago_channel_open(t->conn, NULL, &two), 0); /* life goes on */
    assert_true(link_wants(t->conn).alive);
    client_end(t);
}

static void on_event(lago_connection_t *conn, void *data) { (void)conn, (void)data; }
static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) { (void)conn, (void)reason, (void)data; }
static void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) { (void)conn, (void)reason, (void)data; }

/* Not one that has somebody who will be called: the connection's own callbacks count, each of them. */
static void whoever_may_still_be_called_keeps_the_loop(void **state) {
    const lago_connection_options_t handlers[] = { { .on_open = on_event },
                                                   { .on_close = on_end },
                                                   { .on_blocked = on_blocked },
                                                   { .on_unblocked = on_event },
                                                   { .on_drain = on_event } };
    (void)state;
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        client_init(t);
        assert_int_equal(virtual_connect(&t->v, NULL, &handlers[i]), 0);
        t->conn = t->v.conn;
        assert_int_equal(lago_channel_open(t->conn, NULL, &one), 0);
        server_handshake(&t->v);
        server_send(&t->v, "1 channel.open-ok\n1 channel.close reply_code=404 reply_text=\"NOT_FOUND - no queue\"");
        assert_true(link_wants(t->conn).alive);
        client_end(t);
    }
}

/* The broker has said why, and its close waits to be answered: whatever cuts that short is not the reason. */
static void the_brokers_word_is_better_than_an_abort(void **state) {
    (void)state;
    client_open(t);
    virtual_take(&t->v, 0);
    server_send(&t->v, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    assert_journal(t, "");
    assert_int_equal(lago_connection_abort(t->conn), 0);
    virtual_run(&t->v);
    assert_journal(t, "close ECONNECTION; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->reply_code, 320);
    client_end(t);
}

static void an_unreferenced_connection_lives_while_something_is_owed(void **state) {
    (void)state;
    begin();
    lago_connection_unref(t->conn);
    virtual_run(&t->v);
    assert_false(link_wants(t->conn).alive);
    publish(one, "p");
    virtual_run(&t->v);
    assert_true(link_wants(t->conn).alive);
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_false(link_wants(t->conn).alive);
    publish(one, "q");
    virtual_run(&t->v);
    lago_channel_free(one); /* what was owed is owed no more */
    virtual_run(&t->v);
    assert_false(link_wants(t->conn).alive);
    client_end(t);
}

/* ---------------------------------------------------------------- frees */

static void free_two(void *data) {
    lago_channel_t *ch = two;
    two = NULL;
    noted_free(data);
    lago_channel_free(ch);
}

static void free_connection(void *data) {
    lago_connection_t *conn = t->conn;
    t->conn = NULL;
    noted_free(data);
    lago_connection_free(conn);
}

static lago_channel_t *channel_that_frees(void (*free_data)(void *data)) {
    lago_channel_options_t options = { .data = probe(t, "freeing"), .free_data = free_data };
    lago_channel_t *ch = NULL;
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    virtual_run(&t->v);
    return ch;
}

static void free_data_of_a_consumer_may_free_another_channel(void **state) {
    (void)state;
    begin();
    lago_basic_consume_t args = {
        .queue = "q", .on_message = noted_message, .data = probe(t, "consumer"), .free_data = free_two
    };
    assert_int_equal(lago_basic_consume(one, &args, NULL, NULL), 0);
    lago_channel_free(one);
    assert_journal(t, "consumer free; channel free; channel free");
    client_end(t);
}

static void free_data_of_a_channel_may_free_another_channel(void **state) {
    (void)state;
    begin();
    lago_channel_free(channel_that_frees(free_two));
    assert_journal(t, "freeing free; channel free");
    client_end(t);
}

static void free_data_of_a_channel_may_free_its_connection(void **state) {
    (void)state;
    begin();
    lago_channel_free(channel_that_frees(free_connection));
    assert_journal(t, "freeing free; channel free; channel free; connection free");
    client_end(t);
}

static void free_data_may_free_a_channel_of_a_connection_that_goes(void **state) {
    (void)state;
    begin();
    (void)channel_that_frees(free_two);
    two = channel_that_frees(noted_free); /* behind it: still to be destroyed */
    lago_connection_free(t->conn);
    t->conn = NULL;
    assert_journal(t, "channel free; channel free; freeing free; freeing free; connection free");
    client_end(t);
}

static void slow(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    noted_done(ch, reason, data);
    t->v.now += 100;
}

/* However long its callbacks take: what falls due meanwhile is told of the end, in the order of the end. */
static void no_deadline_passes_during_an_end(void **state) {
    (void)state;
    begin();
    for (int i = 0; i < 20; i++) assert_int_equal(lago_basic_qos(one, NULL, slow, probe(t, "slow")), 0);
    lago_basic_qos_t timed = { .timeout_ms = 1000 };
    assert_int_equal(lago_basic_qos(two, &timed, noted_done, probe(t, "timed")), 0);
    timer("timer");
    lose(RESET);
    assert_non_null(strstr(t->journal, "slow ELOST; timed ELOST; 1 close ELOST; channel free; 2 close ELOST; channel free; "
                                       "timer ECANCELED; close ELOST"));
    client_end(t);
}

static void free_own_channel(void *data) { lago_channel_free(*(lago_channel_t **)data); }

static void free_data_may_free_its_channel(void **state) {
    (void)state;
    lago_channel_t *ch;
    client_open(t);
    assert_int_equal(lago_channel_open(t->conn, &(lago_channel_options_t){ .data = &ch, .free_data = free_own_channel }, &ch), 0);
    server_send(&t->v, "1 channel.open-ok");
    client_end(t);
}

/* Names of the application's own may hold anything; a line of the log is one printable line all the same. */
static void a_log_line_is_printable(void **state) {
    (void)state;
    client_open(t);
    one = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "a\n\x1b", .on_message = noted_message };
    assert_int_equal(lago_basic_consume(one, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"a\\n\\x1b\"");
    server_send(&t->v, "1 basic.cancel consumer_tag=\"a\\n\\x1b\"");
    assert_true(virtual_saw(&t->v, "channel 1: the broker cancelled consumer a??"));
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_ends_in_the_order_of_the_contract),
        cmocka_unit_test(what_was_answered_is_told_before_the_end),
        cmocka_unit_test(channels_that_never_opened_end_by_on_open),
        cmocka_unit_test(a_channel_ends_alone),
        cmocka_unit_test(an_old_handle_does_not_touch_the_next_of_its_number),
        cmocka_unit_test(channels_beyond_what_is_agreed_end),
        cmocka_unit_test(the_brokers_word_is_better_than_a_write_error),
        cmocka_unit_test(a_write_error_without_a_word_is_a_lost_link),
        cmocka_unit_test(a_silent_broker_is_dropped_by_reset),
        cmocka_unit_test(a_connection_that_is_blocked_too_long_is_dropped),
        cmocka_unit_test(one_that_may_be_unblocked_is_not),
        cmocka_unit_test(an_ended_handle_stays_valid),
        cmocka_unit_test(null_handles_are_harmless),
        cmocka_unit_test(a_channel_end_that_nobody_handles_lets_the_loop_go),
        cmocka_unit_test(whoever_may_still_be_called_keeps_the_loop),
        cmocka_unit_test(the_brokers_word_is_better_than_an_abort),
        cmocka_unit_test(an_unreferenced_connection_lives_while_something_is_owed),
        cmocka_unit_test(free_data_of_a_consumer_may_free_another_channel),
        cmocka_unit_test(free_data_of_a_channel_may_free_another_channel),
        cmocka_unit_test(free_data_of_a_channel_may_free_its_connection),
        cmocka_unit_test(free_data_may_free_a_channel_of_a_connection_that_goes),
        cmocka_unit_test(no_deadline_passes_during_an_end),
        cmocka_unit_test(a_log_line_is_printable),
        cmocka_unit_test(free_data_may_free_its_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
