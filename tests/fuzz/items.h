/*
 * Inputs of fuzz_session: a head of octets, then items: an octet of what, a size of two octets, bytes. Short of that: the rest is one.
 */
#ifndef FUZZ_ITEMS_H
#define FUZZ_ITEMS_H

#include <stddef.h>
#include <stdint.h>

#define ITEM_HEAD 16u /* flags, seed of the cuts, what fails in memory, a spare one, twelve acts */
#define ITEM_SIZE 3u  /* before its bytes */

enum item_what {
    ITEM_SAYS,   /* the broker: these bytes, frames mostly */
    ITEM_TIME,   /* milliseconds, of two octets */
    ITEM_WRITES, /* the system takes so many bytes, of two octets */
    ITEM_ACTS,   /* the client does these, an octet each */
    ITEM_KINDS
};

struct item {
    enum item_what what;
    const uint8_t *bytes;
    size_t size;
};

/* The next one; false at the end. */
static inline int item_next(const uint8_t **at, size_t *left, struct item *item) {
    if (*left < ITEM_SIZE) return 0;
    item->what = (enum item_what)((*at)[0] % ITEM_KINDS);
    item->size = (size_t)(*at)[1] << 8 | (*at)[2];
    *at += ITEM_SIZE;
    *left -= ITEM_SIZE;
    if (item->size > *left) item->size = *left;
    item->bytes = *at;
    *at += item->size;
    *left -= item->size;
    return 1;
}

#endif
