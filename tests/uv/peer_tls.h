/*
 * The server's end of TLS, in memory: OpenSSL with a certificate made for these tests. Knows no sockets, and nothing of lago but its
 * options.
 */
#ifndef LAGO_TESTS_PEER_TLS_H
#define LAGO_TESTS_PEER_TLS_H

#include <lago/tls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer_tls;

struct peer_tls *peer_tls_new(void);
void peer_tls_free(struct peer_tls *tls); /* NULL is allowed */

/* Ciphertext that came. @return false: what it says is refused. */
bool peer_tls_input(struct peer_tls *tls, const void *data, size_t size);
bool peer_tls_is_up(const struct peer_tls *tls);

/* Plaintext of it; 0: that was all. `ended`: the client has said goodbye. */
size_t peer_tls_read(struct peer_tls *tls, void *data, size_t size, bool *ended);

/* Plaintext to send; a request to renew the keys of both sides; a goodbye. */
void peer_tls_write(struct peer_tls *tls, const void *data, size_t size);
void peer_tls_renew_keys(struct peer_tls *tls);
void peer_tls_close(struct peer_tls *tls);

/* Ciphertext to send; 0: that was all. */
size_t peer_tls_output(struct peer_tls *tls, void *data, size_t size);

/* Options of a client that trusts it as "localhost" and 127.0.0.1; borrowed for ever. `stranger`: of one that does not. */
const lago_tls_options_t *peer_tls_trust(void);
const lago_tls_options_t *peer_tls_distrust(void);

#endif
