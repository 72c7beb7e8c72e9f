/* The fake broker's side of TLS, on sockets: reads and writes that behave as recv and send do. Knows no AMQP. */
#ifndef LAGO_TESTS_BENCH_FAKE_TLS_H
#define LAGO_TESTS_BENCH_FAKE_TLS_H

#include <stddef.h>
#include <sys/types.h>

struct ssl_st;

/* From here on links can be TLS, by a certificate for 127.0.0.1 made now, which is written to `path`. Ends the program if that fails. */
void fake_tls_begin(const char *path);

/* TLS over a socket that was accepted; the handshake comes with the first reads. */
struct ssl_st *fake_tls_new(int fd);
void fake_tls_free(struct ssl_st *ssl); /* NULL is allowed */

/* As recv and send: -1 with errno EAGAIN, 0 at the end of the link. A read takes as much as there is, of all records that came. */
ssize_t fake_tls_recv(struct ssl_st *ssl, void *data, size_t size);
ssize_t fake_tls_send(struct ssl_st *ssl, const void *data, size_t size);

#endif
