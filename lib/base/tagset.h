/*
 * The set of open delivery tags of a channel. Tags are added in rising order and removed in any; memory follows the number of
 * open tags, not the distance between the lowest and the highest.
 */
#ifndef LAGO_BASE_TAGSET_H
#define LAGO_BASE_TAGSET_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 64 tags: bit i of `bits` is tag base * 64 + i. Words without bits are dropped from both ends, in the middle now and then. */
struct tagset_word {
    uint64_t base, bits;
};

struct tagset {
    const lago_allocator_t *alloc;
    struct tagset_word *words; /* ring, rising by base; capacity is a power of two */
    size_t capacity, head, length;
    size_t empty; /* words in the ring without bits */
    size_t count; /* tags in the set */
};

void tagset_init(struct tagset *set, const lago_allocator_t *alloc);
void tagset_clear(struct tagset *set);

/* Add a tag above all that were ever added. 0 or LAGO_ENOMEM. */
int tagset_add(struct tagset *set, uint64_t tag);

bool tagset_has(const struct tagset *set, uint64_t tag);

/* @return whether it was there. */
bool tagset_remove(struct tagset *set, uint64_t tag);

/* Remove all up to and including `tag`. @return how many there were. */
size_t tagset_remove_through(struct tagset *set, uint64_t tag);

/* The highest tag at or below `tag`, 0 if there is none. */
uint64_t tagset_floor(const struct tagset *set, uint64_t tag);

/* The lowest tag, 0 for an empty set. */
uint64_t tagset_lowest(const struct tagset *set);

#endif
