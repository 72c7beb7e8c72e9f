/*
 * Memory is bounded by what was configured, whoever does not play along: an application that publishes on though it is refused, a
 * broker that takes nothing, a consumer that never acknowledges. What stands beside the marks is written down here.
 */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define HIGH_WATER ((size_t)2 * 1024 * 1024)

/* Blocks of the output, rings, histograms: what there is beside messages, however many those are. */
#define BESIDES     ((size_t)192 * 1024)
#define PER_BODY    ((size_t)250) /* that is not copied beside its frames */
#define PER_PUBLISH ((size_t)100) /* without an outcome */
#define COPIED_MAX  ((size_t)2048)

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;
static lago_channel_t *ch;
static char body[1024 * 1024];

static void forget_peak(void) { t->v.alloc.peak_bytes = t->v.alloc.live_bytes; }

static void released(void *data) { (void)data; }

/* Three times as much as may wait, whatever the answer. @return how many were taken. */
static size_t publish_regardless(size_t size, bool lent) {
    size_t taken = 0;
    lago_basic_publish_t publish = { .routing_key = "k", .body = { body, size }, .release_body = lent ? released : NULL };
    for (size_t i = 0; i < 3 * HIGH_WATER / (size + 48) + 10; i++) {
        int64_t rc = lago_basic_publish(ch, &publish, NULL, NULL);
        assert_true(rc >= 0 || rc == LAGO_EAGAIN);
        taken += rc >= 0;
    }
    return taken;
}

enum wait { UNOPENED, BLOCKED, DEAF, WAITS };

static void bring_to(enum wait wait, bool confirming) {
    lago_parameters_t parameters = { .high_water = HIGH_WATER, .heartbeat_s = LAGO_HEARTBEAT_OFF };
    client_init(t);
    t->v.log_level = LAGO_LOG_INFO;
    client_connect_with(t, &parameters);
    assert_int_equal(lago_channel_open(t->conn, NULL, &ch), 0);
    if (confirming) assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    if (wait == UNOPENED) return;
    server_handshake(&t->v);
    server_send(&t->v, confirming ? "1 channel.open-ok\n1 confirm.select-ok" : "1 channel.open-ok");
    if (wait == BLOCKED) server_send(&t->v, "0 connection.blocked reason=\"memory\"");
    if (wait == DEAF) virtual_take(&t->v, 0);
}

static void assert_bounded(size_t size, bool lent, bool confirming) {
    size_t before = t->v.alloc.live_bytes;
    forget_peak();
    size_t taken = publish_regardless(size, lent);
    virtual_run(&t->v);
    assert_in_range(lago_connection_output_size(t->conn), HIGH_WATER, HIGH_WATER + size + 1000);
    size_t limit = lago_connection_output_size(t->conn) + BESIDES;
    if (lent || size > COPIED_MAX) limit += taken * PER_BODY;
    if (confirming) limit += taken * PER_PUBLISH;
    assert_in_range(t->v.alloc.peak_bytes - before, 0, limit);
}

static void a_publisher_that_never_waits(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 100, COPIED_MAX, 3000, 100000, sizeof(body) };
    for (enum wait wait = UNOPENED; wait < WAITS; wait++)
        for (unsigned kind = 0; kind < 4; kind++)
            for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                bring_to(wait, kind & 2u);
                assert_bounded(sizes[i], kind & 1u, kind & 2u);
                client_end(t);
            }
}

/* What the broker took is gone, whatever had to wait before. */
static void nothing_is_kept_of_what_has_left(void **state) {
    (void)state;
    bring_to(DEAF, false);
    size_t before = t->v.alloc.live_bytes;
    (void)publish_regardless(100, false);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    assert_in_range(t->v.alloc.live_bytes - before, 0, 8192);
    client_end(t);
}

/* ---------------------------------------------------------------- the way in */

#define DELIVERIES 20000u
#define AT_ONCE    100u

static unsigned delivered;

static void on_message(lago_channel_t *channel, const lago_message_t *message, void *data) {
    (void)channel, (void)message, (void)data;
    delivered++;
}

static void consume(void) {
    bring_to(WAITS, false);
    assert_int_equal(lago_basic_consume(ch, &(lago_basic_consume_t){ .queue = "q", .on_message = on_message }, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"ctag1.1\"");
    delivered = 0;
}

static void deliver(unsigned first) {
    static char lines[AT_ONCE * 200];
    size_t size = 0;
    for (unsigned i = 0; i < AT_ONCE; i++)
        size += (size_t)snprintf(lines + size, sizeof(lines) - size,
                                 "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=%u routing_key=\"q\"\n"
                                 "1 header body_size=1000\n1 body size=1000\n",
                                 first + i);
    server_queue(&t->v, lines);
}

/* A bit for each delivery that is open, and when it came. */
static void a_consumer_that_never_acks(void **state) {
    (void)state;
    consume();
    size_t before = t->v.alloc.live_bytes;
    forget_peak();
    for (unsigned i = 1; i <= DELIVERIES; i += AT_ONCE) {
        deliver(i);
        virtual_advance(&t->v, 1);
    }
    assert_int_equal(delivered, DELIVERIES);
    assert_int_equal(lago_channel_unacked_count(ch), DELIVERIES);
    assert_in_range(t->v.alloc.peak_bytes - before, 0, (size_t)64 * 1024 + DELIVERIES);
    client_end(t);
}

/* When they came is of no interest any more. */
static void acknowledging(bool each) {
    consume();
    size_t before = t->v.alloc.live_bytes;
    for (unsigned i = 1; i <= DELIVERIES; i += AT_ONCE) {
        deliver(i);
        virtual_advance(&t->v, 1);
        for (unsigned tag = i; each && tag < i + AT_ONCE; tag++) assert_int_equal(lago_basic_ack(ch, tag, 0), 0);
        if (!each) assert_int_equal(lago_basic_ack(ch, i + AT_ONCE - 1, LAGO_MULTIPLE), 0);
        virtual_advance(&t->v, 1);
        if (i == 1) before = t->v.alloc.live_bytes;
    }
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    assert_in_range(t->v.alloc.live_bytes, 0, before + 1024);
    client_end(t);
}

static void a_consumer_that_acks(void **state) {
    (void)state;
    acknowledging(false);
}

static void a_consumer_that_acks_each(void **state) {
    (void)state;
    acknowledging(true);
}

static void a_publisher_that_is_confirmed(void **state) {
    (void)state;
    size_t before = 0;
    bring_to(WAITS, true);
    for (unsigned i = 1; i <= 1000; i++) {
        char line[64];
        assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "k" }, NULL, NULL), i);
        virtual_advance(&t->v, 1);
        (void)snprintf(line, sizeof(line), "1 basic.ack delivery_tag=%u", i);
        server_send(&t->v, line);
        if (i == 1) before = t->v.alloc.live_bytes;
    }
    assert_in_range(t->v.alloc.live_bytes, 0, before + 1024);
    client_end(t);
}

/* The rest stays in the kernel, where the broker sees it. */
static void a_connection_that_is_paused(void **state) {
    (void)state;
    consume();
    assert_int_equal(lago_connection_pause(t->conn), 0);
    size_t before = t->v.alloc.live_bytes;
    forget_peak();
    for (unsigned i = 1; i <= DELIVERIES; i += AT_ONCE) {
        deliver(i);
        virtual_advance(&t->v, 1);
    }
    assert_int_equal(delivered, 0);
    assert_in_range(t->v.alloc.peak_bytes - before, 0, 4096);
    assert_int_equal(lago_connection_resume(t->conn), 0);
    virtual_run(&t->v);
    assert_int_equal(delivered, DELIVERIES);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publisher_that_never_waits), cmocka_unit_test(nothing_is_kept_of_what_has_left),
        cmocka_unit_test(a_consumer_that_never_acks),   cmocka_unit_test(a_consumer_that_acks),
        cmocka_unit_test(a_consumer_that_acks_each),    cmocka_unit_test(a_publisher_that_is_confirmed),
        cmocka_unit_test(a_connection_that_is_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
