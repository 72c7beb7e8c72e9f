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
    CHANNEL_TELL_END
};

/* What a channel needs from its first consumer, get or prefetch count on. */
struct consuming {
    struct strmap consumers;
    struct consumer *recent; /* the one that got the last delivery: usually gets the next */
    uint32_t recent_alike;   /* and surely one that has this number (session_event.alike); ALIKE_NONE: none has */
    unsigned ack_run_max;    /* acknowledgements that wait for each other: 1, half of prefetch_count, or any number */
    struct consumer *newest; /* the one that was started last */
    uint64_t tags_made;
    uint16_t prefetch_count; /* of the last basic.qos that set one; see qos_issued */
    uint16_t tag_gaps;       /* that the broker has left since the last time that nothing was open */
    bool is_watched;         /* each delivery tag is looked at: basic.recover was sent, or they are high */
    bool recovers;           /* basic.recover was sent, and may not be answered yet */
    bool cancelled_any;      /* a consumer was forgotten: deliveries for an unknown tag may be its last ones */
    size_t held_count;       /* messages of paused consumers (hold.c) */
    struct tagset unacked;
    struct timeline delivered; /* when, by delivery tag */
    uint64_t last_delivery_tag;
    struct lago_rpc *rpc; /* or NULL */
};

/* And from confirm.select on. */
struct confirming {
    struct confirms confirms;
    struct timeline published_at; /* when, by sequence number */
};

/* What of its options is needed for as long as it lives. */
struct channel_callbacks {
    lago_channel_end_cb on_open;
    lago_channel_end_cb on_close;
    lago_return_cb on_return;
    lago_channel_flow_cb on_flow;
    void *data;
    void (*free_data)(void *data);
};

/* A connection may have thousands, most of them idle: what they need for their work is made when the work begins. */
struct lago_channel {
    struct list in_connection; /* connection.channels, or .ended_channels while its end is told; freed: .garbage */
    lago_connection_t *conn;
    struct channel_callbacks options;
    int error; /* the first call that failed */
    uint16_t number;
    uint16_t reply_code; /* closing */
    uint8_t state;       /* lago_channel_state_t */
    uint8_t ending;      /* enum channel_ending */
    bool single_acks;
    bool await_confirms;
    bool goodbye_sent; /* channel.close is in the queue: nothing may follow */
    bool opened;       /* on_open said so: the end is on_close's */
    bool freed;
    lago_reason_t *reason;    /* why it ended: own memory, or reason_without_memory */
    struct list operations;   /* struct operation.in_channel, in the order of their answers */
    struct deadline deadline; /* while opening: of open-ok; while closing: of the whole goodbye */
    char *reply_text;         /* closing */
    uint64_t publishes_sent;  /* once it has ended: how many publishes had left */
    struct consuming *consuming;
    /* publishing */
    uint64_t published; /* publishes accepted, before confirm.select too */
    struct confirming *confirming;
    struct list *publishers; /* the first of a ring of lago_publisher.node; NULL: none */
};

/* What it needs for consumers and deliveries, for numbered publishes: be there, 0 or LAGO_ENOMEM; go, when nothing came of it. */
int channel_begin_consuming(lago_channel_t *ch);
void channel_end_consuming(lago_channel_t *ch);
int channel_begin_confirming(lago_channel_t *ch);
void channel_end_confirming(lago_channel_t *ch);

/* Remember the first failed call; passes `rc` through. NULL channel: LAGO_EINVAL. */
int channel_result(lago_channel_t *ch, int rc);

/* 0, or why no new operation may be issued: LAGO_EINVAL for NULL, LAGO_ECLOSED. */
static inline int channel_usable(const lago_channel_t *ch) {
    if (!ch) return LAGO_EINVAL;
    bool living = ch->state == LAGO_CHANNEL_OPENING || ch->state == LAGO_CHANNEL_OPEN;
    return living && ch->conn->stage <= STAGE_OPEN ? 0 : LAGO_ECLOSED;
}

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

/* ---------------------------------------------------------------- consume.c, deliver.c */

struct consumer;

/* basic.deliver, basic.cancel from the broker, and what happens to consumers at a channel's end (one per call). */
void consume_delivered(lago_channel_t *ch, const struct session_event *event);
void consume_cancelled(lago_channel_t *ch, const struct session_event *event);
bool consumers_end_step(lago_channel_t *ch);

/* A body is announced; and a piece of one that is handed out (body.c). */
void consume_body_begun(lago_channel_t *ch, const struct session_event *event);
void consume_body(lago_channel_t *ch, const struct session_event *event);

/* What its paused consumers hold goes, back to the queue or nowhere (hold.c). */
void hold_drop_all(lago_channel_t *ch, bool give_back);

/* basic.recover gives back what is held, too: it comes again, and is held again. */
void hold_recovered(lago_channel_t *ch);

/* A `multiple` while something is held: each open delivery that was told, one by one, by `settle`. As lago_basic_ack. */
int hold_settle(lago_channel_t *ch, uint64_t tag, unsigned flags, int (*settle)(lago_channel_t *, uint64_t, unsigned));

/* The answer to a basic.get; and one that comes late, when the call was given up: requeue. */
void get_answered(lago_channel_t *ch, const struct session_event *event);
void get_undo(lago_channel_t *ch, const struct session_event *event, bool auto_ack);

/* consume-ok that comes late: cancel; and cancel-ok after its user was told that none came. */
void consume_undo_consume(lago_channel_t *ch, struct consumer *consumer);
void consume_undone(lago_channel_t *ch, struct consumer *consumer);

/* Whether a consume-ok or cancel-ok is of this consumer. */
bool consume_is_answer(const struct consumer *consumer, const struct session_event *answer);

/* The tag of the consumer that got the last delivery, if it still lives; else empty. */
lago_string_t consume_recent_tag(const lago_channel_t *ch);

/* Lines about its consumers, for the dump. */
struct text;
void consumers_describe(const lago_channel_t *ch, struct text *t, size_t max);

/* ---------------------------------------------------------------- publish.c */

/* basic.return came. */
void publish_returned(lago_channel_t *ch, const struct session_event *event);

#endif
