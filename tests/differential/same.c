/* Compare values that both have read. Letters differ in one point only: librabbitmq knows 'L', which lago reads as 'l'. */
#include "same.h"
#include <inttypes.h>
#include <string.h>

static bool differs(struct text *why, const char *what) {
    text_addf(why, "%s differs; ", what);
    return false;
}

static bool same_bytes(const void *data, size_t size, const amqp_bytes_t *peer) {
    if (data == NULL) size = 0;
    if (size == LAGO_NUL_TERMINATED) size = strlen(data);
    return size == peer->len && (size == 0 || memcmp(data, peer->bytes, size) == 0);
}

static bool same_array(const lago_array_t *own, const amqp_array_t *peer, struct text *why);

static bool same_value(const lago_value_t *own, const amqp_field_value_t *peer, struct text *why) {
    uint8_t kind = peer->kind == AMQP_FIELD_KIND_U64 ? AMQP_FIELD_KIND_I64 : peer->kind;
    if ((uint8_t)own->type != kind) return differs(why, "type");
    switch (own->type) {
    case LAGO_TYPE_BOOLEAN: return own->as.boolean == (peer->value.boolean != 0);
    case LAGO_TYPE_INT8: return own->as.integer == peer->value.i8;
    case LAGO_TYPE_UINT8: return own->as.unsigned_integer == peer->value.u8;
    case LAGO_TYPE_INT16: return own->as.integer == peer->value.i16;
    case LAGO_TYPE_UINT16: return own->as.unsigned_integer == peer->value.u16;
    case LAGO_TYPE_INT32: return own->as.integer == peer->value.i32;
    case LAGO_TYPE_UINT32: return own->as.unsigned_integer == peer->value.u32;
    case LAGO_TYPE_INT64: return own->as.integer == peer->value.i64; /* the same 64 bits for 'L' */
    case LAGO_TYPE_TIMESTAMP: return own->as.unsigned_integer == peer->value.u64;
    case LAGO_TYPE_FLOAT: return memcmp(&own->as.single, &peer->value.f32, sizeof own->as.single) == 0; /* NaNs too */
    case LAGO_TYPE_DOUBLE: return memcmp(&own->as.real, &peer->value.f64, sizeof own->as.real) == 0;
    case LAGO_TYPE_DECIMAL:
        return own->as.decimal.scale == peer->value.decimal.decimals && own->as.decimal.value == peer->value.decimal.value;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: return same_bytes(own->as.string.data, own->as.string.size, &peer->value.bytes);
    case LAGO_TYPE_TABLE: return same_table(&own->as.table, &peer->value.table, why);
    case LAGO_TYPE_ARRAY: return same_array(&own->as.array, &peer->value.array, why);
    case LAGO_TYPE_VOID: return true;
    }
    return differs(why, "an unknown type");
}

static bool same_array(const lago_array_t *own, const amqp_array_t *peer, struct text *why) {
    lago_array_iterator_t it = lago_array_iterate(own);
    lago_value_t value;
    for (int i = 0; i < peer->num_entries; i++) {
        if (lago_array_next(&it, &value) != 1) return differs(why, "array: lago's is shorter, its length");
        if (same_value(&value, &peer->entries[i], why)) continue;
        text_addf(why, "in value %d of an array, '%c'; ", i, peer->entries[i].kind);
        return false;
    }
    return lago_array_next(&it, &value) == 0 || differs(why, "array: lago's is longer, its length");
}

bool same_table(const lago_table_t *own, const amqp_table_t *peer, struct text *why) {
    lago_table_iterator_t it = lago_table_iterate(own);
    lago_field_t field;
    for (int i = 0; i < peer->num_entries; i++) {
        if (lago_table_next(&it, &field) != 1) return differs(why, "table: lago's is shorter, its length");
        if (!same_bytes(field.name.data, field.name.size, &peer->entries[i].key)) return differs(why, "a table's name");
        if (same_value(&field.value, &peer->entries[i].value, why)) continue;
        text_addf(why, "in entry %d of a table, '%c'; ", i, peer->entries[i].value.kind);
        return false;
    }
    return lago_table_next(&it, &field) == 0 || differs(why, "table: lago's is longer, its length");
}

/* ---------------------------------------------------------------- methods and properties */

static bool same_field(const struct method_field *field, const void *own, const void *peer, struct text *why) {
    const lago_string_t *s = own;
    const lago_bytes_t *b = own;
    switch (field->type) {
    case FIELD_BIT: return *(const bool *)own == (*(const amqp_boolean_t *)peer != 0);
    case FIELD_OCTET: return *(const uint8_t *)own == *(const uint8_t *)peer;
    case FIELD_SHORT: return *(const uint16_t *)own == *(const uint16_t *)peer;
    case FIELD_LONG: return *(const uint32_t *)own == *(const uint32_t *)peer;
    case FIELD_LONGLONG: return *(const uint64_t *)own == *(const uint64_t *)peer;
    case FIELD_SHORTSTR: return same_bytes(s->data, s->size, peer);
    case FIELD_LONGSTR: return same_bytes(b->data, b->size, peer);
    default: return same_table(own, peer, why);
    }
}

bool same_args(const struct method_info *info, const void *own, const void *peer, struct text *why) {
    const struct peer_method *method = peer_find(info->id);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        if (field->reserved) continue;
        if (!same_field(field, (const uint8_t *)own + field->offset, (const uint8_t *)peer + method->fields[i].offset, why)) {
            return differs(why, field->name);
        }
    }
    return true;
}

static bool same_property(size_t i, const lago_properties_t *own, const amqp_basic_properties_t *peer, struct text *why) {
    const struct own_property *property = &own_properties[i];
    const void *at = (const uint8_t *)own + property->offset, *other = (const uint8_t *)peer + peer_properties[i].offset;
    lago_string_t s;
    switch (property->type) {
    case OWN_NUMBER8: return *(const uint8_t *)at == *(const uint8_t *)other;
    case OWN_NUMBER64: return *(const uint64_t *)at == *(const uint64_t *)other;
    case OWN_TABLE: return same_table(at, other, why);
    default: s = own_property_string(own, property); return same_bytes(s.data, s.size, other);
    }
}

/* librabbitmq leaves what is absent as it was, so only what is present is compared. */
bool same_properties(const lago_properties_t *own, const amqp_basic_properties_t *peer, struct text *why) {
    if (own->present != (peer->_flags & UINT16_MAX)) return differs(why, "property flags");
    for (size_t i = 0; i < OWN_PROPERTY_COUNT; i++) {
        if (!(own->present & own_properties[i].flag) || same_property(i, own, peer, why)) continue;
        return differs(why, peer_properties[i].name);
    }
    return true;
}

/* ---------------------------------------------------------------- printing */

static void print_bytes(struct text *t, const amqp_bytes_t *b) {
    text_add(t, "\"");
    text_add_escaped(t, b->bytes, b->len, 256);
    text_add(t, "\"");
}

static void print_value(struct text *t, const amqp_field_value_t *v) {
    text_addf(t, "%c:", v->kind);
    switch (v->kind) {
    case AMQP_FIELD_KIND_BOOLEAN: text_addf(t, "%d", v->value.boolean); break;
    case AMQP_FIELD_KIND_I8: text_addf(t, "%d", v->value.i8); break;
    case AMQP_FIELD_KIND_U8: text_addf(t, "%u", v->value.u8); break;
    case AMQP_FIELD_KIND_I16: text_addf(t, "%d", v->value.i16); break;
    case AMQP_FIELD_KIND_U16: text_addf(t, "%u", v->value.u16); break;
    case AMQP_FIELD_KIND_I32: text_addf(t, "%" PRId32, v->value.i32); break;
    case AMQP_FIELD_KIND_U32: text_addf(t, "%" PRIu32, v->value.u32); break;
    case AMQP_FIELD_KIND_F32: text_addf(t, "%g", (double)v->value.f32); break;
    case AMQP_FIELD_KIND_F64: text_addf(t, "%g", v->value.f64); break;
    case AMQP_FIELD_KIND_DECIMAL: text_addf(t, "%" PRIu32 "e-%u", v->value.decimal.value, v->value.decimal.decimals); break;
    case AMQP_FIELD_KIND_UTF8:
    case AMQP_FIELD_KIND_BYTES: print_bytes(t, &v->value.bytes); break;
    case AMQP_FIELD_KIND_TABLE: peer_print_table(t, &v->value.table); break;
    case AMQP_FIELD_KIND_ARRAY:
        text_add(t, "[");
        for (int i = 0; i < v->value.array.num_entries; i++) {
            print_value(t, &v->value.array.entries[i]);
            text_add(t, ",");
        }
        text_add(t, "]");
        break;
    case AMQP_FIELD_KIND_VOID: break;
    default: text_addf(t, "%" PRIu64, v->value.u64);
    }
}

void peer_print_table(struct text *t, const amqp_table_t *table) {
    text_add(t, "{");
    for (int i = 0; i < table->num_entries; i++) {
        print_bytes(t, &table->entries[i].key);
        text_add(t, "=");
        print_value(t, &table->entries[i].value);
        text_add(t, ",");
    }
    text_add(t, "}");
}

static void print_field(struct text *t, const struct peer_field *field, const void *at) {
    text_addf(t, " %s=", field->name);
    switch (field->type) {
    case PEER_BIT: text_addf(t, "%d", *(const amqp_boolean_t *)at); break;
    case PEER_OCTET: text_addf(t, "%u", *(const uint8_t *)at); break;
    case PEER_SHORT: text_addf(t, "%u", *(const uint16_t *)at); break;
    case PEER_LONG: text_addf(t, "%" PRIu32, *(const uint32_t *)at); break;
    case PEER_LONGLONG: text_addf(t, "%" PRIu64, *(const uint64_t *)at); break;
    case PEER_BYTES: print_bytes(t, at); break;
    case PEER_TABLE: peer_print_table(t, at); break;
    }
}

void peer_print_args(struct text *t, const struct peer_method *method, const void *args) {
    text_add(t, method->name);
    for (size_t i = 0; i < peer_field_count(method); i++) {
        print_field(t, &method->fields[i], (const uint8_t *)args + method->fields[i].offset);
    }
}

void peer_print_properties(struct text *t, const amqp_basic_properties_t *properties) {
    text_addf(t, "flags=%04" PRIx32, properties->_flags);
    for (size_t i = 0; i < OWN_PROPERTY_COUNT; i++) {
        if (!(properties->_flags & own_properties[i].flag)) continue;
        print_field(t, &peer_properties[i], (const uint8_t *)properties + peer_properties[i].offset);
    }
}
