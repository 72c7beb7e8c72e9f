/*
 * What most query keys set: numbers, times, words, dictionaries.
 *
 * Must not know where a value comes from, nor its key's name.
 */
#include "text.h"
#include "url_query.h"
#include <string.h>

#define MILLISECONDS 1000u

/* Times are uint32_t milliseconds, which end at 49.7 days; UINT32_MAX means none. */
#define SECONDS_MAX (49u * 24u * 3600u)

int setting_bad(struct setting *s, const char *problem) {
    struct text t;
    text_init(&t, s->problem, sizeof s->problem);
    text_add(&t, problem);
    return LAGO_EURL;
}

int setting_hold(struct setting *s, const char **out) {
    *out = parameters_hold(s->p, s->value);
    return *out ? 0 : LAGO_ENOMEM;
}

/* ---------------------------------------------------------------- numbers */

static int set_number(struct setting *s, uint64_t min, uint64_t max, uint64_t *out) {
    const char *problem = number_read(s->value, strlen(s->value), min, max, out);
    return problem ? setting_bad(s, problem) : 0;
}

static int set_uint32(struct setting *s, uint32_t min, uint32_t *out) {
    uint64_t value = 0;
    int rc = set_number(s, min, UINT32_MAX, &value);
    if (rc == 0) *out = (uint32_t)value;
    return rc;
}

static int set_size(struct setting *s, size_t *out) {
    uint64_t value = 0;
    int rc = set_number(s, 1, SIZE_MAX, &value);
    if (rc == 0) *out = (size_t)value;
    return rc;
}

int set_channel_max(struct setting *s) {
    uint64_t value = 0;
    int rc = set_number(s, 1, UINT16_MAX, &value);
    if (rc == 0) s->p->values.channel_max = (uint16_t)value;
    return rc;
}

int set_heartbeat(struct setting *s) {
    uint64_t value = 0;
    int rc = set_number(s, 0, UINT16_MAX, &value);
    if (rc == 0) s->p->values.heartbeat_s = value ? (int32_t)value : LAGO_HEARTBEAT_OFF;
    return rc;
}

int set_connection_attempts(struct setting *s) { return set_uint32(s, 1, &s->p->values.connection_attempts); }

int set_frame_max(struct setting *s) { return set_uint32(s, 4096, &s->p->values.frame_max); }

int set_message_size_max(struct setting *s) { return set_number(s, 1, UINT64_MAX, &s->p->values.message_size_max); }
int set_assembly_size_max(struct setting *s) { return set_number(s, 1, UINT64_MAX, &s->p->values.assembly_size_max); }

int set_high_water(struct setting *s) { return set_size(s, &s->p->values.high_water); }

int set_low_water(struct setting *s) { return set_size(s, &s->p->values.low_water); }

/* ---------------------------------------------------------------- times */

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
    uint64_t seconds = 0;
    uint32_t ms = 0;
    if (*s->value == '-') return setting_bad(s, "negative");
    bool bare = size == 0; /* ".5", as Python takes it */
    const char *problem = bare ? NULL : number_read(s->value, size, 0, SECONDS_MAX, &seconds);
    if (!problem && s->value[size] == '.') problem = fraction_read(s->value + size + 1, &ms);
    if (problem) return setting_bad(s, strcmp(problem, "not a whole number") == 0 ? "not a number of seconds" : problem);
    *out = (uint32_t)seconds * MILLISECONDS + ms;
    return 0;
}

static int set_time_above_0(struct setting *s, uint32_t *out) {
    int rc = set_time(s, out);
    return rc == 0 && *out == 0 ? setting_bad(s, "0") : rc;
}

/* lago's own: there is a word for LAGO_NO_TIMEOUT */
static int set_timeout(struct setting *s, uint32_t *out) {
    if (strcmp(s->value, "none") != 0) return set_time_above_0(s, out);
    *out = LAGO_NO_TIMEOUT;
    return 0;
}

int set_blocked_connection_timeout(struct setting *s) {
    uint32_t *out = &s->p->values.blocked_connection_timeout_ms;
    int rc = set_time(s, out);
    if (rc == 0 && *out == 0) *out = 1; /* pika gives up at once; 0 is the default here, so: as soon as can be */
    return rc;
}

int set_retry_delay(struct setting *s) {
    uint32_t *out = &s->p->values.retry_delay_ms;
    int rc = set_time(s, out);
    if (rc == 0 && *out == 0) *out = LAGO_NO_DELAY;
    return rc;
}

/* pika refuses 0 for these two */
int set_socket_timeout(struct setting *s) { return set_time_above_0(s, &s->p->values.socket_timeout_ms); }

int set_stack_timeout(struct setting *s) { return set_time_above_0(s, &s->p->values.stack_timeout_ms); }

/* Erlang's, for the same as socket_timeout, and in milliseconds */
int set_connection_timeout(struct setting *s) { return set_uint32(s, 1, &s->p->values.socket_timeout_ms); }

int set_retry_delay_max(struct setting *s) { return set_time_above_0(s, &s->p->values.retry_delay_max_ms); }

int set_connect_deadline(struct setting *s) { return set_timeout(s, &s->p->values.connect_deadline_ms); }

int set_resolve_timeout(struct setting *s) { return set_timeout(s, &s->p->values.resolve_timeout_ms); }

int set_write_timeout(struct setting *s) { return set_timeout(s, &s->p->values.write_timeout_ms); }

int set_close_timeout(struct setting *s) { return set_timeout(s, &s->p->values.close_timeout_ms); }

int set_operation_timeout(struct setting *s) { return set_timeout(s, &s->p->values.operation_timeout_ms); }

/* ---------------------------------------------------------------- words */

static int set_text(struct setting *s, const char *problem, const char **out) {
    return problem ? setting_bad(s, problem) : setting_hold(s, out);
}

/* One name, in capitals as brokers announce it (RFC 4422, 3.1); Erlang's client writes it small. */
static size_t copy_mechanism(const char *from, size_t size, char *out) {
    for (size_t i = 0; i < size; i++) {
        bool small = from[i] >= 'a' && from[i] <= 'z',
             other = (from[i] >= '0' && from[i] <= '9') || from[i] == '-' || from[i] == '_';
        if (!small && !other && (from[i] < 'A' || from[i] > 'Z')) return 0;
        out[i] = (char)(small ? from[i] - 'a' + 'A' : from[i]);
    }
    return size;
}

/* Commas or spaces between them, for one key may bring several. */
int set_auth_mechanism(struct setting *s) {
    char *list = parameters_room(s->p, strlen(s->value)), *end = list;
    if (!list) return LAGO_ENOMEM;
    for (const char *at = s->value;; at++) {
        size_t size = strcspn(at, ", ");
        if (size == 0) return setting_bad(s, "an empty name");
        if (copy_mechanism(at, size, end) == 0) return setting_bad(s, "a character that no mechanism's name has");
        at += size;
        end += size;
        if (*at == '\0') break;
        *end++ = ' ';
    }
    s->p->values.credentials.mechanisms = list;
    return 0;
}

int set_locale(struct setting *s) { return set_text(s, parameters_name_problem(s->value), &s->p->values.locale); }

int set_name(struct setting *s) { return set_text(s, parameters_name_problem(s->value), &s->p->values.connection_name); }

int set_local_address(struct setting *s) {
    return set_text(s, parameters_address_problem(s->value), &s->p->values.local_address);
}

static int set_flag(struct setting *s, bool *flag) {
    *flag = strcmp(s->value, "true") == 0;
    return *flag || strcmp(s->value, "false") == 0 ? 0 : setting_bad(s, "neither true nor false");
}

int set_shuffle_endpoints(struct setting *s) { return set_flag(s, &s->p->values.shuffle_endpoints); }

int set_fast_open(struct setting *s) { return set_flag(s, &s->p->values.fast_open); }

/* ---------------------------------------------------------------- dictionaries */

int setting_dictionary(struct setting *s, struct literal *literal) {
    int rc = literal_parse(literal, &s->p->alloc, s->value, strlen(s->value));
    if (rc == LAGO_ENOMEM || rc == 0) return rc;
    struct text t;
    text_init(&t, s->problem, sizeof s->problem);
    text_addf(&t, "%s, at byte %zu", literal->problem, literal->at);
    return LAGO_EURL;
}

int setting_bad_name(struct setting *s, lago_string_t name, const char *problem) {
    enum { SHOWN_MAX = 40 };
    struct text t;
    text_init(&t, s->problem, sizeof s->problem);
    text_add_escaped(&t, name.data, name.size, SHOWN_MAX);
    text_add(&t, problem);
    return LAGO_EURL;
}

bool literal_name_is(lago_string_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

int set_client_properties(struct setting *s) {
    struct literal literal;
    int rc = setting_dictionary(s, &literal);
    if (rc == 0) {
        rc = parameters_hold_table(s->p, &literal.table, &s->p->values.client_properties);
        if (rc < 0 && rc != LAGO_ENOMEM) rc = setting_bad(s, lago_strerror(rc));
    }
    literal_free(&literal);
    return rc;
}

static uint32_t *tcp_option(lago_tcp_options_t *options, lago_string_t name) {
    if (literal_name_is(name, "TCP_KEEPIDLE")) return &options->keepidle_s;
    if (literal_name_is(name, "TCP_KEEPINTVL")) return &options->keepintvl_s;
    if (literal_name_is(name, "TCP_KEEPCNT")) return &options->keepcnt;
    if (literal_name_is(name, "TCP_USER_TIMEOUT")) return &options->user_timeout_ms;
    return NULL;
}

static int set_tcp_option(struct setting *s, lago_tcp_options_t *options, const lago_field_t *field) {
    uint32_t *option = tcp_option(options, field->name);
    if (!option) return setting_bad_name(s, field->name, " is not an option");
    const lago_value_t *value = &field->value;
    if (value->type != LAGO_TYPE_INT32 && value->type != LAGO_TYPE_INT64)
        return setting_bad_name(s, field->name, " is not a whole number");
    if (value->as.integer < 1 || value->as.integer > UINT32_MAX) return setting_bad_name(s, field->name, " is out of range");
    *option = (uint32_t)value->as.integer;
    return 0;
}

int set_tcp_options(struct setting *s) {
    struct literal literal;
    lago_tcp_options_t options = { 0 };
    int rc = setting_dictionary(s, &literal);
    for (size_t i = 0; rc == 0 && i < literal.table.size; i++) rc = set_tcp_option(s, &options, &literal.table.fields[i]);
    literal_free(&literal);
    if (rc < 0) return rc;
    const char *problem = parameters_tcp_problem(&options);
    if (problem) return setting_bad(s, problem);
    s->p->values.tcp_options = options;
    return 0;
}
