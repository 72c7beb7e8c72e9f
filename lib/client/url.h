/*
 * AMQP URLs: their parts, and the keys of their query, which are pika's, Erlang's and lago's own; the same keys come from
 * variables as well.
 *
 * Secrets: a URL holds a password, and one that should have been percent-encoded can make any part of the URL look like
 * another part. So reasons name parts and keys, never their values.
 */
#ifndef LAGO_CLIENT_URL_H
#define LAGO_CLIENT_URL_H

#include "parameters.h"

/*
 * Read a URL into a new owner. `host`, `port` and `virtual_host` are always filled in, as are the endpoints' ports (but for
 * paths, which have none); what else the URL leaves out stays 0, the default.
 *
 * Decisions: a user without a password has the password ""; an empty user name, "amqp://:secret@host", is an error, because
 * it comes from an unset variable more often than from intent; so is an empty port. A '@' in the virtual host of a URL that
 * has no user is an error too: there a '/' in a password would otherwise send half of the password to a name server. So is a
 * '@' before a ',' in front of the hosts: there each host may have a user of its own, and one would get another's password.
 *
 * 0, LAGO_EURL or LAGO_ENOMEM.
 */
int url_parse(const lago_allocator_t *alloc, const char *url, struct parameters **out, lago_reason_t *reason);

/* The same in two steps, for variables that come between: until url_finish a port that was not given is 0. */
int url_read(const lago_allocator_t *alloc, const char *url, struct parameters **out, lago_reason_t *reason);
void url_finish(struct parameters *p);

/* Percent-decode `size` bytes, once, into memory that `p` owns; `plus`: '+' is a space. 0, LAGO_EURL or LAGO_ENOMEM. */
int url_decode(struct parameters *p, const char *data, size_t size, bool plus, char **out);

/* Whether the URL begins with `scheme`, written in small letters with "://"; if so, it is moved on. */
bool url_skip_scheme(const char **url, const char *scheme);

/* Decimal digits only. NULL, or what is wrong. */
const char *number_read(const char *data, size_t size, uint64_t min, uint64_t max, uint64_t *out);

/* ---------------------------------------------------------------- between the slashes */

/* A part of a URL, not decoded. */
struct span {
    const char *data;
    size_t size;
};

/* user:password@hosts */
struct authority {
    struct span user, password, hosts;
    bool has_user, has_password;
};

extern const char url_encode_hint[];

struct authority authority_split(struct span text);

/* Decode a part; `name` is the one to blame. 0, LAGO_EURL or LAGO_ENOMEM. */
int authority_decode(struct parameters *p, struct span part, const char *name, const char **out, lago_reason_t *reason);

/* User and password, if there is one; NULL where there is none, but a user's password is at least "". */
int authority_login(struct parameters *p, const struct authority *from, const char **username, const char **password,
                    lago_reason_t *reason);

/* host:port. The host is NULL if it is empty, the port 0 if there is none; `name` is the host's, as "second host". */
int authority_host(struct parameters *p, struct span text, const char *name, lago_endpoint_t *out, lago_reason_t *reason);

#endif
