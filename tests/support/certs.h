/*
 * Certificates made on the spot, good ones and bad ones, by OpenSSL's API: no files and no openssl program. What goes wrong in
 * the making ends the program: a test without its certificates tests nothing.
 */
#ifndef SUPPORT_CERTS_H
#define SUPPORT_CERTS_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

enum cert_key { CERT_EC, CERT_ED25519, CERT_EC_P384, CERT_EC_P192, CERT_RSA_1024, CERT_RSA_2048 };

struct cert {
    X509 *x509;
    EVP_PKEY *key;
    const struct cert *issuer; /* NULL: itself */
    bool is_ca;
};

/* Zero is a good leaf for a server without a name. Strings for extensions are in the words of openssl.cnf, x509v3_config(5). */
struct cert_options {
    const char *subject;       /* its CN; default "test" */
    const struct cert *issuer; /* borrowed for its life; default: it signs itself */
    const char *names;         /* subjectAltName: "DNS:localhost,IP:127.0.0.1"; default none */
    const void *raw_name;      /* instead: one dNSName of any bytes */
    size_t raw_name_size;
    const char *usage;       /* extendedKeyUsage; default "serverAuth", none for a CA */
    const char *constraints; /* basicConstraints; default "critical,CA:FALSE", for a CA "critical,CA:TRUE" */
    const char *name_constraints;
    const char *unknown; /* an extension of no known kind: "critical,DER:0500" */
    const char *digest;  /* "SHA1", "MD5"; default "SHA256", for Ed25519 its own */
    enum cert_key key;
    bool is_ca;
    long from_s, to_s; /* seconds from now; default from a day ago to a day from now */
};

struct cert *cert_new(const struct cert_options *options);
void cert_free(struct cert *cert); /* NULL is allowed */

/* PEM of a certificate followed by the issuers given; of its key, encrypted if there is a passphrase. malloc'ed. */
char *cert_pem(const struct cert *const *chain, size_t count);
char *cert_key_pem(const struct cert *cert, const char *passphrase);

/* A revocation list of `issuer`, PEM, malloc'ed: `revoked` stands in it unless NULL; it holds from a day ago to `to_s`. */
char *cert_crl_pem(const struct cert *issuer, const struct cert *revoked, long to_s);

/* Write a text to a file of its own in `directory`; the path is malloc'ed. */
char *cert_file(const char *directory, const char *name, const char *text);

#endif
