/* Frames in words: one line each, bodies as sizes, no secrets, no control characters. */
#include "peer.h"

static const char *trace_of(struct peer *p) {
    bytes_add(&p->trace, "", 1);
    p->trace.size = 0;
    return (const char *)p->trace.data;
}

static void a_conversation_in_words(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    bytes_handshake(&b);
    peer_say(&p, &b);
    assert_string_equal(trace_of(&p), "C protocol-header 0-9-1\n"
                                      "S 0 connection.start version_minor=9 mechanisms=\"PLAIN\" locales=\"en_US\"\n"
                                      "C 0 connection.start-ok mechanism=\"PLAIN\" response=<secret> locale=\"en_US\"\n"
                                      "S 0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60\n"
                                      "C 0 connection.tune-ok channel_max=8 frame_max=4096\n"
                                      "C 0 connection.open virtual_host=\"/\"\n"
                                      "S 0 connection.open-ok\n");
    peer_deinit(&p);
}

static void messages_in_words(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    bytes_deliver(&b, 1, 5, 5000, 4096);
    bytes_frame(&b, FRAME_HEARTBEAT, 0, NULL, 0);
    peer_say(&p, &b);
    assert_int_equal(peer_publish(&p, 2, 3), 0);
    assert_int_equal(peer_publish(&p, 2, 5000), 0);
    assert_string_equal(
        trace_of(&p), "S 1 basic.deliver consumer_tag=\"c\" delivery_tag=5 routing_key=\"k\"\n"
                      "S 1 header body_size=5000 content_type=\"text/plain\" delivery_mode=2\n"
                      "S 1 body size=4088\nS 1 body size=912\nS 0 heartbeat\n"
                      "C 2 basic.publish routing_key=\"q\"\nC 2 header body_size=3\nC 2 body size=3\n"
                      "C 2 basic.publish routing_key=\"q\"\nC 2 header body_size=5000\nC 2 body size=4088\nC 2 body size=912\n");
    assert_int_equal(p.session.counters.frames_received, 3 + 2 + 5); /* handshake, channels */
    peer_deinit(&p);
}

/* What is held is told when it leaves, not before. */
static void held_messages_are_told_when_they_leave(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(peer_publish(&p, 2, 3), 0);
    assert_string_equal(trace_of(&p), "S 0 connection.blocked\n");
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    assert_string_equal(trace_of(&p), "S 0 connection.unblocked\nC 2 basic.publish routing_key=\"q\"\n"
                                      "C 2 header body_size=3\nC 2 body size=3\n");
    peer_deinit(&p);
}

static void secrets_are_masked(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct connection_update_secret args = { .new_secret = { PASSWORD, sizeof(PASSWORD) - 1 }, .reason = { "rotated", 7 } };
    struct connection_secure secure = { .challenge = { PASSWORD, sizeof(PASSWORD) - 1 } };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_TUNE);
    peer_say_method(&p, 0, METHOD_CONNECTION_SECURE, &secure);
    assert_string_equal(trace_of(&p), "S 0 connection.secure challenge=<secret>\nC 0 connection.secure-ok response=<secret>\n");
    peer_deinit(&p);
    peer_open(&p);
    assert_int_equal(session_send(&p.session, 0, METHOD_CONNECTION_UPDATE_SECRET, &args), 0);
    assert_string_equal(trace_of(&p), "C 0 connection.update-secret new_secret=<secret> reason=\"rotated\"\n");
    peer_deinit(&p);
}

/* Peer text is escaped, malformed frames are told as such, long ones are cut: a line stays a line (S66). */
static void hostile_frames_are_one_line_each(void **state) {
    (void)state;
    char text[255];
    struct peer p = { 0 };
    struct bytes b = { 0 };
    for (size_t i = 0; i < sizeof(text); i++) text[i] = (char)(i + 1);
    struct connection_close close = { .reply_code = 320, .reply_text = { text, sizeof(text) } };
    struct basic_deliver deliver = { { text, 255 }, 1, true, { text, 255 }, { text, 255 } };
    peer_open(&p);
    bytes_method(&b, 1, METHOD_BASIC_DELIVER, &deliver);
    bytes_frame(&b, FRAME_HEADER, 1, "", 0);
    bytes_frame(&b, FRAME_METHOD, 1, "\0\74\0\74", 4);
    bytes_frame(&b, FRAME_METHOD, 9, "\1\2\3", 3);
    bytes_method(&b, 0, METHOD_CONNECTION_CLOSE, &close);
    peer_say(&p, &b);
    const char *trace = trace_of(&p);
    size_t lines = 0;
    for (const char *at = trace; *at; at++) {
        assert_true(*at == '\n' || (*at >= ' ' && *at <= '~'));
        lines += *at == '\n';
    }
    assert_int_equal(lines, 5 + 2); /* our close, our close-ok */
    assert_non_null(strstr(trace, "\nS 1 header malformed\n"));
    assert_non_null(strstr(trace, "\nS 1 basic.deliver malformed\n"));
    assert_non_null(strstr(trace, "\nS 9 method malformed\n"));
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_in_words),
        cmocka_unit_test(messages_in_words),
        cmocka_unit_test(held_messages_are_told_when_they_leave),
        cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(hostile_frames_are_one_line_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
