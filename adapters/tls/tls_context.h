/*
 * What the links of a connection share of TLS: an SSL_CTX made of the user's options, and the session to resume. Counted. Knows
 * no socket, no loop, no AMQP.
 */
#ifndef LAGO_TLS_TLS_CONTEXT_H
#define LAGO_TLS_TLS_CONTEXT_H

#include <lago/context.h>
#include <lago/error.h>
#include <lago/tls.h>

struct tls_context;

/*
 * Read files, check keys. 0; LAGO_ENOMEM; LAGO_EPARAMETER with a reason that names the option and says what OpenSSL says;
 * LAGO_ENOTLS in a build without OpenSSL; LAGO_ETLS, if OpenSSL itself does not work. `options` is borrowed for the life of the
 * context.
 */
int tls_context_new(const lago_allocator_t *alloc, const lago_tls_options_t *options, struct tls_context **context,
                    lago_reason_t *reason);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is allowed */

/*
 * Files that have changed since they were read are read again. 0; or what tls_context_new says, and then the old ones stay: the
 * next call tries again. Links that live are not touched.
 */
int tls_context_refresh(struct tls_context *context, lago_reason_t *reason);

#endif
