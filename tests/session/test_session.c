/* The life of a conversation: the handshake's answers, the ways to end and what each end says, another attempt. */
#include "peer.h"

static void assert_end(struct peer *p, int code, lago_phase_t phase, lago_origin_t origin) {
    assert_int_equal(p->session.state, SESSION_ENDED);
    assert_int_equal(p->session.reason.code, code);
    assert_int_equal(p->session.reason.phase, phase);
    assert_int_equal(p->session.reason.origin, origin);
}

/* ---------------------------------------------------------------- coming up */

static void nothing_happens_before_start(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct session_event event;
    peer_init(&p);
    assert_int_equal(p.session.state, SESSION_IDLE);
    assert_int_equal(session_next_event(&p.session, &event), 0);
    assert_int_equal(session_output_size(&p.session), 0);
    assert_int_equal(p.memory.calls, 0);
    peer_deinit(&p);
}

static void handshake_is_answered_in_order(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(p.session.out.size, PROTOCOL_HEADER_SIZE);
    assert_string_equal(peer_frames(&p), "protocol-header\n");
    bytes_handshake(&b);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "start\ntune\nopen\n");
    assert_string_equal(peer_frames(&p), "0 connection.start-ok mechanism=\"PLAIN\" response=<secret> locale=\"en_US\"\n"
                                         "0 connection.tune-ok channel_max=8 frame_max=4096\n"
                                         "0 connection.open virtual_host=\"/\"\n");
    assert_int_equal(p.session.state, SESSION_OPEN);
    peer_deinit(&p);
}

static void secure_rounds_lead_back_to_tune(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct connection_secure secure = { .challenge = { "riddle", 6 } };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_TUNE);
    for (int i = 0; i < 3; i++) {
        peer_say_method(&p, 0, METHOD_CONNECTION_SECURE, &secure);
        assert_string_equal(peer_events(&p), "secure\n");
        assert_string_equal(peer_frames(&p), "0 connection.secure-ok response=<secret>\n");
        assert_int_equal(p.session.state, SESSION_WAIT_TUNE);
    }
    p.stop = SESSION_ENDED;
    peer_say_method(&p, 0, METHOD_CONNECTION_TUNE, NULL);
    assert_int_equal(p.session.state, SESSION_OPEN - 1);
    peer_deinit(&p);
}

static void answers_that_do_not_fit_change_nothing(void **state) {
    (void)state;
    struct peer p = { 0 };
    static char large[FRAME_MIN_SIZE];
    struct connection_start_ok ok = { .response = { large, sizeof(large) } };
    peer_init(&p);
    peer_bring(&p, SESSION_STARTING);
    assert_int_equal(session_start_ok(&p.session, &ok), LAGO_ETOOBIG);
    assert_int_equal(p.session.state, SESSION_STARTING);
    assert_int_equal(p.session.out.size, 0);
    p.stop = SESSION_ENDED;
    assert_int_equal(session_start_ok(&p.session, &(struct connection_start_ok){ 0 }), 0);
    p.stop = SESSION_TUNING;
    peer_say_method(&p, 0, METHOD_CONNECTION_TUNE, NULL);
    memset(large, 'v', 256);
    assert_int_equal(session_tune_ok(&p.session, &p.tune, large), LAGO_ETOOLONG);
    assert_int_equal(p.session.state, SESSION_TUNING);
    peer_deinit(&p);
}

static void answers_out_of_turn_are_refused(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_STARTING);
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE, NULL);
    assert_int_equal(p.session.state, SESSION_LEAVING);
    assert_int_equal(session_start_ok(&p.session, &(struct connection_start_ok){ 0 }), LAGO_ECLOSED);
    assert_int_equal(session_secure_ok(&p.session, (lago_bytes_t){ "", 0 }), LAGO_ECLOSED);
    assert_int_equal(session_tune_ok(&p.session, &p.tune, "/"), LAGO_ECLOSED);
    assert_int_equal(p.session.state, SESSION_LEAVING);
    assert_string_equal(peer_frames(&p), "0 connection.close-ok\n");
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- our own goodbye */

static void close_waits_for_close_ok(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    assert_int_equal(session_close(&p.session, REPLY_SUCCESS, "Normal shutdown"), 0);
    assert_int_equal(session_close(&p.session, REPLY_SUCCESS, "again"), LAGO_ECLOSED);
    assert_string_equal(peer_frames(&p), "0 connection.close reply_code=200 reply_text=\"Normal shutdown\"\n");
    assert_string_equal(peer_events(&p), "");
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "ended LAGO_ECLOSED 200\n");
    assert_end(&p, LAGO_ECLOSED, LAGO_PHASE_CLOSING, LAGO_BY_CLIENT);
    peer_pull(&p);
    assert_string_equal(peer_events(&p), "");
    peer_deinit(&p);
}

static void close_is_for_open_connections(void **state) {
    (void)state;
    for (enum session_state at = SESSION_IDLE; at <= SESSION_ENDED; at++) {
        struct peer p = { 0 };
        if (at == SESSION_OPEN) continue;
        peer_init(&p);
        peer_bring(&p, at);
        assert_int_equal(session_close(&p.session, REPLY_SUCCESS, "bye"), LAGO_ECLOSED);
        assert_int_equal(p.session.state, at);
        peer_deinit(&p);
    }
}

static void crossing_closes_are_both_answered(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct connection_close close = { .reply_code = REPLY_CONNECTION_FORCED, .reply_text = { "shutdown", 8 } };
    peer_init(&p);
    peer_bring(&p, SESSION_CLOSING);
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE, &close);
    assert_string_equal(peer_frames(&p), "0 connection.close-ok\n");
    assert_string_equal(peer_events(&p), "");
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "ended LAGO_ECLOSED 200\n");
    peer_deinit(&p);
}

/* A peer that does not read might say it for ever. */
static void a_goodbye_is_answered_once(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct connection_close close = { .reply_code = REPLY_CONNECTION_FORCED, .reply_text = { "shutdown", 8 } };
    struct channel_close channel_close = { .reply_code = REPLY_NOT_FOUND };
    peer_open(&p);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    (void)peer_frames(&p);
    for (int i = 0; i < 3; i++) peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE, &channel_close);
    assert_string_equal(peer_frames(&p), "1 channel.close-ok\n");
    assert_int_equal(session_close(&p.session, REPLY_SUCCESS, "bye"), 0);
    (void)peer_frames(&p);
    (void)peer_events(&p);
    for (int i = 0; i < 3; i++) peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE, &close);
    assert_string_equal(peer_frames(&p), "0 connection.close-ok\n");
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "ended LAGO_ECLOSED 200\n");
    peer_deinit(&p);
}

/* 1.4.2.4: after our close everything but close and close-ok is discarded, deliveries that are under way included. */
static void deliveries_after_our_close_are_dropped(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    bytes_deliver(&b, 1, 1, 10000, 4096);
    peer_feed(&p, b.data, 6000);
    assert_int_equal(session_close(&p.session, REPLY_SUCCESS, "bye"), 0);
    peer_feed(&p, b.data + 6000, b.size - 6000);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "");
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "ended LAGO_ECLOSED 200\n");
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- the broker's goodbye */

static void close_by_broker_ends_when_close_ok_is_written(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct connection_close close = { .reply_code = REPLY_CONNECTION_FORCED,
                                      .reply_text = { "CONNECTION_FORCED - node down", 29 },
                                      .class_id = 60,
                                      .method_id = 40 };
    peer_open(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE, &close);
    assert_string_equal(peer_events(&p), "");
    assert_int_equal(session_send(&p.session, 1, METHOD_CONFIRM_SELECT, &(struct confirm_select){ 0 }), LAGO_ECLOSED);
    peer_write(&p, p.session.out.size - 1);
    peer_pull(&p);
    assert_string_equal(peer_events(&p), "");
    assert_string_equal(peer_frames(&p), "0 connection.close-ok\n");
    assert_string_equal(peer_events(&p), "ended LAGO_ECONNECTION 320\n");
    assert_end(&p, LAGO_ECONNECTION, LAGO_PHASE_RUNNING, LAGO_BY_BROKER);
    assert_string_equal(p.session.reason.whole->reply_text, "CONNECTION_FORCED - node down");
    assert_string_equal(p.session.reason.whole->detail, "the broker closed the connection because of basic.publish");
    assert_int_equal(p.session.reason.class_id, 60);
    assert_int_equal(p.session.reason.method_id, 40);
    peer_deinit(&p);
}

static void close_by_broker_means_what_we_were_doing(void **state) {
    (void)state;
    static const struct {
        enum session_state at;
        uint16_t reply_code;
        int code;
        lago_phase_t phase;
    } rows[] = {
        { SESSION_WAIT_TUNE, REPLY_ACCESS_REFUSED, LAGO_EAUTH, LAGO_PHASE_HANDSHAKE },
        { SESSION_WAIT_TUNE, REPLY_INTERNAL_ERROR, LAGO_ECONNECTION, LAGO_PHASE_HANDSHAKE },
        { SESSION_STARTING, REPLY_CONNECTION_FORCED, LAGO_ECONNECTION, LAGO_PHASE_HANDSHAKE },
        { SESSION_WAIT_OPEN, REPLY_NOT_ALLOWED, LAGO_EACCESS, LAGO_PHASE_OPEN },
        { SESSION_WAIT_OPEN, REPLY_ACCESS_REFUSED, LAGO_EACCESS, LAGO_PHASE_OPEN },
        { SESSION_WAIT_OPEN, REPLY_CONNECTION_FORCED, LAGO_ECONNECTION, LAGO_PHASE_OPEN },
        { SESSION_OPEN, REPLY_ACCESS_REFUSED, LAGO_ECONNECTION, LAGO_PHASE_RUNNING },
        { SESSION_OPEN, 999, LAGO_ECONNECTION, LAGO_PHASE_RUNNING },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct peer p = { 0 };
        struct connection_close close = { .reply_code = rows[i].reply_code };
        peer_init(&p);
        peer_bring(&p, rows[i].at);
        peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE, &close);
        peer_write_all(&p);
        assert_end(&p, rows[i].code, rows[i].phase, LAGO_BY_BROKER);
        assert_int_equal(p.session.reason.reply_code, rows[i].reply_code);
        peer_deinit(&p);
    }
}

/* ---------------------------------------------------------------- the link goes */

static void lost_link_says_what_it_interrupted(void **state) {
    (void)state;
    static const struct {
        enum session_state at;
        int code;
        lago_phase_t phase;
        lago_origin_t origin;
    } rows[] = {
        { SESSION_IDLE, LAGO_ELOST, LAGO_PHASE_CONNECT, LAGO_BY_NETWORK },
        { SESSION_WAIT_START, LAGO_ELOST, LAGO_PHASE_HANDSHAKE, LAGO_BY_NETWORK },
        { SESSION_STARTING, LAGO_ELOST, LAGO_PHASE_HANDSHAKE, LAGO_BY_NETWORK },
        { SESSION_WAIT_TUNE, LAGO_EAUTH, LAGO_PHASE_HANDSHAKE, LAGO_BY_NETWORK },
        { SESSION_SECURING, LAGO_ELOST, LAGO_PHASE_HANDSHAKE, LAGO_BY_NETWORK },
        { SESSION_TUNING, LAGO_ELOST, LAGO_PHASE_HANDSHAKE, LAGO_BY_NETWORK },
        { SESSION_WAIT_OPEN, LAGO_EACCESS, LAGO_PHASE_OPEN, LAGO_BY_NETWORK },
        { SESSION_OPEN, LAGO_ELOST, LAGO_PHASE_RUNNING, LAGO_BY_NETWORK },
        { SESSION_CLOSING, LAGO_ECLOSED, LAGO_PHASE_CLOSING, LAGO_BY_CLIENT },
        { SESSION_FAILED, LAGO_EPROTOCOL, LAGO_PHASE_RUNNING, LAGO_BY_CLIENT },
        { SESSION_LEAVING, LAGO_ECONNECTION, LAGO_PHASE_RUNNING, LAGO_BY_BROKER },
        { SESSION_ENDED, LAGO_ECONNECTION, LAGO_PHASE_RUNNING, LAGO_BY_BROKER },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct peer p = { 0 };
        peer_init(&p);
        peer_bring(&p, rows[i].at);
        session_lost(&p.session, -104, p.now);
        assert_end(&p, rows[i].code, rows[i].phase, rows[i].origin);
        if (rows[i].origin == LAGO_BY_NETWORK) assert_int_equal(p.session.reason.os_error, -104);
        bool told = p.session.reason.whole && strstr(p.session.reason.whole->hint, "it said nothing");
        assert_int_equal(told, rows[i].at == SESSION_WAIT_START);
        peer_pull(&p);
        if (rows[i].at != SESSION_ENDED) assert_non_null(strstr(peer_events(&p), "ended"));
        peer_deinit(&p);
    }
}

static void abandon_is_silent_and_final(void **state) {
    (void)state;
    struct peer p = { 0 };
    lago_reason_t first = { .code = LAGO_ETIMEDOUT }, second = { .code = LAGO_ENOMEM };
    peer_open(&p);
    session_abandon(&p.session, &first);
    session_abandon(&p.session, &second);
    session_fail(&p.session, LAGO_EPROTOCOL, REPLY_FRAME_ERROR, 0, "too late");
    assert_int_equal(p.session.out.size, 0);
    assert_end(&p, LAGO_ETIMEDOUT, LAGO_PHASE_RUNNING, LAGO_BY_CLIENT);
    peer_pull(&p);
    peer_pull(&p);
    assert_string_equal(peer_events(&p), "ended LAGO_ETIMEDOUT\n");
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- broken protocol */

static void failure_is_told_once(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    session_fail(&p.session, LAGO_EPROTOCOL, REPLY_NOT_ALLOWED, METHOD_BASIC_DELIVER, "unknown consumer '%s'", "c");
    session_fail(&p.session, LAGO_EPROTOCOL, REPLY_FRAME_ERROR, 0, "again");
    assert_string_equal(peer_frames(&p), "0 connection.close reply_code=530 reply_text=\"unknown consumer 'c'\" class_id=60 "
                                         "method_id=60\n");
    assert_int_equal(p.session.state, SESSION_FAILED);
    peer_say_method(&p, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "ended LAGO_EPROTOCOL 530\n");
    peer_deinit(&p);
}

/* After our own close there is nothing more to say: a peer that breaks framing then ends it at once. */
static void failure_after_our_close_says_nothing(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_CLOSING);
    peer_feed(&p, "GET / HTTP/1.1", 14);
    assert_string_equal(peer_frames(&p), "");
    assert_int_equal(p.close_count, 1);
    assert_end(&p, LAGO_EPROTOCOL, LAGO_PHASE_CLOSING, LAGO_BY_CLIENT);
    peer_deinit(&p);
}

static void failure_without_memory_still_ends(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    fail_alloc_at(&p.memory, 1, true);
    peer_say_method(&p, 7, METHOD_BASIC_CANCEL_OK, NULL);
    assert_end(&p, LAGO_EPROTOCOL, LAGO_PHASE_RUNNING, LAGO_BY_CLIENT);
    assert_string_equal(peer_events(&p), "ended LAGO_EPROTOCOL 504\n");
    peer_deinit(&p);
}

/* ---------------------------------------------------------------- another attempt */

static void next_attempt_keeps_what_was_held(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_OPEN);
    assert_int_equal(peer_publish(&p, 1, 5000), 0);
    size_t held = session_output_size(&p.session);
    session_lost(&p.session, -104, p.now);
    peer_pull(&p);
    (void)peer_events(&p);
    p.stop = SESSION_ENDED;
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(session_output_size(&p.session), held + PROTOCOL_HEADER_SIZE);
    assert_string_equal(peer_frames(&p), "protocol-header\n");
    bytes_handshake(&b);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "start\ntune\nopen\n");
    assert_non_null(strstr(peer_frames(&p), "1 channel.open\n2 channel.open\n1 basic.publish routing_key=\"q\"\n"
                                            "1 header 5000\n1 body 4088\n1 body 912\n"));
    assert_int_equal(session_publishes_sent(&p.session, 1), 1);
    session_lost(&p.session, -104, p.now);
    peer_pull(&p);
    assert_string_equal(peer_events(&p), "ended LAGO_ELOST\n");
    peer_deinit(&p);
}

/* A start-ok that was never written, and half a frame that was never completed, are no part of the next attempt. */
static void next_attempt_forgets_the_last_link(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    bytes_handshake(&b);
    peer_feed(&p, b.data, b.size - 20);
    session_lost(&p.session, 0, p.now);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_string_equal(peer_frames(&p), "protocol-header\n");
    (void)peer_events(&p);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "start\ntune\nopen\n");
    peer_deinit(&p);
}

/* Nor is what was agreed there: before tuning a frame may be larger than it has to be later (4.2.3, RabbitMQ). */
static void next_attempt_agrees_anew(void **state) {
    (void)state;
    static char mechanisms[6000];
    memset(mechanisms, 'x', sizeof(mechanisms));
    struct connection_start start = { .version_minor = 9, .mechanisms = { mechanisms, sizeof(mechanisms) } };
    struct peer p = { 0 };
    peer_open(&p);
    assert_int_equal(p.session.tune.frame_max, 4096);
    session_lost(&p.session, -104, p.now);
    peer_pull(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(p.session.tune.frame_max, 0);
    (void)peer_events(&p);
    p.stop = SESSION_ENDED;
    peer_say_method(&p, 0, METHOD_CONNECTION_START, &start);
    assert_string_equal(peer_events(&p), "start\n");
    peer_deinit(&p);
}

/* Between attempts the session rests: what is sent is held, no end is told, and the next attempt brings it all. */
static void rest_keeps_what_is_sent_meanwhile(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_TUNE);
    session_lost(&p.session, -104, p.now);
    session_rest(&p.session);
    peer_pull(&p);
    assert_string_equal(peer_events(&p), "");
    assert_int_equal(p.session.state, SESSION_IDLE);
    assert_int_equal(session_deadline(&p.session), UINT64_MAX);
    assert_int_equal(peer_publish(&p, 2, 10), 0);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    p.stop = SESSION_ENDED;
    assert_int_equal(session_start(&p.session, p.now), 0);
    bytes_handshake(&b);
    peer_say(&p, &b);
    assert_non_null(strstr(peer_frames(&p), "1 channel.open\n2 channel.open\n2 basic.publish routing_key=\"q\"\n2 header 10\n"
                                            "2 body 10\n1 channel.close reply_code=200 reply_text=\"bye\"\n"));
    peer_deinit(&p);
}

static void every_state_has_a_phase(void **state) {
    (void)state;
    static const lago_phase_t phases[] = { LAGO_PHASE_CONNECT,   LAGO_PHASE_HANDSHAKE, LAGO_PHASE_HANDSHAKE, LAGO_PHASE_HANDSHAKE,
                                           LAGO_PHASE_HANDSHAKE, LAGO_PHASE_HANDSHAKE, LAGO_PHASE_OPEN,      LAGO_PHASE_RUNNING,
                                           LAGO_PHASE_CLOSING,   LAGO_PHASE_CLOSING,   LAGO_PHASE_CLOSING,   LAGO_PHASE_CLOSING };
    for (enum session_state at = SESSION_IDLE; at <= SESSION_ENDED; at++) assert_int_equal(session_phase(at), phases[at]);
}

/* ---------------------------------------------------------------- without memory, and too late */

/* An answer that could not be written was not given: it may be given again. */
static void answers_without_memory_may_be_given_again(void **state) {
    (void)state;
    struct connection_start_ok ok = { .mechanism = { "PLAIN", 5 }, .locale = { "en_US", 5 } };
    for (int question = 0; question < 2; question++) {
        struct peer p = { 0 };
        peer_init(&p);
        p.mute = true;
        peer_bring(&p, SESSION_WAIT_START);
        peer_say_method(&p, 0, METHOD_CONNECTION_START, NULL);
        if (question == 1) {
            assert_int_equal(session_start_ok(&p.session, &ok), 0);
            peer_say_method(&p, 0, METHOD_CONNECTION_SECURE, NULL);
        }
        (void)peer_frames(&p);
        enum session_state asked = p.session.state;
        fail_alloc_at(&p.memory, 1, true);
        int rc = question ? session_secure_ok(&p.session, (lago_bytes_t){ "x", 1 }) : session_start_ok(&p.session, &ok);
        assert_int_equal(rc, LAGO_ENOMEM);
        assert_int_equal(p.session.state, asked);
        fail_alloc_at(&p.memory, 0, false);
        rc = question ? session_secure_ok(&p.session, (lago_bytes_t){ "x", 1 }) : session_start_ok(&p.session, &ok);
        assert_int_equal(rc, 0);
        assert_int_equal(p.session.state, SESSION_WAIT_TUNE);
        peer_deinit(&p);
    }
}

/* TLS can tell that somebody has cut the link: no system error then. */
static void a_cut_link_during_login_has_no_system_error(void **state) {
    (void)state;
    static const enum session_state states[] = { SESSION_WAIT_TUNE, SESSION_WAIT_OPEN };
    for (size_t i = 0; i < 2; i++) {
        for (int cut = 0; cut < 2; cut++) {
            struct peer p = { 0 };
            peer_init(&p);
            peer_bring(&p, states[i]);
            session_lost(&p.session, cut ? LAGO_ETRUNCATED : -104, p.now);
            assert_int_equal(p.session.reason.code, i == 0 ? LAGO_EAUTH : LAGO_EACCESS);
            assert_int_equal(p.session.reason.os_error, cut ? 0 : -104);
            peer_deinit(&p);
        }
    }
}

/* A call that comes when all is over, or for a channel that is not there, does nothing. */
static void too_late(void **state) {
    (void)state;
    struct peer p = { 0 };
    static char name[257];
    memset(name, 'n', 256);
    peer_open(&p);
    assert_false(session_channel_is_stopped(&p.session, 7));
    assert_int_equal(session_ack(&p.session, 7, 1, 2), LAGO_ECLOSED);
    assert_int_equal(peer_publish(&p, 7, 10), LAGO_ECLOSED);
    session_abandon(&p.session, &(lago_reason_t){ .code = LAGO_ELOST });
    session_release_held(&p.session);
    assert_int_equal(session_ack(&p.session, 1, 1, 2), LAGO_ECLOSED);
    peer_deinit(&p);
    peer_init(&p); /* and what cannot be said is not held either */
    peer_bring(&p, SESSION_IDLE);
    struct queue_declare args = { .queue = { name, 256 } };
    assert_int_equal(session_send(&p.session, 1, METHOD_QUEUE_DECLARE, &args), LAGO_ETOOLONG);
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_before_start),
        cmocka_unit_test(handshake_is_answered_in_order),
        cmocka_unit_test(secure_rounds_lead_back_to_tune),
        cmocka_unit_test(answers_that_do_not_fit_change_nothing),
        cmocka_unit_test(answers_out_of_turn_are_refused),
        cmocka_unit_test(close_waits_for_close_ok),
        cmocka_unit_test(close_is_for_open_connections),
        cmocka_unit_test(crossing_closes_are_both_answered),
        cmocka_unit_test(a_goodbye_is_answered_once),
        cmocka_unit_test(deliveries_after_our_close_are_dropped),
        cmocka_unit_test(close_by_broker_ends_when_close_ok_is_written),
        cmocka_unit_test(close_by_broker_means_what_we_were_doing),
        cmocka_unit_test(lost_link_says_what_it_interrupted),
        cmocka_unit_test(abandon_is_silent_and_final),
        cmocka_unit_test(failure_is_told_once),
        cmocka_unit_test(failure_after_our_close_says_nothing),
        cmocka_unit_test(failure_without_memory_still_ends),
        cmocka_unit_test(next_attempt_keeps_what_was_held),
        cmocka_unit_test(next_attempt_forgets_the_last_link),
        cmocka_unit_test(next_attempt_agrees_anew),
        cmocka_unit_test(rest_keeps_what_is_sent_meanwhile),
        cmocka_unit_test(every_state_has_a_phase),
        cmocka_unit_test(answers_without_memory_may_be_given_again),
        cmocka_unit_test(a_cut_link_during_login_has_no_system_error),
        cmocka_unit_test(too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
