/*
 * What RabbitMQ says in headers and ends: counts, offsets, deaths, the consumer timeout. The headers are a peer's: whatever
 * stands in them, nothing crashes and nothing is read outside.
 */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A message with these headers, encoded as a received one, in memory without a spare byte. */
struct received {
    lago_message_t message;
    lago_properties_t properties;
    uint8_t *raw;
};

static void receive_raw(struct received *r, const void *raw, size_t size) {
    memset(r, 0, sizeof(*r));
    r->raw = malloc(size + !size);
    assert_non_null(r->raw);
    if (size) memcpy(r->raw, raw, size);
    r->properties.headers = (lago_table_t){ .raw = r->raw, .size = size };
    r->message.properties = &r->properties;
}

static void receive(struct received *r, lago_table_t headers) {
    lago_table_builder_t *builder = lago_table_builder_new();
    lago_table_iterator_t it = lago_table_iterate(&headers);
    lago_field_t field;
    while (lago_table_next(&it, &field) == 1) assert_int_equal(lago_table_builder_add(builder, &field), 0);
    lago_table_t table = lago_table_builder_table(builder);
    receive_raw(r, table.raw, table.size);
    lago_table_builder_free(builder);
}

static void forget(struct received *r) { free(r->raw); }

#define assert_text(view, expected)                                                                                              \
    do {                                                                                                                         \
        assert_int_equal((view).size, strlen(expected));                                                                         \
        assert_memory_equal((view).data, expected, (view).size);                                                                 \
    } while (0)

/* ---------------------------------------------------------------- counts and offsets */

static void counts_and_offset(void **state) {
    (void)state;
    struct received r;
    uint64_t offset = 7;
    receive(&r, LAGO_TABLE(LAGO_FIELD_I64("x-delivery-count", 3), LAGO_FIELD_I64("x-acquired-count", 5),
                           LAGO_FIELD_I64("x-stream-offset", 0)));
    assert_int_equal(lago_message_delivery_count(&r.message), 3);
    assert_int_equal(lago_message_acquired_count(&r.message), 5);
    assert_true(lago_message_stream_offset(&r.message, NULL));
    assert_true(lago_message_stream_offset(&r.message, &offset));
    assert_int_equal(offset, 0);
    forget(&r);
}

static void a_count_that_is_none_is_0(void **state) {
    (void)state;
    struct received r;
    receive(&r, LAGO_TABLE(LAGO_FIELD_STR("x-delivery-count", "3"), LAGO_FIELD_I64("x-acquired-count", -5)));
    assert_int_equal(lago_message_delivery_count(&r.message), 0);
    assert_int_equal(lago_message_acquired_count(&r.message), 0);
    forget(&r);
}

static void nothing_there_is_0(void **state) {
    (void)state;
    struct received r;
    uint64_t offset = 7;
    lago_death_t death;
    receive(&r, LAGO_TABLE(LAGO_FIELD_I32("n", 1)));
    const lago_message_t *messages[] = { &r.message, NULL };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lago_message_delivery_count(messages[i]), 0);
        assert_int_equal(lago_message_acquired_count(messages[i]), 0);
        assert_false(lago_message_stream_offset(messages[i], &offset));
        assert_int_equal(offset, 7);
        lago_death_iterator_t it = lago_message_deaths(messages[i]);
        assert_false(lago_death_next(&it, &death));
        assert_false(lago_message_first_death(messages[i], &death));
        assert_false(lago_message_last_death(messages[i], NULL));
    }
    forget(&r);
}

static void a_number_of_any_type_is_read_and_nothing_else(void **state) {
    (void)state;
    static const lago_array_t none = { NULL, NULL, 0, 0 };
    const struct {
        lago_field_t field;
        bool readable;
    } cases[] = {
        { LAGO_FIELD_I8("x-stream-offset", 9), true },        { LAGO_FIELD_U8("x-stream-offset", 9), true },
        { LAGO_FIELD_I16("x-stream-offset", 9), true },       { LAGO_FIELD_U16("x-stream-offset", 9), true },
        { LAGO_FIELD_I32("x-stream-offset", 9), true },       { LAGO_FIELD_U32("x-stream-offset", 9), true },
        { LAGO_FIELD_TIMESTAMP("x-stream-offset", 9), true }, { LAGO_FIELD_I64("x-stream-offset", -9), false },
        { LAGO_FIELD_STR("x-stream-offset", "9"), false },    { LAGO_FIELD_DOUBLE("x-stream-offset", 9), false },
        { LAGO_FIELD_BOOL("x-stream-offset", true), false },  { LAGO_FIELD_ARRAY("x-stream-offset", none), false },
        { LAGO_FIELD_VOID("x-stream-offset"), false },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct received r;
        uint64_t offset = 0;
        receive(&r, (lago_table_t){ &cases[i].field, NULL, 1, 0 });
        assert_int_equal(lago_message_stream_offset(&r.message, &offset), cases[i].readable);
        assert_int_equal(offset, cases[i].readable ? 9 : 0);
        forget(&r);
    }
}

/* ---------------------------------------------------------------- deaths */

/* A message that expired in "wait", came back, and was then rejected three times in "work", by RabbitMQ 4. */
#define DEATHS                                                                                                                   \
    LAGO_FIELD_STR("x-first-death-exchange", ""), LAGO_FIELD_STR("x-first-death-queue", "wait"),                                 \
        LAGO_FIELD_STR("x-first-death-reason", "expired"), LAGO_FIELD_STR("x-last-death-queue", "work"),                         \
        LAGO_FIELD_STR("x-last-death-reason", "rejected"), LAGO_FIELD_STR("x-last-death-exchange", "dlx"),                       \
        LAGO_FIELD_ARRAY(                                                                                                        \
            "x-death",                                                                                                           \
            LAGO_ARRAY(LAGO_VALUE_TABLE(LAGO_TABLE(                                                                              \
                           LAGO_FIELD_I64("count", 3), LAGO_FIELD_STR("reason", "rejected"), LAGO_FIELD_STR("queue", "work"),    \
                           LAGO_FIELD_TIMESTAMP("time", 1700000002), LAGO_FIELD_STR("exchange", "dlx"),                          \
                           LAGO_FIELD_ARRAY("routing-keys", LAGO_ARRAY(LAGO_VALUE_STR("work"), LAGO_VALUE_STR("cc"))))),         \
                       LAGO_VALUE_TABLE(LAGO_TABLE(LAGO_FIELD_STR("original-expiration", "500"), LAGO_FIELD_I64("count", 1),     \
                                                   LAGO_FIELD_STR("reason", "expired"), LAGO_FIELD_STR("queue", "wait"),         \
                                                   LAGO_FIELD_TIMESTAMP("time", 1700000001), LAGO_FIELD_STR("exchange", "")))))

static void every_death_with_all_its_members(void **state) {
    (void)state;
    struct received r;
    lago_death_t death;
    lago_value_t key;
    receive(&r, LAGO_TABLE(DEATHS));
    lago_death_iterator_t it = lago_message_deaths(&r.message);
    assert_true(lago_death_next(&it, &death));
    assert_text(death.queue, "work");
    assert_int_equal(death.reason, LAGO_DEATH_REJECTED);
    assert_text(death.reason_text, "rejected");
    assert_text(death.exchange, "dlx");
    assert_int_equal(death.count, 3);
    assert_int_equal(death.time, 1700000002);
    assert_int_equal(death.original_expiration.size, 0);
    lago_array_iterator_t keys = lago_array_iterate(&death.routing_keys);
    assert_int_equal(lago_array_next(&keys, &key), 1);
    assert_text(key.as.string, "work");
    assert_int_equal(lago_array_next(&keys, &key), 1);
    assert_text(key.as.string, "cc");
    assert_int_equal(lago_array_next(&keys, &key), 0);
    assert_true(lago_death_next(&it, &death));
    assert_text(death.queue, "wait");
    assert_int_equal(death.reason, LAGO_DEATH_EXPIRED);
    assert_text(death.original_expiration, "500");
    assert_int_equal(death.routing_keys.size, 0);
    assert_false(lago_death_next(&it, &death));
    assert_false(lago_death_next(&it, &death));
    forget(&r);
}

static void the_first_and_the_last_death(void **state) {
    (void)state;
    struct received r;
    lago_death_t death;
    receive(&r, LAGO_TABLE(DEATHS));
    assert_true(lago_message_first_death(&r.message, NULL));
    assert_true(lago_message_first_death(&r.message, &death));
    assert_text(death.queue, "wait");
    assert_text(death.exchange, "");
    assert_text(death.original_expiration, "500");
    assert_int_equal(death.reason, LAGO_DEATH_EXPIRED);
    assert_true(lago_message_last_death(&r.message, &death));
    assert_text(death.queue, "work");
    assert_int_equal(death.count, 3);
    forget(&r);
}

/* RabbitMQ 3.10 has no x-last-death-*. */
static void the_last_death_is_the_top_of_x_death(void **state) {
    (void)state;
    struct received r;
    lago_death_t death;
    lago_table_t work = LAGO_TABLE(LAGO_FIELD_STR("queue", "work"), LAGO_FIELD_STR("reason", "maxlen"));
    lago_table_t wait = LAGO_TABLE(LAGO_FIELD_STR("queue", "wait"), LAGO_FIELD_STR("reason", "expired"));
    receive(&r, LAGO_TABLE(LAGO_FIELD_ARRAY("x-death", LAGO_ARRAY(LAGO_VALUE_TABLE(work), LAGO_VALUE_TABLE(wait)))));
    assert_true(lago_message_last_death(&r.message, &death));
    assert_text(death.queue, "work");
    assert_int_equal(death.reason, LAGO_DEATH_MAXLEN);
    assert_false(lago_message_first_death(&r.message, &death));
    forget(&r);
}

static void a_first_death_without_its_entry_has_what_is_said(void **state) {
    (void)state;
    struct received r;
    lago_death_t death;
    receive(&r, LAGO_TABLE(LAGO_FIELD_STR("x-first-death-queue", "gone"), LAGO_FIELD_STR("x-first-death-reason", "struck")));
    assert_true(lago_message_first_death(&r.message, &death));
    assert_text(death.queue, "gone");
    assert_int_equal(death.reason, LAGO_DEATH_OTHER);
    assert_text(death.reason_text, "struck");
    assert_int_equal(death.count, 0);
    forget(&r);
}

static void odd_entries_are_passed_over(void **state) {
    (void)state;
    struct received r;
    lago_death_t death;
    lago_table_t odd =
        LAGO_TABLE(LAGO_FIELD_I32("queue", 1), LAGO_FIELD_BOOL("reason", true), LAGO_FIELD_STR("count", "3"),
                   LAGO_FIELD_I64("time", -1), LAGO_FIELD_STR("routing-keys", "k"), LAGO_FIELD_BYTES("exchange", "x", 1));
    receive(&r,
            LAGO_TABLE(LAGO_FIELD_ARRAY("x-death", LAGO_ARRAY(LAGO_VALUE_I32(1), LAGO_VALUE_TABLE(odd), LAGO_VALUE_STR("s")))));
    lago_death_iterator_t it = lago_message_deaths(&r.message);
    assert_true(lago_death_next(&it, &death));
    assert_int_equal(death.queue.size, 0);
    assert_int_equal(death.reason, LAGO_DEATH_OTHER);
    assert_int_equal(death.count, 0);
    assert_int_equal(death.time, 0);
    assert_int_equal(death.routing_keys.size, 0);
    assert_text(death.exchange, "x");
    assert_false(lago_death_next(&it, &death));
    forget(&r);
    receive(&r, LAGO_TABLE(LAGO_FIELD_STR("x-death", "none"), LAGO_FIELD_I32("x-first-death-queue", 1)));
    it = lago_message_deaths(&r.message);
    assert_false(lago_death_next(&it, &death));
    assert_false(lago_message_first_death(&r.message, &death));
    forget(&r);
}

static void reasons_have_names(void **state) {
    (void)state;
    assert_string_equal(lago_death_reason_name(LAGO_DEATH_OTHER), "other");
    assert_string_equal(lago_death_reason_name(LAGO_DEATH_REJECTED), "rejected");
    assert_string_equal(lago_death_reason_name(LAGO_DEATH_EXPIRED), "expired");
    assert_string_equal(lago_death_reason_name(LAGO_DEATH_MAXLEN), "maxlen");
    assert_string_equal(lago_death_reason_name(LAGO_DEATH_DELIVERY_LIMIT), "delivery_limit");
    assert_string_equal(lago_death_reason_name((lago_death_reason_t)99), "other");
}

/* ---------------------------------------------------------------- hostile headers */

static size_t sum(lago_string_t s) {
    size_t total = s.size;
    for (size_t i = 0; i < s.size; i++) total += (unsigned char)s.data[i];
    return total;
}

/* Read all that there is to read; a sanitizer watches. */
static uint64_t read_all(const lago_message_t *message) {
    lago_death_t death;
    lago_value_t key;
    uint64_t total = lago_message_delivery_count(message) + lago_message_acquired_count(message);
    total += lago_message_stream_offset(message, NULL) + lago_message_first_death(message, &death);
    total += lago_message_last_death(message, &death);
    lago_death_iterator_t it = lago_message_deaths(message);
    while (lago_death_next(&it, &death)) {
        total += sum(death.queue) + sum(death.reason_text) + sum(death.exchange) + sum(death.original_expiration);
        lago_array_iterator_t keys = lago_array_iterate(&death.routing_keys);
        while (lago_array_next(&keys, &key) == 1) total += key.type == LAGO_TYPE_STRING ? sum(key.as.string) : 1;
    }
    return total;
}

static void cut_short_at_every_byte(void **state) {
    (void)state;
    struct received whole, cut;
    receive(&whole, LAGO_TABLE(LAGO_FIELD_I64("x-delivery-count", 3), DEATHS));
    size_t size = whole.properties.headers.size;
    uint64_t all = read_all(&whole.message);
    for (size_t i = 0; i < size; i++) {
        receive_raw(&cut, whole.raw, i);
        assert_true(read_all(&cut.message) <= all);
        forget(&cut);
    }
    forget(&whole);
}

static void every_byte_replaced_by_every_other(void **state) {
    (void)state;
    struct received r;
    receive(&r, LAGO_TABLE(LAGO_FIELD_I64("x-stream-offset", 3), DEATHS));
    for (size_t i = 0; i < r.properties.headers.size; i++) {
        uint8_t good = r.raw[i];
        for (unsigned v = 0; v < 256; v++) {
            r.raw[i] = (uint8_t)v;
            (void)read_all(&r.message);
        }
        r.raw[i] = good;
    }
    forget(&r);
}

static void bytes_of_chance(void **state) {
    (void)state;
    struct received r;
    uint32_t seed = 1;
    receive(&r, LAGO_TABLE(DEATHS));
    size_t size = r.properties.headers.size;
    uint8_t *good = malloc(size);
    assert_non_null(good);
    memcpy(good, r.raw, size);
    for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < 4; i++) {
            seed = seed * 1664525u + 1013904223u;
            r.raw[seed % size] = (uint8_t)(seed >> 24);
        }
        (void)read_all(&r.message);
        memcpy(r.raw, good, size);
    }
    free(good);
    forget(&r);
}

/* ---------------------------------------------------------------- time to live */

static void an_expiration_is_a_decimal_string(void **state) {
    (void)state;
    lago_expiration_t text;
    assert_string_equal(lago_expiration_format(&text, 60000), "60000");
    assert_ptr_equal(lago_expiration_format(&text, 1), text.text);
    assert_string_equal(LAGO_EXPIRATION(0), "0");
    assert_string_equal(LAGO_EXPIRATION(-5), "0");
    assert_string_equal(LAGO_EXPIRATION(INT64_MIN), "0");
    assert_string_equal(LAGO_EXPIRATION(LAGO_EXPIRATION_MAX_MS), "315360000000");
    assert_string_equal(LAGO_EXPIRATION(INT64_MAX), "315360000000");
    assert_null(lago_expiration_format(NULL, 1));
    lago_properties_t properties = { .expiration = LAGO_EXPIRATION(250), .priority = 3 };
    assert_string_equal(properties.expiration, "250");
}

/* ---------------------------------------------------------------- the consumer timeout */

#define TIMED_OUT                                                                                                                \
    "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. This timeout value " \
    "can be configured, see consumers doc guide to learn more"

static void a_consumer_timeout_is_told_apart(void **state) {
    (void)state;
    static struct client_test test;
    client_init(&test);
    client_open(&test);
    lago_channel_t *ch = client_open_channel(&test);
    server_send(&test.v, "1 channel.close reply_code=406 reply_text=\"" TIMED_OUT "\"");
    const lago_reason_t *reason = lago_channel_reason(ch);
    assert_journal(&test, "1 close ECHANNEL; channel free");
    assert_true(lago_reason_is_consumer_timeout(reason));
    assert_string_equal(
        reason->hint, "a delivery was held too long: acknowledge sooner, prefetch fewer, or raise the broker's consumer_timeout");
    client_end(&test);
}

static void other_ends_are_no_consumer_timeout(void **state) {
    (void)state;
    lago_reason_t reason = { .code = LAGO_ECHANNEL, .origin = LAGO_BY_BROKER, .reply_code = 406, .reply_text = TIMED_OUT };
    assert_true(lago_reason_is_consumer_timeout(&reason));
    reason.reply_code = 404;
    assert_false(lago_reason_is_consumer_timeout(&reason));
    reason.reply_code = 406;
    reason.origin = LAGO_BY_CLIENT;
    assert_false(lago_reason_is_consumer_timeout(&reason));
    reason.origin = LAGO_BY_BROKER;
    (void)snprintf(reason.reply_text, sizeof(reason.reply_text), "PRECONDITION_FAILED - unknown delivery tag 1");
    assert_false(lago_reason_is_consumer_timeout(&reason));
    (void)snprintf(reason.reply_text, sizeof(reason.reply_text), "delivery acknowledgement on channel 1");
    assert_false(lago_reason_is_consumer_timeout(&reason));
    assert_false(lago_reason_is_consumer_timeout(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_offset),
        cmocka_unit_test(a_count_that_is_none_is_0),
        cmocka_unit_test(nothing_there_is_0),
        cmocka_unit_test(a_number_of_any_type_is_read_and_nothing_else),
        cmocka_unit_test(every_death_with_all_its_members),
        cmocka_unit_test(the_first_and_the_last_death),
        cmocka_unit_test(the_last_death_is_the_top_of_x_death),
        cmocka_unit_test(a_first_death_without_its_entry_has_what_is_said),
        cmocka_unit_test(odd_entries_are_passed_over),
        cmocka_unit_test(reasons_have_names),
        cmocka_unit_test(cut_short_at_every_byte),
        cmocka_unit_test(every_byte_replaced_by_every_other),
        cmocka_unit_test(bytes_of_chance),
        cmocka_unit_test(an_expiration_is_a_decimal_string),
        cmocka_unit_test(a_consumer_timeout_is_told_apart),
        cmocka_unit_test(other_ends_are_no_consumer_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
