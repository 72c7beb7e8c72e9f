/*
 * Somebody between a client and its broker, on the test's own loop: a SOCKS5 or HTTP proxy, or a plain relay behind a Unix domain
 * socket. It carries bytes to a port of 127.0.0.1, whatever name it is asked for, and remembers what that was. The carrying is the
 * fault proxy's.
 */
#ifndef BROKER_RELAY_H
#define BROKER_RELAY_H

#include "proxy.h"

enum relay_kind { RELAY_PLAIN, RELAY_SOCKS, RELAY_HTTP };

struct relay {
    enum relay_kind kind;
    uint16_t to;          /* where it leads */
    const char *username; /* demanded, with the password; NULL: nothing is */
    const char *password; /* at HTTP: "dXNlcjpzZWNyZXQ=", as it comes */
    bool refuses;         /* lets nobody through */
    char asked[300];      /* "host:port" of the last client */
    unsigned carried;     /* clients that were let through */
    unsigned ways;        /* clients that are there */
    uint16_t port;        /* where it listens */
    char path[108];       /* or there */
    struct proxy proxy;
};

/* path NULL: on a free port of 127.0.0.1. Its handles do not keep the loop. */
void relay_start(struct relay *relay, uv_loop_t *loop, enum relay_kind kind, const char *path, uint16_t to);

/* When nobody is there any more. */
void relay_stop(struct relay *relay);

#endif
