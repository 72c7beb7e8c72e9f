/* Publisher confirms: every publish has exactly one outcome, whatever the broker or the link does. */
#include "fixture.h"

static void select_confirms(struct fixture *f) {
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "select ok");
}

static int64_t publish(struct fixture *f, const char *exchange, const char *key, bool mandatory, const char *name) {
    lago_basic_publish_t args = { .exchange = exchange, .routing_key = key, .mandatory = mandatory, .body = { "x", 1 } };
    return lago_basic_publish(f->ch, &args, on_outcome, label(name));
}

/* ---------------------------------------------------------------- very many */

#define MANY 20000u

struct tally {
    uint64_t told;   /* outcomes */
    uint64_t breaks; /* where the numbers do not go up by one: a new frame of the broker */
    uint64_t previous;
    uint8_t seen[MANY + 1];
};

static void on_one_of_many(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    struct tally *tally = data;
    (void)ch;
    assert_int_equal(result->outcome, LAGO_PUBLISH_CONFIRMED);
    assert_in_range(result->sequence_number, 1, MANY);
    assert_int_equal(tally->seen[result->sequence_number]++, 0);
    tally->told++;
    tally->breaks += result->sequence_number != tally->previous + 1;
    tally->previous = result->sequence_number;
}

static void twenty_thousand_each_once(void **state) {
    struct fixture *f = *state;
    struct tally *tally = calloc(1, sizeof *tally);
    const char *queue = new_queue(f);
    select_confirms(f);
    for (uint64_t i = 1; i <= MANY; i++) {
        lago_basic_publish_t args = { .routing_key = queue, .body = { &i, sizeof i } };
        assert_int_equal(lago_basic_publish(f->ch, &args, on_one_of_many, tally), i);
    }
    assert_int_equal(lago_channel_unconfirmed_count(f->ch), MANY);
    run_until(f, tally->told == MANY);
    assert_int_equal(lago_channel_unconfirmed_count(f->ch), 0);
    for (size_t i = 1; i <= MANY; i++) assert_int_equal(tally->seen[i], 1);
    assert_true(tally->breaks < MANY / 10); /* by number within a frame, and most frames go on where the last one ended */
    expect_length(f, queue, MANY);
    free(tally);
}

static void numbers_count_from_the_select(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    publish_text(f, queue, "before");
    select_confirms(f);
    assert_int_equal(publish(f, "", queue, false, "a"), 1);
    assert_int_equal(publish(f, "", queue, false, "b"), 2);
    lago_basic_publish_t silent = { .routing_key = queue };
    assert_int_equal(lago_basic_publish(f->ch, &silent, NULL, NULL), 3);
    assert_int_equal(publish(f, "", queue, false, "c"), 4);
    expect_events(f, "a #1 confirmed", "b #2 confirmed", "c #4 confirmed");
}

/* ---------------------------------------------------------------- nacked and returned */

static void a_full_queue_nacks(void **state) {
    struct fixture *f = *state;
    const char *queue =
        new_queue_with(f, LAGO_TABLE(LAGO_FIELD_I32("x-max-length", 1), LAGO_FIELD_STR("x-overflow", "reject-publish")));
    select_confirms(f);
    assert_int_equal(publish(f, "", queue, false, "first"), 1);
    expect_events(f, "first #1 confirmed");
    assert_int_equal(publish(f, "", queue, false, "second"), 2);
    expect_events(f, "second #2 nacked");
    assert_int_equal(publish(f, "", queue, false, "third"), 3);
    assert_int_equal(publish(f, "", queue, true, "fourth"), 4);
    expect_events(f, "third #3 nacked", "fourth #4 nacked");
    expect_length(f, queue, 1);
}

/* X18: the return comes first, and its outcome with the ack that follows. */
static void a_return_is_told_at_its_ack(void **state) {
    struct fixture *f = *state;
    select_confirms(f);
    assert_int_equal(publish(f, "", "lago.nowhere", true, "m"), 1);
    expect_events(f, "return 312 x", "m #1 returned");
    assert_int_equal(publish(f, "", "lago.nowhere", false, "n"), 2);
    expect_events(f, "n #2 confirmed"); /* dropped, and nobody wanted to know */
}

/* Messages that look the same: the binding comes and goes between them, so some are routed and some are not. */
static void returns_among_identical_ones(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_queue_bind_t binding = { .queue = queue, .exchange = "amq.direct", .routing_key = "same" };
    select_confirms(f);
    publish(f, "amq.direct", "same", true, "a");
    lago_queue_bind(f->ch, &binding, NULL, NULL);
    publish(f, "amq.direct", "same", true, "b");
    publish(f, "amq.direct", "same", false, "c");
    lago_queue_unbind(f->ch, &binding, NULL, NULL);
    publish(f, "amq.direct", "same", false, "d");
    publish(f, "amq.direct", "other", true, "e");
    publish(f, "amq.direct", "same", true, "f");
    run_until(f, f->event_count == 9);
    assert_true(has_event(f, "a #1 returned") && has_event(f, "e #5 returned"));
    assert_true(has_event(f, "c #3 confirmed") && has_event(f, "d #4 confirmed"));
    size_t returned = 0;
    for (size_t i = 0; i < f->event_count; i++) returned += strstr(f->events[i], "returned") != NULL;
    assert_int_equal(returned, 3); /* b, f: the wire does not tell identical ones apart, but one of them it is */
    assert_true(has_event(f, "b #2 confirmed") != has_event(f, "b #2 returned"));
    forget_events(f);
}

static void a_return_tied_to_the_right_one(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_queue_bind_t binding = { .queue = queue, .exchange = "amq.direct", .routing_key = "same" };
    select_confirms(f);
    lago_queue_bind(f->ch, &binding, NULL, NULL);
    assert_int_equal(publish(f, "amq.direct", "same", true, "routed"), 1);
    expect_events(f, "routed #1 confirmed");
    lago_queue_unbind(f->ch, &binding, NULL, NULL);
    for (int i = 0; i < 3; i++) publish(f, "amq.direct", "same", true, "lost");
    run_until(f, f->event_count == 6);
    assert_true(has_event(f, "lost #2 returned") && has_event(f, "lost #3 returned") && has_event(f, "lost #4 returned"));
    forget_events(f);
}

/* ---------------------------------------------------------------- ends */

static void a_missing_exchange_leaves_no_outcome_open(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    assert_int_equal(publish(f, "", queue, false, "good"), 1);
    expect_events(f, "good #1 confirmed");
    assert_int_equal(publish(f, "lago.missing", "k", false, "a"), 2);
    assert_int_equal(publish(f, "", queue, false, "b"), 3);
    expect_events(f, "a #2 unknown", "b #3 unknown", "channel 1 close 404");
    assert_int_equal(f->reason.class_id, 60);
    assert_int_equal(f->reason.method_id, 40);
    assert_int_equal(lago_channel_unconfirmed_count(f->ch), 0);
}

static void what_never_left_is_not_sent(void **state) {
    struct fixture *f = *state;
    f->parameters->virtual_host = "nowhere";
    connect_now(f);
    lago_channel_options_t options = channel_options();
    assert_int_equal(lago_channel_open(f->conn, &options, &f->ch), 0);
    lago_confirm_select(f->ch, NULL, on_done, label("select"));
    assert_int_equal(publish(f, "", "q", false, "a"), 1);
    assert_int_equal(publish(f, "", "q", false, "b"), 2);
    expect_events(f, "select 530", "a #1 not sent", "b #2 not sent", "channel 1 open 530", "open error 530");
}

static void an_abort_makes_them_unknown_or_not_sent(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    publish(f, "", queue, false, "a");
    assert_int_equal(lago_connection_abort(f->conn), 0);
    expect_events(f, "a #1 not sent", "channel 1 close ECLOSED", "close ECLOSED");
}

static void close_awaits_confirms(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    publish(f, "", queue, false, "a");
    publish(f, "", queue, false, "b");
    assert_int_equal(lago_channel_close(f->ch, NULL), 0);
    expect_events(f, "a #1 confirmed", "b #2 confirmed", "channel 1 close ECLOSED");
    f->ch = open_channel(f);
    select_confirms(f);
    publish(f, "", queue, false, "c");
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    expect_events(f, "c #1 confirmed", "channel 1 close ECLOSED", "close ECLOSED");
}

static void close_need_not_await_them(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    publish(f, "", queue, false, "a");
    assert_int_equal(lago_channel_close(f->ch, &(lago_close_t){ .no_await_confirms = true }), 0);
    expect_events(f, "a #1 unknown", "channel 1 close ECLOSED"); /* what follows channel.close is discarded (1.5.2.5) */
    f->ch = open_channel(f);
    expect_length(f, queue, 1);
}

static void free_forgets_them(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    for (int i = 0; i < 100; i++) publish(f, "", queue, false, "never");
    lago_channel_free(f->ch);
    f->ch = open_channel(f);
    expect_length(f, queue, 100); /* what was accepted left all the same */
    assert_int_equal(f->event_count, 0);
}

/* A callback that publishes: the next one when one is confirmed. */
static void on_next(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    lago_basic_publish_t args = { .routing_key = data };
    assert_int_equal(result->outcome, LAGO_PUBLISH_CONFIRMED);
    record(fixture_of(ch), "#%u", (unsigned)result->sequence_number);
    if (result->sequence_number < 5)
        assert_int_equal(lago_basic_publish(ch, &args, on_next, data), result->sequence_number + 1);
    else
        assert_int_equal(lago_channel_close(ch, NULL), 0);
}

static void each_publishes_the_next(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    select_confirms(f);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .routing_key = queue }, on_next, label(queue)), 1);
    expect_events(f, "#1", "#2", "#3", "#4", "#5", "channel 1 close ECLOSED");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(twenty_thousand_each_once, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(numbers_count_from_the_select, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_nacks, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_return_is_told_at_its_ack, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(returns_among_identical_ones, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_return_tied_to_the_right_one, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_missing_exchange_leaves_no_outcome_open, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(what_never_left_is_not_sent, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(an_abort_makes_them_unknown_or_not_sent, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(close_awaits_confirms, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(close_need_not_await_them, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(free_forgets_them, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(each_publishes_the_next, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
