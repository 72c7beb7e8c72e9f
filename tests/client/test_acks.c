/* When acknowledgements leave that wait for their neighbours: half of the prefetch count, 2 ms, the turn's end, or at once. */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static struct {
    uint64_t takes_ms;                  /* each callback */
    unsigned fast;                      /* but so many at first */
    bool keeps;                         /* and acknowledges nothing */
    size_t received, written_with[600]; /* bytes that had been written when message n came */
    uint64_t came_at[600];
} app;

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)data;
    app.written_with[app.received] = t->v.output_size;
    app.came_at[app.received] = virtual_time(&t->v);
    app.received++;
    if (app.received > app.fast) t->v.now += app.takes_ms;
    if (!app.keeps) assert_int_equal(lago_basic_ack(ch, message->delivery_tag, 0), 0);
}

static lago_channel_t *consume(unsigned prefetch_count, bool single) {
    memset(&app, 0, sizeof(app));
    client_open(t);
    lago_channel_options_t options = client_channel_options(t);
    options.single_acks = single;
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = (uint16_t)prefetch_count }, NULL, NULL), 0);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = on_message };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.open-ok\n1 basic.qos-ok\n1 basic.consume-ok consumer_tag=\"c\"");
    virtual_forget_log(&t->v);
    return ch;
}

/* All in one read. */
static void deliver(unsigned count) {
    static char lines[600 * 100];
    size_t size = 0;
    for (unsigned n = 1; n <= count; n++)
        size +=
            (size_t)snprintf(lines + size, sizeof(lines) - size,
                             "%s1 basic.deliver consumer_tag=\"c\" delivery_tag=%u\n1 header body_size=0", n > 1 ? "\n" : "", n);
    server_send(&t->v, lines);
    assert_int_equal(app.received, count);
}

static void saw_ack(unsigned tag, bool multiple) {
    char line[80];
    (void)snprintf(line, sizeof(line), "C> 1 basic.ack delivery_tag=%u%s", tag, multiple ? " multiple=1" : "");
    if (!virtual_saw(&t->v, line)) fail_msg("not seen: %s", line);
}

/* Not before message n was told, and before the next one was. */
static void assert_written_with(size_t n) {
    assert_int_equal(app.written_with[n - 1], app.written_with[0]);
    assert_true(app.written_with[n] > app.written_with[0]);
}

static void neighbours_leave_at_the_end_of_the_turn(void **state) {
    (void)state;
    consume(0, false);
    deliver(200);
    saw_ack(200, true);
    assert_int_equal(app.written_with[199], app.written_with[0]);
    client_end(t);
}

/* The broker may go on while the rest is worked on. */
static void half_of_the_prefetch_count_leaves(void **state) {
    (void)state;
    consume(10, false);
    deliver(10);
    assert_written_with(5);
    saw_ack(5, true);
    saw_ack(10, true);
    client_end(t);
    consume(3, false);
    deliver(3);
    assert_written_with(2);
    saw_ack(2, true);
    saw_ack(3, false);
    client_end(t);
}

static void the_last_message_waits_for_nothing(void **state) {
    (void)state;
    consume(1, false);
    unsigned turns = t->v.counts.turns;
    deliver(1);
    saw_ack(1, false);
    assert_int_equal(t->v.counts.turns, turns + 1);
    client_end(t);
}

static void a_new_prefetch_count_holds_from_then_on(void **state) {
    (void)state;
    lago_channel_t *ch = consume(2, false);
    assert_int_equal(lago_basic_qos(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    deliver(8);
    saw_ack(8, true);
    client_end(t);
}

static void two_milliseconds_are_enough(void **state) {
    (void)state;
    consume(0, false);
    app.takes_ms = 1;
    deliver(8);
    assert_written_with(2);
    saw_ack(2, true);
    saw_ack(4, true);
    client_end(t);
}

/* While all are quick the clock is looked at now and then only. */
static void a_callback_that_becomes_slow_is_noticed(void **state) {
    (void)state;
    consume(0, false);
    app.takes_ms = 1;
    app.fast = 100;
    deliver(200);
    size_t n = app.fast;
    while (app.written_with[n] == app.written_with[0]) n++;
    assert_true(n <= app.fast + 64);
    client_end(t);
}

/* Out of order they are neighbours all the same, once nothing below is open. */
static void the_last_one_open_joins_those_above(void **state) {
    (void)state;
    lago_channel_t *ch = consume(0, false);
    app.keeps = true;
    deliver(2);
    assert_int_equal(lago_basic_ack(ch, 2, 0), 0);
    assert_int_equal(lago_basic_ack(ch, 1, 0), 0);
    virtual_run(&t->v);
    saw_ack(2, true);
    client_end(t);
}

static void single_acks_are_frames_of_their_own(void **state) {
    (void)state;
    consume(4, true);
    deliver(20);
    for (unsigned n = 1; n <= 20; n++) saw_ack(n, false);
    assert_int_equal(app.written_with[19], app.written_with[0]); /* which leave together */
    client_end(t);
}

/* Not from a callback: nothing is told, so the turn that writes it comes at once. */
static void outside_a_turn_they_leave_with_the_next_one(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = noted_message, .data = probe(t, "got") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    for (unsigned n = 1; n <= 3; n++) {
        char lines[120];
        (void)snprintf(lines, sizeof(lines), "1 basic.deliver consumer_tag=\"c\" delivery_tag=%u\n1 header body_size=0", n);
        server_send(&t->v, lines);
    }
    uint64_t before = virtual_time(&t->v);
    unsigned wakes = t->v.counts.wake;
    assert_int_equal(lago_basic_ack(ch, 3, 0), 0); /* two below it are open: alone */
    assert_int_equal(lago_basic_ack(ch, 1, 0), 0);
    assert_int_equal(lago_basic_ack(ch, 2, 0), 0);
    assert_true(t->v.counts.wake > wakes);
    virtual_run(&t->v);
    saw_ack(3, false);
    saw_ack(2, true);
    assert_int_equal(virtual_time(&t->v), before);
    client_end(t);
}

/* A delivery races a cancel, and the n-th allocation for it fails. */
static lago_channel_t *raced(size_t n) {
    lago_channel_t *ch = consume(0, false);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "gone", .on_message = on_message };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"gone\"");
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "gone" }, NULL, NULL), 0);
    virtual_run(&t->v);
    fail_alloc_at(&t->v.alloc, n, false);
    server_send(&t->v, "1 basic.deliver consumer_tag=\"gone\" delivery_tag=1\n1 header body_size=0");
    fail_alloc_at(&t->v.alloc, 0, false);
    return ch;
}

/* Two that are held for a paused consumer, which is cancelled, and the n-th allocation for giving them back fails. */
static lago_channel_t *held(size_t n) {
    lago_channel_t *ch = consume(0, false);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "gone", .on_message = on_message };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"gone\"");
    assert_int_equal(lago_consumer_pause(ch, "gone"), 0);
    server_send(&t->v, "1 basic.deliver consumer_tag=\"gone\" delivery_tag=1\n1 header body_size=0\n"
                       "1 basic.deliver consumer_tag=\"gone\" delivery_tag=2\n1 header body_size=0");
    fail_alloc_at(&t->v.alloc, n, false);
    server_send(&t->v, "1 basic.cancel consumer_tag=\"gone\"");
    fail_alloc_at(&t->v.alloc, 0, false);
    return ch;
}

/*
 * It is open at the broker, and nobody here has seen it: a `multiple` would take it from its queue. So either it was given back, or there
 * is no such ack.
 */
static void what_could_not_be_given_back_ends_the_link(void **state) {
    (void)state;
    unsigned ended = 0;
    for (size_t n = 1; n <= 16; n++) {
        lago_channel_t *ch = n <= 8 ? raced(n) : held(n - 8);
        app.keeps = true;
        if (t->conn && lago_connection_state(t->conn) == LAGO_CONNECTION_OPEN) {
            server_send(&t->v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=3\n1 header body_size=0");
            assert_int_equal(app.received, 1);
            assert_int_equal(lago_basic_ack(ch, 3, LAGO_MULTIPLE), 0);
            virtual_run(&t->v);
            assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
            if (n > 8) assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=2 requeue=1"));
        } else {
            ended++;
        }
        client_end(t);
    }
    assert_true(ended > 0);
}

/* What is left is two pieces then. A tag that is not open is no failure of the channel's. */
static void one_from_the_middle_takes_memory(void **state) {
    (void)state;
    lago_channel_t *ch = consume(0, false);
    app.keeps = true;
    deliver(600);
    assert_int_equal(lago_basic_reject(ch, 700, 0), LAGO_ESTALE);
    assert_int_equal(lago_channel_error(ch), 0);
    fail_alloc_at(&t->v.alloc, 1, true);
    int rc = 0;
    uint64_t tag = 2;
    while (tag < 600 && (rc = lago_basic_reject(ch, tag, 0)) == 0) tag += 2;
    assert_int_equal(rc, LAGO_ENOMEM);
    assert_int_equal(lago_channel_error(ch), LAGO_ENOMEM);
    fail_alloc_at(&t->v.alloc, 0, false);
    assert_int_equal(lago_basic_reject(ch, tag, 0), 0);
    client_end(t);
}

/* A consumer that was cancelled; its deliveries cross that. */
static void cancelled(bool of_stream) {
    lago_channel_t *ch = consume(0, false);
    t->v.log_level = LAGO_LOG_WARNING;
    if (of_stream) {
        lago_basic_consume_t args = { .queue = "s",
                                      .consumer_tag = "s",
                                      .arguments = LAGO_TABLE(LAGO_FIELD_STR("x-stream-offset", "first")),
                                      .on_message = on_message };
        assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
        server_send(&t->v, "1 basic.consume-ok consumer_tag=\"s\"");
    }
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = of_stream ? "s" : "c" }, NULL, NULL), 0);
    virtual_run(&t->v);
}

/* Deliveries to it, by a broker that does not read: what is owed for them is bounded. */
static size_t answers_until_the_end(bool of_stream, size_t room, unsigned most) {
    static const char deliver[] = "1 basic.deliver consumer_tag=\"%c\" delivery_tag=%u\n1 header body_size=0";
    char line[100];
    cancelled(of_stream);
    size_t before = t->v.alloc.live_bytes, most_bytes = 0;
    t->v.room = room;
    for (unsigned tag = 1; tag <= most && lago_connection_state(t->conn) == LAGO_CONNECTION_OPEN; tag++) {
        (void)snprintf(line, sizeof(line), deliver, of_stream ? 's' : 'c', tag);
        server_send(&t->v, line);
        if (t->v.alloc.live_bytes > most_bytes) most_bytes = t->v.alloc.live_bytes;
        virtual_forget_log(&t->v);
    }
    return most_bytes - before;
}

static void a_broker_that_takes_no_answers_is_left(void **state) {
    (void)state;
    for (int of_stream = 0; of_stream < 2; of_stream++) {
        assert_in_range(answers_until_the_end(of_stream, 0, 60000), 1 << 20, (1 << 20) + 131072);
        assert_journal(t, "1 open; 1 close ESTALLED; channel free; close ESTALLED; connection free");
        client_end(t);
        /* one that takes them may send as many as it likes */
        assert_in_range(answers_until_the_end(of_stream, SIZE_MAX, 60000), 0, 65536);
        assert_int_equal(app.received, 0);
        assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
        client_end(t);
    }
}

/* Behind cancel-ok a broker that counts well has none left; a few are given back, and without end they are a flood. */
static void deliveries_behind_a_cancel_end(void **state) {
    static const char deliver[] = "1 basic.deliver consumer_tag=\"c\" delivery_tag=%u\n1 header body_size=0";
    unsigned tag = 0;
    char line[100];
    (void)state;
    lago_channel_t *ch = consume(0, false);
    t->v.log_level = LAGO_LOG_ERROR;
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"c\"");
    while (++tag <= 10000) {
        (void)snprintf(line, sizeof(line), deliver, tag);
        server_send(&t->v, line);
        virtual_forget_log(&t->v);
    }
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    (void)snprintf(line, sizeof(line), deliver, tag);
    server_send(&t->v, line);
    assert_true(virtual_saw(&t->v, "C> 0 connection.close reply_code=506*"));
    client_end(t);
}

/* What is known by a number is looked up again when its consumer comes back: also behind a delivery that came too late. */
static void one_that_comes_back_under_its_tag_is_told(void **state) {
    static const char alike[] = "1 basic.deliver consumer_tag=\"c\" delivery_tag=%u\n1 header body_size=100\n1 body size=100";
    char line[120];
    (void)state;
    memset(&app, 0, sizeof(app));
    client_init(t);
    t->v.log_level = LAGO_LOG_ERROR; /* traced deliveries have no number */
    client_connect(t, NULL);
    server_handshake(&t->v);
    journal_clear(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = on_message };
    for (unsigned tag = 1; tag <= 10; tag++) {
        if (tag == 1 || tag == 8) {
            assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
            virtual_run(&t->v);
            server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
        }
        if (tag == 4) {
            assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL), 0);
            virtual_run(&t->v);
            server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"c\"");
        }
        (void)snprintf(line, sizeof(line), alike, tag);
        server_send(&t->v, line);
    }
    assert_int_equal(app.received, 6);
    client_end(t);
}

/*
 * What comes between basic.recover and its answer is among what the broker gives back (1.8.3.16): it is told, and comes again, but to
 * acknowledge it would cost the channel (406).
 */
static void what_recover_gives_back_is_not_open(void **state) {
    (void)state;
    lago_channel_t *ch = consume(0, false);
    app.keeps = true;
    assert_int_equal(lago_basic_recover(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=1\n1 header body_size=0");
    assert_int_equal(app.received, 1);
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    assert_int_equal(lago_basic_ack(ch, 1, 0), LAGO_ESTALE);
    server_send(&t->v, "1 basic.recover-ok\n1 basic.deliver consumer_tag=\"c\" delivery_tag=2\n1 header body_size=0");
    assert_int_equal(lago_basic_ack(ch, 2, 0), 0);
    virtual_run(&t->v);
    saw_ack(2, false);
    client_end(t);
}

/* A rollback opens them again at the broker, so no `multiple` may rely on what was acknowledged below it. */
static void a_transaction_has_single_acks(void **state) {
    (void)state;
    lago_channel_t *ch = consume(0, false);
    assert_int_equal(lago_tx_select(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 tx.select-ok");
    deliver(5);
    for (unsigned n = 1; n <= 5; n++) saw_ack(n, false);
    assert_null(strstr(t->v.log, "multiple=1"));
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_leave_at_the_end_of_the_turn),
        cmocka_unit_test(half_of_the_prefetch_count_leaves),
        cmocka_unit_test(the_last_message_waits_for_nothing),
        cmocka_unit_test(a_new_prefetch_count_holds_from_then_on),
        cmocka_unit_test(two_milliseconds_are_enough),
        cmocka_unit_test(a_callback_that_becomes_slow_is_noticed),
        cmocka_unit_test(the_last_one_open_joins_those_above),
        cmocka_unit_test(single_acks_are_frames_of_their_own),
        cmocka_unit_test(outside_a_turn_they_leave_with_the_next_one),
        cmocka_unit_test(what_could_not_be_given_back_ends_the_link),
        cmocka_unit_test(one_from_the_middle_takes_memory),
        cmocka_unit_test(a_broker_that_takes_no_answers_is_left),
        cmocka_unit_test(deliveries_behind_a_cancel_end),
        cmocka_unit_test(one_that_comes_back_under_its_tag_is_told),
        cmocka_unit_test(what_recover_gives_back_is_not_open),
        cmocka_unit_test(a_transaction_has_single_acks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
