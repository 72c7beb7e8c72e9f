/* A proxy's conversation, answer by answer. Must not know links, TLS or AMQP; what the proxy says is escaped and bounded. */
#include "proxy.h"
#include "alloc.h"
#include "reason.h"
#include "text.h"
#include <string.h>

#define SOCKS_VERSION      5u
#define SOCKS_NO_LOGIN     0u
#define SOCKS_PASSWORD     2u
#define SOCKS_REFUSED      255u
#define SOCKS_LOGIN        1u /* the version of RFC 1929 */
#define SOCKS_CONNECT      1u
#define SOCKS_IPV4         1u
#define SOCKS_NAME         3u
#define SOCKS_IPV6         4u
#define SOCKS_REQUEST_SIZE (4u + 1u + 255u + 2u)

#define WORDS_SIZE 96u /* what is shown of a proxy's own words */

static int refuse(lago_reason_t *reason, const char *detail, const char *hint) {
    reason_init(reason, LAGO_EPROXY, LAGO_BY_NETWORK);
    reason->phase = LAGO_PHASE_PROXY;
    reason_detail(reason, "%s", detail);
    if (hint) reason_hint(reason, "%s", hint);
    return LAGO_EPROXY;
}

static int no_memory(lago_reason_t *reason) {
    reason_init(reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    reason->phase = LAGO_PHASE_PROXY;
    return LAGO_ENOMEM;
}

static int send_bytes(struct proxy *proxy, const void *data, size_t size) {
    uint8_t *room = chunks_reserve(&proxy->out, size);
    if (!room) return LAGO_ENOMEM;
    memcpy(room, data, size);
    chunks_commit(&proxy->out, size);
    return 0;
}

/* ---------------------------------------------------------------- SOCKS5 */

static int socks_greet(struct proxy *proxy) {
    static const uint8_t plain[] = { SOCKS_VERSION, 1, SOCKS_NO_LOGIN };
    static const uint8_t login[] = { SOCKS_VERSION, 2, SOCKS_NO_LOGIN, SOCKS_PASSWORD };
    proxy->step = PROXY_GREETED;
    return proxy->how->username ? send_bytes(proxy, login, sizeof(login)) : send_bytes(proxy, plain, sizeof(plain));
}

static int socks_log_in(struct proxy *proxy) {
    uint8_t message[3 + 2 * UINT8_MAX];
    size_t size = 0, user = strlen(proxy->how->username);
    const char *secret = proxy->how->password ? proxy->how->password : "";
    size_t secret_size = strlen(secret);
    message[size++] = SOCKS_LOGIN;
    message[size++] = (uint8_t)user;
    memcpy(message + size, proxy->how->username, user);
    size += user;
    message[size++] = (uint8_t)secret_size;
    memcpy(message + size, secret, secret_size);
    size += secret_size;
    int rc = send_bytes(proxy, message, size);
    mem_wipe(message, sizeof(message));
    proxy->step = PROXY_AUTHENTICATING;
    return rc;
}

/* "192.0.2.1": four octets. The parameters were checked, so anything else with digits and dots only cannot be here. */
static bool is_ipv4(const char *host, uint8_t octets[4]) {
    for (int i = 0; i < 4; i++) {
        unsigned value = 0, digits = 0;
        for (; *host >= '0' && *host <= '9' && digits < 4; host++, digits++) value = value * 10 + (unsigned)(*host - '0');
        if (digits == 0 || value > UINT8_MAX) return false;
        octets[i] = (uint8_t)value;
        if (*host++ != (i < 3 ? '.' : '\0')) return false;
    }
    return true;
}

/* The broker's address, or its name for the proxy to look up; an IPv6 address goes as its text, which proxies read as well. */
static int socks_ask(struct proxy *proxy) {
    uint8_t message[SOCKS_REQUEST_SIZE] = { SOCKS_VERSION, SOCKS_CONNECT, 0, SOCKS_IPV4 };
    size_t size = 4, name = strlen(proxy->host);
    if (is_ipv4(proxy->host, message + size)) {
        size += 4;
    } else {
        message[size - 1] = SOCKS_NAME;
        message[size++] = (uint8_t)name;
        memcpy(message + size, proxy->host, name);
        size += name;
    }
    message[size++] = (uint8_t)(proxy->port >> 8);
    message[size++] = (uint8_t)proxy->port;
    proxy->step = PROXY_ASKED;
    return send_bytes(proxy, message, size);
}

static int socks_refused(unsigned code, lago_reason_t *reason) {
    static const char *const words[] = { NULL,
                                         "general failure",
                                         "not allowed by its rules",
                                         "network unreachable",
                                         "host unreachable",
                                         "connection refused by the broker's host",
                                         "time to live expired",
                                         "it cannot connect",
                                         "it does not know this kind of address" };
    char detail[WORDS_SIZE];
    struct text t;
    text_init(&t, detail, sizeof(detail));
    text_add(&t, "the proxy could not connect to the broker: ");
    if (code < sizeof(words) / sizeof(words[0]))
        text_add(&t, words[code]);
    else
        text_addf(&t, "code %u", code);
    return refuse(reason, detail, NULL);
}

/* How long an answer is, as far as it can be told; 0: not yet. */
static size_t socks_answer_size(const struct proxy *proxy) {
    const uint8_t *answer = proxy->answer;
    if (proxy->step != PROXY_ASKED) return 2;
    if (proxy->answer_size >= 2 && answer[1] != 0) return 2; /* refused: the rest does not matter, and may not come */
    if (proxy->answer_size < 5) return 0;
    switch (answer[3]) {
    case SOCKS_IPV4: return 4 + 4 + 2;
    case SOCKS_IPV6: return 4 + 16 + 2;
    case SOCKS_NAME: return 4 + 1 + (size_t)answer[4] + 2;
    default: return 5;
    }
}

static int socks_chosen(struct proxy *proxy, lago_reason_t *reason) {
    switch (proxy->answer[1]) {
    case SOCKS_NO_LOGIN: return socks_ask(proxy) < 0 ? no_memory(reason) : 0;
    case SOCKS_PASSWORD:
        if (proxy->how->username) return socks_log_in(proxy) < 0 ? no_memory(reason) : 0;
        break;
    case SOCKS_REFUSED: break;
    default: return refuse(reason, "the proxy chose a way to log in that it was not offered", NULL);
    }
    return refuse(reason, "the proxy wants a login",
                  proxy->how->username ? "of a kind that lago does not have" : "give proxy.username and proxy.password");
}

static int socks_answered(struct proxy *proxy, lago_reason_t *reason) {
    const uint8_t *answer = proxy->answer;
    bool login = proxy->step == PROXY_AUTHENTICATING;
    if (answer[0] != (login ? SOCKS_LOGIN : SOCKS_VERSION))
        return refuse(reason, "the proxy does not speak SOCKS5", "is it an HTTP proxy, or the broker itself?");
    if (proxy->step == PROXY_GREETED) return socks_chosen(proxy, reason);
    if (login) {
        if (answer[1] != 0) return refuse(reason, "the proxy refused the login", "check proxy.username and proxy.password");
        return socks_ask(proxy) < 0 ? no_memory(reason) : 0;
    }
    if (answer[1] != 0) return socks_refused(answer[1], reason);
    if (answer[3] != SOCKS_IPV4 && answer[3] != SOCKS_NAME && answer[3] != SOCKS_IPV6)
        return refuse(reason, "the proxy's answer is malformed", NULL);
    proxy->step = PROXY_THROUGH;
    return 1;
}

/* ---------------------------------------------------------------- HTTP CONNECT */

/* Base64 (RFC 4648) of "user:password", into room for 4 characters per 3 octets. */
static size_t base64(const uint8_t *data, size_t size, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = 0;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t group = (uint32_t)data[i] << 16;
        if (i + 1 < size) group |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < size) group |= data[i + 2];
        out[length++] = digits[group >> 18];
        out[length++] = digits[group >> 12 & 63];
        out[length++] = i + 1 < size ? digits[group >> 6 & 63] : '=';
        out[length++] = i + 2 < size ? digits[group & 63] : '=';
    }
    return length;
}

static int http_add_login(struct proxy *proxy) {
    static const char header[] = "Proxy-Authorization: Basic ";
    char login[2 * UINT8_MAX + 2], line[sizeof(header) + (sizeof(login) + 2) / 3 * 4 + 2];
    struct text t;
    text_init(&t, login, sizeof(login));
    text_addf(&t, "%s:%s", proxy->how->username, proxy->how->password ? proxy->how->password : "");
    size_t size = sizeof(header) - 1;
    memcpy(line, header, size);
    size += base64((const uint8_t *)login, t.length, line + size);
    memcpy(line + size, "\r\n", 2);
    int rc = send_bytes(proxy, line, size + 2);
    mem_wipe(login, sizeof(login));
    mem_wipe(line, sizeof(line));
    return rc;
}

static int http_ask(struct proxy *proxy) {
    char request[700]; /* twice a host of 253 bytes and a port */
    struct text t;
    const char *open = strchr(proxy->host, ':') ? "[" : "", *close = *open ? "]" : "";
    text_init(&t, request, sizeof(request));
    text_addf(&t, "CONNECT %s%s%s:%u HTTP/1.1\r\n", open, proxy->host, close, proxy->port);
    text_addf(&t, "Host: %s%s%s:%u\r\n", open, proxy->host, close, proxy->port);
    int rc = send_bytes(proxy, request, t.length);
    if (rc == 0 && proxy->how->username) rc = http_add_login(proxy);
    proxy->step = PROXY_ASKED;
    return rc == 0 ? send_bytes(proxy, "\r\n", 2) : rc;
}

/* Whether this octet ended the headers. */
static bool http_is_over(const struct proxy *proxy) {
    return proxy->answer_size >= 4 && memcmp(proxy->answer + proxy->answer_size - 4, "\r\n\r\n", 4) == 0;
}

/* "HTTP/1.1 200 Connection established" */
static int http_answered(struct proxy *proxy, lago_reason_t *reason) {
    const char *line = (const char *)proxy->answer;
    size_t size = 0;
    char detail[WORDS_SIZE + 64];
    struct text t;
    while (line[size] != '\r') size++; /* there is one: it ends with them */
    bool known = size >= 12 && memcmp(line, "HTTP/1.", 7) == 0 && line[8] == ' ';
    if (!known) return refuse(reason, "the proxy does not speak HTTP", "is it a SOCKS5 proxy, or the broker itself?");
    if (line[9] == '2') {
        proxy->step = PROXY_THROUGH;
        return 1;
    }
    text_init(&t, detail, sizeof(detail));
    text_add(&t, "the proxy refused: ");
    text_add_escaped(&t, line + 9, size - 9, WORDS_SIZE);
    bool login = memcmp(line + 9, "407", 3) == 0;
    return refuse(reason, detail, login ? "check proxy.username and proxy.password" : "check what the proxy may connect to");
}

/* ---------------------------------------------------------------- both */

int proxy_start(struct proxy *proxy, const lago_allocator_t *alloc, const lago_proxy_t *how, const char *host, uint16_t port) {
    proxy_stop(proxy);
    *proxy = (struct proxy){ .alloc = alloc, .how = how, .host = host, .port = port };
    chunks_init(&proxy->out, alloc);
    proxy->out.wipe = true; /* logins */
    proxy->answer = mem_alloc(alloc, PROXY_ANSWER_MAX);
    int rc = proxy->answer ? 0 : LAGO_ENOMEM;
    if (rc == 0) rc = how->type == LAGO_PROXY_HTTP ? http_ask(proxy) : socks_greet(proxy);
    if (rc < 0) proxy_stop(proxy);
    return rc;
}

void proxy_stop(struct proxy *proxy) {
    if (!proxy->alloc) return;
    chunks_clear(&proxy->out);
    mem_free(proxy->alloc, proxy->answer);
    *proxy = (struct proxy){ .step = PROXY_IDLE };
}

static bool is_complete(const struct proxy *proxy) {
    if (proxy->how->type == LAGO_PROXY_HTTP) return http_is_over(proxy);
    size_t size = socks_answer_size(proxy);
    return size > 0 && proxy->answer_size >= size;
}

/* Octet by octet, for a few hundred of them: an answer ends where it ends, and nothing may be read beyond. */
int proxy_input(struct proxy *proxy, const uint8_t *data, size_t size, lago_reason_t *reason) {
    for (size_t i = 0; i < size; i++) {
        if (proxy->answer_size == PROXY_ANSWER_MAX) return refuse(reason, "the proxy's answer is longer than 8192 bytes", NULL);
        proxy->answer[proxy->answer_size++] = data[i];
        if (!is_complete(proxy)) continue;
        int rc = proxy->how->type == LAGO_PROXY_HTTP ? http_answered(proxy, reason) : socks_answered(proxy, reason);
        if (rc < 0) return rc;
        if (rc == 1 && i + 1 < size)
            return refuse(reason, "the proxy says more than its answer: brokers wait to be spoken to", NULL);
        if (rc == 1) return 1;
        proxy->answer_size = 0;
    }
    return 0;
}
