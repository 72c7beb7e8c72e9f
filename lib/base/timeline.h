/*
 * When the numbers of a rising sequence (delivery tags, sequence numbers) came to be. What came at about the same time shares an
 * entry, so what is kept grows with the time that is still of interest, not with the numbers; and it is bounded: the older a
 * number, the coarser its time, up to a 16th of its age.
 */
#ifndef LAGO_BASE_TIMELINE_H
#define LAGO_BASE_TIMELINE_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timeline_run {
    uint64_t first, time; /* from this number on, up to the next run's */
};

struct timeline {
    const lago_allocator_t *alloc;
    uint64_t resolution;
    struct timeline_run *runs; /* ring; capacity is a power of two */
    size_t capacity, head, count;
    uint64_t newest; /* the time of the last run */
};

/* Times closer than `resolution` are one. */
void timeline_init(struct timeline *t, const lago_allocator_t *alloc, uint64_t resolution);
void timeline_clear(struct timeline *t);

/* What the functions below do when it is more than a look. */
void timeline_append(struct timeline *t, uint64_t number, uint64_t time);
uint64_t timeline_find(const struct timeline *t, uint64_t number);
uint64_t timeline_find_next(const struct timeline *t, uint64_t number);
void timeline_drop(struct timeline *t, uint64_t below);

/* Whether a number is of the second run or one behind it. */
static inline bool timeline_is_behind_first(const struct timeline *t, uint64_t number) {
    return t->count > 1 && t->runs[(t->head + 1) & (t->capacity - 1)].first <= number;
}

/* `number` is above all before it. Without memory it counts to the run before: it looks older than it is. */
static inline void timeline_note(struct timeline *t, uint64_t number, uint64_t time) {
    if (t->count == 0 || time - t->newest >= t->resolution) timeline_append(t, number, time);
}

/* When a number came to be; 0: not known. The oldest ones are found at once. */
static inline uint64_t timeline_at(const struct timeline *t, uint64_t number) {
    if (t->count == 0 || timeline_is_behind_first(t, number)) return timeline_find(t, number);
    return t->runs[t->head].first <= number ? t->runs[t->head].time : 0;
}

/* Where the run behind a number begins; UINT64_MAX: nowhere. */
static inline uint64_t timeline_next(const struct timeline *t, uint64_t number) {
    bool in_first = t->count > 0 && t->runs[t->head].first <= number && !timeline_is_behind_first(t, number);
    if (!in_first) return timeline_find_next(t, number);
    return t->count > 1 ? t->runs[(t->head + 1) & (t->capacity - 1)].first : UINT64_MAX;
}

/* Nobody will ask for numbers below this one. */
static inline void timeline_forget(struct timeline *t, uint64_t below) {
    if (timeline_is_behind_first(t, below)) timeline_drop(t, below);
}

#endif
