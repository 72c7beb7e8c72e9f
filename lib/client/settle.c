/* What became of deliveries: ack, nack, reject, recover (1.8.3.13 to 1.8.3.16). */
#include "channel.h"
#include "operation.h"
#include "probes.h"

/* Acks are taken until channel.close has been sent. */
static int settle_check(const lago_channel_t *ch, unsigned flags, unsigned allowed) {
    if (!ch || (flags & ~allowed)) return LAGO_EINVAL;
    bool living = ch->state != LAGO_CHANNEL_CLOSED && !ch->goodbye_sent && ch->conn->stage <= STAGE_CLOSING;
    return living ? 0 : LAGO_ECLOSED;
}

/*
 * The tag to send: RabbitMQ closes the channel (406) for a `multiple` whose tag itself is not open, so the highest open one
 * at or below it is named instead. 0, LAGO_ESTALE (none is open), LAGO_ENOMEM.
 */
static int wire_tag(lago_channel_t *ch, uint64_t tag, bool multiple, uint64_t *sent) {
    if (!ch->consuming) return LAGO_ESTALE;
    *sent = multiple ? tagset_floor(&ch->consuming->unacked, tag ? tag : UINT64_MAX) : tag;
    if (multiple) return *sent ? 0 : LAGO_ESTALE;
    int rc = tagset_isolate(&ch->consuming->unacked, tag);
    return rc == LAGO_ENOMEM ? channel_result(ch, rc) : rc;
}

/* When what is settled was delivered is of no interest any more. */
static void forget_times(struct consuming *in) {
    uint64_t lowest = tagset_lowest(&in->unacked);
    timeline_forget(&in->delivered, lowest ? lowest : in->last_delivery_tag);
}

/* `tag` is open, and can be removed. */
static int settle(lago_channel_t *ch, uint64_t tag, bool multiple, uint32_t method, const void *args) {
    connection_touch(ch->conn);
    int rc = session_send(&ch->conn->session, ch->number, method, args);
    if (rc < 0) return channel_result(ch, rc);
    PROBE5(settle, ch->conn, ch->number, tag, method, (int)multiple);
    struct consuming *in = ch->consuming;
    uint64_t oldest = multiple ? tagset_lowest(&in->unacked) : tag;
    metrics_record(ch->conn, LAGO_METRIC_ACK_HOLD, timeline_at(&in->delivered, oldest));
    size_t count = multiple ? tagset_remove_through(&in->unacked, tag) : tagset_remove(&in->unacked, tag);
    *(method == METHOD_BASIC_ACK ? &ch->conn->counters.acked : &ch->conn->counters.refused) += count;
    forget_times(in);
    connection_wake(ch->conn, false);
    return 0;
}

/* Messages that were not told yet must not be covered by a `multiple`. */
static bool holds(const lago_channel_t *ch) { return ch->consuming && ch->consuming->held_count > 0; }

/* They leave now: alone, or because the broker shall send more while what is here is worked on. */
__attribute__((noinline)) static void leave(lago_channel_t *ch) {
    struct session *session = &ch->conn->session;
    session_flush_acks(session);
    if (!ch->single_acks && session->input_size > 0) ch->conn->hurried = true, ch->conn->row = 0;
}

/* Apart, so that the usual way does not pay for their registers. */
__attribute__((noinline)) static int ack_any(lago_channel_t *ch, uint64_t tag) {
    struct consuming *in = ch->consuming;
    int rc = in ? tagset_isolate(&in->unacked, tag) : LAGO_ESTALE;
    if (rc == LAGO_ESTALE) return rc;
    if (rc == 0) rc = session_ack(&ch->conn->session, ch->number, tag, tagset_lowest_but(&in->unacked, tag));
    if (rc < 0) return channel_result(ch, rc);
    metrics_held(ch->conn, timeline_at(&in->delivered, tag));
    (void)tagset_remove(&in->unacked, tag);
    forget_times(in);
    return rc;
}

__attribute__((noinline)) static int ack_multiple(lago_channel_t *ch, uint64_t delivery_tag) {
    struct basic_ack m = { .multiple = true };
    if (holds(ch)) return hold_settle(ch, delivery_tag, LAGO_MULTIPLE, lago_basic_ack);
    int rc = wire_tag(ch, delivery_tag, true, &m.delivery_tag);
    return rc < 0 ? rc : settle(ch, m.delivery_tag, true, METHOD_BASIC_ACK, &m);
}

/* In the order of the deliveries, which comes with every message (profile: with all ways in one it took twice as long). */
static inline int ack_first(lago_channel_t *ch, uint64_t tag) {
    struct consuming *in = ch->consuming;
    int rc = session_ack(&ch->conn->session, ch->number, tag, in->unacked.size > 1 ? tag + 1 : 0);
    if (rc < 0) return channel_result(ch, rc);
    metrics_held(ch->conn, timeline_at(&in->delivered, tag));
    tagset_remove_first(&in->unacked);
    timeline_forget(&in->delivered, tag + 1);
    return rc;
}

int lago_basic_ack(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags) {
    int rc = settle_check(ch, flags, LAGO_MULTIPLE);
    if (rc < 0) return channel_result(ch, rc);
    if (flags & LAGO_MULTIPLE) return ack_multiple(ch, delivery_tag);
    lago_connection_t *conn = ch->conn;
    connection_touch_once(conn);
    bool first = ch->consuming && tagset_begins_with(&ch->consuming->unacked, delivery_tag);
    rc = first ? ack_first(ch, delivery_tag) : ack_any(ch, delivery_tag);
    if (rc < 0) return rc;
    conn->counters.acked++;
    PROBE5(settle, conn, ch->number, delivery_tag, METHOD_BASIC_ACK, 0);
    if ((unsigned)rc >= ch->consuming->ack_run_max) leave(ch);
    if (!conn->woken) connection_wake(conn, false);
    return 0;
}

int lago_basic_nack(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags) {
    bool multiple = flags & LAGO_MULTIPLE;
    int rc = settle_check(ch, flags, LAGO_MULTIPLE | LAGO_NO_REQUEUE);
    if (rc < 0) return channel_result(ch, rc);
    if (multiple && holds(ch)) return hold_settle(ch, delivery_tag, flags, lago_basic_nack);
    struct basic_nack m = { .multiple = multiple, .requeue = !(flags & LAGO_NO_REQUEUE) };
    rc = wire_tag(ch, delivery_tag, multiple, &m.delivery_tag);
    return rc < 0 ? rc : settle(ch, m.delivery_tag, multiple, METHOD_BASIC_NACK, &m);
}

int lago_basic_reject(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags) {
    int rc = settle_check(ch, flags, LAGO_NO_REQUEUE);
    if (rc < 0) return channel_result(ch, rc);
    struct basic_reject m = { .requeue = !(flags & LAGO_NO_REQUEUE) };
    rc = wire_tag(ch, delivery_tag, false, &m.delivery_tag);
    return rc < 0 ? rc : settle(ch, m.delivery_tag, false, METHOD_BASIC_REJECT, &m);
}

int lago_basic_recover(lago_channel_t *ch, const lago_basic_recover_t *args, lago_done_cb callback, void *data) {
    static const lago_basic_recover_t defaults = { 0 };
    if (!args) args = &defaults;
    if (!RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct basic_recover m = { .requeue = !args->no_requeue };
    int rc = operation_request(ch, &(struct request){ .method = METHOD_BASIC_RECOVER,
                                                      .args = &m,
                                                      .timeout_ms = args->timeout_ms,
                                                      .tell = tell_done,
                                                      .callback = (operation_callback)callback,
                                                      .data = data });
    if (rc < 0 || !ch->consuming) return rc;
    ch->consuming->is_watched = ch->consuming->recovers = true;
    hold_recovered(ch);
    (void)tagset_remove_through(&ch->consuming->unacked, UINT64_MAX);
    return 0;
}
