/* Text into a fixed buffer: never overflows, counts like snprintf, escapes what peers sent. */
#include "text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_parts_join(void **state) {
    (void)state;
    char buffer[32];
    struct text t;
    text_init(&t, buffer, sizeof(buffer));
    assert_string_equal(buffer, "");
    text_add(&t, "channel ");
    text_addf(&t, "%d of %s", 7, "12");
    assert_string_equal(buffer, "channel 7 of 12");
    assert_int_equal(t.length, 15);
    text_addf(&t, "%s", ""); /* nothing */
    assert_string_equal(buffer, "channel 7 of 12");
    assert_int_equal(t.length, 15);
}

/* Every size of the buffer gives the longest beginning that fits, and the same length. */
static void test_a_small_buffer_cuts(void **state) {
    (void)state;
    static const char whole[] = "abc 42 \\x00\\\"!";
    for (size_t size = 1; size <= sizeof(whole) + 2; size++) {
        char buffer[sizeof(whole) + 3];
        memset(buffer, '#', sizeof(buffer));
        struct text t;
        text_init(&t, buffer, size);
        text_add(&t, "abc ");
        text_addf(&t, "%d ", 42);
        text_add_escaped(&t, "\0\"", 2, 10);
        text_add(&t, "!");
        assert_int_equal(t.length, sizeof(whole) - 1);
        size_t kept = size - 1 < t.length ? size - 1 : t.length;
        assert_int_equal(strlen(buffer), kept);
        assert_memory_equal(buffer, whole, kept);
        assert_int_equal(buffer[size], '#');
    }
}

static void test_no_buffer_only_counts(void **state) {
    (void)state;
    struct text t;
    text_init(&t, NULL, 0);
    text_add(&t, "abc");
    text_addf(&t, "%d", 12345);
    text_add_escaped(&t, "\n", 1, 1);
    assert_int_equal(t.length, 10);
}

static void test_peer_bytes_are_escaped(void **state) {
    (void)state;
    char buffer[128];
    struct text t;
    text_init(&t, buffer, sizeof(buffer));
    static const char hostile[] = "a'b\"c\\d\ne\rf\tg\0h\x1b[31m\x7f\xc3\xa4~ ";
    text_add_escaped(&t, hostile, sizeof(hostile) - 1, 256);
    assert_string_equal(buffer, "a'b\\\"c\\\\d\\ne\\rf\\tg\\x00h\\x1b[31m\\x7f\\xc3\\xa4~ ");
}

static void test_long_peer_bytes_are_cut(void **state) {
    (void)state;
    char buffer[32];
    struct text t;
    text_init(&t, buffer, sizeof(buffer));
    text_add_escaped(&t, "abcdef", 6, 6);
    assert_string_equal(buffer, "abcdef");
    text_init(&t, buffer, sizeof(buffer));
    text_add_escaped(&t, "abc\ndef", 7, 4);
    assert_string_equal(buffer, "abc\\n...");
    text_init(&t, buffer, sizeof(buffer));
    text_add_escaped(&t, NULL, 0, 4);
    assert_string_equal(buffer, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_join),
        cmocka_unit_test(test_a_small_buffer_cuts),
        cmocka_unit_test(test_no_buffer_only_counts),
        cmocka_unit_test(test_peer_bytes_are_escaped),
        cmocka_unit_test(test_long_peer_bytes_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
