/*
 * What stands between a URL's slashes: user, password, hosts and ports (RFC 3986, 3.2, strict). Brokers and proxies share it.
 *
 * Must not know schemes, defaults or queries.
 */
#include "text.h"
#include "url.h"
#include <string.h>

const char url_encode_hint[] = "in user, password and virtual host write '/' as %2F, '@' as %40, '#' as %23, '?' as %3F, "
                               "':' as %3A, '%' as %25";

static int reject(lago_reason_t *reason, const char *part, const char *problem, const char *hint) {
    return parameters_reject(reason, LAGO_EURL, part, problem, hint);
}

const char *number_read(const char *data, size_t size, uint64_t min, uint64_t max, uint64_t *out) {
    uint64_t value = 0;
    bool large = false;
    if (size == 0) return "empty";
    for (size_t i = 0; i < size; i++) {
        if (data[i] < '0' || data[i] > '9') return "not a whole number";
        uint64_t digit = (uint64_t)(data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) large = true;
        if (!large) value = value * 10 + digit;
    }
    if (large || value < min || value > max) return "out of range";
    *out = value;
    return NULL;
}

bool url_skip_scheme(const char **url, const char *scheme) {
    const char *at = *url;
    for (; *scheme; at++, scheme++)
        if ((*at | (*scheme >= 'a' ? 0x20 : 0)) != *scheme) return false;
    *url = at;
    return true;
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

int authority_decode(struct parameters *p, struct span part, const char *name, const char **out, lago_reason_t *reason) {
    char *decoded = NULL;
    int rc = url_decode(p, part.data, part.size, false, &decoded);
    if (rc == LAGO_ENOMEM) return parameters_reject(reason, rc, NULL, NULL, NULL);
    if (rc < 0) return reject(reason, name, "a '%' that is not followed by two hexadecimal digits, or %00", url_encode_hint);
    *out = decoded;
    return 0;
}

/* ---------------------------------------------------------------- user and password */

struct authority authority_split(struct span text) {
    struct authority parts = { .has_user = false };
    size_t at = text.size;
    while (at > 0 && text.data[at - 1] != '@') at--; /* the last one: a password may hold others */
    parts.hosts = (struct span){ text.data + at, text.size - at };
    if (at == 0) return parts;
    const char *colon = memchr(text.data, ':', at - 1);
    parts.has_user = true;
    parts.has_password = colon != NULL;
    parts.user = (struct span){ text.data, colon ? (size_t)(colon - text.data) : at - 1 };
    if (colon) parts.password = (struct span){ colon + 1, at - 1 - parts.user.size - 1 };
    return parts;
}

/* u:p@h1,u:p@h2 is written like that elsewhere; here "p@h1,u:p" would be the password that h2 gets. */
static bool hides_a_host(const struct authority *from) {
    const char *end = from->hosts.data - 1, *at = memchr(from->user.data, '@', (size_t)(end - from->user.data));
    return at && memchr(at, ',', (size_t)(end - at));
}

int authority_login(struct parameters *p, const struct authority *from, const char **username, const char **password,
                    lago_reason_t *reason) {
    if (!from->has_user) return 0;
    if (hides_a_host(from))
        return reject(reason, "user and password", "'@' and then ',' stand in them",
                      "they are given once, before the first host; a '@' that belongs to them is %40");
    int rc = authority_decode(p, from->user, "user", username, reason);
    if (rc < 0) return rc;
    const char *problem = parameters_user_problem(*username);
    if (problem) return reject(reason, "user", problem, "leave out everything up to the '@' to give none");
    *password = "";
    return from->has_password ? authority_decode(p, from->password, "password", password, reason) : 0;
}

/* ---------------------------------------------------------------- host and port */

struct place {
    struct span host, port;
    bool has_port, in_brackets;
};

static int split_place(struct span text, const char *name, struct place *out, lago_reason_t *reason) {
    const char *data = text.data, *end = data + text.size, *host_end = memchr(data, ':', text.size);
    *out = (struct place){ .in_brackets = text.size > 0 && *data == '[' };
    if (out->in_brackets) {
        const char *bracket = memchr(data, ']', text.size);
        if (!bracket) return reject(reason, name, "'[' without ']'", "an IPv6 address looks like [::1]");
        out->host = (struct span){ data + 1, (size_t)(bracket - data) - 1 };
        host_end = bracket + 1;
        if (host_end != end && *host_end != ':') return reject(reason, name, "something follows ']'", url_encode_hint);
    } else {
        if (!host_end) host_end = end;
        out->host = (struct span){ data, (size_t)(host_end - data) };
    }
    if (host_end == end) return 0;
    out->has_port = true;
    out->port = (struct span){ host_end + 1, (size_t)(end - host_end) - 1 };
    if (memchr(out->port.data, ':', out->port.size))
        return reject(reason, name, "more than one ':'", "an IPv6 address stands in brackets, [::1]; ':' in a password is %3A");
    return 0;
}

/* "port", or "second host's port". */
static int reject_port(lago_reason_t *reason, const char *name, const char *problem, const char *hint) {
    char part[40];
    struct text t;
    text_init(&t, part, sizeof part);
    if (strcmp(name, "host") != 0) text_addf(&t, "%s's ", name);
    text_add(&t, "port");
    return reject(reason, part, problem, hint);
}

static int take_port(const struct place *from, const char *name, uint16_t *out, lago_reason_t *reason) {
    uint64_t port = 0;
    const char *problem = from->has_port ? number_read(from->port.data, from->port.size, 1, UINT16_MAX, &port) : NULL;
    *out = (uint16_t)port;
    return problem ? reject_port(reason, name, problem, "1 to 65535; '/', '?' and ':' in a password are %2F, %3F and %3A") : 0;
}

static const char *host_problem(const char *host, bool in_brackets) {
    const char *problem = parameters_place_problem(host);
    if (problem) return problem;
    bool is_ipv6 = !parameters_is_path(host) && strchr(host, ':');
    if (in_brackets && !is_ipv6) return "no IPv6 address in the brackets";
    return !in_brackets && is_ipv6 ? "an IPv6 address without brackets" : NULL;
}

int authority_host(struct parameters *p, struct span text, const char *name, lago_endpoint_t *out, lago_reason_t *reason) {
    struct place from;
    *out = (lago_endpoint_t){ NULL, 0 };
    int rc = split_place(text, name, &from, reason);
    /* the port first: a password that was not encoded fails there, and nothing of it is looked up */
    if (rc == 0) rc = take_port(&from, name, &out->port, reason);
    if (rc < 0 || (from.host.size == 0 && !from.in_brackets)) return rc;
    rc = authority_decode(p, from.host, name, &out->host, reason);
    if (rc < 0) return rc;
    const char *problem = host_problem(out->host, from.in_brackets);
    if (problem) return reject(reason, name, problem, url_encode_hint);
    if (parameters_is_path(out->host) && from.has_port)
        return reject_port(reason, name, "given, but a path has none", "%2Frun%2Fbroker.sock, without a port");
    return 0;
}
