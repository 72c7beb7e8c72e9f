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

/* More addresses of a host are not tried: nobody has so many, and they are marked in a word. */
#define LINK_ADDRESSES_MAX 64

/* Where to go: what `resolve` is asked. Borrowed during the call. */
struct link_target {
    const char *host; /* a name, an address, or a path that begins with '/' */
    uint16_t port;
    const char *local_address; /* to connect from; NULL: the system's choice */
    const lago_tcp_options_t *tcp_options;
};

struct transport_ops {
    /* Nanoseconds of a monotonic clock, fresh: about 20 ns. */
    uint64_t (*clock)(void *transport);

    /* Milliseconds of the same clock, up to 10 too few, where that is cheaper (about 5 ns): for who looks at it all the time. */
    uint64_t (*coarse_ms)(void *transport);

    /* A random number, good enough for pauses and orders. */
    uint64_t (*random)(void *transport);

    /*
     * Take over the TLS options of the parameters of this number: read its files, check its keys. Called from connection_new only;
     * the options live as long as the connection, and files that have changed may be read again later. 0; LAGO_EPARAMETER,
     * LAGO_ENOTLS, LAGO_ETLS (OpenSSL itself does not work) with a reason; LAGO_ENOMEM.
     */
    int (*trust)(void *transport, size_t parameters, const lago_tls_options_t *options, lago_reason_t *reason);

    /* Look a host up; link_resolved follows. An error means that it does not. */
    int (*resolve)(void *transport, const struct link_target *target);

    /*
     * Connect to the n-th address found, beside those that are under way (at most LINK_ADDRESSES_MAX); link_connected follows. The
     * first one that succeeds is the link, and the others are dropped without a word. An error means that nothing follows.
     */
    int (*connect)(void *transport, size_t address);

    /* The stream that the caller gave is the link; link_connected follows, for address 0. An error means that it does not. */
    int (*adopt)(void *transport);

    /* The n-th address in words, "127.0.0.1:5672" or "/run/x.sock"; borrowed until the next call. */
    const char *(*endpoint)(void *transport, size_t address);

    /*
     * From here on the link's bytes are TLS, by the options of the parameters of this number; `host` is the name expected, unless
     * the options have one. link_secured follows. An error means that it does not.
     */
    int (*secure)(void *transport, size_t parameters, const char *host);

    /*
     * Whether nobody can stand between: TLS that has verified the broker, a Unix domain socket, an address of the loopback. Of a link
     * that is up.
     */
    bool (*is_private)(const void *transport);

    /* TLS of the link in words. */
    lago_tls_info_t (*tls)(const void *transport);

    /*
     * Drop the lookup, the attempts and the link, at once; `reset`: by RST, so that nothing lingers in the kernel; else TLS says its
     * close_notify, if the kernel takes it. No up-call for them follows. The next connect or resolve may come at once.
     */
    void (*hang_up)(void *transport, bool reset);

    /* Something has changed: ask link_wants before the loop sleeps again. Idempotent, cheap, legal at any time. */
    void (*wake)(void *transport);

    /*
     * Much waits, and the turn goes on: write now what the kernel takes, or with TLS what fills records. The only verb that calls up,
     * link_output and link_written and nothing else; an error is told by link_write_failed or link_failed in the next turn.
     */
    void (*push)(void *transport);

    /*
     * Whether the kernel holds bytes of the link, or its end, that have not been read (poll with no timeout). Asked before a
     * silent peer is condemned, because the loop may have been late, not the peer. False without a link.
     */
    bool (*unread)(void *transport);

    /*
     * How much the peer has taken of what was written to this link: a number that grows. `waiting`: whether there is more that it
     * has not taken, in the kernel or in TLS. Asked when nothing seems to go out any more.
     */
    uint64_t (*taken)(void *transport, bool *waiting);

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
    bool write_first;  /* and they have waited long enough: write before the next turn */
    bool alive;        /* keep the loop running */
};
struct link_wants link_wants(lago_connection_t *conn);

/* The lookup is done: 0 and how many addresses, or libuv's error. */
void link_resolved(lago_connection_t *conn, int status, size_t address_count);

/* An address: connected (0), or libuv's error. */
void link_connected(lago_connection_t *conn, size_t address, int status);

/* TLS is up (NULL), or why not; the link is still to be hung up then. */
void link_secured(lago_connection_t *conn, const lago_reason_t *failure);

/*
 * Bytes came, all of them handed over at once. They stay borrowed, and are written to (NULs behind strings), until
 * link_has_input is false; only then may link_input be called again.
 */
void link_input(lago_connection_t *conn, uint8_t *data, size_t size);
bool link_has_input(const lago_connection_t *conn);

/*
 * Where the bytes that come next may be put besides: straight into the message that they belong to, at least a page. 0: nowhere.
 * link_filled says at once how many were put there, or nothing follows; then link_turn, as behind link_input.
 */
size_t link_room(lago_connection_t *conn, uint8_t **room);
void link_filled(lago_connection_t *conn, const uint8_t *room, size_t size);

/* How large the next link_input should be at most: bytes of a large message are wanted in link_room. */
size_t link_read_max(const lago_connection_t *conn);

/* The peer ended the link (UV_EOF; LAGO_ETRUNCATED: without close_notify) or it broke; no more input will come. */
void link_lost(lago_connection_t *conn, int status);

/* TLS failed behind its handshake: a forged or broken record, an alert. No more input will come. */
void link_failed(lago_connection_t *conn, const lago_reason_t *reason);

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
    struct pcapng *capture;     /* shared; never NULL */
    struct block_pool *blocks;  /* for output, shared; NULL: none */
    struct alike *alike;        /* shared (targets.h); NULL: none */
    struct book *book;          /* what brokers said before, shared; NULL: none */
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
