/* Messages on their way in: deliveries to their consumers, answers of basic.get. A delivery tag is open until it is settled. */
#include "consumer.h"
#include "message.h"
#include "operation.h"
#include "probes.h"
#include "reason.h"
#include <string.h>

/* Tags rise by one per delivery on a channel (RabbitMQ); 0 or an old one would settle the wrong message later. */
__attribute__((noinline)) static bool tag_refused(lago_channel_t *ch, uint64_t tag) {
    lago_reason_t reason;
    if (tag > ch->consuming->last_delivery_tag) {
        reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
        session_abandon(&ch->conn->session, &reason);
    } else {
        session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_DELIVER,
                     "delivery tag %llu after %llu on channel %u", (unsigned long long)tag,
                     (unsigned long long)ch->consuming->last_delivery_tag, ch->number);
    }
    return false;
}

/*
 * basic.recover gives back whatever the broker has sent before it answers (1.8.3.16): so what comes between the call and recover-ok
 * is not open, and will come again. To acknowledge it would cost the channel (406).
 */
static bool is_recovering(lago_channel_t *ch) {
    if (!ch->consuming->recovers) return false;
    for (struct list *node = ch->operations.next; node != &ch->operations; node = node->next)
        if (LIST_ENTRY(node, struct operation, in_channel)->method == METHOD_BASIC_RECOVER) return true;
    return false;
}

/*
 * RabbitMQ leaves no tag out. Each gap between tags that are open takes memory, so a peer that leaves out more than this, on
 * all channels, means harm; a third of a megabyte at most comes of it.
 */
#define TAG_GAPS_MAX 10000u

/* Nothing is open. */
static void forget_gaps(lago_channel_t *ch) {
    ch->conn->tag_gaps -= ch->consuming->tag_gaps;
    ch->consuming->tag_gaps = 0;
}

static bool gap_accepted(lago_channel_t *ch) {
    if (tagset_count(&ch->consuming->unacked) == 0) forget_gaps(ch);
    if (ch->conn->tag_gaps < TAG_GAPS_MAX) {
        ch->consuming->tag_gaps++;
        ch->conn->tag_gaps++;
        return true;
    }
    session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_RESOURCE_ERROR, METHOD_BASIC_DELIVER,
                 "more than %u gaps between open delivery tags", TAG_GAPS_MAX);
    return false;
}

/* Nobody who counts gets there: from here on each tag is looked at, for one more than a tag may be 0. */
#define TAG_HIGH (UINT64_MAX / 2)

/* It is not the next one, or tags are watched. */
__attribute__((noinline)) static bool tag_is_in_order(lago_channel_t *ch, uint64_t tag, bool *open) {
    uint64_t last = ch->consuming->last_delivery_tag;
    if (tag <= last) return tag_refused(ch, tag);
    ch->consuming->recovers = is_recovering(ch);
    ch->consuming->is_watched = ch->consuming->recovers || tag > TAG_HIGH;
    if (ch->consuming->recovers) *open = false;
    return !*open || tag == last + 1 || gap_accepted(ch);
}

static inline bool tag_accepted(lago_channel_t *ch, uint64_t tag, bool open) {
    struct consuming *in = ch->consuming;
    if (((tag - in->last_delivery_tag - 1) | in->is_watched) != 0 && !tag_is_in_order(ch, tag, &open)) return false;
    if (open) {
        if (tagset_add(&in->unacked, tag) < 0) return tag_refused(ch, tag);
        timeline_note(&in->delivered, tag, ch->conn->clock_us);
    }
    in->last_delivery_tag = tag;
    return true;
}

/* basic.ack and basic.reject: a frame with class, method, tag and bits (1.8.3.13, 1.8.3.14). */
#define ANSWER_SIZE ((size_t)21)

/* Nobody has seen it, and the application's next `multiple` would cover it: the broker shall take all back. */
static void not_given_back(lago_channel_t *ch) {
    lago_reason_t reason;
    reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    reason_detail(&reason, "no memory to give a message back");
    session_abandon(&ch->conn->session, &reason);
}

/*
 * Give a delivery back: it raced a cancel. With auto_ack the broker counts it as done; then it can only be counted. From a stream
 * nothing was taken, so an ack gives it back; RabbitMQ 3.10 has no reject there (540, which closes the connection).
 */
__attribute__((noinline)) static void give_back(lago_channel_t *ch, uint64_t tag, bool auto_ack, bool of_stream) {
    struct basic_ack ack = { .delivery_tag = tag };
    struct basic_reject reject = { .delivery_tag = tag, .requeue = true };
    int rc = 0;
    ch->conn->counters.messages_dropped++;
    /* closing requeues it anyway, unless a get under way may bring a higher tag, whose `multiple` would cover it */
    bool answered = !auto_ack && !is_recovering(ch) && (takes_messages(ch) || !list_empty(&ch->operations));
    if (answered)
        rc = of_stream ? session_send(&ch->conn->session, ch->number, METHOD_BASIC_ACK, &ack)
                       : session_send(&ch->conn->session, ch->number, METHOD_BASIC_REJECT, &reject);
    if (rc == LAGO_ENOMEM)
        not_given_back(ch);
    else
        (void)tagset_remove(&ch->consuming->unacked, tag);
    if (answered) session_made_to_answer(&ch->conn->session, ANSWER_SIZE);
}

bool delivery_accepted(lago_channel_t *ch, uint64_t tag, bool open) { return tag_accepted(ch, tag, open); }

/* What was held may have been settled by a guess at its tag. */
void delivery_give_back(lago_channel_t *ch, uint64_t tag, const struct consumer *consumer) {
    if (!consumer->auto_ack && !tagset_has(&ch->consuming->unacked, tag)) return;
    give_back(ch, tag, consumer->auto_ack, consumer->of_stream);
}

lago_string_t consume_recent_tag(const lago_channel_t *ch) {
    const struct consumer *recent = ch->consuming ? ch->consuming->recent : NULL;
    return recent ? (lago_string_t){ recent->tag, recent->tag_size } : (lago_string_t){ "", 0 };
}

__attribute__((noinline)) struct consumer *delivery_consumer(lago_channel_t *ch, lago_string_t tag) {
    struct consuming *in = ch->consuming;
    const struct consumer *recent = in->recent;
    if (recent && recent->tag_size == tag.size && memcmp(recent->tag, tag.data, tag.size) == 0) return in->recent;
    struct consumer *found = consumer_find(ch, tag.data, tag.size);
    if (found) {
        in->recent = found;
        in->recent_alike = ALIKE_NONE;
    }
    return found;
}

static inline struct consumer *consumer_of(lago_channel_t *ch, const struct session_event *event) {
    struct consuming *in = ch->consuming;
    if (!in) return NULL;
    if (event->alike == in->recent_alike) return in->recent;
    struct consumer *consumer = delivery_consumer(ch, event->args->basic_deliver.consumer_tag);
    if (consumer && event->alike) in->recent_alike = event->alike;
    return consumer;
}

__attribute__((always_inline)) static inline void tell_message(lago_channel_t *ch, struct consumer *consumer,
                                                               const struct session_event *event, uint64_t tag) {
    const struct basic_deliver *m = &event->args->basic_deliver;
    lago_connection_t *conn = ch->conn;
    struct message message;
    message_borrow(&message, conn->alloc, event);
    message.fields.consumer_tag = m->consumer_tag;
    message.fields.delivery_tag = tag;
    message.fields.redelivered = m->redelivered;
    message.fields.exchange = m->exchange;
    message.fields.routing_key = m->routing_key;
    conn->counters.redelivered += m->redelivered;
    consumer->delivered++;
    PROBE4(deliver, conn, ch->number, m->delivery_tag, event->body.size);
    consumer->on_message(ch, &message.fields, consumer->data);
}

__attribute__((noinline)) static void nobody(lago_channel_t *ch, const struct session_event *event) {
    uint64_t tag = event->args->basic_deliver.delivery_tag;
    if (!ch->consuming || !ch->consuming->cancelled_any)
        session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_DELIVER,
                     "delivery for a consumer that does not exist on channel %u", ch->number);
    else if (session_brought_nothing(&ch->conn->session, "deliveries for consumers that are no more") &&
             tag_accepted(ch, tag, true))
        give_back(ch, tag, false, false);
}

void consume_delivered(lago_channel_t *ch, const struct session_event *event) {
    struct consumer *consumer = consumer_of(ch, event);
    if (!consumer) {
        nobody(ch, event);
        return;
    }
    /* RabbitMQ (3.10) does not count direct replies: their tag is that of the next delivery from a queue, again and again */
    uint64_t tag = consumer->of_replies ? 0 : event->args->basic_deliver.delivery_tag;
    if (!consumer->of_replies && !tag_accepted(ch, tag, !consumer->auto_ack)) return;
    if (consumer_is_living(consumer) && takes_messages(ch))
        tell_message(ch, consumer, event, tag);
    else
        give_back(ch, tag, consumer->auto_ack, consumer->of_stream);
}

/* ---------------------------------------------------------------- basic.get */

static void tell_got(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    lago_channel_t *ch = op->ch;
    lago_get_cb callback = (lago_get_cb)op->callback;
    if (!answer || answer->info->id == METHOD_BASIC_GET_EMPTY) {
        callback(ch, reason, NULL, op->data);
        return;
    }
    const struct basic_get_ok *m = &answer->args->basic_get_ok;
    if (!tag_accepted(ch, m->delivery_tag, !op->auto_ack)) {
        lago_reason_t room;
        callback(ch, reason_kept(&ch->conn->session.reason, &room), NULL, op->data);
        return;
    }
    struct message message;
    message_borrow(&message, ch->conn->alloc, answer);
    message.fields.delivery_tag = m->delivery_tag;
    message.fields.redelivered = m->redelivered;
    message.fields.exchange = m->exchange;
    message.fields.routing_key = m->routing_key;
    message.fields.message_count = m->message_count;
    ch->conn->counters.redelivered += m->redelivered;
    ch->conn->counters.gets++;
    callback(ch, NULL, &message.fields, op->data);
}

int lago_basic_get(lago_channel_t *ch, const lago_basic_get_t *args, lago_get_cb callback, void *data) {
    static const lago_basic_get_t defaults = { 0 };
    if (!args) args = &defaults;
    if (!callback || !RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    int rc = channel_usable(ch);
    bool fresh = ch && !ch->consuming;
    if (rc == 0) rc = channel_begin_consuming(ch);
    if (rc < 0) return channel_result(ch, rc);
    struct basic_get m = { .queue = { args->queue ? args->queue : "", LAGO_NUL_TERMINATED }, .no_ack = args->auto_ack };
    rc = operation_request(ch, &(struct request){ .method = METHOD_BASIC_GET,
                                                  .args = &m,
                                                  .timeout_ms = args->timeout_ms,
                                                  .auto_ack = args->auto_ack,
                                                  .tell = tell_got,
                                                  .callback = (operation_callback)callback,
                                                  .data = data });
    if (rc < 0 && fresh) channel_end_consuming(ch);
    return rc;
}

void get_answered(lago_channel_t *ch, const struct session_event *event) {
    if (operation_answered(ch->conn, ch, event)) return;
    session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_GET_OK,
                 "basic.get-ok that nobody asked for on channel %u", ch->number);
}

void get_undo(lago_channel_t *ch, const struct session_event *event, bool auto_ack) {
    uint64_t tag = event->args->basic_get_ok.delivery_tag;
    if (tag_accepted(ch, tag, !auto_ack)) give_back(ch, tag, auto_ack, false);
}
