/* Deadlines in a heap: the earliest first, equal ones in the order of setting. */
#include "deadline.h"
#include "fail_alloc.h"
#include "timers.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { NODES = 64 };

/* A fixed sequence of numbers that look random (xorshift64). */
static uint64_t next_random(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void test_sums_saturate(void **state) {
    (void)state;
    assert_int_equal(deadline_after(10, 5), 15);
    assert_true(deadline_after(10, UINT64_MAX) == DEADLINE_NEVER);
    assert_true(deadline_after(UINT64_MAX, 1) == DEADLINE_NEVER);
    assert_true(deadline_after(UINT64_MAX - 1, 1) == DEADLINE_NEVER);
    assert_int_equal(deadline_min(3, 4), 3);
}

static void test_the_earliest_comes_first(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct timer_heap heap;
    struct timer_node a = { 0 }, b = { 0 }, c = { 0 };
    fail_alloc_init(&fail);
    timers_init(&heap, &fail.allocator);
    assert_true(timers_next(&heap) == DEADLINE_NEVER);
    assert_null(timers_expired(&heap, DEADLINE_NEVER));
    assert_int_equal(timers_set(&heap, &a, 30), 0);
    assert_int_equal(timers_set(&heap, &b, 10), 0);
    assert_int_equal(timers_set(&heap, &c, 20), 0);
    assert_int_equal(timers_next(&heap), 10);
    assert_null(timers_expired(&heap, 9));
    assert_ptr_equal(timers_expired(&heap, 20), &b);
    assert_false(timers_is_set(&b));
    assert_ptr_equal(timers_expired(&heap, 20), &c);
    assert_null(timers_expired(&heap, 20));
    assert_int_equal(timers_next(&heap), 30);
    timers_clear(&heap);
    assert_false(timers_is_set(&a));
    assert_true(timers_next(&heap) == DEADLINE_NEVER);
    fail_alloc_check(&fail);
}

static void test_equal_deadlines_keep_their_order(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct timer_heap heap;
    struct timer_node nodes[NODES] = { 0 };
    fail_alloc_init(&fail);
    timers_init(&heap, &fail.allocator);
    for (size_t i = 0; i < NODES; i++) assert_int_equal(timers_set(&heap, &nodes[i], 5), 0);
    assert_int_equal(timers_set(&heap, &nodes[0], 5), 0); /* set anew: now the last */
    for (size_t i = 1; i < NODES; i++) assert_ptr_equal(timers_expired(&heap, 5), &nodes[i]);
    assert_ptr_equal(timers_expired(&heap, 5), &nodes[0]);
    timers_clear(&heap);
    fail_alloc_check(&fail);
}

static void test_set_anew_and_taken_back(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct timer_heap heap;
    struct timer_node a = { 0 }, b = { 0 };
    fail_alloc_init(&fail);
    timers_init(&heap, &fail.allocator);
    (void)timers_set(&heap, &a, 10);
    (void)timers_set(&heap, &b, 20);
    (void)timers_set(&heap, &a, 30);
    assert_int_equal(timers_next(&heap), 20);
    (void)timers_set(&heap, &a, 15);
    assert_int_equal(timers_next(&heap), 15);
    assert_int_equal(timers_set(&heap, &a, DEADLINE_NEVER), 0);
    assert_false(timers_is_set(&a));
    assert_int_equal(timers_next(&heap), 20);
    timers_cancel(&heap, &b);
    timers_cancel(&heap, &b);
    assert_int_equal(heap.count, 0);
    assert_int_equal(timers_set(&heap, &a, DEADLINE_NEVER), 0);
    timers_clear(&heap);
    fail_alloc_check(&fail);
}

static struct timer_node *naive_earliest(struct timer_node *nodes) {
    struct timer_node *earliest = NULL;
    for (size_t i = 0; i < NODES; i++) {
        struct timer_node *n = &nodes[i];
        if (!timers_is_set(n)) continue;
        bool is_earlier = earliest == NULL || n->deadline < earliest->deadline ||
                          (n->deadline == earliest->deadline && n->order < earliest->order);
        if (is_earlier) earliest = n;
    }
    return earliest;
}

static void test_random_work_agrees_with_a_search(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct timer_heap heap;
    struct timer_node nodes[NODES] = { 0 };
    uint64_t seed = 20240229;
    fail_alloc_init(&fail);
    timers_init(&heap, &fail.allocator);
    for (int step = 0; step < 50000; step++) {
        struct timer_node *node = &nodes[next_random(&seed) % NODES];
        uint64_t choice = next_random(&seed) % 8;
        struct timer_node *expected = naive_earliest(nodes);
        assert_true(timers_next(&heap) == (expected == NULL ? DEADLINE_NEVER : expected->deadline));
        if (choice < 5) {
            assert_int_equal(timers_set(&heap, node, next_random(&seed) % 100), 0);
        } else if (choice < 6) {
            timers_cancel(&heap, node);
            assert_false(timers_is_set(node));
        } else {
            assert_ptr_equal(timers_expired(&heap, 1000), expected);
        }
    }
    timers_clear(&heap);
    fail_alloc_check(&fail);
}

static void test_without_memory_nothing_changes(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        struct fail_alloc fail;
        struct timer_heap heap;
        struct timer_node nodes[NODES] = { 0 };
        fail_alloc_init(&fail);
        fail_alloc_at(&fail, n, false);
        timers_init(&heap, &fail.allocator);
        size_t failures = 0;
        for (size_t i = 0; i < NODES; i++) {
            if (timers_set(&heap, &nodes[i], i) == 0) continue;
            failures++;
            assert_false(timers_is_set(&nodes[i]));
            assert_int_equal(heap.count, i);
            assert_int_equal(timers_set(&heap, &nodes[i], i), 0);
        }
        for (size_t i = 0; i < NODES; i++) assert_ptr_equal(timers_expired(&heap, NODES), &nodes[i]);
        timers_clear(&heap);
        fail_alloc_check(&fail);
        if (failures == 0) break;
        assert_int_equal(failures, 1);
    }
}

static void test_reserved_room_cannot_fail(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct timer_heap heap;
    struct timer_node nodes[NODES] = { 0 };
    fail_alloc_init(&fail);
    timers_init(&heap, &fail.allocator);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(timers_reserve(&heap), 0);
        fail_alloc_at(&fail, 1, true);
        assert_int_equal(timers_set(&heap, &nodes[i], i), 0);
        assert_int_equal(timers_set(&heap, &nodes[i], i + 1), 0);
        fail_alloc_at(&fail, 0, false);
    }
    fail_alloc_at(&fail, 1, true);
    assert_int_equal(timers_reserve(&heap), LAGO_ENOMEM);
    timers_clear(&heap);
    fail_alloc_check(&fail);
}

/* For so many at once, however many that is: none of them asks for memory then. */
static void test_room_for_many_cannot_fail(void **state) {
    (void)state;
    for (size_t count = 1; count <= NODES; count += 7) {
        struct fail_alloc fail;
        struct timer_heap heap;
        struct timer_node nodes[NODES] = { { 0 } };
        fail_alloc_init(&fail);
        timers_init(&heap, &fail.allocator);
        assert_int_equal(timers_reserve_for(&heap, count), 0);
        assert_int_equal(fail.calls, 1);
        fail_alloc_at(&fail, 1, true);
        for (size_t i = 0; i < count; i++) assert_int_equal(timers_set(&heap, &nodes[i], i + 1), 0);
        assert_int_equal(timers_next(&heap), 1);
        timers_clear(&heap);
        fail_alloc_check(&fail);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_saturate),
        cmocka_unit_test(test_the_earliest_comes_first),
        cmocka_unit_test(test_equal_deadlines_keep_their_order),
        cmocka_unit_test(test_set_anew_and_taken_back),
        cmocka_unit_test(test_random_work_agrees_with_a_search),
        cmocka_unit_test(test_without_memory_nothing_changes),
        cmocka_unit_test(test_reserved_room_cannot_fail),
        cmocka_unit_test(test_room_for_many_cannot_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
