/* Read buffers: how their size follows the reads, and how many are kept. */
#include "fail_alloc.h"
#include "slab.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SMALL ((size_t)32 * 1024)
#define LARGE ((size_t)256 * 1024)

static struct fail_alloc memory;
static struct slab_pool pool;

static void begin(size_t size) {
    fail_alloc_init(&memory);
    slab_pool_init(&pool, &memory.allocator, size);
}

static void end(void) {
    slab_pool_trim(&pool);
    fail_alloc_check(&memory);
}

/* A read of so much, or of the whole buffer. */
static size_t read_some(size_t size) {
    struct slab *slab = slab_take(&pool);
    assert_non_null(slab);
    size_t offered = slab->size;
    slab_filled(&pool, slab, size < offered ? size : offered);
    slab_give(&pool, slab);
    return offered;
}

static void full_reads_double_them(void **state) {
    (void)state;
    begin(0);
    for (size_t size = SMALL; size < LARGE; size *= 2) assert_int_equal(read_some(SIZE_MAX), size);
    for (int i = 0; i < 3; i++) assert_int_equal(read_some(SIZE_MAX), LARGE);
    end();
}

static void a_row_of_small_ones_halves_them(void **state) {
    (void)state;
    begin(0);
    while (read_some(SIZE_MAX) < LARGE) {
    }
    for (int i = 0; i < 100; i++) assert_int_equal(read_some(i % 15 ? 100 : LARGE / 8), LARGE); /* not in a row */
    for (int i = 0; i < 16 * 5 + 16; i++) read_some(100);
    for (int i = 0; i < 100; i++) assert_int_equal(read_some(100), SMALL);
    assert_false(slab_pool_is_rich(&pool));
    end();
}

/* In the steady state nothing is allocated. */
static void they_are_used_again(void **state) {
    (void)state;
    begin(0);
    read_some(1000);
    size_t calls = memory.calls;
    for (int i = 0; i < 100; i++) read_some(SMALL / 2);
    assert_int_equal(memory.calls, calls);
    end();
}

static void what_nobody_uses_is_let_go(void **state) {
    (void)state;
    begin(0);
    while (read_some(SIZE_MAX) < LARGE) {
    }
    assert_true(slab_pool_is_rich(&pool));
    slab_pool_relax(&pool); /* it was used since */
    assert_true(slab_pool_is_rich(&pool));
    for (int i = 0; i < 2; i++) slab_pool_relax(&pool);
    assert_false(slab_pool_is_rich(&pool));
    assert_int_equal(memory.live_bytes, 0);
    struct slab *held = slab_take(&pool), *other = slab_take(&pool);
    slab_give(&pool, held);
    slab_give(&pool, other);
    assert_true(slab_pool_is_rich(&pool)); /* one would be enough */
    end();
}

static void a_size_that_was_asked_for_stays(void **state) {
    (void)state;
    begin(5000);
    for (int i = 0; i < 100; i++) assert_int_equal(read_some(i < 50 ? SIZE_MAX : 1), 5000);
    assert_false(slab_pool_is_rich(&pool));
    end();
}

static void those_of_another_size_go(void **state) {
    (void)state;
    begin(0);
    struct slab *held = slab_take(&pool);
    read_some(SIZE_MAX);
    size_t live = memory.live_bytes;
    slab_filled(&pool, held, held->size); /* that was judged before */
    assert_int_equal(pool.size, 2 * SMALL);
    slab_give(&pool, held);
    assert_true(memory.live_bytes < live);
    fail_alloc_at(&memory, 1, true);
    assert_null(slab_take(&pool));
    fail_alloc_at(&memory, 0, false);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_reads_double_them),
        cmocka_unit_test(a_row_of_small_ones_halves_them),
        cmocka_unit_test(they_are_used_again),
        cmocka_unit_test(what_nobody_uses_is_let_go),
        cmocka_unit_test(a_size_that_was_asked_for_stays),
        cmocka_unit_test(those_of_another_size_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
