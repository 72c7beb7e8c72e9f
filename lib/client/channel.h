/* A channel handle, seen from inside the client. Its number on the wire is the session's; its life is here. */
#ifndef LAGO_CLIENT_CHANNEL_H
#define LAGO_CLIENT_CHANNEL_H

#include "confirms.h"
#include "connection.h"
#include "strmap.h"
#include "tagset.h"
#include "timeline.h"
#include <lago/basic.h>

/* What of an end has been told: operations, calls, outcomes of publishes, consumers, then the channel itself. */
enum channel_ending {
    CHANNEL_TELL_OPERATIONS,
    CHANNEL_TELL_CALLS,
    CHANNEL_TELL_PUBLISHES,
    CHANNEL_TELL_CONSUMERS,
    CHANNEL_TELL_END,
    CHANNEL_TOLD
};

struct lago_channel {
    struct list in_connection; /* connection.channels */
    struct list in_ended;      /* connection.ended_channels */
    lago_connection_t *conn;
    lago_channel_options_t options;
    lago_channel_state_t state;
    uint16_t number;
    int error;                /* the first call that failed */
    lago_reason_t *reason;    /* why it ended: own memory, or reason_without_memory */
    struct list operations;   /* struct operation.in_channel, in the order of their answers */
    struct deadline deadline; /* while opening: of open-ok; while closing: of the whole goodbye */
    /* closing */
    char *reply_text;
    uint16_t reply_code;
    bool await_confirms;
    bool goodbye_sent; /* channel.close is in the queue: nothing may follow */
    bool opened;       /* on_open said so: the end is on_close's */
    bool freed;
    enum channel_ending ending;
    uint64_t publishes_sent; /* once it has ended: how many publishes had left */
    /* consuming */
    struct strmap consumers;
    struct consumer *recent; /* the one that got the last delivery: usually gets the next */
    struct consumer *newest; /* the one that was started last */
    uint64_t tags_made;
    uint16_t prefetch_count; /* of the last basic.qos that set one; see qos_issued */
    bool cancelled_any;      /* a consumer was forgotten: deliveries for an unknown tag may be its last ones */
    struct tagset unacked;
    struct timeline delivered; /* when, by delivery tag */
    uint64_t last_delivery_tag;
    /* publishing */
    uint64_t published; /* publishes accepted, before confirm.select too */
    struct confirms confirms;
    struct timeline published_at; /* when, by sequence number */
    struct lago_rpc *rpc;         /* or NULL */
};

/* Remember the first failed call; passes `rc` through. NULL channel: LAGO_EINVAL. */
int channel_result(lago_channel_t *ch, int rc);

/* 0, or why no new operation may be issued: LAGO_EINVAL for NULL, LAGO_ECLOSED. */
int channel_usable(const lago_channel_t *ch);

/* The only writer of `state`. */
void channel_enter(lago_channel_t *ch, lago_channel_state_t state);

/* open-ok came, the broker's close-ok to our close came. */
void channel_opened(lago_channel_t *ch);
void channel_closed(lago_channel_t *ch, uint64_t publishes_sent);

/* It has ended: from the next turn on ending_channel_step tells everybody. */
void channel_end(lago_channel_t *ch, const lago_reason_t *reason, uint64_t publishes_sent);

/* Say goodbye now if nothing is awaited any more. */
void channel_advance(lago_channel_t *ch);

/* Release everything it owns without telling anybody but free_data, and the handle with it. */
void channel_destroy(lago_channel_t *ch);

/* Channels above the channel_max that was agreed end here. */
void channels_beyond(lago_connection_t *conn, uint16_t channel_max);

/* ---------------------------------------------------------------- consume.c */

struct consumer;

/* basic.deliver, basic.cancel from the broker, and what happens to consumers at a channel's end (one per call). */
void consume_delivered(lago_channel_t *ch, const struct session_event *event);
void consume_cancelled(lago_channel_t *ch, const struct session_event *event);
bool consumers_end_step(lago_channel_t *ch);

/* A late answer to a get or consume that was given up: requeue, or cancel. */
void consume_undo_get(lago_channel_t *ch, const struct session_event *event, bool auto_ack);
void consume_undo_consume(lago_channel_t *ch, struct consumer *consumer);

/* The tag of the consumer that got the last delivery, if it still lives; else empty. */
lago_string_t consume_recent_tag(const lago_channel_t *ch);

/* Lines about its consumers, for the dump. */
struct text;
void consumers_describe(const lago_channel_t *ch, struct text *t, size_t max);

/* Whether a consume-ok or cancel-ok is of this consumer. */
bool consume_is_answer(const struct consumer *consumer, const struct session_event *answer);

/* cancel-ok after its user was told that none came. */
void consume_undone(lago_channel_t *ch, struct consumer *consumer);
void get_answered(lago_channel_t *ch, const struct session_event *event);

/* ---------------------------------------------------------------- publish.c */

/* basic.return came. */
void publish_returned(lago_channel_t *ch, const struct session_event *event);

#endif
