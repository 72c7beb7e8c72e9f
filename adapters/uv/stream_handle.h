/* What a stream is made of, for the two files that know: stream.c and stream_open.c. */
#ifndef LAGO_UV_STREAM_HANDLE_H
#define LAGO_UV_STREAM_HANDLE_H

#include "stream.h"

struct stream {
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } own;
    uv_stream_t *handle; /* in `own`, or the caller's */
    uv_poll_t *poll;     /* says when the peer takes bytes again; made at the first full send buffer, NULL: not yet */
    struct stream_owner *owner;
    struct stream_gift *gift; /* NULL: it was connected here */
    struct list node;
    size_t address;
    uint64_t written; /* handed to the kernel */
    int fd;           /* the socket */
    int poll_fd;      /* its duplicate: libuv refuses two watchers for one descriptor */
    unsigned handle_count;
    bool connected;
    bool reading;
    bool lost; /* the owner was told */
    struct stream_offer offer;
    size_t burst; /* bytes read in this wake-up */
    bool full;    /* no other read in this wake-up */
    bool refused; /* the last buffer, on purpose */
    bool blocked; /* the send buffer is full: `poll` is awaited */
    bool write_failed;
    bool closing;
};

#endif
