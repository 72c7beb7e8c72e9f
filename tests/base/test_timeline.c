/* When numbers came to be: against a list that forgets nothing. */
#include "fail_alloc.h"
#include "timeline.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NUMBERS 20000u

static uint64_t noted[NUMBERS + 1];

static uint32_t random_next(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void what_comes_together_shares_an_entry(void **state) {
    struct fail_alloc alloc;
    struct timeline t;
    (void)state;
    fail_alloc_init(&alloc);
    timeline_init(&t, &alloc.allocator, 100);
    assert_int_equal(timeline_at(&t, 1), 0);
    assert_true(timeline_next(&t, 1) == UINT64_MAX);
    for (uint64_t n = 1; n <= 50; n++) timeline_note(&t, n, 1000 + n);
    timeline_note(&t, 51, 1101);
    assert_int_equal(t.count, 2);
    assert_int_equal(timeline_at(&t, 1), 1001);
    assert_int_equal(timeline_at(&t, 50), 1001);
    assert_int_equal(timeline_at(&t, 51), 1101);
    assert_int_equal(timeline_at(&t, 99), 1101);
    timeline_clear(&t);
    fail_alloc_check(&alloc);
}

/* Never younger than it is, and not older than the resolution says while there is room. */
static void agrees_with_a_list(void **state) {
    struct fail_alloc alloc;
    struct timeline t;
    uint32_t seed = 7;
    uint64_t time = 1, lowest = 1;
    (void)state;
    fail_alloc_init(&alloc);
    timeline_init(&t, &alloc.allocator, 10);
    for (uint64_t n = 1; n <= NUMBERS; n++) {
        time += random_next(&seed) % 20;
        noted[n] = time;
        timeline_note(&t, n, time);
        if (random_next(&seed) % 4 == 0) lowest += random_next(&seed) % (n - lowest + 1);
        if (n - lowest > 1000) lowest = n - 1000;
        timeline_forget(&t, lowest);
        uint64_t asked = lowest + random_next(&seed) % (n - lowest + 1), at = timeline_at(&t, asked);
        assert_true(at <= noted[asked] && noted[asked] - at < 10);
        uint64_t next = timeline_next(&t, asked); /* from there on the time is another one */
        assert_true(next > asked && timeline_at(&t, next <= n ? next - 1 : n) == at);
        if (next != UINT64_MAX) assert_true(timeline_at(&t, next) > at);
    }
    assert_true(t.capacity <= 2048);
    timeline_clear(&t);
    fail_alloc_check(&alloc);
}

/* Nobody settles anything: memory stays bounded, ages come out too long by a 16th at most, never too short. */
static void is_bounded(void **state) {
    struct fail_alloc alloc;
    struct timeline t;
    (void)state;
    fail_alloc_init(&alloc);
    timeline_init(&t, &alloc.allocator, 1);
    for (uint64_t n = 1; n <= NUMBERS; n++) timeline_note(&t, n, n * 10);
    assert_true(t.capacity <= 2048);
    for (uint64_t n = 1; n <= NUMBERS; n++) {
        uint64_t at = timeline_at(&t, n), age = (NUMBERS - n) * 10;
        assert_true(at <= n * 10 && n * 10 - at <= age / 16);
    }
    timeline_clear(&t);
    fail_alloc_check(&alloc);
}

/* One number stays open for a day while others come and go: it must not lend those its age. */
static void one_that_is_stuck_does_not_age_the_others(void **state) {
    struct fail_alloc alloc;
    struct timeline t;
    const uint64_t step = 10, lag = 50000, steps = 1000000; /* each is asked about so many numbers later */
    (void)state;
    fail_alloc_init(&alloc);
    timeline_init(&t, &alloc.allocator, 1);
    timeline_note(&t, 1, step);
    for (uint64_t n = 2; n <= steps; n++) {
        timeline_note(&t, n, n * step);
        timeline_forget(&t, 1);
        if (n <= lag + 1) continue;
        uint64_t asked = n - lag, at = timeline_at(&t, asked);
        assert_true(at <= asked * step && asked * step - at <= lag * step / 16);
    }
    assert_int_equal(timeline_at(&t, 1), step);
    assert_true(t.capacity <= 2048);
    timeline_clear(&t);
    fail_alloc_check(&alloc);
}

/* The worst for merging: each is a 64th of its age apart from the next, from one end of 64 bits to the other. */
static void even_the_widest_times_fit(void **state) {
    struct fail_alloc alloc;
    struct timeline t;
    uint64_t number = 0, newest = UINT64_MAX, age = UINT64_MAX - 1;
    (void)state;
    fail_alloc_init(&alloc);
    timeline_init(&t, &alloc.allocator, 1);
    for (; age > 0; age -= age / 64 + 1) timeline_note(&t, ++number, newest - age);
    timeline_note(&t, ++number, newest);
    assert_true(number > 2048);
    assert_int_equal(timeline_at(&t, 1), 1);
    assert_int_equal(timeline_at(&t, number), newest);
    assert_true(t.capacity <= 2048);
    timeline_clear(&t);
    fail_alloc_check(&alloc);
}

static void without_memory_it_looks_older(void **state) {
    struct fail_alloc alloc;
    struct timeline t;
    (void)state;
    fail_alloc_init(&alloc);
    timeline_init(&t, &alloc.allocator, 1);
    fail_alloc_at(&alloc, 1, true);
    timeline_note(&t, 1, 5);
    assert_int_equal(timeline_at(&t, 1), 0);
    fail_alloc_at(&alloc, 0, false);
    for (uint64_t n = 2; n <= 9; n++) timeline_note(&t, n, n * 10); /* all that the first capacity holds */
    fail_alloc_at(&alloc, 1, true);
    timeline_note(&t, 10, 1000);
    assert_int_equal(timeline_at(&t, 10), 90);
    timeline_clear(&t);
    fail_alloc_check(&alloc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_together_shares_an_entry),
        cmocka_unit_test(agrees_with_a_list),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(one_that_is_stuck_does_not_age_the_others),
        cmocka_unit_test(even_the_widest_times_fit),
        cmocka_unit_test(without_memory_it_looks_older),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
