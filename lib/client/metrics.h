/* The histograms of a connection: made when the second duration of their kind comes, and no longer than they need to be. */
#ifndef LAGO_CLIENT_METRICS_H
#define LAGO_CLIENT_METRICS_H

#include <lago/basic.h>
#include <lago/context.h>
#include <lago/observe.h>

/* Publishes and deliveries are dated to this: 10 entries a millisecond at most. */
#define METRICS_RESOLUTION_US 100u

/* As lago_histogram_t, up to the highest bucket that was needed. */
struct durations {
    uint64_t count, sum_us, max_us;
    size_t bucket_count;
    uint64_t buckets[];
};

/* Of lago_counters_t those that the session does not count. */
struct counters {
    uint64_t bytes_sent, writes;
    uint64_t messages_sent, messages_received, messages_dropped, redelivered, gets;
    uint64_t confirmed, nacked, returned, unsettled, acked, refused;
    uint64_t channels_opened, blocked_count, blocked_ms, slow_callbacks;
};

struct metrics {
    struct durations *durations[LAGO_METRIC_COUNT];
    /* The first duration, and 1: most connections pass through each phase once. 0: there is none, or it is in the histogram. */
    uint32_t firsts[LAGO_METRIC_COUNT];
    /* Deliveries held equally long: acknowledged in one turn, of one time. Not yet in their histogram. */
    struct held_run {
        uint64_t since_us, until_us, count;
    } held;
};

/* From `since_us` (0: not known, nothing is recorded) to now. Without memory it is not recorded. */
void metrics_record(lago_connection_t *conn, lago_metric_t metric, uint64_t since_us);
void metrics_record_many(lago_connection_t *conn, lago_metric_t metric, uint64_t since_us, uint64_t count);
void metrics_held_others(lago_connection_t *conn, uint64_t since_us); /* connection.h: metrics_held */
void metrics_clear(lago_connection_t *conn);

/* A publish is settled; the broker takes publishes again, or never will. */
static inline void metrics_outcome(struct counters *counters, lago_publish_outcome_t outcome) {
    switch (outcome) { /* unreachable: all are named */
    case LAGO_PUBLISH_CONFIRMED: counters->confirmed++; return;
    case LAGO_PUBLISH_NACKED: counters->nacked++; return;
    case LAGO_PUBLISH_RETURNED: counters->returned++; return;
    case LAGO_PUBLISH_NOT_SENT:
    case LAGO_PUBLISH_UNKNOWN: counters->unsettled++; return;
    }
}
void metrics_unblocked(lago_connection_t *conn);

#endif
