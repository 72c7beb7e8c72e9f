/* The ways of tests/uv: see way.h. */
#include "way.h"
#include "peer_tls.h"
#include <lago/connection.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

static const char *const names[] = { "tcp", "unix", "stream", "fd", "tls", "tls_stream" };
static enum way way;
static int descriptors;
int way_streams_given, way_streams_freed;

bool way_choose(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* the peer's uv_write raises it; that lago does not is test_stream.c's to show */
    if (argc < 2) return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(argv[1], names[i]) != 0) continue;
        way = (enum way)i;
        return true;
    }
    fprintf(stderr, "no such way: %s\n", argv[1]);
    return false;
}

bool way_is_tls(void) { return way == WAY_TLS || way == WAY_TLS_STREAM; }

bool way_is_unix(void) { return way == WAY_UNIX || way == WAY_FD || way == WAY_TLS_STREAM; }

bool way_dials(void) { return way == WAY_TCP || way == WAY_UNIX || way == WAY_TLS; }

const char *way_title(const char *name) {
    static char title[80];
    snprintf(title, sizeof title, "%s over %s", name, names[way]);
    return title;
}

void way_listen(struct peer *peer, uv_loop_t *loop) {
    peer->is_tls = way_is_tls();
    peer->is_unix = way_is_unix();
    peer_listen(peer, loop, peer->is_unix ? NULL : "127.0.0.1");
}

/* ---------------------------------------------------------------- streams of the caller's */

int way_socket(const struct peer *peer) {
    struct sockaddr_un path = { .sun_family = AF_UNIX };
    struct sockaddr_in address;
    int fd = socket(peer->is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd > 0);
    if (peer->is_unix) {
        snprintf(path.sun_path, sizeof path.sun_path, "%s", peer->host);
        assert_int_equal(connect(fd, (struct sockaddr *)&path, sizeof path), 0); /* the kernel answers, not the peer's loop */
    } else {
        assert_int_equal(uv_ip4_addr(peer->host, peer->port, &address), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    }
    return fd;
}

void way_free_stream(uv_stream_t *stream, void *data) {
    (void)data;
    way_streams_freed++;
    free(stream);
}

static uv_stream_t *make_stream(const struct peer *peer, uv_loop_t *loop) {
    union peer_handle *made = malloc(sizeof *made);
    assert_non_null(made);
    if (peer->is_unix) {
        assert_int_equal(uv_pipe_init(loop, &made->pipe, 0), 0);
        assert_int_equal(uv_pipe_open(&made->pipe, way_socket(peer)), 0);
    } else {
        assert_int_equal(uv_tcp_init(loop, &made->tcp), 0);
        assert_int_equal(uv_tcp_open(&made->tcp, way_socket(peer)), 0);
    }
    return &made->stream;
}

/* ---------------------------------------------------------------- connecting */

lago_connection_t *way_connect(struct peer *peer, uv_loop_t *loop, lago_context_t *context) {
    lago_connection_t *conn;
    lago_parameters_t parameters = { .host = peer->host, .port = peer->port, .tls = way_is_tls() ? peer_tls_trust() : NULL };
    lago_connection_options_t options = { .parameters = &parameters, .context = context };
    if (way == WAY_FD) options.socket_fd = way_socket(peer);
    if (way == WAY_STREAM || way == WAY_TLS_STREAM) {
        options.stream = make_stream(peer, loop);
        options.free_stream = way_free_stream;
        way_streams_given++;
    }
    assert_int_equal(lago_connect(loop, NULL, &options, &conn), 0);
    return conn;
}

void way_run_until_up(struct peer *peer, uv_loop_t *loop, lago_connection_t *conn) {
    run_until(loop, &conn->up);
    run_until_count(loop, way_is_tls() ? &peer->secure_count : &peer->client_count, 1);
}

/* ---------------------------------------------------------------- the usual scene */

void way_open_room(struct way_room *room, struct peer peer, size_t read_size) {
    room->peer = peer;
    assert_int_equal(uv_loop_init(&room->loop), 0);
    way_listen(&room->peer, &room->loop);
    assert_int_equal(lago_context_new(&room->loop, &(lago_context_options_t){ .read_size = read_size }, &room->context), 0);
}

void way_enter(struct way_room *room, struct peer peer, size_t read_size) {
    way_open_room(room, peer, read_size);
    room->conn = way_connect(&room->peer, &room->loop, room->context);
    way_run_until_up(&room->peer, &room->loop, room->conn);
    run_a_while(&room->loop); /* what TLS has to say behind its handshake */
}

void way_leave(struct way_room *room, bool reset) {
    fake_end(room->conn, reset);
    peer_close(&room->peer);
    lago_context_free(room->context);
    run_to_end(&room->loop);
    fake_free(room->conn);
}

uint8_t *way_pattern(size_t size) {
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * 31 + i / 4096);
    return data;
}

/* ---------------------------------------------------------------- nothing is left */

int way_begin(void **state) {
    uv_loop_t loop;
    (void)state;
    if (uv_loop_init(&loop) != 0 || uv_loop_close(&loop) != 0) return -1; /* the first one opens what libuv keeps */
    if (way_is_tls()) (void)peer_tls_trust();
    descriptors = open_descriptors();
    way_streams_given = way_streams_freed = 0;
    return 0;
}

int way_end(void **state) {
    (void)state;
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(way_streams_freed, way_streams_given);
    return 0;
}
