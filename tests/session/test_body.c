/* Bodies that do not go through an input whole: put straight where they belong, or handed out in pieces and never held. */
#include "peer.h"

#include <stdio.h>

#define MIB     ((size_t)1 << 20)
#define FRAME   131072u
#define PAYLOAD (FRAME - FRAME_OVERHEAD)

static void open_with(struct peer *p, uint64_t message_size_max) {
    peer_init(p);
    p->session.settings.message_size_max = message_size_max;
    p->tune.frame_max = FRAME;
    peer_bring(p, SESSION_OPEN);
    p->session.settings.trace = NULL;
}

static void add_header(struct bytes *b, uint16_t channel, uint64_t body_size) {
    bytes_method(b, channel, METHOD_BASIC_DELIVER, NULL);
    bytes_header(b, channel, body_size, NULL);
}

/* What is known after the first bytes decides where the others go. */
static void say_cut(struct peer *p, struct bytes *b) {
    peer_feed(p, b->data, 3000);
    peer_feed(p, b->data + 3000, b->size - 3000);
    bytes_free(b);
}

/* ---------------------------------------------------------------- straight to its place */

static void only_the_first_bytes_of_a_large_body_are_copied(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_with(&p, 64 * MIB);
    bytes_deliver(&b, 1, 1, MIB, FRAME);
    p.straight = true;
    say_cut(&p, &b);
    assert_true(p.filled > MIB - 8192);
    assert_non_null(strstr(peer_events(&p), " body=1048576\n"));
    assert_int_equal(session_read_max(&p.session), 4096); /* the next one is like it */
    bytes_deliver(&b, 1, 2, 10, FRAME);
    peer_say(&p, &b);
    bytes_deliver(&b, 1, 3, 10, FRAME);
    peer_say(&p, &b);
    assert_int_equal(session_read_max(&p.session), SIZE_MAX);
    peer_deinit(&p);
}

/* One frame that is cut is read on straight, and what follows is read as ever: whole ones lie where they are. */
static void the_rest_of_a_frame_has_its_place(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    uint8_t *room;
    open_with(&p, MIB);
    bytes_deliver(&b, 1, 1, 65536, FRAME);
    peer_feed(&p, b.data, 20000);
    assert_int_equal(session_read_max(&p.session), SIZE_MAX);
    size_t left = b.size - 20000 - FRAME_END_SIZE, room_size = session_room(&p.session, &room);
    assert_int_equal(room_size, left); /* not its end octet: the message's event comes of that */
    memcpy(room, b.data + 20000, left);
    session_filled(&p.session, left, p.now);
    assert_int_equal(session_room(&p.session, &room), 0);
    peer_pull(&p);
    assert_string_equal(peer_events(&p), "");
    peer_feed(&p, b.data + b.size - 1, 1);
    assert_non_null(strstr(peer_events(&p), " body=65536\n"));
    bytes_free(&b);
    peer_deinit(&p);
}

static void there_is_no_place_elsewhere(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    uint8_t *room;
    open_with(&p, MIB);
    assert_int_equal(session_room(&p.session, &room), 0);
    bytes_deliver(&b, 1, 1, 8000, FRAME);
    peer_feed(&p, b.data, b.size - 4000); /* little is left: a read of its own is not worth it */
    assert_int_equal(session_room(&p.session, &room), 0);
    peer_feed(&p, b.data + b.size - 4000, 4000);
    peer_feed(&p, b.data, 200);
    assert_true(session_room(&p.session, &room) > 4096);
    uint8_t octet = b.data[200]; /* nobody has to use it */
    session_input(&p.session, &octet, 1, p.now);
    assert_int_equal(session_room(&p.session, &room), 0); /* there is input */
    peer_pull(&p);
    assert_true(session_room(&p.session, &room) > 4096);
    assert_int_equal(session_close(&p.session, REPLY_SUCCESS, "bye"), 0);
    assert_int_equal(session_room(&p.session, &room), 0);
    bytes_free(&b);
    peer_deinit(&p);
}

/* The channel ends in the middle of a frame: the rest belongs to nobody, not even to who has its number next. */
static void there_is_no_place_for_what_nobody_wants(void **state) {
    (void)state;
    static char again[] = "again";
    for (int way = 0; way < 3; way++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        uint8_t *room;
        open_with(&p, MIB);
        bytes_deliver(&b, 1, 1, 100000, FRAME);
        size_t rest = b.size - 20000;
        peer_feed(&p, b.data, 20000);
        assert_true(session_room(&p.session, &room) > 4096);
        if (way == 0) assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
        if (way >= 1) session_channel_drop(&p.session, 1);
        if (way == 2) assert_int_equal(session_channel_open(&p.session, again), 1);
        assert_int_equal(session_room(&p.session, &room), 0);
        assert_int_equal(session_read_max(&p.session), SIZE_MAX);
        bytes_deliver(&b, 2, 1, 7, FRAME);
        peer_feed(&p, b.data + 20000, rest / 2);
        peer_feed(&p, b.data + 20000 + rest / 2, b.size - 20000 - rest / 2);
        assert_int_equal(p.session.state, SESSION_OPEN);
        assert_string_equal(peer_events(&p), "content 2 two basic.deliver consumer_tag=\"c\" delivery_tag=1 routing_key=\"k\" "
                                             "content_type=\"text/plain\" delivery_mode=2 body=7\n");
        bytes_free(&b);
        peer_deinit(&p);
    }
}

/* Before, on or behind the end octet, or in the next frame's header: a read may end anywhere. */
static void reads_end_anywhere(void **state) {
    (void)state;
    struct bytes b = { 0 };
    bytes_deliver(&b, 1, 1, 3 * PAYLOAD, FRAME);
    size_t end = b.size - 2 * FRAME - FRAME_END_SIZE; /* the first frame's end octet */
    for (size_t cut = end - 3; cut < end + 12; cut++) {
        struct peer p = { 0 };
        open_with(&p, MIB);
        p.straight = true;
        peer_feed(&p, b.data, 3000);
        peer_feed(&p, b.data + 3000, cut - 3000);
        assert_string_equal(peer_events(&p), "");
        peer_feed(&p, b.data + cut, b.size - cut);
        assert_non_null(strstr(peer_events(&p), " body=393192\n"));
        assert_true(p.filled > PAYLOAD / 2);
        peer_deinit(&p);
    }
    bytes_free(&b);
}

/* What is read along behind a frame may be anything. */
static void what_follows_a_frame_is_looked_at(void **state) {
    (void)state;
    for (int row = 0; row < 4; row++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        open_with(&p, MIB);
        p.straight = true;
        add_header(&b, 1, 3 * PAYLOAD);
        bytes_body(&b, 1, 0, PAYLOAD);
        size_t end = b.size - FRAME_END_SIZE;
        if (row == 1) b.data[end] = 0; /* no end octet */
        if (row == 2) bytes_deliver(&b, 2, 1, 5, FRAME);
        if (row == 3) bytes_method(&b, 1, METHOD_BASIC_ACK, NULL); /* in the middle of a message */
        bytes_body(&b, 1, PAYLOAD, PAYLOAD);
        bytes_body(&b, 1, 2 * PAYLOAD, PAYLOAD);
        say_cut(&p, &b);
        assert_true(p.filled > PAYLOAD / 2);
        const char *events = peer_events(&p);
        assert_int_equal(strstr(events, " body=393192\n") != NULL, row == 0 || row == 2);
        assert_int_equal(strstr(events, "2 two") != NULL, row == 2);
        assert_int_equal(p.session.state, row == 0 || row == 2 ? SESSION_OPEN : SESSION_FAILED);
        peer_deinit(&p);
    }
}

/* A peer pays for the memory it claims, here as well: what has come, eight times, and a page. */
static void room_follows_what_has_come(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_with(&p, 64 * MIB);
    p.straight = true;
    add_header(&b, 1, 64 * MIB);
    for (size_t offset = 0; offset < 4 * MIB; offset += PAYLOAD) bytes_body(&b, 1, offset, PAYLOAD);
    size_t live = p.memory.live_bytes;
    for (size_t at = 0, size; at < b.size; at += size) {
        size = b.size - at < 5000 ? b.size - at : 5000;
        peer_feed(&p, b.data + at, size);
        assert_true(p.memory.live_bytes - live <= 9 * (at + size + 4096) + 4096);
    }
    assert_true(p.filled > 4 * MIB - 200000);
    bytes_free(&b);
    peer_deinit(&p);
}

static struct block *kept;

static void keep(struct peer *p, const struct session_event *event) {
    (void)p;
    if (event->type == SESSION_EVENT_CONTENT) kept = block_ref(event->body_block);
}

static void it_can_be_kept(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_with(&p, MIB);
    p.straight = true;
    p.on_event = keep;
    bytes_deliver(&b, 1, 1, MIB, FRAME);
    say_cut(&p, &b);
    assert_true(p.filled > MIB - 8192);
    bytes_deliver(&b, 1, 2, 300000, FRAME); /* not into the first one's */
    p.on_event = NULL;
    say_cut(&p, &b);
    assert_true(pattern_is(block_data(kept), MIB));
    block_unref(kept);
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- handed out */

static void open_announcing(struct peer *p, uint64_t message_size_max) {
    open_with(p, message_size_max);
    session_announce_bodies(&p->session, 1);
    session_announce_bodies(&p->session, 99); /* nobody's */
}

/* Of any size, and without memory for it. */
static void what_is_handed_out_is_never_held(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_announcing(&p, 1000);
    p.hands_out = true;
    bytes_deliver(&b, 1, 1, 64 * MIB, FRAME);
    size_t live = p.memory.live_bytes, peak = p.memory.peak_both_bytes = live;
    for (size_t at = 0; at < b.size; at += 65536) peer_feed(&p, b.data + at, b.size - at < 65536 ? b.size - at : 65536);
    bytes_free(&b);
    assert_non_null(strstr(peer_events(&p), " body=67108864\n"));
    assert_true(p.memory.peak_both_bytes - peak < 4096);
    assert_int_equal(p.memory.live_bytes, live);
    assert_int_equal(p.handed[1], 64 * MIB);
    peer_deinit(&p);
}

/* So it has no place that it could be read into, however large. */
static void what_is_handed_out_has_no_place(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_announcing(&p, 1000);
    p.hands_out = p.straight = true;
    bytes_deliver(&b, 1, 1, 4 * MIB, FRAME);
    for (size_t at = 0; at < b.size; at += 65536) {
        peer_feed(&p, b.data + at, b.size - at < 65536 ? b.size - at : 65536);
        assert_int_equal(session_read_max(&p.session), SIZE_MAX);
    }
    bytes_free(&b);
    assert_int_equal(p.filled, 0);
    assert_non_null(strstr(peer_events(&p), " body=4194304\n"));
    peer_deinit(&p);
}

static void leave(struct peer *p, const struct session_event *event) {
    if (event->type != SESSION_EVENT_BODY_BEGIN) return;
    if (p->data)
        assert_int_equal(session_channel_close(&p->session, event->channel, REPLY_SUCCESS, "bye"), 0);
    else
        assert_int_equal(session_close(&p->session, REPLY_SUCCESS, "bye"), 0);
}

/* One that is announced and too large, but nobody waits for it any more: it ends nothing. */
static void who_leaves_when_it_is_announced_is_not_told_of_its_size(void **state) {
    (void)state;
    for (int channel = 0; channel < 2; channel++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        open_announcing(&p, 1000);
        p.on_event = leave;
        p.data = channel ? &p : NULL;
        bytes_deliver(&b, 1, 1, 2000, FRAME);
        peer_say(&p, &b);
        assert_string_equal(peer_frames(&p), channel ? "1 channel.close reply_code=200 reply_text=\"bye\"\n"
                                                     : "0 connection.close reply_code=200 reply_text=\"bye\"\n");
        assert_string_equal(peer_events(&p), "");
        peer_say_method(&p, (uint16_t)channel, channel ? METHOD_CHANNEL_CLOSE_OK : METHOD_CONNECTION_CLOSE_OK, NULL);
        assert_string_equal(peer_events(&p), channel ? "closed 1 one\n" : "ended LAGO_ECLOSED 200\n");
        peer_deinit(&p);
    }
}

/* Who does not want it in pieces gets it whole, or not at all. */
static void what_is_announced_may_be_put_together(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_announcing(&p, 300000);
    bytes_deliver(&b, 1, 1, 300000, FRAME);
    for (size_t at = 0; at < b.size; at += 10000) peer_feed(&p, b.data + at, b.size - at < 10000 ? b.size - at : 10000);
    assert_non_null(strstr(peer_events(&p), " body=300000\n"));
    bytes_free(&b);
    add_header(&b, 1, 300001);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "channel-close 1 one LAGO_EMSGSIZE 311\n");
    peer_deinit(&p);
}

static unsigned begun;

static void count_begun(struct peer *p, const struct session_event *event) {
    (void)p;
    begun += event->type == SESSION_EVENT_BODY_BEGIN;
}

/* Small ones, returned ones, other channels' are as ever. */
static void only_deliveries_that_are_cut_are_announced(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_announcing(&p, MIB);
    p.on_event = count_begun;
    begun = 0;
    for (uint64_t tag = 1; tag <= 5; tag++) bytes_deliver(&b, 1, tag, (size_t)tag * 100, FRAME);
    bytes_deliver(&b, 1, 6, 0, FRAME);
    bytes_method(&b, 1, METHOD_BASIC_RETURN, NULL);
    bytes_header(&b, 1, 200000, NULL);
    for (size_t offset = 0; offset < 200000; offset += 50000) bytes_body(&b, 1, offset, 50000);
    bytes_deliver(&b, 2, 1, 200000, FRAME);
    peer_say(&p, &b);
    assert_int_equal(begun, 0);
    bytes_deliver(&b, 1, 7, 200000, FRAME);
    peer_say(&p, &b);
    assert_int_equal(begun, 1);
    peer_deinit(&p);
}

/* The last piece is only the last when its end octet has come. */
static void the_end_waits_for_the_end_octet(void **state) {
    (void)state;
    for (int good = 0; good < 2; good++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        open_announcing(&p, MIB);
        p.hands_out = true;
        bytes_deliver(&b, 1, 1, 100000, FRAME);
        if (!good) b.data[b.size - 1] = 0;
        peer_feed(&p, b.data, b.size - 1);
        assert_int_equal(p.handed[1], 100000);
        assert_string_equal(peer_events(&p), "");
        peer_feed(&p, b.data + b.size - 1, 1);
        assert_int_equal(strstr(peer_events(&p), " body=100000\n") != NULL, good);
        assert_int_equal(p.session.state, good ? SESSION_OPEN : SESSION_FAILED);
        bytes_free(&b);
        peer_deinit(&p);
    }
}

static void the_channel_may_end_in_between(void **state) {
    (void)state;
    for (int by_us = 0; by_us < 2; by_us++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        open_announcing(&p, MIB);
        p.hands_out = true;
        add_header(&b, 1, 100000);
        bytes_body(&b, 1, 0, 50000);
        peer_say(&p, &b);
        assert_int_equal(p.handed[1], 50000);
        if (by_us) assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
        if (by_us) bytes_body(&b, 1, 50000, 50000);
        bytes_method(&b, 1, by_us ? METHOD_CHANNEL_CLOSE_OK : METHOD_CHANNEL_CLOSE, NULL);
        peer_say(&p, &b);
        assert_int_equal(p.handed[1], 50000);
        assert_string_equal(peer_events(&p), by_us ? "closed 1 one\n" : "channel-close 1 one channel.close\n");
        peer_deinit(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_first_bytes_of_a_large_body_are_copied),
        cmocka_unit_test(the_rest_of_a_frame_has_its_place),
        cmocka_unit_test(there_is_no_place_elsewhere),
        cmocka_unit_test(there_is_no_place_for_what_nobody_wants),
        cmocka_unit_test(reads_end_anywhere),
        cmocka_unit_test(what_follows_a_frame_is_looked_at),
        cmocka_unit_test(room_follows_what_has_come),
        cmocka_unit_test(it_can_be_kept),
        cmocka_unit_test(what_is_handed_out_is_never_held),
        cmocka_unit_test(what_is_handed_out_has_no_place),
        cmocka_unit_test(who_leaves_when_it_is_announced_is_not_told_of_its_size),
        cmocka_unit_test(what_is_announced_may_be_put_together),
        cmocka_unit_test(only_deliveries_that_are_cut_are_announced),
        cmocka_unit_test(the_end_waits_for_the_end_octet),
        cmocka_unit_test(the_channel_may_end_in_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
