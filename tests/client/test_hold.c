/* Consumers that are paused: what they hold, in which order it is told, who goes on meanwhile, and when nothing is read any more. */
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

#define DELIVER(tag, n) "1 basic.deliver consumer_tag=\"" tag "\" delivery_tag=" #n "\n1 header body_size=1\n1 body \"" #n "\""

static void consume_as(lago_channel_t *ch, const char *tag, lago_basic_consume_t args) {
    char line[80];
    args.queue = "q";
    args.consumer_tag = tag;
    args.on_cancel = noted_cancel;
    args.data = probe(t, tag);
    args.free_data = noted_free;
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    snprintf(line, sizeof line, "1 basic.consume-ok consumer_tag=\"%s\"", tag);
    server_send(&t->v, line);
}

/* Two consumers, "a" and "b". */
static lago_channel_t *consuming(void) {
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    consume_as(ch, "a", (lago_basic_consume_t){ .on_message = noted_message });
    consume_as(ch, "b", (lago_basic_consume_t){ .on_message = noted_message });
    journal_clear(t);
    virtual_forget_log(&t->v);
    return ch;
}

/* ---------------------------------------------------------------- holding */

static void its_messages_wait_in_order(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("b", 2) "\n" DELIVER("a", 3) "\n" DELIVER("b", 4));
    assert_journal(t, "b got 2; b got 4");
    assert_int_equal(lago_channel_unacked_count(ch), 4);
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    assert_journal(t, ""); /* never from inside the call */
    server_send(&t->v, DELIVER("a", 5) "\n" DELIVER("b", 6));
    assert_journal(t, "a got 1; a got 3; a got 5; b got 6");
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 7));
    assert_journal(t, "a got 7");
    client_end(t);
}

static void who_can_be_paused(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(NULL, "a"), LAGO_EINVAL);
    assert_int_equal(lago_consumer_pause(ch, NULL), LAGO_EINVAL);
    assert_int_equal(lago_consumer_resume(ch, NULL), LAGO_EINVAL);
    assert_int_equal(lago_consumer_pause(ch, "x"), LAGO_ESTALE);
    assert_int_equal(lago_consumer_resume(ch, "x"), LAGO_ESTALE);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "a" }, NULL, NULL), 0);
    assert_int_equal(lago_consumer_pause(ch, "a"), LAGO_ESTALE);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    assert_int_equal(lago_consumer_pause(ch, "b"), LAGO_ECLOSED);
    client_end(t);
}

static void pauses_itself(lago_channel_t *ch, const lago_message_t *message, void *data) {
    noted_message(ch, message, data);
    assert_int_equal(lago_consumer_pause(ch, message->consumer_tag.data), 0);
}

/* One at a time, from its own callback. */
static void one_by_one(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    consume_as(ch, "a", (lago_basic_consume_t){ .on_message = pauses_itself });
    journal_clear(t);
    server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("a", 2) "\n" DELIVER("a", 3));
    assert_journal(t, "a got 1");
    for (int n = 2; n <= 3; n++) {
        virtual_advance(&t->v, 10);
        assert_journal(t, "");
        assert_int_equal(lago_consumer_resume(ch, "a"), 0);
        virtual_run(&t->v);
        assert_journal(t, n == 2 ? "a got 2" : "a got 3");
    }
    client_end(t);
}

/* Both: what is held is not told while the connection is paused. */
static void together_with_the_connection(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1));
    assert_int_equal(lago_connection_pause(t->conn), 0);
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    server_send(&t->v, DELIVER("b", 2));
    assert_journal(t, "");
    assert_int_equal(lago_connection_resume(t->conn), 0);
    virtual_run(&t->v);
    assert_journal(t, "a got 1; b got 2");
    client_end(t);
}

/* ---------------------------------------------------------------- the bound */

#define LARGE 300000

/* Four of them are more than the bound. */
static void send_large(unsigned tag, const char *consumer) {
    static char lines[LARGE + 1000];
    int size =
        snprintf(lines, sizeof lines, "1 basic.deliver consumer_tag=\"%s\" delivery_tag=%u\n1 header body_size=%d\n1 body \"",
                 consumer, tag, LARGE);
    (void)size;
    size_t at = (size_t)size;
    for (size_t left = LARGE; left > 0;) { /* what a line of the script takes */
        size_t piece = left < 30000 ? left : 30000;
        memset(lines + at, 'x', piece);
        at += piece;
        left -= piece;
        at += (size_t)snprintf(lines + at, sizeof lines - at, left > 0 ? "\"\n1 body \"" : "\"");
    }
    server_queue(&t->v, lines);
}

static void counted_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)ch;
    ((struct probe *)data)->calls++;
    assert_int_equal(message->body.size, LARGE);
}

static void beyond_it_nothing_is_read(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    consume_as(ch, "a", (lago_basic_consume_t){ .on_message = counted_message, .auto_ack = true });
    struct probe *a = &t->probes[t->probe_count - 1];
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    unsigned inputs = t->v.counts.inputs;
    for (unsigned tag = 1; tag <= 6; tag++) send_large(tag, "a");
    virtual_run(&t->v);
    assert_true(t->v.counts.inputs > inputs);
    size_t live = t->v.alloc.live_bytes;
    assert_true(live < LAGO_HELD_SIZE_MAX + 2 * LARGE);
    virtual_advance(&t->v, 600000); /* ten minutes: the broker's silence is not held against it, heartbeats leave */
    assert_in_range(t->v.alloc.live_bytes, live - 4096, live + 4096);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    assert_int_equal(a->calls, 0);
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    virtual_run(&t->v);
    assert_int_equal(a->calls, 6);
    client_end(t);
}

/* Whatever lets it go opens the connection again. */
static void what_ends_it_lets_the_others_go_on(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        client_open(t);
        lago_channel_t *ch = client_open_channel(t), *other = NULL;
        consume_as(ch, "a", (lago_basic_consume_t){ .on_message = noted_message });
        assert_int_equal(lago_channel_open(t->conn, NULL, &other), 0);
        virtual_run(&t->v);
        server_send(&t->v, "2 channel.open-ok");
        assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        for (unsigned tag = 1; tag <= 5; tag++) send_large(tag, "a");
        virtual_run(&t->v);
        journal_clear(t);
        assert_int_equal(lago_queue_declare(other, NULL, noted_declare, probe(t, "declare")), 0);
        virtual_run(&t->v);
        server_send(&t->v, "2 queue.declare-ok queue=\"q\"");
        assert_journal(t, "");
        if (how == 0) assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "a" }, NULL, NULL), 0);
        if (how == 1) assert_int_equal(lago_channel_close(ch, NULL), 0);
        if (how == 2) lago_channel_free(ch);
        if (how == 3) assert_int_equal(lago_basic_recover(ch, NULL, NULL, NULL), 0);
        virtual_run(&t->v);
        assert_non_null(strstr(t->journal, "declare ok"));
        client_end(t);
    }
}

/* ---------------------------------------------------------------- its end */

static void a_cancel_gives_them_back(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("b", 2) "\n" DELIVER("a", 3));
    journal_clear(t);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "a" }, noted_consumer, probe(t, "cancel")), 0);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=3 requeue=1"));
    assert_int_equal(lago_channel_unacked_count(ch), 1);
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"a\"");
    assert_journal(t, "cancel ok a; a free");
    assert_int_equal(lago_consumer_pause(ch, "b"), 0);
    server_send(&t->v, DELIVER("b", 4) "\n" DELIVER("b", 5));
    assert_int_equal(lago_basic_ack(ch, 4, 0), 0); /* a guess: refused as well, the broker would close the channel (406) */
    virtual_forget_log(&t->v);
    server_send(&t->v, "1 basic.cancel consumer_tag=\"b\" no_wait=1");
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=5 requeue=1"));
    assert_null(strstr(t->v.log, "basic.reject delivery_tag=4"));
    assert_journal(t, "b cancelled b; b free");
    client_end(t);
}

static void they_go_with_their_channel(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("a", 2) "\n1 channel.close reply_code=404");
    assert_non_null(strstr(t->journal, "a free"));
    assert_null(strstr(t->journal, "got"));
    client_end(t);
}

/* Messages that were never told go back before anything can be acknowledged above them: a `multiple` would take them along. */
static void what_is_held_goes_back_before_a_close(void **state) {
    for (unsigned of_connection = 0; of_connection < 2; of_connection++) {
        (void)state;
        lago_channel_t *ch = consuming();
        assert_int_equal(lago_confirm_select(ch, &(lago_confirm_select_t){ .no_wait = true }, NULL, NULL), 0);
        assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q" }, noted_publish, probe(t, "p")), 1);
        assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("b", 2) "\n" DELIVER("b", 3));
        assert_journal(t, "b got 2; b got 3");
        virtual_forget_log(&t->v);
        assert_int_equal(of_connection ? lago_connection_close(t->conn, NULL) : lago_channel_close(ch, NULL), 0);
        assert_int_equal(lago_basic_ack(ch, 2, 0), 0);
        assert_int_equal(lago_basic_ack(ch, 3, 0), 0);
        virtual_run(&t->v);
        assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
        assert_true(virtual_saw(&t->v, "C> 1 basic.ack delivery_tag=3 multiple=1"));
        server_send(&t->v, "1 basic.ack delivery_tag=1");
        assert_true(virtual_saw(&t->v, "C> 1 channel.close*"));
        client_end(t);
    }
}

/* A `multiple` covers what was told, and nothing that was not. */
static void multiple_spares_what_is_held(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("b", 1) "\n" DELIVER("a", 2) "\n" DELIVER("b", 3) "\n" DELIVER("a", 4) "\n" DELIVER("b", 5));
    journal_clear(t);
    virtual_forget_log(&t->v);
    assert_int_equal(lago_basic_ack(ch, 3, LAGO_MULTIPLE), 0);
    assert_int_equal(lago_channel_unacked_count(ch), 3);
    assert_int_equal(lago_basic_ack(ch, 3, LAGO_MULTIPLE), LAGO_ESTALE);
    assert_int_equal(lago_basic_nack(ch, 0, LAGO_MULTIPLE), 0);
    assert_int_equal(lago_channel_unacked_count(ch), 2);
    virtual_run(&t->v);
    assert_false(virtual_saw(&t->v, "C> 1 basic.ack delivery_tag=3 multiple=1"));
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    virtual_run(&t->v);
    assert_journal(t, "a got 2; a got 4");
    virtual_forget_log(&t->v);
    assert_int_equal(lago_basic_ack(ch, 0, LAGO_MULTIPLE), 0);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 basic.ack delivery_tag=4 multiple=1"));
    client_end(t);
}

/* basic.recover gives back what is held; it comes again. */
static void recovered_ones_come_again(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("a", 2));
    assert_int_equal(lago_basic_recover(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.recover-ok\n" DELIVER("a", 3));
    assert_journal(t, "");
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    virtual_run(&t->v);
    assert_journal(t, "a got 3");
    client_end(t);
}

/* What the broker counts as done when it has sent it stays, and is told; nothing is given back for it. */
static void what_nobody_acknowledges(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    consume_as(ch, "a", (lago_basic_consume_t){ .on_message = noted_message, .auto_ack = true });
    consume_as(ch, "b", (lago_basic_consume_t){ .on_message = noted_message });
    journal_clear(t);
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("b", 2));
    assert_int_equal(lago_basic_recover(ch, NULL, NULL, NULL), 0);
    server_send(&t->v, "1 basic.recover-ok\n" DELIVER("b", 3) "\n" DELIVER("a", 4));
    assert_journal(t, "b got 2; b got 3");
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    virtual_run(&t->v);
    assert_journal(t, "a got 1; a got 4");
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 5));
    uint64_t dropped = lago_connection_counters(t->conn).messages_dropped;
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "a" }, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_false(virtual_saw(&t->v, "C> 1 basic.reject*"));
    assert_int_equal(lago_connection_counters(t->conn).messages_dropped, dropped + 1);
    client_end(t);
}

/* ---------------------------------------------------------------- bodies in pieces */

static lago_channel_t *streaming(void) {
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    consume_as(ch, "a", (lago_basic_consume_t){ .on_body = noted_body });
    consume_as(ch, "b", (lago_basic_consume_t){ .on_message = noted_message });
    journal_clear(t);
    return ch;
}

#define BEGIN(n, size) "1 basic.deliver consumer_tag=\"a\" delivery_tag=" #n "\n1 header body_size=" #size

static void a_body_rests_in_between(void **state) {
    (void)state;
    lago_channel_t *ch = streaming();
    server_send(&t->v, BEGIN(1, 4) "\n1 body \"ab\"");
    assert_journal(t, "a 1 begins 0+0/4; a 1 0+2/4");
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, "1 body \"cd\"\n" DELIVER("b", 2));
    virtual_advance(&t->v, 100);
    assert_journal(t, "");
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    virtual_run(&t->v);
    assert_journal(t, "a 1 2+2/4 ends; b got 2");
    client_end(t);
}

static void a_body_begins_later(void **state) {
    (void)state;
    lago_channel_t *ch = streaming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("b", 1) "\n" BEGIN(2, 4) "\n1 body \"ab\"\n1 body \"cd\"\n" DELIVER("b", 3));
    assert_journal(t, "b got 1");
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    virtual_run(&t->v);
    assert_journal(t, "a 2 begins 0+0/4; a 2 0+2/4; a 2 2+2/4 ends; b got 3");
    client_end(t);
}

/* Whole ones wait as well, and before a body that begins later. (Traced, each comes frame by frame.) */
static void whole_ones_before_a_body(void **state) {
    (void)state;
    client_init(t);
    t->v.log_level = LAGO_LOG_WARNING;
    client_connect(t, NULL);
    server_handshake(&t->v);
    journal_clear(t);
    lago_channel_t *ch = client_open_channel(t);
    consume_as(ch, "a", (lago_basic_consume_t){ .on_body = noted_body });
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1) "\n" DELIVER("a", 2) "\n" BEGIN(3, 4) "\n1 body \"ab\"");
    assert_journal(t, "");
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    virtual_run(&t->v);
    assert_journal(t, "a 1 begins 0+1/1 ends; a 2 begins 0+1/1 ends; a 3 begins 0+0/4; a 3 0+2/4");
    server_send(&t->v, "1 body \"cd\"");
    assert_journal(t, "a 3 2+2/4 ends");
    client_end(t);
}

/* What has not begun is given back; what has comes to its end. */
static void a_cancel_of_a_paused_body(void **state) {
    (void)state;
    for (int begun = 0; begun < 2; begun++) {
        lago_channel_t *ch = streaming();
        if (!begun) assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        server_send(&t->v, BEGIN(1, 4));
        if (begun) assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        server_send(&t->v, "1 body \"ab\"\n1 body \"cd\"\n" DELIVER("b", 2) "\n1 basic.cancel-ok consumer_tag=\"a\"");
        assert_journal(t, begun ? "a 1 begins 0+0/4" : "");
        assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "a" }, NULL, NULL), 0);
        virtual_run(&t->v);
        assert_journal(t, begun ? "a 1 0+2/4; a 1 2+2/4 ends; b got 2; a free" : "b got 2; a free");
        if (!begun) assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
        client_end(t);
    }
}

static void its_end_while_it_is_paused(void **state) {
    (void)state;
    for (int begun = 0; begun < 2; begun++) {
        lago_channel_t *ch = streaming();
        if (!begun) assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        server_send(&t->v, BEGIN(1, 4));
        if (begun) assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        journal_clear(t);
        assert_int_equal(lago_channel_close(ch, NULL), 0);
        virtual_run(&t->v);
        server_send(&t->v, "1 channel.close-ok");
        assert_int_equal(strncmp(t->journal, "a 1 0+0/4 ends ECLOSED; ", 24) == 0, begun);
        assert_non_null(strstr(t->journal, "1 close ECLOSED"));
        client_end(t);
    }
}

/* Told that it never began: what it holds is nobody's. */
static void one_that_never_began(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = "a",
                                  .on_message = noted_message,
                                  .timeout_ms = 100,
                                  .data = probe(t, "a"),
                                  .free_data = noted_free };
    assert_int_equal(lago_basic_consume(ch, &args, noted_consumer, probe(t, "consume")), 0);
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1));
    assert_int_equal(lago_consumer_resume(ch, "a"), 0);
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    virtual_advance(&t->v, 200);
    assert_journal(t, "consume ETIMEDOUT a; a free");
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=1 requeue=1"));
    client_end(t);
}

/* ---------------------------------------------------------------- memory */

static void without_memory_to_hold(void **state) {
    (void)state;
    lago_channel_t *ch = consuming();
    assert_int_equal(lago_consumer_pause(ch, "a"), 0);
    server_send(&t->v, DELIVER("a", 1));
    fail_alloc_at(&t->v.alloc, 1, true);
    server_send(&t->v, DELIVER("a", 2));
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSED);
    assert_null(strstr(t->journal, "got"));
    fail_alloc_at(&t->v.alloc, 0, false);
    client_end(t);
}

/* A `multiple` that spares what is held says several frames: what was settled is settled, and the rest can be said again. */
static void without_memory_to_settle_all(void **state) {
    (void)state;
    unsigned refused = 0;
    for (size_t n = 1, hit = 1; hit; n++) {
        lago_channel_t *ch = consuming();
        assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        server_send(&t->v, DELIVER("b", 1) "\n" DELIVER("a", 2) "\n" DELIVER("b", 3) "\n" DELIVER("b", 4) "\n" DELIVER("b", 5));
        fail_alloc_at(&t->v.alloc, n, false);
        int rc = lago_basic_nack(ch, 5, LAGO_MULTIPLE);
        hit = t->v.alloc.failures;
        fail_alloc_at(&t->v.alloc, 0, false);
        if (rc < 0) {
            assert_int_equal(rc, LAGO_ENOMEM);
            refused++;
            assert_int_equal(lago_basic_nack(ch, 5, LAGO_MULTIPLE), 0);
        }
        virtual_run(&t->v);
        assert_int_equal(lago_channel_unacked_count(ch), 1); /* what is held */
        assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
        client_end(t);
    }
    assert_true(refused > 0);
}

/* Nobody was told that it begins, so nobody is told that it ends. */
static void a_body_that_could_not_be_held_never_began(void **state) {
    (void)state;
    unsigned ended = 0;
    for (size_t n = 1; n <= 8; n++) {
        client_open(t);
        lago_channel_t *ch = client_open_channel(t);
        consume_as(ch, "a", (lago_basic_consume_t){ .on_body = noted_body });
        assert_int_equal(lago_consumer_pause(ch, "a"), 0);
        journal_clear(t);
        fail_alloc_at(&t->v.alloc, n, false);
        server_send(&t->v, "1 basic.deliver consumer_tag=\"a\" delivery_tag=1\n1 header body_size=5\n1 body \"abc\"");
        fail_alloc_at(&t->v.alloc, 0, false);
        virtual_run(&t->v);
        if (lago_connection_state(t->conn) != LAGO_CONNECTION_OPEN) ended++;
        assert_null(strstr(t->journal, "a 1"));
        client_end(t);
    }
    assert_true(ended > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_messages_wait_in_order),
        cmocka_unit_test(who_can_be_paused),
        cmocka_unit_test(one_by_one),
        cmocka_unit_test(together_with_the_connection),
        cmocka_unit_test(beyond_it_nothing_is_read),
        cmocka_unit_test(what_ends_it_lets_the_others_go_on),
        cmocka_unit_test(a_cancel_gives_them_back),
        cmocka_unit_test(they_go_with_their_channel),
        cmocka_unit_test(what_is_held_goes_back_before_a_close),
        cmocka_unit_test(multiple_spares_what_is_held),
        cmocka_unit_test(recovered_ones_come_again),
        cmocka_unit_test(what_nobody_acknowledges),
        cmocka_unit_test(a_body_rests_in_between),
        cmocka_unit_test(whole_ones_before_a_body),
        cmocka_unit_test(a_body_begins_later),
        cmocka_unit_test(a_cancel_of_a_paused_body),
        cmocka_unit_test(its_end_while_it_is_paused),
        cmocka_unit_test(one_that_never_began),
        cmocka_unit_test(without_memory_to_hold),
        cmocka_unit_test(without_memory_to_settle_all),
        cmocka_unit_test(a_body_that_could_not_be_held_never_began),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
