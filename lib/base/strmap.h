/* Strings to objects, intrusive and chained: consumers by tag. */
#ifndef LAGO_BASE_STRMAP_H
#define LAGO_BASE_STRMAP_H

#include <lago/context.h>
#include <stddef.h>
#include <stdint.h>

/* Lives in its owner; `key` points into the owner as well. */
struct strmap_node {
    struct strmap_node *next;
    const char *key;
    size_t size;
    uint32_t hash;
};

struct strmap {
    const lago_allocator_t *alloc;
    struct strmap_node **buckets; /* capacity is a power of two, NULL before the first entry */
    size_t capacity, count;
    size_t first; /* buckets below this are empty */
};

void strmap_init(struct strmap *map, const lago_allocator_t *alloc);
void strmap_clear(struct strmap *map); /* forgets all nodes */

/* Insert; the key must not be there. 0 or LAGO_ENOMEM. */
int strmap_add(struct strmap *map, struct strmap_node *node, const char *key, size_t size);
struct strmap_node *strmap_find(const struct strmap *map, const char *key, size_t size);
void strmap_remove(struct strmap *map, struct strmap_node *node);

/* Any node, or NULL: for emptying a map, in linear time altogether. */
struct strmap_node *strmap_any(struct strmap *map);

/* Walk through a map that does not change meanwhile, in no order: NULL begins, and ends. */
struct strmap_node *strmap_next(const struct strmap *map, const struct strmap_node *node);

#endif
