/*
 * Goodbye in order: what was accepted leaves, its answers and confirms come, the channels close, the connection closes
 * (1.4.2.4). Each step is taken when the one before is done; the deadline ends it whatever happens.
 */
#include "alloc.h"
#include "channel.h"
#include "connection.h"
#include "reason.h"
#include <string.h>

/* It was not for the broker that it took so long. */
static void unsaid(lago_connection_t *conn) {
    lago_reason_t reason;
    reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    reason.phase = LAGO_PHASE_CLOSING;
    reason_detail(&reason, "there was no memory to say goodbye");
    ending_start(conn, &reason);
}

static void timed_out(lago_connection_t *conn, struct deadline *self) {
    lago_reason_t reason;
    (void)self;
    if (conn->closing.unsaid) {
        unsaid(conn);
        return;
    }
    reason_init(&reason, LAGO_ETIMEDOUT, LAGO_BY_NETWORK);
    reason.phase = LAGO_PHASE_CLOSING;
    bool said = conn->session.state == SESSION_CLOSING;
    reason_detail(&reason, said ? "the broker did not answer connection.close in time" : "closing took longer than allowed");
    if (conn->session.blocked) reason_hint(&reason, "the broker has the connection blocked: it reads nothing");
    ending_start(conn, &reason);
}

/* Before it is open there is nobody to say goodbye to (pika's ConnectionOpenAborted). */
static int give_up(lago_connection_t *conn) {
    lago_reason_t reason;
    reason_init(&reason, LAGO_ECLOSED, LAGO_BY_CLIENT);
    reason_detail(&reason, "closed by the application before it was open");
    ending_start(conn, &reason);
    return 0;
}

int lago_connection_close(lago_connection_t *conn, const lago_close_t *options) {
    static const lago_close_t defaults = { 0 };
    const lago_close_t *how = options ? options : &defaults;
    if (!conn) return LAGO_EINVAL;
    if (conn->stage >= STAGE_ENDING) return LAGO_ECLOSED;
    if (conn->stage == STAGE_CLOSING) return 0;
    size_t size = how->reply_text ? strlen(how->reply_text) : 0;
    if (size > UINT8_MAX) return LAGO_ETOOLONG;
    connection_touch(conn);
    if (conn->stage == STAGE_DIALING) return give_up(conn);
    uint32_t timeout_ms = how->timeout_ms ? how->timeout_ms : conn->p->close_timeout_ms;
    char *text = how->reply_text ? mem_copy(conn->alloc, how->reply_text, size) : NULL;
    if ((how->reply_text && !text) || deadline_set(conn, &conn->closing.deadline, timeout_ms, timed_out) < 0) {
        mem_free(conn->alloc, text);
        return LAGO_ENOMEM;
    }
    conn->closing.reply_text = text;
    conn->closing.reply_code = how->reply_code ? how->reply_code : REPLY_SUCCESS;
    conn->closing.await_confirms = !how->no_await_confirms;
    connection_halt(conn, HALT_PAUSED, false);
    for (struct list *node = conn->channels.next; node != &conn->channels; node = node->next)
        hold_drop_all(LIST_ENTRY(node, lago_channel_t, in_connection), true); /* before the stage: see lago_channel_close */
    connection_set_stage(conn, STAGE_CLOSING);
    connection_wake(conn, true);
    return 0;
}

/* The channels of a closing connection close as if they had been asked to; from then on each goes its own way. */
static void close_channels(lago_connection_t *conn) {
    for (struct list *node = conn->channels.next; node != &conn->channels; node = node->next) {
        lago_channel_t *ch = LIST_ENTRY(node, lago_channel_t, in_connection);
        if (ch->state == LAGO_CHANNEL_CLOSED) continue;
        if (ch->state != LAGO_CHANNEL_CLOSING) {
            channel_enter(ch, LAGO_CHANNEL_CLOSING);
            ch->reply_code = conn->closing.reply_code;
            ch->await_confirms = conn->closing.await_confirms;
            deadline_cancel(conn, &ch->deadline); /* the connection's deadline rules now */
        }
        channel_advance(ch);
    }
    conn->closing.channels_asked = true;
}

void closing_advance(lago_connection_t *conn) {
    if (conn->session.state != SESSION_OPEN) return;
    if (!conn->closing.channels_asked) close_channels(conn);
    if (conn->owed_channels > 0 || !list_empty(&conn->ended_channels)) return;
    if (!list_empty(&conn->session.held) || !list_empty(&conn->operations)) return;
    const char *text = conn->closing.reply_text ? conn->closing.reply_text : "Normal shutdown";
    conn->closing.unsaid = session_close(&conn->session, conn->closing.reply_code, text) < 0;
    if (conn->closing.unsaid)
        session_retry(&conn->session); /* without memory now: the turn of that tick says it */
    else
        connection_wake(conn, false);
}
