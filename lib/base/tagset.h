/*
 * The set of open delivery tags of a channel. Tags are added in rising order and removed in any; memory follows the number of
 * gaps between the open tags. Nearly always there is none: then it is a range, and adding, finding and removing the lowest take a few
 * instructions (profile: as a set of bits they took a seventh of a delivery and its ack).
 */
#ifndef LAGO_BASE_TAGSET_H
#define LAGO_BASE_TAGSET_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 64 tags: bit i of `bits` is tag base * 64 + i. Words without bits are dropped from both ends, in the middle now and then. */
#define TAGS_PER_WORD 64u
struct tagset_word {
    uint64_t base, bits;
};

struct tagset {
    const lago_allocator_t *alloc;
    uint64_t first, size; /* the newest tags: so many, without a gap */
    /* what is older, once there was a gap */
    struct tagset_word *words; /* ring, rising by base; capacity is a power of two */
    size_t capacity, head, length;
    size_t empty;    /* words in the ring without bits */
    size_t in_words; /* tags */
};

void tagset_init(struct tagset *set, const lago_allocator_t *alloc);
void tagset_clear(struct tagset *set);

static inline size_t tagset_count(const struct tagset *set) { return (size_t)set->size + set->in_words; }

/* What tagset_add does behind a gap. */
int tagset_begin(struct tagset *set, uint64_t tag);

/* Add a tag above all that were ever added. 0 or LAGO_ENOMEM. */
static inline int tagset_add(struct tagset *set, uint64_t tag) {
    if (set->size == 0)
        set->first = tag;
    else if (tag - set->first != set->size)
        return tagset_begin(set, tag);
    set->size++;
    return 0;
}

bool tagset_has(const struct tagset *set, uint64_t tag);

/* Make it sure that a tag can be removed. 0, LAGO_ESTALE (it is not there), LAGO_ENOMEM. The lowest and the newest need nothing. */
int tagset_isolate(struct tagset *set, uint64_t tag);

/* Remove a tag. @return whether it was there; false also without memory, which cannot be after tagset_isolate. */
bool tagset_remove(struct tagset *set, uint64_t tag);

/* Whether a tag is the lowest of a set without gaps; and remove it. */
static inline bool tagset_begins_with(const struct tagset *set, uint64_t tag) {
    return tag == set->first && set->size > 0 && set->in_words == 0;
}
static inline void tagset_remove_first(struct tagset *set) {
    set->first++;
    set->size--;
}

/* Remove all up to and including `tag`. @return how many there were. */
size_t tagset_remove_through(struct tagset *set, uint64_t tag);

/* The highest tag at or below `tag`, 0 if there is none. */
uint64_t tagset_floor(const struct tagset *set, uint64_t tag);

/* The lowest tag, 0 for an empty set; and what it would be without `tag`. */
uint64_t tagset_lowest(const struct tagset *set);
uint64_t tagset_lowest_but(const struct tagset *set, uint64_t tag);

#endif
