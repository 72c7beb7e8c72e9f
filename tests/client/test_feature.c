/*
 * RabbitMQ's features of queues and consumers: every member as the very bytes of its entry, joined with arguments; and what is
 * refused before anything is sent, with one line in the log.
 */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct client_test test;
static struct client_test *const t = &test;
static lago_channel_t *ch;

/* Warnings go to the journal, without what they all begin with. */
static void on_line(void *data, lago_log_level_t level, const char *line) {
    const char *words = strstr(line, "refused: ");
    (void)data;
    if (level <= LAGO_LOG_WARNING) note(t, "! %s", words ? words + strlen("refused: ") : line);
}

static int setup(void **state) {
    (void)state;
    client_init(t);
    client_open(t);
    ch = client_open_channel(t);
    t->v.on_line = on_line;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    client_end(t);
    return 0;
}

static lago_table_builder_t *encoded(lago_table_t table) {
    lago_table_builder_t *builder = lago_table_builder_new();
    lago_table_iterator_t it = lago_table_iterate(&table);
    lago_field_t field;
    while (lago_table_next(&it, &field) == 1) assert_int_equal(lago_table_builder_add(builder, &field), 0);
    return builder;
}

/* What was sent last ends with this table, as arguments of both methods do, and the frame's end. */
static void expect_arguments(lago_table_t expected) {
    lago_table_builder_t *builder = encoded(expected);
    lago_table_t table = lago_table_builder_table(builder);
    virtual_run(&t->v);
    assert_true(t->v.output_size > table.size + 5);
    const uint8_t *end = t->v.output + t->v.output_size;
    assert_int_equal(end[-1], 0xce);
    const uint8_t *raw = end - 1 - table.size;
    uint32_t size = (uint32_t)raw[-4] << 24 | (uint32_t)raw[-3] << 16 | (uint32_t)raw[-2] << 8 | raw[-1];
    assert_int_equal(size, table.size);
    if (size) assert_memory_equal(raw, table.raw, size);
    lago_table_builder_free(builder);
}

static int declare(const lago_queue_features_t *features, lago_table_t arguments) {
    lago_queue_declare_t args = { .queue = "q", .durable = true, .arguments = arguments, .features = features };
    return lago_queue_declare(ch, &args, NULL, NULL);
}

static int consume(const lago_consumer_features_t *features, lago_table_t arguments) {
    static char tag[8];
    static unsigned number;
    (void)snprintf(tag, sizeof(tag), "c%u", ++number);
    lago_basic_consume_t args = {
        .queue = "q", .consumer_tag = tag, .arguments = arguments, .on_message = noted_message, .features = features
    };
    return lago_basic_consume(ch, &args, NULL, NULL);
}

static void prefetch(uint16_t count, bool global_qos) {
    lago_basic_qos_t args = { .prefetch_count = count, .global_qos = global_qos };
    assert_int_equal(lago_basic_qos(ch, &args, NULL, NULL), 0);
}

#define NO_ARGUMENTS ((lago_table_t){ NULL, NULL, 0, 0 })

/* ---------------------------------------------------------------- queues: members */

static void every_member_is_one_entry(void **state) {
    (void)state;
    const struct {
        lago_queue_features_t features;
        lago_field_t entry;
    } cases[] = {
        { { .queue_type = LAGO_QUEUE_CLASSIC }, LAGO_FIELD_STR("x-queue-type", "classic") },
        { { .queue_type = LAGO_QUEUE_QUORUM }, LAGO_FIELD_STR("x-queue-type", "quorum") },
        { { .queue_type = LAGO_QUEUE_STREAM }, LAGO_FIELD_STR("x-queue-type", "stream") },
        { { .delivery_limit = 5 }, LAGO_FIELD_I64("x-delivery-limit", 5) },
        { { .delivery_limit = LAGO_ZERO }, LAGO_FIELD_I64("x-delivery-limit", 0) },
        { { .delivery_limit = LAGO_DELIVERY_LIMIT_OFF }, LAGO_FIELD_I64("x-delivery-limit", -1) },
        { { .dead_letter_exchange = "dlx" }, LAGO_FIELD_STR("x-dead-letter-exchange", "dlx") },
        { { .dead_letter_exchange = "" }, LAGO_FIELD_STR("x-dead-letter-exchange", "") },
        { { .dead_letter_strategy = LAGO_DEAD_LETTER_AT_MOST_ONCE }, LAGO_FIELD_STR("x-dead-letter-strategy", "at-most-once") },
        { { .message_ttl_ms = 60000 }, LAGO_FIELD_I64("x-message-ttl", 60000) },
        { { .message_ttl_ms = LAGO_ZERO }, LAGO_FIELD_I64("x-message-ttl", 0) },
        { { .expires_ms = INT64_MAX }, LAGO_FIELD_I64("x-expires", INT64_MAX) },
        { { .consumer_timeout_ms = 1000 }, LAGO_FIELD_I64("x-consumer-timeout", 1000) },
        { { .max_length = 10 }, LAGO_FIELD_I64("x-max-length", 10) },
        { { .max_length = LAGO_ZERO }, LAGO_FIELD_I64("x-max-length", 0) },
        { { .max_length_bytes = 5000000000 }, LAGO_FIELD_I64("x-max-length-bytes", 5000000000) },
        { { .max_length_bytes = LAGO_ZERO }, LAGO_FIELD_I64("x-max-length-bytes", 0) },
        { { .overflow = LAGO_OVERFLOW_DROP_HEAD }, LAGO_FIELD_STR("x-overflow", "drop-head") },
        { { .overflow = LAGO_OVERFLOW_REJECT_PUBLISH }, LAGO_FIELD_STR("x-overflow", "reject-publish") },
        { { .overflow = LAGO_OVERFLOW_REJECT_PUBLISH_DLX }, LAGO_FIELD_STR("x-overflow", "reject-publish-dlx") },
        { { .max_priority = 1 }, LAGO_FIELD_I64("x-max-priority", 1) },
        { { .max_priority = 255 }, LAGO_FIELD_I64("x-max-priority", 255) },
        { { .single_active_consumer = true }, LAGO_FIELD_BOOL("x-single-active-consumer", true) },
        { { .queue_leader_locator = LAGO_LEADER_CLIENT_LOCAL }, LAGO_FIELD_STR("x-queue-leader-locator", "client-local") },
        { { .queue_leader_locator = LAGO_LEADER_BALANCED }, LAGO_FIELD_STR("x-queue-leader-locator", "balanced") },
        { { .quorum_initial_group_size = 3 }, LAGO_FIELD_I64("x-quorum-initial-group-size", 3) },
        { { .quorum_target_group_size = 5 }, LAGO_FIELD_I64("x-quorum-target-group-size", 5) },
        { { .initial_cluster_size = 3 }, LAGO_FIELD_I64("x-initial-cluster-size", 3) },
        { { .max_age = { .count = 7, .unit = LAGO_DAYS } }, LAGO_FIELD_STR("x-max-age", "7D") },
        { { .max_age = { .count = UINT32_MAX, .unit = LAGO_SECONDS } }, LAGO_FIELD_STR("x-max-age", "4294967295s") },
        { { .max_age = { .count = 1, .unit = LAGO_YEARS } }, LAGO_FIELD_STR("x-max-age", "1Y") },
        { { .stream_max_segment_size_bytes = 3000000000 }, LAGO_FIELD_I64("x-stream-max-segment-size-bytes", 3000000000) },
        { { .stream_filter_size_bytes = 16 }, LAGO_FIELD_I64("x-stream-filter-size-bytes", 16) },
        { { .queue_mode = LAGO_QUEUE_MODE_LAZY }, LAGO_FIELD_STR("x-queue-mode", "lazy") },
        { { .queue_version = 2 }, LAGO_FIELD_I64("x-queue-version", 2) },
        { { .delayed_retry_type = LAGO_DELAYED_RETRY_DISABLED }, LAGO_FIELD_STR("x-delayed-retry-type", "disabled") },
        { { .delayed_retry_type = LAGO_DELAYED_RETRY_ALL }, LAGO_FIELD_STR("x-delayed-retry-type", "all") },
        { { .delayed_retry_type = LAGO_DELAYED_RETRY_FAILED }, LAGO_FIELD_STR("x-delayed-retry-type", "failed") },
        { { .delayed_retry_type = LAGO_DELAYED_RETRY_RETURNED }, LAGO_FIELD_STR("x-delayed-retry-type", "returned") },
        { { .delayed_retry_min_ms = 100 }, LAGO_FIELD_I64("x-delayed-retry-min", 100) },
        { { .delayed_retry_max_ms = 9000 }, LAGO_FIELD_I64("x-delayed-retry-max", 9000) },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(declare(&cases[i].features, NO_ARGUMENTS), 0);
        expect_arguments((lago_table_t){ &cases[i].entry, NULL, 1, 0 });
    }
    assert_int_equal(declare(&(lago_queue_features_t){ .queue_type = LAGO_QUEUE_TYPE_DEFAULT }, NO_ARGUMENTS), 0);
    expect_arguments(NO_ARGUMENTS);
    assert_journal(t, "");
}

/* All of them, of the wrong types at that: more than fit together, and fewer than there is room for. */
static const lago_queue_features_t everything = { .queue_type = LAGO_QUEUE_STREAM,
                                                  .dead_letter_exchange = "",
                                                  .dead_letter_routing_key = "k",
                                                  .dead_letter_strategy = LAGO_DEAD_LETTER_AT_MOST_ONCE,
                                                  .delivery_limit = 1,
                                                  .message_ttl_ms = 2,
                                                  .expires_ms = 3,
                                                  .consumer_timeout_ms = 4,
                                                  .max_length = 5,
                                                  .max_length_bytes = 6,
                                                  .overflow = LAGO_OVERFLOW_DROP_HEAD,
                                                  .max_priority = 7,
                                                  .single_active_consumer = true,
                                                  .queue_leader_locator = LAGO_LEADER_BALANCED,
                                                  .quorum_initial_group_size = 8,
                                                  .quorum_target_group_size = 9,
                                                  .initial_cluster_size = 10,
                                                  .max_age = { 11, LAGO_MONTHS },
                                                  .stream_max_segment_size_bytes = 12,
                                                  .stream_filter_size_bytes = 16,
                                                  .queue_mode = LAGO_QUEUE_MODE_LAZY,
                                                  .queue_version = 1,
                                                  .delayed_retry_type = LAGO_DELAYED_RETRY_ALL,
                                                  .delayed_retry_min_ms = 13,
                                                  .delayed_retry_max_ms = 14 };

static void all_members_at_once(void **state) {
    (void)state;
    lago_queue_features_t features = everything;
    assert_int_equal(declare(&features, NO_ARGUMENTS), LAGO_EINVAL);
    assert_journal(t, "! a stream has no x-dead-letter-exchange; reading a stream removes nothing");
    features.queue_type = LAGO_QUEUE_TYPE_DEFAULT; /* whose queues may be anything */
    assert_int_equal(declare(&features, NO_ARGUMENTS), 0);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 queue.declare queue=\"q\" durable=1 arguments={x-dead-letter-exchange=\"\", "
                                   "x-dead-letter-routing-key=\"k\", *"));
    assert_non_null(strstr(t->v.log, ", x-delayed-retry-min=13, x-delayed-retry-max=14}\n"));
}

/* ---------------------------------------------------------------- queues: refusals */

struct refusal {
    lago_queue_declare_t args;
    lago_queue_features_t features;
    const char *line;
};

static void expect_refused(const struct refusal *r) {
    size_t sent = t->v.output_size;
    lago_queue_declare_t args = r->args;
    char line[300];
    args.features = &r->features;
    assert_int_equal(lago_queue_declare(ch, &args, noted_declare, probe(t, "declare")), LAGO_EINVAL);
    virtual_run(&t->v);
    (void)snprintf(line, sizeof(line), "! %s", r->line);
    assert_journal(t, line);
    assert_int_equal(t->v.output_size, sent);
}

#define QUORUM .queue_type = LAGO_QUEUE_QUORUM
#define STREAM .queue_type = LAGO_QUEUE_STREAM
#define GOOD                                                                                                                     \
    { .queue = "q", .durable = true }

static void what_no_version_honours_is_refused_in_words(void **state) {
    (void)state;
    const struct refusal cases[] = {
        { { .queue = "q" }, { QUORUM }, "a quorum queue must be durable; set it" },
        { { .queue = "q" }, { STREAM }, "a stream must be durable; set it" },
        { { .queue = "q", .durable = true, .exclusive = true },
          { QUORUM },
          "a quorum queue cannot be exclusive; take a classic queue" },
        { { .queue = "q", .durable = true, .exclusive = true },
          { STREAM },
          "a stream cannot be exclusive; take a classic queue" },
        { { .queue = "q", .durable = true, .auto_delete = true },
          { QUORUM },
          "a quorum queue cannot be auto_delete; give expires_ms" },
        { { .queue = "q", .durable = true, .auto_delete = true }, { STREAM }, "a stream cannot be auto_delete; take it out" },
        { { .durable = true }, { STREAM }, "the broker names no streams; give a name" },
        { { .queue = "", .durable = true }, { STREAM }, "the broker names no streams; give a name" },
        { GOOD,
          { .queue_type = LAGO_QUEUE_CLASSIC, .delivery_limit = 1 },
          "a classic queue has no x-delivery-limit; only quorum queues count deliveries" },
        { GOOD, { STREAM, .message_ttl_ms = LAGO_ZERO }, "a stream has no x-message-ttl; give max_age" },
        { GOOD, { STREAM, .max_length = 1 }, "a stream has no x-max-length; give max_length_bytes" },
        { GOOD,
          { QUORUM, .max_priority = 5 },
          "a quorum queue has no x-max-priority; leave it out: from 4.0 on quorum queues have priorities without it" },
        { GOOD,
          { QUORUM, .queue_mode = LAGO_QUEUE_MODE_LAZY },
          "a quorum queue has no x-queue-mode; leave it out: messages are on disk anyway" },
        { GOOD,
          { QUORUM, .initial_cluster_size = 3 },
          "a quorum queue has no x-initial-cluster-size; for a quorum queue give quorum_initial_group_size" },
        { GOOD, { QUORUM, .max_age = { 1, LAGO_DAYS } }, "a quorum queue has no x-max-age; give message_ttl_ms" },
        { GOOD, { .expires_ms = LAGO_ZERO }, "x-expires is 0; it must be at least 1" },
        { GOOD, { .expires_ms = -5 }, "x-expires is -5; it must be at least 1" },
        { GOOD, { .message_ttl_ms = -1 }, "x-message-ttl is -1; it must be at least 0" },
        { GOOD, { .delivery_limit = -2 }, "x-delivery-limit is -2; it must be at least -1" },
        { GOOD, { .max_priority = 256 }, "x-max-priority is 256; it must be from 1 to 255" },
        { GOOD, { .max_priority = -1 }, "x-max-priority is -1; it must be from 1 to 255" },
        { GOOD,
          { .stream_max_segment_size_bytes = 3000000001 },
          "x-stream-max-segment-size-bytes is 3000000001; it must be from 1 to 3000000000" },
        { GOOD, { .stream_filter_size_bytes = 15 }, "x-stream-filter-size-bytes is 15; it must be from 16 to 255" },
        { GOOD, { .queue_version = 3 }, "x-queue-version is 3; it must be from 1 to 2" },
        { GOOD, { .max_age = { 7, (lago_time_unit_t)0 } }, "x-max-age has no unit; give LAGO_SECONDS, LAGO_DAYS ..." },
        { GOOD, { .max_age = { 7, (lago_time_unit_t)'d' } }, "x-max-age has no unit; give LAGO_SECONDS, LAGO_DAYS ..." },
        { GOOD, { .max_age = { 0, LAGO_DAYS } }, "x-max-age is of 0 units; it must be from 1 to 4294967295" },
        { GOOD, { .overflow = (lago_overflow_t)4 }, "x-overflow is 4, which is none of its enumerators" },
        { GOOD, { .queue_type = (lago_queue_type_t)9 }, "x-queue-type is 9, which is none of its enumerators" },
        { GOOD, { .dead_letter_routing_key = "k" }, "x-dead-letter-routing-key without x-dead-letter-exchange; give both" },
        { GOOD,
          { .dead_letter_exchange = "",
            .dead_letter_strategy = LAGO_DEAD_LETTER_AT_LEAST_ONCE,
            .overflow = LAGO_OVERFLOW_DROP_HEAD },
          "at-least-once works only with LAGO_OVERFLOW_REJECT_PUBLISH; RabbitMQ would fall back to at-most-once" },
        { GOOD,
          { .delayed_retry_min_ms = 10, .delayed_retry_max_ms = 9 },
          "x-delayed-retry-max is below x-delayed-retry-min; raise it" },
        { { .queue = "q", .durable = true, .arguments = LAGO_TABLE(LAGO_FIELD_I32("x-max-length", 1)) },
          { .max_length = 1 },
          "x-max-length is in features and in arguments; give it once" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) expect_refused(&cases[i]);
    assert_int_equal(lago_channel_error(ch), LAGO_EINVAL);
    assert_int_equal(declare(&(lago_queue_features_t){ QUORUM }, NO_ARGUMENTS), 0); /* the channel lives */
}

static void the_line_names_channel_method_and_queue(void **state) {
    (void)state;
    lago_queue_declare_t args = { .queue = "a\nb", .features = &(lago_queue_features_t){ QUORUM } };
    assert_int_equal(lago_queue_declare(ch, &args, NULL, NULL), LAGO_EINVAL);
    assert_true(virtual_saw(&t->v, "channel 1: queue.declare of \"a?b\" refused: a quorum queue must be durable; set it"));
}

static void what_some_version_takes_is_sent(void **state) {
    (void)state;
    lago_queue_declare_t nameless = { .durable = true, .features = &(lago_queue_features_t){ QUORUM } };
    assert_int_equal(lago_queue_declare(ch, &nameless, NULL, NULL), 0); /* 3.8 gives it a name */
    const lago_queue_features_t taken[] = {
        { .queue_type = LAGO_QUEUE_CLASSIC, .queue_leader_locator = LAGO_LEADER_BALANCED }, /* 4.0 */
        { .queue_type = LAGO_QUEUE_CLASSIC, .consumer_timeout_ms = 1 },
        { .queue_type = LAGO_QUEUE_STREAM, .max_length_bytes = 1, .delayed_retry_min_ms = 1 },
        { .queue_type = LAGO_QUEUE_QUORUM, .overflow = LAGO_OVERFLOW_REJECT_PUBLISH_DLX },
    };
    for (size_t i = 0; i < COUNT(taken); i++) assert_int_equal(declare(&taken[i], NO_ARGUMENTS), 0);
    assert_journal(t, "");
}

/* A policy may bring what is missing, so this is only said. */
static void at_least_once_without_its_companions_is_warned_of(void **state) {
    (void)state;
    static const char warning[] =
        "! channel 1: queue.declare of \"q\": at-least-once needs x-dead-letter-exchange and x-overflow reject-publish; unless a "
        "policy brings them RabbitMQ falls back to at-most-once";
    lago_queue_features_t features = { QUORUM, .dead_letter_strategy = LAGO_DEAD_LETTER_AT_LEAST_ONCE };
    assert_int_equal(declare(&features, NO_ARGUMENTS), 0);
    assert_journal(t, warning);
    features.dead_letter_exchange = "dlx";
    assert_int_equal(declare(&features, NO_ARGUMENTS), 0);
    assert_journal(t, warning);
    assert_int_equal(declare(&features, LAGO_TABLE(LAGO_FIELD_STR("x-overflow", "reject-publish"))), 0);
    features.overflow = LAGO_OVERFLOW_REJECT_PUBLISH;
    assert_int_equal(declare(&features, NO_ARGUMENTS), 0);
    assert_journal(t, "");
}

static void a_passive_declare_does_not_look_at_features(void **state) {
    (void)state;
    lago_queue_declare_t args = { .queue = "q", .passive = true, .features = &everything };
    assert_int_equal(lago_queue_declare(ch, &args, NULL, NULL), 0);
    expect_arguments(NO_ARGUMENTS);
    assert_journal(t, "");
}

static void reserved_members_must_be_zero(void **state) {
    (void)state;
    assert_int_equal(declare(&(lago_queue_features_t){ .reserved = { 0, 0, 0, 1 } }, NO_ARGUMENTS), LAGO_EINVAL);
    assert_int_equal(consume(&(lago_consumer_features_t){ .reserved = { 1 } }, NO_ARGUMENTS), LAGO_EINVAL);
    assert_int_equal(lago_queue_declare(NULL, &(lago_queue_declare_t){ .features = &everything }, NULL, NULL), LAGO_EINVAL);
    assert_journal(t, "");
}

/* ---------------------------------------------------------------- joining */

static const lago_queue_features_t two = { .queue_type = LAGO_QUEUE_QUORUM, .delivery_limit = 5 };

#define TWO LAGO_FIELD_STR("x-queue-type", "quorum"), LAGO_FIELD_I64("x-delivery-limit", 5)
#define OWN                                                                                                                      \
    LAGO_FIELD_I16("own", -7), LAGO_FIELD_TABLE("in", LAGO_TABLE(LAGO_FIELD_U8("n", 1))), LAGO_FIELD_DECIMAL("d", 2, 314),       \
        LAGO_FIELD_VOID("own")

static void arguments_follow_as_they_are(void **state) {
    (void)state;
    assert_int_equal(declare(&two, LAGO_TABLE(OWN)), 0);
    expect_arguments(LAGO_TABLE(TWO, OWN));
    lago_table_builder_t *raw = encoded(LAGO_TABLE(OWN));
    assert_int_equal(declare(&two, lago_table_builder_table(raw)), 0);
    expect_arguments(LAGO_TABLE(TWO, OWN));
    assert_int_equal(declare(&(lago_queue_features_t){ .queue_mode = LAGO_QUEUE_MODE_DEFAULT }, lago_table_builder_table(raw)),
                     0);
    expect_arguments(LAGO_TABLE(OWN));
    lago_table_builder_free(raw);
    /* what the type of a queue decides may stand in either */
    lago_queue_features_t key = { .dead_letter_routing_key = "k" };
    assert_int_equal(declare(&key, LAGO_TABLE(LAGO_FIELD_STR("x-dead-letter-exchange", "x"))), 0);
    assert_journal(t, "");
}

static void arguments_that_cannot_be_written_are_refused(void **state) {
    (void)state;
    size_t sent = t->v.output_size;
    static char name[300];
    memset(name, 'n', sizeof(name) - 1);
    lago_field_t odd = { { "n", 1 }, { (lago_type_t)'?', { 0 } } };
    assert_int_equal(declare(&two, LAGO_TABLE(LAGO_FIELD_I32(name, 1))), LAGO_ETOOLONG);
    assert_int_equal(declare(&two, LAGO_TABLE(LAGO_FIELD_I8("n", 300))), LAGO_EINVAL);
    assert_int_equal(declare(&two, (lago_table_t){ &odd, NULL, 1, 0 }), LAGO_ETYPE);
    assert_int_equal(declare(&two, (lago_table_t){ NULL, "\1n?", 3, 0 }), LAGO_ETYPE);
    assert_int_equal(declare(&two, (lago_table_t){ NULL, "\1nU\0\1", 5, 0 }), LAGO_ETYPE); /* RabbitMQ would fail on it */
    assert_int_equal(declare(&two, (lago_table_t){ NULL, "\1nI\0\0\0", 6, 0 }), LAGO_ETABLE);
    assert_int_equal(declare(&two, (lago_table_t){ NULL, NULL, 6, 0 }), LAGO_ETABLE);
    char *huge = calloc(1, 200000);
    assert_int_equal(declare(&two, LAGO_TABLE(LAGO_FIELD_STRING("x", huge, 200000))), LAGO_ETOOBIG);
    free(huge);
    virtual_run(&t->v);
    assert_int_equal(t->v.output_size, sent);
    assert_journal(t, "");
}

/* A table that lay in another one knows how deep; as arguments it is the outermost. */
static void a_table_taken_out_of_another_is_arguments(void **state) {
    (void)state;
    lago_table_builder_t *outer = encoded(LAGO_TABLE(LAGO_FIELD_TABLE("in", LAGO_TABLE(LAGO_FIELD_I32("n", 1)))));
    lago_table_t table = lago_table_builder_table(outer);
    lago_value_t in;
    assert_int_equal(lago_table_get(&table, "in", &in), 1);
    in.as.table.depth = LAGO_TABLE_DEPTH_MAX;
    assert_int_equal(declare(&two, in.as.table), 0);
    expect_arguments(LAGO_TABLE(TWO, LAGO_FIELD_I32("n", 1)));
    lago_table_builder_free(outer);
}

static void without_memory_nothing_is_sent(void **state) {
    (void)state;
    lago_consumer_features_t features = { .priority = 3 };
    lago_table_t own = LAGO_TABLE(LAGO_FIELD_I32("own", 1));
    size_t k = 0;
    int declared = LAGO_ENOMEM, consumed = LAGO_ENOMEM;
    while (declared != 0 || consumed != 0) {
        size_t sent = t->v.output_size, before = t->v.alloc.live_count;
        assert_true(++k < 20);
        fail_alloc_at(&t->v.alloc, k, false);
        if (declared != 0 && (declared = declare(&two, own)) != 0) assert_int_equal(declared, LAGO_ENOMEM);
        if (declared != 0) assert_int_equal(t->v.alloc.live_count, before);
        before = t->v.alloc.live_count;
        if (declared == 0 && (consumed = consume(&features, own)) != 0) assert_int_equal(consumed, LAGO_ENOMEM);
        if (consumed != 0) assert_int_equal(t->v.alloc.live_count, before);
        fail_alloc_at(&t->v.alloc, 0, false);
        if (declared != 0) virtual_run(&t->v);
        if (declared != 0) assert_int_equal(t->v.output_size, sent);
    }
    assert_true(k > 4);
    expect_arguments(LAGO_TABLE(LAGO_FIELD_I64("x-priority", 3), LAGO_FIELD_I32("own", 1)));
}

/* ---------------------------------------------------------------- consumers */

static void every_offset_has_its_type(void **state) {
    (void)state;
    const struct {
        lago_stream_offset_t offset;
        lago_field_t entry;
    } cases[] = {
        { { .from = LAGO_OFFSET_FIRST }, LAGO_FIELD_STR("x-stream-offset", "first") },
        { { .from = LAGO_OFFSET_LAST }, LAGO_FIELD_STR("x-stream-offset", "last") },
        { { .from = LAGO_OFFSET_NEXT }, LAGO_FIELD_STR("x-stream-offset", "next") },
        { { .from = LAGO_OFFSET_NUMBER }, LAGO_FIELD_I64("x-stream-offset", 0) },
        { { .from = LAGO_OFFSET_NUMBER, .value = INT64_MAX }, LAGO_FIELD_I64("x-stream-offset", INT64_MAX) },
        { { .from = LAGO_OFFSET_TIMESTAMP, .value = 1700000000 }, LAGO_FIELD_TIMESTAMP("x-stream-offset", 1700000000) },
        { { .from = LAGO_OFFSET_INTERVAL, .value = 1, .unit = LAGO_HOURS }, LAGO_FIELD_STR("x-stream-offset", "1h") },
        { { .from = LAGO_OFFSET_INTERVAL, .value = 30, .unit = LAGO_MINUTES }, LAGO_FIELD_STR("x-stream-offset", "30m") },
    };
    prefetch(100, false);
    for (size_t i = 0; i < COUNT(cases); i++) {
        lago_consumer_features_t features = { .stream_offset = cases[i].offset };
        assert_int_equal(consume(&features, NO_ARGUMENTS), 0);
        expect_arguments((lago_table_t){ &cases[i].entry, NULL, 1, 0 });
    }
    assert_journal(t, "");
}

static void the_other_members_of_a_consumer(void **state) {
    (void)state;
    assert_int_equal(consume(&(lago_consumer_features_t){ .priority = -10 }, NO_ARGUMENTS), 0);
    expect_arguments(LAGO_TABLE(LAGO_FIELD_I64("x-priority", -10)));
    assert_int_equal(consume(&(lago_consumer_features_t){ .consumer_timeout_ms = 60000 }, NO_ARGUMENTS), 0);
    expect_arguments(LAGO_TABLE(LAGO_FIELD_I64("x-consumer-timeout", 60000)));
    assert_int_equal(consume(&(lago_consumer_features_t){ .priority = 0 }, LAGO_TABLE(LAGO_FIELD_I32("own", 1))), 0);
    expect_arguments(LAGO_TABLE(LAGO_FIELD_I32("own", 1)));
    prefetch(1, false);
    lago_consumer_features_t filter = { .stream_filter = LAGO_ARRAY(LAGO_VALUE_STR("a"), LAGO_VALUE_STR("b")),
                                        .stream_match_unfiltered = true };
    assert_int_equal(consume(&filter, LAGO_TABLE(LAGO_FIELD_I32("own", 1))), 0);
    expect_arguments(LAGO_TABLE(LAGO_FIELD_ARRAY("x-stream-filter", LAGO_ARRAY(LAGO_VALUE_STR("a"), LAGO_VALUE_STR("b"))),
                                LAGO_FIELD_BOOL("x-stream-match-unfiltered", true), LAGO_FIELD_I32("own", 1)));
    assert_journal(t, "");
}

static void expect_consume_refused(lago_consumer_features_t features, bool auto_ack, const char *line) {
    size_t sent = t->v.output_size, lives = t->v.alloc.live_count;
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = "refused",
                                  .auto_ack = auto_ack,
                                  .on_message = noted_message,
                                  .data = probe(t, "data"),
                                  .free_data = noted_free,
                                  .features = &features };
    char expected[300];
    assert_int_equal(lago_basic_consume(ch, &args, noted_consumer, probe(t, "consume")), LAGO_EINVAL);
    virtual_run(&t->v);
    (void)snprintf(expected, sizeof(expected), "! %s", line);
    assert_journal(t, expected);
    assert_int_equal(t->v.output_size, sent);
    assert_int_equal(t->v.alloc.live_count, lives);
}

static void what_no_consumer_can_have_is_refused_in_words(void **state) {
    (void)state;
    const lago_stream_offset_t first = { .from = LAGO_OFFSET_FIRST };
    static const lago_value_t number[] = { LAGO_VALUE_I32(1) };
    assert_int_equal(consume(NULL, NO_ARGUMENTS), 0); /* the map of consumers has its memory now */
    virtual_run(&t->v);
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = first }, false,
                           "a stream takes a prefetch count; call lago_basic_qos before");
    expect_consume_refused((lago_consumer_features_t){ .stream_match_unfiltered = true }, false,
                           "a stream takes a prefetch count; call lago_basic_qos before");
    prefetch(10, false);
    virtual_run(&t->v);
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = first }, true,
                           "a stream takes no auto_ack; acknowledge what is delivered");
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = first, .priority = 1 }, false,
                           "the consumers of a stream have no priority; take it out");
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = { .value = 5 } }, false,
                           "x-stream-offset has a value, but not from where; give LAGO_OFFSET_NUMBER ...");
    expect_consume_refused(
        (lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_NUMBER, .value = (uint64_t)INT64_MAX + 1 } }, false,
        "x-stream-offset is above INT64_MAX");
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_INTERVAL, .value = 1 } }, false,
                           "x-stream-offset has no unit; give LAGO_SECONDS, LAGO_DAYS ...");
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_INTERVAL, .unit = LAGO_DAYS } },
                           false, "x-stream-offset is of 0 units; it must be from 1 to 4294967295");
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = { .unit = LAGO_DAYS } }, false,
                           "x-stream-offset has a value, but not from where; give LAGO_OFFSET_NUMBER ...");
    expect_consume_refused(
        (lago_consumer_features_t){
            .stream_offset = { .from = LAGO_OFFSET_INTERVAL, .value = UINT64_C(1) << 32, .unit = LAGO_DAYS } },
        false, "x-stream-offset is of 4294967296 units; it must be from 1 to 4294967295");
    expect_consume_refused((lago_consumer_features_t){ .stream_offset = { .from = (lago_offset_t)77 } }, false,
                           "x-stream-offset is from 77, which is none of its enumerators");
    expect_consume_refused((lago_consumer_features_t){ .stream_filter = LAGO_ARRAY_OF(number) }, false,
                           "x-stream-filter must be of strings only");
    expect_consume_refused((lago_consumer_features_t){ .stream_filter = { number, NULL, 0, 0 } }, false,
                           "x-stream-filter is empty or malformed; give strings");
    expect_consume_refused((lago_consumer_features_t){ .stream_filter = { NULL, "S\0", 2, 0 } }, false,
                           "x-stream-filter is empty or malformed; give strings");
    expect_consume_refused((lago_consumer_features_t){ .consumer_timeout_ms = LAGO_ZERO }, false,
                           "x-consumer-timeout is 0; it must be at least 1");
}

/* 3.10 and 4.0 take the count of the last qos without global, 4.3 that of the last one at all. */
static void the_last_prefetch_count_that_some_version_takes(void **state) {
    (void)state;
    const lago_consumer_features_t next = { .stream_offset = { .from = LAGO_OFFSET_NEXT } };
    prefetch(10, false);
    prefetch(0, true);
    assert_int_equal(consume(&next, NO_ARGUMENTS), 0);
    prefetch(0, false);
    assert_int_equal(consume(&next, NO_ARGUMENTS), LAGO_EINVAL);
    prefetch(5, true);
    assert_int_equal(consume(&next, NO_ARGUMENTS), 0);
    journal_clear(t);
}

/* What arrives behind a cancel: a stream has no reject (540 on 3.10), and an ack takes nothing from it. */
static void behind_the_cancel_of_a_stream_comes_an_ack(void **state) {
    (void)state;
    prefetch(10, false);
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = "c",
                                  .on_message = noted_message,
                                  .data = probe(t, "c"),
                                  .features = &(lago_consumer_features_t){ .stream_offset = { .from = LAGO_OFFSET_FIRST } } };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    args.consumer_tag = "by hand";
    args.arguments = LAGO_TABLE(LAGO_FIELD_STR("x-stream-offset", "first"));
    args.features = NULL;
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.qos-ok\n1 basic.consume-ok consumer_tag=\"c\"\n1 basic.consume-ok consumer_tag=\"by hand\"");
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL), 0);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "by hand" }, NULL, NULL), 0);
    server_send(&t->v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=1\n1 header body_size=0\n"
                       "1 basic.deliver consumer_tag=\"by hand\" delivery_tag=2\n1 header body_size=0");
    assert_true(virtual_saw(&t->v, "C> 1 basic.ack delivery_tag=1"));
    assert_true(virtual_saw(&t->v, "C> 1 basic.ack delivery_tag=2"));
    assert_journal(t, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_member_is_one_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(all_members_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_no_version_honours_is_refused_in_words, setup, teardown),
        cmocka_unit_test_setup_teardown(the_line_names_channel_method_and_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(what_some_version_takes_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(at_least_once_without_its_companions_is_warned_of, setup, teardown),
        cmocka_unit_test_setup_teardown(a_passive_declare_does_not_look_at_features, setup, teardown),
        cmocka_unit_test_setup_teardown(reserved_members_must_be_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(arguments_follow_as_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(arguments_that_cannot_be_written_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_taken_out_of_another_is_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_nothing_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(every_offset_has_its_type, setup, teardown),
        cmocka_unit_test_setup_teardown(the_other_members_of_a_consumer, setup, teardown),
        cmocka_unit_test_setup_teardown(what_no_consumer_can_have_is_refused_in_words, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_prefetch_count_that_some_version_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(behind_the_cancel_of_a_stream_comes_an_ack, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
