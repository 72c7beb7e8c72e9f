/*
 * A URL as a whole: scheme, authority, virtual host, query (RFC 3986, strict; the AMQP URI scheme for the rest).
 *
 * Must not know what the query's keys mean, nor any default but those that every URL fills in.
 */
#include "url.h"
#include "alloc.h"
#include "text.h"
#include "url_query.h"
#include <string.h>

#define SCHEME     "amqp://"
#define SCHEME_TLS "amqps://"

struct url_parts {
    struct authority authority;
    struct span path;
    const char *query; /* NULL: none */
};

static int reject(lago_reason_t *reason, const char *part, const char *problem, const char *hint) {
    return parameters_reject(reason, LAGO_EURL, part, problem, hint);
}

/* ---------------------------------------------------------------- splitting */

static int take_scheme(struct parameters *p, const char **url, lago_reason_t *reason) {
    if (url_skip_scheme(url, SCHEME_TLS))
        p->values.tls = p->tls;
    else if (!url_skip_scheme(url, SCHEME))
        return reject(reason, "scheme", "not amqp:// or amqps://", "amqp://user:password@host:port/virtual_host?key=value");
    return 0;
}

/* Spaces are tolerated in the query only, where dictionaries are written with them. */
static int check_characters(const char *url, lago_reason_t *reason) {
    size_t before_query = strcspn(url, "?");
    for (size_t i = 0; url[i]; i++) {
        unsigned char c = (unsigned char)url[i];
        if (c < ' ' || c == 0x7f)
            return reject(reason, "URL", "contains a control character", "is there a line feed at its end?");
        if (c == ' ' && i < before_query) return reject(reason, "URL", "contains a space", "write a space as %20");
        if (c == '#') return reject(reason, "URL", "contains a fragment ('#')", url_encode_hint);
    }
    return 0;
}

/* `url` is what follows the scheme. */
static int split(struct url_parts *parts, const char *url, lago_reason_t *reason) {
    struct span authority = { url, strcspn(url, "/?") };
    const char *rest = url + authority.size;
    parts->authority = authority_split(authority);
    if (*rest == '/') parts->path = (struct span){ rest + 1, strcspn(rest + 1, "?") };
    rest += strcspn(rest, "?");
    if (*rest == '?') parts->query = rest + 1;
    if (!parts->authority.has_user && parts->path.size && memchr(parts->path.data, '@', parts->path.size))
        return reject(reason, "virtual host", "contains '@' in a URL without a user", url_encode_hint);
    return 0;
}

/* ---------------------------------------------------------------- hosts */

/* Which of several. */
static void name_host(char *out, size_t size, size_t index) {
    static const char *const ordinals[] = { "first", "second",  "third",  "fourth", "fifth",
                                            "sixth", "seventh", "eighth", "ninth",  "tenth" };
    struct text t;
    text_init(&t, out, size);
    if (index < sizeof ordinals / sizeof ordinals[0])
        text_addf(&t, "%s host", ordinals[index]);
    else
        text_addf(&t, "host %zu", index + 1);
}

static int take_one_host(struct parameters *p, struct span text, lago_reason_t *reason) {
    lago_endpoint_t host;
    int rc = authority_host(p, text, "host", &host, reason);
    if (rc < 0) return rc;
    p->values.host = host.host ? host.host : "localhost";
    p->values.port = host.port;
    return 0;
}

static int take_host_of_many(struct parameters *p, struct span text, size_t index, lago_reason_t *reason) {
    char name[24];
    lago_endpoint_t host;
    name_host(name, sizeof name, index);
    int rc = authority_host(p, text, name, &host, reason);
    if (rc < 0) return rc;
    if (!host.host) return reject(reason, name, "empty", "amqp://h1,h2:5673,[::1]/virtual_host");
    if (index) {
        p->endpoints[index - 1] = host;
    } else {
        p->values.host = host.host;
        p->values.port = host.port;
    }
    return 0;
}

static size_t count_byte(struct span text, char byte) {
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) count += text.data[i] == byte;
    return count;
}

static int take_hosts(struct parameters *p, struct span text, lago_reason_t *reason) {
    size_t more = count_byte(text, ',');
    if (more == 0) return take_one_host(p, text, reason);
    if (more > PARAMETERS_ENDPOINTS_MAX) return reject(reason, "hosts", "more than 65", NULL);
    if (parameters_new_endpoints(p, more) < 0) return parameters_reject(reason, LAGO_ENOMEM, NULL, NULL, NULL);
    const char *at = text.data, *end = text.data + text.size;
    for (size_t i = 0; i <= more; i++) {
        const char *comma = i < more ? memchr(at, ',', (size_t)(end - at)) : end;
        int rc = take_host_of_many(p, (struct span){ at, (size_t)(comma - at) }, i, reason);
        if (rc < 0) return rc;
        at = comma + 1;
    }
    return 0;
}

/* ---------------------------------------------------------------- taking over */

static int take_virtual_host(struct parameters *p, struct span path, lago_reason_t *reason) {
    p->values.virtual_host = "/";
    if (path.size == 0) return 0;
    int rc = authority_decode(p, path, "virtual host", &p->values.virtual_host, reason);
    if (rc < 0) return rc;
    const char *problem = parameters_name_problem(p->values.virtual_host);
    return problem ? reject(reason, "virtual host", problem, NULL) : 0;
}

static int parse_into(struct parameters *p, const char *url, lago_reason_t *reason) {
    struct url_parts parts = { .query = NULL };
    lago_credentials_t *who = &p->values.credentials;
    int rc = take_scheme(p, &url, reason);
    if (rc == 0) rc = check_characters(url, reason);
    if (rc == 0) rc = split(&parts, url, reason);
    /* hosts and ports before the rest: see authority_host */
    if (rc == 0) rc = take_hosts(p, parts.authority.hosts, reason);
    if (rc == 0) rc = authority_login(p, &parts.authority, &who->username, &who->password, reason);
    if (rc == 0) rc = take_virtual_host(p, parts.path, reason);
    if (rc == 0 && parts.query) rc = query_parse(p, parts.query, strchr(url + strcspn(url, "/?"), '@') != NULL, reason);
    return rc;
}

int url_read(const lago_allocator_t *alloc, const char *url, struct parameters **out, lago_reason_t *reason) {
    *out = NULL;
    struct parameters *p = parameters_new(alloc);
    if (!p) return parameters_reject(reason, LAGO_ENOMEM, NULL, NULL, NULL);
    bool good = parameters_new_tls(p) != NULL; /* its keys may come before what turns it on */
    int rc = good ? parse_into(p, url, reason) : parameters_reject(reason, LAGO_ENOMEM, NULL, NULL, NULL);
    if (rc < 0) {
        parameters_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void url_finish(struct parameters *p) {
    lago_parameters_t *v = &p->values;
    uint16_t port = parameters_default_port(v);
    if (v->port == 0 && !parameters_is_path(v->host)) v->port = port;
    for (size_t i = 0; i < v->endpoint_count; i++)
        if (p->endpoints[i].port == 0 && !parameters_is_path(p->endpoints[i].host)) p->endpoints[i].port = port;
    /* as in Python and Erlang: a file may hold both */
    if (p->tls->certificate_file && !p->tls->key_file) p->tls->key_file = p->tls->certificate_file;
}

int url_parse(const lago_allocator_t *alloc, const char *url, struct parameters **out, lago_reason_t *reason) {
    int rc = url_read(alloc, url, out, reason);
    if (rc == 0) url_finish(*out);
    return rc;
}

int lago_parameters_parse(const char *url, lago_parameters_t **parameters, lago_reason_t *reason) {
    if (parameters) *parameters = NULL;
    if (!url) return parameters_reject(reason, LAGO_EINVAL, "url", "NULL", NULL);
    if (!parameters) return parameters_reject(reason, LAGO_EINVAL, "parameters", "NULL", NULL);
    struct parameters *p = NULL;
    int rc = url_parse(&mem_default, url, &p, reason);
    if (rc == 0) *parameters = &p->values;
    return rc;
}
