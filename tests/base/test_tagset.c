/* Open delivery tags: any order of removal, and memory that follows their number. */
#include "fail_alloc.h"
#include "tagset.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A fixed sequence of numbers that look random (xorshift64). */
static uint64_t next_random(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void test_tags_come_and_go_in_order(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct tagset set;
    fail_alloc_init(&fail);
    tagset_init(&set, &fail.allocator);
    assert_int_equal(tagset_lowest(&set), 0);
    assert_false(tagset_has(&set, 1));
    assert_false(tagset_remove(&set, 1));
    for (uint64_t tag = 1; tag <= 1000; tag++) {
        assert_int_equal(tagset_add(&set, tag), 0);
        if (tag <= 100) continue;
        assert_int_equal(tagset_lowest(&set), tag - 100);
        assert_true(tagset_remove(&set, tag - 100));
        assert_false(tagset_remove(&set, tag - 100));
        assert_int_equal(tagset_count(&set), 100);
    }
    assert_true(tagset_has(&set, 1000));
    assert_false(tagset_has(&set, 1001));
    tagset_clear(&set);
    assert_int_equal(tagset_count(&set), 0);
    fail_alloc_check(&fail);
}

static void test_the_steady_state_does_not_allocate(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct tagset set;
    fail_alloc_init(&fail);
    tagset_init(&set, &fail.allocator);
    for (uint64_t tag = 1; tag <= 2100; tag++) (void)tagset_add(&set, tag);
    assert_int_equal(tagset_remove_through(&set, 100), 100);
    size_t calls = fail.calls;
    for (uint64_t tag = 2101; tag <= 100000; tag++) {
        assert_true(tagset_remove(&set, tag - 2000));
        assert_int_equal(tagset_add(&set, tag), 0);
    }
    assert_int_equal(tagset_remove_through(&set, 99999), 1999);
    for (uint64_t tag = 100001; tag <= 101999; tag++) assert_int_equal(tagset_add(&set, tag), 0);
    assert_int_equal(fail.calls, calls);
    tagset_clear(&set);
    fail_alloc_check(&fail);
}

static void test_remove_through_counts(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct tagset set;
    fail_alloc_init(&fail);
    tagset_init(&set, &fail.allocator);
    assert_int_equal(tagset_remove_through(&set, 5), 0);
    for (uint64_t tag = 60; tag <= 300; tag++) (void)tagset_add(&set, tag);
    assert_int_equal(tagset_remove_through(&set, 59), 0);
    assert_int_equal(tagset_remove_through(&set, 63), 4);
    assert_int_equal(tagset_lowest(&set), 64);
    assert_true(tagset_remove(&set, 100));
    assert_int_equal(tagset_remove_through(&set, 128), 64);
    assert_int_equal(tagset_lowest(&set), 129);
    assert_int_equal(tagset_remove_through(&set, UINT64_MAX), 172);
    assert_int_equal(tagset_count(&set), 0);
    assert_int_equal(tagset_lowest(&set), 0);
    tagset_clear(&set);
    fail_alloc_check(&fail);
}

static void test_the_largest_tags(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct tagset set;
    fail_alloc_init(&fail);
    tagset_init(&set, &fail.allocator);
    assert_int_equal(tagset_add(&set, 1), 0);
    assert_int_equal(tagset_add(&set, UINT64_MAX - 1), 0);
    assert_int_equal(tagset_add(&set, UINT64_MAX), 0);
    assert_true(tagset_has(&set, UINT64_MAX));
    assert_int_equal(tagset_remove_through(&set, UINT64_MAX - 1), 2);
    assert_true(tagset_lowest(&set) == UINT64_MAX);
    tagset_clear(&set);
    fail_alloc_check(&fail);
}

/* One old tag stays open while a million pass: memory stays small. */
static void test_memory_follows_the_open_tags(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct tagset set;
    fail_alloc_init(&fail);
    tagset_init(&set, &fail.allocator);
    assert_int_equal(tagset_add(&set, 1), 0);
    for (uint64_t tag = 2; tag <= 1000000; tag++) {
        assert_int_equal(tagset_add(&set, tag), 0);
        if (tag > 12) assert_true(tagset_remove(&set, tag - 10));
    }
    assert_int_equal(tagset_lowest(&set), 1);
    assert_true(fail.peak_both_bytes <= 1024);
    for (uint64_t tag = 1000001; tag <= 2000000; tag++) assert_int_equal(tagset_add(&set, tag), 0);
    assert_true(fail.live_bytes <= 1024); /* without a gap */
    assert_true(tagset_remove(&set, 1999999));
    assert_true(fail.live_bytes > 200000);
    for (uint64_t tag = 1000001; tag < 1999999; tag++) assert_true(tagset_remove(&set, tag));
    assert_true(fail.live_bytes <= 1024);
    assert_true(tagset_has(&set, 1) && tagset_has(&set, 2000000));
    tagset_clear(&set);
    fail_alloc_check(&fail);
}

enum { MODEL_TAGS = 20000 };

/* The naive set: a flag for each tag. */
struct model {
    bool open[MODEL_TAGS + 1];
    size_t count;
};

static uint64_t model_lowest(const struct model *model) {
    for (uint64_t tag = 1; model->count > 0 && tag <= MODEL_TAGS; tag++) {
        if (model->open[tag]) return tag;
    }
    return 0;
}

static size_t model_remove_through(struct model *model, uint64_t tag) {
    size_t removed = 0;
    for (uint64_t i = 1; i <= tag; i++) {
        removed += model->open[i];
        model->open[i] = false;
    }
    model->count -= removed;
    return removed;
}

static void random_removal(struct tagset *set, struct model *model, uint64_t last, uint64_t *seed) {
    uint64_t tag = last - next_random(seed) % (last < 3000 ? last : 3000);
    assert_int_equal(tagset_has(set, tag), model->open[tag]);
    if (next_random(seed) % 200 == 0) {
        assert_int_equal(tagset_remove_through(set, tag), model_remove_through(model, tag));
        return;
    }
    assert_int_equal(tagset_remove(set, tag), model->open[tag]);
    model->count -= model->open[tag];
    model->open[tag] = false;
}

/* Steps of 1 to `stride` between tags, `removals` attempts to remove for each. */
static void compare_with_model(uint64_t seed, uint64_t stride, unsigned removals) {
    static struct model model;
    struct fail_alloc fail;
    struct tagset set;
    memset(&model, 0, sizeof(model));
    fail_alloc_init(&fail);
    tagset_init(&set, &fail.allocator);
    for (uint64_t tag = 1; tag <= MODEL_TAGS; tag += 1 + next_random(&seed) % stride) {
        assert_int_equal(tagset_add(&set, tag), 0);
        model.open[tag] = true;
        model.count++;
        for (unsigned i = 0; i < removals; i++) random_removal(&set, &model, tag, &seed);
        assert_int_equal(tagset_count(&set), model.count);
        if (tag % 16 == 0) assert_int_equal(tagset_lowest(&set), model_lowest(&model));
        assert_true(set.capacity <= 64 || set.capacity <= 16 * tagset_count(&set));
    }
    for (uint64_t tag = 1; tag <= MODEL_TAGS; tag++) assert_int_equal(tagset_has(&set, tag), model.open[tag]);
    tagset_clear(&set);
    fail_alloc_check(&fail);
}

static void test_random_work_agrees_with_a_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        compare_with_model(seed, 1, 1);
        compare_with_model(seed, 1, 4);
        compare_with_model(seed, 5, 2);
        compare_with_model(seed, 100, 8);
    }
}

static void test_without_memory_nothing_changes(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        struct fail_alloc fail;
        struct tagset set;
        fail_alloc_init(&fail);
        fail_alloc_at(&fail, n, false);
        tagset_init(&set, &fail.allocator);
        size_t added = 0;
        for (uint64_t tag = 64; tag <= 64 * 500; tag += 64) {
            if (tagset_add(&set, tag) < 0) {
                assert_int_equal(tagset_count(&set), added);
                assert_false(tagset_has(&set, tag));
                assert_int_equal(tagset_add(&set, tag), 0);
            }
            added++;
        }
        /* Giving memory back needs some; without, the set is the same. */
        for (uint64_t tag = 64; tag <= 64 * 500; tag += 64) assert_true(tagset_remove(&set, tag));
        /* a gap needs some, too */
        for (uint64_t tag = 64001; tag <= 64100; tag++) assert_int_equal(tagset_add(&set, tag), 0);
        for (uint64_t tag = 64002; tag <= 64100; tag += 2) {
            int rc = tagset_isolate(&set, tag);
            assert_true(rc == 0 || (rc == LAGO_ENOMEM && tagset_has(&set, tag)));
            assert_int_equal(tagset_count(&set), 100 - (tag - 64002) / 2);
            assert_true(tagset_remove(&set, tag));
        }
        assert_int_equal(tagset_remove_through(&set, 64100), 50);
        assert_int_equal(tagset_count(&set), 0);
        bool failed = fail.calls >= n;
        tagset_clear(&set);
        fail_alloc_check(&fail);
        if (!failed) break;
    }
}

static void test_the_lowest_without_one(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct tagset set;
    fail_alloc_init(&fail);
    tagset_init(&set, &fail.allocator);
    assert_int_equal(tagset_lowest_but(&set, 0), 0);
    assert_int_equal(tagset_lowest_but(&set, 5), 0);
    for (uint64_t tag = 5; tag <= 8; tag++) assert_int_equal(tagset_add(&set, tag), 0);
    assert_int_equal(tagset_lowest_but(&set, 5), 6);
    assert_int_equal(tagset_lowest_but(&set, 6), 5);
    assert_int_equal(tagset_isolate(&set, 6), 0); /* now there are words as well */
    assert_true(tagset_remove(&set, 6));
    assert_int_equal(tagset_lowest_but(&set, 5), 7);
    assert_int_equal(tagset_lowest_but(&set, 7), 5);
    assert_true(tagset_remove(&set, 5));
    assert_int_equal(tagset_lowest_but(&set, 7), 8);
    assert_true(tagset_remove(&set, 7));
    assert_int_equal(tagset_lowest_but(&set, 8), 0);
    tagset_clear(&set);
    fail_alloc_check(&fail);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags_come_and_go_in_order),      cmocka_unit_test(test_the_steady_state_does_not_allocate),
        cmocka_unit_test(test_remove_through_counts),          cmocka_unit_test(test_the_largest_tags),
        cmocka_unit_test(test_memory_follows_the_open_tags),   cmocka_unit_test(test_random_work_agrees_with_a_model),
        cmocka_unit_test(test_without_memory_nothing_changes), cmocka_unit_test(test_the_lowest_without_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
