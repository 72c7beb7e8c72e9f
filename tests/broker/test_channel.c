/* Channels: numbers, order, ends, and the rules that hold for every operation. */
#include "fixture.h"

/* Longer than a shortstr can be. */
static const char *too_long(void) {
    static char text[257];
    memset(text, 'x', 256);
    return text;
}

/* ---------------------------------------------------------------- numbers and lives */

static void the_lowest_free_number_is_taken(void **state) {
    struct fixture *f = *state;
    lago_channel_t *two = open_channel(f), *three = open_channel(f);
    assert_int_equal(lago_channel_number(f->ch), 1);
    assert_int_equal(lago_channel_number(two), 2);
    assert_int_equal(lago_channel_number(three), 3);
    assert_int_equal(lago_channel_close(two, NULL), 0);
    lago_channel_t *four = open_channel(f); /* close-ok of 2 may or may not have come */
    run_until(f, lago_channel_state(two) == LAGO_CHANNEL_CLOSED);
    lago_channel_t *next = open_channel(f);
    assert_true(lago_channel_number(four) == 4 ? lago_channel_number(next) == 2 : lago_channel_number(next) == 4);
    assert_ptr_equal(lago_channel_connection(next), f->conn);
}

static void opens_before_the_connection_does(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    lago_channel_t *one, *two;
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &one), 0);
    assert_int_equal(lago_channel_open(f->conn, &options, &two), 0);
    assert_int_equal(lago_channel_state(one), LAGO_CHANNEL_OPENING);
    assert_int_equal(lago_basic_qos(one, NULL, on_done, label("qos one")), 0);
    assert_int_equal(lago_channel_close(two, NULL), 0);
    run_until(f, f->event_count == 4);
    assert_string_equal(f->events[0], "open");
    assert_string_equal(f->events[1], "channel 1 open ok");
    assert_true(has_event(f, "qos one ok"));
    assert_true(has_event(f, "channel 2 open ECLOSED"));
    forget_events(f);
}

static void a_channel_of_a_connection_that_never_opens(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    f->parameters->virtual_host = "nowhere";
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &f->ch), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("qos")), 0);
    expect_events(f, "qos 530", "channel 1 open 530", "open error 530");
}

/* After channel.close the peer's answers are discarded (1.5.2.5), so it waits for the answers to what was asked before. */
static void close_leaves_behind_what_was_asked_before(void **state) {
    struct fixture *f = *state;
    const char *queue = queue_name(f);
    lago_channel_t *other = open_channel(f);
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, on_declared, label("declare")), 0);
    publish_text(f, queue, "one");
    publish_text(f, queue, "two");
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("qos")), 0);
    assert_int_equal(lago_channel_close(f->ch, &(lago_close_t){ .reply_code = 200, .reply_text = "done" }), 0);
    assert_int_equal(lago_channel_close(f->ch, NULL), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("late")), LAGO_ECLOSED);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .routing_key = queue }, NULL, NULL), LAGO_ECLOSED);
    expect_events(f, "declare ok", "qos ok", "channel 1 close ECLOSED");
    assert_int_equal(f->reason.origin, LAGO_BY_CLIENT);
    assert_int_equal(lago_channel_close(f->ch, NULL), LAGO_ECLOSED);
    f->ch = other;
    expect_length(f, queue, 2);
}

/* X13: pika drops what waits behind an error. */
static void an_error_completes_all_that_waits_behind_it(void **state) {
    struct fixture *f = *state;
    lago_channel_t *other = open_channel(f);
    lago_queue_declare_t missing = { .queue = "lago.missing", .passive = true };
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("before")), 0);
    assert_int_equal(lago_queue_declare(f->ch, &missing, on_declared, label("declare")), 0);
    assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = "lago.missing" }, on_got, label("get")), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("behind")), 0);
    expect_events(f, "before ok", "declare 404", "get 404", "behind 404", "channel 1 close 404");
    assert_int_equal(f->reason.code, LAGO_ECHANNEL);
    assert_int_equal(f->reason.origin, LAGO_BY_BROKER);
    assert_int_equal(f->reason.class_id, 50);
    assert_int_equal(f->reason.method_id, 10);
    assert_non_null(strstr(f->reason.reply_text, "lago.missing"));
    assert_int_equal(lago_channel_state(f->ch), LAGO_CHANNEL_CLOSED);
    f->ch = other;
    sync_channel(f);
    f->ch = open_channel(f);
    assert_int_equal(lago_channel_number(f->ch), 1); /* the number is free again, and works */
    sync_channel(f);
}

static void on_free_data(void *data) { ++*(int *)data; }

static void free_takes_the_callbacks_along(void **state) {
    struct fixture *f = *state;
    int freed = 0;
    lago_channel_options_t options = channel_options();
    options.data = &freed;
    options.free_data = on_free_data;
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(f->conn, &options, &ch), 0);
    assert_int_equal(lago_basic_qos(ch, NULL, on_done, label("never")), 0);
    lago_channel_free(ch);
    assert_int_equal(freed, 1);
    assert_int_equal(lago_channel_open(f->conn, &options, &ch), 0);
    run_until(f, lago_channel_state(ch) == LAGO_CHANNEL_OPEN);
    forget_events(f);
    assert_ptr_equal(lago_channel_data(ch), &freed);
    lago_channel_free(ch);
    assert_int_equal(freed, 2);
    sync_channel(f);
    assert_int_equal(f->event_count, 0);
    lago_channel_free(NULL);
}

/* The handle of an ended channel may be freed when another channel has its number. */
static void an_old_handle_is_freed_late(void **state) {
    struct fixture *f = *state;
    lago_channel_t *old = f->ch;
    assert_int_equal(lago_channel_close(old, NULL), 0);
    expect_events(f, "channel 1 close ECLOSED");
    f->ch = open_channel(f);
    assert_int_equal(lago_channel_number(f->ch), lago_channel_number(old));
    lago_channel_free(old);
    sync_channel(f);
}

static void an_end_that_nobody_handles_is_one_line(void **state) {
    struct fixture *f = *state;
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(f->conn, NULL, &ch), 0);
    lago_queue_purge(ch, &(lago_queue_purge_t){ .queue = "lago.missing" }, NULL, NULL);
    run_until(f, lago_channel_state(ch) == LAGO_CHANNEL_CLOSED && f->log_count > 0);
    sync_channel(f);
    assert_int_equal(f->log_count, 1);
    assert_non_null(strstr(f->log[0], "404"));
    assert_non_null(strstr(f->log[0], "lago.missing"));
    assert_int_equal(f->event_count, 0);
}

/* ---------------------------------------------------------------- operations of the channel itself */

static void flow_is_granted_and_stopping_is_refused(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_channel_flow(f->ch, &(lago_channel_flow_t){ .active = true }, on_flow_ok, label("flow")), 0);
    assert_int_equal(lago_channel_flow(f->ch, &(lago_channel_flow_t){ .active = true }, NULL, NULL), 0);
    expect_events(f, "flow ok");
    assert_int_equal(lago_channel_flow(f->ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_flow(f->ch, &(lago_channel_flow_t){ .active = false }, on_flow_ok, label("stop")), 0);
    expect_events(f, "stop 540", "channel 1 close 540", "close 540");
}

static void confirm_select_in_all_ways(void **state) {
    struct fixture *f = *state;
    lago_confirm_select_t no_wait = { .no_wait = true };
    assert_int_equal(lago_confirm_select(f->ch, &no_wait, on_done, label("no")), LAGO_EINVAL);
    assert_int_equal(lago_confirm_select(f->ch, &no_wait, NULL, NULL), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "select ok");
    const char *queue = new_queue(f);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .routing_key = queue }, on_outcome, label("p")), 1);
    expect_events(f, "p #1 confirmed");
}

static void confirms_and_transactions_exclude_each_other(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_tx_select(f->ch, NULL, on_done, label("tx")), 0);
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("confirm")), 0);
    expect_events(f, "tx ok", "confirm 406", "channel 1 close 406");
}

/* ---------------------------------------------------------------- calls that do nothing */

static void the_first_failed_call_is_remembered(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_channel_error(f->ch), 0);
    assert_int_equal(lago_basic_ack(f->ch, 7, 0), LAGO_ESTALE);
    assert_int_equal(lago_channel_error(f->ch), 0);
    lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = too_long() }, NULL, NULL);
    lago_exchange_declare(f->ch, NULL, NULL, NULL);
    assert_int_equal(lago_channel_error(f->ch), LAGO_ETOOLONG);
    sync_channel(f);
    assert_int_equal(lago_channel_state(f->ch), LAGO_CHANNEL_OPEN);
}

static void a_callback_for_an_answer_that_never_comes_is_refused(void **state) {
    struct fixture *f = *state;
    lago_channel_t *ch = f->ch;
    assert_int_equal(lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q", .no_wait = true }, on_declared, f),
                     LAGO_EINVAL);
    assert_int_equal(lago_queue_declare(ch, &(lago_queue_declare_t){ .no_wait = true }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_bind(ch, &(lago_queue_bind_t){ .exchange = "e", .no_wait = true }, on_done, f), LAGO_EINVAL);
    assert_int_equal(lago_queue_unbind(ch, &(lago_queue_bind_t){ .exchange = "e", .no_wait = true }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_purge(ch, &(lago_queue_purge_t){ .no_wait = true }, on_count, f), LAGO_EINVAL);
    assert_int_equal(lago_queue_delete(ch, &(lago_queue_delete_t){ .no_wait = true }, on_count, f), LAGO_EINVAL);
    lago_exchange_declare_t declare = { .exchange = "e", .no_wait = true };
    assert_int_equal(lago_exchange_declare(ch, &declare, on_done, f), LAGO_EINVAL);
    assert_int_equal(lago_exchange_delete(ch, &(lago_exchange_delete_t){ .exchange = "e", .no_wait = true }, on_done, f),
                     LAGO_EINVAL);
    lago_exchange_bind_t bind = { .destination = "d", .source = "s", .no_wait = true };
    assert_int_equal(lago_exchange_bind(ch, &bind, on_done, f), LAGO_EINVAL);
    assert_int_equal(lago_exchange_unbind(ch, &bind, on_done, f), LAGO_EINVAL);
    lago_basic_consume_t consume = { .queue = "q", .no_wait = true, .on_message = on_message };
    assert_int_equal(lago_basic_consume(ch, &consume, on_consumer, f), LAGO_EINVAL);
    sync_channel(f);
    assert_int_equal(f->event_count, 0);
}

/* `reserved` is for what later versions may ask: an older one must not ignore it. */
static void reserved_must_be_zero(void **state) {
    struct fixture *f = *state;
    lago_channel_t *ch = f->ch;
    lago_queue_declare_t declare = { .reserved = { 1 } };
    lago_exchange_declare_t exchange = { .exchange = "e", .reserved = { 1 } };
    lago_basic_qos_t qos = { .reserved = { 0, 1 } };
    lago_basic_consume_t consume = { .queue = "q", .on_message = on_message, .reserved = { 1 } };
    lago_basic_cancel_t cancel = { .consumer_tag = "c", .reserved = { 1 } };
    lago_basic_get_t get = { .queue = "q", .reserved = { 0, 0, 0, 1 } };
    lago_basic_recover_t recover = { .reserved = { 1 } };
    lago_basic_publish_t publish = { .reserved = { 1 } };
    lago_channel_options_t options = { .reserved = { 1 } };
    lago_channel_t *none;
    assert_int_equal(lago_queue_declare(ch, &declare, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_declare(ch, &exchange, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_qos(ch, &qos, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_consume(ch, &consume, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_cancel(ch, &cancel, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_get(ch, &get, on_got, f), LAGO_EINVAL);
    assert_int_equal(lago_basic_recover(ch, &recover, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_publish(ch, &publish, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_open(f->conn, &options, &none), LAGO_EINVAL);
    sync_channel(f);
}

static void null_handles_are_refused(void **state) {
    (void)state;
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(NULL, NULL, &ch), LAGO_EINVAL);
    assert_int_equal(lago_channel_close(NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_declare(NULL, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_qos(NULL, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_ack(NULL, 1, 0), LAGO_EINVAL);
    assert_int_equal(lago_basic_publish(NULL, &(lago_basic_publish_t){ .mandatory = true }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_number(NULL), 0);
    assert_null(lago_channel_reason(NULL));
}

static void a_deadline_ends_an_operation_and_its_late_answer_is_swallowed(void **state) {
    struct fixture *f = *state;
    lago_queue_declare_t args = { .exclusive = true, .timeout_ms = 1 };
    unsigned timed_out = 0;
    for (unsigned i = 0; i < 200; i++) assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    run_until(f, f->event_count == 200);
    for (unsigned i = 0; i < 200; i++) timed_out += strcmp(f->events[i], "declare ETIMEDOUT") == 0;
    assert_in_range(timed_out, 100, 200); /* 200 declares take a broker longer than 1 ms */
    forget_events(f);
    sync_channel(f);
    assert_int_equal(f->event_count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_lowest_free_number_is_taken, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(opens_before_the_connection_does, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_channel_of_a_connection_that_never_opens, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(close_leaves_behind_what_was_asked_before, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_error_completes_all_that_waits_behind_it, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(free_takes_the_callbacks_along, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_old_handle_is_freed_late, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_end_that_nobody_handles_is_one_line, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(flow_is_granted_and_stopping_is_refused, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(confirm_select_in_all_ways, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(confirms_and_transactions_exclude_each_other, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(the_first_failed_call_is_remembered, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_callback_for_an_answer_that_never_comes_is_refused, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(reserved_must_be_zero, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(null_handles_are_refused, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_ends_an_operation_and_its_late_answer_is_swallowed, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
