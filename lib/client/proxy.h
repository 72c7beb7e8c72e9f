/*
 * Asking a proxy for the way to the broker: SOCKS5 (RFC 1928, RFC 1929) and HTTP CONNECT (RFC 9110, 9.3.6). Bytes in and bytes out,
 * before anything of TLS or AMQP is said. The broker's name goes to the proxy, which looks it up.
 */
#ifndef LAGO_CLIENT_PROXY_H
#define LAGO_CLIENT_PROXY_H

#include "chunks.h"
#include <lago/error.h>
#include <lago/parameters.h>

/* A proxy's answer to CONNECT, its headers included: what common servers send at most. */
#define PROXY_ANSWER_MAX 8192u

enum proxy_step { PROXY_IDLE, PROXY_GREETED, PROXY_AUTHENTICATING, PROXY_ASKED, PROXY_THROUGH };

struct proxy {
    enum proxy_step step;
    const lago_allocator_t *alloc;
    const lago_proxy_t *how; /* the parameters'; they outlive this, as does the host */
    const char *host;        /* the broker's */
    uint16_t port;
    struct chunk_queue out; /* to be sent; wiped as it goes */
    uint8_t *answer;        /* as far as it came */
    size_t answer_size;
};

/* Begin. 0 or LAGO_ENOMEM. */
int proxy_start(struct proxy *proxy, const lago_allocator_t *alloc, const lago_proxy_t *how, const char *host, uint16_t port);

/* Bytes came. @return 1: the way is free; 0: more is to come; negative: `reason` says why not. */
int proxy_input(struct proxy *proxy, const uint8_t *data, size_t size, lago_reason_t *reason);

/* Forget it. May be repeated. */
void proxy_stop(struct proxy *proxy);

#endif
