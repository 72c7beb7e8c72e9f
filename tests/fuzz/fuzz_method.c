/*
 * Methods (AMQP 0-9-1, 1.4 to 1.9), all of them, as a peer may send them: read, terminated, printed, written again. What was read
 * and can be written reads as the same; the fast ways of everyday.h do as the engine does.
 *
 * Input: an octet that chooses the method (beyond the last one: class and method follow), its payload.
 */
#include "everyday.h"
#include "fuzz.h"
#include "method.h"
#include "table.h"

enum { PUBLISH, DELIVER, ACK, CUT_SHORT, TRAILING, UNKNOWN, TABLE, TABLE_REFUSED, LONG_STRING, RESERVED, START, PRINTED };
const char *const fuzz_milestones[] = { "basic.publish as the fast way writes it",
                                        "basic.deliver as the fast way reads it",
                                        "basic.ack as the fast way writes it",
                                        "a method cut short: 502",
                                        "a method with trailing bytes: 502",
                                        "a method that nobody knows: 540",
                                        "a method with a table written again",
                                        "a table that must not be sent",
                                        "a short string of 255 bytes",
                                        "a reserved field that is not empty",
                                        "connection.start with properties",
                                        "a method printed with escapes",
                                        NULL };

#define PAYLOAD_MAX 4096u
#define PRINT       0x80u /* of the first octet: print as well, which takes most of the time */

static uint8_t payload[PAYLOAD_MAX + FRAME_END_SIZE + 64], out[2 * PAYLOAD_MAX], again[2 * PAYLOAD_MAX];

/* ---------------------------------------------------------------- the same */

static bool same_bytes(const void *a, size_t a_size, const void *b, size_t b_size) {
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static bool same_field(const struct method_field *field, const void *a, const void *b) {
    const lago_string_t *s = a, *other = b;
    const lago_table_t *table = a, *other_table = b;
    switch (field->type) {
    case FIELD_BIT: return *(const bool *)a == *(const bool *)b;
    case FIELD_OCTET: return *(const uint8_t *)a == *(const uint8_t *)b;
    case FIELD_SHORT: return *(const uint16_t *)a == *(const uint16_t *)b;
    case FIELD_LONG: return *(const uint32_t *)a == *(const uint32_t *)b;
    case FIELD_LONGLONG: return *(const uint64_t *)a == *(const uint64_t *)b;
    case FIELD_TABLE: return same_bytes(table->raw, table->size, other_table->raw, other_table->size);
    default: REACH_IF(s->size == UINT8_MAX, LONG_STRING); return same_bytes(s->data, s->size, other->data, other->size);
    }
}

static bool same(const struct method_info *info, const void *a, const void *b) {
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        if (field->reserved) continue;
        if (!same_field(field, (const uint8_t *)a + field->offset, (const uint8_t *)b + field->offset)) return false;
    }
    return true;
}

/* ---------------------------------------------------------------- fast ways */

static void check_deliver(size_t size, const struct method_info *info, int rc, const union method_args *args) {
    union method_args fast;
    memset(&fast, 0, sizeof(fast));
    int fast_rc = deliver_read(payload, size, &fast.basic_deliver);
    REQUIRE(fast_rc == rc);
    if (rc) return;
    REQUIRE(same(info, &fast, args));
    REACH(DELIVER);
}

static void check_written(const struct method_info *info, const union method_args *args, size_t size) {
    if (info->id == METHOD_BASIC_PUBLISH) {
        struct basic_publish publish = args->basic_publish;
        size_t fast_size = 0;
        REQUIRE(publish_measure(&publish, &fast_size) == 0 && fast_size == size);
        REQUIRE(publish_put(again, &publish) == again + size && memcmp(again, out, size) == 0);
        uint8_t *end = message_head_put(again, 7, &publish, NULL, 1);
        REQUIRE(end && memcmp(again + FRAME_HEADER_SIZE, out, size) == 0 && again[FRAME_HEADER_SIZE + size] == FRAME_END);
        REACH(PUBLISH);
    }
    if (info->id == METHOD_BASIC_ACK) {
        uint8_t *end = ack_frame_put(again, 1, args->basic_ack.delivery_tag, args->basic_ack.multiple);
        REQUIRE(end == again + ACK_FRAME_SIZE && memcmp(again + FRAME_HEADER_SIZE, out, size) == 0);
        REACH(ACK);
    }
}

/* ---------------------------------------------------------------- the engine */

/* What a table in it makes of writing: 0 or the error. */
static int table_problem(const struct method_info *info, const union method_args *args) {
    for (size_t i = 0; i < info->field_count; i++) {
        if (info->fields[i].type != FIELD_TABLE || info->fields[i].reserved) continue;
        const lago_table_t *table = (const void *)((const uint8_t *)args + info->fields[i].offset);
        int rc = table_sendable(table);
        if (rc < 0) return rc;
        REACH_IF(table->size > 0, TABLE);
        REACH_IF(table->size > 0 && info->id == METHOD_CONNECTION_START, START);
    }
    return 0;
}

static void write_and_read(const struct method_info *info, const union method_args *args, size_t size_read) {
    struct writer measured = writer_measure(), w = writer_over(out, sizeof(out));
    const struct method_info *info_again = NULL;
    union method_args args_again;
    int problem = table_problem(info, args);
    method_write(&measured, info, args);
    method_write(&w, info, args);
    REQUIRE(w.error == problem && measured.error == problem);
    REACH_IF(problem < 0, TABLE_REFUSED);
    if (problem) return;
    REQUIRE(w.size == measured.size && w.size <= size_read);
    REACH_IF(w.size < size_read, RESERVED);
    check_written(info, args, w.size);
    REQUIRE(method_read(out, w.size, &info_again, &args_again) == 0 && info_again == info);
    REQUIRE(same(info, args, &args_again));
    struct writer short_of_one = writer_over(again, w.size - 1);
    again[w.size - 1] = 0x5a;
    method_write(&short_of_one, info, args);
    REQUIRE(short_of_one.error == LAGO_ETOOBIG && again[w.size - 1] == 0x5a);
}

static void print(const struct method_info *info, const union method_args *args) {
    char small[48], large[4096];
    struct text cut, whole;
    text_init(&cut, small, sizeof(small));
    text_init(&whole, large, sizeof(large));
    method_print(&cut, info, args);
    method_print(&whole, info, args);
    REQUIRE(cut.length == whole.length && strlen(small) < sizeof(small));
    size_t printed = strlen(large);
    REQUIRE(printed == (whole.length < sizeof(large) ? whole.length : sizeof(large) - 1));
    for (size_t i = 0; i < printed; i++) REQUIRE(large[i] >= ' ' && large[i] <= '~');
    REACH_IF(strstr(large, "\\x"), PRINTED);
}

/* The NULs go to octets that have been read, and change nothing else. */
static void terminate(const struct method_info *info, union method_args *args) {
    method_terminate(info, args);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        const lago_string_t *s = (const void *)((const uint8_t *)args + field->offset);
        if (field->type != FIELD_SHORTSTR || field->reserved) continue;
        REQUIRE(s->data[s->size] == '\0');
        if (field->offset > 0) continue; /* enough of one of them */
        for (size_t at = 0; at < s->size; at++) REQUIRE((uint8_t)s->data[at] == out[5 + at] || info->fields != field);
    }
}

static bool put_payload(const uint8_t *data, size_t size, size_t *payload_size) {
    if (size == 0 || size - 1 > PAYLOAD_MAX - 4) return false;
    const struct method_info *chosen = method_at(data[0] & ~PRINT);
    uint8_t *at = payload;
    if (chosen) at = put_u32(at, chosen->id);
    memcpy(at, data + 1, size - 1);
    *payload_size = (size_t)(at - payload) + size - 1;
    payload[*payload_size] = FRAME_END;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct method_info *info = NULL;
    union method_args args;
    size_t payload_size;
    if (!put_payload(data, size, &payload_size)) return 0;
    fuzz_poison(payload + payload_size + FRAME_END_SIZE, 64);
    int rc = method_read(payload, payload_size, &info, &args);
    REQUIRE(info ? rc == 0 || rc == REPLY_SYNTAX_ERROR : rc == REPLY_NOT_IMPLEMENTED || rc == REPLY_FRAME_ERROR);
    REACH_IF(rc == REPLY_NOT_IMPLEMENTED, UNKNOWN);
    if (info && info->id == METHOD_BASIC_DELIVER) check_deliver(payload_size, info, rc, &args);
    if (rc == REPLY_SYNTAX_ERROR) {
        const struct method_info *same_info;
        bool trailing = method_read(payload, payload_size - 1, &same_info, &args) == 0;
        REACH_IF(trailing, TRAILING);
        REACH_IF(!trailing, CUT_SHORT);
    }
    if (rc == 0) {
        write_and_read(info, &args, payload_size);
        if (data[0] & PRINT) print(info, &args);
        terminate(info, &args);
    }
    fuzz_unpoison(payload + payload_size + FRAME_END_SIZE, 64);
    return 0;
}
