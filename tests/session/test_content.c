/* Messages: put together from what comes, never from what was announced, and only from frames in the right order (4.2.6). */
#include "peer.h"

#include <stdio.h>

#define MIB ((size_t)1 << 20)

static void open_with(struct peer *p, uint64_t message_size_max, uint32_t frame_max) {
    peer_init(p);
    p->session.settings.message_size_max = message_size_max;
    p->tune.frame_max = frame_max;
    peer_bring(p, SESSION_OPEN);
}

static void add_deliver(struct bytes *b, uint16_t channel, uint64_t body_size) {
    bytes_method(b, channel, METHOD_BASIC_DELIVER, NULL);
    bytes_header(b, channel, body_size, NULL);
}

/* ---------------------------------------------------------------- what arrives */

static void whole_messages_are_handed_out_where_they_lie(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    size_t calls = p.memory.calls;
    for (uint64_t tag = 1; tag <= 20; tag++) bytes_deliver(&b, 1, tag, 100, 4096);
    peer_say(&p, &b);
    assert_int_equal(p.memory.calls, calls + 1); /* for all of them: what is known of a message on its way */
    assert_non_null(strstr(peer_events(&p), "delivery_tag=20"));
    peer_deinit(&p);
}

static void returned_and_fetched_messages_are_contents_too(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    struct basic_return returned = { .reply_code = REPLY_NO_ROUTE, .reply_text = { "NO_ROUTE", 8 }, .routing_key = { "q", 1 } };
    struct basic_get_ok got = { .delivery_tag = 9, .redelivered = true, .exchange = { "e", 1 }, .message_count = 3 };
    peer_open(&p);
    bytes_method(&b, 1, METHOD_BASIC_RETURN, &returned);
    bytes_header(&b, 1, 2, NULL);
    bytes_frame(&b, FRAME_BODY, 1, "hi", 2);
    bytes_method(&b, 2, METHOD_BASIC_GET_OK, &got);
    bytes_header(&b, 2, 0, NULL);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "content 1 one basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"q\" "
                                         "body=2hi\n"
                                         "content 2 two basic.get-ok delivery_tag=9 redelivered=1 exchange=\"e\" message_count=3 "
                                         "body=0\n");
    peer_deinit(&p);
}

/* The NUL behind a string falls on the size of the table behind it, or on the next string's: they must have been read. */
static void properties_next_to_each_other_survive_their_nuls(void **state) {
    (void)state;
    static const lago_field_t fields[] = { LAGO_FIELD_STR("k", "v"), LAGO_FIELD_I32("n", 5) };
    lago_properties_t properties = { .content_type = "text/plain",
                                     .content_encoding = "gzip",
                                     .headers = LAGO_TABLE_OF(fields),
                                     .delivery_mode = 2,
                                     .correlation_id = "1",
                                     .reply_to = "r",
                                     .type = "t",
                                     .cluster_id = "last" };
    struct bytes b = { 0 };
    bytes_method(&b, 1, METHOD_BASIC_DELIVER, NULL);
    bytes_header(&b, 1, 3, &properties);
    bytes_frame(&b, FRAME_BODY, 1, "xyz", 3);
    for (size_t cut = 0; cut < b.size; cut++) {
        struct peer p = { 0 };
        peer_open(&p);
        if (cut > 0) peer_feed(&p, b.data, cut);
        peer_feed(&p, b.data + cut, b.size - cut);
        assert_string_equal(peer_events(&p),
                            "content 1 one basic.deliver content_type=\"text/plain\" content_encoding=\"gzip\" "
                            "headers={k=\"v\", n=5} delivery_mode=2 correlation_id=\"1\" reply_to=\"r\" type=\"t\" "
                            "cluster_id=\"last\" body=3xyz\n");
        peer_deinit(&p);
    }
    bytes_free(&b);
}

/* Nothing limits how a broker cuts a body: empty frames, frames of one byte, a whole one behind an empty one. */
static void bodies_in_any_pieces(void **state) {
    (void)state;
    static const size_t pieces[][6] = { { 0, 5 }, { 5, 0 }, { 1, 1, 1, 1, 1 }, { 0, 0, 2, 0, 3, 0 }, { 4, 0, 0, 0, 1 } };
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        size_t offset = 0;
        peer_open(&p);
        add_deliver(&b, 1, 5);
        for (size_t k = 0; k < 6 && offset < 5; offset += pieces[i][k++]) bytes_body(&b, 1, offset, pieces[i][k]);
        for (size_t at = 0; at < b.size; at++) peer_feed(&p, b.data + at, 1);
        peer_say(&p, &b);
        assert_string_equal(peer_events(&p), "content 1 one basic.deliver body=5\ncontent 1 one basic.deliver body=5\n");
        peer_deinit(&p);
    }
}

/* F65: contents of all channels at once, a byte a frame, a frame an input. */
static void interleaved_contents_do_not_mix(void **state) {
    (void)state;
    enum { COUNT = 1000, SIZE = 3 };
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    p.settings.channel_max = p.session.settings.channel_max = p.tune.channel_max = COUNT;
    peer_bring(&p, SESSION_OPEN);
    for (int i = 3; i <= COUNT; i++) assert_int_equal(session_channel_open(&p.session, NULL), i);
    for (uint16_t i = 3; i <= COUNT; i++) bytes_method(&b, i, METHOD_CHANNEL_OPEN_OK, NULL);
    peer_say(&p, &b);
    for (uint16_t i = 1; i <= COUNT; i++) peer_say_method(&p, i, METHOD_BASIC_DELIVER, NULL);
    for (uint16_t i = 1; i <= COUNT; i++) bytes_header(&b, i, SIZE, NULL);
    peer_say(&p, &b);
    (void)peer_events(&p);
    for (size_t at = 0; at < SIZE; at++) {
        assert_string_equal(peer_events(&p), "");
        for (uint16_t i = 1; i <= COUNT; i++) {
            bytes_body(&b, i, at, 1);
            peer_say(&p, &b);
        }
    }
    size_t lines = 0;
    for (const char *line = peer_events(&p); *line; line = strchr(line, '\n') + 1, lines++)
        assert_memory_equal(strchr(line, '\n') - 7, " body=3", 7);
    assert_int_equal(lines, COUNT);
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- what is refused */

static void assert_broken(struct bytes *b, const char *code) {
    for (size_t cut = 0; cut < b->size; cut++) {
        struct peer p = { 0 };
        char line[200];
        peer_open(&p);
        if (cut > 0) peer_feed(&p, b->data, cut);
        peer_feed(&p, b->data + cut, b->size - cut);
        snprintf(line, sizeof(line), "0 connection.close reply_code=%s ", code);
        const char *frames = peer_frames(&p);
        if (strncmp(frames, line, strlen(line)) != 0) fail_msg("cut at %zu: %s", cut, frames);
        assert_int_equal(p.close_count, 1);
        assert_string_equal(peer_events(&p), "");
        snprintf(line, sizeof(line), "ended LAGO_EPROTOCOL %s\n", code);
        peer_pass(&p, 2000);
        assert_string_equal(peer_events(&p), line);
        peer_deinit(&p);
    }
    bytes_free(b);
}

static void bodies_longer_than_announced(void **state) {
    (void)state;
    struct bytes b = { 0 };
    add_deliver(&b, 1, 5);
    bytes_body(&b, 1, 0, 6);
    assert_broken(&b, "501");
    add_deliver(&b, 1, 5);
    bytes_body(&b, 1, 0, 4);
    bytes_body(&b, 1, 4, 2);
    assert_broken(&b, "501");
}

static void frames_that_belong_to_no_message(void **state) {
    (void)state;
    struct bytes b = { 0 };
    bytes_header(&b, 1, 5, NULL); /* no method */
    assert_broken(&b, "505");
    bytes_body(&b, 1, 0, 5);
    assert_broken(&b, "505");
    bytes_method(&b, 1, METHOD_BASIC_DELIVER, NULL);
    bytes_body(&b, 1, 0, 5); /* no header */
    assert_broken(&b, "505");
    add_deliver(&b, 1, 5);
    bytes_header(&b, 1, 5, NULL); /* twice */
    assert_broken(&b, "505");
}

static void methods_in_the_middle_of_a_message(void **state) {
    (void)state;
    struct bytes b = { 0 };
    bytes_method(&b, 1, METHOD_BASIC_DELIVER, NULL);
    bytes_method(&b, 1, METHOD_BASIC_DELIVER, NULL);
    assert_broken(&b, "505");
    add_deliver(&b, 1, 5);
    bytes_method(&b, 1, METHOD_BASIC_ACK, NULL);
    assert_broken(&b, "505");
    add_deliver(&b, 1, 5);
    bytes_body(&b, 1, 0, 4);
    bytes_method(&b, 1, METHOD_BASIC_CANCEL, NULL);
    assert_broken(&b, "505");
}

/* A channel's end is no interruption: what has come of its message is dropped. */
static void channel_close_in_the_middle_of_a_message(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    add_deliver(&b, 1, 10000);
    bytes_body(&b, 1, 0, 4000);
    peer_say(&p, &b);
    bytes_method(&b, 1, METHOD_CHANNEL_CLOSE, NULL);
    bytes_deliver(&b, 2, 1, 7, 4096);
    peer_say(&p, &b);
    assert_non_null(strstr(peer_events(&p), "body=7\n"));
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

static void contents_on_channels_that_are_not_open(void **state) {
    (void)state;
    struct bytes b = { 0 };
    static const uint16_t channels[] = { 0, 3, 65535 };
    for (size_t i = 0; i < 3; i++) {
        bytes_header(&b, channels[i], 1, NULL);
        assert_broken(&b, "504");
        bytes_body(&b, channels[i], 0, 3);
        assert_broken(&b, "504");
    }
    add_deliver(&b, 5, 1);
    assert_broken(&b, "504");
}

static void malformed_headers(void **state) {
    (void)state;
    struct bytes b = { 0 };
    static const struct {
        const char *payload;
        size_t size;
        const char *close;
    } rows[] = {
        { "\0\74\0\0\0\0\0\0\0\0\0\1\0\0", 13, "501" },
        { "\0\62\0\0\0\0\0\0\0\0\0\1\0\0", 14, "505" },
        { "\0\74\0\1\0\0\0\0\0\0\0\1\0\0", 14, "501" },
        { "\0\74\0\0\0\0\0\0\0\0\0\1\0\1", 14, "501" },
        { "\0\74\0\0\0\0\0\0\0\0\0\1\200\0\5abc", 18, "501" },
        { "\0\74\0\0\0\0\0\0\0\0\0\1\0\0x", 15, "501" },
        { "\0\74\0\0\0\0\0\0\0\0\0\1\40\0\377\377\377\377", 18, "501" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bytes_method(&b, 1, METHOD_BASIC_DELIVER, NULL);
        bytes_frame(&b, FRAME_HEADER, 1, rows[i].payload, rows[i].size);
        assert_broken(&b, rows[i].close);
    }
}

/* ---------------------------------------------------------------- size */

/* The channel ends by 311, the connection lives, nothing was allocated for the message; what follows of it is dropped. */
static void announced_sizes_are_only_claims(void **state) {
    (void)state;
    static const uint64_t sizes[] = { (1 << 20) + 1, 1 << 30, UINT64_C(1) << 63, UINT64_MAX };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        peer_open(&p);
        add_deliver(&b, 1, sizes[i]);
        p.memory.peak_both_bytes = 0;
        size_t live = p.memory.live_bytes;
        for (int k = 0; k < 50; k++) bytes_body(&b, 1, 0, 4088);
        bytes_deliver(&b, 1, 2, 10, 4096);
        peer_say(&p, &b);
        assert_string_equal(peer_events(&p), "channel-close 1 one LAGO_EMSGSIZE 311\n");
        assert_true(p.memory.peak_both_bytes <= live + 8192);
        assert_true(strncmp(peer_frames(&p), "1 channel.close reply_code=311 ", 31) == 0);
        assert_int_equal(session_send(&p.session, 2, METHOD_TX_SELECT, &(struct tx_select){ 0 }), 0);
        bytes_deliver(&b, 2, 3, 10, 4096);
        bytes_method(&b, 1, METHOD_BASIC_CANCEL, NULL);
        bytes_method(&b, 1, METHOD_CHANNEL_CLOSE_OK, NULL);
        peer_say(&p, &b);
        assert_non_null(strstr(peer_events(&p), "body=10\nclosed 1\n"));
        static char again[] = "again";
        assert_int_equal(session_channel_open(&p.session, again), 1);
        peer_deinit(&p);
    }
}

/* An ack that waits for its neighbours leaves before our close: nothing may follow that but close-ok (1.5.2.5). */
static void acks_leave_before_the_close(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    assert_int_equal(session_ack(&p.session, 1, 1, 2), 1);
    add_deliver(&b, 1, (1 << 20) + 1);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "channel-close 1 one LAGO_EMSGSIZE 311\n");
    const char *frames = peer_frames(&p);
    const char *ack = strstr(frames, "1 basic.ack delivery_tag=1"), *closing = strstr(frames, "1 channel.close ");
    assert_non_null(ack);
    assert_non_null(closing);
    assert_true(ack < closing);
    peer_deinit(&p);
}

/* What waits on the channel until the broker takes messages again would come after the close. */
static void what_is_held_does_not_follow_the_close(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(peer_publish(&p, 1, 10), 0);
    assert_int_equal(peer_publish(&p, 2, 10), 0);
    add_deliver(&b, 1, (1 << 20) + 1);
    peer_say(&p, &b);
    assert_non_null(strstr(peer_frames(&p), "1 channel.close "));
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    assert_string_equal(peer_frames(&p), "2 basic.publish routing_key=\"q\"\n2 header 10\n2 body 10\n");
    assert_int_equal(p.session.held_size, 0);
    peer_deinit(&p);
}

static void what_there_is_no_memory_for_is_said(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    add_deliver(&b, 1, 500000);
    peer_say(&p, &b);
    bytes_body(&b, 1, 0, 4000);
    fail_alloc_at(&p.memory, 1, false);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "ended LAGO_ENOMEM\n");
    assert_string_equal(p.session.reason.whole->detail, "no memory for a message of 500000 bytes");
    peer_deinit(&p);
}

static void refusals_without_memory_end_the_session(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    add_deliver(&b, 1, UINT64_MAX);
    fail_alloc_at(&p.memory, 1, true);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "ended LAGO_ENOMEM\n");
    peer_deinit(&p);
}

static void message_size_max_is_the_largest_that_passes(void **state) {
    (void)state;
    static const uint64_t limits[] = { 1, 100, 5000, 100000 };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        char line[64];
        open_with(&p, limits[i], 4096);
        bytes_deliver(&b, 1, 1, (size_t)limits[i], 4096);
        peer_say(&p, &b);
        snprintf(line, sizeof(line), " body=%llu\n", (unsigned long long)limits[i]);
        assert_non_null(strstr(peer_events(&p), line));
        bytes_deliver(&b, 1, 2, (size_t)limits[i] + 1, 4096);
        bytes_deliver(&b, 2, 1, (size_t)limits[i], 4096);
        peer_say(&p, &b);
        const char *events = peer_events(&p);
        assert_true(strncmp(events, "channel-close 1 one LAGO_EMSGSIZE 311\n", 38) == 0);
        assert_non_null(strstr(events, line));
        peer_deinit(&p);
    }
}

/* A body in frames of 128 KiB, in inputs of `read_size`; returns the allocator's peak above what lived before. */
static size_t peak_of(size_t size, size_t read_size) {
    struct peer p = { 0 };
    struct bytes b = { 0 };
    char line[64];
    open_with(&p, size, 131072);
    p.session.settings.trace = NULL;
    bytes_deliver(&b, 1, 1, size, 131072);
    size_t live = p.memory.live_bytes;
    p.memory.peak_both_bytes = live;
    for (size_t at = 0; at < b.size; at += read_size)
        peer_feed(&p, b.data + at, b.size - at < read_size ? b.size - at : read_size);
    bytes_free(&b);
    snprintf(line, sizeof(line), " body=%zu\n", size);
    assert_non_null(strstr(peer_events(&p), line));
    size_t peak = p.memory.peak_both_bytes - live;
    peer_deinit(&p);
    return peak;
}

static void memory_of_a_message_stays_near_its_size(void **state) {
    (void)state;
    static const size_t sizes[] = { 1000,    65536,   131064,  131065,  300000,      MIB - 1, MIB,          MIB + 1,
                                    2 * MIB, 3000000, 5 * MIB, 8 * MIB, 8 * MIB + 1, 9 * MIB, 11 * MIB + 7, 16 * MIB };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_true(peak_of(sizes[i], 65536) <= sizes[i] + sizes[i] / 5 + 256 * 1024);
    assert_true(peak_of(64 * MIB, 131072) <= 64 * MIB + 64 * MIB / 5);
}

/* A peer pays for the memory it claims: at most eight times what it has sent, and a little. */
static void memory_follows_what_has_come(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    open_with(&p, 64 * MIB, 131072);
    add_deliver(&b, 1, 64 * MIB);
    bytes_body(&b, 1, 0, 1);
    peer_say(&p, &b);
    size_t live = p.memory.live_bytes;
    for (size_t offset = 1; offset < 4 * MIB; offset += 131064) {
        bytes_body(&b, 1, offset, 131064);
        peer_say(&p, &b);
        assert_true(p.memory.live_bytes - live <= 9 * (offset + 131064) + 65536);
    }
    peer_deinit(&p);
}

/* A body frame of 128 KiB that comes in small reads is not stashed and copied again. */
static void body_frames_are_streamed(void **state) {
    (void)state;
    assert_true(peak_of(131064, 1000) <= 131064 + 131064 / 5);
}

/* What comes before a body is kept until the message is whole, so it counts from the beginning. */
static void what_comes_before_the_body_is_charged(void **state) {
    (void)state;
    static uint8_t raw[3000] = "\1kS\0\0\13\261"; /* a string of 2993 octets */
    static char name[250];
    memset(name, 'n', sizeof(name));
    lago_properties_t properties = { .headers = { NULL, raw, sizeof(raw), 0 } };
    struct basic_deliver deliver = { .exchange = { name, sizeof(name) }, .routing_key = { name, sizeof(name) } };
    size_t known = sizeof(raw) + 2 * sizeof(name);
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    bytes_method(&b, 1, METHOD_BASIC_DELIVER, &deliver);
    bytes_header(&b, 1, 1000, &properties);
    peer_say(&p, &b);
    assert_in_range(p.session.assembled, known, known + 1000);
    bytes_body(&b, 1, 0, 1000);
    peer_say(&p, &b);
    assert_int_equal(p.session.assembled, 0);
    peer_deinit(&p);
}

/* Whose a piece is stands in two octets. */
static void high_channels_have_bodies_in_pieces(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    p.tune.channel_max = 300;
    peer_bring(&p, SESSION_OPEN);
    for (int n = 3; n <= 300; n++) {
        assert_int_equal(session_channel_open(&p.session, &p), n);
        bytes_method(&b, (uint16_t)n, METHOD_CHANNEL_OPEN_OK, NULL);
    }
    peer_say(&p, &b);
    (void)peer_events(&p);
    bytes_deliver(&b, 300, 1, 3000, 4096);
    for (size_t at = 0; at < b.size; at += 500) peer_feed(&p, b.data + at, b.size - at < 500 ? b.size - at : 500);
    bytes_free(&b);
    const char *events = peer_events(&p);
    assert_non_null(strstr(events, "300 "));
    assert_non_null(strstr(events, " body=3000\n"));
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- keeping, and no memory */

static struct block *kept;

static void keep(struct peer *p, const struct session_event *event) {
    (void)p;
    if (event->type == SESSION_EVENT_CONTENT && event->body_block) kept = block_ref(event->body_block);
}

static void bodies_can_be_kept(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    p.on_event = keep;
    bytes_deliver(&b, 1, 1, 10000, 4096);
    bytes_deliver(&b, 1, 2, 10, 4096);
    peer_say(&p, &b);
    assert_non_null(kept);
    assert_true(pattern_is(block_data(kept), 10000));
    block_unref(kept);
    peer_deinit(&p);
}

/* Each allocation fails in turn: the session ends, by ENOMEM, and nothing is lost. */
static void without_memory_the_session_ends(void **state) {
    (void)state;
    struct bytes b = { 0 };
    bytes_deliver(&b, 1, 1, 20000, 4096);
    bytes_deliver(&b, 2, 1, 3, 4096);
    for (size_t n = 1, ended = 1; ended; n++) {
        struct peer p = { 0 };
        peer_open(&p);
        fail_alloc_at(&p.memory, n, false);
        for (size_t at = 0; at < b.size; at += 37) peer_feed(&p, b.data + at, b.size - at < 37 ? b.size - at : 37);
        ended = p.session.state == SESSION_ENDED;
        const char *events = peer_events(&p);
        if (ended) assert_non_null(strstr(events, "ended LAGO_ENOMEM\n"));
        assert_true(ended || p.memory.calls < n);
        peer_deinit(&p);
    }
    bytes_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_messages_are_handed_out_where_they_lie),
        cmocka_unit_test(returned_and_fetched_messages_are_contents_too),
        cmocka_unit_test(properties_next_to_each_other_survive_their_nuls),
        cmocka_unit_test(bodies_in_any_pieces),
        cmocka_unit_test(interleaved_contents_do_not_mix),
        cmocka_unit_test(bodies_longer_than_announced),
        cmocka_unit_test(frames_that_belong_to_no_message),
        cmocka_unit_test(methods_in_the_middle_of_a_message),
        cmocka_unit_test(channel_close_in_the_middle_of_a_message),
        cmocka_unit_test(contents_on_channels_that_are_not_open),
        cmocka_unit_test(malformed_headers),
        cmocka_unit_test(announced_sizes_are_only_claims),
        cmocka_unit_test(acks_leave_before_the_close),
        cmocka_unit_test(what_is_held_does_not_follow_the_close),
        cmocka_unit_test(refusals_without_memory_end_the_session),
        cmocka_unit_test(what_there_is_no_memory_for_is_said),
        cmocka_unit_test(message_size_max_is_the_largest_that_passes),
        cmocka_unit_test(memory_of_a_message_stays_near_its_size),
        cmocka_unit_test(memory_follows_what_has_come),
        cmocka_unit_test(body_frames_are_streamed),
        cmocka_unit_test(what_comes_before_the_body_is_charged),
        cmocka_unit_test(high_channels_have_bodies_in_pieces),
        cmocka_unit_test(bodies_can_be_kept),
        cmocka_unit_test(without_memory_the_session_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
