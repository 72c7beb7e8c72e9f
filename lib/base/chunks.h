/*
 * The output queue: bytes in, slices out. Small things are copied into shared blocks; a large body is referenced until it has
 * been written, then its release callback runs. What a slice points to does not move until it is consumed.
 *
 * All or nothing: chunks_reserve gives contiguous room that counts only when chunks_commit says so, and
 * chunks_reserve_slices makes sure that following chunks_append calls cannot fail.
 */
#ifndef LAGO_BASE_CHUNKS_H
#define LAGO_BASE_CHUNKS_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Counted bytes: a shared block of small output, a copied body, or a body that the caller lent. */
struct block;

struct slice {
    const uint8_t *data;
    size_t size;
};

/* Internal: a slice and the block that keeps it. */
struct segment {
    const uint8_t *data;
    size_t size;
    struct block *owner;
};

struct chunk_queue {
    const lago_allocator_t *alloc;
    struct segment *ring; /* capacity is a power of two */
    size_t capacity, head, count;
    struct block *tail; /* where small output is copied; NULL when there is none */
    size_t size;        /* bytes waiting */
    uint64_t appended;  /* bytes ever appended: the stream offset of the next one */
    uint64_t consumed;  /* bytes ever consumed */
    bool wipe;          /* overwrite copied bytes when they are consumed: they hold secrets */
};

void chunks_init(struct chunk_queue *q, const lago_allocator_t *alloc);

/* Drop everything: blocks are released (lent bodies get their callback), memory goes back. The queue may be used again. */
void chunks_clear(struct chunk_queue *q);

/* Room for `size` contiguous bytes and one more slice, or NULL without memory. Valid until the next call on the queue. */
uint8_t *chunks_reserve(struct chunk_queue *q, size_t size);

/*
 * Append the first `size` bytes of the room that was reserved last. What is left of the room is there for the next reserve of
 * that size or less, chunks_append in between included, so a sequence planned as one reservation cannot fail half way.
 */
void chunks_commit(struct chunk_queue *q, size_t size);

/* Make sure that `count` more slices can be appended. 0 or LAGO_ENOMEM. */
int chunks_reserve_slices(struct chunk_queue *q, size_t count);

/* Append a slice of `owner` without a copy; its slice must have been reserved. Takes a reference of its own. */
void chunks_append(struct chunk_queue *q, struct block *owner, const uint8_t *data, size_t size);

/* The next slices, at most `max`. @return how many. */
size_t chunks_peek(const struct chunk_queue *q, struct slice *slices, size_t max);

/* Visit the first `size` bytes, slice by slice. */
void chunks_each(const struct chunk_queue *q, size_t size, void (*visit)(void *data, const uint8_t *bytes, size_t size),
                 void *data);

/* `size` bytes were written. Blocks that are used up are released; an empty queue keeps no block. */
void chunks_consume(struct chunk_queue *q, size_t size);

/* A block that holds a copy of `size` bytes. One reference, the caller's. NULL without memory. */
struct block *block_copy(const lago_allocator_t *alloc, const void *data, size_t size);

/* A block over lent bytes; `release` (may be NULL) runs with the last reference. On NULL it does not run. */
struct block *block_lend(const lago_allocator_t *alloc, const void *data, size_t size, void (*release)(void *),
                         void *release_data);

/*
 * A block that grows: room for `capacity` bytes behind `block` (NULL: a new one), which must have one reference. It may move.
 * NULL without memory; the old block is untouched then.
 */
struct block *block_grow(const lago_allocator_t *alloc, struct block *block, size_t capacity);

/* The bytes of a copied or grown block, for its only owner to write to. */
uint8_t *block_bytes(struct block *block);

const uint8_t *block_data(const struct block *block);
struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* NULL is allowed */

#endif
