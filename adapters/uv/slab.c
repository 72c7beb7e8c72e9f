/* Read buffers: a few spare ones, and the rest is the allocator's. Must not know who reads. */
#include "slab.h"
#include "alloc.h"

/* One is read into while one more was just let go by a connection that had stopped early; more would be idle memory. */
#define SPARE_MAX 2

void slab_pool_init(struct slab_pool *pool, const lago_allocator_t *alloc, size_t size) {
    *pool = (struct slab_pool){ .alloc = alloc, .size = size };
}

void slab_pool_trim(struct slab_pool *pool) {
    while (pool->spare != NULL) {
        struct slab *slab = pool->spare;
        pool->spare = slab->next;
        mem_free(pool->alloc, slab);
    }
    pool->spare_count = 0;
}

struct slab *slab_take(struct slab_pool *pool) {
    struct slab *slab = pool->spare;
    if (slab == NULL) return mem_alloc(pool->alloc, sizeof *slab + pool->size);
    pool->spare = slab->next;
    pool->spare_count--;
    return slab;
}

void slab_give(struct slab_pool *pool, struct slab *slab) {
    if (pool->spare_count == SPARE_MAX) {
        mem_free(pool->alloc, slab);
        return;
    }
    slab->next = pool->spare;
    pool->spare = slab;
    pool->spare_count++;
}
