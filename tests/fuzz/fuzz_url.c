/*
 * What people write: URLs, their query keys, dictionaries as Python or JSON writes them, variables of the environment. Whatever it is,
 * there is a result that can be used and copied, or a reason that names no secret; and nothing is left in memory.
 *
 * Input: an octet that chooses the way in, then the text. In variables lines are separated by '\n', "HOST=h". In a URL with a secret
 * the password is the first line, the rest of the URL the second one.
 */
#include "arena.h"
#include "fuzz.h"
#include "literal.h"
#include "parameters.h"
#include "url.h"
#include "url_query.h"
#include <stdio.h>
#include <string.h>

enum {
    GOOD,
    HOSTS,
    IPV6,
    UNIX_PATH,
    TLS,
    PROXY,
    TABLE,
    TCP_OPTIONS,
    CONFLICT,
    REFUSED,
    SECRET_REFUSED,
    VARIABLES,
    LITERAL_NESTED,
    NO_MEMORY,
    COPIED,
    BAD_NUMBER
};
const char *const fuzz_milestones[] = { "a good URL",
                                        "a URL with three hosts",
                                        "an IPv6 address",
                                        "a Unix domain socket",
                                        "amqps with keys for TLS",
                                        "a proxy",
                                        "client_properties",
                                        "tcp_options",
                                        "keys that contradict each other",
                                        "a bad URL",
                                        "a bad URL with a secret in it",
                                        "good variables",
                                        "a dictionary in a dictionary",
                                        "no memory",
                                        "parameters copied for a connection",
                                        "a value out of range",
                                        NULL };

enum way { WAY_URL, WAY_LITERAL, WAY_VARIABLES, WAY_KEY, WAY_SECRET, WAY_COUNT };

#define TEXT_MAX  2048u
#define MARK      "hUnTeR2" /* no key, no word of lago's has these letters */
#define LINES_MAX 40u

static struct arena arena;
static char text[TEXT_MAX + 2 * sizeof(MARK) + 32];

static void check_reason(int rc, const lago_reason_t *reason, bool secret) {
    char words[1024];
    if (rc == LAGO_ENOMEM) {
        REACH(NO_MEMORY);
        return;
    }
    REQUIRE(rc == LAGO_EURL || rc == LAGO_EPARAMETER || rc == LAGO_ETOOLONG || rc == LAGO_ETABLE || rc == LAGO_EINVAL);
    REQUIRE(reason->code == rc && memchr(reason->detail, 0, sizeof(reason->detail)) &&
            memchr(reason->hint, 0, sizeof(reason->hint)));
    (void)lago_reason_format(reason, words, sizeof(words));
    for (const char *c = words; *c; c++) REQUIRE(*c >= ' ' && *c <= '~');
    REQUIRE(!secret || !strstr(words, MARK));
    REACH_IF(strstr(words, "1 to "), BAD_NUMBER);
}

static void note(const lago_parameters_t *v) {
    REACH(GOOD);
    REACH_IF(v->endpoint_count == 2, HOSTS);
    REACH_IF(strchr(v->host, ':'), IPV6);
    REACH_IF(v->host[0] == '/', UNIX_PATH);
    REACH_IF(v->tls && v->tls->certificate_file, TLS);
    REACH_IF(v->proxy.type != LAGO_PROXY_NONE, PROXY);
    REACH_IF(v->client_properties.size, TABLE);
    REACH_IF(v->tcp_options.keepidle_s, TCP_OPTIONS);
}

static void check_good(const struct parameters *p, bool finished) {
    const lago_parameters_t *v = &p->values;
    struct parameters *copy = NULL;
    lago_reason_t reason;
    if (!finished) return;
    REQUIRE(v->host && *v->host && v->virtual_host);
    REQUIRE(v->port != 0 || v->host[0] == '/');
    REQUIRE(v->endpoint_count <= PARAMETERS_ENDPOINTS_MAX);
    for (size_t i = 0; i < v->endpoint_count; i++)
        REQUIRE(v->endpoints[i].host && (v->endpoints[i].port || v->endpoints[i].host[0] == '/'));
    note(v);
    int rc = parameters_copy(&arena.allocator, v, &copy, &reason);
    REQUIRE((rc == 0) == (copy != NULL));
    if (rc < 0) {
        check_reason(rc, &reason, false);
        return;
    }
    REQUIRE(copy->values.host && copy->values.credentials.username && copy->values.stack_timeout_ms > 0);
    REACH(COPIED);
    parameters_free(copy);
}

static void try_url(const char *url, bool secret) {
    struct parameters *p = NULL;
    lago_reason_t reason;
    int rc = url_parse(&arena.allocator, url, &p, &reason);
    REQUIRE((rc == 0) == (p != NULL));
    if (rc < 0) {
        REQUIRE(rc == LAGO_EURL || rc == LAGO_ENOMEM);
        check_reason(rc, &reason, secret);
        REACH(REFUSED);
        REACH_IF(secret, SECRET_REFUSED);
        return;
    }
    check_good(p, true);
    parameters_free(p);
}

static void try_secret(size_t size) {
    static char url[2 * sizeof(text)];
    char *rest = memchr(text, '\n', size);
    if (rest) *rest++ = '\0';
    if (rest && strstr(rest, MARK)) return; /* where it is no secret */
    (void)snprintf(url, sizeof(url), "amqp://user:" MARK "%s" MARK "@%s", text, rest ? rest : "");
    try_url(url, true);
}

static void walk(const lago_table_t *table, unsigned depth);

static void walk_value(const lago_value_t *value, unsigned depth) {
    REQUIRE(depth <= LITERAL_DEPTH_MAX);
    if (value->type == LAGO_TYPE_TABLE) {
        REACH_IF(value->as.table.size, LITERAL_NESTED);
        walk(&value->as.table, depth + 1);
    }
    if (value->type == LAGO_TYPE_ARRAY)
        for (size_t i = 0; i < value->as.array.size; i++) walk_value(&value->as.array.values[i], depth + 1);
}

static void walk(const lago_table_t *table, unsigned depth) {
    for (size_t i = 0; i < table->size; i++) {
        REQUIRE(table->fields[i].name.data || table->fields[i].name.size == 0);
        walk_value(&table->fields[i].value, depth);
    }
}

static void try_literal(size_t size) {
    struct literal literal;
    int rc = literal_parse(&literal, &arena.allocator, text, size);
    REQUIRE(rc == 0 || rc == LAGO_ENOMEM || (rc == LAGO_ETABLE && literal.problem && literal.at <= size));
    if (rc == 0) {
        walk(&literal.table, 1);
        REQUIRE(lago_table_check(&literal.table) >= 0);
    }
    literal_free(&literal);
}

static char *lines[LINES_MAX];
static size_t line_count;

/* RABBITMQ_<line>, and AMQP_URL. */
static const char *look_up(const char *name, void *data) {
    (void)data;
    if (strncmp(name, "RABBITMQ_", 9) == 0) name += 9;
    size_t size = strlen(name);
    for (size_t i = 0; i < line_count; i++)
        if (lines[i][0] == name[0] && strncmp(lines[i], name, size) == 0 && lines[i][size] == '=') return lines[i] + size + 1;
    return NULL;
}

static void try_variables(void) {
    struct parameters *p = NULL;
    lago_reason_t reason;
    line_count = 0;
    for (char *at = text; at && line_count < LINES_MAX;) {
        lines[line_count++] = at;
        at = strchr(at, '\n');
        if (at) *at++ = '\0';
    }
    int rc = parameters_from_variables(&arena.allocator, look_up, NULL, &p, &reason);
    REQUIRE((rc == 0) == (p != NULL));
    if (rc < 0) {
        REQUIRE(rc == LAGO_EPARAMETER || rc == LAGO_ENOMEM);
        check_reason(rc, &reason, false);
        return;
    }
    REACH_IF(line_count > 1, VARIABLES);
    check_good(p, true);
    parameters_free(p);
}

/* Two keys, one behind the other: the second value is behind the first line. */
static void try_keys(size_t size) {
    lago_reason_t reason;
    struct parameters *p = parameters_new(&arena.allocator);
    uint64_t seen = 0;
    if (!p || !parameters_new_tls(p)) { /* as url.c: keys may come before what turns TLS on */
        parameters_free(p);
        return;
    }
    p->values.host = "h";
    p->values.virtual_host = "/";
    p->values.port = 1;
    for (char *at = text, *end; at && size > 1; at = end) {
        end = strchr(at, '\n');
        if (end) *end++ = '\0';
        size_t index = (uint8_t)*at % QUERY_KEY_COUNT;
        if (*at == '\0' || at[1] == '\0') break; /* a value is never empty */
        if (seen & QUERY_BIT(index)) continue;
        seen |= QUERY_BIT(index);
        int rc = query_key_set(p, index, query_key_name(index), at + 1, LAGO_EURL, &reason);
        if (rc == 0) continue;
        check_reason(rc, &reason, false);
        parameters_free(p);
        return;
    }
    struct query_conflict conflict;
    if (query_conflicts(seen, p, &conflict))
        REACH(CONFLICT);
    else
        check_good(p, p->values.endpoint_count == 0);
    parameters_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.room) arena_init(&arena);
    if (size == 0 || size > TEXT_MAX) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] >= 0xe0) arena.fail_at = (data[0] & 0x1fu) + 1;
    switch (data[0] % WAY_COUNT) {
    case WAY_URL: try_url(text, false); break;
    case WAY_LITERAL: try_literal(size - 1); break;
    case WAY_VARIABLES: try_variables(); break;
    case WAY_KEY: try_keys(size - 1); break;
    default: try_secret(size - 1); break;
    }
    arena_reset(&arena);
    return 0;
}
