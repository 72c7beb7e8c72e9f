/*
 * Answers before the questions: what goes ahead and what stays, that a broker asks in any case, and that nothing is lost or said
 * twice when the link comes to nothing.
 */
#include "peer.h"

#define HEADER "protocol-header\n"
#define ANSWERS                                                                                                                  \
    "0 connection.start-ok mechanism=\"PLAIN\" response=<secret> locale=\"en_US\"\n"                                             \
    "0 connection.tune-ok channel_max=8 frame_max=4096\n0 connection.open virtual_host=\"/\"\n"

static const lago_tune_t assumed = { .channel_max = 8, .frame_max = 4096 };

static int go_ahead(struct peer *p, const lago_tune_t *tune) {
    struct connection_start_ok ok = { .mechanism = { "PLAIN", 5 },
                                      .response = { PASSWORD, sizeof(PASSWORD) - 1 },
                                      .locale = { "en_US", 5 } };
    return session_go_ahead(&p->session, &ok, tune, "/");
}

static int declare(struct peer *p, uint16_t channel, const char *name) {
    struct queue_declare args = { .queue = { name, LAGO_NUL_TERMINATED } };
    return session_send(&p->session, channel, METHOD_QUEUE_DECLARE, &args);
}

/* Two channels that wait for a link; the questions are answered by session_assumed. */
static void begin(struct peer *p) {
    peer_init(p);
    peer_bring(p, SESSION_IDLE);
    p->mute = true;
    assert_int_equal(declare(p, 1, "q"), 0);
}

static void ask(struct peer *p, uint32_t method) {
    struct connection_start start = { .version_minor = 9, .mechanisms = { "PLAIN", 5 }, .locales = { "en_US", 5 } };
    struct connection_tune tune = { .channel_max = 8, .frame_max = 4096 };
    const void *args = method == METHOD_CONNECTION_START  ? (const void *)&start
                       : method == METHOD_CONNECTION_TUNE ? (const void *)&tune
                                                          : NULL;
    peer_say_method(p, 0, method, args);
}

static void open_ok(struct peer *p) {
    ask(p, METHOD_CONNECTION_START);
    assert_int_equal(session_assumed(&p->session), 0);
    ask(p, METHOD_CONNECTION_TUNE);
    assert_int_equal(session_assumed(&p->session), 0);
    assert_int_equal(p->session.tune.frame_max, 4096);
    ask(p, METHOD_CONNECTION_OPEN_OK);
    assert_int_equal(p->session.state, SESSION_OPEN);
    session_release_held(&p->session);
}

static void everything_in_one_piece(void **state) {
    (void)state;
    struct peer p = { 0 };
    begin(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(go_ahead(&p, &assumed), 0);
    assert_int_equal(p.session.state, SESSION_WAIT_START);
    assert_int_equal(p.session.tune.frame_max, 0);
    assert_string_equal(peer_frames(&p), HEADER ANSWERS "1 channel.open\n2 channel.open\n1 queue.declare queue=\"q\"\n");
    open_ok(&p);
    assert_string_equal(peer_frames(&p), "");
    assert_int_equal(session_output_size(&p.session), 0);
    assert_string_equal(peer_events(&p), "start\ntune\nopen\n");
    peer_deinit(&p);
}

/* A channel waits from the first thing on that may not be said twice. */
static void what_may_not_go_ahead_stays(void **state) {
    (void)state;
    struct peer p = { 0 };
    begin(&p);
    assert_int_equal(session_send(&p.session, 1, METHOD_QUEUE_PURGE, &(struct queue_purge){ .queue = { "q", 1 } }), 0);
    assert_int_equal(declare(&p, 1, "behind"), 0);
    assert_int_equal(declare(&p, 2, ""), 0);
    assert_int_equal(session_send(&p.session, 0, METHOD_CONNECTION_UPDATE_SECRET, &(struct connection_update_secret){ 0 }), 0);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(go_ahead(&p, &assumed), 0);
    assert_string_equal(peer_frames(&p), HEADER ANSWERS "1 channel.open\n2 channel.open\n1 queue.declare queue=\"q\"\n");
    open_ok(&p);
    assert_string_equal(peer_frames(&p), "1 queue.purge queue=\"q\"\n1 queue.declare queue=\"behind\"\n2 queue.declare\n"
                                         "0 connection.update-secret\n");
    peer_deinit(&p);
}

static void another_link_says_it_again(void **state) {
    (void)state;
    struct peer p = { 0 };
    begin(&p);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(session_start(&p.session, p.now), 0);
        assert_int_equal(go_ahead(&p, &assumed), 0);
        assert_string_equal(peer_frames(&p), HEADER ANSWERS "1 channel.open\n2 channel.open\n1 queue.declare queue=\"q\"\n");
        session_rest(&p.session);
        assert_false(p.session.ahead);
    }
    p.mute = false;
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_string_equal(peer_frames(&p), HEADER);
    ask(&p, METHOD_CONNECTION_START);
    ask(&p, METHOD_CONNECTION_TUNE);
    assert_string_equal(peer_frames(&p), ANSWERS);
    ask(&p, METHOD_CONNECTION_OPEN_OK);
    assert_string_equal(peer_frames(&p), "1 channel.open\n2 channel.open\n1 queue.declare queue=\"q\"\n");
    peer_deinit(&p);
}

static void channels_beyond_what_is_assumed_stay(void **state) {
    (void)state;
    struct peer p = { 0 };
    const lago_tune_t one = { .channel_max = 1, .frame_max = 4096 };
    begin(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(go_ahead(&p, &one), 0);
    assert_null(strstr(peer_frames(&p), "2 channel.open"));
    peer_deinit(&p);
}

/* Given up: the broker will open it, and then hears of its end; or never heard of it. */
static void a_channel_that_is_given_up(void **state) {
    (void)state;
    for (int opens = 0; opens < 2; opens++) {
        struct peer p = { 0 };
        begin(&p);
        assert_int_equal(session_start(&p.session, p.now), 0);
        assert_int_equal(go_ahead(&p, &assumed), 0);
        (void)peer_frames(&p);
        assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
        assert_int_equal(session_channel_open(&p.session, &p), 3); /* its number is taken */
        if (opens) {
            open_ok(&p);
            assert_string_equal(peer_frames(&p), "3 channel.open\n1 channel.close reply_code=200\n");
            peer_say_method(&p, 1, METHOD_CHANNEL_OPEN_OK, NULL);
            peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE_OK, NULL);
            assert_int_equal(p.session.state, SESSION_OPEN);
        } else {
            session_rest(&p.session);
        }
        assert_int_equal(session_channel_open(&p.session, &p), 1);
        peer_deinit(&p);
    }
}

/* Nobody has heard of it but a broker that is gone. */
static void a_channel_that_is_given_up_between_links(void **state) {
    (void)state;
    struct peer p = { 0 };
    begin(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(go_ahead(&p, &assumed), 0);
    session_rest(&p.session);
    assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    assert_int_equal(session_channel_open(&p.session, &p), 1);
    peer_deinit(&p);
}

/* Its close had no memory, and the link came to nothing: the next one hears of all that was accepted on it, and of its end. */
static void a_channel_whose_close_is_owed(void **state) {
    (void)state;
    struct peer p = { 0 };
    begin(&p);
    fail_alloc_at(&p.memory, 1, true);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    fail_alloc_at(&p.memory, 0, false);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(go_ahead(&p, &assumed), 0);
    (void)peer_frames(&p);
    session_rest(&p.session);
    p.mute = false;
    assert_int_equal(session_start(&p.session, p.now), 0);
    ask(&p, METHOD_CONNECTION_START);
    ask(&p, METHOD_CONNECTION_TUNE);
    (void)peer_frames(&p);
    ask(&p, METHOD_CONNECTION_OPEN_OK);
    assert_string_equal(peer_frames(&p), "1 channel.open\n2 channel.open\n1 queue.declare queue=\"q\"\n"
                                         "1 channel.close reply_code=200\n");
    peer_deinit(&p);
}

/* The answers of a session that asks nobody are not taken twice, nor elsewhere. */
static void out_of_turn(void **state) {
    (void)state;
    struct peer p = { 0 };
    begin(&p);
    assert_int_equal(go_ahead(&p, &assumed), LAGO_ECLOSED);
    assert_int_equal(session_assumed(&p.session), LAGO_ECLOSED);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(session_assumed(&p.session), LAGO_ECLOSED);
    assert_int_equal(go_ahead(&p, &assumed), 0);
    assert_int_equal(go_ahead(&p, &assumed), LAGO_ECLOSED);
    assert_int_equal(session_assumed(&p.session), LAGO_ECLOSED); /* nobody has asked yet */
    ask(&p, METHOD_CONNECTION_TUNE);                             /* nor in another order */
    assert_int_equal(p.session.state, SESSION_ENDED);
    peer_deinit(&p);
}

/* All or nothing of what does not fit; without memory the link is dropped, and what waits goes on waiting. */
static void without_room(void **state) {
    (void)state;
    static char large[5000];
    struct peer p = { 0 };
    begin(&p);
    struct connection_start_ok ok = { .mechanism = { "PLAIN", 5 }, .response = { large, sizeof(large) } };
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(session_go_ahead(&p.session, &ok, &assumed, "/"), LAGO_ETOOBIG);
    assert_false(p.session.ahead);
    assert_string_equal(peer_frames(&p), HEADER);
    for (size_t n = 1; n < 4; n++) {
        session_rest(&p.session);
        assert_int_equal(session_start(&p.session, p.now), 0);
        (void)peer_frames(&p); /* the block goes with what was in it */
        fail_alloc_at(&p.memory, n, true);
        int rc = go_ahead(&p, &assumed);
        fail_alloc_at(&p.memory, 0, false);
        assert_true(rc == 0 || rc == LAGO_ENOMEM);
    }
    session_rest(&p.session);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(go_ahead(&p, &assumed), 0);
    assert_string_equal(peer_frames(&p), HEADER ANSWERS "1 channel.open\n2 channel.open\n1 queue.declare queue=\"q\"\n");
    peer_deinit(&p);
}

/* Wherever in the three answers memory ends: the link is of no use, and the next one knows nothing of it. */
static void without_memory_half_way(void **state) {
    (void)state;
    static char response[400];
    size_t failed = 0;
    for (size_t size = 0; size < sizeof(response); size++) {
        struct peer p = { 0 };
        struct connection_start_ok ok = { .mechanism = { "PLAIN", 5 }, .response = { response, size } };
        begin(&p);
        assert_int_equal(session_start(&p.session, p.now), 0);
        (void)peer_frames(&p);
        fail_alloc_at(&p.memory, 2, true); /* start-ok has its block */
        int rc = session_go_ahead(&p.session, &ok, &assumed, "/");
        fail_alloc_at(&p.memory, 0, false);
        assert_true(rc == 0 || rc == LAGO_ENOMEM);
        assert_int_equal(p.session.ahead, rc == 0);
        failed += rc != 0;
        session_rest(&p.session);
        assert_int_equal(session_start(&p.session, p.now), 0);
        assert_int_equal(go_ahead(&p, &assumed), 0);
        assert_string_equal(peer_frames(&p), HEADER ANSWERS "1 channel.open\n2 channel.open\n1 queue.declare queue=\"q\"\n");
        peer_deinit(&p);
    }
    assert_in_range(failed, 1, sizeof(response) - 1);
}

/* Each method that may be said twice goes ahead; what the broker names itself may not. */
static void all_that_is_harmless_goes_ahead(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_IDLE);
    p.mute = true;
    assert_int_equal(session_send(&p.session, 1, METHOD_CONFIRM_SELECT, &(struct confirm_select){ 0 }), 0);
    assert_int_equal(session_send(&p.session, 1, METHOD_EXCHANGE_DECLARE, &(struct exchange_declare){ .exchange = { "e", 1 } }),
                     0);
    assert_int_equal(session_send(&p.session, 1, METHOD_EXCHANGE_BIND, &(struct exchange_bind){ .destination = { "e", 1 } }), 0);
    assert_int_equal(session_send(&p.session, 1, METHOD_QUEUE_BIND, &(struct queue_bind){ .queue = { "q", 1 } }), 0);
    assert_int_equal(session_send(&p.session, 1, METHOD_BASIC_QOS, &(struct basic_qos){ .prefetch_count = 5 }), 0);
    assert_int_equal(session_send(&p.session, 1, METHOD_BASIC_CONSUME, &(struct basic_consume){ .queue = { "q", 1 } }), 0);
    struct queue_declare none[] = { { .queue = { "\0", 1 } }, { .queue = { "", 0 } }, { .queue = { NULL, 0 } } };
    assert_int_equal(session_channel_open(&p.session, &p), 3);
    assert_int_equal(session_channel_open(&p.session, &p), 4);
    for (uint16_t i = 0; i < 3; i++)
        assert_int_equal(session_send(&p.session, (uint16_t)(2 + i), METHOD_QUEUE_DECLARE, &none[i]), 0);
    assert_int_equal(session_start(&p.session, p.now), 0);
    assert_int_equal(go_ahead(&p, &assumed), 0);
    assert_string_equal(peer_frames(&p), HEADER ANSWERS
                        "1 channel.open\n2 channel.open\n1 confirm.select\n1 exchange.declare exchange=\"e\"\n"
                        "1 exchange.bind destination=\"e\"\n1 queue.bind queue=\"q\"\n1 basic.qos prefetch_count=5\n"
                        "1 basic.consume queue=\"q\"\n3 channel.open\n4 channel.open\n");
    assert_int_equal(p.session.counters.frames_sent, 3 + 10); /* behind start-ok, tune-ok and open */
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_in_one_piece),
        cmocka_unit_test(what_may_not_go_ahead_stays),
        cmocka_unit_test(another_link_says_it_again),
        cmocka_unit_test(channels_beyond_what_is_assumed_stay),
        cmocka_unit_test(a_channel_that_is_given_up),
        cmocka_unit_test(a_channel_that_is_given_up_between_links),
        cmocka_unit_test(a_channel_whose_close_is_owed),
        cmocka_unit_test(out_of_turn),
        cmocka_unit_test(without_room),
        cmocka_unit_test(without_memory_half_way),
        cmocka_unit_test(all_that_is_harmless_goes_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
