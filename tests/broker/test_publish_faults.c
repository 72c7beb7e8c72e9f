/*
 * Publishing to a node that is killed: what it confirmed is there when it comes back, what was not sent is not, and each publish has
 * one outcome (tests/FAULTS.md F72, F78, F84, F89). It is a node of the test's own.
 */
#include "fixture.h"
#include "own_node.h"

#define PUBLISHES_MAX 200000u
#define WINDOW        300u

/* What became of each, by its number from 1, and how often it was found again. */
static struct ledger {
    uint8_t outcome[PUBLISHES_MAX + 1]; /* + 1; 0: not told */
    uint8_t found[PUBLISHES_MAX + 1];
    uint64_t accepted, told, confirmed, found_count, confirmed_missing;
    const char *queue;
    bool out_of_order, stop;
} ledger;

static struct ledger *const l = &ledger;

static void on_ledger_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data);

static void pour(lago_channel_t *ch) {
    lago_properties_t persistent = { .delivery_mode = 2 };
    while (!l->stop && l->accepted < PUBLISHES_MAX && l->accepted - l->told < WINDOW) {
        uint64_t number = l->accepted + 1;
        lago_basic_publish_t args = { .routing_key = l->queue, .properties = &persistent, .body = { &number, sizeof number } };
        int64_t rc = lago_basic_publish(ch, &args, on_ledger_outcome, NULL);
        if (rc < 0) return;
        assert_true(rc == (int64_t)number);
        l->accepted = number;
    }
}

static void on_ledger_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)data;
    assert_in_range(result->sequence_number, 1, l->accepted);
    assert_int_equal(l->outcome[result->sequence_number], 0); /* exactly one each */
    l->outcome[result->sequence_number] = (uint8_t)(result->outcome + 1);
    l->told++;
    l->confirmed += result->outcome == LAGO_PUBLISH_CONFIRMED;
    if (result->reason) l->out_of_order = l->out_of_order || l->outcome[result->sequence_number - 1] == 0;
    if (!result->reason) pour(ch);
}

static uint64_t count_of(lago_publish_outcome_t outcome) {
    uint64_t count = 0;
    for (uint64_t n = 1; n <= l->accepted; n++) count += l->outcome[n] == outcome + 1;
    return count;
}

/* ---------------------------------------------------------------- the node comes back */

static void connect_again(struct fixture *f) {
    lago_connection_free(f->conn);
    f->opened = f->closed = false;
    f->parameters->connection_attempts = 100000;
    f->parameters->retry_delay_ms = 20;
    connect_now(f);
    run_until(f, f->opened);
    forget_events(f);
    f->ch = open_channel(f);
}

static void on_found(lago_channel_t *ch, const lago_message_t *message, void *data) {
    uint64_t number;
    (void)ch, (void)data;
    assert_int_equal(message->body.size, sizeof number);
    memcpy(&number, message->body.data, sizeof number);
    assert_in_range(number, 1, l->accepted);
    assert_int_equal(l->found[number]++, 0); /* nothing was sent twice */
    l->found_count++;
    l->confirmed_missing -= l->outcome[number] == LAGO_PUBLISH_CONFIRMED + 1;
}

/* All that is in the queue; all that was confirmed is. */
static void drain(struct fixture *f) {
    lago_basic_consume_t args = { .queue = l->queue, .auto_ack = true, .on_message = on_found };
    l->confirmed_missing = l->confirmed;
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
    expect_events(f, "consume ok");
    run_until(f, l->confirmed_missing == 0);
    do { /* and what else may be there */
        sync_channel(f);
        lago_queue_declare_t look = { .queue = l->queue, .passive = true };
        assert_int_equal(lago_queue_declare(f->ch, &look, on_declared, label("look")), 0);
        expect_events(f, "look ok");
    } while (f->declared.message_count > 0);
    sync_channel(f);
    for (uint64_t n = 1; n <= l->accepted; n++) assert_false(l->found[n] && l->outcome[n] == LAGO_PUBLISH_NOT_SENT + 1);
}

/*
 * What was declared a moment ago is forgotten by a node that is killed: RabbitMQ answers before its tables are on the disk. A classic
 * queue is gone then, and a quorum queue comes back empty and without a leader.
 */
static void let_the_node_save_its_tables(struct fixture *f) {
    broker_eval(f, "mnesia:sync_log(), [ok = dets:sync(Table) || Table <- dets:all()].");
}

static void begin(struct fixture *f, const char *type) {
    memset(l, 0, sizeof *l);
    l->queue = queue_name(f);
    lago_queue_declare_t declare = { .queue = l->queue,
                                     .durable = true,
                                     .arguments = LAGO_TABLE(LAGO_FIELD_STR("x-queue-type", type)) };
    assert_int_equal(lago_queue_declare(f->ch, &declare, on_declared, label("declare")), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "declare ok", "select ok");
    let_the_node_save_its_tables(f);
}

static void expect_the_end(struct fixture *f) {
    expect_events(f, "channel 1 close ELOST", "close ELOST"); /* behind all outcomes, and nothing else */
    assert_int_equal(l->told, l->accepted);
    assert_false(l->out_of_order);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .routing_key = l->queue }, NULL, NULL), LAGO_ECLOSED);
}

/* ---------------------------------------------------------------- F72, F78 */

static void killed_between_publish_and_ack(struct fixture *f, const char *type) {
    begin(f, type);
    pour(f->ch);
    run_until(f, l->confirmed >= 1000);
    broker(f, "kill9"); /* the loop runs meanwhile, and the stream goes on */
    expect_the_end(f);
    assert_in_range(l->accepted - l->confirmed, 1, WINDOW);
    assert_int_equal(l->confirmed + count_of(LAGO_PUBLISH_UNKNOWN) + count_of(LAGO_PUBLISH_NOT_SENT), l->accepted);
    broker(f, "up");
    connect_again(f);
    drain(f);
    print_message("%s: %u accepted, %u confirmed, %u unknown, %u not sent; %u found again\n", type, (unsigned)l->accepted,
                  (unsigned)l->confirmed, (unsigned)count_of(LAGO_PUBLISH_UNKNOWN), (unsigned)count_of(LAGO_PUBLISH_NOT_SENT),
                  (unsigned)l->found_count);
}

static void a_killed_node_keeps_what_it_confirmed(void **state) { killed_between_publish_and_ack(*state, "classic"); }

static void so_does_its_quorum_queue(void **state) { killed_between_publish_and_ack(*state, "quorum"); }

/* ---------------------------------------------------------------- F89 */

static void what_a_block_held_never_left(void **state) {
    struct fixture *f = *state;
    begin(f, "classic");
    l->stop = true;
    broker_alarm(f, true);
    publish_text(f, "lago.nowhere", "x");
    expect_events(f, "blocked: low on memory");
    l->stop = false;
    l->told = l->accepted = 1; /* that one; nobody asked what became of it */
    l->outcome[1] = LAGO_PUBLISH_CONFIRMED + 1;
    pour(f->ch);
    assert_int_equal(l->accepted, WINDOW + 1);
    broker(f, "kill9");
    expect_the_end(f);
    assert_int_equal(count_of(LAGO_PUBLISH_NOT_SENT), WINDOW);
    broker(f, "up");
    connect_again(f);
    drain(f);
    assert_int_equal(l->found_count, 0);
}

/* ---------------------------------------------------------------- F84 */

/* One of them goes where there is nothing: what was confirmed before stays so, what came behind it did not happen. */
static void a_missing_exchange_stops_the_stream(void **state) {
    struct fixture *f = *state;
    lago_channel_t *other = open_channel(f);
    begin(f, "classic");
    pour(f->ch);
    run_until(f, l->confirmed >= 1000);
    lago_basic_publish_t lost = { .exchange = "lago.missing" };
    int64_t number = lago_basic_publish(f->ch, &lost, on_ledger_outcome, NULL);
    assert_true(number == (int64_t)++l->accepted);
    pour(f->ch); /* and some behind it */
    expect_events(f, "channel 1 close 404");
    assert_int_equal(l->told, l->accepted);
    assert_false(l->out_of_order);
    assert_int_equal(l->outcome[number], LAGO_PUBLISH_UNKNOWN + 1);
    assert_int_equal(count_of(LAGO_PUBLISH_NACKED), 0);
    f->ch = other; /* the others live, and a new one counts from 1 */
    sync_channel(f);
    drain(f);
    for (uint64_t n = (uint64_t)number; n <= l->accepted; n++) assert_int_equal(l->found[n], 0);
    f->ch = open_channel(f);
    assert_int_equal(lago_channel_number(f->ch), 1);
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    lago_basic_publish_t again = { .routing_key = "lago.nowhere" };
    assert_int_equal(lago_basic_publish(f->ch, &again, on_outcome, label("again")), 1);
    expect_events(f, "again #1 confirmed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_killed_node_keeps_what_it_confirmed, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(so_does_its_quorum_queue, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(what_a_block_held_never_left, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_missing_exchange_stops_the_stream, setup_channel, teardown),
    };
    if (!own_node_is_possible()) return 77;
    return cmocka_run_group_tests_name("broker/publish_faults", tests, own_node_start, own_node_stop);
}
