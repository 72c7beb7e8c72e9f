/* Content headers (4.2.6.1) and the fourteen properties. */
#include "codec_test.h"
#include "frame.h"
#include "properties.h"
#include "table.h"

#define ROOM     4096u
#define MASK_ALL 0xfffcu

/* ---------------------------------------------------------------- all fourteen, any of them, in one place */

#define HEADERS_RAW "\1nI\0\0\0\5"

static const lago_properties_t full = {
    .present = MASK_ALL,
    .delivery_mode = LAGO_PERSISTENT,
    .priority = 9,
    .content_type = "text/plain",
    .content_encoding = "gzip",
    .headers = { NULL, HEADERS_RAW, sizeof HEADERS_RAW - 1, 0 },
    .correlation_id = "c\0d",
    .reply_to = "amq.rabbitmq.reply-to",
    .expiration = "60000",
    .message_id = "m",
    .timestamp = 0x0102030405060708,
    .type = "t",
    .user_id = "guest",
    .app_id = "",
    .cluster_id = "cl",
    .sizes = { .correlation_id = 3 },
};

static const char full_wire[] = "\0\x3c\0\0\0\0\0\0\0\0\1\x02\xff\xfc"
                                "\12text/plain\4gzip\0\0\0\7" HEADERS_RAW "\2\11\3c\0d\25amq.rabbitmq.reply-to\5"
                                "60000\1m\1\2\3\4\5\6\7\10\1t\5guest\0\2cl";

static size_t encode(uint64_t body_size, const lago_properties_t *properties, uint8_t *room) {
    struct writer measured = writer_measure();
    content_header_write(&measured, body_size, properties);
    struct writer w = writer_over(room, ROOM);
    content_header_write(&w, body_size, properties);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.size, measured.size);
    return w.size;
}

static lago_properties_t only(uint16_t mask) {
    lago_properties_t p = { .present = mask };
    if (mask & LAGO_PROPERTY_CONTENT_TYPE) p.content_type = full.content_type;
    if (mask & LAGO_PROPERTY_CONTENT_ENCODING) p.content_encoding = full.content_encoding;
    if (mask & LAGO_PROPERTY_HEADERS) p.headers = full.headers;
    if (mask & LAGO_PROPERTY_DELIVERY_MODE) p.delivery_mode = full.delivery_mode;
    if (mask & LAGO_PROPERTY_PRIORITY) p.priority = full.priority;
    if (mask & LAGO_PROPERTY_CORRELATION_ID) p.correlation_id = full.correlation_id, p.sizes.correlation_id = 3;
    if (mask & LAGO_PROPERTY_REPLY_TO) p.reply_to = full.reply_to;
    if (mask & LAGO_PROPERTY_EXPIRATION) p.expiration = full.expiration;
    if (mask & LAGO_PROPERTY_MESSAGE_ID) p.message_id = full.message_id;
    if (mask & LAGO_PROPERTY_TIMESTAMP) p.timestamp = full.timestamp;
    if (mask & LAGO_PROPERTY_TYPE) p.type = full.type;
    if (mask & LAGO_PROPERTY_USER_ID) p.user_id = full.user_id;
    if (mask & LAGO_PROPERTY_APP_ID) p.app_id = full.app_id;
    if (mask & LAGO_PROPERTY_CLUSTER_ID) p.cluster_id = full.cluster_id;
    return p;
}

static void assert_string_same(const char *given, uint8_t given_size, const char *got, uint8_t got_size) {
    if (given == NULL) {
        assert_null(got);
        assert_int_equal(got_size, 0);
        return;
    }
    size_t size = given_size > 0 ? given_size : strlen(given);
    assert_non_null(got);
    assert_int_equal(got_size, size);
    assert_memory_equal(got, given, size);
    assert_int_equal(got[size], 0); /* it was terminated */
}

#define ASSERT_STRING(member) assert_string_same(a->member, a->sizes.member, b->member, b->sizes.member)

/* `b` is what was received of `a`. */
static void assert_properties_same(const lago_properties_t *a, const lago_properties_t *b) {
    assert_int_equal(a->present, b->present);
    assert_int_equal(a->delivery_mode, b->delivery_mode);
    assert_int_equal(a->priority, b->priority);
    assert_true(a->timestamp == b->timestamp);
    assert_int_equal(a->headers.size, b->headers.size);
    if (a->headers.size > 0) assert_memory_equal(a->headers.raw, b->headers.raw, a->headers.size);
    ASSERT_STRING(content_type);
    ASSERT_STRING(content_encoding);
    ASSERT_STRING(correlation_id);
    ASSERT_STRING(reply_to);
    ASSERT_STRING(expiration);
    ASSERT_STRING(message_id);
    ASSERT_STRING(type);
    ASSERT_STRING(user_id);
    ASSERT_STRING(app_id);
    ASSERT_STRING(cluster_id);
}

/* ---------------------------------------------------------------- writing */

static void all_fourteen_on_the_wire(void **state) {
    (void)state;
    uint8_t room[ROOM];
    assert_int_equal(encode(0x0102, &full, room), sizeof full_wire - 1);
    assert_memory_equal(room, full_wire, sizeof full_wire - 1);
}

static void no_properties_are_no_flags(void **state) {
    (void)state;
    uint8_t room[ROOM];
    static const char wire[] = "\0\x3c\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0";
    assert_int_equal(encode(UINT64_MAX, NULL, room), 14);
    assert_memory_equal(room, wire, 14);
    assert_int_equal(encode(UINT64_MAX, &(lago_properties_t){ 0 }, room), 14);
    assert_memory_equal(room, wire, 14);
}

static void what_is_not_zero_needs_no_bit(void **state) {
    (void)state;
    uint8_t room[ROOM];
    lago_properties_t p = full;
    p.present = 0;
    assert_int_equal(encode(0x0102, &p, room), sizeof full_wire - 1);
    assert_memory_equal(room, full_wire, sizeof full_wire - 1);
}

static void a_zero_is_sent_for_its_bit(void **state) {
    (void)state;
    uint8_t room[ROOM];
    lago_properties_t p = { .present = LAGO_PROPERTY_PRIORITY | LAGO_PROPERTY_TIMESTAMP | LAGO_PROPERTY_HEADERS |
                                       LAGO_PROPERTY_TYPE | LAGO_PROPERTY_DELIVERY_MODE };
    static const char wire[] = "\0\x3c\0\0\0\0\0\0\0\0\0\0\x38\x60\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_int_equal(encode(0, &p, room), sizeof wire - 1);
    assert_memory_equal(room, wire, sizeof wire - 1);
}

static void foreign_flags_are_invalid(void **state) {
    (void)state;
    for (uint16_t bit = 1; bit <= 2; bit++) {
        struct writer w = writer_measure();
        content_header_write(&w, 0, &(lago_properties_t){ .present = bit });
        assert_int_equal(w.error, LAGO_EINVAL);
    }
}

static void a_property_has_at_most_255_bytes(void **state) {
    (void)state;
    char text[257];
    memset(text, 'x', 256);
    text[256] = '\0';
    struct writer w = writer_measure();
    content_header_write(&w, 0, &(lago_properties_t){ .reply_to = text });
    assert_int_equal(w.error, LAGO_ETOOLONG);
    text[255] = '\0';
    w = writer_measure();
    content_header_write(&w, 0, &(lago_properties_t){ .reply_to = text });
    assert_int_equal(w.error, 0);
}

/* ---------------------------------------------------------------- reading */

static void every_presence_mask_comes_back(void **state) {
    (void)state;
    for (unsigned mask = 0; mask <= MASK_ALL; mask += 4) {
        lago_properties_t given = only((uint16_t)mask);
        uint8_t room[ROOM], again[ROOM];
        struct content_header header;
        size_t size = encode(mask, &given, room);
        room[size] = FRAME_END;
        assert_int_equal(content_header_read(room, size, &header), 0);
        assert_int_equal(header.body_size, mask);
        assert_int_equal(encode(mask, &header.properties, again), size);
        assert_memory_equal(room, again, size);
        content_header_terminate(&header);
        assert_properties_same(&given, &header.properties);
    }
}

static void what_one_message_brought_goes_to_the_next(void **state) {
    (void)state;
    uint8_t room[ROOM], again[ROOM];
    struct content_header header;
    size_t size = encode(7, &full, room);
    assert_int_equal(content_header_read(room, size, &header), 0);
    content_header_terminate(&header);
    assert_int_equal(encode(0x0102, &header.properties, again), sizeof full_wire - 1);
    assert_memory_equal(again, full_wire, sizeof full_wire - 1);
}

static void an_empty_string_is_there_and_empty(void **state) {
    (void)state;
    struct content_header header;
    char wire[] = "\0\x3c\0\0\0\0\0\0\0\0\0\0\x80\0\0\xce";
    assert_int_equal(content_header_read(wire, 15, &header), 0);
    assert_string_equal(header.properties.content_type, "");
    assert_int_equal(header.properties.sizes.content_type, 0);
    content_header_terminate(&header);
    assert_int_equal((uint8_t)wire[15], 0xce); /* nothing to terminate */
}

static void termination_ends_at_the_end_octet(void **state) {
    (void)state;
    struct content_header header;
    char wire[] = "\0\x3c\0\0\0\0\0\0\0\0\0\0\x80\0\2ab\xce\xaa";
    assert_int_equal(content_header_read(wire, 17, &header), 0);
    content_header_terminate(&header);
    assert_string_equal(header.properties.content_type, "ab");
    assert_int_equal((uint8_t)wire[18], 0xaa);
}

static void every_cut_and_every_surplus_is_501(void **state) {
    (void)state;
    struct content_header header;
    size_t size = sizeof full_wire - 1;
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = exact_copy(full_wire, cut);
        assert_int_equal(content_header_read(part, cut, &header), 501);
        free(part);
    }
    assert_int_equal(content_header_read(full_wire, size + 1, &header), 501);
    assert_int_equal(content_header_read(full_wire, size, &header), 0);
}

static void bad_beginnings_are_refused(void **state) {
    (void)state;
    struct content_header header;
    assert_int_equal(content_header_read("\0\x32\0\0\0\0\0\0\0\0\0\0\0\0", 14, &header), 505);
    assert_int_equal(content_header_read("\0\x3c\0\1\0\0\0\0\0\0\0\0\0\0", 14, &header), 501); /* weight */
    assert_int_equal(content_header_read("\0\x3c\0\0\0\0\0\0\0\0\0\0\0\1", 14, &header), 501); /* more flags follow */
    assert_int_equal(content_header_read("\0\x3c\0\0\0\0\0\0\0\0\0\0\0\2", 14, &header), 501); /* no such property */
    assert_int_equal(content_header_read("\0\x3c\0\0\0\0\0\0\0\0\0\0\0\1\0\0", 16, &header), 501);
}

static void a_hostile_header_size_is_501(void **state) {
    (void)state;
    struct content_header header;
    assert_int_equal(content_header_read(BYTES("\0\x3c\0\0\0\0\0\0\0\0\0\0\x20\0\xff\xff\xff\xff"), &header), 501);
    assert_int_equal(content_header_read(BYTES("\0\x3c\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\1"), &header), 501);
    assert_int_equal(content_header_read(BYTES("\0\x3c\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\0"), &header), 0);
    assert_int_equal(header.properties.headers.size, 0);
    assert_int_equal(header.properties.present, LAGO_PROPERTY_HEADERS);
}

static void random_bytes_do_no_harm(void **state) {
    (void)state;
    struct dice d = { 0x9709 };
    for (size_t i = 0; i < 100000; i++) {
        uint8_t bytes[80] = { 0, 60 };
        struct content_header header;
        size_t size = 14 + dice_below(&d, sizeof bytes - 14);
        dice_fill(&d, bytes + 12, sizeof bytes - 12);
        bytes[13] &= 0xfc;
        uint8_t *payload = exact_copy(bytes, size);
        int rc = content_header_read(payload, size, &header);
        assert_true(rc == 0 || rc == 501);
        free(payload);
    }
}

/* ---------------------------------------------------------------- merging */

/* For every mask over every other: what is said anew is said so, and all the rest as it was. */
static void what_is_said_anew_takes_its_place(void **state) {
    (void)state;
    static const lago_properties_t other = { .delivery_mode = LAGO_TRANSIENT,
                                             .priority = 1,
                                             .content_type = "a",
                                             .content_encoding = "bb",
                                             .headers = { NULL, "\1xI\0\0\0\6", 7, 0 },
                                             .correlation_id = "ccc",
                                             .reply_to = "d",
                                             .expiration = "1",
                                             .message_id = "n\0n",
                                             .timestamp = 9,
                                             .type = "u",
                                             .user_id = "v",
                                             .app_id = "w",
                                             .cluster_id = "x",
                                             .sizes = { .message_id = 3 } };
    for (unsigned bit = 4; bit <= LAGO_PROPERTY_CONTENT_TYPE; bit <<= 1) {
        uint8_t merged[ROOM], expected[ROOM];
        char words[512], all[512], line[512];
        lago_properties_t to = only(MASK_ALL & ~bit), over = { 0 };
        properties_overlay(&over, &other);
        assert_int_equal(over.present, MASK_ALL);
        over = (lago_properties_t){ .present = (uint16_t)bit };
        properties_overlay(&to, &over); /* a zero, and nothing else */
        assert_int_equal(to.present, MASK_ALL);
        to = full;
        properties_overlay(&to, &over);
        lago_properties_t zero = only(MASK_ALL & ~bit);
        zero.present = MASK_ALL;
        size_t size = encode(1, &to, merged);
        assert_int_equal(encode(1, &zero, expected), size);
        assert_memory_equal(merged, expected, size);
        lago_properties_format(&to, words, sizeof(words));
        lago_properties_format(&zero, line, sizeof(line));
        assert_string_equal(words, line);
        to = full;
        properties_overlay(&to, &other);
        lago_properties_format(&to, words, sizeof(words));
        lago_properties_format(&other, all, sizeof(all));
        assert_string_equal(words, all);
    }
    lago_properties_t to = full, none = { 0 }, foreign = { .present = 2 };
    uint8_t before[ROOM], after[ROOM];
    struct header_plan plan;
    properties_overlay(&to, &none);
    assert_int_equal(encode(1, &to, after), encode(1, &full, before));
    assert_memory_equal(before, after, sizeof full_wire - 1);
    properties_overlay(&to, &foreign);
    assert_int_equal(content_header_plan(&plan, &to), LAGO_EINVAL);
}

/* ---------------------------------------------------------------- printing */

static void properties_are_printed_in_order(void **state) {
    (void)state;
    char buffer[512];
    static const char expected[] =
        "content_type=\"text/plain\" content_encoding=\"gzip\" headers={n=5} delivery_mode=2 priority=9 "
        "correlation_id=\"c\\x00d\" reply_to=\"amq.rabbitmq.reply-to\" expiration=\"60000\" message_id=\"m\" "
        "timestamp=72623859790382856 type=\"t\" user_id=\"guest\" app_id=\"\" cluster_id=\"cl\"";
    assert_int_equal(lago_properties_format(&full, buffer, sizeof buffer), sizeof expected - 1);
    assert_string_equal(buffer, expected);
}

static void printing_before_termination_stays_inside(void **state) {
    (void)state;
    static const char wire[] = "\0\x3c\0\0\0\0\0\0\0\0\0\0\x80\x20\0\2ab";
    struct content_header header;
    char buffer[128];
    uint8_t *payload = exact_copy(wire, sizeof wire - 1);
    assert_int_equal(content_header_read(payload, sizeof wire - 1, &header), 0);
    lago_properties_format(&header.properties, buffer, sizeof buffer);
    assert_string_equal(buffer, "content_type=\"\" type=\"ab\"");
    free(payload);
}

static void printing_takes_any_buffer(void **state) {
    (void)state;
    char buffer[8];
    lago_properties_t p = { .priority = 3, .present = LAGO_PROPERTY_TYPE };
    assert_int_equal(lago_properties_format(&p, buffer, sizeof buffer), 18);
    assert_string_equal(buffer, "priorit");
    assert_int_equal(lago_properties_format(&p, NULL, 0), 18);
    assert_int_equal(lago_properties_format(NULL, buffer, sizeof buffer), 0);
    assert_string_equal(buffer, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fourteen_on_the_wire),           cmocka_unit_test(no_properties_are_no_flags),
        cmocka_unit_test(what_is_not_zero_needs_no_bit),      cmocka_unit_test(a_zero_is_sent_for_its_bit),
        cmocka_unit_test(foreign_flags_are_invalid),          cmocka_unit_test(a_property_has_at_most_255_bytes),
        cmocka_unit_test(every_presence_mask_comes_back),     cmocka_unit_test(what_one_message_brought_goes_to_the_next),
        cmocka_unit_test(an_empty_string_is_there_and_empty), cmocka_unit_test(termination_ends_at_the_end_octet),
        cmocka_unit_test(every_cut_and_every_surplus_is_501), cmocka_unit_test(bad_beginnings_are_refused),
        cmocka_unit_test(a_hostile_header_size_is_501),       cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(properties_are_printed_in_order),    cmocka_unit_test(printing_before_termination_stays_inside),
        cmocka_unit_test(printing_takes_any_buffer),          cmocka_unit_test(what_is_said_anew_takes_its_place),
    };
    return cmocka_run_group_tests_name("properties", tests, NULL, NULL);
}
