/*
 * The features of a queue: which entries they are, and which combinations no RabbitMQ from 3.8 to 4.3 honours: every version
 * refuses them (406), but for 3.8, which ignores some. What one of them takes is left to the broker.
 */
#include "feature.h"
#include "operation.h"
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RabbitMQ's own bounds, of all versions that have the setting. */
#define PRIORITY_MAX     255
#define SEGMENT_SIZE_MAX 3000000000
#define FILTER_SIZE_MIN  16
#define FILTER_SIZE_MAX  255
#define VERSION_MAX      2

static const char *const types[] = { "default", "classic", "quorum", "stream" };
static const char *const overflows[] = { "", "drop-head", "reject-publish", "reject-publish-dlx" };
static const char *const strategies[] = { "", "at-most-once", "at-least-once" };
static const char *const locators[] = { "", "client-local", "balanced" };
static const char *const modes[] = { "", "lazy" };
static const char *const retries[] = { "", "disabled", "all", "failed", "returned" };

/* Every queue's settings, then those of one type. */
static void add_common(struct features *f, const lago_queue_features_t *q) {
    feature_word(f, "x-queue-type", (unsigned)q->queue_type, types, COUNT(types));
    feature_text(f, "x-dead-letter-exchange", q->dead_letter_exchange);
    feature_text(f, "x-dead-letter-routing-key", q->dead_letter_routing_key);
    feature_word(f, "x-dead-letter-strategy", (unsigned)q->dead_letter_strategy, strategies, COUNT(strategies));
    feature_number(f, "x-delivery-limit", q->delivery_limit, LAGO_DELIVERY_LIMIT_OFF, INT64_MAX);
    feature_number(f, "x-message-ttl", q->message_ttl_ms, 0, INT64_MAX);
    feature_number(f, "x-expires", q->expires_ms, 1, INT64_MAX);
    feature_number(f, "x-consumer-timeout", q->consumer_timeout_ms, 1, INT64_MAX);
    feature_number(f, "x-max-length", q->max_length, 0, INT64_MAX);
    feature_number(f, "x-max-length-bytes", q->max_length_bytes, 0, INT64_MAX);
    feature_word(f, "x-overflow", (unsigned)q->overflow, overflows, COUNT(overflows));
    feature_number(f, "x-max-priority", q->max_priority, 1, PRIORITY_MAX);
    feature_flag(f, "x-single-active-consumer", q->single_active_consumer);
    feature_word(f, "x-queue-leader-locator", (unsigned)q->queue_leader_locator, locators, COUNT(locators));
}

static void add_special(struct features *f, const lago_queue_features_t *q) {
    feature_number(f, "x-quorum-initial-group-size", q->quorum_initial_group_size, 1, INT64_MAX);
    feature_number(f, "x-quorum-target-group-size", q->quorum_target_group_size, 1, INT64_MAX);
    feature_number(f, "x-initial-cluster-size", q->initial_cluster_size, 1, INT64_MAX);
    if (q->max_age.count || q->max_age.unit) feature_age(f, "x-max-age", q->max_age.count, q->max_age.unit);
    feature_number(f, "x-stream-max-segment-size-bytes", q->stream_max_segment_size_bytes, 1, SEGMENT_SIZE_MAX);
    feature_number(f, "x-stream-filter-size-bytes", q->stream_filter_size_bytes, FILTER_SIZE_MIN, FILTER_SIZE_MAX);
    feature_word(f, "x-queue-mode", (unsigned)q->queue_mode, modes, COUNT(modes));
    feature_number(f, "x-queue-version", q->queue_version, 1, VERSION_MAX);
    feature_word(f, "x-delayed-retry-type", (unsigned)q->delayed_retry_type, retries, COUNT(retries));
    feature_number(f, "x-delayed-retry-min", q->delayed_retry_min_ms, 1, INT64_MAX);
    feature_number(f, "x-delayed-retry-max", q->delayed_retry_max_ms, 1, INT64_MAX);
    if (q->delayed_retry_max_ms && q->delayed_retry_max_ms < q->delayed_retry_min_ms)
        feature_refuse(f, "x-delayed-retry-max is below x-delayed-retry-min; raise it");
}

/* ---------------------------------------------------------------- combinations */

#define CLASSIC (1u << LAGO_QUEUE_CLASSIC)
#define QUORUM  (1u << LAGO_QUEUE_QUORUM)
#define STREAM  (1u << LAGO_QUEUE_STREAM)

/* What the queues of these types do not have. */
static const struct {
    const char *key;
    unsigned types;
    const char *instead;
} strangers[] = {
    { "x-delivery-limit", CLASSIC | STREAM, "only quorum queues count deliveries" },
    { "x-dead-letter-strategy", CLASSIC | STREAM, "leave it out, or make it a quorum queue" },
    { "x-dead-letter-exchange", STREAM, "reading a stream removes nothing" },
    { "x-dead-letter-routing-key", STREAM, "reading a stream removes nothing" },
    { "x-message-ttl", STREAM, "give max_age" },
    { "x-expires", STREAM, "give max_age" },
    { "x-max-length", STREAM, "give max_length_bytes" },
    { "x-overflow", STREAM, "leave it out: the oldest messages go" },
    { "x-max-priority", QUORUM | STREAM, "leave it out: from 4.0 on quorum queues have priorities without it" },
    { "x-single-active-consumer", STREAM, "leave it out" },
    { "x-quorum-initial-group-size", CLASSIC | STREAM, "for a stream give initial_cluster_size" },
    { "x-quorum-target-group-size", CLASSIC | STREAM, "leave it out, or make it a quorum queue" },
    { "x-initial-cluster-size", CLASSIC | QUORUM, "for a quorum queue give quorum_initial_group_size" },
    { "x-max-age", CLASSIC | QUORUM, "give message_ttl_ms" },
    { "x-stream-max-segment-size-bytes", CLASSIC | QUORUM, "leave it out, or make it a stream" },
    { "x-stream-filter-size-bytes", CLASSIC | QUORUM, "leave it out, or make it a stream" },
    { "x-queue-mode", QUORUM | STREAM, "leave it out: messages are on disk anyway" },
    { "x-queue-version", QUORUM | STREAM, "leave it out" },
};

static void check_entries(struct features *f, lago_queue_type_t type) {
    for (size_t i = 0; i < f->count; i++)
        for (size_t j = 0; j < COUNT(strangers); j++)
            if (strangers[j].types & 1u << type && strcmp(f->fields[i].name.data, strangers[j].key) == 0)
                feature_refuse(f, "a %s%s has no %s; %s", types[type], type == LAGO_QUEUE_STREAM ? "" : " queue",
                               strangers[j].key, strangers[j].instead);
}

/* 3.8 gives a quorum queue a name, so that is left to the broker; it has no streams. */
static void check_flags(struct features *f, const lago_queue_declare_t *args, lago_queue_type_t type) {
    if (type != LAGO_QUEUE_QUORUM && type != LAGO_QUEUE_STREAM) return;
    const char *what = type == LAGO_QUEUE_QUORUM ? "quorum queue" : "stream";
    if (!args->durable) feature_refuse(f, "a %s must be durable; set it", what);
    if (args->exclusive) feature_refuse(f, "a %s cannot be exclusive; take a classic queue", what);
    if (args->auto_delete && type == LAGO_QUEUE_QUORUM)
        feature_refuse(f, "a quorum queue cannot be auto_delete; give expires_ms");
    if (args->auto_delete) feature_refuse(f, "a stream cannot be auto_delete; take it out");
    if (type == LAGO_QUEUE_STREAM && f->name[0] == '\0') feature_refuse(f, "the broker names no streams; give a name");
}

static bool is_given(const struct features *f, const lago_queue_declare_t *args, const char *key) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->fields[i].name.data, key) == 0) return true;
    return lago_table_get(&args->arguments, key, NULL) == 1;
}

static void check_dead_letters(struct features *f, const lago_queue_declare_t *args) {
    const lago_queue_features_t *q = args->features;
    bool exchange = is_given(f, args, "x-dead-letter-exchange"), overflow = is_given(f, args, "x-overflow");
    if (q->dead_letter_routing_key && !exchange)
        feature_refuse(f, "x-dead-letter-routing-key without x-dead-letter-exchange; give both");
    if (q->dead_letter_strategy != LAGO_DEAD_LETTER_AT_LEAST_ONCE) return;
    if (q->overflow != LAGO_OVERFLOW_DEFAULT && q->overflow != LAGO_OVERFLOW_REJECT_PUBLISH)
        feature_refuse(f, "at-least-once works only with LAGO_OVERFLOW_REJECT_PUBLISH; RabbitMQ would fall back to at-most-once");
    if (f->error == 0 && !(exchange && overflow))
        log_line(&f->ch->conn->env, LAGO_LOG_WARNING,
                 "channel %u: queue.declare of \"%s\": at-least-once needs x-dead-letter-exchange and x-overflow reject-publish; "
                 "unless a policy brings them RabbitMQ falls back to at-most-once",
                 f->ch->number, f->name);
}

int feature_of_queue(struct features *f, lago_channel_t *ch, const lago_queue_declare_t *args, lago_table_t *arguments) {
    const lago_queue_features_t *q = args->features;
    feature_init(f, ch, "queue.declare", args->queue);
    *arguments = args->arguments;
    if (!q || args->passive) return 0;
    if (!RESERVED_IS_ZERO(q)) return LAGO_EINVAL;
    add_common(f, q);
    add_special(f, q);
    if (f->error) return f->error;
    check_entries(f, q->queue_type);
    check_flags(f, args, q->queue_type);
    check_dead_letters(f, args);
    return feature_join(f, &args->arguments, arguments);
}
