/* lago's values to librabbitmq's, member by member. */
#include "convert.h"
#include <string.h>

static amqp_bytes_t bytes_of(const void *data, size_t size) {
    amqp_bytes_t b = { size, (void *)(uintptr_t)data };
    if (data == NULL) b.len = 0;
    if (b.len == LAGO_NUL_TERMINATED) b.len = strlen(data);
    return b;
}

static amqp_array_t convert_array(struct random *r, const lago_array_t *array, enum license license);

static void convert_number(const lago_value_t *v, amqp_field_value_t *out) {
    switch (v->type) {
    case LAGO_TYPE_INT8: out->value.i8 = (int8_t)v->as.integer; break;
    case LAGO_TYPE_UINT8: out->value.u8 = (uint8_t)v->as.unsigned_integer; break;
    case LAGO_TYPE_INT16: out->value.i16 = (int16_t)v->as.integer; break;
    case LAGO_TYPE_UINT16: out->value.u16 = (uint16_t)v->as.unsigned_integer; break;
    case LAGO_TYPE_INT32: out->value.i32 = (int32_t)v->as.integer; break;
    case LAGO_TYPE_UINT32: out->value.u32 = (uint32_t)v->as.unsigned_integer; break;
    case LAGO_TYPE_INT64: out->value.i64 = v->as.integer; break;
    case LAGO_TYPE_TIMESTAMP: out->value.u64 = v->as.unsigned_integer; break;
    default: break;
    }
}

static amqp_field_value_t convert_value(struct random *r, const lago_value_t *v, enum license license) {
    amqp_field_value_t out;
    memset(&out, 0, sizeof out);
    out.kind = (uint8_t)v->type;
    switch (v->type) {
    case LAGO_TYPE_BOOLEAN: out.value.boolean = v->as.boolean; break;
    case LAGO_TYPE_FLOAT: memcpy(&out.value.f32, &v->as.single, sizeof v->as.single); break;
    case LAGO_TYPE_DOUBLE: memcpy(&out.value.f64, &v->as.real, sizeof v->as.real); break;
    case LAGO_TYPE_DECIMAL:
        out.value.decimal.decimals = v->as.decimal.scale;
        out.value.decimal.value = v->as.decimal.value;
        break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: out.value.bytes = bytes_of(v->as.string.data, v->as.string.size); break;
    case LAGO_TYPE_TABLE: out.value.table = convert_table(r, &v->as.table, license); break;
    case LAGO_TYPE_ARRAY: out.value.array = convert_array(r, &v->as.array, license); break;
    default: convert_number(v, &out);
    }
    if (license == LICENSE_FREE && v->type == LAGO_TYPE_INT64 && random_chance(r, 2)) {
        out.kind = AMQP_FIELD_KIND_U64;
        out.value.u64 = (uint64_t)v->as.integer;
    }
    return out;
}

static amqp_array_t convert_array(struct random *r, const lago_array_t *array, enum license license) {
    amqp_array_t out = { 0, random_alloc(r, array->size, sizeof(amqp_field_value_t)) };
    if (out.entries == NULL) return out;
    for (size_t i = 0; i < array->size; i++) out.entries[i] = convert_value(r, &array->values[i], license);
    out.num_entries = (int)array->size;
    return out;
}

amqp_table_t convert_table(struct random *r, const lago_table_t *table, enum license license) {
    amqp_table_t out = { 0, random_alloc(r, table->size, sizeof(amqp_table_entry_t)) };
    if (out.entries == NULL) return out;
    for (size_t i = 0; i < table->size; i++) {
        out.entries[i].key = bytes_of(table->fields[i].name.data, table->fields[i].name.size);
        out.entries[i].value = convert_value(r, &table->fields[i].value, license);
    }
    out.num_entries = (int)table->size;
    return out;
}

/* ---------------------------------------------------------------- methods and properties */

static void convert_field(struct random *r, const struct method_field *field, const void *from, void *to, enum license license) {
    const lago_string_t *s = from;
    const lago_bytes_t *b = from;
    switch (field->type) {
    case FIELD_BIT: *(amqp_boolean_t *)to = *(const bool *)from; break;
    case FIELD_OCTET: *(uint8_t *)to = *(const uint8_t *)from; break;
    case FIELD_SHORT: *(uint16_t *)to = *(const uint16_t *)from; break;
    case FIELD_LONG: *(uint32_t *)to = *(const uint32_t *)from; break;
    case FIELD_LONGLONG: *(uint64_t *)to = *(const uint64_t *)from; break;
    case FIELD_SHORTSTR: *(amqp_bytes_t *)to = bytes_of(s->data, s->size); break;
    case FIELD_LONGSTR: *(amqp_bytes_t *)to = bytes_of(b->data, b->size); break;
    case FIELD_TABLE: *(amqp_table_t *)to = convert_table(r, from, license); break;
    }
}

/* What peers of old put there. lago writes zero and reads past it. */
static void fill_reserved(struct random *r, const struct peer_field *field, void *to) {
    amqp_bytes_t *b = to;
    switch (field->type) {
    case PEER_BIT: *(amqp_boolean_t *)to = random_chance(r, 2); break;
    case PEER_SHORT: *(uint16_t *)to = (uint16_t)random_number(r, 16); break;
    case PEER_BYTES: b->bytes = random_octets(r, UINT8_MAX, &b->len); break;
    default: break;
    }
}

void convert_args(struct random *r, const struct method_info *info, const void *args, void *out, enum license license) {
    const struct peer_method *method = peer_find(info->id);
    memset(out, 0, PEER_STRUCT_SIZE);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        void *to = (uint8_t *)out + method->fields[i].offset;
        if (!field->reserved) {
            convert_field(r, field, (const uint8_t *)args + field->offset, to, license);
        } else if (license == LICENSE_FREE) {
            fill_reserved(r, &method->fields[i], to);
        }
    }
}

void convert_properties(struct random *r, const lago_properties_t *from, amqp_basic_properties_t *to, enum license license) {
    memset(to, 0, sizeof *to);
    to->_flags = from->present;
    for (size_t i = 0; i < OWN_PROPERTY_COUNT; i++) {
        const struct own_property *property = &own_properties[i];
        const void *at = (const uint8_t *)from + property->offset;
        void *out = (uint8_t *)to + peer_properties[i].offset;
        lago_string_t s;
        switch (property->type) {
        case OWN_STRING:
            s = own_property_string(from, property);
            *(amqp_bytes_t *)out = bytes_of(s.data, s.size);
            break;
        case OWN_NUMBER8: *(uint8_t *)out = *(const uint8_t *)at; break;
        case OWN_NUMBER64: *(uint64_t *)out = *(const uint64_t *)at; break;
        case OWN_TABLE: *(amqp_table_t *)out = convert_table(r, at, license); break;
        }
    }
}
