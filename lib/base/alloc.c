/*
 * Memory through the caller's allocator. The only room that multiplies sizes, and the only one that knows malloc; it keeps no
 * state and does not know what the memory is for.
 */
#include "alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *default_malloc(size_t size, void *data) {
    (void)data;
    return malloc(size);
}

static void *default_realloc(void *pointer, size_t size, void *data) {
    (void)data;
    return realloc(pointer, size);
}

static void default_free(void *pointer, void *data) {
    (void)data;
    free(pointer);
}

const lago_allocator_t mem_default = { .malloc = default_malloc, .realloc = default_realloc, .free = default_free };

/* 0 also for a product that overflows: neither can be allocated. */
static size_t total_size(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return 0;
    return count * size;
}

void *mem_alloc(const lago_allocator_t *alloc, size_t size) { return size == 0 ? NULL : alloc->malloc(size, alloc->data); }

void *mem_zero(const lago_allocator_t *alloc, size_t count, size_t size) {
    size_t total = total_size(count, size);
    void *memory = mem_alloc(alloc, total);
    if (memory != NULL) memset(memory, 0, total);
    return memory;
}

void *mem_resize(const lago_allocator_t *alloc, void *pointer, size_t count, size_t size) {
    size_t total = total_size(count, size);
    if (total == 0) return NULL;
    if (pointer == NULL) return alloc->malloc(total, alloc->data);
    return alloc->realloc(pointer, total, alloc->data);
}

void mem_free(const lago_allocator_t *alloc, void *pointer) {
    if (pointer != NULL) alloc->free(pointer, alloc->data);
}

char *mem_copy(const lago_allocator_t *alloc, const char *data, size_t size) {
    if (size == SIZE_MAX) return NULL;
    char *copy = mem_alloc(alloc, size + 1);
    if (copy == NULL) return NULL;
    if (size > 0) memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

void mem_wipe(void *data, size_t size) {
    if (size == 0) return;
    memset(data, 0, size);
    /* The compiler must believe that somebody reads `data` after this, so the store is not dead. */
    __asm__ volatile("" : : "r"(data) : "memory");
}
