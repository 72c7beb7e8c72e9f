/*
 * The query of a URL: which keys there are, what each accepts in words, and which do not go together. Variables use the same
 * table.
 *
 * Must not know where a value comes from: its caller gives the name to blame and the code to fail with.
 */
#include "url_query.h"
#include "text.h"
#include <string.h>

#define SECONDS  "seconds, with or without a fraction, up to 49 days"
#define BYTES    "a whole number of bytes, from 1"
#define COUNT    "a whole number from 1 to 4294967295"
#define PEM_FILE "the path of a PEM file"

/* Where a key stands in the table, for those that do not stand alone. */
enum {
    KEY_CACERTFILE,
    KEY_CERTFILE,
    KEY_KEYFILE,
    KEY_SERVER_NAME_INDICATION,
    KEY_VERIFY,
    KEY_SSL_OPTIONS,
    KEY_CONNECTION_TIMEOUT,
    KEY_SOCKET_TIMEOUT,
    KEY_AUTH_MECHANISM
};

static const struct query_key {
    const char *name;
    const char *expected;
    int (*set)(struct setting *s);
} keys[] = {
    [KEY_CACERTFILE] = { "cacertfile", PEM_FILE, set_cacertfile },
    [KEY_CERTFILE] = { "certfile", PEM_FILE ", with the key unless keyfile names another", set_certfile },
    [KEY_KEYFILE] = { "keyfile", PEM_FILE, set_keyfile },
    [KEY_SERVER_NAME_INDICATION] = { "server_name_indication", "the name in the broker's certificate; by default the host",
                                     set_server_name_indication },
    [KEY_VERIFY] = { "verify", "verify_peer, or verify_none to trust anybody", set_verify },
    [KEY_SSL_OPTIONS] = { "ssl_options",
                          "a dictionary of cafile, capath, cadata, certfile, keyfile, password, ciphers, server_hostname: "
                          "{'cafile': 'ca.pem'}",
                          set_ssl_options },
    [KEY_CONNECTION_TIMEOUT] = { "connection_timeout", "whole milliseconds from 1 to 4294967295", set_connection_timeout },
    [KEY_SOCKET_TIMEOUT] = { "socket_timeout", SECONDS ", more than 0", set_socket_timeout },
    [KEY_AUTH_MECHANISM] = { "auth_mechanism", "plain, amqplain, external, or another one's name, with commas between them",
                             set_auth_mechanism },
    { "assembly_size_max", BYTES, set_assembly_size_max },
    { "blocked_connection_timeout", SECONDS, set_blocked_connection_timeout },
    { "channel_max", "a whole number from 1 to 65535", set_channel_max },
    { "client_properties", "a dictionary as Python or JSON writes it: {'product': 'mine'}", set_client_properties },
    { "close_timeout", SECONDS ", more than 0, or none", set_close_timeout },
    { "connect_deadline", SECONDS ", more than 0, or none", set_connect_deadline },
    { "connection_attempts", COUNT, set_connection_attempts },
    { "fast_open", "true or false", set_fast_open },
    { "frame_max", "a whole number from 4096 to 4294967295", set_frame_max },
    { "heartbeat", "whole seconds from 0 (off) to 65535", set_heartbeat },
    { "high_water", BYTES, set_high_water },
    { "local_address", "an address of this machine, as 192.0.2.1 or 2001:db8::1", set_local_address },
    { "locale", "a name like en_US", set_locale },
    { "low_water", BYTES, set_low_water },
    { "message_size_max", BYTES, set_message_size_max },
    { "name", "a name for the connection", set_name },
    { "operation_timeout", SECONDS ", more than 0, or none", set_operation_timeout },
    { "proxy", "socks5://host:port or http://host:port, with user:password@ before the host if it wants them", set_proxy },
    { "resolve_timeout", SECONDS ", more than 0, or none", set_resolve_timeout },
    { "retry_delay", SECONDS, set_retry_delay },
    { "retry_delay_max", SECONDS ", more than 0", set_retry_delay_max },
    { "shuffle_endpoints", "true or false", set_shuffle_endpoints },
    { "stack_timeout", SECONDS ", more than 0", set_stack_timeout },
    { "tcp_options",
      "a dictionary of whole numbers from 1: {'TCP_KEEPIDLE': 60, 'TCP_KEEPINTVL': 10, 'TCP_KEEPCNT': 5, "
      "'TCP_USER_TIMEOUT': 30000}",
      set_tcp_options },
    { "write_timeout", SECONDS ", more than 0, or none", set_write_timeout },
};

_Static_assert(sizeof keys / sizeof keys[0] == QUERY_KEY_COUNT && QUERY_KEY_COUNT <= 64, "a bit for each key");

const char *query_key_name(size_t index) { return keys[index].name; }

int query_key_set(struct parameters *p, size_t index, const char *shown, const char *value, int code, lago_reason_t *reason) {
    const struct query_key *key = &keys[index];
    struct setting s = { .p = p, .value = value };
    int rc = *value ? key->set(&s) : setting_bad(&s, "empty");
    if (rc == 0) return 0;
    if (rc == LAGO_ENOMEM) return parameters_reject(reason, rc, NULL, NULL, NULL);
    return parameters_reject(reason, code, shown, s.problem, key->expected);
}

/* ---------------------------------------------------------------- keys that do not go together */

#define TLS_FILES                                                                                                                \
    (QUERY_BIT(KEY_CACERTFILE) | QUERY_BIT(KEY_CERTFILE) | QUERY_BIT(KEY_KEYFILE) | QUERY_BIT(KEY_SERVER_NAME_INDICATION))

static size_t first_of(uint64_t bits) {
    size_t index = 0;
    while (!(bits & QUERY_BIT(index))) index++;
    return index;
}

bool query_conflicts(uint64_t seen, const struct parameters *p, struct query_conflict *out) {
    uint64_t tls_keys = seen & (TLS_FILES | QUERY_BIT(KEY_VERIFY)),
             timeouts = QUERY_BIT(KEY_CONNECTION_TIMEOUT) | QUERY_BIT(KEY_SOCKET_TIMEOUT);
    if (tls_keys && !p->values.tls)
        *out = (struct query_conflict){ first_of(tls_keys), "is for TLS, but the URL is amqp://", "use amqps://, port 5671" };
    else if (seen & QUERY_BIT(KEY_SSL_OPTIONS) && seen & TLS_FILES)
        *out = (struct query_conflict){ first_of(seen & TLS_FILES), "given beside ssl_options",
                                        "ssl_options has a name of its own for it" };
    else if (seen & QUERY_BIT(KEY_KEYFILE) && !p->tls->certificate_file)
        *out = (struct query_conflict){ KEY_KEYFILE, "given without certfile", "certfile is the certificate for this key" };
    else if ((seen & timeouts) == timeouts)
        *out = (struct query_conflict){ KEY_CONNECTION_TIMEOUT, "given beside socket_timeout, which means the same",
                                        "connection_timeout counts milliseconds, socket_timeout seconds" };
    else
        return false;
    return true;
}

/* ---------------------------------------------------------------- the pairs */

struct query {
    struct parameters *p;
    uint64_t seen;
    bool secret;
    lago_reason_t *reason;
};

#define NAME_SIZE_MAX 32u /* the longest key has 26 letters */

/* How many letters must be added, left out or changed to make one word of the other (Levenshtein). */
static size_t distance(const char *a, const char *b) {
    size_t row[NAME_SIZE_MAX + 1], size = strlen(b);
    for (size_t i = 0; i <= size; i++) row[i] = i;
    for (size_t k = 1; *a; a++, k++) {
        size_t diagonal = row[0];
        row[0] = k;
        for (size_t i = 1; i <= size; i++) {
            size_t changed = diagonal + (*a != b[i - 1]), shorter = row[i] < row[i - 1] ? row[i] : row[i - 1];
            diagonal = row[i];
            row[i] = changed < shorter + 1 ? changed : shorter + 1;
        }
    }
    return row[size];
}

/* The key that was meant, perhaps; NULL if none looks like it. */
static const char *nearest(const char *name) {
    enum { FAR = 3 }; /* a letter in the wrong case or place, not another word: the shortest key has 4 letters */
    const char *best = NULL;
    size_t least = FAR;
    if (strlen(name) > NAME_SIZE_MAX) return NULL;
    for (size_t i = 0; i < QUERY_KEY_COUNT; i++) {
        size_t far = distance(name, keys[i].name);
        if (far < least) {
            least = far;
            best = keys[i].name;
        }
    }
    return best;
}

static int reject_unknown(const struct query *q, const char *name) {
    enum { SHOWN_MAX = 60 };
    struct text t;
    int rc = parameters_reject(q->reason, LAGO_EURL, "query", "unknown key", "lago/parameters.h lists the keys");
    if (!q->reason || q->secret) return rc;
    text_init(&t, q->reason->detail, sizeof q->reason->detail);
    text_add(&t, "query: unknown key '");
    text_add_escaped(&t, name, strlen(name), SHOWN_MAX);
    text_add(&t, "'");
    const char *meant = nearest(name);
    if (!meant) return rc;
    text_init(&t, q->reason->hint, sizeof q->reason->hint);
    text_addf(&t, "perhaps %s? lago/parameters.h lists the keys", meant);
    return rc;
}

static int decode_text(const struct query *q, struct span text, char **out) {
    int rc = url_decode(q->p, text.data, text.size, true, out);
    if (rc == LAGO_ENOMEM) return parameters_reject(q->reason, rc, NULL, NULL, NULL);
    return rc == 0 ? 0
                   : parameters_reject(q->reason, rc, "query", "a '%' that is not followed by two hexadecimal digits, or %00",
                                       "write '%' as %25");
}

/* auth_mechanism may be repeated, as in Erlang's client: the names add up. */
static int add_mechanisms(const struct query *q, char **value) {
    const char *before = q->p->values.credentials.mechanisms;
    size_t size = strlen(before);
    char *both = parameters_room(q->p, size + 1 + strlen(*value));
    if (!both) return parameters_reject(q->reason, LAGO_ENOMEM, NULL, NULL, NULL);
    memcpy(both, before, size);
    both[size] = ' ';
    memcpy(both + size + 1, *value, strlen(*value));
    *value = both;
    return 0;
}

static int take_pair(struct query *q, struct span pair) {
    const char *equals = memchr(pair.data, '=', pair.size);
    struct span left = { pair.data, equals ? (size_t)(equals - pair.data) : pair.size }, right = { "", 0 };
    size_t index = 0;
    char *name = NULL, *value = NULL;
    if (equals) right = (struct span){ equals + 1, pair.size - left.size - 1 };
    int rc = decode_text(q, left, &name);
    if (rc < 0) return rc;
    while (index < QUERY_KEY_COUNT && strcmp(keys[index].name, name) != 0) index++;
    if (index == QUERY_KEY_COUNT) return reject_unknown(q, name);
    bool again = q->seen & QUERY_BIT(index);
    if (again && index != KEY_AUTH_MECHANISM) return parameters_reject(q->reason, LAGO_EURL, name, "given more than once", NULL);
    q->seen |= QUERY_BIT(index);
    rc = decode_text(q, right, &value);
    if (rc == 0 && again) rc = add_mechanisms(q, &value);
    return rc < 0 ? rc : query_key_set(q->p, index, name, value, LAGO_EURL, q->reason);
}

int query_parse(struct parameters *p, const char *query, bool secret, lago_reason_t *reason) {
    struct query q = { .p = p, .secret = secret, .reason = reason };
    for (;;) {
        size_t size = strcspn(query, "&");
        /* nothing between two '&' is no pair, as for pika */
        int rc = size ? take_pair(&q, (struct span){ query, size }) : 0;
        if (rc < 0) return rc;
        if (query[size] == '\0') break;
        query += size + 1;
    }
    struct query_conflict conflict;
    if (!query_conflicts(q.seen, p, &conflict)) return 0;
    return parameters_reject(reason, LAGO_EURL, keys[conflict.index].name, conflict.problem, conflict.hint);
}
