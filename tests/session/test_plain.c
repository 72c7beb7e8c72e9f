/* A publish by the short way: octet for octet what the others write, which are taken as soon as somebody traces. */
#include "peer.h"

#define MESSAGES 4000u

static char long_name[257];

static int make_long_name(void **state) {
    (void)state;
    memset(long_name, 'n', sizeof long_name - 1);
    return 0;
}

struct pair {
    struct peer short_way, other;
};

static void open_pair(struct pair *pair) {
    struct bytes b = { 0 };
    peer_open(&pair->short_way);
    peer_open(&pair->other);
    pair->short_way.session.settings.trace = NULL;
    bytes_free(&b);
}

static void publish_both(struct pair *pair, uint16_t channel, const struct basic_publish *args,
                         const lago_properties_t *properties, size_t size) {
    uint8_t body[3000];
    pattern_fill(body, 0, size);
    struct session_body given = { .bytes = { body, size } };
    int rc = session_publish(&pair->other.session, channel, args, properties, &given);
    assert_int_equal(session_publish(&pair->short_way.session, channel, args, properties, &given), rc);
    assert_int_equal(session_output_size(&pair->short_way.session), session_output_size(&pair->other.session));
}

static void close_pair(struct pair *pair) {
    struct peer *a = &pair->short_way, *b = &pair->other;
    peer_write_all(a);
    peer_write_all(b);
    assert_int_equal(a->wire.size, b->wire.size);
    assert_memory_equal(a->wire.data, b->wire.data, a->wire.size);
    assert_int_equal(a->session.counters.frames_sent, b->session.counters.frames_sent);
    for (uint16_t channel = 1; channel <= 2; channel++)
        assert_int_equal(session_publishes_sent(&a->session, channel), session_publishes_sent(&b->session, channel));
    peer_deinit(a);
    peer_deinit(b);
}

static const char *roll_string(struct dice *d) {
    static const char *const strings[] = { NULL, NULL, NULL, "", "a", "text/plain", "seventeen octets." };
    size_t i = dice_below(d, 40);
    if (i == 39) return long_name;     /* too long */
    if (i == 38) return long_name + 1; /* just not */
    return strings[i % (sizeof strings / sizeof strings[0])];
}

static lago_properties_t roll_properties(struct dice *d) {
    lago_properties_t p = { .content_type = roll_string(d), .delivery_mode = (uint8_t)dice_below(d, 3) };
    if (dice_below(d, 3) == 0) {
        p.content_encoding = roll_string(d);
        p.correlation_id = roll_string(d);
        p.reply_to = roll_string(d);
        p.message_id = roll_string(d);
        p.timestamp = dice_below(d, 2);
        p.app_id = roll_string(d);
    }
    if (dice_below(d, 20) == 0) p.headers = (lago_table_t){ NULL, "\1nI\0\0\0\5", 7, 0 };
    if (dice_below(d, 20) == 0) p.present = (uint16_t)dice_roll(d); /* may have bits that mean nothing */
    return p;
}

static void both_ways_write_the_same(void **state) {
    (void)state;
    struct pair pair = { 0 };
    struct dice d = { 5 };
    open_pair(&pair);
    for (unsigned i = 0; i < MESSAGES; i++) {
        const char *exchange = roll_string(&d), *key = roll_string(&d);
        struct basic_publish args = { .exchange = { exchange ? exchange : "", LAGO_NUL_TERMINATED },
                                      .routing_key = { key ? key : "", LAGO_NUL_TERMINATED },
                                      .mandatory = dice_below(&d, 2) };
        lago_properties_t properties = roll_properties(&d);
        size_t size = dice_below(&d, 8) ? dice_below(&d, 300) : dice_below(&d, 3000);
        publish_both(&pair, (uint16_t)(1 + dice_below(&d, 2)), &args, dice_below(&d, 10) ? &properties : NULL, size);
        if (dice_below(&d, 100) == 0) { /* empty queues begin anew, with small blocks */
            peer_write_all(&pair.short_way);
            peer_write_all(&pair.other);
        }
    }
    close_pair(&pair);
}

/* What is in the way of a publish is in the way of the short one, too. */
static void a_blocked_connection_holds_it(void **state) {
    (void)state;
    struct pair pair = { 0 };
    struct basic_publish args = { .routing_key = { "q", 1 } };
    struct connection_blocked blocked = { .reason = { "low on memory", 13 } };
    open_pair(&pair);
    publish_both(&pair, 1, &args, NULL, 10);
    publish_both(&pair, 1, &args, NULL, 10);
    peer_say_method(&pair.short_way, 0, METHOD_CONNECTION_BLOCKED, &blocked);
    peer_say_method(&pair.other, 0, METHOD_CONNECTION_BLOCKED, &blocked);
    publish_both(&pair, 1, &args, NULL, 10);
    size_t before = pair.short_way.wire.size;
    peer_write_all(&pair.short_way);
    peer_write_all(&pair.other);
    assert_int_equal(session_publishes_sent(&pair.short_way.session, 1), 2);
    assert_true(pair.short_way.wire.size > before);
    peer_say_method(&pair.short_way, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    peer_say_method(&pair.other, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    peer_write_all(&pair.short_way);
    assert_int_equal(session_publishes_sent(&pair.short_way.session, 1), 3);
    close_pair(&pair);
}

/* And acknowledgements that wait go first. */
static void acks_before_it_stay_before_it(void **state) {
    (void)state;
    struct pair pair = { 0 };
    struct basic_publish args = { .routing_key = { "q", 1 } };
    open_pair(&pair);
    publish_both(&pair, 1, &args, NULL, 10);
    for (uint64_t tag = 1; tag <= 3; tag++) {
        assert_int_equal(session_ack(&pair.short_way.session, 1, tag, tag + 1), tag);
        assert_int_equal(session_ack(&pair.other.session, 1, tag, tag + 1), tag);
    }
    publish_both(&pair, 1, &args, NULL, 10);
    assert_string_equal(peer_frames(&pair.short_way), "1 basic.publish routing_key=\"q\"\n1 header 10\n1 body 10\n"
                                                      "1 basic.ack delivery_tag=3 multiple=1\n"
                                                      "1 basic.publish routing_key=\"q\"\n1 header 10\n1 body 10\n");
    close_pair(&pair);
}

/* Each allocation fails in turn: one message is refused, whole, or none: the long way tries again. */
static void without_memory_one_is_refused(void **state) {
    (void)state;
    static const uint8_t body[3] = { 1, 2, 3 };
    for (size_t n = 1, hit = 1; hit; n++) {
        struct peer p = { 0 };
        struct basic_publish args = { .routing_key = { "q", 1 } };
        size_t accepted = 0;
        peer_open(&p);
        p.session.settings.trace = NULL;
        fail_alloc_at(&p.memory, n, false);
        for (size_t i = 0; i < MESSAGES; i++) { /* of two sizes: neighbours of one size share a mark */
            struct session_body given = { .bytes = { body, 2 + i % 2 } };
            accepted += session_publish(&p.session, 1, &args, NULL, &given) == 0;
        }
        hit = p.memory.calls >= n;
        assert_in_range(accepted, hit ? MESSAGES - 1 : MESSAGES, MESSAGES);
        fail_alloc_at(&p.memory, 0, false);
        const char *frames = peer_frames(&p);
        size_t left = 0;
        for (const char *at = frames; (at = strstr(at, "basic.publish")) != NULL; at++) left++;
        assert_int_equal(left, accepted);
        assert_int_equal(session_publishes_sent(&p.session, 1), accepted);
        peer_deinit(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_write_the_same),
        cmocka_unit_test(a_blocked_connection_holds_it),
        cmocka_unit_test(acks_before_it_stay_before_it),
        cmocka_unit_test(without_memory_one_is_refused),
    };
    return cmocka_run_group_tests(tests, make_long_name, NULL);
}
