/*
 * TLS as a filter: ciphertext in, plaintext out, and the other way round. No socket and no loop: whoever owns one moves the
 * bytes. Works with any split of either stream. After a failure nothing more goes in or out but the alert that is queued.
 */
#ifndef LAGO_TLS_TLS_FILTER_H
#define LAGO_TLS_TLS_FILTER_H

#include "chunks.h"
#include "tls_context.h"

/* No more plaintext is taken while so much ciphertext waits: what was encrypted can not be taken back or overtaken. */
#define TLS_AHEAD_MAX ((size_t)64 * 1024)

#define TLS_RECORD_SIZE_MAX ((size_t)16 * 1024) /* plaintext of a record (RFC 8446, 5.1) */

struct tls_filter;

/* A client's side. `host` is the name expected unless the options have one. 0, LAGO_ENOMEM, LAGO_EPARAMETER (a bad name). */
int tls_filter_new(struct tls_context *context, const char *host, struct tls_filter **filter, lago_reason_t *reason);
void tls_filter_free(struct tls_filter *filter); /* NULL is allowed */

/* Ciphertext that came. Borrowed until tls_filter_is_starved. */
void tls_filter_input(struct tls_filter *filter, const uint8_t *data, size_t size);
bool tls_filter_is_starved(const struct tls_filter *filter);

/* Go on with the handshake: 1 done, 0 more input (and output) is needed, negative: failed, see tls_filter_reason. */
int tls_filter_handshake(struct tls_filter *filter);

/* Decrypt: bytes (> 0), 0 more input is needed, or */
#define TLS_CLOSED (-1) /* the peer said close_notify */
#define TLS_FAILED (-2)
int64_t tls_filter_read(struct tls_filter *filter, uint8_t *buffer, size_t size);

/* Encrypt as much as there is room for. @return plaintext bytes taken, of which all can leave and no more; or TLS_FAILED. */
int64_t tls_filter_write(struct tls_filter *filter, const struct slice *slices, size_t count);
bool tls_filter_has_room(const struct tls_filter *filter);

/* Say close_notify, behind what was written. */
void tls_filter_close(struct tls_filter *filter);

/* Ciphertext to send. */
size_t tls_filter_output(const struct tls_filter *filter, struct slice *slices, size_t max);
size_t tls_filter_output_size(const struct tls_filter *filter);
void tls_filter_written(struct tls_filter *filter, size_t size);

/* Why it failed: what, whose certificate, what to do. Borrowed from the filter; NULL while nothing failed. */
const lago_reason_t *tls_filter_reason(const struct tls_filter *filter);

/* Whether the handshake is done and has verified whom it was with: not so with insecure_skip_verification. */
bool tls_filter_is_verified(const struct tls_filter *filter);

/* Whether this handshake resumed an earlier session; the version and cipher in words, once the handshake is done. */
bool tls_filter_is_resumed(const struct tls_filter *filter);
const char *tls_filter_version(const struct tls_filter *filter);
const char *tls_filter_cipher(const struct tls_filter *filter);

#endif
