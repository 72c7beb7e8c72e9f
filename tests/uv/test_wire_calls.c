/*
 * Hanging up and ending inside every call that a transport makes, on every way: nothing is touched behind it, nothing more is
 * told, and nothing is left in the loop.
 */
#include "way.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_NS UINT64_C(10000000000)
#define READ_SIZE   4096
#define ECHO_SIZE   40000 /* several records, reads and writes */
#define FLOOD_SIZE  ((size_t)6 * 1024 * 1024)

/* How a link fares if nobody hangs up. */
enum fate {
    GOES_WELL,     /* an echo, then the peer ends it */
    IS_CUT,        /* an echo, then FIN */
    IS_ABORTED,    /* RST while the send buffer is full */
    IS_ABORTED_UP, /* RST while the handshake's last words leave */
    IS_SPOILT,     /* an echo, then garbage */
    FATES
};

/* What is done in the call. */
enum deed { HANG_UP, RESET, HANG_UP_AND_DIAL, END, DEEDS };

static struct room {
    uv_loop_t loop;
    struct peer peer;
    lago_context_t *context;
    lago_connection_t *conn;
    enum fate fate;
    enum deed deed;
    enum fake_call call;
    int nth, seen;
    bool done;
} room;

static void dial_again(lago_connection_t *conn) {
    struct link_target again = { .host = conn->host, .port = conn->port, .tcp_options = &conn->tcp_options };
    conn->verb = true;
    assert_int_equal(conn->transport.ops->resolve(conn->transport.self, &again), 0);
    conn->verb = false;
}

static void act(lago_connection_t *conn) {
    room.done = true;
    switch (room.deed) {
    case HANG_UP:
    case RESET: fake_hang_up(conn, room.deed == RESET); break;
    case HANG_UP_AND_DIAL:
        fake_hang_up(conn, false);
        dial_again(conn);
        break;
    case END: fake_end(conn, false); break;
    case DEEDS: break;
    }
}

static void on_call(lago_connection_t *conn, enum fake_call call, int status) {
    (void)status;
    if (room.done || call != room.call || ++room.seen != room.nth) return;
    act(conn);
}

static bool is_over(void) {
    const lago_connection_t *conn = room.conn;
    return room.done || conn->over || conn->write_failed || conn->down;
}

static void strike(void) {
    switch (room.fate) {
    case GOES_WELL: peer_close(&room.peer); break;
    case IS_CUT: peer_cut(&room.peer, 0); break;
    case IS_ABORTED:
    case IS_ABORTED_UP: peer_abort(&room.peer, 0); break;
    case IS_SPOILT:
        if (way_is_tls())
            peer_spoil(&room.peer, 0);
        else
            peer_cut(&room.peer, 0);
        break;
    case FATES: break;
    }
}

/* When it strikes: everything that the fate lets through is there. */
static bool is_ripe(void) {
    const struct peer *peer = &room.peer;
    if (room.fate == IS_ABORTED_UP) return peer->wire_size > 0 || peer->client_count > 0;
    if (room.fate == IS_ABORTED) return room.conn->output_done > 100000; /* a Unix socket takes 208 KiB */
    return room.conn->received_size == ECHO_SIZE;
}

static void live(void) {
    uint8_t *data = calloc(1, FLOOD_SIZE);
    bool struck = false;
    assert_non_null(data);
    room.peer = (struct peer){ .echo = room.fate != IS_ABORTED, .asleep = room.fate == IS_ABORTED };
    assert_int_equal(uv_loop_init(&room.loop), 0);
    way_listen(&room.peer, &room.loop);
    assert_int_equal(lago_context_new(&room.loop, &(lago_context_options_t){ .read_size = READ_SIZE }, &room.context), 0);
    room.conn = way_connect(&room.peer, &room.loop, room.context);
    room.conn->hook = on_call;
    fake_send(room.conn, data, room.fate == IS_ABORTED ? FLOOD_SIZE : ECHO_SIZE);
    free(data);
    uint64_t patience = uv_hrtime() + PATIENCE_NS;
    while (!is_over() && uv_hrtime() < patience) {
        uv_run(&room.loop, UV_RUN_NOWAIT);
        if (struck || room.peer.client_count == 0 || peer_is_gone(&room.peer, 0) || !is_ripe()) continue;
        struck = true;
        strike();
    }
    assert_true(is_over());
}

static void leave(void) {
    run_a_while(&room.loop);
    if (room.done && room.deed == END) assert_int_equal(room.conn->counts[FAKE_FINISHED], 1);
    fake_end(room.conn, false);
    peer_close(&room.peer);
    lago_context_free(room.context);
    run_to_end(&room.loop);
    fake_free(room.conn);
}

static void do_it_in_the_nth(enum fate fate, enum deed deed, enum fake_call call, int nth) {
    room = (struct room){ .fate = fate, .deed = deed, .call = call, .nth = nth };
    live();
    leave();
}

/* In each call, from its first to its fifth time, as far as there is one. */
static void in_every_call(enum deed deed) {
    int reached[FAKE_FINISHED + 1] = { 0 };
    for (enum fate fate = GOES_WELL; fate < FATES; fate++)
        for (enum fake_call call = FAKE_RESOLVED; call < FAKE_FINISHED; call++)
            for (int nth = 1; nth <= 5; nth++) {
                do_it_in_the_nth(fate, deed, call, nth);
                if (!room.done) break;
                reached[call]++;
            }
    assert_true(reached[FAKE_CONNECTED] && reached[FAKE_INPUT] && reached[FAKE_LOST] && reached[FAKE_TURN]);
    assert_true(reached[FAKE_WRITTEN] && reached[FAKE_WRITE_FAILED]);
    if (way_is_tls()) assert_true(reached[FAKE_SECURED] && reached[FAKE_FAILED]);
}

static void hang_up_in_every_call(void **state) {
    (void)state;
    in_every_call(HANG_UP);
}

static void reset_in_every_call(void **state) {
    (void)state;
    in_every_call(RESET);
}

static void hang_up_and_dial_in_every_call(void **state) {
    (void)state;
    if (!way_dials()) skip();
    in_every_call(HANG_UP_AND_DIAL);
}

static void end_in_every_call(void **state) {
    (void)state;
    in_every_call(END);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hang_up_in_every_call, way_begin, way_end),
        cmocka_unit_test_setup_teardown(reset_in_every_call, way_begin, way_end),
        cmocka_unit_test_setup_teardown(hang_up_and_dial_in_every_call, way_begin, way_end),
        cmocka_unit_test_setup_teardown(end_in_every_call, way_begin, way_end),
    };
    if (!way_choose(argc, argv)) return 2;
    return cmocka_run_group_tests_name(way_title("uv/wire_calls"), tests, NULL, NULL);
}
