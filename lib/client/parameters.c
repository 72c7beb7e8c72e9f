/*
 * Parameters: ownership, defaults and checks. Everything wrong is found here, before any I/O, and named.
 *
 * Must not know URLs, variables or connections. No message ever holds a value, so none can hold a password.
 */
#include "parameters.h"
#include "alloc.h"
#include "credentials.h"
#include "reason.h"
#include "table.h"
#include "writer.h"
#include <string.h>

#define DEFAULT_HOST           "localhost"
#define DEFAULT_VIRTUAL_HOST   "/"
#define DEFAULT_LOCALE         "en_US"
#define DEFAULT_CHANNEL_MAX    65535u
#define DEFAULT_FRAME_MAX      131072u
#define DEFAULT_ATTEMPTS       1u
#define DEFAULT_RETRY_DELAY_MS 2000u
#define DEFAULT_SOCKET_MS      10000u
#define DEFAULT_STACK_MS       15000u
#define DEFAULT_CLOSE_MS       10000u
#define DEFAULT_RESOLVE_MS     10000u
#define DEFAULT_MESSAGE_SIZE   (UINT64_C(128) << 20) /* RabbitMQ's own default limit up to 3.13 */
#define DEFAULT_HIGH_WATER     ((size_t)4 << 20)
#define LOW_WATER_SHARE        4u

#define FRAME_MAX_MIN           4096u       /* frame-min-size: every peer takes this much (AMQP 0-9-1, 4.2.3) */
#define HEARTBEAT_MAX           65535       /* a short on the wire (1.4.2.6) */
#define NAME_SIZE_MAX           255u        /* shortstr (4.2.5.3) */
#define TCP_KEEPIDLE_MAX        32767u      /* Linux refuses more: MAX_TCP_KEEPIDLE */
#define TCP_KEEPINTVL_MAX       32767u      /* MAX_TCP_KEEPINTVL */
#define TCP_KEEPCNT_MAX         127u        /* MAX_TCP_KEEPCNT */
#define TCP_USER_TIMEOUT_MAX_MS 2147483647u /* an int to setsockopt */

#define TABLE_SIZE_OCTETS 4u

/* A byte sequence that the owner frees; whatever it holds, it is wiped first. */
struct parameters_piece {
    struct parameters_piece *next;
    size_t size;
    char data[];
};

/* ---------------------------------------------------------------- ownership */

struct parameters *parameters_new(const lago_allocator_t *alloc) {
    struct parameters *p = mem_zero(alloc, 1, sizeof *p);
    if (!p) return NULL;
    p->alloc = *alloc;
    p->refs = 1;
    return p;
}

struct parameters *parameters_ref(struct parameters *p) {
    p->refs++;
    return p;
}

void parameters_free(struct parameters *p) {
    if (!p || --p->refs > 0) return;
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

int parameters_hold_all(struct parameters *p, const char **strings[], size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!*strings[i]) continue;
        *strings[i] = parameters_hold(p, *strings[i]);
        if (!*strings[i]) return LAGO_ENOMEM;
    }
    return 0;
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
    table_write(&w, from); /* as it was measured: raw tables have been checked as well */
    *to = table_over(room + TABLE_SIZE_OCTETS, w.size - TABLE_SIZE_OCTETS);
    return 0;
}

void lago_parameters_free(lago_parameters_t *parameters) {
    parameters_free((struct parameters *)parameters); /* `values` is the first member */
}

/* ---------------------------------------------------------------- reasons */

int parameters_reject(lago_reason_t *reason, int code, const char *name, const char *problem, const char *hint) {
    if (!reason) return code;
    reason_init(reason, code, LAGO_BY_CLIENT);
    if (name) reason_detail(reason, "%s: %s", name, problem);
    if (hint) reason_hint(reason, "%s", hint);
    return code;
}

static int no_memory(lago_reason_t *reason) { return parameters_reject(reason, LAGO_ENOMEM, NULL, NULL, NULL); }

/* ---------------------------------------------------------------- shared checks */

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
    v->resolve_timeout_ms = or_default(v->resolve_timeout_ms, DEFAULT_RESOLVE_MS);
    v->connect_deadline_ms = or_default(v->connect_deadline_ms, LAGO_NO_TIMEOUT);
    v->blocked_connection_timeout_ms = or_default(v->blocked_connection_timeout_ms, LAGO_NO_TIMEOUT);
    v->operation_timeout_ms = or_default(v->operation_timeout_ms, LAGO_NO_TIMEOUT);
    v->retry_delay_ms = v->retry_delay_ms == LAGO_NO_DELAY ? 0 : or_default(v->retry_delay_ms, DEFAULT_RETRY_DELAY_MS);
}

static void fill_numbers(lago_parameters_t *v) {
    fill_timeouts(v);
    if (v->channel_max == 0) v->channel_max = DEFAULT_CHANNEL_MAX;
    v->frame_max = or_default(v->frame_max, DEFAULT_FRAME_MAX);
    v->connection_attempts = or_default(v->connection_attempts, DEFAULT_ATTEMPTS);
    if (v->message_size_max == 0) v->message_size_max = DEFAULT_MESSAGE_SIZE;
    if (v->assembly_size_max == 0)
        v->assembly_size_max = v->message_size_max > UINT64_MAX / 2 ? UINT64_MAX : 2 * v->message_size_max;
    if (v->high_water == 0) v->high_water = DEFAULT_HIGH_WATER;
    if (v->low_water == 0) v->low_water = v->high_water / LOW_WATER_SHARE;
}

static void fill_strings(lago_parameters_t *v) {
    credentials_fill(&v->credentials);
    if (!v->host) v->host = DEFAULT_HOST;
    if (!v->virtual_host) v->virtual_host = DEFAULT_VIRTUAL_HOST;
    if (!v->locale) v->locale = DEFAULT_LOCALE;
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
    if (v->retry_delay_max_ms && v->retry_delay_max_ms < v->retry_delay_ms)
        return parameters_reject(reason, LAGO_EPARAMETER, "retry_delay_max_ms", "below retry_delay_ms",
                                 "pauses begin at retry_delay_ms (default 2000) and double up to retry_delay_max_ms");
    if (v->assembly_size_max < v->message_size_max)
        return parameters_reject(
            reason, LAGO_EPARAMETER, "assembly_size_max", "below message_size_max",
            "a message of message_size_max has to fit into assembly_size_max (default 2 x message_size_max)");
    if (v->low_water > v->high_water)
        return parameters_reject(reason, LAGO_EPARAMETER, "low_water", "above high_water",
                                 "on_drain comes at low_water, so it must not be above high_water");
    const char *problem = parameters_tcp_problem(&v->tcp_options);
    if (problem) return parameters_reject(reason, LAGO_EPARAMETER, "tcp_options", problem, "0 leaves the system's value");
    return 0;
}

static int check_strings(const lago_parameters_t *v, lago_reason_t *reason) {
    const struct {
        const char *name, *value;
    } names[] = {
        { "virtual_host", v->virtual_host },
        { "locale", v->locale },
        { "connection_name", v->connection_name },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *problem = names[i].value ? parameters_name_problem(names[i].value) : NULL;
        if (problem) return parameters_reject(reason, LAGO_ETOOLONG, names[i].name, problem, "use 255 bytes or fewer");
    }
    return 0;
}

static int hold_strings(struct parameters *p) {
    lago_parameters_t *v = &p->values;
    const char **strings[] = {
        &v->virtual_host,
        &v->locale,
        &v->connection_name,
    };
    return parameters_hold_all(p, strings, sizeof strings / sizeof strings[0]);
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
    parameters_fill_ports(&p->values);
    int rc = check_numbers(&p->values, reason);
    if (rc == 0) rc = check_strings(&p->values, reason);
    if (rc == 0) rc = credentials_check(&p->values.credentials, reason);
    if (rc == 0) rc = parameters_check_reach(&p->values, reason);
    if (rc == 0) rc = parameters_check_tls(&p->values, reason);
    if (rc < 0) return rc;
    if (hold_strings(p) < 0 || credentials_hold(p) < 0 || parameters_hold_reach(p) < 0 || parameters_hold_tls(p) < 0)
        return no_memory(reason);
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

/* ---------------------------------------------------------------- what connections share */

static bool same_string(const char **a, const char **b) {
    bool same = *a == *b || (*a && *b && strcmp(*a, *b) == 0);
    *a = *b = NULL;
    return same;
}

static bool same_table(lago_table_t *a, lago_table_t *b) {
    bool same = a->size == b->size && (a->size == 0 || memcmp(a->raw, b->raw, a->size) == 0);
    *a = *b = (lago_table_t){ 0 };
    return same;
}

/* What is compared by what it points to is taken out; a pointer that is left, to anything else, differs. */
bool parameters_same(const struct parameters *a, const struct parameters *b) {
    lago_parameters_t x = a->values, y = b->values;
    const char **strings[][2] = {
        { &x.host, &y.host },
        { &x.virtual_host, &y.virtual_host },
        { &x.credentials.username, &y.credentials.username },
        { &x.credentials.password, &y.credentials.password },
        { &x.credentials.mechanisms, &y.credentials.mechanisms },
        { &x.locale, &y.locale },
        { &x.connection_name, &y.connection_name },
        { &x.proxy.host, &y.proxy.host },
        { &x.proxy.username, &y.proxy.username },
        { &x.proxy.password, &y.proxy.password },
        { &x.local_address, &y.local_address },
    };
    bool same = same_table(&x.client_properties, &y.client_properties);
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        if (!same_string(strings[i][0], strings[i][1])) same = false;
    return same && memcmp(&x, &y, sizeof x) == 0;
}
