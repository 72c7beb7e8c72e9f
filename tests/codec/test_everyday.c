/* The methods of every message (1.8.3): octet for octet what the engine of method.c reads and writes. */
#include "codec_test.h"
#include "everyday.h"
#include "frame.h"
#include "method.h"
#include "properties.h"
#include <stdlib.h>

#define ROOM 8192u

static const lago_string_t strings[] = {
    { "", 0 },
    { "a", 1 },
    { "ab", 2 },
    { "abc", 3 },
    { "abcd", 4 },
    { "abcdefg", 7 },
    { "8octets.", 8 },
    { "ninechars", 9 },
    { "fifteen.octets.", 15 },
    { "sixteen.octets..", 16 },
    { "seventeen.octets.", 17 },
    { "in the middle\0a NUL", 19 },
    { "thirty-three octets are two moves", 33 },
};
#define STRING_COUNT (sizeof strings / sizeof strings[0])

static char longest[UINT8_MAX + 2];

static int make_longest(void **state) {
    (void)state;
    memset(longest, 'l', sizeof longest - 1);
    return 0;
}

/* The i-th string; behind them one of 255 octets. */
static lago_string_t string_at(size_t i) { return i < STRING_COUNT ? strings[i] : (lago_string_t){ longest, UINT8_MAX }; }

static size_t engine_writes(uint32_t id, const void *args, uint8_t *room) {
    struct writer w = writer_over(room, ROOM);
    method_write(&w, method_find(id), args);
    assert_int_equal(w.error, 0);
    return w.size;
}

/* ---------------------------------------------------------------- basic.publish */

static void publish_is_what_the_engine_writes(void **state) {
    (void)state;
    uint8_t wanted[ROOM], got[ROOM];
    for (size_t i = 0; i <= STRING_COUNT; i++) {
        for (size_t j = 0; j <= STRING_COUNT; j++) {
            struct basic_publish args = {
                .exchange = string_at(i), .routing_key = string_at(j), .mandatory = i & 1, .immediate = j & 1
            };
            size_t size = 0;
            assert_int_equal(publish_measure(&args, &size), 0);
            assert_int_equal(size, engine_writes(METHOD_BASIC_PUBLISH, &args, wanted));
            memset(got, 0xa5, sizeof got);
            assert_ptr_equal(publish_put(got, &args), got + size);
            assert_memory_equal(got, wanted, size);
            assert_int_equal(got[size], 0xa5);
        }
    }
}

static void strings_that_end_at_their_nul_are_measured(void **state) {
    (void)state;
    struct basic_publish args = { .exchange = { "logs", LAGO_NUL_TERMINATED }, .routing_key = { NULL, LAGO_NUL_TERMINATED } };
    size_t size = 0;
    assert_int_equal(publish_measure(&args, &size), 0);
    assert_int_equal(args.exchange.size, 4);
    assert_int_equal(args.routing_key.size, 0);
    assert_int_equal(size, 4 + 2 + 1 + 4 + 1 + 1);
    args.routing_key = (lago_string_t){ longest, LAGO_NUL_TERMINATED }; /* 256 octets */
    assert_int_equal(publish_measure(&args, &size), LAGO_ETOOLONG);
}

/* ---------------------------------------------------------------- basic.deliver */

static void assert_same_string(lago_string_t a, lago_string_t b) {
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
}

/* Both read the payload, or refuse it with the same reply code. */
static void assert_read_alike(const uint8_t *payload, size_t size) {
    const struct method_info *info = NULL;
    union method_args wanted;
    struct basic_deliver got;
    uint8_t *exact = malloc(size); /* so that the sanitizer sees the end */
    assert_non_null(exact);
    memcpy(exact, payload, size);
    int reply = method_read(exact, size, &info, &wanted);
    assert_int_equal(deliver_read(exact, size, &got), reply);
    if (reply == 0) {
        assert_same_string(got.consumer_tag, wanted.basic_deliver.consumer_tag);
        assert_same_string(got.exchange, wanted.basic_deliver.exchange);
        assert_same_string(got.routing_key, wanted.basic_deliver.routing_key);
        assert_int_equal(got.delivery_tag, wanted.basic_deliver.delivery_tag);
        assert_int_equal(got.redelivered, wanted.basic_deliver.redelivered);
    }
    free(exact);
}

static void deliver_is_what_the_engine_reads(void **state) {
    (void)state;
    uint8_t payload[ROOM];
    for (size_t i = 0; i <= STRING_COUNT; i++) {
        for (size_t j = 0; j <= STRING_COUNT; j++) {
            struct basic_deliver args = { string_at(i), 0x0102030405060708u + j, j & 1, string_at(j),
                                          string_at((i + j) % STRING_COUNT) };
            assert_read_alike(payload, engine_writes(METHOD_BASIC_DELIVER, &args, payload));
        }
    }
}

static void malformed_deliveries_are_refused_alike(void **state) {
    (void)state;
    uint8_t payload[ROOM];
    struct basic_deliver args = { { "ctag1.0", 7 }, 5, true, { "logs", 4 }, { "a.key", 5 } };
    size_t size = engine_writes(METHOD_BASIC_DELIVER, &args, payload);
    memset(payload + size, 0, 300);
    for (size_t cut = 4; cut < size + 300; cut++) assert_read_alike(payload, cut); /* short of octets, and with too many */
    for (size_t at = 4; at < size; at++) {
        uint8_t kept = payload[at];
        for (unsigned value = 0; value <= UINT8_MAX; value++) {
            payload[at] = (uint8_t)value;
            assert_read_alike(payload, size);
        }
        payload[at] = kept;
    }
}

static void its_strings_are_terminated(void **state) {
    (void)state;
    uint8_t payload[ROOM];
    struct basic_deliver args = { { "ctag1.0", 7 }, 5, true, { "logs", 4 }, { "a.key", 5 } };
    size_t size = engine_writes(METHOD_BASIC_DELIVER, &args, payload);
    payload[size] = FRAME_END;
    assert_int_equal(deliver_read(payload, size, &args), 0);
    deliver_terminate(&args);
    assert_string_equal(args.consumer_tag.data, "ctag1.0");
    assert_string_equal(args.exchange.data, "logs");
    assert_string_equal(args.routing_key.data, "a.key");
    assert_int_equal(args.delivery_tag, 5);
}

/* ---------------------------------------------------------------- basic.ack */

static void acks_are_what_the_engine_writes(void **state) {
    (void)state;
    static const uint64_t tags[] = { 1, 255, 256, 0x0102030405060708u, UINT64_MAX };
    uint8_t wanted[ROOM], got[ROOM];
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        for (unsigned multiple = 0; multiple < 2; multiple++) {
            struct basic_ack args = { .delivery_tag = tags[i], .multiple = multiple };
            size_t size = engine_writes(METHOD_BASIC_ACK, &args, frame_begin(wanted, FRAME_METHOD, 513, 13));
            assert_int_equal(size, 13);
            frame_finish(wanted + FRAME_HEADER_SIZE + size);
            assert_ptr_equal(ack_frame_put(got, 513, tags[i], multiple), got + ACK_FRAME_SIZE);
            assert_memory_equal(got, wanted, ACK_FRAME_SIZE);
        }
    }
}

/* ---------------------------------------------------------------- a message's head at once */

static size_t head_by_steps(uint8_t *room, const struct basic_publish *publish, const lago_properties_t *properties) {
    uint8_t payload[ROOM];
    size_t size = engine_writes(METHOD_BASIC_PUBLISH, publish, payload);
    uint8_t *at = frame_begin(room, FRAME_METHOD, 7, size);
    memcpy(at, payload, size);
    at = frame_finish(at + size);
    struct writer w = writer_over(payload, sizeof payload);
    content_header_write(&w, 1234567, properties);
    assert_int_equal(w.error, 0);
    at = frame_begin(at, FRAME_HEADER, 7, w.size);
    memcpy(at, payload, w.size);
    return (size_t)(frame_finish(at + w.size) - room);
}

static void assert_head(const struct basic_publish *publish, const lago_properties_t *properties) {
    uint8_t wanted[ROOM], got[ROOM];
    size_t size = head_by_steps(wanted, publish, properties);
    assert_true(size <= MESSAGE_HEAD_MAX);
    assert_ptr_equal(message_head_put(got, 7, publish, properties, 1234567), got + size);
    assert_memory_equal(got, wanted, size);
}

/* Property by property: absent, there, and there but empty. Fourteen of them, without the headers. */
static lago_properties_t properties_of(unsigned choice, bool zero) {
    lago_properties_t p = { .present = zero ? (uint16_t)(choice & ~(unsigned)LAGO_PROPERTY_HEADERS & 0xfffcu) : 0 };
    if (zero) return p;
    if (choice & LAGO_PROPERTY_CONTENT_TYPE) p.content_type = "application/octet-stream";
    if (choice & LAGO_PROPERTY_CONTENT_ENCODING) p.content_encoding = longest + 1;
    if (choice & LAGO_PROPERTY_DELIVERY_MODE) p.delivery_mode = LAGO_PERSISTENT;
    if (choice & LAGO_PROPERTY_PRIORITY) p.priority = 255;
    if (choice & LAGO_PROPERTY_CORRELATION_ID) p.correlation_id = "c\0d", p.sizes.correlation_id = 3;
    if (choice & LAGO_PROPERTY_REPLY_TO) p.reply_to = "amq.rabbitmq.reply-to";
    if (choice & LAGO_PROPERTY_EXPIRATION) p.expiration = "60000";
    if (choice & LAGO_PROPERTY_MESSAGE_ID) p.message_id = "";
    if (choice & LAGO_PROPERTY_TIMESTAMP) p.timestamp = 0x0102030405060708;
    if (choice & LAGO_PROPERTY_TYPE) p.type = "t";
    if (choice & LAGO_PROPERTY_USER_ID) p.user_id = "guest";
    if (choice & LAGO_PROPERTY_APP_ID) p.app_id = longest + 1;
    if (choice & LAGO_PROPERTY_CLUSTER_ID) p.cluster_id = "abc";
    return p;
}

/* The same properties, their strings with a size: what lies behind it is not of them. */
static lago_properties_t sized(lago_properties_t p) {
    static const char word[] = "any\0octets, and more";
    enum { SIZE = 10 };
    if (p.content_type) p.content_type = word, p.sizes.content_type = SIZE;
    if (p.content_encoding) p.content_encoding = longest, p.sizes.content_encoding = UINT8_MAX;
    if (p.correlation_id) p.correlation_id = word, p.sizes.correlation_id = 1;
    if (p.reply_to) p.reply_to = word, p.sizes.reply_to = SIZE;
    if (p.expiration) p.expiration = word, p.sizes.expiration = SIZE;
    if (p.message_id) p.message_id = word, p.sizes.message_id = SIZE;
    if (p.type) p.type = word, p.sizes.type = SIZE;
    if (p.user_id) p.user_id = word, p.sizes.user_id = SIZE;
    if (p.app_id) p.app_id = word, p.sizes.app_id = SIZE;
    if (p.cluster_id) p.cluster_id = word, p.sizes.cluster_id = SIZE;
    return p;
}

static void heads_are_what_the_engine_writes(void **state) {
    (void)state;
    struct basic_publish publish = { .exchange = { "logs", 4 }, .routing_key = { longest, UINT8_MAX }, .mandatory = true };
    assert_head(&publish, NULL);
    for (unsigned choice = 0; choice <= 0xfffcu; choice += 4) {
        if (choice & LAGO_PROPERTY_HEADERS) continue;
        lago_properties_t p = properties_of(choice, false), zero = properties_of(choice, true), long_ones = sized(p);
        assert_head(&publish, &p);
        assert_head(&publish, &zero);
        assert_head(&publish, &long_ones);
    }
}

static void what_must_be_measured_is_left_alone(void **state) {
    (void)state;
    uint8_t room[ROOM];
    struct basic_publish good = { .exchange = { "logs", 4 } }, bad = { .exchange = { longest, LAGO_NUL_TERMINATED } };
    lago_properties_t with_headers = { .headers = { NULL, "\1nI\0\0\0\5", 7, 0 } },
                      empty_headers = { .present = LAGO_PROPERTY_HEADERS };
    lago_properties_t unknown = { .present = 1 }, too_long = { .app_id = longest };
    assert_null(message_head_put(room, 7, &bad, NULL, 1));
    assert_null(message_head_put(room, 7, &good, &with_headers, 1));
    assert_null(message_head_put(room, 7, &good, &empty_headers, 1));
    assert_null(message_head_put(room, 7, &good, &unknown, 1));
    assert_null(message_head_put(room, 7, &good, &too_long, 1));
    assert_non_null(message_head_put(room, 7, &good, NULL, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_is_what_the_engine_writes), cmocka_unit_test(strings_that_end_at_their_nul_are_measured),
        cmocka_unit_test(deliver_is_what_the_engine_reads),  cmocka_unit_test(malformed_deliveries_are_refused_alike),
        cmocka_unit_test(its_strings_are_terminated),        cmocka_unit_test(acks_are_what_the_engine_writes),
        cmocka_unit_test(heads_are_what_the_engine_writes),  cmocka_unit_test(what_must_be_measured_is_left_alone),
    };
    return cmocka_run_group_tests(tests, make_longest, NULL);
}
