/* A ring of runs, rising by number and by time. */
#include "timeline.h"
#include "alloc.h"
#include <string.h>

#define FIRST_CAPACITY 8u
#define CAPACITY_MAX   2048u /* 32 KiB; beyond, runs are merged, and ages get coarser */

/*
 * Merging may make a number look older by a 16th of its age, so runs need to stand no closer than that: for a year in steps of
 * 0.1 ms some 900 are left, for all 64 bits fewer than 1600.
 */
#define AGE_ERROR 16u

void timeline_init(struct timeline *t, const lago_allocator_t *alloc, uint64_t resolution) {
    memset(t, 0, sizeof(*t));
    t->alloc = alloc;
    t->resolution = resolution;
}

void timeline_clear(struct timeline *t) {
    mem_free(t->alloc, t->runs);
    timeline_init(t, t->alloc, t->resolution);
}

static struct timeline_run *run_at(const struct timeline *t, size_t i) { return &t->runs[(t->head + i) & (t->capacity - 1)]; }

/* A run is merged into the one before it if that makes its numbers look older by less than their age allows. */
static void thin_out(struct timeline *t, uint64_t now) {
    size_t kept = 1;
    for (size_t i = 1; i + 1 < t->count; i++) {
        uint64_t last = run_at(t, kept - 1)->time, next = run_at(t, i + 1)->time; /* of its numbers none is younger than that */
        if (next - last > (now - next) / AGE_ERROR) *run_at(t, kept++) = *run_at(t, i);
    }
    *run_at(t, kept++) = *run_at(t, t->count - 1);
    t->count = kept;
}

static int make_room(struct timeline *t, uint64_t now) {
    if (t->count < t->capacity) return 0;
    if (t->capacity == CAPACITY_MAX) {
        thin_out(t, now); /* a 16th further each: 64 bits of time have no more than about 730 such steps */
        return 0;
    }
    size_t capacity = t->capacity ? t->capacity * 2 : FIRST_CAPACITY;
    struct timeline_run *runs = mem_zero(t->alloc, capacity, sizeof(*runs));
    if (!runs) return -1;
    for (size_t i = 0; i < t->count; i++) runs[i] = *run_at(t, i);
    mem_free(t->alloc, t->runs);
    t->runs = runs;
    t->capacity = capacity;
    t->head = 0;
    return 0;
}

void timeline_append(struct timeline *t, uint64_t number, uint64_t time) {
    if (make_room(t, time) < 0) return;
    *run_at(t, t->count++) = (struct timeline_run){ number, time };
    t->newest = time;
}

/* How many runs begin at or below `number`. */
static size_t count_up_to(const struct timeline *t, uint64_t number) {
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (run_at(t, middle)->first <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t timeline_find(const struct timeline *t, uint64_t number) {
    size_t count = count_up_to(t, number);
    return count ? run_at(t, count - 1)->time : 0;
}

uint64_t timeline_find_next(const struct timeline *t, uint64_t number) {
    size_t count = count_up_to(t, number);
    return count < t->count ? run_at(t, count)->first : UINT64_MAX;
}

void timeline_drop(struct timeline *t, uint64_t below) {
    while (timeline_is_behind_first(t, below)) {
        t->head = (t->head + 1) & (t->capacity - 1);
        t->count--;
    }
}
