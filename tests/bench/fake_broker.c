/*
 * A broker that costs less than any client: fake-broker [--spin] [--heartbeat SECONDS] [--tls FILE] PORT
 *
 * One thread, loopback only, no queues: what it answers is said in fake_amqp.h. PORT 0 is any free one; the line "port NUMBER" on
 * stdout says that it listens. --spin: it never sleeps, for measuring latency. --tls: every link is TLS, by a certificate that is
 * written to FILE. It dies with the process that has started it.
 *
 * While it only swallows publishes or acks it lets the kernel gather some before it wakes up, as a busy broker behind a network
 * would find them: else both sides paid for a wake-up per write.
 */
#include "fake_amqp.h"
#include "fake_tls.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE        (1u << 20)
#define READS_IN_A_ROW   16
#define SENT_IN_A_ROW    (8u << 20)
#define DROPPED_MIN      65536 /* of a body: from here on the kernel drops it without a copy */
#define GATHERED_PUBLISH 65536 /* octets before we wake up ... */
#define GATHERED_CONFIRM 16384 /* ... somebody waits for the confirms */
#define GATHERED_ACK     4096
#define PATIENCE_MS      2 /* and how long we wait for that many */

typedef struct link {
    int fd;
    struct ssl_st *tls; /* NULL: as it is */
    fake_peer_t peer;
    uint8_t *kept; /* the beginning of a frame */
    size_t kept_size, kept_capacity;
    bool is_patient, awaits_room;
    struct link *next, **place; /* among the patient ones */
} link_t;

static int poller;
static bool is_spinning, is_tls;
static uint16_t heartbeat_s;
static link_t *patient;
static uint8_t *buffer;

static void die(const char *what) {
    fprintf(stderr, "fake-broker: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---------------------------------------------------------------- writing */

static void watch(link_t *link, bool for_room) {
    struct epoll_event event = { .events = EPOLLIN | (for_room ? EPOLLOUT : 0), .data.ptr = link };
    if (for_room == link->awaits_room) return;
    if (epoll_ctl(poller, EPOLL_CTL_MOD, link->fd, &event) < 0) die("epoll_ctl");
    link->awaits_room = for_room;
}

/* Returns 1 when all is sent, 0 when there is no room, -1 when the peer is gone. */
static int send_octets(link_t *link, octets_t *octets) {
    while (octets->sent < octets->size) {
        const uint8_t *rest = octets->data + octets->sent;
        size_t size = octets->size - octets->sent;
        ssize_t n = link->tls != NULL ? fake_tls_send(link->tls, rest, size) : send(link->fd, rest, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN ? 0 : -1;
        octets->sent += (size_t)n;
    }
    return 1;
}

/* Returns false when the peer is gone. */
static bool write_all(link_t *link) {
    int rc = send_octets(link, &link->peer.out);
    size_t sent = 0;
    while (rc == 1 && sent < SENT_IN_A_ROW && fake_restock(&link->peer)) {
        sent += link->peer.stock.size - link->peer.stock.sent;
        rc = send_octets(link, &link->peer.stock);
    }
    watch(link, rc == 0 || sent >= SENT_IN_A_ROW);
    return rc >= 0;
}

/* ---------------------------------------------------------------- reading */

static void become_patient(link_t *link) {
    const fake_peer_t *peer = &link->peer;
    bool consumes = peer->stock_unit > 0;
    if (link->is_patient || is_spinning || peer->is_echo || (!peer->is_publishing && !consumes)) return;
    int size = consumes ? GATHERED_ACK : peer->confirms != NULL ? GATHERED_CONFIRM : GATHERED_PUBLISH;
    setsockopt(link->fd, SOL_SOCKET, SO_RCVLOWAT, &size, sizeof size);
    link->is_patient = true;
    link->next = patient;
    link->place = &patient;
    if (patient != NULL) patient->place = &link->next;
    patient = link;
}

static void keep(link_t *link, const uint8_t *octets, size_t size) {
    if (size > link->kept_capacity) {
        link->kept_capacity = size + 4096;
        link->kept = realloc(link->kept, link->kept_capacity);
        if (link->kept == NULL) die("memory");
    }
    if (size > 0) memcpy(link->kept, octets, size);
    link->kept_size = size;
}

/* Returns false for no AMQP. */
static bool take(link_t *link, size_t size) {
    size_t used = fake_take(&link->peer, buffer, size);
    if (used == SIZE_MAX) {
        fprintf(stderr, "fake-broker: that was no AMQP\n");
        return false;
    }
    keep(link, buffer + used, size - used);
    fake_rest(&link->peer);
    become_patient(link);
    return true;
}

/* 1: more may come at once, 0: not now, -1: the peer is gone. */
static int read_once(link_t *link) {
    bool drops = link->peer.skip > DROPPED_MIN && !link->peer.is_echo && link->kept_size == 0 && link->tls == NULL;
    size_t begin = drops ? 0 : link->kept_size;
    size_t wanted = drops ? link->peer.skip - 1 : READ_SIZE - begin;
    ssize_t n = link->tls != NULL ? fake_tls_recv(link->tls, buffer + begin, wanted)
                                  : recv(link->fd, buffer + begin, wanted, drops ? MSG_TRUNC : 0);
    if (n < 0 && errno == EINTR) return 1;
    if (n <= 0) return n < 0 && errno == EAGAIN ? 0 : -1;
    if (drops) {
        link->peer.skip -= (size_t)n;
        return 1;
    }
    if (begin > 0) memcpy(buffer, link->kept, begin);
    if (!take(link, begin + (size_t)n)) return -1;
    return (size_t)n == wanted;
}

/* Returns false when it is over. What TLS has read ahead nobody would tell us of again. */
static bool read_some(link_t *link) {
    int rc = 1;
    for (int i = 0; (i < READS_IN_A_ROW || link->tls != NULL) && rc == 1; i++) rc = read_once(link);
    if (rc < 0 || (!link->awaits_room && !write_all(link))) return false;
    return !link->peer.is_leaving || link->peer.out.sent < link->peer.out.size;
}

/* ---------------------------------------------------------------- links */

static void end_link(link_t *link) {
    if (link->is_patient) {
        *link->place = link->next;
        if (link->next != NULL) link->next->place = link->place;
    }
    fake_tls_free(link->tls);
    close(link->fd);
    fake_free(&link->peer);
    free(link->kept);
    free(link);
}

static void accept_links(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        link_t *link = calloc(1, sizeof *link);
        if (link == NULL) die("memory");
        link->fd = fd;
        if (is_tls) link->tls = fake_tls_new(fd);
        link->peer.heartbeat_s = heartbeat_s;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = link };
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
    }
}

static void serve(link_t *link, uint32_t events) {
    bool is_alive = !(events & EPOLLOUT) || write_all(link);
    if (is_alive && (events & ~(uint32_t)EPOLLOUT)) is_alive = read_some(link);
    if (!is_alive) end_link(link);
}

/* Less than they gather has come, and no more does. */
static void serve_patient_ones(void) {
    for (link_t *link = patient, *next; link != NULL; link = next) {
        next = link->next;
        serve(link, EPOLLIN);
    }
}

static void run(int listener) {
    struct epoll_event events[256];
    for (;;) {
        int count = epoll_wait(poller, events, 256, is_spinning ? 0 : patient != NULL ? PATIENCE_MS : -1);
        if (count == 0) serve_patient_ones();
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                accept_links(listener);
            else
                serve(events[i].data.ptr, events[i].events);
        }
    }
}

/* Many links may come. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int listen_on(uint16_t port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0) die("socket");
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0) die("cannot listen");
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0) die("getsockname");
    struct epoll_event event = { .events = EPOLLIN };
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll");
    printf("port %u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    int at = 1;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    for (; at < argc - 1; at++) {
        if (strcmp(argv[at], "--spin") == 0)
            is_spinning = true;
        else if (strcmp(argv[at], "--heartbeat") == 0)
            heartbeat_s = (uint16_t)atoi(argv[++at]);
        else if (strcmp(argv[at], "--tls") == 0) {
            fake_tls_begin(argv[++at]);
            is_tls = true;
        } else
            break;
    }
    if (at != argc - 1) {
        fprintf(stderr, "usage: fake-broker [--spin] [--heartbeat SECONDS] [--tls FILE] PORT\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    buffer = malloc(READ_SIZE);
    if (buffer == NULL) die("memory");
    raise_file_limit();
    run(listen_on((uint16_t)atoi(argv[at])));
}
