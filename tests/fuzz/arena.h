/*
 * The allocator of the targets: a few nanoseconds a call where a sanitizer's own takes a hundred, and as strict: red zones around
 * every block, what was freed stays poisoned until the run is over. Counts what lives, and fails when told.
 */
#ifndef FUZZ_ARENA_H
#define FUZZ_ARENA_H

#include <lago/context.h>
#include <stddef.h>

struct arena {
    lago_allocator_t allocator; /* `data` points back here, so the struct must not move */
    size_t live_count, live_bytes, peak_bytes;
    size_t calls;
    size_t fail_at;    /* fail this call, counted from 1; 0: none */
    size_t fail_every; /* and each so many after it; 0: none */
    unsigned char *room;
    size_t used;
};

/* Once per program. */
void arena_init(struct arena *a);

/* Nothing lives: begin anew. Aborts if something does. */
void arena_reset(struct arena *a);

/* The same, after a run whose rest is of no interest. */
void arena_drop(struct arena *a);

#endif
