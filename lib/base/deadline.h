/* Points in time, in milliseconds of a monotonic clock that the caller owns. Sums saturate at "never". */
#ifndef LAGO_BASE_DEADLINE_H
#define LAGO_BASE_DEADLINE_H

#include <stdint.h>

#define DEADLINE_NEVER UINT64_MAX

static inline uint64_t deadline_after(uint64_t now, uint64_t delay_ms) {
    return delay_ms > DEADLINE_NEVER - now ? DEADLINE_NEVER : now + delay_ms;
}

static inline uint64_t deadline_min(uint64_t a, uint64_t b) { return a < b ? a : b; }

#endif
