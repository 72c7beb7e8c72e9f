/*
 * A turn: the one place where user code runs. The parser, the queues and every other room are off the stack when a callback
 * is made, so it may do anything; after each one the loop looks at the connection afresh.
 */
#include "channel.h"
#include "connection.h"
#include "deadline.h"
#include "operation.h"
#include "probes.h"
#include "reason.h"
#include "rpc.h"

/* A turn gives the loop back after so many steps, or so much time, whatever comes first: other handles want to live. */
#define TURN_STEPS      256u
#define TURN_MS         2u
#define STEPS_PER_CLOCK 16u /* reading the clock costs about 20 ns: not at every step */

/* Tell one outcome of a publish. */
static bool settle_step(lago_connection_t *conn) {
    lago_channel_t *ch = conn->settling;
    lago_publish_result_t result;
    struct confirm_slot slot;
    if (!ch) return false;
    if (!confirms_next(&ch->confirms, &result, &slot)) {
        conn->settling = NULL;
        channel_advance(ch);
        return true;
    }
    metrics_outcome(conn, result.outcome);
    PROBE4(outcome, conn, ch->number, result.sequence_number, (int)result.outcome);
    metrics_record(conn, LAGO_METRIC_CONFIRM, timeline_at(&ch->published_at, result.sequence_number));
    timeline_forget(&ch->published_at, ch->confirms.first);
    if (!slot.callback) return true;
    conn->owed_publishes--;
    watch_calling(conn, "a publish's outcome", ch->number);
    slot.callback(ch, &result, slot.data);
    return true;
}

static bool event_step(lago_connection_t *conn) {
    struct session_event event;
    if (conn->stage > STAGE_CLOSING || !session_next_event(&conn->session, &event)) return false;
    dispatch_event(conn, &event);
    return true;
}

/* One thing, the most urgent first: what was settled and what has ended is told before new events are looked at. */
static bool step(lago_connection_t *conn) {
    if (phase_step(conn)) return true;
    if (settle_step(conn) || release_step(conn) || ending_channel_step(conn) || drain_step(conn)) return true;
    if (!list_empty(&conn->lost_rpcs) && rpc_lost_step(conn)) return true;
    if (conn->stage == STAGE_ENDING) return ending_step(conn);
    return event_step(conn);
}

static void run_steps(lago_connection_t *conn) {
    uint64_t start = conn->session.now;
    for (unsigned count = 1; !conn->freed; count++) {
        watch_calling(conn, NULL, 0); /* the step says better */
        if (!step(conn)) return;
        if (conn->watch.what) watch_look(conn); /* somebody was called */
        bool late = count % STEPS_PER_CLOCK == 0 && transport_now_ms(&conn->transport) - start >= TURN_MS;
        if (count < TURN_STEPS && !late) continue;
        conn->turn_wanted = true;
        return;
    }
}

static void run_timers(lago_connection_t *conn) {
    uint64_t now = conn->session.now; /* what callbacks set from here on is for a later turn */
    struct timer_node *node;
    /* in an end everybody is told of that end, in its order */
    while (!conn->freed && conn->stage < STAGE_ENDING && (node = timers_expired(&conn->timers, now)) != NULL) {
        struct deadline *deadline = LIST_ENTRY(node, struct deadline, node);
        metrics_record(conn, LAGO_METRIC_LOOP_LAG, node->deadline * 1000u);
        watch_calling(conn, "a timer", 0);
        deadline->passed(conn, deadline);
        watch_look(conn);
    }
}

static void tick(lago_connection_t *conn) {
    uint64_t now = conn->session.now;
    if (!conn->link_up || conn->stage > STAGE_CLOSING || now < session_deadline(&conn->session)) return;
    metrics_record(conn, LAGO_METRIC_LOOP_LAG, session_deadline(&conn->session) * 1000u);
    bool unread = session_is_overdue(&conn->session, now) && conn->transport.ops->unread(conn->transport.self);
    if (session_wants_look(&conn->session, now)) link_look(conn);
    session_tick(&conn->session, now, unread);
}

void link_turn(lago_connection_t *conn) {
    if (conn->stage >= STAGE_FINISHING) return;
    link_enter(conn);
    watch_turn(conn);
    conn->turn_wanted = false;
    if (conn->stage == STAGE_DIALING && conn->dial.step == DIAL_IDLE) dial_start(conn);
    run_timers(conn);
    if (!conn->freed) tick(conn);
    run_steps(conn);
    if (!conn->freed && conn->stage == STAGE_CLOSING) closing_advance(conn);
    if (!conn->freed && conn->link_up) session_reading(&conn->session, !session_has_input(&conn->session), conn->session.now);
    link_leave(conn);
}
