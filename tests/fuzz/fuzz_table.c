/*
 * Field tables (AMQP 0-9-1, 4.2.5.5): the iterators, lookup, check, print; built anew by the builder, and what was built reads as
 * the same.
 *
 * Input: an octet of flags, then the bytes of a table (or of an array), without their size.
 */
#include "arena.h"
#include "fuzz.h"
#include "table.h"
#include <string.h>

enum {
    NESTED,
    DEEPEST,
    TOO_DEEP,
    BAD_LETTER,
    CUT_SHORT,
    OLD_LETTER,
    EVERY_TYPE,
    BUILT,
    EMPTY_NAME,
    TWICE,
    ARRAY_IN_TABLE,
    INNER_BROKEN
};
const char *const fuzz_milestones[] = { "a table in a table in an array",
                                        "as deep as may be",
                                        "too deep",
                                        "a letter that nobody has defined",
                                        "an entry cut short",
                                        "a letter of older clients",
                                        "every type of value",
                                        "a table built anew with ten entries",
                                        "an entry without a name",
                                        "a name twice",
                                        "an array in a table",
                                        "a table that is broken inside",
                                        NULL };

#define PRINT         9u /* both: it takes longer than all the rest */
#define BUILD         2u
#define IS_ARRAY      4u
#define NAME_MAX_SIZE 255u

static struct arena arena;
static uint32_t types_seen;
static size_t steps; /* of the walk */

static void note_type(lago_type_t type) {
    static const char letters[] = "tbBsuIilfdDTxSAFV";
    const char *at = strchr(letters, (int)type);
    REQUIRE(at && *at);
    types_seen |= 1u << (at - letters);
    REACH_IF(types_seen == (1u << (sizeof(letters) - 1)) - 1, EVERY_TYPE);
}

/* ---------------------------------------------------------------- a walk of our own, beside check's */

static int walk_table(const lago_table_t *table, unsigned depth);

static int walk_array(const lago_array_t *array, unsigned depth);

static int walk_value(const lago_value_t *value, unsigned depth) {
    note_type(value->type);
    REACH_IF(depth == LAGO_TABLE_DEPTH_MAX, DEEPEST);
    if (value->type == LAGO_TYPE_TABLE) {
        REQUIRE(value->as.table.depth == depth);
        REACH_IF(depth >= 3, NESTED);
        return walk_table(&value->as.table, depth);
    }
    if (value->type == LAGO_TYPE_ARRAY) {
        REACH(ARRAY_IN_TABLE);
        return walk_array(&value->as.array, depth);
    }
    if (value->type == LAGO_TYPE_STRING || value->type == LAGO_TYPE_BYTES) {
        uint8_t sum = 0;
        for (size_t i = 0; i < value->as.string.size; i++) sum = (uint8_t)(sum + (uint8_t)value->as.string.data[i]);
        return sum & 0; /* every byte may be read */
    }
    return 0;
}

static int walk_table(const lago_table_t *table, unsigned depth) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    int rc;
    while ((rc = lago_table_next(&it, &field)) == 1) {
        steps++;
        REQUIRE(field.name.size <= NAME_MAX_SIZE);
        REACH_IF(field.name.size == 0, EMPTY_NAME);
        rc = walk_value(&field.value, depth + 1);
        if (rc < 0) {
            REACH(INNER_BROKEN);
            return rc;
        }
    }
    REQUIRE(lago_table_next(&it, &field) == rc); /* an error stays, an end too */
    return rc;
}

static int walk_array(const lago_array_t *array, unsigned depth) {
    lago_array_iterator_t it = lago_array_iterate(array);
    lago_value_t value;
    int rc;
    while ((rc = lago_array_next(&it, &value)) == 1) {
        steps++;
        rc = walk_value(&value, depth + 1);
        if (rc < 0) return rc;
    }
    return rc;
}

/* ---------------------------------------------------------------- the same */

static bool same_table(const lago_table_t *a, const lago_table_t *b);

static bool same_array(const lago_array_t *a, const lago_array_t *b);

static bool same_value(const lago_value_t *a, const lago_value_t *b) {
    if (a->type != b->type) return false;
    switch (a->type) {
    case LAGO_TYPE_TABLE: return same_table(&a->as.table, &b->as.table);
    case LAGO_TYPE_ARRAY: return same_array(&a->as.array, &b->as.array);
    case LAGO_TYPE_STRING:
    case LAGO_TYPE_BYTES:
        return a->as.string.size == b->as.string.size &&
               (a->as.string.size == 0 || memcmp(a->as.string.data, b->as.string.data, a->as.string.size) == 0);
    case LAGO_TYPE_BOOLEAN: return a->as.boolean == b->as.boolean;
    case LAGO_TYPE_FLOAT: return memcmp(&a->as.single, &b->as.single, sizeof(float)) == 0;
    case LAGO_TYPE_DOUBLE: return memcmp(&a->as.real, &b->as.real, sizeof(double)) == 0;
    case LAGO_TYPE_DECIMAL: return a->as.decimal.scale == b->as.decimal.scale && a->as.decimal.value == b->as.decimal.value;
    case LAGO_TYPE_VOID: return true;
    default: return a->as.integer == b->as.integer;
    }
}

static bool same_table(const lago_table_t *a, const lago_table_t *b) {
    lago_table_iterator_t left = lago_table_iterate(a), right = lago_table_iterate(b);
    lago_field_t x, y;
    for (;;) {
        int rc = lago_table_next(&left, &x);
        if (rc != lago_table_next(&right, &y)) return false;
        if (rc != 1) return true;
        if (x.name.size != y.name.size || memcmp(x.name.data, y.name.data, x.name.size) != 0) return false;
        if (!same_value(&x.value, &y.value)) return false;
    }
}

static bool same_array(const lago_array_t *a, const lago_array_t *b) {
    lago_array_iterator_t left = lago_array_iterate(a), right = lago_array_iterate(b);
    lago_value_t x, y;
    for (;;) {
        int rc = lago_array_next(&left, &x);
        if (rc != lago_array_next(&right, &y)) return false;
        if (rc != 1) return true;
        if (!same_value(&x, &y)) return false;
    }
}

/* ---------------------------------------------------------------- what else can be done with a table */

/* Every entry is found by its name, unless an earlier one has the same. */
static void look_up(const lago_table_t *table) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    lago_value_t found;
    char name[NAME_MAX_SIZE + 1];
    for (unsigned i = 0; i < 4 && lago_table_next(&it, &field) == 1; i++) {
        memcpy(name, field.name.data, field.name.size);
        name[field.name.size] = '\0';
        if (strlen(name) != field.name.size) continue;
        REQUIRE(lago_table_get(table, name, &found) == 1);
        REACH_IF(i > 0 && !same_value(&found, &field.value), TWICE);
    }
}

static void print(const lago_table_t *table) {
    char small[24], large[2048];
    size_t length = lago_table_format(table, large, sizeof(large));
    REQUIRE(lago_table_format(table, small, sizeof(small)) == length);
    size_t printed = strlen(large);
    REQUIRE(printed == (length < sizeof(large) ? length : sizeof(large) - 1) && strlen(small) < sizeof(small));
    for (size_t i = 0; i < printed; i++) REQUIRE(large[i] >= ' ' && large[i] <= '~');
}

/* Entry by entry; all of it, if it may be sent; all or nothing of each. */
static void build(const lago_table_t *table, bool sendable) {
    lago_table_iterator_t it = lago_table_iterate(table);
    lago_field_t field;
    lago_table_builder_t *builder = table_builder_new(&arena.allocator);
    size_t taken = 0, refused = 0;
    REQUIRE(builder);
    while (lago_table_next(&it, &field) == 1) {
        size_t before = lago_table_builder_table(builder).size;
        int rc = lago_table_builder_add(builder, &field);
        REQUIRE(rc == 0 || rc == LAGO_ETABLE || rc == LAGO_ETYPE || rc == LAGO_EDEPTH);
        REQUIRE(rc == 0 || lago_table_builder_table(builder).size == before);
        rc == 0 ? taken++ : refused++;
    }
    REQUIRE(!sendable || refused == 0);
    lago_table_t built = lago_table_builder_table(builder);
    REQUIRE(table_sendable(&built) == 0);
    if (sendable) REQUIRE(same_table(table, &built));
    REACH_IF(taken >= 10, BUILT);
    lago_table_builder_free(builder);
    arena_reset(&arena);
}

/* Measured, written, and refused in a room too small; the octets are the same. */
static void write(const lago_table_t *table, int sendable) {
    static uint8_t out[8192];
    struct writer measured = writer_measure(), w = writer_over(out, sizeof(out));
    table_write(&measured, table);
    table_write(&w, table);
    REQUIRE(measured.error == sendable && w.error == (sendable ? sendable : w.size > sizeof(out) ? LAGO_ETOOBIG : 0));
    if (w.error) return;
    REQUIRE(w.size == table->size + 4 && measured.size == w.size);
    if (table->size) REQUIRE(memcmp(out + 4, table->raw, table->size) == 0);
}

static void one_table(const lago_table_t *table, unsigned how) {
    int64_t checked = lago_table_check(table);
    int walked = walk_table(table, 0), sendable = table_sendable(table);
    REQUIRE(checked < 0 ? walked == checked : walked == 0);
    REQUIRE(checked >= 0 || sendable == checked || sendable == LAGO_ETYPE);
    REQUIRE(checked < 0 || sendable == 0 || sendable == LAGO_ETYPE);
    REACH_IF(walked == LAGO_EDEPTH, TOO_DEEP);
    REACH_IF(walked == LAGO_ETYPE, BAD_LETTER);
    REACH_IF(walked == LAGO_ETABLE, CUT_SHORT);
    REACH_IF(checked >= 0 && sendable == LAGO_ETYPE, OLD_LETTER);
    write(table, sendable);
    if (checked >= 0) look_up(table);
    if ((how & PRINT) == PRINT) print(table);
    if (how & BUILD) build(table, sendable == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.room) arena_init(&arena);
    if (size == 0) return 0;
    steps = 0;
    if (data[0] & IS_ARRAY) {
        lago_array_t array = { NULL, data + 1, size - 1, data[0] >> 4 };
        int walked = walk_array(&array, array.depth), sendable = array_sendable(&array);
        REQUIRE(walked == 0 ? sendable == 0 || sendable == LAGO_ETYPE : sendable == walked || sendable == LAGO_ETYPE);
    } else {
        lago_table_t table = table_over(data + 1, size - 1);
        one_table(&table, data[0]);
    }
    REQUIRE(steps <= size); /* an entry takes at least a byte */
    return 0;
}
