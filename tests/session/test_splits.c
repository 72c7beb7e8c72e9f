/*
 * The way in, once more: a conversation means the same however the network cuts it; and one that is damaged at random ends in
 * order, whatever it says.
 */
#include "peer.h"

#include <stdio.h>

/* ---------------------------------------------------------------- a recorded conversation */

static void add_message(struct bytes *b, uint16_t channel, uint64_t tag, size_t size, uint32_t frame_max) {
    bytes_deliver(b, channel, tag, size, frame_max);
}

/* Two messages whose frames alternate, of several frames each. */
static void add_interleaved(struct bytes *b) {
    lago_properties_t properties = { .content_type = "t", .reply_to = "", .priority = 3, .cluster_id = "c" };
    bytes_method(b, 1, METHOD_BASIC_DELIVER, NULL);
    bytes_method(b, 2, METHOD_BASIC_RETURN, NULL);
    bytes_header(b, 2, 30, &properties);
    bytes_header(b, 1, 20, &properties);
    for (size_t i = 0; i < 2; i++) {
        bytes_body(b, 1, i * 10, 10);
        bytes_body(b, 2, i * 15, 15);
    }
}

static void record(struct bytes *b, uint32_t frame_max, bool large) {
    struct connection_close close = { .reply_code = REPLY_CONNECTION_FORCED, .reply_text = { "node down", 9 } };
    struct queue_declare_ok declared = { .queue = { "amq.gen-1", 9 }, .message_count = 7 };
    bytes_handshake(b);
    bytes_method(b, 1, METHOD_CHANNEL_OPEN_OK, NULL);
    bytes_method(b, 2, METHOD_CHANNEL_OPEN_OK, NULL);
    bytes_method(b, 1, METHOD_QUEUE_DECLARE_OK, &declared);
    add_message(b, 1, 1, 0, frame_max);
    add_message(b, 2, 1, 1, frame_max);
    add_message(b, 1, 2, 4096 - FRAME_OVERHEAD, frame_max);
    if (large) add_message(b, 2, 2, frame_max - FRAME_OVERHEAD, frame_max);
    if (large) add_message(b, 1, 3, (size_t)300 * 1024, frame_max);
    add_interleaved(b);
    bytes_frame(b, FRAME_HEARTBEAT, 0, NULL, 0);
    bytes_method(b, 0, METHOD_CONNECTION_BLOCKED, NULL);
    bytes_method(b, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    bytes_method(b, 2, METHOD_CHANNEL_CLOSE, NULL);
    bytes_method(b, 0, METHOD_CONNECTION_CLOSE, &close);
}

/* Each message is acknowledged from within its event, so that output mixes with input. */
static void acknowledge(struct peer *p, const struct session_event *event) {
    struct basic_ack ack = { .delivery_tag = 9 };
    bool whole = event->type == SESSION_EVENT_CONTENT || (event->type == SESSION_EVENT_BODY && event->body_ends);
    if (!whole || p->session.state != SESSION_OPEN) return;
    assert_int_equal(session_send(&p->session, event->channel, METHOD_BASIC_ACK, &ack), 0);
}

/* How bodies are taken: as they lie in the input, straight into their messages, or handed out in pieces. It means the same. */
enum taking { TAKE_INPUT, TAKE_STRAIGHT, TAKE_PIECES, TAKINGS };

static void converse_begin(struct peer *p, uint32_t frame_max, enum taking taking) {
    static char one[] = "one", two[] = "two";
    peer_init(p);
    p->straight = taking == TAKE_STRAIGHT;
    p->hands_out = taking == TAKE_PIECES;
    p->tune.frame_max = frame_max;
    p->on_event = acknowledge;
    assert_int_equal(session_channel_open(&p->session, one), 1);
    assert_int_equal(session_channel_open(&p->session, two), 2);
    if (p->hands_out) session_announce_bodies(&p->session, 1);
    if (p->hands_out) session_announce_bodies(&p->session, 2);
    assert_int_equal(session_start(&p->session, p->now), 0);
}

/* What a conversation amounts to. */
struct outcome {
    struct bytes events, trace, wire;
};

static void outcome_take(struct outcome *o, struct peer *p) {
    peer_write_all(p);
    *o = (struct outcome){ p->events, p->trace, p->wire };
    p->events = p->trace = p->wire = (struct bytes){ 0 };
    p->wire_read = 0;
    peer_deinit(p);
}

static void outcome_free(struct outcome *o) {
    bytes_free(&o->events);
    bytes_free(&o->trace);
    bytes_free(&o->wire);
}

static void assert_bytes_equal(const struct bytes *a, const struct bytes *b) {
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}

/* Consumes `o`. */
static void assert_same(struct outcome *o, const struct outcome *whole) {
    assert_bytes_equal(&o->events, &whole->events);
    assert_bytes_equal(&o->trace, &whole->trace);
    assert_bytes_equal(&o->wire, &whole->wire);
    outcome_free(o);
}

static void converse_whole(struct outcome *o, const struct bytes *b, uint32_t frame_max) {
    struct peer p = { 0 };
    converse_begin(&p, frame_max, TAKE_INPUT);
    peer_feed(&p, b->data, b->size);
    outcome_take(o, &p);
}

static void converse_cut(const struct bytes *b, uint32_t frame_max, size_t cut, const struct outcome *whole) {
    for (enum taking taking = TAKE_INPUT; taking < TAKINGS; taking++) {
        struct peer p = { 0 };
        struct outcome o;
        converse_begin(&p, frame_max, taking);
        peer_feed(&p, b->data, cut);
        peer_feed(&p, b->data + cut, b->size - cut);
        outcome_take(&o, &p);
        assert_same(&o, whole);
    }
}

static void the_whole_is_what_it_should_be(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct outcome whole;
    record(&b, 131072, true);
    converse_whole(&whole, &b, 131072);
    bytes_add(&whole.events, "", 1);
    const char *events = (const char *)whole.events.data;
#define DELIVER(channel, tag, size)                                                                                              \
    "content " channel " basic.deliver consumer_tag=\"c\" delivery_tag=" tag " routing_key=\"k\" content_type=\"text/plain\" "   \
    "delivery_mode=2 body=" size "\n"
    assert_string_equal(
        events,
        "start\ntune\nopen\nchannel-open 1 one\nchannel-open 2 two\n"
        "method 1 one queue.declare-ok queue=\"amq.gen-1\" message_count=7\n" DELIVER("1 one", "1", "0")
            DELIVER("2 two", "1", "1") DELIVER("1 one", "2", "4088") DELIVER("2 two", "2", "131064") DELIVER(
                "1 one", "3",
                "307200") "content 1 one basic.deliver content_type=\"t\" priority=3 reply_to=\"\" cluster_id=\"c\" body=20\n"
                          "content 2 two basic.return content_type=\"t\" priority=3 reply_to=\"\" cluster_id=\"c\" body=30\n"
                          "blocked connection.blocked\nunblocked\nchannel-close 2 two channel.close\n"
                          "ended LAGO_ECONNECTION 320\n");
    outcome_free(&whole);
    bytes_free(&b);
}

static void every_cut_means_the_same(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct outcome whole;
    record(&b, 4096, false);
    converse_whole(&whole, &b, 4096);
    for (size_t cut = 1; cut < b.size; cut++) converse_cut(&b, 4096, cut, &whole);
    outcome_free(&whole);
    bytes_free(&b);
}

/* The large one at the places that count: around each frame's beginning and end, and here and there in between. */
static void cuts_of_large_frames_mean_the_same(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct outcome whole;
    record(&b, 131072, true);
    converse_whole(&whole, &b, 131072);
    struct frame frame;
    size_t need = 0;
    for (size_t at = 0; at < b.size; at += need) {
        assert_int_equal(frame_decode(b.data + at, b.size - at, 131072, &frame, &need), FRAME_COMPLETE);
        if (need < 4096) continue;
        static const int places[] = { -1, 0, 1, 2, 3, 6, 7, 8, 9, 1000, -3, -2 };
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
            converse_cut(&b, 131072, at + (size_t)(places[i] < -1 ? (int)need + places[i] : places[i]), &whole);
        for (size_t inside = 20000; inside < need; inside += 20011) converse_cut(&b, 131072, at + inside, &whole);
    }
    outcome_free(&whole);
    bytes_free(&b);
}

static void single_bytes_mean_the_same(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct outcome whole;
    record(&b, 131072, true);
    converse_whole(&whole, &b, 131072);
    for (enum taking taking = TAKE_INPUT; taking < TAKINGS; taking++) {
        struct peer p = { 0 };
        struct outcome o;
        converse_begin(&p, 131072, taking);
        for (size_t at = 0; at < b.size; at++) peer_feed(&p, b.data + at, 1);
        assert_true(taking != TAKE_STRAIGHT || p.filled > 300000);
        assert_true(taking != TAKE_PIECES || p.pieces > 300000);
        outcome_take(&o, &p);
        assert_same(&o, &whole);
    }
    outcome_free(&whole);
    bytes_free(&b);
}

static void random_splits_mean_the_same(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct outcome whole, o;
    record(&b, 131072, true);
    converse_whole(&whole, &b, 131072);
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct dice dice = { seed * 0x9e3779b97f4a7c15u };
        struct peer p = { 0 };
        size_t scale = (size_t)1 << (3 + dice_below(&dice, 15));
        converse_begin(&p, 131072, (enum taking)(seed % TAKINGS));
        for (size_t at = 0, size; at < b.size; at += size) {
            size = 1 + dice_below(&dice, scale);
            if (size > b.size - at) size = b.size - at;
            peer_feed(&p, b.data + at, size);
            /* how much is written in between is the network's business, but close-ok must not leave before all was read */
            if (dice_below(&dice, 3) == 0 && p.session.state < SESSION_CLOSING) peer_write(&p, dice_below(&dice, 100));
        }
        outcome_take(&o, &p);
        assert_same(&o, &whole);
    }
    outcome_free(&whole);
    bytes_free(&b);
}

/* Events that were not asked for wait: whoever stops asking has stopped reading, and the rest is there later. */
static void events_wait_until_they_are_asked_for(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct peer p = { 0 };
    struct session_event event;
    peer_open(&p);
    for (uint64_t tag = 1; tag <= 3; tag++) bytes_deliver(&b, 1, tag, 10, 4096);
    session_input(&p.session, b.data, b.size, p.now);
    for (uint64_t tag = 1; tag <= 3; tag++) {
        assert_true(session_has_input(&p.session));
        assert_int_equal(session_next_event(&p.session, &event), 1);
        assert_true(event.args->basic_deliver.delivery_tag == tag);
        assert_true(session_has_input(&p.session)); /* the event lies in it */
    }
    assert_int_equal(session_next_event(&p.session, &event), 0);
    assert_false(session_has_input(&p.session));
    bytes_free(&b);
    peer_deinit(&p);
}

/* The application drops the link from within an event: the input may go at once. */
static void input_can_be_forgotten(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct peer p = { 0 };
    struct session_event event;
    lago_reason_t reason = { .code = LAGO_ECLOSED };
    peer_open(&p);
    for (uint64_t tag = 1; tag <= 3; tag++) bytes_deliver(&b, 1, tag, 10, 4096);
    bytes_method(&b, 2, METHOD_BASIC_DELIVER, NULL);
    session_input(&p.session, b.data, b.size, p.now);
    assert_int_equal(session_next_event(&p.session, &event), 1);
    session_abandon(&p.session, &reason);
    session_forget_input(&p.session);
    assert_false(session_has_input(&p.session));
    bytes_free(&b);
    peer_pull(&p);
    assert_string_equal(peer_events(&p), "ended LAGO_ECLOSED\n");
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- damaged conversations */

enum { MUTATIONS = 20000 };

static void mutate(struct bytes *b, struct dice *dice) {
    static const uint8_t hostile[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, 0xce, 0x08, 0x03 };
    for (size_t n = 1 + dice_below(dice, 4); n > 0 && b->size > 8; n--) {
        size_t at = dice_below(dice, b->size), size = 1 + dice_below(dice, 8);
        if (size > b->size - at) size = b->size - at;
        switch (dice_below(dice, 6)) {
        case 0: b->data[at] ^= (uint8_t)(1u << dice_below(dice, 8)); break;
        case 1: b->data[at] = hostile[dice_below(dice, sizeof(hostile))]; break;
        case 2: memset(b->data + at, hostile[dice_below(dice, sizeof(hostile))], size); break;
        case 3: /* leave out */
            memmove(b->data + at, b->data + at + size, b->size - at - size);
            b->size -= size;
            break;
        case 4: /* say again, from anywhere */ memmove(b->data + at, b->data + dice_below(dice, b->size - size + 1), size); break;
        default: b->size -= dice_below(dice, 2) * dice_below(dice, b->size / 4); break;
        }
    }
}

/* Whole frames swapped, repeated, sent to another channel: sense is lost, framing is not. */
static void shuffle(struct bytes *b, struct dice *dice) {
    struct bytes mixed = { 0 };
    struct frame frame;
    size_t need = 0, starts[128], count = 0;
    for (size_t at = 0; at < b->size && count < 127; at += need) {
        assert_int_equal(frame_decode(b->data + at, b->size - at, 131072, &frame, &need), FRAME_COMPLETE);
        starts[count++] = at;
    }
    starts[count] = b->size;
    for (size_t i = 0; i < count; i++) {
        size_t pick = dice_below(dice, 12) ? i : dice_below(dice, count);
        size_t at = mixed.size;
        if (dice_below(dice, 24) == 0) continue;
        bytes_add(&mixed, b->data + starts[pick], starts[pick + 1] - starts[pick]);
        if (dice_below(dice, 40) == 0) mixed.data[at + 2] = (uint8_t)dice_below(dice, 4);
    }
    bytes_free(b);
    *b = mixed;
}

static void record_small(struct bytes *b) {
    static const lago_field_t fields[] = { LAGO_FIELD_STR("k", "v"), LAGO_FIELD_I32("n", 5) };
    lago_properties_t properties = { .headers = LAGO_TABLE_OF(fields), .correlation_id = "id", .timestamp = 1 };
    bytes_handshake(b);
    bytes_method(b, 1, METHOD_CHANNEL_OPEN_OK, NULL);
    bytes_method(b, 2, METHOD_CHANNEL_OPEN_OK, NULL);
    for (uint64_t tag = 1; tag < 6; tag++) add_message(b, (uint16_t)(1 + tag % 2), tag, (size_t)tag * 9, 30);
    bytes_method(b, 1, METHOD_BASIC_DELIVER, NULL);
    bytes_header(b, 1, 9, &properties);
    bytes_body(b, 1, 0, 9);
    add_interleaved(b);
    bytes_method(b, 1, METHOD_CHANNEL_CLOSE, NULL);
    bytes_method(b, 0, METHOD_CONNECTION_BLOCKED, NULL);
    add_message(b, 2, 7, 40, 30);
    bytes_method(b, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    bytes_method(b, 0, METHOD_CONNECTION_CLOSE, NULL);
}

/* However it went: at most one close of ours left, exactly one if the protocol was broken by somebody whom we had met. */
static void assert_in_order(struct peer *p) {
    enum session_state state = p->session.state;
    int code = p->session.reason.code;
    (void)peer_frames(p);
    assert_in_range(p->close_count, 0, 1);
    if (state == SESSION_FAILED) assert_int_equal(p->close_count, 1);
    if (state < SESSION_CLOSING) assert_int_equal(p->close_count, 0);
    if (state == SESSION_LEAVING && code != LAGO_EPROTOCOL) assert_int_equal(p->close_count, 0);
    peer_pass(p, 2000);
    assert_true(p->session.state == SESSION_ENDED || p->session.state < SESSION_CLOSING);
    session_lost(&p->session, 0, p->now);
    peer_pull(p);
    const char *events = peer_events(p), *ended = strstr(events, "ended ");
    assert_non_null(ended);
    assert_int_equal(strchr(ended, '\n')[1], '\0'); /* once, and last */
}

static void damaged(struct bytes *b, struct dice *dice) {
    struct peer p = { 0 };
    size_t scale = 1 + dice_below(dice, 3) * 200;
    converse_begin(&p, 4096, (enum taking)dice_below(dice, TAKINGS));
    p.any_body = true;
    p.settings.message_size_max = p.session.settings.message_size_max = 1000;
    for (size_t at = 0, size; at < b->size; at += size) {
        size = scale > 1 ? 1 + dice_below(dice, scale) : b->size;
        if (size > b->size - at) size = b->size - at;
        peer_feed(&p, b->data + at, size);
        if (dice_below(dice, 4) == 0) peer_write(&p, dice_below(dice, 400));
        assert_true(p.memory.live_bytes < 64 * 1024);
    }
    assert_in_order(&p);
    peer_deinit(&p);
}

static void damaged_conversations_end_in_order(void **state) {
    (void)state;
    struct dice dice = { 20260101 };
    struct bytes recorded = { 0 };
    record_small(&recorded);
    for (int i = 0; i < MUTATIONS; i++) {
        struct bytes b = { 0 };
        bytes_add(&b, recorded.data, recorded.size);
        if (i % 3 == 0) shuffle(&b, &dice);
        if (i % 3 != 0 || i % 2) mutate(&b, &dice);
        damaged(&b, &dice);
        bytes_free(&b);
    }
    bytes_free(&recorded);
}

/* The same when memory is short from the opening on: each allocation may fail, the end is in order, nothing is lost. */
static void starve(struct peer *p, const struct session_event *event) {
    const size_t *n = p->data;
    if (event->type == SESSION_EVENT_OPEN) fail_alloc_at(&p->memory, *n, *n % 2);
    if (event->type != SESSION_EVENT_CONTENT) return;
    (void)session_send(&p->session, event->channel, METHOD_BASIC_ACK, &(struct basic_ack){ .delivery_tag = 9 });
    (void)peer_publish(p, 2, 2500);
}

static void starved_conversations_end_in_order(void **state) {
    (void)state;
    struct dice dice = { 20260102 };
    struct bytes recorded = { 0 };
    record_small(&recorded);
    for (size_t i = 0; i < 3000; i++) {
        struct bytes b = { 0 };
        struct peer p = { 0 };
        size_t n = 1 + i % 150, scale = 1 + dice_below(&dice, 100);
        bytes_add(&b, recorded.data, recorded.size);
        if (i >= 600) shuffle(&b, &dice);
        if (i >= 1200) mutate(&b, &dice);
        converse_begin(&p, 4096, (enum taking)(i % TAKINGS));
        p.any_body = true;
        p.on_event = starve;
        p.data = &n;
        for (size_t at = 0, size; at < b.size; at += size) {
            size = 1 + dice_below(&dice, scale);
            if (size > b.size - at) size = b.size - at;
            peer_feed(&p, b.data + at, size);
            if (dice_below(&dice, 4) == 0) peer_write(&p, dice_below(&dice, 400));
        }
        fail_alloc_at(&p.memory, 0, false);
        peer_write_all(&p);
        assert_in_range(p.close_count, 0, 1);
        session_lost(&p.session, 0, p.now);
        peer_pull(&p);
        assert_non_null(strstr(peer_events(&p), "ended "));
        peer_deinit(&p);
        bytes_free(&b);
    }
    bytes_free(&recorded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_is_what_it_should_be),
        cmocka_unit_test(every_cut_means_the_same),
        cmocka_unit_test(cuts_of_large_frames_mean_the_same),
        cmocka_unit_test(single_bytes_mean_the_same),
        cmocka_unit_test(random_splits_mean_the_same),
        cmocka_unit_test(events_wait_until_they_are_asked_for),
        cmocka_unit_test(input_can_be_forgotten),
        cmocka_unit_test(damaged_conversations_end_in_order),
        cmocka_unit_test(starved_conversations_end_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
