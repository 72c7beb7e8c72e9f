/* What a connection and its channels cost while nothing happens: memory, and turns. */
#include "client_test.h"
#include "deadline.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

/* Octets asked for, without what connections of a context share: 64-bit pointers. */
#define CONNECTION_SIZE 3600u
#define CHANNEL_SIZE    300u
#define WORKED_SIZE     2000u /* of a channel and its connection: a consumer, durations, a ring for the output */

static void ignore(lago_channel_t *ch, const lago_message_t *message, void *data) { (void)ch, (void)message, (void)data; }

static lago_channel_t *add_channel(void) {
    lago_channel_t *ch;
    char answer[32];
    assert_int_equal(lago_channel_open(t->conn, NULL, &ch), 0);
    virtual_run(&t->v);
    snprintf(answer, sizeof(answer), "%u channel.open-ok", lago_channel_number(ch));
    server_send(&t->v, answer);
    return ch;
}

static void an_idle_connection_owns_little(void **state) {
    (void)state;
    client_open(t);
    (void)add_channel();
    size_t one = t->v.alloc.live_bytes;
    assert_in_range(one, 1, CONNECTION_SIZE);
    for (int i = 0; i < 255; i++) (void)add_channel();
    assert_in_range((t->v.alloc.live_bytes - one) / 255, 1, CHANNEL_SIZE);
    client_end(t);
}

/* What it needed for its work it gives back. */
static void one_that_has_worked_owns_little_more(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = ignore };
    size_t before = t->v.alloc.live_bytes;
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    for (int i = 1; i <= 100; i++) {
        char delivery[160];
        snprintf(
            delivery, sizeof(delivery),
            "1 basic.deliver consumer_tag=\"c\" delivery_tag=%d\n1 header body_size=6000\n1 body size=4000\n1 body size=2000", i);
        server_send(&t->v, delivery);
        assert_int_equal(lago_basic_ack(ch, (uint64_t)i, 0), 0);
        assert_int_equal(
            lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q", .body = { delivery, 100 } }, NULL, NULL), 0);
        virtual_run(&t->v);
    }
    assert_in_range(t->v.alloc.live_bytes - before, 1, WORKED_SIZE);
    client_end(t);
}

/* A turn for each heartbeat of its own and each of the broker's, and a last one for the timer that was put off. */
static void an_idle_connection_turns_when_somebody_beats(void **state) {
    (void)state;
    client_open(t); /* 60 s */
    (void)add_channel();
    unsigned turns = t->v.counts.turns, writes = t->v.counts.writes, minutes = 60;
    for (unsigned i = 0; i < 2 * minutes; i++) {
        virtual_advance(&t->v, 30000);
        server_send(&t->v, "0 heartbeat");
    }
    assert_int_equal(t->v.counts.writes - writes, 2 * minutes);
    assert_in_range(t->v.counts.turns - turns, 2 * minutes, 4 * minutes + 2);
    client_end(t);
}

static void without_heartbeats_it_sleeps(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    (void)add_channel();
    virtual_advance(&t->v, 120000); /* somebody has looked whether all that was taken */
    assert_int_equal(virtual_next_deadline(&t->v), DEADLINE_NEVER);
    unsigned turns = t->v.counts.turns;
    virtual_advance(&t->v, 24 * 60 * 60 * 1000);
    assert_int_equal(t->v.counts.turns, turns);
    client_end(t);
}

static int setup(void **state) {
    (void)state;
    client_init(t);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_idle_connection_owns_little, setup),
        cmocka_unit_test_setup(one_that_has_worked_owns_little_more, setup),
        cmocka_unit_test_setup(an_idle_connection_turns_when_somebody_beats, setup),
        cmocka_unit_test(without_heartbeats_it_sleeps),
    };
    return cmocka_run_group_tests_name("client/many", tests, NULL, NULL);
}
