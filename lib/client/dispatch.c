/* What the broker sent, to those whom it concerns. What nobody waits for breaks the protocol. */
#include "channel.h"
#include "connection.h"
#include "operation.h"
#include "probes.h"
#include "reason.h"
#include <lago/rabbitmq.h>

static void unexpected(lago_connection_t *conn, const struct session_event *event) {
    session_fail(&conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, event->info->id, "%s that nobody asked for on channel %u",
                 event->info->name, event->channel);
}

/* Blocked too long: the link is dropped (pika's ConnectionBlockedTimeout). */
static void give_up(lago_connection_t *conn, struct deadline *self) {
    lago_reason_t reason;
    (void)self;
    reason_init(&reason, LAGO_EBLOCKED, LAGO_BY_NETWORK);
    reason.phase = LAGO_PHASE_RUNNING;
    ending_start(conn, &reason);
}

/* A late loop: so soon it has read what has come. */
#define READ_IN_MS 10u

/* Unless nobody has read whether it still is: because the application has paused, or because the loop is late. */
static void blocked_too_long(lago_connection_t *conn, struct deadline *self) {
    if (conn->halted) return; /* dispatch_watch_blocked */
    if (conn->transport.ops->unread(conn->transport.self))
        (void)deadline_set(conn, self, READ_IN_MS, give_up); /* it has just left room */
    else
        give_up(conn, self);
}

void dispatch_watch_blocked(lago_connection_t *conn) {
    if (timers_is_set(&conn->blocked_deadline.node)) return;
    if (deadline_set(conn, &conn->blocked_deadline, conn->p->blocked_connection_timeout_ms, blocked_too_long) < 0)
        log_line(&conn->env, LAGO_LOG_WARNING, "no memory to watch blocked_connection_timeout");
}

static void blocked(lago_connection_t *conn, const struct session_event *event) {
    lago_string_t why = event->args->connection_blocked.reason;
    connection_limit_output(conn);
    log_line(&conn->env, LAGO_LOG_INFO, "the broker blocks publishing");
    if (!conn->blocked_since_us) {
        conn->counters.blocked_count++;
        conn->blocked_since_us = conn->clock_us;
    }
    dispatch_watch_blocked(conn);
    if (conn->options.on_blocked) conn->options.on_blocked(conn, why, conn->options.data);
}

static void unblocked(lago_connection_t *conn) {
    connection_limit_output(conn);
    deadline_cancel(conn, &conn->blocked_deadline);
    metrics_unblocked(conn);
    log_line(&conn->env, LAGO_LOG_INFO, "the broker takes publishes again");
    if (conn->options.on_unblocked) conn->options.on_unblocked(conn, conn->options.data);
}

static void confirmed(lago_connection_t *conn, lago_channel_t *ch, const struct session_event *event) {
    bool ack = event->info->id == METHOD_BASIC_ACK;
    uint64_t tag = ack ? event->args->basic_ack.delivery_tag : event->args->basic_nack.delivery_tag;
    bool multiple = ack ? event->args->basic_ack.multiple : event->args->basic_nack.multiple;
    const char *problem = NULL;
    struct confirms none, *confirms = &none;
    confirms_init(&none, conn->alloc); /* of a channel that never asked for any */
    if (ch->confirming) confirms = &ch->confirming->confirms;
    int reply = confirms_settle(confirms, tag, multiple, ack ? LAGO_PUBLISH_CONFIRMED : LAGO_PUBLISH_NACKED, &problem);
    if (reply)
        session_fail(&conn->session, LAGO_EPROTOCOL, (uint16_t)reply, event->info->id, "%s (tag %llu)", problem,
                     (unsigned long long)tag);
    else if (confirms_have_some(confirms))
        conn->settling = ch, conn->errands = true;
    else
        (void)session_brought_nothing(&conn->session, "confirms of what is settled");
    conn->watch.calling = false; /* who is called is seen when the outcomes are told */
}

/* The session has answered, and holds publishes or lets them go. */
static void flow(lago_channel_t *ch, const struct session_event *event) {
    if (ch->options.on_flow) ch->options.on_flow(ch, event->args->channel_flow.active, ch->options.data);
}

static void channel_method(lago_connection_t *conn, lago_channel_t *ch, const struct session_event *event) {
    switch (event->info->id) {
    case METHOD_BASIC_ACK:
    case METHOD_BASIC_NACK: confirmed(conn, ch, event); return;
    case METHOD_BASIC_CANCEL: consume_cancelled(ch, event); return;
    case METHOD_CHANNEL_FLOW: flow(ch, event); return;
    default: break;
    }
    if (!operation_answered(conn, ch, event)) unexpected(conn, event);
}

static inline void content(lago_connection_t *conn, lago_channel_t *ch, const struct session_event *event) {
    conn->counters.messages_received++;
    if (event->info->id == METHOD_BASIC_DELIVER)
        consume_delivered(ch, event);
    else if (event->info->id == METHOD_BASIC_RETURN)
        publish_returned(ch, event);
    else
        get_answered(ch, event);
}

/* What to do about a broker's usual verdicts on a channel (1.2, RabbitMQ's use of them); NULL: its own words must do. */
static const char *advice(const lago_reason_t *reason) {
    if (lago_reason_is_consumer_timeout(reason))
        return "a delivery was held too long: acknowledge sooner, prefetch fewer, or raise the broker's consumer_timeout";
    switch (reason->reply_code) {
    case REPLY_ACCESS_REFUSED: return "check the user's permissions, and that the name is not reserved or in exclusive use";
    case REPLY_NOT_FOUND: return "declare it first, or check its name";
    case REPLY_RESOURCE_LOCKED: return "it belongs to another connection";
    default: return NULL;
    }
}

/* The broker closed a channel, or the session did because of what came on it (then the event has the reason). */
static void channel_lost(lago_channel_t *ch, const struct session_event *event) {
    lago_reason_t reason;
    if (event->reason) {
        channel_end(ch, reason_kept(event->reason, &reason), event->publishes_sent);
        return;
    }
    const struct channel_close *args = &event->args->channel_close;
    reason_init(&reason, LAGO_ECHANNEL, LAGO_BY_BROKER);
    reason.phase = LAGO_PHASE_RUNNING;
    reason_reply(&reason, args->reply_code, args->reply_text.data, args->reply_text.size, args->class_id, args->method_id);
    const struct method_info *blamed = method_find((uint32_t)args->class_id << 16 | args->method_id);
    if (blamed) reason_detail(&reason, "channel %u closed by the broker because of %s", event->channel, blamed->name);
    if (advice(&reason)) reason_hint(&reason, "%s", advice(&reason));
    channel_end(ch, &reason, event->publishes_sent);
}

static void ended(lago_connection_t *conn, const struct session_event *event) {
    lago_reason_t room;
    const lago_reason_t *reason = reason_kept(event->reason, &room);
    if (conn->stage == STAGE_DIALING)
        dial_failed(conn, reason);
    else
        ending_start(conn, reason);
}

static void channel_event(lago_connection_t *conn, lago_channel_t *ch, const struct session_event *event) {
    switch (event->type) {
    case SESSION_EVENT_CHANNEL_OPEN: channel_opened(ch); return;
    case SESSION_EVENT_CHANNEL_CLOSE: channel_lost(ch, event); return;
    case SESSION_EVENT_CHANNEL_CLOSE_OK: channel_closed(ch, event->publishes_sent); return;
    case SESSION_EVENT_BODY_BEGIN: consume_body_begun(ch, event); return;
    case SESSION_EVENT_BODY: consume_body(ch, event); return;
    default: channel_method(conn, ch, event); return;
    }
}

static void opened(lago_connection_t *conn) {
    channels_beyond(conn, conn->session.tune.channel_max);
    session_release_held(&conn->session);
    dial_opened(conn);
}

__attribute__((noinline)) static void any_event(lago_connection_t *conn, const struct session_event *event) {
    PROBE3(event, conn, event->channel, event->info ? event->info->id : 0);
    switch (event->type) { /* unreachable: all are named */
    case SESSION_EVENT_START: login_start(conn, &event->args->connection_start); return;
    case SESSION_EVENT_SECURE: login_secure(conn, &event->args->connection_secure); return;
    case SESSION_EVENT_TUNE:
        login_tune(conn, &event->args->connection_tune);
        if (conn->session.state == SESSION_WAIT_OPEN) phase_begun(conn, LAGO_PHASE_OPEN);
        return;
    case SESSION_EVENT_OPEN: opened(conn); return;
    case SESSION_EVENT_BLOCKED: blocked(conn, event); return;
    case SESSION_EVENT_UNBLOCKED: unblocked(conn); return;
    case SESSION_EVENT_ENDED: ended(conn, event); return;
    case SESSION_EVENT_CHANNEL_OPEN:
    case SESSION_EVENT_CHANNEL_CLOSE:
    case SESSION_EVENT_CHANNEL_CLOSE_OK:
    case SESSION_EVENT_METHOD:
    case SESSION_EVENT_CONTENT: /* unreachable: a channel without an owner is left, and takes none */
    case SESSION_EVENT_BODY_BEGIN:
    case SESSION_EVENT_BODY: break;
    }
    if (event->channel == 0) {
        if (!operation_answered(conn, NULL, event)) unexpected(conn, event);
    } else if (event->owner) { /* else: the handle was freed, or its end has been told; the number waits for close-ok */
        channel_event(conn, event->owner, event);
    }
}

void dispatch_event(lago_connection_t *conn, const struct session_event *event) {
    if (event->info) watch_calling(conn, event->info->name, event->channel);
    if (event->type == SESSION_EVENT_CONTENT && event->owner) /* unreachable: a channel without an owner takes none */
        content(conn, event->owner, event);
    else
        any_event(conn, event);
}
