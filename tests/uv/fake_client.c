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

static void use_url(lago_connection_t *conn, const char *url) {
    const char *colon = strrchr(url, ':');
    snprintf(conn->host, sizeof conn->host, "%.*s", (int)(colon - url), url);
    conn->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

static void use_parameters(lago_connection_t *conn, const lago_parameters_t *p) {
    snprintf(conn->host, sizeof conn->host, "%s", p->host);
    conn->port = p->port;
    conn->tcp_options = p->tcp_options;
    conn->local_address = p->local_address;
    conn->name = p->tls != NULL ? "localhost" : NULL;
}

/* The second place, so that there is a first one without TLS. */
static int trust(const struct transport *transport, const lago_parameters_t *p) {
    lago_reason_t reason;
    return p->tls != NULL ? transport->ops->trust(transport->self, 1, p->tls, &reason) : 0;
}

int connection_new(const struct environment *environment, const struct transport *transport, const char *url,
                   const lago_connection_options_t *options, lago_connection_t **conn) {
    const lago_parameters_t *p = options->parameters;
    *conn = NULL;
    if (p == NULL && (url == NULL || strrchr(url, ':') == NULL)) return LAGO_EURL;
    int rc = p != NULL ? trust(transport, p) : 0;
    if (rc < 0) return rc;
    lago_connection_t *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->environment = *environment;
    made->transport = *transport;
    made->given = options->stream != NULL || options->socket_fd != 0;
    if (p != NULL)
        use_parameters(made, p);
    else
        use_url(made, url);
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

static void connect_next(lago_connection_t *conn);

void link_resolved(lago_connection_t *conn, int status, size_t address_count) {
    unsigned hang_ups = conn->hang_ups;
    conn->resolved_status = status;
    conn->address_count = address_count;
    conn->address = conn->failed_count = 0;
    note(conn, FAKE_RESOLVED, status);
    if (status < 0) conn->down = true;
    for (size_t i = 0; status == 0 && (i == 0 || i < conn->abreast); i++)
        if (!conn->ended && conn->hang_ups == hang_ups) connect_next(conn);
}

static void connect_next(lago_connection_t *conn) {
    size_t address = conn->address++;
    if (address >= conn->address_count) return;
    conn->verb = true;
    int rc = conn->transport.ops->connect(conn->transport.self, address);
    conn->verb = false;
    if (rc < 0) link_connected(conn, address, rc);
}

static void secure(lago_connection_t *conn) {
    conn->verb = true;
    conn->securing = true;
    assert_int_equal(conn->transport.ops->secure(conn->transport.self, 0, conn->name), LAGO_EINVAL);
    assert_int_equal(conn->transport.ops->secure(conn->transport.self, 1, conn->name), 0);
    conn->verb = false;
}

void link_connected(lago_connection_t *conn, size_t address, int status) {
    unsigned hang_ups = conn->hang_ups;
    assert_false(conn->linked);
    conn->connected_status = status;
    snprintf(conn->endpoint, sizeof conn->endpoint, "%s", conn->transport.ops->endpoint(conn->transport.self, address));
    conn->linked = status == 0;
    if (status < 0 && (++conn->failed_count == conn->address_count || conn->given)) conn->down = true;
    if (status == 0) snprintf(conn->winner, sizeof conn->winner, "%s", conn->endpoint);
    conn->up = status == 0 && conn->name == NULL;
    note(conn, FAKE_CONNECTED, status);
    if (conn->ended || conn->hang_ups != hang_ups) return;
    if (status < 0)
        connect_next(conn);
    else if (conn->name != NULL)
        secure(conn);
}

void link_secured(lago_connection_t *conn, const lago_reason_t *failure) {
    assert_true(conn->securing && conn->linked && !conn->over);
    conn->securing = false;
    conn->secured_status = failure == NULL ? 0 : failure->code;
    conn->up = failure == NULL;
    conn->down = conn->over = failure != NULL;
    if (failure != NULL) conn->reason = *failure;
    note(conn, FAKE_SECURED, conn->secured_status);
}

void link_failed(lago_connection_t *conn, const lago_reason_t *reason) {
    assert_true(conn->linked && !conn->securing && !conn->over);
    conn->over = true;
    conn->reason = *reason;
    conn->failed_status = reason->code;
    note(conn, FAKE_FAILED, reason->code);
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
    assert_true(conn->wants.read && size > 0);
    assert_true(conn->linked && !conn->securing && !conn->over);
    conn->borrowed = data;
    conn->borrowed_size = size;
    if (size > conn->largest_input) conn->largest_input = size;
    note(conn, FAKE_INPUT, 0);
}

bool link_has_input(const lago_connection_t *conn) { return conn->borrowed_size > 0; }

size_t link_room(lago_connection_t *conn, uint8_t **room) {
    if (conn->room_size == 0 || !conn->up) return 0;
    assert_int_equal(conn->borrowed_size, 0);
    size_t size = conn->room_size < FAKE_ROOM_MAX ? conn->room_size : FAKE_ROOM_MAX;
    conn->received = realloc(conn->received, conn->received_size + size);
    assert_non_null(conn->received);
    *room = conn->received + conn->received_size;
    return size;
}

void link_filled(lago_connection_t *conn, const uint8_t *room, size_t size) {
    assert_true(conn->wants.read && size > 0 && size <= conn->room_size && size <= FAKE_ROOM_MAX);
    assert_ptr_equal(room, conn->received + conn->received_size);
    conn->received_size += size;
    conn->filled_size += size;
    conn->room_size -= size;
    note(conn, FAKE_INPUT, 0);
}

size_t link_read_max(const lago_connection_t *conn) { return conn->read_max > 0 ? conn->read_max : SIZE_MAX; }

void link_lost(lago_connection_t *conn, int status) {
    assert_true(conn->linked && !conn->over);
    conn->over = true;
    conn->lost_status = status;
    note(conn, FAKE_LOST, status);
}

void link_write_failed(lago_connection_t *conn, int status) {
    assert_true(conn->linked && !conn->write_failed);
    conn->write_failed = true;
    conn->write_status = status;
    note(conn, FAKE_WRITE_FAILED, status);
}

static void dial(lago_connection_t *conn) {
    const struct transport_ops *ops = conn->transport.ops;
    struct link_target target = {
        .host = conn->host, .port = conn->port, .local_address = conn->local_address, .tcp_options = &conn->tcp_options
    };
    conn->dialed = true;
    conn->verb = true;
    int rc = conn->given ? ops->adopt(conn->transport.self) : ops->resolve(conn->transport.self, &target);
    conn->verb = false;
    if (rc == 0) return;
    if (conn->given)
        link_connected(conn, 0, rc);
    else
        link_resolved(conn, rc, 0);
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
    assert_true(conn->linked && !conn->securing);
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

void fake_hang_up(lago_connection_t *conn, bool reset) {
    bool inside = conn->verb;
    conn->verb = true;
    conn->transport.ops->hang_up(conn->transport.self, reset);
    conn->verb = inside;
    conn->linked = conn->securing = conn->over = conn->write_failed = conn->up = false;
    conn->hang_ups++;
}

void fake_end(lago_connection_t *conn, bool reset) {
    const struct transport_ops *ops = conn->transport.ops;
    if (conn->ended) return;
    ops->cancel_posts(conn->transport.self);
    conn->ended = true;
    fake_hang_up(conn, reset);
    conn->verb = true;
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
