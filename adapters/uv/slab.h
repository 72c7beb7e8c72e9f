/*
 * Read buffers ("slabs") shared by the connections of a context. Nobody holds one between reads, so that many connections need
 * one or two; a connection whose client has stopped early holds its slab until the rest has been taken. Knows no libuv.
 */
#ifndef LAGO_UV_SLAB_H
#define LAGO_UV_SLAB_H

#include <lago/context.h>
#include <stddef.h>
#include <stdint.h>

struct slab {
    struct slab *next; /* among the spare ones */
    uint8_t data[];
};

struct slab_pool {
    const lago_allocator_t *alloc;
    size_t size; /* bytes of a slab's data */
    struct slab *spare;
    size_t spare_count;
};

void slab_pool_init(struct slab_pool *pool, const lago_allocator_t *alloc, size_t size);

/* Free the spare slabs; those that are held come back, or not, as before. */
void slab_pool_trim(struct slab_pool *pool);

/* NULL without memory. */
struct slab *slab_take(struct slab_pool *pool);
void slab_give(struct slab_pool *pool, struct slab *slab);

#endif
