/* Channels of the model broker: every method of a channel, and contents that come in. What is refused is refused as RabbitMQ does. */
#include "model_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_QUEUE                                                                                                              \
    (lago_string_t) { "amq.rabbitmq.reply-to", 21 }

/* ---------------------------------------------------------------- life */

struct model_channel *model_channel_find(struct model_link *link, uint16_t number) {
    for (struct model_channel *ch = link->channels; ch; ch = ch->next)
        if (ch->number == number && ch->state != MODEL_CHANNEL_CLOSED) return ch;
    return NULL;
}

void model_channel_open(struct model_link *link, uint16_t number) {
    struct model_broker *b = link->broker;
    struct model_channel *ch = model_new(b, sizeof(*ch));
    ch->link = link;
    ch->number = number;
    ch->flow = ch->flow_said = true;
    /* what a closed one of the same number still has to say comes first: behind it in the list, and it says it all at once */
    for (struct model_channel *old = link->channels; old; old = old->next) {
        if (old->number != number || old->out.done == old->out.size) continue;
        model_append(b, &link->out, old->out.data + old->out.done, old->out.size - old->out.done);
        old->out.done = old->out.size;
    }
    ch->next = link->channels;
    link->channels = ch;
    b->hooks.opened(b->hooks.data, ch);
    struct channel_open_ok ok = { 0 };
    model_say(link, ch, METHOD_CHANNEL_OPEN_OK, &ok);
}

/* Back to where it came from. */
static void give_back(struct model_channel *ch, struct model_delivery *d) {
    (void)ch;
    if (d->consumer && d->consumer->unacked) d->consumer->unacked--;
    if (d->queue) model_requeue(d->queue, d->message);
}

static void requeue_all(struct model_channel *ch) {
    for (struct model_delivery *d = ch->unacked; d; d = d->next) give_back(ch, d);
    ch->unacked = NULL;
}

/* Its consumers go, what it had not settled goes back. */
static void let_go(struct model_channel *ch) {
    for (struct model_delivery *d = ch->tx_acked; d; d = d->next) give_back(ch, d);
    ch->tx_acked = NULL;
    ch->tx_messages = NULL;
    requeue_all(ch);
    ch->unconfirmed = NULL;
    for (struct model_consumer *c = ch->consumers; c; c = c->next)
        if (!c->gone) model_consumer_gone(c);
    ch->consumers = NULL;
    ch->replies = NULL;
}

void model_channel_end(struct model_channel *ch) {
    if (ch->state == MODEL_CHANNEL_CLOSED) return;
    enum model_channel_state was = ch->state;
    ch->state = MODEL_CHANNEL_CLOSED;
    if (was == MODEL_CHANNEL_OPEN) let_go(ch);
}

bool model_channel_close(struct model_channel *ch, uint16_t code, const char *text, uint32_t method) {
    if (ch->state != MODEL_CHANNEL_OPEN || ch->link->state != MODEL_RUNNING) return false;
    struct channel_close args = { .reply_code = code,
                                  .reply_text = { text, LAGO_NUL_TERMINATED },
                                  .class_id = (uint16_t)(method >> 16),
                                  .method_id = (uint16_t)method };
    model_say(ch->link, ch, METHOD_CHANNEL_CLOSE, &args);
    ch->state = MODEL_CHANNEL_CLOSING;
    let_go(ch);
    return true;
}

bool model_channel_flow(struct model_channel *ch, bool active) {
    if (ch->state != MODEL_CHANNEL_OPEN || ch->link->state != MODEL_RUNNING || ch->flow == active) return false;
    struct channel_flow args = { .active = active };
    model_say(ch->link, ch, METHOD_CHANNEL_FLOW, &args);
    ch->flow = active;
    return true;
}

static void refuse(struct model_channel *ch, uint16_t code, uint32_t method) {
    char text[64];
    (void)snprintf(text, sizeof(text), "%s - no", code == REPLY_NOT_FOUND ? "NOT_FOUND" : "PRECONDITION_FAILED");
    (void)model_channel_close(ch, code, text, method);
}

/* ---------------------------------------------------------------- exchanges, queues */

static lago_string_t queue_name(struct model_channel *ch, lago_string_t given) { return given.size ? given : ch->last_queue; }

/* The queue that a method means; else the channel is closed with what is wrong. */
static struct model_queue *the_queue(struct model_channel *ch, lago_string_t given, uint32_t method) {
    struct model_queue *q = model_queue_find(ch->link->broker, queue_name(ch, given));
    if (!q)
        refuse(ch, REPLY_NOT_FOUND, method);
    else if (q->exclusive && q->owner != ch->link) {
        refuse(ch, REPLY_RESOURCE_LOCKED, method);
        q = NULL;
    }
    return q;
}

static void on_queue_declare(struct model_channel *ch, const struct queue_declare *args) {
    struct model_broker *b = ch->link->broker;
    lago_string_t name = args->queue;
    char made[32];
    if (name.size == 0 && !args->passive) {
        int size = snprintf(made, sizeof(made), "amq.gen-%llu", (unsigned long long)++b->names);
        name = (lago_string_t){ made, (size_t)size };
    }
    struct model_queue *q = model_queue_find(b, queue_name(ch, name));
    if (q && q->exclusive && q->owner != ch->link) {
        refuse(ch, REPLY_RESOURCE_LOCKED, METHOD_QUEUE_DECLARE);
        return;
    }
    if (!q && args->passive) {
        refuse(ch, REPLY_NOT_FOUND, METHOD_QUEUE_DECLARE);
        return;
    }
    bool same = q && q->durable == args->durable && q->exclusive == args->exclusive && q->auto_delete == args->auto_delete;
    if (q && !args->passive && !same) {
        refuse(ch, REPLY_PRECONDITION_FAILED, METHOD_QUEUE_DECLARE);
        return;
    }
    if (!q) {
        q = model_queue_new(b, name);
        q->durable = args->durable;
        q->exclusive = args->exclusive;
        q->auto_delete = args->auto_delete;
        q->owner = args->exclusive ? ch->link : NULL;
    }
    ch->last_queue = q->name;
    if (args->no_wait) return;
    struct queue_declare_ok ok = { .queue = q->name, .message_count = (uint32_t)q->count };
    model_say(ch->link, ch, METHOD_QUEUE_DECLARE_OK, &ok);
}

static void answer(struct model_channel *ch, uint32_t method, bool no_wait) {
    union method_args ok;
    memset(&ok, 0, sizeof(ok));
    if (!no_wait) model_say(ch->link, ch, method, &ok);
}

static void on_queue_bind(struct model_channel *ch, const struct queue_bind *args) {
    struct model_broker *b = ch->link->broker;
    struct model_queue *q = the_queue(ch, args->queue, METHOD_QUEUE_BIND);
    if (!q) return;
    struct model_exchange *x = model_exchange_find(b, args->exchange);
    if (!x || args->exchange.size == 0) {
        refuse(ch, x ? REPLY_ACCESS_REFUSED : REPLY_NOT_FOUND, METHOD_QUEUE_BIND);
        return;
    }
    model_bind(b, &(struct model_binding){ .from = x, .to = q, .key = args->routing_key });
    answer(ch, METHOD_QUEUE_BIND_OK, args->no_wait);
}

static void on_queue_unbind(struct model_channel *ch, const struct queue_unbind *args) {
    struct model_broker *b = ch->link->broker;
    struct model_queue *q = model_queue_find(b, queue_name(ch, args->queue));
    struct model_exchange *x = model_exchange_find(b, args->exchange);
    if (q && x) (void)model_unbind(b, &(struct model_binding){ .from = x, .to = q, .key = args->routing_key });
    answer(ch, METHOD_QUEUE_UNBIND_OK, false);
}

static void on_queue_purge(struct model_channel *ch, const struct queue_purge *args) {
    struct model_queue *q = the_queue(ch, args->queue, METHOD_QUEUE_PURGE);
    if (!q) return;
    struct queue_purge_ok ok = { .message_count = (uint32_t)q->count };
    q->first = NULL;
    q->count = 0;
    if (!args->no_wait) model_say(ch->link, ch, METHOD_QUEUE_PURGE_OK, &ok);
}

static void on_queue_delete(struct model_channel *ch, const struct queue_delete *args) {
    struct model_broker *b = ch->link->broker;
    struct model_queue *q = model_queue_find(b, queue_name(ch, args->queue));
    if (q && q->exclusive && q->owner != ch->link) {
        refuse(ch, REPLY_RESOURCE_LOCKED, METHOD_QUEUE_DELETE);
        return;
    }
    if (q && ((args->if_empty && q->count) || (args->if_unused && model_queue_is_used(b, q)))) {
        refuse(ch, REPLY_PRECONDITION_FAILED, METHOD_QUEUE_DELETE);
        return;
    }
    struct queue_delete_ok ok = { .message_count = q ? (uint32_t)q->count : 0 };
    if (q) model_queue_delete(b, q);
    if (!args->no_wait) model_say(ch->link, ch, METHOD_QUEUE_DELETE_OK, &ok);
}

static void on_exchange_declare(struct model_channel *ch, const struct exchange_declare *args) {
    struct model_broker *b = ch->link->broker;
    struct model_exchange *x = model_exchange_find(b, args->exchange);
    if (!x && args->passive) {
        refuse(ch, REPLY_NOT_FOUND, METHOD_EXCHANGE_DECLARE);
        return;
    }
    if (x && !args->passive && (!model_same(x->type, args->type) || x->durable != args->durable)) {
        refuse(ch, REPLY_PRECONDITION_FAILED, METHOD_EXCHANGE_DECLARE);
        return;
    }
    if (!x) model_exchange_new(b, args->exchange, args->type)->durable = args->durable;
    answer(ch, METHOD_EXCHANGE_DECLARE_OK, args->no_wait);
}

static void on_exchange_delete(struct model_channel *ch, const struct exchange_delete *args) {
    struct model_broker *b = ch->link->broker;
    struct model_exchange *x = model_exchange_find(b, args->exchange);
    bool own = args->exchange.size == 0 || (args->exchange.size > 4 && memcmp(args->exchange.data, "amq.", 4) == 0);
    if (x && own) {
        refuse(ch, REPLY_ACCESS_REFUSED, METHOD_EXCHANGE_DELETE);
        return;
    }
    if (x) x->gone = true;
    answer(ch, METHOD_EXCHANGE_DELETE_OK, args->no_wait);
}

static void on_exchange_bind(struct model_channel *ch, const struct exchange_bind *args) {
    struct model_broker *b = ch->link->broker;
    struct model_exchange *to = model_exchange_find(b, args->destination), *from = model_exchange_find(b, args->source);
    if (!to || !from) {
        refuse(ch, REPLY_NOT_FOUND, METHOD_EXCHANGE_BIND);
        return;
    }
    model_bind(b, &(struct model_binding){ .from = from, .other = to, .key = args->routing_key });
    answer(ch, METHOD_EXCHANGE_BIND_OK, args->no_wait);
}

static void on_exchange_unbind(struct model_channel *ch, const struct exchange_unbind *args) {
    struct model_broker *b = ch->link->broker;
    struct model_exchange *to = model_exchange_find(b, args->destination), *from = model_exchange_find(b, args->source);
    if (to && from) (void)model_unbind(b, &(struct model_binding){ .from = from, .other = to, .key = args->routing_key });
    answer(ch, METHOD_EXCHANGE_UNBIND_OK, args->no_wait);
}

/* ---------------------------------------------------------------- consumers */

static void on_qos(struct model_channel *ch, const struct basic_qos *args) {
    if (args->prefetch_size) {
        model_link_close(ch->link, REPLY_NOT_IMPLEMENTED, "NOT_IMPLEMENTED - prefetch_size!=0", METHOD_BASIC_QOS);
        return;
    }
    if (args->global)
        ch->global_prefetch = args->prefetch_count;
    else
        ch->prefetch = args->prefetch_count;
    answer(ch, METHOD_BASIC_QOS_OK, false);
}

static struct model_consumer *consumer_find(struct model_channel *ch, lago_string_t tag) {
    for (struct model_consumer *c = ch->consumers; c; c = c->next)
        if (!c->gone && model_same(c->tag, tag)) return c;
    return NULL;
}

static bool has_exclusive(const struct model_broker *b, const struct model_queue *q) {
    for (struct model_link *link = b->links; link; link = link->next)
        for (struct model_channel *ch = link->channels; ch; ch = ch->next)
            for (struct model_consumer *c = ch->consumers; c; c = c->next)
                if (!c->gone && c->queue == q && c->exclusive) return true;
    return false;
}

static void on_consume(struct model_channel *ch, const struct basic_consume *args) {
    struct model_broker *b = ch->link->broker;
    bool replies = model_same(args->queue, REPLY_QUEUE);
    struct model_queue *q = replies ? NULL : the_queue(ch, args->queue, METHOD_BASIC_CONSUME);
    if (!q && !replies) return;
    if (replies && (!args->no_ack || ch->replies)) {
        refuse(ch, REPLY_PRECONDITION_FAILED, METHOD_BASIC_CONSUME);
        return;
    }
    if (q && (has_exclusive(b, q) || (args->exclusive && model_queue_is_used(b, q)))) {
        refuse(ch, REPLY_ACCESS_REFUSED, METHOD_BASIC_CONSUME);
        return;
    }
    if (consumer_find(ch, args->consumer_tag)) {
        model_broken(b, "a consumer tag that is in use (530)");
        return;
    }
    struct model_consumer *c = model_new(b, sizeof(*c));
    *c = (struct model_consumer){ .ch = ch,
                                  .queue = q,
                                  .tag = model_string(b, args->consumer_tag),
                                  .no_ack = args->no_ack,
                                  .exclusive = args->exclusive,
                                  .prefetch = ch->prefetch,
                                  .next = ch->consumers };
    ch->consumers = c;
    if (replies) ch->replies = c;
    struct basic_consume_ok ok = { .consumer_tag = c->tag };
    if (args->no_wait) return;
    model_say(ch->link, ch, METHOD_BASIC_CONSUME_OK, &ok);
    c->ok_at = ch->out.added;
}

/* RabbitMQ 3.10 fails (541) on a cancel that it reads before it has sent consume-ok. */
static void on_cancel(struct model_channel *ch, const struct basic_cancel *args) {
    struct model_consumer *c = consumer_find(ch, args->consumer_tag);
    if (c && c->ok_at > ch->out.passed) model_broken(ch->link->broker, "basic.cancel before consume-ok was sent");
    if (c) model_consumer_gone(c);
    struct basic_cancel_ok ok = { .consumer_tag = args->consumer_tag };
    if (!args->no_wait) model_say(ch->link, ch, METHOD_BASIC_CANCEL_OK, &ok);
}

static void on_get(struct model_channel *ch, const struct basic_get *args) {
    struct model_broker *b = ch->link->broker;
    struct model_queue *q = the_queue(ch, args->queue, METHOD_BASIC_GET);
    if (!q) return;
    struct model_message *message = model_take(q);
    if (!message) {
        answer(ch, METHOD_BASIC_GET_EMPTY, false);
        return;
    }
    struct basic_get_ok ok = { .delivery_tag = ++ch->delivery_tag,
                               .redelivered = message->redelivered,
                               .exchange = message->exchange,
                               .routing_key = message->routing_key,
                               .message_count = (uint32_t)q->count };
    b->hooks.delivered(b->hooks.data, ch, message, ch->delivery_tag, true);
    model_say_content(ch, METHOD_BASIC_GET_OK, &ok, message);
    if (!args->no_ack) model_unacked_add(ch, q, NULL, message);
}

/* ---------------------------------------------------------------- acknowledgements */

struct settlement {
    uint64_t tag;
    uint32_t method;
    bool multiple, requeue;
};

static void settle_one(struct model_channel *ch, struct model_delivery *d, const struct settlement *how) {
    struct model_broker *b = ch->link->broker;
    b->hooks.settled(b->hooks.data, ch, d->tag, how->method, how->requeue);
    if (ch->tx && how->method == METHOD_BASIC_ACK) {
        d->next = ch->tx_acked;
        ch->tx_acked = d;
        if (d->consumer && d->consumer->unacked) d->consumer->unacked--;
        d->consumer = NULL;
        return;
    }
    if (d->consumer && d->consumer->unacked) d->consumer->unacked--;
    if (how->method != METHOD_BASIC_ACK && how->requeue && d->queue) model_requeue(d->queue, d->message);
}

static void settle(struct model_channel *ch, const struct settlement *how) {
    struct model_delivery **at = &ch->unacked;
    unsigned count = 0;
    bool exact = false;
    while (*at) {
        struct model_delivery *d = *at;
        bool meant = d->tag == how->tag || (how->multiple && (how->tag == 0 || d->tag < how->tag));
        if (!meant) {
            at = &d->next;
            continue;
        }
        exact = exact || d->tag == how->tag;
        *at = d->next;
        d->next = NULL;
        settle_one(ch, d, how);
        count++;
    }
    if (count == 0 || (!how->multiple && !exact))
        model_broken(ch->link->broker, "delivery tag %llu is not open (406): acknowledged twice, or never delivered",
                     (unsigned long long)how->tag);
}

static void on_recover(struct model_channel *ch, const struct basic_recover *args) {
    if (!args->requeue) {
        model_link_close(ch->link, REPLY_NOT_IMPLEMENTED, "NOT_IMPLEMENTED - requeue=false", METHOD_BASIC_RECOVER);
        return;
    }
    requeue_all(ch);
    answer(ch, METHOD_BASIC_RECOVER_OK, false);
}

/* ---------------------------------------------------------------- publishes */

static void say_return(struct model_channel *ch, const struct model_message *message) {
    struct model_broker *b = ch->link->broker;
    struct basic_return args = { .reply_code = REPLY_NO_ROUTE,
                                 .reply_text = { "NO_ROUTE", 8 },
                                 .exchange = message->exchange,
                                 .routing_key = message->routing_key };
    b->hooks.judged(b->hooks.data, message->id, METHOD_BASIC_RETURN);
    model_say_content(ch, METHOD_BASIC_RETURN, &args, message);
}

/* "amq.rabbitmq.reply-to.<address>": straight to the channel that asked. */
static bool route_reply(struct model_broker *b, struct model_message *message) {
    lago_string_t key = message->routing_key;
    unsigned long long address = 0;
    if (message->exchange.size || key.size <= 22 || memcmp(key.data, "amq.rabbitmq.reply-to.", 22) != 0) return false;
    if (sscanf(key.data + 22, "%llx", &address) != 1) return false;
    for (struct model_link *link = b->links; link; link = link->next)
        for (struct model_channel *ch = link->channels; ch; ch = ch->next)
            if ((unsigned long long)(uintptr_t)ch == address && ch->state == MODEL_CHANNEL_OPEN && ch->replies) {
                model_deliver(ch->replies, message);
                return true;
            }
    return false;
}

void model_publish(struct model_channel *ch, struct model_message *message) {
    struct model_broker *b = ch->link->broker;
    bool nack = ch->confirms && model_random(b, 100) < b->nack_share;
    bool routed = !nack && (route_reply(b, message) || model_route(b, message));
    if (!routed && !nack && message->mandatory) say_return(ch, message);
    if (!ch->confirms) return;
    struct model_confirm *c = model_new(b, sizeof(*c)), **end = &ch->unconfirmed;
    *c = (struct model_confirm){ .tag = ++ch->publish_tag, .id = message->id, .nack = nack };
    while (*end) end = &(*end)->next;
    *end = c;
}

/* A request's reply_to becomes the address of its channel, as RabbitMQ does. @return false: nobody consumes replies here. */
static bool address_reply(struct model_channel *ch, struct model_message *message) {
    struct content_header header;
    if (content_header_read(message->header.data, message->header.size, &header) != 0) {
        model_broken(ch->link->broker, "a content header that cannot be read");
        return true;
    }
    lago_properties_t *p = &header.properties;
    if (!model_same((lago_string_t){ p->reply_to, p->sizes.reply_to }, REPLY_QUEUE)) return true;
    if (!ch->replies) return false;
    char address[64];
    p->sizes.reply_to =
        (uint8_t)snprintf(address, sizeof(address), "amq.rabbitmq.reply-to.%llx", (unsigned long long)(uintptr_t)ch);
    p->reply_to = address;
    uint8_t *room = model_new(ch->link->broker, message->header.size + sizeof(address));
    struct writer w = writer_over(room, message->header.size + sizeof(address));
    content_header_write(&w, header.body_size, p);
    message->header = (lago_bytes_t){ room, w.size };
    return true;
}

static void content_done(struct model_channel *ch) {
    struct model_broker *b = ch->link->broker;
    struct model_message message = { .exchange = ch->publish.exchange,
                                     .routing_key = ch->publish.routing_key,
                                     .mandatory = ch->publish.mandatory,
                                     .header = ch->header,
                                     .body = { ch->body, ch->body_size } };
    ch->in_content = ch->in_body = false;
    if (ch->state != MODEL_CHANNEL_OPEN) return;
    message.id = b->hooks.arrived(b->hooks.data, ch, &message);
    if (ch->publish.immediate) {
        model_link_close(ch->link, REPLY_NOT_IMPLEMENTED, "NOT_IMPLEMENTED - immediate=true", METHOD_BASIC_PUBLISH);
        return;
    }
    if (!model_exchange_find(b, message.exchange)) {
        refuse(ch, REPLY_NOT_FOUND, METHOD_BASIC_PUBLISH);
        return;
    }
    if (!address_reply(ch, &message)) {
        refuse(ch, REPLY_PRECONDITION_FAILED, METHOD_BASIC_PUBLISH);
        return;
    }
    if (!ch->tx) {
        model_publish(ch, &message);
        return;
    }
    struct model_message *copy = model_new(b, sizeof(*copy)), **end = &ch->tx_messages;
    *copy = message;
    while (*end) end = &(*end)->next;
    *end = copy;
}

static void on_publish(struct model_channel *ch, const struct basic_publish *args) {
    struct model_broker *b = ch->link->broker;
    if (!ch->flow_said && ch->state == MODEL_CHANNEL_OPEN) model_broken(b, "basic.publish behind flow-ok active=0");
    ch->publish = *args;
    ch->publish.exchange = model_string(b, args->exchange);
    ch->publish.routing_key = model_string(b, args->routing_key);
    ch->in_content = true;
}

static void on_header(struct model_channel *ch, const struct frame *frame) {
    struct model_broker *b = ch->link->broker;
    struct content_header header;
    if (!ch->in_content || ch->in_body) {
        model_broken(b, "a content header that nobody expects");
        return;
    }
    if (content_header_read(frame->payload, frame->size, &header) != 0) {
        model_broken(b, "a content header that cannot be read");
        return;
    }
    ch->header = model_copy(b, (lago_bytes_t){ frame->payload, frame->size });
    ch->body_size = (size_t)header.body_size;
    ch->body = model_new(b, ch->body_size + 1);
    ch->body_done = 0;
    ch->in_body = true;
    if (ch->body_size == 0) content_done(ch);
}

static void on_body(struct model_channel *ch, const struct frame *frame) {
    if (!ch->in_body || frame->size > ch->body_size - ch->body_done) {
        model_broken(ch->link->broker, "a body frame that nobody expects, or a body longer than announced");
        return;
    }
    if (frame->size == 0) model_broken(ch->link->broker, "an empty body frame");
    memcpy(ch->body + ch->body_done, frame->payload, frame->size);
    ch->body_done += frame->size;
    if (ch->body_done == ch->body_size) content_done(ch);
}

/* ---------------------------------------------------------------- transactions, confirms, flow */

static void on_confirm_select(struct model_channel *ch, const struct confirm_select *args) {
    if (ch->tx) {
        refuse(ch, REPLY_PRECONDITION_FAILED, METHOD_CONFIRM_SELECT);
        return;
    }
    ch->confirms = true;
    answer(ch, METHOD_CONFIRM_SELECT_OK, args->no_wait);
}

static void on_tx(struct model_channel *ch, uint32_t method) {
    if (method == METHOD_TX_SELECT ? ch->confirms : !ch->tx) {
        refuse(ch, REPLY_PRECONDITION_FAILED, method);
        return;
    }
    if (method == METHOD_TX_SELECT) ch->tx = true;
    if (method == METHOD_TX_COMMIT)
        for (struct model_message *m = ch->tx_messages; m;) {
            struct model_message *next = m->next;
            model_publish(ch, m);
            m = next;
        }
    if (method == METHOD_TX_ROLLBACK)
        while (ch->tx_acked) { /* open again, for this channel */
            struct model_delivery *d = ch->tx_acked, **at = &ch->unacked;
            ch->tx_acked = d->next;
            while (*at && (*at)->tag < d->tag) at = &(*at)->next;
            d->next = *at;
            *at = d;
            ch->link->broker->hooks.settled(ch->link->broker->hooks.data, ch, d->tag, METHOD_TX_ROLLBACK, false);
        }
    ch->tx_messages = NULL;
    ch->tx_acked = NULL;
    answer(ch, method + 1, false);
}

/* ---------------------------------------------------------------- which method goes where */

static void on_basic(struct model_channel *ch, const struct method_info *info, const union method_args *args) {
    switch (info->id) {
    case METHOD_BASIC_QOS: on_qos(ch, &args->basic_qos); break;
    case METHOD_BASIC_CONSUME: on_consume(ch, &args->basic_consume); break;
    case METHOD_BASIC_CANCEL: on_cancel(ch, &args->basic_cancel); break;
    case METHOD_BASIC_GET: on_get(ch, &args->basic_get); break;
    case METHOD_BASIC_RECOVER: on_recover(ch, &args->basic_recover); break;
    case METHOD_BASIC_ACK:
        settle(ch, &(struct settlement){ args->basic_ack.delivery_tag, info->id, args->basic_ack.multiple, false });
        break;
    case METHOD_BASIC_REJECT:
        settle(ch, &(struct settlement){ args->basic_reject.delivery_tag, info->id, false, args->basic_reject.requeue });
        break;
    case METHOD_BASIC_NACK:
        settle(ch, &(struct settlement){ args->basic_nack.delivery_tag, info->id, args->basic_nack.multiple,
                                         args->basic_nack.requeue });
        break;
    default: model_broken(ch->link->broker, "%s is not a client's", info->name); break;
    }
}

static void on_topology(struct model_channel *ch, const struct method_info *info, const union method_args *args) {
    switch (info->id) {
    case METHOD_EXCHANGE_DECLARE: on_exchange_declare(ch, &args->exchange_declare); break;
    case METHOD_EXCHANGE_DELETE: on_exchange_delete(ch, &args->exchange_delete); break;
    case METHOD_EXCHANGE_BIND: on_exchange_bind(ch, &args->exchange_bind); break;
    case METHOD_EXCHANGE_UNBIND: on_exchange_unbind(ch, &args->exchange_unbind); break;
    case METHOD_QUEUE_DECLARE: on_queue_declare(ch, &args->queue_declare); break;
    case METHOD_QUEUE_BIND: on_queue_bind(ch, &args->queue_bind); break;
    case METHOD_QUEUE_UNBIND: on_queue_unbind(ch, &args->queue_unbind); break;
    case METHOD_QUEUE_PURGE: on_queue_purge(ch, &args->queue_purge); break;
    case METHOD_QUEUE_DELETE: on_queue_delete(ch, &args->queue_delete); break;
    default: on_basic(ch, info, args); break;
    }
}

static void on_close(struct model_channel *ch) {
    struct channel_close_ok ok = { 0 };
    model_say(ch->link, ch, METHOD_CHANNEL_CLOSE_OK, &ok);
    if (ch->state == MODEL_CHANNEL_OPEN) model_channel_end(ch);
}

/* Of an open channel. */
static void on_close_ok(struct model_channel *ch) {
    if (!ch->link->forged) model_broken(ch->link->broker, "channel.close-ok that nobody asked for");
    model_channel_end(ch);
}

static void on_own(struct model_channel *ch, const struct method_info *info, const union method_args *args) {
    switch (info->id) {
    case METHOD_CHANNEL_CLOSE: on_close(ch); break;
    case METHOD_CHANNEL_CLOSE_OK: on_close_ok(ch); break;
    case METHOD_CHANNEL_FLOW_OK: ch->flow_said = args->channel_flow_ok.active; break;
    case METHOD_CHANNEL_FLOW:
        if (args->channel_flow.active)
            model_say(ch->link, ch, METHOD_CHANNEL_FLOW_OK, &(struct channel_flow_ok){ .active = true });
        else
            model_link_close(ch->link, REPLY_NOT_IMPLEMENTED, "NOT_IMPLEMENTED - active=false", METHOD_CHANNEL_FLOW);
        break;
    case METHOD_CONFIRM_SELECT: on_confirm_select(ch, &args->confirm_select); break;
    case METHOD_TX_SELECT:
    case METHOD_TX_COMMIT:
    case METHOD_TX_ROLLBACK: on_tx(ch, info->id); break;
    default: on_topology(ch, info, args); break;
    }
}

/* After our channel.close everything is ignored but the goodbyes (rabbit_reader). */
static void on_method_while_closing(struct model_channel *ch, const struct method_info *info) {
    if (info->id == METHOD_CHANNEL_CLOSE) on_close(ch);
    if (info->id == METHOD_CHANNEL_CLOSE_OK) ch->state = MODEL_CHANNEL_CLOSED;
}

void model_channel_frame(struct model_channel *ch, const struct frame *frame) {
    struct model_broker *b = ch->link->broker;
    const struct method_info *info = NULL;
    union method_args args;
    if (frame->type == FRAME_METHOD) (void)method_read(frame->payload, frame->size, &info, &args);
    if (info && ch->in_content && info->id != METHOD_CHANNEL_CLOSE_OK) {
        model_broken(b, "%s in the middle of a message", info->name);
        return;
    }
    if (ch->state == MODEL_CHANNEL_CLOSING) {
        if (info) on_method_while_closing(ch, info);
        ch->in_content = ch->in_body = false;
        return;
    }
    if (!info)
        frame->type == FRAME_HEADER ? on_header(ch, frame) : on_body(ch, frame);
    else if (info->id == METHOD_BASIC_PUBLISH)
        on_publish(ch, &args.basic_publish);
    else
        on_own(ch, info, &args);
}
