/* Strings to objects: found by bytes, not by NUL; emptied in linear time. */
#include "fail_alloc.h"
#include "strmap.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { CONSUMERS = 1000 };

struct consumer {
    struct strmap_node node;
    char tag[16];
    size_t size;
};

static void name_consumers(struct consumer *consumers) {
    for (unsigned i = 0; i < CONSUMERS; i++) {
        consumers[i].size = (size_t)snprintf(consumers[i].tag, sizeof(consumers[i].tag), "ctag1.%u", i);
    }
}

static int add(struct strmap *map, struct consumer *c) { return strmap_add(map, &c->node, c->tag, c->size); }

static void test_what_was_added_is_found(void **state) {
    (void)state;
    static struct consumer consumers[CONSUMERS];
    struct fail_alloc fail;
    struct strmap map;
    fail_alloc_init(&fail);
    strmap_init(&map, &fail.allocator);
    name_consumers(consumers);
    assert_null(strmap_find(&map, "ctag1.1", 7));
    assert_null(strmap_any(&map));
    for (size_t i = 0; i < CONSUMERS; i++) assert_int_equal(add(&map, &consumers[i]), 0);
    assert_int_equal(map.count, CONSUMERS);
    for (size_t i = 0; i < CONSUMERS; i++) {
        char copy[16];
        memcpy(copy, consumers[i].tag, sizeof(copy));
        assert_ptr_equal(strmap_find(&map, copy, consumers[i].size), &consumers[i].node);
    }
    assert_null(strmap_find(&map, "ctag1.", 6));
    assert_null(strmap_find(&map, "ctag1.1000", 10));
    strmap_clear(&map);
    assert_null(strmap_find(&map, "ctag1.1", 7));
    fail_alloc_check(&fail);
}

static void test_what_was_removed_is_gone(void **state) {
    (void)state;
    static struct consumer consumers[CONSUMERS];
    struct fail_alloc fail;
    struct strmap map;
    fail_alloc_init(&fail);
    strmap_init(&map, &fail.allocator);
    name_consumers(consumers);
    for (size_t i = 0; i < CONSUMERS; i++) (void)add(&map, &consumers[i]);
    for (size_t i = 0; i < CONSUMERS; i += 3) strmap_remove(&map, &consumers[i].node);
    strmap_remove(&map, &consumers[0].node); /* not there: harmless */
    for (size_t i = 0; i < CONSUMERS; i++) {
        struct strmap_node *found = strmap_find(&map, consumers[i].tag, consumers[i].size);
        assert_ptr_equal(found, i % 3 == 0 ? NULL : &consumers[i].node);
    }
    assert_int_equal(add(&map, &consumers[0]), 0);
    assert_ptr_equal(strmap_find(&map, consumers[0].tag, consumers[0].size), &consumers[0].node);
    strmap_clear(&map);
    fail_alloc_check(&fail);
}

static void test_a_key_is_bytes(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct strmap map;
    struct strmap_node empty, a, a_nul;
    fail_alloc_init(&fail);
    strmap_init(&map, &fail.allocator);
    assert_int_equal(strmap_add(&map, &empty, NULL, 0), 0);
    assert_int_equal(strmap_add(&map, &a, "a", 1), 0);
    assert_int_equal(strmap_add(&map, &a_nul, "a\0", 2), 0);
    assert_ptr_equal(strmap_find(&map, "", 0), &empty);
    assert_ptr_equal(strmap_find(&map, "a", 1), &a);
    assert_ptr_equal(strmap_find(&map, "a\0", 2), &a_nul);
    assert_null(strmap_find(&map, "a\0\0", 3));
    strmap_clear(&map);
    fail_alloc_check(&fail);
}

static void test_any_empties_the_map(void **state) {
    (void)state;
    static struct consumer consumers[CONSUMERS];
    struct fail_alloc fail;
    struct strmap map;
    fail_alloc_init(&fail);
    strmap_init(&map, &fail.allocator);
    name_consumers(consumers);
    for (size_t i = 0; i < CONSUMERS; i++) (void)add(&map, &consumers[i]);
    for (size_t left = CONSUMERS; left > 0; left--) {
        struct strmap_node *node = strmap_any(&map);
        assert_non_null(node);
        strmap_remove(&map, node);
        assert_int_equal(map.count, left - 1);
        if (left % 10 == 0) { /* additions in between are not overlooked */
            assert_int_equal(strmap_add(&map, node, node->key, node->size), 0);
            assert_non_null(strmap_any(&map));
            strmap_remove(&map, node);
        }
    }
    assert_null(strmap_any(&map));
    strmap_clear(&map);
    fail_alloc_check(&fail);
}

static void test_without_memory_only_the_first_fails(void **state) {
    (void)state;
    static struct consumer consumers[CONSUMERS];
    struct fail_alloc fail;
    struct strmap map;
    fail_alloc_init(&fail);
    strmap_init(&map, &fail.allocator);
    name_consumers(consumers);
    fail_alloc_at(&fail, 1, true);
    assert_int_equal(add(&map, &consumers[0]), LAGO_ENOMEM);
    assert_int_equal(map.count, 0);
    assert_null(strmap_find(&map, consumers[0].tag, consumers[0].size));
    fail_alloc_at(&fail, 2, true); /* the table never grows */
    for (size_t i = 0; i < CONSUMERS; i++) assert_int_equal(add(&map, &consumers[i]), 0);
    fail_alloc_at(&fail, 0, false);
    for (size_t i = 0; i < CONSUMERS; i++) {
        assert_ptr_equal(strmap_find(&map, consumers[i].tag, consumers[i].size), &consumers[i].node);
    }
    strmap_clear(&map);
    fail_alloc_check(&fail);
}

/* FNV-1a of each pair is the same number, which a peer may know as well. */
static void test_keys_of_the_same_hash_are_told_apart(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct strmap map;
    struct strmap_node liquid, costarring, declinate;
    fail_alloc_init(&fail);
    strmap_init(&map, &fail.allocator);
    assert_int_equal(strmap_add(&map, &liquid, "liquid", 6), 0);
    assert_null(strmap_find(&map, "costarring", 10));
    assert_int_equal(strmap_add(&map, &costarring, "costarring", 10), 0);
    assert_int_equal(strmap_add(&map, &declinate, "declinate", 9), 0);
    assert_int_equal(liquid.hash, costarring.hash);
    assert_ptr_equal(strmap_find(&map, "liquid", 6), &liquid);
    assert_ptr_equal(strmap_find(&map, "costarring", 10), &costarring);
    assert_null(strmap_find(&map, "macallums", 9));
    strmap_clear(&map);
    fail_alloc_check(&fail);
}

/* While a map is emptied from its first bucket on, what comes into one that was empty already is found too. */
static void test_any_finds_what_came_behind_it(void **state) {
    (void)state;
    static struct consumer consumers[CONSUMERS];
    struct fail_alloc fail;
    struct strmap map;
    fail_alloc_init(&fail);
    strmap_init(&map, &fail.allocator);
    name_consumers(consumers);
    for (size_t i = 0; i < CONSUMERS; i++) (void)add(&map, &consumers[i]);
    struct strmap_node *first = strmap_any(&map);
    strmap_remove(&map, first);
    while (map.count > 1) strmap_remove(&map, strmap_any(&map));
    assert_int_equal(strmap_add(&map, first, first->key, first->size), 0);
    assert_ptr_equal(strmap_any(&map), first);
    strmap_remove(&map, first);
    assert_non_null(strmap_any(&map));
    strmap_remove(&map, strmap_any(&map));
    assert_null(strmap_any(&map));
    strmap_clear(&map);
    fail_alloc_check(&fail);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_added_is_found),
        cmocka_unit_test(test_what_was_removed_is_gone),
        cmocka_unit_test(test_a_key_is_bytes),
        cmocka_unit_test(test_any_empties_the_map),
        cmocka_unit_test(test_without_memory_only_the_first_fails),
        cmocka_unit_test(test_keys_of_the_same_hash_are_told_apart),
        cmocka_unit_test(test_any_finds_what_came_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
