/* Tables as text for people. */
#include "codec_test.h"
#include "table.h"

static void assert_prints(const lago_table_t *table, const char *expected) {
    char buffer[1024];
    assert_int_equal(lago_table_format(table, buffer, sizeof buffer), strlen(expected));
    assert_string_equal(buffer, expected);
}

static void tables_look_like_dictionaries(void **state) {
    (void)state;
    lago_table_t table =
        LAGO_TABLE(LAGO_FIELD_STR("x-queue-type", "quorum"), LAGO_FIELD_I32("x-delivery-limit", 5),
                   LAGO_FIELD_ARRAY("list", LAGO_ARRAY(LAGO_VALUE_I32(1), LAGO_VALUE_I32(2))),
                   LAGO_FIELD_TABLE("inner", LAGO_TABLE(LAGO_FIELD_BOOL("yes", true), LAGO_FIELD_BOOL("no", false))));
    assert_prints(&table, "{x-queue-type=\"quorum\", x-delivery-limit=5, list=[1, 2], inner={yes=true, no=false}}");
    assert_prints(&(lago_table_t){ 0 }, "{}");
    assert_prints(NULL, "{}");
    assert_prints(&LAGO_TABLE(LAGO_FIELD_ARRAY("a", (lago_array_t){ 0 })), "{a=[]}");
}

static void every_type_has_a_form(void **state) {
    (void)state;
    assert_prints(&LAGO_TABLE(LAGO_FIELD_I8("b", -128), LAGO_FIELD_U8("B", 255), LAGO_FIELD_I16("s", -2),
                              LAGO_FIELD_U16("u", 65535), LAGO_FIELD_U32("i", UINT32_MAX), LAGO_FIELD_I64("l", INT64_MIN),
                              LAGO_FIELD_TIMESTAMP("T", UINT64_MAX)),
                  "{b=-128, B=255, s=-2, u=65535, i=4294967295, l=-9223372036854775808, T=18446744073709551615}");
    assert_prints(&LAGO_TABLE(LAGO_FIELD_FLOAT("f", 0.1f), LAGO_FIELD_DOUBLE("d", 0.1), LAGO_FIELD_DECIMAL("D", 2, 12345),
                              LAGO_FIELD_DECIMAL("E", 0, 7), LAGO_FIELD_VOID("V"), LAGO_FIELD_BYTES("x", "\0\xff", 2)),
                  "{f=0.1, d=0.1, D=12345e-2, E=7, V=void, x=\"\\x00\\xff\"}");
}

static void names_and_strings_are_escaped(void **state) {
    (void)state;
    assert_prints(&LAGO_TABLE(LAGO_FIELD_STR("a\nb", "\x1b[31m\"\\\xc3\xa9")), "{a\\nb=\"\\x1b[31m\\\"\\\\\\xc3\\xa9\"}");
}

static void a_malformed_table_is_printed_up_to_there(void **state) {
    (void)state;
    lago_table_t table = table_over(BYTES("\1aI\0\0\0\1\1bI\0"));
    assert_prints(&table, "{a=1, <malformed>}");
    table = table_over(BYTES("\1a?"));
    assert_prints(&table, "{<malformed>}");
    table = table_over(BYTES("\1aF\0\0\0\7\1bI\0\0\0\1\1ct\1"));
    assert_prints(&table, "{a={b=1}, c=true}");
    table = table_over(BYTES("\1aA\0\0\0\4t\1I\0\1ct\1"));
    assert_prints(&table, "{a=[true, <malformed>], c=true}");
}

static void what_is_too_deep_is_not_followed(void **state) {
    (void)state;
    lago_field_t me[1];
    lago_table_t table = LAGO_TABLE_OF(me);
    me[0] = lago_field_table("k", table);
    char buffer[512];
    lago_table_format(&table, buffer, sizeof buffer);
    assert_memory_equal(buffer, "{k={k={", 7);
    assert_non_null(strstr(buffer, "k={<malformed>}}"));
    size_t levels = 0;
    for (const char *p = buffer; *p != '\0'; p++) levels += *p == '{';
    assert_int_equal(levels, LAGO_TABLE_DEPTH_MAX + 1); /* the last one was refused */
}

static void strings_are_cut_where_told(void **state) {
    (void)state;
    char buffer[64];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    table_print(&t, &LAGO_TABLE(LAGO_FIELD_STR("k", "abcdef"), LAGO_FIELD_STR("l", "abc")), 3);
    assert_string_equal(buffer, "{k=\"abc...\", l=\"abc\"}");
}

static void any_buffer_will_do(void **state) {
    (void)state;
    lago_table_t table = LAGO_TABLE(LAGO_FIELD_I32("name", 12345));
    char buffer[13];
    for (size_t size = 0; size <= sizeof buffer; size++) {
        memset(buffer, 'x', sizeof buffer);
        assert_int_equal(lago_table_format(&table, size > 0 ? buffer : NULL, size), 12);
        if (size > 0) assert_int_equal(strlen(buffer), size - 1);
        if (size > 0) assert_memory_equal(buffer, "{name=12345}", size - 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_look_like_dictionaries),
        cmocka_unit_test(every_type_has_a_form),
        cmocka_unit_test(names_and_strings_are_escaped),
        cmocka_unit_test(a_malformed_table_is_printed_up_to_there),
        cmocka_unit_test(what_is_too_deep_is_not_followed),
        cmocka_unit_test(strings_are_cut_where_told),
        cmocka_unit_test(any_buffer_will_do),
    };
    return cmocka_run_group_tests_name("table_print", tests, NULL, NULL);
}
