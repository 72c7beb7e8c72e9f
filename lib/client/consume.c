/* The life of consumers (1.8.3.2 to 1.8.3.6): prefetch, consume, cancel, and how they end. */
#include "alloc.h"
#include "consumer.h"
#include "feature.h"
#include "message.h"
#include "operation.h"
#include "probes.h"
#include "reason.h"
#include "text.h"
#include <lago/rpc.h>
#include <limits.h>
#include <string.h>

static void consumer_enter(struct consumer *consumer, enum consumer_state state) { consumer->state = state; }

/* It has ended: its tag is free, also for the callback that is told so. The record is the caller's to free. */
static void consumer_forget(lago_channel_t *ch, struct consumer *consumer) {
    struct consuming *in = ch->consuming;
    strmap_remove(&in->consumers, &consumer->node);
    if (in->recent == consumer) in->recent = NULL;
    in->recent_alike = ALIKE_NONE;
    if (in->newest == consumer) in->newest = NULL;
}

static void consumer_free(lago_channel_t *ch, struct consumer *consumer) {
    hold_drop(consumer, false);
    consumer_forget(ch, consumer);
    void (*free_data)(void *data) = consumer->free_data;
    void *data = consumer->user.data;
    mem_free(ch->conn->alloc, consumer);
    if (free_data) free_data(data);
}

/* Its user has been told that it never began; free_data now, the record when the broker knows too. */
static void consumer_give_up(struct consumer *consumer) {
    void (*free_data)(void *data) = consumer->free_data;
    if (consumer->state == CONSUMER_ASKED) consumer_enter(consumer, CONSUMER_GIVEN_UP);
    hold_drop(consumer, true);
    consumer->free_data = NULL;
    if (free_data) free_data(consumer->user.data);
}

bool consumers_end_step(lago_channel_t *ch) {
    struct strmap_node *node = ch->consuming ? strmap_any(&ch->consuming->consumers) : NULL;
    if (!node) return false;
    struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
    hold_drop(consumer, false);
    if (ch->freed || !body_lost(consumer)) consumer_free(ch, consumer);
    return true;
}

void consumers_describe(const lago_channel_t *ch, struct text *t, size_t max) {
    static const char *const names[] = { "asked for", "living", "asked for and cancelled", "given up", "cancelling" };
    const struct strmap *consumers = ch->consuming ? &ch->consuming->consumers : NULL;
    size_t count = 0;
    if (!consumers) return;
    for (struct strmap_node *node = NULL; (node = strmap_next(consumers, node)) != NULL && count < max; count++) {
        const struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
        text_add(t, "    consumer ");
        text_add_escaped(t, consumer->tag, consumer->tag_size, 80);
        text_add(t, " of queue \"");
        text_add_escaped(t, consumer->queue, strlen(consumer->queue), 80);
        text_addf(t, "\" %s%s%s%s, %llu delivered\n", names[consumer->state], consumer->auto_ack ? ", auto_ack" : "",
                  consumer->paused ? ", paused" : "", consumer->in_body ? ", in a body" : "",
                  (unsigned long long)consumer->delivered);
    }
    if (consumers->count > count) text_addf(t, "    and %zu consumers more\n", consumers->count - count);
}

/* ---------------------------------------------------------------- basic.qos */

/* Before 4.3 global_qos says nothing of the consumers' own count, from then on it is the same: so only what both take as none. */
static void qos_issued(lago_channel_t *ch, const lago_basic_qos_t *args) {
    struct consuming *in = ch->consuming;
    if (args->prefetch_count || !args->global_qos) in->prefetch_count = args->prefetch_count;
    if (!ch->single_acks) in->ack_run_max = in->prefetch_count ? (in->prefetch_count + 1u) / 2 : UINT_MAX;
}

int lago_basic_qos(lago_channel_t *ch, const lago_basic_qos_t *args, lago_done_cb callback, void *data) {
    static const lago_basic_qos_t defaults = { 0 };
    bool fresh = ch && !ch->consuming;
    if (!args) args = &defaults;
    int rc = channel_usable(ch);
    if (rc == 0 && !RESERVED_IS_ZERO(args)) rc = LAGO_EINVAL;
    if (rc == 0) rc = channel_begin_consuming(ch);
    if (rc < 0) return channel_result(ch, rc);
    struct basic_qos m = { .prefetch_size = args->prefetch_size,
                           .prefetch_count = args->prefetch_count,
                           .global = args->global_qos };
    rc = operation_request(ch, &(struct request){ .method = METHOD_BASIC_QOS,
                                                  .args = &m,
                                                  .timeout_ms = args->timeout_ms,
                                                  .tell = tell_done,
                                                  .callback = (operation_callback)callback,
                                                  .data = data });
    if (rc == 0) qos_issued(ch, args);
    if (rc < 0 && fresh) channel_end_consuming(ch);
    return rc;
}

/* ---------------------------------------------------------------- basic.consume */

static struct consumer *consumer_new(lago_channel_t *ch, const lago_basic_consume_t *args, const char *tag) {
    const char *queue = args->queue ? args->queue : "";
    size_t size = strlen(tag), queue_size = strlen(queue);
    struct consumer *consumer = mem_zero(ch->conn->alloc, 1, sizeof(*consumer) + size + queue_size + 2);
    if (!consumer) return NULL;
    consumer->auto_ack = args->auto_ack;
    consumer->ch = ch;
    consumer->user.on_message = args->on_message;
    consumer->user.on_body = args->on_body;
    consumer->user.on_cancel = args->on_cancel;
    consumer->user.data = args->data;
    list_init(&consumer->held);
    list_init(&consumer->in_resumed);
    consumer_route(consumer);
    consumer->free_data = args->free_data;
    consumer->tag_size = size;
    memcpy(consumer->tag, tag, size + 1);
    memcpy(consumer->tag + size + 1, queue, queue_size + 1);
    consumer->queue = consumer->tag + size + 1;
    if (strmap_add(&ch->consuming->consumers, &consumer->node, consumer->tag, size) == 0) return consumer;
    mem_free(ch->conn->alloc, consumer);
    return NULL;
}

/* "ctag<channel>.<n>", as pika; skips tags that the caller chose himself. */
static void make_tag(lago_channel_t *ch, char *tag, size_t size) {
    struct text t;
    do {
        text_init(&t, tag, size);
        text_addf(&t, "ctag%u.%llu", ch->number, (unsigned long long)++ch->consuming->tags_made);
    } while (consumer_find(ch, tag, t.length));
}

bool consume_is_answer(const struct consumer *consumer, const struct session_event *answer) {
    bool consuming = answer->info->id == METHOD_BASIC_CONSUME_OK;
    lago_string_t tag = consuming ? answer->args->basic_consume_ok.consumer_tag : answer->args->basic_cancel_ok.consumer_tag;
    if (!consuming && consumer->state != CONSUMER_CANCELLING) return false; /* its cancel has not been sent */
    return consumer->tag_size == tag.size && memcmp(consumer->tag, tag.data, tag.size) == 0;
}

/*
 * A cancel that is owed cannot be said, and nobody would try again: its completion would never come, and messages go on coming that
 * nobody takes. So the connection ends.
 */
static void cancel_failed(lago_channel_t *ch, int rc) {
    lago_reason_t reason;
    reason_init(&reason, rc, LAGO_BY_CLIENT);
    reason_detail(&reason, "a consumer could not be cancelled");
    session_abandon(&ch->conn->session, &reason);
    connection_wake(ch->conn, true);
}

/* consume-ok came: a cancel that waited for it goes out now, unless its user has just closed the channel. */
static void consumer_started(lago_channel_t *ch, struct consumer *consumer) {
    if (consumer->state != CONSUMER_ASKED_CANCELLED || ch->goodbye_sent) return;
    struct basic_cancel m = { .consumer_tag = { consumer->tag, consumer->tag_size } };
    int rc = session_send(&ch->conn->session, ch->number, METHOD_BASIC_CANCEL, &m);
    if (rc < 0) cancel_failed(ch, rc);
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

static int consume(lago_channel_t *ch, const lago_basic_consume_t *args, lago_consumer_cb callback, void *data) {
    char made[32];
    int rc = channel_usable(ch);
    if (rc == 0 && (!args || !args->on_message == !args->on_body || !RESERVED_IS_ZERO(args))) rc = LAGO_EINVAL;
    if (rc == 0) rc = channel_begin_consuming(ch);
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
        if (args->on_body) session_announce_bodies(&ch->conn->session, ch->number);
        ch->consuming->newest = consumer;
        return 0;
    }
    consumer->free_data = NULL; /* the call did nothing: the data is still the caller's */
    consumer_free(ch, consumer);
    return rc;
}

int lago_basic_consume(lago_channel_t *ch, const lago_basic_consume_t *args, lago_consumer_cb callback, void *data) {
    bool fresh = ch && !ch->consuming;
    int rc = consume(ch, args, callback, data);
    if (rc < 0 && fresh) channel_end_consuming(ch);
    return rc;
}

lago_string_t lago_channel_last_consumer_tag(const lago_channel_t *ch) {
    const struct consumer *newest = ch && ch->consuming ? ch->consuming->newest : NULL;
    return newest ? (lago_string_t){ newest->tag, newest->tag_size } : (lago_string_t){ "", 0 };
}

size_t lago_channel_consumer_tags(const lago_channel_t *ch, lago_string_t *tags, size_t max) {
    size_t count = 0;
    if (!ch || !ch->consuming) return 0;
    for (struct strmap_node *node = NULL; (node = strmap_next(&ch->consuming->consumers, node)) != NULL;) {
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
        cancel_failed(ch, rc);
    else
        consumer_enter(consumer, CONSUMER_CANCELLING); /* until cancel-ok it knows what to do with deliveries */
}

/* ---------------------------------------------------------------- basic.cancel */

void consume_undone(lago_channel_t *ch, struct consumer *consumer) {
    if (!consumer->in_body) consumer_free(ch, consumer); /* as in tell_cancelled */
}

static void tell_cancelled(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    lago_channel_t *ch = op->ch;
    struct consumer *consumer = op->consumer;
    (void)answer;
    lago_string_t tag = { consumer->tag, consumer->tag_size };
    bool done = !reason && !consumer->in_body; /* its channel was closed in a body, which ends with the channel */
    if (done) consumer_forget(ch, consumer);
    if (op->callback) ((lago_consumer_cb)op->callback)(ch, reason, tag, op->data);
    if (done) consumer_free(ch, consumer);
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
    hold_drop(consumer, true);
    ch->consuming->cancelled_any = true;
    return 0;
}

void consume_cancelled(lago_channel_t *ch, const struct session_event *event) {
    lago_string_t tag = event->args->basic_cancel.consumer_tag;
    struct consumer *consumer = consumer_find(ch, tag.data, tag.size);
    if (!consumer || !consumer_is_living(consumer)) { /* our own cancel crossed it: cancel-ok comes as well */
        (void)session_brought_nothing(&ch->conn->session, "cancels of consumers that are no more");
        return;
    }
    if (consumer->in_body) return; /* as in tell_cancelled: it ends with its channel */
    if (consumer->state == CONSUMER_ASKED) {
        session_fail(&ch->conn->session, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_CANCEL,
                     "basic.cancel before basic.consume-ok on channel %u", ch->number);
        return;
    }
    lago_string_t kept = { consumer->tag, consumer->tag_size };
    hold_drop(consumer, true);
    consumer_forget(ch, consumer);
    if (consumer->user.on_cancel)
        consumer->user.on_cancel(ch, kept, consumer->user.data);
    else
        log_line(&ch->conn->env, LAGO_LOG_WARNING, "channel %u: the broker cancelled consumer %s", ch->number, kept.data);
    consumer_free(ch, consumer);
}
