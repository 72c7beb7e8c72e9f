/*
 * Chance that can be repeated: a case's numbers follow from the run's seed and the case's index alone. Leans to the edges, where
 * codecs break: 0, 1, the largest and smallest of a type, strings of 0 and 255 octets, NULs. Knows nothing of AMQP.
 */
#ifndef DIFFERENTIAL_RANDOM_H
#define DIFFERENTIAL_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_SIZE (1u << 20) /* one case's values: some hundred strings of a few KiB */

struct random {
    uint64_t state;
    uint8_t *arena; /* ARENA_SIZE bytes, given back when the next case begins */
    size_t used;
};

void random_init(struct random *r);
void random_free(struct random *r);

/* Begin a case: other numbers for each index, and an empty arena. */
void random_begin(struct random *r, uint64_t seed, uint64_t index);

uint64_t random_u64(struct random *r);
size_t random_below(struct random *r, size_t limit); /* 0 when limit is 0 */
bool random_chance(struct random *r, unsigned one_in);

/* `bits` wide (8 to 64), often at the edges of what a signed or an unsigned type of that width holds. */
uint64_t random_number(struct random *r, unsigned bits);

/* Zeroed memory that lives until the next case. NULL when the arena is full, or for nothing. */
void *random_alloc(struct random *r, size_t count, size_t size);

/* Octets of any kind with a NUL behind them; *size is 0 when the arena is full. */
char *random_octets(struct random *r, size_t max, size_t *size);

#endif
