/* Exchanges: declare, delete, bind and unbind, each with a completion, without one, and with no_wait; their types and errors. */
#include "fixture.h"

static const char *declare_exchange(struct fixture *f, const char *type, lago_table_t arguments) {
    lago_exchange_declare_t args = { .exchange = exchange_name(f), .exchange_type = type, .arguments = arguments };
    assert_int_equal(lago_exchange_declare(f->ch, &args, on_done, label("exchange")), 0);
    expect_events(f, "exchange ok");
    return args.exchange;
}

static void bind_queue(struct fixture *f, const char *queue, const char *exchange, const char *key, lago_table_t arguments) {
    lago_queue_bind_t args = { .queue = queue, .exchange = exchange, .routing_key = key, .arguments = arguments };
    assert_int_equal(lago_queue_bind(f->ch, &args, on_done, label("bind")), 0);
    expect_events(f, "bind ok");
}

static void publish_to(struct fixture *f, const char *exchange, const char *key, const char *text) {
    lago_basic_publish_t args = { .exchange = exchange, .routing_key = key, .body = { text, strlen(text) } };
    assert_true(lago_basic_publish(f->ch, &args, NULL, NULL) >= 0);
}

static void publish_headers(struct fixture *f, const char *exchange, lago_table_t headers) {
    lago_properties_t properties = { .headers = headers };
    lago_basic_publish_t args = { .exchange = exchange, .properties = &properties };
    assert_true(lago_basic_publish(f->ch, &args, NULL, NULL) >= 0);
}

static void declared_and_deleted_in_all_ways(void **state) {
    struct fixture *f = *state;
    lago_exchange_declare_t declare = { .exchange = exchange_name(f), .durable = true };
    lago_exchange_delete_t delete = { .exchange = declare.exchange };
    assert_int_equal(lago_exchange_declare(f->ch, &declare, on_done, label("declare")), 0);
    declare.passive = true;
    assert_int_equal(lago_exchange_declare(f->ch, &declare, on_done, label("passive")), 0);
    assert_int_equal(lago_exchange_delete(f->ch, &delete, on_done, label("delete")), 0);
    declare.passive = false;
    assert_int_equal(lago_exchange_declare(f->ch, &declare, NULL, NULL), 0);
    assert_int_equal(lago_exchange_delete(f->ch, &delete, NULL, NULL), 0);
    declare.no_wait = delete.no_wait = true;
    assert_int_equal(lago_exchange_declare(f->ch, &declare, NULL, NULL), 0);
    declare.no_wait = false;
    declare.passive = true;
    assert_int_equal(lago_exchange_declare(f->ch, &declare, on_done, label("there")), 0);
    assert_int_equal(lago_exchange_delete(f->ch, &delete, NULL, NULL), 0);
    delete.no_wait = false;
    assert_int_equal(lago_exchange_delete(f->ch, &delete, on_done, label("again")), 0); /* RabbitMQ is content */
    expect_events(f, "declare ok", "passive ok", "delete ok", "there ok", "again ok");
    assert_int_equal(lago_exchange_declare(f->ch, &declare, on_done, label("gone")), 0);
    expect_events(f, "gone 404", "channel 1 close 404");
    assert_int_equal(f->reason.class_id, 40);
    assert_int_equal(f->reason.method_id, 10);
}

static void bound_and_unbound_in_all_ways(void **state) {
    struct fixture *f = *state;
    const char *from = declare_exchange(f, NULL, (lago_table_t){ 0 }), *to = declare_exchange(f, "fanout", (lago_table_t){ 0 });
    const char *queue = new_queue(f);
    bind_queue(f, queue, to, "", (lago_table_t){ 0 });
    lago_exchange_bind_t args = { .destination = to, .source = from, .routing_key = "k" };
    publish_to(f, from, "k", "lost");
    assert_int_equal(lago_exchange_bind(f->ch, &args, on_done, label("bind")), 0);
    publish_to(f, from, "k", "one");
    publish_to(f, from, "other", "lost");
    assert_int_equal(lago_exchange_unbind(f->ch, &args, on_done, label("unbind")), 0);
    publish_to(f, from, "k", "lost");
    expect_events(f, "bind ok", "unbind ok");
    assert_int_equal(lago_exchange_bind(f->ch, &args, NULL, NULL), 0);
    publish_to(f, from, "k", "two");
    assert_int_equal(lago_exchange_unbind(f->ch, &args, NULL, NULL), 0);
    publish_to(f, from, "k", "lost");
    args.no_wait = true;
    assert_int_equal(lago_exchange_bind(f->ch, &args, NULL, NULL), 0);
    publish_to(f, from, "k", "three");
    assert_int_equal(lago_exchange_unbind(f->ch, &args, NULL, NULL), 0);
    publish_to(f, from, "k", "lost");
    expect_length(f, queue, 3);
    assert_int_equal(f->event_count, 0);
}

static void a_topic_routes_by_words(void **state) {
    struct fixture *f = *state;
    const char *topic = declare_exchange(f, "topic", (lago_table_t){ 0 }), *queue = new_queue(f);
    bind_queue(f, queue, topic, "*.stock.#", (lago_table_t){ 0 });
    publish_to(f, topic, "usd.stock", "one");
    publish_to(f, topic, "eur.stock.db.x", "two");
    publish_to(f, topic, "stock", "no");
    expect_length(f, queue, 2);
}

static void headers_route_by_arguments(void **state) {
    struct fixture *f = *state;
    const char *headers = declare_exchange(f, "headers", (lago_table_t){ 0 }), *all = new_queue(f), *any = new_queue(f);
    bind_queue(f, all, headers, "",
               LAGO_TABLE(LAGO_FIELD_STR("x-match", "all"), LAGO_FIELD_I32("n", 1), LAGO_FIELD_STR("s", "x")));
    bind_queue(f, any, headers, "",
               LAGO_TABLE(LAGO_FIELD_STR("x-match", "any"), LAGO_FIELD_I32("n", 1), LAGO_FIELD_STR("s", "x")));
    publish_headers(f, headers, LAGO_TABLE(LAGO_FIELD_I32("n", 1), LAGO_FIELD_STR("s", "x")));
    publish_headers(f, headers, LAGO_TABLE(LAGO_FIELD_I32("n", 1)));
    publish_headers(f, headers, LAGO_TABLE(LAGO_FIELD_I32("n", 2)));
    expect_length(f, all, 1);
    expect_length(f, any, 2);
    lago_queue_bind_t args = { .queue = all,
                               .exchange = headers,
                               .routing_key = "",
                               .arguments = LAGO_TABLE(LAGO_FIELD_STR("x-match", "all"), LAGO_FIELD_I32("n", 1),
                                                       LAGO_FIELD_STR("s", "x")) };
    assert_int_equal(lago_queue_unbind(f->ch, &args, on_done, label("unbind")), 0);
    publish_headers(f, headers, LAGO_TABLE(LAGO_FIELD_I32("n", 1), LAGO_FIELD_STR("s", "x")));
    expect_events(f, "unbind ok");
    expect_length(f, all, 1);
}

static void an_alternate_exchange_takes_what_nobody_wants(void **state) {
    struct fixture *f = *state;
    const char *spare = declare_exchange(f, "fanout", (lago_table_t){ 0 }), *queue = new_queue(f);
    const char *first = declare_exchange(f, "direct", LAGO_TABLE(LAGO_FIELD_STR("alternate-exchange", spare)));
    bind_queue(f, queue, spare, "", (lago_table_t){ 0 });
    lago_basic_publish_t args = { .exchange = first, .routing_key = "nobody", .mandatory = true };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_length(f, queue, 1);
    assert_int_equal(f->event_count, 0); /* not returned: it was routed */
}

static void an_internal_exchange_takes_no_publishes(void **state) {
    struct fixture *f = *state;
    lago_exchange_declare_t args = { .exchange = exchange_name(f), .exchange_type = "fanout", .internal = true };
    assert_int_equal(lago_exchange_declare(f->ch, &args, on_done, label("declare")), 0);
    publish_to(f, args.exchange, "", "x");
    expect_events(f, "declare ok", "channel 1 close 403");
    assert_int_equal(f->reason.class_id, 60);
    assert_int_equal(f->reason.method_id, 40);
}

static void other_settings_are_refused(void **state) {
    struct fixture *f = *state;
    const char *name = declare_exchange(f, "fanout", (lago_table_t){ 0 });
    lago_exchange_declare_t args = { .exchange = name, .exchange_type = "direct" };
    assert_int_equal(lago_exchange_declare(f->ch, &args, on_done, label("declare")), 0);
    expect_events(f, "declare 406", "channel 1 close 406");
    assert_int_equal(f->reason.code, LAGO_ECHANNEL);
    assert_non_null(strstr(f->reason.reply_text, "PRECONDITION_FAILED"));
}

static void one_in_use_is_not_deleted(void **state) {
    struct fixture *f = *state;
    const char *name = declare_exchange(f, "fanout", (lago_table_t){ 0 });
    bind_queue(f, new_queue(f), name, "", (lago_table_t){ 0 });
    lago_exchange_delete_t args = { .exchange = name, .if_unused = true };
    assert_int_equal(lago_exchange_delete(f->ch, &args, on_done, label("delete")), 0);
    expect_events(f, "delete 406", "channel 1 close 406");
}

static void an_auto_delete_one_goes_with_its_last_binding(void **state) {
    struct fixture *f = *state;
    lago_exchange_declare_t args = { .exchange = exchange_name(f), .exchange_type = "fanout", .auto_delete = true };
    assert_int_equal(lago_exchange_declare(f->ch, &args, on_done, label("declare")), 0);
    expect_events(f, "declare ok");
    lago_queue_bind_t binding = { .queue = new_queue(f), .exchange = args.exchange };
    assert_int_equal(lago_queue_bind(f->ch, &binding, NULL, NULL), 0);
    assert_int_equal(lago_queue_unbind(f->ch, &binding, NULL, NULL), 0);
    args.passive = true;
    assert_int_equal(lago_exchange_declare(f->ch, &args, on_done, label("passive")), 0);
    expect_events(f, "passive 404", "channel 1 close 404");
}

static void reserved_names_are_refused(void **state) {
    struct fixture *f = *state;
    assert_int_equal(
        lago_exchange_declare(f->ch, &(lago_exchange_declare_t){ .exchange = "amq.lago" }, on_done, label("declare")), 0);
    expect_events(f, "declare 403", "channel 1 close 403");
    assert_true(f->reason.hint[0] != '\0');
}

/* The broker answers a no-wait method only to refuse it, by closing the channel. */
static void errors_of_no_wait_close_the_channel(void **state) {
    struct fixture *f = *state;
    lago_exchange_bind_t args = { .destination = "lago.none", .source = "lago.none", .no_wait = true };
    assert_int_equal(lago_exchange_bind(f->ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("qos")), 0);
    expect_events(f, "qos 404", "channel 1 close 404");
    assert_int_equal(f->reason.class_id, 40);
    assert_int_equal(f->reason.method_id, 30);
}

static void a_name_is_required(void **state) {
    struct fixture *f = *state;
    assert_int_equal(lago_exchange_declare(f->ch, &(lago_exchange_declare_t){ .durable = true }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_delete(f->ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_bind(f->ch, &(lago_exchange_bind_t){ .source = "s" }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_unbind(f->ch, &(lago_exchange_bind_t){ .destination = "d" }, NULL, NULL), LAGO_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(declared_and_deleted_in_all_ways, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(bound_and_unbound_in_all_ways, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_topic_routes_by_words, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(headers_route_by_arguments, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_alternate_exchange_takes_what_nobody_wants, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_internal_exchange_takes_no_publishes, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(other_settings_are_refused, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(one_in_use_is_not_deleted, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_auto_delete_one_goes_with_its_last_binding, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(reserved_names_are_refused, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(errors_of_no_wait_close_the_channel, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_name_is_required, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
