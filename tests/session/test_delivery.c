/*
 * Deliveries by the short ways and by the long one: what is told must be the same. The long way is taken when the frames come in
 * pieces; the short ones need them whole, and nobody who traces.
 */
#include "peer.h"
#include "properties.h"

#define CONVERSATIONS 800u
#define LONG_NAME                                                                                                                \
    "a name so long that nothing can be remembered of a delivery that has it twice, because both of them together with "         \
    "all the rest are longer than what is worth remembering, 250 octets"

/* ---------------------------------------------------------------- what a broker sends */

struct letter {
    struct basic_deliver deliver;
    uint16_t channel;
    size_t body_size, pieces;
    const lago_properties_t *properties;
};

static const lago_properties_t kinds[] = {
    { .delivery_mode = 1 },
    { .content_type = "application/octet-stream", .delivery_mode = 2 },
    { .content_type = "text/plain", .headers = { NULL, "\1nI\0\0\0\5", 7, 0 } },
    { .message_id = "1" },
    { .message_id = "2" },
    { .app_id = LONG_NAME },
    { .present = 0 },
};

static const lago_string_t tags[] = { { "ctag1.0", 7 }, { "ctag1.1", 7 }, { "c", 1 }, { LONG_NAME, sizeof(LONG_NAME) - 1 } };
static const lago_string_t names[] = { { "", 0 }, { "logs", 4 }, { "logt", 4 }, { LONG_NAME, sizeof(LONG_NAME) - 1 } };
static const size_t sizes[] = { 256, 1, 0, 16, 255, 4000, 9000 };

#define ROLL(d, array) (array)[dice_below(d, sizeof(array) / sizeof((array)[0]))]

/* Mostly what the last one was but for its tag. */
static void roll(struct dice *d, struct letter *l) {
    l->deliver.delivery_tag++;
    if (dice_below(d, 3) == 0) l->body_size = ROLL(d, sizes);
    if (dice_below(d, 5) == 0) l->deliver.redelivered = !l->deliver.redelivered;
    if (dice_below(d, 6) == 0) l->properties = &ROLL(d, kinds);
    if (dice_below(d, 8) == 0) l->deliver.consumer_tag = ROLL(d, tags);
    if (dice_below(d, 8) == 0) l->deliver.exchange = ROLL(d, names);
    if (dice_below(d, 8) == 0) l->deliver.routing_key = ROLL(d, names);
    if (dice_below(d, 4) == 0) l->channel = (uint16_t)(1 + dice_below(d, 2));
}

static void add_letter(struct bytes *b, const struct letter *l) {
    size_t max = FRAME_MIN_SIZE - FRAME_OVERHEAD;
    bytes_method(b, l->channel, METHOD_BASIC_DELIVER, &l->deliver);
    bytes_header(b, l->channel, l->body_size, l->properties);
    for (size_t at = 0; at < l->body_size; at += max)
        bytes_body(b, l->channel, at, l->body_size - at < max ? l->body_size - at : max);
}

/* Deliveries, and now and then something else. */
static void add_conversation(struct bytes *b, struct dice *d) {
    struct letter l = { .deliver = { .consumer_tag = tags[0], .exchange = names[1], .routing_key = names[2] },
                        .channel = 1,
                        .body_size = 256,
                        .properties = &kinds[1] };
    for (size_t i = 2 + dice_below(d, 12); i > 0; i--) {
        roll(d, &l);
        add_letter(b, &l);
        if (dice_below(d, 10) == 0) bytes_frame(b, FRAME_HEARTBEAT, 0, NULL, 0);
        if (dice_below(d, 10) == 0) bytes_method(b, l.channel, METHOD_BASIC_ACK, &(struct basic_ack){ .delivery_tag = 1 });
    }
}

/* ---------------------------------------------------------------- by both ways */

static char *copy_of(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    assert_non_null(copy);
    return strcpy(copy, text);
}

static uint64_t message_size_max = 1 << 20;

/* Everything that is told, when the input comes in pieces of at most `piece`. */
static char *told(const struct bytes *b, size_t piece, size_t failing) {
    struct peer p = { 0 };
    peer_open(&p);
    p.session.settings.trace = NULL;
    p.session.settings.message_size_max = message_size_max;
    if (failing) fail_alloc_at(&p.memory, failing, false);
    for (size_t at = 0; at < b->size; at += piece) peer_feed(&p, b->data + at, b->size - at < piece ? b->size - at : piece);
    const char *lines = peer_events(&p);
    char *events = copy_of(lines);
    peer_deinit(&p);
    return events;
}

static void assert_told_alike(const struct bytes *b, struct dice *d) {
    char *long_way = told(b, 1, 0), *short_way = told(b, SIZE_MAX, 0), *both = told(b, 300 + dice_below(d, 2000), 0);
    assert_string_equal(short_way, long_way);
    assert_string_equal(both, long_way);
    free(long_way);
    free(short_way);
    free(both);
}

static void all_ways_tell_the_same(void **state) {
    (void)state;
    for (unsigned i = 1; i <= CONVERSATIONS; i++) {
        struct dice d = { i };
        struct bytes b = { 0 };
        add_conversation(&b, &d);
        assert_told_alike(&b, &d);
        bytes_free(&b);
    }
}

/* An octet is wrong: the same end, at the same message, or the same other words. */
static void all_ways_find_the_same_damage(void **state) {
    (void)state;
    for (unsigned i = 1; i <= CONVERSATIONS; i++) {
        struct dice d = { i };
        struct bytes b = { 0 };
        add_conversation(&b, &d);
        b.data[dice_below(&d, b.size)] ^= (uint8_t)(1u << dice_below(&d, 8));
        assert_told_alike(&b, &d);
        bytes_free(&b);
    }
}

/* In every octet of what comes before the body of the third of three that look alike. */
/* Three, or two without a body, on the short ways as well. */
static void their_frames_are_counted(void **state) {
    (void)state;
    for (size_t size = 0; size < 2; size++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        peer_open(&p);
        p.session.settings.trace = NULL;
        uint64_t before = p.session.counters.frames_received;
        for (uint64_t tag = 1; tag <= 4; tag++) bytes_deliver(&b, 1, tag, size, 4096);
        peer_say(&p, &b);
        assert_int_equal(p.session.counters.frames_received - before, 4 * (2 + size));
        peer_deinit(&p);
    }
}

static void what_differs_is_seen(void **state) {
    (void)state;
    struct letter l = { .deliver = { .consumer_tag = tags[0], .exchange = names[1], .routing_key = names[2] },
                        .channel = 1,
                        .body_size = 40,
                        .properties = &kinds[1] };
    struct dice d = { 1 };
    struct bytes b = { 0 };
    for (int i = 0; i < 3; i++) {
        l.deliver.delivery_tag++;
        add_letter(&b, &l);
    }
    size_t one = b.size / 3;
    for (size_t at = 2 * one; at < b.size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            b.data[at] ^= (uint8_t)(1u << bit);
            assert_told_alike(&b, &d);
            b.data[at] ^= (uint8_t)(1u << bit);
        }
    }
    bytes_free(&b);
}

/* However long it is, to its last octet: what comes before the body is compared in blocks, and the rest of it by a mask. */
static void what_differs_at_the_end_is_seen(void **state) {
    (void)state;
    static char key[200];
    struct dice d = { 1 };
    memset(key, 'k', sizeof(key));
    for (size_t size = 0; size <= sizeof(key); size++) {
        lago_properties_t properties = { .message_id = "1" };
        struct letter l = { .deliver = { .consumer_tag = tags[0], .routing_key = { key, size } },
                            .channel = 1,
                            .body_size = 40,
                            .properties = &properties };
        struct bytes b = { 0 };
        for (int i = 0; i < 4; i++) {
            if (i == 3) properties.message_id = "2";
            l.deliver.delivery_tag++;
            add_letter(&b, &l);
        }
        assert_told_alike(&b, &d);
        /* the last octet before the size of the third one's body: the channel it is said to come on */
        b.data[b.size / 4 * 3 - 1 - l.body_size - sizeof(uint32_t) - 1] ^= 4;
        assert_told_alike(&b, &d);
        bytes_free(&b);
    }
}

/* Without memory nothing is remembered, and everything told. */
static void nothing_needs_to_be_remembered(void **state) {
    (void)state;
    struct bytes b = { 0 };
    for (uint64_t tag = 1; tag <= 5; tag++) bytes_deliver(&b, 1, tag, 100, FRAME_MIN_SIZE);
    char *wanted = told(&b, SIZE_MAX, 0);
    for (size_t failing = 1; failing <= 3; failing++) {
        char *got = told(&b, SIZE_MAX, failing);
        assert_string_equal(got, wanted);
        free(got);
    }
    free(wanted);
    bytes_free(&b);
}

/* ---------------------------------------------------------------- sizes */

/* Frames that are complete, and lie about what is in them; behind two good deliveries, so that the third one is like the last. */
static void add_odd(struct bytes *b, unsigned good, size_t method_size, size_t header_size, size_t body_size,
                    uint64_t announced) {
    static const uint8_t deliver[] = "\0\x3c\0\x3c\1c\0\0\0\0\0\0\0\0\0\0\1k", header[] = "\0\x3c\0\0\0\0\0\0\0\0\0\0\0";
    uint8_t payload[FRAME_MIN_SIZE * 2] = { 0 };
    for (unsigned tag = 1; tag <= good; tag++) bytes_deliver(b, 1, tag, 40, FRAME_MIN_SIZE);
    memcpy(payload, deliver, sizeof deliver - 1);
    payload[14] = (uint8_t)(good + 1); /* the tag */
    bytes_frame(b, FRAME_METHOD, 1, payload, method_size);
    memset(payload, 0, sizeof payload);
    memcpy(payload, header, sizeof header);
    for (unsigned i = 0; i < 8; i++) payload[4 + i] = (uint8_t)(announced >> (56 - 8 * i));
    bytes_frame(b, FRAME_HEADER, 1, payload, header_size);
    memset(payload, 0, sizeof payload);
    pattern_fill(payload, 0, body_size);
    bytes_frame(b, FRAME_BODY, 1, payload, body_size);
    bytes_frame(b, FRAME_HEARTBEAT, 0, NULL, 0);
}

static void odd_sizes_are_told_alike(void **state) {
    (void)state;
    enum { DELIVER = 18, HEADER = 14 };
    static const struct {
        size_t method_size, header_size, body_size;
        uint64_t announced;
    } odd[] = {
        { 0, HEADER, 40, 40 },
        { 2, HEADER, 40, 40 },
        { 3, HEADER, 40, 40 },
        { DELIVER - 1, HEADER, 40, 40 },
        { DELIVER, 0, 40, 40 },
        { DELIVER, HEADER - 1, 40, 40 },
        { DELIVER, HEADER, 40, 40 },
        { DELIVER, HEADER, 0, 40 },
        { DELIVER, HEADER, 40, 0 },
        { DELIVER, HEADER, 41, 40 },
        { DELIVER, HEADER, 40, UINT64_MAX },
        { DELIVER, HEADER, 4088, 4088 },
        { DELIVER, HEADER, 4089, 4089 },
        { 4089, HEADER, 40, 40 },
        { DELIVER, 4089, 40, 40 },
    };
    struct dice d = { 1 };
    for (unsigned good = 0; good <= 3; good++) {
        for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
            for (message_size_max = 40; message_size_max <= 1 << 20; message_size_max *= 1 << 15) {
                struct bytes b = { 0 };
                add_odd(&b, good, odd[i].method_size, odd[i].header_size, odd[i].body_size, odd[i].announced);
                assert_told_alike(&b, &d);
                bytes_free(&b);
            }
        }
    }
    message_size_max = 1 << 20;
}

/* The same in all but the body: larger than the limit, or in two frames. */
static void one_that_looks_alike_may_be_too_large(void **state) {
    (void)state;
    static const size_t sizes_of_it[] = { 100, 101, 4088, 4089, 5000 };
    struct dice d = { 1 };
    for (size_t i = 0; i < sizeof sizes_of_it / sizeof sizes_of_it[0]; i++) {
        struct bytes b = { 0 };
        message_size_max = i < 2 ? 100 : 1 << 20;
        for (uint64_t tag = 1; tag <= 3; tag++) bytes_deliver(&b, 1, tag, 40, FRAME_MIN_SIZE);
        bytes_deliver(&b, 1, 4, sizes_of_it[i], i == 3 ? 2 * FRAME_MIN_SIZE : FRAME_MIN_SIZE);
        bytes_deliver(&b, 1, 5, 40, FRAME_MIN_SIZE);
        assert_told_alike(&b, &d);
        bytes_free(&b);
    }
    message_size_max = 1 << 20;
}

/* The same in all but its frames: an empty one comes before the body, or it is cut. */
static void one_that_looks_alike_may_come_in_pieces(void **state) {
    (void)state;
    static const size_t pieces[][3] = { { 0, 40, 0 }, { 0, 0, 40 }, { 10, 0, 30 }, { 39, 1, 0 } };
    const struct basic_deliver deliver = { .consumer_tag = { "c", 1 }, .delivery_tag = 4, .routing_key = { "k", 1 } };
    const lago_properties_t properties = { .content_type = "text/plain", .delivery_mode = 2 };
    struct dice d = { 1 };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct bytes b = { 0 };
        for (uint64_t tag = 1; tag <= 3; tag++) bytes_deliver(&b, 1, tag, 40, FRAME_MIN_SIZE);
        bytes_method(&b, 1, METHOD_BASIC_DELIVER, &deliver);
        bytes_header(&b, 1, 40, &properties);
        for (size_t k = 0, at = 0; k < 3 && at < 40; at += pieces[i][k++]) bytes_body(&b, 1, at, pieces[i][k]);
        bytes_deliver(&b, 1, 5, 40, FRAME_MIN_SIZE);
        assert_told_alike(&b, &d);
        bytes_free(&b);
    }
}

/* ---------------------------------------------------------------- looking alike */

struct seen {
    size_t count, alike;
    uint32_t last;
    char strings[1024]; /* of the last one with that number */
};

static void note_alike(struct peer *p, const struct session_event *event) {
    struct seen *seen = p->data;
    char strings[1024];
    struct text t;
    if (event->type != SESSION_EVENT_CONTENT) return;
    const struct basic_deliver *m = &event->args->basic_deliver;
    seen->count++;
    text_init(&t, strings, sizeof strings);
    text_addf(&t, "%u %s %s %s ", event->channel, m->consumer_tag.data, m->exchange.data, m->routing_key.data);
    properties_print(&t, event->properties, 64);
    if (event->alike == 0) return;
    if (event->alike == seen->last) {
        assert_string_equal(strings, seen->strings);
        seen->alike++;
    }
    seen->last = event->alike;
    memcpy(seen->strings, strings, sizeof strings);
}

static void open_seen(struct peer *p, struct seen *seen) {
    *seen = (struct seen){ 0 };
    peer_open(p);
    p->session.settings.trace = NULL;
    p->on_event = note_alike;
    p->data = seen;
}

static void those_of_a_queue_look_alike(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct seen seen;
    struct bytes b = { 0 };
    open_seen(&p, &seen);
    for (uint64_t tag = 1; tag <= 10; tag++) bytes_deliver(&b, 1, tag, 20 * (size_t)tag, FRAME_MIN_SIZE);
    peer_say(&p, &b);
    assert_int_equal(seen.count, 10);
    assert_int_equal(seen.alike, 8); /* but for the first, which is remembered, and the second, which gets the number */
    peer_deinit(&p);
}

static void channels_take_turns(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct seen seen;
    struct bytes b = { 0 };
    open_seen(&p, &seen);
    for (uint64_t tag = 1; tag <= 10; tag++)
        for (uint16_t channel = 1; channel <= 2; channel++) bytes_deliver(&b, channel, tag, 100, FRAME_MIN_SIZE);
    peer_say(&p, &b);
    assert_int_equal(seen.count, 20);
    assert_int_not_equal(seen.last, 0);
    assert_int_equal(seen.alike, 0); /* each channel has a number of its own */
    peer_deinit(&p);
}

/* 0 and ALIKE_NONE say that nothing is known, so they are no numbers; and what was remembered of one link is nothing to the next. */
static void numbers_begin_again_and_end_with_the_link(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct seen seen;
    struct bytes b = { 0 };
    open_seen(&p, &seen);
    p.session.alike = ALIKE_NONE - 1;
    for (uint64_t tag = 1; tag <= 3; tag++) bytes_deliver(&b, 1, tag, 100, FRAME_MIN_SIZE);
    peer_say(&p, &b);
    assert_int_equal(seen.last, 1);
    session_lost(&p.session, 0, p.now);
    peer_pull(&p);
    session_channel_drop(&p.session, 1);
    assert_int_equal(session_start(&p.session, p.now), 0);
    seen = (struct seen){ 0 };
    bytes_handshake(&b);
    peer_say(&p, &b);
    assert_int_equal(p.session.state, SESSION_OPEN);
    assert_int_equal(session_channel_open(&p.session, (void *)(uintptr_t) "one"), 1);
    peer_write_all(&p);
    peer_say_method(&p, 1, METHOD_CHANNEL_OPEN_OK, NULL);
    for (uint64_t tag = 1; tag <= 3; tag++) bytes_deliver(&b, 1, tag, 100, FRAME_MIN_SIZE);
    peer_say(&p, &b);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.last, 2);
    assert_int_equal(seen.alike, 1); /* the third; the first is new on this link */
    peer_deinit(&p);
}

static void numbers_stand_for_strings(void **state) {
    (void)state;
    for (unsigned i = 1; i <= CONVERSATIONS / 10; i++) {
        struct dice d = { i };
        struct peer p = { 0 };
        struct seen seen;
        struct bytes b = { 0 };
        open_seen(&p, &seen);
        add_conversation(&b, &d);
        peer_say(&p, &b);
        peer_deinit(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ways_tell_the_same),
        cmocka_unit_test(all_ways_find_the_same_damage),
        cmocka_unit_test(their_frames_are_counted),
        cmocka_unit_test(what_differs_is_seen),
        cmocka_unit_test(what_differs_at_the_end_is_seen),
        cmocka_unit_test(nothing_needs_to_be_remembered),
        cmocka_unit_test(those_of_a_queue_look_alike),
        cmocka_unit_test(channels_take_turns),
        cmocka_unit_test(numbers_stand_for_strings),
        cmocka_unit_test(odd_sizes_are_told_alike),
        cmocka_unit_test(one_that_looks_alike_may_be_too_large),
        cmocka_unit_test(one_that_looks_alike_may_come_in_pieces),
        cmocka_unit_test(numbers_begin_again_and_end_with_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
