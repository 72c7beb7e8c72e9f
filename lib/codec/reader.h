/*
 * The bounded reader: the only arithmetic on lengths that a peer sent. It compares with what remains and never adds, so no
 * size can wrap. After the first failure every read returns 0 or empty, and `failed` stays set: check once at the end.
 */
#ifndef LAGO_CODEC_READER_H
#define LAGO_CODEC_READER_H

#include "octets.h"
#include <lago/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static inline struct reader reader_over(const void *data, size_t size) {
    struct reader r = { (const uint8_t *)data, (const uint8_t *)data + size, false };
    return r;
}

static inline size_t reader_left(const struct reader *r) { return (size_t)(r->end - r->at); }

/* The next `size` bytes, or NULL and failed. */
static inline const uint8_t *reader_take(struct reader *r, size_t size) {
    if (r->failed || size > reader_left(r)) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += size;
    return p;
}

static inline uint8_t reader_u8(struct reader *r) {
    const uint8_t *p = reader_take(r, 1);
    return p ? p[0] : 0;
}

static inline uint16_t reader_u16(struct reader *r) {
    const uint8_t *p = reader_take(r, 2);
    return p ? get_u16(p) : 0;
}

static inline uint32_t reader_u32(struct reader *r) {
    const uint8_t *p = reader_take(r, 4);
    return p ? get_u32(p) : 0;
}

static inline uint64_t reader_u64(struct reader *r) {
    const uint8_t *p = reader_take(r, 8);
    return p ? get_u64(p) : 0;
}

/* One octet of length, then that many bytes. */
static inline lago_string_t reader_shortstr(struct reader *r) {
    size_t size = reader_u8(r);
    const uint8_t *p = reader_take(r, size);
    lago_string_t s = { (const char *)p, p ? size : 0 };
    return s;
}

/* Four octets of length, then that many bytes. */
static inline lago_bytes_t reader_longstr(struct reader *r) {
    size_t size = reader_u32(r);
    const uint8_t *p = reader_take(r, size);
    lago_bytes_t b = { p, p ? size : 0 };
    return b;
}

#endif
