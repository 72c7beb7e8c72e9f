/* Walk librabbitmq's values and the octets they came from side by side. */
#include "explain.h"
#include "own.h"

#define SIZE_OCTETS 4u

static uint32_t u32_at(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void walk_table(struct reading *r, const amqp_table_t *table, unsigned level);
static void walk_array(struct reading *r, const amqp_array_t *array, unsigned level);

static void walk_value(struct reading *r, const amqp_field_value_t *v, unsigned level) {
    r->at++; /* the letter */
    switch (v->kind) {
    case AMQP_FIELD_KIND_BOOLEAN:
    case AMQP_FIELD_KIND_I8:
    case AMQP_FIELD_KIND_U8: r->at += 1; break;
    case AMQP_FIELD_KIND_I16:
    case AMQP_FIELD_KIND_U16: r->at += 2; break;
    case AMQP_FIELD_KIND_I32:
    case AMQP_FIELD_KIND_U32:
    case AMQP_FIELD_KIND_F32: r->at += 4; break;
    case AMQP_FIELD_KIND_DECIMAL: r->at += 5; break;
    case AMQP_FIELD_KIND_UTF8:
    case AMQP_FIELD_KIND_BYTES: r->at += SIZE_OCTETS + v->value.bytes.len; break;
    case AMQP_FIELD_KIND_TABLE: walk_table(r, &v->value.table, level + 1); break;
    case AMQP_FIELD_KIND_ARRAY: walk_array(r, &v->value.array, level + 1); break;
    case AMQP_FIELD_KIND_VOID: break;
    default: r->at += 8;
    }
}

static const uint8_t *enter(struct reading *r, unsigned level) {
    if (level > r->levels) r->levels = level;
    uint32_t size = u32_at(r->at);
    r->at += SIZE_OCTETS;
    return r->at + size;
}

static void walk_table(struct reading *r, const amqp_table_t *table, unsigned level) {
    const uint8_t *end = enter(r, level);
    for (int i = 0; i < table->num_entries; i++) {
        r->at += 1 + table->entries[i].key.len;
        walk_value(r, &table->entries[i].value, level);
    }
    if (r->at != end) r->overrun = true;
}

static void walk_array(struct reading *r, const amqp_array_t *array, unsigned level) {
    const uint8_t *end = enter(r, level);
    for (int i = 0; i < array->num_entries; i++) walk_value(r, &array->entries[i], level);
    if (r->at != end) r->overrun = true;
}

struct reading explain_table(const uint8_t *raw, const amqp_table_t *table) {
    struct reading r = { raw, false, 0 };
    walk_table(&r, table, 1);
    return r;
}

struct reading explain_args(const uint8_t *raw, const struct method_info *info, const void *args) {
    const struct peer_method *method = peer_find(info->id);
    struct reading r = { raw, false, 0 };
    unsigned bits = 0; /* of those that share an octet */
    for (size_t i = 0; i < info->field_count; i++) {
        const void *at = (const uint8_t *)args + method->fields[i].offset;
        if (info->fields[i].type == FIELD_BIT) {
            if (bits++ % 8 == 0) r.at++;
            continue;
        }
        bits = 0;
        switch (info->fields[i].type) {
        case FIELD_OCTET: r.at += 1; break;
        case FIELD_SHORT: r.at += 2; break;
        case FIELD_LONG: r.at += 4; break;
        case FIELD_LONGLONG: r.at += 8; break;
        case FIELD_SHORTSTR: r.at += 1 + ((const amqp_bytes_t *)at)->len; break;
        case FIELD_LONGSTR: r.at += SIZE_OCTETS + ((const amqp_bytes_t *)at)->len; break;
        default: walk_table(&r, at, 1);
        }
    }
    return r;
}

struct reading explain_properties(const uint8_t *raw, const amqp_basic_properties_t *properties) {
    struct reading r = { raw, false, 0 };
    do r.at += 2;
    while (r.at[-1] & 1); /* another word of flags follows */
    for (size_t i = 0; i < OWN_PROPERTY_COUNT; i++) {
        const void *at = (const uint8_t *)properties + peer_properties[i].offset;
        if (!(properties->_flags & own_properties[i].flag)) continue;
        switch (own_properties[i].type) {
        case OWN_STRING: r.at += 1 + ((const amqp_bytes_t *)at)->len; break;
        case OWN_NUMBER8: r.at += 1; break;
        case OWN_NUMBER64: r.at += 8; break;
        case OWN_TABLE: walk_table(&r, at, 1); break;
        }
    }
    return r;
}

/* ---------------------------------------------------------------- letters: lago's iterator has translated the old ones */

static const uint8_t *letter_in_array(const lago_array_t *array, char letter);

/* `at` is where the value's letter is. */
static const uint8_t *letter_in_value(const uint8_t *at, const lago_value_t *v, char letter) {
    if (*at == (uint8_t)letter) return at;
    if (v->type == LAGO_TYPE_TABLE) return explain_letter(&v->as.table, letter);
    return v->type == LAGO_TYPE_ARRAY ? letter_in_array(&v->as.array, letter) : NULL;
}

static const uint8_t *letter_in_array(const lago_array_t *array, char letter) {
    lago_array_iterator_t it = lago_array_iterate(array);
    lago_value_t value;
    const uint8_t *found = NULL;
    for (size_t at = 0; found == NULL && lago_array_next(&it, &value) == 1; at = it.at) {
        found = letter_in_value((const uint8_t *)array->raw + at, &value, letter);
    }
    return found;
}

const uint8_t *explain_letter(const lago_table_t *table, char letter) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    const uint8_t *found = NULL;
    for (size_t at = 0; found == NULL && lago_table_next(&it, &field) == 1; at = it.at) {
        found = letter_in_value((const uint8_t *)table->raw + at + 1 + field.name.size, &field.value, letter);
    }
    return found;
}

bool explain_args_have_letter(const struct method_info *info, const void *args, char letter) {
    for (size_t i = 0; i < info->field_count; i++) {
        if (info->fields[i].type != FIELD_TABLE) continue;
        if (explain_letter((const void *)((const uint8_t *)args + info->fields[i].offset), letter) != NULL) return true;
    }
    return false;
}

/* ---------------------------------------------------------------- names */

static bool value_has_empty_name(const amqp_field_value_t *v) {
    if (v->kind == AMQP_FIELD_KIND_TABLE) return explain_has_empty_name(&v->value.table);
    if (v->kind != AMQP_FIELD_KIND_ARRAY) return false;
    for (int i = 0; i < v->value.array.num_entries; i++) {
        if (value_has_empty_name(&v->value.array.entries[i])) return true;
    }
    return false;
}

bool explain_has_empty_name(const amqp_table_t *table) {
    for (int i = 0; i < table->num_entries; i++) {
        if (table->entries[i].key.len == 0 || value_has_empty_name(&table->entries[i].value)) return true;
    }
    return false;
}
