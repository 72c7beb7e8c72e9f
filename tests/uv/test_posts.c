/* Posts from other threads: each runs once, in its thread's order, whatever becomes of the connection meanwhile. */
#include "fake_client.h"
#include "peer.h"
#include <lago/connection.h>
#include <lago/poster.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#define THREADS 4
#define POSTS   2000

struct poster_thread {
    uv_thread_t thread;
    lago_poster_t *poster;
    int number;
    int next;     /* the post that must run next; the loop's */
    int ran;      /* with status 0 */
    int canceled; /* with LAGO_ECANCELED */
    int accepted; /* the thread's, read after it was joined */
};

struct post_data {
    struct poster_thread *from;
    int number;
};

static void on_post(lago_connection_t *conn, int status, void *data) {
    struct post_data *post = data;
    struct poster_thread *from = post->from;
    assert_non_null(conn);
    assert_true(conn->entered > 0);
    assert_int_equal(post->number, from->next++);
    if (status == 0)
        from->ran++;
    else
        from->canceled++;
    free(post);
}

static void post_many(void *data) {
    struct poster_thread *self = data;
    for (int i = 0; i < POSTS; i++) {
        struct post_data *post = malloc(sizeof *post);
        *post = (struct post_data){ .from = self, .number = self->accepted };
        if (lago_post(self->poster, on_post, post) == 0)
            self->accepted++;
        else
            free(post);
    }
    lago_poster_unref(self->poster);
}

static lago_connection_t *start_threads(uv_loop_t *loop, struct poster_thread *threads) {
    lago_connection_t *conn;
    lago_poster_t *poster;
    assert_int_equal(uv_loop_init(loop), 0);
    assert_int_equal(lago_connect(loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = (struct poster_thread){ .poster = lago_poster_ref(poster), .number = i };
        assert_int_equal(uv_thread_create(&threads[i].thread, post_many, &threads[i]), 0);
    }
    lago_poster_unref(poster);
    return conn;
}

static int total(const struct poster_thread *threads) {
    int ran = 0;
    for (int i = 0; i < THREADS; i++) ran += threads[i].ran;
    return ran;
}

static void four_threads_post_in_order(void **state) {
    (void)state;
    uv_loop_t loop;
    struct poster_thread threads[THREADS];
    lago_connection_t *conn = start_threads(&loop, threads);
    while (total(threads) < THREADS * POSTS) uv_run(&loop, UV_RUN_NOWAIT);
    for (int i = 0; i < THREADS; i++) uv_thread_join(&threads[i].thread);
    fake_end(conn, false);
    run_to_end(&loop);
    fake_free(conn);
    for (int i = 0; i < THREADS; i++) assert_int_equal(threads[i].ran, POSTS);
}

static void the_end_cancels_what_waits(void **state) {
    (void)state;
    uv_loop_t loop;
    struct poster_thread threads[THREADS];
    lago_connection_t *conn = start_threads(&loop, threads);
    while (total(threads) < POSTS / 2) uv_run(&loop, UV_RUN_NOWAIT);
    fake_end(conn, false); /* while the threads go on */
    run_to_end(&loop);
    fake_free(conn);
    for (int i = 0; i < THREADS; i++) {
        uv_thread_join(&threads[i].thread);
        assert_int_equal(threads[i].ran + threads[i].canceled, threads[i].accepted);
    }
}

static void count(lago_connection_t *conn, int status, void *data) {
    (void)conn;
    (void)status;
    ++*(int *)data;
}

static void count_canceled(lago_connection_t *conn, int status, void *data) {
    assert_int_equal(status, LAGO_ECANCELED);
    count(conn, status, data);
}

static void a_wake_up_runs_a_bounded_number(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_poster_t *poster;
    int ran = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    for (int i = 0; i < 1000; i++) assert_int_equal(lago_post(poster, count, &ran), 0);
    while (ran < 1000) {
        int before = ran;
        uv_run(&loop, UV_RUN_ONCE);
        assert_in_range(ran - before, 0, 256);
    }
    lago_poster_unref(poster);
    fake_end(conn, false);
    run_to_end(&loop);
    fake_free(conn);
}

static void see_no_handle(lago_connection_t *conn, int status, void *data) {
    assert_null(conn);
    assert_int_equal(status, LAGO_ECANCELED);
    *(bool *)data = true;
}

static void a_freed_handle_is_not_shown(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_poster_t *poster;
    bool seen = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    assert_int_equal(lago_post(poster, see_no_handle, &seen), 0);
    conn->freed = true;
    fake_end(conn, false);
    assert_true(seen);
    assert_int_equal(lago_post(poster, see_no_handle, &seen), LAGO_ECLOSED);
    run_to_end(&loop);
    fake_free(conn);
    assert_int_equal(lago_post(poster, see_no_handle, &seen), LAGO_ECLOSED); /* the poster outlives the connection */
    lago_poster_unref(poster);
}

/* lago_connection_free drops everything without a word, inside a call of the application: posts come later. */
static void without_cancel_they_run_when_the_handles_close(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_poster_t *poster;
    bool seen = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    assert_int_equal(lago_post(poster, see_no_handle, &seen), 0);
    conn->freed = conn->ended = true;
    conn->transport.ops->finish(conn->transport.self);
    assert_false(seen);
    assert_int_equal(lago_post(poster, see_no_handle, &seen), LAGO_ECLOSED);
    run_to_end(&loop);
    assert_true(seen);
    lago_poster_unref(poster);
    fake_free(conn);
}

static void end_in_post(lago_connection_t *conn, int status, void *data) {
    (void)data;
    if (status == 0) fake_end(conn, true);
}

static void a_post_may_end_the_connection(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_poster_t *poster;
    int ran = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    assert_int_equal(lago_post(poster, end_in_post, NULL), 0);
    assert_int_equal(lago_post(poster, count, &ran), 0);
    run_to_end(&loop);
    assert_int_equal(ran, 1);
    lago_poster_unref(poster);
    assert_int_equal(lago_connection_poster(conn, &poster), LAGO_ECLOSED);
    assert_null(poster);
    fake_free(conn);
}

static void arguments(void **state) {
    (void)state;
    lago_poster_t *poster;
    assert_int_equal(lago_connection_poster(NULL, &poster), LAGO_EINVAL);
    assert_null(poster);
    assert_int_equal(lago_post(NULL, count, NULL), LAGO_EINVAL);
    assert_null(lago_poster_ref(NULL));
    lago_poster_unref(NULL);
    uv_loop_t loop;
    lago_connection_t *conn;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    assert_int_equal(lago_post(poster, NULL, NULL), LAGO_EINVAL);
    lago_poster_unref(poster);
    fake_end(conn, false);
    run_to_end(&loop);
    fake_free(conn);
}

/* Whoever asks gets the same one, and counts for himself; behind the end of posts there is none. */
static void a_connection_has_one_poster(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_poster_t *posters[2], *late;
    int ran = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(lago_connection_poster(conn, &posters[i]), 0);
    assert_ptr_equal(posters[0], posters[1]);
    lago_poster_unref(posters[0]);
    assert_int_equal(lago_post(posters[1], count, &ran), 0);
    run_until_count(&loop, &ran, 1);
    conn->transport.ops->cancel_posts(conn->transport.self);
    assert_int_equal(lago_post(posters[1], count, &ran), LAGO_ECLOSED);
    assert_int_equal(lago_connection_poster(conn, &late), LAGO_ECLOSED);
    assert_null(late);
    lago_poster_unref(posters[1]);
    fake_end(conn, false);
    run_to_end(&loop);
    fake_free(conn);
    assert_int_equal(ran, 1);
}

/* The last one of a wake-up: those behind it are canceled by then, and nobody is woken for them. */
static void the_last_of_a_wake_up_may_end_the_connection(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_poster_t *poster;
    int before = 0, behind = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    for (int i = 0; i < 255; i++) assert_int_equal(lago_post(poster, count, &before), 0);
    assert_int_equal(lago_post(poster, end_in_post, NULL), 0);
    for (int i = 0; i < 5; i++) assert_int_equal(lago_post(poster, count_canceled, &behind), 0);
    run_to_end(&loop);
    assert_int_equal(before, 255);
    assert_int_equal(behind, 5);
    lago_poster_unref(poster);
    fake_free(conn);
}

static void a_poster_does_not_keep_the_loop(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn;
    lago_poster_t *poster;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, "127.0.0.1:1", NULL, &conn), 0);
    assert_int_equal(lago_connection_poster(conn, &poster), 0);
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    conn->wants.alive = false;
    fake_wake(conn);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    lago_poster_unref(poster);
    fake_end(conn, false);
    run_to_end(&loop);
    fake_free(conn);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_threads_post_in_order),
        cmocka_unit_test(the_end_cancels_what_waits),
        cmocka_unit_test(a_wake_up_runs_a_bounded_number),
        cmocka_unit_test(a_freed_handle_is_not_shown),
        cmocka_unit_test(without_cancel_they_run_when_the_handles_close),
        cmocka_unit_test(a_post_may_end_the_connection),
        cmocka_unit_test(the_last_of_a_wake_up_may_end_the_connection),
        cmocka_unit_test(a_connection_has_one_poster),
        cmocka_unit_test(arguments),
        cmocka_unit_test(a_poster_does_not_keep_the_loop),
    };
    return cmocka_run_group_tests_name("uv/posts", tests, NULL, NULL);
}
