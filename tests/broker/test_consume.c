/* Consumers: how they start and end, what they get, and what becomes of deliveries that nobody wants any more. */
#include "fixture.h"

static void start(struct fixture *f, const lago_basic_consume_t *args) {
    assert_int_equal(lago_basic_consume(f->ch, args, on_consumer, label("consume")), 0);
    expect_events(f, "consume ok");
}

static void starts_and_gets(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    start(f, &(lago_basic_consume_t){ .queue = queue, .on_message = on_message });
    assert_string_equal(lago_channel_last_consumer_tag(f->ch).data, "ctag1.1");
    publish_text(f, queue, "one");
    publish_text(f, queue, "two");
    expect_events(f, "got one", "got two");
    assert_int_equal(f->tags[0], 1); /* on the first link lago's tags are the broker's */
    assert_int_equal(f->tags[1], 2);
    assert_int_equal(lago_channel_unacked_count(f->ch), 2);
}

static void on_details(lago_channel_t *ch, const lago_message_t *message, void *data) {
    const char *queue = data;
    assert_string_equal(message->consumer_tag.data, "mine");
    assert_int_equal(message->consumer_tag.size, 4);
    assert_string_equal(message->exchange.data, "amq.direct");
    assert_string_equal(message->routing_key.data, queue);
    assert_int_equal(message->message_count, 0);
    assert_non_null(message->properties);
    assert_int_equal(message->properties->present, 0);
    assert_int_equal(message->body.size, 0);
    assert_int_equal(((const char *)message->body.data)[0], 0);
    record(fixture_of(ch), "details");
}

static void tells_where_a_message_came_from(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_consume_t args = { .queue = queue, .consumer_tag = "mine", .on_message = on_details, .data = label(queue) };
    start(f, &args);
    lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = queue, .exchange = "amq.direct" }, NULL, NULL);
    lago_basic_publish(f->ch, &(lago_basic_publish_t){ .exchange = "amq.direct", .routing_key = queue }, NULL, NULL);
    expect_events(f, "details");
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("again")), LAGO_EEXIST);
    assert_int_equal(lago_channel_error(f->ch), LAGO_EEXIST);
}

static void started_without_an_answer(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_consume_t args = { .queue = queue, .auto_ack = true, .no_wait = true, .on_message = on_message };
    lago_basic_cancel_t cancel = { .consumer_tag = "c", .no_wait = true };
    args.consumer_tag = "c";
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
    publish_text(f, queue, "one");
    expect_events(f, "got one");
    assert_int_equal(lago_basic_cancel(f->ch, &cancel, on_consumer, label("cancel")), LAGO_EINVAL);
    assert_int_equal(lago_basic_cancel(f->ch, &cancel, NULL, NULL), 0);
    publish_text(f, queue, "two");
    expect_length(f, queue, 1);
    assert_int_equal(f->event_count, 0);
    args.no_wait = false;
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "got two");
}

/* RabbitMQ answers consume and cancel later than what was asked behind them, if it has all of it at once. */
static void answers_that_overtake_each_other(void **state) {
    struct fixture *f = *state;
    const char *one = new_queue(f), *two = new_queue(f);
    lago_basic_consume_t first = { .queue = one, .consumer_tag = "first", .on_message = on_message };
    lago_basic_consume_t second = { .queue = two, .consumer_tag = "second", .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &first, on_consumer, label("first")), 0);
    assert_int_equal(lago_basic_consume(f->ch, &second, on_consumer, label("second")), 0);
    assert_int_equal(lago_basic_cancel(f->ch, &(lago_basic_cancel_t){ .consumer_tag = "first" }, on_consumer, label("cancel")),
                     0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("qos")), 0);
    assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = one }, on_got, label("get")), 0);
    run_until(f, f->event_count == 5);
    assert_true(has_event(f, "first ok") && has_event(f, "second ok") && has_event(f, "cancel ok"));
    assert_true(has_event(f, "qos ok") && has_event(f, "get empty"));
    forget_events(f);
    publish_text(f, two, "x");
    expect_events(f, "got x");
}

static void prefetch_bounds_what_is_unacknowledged(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    for (int i = 0; i < 5; i++) publish_text(f, queue, "x");
    expect_length(f, queue, 5);
    assert_int_equal(lago_basic_qos(f->ch, &(lago_basic_qos_t){ .prefetch_count = 2 }, on_done, label("qos")), 0);
    expect_events(f, "qos ok");
    assert_int_equal(lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = queue, .on_message = on_message }, NULL, NULL),
                     0);
    expect_events(f, "got x", "got x");
    expect_length(f, queue, 3);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    expect_events(f, "got x");
    expect_length(f, queue, 2);
    assert_int_equal(lago_channel_unacked_count(f->ch), 2);
}

static void prefetch_for_the_channel_as_a_whole(void **state) {
    struct fixture *f = *state;
    if (broker_version(f) >= 403) {
        print_message("RabbitMQ 4.3 takes global qos as qos of each consumer\n");
        skip();
    }
    const char *one = new_queue(f), *two = new_queue(f);
    publish_text(f, one, "x");
    publish_text(f, two, "x");
    expect_length(f, two, 1);
    lago_basic_qos(f->ch, &(lago_basic_qos_t){ .prefetch_count = 1, .global_qos = true }, NULL, NULL);
    lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = one, .on_message = on_message }, NULL, NULL);
    lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = two, .on_message = on_message }, NULL, NULL);
    sync_channel(f);
    expect_events(f, "got x");
    sync_channel(f);
    assert_int_equal(f->event_count, 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    expect_events(f, "got x");
}

static void the_consumer_of_higher_priority_is_served(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_consume_t low = { .queue = queue, .consumer_tag = "low", .on_message = on_message };
    lago_basic_consume_t high = { .queue = queue, .consumer_tag = "mine", .on_message = on_details, .data = label(queue) };
    high.arguments = LAGO_TABLE(LAGO_FIELD_I32("x-priority", 10));
    start(f, &low);
    start(f, &high);
    lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = queue, .exchange = "amq.direct" }, NULL, NULL);
    lago_basic_publish(f->ch, &(lago_basic_publish_t){ .exchange = "amq.direct", .routing_key = queue }, NULL, NULL);
    expect_events(f, "details");
}

/* ---------------------------------------------------------------- ends */

static void cancelled_by_the_application(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_cancel_t cancel = { .consumer_tag = "c" };
    start(f, &(lago_basic_consume_t){ .queue = queue, .consumer_tag = "c", .on_message = on_message, .on_cancel = on_cancel });
    publish_text(f, queue, "one");
    expect_events(f, "got one");
    assert_int_equal(lago_basic_cancel(f->ch, &cancel, on_consumer, label("cancel")), 0);
    assert_int_equal(lago_basic_cancel(f->ch, &cancel, on_consumer, label("twice")), LAGO_ESTALE);
    publish_text(f, queue, "two");
    expect_events(f, "cancel ok");
    expect_length(f, queue, 1);
    assert_int_equal(lago_channel_last_consumer_tag(f->ch).size, 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0); /* what was delivered may still be acknowledged */
    lago_basic_consume_t again = { .queue = queue, .consumer_tag = "c", .on_message = on_message }; /* the tag is free */
    assert_int_equal(lago_basic_consume(f->ch, &again, NULL, NULL), 0);
    expect_events(f, "got two");
    assert_int_equal(lago_basic_cancel(f->ch, &cancel, NULL, NULL), 0);
    sync_channel(f);
    assert_int_equal(lago_basic_cancel(f->ch, NULL, NULL, NULL), LAGO_EINVAL);
}

/* Deliveries that are on their way when cancel is called go back to the queue, though on_message never sees them. */
static void what_races_a_cancel_is_given_back(void **state) {
    struct fixture *f = *state;
    enum { COUNT = 100 };
    const char *queue = new_queue(f);
    for (int i = 0; i < COUNT; i++) publish_text(f, queue, "x");
    expect_length(f, queue, COUNT);
    lago_basic_consume_t args = { .queue = queue, .consumer_tag = "c", .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_basic_cancel(f->ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, on_consumer, label("cancel")), 0);
    expect_events(f, "cancel ok");
    expect_length(f, queue, COUNT);
    assert_int_equal(f->tag_count, 0);
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
}

static void on_free_data(void *data) { record(data, "free data"); }

static void cancelled_by_the_broker(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_consume_t args = { .queue = queue,
                                  .consumer_tag = "c",
                                  .on_message = on_message,
                                  .on_cancel = on_cancel,
                                  .data = f,
                                  .free_data = on_free_data };
    start(f, &args);
    assert_int_equal(lago_queue_delete(f->ch, &(lago_queue_delete_t){ .queue = queue }, on_count, label("delete")), 0);
    run_until(f, f->event_count == 3); /* delete-ok may come before or after */
    assert_true(has_event(f, "cancelled c"));
    assert_true(has_event(f, "delete ok"));
    size_t cancelled = strcmp(f->events[0], "cancelled c") == 0 ? 0 : 1;
    assert_string_equal(f->events[cancelled], "cancelled c");
    assert_string_equal(f->events[cancelled + 1], "free data");
    forget_events(f);
    assert_int_equal(lago_basic_cancel(f->ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL), LAGO_ESTALE);
}

static void ended_with_its_channel(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_consume_t args = { .queue = queue, .on_message = on_message, .on_cancel = on_cancel, .data = f };
    args.free_data = on_free_data;
    start(f, &args);
    assert_int_equal(lago_channel_close(f->ch, NULL), 0);
    expect_events(f, "free data", "channel 1 close ECLOSED");
}

static void never_began(void **state) {
    struct fixture *f = *state;
    lago_basic_consume_t args = { .queue = "lago.missing", .on_message = on_message, .data = f, .free_data = on_free_data };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
    expect_events(f, "consume 404", "free data", "channel 1 close 404");
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("late")), LAGO_ECLOSED);
    assert_int_equal(f->event_count, 0); /* a call that fails takes nothing over */
}

static void an_exclusive_consumer_is_alone(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    start(f, &(lago_basic_consume_t){ .queue = queue, .exclusive = true, .on_message = on_message });
    f->ch = open_channel(f);
    lago_basic_consume_t args = { .queue = queue, .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("second")), 0);
    expect_events(f, "second 403", "channel 2 close 403");
}

/* ---------------------------------------------------------------- get */

static void get_answers_in_order(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_get_t args = { .queue = queue };
    publish_text(f, queue, "one");
    publish_text(f, queue, "two");
    expect_length(f, queue, 2);
    for (int i = 0; i < 3; i++) assert_int_equal(lago_basic_get(f->ch, &args, on_got, label("get")), 0);
    expect_events(f, "got one", "got two", "get empty");
    assert_int_equal(lago_channel_unacked_count(f->ch), 2);
    assert_int_equal(lago_basic_nack(f->ch, f->tags[1], LAGO_MULTIPLE), 0);
    args.auto_ack = true;
    for (int i = 0; i < 3; i++) assert_int_equal(lago_basic_get(f->ch, &args, on_got, label("get")), 0);
    expect_events(f, "got one again", "got two again", "get empty");
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
    assert_int_equal(lago_basic_get(f->ch, &args, NULL, NULL), LAGO_EINVAL);
}

static void on_left(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    (void)data;
    assert_null(reason);
    assert_int_equal(message->consumer_tag.size, 0);
    record(fixture_of(ch), "%u left", message->message_count);
}

static void get_tells_how_many_are_left(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    for (int i = 0; i < 3; i++) publish_text(f, queue, "x");
    expect_length(f, queue, 3);
    for (int i = 0; i < 3; i++) lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_left, NULL);
    expect_events(f, "2 left", "1 left", "0 left");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(starts_and_gets, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(tells_where_a_message_came_from, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(started_without_an_answer, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(answers_that_overtake_each_other, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(prefetch_bounds_what_is_unacknowledged, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(prefetch_for_the_channel_as_a_whole, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(the_consumer_of_higher_priority_is_served, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(cancelled_by_the_application, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(what_races_a_cancel_is_given_back, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(cancelled_by_the_broker, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(ended_with_its_channel, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(never_began, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_exclusive_consumer_is_alone, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(get_answers_in_order, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(get_tells_how_many_are_left, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
