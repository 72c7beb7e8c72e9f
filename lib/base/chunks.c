/*
 * The output queue: a ring of slices over counted blocks. It does not know what the bytes mean or who writes them.
 *
 * Invariants: every segment holds one reference to its owner and is not empty; `tail` holds one more. Release callbacks run
 * when the queue is consistent again, so they may append to it.
 */
#include "chunks.h"

#include "alloc.h"
#include <lago/error.h>
#include <string.h>

enum block_kind { BLOCK_SHARED, BLOCK_COPY, BLOCK_LENT };

struct block {
    lago_allocator_t alloc; /* a copy: a block may outlive its queue, and whoever owned the allocator (kept messages) */
    size_t refs;
    enum block_kind kind;
    const uint8_t *data;
    size_t size; /* room for bytes behind this header, or how many are lent */
    void (*release)(void *);
    void *release_data;
    struct lender *lender; /* lent ones: or NULL */
    struct block *next;    /* in a list: of spare ones, or of those whose release is due */
    uint8_t bytes[];
};

/* What malloc adds to a block of memory on 64-bit systems; so that a whole block stays within the sizes below. */
#define MALLOC_OVERHEAD 16

/* Memory of the first block: a heartbeat, a few methods. A thousand quiet connections may be told to write in the same turn. */
#define BLOCK_MEMORY_MIN ((size_t)256)

/* Memory of a full-grown block: measured, writes of 64 KiB get most of the throughput that larger ones get. */
#define BLOCK_MEMORY_MAX ((size_t)64 * 1024)

/* From here on a block was filled by work, not by a handshake: worth keeping, though it is not full-grown. So is one of the smallest. */
#define BLOCK_MEMORY_KEPT ((size_t)2048)

/*
 * Four megabytes, as much as waits at the default high_water: who publishes up to there again and again would else give memory to
 * the system and take it back (measured: 75 instead of 59 ns a message for page faults). What is not used for a while goes, but half
 * a megabyte: what one turn may queue.
 */
#define SPARE_MAX  64u
#define SPARE_KEPT 8u

/* 100 KiB of them: four megabytes of bodies that are just worth lending. */
#define LENT_SPARE_MAX 1024u

/* The first ring: a frame or two with their bodies. */
#define RING_MIN ((size_t)4)

/* A longer one is not kept for the next queue: as many slices as the spare blocks and bodies between them make, and no more. */
#define RING_SPARE_MAX ((size_t)1024)

static size_t block_room(size_t memory) { return memory - MALLOC_OVERHEAD - sizeof(struct block); }

static struct block *block_new(const lago_allocator_t *alloc, enum block_kind kind, size_t room) {
    if (room > SIZE_MAX - sizeof(struct block)) return NULL;
    struct block *block = mem_alloc(alloc, sizeof(*block) + room);
    if (block == NULL) return NULL;
    *block = (struct block){ .alloc = *alloc, .refs = 1, .kind = kind, .data = block->bytes, .size = room };
    return block;
}

struct block *block_copy(const lago_allocator_t *alloc, const void *data, size_t size) {
    struct block *block = block_new(alloc, BLOCK_COPY, size);
    if (block == NULL) return NULL;
    if (size > 0) memcpy(block->bytes, data, size);
    return block;
}

/* ---------------------------------------------------------------- lent bytes */

static struct block *take_lent(struct block_pool *pool) {
    struct block *block = pool ? pool->lent : NULL;
    if (block == NULL) return NULL;
    pool->lent = block->next;
    pool->lent_count--;
    return block;
}

static void free_lent(struct block_pool *pool, struct block *block) {
    lago_allocator_t alloc = block->alloc;
    if (pool == NULL || pool->lent_count >= LENT_SPARE_MAX) {
        mem_free(&alloc, block);
        return;
    }
    block->next = pool->lent;
    pool->lent = block;
    pool->lent_count++;
}

struct block *block_lend(struct lender *lender, const lago_allocator_t *alloc, const void *data, size_t size,
                         void (*release)(void *), void *release_data) {
    struct block *block = lender ? take_lent(lender->pool) : NULL;
    if (block == NULL) block = block_new(alloc, BLOCK_LENT, 0);
    if (block == NULL) return NULL;
    *block = (struct block){ .alloc = *alloc,
                             .refs = 1,
                             .kind = BLOCK_LENT,
                             .data = data,
                             .size = size,
                             .release = release,
                             .release_data = release_data,
                             .lender = lender };
    return block;
}

void block_keep_quiet(struct block *block) { block->release = NULL; }

static void become_due(struct block *block) {
    struct lender *lender = block->lender;
    block->next = NULL;
    *(lender->first ? &lender->last->next : &lender->first) = block;
    lender->last = block;
    if (lender->has_some) lender->has_some(lender);
}

bool lender_next(struct lender *lender, struct due_release *due) {
    struct block *block = lender->first;
    if (block == NULL) return false;
    lender->first = block->next;
    *due = (struct due_release){ block->release, block->release_data };
    free_lent(lender->pool, block);
    return true;
}

/* The last reference is gone. */
static void lent_done(struct block *block) {
    void (*release)(void *) = block->release;
    void *release_data = block->release_data;
    if (release != NULL && block->lender != NULL) {
        become_due(block);
        return;
    }
    free_lent(block->lender ? block->lender->pool : NULL, block);
    if (release != NULL) release(release_data);
}

/* ---------------------------------------------------------------- blocks */

struct block *block_grow(const lago_allocator_t *alloc, struct block *block, size_t capacity) {
    if (block == NULL) return block_new(alloc, BLOCK_COPY, capacity);
    if (capacity > SIZE_MAX - sizeof(*block)) return NULL;
    struct block *grown = mem_resize(alloc, block, 1, sizeof(*block) + capacity);
    if (grown == NULL) return NULL;
    grown->data = grown->bytes;
    grown->size = capacity;
    return grown;
}

uint8_t *block_bytes(struct block *block) { return block->bytes; }

const uint8_t *block_data(const struct block *block) { return block->data; }

struct block *block_ref(struct block *block) {
    block->refs++;
    return block;
}

void block_unref(struct block *block) {
    if (block == NULL || --block->refs > 0) return;
    if (block->kind == BLOCK_LENT) {
        lent_done(block);
        return;
    }
    lago_allocator_t alloc = block->alloc;
    mem_free(&alloc, block);
}

/* A block with this room; NULL if there is none. */
static struct block *pool_take(struct block_pool *pool, size_t room) {
    struct block *block = pool->spare;
    if (room > block_room(BLOCK_MEMORY_MAX)) return NULL;
    if (block == NULL) {
        block = pool->half_grown;
        if (block == NULL || room > block->size) return NULL;
        pool->half_grown = NULL;
        return block;
    }
    pool->spare = block->next;
    pool->spare_count--;
    if (pool->unused_count > pool->spare_count) pool->unused_count = pool->spare_count;
    return block;
}

static bool keep_half_grown(struct block_pool *pool, struct block *block) {
    bool worth_it = block->size >= block_room(BLOCK_MEMORY_KEPT) || block->size == block_room(BLOCK_MEMORY_MIN);
    if (!worth_it || (pool->half_grown && block->size <= pool->half_grown->size)) return false;
    block_unref(pool->half_grown);
    pool->half_grown = block;
    return true;
}

static bool pool_give(struct block_pool *pool, struct block *block) {
    size_t full = block_room(BLOCK_MEMORY_MAX);
    if (pool == NULL || block->kind != BLOCK_SHARED || block->size > full) return false;
    if (block->size < full) return keep_half_grown(pool, block);
    if (pool->spare_count == SPARE_MAX) return false;
    block->next = pool->spare;
    pool->spare = block;
    pool->spare_count++;
    return true;
}

bool block_pool_is_rich(const struct block_pool *pool) { return pool->spare_count > SPARE_KEPT; }

void block_pool_relax(struct block_pool *pool) {
    for (; pool->unused_count > 0 && block_pool_is_rich(pool); pool->unused_count--) {
        struct block *block = pool->spare;
        pool->spare = block->next;
        pool->spare_count--;
        block_unref(block);
    }
    pool->unused_count = pool->spare_count;
}

static void pool_drop_ring(struct block_pool *pool) {
    if (pool->ring != NULL) mem_free(&pool->ring_alloc, pool->ring);
    pool->ring = NULL;
    pool->ring_capacity = 0;
}

/* The longest one is kept: it saves the next queue from growing one step by step. */
static void pool_give_ring(struct block_pool *pool, struct chunk_queue *q) {
    if (q->capacity > pool->ring_capacity && q->capacity <= RING_SPARE_MAX) {
        pool_drop_ring(pool);
        pool->ring = q->ring;
        pool->ring_capacity = q->capacity;
        pool->ring_alloc = *q->alloc;
    } else {
        mem_free(q->alloc, q->ring);
    }
    q->ring = NULL;
    q->capacity = q->head = 0;
}

/* Unlike a block it does not know whose memory it is. */
static bool is_allocator(const lago_allocator_t *a, const lago_allocator_t *b) {
    return a->malloc == b->malloc && a->realloc == b->realloc && a->free == b->free && a->data == b->data;
}

static bool pool_take_ring(struct block_pool *pool, struct chunk_queue *q, size_t count) {
    if (pool == NULL || q->ring != NULL || pool->ring_capacity < count || !is_allocator(&pool->ring_alloc, q->alloc))
        return false;
    q->ring = pool->ring;
    q->capacity = pool->ring_capacity;
    pool->ring = NULL;
    pool->ring_capacity = 0;
    return true;
}

void block_pool_trim(struct block_pool *pool) {
    pool_drop_ring(pool);
    for (struct block *block; (block = pool_take(pool, 0)) != NULL;) block_unref(block);
    for (struct block *block; (block = take_lent(pool)) != NULL;) free_lent(NULL, block);
}

/* Let go of a reference of the queue's. A block that goes back takes no secret along. */
static void drop_block(const struct chunk_queue *q, struct block *block) {
    bool last = block->refs == 1;
    if (q->wipe && block->kind != BLOCK_LENT && last) mem_wipe(block->bytes, block->size);
    if (!last || !pool_give(q->pool, block)) block_unref(block);
}

static void drop_tail(struct chunk_queue *q) {
    struct block *tail = q->tail;
    if (tail == NULL) return;
    q->tail = NULL;
    q->room = NULL;
    q->room_size = 0;
    q->growing = NULL;
    drop_block(q, tail);
}

static struct segment *segment_at(const struct chunk_queue *q, size_t i) { return &q->ring[(q->head + i) & (q->capacity - 1)]; }

void chunks_init(struct chunk_queue *q, const lago_allocator_t *alloc) { *q = (struct chunk_queue){ .alloc = alloc }; }

void chunks_clear(struct chunk_queue *q) {
    do { /* again if a release callback has appended */
        chunks_consume(q, q->size);
    } while (q->count > 0);
    mem_free(q->alloc, q->ring);
    q->ring = NULL;
    q->capacity = q->head = 0;
}

int chunks_reserve_slices(struct chunk_queue *q, size_t count) {
    if (count <= q->capacity - q->count || pool_take_ring(q->pool, q, count)) return 0;
    if (count > SIZE_MAX / 4 - q->count) return LAGO_ENOMEM;
    size_t capacity = q->capacity == 0 ? RING_MIN : q->capacity * 2;
    while (capacity < q->count + count) capacity *= 2;
    struct segment *ring = mem_resize(q->alloc, NULL, capacity, sizeof(*ring));
    if (ring == NULL) return LAGO_ENOMEM;
    for (size_t i = 0; i < q->count; i++) ring[i] = *segment_at(q, i);
    mem_free(q->alloc, q->ring);
    q->ring = ring;
    q->capacity = capacity;
    q->head = 0;
    if (q->growing != NULL) q->growing = segment_at(q, q->count - 1);
    return 0;
}

/* Blocks double while the queue does not run empty. */
static size_t next_room(const struct chunk_queue *q, size_t size) {
    size_t memory = BLOCK_MEMORY_MIN;
    if (q->tail != NULL) {
        while (memory < BLOCK_MEMORY_MAX && block_room(memory) <= q->tail->size) memory *= 2;
    }
    while (memory < BLOCK_MEMORY_MAX && block_room(memory) < size) memory *= 2;
    return size > block_room(memory) ? size : block_room(memory);
}

uint8_t *chunks_make_room(struct chunk_queue *q, size_t size) {
    if (chunks_reserve_slices(q, 1) < 0) return NULL;
    if (q->tail == NULL || size > q->room_size) {
        struct block *block = q->pool != NULL ? pool_take(q->pool, size) : NULL;
        if (block == NULL) block = block_new(q->alloc, BLOCK_SHARED, next_room(q, size));
        if (block == NULL) return NULL;
        drop_tail(q);
        q->tail = block;
        q->room = block->bytes;
        q->room_size = block->size;
    }
    return q->room;
}

static void push(struct chunk_queue *q, struct block *owner, const uint8_t *data, size_t size) {
    struct segment *last = q->count == 0 ? NULL : segment_at(q, q->count - 1);
    q->size += size;
    q->appended += size;
    if (last != NULL && last->owner == owner && last->data + last->size == data) {
        last->size += size;
        return;
    }
    *segment_at(q, q->count) = (struct segment){ .data = data, .size = size, .owner = block_ref(owner) };
    q->count++;
}

void chunks_begin_slice(struct chunk_queue *q, size_t size) {
    if (size == 0) return;
    push(q, q->tail, q->room, size);
    q->growing = segment_at(q, q->count - 1);
}

void chunks_append(struct chunk_queue *q, struct block *owner, const uint8_t *data, size_t size) {
    if (size == 0) return;
    push(q, owner, data, size);
    q->growing = NULL;
}

size_t chunks_peek(const struct chunk_queue *q, struct slice *slices, size_t max) {
    size_t count = q->count < max ? q->count : max;
    for (size_t i = 0; i < count; i++) {
        const struct segment *segment = segment_at(q, i);
        slices[i] = (struct slice){ .data = segment->data, .size = segment->size };
    }
    return count;
}

/* Only shared blocks at once: a copied body may have other holders, and is overwritten when the queue is its last. */
static void wipe_front(const struct chunk_queue *q, const struct segment *front, size_t size) {
    struct block *owner = front->owner;
    if (q->wipe && owner->kind == BLOCK_SHARED) mem_wipe(owner->bytes + (front->data - owner->bytes), size);
}

/* At most `size` bytes of the first segment. @return how many. */
static size_t consume_front(struct chunk_queue *q, size_t size) {
    struct segment *front = segment_at(q, 0);
    size_t taken = size < front->size ? size : front->size;
    wipe_front(q, front, taken);
    q->size -= taken;
    q->consumed += taken;
    front->data += taken;
    front->size -= taken;
    if (front->size > 0) return taken;
    struct block *owner = front->owner;
    q->head = (q->head + 1) & (q->capacity - 1);
    if (--q->count == 0) q->growing = NULL;
    drop_block(q, owner);
    return taken;
}

void chunks_each(const struct chunk_queue *q, size_t size, void (*visit)(void *data, const uint8_t *bytes, size_t size),
                 void *data) {
    for (size_t i = 0; i < q->count && size > 0; i++) {
        const struct segment *segment = &q->ring[(q->head + i) & (q->capacity - 1)];
        size_t piece = segment->size < size ? segment->size : size;
        visit(data, segment->data, piece);
        size -= piece;
    }
}

void chunks_consume(struct chunk_queue *q, size_t size) {
    while (size > 0 && q->count > 0) size -= consume_front(q, size);
    if (q->count > 0) return;
    drop_tail(q);
    if (q->pool != NULL && q->ring != NULL) pool_give_ring(q->pool, q);
}
