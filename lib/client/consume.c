/* Consumers, basic.get, and acknowledgements (1.8.3). A delivery tag is open from its delivery to its ack, nack or reject. */
#include "alloc.h"
#include "channel.h"
#include "feature.h"
#include "message.h"
#include "operation.h"
#include "probes.h"
#include "reason.h"
#include "text.h"
#include <lago/rpc.h>
#include <string.h>

/* From CONSUMER_ASKED_CANCELLED on there is no more on_message: what still comes is given back. */
enum consumer_state {
    CONSUMER_ASKED,           /* consume-ok is awaited; the broker may deliver before we have seen it */
    CONSUMER_LIVING,          /* consume-ok came, or none will */
    CONSUMER_ASKED_CANCELLED, /* basic.cancel waits for consume-ok */
    CONSUMER_GIVEN_UP,        /* the user was told that consume-ok did not come; when it does, the consumer is cancelled */
    CONSUMER_CANCELLING       /* basic.cancel was sent: cancel-ok ends the record */
};

struct consumer {
    struct strmap_node node;   /* key: tag */
    enum consumer_state state; /* one setter: consumer_enter */
    bool auto_ack;
    bool of_stream;  /* as far as its arguments say */
    bool of_replies; /* direct reply-to: its deliveries have no numbers of their own */
    uint64_t delivered;
    lago_message_cb on_message;
    lago_cancel_cb on_cancel;
    void *data;
    void (*free_data)(void *data);
    const char *queue; /* as it was asked for; behind the tag */
    size_t tag_size;
    char tag[]; /* NUL-terminated */
};

static void consumer_enter(struct consumer *consumer, enum consumer_state state) { consumer->state = state; }

static bool consumer_is_living(const struct consumer *consumer) { return consumer->state <= CONSUMER_LIVING; }

static struct consumer *consumer_find(const lago_channel_t *ch, const char *tag, size_t size) {
    struct strmap_node *node = strmap_find(&ch->consumers, tag, size);
    return node ? LIST_ENTRY(node, struct consumer, node) : NULL;
}

/* It has ended: its tag is free, also for the callback that is told so. The record is the caller's to free. */
static void consumer_forget(lago_channel_t *ch, struct consumer *consumer) {
    strmap_remove(&ch->consumers, &consumer->node);
    if (ch->recent == consumer) ch->recent = NULL;
    if (ch->newest == consumer) ch->newest = NULL;
}

static void consumer_free(lago_channel_t *ch, struct consumer *consumer) {
    consumer_forget(ch, consumer);
    void (*free_data)(void *data) = consumer->free_data;
    void *data = consumer->data;
    mem_free(ch->conn->alloc, consumer);
    if (free_data) free_data(data);
}

/* Its user has been told that it never began; free_data now, the record when the broker knows too. */
static void consumer_give_up(struct consumer *consumer) {
    void (*free_data)(void *data) = consumer->free_data;
    if (consumer->state == CONSUMER_ASKED) consumer_enter(consumer, CONSUMER_GIVEN_UP);
    consumer->free_data = NULL;
    if (free_data) free_data(consumer->data);
}

bool consumers_end_step(lago_channel_t *ch) {
    struct strmap_node *node = strmap_any(&ch->consumers);
    if (node) consumer_free(ch, LIST_ENTRY(node, struct consumer, node));
    return node != NULL;
}

void consumers_describe(const lago_channel_t *ch, struct text *t, size_t max) {
    static const char *const names[] = { "asked for", "living", "asked for and cancelled", "given up", "cancelling" };
    size_t count = 0;
    for (struct strmap_node *node = NULL; (node = strmap_next(&ch->consumers, node)) != NULL && count < max; count++) {
        const struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
        text_add(t, "    consumer ");
        text_add_escaped(t, consumer->tag, consumer->tag_size, 80);
        text_add(t, " of queue \"");
        text_add_escaped(t, consumer->queue, strlen(consumer->queue), 80);
        text_addf(t, "\" %s%s, %llu delivered\n", names[consumer->state], consumer->auto_ack ? ", auto_ack" : "",
                  (unsigned long long)consumer->delivered);
    }
    if (ch->consumers.count > count) text_addf(t, "    and %zu consumers more\n", ch->consumers.count - count);
}

/* ---------------------------------------------------------------- basic.qos */

/* Before 4.3 global_qos says nothing of the consumers' own count, from then on it is the same: so only what both take as none. */
static void qos_issued(lago_channel_t *ch, const lago_basic_qos_t *args) {
    if (args->prefetch_count || !args->global_qos) ch->prefetch_count = args->prefetch_count;
}

int lago_basic_qos(lago_channel_t *ch, const lago_basic_qos_t *args, lago_done_cb callback, void *data) {
    static const lago_basic_qos_t defaults = { 0 };
    if (!args) args = &defaults;
    if (!RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct basic_qos m = { .prefetch_size = args->prefetch_size,
                           .prefetch_count = args->prefetch_count,
                           .global = args->global_qos };
    int rc = operation_request(ch, &(struct request){ .method = METHOD_BASIC_QOS,
                                                      .args = &m,
                                                      .timeout_ms = args->timeout_ms,
                                                      .tell = tell_done,
                                                      .callback = (operation_callback)callback,
                                                      .data = data });
    if (rc == 0) qos_issued(ch, args);
    return rc;
}

/* ---------------------------------------------------------------- basic.consume */

static struct consumer *consumer_new(lago_channel_t *ch, const lago_basic_consume_t *args, const char *tag) {
    const char *queue = args->queue ? args->queue : "";
    size_t size = strlen(tag), queue_size = strlen(queue);
    struct consumer *consumer = mem_zero(ch->conn->alloc, 1, sizeof(*consumer) + size + queue_size + 2);
    if (!consumer) return NULL;
    consumer->auto_ack = args->auto_ack;
    consumer->on_message = args->on_message;
    consumer->on_cancel = args->on_cancel;
    consumer->data = args->data;
    consumer->free_data = args->free_data;
    consumer->tag_size = size;
    memcpy(consumer->tag, tag, size + 1);
    memcpy(consumer->tag + size + 1, queue, queue_size + 1);
    consumer->queue = consumer->tag + size + 1;
    if (strmap_add(&ch->consumers, &consumer->node, consumer->tag, size) == 0) return consumer;
    mem_free(ch->conn->alloc, consumer);
    return NULL;
}

/* "ctag<channel>.<n>", as pika; skips tags that the caller chose himself. */
static void make_tag(lago_channel_t *ch, char *tag, size_t size) {
    struct text t;
    do {
        text_init(&t, tag, size);
        text_addf(&t, "ctag%u.%llu", ch->number, (unsigned long long)++ch->tags_made);
    } while (consumer_find(ch, tag, t.length));
}

bool consume_is_answer(const struct consumer *consumer, const struct session_event *answer) {
    bool consuming = answer->info->id == METHOD_BASIC_CONSUME_OK;
    lago_string_t tag = consuming ? answer->args->basic_consume_ok.consumer_tag : answer->args->basic_cancel_ok.consumer_tag;
    if (!consuming && consumer->state != CONSUMER_CANCELLING) return false; /* its cancel has not been sent */
    return consumer->tag_size == tag.size && memcmp(consumer->tag, tag.data, tag.size) == 0;
}

/* consume-ok came: a cancel that waited for it goes out now. */
static void consumer_started(lago_channel_t *ch, struct consumer *consumer) {
    if (consumer->state == CONSUMER_ASKED) consumer_enter(consumer, CONSUMER_LIVING);
    if (consumer->state != CONSUMER_ASKED_CANCELLED || ch->state == LAGO_CHANNEL_CLOSED || ch->goodbye_sent) return;
    struct basic_cancel m = { .consumer_tag = { consumer->tag, consumer->tag_size } };
    int rc = session_send(&ch->conn->session, ch->number, METHOD_BASIC_CANCEL, &m);
    if (rc < 0) log_line(&ch->conn->env, LAGO_LOG_WARNING, "consumer not cancelled: %s", lago_strerror(rc));
    consumer_enter(consumer, CONSUMER_CANCELLING);
    connection_wake(ch->conn, false);
}

static void tell_consuming(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    struct consumer *consumer = op->consumer;
    lago_channel_t *ch = op->ch;
    lago_string_t tag = { consumer->tag, consumer->tag_size };
    if (answer && consumer->state == CONSUMER_ASKED) consumer_enter(consumer, CONSUMER_LIVING);
    if (op->callback) ((lago_consumer_cb)op->callback)(ch, reason, tag, op->data);
    if (ch->freed || ch->conn->freed) return;
    if (!reason)
        consumer_started(ch, consumer);
    else
        consumer_give_up(consumer); /* its answer, or that of its cancel, may still come; else its channel's end frees it */
}

/* basic.consume itself, for a record that is there. */
static int start_consuming(lago_channel_t *ch, const lago_basic_consume_t *args, struct consumer *consumer,
                           lago_consumer_cb callback, void *data) {
    struct features features;
    struct basic_consume m = { .queue = { args->queue ? args->queue : "", LAGO_NUL_TERMINATED },
                               .consumer_tag = { consumer->tag, consumer->tag_size },
                               .no_local = args->no_local,
                               .no_ack = args->auto_ack,
                               .exclusive = args->exclusive,
                               .no_wait = args->no_wait };
    int rc = feature_of_consumer(&features, ch, args, &m.arguments);
    if (rc == 0) {
        consumer->of_stream = lago_table_get(&m.arguments, "x-stream-offset", NULL) == 1;
        consumer->of_replies = args->queue && strcmp(args->queue, LAGO_DIRECT_REPLY_TO) == 0;
        rc = operation_request(ch, &(struct request){ .method = METHOD_BASIC_CONSUME,
                                                      .args = &m,
                                                      .timeout_ms = args->timeout_ms,
                                                      .no_wait = args->no_wait,
                                                      .consumer = consumer,
                                                      .tell = tell_consuming,
                                                      .callback = (operation_callback)callback,
                                                      .data = data });
    }
    feature_free(&features);
    return channel_result(ch, rc);
}

int lago_basic_consume(lago_channel_t *ch, const lago_basic_consume_t *args, lago_consumer_cb callback, void *data) {
    char made[32];
    int rc = channel_usable(ch);
    if (rc == 0 && (!args || !args->on_message || !RESERVED_IS_ZERO(args))) rc = LAGO_EINVAL;
    if (rc < 0) return channel_result(ch, rc);
    const char *tag = args->consumer_tag && args->consumer_tag[0] ? args->consumer_tag : made;
    if (tag == made)
        make_tag(ch, made, sizeof(made));
    else if (strlen(tag) > UINT8_MAX)
        return channel_result(ch, LAGO_ETOOLONG);
    if (consumer_find(ch, tag, strlen(tag))) return channel_result(ch, LAGO_EEXIST);
    struct consumer *consumer = consumer_new(ch, args, tag);
    if (!consumer) return channel_result(ch, LAGO_ENOMEM);
    rc = start_consuming(ch, args, consumer, callback, data);
    if (rc == 0) {
        if (args->no_wait) consumer_enter(consumer, CONSUMER_LIVING);
        ch->newest = consumer;
        return 0;
    }
    consumer->free_data = NULL; /* the call did nothing: the data is still the caller's */
    consumer_free(ch, consumer);
    return rc;
}

lago_string_t lago_channel_last_consumer_tag(const lago_channel_t *ch) {
    if (!ch || !ch->newest) return (lago_string_t){ "", 0 };
    return (lago_string_t){ ch->newest->tag, ch->newest->tag_size };
}

size_t lago_channel_consumer_tags(const lago_channel_t *ch, lago_string_t *tags, size_t max) {
    size_t count = 0;
    for (struct strmap_node *node = NULL; ch && (node = strmap_next(&ch->consumers, node)) != NULL;) {
        const struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
        if (!consumer_is_living(consumer)) continue;
        if (count < max) tags[count] = (lago_string_t){ consumer->tag, consumer->tag_size };
        count++;
    }
    return count;
}

static void tell_cancelled(struct operation *op, const lago_reason_t *reason, const struct session_event *answer);

/* A consume-ok after its user was told that none came: undo it. */
void consume_undo_consume(lago_channel_t *ch, struct consumer *consumer) {
    consumer_started(ch, consumer);
    if (consumer->state != CONSUMER_GIVEN_UP || channel_usable(ch) < 0) return; /* a channel that closes takes it along */
    struct basic_cancel m = { .consumer_tag = { consumer->tag, consumer->tag_size } };
    int rc = operation_request(
        ch, &(struct request){ .method = METHOD_BASIC_CANCEL, .args = &m, .consumer = consumer, .tell = tell_cancelled });
    if (rc < 0)
        log_line(&ch->conn->env, LAGO_LOG_WARNING, "late consumer not cancelled: %s", lago_strerror(rc));
    else
        consumer_enter(consumer, CONSUMER_CANCELLING); /* until cancel-ok it knows what to do with deliveries */
}

/* ---------------------------------------------------------------- basic.cancel */

void consume_undone(lago_channel_t *ch, struct consumer *consumer) { consumer_free(ch, consumer); }

static void tell_cancelled(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    lago_channel_t *ch = op->ch;
    struct consumer *consumer = op->consumer;
    (void)answer;
    lago_string_t tag = { consumer->tag, consumer->tag_size };
    if (!reason) consumer_forget(ch, consumer);
    if (op->callback) ((lago_consumer_cb)op->callback)(ch, reason, tag, op->data);
    if (!reason) consumer_free(ch, consumer);
}

int lago_basic_cancel(lago_channel_t *ch, const lago_basic_cancel_t *args, lago_consumer_cb callback, void *data) {
    int rc = channel_usable(ch);
    if (rc == 0 && (!args || !args->consumer_tag || !RESERVED_IS_ZERO(args))) rc = LAGO_EINVAL;
    if (rc < 0) return channel_result(ch, rc);
    struct consumer *consumer = consumer_find(ch, args->consumer_tag, strlen(args->consumer_tag));
    if (!consumer || !consumer_is_living(consumer)) return channel_result(ch, LAGO_ESTALE);
    if (args->no_wait && callback) return channel_result(ch, LAGO_EINVAL);
    /* RabbitMQ 3.10 crashes (541) on a basic.cancel that it reads before it has sent consume-ok */
    bool held = consumer->state == CONSUMER_ASKED;
    /* no_wait spares the caller the answer, not lago: without it nobody could tell when the last delivery has come */
    struct basic_cancel m = { .consumer_tag = { consumer->tag, consumer->tag_size } };
    rc = operation_request(ch, &(struct request){ .method = METHOD_BASIC_CANCEL,
                                                  .args = &m,
                                                  .timeout_ms = args->timeout_ms,
                                                  .held = held,
                                                  .consumer = consumer,
                                                  .tell = tell_cancelled,
                                                  .callback = (operation_callback)callback,
                                                  .data = data });
    if (rc < 0) return rc;
    consumer_enter(consumer, held ? CONSUMER_ASKED_CANCELLED : CONSUMER_CANCELLING);
    ch->cancelled_any = true;
    return 0;
}

void consume_cancelled(lago_channel_t *ch, const struct session_event *event) {
    lago_string_t tag = event->args->basic_cancel.consumer_tag;
    struct consumer *consumer = consumer_find(ch, tag.data, tag.size);
    if (!consumer || !consumer_is_living(consumer)) return; /* our own cancel crossed it: cancel-ok comes as well */
    if (consumer->state == CONSUMER_ASKED) {
        session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_CANCEL,
                     "basic.cancel before basic.consume-ok on channel %u", ch->number);
        return;
    }
    lago_string_t kept = { consumer->tag, consumer->tag_size };
    consumer_forget(ch, consumer);
    if (consumer->on_cancel)
        consumer->on_cancel(ch, kept, consumer->data);
    else
        log_line(&ch->conn->env, LAGO_LOG_WARNING, "channel %u: the broker cancelled consumer %s", ch->number, kept.data);
    consumer_free(ch, consumer);
}

/* ---------------------------------------------------------------- deliveries */

/* Tags rise by one per delivery on a channel (RabbitMQ); 0 or an old one would settle the wrong message later. */
static bool tag_accepted(lago_channel_t *ch, uint64_t tag, bool open) {
    if (tag <= ch->last_delivery_tag) {
        session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_DELIVER,
                     "delivery tag %llu after %llu on channel %u", (unsigned long long)tag,
                     (unsigned long long)ch->last_delivery_tag, ch->number);
        return false;
    }
    if (open && tagset_add(&ch->unacked, tag) < 0) {
        lago_reason_t reason;
        reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
        session_abandon(&ch->conn->session, &reason);
        return false;
    }
    if (open) timeline_note(&ch->delivered, tag, ch->conn->clock_us);
    ch->last_delivery_tag = tag;
    return true;
}

/* From the call of a close on, of the channel or the connection, messages are not told any more. */
static bool takes_messages(const lago_channel_t *ch) { return ch->state == LAGO_CHANNEL_OPEN && ch->conn->stage == STAGE_OPEN; }

/*
 * Give a delivery back: it raced a cancel. With auto_ack the broker counts it as done; then it can only be counted. From a stream
 * nothing was taken, so an ack gives it back; RabbitMQ 3.10 has no reject there (540, which closes the connection).
 */
static void give_back(lago_channel_t *ch, uint64_t tag, bool auto_ack, bool of_stream) {
    struct basic_ack ack = { .delivery_tag = tag };
    struct basic_reject reject = { .delivery_tag = tag, .requeue = true };
    ch->conn->counters.messages_dropped++;
    /* in any case: no `multiple` of the application's may cover it */
    (void)tagset_remove(&ch->unacked, tag);
    /* closing requeues it anyway, unless a get under way may bring a higher tag, whose `multiple` would cover it */
    if (auto_ack || (!takes_messages(ch) && list_empty(&ch->operations))) return;
    int rc = of_stream ? session_send(&ch->conn->session, ch->number, METHOD_BASIC_ACK, &ack)
                       : session_send(&ch->conn->session, ch->number, METHOD_BASIC_REJECT, &reject);
    if (rc < 0) log_line(&ch->conn->env, LAGO_LOG_WARNING, "delivery not given back: %s", lago_strerror(rc));
}

lago_string_t consume_recent_tag(const lago_channel_t *ch) {
    return ch->recent ? (lago_string_t){ ch->recent->tag, ch->recent->tag_size } : (lago_string_t){ "", 0 };
}

static struct consumer *consumer_of(lago_channel_t *ch, lago_string_t tag) {
    struct consumer *recent = ch->recent;
    if (recent && recent->tag_size == tag.size && memcmp(recent->tag, tag.data, tag.size) == 0) return recent;
    return ch->recent = consumer_find(ch, tag.data, tag.size);
}

void consume_delivered(lago_channel_t *ch, const struct session_event *event) {
    const struct basic_deliver *m = &event->args->basic_deliver;
    struct consumer *consumer = consumer_of(ch, m->consumer_tag);
    if (!consumer && !ch->cancelled_any) {
        session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_DELIVER,
                     "delivery for a consumer that does not exist on channel %u", ch->number);
        return;
    }
    /* RabbitMQ (3.10) does not count direct replies: their tag is that of the next delivery from a queue, again and again */
    bool counted = !consumer || !consumer->of_replies;
    uint64_t tag = counted ? m->delivery_tag : 0;
    if (counted && !tag_accepted(ch, tag, !consumer || !consumer->auto_ack)) return;
    if (!consumer || !consumer_is_living(consumer) || !takes_messages(ch)) {
        give_back(ch, tag, consumer && consumer->auto_ack, consumer && consumer->of_stream);
        return;
    }
    consumer->delivered++;
    PROBE4(deliver, ch->conn, ch->number, m->delivery_tag, event->body.size);
    struct message message = message_of(ch->conn->alloc, event);
    message.fields.consumer_tag = m->consumer_tag;
    message.fields.delivery_tag = tag;
    message.fields.redelivered = m->redelivered;
    ch->conn->counters.redelivered += m->redelivered;
    message.fields.exchange = m->exchange;
    message.fields.routing_key = m->routing_key;
    consumer->on_message(ch, &message.fields, consumer->data);
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
        callback(ch, &ch->conn->session.reason, NULL, op->data);
        return;
    }
    struct message message = message_of(ch->conn->alloc, answer);
    message.fields.delivery_tag = m->delivery_tag;
    message.fields.redelivered = m->redelivered;
    ch->conn->counters.redelivered += m->redelivered;
    ch->conn->counters.gets++;
    message.fields.exchange = m->exchange;
    message.fields.routing_key = m->routing_key;
    message.fields.message_count = m->message_count;
    callback(ch, NULL, &message.fields, op->data);
}

int lago_basic_get(lago_channel_t *ch, const lago_basic_get_t *args, lago_get_cb callback, void *data) {
    static const lago_basic_get_t defaults = { 0 };
    if (!args) args = &defaults;
    if (!callback || !RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct basic_get m = { .queue = { args->queue ? args->queue : "", LAGO_NUL_TERMINATED }, .no_ack = args->auto_ack };
    return operation_request(ch, &(struct request){ .method = METHOD_BASIC_GET,
                                                    .args = &m,
                                                    .timeout_ms = args->timeout_ms,
                                                    .auto_ack = args->auto_ack,
                                                    .tell = tell_got,
                                                    .callback = (operation_callback)callback,
                                                    .data = data });
}

void get_answered(lago_channel_t *ch, const struct session_event *event) {
    if (operation_answered(ch->conn, ch, event)) return;
    session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_GET_OK,
                 "basic.get-ok that nobody asked for on channel %u", ch->number);
}

void consume_undo_get(lago_channel_t *ch, const struct session_event *event, bool auto_ack) {
    uint64_t tag = event->args->basic_get_ok.delivery_tag;
    if (tag_accepted(ch, tag, !auto_ack)) give_back(ch, tag, auto_ack, false);
}

/* ---------------------------------------------------------------- acknowledgements */

/* Acks are taken until channel.close has been sent. */
static int settle_check(const lago_channel_t *ch, unsigned flags, unsigned allowed) {
    if (!ch || (flags & ~allowed)) return LAGO_EINVAL;
    bool living = ch->state != LAGO_CHANNEL_CLOSED && !ch->goodbye_sent && ch->conn->stage <= STAGE_CLOSING;
    return living ? 0 : LAGO_ECLOSED;
}

/*
 * The tag to send: RabbitMQ closes the channel (406) for a `multiple` whose tag itself is not open, so the highest open one
 * at or below it is named instead. 0: none is open.
 */
static uint64_t wire_tag(const lago_channel_t *ch, uint64_t tag, bool multiple) {
    if (!multiple) return tagset_has(&ch->unacked, tag) ? tag : 0;
    return tagset_floor(&ch->unacked, tag ? tag : UINT64_MAX);
}

static int settle(lago_channel_t *ch, uint64_t tag, bool multiple, uint32_t method, const void *args) {
    connection_touch(ch->conn);
    int rc = session_send(&ch->conn->session, ch->number, method, args);
    if (rc < 0) return channel_result(ch, rc);
    PROBE5(settle, ch->conn, ch->number, tag, method, (int)multiple);
    uint64_t oldest = multiple ? tagset_lowest(&ch->unacked) : tag;
    metrics_record(ch->conn, LAGO_METRIC_ACK_HOLD, timeline_at(&ch->delivered, oldest));
    size_t count = multiple ? tagset_remove_through(&ch->unacked, tag) : tagset_remove(&ch->unacked, tag);
    *(method == METHOD_BASIC_ACK ? &ch->conn->counters.acked : &ch->conn->counters.refused) += count;
    timeline_forget(&ch->delivered, ch->unacked.count ? tagset_lowest(&ch->unacked) : ch->last_delivery_tag);
    connection_wake(ch->conn, false);
    return 0;
}

int lago_basic_ack(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags) {
    bool multiple = flags & LAGO_MULTIPLE;
    int rc = settle_check(ch, flags, LAGO_MULTIPLE);
    if (rc < 0) return channel_result(ch, rc);
    struct basic_ack m = { .delivery_tag = wire_tag(ch, delivery_tag, multiple), .multiple = multiple };
    return m.delivery_tag ? settle(ch, m.delivery_tag, multiple, METHOD_BASIC_ACK, &m) : LAGO_ESTALE;
}

int lago_basic_nack(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags) {
    bool multiple = flags & LAGO_MULTIPLE;
    int rc = settle_check(ch, flags, LAGO_MULTIPLE | LAGO_NO_REQUEUE);
    if (rc < 0) return channel_result(ch, rc);
    struct basic_nack m = { .delivery_tag = wire_tag(ch, delivery_tag, multiple),
                            .multiple = multiple,
                            .requeue = !(flags & LAGO_NO_REQUEUE) };
    return m.delivery_tag ? settle(ch, m.delivery_tag, multiple, METHOD_BASIC_NACK, &m) : LAGO_ESTALE;
}

int lago_basic_reject(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags) {
    int rc = settle_check(ch, flags, LAGO_NO_REQUEUE);
    if (rc < 0) return channel_result(ch, rc);
    struct basic_reject m = { .delivery_tag = wire_tag(ch, delivery_tag, false), .requeue = !(flags & LAGO_NO_REQUEUE) };
    return m.delivery_tag ? settle(ch, m.delivery_tag, false, METHOD_BASIC_REJECT, &m) : LAGO_ESTALE;
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
    if (rc == 0) (void)tagset_remove_through(&ch->unacked, UINT64_MAX);
    return rc;
}
