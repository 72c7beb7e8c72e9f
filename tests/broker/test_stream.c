/* Streams over AMQP 0-9-1: read from each kind of offset, to the very number; what reading demands; cancelling in full flow. */
#include "fixture.h"

#define MESSAGES 10u

/* What a consumer of a stream has seen. */
struct reader {
    unsigned count;
    uint64_t first, last;
    bool in_order;
};

static void on_read(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct reader *r = data;
    uint64_t offset = 0;
    assert_true(lago_message_stream_offset(message, &offset));
    if (r->count++ == 0)
        r->first = offset;
    else
        r->in_order = r->in_order && offset == r->last + 1;
    r->last = offset;
    assert_int_equal(lago_basic_ack(ch, message->delivery_tag, 0), 0);
}

static void on_confirmed(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    assert_int_equal(result->outcome, LAGO_PUBLISH_CONFIRMED);
    ++*(unsigned *)data;
}

/* Published and confirmed: they are in the stream, as one chunk or several of their own. */
static void append(struct fixture *f, const char *stream, unsigned count, lago_table_t headers) {
    unsigned confirmed = 0;
    lago_properties_t properties = { .headers = headers };
    lago_basic_publish_t args = { .routing_key = stream, .properties = &properties, .body = { "x", 1 } };
    for (unsigned i = 0; i < count; i++) assert_true(lago_basic_publish(f->ch, &args, on_confirmed, &confirmed) > 0);
    run_until(f, confirmed == count);
}

/* A stream with messages 0 to 9, the channel confirming and with a prefetch count. */
static const char *new_stream(struct fixture *f) {
    const char *stream = queue_name(f);
    lago_queue_declare_t args = { .queue = stream,
                                  .durable = true,
                                  .features = &(lago_queue_features_t){ .queue_type = LAGO_QUEUE_STREAM,
                                                                        .max_age = { 1, LAGO_DAYS },
                                                                        .max_length_bytes = 10000000 } };
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_basic_qos(f->ch, &(lago_basic_qos_t){ .prefetch_count = 1000 }, on_done, label("qos")), 0);
    expect_events(f, "declare ok", "qos ok");
    append(f, stream, MESSAGES / 2, (lago_table_t){ 0 });
    append(f, stream, MESSAGES / 2, (lago_table_t){ 0 });
    return stream;
}

static void start(struct fixture *f, const char *stream, struct reader *r, const lago_consumer_features_t *features) {
    *r = (struct reader){ .in_order = true };
    lago_basic_consume_t args = {
        .queue = stream, .consumer_tag = "reader", .on_message = on_read, .data = r, .features = features
    };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
    run_until(f, has_event(f, "consume ok"));
    forget_events(f);
}

static void stop(struct fixture *f) {
    assert_int_equal(lago_basic_cancel(f->ch, &(lago_basic_cancel_t){ .consumer_tag = "reader" }, on_consumer, label("cancel")),
                     0);
    expect_events(f, "cancel ok");
}

/* Read from there to the message that was published last; the first one read is `first`. */
static void expect_from(struct fixture *f, const char *stream, lago_stream_offset_t offset, uint64_t first, uint64_t last) {
    struct reader r;
    start(f, stream, &r, &(lago_consumer_features_t){ .stream_offset = offset });
    run_until(f, r.count > 0 && r.last == last);
    stop(f);
    assert_true(r.in_order);
    assert_int_equal(r.first, first);
    assert_int_equal(r.count, last - first + 1);
}

static void from_each_kind_of_offset(void **state) {
    struct fixture *f = *state;
    const char *stream = new_stream(f);
    const uint64_t last = MESSAGES - 1;
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_FIRST }, 0, last);
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_NUMBER }, 0, last);
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_NUMBER, .value = 7 }, 7, last);
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_NUMBER, .value = last }, last, last);
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_TIMESTAMP, .value = 1600000000 }, 0, last);
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_INTERVAL, .value = 1, .unit = LAGO_HOURS }, 0, last);
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_INTERVAL, .value = 1, .unit = LAGO_YEARS }, 0, last);
}

/* A chunk is what the broker wrote at once: the last one has some of the second half. */
static void from_the_last_chunk(void **state) {
    struct fixture *f = *state;
    const char *stream = new_stream(f);
    struct reader r;
    start(f, stream, &r, &(lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_LAST } });
    run_until(f, r.count > 0 && r.last == MESSAGES - 1);
    assert_true(r.in_order);
    assert_true(r.first >= MESSAGES / 2);
}

/* Next, no offset at all, and a time that has not come yet are the same. */
static void from_what_comes_next(void **state) {
    struct fixture *f = *state;
    const char *stream = new_stream(f);
    const lago_stream_offset_t offsets[] = { { .from = LAGO_OFFSET_NEXT },
                                             { .from = LAGO_OFFSET_DEFAULT },
                                             { .from = LAGO_OFFSET_TIMESTAMP, .value = 4000000000 } };
    for (unsigned i = 0; i < 3; i++) {
        struct reader r;
        start(f, stream, &r, &(lago_consumer_features_t){ .stream_offset = offsets[i] });
        append(f, stream, 1, (lago_table_t){ 0 });
        run_until(f, r.count > 0);
        assert_int_equal(r.first, MESSAGES + i);
        assert_int_equal(r.count, 1);
        stop(f);
    }
}

/* One reads up to some message; another goes on behind it. */
static void resumed_behind_the_last_offset(void **state) {
    struct fixture *f = *state;
    const char *stream = new_stream(f);
    struct reader r;
    start(f, stream, &r, &(lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_FIRST } });
    run_until(f, r.count == MESSAGES);
    stop(f);
    append(f, stream, 2, (lago_table_t){ 0 });
    expect_from(f, stream, (lago_stream_offset_t){ .from = LAGO_OFFSET_NUMBER, .value = r.last + 1 }, MESSAGES, MESSAGES + 1);
}

/* ---------------------------------------------------------------- what reading demands */

static void expect_both_refuse(struct fixture *f, const char *stream, bool auto_ack, const char *event) {
    lago_basic_consume_t args = {
        .queue = stream,
        .auto_ack = auto_ack,
        .on_message = on_message,
        .features = &(lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_FIRST } },
    };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), LAGO_EINVAL);
    assert_int_equal(f->log_count, 1);
    sync_channel(f);
    args.features = NULL;
    args.arguments = LAGO_TABLE(LAGO_FIELD_STR("x-stream-offset", "first"));
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
    run_until(f, has_event(f, event));
}

static void reading_demands_a_prefetch_count(void **state) {
    struct fixture *f = *state;
    const char *stream = new_stream(f);
    f->ch = open_channel(f); /* without one */
    expect_both_refuse(f, stream, false, "channel 2 close 406");
}

static void reading_demands_acknowledgements(void **state) {
    struct fixture *f = *state;
    const char *stream = new_stream(f);
    expect_both_refuse(f, stream, true, "close 540");
}

/* ---------------------------------------------------------------- cancelling, filters */

struct flood {
    unsigned seen;
    bool cancelled;
};

static void on_flood(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct flood *flood = data;
    if (flood->seen++ == 0)
        lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "reader" }, on_consumer, label("cancel"));
    assert_int_equal(lago_basic_ack(ch, message->delivery_tag, 0), 0);
}

/* RabbitMQ 3.10 closes the connection (540) on a reject from a stream: what arrives behind a cancel is acknowledged. */
static void cancelled_in_full_flow(void **state) {
    struct fixture *f = *state;
    const char *stream = new_stream(f);
    struct flood flood = { 0 };
    append(f, stream, 3000, (lago_table_t){ 0 });
    lago_basic_consume_t args = { .queue = stream,
                                  .consumer_tag = "reader",
                                  .on_message = on_flood,
                                  .data = &flood,
                                  .features = &(lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_FIRST } } };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
    run_until(f, has_event(f, "cancel ok"));
    sync_channel(f);
    sync_channel(f);
    assert_int_equal(flood.seen, 1);
    assert_false(f->closed);
    assert_int_equal(lago_channel_state(f->ch), LAGO_CHANNEL_OPEN);
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
    lago_counters_t counters = lago_connection_counters(f->conn);
    assert_true(counters.messages_dropped > 0);
}

static lago_table_t region(const char *name) {
    static lago_field_t field;
    field = lago_field_str(LAGO_HEADER_STREAM_FILTER_VALUE, name);
    return (lago_table_t){ &field, NULL, 1, 0 };
}

/* Filters choose chunks: each append is confirmed before the next, so its messages share theirs with no other. */
static void read_through_a_filter(void **state) {
    struct fixture *f = *state;
    if (broker_version(f) < 313) {
        print_message("no stream filters before RabbitMQ 3.13\n");
        skip();
    }
    const char *stream = new_stream(f);
    append(f, stream, 2, region("asia"));   /* 10, 11 */
    append(f, stream, 3, region("europe")); /* 12 to 14 */
    append(f, stream, 2, region("asia"));
    append(f, stream, 1, region("africa")); /* 17 */
    lago_consumer_features_t features = { .stream_offset = { .from = LAGO_OFFSET_NUMBER, .value = MESSAGES },
                                          .stream_filter = LAGO_ARRAY(LAGO_VALUE_STR("europe"), LAGO_VALUE_STR("africa")) };
    struct reader r;
    start(f, stream, &r, &features);
    run_until(f, r.count == 4);
    stop(f);
    assert_int_equal(r.first, 12);
    assert_int_equal(r.last, 17);
    assert_false(r.in_order);
    features.stream_offset.value = 0;
    features.stream_match_unfiltered = true;
    start(f, stream, &r, &features);
    run_until(f, r.count == MESSAGES + 4);
    stop(f);
    assert_int_equal(r.first, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_each_kind_of_offset, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(from_the_last_chunk, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(from_what_comes_next, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(resumed_behind_the_last_offset, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(reading_demands_a_prefetch_count, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(reading_demands_acknowledgements, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(cancelled_in_full_flow, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(read_through_a_filter, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
