/*
 * Messages: publish, consume, get, acknowledge (AMQP 0-9-1, 1.8). The rules for every operation are at the top of channel.h.
 */
#ifndef LAGO_BASIC_H
#define LAGO_BASIC_H

#include <lago/channel.h>
#include <lago/properties.h>
#include <lago/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- received messages */

/** A message, borrowed until the callback returns unless it is kept. */
typedef struct lago_message {
    lago_string_t consumer_tag; /* deliveries only */
    uint64_t delivery_tag;      /* lago's own: never used twice in the life of a channel; 0 for a return or a direct reply */
    bool redelivered;           /* it was delivered before, perhaps to somebody else */
    uint32_t message_count;     /* lago_basic_get only: how many are left in the queue */
    lago_string_t exchange;
    lago_string_t routing_key;
    const lago_properties_t *properties; /* never NULL */
    lago_bytes_t body;
} lago_message_t;

/** A returned message and why it came back. */
typedef struct lago_return {
    uint16_t reply_code; /* 312 NO_ROUTE */
    lago_string_t reply_text;
    const lago_message_t *message;
} lago_return_t;

/**
 * Keep a message beyond its callback. A small body is copied, a big one (of several frames) shared without a copy.
 *
 * @param kept  The copy, to be released by lago_message_release; NULL on error. It may outlive channel and connection, but not
 *              the allocator of its context.
 * @return 0, LAGO_EINVAL, LAGO_ENOMEM. Thread: the loop's.
 */
LAGO_EXPORT int lago_message_keep(const lago_message_t *message, lago_message_t **kept);

/** Release a kept message. NULL is allowed. Thread: the loop's. */
LAGO_EXPORT void lago_message_release(lago_message_t *kept);

/* ---------------------------------------------------------------- consuming */

typedef struct {
    uint32_t prefetch_size;  /* RabbitMQ takes only 0 (540 closes the connection) */
    uint16_t prefetch_count; /* how many unacknowledged deliveries at most; 0: no limit */
    bool global_qos;         /* for the channel as a whole, not for each new consumer */
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_basic_qos_t;

/** Limit what may be unacknowledged (1.8.3.1). */
LAGO_EXPORT int lago_basic_qos(lago_channel_t *ch, const lago_basic_qos_t *args, lago_done_cb callback, void *data);

/** A delivery. Acknowledge it by its delivery_tag, now or later, unless the consumer has auto_ack. */
typedef void (*lago_message_cb)(lago_channel_t *ch, const lago_message_t *message, void *data);

/** A piece of a message's body, as it came. */
typedef struct lago_body {
    const lago_message_t *message; /* all of it but the body, which is empty here; with a `reason` its two tags only. Borrowed */
    uint64_t size;                 /* bytes of the whole body, as the broker announced it */
    uint64_t offset;               /* of the piece in it */
    lago_bytes_t piece;            /* may be empty; no NUL behind it. Borrowed */
    bool begins;                   /* the first call for this message: from here on its delivery_tag may be acknowledged */
    bool ends;                     /* the last one; for a message that came at once it is the first as well */
    const lago_reason_t *reason;   /* `ends` only: why the rest will never come. NULL: that was all of it. Borrowed */
} lago_body_t;

/**
 * A delivery whose body is never held as a whole: large ones come piece by piece, in order, one after the other on a channel, while
 * other channels' messages may come in between. message_size_max does not limit them: `size` is told with the first call, before
 * a byte of the body, so who minds nacks. Each message that begins ends exactly once. Its rest never comes, and `reason` says why,
 * when its channel ends or is closed first; an lago_basic_cancel lets it come to its end. If the channel ends or is closed between
 * the two, the end of the body may be told after the completion of that cancel. After lago_channel_free and lago_connection_free
 * nothing is told any more. A piece cannot be kept: `message` can, without its body.
 */
typedef void (*lago_body_cb)(lago_channel_t *ch, const lago_body_t *body, void *data);

/** The broker cancelled the consumer (its queue was deleted, its node died): no delivery will follow. */
typedef void (*lago_cancel_cb)(lago_channel_t *ch, lago_string_t consumer_tag, void *data);

typedef struct lago_consumer_features lago_consumer_features_t; /* rabbitmq.h */

typedef struct {
    const char *queue;
    const char *consumer_tag; /* default: lago makes one, unique in the channel: "ctag1.1" */
    bool no_local;            /* RabbitMQ ignores it */
    bool auto_ack;            /* the broker takes a message as acknowledged when it sends it */
    bool exclusive;           /* no other consumer on this queue: else 403 */
    bool no_wait;
    lago_table_t arguments;     /* "x-priority", "x-stream-offset" ... */
    lago_message_cb on_message; /* this one or on_body is required */
    lago_body_cb on_body;       /* instead of on_message: bodies in pieces */
    lago_cancel_cb on_cancel;
    void *data;                    /* for on_message, on_body and on_cancel */
    void (*free_data)(void *data); /* called once, after the last callback of this consumer */
    uint32_t timeout_ms;
    const lago_consumer_features_t *features; /* priority, stream offset ... as typed members: rabbitmq.h. NULL: none */
    uintptr_t reserved[4];                    /* zero */
} lago_basic_consume_t;

/** Consuming: `reason` is NULL. Else it never began. The tag is borrowed. */
typedef void (*lago_consumer_cb)(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data);

/**
 * Start a consumer (1.8.3.3). A consumer ends exactly once: by a failed completion of this call, by the completion of
 * lago_basic_cancel, by on_cancel, or with its channel.
 *
 * @return As every operation, and LAGO_EEXIST: the channel has a consumer of that tag.
 */
LAGO_EXPORT int lago_basic_consume(lago_channel_t *ch, const lago_basic_consume_t *args, lago_consumer_cb callback, void *data);

/** The tag of the consumer that was started last on this channel, borrowed until that consumer ends; empty if there is none. */
LAGO_EXPORT lago_string_t lago_channel_last_consumer_tag(const lago_channel_t *ch);

/**
 * The tags of a channel's consumers (pika's consumer_tags), those included whose consume-ok is awaited, in no order.
 *
 * @param tags  Filled with at most `max` of them, borrowed until their consumers end; may be NULL when `max` is 0.
 * @return How many there are; 0 for NULL.
 */
LAGO_EXPORT size_t lago_channel_consumer_tags(const lago_channel_t *ch, lago_string_t *tags, size_t max);

typedef struct {
    const char *consumer_tag; /* required */
    bool no_wait; /* no completion. The broker is asked to answer all the same: it tells when the last delivery has come */
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_basic_cancel_t;

/**
 * Stop a consumer (1.8.3.5). RabbitMQ 3.10 fails (541) on a basic.cancel that it reads before it has sent consume-ok, so if that
 * is still to come the method leaves right after it. From the return of this call on its on_message is not called any more (nor
 * on_body, but for a message that has begun): deliveries that are on their way, or held because it was paused, are given back to
 * the queue. Unacknowledged ones may still be acknowledged.
 *
 * @return As every operation, and LAGO_ESTALE: the channel has no such consumer.
 */
LAGO_EXPORT int lago_basic_cancel(lago_channel_t *ch, const lago_basic_cancel_t *args, lago_consumer_cb callback, void *data);

/* What paused consumers of a connection hold at most, in bytes, but for the last message. */
#define LAGO_HELD_SIZE_MAX (1024 * 1024)

/**
 * Have a consumer wait. AMQP has no word for that, so the broker goes on sending, as far as the prefetch count lets it: its
 * messages are held, and told in their order after lago_consumer_resume, before anything new; other consumers go on. When all that
 * paused consumers of the connection hold exceeds LAGO_HELD_SIZE_MAX, or when a message for on_body that is not here whole would
 * begin or go on, nothing more of the connection is read until enough is resumed, cancelled or closed, as if by
 * lago_connection_pause: so give a consumer that will wait a small prefetch count, or a connection of its own.
 *
 * Held messages are unacknowledged (lago_channel_unacked_count), but no LAGO_MULTIPLE covers them. When the consumer is cancelled
 * by either side, or its channel closes, they are given back to their queue, or are lost with auto_ack; lago_basic_recover gives
 * them back, and they come again. Both calls may be repeated, also in its own callbacks.
 *
 * @return 0, LAGO_EINVAL, LAGO_ECLOSED, or LAGO_ESTALE: the channel has no such consumer. Thread: the loop's.
 */
LAGO_EXPORT int lago_consumer_pause(lago_channel_t *ch, const char *consumer_tag);
LAGO_EXPORT int lago_consumer_resume(lago_channel_t *ch, const char *consumer_tag);

typedef struct {
    const char *queue;
    bool auto_ack;
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_basic_get_t;

/** Both NULL: the queue is empty. A message (borrowed) or the reason why there is no answer. */
typedef void (*lago_get_cb)(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data);

/**
 * Fetch one message (1.8.3.10). Any number may be outstanding. A message that comes after `timeout_ms` is requeued.
 *
 * @param callback  Required.
 */
LAGO_EXPORT int lago_basic_get(lago_channel_t *ch, const lago_basic_get_t *args, lago_get_cb callback, void *data);

/**
 * Acknowledge (1.8.3.13); or refuse, by RabbitMQ's nack or the protocol's reject (1.8.3.14). A tag that is not open (never
 * delivered on this channel, settled before, of a link that is gone) sends nothing, so it cannot hurt.
 *
 * @param delivery_tag  Of the message. With LAGO_MULTIPLE: this and all lower open ones; 0 then means all of the channel.
 * @param flags         LAGO_MULTIPLE (not for reject), LAGO_NO_REQUEUE (not for ack).
 * @return 0, or LAGO_EINVAL (NULL channel, foreign flags), LAGO_ESTALE (no such open delivery), LAGO_ECLOSED, LAGO_ENOMEM (with
 *         LAGO_MULTIPLE, beside a consumer that is paused, some may be settled: the same call again settles the others).
 */
LAGO_EXPORT int lago_basic_ack(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags);
LAGO_EXPORT int lago_basic_nack(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags);
LAGO_EXPORT int lago_basic_reject(lago_channel_t *ch, uint64_t delivery_tag, unsigned flags);

typedef struct {
    bool no_requeue; /* redeliver to this channel. RabbitMQ refuses that (540, closes the connection) */
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_basic_recover_t;

/**
 * Give all unacknowledged deliveries of the channel back (1.8.3.16); their tags are stale from here on. What the broker had sent
 * before it heard of this, and which comes before the completion, goes back as well: it is told, but its tag is stale.
 */
LAGO_EXPORT int lago_basic_recover(lago_channel_t *ch, const lago_basic_recover_t *args, lago_done_cb callback, void *data);

/* ---------------------------------------------------------------- publishing */

typedef struct {
    const char *exchange;                /* default "": the default exchange, routes to the queue named by routing_key */
    const char *routing_key;             /* default "" */
    bool mandatory;                      /* unroutable: the broker returns it */
    bool immediate;                      /* RabbitMQ refuses it (540, closes the connection) */
    const lago_properties_t *properties; /* NULL: none */
    lago_bytes_t body;
    void (*release_body)(void *data); /* if set, the body is not copied: it must stay as it is until this is called, once */
    void *release_data;
    uintptr_t reserved[4]; /* zero */
} lago_basic_publish_t;

typedef enum lago_publish_outcome {
    LAGO_PUBLISH_CONFIRMED, /* the broker took responsibility */
    LAGO_PUBLISH_NACKED,    /* the broker could not or would not */
    LAGO_PUBLISH_RETURNED,  /* mandatory, and no queue took it. Of equal ones, which a return cannot tell apart,
                               the oldest behind what came back before */
    LAGO_PUBLISH_NOT_SENT,  /* the channel ended before a byte of it left */
    LAGO_PUBLISH_UNKNOWN    /* the channel ended before the broker said anything: it may have arrived or not */
} lago_publish_outcome_t;

typedef struct lago_publish_result {
    lago_publish_outcome_t outcome;
    uint64_t sequence_number;
    uint16_t reply_code;         /* RETURNED: why; else 0 */
    const lago_reason_t *reason; /* NOT_SENT and UNKNOWN: why; else NULL. Borrowed */
} lago_publish_result_t;

/** Called once per publish that was given one. */
typedef void (*lago_publish_cb)(lago_channel_t *ch, const lago_publish_result_t *result, void *data);

/** The name of an outcome, "confirmed". @return A static string. Thread: any. */
LAGO_EXPORT const char *lago_publish_outcome_name(lago_publish_outcome_t outcome);

/**
 * Publish a message (1.8.3.7), all or nothing. Before the connection is open and while it is blocked it is queued
 * (unless refuse_while_blocked says otherwise).
 *
 * @param args      Copied or encoded before the call returns, but for a body with release_body. On an error the body was not
 *                  taken and release_body is not called.
 * @param callback  The outcome, on a confirming channel; NULL without. Outcomes come by sequence number within what one
 *                  frame of the broker settles.
 * @return The sequence number on a confirming channel (equal to the broker's tag), 0 on others; or, taking no number,
 *         LAGO_EAGAIN     high_water bytes are waiting (the last message may exceed it), or the connection is blocked and
 *                         refuse_while_blocked: on_drain follows, or the end
 *         LAGO_ENOCONFIRM a callback on a channel without confirms
 *         LAGO_EINVAL, LAGO_ETOOLONG, LAGO_ETOOBIG, LAGO_ETABLE, LAGO_ETYPE, LAGO_EDEPTH, LAGO_ECLOSED, LAGO_ENOMEM.
 */
LAGO_EXPORT int64_t lago_basic_publish(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback,
                                       void *data);

typedef struct {
    const char *exchange;    /* default: the message's own; "": the default exchange */
    const char *routing_key; /* default: the message's own, embedded NULs included */
    bool mandatory;
    bool keep_user_id;     /* RabbitMQ closes the channel (406) unless it is this connection's user, or an impersonator */
    uintptr_t reserved[4]; /* zero */
} lago_forward_t;

/**
 * Publish a received, returned or kept message as it came, for shovels and routers: properties, header table and body leave byte
 * for byte. A big body (of several frames) is shared, not copied. The connection may be another one of the same loop.
 *
 * But: user_id is left out unless keep_user_id says otherwise. A header table with letters that RabbitMQ does not take ('U' and
 * 'L' of old clients, which RabbitMQ itself never sends) is LAGO_ETYPE. Headers mean something again: RabbitMQ routes by "CC"
 * once more, and `expiration` starts anew. To change properties, copy the struct and use lago_basic_publish.
 *
 * @param message  Borrowed.
 * @param args     NULL: to where it was published before.
 * @return As lago_basic_publish.
 */
LAGO_EXPORT int64_t lago_message_forward(lago_channel_t *ch, const lago_message_t *message, const lago_forward_t *args,
                                         lago_publish_cb callback, void *data);

#ifdef __cplusplus
}
#endif
#endif
