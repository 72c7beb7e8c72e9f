/*
 * Reading field tables and arrays (AMQP 0-9-1, 4.2.5.5), encoded ones and the caller's own: one entry at a time, nothing
 * allocated. All sizes go through the bounded reader, and an inner table sees only its own bytes, so that nothing reaches
 * beyond its parent's end.
 */
#include "table.h"
#include "reader.h"
#include <lago/error.h>

/* Letters of older clients, which RabbitMQ reads as well. */
#define LETTER_INT16_OLD 'U'
#define LETTER_INT64_OLD 'L'

lago_table_t table_over(const void *raw, size_t size) {
    lago_table_t table = { NULL, raw, size, 0 };
    return table;
}

/* ---------------------------------------------------------------- encoded values */

static lago_string_t read_string(struct reader *r) {
    lago_bytes_t bytes = reader_longstr(r);
    lago_string_t s = { bytes.data, bytes.size };
    return s;
}

static float read_float(struct reader *r) {
    uint32_t bits = reader_u32(r);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static double read_double(struct reader *r) {
    uint64_t bits = reader_u64(r);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static lago_decimal_t read_decimal(struct reader *r) {
    lago_decimal_t d;
    d.scale = reader_u8(r);
    d.value = reader_u32(r);
    return d;
}

static lago_type_t type_of_letter(uint8_t letter) {
    if (letter == LETTER_INT16_OLD) return LAGO_TYPE_INT16;
    if (letter == LETTER_INT64_OLD) return LAGO_TYPE_INT64;
    return (lago_type_t)letter;
}

/* A value at `depth`: what it contains lies one deeper. */
static int read_value(struct reader *r, unsigned depth, lago_value_t *value) {
    lago_value_t v = { type_of_letter(reader_u8(r)), { 0 } };
    if (r->failed) return LAGO_ETABLE;
    lago_bytes_t raw;
    switch (v.type) {
    case LAGO_TYPE_BOOLEAN: v.as.boolean = reader_u8(r) != 0; break;
    case LAGO_TYPE_INT8: v.as.integer = (int8_t)reader_u8(r); break;
    case LAGO_TYPE_UINT8: v.as.unsigned_integer = reader_u8(r); break;
    case LAGO_TYPE_INT16: v.as.integer = (int16_t)reader_u16(r); break;
    case LAGO_TYPE_UINT16: v.as.unsigned_integer = reader_u16(r); break;
    case LAGO_TYPE_INT32: v.as.integer = (int32_t)reader_u32(r); break;
    case LAGO_TYPE_UINT32: v.as.unsigned_integer = reader_u32(r); break;
    case LAGO_TYPE_INT64: v.as.integer = (int64_t)reader_u64(r); break;
    case LAGO_TYPE_TIMESTAMP: v.as.unsigned_integer = reader_u64(r); break;
    case LAGO_TYPE_FLOAT: v.as.single = read_float(r); break;
    case LAGO_TYPE_DOUBLE: v.as.real = read_double(r); break;
    case LAGO_TYPE_DECIMAL: v.as.decimal = read_decimal(r); break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: v.as.string = read_string(r); break;
    case LAGO_TYPE_VOID: break;
    case LAGO_TYPE_TABLE:
        raw = reader_longstr(r);
        v.as.table = (lago_table_t){ NULL, raw.data, raw.size, depth + 1 };
        break;
    case LAGO_TYPE_ARRAY:
        raw = reader_longstr(r);
        v.as.array = (lago_array_t){ NULL, raw.data, raw.size, depth + 1 };
        break;
    default: return LAGO_ETYPE;
    }
    if (r->failed) return LAGO_ETABLE;
    *value = v;
    return 0;
}

/* ---------------------------------------------------------------- the caller's own values */

/* As a received one would look: known size, no data without bytes. */
static lago_string_t normal_string(lago_string_t s) {
    if (s.data == NULL) s.size = 0;
    if (s.size == LAGO_NUL_TERMINATED) s.size = strlen(s.data);
    return s;
}

static int view_value(const lago_value_t *own, unsigned depth, lago_value_t *value) {
    lago_value_t v = *own;
    switch (own->type) {
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: v.as.string = normal_string(v.as.string); break;
    case LAGO_TYPE_TABLE: v.as.table.depth = depth + 1; break;
    case LAGO_TYPE_ARRAY: v.as.array.depth = depth + 1; break;
    case LAGO_TYPE_BOOLEAN:
    case LAGO_TYPE_INT8:
    case LAGO_TYPE_UINT8:
    case LAGO_TYPE_INT16:
    case LAGO_TYPE_UINT16:
    case LAGO_TYPE_INT32:
    case LAGO_TYPE_UINT32:
    case LAGO_TYPE_INT64:
    case LAGO_TYPE_FLOAT:
    case LAGO_TYPE_DOUBLE:
    case LAGO_TYPE_DECIMAL:
    case LAGO_TYPE_TIMESTAMP:
    case LAGO_TYPE_VOID: break;
    default: return LAGO_ETYPE;
    }
    *value = v;
    return 0;
}

/* ---------------------------------------------------------------- walking */

lago_table_iterator_t lago_table_iterate(const lago_table_t *table) {
    lago_table_iterator_t it = { { NULL, NULL, 0, 0 }, 0, 0 };
    if (table != NULL) it.table = *table;
    return it;
}

lago_array_iterator_t lago_array_iterate(const lago_array_t *array) {
    lago_array_iterator_t it = { { NULL, NULL, 0, 0 }, 0, 0 };
    if (array != NULL) it.array = *array;
    return it;
}

static struct reader reader_from(const void *raw, size_t at, size_t size) {
    return reader_over((const uint8_t *)raw + at, size - at);
}

/* `at` moves only past what was good, so after an error the next call meets it again. */
int lago_table_next(lago_table_iterator_t *iterator, lago_field_t *field) {
    const lago_table_t *table = &iterator->table;
    lago_field_t next;
    if (table->depth >= LAGO_TABLE_DEPTH_MAX) return LAGO_EDEPTH;
    if (iterator->at >= table->size) return 0;
    if (iterator->count >= LAGO_TABLE_ENTRIES_MAX) return LAGO_ETABLE;
    if (table->fields != NULL) {
        const lago_field_t *own = &table->fields[iterator->at];
        int rc = view_value(&own->value, table->depth, &next.value);
        if (rc < 0) return rc;
        next.name = normal_string(own->name);
        iterator->at++;
    } else {
        if (table->raw == NULL) return LAGO_ETABLE;
        struct reader r = reader_from(table->raw, iterator->at, table->size);
        next.name = reader_shortstr(&r);
        int rc = read_value(&r, table->depth, &next.value);
        if (rc < 0) return rc;
        iterator->at = table->size - reader_left(&r);
    }
    iterator->count++;
    *field = next;
    return 1;
}

int lago_array_next(lago_array_iterator_t *iterator, lago_value_t *value) {
    const lago_array_t *array = &iterator->array;
    if (array->depth >= LAGO_TABLE_DEPTH_MAX) return LAGO_EDEPTH;
    if (iterator->at >= array->size) return 0;
    if (iterator->count >= LAGO_TABLE_ENTRIES_MAX) return LAGO_ETABLE;
    if (array->values != NULL) {
        int rc = view_value(&array->values[iterator->at], array->depth, value);
        if (rc < 0) return rc;
        iterator->at++;
        iterator->count++;
        return 1;
    }
    if (array->raw == NULL) return LAGO_ETABLE;
    struct reader r = reader_from(array->raw, iterator->at, array->size);
    int rc = read_value(&r, array->depth, value);
    if (rc < 0) return rc;
    iterator->at = array->size - reader_left(&r);
    iterator->count++;
    return 1;
}

int lago_table_get(const lago_table_t *table, const char *name, lago_value_t *value) {
    if (name == NULL) return LAGO_EINVAL;
    size_t size = strlen(name);
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    int rc;
    while ((rc = lago_table_next(&it, &field)) == 1) {
        if (field.name.size != size || (size > 0 && memcmp(field.name.data, name, size) != 0)) continue;
        if (value != NULL) *value = field.value;
        return 1;
    }
    return rc;
}

/* ---------------------------------------------------------------- checking: recursion ends at LAGO_TABLE_DEPTH_MAX */

static int64_t check_array(const lago_array_t *array);

static int check_value(const lago_value_t *value) {
    int64_t rc = 0;
    if (value->type == LAGO_TYPE_TABLE) rc = lago_table_check(&value->as.table);
    if (value->type == LAGO_TYPE_ARRAY) rc = check_array(&value->as.array);
    return rc < 0 ? (int)rc : 0;
}

static int64_t check_array(const lago_array_t *array) {
    lago_array_iterator_t it = lago_array_iterate(array);
    lago_value_t value;
    int64_t count = 0;
    int rc;
    while ((rc = lago_array_next(&it, &value)) == 1) {
        rc = check_value(&value);
        if (rc < 0) return rc;
        count++;
    }
    return rc < 0 ? rc : count;
}

int64_t lago_table_check(const lago_table_t *table) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    int64_t count = 0;
    int rc;
    while ((rc = lago_table_next(&it, &field)) == 1) {
        rc = check_value(&field.value);
        if (rc < 0) return rc;
        count++;
    }
    return rc < 0 ? rc : count;
}

/* ---------------------------------------------------------------- sending: the same walk, but for the letters */

static bool is_old_letter(uint8_t letter) { return letter == LETTER_INT16_OLD || letter == LETTER_INT64_OLD; }

static int sendable(const lago_value_t *value) {
    if (value->type == LAGO_TYPE_TABLE) return table_sendable(&value->as.table);
    if (value->type == LAGO_TYPE_ARRAY) return array_sendable(&value->as.array);
    return 0;
}

int table_sendable(const lago_table_t *table) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    for (;;) {
        size_t at = it.at;
        int rc = lago_table_next(&it, &field);
        if (rc != 1) return rc;
        if (is_old_letter(((const uint8_t *)table->raw)[at + 1 + field.name.size])) return LAGO_ETYPE;
        if ((rc = sendable(&field.value)) < 0) return rc;
    }
}

int array_sendable(const lago_array_t *array) {
    lago_array_iterator_t it = lago_array_iterate(array);
    lago_value_t value;
    for (;;) {
        size_t at = it.at;
        int rc = lago_array_next(&it, &value);
        if (rc != 1) return rc;
        if (is_old_letter(((const uint8_t *)array->raw)[at])) return LAGO_ETYPE;
        if ((rc = sendable(&value)) < 0) return rc;
    }
}
