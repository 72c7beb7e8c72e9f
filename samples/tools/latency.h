/*
 * How long things took: counts in buckets that double every 1024th, so that what comes out has 3 significant digits, whatever the
 * range, from a memory that does not grow. (As HdrHistogram, of which Debian 12 has none for C.) Knows no clock.
 */
#ifndef TOOLS_LATENCY_H
#define TOOLS_LATENCY_H

#include <stdint.h>

#define LATENCY_BITS    42 /* nanoseconds to 73 minutes; what is longer counts as that, but for the maximum */
#define LATENCY_LINEAR  2048
#define LATENCY_BUCKETS (LATENCY_LINEAR + (LATENCY_BITS - 11) * LATENCY_LINEAR / 2)

/* All zero: empty. */
typedef struct latency {
    uint64_t count, min, max;
    uint64_t buckets[LATENCY_BUCKETS];
} latency_t;

/* Once for every message: so it is short, and here. */
static inline void latency_add(latency_t *latency, uint64_t ns) {
    uint64_t most = (UINT64_C(1) << LATENCY_BITS) - 1;
    uint64_t value = ns < most ? ns : most;
    unsigned shift =
        value < LATENCY_LINEAR ? 0 : 53 - (unsigned)__builtin_clzll(value); /* leaves 11 bits, the first of them set */
    latency->buckets[shift * (LATENCY_LINEAR / 2) + (value >> shift)]++;
    if (latency->count++ == 0 || ns < latency->min) latency->min = ns;
    if (ns > latency->max) latency->max = ns;
}

/* Add what `from` has. */
void latency_merge(latency_t *into, const latency_t *from);

/* What a share of all (0.0 to 1.0) did not exceed, at most a 1024th above the true value; 0 for an empty one. */
uint64_t latency_quantile(const latency_t *latency, double share);

#endif
