/*
 * One socket, from connect to close: TCP, a Unix domain socket, or a stream that the caller connected. A heap object of its own, so
 * that the next attempt can start while the last one is still closing. Reads through libuv's stream; writes by sendmsg, because
 * uv_write raises SIGPIPE (libuv 1.44) and one gathered write per turn is all that is needed. It decides nothing, and knows
 * neither the client nor TLS: its owner says when to read and what to write. Its handles do not keep the loop alive, but
 * connecting does: that is a request, which libuv counts.
 */
#ifndef LAGO_UV_STREAM_H
#define LAGO_UV_STREAM_H

#include "address.h"
#include "chunks.h"
#include "context.h"
#include "list.h"
#include <lago/connection.h>
#include <lago/parameters.h>
#include <stdbool.h>
#include <uv.h>

struct stream;

/* Slices of one write: about what a turn produces; Linux takes up to 1024, and copies the vector either way. */
#define STREAM_SLICES_MAX 128

/* A place for what is read next. */
struct stream_offer {
    uint8_t *data; /* NULL: for want of memory there is none */
    size_t size;
    bool again; /* one more read may follow in this wake-up: this one costs its reader nothing */
};

struct stream_owner;

/* What a stream says to whom it belongs. After `closed` it is gone. */
struct stream_events {
    void (*connected)(struct stream_owner *owner, struct stream *stream, int status);
    /* Where the next read goes; false: not now. `received` or `declined` follows at once, unless there was no memory. */
    bool (*offer)(struct stream_owner *owner, struct stream_offer *offer);
    void (*received)(struct stream_owner *owner, const struct stream_offer *offer, size_t size);
    void (*declined)(struct stream_owner *owner);         /* nothing was read into what was offered */
    void (*lost)(struct stream_owner *owner, int status); /* no more comes; LAGO_ENOMEM: for want of a buffer */
    void (*writable)(struct stream_owner *owner);         /* after stream_write said less than it was given */
    void (*closed)(struct stream_owner *owner);           /* stream_count went down */
};

/* And what it needs of him. */
struct stream_owner {
    const struct stream_events *events;
    lago_context_t *context;
    unsigned stream_count; /* those whose handles are not closed yet */
};

/* How to connect. Borrowed during the call. */
struct stream_options {
    lago_tcp_options_t tcp;
    const union address *local; /* to connect from; NULL: the system's choice */
};

/* Start to connect. 0: owner->connected follows, unless the stream is closed first. Or LAGO_ENOMEM, libuv's error. */
int stream_open(struct stream_owner *owner, const union address *address, const struct stream_options *options,
                struct stream **stream);

/* A connected socket of the caller's: a handle of libuv, or a descriptor. */
struct stream_gift {
    uv_stream_t *handle;
    void (*free_handle)(uv_stream_t *handle, void *data);
    void *data;
    int fd;
};

/* Whether it can be used: 0; LAGO_EINVAL (both, of another loop, busy), UV_ENOTSOCK, UV_ENOTCONN, UV_EPROTONOSUPPORT. */
int stream_check(const uv_loop_t *loop, const struct stream_gift *gift);

/* Make the stream of a gift that was checked: memory only, undone by stream_decline. NULL without memory. */
struct stream *stream_accept(struct stream_owner *owner, const struct stream_gift *gift);
void stream_decline(struct stream *stream);

/* Take it over: from here on it is closed by stream_close only. 0, or libuv's error: then it can only be closed. */
int stream_begin(struct stream *stream);

/* Close the descriptor now and the rest when libuv says so; no call but `closed` follows. `reset`: by RST. */
void stream_close(struct stream *stream, bool reset);

/* The owner's: which address it was opened to, and a place in a list. */
size_t *stream_address(struct stream *stream);
struct list *stream_node(struct stream *stream);
struct stream *stream_of_node(struct list *node);

/* The peer in words. */
void stream_endpoint(const struct stream *stream, char *endpoint, size_t size);

/* Whether its peer is on this machine: of the loopback, or a Unix domain socket. */
bool stream_is_local(const struct stream *stream);

/* Start or stop reading. 0 or libuv's error. */
int stream_set_reading(struct stream *stream, bool reading);
bool stream_is_reading(const struct stream *stream);

/* Whether the kernel holds bytes of it, or its end, that have not been read. */
bool stream_unread(const struct stream *stream);

/* Whether writing makes sense: connected, and not waiting for the peer. */
bool stream_can_write(const struct stream *stream);

/* Write what the kernel takes: bytes (less than all: `writable` follows), or libuv's error, and then nothing more is written. */
ssize_t stream_write(struct stream *stream, const struct slice *slices, size_t count);

/* A number that moves as the peer's side takes bytes, or is given some; `waiting`: the kernel holds some of them still. */
uint64_t stream_taken(const struct stream *stream, bool *waiting);

#endif
