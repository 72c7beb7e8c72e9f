/* Random values as a user of lago would give them: literals of fields, sized strings and NUL-terminated ones. */
#include "own.h"
#include <string.h>

#define SHORTSTR_MAX     255u
#define LONGSTR_MAX      6000u /* beyond a page and frame_min */
#define ENTRIES_MAX      7u
#define ENTRIES_MANY_MAX 70u /* librabbitmq grows its tables at 16, 32 and 64 */

#define STRING_(flag, member)                                                                                                    \
    { LAGO_PROPERTY_##flag, OWN_STRING, offsetof(lago_properties_t, member), offsetof(lago_properties_t, sizes.member) }
#define OTHER_(flag, type, member)                                                                                               \
    { LAGO_PROPERTY_##flag, type, offsetof(lago_properties_t, member), 0 }

const struct own_property own_properties[OWN_PROPERTY_COUNT] = {
    STRING_(CONTENT_TYPE, content_type),
    STRING_(CONTENT_ENCODING, content_encoding),
    OTHER_(HEADERS, OWN_TABLE, headers),
    OTHER_(DELIVERY_MODE, OWN_NUMBER8, delivery_mode),
    OTHER_(PRIORITY, OWN_NUMBER8, priority),
    STRING_(CORRELATION_ID, correlation_id),
    STRING_(REPLY_TO, reply_to),
    STRING_(EXPIRATION, expiration),
    STRING_(MESSAGE_ID, message_id),
    OTHER_(TIMESTAMP, OWN_NUMBER64, timestamp),
    STRING_(TYPE, type),
    STRING_(USER_ID, user_id),
    STRING_(APP_ID, app_id),
    STRING_(CLUSTER_ID, cluster_id),
};

/* ---------------------------------------------------------------- strings */

/* Now and then "as long as strlen() says", which must be the same. */
static lago_string_t make_string(struct random *r, size_t max) {
    lago_string_t s;
    s.data = random_octets(r, max, &s.size);
    if (s.data != NULL && strlen(s.data) == s.size && random_chance(r, 4)) s.size = LAGO_NUL_TERMINATED;
    return s;
}

static lago_bytes_t make_bytes(struct random *r) {
    lago_bytes_t b;
    b.data = random_octets(r, LONGSTR_MAX, &b.size);
    return b;
}

/* ---------------------------------------------------------------- tables */

static lago_array_t make_array(struct random *r, unsigned levels);

static const char letters[] = "tbBsuIilfdDSATFVx";

static int64_t signed_number(struct random *r, unsigned bits) {
    uint64_t v = random_number(r, bits), top = (uint64_t)1 << (bits - 1);
    return (int64_t)((v ^ top) - top); /* the sign bit, extended */
}

static void fill_float(struct random *r, lago_value_t *v) {
    if (v->type == LAGO_TYPE_FLOAT) {
        uint32_t bits = (uint32_t)random_number(r, 32);
        memcpy(&v->as.single, &bits, sizeof bits);
    } else {
        uint64_t bits = random_number(r, 64);
        memcpy(&v->as.real, &bits, sizeof bits);
    }
}

static lago_value_t make_value(struct random *r, unsigned levels) {
    lago_value_t v = { (lago_type_t)letters[random_below(r, sizeof letters - 1)], { 0 } };
    if (levels == 0 && (v.type == LAGO_TYPE_ARRAY || v.type == LAGO_TYPE_TABLE)) v.type = LAGO_TYPE_VOID;
    switch (v.type) {
    case LAGO_TYPE_BOOLEAN: v.as.boolean = random_chance(r, 2); break;
    case LAGO_TYPE_INT8: v.as.integer = signed_number(r, 8); break;
    case LAGO_TYPE_UINT8: v.as.unsigned_integer = random_number(r, 8); break;
    case LAGO_TYPE_INT16: v.as.integer = signed_number(r, 16); break;
    case LAGO_TYPE_UINT16: v.as.unsigned_integer = random_number(r, 16); break;
    case LAGO_TYPE_INT32: v.as.integer = signed_number(r, 32); break;
    case LAGO_TYPE_UINT32: v.as.unsigned_integer = random_number(r, 32); break;
    case LAGO_TYPE_INT64: v.as.integer = signed_number(r, 64); break;
    case LAGO_TYPE_TIMESTAMP: v.as.unsigned_integer = random_number(r, 64); break;
    case LAGO_TYPE_FLOAT:
    case LAGO_TYPE_DOUBLE: fill_float(r, &v); break;
    case LAGO_TYPE_DECIMAL:
        v.as.decimal.scale = (uint8_t)random_number(r, 8);
        v.as.decimal.value = (uint32_t)random_number(r, 32);
        break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: v.as.string = make_string(r, LONGSTR_MAX); break;
    case LAGO_TYPE_TABLE: v.as.table = own_table(r, levels); break;
    case LAGO_TYPE_ARRAY: v.as.array = make_array(r, levels); break;
    case LAGO_TYPE_VOID: break;
    }
    return v;
}

static size_t entry_count(struct random *r) {
    return random_chance(r, 24) ? random_below(r, ENTRIES_MANY_MAX) : random_below(r, ENTRIES_MAX);
}

static lago_array_t make_array(struct random *r, unsigned levels) {
    lago_array_t array = { NULL, NULL, 0, 0 };
    size_t count = entry_count(r);
    lago_value_t *values = random_alloc(r, count, sizeof *values);
    if (values == NULL) return array;
    for (size_t i = 0; i < count; i++) values[i] = make_value(r, levels - 1);
    array.values = values;
    array.size = count;
    return array;
}

/* Some names twice: both entries must arrive, in order. */
lago_table_t own_table(struct random *r, unsigned levels) {
    lago_table_t table = { NULL, NULL, 0, 0 };
    size_t count = entry_count(r);
    lago_field_t *fields = random_alloc(r, count, sizeof *fields);
    if (fields == NULL) return table;
    for (size_t i = 0; i < count; i++) {
        fields[i].name = i > 0 && random_chance(r, 6) ? fields[i - 1].name : make_string(r, SHORTSTR_MAX);
        fields[i].value = make_value(r, levels - 1);
    }
    table.fields = fields;
    table.size = count;
    return table;
}

static lago_value_t chain_value(struct random *r, unsigned levels) {
    lago_value_t *values;
    lago_value_t v = { LAGO_TYPE_VOID, { 0 } };
    if (levels == 0) return v;
    v.type = random_chance(r, 2) ? LAGO_TYPE_TABLE : LAGO_TYPE_ARRAY;
    if (v.type == LAGO_TYPE_TABLE) {
        v.as.table = own_chain(r, levels);
    } else if ((values = random_alloc(r, 1, sizeof *values)) != NULL) {
        values[0] = chain_value(r, levels - 1);
        v.as.array = (lago_array_t){ values, NULL, 1, 0 };
    }
    return v;
}

lago_table_t own_chain(struct random *r, unsigned levels) {
    lago_field_t *fields = random_alloc(r, 1, sizeof *fields);
    if (fields == NULL) return (lago_table_t){ NULL, NULL, 0, 0 };
    fields[0].name = make_string(r, 3);
    fields[0].value = chain_value(r, levels - 1);
    return (lago_table_t){ fields, NULL, 1, 0 };
}

/* ---------------------------------------------------------------- methods and properties */

void own_args(struct random *r, const struct method_info *info, union method_args *args) {
    memset(args, 0, sizeof *args);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        void *at = (uint8_t *)args + field->offset;
        if (field->reserved) continue;
        switch (field->type) {
        case FIELD_BIT: *(bool *)at = random_chance(r, 2); break;
        case FIELD_OCTET: *(uint8_t *)at = (uint8_t)random_number(r, 8); break;
        case FIELD_SHORT: *(uint16_t *)at = (uint16_t)random_number(r, 16); break;
        case FIELD_LONG: *(uint32_t *)at = (uint32_t)random_number(r, 32); break;
        case FIELD_LONGLONG: *(uint64_t *)at = random_number(r, 64); break;
        case FIELD_SHORTSTR: *(lago_string_t *)at = make_string(r, SHORTSTR_MAX); break;
        case FIELD_LONGSTR: *(lago_bytes_t *)at = make_bytes(r); break;
        case FIELD_TABLE: *(lago_table_t *)at = own_table(r, LAGO_TABLE_DEPTH_MAX); break;
        }
    }
}

static void make_string_property(struct random *r, const struct own_property *property, lago_properties_t *properties) {
    size_t size;
    const char *data = random_octets(r, SHORTSTR_MAX, &size);
    *(const char **)(void *)((uint8_t *)properties + property->offset) = data;
    *((uint8_t *)properties + property->size_offset) = (uint8_t)size;
}

void own_make_properties(struct random *r, uint16_t flags, lago_properties_t *properties) {
    *properties = (lago_properties_t){ .present = flags };
    for (size_t i = 0; i < OWN_PROPERTY_COUNT; i++) {
        const struct own_property *property = &own_properties[i];
        void *at = (uint8_t *)properties + property->offset;
        if (!(flags & property->flag)) continue;
        switch (property->type) {
        case OWN_STRING: make_string_property(r, property, properties); break;
        case OWN_NUMBER8: *(uint8_t *)at = (uint8_t)random_number(r, 8); break;
        case OWN_NUMBER64: *(uint64_t *)at = random_number(r, 64); break;
        case OWN_TABLE: *(lago_table_t *)at = own_table(r, LAGO_TABLE_DEPTH_MAX); break;
        }
    }
}

lago_string_t own_property_string(const lago_properties_t *properties, const struct own_property *property) {
    lago_string_t s;
    s.data = *(const char *const *)(const void *)((const uint8_t *)properties + property->offset);
    s.size = *((const uint8_t *)properties + property->size_offset);
    return s;
}
