/*
 * Content headers (AMQP 0-9-1, 4.2.6.1): read, written in each of the three ways, terminated, printed, merged.
 *
 * Input: an octet of flags, then the payload of a header frame; with the flag PLAIN its class, weight and size are left out.
 */
#include "everyday.h"
#include "fuzz.h"
#include "properties.h"
#include "reader.h"
#include "table.h"

enum {
    ALL_FOURTEEN,
    HEADERS,
    HEADERS_REFUSED,
    CONTINUED,
    WRONG_CLASS,
    WEIGHT,
    CUT_SHORT,
    TRAILING,
    FULL_STRING,
    PLAIN_WAY,
    HUGE,
    OVERLAID
};
const char *const fuzz_milestones[] = { "all fourteen properties",
                                        "a header table written again",
                                        "a header table that must not be sent",
                                        "the continuation flag: 501",
                                        "a foreign class: 505",
                                        "a weight: 501",
                                        "properties cut short: 501",
                                        "trailing bytes: 501",
                                        "a string of 255 bytes",
                                        "the same octets by the plain way",
                                        "a body of 2^64 - 1 bytes",
                                        "properties laid over others",
                                        NULL };

#define PAYLOAD_MAX 8192u
#define PLAIN       1u  /* only flags and properties are given */
#define PRINT       10u /* both: it takes longer than all the rest */
#define OVERLAY     4u

static uint8_t payload[PAYLOAD_MAX + FRAME_END_SIZE + 64], out[PAYLOAD_MAX + MESSAGE_HEAD_MAX],
    again[PAYLOAD_MAX + MESSAGE_HEAD_MAX];

#define PUBLISH_FRAME (FRAME_OVERHEAD + 9u) /* without names */

/* As part of a publish; not if it has headers. */
static void check_fast(size_t size, const struct content_header *header) {
    struct basic_publish publish = { .mandatory = false };
    uint8_t *end = message_head_put(again, 1, &publish, &header->properties, header->body_size);
    bool has_table = header->properties.present & LAGO_PROPERTY_HEADERS;
    REQUIRE(has_table ? end == NULL : end == again + PUBLISH_FRAME + FRAME_OVERHEAD + size);
    REQUIRE(!end || memcmp(again + PUBLISH_FRAME + FRAME_HEADER_SIZE, payload, size) == 0);
    REACH_IF(end, PLAIN_WAY);
}

static void check_written(size_t size, const struct content_header *header) {
    struct header_plan plan;
    int problem = table_sendable(&header->properties.headers);
    struct writer w = writer_over(out, sizeof(out));
    content_header_write(&w, header->body_size, &header->properties);
    REQUIRE(w.error == problem);
    REQUIRE(content_header_plan(&plan, &header->properties) == problem);
    REACH_IF(problem < 0, HEADERS_REFUSED);
    if (problem) return;
    /* one encoding only: what was read is what is written */
    REQUIRE(w.size == size && memcmp(out, payload, size) == 0);
    REQUIRE(plan.size == size && content_header_put(again, &plan, header->body_size) == again + size);
    REQUIRE(memcmp(again, payload, size) == 0);
    REACH_IF(header->properties.headers.size, HEADERS);
    check_fast(size, header);
    struct writer short_of_one = writer_over(again, size - 1);
    again[size - 1] = 0x5a;
    content_header_write(&short_of_one, header->body_size, &header->properties);
    REQUIRE(short_of_one.error == LAGO_ETOOBIG && again[size - 1] == 0x5a);
}

static void print(const lago_properties_t *properties) {
    char small[32], large[4096];
    struct text cut, whole;
    text_init(&cut, small, sizeof(small));
    text_init(&whole, large, sizeof(large));
    properties_print(&cut, properties, 100);
    properties_print(&whole, properties, 100);
    REQUIRE(cut.length == whole.length && strlen(small) < sizeof(small));
    size_t printed = strlen(large);
    REQUIRE(printed == (whole.length < sizeof(large) ? whole.length : sizeof(large) - 1));
    for (size_t i = 0; i < printed; i++) REQUIRE(large[i] >= ' ' && large[i] <= '~');
}

/* Over others: all of the first, and of the second what the first does not have. */
static void overlay(const struct content_header *header) {
    lago_properties_t merged = { .content_type = "below", .priority = 9, .message_id = "id", .sizes = { .message_id = 2 } };
    uint16_t below = LAGO_PROPERTY_CONTENT_TYPE | LAGO_PROPERTY_PRIORITY | LAGO_PROPERTY_MESSAGE_ID;
    struct header_plan plan;
    merged.present = below;
    properties_overlay(&merged, &header->properties);
    REQUIRE(merged.present == (below | header->properties.present));
    bool over = header->properties.present & LAGO_PROPERTY_MESSAGE_ID;
    REQUIRE(merged.message_id == header->properties.message_id || !over);
    REQUIRE(over || strcmp(merged.message_id, "id") == 0);
    if (content_header_plan(&plan, &merged) == 0) {
        REQUIRE(plan.size <= sizeof(again) && content_header_put(again, &plan, 0) == again + plan.size);
        struct content_header both;
        REQUIRE(content_header_read(again, plan.size, &both) == 0 && both.properties.present == merged.present);
        REACH(OVERLAID);
    }
}

static void check_strings(const lago_properties_t *p) {
    REACH_IF(p->sizes.correlation_id == UINT8_MAX, FULL_STRING);
    REQUIRE(!p->content_type || strlen(p->content_type) <= p->sizes.content_type);
    REQUIRE(!p->cluster_id || p->cluster_id[p->sizes.cluster_id] == '\0');
    REQUIRE(!p->message_id || p->message_id[p->sizes.message_id] == '\0');
    REQUIRE(!p->app_id || p->app_id[p->sizes.app_id] == '\0');
    REQUIRE(!p->reply_to || p->reply_to[p->sizes.reply_to] == '\0');
}

static void look_at_refusal(size_t size) {
    struct reader r = reader_over(payload, size);
    struct content_header shorter;
    uint16_t class_id = reader_u16(&r), weight = reader_u16(&r);
    (void)reader_u64(&r);
    uint16_t flags = reader_u16(&r);
    if (r.failed) return;
    REACH_IF(class_id != CLASS_BASIC, WRONG_CLASS);
    REACH_IF(class_id == CLASS_BASIC && weight, WEIGHT);
    if (class_id != CLASS_BASIC || weight) return;
    REACH_IF(flags & 1, CONTINUED);
    if (flags & 3) return;
    bool trailing = content_header_read(payload, size - 1, &shorter) == 0;
    REACH_IF(trailing, TRAILING);
    REACH_IF(!trailing, CUT_SHORT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t fixed[CONTENT_HEADER_FIXED_SIZE] = { 0, CLASS_BASIC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5 };
    struct content_header header;
    if (size == 0 || size > PAYLOAD_MAX - sizeof(fixed)) return 0;
    uint8_t how = data[0];
    size_t at = how & PLAIN ? sizeof(fixed) : 0, payload_size = at + size - 1;
    memcpy(payload, fixed, at);
    memcpy(payload + at, data + 1, size - 1);
    fuzz_poison(payload + payload_size + FRAME_END_SIZE, 64);
    int rc = content_header_read(payload, payload_size, &header);
    REQUIRE(rc == 0 || rc == REPLY_FRAME_ERROR || rc == REPLY_UNEXPECTED_FRAME);
    if (rc == 0) {
        REACH_IF(header.properties.present == 0xfffc, ALL_FOURTEEN);
        REACH_IF(header.body_size == UINT64_MAX, HUGE);
        check_written(payload_size, &header);
        if (how & OVERLAY) overlay(&header);
        content_header_terminate(&header);
        check_strings(&header.properties);
        if ((how & PRINT) == PRINT) print(&header.properties);
    } else {
        look_at_refusal(payload_size);
    }
    fuzz_unpoison(payload + payload_size + FRAME_END_SIZE, 64);
    return 0;
}
