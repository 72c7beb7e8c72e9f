/*
 * Where to dial: each parameters' host and further endpoints, in order, or shuffled for each round. Owns the copies of the
 * parameters. Knows nothing of lookups and addresses.
 */
#ifndef LAGO_CLIENT_TARGETS_H
#define LAGO_CLIENT_TARGETS_H

#include "parameters.h"
#include <lago/connection.h>

/*
 * What the connections of a context often have alike, and then have once. The parameters are those of the newest one that had others,
 * not counted: its holders take them out before the context can go.
 */
struct alike {
    struct parameters *parameters;
    struct block *server_properties; /* counted */
    size_t server_properties_size;
};

struct target {
    size_t parameters; /* which ones: its number */
    const lago_parameters_t *p;
    const char *host;
    uint16_t port;
};

struct targets {
    struct parameters **parameters;
    size_t parameters_count;
    struct target *items;
    size_t count; /* at least 1 */
};

/* Of a URL, or of the options' parameters (copied, checked, defaults filled in), or of neither. 0, or lago_connect's errors. */
int targets_make(const lago_allocator_t *alloc, const char *url, const lago_connection_options_t *options,
                 struct targets *targets, lago_reason_t *reason);
void targets_free(const lago_allocator_t *alloc, struct targets *targets);

/* Use what another connection has, if that says the same; cannot fail. And let nobody else have it any more. */
void targets_share(struct targets *targets, struct alike *alike);
void targets_unshare(const struct targets *targets, struct alike *alike);

/* A new order, all equally likely. `random` gives numbers of `self`. */
void targets_shuffle(struct targets *targets, uint64_t (*random)(void *self), void *self);

#endif
