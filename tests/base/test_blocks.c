/* Blocks that serve again, and lent ones that wait for their lender: chunks.c's as well. */
#include "chunks.h"
#include "fail_alloc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct fail_alloc fail;
    struct block_pool pool;
    struct chunk_queue q;
    struct lender lender;
    int told; /* that something is due */
};

static void has_some(struct lender *lender) {
    struct fixture *f = (struct fixture *)(void *)((uint8_t *)lender - offsetof(struct fixture, lender));
    f->told++;
}

static void set_up(struct fixture *f) {
    *f = (struct fixture){ .told = 0 };
    fail_alloc_init(&f->fail);
    chunks_init(&f->q, &f->fail.allocator);
    f->q.pool = f->lender.pool = &f->pool;
    f->lender.has_some = has_some;
}

static void tear_down(struct fixture *f) {
    chunks_clear(&f->q);
    block_pool_trim(&f->pool);
    fail_alloc_check(&f->fail);
}

static void put(struct fixture *f, size_t size) {
    for (; size > 0; size -= 16) {
        uint8_t *room = chunks_reserve(&f->q, 16);
        assert_non_null(room);
        memset(room, 'x', 16);
        chunks_commit(&f->q, 16);
    }
}

/* ---------------------------------------------------------------- shared blocks */

/* Turns that write 5 KiB each: after the first, which grew its block step by step, nothing is allocated. */
static void a_block_that_work_has_filled_serves_again(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    put(&f, 5120);
    chunks_consume(&f.q, f.q.size);
    put(&f, 5120);
    chunks_consume(&f.q, f.q.size);
    size_t calls = f.fail.calls;
    for (int i = 0; i < 10; i++) {
        put(&f, 5120);
        chunks_consume(&f.q, f.q.size);
    }
    assert_int_equal(f.fail.calls, calls);
    tear_down(&f);
}

static void so_does_one_of_the_smallest(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    put(&f, 32);
    chunks_consume(&f.q, f.q.size);
    size_t calls = f.fail.calls;
    for (int i = 0; i < 10; i++) {
        put(&f, 32);
        chunks_consume(&f.q, f.q.size);
    }
    assert_int_equal(f.fail.calls, calls);
    assert_true(f.fail.live_bytes < 1024);
    tear_down(&f);
}

/* What a handshake needs is not kept: a quiet connection comes once. */
static void one_in_between_does_not(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    put(&f, 608);
    chunks_consume(&f.q, f.q.size);
    assert_true(f.fail.live_bytes < 1024);
    tear_down(&f);
}

/* ---------------------------------------------------------------- lent blocks */

static int names[5];

static void release(void *data) { ++*(int *)data; }

static struct block *lend(struct fixture *f, int i) {
    struct block *block = block_lend(&f->lender, &f->fail.allocator, "body", 4, release, &names[i]);
    assert_non_null(block);
    assert_memory_equal(block_data(block), "body", 4);
    return block;
}

static void assert_next(struct fixture *f, int i) {
    struct due_release due;
    assert_true(lender_has_some(&f->lender));
    assert_true(lender_next(&f->lender, &due));
    assert_ptr_equal(due.data, &names[i]);
    assert_int_equal(names[i], 0);
    due.release(due.data);
    assert_int_equal(names[i], 1);
    names[i] = 0;
}

static void releases_wait_in_their_order(void **state) {
    (void)state;
    struct fixture f;
    struct due_release due;
    set_up(&f);
    assert_false(lender_next(&f.lender, &due));
    struct block *blocks[3] = { lend(&f, 0), lend(&f, 1), lend(&f, 2) };
    assert_int_equal(chunks_reserve_slices(&f.q, 3), 0);
    for (int i = 2; i >= 0; i--) chunks_append(&f.q, blocks[i], block_data(blocks[i]), 4);
    for (int i = 0; i < 3; i++) block_unref(blocks[i]);
    assert_false(lender_has_some(&f.lender));
    chunks_consume(&f.q, 8);
    assert_int_equal(f.told, 2);
    assert_next(&f, 2);
    chunks_clear(&f.q);
    assert_next(&f, 1);
    assert_next(&f, 0);
    assert_false(lender_next(&f.lender, &due));
    assert_int_equal(f.told, 3);
    tear_down(&f);
}

static void what_was_not_taken_is_not_due(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    struct block *block = lend(&f, 0);
    block_keep_quiet(block);
    block_unref(block);
    assert_false(lender_has_some(&f.lender));
    assert_int_equal(f.told + names[0], 0);
    tear_down(&f);
}

static void without_a_lender_it_is_released_at_once(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    struct block *block = block_lend(NULL, &f.fail.allocator, "body", 4, release, &names[0]);
    block_ref(block);
    block_unref(block);
    assert_int_equal(names[0], 0);
    block_unref(block);
    assert_int_equal(names[0], 1);
    names[0] = 0;
    tear_down(&f);
}

static void lending_costs_no_allocation(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    block_unref(lend(&f, 0));
    assert_next(&f, 0);
    size_t calls = f.fail.calls;
    for (int i = 0; i < 100; i++) {
        block_unref(lend(&f, 1));
        assert_next(&f, 1);
    }
    assert_int_equal(f.fail.calls, calls);
    tear_down(&f);
}

static void nothing_is_due_without_memory(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    fail_alloc_at(&f.fail, 1, false);
    assert_null(block_lend(&f.lender, &f.fail.allocator, "body", 4, release, &names[0]));
    assert_false(lender_has_some(&f.lender));
    tear_down(&f);
}

static void a_lender_need_not_be_told(void **state) {
    (void)state;
    struct fixture f;
    struct due_release due;
    set_up(&f);
    f.lender.has_some = NULL;
    block_unref(lend(&f, 0));
    assert_true(lender_has_some(&f.lender));
    assert_true(lender_next(&f.lender, &due));
    assert_false(lender_next(&f.lender, &due));
    assert_int_equal(f.told, 0);
    tear_down(&f);
}

/* 1024 of them: a hundred thousand bodies that are lent at once leave no hundred thousand headers behind. */
static void few_headers_are_kept(void **state) {
    (void)state;
    enum { LENT = 3000, KEPT = 1024 };
    static struct block *blocks[LENT];
    struct fixture f;
    struct due_release due;
    set_up(&f);
    for (int i = 0; i < LENT; i++) blocks[i] = lend(&f, 0);
    for (int i = 0; i < LENT; i++) block_unref(blocks[i]);
    while (lender_next(&f.lender, &due)) continue;
    assert_int_equal(f.pool.lent_count, KEPT);
    assert_int_equal(f.fail.live_count, KEPT);
    tear_down(&f);
}

/* ---------------------------------------------------------------- what is spare, and what is not */

static void the_larger_of_two_half_grown_blocks_is_kept(void **state) {
    (void)state;
    struct fixture f;
    struct chunk_queue second;
    set_up(&f);
    chunks_init(&second, &f.fail.allocator);
    put(&f, 5120);
    f.q.pool = NULL; /* so that the second one does not begin with what the first one leaves */
    second.pool = NULL;
    for (int i = 0; i < 3; i++) memset(chunks_reserve(&second, 1024), 'y', 1024), chunks_commit(&second, 1024);
    f.q.pool = second.pool = &f.pool;
    chunks_consume(&f.q, f.q.size);
    const struct block *kept = f.pool.half_grown;
    assert_non_null(kept);
    chunks_consume(&second, second.size);
    assert_ptr_equal(f.pool.half_grown, kept);
    chunks_clear(&second);
    tear_down(&f);
}

static void *other_malloc(size_t size, void *data) { return ((struct fail_alloc *)data)->allocator.malloc(size, data); }
static void *other_realloc(void *p, size_t size, void *data) {
    return ((struct fail_alloc *)data)->allocator.realloc(p, size, data);
}
static void other_free(void *p, void *data) { ((struct fail_alloc *)data)->allocator.free(p, data); }

/* A ring knows not whose memory it is: it serves only who has the same functions with the same data. */
static void a_ring_is_not_given_to_another_allocator(void **state) {
    (void)state;
    for (int differs = 0; differs < 4; differs++) {
        struct fixture f;
        set_up(&f);
        lago_allocator_t other = f.fail.allocator;
        put(&f, 5120);
        chunks_consume(&f.q, f.q.size);
        assert_non_null(f.pool.ring);
        if (differs == 1) other.malloc = other_malloc;
        if (differs == 2) other.realloc = other_realloc;
        if (differs == 3) other.free = other_free;
        struct chunk_queue q;
        chunks_init(&q, &other);
        q.pool = &f.pool;
        assert_non_null(chunks_reserve(&q, 16));
        assert_int_equal(f.pool.ring == NULL, differs == 0);
        chunks_clear(&q);
        tear_down(&f);
    }
}

/* Of two rings the longer one is kept, and none that is longer than it need be. */
static void the_longer_ring_is_kept(void **state) {
    (void)state;
    enum { SLICES = 2000 };
    struct fixture f;
    set_up(&f);
    struct block *body = block_copy(&f.fail.allocator, "0123456789", 10);
    for (int longer = 1; longer >= 0; longer--) {
        struct chunk_queue q;
        chunks_init(&q, &f.fail.allocator);
        q.pool = longer ? &f.pool : NULL;
        assert_int_equal(chunks_reserve_slices(&q, longer ? 100 : 10), 0);
        q.pool = &f.pool;
        chunks_append(&q, body, block_data(body), 10);
        chunks_consume(&q, 10);
        assert_int_equal(f.pool.ring_capacity, 128);
    }
    struct chunk_queue q;
    chunks_init(&q, &f.fail.allocator);
    q.pool = &f.pool;
    assert_int_equal(chunks_reserve_slices(&q, SLICES), 0);
    chunks_append(&q, body, block_data(body), 10);
    chunks_consume(&q, 10);
    assert_int_equal(f.pool.ring_capacity, 128);
    block_unref(body);
    tear_down(&f);
}

static void neighbours_of_one_body_are_one_slice(void **state) {
    (void)state;
    struct fixture f;
    struct slice slices[4];
    set_up(&f);
    struct block *body = block_copy(&f.fail.allocator, "0123456789", 10);
    const uint8_t *data = block_data(body);
    assert_int_equal(chunks_reserve_slices(&f.q, 3), 0);
    chunks_append(&f.q, body, data, 4);
    chunks_append(&f.q, body, data + 4, 3);
    chunks_append(&f.q, body, data + 8, 2);
    block_unref(body);
    assert_int_equal(chunks_peek(&f.q, slices, 4), 2);
    assert_int_equal(slices[0].size, 7);
    assert_ptr_equal(slices[1].data, data + 8);
    chunks_consume(&f.q, 9);
    assert_int_equal(f.fail.live_count, 1); /* the ring, which is spare now */
    tear_down(&f);
}

/* It stays for whoever needs less. */
static void a_spare_block_that_is_too_small_is_not_taken(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    put(&f, 16); /* one of the smallest */
    chunks_consume(&f.q, f.q.size);
    size_t calls = f.fail.calls;
    uint8_t *room = chunks_reserve(&f.q, 4000);
    assert_non_null(room);
    memset(room, 'x', 4000); /* the allocator sees the end */
    chunks_commit(&f.q, 4000);
    assert_true(f.fail.calls > calls);
    struct chunk_queue other;
    chunks_init(&other, &f.fail.allocator);
    other.pool = &f.pool;
    assert_int_equal(chunks_reserve_slices(&other, 1), 0);
    calls = f.fail.calls;
    assert_non_null(chunks_reserve(&other, 16));
    assert_int_equal(f.fail.calls, calls); /* of the small one */
    chunks_clear(&other);
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_that_work_has_filled_serves_again),
        cmocka_unit_test(so_does_one_of_the_smallest),
        cmocka_unit_test(one_in_between_does_not),
        cmocka_unit_test(releases_wait_in_their_order),
        cmocka_unit_test(what_was_not_taken_is_not_due),
        cmocka_unit_test(without_a_lender_it_is_released_at_once),
        cmocka_unit_test(lending_costs_no_allocation),
        cmocka_unit_test(nothing_is_due_without_memory),
        cmocka_unit_test(a_lender_need_not_be_told),
        cmocka_unit_test(few_headers_are_kept),
        cmocka_unit_test(the_larger_of_two_half_grown_blocks_is_kept),
        cmocka_unit_test(a_ring_is_not_given_to_another_allocator),
        cmocka_unit_test(the_longer_ring_is_kept),
        cmocka_unit_test(neighbours_of_one_body_are_one_slice),
        cmocka_unit_test(a_spare_block_that_is_too_small_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
