/* What OpenSSL says, in words that help: errors of the library, verdicts on certificates. */
#ifndef LAGO_TLS_TLS_WORDS_H
#define LAGO_TLS_TLS_WORDS_H

#include "tls_peer.h"
#include <lago/error.h>

/* What OpenSSL's queue of errors held. 0: none. */
struct tls_errors {
    unsigned long first, last;
    unsigned long system;  /* errno */
    unsigned long refusal; /* of a certificate */
    bool memory;           /* there was none: often the others only pass that on */
};

/* Empty the queue. */
struct tls_errors tls_errors_take(void);

/* An error of OpenSSL in words, "no error" for 0. */
void tls_error_words(unsigned long error, char *buffer, size_t size);

/*
 * Fill in why a handshake, or (`done`) a link failed: from OpenSSL's queue of errors, which is emptied, and from what the peer
 * showed. After a failure OpenSSL itself no longer knows whether the handshake was done.
 */
void tls_failure(const SSL *ssl, const struct tls_peer *peer, bool done, lago_reason_t *reason);

#endif
