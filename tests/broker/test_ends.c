/*
 * Ends, and in which order who is told: operations as they were called; then per channel its publishes, its consumers, itself;
 * then posts and timers; then the connection. All with the same reason. Needs control over the broker for most of it.
 */
#include "fixture.h"
#include <lago/poster.h>

static void on_free_data(void *data) { record(data, "free data"); }

static void on_timer(lago_connection_t *conn, int status, void *data) {
    record(lago_connection_data(conn), "%s %s", (char *)data, status ? lago_error_name(status) : "fired");
}

static void on_post(lago_connection_t *conn, int status, void *data) {
    record(lago_connection_data(conn), "%s %s", (char *)data, status ? lago_error_name(status) : "ran");
}

/* Pending on a connection whose broker reads nothing: operations on two channels, publishes, consumers, a timer. */
static lago_channel_t *leave_everything_pending(struct fixture *f) {
    const char *queue = new_queue(f);
    lago_basic_consume_t consume = { .queue = queue, .on_message = on_message, .data = f, .free_data = on_free_data };
    lago_basic_publish_t publish = { .routing_key = "lago.nowhere" };
    lago_channel_t *second = open_channel(f);
    assert_int_equal(lago_basic_consume(f->ch, &consume, on_consumer, label("consume")), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    expect_events(f, "consume ok");
    broker_alarm(f, true);
    assert_int_equal(lago_basic_publish(f->ch, &publish, on_outcome, label("a")), 1);
    run_until(f, f->event_count == 2);
    assert_true(has_event(f, "a #1 confirmed") && has_event(f, "blocked: low on memory"));
    forget_events(f);
    assert_int_equal(lago_basic_qos(second, NULL, on_done, label("qos")), 0);
    assert_int_equal(lago_basic_publish(f->ch, &publish, on_outcome, label("b")), 2);
    assert_int_equal(lago_basic_publish(f->ch, &publish, on_outcome, label("c")), 3);
    assert_int_equal(lago_queue_declare(f->ch, NULL, on_declared, label("declare")), 0);
    assert_int_equal(lago_queue_purge(second, NULL, on_count, label("purge")), 0);
    assert_int_equal(lago_connection_call_later(f->conn, 600000, on_timer, label("timer"), NULL), 0);
    return second;
}

#define EXPECT_EVERYTHING(f, reason)                                                                                             \
    expect_events((f), "qos " reason, "declare " reason, "purge " reason, "b #2 not sent", "c #3 not sent", "free data",         \
                  "channel 1 close " reason, "channel 2 close " reason, "timer LAGO_ECANCELED", "close " reason)

static int teardown_unblocked(void **state) {
    struct fixture *f = *state;
    if (!f->running && getenv("LAGO_TEST_BROKER") && getenv("BROKER_DIR")) broker_alarm(f, false);
    return teardown(state);
}

static int teardown_resumed(void **state) {
    struct fixture *f = *state;
    if (!f->running && getenv("LAGO_TEST_BROKER") && getenv("BROKER_DIR")) broker(f, "resume");
    return teardown(state);
}

/* ---------------------------------------------------------------- 1 and 2: opening */

static void open_comes_before_its_channels(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    lago_channel_t *a, *b;
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &a), 0);
    assert_int_equal(lago_channel_open(f->conn, &options, &b), 0);
    run_until(f, lago_channel_state(a) == LAGO_CHANNEL_OPEN && lago_channel_state(b) == LAGO_CHANNEL_OPEN);
    assert_int_equal(f->event_count, 3); /* the broker may open the second channel first */
    assert_string_equal(f->events[0], "open");
    assert_true(has_event(f, "channel 1 open ok") && has_event(f, "channel 2 open ok"));
    forget_events(f);
}

static void an_open_error_ends_everything_once(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    lago_channel_t *a, *b;
    lago_poster_t *poster;
    f->parameters->virtual_host = "nowhere";
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &a), 0);
    assert_int_equal(lago_channel_open(f->conn, &options, &b), 0);
    assert_int_equal(lago_basic_qos(b, NULL, on_done, label("qos b")), 0);
    assert_int_equal(lago_basic_qos(a, NULL, on_done, label("qos a")), 0);
    lago_basic_consume_t consume = { .queue = "q", .on_message = on_message, .data = f, .free_data = on_free_data };
    assert_int_equal(lago_basic_consume(a, &consume, on_consumer, label("consume")), 0);
    assert_int_equal(lago_connection_call_later(f->conn, 600000, on_timer, label("timer"), NULL), 0);
    assert_int_equal(lago_connection_poster(f->conn, &poster), 0);
    expect_events(f, "qos b 530", "qos a 530", "consume 530", "free data", "channel 1 open 530", "channel 2 open 530",
                  "timer LAGO_ECANCELED", "open error 530");
    assert_int_equal(lago_post(poster, on_post, label("late")), LAGO_ECLOSED);
    lago_poster_unref(poster);
}

static void closing_gives_up_opening(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &f->ch), 0);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    expect_events(f, "channel 1 open ECLOSED", "open error ECLOSED");
    assert_int_equal(f->log_count, 0);
}

/* ---------------------------------------------------------------- 3: closed by the application */

static void goodbye_closes_the_channels_first(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_consume_t consume = { .queue = queue, .on_message = on_message, .data = f, .free_data = on_free_data };
    lago_channel_t *second = open_channel(f);
    assert_int_equal(lago_basic_consume(f->ch, &consume, on_consumer, label("consume")), 0);
    expect_events(f, "consume ok");
    assert_int_equal(lago_connection_call_later(f->conn, 600000, on_timer, label("timer"), NULL), 0);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    assert_int_equal(lago_basic_qos(second, NULL, on_done, label("late")), LAGO_ECLOSED);
    run_until(f, f->closed); /* the broker answers the channels in any order */
    assert_int_equal(f->event_count, 5);
    assert_true(has_event(f, "channel 1 close ECLOSED") && has_event(f, "channel 2 close ECLOSED") && has_event(f, "free data"));
    assert_string_equal(f->events[3], "timer LAGO_ECANCELED");
    assert_string_equal(f->events[4], "close ECLOSED");
    forget_events(f);
    assert_int_equal(f->reason.origin, LAGO_BY_CLIENT);
    assert_int_equal(f->reason.phase, LAGO_PHASE_CLOSING);
}

static void abort_says_nothing(void **state) {
    need_control();
    struct fixture *f = *state;
    leave_everything_pending(f);
    assert_int_equal(lago_connection_abort(f->conn), 0);
    assert_int_equal(f->event_count, 0); /* never from inside the call */
    EXPECT_EVERYTHING(f, "ECLOSED");
}

static void a_close_that_is_not_answered_ends_by_its_deadline(void **state) {
    need_control();
    struct fixture *f = *state;
    leave_everything_pending(f);
    uint64_t before = uv_hrtime();
    assert_int_equal(lago_connection_close(f->conn, &(lago_close_t){ .timeout_ms = 300 }), 0);
    EXPECT_EVERYTHING(f, "ETIMEDOUT");
    assert_in_range((uv_hrtime() - before) / 1000000, 299, 2000); /* deadlines are in whole milliseconds: one may be begun */
    assert_int_equal(f->reason.phase, LAGO_PHASE_CLOSING);
    assert_non_null(strstr(f->reason.hint, "blocked"));
}

/* ---------------------------------------------------------------- 4: closed by the broker */

static void the_broker_closes_the_connection(void **state) {
    need_control();
    struct fixture *f = *state;
    leave_everything_pending(f);
    broker_close_connections(f);
    EXPECT_EVERYTHING(f, "320");
    assert_int_equal(f->reason.code, LAGO_ECONNECTION);
    assert_string_equal(f->reason.reply_text, "CONNECTION_FORCED - enough");
    assert_int_equal(f->log_count, 0);
}

static void an_end_that_nobody_handles_is_one_line(void **state) {
    need_control();
    struct fixture *f = *state;
    lago_connection_options_t options = { .parameters = f->parameters, .context = f->context };
    lago_channel_t *ch;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    assert_int_equal(lago_channel_open(f->conn, NULL, &ch), 0);
    run_until(f, lago_channel_state(ch) == LAGO_CHANNEL_OPEN);
    broker_close_connections(f);
    run_until(f, f->log_count > 0);
    assert_int_equal(f->log_count, 1);
    assert_non_null(strstr(f->log[0], "CONNECTION_FORCED - enough"));
    assert_null(strchr(f->log[0], '\n'));
    lago_connection_free(f->conn);
    f->conn = NULL;
}

/* ---------------------------------------------------------------- 5: the broker closes a channel */

static void a_channel_error_while_closing(void **state) {
    struct fixture *f = *state;
    lago_channel_t *second = open_channel(f);
    lago_basic_publish_t lost = { .exchange = "lago.missing" };
    assert_int_equal(lago_basic_publish(second, &lost, NULL, NULL), 0);
    assert_int_equal(lago_channel_close(second, NULL), 0);
    run_until(f, f->channel_closes == 1); /* both sides close: 404 or ours, but once, and the number is free */
    assert_int_equal(f->event_count, 1);
    forget_events(f);
    sync_channel(f);
    lago_channel_t *third = open_channel(f);
    assert_int_equal(lago_channel_number(third), 2);
    assert_int_equal(f->channel_closes, 1);
}

static void a_channel_error_tells_its_own_only(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_channel_t *first = f->ch;
    lago_channel_t *second = f->ch = open_channel(f);
    lago_basic_consume_t consume = { .queue = queue, .on_message = on_message, .data = f, .free_data = on_free_data };
    lago_basic_publish_t lost = { .exchange = "lago.missing" };
    assert_int_equal(lago_basic_consume(second, &consume, on_consumer, label("consume")), 0);
    assert_int_equal(lago_confirm_select(second, NULL, NULL, NULL), 0);
    expect_events(f, "consume ok");
    lago_basic_get(second, &(lago_basic_get_t){ .queue = "lago.missing" }, on_got, label("get"));
    assert_int_equal(lago_basic_publish(second, &lost, on_outcome, label("p")), 1);
    lago_basic_qos(second, NULL, on_done, label("qos"));
    expect_events(f, "get 404", "qos 404", "p #1 unknown", "free data", "channel 2 close 404");
    f->ch = first;
    sync_channel(f);
    assert_int_equal(f->event_count, 0);
}

/* ---------------------------------------------------------------- 6: lost */

static void the_link_is_reset(void **state) {
    need_control();
    struct fixture *f = *state;
    leave_everything_pending(f);
    broker_kill_connections(f);
    EXPECT_EVERYTHING(f, "ELOST");
    assert_int_equal(f->reason.origin, LAGO_BY_NETWORK);
    assert_int_equal(f->reason.os_error, f->parameters->tls ? UV_EOF : UV_ECONNRESET); /* Erlang's TLS still says close_notify */
    assert_int_equal(f->reason.phase, LAGO_PHASE_RUNNING);
    assert_true(f->reason.endpoint[0] != '\0');
}

static void silence_is_found_in_time(void **state) {
    need_control();
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 1;
    connect_and_wait(f);
    f->ch = open_channel(f);
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    sync_channel(f);
    broker(f, "pause");
    lago_basic_publish_t publish = { .routing_key = "lago.nowhere" };
    assert_int_equal(lago_basic_publish(f->ch, &publish, on_outcome, label("p")), 1);
    uint64_t received = lago_connection_counters(f->conn).bytes_received;
    uint64_t last_byte = uv_hrtime(); /* half an interval after the true one at most */
    while (!f->closed) {
        run_until(f, f->closed || lago_connection_counters(f->conn).bytes_received != received);
        received = lago_connection_counters(f->conn).bytes_received;
        if (!f->closed) last_byte = uv_hrtime();
    }
    assert_in_range((uv_hrtime() - last_byte) / 1000000, 500, 1600);
    expect_events(f, "p #1 unknown", "channel 1 close EHEARTBEAT", "close EHEARTBEAT");
    assert_int_equal(f->reason.origin, LAGO_BY_NETWORK);
}

static void heartbeats_keep_an_idle_connection(void **state) {
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 1; /* RabbitMQ resets a client that is silent for three seconds */
    connect_and_wait(f);
    assert_int_equal(lago_connection_call_later(f->conn, 3500, on_timer, label("timer"), NULL), 0);
    expect_events(f, "timer fired");
    lago_counters_t counters = lago_connection_counters(f->conn);
    assert_true(counters.frames_sent > 6 && counters.frames_received > 6);
    f->ch = open_channel(f);
    sync_channel(f);
}

static void on_secret(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    record(lago_connection_data(conn), "%s %s", (char *)data, reason_word(reason));
}

static void a_late_answer_to_the_connection_is_swallowed(void **state) {
    need_control();
    struct fixture *f = *state;
    f->parameters->operation_timeout_ms = 200;
    connect_and_wait(f);
    f->ch = open_channel(f);
    broker(f, "pause");
    assert_int_equal(lago_update_secret(f->conn, "guest", NULL, on_secret, label("late")), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("qos")), 0);
    expect_events(f, "late ETIMEDOUT", "qos ETIMEDOUT");
    broker(f, "resume");
    lago_basic_qos_t patient = { .timeout_ms = LAGO_NO_TIMEOUT };
    assert_int_equal(lago_basic_qos(f->ch, &patient, on_done, label("patient")), 0);
    expect_events(f, "patient ok");
    f->parameters->operation_timeout_ms = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(open_comes_before_its_channels, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(an_open_error_ends_everything_once, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(closing_gives_up_opening, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(goodbye_closes_the_channels_first, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(abort_says_nothing, setup_channel, teardown_unblocked),
        cmocka_unit_test_setup_teardown(a_close_that_is_not_answered_ends_by_its_deadline, setup_channel, teardown_unblocked),
        cmocka_unit_test_setup_teardown(the_broker_closes_the_connection, setup_channel, teardown_unblocked),
        cmocka_unit_test_setup_teardown(an_end_that_nobody_handles_is_one_line, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_channel_error_while_closing, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_channel_error_tells_its_own_only, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(the_link_is_reset, setup_channel, teardown_unblocked),
        cmocka_unit_test_setup_teardown(silence_is_found_in_time, setup_loop, teardown_resumed),
        cmocka_unit_test_setup_teardown(heartbeats_keep_an_idle_connection, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_late_answer_to_the_connection_is_swallowed, setup_loop, teardown_resumed),
    };
    return run_broker_tests(tests);
}
