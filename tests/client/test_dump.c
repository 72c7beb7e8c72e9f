/* The dump of connections in trouble: what an operator looks at when nothing moves, and whatever peers and users call things. */
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

static char page[65536];

static const char *dump(void) {
    size_t size = lago_connection_dump(t->conn, page, sizeof(page));
    assert_true(size > 0 && size < sizeof(page));
    assert_int_equal(strlen(page), size);
    return page;
}

#define assert_page_has(words)                                                                                                   \
    do {                                                                                                                         \
        if (!strstr(page, words)) fail_msg("no \"%s\" in:\n%s", words, page);                                                    \
    } while (0)

static void consume(lago_channel_t *ch, const char *queue, const char *tag) {
    lago_basic_consume_t args = { .queue = queue, .consumer_tag = tag, .on_message = noted_message, .data = probe(t, "message") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
}

/* The last turn may be long ago, as in a loop that hangs: ages count up to the question, not up to that turn. */
static void ages_go_on_when_nothing_happens(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q", .timeout_ms = LAGO_NO_TIMEOUT }, NULL, NULL);
    server_send(&t->v, "0 connection.blocked reason=\"x\"");
    virtual_oversleep(&t->v, 45000);
    dump();
    assert_page_has("blocked by the broker for 45.000 s\n");
    assert_page_has("last byte in 45.000 s ago, out 45.000 s ago\n");
    assert_page_has("waits for: queue.declare (45.000 s)\n");
    assert_page_has("the next deadline is overdue by 15.000 s\n"); /* half a heartbeat */
    assert_int_equal(lago_connection_counters(t->conn).blocked_ms, 45000);
    client_end(t);
}

static void what_a_channel_is_stopped_by(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = 300 }, NULL, NULL), 0);
    assert_int_equal(lago_basic_publish(ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_call_later(t->conn, 2500, noted_timer, probe(t, "timer"), NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.qos-ok\n1 channel.flow active=0");
    dump();
    assert_page_has("  timers: 1 of the application; the next deadline in 2.500 s\n");
    assert_page_has("  channel 1 open, 0 published, last delivery tag 0, a call failed: ");
    assert_page_has(", stopped by channel.flow\n");
    assert_page_has("    unacknowledged: 0 of prefetch_count 300\n");
    client_end(t);
}

static void pauses(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)message, (void)data;
    lago_connection_pause(lago_channel_connection(ch));
}

static void what_waits_for_the_application(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_basic_consume(ch, &(lago_basic_consume_t){ .queue = "q", .on_message = pauses }, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"ctag1.1\"");
    dump();
    assert_null(strstr(page, "input waits"));
    server_send(&t->v, "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=1\n1 header body_size=0\n"
                       "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=2\n1 header body_size=0");
    dump();
    assert_page_has(" ago; input waits for the application\n");
    client_end(t);
}

static void what_waits_to_be_confirmed(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_confirming_channel(t);
    dump();
    assert_page_has("    unconfirmed: 0\n");
    assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q" }, NULL, NULL), 1);
    virtual_advance(&t->v, 3000);
    dump();
    assert_page_has("    unconfirmed: 1, the oldest is number 1, since 3.000 s\n");
    client_end(t);
}

/* There was no memory to note when it was published: then that is not said. */
static void an_age_that_nobody_knows(void **state) {
    unsigned unknown = 0;
    (void)state;
    for (size_t n = 1, hit = 1; hit; n++) {
        client_open(t);
        lago_channel_t *ch = client_confirming_channel(t);
        fail_alloc_at(&t->v.alloc, n, false);
        int64_t sent = lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q" }, NULL, NULL);
        hit = t->v.alloc.failures;
        fail_alloc_at(&t->v.alloc, 0, false);
        dump();
        if (sent < 0) assert_page_has("    unconfirmed: 0\n");
        if (sent > 0 && hit) assert_page_has("    unconfirmed: 1, the oldest is number 1\n");
        if (sent > 0 && !hit) assert_page_has("    unconfirmed: 1, the oldest is number 1, since 0.000 s\n");
        unknown += sent > 0 && hit;
        client_end(t);
    }
    assert_int_equal(unknown, 1);
}

static void long_lists_are_cut(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    for (unsigned i = 0; i < 20; i++) consume(ch, "q", NULL);
    virtual_run(&t->v);
    dump();
    assert_page_has("    and 4 consumers more\n");
    assert_page_has("    waits for: basic.consume (0.000 s), basic.consume (0.000 s), ");
    assert_page_has("basic.consume (0.000 s) and 12 more\n");
    lago_counters_t c = lago_connection_counters(t->conn);
    assert_int_equal(c.channels, 1);
    assert_int_equal(c.consumers, 20);
    client_end(t);
}

static void what_a_consumer_is_about(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .consumer_tag = "c", .auto_ack = true, .on_body = noted_body, .data = probe(t, "b") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"\n"
                       "1 basic.deliver consumer_tag=\"c\" delivery_tag=1\n1 header body_size=5\n1 body \"ab\"");
    assert_int_equal(lago_consumer_pause(ch, "c"), 0);
    dump();
    assert_page_has("    consumer c of queue \"\" living, auto_ack, paused, in a body, 1 delivered\n");
    client_end(t);
}

/* Nobody forges a line, or a terminal's colours, by a name. */
static void names_are_escaped(void **state) {
    (void)state;
    client_init(t);
    client_connect(t, "amqp://us%0Aer:pass-word@host/v%22h");
    virtual_run(&t->v);
    lago_channel_t *ch = client_channel(t);
    consume(ch, "q\n  channel 9 open\x1b[31m", "c\xff\"");
    dump();
    assert_page_has("virtual host v\\\"h, user us\\ner\n");
    assert_page_has("    consumer c\\xff\\\" of queue \"q\\n  channel 9 open\\x1b[31m\" asked for, 0 delivered\n");
    client_end(t);
}

static void no_password_in_any_state(void **state) {
    static const char *const refusals[] = {
        "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\\n - Login was refused\"",
        "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        client_init(t);
        client_connect(t, "amqp://user:very-secret@host/vh");
        assert_null(strstr(dump(), "secret"));
        virtual_run(&t->v);
        assert_null(strstr(dump(), "secret"));
        server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\" locales=\"en_US\"");
        assert_null(strstr(dump(), "secret"));
        server_send(&t->v, refusals[i]);
        virtual_run(&t->v);
        assert_null(strstr(dump(), "secret"));
        assert_page_has("connection closed to ");
        assert_page_has("  ended: ");
        assert_int_equal(lago_connection_counters(t->conn).channels, 0);
        client_end(t);
    }
}

/* Asking needs no memory. */
static void without_memory_it_answers_too(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q" }, NULL, NULL);
    virtual_run(&t->v);
    fail_alloc_at(&t->v.alloc, 1, true);
    dump();
    assert_int_equal(lago_connection_counters(t->conn).channels, 1);
    virtual_advance(&t->v, 10);
    server_send(&t->v, "1 queue.declare-ok queue=\"q\""); /* is measured for the first time: that needs none */
    lago_histogram_t h;
    assert_int_equal(lago_connection_histogram(t->conn, LAGO_METRIC_OPERATION, &h), 0);
    assert_int_equal(h.count, 1);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    fail_alloc_at(&t->v.alloc, 0, false);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q" }, NULL, NULL);
    virtual_run(&t->v);
    server_send(&t->v, "1 queue.declare-ok queue=\"q\"");
    assert_int_equal(lago_connection_histogram(t->conn, LAGO_METRIC_OPERATION, &h), 0);
    assert_int_equal(h.count, 2);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ages_go_on_when_nothing_happens), cmocka_unit_test(what_a_channel_is_stopped_by),
        cmocka_unit_test(what_waits_for_the_application),  cmocka_unit_test(what_waits_to_be_confirmed),
        cmocka_unit_test(an_age_that_nobody_knows),        cmocka_unit_test(long_lists_are_cut),
        cmocka_unit_test(what_a_consumer_is_about),        cmocka_unit_test(names_are_escaped),
        cmocka_unit_test(no_password_in_any_state),        cmocka_unit_test(without_memory_it_answers_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
