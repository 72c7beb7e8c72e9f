/* Read buffers: a few spare ones, and the rest is the allocator's. Must not know who reads. */
#include "slab.h"
#include "alloc.h"

/* Two are read into at once by a connection with TLS; more would be idle memory. */
#define SPARE_MAX 2

/* An idle context keeps one of these. A record of TLS fits, and what a request and its answer take. */
#define SIZE_MIN ((size_t)32 * 1024)

/*
 * Measured: with 256 KiB, 512 KiB and 1 MiB a small delivery takes the same time, within 4 %; with less there would be more than three
 * system calls in a thousand of them.
 */
#define SIZE_LARGEST ((size_t)256 * 1024)

/* Smaller than this part of its slab, a read is small; so many of them in a row are no accident. */
#define SMALL_PART 8u
#define SMALL_ROW  16u

void slab_pool_init(struct slab_pool *pool, const lago_allocator_t *alloc, size_t size) {
    *pool = (struct slab_pool){ .alloc = alloc };
    pool->size_min = size > 0 ? size : SIZE_MIN;
    pool->size_max = size > 0 ? size : SIZE_LARGEST;
    pool->size = pool->size_min;
}

void slab_pool_trim(struct slab_pool *pool) {
    while (pool->spare != NULL) {
        struct slab *slab = pool->spare;
        pool->spare = slab->next;
        mem_free(pool->alloc, slab);
    }
    pool->spare_count = 0;
}

static void set_size(struct slab_pool *pool, size_t size) {
    pool->small_count = 0;
    if (size == pool->size) return;
    slab_pool_trim(pool);
    pool->size = size;
}

bool slab_pool_is_rich(const struct slab_pool *pool) { return pool->size > pool->size_min || pool->spare_count > 1; }

void slab_pool_relax(struct slab_pool *pool) {
    if (!pool->used) {
        slab_pool_trim(pool);
        set_size(pool, pool->size_min);
    }
    pool->used = false;
}

struct slab *slab_take(struct slab_pool *pool) {
    struct slab *slab = pool->spare;
    pool->used = true;
    if (slab == NULL) {
        slab = mem_alloc(pool->alloc, sizeof *slab + pool->size);
        if (slab != NULL) slab->size = pool->size;
        return slab;
    }
    pool->spare = slab->next;
    pool->spare_count--;
    return slab;
}

void slab_give(struct slab_pool *pool, struct slab *slab) {
    if (pool->spare_count == SPARE_MAX || slab->size != pool->size) {
        mem_free(pool->alloc, slab);
        return;
    }
    slab->next = pool->spare;
    pool->spare = slab;
    pool->spare_count++;
}

void slab_filled(struct slab_pool *pool, const struct slab *slab, size_t size) {
    if (slab->size != pool->size) return; /* of an earlier size: that was judged before */
    if (size == slab->size && size < pool->size_max)
        set_size(pool, size <= pool->size_max / 2 ? 2 * size : pool->size_max);
    else if (size >= slab->size / SMALL_PART)
        pool->small_count = 0;
    else if (++pool->small_count >= SMALL_ROW && slab->size / 2 >= pool->size_min)
        set_size(pool, slab->size / 2);
}
