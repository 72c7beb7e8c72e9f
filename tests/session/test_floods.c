/*
 * Peers that mean harm by what is allowed: frames that bring nothing, without end; frames that never end; messages on all channels at
 * once. What honest brokers do at their worst passes (S1, S10, S11, S25, S28 of the list of attacks; 4.2.7 of the specification).
 */
#include "internal.h"
#include "peer.h"

#include <stdio.h>

/* More than any limit, and a thousandth of what is sent to find out what it costs. */
#define FLOOD 20000u

/* So many at once are everyday life. */
#define BURST 10000u

static void open_with(struct peer *p, uint16_t heartbeat_s) {
    peer_init(p);
    p->tune.heartbeat_s = heartbeat_s;
    peer_bring(p, SESSION_OPEN);
    p->settings.trace = p->session.settings.trace = NULL; /* a line for each would be slow */
}

static void add_heartbeat(struct bytes *b, size_t i) {
    (void)i;
    bytes_frame(b, FRAME_HEARTBEAT, 0, NULL, 0);
}

static void add_blocked(struct bytes *b, size_t i) {
    bytes_method(b, 0, i % 2 ? METHOD_CONNECTION_UNBLOCKED : METHOD_CONNECTION_BLOCKED, NULL);
}

static void add_flow(struct bytes *b, size_t i) {
    bytes_method(b, 1, METHOD_CHANNEL_FLOW, &(struct channel_flow){ .active = i % 2 });
}

static void add_return(struct bytes *b, size_t i) {
    (void)i;
    bytes_method(b, 1, METHOD_BASIC_RETURN, &(struct basic_return){ .reply_code = REPLY_NO_ROUTE, .routing_key = { "q", 1 } });
    bytes_header(b, 1, 0, NULL);
}

static const struct flood {
    void (*add)(struct bytes *b, size_t i);
    const char *what;
} floods[] = {
    { add_heartbeat, "heartbeats" },
    { add_blocked, "blocks and unblocks" },
    { add_flow, "stops and starts of a channel's flow" },
    { add_return, "returns of what was not published" },
};

#define FLOODS (sizeof(floods) / sizeof(floods[0]))

static void say(struct peer *p, const struct flood *flood, size_t count) {
    struct bytes b = { 0 };
    for (size_t i = 0; i < count; i++) flood->add(&b, i);
    peer_say(p, &b);
    peer_write_all(p);
}

static void assert_flooded(struct peer *p, const char *what) {
    char words[128];
    assert_int_equal(p->session.state, SESSION_FAILED);
    assert_int_equal(p->session.reason.code, LAGO_EPROTOCOL);
    assert_int_equal(p->session.reason.reply_code, REPLY_RESOURCE_ERROR);
    (void)snprintf(words, sizeof(words), "more than 10000 %s", what);
    assert_non_null(strstr(p->session.reason.whole->detail, words));
    assert_int_not_equal(p->session.reason.whole->hint[0], '\0');
    assert_non_null(strstr(peer_frames(p), "0 connection.close reply_code=506"));
}

/* ---------------------------------------------------------------- frames that bring nothing */

static void a_flood_ends_the_link(void **state) {
    (void)state;
    for (size_t i = 0; i < FLOODS; i++) {
        struct peer p = { 0 };
        open_with(&p, 0);
        say(&p, &floods[i], BURST);
        assert_int_equal(p.session.state, SESSION_OPEN);
        say(&p, &floods[i], 1);
        assert_flooded(&p, floods[i].what);
        say(&p, &floods[i], FLOOD); /* dropped */
        peer_pass(&p, 1000);
        assert_int_equal(p.session.state, SESSION_ENDED);
        peer_deinit(&p);
    }
}

/* There is no memory for the words: the reason is known all the same. */
static void a_flood_without_memory_ends_it_as_well(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0);
    say(&p, &floods[0], BURST);
    fail_alloc_at(&p.memory, 1, true);
    say(&p, &floods[0], 1);
    assert_true(p.session.state > SESSION_OPEN);
    assert_null(p.session.reason.whole);
    assert_int_equal(p.session.reason.code, LAGO_EPROTOCOL);
    assert_int_equal(p.session.reason.reply_code, REPLY_RESOURCE_ERROR);
    peer_deinit(&p);
}

/* They are counted together: a flood of several kinds is one. */
static void a_flood_of_several_kinds_is_one(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0);
    for (size_t i = 0; i < FLOODS; i++) say(&p, &floods[i], BURST / FLOODS);
    assert_int_equal(p.session.state, SESSION_OPEN);
    say(&p, &floods[1], 1);
    assert_flooded(&p, floods[1].what);
    peer_deinit(&p);
}

static void during_the_handshake_as_well(void **state) {
    (void)state;
    for (enum session_state at = SESSION_STARTING; at < SESSION_OPEN; at++) {
        struct peer p = { 0 };
        peer_init(&p);
        p.settings.trace = p.session.settings.trace = NULL;
        peer_bring(&p, at);
        say(&p, &floods[0], BURST + 1);
        assert_flooded(&p, "heartbeats");
        peer_deinit(&p);
    }
}

/* Half of the shortest interval, for a day. */
static void honest_heartbeats_pass(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 1);
    for (unsigned i = 0; i < 2 * 24 * 3600; i++) {
        p.now += 500;
        say(&p, &floods[0], 1);
        if (i % 1000 == 0) p.wire.size = p.wire_read = 0;
    }
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

/* An application that does not read for a week finds a week's heartbeats. */
static void what_came_while_nobody_read_passes(void **state) {
    (void)state;
    struct peer p = { 0 };
    const unsigned week = 7 * 24 * 3600;
    open_with(&p, 1);
    session_reading(&p.session, false, p.now);
    p.now += UINT64_C(1000) * week;
    session_reading(&p.session, true, p.now);
    say(&p, &floods[0], (size_t)2 * week);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

/* Neither does it if it reads for a moment in between: what the first pause has brought is still there. */
static void what_came_in_two_pauses_passes(void **state) {
    (void)state;
    struct peer p = { 0 };
    const unsigned pause_ms = 200000, of_a_pause = pause_ms / 10;
    open_with(&p, 0);
    for (int i = 0; i < 2; i++) {
        session_reading(&p.session, false, p.now);
        p.now += pause_ms;
        session_reading(&p.session, true, p.now);
    }
    say(&p, &floods[0], 2 * of_a_pause + BURST);
    assert_int_equal(p.session.state, SESSION_OPEN);
    say(&p, &floods[0], 1);
    assert_flooded(&p, floods[0].what);
    peer_deinit(&p);
}

/* A new link owes nothing of the old one. */
static void each_link_is_judged_by_itself(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    p.settings.trace = p.session.settings.trace = NULL;
    peer_bring(&p, SESSION_STARTING);
    for (int i = 0; i < 3; i++) {
        say(&p, &floods[0], BURST);
        assert_int_equal(p.session.state, SESSION_STARTING);
        session_rest(&p.session);
        assert_int_equal(session_start(&p.session, p.now), 0);
        p.wire.size = p.wire_read = 0;
        peer_write_all(&p);
        peer_say_method(&p, 0, METHOD_CONNECTION_START, NULL);
    }
    peer_deinit(&p);
}

/* 1.8.3.7: as many mandatory publishes as one likes may come back. */
static void as_many_returns_as_publishes_pass(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0);
    for (unsigned i = 0; i < FLOOD; i++) assert_int_equal(peer_publish(&p, 1, 10), 0);
    peer_write_all(&p);
    say(&p, &floods[3], FLOOD);
    say(&p, &floods[3], BURST);
    assert_int_equal(p.session.state, SESSION_OPEN);
    say(&p, &floods[3], 1);
    assert_flooded(&p, floods[3].what);
    peer_deinit(&p);
}

/* Of as many publishes as nobody has counted yet; and returns that cannot be counted any more are none that were to be expected. */
static void the_count_of_returns_does_not_begin_anew(void **state) {
    (void)state;
    for (int published = 0; published < 2; published++) {
        struct peer p = { 0 };
        open_with(&p, 0);
        struct session_channel *ch = channel_find(&p.session, 1);
        ch->publishes_sent = published ? UINT64_MAX / 2 : UINT32_MAX;
        ch->returns = UINT32_MAX - 10;
        say(&p, &floods[3], BURST + 10);
        assert_int_equal(p.session.state, SESSION_OPEN);
        say(&p, &floods[3], 1);
        assert_int_equal(p.session.state, published ? SESSION_OPEN : SESSION_FAILED);
        peer_deinit(&p);
    }
}

/* ---------------------------------------------------------------- empty body frames */

/* Publishes that their channel must hold. */
static void hold_many(struct peer *p) {
    struct bytes b = { 0 };
    open_with(p, 0);
    bytes_method(&b, 2, METHOD_CHANNEL_FLOW, &(struct channel_flow){ .active = false });
    peer_say(p, &b);
    for (unsigned i = 0; i < 20 * 1024; i++) assert_int_equal(peer_publish(p, 2, 1), 0);
}

/* Starts and stops of another channel, or of all: each time all of them are passed over. */
static void what_is_passed_over_counts(void **state) {
    (void)state;
    for (size_t kind = 1; kind <= 2; kind++) {
        struct peer p = { 0 };
        size_t toggles = 0;
        hold_many(&p);
        for (; p.session.state == SESSION_OPEN && toggles < BURST; toggles++) say(&p, &floods[kind], 2);
        assert_in_range(toggles, BURST / 23 - 1, BURST / 23 + 1); /* itself, one for the search, and 20; and the stop */
        assert_flooded(&p, floods[kind].what);
        peer_deinit(&p);
    }
}

/* One that is no start lets nothing go. */
static void a_flow_that_goes_on_as_before_passes_nothing_over(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    hold_many(&p);
    for (size_t i = 0; i < BURST - 1; i++) bytes_method(&b, 1, METHOD_CHANNEL_FLOW, &(struct channel_flow){ .active = true });
    peer_say(&p, &b);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

/* A hundred a second are no flood, but a peer that takes no answer to them does not get on. */
static void answers_to_flow_are_bounded(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    p.session.settings.write_timeout_ms = LAGO_NO_TIMEOUT;
    p.tune.heartbeat_s = 0;
    peer_bring(&p, SESSION_OPEN);
    p.settings.trace = p.session.settings.trace = NULL;
    size_t seconds = 0;
    for (; p.session.state == SESSION_OPEN && seconds < 2000; seconds++) {
        struct bytes b = { 0 };
        for (size_t i = 0; i < 100; i++) add_flow(&b, i);
        peer_say(&p, &b);
        peer_pass(&p, 1000);
    }
    assert_string_equal(lago_error_name(p.session.reason.code), "LAGO_ESTALLED");
    assert_in_range(seconds, (1 << 20) / 1300, (1 << 20) / 1300 + 2); /* of 13 octets */
    peer_deinit(&p);
}

static void add_deliver(struct bytes *b, uint16_t channel, uint64_t body_size) {
    bytes_method(b, channel, METHOD_BASIC_DELIVER, NULL);
    bytes_header(b, channel, body_size, NULL);
}

static void say_empty(struct peer *p, size_t count) {
    struct bytes b = { 0 };
    for (size_t i = 0; i < count; i++) bytes_frame(&b, FRAME_BODY, 1, NULL, 0);
    peer_say(p, &b);
}

static void empty_body_frames_do_not_go_on_for_ever(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    add_deliver(&b, 1, 2);
    peer_say(&p, &b);
    say_empty(&p, 64);
    bytes_body(&b, 1, 0, 1);
    peer_say(&p, &b);
    say_empty(&p, 64);
    assert_int_equal(p.session.state, SESSION_OPEN);
    say_empty(&p, 1);
    assert_int_equal(p.session.reason.reply_code, REPLY_RESOURCE_ERROR);
    assert_non_null(strstr(p.session.reason.whole->detail, "empty body frames"));
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- frames that never end */

/* A byte each second, from inside a frame on. @return after how many the session had enough. */
static unsigned drip(struct peer *p, size_t bytes, uint64_t ms, unsigned most) {
    static const uint8_t zeros[4096];
    for (unsigned i = 0; i < most; i++) {
        peer_pass(p, ms);
        if (p->session.state != SESSION_OPEN) return i;
        peer_feed(p, zeros, bytes);
        peer_write_all(p);
        p->wire.size = p->wire_read = 0;
    }
    return most;
}

/* The beginning of a frame of 4096 bytes: the header of a message, or its body. */
static void begin_frame(struct peer *p, bool body) {
    struct bytes b = { 0 };
    static const uint8_t header[] = { FRAME_HEADER, 0, 1, 0, 0, 15, 0xf8 }, bodies[] = { FRAME_BODY, 0, 1, 0, 0, 15, 0xf8 };
    bytes_method(&b, 1, METHOD_BASIC_DELIVER, NULL);
    if (body) bytes_header(&b, 1, 4088, NULL);
    bytes_add(&b, body ? bodies : header, sizeof(header));
    peer_say(p, &b);
}

static void a_frame_that_drips_ends_the_link(void **state) {
    (void)state;
    static const struct {
        uint16_t heartbeat_s;
        unsigned after_s;
    } cases[] = { { 0, 30 }, { 1, 30 }, { 30, 30 }, { 100, 100 } };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer p = { 0 };
        open_with(&p, cases[i / 2].heartbeat_s);
        begin_frame(&p, i % 2);
        unsigned after = drip(&p, 1, 500, 1000);
        assert_in_range(after / 2, cases[i / 2].after_s - 1, cases[i / 2].after_s);
        assert_int_equal(p.session.reason.code, LAGO_EPROTOCOL);
        assert_int_equal(p.session.reason.reply_code, REPLY_FRAME_ERROR);
        assert_non_null(strstr(p.session.reason.whole->detail, "the broker does not finish a frame: "));
        assert_non_null(strstr(p.session.reason.whole->detail, i < 6 ? " bytes of it in 30.0 s" : " bytes of it in 100.0 s"));
        peer_deinit(&p);
    }
}

/* What came before it is none of its own. */
static void one_that_drips_behind_much_else_ends_it_too(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_with(&p, 0);
    for (uint64_t tag = 1; tag <= 10; tag++) bytes_deliver(&b, 1, tag, 3000, 4096);
    peer_say(&p, &b);
    begin_frame(&p, false);
    assert_in_range(drip(&p, 1, 500, 1000), 58, 60);
    assert_non_null(strstr(p.session.reason.whole->detail, "does not finish a frame"));
    peer_deinit(&p);
}

static void one_that_drips_without_memory_ends_it_as_well(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0);
    begin_frame(&p, false);
    fail_alloc_at(&p.memory, 1, true);
    peer_pass(&p, 30000);
    assert_true(p.session.state > SESSION_OPEN);
    assert_null(p.session.reason.whole);
    assert_int_equal(p.session.reason.code, LAGO_EPROTOCOL);
    assert_int_equal(p.session.reason.reply_code, REPLY_FRAME_ERROR);
    peer_deinit(&p);
}

/* 1 KiB in half a minute is a link. */
static void a_slow_link_passes(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer p = { 0 };
        open_with(&p, 60);
        begin_frame(&p, i == 1);
        assert_int_equal(drip(&p, 35, 1000, 116), 116); /* 4060 of 4088 bytes */
        assert_int_equal(p.session.state, SESSION_OPEN);
        peer_deinit(&p);
    }
}

static void one_that_ends_in_time_is_forgotten(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_with(&p, 0);
    bytes_deliver(&b, 1, 1, 3, 4096);
    for (int i = 0; i < 50; i++) {
        peer_feed(&p, b.data, 10);
        peer_pass(&p, 29000);
        peer_feed(&p, b.data + 10, b.size - 10);
        peer_pass(&p, 100000);
        if (i == 0) assert_true(session_deadline(&p.session) == UINT64_MAX);
        b.data[FRAME_HEADER_SIZE + 4 + 2 + 7]++;
    }
    assert_int_equal(p.session.state, SESSION_OPEN);
    bytes_free(&b);
    peer_deinit(&p);
}

/* Nobody can send what is not read; and after a pause it begins anew. */
static void a_pause_is_nobodys_fault(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0);
    begin_frame(&p, true);
    session_reading(&p.session, false, p.now);
    assert_true(session_deadline(&p.session) == UINT64_MAX);
    peer_pass(&p, 1000000);
    session_reading(&p.session, true, p.now);
    peer_pass(&p, 29999);
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_pass(&p, 1);
    assert_int_equal(p.session.state, SESSION_FAILED);
    peer_deinit(&p);
}

/* A loop that was late looks first whether the rest is there. */
static void unread_bytes_are_a_reprieve_here_too(void **state) {
    (void)state;
    struct peer p = { 0 };
    open_with(&p, 0);
    begin_frame(&p, true);
    p.now += 50000;
    assert_true(session_is_overdue(&p.session, p.now));
    session_tick(&p.session, p.now, true);
    assert_int_equal(p.session.state, SESSION_OPEN);
    assert_true(session_deadline(&p.session) > p.now);
    peer_pass(&p, 10);
    assert_int_equal(p.session.state, SESSION_FAILED);
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- messages on all channels at once */

#define CHANNELS 100u

static char owners[CHANNELS + 1][8];

static void open_many(struct peer *p, uint64_t message_size_max, uint64_t assembly_size_max) {
    struct bytes b = { 0 };
    peer_init(p);
    p->tune.channel_max = CHANNELS;
    p->tune.frame_max = 131072;
    p->session.settings.channel_max = CHANNELS;
    p->session.settings.message_size_max = message_size_max;
    p->session.settings.assembly_size_max = assembly_size_max;
    p->session.settings.trace = NULL;
    peer_bring(p, SESSION_OPEN);
    for (unsigned n = 3; n <= CHANNELS; n++) {
        (void)snprintf(owners[n], sizeof(owners[n]), "o%u", n);
        assert_int_equal(session_channel_open(&p->session, owners[n]), n);
        bytes_method(&b, (uint16_t)n, METHOD_CHANNEL_OPEN_OK, NULL);
    }
    peer_write_all(p);
    peer_say(p, &b);
    (void)peer_events(p);
    (void)peer_frames(p);
}

/* Pieces of `piece` bytes in turn, each message announced with `body_size`; what is under way never takes more than is allowed. */
static void interleaved_messages_stay_within_their_budget(void **state) {
    (void)state;
    const size_t body_size = 200000, piece = 10000, budget = 1 << 20;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_many(&p, 1 << 18, budget);
    size_t before = p.memory.live_bytes;
    p.memory.peak_both_bytes = before;
    for (unsigned n = 1; n <= CHANNELS; n++) {
        add_deliver(&b, (uint16_t)n, body_size);
        peer_say(&p, &b);
    }
    for (size_t at = 0; at < body_size; at += piece)
        for (unsigned n = 1; n <= CHANNELS; n++) {
            bytes_body(&b, (uint16_t)n, at, piece);
            peer_say(&p, &b);
        }
    assert_in_range(p.memory.peak_both_bytes - before, budget / 2, budget + (1 << 20));
    const char *events = peer_events(&p);
    assert_non_null(strstr(events, "LAGO_EMSGSIZE 311"));
    assert_non_null(strstr(events, "body=200000\n")); /* those that fit are told */
    assert_non_null(strstr(peer_frames(&p), "channel.close reply_code=311"));
    assert_int_equal(p.session.state, SESSION_OPEN);
    assert_int_equal(p.session.assembled, 0);
    peer_deinit(&p);
}

/* Frames that come in many reads, into an input or straight to their place: it is the same budget. */
static void the_budget_holds_however_it_is_read(void **state) {
    (void)state;
    const size_t body_size = 200000, half = body_size / 2, read = 10000, budget = 1 << 20;
    for (int straight = 0; straight < 2; straight++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        open_many(&p, 1 << 18, budget);
        p.straight = straight;
        size_t before = p.memory.live_bytes;
        p.memory.peak_both_bytes = before;
        for (unsigned n = 1; n <= CHANNELS; n++) add_deliver(&b, (uint16_t)n, body_size);
        for (size_t at = 0; at < body_size; at += half)
            for (unsigned n = 1; n <= CHANNELS; n++) bytes_body(&b, (uint16_t)n, at, half);
        for (size_t at = 0; at < b.size; at += read) peer_feed(&p, b.data + at, b.size - at < read ? b.size - at : read);
        bytes_free(&b);
        assert_int_equal(p.filled > 0, straight);
        assert_in_range(p.memory.peak_both_bytes - before, budget / 2, budget + (1 << 20));
        const char *events = peer_events(&p);
        assert_non_null(strstr(events, "LAGO_EMSGSIZE 311"));
        assert_non_null(strstr(events, "body=200000\n"));
        assert_int_equal(p.session.state, SESSION_OPEN);
        assert_int_equal(p.session.assembled, 0);
        peer_deinit(&p);
    }
}

/* Alone a message may exceed the budget; beside it nothing fits that has to be put together, and what lies whole in its read needs nothing. */
static void one_that_exceeds_the_budget_is_alone(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_many(&p, 1 << 20, 1 << 18);
    add_deliver(&b, 1, 500000);
    for (size_t at = 0; at < 400000; at += 100000) bytes_body(&b, 1, at, 100000);
    peer_say(&p, &b);
    assert_true(p.session.assembled > 1 << 18);
    bytes_deliver(&b, 2, 1, 100, 131072);
    peer_feed(&p, b.data, b.size);
    assert_non_null(strstr(peer_events(&p), "content 2 two "));
    peer_feed(&p, b.data, b.size - 1);
    peer_feed(&p, b.data + b.size - 1, 1);
    assert_string_equal(peer_events(&p), "channel-close 2 two LAGO_EMSGSIZE 311\n");
    bytes_free(&b);
    bytes_body(&b, 1, 400000, 100000);
    peer_say(&p, &b);
    assert_non_null(strstr(peer_events(&p), "content 1 one basic.deliver body=500000\n"));
    peer_deinit(&p);
}

/* Large headers, of messages whose bodies never come. */
static void headers_count_as_well(void **state) {
    (void)state;
    const size_t budget = 1 << 18;
    static char large[8000];
    lago_field_t field = LAGO_FIELD_STRING("k", large, sizeof(large));
    lago_properties_t properties = { .headers = { &field, NULL, 1, 0 } };
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_many(&p, budget, budget);
    size_t before = p.memory.live_bytes;
    p.memory.peak_both_bytes = before;
    for (unsigned n = 1; n <= CHANNELS; n++) {
        bytes_method(&b, (uint16_t)n, METHOD_BASIC_DELIVER, NULL);
        bytes_header(&b, (uint16_t)n, 1, &properties);
        peer_say(&p, &b);
    }
    assert_in_range(p.memory.peak_both_bytes - before, budget / 2, budget + 100000);
    assert_non_null(strstr(peer_events(&p), "LAGO_EMSGSIZE 311"));
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

/* Whatever the reads were like: what is in the budget comes whole, and what was given back is free for others. */
static void one_after_the_other_each_message_fits(void **state) {
    (void)state;
    const size_t size = 300000, reads[] = { 1000, 70000, 131072, 1 << 20 };
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        open_many(&p, size, size * 9 / 8 + 4096);
        p.straight = i % 2;
        for (unsigned n = 1; n <= CHANNELS; n++) bytes_deliver(&b, (uint16_t)n, 1, size, 131072);
        for (size_t at = 0; at < b.size; at += reads[i])
            peer_feed(&p, b.data + at, b.size - at < reads[i] ? b.size - at : reads[i]);
        bytes_free(&b);
        assert_null(strstr(peer_events(&p), "EMSGSIZE"));
        assert_int_equal(p.session.assembled, 0);
        peer_deinit(&p);
    }
}

/* A channel that ends in the middle of a message gives back what that took. */
static void ended_channels_owe_nothing(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_many(&p, 1 << 20, 1 << 20);
    add_deliver(&b, 5, 100000);
    bytes_body(&b, 5, 0, 50000);
    peer_say(&p, &b);
    assert_true(p.session.assembled > 50000);
    assert_int_equal(session_channel_close(&p.session, 5, REPLY_SUCCESS, "bye"), 0);
    peer_write_all(&p);
    peer_say_method(&p, 5, METHOD_CHANNEL_CLOSE_OK, NULL);
    assert_int_equal(p.session.assembled, 0);
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_ends_the_link),
        cmocka_unit_test(a_flood_without_memory_ends_it_as_well),
        cmocka_unit_test(a_flood_of_several_kinds_is_one),
        cmocka_unit_test(during_the_handshake_as_well),
        cmocka_unit_test(honest_heartbeats_pass),
        cmocka_unit_test(what_came_while_nobody_read_passes),
        cmocka_unit_test(what_came_in_two_pauses_passes),
        cmocka_unit_test(each_link_is_judged_by_itself),
        cmocka_unit_test(as_many_returns_as_publishes_pass),
        cmocka_unit_test(the_count_of_returns_does_not_begin_anew),
        cmocka_unit_test(what_is_passed_over_counts),
        cmocka_unit_test(a_flow_that_goes_on_as_before_passes_nothing_over),
        cmocka_unit_test(answers_to_flow_are_bounded),
        cmocka_unit_test(empty_body_frames_do_not_go_on_for_ever),
        cmocka_unit_test(a_frame_that_drips_ends_the_link),
        cmocka_unit_test(one_that_drips_behind_much_else_ends_it_too),
        cmocka_unit_test(one_that_drips_without_memory_ends_it_as_well),
        cmocka_unit_test(a_slow_link_passes),
        cmocka_unit_test(one_that_ends_in_time_is_forgotten),
        cmocka_unit_test(a_pause_is_nobodys_fault),
        cmocka_unit_test(unread_bytes_are_a_reprieve_here_too),
        cmocka_unit_test(interleaved_messages_stay_within_their_budget),
        cmocka_unit_test(the_budget_holds_however_it_is_read),
        cmocka_unit_test(one_that_exceeds_the_budget_is_alone),
        cmocka_unit_test(headers_count_as_well),
        cmocka_unit_test(one_after_the_other_each_message_fits),
        cmocka_unit_test(ended_channels_owe_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
