/* A broker that is short of memory takes no publishes: what waits, what goes on, and how long. Needs control over the broker. */
#include "fixture.h"

static int teardown_unblocked(void **state) {
    struct fixture *f = *state;
    if (!f->running && getenv("LAGO_TEST_BROKER") && getenv("BROKER_DIR")) broker_alarm(f, false);
    return teardown(state);
}

static void block(struct fixture *f) {
    broker_alarm(f, true);
    publish_text(f, "lago.nowhere", "x");
    expect_events(f, "blocked: low on memory");
    assert_true(lago_connection_is_blocked(f->conn));
}

/* Publishes wait, and what follows them on their channel; then all of it leaves in its order. */
static void publishes_wait_and_then_leave(void **state) {
    need_control();
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    block(f);
    uint64_t sent = lago_connection_counters(f->conn).frames_sent;
    publish_text(f, queue, "one");
    publish_text(f, queue, "two");
    assert_int_equal(lago_queue_purge(f->ch, &(lago_queue_purge_t){ .queue = queue }, on_count, label("purge")), 0);
    publish_text(f, queue, "three");
    assert_int_equal(lago_connection_counters(f->conn).frames_sent, sent);
    assert_true(lago_connection_output_size(f->conn) > 0);
    lago_channel_t *other;
    assert_int_equal(lago_channel_open(f->conn, NULL, &other), 0); /* other channels' frames are written */
    assert_int_equal(lago_connection_counters(f->conn).frames_sent, sent + 1);
    broker_alarm(f, false);
    expect_events(f, "unblocked", "purge ok");
    assert_int_equal(f->count, 2);
    expect_length(f, queue, 1);
    assert_false(lago_connection_is_blocked(f->conn));
}

static void held_publishes_count_as_waiting(void **state) {
    need_control();
    struct fixture *f = *state;
    static char body[65536];
    f->parameters->high_water = 4 * sizeof body;
    connect_and_wait(f);
    f->ch = open_channel(f);
    block(f);
    lago_basic_publish_t args = { .routing_key = "lago.nowhere", .body = { body, sizeof body } };
    for (int i = 0; i < 4; i++) assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), LAGO_EAGAIN);
    broker_alarm(f, false);
    expect_events(f, "unblocked", "drain");
}

/* Refused instead of queued, by choice. */
static void publishes_are_refused_meanwhile(void **state) {
    need_control();
    struct fixture *f = *state;
    f->parameters->refuse_while_blocked = true;
    connect_and_wait(f);
    f->ch = open_channel(f);
    block(f);
    lago_basic_publish_t args = { .routing_key = "lago.nowhere" };
    assert_false(lago_connection_writable(f->conn));
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), LAGO_EAGAIN);
    assert_int_equal(lago_connection_output_size(f->conn), 0);
    broker_alarm(f, false);
    expect_events(f, "unblocked", "drain");
    assert_true(lago_connection_writable(f->conn));
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
}

static void who_only_consumes_is_not_blocked(void **state) {
    need_control();
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    broker_alarm(f, true);
    expect_length(f, queue, 0);
    lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get"));
    expect_events(f, "get empty");
    assert_false(lago_connection_is_blocked(f->conn));
}

static void blocked_too_long_drops_the_link(void **state) {
    need_control();
    struct fixture *f = *state;
    f->parameters->blocked_connection_timeout_ms = 300;
    connect_and_wait(f);
    f->ch = open_channel(f);
    block(f);
    uint64_t before = uv_hrtime();
    expect_events(f, "channel 1 close EBLOCKED", "close EBLOCKED");
    assert_in_range((uv_hrtime() - before) / 1000000, 200, 2000);
}

static void on_timer(lago_connection_t *conn, int status, void *data) {
    assert_int_equal(status, 0);
    record(lago_connection_data(conn), "%s", (char *)data);
}

/* The broker reads nothing meanwhile, so unsent bytes prove nothing: no stall, no silence. */
static void heartbeats_go_on_and_stalls_rest(void **state) {
    need_control();
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 1;
    f->parameters->write_timeout_ms = 500;
    connect_and_wait(f);
    f->ch = open_channel(f);
    block(f);
    publish_text(f, "lago.nowhere", "x");
    assert_int_equal(lago_connection_call_later(f->conn, 3000, on_timer, label("timer"), NULL), 0);
    expect_events(f, "timer");
    broker_alarm(f, false);
    expect_events(f, "unblocked");
    sync_channel(f);
}

static void close_awaits_what_is_held(void **state) {
    need_control();
    struct fixture *f = *state;
    const char *queue = queue_name(f);
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, NULL, NULL), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "select ok");
    block(f);
    lago_basic_publish_t args = { .routing_key = queue };
    assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("p")), 2);
    assert_int_equal(lago_connection_close(f->conn, &(lago_close_t){ .timeout_ms = 30000 }), 0);
    broker_alarm(f, false);
    expect_events(f, "unblocked", "p #2 confirmed", "channel 1 close ECLOSED", "close ECLOSED");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(publishes_wait_and_then_leave, setup_channel, teardown_unblocked),
        cmocka_unit_test_setup_teardown(held_publishes_count_as_waiting, setup_loop, teardown_unblocked),
        cmocka_unit_test_setup_teardown(publishes_are_refused_meanwhile, setup_loop, teardown_unblocked),
        cmocka_unit_test_setup_teardown(who_only_consumes_is_not_blocked, setup_channel, teardown_unblocked),
        cmocka_unit_test_setup_teardown(blocked_too_long_drops_the_link, setup_loop, teardown_unblocked),
        cmocka_unit_test_setup_teardown(heartbeats_go_on_and_stalls_rest, setup_loop, teardown_unblocked),
        cmocka_unit_test_setup_teardown(close_awaits_what_is_held, setup_channel, teardown_unblocked),
    };
    return run_broker_tests(tests);
}
