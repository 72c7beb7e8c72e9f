/*
 * A peer on the test's own loop: listens on a free port of the loopback or at a path, alone or behind TLS, and does with its one
 * or more clients as told. Its bytes are the clients' plaintext, also when there is TLS between.
 */
#ifndef LAGO_TESTS_PEER_H
#define LAGO_TESTS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define PEER_CLIENTS_MAX 32
#define PEER_KEPT        65536u /* bytes it remembers */

struct peer;
struct peer_tls;

union peer_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct peer_client {
    union peer_handle uv;
    struct peer *peer;
    struct peer_tls *tls; /* NULL: none is between */
    uint8_t *pending;     /* not handed to the kernel yet */
    size_t pending_size;
    size_t sent_size; /* on the wire */
    bool writing;
};

struct peer {
    union peer_handle listener;
    struct peer_client clients[PEER_CLIENTS_MAX];
    int client_count;
    int secure_count;            /* with how many of them TLS is up */
    uint8_t received[PEER_KEPT]; /* the first ones */
    size_t received_size;        /* of all */
    size_t wire_size;            /* with what TLS makes of them */
    bool echo;                   /* send back what comes */
    bool reset;                  /* answer the first bytes with an RST */
    bool asleep;                 /* do not read (but what TLS needs to get up) */
    bool one_by_one;             /* each byte of the wire in a segment of its own */
    bool one_byte_records;       /* each byte in a record of its own */
    size_t cut_at;               /* hang up without a word before this byte of the wire, from 1; 0: never */
    bool is_unix, is_tls;
    bool is_open;      /* it listens */
    bool refused_tls;  /* a client's handshake or record was bad, or it sent an alert */
    bool closed;       /* the last client has hung up */
    bool said_goodbye; /* by close_notify before it */
    int last_status;   /* and how: UV_EOF, UV_ECONNRESET */
    char url[128];     /* "127.0.0.1:port", "/path:0" */
    char host[100];    /* and its parts */
    uint16_t port;
    void (*on_client)(struct peer *peer);
    void *data;
};

/* On this address. Or, with is_unix, at a path of its own; `ip` is NULL then. */
void peer_listen(struct peer *peer, uv_loop_t *loop, const char *ip);
void peer_listen_on(struct peer *peer, uv_loop_t *loop, int fd); /* a socket that is bound */
void peer_read(struct peer *peer);                               /* wake up */
void peer_write(struct peer *peer, int client, const void *data, size_t size);
void peer_spoil(struct peer *peer, int client);      /* TLS: a record that nobody has encrypted */
void peer_renew_keys(struct peer *peer, int client); /* TLS: KeyUpdate, and the client shall do so too */

/* Everything; idempotent. TLS says goodbye. */
void peer_close(struct peer *peer);
void peer_leave(struct peer *peer, int client); /* FIN; TLS says goodbye */
void peer_cut(struct peer *peer, int client);   /* FIN, without a goodbye */
void peer_abort(struct peer *peer, int client); /* RST, where there is such a thing */
bool peer_is_gone(const struct peer *peer, int client);

/* Run the loop until *flag (or *count >= wanted); fails the test if it takes long. */
void run_until(uv_loop_t *loop, const bool *flag);
void run_until_count(uv_loop_t *loop, const int *count, int wanted);
void run_until_size(uv_loop_t *loop, const size_t *size, size_t wanted);

/* Some turns, as many as loopback traffic and its answers need when nothing more shall come. */
void run_a_while(uv_loop_t *loop);

/* Whether "localhost" has an address here: a bare system may have no /etc/hosts. */
bool peer_has_localhost(void);

/* The loop ends by itself and closes. */
void run_to_end(uv_loop_t *loop);

/* Descriptors of this process; the same before and after, whatever happened in between. */
int open_descriptors(void);

#endif
