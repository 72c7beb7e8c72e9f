/*
 * What RabbitMQ adds to AMQP 0-9-1, by its names: types of queues and their settings, streams, dead letters, time to live,
 * priorities, delivery counts. All of it is tables in the end, so whatever has no member here goes into `arguments` or headers.
 *
 *     lago_queue_declare_t quorum = { .queue = "orders", .durable = true, .features = &(lago_queue_features_t){
 *         .queue_type = LAGO_QUEUE_QUORUM, .delivery_limit = 5, .dead_letter_exchange = "dead" } };
 *
 *     lago_basic_consume_t tail = { .queue = "log", .on_message = on_message, .features = &(lago_consumer_features_t){
 *         .stream_offset = { .from = LAGO_OFFSET_INTERVAL, .value = 1, .unit = LAGO_HOURS } } };
 *
 * In C++ they are variables: `lago_queue_features_t f{}; f.queue_type = LAGO_QUEUE_QUORUM; declare.features = &f;`.
 *
 * What is refused. A declare or consume that no RabbitMQ from 3.8 to 4.3 would honour returns LAGO_EINVAL and leaves one WARNING
 * line in the log that says what is wrong and what to do; nothing is sent, so the channel lives. What some version takes is the
 * broker's to judge (406 closes the channel), and so is all that stands in `arguments`.
 *
 * What differs between versions. Measured with 3.8.9, 3.10.8, 4.0.5 and 4.3.6:
 *   - From 4.0 on a quorum queue drops or dead-letters a message at its 21st failed delivery, unless delivery_limit says
 *     otherwise; before, never. From 4.3 on rejects and lost consumers count as failures, nacks and recovers do not.
 *   - Classic queues that are neither durable nor exclusive: 4.x warns, and refuses them (541 closes the connection) where its
 *     deprecated feature transient_nonexcl_queues is denied.
 *   - lago_basic_qos with global_qos: 540 (closes the connection) at a consume from a quorum queue before 4.3; from 4.3 on the
 *     broker takes it as the limit of each consumer.
 *   - A delivery held longer than the consumer timeout (30 minutes): see lago_reason_is_consumer_timeout.
 */
#ifndef LAGO_RABBITMQ_H
#define LAGO_RABBITMQ_H

#include <lago/basic.h>
#include <lago/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number 0, in members where 0 itself means "not given". Other negative numbers are LAGO_EINVAL, unless they have a name. */
#define LAGO_ZERO INT64_MIN

/* A unit of time. The enumerators are the letters on the wire; RabbitMQ compares settings by their text, so that 7 days are not
 * 168 hours. */
typedef enum lago_time_unit {
    LAGO_SECONDS = 's',
    LAGO_MINUTES = 'm',
    LAGO_HOURS = 'h',
    LAGO_DAYS = 'D',
    LAGO_MONTHS = 'M', /* of 30 days */
    LAGO_YEARS = 'Y'   /* of 365 days */
} lago_time_unit_t;

/* ---------------------------------------------------------------- queues */

typedef enum lago_queue_type {
    LAGO_QUEUE_TYPE_DEFAULT, /* the virtual host's, mostly classic */
    LAGO_QUEUE_CLASSIC,
    LAGO_QUEUE_QUORUM, /* replicated. Must be durable, not exclusive, not auto_delete */
    LAGO_QUEUE_STREAM  /* replicated, reading does not remove (3.9). As quorum; and it needs a name */
} lago_queue_type_t;

/* What happens to a message for which there is no room. */
typedef enum lago_overflow {
    LAGO_OVERFLOW_DEFAULT,           /* drop-head */
    LAGO_OVERFLOW_DROP_HEAD,         /* the oldest message goes, to the dead letter exchange if there is one */
    LAGO_OVERFLOW_REJECT_PUBLISH,    /* the new message goes; its publisher gets LAGO_PUBLISH_NACKED. Quorum: from 3.10 on, and a
                                        few more fit in */
    LAGO_OVERFLOW_REJECT_PUBLISH_DLX /* the same, and it is dead-lettered. Classic only; a quorum queue takes it as drop-head */
} lago_overflow_t;

typedef enum lago_dead_letter_strategy {
    LAGO_DEAD_LETTER_DEFAULT,      /* at-most-once */
    LAGO_DEAD_LETTER_AT_MOST_ONCE, /* a dead letter that nobody takes at that moment is lost */
    LAGO_DEAD_LETTER_AT_LEAST_ONCE /* kept until it was confirmed. Quorum, from 3.10 on */
} lago_dead_letter_strategy_t;

/* Where the leader of a new replicated queue shall live. */
typedef enum lago_queue_leader_locator {
    LAGO_LEADER_DEFAULT,
    LAGO_LEADER_CLIENT_LOCAL, /* on the node of this connection */
    LAGO_LEADER_BALANCED      /* on the node with few leaders (3.10) */
} lago_queue_leader_locator_t;

/* What of a quorum queue comes back only after a pause (4.3). */
typedef enum lago_delayed_retry {
    LAGO_DELAYED_RETRY_DEFAULT, /* the policy's, else disabled */
    LAGO_DELAYED_RETRY_DISABLED,
    LAGO_DELAYED_RETRY_ALL,
    LAGO_DELAYED_RETRY_FAILED,  /* what counts as a failed delivery: rejected, or its consumer was lost */
    LAGO_DELAYED_RETRY_RETURNED /* what does not: nacked, recovered */
} lago_delayed_retry_t;

typedef enum lago_queue_mode { LAGO_QUEUE_MODE_DEFAULT, LAGO_QUEUE_MODE_LAZY } lago_queue_mode_t;

/** How old: { .count = 7, .unit = LAGO_DAYS }. All zero: not given. */
typedef struct lago_age {
    uint32_t count; /* 1 and more */
    lago_time_unit_t unit;
} lago_age_t;

/**
 * Settings of a queue, for lago_queue_declare_t.features. A member that is zero is not sent: then a policy of the broker may set
 * it, or its default holds. A queue that exists must have the very same settings, else 406 closes the channel.
 *
 * Their entries come first in the arguments of the declare, those of `arguments` follow; the same name in both is LAGO_EINVAL.
 * A passive declare does not look at them, as the broker does not.
 */
struct lago_queue_features {
    lago_queue_type_t queue_type;

    /* Dead letters: what is rejected without requeue, expired, dropped or delivered too often is published again. */
    const char *dead_letter_exchange;    /* "" is the default exchange */
    const char *dead_letter_routing_key; /* instead of the message's own; needs dead_letter_exchange */
    /* AT_LEAST_ONCE works only with a dead_letter_exchange and LAGO_OVERFLOW_REJECT_PUBLISH; else RabbitMQ takes it as
     * AT_MOST_ONCE without a word. So another overflow is refused; if either is missing, which a policy may bring, the log has a
     * WARNING. */
    lago_dead_letter_strategy_t dead_letter_strategy;
    int64_t delivery_limit; /* quorum: so many failed deliveries are forgiven; LAGO_ZERO, LAGO_DELIVERY_LIMIT_OFF */

    /* Time. */
    int64_t message_ttl_ms; /* how long a message may wait; LAGO_ZERO: dead unless a consumer takes it at once. Quorum: 3.10 */
    int64_t expires_ms;     /* the queue itself goes after so long without consumers, gets and declares. Quorum: 3.10 */
    int64_t consumer_timeout_ms; /* how long a delivery may stay unacknowledged. Quorum on 4.3, which refuses it elsewhere */

    /* Size. Several bounds hold together. */
    int64_t max_length;       /* ready messages; LAGO_ZERO. Not for streams */
    int64_t max_length_bytes; /* bytes of ready bodies, of a stream: of all; LAGO_ZERO */
    lago_overflow_t overflow; /* not for streams, which always drop the oldest */

    /* Order and consumers. */
    int max_priority;            /* classic: 1 to 255, few are better. Quorum queues have priorities without it, from 4.0 on */
    bool single_active_consumer; /* one consumer is served, the next when it is gone. Not for streams */

    /* Replicas. */
    lago_queue_leader_locator_t queue_leader_locator; /* quorum, stream; classic from 4.0 on */
    int quorum_initial_group_size;                    /* quorum: on so many nodes */
    int quorum_target_group_size;                     /* quorum: grows to so many nodes, where the broker can */
    int initial_cluster_size;                         /* stream: on so many nodes */

    /* Streams. */
    lago_age_t max_age;                    /* older segments go */
    int64_t stream_max_segment_size_bytes; /* up to 3000000000; only whole segments go */
    int stream_filter_size_bytes;          /* 16 to 255 (3.13) */

    /* Classic queues of older brokers. */
    lago_queue_mode_t queue_mode; /* LAZY: bodies on disk early. No effect from 3.12 on */
    int queue_version;            /* 1 or 2 (3.10); 4.3 refuses 1 */

    /* Delayed retry, quorum queues from 4.3 on. After its n-th failed delivery a message waits n times the min, at most the max;
     * a returned one waits the min. */
    lago_delayed_retry_t delayed_retry_type;
    int64_t delayed_retry_min_ms;
    int64_t delayed_retry_max_ms;

    uintptr_t reserved[4]; /* zero */
};

/* delivery_limit: no limit. From 4.0 on; 3.x has none anyway, and takes this as the limit 0: give it to 4.x only. */
#define LAGO_DELIVERY_LIMIT_OFF (-1)

/* ---------------------------------------------------------------- consumers */

/* Where reading a stream begins. */
typedef enum lago_offset {
    LAGO_OFFSET_DEFAULT, /* not given: next */
    LAGO_OFFSET_FIRST,
    LAGO_OFFSET_LAST,      /* the last chunk that was written: some messages */
    LAGO_OFFSET_NEXT,      /* what is published from now on */
    LAGO_OFFSET_NUMBER,    /* `value` is the offset of the first message, at most INT64_MAX */
    LAGO_OFFSET_TIMESTAMP, /* `value` is in seconds since 1970-01-01 00:00 UTC. Begins with a chunk: a few may be older */
    LAGO_OFFSET_INTERVAL   /* `value` (1 and more) of `unit` ago. As TIMESTAMP */
} lago_offset_t;

/** { .from = LAGO_OFFSET_NUMBER, .value = 1000 } */
typedef struct lago_stream_offset {
    lago_offset_t from;
    uint64_t value;
    lago_time_unit_t unit; /* INTERVAL only */
} lago_stream_offset_t;

/**
 * Settings of a consumer, for lago_basic_consume_t.features; joined with `arguments` as those of a queue.
 *
 * Reading a stream (any stream_* member) takes acknowledgements and a prefetch count: with auto_ack, or without a lago_basic_qos
 * on this channel before, it is LAGO_EINVAL. An ack moves the window, it removes nothing. Before 4.0 nack and reject close the
 * connection (540); so what arrives behind a cancel, which lago gives back, it acknowledges there. It knows a stream by its
 * x-stream-offset: give one always, LAGO_OFFSET_NEXT if need be.
 */
struct lago_consumer_features {
    int32_t priority;                   /* of higher ones is served first while they take; default 0. Not for streams */
    int64_t consumer_timeout_ms;        /* how long it may hold a delivery. Quorum on 4.3, which refuses it elsewhere */
    lago_stream_offset_t stream_offset; /* reading a stream */
    lago_array_t stream_filter;   /* only chunks with these: LAGO_ARRAY(LAGO_VALUE_STR("europe")). Strings, one and more; 3.13 */
    bool stream_match_unfiltered; /* and messages without a filter value */
    uintptr_t reserved[4];        /* zero */
};

/* ---------------------------------------------------------------- publishing */

/* Headers that RabbitMQ acts on. CC and BCC are arrays of further routing keys; BCC is taken off before delivery:
 * .headers = LAGO_TABLE(LAGO_FIELD_ARRAY(LAGO_HEADER_CC, LAGO_ARRAY(LAGO_VALUE_STR("audit"), LAGO_VALUE_STR("billing")))) */
#define LAGO_HEADER_CC                  "CC"
#define LAGO_HEADER_BCC                 "BCC"
#define LAGO_HEADER_STREAM_FILTER_VALUE "x-stream-filter-value" /* a string, for stream_filter of consumers */

/* Argument of an exchange: where its unroutable messages go. */
#define LAGO_ARGUMENT_ALTERNATE_EXCHANGE "alternate-exchange"

/* The longest time to live that RabbitMQ 3.9 and later take: ten years. */
#define LAGO_EXPIRATION_MAX_MS INT64_C(315360000000)

/** Room for an expiration. */
typedef struct lago_expiration {
    char text[24];
} lago_expiration_t;

/**
 * A time to live as the property `expiration` wants it: a decimal string. So a computed one cannot become "for ever" by being 0:
 *
 *     .expiration = LAGO_EXPIRATION(deadline_ms - now_ms)          C
 *     lago_expiration_t text; p.expiration = lago_expiration_format(&text, 60000);     C++
 *
 * @param expiration  Filled. It must live until the publish returns; that of LAGO_EXPIRATION lives to the end of its block.
 * @param ttl_ms      0 and less: expired, delivered only to a consumer that waits. More than ten years is taken as ten years.
 * @return `expiration->text`; NULL for NULL. Thread: any.
 */
LAGO_EXPORT const char *lago_expiration_format(lago_expiration_t *expiration, int64_t ttl_ms);

#ifndef __cplusplus
#define LAGO_EXPIRATION(ttl_ms) lago_expiration_format(&(lago_expiration_t){ { 0 } }, (ttl_ms))
#endif

/* ---------------------------------------------------------------- reading received messages */

/*
 * None of these allocates or fails: a header that is missing, of an odd type or malformed reads as absent. `message` is borrowed,
 * kept ones are fine, NULL is a message without headers; strings are views into it. Thread: any.
 */

/** How often the delivery of this message has failed before (quorum queues); 0 also where nobody counts. */
LAGO_EXPORT uint64_t lago_message_delivery_count(const lago_message_t *message);

/** How often it was given to a consumer before, returned ones included (quorum queues from 4.3 on); else 0. */
LAGO_EXPORT uint64_t lago_message_acquired_count(const lago_message_t *message);

/**
 * Where in its stream it stands. To go on after it: LAGO_OFFSET_NUMBER, *offset + 1.
 *
 * @param offset  Filled when true is returned. May be NULL.
 * @return Whether it came from a stream.
 */
LAGO_EXPORT bool lago_message_stream_offset(const lago_message_t *message, uint64_t *offset);

typedef enum lago_death_reason {
    LAGO_DEATH_OTHER, /* see `reason_text` */
    LAGO_DEATH_REJECTED,
    LAGO_DEATH_EXPIRED,
    LAGO_DEATH_MAXLEN,        /* no room */
    LAGO_DEATH_DELIVERY_LIMIT /* failed too often */
} lago_death_reason_t;

/** One entry of x-death: what happened in one queue for one reason. What is absent is empty or 0. */
typedef struct lago_death {
    lago_string_t queue;
    lago_death_reason_t reason;
    lago_string_t reason_text;
    lago_string_t exchange;            /* to which it had been published */
    lago_array_t routing_keys;         /* strings: lago_array_iterate */
    uint64_t count;                    /* how often */
    uint64_t time;                     /* of the first one, seconds since 1970-01-01 00:00 UTC */
    lago_string_t original_expiration; /* what its property expiration was */
} lago_death_t;

/** Where a walk through the deaths of a message stands. Its members are lago's own. */
typedef struct lago_death_iterator {
    lago_array_iterator_t entries;
} lago_death_iterator_t;

/**
 * Begin a walk through x-death, the most recent death first. It lives as long as the message.
 *
 *     lago_death_iterator_t it = lago_message_deaths(message);
 *     for (lago_death_t death; lago_death_next(&it, &death);) ...
 */
LAGO_EXPORT lago_death_iterator_t lago_message_deaths(const lago_message_t *message);

/** The next death. @return Whether there was one; what cannot be read ends the walk. */
LAGO_EXPORT bool lago_death_next(lago_death_iterator_t *iterator, lago_death_t *death);

/**
 * The first and the last death: x-first-death-*, x-last-death-* (before 3.13: the top of x-death). Queue, reason and exchange are
 * those, the other members are from the entry of x-death for that queue and reason, if it has one.
 *
 * @param death  Filled when true is returned. May be NULL.
 * @return Whether the message is a dead letter that says so.
 */
LAGO_EXPORT bool lago_message_first_death(const lago_message_t *message, lago_death_t *death);
LAGO_EXPORT bool lago_message_last_death(const lago_message_t *message, lago_death_t *death);

/** "rejected", "expired", "maxlen", "delivery_limit", "other". @return A static string. Thread: any. */
LAGO_EXPORT const char *lago_death_reason_name(lago_death_reason_t reason);

/* ---------------------------------------------------------------- ends */

/**
 * Whether the broker closed the channel because a delivery was not acknowledged within its consumer_timeout (406; known by its
 * words, RabbitMQ 3.8.15 and later). From 4.3 on the broker takes the delivery back and cancels the consumer instead: on_cancel.
 *
 * @param reason  Of a channel's end. NULL: false. Thread: any.
 */
LAGO_EXPORT bool lago_reason_is_consumer_timeout(const lago_reason_t *reason);

#ifdef __cplusplus
}
#endif
#endif
