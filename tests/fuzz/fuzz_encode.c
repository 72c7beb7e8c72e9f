/*
 * What an application gives: arguments, properties and tables of any kind, wrong ones too. It is refused, or what is encoded reads as
 * what was given; measuring, writing and the fast ways agree; nothing is written past the end.
 *
 * Input: decisions.
 */
#include "arena.h"
#include "everyday.h"
#include "fuzz.h"
#include "method.h"
#include "properties.h"
#include "table.h"

enum {
    WRITTEN,
    TOO_LONG,
    BAD_TYPE,
    OUT_OF_RANGE,
    DEEP,
    RAW_TABLE,
    BAD_RAW,
    NUL_TERMINATED,
    HEADER,
    HEADER_REFUSED,
    HEAD,
    BUILT,
    NO_DATA
};
const char *const fuzz_milestones[] = { "a method with a table of five entries",
                                        "a name too long",
                                        "a type that there is not",
                                        "a number out of range",
                                        "tables too deep",
                                        "an encoded table given",
                                        "a malformed one given",
                                        "a string that ends at its NUL",
                                        "properties encoded",
                                        "properties refused",
                                        "a publish by its fast way",
                                        "an entry built at run time",
                                        "a string without data",
                                        NULL };

#define FIELDS_MAX 128u
#define GIVEN_MAX  2u /* of an input */
#define STRINGS    600u
#define OUT_MAX    ((size_t)1 << 15)

static lago_field_t fields[FIELDS_MAX];
static lago_value_t values[FIELDS_MAX];
static size_t fields_used, values_used;
static char letters[STRINGS + 1];
static uint8_t out[OUT_MAX + 64], again[OUT_MAX];
static struct decisions d;
static struct arena arena;
static bool given_badly; /* something that must be refused was given */

/* ---------------------------------------------------------------- values from decisions */

static lago_string_t some_string(size_t max) {
    uint8_t how = decide(&d);
    lago_string_t s = { letters, how };
    if (how == 255) s.size = 256 + decide(&d);
    if (how == 254) s = (lago_string_t){ NULL, decide(&d) };
    if (how == 253) s = (lago_string_t){ letters + STRINGS - decide(&d), LAGO_NUL_TERMINATED };
    if (how == 252) s = (lago_string_t){ letters, LAGO_NUL_TERMINATED };
    if (how < 16) { /* of the input itself */
        size_t size = how;
        s.data = (const char *)decide_bytes(&d, &size);
        s.size = size;
    }
    REACH_IF(s.size == LAGO_NUL_TERMINATED, NUL_TERMINATED);
    REACH_IF(!s.data, NO_DATA);
    size_t size = !s.data ? 0 : s.size == LAGO_NUL_TERMINATED ? strlen(s.data) : s.size;
    given_badly = given_badly || size > max;
    return s;
}

static lago_table_t some_table(unsigned depth);

static lago_array_t some_array(unsigned depth);

static lago_value_t some_value(unsigned depth) {
    static const char types[] = "tbBsuIilfdDTxSAFV";
    uint8_t how = decide(&d);
    lago_value_t v = { .type = (lago_type_t)(how < 200 ? types[how % 17] : decide(&d)) };
    switch (v.type) {
    case LAGO_TYPE_TABLE: v.as.table = some_table(depth + 1); break;
    case LAGO_TYPE_ARRAY: v.as.array = some_array(depth + 1); break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: v.as.string = some_string(SIZE_MAX); break;
    case LAGO_TYPE_BOOLEAN: v.as.boolean = how & 16; break;
    case LAGO_TYPE_DECIMAL: v.as.decimal = (lago_decimal_t){ decide(&d), decide_u32(&d) }; break;
    default:
        v.as.unsigned_integer = how & 32 ? decide_u64(&d) : how & 64 ? (uint64_t)(int64_t)(int8_t)decide(&d) : decide(&d);
        break;
    }
    return v;
}

/* Encoded bytes of whatever kind. */
static const uint8_t *some_raw(size_t *size) {
    *size = decide(&d) & 63;
    REACH(RAW_TABLE);
    return decide_bytes(&d, size);
}

static lago_table_t some_table(unsigned depth) {
    uint8_t how = decide(&d);
    size_t count = how & 7, size = 0;
    lago_table_t table = { .depth = how & 64 ? how : 0 }; /* lago's own: what stands there must not matter */
    if (how & 128) {
        table.raw = some_raw(&size);
        table.size = size;
        return table;
    }
    if (depth > 40 || count > FIELDS_MAX - fields_used) return table;
    lago_field_t *own = &fields[fields_used];
    fields_used += count;
    for (size_t i = 0; i < count; i++) {
        own[i].name = some_string(UINT8_MAX);
        own[i].value = some_value(depth);
    }
    if (count) table.fields = own;
    table.size = count;
    REACH_IF(count == 7, WRITTEN);
    return table;
}

static lago_array_t some_array(unsigned depth) {
    uint8_t how = decide(&d);
    size_t count = how & 7, size = 0;
    lago_array_t array = { .depth = 0 };
    if (how & 128) {
        array.raw = some_raw(&size);
        array.size = size;
        return array;
    }
    if (depth > 40 || count > FIELDS_MAX - values_used) return array;
    lago_value_t *own = &values[values_used];
    values_used += count;
    for (size_t i = 0; i < count; i++) own[i] = some_value(depth);
    if (count) array.values = own;
    array.size = count;
    return array;
}

/* ---------------------------------------------------------------- the same: what was given, and what was read */

static size_t size_of(lago_string_t s) { return !s.data ? 0 : s.size == LAGO_NUL_TERMINATED ? strlen(s.data) : s.size; }

static bool same_string(lago_string_t given, lago_string_t read) {
    return size_of(given) == read.size && (read.size == 0 || memcmp(given.data, read.data, read.size) == 0);
}

static bool same_table(const lago_table_t *given, const lago_table_t *read);

static bool same_array(const lago_array_t *given, const lago_array_t *read);

static bool same_value(const lago_value_t *given, const lago_value_t *read) {
    if (given->type != read->type) return false;
    switch (given->type) {
    case LAGO_TYPE_TABLE: return same_table(&given->as.table, &read->as.table);
    case LAGO_TYPE_ARRAY: return same_array(&given->as.array, &read->as.array);
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: return same_string(given->as.string, read->as.string);
    case LAGO_TYPE_BOOLEAN: return given->as.boolean == read->as.boolean;
    case LAGO_TYPE_FLOAT: return memcmp(&given->as.single, &read->as.single, sizeof(float)) == 0;
    case LAGO_TYPE_DECIMAL:
        return given->as.decimal.scale == read->as.decimal.scale && given->as.decimal.value == read->as.decimal.value;
    case LAGO_TYPE_VOID: return true;
    default: return given->as.unsigned_integer == read->as.unsigned_integer;
    }
}

static bool same_table(const lago_table_t *given, const lago_table_t *read) {
    lago_table_iterator_t it = lago_table_iterate(read);
    lago_field_t field;
    if (!given->fields) return given->size == read->size && (read->size == 0 || memcmp(given->raw, read->raw, read->size) == 0);
    for (size_t i = 0; i < given->size; i++) {
        if (lago_table_next(&it, &field) != 1 || !same_string(given->fields[i].name, field.name)) return false;
        if (!same_value(&given->fields[i].value, &field.value)) return false;
    }
    return lago_table_next(&it, &field) == 0;
}

static bool same_array(const lago_array_t *given, const lago_array_t *read) {
    lago_array_iterator_t it = lago_array_iterate(read);
    lago_value_t value;
    if (!given->values) return given->size == read->size && (read->size == 0 || memcmp(given->raw, read->raw, read->size) == 0);
    for (size_t i = 0; i < given->size; i++)
        if (lago_array_next(&it, &value) != 1 || !same_value(&given->values[i], &value)) return false;
    return lago_array_next(&it, &value) == 0;
}

/* ---------------------------------------------------------------- methods */

static void fill(const struct method_info *info, uint8_t *args) {
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        uint8_t *to = args + field->offset;
        if (field->reserved) continue;
        lago_string_t s;
        switch (field->type) {
        case FIELD_BIT: *(bool *)to = decide(&d) & 1; break;
        case FIELD_OCTET: *to = decide(&d); break;
        case FIELD_SHORT: *(uint16_t *)(void *)to = (uint16_t)decide_u16(&d); break;
        case FIELD_LONG: *(uint32_t *)(void *)to = decide_u32(&d); break;
        case FIELD_LONGLONG: *(uint64_t *)(void *)to = decide_u64(&d); break;
        case FIELD_SHORTSTR: *(lago_string_t *)(void *)to = some_string(UINT8_MAX); break;
        case FIELD_LONGSTR:
            s = some_string(SIZE_MAX);
            *(lago_bytes_t *)(void *)to = (lago_bytes_t){ s.data, s.data ? size_of(s) : 0 };
            break;
        default: *(lago_table_t *)(void *)to = some_table(0); break;
        }
    }
}

static bool same_field(const struct method_field *field, const void *given, const void *read) {
    const lago_bytes_t *a = given, *b = read;
    switch (field->type) {
    case FIELD_BIT: return *(const bool *)given == *(const bool *)read;
    case FIELD_OCTET: return *(const uint8_t *)given == *(const uint8_t *)read;
    case FIELD_SHORT: return memcmp(given, read, sizeof(uint16_t)) == 0;
    case FIELD_LONG: return memcmp(given, read, sizeof(uint32_t)) == 0;
    case FIELD_LONGLONG: return memcmp(given, read, sizeof(uint64_t)) == 0;
    case FIELD_SHORTSTR: return same_string(*(const lago_string_t *)given, *(const lago_string_t *)read);
    case FIELD_LONGSTR: return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
    default: return same_table(given, read);
    }
}

static void note_error(int error) {
    REACH_IF(error == LAGO_ETOOLONG, TOO_LONG);
    REACH_IF(error == LAGO_EINVAL, OUT_OF_RANGE);
    REACH_IF(error == LAGO_ETYPE, BAD_TYPE);
    REACH_IF(error == LAGO_EDEPTH, DEEP);
    REACH_IF(error == LAGO_ETABLE, BAD_RAW);
    REQUIRE(error == LAGO_ETOOLONG || error == LAGO_EINVAL || error == LAGO_ETYPE || error == LAGO_EDEPTH ||
            error == LAGO_ETABLE || error == LAGO_ETOOBIG);
}

static void fast_publish(const union method_args *args, size_t size) {
    struct basic_publish publish = args->basic_publish;
    bool is_usual =
        publish.exchange.data && publish.routing_key.data; /* the fast way is for what was checked: no size without data */
    uint8_t *end = !is_usual ? NULL : message_head_put(again, 1, &publish, NULL, 9);
    REQUIRE(!is_usual || (end && memcmp(again + FRAME_HEADER_SIZE, out, size) == 0));
    size_t fast_size = 0;
    REQUIRE(publish_measure(&publish, &fast_size) == 0 && fast_size == size);
    REACH(HEAD);
}

static void one_method(void) {
    const struct method_info *info = method_at(decide(&d) % METHOD_COUNT), *info_read = NULL;
    static union method_args args, read;
    memset(&args, 0, sizeof(args));
    fill(info, (uint8_t *)&args);
    struct writer measured = writer_measure(), w = writer_over(out, OUT_MAX);
    fuzz_poison(out + OUT_MAX, 64);
    method_write(&measured, info, &args);
    method_write(&w, info, &args);
    fuzz_unpoison(out + OUT_MAX, 64);
    REQUIRE(w.size == measured.size || w.error);
    REQUIRE(measured.error == w.error || w.error == LAGO_ETOOBIG);
    if (w.error) {
        note_error(w.error);
        return;
    }
    REQUIRE(!given_badly);
    REQUIRE(method_read(out, w.size, &info_read, &read) == 0 && info_read == info);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        if (field->reserved) continue;
        REQUIRE(same_field(field, (const uint8_t *)&args + field->offset, (const uint8_t *)&read + field->offset));
    }
    if (info->id == METHOD_BASIC_PUBLISH) fast_publish(&args, w.size);
}

/* ---------------------------------------------------------------- properties */

static const char *some_property(uint8_t *size, uint16_t bit, uint16_t asked) {
    *size = 0;
    if (!(asked & bit)) return NULL;
    lago_string_t s = some_string(SIZE_MAX);
    if (!s.data) return NULL;
    if (s.size <= UINT8_MAX && s.size > 0 && s.data != letters) {
        *size = (uint8_t)s.size;
        return s.data;
    }
    const char *at = letters + STRINGS - (s.size == LAGO_NUL_TERMINATED ? 0 : s.size % STRINGS);
    given_badly = given_badly || strlen(at) > UINT8_MAX;
    return at;
}

static void one_header(void) {
    lago_properties_t p = { 0 };
    uint16_t asked = (uint16_t)decide_u16(&d);
    if (asked & 1) p.present = (uint16_t)decide_u16(&d);
    if (asked & LAGO_PROPERTY_HEADERS) p.headers = some_table(0);
    if (asked & LAGO_PROPERTY_DELIVERY_MODE) p.delivery_mode = decide(&d);
    if (asked & LAGO_PROPERTY_PRIORITY) p.priority = decide(&d);
    if (asked & LAGO_PROPERTY_TIMESTAMP) p.timestamp = decide_u64(&d);
    p.content_type = some_property(&p.sizes.content_type, LAGO_PROPERTY_CONTENT_TYPE, asked);
    p.correlation_id = some_property(&p.sizes.correlation_id, LAGO_PROPERTY_CORRELATION_ID, asked);
    p.reply_to = some_property(&p.sizes.reply_to, LAGO_PROPERTY_REPLY_TO, asked);
    p.message_id = some_property(&p.sizes.message_id, LAGO_PROPERTY_MESSAGE_ID, asked);
    p.cluster_id = some_property(&p.sizes.cluster_id, LAGO_PROPERTY_CLUSTER_ID, asked);
    struct writer w = writer_over(out, OUT_MAX);
    content_header_write(&w, asked, &p);
    if (w.error) {
        note_error(w.error);
        REACH(HEADER_REFUSED);
        return;
    }
    REQUIRE(!given_badly);
    struct content_header read;
    REQUIRE(content_header_read(out, w.size, &read) == 0 && read.body_size == asked);
    REQUIRE((p.present & ~read.properties.present) == 0);
    REQUIRE(same_table(&p.headers, &read.properties.headers));
    REQUIRE(p.delivery_mode == read.properties.delivery_mode && p.priority == read.properties.priority);
    REQUIRE(p.timestamp == read.properties.timestamp);
    struct basic_publish publish = { .routing_key = { "k", 1 } };
    uint8_t *end = message_head_put(again, 1, &publish, &p, asked);
    size_t before = FRAME_OVERHEAD + 10 + FRAME_HEADER_SIZE; /* the frame of the publish, and what begins the header's */
    REQUIRE(!end || ((size_t)(end - again) == before + w.size + FRAME_END_SIZE && memcmp(again + before, out, w.size) == 0));
    REQUIRE(end || read.properties.present & LAGO_PROPERTY_HEADERS);
    REACH(HEADER);
}

static void one_entry(void) {
    lago_field_t field;
    field.name = some_string(UINT8_MAX);
    field.value = some_value(0);
    lago_table_builder_t *builder = table_builder_new(&arena.allocator);
    REQUIRE(builder);
    int rc = lago_table_builder_add(builder, &field);
    lago_table_t built = lago_table_builder_table(builder), given = { &field, NULL, 1, 0 };
    if (rc < 0) {
        note_error(rc);
        REQUIRE(built.size == 0);
    } else {
        REQUIRE(!given_badly && same_table(&given, &built) && table_sendable(&built) == 0);
        REACH(BUILT);
    }
    lago_table_builder_free(builder);
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.room) {
        arena_init(&arena);
        for (size_t i = 0; i < STRINGS; i++) letters[i] = (char)('a' + i % 26);
    }
    d = (struct decisions){ data, size };
    for (unsigned i = 0; i < GIVEN_MAX && d.left > 0; i++) {
        fields_used = values_used = 0;
        given_badly = false;
        uint8_t how = decide(&d) & 7;
        if (how < 5)
            one_method();
        else if (how < 7)
            one_header();
        else
            one_entry();
    }
    return 0;
}
