/*
 * Publishing by the thousand: a route that is prepared once, and a window of messages that the broker has yet to confirm.
 *
 * A publisher belongs to a channel. Exchange, routing key, `mandatory` and properties are checked and encoded when it is made;
 * a publish copies that and adds the body, which takes half of what lago_basic_publish does. What differs from message to
 * message (a routing key, a message_id, headers ...) can be said with the message; that one is encoded anew then.
 *
 *     lago_confirm_select(ch, NULL, NULL, NULL);
 *     lago_publisher_new(ch, &(lago_publisher_options_t){ .routing_key = "work", .window_count = 1000, .on_ready = pump,
 *                                                         .on_outcome = on_outcome }, &publisher);
 *     static void pump(lago_publisher_t *publisher, void *data) {
 *         while (have_more(data) && lago_publisher_publish(publisher, body_of(data), data) >= 0) next(data);
 *     }
 *
 * A publish that is one too many returns LAGO_EAGAIN and takes no number: `window_count` messages of this publisher wait for
 * their outcomes, or high_water bytes wait in the connection. Then on_ready is called once, as soon as at most half of the window
 * is taken (if that is why) and the output is at low_water (if that is why): so that it is worth while to go on. It is called on
 * no other occasion, the first one neither: begin by publishing. Nobody else has to watch on_drain for a publisher, though
 * it comes as well when it was the output. Instead of on_ready the end may come.
 *
 * Messages of a publisher are messages of its channel: they leave in the order of all calls on that channel, and share its
 * sequence numbers with lago_basic_publish and other publishers. Before the connection is open and while the broker has it
 * blocked they are queued (unless refuse_while_blocked says otherwise: then LAGO_EAGAIN, and on_ready after on_unblocked).
 *
 * Outcomes, on a confirming channel, are told message by message (on_outcome) or in runs (on_settled): when the broker confirms
 * a thousand messages at once, that is one call.
 *
 * End: with its channel, after the outcomes of that channel's publishes, without a word but free_data; calls are LAGO_ECLOSED
 * then. Until it is freed, or its channel or connection is, the handle stays valid. Thread: the loop's.
 */
#ifndef LAGO_PUBLISHER_H
#define LAGO_PUBLISHER_H

#include <lago/basic.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A prepared route on a channel, freed by lago_publisher_free or with its channel. */
typedef struct lago_publisher lago_publisher_t;

/** It may go on: a publish was refused (LAGO_EAGAIN), and the next one will not be. */
typedef void (*lago_publisher_ready_cb)(lago_publisher_t *publisher, void *data);

/** Messages of one publisher with sequence numbers from `first` to `last`, all of them its own, that came to the same end. */
typedef struct lago_publisher_settled {
    uint64_t first, last;
    lago_publish_outcome_t outcome;
    uint16_t reply_code;         /* RETURNED: why; else 0 */
    const lago_reason_t *reason; /* NOT_SENT and UNKNOWN: why; else NULL. Borrowed */
} lago_publisher_settled_t;

/**
 * Outcomes in a run: one call for what one frame of the broker settles, or an end, unless other outcomes or messages of others
 * lie between.
 */
typedef void (*lago_publisher_settled_cb)(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data);

typedef struct lago_publisher_options {
    const char *exchange;                /* default "": the default exchange, routes to the queue named by routing_key */
    const char *routing_key;             /* default "" */
    bool mandatory;                      /* unroutable: the broker returns it */
    const lago_properties_t *properties; /* NULL: none */
    uint32_t window_count;               /* at most so many messages without an outcome; default: no limit */
    /*
     * The outcome of each message, with the `data` given to its publish; or outcomes in runs, with `data` below. One of them or
     * none; like a window, only on a confirming channel.
     */
    lago_publish_cb on_outcome;
    lago_publisher_settled_cb on_settled;
    lago_publisher_ready_cb on_ready;
    void *data;
    void (*free_data)(void *data); /* called once, after the last callback of this publisher */
    uintptr_t reserved[8];         /* zero */
} lago_publisher_options_t;

/**
 * Prepare a route.
 *
 * @param options    Copied, strings, properties and header table included; NULL: all defaults.
 * @param publisher  The handle; NULL on error.
 * @return 0; LAGO_EINVAL, LAGO_ETOOLONG, LAGO_ETOOBIG (does not fit into a frame), LAGO_ETABLE, LAGO_ETYPE, LAGO_EDEPTH (the
 *         headers), LAGO_ENOCONFIRM (a window, on_outcome or on_settled before lago_confirm_select), LAGO_ECLOSED, LAGO_ENOMEM.
 *         Whether the exchange exists only the broker knows: the channel ends with 404 at the first message.
 */
LAGO_EXPORT int lago_publisher_new(lago_channel_t *ch, const lago_publisher_options_t *options, lago_publisher_t **publisher);

/**
 * Let go of the handle, at any time, in any callback. What was published stays so, but its outcomes are not told any more;
 * lago_channel_close still waits for them. free_data is called, at once or after the running callback. NULL is allowed.
 */
LAGO_EXPORT void lago_publisher_free(lago_publisher_t *publisher);

/**
 * Publish a message as it was prepared, all or nothing.
 *
 * @param body  Copied.
 * @param data  For on_outcome.
 * @return The sequence number on a confirming channel, 0 on others; or, taking no number,
 *         LAGO_EAGAIN  the window is full, or high_water bytes wait: on_ready follows, or the end
 *         LAGO_EINVAL, LAGO_ETOOBIG (frame_max has become less since it was prepared), LAGO_ECLOSED, LAGO_ENOMEM.
 */
LAGO_EXPORT int64_t lago_publisher_publish(lago_publisher_t *publisher, lago_bytes_t body, void *data);

/**
 * Publish bodies in a row, each a message as it was prepared: all of them, or as many as there is room for.
 *
 * @param bodies  Copied.
 * @param count   How many they are.
 * @param data    For the on_outcome of each.
 * @param first   Filled with the sequence number of the first on a confirming channel (the others follow it), else with 0. May
 *                be NULL.
 * @return How many were taken, from the first on; fewer than `count` if LAGO_EAGAIN (on_ready follows, or the end) or LAGO_ENOMEM
 *         came in between (nothing is promised then: call again for the rest). If none could be taken: the error, as
 *         lago_publisher_publish. 0 for no bodies.
 */
LAGO_EXPORT int64_t lago_publisher_publish_batch(lago_publisher_t *publisher, const lago_bytes_t *bodies, size_t count,
                                                 void *data, uint64_t *first);

/** One message and what is different about it. */
typedef struct lago_publisher_message {
    lago_bytes_t body;
    void (*release_body)(void *data); /* if set, the body is not copied: it must stay as it is until this is called, once */
    void *release_data;
    const char *routing_key; /* default: as prepared */
    /*
     * What is set here takes the place of the property that was prepared, or stands beside it; headers as a whole. NULL: none. To
     * set one to zero or to nothing use `present`, as always.
     */
    const lago_properties_t *properties;
    uintptr_t reserved[8]; /* zero */
} lago_publisher_message_t;

/**
 * Publish a message that differs from what was prepared, or whose body is lent.
 *
 * @param message  Copied or encoded before the call returns, but for a body with release_body. On an error the body was not
 *                 taken and release_body is not called.
 * @param data     For on_outcome.
 * @return As lago_publisher_publish; also LAGO_ETOOLONG, LAGO_ETOOBIG, LAGO_ETABLE, LAGO_ETYPE, LAGO_EDEPTH.
 */
LAGO_EXPORT int64_t lago_publisher_publish_message(lago_publisher_t *publisher, const lago_publisher_message_t *message,
                                                   void *data);

/**
 * Whether a publish would be taken now: how many more the window has room for, SIZE_MAX without one; 0 if the output is full, or
 * it has ended. Asking promises no on_ready.
 */
LAGO_EXPORT size_t lago_publisher_room(const lago_publisher_t *publisher);

LAGO_EXPORT size_t lago_publisher_unconfirmed_count(const lago_publisher_t *publisher); /* messages without an outcome */
LAGO_EXPORT lago_channel_t *lago_publisher_channel(const lago_publisher_t *publisher);  /* NULL for NULL */
LAGO_EXPORT void *lago_publisher_data(const lago_publisher_t *publisher);               /* `data` of the options */

#ifdef __cplusplus
}
#endif
#endif
