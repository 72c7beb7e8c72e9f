/* Field tables as text for people: logs, traces, tools. Everything a peer sent is escaped; nothing is refused. */
#include "table.h"
#include <lago/error.h>

#define MALFORMED "<malformed>"

static void print_array(struct text *t, const lago_array_t *array, size_t string_max);

static void print_quoted(struct text *t, lago_string_t s, size_t string_max) {
    text_add(t, "\"");
    text_add_escaped(t, s.data, s.size, string_max);
    text_add(t, "\"");
}

static void print_decimal(struct text *t, lago_decimal_t d) {
    text_addf(t, "%lu", (unsigned long)d.value);
    if (d.scale > 0) text_addf(t, "e-%u", d.scale);
}

/* Digits: as many as a float or a double keeps whatever it is, so that 0.1 prints as 0.1. */
static void print_value(struct text *t, const lago_value_t *v, size_t string_max) {
    switch (v->type) { /* unreachable: what is iterated over has one of these types */
    case LAGO_TYPE_BOOLEAN: text_add(t, v->as.boolean ? "true" : "false"); break;
    case LAGO_TYPE_INT8:
    case LAGO_TYPE_INT16:
    case LAGO_TYPE_INT32:
    case LAGO_TYPE_INT64: text_addf(t, "%lld", (long long)v->as.integer); break;
    case LAGO_TYPE_UINT8:
    case LAGO_TYPE_UINT16:
    case LAGO_TYPE_UINT32:
    case LAGO_TYPE_TIMESTAMP: text_addf(t, "%llu", (unsigned long long)v->as.unsigned_integer); break;
    case LAGO_TYPE_FLOAT: text_addf(t, "%.6g", (double)v->as.single); break;
    case LAGO_TYPE_DOUBLE: text_addf(t, "%.15g", v->as.real); break;
    case LAGO_TYPE_DECIMAL: print_decimal(t, v->as.decimal); break;
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES: print_quoted(t, v->as.string, string_max); break;
    case LAGO_TYPE_ARRAY: print_array(t, &v->as.array, string_max); break;
    case LAGO_TYPE_TABLE: table_print(t, &v->as.table, string_max); break;
    case LAGO_TYPE_VOID: text_add(t, "void"); break;
    }
}

static void print_array(struct text *t, const lago_array_t *array, size_t string_max) {
    lago_array_iterator_t it = lago_array_iterate(array);
    lago_value_t value;
    const char *between = "";
    int rc;
    text_add(t, "[");
    while ((rc = lago_array_next(&it, &value)) == 1) {
        text_add(t, between);
        print_value(t, &value, string_max);
        between = ", ";
    }
    if (rc < 0) text_addf(t, "%s" MALFORMED, between);
    text_add(t, "]");
}

void table_print(struct text *t, const lago_table_t *table, size_t string_max) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    const char *between = "";
    int rc;
    text_add(t, "{");
    while ((rc = lago_table_next(&it, &field)) == 1) {
        text_add(t, between);
        text_add_escaped(t, field.name.data, field.name.size, string_max);
        text_add(t, "=");
        print_value(t, &field.value, string_max);
        between = ", ";
    }
    if (rc < 0) text_addf(t, "%s" MALFORMED, between);
    text_add(t, "}");
}

size_t lago_table_format(const lago_table_t *table, char *buffer, size_t size) {
    struct text t;
    text_init(&t, buffer, size);
    table_print(&t, table, SIZE_MAX);
    return t.length;
}
