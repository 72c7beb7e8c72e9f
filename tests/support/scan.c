/* A scan of /proc/self/mem. Must not know whose secrets they are. */
#include "scan.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MASK 0xa5u

/* Sanitizers and valgrind map terabytes for themselves, in which no byte of ours lies as it is. */
#define REGION_SIZE_MAX (UINT64_C(1) << 30)

#define WINDOW_SIZE ((size_t)1 << 16)

static void fail(const char *what) {
    perror(what);
    abort();
}

void needle_random(struct needle *needle, const char *name, size_t size) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    needle_begin(needle, name);
    for (size_t i = 0; i < size; i++) {
        uint8_t random = 0;
        if (fd < 0 || read(fd, &random, 1) != 1) fail("/dev/urandom");
        needle->masked[needle->size++] = (uint8_t)letters[random % 64] ^ MASK;
    }
    close(fd);
}

void needle_begin(struct needle *needle, const char *name) { *needle = (struct needle){ .name = name }; }

void needle_add(struct needle *needle, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    if (size > NEEDLE_MAX - needle->size) fail("needle");
    for (size_t i = 0; i < size; i++) needle->masked[needle->size++] = from[i] ^ MASK;
}

void needle_add_needle(struct needle *needle, const struct needle *part) {
    if (part->size > NEEDLE_MAX - needle->size) fail("needle");
    memcpy(needle->masked + needle->size, part->masked, part->size);
    needle->size += part->size;
}

void needle_base64(struct needle *needle, const char *name, const struct needle *of) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    needle_begin(needle, name);
    for (size_t bit = 0; bit + 6 <= of->size * 8; bit += 6) {
        unsigned first = of->masked[bit / 8] ^ MASK, second = bit / 8 + 1 < of->size ? of->masked[bit / 8 + 1] ^ MASK : 0;
        unsigned six = (first << 8 | second) >> (10 - bit % 8) & 63;
        needle_add(needle, &letters[six], 1);
    }
}

void needle_copy(const struct needle *needle, char *to, bool backwards) {
    for (size_t i = 0; i < needle->size; i++) to[backwards ? needle->size - 1 - i : i] = (char)(needle->masked[i] ^ MASK);
    to[needle->size] = '\0';
}

static uint64_t hash_byte(uint64_t hash, uint8_t byte) { return (hash ^ byte) * UINT64_C(0x100000001b3); }

uint64_t bytes_hash(const void *bytes, size_t size) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) hash = hash_byte(hash, ((const uint8_t *)bytes)[i]);
    return hash;
}

uint64_t needle_hash(const struct needle *needle) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < needle->size; i++) hash = hash_byte(hash, needle->masked[i] ^ MASK);
    return hash;
}

/* ---------------------------------------------------------------- the scan */

struct region {
    uint64_t begin, end;
    char name[128];
};

static bool matches(const struct needle *needle, const uint8_t *at) {
    for (size_t i = 0; i < needle->size; i++)
        if ((at[i] ^ MASK) != needle->masked[i]) return false;
    return true;
}

/* Finds that begin in the first `size` bytes; `room` of them can be read. */
static size_t scan_window(const struct needle *needle, const uint8_t *window, size_t size, size_t room) {
    size_t found = 0;
    const uint8_t *at = window, *end = window + size;
    while (at < end && (at = memchr(at, needle->masked[0] ^ MASK, (size_t)(end - at))) != NULL) {
        if ((size_t)(window + room - at) >= needle->size) found += matches(needle, at);
        at++;
    }
    return found;
}

/* Whether the kernel has given memory for any page of a window: most of what a sanitizer maps was never touched. */
static bool is_touched(int pagemap, uint64_t address) {
    uint64_t pages[WINDOW_SIZE / 4096 + 1] = { 0 };
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE), count = (WINDOW_SIZE + NEEDLE_MAX + page_size - 1) / page_size;
    if (pread(pagemap, pages, count * sizeof(pages[0]), (off_t)(address / page_size * sizeof(pages[0]))) <= 0) return true;
    for (size_t i = 0; i < count; i++)
        if (pages[i] >> 62) return true; /* present, or swapped out */
    return false;
}

/* Windows overlap by a needle, so that one across two of them is found, once. */
static size_t scan_region(int mem, int pagemap, const struct region *region, const struct needle *needles, size_t count,
                          bool tell) {
    static uint8_t window[WINDOW_SIZE + NEEDLE_MAX];
    size_t found = 0;
    for (uint64_t at = region->begin; at < region->end; at += WINDOW_SIZE) {
        if (!is_touched(pagemap, at)) continue;
        ssize_t got = pread(mem, window, sizeof(window), (off_t)at);
        if (got <= 0) continue; /* a guard page, the kernel's own */
        size_t room = (size_t)got, size = room < WINDOW_SIZE ? room : WINDOW_SIZE;
        for (size_t i = 0; i < count; i++) {
            size_t here = scan_window(&needles[i], window, size, room);
            if (here > 0 && tell)
                fprintf(stderr, "    %s: %zu at about %#llx in %s\n", needles[i].name, here, (unsigned long long)at,
                        region->name);
            found += here;
        }
    }
    explicit_bzero(window, sizeof(window)); /* a find would be found again, here */
    return found;
}

/* "55d0-55d1 rw-p 00000000 00:00 0   [heap]" */
static bool read_region(const char *line, struct region *region) {
    char rights[5];
    unsigned long long begin, end;
    region->name[0] = '\0';
    if (sscanf(line, "%llx-%llx %4s %*s %*s %*s %127s", &begin, &end, rights, region->name) < 3) return false;
    region->begin = begin;
    region->end = end;
    return rights[0] == 'r' && rights[1] == 'w' && end - begin <= REGION_SIZE_MAX;
}

size_t scan_memory(const struct needle *needles, size_t count, bool tell) {
    char line[512];
    struct region region;
    size_t found = 0;
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    FILE *maps = fopen("/proc/self/maps", "re");
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (mem < 0 || pagemap < 0 || !maps) fail("/proc/self");
    while (fgets(line, sizeof(line), maps))
        if (read_region(line, &region)) found += scan_region(mem, pagemap, &region, needles, count, tell);
    fclose(maps);
    close(pagemap);
    close(mem);
    return found;
}

/* ---------------------------------------------------------------- a stack of its own */

#define OWN_STACK_SIZE ((size_t)1 << 20)

/* What a thread does at its end, a sanitizer's included, overwrites no more than this. */
#define OWN_STACK_MARGIN ((size_t)1 << 16)

struct own_call {
    void (*deed)(void *data);
    void *data;
};

static void *call_below_the_margin(void *data) {
    const struct own_call *call = data;
    uint8_t margin[OWN_STACK_MARGIN];
    __asm__ volatile("" : : "r"(margin) : "memory"); /* else there would be none */
    call->deed(call->data);
    __asm__ volatile("" : : "r"(margin) : "memory");
    return NULL;
}

void scan_on_own_stack(void (*deed)(void *data), void *data) {
    static void *stack;
    struct own_call call = { deed, data };
    pthread_attr_t attributes;
    pthread_t thread;
    if (stack) munmap(stack, OWN_STACK_SIZE);
    stack = mmap(NULL, OWN_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstack(&attributes, stack, OWN_STACK_SIZE) != 0 ||
        pthread_create(&thread, &attributes, call_below_the_margin, &call) != 0 || pthread_join(thread, NULL) != 0)
        fail("a stack");
    pthread_attr_destroy(&attributes);
}
