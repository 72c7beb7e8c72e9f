/*
 * A client that stands still: its process is stopped, or its loop is held, for many heartbeats, while its broker lives on. When it
 * goes on it reads what has waited before it judges, tells one end at most, and beats no faster than before. The client is this
 * program again, as a process of its own: test_uv_stopped client PORT WHAT. (tests/FAULTS.md F54, F56.)
 */
#include "dial_peer.h"
#include "faults.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEARTBEAT_MS 1000u
#define HELD_MS      (3 * HEARTBEAT_MS + 200)

static struct rig *const r = &rig;

/* ---------------------------------------------------------------- the client's process */

static struct {
    uint16_t port;
    const char *what; /* the name of the code by which it must end; "held LAGO_...": its loop is held first */
} client;

static void hold_the_loop(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)data;
    if (status == 0) uv_sleep(HELD_MS);
}

static void client_lives(void **state) {
    (void)state;
    bool held = strncmp(client.what, "held ", 5) == 0;
    rig_start();
    rig_connect(&(lago_parameters_t){ .host = "127.0.0.1", .port = client.port, .heartbeat_s = HEARTBEAT_MS / 1000 });
    rig_until_open();
    if (held) assert_int_equal(lago_connection_call_later(r->conn, 1, hold_the_loop, NULL, NULL), 0);
    while (r->closed == 0) rig_turn(); /* the test ends it, or its own timeout */
    rig_run_ms(100);
    assert_int_equal(r->closed, 1);
    assert_string_equal(lago_error_name(r->reason.code), client.what + (held ? 5 : 0));
    rig_stop();
}

static int run_client(char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(client_lives) };
    client.port = (uint16_t)atoi(argv[2]);
    client.what = argv[3];
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}

/* ---------------------------------------------------------------- its broker's, the test's own */

static struct dial_peer peer;
static uv_process_t process;
static int64_t exit_status;
static bool exited;

static void on_client_exit(uv_process_t *self, int64_t status, int signum) {
    exit_status = signum ? -signum : status;
    exited = true;
    uv_close((uv_handle_t *)self, NULL);
}

static void start(const char *what) {
    char program[1024], port[8];
    size_t size = sizeof program;
    rig_start();
    dial_peer_start(&peer, &r->loop, "127.0.0.1", 0);
    peer.beat_ms = HEARTBEAT_MS / 2;
    snprintf(port, sizeof port, "%u", peer.port);
    assert_int_equal(uv_exepath(program, &size), 0);
    char *args[] = { program, (char[]){ "client" }, port, (char *)(uintptr_t)what, NULL };
    uv_stdio_container_t stdio[] = { { .flags = UV_IGNORE }, { .flags = UV_IGNORE }, { .flags = UV_INHERIT_FD, .data.fd = 2 } };
    uv_process_options_t options = { .file = program, .args = args, .exit_cb = on_client_exit, .stdio = stdio, .stdio_count = 3 };
    exited = false;
    assert_int_equal(uv_spawn(&r->loop, &process, &options), 0);
    RIG_UNTIL(peer.opens == 1);
    rig_run_ms(HEARTBEAT_MS / 4);
}

/* The client has gone by itself, and was content. */
static void stop(void) {
    RIG_UNTIL(exited);
    assert_int_equal(exit_status, 0);
    dial_peer_stop(&peer);
    rig_stop();
}

static void stand_still(uint64_t ms) {
    assert_int_equal(uv_process_kill(&process, SIGSTOP), 0);
    for (uint64_t since = uv_hrtime(); rig_ms_since(since) < ms;) rig_turn();
    assert_int_equal(uv_process_kill(&process, SIGCONT), 0);
}

/* It is still there, and beats as it should: once each half second. */
static void check_beats(void) {
    unsigned beats = peer.heartbeats;
    RIG_UNTIL(peer.heartbeats > beats);
    rig_run_ms(HEARTBEAT_MS / 4);
    assert_in_range(peer.heartbeats - beats, 1, 2); /* overdue ones are not made up for */
    beats = peer.heartbeats;
    rig_run_ms(HEARTBEAT_MS * 7 / 4);
    assert_in_range(peer.heartbeats - beats, 3, 4);
    assert_int_equal(peer.last_status, 0);
    assert_false(exited);
}

static void say_goodbye(void) {
    dial_peer_say(&peer, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    dial_peer_hang_up(&peer);
}

/* ---------------------------------------------------------------- the tests */

static void stopped_for_ten_heartbeats(void **state) {
    (void)state;
    start("LAGO_ECONNECTION");
    stand_still(10 * HEARTBEAT_MS);
    check_beats();
    say_goodbye();
    stop();
}

/* RabbitMQ does so after three intervals: its heartbeats and its FIN wait together. */
static void the_broker_gives_up_meanwhile(void **state) {
    (void)state;
    start("LAGO_ELOST");
    assert_int_equal(uv_process_kill(&process, SIGSTOP), 0);
    rig_run_ms(HEARTBEAT_MS * 3 / 5);
    dial_peer_hang_up(&peer);
    rig_run_ms(HEARTBEAT_MS * 3 / 5);
    assert_int_equal(uv_process_kill(&process, SIGCONT), 0);
    stop();
}

static void the_broker_says_goodbye_meanwhile(void **state) {
    (void)state;
    start("LAGO_ECONNECTION");
    assert_int_equal(uv_process_kill(&process, SIGSTOP), 0);
    rig_run_ms(HEARTBEAT_MS * 3 / 5);
    say_goodbye();
    rig_run_ms(HEARTBEAT_MS * 3 / 5);
    assert_int_equal(uv_process_kill(&process, SIGCONT), 0);
    stop();
}

static void the_link_dies_meanwhile(void **state) {
    (void)state;
    start("LAGO_EHEARTBEAT");
    uv_timer_stop(&peer.beat);
    stand_still(2 * HEARTBEAT_MS);
    uint64_t since = uv_hrtime();
    RIG_UNTIL(exited);
    assert_in_range(rig_ms_since(since), 0, HEARTBEAT_MS / 2);
    stop();
}

static void the_loop_is_held_for_three_heartbeats(void **state) {
    (void)state;
    start("held LAGO_ECONNECTION");
    rig_run_ms(HELD_MS - HEARTBEAT_MS / 4 - 100);
    check_beats();
    say_goodbye();
    stop();
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_for_ten_heartbeats),
        cmocka_unit_test(the_broker_gives_up_meanwhile),
        cmocka_unit_test(the_broker_says_goodbye_meanwhile),
        cmocka_unit_test(the_link_dies_meanwhile),
        cmocka_unit_test(the_loop_is_held_for_three_heartbeats),
    };
    if (argc == 4) return run_client(argv);
    return cmocka_run_group_tests_name("uv/stopped", tests, NULL, NULL);
}
