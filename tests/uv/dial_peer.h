/*
 * A broker that does what it is told, on a loopback socket of the test's own loop: it says its part of the handshake up to some
 * byte, and there hangs up, resets, or falls silent; once open it beats, or not, reads, or not. It understands what comes over
 * the wire, and so much only.
 */
#ifndef LAGO_TESTS_DIAL_PEER_H
#define LAGO_TESTS_DIAL_PEER_H

#include "list.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define DIAL_PEER_WHOLE SIZE_MAX

enum dial_peer_fate { PEER_FALLS_SILENT, PEER_HANGS_UP, PEER_RESETS };

struct dial_peer_client;

struct dial_peer {
    /* What it does: set after dial_peer_start. */
    const char *start, *tune, *open_ok; /* in the words of server.h; NULL: as RabbitMQ does, with a heartbeat of 1 s */
    size_t cut;                         /* of its handshake only so many bytes go out; in the place of the next one ... */
    enum dial_peer_fate fate;           /* ... this comes. 0: when the client comes. Default: all go out */
    int spoiled_count;                  /* to so many clients, the first ones; default all */
    bool one_by_one;                    /* each byte is a segment */
    uint64_t beat_ms;                   /* once open: its heartbeats; 0: none */

    /* What has come. */
    int client_count;
    char client_ip[64]; /* the last one's */
    unsigned frames, heartbeats, publishes;
    unsigned opens; /* handshakes that came to connection.open */
    unsigned closes_answered;
    size_t received_size;  /* from the last client */
    int last_status;       /* how the last client went: UV_EOF, UV_ECONNRESET; 0: it is there */
    bool password_came;    /* "secret" was among the bytes */
    uint64_t last_said_ns; /* uv_hrtime of its last bytes */

    char ip[64];
    uint16_t port;
    char endpoint[80]; /* as lago says it */
    uv_tcp_t listener;
    uv_timer_t beat;
    struct dial_peer_client *client; /* the last one, NULL when it is gone */
    struct list clients;             /* all, until they are closed */
};

/* Listens at once; port 0: any. */
void dial_peer_start(struct dial_peer *peer, uv_loop_t *loop, const char *ip, uint16_t port);

void dial_peer_say(struct dial_peer *peer, const char *lines);
void dial_peer_hang_up(struct dial_peer *peer);
void dial_peer_reset(struct dial_peer *peer);

/* Of the last client: its socket here; whether its bytes are read; take some of what it wrote. */
int dial_peer_socket(const struct dial_peer *peer);
void dial_peer_reading(struct dial_peer *peer, bool reading);
void dial_peer_take(struct dial_peer *peer, size_t size);

/* How long the three parts of its handshake are. */
size_t dial_peer_start_size(const struct dial_peer *peer);
size_t dial_peer_tune_size(const struct dial_peer *peer);
size_t dial_peer_open_ok_size(const struct dial_peer *peer);

/* Everything of it is closed when the loop has run. */
void dial_peer_stop(struct dial_peer *peer);

#endif
