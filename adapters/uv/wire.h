/*
 * What lies between a client and the stream that is its link: nothing, or TLS. Bytes go up (link_input, link_lost ...) and down
 * (link_output) here; who connects, and when, is the transport's.
 */
#ifndef LAGO_UV_WIRE_H
#define LAGO_UV_WIRE_H

#include "stream.h"
#include "tls_filter.h"
#include "transport.h"

struct wire {
    lago_connection_t *conn;
    lago_context_t *context;
    struct stream *stream;     /* the link, NULL for none */
    struct tls_filter *filter; /* NULL: none is between */
    struct slab *slab;         /* what the client reads from; it may outlive the link */
    struct slab *ciphertext;   /* what the filter reads from */
    lago_reason_t *refusal;    /* why there will be no TLS, until the client has been told */
    bool securing;             /* the handshake is not done, or has failed: nothing in clear */
    bool unpumped;             /* the filter holds input for when the client has taken what it has */
    bool over;                 /* the client was told that no more comes */
    int trouble; /* writing failed: libuv's error, or LAGO_ETLS: the filter knows more; the next flush tells. 0: none */
};

/* TLS from here on; wire_pump does the rest, and tells. 0 or LAGO_ENOMEM. */
int wire_secure(struct wire *wire, struct tls_context *context, const char *host);

/* Where the next read goes; false: not now, what came last is still there. Nothing was read: wire_declined. */
bool wire_offer(struct wire *wire, struct stream_offer *offer);
void wire_declined(struct wire *wire);

/* Whether it is time for one; or will be in the next turn of the loop, so that a stream that reads need not stop. */
bool wire_wants_read(const struct wire *wire, const struct link_wants *wants);
bool wire_keeps_reading(const struct wire *wire, const struct link_wants *wants);

/* So many bytes are in what was offered. Calls the client. */
void wire_received(struct wire *wire, const struct stream_offer *offer, size_t size);

/* The stream ended. Calls the client. */
void wire_lost(struct wire *wire, int status);

/* Decrypt what is there, as long as the client takes it; go on with the handshake. Calls the client. */
void wire_pump(struct wire *wire);
bool wire_wants_pump(const struct wire *wire, const struct link_wants *wants);

/* Write what the client and the filter have, for a bounded while. Calls the client. */
void wire_flush(struct wire *wire);
bool wire_wants_flush(const struct wire *wire, const struct link_wants *wants);

/* Write now what the kernel takes, or what fills records. From inside of a verb: what fails waits for the next flush. */
void wire_push(struct wire *wire);

/* Whether nobody can stand between. */
bool wire_is_private(const struct wire *wire);

/* Whether bytes wait that the client has not seen. */
bool wire_unread(const struct wire *wire);
uint64_t wire_taken(const struct wire *wire, bool *waiting);

/* Drop the link; TLS says close_notify unless `reset`, if the kernel takes it at once. */
void wire_hang_up(struct wire *wire, bool reset);

/* Give the client's slab back, if it has taken all of it; or in any case, when it is gone. */
void wire_give_slab(struct wire *wire);
void wire_clear(struct wire *wire);

#endif
