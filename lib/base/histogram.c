/* Bucket b holds the durations of b significant bits: 0, 1, 2..3, 4..7 ... microseconds. */
#include "histogram.h"
#include <stddef.h>

uint64_t lago_histogram_quantile(const lago_histogram_t *histogram, double q) {
    if (!histogram || histogram->count == 0) return 0;
    double wanted = q * (double)histogram->count;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < LAGO_HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen == 0 || (double)seen < wanted) continue;
        if (bucket == LAGO_HISTOGRAM_BUCKETS - 1) break; /* open above */
        uint64_t highest = (UINT64_C(1) << bucket) - 1;
        return highest < histogram->max_us ? highest : histogram->max_us;
    }
    return histogram->max_us;
}
