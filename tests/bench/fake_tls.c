#include "fake_tls.h"

#include "certs.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#define READ_AHEAD (256u << 10) /* octets of one read from the socket: about 16 records */

static SSL_CTX *ctx;

static void die(const char *what) {
    fprintf(stderr, "fake-broker: %s: %s\n", what, ERR_reason_error_string(ERR_peek_last_error()));
    exit(1);
}

static void write_certificate(const char *path, const struct cert *cert) {
    char *pem = cert_pem(&cert, 1);
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs(pem, file) < 0 || fclose(file) != 0) die(path);
    free(pem);
}

void fake_tls_begin(const char *path) {
    struct cert *cert = cert_new(&(struct cert_options){ .names = "IP:127.0.0.1" });
    write_certificate(path, cert);
    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || SSL_CTX_use_certificate(ctx, cert->x509) != 1 || SSL_CTX_use_PrivateKey(ctx, cert->key) != 1)
        die("no TLS");
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
    cert_free(cert);
}

struct ssl_st *fake_tls_new(int fd) {
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) die("no TLS");
    SSL_set_accept_state(ssl);
    return ssl;
}

void fake_tls_free(struct ssl_st *ssl) { SSL_free(ssl); }

/* As errno has it. */
static ssize_t result(SSL *ssl, int rc) {
    int why = SSL_get_error(ssl, rc);
    ERR_clear_error();
    if (why == SSL_ERROR_ZERO_RETURN) return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

ssize_t fake_tls_recv(struct ssl_st *ssl, void *data, size_t size) {
    size_t taken = 0, part;
    while (taken < size) {
        int rc = SSL_read_ex(ssl, (char *)data + taken, size - taken, &part);
        if (rc != 1) return taken > 0 ? (ssize_t)taken : result(ssl, rc);
        taken += part;
    }
    return (ssize_t)taken;
}

ssize_t fake_tls_send(struct ssl_st *ssl, const void *data, size_t size) {
    size_t sent;
    int rc = SSL_write_ex(ssl, data, size, &sent);
    return rc == 1 ? (ssize_t)sent : result(ssl, rc);
}
