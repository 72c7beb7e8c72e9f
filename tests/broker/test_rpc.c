/* Requests and replies through a real RabbitMQ: direct reply-to between two connections, and every way in which a call ends. */
#include "fixture.h"

#define MANY 1000u

/* The server: another connection, which doubles numbers. */
struct server {
    lago_connection_t *conn;
    lago_channel_t *ch;
    bool silent;        /* takes requests and keeps the last one */
    unsigned held_back; /* so many requests are kept, then all answered, the last one first */
    lago_message_t *held[MANY];
    unsigned held_count;
};

static struct server server;
static lago_rpc_t *rpc;

static void answer(const lago_message_t *request) {
    char text[32];
    int size = snprintf(text, sizeof text, "%d", 2 * atoi(request->body.data));
    lago_properties_t properties = { .content_type = "text/plain" };
    lago_basic_publish_t reply = { .properties = &properties, .body = { text, (size_t)size }, .mandatory = true };
    assert_int_equal(lago_rpc_reply(server.ch, request, &reply, NULL, NULL), 0);
}

static void on_request(lago_channel_t *ch, const lago_message_t *request, void *data) {
    (void)ch, (void)data;
    if (!server.silent && !server.held_back) {
        answer(request);
        return;
    }
    assert_int_equal(lago_message_keep(request, &server.held[server.held_count++]), 0);
    if (server.silent || server.held_count < server.held_back) return;
    while (server.held_count > 0) {
        answer(server.held[--server.held_count]);
        lago_message_release(server.held[server.held_count]);
    }
}

static void on_server_end(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason;
    *(bool *)data = true;
}

static bool server_ended;

/* A queue that both may use, and the server on it. */
static const char *serve(struct fixture *f) {
    const char *queue = queue_name(f);
    memset(&server, 0, sizeof server);
    server_ended = false;
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, on_declared, label("declare")), 0);
    run_until(f, f->event_count > 0);
    forget_events(f);
    lago_connection_options_t options = { .parameters = f->parameters, .context = f->context };
    lago_channel_options_t channel = { .on_close = on_server_end, .data = &server_ended };
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &server.conn), 0);
    assert_int_equal(lago_channel_open(server.conn, &channel, &server.ch), 0);
    lago_basic_consume_t consume = { .queue = queue, .auto_ack = true, .on_message = on_request };
    assert_int_equal(lago_basic_consume(server.ch, &consume, NULL, NULL), 0);
    return queue;
}

static int stop(void **state) {
    struct fixture *f = *state;
    while (server.held_count > 0) lago_message_release(server.held[--server.held_count]);
    if (!f->running) lago_connection_free(server.conn);
    server.conn = NULL;
    return teardown(state);
}

static void on_reply(lago_rpc_t *handle, const lago_rpc_result_t *result, void *data) {
    struct fixture *f = fixture_of(lago_rpc_channel(handle));
    if (result->reply)
        record(f, "%s %s", (const char *)data, (const char *)result->reply->body.data);
    else
        record(f, "%s %s%s", (const char *)data, reason_word(result->reason), result->not_served ? " not served" : "");
}

static void call_with(const char *queue, const char *number, uint32_t timeout_ms) {
    lago_rpc_call_t args = { .routing_key = queue, .body = { number, strlen(number) }, .timeout_ms = timeout_ms };
    assert_true(lago_rpc_call(rpc, &args, on_reply, label(number)) > 0);
}

static void call(const char *queue, const char *number) { call_with(queue, number, 0); }

/* ---------------------------------------------------------------- replies */

static void both_ways(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f);
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    call(queue, "21"); /* the handle and the call leave together */
    expect_events(f, "21 42");
    call(queue, "4");
    call(queue, "5");
    expect_events(f, "4 8", "5 10");
    assert_int_equal(lago_rpc_dropped_count(rpc), 0);
}

static unsigned answered[MANY];
static unsigned answered_count;

static void on_one_of_many(lago_rpc_t *handle, const lago_rpc_result_t *result, void *data) {
    unsigned *mine = data;
    (void)handle;
    assert_non_null(result->reply);
    assert_int_equal(atoi(result->reply->body.data), 2 * (int)(mine - answered));
    (*mine)++;
    answered_count++;
}

static void many_in_flight(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f);
    server.held_back = MANY;
    memset(answered, 0, sizeof answered);
    answered_count = 0;
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    for (unsigned i = 0; i < MANY; i++) {
        char text[16];
        int size = snprintf(text, sizeof text, "%u", i);
        lago_rpc_call_t args = { .routing_key = queue, .body = { text, (size_t)size } };
        assert_true(lago_rpc_call(rpc, &args, on_one_of_many, &answered[i]) > 0);
    }
    assert_int_equal(lago_rpc_pending_count(rpc), MANY);
    run_until(f, answered_count == MANY);
    for (unsigned i = 0; i < MANY; i++) assert_int_equal(answered[i], 1);
    assert_int_equal(lago_rpc_pending_count(rpc), 0);
}

static void through_a_queue_of_ones_own(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f), *replies = new_queue(f);
    lago_rpc_options_t options = { .reply_to = replies, .correlation_prefix = "me-" };
    assert_int_equal(lago_rpc_new(f->ch, &options, &rpc), 0);
    call(queue, "21");
    expect_events(f, "21 42");
    publish_text(f, replies, "of nobody");
    run_until(f, lago_rpc_dropped_count(rpc) == 1);
    server.silent = true;
    call(queue, "1");
    run_until(f, server.held_count == 1);
    assert_int_equal(lago_queue_delete(f->ch, &(lago_queue_delete_t){ .queue = replies, .no_wait = true }, NULL, NULL), 0);
    expect_events(f, "1 ECONSUMER");
    assert_int_equal(lago_rpc_reason(rpc)->code, LAGO_ECONSUMER);
}

/* ---------------------------------------------------------------- no reply */

static void nobody_answers_in_time(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f);
    server.silent = true;
    assert_int_equal(lago_rpc_new(f->ch, &(lago_rpc_options_t){ .timeout_ms = 150 }, &rpc), 0);
    call(queue, "1");
    call_with(queue, "2", 50);
    expect_events(f, "2 ETIMEDOUT", "1 ETIMEDOUT");
    run_until(f, server.held_count == 2);
    answer(server.held[0]); /* too late */
    run_until(f, lago_rpc_dropped_count(rpc) == 1);
    server.silent = false;
    call_with(queue, "3", 10000);
    expect_events(f, "3 6");
}

static void on_unroutable(lago_rpc_t *handle, const lago_rpc_result_t *result, void *data) {
    assert_int_equal(result->reason->code, LAGO_EUNROUTABLE);
    assert_int_equal(result->reason->reply_code, 312);
    assert_string_equal(result->reason->reply_text, "NO_ROUTE");
    assert_true(result->not_served);
    on_reply(handle, result, data);
}

/* on_return of the fixture's channel would be an event. */
static void no_queue_takes_the_request(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f);
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    lago_rpc_call_t args = { .routing_key = "lago.nowhere" };
    assert_true(lago_rpc_call(rpc, &args, on_unroutable, label("lost")) > 0);
    call(queue, "3");
    run_until(f, f->event_count == 2);
    assert_true(has_event(f, "lost 312 not served"));
    assert_true(has_event(f, "3 6"));
    run_until(f, lago_channel_unconfirmed_count(f->ch) == 0);
    forget_events(f);
}

/* Its channel has gone, so the broker drops the reply, or returns it: the server's channel lives on. */
static void the_client_is_gone(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f);
    server.silent = true;
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    call(queue, "1");
    run_until(f, server.held_count == 1);
    lago_channel_free(f->ch);
    f->ch = open_channel(f);
    sync_channel(f);
    answer(server.held[0]);
    server.silent = false;
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    call(queue, "2");
    expect_events(f, "2 4");
    assert_false(server_ended);
}

/* ---------------------------------------------------------------- handles and ends */

/* One after the other on one channel: RabbitMQ refuses (406) a second consumer of the pseudo-queue while there is a first. */
static void a_handle_after_another(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f);
    server.silent = true;
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    lago_rpc_t *none;
    assert_int_equal(lago_rpc_new(f->ch, NULL, &none), LAGO_EEXIST);
    lago_rpc_free(rpc); /* before the broker has heard of it */
    while (lago_rpc_new(f->ch, NULL, &rpc) == LAGO_EEXIST) run_once(f, __FILE__, __LINE__);
    for (unsigned i = 0; i < 20; i++) {
        call(queue, "1");
        sync_channel(f);
        lago_rpc_free(rpc);
        assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    }
    server.silent = false;
    call(queue, "2");
    expect_events(f, "2 4");
    assert_int_equal(lago_channel_state(f->ch), LAGO_CHANNEL_OPEN);
}

static void killed_in_the_middle(void **state) {
    need_control();
    struct fixture *f = *state;
    const char *queue = serve(f);
    server.silent = true;
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    call(queue, "1");
    call(queue, "2");
    call(queue, "3");
    run_until(f, server.held_count == 3);
    broker_kill_connections(f);
    expect_events(f, "1 ELOST", "2 ELOST", "3 ELOST", "channel 1 close ELOST", "close ELOST");
    assert_int_equal(lago_rpc_call(rpc, &(lago_rpc_call_t){ .routing_key = queue }, on_reply, NULL), LAGO_ECLOSED);
}

static void the_channel_is_closed_by_the_broker(void **state) {
    struct fixture *f = *state;
    const char *queue = serve(f);
    server.silent = true;
    assert_int_equal(lago_rpc_new(f->ch, NULL, &rpc), 0);
    call(queue, "1");
    lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = "lago.nowhere", .passive = true }, on_declared, label("declare"));
    call(queue, "2");
    expect_events(f, "declare 404", "1 404", "2 404", "channel 1 close 404");
}

static void a_reply_queue_that_does_not_exist(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_rpc_new(f->ch, &(lago_rpc_options_t){ .reply_to = "lago.nowhere" }, &rpc), 0);
    call("lago.nowhere", "1");
    expect_events(f, "1 404", "channel 1 close 404");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_ways, setup_channel, stop),
        cmocka_unit_test_setup_teardown(many_in_flight, setup_channel, stop),
        cmocka_unit_test_setup_teardown(through_a_queue_of_ones_own, setup_channel, stop),
        cmocka_unit_test_setup_teardown(nobody_answers_in_time, setup_channel, stop),
        cmocka_unit_test_setup_teardown(no_queue_takes_the_request, setup_channel, stop),
        cmocka_unit_test_setup_teardown(the_client_is_gone, setup_channel, stop),
        cmocka_unit_test_setup_teardown(a_handle_after_another, setup_channel, stop),
        cmocka_unit_test_setup_teardown(killed_in_the_middle, setup_channel, stop),
        cmocka_unit_test_setup_teardown(the_channel_is_closed_by_the_broker, setup_channel, stop),
        cmocka_unit_test_setup_teardown(a_reply_queue_that_does_not_exist, setup_channel, stop),
    };
    return run_broker_tests(tests);
}
