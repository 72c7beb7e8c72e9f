/* What a connection says of itself against a real broker, and a callback that holds the loop. */
#include "fixture.h"

/* What the log said, newest last: the fixture keeps four lines. */
static bool logged(const struct fixture *f, const char *words) {
    for (size_t i = 0; i < f->log_count && i < 4; i++)
        if (strstr(f->log[i], words)) return true;
    return false;
}

static lago_histogram_t histogram(const struct fixture *f, lago_metric_t metric) {
    lago_histogram_t h;
    assert_int_equal(lago_connection_histogram(f->conn, metric, &h), 0);
    return h;
}

static void on_message_acked(lago_channel_t *ch, const lago_message_t *message, void *data) {
    on_message(ch, message, data);
    assert_int_equal(lago_basic_ack(ch, message->delivery_tag, 0), 0);
}

static void a_life_in_figures(void **state) {
    struct fixture *f = *state;
    char page[4096];
    const char *queue = new_queue(f);
    lago_confirm_select(f->ch, NULL, NULL, NULL);
    lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = queue, .on_message = on_message_acked }, NULL, NULL);
    for (int i = 0; i < 20; i++) {
        lago_basic_publish_t args = { .routing_key = queue, .body = { "x", 1 } };
        assert_true(lago_basic_publish(f->ch, &args, NULL, NULL) > 0);
    }
    lago_basic_publish_t lost = { .routing_key = "lago.nowhere", .mandatory = true, .body = { "x", 1 } };
    assert_int_equal(lago_basic_publish(f->ch, &lost, on_outcome, label("lost")), 21);
    run_until(f, lago_connection_counters(f->conn).acked == 20 && lago_connection_counters(f->conn).confirmed == 20 &&
                     has_event(f, "lost #21 returned"));
    assert_true(lago_connection_dump(f->conn, page, sizeof page) < sizeof page);
    assert_non_null(strstr(page, "channel 1 open, 21 published"));
    assert_non_null(strstr(page, "unconfirmed: 0"));
    assert_non_null(strstr(page, "20 delivered"));
    lago_counters_t c = lago_connection_counters(f->conn);
    assert_int_equal(c.messages_sent, 21);
    assert_int_equal(c.confirmed, 20);
    assert_int_equal(c.returned, 1);
    assert_int_equal(c.messages_received, 21); /* the returned one as well */
    assert_int_equal(c.redelivered + c.refused + c.nacked + c.unsettled, 0);
    assert_true(c.writes > 0 && c.writes < c.frames_sent); /* what one turn says leaves together */
    assert_int_equal(c.channels, 1);
    assert_int_equal(c.consumers, 1);
    assert_int_equal(histogram(f, LAGO_METRIC_CONFIRM).count, 21);
    assert_int_equal(histogram(f, LAGO_METRIC_ACK_HOLD).count, 20);
    assert_int_equal(histogram(f, LAGO_METRIC_CONNECT).count, 1);
    assert_int_equal(histogram(f, LAGO_METRIC_HANDSHAKE).count, 1);
    assert_int_equal(histogram(f, LAGO_METRIC_OPEN).count, 1);
    lago_histogram_t operations = histogram(f, LAGO_METRIC_OPERATION);
    assert_true(operations.count >= 3 && operations.max_us > 0 && operations.max_us < 30 * 1000000u);
    assert_true(lago_histogram_quantile(&operations, 0.5) <= operations.max_us);
    forget_events(f);
}

static void hold_the_loop(uint64_t ms) {
    for (uint64_t end = uv_hrtime() + ms * 1000000u; uv_hrtime() < end;) {
    }
}

static void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)data;
    if (status == 0) hold_the_loop(3300);
    record(lago_connection_data(conn), "held");
}

/*
 * More than one heartbeat of two seconds, so by the clock alone the broker is dead when the loop comes back; but its beats wait in
 * the kernel. RabbitMQ itself cuts a client after four to six seconds of silence, and beats once a second: with heartbeats of one
 * second a machine that is busy elsewhere for 0.6 s had condemned it rightly.
 */
static void a_callback_that_holds_the_loop_condemns_nobody(void **state) {
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 2;
    connect_and_wait(f);
    assert_int_equal(lago_connection_call_later(f->conn, 1, on_timer, NULL, NULL), 0);
    expect_events(f, "held");
    uint64_t beats = lago_connection_counters(f->conn).heartbeats_received;
    run_until(f, lago_connection_counters(f->conn).heartbeats_received >= beats + 4);
    assert_int_equal(lago_connection_state(f->conn), LAGO_CONNECTION_OPEN);
    assert_true(logged(f, "the callback of a timer held the loop for 3"));
    assert_int_equal(lago_connection_counters(f->conn).slow_callbacks, 1);
}

static void on_post(lago_connection_t *conn, int status, void *data) {
    (void)data;
    if (status == 0) hold_the_loop(600);
    record(lago_connection_data(conn), "posted");
}

/* What other threads have run is made by the transport, not by a turn; it is watched all the same. */
static void a_slow_post_is_named(void **state) {
    struct fixture *f = *state;
    lago_poster_t *poster;
    connect_and_wait(f);
    assert_int_equal(lago_connection_poster(f->conn, &poster), 0);
    assert_int_equal(lago_post(poster, on_post, NULL), 0);
    lago_poster_unref(poster);
    expect_events(f, "posted");
    run_until(f, logged(f, "the callback of a post held the loop for 6"));
    assert_int_equal(lago_connection_counters(f->conn).slow_callbacks, 1);
}

/* Not by us: the log says so. */
static void a_loop_held_by_others_is_told_apart(void **state) {
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 1;
    connect_and_wait(f);
    hold_the_loop(1800);
    run_until(f, logged(f, "something else than this connection's callbacks"));
    assert_int_equal(lago_connection_counters(f->conn).slow_callbacks, 0);
    run_until(f, lago_connection_counters(f->conn).heartbeats_received >= 4);
    assert_int_equal(lago_connection_state(f->conn), LAGO_CONNECTION_OPEN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_life_in_figures, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_callback_that_holds_the_loop_condemns_nobody, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_slow_post_is_named, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_loop_held_by_others_is_told_apart, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
