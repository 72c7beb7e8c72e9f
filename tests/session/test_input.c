/* The way in: what each method means in each state, and frames that are none. Expectations are the specification's. */
#include "peer.h"

#include <stdio.h>

/* ---------------------------------------------------------------- the connection's states x all methods */

/*
 * A column a state, from WAIT_START to ENDED; 1.4.2 and 2.2.4:
 *   e  an event           x  connection.close 503, failed      q  ends without a word: nobody has been met yet
 *   k  close-ok, leaving  K  close-ok, stays as it is          d  done: ended       .  discarded
 * Channel methods come on channel 1, which is open in OPEN: what they do there is the next table's ('o').
 */
static const struct {
    uint32_t method;
    const char *cells;
} connection_table[] = {
    { METHOD_CONNECTION_START, "exxxxxx...." },
    { METHOD_CONNECTION_START_OK, "qxxxxxx...." },
    { METHOD_CONNECTION_SECURE, "qxexxxx...." },
    { METHOD_CONNECTION_SECURE_OK, "qxxxxxx...." },
    { METHOD_CONNECTION_TUNE, "qxexxxx...." },
    { METHOD_CONNECTION_TUNE_OK, "qxxxxxx...." },
    { METHOD_CONNECTION_OPEN, "qxxxxxx...." },
    { METHOD_CONNECTION_OPEN_OK, "qxxxxex...." },
    { METHOD_CONNECTION_CLOSE, "kkkkkkkKk.." },
    { METHOD_CONNECTION_CLOSE_OK, "qxxxxxxdd.." },
    { METHOD_CONNECTION_BLOCKED, "qxxxxxe...." },
    { METHOD_CONNECTION_UNBLOCKED, "qxxxxxe...." },
    { METHOD_CONNECTION_UPDATE_SECRET, "qxxxxxx...." },
    { METHOD_CONNECTION_UPDATE_SECRET_OK, "qxxxxxe...." },
    { 0, "qxxxxxo...." }, /* all others */
};

static const char *connection_cells(uint32_t method) {
    size_t i = 0;
    while (connection_table[i].method && connection_table[i].method != method) i++;
    return connection_table[i].cells;
}

static bool is_connection_method(uint32_t method) { return method >> 16 == 10; }

static bool failed_with(struct peer *p, enum session_state was, uint16_t reply_code) {
    char expected[64];
    snprintf(expected, sizeof(expected), "0 connection.close reply_code=%u ", reply_code);
    const char *frames = peer_frames(p);
    return was != SESSION_FAILED && p->session.state == SESSION_FAILED && p->session.reason.reply_code == reply_code &&
           strncmp(frames, expected, strlen(expected)) == 0 && strchr(frames, '\n')[1] == '\0';
}

/* What happened, as a letter of the table; '?' if it is none of them. */
static char seen(struct peer *p, enum session_state was) {
    enum session_state is = p->session.state;
    const char *events = peer_events(p);
    bool ended = strncmp(events, "ended", 5) == 0;
    size_t out = p->session.out.size;
    if (is == SESSION_FAILED && was != is) return events[0] == '\0' && failed_with(p, was, REPLY_COMMAND_INVALID) ? 'x' : '?';
    if (is == SESSION_ENDED && was != is)
        return !ended || out > 0 ? '?' : was >= SESSION_CLOSING ? 'd' : p->session.reason.code == LAGO_EPROTOCOL ? 'q' : '?';
    if (events[0] != '\0') return out == 0 ? 'e' : '?';
    if (out == 0 || was == SESSION_LEAVING) return is == was ? '.' : '?';
    peer_write(p, SIZE_MAX);
    bool answered = strcmp(peer_frames(p), "0 connection.close-ok\n") == 0;
    return !answered ? '?' : is == SESSION_LEAVING ? 'k' : is == was ? 'K' : '?';
}

static void every_method_in_every_state(void **state) {
    (void)state;
    const struct method_info *info;
    size_t cells = 0;
    for (size_t i = 0; (info = method_at(i)) != NULL; i++) {
        for (enum session_state at = SESSION_WAIT_START; at <= SESSION_ENDED; at++, cells++) {
            struct peer p = { 0 };
            char expected = connection_cells(info->id)[at - SESSION_WAIT_START];
            if (expected == 'o') continue;
            peer_init(&p);
            peer_bring(&p, at);
            size_t leaving = p.session.out.size;
            p.mute = true;
            peer_say_method(&p, is_connection_method(info->id) ? 0 : 1, info->id, NULL);
            if (at == SESSION_LEAVING) assert_int_equal(p.session.out.size, leaving);
            char found = seen(&p, at);
            if (found != expected) fail_msg("%s in state %d: '%c', expected '%c'", info->name, (int)at, found, expected);
            peer_deinit(&p);
        }
    }
    assert_int_equal(cells, METHOD_COUNT * 11);
}

/* ---------------------------------------------------------------- a channel's states x all methods */

/*
 * Opening, open, closing (1.5.2):
 *   O  it opens    m  an event with the method    c  a content begins    E  channel.close: close-ok, an event, gone
 *   a  channel.flow: flow-ok, an event
 *   F  close-ok: an event, gone    x  connection.close 503    .  discarded
 */
static const struct {
    uint32_t method;
    const char *cells;
} channel_table[] = {
    { METHOD_CHANNEL_OPEN_OK, "Ox." },     { METHOD_CHANNEL_FLOW, "xa." },
    { METHOD_CHANNEL_FLOW_OK, "xm." },     { METHOD_CHANNEL_CLOSE, "EEE" },
    { METHOD_CHANNEL_CLOSE_OK, "xxF" },    { METHOD_ACCESS_REQUEST_OK, "xm." },
    { METHOD_EXCHANGE_DECLARE_OK, "xm." }, { METHOD_EXCHANGE_DELETE_OK, "xm." },
    { METHOD_EXCHANGE_BIND_OK, "xm." },    { METHOD_EXCHANGE_UNBIND_OK, "xm." },
    { METHOD_QUEUE_DECLARE_OK, "xm." },    { METHOD_QUEUE_BIND_OK, "xm." },
    { METHOD_QUEUE_UNBIND_OK, "xm." },     { METHOD_QUEUE_PURGE_OK, "xm." },
    { METHOD_QUEUE_DELETE_OK, "xm." },     { METHOD_BASIC_QOS_OK, "xm." },
    { METHOD_BASIC_CONSUME_OK, "xm." },    { METHOD_BASIC_CANCEL, "xm." }, /* RabbitMQ: consumer_cancel_notify */
    { METHOD_BASIC_CANCEL_OK, "xm." },     { METHOD_BASIC_RETURN, "xc." },
    { METHOD_BASIC_DELIVER, "xc." },       { METHOD_BASIC_GET_OK, "xc." },
    { METHOD_BASIC_GET_EMPTY, "xm." },     { METHOD_BASIC_ACK, "xm." }, /* RabbitMQ: publisher_confirms */
    { METHOD_BASIC_NACK, "xm." },                                       /* likewise */
    { METHOD_BASIC_RECOVER_OK, "xm." },    { METHOD_CONFIRM_SELECT_OK, "xm." },
    { METHOD_TX_SELECT_OK, "xm." },        { METHOD_TX_COMMIT_OK, "xm." },
    { METHOD_TX_ROLLBACK_OK, "xm." },      { 0, "xx." }, /* what only a client may say */
};

static const char *channel_cells(uint32_t method) {
    size_t i = 0;
    while (channel_table[i].method && channel_table[i].method != method) i++;
    return channel_table[i].cells;
}

static bool starts(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

static char seen_on_channel(struct peer *p, const struct method_info *info) {
    struct session_event event;
    bool is_gone = session_channel_owner(&p->session, 1) == NULL;
    const char *events = peer_events(p);
    char spoken[64];
    snprintf(spoken, sizeof(spoken), "method 1 one %s", info->name);
    if (p->session.state == SESSION_FAILED) return failed_with(p, SESSION_OPEN, REPLY_COMMAND_INVALID) ? 'x' : '?';
    const char *frames = peer_frames(p);
    bool answered = strcmp(frames, "1 channel.close-ok\n") == 0;
    if (strcmp(frames, "1 channel.flow-ok\n") == 0) return starts(events, spoken) ? 'a' : '?';
    if (!answered && frames[0] != '\0') return '?';
    if (starts(events, "channel-open 1 one")) return is_gone ? '?' : 'O';
    if (starts(events, "channel-close 1 one channel.close")) return answered && is_gone ? 'E' : '?';
    if (starts(events, "closed 1 one")) return !answered && is_gone ? 'F' : '?';
    if (starts(events, spoken)) return 'm';
    if (events[0] != '\0' || is_gone) return '?';
    /* a content has begun if a header is welcome now */
    struct bytes b = { 0 };
    bytes_header(&b, 1, 0, NULL);
    session_input(&p->session, b.data, b.size, p->now);
    bool begun = session_next_event(&p->session, &event) == 1 && event.type == SESSION_EVENT_CONTENT && event.info == info;
    peer_pull(p);
    bytes_free(&b);
    return begun ? 'c' : '.';
}

static void bring_channel(struct peer *p, int at) {
    static char one[] = "one";
    struct bytes b = { 0 };
    peer_init(p);
    assert_int_equal(session_start(&p->session, p->now), 0);
    bytes_handshake(&b);
    peer_say(p, &b);
    assert_int_equal(session_channel_open(&p->session, one), 1);
    if (at > 0) peer_say_method(p, 1, METHOD_CHANNEL_OPEN_OK, NULL);
    if (at > 1) assert_int_equal(session_channel_close(&p->session, 1, REPLY_SUCCESS, "bye"), 0);
    (void)peer_frames(p);
    (void)peer_events(p);
}

static void every_method_in_every_state_of_a_channel(void **state) {
    (void)state;
    const struct method_info *info;
    for (size_t i = 0; (info = method_at(i)) != NULL; i++) {
        for (int at = 0; at < 3 && !is_connection_method(info->id); at++) {
            struct peer p = { 0 };
            char expected = channel_cells(info->id)[at];
            bring_channel(&p, at);
            peer_say_method(&p, 1, info->id, NULL);
            char found = seen_on_channel(&p, info);
            if (found != expected) fail_msg("%s in channel state %d: '%c', expected '%c'", info->name, at, found, expected);
            peer_deinit(&p);
        }
    }
}

/* 4.2.3: connection methods belong to channel 0 and only they (503); a channel that is not open is 504. */
static void every_method_on_a_wrong_channel(void **state) {
    (void)state;
    const struct method_info *info;
    for (size_t i = 0; (info = method_at(i)) != NULL; i++) {
        bool lone = is_connection_method(info->id);
        struct peer p = { 0 };
        peer_open(&p);
        peer_say_method(&p, lone ? 1 : 0, info->id, NULL);
        assert_true(failed_with(&p, SESSION_OPEN, REPLY_COMMAND_INVALID));
        peer_deinit(&p);
        peer_open(&p);
        peer_say_method(&p, 3, info->id, NULL);
        assert_true(failed_with(&p, SESSION_OPEN, lone || !info->from_server ? REPLY_COMMAND_INVALID : REPLY_CHANNEL_ERROR));
        assert_string_equal(peer_events(&p), "");
        peer_deinit(&p);
    }
}

/* ---------------------------------------------------------------- frames that are none (4.2.3, 4.2.7) */

/* Input that breaks framing: one close with this code, nothing delivered, and the session comes to its end. */
static void assert_refused(const void *data, size_t size, uint16_t reply_code) {
    for (size_t cut = 0; cut < (size < 16 ? size : 16); cut++) {
        struct peer p = { 0 };
        peer_open(&p);
        if (cut > 0) peer_feed(&p, data, cut);
        peer_feed(&p, (const uint8_t *)data + cut, size - cut);
        assert_true(failed_with(&p, SESSION_OPEN, reply_code));
        assert_string_equal(peer_events(&p), "");
        peer_say_method(&p, 1, METHOD_BASIC_CANCEL_OK, NULL);
        peer_pass(&p, 2000);
        assert_string_equal(peer_events(&p), reply_code == REPLY_FRAME_ERROR    ? "ended LAGO_EPROTOCOL 501\n"
                                             : reply_code == REPLY_SYNTAX_ERROR ? "ended LAGO_EPROTOCOL 502\n"
                                                                                : "ended LAGO_EPROTOCOL 540\n");
        peer_deinit(&p);
    }
}

static void unknown_frame_types_are_frame_errors(void **state) {
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        struct bytes b = { 0 };
        if (type == FRAME_METHOD || type == FRAME_HEADER || type == FRAME_BODY || type == FRAME_HEARTBEAT) continue;
        bytes_frame(&b, type, 0, "abc", 3);
        assert_refused(b.data, b.size, REPLY_FRAME_ERROR);
        bytes_free(&b);
    }
    assert_refused(PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE, REPLY_FRAME_ERROR);
}

static void wrong_end_octets_are_frame_errors(void **state) {
    (void)state;
    static const unsigned types[] = { FRAME_METHOD, FRAME_HEARTBEAT };
    for (size_t i = 0; i < 2; i++) {
        struct bytes b = { 0 };
        if (types[i] == FRAME_METHOD)
            bytes_method(&b, 1, METHOD_BASIC_CANCEL_OK, NULL);
        else
            bytes_frame(&b, types[i], 0, NULL, 0);
        b.data[b.size - 1] ^= 1;
        bytes_frame(&b, FRAME_HEARTBEAT, 0, NULL, 0);
        assert_refused(b.data, b.size, REPLY_FRAME_ERROR);
        bytes_free(&b);
    }
}

static void wrong_end_octet_behind_a_body(void **state) {
    (void)state;
    struct bytes b = { 0 };
    bytes_deliver(&b, 1, 1, 100, 4096);
    b.data[b.size - 1] = 0;
    for (size_t cut = 0; cut < b.size; cut++) {
        struct peer p = { 0 };
        peer_open(&p);
        if (cut > 0) peer_feed(&p, b.data, cut);
        peer_feed(&p, b.data + cut, b.size - cut);
        assert_true(failed_with(&p, SESSION_OPEN, REPLY_FRAME_ERROR));
        assert_string_equal(peer_events(&p), "");
        peer_deinit(&p);
    }
    bytes_free(&b);
}

/* The size is judged by the header alone: nothing is stored for it (4.2.3; S2, S3). */
static void sizes_up_to_frame_max(void **state) {
    (void)state;
    static const size_t sizes[] = { 4089, 4096, 0x7fffffff, 0x80000000, 0xfffffff7, 0xfffffff8, 0xffffffff };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t header[FRAME_HEADER_SIZE];
        frame_begin(header, FRAME_METHOD, 1, sizes[i]);
        assert_refused(header, sizeof(header), REPLY_FRAME_ERROR);
    }
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    bytes_deliver(&b, 1, 1, 4088, 4096);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "content 1 one basic.deliver consumer_tag=\"c\" delivery_tag=1 routing_key=\"k\" "
                                         "content_type=\"text/plain\" delivery_mode=2 body=4088\n");
    peer_deinit(&p);
}

/* S1: before tuning 8192, what RabbitMQ 4.1 reckons with. */
static void sizes_before_tuning(void **state) {
    (void)state;
    static char mechanisms[8192];
    for (size_t size = 8192 - FRAME_OVERHEAD - 1; size <= 8192 - FRAME_OVERHEAD + 1; size++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        struct connection_start start = { .mechanisms = { mechanisms, size - 18 } };
        peer_init(&p);
        peer_bring(&p, SESSION_WAIT_START);
        p.mute = true;
        size_t before = p.memory.live_bytes;
        bytes_method(&b, 0, METHOD_CONNECTION_START, &start);
        assert_int_equal(b.size, size + FRAME_OVERHEAD);
        bool fits = b.size <= 8192;
        peer_feed(&p, b.data, fits ? b.size : FRAME_HEADER_SIZE);
        assert_int_equal(p.session.state, fits ? SESSION_STARTING : SESSION_ENDED);
        if (!fits) assert_true(p.memory.live_bytes <= before + sizeof(lago_reason_t));
        bytes_free(&b);
        peer_deinit(&p);
    }
}

static void heartbeats_are_empty_and_on_channel_0(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct peer p = { 0 };
    peer_open(&p);
    bytes_frame(&b, FRAME_HEARTBEAT, 0, NULL, 0);
    peer_say(&p, &b);
    assert_int_equal(p.session.state, SESSION_OPEN);
    assert_int_equal(p.session.out.size, 0); /* they are not answered */
    peer_deinit(&p);
    bytes_frame(&b, FRAME_HEARTBEAT, 1, NULL, 0);
    assert_refused(b.data, b.size, REPLY_FRAME_ERROR);
    bytes_free(&b);
    bytes_frame(&b, FRAME_HEARTBEAT, 0, "x", 1);
    assert_refused(b.data, b.size, REPLY_FRAME_ERROR);
    bytes_free(&b);
}

static void methods_that_do_not_exist_or_are_cut_short(void **state) {
    (void)state;
    struct bytes b = { 0 }, whole = { 0 };
    for (size_t size = 0; size < 4; size++) {
        bytes_frame(&b, FRAME_METHOD, 1, "\0\74\0\37", size);
        assert_refused(b.data, b.size, REPLY_FRAME_ERROR);
        bytes_free(&b);
    }
    bytes_frame(&b, FRAME_METHOD, 1, "\0\74\0\377", 4); /* 60, 255 */
    assert_refused(b.data, b.size, REPLY_NOT_IMPLEMENTED);
    bytes_free(&b);
    bytes_method(&whole, 1, METHOD_QUEUE_DECLARE_OK, NULL);
    for (size_t size = 4; size < whole.size - FRAME_OVERHEAD; size++) {
        bytes_frame(&b, FRAME_METHOD, 1, whole.data + FRAME_HEADER_SIZE, size);
        assert_refused(b.data, b.size, REPLY_SYNTAX_ERROR);
        bytes_free(&b);
    }
    bytes_frame(&b, FRAME_METHOD, 1, whole.data + FRAME_HEADER_SIZE, whole.size - FRAME_HEADER_SIZE); /* one octet too many */
    assert_refused(b.data, b.size, REPLY_SYNTAX_ERROR);
    bytes_free(&b);
    bytes_free(&whole);
}

/* 1.4.2.4 says all methods: also those that nobody knows. */
static void unknown_methods_after_our_close_are_dropped(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_CLOSING);
    bytes_frame(&b, FRAME_METHOD, 1, "\0\74\0\377", 4);
    bytes_frame(&b, FRAME_METHOD, 0, "\0\12\0\377", 4);
    bytes_method(&b, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "ended LAGO_ECLOSED 200\n");
    peer_deinit(&p);
}

/* Where the next frame begins nobody knows: what looks like one later is none, so the linger deadline ends it. */
static void what_follows_a_broken_frame_is_dropped(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct peer p = { 0 };
    peer_open(&p);
    bytes_frame(&b, 77, 0, NULL, 0);
    bytes_method(&b, 0, METHOD_CONNECTION_CLOSE, NULL);
    peer_say(&p, &b);
    for (int i = 0; i < 3; i++) peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
    assert_int_equal(p.session.state, SESSION_FAILED);
    assert_string_equal(peer_events(&p), "");
    peer_pass(&p, 1000);
    assert_string_equal(peer_events(&p), "ended LAGO_EPROTOCOL 501\n");
    peer_deinit(&p);
}

static void input_after_the_end_is_ignored(void **state) {
    (void)state;
    struct bytes b = { 0 };
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_ENDED);
    bytes_deliver(&b, 1, 1, 10, 4096);
    peer_feed(&p, b.data, 30);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "");
    assert_string_equal(peer_frames(&p), "");
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_in_every_state),
        cmocka_unit_test(every_method_in_every_state_of_a_channel),
        cmocka_unit_test(every_method_on_a_wrong_channel),
        cmocka_unit_test(unknown_frame_types_are_frame_errors),
        cmocka_unit_test(wrong_end_octets_are_frame_errors),
        cmocka_unit_test(wrong_end_octet_behind_a_body),
        cmocka_unit_test(sizes_up_to_frame_max),
        cmocka_unit_test(sizes_before_tuning),
        cmocka_unit_test(heartbeats_are_empty_and_on_channel_0),
        cmocka_unit_test(methods_that_do_not_exist_or_are_cut_short),
        cmocka_unit_test(unknown_methods_after_our_close_are_dropped),
        cmocka_unit_test(what_follows_a_broken_frame_is_dropped),
        cmocka_unit_test(input_after_the_end_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
