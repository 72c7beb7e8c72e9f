/* Repeatable chance, and an arena for what is made of it. */
#include "random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16u

void random_init(struct random *r) {
    *r = (struct random){ 0, malloc(ARENA_SIZE), 0 };
    if (r->arena != NULL) return;
    fputs("no memory\n", stderr);
    exit(2);
}

void random_free(struct random *r) { free(r->arena); }

/* splitmix64 (public domain, Sebastiano Vigna): any state will do, neighbours give unrelated numbers. */
uint64_t random_u64(struct random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void random_begin(struct random *r, uint64_t seed, uint64_t index) {
    r->state = seed;
    r->state = random_u64(r) ^ index;
    r->used = 0;
}

size_t random_below(struct random *r, size_t limit) { return limit == 0 ? 0 : (size_t)(random_u64(r) % limit); }

bool random_chance(struct random *r, unsigned one_in) { return random_below(r, one_in) == 0; }

uint64_t random_number(struct random *r, unsigned bits) {
    uint64_t mask = UINT64_MAX >> (64 - bits), top = (uint64_t)1 << (bits - 1);
    switch (random_below(r, 10)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return mask;    /* the largest unsigned, or -1 */
    case 3: return top;     /* the smallest signed */
    case 4: return top - 1; /* the largest signed */
    case 5: return mask - 1;
    case 6: return random_u64(r) & 0x7f;
    default: return random_u64(r) & mask;
    }
}

void *random_alloc(struct random *r, size_t count, size_t size) {
    size_t want = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (want == 0 || want > ARENA_SIZE - r->used) return NULL;
    void *p = r->arena + r->used;
    r->used += want;
    return memset(p, 0, want);
}

static size_t length_of(struct random *r, size_t max) {
    switch (random_below(r, 8)) {
    case 0: return 0;
    case 1: return max > 255 ? (random_chance(r, 16) ? max : 256) : max;
    case 2: return random_below(r, max + 1 < 64 ? max + 1 : 64);
    default: return random_below(r, max + 1 < 12 ? max + 1 : 12);
    }
}

static void fill(struct random *r, uint8_t *octets, size_t size) {
    bool letters = !random_chance(r, 4);
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++, v >>= 8) {
        if (i % 8 == 0) v = random_u64(r);
        octets[i] = letters ? (uint8_t)('a' + v % 16) : (uint8_t)v;
    }
    if (size > 0 && random_chance(r, 8)) octets[random_below(r, size)] = 0;
    if (size > 1 && random_chance(r, 8)) memcpy(octets + random_below(r, size - 1), "\xc3\xa4", 2); /* UTF-8 */
}

char *random_octets(struct random *r, size_t max, size_t *size) {
    *size = length_of(r, max);
    char *octets = random_alloc(r, *size + 1, 1);
    if (octets == NULL) {
        *size = 0;
        return NULL;
    }
    fill(r, (uint8_t *)octets, *size);
    return octets;
}
