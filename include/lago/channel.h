/*
 * A channel: one ordered conversation inside a connection (AMQP 0-9-1, 1.5). Operations of a channel, publishes and acks
 * included, leave in the order of their calls, and their answers come in that order (but for those to consume and cancel, which
 * RabbitMQ may send behind the answers to later ones).
 *
 * Life: lago_channel_open -> on_open, once, with NULL or with the reason why it never opened; after a good on_open exactly one
 * on_close. A channel remembers its first call that failed (lago_channel_error), so that a row of calls needs one check.
 *
 * Rules for every operation of channel.h, exchange.h, queue.h and basic.h:
 *   - The argument struct is borrowed for the call; NULL stands for all defaults where no member is required. Strings are
 *     NUL-terminated, at most 255 bytes.
 *   - `timeout_ms` ends the operation with LAGO_ETIMEDOUT when the broker has not answered by then; its answer, if it comes
 *     still, is swallowed. Default: the connection's operation_timeout_ms.
 *   - `no_wait` asks the broker not to answer: there is no completion then, so a callback with it is LAGO_EINVAL.
 *   - The completion may be NULL. It gets exactly one of: `reason` NULL (done), or the reason why not, borrowed.
 *   - They return 0, or LAGO_EINVAL (NULL channel, an argument out of range, callback with no_wait), LAGO_ETOOLONG (a name),
 *     LAGO_ETOOBIG (does not fit into a frame), LAGO_ETABLE, LAGO_ETYPE, LAGO_EDEPTH (the arguments), LAGO_ECLOSED (the channel
 *     or connection is closing or has ended) or LAGO_ENOMEM; then nothing was sent and nothing will be called.
 *   - An error of the broker (404, 403, 405, 406 ...) closes the channel, not the connection: the operation that was refused
 *     and all that wait behind it complete with that reason, then on_close.
 *   - Thread: the loop's.
 */
#ifndef LAGO_CHANNEL_H
#define LAGO_CHANNEL_H

#include <lago/connection.h>
#include <lago/error.h>
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of operations and acknowledgements; 0 is pika's default everywhere. */
#define LAGO_MULTIPLE   1u /* ack, nack: this tag and all lower ones that are open */
#define LAGO_NO_REQUEUE 2u /* nack, reject: drop or dead-letter instead of requeue */

/** An operation is done (`reason` NULL) or was ended. */
typedef void (*lago_done_cb)(lago_channel_t *ch, const lago_reason_t *reason, void *data);

/** A channel was opened (`reason` NULL) or never will be; or it has ended (on_close, never NULL). */
typedef void (*lago_channel_end_cb)(lago_channel_t *ch, const lago_reason_t *reason, void *data);

/** The broker asks to stop (false) or to go on with (true) publishing (channel.flow); lago has answered and holds publishes. */
typedef void (*lago_channel_flow_cb)(lago_channel_t *ch, bool active, void *data);

struct lago_return;

/** A mandatory message came back unroutable (basic.return). All is borrowed. */
typedef void (*lago_return_cb)(lago_channel_t *ch, const struct lago_return *returned, void *data);

typedef struct lago_channel_options {
    lago_channel_end_cb on_open;
    lago_channel_end_cb on_close;
    lago_return_cb on_return;
    lago_channel_flow_cb on_flow;
    void *data;
    void (*free_data)(void *data); /* called once, after the last callback of this channel */
    uint32_t timeout_ms;           /* for channel.open-ok */
    bool
        single_acks; /* each lago_basic_ack is a frame of its own; default: neighbours leave as one `multiple` that says the same */
    uintptr_t reserved[8]; /* zero */
} lago_channel_options_t;

/**
 * Open a channel with the lowest free number (1.5.2.1). Legal before the connection is open.
 *
 * @param options  Copied; NULL: no callbacks.
 * @param ch       The handle, usable at once; NULL on error. Free it with lago_channel_free, or with its connection.
 * @return 0: on_open follows. Or LAGO_EINVAL, LAGO_ENOCHANNEL (all numbers up to channel_max are in use; a number is free
 *         again after the broker's close-ok), LAGO_ECLOSED, LAGO_ENOMEM. A channel opened too early with a number beyond the
 *         channel_max that is then agreed ends with LAGO_ENOCHANNEL.
 */
LAGO_EXPORT int lago_channel_open(lago_connection_t *conn, const lago_channel_options_t *options, lago_channel_t **ch);

/**
 * Close a channel (1.5.2.5): write what was accepted, wait for its answers and confirms, say goodbye. Like
 * lago_connection_close.
 *
 * @return 0: on_close (on_open if it is not open yet) follows, with LAGO_ECLOSED, or LAGO_ETIMEDOUT if the broker never
 *         answered. Or LAGO_EINVAL, LAGO_ETOOLONG, LAGO_ENOMEM, LAGO_ECLOSED if it has ended already.
 */
LAGO_EXPORT int lago_channel_close(lago_channel_t *ch, const lago_close_t *options);

/**
 * Let go of the handle, at any time, in any callback. A living channel is closed without waiting and without further
 * callbacks, but for free_data of the channel and its consumers. NULL is allowed.
 */
LAGO_EXPORT void lago_channel_free(lago_channel_t *ch);

/** The first negative return of a call on this channel, 0 if none; LAGO_EAGAIN and LAGO_ESTALE do not count. LAGO_EINVAL for
 * NULL, so that a row of calls on a channel that could not be opened shows it. */
LAGO_EXPORT int lago_channel_error(const lago_channel_t *ch);

/* pika's states and numbers. */
typedef enum lago_channel_state {
    LAGO_CHANNEL_CLOSED = 0,
    LAGO_CHANNEL_OPENING = 1,
    LAGO_CHANNEL_OPEN = 2,
    LAGO_CHANNEL_CLOSING = 3
} lago_channel_state_t;

LAGO_EXPORT lago_channel_state_t lago_channel_state(const lago_channel_t *ch);    /* CLOSED for NULL */
LAGO_EXPORT uint16_t lago_channel_number(const lago_channel_t *ch);               /* 0 for NULL */
LAGO_EXPORT lago_connection_t *lago_channel_connection(const lago_channel_t *ch); /* NULL for NULL */
LAGO_EXPORT void *lago_channel_data(const lago_channel_t *ch);                    /* `data` of the options */

/** Why it ended, as lago_connection_reason; borrowed until the handle is freed. @return NULL while it lives. */
LAGO_EXPORT const lago_reason_t *lago_channel_reason(const lago_channel_t *ch);
LAGO_EXPORT size_t lago_channel_unacked_count(const lago_channel_t *ch);     /* deliveries not acknowledged yet */
LAGO_EXPORT size_t lago_channel_unconfirmed_count(const lago_channel_t *ch); /* publishes without an outcome yet */

/** pika's flow_active: false while the broker has asked this channel to stop publishing (on_flow), and when it has ended. */
LAGO_EXPORT bool lago_channel_is_flow_active(const lago_channel_t *ch);

/* ---------------------------------------------------------------- flow, confirms, transactions */

typedef struct {
    bool active; /* false: the broker shall stop delivering. RabbitMQ refuses that (540, closes the connection) */
    uint32_t timeout_ms;
} lago_channel_flow_t;

/** `active` as the broker confirmed it. */
typedef void (*lago_channel_flow_ok_cb)(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data);

/** Ask the broker to stop or go on delivering (channel.flow, 1.5.2.3). */
LAGO_EXPORT int lago_channel_flow(lago_channel_t *ch, const lago_channel_flow_t *args, lago_channel_flow_ok_cb callback,
                                  void *data);

typedef struct {
    bool no_wait;
    uint32_t timeout_ms;
} lago_confirm_select_t;

/**
 * Have publishes confirmed from here on (RabbitMQ: confirm.select). From the return of this call on publishes have sequence
 * numbers, from 1. A second call changes nothing. Not on a channel with transactions: the broker closes it then.
 */
LAGO_EXPORT int lago_confirm_select(lago_channel_t *ch, const lago_confirm_select_t *args, lago_done_cb callback, void *data);

typedef struct lago_tx {
    uint32_t timeout_ms;
} lago_tx_t;

/** Make the channel transactional; commit; roll back (1.9.2). */
LAGO_EXPORT int lago_tx_select(lago_channel_t *ch, const lago_tx_t *args, lago_done_cb callback, void *data);
LAGO_EXPORT int lago_tx_commit(lago_channel_t *ch, const lago_tx_t *args, lago_done_cb callback, void *data);
LAGO_EXPORT int lago_tx_rollback(lago_channel_t *ch, const lago_tx_t *args, lago_done_cb callback, void *data);

#ifdef __cplusplus
}
#endif
#endif
