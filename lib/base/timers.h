/* Deadlines in a heap: O(1) to ask for the next, O(log n) to set and to take back. The node lives in its owner. */
#ifndef LAGO_BASE_TIMERS_H
#define LAGO_BASE_TIMERS_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer_node {
    uint64_t deadline;
    uint32_t order; /* equal deadlines fire in the order of setting */
    uint32_t index; /* place in the heap + 1; 0: not set */
};

struct timer_heap {
    const lago_allocator_t *alloc;
    struct timer_node **nodes;
    size_t count, capacity;
    uint32_t orders;
};

void timers_init(struct timer_heap *heap, const lago_allocator_t *alloc);
void timers_clear(struct timer_heap *heap); /* forgets all nodes, frees the heap */

/* What is empty owns nothing: room that was reserved is given back. */
static inline void timers_trim(struct timer_heap *heap) {
    if (heap->count == 0) timers_clear(heap);
}

/* Make room for one more node, so that the next timers_set cannot fail. 0 or LAGO_ENOMEM. */
int timers_reserve(struct timer_heap *heap);

/* The same for nodes that are to be set later: room for `count` altogether. */
int timers_reserve_for(struct timer_heap *heap, size_t count);

/* Set, or set anew. 0 or LAGO_ENOMEM (never when the node was set or room was reserved). DEADLINE_NEVER takes it back. */
int timers_set(struct timer_heap *heap, struct timer_node *node, uint64_t deadline);
void timers_cancel(struct timer_heap *heap, struct timer_node *node);
static inline bool timers_is_set(const struct timer_node *node) { return node->index != 0; }

/* The earliest deadline, DEADLINE_NEVER if there is none. */
uint64_t timers_next(const struct timer_heap *heap);

/* Take out the earliest node whose deadline is <= now, or NULL. */
struct timer_node *timers_expired(struct timer_heap *heap, uint64_t now);

#endif
