/*
 * Links that die while a connection is open, over real sockets: cut, reset, and silently dead in one or both directions; peers that
 * take no bytes. A silent one is found within 1.1 heartbeats of its last byte, one that takes nothing within 1.25 of write_timeout
 * after its last progress. (tests/FAULTS.md F47-F58; in virtual time: tests/session/test_liveness.c.)
 */
#include "dial_peer.h"
#include "faults.h"
#include <linux/sockios.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#define HEARTBEAT_MS 1000u
#define STALL_MS     600u /* write_timeout */
#define LOOKS        5u   /* the last of so many, each a timer of whole milliseconds, finds that it is over */
#define STALLED_MS   (STALL_MS * 5 / 4 + LOOKS)

static struct rig *const r = &rig;
static struct dial_peer peer;

static void start(const lago_parameters_t *parameters) {
    lago_parameters_t p = *parameters;
    rig_start();
    dial_peer_start(&peer, &r->loop, "127.0.0.1", 0);
    peer.beat_ms = HEARTBEAT_MS / 2; /* as RabbitMQ */
    p.host = peer.ip;
    p.port = peer.port;
    p.heartbeat_s = p.heartbeat_s ? p.heartbeat_s : (int32_t)HEARTBEAT_MS / 1000;
    rig_connect(&p);
    rig_until_open();
    rig_on_time();
}

static void stop(void) {
    rig_free();
    dial_peer_stop(&peer);
    rig_stop();
}

/* on_close was called, once, because of this; the socket is gone. */
static void check_end(int code, int os_error) {
    assert_int_equal(r->closed, 1);
    assert_int_equal(r->failed, 0);
    assert_string_equal(lago_error_name(r->reason.code), lago_error_name(code));
    assert_int_equal(r->reason.os_error, os_error);
    assert_int_equal(r->reason.phase, LAGO_PHASE_RUNNING);
    assert_string_equal(r->reason.endpoint, peer.endpoint);
}

static char body[16 << 20]; /* more than the buffers of a kernel hold */

static void publish(size_t size) {
    lago_basic_publish_t args = { .routing_key = "q", .body = { body, size } };
    assert_int_equal(lago_basic_publish(r->ch, &args, NULL, NULL), 0);
}

static void until_closed(void) { RIG_UNTIL(r->closed > 0); }

/* ---------------------------------------------------------------- F47, F48: told */

static void the_link_is_cut(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .heartbeat_s = 1 });
    uint64_t before = uv_hrtime();
    dial_peer_hang_up(&peer);
    until_closed();
    ASSERT_TOLD_IN(before, 0, 50);
    check_end(LAGO_ELOST, UV_EOF);
    RIG_UNTIL(peer.last_status == UV_EOF); /* our side is closed in order */
    stop();
}

static void the_link_is_reset(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .heartbeat_s = 1 });
    uint64_t before = uv_hrtime();
    dial_peer_say(&peer, "0 heartbeat"); /* the same wake-up finds bytes and the RST: what it was is told all the same */
    dial_peer_reset(&peer);
    until_closed();
    ASSERT_TOLD_IN(before, 0, 50);
    check_end(LAGO_ELOST, UV_ECONNRESET);
    stop();
}

static void the_broker_forces_the_connection_closed(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .heartbeat_s = 1 });
    dial_peer_say(&peer, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED - bye\"");
    dial_peer_hang_up(&peer);
    until_closed();
    check_end(LAGO_ECONNECTION, 0);
    assert_int_equal(r->reason.reply_code, 320);
    RIG_UNTIL(peer.last_status == UV_EOF);
    assert_true(peer.closes_answered == 1);
    stop();
}

/* ---------------------------------------------------------------- F51, F53: nothing comes any more */

static void silence(bool both_ways) {
    start(&(lago_parameters_t){ .heartbeat_s = 1 });
    rig_run_ms(HEARTBEAT_MS * 3 / 4); /* so that beats have come, and the next one is not due */
    uint64_t last_byte = peer.last_said_ns;
    int theirs = dial_peer_socket(&peer);
    rig_on_time();
    segments_lost(socket_of_client(), true);
    if (both_ways) segments_lost(theirs, true);
    unsigned beats = peer.heartbeats;
    until_closed();
    ASSERT_TOLD_IN(last_byte, HEARTBEAT_MS, HEARTBEAT_MS * 11 / 10);
    check_end(LAGO_EHEARTBEAT, 0);
    if (!both_ways) RIG_UNTIL(peer.last_status == UV_ECONNRESET); /* no bytes of ours are left in the kernel */
    if (!both_ways) assert_true(peer.heartbeats > beats);         /* until then ours went out */
    if (both_ways) assert_int_equal(peer.heartbeats, beats);
    stop();
}

static void a_link_dead_in_both_directions(void **state) {
    (void)state;
    silence(true);
}

static void a_link_dead_towards_us(void **state) {
    (void)state;
    silence(false);
}

/* ---------------------------------------------------------------- F52: nothing arrives any more */

/* Never: it keeps the time of the last byte that came. */
static bool last_byte_seen(uint64_t *received, uint64_t *last_byte) {
    uint64_t now = lago_connection_counters(r->conn).bytes_received;
    if (now != *received) *last_byte = uv_hrtime();
    *received = now;
    return false;
}

/*
 * TCP lets the broker send little that nobody acknowledges: after its first lost segment there is silence in both directions. What
 * is unacknowledged counts from the first of our own bytes.
 */
static void a_link_dead_towards_the_broker(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .heartbeat_s = 1 });
    segments_lost(dial_peer_socket(&peer), true);
    uint64_t received = 0, last_byte = 0;
    rig_on_time();
    RIG_UNTIL(last_byte_seen(&received, &last_byte) || r->closed > 0);
    ASSERT_TOLD_IN(last_byte, HEARTBEAT_MS, HEARTBEAT_MS * 11 / 10);
    check_end(LAGO_EHEARTBEAT, 0);
    stop();
}

static void a_publish_that_nobody_acknowledges(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .heartbeat_s = 10, .write_timeout_ms = STALL_MS });
    segments_lost(dial_peer_socket(&peer), true);
    rig_on_time();
    publish(100);
    uint64_t before = uv_hrtime();
    until_closed();
    ASSERT_TOLD_IN(before, STALL_MS, STALLED_MS);
    check_end(LAGO_ESTALLED, 0);
    assert_int_equal(peer.publishes, 0);
    stop();
}

/* ---------------------------------------------------------------- F52: a peer that takes nothing, or little */

/* Run until it has ended. @return when the kernel's unsent bytes had the last progress before. */
static uint64_t last_progress(void) {
    uint64_t taken = 0, since = uv_hrtime();
    rig_patience(true);
    while (r->closed == 0 && !r->time_is_up) {
        int held = 0;
        rig_turn();
        if (r->closed > 0 || ioctl(socket_of_client(), SIOCOUTQ, &held) < 0) continue; /* the socket goes first */
        uint64_t now = lago_connection_counters(r->conn).bytes_sent - (uint64_t)held;
        if (now != taken) since = uv_hrtime();
        taken = now;
    }
    rig_patience(false);
    return since;
}

static void stall_of(size_t size) {
    start(&(lago_parameters_t){ .write_timeout_ms = STALL_MS });
    dial_peer_reading(&peer, false);
    rig_on_time();
    publish(size);
    uint64_t last = last_progress();
    ASSERT_TOLD_IN(last, STALL_MS - 1, STALLED_MS);
    check_end(LAGO_ESTALLED, 0);
    dial_peer_reading(&peer, true);
    RIG_UNTIL(peer.last_status == UV_ECONNRESET);
    stop();
}

static void a_full_send_buffer(void **state) {
    (void)state;
    stall_of(sizeof body);
}

static void bytes_that_lie_in_the_kernel(void **state) {
    (void)state;
    stall_of(600 * 1024);
}

/* A little each 250 ms, for more than twice the timeout: that is a slow peer, no dead one. */
static void any_progress_begins_anew(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .write_timeout_ms = STALL_MS });
    dial_peer_reading(&peer, false);
    publish(sizeof body);
    for (int i = 0; i < 6; i++) {
        rig_run_ms(250);
        assert_int_equal(r->closed, 0);
        dial_peer_take(&peer, 128 * 1024);
    }
    rig_on_time();
    uint64_t last = last_progress();
    ASSERT_TOLD_IN(last, STALL_MS - 1, STALLED_MS);
    check_end(LAGO_ESTALLED, 0);
    stop();
}

/* RabbitMQ does not read from who publishes while it has him blocked; when it takes publishes again the time begins anew. */
static void a_stall_rests_while_blocked(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .write_timeout_ms = STALL_MS });
    dial_peer_reading(&peer, false);
    dial_peer_say(&peer, "0 connection.blocked reason=\"low on memory\"");
    publish(sizeof body);
    RIG_UNTIL(lago_connection_is_blocked(r->conn));
    rig_run_ms(3 * STALL_MS);
    assert_int_equal(r->closed, 0);
    dial_peer_say(&peer, "0 connection.unblocked");
    uint64_t before = uv_hrtime();
    rig_on_time();
    until_closed();
    ASSERT_TOLD_IN(before, STALL_MS, STALL_MS * 5 / 4 + 50);
    check_end(LAGO_ESTALLED, 0);
    stop();
}

/* ---------------------------------------------------------------- F55, F57: clocks and timers */

static void the_wall_clock_jumps(void **state) {
    static const int64_t jumps[] = { 3600, -3600, 0 };
    (void)state;
    start(&(lago_parameters_t){ .heartbeat_s = 1 });
    (void)wall_clock_asked();
    for (size_t i = 0; i < 2; i++) {
        unsigned beats = peer.heartbeats;
        wall_clock_jumps(jumps[i]);
        rig_run_ms(1200);
        assert_int_equal(r->closed, 0);
        assert_in_range(peer.heartbeats - beats, 2, 3);
    }
    uv_timer_stop(&peer.beat);
    uint64_t last_byte = peer.last_said_ns;
    rig_on_time();
    rig_run_ms(200);
    wall_clock_jumps(jumps[0]);
    until_closed();
    ASSERT_TOLD_IN(last_byte, HEARTBEAT_MS, HEARTBEAT_MS * 11 / 10);
    check_end(LAGO_EHEARTBEAT, 0);
    assert_int_equal(wall_clock_asked(), 0); /* nobody has even looked at it */
    wall_clock_jumps(0);
    stop();
}

static void one_heartbeat_after_many_attempts(void **state) {
    (void)state;
    rig_start();
    dial_peer_start(&peer, &r->loop, "127.0.0.1", 0);
    peer.beat_ms = HEARTBEAT_MS / 2;
    peer.spoiled_count = 6;
    peer.cut = dial_peer_start_size(&peer) + dial_peer_tune_size(&peer) + 1; /* of open-ok: the heartbeat is agreed */
    peer.fate = PEER_HANGS_UP;
    rig_connect(
        &(lago_parameters_t){ .host = peer.ip, .port = peer.port, .connection_attempts = 7, .retry_delay_ms = LAGO_NO_DELAY });
    rig_until_open();
    assert_int_equal(rig_attempts(), 6);
    unsigned beats = peer.heartbeats;
    rig_run_ms(HEARTBEAT_MS * 11 / 4);
    assert_in_range(peer.heartbeats - beats, 4, 5);
    stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_link_is_cut),
        cmocka_unit_test(the_link_is_reset),
        cmocka_unit_test(the_broker_forces_the_connection_closed),
        cmocka_unit_test(a_link_dead_in_both_directions),
        cmocka_unit_test(a_link_dead_towards_us),
        cmocka_unit_test(a_link_dead_towards_the_broker),
        cmocka_unit_test(a_publish_that_nobody_acknowledges),
        cmocka_unit_test(a_full_send_buffer),
        cmocka_unit_test(bytes_that_lie_in_the_kernel),
        cmocka_unit_test(any_progress_begins_anew),
        cmocka_unit_test(a_stall_rests_while_blocked),
        cmocka_unit_test(the_wall_clock_jumps),
        cmocka_unit_test(one_heartbeat_after_many_attempts),
    };
    return cmocka_run_group_tests_name("uv/idle_faults", tests, NULL, NULL);
}
