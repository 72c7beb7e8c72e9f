/* Tables built at run time: the same bytes as literals, all or nothing, and every allocation may fail. */
#include "codec_test.h"
#include "fail_alloc.h"
#include "table.h"

static void add(lago_table_builder_t *builder, lago_field_t field) {
    assert_int_equal(lago_table_builder_add(builder, &field), 0);
}

static void assert_built(const lago_table_builder_t *builder, const lago_table_t *expected) {
    uint8_t built[4096], wanted[4096];
    lago_table_t table = lago_table_builder_table(builder);
    struct writer w = writer_over(built, sizeof built);
    table_write(&w, &table);
    struct writer v = writer_over(wanted, sizeof wanted);
    table_write(&v, expected);
    assert_int_equal(v.error, 0);
    assert_written(&w, wanted, v.size);
}

static void a_new_builder_is_an_empty_table(void **state) {
    (void)state;
    lago_table_builder_t *builder = lago_table_builder_new();
    assert_built(builder, &(lago_table_t){ 0 });
    assert_int_equal(lago_table_builder_table(builder).size, 0);
    lago_table_builder_free(builder);
    lago_table_builder_free(NULL);
}

static void entries_are_those_of_a_literal(void **state) {
    (void)state;
    lago_table_t inner = LAGO_TABLE(LAGO_FIELD_BOOL("deep", true));
    lago_table_builder_t *builder = lago_table_builder_new();
    add(builder, lago_field_str("s", "text"));
    add(builder, lago_field_i32("i", -5));
    add(builder, lago_field_i64("l", INT64_MAX));
    add(builder, lago_field_bool("t", true));
    add(builder, lago_field_double("d", 0.5));
    add(builder, lago_field_timestamp("T", 1));
    add(builder, lago_field_table("F", inner));
    add(builder, (lago_field_t)LAGO_FIELD_ARRAY("A", LAGO_ARRAY(LAGO_VALUE_I32(1), LAGO_VALUE_I64(2), LAGO_VALUE_DOUBLE(3))));
    add(builder, lago_field_of("V", LAGO_TYPE_VOID));
    assert_built(builder,
                 &LAGO_TABLE(LAGO_FIELD_STR("s", "text"), LAGO_FIELD_I32("i", -5), LAGO_FIELD_I64("l", INT64_MAX),
                             LAGO_FIELD_BOOL("t", true), LAGO_FIELD_DOUBLE("d", 0.5), LAGO_FIELD_TIMESTAMP("T", 1),
                             LAGO_FIELD_TABLE("F", LAGO_TABLE(LAGO_FIELD_BOOL("deep", true))),
                             LAGO_FIELD_ARRAY("A", LAGO_ARRAY(LAGO_VALUE_I32(1), LAGO_VALUE_I64(2), LAGO_VALUE_DOUBLE(3))),
                             LAGO_FIELD_VOID("V")));
    lago_table_builder_free(builder);
}

static void the_deepest_is_added_whole(void **state) {
    (void)state;
    lago_field_t fields[LAGO_TABLE_DEPTH_MAX - 1];
    lago_table_t table = { 0 };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        fields[i] = lago_field_table("k", table);
        table = (lago_table_t){ &fields[i], NULL, 1, 0 };
    }
    lago_table_builder_t *builder = lago_table_builder_new();
    add(builder, fields[LAGO_TABLE_DEPTH_MAX - 2]);
    assert_built(builder, &table);
    lago_field_t deeper = lago_field_table("k", table);
    assert_int_equal(lago_table_builder_add(builder, &deeper), LAGO_EDEPTH);
    assert_built(builder, &table);
    lago_table_builder_free(builder);
}

static void what_is_added_is_copied(void **state) {
    (void)state;
    char name[] = "name", text[] = "text";
    lago_table_builder_t *builder = lago_table_builder_new();
    add(builder, lago_field_str(name, text));
    memset(name, 'x', sizeof name);
    memset(text, 'x', sizeof text);
    lago_table_t table = lago_table_builder_table(builder);
    lago_value_t value;
    assert_int_equal(lago_table_get(&table, "name", &value), 1);
    assert_string_is(value.as.string, BYTES("text"));
    lago_table_builder_free(builder);
}

static void it_grows(void **state) {
    (void)state;
    lago_table_builder_t *builder = lago_table_builder_new();
    for (int32_t i = 0; i < 10000; i++) add(builder, lago_field_i32("n", i));
    lago_table_t table = lago_table_builder_table(builder);
    assert_int_equal(lago_table_check(&table), 10000);
    lago_table_iterator_t it = lago_table_iterate(&table);
    lago_field_t field;
    for (int32_t i = 0; i < 10000; i++) {
        assert_int_equal(lago_table_next(&it, &field), 1);
        assert_int_equal(field.value.as.integer, i);
    }
    lago_table_builder_free(builder);
}

static void its_own_table_can_go_into_it(void **state) {
    (void)state;
    lago_table_builder_t *builder = lago_table_builder_new();
    add(builder, lago_field_str("s", "text"));
    for (int i = 0; i < 8; i++) add(builder, lago_field_table("me", lago_table_builder_table(builder)));
    lago_table_t table = lago_table_builder_table(builder);
    assert_int_equal(lago_table_check(&table), 9);
    lago_table_builder_free(builder);
}

static void a_bad_entry_changes_nothing(void **state) {
    (void)state;
    char name[256];
    memset(name, 'n', sizeof name);
    lago_field_t bad_inside = lago_field_i32("k", 0);
    bad_inside.value.type = LAGO_TYPE_INT8;
    bad_inside.value.as.integer = 128;
    lago_field_t array = LAGO_FIELD_ARRAY("k", ((lago_array_t){ &bad_inside.value, NULL, 1, 0 }));
    lago_field_t unknown = lago_field_of("k", (lago_type_t)'?');
    lago_field_t too_long = { { name, sizeof name }, { LAGO_TYPE_VOID, { 0 } } };

    lago_table_t none = lago_table_builder_table(NULL);
    assert_int_equal(lago_table_check(&none), 0);
    lago_table_builder_t *builder = lago_table_builder_new();
    add(builder, lago_field_bool("t", true));
    assert_int_equal(lago_table_builder_add(builder, NULL), LAGO_EINVAL);
    assert_int_equal(lago_table_builder_add(NULL, &too_long), LAGO_EINVAL);
    assert_int_equal(lago_table_builder_add(builder, &bad_inside), LAGO_EINVAL);
    assert_int_equal(lago_table_builder_add(builder, &array), LAGO_EINVAL);
    assert_int_equal(lago_table_builder_add(builder, &unknown), LAGO_EINVAL);
    assert_int_equal(lago_table_builder_add(builder, &too_long), LAGO_ETOOLONG);
    add(builder, lago_field_bool("u", false));
    assert_built(builder, &LAGO_TABLE(LAGO_FIELD_BOOL("t", true), LAGO_FIELD_BOOL("u", false)));
    lago_table_builder_free(builder);
}

static void the_depth_is_limited(void **state) {
    (void)state;
    lago_field_t fields[LAGO_TABLE_DEPTH_MAX];
    lago_table_t table = { 0 };
    lago_table_builder_t *builder = lago_table_builder_new();
    for (size_t i = 0; i < LAGO_TABLE_DEPTH_MAX; i++) { /* the builder's own table and i + 1 tables inside */
        fields[i] = lago_field_table("k", table);
        assert_int_equal(lago_table_builder_add(builder, &fields[i]), i + 2 > LAGO_TABLE_DEPTH_MAX ? LAGO_EDEPTH : 0);
        table = (lago_table_t){ &fields[i], NULL, 1, 0 };
    }
    lago_table_builder_free(builder);
}

static void four_gib_are_the_limit(void **state) {
    (void)state;
#if SIZE_MAX > UINT32_MAX
    lago_table_builder_t *builder = lago_table_builder_new();
    lago_field_t field = lago_field_str("k", "x");
    field.value.as.string.size = UINT32_MAX;
    assert_int_equal(lago_table_builder_add(builder, &field), LAGO_ETOOBIG);
    field.value.as.string.size = (size_t)UINT32_MAX + 1;
    assert_int_equal(lago_table_builder_add(builder, &field), LAGO_ETOOBIG);
    lago_table_builder_free(builder);
#endif
}

static void without_memory_nothing_is_added(void **state) {
    (void)state;
    struct fail_alloc memory;
    fail_alloc_init(&memory);
    fail_alloc_at(&memory, 1, true);
    assert_null(table_builder_new(&memory.allocator));
    for (size_t n = 1; n < 20; n++) {
        lago_table_t expected = { 0 };
        size_t added = 0;
        fail_alloc_at(&memory, 0, false);
        lago_table_builder_t *builder = table_builder_new(&memory.allocator);
        assert_non_null(builder);
        fail_alloc_at(&memory, n, false);
        for (int32_t i = 0; i < 200; i++) {
            lago_field_t field = lago_field_i32("name", i);
            int rc = lago_table_builder_add(builder, &field);
            assert_true(rc == 0 || rc == LAGO_ENOMEM);
            added += rc == 0;
            expected = lago_table_builder_table(builder);
            assert_int_equal(expected.size, added * 10);
        }
        assert_true(added == 199 || (added == 200 && memory.calls < n));
        assert_int_equal(lago_table_check(&expected), added);
        lago_table_builder_free(builder);
    }
    fail_alloc_check(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_builder_is_an_empty_table),
        cmocka_unit_test(entries_are_those_of_a_literal),
        cmocka_unit_test(the_deepest_is_added_whole),
        cmocka_unit_test(what_is_added_is_copied),
        cmocka_unit_test(it_grows),
        cmocka_unit_test(its_own_table_can_go_into_it),
        cmocka_unit_test(a_bad_entry_changes_nothing),
        cmocka_unit_test(the_depth_is_limited),
        cmocka_unit_test(four_gib_are_the_limit),
        cmocka_unit_test(without_memory_nothing_is_added),
    };
    return cmocka_run_group_tests_name("table_builder", tests, NULL, NULL);
}
