/* Transactions (1.9): what is published and acknowledged counts when it is committed. */
#include "fixture.h"

static void select_transactions(struct fixture *f) {
    assert_int_equal(lago_tx_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "select ok");
}

static void publishes_count_when_committed(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_channel_t *transactional = f->ch, *other = open_channel(f);
    select_transactions(f);
    publish_text(f, queue, "one");
    sync_channel(f);
    f->ch = other;
    expect_length(f, queue, 0);
    f->ch = transactional;
    assert_int_equal(lago_tx_commit(f->ch, NULL, on_done, label("commit")), 0);
    expect_events(f, "commit ok");
    expect_length(f, queue, 1);
    publish_text(f, queue, "two");
    assert_int_equal(lago_tx_rollback(f->ch, NULL, on_done, label("rollback")), 0);
    expect_events(f, "rollback ok");
    assert_int_equal(lago_tx_commit(f->ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_tx_rollback(f->ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_tx_select(f->ch, NULL, NULL, NULL), 0);
    expect_length(f, queue, 1);
}

static void acks_count_when_committed(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    publish_text(f, queue, "one");
    select_transactions(f);
    assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get")), 0);
    expect_events(f, "got one");
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    assert_int_equal(lago_tx_rollback(f->ch, NULL, on_done, label("rollback")), 0);
    expect_events(f, "rollback ok");
    assert_int_equal(lago_channel_close(f->ch, NULL), 0);
    expect_events(f, "channel 1 close ECLOSED");
    f->ch = open_channel(f);
    expect_length(f, queue, 1); /* the ack was rolled back */
}

static void commit_needs_select(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_tx_commit(f->ch, NULL, on_done, label("commit")), 0);
    expect_events(f, "commit 406", "channel 1 close 406");
    assert_int_equal(f->reason.class_id, 90);
    assert_int_equal(f->reason.method_id, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(publishes_count_when_committed, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(acks_count_when_committed, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(commit_needs_select, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
