/* The peer of the transport's tests. Must not know lago. */
#include "peer.h"
#include "peer_tls.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <netdb.h>
#include <sys/socket.h>

#define PATIENCE_MS 25000       /* meson's is 30 s, and says less */
#define ROOM        (64 * 1024) /* in the kernel for who is asleep, twice: so that few bytes fill it */

/* ---------------------------------------------------------------- the end */

static void on_client_closed(uv_handle_t *handle) {
    struct peer_client *client = handle->data;
    peer_tls_free(client->tls);
    client->tls = NULL;
    free(client->pending);
    client->pending = NULL;
    client->pending_size = 0;
}

static void drop(struct peer_client *client) {
    if (!uv_is_closing(&client->uv.handle)) uv_close(&client->uv.handle, on_client_closed);
}

void peer_cut(struct peer *peer, int client) { drop(&peer->clients[client]); }

static void reset(struct peer_client *client) {
    if (client->peer->is_unix)
        drop(client);
    else
        assert_int_equal(uv_tcp_close_reset(&client->uv.tcp, on_client_closed), 0);
}

void peer_abort(struct peer *peer, int client) { reset(&peer->clients[client]); }

bool peer_is_gone(const struct peer *peer, int client) { return uv_is_closing(&peer->clients[client].uv.handle); }

/* ---------------------------------------------------------------- out */

static void push(struct peer_client *client);

struct peer_write {
    uv_write_t request;
    struct peer_client *client;
    uint8_t data[];
};

static void on_written(uv_write_t *request, int status) {
    struct peer_write *write = request->data;
    struct peer_client *client = write->client;
    free(write);
    client->writing = false;
    if (status == 0) push(client);
}

/* All that waits, or its first byte. */
static void push(struct peer_client *client) {
    struct peer *peer = client->peer;
    size_t size = peer->one_by_one && client->pending_size > 0 ? 1 : client->pending_size;
    bool cut = peer->cut_at > 0 && client->sent_size + size >= peer->cut_at;
    if ((peer->one_by_one && client->writing) || uv_is_closing(&client->uv.handle)) return;
    if (cut) size = peer->cut_at - 1 - client->sent_size;
    if (size > 0) {
        struct peer_write *write = malloc(sizeof *write + size);
        assert_non_null(write);
        write->request.data = write;
        write->client = client;
        memcpy(write->data, client->pending, size);
        uv_buf_t buffer = uv_buf_init((char *)write->data, (unsigned)size);
        assert_int_equal(uv_write(&write->request, &client->uv.stream, &buffer, 1, on_written), 0);
        client->writing = true;
        client->sent_size += size;
        client->pending_size -= size;
        memmove(client->pending, client->pending + size, client->pending_size);
    }
    if (cut) drop(client);
}

static void send_raw(struct peer_client *client, const void *data, size_t size) {
    client->pending = realloc(client->pending, client->pending_size + size);
    assert_non_null(client->pending);
    memcpy(client->pending + client->pending_size, data, size);
    client->pending_size += size;
}

static void collect(struct peer_client *client) {
    uint8_t data[4096];
    for (size_t size; (size = peer_tls_output(client->tls, data, sizeof data)) > 0;) send_raw(client, data, size);
    push(client);
}

static void write_to(struct peer_client *client, const void *data, size_t size) {
    if (uv_is_closing(&client->uv.handle)) return;
    if (client->tls == NULL) {
        send_raw(client, data, size);
        push(client);
        return;
    }
    size_t step = client->peer->one_byte_records ? 1 : size;
    for (size_t i = 0; i < size; i += step) peer_tls_write(client->tls, (const uint8_t *)data + i, step);
    collect(client);
}

void peer_write(struct peer *peer, int client, const void *data, size_t size) { write_to(&peer->clients[client], data, size); }

void peer_spoil(struct peer *peer, int client) {
    static const uint8_t record[] = { 23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 };
    send_raw(&peer->clients[client], record, sizeof record);
    push(&peer->clients[client]);
}

void peer_renew_keys(struct peer *peer, int client) {
    peer_tls_renew_keys(peer->clients[client].tls);
    collect(&peer->clients[client]);
}

/* ---------------------------------------------------------------- in */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle;
    *buffer = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void take(struct peer_client *client, const void *data, size_t size) {
    struct peer *peer = client->peer;
    size_t room = peer->received_size < PEER_KEPT ? PEER_KEPT - peer->received_size : 0;
    memcpy(peer->received + PEER_KEPT - room, data, size < room ? size : room);
    peer->received_size += size;
    if (peer->echo) write_to(client, data, size);
    if (peer->reset) reset(client);
}

static void take_secured(struct peer_client *client, const void *data, size_t size) {
    struct peer *peer = client->peer;
    char plain[65536];
    bool was_up = peer_tls_is_up(client->tls);
    if (!peer_tls_input(client->tls, data, size)) {
        peer->refused_tls = true;
        collect(client);
        drop(client);
        return;
    }
    collect(client);
    if (!was_up && peer_tls_is_up(client->tls)) {
        peer->secure_count++;
        if (peer->asleep) uv_read_stop(&client->uv.stream);
    }
    while (!uv_is_closing(&client->uv.handle) &&
           (size = peer_tls_read(client->tls, plain, sizeof plain, &peer->said_goodbye)) > 0)
        take(client, plain, size);
    if (!uv_is_closing(&client->uv.handle)) collect(client);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct peer_client *client = stream->data;
    struct peer *peer = client->peer;
    if (size > 0) peer->wire_size += (size_t)size;
    if (size > 0 && client->tls != NULL) {
        take_secured(client, buffer->base, (size_t)size);
    } else if (size > 0) {
        take(client, buffer->base, (size_t)size);
    } else if (size < 0) {
        peer->last_status = (int)size;
        peer->closed = true;
        drop(client);
    }
    free(buffer->base);
}

static void init_handle(const struct peer *peer, uv_loop_t *loop, union peer_handle *handle) {
    if (peer->is_unix)
        uv_pipe_init(loop, &handle->pipe, 0);
    else
        uv_tcp_init(loop, &handle->tcp);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct peer *peer = listener->data;
    assert_int_equal(status, 0);
    assert_in_range(peer->client_count, 0, PEER_CLIENTS_MAX - 1);
    struct peer_client *client = &peer->clients[peer->client_count++];
    client->peer = peer;
    client->tls = peer->is_tls ? peer_tls_new() : NULL;
    init_handle(peer, listener->loop, &client->uv);
    client->uv.handle.data = client;
    assert_int_equal(uv_accept(listener, &client->uv.stream), 0);
    if (!peer->is_unix) uv_tcp_nodelay(&client->uv.tcp, 1); /* what is said is there at once */
    if (!peer->asleep || peer->is_tls) uv_read_start(&client->uv.stream, on_alloc, on_read);
    if (peer->on_client != NULL) peer->on_client(peer);
}

/* ---------------------------------------------------------------- life */

static void bind_tcp(struct peer *peer, const char *ip) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    memset(&address, 0, sizeof address);
    if (uv_ip4_addr(ip, 0, &address.v4) < 0) assert_int_equal(uv_ip6_addr(ip, 0, &address.v6), 0);
    assert_int_equal(uv_tcp_bind(&peer->listener.tcp, &address.any, 0), 0);
    int size = sizeof address;
    assert_int_equal(uv_tcp_getsockname(&peer->listener.tcp, &address.any, &size), 0);
    snprintf(peer->host, sizeof peer->host, "%s", ip);
    peer->port = ntohs(address.v4.sin_port);
}

/* libuv removes it when the listener is closed. */
static void bind_unix(struct peer *peer) {
    static unsigned number;
    const char *directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    snprintf(peer->host, sizeof peer->host, "%s/lago-%ld-%u.sock", directory, (long)getpid(), number++);
    unlink(peer->host); /* of a process that had this number before, and was killed */
    assert_int_equal(uv_pipe_bind(&peer->listener.pipe, peer->host), 0);
}

static void begin_listening(struct peer *peer) {
    int room = ROOM;
    peer->listener.handle.data = peer;
    if (peer->asleep && !peer->is_unix) assert_int_equal(uv_recv_buffer_size(&peer->listener.handle, &room), 0);
    assert_int_equal(uv_listen(&peer->listener.stream, PEER_CLIENTS_MAX, on_connection), 0);
    uv_unref(&peer->listener.handle);
    peer->is_open = true;
}

void peer_listen(struct peer *peer, uv_loop_t *loop, const char *ip) {
    init_handle(peer, loop, &peer->listener);
    if (peer->is_unix)
        bind_unix(peer);
    else
        bind_tcp(peer, ip);
    snprintf(peer->url, sizeof peer->url, "%s:%u", peer->host, (unsigned)peer->port);
    begin_listening(peer);
}

void peer_listen_on(struct peer *peer, uv_loop_t *loop, int fd) {
    init_handle(peer, loop, &peer->listener);
    assert_int_equal(uv_tcp_open(&peer->listener.tcp, fd), 0);
    begin_listening(peer);
}

void peer_read(struct peer *peer) {
    peer->asleep = false;
    for (int i = 0; i < peer->client_count; i++) uv_read_start(&peer->clients[i].uv.stream, on_alloc, on_read);
}

void peer_leave(struct peer *peer, int client) {
    struct peer_client *leaving = &peer->clients[client];
    if (peer_is_gone(peer, client)) return;
    if (leaving->tls != NULL) {
        peer_tls_close(leaving->tls);
        collect(leaving);
    }
    drop(leaving);
}

void peer_close(struct peer *peer) {
    if (!uv_is_closing(&peer->listener.handle)) uv_close(&peer->listener.handle, NULL);
    for (int i = 0; i < peer->client_count; i++) peer_leave(peer, i);
}

/* ---------------------------------------------------------------- running */

static void on_impatience(uv_timer_t *timer) {
    (void)timer;
    fail_msg("nothing has happened for %d ms", PATIENCE_MS);
}

static void begin_patience(uv_loop_t *loop, uv_timer_t *timer) {
    uv_timer_init(loop, timer);
    uv_timer_start(timer, on_impatience, PATIENCE_MS, 0);
}

static void end_patience(uv_loop_t *loop, uv_timer_t *timer) {
    uv_close((uv_handle_t *)timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

void run_until_count(uv_loop_t *loop, const int *count, int wanted) {
    uv_timer_t timer;
    begin_patience(loop, &timer);
    while (*count < wanted) uv_run(loop, UV_RUN_ONCE);
    end_patience(loop, &timer);
}

void run_until_size(uv_loop_t *loop, const size_t *size, size_t wanted) {
    uv_timer_t timer;
    begin_patience(loop, &timer);
    for (size_t before = *size; *size < wanted; before = *size) {
        uv_run(loop, UV_RUN_ONCE);
        if (*size > before) uv_timer_start(&timer, on_impatience, PATIENCE_MS, 0); /* slow, but there */
    }
    end_patience(loop, &timer);
}

void run_until(uv_loop_t *loop, const bool *flag) {
    uv_timer_t timer;
    begin_patience(loop, &timer);
    while (!*flag) uv_run(loop, UV_RUN_ONCE);
    end_patience(loop, &timer);
}

void run_a_while(uv_loop_t *loop) {
    for (int i = 0; i < 20; i++) uv_run(loop, UV_RUN_NOWAIT);
}

void run_to_end(uv_loop_t *loop) {
    assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(loop), 0);
}

int open_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) return 0; /* not Linux */
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

bool peer_has_localhost(void) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    bool has = getaddrinfo("localhost", NULL, &hints, &found) == 0;
    if (found) freeaddrinfo(found);
    return has;
}
