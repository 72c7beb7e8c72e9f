/* From the user's options to an SSL_CTX. Whatever is wrong with them is said here, before any I/O, by the option's name. */
#ifndef LAGO_TLS_TLS_OPTIONS_H
#define LAGO_TLS_TLS_OPTIONS_H

#include <lago/context.h>
#include <lago/error.h>
#include <lago/tls.h>
#include <openssl/types.h>

/* What goes on while options are applied. The context asks for passphrases only while it is made. */
struct tls_making {
    SSL_CTX *ctx;
    const lago_tls_options_t *options;
    const lago_allocator_t *alloc;
    lago_reason_t *reason;
};

/*
 * All but what concerns the links later (sessions, key log, hook). 0; LAGO_ENOMEM; LAGO_EPARAMETER with a reason that names the
 * option, and OpenSSL's queue of errors is empty.
 */
int tls_options_apply(const struct tls_making *making);

/* LAGO_EPARAMETER: "tls.option: problem". `hint` may be NULL. */
int tls_refuse(const struct tls_making *making, const char *option, const char *problem, const char *hint);

/* The same, with what the system or OpenSSL said as the problem; or LAGO_ENOMEM, if that was it. */
int tls_refuse_errors(const struct tls_making *making, const char *option, const char *hint);

#endif
