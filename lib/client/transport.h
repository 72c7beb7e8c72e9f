/*
 * The seam between lago's policy and the world. adapters/uv implements it on libuv, the tests with virtual time; the client
 * knows nothing else of either. A transport decides nothing: which address is tried, when to give up, what is written and when
 * a peer counts as dead is said from here.
 *
 * Down: the verbs of struct transport_ops. Up: the link_* functions below, which the transport calls from its loop, never from
 * inside a verb. After every up-call and after every wake the transport asks link_wants and does as it says.
 */
#ifndef LAGO_CLIENT_TRANSPORT_H
#define LAGO_CLIENT_TRANSPORT_H

#include "chunks.h"
#include <lago/connection.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transport_ops {
    /* Nanoseconds of a monotonic clock, fresh: about 20 ns. */
    uint64_t (*clock)(void *transport);

    /* Milliseconds of the same clock, up to 10 too few, where that is cheaper (about 5 ns): for who looks at it all the time. */
    uint64_t (*coarse_ms)(void *transport);

    /* Look a host up; link_resolved follows. An error means that it does not. */
    int (*resolve)(void *transport, const char *host, uint16_t port, const lago_tcp_options_t *tcp_options);

    /* Connect to the n-th address found; link_connected follows. An error means that it does not. */
    int (*connect)(void *transport, size_t address);

    /*
     * Drop the lookup or the link, at once; `reset`: by RST, so that nothing lingers in the kernel. No up-call for it follows.
     * The next connect or resolve may come at once.
     */
    void (*hang_up)(void *transport, bool reset);

    /* Something has changed: ask link_wants before the loop sleeps again. Idempotent, cheap, legal at any time. */
    void (*wake)(void *transport);

    /*
     * Whether the kernel holds bytes of the link, or its end, that have not been read (poll with no timeout). Asked before a
     * silent peer is condemned, because the loop may have been late, not the peer. False without a link.
     */
    bool (*unread)(void *transport);

    /* Run what other threads posted with LAGO_ECANCELED, and take no more. */
    void (*cancel_posts)(void *transport);

    /* Close every handle; then, from the last close callback, link_finished. No verb but the clocks is used after this one. */
    void (*finish)(void *transport);
};

/* What the client wants of its transport now. */
struct link_wants {
    uint64_t deadline; /* call link_turn at this time, DEADLINE_NEVER for none */
    bool turn;         /* call link_turn in the next turn of the loop, even if nothing happens */
    bool read;         /* read from the link; else leave its bytes in the kernel */
    bool write;        /* link_output has bytes */
    bool alive;        /* keep the loop running */
};
struct link_wants link_wants(lago_connection_t *conn);

/* The lookup is done: 0 and how many addresses, or libuv's error. */
void link_resolved(lago_connection_t *conn, int status, size_t address_count);

/* Connected (0), or libuv's error. `endpoint` is the address in words, borrowed. */
void link_connected(lago_connection_t *conn, int status, const char *endpoint);

/*
 * Bytes came, all of them handed over at once. They stay borrowed, and are written to (NULs behind strings), until
 * link_has_input is false; only then may link_input be called again.
 */
void link_input(lago_connection_t *conn, uint8_t *data, size_t size);
bool link_has_input(const lago_connection_t *conn);

/* The peer ended the link (UV_EOF) or it broke; no more input will come. */
void link_lost(lago_connection_t *conn, int status);

/*
 * Writing failed. What has been received may still hold the better reason (the broker's connection.close), so the
 * transport goes on reading and writes no more; link_lost follows if the peer says something, else the client gives up.
 */
void link_write_failed(lago_connection_t *conn, int status);

/* Time passed, a wake, or more to do: work, for a bounded while. */
void link_turn(lago_connection_t *conn);

/* The bytes to write next, at most `max` slices; and how many of them were written. Slices stay until then. */
size_t link_output(const lago_connection_t *conn, struct slice *slices, size_t max);
void link_written(lago_connection_t *conn, size_t size);

/*
 * All handles are closed. The connection may be gone when this returns. Between `finish` and this nothing else is called but
 * link_enter, link_handle and link_leave, around posts that are canceled.
 */
void link_finished(lago_connection_t *conn);

/*
 * Around a callback of the user that the transport makes itself (posts): the connection is not freed in between.
 * link_leave may free what was waiting for it.
 */
void link_enter(lago_connection_t *conn);
void link_leave(lago_connection_t *conn);

/* The caller's handle, for callbacks: NULL once it was freed. */
lago_connection_t *link_handle(lago_connection_t *conn);

/* What the connections of a loop share and lib/ needs; connection_new copies it. */
struct environment {
    lago_allocator_t alloc;
    lago_log_cb log; /* never NULL */
    void *log_data;
    lago_log_level_t log_level;
    struct pcapng *capture;     /* shared; NULL: none */
    uint32_t callback_limit_ms; /* LAGO_NO_TIMEOUT: callbacks are not watched */
};

/* A transport and its verbs. */
struct transport {
    const struct transport_ops *ops;
    void *self;
};

static inline uint64_t transport_now_ms(const struct transport *transport) {
    return transport->ops->clock(transport->self) / 1000000u;
}

/*
 * Make a connection over a transport; it begins to dial at its first link_turn. `parameters` or `url` as lago_connect.
 * @return 0 or lago_connect's errors; what is wrong has been logged.
 */
int connection_new(const struct environment *environment, const struct transport *transport, const char *url,
                   const lago_connection_options_t *options, lago_connection_t **conn);

/* `self` of its transport. */
void *connection_transport(const lago_connection_t *conn);

#endif
