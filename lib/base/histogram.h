/* Counts of durations in buckets that double: cheap to fill, good enough to see a tail. Knows no clock. */
#ifndef LAGO_BASE_HISTOGRAM_H
#define LAGO_BASE_HISTOGRAM_H

#include <lago/observe.h>

/* Once for every message: so it is short, and here. */
static inline void histogram_add(lago_histogram_t *histogram, uint64_t us) {
    unsigned bits = us ? 64u - (unsigned)__builtin_clzll(us) : 0;
    histogram->count++;
    histogram->sum_us += us;
    if (us > histogram->max_us) histogram->max_us = us;
    histogram->buckets[bits < LAGO_HISTOGRAM_BUCKETS ? bits : LAGO_HISTOGRAM_BUCKETS - 1]++;
}

#endif
