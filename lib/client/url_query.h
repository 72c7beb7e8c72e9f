/* The keys of a URL's query, a file for each subject: url_query.c has the table of them. Variables use the same table. */
#ifndef LAGO_CLIENT_URL_QUERY_H
#define LAGO_CLIENT_URL_QUERY_H

#include "literal.h"
#include "url.h"

#define QUERY_KEY_COUNT 34u

/* Everything behind the '?'. `secret`: unknown keys are not named, because they may be a piece of a password. */
int query_parse(struct parameters *p, const char *query, bool secret, lago_reason_t *reason);

const char *query_key_name(size_t index);

/*
 * Set the parameter of a key from its decoded value. A value that is wrong is `code` in the reason, under the name `shown`.
 * 0, `code` or LAGO_ENOMEM.
 */
int query_key_set(struct parameters *p, size_t index, const char *shown, const char *value, int code, lago_reason_t *reason);

/* Keys that were given, a bit for each. */
#define QUERY_BIT(index) (UINT64_C(1) << (index))

/* A key that does not go with the others, or with a link without TLS. */
struct query_conflict {
    size_t index;
    const char *problem, *hint;
};

bool query_conflicts(uint64_t seen, const struct parameters *p, struct query_conflict *out);

/* ---------------------------------------------------------------- setters: the value may be anything but empty */

/* One value on its way into the parameters; a setter that fails says why in `problem`, never with the value. */
struct setting {
    struct parameters *p;
    const char *value;
    char problem[120];
};

/* `problem` into the setting; LAGO_EURL. */
int setting_bad(struct setting *s, const char *problem);

/* A copy of the value. 0 or LAGO_ENOMEM. */
int setting_hold(struct setting *s, const char **out);

/* A dictionary in the value; free it with literal_free whatever is returned. */
int setting_dictionary(struct setting *s, struct literal *literal);

/* Something about one of the dictionary's names. */
int setting_bad_name(struct setting *s, lago_string_t name, const char *problem);

bool literal_name_is(lago_string_t name, const char *text);

/* url_values.c: numbers, times, words, dictionaries */
int set_auth_mechanism(struct setting *s);
int set_blocked_connection_timeout(struct setting *s);
int set_channel_max(struct setting *s);
int set_client_properties(struct setting *s);
int set_close_timeout(struct setting *s);
int set_connect_deadline(struct setting *s);
int set_connection_attempts(struct setting *s);
int set_connection_timeout(struct setting *s);
int set_fast_open(struct setting *s);
int set_frame_max(struct setting *s);
int set_heartbeat(struct setting *s);
int set_high_water(struct setting *s);
int set_local_address(struct setting *s);
int set_locale(struct setting *s);
int set_low_water(struct setting *s);
int set_message_size_max(struct setting *s);
int set_assembly_size_max(struct setting *s);
int set_name(struct setting *s);
int set_operation_timeout(struct setting *s);
int set_resolve_timeout(struct setting *s);
int set_retry_delay(struct setting *s);
int set_retry_delay_max(struct setting *s);
int set_shuffle_endpoints(struct setting *s);
int set_socket_timeout(struct setting *s);
int set_stack_timeout(struct setting *s);
int set_tcp_options(struct setting *s);
int set_write_timeout(struct setting *s);

/* url_proxy.c */
int set_proxy(struct setting *s);

/* url_tls.c */
int set_cacertfile(struct setting *s);
int set_certfile(struct setting *s);
int set_keyfile(struct setting *s);
int set_server_name_indication(struct setting *s);
int set_ssl_options(struct setting *s);
int set_verify(struct setting *s);

#endif
