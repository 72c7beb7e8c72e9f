/* Memory through the caller's allocator. Sizes are checked here, so that no other room multiplies before it allocates. */
#ifndef LAGO_BASE_ALLOC_H
#define LAGO_BASE_ALLOC_H

#include <lago/context.h>
#include <stddef.h>

/* malloc and free, for callers without an allocator of their own. Constant: no mutable state. */
extern const lago_allocator_t mem_default;

/* Uninitialised memory; NULL when there is none, or when `size` is 0. */
void *mem_alloc(const lago_allocator_t *alloc, size_t size);

/* Zeroed memory for `count` elements; NULL also when the product overflows. */
void *mem_zero(const lago_allocator_t *alloc, size_t count, size_t size);

/* Resize to `count` elements; on NULL the old memory is untouched. `pointer` may be NULL. */
void *mem_resize(const lago_allocator_t *alloc, void *pointer, size_t count, size_t size);

/* NULL is allowed. */
void mem_free(const lago_allocator_t *alloc, void *pointer);

/* A copy of `size` bytes with a NUL behind them. */
char *mem_copy(const lago_allocator_t *alloc, const char *data, size_t size);

/* Overwrite a secret; the compiler cannot remove it. */
void mem_wipe(void *data, size_t size);

#endif
