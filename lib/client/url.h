/*
 * AMQP URLs and the keys of their query, which are pika's; the same keys come from variables as well.
 *
 * Secrets: a URL holds a password, and one that should have been percent-encoded can make any part of the URL look like
 * another part. So reasons name parts and keys, never their values.
 */
#ifndef LAGO_CLIENT_URL_H
#define LAGO_CLIENT_URL_H

#include "parameters.h"

/*
 * Read a URL into a new owner. `host`, `port` and `virtual_host` are always filled in; what else the URL leaves out stays 0,
 * the default.
 *
 * Decisions: a user without a password has the password ""; an empty user name, "amqp://:secret@host", is an error, because
 * it comes from an unset variable more often than from intent; so is an empty port. A '@' in the virtual host of a URL that
 * has no user is an error too: there a '/' in a password would otherwise send half of the password to a name server.
 *
 * 0, LAGO_EURL, LAGO_ENOTLS or LAGO_ENOMEM.
 */
int url_parse(const lago_allocator_t *alloc, const char *url, struct parameters **out, lago_reason_t *reason);

/* Percent-decode `size` bytes, once, into memory that `p` owns; `plus`: '+' is a space. 0, LAGO_EURL or LAGO_ENOMEM. */
int url_decode(struct parameters *p, const char *data, size_t size, bool plus, char **out);

/* Decimal digits only. NULL, or what is wrong. */
const char *number_read(const char *data, size_t size, uint32_t min, uint32_t max, uint32_t *out);

/* ---------------------------------------------------------------- the query */

#define QUERY_KEY_COUNT 12u

const char *query_key_name(size_t index);

/*
 * Set the parameter of a key from its decoded value. A value that is wrong is `code` in the reason, under the name `shown`.
 * 0, `code`, LAGO_ENOTLS or LAGO_ENOMEM.
 */
int query_key_set(struct parameters *p, size_t index, const char *shown, const char *value, int code, lago_reason_t *reason);

/* Everything behind the '?'. `secret`: unknown keys are not named, because they may be a piece of a password. */
int query_parse(struct parameters *p, const char *query, bool secret, lago_reason_t *reason);

#endif
