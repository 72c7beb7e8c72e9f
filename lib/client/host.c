/*
 * What may stand where a host is given: names, addresses, paths of Unix domain sockets. Whatever is wrong with one is found here,
 * before anybody looks it up.
 *
 * Must not know where the text comes from. Words never hold the text, which may be a piece of a password.
 */
#include "parameters.h"
#include <string.h>

#define HOST_SIZE_MAX  253u /* DNS: 255 octets on the wire, less the first length and the root (RFC 1035, 3.1) */
#define LABEL_SIZE_MAX 63u  /* RFC 1035, 2.3.4 */

/*
 * What is not ASCII grows when it is looked up, a letter of two bytes and its dot to eight. A libuv that is not mended cuts what gets
 * longer than 255, and looks up another host (CVE-2024-24806).
 */
#define PUNYCODE_GROWTH 3u
#define PATH_SIZE_MAX   107u /* sun_path holds 108, the NUL among them (unix(7)) */

#define IPV6_GROUPS 8u /* RFC 4291, 2.2 */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* ---------------------------------------------------------------- addresses */

/* Four decimal numbers up to 255, without leading zeros, up to `end`, which stands for the NUL or a zone's '%'. */
static bool is_ipv4(const char *at, const char *end) {
    for (int i = 0; i < 4; i++) {
        unsigned value = 0;
        size_t digits = 0;
        for (; digits < 4 && is_digit(at[digits]); digits++) value = value * 10 + (unsigned)(at[digits] - '0');
        if (digits == 0 || value > 255 || (digits > 1 && at[0] == '0')) return false;
        at += digits;
        if (i < 3 && *at++ != '.') return false;
    }
    return at == end;
}

/* RFC 4291, 2.2: groups of hexadecimal digits; "::", once, for one or more of zeros; the last two also as an IPv4 address. */
static bool is_ipv6(const char *at, const char *end) {
    unsigned groups = 0;
    bool gap = at[0] == ':' && at[1] == ':';
    if (gap) at += 2;
    while (at < end) {
        size_t digits = 0;
        if (is_ipv4(at, end)) {
            groups += 2;
            break;
        }
        while (is_hex(at[digits])) digits++;
        if (digits == 0 || digits > 4) return false;
        groups++;
        at += digits;
        if (at == end) break;
        if (*at++ != ':' || at == end) return false;
        if (*at != ':') continue;
        if (gap) return false;
        gap = true;
        at++;
    }
    return gap ? groups < IPV6_GROUPS : groups == IPV6_GROUPS;
}

static const char *ipv6_problem(const char *host) {
    const char *zone = host + strcspn(host, "%"); /* fe80::1%eth0 */
    if (!is_ipv6(host, zone)) return "neither a name nor an IPv6 address (a port has its own place)";
    if (*zone == '\0') return NULL;
    if (*++zone == '\0') return "an IPv6 address with an empty zone";
    while (is_digit(*zone) || is_alpha(*zone) || (*zone && strchr("._-~", *zone))) zone++;
    return *zone ? "a character in an IPv6 address's zone that no interface has" : NULL;
}

const char *parameters_address_problem(const char *address) {
    if (is_ipv4(address, address + strlen(address))) return NULL;
    if (!strchr(address, ':')) return "not an IPv4 or IPv6 address";
    return ipv6_problem(address) ? "not an IPv6 address" : NULL;
}

/* ---------------------------------------------------------------- names */

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
        if (strchr("/\\@?#[]%\"'<>,", c)) return "contains a character that no host name has";
    }
    return NULL;
}

static bool is_ascii(const char *text) {
    while (*text && (unsigned char)*text < 0x80) text++;
    return *text == '\0';
}

const char *parameters_host_problem(const char *host) {
    size_t size = strlen(host);
    if (size > HOST_SIZE_MAX) return "longer than 253 bytes";
    if (!is_ascii(host) && size * PUNYCODE_GROWTH > HOST_SIZE_MAX)
        return "longer than 84 bytes, and not all of them ASCII (xn-- names may be longer)";
    if (strchr(host, ':')) return ipv6_problem(host);
    const char *label = host, *problem = NULL;
    for (;;) {
        size_t label_size = strcspn(label, ".");
        problem = label_problem(label, label_size);
        if (problem) return problem;
        bool last = label[label_size] == '\0' || label[label_size + 1] == '\0'; /* "example.com." ends in the root */
        if (last && looks_numeric(label, label_size) && !is_ipv4(host, host + size))
            return "a number that is no IPv4 address (a.b.c.d)";
        if (last) return NULL;
        label += label_size + 1;
    }
}

/* ---------------------------------------------------------------- paths */

bool parameters_is_path(const char *host) { return *host == '/'; }

static const char *path_problem(const char *path) {
    size_t size = strlen(path);
    if (size > PATH_SIZE_MAX) return "a path longer than 107 bytes, which no Unix domain socket has";
    if (path[size - 1] == '/') return "the path of a directory";
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)path[i] < ' ' || path[i] == 0x7f) return "contains a control character";
    return NULL;
}

const char *parameters_place_problem(const char *host) {
    return parameters_is_path(host) ? path_problem(host) : parameters_host_problem(host);
}
