/* Forwarding through a real RabbitMQ: properties, header tables and bodies arrive as they came, and what RabbitMQ minds. */
#include "fixture.h"

#define BIG ((size_t)1024 * 1024)

/* From one queue to another, both messages kept. */
struct hop {
    const char *to;
    lago_forward_t how;
    lago_message_t *first, *second;
};

static void on_first(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct hop *hop = data;
    assert_int_equal(lago_message_keep(message, &hop->first), 0);
    assert_int_equal(lago_message_forward(ch, message, &hop->how, NULL, NULL), 0);
    record(fixture_of(ch), "forwarded");
}

static void on_second(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct hop *hop = data;
    assert_int_equal(lago_message_keep(message, &hop->second), 0);
    record(fixture_of(ch), "arrived");
}

static void forward(struct fixture *f, struct hop *hop, const lago_properties_t *properties, lago_bytes_t body) {
    const char *from = new_queue(f);
    hop->to = new_queue(f);
    hop->how.exchange = "";
    hop->how.routing_key = hop->to;
    lago_basic_consume_t take = { .queue = from, .auto_ack = true, .on_message = on_first, .data = hop };
    lago_basic_consume_t end = { .queue = hop->to, .auto_ack = true, .on_message = on_second, .data = hop };
    assert_int_equal(lago_basic_consume(f->ch, &take, NULL, NULL), 0);
    assert_int_equal(lago_basic_consume(f->ch, &end, NULL, NULL), 0);
    lago_basic_publish_t args = { .routing_key = from, .properties = properties, .body = body };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "forwarded", "arrived");
}

static void release(struct hop *hop) {
    lago_message_release(hop->first);
    lago_message_release(hop->second);
}

/* 4.x keeps the entries and writes them in an order of its own: each hop may do so again, so entries are compared, not bytes. */
static void check_same_table(const struct fixture *f, const lago_table_t *a, const lago_table_t *b) {
    char left[4096], right[4096];
    assert_int_equal(a->size, b->size);
    assert_int_equal(lago_table_check(a), lago_table_check(b));
    if (broker_version(f) < 400) {
        assert_memory_equal(a->raw, b->raw, a->size);
        return;
    }
    lago_table_iterator_t walk = lago_table_iterate(a);
    for (lago_field_t field; lago_table_next(&walk, &field) == 1;) {
        char name[256];
        lago_value_t value;
        snprintf(name, sizeof name, "%.*s", (int)field.name.size, field.name.data);
        assert_int_equal(lago_table_get(b, name, &value), 1);
        lago_field_t other = { .name = field.name, .value = value };
        lago_table_t one = { .fields = &field, .size = 1 }, two = { .fields = &other, .size = 1 };
        assert_int_equal(value.type, field.value.type);
        assert_true(lago_table_format(&one, left, sizeof left) < sizeof left);
        assert_true(lago_table_format(&two, right, sizeof right) < sizeof right);
        assert_string_equal(left, right);
    }
}

static void check_same(const struct fixture *f, const struct hop *hop, unsigned absent) {
    const lago_properties_t *a = hop->first->properties, *b = hop->second->properties;
    char left[8192], right[8192];
    lago_properties_t expected = *a, got = *b;
    expected.present &= (uint16_t)~absent;
    if (absent & LAGO_PROPERTY_USER_ID) expected.user_id = NULL, expected.sizes.user_id = 0;
    assert_int_equal(got.present, expected.present);
    check_same_table(f, &a->headers, &b->headers);
    expected.headers = got.headers = (lago_table_t){ 0 };
    assert_true(lago_properties_format(&expected, left, sizeof left) < sizeof left);
    assert_true(lago_properties_format(&got, right, sizeof right) < sizeof right);
    assert_string_equal(left, right);
    assert_memory_equal(&expected.sizes, &got.sizes, sizeof got.sizes);
    assert_int_equal(hop->first->body.size, hop->second->body.size);
    assert_memory_equal(hop->first->body.data, hop->second->body.data, hop->first->body.size + 1);
}

static const lago_properties_t fourteen = { .content_type = "text/plain",
                                            .content_encoding = "gzip",
                                            .delivery_mode = LAGO_PERSISTENT,
                                            .priority = 9,
                                            .correlation_id = "a\0b\0cd",
                                            .reply_to = "answers",
                                            .expiration = "60000",
                                            .message_id = "m-1",
                                            .timestamp = UINT64_C(1700000000),
                                            .type = "",
                                            .user_id = "guest",
                                            .app_id = "lago",
                                            .cluster_id = "cluster",
                                            .sizes = { .correlation_id = 6 } };

static void all_properties_and_every_type(void **state) {
    struct fixture *f = *state;
    const lago_field_t inner[] = { LAGO_FIELD_I32("z", 1), LAGO_FIELD_VOID("nothing"), LAGO_FIELD_I32("a", 2) };
    const lago_table_t table = LAGO_TABLE_OF(inner);
    const lago_value_t values[] = { LAGO_VALUE_I32(7), LAGO_VALUE_STR("seven"), LAGO_VALUE_TABLE(table) };
    const lago_array_t array = LAGO_ARRAY_OF(values);
    const lago_field_t fields[] = { LAGO_FIELD_STR("z last", "first"),
                                    LAGO_FIELD_BOOL("boolean", true),
                                    LAGO_FIELD_I8("int8", INT8_MIN),
                                    LAGO_FIELD_U8("uint8", UINT8_MAX),
                                    LAGO_FIELD_I16("int16", INT16_MIN),
                                    LAGO_FIELD_U16("uint16", UINT16_MAX),
                                    LAGO_FIELD_I32("int32", INT32_MIN),
                                    LAGO_FIELD_U32("uint32", UINT32_MAX),
                                    LAGO_FIELD_I64("int64", INT64_MIN),
                                    LAGO_FIELD_FLOAT("float", 1.5f),
                                    LAGO_FIELD_DOUBLE("double", -2.25),
                                    LAGO_FIELD_DECIMAL("decimal", 2, 12345),
                                    LAGO_FIELD_STRING("string", "a\0b", 3),
                                    LAGO_FIELD_BYTES("bytes", "\xff\0\x01", 3),
                                    LAGO_FIELD_TIMESTAMP("timestamp", UINT64_C(1700000000)),
                                    LAGO_FIELD_VOID("void"),
                                    LAGO_FIELD_TABLE("table", table),
                                    LAGO_FIELD_ARRAY("array", array),
                                    LAGO_FIELD_STR("", "no name") };
    lago_properties_t properties = fourteen;
    struct hop hop = { .how = { .keep_user_id = true } };
    properties.headers = (lago_table_t)LAGO_TABLE_OF(fields);
    forward(f, &hop, &properties, (lago_bytes_t){ "a\0b", 3 });
    assert_int_equal(hop.first->properties->present, 0xfffc);
    check_same(f, &hop, 0);
    release(&hop);
}

static void names_that_come_twice(void **state) {
    struct fixture *f = *state;
    const lago_field_t fields[] = { LAGO_FIELD_I32("b", 1), LAGO_FIELD_STR("a", "x"), LAGO_FIELD_STR("b", "2"),
                                    LAGO_FIELD_I32("b", 1) };
    lago_properties_t properties = { .headers = LAGO_TABLE_OF(fields) };
    struct hop hop = { 0 };
    forward(f, &hop, &properties, (lago_bytes_t){ NULL, 0 });
    assert_int_equal(hop.first->properties->headers.size, hop.second->properties->headers.size);
    if (broker_version(f) < 400) check_same(f, &hop, 0);
    release(&hop);
}

static void zeros_and_emptiness(void **state) {
    struct fixture *f = *state;
    lago_properties_t properties = { .present = LAGO_PROPERTY_PRIORITY | LAGO_PROPERTY_TIMESTAMP | LAGO_PROPERTY_HEADERS,
                                     .app_id = "" };
    struct hop hop = { 0 };
    forward(f, &hop, &properties, (lago_bytes_t){ NULL, 0 });
    assert_int_equal(hop.second->properties->present,
                     LAGO_PROPERTY_PRIORITY | LAGO_PROPERTY_TIMESTAMP | LAGO_PROPERTY_HEADERS | LAGO_PROPERTY_APP_ID);
    check_same(f, &hop, 0);
    release(&hop);
}

static void a_big_body(void **state) {
    struct fixture *f = *state;
    struct hop hop = { 0 };
    uint8_t *body = malloc(BIG);
    for (size_t i = 0; i < BIG; i++) body[i] = (uint8_t)(i * 31 + (i >> 12));
    forward(f, &hop, &fourteen, (lago_bytes_t){ body, BIG });
    assert_memory_equal(hop.second->body.data, body, BIG);
    check_same(f, &hop, LAGO_PROPERTY_USER_ID); /* left out, unless it is asked for */
    free(body);
    /* and once more, from the kept message, when all else of it is gone */
    lago_message_release(hop.second);
    assert_int_equal(lago_message_forward(f->ch, hop.first, &hop.how, NULL, NULL), 0);
    expect_events(f, "arrived");
    check_same(f, &hop, LAGO_PROPERTY_USER_ID);
    release(&hop);
}

/* The trap: a message with the user_id of somebody else costs a router its channel, if it passes that on. */
static void a_user_id_of_somebody_else(void **state) {
    struct fixture *f = *state;
    lago_properties_t properties = { .user_id = "guest", .message_id = "m" };
    struct hop hop = { 0 };
    forward(f, &hop, &properties, (lago_bytes_t){ "x", 1 });
    assert_null(hop.second->properties->user_id);
    assert_string_equal(hop.first->properties->user_id, "guest");
    lago_properties_t foreign = *hop.second->properties;
    foreign.user_id = "somebody";
    lago_basic_publish_t args = { .routing_key = hop.to, .properties = &foreign };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "channel 1 close 406");
    release(&hop);
}

/* To where it was published before: back to its queue, as a shovel of one's own mistakes. */
static void on_back(lago_channel_t *ch, const lago_message_t *message, void *data) {
    bool *again = data;
    record(fixture_of(ch), "%s", (const char *)message->body.data);
    if (!*again) assert_int_equal(lago_message_forward(ch, message, NULL, NULL, NULL), 0);
    *again = true;
}

static void to_where_it_came_from(void **state) {
    struct fixture *f = *state;
    bool again = false;
    const char *queue = new_queue(f);
    lago_basic_consume_t args = { .queue = queue, .auto_ack = true, .on_message = on_back, .data = &again };
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
    publish_text(f, queue, "round");
    expect_events(f, "round", "round");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_properties_and_every_type, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(names_that_come_twice, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(zeros_and_emptiness, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_big_body, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_user_id_of_somebody_else, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(to_where_it_came_from, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
