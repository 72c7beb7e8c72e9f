/*
 * Connection parameters with an owner: the public struct and every string and table that it points to.
 *
 * Made from a URL (url.h), from variables, or as a checked copy for a connection. Knows no connection and no environment.
 */
#ifndef LAGO_CLIENT_PARAMETERS_H
#define LAGO_CLIENT_PARAMETERS_H

#include <lago/context.h>
#include <lago/parameters.h>

/* Further endpoints: more than any cluster has nodes, and a bound for what a URL can make us try. */
#define PARAMETERS_ENDPOINTS_MAX 64u

struct parameters_piece;

/*
 * `values` comes first: lago_parameters_free gets a pointer to it. The user may point its members elsewhere, so what is freed
 * is the list of pieces, never what the members point to.
 */
struct parameters {
    lago_parameters_t values;
    /* where values.tls and values.endpoints point, unless that is NULL or the user's */
    lago_tls_options_t *tls;
    lago_endpoint_t *endpoints;
    lago_allocator_t alloc;
    struct parameters_piece *pieces;
    size_t refs; /* connections with the same ones share them */
};

/* All values zero. NULL without memory. */
struct parameters *parameters_new(const lago_allocator_t *alloc);

/* With its last reference: wipes every piece, passwords, keys and passphrases among them. NULL is allowed. */
void parameters_free(struct parameters *p);
struct parameters *parameters_ref(struct parameters *p);

/* Whether two checked copies say the same, as far as is cheap to see: without TLS, endpoints and mechanisms of the caller. */
bool parameters_same(const struct parameters *a, const struct parameters *b);

/* Room for `size` bytes and a NUL behind them (both zeroed), which lives as long as `p`. NULL without memory. */
char *parameters_room(struct parameters *p, size_t size);

/* A copy of a string, which lives as long as `p`. NULL without memory. */
char *parameters_hold(struct parameters *p, const char *string);

/* The same for strings that may be NULL, in place. 0 or LAGO_ENOMEM. */
int parameters_hold_all(struct parameters *p, const char **strings[], size_t count);

/* Let `tls` be there, all zero. NULL without memory. */
lago_tls_options_t *parameters_new_tls(struct parameters *p);

/* Let `endpoints` be so many, all of them zero. 0 or LAGO_ENOMEM. */
int parameters_new_endpoints(struct parameters *p, size_t count);

/* A lago_tls_passphrase_cb; `data` is the passphrase, which parameters_copy copies with it. */
int parameters_passphrase(char *buffer, size_t size, void *data);

/* Encode `from` into bytes which live as long as `p`. 0, LAGO_ENOMEM, or what is wrong with the table. */
int parameters_hold_table(struct parameters *p, const lago_table_t *from, lago_table_t *to);

/*
 * A deep copy with the defaults filled in, checked. `from` may be NULL: all defaults.
 *
 * Afterwards 0 stands for a default nowhere, and each value has one meaning:
 * - *_timeout_ms and connect_deadline_ms: more than 0, or LAGO_NO_TIMEOUT for none; "default: none" has become that;
 *   only write_timeout_ms may still be 0, for 2 x the heartbeat that will be agreed;
 * - retry_delay_ms: the delay, where LAGO_NO_DELAY has become 0;
 * - heartbeat_s: 0 for the broker's, LAGO_HEARTBEAT_OFF, or seconds;
 * - port is that of TLS or not, of the endpoints as well, and of the proxy if there is one;
 * - retry_delay_max_ms: 0 for constant pauses;
 * - tcp_options: 0 for the system's value; connection_name: NULL for none; client_properties: raw, empty for none;
 * - tls, endpoints, proxy and local_address: as in the public header;
 * - strings are not NULL otherwise, `mechanisms` is not 0.
 * So a copy is for use, not to be copied again: it would wait 2000 ms where it should not wait.
 *
 * 0, LAGO_EINVAL (`reserved`), LAGO_EPARAMETER, LAGO_ETOOLONG, a table's error, LAGO_ENOMEM. `reason` may be NULL.
 */
int parameters_copy(const lago_allocator_t *alloc, const lago_parameters_t *from, struct parameters **out, lago_reason_t *reason);

/* What a value of that name is, or NULL. "" counts as unset. */
typedef const char *(*parameters_lookup)(const char *name, void *data);

/* lago_parameters_from_environment, over any lookup. */
int parameters_from_variables(const lago_allocator_t *alloc, parameters_lookup lookup, void *data, struct parameters **out,
                              lago_reason_t *reason);

/* ---------------------------------------------------------------- parts of parameters_copy, a file for each subject */

uint16_t parameters_default_port(const lago_parameters_t *v);
void parameters_fill_ports(lago_parameters_t *v); /* but for the endpoints', which the user's memory holds */

int parameters_check_reach(const lago_parameters_t *v, lago_reason_t *reason);
int parameters_check_tls(const lago_parameters_t *v, lago_reason_t *reason);

/* 0 or LAGO_ENOMEM */
int parameters_hold_reach(struct parameters *p);
int parameters_hold_tls(struct parameters *p);

/* ---------------------------------------------------------------- checks, shared by struct, URL and variables */

/* What is wrong with a value, in words without the value; NULL if nothing is. */
const char *parameters_host_problem(const char *host);       /* a name or an address */
const char *parameters_place_problem(const char *host);      /* or the path of a Unix domain socket */
const char *parameters_address_problem(const char *address); /* an address */
const char *parameters_name_problem(const char *name);
const char *parameters_user_problem(const char *username);

/* Whether a host is the path of a Unix domain socket. */
bool parameters_is_path(const char *host);

/* Fill `reason` (may be NULL) with "name: problem" and a hint (may be NULL). Returns `code`. */
int parameters_reject(lago_reason_t *reason, int code, const char *name, const char *problem, const char *hint);

/* Socket options that Linux would refuse when it is too late: named by member, NULL if all are good. */
const char *parameters_tcp_problem(const lago_tcp_options_t *options);

#endif
