/*
 * What other threads post to a connection. The poster is shared by all of its owners and outlives the connection; the uv_async
 * that wakes the loop belongs to the connection's transport. Knows of connections only what link_enter and its friends say.
 */
#ifndef LAGO_UV_POSTS_H
#define LAGO_UV_POSTS_H

#include "transport.h"
#include <lago/poster.h>
#include <stdbool.h>
#include <uv.h>

/* The loop's end of a poster. */
struct posts {
    lago_connection_t *conn;
    lago_poster_t *poster; /* NULL until one was asked for */
    bool canceled;         /* takes no more */
    uv_async_t async;      /* initialised with the poster; never keeps the loop alive */
    void (*closed)(void *data);
    void *closed_data;
};

/* For the first poster of a connection: malloc's memory, as that of all posts. NULL without. */
struct posts *posts_new(lago_connection_t *conn);
void posts_free(struct posts *posts); /* closed, or never opened; NULL is allowed */

/* The poster with one more owner; the first time it is made. As lago_connection_poster. */
int posts_poster(struct posts *posts, uv_loop_t *loop, lago_poster_t **poster);

/* Run what waits with LAGO_ECANCELED, and take no more. */
void posts_cancel(struct posts *posts);

/*
 * Take no more and close; what still waits is run with LAGO_ECANCELED from the close callback, since this may be inside a call of
 * the application. @return whether there was something to close; then `closed` follows.
 */
bool posts_close(struct posts *posts, void (*closed)(void *data), void *data);

#endif
