/* The login mechanisms that lago has itself, and how lists of mechanisms are read. */
#ifndef LAGO_CLIENT_MECHANISM_H
#define LAGO_CLIENT_MECHANISM_H

#include <lago/context.h>
#include <lago/types.h>

struct mechanism {
    const char *name;
    /*
     * Its response in new memory, for the caller to wipe and free; NULL without memory. A mechanism without this one has an empty
     * response, and wants no password.
     */
    uint8_t *(*response)(const lago_allocator_t *alloc, const char *username, const char *password, size_t *size);
};

/* One of lago's own by its exact name, or NULL. */
const struct mechanism *mechanism_find(lago_string_t name);

/* The next word of a list with spaces between them, cut off its front. False at the end. */
bool mechanism_next(lago_string_t *list, lago_string_t *word);

/* Whether a name is one of the words. */
bool mechanism_is_in(lago_string_t list, lago_string_t name);

#endif
