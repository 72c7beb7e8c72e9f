/* How many entries a table or array has at most: LAGO_TABLE_ENTRIES_MAX, received, walked through, looked up, or sent (S14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fail_alloc.h"
#include "table.h"
#include <lago/error.h>

#define MOST ((size_t)LAGO_TABLE_ENTRIES_MAX)

static uint8_t raw[4 * (MOST + 2)];

/* Entries of three bytes, {a=void, a=void ... z=void}, or values of one. */
static size_t fill_table(size_t count) {
    for (size_t i = 0; i < count; i++) memcpy(raw + 3 * i, i + 1 < count ? "\1aV" : "\1zV", 3);
    return 3 * count;
}

static size_t fill_array(size_t count) {
    memset(raw, 'V', count);
    return count;
}

static void a_received_table_has_so_many(void **state) {
    (void)state;
    for (size_t count = MOST - 1; count <= MOST + 1; count++) {
        lago_table_t table = table_over(raw, fill_table(count));
        lago_table_iterator_t it = lago_table_iterate(&table);
        lago_field_t field;
        int rc;
        size_t seen = 0;
        bool fits = count <= MOST;
        while ((rc = lago_table_next(&it, &field)) == 1) seen++;
        assert_int_equal(rc, fits ? 0 : LAGO_ETABLE);
        assert_int_equal(seen, fits ? count : MOST);
        assert_int_equal(lago_table_next(&it, &field), rc); /* again */
        assert_int_equal(lago_table_check(&table), fits ? (int64_t)count : LAGO_ETABLE);
        assert_int_equal(lago_table_get(&table, "z", NULL), fits ? 1 : LAGO_ETABLE);
        assert_int_equal(lago_table_get(&table, "a", NULL), 1);
        assert_int_equal(table_sendable(&table), fits ? 0 : LAGO_ETABLE);
    }
}

static void a_received_array_has_so_many(void **state) {
    (void)state;
    for (size_t count = MOST - 1; count <= MOST + 1; count++) {
        lago_array_t array = { NULL, raw, fill_array(count), 0 };
        lago_array_iterator_t it = lago_array_iterate(&array);
        lago_value_t value;
        int rc;
        size_t seen = 0;
        while ((rc = lago_array_next(&it, &value)) == 1) seen++;
        assert_int_equal(rc, count <= MOST ? 0 : LAGO_ETABLE);
        assert_int_equal(seen, count <= MOST ? count : MOST);
        assert_int_equal(array_sendable(&array), rc);
    }
}

static void what_is_sent_has_so_many(void **state) {
    (void)state;
    static lago_field_t fields[MOST + 1];
    static lago_value_t values[MOST + 1];
    for (size_t i = 0; i <= MOST; i++) {
        fields[i] = (lago_field_t)LAGO_FIELD_VOID("a");
        values[i] = fields[i].value;
    }
    for (size_t count = MOST; count <= MOST + 1; count++) {
        lago_table_t table = { fields, NULL, count, 0 };
        lago_array_t array = { values, NULL, count, 0 };
        lago_field_t inner = { { "a", 1 }, { LAGO_TYPE_ARRAY, { .array = array } } };
        lago_table_t outer = { &inner, NULL, 1, 0 };
        struct writer w = writer_measure();
        table_write(&w, &table);
        assert_int_equal(w.error, count > MOST ? LAGO_ETABLE : 0);
        w = writer_measure();
        table_write(&w, &outer);
        assert_int_equal(w.error, count > MOST ? LAGO_ETABLE : 0);
    }
}

static void what_is_built_has_so_many_when_it_is_sent(void **state) {
    (void)state;
    lago_field_t field = LAGO_FIELD_VOID("a");
    lago_table_builder_t *builder = lago_table_builder_new();
    for (size_t count = 1; count <= MOST + 1; count++) {
        assert_int_equal(lago_table_builder_add(builder, &field), 0);
        if (count < MOST) continue;
        lago_table_t table = lago_table_builder_table(builder);
        struct writer w = writer_measure();
        table_write(&w, &table);
        assert_int_equal(w.error, count > MOST ? LAGO_ETABLE : 0);
    }
    lago_table_builder_free(builder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_received_table_has_so_many),
        cmocka_unit_test(a_received_array_has_so_many),
        cmocka_unit_test(what_is_sent_has_so_many),
        cmocka_unit_test(what_is_built_has_so_many_when_it_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
