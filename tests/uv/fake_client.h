/*
 * A client for the transport's tests, in the place of lib/client: it dials the address of its URL ("host:port"), writes what it
 * is told to, keeps what comes, and notes every call. A test changes its wishes directly, and hooks into its calls.
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
    FAKE_INPUT,
    FAKE_LOST,
    FAKE_WRITE_FAILED,
    FAKE_TURN,
    FAKE_WRITTEN,
    FAKE_FINISHED
};

struct lago_connection {
    struct environment environment;
    struct transport transport;
    char host[64];
    uint16_t port;
    lago_tcp_options_t tcp_options;
    bool dialed;
    struct link_wants wants; /* `turn` is set back by each turn, `write` is computed */
    bool hold;               /* leave input where it is */

    const uint8_t *borrowed; /* input of the transport, not taken yet */
    size_t borrowed_size;
    uint8_t *received;
    size_t received_size;
    size_t largest_input;

    uint8_t *output;
    size_t output_size, output_done;

    int counts[FAKE_FINISHED + 1];
    int resolved_status, connected_status, lost_status, write_status;
    size_t address_count, address;
    char endpoint[128];
    int entered;
    bool ended; /* fake_end was called: nothing but link_finished may follow */
    bool verb;  /* inside of a verb: no call is allowed */
    bool freed; /* what link_handle says */
    void (*hook)(lago_connection_t *conn, enum fake_call call, int status);
    void *data;
};

/* Write these bytes (copied). */
void fake_send(lago_connection_t *conn, const void *data, size_t size);

/* Change a wish, from outside of a call: then wake. */
void fake_wake(lago_connection_t *conn);

/* End: posts, link, handles; link_finished follows. */
void fake_end(lago_connection_t *conn, bool reset);

/* Memory, after link_finished. */
void fake_free(lago_connection_t *conn);

#endif
