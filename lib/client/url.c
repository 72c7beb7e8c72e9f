/*
 * Splitting a URL: scheme, user and password, host, port, virtual host (RFC 3986, strict; the AMQP URI scheme for the rest).
 *
 * Must not know what the query's keys mean, nor any default but the three that every URL fills in.
 */
#include "url.h"
#include "alloc.h"
#include <string.h>

#define SCHEME     "amqp://"
#define SCHEME_TLS "amqps://"

#define PORT_MAX 65535u

static const char encode_hint[] = "in user, password and virtual host write '/' as %2F, '@' as %40, '#' as %23, '?' as %3F, "
                                  "':' as %3A, '%' as %25";

/* A part of the URL, not decoded. */
struct span {
    const char *data;
    size_t size;
};

struct url_parts {
    struct span user, password, host, port, path;
    bool has_user, has_password, has_port, in_brackets;
    const char *query; /* NULL: none */
};

static int reject(lago_reason_t *reason, const char *part, const char *problem, const char *hint) {
    return parameters_reject(reason, LAGO_EURL, part, problem, hint);
}

const char *number_read(const char *data, size_t size, uint32_t min, uint32_t max, uint32_t *out) {
    uint64_t value = 0;
    if (size == 0) return "empty";
    for (size_t i = 0; i < size; i++) {
        if (data[i] < '0' || data[i] > '9') return "not a whole number";
        value = value * 10 + (uint64_t)(data[i] - '0');
        if (value > max) value = (uint64_t)max + 1; /* stays too large, whatever follows */
    }
    if (value < min || value > max) return "out of range";
    *out = (uint32_t)value;
    return NULL;
}

/* ---------------------------------------------------------------- decoding */

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The byte that a sequence at '%' stands for, or -1. A NUL would cut the string short wherever it goes. */
static int decode_sequence(const char *data, size_t size) {
    if (size < 3) return -1;
    int high = hex_value(data[1]), low = hex_value(data[2]);
    int byte = high * 16 + low;
    return high < 0 || low < 0 || byte == 0 ? -1 : byte;
}

int url_decode(struct parameters *p, const char *data, size_t size, bool plus, char **out) {
    char *decoded = parameters_room(p, size);
    if (!decoded) return LAGO_ENOMEM;
    *out = decoded;
    for (size_t i = 0; i < size; i++) {
        int byte = (unsigned char)data[i];
        if (byte == '%') {
            byte = decode_sequence(data + i, size - i);
            if (byte < 0) return LAGO_EURL;
            i += 2;
        } else if (byte == '+' && plus) {
            byte = ' ';
        }
        *decoded++ = (char)byte;
    }
    return 0;
}

static int decode_part(struct parameters *p, struct span part, const char *name, const char **out, lago_reason_t *reason) {
    char *decoded = NULL;
    int rc = url_decode(p, part.data, part.size, false, &decoded);
    if (rc == LAGO_ENOMEM) return parameters_reject(reason, rc, NULL, NULL, NULL);
    if (rc < 0) return reject(reason, name, "a '%' that is not followed by two hexadecimal digits, or %00", encode_hint);
    *out = decoded;
    return 0;
}

/* ---------------------------------------------------------------- splitting */

static bool starts_with(const char *url, const char *scheme) {
    for (; *scheme; url++, scheme++)
        if ((*url | (*scheme >= 'a' ? 0x20 : 0)) != *scheme) return false;
    return true;
}

static int skip_scheme(const char **url, lago_reason_t *reason) {
    if (starts_with(*url, SCHEME_TLS))
        return parameters_reject(reason, LAGO_ENOTLS, "scheme", "amqps needs TLS, which this build does not have",
                                 "use amqp:// (port 5672), or a build with TLS");
    if (!starts_with(*url, SCHEME))
        return reject(reason, "scheme", "not amqp:// or amqps://", "amqp://user:password@host:port/virtual_host?key=value");
    *url += strlen(SCHEME);
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
        if (c == '#') return reject(reason, "URL", "contains a fragment ('#')", encode_hint);
    }
    return 0;
}

static void split_user(struct url_parts *parts, const char *authority, size_t size) {
    const char *colon = memchr(authority, ':', size);
    parts->has_user = true;
    parts->has_password = colon != NULL;
    parts->user = (struct span){ authority, colon ? (size_t)(colon - authority) : size };
    if (colon) parts->password = (struct span){ colon + 1, size - parts->user.size - 1 };
}

static int split_host(struct url_parts *parts, const char *data, size_t size, lago_reason_t *reason) {
    const char *end = data + size, *host_end = memchr(data, ':', size);
    parts->in_brackets = size > 0 && *data == '[';
    if (parts->in_brackets) {
        const char *bracket = memchr(data, ']', size);
        if (!bracket) return reject(reason, "host", "'[' without ']'", "an IPv6 address looks like [::1]");
        parts->host = (struct span){ data + 1, (size_t)(bracket - data) - 1 };
        host_end = bracket + 1;
        if (host_end != end && *host_end != ':') return reject(reason, "host", "something follows ']'", encode_hint);
    } else {
        if (!host_end) host_end = end;
        parts->host = (struct span){ data, (size_t)(host_end - data) };
    }
    if (host_end == end) return 0;
    parts->has_port = true;
    parts->port = (struct span){ host_end + 1, (size_t)(end - host_end) - 1 };
    if (memchr(parts->port.data, ':', parts->port.size))
        return reject(reason, "host", "more than one ':'", "an IPv6 address stands in brackets, [::1]; ':' in a password is %3A");
    return 0;
}

/* `url` is what follows the scheme. */
static int split(struct url_parts *parts, const char *url, lago_reason_t *reason) {
    size_t size = strcspn(url, "/?"), at = size;
    const char *rest = url + size;
    while (at > 0 && url[at - 1] != '@') at--; /* the last one: a password may hold others */
    if (at > 0) split_user(parts, url, at - 1);
    if (*rest == '/') parts->path = (struct span){ rest + 1, strcspn(rest + 1, "?") };
    rest += strcspn(rest, "?");
    if (*rest == '?') parts->query = rest + 1;
    if (!parts->has_user && parts->path.size && memchr(parts->path.data, '@', parts->path.size))
        return reject(reason, "virtual host", "contains '@' in a URL without a user", encode_hint);
    return split_host(parts, url + at, size - at, reason);
}

/* ---------------------------------------------------------------- taking over */

static int take_credentials(struct parameters *p, const struct url_parts *parts, lago_reason_t *reason) {
    if (!parts->has_user) return 0;
    lago_credentials_t *credentials = &p->values.credentials;
    int rc = decode_part(p, parts->user, "user", &credentials->username, reason);
    if (rc < 0) return rc;
    const char *problem = parameters_user_problem(credentials->username);
    if (problem) return reject(reason, "user", problem, "leave out everything up to the '@' to log in as guest");
    credentials->password = "";
    return parts->has_password ? decode_part(p, parts->password, "password", &credentials->password, reason) : 0;
}

static int take_host(struct parameters *p, const struct url_parts *parts, lago_reason_t *reason) {
    p->values.host = "localhost";
    if (parts->host.size == 0 && !parts->in_brackets) return 0;
    int rc = decode_part(p, parts->host, "host", &p->values.host, reason);
    if (rc < 0) return rc;
    const char *problem = parameters_host_problem(p->values.host);
    if (!problem && parts->in_brackets && !strchr(p->values.host, ':')) problem = "no IPv6 address in the brackets";
    if (!problem && !parts->in_brackets && strchr(p->values.host, ':')) problem = "an IPv6 address without brackets";
    return problem ? reject(reason, "host", problem, encode_hint) : 0;
}

static int take_port(struct parameters *p, const struct url_parts *parts, lago_reason_t *reason) {
    uint32_t port = 5672;
    const char *problem = parts->has_port ? number_read(parts->port.data, parts->port.size, 1, PORT_MAX, &port) : NULL;
    if (problem) return reject(reason, "port", problem, "1 to 65535; '/', '?' and ':' in a password are %2F, %3F and %3A");
    p->values.port = (uint16_t)port;
    return 0;
}

static int take_virtual_host(struct parameters *p, const struct url_parts *parts, lago_reason_t *reason) {
    p->values.virtual_host = "/";
    if (parts->path.size == 0) return 0;
    int rc = decode_part(p, parts->path, "virtual host", &p->values.virtual_host, reason);
    if (rc < 0) return rc;
    const char *problem = parameters_name_problem(p->values.virtual_host);
    return problem ? reject(reason, "virtual host", problem, NULL) : 0;
}

static int parse_into(struct parameters *p, const char *url, lago_reason_t *reason) {
    struct url_parts parts = { .query = NULL };
    int rc = skip_scheme(&url, reason);
    if (rc == 0) rc = check_characters(url, reason);
    if (rc == 0) rc = split(&parts, url, reason);
    /* host and port before the rest: a password that was not encoded fails there, and nothing of it is looked up */
    if (rc == 0) rc = take_port(p, &parts, reason);
    if (rc == 0) rc = take_host(p, &parts, reason);
    if (rc == 0) rc = take_credentials(p, &parts, reason);
    if (rc == 0) rc = take_virtual_host(p, &parts, reason);
    if (rc == 0 && parts.query) rc = query_parse(p, parts.query, strchr(url + strcspn(url, "/?"), '@') != NULL, reason);
    return rc;
}

int url_parse(const lago_allocator_t *alloc, const char *url, struct parameters **out, lago_reason_t *reason) {
    *out = NULL;
    struct parameters *p = parameters_new(alloc);
    if (!p) return parameters_reject(reason, LAGO_ENOMEM, NULL, NULL, NULL);
    int rc = parse_into(p, url, reason);
    if (rc < 0) {
        parameters_free(p);
        return rc;
    }
    *out = p;
    return 0;
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
