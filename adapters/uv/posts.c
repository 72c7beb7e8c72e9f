/*
 * Posts: a queue under a mutex. Other threads only ever see the poster, and touch the uv_async only under the mutex, so it can
 * be closed under their hands. Memory of posters and posts is malloc's, because the context's allocator is the loop thread's.
 */
#include "posts.h"
#include <lago/error.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Posts run at one wake-up; the rest waits for the next, so that a busy thread does not keep the loop from its sockets. */
#define POSTS_PER_WAKEUP 256

struct post {
    struct post *next;
    lago_post_cb callback;
    void *data;
};

struct lago_poster {
    atomic_size_t ref_count;
    uv_mutex_t mutex;   /* guards what follows */
    struct post *first; /* oldest */
    struct post **last; /* where the next one is linked */
    uv_async_t *async;  /* NULL: the connection has ended, nothing more is taken */
};

static lago_poster_t *poster_new(uv_async_t *async) {
    lago_poster_t *poster = calloc(1, sizeof *poster);
    if (poster == NULL) return NULL;
    if (uv_mutex_init(&poster->mutex) < 0) {
        free(poster);
        return NULL;
    }
    atomic_init(&poster->ref_count, 1);
    poster->last = &poster->first;
    poster->async = async;
    return poster;
}

lago_poster_t *lago_poster_ref(lago_poster_t *poster) {
    if (poster != NULL) atomic_fetch_add_explicit(&poster->ref_count, 1, memory_order_relaxed);
    return poster;
}

void lago_poster_unref(lago_poster_t *poster) {
    if (poster == NULL) return;
    if (atomic_fetch_sub_explicit(&poster->ref_count, 1, memory_order_acq_rel) > 1) return;
    uv_mutex_destroy(&poster->mutex);
    free(poster); /* no post is left: the loop's end was an owner until it had run them all */
}

static int enqueue(lago_poster_t *poster, struct post *post) {
    if (poster->async == NULL) return LAGO_ECLOSED;
    int rc = uv_async_send(poster->async); /* before the post is in: the loop waits for the mutex, and this can still fail */
    if (rc < 0) return rc;
    *poster->last = post;
    poster->last = &post->next;
    return 0;
}

int lago_post(lago_poster_t *poster, lago_post_cb callback, void *data) {
    if (poster == NULL || callback == NULL) return LAGO_EINVAL;
    struct post *post = malloc(sizeof *post);
    if (post == NULL) return LAGO_ENOMEM;
    *post = (struct post){ .callback = callback, .data = data };
    uv_mutex_lock(&poster->mutex);
    int rc = enqueue(poster, post);
    uv_mutex_unlock(&poster->mutex);
    if (rc < 0) free(post);
    return rc;
}

/* Take no more. */
static void shut(lago_poster_t *poster) {
    uv_mutex_lock(&poster->mutex);
    poster->async = NULL;
    uv_mutex_unlock(&poster->mutex);
}

/* The oldest post, or NULL. */
static struct post *dequeue(lago_poster_t *poster) {
    uv_mutex_lock(&poster->mutex);
    struct post *post = poster->first;
    if (post != NULL) {
        poster->first = post->next;
        if (poster->first == NULL) poster->last = &poster->first;
    }
    uv_mutex_unlock(&poster->mutex);
    return post;
}

static void run(lago_connection_t *conn, struct post *post, int status) {
    struct post copy = *post;
    free(post);
    link_enter(conn);
    copy.callback(link_handle(conn), status, copy.data);
    link_leave(conn);
}

static void on_async(uv_async_t *async) {
    struct posts *posts = async->data;
    for (int i = 0; i < POSTS_PER_WAKEUP; i++) {
        struct post *post = posts->canceled ? NULL : dequeue(posts->poster);
        if (post == NULL) return;
        run(posts->conn, post, 0);
    }
    if (!posts->canceled) (void)uv_async_send(async);
}

struct posts *posts_new(lago_connection_t *conn) {
    struct posts *posts = calloc(1, sizeof *posts);
    if (posts != NULL) posts->conn = conn;
    return posts;
}

void posts_free(struct posts *posts) { free(posts); }

static int posts_open(struct posts *posts, uv_loop_t *loop) {
    lago_poster_t *poster = poster_new(&posts->async);
    if (poster == NULL) return LAGO_ENOMEM;
    int rc = uv_async_init(loop, &posts->async, on_async);
    if (rc < 0) {
        lago_poster_unref(poster);
        return rc;
    }
    posts->async.data = posts;
    uv_unref((uv_handle_t *)&posts->async);
    posts->poster = poster;
    return 0;
}

int posts_poster(struct posts *posts, uv_loop_t *loop, lago_poster_t **poster) {
    if (posts->canceled) return LAGO_ECLOSED;
    if (posts->poster == NULL) {
        int rc = posts_open(posts, loop);
        if (rc < 0) return rc;
    }
    *poster = lago_poster_ref(posts->poster);
    return 0;
}

static void cancel_all(struct posts *posts) {
    shut(posts->poster);
    for (struct post *post; (post = dequeue(posts->poster)) != NULL;) run(posts->conn, post, LAGO_ECANCELED);
}

void posts_cancel(struct posts *posts) {
    posts->canceled = true;
    if (posts->poster != NULL) cancel_all(posts);
}

static void on_close(uv_handle_t *handle) {
    struct posts *posts = handle->data;
    cancel_all(posts);
    lago_poster_unref(posts->poster);
    posts->closed(posts->closed_data);
}

bool posts_close(struct posts *posts, void (*closed)(void *data), void *data) {
    posts->canceled = true;
    if (posts->poster == NULL) return false;
    shut(posts->poster);
    posts->closed = closed;
    posts->closed_data = data;
    uv_close((uv_handle_t *)&posts->async, on_close);
    return true;
}
