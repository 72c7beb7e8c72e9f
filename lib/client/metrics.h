/* The histograms of a connection: made when the first duration of their kind comes, so that an idle one owns none. */
#ifndef LAGO_CLIENT_METRICS_H
#define LAGO_CLIENT_METRICS_H

#include <lago/basic.h>
#include <lago/context.h>
#include <lago/observe.h>

/* Publishes and deliveries are dated to this: 10 entries a millisecond at most. */
#define METRICS_RESOLUTION_US 100u

struct metrics {
    lago_histogram_t *histograms[LAGO_METRIC_COUNT];
};

/* From `since_us` (0: not known, nothing is recorded) to now. Without memory it is not recorded. */
void metrics_record(lago_connection_t *conn, lago_metric_t metric, uint64_t since_us);
void metrics_clear(lago_connection_t *conn);

/* A publish is settled; the broker takes publishes again, or never will. */
void metrics_outcome(lago_connection_t *conn, lago_publish_outcome_t outcome);
void metrics_unblocked(lago_connection_t *conn);

#endif
