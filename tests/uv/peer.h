/* A TCP peer on the test's own loop: listens on a free port of the loopback, and does with its one or more clients as told. */
#ifndef LAGO_TESTS_PEER_H
#define LAGO_TESTS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define PEER_CLIENTS_MAX 8

struct peer {
    uv_tcp_t listener;
    uv_tcp_t clients[PEER_CLIENTS_MAX];
    size_t client_count;
    size_t received_size;
    bool echo;       /* send back what comes */
    bool reset;      /* answer the first bytes with an RST */
    bool asleep;     /* do not read */
    bool closed;     /* the last client has hung up */
    int last_status; /* and how: UV_EOF, UV_ECONNRESET */
    char url[64];    /* "127.0.0.1:port" */
    void (*on_client)(struct peer *peer);
    void *data;
};

void peer_listen(struct peer *peer, uv_loop_t *loop, const char *ip);
void peer_read(struct peer *peer); /* wake up */
void peer_write(struct peer *peer, size_t client, const void *data, size_t size);
void peer_close(struct peer *peer); /* everything; idempotent */

/* Run the loop until *flag (or *count >= wanted); fails the test after ten seconds. */
void run_until(uv_loop_t *loop, const bool *flag);
void run_until_count(uv_loop_t *loop, const int *count, int wanted);

/* Whether "localhost" has an address here: a bare system may have no /etc/hosts. */
bool peer_has_localhost(void);

/* The loop ends by itself and closes. */
void run_to_end(uv_loop_t *loop);

#endif
