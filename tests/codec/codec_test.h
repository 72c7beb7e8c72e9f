/* What the codec's tests share: cmocka with the headers it wants, random numbers from a fixed seed, bytes compared. */
#ifndef LAGO_TESTS_CODEC_TEST_H
#define LAGO_TESTS_CODEC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "writer.h"

/* xorshift: the same numbers on every machine. */
struct dice {
    uint64_t state; /* not 0 */
};

static inline uint64_t dice_roll(struct dice *d) {
    d->state ^= d->state << 13;
    d->state ^= d->state >> 7;
    d->state ^= d->state << 17;
    return d->state;
}

/* 0 to limit - 1. */
static inline size_t dice_below(struct dice *d, size_t limit) { return (size_t)(dice_roll(d) % limit); }

static inline void dice_fill(struct dice *d, void *data, size_t size) {
    for (size_t i = 0; i < size; i++) ((uint8_t *)data)[i] = (uint8_t)dice_roll(d);
}

/* Bytes of a string literal, embedded NULs included. */
#define BYTES(literal) (literal), sizeof(literal) - 1

#define STRING(literal) ((lago_string_t){ BYTES(literal) })

static inline void assert_written(const struct writer *w, const void *expected, size_t size) {
    assert_int_equal(w->error, 0);
    assert_int_equal(w->size, size);
    if (size > 0) assert_memory_equal(w->data, expected, size);
}

static inline void assert_string_is(lago_string_t s, const char *expected, size_t size) {
    assert_int_equal(s.size, size);
    if (size > 0) assert_memory_equal(s.data, expected, size);
}

/* A copy on the heap of exactly that size, so that the sanitizer sees a read behind its end. */
static inline uint8_t *exact_copy(const void *data, size_t size) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, data, size);
    return copy;
}

#endif
