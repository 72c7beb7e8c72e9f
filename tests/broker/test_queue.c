/* Queues: declare, bind, unbind, purge and delete in all ways; names that the broker makes; errors and whom they concern. */
#include "fixture.h"

static void declared_with_typed_answers(void **state) {
    struct fixture *f = *state;
    const char *queue = queue_name(f);
    lago_queue_declare_t args = { .queue = queue, .durable = true };
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
    assert_string_equal(f->declared_name, queue);
    assert_int_equal(f->declared.message_count, 0);
    assert_int_equal(f->declared.consumer_count, 0);
    for (int i = 0; i < 3; i++) publish_text(f, queue, "x");
    lago_basic_consume_t consume = { .queue = queue, .on_message = on_message };
    assert_int_equal(lago_basic_qos(f->ch, &(lago_basic_qos_t){ .prefetch_count = 1 }, NULL, NULL), 0);
    assert_int_equal(lago_basic_consume(f->ch, &consume, on_consumer, label("consume")), 0);
    run_until(f, f->event_count == 2); /* consume ok, one message, in either order */
    forget_events(f);
    assert_int_equal(
        lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue, .passive = true }, on_declared, label("passive")), 0);
    expect_events(f, "passive ok");
    assert_int_equal(f->declared.message_count, 2);
    assert_int_equal(f->declared.consumer_count, 1);
}

static void every_operation_without_a_completion(void **state) {
    struct fixture *f = *state;
    const char *queue = queue_name(f);
    lago_queue_bind_t binding = { .queue = queue, .exchange = "amq.direct" };
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, NULL, NULL), 0);
    assert_int_equal(lago_queue_bind(f->ch, &binding, NULL, NULL), 0);
    assert_int_equal(lago_queue_unbind(f->ch, &binding, NULL, NULL), 0);
    publish_text(f, queue, "x");
    assert_int_equal(lago_queue_purge(f->ch, &(lago_queue_purge_t){ .queue = queue }, NULL, NULL), 0);
    expect_length(f, queue, 0);
    assert_int_equal(lago_queue_delete(f->ch, &(lago_queue_delete_t){ .queue = queue }, NULL, NULL), 0);
    sync_channel(f);
    assert_int_equal(f->event_count, 0);
    assert_int_equal(f->log_count, 0);
}

static void every_operation_with_no_wait(void **state) {
    struct fixture *f = *state;
    const char *queue = queue_name(f);
    lago_queue_bind_t binding = { .queue = queue, .exchange = "amq.direct", .routing_key = queue, .no_wait = true };
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue, .no_wait = true }, NULL, NULL), 0);
    assert_int_equal(lago_queue_bind(f->ch, &binding, NULL, NULL), 0);
    lago_basic_publish_t args = { .exchange = "amq.direct", .routing_key = queue };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_length(f, queue, 1);
    assert_int_equal(lago_queue_purge(f->ch, &(lago_queue_purge_t){ .queue = queue, .no_wait = true }, NULL, NULL), 0);
    expect_length(f, queue, 0);
    assert_int_equal(lago_queue_delete(f->ch, &(lago_queue_delete_t){ .queue = queue, .no_wait = true }, NULL, NULL), 0);
    lago_queue_declare_t passive = { .queue = queue, .passive = true };
    assert_int_equal(lago_queue_declare(f->ch, &passive, on_declared, label("passive")), 0);
    expect_events(f, "passive 404", "channel 1 close 404");
}

static void purge_and_delete_count(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    for (int i = 0; i < 5; i++) publish_text(f, queue, "x");
    assert_int_equal(lago_queue_purge(f->ch, &(lago_queue_purge_t){ .queue = queue }, on_count, label("purge")), 0);
    expect_events(f, "purge ok");
    assert_int_equal(f->count, 5);
    for (int i = 0; i < 3; i++) publish_text(f, queue, "x");
    assert_int_equal(lago_queue_delete(f->ch, &(lago_queue_delete_t){ .queue = queue }, on_count, label("delete")), 0);
    expect_events(f, "delete ok");
    assert_int_equal(f->count, 3);
    assert_int_equal(lago_queue_delete(f->ch, &(lago_queue_delete_t){ .queue = queue }, on_count, label("again")), 0);
    expect_events(f, "again ok"); /* RabbitMQ is content */
    assert_int_equal(f->count, 0);
}

static void bound_by_its_name_unless_a_key_is_given(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_queue_bind_t binding = { .queue = queue, .exchange = "amq.topic" };
    assert_int_equal(lago_queue_bind(f->ch, &binding, on_done, label("bind")), 0);
    lago_basic_publish_t args = { .exchange = "amq.topic", .routing_key = queue };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_queue_unbind(f->ch, &binding, on_done, label("unbind")), 0);
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "bind ok", "unbind ok");
    expect_length(f, queue, 1);
}

/* 1.7.2.3.2: "" is the queue that the channel declared last, and all of it may be said before the connection is open. */
static void the_queue_declared_last_needs_no_name(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    lago_basic_consume_t consume = { .queue = "", .auto_ack = true, .on_message = on_message, .consumer_tag = "c" };
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &f->ch), 0);
    lago_exchange_declare_t exchange = { .exchange = exchange_name(f), .exchange_type = "fanout" };
    lago_exchange_declare(f->ch, &exchange, on_done, label("exchange"));
    lago_queue_declare(f->ch, &(lago_queue_declare_t){ .exclusive = true }, on_declared, label("declare"));
    lago_queue_bind(f->ch, &(lago_queue_bind_t){ .exchange = exchange.exchange }, on_done, label("bind"));
    lago_basic_consume(f->ch, &consume, on_consumer, label("consume"));
    lago_basic_publish(f->ch, &(lago_basic_publish_t){ .exchange = exchange.exchange, .body = { "hello", 5 } }, NULL, NULL);
    assert_int_equal(lago_channel_error(f->ch), 0);
    expect_events(f, "open", "channel 1 open ok", "exchange ok", "declare ok", "bind ok", "consume ok", "got hello");
    assert_memory_equal(f->declared_name, "amq.gen-", 8);
}

static void the_queue_declared_last_for_every_operation(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_queue_declare(f->ch, NULL, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
    publish_text(f, f->declared_name, "one");
    publish_text(f, f->declared_name, "two");
    publish_text(f, f->declared_name, "three");
    assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .auto_ack = true }, on_got, label("get")), 0);
    assert_int_equal(lago_queue_purge(f->ch, NULL, on_count, label("purge")), 0);
    expect_events(f, "got one", "purge ok");
    assert_int_equal(f->count, 2);
    assert_int_equal(lago_queue_unbind(f->ch, &(lago_queue_bind_t){ .exchange = "amq.topic" }, on_done, label("unbind")), 0);
    assert_int_equal(lago_queue_delete(f->ch, NULL, on_count, label("delete")), 0);
    expect_events(f, "unbind ok", "delete ok");
}

/* X19: hundreds of requests in one write, answered in order. */
static void hundreds_in_one_go(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .exclusive = true }, on_declared, label("d")), 0);
        assert_int_equal(lago_queue_bind(f->ch, &(lago_queue_bind_t){ .exchange = "amq.fanout" }, on_done, label("b")), 0);
    }
    run_until(f, f->event_count == 200);
    for (int i = 0; i < 200; i++) assert_string_equal(f->events[i], i % 2 ? "b ok" : "d ok");
    forget_events(f);
}

/* ---------------------------------------------------------------- errors */

static void a_missing_queue_is_404(void **state) {
    struct fixture *f = *state;
    lago_queue_bind_t args = { .queue = "lago.missing", .exchange = "amq.direct" };
    assert_int_equal(lago_queue_bind(f->ch, &args, on_done, label("bind")), 0);
    expect_events(f, "bind 404", "channel 1 close 404");
    assert_int_equal(f->reason.class_id, 50);
    assert_int_equal(f->reason.method_id, 20);
    assert_int_equal(f->reason.phase, LAGO_PHASE_RUNNING);
    assert_non_null(strstr(f->reason.reply_text, "NOT_FOUND"));
}

static void a_foreign_exclusive_queue_is_405(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_connection_t *mine = f->conn;
    connect_and_wait(f);
    f->ch = open_channel(f);
    assert_int_equal(lago_queue_purge(f->ch, &(lago_queue_purge_t){ .queue = queue }, on_count, label("purge")), 0);
    expect_events(f, "purge 405", "channel 1 close 405");
    assert_int_equal(lago_connection_abort(f->conn), 0);
    expect_events(f, "close ECLOSED");
    lago_connection_free(f->conn);
    f->conn = mine;
    f->closed = false;
}

static void other_settings_are_406(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_queue_declare_t args = { .queue = queue, .exclusive = true, .arguments = LAGO_TABLE(LAGO_FIELD_I32("x-max-length", 1)) };
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    expect_events(f, "declare 406", "channel 1 close 406");
    assert_non_null(strstr(f->reason.reply_text, "x-max-length"));
}

static void bad_arguments_are_406(void **state) {
    struct fixture *f = *state;
    lago_queue_declare_t args = { .exclusive = true, .arguments = LAGO_TABLE(LAGO_FIELD_STR("x-max-length", "many")) };
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    expect_events(f, "declare 406", "channel 1 close 406");
}

static void reserved_names_are_403(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = "amq.lago" }, on_declared, label("declare")), 0);
    expect_events(f, "declare 403", "channel 1 close 403");
}

static void a_queue_in_use_or_not_empty_stays(void **state) {
    struct fixture *f = *state;
    const char *queue = queue_name(f);
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, NULL, NULL), 0);
    publish_text(f, queue, "x");
    lago_queue_delete_t if_empty = { .queue = queue, .if_empty = true };
    assert_int_equal(lago_queue_delete(f->ch, &if_empty, on_count, label("delete")), 0);
    expect_events(f, "delete 406", "channel 1 close 406");
    f->ch = open_channel(f);
    lago_basic_consume_t consume = { .queue = queue, .auto_ack = true, .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &consume, NULL, NULL), 0);
    expect_events(f, "got x");
    lago_queue_delete_t if_unused = { .queue = queue, .if_unused = true };
    assert_int_equal(lago_queue_delete(f->ch, &if_unused, on_count, label("delete")), 0);
    expect_events(f, "delete 406", "channel 1 close 406");
}

static void errors_of_no_wait_close_the_channel(void **state) {
    struct fixture *f = *state;
    lago_queue_bind_t args = { .queue = "lago.missing", .exchange = "amq.direct", .no_wait = true };
    assert_int_equal(lago_queue_bind(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "channel 1 close 404");
    f->ch = open_channel(f);
    lago_queue_declare_t declare = { .queue = "amq.lago", .no_wait = true };
    assert_int_equal(lago_queue_declare(f->ch, &declare, NULL, NULL), 0);
    expect_events(f, "channel 1 close 403");
}

static void arguments_that_cannot_be_written_are_refused(void **state) {
    struct fixture *f = *state;
    static char name[300];
    memset(name, 'n', sizeof name - 1);
    lago_table_t table = LAGO_TABLE(LAGO_FIELD_I32(name, 1));
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .arguments = table }, NULL, NULL), LAGO_ETOOLONG);
    lago_field_t field = lago_field_of("x", (lago_type_t)'?');
    table = (lago_table_t)LAGO_TABLE_OF(((lago_field_t[]){ field }));
    assert_true(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .arguments = table }, NULL, NULL) < 0);
    size_t size = 200000;
    char *huge = calloc(1, size);
    table = LAGO_TABLE(LAGO_FIELD_STRING("x", huge, size));
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .arguments = table }, NULL, NULL), LAGO_ETOOBIG);
    free(huge);
    sync_channel(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(declared_with_typed_answers, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(every_operation_without_a_completion, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(every_operation_with_no_wait, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(purge_and_delete_count, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(bound_by_its_name_unless_a_key_is_given, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(the_queue_declared_last_needs_no_name, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(the_queue_declared_last_for_every_operation, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(hundreds_in_one_go, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_missing_queue_is_404, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_foreign_exclusive_queue_is_405, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(other_settings_are_406, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(bad_arguments_are_406, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(reserved_names_are_403, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_queue_in_use_or_not_empty_stays, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(errors_of_no_wait_close_the_channel, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(arguments_that_cannot_be_written_are_refused, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
