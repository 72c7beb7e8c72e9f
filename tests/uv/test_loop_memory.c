/*
 * Memory of the whole library on real sockets, plain and through TLS, against who does not play along: a broker that never reads, an
 * application that publishes on though it is refused, one that never acknowledges, one that does not want to read. (OpenSSL's own
 * memory is not the context's, and not counted.)
 */
#include "fail_alloc.h"
#include "peer.h"
#include "peer_tls.h"
#include "server.h"
#include <lago.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HIGH_WATER ((size_t)4 * 1024 * 1024)
#define READ_SIZE  ((size_t)256 * 1024)

/* Read buffers, blocks of the output, rings, TLS's ciphertext: what there is beside messages, however many those are. */
#define BESIDES ((size_t)1024 * 1024)

#define HELLO                                                                                                                    \
    SERVER_START "\n0 connection.tune channel_max=2047 frame_max=131072\n0 connection.open-ok\n1 channel.open-ok\n"              \
                 "1 basic.consume-ok consumer_tag=\"ctag1.1\""

static struct rig {
    uv_loop_t loop;
    struct peer peer;
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn;
    lago_channel_t *ch;
    bool opened, drained;
    int delivered;
} rig;

static struct rig *const r = &rig;

static void say(const char *lines) {
    size_t size;
    uint8_t *bytes = server_encode(lines, &size);
    peer_write(&r->peer, 0, bytes, size);
    free(bytes);
}

static void on_opened(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    assert_null(reason);
    r->opened = true;
}

static void on_drain(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    r->drained = true;
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)ch, (void)message, (void)data;
    r->delivered++;
}

static void connect_to_peer(bool tls) {
    lago_parameters_t parameters = { .host = r->peer.host,
                                     .port = r->peer.port,
                                     .high_water = HIGH_WATER,
                                     .heartbeat_s = LAGO_HEARTBEAT_OFF,
                                     .tls = tls ? peer_tls_trust() : NULL };
    lago_connection_options_t options = { .parameters = &parameters, .context = r->context, .on_drain = on_drain };
    assert_int_equal(lago_connect(&r->loop, NULL, &options, &r->conn), 0);
    assert_int_equal(lago_channel_open(r->conn, &(lago_channel_options_t){ .on_open = on_opened }, &r->ch), 0);
    lago_basic_consume_t consume = { .queue = "q", .on_message = on_message };
    assert_int_equal(lago_basic_consume(r->ch, &consume, NULL, NULL), 0);
}

/* A channel with a consumer at a peer that says all that it has to say at once. */
static void begin(bool tls) {
    memset(r, 0, sizeof *r);
    fail_alloc_init(&r->alloc);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    r->peer.is_tls = tls;
    r->peer.asleep = true;
    peer_listen(&r->peer, &r->loop, "127.0.0.1");
    lago_context_options_t options = { .allocator = r->alloc.allocator, .read_size = READ_SIZE };
    assert_int_equal(lago_context_new(&r->loop, &options, &r->context), 0);
    connect_to_peer(tls);
    run_until_count(&r->loop, tls ? &r->peer.secure_count : &r->peer.client_count, 1);
    say(HELLO);
    run_until(&r->loop, &r->opened);
    run_a_while(&r->loop);
    r->alloc.peak_bytes = r->alloc.live_bytes;
}

static void end(void) {
    lago_connection_free(r->conn);
    peer_close(&r->peer);
    lago_context_free(r->context);
    run_to_end(&r->loop);
    fail_alloc_check(&r->alloc);
}

static void publish_regardless(size_t size, unsigned count) {
    static char body[100000];
    lago_basic_publish_t publish = { .routing_key = "k", .body = { body, size } };
    for (unsigned i = 0; i < count; i++) {
        int64_t rc = lago_basic_publish(r->ch, &publish, NULL, NULL);
        assert_true(rc == 0 || rc == LAGO_EAGAIN);
        if (i % 100 == 0) uv_run(&r->loop, UV_RUN_NOWAIT);
    }
}

static void a_broker_that_never_reads(bool tls) {
    static const size_t sizes[] = { 100, 2000, 100000 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        begin(tls);
        size_t before = r->alloc.live_bytes;
        publish_regardless(sizes[i], (unsigned)(8 * HIGH_WATER / sizes[i])); /* more than the kernel and we take together */
        assert_false(lago_connection_writable(r->conn));
        assert_in_range(lago_connection_output_size(r->conn), 1, HIGH_WATER + sizes[i] + 1000);
        assert_in_range(r->alloc.peak_bytes - before, 0, HIGH_WATER + sizes[i] + BESIDES);
        peer_read(&r->peer); /* it wakes up: everything leaves, and who was refused is told */
        r->drained = false;
        run_until(&r->loop, &r->drained);
        assert_true(lago_connection_writable(r->conn));
        end();
    }
}

static void plain_broker_that_never_reads(void **state) {
    (void)state;
    a_broker_that_never_reads(false);
}

static void tls_broker_that_never_reads(void **state) {
    (void)state;
    a_broker_that_never_reads(true);
}

/* ---------------------------------------------------------------- the way in */

#define ROUNDS 6
#define ROW    500

static void deliver(int round) {
    static char lines[ROW * 200];
    size_t size = 0;
    for (int i = 1; i <= ROW; i++)
        size += (size_t)snprintf(lines + size, sizeof lines - size,
                                 "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=%d routing_key=\"q\"\n"
                                 "1 header body_size=2000\n1 body size=2000\n",
                                 round * ROW + i);
    say(lines);
}

static void a_consumer_that_never_acks(bool tls) {
    begin(tls);
    size_t before = r->alloc.live_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        deliver(round);
        run_until_count(&r->loop, &r->delivered, (round + 1) * ROW);
    }
    assert_int_equal(lago_channel_unacked_count(r->ch), ROUNDS * ROW);
    assert_in_range(r->alloc.peak_bytes - before, 0, BESIDES + ROUNDS * ROW);
    end();
}

static void plain_consumer_that_never_acks(void **state) {
    (void)state;
    a_consumer_that_never_acks(false);
}

static void tls_consumer_that_never_acks(void **state) {
    (void)state;
    a_consumer_that_never_acks(true);
}

static void an_application_that_does_not_read(bool tls) {
    begin(tls);
    size_t before = r->alloc.live_bytes;
    assert_int_equal(lago_connection_pause(r->conn), 0);
    for (int round = 0; round < ROUNDS; round++) {
        deliver(round);
        run_a_while(&r->loop);
    }
    assert_int_equal(r->delivered, 0);
    assert_in_range(r->alloc.peak_bytes - before, 0, BESIDES);
    assert_int_equal(lago_connection_resume(r->conn), 0);
    run_until_count(&r->loop, &r->delivered, ROUNDS * ROW);
    assert_in_range(r->alloc.peak_bytes - before, 0, BESIDES + ROUNDS * ROW);
    end();
}

static void plain_application_that_does_not_read(void **state) {
    (void)state;
    an_application_that_does_not_read(false);
}

static void tls_application_that_does_not_read(void **state) {
    (void)state;
    an_application_that_does_not_read(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_broker_that_never_reads),        cmocka_unit_test(tls_broker_that_never_reads),
        cmocka_unit_test(plain_consumer_that_never_acks),       cmocka_unit_test(tls_consumer_that_never_acks),
        cmocka_unit_test(plain_application_that_does_not_read), cmocka_unit_test(tls_application_that_does_not_read),
    };
    return cmocka_run_group_tests_name("uv/loop_memory", tests, NULL, NULL);
}
