/* Dictionaries as Python and JSON write them: what is read, what is refused, and that nothing makes the parser stumble. */
#include "alloc.h"
#include "fail_alloc.h"
#include "literal.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct literal *literal, const char *text) { return literal_parse(literal, &mem_default, text, strlen(text)); }

/* What a dictionary prints as when it has been read; "" when it is refused. */
static const char *printed(const char *text) {
    static char buffer[512];
    struct literal literal;
    buffer[0] = '\0';
    int rc = parse(&literal, text);
    if (rc == 0)
        lago_table_format(&literal.table, buffer, sizeof buffer);
    else
        assert_int_equal(rc, LAGO_ETABLE);
    literal_free(&literal);
    return buffer;
}

static void assert_refused(const char *text, const char *problem, size_t at) {
    struct literal literal;
    assert_int_equal(parse(&literal, text), LAGO_ETABLE);
    assert_string_equal(literal.problem, problem);
    assert_int_equal(literal.at, at);
    literal_free(&literal);
}

static void reads_python(void **state) {
    (void)state;
    assert_string_equal(printed("{'TCP_KEEPIDLE': 60}"), "{TCP_KEEPIDLE=60}");
    assert_string_equal(printed(" { 'a' : True , 'b' : False , } "), "{a=true, b=false}");
    assert_string_equal(printed("{'a': (1, 2), 'b': (1,), 'c': (1), 'd': ()}"), "{a=[1, 2], b=[1], c=1, d=[]}");
    assert_string_equal(printed("{}"), "{}");
    assert_string_equal(printed("None"), "{}");
}

static void reads_json(void **state) {
    (void)state;
    assert_string_equal(printed("{\"a\":true,\"b\":[1,\"x\",{\"c\":-5}]}"), "{a=true, b=[1, \"x\", {c=-5}]}");
    assert_string_equal(printed("null"), "{}");
}

static void chooses_types_by_value(void **state) {
    (void)state;
    struct literal literal;
    const char *text = "{'a': 2147483647, 'b': 2147483648, 'c': -9223372036854775808, 'd': 1.5, 'e': null, 'f': -2e3}";
    assert_int_equal(parse(&literal, text), 0);
    const lago_field_t *fields = literal.table.fields;
    assert_int_equal(literal.table.size, 6);
    assert_int_equal(fields[0].value.type, LAGO_TYPE_INT32);
    assert_int_equal(fields[1].value.type, LAGO_TYPE_INT64);
    assert_true(fields[1].value.as.integer == INT64_C(2147483648));
    assert_true(fields[2].value.as.integer == INT64_MIN);
    assert_int_equal(fields[3].value.type, LAGO_TYPE_DOUBLE);
    assert_true(fields[3].value.as.real == 1.5);
    assert_int_equal(fields[4].value.type, LAGO_TYPE_VOID);
    assert_true(fields[5].value.as.real == -2000.0);
    literal_free(&literal);
}

static void reads_doubles_from_end_to_end(void **state) {
    (void)state;
    struct literal literal;
    assert_int_equal(
        parse(&literal, "{'a': 1e308, 'b': 1e-310, 'c': 1e-999, 'd': 0.0001, 'e': 12345678901234567890.5, 'f': 0e9999}"), 0);
    const lago_field_t *fields = literal.table.fields;
    assert_true(fields[0].value.as.real > 0.99e308 && fields[0].value.as.real < 1.01e308);
    assert_true(fields[1].value.as.real > 0.0 && fields[1].value.as.real < 2e-310);
    assert_true(fields[2].value.as.real == 0.0);
    assert_true(fields[3].value.as.real == (double)0.0001);
    assert_true(fields[4].value.as.real > 1.2345e19 && fields[4].value.as.real < 1.2346e19);
    assert_true(fields[5].value.as.real == 0.0);
    literal_free(&literal);
    assert_refused("{'a': 1e309}", "a number is too large", 11);
}

static void decodes_escapes(void **state) {
    (void)state;
    struct literal literal;
    assert_int_equal(parse(&literal, "{'\\'\\\\': \"\\n\\t\\x41\\xe9\\u20ac\\ud83d\\ude00\\U0001F600'\"}"), 0);
    const lago_field_t *field = literal.table.fields;
    static const char expected[] = "\n\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf0\x9f\x98\x80'";
    assert_int_equal(field->name.size, 2);
    assert_memory_equal(field->name.data, "'\\", 2);
    assert_int_equal(field->value.as.string.size, sizeof expected - 1);
    assert_memory_equal(field->value.as.string.data, expected, sizeof expected - 1);
    literal_free(&literal);
}

static void decodes_escapes_by_number(void **state) {
    (void)state;
    assert_string_equal(printed("{'a': '\\x41\\u0041\\U00000041'}"), "{a=\"AAA\"}");
    assert_string_equal(printed("{'a': '\\U0000d7ff', 'b': '\\U0000e000'}"), "{a=\"\\xed\\x9f\\xbf\", b=\"\\xee\\x80\\x80\"}");
    assert_string_equal(printed("{'a': '\\U0000d800'}"), ""); /* half of a pair is no character */
    assert_string_equal(printed("{'a': '\\U0000dfff'}"), "");
    assert_string_equal(printed("{'a': '\\U0001f60'}"), "");
}

static void reads_exponents(void **state) {
    (void)state;
    struct literal literal;
    assert_int_equal(parse(&literal, "{'a': 1e+3, 'b': 1E3, 'c': 25E-1, 'd': 1e-99999999999999999999, 'e': 0e99999999999999}"),
                     0);
    static const double expected[] = { 1000.0, 1000.0, 2.5, 0.0, 0.0 };
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(literal.table.fields[i].value.type, LAGO_TYPE_DOUBLE);
        assert_true(literal.table.fields[i].value.as.real == expected[i]);
    }
    literal_free(&literal);
    assert_refused("{'a': 1e99999999999999999999}", "a number is too large", 28);
    assert_refused("{'a': 123456789012345678901234567890}", "an integer does not fit into 64 bits", 36);
}

static void refuses_and_says_where(void **state) {
    (void)state;
    assert_refused("", "a value is expected", 0);
    assert_refused("5", "not a dictionary", 1);
    assert_refused("{5: 1}", "a name in quotes is expected", 1);
    assert_refused("{'a' 1}", "':' is expected", 5);
    assert_refused("{'a': }", "a value is expected", 6);
    assert_refused("{'a': 1 'b': 2}", "',' or '}' is expected", 8);
    assert_refused("{'a': 1, 'a': 2}", "a name occurs twice", 12);
    assert_refused("{'a': 1} x", "something follows the dictionary", 9);
    assert_refused("{'a", "a string is not closed", 2);
    assert_refused("{'a': '\\", "a string is not closed", 7);
    assert_refused("{'a': [1}", "',' or a closing bracket is expected", 8);
    assert_refused("{,}", "a name in quotes is expected", 1);
}

static void refuses_what_is_no_literal(void **state) {
    (void)state;
    static const char *const bad[] = { "{'a': 007}",       "{'a': 1.}",
                                       "{'a': .5}",        "{'a': 1e}",
                                       "{'a': 0x10}",      "{'a': +1}",
                                       "{'a': --1}",       "{'a': nan}",
                                       "{'a': truely}",    "{'a': 1+1}",
                                       "{'a': f()}",       "{'a': b'x'}",
                                       "{'a': '\\q'}",     "{'a': '\\x4'}",
                                       "{'a': '\\ud83d'}", "{'a': '\\ude00'}",
                                       "{'a': '\\u12g4'}", "{'a': '\\U00110000'}",
                                       "{'a': '\n'}",      "{'a': 9223372036854775808}",
                                       "{'a': [,]}",       "{'a': (,)}",
                                       "{'a': 1,,}",       "{'a': 'x' 'y'}" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_string_equal(printed(bad[i]), "");
}

static void stops_at_16_levels(void **state) {
    (void)state;
    struct literal literal;
    char text[128] = "{'a':";
    for (unsigned i = 0; i < LITERAL_DEPTH_MAX - 1; i++) strcat(text, "[");
    for (unsigned i = 0; i < LITERAL_DEPTH_MAX - 1; i++) strcat(text, "]");
    strcat(text, "}");
    assert_int_equal(parse(&literal, text), 0);
    literal_free(&literal);
    strcpy(text, "{'a':");
    for (unsigned i = 0; i < LITERAL_DEPTH_MAX; i++) strcat(text, "[");
    assert_refused(text, "nested more than 16 deep", 20);
}

static void stops_at_16_kib(void **state) {
    (void)state;
    static char text[LITERAL_SIZE_MAX + 1];
    struct literal literal;
    memset(text, ' ', sizeof text);
    memcpy(text, "{}", 2);
    assert_int_equal(literal_parse(&literal, &mem_default, text, sizeof text - 1), 0);
    literal_free(&literal);
    assert_int_equal(literal_parse(&literal, &mem_default, text, sizeof text), LAGO_ETABLE);
    literal_free(&literal);
}

static const char rich[] =
    "{'a': [1, (2.5e-1, True), {\"b\": null}], 'c': '\\u20ac\\ud83d\\ude00', 'd': -12, 'e': {}, 'f': None}";

static void survives_every_prefix_and_mutation(void **state) {
    (void)state;
    struct literal literal;
    static const char bytes[] = "\0\x01 '\"\\{}[](),:.-0eTNu\x7f\xff";
    for (size_t size = 0; size < sizeof rich - 1; size++) {
        assert_int_equal(literal_parse(&literal, &mem_default, rich, size), LAGO_ETABLE);
        literal_free(&literal);
    }
    for (size_t at = 0; at < sizeof rich - 1; at++) {
        for (size_t i = 0; i < sizeof bytes - 1; i++) {
            char mutated[sizeof rich];
            memcpy(mutated, rich, sizeof rich);
            mutated[at] = bytes[i];
            int rc = literal_parse(&literal, &mem_default, mutated, sizeof rich - 1);
            assert_true(rc == 0 || (rc == LAGO_ETABLE && literal.problem));
            literal_free(&literal);
        }
    }
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    int rc = LAGO_ENOMEM;
    unsigned n = 1;
    for (; rc == LAGO_ENOMEM; n++) {
        struct fail_alloc memory;
        struct literal literal;
        fail_alloc_init(&memory);
        memory.fail_at = n;
        rc = literal_parse(&literal, &memory.allocator, rich, sizeof rich - 1);
        literal_free(&literal);
        fail_alloc_check(&memory);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_python),
        cmocka_unit_test(reads_json),
        cmocka_unit_test(chooses_types_by_value),
        cmocka_unit_test(reads_doubles_from_end_to_end),
        cmocka_unit_test(decodes_escapes),
        cmocka_unit_test(decodes_escapes_by_number),
        cmocka_unit_test(reads_exponents),
        cmocka_unit_test(refuses_and_says_where),
        cmocka_unit_test(refuses_what_is_no_literal),
        cmocka_unit_test(stops_at_16_levels),
        cmocka_unit_test(stops_at_16_kib),
        cmocka_unit_test(survives_every_prefix_and_mutation),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
