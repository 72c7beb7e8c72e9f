/* Small numbers to pointers, with the lowest free number at hand: channels. Number 0 is never used. */
#ifndef LAGO_BASE_IDMAP_H
#define LAGO_BASE_IDMAP_H

#include <lago/context.h>
#include <stdint.h>

struct idmap {
    const lago_allocator_t *alloc;
    void **slots;      /* grows with the highest number in use */
    uint32_t capacity; /* slots */
    uint32_t lowest;   /* no number below this is free */
    uint32_t count;
};

void idmap_init(struct idmap *map, const lago_allocator_t *alloc);
void idmap_clear(struct idmap *map); /* forgets all; what the pointers point to is not touched */

/* Put `value` (not NULL) at the lowest free number. @return the number, LAGO_ENOCHANNEL above `max`, or LAGO_ENOMEM. */
int idmap_add(struct idmap *map, uint16_t max, void *value);

/* NULL when the number is not in use. */
static inline void *idmap_get(const struct idmap *map, uint16_t id) { return id < map->capacity ? map->slots[id] : NULL; }
void idmap_remove(struct idmap *map, uint16_t id);

/* The next number in use above `id` (start with 0), or 0. */
uint16_t idmap_next(const struct idmap *map, uint16_t id);

#endif
