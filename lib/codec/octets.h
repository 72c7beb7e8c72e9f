/* Numbers in network order, to and from memory that need not be aligned: one instruction each where the compiler can. */
#ifndef LAGO_CODEC_OCTETS_H
#define LAGO_CODEC_OCTETS_H

#include <lago/types.h>
#include <stdint.h>
#include <string.h>

#if defined __BYTE_ORDER__ && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define TO_NETWORK_16(v) (v)
#define TO_NETWORK_32(v) (v)
#define TO_NETWORK_64(v) (v)
#else
#define TO_NETWORK_16(v) __builtin_bswap16(v)
#define TO_NETWORK_32(v) __builtin_bswap32(v)
#define TO_NETWORK_64(v) __builtin_bswap64(v)
#endif

static inline uint8_t *put_u8(uint8_t *out, uint8_t v) {
    *out = v;
    return out + 1;
}

static inline uint8_t *put_u16(uint8_t *out, uint16_t v) {
    v = TO_NETWORK_16(v);
    memcpy(out, &v, sizeof v);
    return out + sizeof v;
}

static inline uint8_t *put_u32(uint8_t *out, uint32_t v) {
    v = TO_NETWORK_32(v);
    memcpy(out, &v, sizeof v);
    return out + sizeof v;
}

static inline uint8_t *put_u64(uint8_t *out, uint64_t v) {
    v = TO_NETWORK_64(v);
    memcpy(out, &v, sizeof v);
    return out + sizeof v;
}

static inline uint16_t get_u16(const uint8_t *in) {
    uint16_t v;
    memcpy(&v, in, sizeof v);
    return TO_NETWORK_16(v);
}

static inline uint32_t get_u32(const uint8_t *in) {
    uint32_t v;
    memcpy(&v, in, sizeof v);
    return TO_NETWORK_32(v);
}

static inline uint64_t get_u64(const uint8_t *in) {
    uint64_t v;
    memcpy(&v, in, sizeof v);
    return TO_NETWORK_64(v);
}

/*
 * Up to 255 octets, which is what short strings have: two moves that may overlap, for most of them. gcc 12 turns a memcpy of so few
 * into `rep movsb`, which starts slowly, and a call of memcpy costs as much as most names are long.
 */
static inline uint8_t *put_short(uint8_t *out, const void *data, size_t size) {
    const uint8_t *from = (const uint8_t *)data;
    if (size >= 16) {
        for (size_t at = 0; at + 16 < size; at += 16) memcpy(out + at, from + at, 16);
        memcpy(out + size - 16, from + size - 16, 16);
    } else if (size >= 8) {
        memcpy(out, from, 8);
        memcpy(out + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        memcpy(out, from, 4);
        memcpy(out + size - 4, from + size - 4, 4);
    } else if (size > 0) {
        out[0] = from[0];
        out[size / 2] = from[size / 2];
        out[size - 1] = from[size - 1];
    }
    return out + size;
}

/* A short string; LAGO_NUL_TERMINATED says strlen. Of one that is too long some octets are put: `*longest` tells. */
static inline uint8_t *put_string(uint8_t *out, const char *data, size_t size, size_t *longest) {
    if (size == LAGO_NUL_TERMINATED) size = data ? strlen(data) : 0;
    *longest |= size;
    size &= UINT8_MAX;
    *out = (uint8_t)size;
    return put_short(out + 1, data, size);
}

#endif
