/*
 * RabbitMQ's features by their names: each setting does what it says, the readers tell what happened, and what lago refuses the
 * broker would have refused.
 */
#include "fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void declare_with(struct fixture *f, lago_queue_declare_t args) {
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
}

/* A durable queue with these features, deleted by the teardown. */
static const char *new_featured(struct fixture *f, const lago_queue_features_t *features) {
    const char *queue = queue_name(f);
    declare_with(f, (lago_queue_declare_t){ .queue = queue, .durable = true, .features = features });
    return queue;
}

static void publish_with(struct fixture *f, const char *queue, const lago_properties_t *properties, const char *text) {
    lago_basic_publish_t args = { .routing_key = queue, .properties = properties, .body = { text, strlen(text) } };
    assert_true(lago_basic_publish(f->ch, &args, NULL, NULL) >= 0);
}

static void get(struct fixture *f, const char *queue, lago_get_cb callback) {
    assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue, .auto_ack = true }, callback, label("get")), 0);
}

/* "rejected in QUEUE x2 by EXCHANGE key KEY", of the entry's own words. */
static void record_death(struct fixture *f, const char *what, const lago_death_t *death) {
    lago_array_iterator_t keys = lago_array_iterate(&death->routing_keys);
    lago_value_t key = { .as.string = { "", 0 } };
    (void)lago_array_next(&keys, &key);
    record(f, "%s: %s in %.*s x%u, '%.*s' '%.*s'%s%.*s", what, lago_death_reason_name(death->reason), (int)death->queue.size,
           death->queue.data, (unsigned)death->count, (int)death->exchange.size, death->exchange.data, (int)key.as.string.size,
           key.as.string.data, death->original_expiration.size ? " ttl " : "", (int)death->original_expiration.size,
           death->original_expiration.data);
    assert_true(death->time > 1700000000);
}

static void on_dead(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    struct fixture *f = fixture_of(ch);
    lago_death_t death;
    (void)data;
    assert_null(reason);
    assert_non_null(message);
    lago_death_iterator_t it = lago_message_deaths(message);
    while (lago_death_next(&it, &death)) record_death(f, "death", &death);
    assert_true(lago_message_first_death(message, &death));
    record_death(f, "first", &death);
    assert_true(lago_message_last_death(message, &death));
    record_death(f, "last", &death);
}

/* What expect_events wants of a death: names of queues are made at run time. */
static const char *death_text(const char *what, const char *reason, const char *queue, const char *exchange, const char *key,
                              const char *ttl) {
    static char texts[8][EVENT_SIZE];
    static unsigned at;
    char *text = texts[at++ % COUNT(texts)];
    snprintf(text, EVENT_SIZE, "%s: %s in %s x1, '%s' '%s'%s%s", what, reason, queue, exchange, key, ttl ? " ttl " : "",
             ttl ? ttl : "");
    return text;
}

/* ---------------------------------------------------------------- settings that every type takes */

static void every_setting_of_a_type_is_taken(void **state) {
    struct fixture *f = *state;
    const lago_queue_features_t types[] = {
        { .queue_type = LAGO_QUEUE_CLASSIC,
          .dead_letter_exchange = "amq.direct",
          .dead_letter_routing_key = "",
          .message_ttl_ms = 60000,
          .expires_ms = 60000,
          .max_length = 1000,
          .max_length_bytes = 5000000000,
          .overflow = LAGO_OVERFLOW_REJECT_PUBLISH_DLX,
          .max_priority = 10,
          .single_active_consumer = true,
          .queue_mode = LAGO_QUEUE_MODE_LAZY,
          .queue_version = 2 },
        { .queue_type = LAGO_QUEUE_QUORUM,
          .dead_letter_exchange = "",
          .dead_letter_routing_key = "dead",
          .dead_letter_strategy = LAGO_DEAD_LETTER_AT_LEAST_ONCE,
          .delivery_limit = LAGO_ZERO,
          .message_ttl_ms = LAGO_ZERO,
          .expires_ms = 60000,
          .consumer_timeout_ms = 60000,
          .max_length = LAGO_ZERO,
          .max_length_bytes = LAGO_ZERO,
          .overflow = LAGO_OVERFLOW_REJECT_PUBLISH,
          .single_active_consumer = true,
          .queue_leader_locator = LAGO_LEADER_CLIENT_LOCAL,
          .quorum_initial_group_size = 1,
          .quorum_target_group_size = 1,
          .delayed_retry_type = LAGO_DELAYED_RETRY_ALL,
          .delayed_retry_min_ms = 10,
          .delayed_retry_max_ms = 100 },
        { .queue_type = LAGO_QUEUE_STREAM,
          .max_length_bytes = 1000000,
          .queue_leader_locator = LAGO_LEADER_BALANCED,
          .initial_cluster_size = 1,
          .max_age = { 2, LAGO_MONTHS },
          .stream_max_segment_size_bytes = 3000000000,
          .stream_filter_size_bytes = 32 },
    };
    for (size_t i = 0; i < COUNT(types); i++) new_featured(f, &types[i]);
    assert_int_equal(f->log_count, 0);
}

/* RabbitMQ compares numbers by value: who declares the same queue by hand, with other types of integers, has the same. */
static void declared_again_by_hand(void **state) {
    struct fixture *f = *state;
    const char *queue =
        new_featured(f, &(lago_queue_features_t){ .max_priority = 5, .message_ttl_ms = LAGO_ZERO, .dead_letter_exchange = "" });
    lago_queue_declare_t args = { .queue = queue, .durable = true };
    args.arguments = LAGO_TABLE(LAGO_FIELD_STR("x-dead-letter-exchange", ""), LAGO_FIELD_I8("x-max-priority", 5),
                                LAGO_FIELD_I32("x-message-ttl", 0));
    declare_with(f, args);
    args.arguments = LAGO_TABLE(LAGO_FIELD_I32("x-message-ttl", 0));
    args.features = &(lago_queue_features_t){ .max_priority = 5, .dead_letter_exchange = "" };
    declare_with(f, args);
    args.features = &(lago_queue_features_t){ .max_priority = 6, .dead_letter_exchange = "" };
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("other")), 0);
    expect_events(f, "other 406", "channel 1 close 406");
}

/* ---------------------------------------------------------------- what lago refuses, the broker refuses */

struct refusal {
    lago_queue_declare_t args; /* with the arguments as one would write them by hand */
    lago_queue_features_t features;
};

#define TYPE(type) LAGO_FIELD_STR("x-queue-type", type)
#define BY_HAND(type, ...)                                                                                                       \
    { .durable = true, .arguments = LAGO_TABLE(TYPE(type), __VA_ARGS__) }
#define FLAG_BY_HAND(type, flag)                                                                                                 \
    { .durable = true, .flag = true, .arguments = LAGO_TABLE(TYPE(type)) }
#define TRANSIENT_BY_HAND(type)                                                                                                  \
    { .arguments = LAGO_TABLE(TYPE(type)) }
#define BY_HAND_WITHOUT_TYPE(...)                                                                                                \
    { .durable = true, .arguments = LAGO_TABLE(__VA_ARGS__) }
#define CLASSIC(...)                                                                                                             \
    { .queue_type = LAGO_QUEUE_CLASSIC, __VA_ARGS__ }
#define QUORUM(...)                                                                                                              \
    { .queue_type = LAGO_QUEUE_QUORUM, __VA_ARGS__ }
#define STREAM(...)                                                                                                              \
    { .queue_type = LAGO_QUEUE_STREAM, __VA_ARGS__ }

static void refused_by_both(struct fixture *f, const struct refusal *r) {
    lago_queue_declare_t args = r->args;
    args.queue = "lago.refused";
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    expect_events(f, "declare 406", "channel 1 close 406");
    lago_channel_free(f->ch);
    f->ch = open_channel(f);
    args.arguments = (lago_table_t){ 0 };
    args.features = &r->features;
    f->log_count = 0;
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), LAGO_EINVAL);
    assert_int_equal(f->log_count, 1);
    sync_channel(f);
}

static void what_is_refused_here_is_refused_there(void **state) {
    struct fixture *f = *state;
    const struct refusal cases[] = {
        { TRANSIENT_BY_HAND("quorum"), QUORUM(.max_length = 0) },
        { TRANSIENT_BY_HAND("stream"), STREAM(.max_length = 0) },
        { FLAG_BY_HAND("quorum", exclusive), QUORUM(.max_length = 0) },
        { FLAG_BY_HAND("stream", exclusive), STREAM(.max_length = 0) },
        { FLAG_BY_HAND("quorum", auto_delete), QUORUM(.max_length = 0) },
        { FLAG_BY_HAND("stream", auto_delete), STREAM(.max_length = 0) },
        { BY_HAND("classic", LAGO_FIELD_I32("x-delivery-limit", 1)), CLASSIC(.delivery_limit = 1) },
        { BY_HAND("stream", LAGO_FIELD_I32("x-delivery-limit", 1)), STREAM(.delivery_limit = 1) },
        { BY_HAND("classic", LAGO_FIELD_STR("x-dead-letter-strategy", "at-most-once")),
          CLASSIC(.dead_letter_strategy = LAGO_DEAD_LETTER_AT_MOST_ONCE) },
        { BY_HAND("stream", LAGO_FIELD_STR("x-dead-letter-exchange", "")), STREAM(.dead_letter_exchange = "") },
        { BY_HAND("stream", LAGO_FIELD_I32("x-message-ttl", 1)), STREAM(.message_ttl_ms = 1) },
        { BY_HAND("stream", LAGO_FIELD_I32("x-expires", 1)), STREAM(.expires_ms = 1) },
        { BY_HAND("stream", LAGO_FIELD_I32("x-max-length", 1)), STREAM(.max_length = 1) },
        { BY_HAND("stream", LAGO_FIELD_STR("x-overflow", "drop-head")), STREAM(.overflow = LAGO_OVERFLOW_DROP_HEAD) },
        { BY_HAND("quorum", LAGO_FIELD_I32("x-max-priority", 5)), QUORUM(.max_priority = 5) },
        { BY_HAND("stream", LAGO_FIELD_I32("x-max-priority", 5)), STREAM(.max_priority = 5) },
        { BY_HAND("stream", LAGO_FIELD_BOOL("x-single-active-consumer", true)), STREAM(.single_active_consumer = true) },
        { BY_HAND("classic", LAGO_FIELD_I32("x-quorum-initial-group-size", 1)), CLASSIC(.quorum_initial_group_size = 1) },
        { BY_HAND("quorum", LAGO_FIELD_I32("x-initial-cluster-size", 1)), QUORUM(.initial_cluster_size = 1) },
        { BY_HAND("classic", LAGO_FIELD_STR("x-max-age", "1D")), CLASSIC(.max_age = { 1, LAGO_DAYS }) },
        { BY_HAND("quorum", LAGO_FIELD_I32("x-stream-max-segment-size-bytes", 1000)),
          QUORUM(.stream_max_segment_size_bytes = 1000) },
        { BY_HAND("quorum", LAGO_FIELD_STR("x-queue-mode", "lazy")), QUORUM(.queue_mode = LAGO_QUEUE_MODE_LAZY) },
        { BY_HAND("stream", LAGO_FIELD_STR("x-queue-mode", "lazy")), STREAM(.queue_mode = LAGO_QUEUE_MODE_LAZY) },
        { BY_HAND("quorum", LAGO_FIELD_I32("x-queue-version", 2)), QUORUM(.queue_version = 2) },
        { BY_HAND("stream", LAGO_FIELD_I64("x-stream-max-segment-size-bytes", 3000000001)),
          STREAM(.stream_max_segment_size_bytes = 3000000001) },
        { BY_HAND("stream", LAGO_FIELD_STR("x-max-age", "0s")), STREAM(.max_age = { 0, LAGO_SECONDS }) },
        { BY_HAND_WITHOUT_TYPE(LAGO_FIELD_I32("x-expires", 0)), { .expires_ms = LAGO_ZERO } },
        { BY_HAND_WITHOUT_TYPE(LAGO_FIELD_I32("x-message-ttl", -1)), { .message_ttl_ms = -1 } },
        { BY_HAND_WITHOUT_TYPE(LAGO_FIELD_I32("x-max-priority", 256)), { .max_priority = 256 } },
        { BY_HAND_WITHOUT_TYPE(LAGO_FIELD_I32("x-max-length", -1)), { .max_length = -1 } },
        { BY_HAND_WITHOUT_TYPE(LAGO_FIELD_STR("x-dead-letter-routing-key", "k")), { .dead_letter_routing_key = "k" } },
    };
    for (size_t i = 0; i < COUNT(cases); i++) refused_by_both(f, &cases[i]);
}

/* ---------------------------------------------------------------- dead letters */

static void on_poison(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)data;
    record(fixture_of(ch), "delivery %u", (unsigned)lago_message_delivery_count(message));
    /* from 4.3 on the same number counts all returns, and is absent the first time */
    assert_int_equal(lago_message_acquired_count(message),
                     broker_version(fixture_of(ch)) >= 403 ? lago_message_delivery_count(message) : 0);
    assert_int_equal(lago_basic_reject(ch, message->delivery_tag, 0), 0);
}

static void a_poison_message_dies_after_its_limit(void **state) {
    struct fixture *f = *state;
    const char *dead = new_queue(f);
    lago_queue_features_t features = {
        .queue_type = LAGO_QUEUE_QUORUM, .delivery_limit = 2, .dead_letter_exchange = "", .dead_letter_routing_key = dead
    };
    const char *queue = new_featured(f, &features);
    lago_basic_consume_t args = { .queue = queue, .on_message = on_poison };
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
    publish_text(f, queue, "poison");
    expect_events(f, "delivery 0", "delivery 1", "delivery 2");
    expect_length(f, dead, 1);
    get(f, dead, on_dead);
    expect_events(f, death_text("death", "delivery_limit", queue, "", queue, NULL),
                  death_text("first", "delivery_limit", queue, "", queue, NULL),
                  death_text("last", "delivery_limit", queue, "", queue, NULL));
}

/* Expired in the first queue, pushed out of the second: the most recent death is told first. */
static void a_chain_of_dead_letters(void **state) {
    struct fixture *f = *state;
    const char *end = new_queue(f);
    lago_queue_features_t full = { .max_length = 1, .dead_letter_exchange = "", .dead_letter_routing_key = end };
    const char *second = new_featured(f, &full);
    lago_queue_features_t waiting = { .message_ttl_ms = LAGO_ZERO,
                                      .dead_letter_exchange = "",
                                      .dead_letter_routing_key = second };
    const char *first = new_featured(f, &waiting);
    publish_text(f, first, "one");
    expect_length(f, second, 1);
    publish_text(f, first, "two");
    expect_length(f, end, 1);
    get(f, end, on_dead);
    expect_events(f, death_text("death", "maxlen", second, "", second, NULL),
                  death_text("death", "expired", first, "", first, NULL), death_text("first", "expired", first, "", first, NULL),
                  death_text("last", "maxlen", second, "", second, NULL));
}

/* ---------------------------------------------------------------- time to live */

static void a_message_expires(void **state) {
    struct fixture *f = *state;
    const char *dead = new_queue(f);
    const char *queue = new_featured(f, &(lago_queue_features_t){ .dead_letter_exchange = "", .dead_letter_routing_key = dead });
    publish_with(f, queue, &(lago_properties_t){ .expiration = LAGO_EXPIRATION(1) }, "short");
    publish_with(f, queue, &(lago_properties_t){ .expiration = LAGO_EXPIRATION(-1) }, "late");
    publish_with(f, queue, &(lago_properties_t){ .expiration = LAGO_EXPIRATION(INT64_MAX) }, "long");
    expect_length(f, dead, 2);
    get(f, dead, on_dead);
    expect_events(f, death_text("death", "expired", queue, "", queue, "1"), death_text("first", "expired", queue, "", queue, "1"),
                  death_text("last", "expired", queue, "", queue, "1"));
    get(f, dead, on_got);
    get(f, queue, on_got);
    expect_events(f, "got late", "got long");
}

static void a_queue_expires(void **state) {
    struct fixture *f = *state;
    const char *queue = new_featured(f, &(lago_queue_features_t){ .expires_ms = 20 });
    lago_basic_publish_t args = { .routing_key = queue, .mandatory = true };
    while (f->event_count == 0) { /* publishing is no use of it; when it has gone they come back */
        assert_true(lago_basic_publish(f->ch, &args, NULL, NULL) >= 0);
        sync_channel(f);
    }
    assert_memory_equal(f->events[0], "return 312", strlen("return 312"));
    forget_events(f);
    assert_int_equal(
        lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue, .passive = true }, on_declared, label("passive")), 0);
    run_until(f, has_event(f, "passive 404"));
}

/* ---------------------------------------------------------------- priorities, consumers, room */

static void the_higher_priority_goes_first(void **state) {
    struct fixture *f = *state;
    const char *queue = new_featured(f, &(lago_queue_features_t){ .max_priority = 10 });
    publish_with(f, queue, &(lago_properties_t){ .priority = 1 }, "low");
    publish_with(f, queue, NULL, "none");
    publish_with(f, queue, &(lago_properties_t){ .priority = 200 }, "above"); /* as 10 */
    publish_with(f, queue, &(lago_properties_t){ .priority = 5 }, "middle");
    for (int i = 0; i < 4; i++) get(f, queue, on_got);
    expect_events(f, "got above", "got middle", "got low", "got none");
}

static void on_named(lago_channel_t *ch, const lago_message_t *message, void *data) {
    record(fixture_of(ch), "%s got %s", (const char *)data, (const char *)message->body.data);
}

static void consume_as(struct fixture *f, const char *queue, const char *tag, const lago_consumer_features_t *features) {
    lago_basic_consume_t args = {
        .queue = queue, .consumer_tag = tag, .auto_ack = true, .on_message = on_named, .data = label(tag), .features = features
    };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
    expect_events(f, "consume ok");
}

static void the_next_active_consumer_takes_over(void **state) {
    struct fixture *f = *state;
    const char *queue = new_featured(f, &(lago_queue_features_t){ .single_active_consumer = true });
    consume_as(f, queue, "first", NULL);
    consume_as(f, queue, "second", NULL);
    for (int i = 0; i < 3; i++) publish_text(f, queue, "x");
    expect_events(f, "first got x", "first got x", "first got x");
    assert_int_equal(lago_basic_cancel(f->ch, &(lago_basic_cancel_t){ .consumer_tag = "first" }, on_consumer, label("cancel")),
                     0);
    publish_text(f, queue, "y");
    expect_events(f, "cancel ok", "second got y");
}

static void consumers_of_higher_priority_come_first(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    consume_as(f, queue, "usual", NULL);
    consume_as(f, queue, "spare", &(lago_consumer_features_t){ .priority = -1 });
    for (int i = 0; i < 3; i++) publish_text(f, queue, "x");
    expect_events(f, "usual got x", "usual got x", "usual got x");
    consume_as(f, queue, "best", &(lago_consumer_features_t){ .priority = INT32_MAX });
    publish_text(f, queue, "y");
    expect_events(f, "best got y");
}

static void on_nacks(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    unsigned *outcomes = data;
    (void)ch;
    outcomes[result->outcome]++;
}

/* A quorum queue lets a few more in than its length says; then it nacks. */
static void a_full_quorum_queue_nacks(void **state) {
    struct fixture *f = *state;
    const char *queue = new_featured(
        f,
        &(lago_queue_features_t){ .queue_type = LAGO_QUEUE_QUORUM, .max_length = 2, .overflow = LAGO_OVERFLOW_REJECT_PUBLISH });
    unsigned outcomes[LAGO_PUBLISH_UNKNOWN + 1] = { 0 };
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    for (unsigned i = 1; i <= 20; i++) {
        assert_true(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .routing_key = queue }, on_nacks, outcomes) > 0);
        run_until(f, outcomes[LAGO_PUBLISH_CONFIRMED] + outcomes[LAGO_PUBLISH_NACKED] == i);
    }
    assert_true(outcomes[LAGO_PUBLISH_CONFIRMED] >= 2);
    assert_true(outcomes[LAGO_PUBLISH_NACKED] >= 10);
    expect_length(f, queue, outcomes[LAGO_PUBLISH_CONFIRMED]);
}

/* ---------------------------------------------------------------- routing */

static void on_copied(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    struct fixture *f = fixture_of(ch);
    assert_null(reason);
    assert_non_null(message);
    record(f, "%s cc=%d bcc=%d", (const char *)data, lago_table_get(&message->properties->headers, LAGO_HEADER_CC, NULL),
           lago_table_get(&message->properties->headers, LAGO_HEADER_BCC, NULL));
}

static void copies_go_to_cc_and_bcc(void **state) {
    struct fixture *f = *state;
    const char *to = new_queue(f), *cc = new_queue(f), *bcc = new_queue(f);
    lago_properties_t properties = { .headers = LAGO_TABLE(LAGO_FIELD_ARRAY(LAGO_HEADER_CC, LAGO_ARRAY(LAGO_VALUE_STR(cc))),
                                                           LAGO_FIELD_ARRAY(LAGO_HEADER_BCC, LAGO_ARRAY(LAGO_VALUE_STR(bcc)))) };
    publish_with(f, to, &properties, "copy");
    expect_length(f, bcc, 1);
    get(f, to, on_copied);
    get(f, cc, on_copied);
    get(f, bcc, on_copied);
    expect_events(f, "get cc=1 bcc=0", "get cc=1 bcc=0", "get cc=1 bcc=0");
}

static const char *new_exchange(struct fixture *f, const char *type, lago_table_t arguments) {
    lago_exchange_declare_t args = { .exchange = exchange_name(f), .exchange_type = type, .arguments = arguments };
    forget_events(f);
    assert_int_equal(lago_exchange_declare(f->ch, &args, on_done, label("exchange")), 0);
    run_until(f, f->event_count > 0);
    return args.exchange;
}

static void publish_to(struct fixture *f, const char *exchange, const char *key, lago_table_t headers) {
    lago_properties_t properties = { .headers = headers };
    lago_basic_publish_t args = { .exchange = exchange, .routing_key = key, .properties = &properties, .mandatory = true };
    assert_true(lago_basic_publish(f->ch, &args, NULL, NULL) >= 0);
}

static void exchanges_bound_by_arguments(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f), *spare = new_queue(f);
    const char *alternate = new_exchange(f, "fanout", (lago_table_t){ 0 });
    const char *source = new_exchange(f, "headers", LAGO_TABLE(LAGO_FIELD_STR(LAGO_ARGUMENT_ALTERNATE_EXCHANGE, alternate)));
    const char *destination = new_exchange(f, "fanout", (lago_table_t){ 0 });
    forget_events(f);
    lago_exchange_bind_t binding = { .destination = destination, .source = source };
    binding.arguments = LAGO_TABLE(LAGO_FIELD_STR("x-match", "any"), LAGO_FIELD_STR("kind", "a"), LAGO_FIELD_I32("n", 1));
    assert_int_equal(lago_exchange_bind(f->ch, &binding, NULL, NULL), 0);
    lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = queue, .exchange = destination }, NULL, NULL);
    lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = spare, .exchange = alternate }, NULL, NULL);
    publish_to(f, source, "", LAGO_TABLE(LAGO_FIELD_STR("kind", "a")));
    publish_to(f, source, "", LAGO_TABLE(LAGO_FIELD_I32("n", 1), LAGO_FIELD_STR("kind", "b")));
    publish_to(f, source, "", LAGO_TABLE(LAGO_FIELD_STR("kind", "b")));
    expect_length(f, queue, 2);
    expect_length(f, spare, 1);
    assert_int_equal(lago_exchange_unbind(f->ch, &binding, NULL, NULL), 0);
    publish_to(f, source, "", LAGO_TABLE(LAGO_FIELD_STR("kind", "a")));
    expect_length(f, spare, 2);
    assert_int_equal(f->event_count, 0); /* nothing was returned */
}

/* Types of plugins, if the node has them: broker start -p rabbitmq_consistent_hash_exchange,rabbitmq_random_exchange. */
static void exchanges_of_plugins(void **state) {
    struct fixture *f = *state;
    static const char *const types[] = { "x-consistent-hash", "x-random" };
    for (size_t i = 0; i < COUNT(types); i++) {
        const char *exchange = new_exchange(f, types[i], (lago_table_t){ 0 });
        if (!has_event(f, "exchange ok")) {
            print_message("no exchange type %s here: its plugin is not enabled\n", types[i]);
            run_until(f, f->event_count > 1);
            skip();
        }
        forget_events(f);
        const char *one = new_queue(f), *two = new_queue(f);
        lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = one, .exchange = exchange, .routing_key = "1" }, NULL, NULL);
        lago_queue_bind(f->ch, &(lago_queue_bind_t){ .queue = two, .exchange = exchange, .routing_key = "1" }, NULL, NULL);
        for (unsigned n = 0; n < 200; n++) {
            char key[8];
            snprintf(key, sizeof key, "k%u", n);
            publish_to(f, exchange, key, (lago_table_t){ 0 });
        }
        sync_channel(f);
        assert_int_equal(f->event_count, 0); /* none came back */
        lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = one, .passive = true }, on_declared, label("one"));
        expect_events(f, "one ok");
        assert_true(f->declared.message_count > 0);
        lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = two, .passive = true }, on_declared, label("two"));
        expect_events(f, "two ok");
        assert_true(f->declared.message_count > 0);
    }
}

/* ---------------------------------------------------------------- health checks */

/* The very struct that declared it, passive: the broker looks at the name only, and so does lago. */
static void a_passive_declare_is_a_health_check(void **state) {
    struct fixture *f = *state;
    lago_queue_declare_t args = { .queue = queue_name(f),
                                  .durable = true,
                                  .features = &(lago_queue_features_t){ .queue_type = LAGO_QUEUE_QUORUM, .delivery_limit = 3 } };
    declare_with(f, args);
    publish_text(f, args.queue, "x");
    expect_length(f, args.queue, 1);
    args.passive = true;
    declare_with(f, args);
    assert_int_equal(f->declared.message_count, 1);
    args.durable = false;
    args.exclusive = true;
    declare_with(f, args);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_setting_of_a_type_is_taken, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(declared_again_by_hand, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(what_is_refused_here_is_refused_there, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_poison_message_dies_after_its_limit, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_chain_of_dead_letters, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_message_expires, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_queue_expires, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(the_higher_priority_goes_first, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(the_next_active_consumer_takes_over, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(consumers_of_higher_priority_come_first, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_full_quorum_queue_nacks, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(copies_go_to_cc_and_bcc, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(exchanges_bound_by_arguments, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(exchanges_of_plugins, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_passive_declare_is_a_health_check, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
