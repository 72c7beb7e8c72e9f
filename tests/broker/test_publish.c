/* Publishing: before the connection is open, lent bodies, back-pressure, returns, and what is refused before a byte is taken. */
#include "fixture.h"

#define HIGH_WATER ((size_t)1024 * 1024)
#define BODY_SIZE  ((size_t)64 * 1024)
#define FLOOD      ((size_t)64 * 1024 * 1024)

static void published_before_the_connection_is_open(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    lago_basic_consume_t consume = { .auto_ack = true, .on_message = on_message };
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &f->ch), 0);
    const char *queue = queue_name(f);
    lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue, .exclusive = true }, NULL, NULL);
    publish_text(f, queue, "one");
    lago_confirm_select(f->ch, NULL, NULL, NULL);
    lago_basic_publish_t two = { .routing_key = queue, .body = { "two", 3 } };
    assert_int_equal(lago_basic_publish(f->ch, &two, on_outcome, label("two")), 1);
    lago_basic_consume(f->ch, &consume, NULL, NULL);
    run_until(f, f->event_count == 5);
    assert_string_equal(f->events[0], "open");
    assert_string_equal(f->events[1], "channel 1 open ok");
    assert_true(has_event(f, "got one") && has_event(f, "got two") && has_event(f, "two #1 confirmed"));
    forget_events(f);
}

static void order_is_kept_with_requests(void **state) { /* X10: pika lets publishes overtake */
    struct fixture *f = *state;
    const char *queue = queue_name(f);
    lago_basic_publish_t args = { .exchange = "amq.topic", .routing_key = queue, .mandatory = true, .body = { "x", 1 } };
    lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue, .exclusive = true }, on_declared, label("declare"));
    lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = queue, .exchange = "amq.topic" }, on_done, label("bind"));
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "declare ok", "bind ok");
    expect_length(f, queue, 1);
    assert_int_equal(f->event_count, 0);
}

/* ---------------------------------------------------------------- returns */

static void unroutable_ones_come_back(void **state) {
    struct fixture *f = *state;
    lago_basic_publish_t args = { .routing_key = "lago.nowhere", .mandatory = true, .body = { "x", 1 } };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    args.mandatory = false;
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "return 312 x");
    sync_channel(f);
    assert_int_equal(f->event_count, 0);
}

static void on_details(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    const lago_message_t *message = returned->message;
    (void)data;
    assert_int_equal(returned->reply_code, 312);
    assert_string_equal(returned->reply_text.data, "NO_ROUTE");
    assert_string_equal(message->exchange.data, "amq.direct");
    assert_string_equal(message->routing_key.data, "lago.nowhere");
    assert_int_equal(message->delivery_tag, 0);
    assert_string_equal(message->properties->message_id, "m1");
    assert_string_equal(message->body.data, "body");
    record(fixture_of(ch), "details");
}

static void a_return_has_all_of_the_message(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = { .on_return = on_details };
    lago_properties_t properties = { .message_id = "m1" };
    lago_basic_publish_t args = { .exchange = "amq.direct",
                                  .routing_key = "lago.nowhere",
                                  .mandatory = true,
                                  .properties = &properties,
                                  .body = { "body", 4 } };
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(f->conn, &options, &ch), 0);
    assert_int_equal(lago_basic_publish(ch, &args, NULL, NULL), 0);
    expect_events(f, "details");
}

static void a_return_that_nobody_handles_is_logged(void **state) {
    struct fixture *f = *state;
    lago_basic_publish_t args = { .routing_key = "lago.nowhere", .mandatory = true };
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(f->conn, NULL, &ch), 0);
    assert_int_equal(lago_basic_publish(ch, &args, NULL, NULL), 0);
    run_until(f, f->log_count == 1);
    assert_non_null(strstr(f->log[0], "unroutable"));
}

/* ---------------------------------------------------------------- lent bodies */

static void on_release(void *data) { ++*(unsigned *)data; }

static void lent_bodies_are_released_once(void **state) {
    struct fixture *f = *state;
    enum { COUNT = 40 };
    static char body[200000];
    unsigned released[COUNT] = { 0 };
    const char *queue = new_queue(f);
    memset(body, 'b', sizeof body);
    lago_basic_publish_t args = { .routing_key = queue, .release_body = on_release };
    for (size_t i = 0; i < COUNT; i++) {
        args.body = (lago_bytes_t){ body, i * 5000 }; /* empty, small, of several frames */
        args.release_data = &released[i];
        assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
        assert_int_equal(released[i], 0); /* never from inside the call */
    }
    expect_length(f, queue, COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(released[i], 1);
}

static void lent_bodies_are_released_when_nothing_left(void **state) {
    struct fixture *f = *state;
    unsigned released = 0;
    char body[] = "x";
    lago_basic_publish_t args = { .routing_key = "q", .release_body = on_release, .release_data = &released };
    args.body = (lago_bytes_t){ body, 1 };
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, NULL, &f->ch), 0);
    for (int i = 0; i < 10; i++) assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_connection_abort(f->conn), 0);
    run_until(f, f->closed);
    forget_events(f);
    assert_int_equal(released, 10);
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), LAGO_ECLOSED);
    assert_int_equal(released, 10); /* a call that fails takes nothing over */
    lago_connection_free(f->conn);
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, NULL, &f->ch), 0);
    for (int i = 0; i < 10; i++) assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    lago_connection_free(f->conn);
    f->conn = NULL;
    assert_int_equal(released, 20);
}

/* ---------------------------------------------------------------- back-pressure */

struct flood {
    struct fixture *f;
    size_t published, drains, refused;
    size_t output_peak;
    char *body;
};

static void pour(struct flood *flood) {
    struct fixture *f = flood->f;
    lago_basic_publish_t args = { .exchange = "amq.direct", .routing_key = "lago.nowhere", .body = { flood->body, BODY_SIZE } };
    while (flood->published * BODY_SIZE < FLOOD) {
        int64_t rc = lago_basic_publish(f->ch, &args, NULL, NULL);
        size_t waiting = lago_connection_output_size(f->conn);
        if (waiting > flood->output_peak) flood->output_peak = waiting;
        if (rc == LAGO_EAGAIN) {
            flood->refused++;
            return;
        }
        assert_int_equal(rc, 0);
        flood->published++;
    }
}

static void on_drained(lago_connection_t *conn, void *data) {
    struct flood *flood = data;
    flood->drains++;
    assert_true(lago_connection_output_size(conn) <= HIGH_WATER / 4);
    pour(flood);
}

static void memory_stays_bounded_and_drain_follows(void **state) {
    struct fixture *f = *state;
    struct flood flood = { .f = f, .body = calloc(1, BODY_SIZE) };
    lago_connection_options_t options = { .parameters = f->parameters, .context = f->context, .on_drain = on_drained };
    options.data = &flood;
    f->parameters->high_water = HIGH_WATER;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    assert_int_equal(lago_channel_open(f->conn, NULL, &f->ch), 0);
    size_t before = f->alloc.live_bytes;
    f->alloc.peak_bytes = before;
    pour(&flood);
    run_until(f, flood.published * BODY_SIZE >= FLOOD && lago_connection_output_size(f->conn) == 0);
    assert_int_equal(flood.drains, flood.refused);
    assert_in_range(flood.drains, 1, FLOOD / BODY_SIZE); /* how many depends on how fast the kernel takes what is written early */
    assert_true(flood.output_peak < HIGH_WATER + BODY_SIZE + 4096);
    assert_true(f->alloc.peak_bytes - before < 2 * HIGH_WATER);
    assert_int_equal(lago_channel_error(f->ch), 0);
    assert_int_equal(lago_connection_counters(f->conn).messages_sent, flood.published);
    free(flood.body);
    lago_connection_free(f->conn);
    f->conn = NULL;
}

static void acks_are_taken_above_high_water(void **state) {
    struct fixture *f = *state;
    char *body = calloc(1, BODY_SIZE);
    f->parameters->high_water = BODY_SIZE;
    connect_and_wait(f);
    f->ch = open_channel(f);
    const char *queue = new_queue(f);
    publish_text(f, queue, "x");
    lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get"));
    run_until(f, f->event_count == 1);
    if (f->tag_count == 0) { /* the publish had not reached its queue yet */
        expect_length(f, queue, 1);
        lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get"));
    }
    run_until(f, f->tag_count == 1);
    forget_events(f);
    lago_basic_publish_t args = { .routing_key = queue, .body = { body, BODY_SIZE } };
    while (lago_basic_publish(f->ch, &args, NULL, NULL) == 0) {
    }
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), LAGO_EAGAIN);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("qos")), 0);
    expect_events(f, "drain", "qos ok"); /* once, though it was refused twice */
    free(body);
}

/* ---------------------------------------------------------------- refused before a byte is taken */

static void what_does_not_fit_is_refused(void **state) {
    struct fixture *f = *state;
    char *big = calloc(1, 200000), key[300];
    memset(key, 'k', sizeof key);
    key[256] = '\0';
    lago_table_t headers = LAGO_TABLE(LAGO_FIELD_STRING("x", big, 200000));
    lago_properties_t properties = { .headers = headers };
    lago_basic_publish_t args = { .properties = &properties };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), LAGO_ETOOBIG); /* X6: others sent half a message */
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .routing_key = key }, NULL, NULL), LAGO_ETOOLONG);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .body = { NULL, 1 } }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_publish(f->ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .mandatory = true }, on_outcome, label("x")),
                     LAGO_ENOCONFIRM);
    sync_channel(f);
    key[255] = '\0';
    const char *queue = new_queue(f);
    lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = queue, .exchange = "amq.direct", .routing_key = key }, NULL, NULL);
    lago_basic_publish_t longest = { .exchange = "amq.direct", .routing_key = key };
    assert_int_equal(lago_basic_publish(f->ch, &longest, NULL, NULL), 0);
    expect_length(f, queue, 1);
    free(big);
}

static void a_foreign_user_id_is_406(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_properties_t properties = { .user_id = "somebody" };
    lago_basic_publish_t args = { .routing_key = queue, .properties = &properties };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "channel 1 close 406");
    assert_int_equal(f->reason.class_id, 60);
    assert_int_equal(f->reason.method_id, 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(published_before_the_connection_is_open, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(order_is_kept_with_requests, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(unroutable_ones_come_back, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_return_has_all_of_the_message, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_return_that_nobody_handles_is_logged, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(lent_bodies_are_released_once, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(lent_bodies_are_released_when_nothing_left, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(memory_stays_bounded_and_drain_follows, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(acks_are_taken_above_high_water, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_foreign_user_id_is_406, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
