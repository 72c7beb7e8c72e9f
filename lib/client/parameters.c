/*
 * Parameters: ownership, defaults and checks. Everything wrong is found here, before any I/O, and named.
 *
 * Must not know URLs, variables or connections. No message ever holds a value, so none can hold a password.
 */
#include "parameters.h"
#include "alloc.h"
#include "reason.h"
#include "table.h"
#include "writer.h"
#include <string.h>

#define DEFAULT_HOST           "localhost"
#define DEFAULT_PORT           5672u
#define DEFAULT_VIRTUAL_HOST   "/"
#define DEFAULT_USERNAME       "guest"
#define DEFAULT_PASSWORD       "guest"
#define DEFAULT_LOCALE         "en_US"
#define DEFAULT_CHANNEL_MAX    65535u
#define DEFAULT_FRAME_MAX      131072u
#define DEFAULT_ATTEMPTS       1u
#define DEFAULT_RETRY_DELAY_MS 2000u
#define DEFAULT_SOCKET_MS      10000u
#define DEFAULT_STACK_MS       15000u
#define DEFAULT_CLOSE_MS       10000u
#define DEFAULT_MESSAGE_SIZE   (UINT64_C(128) << 20) /* RabbitMQ's own default limit up to 3.13 */
#define DEFAULT_HIGH_WATER     ((size_t)4 << 20)
#define LOW_WATER_SHARE        4u

#define FRAME_MAX_MIN           4096u       /* frame-min-size: every peer takes this much (AMQP 0-9-1, 4.2.3) */
#define HEARTBEAT_MAX           65535       /* a short on the wire (1.4.2.6) */
#define NAME_SIZE_MAX           255u        /* shortstr (4.2.5.3) */
#define HOST_SIZE_MAX           253u        /* DNS: 255 octets on the wire, less the first length and the root (RFC 1035, 3.1) */
#define LABEL_SIZE_MAX          63u         /* RFC 1035, 2.3.4 */
#define TCP_KEEPIDLE_MAX        32767u      /* Linux refuses more: MAX_TCP_KEEPIDLE */
#define TCP_KEEPINTVL_MAX       32767u      /* MAX_TCP_KEEPINTVL */
#define TCP_KEEPCNT_MAX         127u        /* MAX_TCP_KEEPCNT */
#define TCP_USER_TIMEOUT_MAX_MS 2147483647u /* an int to setsockopt */

#define TABLE_SIZE_OCTETS 4u

#define OWN_MECHANISMS_MAX 16u /* no broker offers as many */

#define MECHANISMS (LAGO_MECHANISM_PLAIN | LAGO_MECHANISM_AMQPLAIN)

/* A byte sequence that the owner frees; whatever it holds, it is wiped first. */
struct parameters_piece {
    struct parameters_piece *next;
    size_t size;
    char data[];
};

/* ---------------------------------------------------------------- ownership */

struct parameters *parameters_new(const lago_allocator_t *alloc) {
    struct parameters *p = mem_zero(alloc, 1, sizeof *p);
    if (p) p->alloc = *alloc;
    return p;
}

void parameters_free(struct parameters *p) {
    if (!p) return;
    lago_allocator_t alloc = p->alloc;
    while (p->pieces) {
        struct parameters_piece *piece = p->pieces;
        p->pieces = piece->next;
        mem_wipe(piece->data, piece->size);
        mem_free(&alloc, piece);
    }
    mem_free(&alloc, p);
}

char *parameters_room(struct parameters *p, size_t size) {
    if (size >= SIZE_MAX - sizeof(struct parameters_piece)) return NULL;
    struct parameters_piece *piece = mem_zero(&p->alloc, 1, sizeof *piece + size + 1);
    if (!piece) return NULL;
    piece->next = p->pieces;
    piece->size = size;
    p->pieces = piece;
    return piece->data;
}

char *parameters_hold(struct parameters *p, const char *string) {
    size_t size = strlen(string);
    char *room = parameters_room(p, size);
    if (room) memcpy(room, string, size);
    return room;
}

int parameters_hold_table(struct parameters *p, const lago_table_t *from, lago_table_t *to) {
    *to = (lago_table_t){ 0 };
    if (from->size == 0) return 0;
    if (!from->fields && !from->raw) return LAGO_ETABLE;
    struct writer measured = writer_measure();
    table_write(&measured, from);
    if (measured.error) return measured.error;
    char *room = parameters_room(p, measured.size);
    if (!room) return LAGO_ENOMEM;
    struct writer w = writer_over(room, measured.size);
    table_write(&w, from);
    if (w.error) return w.error;
    /* the writer copies raw tables unread, so what came out is checked as if it had been received */
    lago_table_t table = table_over(room + TABLE_SIZE_OCTETS, w.size - TABLE_SIZE_OCTETS);
    int64_t checked = lago_table_check(&table);
    if (checked < 0) return (int)checked;
    *to = table;
    return 0;
}

void lago_parameters_free(lago_parameters_t *parameters) {
    parameters_free((struct parameters *)parameters); /* `values` is the first member */
}

/* ---------------------------------------------------------------- reasons */

int parameters_reject(lago_reason_t *reason, int code, const char *name, const char *problem, const char *hint) {
    if (!reason) return code;
    const char *separator = name && problem ? ": " : "";
    reason_init(reason, code, LAGO_BY_CLIENT);
    reason_detail(reason, "%s%s%s", name ? name : "", separator, problem ? problem : "");
    if (hint) reason_hint(reason, "%s", hint);
    return code;
}

static int no_memory(lago_reason_t *reason) { return parameters_reject(reason, LAGO_ENOMEM, NULL, NULL, NULL); }

/* ---------------------------------------------------------------- host names */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static const char *ipv6_problem(const char *host) {
    size_t colons = 0, at = 0;
    for (; is_hex(host[at]) || host[at] == ':' || host[at] == '.'; at++) colons += host[at] == ':';
    if (host[at] == '%') { /* a zone: fe80::1%eth0 */
        at++;
        if (host[at] == '\0') return "an IPv6 address with an empty zone";
        while (host[at] && (is_digit(host[at]) || is_alpha(host[at]) || strchr("._-~", host[at]))) at++;
    }
    if (host[at] != '\0' || colons < 2) return "neither a name nor an IPv6 address (a port has its own place)";
    return NULL;
}

/* Four decimal numbers up to 255, without leading zeros. */
static bool is_ipv4(const char *host) {
    for (int i = 0; i < 4; i++) {
        unsigned value = 0;
        size_t digits = 0;
        for (; digits < 4 && is_digit(host[digits]); digits++) value = value * 10 + (unsigned)(host[digits] - '0');
        if (digits == 0 || value > 255 || (digits > 1 && host[0] == '0')) return false;
        host += digits;
        if (i < 3 && *host++ != '.') return false;
    }
    return *host == '\0';
}

/* "127.1", "0x7f.1" and "2130706433" are addresses to some resolvers and names to others (CVE-2024-24806 abused that). */
static bool looks_numeric(const char *label, size_t size) {
    size_t digits = 0;
    while (digits < size && is_digit(label[digits])) digits++;
    return digits == size || (size > 1 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X'));
}

static const char *label_problem(const char *label, size_t size) {
    if (size == 0) return "empty, or two dots in a row";
    if (size > LABEL_SIZE_MAX) return "a label is longer than 63 bytes";
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)label[i];
        if (c <= ' ' || c == 0x7f) return "contains a space or control character";
        if (strchr("/\\@?#[]%\"'<>", c)) return "contains a character that no host name has";
    }
    return NULL;
}

const char *parameters_host_problem(const char *host) {
    size_t size = strlen(host);
    if (size > HOST_SIZE_MAX) return "longer than 253 bytes";
    if (strchr(host, ':')) return ipv6_problem(host);
    const char *label = host, *problem = NULL;
    for (;;) {
        size_t label_size = strcspn(label, ".");
        problem = label_problem(label, label_size);
        if (problem) return problem;
        bool last = label[label_size] == '\0' || label[label_size + 1] == '\0'; /* "example.com." ends in the root */
        if (last && looks_numeric(label, label_size) && !is_ipv4(host)) return "a number that is no IPv4 address (a.b.c.d)";
        if (last) return NULL;
        label += label_size + 1;
    }
}

const char *parameters_name_problem(const char *name) { return strlen(name) > NAME_SIZE_MAX ? "longer than 255 bytes" : NULL; }

const char *parameters_user_problem(const char *username) {
    return *username == '\0' ? "empty" : parameters_name_problem(username);
}

const char *parameters_tcp_problem(const lago_tcp_options_t *options) {
    if (options->keepidle_s > TCP_KEEPIDLE_MAX) return "TCP_KEEPIDLE is above 32767 seconds";
    if (options->keepintvl_s > TCP_KEEPINTVL_MAX) return "TCP_KEEPINTVL is above 32767 seconds";
    if (options->keepcnt > TCP_KEEPCNT_MAX) return "TCP_KEEPCNT is above 127";
    if (options->user_timeout_ms > TCP_USER_TIMEOUT_MAX_MS) return "TCP_USER_TIMEOUT is above 2147483647 milliseconds";
    return NULL;
}

/* ---------------------------------------------------------------- the checked copy */

static uint32_t or_default(uint32_t value, uint32_t fallback) { return value ? value : fallback; }

static void fill_timeouts(lago_parameters_t *v) {
    v->socket_timeout_ms = or_default(v->socket_timeout_ms, DEFAULT_SOCKET_MS);
    v->stack_timeout_ms = or_default(v->stack_timeout_ms, DEFAULT_STACK_MS);
    v->close_timeout_ms = or_default(v->close_timeout_ms, DEFAULT_CLOSE_MS);
    v->connect_deadline_ms = or_default(v->connect_deadline_ms, LAGO_NO_TIMEOUT);
    v->blocked_connection_timeout_ms = or_default(v->blocked_connection_timeout_ms, LAGO_NO_TIMEOUT);
    v->operation_timeout_ms = or_default(v->operation_timeout_ms, LAGO_NO_TIMEOUT);
    v->retry_delay_ms = v->retry_delay_ms == LAGO_NO_DELAY ? 0 : or_default(v->retry_delay_ms, DEFAULT_RETRY_DELAY_MS);
}

static void fill_numbers(lago_parameters_t *v) {
    fill_timeouts(v);
    if (v->port == 0) v->port = DEFAULT_PORT;
    if (v->channel_max == 0) v->channel_max = DEFAULT_CHANNEL_MAX;
    v->frame_max = or_default(v->frame_max, DEFAULT_FRAME_MAX);
    v->connection_attempts = or_default(v->connection_attempts, DEFAULT_ATTEMPTS);
    /* a password is not to be sent by a mechanism that was not asked for, only because the broker offers nothing else */
    if (v->credentials.mechanisms == 0 && v->credentials.own_mechanism_count == 0) v->credentials.mechanisms = MECHANISMS;
    if (v->message_size_max == 0) v->message_size_max = DEFAULT_MESSAGE_SIZE;
    if (v->high_water == 0) v->high_water = DEFAULT_HIGH_WATER;
    if (v->low_water == 0) v->low_water = v->high_water / LOW_WATER_SHARE;
}

static void fill_strings(lago_parameters_t *v) {
    if (!v->credentials.password) v->credentials.password = v->credentials.username ? "" : DEFAULT_PASSWORD;
    if (!v->credentials.username) v->credentials.username = DEFAULT_USERNAME;
    if (!v->host) v->host = DEFAULT_HOST;
    if (!v->virtual_host) v->virtual_host = DEFAULT_VIRTUAL_HOST;
    if (!v->locale) v->locale = DEFAULT_LOCALE;
}

static const char *mechanism_problem(const lago_mechanism_t *mechanism) {
    if (!mechanism->on_challenge) return "without on_challenge";
    if (!mechanism->name || *mechanism->name == '\0') return "without a name";
    if (strchr(mechanism->name, ' ')) return "a name with a space";
    return parameters_name_problem(mechanism->name);
}

static int check_mechanisms(const lago_credentials_t *who, lago_reason_t *reason) {
    const char *problem = NULL;
    if (who->own_mechanism_count > OWN_MECHANISMS_MAX) problem = "more than 16";
    if (who->own_mechanism_count && !who->own_mechanisms) problem = "NULL with a count";
    for (size_t i = 0; !problem && i < who->own_mechanism_count; i++) problem = mechanism_problem(&who->own_mechanisms[i]);
    if (problem)
        return parameters_reject(reason, LAGO_EPARAMETER, "credentials.own_mechanisms", problem,
                                 "each has a name as the broker announces it, and on_challenge");
    return 0;
}

static int check_numbers(const lago_parameters_t *v, lago_reason_t *reason) {
    for (size_t i = 0; i < sizeof v->reserved / sizeof v->reserved[0]; i++)
        if (v->reserved[i])
            return parameters_reject(reason, LAGO_EINVAL, "reserved", "not zero", "initialise lago_parameters_t with {0}");
    if (v->frame_max < FRAME_MAX_MIN)
        return parameters_reject(reason, LAGO_EPARAMETER, "frame_max", "below 4096",
                                 "0 for the default (131072), or 4096 and more");
    if (v->heartbeat_s < LAGO_HEARTBEAT_OFF || v->heartbeat_s > HEARTBEAT_MAX)
        return parameters_reject(reason, LAGO_EPARAMETER, "heartbeat_s", "out of range",
                                 "0 for the broker's, 1 to 65535 seconds, or LAGO_HEARTBEAT_OFF");
    if (v->credentials.mechanisms & ~MECHANISMS)
        return parameters_reject(reason, LAGO_EPARAMETER, "credentials.mechanisms", "unknown bits",
                                 "LAGO_MECHANISM_PLAIN, LAGO_MECHANISM_AMQPLAIN, or both");
    if (v->low_water > v->high_water)
        return parameters_reject(reason, LAGO_EPARAMETER, "low_water", "above high_water",
                                 "on_drain comes at low_water, so it must not be above high_water");
    const char *problem = parameters_tcp_problem(&v->tcp_options);
    if (problem) return parameters_reject(reason, LAGO_EPARAMETER, "tcp_options", problem, "0 leaves the system's value");
    return 0;
}

static int check_strings(const lago_parameters_t *v, lago_reason_t *reason) {
    const char *problem = parameters_host_problem(v->host);
    if (problem)
        return parameters_reject(reason, LAGO_EPARAMETER, "host", problem,
                                 "a name, an IPv4 or an IPv6 address without brackets; the port goes into `port`");
    if (*v->credentials.username == '\0')
        return parameters_reject(reason, LAGO_EPARAMETER, "credentials.username", "empty", "NULL for the default, guest");
    const struct {
        const char *name, *value;
    } names[] = {
        { "virtual_host", v->virtual_host },
        { "credentials.username", v->credentials.username },
        { "locale", v->locale },
        { "connection_name", v->connection_name },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        problem = names[i].value ? parameters_name_problem(names[i].value) : NULL;
        if (problem) return parameters_reject(reason, LAGO_ETOOLONG, names[i].name, problem, "use 255 bytes or fewer");
    }
    return 0;
}

static int hold_strings(struct parameters *p) {
    lago_parameters_t *v = &p->values;
    const char **strings[] = {
        &v->host, &v->virtual_host, &v->credentials.username, &v->credentials.password, &v->locale, &v->connection_name,
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        if (!*strings[i]) continue;
        *strings[i] = parameters_hold(p, *strings[i]);
        if (!*strings[i]) return LAGO_ENOMEM;
    }
    return 0;
}

static int hold_mechanisms(struct parameters *p) {
    lago_credentials_t *who = &p->values.credentials;
    size_t size = who->own_mechanism_count * sizeof(lago_mechanism_t);
    if (size == 0) return 0;
    lago_mechanism_t *held = (void *)parameters_room(p, size); /* data[] lies as malloc's memory does: two words behind it */
    if (!held) return LAGO_ENOMEM;
    for (size_t i = 0; i < who->own_mechanism_count; i++) {
        held[i] = who->own_mechanisms[i];
        held[i].name = parameters_hold(p, held[i].name);
        if (!held[i].name) return LAGO_ENOMEM;
    }
    who->own_mechanisms = held;
    return 0;
}

static int hold_properties(struct parameters *p, const lago_table_t *from, lago_reason_t *reason) {
    int rc = parameters_hold_table(p, from, &p->values.client_properties);
    if (rc == LAGO_ENOMEM) return no_memory(reason);
    if (rc < 0) return parameters_reject(reason, rc, "client_properties", lago_strerror(rc), NULL);
    return 0;
}

static int fill_copy(struct parameters *p, const lago_parameters_t *from, lago_reason_t *reason) {
    p->values = *from;
    fill_numbers(&p->values);
    fill_strings(&p->values);
    int rc = check_numbers(&p->values, reason);
    if (rc == 0) rc = check_strings(&p->values, reason);
    if (rc == 0) rc = check_mechanisms(&p->values.credentials, reason);
    if (rc < 0) return rc;
    if (hold_strings(p) < 0 || hold_mechanisms(p) < 0) return no_memory(reason);
    return hold_properties(p, &from->client_properties, reason);
}

int parameters_copy(const lago_allocator_t *alloc, const lago_parameters_t *from, struct parameters **out,
                    lago_reason_t *reason) {
    static const lago_parameters_t defaults = { 0 };
    *out = NULL;
    struct parameters *p = parameters_new(alloc);
    if (!p) return no_memory(reason);
    int rc = fill_copy(p, from ? from : &defaults, reason);
    if (rc < 0) {
        parameters_free(p);
        return rc;
    }
    *out = p;
    return 0;
}
