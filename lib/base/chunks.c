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
    size_t used; /* of a shared block: how many of them are committed */
    void (*release)(void *);
    void *release_data;
    uint8_t bytes[];
};

/* What malloc adds to a block of memory on 64-bit systems; so that a whole block stays within the sizes below. */
#define MALLOC_OVERHEAD 16

/* Memory of the first block: a heartbeat or a few acks; so that a quiet connection needs one page while it writes. */
#define BLOCK_MEMORY_MIN ((size_t)4096)

/* Memory of a full-grown block: measured, writes of 64 KiB get most of the throughput that larger ones get. */
#define BLOCK_MEMORY_MAX ((size_t)64 * 1024)

/* The first ring: a frame or two with their bodies. */
#define RING_MIN ((size_t)8)

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

struct block *block_lend(const lago_allocator_t *alloc, const void *data, size_t size, void (*release)(void *),
                         void *release_data) {
    struct block *block = block_new(alloc, BLOCK_LENT, 0);
    if (block == NULL) return NULL;
    block->data = data;
    block->size = size;
    block->release = release;
    block->release_data = release_data;
    return block;
}

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
    void (*release)(void *) = block->release;
    void *release_data = block->release_data;
    lago_allocator_t alloc = block->alloc;
    mem_free(&alloc, block);
    if (release != NULL) release(release_data);
}

/* Let go of a reference of the queue's. A block that goes back to the allocator takes no secret along. */
static void drop_block(const struct chunk_queue *q, struct block *block) {
    if (q->wipe && block->kind != BLOCK_LENT && block->refs == 1) mem_wipe(block->bytes, block->size);
    block_unref(block);
}

static void drop_tail(struct chunk_queue *q) {
    struct block *tail = q->tail;
    if (tail == NULL) return;
    q->tail = NULL;
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
    if (count <= q->capacity - q->count) return 0;
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

uint8_t *chunks_reserve(struct chunk_queue *q, size_t size) {
    if (chunks_reserve_slices(q, 1) < 0) return NULL;
    if (q->tail == NULL || size > q->tail->size - q->tail->used) {
        struct block *block = block_new(q->alloc, BLOCK_SHARED, next_room(q, size));
        if (block == NULL) return NULL;
        drop_tail(q);
        q->tail = block;
    }
    return q->tail->bytes + q->tail->used;
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

void chunks_commit(struct chunk_queue *q, size_t size) {
    if (size == 0) return;
    push(q, q->tail, q->tail->bytes + q->tail->used, size);
    q->tail->used += size;
}

void chunks_append(struct chunk_queue *q, struct block *owner, const uint8_t *data, size_t size) {
    if (size > 0) push(q, owner, data, size);
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
    q->count--;
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
    if (q->count == 0) drop_tail(q);
}
