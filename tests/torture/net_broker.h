/*
 * The answering broker of tests/client on sockets, without libuv and without threads: whoever runs the client's loop serves it
 * between two turns, so that nothing of what is made to fail is the broker's. It reads frames from the wire, plain, behind a proxy's
 * greeting or behind TLS, tells the judge of the conversation what passes, and answers.
 */
#ifndef TORTURE_NET_BROKER_H
#define TORTURE_NET_BROKER_H

#include "broker.h"
#include "conversation.h"
#include "peer_tls.h"
#include <stdbool.h>
#include <stdint.h>

#define NET_CLIENTS 8

struct net_client {
    int fd; /* -1: gone */
    struct peer_tls *tls;
    bool greeted; /* a proxy: the way is open */
    bool linked;  /* its bytes are the conversation */
    uint8_t *out;
    size_t out_size;
    uint8_t *in; /* plaintext that is no whole frame yet */
    size_t in_size;
};

struct net_broker {
    struct broker script;
    struct conversation *wire; /* NULL: nobody judges */
    bool is_tls, is_socks, is_http;
    bool asleep;     /* does not read */
    size_t cut_at;   /* reset the link behind so many bytes that came; 0: never */
    size_t received; /* of all */
    int listener;
    char path[100]; /* of a Unix socket, or "" */
    uint16_t port;
    struct net_client clients[NET_CLIENTS];
    int client_count;
    size_t answered; /* bytes */
};

void net_broker_open(struct net_broker *b, bool is_unix);
void net_broker_close(struct net_broker *b);

/* Hear what has come, and let go of everybody. */
void net_broker_drop(struct net_broker *b);

/* Whatever there is to do without waiting; @return whether there was anything. */
bool net_broker_serve(struct net_broker *b);

/* Its descriptors, for who waits. */
struct pollfd;
size_t net_broker_fds(const struct net_broker *b, struct pollfd *fds, size_t max);

/* A connected socket to it. */
int net_broker_socket(const struct net_broker *b);

/* Frames of its own. */
void net_broker_say(struct net_broker *b, const char *lines);

#endif
