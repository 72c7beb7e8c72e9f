/*
 * Read buffers ("slabs") shared by the connections of a context. Nobody holds one between reads, so that many connections need
 * one or two; a connection whose client has stopped early holds its slab until the rest has been taken. Their size follows the
 * reads: one that comes back full doubles it, a row of small ones halves it. Knows no libuv.
 */
#ifndef LAGO_UV_SLAB_H
#define LAGO_UV_SLAB_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slab {
    struct slab *next; /* among the spare ones */
    size_t size;       /* bytes of data */
    uint8_t data[];
};

struct slab_pool {
    const lago_allocator_t *alloc;
    size_t size; /* of the next slab */
    size_t size_min, size_max;
    unsigned small_count; /* reads in a row that were small for their slab */
    struct slab *spare;   /* of that size, all of them */
    size_t spare_count;
    bool used; /* since it was last asked whether it is idle */
};

/* `size` 0: it follows the reads; else all slabs have it. */
void slab_pool_init(struct slab_pool *pool, const lago_allocator_t *alloc, size_t size);

/* Free the spare slabs; those that are held come back, or not, as before. */
void slab_pool_trim(struct slab_pool *pool);

/* Whether it keeps more than one small slab; and if nobody took any since this was asked last, it lets go of that. */
bool slab_pool_is_rich(const struct slab_pool *pool);
void slab_pool_relax(struct slab_pool *pool);

/* NULL without memory. */
struct slab *slab_take(struct slab_pool *pool);
void slab_give(struct slab_pool *pool, struct slab *slab);

/* All of a slab was offered to a read, and so much of it was filled. */
void slab_filled(struct slab_pool *pool, const struct slab *slab, size_t size);

#endif
