/* A link as the context sees it: what OpenSSL's callbacks need to know of it, and tell about it. */
#ifndef LAGO_TLS_TLS_PEER_H
#define LAGO_TLS_TLS_PEER_H

#include "tls_context.h"
#include "tls_name.h"
#include <openssl/bio.h>
#include <stdint.h>

#define TLS_FIRST_SIZE 8 /* "AMQP", "HTTP/1.1", "SSH-2.0-" */

/* The app data of an SSL. */
struct tls_peer {
    struct tls_context *context;
    char name[TLS_NAME_SIZE];      /* that the certificate must have, and that a session is kept for */
    X509 *refused;                 /* the certificate that the verification stopped at */
    int refused_depth;             /* 0: the peer's own */
    unsigned chat_count;           /* messages of TLS itself, but for those that data made good */
    unsigned calm;                 /* data, since it last did: a part of each record, and of each KiB */
    uint8_t first[TLS_FIRST_SIZE]; /* bytes that came: somebody may not speak TLS */
    size_t first_size;
};

const lago_allocator_t *tls_context_alloc(const struct tls_context *context);

/* The name that options give instead of the host's; NULL for none. */
const char *tls_context_server_name(const struct tls_context *context);

/* Whether peers are verified. */
bool tls_context_verifies(const struct tls_context *context);

/* The kind of BIO that the links read from and write to. */
const BIO_METHOD *tls_context_method(const struct tls_context *context);

/* A client's SSL for a peer (which outlives it), with the session of its last link to resume. NULL without memory. */
SSL *tls_context_open(struct tls_context *context, struct tls_peer *peer);

/* Its handshake is over: a session that made trouble is not offered again. */
void tls_context_shaken(struct tls_context *context, SSL *ssl, bool good);

#endif
