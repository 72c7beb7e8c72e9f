/*
 * The tap. What is read goes by as it came. What is written is followed frame by frame, because three methods carry secrets:
 * those are collected whole, their secret is overwritten with as many asterisks, and then they go by as well.
 */
#include "capture.h"
#include "alloc.h"
#include "connection.h"
#include "frame.h"
#include "method.h"
#include <string.h>

#define METHOD_HEAD_SIZE (FRAME_HEADER_SIZE + 4u) /* with class and method */

static void log_out(lago_connection_t *conn, const uint8_t *data, size_t size) {
    pcapng_bytes(conn->env.capture, &conn->capture->stream, PCAPNG_OUT, data, size, conn->clock_us);
}

static size_t payload_size(const uint8_t *head) {
    return (size_t)head[3] << 24 | (size_t)head[4] << 16 | (size_t)head[5] << 8 | head[6];
}

static uint32_t method_of(const uint8_t *head) {
    return (uint32_t)head[7] << 24 | (uint32_t)head[8] << 16 | (uint32_t)head[9] << 8 | head[10];
}

/* ---------------------------------------------------------------- secrets */

static bool is_secret(const uint8_t *head) {
    if (head[0] != FRAME_METHOD) return false;
    uint32_t method = method_of(head);
    return method == METHOD_CONNECTION_START_OK || method == METHOD_CONNECTION_SECURE_OK ||
           method == METHOD_CONNECTION_UPDATE_SECRET;
}

static void overwrite(lago_bytes_t secret) { memset((void *)(uintptr_t)secret.data, '*', secret.size); }

/* A frame of our own making is well-formed; one that should not be is overwritten as a whole. */
static void mask(uint8_t *frame, size_t size) {
    const struct method_info *info = NULL;
    union method_args args;
    if (method_read(frame + FRAME_HEADER_SIZE, size - FRAME_OVERHEAD, &info, &args) != 0) /* unreachable: it is well-formed */
        memset(frame + METHOD_HEAD_SIZE, '*', size - METHOD_HEAD_SIZE - FRAME_END_SIZE);
    else if (info->id == METHOD_CONNECTION_START_OK)
        overwrite(args.connection_start_ok.response);
    else if (info->id == METHOD_CONNECTION_SECURE_OK)
        overwrite(args.connection_secure_ok.response);
    else
        overwrite(args.connection_update_secret.new_secret);
}

static void secret_begin(lago_connection_t *conn) {
    struct capture *c = conn->capture;
    c->secret_capacity = payload_size(c->head) + FRAME_OVERHEAD;
    c->secret = mem_alloc(conn->alloc, c->secret_capacity);
    c->secret_size = 0;
    c->hiding = c->secret == NULL;
    if (c->hiding) {
        log_out(conn, c->head, c->head_size);
        c->passing = c->secret_capacity - c->head_size;
        return;
    }
    memcpy(c->secret, c->head, c->head_size);
    c->secret_size = c->head_size;
}

static void secret_free(lago_connection_t *conn) {
    struct capture *c = conn->capture;
    if (c->secret) mem_wipe(c->secret, c->secret_size);
    mem_free(conn->alloc, c->secret);
    c->secret = NULL;
}

static size_t secret_piece(lago_connection_t *conn, const uint8_t *data, size_t size) {
    struct capture *c = conn->capture;
    size_t missing = c->secret_capacity - c->secret_size, piece = size < missing ? size : missing;
    memcpy(c->secret + c->secret_size, data, piece);
    c->secret_size += piece;
    if (c->secret_size < c->secret_capacity) return piece;
    mask(c->secret, c->secret_size);
    log_out(conn, c->secret, c->secret_size);
    secret_free(conn);
    return piece;
}

/* ---------------------------------------------------------------- frames */

static size_t pass(lago_connection_t *conn, const uint8_t *data, size_t size) {
    static const uint8_t stars[] = "********************************";
    struct capture *c = conn->capture;
    size_t piece = size < c->passing ? size : c->passing;
    if (c->hiding && piece > sizeof(stars) - 1) piece = sizeof(stars) - 1;
    bool end = c->hiding && piece == c->passing; /* its end octet is no secret, and readers want to see it */
    if (end && piece > FRAME_END_SIZE) piece -= FRAME_END_SIZE;
    log_out(conn, c->hiding && !(end && piece == FRAME_END_SIZE) ? stars : data, piece);
    c->passing -= piece;
    if (c->passing == 0) c->hiding = false;
    return piece;
}

/* Collect what tells whether a frame has a secret. */
static size_t head_piece(lago_connection_t *conn, const uint8_t *data, size_t size) {
    struct capture *c = conn->capture;
    size_t wanted = FRAME_HEADER_SIZE;
    if (c->head_size >= FRAME_HEADER_SIZE) wanted = METHOD_HEAD_SIZE; /* of a method: else it went by */
    size_t missing = wanted - c->head_size, piece = size < missing ? size : missing;
    memcpy(c->head + c->head_size, data, piece);
    c->head_size += piece;
    if (c->head_size < FRAME_HEADER_SIZE || (c->head[0] == FRAME_METHOD && c->head_size < METHOD_HEAD_SIZE)) return piece;
    if (is_secret(c->head)) {
        secret_begin(conn);
    } else {
        log_out(conn, c->head, c->head_size);
        c->passing = payload_size(c->head) + FRAME_OVERHEAD - c->head_size;
    }
    c->head_size = 0;
    return piece;
}

static size_t preamble_piece(lago_connection_t *conn, const uint8_t *data, size_t size) {
    struct capture *c = conn->capture;
    size_t piece = size < c->preamble_left ? size : c->preamble_left;
    log_out(conn, data, piece);
    c->preamble_left -= piece;
    return piece;
}

/* A whole frame without secrets that lies in one piece goes by in one packet. */
static size_t whole_frame(lago_connection_t *conn, const uint8_t *data, size_t size) {
    if (conn->capture->head_size > 0 || size < METHOD_HEAD_SIZE || is_secret(data)) return 0;
    size_t whole = payload_size(data) + FRAME_OVERHEAD;
    if (whole > size) return 0;
    log_out(conn, data, whole);
    return whole;
}

static void follow(void *self, const uint8_t *data, size_t size) {
    lago_connection_t *conn = self;
    const struct capture *c = conn->capture;
    while (size > 0) {
        size_t done = c->preamble_left ? preamble_piece(conn, data, size)
                      : c->secret      ? secret_piece(conn, data, size)
                      : c->passing     ? pass(conn, data, size)
                                       : whole_frame(conn, data, size);
        if (done == 0) done = head_piece(conn, data, size);
        data += done;
        size -= done;
    }
}

/* ---------------------------------------------------------------- doors */

/* Whether there is a conversation in the file that is being written. One that was opened before it began is not told. */
static bool is_followed(const lago_connection_t *conn) {
    return capture_is_on(conn->env.capture) && conn->capture && conn->capture->stream.generation == conn->env.capture->generation;
}

void capture_connected(lago_connection_t *conn) {
    capture_ended(conn);
    if (!capture_is_on(conn->env.capture)) return;
    conn->capture = mem_zero(conn->alloc, 1, sizeof(*conn->capture));
    if (!conn->capture) return; /* one conversation less in the file */
    conn->capture->preamble_left = PROTOCOL_HEADER_SIZE;
    pcapng_connect(conn->env.capture, &conn->capture->stream, conn->endpoint, conn->clock_us);
}

void capture_read(lago_connection_t *conn, const uint8_t *data, size_t size) {
    if (is_followed(conn)) pcapng_bytes(conn->env.capture, &conn->capture->stream, PCAPNG_IN, data, size, conn->clock_us);
}

void capture_written(lago_connection_t *conn, size_t size) {
    if (is_followed(conn)) chunks_each(&conn->session.out, size, follow, conn);
}

void capture_lost(lago_connection_t *conn) {
    if (conn->capture) conn->capture->lost = true;
}

/* Not every way here has read the clock (free), and in the file time must not go back before what other connections wrote. */
void capture_ended(lago_connection_t *conn) {
    if (!conn->capture) return;
    secret_free(conn);
    if (is_followed(conn)) {
        uint64_t now_us = conn->transport.ops->clock(conn->transport.self) / 1000u;
        pcapng_disconnect(conn->env.capture, &conn->capture->stream, conn->capture->lost ? PCAPNG_IN : PCAPNG_OUT, now_us);
    }
    mem_free(conn->alloc, conn->capture);
    conn->capture = NULL;
}
