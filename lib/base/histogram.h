/* Counts of durations in buckets that double: cheap to fill, good enough to see a tail. Knows no clock. */
#ifndef LAGO_BASE_HISTOGRAM_H
#define LAGO_BASE_HISTOGRAM_H

#include <lago/observe.h>

/* The bucket of a duration. */
static inline unsigned histogram_bucket(uint64_t us) {
    unsigned bits = us ? 64u - (unsigned)__builtin_clzll(us) : 0;
    return bits < LAGO_HISTOGRAM_BUCKETS ? bits : LAGO_HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add_many(lago_histogram_t *histogram, uint64_t us, uint64_t count) {
    histogram->count += count;
    histogram->sum_us += us * count;
    if (us > histogram->max_us) histogram->max_us = us;
    histogram->buckets[histogram_bucket(us)] += count;
}

static inline void histogram_add(lago_histogram_t *histogram, uint64_t us) { histogram_add_many(histogram, us, 1); }

#endif
