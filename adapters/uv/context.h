/*
 * What the connections of a loop share: the environment of lib/, read buffers and the end of the turn. Counted by its handle
 * and its connections. Its uv handles exist only while a connection is attached, so that freeing a context is pure memory.
 */
#ifndef LAGO_UV_CONTEXT_H
#define LAGO_UV_CONTEXT_H

#include "pass.h"
#include "pcapng.h"
#include "slab.h"
#include "transport.h"
#include <lago/context.h>
#include <stddef.h>

struct lago_context {
    uv_loop_t *loop;
    struct environment environment;
    struct pcapng capture;
    struct slab_pool slabs;
    struct pass *pass; /* NULL while no connection is attached */
    size_t attached_count;
    size_t ref_count;
};

lago_context_t *context_ref(lago_context_t *context);
void context_unref(lago_context_t *context);

/* Join. `turn`: from pass_new, opened and taken over if there is none yet, else freed. Cannot fail. */
void context_attach(lago_context_t *context, struct pass *pass);

/* Leave; `detached` is called at once or, if it was the last one, when the context's handles are closed. */
void context_detach(lago_context_t *context, void (*detached)(void *data), void *data);

#endif
