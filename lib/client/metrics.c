/* Counters and histograms as they are asked for. */
#include "metrics.h"
#include "alloc.h"
#include "channel.h"
#include "histogram.h"

void metrics_record(lago_connection_t *conn, lago_metric_t metric, uint64_t since_us) {
    lago_histogram_t **histogram = &conn->metrics.histograms[metric];
    if (since_us == 0) return;
    if (!*histogram) *histogram = mem_zero(conn->alloc, 1, sizeof(**histogram));
    if (*histogram) histogram_add(*histogram, conn->clock_us > since_us ? conn->clock_us - since_us : 0);
}

void metrics_clear(lago_connection_t *conn) {
    for (unsigned i = 0; i < LAGO_METRIC_COUNT; i++) {
        mem_free(conn->alloc, conn->metrics.histograms[i]);
        conn->metrics.histograms[i] = NULL;
    }
}

void metrics_unblocked(lago_connection_t *conn) {
    if (conn->blocked_since_us) conn->counters.blocked_ms += (conn->clock_us - conn->blocked_since_us) / 1000u;
    conn->blocked_since_us = 0;
}

void metrics_outcome(lago_connection_t *conn, lago_publish_outcome_t outcome) {
    lago_counters_t *c = &conn->counters;
    switch (outcome) {
    case LAGO_PUBLISH_CONFIRMED: c->confirmed++; return;
    case LAGO_PUBLISH_NACKED: c->nacked++; return;
    case LAGO_PUBLISH_RETURNED: c->returned++; return;
    case LAGO_PUBLISH_NOT_SENT:
    case LAGO_PUBLISH_UNKNOWN: c->unsettled++; return;
    }
}

const char *lago_metric_name(lago_metric_t metric) {
    static const char *const names[] = { "resolve",   "connect", "tls",      "handshake", "open",
                                         "operation", "confirm", "ack_hold", "loop_lag" };
    return (unsigned)metric < LAGO_METRIC_COUNT ? names[metric] : "unknown";
}

int lago_connection_histogram(const lago_connection_t *conn, lago_metric_t metric, lago_histogram_t *histogram) {
    if (!histogram) return LAGO_EINVAL;
    *histogram = (lago_histogram_t){ 0 };
    if (!conn || (unsigned)metric >= LAGO_METRIC_COUNT) return LAGO_EINVAL;
    if (conn->metrics.histograms[metric]) *histogram = *conn->metrics.histograms[metric];
    return 0;
}

lago_counters_t lago_connection_counters(const lago_connection_t *conn) {
    if (!conn) return (lago_counters_t){ 0 };
    lago_counters_t counters = conn->counters;
    const struct session_counters *session = &conn->session.counters;
    counters.bytes_received = session->bytes_received;
    counters.frames_sent = session->frames_sent;
    counters.frames_received = session->frames_received;
    counters.heartbeats_sent = session->heartbeats_sent;
    counters.heartbeats_received = session->heartbeats_received;
    if (conn->blocked_since_us) counters.blocked_ms += (connection_clock_us(conn) - conn->blocked_since_us) / 1000u;
    for (struct list *node = conn->channels.next; node != &conn->channels; node = node->next) {
        const lago_channel_t *ch = LIST_ENTRY(node, lago_channel_t, in_connection);
        counters.channels += ch->state == LAGO_CHANNEL_OPEN;
        counters.consumers += ch->consumers.count;
    }
    return counters;
}
