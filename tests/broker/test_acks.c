/*
 * Acknowledgements: what the broker makes of them is seen in redeliveries; a tag that is not open is refused here, because the
 * broker would close the channel (406) for it. That nothing was sent shows in a channel that stays open.
 */
#include "fixture.h"

/* A queue with messages "1" to "COUNT", all of them delivered and unacknowledged. */
static const char *deliver(struct fixture *f, int count) {
    const char *queue = new_queue(f);
    char text[8];
    for (int i = 1; i <= count; i++) {
        snprintf(text, sizeof text, "%d", i);
        publish_text(f, queue, text);
    }
    lago_basic_consume_t args = { .queue = queue, .consumer_tag = "c", .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
    run_until(f, f->tag_count == (size_t)count);
    forget_events(f);
    return queue;
}

static void still_open(struct fixture *f) {
    sync_channel(f);
    assert_int_equal(lago_channel_state(f->ch), LAGO_CHANNEL_OPEN);
    assert_int_equal(f->event_count, 0);
}

static void acked_ones_are_gone(void **state) {
    struct fixture *f = *state;
    const char *queue = deliver(f, 3);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[1], 0), 0);
    assert_int_equal(lago_channel_unacked_count(f->ch), 2);
    sync_channel(f);
    lago_channel_close(f->ch, NULL);
    expect_events(f, "channel 1 close ECLOSED");
    f->ch = open_channel(f);
    expect_length(f, queue, 2); /* the others came back when their channel closed */
    for (int i = 0; i < 2; i++) lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get"));
    expect_events(f, "got 1 again", "got 3 again");
}

static void acked_up_to_one(void **state) {
    struct fixture *f = *state;
    const char *queue = deliver(f, 4);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[2], LAGO_MULTIPLE), 0);
    assert_int_equal(lago_channel_unacked_count(f->ch), 1);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_nack(f->ch, f->tags[3], 0), 0);
    expect_events(f, "got 4 again");
    assert_int_equal(lago_basic_ack(f->ch, 0, LAGO_MULTIPLE), 0); /* 0: all */
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
    still_open(f);
    expect_length(f, queue, 0);
}

static void nacked_ones_come_again(void **state) {
    struct fixture *f = *state;
    const char *queue = deliver(f, 3);
    assert_int_equal(lago_basic_nack(f->ch, f->tags[1], LAGO_MULTIPLE), 0);
    expect_events(f, "got 1 again", "got 2 again");
    assert_int_equal(lago_channel_unacked_count(f->ch), 3);
    assert_int_equal(lago_basic_nack(f->ch, 0, LAGO_MULTIPLE | LAGO_NO_REQUEUE), 0);
    still_open(f);
    expect_length(f, queue, 0);
}

static void rejected_ones_come_again_or_go(void **state) {
    struct fixture *f = *state;
    const char *queue = deliver(f, 2);
    assert_int_equal(lago_basic_reject(f->ch, f->tags[0], 0), 0);
    expect_events(f, "got 1 again");
    assert_int_equal(lago_basic_reject(f->ch, f->tags[1], LAGO_NO_REQUEUE), 0);
    assert_int_equal(lago_basic_reject(f->ch, f->tags[2], LAGO_NO_REQUEUE), 0);
    still_open(f);
    expect_length(f, queue, 0);
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
}

static void a_rejected_one_is_dead_lettered(void **state) {
    struct fixture *f = *state;
    const char *dead = new_queue(f);
    const char *queue = new_queue_with(
        f, LAGO_TABLE(LAGO_FIELD_STR("x-dead-letter-exchange", ""), LAGO_FIELD_STR("x-dead-letter-routing-key", dead)));
    publish_text(f, queue, "x");
    expect_length(f, queue, 1);
    lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get"));
    expect_events(f, "got x");
    assert_int_equal(lago_basic_reject(f->ch, f->tags[0], LAGO_NO_REQUEUE), 0);
    expect_length(f, dead, 1);
}

/* ---------------------------------------------------------------- stale tags */

static void a_second_ack_is_stale(void **state) {
    struct fixture *f = *state;
    deliver(f, 2);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_nack(f->ch, f->tags[0], 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_reject(f->ch, f->tags[0], 0), LAGO_ESTALE);
    assert_int_equal(lago_channel_error(f->ch), 0);
    still_open(f);
}

static void a_tag_never_delivered_is_stale(void **state) {
    struct fixture *f = *state;
    deliver(f, 1);
    uint64_t sent = lago_connection_counters(f->conn).frames_sent;
    assert_int_equal(lago_basic_ack(f->ch, 0, 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0] + 1, 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_ack(f->ch, UINT64_MAX, 0), LAGO_ESTALE);
    assert_int_equal(lago_connection_counters(f->conn).frames_sent, sent);
    still_open(f);
}

static void a_tag_of_another_channel_is_stale(void **state) {
    struct fixture *f = *state;
    deliver(f, 1);
    lago_channel_t *consuming = f->ch;
    f->ch = open_channel(f);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_nack(f->ch, f->tags[0], LAGO_MULTIPLE), LAGO_ESTALE);
    still_open(f);
    f->ch = consuming;
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    still_open(f);
}

static void a_tag_of_an_auto_ack_consumer_is_stale(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_basic_consume_t args = { .queue = queue, .auto_ack = true, .on_message = on_message };
    publish_text(f, queue, "x");
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "got x");
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], LAGO_MULTIPLE), LAGO_ESTALE);
    assert_int_equal(lago_basic_ack(f->ch, 0, LAGO_MULTIPLE), LAGO_ESTALE);
    still_open(f);
}

/* RabbitMQ 3.10 closes the channel for `multiple` with a tag that is settled itself, even if lower ones are open. */
static void multiple_with_a_settled_tag_settles_the_lower_ones(void **state) {
    struct fixture *f = *state;
    const char *queue = deliver(f, 5);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[2], 0), 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[2], LAGO_MULTIPLE), 0);
    assert_int_equal(lago_channel_unacked_count(f->ch), 2);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[2], LAGO_MULTIPLE), LAGO_ESTALE);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[4], 0), 0);
    assert_int_equal(lago_basic_nack(f->ch, f->tags[4], LAGO_MULTIPLE), 0);
    expect_events(f, "got 4 again");
    assert_int_equal(lago_basic_ack(f->ch, UINT64_MAX, LAGO_MULTIPLE), 0);
    still_open(f);
    expect_length(f, queue, 0);
}

static void foreign_flags_are_refused(void **state) {
    struct fixture *f = *state;
    deliver(f, 1);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], LAGO_NO_REQUEUE), LAGO_EINVAL);
    assert_int_equal(lago_basic_reject(f->ch, f->tags[0], LAGO_MULTIPLE), LAGO_EINVAL);
    assert_int_equal(lago_basic_nack(f->ch, f->tags[0], 4), LAGO_EINVAL);
    assert_int_equal(lago_channel_unacked_count(f->ch), 1);
    still_open(f);
}

static void acks_are_taken_until_the_channel_has_ended(void **state) {
    struct fixture *f = *state;
    deliver(f, 1);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    expect_events(f, "channel 1 close ECLOSED", "close ECLOSED");
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), LAGO_ECLOSED);
}

/* ---------------------------------------------------------------- recover */

static void recover_gives_all_back(void **state) {
    struct fixture *f = *state;
    deliver(f, 2);
    assert_int_equal(lago_basic_recover(f->ch, NULL, on_done, label("recover")), 0);
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), LAGO_ESTALE);
    run_until(f, f->event_count == 3);
    assert_true(has_event(f, "recover ok"));
    assert_true(has_event(f, "got 1 again"));
    assert_true(has_event(f, "got 2 again"));
    forget_events(f);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[3], LAGO_MULTIPLE), 0);
    assert_int_equal(lago_basic_recover(f->ch, NULL, NULL, NULL), 0);
    still_open(f);
}

static void recover_without_requeue_is_refused(void **state) {
    struct fixture *f = *state;
    lago_basic_recover_t args = { .no_requeue = true };
    assert_int_equal(lago_basic_recover(f->ch, &args, on_done, label("recover")), 0);
    expect_events(f, "recover 540", "channel 1 close 540", "close 540");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(acked_ones_are_gone, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(acked_up_to_one, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(nacked_ones_come_again, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(rejected_ones_come_again_or_go, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_rejected_one_is_dead_lettered, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_second_ack_is_stale, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_tag_never_delivered_is_stale, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_tag_of_another_channel_is_stale, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_tag_of_an_auto_ack_consumer_is_stale, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(multiple_with_a_settled_tag_settles_the_lower_ones, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(foreign_flags_are_refused, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(acks_are_taken_until_the_channel_has_ended, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(recover_gives_all_back, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(recover_without_requeue_is_refused, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
