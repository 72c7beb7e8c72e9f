/*
 * TLS to the broker (OpenSSL 3). Safe by default: the chain and the name are verified inside the handshake, TLS 1.2 or newer, no
 * renegotiation, no compression, OpenSSL's security level 2. A link that shall be secure never falls back to plain TCP.
 */
#ifndef LAGO_TLS_H
#define LAGO_TLS_H

#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* OpenSSL's SSL_CTX. lago's headers never include OpenSSL's. */
struct ssl_ctx_st;

typedef enum lago_tls_version { LAGO_TLS_DEFAULT, LAGO_TLS_1_2, LAGO_TLS_1_3 } lago_tls_version_t;

/**
 * The passphrase of an encrypted key; lago never asks on a terminal.
 *
 * @param buffer  To fill, without a NUL; wiped after use.
 * @param size    Its size, 1024 bytes.
 * @return How many bytes, or -1: there is none. Called inside lago_connect, perhaps more than once for a key; and again, from the
 *         loop, when a file of the options has changed before a later attempt: `data` must live as long as the connection. Must
 *         not call lago.
 */
typedef int (*lago_tls_passphrase_cb)(char *buffer, size_t size, void *data);

/**
 * Change the context as OpenSSL allows, after lago has set it up by the other options. It can trust other authorities, and loosen
 * everything else; but whatever it does, behind the handshake lago looks once more whether there is a certificate, whether OpenSSL's
 * verdict on it (SSL_get_verify_result) is good, and whether it has the name that is expected. Leave SSL_CTX_set_msg_callback alone:
 * it is how lago finds a peer that floods the link with messages of TLS itself.
 *
 * @return 0, or any other number: lago_connect returns LAGO_EPARAMETER. Called when the passphrase is; must not call lago.
 */
typedef int (*lago_tls_configure_cb)(struct ssl_ctx_st *ctx, void *data);

/**
 * How to secure a link. All zero: the system's trust store, the host's name. Strings are copied, files read, by lago_connect. Files
 * (not directories) that have changed are read again before each attempt; if they are wrong now, that attempt fails with
 * LAGO_EPARAMETER, and the next one looks again.
 */
typedef struct lago_tls_options {
    /*
     * Expected in the certificate (subjectAltName; the subject is not looked at), and sent as SNI; default: the host. An IP address
     * is expected as one, and not sent. Empty, or beside insecure_skip_verification, where nobody would look at it:
     * LAGO_EPARAMETER.
     */
    const char *server_name;
    /* Whom to trust; default: the system's store, as OpenSSL finds it (SSL_CERT_FILE, SSL_CERT_DIR). Several add up. */
    const char *ca_file;      /* PEM, one or more certificates */
    const char *ca_directory; /* hashed, as c_rehash makes it */
    lago_bytes_t ca_pem;      /* PEM, in memory */
    /* Who we are; default: nobody. Certificate (with its chain) and key come together, PEM. */
    const char *certificate_file;
    const char *key_file;
    lago_bytes_t certificate_pem;
    lago_bytes_t key_pem;
    lago_tls_passphrase_cb passphrase_cb;
    void *passphrase_data;
    const char *crl_file;            /* PEM; if set, each certificate of the chain is looked up in it */
    const char *ciphers;             /* TLS 1.2, in OpenSSL's words; default: OpenSSL's. Security level 2, unless "@SECLEVEL=" is
                                        among them; never one without a certificate or without encryption */
    const char *ciphersuites;        /* TLS 1.3 */
    lago_tls_version_t min_version;  /* default TLS 1.2 */
    lago_tls_version_t max_version;  /* default: the newest */
    const char *alpn;                /* one protocol name to offer; default none */
    const char *key_log_file;        /* appended to, in the format of NSS, for Wireshark: whoever has it can read everything */
    bool insecure_skip_verification; /* trust anybody: chain and name are not looked at. Logged as a warning */
    bool no_session_resumption;      /* a full handshake at every connect */
    lago_tls_configure_cb configure;
    void *configure_data;
    uintptr_t reserved[8]; /* zero */
} lago_tls_options_t;

#ifdef __cplusplus
}
#endif
#endif
