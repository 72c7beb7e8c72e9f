/*
 * The engine of methods: walks the generated tables to write, read and print arguments. Knows types, not methods: whatever
 * concerns one method only belongs elsewhere.
 */
#include "method.h"
#include "method_table.h"
#include "reader.h"
#include "table.h"
#include <string.h>

#define PRINT_STRING_MAX 256 /* every short string in full; of long ones enough to recognise them */

const struct method_info *method_find(uint32_t id) {
    uint32_t class_id = id >> 16, number = id & 0xffff;
    if (class_id >= METHOD_CLASS_LIMIT || number >= METHOD_NUMBER_LIMIT) return NULL;
    uint8_t slot = method_class_slots[class_id];
    if (slot == 0) return NULL;
    uint8_t place = method_places[slot - 1][number];
    return place == 0 ? NULL : &method_table[place - 1];
}

const struct method_info *method_find_name(const char *name, size_t size) {
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const struct method_info *info = &method_table[i];
        if (strlen(info->name) == size && memcmp(info->name, name, size) == 0) return info;
    }
    return NULL;
}

const struct method_info *method_at(size_t index) { return index < METHOD_COUNT ? &method_table[index] : NULL; }

/* ---------------------------------------------------------------- bits: neighbours share octets, lowest first (4.2.5.2) */

struct bits {
    uint8_t octet;
    unsigned count; /* bits in it: written, or still to be read */
};

static void bits_flush(struct bits *bits, struct writer *w) {
    if (bits->count > 0) writer_u8(w, bits->octet);
    bits->octet = 0;
    bits->count = 0;
}

static void bits_add(struct bits *bits, struct writer *w, bool value) {
    if (bits->count == 8) bits_flush(bits, w);
    if (value) bits->octet = (uint8_t)(bits->octet | 1u << bits->count);
    bits->count++;
}

static bool bits_take(struct bits *bits, struct reader *r) {
    if (bits->count == 0) {
        bits->octet = reader_u8(r);
        bits->count = 8;
    }
    bool value = bits->octet & 1;
    bits->octet >>= 1;
    bits->count--;
    return value;
}

/* ---------------------------------------------------------------- writing */

static const union {
    uint64_t number;
    lago_string_t string;
    lago_bytes_t bytes;
    lago_table_t table;
} zero_field; /* what a reserved field carries */

static const void *member(const struct method_field *field, const void *args) {
    return field->reserved ? (const void *)&zero_field : (const uint8_t *)args + field->offset;
}

static void write_field(struct writer *w, const struct method_field *field, const void *value) {
    switch (field->type) { /* unreachable: the tables have no other type */
    case FIELD_OCTET: writer_u8(w, *(const uint8_t *)value); break;
    case FIELD_SHORT: writer_u16(w, *(const uint16_t *)value); break;
    case FIELD_LONG: writer_u32(w, *(const uint32_t *)value); break;
    case FIELD_LONGLONG: writer_u64(w, *(const uint64_t *)value); break;
    case FIELD_SHORTSTR: writer_shortstr(w, *(const lago_string_t *)value); break;
    case FIELD_LONGSTR: writer_longstr(w, *(const lago_bytes_t *)value); break;
    case FIELD_TABLE: table_write(w, value); break;
    }
}

void method_write(struct writer *w, const struct method_info *info, const void *args) {
    struct bits bits = { 0, 0 };
    writer_u32(w, info->id);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        if (field->type == FIELD_BIT) {
            bits_add(&bits, w, *(const bool *)member(field, args));
            continue;
        }
        bits_flush(&bits, w);
        write_field(w, field, member(field, args));
    }
    bits_flush(&bits, w);
}

/* ---------------------------------------------------------------- reading */

static lago_table_t read_table(struct reader *r) {
    lago_bytes_t raw = reader_longstr(r);
    return table_over(raw.data, raw.size);
}

static void read_field(struct reader *r, const struct method_field *field, void *value) {
    switch (field->type) { /* unreachable: the tables have no other type */
    case FIELD_OCTET: *(uint8_t *)value = reader_u8(r); break;
    case FIELD_SHORT: *(uint16_t *)value = reader_u16(r); break;
    case FIELD_LONG: *(uint32_t *)value = reader_u32(r); break;
    case FIELD_LONGLONG: *(uint64_t *)value = reader_u64(r); break;
    case FIELD_SHORTSTR: *(lago_string_t *)value = reader_shortstr(r); break;
    case FIELD_LONGSTR: *(lago_bytes_t *)value = reader_longstr(r); break;
    case FIELD_TABLE: *(lago_table_t *)value = read_table(r); break;
    }
}

static void read_fields(struct reader *r, const struct method_info *info, void *args) {
    struct bits bits = { 0, 0 };
    union {
        uint64_t number;
        lago_string_t string;
        lago_bytes_t bytes;
        lago_table_t table;
    } unused; /* where reserved fields go */
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        void *value = field->reserved ? (void *)&unused : (uint8_t *)args + field->offset;
        if (field->type == FIELD_BIT) {
            *(bool *)value = bits_take(&bits, r);
            continue;
        }
        bits.count = 0;
        read_field(r, field, value);
    }
}

int method_read(const void *payload, size_t size, const struct method_info **info, union method_args *args) {
    struct reader r = reader_over(payload, size);
    *info = NULL;
    uint32_t id = reader_u32(&r);
    if (r.failed) return REPLY_FRAME_ERROR;
    *info = method_find(id);
    if (*info == NULL) return REPLY_NOT_IMPLEMENTED;
    read_fields(&r, *info, args);
    return r.failed || reader_left(&r) > 0 ? REPLY_SYNTAX_ERROR : 0;
}

void method_terminate(const struct method_info *info, union method_args *args) {
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        if (field->type != FIELD_SHORTSTR || field->reserved) continue;
        const lago_string_t *s = (const void *)((const uint8_t *)args + field->offset);
        ((char *)(uintptr_t)s->data)[s->size] = '\0';
    }
}

/* ---------------------------------------------------------------- printing */

static uint64_t number_of(const struct method_field *field, const void *value) {
    switch (field->type) {
    case FIELD_BIT: return *(const bool *)value;
    case FIELD_OCTET: return *(const uint8_t *)value;
    case FIELD_SHORT: return *(const uint16_t *)value;
    case FIELD_LONG: return *(const uint32_t *)value;
    default: return *(const uint64_t *)value;
    }
}

static void print_string(struct text *t, const struct method_field *field, const void *data, size_t size) {
    if (data != NULL && size == LAGO_NUL_TERMINATED) size = strlen(data);
    if (data == NULL || size == 0) return;
    text_addf(t, " %s=", field->name);
    if (field->secret) {
        text_add(t, "<secret>");
        return;
    }
    text_add(t, "\"");
    text_add_escaped(t, data, size, PRINT_STRING_MAX);
    text_add(t, "\"");
}

static void print_table(struct text *t, const struct method_field *field, const lago_table_t *table) {
    if (table->size == 0) return;
    text_addf(t, " %s=", field->name);
    table_print(t, table, PRINT_STRING_MAX);
}

static void print_field(struct text *t, const struct method_field *field, const void *value) {
    if (field->type == FIELD_SHORTSTR) {
        const lago_string_t *s = value;
        print_string(t, field, s->data, s->size);
    } else if (field->type == FIELD_LONGSTR) {
        const lago_bytes_t *b = value;
        print_string(t, field, b->data, b->size);
    } else if (field->type == FIELD_TABLE) {
        print_table(t, field, value);
    } else if (number_of(field, value) != 0) {
        text_addf(t, " %s=%llu", field->name, (unsigned long long)number_of(field, value));
    }
}

void method_print(struct text *t, const struct method_info *info, const void *args) {
    text_add(t, info->name);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        if (!field->reserved) print_field(t, field, (const uint8_t *)args + field->offset);
    }
}
