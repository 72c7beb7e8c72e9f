/* Publishers: ends, and frees at any time. */
#include "publisher_case.h"

/* ---------------------------------------------------------------- ends */

static void an_end_tells_what_became_of_them(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.on_settled = noted_settled;
    options.window_count = 3;
    publisher = make(&options);
    assert_int_equal(publish(publisher, "1", NULL), 1);
    virtual_run(&t->v);
    virtual_take(&t->v, 0);
    assert_int_equal(publish(publisher, "2", NULL), 2);
    assert_int_equal(publish(publisher, "3", NULL), 3);
    assert_int_equal(publish(publisher, "4", NULL), LAGO_EAGAIN); /* the end comes instead of on_ready */
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    assert_journal(t, "p 1-1 unknown ECHANNEL; p 2-3 not sent ECHANNEL; p free; 1 close ECHANNEL; channel free");
    assert_int_equal(publish(publisher, "5", NULL), LAGO_ECLOSED);
    assert_int_equal(lago_publisher_publish_batch(publisher, (lago_bytes_t[]){ { "", 0 } }, 1, NULL, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_publisher_publish_message(publisher, &(lago_publisher_message_t){ 0 }, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_publisher_room(publisher), 0);
    lago_publisher_free(publisher);
    assert_journal(t, "");
    client_end(t);
}

static void a_lost_link_tells_sent_from_unsent(void **state) {
    (void)state;
    open_channel();
    lago_publisher_t *a = make_settled("a");
    assert_int_equal(publish(a, "1", NULL), 1);
    virtual_run(&t->v);
    virtual_take(&t->v, 3);
    for (int i = 2; i <= 4; i++) assert_int_equal(publish(a, "x", NULL), i);
    virtual_run(&t->v);
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_journal(t, "a 1-2 unknown ELOST; a 3-4 not sent ELOST; 1 close ELOST; channel free; close ELOST; connection free");
    client_end(t);
}

/* Queued over two attempts, one with a smaller frame, none of which opens. */
static void what_never_left_is_not_sent(void **state) {
    (void)state;
    static char large[300000];
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .connection_attempts = 2, .retry_delay_ms = 10 });
    ch = client_channel(t);
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    lago_publisher_options_t options = options_of("p");
    options.on_settled = noted_settled;
    options.window_count = 3;
    publisher = make(&options);
    lago_publisher_message_t lent = { .body = { large, sizeof(large) },
                                      .release_body = noted_release,
                                      .release_data = probe(t, "body") };
    lago_publisher_message_t empty = { .release_body = noted_release, .release_data = probe(t, "nothing") };
    assert_int_equal(publish(publisher, "1", NULL), 1);
    assert_int_equal(lago_publisher_publish_message(publisher, &lent, NULL), 2);
    assert_int_equal(lago_publisher_publish_message(publisher, &empty, NULL), 3);
    assert_int_equal(publish(publisher, "4", NULL), LAGO_EAGAIN);
    server_send(&t->v, SERVER_START);
    server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=4096 heartbeat=60");
    assert_journal(t, "nothing released");
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_int_equal(publish(publisher, "4", NULL), LAGO_EAGAIN);
    assert_journal(t, "");
    virtual_advance(&t->v, 10);
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_journal(t, "p 1-3 not sent ELOST; p free; 1 open ELOST; channel free; body released; open_error ELOST; "
                      "connection free");
    assert_int_equal(publish(publisher, "5", NULL), LAGO_ECLOSED);
    lago_publisher_free(publisher);
    client_end(t);
}

static void a_close_waits_for_confirms_and_refuses_more(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.on_outcome = noted_publish;
    options.window_count = 1;
    publisher = make(&options);
    assert_int_equal(publish(publisher, "1", probe(t, "m")), 1);
    assert_int_equal(publish(publisher, "2", NULL), LAGO_EAGAIN);
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    assert_int_equal(publish(publisher, "2", NULL), LAGO_ECLOSED);
    virtual_run(&t->v);
    assert_none("C> 1 channel.close*");
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_saw("C> 1 channel.close*");
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "m 1 confirmed; p free; 1 close ECLOSED; channel free");
    client_end(t);
}

static void an_owed_on_ready_keeps_the_loop_alive(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 1;
    publisher = make(&options);
    lago_connection_unref(t->conn);
    assert_int_equal(publish(publisher, "1", NULL), 1);
    virtual_run(&t->v);
    assert_false(link_wants(t->conn).alive);
    assert_int_equal(publish(publisher, "2", NULL), LAGO_EAGAIN);
    assert_true(link_wants(t->conn).alive);
    server_send(&t->v, "1 basic.ack delivery_tag=1");
    assert_journal(t, "p ready 0");
    assert_false(link_wants(t->conn).alive);
    client_end(t);
}

/* ---------------------------------------------------------------- freeing */

static void a_freed_one_is_told_nothing_more(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 2;
    options.on_outcome = noted_publish;
    publisher = make(&options);
    lago_publisher_t *other = make_settled("other");
    assert_int_equal(publish(publisher, "1", probe(t, "a")), 1);
    assert_int_equal(publish(other, "2", NULL), 2);
    assert_int_equal(publish(publisher, "3", probe(t, "b")), 3);
    assert_int_equal(publish(publisher, "4", NULL), LAGO_EAGAIN);
    lago_publisher_free(publisher);
    assert_journal(t, "p free");
    virtual_run(&t->v);
    assert_saw("C> 1 basic.publish routing_key=\"p\"");
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_none("C> 1 channel.close*"); /* the third is awaited all the same */
    server_send(&t->v, "1 basic.ack delivery_tag=3");
    assert_saw("C> 1 channel.close*");
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "other 2-2 confirmed; 1 close ECLOSED; channel free");
    client_end(t);
}

/* Refused until the output is at low_water. */
static void one_that_waits(void) {
    static char body[2000];
    open_channel_with(&(lago_parameters_t){ .high_water = 10000, .low_water = 1000, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    lago_publisher_options_t options = options_of("p");
    publisher = make(&options);
    virtual_take(&t->v, 0);
    while (lago_publisher_publish(publisher, (lago_bytes_t){ body, sizeof(body) }, NULL) > 0) continue;
}

static void one_that_waits_may_be_freed(void **state) {
    (void)state;
    one_that_waits();
    lago_publisher_free(publisher);
    assert_journal(t, "p free");
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    client_end(t);
}

/* Nobody waits for its on_ready any more. */
static void one_that_waits_may_lose_its_channel(void **state) {
    (void)state;
    one_that_waits();
    lago_channel_free(ch);
    assert_journal(t, "p free; channel free");
    lago_connection_unref(t->conn);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    assert_false(link_wants(t->conn).alive);
    client_end(t);
}

static void (*in_callback)(void);

static void frees_publisher(void) { lago_publisher_free(publisher); }
static void frees_channel(void) { lago_channel_free(ch); }
static void frees_connection(void) {
    lago_connection_free(t->conn);
    t->conn = NULL;
}
static void closes_channel(void) { (void)lago_channel_close(ch, NULL); }
static void aborts(void) { (void)lago_connection_abort(t->conn); }
static void publishes(void) { (void)publish(publisher, "more", NULL); }

static unsigned outcomes, settlements, readies;

static void act_once(void) {
    void (*act)(void) = in_callback;
    in_callback = NULL;
    if (act) act();
}
static void act_on_outcome(lago_channel_t *channel, const lago_publish_result_t *result, void *data) {
    (void)channel, (void)result, (void)data;
    outcomes++;
    act_once();
}
static void act_on_settled(lago_publisher_t *p, const lago_publisher_settled_t *settled, void *data) {
    (void)p, (void)settled, (void)data;
    settlements++;
    act_once();
}
static void act_on_ready(lago_publisher_t *p, void *data) {
    (void)p, (void)data;
    readies++;
    act_once();
}

enum place { IN_OUTCOME, IN_SETTLED, IN_READY, PLACES };

static void live_with(enum place place, void (*act)(void), bool by_end) {
    open_channel();
    outcomes = settlements = readies = 0;
    lago_publisher_options_t options = { .routing_key = "p", .window_count = 40, .data = probe(t, "p"), .free_data = noted_free };
    if (place == IN_OUTCOME) options.on_outcome = act_on_outcome;
    if (place == IN_SETTLED) options.on_settled = act_on_settled;
    options.on_ready = place == IN_READY ? act_on_ready : NULL;
    publisher = make(&options);
    for (int i = 0; i < 40; i++) {
        assert_true(publish(publisher, "x", NULL) > 0);
        if (i % 10 == 5) assert_true(lago_basic_publish(ch, &(lago_basic_publish_t){ 0 }, NULL, NULL) > 0);
    }
    assert_int_equal(publish(publisher, "x", NULL), LAGO_EAGAIN);
    virtual_run(&t->v);
    in_callback = act;
    server_send(&t->v, by_end ? "1 channel.close reply_code=406 reply_text=\"PRECONDITION_FAILED\"" : "1 basic.ack multiple=1");
    if (!by_end || place != IN_READY) assert_null(in_callback);
    bool freed = act == frees_publisher || act == frees_channel || act == frees_connection;
    if (freed && !by_end) assert_int_equal(outcomes + settlements + readies, 1);
    if (!freed && place == IN_OUTCOME) assert_in_range(outcomes, 40, 41);
    if (t->conn && t->v.conn) virtual_advance(&t->v, 60000);
    if (t->conn) lago_connection_free(t->conn);
    t->conn = NULL;
    virtual_deinit(&t->v);
    assert_int_equal(t->probes[t->probe_count - 1].calls, 1); /* free_data, once */
}

static void any_act_in_any_place(void) {
    void (*const acts[])(void) = { frees_publisher, frees_channel, frees_connection, closes_channel, aborts, publishes };
    for (unsigned place = 0; place < PLACES; place++)
        for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
            for (int by_end = 0; by_end < 2; by_end++) live_with((enum place)place, acts[i], by_end);
}

static void anything_in_its_callbacks(void **state) {
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        untraced = twice == 1;
        any_act_in_any_place();
    }
    untraced = false;
}

/* A run of one publisher is told because another one's begins: which may not live any more when it has been told. */
static void a_run_may_end_whose_turn_is_next(void **state) {
    void (*const acts[])(void) = { frees_publisher, frees_channel, frees_connection };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        open_channel();
        settlements = 0;
        lago_publisher_t *first = make(&(lago_publisher_options_t){ .routing_key = "a", .on_settled = act_on_settled });
        publisher = make_settled("second");
        assert_int_equal(publish(first, "x", NULL), 1);
        assert_int_equal(publish(publisher, "x", NULL), 2);
        assert_int_equal(publish(first, "x", NULL), 3);
        virtual_run(&t->v);
        in_callback = acts[i];
        server_send(&t->v, "1 basic.ack delivery_tag=3 multiple=1");
        assert_null(in_callback);
        assert_int_equal(settlements, i == 0 ? 2 : 1); /* the first one lives on only where it is the second that went */
        assert_null(strstr(t->journal, "second"));
        client_end(t);
    }
}

static void frees_the_other(void *data) {
    noted_free(data);
    lago_publisher_free(publisher);
    publisher = NULL;
}

/* By the first one's free_data, wherever that is called. */
static void free_data_may_free_another(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        open_channel();
        lago_publisher_options_t options = options_of("a");
        options.free_data = frees_the_other;
        lago_publisher_t *first = make(&options);
        options = options_of("b");
        options.on_outcome = noted_publish;
        publisher = make(&options);
        struct probe *data = &t->probes[t->probe_count - 1];
        assert_int_equal(publish(publisher, "x", probe(t, "m")), 1);
        if (way == 0) lago_publisher_free(first);
        if (way == 1) lago_channel_free(ch);
        if (way == 2) server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"\"");
        if (way == 3) client_end(t);
        assert_null(publisher);
        assert_int_equal(data->calls, 1);
        if (way < 3) client_end(t);
        assert_int_equal(data->calls, 1);
    }
}

static void frees_it_again(void *data) {
    noted_free(data);
    lago_publisher_free(publisher);
}

static void free_data_may_free_it(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        open_channel();
        lago_publisher_options_t options = options_of("p");
        options.free_data = frees_it_again;
        publisher = make(&options);
        (void)publish(publisher, "x", NULL);
        if (way == 0) lago_publisher_free(publisher);
        if (way == 1) lago_channel_free(ch);
        if (way == 2) server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"\"");
        if (way == 3) client_end(t);
        struct probe *data = &t->probes[t->probe_count - 1];
        assert_int_equal(data->calls, 1);
        if (way < 3) client_end(t);
        assert_int_equal(data->calls, 1);
    }
    lago_publisher_free(NULL);
}

/* ---------------------------------------------------------------- without what others have */

static void slow_outcome(lago_channel_t *channel, const lago_publish_result_t *result, void *data) {
    noted_publish(channel, result, data);
    t->v.now += 5; /* the turn ends behind it, in the middle of a row */
}

static void frees_it(lago_connection_t *conn, int status, void *data) {
    noted_timer(conn, status, data);
    lago_publisher_free(publisher);
}

/* A run that was begun in the turn before is nobody's: it is told neither to the publisher nor to who has its memory now. */
static void a_run_ends_with_its_publisher(void **state) {
    (void)state;
    open_channel();
    publisher = make_settled("p");
    lago_publisher_t *other = make_settled("other");
    lago_basic_publish_t first = { .routing_key = "q" };
    assert_int_equal(lago_basic_publish(ch, &first, slow_outcome, probe(t, "first")), 1);
    for (int i = 2; i <= 9; i++) assert_int_equal(publish(publisher, "x", NULL), i);
    assert_int_equal(publish(other, "x", NULL), 10);
    assert_int_equal(lago_connection_call_later(t->conn, 1, frees_it, probe(t, "timer"), NULL), 0);
    server_send(&t->v, "1 basic.ack delivery_tag=10 multiple=1");
    assert_journal(t, "first 1 confirmed; timer ok; other 10-10 confirmed");
    client_end(t);
}

/* On a channel that confirms nothing; and who asked for no on_ready has to come by himself. */
static void one_that_is_told_nothing(void **state) {
    (void)state;
    open_connection(&(lago_parameters_t){ .high_water = 4096, .low_water = 1024 });
    ch = client_open_channel(t);
    publisher = make(&(lago_publisher_options_t){ .routing_key = "q" });
    virtual_take(&t->v, 0);
    static char body[4096];
    lago_bytes_t large = { body, sizeof(body) };
    assert_int_equal(lago_publisher_publish(publisher, large, NULL), 0);
    assert_int_equal(lago_publisher_publish(publisher, large, NULL), LAGO_EAGAIN);
    virtual_run(&t->v);
    assert_journal(t, "");
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    assert_int_equal(lago_publisher_publish(publisher, large, NULL), 0);
    lago_publisher_free(publisher);
    client_end(t);
}

static void what_nobody_wants_to_know(void **state) {
    (void)state;
    open_channel();
    publisher = make_settled("p");
    lago_bytes_t bodies[] = { { "a", 1 }, { "b", 1 } };
    assert_int_equal(lago_publisher_publish_batch(publisher, bodies, 2, NULL, NULL), 2);
    assert_int_equal(lago_publisher_publish_message(publisher, &(lago_publisher_message_t){ .body = { NULL, 1 } }, NULL),
                     LAGO_EINVAL);
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_journal(t, "p 1-2 confirmed");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_tells_what_became_of_them),
        cmocka_unit_test(a_lost_link_tells_sent_from_unsent),
        cmocka_unit_test(what_never_left_is_not_sent),
        cmocka_unit_test(a_close_waits_for_confirms_and_refuses_more),
        cmocka_unit_test(an_owed_on_ready_keeps_the_loop_alive),
        cmocka_unit_test(a_freed_one_is_told_nothing_more),
        cmocka_unit_test(one_that_waits_may_be_freed),
        cmocka_unit_test(one_that_waits_may_lose_its_channel),
        cmocka_unit_test(anything_in_its_callbacks),
        cmocka_unit_test(a_run_may_end_whose_turn_is_next),
        cmocka_unit_test(free_data_may_free_it),
        cmocka_unit_test(a_run_ends_with_its_publisher),
        cmocka_unit_test(one_that_is_told_nothing),
        cmocka_unit_test(what_nobody_wants_to_know),
        cmocka_unit_test(free_data_may_free_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
