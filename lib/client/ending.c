/*
 * Ends: who is told what, in which order (<lago/connection.h>, first page). Nothing is told from where an end
 * is noticed; it is noted, and told one thing per step of the turn, so every callback may do anything.
 */
#include "channel.h"
#include "connection.h"
#include "operation.h"
#include "outcomes.h"
#include "probes.h"
#include "publisher.h"
#include "rpc.h"

/* ---------------------------------------------------------------- channels */

/* Somebody was told, or has nothing to fear: an end that was asked for. */
static bool is_clean(const lago_reason_t *reason) { return reason->code == LAGO_ECLOSED; }

/*
 * A channel died and nobody handles it. If that was the last thing that could ever call back, the connection no longer keeps
 * the loop: a program that only waits for it ends, after the line in the log, instead of hanging for ever.
 */
static void unhandled(lago_channel_t *ch, const lago_reason_t *reason) {
    lago_connection_t *conn = ch->conn;
    const struct callbacks *o = &conn->options;
    log_reason(&conn->env, LAGO_LOG_ERROR, NULL, reason);
    for (struct list *node = conn->channels.next; node != &conn->channels; node = node->next)
        if (LIST_ENTRY(node, lago_channel_t, in_connection)->state != LAGO_CHANNEL_CLOSED) return;
    conn->abandoned = !o->on_open && !o->on_close && !o->on_blocked && !o->on_unblocked && !o->on_drain;
}

static bool tell_end(lago_channel_t *ch) {
    const lago_reason_t *reason = lago_channel_reason(ch);
    lago_channel_end_cb told = ch->opened ? ch->options.on_close : ch->options.on_open;
    void (*free_data)(void *data) = ch->options.free_data;
    list_remove(&ch->in_connection);
    list_append(&ch->conn->channels, &ch->in_connection);
    ch->options.free_data = NULL;
    if (told)
        told(ch, reason, ch->options.data);
    else if (!is_clean(reason) && ch->conn->stage < STAGE_ENDING)
        unhandled(ch, reason);
    if (free_data) free_data(ch->options.data);
    return true;
}

static bool tell_operation(lago_channel_t *ch) {
    struct operation *op = operation_first(ch);
    if (op)
        operation_fail(op, lago_channel_reason(ch));
    else if (ch->confirming)
        confirms_end(&ch->confirming->confirms, ch->publishes_sent);
    return op != NULL;
}

static bool tell_publish(lago_channel_t *ch) { return outcomes_step(ch, lago_channel_reason(ch)) || publishers_end_step(ch); }

bool ending_channel_step(lago_connection_t *conn) {
    static bool (*const tell[])(lago_channel_t *) = {
        [CHANNEL_TELL_OPERATIONS] = tell_operation,
        [CHANNEL_TELL_CALLS] = rpc_end_step,
        [CHANNEL_TELL_PUBLISHES] = tell_publish,
        [CHANNEL_TELL_CONSUMERS] = consumers_end_step,
        [CHANNEL_TELL_END] = tell_end,
    };
    struct list *node = list_first(&conn->ended_channels);
    if (!node) return false;
    lago_channel_t *ch = LIST_ENTRY(node, lago_channel_t, in_connection);
    watch_calling(conn, "a channel's end", ch->number);
    if (!tell[ch->ending](ch)) ch->ending++; /* there is no more of its kind */
    return true;
}

/* ---------------------------------------------------------------- connections */

void ending_start(lago_connection_t *conn, const lago_reason_t *reason) {
    bool stalled = reason->code == LAGO_EHEARTBEAT || reason->code == LAGO_ESTALLED || reason->code == LAGO_ETIMEDOUT;
    bool known =
        conn->session.state == SESSION_FAILED || conn->session.state == SESSION_LEAVING; /* the first reason is the true one */
    lago_reason_t room, told = known ? *reason_kept(&conn->session.reason, &room) : *reason;
    if (told.phase == LAGO_PHASE_NONE) told.phase = connection_phase(conn);
    PROBE2(connection__end, conn, told.code);
    dial_describe(conn, &told);
    reason_keep(&conn->reason, conn->alloc, &told);
    dial_stop(conn);
    login_stop(conn);
    deadline_cancel(conn, &conn->closing.deadline);
    deadline_cancel(conn, &conn->blocked_deadline);
    deadline_cancel(conn, &conn->write_error_timer);
    metrics_unblocked(conn);
    conn->halted = 0;
    connection_hang_up(conn, stalled); /* a stalled peer must not keep the bytes in the kernel */
    session_abandon(&conn->session, &told);
    session_forget_input(&conn->session);
    connection_set_stage(conn, STAGE_ENDING);
    conn->ending = ENDING_OPERATIONS;
    connection_wake(conn, true);
}

/* The next living channel by number ends with its connection. */
static bool end_next_channel(lago_connection_t *conn) {
    lago_reason_t room;
    while ((conn->ending_channel = session_channel_next(&conn->session, conn->ending_channel)) != 0) {
        lago_channel_t *ch = session_channel_owner(&conn->session, conn->ending_channel);
        if (!ch) continue;
        channel_end(ch, reason_kept(&conn->reason, &room), session_publishes_sent(&conn->session, ch->number));
        return true;
    }
    return false;
}

bool ending_step(lago_connection_t *conn) {
    struct list *node;
    lago_reason_t room;
    watch_calling(conn, "an end", 0);
    switch (conn->ending) { /* unreachable: all are named */
    case ENDING_OPERATIONS:
        if ((node = list_first(&conn->operations)) != NULL)
            operation_fail(LIST_ENTRY(node, struct operation, in_connection), reason_kept(&conn->reason, &room));
        else
            conn->ending = ENDING_CHANNELS;
        return true;
    case ENDING_CHANNELS:
        if (!end_next_channel(conn)) conn->ending = ENDING_POSTS;
        return true;
    case ENDING_POSTS:
        conn->ending = ENDING_TIMERS;
        conn->transport.ops->cancel_posts(conn->transport.self);
        return true;
    case ENDING_TIMERS:
        if (later_cancel_step(conn)) return true;
        session_forget_output(&conn->session); /* lent bodies go back before the last word */
        conn->ending = ENDING_DONE;
        return true;
    case ENDING_DONE: break;
    }
    connection_set_stage(conn, STAGE_FINISHING);
    conn->transport.ops->finish(conn->transport.self);
    return false;
}

void ending_told(lago_connection_t *conn) {
    lago_connection_end_cb told = conn->connected_once ? conn->options.on_close : conn->options.on_open_error;
    void (*free_data)(void *data) = conn->options.free_data;
    lago_reason_t room;
    const lago_reason_t *reason = reason_kept(&conn->reason, &room);
    connection_set_stage(conn, STAGE_ENDED);
    if (conn->freed) return;
    log_reason(&conn->env, told || is_clean(reason) ? LAGO_LOG_INFO : LAGO_LOG_ERROR, NULL, reason);
    conn->options.free_data = NULL;
    if (told) told(conn, reason, conn->options.data);
    if (free_data) free_data(conn->options.data);
}
