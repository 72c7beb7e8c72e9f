/* An array indexed by number. It does not know what the numbers or the pointers are. */
#include "idmap.h"

#include "alloc.h"
#include <lago/error.h>
#include <string.h>

/* Most connections have one channel, or a handful. */
#define SLOTS_MIN 4

/* Slot 0 is never used, so that a number is its index. Doubled again and again, a capacity is once just enough for all. */
_Static_assert(((uint32_t)UINT16_MAX + 1) % SLOTS_MIN == 0, "a power of two");

void idmap_init(struct idmap *map, const lago_allocator_t *alloc) { *map = (struct idmap){ .alloc = alloc, .lowest = 1 }; }

void idmap_clear(struct idmap *map) {
    mem_free(map->alloc, map->slots);
    idmap_init(map, map->alloc);
}

static int grow(struct idmap *map) {
    uint32_t capacity = map->capacity == 0 ? SLOTS_MIN : map->capacity * 2;
    void **slots = mem_resize(map->alloc, map->slots, capacity, sizeof(*slots));
    if (slots == NULL) return LAGO_ENOMEM;
    memset(slots + map->capacity, 0, (capacity - map->capacity) * sizeof(*slots));
    map->slots = slots;
    map->capacity = capacity;
    return 0;
}

int idmap_add(struct idmap *map, uint16_t max, void *value) {
    uint32_t id = map->lowest;
    while (id < map->capacity && map->slots[id] != NULL) id++;
    map->lowest = id;
    if (id > max) return LAGO_ENOCHANNEL;
    if (id >= map->capacity && grow(map) < 0) return LAGO_ENOMEM;
    map->slots[id] = value;
    map->lowest = id + 1;
    map->count++;
    return (int)id;
}

void idmap_remove(struct idmap *map, uint16_t id) {
    if (idmap_get(map, id) == NULL) return;
    map->slots[id] = NULL;
    map->count--;
    if (id < map->lowest) map->lowest = id;
}

uint16_t idmap_next(const struct idmap *map, uint16_t id) {
    for (uint32_t next = (uint32_t)id + 1; next < map->capacity; next++) {
        if (map->slots[next] != NULL) return (uint16_t)next;
    }
    return 0;
}
