/*
 * Outcomes of publishes, told in rows: what one frame of the broker settles, or the end of a channel. The turn's step around each
 * single one took more than the telling (profile: 190 of 300 instructions). Must not know why they are as they are.
 */
#include "outcomes.h"

#include "probes.h"
#include "publisher.h"

/* So many rows as the turn tells of other things between two looks at its clock are told at once; fewer when callbacks are slow. */
#define ROWS 2u

/* Outcomes that belong to publishes of the same time. */
struct row {
    uint64_t since_us, until; /* numbers below that one */
    uint64_t count;
};

static void record(lago_connection_t *conn, const struct row *row) {
    if (row->count) metrics_record_many(conn, LAGO_METRIC_CONFIRM, row->since_us, row->count);
}

static void date(lago_channel_t *ch, struct row *row, uint64_t number) {
    if (number >= row->until) {
        record(ch->conn, row);
        row->since_us = timeline_at(&ch->confirming->published_at, number);
        row->until = timeline_next(&ch->confirming->published_at, number);
        row->count = 0;
    }
    row->count++;
}

static bool is_over(const lago_connection_t *conn, const lago_channel_t *ch) { return ch->freed || conn->freed; }

/* ---------------------------------------------------------------- runs (on_settled) */

static bool tell_run(lago_connection_t *conn) {
    if (!conn->run.publisher) return false;
    struct outcome_run run = conn->run;
    conn->run.publisher = NULL;
    run.publisher->options.on_settled(run.publisher, &run.settled, run.publisher->options.data);
    return true;
}

static bool joins(const struct outcome_run *run, const lago_publisher_t *publisher, const lago_publish_result_t *result) {
    return run->publisher == publisher && run->settled.last + 1 == result->sequence_number &&
           run->settled.outcome == result->outcome && run->settled.reply_code == result->reply_code;
}

/* What was before is told first; then this one begins or lengthens a run. */
static void add_to_run(lago_channel_t *ch, lago_publisher_t *publisher, const lago_publish_result_t *result) {
    lago_connection_t *conn = ch->conn;
    if (joins(&conn->run, publisher, result)) {
        conn->run.settled.last++;
        return;
    }
    (void)tell_run(conn);
    if (is_over(conn, ch) || !publisher->ch) return;
    conn->run.publisher = publisher;
    conn->run.settled = (lago_publisher_settled_t){ .first = result->sequence_number,
                                                    .last = result->sequence_number,
                                                    .outcome = result->outcome,
                                                    .reply_code = result->reply_code,
                                                    .reason = result->reason };
}

/* ---------------------------------------------------------------- rows */

/* Not just a callback: a message of a run, or the first one behind a run, which is told before it. */
static void tell_with_run(lago_channel_t *ch, const lago_publish_result_t *result, const struct confirm_slot *slot) {
    if (slot->owed && !slot->callback) {
        add_to_run(ch, slot->publisher, result);
        return;
    }
    bool forgotten = tell_run(ch->conn) && (is_over(ch->conn, ch) || (slot->publisher && !slot->publisher->ch));
    if (slot->callback && !forgotten) slot->callback(ch, result, slot->data);
}

bool outcomes_step(lago_channel_t *ch, const lago_reason_t *reason) {
    lago_connection_t *conn = ch->conn;
    lago_publish_result_t result;
    struct confirm_slot slot;
    struct row row = { 0 };
    unsigned count = 0, max = ROWS * conn->row;
    bool more = true;
    if (!ch->confirming) return false;
    while (count < max && !is_over(conn, ch) && (more = confirms_next(&ch->confirming->confirms, &result, &slot))) {
        count++;
        result.reason = reason;
        metrics_outcome(&conn->counters, result.outcome);
        PROBE4(outcome, conn, ch->number, result.sequence_number, (int)result.outcome);
        if (!reason) date(ch, &row, result.sequence_number);
        conn->owed_publishes -= slot.owed;
        if (slot.publisher) publisher_settled(slot.publisher);
        if (slot.callback && !conn->run.publisher)
            slot.callback(ch, &result, slot.data);
        else
            tell_with_run(ch, &result, &slot);
    }
    record(conn, &row);
    timeline_forget(&ch->confirming->published_at, confirms_oldest(&ch->confirming->confirms));
    conn->told = count > 0 ? count : 1;
    conn->watch.unlooked += conn->told - 1; /* the last of them is counted by the turn */
    return more || tell_run(conn);
}
