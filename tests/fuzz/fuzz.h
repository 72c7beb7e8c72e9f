/*
 * What every target has: its entry (libFuzzer's), its milestones, a way to say that an oracle was hurt, and the reading of an input
 * as a row of decisions. Must not know what is tested.
 *
 * A target is one file, fuzz_<name>.c. The same object is linked with libFuzzer, with afl.c, or with replay.c, which needs nothing
 * but a compiler.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One execution. @return 0 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* States that count as deep, by number, at most 64; NULL behind the last. The checked-in corpus has to reach each of them. */
extern const char *const fuzz_milestones[];

/* Reached since the program began: one bit each. */
extern uint64_t fuzz_reached;
#define REACH(number) ((void)(fuzz_reached |= UINT64_C(1) << (number)))
#define REACH_IF(condition, number)                                                                                              \
    do {                                                                                                                         \
        if (condition) REACH(number);                                                                                            \
    } while (0)

/* An oracle. What hurts it ends the program, so that every engine sees it. */
_Noreturn void fuzz_broken(const char *file, int line, const char *what);
#define REQUIRE(condition)                                                                                                       \
    do {                                                                                                                         \
        if (!(condition)) fuzz_broken(__FILE__, __LINE__, #condition);                                                           \
    } while (0)

/* Bytes that must not be touched, if a sanitizer watches. */
void fuzz_poison(const void *data, size_t size);
void fuzz_unpoison(void *data, size_t size);

/* ---------------------------------------------------------------- the input as decisions: when it is used up, all are 0 */

struct decisions {
    const uint8_t *at;
    size_t left;
};

static inline uint8_t decide(struct decisions *d) {
    if (d->left == 0) return 0;
    d->left--;
    return *d->at++;
}

static inline uint32_t decide_u16(struct decisions *d) {
    uint32_t high = decide(d);
    return high << 8 | decide(d);
}

static inline uint32_t decide_u32(struct decisions *d) {
    uint32_t high = decide_u16(d);
    return high << 16 | decide_u16(d);
}

static inline uint64_t decide_u64(struct decisions *d) {
    uint64_t high = decide_u32(d);
    return high << 32 | decide_u32(d);
}

/* Up to `size` of the bytes that follow. */
static inline const uint8_t *decide_bytes(struct decisions *d, size_t *size) {
    const uint8_t *bytes = d->at;
    if (*size > d->left) *size = d->left;
    d->at += *size;
    d->left -= *size;
    return bytes;
}

#endif
