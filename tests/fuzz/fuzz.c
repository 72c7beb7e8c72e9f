/* See fuzz.h. */
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define FUZZ_ASAN
#endif
#endif
#if defined __SANITIZE_ADDRESS__ && !defined FUZZ_ASAN
#define FUZZ_ASAN
#endif

#ifdef FUZZ_ASAN
#include <sanitizer/asan_interface.h>
#endif

uint64_t fuzz_reached;

void fuzz_broken(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: BROKEN ORACLE: %s\n", file, line, what);
    abort();
}

void fuzz_poison(const void *data, size_t size) {
#ifdef FUZZ_ASAN
    __asan_poison_memory_region(data, size);
#endif
    (void)data;
    (void)size;
}

void fuzz_unpoison(void *data, size_t size) {
#ifdef FUZZ_ASAN
    __asan_unpoison_memory_region(data, size);
#endif
    (void)data;
    (void)size;
}
