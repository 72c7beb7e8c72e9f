/*
 * What the connections of a loop share: the environment of lib/, read buffers and the end of the turn. Counted by its handle
 * and its connections. Its uv handles exist only while a connection is attached, so that freeing a context is pure memory.
 */
#ifndef LAGO_UV_CONTEXT_H
#define LAGO_UV_CONTEXT_H

#include "address.h"
#include "book.h"
#include "pass.h"
#include "pcapng.h"
#include "slab.h"
#include "targets.h"
#include "transport.h"
#include <lago/context.h>
#include <stddef.h>

struct lago_context {
    uv_loop_t *loop;
    struct environment environment;
    struct pcapng capture;
    struct slab_pool slabs;
    struct block_pool blocks;
    struct book book;
    struct alike alike;
    struct pass *pass;            /* NULL while no connection is attached */
    struct timer_heap deadlines;  /* of the pass's members */
    char endpoint[ENDPOINT_SIZE]; /* a transport's answer, until the next one's */
    size_t joined_count;
    size_t attached_count;
    size_t ref_count;
};

lago_context_t *context_ref(lago_context_t *context);
void context_unref(lago_context_t *context);

/* Reserve what one more connection needs of the context; and take that back. 0 or LAGO_ENOMEM. */
int context_join(lago_context_t *context);
void context_part(lago_context_t *context);

/* Attach what has joined. `pass`: from pass_new, opened and taken over if there is none yet, else freed; NULL: there is one. */
void context_attach(lago_context_t *context, struct pass *pass);

/* Buffers have grown: look after a while whether they are still needed. While a connection is attached. */
bool context_is_rich(const lago_context_t *context);
void context_tidy_later(lago_context_t *context);

/* Leave; `detached` is called at once or, if it was the last one, when the context's handles are closed. */
void context_detach(lago_context_t *context, void (*detached)(void *data), void *data);

#endif
