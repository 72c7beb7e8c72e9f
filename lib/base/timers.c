/* A binary heap of deadlines. It has no clock, and does not know what a deadline is for. */
#include "timers.h"

#include "alloc.h"
#include "deadline.h"
#include <lago/error.h>

/* A connection's own, while it dials. */
#define NODES_MIN ((size_t)4)

void timers_init(struct timer_heap *heap, const lago_allocator_t *alloc) { *heap = (struct timer_heap){ .alloc = alloc }; }

void timers_clear(struct timer_heap *heap) {
    for (size_t i = 0; i < heap->count; i++) heap->nodes[i]->index = 0;
    mem_free(heap->alloc, heap->nodes);
    timers_init(heap, heap->alloc);
}

int timers_reserve(struct timer_heap *heap) { return timers_reserve_for(heap, heap->count + 1); }

int timers_reserve_for(struct timer_heap *heap, size_t count) {
    if (count <= heap->capacity) return 0;
    size_t capacity = heap->capacity == 0 ? NODES_MIN : heap->capacity * 2;
    if (capacity < count) capacity = count;
    struct timer_node **nodes = mem_resize(heap->alloc, heap->nodes, capacity, sizeof(struct timer_node *));
    if (nodes == NULL) return LAGO_ENOMEM;
    heap->nodes = nodes;
    heap->capacity = capacity;
    return 0;
}

static bool is_earlier(const struct timer_node *a, const struct timer_node *b) {
    return a->deadline != b->deadline ? a->deadline < b->deadline : b->order - a->order < UINT32_MAX / 2; /* the count wraps */
}

static void place(struct timer_heap *heap, size_t i, struct timer_node *node) {
    heap->nodes[i] = node;
    node->index = (uint32_t)(i + 1);
}

/* The place for `node` at `i` or above it; what is later moves down. */
static void sift_up(struct timer_heap *heap, size_t i, struct timer_node *node) {
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!is_earlier(node, heap->nodes[parent])) break;
        place(heap, i, heap->nodes[parent]);
        i = parent;
    }
    place(heap, i, node);
}

/* The place for `node` at `i` or below it; what is earlier moves up. */
static void sift_down(struct timer_heap *heap, size_t i, struct timer_node *node) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count) break;
        if (child + 1 < heap->count && is_earlier(heap->nodes[child + 1], heap->nodes[child])) child++;
        if (!is_earlier(heap->nodes[child], node)) break;
        place(heap, i, heap->nodes[child]);
        i = child;
    }
    place(heap, i, node);
}

static void settle(struct timer_heap *heap, size_t i, struct timer_node *node) {
    if (i > 0 && is_earlier(node, heap->nodes[(i - 1) / 2])) {
        sift_up(heap, i, node);
    } else {
        sift_down(heap, i, node);
    }
}

int timers_set(struct timer_heap *heap, struct timer_node *node, uint64_t deadline) {
    if (deadline == DEADLINE_NEVER) {
        timers_cancel(heap, node);
        return 0;
    }
    if (!timers_is_set(node)) {
        if (timers_reserve(heap) < 0) return LAGO_ENOMEM;
        place(heap, heap->count++, node);
    }
    node->deadline = deadline;
    node->order = heap->orders++;
    settle(heap, node->index - 1, node);
    return 0;
}

void timers_cancel(struct timer_heap *heap, struct timer_node *node) {
    if (!timers_is_set(node)) return;
    size_t i = node->index - 1;
    node->index = 0;
    struct timer_node *last = heap->nodes[--heap->count];
    if (last != node) settle(heap, i, last);
}

uint64_t timers_next(const struct timer_heap *heap) { return heap->count == 0 ? DEADLINE_NEVER : heap->nodes[0]->deadline; }

struct timer_node *timers_expired(struct timer_heap *heap, uint64_t now) {
    if (timers_next(heap) > now || heap->count == 0) return NULL;
    struct timer_node *node = heap->nodes[0];
    timers_cancel(heap, node);
    return node;
}
