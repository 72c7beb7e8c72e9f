/*
 * What a connection is doing: counters, histograms, and a page of its state. All of it may be asked at any time in the life of the
 * handle, after the end too, and costs nothing worth mentioning while nobody asks. Thread: the loop's.
 *
 * What held the loop is told by the log: a callback of this library that ran longer than callback_limit_ms of the context, by
 * its name (but not the last one of a connection, on_close or on_open_error), and a loop that was held elsewhere, as far as a
 * timer of the connection came late by that.
 */
#ifndef LAGO_OBSERVE_H
#define LAGO_OBSERVE_H

#include <lago/connection.h>
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- counters */

/** Totals since lago_connect, but for the last two. */
typedef struct lago_counters {
    uint64_t bytes_sent, bytes_received;
    uint64_t writes; /* in so many calls of the kernel that took bytes */
    uint64_t frames_sent, frames_received;
    uint64_t heartbeats_sent, heartbeats_received;
    uint64_t messages_sent;     /* publishes accepted */
    uint64_t messages_received; /* deliveries, gets and returns */
    uint64_t messages_dropped;  /* deliveries that raced a cancel or a close */
    uint64_t redelivered;       /* of those received */
    uint64_t gets;              /* of those received: the answers of basic.get */
    /* outcomes of publishes on confirming channels */
    uint64_t confirmed, nacked, returned;
    uint64_t unsettled; /* the link or channel ended first: not sent, or unknown */
    /* deliveries settled by this side, each message of a `multiple` counted */
    uint64_t acked;   /* basic.ack */
    uint64_t refused; /* basic.nack, basic.reject */
    uint64_t channels_opened;
    uint64_t blocked_count;  /* connection.blocked */
    uint64_t blocked_ms;     /* the time that this took, up to now */
    uint64_t slow_callbacks; /* longer than callback_limit_ms */
    uint64_t channels;       /* open now */
    uint64_t consumers;      /* now; those too whose consume-ok or cancel-ok is awaited */
} lago_counters_t;

/** All zero for NULL. */
LAGO_EXPORT lago_counters_t lago_connection_counters(const lago_connection_t *conn);

/* ---------------------------------------------------------------- histograms */

/* What is measured, in microseconds. */
typedef enum lago_metric {
    LAGO_METRIC_RESOLVE,   /* looking the host up */
    LAGO_METRIC_CONNECT,   /* TCP, an address */
    LAGO_METRIC_TLS,       /* its handshake; empty on plain links */
    LAGO_METRIC_HANDSHAKE, /* AMQP: protocol header to tune */
    LAGO_METRIC_OPEN,      /* AMQP: tune-ok to connection.open-ok */
    LAGO_METRIC_OPERATION, /* the call of an operation to its answer */
    LAGO_METRIC_CONFIRM,   /* the call of a publish to the broker's ack or nack */
    LAGO_METRIC_ACK_HOLD,  /* a delivery to the call that settles it; a `multiple` counts once, by its oldest */
    LAGO_METRIC_LOOP_LAG   /* how late this connection's timers were called */
} lago_metric_t;
#define LAGO_METRIC_COUNT 9

/** "connect", "ack_hold" ... @return A static string; "unknown" for no metric. Thread: any. */
LAGO_EXPORT const char *lago_metric_name(lago_metric_t metric);

#define LAGO_HISTOGRAM_BUCKETS 40

/** Bucket 0 counts durations of 0 us, bucket b those from 2^(b-1) to 2^b - 1 us; the last one all above (3 days). */
typedef struct lago_histogram {
    uint64_t count, sum_us, max_us;
    uint64_t buckets[LAGO_HISTOGRAM_BUCKETS];
} lago_histogram_t;

/**
 * Ask for a histogram. Publishes and deliveries are dated to 0.1 ms, and more coarsely when many lie open for long: their
 * durations may come out too long by 0.1 ms or a 16th, never too short.
 *
 * @param histogram  Filled; all zero if nothing was measured yet.
 * @return 0, or LAGO_EINVAL (NULL, no such metric).
 */
LAGO_EXPORT int lago_connection_histogram(const lago_connection_t *conn, lago_metric_t metric, lago_histogram_t *histogram);

/**
 * An upper bound of the duration that a share of all did not exceed, less than twice the true one.
 *
 * @param q  0.0 to 1.0: 0.99 is the 99th percentile.
 * @return Microseconds; 0 for an empty histogram or NULL. Thread: any.
 */
LAGO_EXPORT uint64_t lago_histogram_quantile(const lago_histogram_t *histogram, double q);

/* ---------------------------------------------------------------- the dump */

/**
 * One readable page: the connection, its channels (the first 64) with what waits and for how long, their consumers (the first
 * 16 of each). For people: its form may change. No credentials; names are escaped.
 *
 * @param buffer  Filled with a NUL-terminated text of lines, cut short if `size` is too small. May be NULL when `size` is 0.
 * @return How many bytes the whole text has, as snprintf counts.
 */
LAGO_EXPORT size_t lago_connection_dump(const lago_connection_t *conn, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
