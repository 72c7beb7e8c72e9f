/* The server's end of TLS: see peer_tls.h. */
#include "peer_tls.h"
#include "certs.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct peer_tls {
    SSL *ssl;
    BIO *in, *out;
};

/* Made at the first need, for the life of the process. */
static struct {
    SSL_CTX *ctx;
    char *ca_pem, *other_pem;
    lago_tls_options_t trust, distrust;
} shared;

static char *authority(const char *subject, struct cert **made) {
    *made = cert_new(&(struct cert_options){ .subject = subject, .is_ca = true });
    return cert_pem((const struct cert *const *)made, 1);
}

static void make_shared(void) {
    struct cert *ca, *other;
    if (shared.ctx) return;
    shared.ca_pem = authority("the peer's", &ca);
    shared.other_pem = authority("another's", &other);
    struct cert *leaf =
        cert_new(&(struct cert_options){ .names = "DNS:localhost,IP:127.0.0.1,IP:::1",
                                         .issuer = ca,
                                         .key = CERT_ED25519 /* signatures of one length: each handshake has as many bytes */ });
    shared.ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(shared.ctx);
    assert_int_equal(SSL_CTX_use_certificate(shared.ctx, leaf->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(shared.ctx, leaf->key), 1);
    shared.trust.ca_pem = (lago_bytes_t){ shared.ca_pem, strlen(shared.ca_pem) };
    shared.distrust.ca_pem = (lago_bytes_t){ shared.other_pem, strlen(shared.other_pem) };
    cert_free(leaf);
    cert_free(ca);
    cert_free(other);
}

static void __attribute__((destructor)) free_shared(void) {
    SSL_CTX_free(shared.ctx);
    free(shared.ca_pem);
    free(shared.other_pem);
}

const lago_tls_options_t *peer_tls_trust(void) {
    make_shared();
    return &shared.trust;
}

const lago_tls_options_t *peer_tls_distrust(void) {
    make_shared();
    return &shared.distrust;
}

struct peer_tls *peer_tls_new(void) {
    struct peer_tls *tls = calloc(1, sizeof *tls);
    assert_non_null(tls);
    make_shared();
    tls->ssl = SSL_new(shared.ctx);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    assert_true(tls->ssl && tls->in && tls->out);
    BIO_set_mem_eof_return(tls->in, -1);
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void peer_tls_free(struct peer_tls *tls) {
    if (!tls) return;
    SSL_free(tls->ssl);
    free(tls);
}

bool peer_tls_is_up(const struct peer_tls *tls) { return SSL_is_init_finished(tls->ssl); }

static bool is_well(struct peer_tls *tls, int rc) {
    int error = SSL_get_error(tls->ssl, rc);
    ERR_clear_error();
    return rc > 0 || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN;
}

bool peer_tls_input(struct peer_tls *tls, const void *data, size_t size) {
    char nothing;
    ERR_clear_error();
    assert_int_equal(BIO_write(tls->in, data, (int)size), (int)size);
    if (!is_well(tls, SSL_do_handshake(tls->ssl))) return false;
    return !peer_tls_is_up(tls) || is_well(tls, SSL_peek(tls->ssl, &nothing, 1));
}

size_t peer_tls_read(struct peer_tls *tls, void *data, size_t size, bool *ended) {
    size_t got = 0;
    ERR_clear_error();
    if (SSL_read_ex(tls->ssl, data, size, &got)) return got;
    *ended = *ended || (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
    ERR_clear_error();
    return 0;
}

void peer_tls_write(struct peer_tls *tls, const void *data, size_t size) {
    assert_int_equal(SSL_write(tls->ssl, data, (int)size), (int)size);
}

void peer_tls_renew_keys(struct peer_tls *tls) {
    assert_int_equal(SSL_key_update(tls->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(tls->ssl), 1);
}

void peer_tls_close(struct peer_tls *tls) {
    if (peer_tls_is_up(tls)) (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

size_t peer_tls_output(struct peer_tls *tls, void *data, size_t size) {
    int got = BIO_read(tls->out, data, (int)size);
    return got > 0 ? (size_t)got : 0;
}
