/*
 * How a test's client reaches its peer: the tests of what lies above a socket are the same for all ways, and each of their
 * programs is run once for each: with its name as the argument.
 */
#ifndef LAGO_TESTS_WAY_H
#define LAGO_TESTS_WAY_H

#include "fake_client.h"
#include "peer.h"
#include <lago/context.h>

enum way {
    WAY_TCP,
    WAY_UNIX,
    WAY_STREAM, /* a uv_tcp_t of the caller's */
    WAY_FD,     /* a Unix socket's descriptor of the caller's */
    WAY_TLS,
    WAY_TLS_STREAM /* TLS over a uv_pipe_t of the caller's */
};

/* Of this process; "tcp" without an argument. @return false: no such way. */
bool way_choose(int argc, char **argv);
bool way_is_tls(void);
bool way_is_unix(void); /* no RST, and other buffers */

bool way_dials(void); /* not a stream of the caller's, of which there is only one */

/* "uv/stream over tls", for the name of a group of tests. */
const char *way_title(const char *name);

/* A peer of the way, and a client of it. The client is not there yet; the context may be NULL. */
void way_listen(struct peer *peer, uv_loop_t *loop);
lago_connection_t *way_connect(struct peer *peer, uv_loop_t *loop, lago_context_t *context);

/* Both ends are there, and TLS if there is any. */
void way_run_until_up(struct peer *peer, uv_loop_t *loop, lago_connection_t *conn);

/* The usual scene: a client of a peer. */
struct way_room {
    uv_loop_t loop;
    struct peer peer;
    lago_context_t *context;
    lago_connection_t *conn;
};

/* `read_size` of the context, 0: its own choice. Without a client yet; with one, which is connected. */
void way_open_room(struct way_room *room, struct peer peer, size_t read_size);
void way_enter(struct way_room *room, struct peer peer, size_t read_size);

/* `reset`: as fake_end. */
void way_leave(struct way_room *room, bool reset);

/* Octets of which no two pieces are the same; to be freed. */
uint8_t *way_pattern(size_t size);

/* Setup and teardown of a test: as many descriptors are open as before, and each stream of the caller's was given back. */
int way_begin(void **state);
int way_end(void **state);

/* Streams given to lago, and given back by free_stream. */
extern int way_streams_given, way_streams_freed;

/* A connected socket to the peer. */
int way_socket(const struct peer *peer);

/* free_stream; frees what uv_stream_t malloc gave. */
void way_free_stream(uv_stream_t *stream, void *data);

#endif
