/*
 * Looks for secrets in the memory of this process: everything that is readable and writable, stacks and freed memory included. A
 * needle is kept with every byte masked, so that keeping it is no copy of it; whoever unmasks one wipes it himself.
 */
#ifndef SUPPORT_SCAN_H
#define SUPPORT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEEDLE_MAX 256

struct needle {
    const char *name;
    size_t size;
    uint8_t masked[NEEDLE_MAX];
};

/* `size` random letters and digits, which never lie in memory as they are. */
void needle_random(struct needle *needle, const char *name, size_t size);

/* Parts behind one another: other needles, and plain bytes. */
void needle_begin(struct needle *needle, const char *name);
void needle_add(struct needle *needle, const void *bytes, size_t size);
void needle_add_needle(struct needle *needle, const struct needle *part);

/* What another one is in base64, up to where its end decides on the letters. */
void needle_base64(struct needle *needle, const char *name, const struct needle *of);

/* Unmasked, with a NUL behind it; the other way round if `backwards`. */
void needle_copy(const struct needle *needle, char *to, bool backwards);

/* A number that other bytes are unlikely to have: FNV-1a, 64 bits. */
uint64_t needle_hash(const struct needle *needle);
uint64_t bytes_hash(const void *bytes, size_t size);

/* How often the needles occur in all; each find is told on stderr by its name and region if `tell`. */
size_t scan_memory(const struct needle *needles, size_t count, bool tell);

/*
 * Do it on a stack that nobody uses afterwards, until the next call: what it has left there is still there for a scan, whatever
 * the compiler made of its frames. In a thread of its own: cmocka's asserts are not for there.
 */
void scan_on_own_stack(void (*deed)(void *data), void *data);

#endif
