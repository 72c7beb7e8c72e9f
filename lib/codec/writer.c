/* The bounded writer: octets in network order, with room checked in one place. Knows nothing of methods or tables. */
#include "writer.h"
#include "octets.h"
#include <string.h>

#define SHORTSTR_MAX 255u /* its length is one octet (4.2.5.3) */

struct writer writer_over(void *data, size_t capacity) {
    struct writer w = { data, capacity, 0, 0 };
    return w;
}

struct writer writer_measure(void) {
    return writer_over(NULL, 0);
}

void writer_fail(struct writer *w, int error) {
    if (w->error == 0) w->error = error;
}

uint8_t *writer_claim(struct writer *w, size_t size) {
    size_t at = w->size;
    if (size > SIZE_MAX - at) {
        w->size = SIZE_MAX;
        writer_fail(w, LAGO_ETOOBIG);
        return NULL;
    }
    w->size = at + size;
    if (w->data == NULL || w->error != 0) return NULL;
    if (w->size > w->capacity) {
        writer_fail(w, LAGO_ETOOBIG);
        return NULL;
    }
    return w->data + at;
}

void writer_u8(struct writer *w, uint8_t v) {
    uint8_t *p = writer_claim(w, 1);
    if (p != NULL) p[0] = v;
}

void writer_u16(struct writer *w, uint16_t v) {
    uint8_t *p = writer_claim(w, 2);
    if (p != NULL) put_u16(p, v);
}

void writer_u32(struct writer *w, uint32_t v) {
    uint8_t *p = writer_claim(w, 4);
    if (p != NULL) put_u32(p, v);
}

void writer_u64(struct writer *w, uint64_t v) {
    uint8_t *p = writer_claim(w, 8);
    if (p != NULL) put_u64(p, v);
}

/*
 * Kept out of line: gcc 12 turns a memcpy that it knows to be at most 255 bytes into `rep movsb`, which starts so slowly that
 * encoding takes five times as long.
 */
__attribute__((noinline)) static void copy(uint8_t *to, const void *from, size_t size) { memcpy(to, from, size); }

void writer_bytes(struct writer *w, const void *data, size_t size) {
    if (size == 0) return;
    uint8_t *p = writer_claim(w, size);
    if (p != NULL) copy(p, data, size);
}

static size_t size_of(const void *data, size_t size) {
    if (data == NULL) return 0;
    return size == LAGO_NUL_TERMINATED ? strlen(data) : size;
}

void writer_shortstr(struct writer *w, lago_string_t s) {
    size_t size = size_of(s.data, s.size);
    if (size > SHORTSTR_MAX) {
        writer_fail(w, LAGO_ETOOLONG);
        return;
    }
    writer_u8(w, (uint8_t)size);
    writer_bytes(w, s.data, size);
}

void writer_longstr(struct writer *w, lago_bytes_t b) {
    size_t size = size_of(b.data, b.size);
    if (size > UINT32_MAX) {
        writer_fail(w, LAGO_ETOOBIG);
        return;
    }
    writer_u32(w, (uint32_t)size);
    writer_bytes(w, b.data, size);
}

void writer_patch_u32(struct writer *w, size_t offset, uint32_t v) {
    if (w->data == NULL || w->error != 0) return;
    if (w->size < 4 || offset > w->size - 4) {
        writer_fail(w, LAGO_EINVAL);
        return;
    }
    put_u32(w->data + offset, v);
}
