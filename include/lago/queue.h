/*
 * Queues (AMQP 0-9-1, 1.7). The rules for every operation are at the top of channel.h.
 *
 * In every operation but declare, queue "" (or NULL) is the queue that this channel declared last, in the order of the calls,
 * a server-named one included (1.7.2.3.2). So: declare "", bind "", consume "" can be issued in one go.
 */
#ifndef LAGO_QUEUE_H
#define LAGO_QUEUE_H

#include <lago/channel.h>
#include <lago/table.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lago_queue_features lago_queue_features_t; /* rabbitmq.h */

typedef struct {
    const char *queue; /* "" or NULL: the broker makes a name, see the completion */
    bool passive;      /* only check that it exists: 404 closes the channel */
    bool durable;
    bool exclusive;         /* this connection's own, gone with it */
    bool auto_delete;       /* gone with its last consumer */
    bool no_wait;           /* not with a name made by the broker: LAGO_EINVAL */
    lago_table_t arguments; /* "x-queue-type" ... */
    uint32_t timeout_ms;
    const lago_queue_features_t *features; /* the same as typed members: rabbitmq.h. NULL: none */
    uintptr_t reserved[4];                 /* zero */
} lago_queue_declare_t;

typedef struct lago_queue_declare_ok {
    lago_string_t queue;
    uint32_t message_count; /* ready ones */
    uint32_t consumer_count;
} lago_queue_declare_ok_t;

/** Declared: `reason` is NULL and `ok` borrowed; else `ok` is NULL. */
typedef void (*lago_queue_declare_cb)(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok,
                                      void *data);

/** Create a queue, or check that one exists with these settings (1.7.2.1). Different settings: 406 closes the channel. */
LAGO_EXPORT int lago_queue_declare(lago_channel_t *ch, const lago_queue_declare_t *args, lago_queue_declare_cb callback,
                                   void *data);

typedef struct {
    const char *queue;
    const char *exchange;    /* required */
    const char *routing_key; /* default: the queue's name as given here, as pika; "" for the queue declared last */
    bool no_wait;            /* queue.unbind has none: LAGO_EINVAL */
    lago_table_t arguments;
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_queue_bind_t;

/** Bind a queue to an exchange (1.7.2.3), or undo that (1.7.2.5). */
LAGO_EXPORT int lago_queue_bind(lago_channel_t *ch, const lago_queue_bind_t *args, lago_done_cb callback, void *data);
LAGO_EXPORT int lago_queue_unbind(lago_channel_t *ch, const lago_queue_bind_t *args, lago_done_cb callback, void *data);

/** Purged or deleted: `message_count` messages are gone; 0 with a reason. */
typedef void (*lago_queue_count_cb)(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data);

typedef struct {
    const char *queue;
    bool no_wait;
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_queue_purge_t;

/** Drop the messages of a queue that are ready (1.7.2.7). */
LAGO_EXPORT int lago_queue_purge(lago_channel_t *ch, const lago_queue_purge_t *args, lago_queue_count_cb callback, void *data);

typedef struct {
    const char *queue;
    bool if_unused; /* with consumers: 406 closes the channel */
    bool if_empty;  /* with messages: 406 closes the channel */
    bool no_wait;
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_queue_delete_t;

/** Delete a queue (1.7.2.9). Its consumers are cancelled by the broker: on_cancel. */
LAGO_EXPORT int lago_queue_delete(lago_channel_t *ch, const lago_queue_delete_t *args, lago_queue_count_cb callback, void *data);

#ifdef __cplusplus
}
#endif
#endif
