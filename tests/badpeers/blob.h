/* A growing run of bytes. Memory that runs out ends the program: it is the test's own. */
#ifndef BADPEERS_BLOB_H
#define BADPEERS_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct blob {
    uint8_t *data;
    size_t size, room;
};

static inline uint8_t *blob_grow(struct blob *blob, size_t size) {
    if (blob->size + size > blob->room) {
        blob->room = 2 * (blob->size + size);
        blob->data = realloc(blob->data, blob->room);
        if (!blob->data) abort();
    }
    blob->size += size;
    return blob->data + blob->size - size;
}

static inline void blob_add(struct blob *blob, const void *data, size_t size) {
    if (size) memcpy(blob_grow(blob, size), data, size);
}

static inline void blob_drop(struct blob *blob, size_t size) {
    blob->size -= size;
    if (blob->size) memmove(blob->data, blob->data + size, blob->size);
}

static inline void blob_free(struct blob *blob) {
    free(blob->data);
    *blob = (struct blob){ 0 };
}

/* Whether the bytes stand in it. */
static inline bool blob_has(const struct blob *blob, const void *bytes, size_t size) {
    for (size_t i = 0; i + size <= blob->size; i++)
        if (memcmp(blob->data + i, bytes, size) == 0) return true;
    return false;
}

#endif
