/*
 * Consumers that take bodies in pieces, as they come: a message is begun, told piece by piece, and ended exactly once, by its last
 * piece or with its channel. Must not know how a body is cut: that is the session's.
 */
#include "consumer.h"
#include "message.h"
#include "probes.h"
#include "reason.h"
#include <string.h>

static void header_borrow(struct message *header, const struct consumer *consumer, const struct session_event *event) {
    const struct basic_deliver *m = &event->args->basic_deliver;
    message_borrow(header, consumer->ch->conn->alloc, event);
    header->fields.consumer_tag = m->consumer_tag;
    header->fields.delivery_tag = consumer->body_tag;
    header->fields.redelivered = m->redelivered;
    header->fields.exchange = m->exchange;
    header->fields.routing_key = m->routing_key;
    header->fields.body = (lago_bytes_t){ "", 0 };
}

void body_whole(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct consumer *consumer = data;
    struct message header; /* as in deliver.c: the rest is a kept message's */
    header.fields = *message;
    header.fields.body = (lago_bytes_t){ "", 0 };
    header.alloc = *ch->conn->alloc;
    header.body_block = NULL;
    lago_body_t body = {
        .message = &header.fields, .size = message->body.size, .piece = message->body, .begins = true, .ends = true
    };
    consumer->user.on_body(ch, &body, consumer->user.data);
}

void body_begin(struct consumer *consumer, const lago_message_t *message) {
    lago_body_t body = { .message = message, .size = consumer->body_size, .piece = { "", 0 }, .begins = true };
    consumer->user.on_body(consumer->ch, &body, consumer->user.data);
}

/* Its consumer is known, takes it, and is told: or is told later. */
static void begun(struct consumer *consumer, const struct session_event *event, uint64_t tag) {
    lago_connection_t *conn = consumer->ch->conn;
    consumer->body_tag = tag;
    struct message header;
    header_borrow(&header, consumer, event);
    consumer->in_body = true;
    consumer->body_size = event->body_size;
    consumer->body_offset = 0;
    consumer->delivered++;
    conn->counters.redelivered += header.fields.redelivered;
    PROBE4(deliver, conn, event->channel, header.fields.delivery_tag, event->body_size);
    if (consumer->on_message == hold_message)
        hold_begin(consumer, &header.fields);
    else
        body_begin(consumer, &header.fields);
}

void consume_body_begun(lago_channel_t *ch, const struct session_event *event) {
    struct session_event known = *event;
    const struct basic_deliver *m = &event->args->basic_deliver;
    struct consumer *consumer = consumer_find(ch, m->consumer_tag.data, m->consumer_tag.size);
    /* it is put together, and then it is seen whose it is; before consume-ok, because without that its consumer may end first */
    if (!consumer || !consumer->user.on_body || consumer->state == CONSUMER_ASKED) return;
    ch->conn->counters.messages_received++;
    /* see consume_delivered; while its channel closes the consumer may still be in an earlier one, whose end is to be told */
    uint64_t tag = consumer->of_replies ? 0 : m->delivery_tag;
    if (tag && !delivery_accepted(ch, tag, !consumer->auto_ack)) return;
    if (session_hand_out(&ch->conn->session, ch->number, &known.args) < 0) {
        lago_reason_t reason;
        reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
        session_abandon(&ch->conn->session, &reason);
        return;
    }
    if (consumer_is_living(consumer) && takes_messages(ch))
        begun(consumer, &known, tag);
    else
        delivery_give_back(ch, tag, consumer); /* and nobody is told its pieces */
}

/* Also after a cancel: what was begun is told to its end. Its consumer is known: cancel-ok cannot come in a body. */
void consume_body(lago_channel_t *ch, const struct session_event *event) {
    lago_string_t tag = event->args->basic_deliver.consumer_tag;
    struct consumer *consumer = delivery_consumer(ch, tag);
    if (!consumer->in_body || !takes_messages(ch)) return;
    struct message header;
    header_borrow(&header, consumer, event);
    lago_body_t body = { .message = &header.fields,
                         .size = event->body_size,
                         .offset = event->body_offset,
                         .piece = event->body,
                         .ends = event->body_ends };
    consumer->in_body = !event->body_ends;
    consumer->body_offset += event->body.size;
    consumer->user.on_body(ch, &body, consumer->user.data);
}

bool body_lost(struct consumer *consumer) {
    static const lago_properties_t none = { 0 };
    lago_channel_t *ch = consumer->ch;
    struct message header = { .fields = { .consumer_tag = { consumer->tag, consumer->tag_size },
                                          .delivery_tag = consumer->body_tag,
                                          .exchange = { "", 0 },
                                          .routing_key = { "", 0 },
                                          .properties = &none,
                                          .body = { "", 0 } },
                              .alloc = *ch->conn->alloc };
    lago_body_t body = { .message = &header.fields,
                         .size = consumer->body_size,
                         .offset = consumer->body_offset,
                         .piece = { "", 0 },
                         .ends = true,
                         .reason = lago_channel_reason(ch) };
    if (!consumer->in_body) return false;
    consumer->in_body = false;
    consumer->user.on_body(ch, &body, consumer->user.data);
    return true;
}
