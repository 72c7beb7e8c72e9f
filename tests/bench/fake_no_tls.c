/* In the place of fake_tls.c where there is no OpenSSL. */
#include "fake_tls.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void fake_tls_begin(const char *path) {
    fprintf(stderr, "fake-broker: built without TLS: no %s\n", path);
    exit(1);
}

struct ssl_st *fake_tls_new(int fd) {
    (void)fd;
    return NULL;
}

void fake_tls_free(struct ssl_st *ssl) { (void)ssl; }

ssize_t fake_tls_recv(struct ssl_st *ssl, void *data, size_t size) {
    (void)ssl, (void)data, (void)size;
    errno = ECONNRESET;
    return -1;
}

ssize_t fake_tls_send(struct ssl_st *ssl, const void *data, size_t size) {
    (void)ssl, (void)data, (void)size;
    errno = ECONNRESET;
    return -1;
}
