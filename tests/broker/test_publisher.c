/* Publishers against a real broker: order, windows, returns, nacks, ends, a block. */
#include "fixture.h"

#define MANY   20000u
#define WINDOW 500u

static lago_publisher_t *make(struct fixture *f, const lago_publisher_options_t *options) {
    lago_publisher_t *publisher;
    assert_int_equal(lago_publisher_new(f->ch, options, &publisher), 0);
    return publisher;
}

static void select_confirms(struct fixture *f) {
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "select ok");
}

static int64_t publish(lago_publisher_t *publisher, const char *body, void *data) {
    return lago_publisher_publish(publisher, (lago_bytes_t){ body, strlen(body) }, data);
}

static void on_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data) {
    struct fixture *f = fixture_of(lago_publisher_channel(publisher));
    record(f, "%s #%u-%u %s", (char *)data, (unsigned)settled->first, (unsigned)settled->last,
           lago_publish_outcome_name(settled->outcome));
}

static void on_ready(lago_publisher_t *publisher, void *data) {
    record(fixture_of(lago_publisher_channel(publisher)), "%s ready", (char *)data);
}

/* ---------------------------------------------------------------- what arrives */

/* Each body says which publish it was. */
struct arrivals {
    uint32_t next, count;
    unsigned wrong;
};

static void on_numbered(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct arrivals *arrivals = data;
    uint32_t number = 0;
    (void)ch;
    if (message->body.size >= sizeof number) memcpy(&number, message->body.data, sizeof number);
    arrivals->wrong += number != arrivals->next++;
    arrivals->count++;
}

/* Prepared ones, ones that differ, batches, large and lent ones, plain ones: all in the order of the calls. */
static void all_kinds_keep_their_order(void **state) {
    struct fixture *f = *state;
    static uint32_t bodies[1000], large[40000];
    struct arrivals arrivals = { 0 };
    const char *queue = new_queue(f);
    lago_publisher_t *publisher = make(f, &(lago_publisher_options_t){ .routing_key = queue });
    lago_basic_consume_t consume = { .queue = queue, .auto_ack = true, .on_message = on_numbered, .data = &arrivals };
    assert_int_equal(lago_basic_consume(f->ch, &consume, NULL, NULL), 0);
    uint32_t count = sizeof bodies / sizeof bodies[0];
    for (uint32_t i = 0; i < count; i++) {
        lago_bytes_t body = { &bodies[i], sizeof bodies[i] };
        bodies[i] = i;
        if (i % 100 == 50) {
            large[0] = i;
            body = (lago_bytes_t){ large, sizeof large };
        }
        lago_publisher_message_t message = { .body = body, .properties = &(lago_properties_t){ .type = "t" } };
        lago_basic_publish_t plain = { .routing_key = queue, .body = body };
        assert_int_equal(i % 3 == 0   ? lago_publisher_publish(publisher, body, NULL)
                         : i % 3 == 1 ? lago_publisher_publish_message(publisher, &message, NULL)
                                      : lago_basic_publish(f->ch, &plain, NULL, NULL),
                         0);
    }
    run_until(f, arrivals.count == count);
    assert_int_equal(arrivals.wrong, 0);
}

static void on_properties(lago_channel_t *ch, const lago_message_t *message, void *data) {
    char words[512];
    (void)data;
    lago_properties_format(message->properties, words, sizeof words);
    record(fixture_of(ch), "%s: %s", (const char *)message->body.data, words);
}

static void what_differs_arrives_merged(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f), *other = new_queue(f);
    lago_properties_t prepared = { .content_type = "text/plain", .delivery_mode = LAGO_PERSISTENT, .message_id = "m0" };
    lago_publisher_t *publisher = make(f, &(lago_publisher_options_t){ .routing_key = queue, .properties = &prepared });
    const char *queues[] = { queue, other };
    for (int i = 0; i < 2; i++) {
        lago_basic_consume_t consume = { .queue = queues[i], .auto_ack = true, .on_message = on_properties };
        assert_int_equal(lago_basic_consume(f->ch, &consume, NULL, NULL), 0);
    }
    sync_channel(f);
    lago_properties_t properties = {
        .message_id = "m1", .correlation_id = "c", .timestamp = 5, .headers = LAGO_TABLE(LAGO_FIELD_STR("h", "v"))
    };
    assert_int_equal(publish(publisher, "a", NULL), 0);
    expect_events(f, "a: content_type=\"text/plain\" delivery_mode=2 message_id=\"m0\"");
    lago_publisher_message_t message = { .body = { "b", 1 }, .properties = &properties, .routing_key = other };
    assert_int_equal(lago_publisher_publish_message(publisher, &message, NULL), 0);
    expect_events(f, "b: content_type=\"text/plain\" headers={h=\"v\"} delivery_mode=2 correlation_id=\"c\" message_id=\"m1\" "
                     "timestamp=5");
}

/* ---------------------------------------------------------------- windows and outcomes */

struct flow {
    lago_publisher_t *publisher;
    uint64_t sent, told, readies, runs;
    uint8_t seen[MANY + 1];
};

static void pump(struct flow *flow) {
    uint64_t first = 0;
    while (flow->sent < MANY) {
        int64_t taken;
        if (flow->sent % 7 == 0) {
            const lago_bytes_t bodies[] = { { "1", 1 }, { "2", 1 }, { "3", 1 } };
            taken = lago_publisher_publish_batch(flow->publisher, bodies, MANY - flow->sent < 3 ? 1 : 3, flow, &first);
            if (taken > 0) assert_int_equal(first, flow->sent + 1);
        } else {
            taken = publish(flow->publisher, "x", flow) > 0 ? 1 : LAGO_EAGAIN;
        }
        if (taken == LAGO_EAGAIN) break;
        assert_true(taken > 0);
        flow->sent += (uint64_t)taken;
    }
    assert_true(lago_publisher_unconfirmed_count(flow->publisher) <= WINDOW);
}

static void on_flow_ready(lago_publisher_t *publisher, void *data) {
    struct flow *flow = data;
    flow->readies++;
    assert_true(lago_publisher_room(publisher) >= WINDOW / 2);
    pump(flow);
}

static void settle(struct flow *flow, uint64_t first, uint64_t last) {
    flow->runs++;
    for (uint64_t n = first; n <= last; n++) assert_int_equal(flow->seen[n]++, 0);
    flow->told += last - first + 1;
}

static void on_flow_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    assert_int_equal(result->outcome, LAGO_PUBLISH_CONFIRMED);
    settle(data, result->sequence_number, result->sequence_number);
}

static void on_flow_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data) {
    (void)publisher;
    assert_int_equal(settled->outcome, LAGO_PUBLISH_CONFIRMED);
    settle(data, settled->first, settled->last);
}

static void flow_through(struct fixture *f, bool in_runs) {
    struct flow *flow = calloc(1, sizeof *flow);
    const char *queue = new_queue(f);
    lago_publisher_options_t options = { .routing_key = queue, .window_count = WINDOW, .on_ready = on_flow_ready, .data = flow };
    select_confirms(f);
    if (in_runs)
        options.on_settled = on_flow_settled;
    else
        options.on_outcome = on_flow_outcome;
    flow->publisher = make(f, &options);
    pump(flow);
    run_until(f, flow->told == MANY);
    for (uint64_t n = 1; n <= MANY; n++) assert_int_equal(flow->seen[n], 1);
    assert_true(flow->readies >= 2);
    assert_true(in_runs ? flow->runs < MANY / 2 : flow->runs == MANY);
    expect_length(f, queue, MANY);
    free(flow);
}

static void many_through_a_window_one_by_one(void **state) { flow_through(*state, false); }

static void many_through_a_window_in_runs(void **state) { flow_through(*state, true); }

static void a_full_queue_nacks(void **state) {
    struct fixture *f = *state;
    const char *queue =
        new_queue_with(f, LAGO_TABLE(LAGO_FIELD_I32("x-max-length", 1), LAGO_FIELD_STR("x-overflow", "reject-publish")));
    select_confirms(f);
    lago_publisher_options_t options = {
        .routing_key = queue, .window_count = 2, .on_settled = on_settled, .on_ready = on_ready, .data = label("p")
    };
    lago_publisher_t *publisher = make(f, &options);
    assert_int_equal(publish(publisher, "first", NULL), 1);
    expect_events(f, "p #1-1 confirmed");
    assert_int_equal(publish(publisher, "second", NULL), 2);
    expect_events(f, "p #2-2 nacked");
    assert_int_equal(publish(publisher, "third", NULL), 3);
    assert_int_equal(publish(publisher, "fourth", NULL), 4);
    assert_int_equal(publish(publisher, "fifth", NULL), LAGO_EAGAIN);
    run_until(f, has_event(f, "p ready"));
    run_until(f, lago_publisher_unconfirmed_count(publisher) == 0);
    assert_int_equal(lago_connection_counters(f->conn).nacked, 3);
    forget_events(f);
    expect_length(f, queue, 1);
}

/* X18, and among plain ones of the same route and size. */
static void returns_are_tied_to_their_messages(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    lago_publisher_t *lost =
        make(f, &(lago_publisher_options_t){ .routing_key = "lago.nowhere", .mandatory = true, .on_outcome = on_outcome });
    lago_publisher_t *found =
        make(f, &(lago_publisher_options_t){ .routing_key = queue, .mandatory = true, .on_outcome = on_outcome });
    lago_publisher_message_t elsewhere = { .body = { "c", 1 }, .routing_key = "lago.nowhere" };
    assert_int_equal(publish(found, "a", label("a")), 1);
    assert_int_equal(publish(lost, "b", label("b")), 2);
    assert_int_equal(lago_publisher_publish_message(found, &elsewhere, label("c")), 3);
    assert_int_equal(publish(found, "d", label("d")), 4);
    run_until(f, f->event_count == 6);
    assert_true(has_event(f, "return 312 b") && has_event(f, "return 312 c"));
    assert_true(has_event(f, "a #1 confirmed") && has_event(f, "b #2 returned"));
    assert_true(has_event(f, "c #3 returned") && has_event(f, "d #4 confirmed"));
    forget_events(f);
}

/* ---------------------------------------------------------------- ends */

static void on_free(void *data) { ++*(unsigned *)data; }

static void its_channel_is_closed_under_it(void **state) {
    struct fixture *f = *state;
    unsigned freed = 0;
    const char *queue = new_queue(f);
    select_confirms(f);
    lago_publisher_t *good = make(f, &(lago_publisher_options_t){ .routing_key = queue, .on_outcome = on_outcome });
    lago_publisher_t *bad =
        make(f, &(lago_publisher_options_t){
                    .exchange = "lago.missing", .on_outcome = on_outcome, .data = &freed, .free_data = on_free });
    assert_int_equal(publish(good, "x", label("good")), 1);
    expect_events(f, "good #1 confirmed");
    assert_int_equal(publish(bad, "x", label("a")), 2);
    assert_int_equal(publish(good, "x", label("b")), 3);
    expect_events(f, "a #2 unknown", "b #3 unknown", "channel 1 close 404");
    assert_int_equal(freed, 1);
    assert_int_equal(publish(bad, "x", NULL), LAGO_ECLOSED);
    lago_publisher_free(bad);
    assert_int_equal(freed, 1);
    assert_int_equal(publish(good, "x", NULL), LAGO_ECLOSED);
}

static void a_freed_one_leaves_what_it_published(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    lago_publisher_t *publisher = make(f, &(lago_publisher_options_t){ .routing_key = queue, .on_outcome = on_outcome });
    for (int i = 0; i < 100; i++) assert_true(publish(publisher, "x", label("never")) > 0);
    lago_publisher_free(publisher);
    expect_length(f, queue, 100);
    run_until(f, lago_channel_unconfirmed_count(f->ch) == 0);
    assert_int_equal(f->event_count, 0);
}

/* A stream of publishes through a window, until the link is cut under it. */
struct stream {
    uint64_t sent, told, outcomes[LAGO_PUBLISH_UNKNOWN + 1];
    unsigned freed, told_late;
};

static void pour(lago_publisher_t *publisher, void *data) {
    struct stream *stream = data;
    lago_bytes_t body = { "x", 1 };
    int64_t sent;
    while ((sent = lago_publisher_publish(publisher, body, NULL)) > 0) assert_int_equal((uint64_t)sent, ++stream->sent);
    assert_int_equal(sent, LAGO_EAGAIN);
}

static void on_stream_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data) {
    struct stream *stream = data;
    uint64_t count = settled->last - settled->first + 1;
    (void)publisher;
    assert_true((settled->reason != NULL) == (settled->outcome >= LAGO_PUBLISH_NOT_SENT));
    stream->told += count;
    stream->outcomes[settled->outcome] += count;
    stream->told_late += stream->freed;
}

static void on_stream_free(void *data) { ((struct stream *)data)->freed++; }

static void a_cut_link_leaves_none_without_an_outcome(void **state) {
    need_control();
    struct fixture *f = *state;
    struct stream stream = { 0 };
    const char *queue = new_queue(f);
    select_confirms(f);
    lago_publisher_t *publisher = make(f, &(lago_publisher_options_t){ .routing_key = queue,
                                                                       .window_count = WINDOW,
                                                                       .on_ready = pour,
                                                                       .on_settled = on_stream_settled,
                                                                       .data = &stream,
                                                                       .free_data = on_stream_free });
    pour(publisher, &stream);
    run_until(f, stream.sent >= 5000);
    broker_kill_connections(f); /* the loop runs meanwhile, and the stream goes on */
    expect_events(f, "channel 1 close ELOST", "close ELOST");
    assert_int_equal(stream.told, stream.sent);
    assert_in_range(stream.outcomes[LAGO_PUBLISH_CONFIRMED], 4000, stream.sent);
    assert_in_range(stream.outcomes[LAGO_PUBLISH_UNKNOWN] + stream.outcomes[LAGO_PUBLISH_NOT_SENT], 1, WINDOW);
    assert_int_equal(stream.freed, 1);
    assert_int_equal(stream.told_late, 0);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_ECLOSED);
}

/* ---------------------------------------------------------------- a block */

static int teardown_unblocked(void **state) {
    struct fixture *f = *state;
    if (!f->running && getenv("LAGO_TEST_BROKER") && getenv("BROKER_DIR")) broker_alarm(f, false);
    return teardown(state);
}

static void a_block_fills_the_window(void **state) {
    need_control();
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    broker_alarm(f, true);
    publish_text(f, "lago.nowhere", "x");
    expect_events(f, "blocked: low on memory");
    lago_publisher_options_t options = {
        .routing_key = queue, .window_count = 3, .on_outcome = on_outcome, .on_ready = on_ready, .data = label("p")
    };
    lago_publisher_t *publisher = make(f, &options);
    for (int i = 2; i <= 4; i++) assert_int_equal(publish(publisher, "x", label("m")), i);
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    broker_alarm(f, false);
    run_until(f, lago_publisher_unconfirmed_count(publisher) == 0 && has_event(f, "p ready"));
    assert_true(has_event(f, "unblocked") && has_event(f, "m #4 confirmed"));
    forget_events(f);
    expect_length(f, queue, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_kinds_keep_their_order, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(what_differs_arrives_merged, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(many_through_a_window_one_by_one, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(many_through_a_window_in_runs, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_nacks, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(returns_are_tied_to_their_messages, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(its_channel_is_closed_under_it, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_freed_one_leaves_what_it_published, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_cut_link_leaves_none_without_an_outcome, setup_channel, teardown_unblocked),
        cmocka_unit_test_setup_teardown(a_block_fills_the_window, setup_channel, teardown_unblocked),
    };
    return run_broker_tests(tests);
}
