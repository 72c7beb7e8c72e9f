/* What can be said of durations that were counted. Knows no clock and no printing. */
#include "latency.h"

void latency_merge(latency_t *into, const latency_t *from) {
    if (from->count == 0) return;
    if (into->count == 0 || from->min < into->min) into->min = from->min;
    if (from->max > into->max) into->max = from->max;
    into->count += from->count;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) into->buckets[i] += from->buckets[i];
}

/* The largest value that is counted in a bucket. */
static uint64_t bucket_end(unsigned bucket) {
    if (bucket < LATENCY_LINEAR) return bucket;
    unsigned shift = bucket / (LATENCY_LINEAR / 2) - 1;
    uint64_t value = bucket - shift * (LATENCY_LINEAR / 2);
    return ((value + 1) << shift) - 1;
}

uint64_t latency_quantile(const latency_t *latency, double share) {
    double wanted = share * (double)latency->count;
    uint64_t seen = 0;
    if (share >= 1.0) return latency->max;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency->buckets[i];
        if (seen == 0 || (double)seen < wanted) continue;
        uint64_t end = bucket_end(i);
        if (end < latency->min) return latency->min;
        return end < latency->max ? end : latency->max;
    }
    return latency->max;
}
