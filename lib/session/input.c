/*
 * The way in: bytes become frames, frames become events. The parser is lazy: it looks at the next frame only when the next
 * event is asked for, so whoever stops asking has stopped reading. What may come in which state stands in two tables; what is
 * not there breaks the protocol.
 */
#include "alloc.h"
#include "internal.h"
#include "probes.h"
#include "reason.h"
#include <string.h>

/* Before tuning: 4096 is the specification's (4.2.3), but RabbitMQ 4.1 already reckons with 8192. */
#define FRAME_MAX_BEFORE_TUNE 8192u

static const char blocks[] = "blocks and unblocks", flows[] = "stops and starts of a channel's flow";

/* ---------------------------------------------------------------- connection methods, by state (2.2.4) */

enum action { ACT_EVENT, ACT_OPEN, ACT_BLOCKED, ACT_CLOSE, ACT_CLOSE_OK };

static const struct connection_rule {
    enum session_state state;
    uint32_t method;
    enum action action;
    enum session_event_type event;
    enum session_state next;
} connection_rules[] = {
    { SESSION_WAIT_START, METHOD_CONNECTION_START, ACT_EVENT, SESSION_EVENT_START, SESSION_STARTING },
    { SESSION_WAIT_TUNE, METHOD_CONNECTION_SECURE, ACT_EVENT, SESSION_EVENT_SECURE, SESSION_SECURING },
    { SESSION_WAIT_TUNE, METHOD_CONNECTION_TUNE, ACT_EVENT, SESSION_EVENT_TUNE, SESSION_TUNING },
    { SESSION_WAIT_OPEN, METHOD_CONNECTION_OPEN_OK, ACT_OPEN, SESSION_EVENT_OPEN, SESSION_OPEN },
    { SESSION_OPEN, METHOD_CONNECTION_BLOCKED, ACT_BLOCKED, SESSION_EVENT_BLOCKED, SESSION_OPEN },
    { SESSION_OPEN, METHOD_CONNECTION_UNBLOCKED, ACT_BLOCKED, SESSION_EVENT_UNBLOCKED, SESSION_OPEN },
    { SESSION_OPEN, METHOD_CONNECTION_UPDATE_SECRET_OK, ACT_EVENT, SESSION_EVENT_METHOD, SESSION_OPEN },
    { SESSION_WAIT_START, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_STARTING, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_WAIT_TUNE, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_SECURING, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_TUNING, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_WAIT_OPEN, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_OPEN, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_CLOSING, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_CLOSING },
    { SESSION_CLOSING, METHOD_CONNECTION_CLOSE_OK, ACT_CLOSE_OK, SESSION_EVENT_ENDED, SESSION_ENDED },
    { SESSION_FAILED, METHOD_CONNECTION_CLOSE, ACT_CLOSE, SESSION_EVENT_ENDED, SESSION_LEAVING },
    { SESSION_FAILED, METHOD_CONNECTION_CLOSE_OK, ACT_CLOSE_OK, SESSION_EVENT_ENDED, SESSION_ENDED },
};

static const struct connection_rule *connection_rule_find(const struct session *s, uint32_t method) {
    for (size_t i = 0; i < sizeof(connection_rules) / sizeof(connection_rules[0]); i++)
        if (connection_rules[i].state == s->state && connection_rules[i].method == method) return &connection_rules[i];
    return NULL;
}

static void method_event(struct session *s, enum session_event_type type, uint16_t channel, const struct method_info *info,
                         struct session_event *event) {
    method_terminate(info, &s->args);
    *event = (struct session_event){ .type = type,
                                     .channel = channel,
                                     .owner = session_channel_owner(s, channel),
                                     .publishes_sent = session_publishes_sent(s, channel),
                                     .info = info,
                                     .args = &s->args };
}

/* The code that a broker's close means, by what we were doing: RabbitMQ refuses logins by 403, virtual hosts by 530. */
static int close_code(const struct session *s, uint16_t reply_code) {
    if (s->state == SESSION_WAIT_TUNE && reply_code == REPLY_ACCESS_REFUSED) return LAGO_EAUTH;
    if (s->state == SESSION_WAIT_OPEN && (reply_code == REPLY_NOT_ALLOWED || reply_code == REPLY_ACCESS_REFUSED))
        return LAGO_EACCESS;
    return LAGO_ECONNECTION;
}

/* connection.close came (1.4.2.4): answer it, write that, end with the broker's words. */
static void close_received(struct session *s, enum session_state next) {
    if (s->close_answered) return; /* else a peer that takes no answers might ask for them without end */
    s->close_answered = s->state == SESSION_CLOSING;
    const struct connection_close *args = &s->args.connection_close;
    if (s->state <= SESSION_OPEN) {
        lago_reason_t reason;
        reason_init(&reason, close_code(s, args->reply_code), LAGO_BY_BROKER);
        reason.phase = session_phase(s->state);
        reason_reply(&reason, args->reply_code, args->reply_text.data, args->reply_text.size, args->class_id, args->method_id);
        const struct method_info *blamed = method_find((uint32_t)args->class_id << 16 | args->method_id);
        if (blamed && reason.code == LAGO_ECONNECTION)
            reason_detail(&reason, "the broker closed the connection because of %s", blamed->name);
        reason_keep(&s->reason, s->alloc, &reason);
    }
    struct connection_close_ok ok = { 0 };
    bool answered = output_method(s, 0, METHOD_CONNECTION_CLOSE_OK, &ok) == 0;
    session_set_state(s, answered ? next : SESSION_ENDED);
}

/* What waited goes on. A peer that starts and stops has us pass over the rest again and again. */
static bool go_on(struct session *s, const char *starts) { return session_made_to_work(s, starts, output_release_held(s)); }

static int on_connection_method(struct session *s, const struct method_info *info, struct session_event *event) {
    const struct connection_rule *rule = connection_rule_find(s, info->id);
    if (!rule) {
        if (s->state > SESSION_OPEN) return 0; /* after a goodbye everything else is discarded (1.4.2.4) */
        session_fail(s, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, info->id, "%s came at the wrong time", info->name);
        return 0;
    }
    switch (rule->action) { /* unreachable: all are named */
    case ACT_CLOSE: close_received(s, rule->next); return 0;
    case ACT_BLOCKED:
        if (!flood_allows(s, blocks)) return 0;
        s->blocked = info->id == METHOD_CONNECTION_BLOCKED;
        break;
    case ACT_OPEN:
    case ACT_EVENT:
    case ACT_CLOSE_OK: break;
    }
    session_set_state(s, rule->next);
    if (rule->action == ACT_CLOSE_OK) return 0;
    if (rule->action == ACT_BLOCKED && !s->blocked) {
        liveness_unblocked(s);
        if (!go_on(s, blocks)) return 0;
    }
    method_event(s, rule->event, 0, info, event);
    return 1;
}

/* ---------------------------------------------------------------- channel methods */

/* What of it is too large: the message for itself, or with all the others that are under way. */
static void say_too_large(const struct session *s, uint64_t body_size, lago_reason_t *reason) {
    if (body_size > s->settings.message_size_max) {
        reason_detail(reason, "a message of %llu bytes exceeds message_size_max (%llu)", (unsigned long long)body_size,
                      (unsigned long long)s->settings.message_size_max);
        reason_hint(reason, "raise message_size_max; the message goes back to its queue");
        return;
    }
    reason_detail(reason, "a message of %llu bytes, with the others that are coming in, exceeds assembly_size_max (%llu)",
                  (unsigned long long)body_size, (unsigned long long)s->settings.assembly_size_max);
    reason_hint(reason, "raise assembly_size_max; the message goes back to its queue");
}

/* A message larger than a cap: the channel ends by 311; what is still under way for it is dropped, nothing is allocated. */
static int too_large(struct session *s, struct session_channel *ch, struct session_event *event) {
    lago_reason_t reason;
    reason_init(&reason, LAGO_EMSGSIZE, LAGO_BY_CLIENT);
    reason.phase = LAGO_PHASE_RUNNING;
    reason.reply_code = REPLY_CONTENT_TOO_LARGE;
    reason.class_id = (uint16_t)(ch->content->info->id >> 16);
    reason.method_id = (uint16_t)ch->content->info->id;
    say_too_large(s, ch->content->parsed.body_size, &reason);
    struct channel_close args = { .reply_code = REPLY_CONTENT_TOO_LARGE,
                                  .reply_text = { reason.detail, LAGO_NUL_TERMINATED },
                                  .class_id = reason.class_id,
                                  .method_id = reason.method_id };
    output_drop_held(s, ch->number);
    (void)acks_flush(s, ch); /* nothing may follow the close; without memory they go back to the queue */
    acks_forget(ch);
    if (output_method(s, ch->number, METHOD_CHANNEL_CLOSE, &args) < 0) {
        session_abandon(s, &reason);
        return 0;
    }
    reason_keep(&s->reason, s->alloc, &reason);
    channel_set_state(ch, CHANNEL_CLOSING);
    content_reset(s, ch);
    *event = (struct session_event){ .type = SESSION_EVENT_CHANNEL_CLOSE,
                                     .channel = ch->number,
                                     .owner = ch->owner,
                                     .publishes_sent = ch->publishes_sent + marks_count(s, ch->number),
                                     .reason = &s->reason };
    ch->owner = NULL; /* its end has been told; the number waits for close-ok */
    return 1;
}

static int out_of_memory(struct session *s) {
    lago_reason_t reason;
    reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    session_abandon(s, &reason);
    return 0;
}

/* channel.close came (1.5.2.5). If ours is on its way as well, our close-ok is still to come (and the number with it). */
static int channel_close_received(struct session *s, struct session_channel *ch, const struct method_info *info,
                                  struct session_event *event) {
    bool ours_sent = ch->state == CHANNEL_CLOSING;
    if (ch->close_answered) return 0; /* as close_received */
    ch->close_answered = ours_sent;
    struct channel_close_ok ok = { 0 };
    if (output_method(s, ch->number, METHOD_CHANNEL_CLOSE_OK, &ok) < 0) return out_of_memory(s);
    method_event(s, SESSION_EVENT_CHANNEL_CLOSE, ch->number, info, event);
    if (ours_sent)
        ch->owner = NULL; /* the broker's reason is the better one (as pika); the number waits for close-ok */
    else
        channel_release(s, ch);
    return 1;
}

/* channel.flow (1.5.2.3): answered past all that waits; what waited for it goes on. */
static int flow_received(struct session *s, struct session_channel *ch, const struct method_info *info,
                         struct session_event *event) {
    if (!flood_allows(s, flows)) return 0;
    struct channel_flow_ok ok = { .active = s->args.channel_flow.active };
    uint64_t before = s->out.appended;
    if (output_method(s, ch->number, METHOD_CHANNEL_FLOW_OK, &ok) < 0) return out_of_memory(s);
    session_made_to_answer(s, (size_t)(s->out.appended - before));
    bool starts = ok.active && ch->flow_stopped;
    ch->flow_stopped = !ok.active;
    if ((starts && !go_on(s, flows)) || s->state == SESSION_ENDED) return 0;
    method_event(s, SESSION_EVENT_METHOD, ch->number, info, event);
    return 1;
}

static int method_received(struct session *s, struct session_channel *ch, const struct frame *frame,
                           const struct method_info *info, struct session_event *event) {
    if (ch->receiving != CONTENT_NONE) {
        session_fail(s, LAGO_EPROTOCOL, REPLY_UNEXPECTED_FRAME, info->id, "%s in the middle of a message on channel %u",
                     info->name, ch->number);
        return 0;
    }
    if (info->id == METHOD_BASIC_RETURN && !flood_allows_return(s, ch)) return 0;
    if (info->content) return content_begin(s, ch, frame, info) == CONTENT_DONE;
    if (info->id == METHOD_CHANNEL_FLOW) return flow_received(s, ch, info, event);
    method_event(s, SESSION_EVENT_METHOD, ch->number, info, event);
    return 1;
}

enum channel_action {
    CHANNEL_BREAKS,
    CHANNEL_DISCARDS,
    CHANNEL_OPENS,
    CHANNEL_TAKES,
    CHANNEL_FLOWS,
    CHANNEL_CLOSED,
    CHANNEL_DONE
};

/* The first row that fits: its state, and its method or any (0). */
static const struct channel_rule {
    enum channel_state state;
    uint32_t method;
    enum channel_action action;
} channel_rules[] = {
    { CHANNEL_OPENING, METHOD_CHANNEL_OPEN_OK, CHANNEL_OPENS },
    { CHANNEL_OPENING, METHOD_CHANNEL_CLOSE, CHANNEL_CLOSED },
    { CHANNEL_OPENING, 0, CHANNEL_BREAKS },
    { CHANNEL_OPEN, METHOD_CHANNEL_CLOSE, CHANNEL_CLOSED },
    { CHANNEL_OPEN, METHOD_CHANNEL_OPEN_OK, CHANNEL_BREAKS },
    { CHANNEL_OPEN, METHOD_CHANNEL_CLOSE_OK, CHANNEL_BREAKS },
    { CHANNEL_OPEN, 0, CHANNEL_TAKES },
    { CHANNEL_LEAVING, METHOD_CHANNEL_CLOSE, CHANNEL_CLOSED },
    { CHANNEL_LEAVING, METHOD_CHANNEL_FLOW, CHANNEL_FLOWS }, /* our close may wait for just that */
    { CHANNEL_LEAVING, 0, CHANNEL_DISCARDS },
    { CHANNEL_CLOSING, METHOD_CHANNEL_CLOSE, CHANNEL_CLOSED },
    { CHANNEL_CLOSING, METHOD_CHANNEL_CLOSE_OK, CHANNEL_DONE },
    { CHANNEL_CLOSING, 0, CHANNEL_DISCARDS },
};

static enum channel_action channel_action_for(const struct session_channel *ch, uint32_t method) {
    const struct channel_rule *rule = channel_rules;
    while (rule->state != ch->state || (rule->method != 0 && rule->method != method)) rule++; /* every state has an "any" */
    return rule->action;
}

/* What comes behind a goodbye (1.4.2.4, 1.5.2.5); the broker gives deliveries to somebody else. */
static void discard(struct session *s, const struct method_info *info) {
    s->counters.deliveries_dropped += info->id == METHOD_BASIC_DELIVER;
}

static int on_channel_method(struct session *s, const struct frame *frame, const struct method_info *info,
                             struct session_event *event) {
    struct session_channel *ch = channel_find(s, frame->channel);
    if (!ch) {
        session_fail(s, LAGO_EPROTOCOL, REPLY_CHANNEL_ERROR, info->id, "%s on channel %u, which is not open", info->name,
                     frame->channel);
        return 0;
    }
    switch (channel_action_for(ch, info->id)) { /* unreachable: all are named */
    case CHANNEL_DISCARDS: discard(s, info); return 0;
    case CHANNEL_TAKES: return method_received(s, ch, frame, info, event);
    case CHANNEL_FLOWS: return flow_received(s, ch, info, event);
    case CHANNEL_CLOSED: return channel_close_received(s, ch, info, event);
    case CHANNEL_OPENS:
        channel_set_state(ch, CHANNEL_OPEN);
        method_event(s, SESSION_EVENT_CHANNEL_OPEN, ch->number, info, event);
        return 1;
    case CHANNEL_DONE:
        method_event(s, SESSION_EVENT_CHANNEL_CLOSE_OK, ch->number, info, event);
        channel_release(s, ch);
        return 1;
    case CHANNEL_BREAKS: break;
    }
    session_fail(s, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, info->id, "%s came at the wrong time on channel %u", info->name,
                 frame->channel);
    return 0;
}

static int bad_method(struct session *s, int reply, const struct frame *frame, const struct method_info *info) {
    const uint8_t *id = frame->payload;
    if (info)
        session_fail(s, LAGO_EPROTOCOL, (uint16_t)reply, info->id, "malformed %s", info->name);
    else if (frame->size < 4)
        session_fail(s, LAGO_EPROTOCOL, (uint16_t)reply, 0, "method frame without a method");
    else
        session_fail(s, LAGO_EPROTOCOL, (uint16_t)reply, 0, "unknown method %u,%u", id[0] << 8 | id[1], id[2] << 8 | id[3]);
    return 0;
}

static int on_method(struct session *s, const struct frame *frame, struct session_event *event) {
    const struct method_info *info = NULL;
    int reply = method_read(frame->payload, frame->size, &info, &s->args);
    /* after our goodbye whatever a method says but close and close-ok is discarded (1.4.2.4, 1.5.2.5) */
    if (reply && s->state > SESSION_OPEN) return 0;
    if (reply) return bad_method(s, reply, frame, info);
    bool on_connection = info->id >> 16 == METHOD_CONNECTION_START >> 16;
    if (!info->from_server || on_connection != (frame->channel == 0)) {
        const struct session_channel *ch = channel_find(s, frame->channel);
        if (s->state > SESSION_OPEN || (ch && channel_is_going(ch))) return 0;
        session_fail(s, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, info->id, "%s must not come from a broker on channel %u",
                     info->name, frame->channel);
        return 0;
    }
    if (on_connection) return on_connection_method(s, info, event);
    if (s->state != SESSION_OPEN) {
        if (s->state < SESSION_OPEN)
            session_fail(s, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, info->id, "%s before connection.open-ok", info->name);
        else
            discard(s, info);
        return 0;
    }
    return on_channel_method(s, frame, info, event);
}

/* ---------------------------------------------------------------- content frames */

/* The channel of a header or body frame; NULL: drop the frame, or the session has failed. */
static struct session_channel *content_channel(struct session *s, uint16_t number) {
    if (s->state > SESSION_OPEN) return NULL;
    struct session_channel *ch = channel_find(s, number);
    if (!ch || s->state < SESSION_OPEN)
        session_fail(s, LAGO_EPROTOCOL, REPLY_CHANNEL_ERROR, 0, "content on channel %u, which is not open", number);
    return ch && !channel_is_going(ch) ? ch : NULL;
}

static int on_step(struct session *s, struct session_channel *ch, enum content_step step, struct session_event *event) {
    if (step == CONTENT_OVERFLOWS) return too_large(s, ch, event);
    if (step != CONTENT_DONE) return 0;
    content_event(s, ch, event);
    return 1;
}

static int on_body_frame(struct session *s, struct session_channel *ch, const struct frame *frame, struct session_event *event) {
    struct content *content = ch->content;
    if (!content || !content->in_pieces) return on_step(s, ch, content_frame(s, ch, frame), event);
    if (!content_accepts(s, ch, frame->size) || frame->size == 0) return 0;
    bool ends = content->received + frame->size == content->parsed.body_size;
    content_hand(s, ch, (lago_bytes_t){ frame->payload, frame->size }, ends, event);
    return 1;
}

static bool is_too_large(const struct session *s, const struct session_channel *ch) {
    return ch->content->parsed.body_size > s->settings.message_size_max;
}

static int on_content_frame(struct session *s, const struct frame *frame, struct session_event *event) {
    struct session_channel *ch = content_channel(s, frame->channel);
    if (!ch) return 0;
    if (frame->type == FRAME_BODY) return on_body_frame(s, ch, frame, event);
    enum content_step step = content_header(s, ch, frame);
    if (step == CONTENT_MORE && ch->announces && ch->content->info == s->deliver) {
        content_announce(s, ch, event);
        return 1;
    }
    if (step != CONTENT_BROKEN && is_too_large(s, ch)) return too_large(s, ch, event);
    return on_step(s, ch, step, event);
}

static int on_frame(struct session *s, const struct frame *frame, struct session_event *event) {
    s->counters.frames_received++;
    PROBE4(frame__in, s, frame->type, frame->channel, frame->size);
    if (s->settings.trace) trace_frame(s, 'S', frame);
    switch (frame->type) {
    case FRAME_METHOD: return on_method(s, frame, event);
    case FRAME_HEADER:
    case FRAME_BODY: return on_content_frame(s, frame, event);
    default: break;
    }
    s->counters.heartbeats_received++;
    if (s->state > SESSION_OPEN) return 0;       /* after a goodbye all is discarded (1.4.2.4) */
    if (frame->channel != 0 || frame->size != 0) /* 4.2.7 */
        session_fail(s, LAGO_EPROTOCOL, REPLY_FRAME_ERROR, 0, "heartbeat with a payload or on channel %u", frame->channel);
    else
        (void)flood_allows(s, "heartbeats");
    return 0;
}

/* ---------------------------------------------------------------- bytes */

void session_input(struct session *s, uint8_t *data, size_t size, uint64_t now) {
    s->now = now;
    s->input = data;
    s->input_size = size;
    s->counters.bytes_received += size;
    if (s->small_reads > 0) s->small_reads--;
    liveness_received(s);
}

bool session_has_input(const struct session *s) { return s->input != NULL; }

void session_forget_input(struct session *s) {
    s->input = NULL;
    s->input_size = 0;
}

static void skip(struct session *s, size_t size) {
    s->input += size;
    s->input_size -= size;
}

/* The input is used up: what still points into it is copied, then it may go. */
static void input_done(struct session *s) {
    for (struct list *node; (node = list_first(&s->borrowing)) != NULL;)
        if (content_save(s, LIST_ENTRY(node, struct content, borrowing)) < 0) (void)out_of_memory(s);
    contents_tidy(s);
    s->input = NULL;
    s->input_size = 0;
    if (s->partial.size > 0) return;
    mem_free(s->alloc, s->partial.data);
    s->partial = (struct partial){ 0 };
}

static int bad_frame(struct session *s, enum frame_result result) {
    const char *what = result == FRAME_BAD_TYPE    ? "unknown frame type"
                       : result == FRAME_TOO_LARGE ? "frame larger than frame_max"
                                                   : "frame without its end octet";
    session_fail(s, LAGO_EPROTOCOL, REPLY_FRAME_ERROR, 0, "%s", what);
    s->garbled = true;
    return 0;
}

static size_t frame_max_in(const struct session *s) { return s->tune.frame_max ? s->tune.frame_max : FRAME_MAX_BEFORE_TUNE; }

/* A body frame that is only partly there: its bytes go to the message as they come. */
static void stream_begin(struct session *s, uint16_t channel, size_t size) {
    struct session_channel *ch = content_channel(s, channel);
    s->counters.frames_received++;
    PROBE4(frame__in, s, FRAME_BODY, channel, size);
    if (s->settings.trace) trace_frame(s, 'S', &(struct frame){ .type = FRAME_BODY, .channel = channel, .size = size });
    liveness_frame_began(s);
    s->streaming = true;
    s->streaming_channel = channel;
    s->streaming_left = size;
    s->streaming_skip = !ch || !content_accepts(s, ch, size);
}

/* Its last piece is the last one only if the end octet is in its place: without that it is handed out, and nothing is said yet. */
static int hand_step(struct session *s, struct session_channel *ch, size_t size, struct session_event *event) {
    bool ended = size == s->streaming_left && s->input_size > size;
    if (ended && s->input[size] != FRAME_END) return bad_frame(s, FRAME_BAD_END);
    bool ends = ended && ch->content->received + size == ch->content->parsed.body_size;
    lago_bytes_t piece = { s->input, size };
    s->streaming_left -= size;
    s->streaming = !ended;
    skip(s, ended ? size + FRAME_END_SIZE : size);
    if (size == 0 && !ends) return 0;
    content_hand(s, ch, piece, ends, event);
    return 1;
}

/* @return 1: an event; 0: look further. */
static int stream_step(struct session *s, struct session_event *event) {
    struct session_channel *ch = channel_find(s, s->streaming_channel);
    size_t size = s->streaming_left < s->input_size ? s->streaming_left : s->input_size;
    s->streaming_skip = s->streaming_skip || channel_is_going(ch) || s->state > SESSION_OPEN;
    if (!s->streaming_skip && ch->content->in_pieces) return hand_step(s, ch, size, event);
    if (size > 0) {
        enum content_step step = s->streaming_skip ? CONTENT_MORE : content_piece(s, ch, s->input, size);
        s->streaming_left -= size;
        skip(s, size);
        if (step == CONTENT_OVERFLOWS) return too_large(s, ch, event);
        if (step == CONTENT_BROKEN) return 0;
    }
    if (s->streaming_left > 0 || s->input_size == 0) return 0;
    s->streaming = false;
    bool good = s->input[0] == FRAME_END;
    skip(s, FRAME_END_SIZE);
    if (!good) return bad_frame(s, FRAME_BAD_END);
    if (s->streaming_skip || ch->content->received < ch->content->parsed.body_size) return 0;
    content_event(s, ch, event);
    return 1;
}

/* Put `size` more bytes of the input behind what is stashed. */
static bool stash(struct session *s, size_t size) {
    struct partial *partial = &s->partial;
    if (partial->size == 0) liveness_frame_began(s);
    if (partial->size + size > partial->capacity) {
        uint8_t *data = mem_resize(s->alloc, partial->data, partial->size + size, 1);
        if (!data) return false;
        partial->data = data;
        partial->capacity = partial->size + size;
    }
    memcpy(partial->data + partial->size, s->input, size);
    partial->size += size;
    skip(s, size);
    return true;
}

/* Fill the stash up to `size` bytes, as far as the input goes. */
static bool stash_up_to(struct session *s, size_t size) {
    size_t missing = size > s->partial.size ? size - s->partial.size : 0;
    return stash(s, missing < s->input_size ? missing : s->input_size);
}

/* A frame that began in an earlier read. Its views may point into the stash until the input is used up, as into the input. */
static int stashed_step(struct session *s, struct session_event *event) {
    struct frame frame;
    size_t need = 0;
    if (!stash_up_to(s, FRAME_HEADER_SIZE)) return out_of_memory(s);
    enum frame_result result = frame_decode(s->partial.data, s->partial.size, frame_max_in(s), &frame, &need);
    if (result == FRAME_INCOMPLETE && need > 0 && s->partial.data[0] == FRAME_BODY) {
        s->partial.size = 0;
        stream_begin(s, (uint16_t)(s->partial.data[1] << 8 | s->partial.data[2]), need - FRAME_OVERHEAD);
        return 0;
    }
    if (result == FRAME_INCOMPLETE && need > 0) {
        if (!stash_up_to(s, need)) return out_of_memory(s);
        result = frame_decode(s->partial.data, s->partial.size, frame_max_in(s), &frame, &need);
    }
    if (result == FRAME_INCOMPLETE) return 0;
    s->partial.size = 0;
    return result == FRAME_COMPLETE ? on_frame(s, &frame, event) : bad_frame(s, result);
}

static int input_step(struct session *s, struct session_event *event) {
    struct frame frame;
    size_t need = 0;
    enum frame_result result = frame_decode(s->input, s->input_size, frame_max_in(s), &frame, &need);
    if (result == FRAME_COMPLETE) {
        skip(s, need);
        return on_frame(s, &frame, event);
    }
    if (result != FRAME_INCOMPLETE) return bad_frame(s, result);
    if (need > 0 && s->input[0] == FRAME_BODY) {
        uint16_t channel = (uint16_t)(s->input[1] << 8 | s->input[2]);
        skip(s, FRAME_HEADER_SIZE);
        stream_begin(s, channel, need - FRAME_OVERHEAD);
        return 0;
    }
    /* contents that point into an older stash are copied first: it is about to be overwritten */
    uint8_t *rest = s->input;
    size_t size = s->input_size;
    input_done(s);
    s->input = rest;
    s->input_size = size;
    return stash(s, size) ? 0 : out_of_memory(s);
}

/* ---------------------------------------------------------------- bytes that have their place already */

/* The message whose body frame is coming, if it is put together; else NULL. */
static struct session_channel *gathering(const struct session *s) {
    if (!s->streaming || s->streaming_skip || s->state != SESSION_OPEN) return NULL;
    struct session_channel *ch = channel_find(s, s->streaming_channel);
    return channel_is_going(ch) || ch->content->in_pieces ? NULL : ch;
}

size_t session_room(struct session *s, uint8_t **room) {
    struct session_channel *ch = s->input || s->streaming_left < READ_SMALL ? NULL : gathering(s);
    return ch ? content_room(s, ch, s->streaming_left, room) : 0;
}

size_t session_read_max(const struct session *s) {
    const struct session_channel *ch = gathering(s);
    return s->small_reads > 0 || (ch && content_is_gathered(s, ch->content)) ? READ_SMALL : SIZE_MAX;
}

/* The end octet of a frame that is not the message's last, and up to seven octets of the next one: no event comes of them. */
static void frame_ended(struct session *s, uint8_t *octets, size_t size) {
    s->streaming = false;
    if (octets[0] != FRAME_END) {
        (void)bad_frame(s, FRAME_BAD_END);
        return;
    }
    if (size == FRAME_END_SIZE) return;
    s->input = octets + FRAME_END_SIZE;
    s->input_size = size - FRAME_END_SIZE;
    (void)stashed_step(s, NULL);
    session_forget_input(s);
}

void session_filled(struct session *s, size_t size, uint64_t now) {
    struct content *content = channel_find(s, s->streaming_channel)->content;
    size_t body = size < s->streaming_left ? size : s->streaming_left;
    s->now = now;
    s->counters.bytes_received += size;
    liveness_received(s);
    content->received += body;
    s->streaming_left -= body;
    if (size > body) frame_ended(s, block_bytes(content->body) + content->received, size - body);
}

/* A peer's first bytes that are no frame: wait for eight of them, then say what it is. */
static bool greeting_step(struct session *s) {
    const uint8_t *first = s->partial.size ? s->partial.data : s->input;
    if (!greeting_is_foreign(first[0])) return false;
    lago_reason_t reason;
    if (!stash_up_to(s, PROTOCOL_HEADER_SIZE)) {
        (void)out_of_memory(s);
    } else if (s->partial.size >= PROTOCOL_HEADER_SIZE) {
        greeting_explain(&reason, s->partial.data, s->partial.size);
        session_abandon(s, &reason);
    }
    return true;
}

static int step(struct session *s, struct session_event *event) {
    if (s->garbled) {
        skip(s, s->input_size);
        return 0;
    }
    if (s->state == SESSION_WAIT_START && greeting_step(s)) return 0;
    if (s->streaming) return stream_step(s, event);
    return s->partial.size > 0 ? stashed_step(s, event) : input_step(s, event);
}

int input_told(struct session *s, struct session_event *event) {
    struct session_channel *ch = s->delivered;
    s->delivered = NULL;
    if (!ch->content->told) {
        bool unwanted = !ch->content->in_pieces && is_too_large(s, ch);
        return unwanted && s->state == SESSION_OPEN && !channel_is_going(ch) ? too_large(s, ch, event) : 0;
    }
    content_reset(s, ch);
    return 0;
}

int input_event(struct session *s, struct session_event *event) {
    while (s->input_size > 0 && s->state != SESSION_ENDED) {
        if ((input_is_between_frames(s) && delivery_step(s, event)) || step(s, event)) return 1;
    }
    if (s->input) input_done(s);
    if (s->state != SESSION_ENDED || s->ended_told) return 0;
    s->ended_told = true;
    *event = (struct session_event){ .type = SESSION_EVENT_ENDED, .reason = &s->reason };
    return 1;
}
