/* The peer of the transport's tests. */
#include "peer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netdb.h>
#include <sys/socket.h>

#define PATIENCE_MS 10000

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle;
    *buffer = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_written(uv_write_t *request, int status) {
    (void)status;
    free(request->data);
    free(request);
}

static void write_copy(uv_stream_t *stream, const void *data, size_t size) {
    uv_write_t *request = calloc(1, sizeof *request);
    assert_non_null(request);
    request->data = malloc(size);
    assert_non_null(request->data);
    memcpy(request->data, data, size);
    uv_buf_t buffer = uv_buf_init(request->data, (unsigned)size);
    assert_int_equal(uv_write(request, stream, &buffer, 1, on_written), 0);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct peer *peer = stream->data;
    if (size > 0) {
        peer->received_size += (size_t)size;
        if (peer->echo) write_copy(stream, buffer->base, (size_t)size);
        if (peer->reset) uv_tcp_close_reset((uv_tcp_t *)stream, NULL);
    } else if (size < 0) {
        peer->last_status = (int)size;
        peer->closed = true;
        uv_close((uv_handle_t *)stream, NULL);
    }
    free(buffer->base);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct peer *peer = listener->data;
    assert_int_equal(status, 0);
    assert_true(peer->client_count < PEER_CLIENTS_MAX);
    uv_tcp_t *client = &peer->clients[peer->client_count++];
    uv_tcp_init(listener->loop, client);
    client->data = peer;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)client), 0);
    if (!peer->asleep) uv_read_start((uv_stream_t *)client, on_alloc, on_read);
    if (peer->on_client != NULL) peer->on_client(peer);
}

void peer_listen(struct peer *peer, uv_loop_t *loop, const char *ip) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    memset(&address, 0, sizeof address);
    if (uv_ip4_addr(ip, 0, &address.v4) < 0) assert_int_equal(uv_ip6_addr(ip, 0, &address.v6), 0);
    uv_tcp_init(loop, &peer->listener);
    peer->listener.data = peer;
    assert_int_equal(uv_tcp_bind(&peer->listener, &address.any, 0), 0);
    int size = sizeof address;
    assert_int_equal(uv_tcp_getsockname(&peer->listener, &address.any, &size), 0);
    snprintf(peer->url, sizeof peer->url, "%s:%u", ip, (unsigned)ntohs(address.v4.sin_port));
    assert_int_equal(uv_listen((uv_stream_t *)&peer->listener, 8, on_connection), 0);
    uv_unref((uv_handle_t *)&peer->listener);
}

void peer_read(struct peer *peer) {
    for (size_t i = 0; i < peer->client_count; i++) uv_read_start((uv_stream_t *)&peer->clients[i], on_alloc, on_read);
}

void peer_write(struct peer *peer, size_t client, const void *data, size_t size) {
    write_copy((uv_stream_t *)&peer->clients[client], data, size);
}

void peer_close(struct peer *peer) {
    if (!uv_is_closing((uv_handle_t *)&peer->listener)) uv_close((uv_handle_t *)&peer->listener, NULL);
    for (size_t i = 0; i < peer->client_count; i++)
        if (!uv_is_closing((uv_handle_t *)&peer->clients[i])) uv_close((uv_handle_t *)&peer->clients[i], NULL);
}

static void on_impatience(uv_timer_t *timer) {
    (void)timer;
    fail_msg("nothing has happened for %d ms", PATIENCE_MS);
}

void run_until_count(uv_loop_t *loop, const int *count, int wanted) {
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_impatience, PATIENCE_MS, 0);
    while (*count < wanted) uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

void run_until(uv_loop_t *loop, const bool *flag) {
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_impatience, PATIENCE_MS, 0);
    while (!*flag) uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

void run_to_end(uv_loop_t *loop) {
    assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(loop), 0);
}

bool peer_has_localhost(void) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    bool has = getaddrinfo("localhost", NULL, &hints, &found) == 0;
    if (found) freeaddrinfo(found);
    return has;
}
