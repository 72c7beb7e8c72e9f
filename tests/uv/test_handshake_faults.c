/*
 * Brokers that fail in the middle of AMQP's handshake, over real sockets: at every byte of what they say. The next attempt always
 * gets its chance, and nothing is left of the last one. (tests/FAULTS.md F10-F12, F32-F46; every byte in virtual time, and the odd
 * things that brokers may say, are in tests/client/test_handshake_faults.c.)
 */
#include "dial_peer.h"
#include "faults.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct rig *const r = &rig;
static struct dial_peer peer;

static void start(void) {
    rig_start();
    dial_peer_start(&peer, &r->loop, "127.0.0.1", 0);
    sockets_fail(0, 0);
}

static void stop(void) {
    rig_free();
    dial_peer_stop(&peer);
    rig_stop();
}

static const lago_credentials_t user = { .username = "user", .password = "secret" };

#define TO_PEER .host = peer.ip, .port = peer.port, .credentials = user

/* ---------------------------------------------------------------- F10, F11, F12: accepted, and then nothing */

/* An RST may come before the client has seen that it is connected. */
static void check_first(int os_error) {
    bool early = os_error == UV_ECONNRESET && r->reason.phase == LAGO_PHASE_CONNECT;
    const lago_reason_t *reason = early ? rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ECONNECT, peer.endpoint)
                                        : rig_attempt(0, LAGO_PHASE_HANDSHAKE, LAGO_ELOST, peer.endpoint);
    assert_int_equal(reason->os_error, os_error);
}

static void hung_up_or_reset_after_accept(void **state) {
    static const struct {
        enum dial_peer_fate fate;
        int told;
    } faults[] = { { PEER_HANGS_UP, UV_EOF }, { PEER_RESETS, UV_ECONNRESET } };
    (void)state;
    start();
    for (size_t i = 0; i < 2; i++) {
        peer.cut = 0;
        peer.fate = faults[i].fate;
        rig_connect(&(lago_parameters_t){ TO_PEER });
        rig_until_told();
        assert_int_equal(r->failed, 1);
        ASSERT_TOLD_IN(r->began, 0, 50);
        check_first(faults[i].told);
        assert_int_equal(rig_attempts(), 1);
        rig_free();

        /* a load balancer whose backend comes up meanwhile */
        peer.spoiled_count = peer.client_count + 2;
        rig_connect(&(lago_parameters_t){ TO_PEER, .connection_attempts = 3, .retry_delay_ms = 20 });
        rig_until_told();
        assert_int_equal(r->opened, 1);
        assert_int_equal(rig_attempts(), 2);
        rig_free();
        peer.spoiled_count = 0;
    }
    stop();
}

static void accepted_and_silent(void **state) {
    (void)state;
    start();
    peer.cut = 0;
    rig_connect(&(lago_parameters_t){ TO_PEER, .stack_timeout_ms = 200, .heartbeat_s = 1 });
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(r->began, 199, 250);
    const lago_reason_t *reason = rig_attempt(0, LAGO_PHASE_HANDSHAKE, LAGO_ETIMEDOUT, peer.endpoint);
    assert_non_null(strstr(reason->hint, "said nothing"));
    rig_free();

    rig_connect(&(lago_parameters_t){ TO_PEER, .connect_deadline_ms = 200, .connection_attempts = 9 });
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(r->began, 199, 250);
    rig_free();
    assert_false(peer.password_came);
    stop();
}

/* ---------------------------------------------------------------- F40, F42: at every byte */

/* By what it is told: it was before start, in the login, or while the virtual host was opened. */
static void check_attempt(size_t cut, int lost) {
    size_t login = dial_peer_start_size(&peer), open = login + dial_peer_tune_size(&peer);
    int code = cut < login ? LAGO_ELOST : cut < open ? LAGO_EAUTH : LAGO_EACCESS;
    lago_phase_t phase = cut < open ? LAGO_PHASE_HANDSHAKE : LAGO_PHASE_OPEN;
    assert_int_equal(rig_attempt(0, phase, lost ? code : LAGO_ETIMEDOUT, peer.endpoint)->os_error, lost);
}

/* The first client of each run meets its fate at that byte, the second one is served. */
static void cut_at_every_byte(enum dial_peer_fate fate, int lost, size_t step) {
    start();
    size_t whole = dial_peer_start_size(&peer) + dial_peer_tune_size(&peer) + dial_peer_open_ok_size(&peer), runs = 0;
    size_t descriptors = rig_descriptors();
    peer.fate = fate;
    for (size_t cut = 1; cut < whole; cut += step, runs++) {
        peer.cut = cut;
        peer.spoiled_count = peer.client_count + 1;
        rig_connect(&(lago_parameters_t){ TO_PEER, .connection_attempts = 2, .retry_delay_ms = LAGO_NO_DELAY,
                                          .stack_timeout_ms = lost ? 0 : 30 });
        rig_until_told();
        assert_int_equal(r->opened, 1);
        assert_int_equal(rig_attempts(), 1);
        check_attempt(cut, lost);
        rig_free();
        RIG_UNTIL(peer.client == NULL && rig_descriptors() == descriptors);
    }
    print_message("%zu cuts in %zu bytes\n", runs, whole);
    assert_int_equal(r->warnings, 0);
    stop();
}

static void hung_up_at_every_byte(void **state) {
    (void)state;
    cut_at_every_byte(PEER_HANGS_UP, UV_EOF, 1);
}

static void reset_at_every_byte(void **state) {
    (void)state;
    cut_at_every_byte(PEER_RESETS, UV_ECONNRESET, 1);
}

/* Each takes its 30 ms; every byte is tried in virtual time. */
static void silent_at_many_bytes(void **state) {
    (void)state;
    cut_at_every_byte(PEER_FALLS_SILENT, 0, 11);
}

static void bytes_may_come_one_by_one(void **state) {
    (void)state;
    start();
    peer.one_by_one = true;
    rig_connect(&(lago_parameters_t){ TO_PEER });
    rig_until_open();
    assert_true(peer.password_came);
    stop();
}

/* ---------------------------------------------------------------- F43: a broker that boots */

/* It takes clients, reads their login and hangs up until it is ready: told as a login that was perhaps refused, and tried again. */
static void a_booting_broker_is_tried_again(void **state) {
    (void)state;
    start();
    peer.cut = dial_peer_start_size(&peer);
    peer.fate = PEER_HANGS_UP;
    peer.spoiled_count = 3;
    rig_connect(&(lago_parameters_t){ TO_PEER, .connection_attempts = 5, .retry_delay_ms = 20 });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    assert_int_equal(rig_attempts(), 3);
    for (size_t i = 0; i < 3; i++)
        assert_non_null(strstr(rig_attempt(i, LAGO_PHASE_HANDSHAKE, LAGO_EAUTH, peer.endpoint)->detail, "probably"));
    assert_true(peer.password_came);
    stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hung_up_or_reset_after_accept),
        cmocka_unit_test(accepted_and_silent),
        cmocka_unit_test(hung_up_at_every_byte),
        cmocka_unit_test(reset_at_every_byte),
        cmocka_unit_test(silent_at_many_bytes),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(a_booting_broker_is_tried_again),
    };
    return cmocka_run_group_tests_name("uv/handshake_faults", tests, NULL, NULL);
}
