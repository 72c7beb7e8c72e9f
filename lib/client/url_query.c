/*
 * The query of a URL: pika's twelve keys, what each accepts, and what it sets. Variables use the same table.
 *
 * Must not know where a value comes from: its caller gives the name to blame and the code to fail with.
 */
#include "literal.h"
#include "text.h"
#include "url.h"
#include <string.h>

#define MILLISECONDS 1000u

/* Times are uint32_t milliseconds, which end at 49.7 days; UINT32_MAX means none. */
#define SECONDS_MAX (49u * 24u * 3600u)

/* One value on its way into the parameters; a setter that fails says why in `problem`. */
struct setting {
    struct parameters *p;
    const char *value;
    char problem[120];
};

struct query_key {
    const char *name;
    const char *expected;
    int (*set)(struct setting *s);
};

static int bad(struct setting *s, const char *problem) {
    struct text t;
    text_init(&t, s->problem, sizeof s->problem);
    text_add(&t, problem);
    return LAGO_EURL;
}

/* ---------------------------------------------------------------- numbers and times */

static int set_number(struct setting *s, uint32_t min, uint32_t max, uint32_t *out) {
    const char *problem = number_read(s->value, strlen(s->value), min, max, out);
    return problem ? bad(s, problem) : 0;
}

/* What follows the point, in milliseconds, rounded up: a time that is not 0 must not become 0. */
static const char *fraction_read(const char *digits, uint32_t *ms) {
    uint32_t unit = MILLISECONDS / 10;
    bool more = false;
    if (*digits == '\0') return "no digit behind the point";
    for (*ms = 0; *digits; digits++) {
        if (*digits < '0' || *digits > '9') return "not a number of seconds";
        *ms += unit * (uint32_t)(*digits - '0');
        more = more || (unit == 0 && *digits != '0');
        unit /= 10;
    }
    *ms += more;
    return NULL;
}

static int set_time(struct setting *s, uint32_t *out) {
    size_t size = strcspn(s->value, ".");
    uint32_t seconds = 0, ms = 0;
    if (*s->value == '-') return bad(s, "negative");
    bool bare = size == 0 && s->value[0] == '.'; /* ".5", as Python takes it */
    const char *problem = bare ? NULL : number_read(s->value, size, 0, SECONDS_MAX, &seconds);
    if (!problem && s->value[size] == '.') problem = fraction_read(s->value + size + 1, &ms);
    if (problem) return bad(s, strcmp(problem, "not a whole number") == 0 ? "not a number of seconds" : problem);
    *out = seconds * MILLISECONDS + ms;
    return 0;
}

/* pika refuses 0 for these two */
static int set_time_above_0(struct setting *s, uint32_t *out) {
    int rc = set_time(s, out);
    return rc == 0 && *out == 0 ? bad(s, "0") : rc;
}

static int set_blocked_connection_timeout(struct setting *s) {
    uint32_t *out = &s->p->values.blocked_connection_timeout_ms;
    int rc = set_time(s, out);
    if (rc == 0 && *out == 0) *out = 1; /* pika gives up at once; 0 is the default here, so: as soon as can be */
    return rc;
}

static int set_retry_delay(struct setting *s) {
    uint32_t *out = &s->p->values.retry_delay_ms;
    int rc = set_time(s, out);
    if (rc == 0 && *out == 0) *out = LAGO_NO_DELAY;
    return rc;
}

static int set_socket_timeout(struct setting *s) { return set_time_above_0(s, &s->p->values.socket_timeout_ms); }

static int set_stack_timeout(struct setting *s) { return set_time_above_0(s, &s->p->values.stack_timeout_ms); }

static int set_channel_max(struct setting *s) {
    uint32_t value = 0;
    int rc = set_number(s, 1, UINT16_MAX, &value);
    if (rc == 0) s->p->values.channel_max = (uint16_t)value;
    return rc;
}

static int set_connection_attempts(struct setting *s) { return set_number(s, 1, UINT32_MAX, &s->p->values.connection_attempts); }

static int set_frame_max(struct setting *s) { return set_number(s, 4096, UINT32_MAX, &s->p->values.frame_max); }

static int set_heartbeat(struct setting *s) {
    uint32_t value = 0;
    int rc = set_number(s, 0, UINT16_MAX, &value);
    if (rc == 0) s->p->values.heartbeat_s = value ? (int32_t)value : LAGO_HEARTBEAT_OFF;
    return rc;
}

/* ---------------------------------------------------------------- text and dictionaries */

static int set_locale(struct setting *s) {
    const char *problem = parameters_name_problem(s->value);
    if (problem) return bad(s, problem);
    s->p->values.locale = parameters_hold(s->p, s->value);
    return s->p->values.locale ? 0 : LAGO_ENOMEM;
}

/* What pika's dictionary holds are paths and a password: not even parsed in a build that cannot use them. */
static int set_ssl_options(struct setting *s) {
    bad(s, "needs TLS, which this build does not have");
    return LAGO_ENOTLS;
}

static int read_dictionary(struct setting *s, struct literal *literal) {
    int rc = literal_parse(literal, &s->p->alloc, s->value, strlen(s->value));
    if (rc == LAGO_ENOMEM || rc == 0) return rc;
    struct text t;
    text_init(&t, s->problem, sizeof s->problem);
    text_addf(&t, "%s, at byte %zu", literal->problem, literal->at);
    return LAGO_EURL;
}

static int set_client_properties(struct setting *s) {
    struct literal literal;
    int rc = read_dictionary(s, &literal);
    if (rc == 0) {
        rc = parameters_hold_table(s->p, &literal.table, &s->p->values.client_properties);
        if (rc < 0 && rc != LAGO_ENOMEM) rc = bad(s, lago_strerror(rc));
    }
    literal_free(&literal);
    return rc;
}

static bool name_is(lago_string_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static uint32_t *tcp_option(lago_tcp_options_t *options, lago_string_t name) {
    if (name_is(name, "TCP_KEEPIDLE")) return &options->keepidle_s;
    if (name_is(name, "TCP_KEEPINTVL")) return &options->keepintvl_s;
    if (name_is(name, "TCP_KEEPCNT")) return &options->keepcnt;
    if (name_is(name, "TCP_USER_TIMEOUT")) return &options->user_timeout_ms;
    return NULL;
}

static int bad_option(struct setting *s, lago_string_t name, const char *problem) {
    enum { SHOWN_MAX = 40 };
    struct text t;
    text_init(&t, s->problem, sizeof s->problem);
    text_add_escaped(&t, name.data, name.size, SHOWN_MAX);
    text_add(&t, problem);
    return LAGO_EURL;
}

static int set_tcp_option(struct setting *s, lago_tcp_options_t *options, const lago_field_t *field) {
    uint32_t *option = tcp_option(options, field->name);
    if (!option) return bad_option(s, field->name, " is not an option");
    const lago_value_t *value = &field->value;
    if (value->type != LAGO_TYPE_INT32 && value->type != LAGO_TYPE_INT64)
        return bad_option(s, field->name, " is not a whole number");
    if (value->as.integer < 1 || value->as.integer > UINT32_MAX) return bad_option(s, field->name, " is out of range");
    *option = (uint32_t)value->as.integer;
    return 0;
}

static int set_tcp_options(struct setting *s) {
    struct literal literal;
    lago_tcp_options_t options = { 0 };
    int rc = read_dictionary(s, &literal);
    for (size_t i = 0; rc == 0 && i < literal.table.size; i++) rc = set_tcp_option(s, &options, &literal.table.fields[i]);
    literal_free(&literal);
    if (rc < 0) return rc;
    const char *problem = parameters_tcp_problem(&options);
    if (problem) return bad(s, problem);
    s->p->values.tcp_options = options;
    return 0;
}

/* ---------------------------------------------------------------- the keys */

#define SECONDS "seconds, with or without a fraction, up to 49 days"

static const struct query_key query_keys[QUERY_KEY_COUNT] = {
    { "blocked_connection_timeout", SECONDS, set_blocked_connection_timeout },
    { "channel_max", "a whole number from 1 to 65535", set_channel_max },
    { "client_properties", "a dictionary as Python or JSON writes it: {'product': 'mine'}", set_client_properties },
    { "connection_attempts", "a whole number from 1 to 4294967295", set_connection_attempts },
    { "frame_max", "a whole number from 4096 to 4294967295", set_frame_max },
    { "heartbeat", "whole seconds from 0 (off) to 65535", set_heartbeat },
    { "locale", "a name like en_US", set_locale },
    { "retry_delay", SECONDS, set_retry_delay },
    { "socket_timeout", SECONDS ", more than 0", set_socket_timeout },
    { "stack_timeout", SECONDS ", more than 0", set_stack_timeout },
    { "ssl_options", "a build with TLS", set_ssl_options },
    { "tcp_options",
      "a dictionary of whole numbers from 1: {'TCP_KEEPIDLE': 60, 'TCP_KEEPINTVL': 10, 'TCP_KEEPCNT': 5, "
      "'TCP_USER_TIMEOUT': 30000}",
      set_tcp_options },
};

const char *query_key_name(size_t index) { return query_keys[index].name; }

int query_key_set(struct parameters *p, size_t index, const char *shown, const char *value, int code, lago_reason_t *reason) {
    const struct query_key *key = &query_keys[index];
    struct setting s = { .p = p, .value = value };
    int rc = *value ? key->set(&s) : bad(&s, "empty");
    if (rc == 0) return 0;
    if (rc == LAGO_ENOMEM) return parameters_reject(reason, rc, NULL, NULL, NULL);
    return parameters_reject(reason, rc == LAGO_EURL ? code : rc, shown, s.problem, key->expected);
}

/* ---------------------------------------------------------------- the pairs */

static int reject_unknown(lago_reason_t *reason, const char *name, bool secret) {
    enum { SHOWN_MAX = 60 };
    char hint[sizeof((lago_reason_t *)0)->hint];
    struct text t;
    text_init(&t, hint, sizeof hint);
    for (size_t i = 0; i < QUERY_KEY_COUNT; i++) {
        if (query_keys[i].set == set_ssl_options) continue; /* nothing to recommend, and the others just fit */
        if (t.length) text_add(&t, " ");
        text_add(&t, query_keys[i].name);
    }
    int rc = parameters_reject(reason, LAGO_EURL, "query", "unknown key", hint);
    if (!reason || secret) return rc;
    text_init(&t, reason->detail, sizeof reason->detail);
    text_add(&t, "query: unknown key '");
    text_add_escaped(&t, name, strlen(name), SHOWN_MAX);
    text_add(&t, "'");
    return rc;
}

static int decode_text(struct parameters *p, const char *data, size_t size, char **out, lago_reason_t *reason) {
    int rc = url_decode(p, data, size, true, out);
    if (rc == LAGO_ENOMEM) return parameters_reject(reason, rc, NULL, NULL, NULL);
    return rc == 0 ? 0
                   : parameters_reject(reason, rc, "query", "a '%' that is not followed by two hexadecimal digits, or %00",
                                       "write '%' as %25");
}

static int pair_parse(struct parameters *p, const char *pair, size_t size, unsigned *seen, bool secret, lago_reason_t *reason) {
    const char *equals = memchr(pair, '=', size);
    size_t name_size = equals ? (size_t)(equals - pair) : size, index = 0;
    char *name = NULL, *value = NULL;
    int rc = decode_text(p, pair, name_size, &name, reason);
    if (rc < 0) return rc;
    while (index < QUERY_KEY_COUNT && strcmp(query_keys[index].name, name) != 0) index++;
    if (index == QUERY_KEY_COUNT) return reject_unknown(reason, name, secret);
    if (*seen & 1u << index) return parameters_reject(reason, LAGO_EURL, name, "given more than once", NULL);
    *seen |= 1u << index;
    rc = decode_text(p, equals ? equals + 1 : pair + size, equals ? size - name_size - 1 : 0, &value, reason);
    if (rc < 0) return rc;
    return query_key_set(p, index, name, value, LAGO_EURL, reason);
}

int query_parse(struct parameters *p, const char *query, bool secret, lago_reason_t *reason) {
    unsigned seen = 0;
    for (;;) {
        size_t size = strcspn(query, "&");
        /* nothing between two '&' is no pair, as for pika */
        int rc = size ? pair_parse(p, query, size, &seen, secret, reason) : 0;
        if (rc < 0) return rc;
        if (query[size] == '\0') return 0;
        query += size + 1;
    }
}
