/* The name that a peer's certificate must have. */
#ifndef LAGO_TLS_TLS_NAME_H
#define LAGO_TLS_TLS_NAME_H

#include <openssl/x509v3.h>
#include <stdbool.h>

/* A name of DNS has 253 bytes at most, and SNI takes 255; with a NUL. */
#define TLS_NAME_SIZE 256

#define TLS_NAME_FLAGS (X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)

/*
 * A host without what belongs to addresses and lookups only: the root's dot, an IPv6 zone. False: nothing is left of it, it is too
 * long, or begins with a dot, which OpenSSL would take as any name below.
 */
bool tls_name(const char *host, char name[TLS_NAME_SIZE]);

bool tls_name_is_address(const char *name);

/* Expect it of `ssl`: as SNI, if it is a name; `verifies`: in the certificate, inside the handshake. False without memory. */
bool tls_name_expect(SSL *ssl, const char *name, bool verifies);

/* Whether a certificate has it. */
bool tls_name_matches(X509 *certificate, const char *name);

#endif
