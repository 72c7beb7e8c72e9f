/* What is published comes back as it was: all properties, every type of a table, bodies of all kinds; forwarding; keeping. */
#include "fixture.h"

/* Publishes and waits for the message; the check is the caller's, while the message lives. */
typedef void (*check_fn)(const lago_message_t *message);

static void on_check(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    check_fn *check = data;
    assert_null(reason);
    if (!message) { /* it has not reached its queue yet */
        assert_int_equal(lago_basic_get(ch, &(lago_basic_get_t){ .auto_ack = true }, on_check, data), 0);
        return;
    }
    (*check)(message);
    record(fixture_of(ch), "checked");
}

static void round_trip(struct fixture *f, const lago_properties_t *properties, lago_bytes_t body, check_fn check) {
    const char *queue = new_queue(f);
    lago_basic_publish_t args = { .routing_key = queue, .properties = properties, .body = body };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .auto_ack = true }, on_check, &check), 0);
    expect_events(f, "checked");
}

/* ---------------------------------------------------------------- properties */

static void check_all(const lago_message_t *message) {
    const lago_properties_t *p = message->properties;
    lago_value_t value;
    assert_int_equal(p->present, 0xfffc);
    assert_string_equal(p->content_type, "text/plain");
    assert_int_equal(p->sizes.content_type, 10);
    assert_string_equal(p->content_encoding, "gzip");
    assert_int_equal(lago_table_get(&p->headers, "k", &value), 1);
    assert_int_equal(value.as.integer, 1);
    assert_int_equal(p->delivery_mode, LAGO_PERSISTENT);
    assert_int_equal(p->priority, 9);
    assert_string_equal(p->correlation_id, "c-1");
    assert_string_equal(p->reply_to, "answers");
    assert_string_equal(p->expiration, "60000");
    assert_string_equal(p->message_id, "m-1");
    assert_int_equal(p->timestamp, UINT64_C(1700000000));
    assert_string_equal(p->type, "kind");
    assert_string_equal(p->user_id, "guest");
    assert_string_equal(p->app_id, "lago");
    assert_string_equal(p->cluster_id, "cluster");
}

static void all_fourteen(void **state) {
    lago_properties_t properties = { .content_type = "text/plain",
                                     .content_encoding = "gzip",
                                     .headers = LAGO_TABLE(LAGO_FIELD_I32("k", 1)),
                                     .delivery_mode = LAGO_PERSISTENT,
                                     .priority = 9,
                                     .correlation_id = "c-1",
                                     .reply_to = "answers",
                                     .expiration = "60000",
                                     .message_id = "m-1",
                                     .timestamp = UINT64_C(1700000000),
                                     .type = "kind",
                                     .user_id = "guest",
                                     .app_id = "lago",
                                     .cluster_id = "cluster" };
    round_trip(*state, &properties, (lago_bytes_t){ "x", 1 }, check_all);
}

static void check_zeros(const lago_message_t *message) {
    const lago_properties_t *p = message->properties;
    assert_int_equal(p->present, LAGO_PROPERTY_PRIORITY | LAGO_PROPERTY_TIMESTAMP | LAGO_PROPERTY_HEADERS | LAGO_PROPERTY_TYPE);
    assert_int_equal(p->priority, 0);
    assert_int_equal(p->timestamp, 0);
    assert_int_equal(lago_table_check(&p->headers), 0);
    assert_string_equal(p->type, "");
    assert_null(p->app_id);
    assert_int_equal(p->delivery_mode, 0);
}

static void zeros_by_their_bits(void **state) {
    lago_properties_t properties = { .present = LAGO_PROPERTY_PRIORITY | LAGO_PROPERTY_TIMESTAMP | LAGO_PROPERTY_HEADERS,
                                     .type = "" };
    round_trip(*state, &properties, (lago_bytes_t){ NULL, 0 }, check_zeros);
}

static void check_embedded(const lago_message_t *message) {
    assert_int_equal(message->properties->sizes.correlation_id, 5);
    assert_memory_equal(message->properties->correlation_id, "a\0b\0c", 6); /* and a NUL behind the last byte */
    assert_int_equal(message->properties->sizes.message_id, 255);
    assert_int_equal(strlen(message->properties->message_id), 255);
}

static void strings_with_sizes_of_their_own(void **state) {
    static char longest[256];
    memset(longest, 'm', 255);
    lago_properties_t properties = { .correlation_id = "a\0b\0cd", .message_id = longest };
    properties.sizes.correlation_id = 5;
    round_trip(*state, &properties, (lago_bytes_t){ NULL, 0 }, check_embedded);
}

/* ---------------------------------------------------------------- tables */

static lago_value_t value_of(const lago_table_t *table, const char *name, lago_type_t type) {
    lago_value_t value;
    assert_int_equal(lago_table_get(table, name, &value), 1);
    assert_int_equal(value.type, type);
    return value;
}

static void check_types(const lago_message_t *message) {
    const lago_table_t *t = &message->properties->headers;
    lago_value_t value;
    assert_int_equal(lago_table_check(t), 19);
    assert_true(value_of(t, "boolean", LAGO_TYPE_BOOLEAN).as.boolean);
    assert_int_equal(value_of(t, "int8", LAGO_TYPE_INT8).as.integer, INT8_MIN);
    assert_int_equal(value_of(t, "uint8", LAGO_TYPE_UINT8).as.unsigned_integer, UINT8_MAX);
    assert_int_equal(value_of(t, "int16", LAGO_TYPE_INT16).as.integer, INT16_MIN); /* X4, X5: others lose the connection */
    assert_int_equal(value_of(t, "uint16", LAGO_TYPE_UINT16).as.unsigned_integer, UINT16_MAX);
    assert_int_equal(value_of(t, "int32", LAGO_TYPE_INT32).as.integer, INT32_MIN);
    assert_int_equal(value_of(t, "uint32", LAGO_TYPE_UINT32).as.unsigned_integer, UINT32_MAX);
    assert_true(value_of(t, "int64", LAGO_TYPE_INT64).as.integer == INT64_MIN);
    assert_true(value_of(t, "int64max", LAGO_TYPE_INT64).as.integer == INT64_MAX);
    assert_true(value_of(t, "float", LAGO_TYPE_FLOAT).as.single == 1.5f);
    assert_true(value_of(t, "double", LAGO_TYPE_DOUBLE).as.real == -2.25);
    value = value_of(t, "decimal", LAGO_TYPE_DECIMAL);
    assert_int_equal(value.as.decimal.scale, 2);
    assert_int_equal(value.as.decimal.value, 12345);
    value = value_of(t, "string", LAGO_TYPE_STRING);
    assert_int_equal(value.as.string.size, 4);
    assert_memory_equal(value.as.string.data, "text", 4);
    value = value_of(t, "binary", LAGO_TYPE_STRING);
    assert_int_equal(value.as.string.size, 3);
    assert_memory_equal(value.as.string.data, "a\0b", 3);
    value = value_of(t, "bytes", LAGO_TYPE_BYTES);
    assert_int_equal(value.as.string.size, 3);
    assert_memory_equal(value.as.string.data, "\xff\0\x01", 3);
    assert_int_equal(value_of(t, "timestamp", LAGO_TYPE_TIMESTAMP).as.unsigned_integer, UINT64_C(1700000000));
    value_of(t, "void", LAGO_TYPE_VOID);
    value = value_of(t, "table", LAGO_TYPE_TABLE);
    lago_table_t inner = value.as.table;
    value = value_of(&inner, "deeper", LAGO_TYPE_TABLE);
    assert_int_equal(value_of(&value.as.table, "n", LAGO_TYPE_INT32).as.integer, 42);
    value = value_of(t, "array", LAGO_TYPE_ARRAY);
    lago_array_iterator_t iterator = lago_array_iterate(&value.as.array);
    assert_int_equal(lago_array_next(&iterator, &value), 1);
    assert_int_equal(value.as.integer, 7);
    assert_int_equal(lago_array_next(&iterator, &value), 1);
    assert_memory_equal(value.as.string.data, "seven", 5);
    assert_int_equal(lago_array_next(&iterator, &value), 1);
    assert_int_equal(value.type, LAGO_TYPE_TABLE);
    assert_int_equal(lago_array_next(&iterator, &value), 0);
}

static void every_type_of_a_table(void **state) {
    const lago_field_t fields[] = {
        LAGO_FIELD_BOOL("boolean", true),
        LAGO_FIELD_I8("int8", INT8_MIN),
        LAGO_FIELD_U8("uint8", UINT8_MAX),
        LAGO_FIELD_I16("int16", INT16_MIN),
        LAGO_FIELD_U16("uint16", UINT16_MAX),
        LAGO_FIELD_I32("int32", INT32_MIN),
        LAGO_FIELD_U32("uint32", UINT32_MAX),
        LAGO_FIELD_I64("int64", INT64_MIN),
        LAGO_FIELD_I64("int64max", INT64_MAX),
        LAGO_FIELD_FLOAT("float", 1.5f),
        LAGO_FIELD_DOUBLE("double", -2.25),
        LAGO_FIELD_DECIMAL("decimal", 2, 12345),
        LAGO_FIELD_STR("string", "text"),
        LAGO_FIELD_STRING("binary", "a\0b", 3),
        LAGO_FIELD_BYTES("bytes", "\xff\0\x01", 3),
        LAGO_FIELD_TIMESTAMP("timestamp", UINT64_C(1700000000)),
        LAGO_FIELD_VOID("void"),
        LAGO_FIELD_TABLE("table", LAGO_TABLE(LAGO_FIELD_TABLE("deeper", LAGO_TABLE(LAGO_FIELD_I32("n", 42))))),
        LAGO_FIELD_ARRAY("array", LAGO_ARRAY(LAGO_VALUE_I32(7), LAGO_VALUE_STR("seven"),
                                             LAGO_VALUE_TABLE(LAGO_TABLE(LAGO_FIELD_I32("n", 42))))),
    };
    lago_properties_t properties = { .headers = LAGO_TABLE_OF(fields) };
    round_trip(*state, &properties, (lago_bytes_t){ NULL, 0 }, check_types);
}

/* ---------------------------------------------------------------- forwarding and keeping */

static void on_forward(lago_channel_t *ch, const lago_message_t *message, void *data) {
    lago_basic_publish_t args = { .routing_key = data, .properties = message->properties, .body = message->body };
    struct fixture *f = fixture_of(ch);
    lago_message_t *kept;
    assert_int_equal(lago_message_keep(message, &kept), 0);
    *(lago_message_t **)lago_channel_data(ch) = kept;
    assert_int_equal(lago_basic_publish(ch, &args, NULL, NULL), 0);
    record(f, "forwarded");
}

/* What a message brought is given to the next byte for byte, order and duplicates of headers included. */
static void forwarded_byte_for_byte(void **state) {
    struct fixture *f = *state;
    const lago_field_t fields[] = { LAGO_FIELD_I32("z", 1), LAGO_FIELD_STR("a", "x"), LAGO_FIELD_I16("z", 2) };
    lago_properties_t properties = { .headers = LAGO_TABLE_OF(fields), .type = "t", .timestamp = 7 };
    const char *from = new_queue(f), *to = new_queue(f);
    lago_message_t *first = NULL, *second = NULL;
    lago_channel_options_t one = { .data = &first }, two = { .data = &second };
    lago_channel_t *a, *b;
    assert_int_equal(lago_channel_open(f->conn, &one, &a), 0);
    assert_int_equal(lago_channel_open(f->conn, &two, &b), 0);
    lago_basic_consume_t take = { .queue = from, .auto_ack = true, .on_message = on_forward, .data = label(to) };
    lago_basic_consume_t end = { .queue = to, .auto_ack = true, .on_message = on_forward, .data = label("lago.nowhere") };
    lago_basic_consume(a, &take, NULL, NULL);
    lago_basic_consume(b, &end, NULL, NULL);
    lago_basic_publish_t args = { .routing_key = from, .properties = &properties, .body = { "a\0b", 3 } };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_events(f, "forwarded", "forwarded");
    const lago_table_t *h1 = &first->properties->headers, *h2 = &second->properties->headers;
    assert_int_equal(h1->size, h2->size);
    if (broker_version(f) < 400) assert_memory_equal(h1->raw, h2->raw, h1->size); /* 4.x puts headers into another order */
    assert_int_equal(lago_table_check(h2), lago_table_check(h1));
    assert_int_equal(first->properties->present, second->properties->present);
    assert_int_equal(second->body.size, 3);
    assert_memory_equal(second->body.data, "a\0b", 4);
    lago_message_release(first);
    lago_message_release(second);
}

/* ---------------------------------------------------------------- bodies */

static void check_body(const lago_message_t *message) {
    assert_int_equal(message->body.size, 7);
    assert_memory_equal(message->body.data, "\0a\0\xff\r\n\0", 8);
}

static void a_body_of_any_bytes(void **state) { round_trip(*state, NULL, (lago_bytes_t){ "\0a\0\xff\r\n\0", 7 }, check_body); }

static void check_empty(const lago_message_t *message) {
    assert_int_equal(message->body.size, 0);
    assert_int_equal(((const char *)message->body.data)[0], 0);
    assert_int_equal(message->properties->present, 0);
}

static void an_empty_body(void **state) { round_trip(*state, NULL, (lago_bytes_t){ NULL, 0 }, check_empty); }

static void fill(uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(i * 31 + (i >> 12));
}

static bool is_filled(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (uint8_t)(i * 31 + (i >> 12))) return false;
    return true;
}

static void on_size(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)data;
    assert_true(is_filled(message->body.data, message->body.size));
    assert_int_equal(((const char *)message->body.data)[message->body.size], 0);
    record(fixture_of(ch), "%zu", message->body.size);
}

/* Around the size of a frame's payload: frame_max without its eight bytes. */
static void bodies_around_the_size_of_a_frame(void **state) {
    struct fixture *f = *state;
    const size_t payload = 131072 - 8, sizes[] = { 1, payload - 1, payload, payload + 1, 2 * payload, 2 * payload + 1, 1000003 };
    const size_t count = sizeof sizes / sizeof sizes[0];
    uint8_t *body = malloc(sizes[count - 1]);
    const char *queue = new_queue(f);
    fill(body, sizes[count - 1]);
    lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = queue, .auto_ack = true, .on_message = on_size }, NULL, NULL);
    for (size_t i = 0; i < count; i++) {
        lago_basic_publish_t args = { .routing_key = queue, .body = { body, sizes[i] } };
        assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    }
    expect_events(f, "1", "131063", "131064", "131065", "262128", "262129", "1000003");
    free(body);
}

static void on_keep(lago_channel_t *ch, const lago_message_t *message, void *data) {
    lago_message_t ***next = data;
    assert_int_equal(lago_message_keep(message, (*next)++), 0);
    record(fixture_of(ch), "kept");
}

/* A small message is copied, a big one shared; both outlive the callback, the channel and the connection. */
static void kept_beyond_everything(void **state) {
    struct fixture *f = *state;
    const size_t big = 1024 * 1024;
    uint8_t *body = malloc(big);
    lago_message_t *kept[3] = { NULL }, **next = kept, *again;
    const char *queue = new_queue(f);
    lago_properties_t properties = { .headers = LAGO_TABLE(LAGO_FIELD_I32("n", 5)), .message_id = "m" };
    lago_basic_consume_t consume = { .queue = queue, .consumer_tag = "c", .on_message = on_keep, .data = &next };
    fill(body, big);
    lago_basic_consume(f->ch, &consume, NULL, NULL);
    for (size_t size = big; size > 0; size = size == big ? 100 : 0) {
        lago_basic_publish_t args = { .routing_key = queue, .properties = &properties, .body = { body, size } };
        assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    }
    expect_events(f, "kept", "kept");
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    run_until(f, f->closed);
    lago_connection_free(f->conn);
    f->conn = NULL;
    assert_int_equal(lago_message_keep(kept[0], &again), 0);
    lago_message_release(kept[0]);
    assert_int_equal(again->body.size, big);
    assert_true(is_filled(again->body.data, big));
    assert_int_equal(kept[1]->body.size, 100);
    assert_true(is_filled(kept[1]->body.data, 100));
    assert_string_equal(kept[1]->properties->message_id, "m");
    assert_string_equal(kept[1]->consumer_tag.data, "c");
    assert_string_equal(kept[1]->routing_key.data, queue);
    assert_int_equal(value_of(&again->properties->headers, "n", LAGO_TYPE_INT32).as.integer, 5);
    lago_message_release(kept[1]);
    lago_message_release(again);
    lago_message_release(NULL);
    assert_int_equal(lago_message_keep(NULL, &again), LAGO_EINVAL);
    forget_events(f);
    f->name_count = 0; /* exclusive, and gone */
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_fourteen, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(zeros_by_their_bits, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(strings_with_sizes_of_their_own, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(every_type_of_a_table, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(forwarded_byte_for_byte, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_body_of_any_bytes, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_empty_body, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(bodies_around_the_size_of_a_frame, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(kept_beyond_everything, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
