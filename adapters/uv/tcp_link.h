/*
 * One TCP connection, from connect to close: a heap object of its own, so that the next attempt can start while the last one is
 * still closing. Reads through the uv stream; writes by sendmsg, because uv_write raises SIGPIPE (libuv 1.44) and one gathered
 * write per turn is all that is needed. It decides nothing: its owner says when to read and when to write. Its handles do not
 * keep the loop alive, but connecting does: that is a request, which libuv counts.
 */
#ifndef LAGO_UV_TCP_LINK_H
#define LAGO_UV_TCP_LINK_H

#include "address.h"
#include "context.h"
#include "transport.h"
#include <lago/parameters.h>
#include <stdbool.h>
#include <uv.h>

/* What a link needs of its transport, and says to it. */
struct tcp_link_owner {
    lago_connection_t *conn;
    lago_context_t *context;
    struct slab *slab;   /* the buffer that the client reads from; it may outlive the link */
    unsigned link_count; /* links whose handles are not closed yet */
    lago_tcp_options_t tcp_options;
    void (*connected)(struct tcp_link_owner *owner, int status);
    void (*settle)(struct tcp_link_owner *owner); /* after every call of the client: do what it wants now */
    void (*closed)(struct tcp_link_owner *owner); /* link_count went down */
};

struct tcp_link;

/* Start to connect. 0: owner->connected follows, unless the link is closed first. Or LAGO_ENOMEM, libuv's error. */
int tcp_link_open(struct tcp_link_owner *owner, const union address *address, struct tcp_link **link);

/* Close the descriptor now and the rest when libuv says so; no call to the client follows. `reset`: by RST. */
void tcp_link_close(struct tcp_link *link, bool reset);

/* Start or stop reading. 0 or libuv's error. */
int tcp_link_set_reading(struct tcp_link *link, bool reading);

/* Whether the kernel holds bytes of it, or its end, that have not been read. */
bool tcp_link_unread(const struct tcp_link *link);

/* Whether writing makes sense: connected, and not waiting for the peer. */
bool tcp_link_can_write(const struct tcp_link *link);

/* Write what the client has, for a bounded while. Calls the client. */
void tcp_link_flush(struct tcp_link *link);

#endif
