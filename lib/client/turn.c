/*
 * A turn: the one place where user code runs. The parser, the queues and every other room are off the stack when a callback
 * is made, so it may do anything; after each one the loop looks at the connection afresh.
 */
#include "channel.h"
#include "connection.h"
#include "deadline.h"
#include "operation.h"
#include "outcomes.h"
#include "publisher.h"
#include "reason.h"
#include "rpc.h"
#include <assert.h>

/*
 * A turn gives the loop back after so many steps, or so much time, whatever comes first: other handles want to live. A row of
 * outcomes is one step. With 256 steps the loop's own system call came four times as often, for 30 us of messages.
 */
#define TURN_STEPS      1024u
#define TURN_MS         2u
#define STEPS_PER_CLOCK 16u /* reading the clock costs about 20 ns: not at every step, unless they are slow */

/* Tell some outcomes of publishes. */
static bool settle_step(lago_connection_t *conn) {
    lago_channel_t *ch = conn->settling;
    if (!ch) return false;
    watch_calling(conn, "a publish's outcome", ch->number);
    if (outcomes_step(ch, NULL)) return true;
    conn->settling = NULL;
    channel_advance(ch);
    return true;
}

static bool event_step(lago_connection_t *conn) {
    struct session_event event;
    if (!session_next_event(&conn->session, &event)) return false;
    dispatch_event(conn, &event);
    return true;
}

/* Nothing but events of the broker: the case of nearly every step. Whoever makes this false sets conn->errands. */
static bool is_quiet(const lago_connection_t *conn) {
    return !conn->settling && !conn->halted && !conn->drain_owed && conn->attempts.phase_count == 0 &&
           !lender_has_some(&conn->lender) && list_empty(&conn->ended_channels) && list_empty(&conn->lost_rpcs) &&
           list_empty(&conn->ready_publishers) && conn->stage < STAGE_ENDING && !conn->freed;
}

/* One thing, the most urgent first: what was settled and what has ended is told before new events are looked at. */
__attribute__((noinline)) static bool errand_step(lago_connection_t *conn) {
    conn->errands = !is_quiet(conn);
    if (conn->freed) return false;
    if (phase_step(conn)) return true;
    if (settle_step(conn) || release_step(conn) || ending_channel_step(conn)) return true;
    if (publisher_ready_step(conn) || drain_step(conn)) return true;
    if (rpc_lost_step(conn)) return true;
    if (conn->stage == STAGE_ENDING) return ending_step(conn);
    if (conn->halted && conn->session.state != SESSION_ENDED) return hold_step(conn);
    return event_step(conn);
}

static inline bool step(lago_connection_t *conn) {
    assert(conn->errands || is_quiet(conn));
    return conn->errands ? errand_step(conn) : event_step(conn);
}

static void run_steps(lago_connection_t *conn) {
    uint64_t start = conn->session.now, looked = start;
    unsigned called = 0; /* since the last look at the clock */
    conn->row = 2;       /* one message alone, a round trip: no look */
    for (unsigned count = 1;; count++) {
        conn->told = 1;
        if (!step(conn)) return;
        watch_after(conn);
        called += conn->told;
        if (called < conn->row) continue;
        uint64_t now = transport_now_ms(&conn->transport);
        conn->row = now > looked ? 1 : conn->row < STEPS_PER_CLOCK ? 2 * conn->row : conn->row;
        looked = now;
        called = 0;
        if (now - start >= TURN_MS) conn->hurried = true;
        if (conn->hurried || count >= TURN_STEPS) break;
    }
    conn->turn_wanted = true;
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
        watch_after(conn);
        watch_look(conn);
    }
}

static void tick(lago_connection_t *conn) {
    uint64_t now = conn->session.now;
    if (!conn->link_up || now < session_deadline(&conn->session)) return;
    metrics_record(conn, LAGO_METRIC_LOOP_LAG, session_deadline(&conn->session) * 1000u);
    bool unread = session_is_overdue(&conn->session, now) && conn->transport.ops->unread(conn->transport.self);
    if (session_wants_look(&conn->session, now)) link_look(conn);
    session_tick(&conn->session, now, unread);
}

void link_turn(lago_connection_t *conn) {
    if (conn->stage >= STAGE_FINISHING) return;
    link_enter(conn);
    watch_turn(conn);
    conn->turn_wanted = conn->hurried = false;
    if (conn->stage == STAGE_DIALING && conn->dial.step == DIAL_IDLE) dial_start(conn);
    run_timers(conn);
    if (!conn->freed) tick(conn);
    run_steps(conn);
    if (!conn->freed && conn->stage == STAGE_CLOSING) closing_advance(conn);
    bool reading = !conn->halted && !session_has_input(&conn->session);
    if (!conn->freed && conn->link_up) session_reading(&conn->session, reading, conn->session.now);
    if (reading && conn->session.blocked && conn->stage == STAGE_OPEN) dispatch_watch_blocked(conn);
    link_leave(conn);
}
