/* The stream: full send buffers, reset peers without SIGPIPE, buffers that are kept, one read for each wake-up. */
#include "fake_client.h"
#include "peer.h"
#include <lago/connection.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG ((size_t)24 * 1024 * 1024) /* more than any send and receive buffer together */

struct room {
    uv_loop_t loop;
    struct peer peer;
    lago_context_t *context;
    lago_connection_t *conn;
};

/* A connection to a peer; reads of 4096 bytes at most. */
static void enter(struct room *room, struct peer peer) {
    room->peer = peer;
    assert_int_equal(uv_loop_init(&room->loop), 0);
    peer_listen(&room->peer, &room->loop, "127.0.0.1");
    assert_int_equal(lago_context_new(&room->loop, &(lago_context_options_t){ .read_size = 4096 }, &room->context), 0);
    lago_connection_options_t options = { .context = room->context };
    assert_int_equal(lago_connect(&room->loop, room->peer.url, &options, &room->conn), 0);
    run_until_count(&room->loop, &room->conn->counts[FAKE_CONNECTED], 1);
    assert_int_equal(room->conn->connected_status, 0);
    while (room->peer.client_count == 0) uv_run(&room->loop, UV_RUN_ONCE);
}

static void leave(struct room *room) {
    fake_end(room->conn, true);
    peer_close(&room->peer);
    lago_context_free(room->context);
    run_to_end(&room->loop);
    fake_free(room->conn);
}

static uint8_t *pattern(size_t size) {
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * 31 + i / 4096);
    return data;
}

static void big_output_to_a_slow_reader(void **state) {
    (void)state;
    struct room room;
    uint8_t *data = pattern(BIG);
    enter(&room, (struct peer){ .asleep = true });
    fake_send(room.conn, data, BIG);
    size_t before;
    do { /* until the kernel takes no more */
        before = room.conn->output_done;
        for (int i = 0; i < 20; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
    } while (room.conn->output_done > before);
    assert_in_range(room.conn->output_done, 1, BIG - 1);
    assert_int_not_equal(uv_backend_timeout(&room.loop), 0); /* waits, and does not spin */

    peer_read(&room.peer);
    while (room.peer.received_size < BIG) uv_run(&room.loop, UV_RUN_ONCE);
    assert_int_equal(room.conn->output_done, BIG);
    assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 0);
    leave(&room);
    free(data);
}

static void everything_of_a_turn_leaves_in_one_write(void **state) {
    (void)state;
    struct room room;
    enter(&room, (struct peer){ .echo = false });
    for (int i = 0; i < 50; i++) fake_send(room.conn, "frame", 5);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_int_equal(room.conn->counts[FAKE_WRITTEN], 1);
    assert_int_equal(room.conn->output_done, 250);
    leave(&room);
}

static void echo_is_intact(void **state) {
    (void)state;
    struct room room;
    uint8_t *data = pattern(BIG / 8);
    enter(&room, (struct peer){ .echo = true });
    fake_send(room.conn, data, BIG / 8);
    while (room.conn->received_size < BIG / 8) uv_run(&room.loop, UV_RUN_ONCE);
    assert_memory_equal(room.conn->received, data, BIG / 8);
    assert_int_equal(room.conn->largest_input, 4096);
    leave(&room);
    free(data);
}

static void one_read_for_each_wake_up(void **state) {
    (void)state;
    struct room room;
    uint8_t *data = pattern(65536);
    enter(&room, (struct peer){ .echo = false });
    peer_write(&room.peer, 0, data, 65536);
    while (room.conn->received_size < 65536) {
        int reads = room.conn->counts[FAKE_INPUT];
        uv_run(&room.loop, UV_RUN_NOWAIT);
        assert_in_range(room.conn->counts[FAKE_INPUT] - reads, 0, 1);
    }
    assert_memory_equal(room.conn->received, data, 65536);
    leave(&room);
    free(data);
}

static void input_that_is_not_taken_stays(void **state) {
    (void)state;
    struct room room;
    uint8_t *data = pattern(20000);
    enter(&room, (struct peer){ .echo = false });
    room.conn->hold = true;
    peer_write(&room.peer, 0, data, 20000);
    run_until_count(&room.loop, &room.conn->counts[FAKE_INPUT], 1);
    for (int i = 0; i < 20; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_int_equal(room.conn->counts[FAKE_INPUT], 1); /* nothing is read over it */
    assert_memory_equal(room.conn->borrowed, data, room.conn->borrowed_size);
    assert_int_not_equal(uv_backend_timeout(&room.loop), 0);

    room.conn->hold = false;
    room.conn->wants.turn = true;
    fake_wake(room.conn);
    while (room.conn->received_size < 20000) uv_run(&room.loop, UV_RUN_ONCE);
    assert_memory_equal(room.conn->received, data, 20000);
    leave(&room);
    free(data);
}

static void held_input_survives_its_link(void **state) {
    (void)state;
    struct room room;
    enter(&room, (struct peer){ .echo = false });
    room.conn->hold = true;
    peer_write(&room.peer, 0, "message", 7);
    run_until_count(&room.loop, &room.conn->counts[FAKE_INPUT], 1);
    room.conn->transport.ops->hang_up(room.conn->transport.self, false);
    for (int i = 0; i < 5; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_memory_equal(room.conn->borrowed, "message", 7);
    assert_int_equal(room.conn->counts[FAKE_LOST], 0); /* no call for a link that was hung up */
    leave(&room);
}

static void not_reading_leaves_bytes_in_the_kernel(void **state) {
    (void)state;
    struct room room;
    enter(&room, (struct peer){ .echo = false });
    room.conn->wants.read = false;
    fake_wake(room.conn);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    peer_write(&room.peer, 0, "later", 5);
    for (int i = 0; i < 20; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_int_equal(room.conn->counts[FAKE_INPUT], 0);
    assert_true(room.conn->transport.ops->unread(room.conn->transport.self));
    room.conn->wants.read = true;
    fake_wake(room.conn);
    run_until_count(&room.loop, &room.conn->counts[FAKE_INPUT], 1);
    assert_memory_equal(room.conn->received, "later", 5);
    assert_false(room.conn->transport.ops->unread(room.conn->transport.self));
    room.conn->wants.read = false;
    fake_wake(room.conn);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    peer_close(&room.peer);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_true(room.conn->transport.ops->unread(room.conn->transport.self)); /* an end is something to read, too */
    room.conn->transport.ops->hang_up(room.conn->transport.self, false);
    assert_false(room.conn->transport.ops->unread(room.conn->transport.self));
    leave(&room);
}

/* What the broker said before it closed is the better reason, so it is read after a failed write. */
static void reading_goes_on_after_a_failed_write(void **state) {
    (void)state;
    struct room room;
    enter(&room, (struct peer){ .reset = true });
    room.conn->wants.read = false;
    fake_send(room.conn, "x", 1);
    while (!uv_is_closing((uv_handle_t *)&room.peer.clients[0])) uv_run(&room.loop, UV_RUN_ONCE);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    fake_send(room.conn, "y", 1);
    run_until_count(&room.loop, &room.conn->counts[FAKE_WRITE_FAILED], 1);
    assert_true(room.conn->write_status == UV_ECONNRESET || room.conn->write_status == UV_EPIPE);
    fake_send(room.conn, "z", 1); /* is not tried any more */
    for (int i = 0; i < 20; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 1);
    assert_int_equal(room.conn->counts[FAKE_LOST], 0);
    room.conn->wants.read = true;
    fake_wake(room.conn);
    run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], 1);
    leave(&room);
}

static void a_blocked_write_learns_of_the_reset(void **state) {
    (void)state;
    struct room room;
    uint8_t *data = pattern(BIG);
    enter(&room, (struct peer){ .asleep = true });
    room.conn->wants.read = false;
    fake_send(room.conn, data, BIG);
    size_t before;
    do {
        before = room.conn->output_done;
        for (int i = 0; i < 20; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
    } while (room.conn->output_done > before);
    assert_int_equal(uv_tcp_close_reset(&room.peer.clients[0], NULL), 0);
    run_until_count(&room.loop, &room.conn->counts[FAKE_WRITE_FAILED], 1);
    leave(&room);
    free(data);
}

/* In a child: writes to a peer that is gone must not end the process, and the disposition is not touched. */
static void write_to_the_dead(void) {
    struct room room;
    signal(SIGPIPE, SIG_DFL);
    enter(&room, (struct peer){ .asleep = true });
    room.conn->wants.read = false;
    peer_close(&room.peer);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 1000 && room.conn->counts[FAKE_WRITE_FAILED] == 0; i++) {
        fake_send(room.conn, "x", 1);
        uv_run(&room.loop, UV_RUN_NOWAIT);
    }
    bool failed = room.conn->write_status == UV_EPIPE || room.conn->write_status == UV_ECONNRESET;
    bool untouched = signal(SIGPIPE, SIG_DFL) == SIG_DFL;
    _exit(failed && untouched ? 0 : 1);
}

static void no_sigpipe(void **state) {
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0) write_to_the_dead();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(big_output_to_a_slow_reader),
        cmocka_unit_test(everything_of_a_turn_leaves_in_one_write),
        cmocka_unit_test(echo_is_intact),
        cmocka_unit_test(one_read_for_each_wake_up),
        cmocka_unit_test(input_that_is_not_taken_stays),
        cmocka_unit_test(held_input_survives_its_link),
        cmocka_unit_test(not_reading_leaves_bytes_in_the_kernel),
        cmocka_unit_test(reading_goes_on_after_a_failed_write),
        cmocka_unit_test(a_blocked_write_learns_of_the_reset),
        cmocka_unit_test(no_sigpipe),
    };
    return cmocka_run_group_tests_name("uv/tcp_link", tests, NULL, NULL);
}
