/* Heartbeats, silence, stalls and lingering, in virtual time (4.2.7; contracts 14 to 16). */
#include "peer.h"
#include <stdio.h>

static void open_with(struct peer *p, uint16_t heartbeat_s, uint32_t write_timeout_ms) {
    peer_init(p);
    p->tune.heartbeat_s = heartbeat_s;
    p->session.settings.write_timeout_ms = write_timeout_ms;
    peer_bring(p, SESSION_OPEN);
}

static void say_heartbeat(struct peer *p) {
    struct bytes b = { 0 };
    bytes_frame(&b, FRAME_HEARTBEAT, 0, NULL, 0);
    peer_say(p, &b);
}

/* Let `ms` pass in steps of 1 while the peer beats often enough and all output is written. */
static void pass_alive(struct peer *p, uint64_t ms) {
    for (uint64_t i = 0; i < ms; i++) {
        peer_pass(p, 1);
        if (i % 100 == 0) say_heartbeat(p);
        peer_write_all(p);
    }
}

/* ---------------------------------------------------------------- our heartbeats */

static void idle_sessions_beat_twice_an_interval(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 10, 0);
    assert_true(session_deadline(&p.session) == p.now + 5000);
    pass_alive(&p, 4999);
    assert_string_equal(peer_frames(&p), "");
    pass_alive(&p, 1);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n");
    pass_alive(&p, 10000);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n0 heartbeat\n");
    assert_int_equal(p.session.counters.heartbeats_sent, 3);
    assert_int_equal(p.session.counters.frames_sent, 5 + 3); /* start-ok, tune-ok, open, two channels */
    peer_deinit(&p);
}

/* 4.2.7: any byte is as good as a heartbeat. */
static void busy_sessions_do_not_beat(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 2, 0);
    for (int i = 0; i < 30; i++) {
        pass_alive(&p, 900);
        assert_int_equal(session_send(&p.session, 1, METHOD_BASIC_ACK, &(struct basic_ack){ .delivery_tag = 1 }), 0);
        assert_string_equal(peer_frames(&p), "1 basic.ack delivery_tag=1\n");
    }
    pass_alive(&p, 999);
    assert_string_equal(peer_frames(&p), "");
    pass_alive(&p, 1);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n");
    peer_deinit(&p);
}

/* Output that waits will be the sign of life; a second heartbeat behind it says nothing. */
static void waiting_output_replaces_heartbeats(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 10, LAGO_NO_TIMEOUT);
    for (int i = 0; i < 30; i++) {
        peer_pass(&p, 1000);
        say_heartbeat(&p);
    }
    assert_int_equal(p.session.out.size, FRAME_OVERHEAD);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n");
    peer_deinit(&p);
}

static void heartbeats_go_on_while_blocked(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 2, 0);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(peer_publish(&p, 1, 5), 0);
    pass_alive(&p, 2000);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n0 heartbeat\n");
    peer_deinit(&p);
}

static void heartbeats_without_memory_are_tried_later(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 2, 0);
    fail_alloc_at(&p.memory, 1, true);
    peer_pass(&p, 1000);
    assert_int_equal(p.session.state, SESSION_OPEN);
    assert_true(session_deadline(&p.session) > p.now);
    fail_alloc_at(&p.memory, 0, false);
    say_heartbeat(&p);
    peer_pass(&p, 1000);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n");
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- the peer's silence */

static void silence_of_one_interval_is_death(void **state) {
    (void)state;
    static const uint16_t intervals[] = { 1, 2, 10, 60, 580, 65535 };
    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
        struct peer p = { 0 };
        uint64_t interval = intervals[i] * UINT64_C(1000);
        open_with(&p, intervals[i], LAGO_NO_TIMEOUT);
        peer_pass(&p, 700);
        say_heartbeat(&p);
        uint64_t last = p.now;
        peer_pass(&p, interval * 105 / 100 - 1);
        assert_string_equal(peer_events(&p), "");
        assert_false(session_is_overdue(&p.session, p.now));
        p.now++;
        assert_true(session_is_overdue(&p.session, p.now));
        assert_true(session_deadline(&p.session) <= p.now);
        session_tick(&p.session, p.now, false);
        peer_pull(&p);
        assert_string_equal(peer_events(&p), "ended LAGO_EHEARTBEAT\n");
        assert_true(p.now - last < interval * 11 / 10);
        char detail[128];
        snprintf(detail, sizeof(detail), "no heartbeat from the broker: nothing came for %.1f s, the agreed interval is %u s",
                 (double)(p.now - last) / 1000, (unsigned)intervals[i]);
        assert_string_equal(p.session.reason.whole->detail, detail);
        assert_int_equal(p.session.reason.origin, LAGO_BY_NETWORK);
        assert_int_equal(p.session.reason.phase, LAGO_PHASE_RUNNING);
        assert_true(session_deadline(&p.session) == UINT64_MAX);
        peer_deinit(&p);
    }
}

static void every_byte_is_a_sign_of_life(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_with(&p, 1, LAGO_NO_TIMEOUT);
    bytes_deliver(&b, 1, 1, 3, 4096);
    for (size_t at = 0; at < b.size; at++) {
        peer_pass(&p, 800); /* no frame here takes half a minute: test_floods.c */
        peer_write_all(&p);
        peer_feed(&p, b.data + at, 1);
    }
    assert_non_null(strstr(peer_events(&p), "body=3\n"));
    bytes_free(&b);
    peer_deinit(&p);
}

/* Bytes that nobody has read yet prove that the peer lives: a late loop looks again soon, and forgives once they came. */
static void unread_bytes_are_a_reprieve(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 10, LAGO_NO_TIMEOUT);
    p.now += 60000;
    assert_true(session_is_overdue(&p.session, p.now));
    session_tick(&p.session, p.now, true);
    assert_int_equal(p.session.state, SESSION_OPEN);
    assert_false(session_is_overdue(&p.session, p.now));
    session_tick(&p.session, p.now, true);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n"); /* ours was late as well */
    uint64_t again = session_deadline(&p.session);
    assert_true(again > p.now && again <= p.now + 100);
    p.now = again;
    say_heartbeat(&p);
    session_tick(&p.session, p.now, false);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_pass(&p, 10500);
    assert_string_equal(peer_events(&p), "ended LAGO_EHEARTBEAT\n");
    peer_deinit(&p);
}

static void reprieve_ends_when_nothing_was_there(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 10, LAGO_NO_TIMEOUT);
    p.now += 10500;
    session_tick(&p.session, p.now, true);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_pass(&p, 100);
    assert_string_equal(peer_events(&p), "ended LAGO_EHEARTBEAT\n");
    peer_deinit(&p);
}

static void who_does_not_read_does_not_judge(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 2, LAGO_NO_TIMEOUT);
    peer_pass(&p, 1500);
    session_reading(&p.session, false, p.now);
    for (int i = 0; i < 1000; i++) {
        peer_pass(&p, 100);
        peer_write_all(&p);
    }
    assert_int_equal(p.session.state, SESSION_OPEN);
    session_reading(&p.session, false, p.now);
    session_reading(&p.session, true, p.now);
    peer_pass(&p, 2099);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_pass(&p, 1);
    assert_string_equal(peer_events(&p), "ended LAGO_EHEARTBEAT\n");
    peer_deinit(&p);
}

/* A peer that takes nothing is found all the same. */
static void without_heartbeats_a_stall_takes_two_minutes(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, 0);
    assert_int_equal(peer_publish(&p, 1, 100), 0);
    peer_pass(&p, 119999);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_pass(&p, 1);
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    assert_non_null(strstr(p.session.reason.whole->detail, "the broker took no bytes for 120.0 s, and more than "));
    peer_deinit(&p);
}

static void without_limits_nobody_is_judged(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, LAGO_NO_TIMEOUT);
    assert_int_equal(peer_publish(&p, 1, 100), 0);
    assert_true(session_deadline(&p.session) == UINT64_MAX);
    peer_pass(&p, UINT64_C(1000) * 3600 * 24 * 365);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

/* Before the connection is open stack_timeout rules, which is the client's. */
static void nobody_is_judged_before_open(void **state) {
    (void)state;
    for (enum session_state at = SESSION_IDLE; at < SESSION_OPEN; at++) {
        struct peer p = { 0 };
        peer_init(&p);
        p.tune.heartbeat_s = 1;
        peer_bring(&p, at);
        assert_true(session_deadline(&p.session) == UINT64_MAX);
        peer_pass(&p, 100000);
        assert_int_equal(p.session.state, at);
        assert_string_equal(peer_events(&p), "");
        peer_deinit(&p);
    }
}

/* What another link has or has not done long ago. */
static void another_link_begins_anew(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 10, 0);
    session_lost(&p.session, -104, p.now);
    peer_pull(&p);
    (void)peer_events(&p);
    p.now += 1000000;
    assert_int_equal(session_start(&p.session, p.now), 0);
    struct bytes b = { 0 };
    bytes_handshake(&b);
    peer_say(&p, &b);
    assert_int_equal(p.session.state, SESSION_OPEN);
    (void)peer_frames(&p);
    assert_true(session_deadline(&p.session) == p.now + 5000);
    peer_pass(&p, 4999);
    assert_string_equal(peer_frames(&p), "");
    peer_pass(&p, 1);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n");
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- the peer that takes nothing */

static void stall_is_two_heartbeats_by_default(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 10, 0);
    peer_pass(&p, 3000);
    assert_int_equal(peer_publish(&p, 1, 5000), 0);
    for (int i = 0; i < 19; i++) {
        peer_pass(&p, 1000);
        say_heartbeat(&p); /* it talks, but does not take */
    }
    peer_pass(&p, 999);
    assert_string_equal(peer_events(&p), "");
    peer_pass(&p, 1);
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    peer_deinit(&p);
}

static void a_stall_begins_with_what_waits(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, 3000);
    peer_pass(&p, 10000);
    assert_int_equal(session_ack(&p.session, 1, 1, 0), 1);
    session_flush_acks(&p.session);
    peer_pass(&p, 2999);
    assert_string_equal(peer_events(&p), "");
    peer_pass(&p, 1);
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    peer_deinit(&p);
}

/* It is written when somebody says so: no timer need have run before. */
static void a_stall_begins_when_it_was_written(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, 3000);
    p.swallowed = true;
    assert_int_equal(peer_publish(&p, 1, 50), 0);
    p.now += 2000;
    peer_write(&p, 10);
    peer_pass(&p, 2999);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_pass(&p, 751);
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    peer_deinit(&p);
}

static void any_progress_starts_the_stall_afresh(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, 3000);
    assert_int_equal(peer_publish(&p, 1, 50), 0);
    while (p.session.out.size > 1) {
        peer_pass(&p, 2999);
        assert_int_equal(p.session.state, SESSION_OPEN);
        peer_write(&p, 1);
    }
    peer_pass(&p, 3000); /* the last octet's leaving is seen a quarter later, at the most */
    peer_pass(&p, 750);
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    peer_deinit(&p);
}

/* The kernel takes a heartbeat now and then for a peer that is gone in one direction (F52): its buffer is no proof of life. */
static void what_the_kernel_holds_is_no_progress(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 10, 0);
    pass_alive(&p, 60000);
    p.swallowed = true;
    uint64_t began = p.now;
    while (p.session.state == SESSION_OPEN && p.now - began < 60000) {
        peer_pass(&p, 1000);
        if (p.session.state != SESSION_OPEN) break;
        say_heartbeat(&p);
        peer_write_all(&p);
    }
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    assert_in_range(p.now - began, 20000, 20000 + 5000 + 1000); /* from the next heartbeat on, 2 of its intervals */
    peer_deinit(&p);
}

static void a_slow_peer_is_no_stalled_one(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, 3000);
    p.swallowed = true;
    assert_int_equal(peer_publish(&p, 1, 50), 0);
    peer_write_all(&p);
    for (int i = 0; i < 100; i++) { /* one octet of the kernel's in two seconds */
        peer_pass(&p, 2000);
        p.taken++;
        assert_int_equal(p.session.state, SESSION_OPEN);
    }
    peer_pass(&p, 3000 + 3000 / 4);
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    peer_deinit(&p);
}

static void an_empty_queue_is_no_stall(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, 3000);
    peer_pass(&p, 100000);
    assert_int_equal(peer_publish(&p, 1, 50), 0);
    peer_pass(&p, 2999);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_write_all(&p);
    peer_pass(&p, 100000);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

/* RabbitMQ does not read a connection that it has blocked; the stall counts again from the unblock. */
static void stalls_rest_while_blocked(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, 3000);
    assert_int_equal(peer_publish(&p, 1, 5000), 0);
    peer_pass(&p, 2000);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    peer_pass(&p, 1000000);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    (void)peer_events(&p);
    peer_pass(&p, 2999);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_pass(&p, 1);
    assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
    peer_deinit(&p);
}

/* A look that tells nothing new is not followed by the next one at once, however short the timeout is. */
static void short_write_timeouts_do_not_spin(void **state) {
    (void)state;
    for (uint32_t timeout_ms = 1; timeout_ms < 10; timeout_ms++) {
        struct peer p = { 0 };
        open_with(&p, 0, timeout_ms);
        p.swallowed = true;
        assert_int_equal(peer_publish(&p, 1, 50), 0);
        peer_write_all(&p);
        for (uint32_t ms = 0; ms < timeout_ms; ms++) {
            assert_true(session_deadline(&p.session) > p.now);
            assert_string_equal(peer_events(&p), "");
            peer_pass(&p, 1);
        }
        assert_string_equal(peer_events(&p), "ended LAGO_ESTALLED\n");
        peer_deinit(&p);
    }
}

static void write_timeout_can_be_off(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0, LAGO_NO_TIMEOUT);
    assert_int_equal(peer_publish(&p, 1, 5000), 0);
    peer_pass(&p, UINT64_C(1000) * 3600 * 24);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- lingering */

/* A peer that broke the protocol may answer our close, but not for long, and beating does not make it longer. */
static void failed_sessions_linger_for_a_second(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 1, 0);
    say_heartbeat(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_TUNE, NULL);
    uint64_t due = session_deadline(&p.session);
    assert_true(due > p.now && due <= p.now + 1000);
    peer_pass(&p, due - p.now - 1);
    say_heartbeat(&p);
    assert_string_equal(peer_events(&p), "");
    peer_pass(&p, 1);
    assert_string_equal(peer_events(&p), "ended LAGO_EPROTOCOL 503\n");
    peer_deinit(&p);
}

static void close_ok_that_nobody_takes_is_given_up(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_LEAVING);
    peer_pass(&p, 999);
    assert_string_equal(peer_events(&p), "");
    peer_pass(&p, 1);
    assert_string_equal(peer_events(&p), "ended LAGO_ECONNECTION\n");
    peer_deinit(&p);
}

/* Times near the end of the clock do not wrap. */
static void late_clocks_saturate(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 60, 0);
    peer_pass(&p, 30000);
    p.now = UINT64_MAX - 1000;
    say_heartbeat(&p);
    assert_int_equal(peer_publish(&p, 1, 5), 0);
    peer_write_all(&p);
    assert_true(session_deadline(&p.session) == UINT64_MAX);
    assert_false(session_is_overdue(&p.session, p.now));
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_sessions_beat_twice_an_interval),
        cmocka_unit_test(busy_sessions_do_not_beat),
        cmocka_unit_test(waiting_output_replaces_heartbeats),
        cmocka_unit_test(heartbeats_go_on_while_blocked),
        cmocka_unit_test(heartbeats_without_memory_are_tried_later),
        cmocka_unit_test(silence_of_one_interval_is_death),
        cmocka_unit_test(every_byte_is_a_sign_of_life),
        cmocka_unit_test(unread_bytes_are_a_reprieve),
        cmocka_unit_test(reprieve_ends_when_nothing_was_there),
        cmocka_unit_test(who_does_not_read_does_not_judge),
        cmocka_unit_test(without_heartbeats_a_stall_takes_two_minutes),
        cmocka_unit_test(without_limits_nobody_is_judged),
        cmocka_unit_test(nobody_is_judged_before_open),
        cmocka_unit_test(another_link_begins_anew),
        cmocka_unit_test(stall_is_two_heartbeats_by_default),
        cmocka_unit_test(a_stall_begins_with_what_waits),
        cmocka_unit_test(a_stall_begins_when_it_was_written),
        cmocka_unit_test(any_progress_starts_the_stall_afresh),
        cmocka_unit_test(what_the_kernel_holds_is_no_progress),
        cmocka_unit_test(a_slow_peer_is_no_stalled_one),
        cmocka_unit_test(an_empty_queue_is_no_stall),
        cmocka_unit_test(stalls_rest_while_blocked),
        cmocka_unit_test(short_write_timeouts_do_not_spin),
        cmocka_unit_test(write_timeout_can_be_off),
        cmocka_unit_test(failed_sessions_linger_for_a_second),
        cmocka_unit_test(close_ok_that_nobody_takes_is_given_up),
        cmocka_unit_test(late_clocks_saturate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
