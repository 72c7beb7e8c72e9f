/* Buckets that double, and what can be said of a share. */
#include "histogram.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_duration_goes_to_the_bucket_of_its_bits(void **state) {
    static const struct {
        uint64_t us;
        unsigned bucket;
    } durations[] = { { 0, 0 },
                      { 1, 1 },
                      { 2, 2 },
                      { 3, 2 },
                      { 4, 3 },
                      { 1023, 10 },
                      { 1024, 11 },
                      { 1, 1 },
                      { 1u << 30, 31 },
                      { (UINT64_C(1) << 38) - 1, 38 },
                      { UINT64_C(1) << 38, 39 },
                      { UINT64_MAX, 39 } };
    (void)state;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        lago_histogram_t h = { 0 };
        histogram_add(&h, durations[i].us);
        assert_int_equal(h.count, 1);
        assert_int_equal(h.sum_us, durations[i].us);
        assert_int_equal(h.max_us, durations[i].us);
        assert_int_equal(h.buckets[durations[i].bucket], 1);
    }
}

/* For uniform durations 1 to 1000 the true q-quantile is 1000 q. */
static void a_quantile_is_at_least_the_true_one_and_less_than_twice_it(void **state) {
    lago_histogram_t h = { 0 };
    (void)state;
    for (uint64_t us = 1; us <= 1000; us++) histogram_add(&h, us);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t bound = lago_histogram_quantile(&h, percent / 100.0), true_one = percent * 10;
        assert_true(bound >= true_one);
        assert_true(bound < 2 * true_one);
    }
    assert_int_equal(lago_histogram_quantile(&h, 1.0), 1000); /* never above the largest */
    assert_int_equal(lago_histogram_quantile(&h, 0.0), 1);
}

/* The last bucket has no upper end of its own. */
static void an_age_of_weeks_is_not_cut(void **state) {
    lago_histogram_t h = { 0 };
    (void)state;
    histogram_add(&h, 5);
    histogram_add(&h, UINT64_C(3) << 40);
    assert_int_equal(lago_histogram_quantile(&h, 0.5), 7);
    assert_int_equal(lago_histogram_quantile(&h, 1.0), UINT64_C(3) << 40);
    assert_int_equal(lago_histogram_quantile(&h, 2.0), UINT64_C(3) << 40);
    assert_int_equal(lago_histogram_quantile(&h, -1.0), 7);
}

static void nothing_is_zero(void **state) {
    lago_histogram_t h = { 0 };
    (void)state;
    assert_int_equal(lago_histogram_quantile(&h, 0.5), 0);
    assert_int_equal(lago_histogram_quantile(NULL, 0.5), 0);
    histogram_add(&h, 0);
    assert_int_equal(lago_histogram_quantile(&h, 0.99), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duration_goes_to_the_bucket_of_its_bits),
        cmocka_unit_test(a_quantile_is_at_least_the_true_one_and_less_than_twice_it),
        cmocka_unit_test(an_age_of_weeks_is_not_cut),
        cmocka_unit_test(nothing_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
