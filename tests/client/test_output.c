/*
 * The way out: the marks of the output and the promise that a LAGO_EAGAIN makes, who is refused while the broker has the connection
 * blocked, and how many writes it takes. That on_drain is neither lost nor said twice is tried for each way in which output can go.
 */
#include "publisher_case.h"
#include <stdio.h>

#define HIGH_WATER 10000u
#define LOW_WATER  1000u

static char body[2000];

#define ONE (sizeof(body) + 48u) /* a publish of it: method, header and body with their frames */

static int64_t publish_on(lago_channel_t *channel) {
    return lago_basic_publish(channel, &(lago_basic_publish_t){ .routing_key = "k", .body = { body, sizeof(body) } }, NULL, NULL);
}

/* Until it is refused. @return how many were taken. */
static unsigned fill(void) {
    int64_t rc;
    unsigned count = 0;
    while ((rc = publish_on(ch)) >= 0) count++;
    assert_int_equal(rc, LAGO_EAGAIN);
    assert_false(lago_connection_writable(t->conn));
    assert_true(lago_connection_output_size(t->conn) >= HIGH_WATER);
    return count;
}

static lago_parameters_t with_marks(void) {
    return (lago_parameters_t){ .high_water = HIGH_WATER, .low_water = LOW_WATER, .heartbeat_s = LAGO_HEARTBEAT_OFF };
}

static void open_with(const lago_parameters_t *parameters) {
    client_init(t);
    client_connect_with(t, parameters);
    server_handshake(&t->v);
    assert_journal(t, "open");
    ch = client_open_channel(t);
}

static void open_with_marks(void) {
    lago_parameters_t parameters = with_marks();
    open_with(&parameters);
}

static void say_blocked(void) {
    server_send(&t->v, "0 connection.blocked reason=\"memory\"");
    assert_journal(t, "blocked memory");
}

/* The promise was kept: a publish is taken, and nobody is told once more. */
static void assert_drained_once(void) {
    assert_true(lago_connection_writable(t->conn));
    assert_true(lago_connection_output_size(t->conn) <= LOW_WATER);
    virtual_advance(&t->v, 60000);
    assert_journal(t, "");
}

/* ---------------------------------------------------------------- marks */

static void it_is_writable_while_a_publish_would_be_taken(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    assert_false(lago_connection_writable(NULL));
    client_init(t);
    client_connect_with(t, &parameters);
    assert_true(lago_connection_writable(t->conn)); /* before it is open they are queued */
    server_handshake(&t->v);
    journal_clear(t);
    ch = client_open_channel(t);
    virtual_take(&t->v, 0);
    assert_int_equal(fill(), 5);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_true(lago_connection_writable(t->conn));
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    assert_false(lago_connection_writable(t->conn));
    lago_connection_abort(t->conn);
    virtual_run(&t->v);
    assert_false(lago_connection_writable(t->conn));
    client_end(t);
}

/* Asking is no promise: nobody was refused. */
static void who_only_asks_is_not_called(void **state) {
    (void)state;
    open_with_marks();
    virtual_take(&t->v, 0);
    while (lago_connection_writable(t->conn)) assert_int_equal(publish_on(ch), 0);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "");
    client_end(t);
}

static void however_often_refused_it_drains_once(void **state) {
    (void)state;
    open_with_marks();
    for (int round = 0; round < 3; round++) {
        virtual_take(&t->v, 0);
        fill();
        for (int i = 0; i < 10; i++) assert_int_equal(publish_on(ch), LAGO_EAGAIN);
        virtual_take(&t->v, lago_connection_output_size(t->conn) - LOW_WATER - 1);
        virtual_run(&t->v);
        assert_journal(t, ""); /* a byte too many */
        assert_true(lago_connection_writable(t->conn));
        virtual_take(&t->v, 1);
        virtual_run(&t->v);
        assert_journal(t, "drain");
        virtual_take(&t->v, SIZE_MAX);
        assert_drained_once();
    }
    client_end(t);
}

/* Whatever the marks are, after on_drain there is room. */
static void marks_that_meet_do_not_spin(void **state) {
    (void)state;
    static const size_t marks[][2] = { { 2 * ONE, 2 * ONE }, { 1, 0 }, { 1, 1 }, { 3, 0 } };
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        lago_parameters_t parameters = { .high_water = marks[i][0], .low_water = marks[i][1], .heartbeat_s = LAGO_HEARTBEAT_OFF };
        open_with(&parameters);
        virtual_take(&t->v, 0);
        while (publish_on(ch) >= 0) assert_int_equal(lago_connection_output_size(t->conn) % ONE, 0);
        server_send(&t->v, "0 heartbeat"); /* a turn */
        assert_journal(t, "");
        virtual_take(&t->v, SIZE_MAX);
        virtual_run(&t->v);
        assert_journal(t, "drain");
        assert_int_equal(publish_on(ch), 0);
        client_end(t);
    }
}

static void a_paused_connection_drains(void **state) {
    (void)state;
    open_with_marks();
    virtual_take(&t->v, 0);
    fill();
    assert_int_equal(lago_connection_pause(t->conn), 0);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    assert_drained_once();
    client_end(t);
}

/* As whoever has more to say does. */
static void on_drain_fills(lago_connection_t *conn, void *data) {
    (void)data;
    assert_true(lago_connection_writable(conn));
    note(t, "drain of %u", fill());
}

static void refused_inside_on_drain_it_drains_again(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    client_init(t);
    lago_connection_options_t options = client_options(t);
    options.parameters = &parameters;
    options.on_drain = on_drain_fills;
    client_open_options(t, &options);
    ch = client_open_channel(t);
    virtual_take(&t->v, 0);
    assert_int_equal(fill(), 5);
    for (int round = 0; round < 3; round++) {
        virtual_take(&t->v, lago_connection_output_size(t->conn));
        virtual_run(&t->v);
        assert_journal(t, "drain of 5");
    }
    client_end(t);
}

/* A promise to nobody keeps no loop. */
static void without_on_drain_nothing_is_owed(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    lago_connection_options_t options = { .parameters = &parameters };
    client_init(t);
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    lago_connection_unref(t->conn);
    server_handshake(&t->v);
    ch = client_open_channel(t);
    virtual_take(&t->v, 0);
    fill();
    assert_true(link_wants(t->v.conn).alive); /* bytes are unsent */
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_false(link_wants(t->v.conn).alive);
    client_end(t);
}

/* ---------------------------------------------------------------- ways in which output goes */

static void refused_while_it_is_blocked(void **state) {
    (void)state;
    open_with_marks();
    say_blocked();
    fill();
    virtual_run(&t->v);
    assert_journal(t, "");
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked; drain");
    assert_drained_once();
    client_end(t);
}

static void refused_while_the_channel_is_stopped(void **state) {
    (void)state;
    open_with_marks();
    server_send(&t->v, "1 channel.flow active=0");
    fill();
    virtual_run(&t->v);
    assert_journal(t, "1 flow 0");
    server_send(&t->v, "1 channel.flow active=1");
    assert_journal(t, "1 flow 1; drain");
    assert_drained_once();
    client_end(t);
}

static void refused_before_it_is_open(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    parameters.connection_attempts = 2;
    parameters.retry_delay_ms = 10;
    client_init(t);
    client_connect_with(t, &parameters);
    ch = client_channel(t);
    fill();
    virtual_run(&t->v);
    virtual_lose(&t->v, -104); /* what waits is not of the attempt */
    virtual_run(&t->v);
    virtual_advance(&t->v, 10);
    assert_journal(t, "");
    server_handshake(&t->v);
    assert_journal(t, "open; drain");
    server_send(&t->v, "1 channel.open-ok");
    assert_journal(t, "1 open");
    assert_drained_once();
    client_end(t);
}

static void it_never_opens(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    client_init(t);
    client_connect_with(t, &parameters);
    ch = client_channel(t);
    fill();
    virtual_run(&t->v);
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_journal(t, "1 open ELOST; channel free; open_error ELOST; connection free");
    client_end(t);
}

/* Channels that took what they held along: by the broker's word, by a deadline, by tuning, or freed without memory. */

static void the_broker_closes_the_channel(void **state) {
    (void)state;
    open_with_marks();
    say_blocked();
    fill();
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    assert_journal(t, "1 close ECHANNEL; channel free; drain");
    assert_drained_once();
    client_end(t);
}

static void the_channel_cannot_say_goodbye(void **state) {
    (void)state;
    open_with_marks();
    say_blocked();
    fill();
    assert_int_equal(lago_channel_close(ch, &(lago_close_t){ .timeout_ms = 100 }), 0);
    virtual_advance(&t->v, 100);
    assert_journal(t, "1 close ETIMEDOUT; channel free; drain");
    assert_drained_once();
    client_end(t);
}

static void the_channel_opens_too_late(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    client_init(t);
    client_connect_with(t, &parameters);
    lago_channel_options_t options = client_channel_options(t);
    options.timeout_ms = 100;
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    fill();
    virtual_advance(&t->v, 100);
    assert_journal(t, "1 open ETIMEDOUT; channel free; drain"); /* before it is open: there is room again */
    server_handshake(&t->v);
    assert_journal(t, "open");
    assert_drained_once();
    client_end(t);
}

static void there_are_fewer_channels_than_hoped(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    client_init(t);
    client_connect_with(t, &parameters);
    (void)client_channel(t);
    ch = client_channel(t);
    fill();
    server_handshake_with(&t->v, "channel_max=1 frame_max=131072");
    assert_journal(t, "open; 2 open ENOCHANNEL; channel free; drain");
    assert_drained_once();
    client_end(t);
}

static void it_is_freed_without_memory(void **state) {
    (void)state;
    open_with_marks();
    say_blocked();
    fill();
    fail_alloc_at(&t->v.alloc, 1, true);
    lago_channel_free(
        ch); /* its goodbye cannot wait behind what it holds: it is said later, and what was accepted leaves before */
    fail_alloc_at(&t->v.alloc, 0, false);
    virtual_run(&t->v);
    assert_journal(t, "channel free");
    virtual_forget_log(&t->v);
    server_send(&t->v, "0 connection.unblocked");
    virtual_advance(&t->v, 100);
    assert_true(virtual_saw(&t->v, "C> 1 basic.publish*"));
    assert_true(virtual_saw(&t->v, "C> 1 channel.close reply_code=200*"));
    assert_journal(t, "unblocked; drain");
    assert_drained_once();
    client_end(t);
}

/* Freed as usual: what was accepted leaves all the same. */
static void it_is_freed(void **state) {
    (void)state;
    open_with_marks();
    say_blocked();
    fill();
    lago_channel_free(ch);
    virtual_run(&t->v);
    assert_journal(t, "channel free");
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked; drain");
    assert_drained_once();
    client_end(t);
}

/* ---------------------------------------------------------------- or the end, and only that */

static void closed_right_after(void **state) {
    (void)state;
    open_with_marks();
    virtual_take(&t->v, 0);
    fill();
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.close-ok");
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "1 close ECLOSED; channel free; close ECLOSED; connection free");
    client_end(t);
}

static void closed_before_it_was_open(void **state) {
    (void)state;
    lago_parameters_t parameters = with_marks();
    client_init(t);
    client_connect_with(t, &parameters);
    ch = client_channel(t);
    fill();
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_run(&t->v);
    assert_journal(t, "1 open ECLOSED; channel free; open_error ECLOSED; connection free");
    client_end(t);
}

static void lost_right_after(void **state) {
    (void)state;
    open_with_marks();
    virtual_take(&t->v, 0);
    fill();
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_journal(t, "1 close ELOST; channel free; close ELOST; connection free");
    client_end(t);
}

/* The broker's goodbye is being answered: what drains meanwhile is of no use to anybody. */
static void it_drains_into_a_goodbye(void **state) {
    (void)state;
    open_with_marks();
    virtual_take(&t->v, 0);
    fill();
    server_send(&t->v, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    assert_false(lago_connection_writable(t->conn));
    assert_int_equal(publish_on(ch), LAGO_EAGAIN);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "1 close ECONNECTION; channel free; close ECONNECTION; connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- while the broker has it blocked */

static void open_refusing(void) {
    lago_parameters_t parameters = with_marks();
    parameters.refuse_while_blocked = true;
    open_with(&parameters);
}

static void it_refuses_while_blocked(void **state) {
    (void)state;
    open_refusing();
    assert_int_equal(publish_on(ch), 0);
    say_blocked();
    assert_false(lago_connection_writable(t->conn));
    assert_int_equal(publish_on(ch), LAGO_EAGAIN);
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = 1 }, NULL, NULL), 0); /* all else is taken */
    virtual_advance(&t->v, 1000);
    assert_journal(t, "");
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked; drain");
    assert_int_equal(publish_on(ch), 0);
    server_send(&t->v, "1 basic.qos-ok");
    assert_drained_once();
    client_end(t);
}

static void what_was_accepted_before_waits(void **state) {
    (void)state;
    open_refusing();
    virtual_take(&t->v, 0);
    unsigned taken = fill();
    say_blocked();
    virtual_take(&t->v, SIZE_MAX); /* frames in the queue leave; nothing new may begin */
    virtual_run(&t->v);
    assert_journal(t, "");
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked; drain");
    assert_int_equal(lago_connection_counters(t->conn).messages_sent, taken);
    assert_drained_once();
    client_end(t);
}

static void unblocked_but_full(void **state) {
    (void)state;
    open_refusing();
    virtual_take(&t->v, 0);
    fill();
    say_blocked();
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked");
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    assert_drained_once();
    client_end(t);
}

static void blocked_again_before_anybody_was_told(void **state) {
    (void)state;
    open_refusing();
    say_blocked();
    assert_int_equal(publish_on(ch), LAGO_EAGAIN);
    server_send(&t->v, "0 connection.unblocked\n0 connection.blocked reason=\"memory\"");
    assert_journal(t, "unblocked; drain; blocked memory");
    assert_int_equal(publish_on(ch), LAGO_EAGAIN);
    assert_int_equal(lago_connection_abort(t->conn), 0);
    virtual_run(&t->v);
    assert_journal(t, "1 close ECLOSED; channel free; close ECLOSED; connection free");
    client_end(t);
}

static void publishers_wait_as_well(void **state) {
    (void)state;
    open_refusing();
    publisher = make(&(lago_publisher_options_t){ .routing_key = "p", .on_ready = noted_ready, .data = probe(t, "p") });
    assert_int_equal(lago_publisher_room(publisher), SIZE_MAX);
    say_blocked();
    assert_int_equal(lago_publisher_room(publisher), 0);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    virtual_run(&t->v);
    assert_journal(t, "");
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked; drain; p ready 0");
    assert_int_equal(publish(publisher, "x", NULL), 0);
    assert_drained_once();
    client_end(t);
}

/* Its window opens while the connection is blocked: it would be refused again. */
static void a_window_that_opens_while_it_is_blocked(void **state) {
    (void)state;
    open_refusing();
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 confirm.select-ok");
    publisher = make(
        &(lago_publisher_options_t){ .routing_key = "p", .window_count = 1, .on_ready = noted_ready, .data = probe(t, "p") });
    assert_int_equal(publish(publisher, "x", NULL), 1);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    server_send(&t->v, "0 connection.blocked reason=\"memory\"\n1 basic.ack delivery_tag=1");
    assert_journal(t, "blocked memory");
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked; drain; p ready 0");
    assert_drained_once();
    client_end(t);
}

/* ---------------------------------------------------------------- writes */

#define CHANNELS 50u

/* What a program says at its beginning, all in a row. */
static void bring_up(void) {
    for (unsigned i = 0; i < CHANNELS; i++) {
        lago_channel_t *one;
        assert_int_equal(lago_channel_open(t->conn, NULL, &one), 0);
        lago_exchange_declare(one, &(lago_exchange_declare_t){ .exchange = "e", .exchange_type = "topic" }, NULL, NULL);
        lago_queue_declare(one, &(lago_queue_declare_t){ .queue = "q" }, NULL, NULL);
        lago_queue_bind(one, &(lago_queue_bind_t){ .queue = "q", .exchange = "e", .routing_key = "#" }, NULL, NULL);
        lago_basic_qos(one, &(lago_basic_qos_t){ .prefetch_count = 10 }, NULL, NULL);
        lago_basic_consume(one, &(lago_basic_consume_t){ .queue = "q", .on_message = noted_message }, NULL, NULL);
        assert_int_equal(lago_channel_error(one), 0);
    }
}

static void a_bring_up_leaves_in_one_write(void **state) {
    (void)state;
    char line[64];
    client_open(t);
    uint64_t writes = lago_connection_counters(t->conn).writes;
    bring_up();
    virtual_run(&t->v);
    assert_int_equal(lago_connection_counters(t->conn).writes, writes + 1);
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    for (unsigned i = 1; i <= CHANNELS; i++) {
        (void)snprintf(line, sizeof(line), "C> %u basic.consume*", i);
        assert_saw(line);
    }
    client_end(t);
}

/* Said before it is open: after the handshake's three writes there is one more. */
static void so_does_one_that_had_to_wait(void **state) {
    (void)state;
    char line[64];
    client_init(t);
    client_connect(t, NULL);
    bring_up();
    server_handshake(&t->v);
    assert_int_equal(lago_connection_counters(t->conn).writes, 4);
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    for (unsigned i = 1; i <= CHANNELS; i++) {
        (void)snprintf(line, sizeof(line), "C> %u basic.consume*", i);
        assert_saw(line);
    }
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_writable_while_a_publish_would_be_taken),
        cmocka_unit_test(who_only_asks_is_not_called),
        cmocka_unit_test(however_often_refused_it_drains_once),
        cmocka_unit_test(marks_that_meet_do_not_spin),
        cmocka_unit_test(a_paused_connection_drains),
        cmocka_unit_test(refused_inside_on_drain_it_drains_again),
        cmocka_unit_test(without_on_drain_nothing_is_owed),
        cmocka_unit_test(refused_while_it_is_blocked),
        cmocka_unit_test(refused_while_the_channel_is_stopped),
        cmocka_unit_test(refused_before_it_is_open),
        cmocka_unit_test(it_never_opens),
        cmocka_unit_test(the_broker_closes_the_channel),
        cmocka_unit_test(the_channel_cannot_say_goodbye),
        cmocka_unit_test(the_channel_opens_too_late),
        cmocka_unit_test(there_are_fewer_channels_than_hoped),
        cmocka_unit_test(it_is_freed_without_memory),
        cmocka_unit_test(it_is_freed),
        cmocka_unit_test(closed_right_after),
        cmocka_unit_test(closed_before_it_was_open),
        cmocka_unit_test(lost_right_after),
        cmocka_unit_test(it_drains_into_a_goodbye),
        cmocka_unit_test(it_refuses_while_blocked),
        cmocka_unit_test(what_was_accepted_before_waits),
        cmocka_unit_test(unblocked_but_full),
        cmocka_unit_test(blocked_again_before_anybody_was_told),
        cmocka_unit_test(publishers_wait_as_well),
        cmocka_unit_test(a_window_that_opens_while_it_is_blocked),
        cmocka_unit_test(a_bring_up_leaves_in_one_write),
        cmocka_unit_test(so_does_one_that_had_to_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
