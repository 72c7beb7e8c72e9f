/* What connections share: one context, its buffers and the end of the turn; its life; and memory that runs out. */
#include "context.h"
#include "fail_alloc.h"
#include "fake_client.h"
#include "peer.h"
#include <lago/capture.h>
#include <lago/connection.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void options_are_checked(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_context_t *context;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    lago_context_options_t half = { .allocator = { .malloc = fail.allocator.malloc } };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_context_new(NULL, NULL, &context), LAGO_EINVAL);
    assert_null(context);
    assert_int_equal(lago_context_new(&loop, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_context_new(&loop, &half, &context), LAGO_EINVAL);
    assert_int_equal(lago_context_new(&loop, &(lago_context_options_t){ .read_size = 4095 }, &context), LAGO_EINVAL);
    assert_int_equal(lago_context_new(&loop, &(lago_context_options_t){ .read_size = (16u << 20) + 1 }, &context), LAGO_EINVAL);
    assert_int_equal(lago_context_new(&loop, &(lago_context_options_t){ .reserved = { [7] = 1 } }, &context), LAGO_EINVAL);
    assert_int_equal(lago_context_new(&loop, &(lago_context_options_t){ .read_size = 16u << 20 }, &context), 0);
    assert_int_equal(uv_loop_close(&loop), 0); /* a context alone has no handles */
    lago_context_free(context);
    lago_context_free(NULL);
}

static void ignore(const void *bytes, size_t size, void *data) {
    (void)bytes;
    (void)size;
    (void)data;
}

/* Each begin is a file of its own; the loop's clock and this offset are the time of day. */
static void a_capture_has_the_time_of_day(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_context_t *context;
    uv_timeval64_t wall;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_context_new(&loop, NULL, &context), 0);
    assert_int_equal(lago_context_capture(NULL, ignore, NULL), LAGO_EINVAL);
    assert_int_equal(context->capture.generation, 0);
    for (uint32_t n = 1; n <= 2; n++) {
        assert_int_equal(lago_context_capture(context, ignore, NULL), 0);
        assert_int_equal(context->capture.generation, n);
    }
    uint64_t now_us = context->capture.wall_us + uv_hrtime() / 1000;
    assert_int_equal(uv_gettimeofday(&wall), 0);
    uint64_t wall_us = (uint64_t)wall.tv_sec * 1000000u + (uint64_t)wall.tv_usec;
    /* a slow machine may stand still in between; and both clocks are rounded */
    assert_in_range(now_us, wall_us - 60000000u, wall_us + 1000u);
    assert_int_equal(lago_context_capture(context, NULL, NULL), 0);
    assert_null(context->capture.write);
    assert_int_equal(context->capture.generation, 2);
    lago_context_free(context);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* All of it, or none: memory of one would be given back to another. */
static void an_allocator_is_given_whole(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_context_t *context;
    struct fail_alloc fail;
    fail_alloc_init(&fail);
    assert_int_equal(uv_loop_init(&loop), 0);
    for (unsigned given = 0; given < 8; given++) {
        lago_context_options_t options = { .allocator = { .data = &fail }, .callback_limit_ms = 70 };
        if (given & 1) options.allocator.malloc = fail.allocator.malloc;
        if (given & 2) options.allocator.realloc = fail.allocator.realloc;
        if (given & 4) options.allocator.free = fail.allocator.free;
        bool good = given == 0 || given == 7;
        assert_int_equal(lago_context_new(&loop, &options, &context), good ? 0 : LAGO_EINVAL);
        assert_int_equal(context != NULL, good);
        if (!good) continue;
        assert_int_equal(context->environment.callback_limit_ms, 70);
        assert_int_equal(fail.live_count > 0, given == 7);
        lago_context_free(context);
    }
    fail_alloc_check(&fail);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void default_log_is_a_line_on_stderr(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_context_t *context;
    int ends[2], saved = dup(STDERR_FILENO);
    char lines[256] = "";
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_context_new(&loop, NULL, &context), 0);
    assert_int_equal(context->environment.log_level, LAGO_LOG_WARNING);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    for (int level = LAGO_LOG_DEFAULT; level <= LAGO_LOG_TRACE; level++)
        context->environment.log((lago_log_level_t)level, "it rains", context->environment.log_data);
    context->environment.log((lago_log_level_t)99, "it rains", context->environment.log_data);
    dup2(saved, STDERR_FILENO);
    assert_true(read(ends[0], lines, sizeof lines - 1) > 0);
    assert_string_equal(lines, "lago: log: it rains\n"
                               "lago: log: it rains\n"
                               "lago: error: it rains\n"
                               "lago: warning: it rains\n"
                               "lago: info: it rains\n"
                               "lago: debug: it rains\n"
                               "lago: trace: it rains\n"
                               "lago: log: it rains\n");
    close(ends[0]);
    close(ends[1]);
    close(saved);
    lago_context_free(context);
    uv_loop_close(&loop);
}

static void three_connections_share_one_buffer(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    struct fail_alloc fail;
    lago_context_t *context;
    lago_connection_t *conns[3];
    fail_alloc_init(&fail);
    lago_context_options_t options = { .allocator = fail.allocator, .read_size = 1 << 20 };
    assert_int_equal(uv_loop_init(&loop), 0);
    peer_listen(&peer, &loop, "127.0.0.1");
    assert_int_equal(lago_context_new(&loop, &options, &context), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lago_connect(&loop, peer.url, &(lago_connection_options_t){ .context = context }, &conns[i]), 0);
        fake_send(conns[i], "hello", 5);
    }
    lago_context_free(context); /* before its connections: they keep it */
    for (int i = 0; i < 3; i++) run_until_count(&loop, &conns[i]->counts[FAKE_INPUT], 1);
    assert_in_range(fail.peak_bytes, 1 << 20, 2 << 20);
    for (int i = 0; i < 3; i++) fake_end(conns[i], false);
    peer_close(&peer);
    run_to_end(&loop);
    for (int i = 0; i < 3; i++) fake_free(conns[i]);
    fail_alloc_check(&fail);
}

static void a_buffer_that_is_held_makes_room_for_another(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    lago_context_t *context;
    lago_connection_t *conns[2];
    assert_int_equal(uv_loop_init(&loop), 0);
    peer_listen(&peer, &loop, "127.0.0.1");
    assert_int_equal(lago_context_new(&loop, NULL, &context), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(lago_connect(&loop, peer.url, &(lago_connection_options_t){ .context = context }, &conns[i]), 0);
    conns[0]->hold = true;
    fake_send(conns[0], "held", 4);
    run_until_count(&loop, &conns[0]->counts[FAKE_INPUT], 1);
    fake_send(conns[1], "other", 5);
    run_until_count(&loop, &conns[1]->counts[FAKE_INPUT], 1);
    assert_memory_equal(conns[0]->borrowed, "held", 4);
    assert_memory_equal(conns[1]->received, "other", 5);
    lago_context_free(context);
    for (int i = 0; i < 2; i++) fake_end(conns[i], false);
    peer_close(&peer);
    run_to_end(&loop);
    for (int i = 0; i < 2; i++) fake_free(conns[i]);
}

/* ---------------------------------------------------------------- turns of several connections */

static lago_connection_t *other;

static void write_on_the_other(lago_connection_t *conn, enum fake_call call, int status) {
    (void)conn;
    (void)status;
    if (call == FAKE_TURN) fake_send(other, "x", 1);
}

static void what_one_writes_on_another_leaves_in_the_same_turn(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = false };
    lago_context_t *context;
    lago_connection_t *conns[2];
    assert_int_equal(uv_loop_init(&loop), 0);
    peer_listen(&peer, &loop, "127.0.0.1");
    assert_int_equal(lago_context_new(&loop, NULL, &context), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(lago_connect(&loop, peer.url, &(lago_connection_options_t){ .context = context }, &conns[i]), 0);
    for (int i = 0; i < 2; i++) run_until_count(&loop, &conns[i]->counts[FAKE_CONNECTED], 1);
    other = conns[0];
    conns[1]->hook = write_on_the_other;
    conns[1]->wants.turn = true;
    fake_wake(conns[0]); /* its round comes first, and it has nothing yet */
    fake_wake(conns[1]);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(conns[0]->output_done, 1);
    lago_context_free(context);
    for (int i = 0; i < 2; i++) fake_end(conns[i], false);
    peer_close(&peer);
    run_to_end(&loop);
    for (int i = 0; i < 2; i++) fake_free(conns[i]);
}

static lago_context_t *shared;

/* The last connection's handles close; another one comes while the context's are closing. */
static void connect_again(uv_handle_t *handle) {
    lago_connection_options_t options = { .context = shared };
    assert_int_equal(lago_connect(handle->loop, "127.0.0.1:1", &options, &other), 0);
}

static void a_connection_may_come_while_the_last_one_goes(void **state) {
    (void)state;
    for (int delay = 0; delay < 4; delay++) {
        uv_loop_t loop;
        uv_idle_t idle;
        lago_connection_t *conn;
        assert_int_equal(uv_loop_init(&loop), 0);
        assert_int_equal(lago_context_new(&loop, NULL, &shared), 0);
        assert_int_equal(lago_connect(&loop, "127.0.0.1:1", &(lago_connection_options_t){ .context = shared }, &conn), 0);
        run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
        fake_end(conn, false);
        for (int i = 0; i < delay; i++) uv_run(&loop, UV_RUN_NOWAIT);
        uv_idle_init(&loop, &idle);
        uv_close((uv_handle_t *)&idle, connect_again);
        uv_run(&loop, UV_RUN_NOWAIT);
        run_until_count(&loop, &other->counts[FAKE_CONNECTED], 1);
        fake_end(other, false);
        lago_context_free(shared);
        run_to_end(&loop);
        fake_free(conn);
        fake_free(other);
    }
}

/* ---------------------------------------------------------------- loops and memory */

static void echo_on_a_loop_of_its_own(void *data) {
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    lago_connection_t *conn;
    (void)data;
    uv_loop_init(&loop);
    peer_listen(&peer, &loop, "127.0.0.1");
    lago_connect(&loop, peer.url, NULL, &conn);
    fake_send(conn, "hello", 5);
    while (conn->received_size < 5) uv_run(&loop, UV_RUN_ONCE);
    fake_end(conn, false);
    peer_close(&peer);
    run_to_end(&loop);
    fake_free(conn);
}

static void several_loops(void **state) {
    (void)state;
    uv_thread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(uv_thread_create(&threads[i], echo_on_a_loop_of_its_own, NULL), 0);
    for (int i = 0; i < 4; i++) uv_thread_join(&threads[i]);
}

/* @return whether all went well; in any case everything has been given back. */
static bool life_with(struct fail_alloc *fail, const char *host) {
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    lago_context_t *context;
    lago_connection_t *conn = NULL;
    bool well = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    peer_listen(&peer, &loop, "127.0.0.1");
    char url[80];
    snprintf(url, sizeof url, "%s%s", host, strrchr(peer.url, ':'));
    int rc = lago_context_new(&loop, &(lago_context_options_t){ .allocator = fail->allocator }, &context);
    if (rc == 0) rc = lago_connect(&loop, url, &(lago_connection_options_t){ .context = context }, &conn);
    lago_context_free(context);
    if (rc < 0) {
        assert_int_equal(rc, LAGO_ENOMEM);
        assert_null(conn);
    } else {
        fake_send(conn, "hello", 5);
        bool failed = false;
        while (!well && !failed) {
            uv_run(&loop, UV_RUN_ONCE);
            well = conn->counts[FAKE_INPUT] > 0;
            failed = conn->down || conn->lost_status == LAGO_ENOMEM;
        }
        fake_end(conn, true);
    }
    peer_close(&peer);
    run_to_end(&loop);
    if (conn != NULL) fake_free(conn);
    fail_alloc_check(fail);
    return well;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const char *const hosts[] = { "127.0.0.1", "localhost" };
    for (int i = 0; i < (peer_has_localhost() ? 2 : 1); i++) {
        struct fail_alloc fail;
        fail_alloc_init(&fail);
        size_t n = 0;
        do fail_alloc_at(&fail, ++n, true);
        while (!life_with(&fail, hosts[i]));
        assert_in_range(n, 6, 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(a_capture_has_the_time_of_day),
        cmocka_unit_test(an_allocator_is_given_whole),
        cmocka_unit_test(default_log_is_a_line_on_stderr),
        cmocka_unit_test(three_connections_share_one_buffer),
        cmocka_unit_test(a_buffer_that_is_held_makes_room_for_another),
        cmocka_unit_test(what_one_writes_on_another_leaves_in_the_same_turn),
        cmocka_unit_test(a_connection_may_come_while_the_last_one_goes),
        cmocka_unit_test(several_loops),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("uv/context", tests, NULL, NULL);
}
