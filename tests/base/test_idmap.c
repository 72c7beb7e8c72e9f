/* Numbers to pointers: the lowest free one first, never 0, never above the limit. */
#include "fail_alloc.h"
#include "idmap.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static int values[UINT16_MAX + 1];

static void test_numbers_rise_from_one(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct idmap map;
    fail_alloc_init(&fail);
    idmap_init(&map, &fail.allocator);
    for (int i = 1; i <= 100; i++) assert_int_equal(idmap_add(&map, 2047, &values[i]), i);
    assert_int_equal(map.count, 100);
    for (uint16_t i = 1; i <= 100; i++) assert_ptr_equal(idmap_get(&map, i), &values[i]);
    assert_null(idmap_get(&map, 0));
    assert_null(idmap_get(&map, 101));
    assert_null(idmap_get(&map, UINT16_MAX));
    idmap_clear(&map);
    assert_int_equal(idmap_add(&map, 1, &values[7]), 1);
    idmap_clear(&map);
    fail_alloc_check(&fail);
}

static void test_the_lowest_free_number_is_taken(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct idmap map;
    fail_alloc_init(&fail);
    idmap_init(&map, &fail.allocator);
    for (int i = 1; i <= 20; i++) (void)idmap_add(&map, 20, &values[i]);
    idmap_remove(&map, 15);
    idmap_remove(&map, 3);
    idmap_remove(&map, 3);
    idmap_remove(&map, 0);
    idmap_remove(&map, 999);
    assert_int_equal(map.count, 18);
    assert_int_equal(idmap_add(&map, 20, &values[1]), 3);
    assert_int_equal(idmap_add(&map, 20, &values[2]), 15);
    assert_int_equal(idmap_add(&map, 20, &values[3]), LAGO_ENOCHANNEL);
    assert_ptr_equal(idmap_get(&map, 15), &values[2]);
    idmap_clear(&map);
    fail_alloc_check(&fail);
}

static void test_the_next_number_in_use(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct idmap map;
    fail_alloc_init(&fail);
    idmap_init(&map, &fail.allocator);
    assert_int_equal(idmap_next(&map, 0), 0);
    for (int i = 1; i <= 9; i++) (void)idmap_add(&map, 9, &values[i]);
    for (uint16_t i = 1; i <= 9; i++) {
        if (i % 4 != 0) idmap_remove(&map, i);
    }
    assert_int_equal(idmap_next(&map, 0), 4);
    assert_int_equal(idmap_next(&map, 4), 8);
    assert_int_equal(idmap_next(&map, 8), 0);
    assert_int_equal(idmap_next(&map, UINT16_MAX), 0);
    idmap_clear(&map);
    fail_alloc_check(&fail);
}

static void test_all_numbers_can_be_used(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct idmap map;
    fail_alloc_init(&fail);
    idmap_init(&map, &fail.allocator);
    assert_int_equal(idmap_add(&map, 0, &values[1]), LAGO_ENOCHANNEL);
    assert_int_equal(fail.live_count, 0);
    for (int i = 1; i <= UINT16_MAX; i++) assert_int_equal(idmap_add(&map, UINT16_MAX, &values[i]), i);
    assert_int_equal(idmap_add(&map, UINT16_MAX, &values[1]), LAGO_ENOCHANNEL);
    assert_int_equal(idmap_next(&map, UINT16_MAX - 1), UINT16_MAX);
    assert_int_equal(idmap_next(&map, UINT16_MAX), 0);
    idmap_remove(&map, UINT16_MAX);
    assert_int_equal(idmap_add(&map, UINT16_MAX, &values[2]), UINT16_MAX);
    idmap_clear(&map);
    fail_alloc_check(&fail);
}

static void test_without_memory_nothing_changes(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        struct fail_alloc fail;
        struct idmap map;
        fail_alloc_init(&fail);
        fail_alloc_at(&fail, n, false);
        idmap_init(&map, &fail.allocator);
        size_t failures = 0;
        for (int i = 1; i <= 100; i++) {
            int id = idmap_add(&map, 100, &values[i]);
            if (id == LAGO_ENOMEM) {
                failures++;
                assert_int_equal(map.count, i - 1);
                id = idmap_add(&map, 100, &values[i]);
            }
            assert_int_equal(id, i);
        }
        for (uint16_t i = 1; i <= 100; i++) assert_ptr_equal(idmap_get(&map, i), &values[i]);
        idmap_clear(&map);
        fail_alloc_check(&fail);
        if (failures == 0) break;
        assert_int_equal(failures, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_rise_from_one),          cmocka_unit_test(test_the_lowest_free_number_is_taken),
        cmocka_unit_test(test_the_next_number_in_use),         cmocka_unit_test(test_all_numbers_can_be_used),
        cmocka_unit_test(test_without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
