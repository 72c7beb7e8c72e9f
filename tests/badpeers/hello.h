/* A ServerHello at the front of a flight, to be changed on its way (RFC 8446, 4.1.3; RFC 5246, 7.4.1.3). Knows TLS, no OpenSSL. */
#ifndef BADPEERS_HELLO_H
#define BADPEERS_HELLO_H

#include "blob.h"

#define HELLO_VERSION 9u /* where it stands in the flight: behind the headers of record and message */
#define HELLO_RANDOM  11u

/* Where these stand: behind the session id, whose size varies. */
size_t hello_cipher(const struct blob *flight);
size_t hello_compression(const struct blob *flight);

void hello_set_u16(struct blob *flight, size_t at, unsigned value);

/* Put an extension in front of the others. */
void hello_add_extension(struct blob *flight, unsigned type, const void *data, size_t size);

/* Where the data of an extension begin; 0 if it is not there. */
size_t hello_extension(const struct blob *flight, unsigned type);

/* Each record in clear becomes many of at most `size` bytes. */
void hello_fragment(struct blob *flight, size_t size);

#endif
