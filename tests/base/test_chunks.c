/* The output queue: what goes in comes out, in few slices, in little memory, and secrets do not stay behind. */
#include "chunks.h"
#include "fail_alloc.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SLICES = 64 };

struct fixture {
    struct fail_alloc fail;
    struct chunk_queue q;
};

static void set_up(struct fixture *f) {
    fail_alloc_init(&f->fail);
    chunks_init(&f->q, &f->fail.allocator);
}

static void tear_down(struct fixture *f) {
    chunks_clear(&f->q);
    fail_alloc_check(&f->fail);
}

static bool put(struct chunk_queue *q, const void *data, size_t size) {
    uint8_t *room = chunks_reserve(q, size);
    if (room == NULL) return false;
    memcpy(room, data, size);
    chunks_commit(q, size);
    return true;
}

/* All waiting bytes, from at most SLICES slices. @return how many bytes. */
static size_t gather(const struct chunk_queue *q, uint8_t *out, size_t size) {
    struct slice slices[SLICES];
    size_t count = chunks_peek(q, slices, SLICES), length = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(slices[i].size > 0 && slices[i].size <= size - length);
        memcpy(out + length, slices[i].data, slices[i].size);
        length += slices[i].size;
    }
    return length;
}

static void count_release(void *data) { ++*(int *)data; }

static void test_small_appends_are_one_slice(void **state) {
    (void)state;
    struct fixture f;
    struct slice slices[2];
    set_up(&f);
    assert_int_equal(chunks_peek(&f.q, slices, 2), 0);
    for (int i = 0; i < 10; i++) assert_true(put(&f.q, "0123456789", 10));
    assert_int_equal(chunks_peek(&f.q, slices, 2), 1);
    assert_int_equal(slices[0].size, 100);
    assert_memory_equal(slices[0].data + 90, "0123456789", 10);
    assert_int_equal(f.q.size, 100);
    assert_int_equal(f.q.appended, 100);
    assert_true(f.fail.live_bytes <= 4096 + 512);
    tear_down(&f);
}

static void test_only_what_is_committed_counts(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    uint8_t *room = chunks_reserve(&f.q, 100);
    memcpy(room, "abcdef", 6);
    chunks_commit(&f.q, 3);
    assert_int_equal(f.q.size, 3);
    assert_ptr_equal(chunks_reserve(&f.q, 50), room + 3);
    assert_true(put(&f.q, "xyz", 3));
    uint8_t out[16];
    assert_int_equal(gather(&f.q, out, sizeof(out)), 6);
    assert_memory_equal(out, "abcxyz", 6);
    chunks_consume(&f.q, 6);
    assert_int_equal(f.q.consumed, 6);
    assert_non_null(chunks_reserve(&f.q, 10));
    chunks_commit(&f.q, 0);
    assert_int_equal(f.q.count, 0);
    tear_down(&f);
}

static void test_an_empty_queue_keeps_no_block(void **state) {
    (void)state;
    struct fixture f;
    set_up(&f);
    assert_true(put(&f.q, "abc", 3));
    chunks_consume(&f.q, 2);
    assert_non_null(f.q.tail);
    chunks_consume(&f.q, 1);
    assert_null(f.q.tail);
    assert_int_equal(f.q.size, 0);
    assert_true(f.fail.live_bytes <= 256);
    assert_true(put(&f.q, "abc", 3));
    chunks_clear(&f.q);
    fail_alloc_check(&f.fail);
    assert_int_equal(f.q.appended, 6);
    assert_int_equal(f.q.consumed, 6);
    assert_true(put(&f.q, "again", 5));
    tear_down(&f);
}

static void test_blocks_grow_and_do_not_move(void **state) {
    (void)state;
    struct fixture f;
    struct slice slices[SLICES];
    uint8_t piece[50];
    set_up(&f);
    const uint8_t *first = NULL;
    for (size_t i = 0; i < 10000; i++) {
        memset(piece, (int)(i & 0xff), sizeof(piece));
        assert_true(put(&f.q, piece, sizeof(piece)));
        if (i == 0) (void)chunks_peek(&f.q, slices, 1), first = slices[0].data;
    }
    size_t count = chunks_peek(&f.q, slices, SLICES);
    assert_ptr_equal(slices[0].data, first);
    assert_in_range(slices[0].size, 50, 256);
    assert_in_range(slices[count - 2].size, 60000, 65536);
    assert_in_range(count, 12, 18);
    assert_true(f.fail.live_bytes < 700000);
    for (size_t i = 0; i < 10000; i++) {
        (void)chunks_peek(&f.q, slices, 1);
        assert_int_equal(slices[0].data[0], i & 0xff);
        chunks_consume(&f.q, sizeof(piece));
    }
    assert_int_equal(f.q.size, 0);
    tear_down(&f);
}

static void test_a_large_reserve_has_a_block_of_its_size(void **state) {
    (void)state;
    struct fixture f;
    struct slice slices[4];
    set_up(&f);
    assert_true(put(&f.q, "head", 4));
    uint8_t *room = chunks_reserve(&f.q, 200000);
    assert_non_null(room);
    memset(room, 7, 200000);
    chunks_commit(&f.q, 200000);
    assert_true(put(&f.q, "tail", 4));
    assert_int_equal(chunks_peek(&f.q, slices, 4), 3);
    assert_int_equal(slices[1].size, 200000);
    assert_true(f.fail.live_bytes < 200000 + 4096 + 65536 + 1024);
    assert_null(chunks_reserve(&f.q, SIZE_MAX));
    assert_null(chunks_reserve(&f.q, SIZE_MAX - 8));
    tear_down(&f);
}

static void test_bodies_are_referenced_and_released_once(void **state) {
    (void)state;
    struct fixture f;
    struct slice slices[4];
    static const char body[] = "a body of two frames";
    int released = 0;
    set_up(&f);
    struct block *block = block_lend(NULL, &f.fail.allocator, body, 20, count_release, &released);
    assert_ptr_equal(block_data(block), body);
    assert_int_equal(chunks_reserve_slices(&f.q, 2), 0);
    assert_true(put(&f.q, "[", 1));
    chunks_append(&f.q, block, block_data(block), 10);
    assert_true(put(&f.q, "][", 2));
    chunks_append(&f.q, block, block_data(block) + 10, 10);
    chunks_append(&f.q, block, block_data(block), 0);
    block_unref(block);
    assert_true(put(&f.q, "]", 1));
    assert_int_equal(chunks_peek(&f.q, slices, 4), 4);
    assert_ptr_equal(slices[1].data, body);
    uint8_t out[32];
    assert_int_equal(gather(&f.q, out, sizeof(out)), 24);
    assert_memory_equal(out, "[a body of ][two frames]", 24);
    chunks_consume(&f.q, 22);
    assert_int_equal(released, 0);
    chunks_consume(&f.q, 1);
    assert_int_equal(released, 1);
    tear_down(&f);
    assert_int_equal(released, 1);
}

static void test_clear_releases_bodies(void **state) {
    (void)state;
    struct fixture f;
    int released = 0;
    set_up(&f);
    struct block *kept = block_ref(block_copy(&f.fail.allocator, "copied", 6));
    struct block *lent = block_lend(NULL, &f.fail.allocator, "lent", 4, count_release, &released);
    assert_int_equal(chunks_reserve_slices(&f.q, 2), 0);
    chunks_append(&f.q, kept, block_data(kept), 6);
    chunks_append(&f.q, lent, block_data(lent), 4);
    block_unref(lent);
    block_unref(kept);
    chunks_clear(&f.q);
    assert_int_equal(released, 1);
    assert_memory_equal(block_data(kept), "copied", 6);
    block_unref(kept);
    block_unref(NULL);
    tear_down(&f);
}

/* The room for slices is kept: nothing is allocated by the appends. */
static void test_reserved_slices_cannot_fail(void **state) {
    (void)state;
    struct fixture f;
    static const uint8_t bytes[600];
    set_up(&f);
    struct block *block = block_lend(NULL, &f.fail.allocator, bytes, sizeof(bytes), NULL, NULL);
    for (size_t i = 0; i < 5; i++) assert_true(put(&f.q, "x", 1));
    chunks_consume(&f.q, 3);
    assert_int_equal(chunks_reserve_slices(&f.q, 300), 0);
    size_t calls = f.fail.calls;
    for (size_t i = 0; i < 300; i++) chunks_append(&f.q, block, bytes + 2 * i, 1);
    assert_int_equal(f.fail.calls, calls);
    assert_int_equal(f.q.count, 301);
    assert_int_equal(f.q.size, 302);
    assert_int_equal(chunks_reserve_slices(&f.q, SIZE_MAX), LAGO_ENOMEM);
    assert_int_equal(chunks_reserve_slices(&f.q, SIZE_MAX / 4), LAGO_ENOMEM);
    block_unref(block);
    tear_down(&f);
}

static void test_a_planned_sequence_cannot_fail_half_way(void **state) {
    (void)state;
    struct fixture f;
    static const uint8_t body[] = "body";
    set_up(&f);
    struct block *block = block_lend(NULL, &f.fail.allocator, body, 4, NULL, NULL);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(chunks_reserve_slices(&f.q, 4), 0);
        assert_non_null(chunks_reserve(&f.q, 1500));
        fail_alloc_at(&f.fail, 1, true);
        chunks_commit(&f.q, 0);
        for (int part = 0; part < 2; part++) {
            assert_non_null(chunks_reserve(&f.q, 750));
            chunks_commit(&f.q, 750);
            chunks_append(&f.q, block, body, 4);
        }
        assert_int_equal(f.fail.calls, 0);
        fail_alloc_at(&f.fail, 0, false);
    }
    block_unref(block);
    tear_down(&f);
}

static void test_a_block_grows(void **state) {
    (void)state;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    struct block *block = block_grow(&fail.allocator, NULL, 4);
    memcpy(block_bytes(block), "abcd", 4);
    fail_alloc_at(&fail, 1, false);
    assert_null(block_grow(&fail.allocator, block, 100000));
    assert_null(block_grow(&fail.allocator, block, SIZE_MAX));
    assert_memory_equal(block_data(block), "abcd", 4);
    block = block_grow(&fail.allocator, block, 100000);
    assert_ptr_equal(block_data(block), block_bytes(block));
    assert_memory_equal(block_data(block), "abcd", 4);
    memset(block_bytes(block), 0, 100000);
    assert_true(fail.live_bytes < 100000 + 256);
    block_unref(block);
    fail_alloc_check(&fail);
}

static void append_again(void *data) {
    struct chunk_queue *q = data;
    assert_true(put(q, "again", 5));
}

static void test_a_release_may_append(void **state) {
    (void)state;
    struct fixture f;
    uint8_t out[16];
    set_up(&f);
    for (int round = 0; round < 2; round++) {
        struct block *block = block_lend(NULL, &f.fail.allocator, "body", 4, append_again, &f.q);
        assert_int_equal(chunks_reserve_slices(&f.q, 1), 0);
        chunks_append(&f.q, block, block_data(block), 4);
        block_unref(block);
        if (round == 1) break;
        chunks_consume(&f.q, 4);
        assert_int_equal(gather(&f.q, out, sizeof(out)), 5);
        assert_memory_equal(out, "again", 5);
    }
    chunks_clear(&f.q);
    assert_int_equal(f.q.size, 0);
    tear_down(&f);
}

static void test_secrets_are_overwritten(void **state) {
    (void)state;
    struct fixture f;
    char lent_body[] = "lent";
    set_up(&f);
    f.q.wipe = true;
    struct block *lent = block_lend(NULL, &f.fail.allocator, lent_body, 4, NULL, NULL);
    struct block *copy = block_copy(&f.fail.allocator, "copy", 4);
    uint8_t *secret = chunks_reserve(&f.q, 64);
    memcpy(secret, "\0guest\0guest", 12);
    chunks_commit(&f.q, 12);
    assert_int_equal(chunks_reserve_slices(&f.q, 2), 0);
    chunks_append(&f.q, lent, block_data(lent), 4);
    chunks_append(&f.q, copy, block_data(copy), 4);
    assert_true(put(&f.q, "end", 3));
    chunks_consume(&f.q, 6);
    assert_memory_equal(secret, "\0\0\0\0\0\0\0guest", 12);
    chunks_consume(&f.q, 14);
    assert_memory_equal(secret, "\0\0\0\0\0\0\0\0\0\0\0\0en", 14);
    assert_string_equal(lent_body, "lent");
    assert_memory_equal(block_data(copy), "copy", 4); /* still held here */
    block_unref(lent);
    block_unref(copy);
    tear_down(&f);
}

/* Where the bytes of a block begin, at most; less than the size of the ring, so that the two are not mixed up. */
enum { BLOCK_HEADER_MAX = 128 };

/* Looks at what comes back to it: by then nothing may be left of the secret. */
struct spy {
    struct fail_alloc fail;
    size_t freed, dirty;
};

static const uint8_t *watched;

static void spy_free(void *pointer, void *data) {
    struct spy *spy = data;
    uintptr_t start = (uintptr_t)pointer;
    if ((uintptr_t)watched >= start && (uintptr_t)watched - start < BLOCK_HEADER_MAX) {
        spy->freed++;
        for (size_t i = 0; i < 12; i++) spy->dirty += watched[i] != 0;
    }
    spy->fail.allocator.free(pointer, &spy->fail);
}

static void *spy_malloc(size_t size, void *data) {
    struct spy *spy = data;
    return spy->fail.allocator.malloc(size, &spy->fail);
}

static void test_clear_overwrites_secrets(void **state) {
    (void)state;
    struct spy spy = { .freed = 0 };
    fail_alloc_init(&spy.fail);
    lago_allocator_t alloc = { .malloc = spy_malloc, .free = spy_free, .data = &spy };
    struct chunk_queue q;
    for (int committed = 0; committed < 2; committed++) {
        chunks_init(&q, &alloc);
        q.wipe = true;
        uint8_t *secret = chunks_reserve(&q, 64);
        memcpy(secret, "secret bytes", 12);
        if (committed != 0) chunks_commit(&q, 12);
        watched = secret;
        chunks_clear(&q);
    }
    assert_int_equal(spy.freed, 2);
    assert_int_equal(spy.dirty, 0);
    fail_alloc_check(&spy.fail);
}

/* A fixed sequence of numbers that look random (xorshift64). */
static uint64_t next_random(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Byte i of the stream is a function of i, so that any slice can be checked by its offset. */
static uint8_t stream_byte(uint64_t offset) { return (uint8_t)(offset * 31 + (offset >> 8)); }

static void put_stream(struct chunk_queue *q, size_t size, bool as_body) {
    static uint8_t bytes[8192];
    for (size_t i = 0; i < size; i++) bytes[i] = stream_byte(q->appended + i);
    if (!as_body) {
        assert_true(put(q, bytes, size));
        return;
    }
    struct block *block = block_copy(q->alloc, bytes, size);
    assert_non_null(block);
    assert_int_equal(chunks_reserve_slices(q, 1), 0);
    chunks_append(q, block, block_data(block), size);
    block_unref(block);
}

static void check_stream(const struct chunk_queue *q) {
    struct slice slices[SLICES];
    uint64_t offset = q->consumed;
    size_t count = chunks_peek(q, slices, SLICES);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < slices[i].size; k++) {
            if (slices[i].data[k] != stream_byte(offset + k)) fail_msg("wrong byte at %zu", (size_t)offset + k);
        }
        offset += slices[i].size;
    }
    if (count < SLICES) assert_true(offset == q->appended);
}

static void test_a_random_stream_comes_out_as_it_went_in(void **state) {
    (void)state;
    struct fixture f;
    uint64_t seed = 1967;
    set_up(&f);
    for (int step = 0; step < 3000; step++) {
        uint64_t r = next_random(&seed);
        put_stream(&f.q, (size_t)(r % (r % 7 == 0 ? 8192 : 100)), r % 5 == 0);
        if (step % 3 == 0) chunks_consume(&f.q, (size_t)(next_random(&seed) % (f.q.size + 1)));
        if (step % 10 == 0) check_stream(&f.q);
        assert_true(f.q.appended - f.q.consumed == f.q.size);
    }
    chunks_consume(&f.q, SIZE_MAX);
    assert_int_equal(f.q.size, 0);
    assert_true(f.q.consumed == f.q.appended);
    tear_down(&f);
}

static bool try_a_publish(struct chunk_queue *q, int *released) {
    static const uint8_t body[10] = "0123456789";
    struct block *block = block_lend(NULL, q->alloc, body, sizeof(body), count_release, released);
    if (block == NULL) return false;
    bool done = chunks_reserve_slices(q, 10) == 0 && put(q, "[frame]", 7);
    if (done) chunks_append(q, block, body, sizeof(body));
    block_unref(block);
    if (!done) return false;
    struct block *copy = block_copy(q->alloc, "copy", 4);
    if (copy == NULL) return false;
    chunks_append(q, copy, block_data(copy), 4);
    block_unref(copy);
    return put(q, body, sizeof(body)) && chunks_reserve(q, 10000) != NULL;
}

static void test_each_allocation_may_fail(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        struct fixture f;
        int released = 0;
        set_up(&f);
        fail_alloc_at(&f.fail, n, true);
        bool done = try_a_publish(&f.q, &released);
        assert_int_equal(done, f.fail.calls < n);
        size_t size = 0;
        struct slice slices[SLICES];
        for (size_t i = chunks_peek(&f.q, slices, SLICES); i > 0; i--) size += slices[i - 1].size;
        assert_int_equal(f.q.size, size);
        tear_down(&f);
        assert_int_equal(released, n > 1);
        if (done) break;
    }
}

/* ---------------------------------------------------------------- spare blocks */

static void fill(struct chunk_queue *q, size_t size) {
    static uint8_t piece[1000];
    for (; size > 0; size -= sizeof piece) assert_true(put(q, piece, sizeof piece));
}

static void test_spare_blocks_serve_again(void **state) {
    (void)state;
    struct fixture f;
    struct block_pool pool = { 0 };
    set_up(&f);
    f.q.pool = &pool;
    fill(&f.q, 300000);
    chunks_consume(&f.q, f.q.size);
    assert_in_range(pool.spare_count, 3, 8);
    size_t calls = f.fail.calls;
    for (int turn = 0; turn < 10; turn++) {
        fill(&f.q, 200000);
        chunks_consume(&f.q, f.q.size);
    }
    assert_int_equal(f.fail.calls, calls);
    chunks_clear(&f.q);
    block_pool_trim(&pool);
    assert_int_equal(pool.spare_count, 0);
    tear_down(&f);
}

static void test_spare_blocks_are_few_and_full_grown(void **state) {
    (void)state;
    struct fixture f, other;
    struct block_pool pool = { 0 };
    static uint8_t large[100000];
    set_up(&f);
    f.q.pool = &pool;
    fill(&f.q, 3000);
    chunks_consume(&f.q, f.q.size);
    assert_int_equal(pool.spare_count, 0);
    assert_true(put(&f.q, large, sizeof large)); /* larger than any: the allocator's */
    chunks_consume(&f.q, f.q.size);
    assert_int_equal(pool.spare_count, 0);
    fill(&f.q, 8000000);
    chunks_consume(&f.q, f.q.size);
    assert_int_equal(pool.spare_count, 64);
    assert_true(f.fail.live_bytes < 65 * 65536);
    set_up(&other); /* another queue of the same pool */
    other.q.pool = &pool;
    fill(&other.q, 3000);
    assert_int_equal(other.fail.calls, 1); /* its ring */
    chunks_clear(&other.q);
    assert_int_equal(pool.spare_count, 64);
    tear_down(&other);
    chunks_clear(&f.q);
    block_pool_trim(&pool);
    tear_down(&f);
}

/* What was not needed for a while goes, and never all of it. */
static void test_spare_blocks_that_nobody_needs_go(void **state) {
    (void)state;
    struct fixture f;
    struct block_pool pool = { 0 };
    set_up(&f);
    f.q.pool = &pool;
    fill(&f.q, 3000000);
    chunks_consume(&f.q, f.q.size);
    size_t all = pool.spare_count;
    assert_in_range(all, 45, 50);
    assert_true(block_pool_is_rich(&pool));
    block_pool_relax(&pool); /* all of them were needed */
    assert_int_equal(pool.spare_count, all);
    fill(&f.q, 2000000);
    chunks_consume(&f.q, f.q.size);
    block_pool_relax(&pool); /* a third was not */
    assert_in_range(pool.spare_count, 30, 33);
    block_pool_relax(&pool);
    assert_int_equal(pool.spare_count, 8);
    assert_false(block_pool_is_rich(&pool));
    block_pool_relax(&pool);
    assert_int_equal(pool.spare_count, 8);
    chunks_clear(&f.q);
    block_pool_trim(&pool);
    tear_down(&f);
}

static void test_an_empty_queue_with_a_pool_owns_nothing(void **state) {
    (void)state;
    struct fixture f, other;
    struct block_pool pool = { 0 };
    struct slice slices[SLICES];
    struct chunk_queue second;
    set_up(&f);
    f.q.pool = &pool;
    chunks_init(&second, f.q.alloc);
    second.pool = &pool;
    fill(&f.q, 500000);
    size_t calls = f.fail.calls;
    chunks_consume(&f.q, f.q.size);
    assert_null(f.q.ring);
    for (int turn = 0; turn < 10; turn++) { /* they take turns with what is spare */
        struct chunk_queue *q = turn % 2 ? &f.q : &second;
        fill(q, 400000);
        assert_int_not_equal(chunks_peek(q, slices, SLICES), 0);
        chunks_consume(q, q->size);
        assert_null(q->ring);
    }
    assert_int_equal(f.fail.calls, calls);
    set_up(&other); /* what another allocator made is not taken */
    other.q.pool = &pool;
    assert_true(put(&other.q, "x", 1));
    assert_int_equal(other.fail.calls, 1);
    chunks_clear(&other.q);
    tear_down(&other);
    block_pool_trim(&pool);
    assert_null(pool.ring);
    tear_down(&f);
}

static void test_a_spare_block_keeps_no_secret(void **state) {
    (void)state;
    struct fixture f;
    struct block_pool pool = { 0 };
    set_up(&f);
    f.q.pool = &pool;
    fill(&f.q, 100000);
    f.q.wipe = true;
    assert_true(put(&f.q, "password", 8));
    const uint8_t *at = f.q.room - 8;
    assert_memory_equal(at, "password", 8);
    chunks_consume(&f.q, f.q.size);
    assert_true(pool.spare_count > 0);
    assert_memory_not_equal(at, "password", 8); /* it is a spare one's memory now */
    chunks_clear(&f.q);
    block_pool_trim(&pool);
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_appends_are_one_slice),
        cmocka_unit_test(test_only_what_is_committed_counts),
        cmocka_unit_test(test_an_empty_queue_keeps_no_block),
        cmocka_unit_test(test_blocks_grow_and_do_not_move),
        cmocka_unit_test(test_a_large_reserve_has_a_block_of_its_size),
        cmocka_unit_test(test_bodies_are_referenced_and_released_once),
        cmocka_unit_test(test_clear_releases_bodies),
        cmocka_unit_test(test_reserved_slices_cannot_fail),
        cmocka_unit_test(test_a_planned_sequence_cannot_fail_half_way),
        cmocka_unit_test(test_a_block_grows),
        cmocka_unit_test(test_a_release_may_append),
        cmocka_unit_test(test_secrets_are_overwritten),
        cmocka_unit_test(test_clear_overwrites_secrets),
        cmocka_unit_test(test_a_random_stream_comes_out_as_it_went_in),
        cmocka_unit_test(test_each_allocation_may_fail),
        cmocka_unit_test(test_spare_blocks_serve_again),
        cmocka_unit_test(test_spare_blocks_are_few_and_full_grown),
        cmocka_unit_test(test_spare_blocks_that_nobody_needs_go),
        cmocka_unit_test(test_an_empty_queue_with_a_pool_owns_nothing),
        cmocka_unit_test(test_a_spare_block_keeps_no_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
