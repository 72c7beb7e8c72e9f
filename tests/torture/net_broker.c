/* A broker on sockets. Must not know what is tested; its words are broker.c's. */
#define _GNU_SOURCE /* accept4 */
#include "net_broker.h"

#include "frame.h"
#include "method.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE 65536

static void must(bool good, const char *what) {
    if (good) return;
    perror(what);
    abort();
}

/* ---------------------------------------------------------------- life */

static socklen_t address_of(const struct net_broker *b, struct sockaddr_storage *room) {
    memset(room, 0, sizeof *room);
    if (b->path[0]) {
        struct sockaddr_un *local = (struct sockaddr_un *)room;
        local->sun_family = AF_UNIX;
        memcpy(local->sun_path, b->path, strlen(b->path));
        return sizeof *local;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)room;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(b->port);
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof *v4;
}

void net_broker_open(struct net_broker *b, bool is_unix) {
    struct sockaddr_storage address;
    memset(b, 0, sizeof *b);
    if (is_unix) (void)snprintf(b->path, sizeof b->path, "/tmp/lago-torture-%ld", (long)getpid());
    if (is_unix) (void)unlink(b->path);
    for (int i = 0; i < NET_CLIENTS; i++) b->clients[i].fd = -1;
    b->listener = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(b->listener >= 0, "socket");
    socklen_t size = address_of(b, &address);
    must(bind(b->listener, (struct sockaddr *)&address, size) == 0, "bind");
    must(listen(b->listener, NET_CLIENTS) == 0, "listen");
    must(getsockname(b->listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    if (!is_unix) b->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static void drop(struct net_broker *b, struct net_client *client, bool reset) {
    if (client->fd < 0) return;
    struct linger linger = { .l_onoff = 1 };
    if (reset) (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(client->fd);
    client->fd = -1;
    if (client->linked && b->wire) conversation_link(b->wire, false);
    if (client->tls) peer_tls_free(client->tls);
    client->tls = NULL;
    free(client->out);
    free(client->in);
    client->out = client->in = NULL;
    client->out_size = client->in_size = 0;
    client->linked = false;
}

void net_broker_close(struct net_broker *b) {
    net_broker_drop(b);
    close(b->listener);
    if (b->path[0]) (void)unlink(b->path);
}

int net_broker_socket(const struct net_broker *b) {
    struct sockaddr_storage address;
    socklen_t size = address_of(b, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd > 0, "socket");
    must(connect(fd, (struct sockaddr *)&address, size) == 0, "connect");
    return fd;
}

void net_broker_drop(struct net_broker *b) {
    while (net_broker_serve(b)) continue;
    for (int i = 0; i < NET_CLIENTS; i++) drop(b, &b->clients[i], false);
}

static void welcome(struct net_broker *b) {
    int fd = accept4(b->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    b->client_count++;
    for (int i = 0; i < NET_CLIENTS; i++) {
        if (b->clients[i].fd >= 0) continue;
        b->clients[i] = (struct net_client){ .fd = fd, .greeted = !b->is_socks && !b->is_http };
        if (b->is_tls) b->clients[i].tls = peer_tls_new();
        return;
    }
    close(fd);
}

/* ---------------------------------------------------------------- out */

static void *more(void *data, size_t size) {
    data = realloc(data, size ? size : 1);
    must(data != NULL, "realloc");
    return data;
}

static void put(struct net_client *client, const void *data, size_t size) {
    client->out = more(client->out, client->out_size + size);
    memcpy(client->out + client->out_size, data, size);
    client->out_size += size;
}

static void take_ciphertext(struct net_client *client) {
    uint8_t room[READ_SIZE];
    for (size_t size; client->tls && (size = peer_tls_output(client->tls, room, sizeof room)) > 0;) put(client, room, size);
}

/* Plaintext. */
static void send_plain(struct net_client *client, const void *data, size_t size) {
    if (client->tls)
        peer_tls_write(client->tls, data, size);
    else
        put(client, data, size);
    take_ciphertext(client);
}

static bool write_out(struct net_broker *b, struct net_client *client) {
    if (client->out_size == 0) return false;
    ssize_t sent = send(client->fd, client->out, client->out_size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) drop(b, client, false);
    if (sent <= 0) return false;
    memmove(client->out, client->out + sent, client->out_size - (size_t)sent);
    client->out_size -= (size_t)sent;
    return true;
}

static struct net_client *linked(struct net_broker *b) {
    for (int i = 0; i < NET_CLIENTS; i++)
        if (b->clients[i].fd >= 0 && b->clients[i].linked) return &b->clients[i];
    return NULL;
}

void net_broker_say(struct net_broker *b, const char *lines) {
    struct net_client *client = linked(b);
    size_t size;
    if (!client || b->script.connection_gone) return;
    uint8_t *bytes = server_encode(lines, &size);
    if (b->wire) conversation_received(b->wire, bytes, size);
    send_plain(client, bytes, size);
    b->answered += size;
    free(bytes);
}

static void answer(struct net_broker *b) {
    if (b->script.size == 0) return;
    char *lines = strndup(b->script.answers, b->script.size);
    struct net_client *client = linked(b);
    bool gone = b->script.connection_gone;
    b->script.size = 0;
    b->script.connection_gone = false; /* its close-ok is still to be said */
    if (client) net_broker_say(b, lines);
    b->script.connection_gone = gone;
    free(lines);
}

/* ---------------------------------------------------------------- in */

static void hear_frame(struct net_broker *b, const struct frame *frame) {
    char line[2048];
    const struct method_info *info;
    union method_args args;
    struct text t;
    text_init(&t, line, sizeof line);
    text_addf(&t, "C> %u ", frame->channel);
    if (frame->type != FRAME_METHOD || method_read(frame->payload, frame->size, &info, &args) != 0) return;
    method_print(&t, info, &args);
    broker_hear(&b->script, LAGO_LOG_TRACE, line);
}

static void hear(struct net_broker *b, struct net_client *client, const uint8_t *bytes, size_t size) {
    struct frame frame;
    size_t at = 0, need = 0;
    if (!client->linked) {
        client->linked = true;
        if (b->wire) conversation_link(b->wire, true);
    }
    if (b->wire) conversation_sent(b->wire, bytes, size);
    client->in = more(client->in, client->in_size + size);
    memcpy(client->in + client->in_size, bytes, size);
    client->in_size += size;
    if (client->in_size >= PROTOCOL_HEADER_SIZE && memcmp(client->in, "AMQP", 4) == 0) {
        at = PROTOCOL_HEADER_SIZE;
        broker_hear(&b->script, LAGO_LOG_TRACE, "C> protocol-header 0-9-1");
    }
    for (; frame_decode(client->in + at, client->in_size - at, UINT32_MAX, &frame, &need) == FRAME_COMPLETE; at += need)
        hear_frame(b, &frame);
    client->in_size -= at;
    memmove(client->in, client->in + at, client->in_size);
    answer(b);
}

/* A proxy that lets everybody through: SOCKS5 without a login (RFC 1928), or HTTP CONNECT. One question comes in one piece here. */
static void be_a_proxy(struct net_broker *b, struct net_client *client, const uint8_t *bytes, size_t size) {
    static const uint8_t chosen[] = { 5, 0 }, granted[] = { 5, 0, 0, 1, 127, 0, 0, 1, 0, 1 };
    if (b->is_http) {
        static const char yes[] = "HTTP/1.1 200 OK\r\n\r\n";
        client->greeted = size > 4 && memcmp(bytes + size - 4, "\r\n\r\n", 4) == 0;
        if (client->greeted) put(client, yes, sizeof yes - 1);
    } else if (size > 3 && bytes[1] == 1 && bytes[2] == 0) {
        put(client, granted, sizeof granted);
        client->greeted = true;
    } else {
        put(client, chosen, sizeof chosen);
    }
}

static void decrypt(struct net_broker *b, struct net_client *client, const uint8_t *bytes, size_t size) {
    uint8_t room[READ_SIZE];
    bool ended = false, good = peer_tls_input(client->tls, bytes, size);
    for (size_t got; good && (got = peer_tls_read(client->tls, room, sizeof room, &ended)) > 0;) hear(b, client, room, got);
    if (client->fd < 0) return;
    take_ciphertext(client);
    (void)write_out(b, client);
    if (!good || ended) drop(b, client, false);
}

static bool read_in(struct net_broker *b, struct net_client *client) {
    uint8_t room[READ_SIZE];
    if (b->asleep) return false;
    ssize_t size = recv(client->fd, room, sizeof room, 0);
    if (size < 0 && errno == EAGAIN) return false;
    if (size > 0) b->received += (size_t)size;
    if (size <= 0) {
        drop(b, client, false);
    } else if (!client->greeted) {
        be_a_proxy(b, client, room, (size_t)size);
    } else if (client->tls) {
        decrypt(b, client, room, (size_t)size);
    } else {
        hear(b, client, room, (size_t)size);
    }
    if (b->cut_at && b->received >= b->cut_at) drop(b, client, true);
    return true;
}

bool net_broker_serve(struct net_broker *b) {
    bool any = false;
    welcome(b);
    for (int i = 0; i < NET_CLIENTS; i++) {
        struct net_client *client = &b->clients[i];
        if (client->fd >= 0) any = read_in(b, client) || any;
        if (client->fd >= 0) any = write_out(b, client) || any;
    }
    return any;
}

size_t net_broker_fds(const struct net_broker *b, struct pollfd *fds, size_t max) {
    size_t count = 0;
    fds[count++] = (struct pollfd){ .fd = b->listener, .events = POLLIN };
    for (int i = 0; i < NET_CLIENTS && count < max; i++) {
        const struct net_client *client = &b->clients[i];
        short events = (short)((b->asleep ? 0 : POLLIN) | (client->out_size ? POLLOUT : 0));
        if (client->fd >= 0) fds[count++] = (struct pollfd){ .fd = client->fd, .events = events };
    }
    return count;
}
