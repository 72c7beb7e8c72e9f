/* Memory through the caller's allocator: sizes, overflow, failure. */
#include "alloc.h"
#include "fail_alloc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_nothing_is_allocated_for_nothing(void **state) {
    (void)state;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    assert_null(mem_alloc(&fail.allocator, 0));
    assert_null(mem_zero(&fail.allocator, 0, 8));
    assert_null(mem_zero(&fail.allocator, 8, 0));
    assert_null(mem_resize(&fail.allocator, NULL, 0, 8));
    mem_free(&fail.allocator, NULL);
    assert_int_equal(fail.calls, 0);
}

static void test_a_product_that_overflows_is_no_memory(void **state) {
    (void)state;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    assert_null(mem_zero(&fail.allocator, SIZE_MAX / 2 + 1, 2));
    assert_null(mem_resize(&fail.allocator, NULL, SIZE_MAX / 16 + 2, 16));
    assert_null(mem_copy(&fail.allocator, "x", SIZE_MAX));
    assert_int_equal(fail.calls, 0);
}

static void test_zeroed_memory_is_zero(void **state) {
    (void)state;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    unsigned char *memory = mem_zero(&fail.allocator, 10, 10);
    assert_non_null(memory);
    for (size_t i = 0; i < 100; i++) assert_int_equal(memory[i], 0);
    assert_int_equal(fail.live_bytes, 100);
    mem_free(&fail.allocator, memory);
    fail_alloc_check(&fail);
}

static void test_resize_keeps_the_content(void **state) {
    (void)state;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    char *memory = mem_resize(&fail.allocator, NULL, 4, 1);
    memcpy(memory, "abcd", 4);
    memory = mem_resize(&fail.allocator, memory, 10, 100);
    assert_memory_equal(memory, "abcd", 4);
    assert_int_equal(fail.live_bytes, 1000);
    assert_int_equal(fail.peak_bytes, 1000);
    assert_int_equal(fail.peak_both_bytes, 1004);
    fail_alloc_at(&fail, 1, false);
    assert_null(mem_resize(&fail.allocator, memory, 2000, 1));
    assert_memory_equal(memory, "abcd", 4);
    assert_null(mem_resize(&fail.allocator, memory, SIZE_MAX, 2));
    assert_memory_equal(memory, "abcd", 4);
    mem_free(&fail.allocator, memory);
    fail_alloc_check(&fail);
}

static void test_a_copy_ends_with_a_nul(void **state) {
    (void)state;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    char *copy = mem_copy(&fail.allocator, "a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4);
    assert_int_equal(fail.live_bytes, 4);
    mem_free(&fail.allocator, copy);
    char *empty = mem_copy(&fail.allocator, NULL, 0);
    assert_string_equal(empty, "");
    mem_free(&fail.allocator, empty);
    fail_alloc_check(&fail);
}

static void test_failure_is_null(void **state) {
    (void)state;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    fail_alloc_at(&fail, 1, true);
    assert_null(mem_alloc(&fail.allocator, 1));
    assert_null(mem_zero(&fail.allocator, 1, 1));
    assert_null(mem_resize(&fail.allocator, NULL, 1, 1));
    assert_null(mem_copy(&fail.allocator, "x", 1));
    assert_int_equal(fail.calls, 4);
    fail_alloc_check(&fail);
}

static void test_the_default_is_malloc(void **state) {
    (void)state;
    char *memory = mem_copy(&mem_default, "abc", 3);
    memory = mem_resize(&mem_default, memory, 100, 1);
    assert_string_equal(memory, "abc");
    mem_free(&mem_default, memory);
}

static void test_wipe_overwrites(void **state) {
    (void)state;
    char secret[] = "guest";
    mem_wipe(secret, 3);
    assert_memory_equal(secret, "\0\0\0st", 6);
    mem_wipe(NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_allocated_for_nothing),
        cmocka_unit_test(test_a_product_that_overflows_is_no_memory),
        cmocka_unit_test(test_zeroed_memory_is_zero),
        cmocka_unit_test(test_resize_keeps_the_content),
        cmocka_unit_test(test_a_copy_ends_with_a_nul),
        cmocka_unit_test(test_failure_is_null),
        cmocka_unit_test(test_the_default_is_malloc),
        cmocka_unit_test(test_wipe_overwrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
