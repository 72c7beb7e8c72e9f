/* The login mechanisms that lago has itself, and how a broker's offer is read. */
#ifndef LAGO_CLIENT_MECHANISM_H
#define LAGO_CLIENT_MECHANISM_H

#include <lago/context.h>
#include <lago/parameters.h>

struct mechanism {
    unsigned bit; /* LAGO_MECHANISM_* */
    const char *name;
    /* Its response in new memory, for the caller to wipe and free; NULL without memory. */
    uint8_t *(*response)(const lago_allocator_t *alloc, const lago_credentials_t *who, size_t *size);
};

/* Whether a name is among those offered: exact tokens, separated by spaces. */
bool mechanism_is_offered(lago_bytes_t offered, const char *name);

/* The best one that is offered and allowed (a mask), or NULL. */
const struct mechanism *mechanism_choose(lago_bytes_t offered, unsigned allowed);

#endif
