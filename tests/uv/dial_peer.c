/* The broker that does what it is told: see dial_peer.h. Must not know what is tested. */
#define _GNU_SOURCE /* memmem */
#include "dial_peer.h"
#include "frame.h"
#include "method.h"
#include "server.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TUNE    "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=1"
#define ROOM    (64 * 1024) /* of what it has not read, twice: so that few bytes fill it */
#define OPEN_OK "0 connection.open-ok"

struct dial_peer_client {
    uv_tcp_t tcp;
    struct list node; /* dial_peer.clients */
    struct dial_peer *peer;
    bool spoiled; /* meets its fate at the cut */
    bool fallen;  /* has met it */
    bool is_open; /* open-ok was said */
    size_t said_size;
    uint8_t *input; /* behind the last whole frame */
    size_t size;
    bool greeted;
    int send_error; /* errno: a reset is told only once */
};

/* ---------------------------------------------------------------- out */

static int socket_of(const struct dial_peer_client *client) {
    uv_os_fd_t fd = -1;
    assert_int_equal(uv_fileno((const uv_handle_t *)&client->tcp, &fd), 0);
    return fd;
}

int dial_peer_socket(const struct dial_peer *peer) {
    assert_non_null(peer->client);
    return socket_of(peer->client);
}

static void on_gone(uv_handle_t *handle) {
    struct dial_peer_client *client = handle->data;
    list_remove(&client->node);
    free(client->input);
    free(client);
}

static void forget(struct dial_peer_client *client, int status) {
    struct dial_peer *peer = client->peer;
    if (peer->client == client) {
        peer->client = NULL;
        peer->last_status = status;
    }
}

/* A FIN and no RST, although something unread may be here: the socket lives until the client goes. */
static void hang_up(struct dial_peer_client *client) { assert_int_equal(shutdown(socket_of(client), SHUT_WR), 0); }

static void reset(struct dial_peer_client *client) {
    forget(client, 0);
    if (!uv_is_closing((uv_handle_t *)&client->tcp)) assert_int_equal(uv_tcp_close_reset(&client->tcp, on_gone), 0);
}

static void meet_fate(struct dial_peer_client *client) {
    client->fallen = true;
    switch (client->peer->fate) {
    case PEER_FALLS_SILENT: break;
    case PEER_HANGS_UP: hang_up(client); break;
    case PEER_RESETS: reset(client); break;
    }
}

static void send_bytes(struct dial_peer_client *client, const uint8_t *bytes, size_t size) {
    size_t step = client->peer->one_by_one ? 1 : size;
    for (size_t at = 0; at < size; at += step) /* small, so the kernel takes it, unless the client has gone */
        if (send(socket_of(client), bytes + at, step, MSG_NOSIGNAL) != (ssize_t)step) {
            if (client->send_error == 0) client->send_error = errno;
            return;
        }
    client->peer->last_said_ns = uv_hrtime();
}

/* A part of the handshake. The fate comes when the byte behind the cut would be said: when the client has said its own part. */
static void say(struct dial_peer_client *client, const char *lines) {
    size_t size, left = client->peer->cut - client->said_size;
    if (client->fallen) return;
    uint8_t *bytes = server_encode(lines, &size);
    bool cut = client->spoiled && left < size;
    if (cut) size = left;
    if (size > 0) send_bytes(client, bytes, size);
    client->said_size += size;
    free(bytes);
    if (cut) meet_fate(client);
}

static const char *or_default(const char *lines, const char *otherwise) { return lines ? lines : otherwise; }

static size_t size_of(const char *lines) {
    size_t size;
    free(server_encode(lines, &size));
    return size;
}

size_t dial_peer_start_size(const struct dial_peer *peer) { return size_of(or_default(peer->start, SERVER_START)); }

size_t dial_peer_tune_size(const struct dial_peer *peer) { return size_of(or_default(peer->tune, TUNE)); }

size_t dial_peer_open_ok_size(const struct dial_peer *peer) { return size_of(or_default(peer->open_ok, OPEN_OK)); }

void dial_peer_say(struct dial_peer *peer, const char *lines) {
    size_t size;
    assert_non_null(peer->client);
    uint8_t *bytes = server_encode(lines, &size);
    send_bytes(peer->client, bytes, size);
    free(bytes);
}

static void on_beat(uv_timer_t *timer) {
    struct dial_peer *peer = timer->data;
    if (peer->client && peer->client->is_open) dial_peer_say(peer, "0 heartbeat");
}

/* ---------------------------------------------------------------- in */

static void opened(struct dial_peer_client *client) {
    struct dial_peer *peer = client->peer;
    peer->opens++;
    say(client, or_default(peer->open_ok, OPEN_OK));
    client->is_open = !client->fallen;
    if (client->is_open && peer->beat_ms) uv_timer_start(&peer->beat, on_beat, peer->beat_ms, peer->beat_ms);
}

static void on_method(struct dial_peer_client *client, const struct frame *frame) {
    const struct method_info *info;
    union method_args args;
    char line[64];
    assert_int_equal(method_read(frame->payload, frame->size, &info, &args), 0);
    switch (info->id) {
    case METHOD_CONNECTION_START_OK:
    case METHOD_CONNECTION_SECURE_OK: say(client, or_default(client->peer->tune, TUNE)); break;
    case METHOD_CONNECTION_OPEN: opened(client); break;
    case METHOD_CONNECTION_CLOSE: say(client, "0 connection.close-ok"); break;
    case METHOD_CONNECTION_CLOSE_OK: client->peer->closes_answered++; break;
    case METHOD_CHANNEL_OPEN:
        snprintf(line, sizeof line, "%u channel.open-ok", frame->channel);
        say(client, line);
        break;
    case METHOD_BASIC_PUBLISH: client->peer->publishes++; break;
    default: break;
    }
}

/* @return bytes that are done with. */
static size_t take_frames(struct dial_peer_client *client) {
    struct frame frame;
    size_t at = 0, need;
    if (!client->greeted) {
        if (client->size < PROTOCOL_HEADER_SIZE) return 0;
        at = PROTOCOL_HEADER_SIZE;
        client->greeted = true;
        if (client->said_size == 0) say(client, or_default(client->peer->start, SERVER_START));
    }
    while (at < client->size) {
        enum frame_result rc = frame_decode(client->input + at, client->size - at, SIZE_MAX, &frame, &need);
        if (rc != FRAME_COMPLETE) break;
        at += need;
        client->peer->frames++;
        client->peer->heartbeats += frame.type == FRAME_HEARTBEAT;
        if (frame.type == FRAME_METHOD) on_method(client, &frame);
        if (uv_is_closing((uv_handle_t *)&client->tcp)) break;
    }
    return at;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle;
    *buffer = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_bytes(struct dial_peer_client *client, const void *bytes, size_t size) {
    client->peer->received_size += size;
    client->input = realloc(client->input, client->size + size);
    assert_non_null(client->input);
    memcpy(client->input + client->size, bytes, size);
    client->size += size;
    if (memmem(client->input, client->size, "secret", 6)) client->peer->password_came = true;
    size_t done = take_frames(client);
    client->size -= done;
    memmove(client->input, client->input + done, client->size);
}

/* libuv says EOF when it finds bytes and an RST together. */
static int true_status(const struct dial_peer_client *client, int status) {
    int error = 0;
    socklen_t size = sizeof error;
    assert_int_equal(getsockopt(socket_of(client), SOL_SOCKET, SO_ERROR, &error, &size), 0);
    if (error == 0) error = client->send_error;
    return error ? uv_translate_sys_error(error) : status;
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct dial_peer_client *client = stream->data;
    if (size > 0) on_bytes(client, buffer->base, (size_t)size);
    free(buffer->base);
    if (size >= 0 || uv_is_closing((uv_handle_t *)stream)) return;
    forget(client, true_status(client, (int)size));
    uv_close((uv_handle_t *)stream, on_gone);
}

void dial_peer_reading(struct dial_peer *peer, bool reading) {
    assert_non_null(peer->client);
    uv_stream_t *stream = (uv_stream_t *)&peer->client->tcp;
    if (reading)
        uv_read_start(stream, on_alloc, on_read);
    else
        uv_read_stop(stream);
}

/* Thrown away: what it was does not matter any more. */
void dial_peer_take(struct dial_peer *peer, size_t size) {
    static char room[65536];
    while (size > 0) {
        ssize_t got = recv(dial_peer_socket(peer), room, size < sizeof room ? size : sizeof room, MSG_DONTWAIT);
        if (got <= 0) return;
        size -= (size_t)got;
    }
}

/* ---------------------------------------------------------------- life */

static void note_address(struct dial_peer *peer, const struct dial_peer_client *client) {
    struct sockaddr_storage address;
    int size = sizeof address;
    assert_int_equal(uv_tcp_getpeername(&client->tcp, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(uv_ip_name((struct sockaddr *)&address, peer->client_ip, sizeof peer->client_ip), 0);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct dial_peer *peer = listener->data;
    struct dial_peer_client *client = calloc(1, sizeof *client);
    assert_int_equal(status, 0);
    assert_non_null(client);
    uv_tcp_init(listener->loop, &client->tcp);
    client->tcp.data = client;
    client->peer = peer;
    list_append(&peer->clients, &client->node);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&client->tcp), 0);
    uv_unref((uv_handle_t *)&client->tcp);
    uv_tcp_nodelay(&client->tcp, 1);
    peer->client = client;
    peer->last_status = 0;
    peer->received_size = 0;
    client->spoiled = peer->cut != DIAL_PEER_WHOLE && (peer->spoiled_count == 0 || peer->client_count < peer->spoiled_count);
    peer->client_count++;
    note_address(peer, client);
    if (client->spoiled && peer->cut == 0) meet_fate(client);
    if (!uv_is_closing((uv_handle_t *)&client->tcp)) uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

void dial_peer_start(struct dial_peer *peer, uv_loop_t *loop, const char *ip, uint16_t port) {
    struct sockaddr_in address;
    int size = sizeof address;
    memset(peer, 0, sizeof *peer);
    peer->cut = DIAL_PEER_WHOLE;
    list_init(&peer->clients);
    uv_tcp_init(loop, &peer->listener);
    uv_timer_init(loop, &peer->beat);
    uv_unref((uv_handle_t *)&peer->beat);
    peer->listener.data = peer->beat.data = peer;
    assert_int_equal(uv_ip4_addr(ip, port, &address), 0);
    assert_int_equal(uv_tcp_bind(&peer->listener, (struct sockaddr *)&address, 0), 0);
    int room = ROOM;
    assert_int_equal(uv_recv_buffer_size((uv_handle_t *)&peer->listener, &room), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&peer->listener, 128, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&peer->listener, (struct sockaddr *)&address, &size), 0);
    uv_unref((uv_handle_t *)&peer->listener);
    snprintf(peer->ip, sizeof peer->ip, "%s", ip);
    peer->port = ntohs(address.sin_port);
    snprintf(peer->endpoint, sizeof peer->endpoint, "%s:%u", ip, peer->port);
}

void dial_peer_hang_up(struct dial_peer *peer) {
    assert_non_null(peer->client);
    hang_up(peer->client);
}

void dial_peer_reset(struct dial_peer *peer) {
    assert_non_null(peer->client);
    reset(peer->client);
}

void dial_peer_stop(struct dial_peer *peer) {
    peer->client = NULL;
    for (struct list *node = peer->clients.next; node != &peer->clients; node = node->next) {
        uv_handle_t *handle = (uv_handle_t *)&LIST_ENTRY(node, struct dial_peer_client, node)->tcp;
        if (!uv_is_closing(handle)) uv_close(handle, on_gone);
    }
    uv_close((uv_handle_t *)&peer->beat, NULL);
    uv_close((uv_handle_t *)&peer->listener, NULL);
}
