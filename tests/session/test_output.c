/* The way out: frames of the right sizes in the order of the calls, all of a message or nothing, what waits and for what. */
#include "peer.h"

#include <stdio.h>

static void open_with_frame_max(struct peer *p, uint32_t frame_max) {
    peer_init(p);
    p->tune.frame_max = frame_max;
    peer_bring(p, SESSION_OPEN);
}

static int publish_name(struct peer *p, const char *routing_key, const lago_properties_t *properties) {
    struct basic_publish args = { .routing_key = { routing_key, LAGO_NUL_TERMINATED } };
    struct session_body body = { .bytes = { "body", 4 } };
    return session_publish(&p->session, 1, &args, properties, &body);
}

static int send_ack(struct peer *p, uint16_t channel, uint64_t tag) {
    return session_send(&p->session, channel, METHOD_BASIC_ACK, &(struct basic_ack){ .delivery_tag = tag });
}

/* ---------------------------------------------------------------- frames */

static void methods_leave_as_they_are_given(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct queue_declare declare = { .queue = { "hello", 5 }, .durable = true };
    peer_open(&p);
    assert_int_equal(session_send(&p.session, 1, METHOD_QUEUE_DECLARE, &declare), 0);
    assert_int_equal(send_ack(&p, 2, 7), 0);
    assert_string_equal(peer_frames(&p), "1 queue.declare queue=\"hello\" durable=1\n2 basic.ack delivery_tag=7\n");
    assert_int_equal(send_ack(&p, 3, 1), LAGO_ECLOSED);
    assert_int_equal(peer_publish(&p, 3, 1), LAGO_ECLOSED);
    assert_int_equal(p.session.out.size, 0);
    peer_deinit(&p);
}

static void bodies_are_cut_at_frame_max(void **state) {
    (void)state;
    static const size_t sizes[] = { 0,    1,    2047, 2048, 2049, 4087,          4088,      4089,
                                    4095, 4096, 8175, 8176, 8177, 10 * 4088 - 1, 10 * 4088, 10 * 4088 + 1 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct peer p = { 0 };
        char expected[1024];
        peer_open(&p);
        assert_int_equal(peer_publish(&p, 1, sizes[i]), 0);
        int at = snprintf(expected, sizeof(expected), "1 basic.publish routing_key=\"q\"\n1 header %zu\n", sizes[i]);
        for (size_t left = sizes[i]; left > 0; left -= left < 4088 ? left : 4088)
            at += snprintf(expected + at, sizeof(expected) - (size_t)at, "1 body %zu\n", left < 4088 ? left : 4088);
        assert_string_equal(peer_frames(&p), expected);
        assert_int_equal(p.bodies.size, sizes[i]);
        assert_true(pattern_is(p.bodies.data, sizes[i]));
        peer_deinit(&p);
    }
}

/* Every way to take the output in pieces gives the same bytes (F70, F75). */
static void partial_writes_lose_nothing(void **state) {
    (void)state;
    for (size_t piece = 1; piece < 40; piece += 3) {
        struct peer p = { 0 };
        open_with_frame_max(&p, 8192);
        assert_int_equal(peer_publish(&p, 1, 20000), 0);
        assert_int_equal(peer_publish(&p, 2, 700), 0);
        assert_int_equal(peer_publish(&p, 1, 5000), 0);
        size_t total = session_output_size(&p.session), wrote = p.wire.size;
        while (p.session.out.size > 0) peer_write(&p, piece);
        assert_int_equal(p.wire.size - wrote, total);
        (void)peer_frames(&p);
        assert_true(pattern_is(p.bodies.data, 20000));
        assert_true(pattern_is(p.bodies.data + 20000, 700));
        assert_true(pattern_is(p.bodies.data + 20700, 5000));
        peer_deinit(&p);
    }
}

static void names_have_at_most_255_bytes(void **state) {
    (void)state;
    char name[257] = { 0 };
    struct peer p = { 0 };
    peer_open(&p);
    memset(name, 'n', 256);
    lago_properties_t properties = { .message_id = name };
    assert_int_equal(publish_name(&p, name, NULL), LAGO_ETOOLONG);
    assert_int_equal(publish_name(&p, "q", &properties), LAGO_ETOOLONG);
    assert_int_equal(session_send(&p.session, 1, METHOD_QUEUE_PURGE, &(struct queue_purge){ .queue = { name, 256 } }),
                     LAGO_ETOOLONG);
    assert_int_equal(session_channel_close(&p.session, 1, 200, name), LAGO_ETOOLONG);
    assert_int_equal(session_output_size(&p.session), 0);
    name[255] = '\0';
    assert_int_equal(publish_name(&p, name, &properties), 0);
    assert_int_equal(session_channel_close(&p.session, 1, 200, name), 0);
    assert_non_null(strstr(peer_frames(&p), "1 body 4\n1 channel.close"));
    peer_deinit(&p);
}

/* A header cannot be split: what does not fit is refused whole, and the next publish is the first (F77). */
static void headers_that_do_not_fit_are_refused_whole(void **state) {
    (void)state;
    static char value[5000];
    for (int held = 0; held < 2; held++) {
        struct peer p = { 0 };
        peer_open(&p);
        if (held) peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
        size_t marks = p.session.mark_count;
        for (size_t size = 4060; size < 4080; size++) {
            lago_field_t field = { .name = { "k", 1 }, .value = { .type = LAGO_TYPE_STRING, .as.string = { value, size } } };
            lago_properties_t properties = { .headers = { .fields = &field, .size = 1 } };
            /* class, weight, size, flags; the table's size; key; type; length */
            bool fits = 14 + 4 + 2 + 1 + 4 + size <= 4088;
            size_t before = session_output_size(&p.session);
            assert_int_equal(publish_name(&p, "q", &properties), fits ? 0 : LAGO_ETOOBIG);
            assert_true(fits == (session_output_size(&p.session) > before));
        }
        size_t accepted = held ? 0 : p.session.mark_count - marks;
        if (!held) assert_int_equal(accepted, 4);
        assert_int_equal(publish_name(&p, "q", NULL), 0);
        (void)peer_frames(&p);
        assert_int_equal(session_publishes_sent(&p.session, 1), held ? 0 : 5);
        peer_deinit(&p);
    }
}

/* ---------------------------------------------------------------- no memory */

static unsigned releases;

static void count_release(void *data) {
    (void)data;
    releases++;
}

/* Each allocation fails in turn: either all of the message is accepted, or no byte and no mark of it. */
static void publish_under_failing_memory(size_t size, bool lent, bool blocked) {
    static uint8_t data[20000];
    for (size_t n = 1, rc = 1; rc; n++) {
        struct peer p = { 0 };
        struct basic_publish args = { 0 };
        peer_open(&p);
        if (blocked) peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
        releases = 0;
        struct block *block = lent ? block_lend(NULL, &p.memory.allocator, data, size, count_release, NULL) : NULL;
        struct session_body body = { .bytes = { data, size }, .block = block };
        uint64_t frames = p.session.counters.frames_sent;
        size_t live = p.memory.live_count;
        fail_alloc_at(&p.memory, n, false);
        rc = session_publish(&p.session, 1, &args, NULL, &body) != 0;
        assert_true(rc == (p.memory.calls >= n));
        if (rc) {
            assert_int_equal(session_output_size(&p.session), 0);
            assert_int_equal(p.session.mark_count, 0);
            assert_int_equal(p.session.counters.frames_sent, frames);
            assert_int_equal(releases, 0);
            assert_true(p.memory.live_count <= live + 3); /* room that was made stays for the next */
        }
        fail_alloc_at(&p.memory, 0, false);
        assert_int_equal(peer_publish(&p, 1, 3), 0);
        block_unref(block);
        if (!blocked) assert_true(strncmp(peer_frames(&p), "1 basic.publish", 15) == 0);
        if (!blocked) assert_int_equal(session_publishes_sent(&p.session, 1), rc ? 1 : 2);
        peer_deinit(&p);
        assert_int_equal(releases, lent);
    }
}

static void publish_is_all_or_nothing(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 100, 2048, 2049, 20000 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (int way = 0; way < 4; way++) publish_under_failing_memory(sizes[i], way & 1, way & 2);
}

/* The ring of marks and the queue's ring grow in between; each failing allocation is hit, none loses a message. */
static void many_publishes_under_failing_memory(void **state) {
    (void)state;
    for (size_t n = 1, hit = 1; hit; n++) {
        struct peer p = { 0 };
        size_t accepted = 0;
        peer_open(&p);
        fail_alloc_at(&p.memory, n, false);
        for (size_t i = 0; i < 200; i++) accepted += peer_publish(&p, 1, i % 2 ? 10 : 3000) == 0;
        hit = p.memory.calls >= n;
        assert_int_equal(accepted, hit ? 199 : 200);
        fail_alloc_at(&p.memory, 0, false);
        const char *frames = peer_frames(&p);
        size_t left = 0;
        for (const char *at = frames; (at = strstr(at, "basic.publish")) != NULL; at++) left++;
        assert_int_equal(left, accepted);
        assert_int_equal(session_publishes_sent(&p.session, 1), accepted);
        peer_deinit(&p);
    }
}

/* An ack that cannot leave is not overtaken. */
static void what_waits_before_a_publish_stays_before_it(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    assert_int_equal(session_ack(&p.session, 1, 1, 2), 1);
    fail_alloc_at(&p.memory, 1, true);
    assert_int_equal(peer_publish(&p, 1, 1), LAGO_ENOMEM);
    fail_alloc_at(&p.memory, 0, false);
    assert_int_equal(peer_publish(&p, 1, 2), 0);
    assert_string_equal(peer_frames(&p), "1 basic.ack delivery_tag=1\n1 basic.publish routing_key=\"q\"\n1 header 2\n1 body 2\n");
    peer_deinit(&p);
}

/* The ring of marks has grown for a publish that then found no room itself: its neighbours are counted in the new one. */
static void a_ring_that_grew_for_nothing_counts_on(void **state) {
    unsigned reached = 0;
    (void)state;
    for (size_t row = 1; row < 40; row++) {
        struct peer p = { 0 };
        peer_open(&p);
        size_t accepted = row + 3;
        for (size_t i = 0; i < row; i++) assert_int_equal(peer_publish(&p, 1, 500), 0);
        for (size_t i = 1; i <= 3; i++) assert_int_equal(peer_publish(&p, 1, 500 + i), 0);
        fail_alloc_at(&p.memory, 2, true);
        int rc = peer_publish(&p, 1, 900);
        reached += rc == LAGO_ENOMEM && p.memory.calls == 2;
        fail_alloc_at(&p.memory, 0, false);
        accepted += rc == 0;
        for (size_t i = 0; i < 3; i++, accepted++) assert_int_equal(peer_publish(&p, 1, 503), 0);
        (void)peer_frames(&p);
        assert_int_equal(session_publishes_sent(&p.session, 1), accepted);
        peer_deinit(&p);
    }
    assert_true(reached > 0);
}

/* ---------------------------------------------------------------- lent bodies */

static void lent_bodies_are_not_copied(void **state) {
    (void)state;
    enum { SIZE = 300000 };
    static uint8_t data[SIZE];
    struct peer p = { 0 };
    struct slice slices[400];
    open_with_frame_max(&p, 131072);
    pattern_fill(data, 0, SIZE);
    releases = 0;
    size_t live = p.memory.live_bytes;
    struct block *block = block_lend(NULL, &p.memory.allocator, data, SIZE, count_release, NULL);
    struct session_body body = { .bytes = { data, SIZE }, .block = block };
    assert_int_equal(session_publish(&p.session, 1, &(struct basic_publish){ 0 }, NULL, &body), 0);
    block_unref(block);
    assert_true(p.memory.live_bytes - live < 8192);
    size_t count = chunks_peek(&p.session.out, slices, 400), inside = 0;
    for (size_t i = 0; i < count; i++)
        if (slices[i].data >= data && slices[i].data < data + SIZE) inside += slices[i].size;
    assert_int_equal(inside, SIZE);
    peer_write(&p, p.session.out.size - 2);
    assert_int_equal(releases, 0);
    peer_write(&p, 2);
    assert_int_equal(releases, 1);
    (void)peer_frames(&p);
    assert_true(p.bodies.size == SIZE && pattern_is(p.bodies.data, SIZE));
    peer_deinit(&p);
    assert_int_equal(releases, 1);
}

/* Wherever a lent body is when its channel or session goes, it is released exactly once. */
/* Each is a slice of its own between its head and its end, and room for all three is made before the first: none takes another's. */
static void a_row_of_large_bodies_overwrites_nothing(void **state) {
    (void)state;
    enum { BODIES = 100 };
    static const size_t sizes[] = { 2049, 4087, 4088, 4089, 8176, 8177 }; /* one frame, one that is full, two ... */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct peer p = { 0 };
        peer_open(&p);
        for (unsigned k = 0; k < BODIES; k++) {
            assert_int_equal(peer_publish(&p, 1, sizes[i]), 0);
            assert_true(p.session.out.count <= p.session.out.capacity);
        }
        (void)peer_frames(&p);
        assert_int_equal(p.bodies.size, BODIES * sizes[i]);
        for (unsigned k = 0; k < BODIES; k++) assert_true(pattern_is(p.bodies.data + k * sizes[i], sizes[i]));
        peer_deinit(&p);
    }
}

/* However little room the last block has left: what is accepted leaves whole, although there is no memory from then on. */
static void a_large_body_needs_no_memory_half_way(void **state) {
    (void)state;
    for (size_t before = 1; before <= 250; before++) {
        for (size_t n = 1; n <= 4; n++) {
            struct peer p = { 0 };
            peer_open(&p);
            assert_int_equal(peer_publish(&p, 1, before), 0);
            fail_alloc_at(&p.memory, n, true);
            int rc = peer_publish(&p, 1, 3000);
            fail_alloc_at(&p.memory, 0, false);
            assert_true(rc == 0 || rc == LAGO_ENOMEM);
            (void)peer_frames(&p);
            assert_int_equal(p.bodies.size, before + (rc == 0 ? 3000 : 0));
            peer_deinit(&p);
        }
    }
}

static void lent_bodies_are_released_once(void **state) {
    (void)state;
    static const uint8_t data[100] = { 1 };
    for (int way = 0; way < 5; way++) {
        struct peer p = { 0 };
        peer_init(&p);
        peer_bring(&p, way == 0 ? SESSION_IDLE : way == 1 ? SESSION_WAIT_OPEN : SESSION_OPEN);
        if (way == 2) peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
        struct block *block = block_lend(NULL, &p.memory.allocator, data, sizeof(data), count_release, NULL);
        struct session_body body = { .bytes = { data, sizeof(data) }, .block = block };
        releases = 0;
        assert_int_equal(session_publish(&p.session, 1, &(struct basic_publish){ 0 }, NULL, &body), 0);
        block_unref(block);
        assert_int_equal(releases, 0);
        if (way == 1) session_channel_drop(&p.session, 1);
        if (way == 2) peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE, NULL);
        if (way == 3) session_start(&p.session, p.now);
        if (way >= 1 && way <= 3) assert_int_equal(releases, 1);
        peer_deinit(&p);
        assert_int_equal(releases, 1);
    }
}

/* ---------------------------------------------------------------- holding */

static void what_is_sent_before_open_leaves_in_order(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_OPEN);
    assert_int_equal(send_ack(&p, 2, 1), 0);
    assert_int_equal(peer_publish(&p, 1, 3), 0);
    assert_int_equal(peer_publish(&p, 2, 5000), 0);
    assert_int_equal(send_ack(&p, 1, 2), 0);
    assert_int_equal(session_publishes_sent(&p.session, 1), 0);
    assert_string_equal(peer_frames(&p), "");
    p.stop = SESSION_ENDED;
    peer_say_method(&p, 0, METHOD_CONNECTION_OPEN_OK, NULL);
    assert_string_equal(peer_frames(&p), "1 channel.open\n2 channel.open\n2 basic.ack delivery_tag=1\n"
                                         "1 basic.publish routing_key=\"q\"\n1 header 3\n1 body 3\n"
                                         "2 basic.publish routing_key=\"q\"\n2 header 5000\n2 body 4088\n2 body 912\n"
                                         "1 basic.ack delivery_tag=2\n");
    assert_int_equal(session_output_size(&p.session), 0);
    peer_deinit(&p);
}

/* Between two attempts nobody knows the next frame_max: the specification's minimum counts, whatever was tuned last (4.2.3). */
static void what_is_held_between_attempts_fits_every_link(void **state) {
    (void)state;
    static char large[255 * 20];
    static const enum session_state attempts[] = { SESSION_WAIT_TUNE, SESSION_WAIT_OPEN };
    lago_field_t field = LAGO_FIELD_STR("k", large);
    lago_properties_t properties = { .headers = { .fields = &field, .size = 1 } };
    memset(large, 'v', sizeof(large) - 1);
    for (int way = 0; way < 4; way++) {
        struct peer p = { 0 };
        peer_init(&p);
        p.tune.frame_max = 131072;
        peer_bring(&p, attempts[way % 2]);
        if (way < 2) session_lost(&p.session, -104, p.now);
        if (way >= 2) peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE, NULL);
        assert_int_equal(publish_name(&p, "q", &properties), LAGO_ETOOBIG);
        session_rest(&p.session);
        assert_int_equal(publish_name(&p, "q", &properties), LAGO_ETOOBIG);
        assert_int_equal(publish_name(&p, "q", NULL), 0);
        peer_deinit(&p);
    }
}

/* A blocked connection: no publish starts, what follows one waits for it, other channels go on (contract 14). */
static void blocked_holds_only_channels_that_publish(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(send_ack(&p, 1, 1), 0);
    assert_int_equal(peer_publish(&p, 1, 3), 0);
    assert_int_equal(send_ack(&p, 1, 2), 0);
    assert_int_equal(send_ack(&p, 2, 3), 0);
    assert_string_equal(peer_frames(&p), "1 basic.ack delivery_tag=1\n2 basic.ack delivery_tag=3\n");
    assert_int_equal(session_channel_close(&p.session, 1, 200, "bye"), 0);
    assert_string_equal(peer_frames(&p), "");
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    assert_string_equal(peer_frames(&p), "1 basic.publish routing_key=\"q\"\n1 header 3\n1 body 3\n1 basic.ack delivery_tag=2\n"
                                         "1 channel.close reply_code=200 reply_text=\"bye\"\n");
    assert_int_equal(session_publishes_sent(&p.session, 1), 1);
    peer_deinit(&p);
}

static void say_flow(struct peer *p, uint16_t channel, bool active) {
    peer_say_method(p, channel, METHOD_CHANNEL_FLOW, &(struct channel_flow){ .active = active });
}

static void flow_stops_the_publishes_of_a_channel(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    say_flow(&p, 1, false);
    assert_int_equal(peer_publish(&p, 1, 1), 0);
    assert_int_equal(peer_publish(&p, 2, 2), 0);
    assert_int_equal(send_ack(&p, 1, 2), 0);
    assert_non_null(strstr(peer_frames(&p), "2 header 2\n2 body 2\n"));
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    say_flow(&p, 1, true);
    assert_string_equal(peer_frames(&p), "1 channel.flow-ok active=1\n");
    say_flow(&p, 1, false);
    assert_int_equal(peer_publish(&p, 2, 3), 0);
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    assert_string_equal(peer_frames(&p), "1 channel.flow-ok\n2 basic.publish routing_key=\"q\"\n2 header 3\n2 body 3\n");
    say_flow(&p, 1, true);
    assert_string_equal(peer_frames(&p), "1 channel.flow-ok active=1\n1 basic.publish routing_key=\"q\"\n1 header 1\n1 body 1\n"
                                         "1 basic.ack delivery_tag=2\n");
    peer_deinit(&p);
}

/* Whatever happens in whatever order: what leaves on a channel is numbered without a gap. */
static void order_holds_across_blocks(void **state) {
    (void)state;
    struct dice dice = { 77 };
    struct peer p = { 0 };
    uint64_t next[3] = { 1, 1, 1 }, told[3] = { 1, 1, 1 };
    peer_open(&p);
    for (int round = 0; round < 3000; round++) {
        uint16_t channel = (uint16_t)(1 + dice_below(&dice, 2));
        struct basic_publish args = { .mandatory = true };
        struct session_body body = { .bytes = { "abc", 3 } };
        size_t act = dice_below(&dice, 20);
        if (act == 0) peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
        if (act == 1) peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
        if (act == 2) say_flow(&p, channel, dice_below(&dice, 2));
        if (act == 3) peer_write(&p, dice_below(&dice, 200));
        if (act > 3 && act < 12) assert_int_equal(send_ack(&p, channel, next[channel]++), 0);
        lago_properties_t properties = { .timestamp = next[channel] };
        if (act >= 12) assert_int_equal(session_publish(&p.session, channel, &args, &properties, &body), 0);
        next[channel] += act >= 12;
    }
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    for (uint16_t channel = 1; channel < 3; channel++) say_flow(&p, channel, true);
    for (const char *line = peer_frames(&p); *line; line = strchr(line, '\n') + 1) {
        const char *number = strpbrk(line + 2, "=\n") + 1;
        if (strncmp(line + 2, "basic.ack", 9) == 0 || strncmp(line + 2, "header", 6) == 0)
            assert_int_equal(strtoull(number, NULL, 10), told[line[0] - '0']++);
    }
    assert_int_equal(told[1], next[1]);
    assert_int_equal(told[2], next[2]);
    assert_int_equal(session_output_size(&p.session), 0);
    peer_deinit(&p);
}

/* Without memory what was held stays accepted: a later tick releases it, whole and in order. */
static void release_without_memory_is_tried_again(void **state) {
    (void)state;
    for (size_t n = 1, hit = 1; hit; n++) {
        struct peer p = { 0 };
        peer_open(&p);
        peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
        assert_int_equal(peer_publish(&p, 1, 3), 0);
        assert_int_equal(peer_publish(&p, 1, 9000), 0);
        assert_int_equal(peer_publish(&p, 2, 0), 0);
        size_t accepted = 9003; /* and frames; what waits counts with what keeping it takes */
        assert_true(session_output_size(&p.session) >= accepted);
        fail_alloc_at(&p.memory, n, true);
        peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
        hit = p.memory.calls >= n;
        fail_alloc_at(&p.memory, 0, false);
        assert_true(session_output_size(&p.session) >= accepted);
        if (hit) assert_true(session_deadline(&p.session) <= p.now + 100);
        peer_pass(&p, 100);
        assert_string_equal(peer_frames(&p), "1 basic.publish routing_key=\"q\"\n1 header 3\n1 body 3\n"
                                             "1 basic.publish routing_key=\"q\"\n1 header 9000\n1 body 4088\n1 body 4088\n"
                                             "1 body 824\n2 basic.publish routing_key=\"q\"\n2 header 0\n");
        assert_int_equal(session_publishes_sent(&p.session, 1), 2);
        peer_deinit(&p);
    }
}

/* And acknowledgements that wait for their neighbours. */
static void acks_without_memory_are_tried_again(void **state) {
    struct peer p = { 0 };
    (void)state;
    peer_open(&p);
    assert_int_equal(session_ack(&p.session, 1, 1, 0), 1);
    fail_alloc_at(&p.memory, 1, true);
    session_flush_acks(&p.session);
    assert_true(p.memory.calls > 0);
    fail_alloc_at(&p.memory, 0, false);
    assert_true(session_deadline(&p.session) <= p.now + 100);
    peer_pass(&p, 100);
    session_flush_acks(&p.session); /* as each turn does */
    assert_string_equal(peer_frames(&p), "1 basic.ack delivery_tag=1\n");
    peer_deinit(&p);
}

/* Input that never ceases does not put it off for ever. */
static void release_is_tried_again_on_a_busy_link(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(peer_publish(&p, 1, 3), 0);
    fail_alloc_at(&p.memory, 1, true);
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    fail_alloc_at(&p.memory, 0, false);
    for (int i = 0; i < 20; i++) {
        p.now += 10;
        peer_say_method(&p, 2, METHOD_BASIC_CANCEL_OK, NULL);
        if (session_deadline(&p.session) <= p.now) session_tick(&p.session, p.now, false);
    }
    assert_non_null(strstr(peer_frames(&p), "1 header 3\n"));
    peer_deinit(&p);
}

/* An answer to the broker is no part of the program's order. */
static void flow_ok_is_never_held(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    say_flow(&p, 1, false);
    assert_int_equal(peer_publish(&p, 1, 3), 0);
    assert_int_equal(send_ack(&p, 1, 1), 0);
    say_flow(&p, 1, false);
    assert_string_equal(peer_frames(&p), "1 channel.flow-ok\n1 channel.flow-ok\n");
    peer_deinit(&p);
}

/* The link is gone: nothing waits any more, lent bodies go back, and what is known to have left stays known. */
static void forgotten_output_does_not_count(void **state) {
    (void)state;
    static const uint8_t data[5000] = { 1 };
    struct peer p = { 0 };
    peer_open(&p);
    releases = 0;
    for (int i = 0; i < 4; i++) {
        if (i == 2) peer_write(&p, 10);
        if (i == 3) peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
        struct block *block = block_lend(NULL, &p.memory.allocator, data, sizeof(data), count_release, NULL);
        struct session_body body = { .bytes = { data, sizeof(data) }, .block = block };
        assert_int_equal(session_publish(&p.session, 1, &(struct basic_publish){ 0 }, NULL, &body), 0);
        block_unref(block);
    }
    session_lost(&p.session, -104, p.now);
    assert_int_equal(releases, 0);
    session_forget_output(&p.session);
    assert_int_equal(releases, 4);
    assert_int_equal(session_output_size(&p.session), 0);
    assert_int_equal(session_publishes_sent(&p.session, 1), 1);
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- how many publishes have left */

static void publishes_count_from_their_first_byte(void **state) {
    (void)state;
    static const size_t sizes[] = { 3, 5000, 0, 2048, 9000 };
    struct peer p = { 0 };
    uint64_t begins[5], start;
    peer_open(&p);
    start = p.session.out.consumed;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(send_ack(&p, 1, i + 1), 0);
        begins[i] = p.session.out.appended;
        assert_int_equal(peer_publish(&p, i == 3 ? 2 : 1, sizes[i]), 0);
    }
    for (uint64_t sent = start; p.session.out.size > 0; sent++) {
        uint64_t expected[2] = { 0, 0 };
        for (size_t i = 0; i < 5; i++) expected[i == 3] += begins[i] < sent;
        assert_int_equal(session_publishes_sent(&p.session, 1), expected[0]);
        assert_int_equal(session_publishes_sent(&p.session, 2), expected[1]);
        peer_write(&p, 1);
    }
    assert_int_equal(session_publishes_sent(&p.session, 1), 4);
    peer_deinit(&p);
}

static void publishes_of_a_dead_channel_do_not_count_for_the_next(void **state) {
    (void)state;
    static char again[] = "again";
    struct peer p = { 0 };
    peer_open(&p);
    for (int i = 0; i < 3; i++) assert_int_equal(peer_publish(&p, 1, 100), 0);
    peer_write(&p, 150); /* into the second */
    peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE, NULL);
    assert_string_equal(peer_events(&p), "channel-close 1 one channel.close sent=2\n");
    assert_int_equal(session_channel_open(&p.session, again), 1);
    assert_int_equal(peer_publish(&p, 1, 7), 0);
    assert_int_equal(session_publishes_sent(&p.session, 1), 0);
    (void)peer_frames(&p);
    assert_int_equal(session_publishes_sent(&p.session, 1), 1);
    peer_deinit(&p);
}

/* Acks that were accepted come first; where there is no memory for them there is none for what follows. */
static void nothing_is_sent_before_the_acks(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    assert_int_equal(session_ack(&p.session, 1, 1, 2), 1);
    fail_alloc_at(&p.memory, 1, true);
    assert_int_equal(session_send(&p.session, 1, METHOD_BASIC_QOS, &(struct basic_qos){ .prefetch_count = 1 }), LAGO_ENOMEM);
    fail_alloc_at(&p.memory, 0, false);
    assert_int_equal(session_send(&p.session, 1, METHOD_BASIC_QOS, &(struct basic_qos){ .prefetch_count = 2 }), 0);
    assert_string_equal(peer_frames(&p), "1 basic.ack delivery_tag=1\n1 basic.qos prefetch_count=2\n");
    peer_deinit(&p);
}

/* However large, and wherever its frames are cut. */
static void large_publishes_are_counted_when_they_begin(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    for (int i = 0; i < 3; i++) assert_int_equal(peer_publish(&p, 1, 20000), 0);
    size_t one = session_output_size(&p.session) / 3;
    for (uint64_t begun = 1; begun <= 3; begun++) {
        peer_write(&p, 1);
        assert_int_equal(session_publishes_sent(&p.session, 1), begun);
        peer_write(&p, one - 1);
        assert_int_equal(session_publishes_sent(&p.session, 1), begun);
    }
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_sent_before_the_acks),
        cmocka_unit_test(large_publishes_are_counted_when_they_begin),
        cmocka_unit_test(methods_leave_as_they_are_given),
        cmocka_unit_test(bodies_are_cut_at_frame_max),
        cmocka_unit_test(partial_writes_lose_nothing),
        cmocka_unit_test(names_have_at_most_255_bytes),
        cmocka_unit_test(headers_that_do_not_fit_are_refused_whole),
        cmocka_unit_test(publish_is_all_or_nothing),
        cmocka_unit_test(many_publishes_under_failing_memory),
        cmocka_unit_test(what_waits_before_a_publish_stays_before_it),
        cmocka_unit_test(a_ring_that_grew_for_nothing_counts_on),
        cmocka_unit_test(lent_bodies_are_not_copied),
        cmocka_unit_test(a_row_of_large_bodies_overwrites_nothing),
        cmocka_unit_test(a_large_body_needs_no_memory_half_way),
        cmocka_unit_test(lent_bodies_are_released_once),
        cmocka_unit_test(what_is_sent_before_open_leaves_in_order),
        cmocka_unit_test(what_is_held_between_attempts_fits_every_link),
        cmocka_unit_test(blocked_holds_only_channels_that_publish),
        cmocka_unit_test(flow_stops_the_publishes_of_a_channel),
        cmocka_unit_test(order_holds_across_blocks),
        cmocka_unit_test(release_without_memory_is_tried_again),
        cmocka_unit_test(acks_without_memory_are_tried_again),
        cmocka_unit_test(release_is_tried_again_on_a_busy_link),
        cmocka_unit_test(flow_ok_is_never_held),
        cmocka_unit_test(forgotten_output_does_not_count),
        cmocka_unit_test(publishes_count_from_their_first_byte),
        cmocka_unit_test(publishes_of_a_dead_channel_do_not_count_for_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
