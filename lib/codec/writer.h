/*
 * The bounded writer. It counts what it would need even when there is no room, so one walk with a NULL buffer measures and a
 * second one writes. The first error sticks; nothing is ever written past the end. No room is LAGO_ETOOBIG.
 */
#ifndef LAGO_CODEC_WRITER_H
#define LAGO_CODEC_WRITER_H

#include <lago/error.h>
#include <lago/types.h>
#include <stdint.h>

struct writer {
    uint8_t *data; /* NULL: only measure */
    size_t capacity;
    size_t size; /* bytes written, or needed */
    int error;   /* 0, LAGO_ETOOLONG, LAGO_ETOOBIG, LAGO_EINVAL, LAGO_ETYPE, LAGO_EDEPTH ... */
};

struct writer writer_over(void *data, size_t capacity);
struct writer writer_measure(void);

/* Make `error` the writer's, unless it has one. */
void writer_fail(struct writer *w, int error);

/* Count `size` octets. @return where to put them, NULL when there is nothing to put: measuring, no room, or an error before. */
uint8_t *writer_claim(struct writer *w, size_t size);

void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_bytes(struct writer *w, const void *data, size_t size);

/* `size` may be LAGO_NUL_TERMINATED; NULL data is an empty string. Above 255 bytes: LAGO_ETOOLONG. */
void writer_shortstr(struct writer *w, lago_string_t s);
void writer_longstr(struct writer *w, lago_bytes_t b);

/* Overwrite four octets written before, at `offset`: the size of a table. */
void writer_patch_u32(struct writer *w, size_t offset, uint32_t v);

#endif
