/* A link that is cut: at each byte that the peer says, on every way, the client hears of it once, and of nothing behind it. */
#include "way.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char message[] = "a message, another one, and a third";

struct room {
    uv_loop_t loop;
    struct peer peer;
    lago_connection_t *conn;
};

static int ends(const lago_connection_t *conn) {
    bool refused = conn->counts[FAKE_SECURED] > 0 && conn->secured_status < 0;
    return conn->counts[FAKE_LOST] + conn->counts[FAKE_FAILED] + refused;
}

/* Where to cut: before this byte of the peer's, counted from its first one or from its answer; 0: not at all. */
struct cut {
    size_t at;
    bool in_answer;
    bool one_by_one;
};

/* The client greets, the peer answers. @return how many bytes of the wire were before the answer. */
static size_t talk(struct room *room, struct cut cut) {
    size_t before = 0;
    room->peer = (struct peer){ .cut_at = cut.in_answer ? 0 : cut.at, .one_by_one = cut.one_by_one };
    assert_int_equal(uv_loop_init(&room->loop), 0);
    way_listen(&room->peer, &room->loop);
    room->conn = way_connect(&room->peer, &room->loop, NULL);
    fake_send(room->conn, "AMQP", 4);
    for (bool answered = false; ends(room->conn) == 0 && room->conn->received_size < sizeof message;) {
        uv_run(&room->loop, UV_RUN_ONCE);
        if (answered || room->peer.received_size < 4) continue;
        answered = true;
        before = room->peer.clients[0].sent_size + room->peer.clients[0].pending_size;
        if (cut.in_answer) room->peer.cut_at = before + cut.at;
        peer_write(&room->peer, 0, message, sizeof message);
    }
    return before;
}

static void leave(struct room *room) {
    run_a_while(&room->loop);
    assert_in_range(ends(room->conn), 0, 1);
    fake_end(room->conn, false);
    peer_close(&room->peer);
    run_to_end(&room->loop);
    fake_free(room->conn);
}

/* Every byte of what was said is taken, and a prefix of it is told. */
static void cut_before(struct cut cut) {
    struct room room;
    (void)talk(&room, cut);
    run_until(&room.loop, &room.conn->over);
    assert_int_equal(ends(room.conn), 1);
    assert_in_range(room.conn->received_size, 0, sizeof message - 1);
    assert_memory_equal(room.conn->received ? room.conn->received : (const uint8_t *)"", message, room.conn->received_size);
    if (way_is_tls() && room.conn->counts[FAKE_SECURED] > 0)
        assert_int_equal(room.conn->lost_status, LAGO_ETRUNCATED);
    else
        assert_true(room.conn->lost_status == UV_EOF || room.conn->lost_status == UV_ECONNRESET);
    leave(&room);
}

/*
 * Those of the handshake have a suite of their own (tests/badpeers): here one of several is enough, up to the tickets behind it,
 * whose size varies; and all of the answer.
 */
static void at_each_byte(bool one_by_one) {
    struct room room;
    size_t handshake_size = talk(&room, (struct cut){ .at = 0 }), answer_size = room.peer.clients[0].sent_size - handshake_size;
    leave(&room);
    for (size_t at = 1; at + 64 < handshake_size; at += 13) cut_before((struct cut){ at, false, one_by_one });
    for (size_t at = 1; at <= answer_size; at++) cut_before((struct cut){ at, true, one_by_one });
}

static void cut_at_each_byte(void **state) {
    (void)state;
    at_each_byte(false);
}

static void cut_at_each_byte_of_single_ones(void **state) {
    (void)state;
    at_each_byte(true);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cut_at_each_byte, way_begin, way_end),
        cmocka_unit_test_setup_teardown(cut_at_each_byte_of_single_ones, way_begin, way_end),
    };
    if (!way_choose(argc, argv)) return 2;
    return cmocka_run_group_tests_name(way_title("uv/wire_cut"), tests, NULL, NULL);
}
