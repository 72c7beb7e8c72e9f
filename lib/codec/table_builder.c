/*
 * Writing field tables and arrays (AMQP 0-9-1, 4.2.5.5), and the builder that grows one at run time. What is encoded already is
 * checked and copied as it is: a received table leaves byte for byte as it came.
 */
#include "alloc.h"
#include "table.h"
#include <lago/error.h>
#include <string.h>

#define SIZE_OCTETS 4u /* before a table or an array */

static void write_table(struct writer *w, const lago_table_t *table, unsigned depth);
static void write_array(struct writer *w, const lago_array_t *array, unsigned depth);

/* ---------------------------------------------------------------- values */

static void write_octets(struct writer *w, uint64_t v, unsigned octets) {
    switch (octets) {
    case 1: writer_u8(w, (uint8_t)v); break;
    case 2: writer_u16(w, (uint16_t)v); break;
    case 4: writer_u32(w, (uint32_t)v); break;
    default: writer_u64(w, v); break;
    }
}

static void write_signed(struct writer *w, int64_t v, unsigned octets) {
    int64_t max = INT64_MAX >> (64 - 8 * octets);
    if (v > max || v < -max - 1) writer_fail(w, LAGO_EINVAL);
    write_octets(w, (uint64_t)v, octets);
}

static void write_unsigned(struct writer *w, uint64_t v, unsigned octets) {
    if (v > UINT64_MAX >> (64 - 8 * octets)) writer_fail(w, LAGO_EINVAL);
    write_octets(w, v, octets);
}

static void write_float(struct writer *w, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    writer_u32(w, bits);
}

static void write_double(struct writer *w, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    writer_u64(w, bits);
}

static void write_decimal(struct writer *w, lago_decimal_t d) {
    writer_u8(w, d.scale);
    writer_u32(w, d.value);
}

/* A value of a table or array at `depth`. */
static void write_value(struct writer *w, const lago_value_t *v, unsigned depth) {
    writer_u8(w, (uint8_t)v->type);
    switch (v->type) {
    case LAGO_TYPE_BOOLEAN: writer_u8(w, v->as.boolean ? 1 : 0); break;
    case LAGO_TYPE_INT8: write_signed(w, v->as.integer, 1); break;
    case LAGO_TYPE_UINT8: write_unsigned(w, v->as.unsigned_integer, 1); break;
    case LAGO_TYPE_INT16: write_signed(w, v->as.integer, 2); break;
    case LAGO_TYPE_UINT16: write_unsigned(w, v->as.unsigned_integer, 2); break;
    case LAGO_TYPE_INT32: write_signed(w, v->as.integer, 4); break;
    case LAGO_TYPE_UINT32: write_unsigned(w, v->as.unsigned_integer, 4); break;
    case LAGO_TYPE_INT64: write_signed(w, v->as.integer, 8); break;
    case LAGO_TYPE_TIMESTAMP: writer_u64(w, v->as.unsigned_integer); break;
    case LAGO_TYPE_FLOAT: write_float(w, v->as.single); break;
    case LAGO_TYPE_DOUBLE: write_double(w, v->as.real); break;
    case LAGO_TYPE_DECIMAL: write_decimal(w, v->as.decimal); break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: writer_longstr(w, (lago_bytes_t){ v->as.string.data, v->as.string.size }); break;
    case LAGO_TYPE_VOID: break;
    case LAGO_TYPE_TABLE: write_table(w, &v->as.table, depth + 1); break;
    case LAGO_TYPE_ARRAY: write_array(w, &v->as.array, depth + 1); break;
    default: writer_fail(w, LAGO_EINVAL); break;
    }
}

static void write_field(struct writer *w, const lago_field_t *field, unsigned depth) {
    writer_shortstr(w, field->name);
    write_value(w, &field->value, depth);
}

/* ---------------------------------------------------------------- tables and arrays */

/* What is encoded leaves as it is, once it is known (`problem`) that it costs nobody the connection. */
static void write_raw(struct writer *w, const void *raw, size_t size, int problem) {
    if (problem < 0) {
        writer_fail(w, problem);
        return;
    }
    writer_u32(w, (uint32_t)size);
    writer_bytes(w, raw, size);
}

static int raw_problem(const void *raw, size_t size) {
    if (raw == NULL && size > 0) return LAGO_EINVAL;
    return size > UINT32_MAX ? LAGO_ETOOBIG : 0;
}

/* Fill in the size of what begins at `start`. */
static void close_size(struct writer *w, size_t start) {
    size_t size = w->size - start - SIZE_OCTETS;
    if (size > UINT32_MAX) {
        writer_fail(w, LAGO_ETOOBIG);
        return;
    }
    writer_patch_u32(w, start, (uint32_t)size);
}

/* Going on would be useless, and endless in a table that contains itself twice. */
static bool stopped(const struct writer *w) { return w->error == LAGO_EDEPTH; }

static bool too_deep(struct writer *w, unsigned depth) {
    if (depth >= LAGO_TABLE_DEPTH_MAX) writer_fail(w, LAGO_EDEPTH);
    return depth >= LAGO_TABLE_DEPTH_MAX;
}

static bool too_many(struct writer *w, size_t count) {
    if (count > LAGO_TABLE_ENTRIES_MAX) writer_fail(w, LAGO_ETABLE);
    return count > LAGO_TABLE_ENTRIES_MAX;
}

static void write_table(struct writer *w, const lago_table_t *table, unsigned depth) {
    if (too_deep(w, depth)) return;
    if (table->fields == NULL) {
        lago_table_t own = { NULL, table->raw, table->size, depth };
        int problem = raw_problem(own.raw, own.size);
        write_raw(w, own.raw, own.size, problem < 0 ? problem : table_sendable(&own));
        return;
    }
    if (too_many(w, table->size)) return;
    size_t start = w->size;
    writer_u32(w, 0);
    for (size_t i = 0; i < table->size && !stopped(w); i++) write_field(w, &table->fields[i], depth);
    close_size(w, start);
}

static void write_array(struct writer *w, const lago_array_t *array, unsigned depth) {
    if (too_deep(w, depth)) return;
    if (array->values == NULL) {
        lago_array_t own = { NULL, array->raw, array->size, depth };
        int problem = raw_problem(own.raw, own.size);
        write_raw(w, own.raw, own.size, problem < 0 ? problem : array_sendable(&own));
        return;
    }
    if (too_many(w, array->size)) return;
    size_t start = w->size;
    writer_u32(w, 0);
    for (size_t i = 0; i < array->size && !stopped(w); i++) write_value(w, &array->values[i], depth);
    close_size(w, start);
}

void table_write(struct writer *w, const lago_table_t *table) { write_table(w, table, 0); }

/* ---------------------------------------------------------------- the builder */

#define BUILDER_FIRST_SIZE 256u /* holds the arguments of most declares without growing */

struct lago_table_builder {
    const lago_allocator_t *alloc;
    uint8_t *data;
    size_t size, capacity;
};

lago_table_builder_t *table_builder_new(const lago_allocator_t *alloc) {
    lago_table_builder_t *builder = mem_zero(alloc, 1, sizeof *builder);
    if (builder != NULL) builder->alloc = alloc;
    return builder;
}

lago_table_builder_t *lago_table_builder_new(void) { return table_builder_new(&mem_default); }

void lago_table_builder_free(lago_table_builder_t *builder) {
    if (builder == NULL) return;
    mem_free(builder->alloc, builder->data);
    mem_free(builder->alloc, builder);
}

static size_t grown(size_t capacity, size_t needed) {
    if (capacity < BUILDER_FIRST_SIZE) capacity = BUILDER_FIRST_SIZE;
    while (capacity < needed) {
        if (capacity > SIZE_MAX / 2) return needed; /* unreachable: half of the memory there is would have to be ours */
        capacity *= 2;
    }
    return capacity;
}

/* The field may contain this very builder's table, so the old bytes live until the new ones are written. */
static int append(lago_table_builder_t *builder, const lago_field_t *field, size_t size) {
    uint8_t *data = builder->data;
    size_t capacity = builder->capacity, total = builder->size + size;
    if (total > capacity) {
        capacity = grown(capacity, total);
        data = mem_alloc(builder->alloc, capacity);
        if (data == NULL) return LAGO_ENOMEM;
        if (builder->size > 0) memcpy(data, builder->data, builder->size);
    }
    struct writer w = writer_over(data + builder->size, size);
    write_field(&w, field, 0);
    if (data != builder->data) mem_free(builder->alloc, builder->data);
    builder->data = data;
    builder->capacity = capacity;
    builder->size = total;
    return 0;
}

int lago_table_builder_add(lago_table_builder_t *builder, const lago_field_t *field) {
    if (builder == NULL || field == NULL) return LAGO_EINVAL;
    struct writer measured = writer_measure();
    write_field(&measured, field, 0);
    if (measured.error != 0) return measured.error;
    if (measured.size > UINT32_MAX - builder->size) return LAGO_ETOOBIG;
    return append(builder, field, measured.size);
}

lago_table_t lago_table_builder_table(const lago_table_builder_t *builder) {
    if (builder == NULL) return table_over(NULL, 0);
    return table_over(builder->data, builder->size);
}
