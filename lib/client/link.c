/* The link's bytes on their way up and down, and what the transport shall do next. Must not know why a link ends. */
#include "connection.h"
#include "deadline.h"
#include "probes.h"

/* Unsent bytes are not judged while a write error waits for a better reason; the peer's last words come at once or never. */
#define WRITE_ERROR_GRACE_MS 1000u

/*
 * Who has published for so long without a write, and goes on, does it into an idle link: every PUSH_SIZE the clock is looked at.
 * (Measured: with 4 MiB of 256 bytes in a callback 59 instead of 65 ns each, as what is written is still in the cache. By size alone
 * it took 17 % more at 4 KiB and 40 % at 64 KiB, which pile up in no time, and an early write wakes the reader for 5 us.)
 */
#define PUSH_SIZE ((size_t)128 * 1024)
#define PUSH_US   50u

/* The link is there, and the session does not speak yet: its bytes are dial.c's. */
static bool is_before_amqp(const lago_connection_t *conn) {
    return conn->dial.step == DIAL_PROXYING || conn->dial.step == DIAL_SECURING;
}

/* What is to be written: the proxy's, or the session's, which is empty before AMQP begins. */
static const struct chunk_queue *output_of(const lago_connection_t *conn) {
    return conn->dial.proxy ? &conn->dial.proxy->out : &conn->session.out;
}

void link_input(lago_connection_t *conn, uint8_t *data, size_t size) {
    connection_touch(conn);
    conn->touched = true; /* the turn comes at once */
    if (is_before_amqp(conn)) {
        dial_input(conn, data, size);
        connection_wake(conn, true);
        return;
    }
    if (capture_is_on(conn->env.capture)) capture_read(conn, data, size);
    session_input(&conn->session, data, size, conn->session.now);
    conn->turn_wanted = true;
}

bool link_has_input(const lago_connection_t *conn) { return !conn->torn_down && session_has_input(&conn->session); }

size_t link_room(lago_connection_t *conn, uint8_t **room) {
    return is_before_amqp(conn) || conn->torn_down ? 0 : session_room(&conn->session, room);
}

void link_filled(lago_connection_t *conn, const uint8_t *room, size_t size) {
    connection_touch(conn);
    if (capture_is_on(conn->env.capture)) capture_read(conn, room, size);
    session_filled(&conn->session, size, conn->session.now);
    conn->turn_wanted = true;
}

size_t link_read_max(const lago_connection_t *conn) {
    return is_before_amqp(conn) || conn->torn_down ? SIZE_MAX : session_read_max(&conn->session);
}

size_t link_output(const lago_connection_t *conn, struct slice *slices, size_t max) {
    return chunks_peek(output_of(conn), slices, max);
}

void link_written(lago_connection_t *conn, size_t size) {
    conn->counters.bytes_sent += size;
    conn->counters.writes++;
    PROBE2(written, conn, size);
    connection_touch(conn);
    if (conn->dial.proxy) {
        chunks_consume(&conn->dial.proxy->out, size);
        return;
    }
    if (capture_is_on(conn->env.capture)) capture_written(conn, size);
    session_written(&conn->session, size, conn->session.now);
    conn->push_at = conn->session.out.size + PUSH_SIZE;
    conn->push_since_us = 0;
    if (conn->drain_owed || conn->stage == STAGE_CLOSING || conn->session.state == SESSION_ENDED ||
        lender_has_some(&conn->lender))
        connection_wake(conn, true);
}

/*
 * It costs a look at the clock, and with a full kernel, which the transport remembers, no more than that. The link is there and AMQP
 * is spoken: else no publish would be in the output.
 */
void link_push(lago_connection_t *conn) {
    uint64_t now_us = connection_clock_us(conn);
    if (conn->push_since_us == 0) conn->push_since_us = now_us;
    conn->push_at = conn->session.out.size + PUSH_SIZE;
    if (now_us - conn->push_since_us < PUSH_US) return;
    conn->push_since_us = now_us;
    if (!conn->write_error) conn->transport.ops->push(conn->transport.self);
}

void link_lost(lago_connection_t *conn, int status) {
    connection_touch(conn);
    if (is_before_amqp(conn)) {
        dial_lost(conn, conn->write_error ? conn->write_error : status);
        connection_wake(conn, true);
        return;
    }
    capture_lost(conn);
    session_lost(&conn->session, conn->write_error ? conn->write_error : status, conn->session.now);
    connection_wake(conn, true);
}

void link_look(lago_connection_t *conn) {
    bool waiting = false;
    uint64_t taken = conn->transport.ops->taken(conn->transport.self, &waiting);
    session_looked(&conn->session, taken, waiting, conn->session.now);
}

void link_failed(lago_connection_t *conn, const lago_reason_t *reason) {
    connection_touch(conn);
    capture_lost(conn);
    session_abandon(&conn->session, reason);
    connection_wake(conn, true);
}

static void write_error_judged(lago_connection_t *conn, struct deadline *self) {
    (void)self;
    if (is_before_amqp(conn))
        dial_lost(conn, conn->write_error);
    else
        session_lost(&conn->session, conn->write_error, conn->session.now);
}

void link_write_failed(lago_connection_t *conn, int status) {
    connection_touch(conn);
    conn->write_error = status;
    if (deadline_set(conn, &conn->write_error_timer, WRITE_ERROR_GRACE_MS, write_error_judged) < 0) link_lost(conn, status);
    connection_wake(conn, false);
}

/* ---------------------------------------------------------------- what the transport should do */

/* Somebody still waits for something, or the application wants the loop kept. */
static bool keeps_alive(const lago_connection_t *conn) {
    if (conn->stage != STAGE_OPEN || conn->turn_wanted || session_output_size(&conn->session) > 0) return true;
    if (!list_empty(&conn->operations) || !list_empty(&conn->later) || conn->owed_publishes > 0 || conn->owed_channels > 0 ||
        conn->owed_calls > 0 || conn->drain_owed || conn->owed_ready > 0)
        return true;
    return conn->referenced && !conn->abandoned;
}

struct link_wants link_wants(lago_connection_t *conn) {
    struct link_wants wants = { .deadline = DEADLINE_NEVER };
    conn->touched = conn->woken = false;
    if (conn->stage >= STAGE_FINISHING) return wants;
    if (session_has_acks(&conn->session)) session_flush_acks(&conn->session);
    wants.deadline = deadline_min(timers_next(&conn->timers), conn->link_up ? session_deadline(&conn->session) : DEADLINE_NEVER);
    conn->watch.wanted_ms = wants.deadline;
    wants.turn = conn->turn_wanted;
    bool living = conn->link_up && conn->session.state != SESSION_ENDED;
    wants.read = living && !conn->halted;
    size_t unwritten = output_of(conn)->size;
    wants.write = living && !conn->write_error && unwritten > 0;
    wants.write_first = wants.write && conn->hurried;
    wants.alive = keeps_alive(conn);
    return wants;
}
