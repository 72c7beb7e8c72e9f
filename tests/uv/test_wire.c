/*
 * What lies between a client and its stream: the same for every way, with TLS or without. How input waits for a client, how links
 * end, and what leaves and comes when nobody asked for it.
 */
#include "peer_tls.h"
#include "way.h"
#include <lago/connection.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define READ_SIZE 4096

/* Nothing is due, whatever the client would like to write or read: the loop sleeps. */
static void assert_asleep(struct way_room *room) {
    run_a_while(&room->loop);
    assert_int_not_equal(uv_backend_timeout(&room->loop), 0);
}

/* ---------------------------------------------------------------- ends */

static void what_it_said_comes_before_its_end(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    peer_write(&room.peer, 0, "bye", 3);
    peer_close(&room.peer);
    run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], 1);
    assert_int_equal(room.conn->lost_status, UV_EOF);
    assert_int_equal(room.conn->received_size, 3);
    assert_memory_equal(room.conn->received, "bye", 3);
    assert_asleep(&room);
    way_leave(&room, false);
}

/* RFC 8446, 6.1: without close_notify somebody else may have ended it. */
static void an_end_without_a_goodbye_is_told(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    peer_write(&room.peer, 0, "bye", 3);
    run_until_size(&room.loop, &room.conn->received_size, 3);
    peer_cut(&room.peer, 0);
    run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], 1);
    assert_int_equal(room.conn->lost_status, way_is_tls() ? LAGO_ETRUNCATED : UV_EOF);
    assert_asleep(&room);
    way_leave(&room, false);
}

static void the_end_waits_for_held_input(void **state) {
    (void)state;
    for (int cut = 0; cut < 2; cut++) {
        struct way_room room;
        uint8_t *data = way_pattern(50000);
        way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
        room.conn->hold = true;
        peer_write(&room.peer, 0, data, 50000);
        run_a_while(&room.loop);
        if (cut)
            peer_cut(&room.peer, 0);
        else
            peer_close(&room.peer);
        assert_asleep(&room);
        assert_int_equal(room.conn->counts[FAKE_INPUT], 1);
        assert_int_equal(room.conn->counts[FAKE_LOST], 0);
        room.conn->hold = false;
        room.conn->wants.turn = true;
        fake_wake(room.conn);
        run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], 1);
        assert_int_equal(room.conn->lost_status, cut && way_is_tls() ? LAGO_ETRUNCATED : UV_EOF);
        assert_int_equal(room.conn->received_size, 50000);
        assert_memory_equal(room.conn->received, data, 50000);
        way_leave(&room, false);
        free(data);
    }
}

static void hanging_up_says_goodbye(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    fake_send(room.conn, "last words", 10);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    fake_hang_up(room.conn, false);
    run_until(&room.loop, &room.peer.closed);
    assert_int_equal(room.peer.last_status, UV_EOF);
    assert_int_equal(room.peer.said_goodbye, way_is_tls());
    assert_int_equal(room.peer.received_size, 10);
    way_leave(&room, false);
}

static void a_reset_says_nothing(void **state) {
    (void)state;
    struct way_room room;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    fake_hang_up(room.conn, true);
    run_until(&room.loop, &room.peer.closed);
    assert_int_equal(room.peer.last_status, way_is_unix() ? UV_EOF : UV_ECONNRESET);
    assert_false(room.peer.said_goodbye);
    way_leave(&room, false);
}

/* ---------------------------------------------------------------- in */

static void nothing_comes_to_who_does_not_read(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(20000);
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn->hold = true;
    peer_write(&room.peer, 0, data, 20000);
    run_until_count(&room.loop, &room.conn->counts[FAKE_INPUT], 1);
    room.conn->hold = false;
    room.conn->wants.turn = true;
    room.conn->wants.read = false; /* what it holds is all that it wants */
    fake_wake(room.conn);
    assert_asleep(&room);
    assert_int_equal(room.conn->counts[FAKE_INPUT], 1);
    assert_true(room.conn->transport.ops->unread(room.conn->transport.self));
    room.conn->wants.read = true;
    fake_wake(room.conn);
    run_until_size(&room.loop, &room.conn->received_size, 20000);
    assert_memory_equal(room.conn->received, data, 20000);
    way_leave(&room, false);
    free(data);
}

static void hold_every_other(lago_connection_t *conn, enum fake_call call, int status) {
    (void)status;
    if (call != FAKE_TURN && call != FAKE_INPUT) return;
    conn->hold = !conn->hold;
    conn->wants.turn = true;
}

/* Full buffers in both directions, and a client that lags. */
static void an_echo_survives_back_pressure(void **state) {
    (void)state;
    struct way_room room;
    const size_t size = (size_t)3 * 1024 * 1024;
    uint8_t *data = way_pattern(size);
    way_enter(&room, (struct peer){ .echo = true }, READ_SIZE);
    room.conn->hook = hold_every_other;
    fake_send(room.conn, data, size);
    run_until_size(&room.loop, &room.conn->received_size, size);
    assert_memory_equal(room.conn->received, data, size);
    room.conn->hook = NULL;
    way_leave(&room, false);
    free(data);
}

static void single_bytes_add_up(void **state) {
    (void)state;
    for (int records = 0; records < 2; records++) {
        struct way_room room;
        uint8_t *data = way_pattern(500);
        way_open_room(&room, (struct peer){ .one_by_one = true, .one_byte_records = records == 1 }, READ_SIZE);
        room.conn = way_connect(&room.peer, &room.loop, room.context);
        way_run_until_up(&room.peer, &room.loop, room.conn); /* the handshake byte by byte, too */
        peer_write(&room.peer, 0, data, 500);
        run_until_size(&room.loop, &room.conn->received_size, 500);
        assert_memory_equal(room.conn->received, data, 500);
        way_leave(&room, false);
        free(data);
    }
}

/* ---------------------------------------------------------------- pushed out */

static void push(struct way_room *room) { room->conn->transport.ops->push(room->conn->transport.self); }

/* Within the turn; TLS keeps what does not fill a record (RFC 8446, 5.1). */
static void pushed_bytes_leave_at_once(void **state) {
    (void)state;
    struct way_room room;
    const size_t size = 100000, records = size - size % 16384;
    uint8_t *data = way_pattern(size);
    way_enter(&room, (struct peer){ .echo = true }, READ_SIZE);
    fake_send(room.conn, data, size);
    push(&room);
    assert_int_equal(room.conn->output_done, way_is_tls() ? records : size);
    push(&room);
    assert_int_equal(room.conn->output_done, way_is_tls() ? records : size);
    run_until_size(&room.loop, &room.conn->received_size, size);
    assert_memory_equal(room.conn->received, data, size);
    way_leave(&room, false);
    free(data);
}

static void a_full_kernel_takes_nothing(void **state) {
    (void)state;
    struct way_room room;
    const size_t size = (size_t)16 * 1024 * 1024; /* more than the kernel takes */
    uint8_t *data = way_pattern(size);
    way_enter(&room, (struct peer){ .asleep = true }, READ_SIZE);
    fake_send(room.conn, data, size);
    for (int i = 0; i < 20; i++) push(&room);
    size_t done = room.conn->output_done;
    assert_in_range(done, 1, size - 1);
    int written = room.conn->counts[FAKE_WRITTEN];
    push(&room);
    assert_int_equal(room.conn->counts[FAKE_WRITTEN], written);
    peer_read(&room.peer); /* and then it takes more */
    run_until_size(&room.loop, &room.peer.received_size, size);
    way_leave(&room, false);
    free(data);
}

/* The kernel is empty for a moment, until the loop finds that there is room; TLS has more for it, of which nobody is told. */
static void what_tls_holds_back_is_waiting(void **state) {
    (void)state;
    struct way_room room;
    const size_t size = (size_t)16 * 1024 * 1024;
    static uint8_t some[65536];
    bool waiting = false;
    int fd;
    if (!way_is_tls()) skip();
    uint8_t *data = way_pattern(size);
    way_enter(&room, (struct peer){ .asleep = true }, READ_SIZE);
    const struct transport *transport = &room.conn->transport;
    fake_send(room.conn, data, size);
    for (int i = 0; i < 20; i++) push(&room);
    room.conn->output_size = room.conn->output_done; /* that was all */
    assert_int_equal(uv_fileno(&room.peer.clients[0].uv.handle, &fd), 0);
    while (recv(fd, some, sizeof some, MSG_DONTWAIT) > 0) continue;
    (void)transport->ops->taken(transport->self, &waiting);
    assert_true(waiting);
    way_leave(&room, true);
    free(data);
}

static void a_push_that_fails_is_told_in_the_next_turn(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(100000);
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn->wants.read = false;
    fake_wake(room.conn);
    run_a_while(&room.loop);
    peer_abort(&room.peer, 0);
    run_a_while(&room.loop);
    for (int i = 0; i < 3; i++) {
        fake_send(room.conn, data, 100000);
        push(&room);
        assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 0);
    }
    run_until_count(&room.loop, &room.conn->counts[FAKE_WRITE_FAILED], 1);
    push(&room);
    run_a_while(&room.loop);
    assert_int_equal(room.conn->counts[FAKE_WRITE_FAILED], 1);
    way_leave(&room, false);
    free(data);
}

static bool is_private(const struct way_room *room) { return room->conn->transport.ops->is_private(room->conn->transport.self); }

/* The loopback, a Unix socket, TLS that has verified the peer: all the ways of these tests, but only once they are up. */
static void nobody_stands_between(void **state) {
    (void)state;
    struct way_room room;
    way_open_room(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn = way_connect(&room.peer, &room.loop, room.context);
    assert_false(is_private(&room));
    way_run_until_up(&room.peer, &room.loop, room.conn);
    assert_true(is_private(&room));
    fake_hang_up(room.conn, false);
    assert_false(is_private(&room));
    way_leave(&room, false);
}

/* Even on the loopback: who asked for TLS does not want to trust the way. */
static void tls_that_verifies_nobody_is_not_private(void **state) {
    (void)state;
    struct way_room room;
    if (!way_is_tls()) skip();
    way_open_room(&room, (struct peer){ .echo = false }, READ_SIZE);
    lago_tls_options_t tls = *peer_tls_distrust();
    tls.insecure_skip_verification = true;
    lago_parameters_t parameters = { .host = room.peer.host, .port = room.peer.port, .tls = &tls };
    lago_connection_options_t options = { .parameters = &parameters,
                                          .context = room.context,
                                          .socket_fd = way_socket(&room.peer) };
    assert_int_equal(lago_connect(&room.loop, NULL, &options, &room.conn), 0);
    way_run_until_up(&room.peer, &room.loop, room.conn);
    assert_false(is_private(&room));
    way_leave(&room, false);
}

static void there_is_nothing_to_push_to(void **state) {
    (void)state;
    struct way_room room;
    way_open_room(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn = way_connect(&room.peer, &room.loop, room.context);
    fake_send(room.conn, "hello", 5);
    push(&room);
    assert_int_equal(room.conn->output_done, 0);
    way_run_until_up(&room.peer, &room.loop, room.conn);
    run_until_size(&room.loop, &room.peer.received_size, 5);
    fake_hang_up(room.conn, false);
    push(&room);
    way_leave(&room, false);
}

/* ---------------------------------------------------------------- TLS alone */

static void greet(struct peer *peer) { peer_write(peer, 0, "hello, stranger", 15); }

/* TLS is known from the end of its handshake on, and not before; so is who stands between. */
static void see_what_is_agreed(lago_connection_t *conn, enum fake_call call, int status) {
    bool secured = way_is_tls() && conn->linked && conn->up;
    (void)status;
    if (call == FAKE_FINISHED || conn->ended) return;
    lago_tls_info_t tls = conn->transport.ops->tls(conn->transport.self);
    assert_int_equal(strncmp(tls.version, "TLSv1.", 6) == 0, secured);
    assert_int_equal(tls.cipher[0] != '\0', secured);
    /* before it begins, only where the link leads is known */
    if (way_is_tls() && call != FAKE_CONNECTED) assert_int_equal(conn->transport.ops->is_private(conn->transport.self), secured);
    ++*(int *)conn->data;
}

static void what_is_agreed_is_known_when_it_is(void **state) {
    (void)state;
    struct way_room room;
    int seen = 0;
    way_open_room(&room, (struct peer){ .echo = true }, READ_SIZE);
    room.conn = way_connect(&room.peer, &room.loop, room.context);
    room.conn->data = &seen;
    room.conn->hook = see_what_is_agreed;
    fake_send(room.conn, "hello", 5);
    run_until_size(&room.loop, &room.conn->received_size, 5);
    assert_true(seen > 3);
    room.conn->hook = NULL;
    way_leave(&room, false);
}

/* Its end is in the kernel for ever: nobody looks there again. */
static void see_nothing_unread(lago_connection_t *conn, enum fake_call call, int status) {
    (void)status;
    if (call != FAKE_LOST) return;
    assert_false(conn->transport.ops->unread(conn->transport.self));
    ++*(int *)conn->data;
}

static void a_link_that_has_ended_has_nothing_unread(void **state) {
    (void)state;
    struct way_room room;
    int seen = 0;
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.conn->data = &seen;
    room.conn->hook = see_nothing_unread;
    peer_cut(&room.peer, 0);
    run_until_count(&room.loop, &seen, 1);
    room.conn->hook = NULL;
    way_leave(&room, false);
}

static void output_waits_for_the_handshake(void **state) {
    (void)state;
    struct way_room room;
    if (!way_is_tls()) skip();
    way_open_room(&room, (struct peer){ .echo = false }, READ_SIZE);
    room.peer.is_tls = false; /* somebody who has nothing to say */
    room.conn = way_connect(&room.peer, &room.loop, room.context);
    fake_send(room.conn, "a secret", 8);
    run_until_count(&room.loop, &room.conn->counts[FAKE_CONNECTED], 1);
    run_until_size(&room.loop, &room.peer.received_size, 1);
    assert_asleep(&room);
    assert_int_equal(room.peer.received[0], 22); /* a handshake record (RFC 8446, 5.1) */
    assert_int_equal(room.conn->output_done, 0);
    peer_close(&room.peer);
    run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], 1);
    assert_int_equal(room.conn->lost_status, UV_EOF); /* nobody has said anything yet that could be cut */
    way_leave(&room, false);
}

/* What cannot even begin is told in the next turn; and neither before nor after it a byte in clear leaves, or comes. */
static void a_name_that_nobody_has_is_refused(void **state) {
    (void)state;
    struct way_room room;
    if (!way_is_tls()) skip();
    way_open_room(&room, (struct peer){ .on_client = greet }, READ_SIZE);
    room.peer.is_tls = false;
    room.conn = way_connect(&room.peer, &room.loop, room.context);
    room.conn->name = "";
    fake_send(room.conn, "a secret", 8);
    run_until_count(&room.loop, &room.conn->counts[FAKE_SECURED], 1);
    assert_int_equal(room.conn->secured_status, LAGO_EPARAMETER);
    assert_asleep(&room);
    assert_int_equal(room.conn->counts[FAKE_INPUT], 0);
    assert_int_equal(room.conn->output_done, 0);
    assert_int_equal(room.peer.received_size, 0);
    way_leave(&room, false);
}

static void a_stranger_is_refused(void **state) {
    (void)state;
    struct way_room room;
    if (!way_is_tls()) skip();
    way_open_room(&room, (struct peer){ .echo = true }, READ_SIZE);
    lago_parameters_t parameters = { .host = room.peer.host, .port = room.peer.port, .tls = peer_tls_distrust() };
    lago_connection_options_t options = { .parameters = &parameters,
                                          .context = room.context,
                                          .socket_fd = way_socket(&room.peer) };
    assert_int_equal(lago_connect(&room.loop, NULL, &options, &room.conn), 0);
    fake_send(room.conn, "a secret", 8);
    run_until_count(&room.loop, &room.conn->counts[FAKE_SECURED], 1);
    assert_int_equal(room.conn->secured_status, LAGO_ECERTIFICATE);
    run_until(&room.loop, &room.peer.refused_tls); /* the alert */
    assert_asleep(&room);                          /* before the client has hung up */
    assert_int_equal(room.conn->counts[FAKE_LOST], 0);
    assert_int_equal(room.conn->output_done, 0);
    assert_int_equal(room.peer.received_size, 0);
    way_leave(&room, false);
}

static void a_broken_record_is_told_once(void **state) {
    (void)state;
    struct way_room room;
    if (!way_is_tls()) skip();
    way_enter(&room, (struct peer){ .echo = false }, READ_SIZE);
    peer_write(&room.peer, 0, "before", 6);
    peer_spoil(&room.peer, 0);
    peer_write(&room.peer, 0, "after", 5);
    run_until_count(&room.loop, &room.conn->counts[FAKE_FAILED], 1);
    assert_int_equal(room.conn->failed_status, LAGO_ETLS);
    assert_int_equal(room.conn->received_size, 6);
    fake_send(room.conn, "too late", 8);
    assert_asleep(&room);
    assert_true(room.peer.refused_tls); /* the alert */
    assert_int_equal(room.conn->output_done, 0);
    way_leave(&room, false);
}

/* Both sides' (RFC 8446, 4.6.3). */
static void keys_are_renewed(void **state) {
    (void)state;
    struct way_room room;
    if (!way_is_tls()) skip();
    way_enter(&room, (struct peer){ .echo = true }, READ_SIZE);
    for (int i = 0; i < 3; i++) {
        peer_renew_keys(&room.peer, 0);
        run_a_while(&room.loop);
        fake_send(room.conn, "still there", 11);
        run_until_size(&room.loop, &room.conn->received_size, (size_t)(i + 1) * 11);
    }
    assert_int_equal(room.conn->counts[FAKE_FAILED], 0);
    way_leave(&room, false);
}

static void dial_again(struct way_room *room) {
    fake_hang_up(room->conn, false);
    room->conn->dialed = false;
    room->conn->wants.turn = true;
    fake_wake(room->conn);
    run_until(&room->loop, &room->conn->up);
}

static void a_lost_link_is_followed_by_a_good_one(void **state) {
    (void)state;
    struct way_room room;
    if (!way_dials()) skip();
    way_enter(&room, (struct peer){ .echo = true }, READ_SIZE);
    for (int i = 1; i <= 3; i++) {
        peer_cut(&room.peer, room.peer.client_count - 1);
        run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], i);
        dial_again(&room);
        fake_send(room.conn, "again", 5);
        run_until_size(&room.loop, &room.conn->received_size, (size_t)i * 5);
    }
    way_leave(&room, false);
}

static void a_held_message_does_not_stop_the_next_handshake(void **state) {
    (void)state;
    struct way_room room;
    if (!way_dials()) skip();
    way_enter(&room, (struct peer){ .echo = true }, READ_SIZE);
    room.conn->hold = true;
    peer_write(&room.peer, 0, "message", 7);
    run_until_count(&room.loop, &room.conn->counts[FAKE_INPUT], 1);
    dial_again(&room);
    assert_memory_equal(room.conn->borrowed, "message", 7);
    room.conn->hold = false;
    room.conn->wants.turn = true;
    fake_send(room.conn, "again", 5);
    run_until_size(&room.loop, &room.conn->received_size, 12);
    assert_memory_equal(room.conn->received, "messageagain", 12);
    way_leave(&room, false);
}

/* ---------------------------------------------------------------- many */

static void many_at_once(void **state) {
    (void)state;
    enum { COUNT = 24 };
    struct way_room room;
    lago_connection_t *conns[COUNT];
    uint8_t *data = way_pattern(10000);
    way_open_room(&room, (struct peer){ .echo = true }, READ_SIZE);
    for (int i = 0; i < COUNT; i++) {
        conns[i] = way_connect(&room.peer, &room.loop, room.context);
        fake_send(conns[i], data, 10000);
    }
    for (int i = 0; i < COUNT; i++) {
        run_until_size(&room.loop, &conns[i]->received_size, 10000);
        assert_memory_equal(conns[i]->received, data, 10000);
    }
    for (int i = 0; i < COUNT; i++) fake_end(conns[i], i % 2 == 0);
    peer_close(&room.peer);
    lago_context_free(room.context);
    run_to_end(&room.loop);
    for (int i = 0; i < COUNT; i++) fake_free(conns[i]);
    free(data);
}

/* What one of them still has to decrypt is not read over by its neighbours, with whom it shares its buffers. */
static void neighbours_do_not_mix(void **state) {
    (void)state;
    struct way_room room;
    lago_connection_t *first, *second;
    uint8_t *data = way_pattern(100000);
    way_enter(&room, (struct peer){ .echo = true }, READ_SIZE);
    first = room.conn;
    first->hold = true;
    peer_write(&room.peer, 0, data, 100000);
    run_until_count(&room.loop, &first->counts[FAKE_INPUT], 1);
    second = way_connect(&room.peer, &room.loop, room.context);
    fake_send(second, data + 1, 50000);
    run_until_size(&room.loop, &second->received_size, 50000);
    first->hold = false;
    first->wants.turn = true;
    fake_wake(first);
    run_until_size(&room.loop, &first->received_size, 100000);
    assert_memory_equal(first->received, data, 100000);
    assert_memory_equal(second->received, data + 1, 50000);
    fake_end(second, false);
    way_leave(&room, false);
    fake_free(second);
    free(data);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_it_said_comes_before_its_end, way_begin, way_end),
        cmocka_unit_test_setup_teardown(an_end_without_a_goodbye_is_told, way_begin, way_end),
        cmocka_unit_test_setup_teardown(the_end_waits_for_held_input, way_begin, way_end),
        cmocka_unit_test_setup_teardown(hanging_up_says_goodbye, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_reset_says_nothing, way_begin, way_end),
        cmocka_unit_test_setup_teardown(nothing_comes_to_who_does_not_read, way_begin, way_end),
        cmocka_unit_test_setup_teardown(an_echo_survives_back_pressure, way_begin, way_end),
        cmocka_unit_test_setup_teardown(single_bytes_add_up, way_begin, way_end),
        cmocka_unit_test_setup_teardown(pushed_bytes_leave_at_once, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_full_kernel_takes_nothing, way_begin, way_end),
        cmocka_unit_test_setup_teardown(what_tls_holds_back_is_waiting, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_push_that_fails_is_told_in_the_next_turn, way_begin, way_end),
        cmocka_unit_test_setup_teardown(there_is_nothing_to_push_to, way_begin, way_end),
        cmocka_unit_test_setup_teardown(nobody_stands_between, way_begin, way_end),
        cmocka_unit_test_setup_teardown(tls_that_verifies_nobody_is_not_private, way_begin, way_end),
        cmocka_unit_test_setup_teardown(what_is_agreed_is_known_when_it_is, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_link_that_has_ended_has_nothing_unread, way_begin, way_end),
        cmocka_unit_test_setup_teardown(output_waits_for_the_handshake, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_name_that_nobody_has_is_refused, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_stranger_is_refused, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_broken_record_is_told_once, way_begin, way_end),
        cmocka_unit_test_setup_teardown(keys_are_renewed, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_lost_link_is_followed_by_a_good_one, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_held_message_does_not_stop_the_next_handshake, way_begin, way_end),
        cmocka_unit_test_setup_teardown(neighbours_do_not_mix, way_begin, way_end),
        cmocka_unit_test_setup_teardown(many_at_once, way_begin, way_end),
    };
    if (!way_choose(argc, argv)) return 2;
    return cmocka_run_group_tests_name(way_title("uv/wire"), tests, NULL, NULL);
}
