/*
 * Requests and replies over AMQP, with the correlation, time limits and ends that every program otherwise writes by hand.
 *
 * A client has one lago_rpc_t on a channel. It consumes replies from RabbitMQ's pseudo-queue (direct reply-to: no queue is
 * declared, replies go straight to this channel), publishes requests, and matches replies to them by a correlation_id of its own.
 * Any number of calls may be in flight; each costs the same whatever their number.
 *
 *     lago_rpc_new(ch, NULL, &rpc);
 *     lago_rpc_call(rpc, &(lago_rpc_call_t){ .routing_key = "rpc_queue", .body = { "30", 2 } }, on_reply, NULL);
 *
 * A server consumes requests as any messages, and answers each by lago_rpc_reply.
 *
 * Ends: a call ends exactly once, by its callback, unless it is forgotten or its handle freed: with the reply, or with a reason:
 *   - LAGO_ETIMEDOUT     no reply within timeout_ms. The request may still be served; give it an `expiration` against that.
 *   - LAGO_EUNROUTABLE   the broker returned the request: no queue took it. reply_code and reply_text are the broker's (312).
 *                        The channel's on_return is not called for it (but for one that comes back after its call has ended).
 *   - LAGO_ECONSUMER     the broker cancelled the consumer of replies (the caller's own reply queue was deleted); or
 *     LAGO_ETIMEDOUT     it never confirmed it. The handle is of no use then: further calls are LAGO_ECLOSED.
 *   - the reason of the channel's or the connection's end. A channel's calls come after its operations and before the outcomes
 *     of its publishes, in the order of the calls; then free_data of the handle.
 * Closing a channel or connection does not wait for replies: wait for them first. From the close on replies are not told.
 * A reply that nobody waits for (too late, unknown, without a correlation_id) is dropped and counted.
 *
 * A request is a publish: on a confirming channel it takes a sequence number, and its channel must not be transactional.
 * Thread: the loop's.
 */
#ifndef LAGO_RPC_H
#define LAGO_RPC_H

#include <lago/basic.h>

#ifdef __cplusplus
extern "C" {
#endif

/* RabbitMQ's pseudo-queue: what is published with this reply_to is answered to the channel that consumes from it. */
#define LAGO_DIRECT_REPLY_TO "amq.rabbitmq.reply-to"

/** The client's side: one per channel, freed by lago_rpc_free or with its channel. */
typedef struct lago_rpc lago_rpc_t;

typedef struct lago_rpc_options {
    /*
     * Where replies go. Default: LAGO_DIRECT_REPLY_TO. Else a queue of the caller's that nobody else consumes from (exclusive),
     * for brokers without direct reply-to, or servers behind a shovel or a federation; it is consumed with auto_ack.
     */
    const char *reply_to;
    /*
     * What every correlation_id begins with, at most 64 bytes; default "". The rest is a number that does not come twice in the
     * life of a connection. A reply queue that outlives its connection needs a prefix that no other life has: a late reply to
     * an earlier one must not be taken for an answer.
     */
    const char *correlation_prefix;
    uint32_t timeout_ms; /* of calls that say none; default: the connection's operation_timeout_ms. LAGO_NO_TIMEOUT: none */
    void *data;
    void (*free_data)(void *data); /* called once, after the last callback of this handle */
    uintptr_t reserved[8];         /* zero */
} lago_rpc_options_t;

/**
 * Start to consume replies. Calls may be issued at once: everything leaves in order.
 *
 * @param options  Copied; NULL: all defaults.
 * @param rpc      The handle; NULL on error.
 * @return 0; LAGO_EEXIST (the channel has one: RabbitMQ takes one consumer of the pseudo-queue per channel; also while one that
 *         was freed before the broker had confirmed its consumer is still to be cancelled), LAGO_EINVAL, LAGO_ETOOLONG,
 *         LAGO_ECLOSED, LAGO_ENOMEM. A reply queue that does not exist or is another connection's ends the channel (404, 405).
 */
LAGO_EXPORT int lago_rpc_new(lago_channel_t *ch, const lago_rpc_options_t *options, lago_rpc_t **rpc);

/**
 * Let go of the handle, at any time, in any callback: calls in flight end without a callback, the consumer is cancelled. Freeing
 * the channel or the connection frees the handle as well. NULL is allowed.
 */
LAGO_EXPORT void lago_rpc_free(lago_rpc_t *rpc);

typedef struct {
    const char *exchange;                /* default "": the default exchange */
    const char *routing_key;             /* default "" */
    const lago_properties_t *properties; /* without reply_to and correlation_id, which are lago's: else LAGO_EINVAL */
    lago_bytes_t body;
    void (*release_body)(void *data); /* as in lago_basic_publish_t */
    void *release_data;
    uint32_t timeout_ms;   /* until the reply is here; default: the handle's. LAGO_NO_TIMEOUT: none */
    uintptr_t reserved[8]; /* zero */
} lago_rpc_call_t;

typedef struct lago_rpc_result {
    const lago_message_t *reply; /* borrowed (lago_message_keep keeps it); NULL: there is none */
    const lago_reason_t *reason; /* why there is none, borrowed; else NULL */
    /* No server has got the request, and none will: it may be sent again. No byte of it had left when its channel ended, or it
     * was unroutable. */
    bool not_served;
} lago_rpc_result_t;

/** A call has ended. */
typedef void (*lago_rpc_cb)(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data);

/**
 * Publish a request, mandatory, and await its reply.
 *
 * @param callback  Required.
 * @return The number of the call, above 0 and never used twice in the life of a connection: `callback` follows. Or an error as
 *         lago_basic_publish returns it (LAGO_EAGAIN too), LAGO_ECLOSED also when the consumer of replies has ended.
 */
LAGO_EXPORT int64_t lago_rpc_call(lago_rpc_t *rpc, const lago_rpc_call_t *args, lago_rpc_cb callback, void *data);

/**
 * End a call without its callback: whoever wanted the reply is gone. The request itself cannot be recalled; its reply is dropped.
 *
 * @param call  As lago_rpc_call returned it.
 * @return 0, LAGO_EINVAL, or LAGO_ESTALE: it has ended, or never was.
 */
LAGO_EXPORT int lago_rpc_forget(lago_rpc_t *rpc, int64_t call);

LAGO_EXPORT lago_channel_t *lago_rpc_channel(const lago_rpc_t *rpc);     /* NULL for NULL */
LAGO_EXPORT void *lago_rpc_data(const lago_rpc_t *rpc);                  /* `data` of the options */
LAGO_EXPORT size_t lago_rpc_pending_count(const lago_rpc_t *rpc);        /* calls in flight */
LAGO_EXPORT uint64_t lago_rpc_dropped_count(const lago_rpc_t *rpc);      /* replies that nobody waited for */
LAGO_EXPORT const lago_reason_t *lago_rpc_reason(const lago_rpc_t *rpc); /* why further calls are refused; NULL if they are not */

/**
 * The server's side: answer a request, to the queue that its reply_to names (through the default exchange) and with its
 * correlation_id. The request may be a kept one, and `ch` any channel. Acknowledging the request is the caller's.
 *
 * @param reply  Properties, body and `mandatory`; exchange, routing_key and the property correlation_id must not be set
 *               (LAGO_EINVAL). NULL: an empty reply.
 * @return As lago_basic_publish; LAGO_ENOREPLY: the request has no reply_to, so its sender wants no reply.
 */
LAGO_EXPORT int64_t lago_rpc_reply(lago_channel_t *ch, const lago_message_t *request, const lago_basic_publish_t *reply,
                                   lago_publish_cb callback, void *data);

#ifdef __cplusplus
}
#endif
#endif
