/*
 * A client for the transport's tests, in the place of lib/client: it dials the address of its URL ("host:port") or parameters, or
 * takes the stream of its options, asks for TLS if the parameters have it, writes what it is told to, keeps what comes, and notes
 * every call. A test changes its wishes directly, and hooks into its calls.
 */
#ifndef LAGO_TESTS_FAKE_CLIENT_H
#define LAGO_TESTS_FAKE_CLIENT_H

#include "transport.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fake_call {
    FAKE_RESOLVED,
    FAKE_CONNECTED,
    FAKE_SECURED,
    FAKE_FAILED,
    FAKE_INPUT,
    FAKE_LOST,
    FAKE_WRITE_FAILED,
    FAKE_TURN,
    FAKE_WRITTEN,
    FAKE_FINISHED
};

/* As much as a frame. */
#define FAKE_ROOM_MAX ((size_t)128 * 1024)

struct lago_connection {
    struct environment environment;
    struct transport transport;
    char host[128];
    uint16_t port;
    lago_tcp_options_t tcp_options;
    const char *local_address;
    const char *name; /* for TLS; NULL: it is not wanted */
    bool given;       /* a stream of the caller's */
    size_t abreast;   /* addresses tried side by side; 0 is 1 */
    bool dialed;
    struct link_wants wants; /* `turn` is set back by each turn, `write` is computed */
    bool hold;               /* leave input where it is */

    const uint8_t *borrowed; /* input of the transport, not taken yet */
    size_t borrowed_size;
    uint8_t *received;
    size_t received_size;
    size_t largest_input;
    size_t room_size; /* so much goes straight to where it belongs, piece by piece; 0: nothing */
    size_t filled_size;
    size_t read_max; /* of other input; 0: any */

    uint8_t *output;
    size_t output_size, output_done;

    int counts[FAKE_FINISHED + 1];
    int resolved_status, connected_status, secured_status, failed_status, lost_status, write_status;
    size_t address_count, address; /* how many there are, and have been tried */
    size_t failed_count;
    char endpoint[128];   /* the last one told of */
    char winner[128];     /* of the link */
    lago_reason_t reason; /* of link_secured or link_failed */
    bool up;              /* the link is there, and so is TLS if it was wanted */
    bool down;            /* there will be none: nothing answered, or TLS failed */
    bool over;            /* it was told that no more comes */
    int entered;
    bool ended;                          /* fake_end was called: nothing but link_finished may follow */
    bool verb;                           /* inside of a verb: no call is allowed */
    bool linked, securing, write_failed; /* of the link that is there */
    unsigned hang_ups;
    bool freed; /* what link_handle says */
    void (*hook)(lago_connection_t *conn, enum fake_call call, int status);
    void *data;
};

/* Write these bytes (copied). */
void fake_send(lago_connection_t *conn, const void *data, size_t size);

/* Change a wish, from outside of a call: then wake. */
void fake_wake(lago_connection_t *conn);

/* Drop the link, from inside of a call as well. */
void fake_hang_up(lago_connection_t *conn, bool reset);

/* End: posts, link, handles; link_finished follows. */
void fake_end(lago_connection_t *conn, bool reset);

/* Memory, after link_finished. */
void fake_free(lago_connection_t *conn);

#endif
