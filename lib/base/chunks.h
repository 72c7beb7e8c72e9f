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

/*
 * Full-grown blocks that wait for their next use: shared by the queues of a loop, so that one that is written out every turn need
 * not allocate (profile: 9 allocations for 1000 messages of 256 bytes), and a thousand quiet ones own nothing.
 */
struct block_pool {
    struct block *spare, *lent; /* the latter without bytes of their own */
    struct block *half_grown;   /* one that was used when there was none, so that the next queue need not grow step by step */
    size_t spare_count, lent_count;
    size_t unused_count;  /* spare blocks that nobody has needed since block_pool_relax */
    struct segment *ring; /* and what a queue that ran empty had in front of its blocks; NULL: none */
    size_t ring_capacity;
    lago_allocator_t ring_alloc;
};

/* Free what is spare. */
void block_pool_trim(struct block_pool *pool);

/* Whether there is more than a quiet loop needs; and free of that what nobody has needed since the last time. */
bool block_pool_is_rich(const struct block_pool *pool);
void block_pool_relax(struct block_pool *pool);

struct chunk_queue {
    const lago_allocator_t *alloc;
    struct block_pool *pool; /* NULL: none; set by the owner, outlives the blocks of the queue */
    struct segment *ring;    /* capacity is a power of two */
    size_t capacity, head, count;
    struct block *tail; /* where small output is copied; NULL when there is none */
    uint8_t *room;      /* of the tail, what is not committed yet */
    size_t room_size;
    struct segment *growing; /* the last slice, if it ends where the room begins: what is committed makes it longer */
    size_t size;             /* bytes waiting */
    uint64_t appended;       /* bytes ever appended: the stream offset of the next one */
    uint64_t consumed;       /* bytes ever consumed */
    bool wipe;               /* overwrite copied bytes when they are consumed: they hold secrets */
};

void chunks_init(struct chunk_queue *q, const lago_allocator_t *alloc);

/* Drop everything: blocks are released (lent bodies get their callback), memory goes back. The queue may be used again. */
void chunks_clear(struct chunk_queue *q);

/* What the two functions below do when there is no room, or no slice to make longer. */
uint8_t *chunks_make_room(struct chunk_queue *q, size_t size);
void chunks_begin_slice(struct chunk_queue *q, size_t size);

/* Room for `size` (not 0) contiguous bytes and one more slice, or NULL without memory. Valid until the next call on the queue. */
static inline uint8_t *chunks_reserve(struct chunk_queue *q, size_t size) {
    return size <= q->room_size && q->count < q->capacity ? q->room : chunks_make_room(q, size);
}

/*
 * Append the first `size` bytes of the room that was reserved last. What is left of the room is there for the next reserve of
 * that size or less, chunks_append in between included, so a sequence planned as one reservation cannot fail half way.
 */
static inline void chunks_commit(struct chunk_queue *q, size_t size) {
    if (q->growing) {
        q->growing->size += size;
        q->size += size;
        q->appended += size;
    } else {
        chunks_begin_slice(q, size);
    }
    q->room += size;
    q->room_size -= size;
}

/* Make sure that `count` more slices can be appended. 0 or LAGO_ENOMEM. */
int chunks_reserve_slices(struct chunk_queue *q, size_t count);

/* Append a slice of `owner` without a copy; its slice must have been reserved. Takes a reference of its own. */
void chunks_append(struct chunk_queue *q, struct block *owner, const uint8_t *data, size_t size);

/* The next slices, at most `max`. @return how many. */
size_t chunks_peek(const struct chunk_queue *q, struct slice *slices, size_t max);

/* Visit the first `size` bytes, slice by slice. */
void chunks_each(const struct chunk_queue *q, size_t size, void (*visit)(void *data, const uint8_t *bytes, size_t size),
                 void *data);

/* `size` bytes were written. Blocks that are used up are released; an empty queue keeps none, and with a pool nothing at all. */
void chunks_consume(struct chunk_queue *q, size_t size);

/* A block that holds a copy of `size` bytes. One reference, the caller's. NULL without memory. */
struct block *block_copy(const lago_allocator_t *alloc, const void *data, size_t size);

/*
 * Who lends bytes, and is told when they are not needed any more: not at once, from inside a write, but when he asks. A lent body
 * costs no allocation then, if there is a pool.
 */
struct lender {
    struct block_pool *pool;                 /* NULL: none */
    struct block *first, *last;              /* whose last reference is gone, in that order */
    void (*has_some)(struct lender *lender); /* there is one more; may be NULL */
};

/*
 * A block over lent bytes. With the last reference `release` is due: it is lender_next's to say, or runs at once without a lender.
 * On NULL nothing is due. block_keep_quiet: nothing is due after all.
 */
struct block *block_lend(struct lender *lender, const lago_allocator_t *alloc, const void *data, size_t size,
                         void (*release)(void *), void *release_data);
void block_keep_quiet(struct block *block);

/* What is due next: false if nothing is. */
struct due_release {
    void (*release)(void *);
    void *data;
};
bool lender_next(struct lender *lender, struct due_release *due);
static inline bool lender_has_some(const struct lender *lender) { return lender->first != NULL; }

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
