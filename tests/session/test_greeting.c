/* Strangers at the other end, told by their first bytes. */
#include "peer.h"

static const struct {
    const char *bytes;
    size_t size;
    int code;
    const char *detail;
} strangers[] = {
    { "AMQP\0\0\11\1", 8, LAGO_EVERSION, "offers 0.0.9.1" },
    { "AMQP\3\1\0\0", 8, LAGO_EVERSION, "offers 3.1.0.0" }, /* RabbitMQ 4: AMQP 1.0 with SASL */
    { "AMQP\1\1\0\12", 8, LAGO_EVERSION, "offers 1.1.0.10" },
    { "\25\3\1\0\2\2\26", 7, LAGO_ENOTAMQP, "speaks TLS" }, /* an alert: 7 bytes, then the link goes */
    { "\25\3\3\0\2\2\50abc", 10, LAGO_ENOTAMQP, "speaks TLS" },
    { "\26\3\1\0\245\1\0\0", 8, LAGO_ENOTAMQP, "speaks TLS" },
    { "HTTP/1.1 400 Bad Request\r\n\r\n", 28, LAGO_ENOTAMQP, "an HTTP server" },
    { "SSH-2.0-OpenSSH_9.2\r\n", 21, LAGO_ENOTAMQP, "an SSH server" },
    { "220 mail ESMTP\r\n", 16, LAGO_ENOTAMQP, "said \"220 mail\"" },
    { "\33[2J\0\377\n\"", 8, LAGO_ENOTAMQP, "said \"\\x1b[2J\\x00\\xff\\n\\\"\"" },
    { "x", 1, LAGO_ENOTAMQP, "said \"x\"" },
    { "\25\4\1\0\2\2\26x", 8, LAGO_ENOTAMQP, "said \"\\x15\\x04" },
    { "\26\4\1\0\2\2\26x", 8, LAGO_ENOTAMQP, "said \"\\x16\\x04" },
    { "AMQ/5.18", 8, LAGO_ENOTAMQP, "said \"AMQ/5.18\"" },
    { "HTTPS?\r\n", 8, LAGO_ENOTAMQP, "said \"HTTPS?" },
    { "SSH1.5\r\n", 8, LAGO_ENOTAMQP, "said \"SSH1.5" },
    { "AMQP\0\0", 6, LAGO_EVERSION, "does not speak AMQP 0-9-1" },
    { "\10\0\0\0\0\0\0\316", 8, LAGO_ENOTAMQP, "said" }, /* a heartbeat is no greeting */
};

/* However it is cut: the stranger is told by its first eight bytes, or by what came before it hung up. */
static void strangers_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        for (size_t cut = 0; cut < strangers[i].size; cut++) {
            struct peer p = { 0 };
            peer_init(&p);
            peer_bring(&p, SESSION_WAIT_START);
            if (cut > 0) peer_feed(&p, strangers[i].bytes, cut);
            peer_feed(&p, strangers[i].bytes + cut, strangers[i].size - cut);
            if (strangers[i].size < 8) assert_int_equal(p.session.state, SESSION_WAIT_START);
            if (strangers[i].size < 8) session_lost(&p.session, -104, p.now);
            assert_int_equal(p.session.state, SESSION_ENDED);
            assert_int_equal(p.session.reason.code, strangers[i].code);
            assert_int_equal(p.session.reason.phase, LAGO_PHASE_HANDSHAKE);
            if (!strstr(p.session.reason.whole->detail, strangers[i].detail))
                fail_msg("%zu: %s", i, p.session.reason.whole->detail);
            assert_true(p.session.reason.whole->hint[0] != '\0');
            assert_string_equal(peer_frames(&p), ""); /* nothing is said to a stranger */
            peer_deinit(&p);
        }
    }
}

static void who_hangs_up_silently_is_lost(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_START);
    bytes_method(&b, 0, METHOD_CONNECTION_START, NULL);
    peer_feed(&p, b.data, 9); /* it began as a broker */
    bytes_free(&b);
    session_lost(&p.session, 0, p.now);
    assert_int_equal(p.session.reason.code, LAGO_ELOST);
    peer_deinit(&p);
}

/* S8: "AMQP" is a greeting at the beginning only. */
static void greetings_come_first_or_not_at_all(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_TUNE);
    peer_feed(&p, PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE);
    assert_int_equal(p.session.state, SESSION_FAILED);
    assert_int_equal(p.session.reason.code, LAGO_EPROTOCOL);
    assert_int_equal(p.session.reason.reply_code, REPLY_FRAME_ERROR);
    peer_deinit(&p);
}

/* Eight bytes are all that is ever kept of a stranger's speech, beside what is told about it. */
static void strangers_get_no_memory(void **state) {
    (void)state;
    static char flood[1 << 20] = "HTTP/1.1 200 OK";
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_START);
    p.memory.peak_both_bytes = p.memory.live_bytes;
    size_t live = p.memory.live_bytes;
    peer_feed(&p, flood, sizeof(flood));
    assert_true(p.memory.peak_both_bytes <= live + 8 + sizeof(lago_reason_t));
    assert_string_equal(peer_events(&p), "ended LAGO_ENOTAMQP\n");
    peer_deinit(&p);
}

static void strangers_without_memory(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_START);
    fail_alloc_at(&p.memory, 1, true);
    peer_feed(&p, "HTTP/1.1", 8);
    assert_string_equal(peer_events(&p), "ended LAGO_ENOMEM\n");
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_are_named),
        cmocka_unit_test(who_hangs_up_silently_is_lost),
        cmocka_unit_test(greetings_come_first_or_not_at_all),
        cmocka_unit_test(strangers_get_no_memory),
        cmocka_unit_test(strangers_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
