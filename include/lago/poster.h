/* The one door for other threads: post a function to a connection's loop. */
#ifndef LAGO_POSTER_H
#define LAGO_POSTER_H

#include <lago/connection.h>
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Runs once, on the loop's thread.
 *
 * @param status  0, or LAGO_ECANCELED: the connection ended before its turn. `conn` is NULL if its handle was freed.
 */
typedef void (*lago_post_cb)(lago_connection_t *conn, int status, void *data);

/**
 * Make a poster, counted once.
 *
 * @return 0, LAGO_EINVAL, LAGO_ECLOSED, LAGO_ENOMEM, or libuv's error. Thread: the loop's.
 */
LAGO_EXPORT int lago_connection_poster(lago_connection_t *conn, lago_poster_t **poster);

/**
 * Post a function. What one thread posts runs in its order; a post does not by itself keep uv_run alive.
 *
 * @return 0: `callback` follows once. Or LAGO_EINVAL, LAGO_ECLOSED (the connection has ended), LAGO_ENOMEM; then it does not.
 *         Thread: any.
 */
LAGO_EXPORT int lago_post(lago_poster_t *poster, lago_post_cb callback, void *data);

/** One more owner; one less: the last one frees it. NULL is allowed. Thread: any. */
LAGO_EXPORT lago_poster_t *lago_poster_ref(lago_poster_t *poster);
LAGO_EXPORT void lago_poster_unref(lago_poster_t *poster);

#ifdef __cplusplus
}
#endif
#endif
