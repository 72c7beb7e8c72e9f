/* Channel numbers and what a channel may do in its states: opening, open, closing (1.5.2). */
#include "peer.h"

static char name_a[] = "a", name_b[] = "b";

static void numbers_are_the_lowest_that_are_free(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    for (int i = 3; i <= 8; i++) assert_int_equal(session_channel_open(&p.session, name_a), i);
    assert_int_equal(session_channel_open(&p.session, name_a), LAGO_ENOCHANNEL);
    assert_string_equal(peer_frames(&p), "3 channel.open\n4 channel.open\n5 channel.open\n6 channel.open\n7 channel.open\n"
                                         "8 channel.open\n");
    peer_say_method(&p, 2, METHOD_CHANNEL_CLOSE, NULL);
    peer_say_method(&p, 5, METHOD_CHANNEL_CLOSE, NULL);
    assert_int_equal(session_channel_next(&p.session, 4), 6);
    assert_int_equal(session_channel_open(&p.session, name_a), 2);
    assert_int_equal(session_channel_open(&p.session, name_b), 5);
    assert_ptr_equal(session_channel_owner(&p.session, 5), name_b);
    assert_int_equal(session_channel_open(&p.session, name_a), LAGO_ENOCHANNEL);
    assert_int_equal(session_channel_next(&p.session, 0), 1);
    assert_int_equal(session_channel_next(&p.session, 8), 0);
    peer_deinit(&p);
}

static void the_configured_limit_counts_before_tuning(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_init(&p);
    p.tune.channel_max = 3;
    for (int i = 1; i <= 8; i++) assert_int_equal(session_channel_open(&p.session, name_a), i);
    assert_int_equal(session_channel_open(&p.session, name_a), LAGO_ENOCHANNEL);
    assert_int_equal(session_start(&p.session, p.now), 0);
    bytes_handshake(&b);
    p.stop = SESSION_OPEN; /* nothing is released yet */
    peer_say(&p, &b);
    (void)peer_frames(&p);
    for (uint16_t i = 4; i <= 8; i++) session_channel_drop(&p.session, i);
    session_release_held(&p.session);
    assert_string_equal(peer_frames(&p), "1 channel.open\n2 channel.open\n3 channel.open\n");
    assert_int_equal(session_channel_open(&p.session, name_a), LAGO_ENOCHANNEL);
    peer_deinit(&p);
}

static void channels_that_cannot_exist_are_dropped_with_what_they_hold(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    p.tune.channel_max = 1;
    peer_bring(&p, SESSION_WAIT_OPEN);
    assert_int_equal(peer_publish(&p, 2, 100), 0);
    assert_int_equal(peer_publish(&p, 1, 1), 0);
    session_channel_drop(&p.session, 2);
    session_channel_drop(&p.session, 2);
    assert_null(session_channel_owner(&p.session, 2));
    p.stop = SESSION_ENDED;
    peer_say_method(&p, 0, METHOD_CONNECTION_OPEN_OK, NULL);
    assert_string_equal(peer_frames(&p), "1 channel.open\n1 basic.publish routing_key=\"q\"\n1 header 1\n1 body 1\n");
    assert_int_equal(session_output_size(&p.session), 0);
    peer_deinit(&p);
}

static void open_without_memory_takes_no_number(void **state) {
    (void)state;
    for (size_t n = 1, hit = 1; hit; n++) {
        struct peer p = { 0 };
        peer_open(&p);
        fail_alloc_at(&p.memory, n, false);
        int rc = session_channel_open(&p.session, name_a);
        hit = p.memory.calls >= n;
        assert_int_equal(rc, hit ? LAGO_ENOMEM : 3);
        fail_alloc_at(&p.memory, 0, false);
        assert_int_equal(session_channel_open(&p.session, name_a), hit ? 3 : 4);
        peer_deinit(&p);
    }
}

static void close_frees_the_number_when_it_is_answered(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), LAGO_ECLOSED);
    assert_int_equal(session_channel_close(&p.session, 6, REPLY_SUCCESS, "bye"), LAGO_ECLOSED);
    assert_int_equal(session_channel_open(&p.session, name_a), 3);
    assert_string_equal(peer_frames(&p), "1 channel.close reply_code=200 reply_text=\"bye\"\n3 channel.open\n");
    peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "closed 1 one\n");
    assert_int_equal(session_channel_open(&p.session, name_a), 1);
    peer_deinit(&p);
}

static void close_by_broker_is_answered_and_told(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct channel_close close = {
        .reply_code = REPLY_NOT_FOUND, .reply_text = { "NOT_FOUND - no queue 'x'", 24 }, .class_id = 50, .method_id = 10
    };
    peer_open(&p);
    peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE, &close);
    assert_string_equal(peer_events(&p),
                        "channel-close 1 one channel.close reply_code=404 reply_text=\"NOT_FOUND - no queue 'x'\" "
                        "class_id=50 method_id=10\n");
    assert_string_equal(peer_frames(&p), "1 channel.close-ok\n");
    assert_int_equal(peer_publish(&p, 1, 1), LAGO_ECLOSED);
    assert_int_equal(session_channel_close(&p.session, 1, 200, ""), LAGO_ECLOSED);
    peer_deinit(&p);
}

/* Memory fails from here on, and what there is is full but for a few octets, which differ from row to row; publishes of this channel. */
static void fill_memory(struct peer *p, uint16_t channel, size_t row) {
    for (size_t i = 0; i < row; i++) assert_int_equal(peer_publish(p, channel, 2000 - 16 * row), 0);
    fail_alloc_at(&p->memory, 1, true);
    while (peer_publish(p, channel, 0) == 0) continue;
    while (session_send(&p->session, 2, METHOD_BASIC_CANCEL_OK, &(struct basic_cancel_ok){ 0 }) == 0) continue;
}

/* What cannot be answered is not passed over: the connection ends, and says why. */
static void close_by_broker_without_memory_ends_the_connection(void **state) {
    unsigned reached = 0;
    (void)state;
    for (size_t row = 1; row < 40; row++) { /* until there is no room for the answer either */
        struct peer p = { 0 };
        peer_open(&p);
        fill_memory(&p, 1, row);
        struct bytes b = { 0 };
        bytes_method(&b, 1, METHOD_CHANNEL_CLOSE, &(struct channel_close){ .reply_code = REPLY_NOT_FOUND });
        peer_say(&p, &b);
        fail_alloc_at(&p.memory, 0, false);
        const char *events = peer_events(&p);
        bool ended = strcmp(events, "ended LAGO_ENOMEM\n") == 0;
        reached += ended;
        assert_true(ended || strncmp(events, "channel-close 1 one ", 20) == 0);
        peer_deinit(&p);
    }
    assert_true(reached > 0);
}

/* Its close is owed: what comes meanwhile is nobody's, and gives no reason for a second one. */
static void who_gives_up_without_memory_says_close_once(void **state) {
    unsigned reached = 0;
    (void)state;
    for (size_t row = 1; row < 40; row++) { /* until there is no room for it */
        struct peer p = { 0 };
        struct bytes b = { 0 };
        peer_open(&p);
        fill_memory(&p, 2, row);
        (void)session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "enough");
        reached += p.memory.failures > 2;
        fail_alloc_at(&p.memory, 0, false);
        bytes_method(&b, 1, METHOD_BASIC_DELIVER, &(struct basic_deliver){ .delivery_tag = 1 });
        bytes_header(&b, 1, (uint64_t)1 << 40, NULL);
        peer_say(&p, &b);
        peer_pass(&p, 1000);
        assert_string_equal(peer_events(&p), "");
        const char *frames = peer_frames(&p), *close = strstr(frames, "1 channel.close ");
        assert_non_null(close);
        assert_null(strstr(close + 1, "1 channel.close "));
        peer_deinit(&p);
    }
    assert_true(reached > 0);
}

/* 1.5.2.5: both sides close at the same time: the broker's reason is told, and the number is free when ours is answered too. */
static void crossing_closes_free_the_number_once(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE, NULL);
    assert_string_equal(peer_events(&p), "channel-close 1 one channel.close\n");
    assert_string_equal(peer_frames(&p), "1 channel.close reply_code=200 reply_text=\"bye\"\n1 channel.close-ok\n");
    assert_int_equal(session_channel_open(&p.session, name_a), 3);
    peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "closed 1\n");
    assert_int_equal(session_channel_open(&p.session, name_b), 1);
    peer_deinit(&p);
}

/* Our close still waits behind a block: the broker's is the only one there is, and what was held is dropped. */
static void close_by_broker_overtakes_one_that_is_held(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(peer_publish(&p, 1, 10), 0);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    (void)peer_events(&p);
    peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE, NULL);
    assert_string_equal(peer_events(&p), "channel-close 1 one channel.close\n");
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    assert_string_equal(peer_frames(&p), "1 channel.close-ok\n");
    assert_int_equal(session_output_size(&p.session), 0);
    peer_deinit(&p);
}

/* F64: what is under way for a channel that we close is discarded, a body in the middle of a read included. */
static void deliveries_for_a_closing_channel_are_dropped(void **state) {
    (void)state;
    struct bytes b = { 0 };
    bytes_deliver(&b, 1, 1, 6000, 4096);
    size_t whole = b.size;
    bytes_deliver(&b, 2, 1, 7, 4096);
    bytes_method(&b, 1, METHOD_CHANNEL_CLOSE_OK, NULL);
    for (size_t cut = 1; cut < whole; cut++) {
        struct peer p = { 0 };
        peer_open(&p);
        peer_feed(&p, b.data, cut);
        assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
        peer_feed(&p, b.data + cut, b.size - cut);
        assert_string_equal(peer_events(&p), "content 2 two basic.deliver consumer_tag=\"c\" delivery_tag=1 routing_key=\"k\" "
                                             "content_type=\"text/plain\" delivery_mode=2 body=7\nclosed 1 one\n");
        peer_deinit(&p);
    }
    bytes_free(&b);
}

static void close_while_opening_waits_for_close_ok(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    assert_int_equal(session_channel_open(&p.session, name_a), 3);
    assert_int_equal(session_channel_close(&p.session, 3, REPLY_SUCCESS, "bye"), 0);
    bytes_method(&b, 3, METHOD_CHANNEL_OPEN_OK, NULL);
    bytes_method(&b, 3, METHOD_CHANNEL_CLOSE_OK, NULL);
    peer_say(&p, &b);
    assert_string_equal(peer_events(&p), "closed 3 a\n");
    peer_deinit(&p);
}

/* A deadline passed: what waits is dropped, what may arrive is counted, and the number is free when the broker has answered. */
static void who_gives_up_learns_what_may_arrive(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    for (int i = 0; i < 3; i++) assert_int_equal(peer_publish(&p, 1, 100), 0);
    peer_write(&p, 10);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(peer_publish(&p, 1, 7), 0);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "held"), 0);
    assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "enough"), 3);
    assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "enough"), 3);
    const char *frames = peer_frames(&p);
    assert_null(strstr(frames, "header 7"));
    assert_non_null(strstr(frames, "1 body 100\n1 channel.close reply_code=200 reply_text=\"enough\"\n"));
    assert_null(strstr(strstr(frames, "close") + 1, "close"));
    (void)peer_events(&p);
    peer_say_method(&p, 1, METHOD_CHANNEL_CLOSE_OK, NULL);
    assert_string_equal(peer_events(&p), "closed 1 one sent=3\n");
    assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "enough"), 0);
    peer_deinit(&p);
}

/* No broker has heard of it: the number is free at once, and the next attempt knows nothing of it. */
static void who_gives_up_before_open_leaves_no_trace(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct peer p = { 0 };
        struct bytes b = { 0 };
        peer_init(&p);
        peer_bring(&p, SESSION_WAIT_OPEN);
        assert_int_equal(peer_publish(&p, 1, 100), 0);
        if (way >= 1) session_lost(&p.session, -104, p.now);
        if (way == 2) session_rest(&p.session);
        assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "enough"), 0);
        assert_int_equal(session_channel_open(&p.session, name_a), 1);
        session_rest(&p.session);
        p.stop = SESSION_ENDED;
        assert_int_equal(session_start(&p.session, p.now), 0);
        bytes_handshake(&b);
        peer_say(&p, &b);
        assert_non_null(strstr(peer_frames(&p), "virtual_host=\"/\"\n2 channel.open\n1 channel.open\n"));
        peer_deinit(&p);
    }
}

/* There was no memory to tell the broker that it is open: then nobody need tell it of its end, and the number is free at once. */
static void who_gives_up_what_the_broker_never_heard_of(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_OPEN);
    p.stop = SESSION_ENDED;
    fail_alloc_at(&p.memory, 1, true);
    peer_say_method(&p, 0, METHOD_CONNECTION_OPEN_OK, NULL);
    assert_int_equal(p.session.state, SESSION_OPEN);
    assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "enough"), 0);
    fail_alloc_at(&p.memory, 0, false);
    assert_null(session_channel_owner(&p.session, 1));
    peer_pass(&p, 100);
    assert_string_equal(peer_frames(&p), "2 channel.open\n");
    assert_int_equal(session_channel_open(&p.session, name_b), 1);
    peer_deinit(&p);
}

/* The same when memory ends behind its open: of that one the broker must hear. */
static void who_gives_up_what_waits_behind_its_open(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_init(&p);
    peer_bring(&p, SESSION_WAIT_OPEN);
    p.stop = SESSION_ENDED;
    assert_int_equal(peer_publish(&p, 1, 9000), 0);
    fail_alloc_at(&p.memory, 2, true); /* their opens have a block */
    peer_say_method(&p, 0, METHOD_CONNECTION_OPEN_OK, NULL);
    fail_alloc_at(&p.memory, 0, false);
    assert_int_equal(session_channel_give_up(&p.session, 1, REPLY_SUCCESS, "enough"), 0);
    peer_pass(&p, 100);
    assert_string_equal(peer_frames(&p), "1 channel.open\n2 channel.open\n"
                                         "1 channel.close reply_code=200 reply_text=\"enough\"\n");
    assert_int_equal(session_channel_open(&p.session, name_b), 3);
    peer_deinit(&p);
}

/* A close without memory is said later, without its words; but never before what was accepted on its channel. */
static void a_close_that_is_owed_waits_for_what_is_held(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    peer_say_method(&p, 0, METHOD_CONNECTION_BLOCKED, NULL);
    assert_int_equal(peer_publish(&p, 1, 10), 0);
    fail_alloc_at(&p.memory, 1, true);
    assert_int_equal(session_channel_close(&p.session, 1, REPLY_SUCCESS, "bye"), 0);
    assert_int_equal(session_channel_close(&p.session, 2, REPLY_SUCCESS, "bye"), 0);
    fail_alloc_at(&p.memory, 0, false);
    peer_pass(&p, 100);
    assert_string_equal(peer_frames(&p), "2 channel.close reply_code=200\n");
    peer_say_method(&p, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    assert_string_equal(peer_frames(&p), "1 basic.publish routing_key=\"q\"\n1 header 10\n1 body 10\n"
                                         "1 channel.close reply_code=200\n");
    peer_deinit(&p);
}

static void events_carry_the_owner_of_the_moment(void **state) {
    (void)state;
    struct peer p = { 0 };
    peer_open(&p);
    session_channel_own(&p.session, 1, NULL);
    session_channel_own(&p.session, 2, name_b);
    session_channel_own(&p.session, 7, name_a);
    assert_null(session_channel_owner(&p.session, 7));
    peer_say_method(&p, 1, METHOD_BASIC_CANCEL_OK, NULL);
    peer_say_method(&p, 2, METHOD_BASIC_CANCEL_OK, NULL);
    assert_string_equal(peer_events(&p), "method 1 basic.cancel-ok\nmethod 2 b basic.cancel-ok\n");
    peer_deinit(&p);
}

/* The channel goes while its content is out: what the event points to is the caller's until the next question. */
static void close_from_within_an_event(struct peer *p, const struct session_event *event) {
    if (event->type != SESSION_EVENT_CONTENT) return;
    assert_int_equal(session_channel_close(&p->session, event->channel, REPLY_SUCCESS, "enough"), 0);
    assert_true(pattern_is(event->body.data, event->body.size));
    assert_string_equal(event->args->basic_deliver.consumer_tag.data, "c");
    assert_string_equal(event->properties->content_type, "text/plain");
}

static void channels_can_be_closed_in_the_middle_of_an_event(void **state) {
    (void)state;
    struct peer p = { 0 };
    struct bytes b = { 0 };
    peer_open(&p);
    p.on_event = close_from_within_an_event;
    bytes_deliver(&b, 1, 1, 100, 4096);
    bytes_deliver(&b, 1, 2, 100, 4096);
    bytes_deliver(&b, 2, 1, 9000, 4096);
    bytes_deliver(&b, 2, 2, 9000, 4096);
    peer_say(&p, &b);
    const char *events = peer_events(&p);
    assert_non_null(strstr(events, "body=100\ncontent 2 "));
    assert_null(strstr(events, "delivery_tag=2"));
    peer_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_the_lowest_that_are_free),
        cmocka_unit_test(the_configured_limit_counts_before_tuning),
        cmocka_unit_test(channels_that_cannot_exist_are_dropped_with_what_they_hold),
        cmocka_unit_test(open_without_memory_takes_no_number),
        cmocka_unit_test(close_frees_the_number_when_it_is_answered),
        cmocka_unit_test(close_by_broker_is_answered_and_told),
        cmocka_unit_test(close_by_broker_without_memory_ends_the_connection),
        cmocka_unit_test(who_gives_up_without_memory_says_close_once),
        cmocka_unit_test(crossing_closes_free_the_number_once),
        cmocka_unit_test(close_by_broker_overtakes_one_that_is_held),
        cmocka_unit_test(deliveries_for_a_closing_channel_are_dropped),
        cmocka_unit_test(close_while_opening_waits_for_close_ok),
        cmocka_unit_test(who_gives_up_learns_what_may_arrive),
        cmocka_unit_test(who_gives_up_before_open_leaves_no_trace),
        cmocka_unit_test(who_gives_up_what_the_broker_never_heard_of),
        cmocka_unit_test(who_gives_up_what_waits_behind_its_open),
        cmocka_unit_test(a_close_that_is_owed_waits_for_what_is_held),
        cmocka_unit_test(events_carry_the_owner_of_the_moment),
        cmocka_unit_test(channels_can_be_closed_in_the_middle_of_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
