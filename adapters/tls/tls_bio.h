/* OpenSSL's end of a filter: a BIO that reads the ciphertext at hand and writes straight into the chunks that the socket sends. */
#ifndef LAGO_TLS_TLS_BIO_H
#define LAGO_TLS_TLS_BIO_H

#include "chunks.h"
#include <openssl/bio.h>

struct tls_pipe {
    const uint8_t *input; /* borrowed; what OpenSSL has not taken yet */
    size_t input_size;
    struct chunk_queue output;
    bool out_of_memory; /* the queue could not grow: the stream has a hole and is over */
};

/* NULL without memory. */
BIO_METHOD *tls_bio_method(void);

/* Read from and write to `pipe`, which outlives the SSL. False without memory. */
bool tls_bio_attach(SSL *ssl, const BIO_METHOD *method, struct tls_pipe *pipe);

#endif
