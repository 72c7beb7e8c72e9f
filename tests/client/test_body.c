/* Bodies in pieces: begun once, ended once, whatever happens in between; and nothing is held. */
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

#define METHOD(n)   "1 basic.deliver consumer_tag=\"c\" delivery_tag=" #n " exchange=\"e\" routing_key=\"k\"\n"
#define BEGIN(n, s) METHOD(n) "1 header body_size=" #s " content_type=\"t\""

/* What a callback does, once. */
static void (*act)(lago_channel_t *ch);
static unsigned act_at;

static void on_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    struct probe *p = data;
    noted_body(ch, body, data);
    assert_int_equal(body->message->body.size, 0);
    assert_string_equal(body->message->consumer_tag.data, "c");
    assert_true(!body->reason || body->ends);
    assert_non_null(body->message->properties);
    if (!body->reason) {
        assert_string_equal(body->message->exchange.data, "e");
        assert_string_equal(body->message->routing_key.data, "k");
        assert_string_equal(body->message->properties->content_type, "t");
    }
    if (act && p->calls == act_at) act(ch);
}

static lago_channel_t *consume(bool auto_ack, lago_log_level_t level) {
    client_init(t);
    t->v.log_level = level;
    client_connect(t, NULL);
    server_handshake(&t->v);
    lago_channel_t *ch = client_channel(t);
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = "c",
                                  .auto_ack = auto_ack,
                                  .on_body = on_body,
                                  .on_cancel = noted_cancel,
                                  .data = probe(t, "b"),
                                  .free_data = noted_free };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.open-ok\n1 basic.consume-ok consumer_tag=\"c\"");
    act = NULL;
    journal_clear(t);
    virtual_forget_log(&t->v);
    return ch;
}

/* ---------------------------------------------------------------- pieces */

static void a_message_comes_piece_by_piece(void **state) {
    (void)state;
    lago_channel_t *ch = consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5));
    assert_journal(t, "b 1 begins 0+0/5");
    server_send(&t->v, "1 body \"abc\"");
    assert_journal(t, "b 1 0+3/5");
    server_send(&t->v, "1 body \"\"");
    assert_journal(t, "");
    assert_int_equal(lago_channel_unacked_count(ch), 1);
    assert_int_equal(lago_basic_ack(ch, 1, 0), 0); /* as soon as it has begun */
    assert_int_equal(lago_basic_ack(ch, 1, 0), LAGO_ESTALE);
    server_send(&t->v, "1 body \"de\"");
    assert_journal(t, "b 1 3+2/5 ends");
    client_end(t);
}

static void a_small_one_comes_at_once(void **state) {
    (void)state;
    consume(false, LAGO_LOG_WARNING);
    size_t calls = t->v.alloc.calls;
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abcde\"\n" BEGIN(2, 3) "\n1 body \"abc\"");
    assert_journal(t, "b 1 begins 0+5/5 ends; b 2 begins 0+3/3 ends");
    server_send(&t->v, BEGIN(3, 0));
    assert_journal(t, "b 3 begins 0+0/0 ends");
    calls = t->v.alloc.calls;
    for (int i = 0; i < 3; i++) {
        static const char *const more[] = { BEGIN(4, 3) "\n1 body \"abc\"", BEGIN(5, 3) "\n1 body \"abc\"",
                                            BEGIN(6, 3) "\n1 body \"abc\"" };
        server_send(&t->v, more[i]);
    }
    assert_int_equal(t->v.alloc.calls, calls); /* nothing is allocated for them */
    client_end(t);
}

/* Whatever the network makes of it. */
static void however_it_is_cut(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++) {
        consume(true, seed % 2 ? LAGO_LOG_TRACE : LAGO_LOG_WARNING);
        t->v.piece_seed = seed;
        server_send(&t->v, BEGIN(1, 12) "\n1 body \"abcdef\"\n1 body \"ghijkl\"\n" BEGIN(2, 3) "\n1 body \"abc\"\n0 heartbeat");
        const char *journal = t->journal;
        unsigned begins = 0, ends = 0;
        for (const char *at = journal; (at = strstr(at, "begins")); at++) begins++;
        for (const char *at = journal; (at = strstr(at, "ends")); at++) ends++;
        if (begins != 2 || ends != 2) fail_msg("seed %u: %s", seed, journal);
        client_end(t);
    }
}

/* Not limited by message_size_max, and not in memory. */
static void any_size_without_memory(void **state) {
    (void)state;
    static char line[20000];
    consume(true, LAGO_LOG_WARNING);
    t->v.alloc.peak_bytes = t->v.alloc.live_bytes;
    size_t live = t->v.alloc.live_bytes;
    int size = snprintf(line, sizeof line, "1 body \"");
    memset(line + size, 'x', 10000);
    memcpy(line + size + 10000, "\"", 2);
    server_send(&t->v, BEGIN(1, 1000000000000));
    for (int i = 0; i < 200; i++) server_send(&t->v, line);
    assert_true(t->v.alloc.peak_bytes - live < 4096);
    journal_clear(t);
    server_send(&t->v, "1 channel.close reply_code=541");
    assert_journal(t, "b 1 2000000+0/1000000000000 ends ECHANNEL; b free; 1 close ECHANNEL; channel free");
    client_end(t);
}

static void one_of_both_callbacks(void **state) {
    (void)state;
    lago_channel_t *ch = consume(false, LAGO_LOG_TRACE);
    lago_basic_consume_t both = { .queue = "q", .on_body = on_body, .on_message = noted_message };
    lago_basic_consume_t none = { .queue = "q" };
    assert_int_equal(lago_basic_consume(ch, &both, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_consume(ch, &none, NULL, NULL), LAGO_EINVAL);
    client_end(t);
}

/* Another consumer of the channel takes its messages whole. */
static void whole_ones_beside_it(void **state) {
    (void)state;
    lago_channel_t *ch = consume(false, LAGO_LOG_TRACE);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "w", .on_message = noted_message, .data = probe(t, "w") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"w\"\n"
                       "1 basic.deliver consumer_tag=\"w\" delivery_tag=1\n1 header body_size=6\n1 body \"abc\"\n1 body \"def\"");
    assert_journal(t, "w got abcdef");
    client_end(t);
}

/* ---------------------------------------------------------------- ends in between */

static void its_end_comes_with_its_channels(void **state) {
    (void)state;
    consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
    journal_clear(t);
    virtual_lose(&t->v, -4095);
    virtual_run(&t->v);
    assert_journal(t, "b 1 3+0/5 ends ELOST; b free; 1 close ELOST; channel free; close ELOST; connection free");
    client_end(t);
}

static void a_close_ends_it(void **state) {
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        lago_channel_t *ch = consume(false, LAGO_LOG_TRACE);
        server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
        journal_clear(t);
        assert_int_equal(whole ? lago_connection_close(t->conn, NULL) : lago_channel_close(ch, NULL), 0);
        virtual_run(&t->v);
        server_send(&t->v, "1 body \"de\"\n1 channel.close-ok");
        assert_journal(t, "b 1 3+0/5 ends ECLOSED; b free; 1 close ECLOSED; channel free");
        client_end(t);
    }
}

/* Closed before the last piece came: also a consumer that is cancelled meanwhile, by either side, is told the end, with its channel. */
static void a_cancel_during_a_close_does_not_hide_the_end(void **state) {
    (void)state;
    lago_channel_t *ch = consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, noted_consumer, probe(t, "cancel")), 0);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    journal_clear(t);
    server_send(&t->v, "1 body \"de\"\n1 basic.cancel-ok consumer_tag=\"c\"");
    assert_journal(t, "cancel ok c");
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "b 1 3+0/5 ends ECLOSED; b free; 1 close ECLOSED; channel free");
    client_end(t);

    ch = consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    journal_clear(t);
    server_send(&t->v, "1 body \"de\"\n1 basic.cancel consumer_tag=\"c\" no_wait=1\n1 channel.close-ok");
    assert_journal(t, "b 1 3+0/5 ends ECLOSED; b free; 1 close ECLOSED; channel free");
    client_end(t);

    ch = consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
    assert_int_equal(lago_queue_declare(ch, NULL, NULL, NULL), 0); /* its answer is awaited before the goodbye */
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    journal_clear(t);
    server_send(&t->v, "1 body \"de\"\n" BEGIN(2, 5) "\n1 body \"f\""); /* the next one is not begun, and changes nothing */
    server_send(&t->v, "1 body \"ghij\"\n1 basic.cancel consumer_tag=\"c\" no_wait=1\n1 queue.declare-ok queue=\"q\"");
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "b 1 3+0/5 ends ECLOSED; b free; 1 close ECLOSED; channel free");
    client_end(t);
}

/* Nor does a cancel that was given up, whose answer comes after all. */
static void a_cancel_that_was_given_up_does_not_either(void **state) {
    (void)state;
    lago_channel_t *ch = consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
    lago_basic_cancel_t args = { .consumer_tag = "c", .timeout_ms = 10 };
    assert_int_equal(lago_basic_cancel(ch, &args, noted_consumer, probe(t, "cancel")), 0);
    virtual_run(&t->v);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    journal_clear(t);
    virtual_advance(&t->v, 10);
    assert_journal(t, "cancel ETIMEDOUT c");
    server_send(&t->v, "1 body \"de\"\n1 basic.cancel-ok consumer_tag=\"c\"");
    assert_journal(t, "");
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "b 1 3+0/5 ends ECLOSED; b free; 1 close ECLOSED; channel free");
    client_end(t);

    ch = consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
    assert_int_equal(lago_basic_cancel(ch, &args, noted_consumer, probe(t, "cancel")), 0);
    assert_int_equal(lago_queue_declare(ch, NULL, NULL, NULL), 0); /* the goodbye waits for its answer */
    virtual_run(&t->v);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    journal_clear(t);
    virtual_advance(&t->v, 10);
    server_send(&t->v, "1 body \"de\"\n1 basic.cancel-ok consumer_tag=\"c\"");
    assert_journal(t, "cancel ETIMEDOUT c");
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"\n1 channel.close-ok");
    assert_journal(t, "b 1 3+0/5 ends ECLOSED; b free; 1 close ECLOSED; channel free");
    client_end(t);
}

/* What was begun comes to its end; what comes next is given back. */
static void a_cancel_lets_it_end(void **state) {
    (void)state;
    lago_channel_t *ch = consume(false, LAGO_LOG_TRACE);
    server_send(&t->v, BEGIN(1, 5) "\n1 body \"abc\"");
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, noted_consumer, probe(t, "cancel")), 0);
    virtual_run(&t->v);
    journal_clear(t);
    server_send(&t->v, "1 body \"de\"\n" BEGIN(2, 5) "\n1 body \"ab\"\n1 body \"cde\"\n" BEGIN(3, 2) "\n1 body \"ab\"");
    assert_journal(t, "b 1 3+2/5 ends");
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=2 requeue=1"));
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=3 requeue=1"));
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"c\"");
    assert_journal(t, "cancel ok c; b free");
    assert_int_equal(lago_channel_unacked_count(ch), 1);
    client_end(t);
}

/* ---------------------------------------------------------------- inside its callback */

static void close_connection(lago_channel_t *ch) { (void)lago_connection_close(lago_channel_connection(ch), NULL); }
static void close_channel(lago_channel_t *ch) { (void)lago_channel_close(ch, NULL); }
static void free_channel(lago_channel_t *ch) { lago_channel_free(ch); }
static void abort_connection(lago_channel_t *ch) { (void)lago_connection_abort(lago_channel_connection(ch)); }
static void free_connection(lago_channel_t *ch) {
    (void)ch;
    lago_connection_free(t->conn);
    t->conn = NULL;
}
static void cancel(lago_channel_t *ch) { (void)lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL); }
static void nack(lago_channel_t *ch) { (void)lago_basic_nack(ch, 0, LAGO_MULTIPLE); }
static void pause_connection(lago_channel_t *ch) { (void)lago_connection_pause(lago_channel_connection(ch)); }
static void pause_consumer(lago_channel_t *ch) { (void)lago_consumer_pause(ch, "c"); }

/* Each of them in the first, the second ... call: ends are as many as begins, unless what they belong to was freed. */
static void anything_in_any_call(void **state) {
    (void)state;
    static void (*const acts[])(lago_channel_t * ch) = { close_connection, close_channel, free_channel, abort_connection,
                                                         free_connection,  cancel,        nack,         pause_connection,
                                                         pause_consumer };
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        for (unsigned at = 1; at <= 6; at++) {
            lago_channel_t *ch = consume(false, at % 2 ? LAGO_LOG_TRACE : LAGO_LOG_WARNING);
            act = acts[i];
            act_at = at;
            server_send(&t->v, BEGIN(1, 4) "\n1 body \"ab\"\n1 body \"cd\"\n" BEGIN(2, 1) "\n1 body \"a\"\n" BEGIN(
                                   3, 2) "\n1 body \"a\"");
            if (act == pause_connection) lago_connection_resume(t->conn);
            if (act == pause_consumer) lago_consumer_resume(ch, "c");
            virtual_run(&t->v);
            if (t->conn) (void)lago_connection_abort(t->conn);
            virtual_run(&t->v);
            unsigned begins = 0, ends = 0;
            for (const char *j = t->journal; (j = strstr(j, "begins")); j++) begins++;
            for (const char *j = t->journal; (j = strstr(j, " ends")); j++) ends++;
            bool freed = act == free_channel || act == free_connection;
            if (freed ? ends > begins : ends != begins) fail_msg("action %zu in call %u: %s", i, at, t->journal);
            client_end(t);
        }
    }
}

/* ---------------------------------------------------------------- keeping */

static lago_message_t *kept;

static void keep_header(lago_channel_t *ch, const lago_body_t *body, void *data) {
    (void)ch, (void)data;
    if (body->begins) assert_int_equal(lago_message_keep(body->message, &kept), 0);
}

static void its_header_can_be_kept(void **state) {
    (void)state;
    for (int small = 0; small < 2; small++) {
        client_open(t);
        lago_channel_t *ch = client_open_channel(t);
        lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_body = keep_header };
        assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
        virtual_run(&t->v);
        server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
        server_send(&t->v, small ? BEGIN(7, 2) "\n1 body \"ab\"" : BEGIN(7, 9) "\n1 body \"ab\"");
        assert_string_equal(kept->routing_key.data, "k");
        assert_string_equal(kept->properties->content_type, "t");
        assert_int_equal(kept->delivery_tag, 7);
        assert_int_equal(kept->body.size, 0);
        lago_message_release(kept);
        client_end(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_piece_by_piece),
        cmocka_unit_test(a_small_one_comes_at_once),
        cmocka_unit_test(however_it_is_cut),
        cmocka_unit_test(any_size_without_memory),
        cmocka_unit_test(one_of_both_callbacks),
        cmocka_unit_test(whole_ones_beside_it),
        cmocka_unit_test(its_end_comes_with_its_channels),
        cmocka_unit_test(a_close_ends_it),
        cmocka_unit_test(a_cancel_during_a_close_does_not_hide_the_end),
        cmocka_unit_test(a_cancel_that_was_given_up_does_not_either),
        cmocka_unit_test(a_cancel_lets_it_end),
        cmocka_unit_test(anything_in_any_call),
        cmocka_unit_test(its_header_can_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
