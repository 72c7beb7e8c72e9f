/*
 * The stream, over every way that there is: full send buffers, reset peers without SIGPIPE, signals, buffers that are kept, one
 * read for each wake-up.
 */
#include "way.h"
#include <errno.h>
#include <lago/connection.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG         ((size_t)6 * 1024 * 1024) /* more than any send buffer, and what the peer has room for */
#define PATIENCE_NS UINT64_C(10000000000)
#define READ_SIZE   4096
#define RECORD      16384 /* of TLS: comes whole or not at all */

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

static unsigned signals_left; /* so many calls are interrupted */

/* The linker leads lago's calls here: --wrap=sendmsg. */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
    if (signals_left == 0) return __real_sendmsg(fd, message, flags);
    signals_left--;
    errno = EINTR;
    return -1;
}

static void count_poll(uv_handle_t *handle, void *count) {
    if (uv_handle_get_type(handle) == UV_POLL && uv_is_active(handle)) ++*(unsigned *)count;
}

/* Whoever waits for a send buffer to be empty is woken again and again while it is. */
static unsigned waiting_for_room(struct way_room *room) {
    unsigned count = 0;
    uv_walk(&room->loop, count_poll, &count);
    return count;
}

/* Until the kernel takes no more. */
static void fill(struct way_room *room) {
    size_t before;
    do {
        before = room->conn->output_done;
        run_a_while(&room->loop);
    } while (room->conn->output_done > before);
}

static uint64_t taken(struct way_room *room, bool *waiting) {
    return room->conn->transport.ops->taken(room->conn->transport.self, waiting);
}

/* When nothing waits any more: the peer's kernel may acknowledge a little later than the peer has read. */
static uint64_t taken_at_last(struct way_room *room) {
    uint64_t patience = uv_hrtime() + PATIENCE_NS, number;
    bool waiting;
    do {
        uv_run(&room->loop, UV_RUN_NOWAIT);
        number = taken(room, &waiting);
    } while (waiting && uv_hrtime() < patience);
    assert_false(waiting);
    return number;
}

static void big_output_to_a_slow_reader(void **state) {
    (void)state;
    struct way_room room;
    bool waiting;
    uint8_t *data = way_pattern(BIG);
    way_enter(&room, (struct peer){ .asleep = true }, READ_SIZE);
    fake_send(room.conn, data, BIG);
    fill(&room);
    assert_in_range(room.conn->output_done, 1, BIG - 1);
    assert_int_not_equal(uv_backend_timeout(&room.loop), 0); /* waits, and does not spin */
    uint64_t stalled = taken(&room, &waiting);
    assert_true(waiting);
    run_a_while(&room.loop);
    assert_int_equal(taken(&room, &waiting), stalled);
    assert_int_equal(waiting_for_room(&room), 1);

    peer_read(&room.peer);
    run_until_size(&room.loop, &room.peer.received_size, BIG);
    assert_int_equal(waiting_for_room(&room), 0);
    assert_int_equal(room.conn->output_done, BIG);
    assert_memory_equal(room.peer.received, data, PEER_KEPT);
    assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 0);
    assert_true(taken_at_last(&room) > stalled);
    way_leave(&room, true);
    free(data);
}

/* Without a byte of ours: what stalls is judged by it. */
static void what_the_peer_takes_is_seen(void **state) {
    (void)state;
    struct way_room room;
    bool waiting;
    uint8_t *data = way_pattern(BIG);
    way_enter(&room, (struct peer){ .asleep = true }, READ_SIZE);
    fake_send(room.conn, data, BIG);
    fill(&room);
    room.conn->output_size = room.conn->output_done; /* that was all */
    run_a_while(&room.loop);
    uint64_t stalled = taken(&room, &waiting);
    assert_true(waiting);
    int written = room.conn->counts[FAKE_WRITTEN];
    peer_read(&room.peer);
    run_until_size(&room.loop, &room.peer.received_size, room.conn->output_size);
    assert_int_equal(room.conn->counts[FAKE_WRITTEN], written);
    assert_true(taken_at_last(&room) > stalled);
    way_leave(&room, true);
    free(data);
}

static void everything_of_a_turn_leaves_in_one_write(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    for (int i = 0; i < 50; i++) fake_send(room.conn, "frame", 5);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_int_equal(room.conn->counts[FAKE_WRITTEN], 1);
    assert_int_equal(room.conn->output_done, 250);
    way_leave(&room, true);
}

/* It is no fault of the link's, and nobody hears of it. */
static void a_signal_in_a_write_is_nothing(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    signals_left = 3;
    fake_send(room.conn, "frame", 5);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    unsigned left = signals_left;
    signals_left = 0;
    assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 0);
    assert_int_equal(left, 0);
    run_until_size(&room.loop, &room.peer.received_size, 5);
    assert_int_equal(room.conn->counts[FAKE_WRITTEN], 1);
    assert_int_equal(room.conn->counts[FAKE_LOST], 0);
    way_leave(&room, true);
}

static void echo_is_intact(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(BIG / 8);
    way_enter(&room, (struct peer){ .echo = true }, READ_SIZE);
    fake_send(room.conn, data, BIG / 8);
    run_until_size(&room.loop, &room.conn->received_size, BIG / 8);
    assert_memory_equal(room.conn->received, data, BIG / 8);
    assert_int_equal(room.conn->largest_input, READ_SIZE);
    way_leave(&room, true);
    free(data);
}

static void one_read_for_each_wake_up(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(65536);
    int most = way_is_tls() ? RECORD / READ_SIZE : 1;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    peer_write(&room.peer, 0, data, 65536);
    while (room.conn->received_size < 65536) {
        int reads = room.conn->counts[FAKE_INPUT];
        uv_run(&room.loop, UV_RUN_NOWAIT);
        assert_in_range(room.conn->counts[FAKE_INPUT] - reads, 0, most);
    }
    assert_memory_equal(room.conn->received, data, 65536);
    way_leave(&room, true);
    free(data);
}

static void input_that_is_not_taken_stays(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(20000);
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn->hold = true;
    peer_write(&room.peer, 0, data, 20000);
    run_until_count(&room.loop, &room.conn->counts[FAKE_INPUT], 1);
    run_a_while(&room.loop);
    assert_int_equal(room.conn->counts[FAKE_INPUT], 1); /* nothing is read over it */
    assert_memory_equal(room.conn->borrowed, data, room.conn->borrowed_size);
    assert_int_not_equal(uv_backend_timeout(&room.loop), 0);

    assert_true(room.conn->transport.ops->unread(room.conn->transport.self));
    room.conn->hold = false;
    room.conn->wants.turn = true;
    fake_wake(room.conn);
    run_until_size(&room.loop, &room.conn->received_size, 20000);
    assert_memory_equal(room.conn->received, data, 20000);
    way_leave(&room, true);
    free(data);
}

static void held_input_survives_its_link(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn->hold = true;
    peer_write(&room.peer, 0, "message", 7);
    run_until_count(&room.loop, &room.conn->counts[FAKE_INPUT], 1);
    fake_hang_up(room.conn, false);
    run_a_while(&room.loop);
    assert_memory_equal(room.conn->borrowed, "message", 7);
    assert_int_equal(room.conn->counts[FAKE_LOST], 0); /* no call for a link that was hung up */
    way_leave(&room, true);
}

static void not_reading_leaves_bytes_in_the_kernel(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn->wants.read = false;
    fake_wake(room.conn);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    peer_write(&room.peer, 0, "later", 5);
    run_a_while(&room.loop);
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
    fake_hang_up(room.conn, false);
    assert_false(room.conn->transport.ops->unread(room.conn->transport.self));
    way_leave(&room, true);
}

/* What the broker said before it closed is the better reason, so it is read after a failed write. */
static void reading_goes_on_after_a_failed_write(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .reset = true }, READ_SIZE);
    room.conn->wants.read = false;
    fake_send(room.conn, "x", 1);
    while (!peer_is_gone(&room.peer, 0)) uv_run(&room.loop, UV_RUN_ONCE);
    run_a_while(&room.loop);
    fake_send(room.conn, "y", 1);
    run_until_count(&room.loop, &room.conn->counts[FAKE_WRITE_FAILED], 1);
    assert_true(room.conn->write_status == UV_ECONNRESET || room.conn->write_status == UV_EPIPE);
    fake_send(room.conn, "z", 1); /* is not tried any more */
    run_a_while(&room.loop);
    assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 1);
    assert_int_equal(room.conn->counts[FAKE_LOST], 0);
    room.conn->wants.read = true;
    fake_wake(room.conn);
    run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], 1);
    way_leave(&room, true);
}

/* The first full send buffer needs one more. What the kernel took before has left all the same: nobody shall publish it again. */
static void without_a_descriptor_nothing_is_unsaid(void **state) {
    (void)state;
    struct way_room room;
    struct rlimit limit, none;
    if (way_is_tls()) skip(); /* written is what was encrypted */
    uint8_t *data = way_pattern(BIG);
    way_enter(&room, (struct peer){ .asleep = true }, READ_SIZE);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    fake_send(room.conn, data, BIG);
    fill(&room);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 1);
    peer_read(&room.peer);
    run_until_size(&room.loop, &room.peer.received_size, room.conn->output_done);
    run_a_while(&room.loop);
    assert_int_equal(room.peer.received_size, room.conn->output_done);
    way_leave(&room, true);
    free(data);
}

static void a_blocked_write_learns_of_the_reset(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(BIG);
    way_enter(&room, (struct peer){ .asleep = true }, READ_SIZE);
    room.conn->wants.read = false;
    fake_send(room.conn, data, BIG);
    fill(&room);
    peer_abort(&room.peer, 0);
    run_until_count(&room.loop, &room.conn->counts[FAKE_WRITE_FAILED], 1);
    way_leave(&room, true);
    free(data);
}

/* In a child: writes to a peer that is gone must not end the process, and the disposition is not touched. */
static void write_to_the_dead(void) {
    struct way_room room;
    signal(SIGPIPE, SIG_DFL);
    way_enter(&room, (struct peer){ .asleep = true }, READ_SIZE);
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

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(big_output_to_a_slow_reader, way_begin, way_end),
        cmocka_unit_test_setup_teardown(what_the_peer_takes_is_seen, way_begin, way_end),
        cmocka_unit_test_setup_teardown(everything_of_a_turn_leaves_in_one_write, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_signal_in_a_write_is_nothing, way_begin, way_end),
        cmocka_unit_test_setup_teardown(echo_is_intact, way_begin, way_end),
        cmocka_unit_test_setup_teardown(one_read_for_each_wake_up, way_begin, way_end),
        cmocka_unit_test_setup_teardown(input_that_is_not_taken_stays, way_begin, way_end),
        cmocka_unit_test_setup_teardown(held_input_survives_its_link, way_begin, way_end),
        cmocka_unit_test_setup_teardown(not_reading_leaves_bytes_in_the_kernel, way_begin, way_end),
        cmocka_unit_test_setup_teardown(reading_goes_on_after_a_failed_write, way_begin, way_end),
        cmocka_unit_test_setup_teardown(without_a_descriptor_nothing_is_unsaid, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_blocked_write_learns_of_the_reset, way_begin, way_end),
        cmocka_unit_test_setup_teardown(no_sigpipe, way_begin, way_end),
    };
    if (!way_choose(argc, argv)) return 2;
    return cmocka_run_group_tests_name(way_title("uv/stream"), tests, NULL, NULL);
}
