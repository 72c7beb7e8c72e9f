/* Connections to a real broker: what is agreed, how opening fails, timers, secrets, and errors that take the connection along. */
#include "fixture.h"

static bool string_is(lago_string_t string, const char *text) {
    return string.size == strlen(text) && memcmp(string.data, text, string.size) == 0;
}

/* ---------------------------------------------------------------- opening */

static void opens_and_tells_what_it_is(void **state) {
    struct fixture *f = *state;
    lago_value_t value;
    connect_now(f);
    assert_int_equal(lago_connection_state(f->conn), LAGO_CONNECTION_INIT);
    assert_string_equal(lago_connection_endpoint(f->conn), "");
    assert_null(lago_connection_reason(f->conn));
    expect_events(f, "open");
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "%s:%u", f->parameters->host, f->parameters->port);
    assert_string_equal(lago_connection_endpoint(f->conn), endpoint);
    lago_table_t properties = lago_connection_server_properties(f->conn);
    assert_int_equal(lago_table_get(&properties, "product", &value), 1);
    assert_true(string_is(value.as.string, "RabbitMQ"));
    assert_true(lago_connection_server_has(f->conn, "basic.nack"));
    assert_true(lago_connection_server_has(f->conn, "consumer_cancel_notify"));
    assert_false(lago_connection_server_has(f->conn, "telepathy"));
    lago_tune_t tune = lago_connection_tune(f->conn);
    assert_int_equal(tune.channel_max, 2047);
    assert_int_equal(tune.frame_max, 131072);
    assert_int_equal(tune.heartbeat_s, 60);
    assert_false(lago_connection_is_blocked(f->conn));
    assert_true(lago_connection_counters(f->conn).bytes_received > 400);
}

static void opens_by_url(void **state) {
    struct fixture *f = *state;
    lago_connection_options_t options = connection_options(f);
    options.parameters = NULL;
    assert_int_equal(lago_connect(&f->loop, getenv("AMQP_URL"), &options, &f->conn), 0);
    expect_events(f, "open");
    assert_int_equal(lago_connection_close(f->conn, &(lago_close_t){ .reply_code = 200, .reply_text = "bye" }), 0);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    assert_int_equal(lago_connection_state(f->conn), LAGO_CONNECTION_CLOSING);
    expect_events(f, "close ECLOSED");
    assert_int_equal(f->reason.origin, LAGO_BY_CLIENT);
    assert_int_equal(lago_connection_close(f->conn, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_connection_abort(f->conn), LAGO_ECLOSED);
    assert_int_equal(f->log_count, 0);
}

static uint16_t choose_heartbeat(uint16_t server_heartbeat_s, void *data) {
    *(uint16_t *)data = server_heartbeat_s;
    return 33;
}

static void agrees_on_smaller_limits(void **state) {
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 7;
    f->parameters->frame_max = 8192;
    f->parameters->channel_max = 3;
    connect_and_wait(f);
    lago_tune_t tune = lago_connection_tune(f->conn);
    assert_int_equal(tune.heartbeat_s, 7);
    assert_int_equal(tune.frame_max, 8192);
    assert_int_equal(tune.channel_max, 3);
    lago_channel_t *ch;
    for (int i = 0; i < 3; i++) assert_int_equal(lago_channel_open(f->conn, NULL, &ch), 0);
    assert_int_equal(lago_channel_open(f->conn, NULL, &ch), LAGO_ENOCHANNEL);
    assert_null(ch);
}

static void the_heartbeat_is_chosen(void **state) {
    struct fixture *f = *state;
    uint16_t proposed = 0;
    f->parameters->heartbeat_s = LAGO_HEARTBEAT_OFF;
    connect_and_wait(f);
    assert_int_equal(lago_connection_tune(f->conn).heartbeat_s, 0);
    lago_connection_free(f->conn);
    f->parameters->heartbeat_cb = choose_heartbeat;
    f->parameters->heartbeat_data = &proposed;
    connect_and_wait(f);
    assert_int_equal(proposed, 60);
    assert_int_equal(lago_connection_tune(f->conn).heartbeat_s, 33);
}

static void channels_beyond_what_is_agreed_never_open(void **state) {
    enum { ASKED = 2050, ALLOWED = 2047 };
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    lago_channel_t *last[ASKED - ALLOWED];
    connect_now(f);
    for (int i = 0; i < ALLOWED; i++) {
        lago_channel_t *ch;
        assert_int_equal(lago_channel_open(f->conn, NULL, &ch), 0);
    }
    for (int i = 0; i < ASKED - ALLOWED; i++) assert_int_equal(lago_channel_open(f->conn, &options, &last[i]), 0);
    run_until(f, f->event_count == 4);
    assert_true(has_event(f, "open"));
    assert_true(has_event(f, "channel 2048 open ENOCHANNEL"));
    assert_true(has_event(f, "channel 2050 open ENOCHANNEL"));
    forget_events(f);
}

/* ---------------------------------------------------------------- refused */

static void a_wrong_password_is_said_so(void **state) {
    struct fixture *f = *state;
    char words[512];
    f->parameters->credentials.password = "wrong";
    connect_now(f);
    expect_events(f, "open error 403");
    assert_int_equal(f->reason.code, LAGO_EAUTH);
    assert_int_equal(f->reason.phase, LAGO_PHASE_HANDSHAKE);
    lago_reason_format(&f->reason, words, sizeof words);
    assert_non_null(strstr(words, "guest"));
    assert_null(strstr(words, "wrong"));
}

static void a_missing_virtual_host_is_said_so(void **state) {
    struct fixture *f = *state;
    f->parameters->virtual_host = "nowhere";
    connect_now(f);
    expect_events(f, "open error 530");
    assert_int_equal(f->reason.code, LAGO_EACCESS);
    assert_int_equal(f->reason.phase, LAGO_PHASE_OPEN);
    assert_int_equal(f->reason.class_id, 10);
    assert_int_equal(f->reason.method_id, 40);
    assert_non_null(strstr(f->reason.reply_text, "nowhere"));
}

static void nobody_listening_is_said_so(void **state) {
    struct fixture *f = *state;
    f->parameters->host = "127.0.0.1";
    f->parameters->port = 1;
    connect_now(f);
    expect_events(f, "open error ECONNECT");
    assert_int_equal(f->reason.os_error, UV_ECONNREFUSED);
    assert_string_equal(f->reason.endpoint, "127.0.0.1:1");
}

static void an_end_that_nobody_handles_is_one_line(void **state) {
    struct fixture *f = *state;
    lago_connection_options_t options = { .parameters = f->parameters, .context = f->context };
    f->parameters->virtual_host = "nowhere";
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    run_until(f, lago_connection_reason(f->conn) && f->log_count > 0);
    assert_int_equal(f->log_count, 1);
    assert_non_null(strstr(f->log[0], "nowhere"));
}

/* ---------------------------------------------------------------- errors that take the connection */

static void prefetch_size_closes_the_connection(void **state) {
    struct fixture *f = *state;
    lago_basic_qos_t args = { .prefetch_size = 1 };
    assert_int_equal(lago_basic_qos(f->ch, &args, on_done, label("qos")), 0);
    assert_int_equal(lago_queue_purge(f->ch, &(lago_queue_purge_t){ .queue = "x" }, on_count, label("purge")), 0);
    expect_events(f, "qos 540", "purge 540", "channel 1 close 540", "close 540");
    assert_int_equal(f->reason.code, LAGO_ECONNECTION);
    assert_int_equal(f->reason.origin, LAGO_BY_BROKER);
    assert_int_equal(f->reason.phase, LAGO_PHASE_RUNNING);
    assert_int_equal(f->reason.class_id, 60);
    assert_int_equal(f->reason.method_id, 10);
    assert_non_null(strstr(f->reason.reply_text, "NOT_IMPLEMENTED"));
    assert_int_equal(f->reason.reply_text_size, strlen(f->reason.reply_text));
}

static void immediate_closes_the_connection(void **state) {
    struct fixture *f = *state;
    lago_basic_publish_t args = { .routing_key = "nowhere", .immediate = true };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "channel 1 close 540", "close 540");
}

/* RabbitMQ 3 closes the connection, 4 the channel. */
static void an_exchange_type_of_no_plugin_is_refused(void **state) {
    struct fixture *f = *state;
    lago_exchange_declare_t args = { .exchange = "lago.none", .exchange_type = "x-none" };
    assert_int_equal(lago_exchange_declare(f->ch, &args, on_done, label("declare")), 0);
    if (broker_version(f) < 400)
        expect_events(f, "declare 503", "channel 1 close 503", "close 503");
    else
        expect_events(f, "declare 406", "channel 1 close 406");
}

/* ---------------------------------------------------------------- timers and secrets */

static void on_timer(lago_connection_t *conn, int status, void *data) {
    record(lago_connection_data(conn), "%s %s", (char *)data, status ? lago_error_name(status) : "fired");
}

static void timers_fire_in_their_order_and_are_cancelled_by_the_end(void **state) {
    struct fixture *f = *state;
    uint64_t third, fourth;
    assert_int_equal(lago_connection_call_later(f->conn, 30, on_timer, label("second"), NULL), 0);
    assert_int_equal(lago_connection_call_later(f->conn, 0, on_timer, label("first"), NULL), 0);
    assert_int_equal(lago_connection_call_later(f->conn, 20, on_timer, label("third"), &third), 0);
    assert_int_equal(lago_connection_call_later(f->conn, 600000, on_timer, label("fourth"), &fourth), 0);
    assert_int_equal(lago_connection_remove_timeout(f->conn, third), 0);
    assert_int_equal(lago_connection_remove_timeout(f->conn, third), LAGO_ESTALE);
    expect_events(f, "first fired", "second fired");
    assert_int_equal(lago_connection_abort(f->conn), 0);
    expect_events(f, "channel 1 close ECLOSED", "fourth LAGO_ECANCELED", "close ECLOSED");
    assert_int_equal(lago_connection_call_later(f->conn, 0, on_timer, label("late"), NULL), LAGO_ECLOSED);
}

static void on_secret(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    record(lago_connection_data(conn), "%s %s", (char *)data, reason_word(reason));
}

static void a_secret_is_replaced(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_update_secret(f->conn, "guest", "renewal", on_secret, label("secret")), 0);
    assert_int_equal(lago_update_secret(f->conn, "guest", NULL, NULL, NULL), 0);
    assert_int_equal(lago_update_secret(f->conn, "guest", NULL, on_secret, label("again")), 0);
    expect_events(f, "secret ok", "again ok");
    assert_int_equal(lago_update_secret(f->conn, NULL, NULL, NULL, NULL), LAGO_EINVAL);
}

static void rejects_bad_calls(void **state) {
    struct fixture *f = *state;
    lago_connection_t *conn;
    lago_connection_options_t options = connection_options(f);
    assert_int_equal(lago_connect(NULL, NULL, &options, &conn), LAGO_EINVAL);
    assert_int_equal(lago_connect(&f->loop, NULL, &options, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connect(&f->loop, "amqp://localhost", &options, &conn), LAGO_EINVAL);
    assert_null(conn);
    options.reserved[3] = 1;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &conn), LAGO_EINVAL);
    assert_int_equal(lago_connection_close(NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_abort(NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_state(NULL), LAGO_CONNECTION_CLOSED);
    lago_connection_free(NULL);
    assert_int_equal(f->log_count, 0);
    assert_int_equal(lago_connect(&f->loop, "http://localhost", NULL, &conn), LAGO_EURL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opens_and_tells_what_it_is, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(opens_by_url, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(agrees_on_smaller_limits, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(the_heartbeat_is_chosen, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(channels_beyond_what_is_agreed_never_open, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_password_is_said_so, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_missing_virtual_host_is_said_so, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(nobody_listening_is_said_so, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(an_end_that_nobody_handles_is_one_line, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(prefetch_size_closes_the_connection, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(immediate_closes_the_connection, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_exchange_type_of_no_plugin_is_refused, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(timers_fire_in_their_order_and_are_cancelled_by_the_end, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_secret_is_replaced, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(rejects_bad_calls, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
