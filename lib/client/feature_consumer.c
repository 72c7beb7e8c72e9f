/* The features of a consumer, and what reading a stream demands of it. */
#include "feature.h"
#include "operation.h"

static void add_offset(struct features *f, const lago_stream_offset_t *offset) {
    const char *key = "x-stream-offset";
    lago_value_t seconds = { LAGO_TYPE_TIMESTAMP, { .unsigned_integer = offset->value } };
    switch (offset->from) {
    case LAGO_OFFSET_DEFAULT:
        if (offset->value || offset->unit)
            feature_refuse(f, "%s has a value, but not from where; give LAGO_OFFSET_NUMBER ...", key);
        return;
    case LAGO_OFFSET_FIRST: feature_text(f, key, "first"); return;
    case LAGO_OFFSET_LAST: feature_text(f, key, "last"); return;
    case LAGO_OFFSET_NEXT: feature_text(f, key, "next"); return;
    case LAGO_OFFSET_NUMBER:
        if (offset->value > INT64_MAX) feature_refuse(f, "%s is above INT64_MAX", key);
        feature_value(f, key, &(lago_value_t)LAGO_VALUE_I64((int64_t)offset->value));
        return;
    case LAGO_OFFSET_TIMESTAMP: feature_value(f, key, &seconds); return; /* 'T': an integer would be a number */
    case LAGO_OFFSET_INTERVAL: feature_age(f, key, offset->value, offset->unit); return;
    }
    feature_refuse(f, "%s is from %u, which is none of its enumerators", key, (unsigned)offset->from);
}

/* 4.x fails (541) on an empty filter and on one that is no string. */
static void add_filter(struct features *f, const lago_array_t *filter) {
    lago_array_iterator_t it = lago_array_iterate(filter);
    lago_value_t value;
    int rc;
    if (!filter->values && !filter->raw) return;
    while ((rc = lago_array_next(&it, &value)) == 1)
        if (value.type != LAGO_TYPE_STRING) feature_refuse(f, "x-stream-filter must be of strings only");
    if (rc < 0 || filter->size == 0) feature_refuse(f, "x-stream-filter is empty or malformed; give strings");
    feature_value(f, "x-stream-filter", &(lago_value_t)LAGO_VALUE_ARRAY(*filter));
}

static void check_stream(struct features *f, const lago_basic_consume_t *args) {
    if (args->auto_ack) feature_refuse(f, "a stream takes no auto_ack; acknowledge what is delivered");
    if (f->ch->consuming->prefetch_count == 0) feature_refuse(f, "a stream takes a prefetch count; call lago_basic_qos before");
    if (args->features->priority) feature_refuse(f, "the consumers of a stream have no priority; take it out");
}

int feature_of_consumer(struct features *f, lago_channel_t *ch, const lago_basic_consume_t *args, lago_table_t *arguments) {
    const lago_consumer_features_t *c = args->features;
    feature_init(f, ch, "basic.consume", args->queue);
    *arguments = args->arguments;
    if (!c) return 0;
    if (!RESERVED_IS_ZERO(c)) return LAGO_EINVAL;
    feature_number(f, "x-priority", c->priority, INT32_MIN, INT32_MAX);
    feature_number(f, "x-consumer-timeout", c->consumer_timeout_ms, 1, INT64_MAX);
    size_t ordinary = f->count;
    add_offset(f, &c->stream_offset);
    add_filter(f, &c->stream_filter);
    feature_flag(f, "x-stream-match-unfiltered", c->stream_match_unfiltered);
    if (f->count > ordinary) check_stream(f, args);
    return feature_join(f, &args->arguments, arguments);
}
