/* A connection's life on the loop: lookup, connect, turns, timers, and an end at every stage after which the loop closes. */
#include "deadline.h"
#include "fake_client.h"
#include "peer.h"
#include <lago/connection.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void end_now(lago_connection_t *conn, uv_loop_t *loop) {
    fake_end(conn, false);
    run_to_end(loop);
    fake_free(conn);
}

static lago_connection_t *start(uv_loop_t *loop, const char *url) {
    lago_connection_t *conn;
    assert_int_equal(uv_loop_init(loop), 0);
    assert_int_equal(lago_connect(loop, url, NULL, &conn), 0);
    return conn;
}

static lago_connection_t *start_with_peer(uv_loop_t *loop, struct peer *peer, const char *ip) {
    lago_connection_t *conn;
    assert_int_equal(uv_loop_init(loop), 0);
    peer_listen(peer, loop, ip);
    assert_int_equal(lago_connect(loop, peer->url, NULL, &conn), 0);
    return conn;
}

static void connect_validates(void **state) {
    (void)state;
    uv_loop_t loop, other;
    lago_connection_t *conn = (lago_connection_t *)&loop;
    lago_parameters_t parameters = { .host = "h" };
    lago_context_t *context;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_context_new(&loop, NULL, &context), 0);
    assert_int_equal(lago_connect(NULL, "h:1", NULL, &conn), LAGO_EINVAL);
    assert_null(conn);
    assert_int_equal(lago_connect(&loop, "h:1", NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connect(&loop, "h:1", &(lago_connection_options_t){ .parameters = &parameters }, &conn), LAGO_EINVAL);
    assert_int_equal(lago_connect(&loop, "h:1", &(lago_connection_options_t){ .reserved = { 0, 1 } }, &conn), LAGO_EINVAL);
    assert_int_equal(lago_connect(&loop, NULL, &(lago_connection_options_t){ .parameters_count = 2 }, &conn), LAGO_EINVAL);
    assert_int_equal(lago_connect(&other, "h:1", &(lago_connection_options_t){ .context = context }, &conn), LAGO_EINVAL);
    assert_int_equal(lago_connect(&loop, "no port", NULL, &conn), LAGO_EURL); /* and nothing is left in the loop */
    assert_null(conn);
    lago_context_free(context);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void echo(const char *ip, const char *prefix) {
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    lago_connection_t *conn = start_with_peer(&loop, &peer, ip);
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    assert_int_equal(conn->connected_status, 0);
    assert_int_equal(strncmp(conn->endpoint, prefix, strlen(prefix)), 0);
    fake_send(conn, "AMQP\0\0\x9\x1", 8);
    run_until_count(&loop, &conn->counts[FAKE_INPUT], 1);
    assert_int_equal(conn->received_size, 8);
    assert_memory_equal(conn->received, "AMQP\0\0\x9\x1", 8);
    fake_end(conn, false);
    run_until(&loop, &peer.closed);
    assert_int_equal(peer.last_status, UV_EOF);
    peer_close(&peer);
    run_to_end(&loop);
    fake_free(conn);
}

static void echo_over_ipv4(void **state) {
    (void)state;
    echo("127.0.0.1", "127.0.0.1:");
}

static void echo_over_ipv6(void **state) {
    (void)state;
    echo("::1", "[::1]:");
}

static void reset_is_an_rst(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    lago_connection_t *conn = start_with_peer(&loop, &peer, "127.0.0.1");
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    fake_end(conn, true);
    run_until(&loop, &peer.closed);
    assert_int_equal(peer.last_status, UV_ECONNRESET);
    peer_close(&peer);
    run_to_end(&loop);
    fake_free(conn);
}

static void peer_that_closes_is_eof(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = false };
    lago_connection_t *conn = start_with_peer(&loop, &peer, "127.0.0.1");
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    peer_write(&peer, 0, "bye", 3);
    uv_run(&loop, UV_RUN_NOWAIT);
    peer_close(&peer);
    run_until_count(&loop, &conn->counts[FAKE_LOST], 1);
    assert_int_equal(conn->lost_status, UV_EOF);
    assert_memory_equal(conn->received, "bye", 3); /* first what it said, then its end */
    end_now(conn, &loop);
}

static void refused(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = false };
    lago_connection_t *conn = start_with_peer(&loop, &peer, "127.0.0.1");
    peer_close(&peer);
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    assert_int_equal(conn->connected_status, UV_ECONNREFUSED);
    assert_string_equal(conn->endpoint, peer.url);
    end_now(conn, &loop);
}

static void localhost_needs_no_network(void **state) {
    (void)state;
    uv_loop_t loop;
    if (!peer_has_localhost()) skip(); /* no /etc/hosts */
    lago_connection_t *conn = start(&loop, "localhost:1");
    run_until_count(&loop, &conn->counts[FAKE_RESOLVED], 1);
    assert_int_equal(conn->resolved_status, 0);
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], (int)conn->address_count); /* every address is tried */
    assert_int_equal(conn->connected_status, UV_ECONNREFUSED);
    end_now(conn, &loop);
}

static void nonsense_does_not_resolve(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn = start(&loop, "300.1.2.3.4.:1");
    run_until_count(&loop, &conn->counts[FAKE_RESOLVED], 1);
    assert_true(conn->resolved_status < 0);
    assert_int_equal(conn->address_count, 0);
    end_now(conn, &loop);
}

static void bad_option_names_the_endpoint(void **state) {
    (void)state;
    /* tcp(7): at most 32767, 32767 and 127 */
    static const lago_tcp_options_t bad[] = { { .keepidle_s = 40000, .keepintvl_s = 10, .keepcnt = 5 },
                                              { .keepidle_s = 60, .keepintvl_s = 40000, .keepcnt = 5 },
                                              { .keepidle_s = 60, .keepintvl_s = 10, .keepcnt = 100000 },
                                              { .keepcnt = UINT32_MAX, .user_timeout_ms = 5 },
                                              { .keepintvl_s = UINT32_MAX } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uv_loop_t loop;
        lago_connection_t *conn = start(&loop, "127.0.0.1:1");
        conn->tcp_options = bad[i];
        run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
        assert_int_equal(conn->connected_status, UV_EINVAL);
        assert_string_equal(conn->endpoint, "127.0.0.1:1");
        end_now(conn, &loop);
    }
}

static void good_options_are_taken(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    lago_connection_t *conn = start_with_peer(&loop, &peer, "127.0.0.1");
    conn->tcp_options = (lago_tcp_options_t){ .keepidle_s = 60, .keepintvl_s = 10, .keepcnt = 2, .user_timeout_ms = 1000 };
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    assert_int_equal(conn->connected_status, 0);
    peer_close(&peer);
    end_now(conn, &loop);
}

/* Where there is no link, nothing of it is known, and nothing can be asked of it. */
static void there_is_nothing_to_ask_without_a_link(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn = start(&loop, "127.0.0.1:1");
    const struct transport_ops *ops = conn->transport.ops;
    void *self = conn->transport.self;
    bool waiting = true;
    assert_int_equal(ops->taken(self, &waiting), 0);
    assert_false(waiting);
    assert_false(ops->unread(self));
    assert_false(ops->is_private(self));
    assert_string_equal(ops->tls(self).version, "");
    assert_string_equal(ops->tls(self).cipher, "");
    assert_int_equal(ops->secure(self, 0, "h"), LAGO_EINVAL);
    assert_int_equal(ops->connect(self, 0), LAGO_EINVAL);
    assert_int_equal(ops->adopt(self), LAGO_EINVAL);
    assert_string_equal(ops->endpoint(self, 0), "");
    assert_true(ops->random(self) != ops->random(self));
    end_now(conn, &loop);
}

/* ---------------------------------------------------------------- ends */

static void end_before_the_loop_runs(void **state) {
    (void)state;
    uv_loop_t loop;
    end_now(start(&loop, "127.0.0.1:1"), &loop);
}

/* Another thread's post, or the last call of the application, may wake what is about to go. */
static void wake_behind_the_end(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn = start(&loop, "127.0.0.1:1");
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    fake_end(conn, false);
    conn->transport.ops->wake(conn->transport.self);
    run_to_end(&loop);
    fake_free(conn);
}

static enum fake_call stage;

static void end_in_stage(lago_connection_t *conn, enum fake_call call, int status) {
    (void)status;
    if (call == stage) fake_end(conn, true);
}

static void end_in_every_call(void **state) {
    (void)state;
    static const enum fake_call stages[] = { FAKE_RESOLVED, FAKE_CONNECTED, FAKE_INPUT, FAKE_TURN, FAKE_WRITTEN };
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        uv_loop_t loop;
        struct peer peer = { .echo = true };
        lago_connection_t *conn = start_with_peer(&loop, &peer, "127.0.0.1");
        fake_send(conn, "hello", 5);
        stage = stages[i];
        conn->hook = end_in_stage;
        run_until_count(&loop, &conn->counts[FAKE_FINISHED], 1);
        peer_close(&peer);
        run_to_end(&loop);
        fake_free(conn);
    }
}

static void end_while_looking_up(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn = start(&loop, "localhost:1");
    conn->hook = end_in_stage;
    stage = FAKE_TURN; /* the turn that calls resolve */
    run_until_count(&loop, &conn->counts[FAKE_FINISHED], 1);
    assert_int_equal(conn->counts[FAKE_RESOLVED], 0);
    fake_free(conn); /* the lookup may run on: it knows nobody */
    run_to_end(&loop);
}

/* The thread pool is busy, so the lookup cannot even start. */
static void sleep_in_pool(uv_work_t *work) { uv_sem_wait(work->data); }

static void end_does_not_wait_for_a_lookup(void **state) {
    (void)state;
    uv_loop_t loop;
    uv_work_t work[64];
    uv_sem_t semaphore;
    uv_sem_init(&semaphore, 0);
    lago_connection_t *conn = start(&loop, "localhost:1");
    for (size_t i = 0; i < 64; i++) {
        work[i].data = &semaphore;
        uv_queue_work(&loop, &work[i], sleep_in_pool, NULL);
    }
    run_until_count(&loop, &conn->counts[FAKE_TURN], 1);
    fake_end(conn, false);
    run_until_count(&loop, &conn->counts[FAKE_FINISHED], 1);
    fake_free(conn);
    for (size_t i = 0; i < 64; i++) uv_sem_post(&semaphore);
    run_to_end(&loop);
    uv_sem_destroy(&semaphore);
}

static void hang_up_while_connecting(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .echo = true };
    lago_connection_t *conn = start_with_peer(&loop, &peer, "127.0.0.1");
    run_until_count(&loop, &conn->counts[FAKE_RESOLVED], 1); /* connect was called in there */
    int connected = conn->counts[FAKE_CONNECTED];
    fake_hang_up(conn, false);
    run_a_while(&loop);
    assert_int_equal(conn->counts[FAKE_CONNECTED], connected);
    struct link_target again = { .host = conn->host, .port = conn->port };
    assert_int_equal(conn->transport.ops->resolve(conn->transport.self, &again), 0); /* and on with the next */
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], connected + 1);
    assert_int_equal(conn->connected_status, 0);
    peer_close(&peer);
    end_now(conn, &loop);
}

/* ---------------------------------------------------------------- turns and time */

static void deadline_calls_a_turn(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn = start(&loop, "127.0.0.1:1");
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    uint64_t before = transport_now_ms(&conn->transport);
    int turns = conn->counts[FAKE_TURN];
    conn->wants.deadline = before + 500;
    fake_wake(conn);
    uv_run(&loop, UV_RUN_NOWAIT);
    conn->wants.deadline = before + 30; /* earlier than armed */
    fake_wake(conn);
    run_until_count(&loop, &conn->counts[FAKE_TURN], turns + 1);
    uint64_t after = transport_now_ms(&conn->transport);
    assert_in_range(after - before, 30, 300);
    assert_int_equal(conn->counts[FAKE_TURN], turns + 1); /* not one too early */
    end_now(conn, &loop);
}

static void wanting_turns_does_not_starve_the_loop(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn = start(&loop, "127.0.0.1:1");
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    for (int i = 0; i < 5; i++) {
        int turns = conn->counts[FAKE_TURN];
        conn->wants.turn = true;
        fake_wake(conn);
        assert_int_equal(uv_backend_timeout(&loop), 0); /* a host that embeds the loop must not sleep */
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(conn->counts[FAKE_TURN], turns + 1);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_not_equal(uv_backend_timeout(&loop), 0);
    end_now(conn, &loop);
}

static void want_turn_again(lago_connection_t *conn, enum fake_call call, int status) {
    (void)status;
    if (call == FAKE_TURN) conn->wants.turn = true;
}

static void one_turn_between_two_polls(void **state) {
    (void)state;
    uv_loop_t loop;
    lago_connection_t *conn = start(&loop, "127.0.0.1:1");
    conn->hook = want_turn_again;
    for (int i = 1; i < 10; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(conn->counts[FAKE_TURN], i);
    }
    end_now(conn, &loop);
}

static void unreferenced_lets_the_loop_end(void **state) {
    (void)state;
    uv_loop_t loop;
    struct peer peer = { .asleep = true };
    lago_connection_t *conn = start_with_peer(&loop, &peer, "127.0.0.1");
    run_until_count(&loop, &conn->counts[FAKE_CONNECTED], 1);
    conn->wants.deadline = transport_now_ms(&conn->transport) + 100000; /* a heartbeat */
    conn->wants.alive = false;
    fake_wake(conn);
    peer_close(&peer);
    conn->wants.read = false;
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    conn->wants.alive = true;
    conn->wants.deadline = DEADLINE_NEVER;
    fake_wake(conn);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(uv_loop_alive(&loop)); /* with nothing to do at all */
    end_now(conn, &loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_validates),
        cmocka_unit_test(echo_over_ipv4),
        cmocka_unit_test(echo_over_ipv6),
        cmocka_unit_test(reset_is_an_rst),
        cmocka_unit_test(peer_that_closes_is_eof),
        cmocka_unit_test(refused),
        cmocka_unit_test(localhost_needs_no_network),
        cmocka_unit_test(nonsense_does_not_resolve),
        cmocka_unit_test(bad_option_names_the_endpoint),
        cmocka_unit_test(good_options_are_taken),
        cmocka_unit_test(there_is_nothing_to_ask_without_a_link),
        cmocka_unit_test(wake_behind_the_end),
        cmocka_unit_test(end_before_the_loop_runs),
        cmocka_unit_test(end_in_every_call),
        cmocka_unit_test(end_while_looking_up),
        cmocka_unit_test(end_does_not_wait_for_a_lookup),
        cmocka_unit_test(hang_up_while_connecting),
        cmocka_unit_test(deadline_calls_a_turn),
        cmocka_unit_test(wanting_turns_does_not_starve_the_loop),
        cmocka_unit_test(one_turn_between_two_polls),
        cmocka_unit_test(unreferenced_lets_the_loop_end),
    };
    return cmocka_run_group_tests_name("uv/uv_transport", tests, NULL, NULL);
}
