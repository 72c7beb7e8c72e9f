/* The door for other threads, with a real connection behind it: posts publish, and their outcomes come back. */
#include "fixture.h"
#include <lago/poster.h>
#include <stdatomic.h>

#define THREADS 4
#define POSTS   500

struct poster_thread {
    uv_thread_t thread;
    lago_poster_t *poster;
    struct crowd *crowd;
    int accepted, ran, cancelled;
};

struct crowd {
    struct fixture *f;
    const char *queue;
    struct poster_thread threads[THREADS];
    size_t confirmed;
    bool stop;
};

static void on_confirmed(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    struct crowd *crowd = data;
    (void)ch;
    crowd->confirmed += result->outcome == LAGO_PUBLISH_CONFIRMED;
}

static void on_post(lago_connection_t *conn, int status, void *data) {
    struct poster_thread *thread = data;
    struct crowd *crowd = thread->crowd;
    assert_ptr_equal(conn, crowd->f->conn);
    if (status) {
        assert_int_equal(status, LAGO_ECANCELED);
        thread->cancelled++;
        return;
    }
    thread->ran++;
    if (crowd->stop) return;
    lago_basic_publish_t args = { .routing_key = crowd->queue };
    assert_true(lago_basic_publish(crowd->f->ch, &args, on_confirmed, crowd) > 0);
}

static void post_many(void *data) {
    struct poster_thread *thread = data;
    for (int i = 0; i < POSTS; i++) thread->accepted += lago_post(thread->poster, on_post, thread) == 0;
    lago_poster_unref(thread->poster);
}

static void start(struct crowd *crowd) {
    lago_poster_t *poster;
    assert_int_equal(lago_connection_poster(crowd->f->conn, &poster), 0);
    for (int i = 0; i < THREADS; i++) {
        struct poster_thread *thread = &crowd->threads[i];
        thread->crowd = crowd;
        thread->poster = lago_poster_ref(poster);
        assert_int_equal(uv_thread_create(&thread->thread, post_many, thread), 0);
    }
    lago_poster_unref(poster);
}

static void join(struct crowd *crowd) {
    for (int i = 0; i < THREADS; i++) uv_thread_join(&crowd->threads[i].thread);
}

static void four_threads_publish(void **state) {
    struct fixture *f = *state;
    struct crowd crowd = { .f = f, .queue = new_queue(f) };
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    start(&crowd);
    run_until(f, crowd.confirmed == THREADS * POSTS);
    join(&crowd);
    expect_length(f, crowd.queue, THREADS * POSTS);
}

/* What was accepted runs once, with a status, whatever becomes of the connection. */
static void an_end_cancels_what_is_posted(void **state) {
    struct fixture *f = *state;
    struct crowd crowd = { .f = f, .queue = new_queue(f), .stop = true };
    start(&crowd);
    run_until(f, crowd.threads[0].ran > 0);
    assert_int_equal(lago_connection_abort(f->conn), 0);
    run_until(f, f->closed);
    join(&crowd);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(crowd.threads[i].accepted, crowd.threads[i].ran + crowd.threads[i].cancelled);
    forget_events(f);
}

static void on_count_run(lago_connection_t *conn, int status, void *data) {
    assert_null(conn); /* its handle was freed */
    assert_int_equal(status, LAGO_ECANCELED);
    ++*(int *)data;
}

static void a_poster_outlives_its_connection(void **state) {
    struct fixture *f = *state;
    lago_poster_t *poster;
    int ran = 0;
    assert_int_equal(lago_connection_poster(f->conn, &poster), 0);
    assert_int_equal(lago_post(poster, on_count_run, &ran), 0);
    assert_int_equal(lago_post(poster, on_count_run, &ran), 0);
    lago_connection_free(f->conn);
    f->conn = NULL;
    run_until(f, ran == 2);
    while (uv_run(&f->loop, UV_RUN_NOWAIT)) {
    }
    assert_int_equal(lago_post(poster, on_count_run, &ran), LAGO_ECLOSED);
    lago_poster_unref(poster);
    assert_int_equal(lago_post(NULL, on_count_run, &ran), LAGO_EINVAL);
    f->name_count = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(four_threads_publish, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_end_cancels_what_is_posted, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_poster_outlives_its_connection, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
