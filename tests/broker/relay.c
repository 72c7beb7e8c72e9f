/* Proxies for tests: see relay.h. Only what lago says to them is understood. Must not know AMQP. */
#include "relay.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* RFC 1928 and 1929 */
#define SOCKS_PASSWORD 2
#define SOCKS_IPV4     1
#define SOCKS_NAME     3

enum step { GREETING, LOGIN, REQUEST, THROUGH };

/* A client that is not let through yet. */
struct way {
    struct relay *relay;
    struct proxy_link *link;
    enum step step;
    char said[1024];
    size_t size;
};

static void say(struct way *way, const void *words, size_t size) { link_say(way->link, words, size); }

static void forget_said(struct way *way, size_t size) {
    way->size -= size;
    memmove(way->said, way->said + size, way->size);
}

/* What was said behind the request is for the broker. */
static void let_through(struct way *way, size_t request_size) {
    forget_said(way, request_size);
    way->step = THROUGH;
    proxy_leads_to(way->link->proxy, way->relay->to);
    link_carry(way->link, way->said, way->size);
}

/* ---------------------------------------------------------------- SOCKS5: each returns false until it has all of its part */

static bool socks_greeted(struct way *way) {
    const unsigned char *said = (unsigned char *)way->said;
    size_t size = way->size < 2 ? 3 : (size_t)2 + said[1];
    if (way->size < size) return false;
    assert_int_equal(said[0], 5);
    bool login = way->relay->username != NULL, can = memchr(said + 2, SOCKS_PASSWORD, said[1]) != NULL;
    forget_said(way, size);
    if (login && !can) {
        say(way, "\5\377", 2);
        return false;
    }
    say(way, login ? "\5\2" : "\5\0", 2);
    way->step = login ? LOGIN : REQUEST;
    return true;
}

static bool is_word(const char *at, size_t size, const char *word) { return size == strlen(word) && memcmp(at, word, size) == 0; }

static bool socks_logged_in(struct way *way) {
    const unsigned char *said = (unsigned char *)way->said;
    size_t user = way->size > 1 ? said[1] : 0;
    if (way->size < 3 + user || way->size < 3 + user + said[2 + user]) return false;
    bool right =
        is_word(way->said + 2, user, way->relay->username) && is_word(way->said + 3 + user, said[2 + user], way->relay->password);
    forget_said(way, 3 + user + said[2 + user]);
    say(way, right ? "\1\0" : "\1\1", 2);
    way->step = REQUEST;
    return right;
}

static bool socks_asked(struct way *way) {
    const unsigned char *said = (unsigned char *)way->said;
    if (way->size < 7) return false;
    size_t name = said[3] == SOCKS_IPV4 ? 4 : (size_t)said[4], from = said[3] == SOCKS_IPV4 ? 4 : 5;
    size_t size = from + name + 2;
    if (way->size < size) return false;
    unsigned port = (unsigned)said[size - 2] << 8 | said[size - 1];
    if (said[3] == SOCKS_NAME)
        snprintf(way->relay->asked, sizeof way->relay->asked, "%.*s:%u", (int)name, way->said + from, port);
    else
        snprintf(way->relay->asked, sizeof way->relay->asked, "%u.%u.%u.%u:%u", said[4], said[5], said[6], said[7], port);
    if (way->relay->refuses)
        say(way, "\5\2\0\1\0\0\0\0\0\0", 10); /* not allowed by its rules */
    else
        let_through(way, size);
    return false;
}

/* ---------------------------------------------------------------- HTTP CONNECT */

static void http_asked(struct way *way) {
    char wanted[256];
    way->said[way->size] = '\0';
    char *end = strstr(way->said, "\r\n\r\n");
    if (!end) return;
    assert_int_equal(sscanf(way->said, "CONNECT %299s HTTP/1.1", way->relay->asked), 1);
    snprintf(wanted, sizeof wanted, "\r\nProxy-Authorization: Basic %s\r\n", way->relay->password ? way->relay->password : "");
    if (way->relay->refuses)
        say(way, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 45);
    else if (way->relay->username && !strstr(way->said, wanted))
        say(way, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", 65);
    else
        let_through(way, (size_t)(end + 4 - way->said));
}

/* ---------------------------------------------------------------- the client's side */

static void listen_to(struct way *way) {
    if (way->relay->kind == RELAY_HTTP) {
        http_asked(way);
        return;
    }
    if (way->step == GREETING && !socks_greeted(way)) return;
    if (way->step == LOGIN && !socks_logged_in(way)) return;
    if (way->step == REQUEST) (void)socks_asked(way);
}

static void on_greeting(struct proxy_link *link, const uint8_t *bytes, size_t size) {
    struct way *way = link->data;
    assert_true(way->size + size < sizeof way->said);
    memcpy(way->said + way->size, bytes, size);
    way->size += size;
    listen_to(way);
}

static void begin_way(struct relay *relay, struct proxy_link *link) {
    struct way *way = calloc(1, sizeof *way);
    assert_non_null(way);
    way->relay = relay;
    way->link = link;
    link->data = way;
    relay->ways++;
}

static void on_event(struct proxy *proxy, struct proxy_link *link, enum proxy_event event) {
    struct relay *relay = proxy->options.data;
    if (event == PROXY_LINK_BEGINS) begin_way(relay, link);
    if (event == PROXY_LINK_UP) {
        relay->carried++;
        if (relay->kind == RELAY_SOCKS) link_say(link, "\5\0\0\1\0\0\0\0\0\0", 10);
        if (relay->kind == RELAY_HTTP) link_say(link, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n", 50);
    }
    if (event == PROXY_LINK_GONE) {
        relay->ways--;
        free(link->data);
    }
}

void relay_start(struct relay *relay, uv_loop_t *loop, enum relay_kind kind, const char *path, uint16_t to) {
    struct proxy_options options = { .to_port = to, .on_event = on_event, .data = relay };
    *relay = (struct relay){ .kind = kind, .to = to };
    if (kind != RELAY_PLAIN) options.greet = on_greeting;
    if (path) {
        snprintf(relay->path, sizeof relay->path, "%s", path);
        options.path = relay->path;
    }
    assert_int_equal(proxy_begin(&relay->proxy, loop, &options), 0);
    relay->port = relay->proxy.port;
}

/* libuv removes the path. */
void relay_stop(struct relay *relay) { proxy_end(&relay->proxy); }
