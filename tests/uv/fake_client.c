/* The scripted client. Must not know how the transport works; it checks that the transport keeps to its contract. */
#include "fake_client.h"
#include "deadline.h"
#include "pcapng.h"
#include <lago/connection.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void note(lago_connection_t *conn, enum fake_call call, int status) {
    assert_false(conn->verb);
    assert_true(!conn->ended || call == FAKE_FINISHED);
    conn->counts[call]++;
    conn->entered++;
    if (conn->hook != NULL) conn->hook(conn, call, status);
    conn->entered--;
}

int connection_new(const struct environment *environment, const struct transport *transport, const char *url,
                   const lago_connection_options_t *options, lago_connection_t **conn) {
    *conn = NULL;
    if (url == NULL || strrchr(url, ':') == NULL) return LAGO_EURL;
    lago_connection_t *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->environment = *environment;
    made->transport = *transport;
    const char *colon = strrchr(url, ':');
    snprintf(made->host, sizeof made->host, "%.*s", (int)(colon - url), url);
    made->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    made->wants = (struct link_wants){ .deadline = DEADLINE_NEVER, .turn = true, .read = true, .alive = true };
    made->data = options->data;
    *conn = made;
    return 0;
}

void *connection_transport(const lago_connection_t *conn) { return conn->transport.self; }

lago_connection_state_t lago_connection_state(const lago_connection_t *conn) {
    return conn->ended ? LAGO_CONNECTION_CLOSED : LAGO_CONNECTION_OPEN;
}

struct link_wants link_wants(lago_connection_t *conn) {
    assert_false(conn->ended);
    struct link_wants wants = conn->wants;
    wants.write = conn->output_done < conn->output_size;
    return wants;
}

void link_resolved(lago_connection_t *conn, int status, size_t address_count) {
    conn->resolved_status = status;
    conn->address_count = address_count;
    note(conn, FAKE_RESOLVED, status);
    if (status < 0 || conn->ended) return;
    conn->verb = true;
    assert_int_equal(conn->transport.ops->connect(conn->transport.self, 0), 0);
    conn->verb = false;
}

void link_connected(lago_connection_t *conn, int status, const char *endpoint) {
    conn->connected_status = status;
    snprintf(conn->endpoint, sizeof conn->endpoint, "%s", endpoint);
    note(conn, FAKE_CONNECTED, status);
    if (status == 0 || conn->ended || ++conn->address == conn->address_count) return;
    conn->verb = true;
    assert_int_equal(conn->transport.ops->connect(conn->transport.self, conn->address), 0);
    conn->verb = false;
}

static void take(lago_connection_t *conn) {
    if (conn->hold || conn->borrowed_size == 0) return;
    conn->received = realloc(conn->received, conn->received_size + conn->borrowed_size);
    assert_non_null(conn->received);
    memcpy(conn->received + conn->received_size, conn->borrowed, conn->borrowed_size);
    conn->received_size += conn->borrowed_size;
    conn->borrowed_size = 0;
}

void link_input(lago_connection_t *conn, uint8_t *data, size_t size) {
    assert_int_equal(conn->borrowed_size, 0);
    assert_true(conn->wants.read);
    conn->borrowed = data;
    conn->borrowed_size = size;
    if (size > conn->largest_input) conn->largest_input = size;
    note(conn, FAKE_INPUT, 0);
}

bool link_has_input(const lago_connection_t *conn) { return conn->borrowed_size > 0; }

void link_lost(lago_connection_t *conn, int status) {
    conn->lost_status = status;
    note(conn, FAKE_LOST, status);
}

void link_write_failed(lago_connection_t *conn, int status) {
    conn->write_status = status;
    note(conn, FAKE_WRITE_FAILED, status);
}

static void dial(lago_connection_t *conn) {
    conn->dialed = true;
    conn->verb = true;
    int rc = conn->transport.ops->resolve(conn->transport.self, conn->host, conn->port, &conn->tcp_options);
    conn->verb = false;
    if (rc < 0) link_resolved(conn, rc, 0);
}

void link_turn(lago_connection_t *conn) {
    conn->wants.turn = false;
    if (conn->wants.deadline <= transport_now_ms(&conn->transport)) conn->wants.deadline = DEADLINE_NEVER;
    if (!conn->dialed) dial(conn);
    take(conn);
    note(conn, FAKE_TURN, 0);
}

size_t link_output(const lago_connection_t *conn, struct slice *slices, size_t max) {
    size_t count = 0, done = conn->output_done;
    while (count < max && done < conn->output_size) { /* odd slices, so that partial writes end anywhere */
        size_t size = conn->output_size - done < 4093 ? conn->output_size - done : 4093;
        slices[count++] = (struct slice){ .data = conn->output + done, .size = size };
        done += size;
    }
    return count;
}

void link_written(lago_connection_t *conn, size_t size) {
    conn->output_done += size;
    assert_true(conn->output_done <= conn->output_size);
    note(conn, FAKE_WRITTEN, 0);
}

void link_finished(lago_connection_t *conn) {
    assert_true(conn->ended);
    note(conn, FAKE_FINISHED, 0);
}

void link_enter(lago_connection_t *conn) { conn->entered++; }
void link_leave(lago_connection_t *conn) { conn->entered--; }
lago_connection_t *link_handle(lago_connection_t *conn) { return conn->freed ? NULL : conn; }

void fake_send(lago_connection_t *conn, const void *data, size_t size) {
    uint8_t *output = realloc(conn->output, conn->output_size + size);
    assert_non_null(output);
    memcpy(output + conn->output_size, data, size);
    conn->output = output;
    conn->output_size += size;
    fake_wake(conn);
}

void fake_wake(lago_connection_t *conn) {
    conn->verb = true;
    conn->transport.ops->wake(conn->transport.self);
    conn->verb = false;
}

void fake_end(lago_connection_t *conn, bool reset) {
    const struct transport_ops *ops = conn->transport.ops;
    if (conn->ended) return;
    ops->cancel_posts(conn->transport.self);
    conn->ended = true;
    conn->verb = true;
    ops->hang_up(conn->transport.self, reset);
    ops->finish(conn->transport.self);
    conn->verb = false;
}

void fake_free(lago_connection_t *conn) {
    assert_int_equal(conn->counts[FAKE_FINISHED], 1);
    free(conn->received);
    free(conn->output);
    free(conn);
}

/* Whether a context's capture began is the client's to see. */
void pcapng_begin(struct pcapng *file) { file->generation++; }
