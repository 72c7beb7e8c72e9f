/*
 * Field tables and arrays: headers of messages, arguments of declares, properties of peers (AMQP 0-9-1, 4.2.5.5).
 *
 * Three ways to have one: a literal (LAGO_TABLE, no heap), a named array (LAGO_TABLE_OF), or a builder for tables whose
 * entries are known only at run time. What is received stays encoded: an iterator or a lookup decodes what is asked for.
 * Order and duplicate names are kept; a received table given to a publish leaves byte for byte as it came. Sending one that is
 * malformed or has letters that RabbitMQ refuses ('U', 'L' of old clients) is LAGO_ETABLE or LAGO_ETYPE: it would cost the
 * connection (541).
 *
 * Thread: any, as long as one table is used by one thread at a time.
 */
#ifndef LAGO_TABLE_H
#define LAGO_TABLE_H

#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* So many tables and arrays may lie in each other, the outermost one counted. More is LAGO_EDEPTH, reading and writing. */
#define LAGO_TABLE_DEPTH_MAX 32

/* Entries of one table or array, sent or received. In a frame of 131072 bytes that is more than any that says something. */
#define LAGO_TABLE_ENTRIES_MAX 16384

/** What a value is. The enumerators are the letters on the wire, as RabbitMQ reads and writes them. */
typedef enum lago_type {
    LAGO_TYPE_BOOLEAN = 't',   /* as.boolean */
    LAGO_TYPE_INT8 = 'b',      /* as.integer */
    LAGO_TYPE_UINT8 = 'B',     /* as.unsigned_integer */
    LAGO_TYPE_INT16 = 's',     /* as.integer; old clients' letter 'U' reads as this */
    LAGO_TYPE_UINT16 = 'u',    /* as.unsigned_integer */
    LAGO_TYPE_INT32 = 'I',     /* as.integer */
    LAGO_TYPE_UINT32 = 'i',    /* as.unsigned_integer */
    LAGO_TYPE_INT64 = 'l',     /* as.integer; old clients' letter 'L' reads as this */
    LAGO_TYPE_FLOAT = 'f',     /* as.single */
    LAGO_TYPE_DOUBLE = 'd',    /* as.real */
    LAGO_TYPE_DECIMAL = 'D',   /* as.decimal */
    LAGO_TYPE_STRING = 'S',    /* as.string: text or bytes, any length */
    LAGO_TYPE_ARRAY = 'A',     /* as.array */
    LAGO_TYPE_TIMESTAMP = 'T', /* as.unsigned_integer: seconds since 1970-01-01 00:00 UTC */
    LAGO_TYPE_TABLE = 'F',     /* as.table */
    LAGO_TYPE_VOID = 'V',      /* no value */
    LAGO_TYPE_BYTES = 'x'      /* as.string */
} lago_type_t;

/** value / 10^scale. */
typedef struct lago_decimal {
    uint8_t scale;
    uint32_t value;
} lago_decimal_t;

struct lago_field;
struct lago_value;

/** A table: either `fields` (given by the caller) or `raw` (encoded, without its four octets of size). All zero: empty. */
typedef struct lago_table {
    const struct lago_field *fields; /* borrowed */
    const void *raw;                 /* borrowed */
    size_t size;                     /* how many fields, or how many raw bytes */
    unsigned depth;                  /* lago's own: how deep this table lies in another */
} lago_table_t;

/** An array of values, like lago_table_t. */
typedef struct lago_array {
    const struct lago_value *values; /* borrowed */
    const void *raw;                 /* borrowed */
    size_t size;                     /* how many values, or how many raw bytes */
    unsigned depth;                  /* lago's own */
} lago_array_t;

/** One value with its type. */
typedef struct lago_value {
    lago_type_t type;
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_integer;
        float single;
        double real;
        lago_decimal_t decimal;
        lago_string_t string;
        lago_table_t table;
        lago_array_t array;
    } as;
} lago_value_t;

/** One entry of a table. A name has at most 255 bytes. */
typedef struct lago_field {
    lago_string_t name;
    lago_value_t value;
} lago_field_t;

/* ---------------------------------------------------------------- literals (C; they live to the end of their block) */

#define LAGO_NAME_(text)                                                                                                         \
    { (text), LAGO_NUL_TERMINATED }
#define LAGO_FIELD_(name_, type_, member_, ...)                                                                                  \
    {                                                                                                                            \
        LAGO_NAME_(name_), {                                                                                                     \
            (type_), { .member_ = __VA_ARGS__ }                                                                                  \
        }                                                                                                                        \
    }

#define LAGO_FIELD_BOOL(name, v)            LAGO_FIELD_(name, LAGO_TYPE_BOOLEAN, boolean, (v))
#define LAGO_FIELD_I8(name, v)              LAGO_FIELD_(name, LAGO_TYPE_INT8, integer, (v))
#define LAGO_FIELD_U8(name, v)              LAGO_FIELD_(name, LAGO_TYPE_UINT8, unsigned_integer, (v))
#define LAGO_FIELD_I16(name, v)             LAGO_FIELD_(name, LAGO_TYPE_INT16, integer, (v))
#define LAGO_FIELD_U16(name, v)             LAGO_FIELD_(name, LAGO_TYPE_UINT16, unsigned_integer, (v))
#define LAGO_FIELD_I32(name, v)             LAGO_FIELD_(name, LAGO_TYPE_INT32, integer, (v))
#define LAGO_FIELD_U32(name, v)             LAGO_FIELD_(name, LAGO_TYPE_UINT32, unsigned_integer, (v))
#define LAGO_FIELD_I64(name, v)             LAGO_FIELD_(name, LAGO_TYPE_INT64, integer, (v))
#define LAGO_FIELD_FLOAT(name, v)           LAGO_FIELD_(name, LAGO_TYPE_FLOAT, single, (v))
#define LAGO_FIELD_DOUBLE(name, v)          LAGO_FIELD_(name, LAGO_TYPE_DOUBLE, real, (v))
#define LAGO_FIELD_DECIMAL(name, scale, v)  LAGO_FIELD_(name, LAGO_TYPE_DECIMAL, decimal, { (scale), (v) })
#define LAGO_FIELD_TIMESTAMP(name, v)       LAGO_FIELD_(name, LAGO_TYPE_TIMESTAMP, unsigned_integer, (v))
#define LAGO_FIELD_STR(name, v)             LAGO_FIELD_(name, LAGO_TYPE_STRING, string, LAGO_NAME_(v))
#define LAGO_FIELD_STRING(name, data, size) LAGO_FIELD_(name, LAGO_TYPE_STRING, string, { (data), (size) })
#define LAGO_FIELD_BYTES(name, data, size)  LAGO_FIELD_(name, LAGO_TYPE_BYTES, string, { (data), (size) })
#define LAGO_FIELD_TABLE(name, v)           LAGO_FIELD_(name, LAGO_TYPE_TABLE, table, (v))
#define LAGO_FIELD_ARRAY(name, v)           LAGO_FIELD_(name, LAGO_TYPE_ARRAY, array, (v))
#define LAGO_FIELD_VOID(name)               LAGO_FIELD_(name, LAGO_TYPE_VOID, integer, 0)

#define LAGO_VALUE_(type_, member_, ...)                                                                                         \
    {                                                                                                                            \
        (type_), { .member_ = __VA_ARGS__ }                                                                                      \
    }
#define LAGO_VALUE_BOOL(v)   LAGO_VALUE_(LAGO_TYPE_BOOLEAN, boolean, (v))
#define LAGO_VALUE_I32(v)    LAGO_VALUE_(LAGO_TYPE_INT32, integer, (v))
#define LAGO_VALUE_I64(v)    LAGO_VALUE_(LAGO_TYPE_INT64, integer, (v))
#define LAGO_VALUE_DOUBLE(v) LAGO_VALUE_(LAGO_TYPE_DOUBLE, real, (v))
#define LAGO_VALUE_STR(v)    LAGO_VALUE_(LAGO_TYPE_STRING, string, LAGO_NAME_(v))
#define LAGO_VALUE_TABLE(v)  LAGO_VALUE_(LAGO_TYPE_TABLE, table, (v))
#define LAGO_VALUE_ARRAY(v)  LAGO_VALUE_(LAGO_TYPE_ARRAY, array, (v))

/* A named array of fields or values as a table or array; fits C and C++. */
#define LAGO_COUNT_OF_(a) (sizeof(a) / sizeof((a)[0]))
#define LAGO_TABLE_OF(array_)                                                                                                    \
    { (array_), NULL, LAGO_COUNT_OF_(array_), 0 }
#define LAGO_ARRAY_OF(array_)                                                                                                    \
    { (array_), NULL, LAGO_COUNT_OF_(array_), 0 }

#ifndef __cplusplus
/* .arguments = LAGO_TABLE(LAGO_FIELD_STR("x-queue-type", "quorum"), LAGO_FIELD_I32("x-delivery-limit", 5)) */
#define LAGO_TABLE(...)                                                                                                          \
    ((lago_table_t){ (const lago_field_t[]){ __VA_ARGS__ }, NULL, LAGO_COUNT_OF_(((const lago_field_t[]){ __VA_ARGS__ })), 0 })
#define LAGO_ARRAY(...)                                                                                                          \
    ((lago_array_t){ (const lago_value_t[]){ __VA_ARGS__ }, NULL, LAGO_COUNT_OF_(((const lago_value_t[]){ __VA_ARGS__ })), 0 })
#endif

/* ---------------------------------------------------------------- reading */

/** Where a walk through a table stands. Its members are lago's own. */
typedef struct lago_table_iterator {
    lago_table_t table;
    size_t at, count;
} lago_table_iterator_t;

/** Where a walk through an array stands. Its members are lago's own. */
typedef struct lago_array_iterator {
    lago_array_t array;
    size_t at, count;
} lago_array_iterator_t;

/**
 * Begin a walk. The table's bytes must live as long as the walk and what it returned.
 *
 * @param table  Copied; what it points to is borrowed. NULL is an empty table.
 */
LAGO_EXPORT lago_table_iterator_t lago_table_iterate(const lago_table_t *table);
LAGO_EXPORT lago_array_iterator_t lago_array_iterate(const lago_array_t *array);

/**
 * The next entry.
 *
 * @param field  Filled; names and strings are views into the table, without a NUL behind them.
 * @return 1 with an entry, 0 at the end, or
 *         LAGO_ETABLE  the bytes are no table (a size beyond its parent's end, an entry cut short), or it has more than
 *                      LAGO_TABLE_ENTRIES_MAX entries
 *         LAGO_ETYPE   a type letter that nobody has defined
 *         LAGO_EDEPTH  deeper than LAGO_TABLE_DEPTH_MAX
 *         After an error every further call returns the same error.
 */
LAGO_EXPORT int lago_table_next(lago_table_iterator_t *iterator, lago_field_t *field);
LAGO_EXPORT int lago_array_next(lago_array_iterator_t *iterator, lago_value_t *value);

/**
 * The first entry of that name.
 *
 * @param name   NUL-terminated.
 * @param value  Filled when found; views into the table. May be NULL.
 * @return 1 found, 0 not there, LAGO_EINVAL without a name, or an error as lago_table_next returns it, met before the name
 *         was found.
 */
LAGO_EXPORT int lago_table_get(const lago_table_t *table, const char *name, lago_value_t *value);

/**
 * Check a whole table, tables and arrays inside it included.
 *
 * @return How many entries its top level has, or an error as lago_table_next returns it.
 */
LAGO_EXPORT int64_t lago_table_check(const lago_table_t *table);

/**
 * Print a table for people: {x-queue-type="quorum", x-delivery-limit=5, list=[1, 2]}. Control characters are escaped.
 *
 * A table that cannot be read to its end is printed up to there, then "<malformed>".
 *
 * @param buffer  Filled with a NUL-terminated text, cut short if `size` is too small. May be NULL when `size` is 0.
 * @return How many bytes the whole text has, as snprintf counts.
 */
LAGO_EXPORT size_t lago_table_format(const lago_table_t *table, char *buffer, size_t size);

/* ---------------------------------------------------------------- building at run time */

typedef struct lago_table_builder lago_table_builder_t;

/** An empty table that grows. @return NULL when there is no memory. Free it with lago_table_builder_free. */
LAGO_EXPORT lago_table_builder_t *lago_table_builder_new(void);

/** Release a builder and the bytes of its table. NULL is allowed. */
LAGO_EXPORT void lago_table_builder_free(lago_table_builder_t *builder);

/**
 * Append one entry; all or nothing.
 *
 * @param field  Copied, with all that it points to. Tables inside it that are encoded already are checked and
 *               taken as they are.
 * @return 0, or
 *         LAGO_EINVAL    NULL, a type that RabbitMQ does not accept, or a number that its type cannot hold
 *         LAGO_ETOOLONG  a name above 255 bytes, here or in a table inside
 *         LAGO_ETABLE, LAGO_ETYPE  an encoded table inside it is malformed, or has letters that RabbitMQ refuses; or a table or array
 *                                  inside it has more than LAGO_TABLE_ENTRIES_MAX entries
 *         LAGO_EDEPTH    deeper than LAGO_TABLE_DEPTH_MAX
 *         LAGO_ETOOBIG   the table would exceed 4 GiB
 *         LAGO_ENOMEM
 */
LAGO_EXPORT int lago_table_builder_add(lago_table_builder_t *builder, const lago_field_t *field);

/** What has been built, encoded; borrowed until the next add or free. */
LAGO_EXPORT lago_table_t lago_table_builder_table(const lago_table_builder_t *builder);

/* ---------------------------------------------------------------- entries as expressions, for builders and for C++ */

static inline lago_field_t lago_field_of(const char *name, lago_type_t type) {
    lago_field_t field;
    field.name.data = name;
    field.name.size = LAGO_NUL_TERMINATED;
    field.value.type = type;
    field.value.as.table.fields = NULL;
    field.value.as.table.raw = NULL;
    field.value.as.table.size = 0;
    field.value.as.table.depth = 0;
    return field;
}
static inline lago_field_t lago_field_bool(const char *name, bool v) {
    lago_field_t field = lago_field_of(name, LAGO_TYPE_BOOLEAN);
    field.value.as.boolean = v;
    return field;
}
static inline lago_field_t lago_field_i32(const char *name, int32_t v) {
    lago_field_t field = lago_field_of(name, LAGO_TYPE_INT32);
    field.value.as.integer = v;
    return field;
}
static inline lago_field_t lago_field_i64(const char *name, int64_t v) {
    lago_field_t field = lago_field_of(name, LAGO_TYPE_INT64);
    field.value.as.integer = v;
    return field;
}
static inline lago_field_t lago_field_double(const char *name, double v) {
    lago_field_t field = lago_field_of(name, LAGO_TYPE_DOUBLE);
    field.value.as.real = v;
    return field;
}
static inline lago_field_t lago_field_timestamp(const char *name, uint64_t seconds) {
    lago_field_t field = lago_field_of(name, LAGO_TYPE_TIMESTAMP);
    field.value.as.unsigned_integer = seconds;
    return field;
}
static inline lago_field_t lago_field_str(const char *name, const char *v) {
    lago_field_t field = lago_field_of(name, LAGO_TYPE_STRING);
    field.value.as.string.data = v;
    field.value.as.string.size = LAGO_NUL_TERMINATED;
    return field;
}
static inline lago_field_t lago_field_table(const char *name, lago_table_t v) {
    lago_field_t field = lago_field_of(name, LAGO_TYPE_TABLE);
    field.value.as.table = v;
    return field;
}

#ifdef __cplusplus
}
#endif
#endif
