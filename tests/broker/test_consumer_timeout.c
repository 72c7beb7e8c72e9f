/*
 * A delivery held too long: RabbitMQ closes the channel, from 4.3 on it cancels the consumer of a quorum queue instead. The limit
 * of the node is changed for a moment, so these run alone.
 */
#include "fixture.h"

#define AS_SHIPPED                                                                                                               \
    "application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000)."
#define ONE_SECOND "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 500)."

static int restore(void **state) {
    struct fixture *f = *state;
    if (!f->running && getenv("BROKER_DIR")) broker_eval(f, AS_SHIPPED);
    return teardown(state);
}

static void hold_one(struct fixture *f, lago_queue_features_t features, const lago_consumer_features_t *consumer) {
    const char *queue = queue_name(f);
    lago_queue_declare_t declare = { .queue = queue, .durable = true, .features = &features };
    lago_basic_consume_t consume = { .queue = queue, .consumer_tag = "c", .on_message = on_message, .on_cancel = on_cancel };
    consume.features = consumer;
    assert_int_equal(lago_queue_declare(f->ch, &declare, NULL, NULL), 0);
    assert_int_equal(lago_basic_consume(f->ch, &consume, NULL, NULL), 0);
    publish_text(f, queue, "held");
    run_until(f, f->event_count == 2);
    assert_string_equal(f->events[0], "got held");
}

static void the_channel_closes_and_says_why(void **state) {
    struct fixture *f = *state;
    need_control();
    if (broker_version(f) >= 403) {
        print_message("no consumer timeout that closes channels from RabbitMQ 4.3 on\n");
        skip();
    }
    broker_eval(f, ONE_SECOND);
    f->ch = open_channel(f); /* a channel takes the limits as it opens */
    hold_one(f, (lago_queue_features_t){ .queue_type = LAGO_QUEUE_CLASSIC }, NULL);
    assert_string_equal(f->events[1], "channel 2 close 406");
    assert_true(lago_reason_is_consumer_timeout(&f->reason));
    assert_non_null(strstr(f->reason.hint, "held too long"));
}

static void the_consumer_is_cancelled(void **state) {
    struct fixture *f = *state;
    if (broker_version(f) < 403) {
        print_message("no x-consumer-timeout of consumers before RabbitMQ 4.3\n");
        skip();
    }
    hold_one(f, (lago_queue_features_t){ .queue_type = LAGO_QUEUE_QUORUM },
             &(lago_consumer_features_t){ .consumer_timeout_ms = 1000 });
    assert_string_equal(f->events[1], "cancelled c");
    sync_channel(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_channel_closes_and_says_why, setup_channel, restore),
        cmocka_unit_test_setup_teardown(the_consumer_is_cancelled, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
