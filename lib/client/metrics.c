/* Counters and histograms as they are asked for. */
#include "metrics.h"
#include "alloc.h"
#include "channel.h"
#include "histogram.h"
#include <string.h>

/* What idle connections measure, a timer now and then, stays within some hundred microseconds. */
#define BUCKETS_STEP 4u

static bool reach(lago_connection_t *conn, struct durations **durations, unsigned bucket) {
    struct durations *d = *durations;
    size_t before = d ? d->bucket_count : 0, after = ((size_t)bucket / BUCKETS_STEP + 1) * BUCKETS_STEP;
    struct durations *longer = mem_resize(conn->alloc, d, 1, sizeof(*d) + after * sizeof(d->buckets[0]));
    if (!longer) return false;
    if (!d) *longer = (struct durations){ 0 };
    memset(longer->buckets + before, 0, (after - before) * sizeof(d->buckets[0]));
    longer->bucket_count = after;
    *durations = longer;
    return true;
}

static void add(lago_connection_t *conn, struct durations **durations, uint64_t us, uint64_t count) {
    unsigned bucket = histogram_bucket(us);
    if ((!*durations || bucket >= (*durations)->bucket_count) && !reach(conn, durations, bucket)) return;
    struct durations *d = *durations;
    d->count += count;
    d->sum_us += us * count;
    if (us > d->max_us) d->max_us = us;
    d->buckets[bucket] += count;
}

static void record(lago_connection_t *conn, lago_metric_t metric, uint64_t since_us, uint64_t until_us, uint64_t count) {
    struct metrics *m = &conn->metrics;
    if (since_us == 0) return;
    uint64_t us = until_us > since_us ? until_us - since_us : 0;
    if (!m->durations[metric] && m->firsts[metric] == 0 && count == 1 && us < UINT32_MAX) {
        m->firsts[metric] = (uint32_t)us + 1;
        return;
    }
    if (m->firsts[metric]) add(conn, &m->durations[metric], m->firsts[metric] - 1, 1);
    if (m->durations[metric]) m->firsts[metric] = 0;
    add(conn, &m->durations[metric], us, count);
}

void metrics_record_many(lago_connection_t *conn, lago_metric_t metric, uint64_t since_us, uint64_t count) {
    record(conn, metric, since_us, conn->clock_us, count);
}

void metrics_record(lago_connection_t *conn, lago_metric_t metric, uint64_t since_us) {
    record(conn, metric, since_us, conn->clock_us, 1);
}

void metrics_held_others(lago_connection_t *conn, uint64_t since_us) {
    struct held_run *run = &conn->metrics.held;
    record(conn, LAGO_METRIC_ACK_HOLD, run->since_us, run->until_us, run->count);
    *run = (struct held_run){ since_us, conn->clock_us, 1 };
}

void metrics_clear(lago_connection_t *conn) {
    for (unsigned i = 0; i < LAGO_METRIC_COUNT; i++) {
        mem_free(conn->alloc, conn->metrics.durations[i]);
        conn->metrics.durations[i] = NULL;
    }
}

void metrics_unblocked(lago_connection_t *conn) {
    if (conn->blocked_since_us) conn->counters.blocked_ms += (conn->clock_us - conn->blocked_since_us) / 1000u;
    conn->blocked_since_us = 0;
}

const char *lago_metric_name(lago_metric_t metric) {
    static const char *const names[] = { "resolve",   "connect", "tls",      "handshake", "open",
                                         "operation", "confirm", "ack_hold", "loop_lag" };
    return (unsigned)metric < LAGO_METRIC_COUNT ? names[metric] : "unknown";
}

static void copy(const struct durations *d, lago_histogram_t *histogram) {
    if (!d) return;
    histogram->count = d->count;
    histogram->sum_us = d->sum_us;
    histogram->max_us = d->max_us;
    memcpy(histogram->buckets, d->buckets, d->bucket_count * sizeof(d->buckets[0]));
}

int lago_connection_histogram(const lago_connection_t *conn, lago_metric_t metric, lago_histogram_t *histogram) {
    if (!histogram) return LAGO_EINVAL;
    *histogram = (lago_histogram_t){ 0 };
    if (!conn || (unsigned)metric >= LAGO_METRIC_COUNT) return LAGO_EINVAL;
    copy(conn->metrics.durations[metric], histogram);
    if (conn->metrics.firsts[metric]) histogram_add(histogram, conn->metrics.firsts[metric] - 1);
    const struct held_run *run = &conn->metrics.held;
    if (metric == LAGO_METRIC_ACK_HOLD && run->since_us) histogram_add_many(histogram, run->until_us - run->since_us, run->count);
    return 0;
}

static void count_channels(lago_counters_t *counters, const struct list *channels) {
    for (struct list *node = channels->next; node != channels; node = node->next) {
        const lago_channel_t *ch = LIST_ENTRY(node, lago_channel_t, in_connection);
        counters->channels += ch->state == LAGO_CHANNEL_OPEN;
        if (ch->consuming) counters->consumers += ch->consuming->consumers.count;
    }
}

lago_counters_t lago_connection_counters(const lago_connection_t *conn) {
    if (!conn) return (lago_counters_t){ 0 };
    const struct counters *own = &conn->counters;
    lago_counters_t counters = { .bytes_sent = own->bytes_sent,
                                 .writes = own->writes,
                                 .messages_sent = own->messages_sent,
                                 .messages_received = own->messages_received,
                                 .messages_dropped = own->messages_dropped,
                                 .redelivered = own->redelivered,
                                 .gets = own->gets,
                                 .confirmed = own->confirmed,
                                 .nacked = own->nacked,
                                 .returned = own->returned,
                                 .unsettled = own->unsettled,
                                 .acked = own->acked,
                                 .refused = own->refused,
                                 .channels_opened = own->channels_opened,
                                 .blocked_count = own->blocked_count,
                                 .blocked_ms = own->blocked_ms,
                                 .slow_callbacks = own->slow_callbacks };
    const struct session_counters *session = &conn->session.counters;
    counters.bytes_received = session->bytes_received;
    counters.frames_sent = session->frames_sent;
    counters.frames_received = session->frames_received;
    counters.heartbeats_sent = session->heartbeats_sent;
    counters.heartbeats_received = session->heartbeats_received;
    counters.messages_dropped += session->deliveries_dropped;
    if (conn->blocked_since_us) counters.blocked_ms += (connection_clock_us(conn) - conn->blocked_since_us) / 1000u;
    count_channels(&counters, &conn->channels);
    count_channels(&counters, &conn->ended_channels);
    return counters;
}
