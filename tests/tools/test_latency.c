/* Latencies in buckets: 3 significant digits whatever the range, and nothing lost when intervals are put together. */
#include "latency.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static latency_t h, other;

static int clear(void **state) {
    (void)state;
    memset(&h, 0, sizeof h);
    memset(&other, 0, sizeof other);
    return 0;
}

/* Between two others, so that neither minimum nor maximum hides the bucket. */
static uint64_t as_counted(uint64_t ns) {
    clear(NULL);
    latency_add(&h, 0);
    latency_add(&h, ns);
    latency_add(&h, UINT64_MAX);
    return latency_quantile(&h, 0.6);
}

static void small_durations_are_exact(void **state) {
    (void)state;
    for (uint64_t ns = 0; ns < 2048; ns++) assert_int_equal(as_counted(ns), ns);
}

static void others_have_three_digits(void **state) {
    (void)state;
    for (unsigned bit = 11; bit < LATENCY_BITS; bit++) {
        for (uint64_t part = 0; part < 64; part++) {
            uint64_t ns = (UINT64_C(1) << bit) + ((UINT64_C(1) << bit) / 64) * part, counted = as_counted(ns);
            assert_true(counted >= ns);
            assert_true(counted - ns <= ns / 1024);
        }
    }
}

static void the_last_of_a_bucket_is_not_in_the_next(void **state) {
    (void)state;
    for (unsigned bit = 11; bit < LATENCY_BITS; bit++) {
        uint64_t end = (UINT64_C(1) << bit) - 1;
        assert_int_equal(as_counted(end), end);
        assert_true(as_counted(end + 1) > end);
    }
}

static void what_is_too_long_counts_as_the_longest(void **state) {
    (void)state;
    latency_add(&h, 5);
    latency_add(&h, UINT64_MAX);
    latency_add(&h, UINT64_C(1) << LATENCY_BITS);
    assert_int_equal(h.count, 3);
    assert_int_equal(latency_quantile(&h, 0.9), (UINT64_C(1) << LATENCY_BITS) - 1);
    assert_int_equal(latency_quantile(&h, 1.0), UINT64_MAX);
    assert_int_equal(h.min, 5);
}

/* 1 to 100000 us: the true q-quantile is q of that. */
static void quantiles_are_those_of_all(void **state) {
    (void)state;
    for (uint64_t us = 1; us <= 100000; us++) latency_add(&h, us * 1000);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t truth = percent * 1000 * 1000, told = latency_quantile(&h, percent / 100.0);
        assert_true(told + 1000 >= truth);
        assert_true(told <= truth + truth / 1024 + 1000);
    }
    assert_int_equal(h.min, 1000);
    assert_int_equal(h.max, 100000000);
}

static void merging_is_counting_together(void **state) {
    (void)state;
    static latency_t all;
    memset(&all, 0, sizeof all);
    for (uint64_t i = 1; i < 5000; i++) {
        uint64_t ns = i * i * 77;
        latency_add(i % 3 ? &h : &other, ns);
        latency_add(&all, ns);
    }
    latency_merge(&h, &other);
    assert_memory_equal(&h, &all, sizeof h);
    memset(&other, 0, sizeof other);
    latency_merge(&h, &other);
    assert_memory_equal(&h, &all, sizeof h);
    latency_merge(&other, &h);
    assert_memory_equal(&other, &all, sizeof h);
}

static void nothing_is_zero(void **state) {
    (void)state;
    for (unsigned percent = 0; percent <= 100; percent++) assert_int_equal(latency_quantile(&h, percent / 100.0), 0);
}

static void one_is_all_of_it(void **state) {
    (void)state;
    latency_add(&h, 123456789);
    for (unsigned percent = 0; percent <= 100; percent++) assert_int_equal(latency_quantile(&h, percent / 100.0), 123456789);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(small_durations_are_exact, clear),
        cmocka_unit_test_setup(others_have_three_digits, clear),
        cmocka_unit_test_setup(the_last_of_a_bucket_is_not_in_the_next, clear),
        cmocka_unit_test_setup(what_is_too_long_counts_as_the_longest, clear),
        cmocka_unit_test_setup(quantiles_are_those_of_all, clear),
        cmocka_unit_test_setup(merging_is_counting_together, clear),
        cmocka_unit_test_setup(nothing_is_zero, clear),
        cmocka_unit_test_setup(one_is_all_of_it, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
