/*
 * The broker's side of AMQP, as far as a benchmark needs it: octets in, octets out. It checks little and remembers less, so that
 * what is measured is the client. Knows no socket.
 *
 * What a peer is depends on the queue that it consumes:
 *   "src.COUNT.SIZE"  it gets COUNT messages with bodies of SIZE octets, as fast as it takes them
 *   any other         what it publishes comes back to it
 *   none              what it publishes is counted and forgotten
 */
#ifndef LAGO_TESTS_BENCH_FAKE_AMQP_H
#define LAGO_TESTS_BENCH_FAKE_AMQP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_FRAME_MAX   131072u
#define FAKE_CHANNEL_MAX 2047u

typedef struct octets {
    uint8_t *data;
    size_t size, capacity;
    size_t sent; /* of them */
} octets_t;

/* Publishes of a channel that wants confirms. */
typedef struct confirms {
    bool wanted;
    uint64_t published, confirmed;
} confirms_t;

typedef struct fake_peer {
    octets_t out;
    bool is_greeted, is_leaving, is_echo, is_publishing;
    uint16_t heartbeat_s;
    confirms_t *confirms;    /* by channel; NULL until somebody wants some */
    uint16_t unconfirmed_on; /* the channel that published last */
    uint64_t body_left;      /* of the message that is being published */
    size_t skip;             /* octets of a body frame that are still to come, its end included */
    uint16_t body_on;        /* the channel of that frame */
    char consumer_tag[256];
    uint64_t echo_tag;
    octets_t stock;              /* messages, ready to be sent */
    size_t stock_unit, stock_at; /* of one of them, and where its delivery tag is */
    uint64_t stock_tag, stock_left;
} fake_peer_t;

/* Take what came. Returns how many octets of it were used; SIZE_MAX if that was no AMQP. */
size_t fake_take(fake_peer_t *peer, const uint8_t *octets, size_t size);

/* All that came has been taken: confirm what was published. */
void fake_rest(fake_peer_t *peer);

/* Fill the stock when it has been sent. Returns whether there is something to send. */
bool fake_restock(fake_peer_t *peer);

void fake_free(fake_peer_t *peer);

#endif
