/* A header in front of each block holds its size. Every realloc moves, so that a kept pointer shows under a sanitizer. */
#include "fail_alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC_LIVE  UINT64_C(0x6c61676f6c697665)
#define MAGIC_FREED UINT64_C(0x6c61676f66726565)

enum { FILL_NEW = 0xa5, FILL_FREED = 0x5a };

union header {
    struct {
        size_t size;
        uint64_t magic;
    } block;
    max_align_t align;
};

static union header *header_of(void *pointer) {
    union header *header = (union header *)pointer - 1;
    if (header->block.magic != MAGIC_LIVE) {
        fprintf(stderr, "fail_alloc: not a live block of this allocator\n");
        abort();
    }
    return header;
}

static bool is_failure(const struct fail_alloc *fail) {
    if (fail->fail_at == 0 || fail->calls < fail->fail_at) return false;
    size_t after = fail->calls - fail->fail_at;
    return after == 0 || fail->fail_from_then_on || (fail->fail_every_second && after % 2 == 0);
}

static bool must_fail(struct fail_alloc *fail) {
    fail->calls++;
    bool fails = is_failure(fail);
    fail->failures += fails;
    return fails;
}

static void raise_peak(size_t *peak, size_t bytes) {
    if (bytes > *peak) *peak = bytes;
}

static void *new_block(struct fail_alloc *fail, size_t size) {
    if (size > SIZE_MAX - sizeof(union header)) return NULL;
    union header *header = malloc(sizeof(*header) + size);
    if (header == NULL) return NULL;
    header->block.size = size;
    header->block.magic = MAGIC_LIVE;
    memset(header + 1, FILL_NEW, size);
    fail->live_bytes += size;
    fail->live_count++;
    return header + 1;
}

static void free_block(struct fail_alloc *fail, void *pointer) {
    union header *header = header_of(pointer);
    fail->live_bytes -= header->block.size;
    fail->live_count--;
    memset(pointer, FILL_FREED, header->block.size);
    header->block.magic = MAGIC_FREED;
    free(header);
}

static void *fail_malloc(size_t size, void *data) {
    struct fail_alloc *fail = data;
    if (must_fail(fail)) return NULL;
    void *pointer = new_block(fail, size);
    raise_peak(&fail->peak_bytes, fail->live_bytes);
    raise_peak(&fail->peak_both_bytes, fail->live_bytes);
    return pointer;
}

static void *fail_realloc(void *old, size_t size, void *data) {
    if (old == NULL) return fail_malloc(size, data);
    struct fail_alloc *fail = data;
    if (must_fail(fail)) return NULL;
    size_t old_size = header_of(old)->block.size;
    void *pointer = new_block(fail, size);
    if (pointer == NULL) return NULL;
    raise_peak(&fail->peak_both_bytes, fail->live_bytes);
    memcpy(pointer, old, old_size < size ? old_size : size);
    free_block(fail, old);
    raise_peak(&fail->peak_bytes, fail->live_bytes);
    return pointer;
}

static void fail_free(void *pointer, void *data) { free_block(data, pointer); }

void fail_alloc_init(struct fail_alloc *fail) {
    *fail = (struct fail_alloc){ 0 };
    fail->allocator = (lago_allocator_t){ .malloc = fail_malloc, .realloc = fail_realloc, .free = fail_free, .data = fail };
}

void fail_alloc_at(struct fail_alloc *fail, size_t n, bool from_then_on) {
    fail_alloc_mode(fail, n, from_then_on ? FAIL_FROM_THEN_ON : FAIL_ONCE);
}

void fail_alloc_mode(struct fail_alloc *fail, size_t n, enum fail_mode mode) {
    fail->calls = fail->failures = 0;
    fail->fail_at = n;
    fail->fail_from_then_on = mode == FAIL_FROM_THEN_ON;
    fail->fail_every_second = mode == FAIL_EVERY_SECOND;
}

const char *fail_mode_name(enum fail_mode mode) {
    static const char *const names[FAIL_MODES] = { "once", "from then on", "every second" };
    return names[mode];
}
