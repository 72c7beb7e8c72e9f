/* Proxies for tests: see relay.h. Only what lago says to them is understood. Must not know AMQP. */
#include "relay.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* RFC 1928 and 1929 */
#define SOCKS_PASSWORD 2
#define SOCKS_IPV4     1
#define SOCKS_NAME     3

enum step { GREETING, LOGIN, REQUEST, CONNECTING, CARRYING };

union stream {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* Both ends of a way through; it goes when both are closed. */
struct way {
    struct relay *relay;
    union stream front, back;
    uv_connect_t connecting;
    enum step step;
    char said[1024]; /* by the client, before it is let through */
    size_t size;
    int open;
};

/* ---------------------------------------------------------------- carrying */

static void on_closed(uv_handle_t *handle) {
    struct way *way = handle->data;
    if (--way->open > 0) return;
    way->relay->ways--;
    free(way);
}

static void close_way(struct way *way) {
    if (!uv_is_closing(&way->front.handle)) uv_close(&way->front.handle, on_closed);
    if (way->open == 2 && !uv_is_closing(&way->back.handle)) uv_close(&way->back.handle, on_closed);
}

static void on_written(uv_write_t *request, int status) {
    (void)status;
    free(request->data);
    free(request);
}

/* `bytes` are malloc'ed, and the relay's from here on. */
static void pass_on(uv_stream_t *to, void *bytes, size_t size) {
    uv_write_t *request = malloc(sizeof *request);
    uv_buf_t buffer = uv_buf_init(bytes, (unsigned)size);
    assert_non_null(request);
    request->data = bytes;
    if (uv_write(request, to, &buffer, 1, on_written) < 0) on_written(request, 0);
}

static void say(struct way *way, const void *words, size_t size) {
    void *copy = malloc(size);
    assert_non_null(copy);
    pass_on(&way->front.stream, memcpy(copy, words, size), size);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle;
    *buffer = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_back(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct way *way = stream->data;
    if (size > 0)
        pass_on(&way->front.stream, buffer->base, (size_t)size);
    else
        free(buffer->base);
    if (size < 0) close_way(way);
}

/* What was said behind the request is for the broker. */
static void carry(struct way *way, size_t behind) {
    way->step = CARRYING;
    way->relay->carried++;
    if (way->relay->kind == RELAY_SOCKS) say(way, "\5\0\0\1\0\0\0\0\0\0", 10);
    if (way->relay->kind == RELAY_HTTP) say(way, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n", 50);
    uv_read_start(&way->back.stream, on_alloc, on_back);
    if (behind == 0) return;
    void *copy = malloc(behind);
    assert_non_null(copy);
    pass_on(&way->back.stream, memcpy(copy, way->said, behind), behind);
}

static void on_connected(uv_connect_t *request, int status) {
    struct way *way = request->data;
    if (uv_is_closing(&way->front.handle)) return;
    if (status < 0)
        close_way(way);
    else
        carry(way, way->size);
}

static void forget_said(struct way *way, size_t size) {
    way->size -= size;
    memmove(way->said, way->said + size, way->size);
}

static void let_through(struct way *way, size_t request_size) {
    struct sockaddr_in to;
    forget_said(way, request_size);
    way->step = CONNECTING;
    way->connecting.data = way;
    uv_ip4_addr("127.0.0.1", way->relay->to, &to);
    uv_tcp_init(way->front.handle.loop, &way->back.tcp);
    uv_unref(&way->back.handle);
    way->back.handle.data = way;
    way->open = 2;
    assert_int_equal(uv_tcp_connect(&way->connecting, &way->back.tcp, (struct sockaddr *)&to, on_connected), 0);
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

static void on_front(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct way *way = stream->data;
    if (size > 0 && way->step == CARRYING) {
        pass_on(&way->back.stream, buffer->base, (size_t)size);
        return;
    }
    if (size > 0) {
        assert_true(way->size + (size_t)size < sizeof way->said);
        memcpy(way->said + way->size, buffer->base, (size_t)size);
        way->size += (size_t)size;
        if (way->step < CONNECTING) listen_to(way);
    }
    free(buffer->base);
    if (size < 0) close_way(way);
}

static void on_client(uv_stream_t *listener, int status) {
    struct relay *relay = listener->data;
    struct way *way = calloc(1, sizeof *way);
    assert_int_equal(status, 0);
    assert_non_null(way);
    way->relay = relay;
    relay->ways++;
    if (relay->path[0])
        uv_pipe_init(listener->loop, &way->front.pipe, 0);
    else
        uv_tcp_init(listener->loop, &way->front.tcp);
    uv_unref(&way->front.handle);
    way->front.handle.data = way;
    way->open = 1;
    assert_int_equal(uv_accept(listener, &way->front.stream), 0);
    uv_read_start(&way->front.stream, on_alloc, on_front);
    if (relay->kind == RELAY_PLAIN) let_through(way, 0);
}

void relay_start(struct relay *relay, uv_loop_t *loop, enum relay_kind kind, const char *path, uint16_t to) {
    struct sockaddr_in address;
    int size = sizeof address;
    *relay = (struct relay){ .kind = kind, .to = to };
    if (path) {
        snprintf(relay->path, sizeof relay->path, "%s", path);
        uv_pipe_init(loop, &relay->listener.pipe, 0);
        assert_int_equal(uv_pipe_bind(&relay->listener.pipe, path), 0);
    } else {
        uv_ip4_addr("127.0.0.1", 0, &address);
        uv_tcp_init(loop, &relay->listener.tcp);
        assert_int_equal(uv_tcp_bind(&relay->listener.tcp, (struct sockaddr *)&address, 0), 0);
        assert_int_equal(uv_tcp_getsockname(&relay->listener.tcp, (struct sockaddr *)&address, &size), 0);
        relay->port = ntohs(address.sin_port);
    }
    relay->listener.tcp.data = relay;
    assert_int_equal(uv_listen((uv_stream_t *)&relay->listener, 8, on_client), 0);
    uv_unref((uv_handle_t *)&relay->listener);
}

/* libuv removes the path. */
void relay_stop(struct relay *relay) { uv_close((uv_handle_t *)&relay->listener, NULL); }
