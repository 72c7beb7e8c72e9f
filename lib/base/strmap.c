/* A chained hash table over nodes that live elsewhere. It allocates only its buckets, and does not know what the keys are. */
#include "strmap.h"

#include "alloc.h"
#include <lago/error.h>
#include <string.h>

#define BUCKETS_MIN ((size_t)8)

void strmap_init(struct strmap *map, const lago_allocator_t *alloc) { *map = (struct strmap){ .alloc = alloc }; }

void strmap_clear(struct strmap *map) {
    mem_free(map->alloc, map->buckets);
    strmap_init(map, map->alloc);
}

/* FNV-1a. */
static uint32_t hash_of(const char *key, size_t size) {
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)key[i]) * 16777619U;
    return hash;
}

static void link_node(struct strmap *map, struct strmap_node *node) {
    size_t i = node->hash & (map->capacity - 1);
    node->next = map->buckets[i];
    map->buckets[i] = node;
    if (i < map->first) map->first = i;
}

static int grow(struct strmap *map) {
    struct strmap_node **old = map->buckets;
    size_t old_capacity = map->capacity;
    size_t capacity = old_capacity == 0 ? BUCKETS_MIN : old_capacity * 2;
    struct strmap_node **buckets = mem_zero(map->alloc, capacity, sizeof(struct strmap_node *));
    if (buckets == NULL) return LAGO_ENOMEM;
    map->buckets = buckets;
    map->capacity = capacity;
    map->first = 0;
    for (size_t i = 0; i < old_capacity; i++) {
        for (struct strmap_node *node = old[i], *next; node != NULL; node = next) {
            next = node->next;
            link_node(map, node);
        }
    }
    mem_free(map->alloc, old);
    return 0;
}

int strmap_add(struct strmap *map, struct strmap_node *node, const char *key, size_t size) {
    /* A table that cannot grow gets longer chains; only without a table is there no place. */
    if (map->count >= map->capacity && grow(map) < 0 && map->capacity == 0) return LAGO_ENOMEM;
    *node = (struct strmap_node){ .key = key, .size = size, .hash = hash_of(key, size) };
    link_node(map, node);
    map->count++;
    return 0;
}

struct strmap_node *strmap_find(const struct strmap *map, const char *key, size_t size) {
    if (map->count == 0) return NULL;
    uint32_t hash = hash_of(key, size);
    struct strmap_node *node = map->buckets[hash & (map->capacity - 1)];
    for (; node != NULL; node = node->next) {
        if (node->hash == hash && node->size == size && (size == 0 || memcmp(node->key, key, size) == 0)) return node;
    }
    return NULL;
}

void strmap_remove(struct strmap *map, struct strmap_node *node) {
    if (map->count == 0) return;
    struct strmap_node **place = &map->buckets[node->hash & (map->capacity - 1)];
    while (*place != NULL && *place != node) place = &(*place)->next;
    if (*place == NULL) return;
    *place = node->next;
    node->next = NULL;
    map->count--;
}

struct strmap_node *strmap_any(struct strmap *map) {
    if (map->count == 0) return NULL;
    while (map->buckets[map->first] == NULL) map->first++;
    return map->buckets[map->first];
}

struct strmap_node *strmap_next(const struct strmap *map, const struct strmap_node *node) {
    size_t bucket = node ? (node->hash & (map->capacity - 1)) + 1 : 0;
    if (node && node->next) return node->next;
    for (; bucket < map->capacity; bucket++)
        if (map->buckets[bucket]) return map->buckets[bucket];
    return NULL;
}
