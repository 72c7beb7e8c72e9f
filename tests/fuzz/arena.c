/* See arena.h. */
#include "arena.h"
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_SIZE ((size_t)64 << 20) /* of address space: what one run allocates in all, freed or not; more goes to malloc */
#define ZONE_SIZE 16u                /* before and behind a block; the one before it holds its size */
#define FILL_SIZE 512u /* what of a new block is filled, so that who reads it before writing does so every time alike */

static bool fails(struct arena *a) {
    a->calls++;
    if (a->fail_at == 0 || a->calls < a->fail_at) return false;
    return a->calls == a->fail_at || (a->fail_every && (a->calls - a->fail_at) % a->fail_every == 0);
}

static size_t rounded(size_t size) { return (size + ZONE_SIZE - 1) & ~(size_t)(ZONE_SIZE - 1); }

static bool is_inside(const struct arena *a, const void *block) {
    const unsigned char *at = block;
    return at >= a->room && at < a->room + ROOM_SIZE;
}

static size_t *size_of(void *block) { return (size_t *)(void *)((unsigned char *)block - ZONE_SIZE); }

static void *take(struct arena *a, size_t size) {
    if (size > SIZE_MAX - 3 * ZONE_SIZE) return NULL; /* nobody has so much, and the zones would make little of it */
    size_t whole = rounded(size) + 2 * ZONE_SIZE;
    unsigned char *block;
    if (whole > ROOM_SIZE - a->used) {
        block = malloc(whole);
        if (!block) return NULL; /* lago may ask for more than there is */
        block += ZONE_SIZE;
    } else {
        block = a->room + a->used + ZONE_SIZE;
        a->used += whole - ZONE_SIZE;
    }
    fuzz_unpoison(block - ZONE_SIZE, sizeof(size_t));
    *size_of(block) = size;
    fuzz_poison(block - ZONE_SIZE, ZONE_SIZE);
    fuzz_unpoison(block, size);
    memset(block, 0xa5, size < FILL_SIZE ? size : FILL_SIZE);
    a->live_count++;
    a->live_bytes += size;
    if (a->live_bytes > a->peak_bytes) a->peak_bytes = a->live_bytes;
    return block;
}

static size_t known_size(void *block) {
    fuzz_unpoison((unsigned char *)block - ZONE_SIZE, sizeof(size_t));
    size_t size = *size_of(block);
    fuzz_poison((unsigned char *)block - ZONE_SIZE, ZONE_SIZE);
    return size;
}

static void give(struct arena *a, void *block) {
    size_t size = known_size(block);
    REQUIRE(a->live_count > 0 && a->live_bytes >= size);
    a->live_count--;
    a->live_bytes -= size;
    if (is_inside(a, block)) {
        fuzz_poison(block, size);
    } else {
        fuzz_unpoison((unsigned char *)block - ZONE_SIZE, ZONE_SIZE);
        free((unsigned char *)block - ZONE_SIZE);
    }
}

static void *arena_malloc(size_t size, void *data) {
    struct arena *a = data;
    return fails(a) ? NULL : take(a, size);
}

static void *arena_realloc(void *pointer, size_t size, void *data) {
    struct arena *a = data;
    if (fails(a)) return NULL;
    void *block = take(a, size);
    if (!pointer || !block) return block;
    size_t before = known_size(pointer);
    memcpy(block, pointer, before < size ? before : size);
    give(a, pointer);
    return block;
}

static void arena_free(void *pointer, void *data) { give(data, pointer); }

void arena_init(struct arena *a) {
    *a = (struct arena){ .allocator = { arena_malloc, arena_realloc, arena_free, a } };
    a->room = calloc(1, ROOM_SIZE); /* pages come when they are touched */
    if (!a->room) fuzz_broken(__FILE__, __LINE__, "no memory for the target itself");
    fuzz_poison(a->room, ROOM_SIZE);
}

void arena_drop(struct arena *a) {
    fuzz_poison(a->room, a->used);
    a->used = a->live_count = a->live_bytes = a->peak_bytes = a->calls = a->fail_at = a->fail_every = 0;
}

void arena_reset(struct arena *a) {
    if (a->live_count) fprintf(stderr, "%zu blocks of %zu bytes in all were not freed\n", a->live_count, a->live_bytes);
    REQUIRE(a->live_count == 0 && a->live_bytes == 0);
    arena_drop(a);
}
