/* Publishers: what leaves, and what is told of it, one by one and in runs. */
#include "publisher_case.h"
#include <stdio.h>

/* ---------------------------------------------------------------- what leaves */

static void a_prepared_message_leaves_as_a_plain_one(void **state) {
    (void)state;
    char key[] = "key", value[] = "value";
    client_open(t);
    ch = client_open_channel(t);
    lago_field_t field = LAGO_FIELD_STR("h", value);
    lago_properties_t properties = { .content_type = value, .headers = { .fields = &field, .size = 1 } };
    publisher =
        make(&(lago_publisher_options_t){ .exchange = "ex", .routing_key = key, .mandatory = true, .properties = &properties });
    memset(key, 'x', 3); /* it was copied */
    memset(value, 'x', 5);
    properties.content_type = NULL;
    assert_int_equal(publish(publisher, "hello", NULL), 0);
    assert_int_equal(publish(publisher, "", NULL), 0);
    virtual_run(&t->v);
    for (int i = 0; i < 2; i++) {
        assert_saw("C> 1 basic.publish exchange=\"ex\" routing_key=\"key\" mandatory=1");
        assert_saw(i ? "C> 1 header body_size=0 content_type=\"value\" headers={h=\"value\"}"
                     : "C> 1 header body_size=5 content_type=\"value\" headers={h=\"value\"}");
    }
    assert_none("C> 1 body size=0");
    assert_int_equal(lago_connection_counters(t->conn).messages_sent, 2);
    assert_int_equal(lago_publisher_room(publisher), SIZE_MAX);
    assert_ptr_equal(lago_publisher_channel(publisher), ch);
    client_end(t);
}

static void a_message_may_differ_from_what_was_prepared(void **state) {
    (void)state;
    client_open(t);
    ch = client_open_channel(t);
    lago_properties_t prepared = { .content_type = "text/plain", .message_id = "m0", .delivery_mode = LAGO_PERSISTENT };
    publisher = make(&(lago_publisher_options_t){ .routing_key = "k", .properties = &prepared });
    lago_field_t field = LAGO_FIELD_I32("n", 1);
    lago_properties_t other = { .message_id = "m1",
                                .correlation_id = "c",
                                .timestamp = 7,
                                .headers = { .fields = &field, .size = 1 },
                                .present = LAGO_PROPERTY_DELIVERY_MODE };
    lago_publisher_message_t messages[] = {
        { .body = { "1", 1 }, .properties = &other },
        { .body = { "2", 1 }, .routing_key = "elsewhere" },
        { .body = { "3", 1 } },
    };
    for (int i = 0; i < 3; i++) assert_int_equal(lago_publisher_publish_message(publisher, &messages[i], NULL), 0);
    virtual_run(&t->v);
    assert_saw("C> 1 basic.publish routing_key=\"k\"");
    assert_saw("C> 1 header body_size=1 content_type=\"text/plain\" headers={n=1} delivery_mode=0 correlation_id=\"c\" "
               "message_id=\"m1\" timestamp=7");
    assert_saw("C> 1 basic.publish routing_key=\"elsewhere\"");
    assert_saw("C> 1 header body_size=1 content_type=\"text/plain\" delivery_mode=2 message_id=\"m0\"");
    assert_saw("C> 1 basic.publish routing_key=\"k\"");
    assert_saw("C> 1 header body_size=1 content_type=\"text/plain\" delivery_mode=2 message_id=\"m0\"");
    client_end(t);
}

static void before_it_is_open_everything_keeps_its_order(void **state) {
    (void)state;
    static char large[300000];
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .connection_attempts = 2, .retry_delay_ms = 10 });
    ch = client_channel(t);
    publisher = make(&(lago_publisher_options_t){ .routing_key = "p" });
    assert_int_equal(publish(publisher, "1", NULL), 0);
    assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "plain" }, NULL, NULL), 0);
    assert_int_equal(lago_publisher_publish(publisher, (lago_bytes_t){ large, sizeof(large) }, NULL), 0);
    virtual_run(&t->v);
    virtual_lose(&t->v, -104); /* nothing of it is lost with an attempt */
    virtual_run(&t->v);
    virtual_advance(&t->v, 10);
    server_handshake(&t->v);
    assert_saw("C> 1 channel.open");
    assert_saw("C> 1 basic.publish routing_key=\"p\"");
    assert_saw("C> 1 header body_size=1");
    assert_saw("C> 1 body size=1");
    assert_saw("C> 1 basic.publish routing_key=\"plain\"");
    assert_saw("C> 1 basic.publish routing_key=\"p\"");
    assert_saw("C> 1 header body_size=300000");
    assert_saw("C> 1 body size=131064");
    client_end(t);
}

static void a_blocked_connection_holds_it(void **state) {
    (void)state;
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 2;
    options.on_outcome = noted_publish;
    publisher = make(&options);
    server_send(&t->v, "0 connection.blocked reason=\"memory\"");
    assert_int_equal(publish(publisher, "1", probe(t, "a")), 1);
    assert_int_equal(publish(publisher, "2", probe(t, "b")), 2);
    assert_int_equal(publish(publisher, "3", probe(t, "c")), LAGO_EAGAIN);
    virtual_run(&t->v);
    assert_none("C> 1 basic.publish*");
    server_send(&t->v, "0 connection.unblocked");
    assert_saw("C> 1 basic.publish routing_key=\"p\"");
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_journal(t, "blocked memory; unblocked; a 1 confirmed; b 2 confirmed; p ready 0");
    client_end(t);
}

static void a_blocked_connection_may_refuse_it(void **state) {
    (void)state;
    open_channel_with(&(lago_parameters_t){ .refuse_while_blocked = true });
    lago_publisher_options_t options = options_of("p");
    options.window_count = 2;
    options.on_settled = noted_settled;
    publisher = make(&options);
    lago_publisher_t *other = make(&(lago_publisher_options_t){ .on_ready = noted_ready, .data = probe(t, "other") });
    assert_int_equal(publish(publisher, "1", NULL), 1);
    assert_int_equal(publish(publisher, "2", NULL), 2);
    assert_int_equal(publish(publisher, "3", NULL), LAGO_EAGAIN); /* for its window */
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.blocked reason=\"memory\"");
    assert_int_equal(publish(other, "x", NULL), LAGO_EAGAIN);
    assert_int_equal(lago_publisher_room(other), 0);
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_journal(t, "blocked memory; p 1-2 confirmed");
    server_send(&t->v, "0 connection.unblocked");
    assert_journal(t, "unblocked; drain; other ready 0; p ready 0");
    assert_int_equal(publish(publisher, "3", NULL), 3);
    client_end(t);
}

static void a_lent_body_comes_back(void **state) {
    (void)state;
    static char large[300000];
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.on_outcome = noted_publish;
    publisher = make(&options);
    lago_publisher_message_t message = { .body = { large, sizeof(large) }, .release_body = noted_release };
    virtual_take(&t->v, 1000);
    message.release_data = probe(t, "first");
    assert_int_equal(lago_publisher_publish_message(publisher, &message, probe(t, "1")), 1);
    message.release_data = probe(t, "second");
    message.properties = &(lago_properties_t){ .type = "t" };
    assert_int_equal(lago_publisher_publish_message(publisher, &message, probe(t, "2")), 2);
    virtual_run(&t->v);
    assert_journal(t, "");
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "first released; second released");
    client_end(t);
}

static void a_batch_is_taken_whole_or_in_part(void **state) {
    (void)state;
    uint64_t first = 99;
    const lago_bytes_t bodies[] = { { "a", 1 }, { "b", 1 }, { "c", 1 }, { NULL, 0 }, { "e", 1 } };
    open_channel();
    lago_publisher_options_t options = options_of("p");
    options.window_count = 4;
    options.on_outcome = noted_publish;
    publisher = make(&options);
    assert_int_equal(lago_publisher_publish_batch(publisher, bodies, 0, NULL, &first), 0);
    assert_int_equal(first, 0);
    assert_int_equal(publish(publisher, "x", probe(t, "x")), 1);
    assert_int_equal(lago_publisher_publish_batch(publisher, bodies, 5, probe(t, "m"), &first), 3);
    assert_int_equal(first, 2);
    assert_int_equal(lago_publisher_publish_batch(publisher, bodies + 3, 2, NULL, &first), LAGO_EAGAIN);
    assert_int_equal(first, 0);
    assert_int_equal(lago_publisher_publish_batch(publisher, (lago_bytes_t[]){ { "a", 1 }, { NULL, 1 } }, 2, NULL, NULL),
                     LAGO_EINVAL);
    assert_int_equal(lago_publisher_publish_batch(publisher, NULL, 1, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_publisher_room(publisher), 0);
    server_send(&t->v, "1 basic.ack delivery_tag=3 multiple=1");
    assert_journal(t, "x 1 confirmed; m 2 confirmed; m 3 confirmed; p ready 1");
    assert_int_equal(lago_publisher_room(publisher), 3);
    assert_int_equal(lago_publisher_publish_batch(publisher, bodies + 3, 2, probe(t, "n"), &first), 2);
    assert_int_equal(first, 5);
    client_end(t);
}

/* ---------------------------------------------------------------- outcomes */

static void a_thousand_confirms_are_one_call(void **state) {
    (void)state;
    open_channel();
    publisher = make_settled("p");
    for (int i = 0; i < 1000; i++) assert_true(publish(publisher, "x", NULL) > 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.ack delivery_tag=999 multiple=1");
    assert_journal(t, "p 1-999 confirmed");
    server_send(&t->v, "1 basic.nack delivery_tag=1000");
    assert_journal(t, "p 1000-1000 nacked");
    lago_counters_t counters = lago_connection_counters(t->conn);
    assert_true(counters.confirmed == 999 && counters.nacked == 1);
    lago_histogram_t histogram;
    assert_int_equal(lago_connection_histogram(t->conn, LAGO_METRIC_CONFIRM, &histogram), 0);
    assert_int_equal(histogram.count, 1000);
    client_end(t);
}

static void runs_end_where_others_begin(void **state) {
    (void)state;
    open_channel();
    lago_publisher_t *a = make_settled("a"), *b = make_settled("b");
    lago_basic_publish_t plain = { .routing_key = "x" };
    assert_int_equal(publish(a, "1", NULL), 1);
    assert_int_equal(publish(a, "2", NULL), 2);
    assert_int_equal(publish(b, "3", NULL), 3);
    assert_int_equal(publish(a, "4", NULL), 4);
    assert_int_equal(lago_basic_publish(ch, &plain, NULL, NULL), 5); /* nobody is told, and yet it lies between */
    assert_int_equal(publish(a, "6", NULL), 6);
    assert_int_equal(lago_basic_publish(ch, &plain, noted_publish, probe(t, "plain")), 7);
    assert_int_equal(publish(a, "8", NULL), 8);
    assert_int_equal(publish(a, "9", NULL), 9);
    server_send(&t->v, "1 basic.ack delivery_tag=9"); /* settled before: not in the run */
    server_send(&t->v, "1 basic.ack delivery_tag=9 multiple=1");
    assert_journal(t, "a 9-9 confirmed; a 1-2 confirmed; b 3-3 confirmed; a 4-4 confirmed; a 6-6 confirmed; plain 7 confirmed; "
                      "a 8-8 confirmed");
    client_end(t);
}

static void returned_ones_have_runs_of_their_own(void **state) {
    (void)state;
    open_channel();
    publisher = make(&(lago_publisher_options_t){
        .exchange = "ex", .routing_key = "k", .mandatory = true, .on_settled = noted_settled, .data = probe(t, "p") });
    for (int i = 1; i <= 5; i++) assert_int_equal(publish(publisher, i == 3 ? "three" : "x", NULL), i);
    server_send(&t->v, "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" exchange=\"ex\" routing_key=\"k\"\n"
                       "1 header body_size=5\n1 body \"three\"\n1 basic.ack delivery_tag=5 multiple=1");
    assert_journal(t, "1 return 312 k; p 1-2 confirmed; p 3-3 returned; p 4-5 confirmed");
    client_end(t);
}

/* Why they came back is told of a whole run, so those with another reason are another one; no reason is NO_ROUTE (312). */
static void each_reason_of_a_return_has_a_run(void **state) {
    static const char *const reasons[] = { "312", "312", "313", "0", "312" };
    (void)state;
    open_channel();
    publisher = make(
        &(lago_publisher_options_t){ .routing_key = "k", .mandatory = true, .on_settled = noted_settled, .data = probe(t, "p") });
    for (int i = 0; i < 5; i++) {
        char lines[160];
        assert_int_equal(publish(publisher, "x", NULL), i + 1);
        (void)snprintf(lines, sizeof(lines), "1 basic.return reply_code=%s routing_key=\"k\"\n1 header body_size=1\n1 body \"x\"",
                       reasons[i]);
        server_send(&t->v, lines);
    }
    journal_clear(t);
    server_send(&t->v, "1 basic.ack delivery_tag=5 multiple=1");
    assert_journal(t, "p 1-2 returned; p 3-3 returned; p 4-5 returned");
    client_end(t);
}

/* What is expected to come back is told as an outcome, and needs no on_return. */
static void a_return_that_was_expected_is_not_logged(void **state) {
    (void)state;
    open_connection(NULL);
    assert_int_equal(lago_channel_open(t->conn, NULL, &ch), 0);
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.open-ok\n1 confirm.select-ok");
    lago_basic_publish_t args = { .routing_key = "k", .mandatory = true };
    assert_int_equal(lago_basic_publish(ch, &args, noted_publish, probe(t, "m")), 1);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.return reply_code=312 routing_key=\"k\"\n1 header body_size=0\n1 basic.ack delivery_tag=1");
    assert_journal(t, "m 1 returned");
    assert_null(strstr(t->v.log, "unroutable"));
    server_send(&t->v, "1 basic.return reply_code=312 routing_key=\"other\"\n1 header body_size=0");
    assert_non_null(strstr(t->v.log, "a message came back unroutable"));
    client_end(t);
}

static void what_is_refused_is_the_channels_error(void **state) {
    (void)state;
    static char name[257];
    memset(name, 'n', 256);
    open_channel();
    lago_publisher_message_t message = { .routing_key = name };
    assert_int_equal(lago_publisher_publish_message(make(NULL), &message, NULL), LAGO_ETOOLONG);
    assert_int_equal(lago_channel_error(ch), LAGO_ETOOLONG);
    client_end(t);
}

static void outcomes_have_names(void **state) {
    static const char *const names[] = { "confirmed", "nacked", "returned", "not sent", "unknown", "no outcome" };
    (void)state;
    for (int i = 0; i < 6; i++)
        assert_string_equal(lago_publish_outcome_name((lago_publish_outcome_t)(LAGO_PUBLISH_CONFIRMED + i)), names[i]);
}

/* Names of one length are not one name. */
static void a_return_is_of_one_exchange(void **state) {
    static const char *const exchanges[] = { "red", "tan", "red", "sky" };
    (void)state;
    open_channel();
    for (int i = 0; i < 4; i++) {
        lago_basic_publish_t args = { .exchange = exchanges[i], .routing_key = "k", .mandatory = true };
        assert_int_equal(lago_basic_publish(ch, &args, noted_publish, probe(t, exchanges[i])), i + 1);
    }
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.return reply_code=312 exchange=\"tan\" routing_key=\"k\"\n1 header body_size=0\n"
                       "1 basic.return reply_code=312 exchange=\"sun\" routing_key=\"k\"\n1 header body_size=0");
    journal_clear(t);
    server_send(&t->v, "1 basic.ack delivery_tag=4 multiple=1");
    assert_journal(t, "red 1 confirmed; tan 2 returned; red 3 confirmed; sky 4 confirmed");
    client_end(t);
}

/* An overridden routing key is the one that comes back. */
static void returns_find_messages_with_another_key(void **state) {
    (void)state;
    open_channel();
    publisher = make(&(lago_publisher_options_t){ .routing_key = "k", .mandatory = true, .on_outcome = noted_publish });
    lago_publisher_message_t message = { .body = { "x", 1 }, .routing_key = "other" };
    assert_int_equal(publish(publisher, "x", probe(t, "a")), 1);
    assert_int_equal(lago_publisher_publish_message(publisher, &message, probe(t, "b")), 2);
    server_send(&t->v, "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"other\"\n"
                       "1 header body_size=1\n1 body \"x\"\n1 basic.ack delivery_tag=2 multiple=1");
    assert_journal(t, "1 return 312 other; a 1 confirmed; b 2 returned");
    client_end(t);
}

/* A multiple of many is told over several turns, and its run is one all the same. */
static void a_run_lasts_over_turns(void **state) {
    (void)state;
    untraced = true;
    open_channel();
    publisher = make_settled("p");
    for (int i = 0; i < 80000; i++) assert_true(publish(publisher, "", NULL) > 0);
    virtual_run(&t->v);
    unsigned turns = t->v.counts.turns;
    server_send(&t->v, "1 basic.ack multiple=1");
    assert_true(t->v.counts.turns > turns + 2);
    assert_journal(t, "p 1-80000 confirmed");
    client_end(t);
    untraced = false;
}

/* ---------------------------------------------------------------- nonsense, and no memory */

static void refuses_nonsense(void **state) {
    (void)state;
    static char name[257], large[200000];
    lago_publisher_t *p = (lago_publisher_t *)name;
    memset(name, 'n', 256);
    memset(large, 'v', sizeof(large) - 1);
    client_open(t);
    ch = client_open_channel(t);
    assert_int_equal(lago_publisher_new(NULL, NULL, &p), LAGO_EINVAL);
    assert_null(p);
    assert_int_equal(lago_publisher_new(ch, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_publisher_new(ch, &(lago_publisher_options_t){ .window_count = 1 }, &p), LAGO_ENOCONFIRM);
    assert_int_equal(lago_publisher_new(ch, &(lago_publisher_options_t){ .on_outcome = noted_publish }, &p), LAGO_ENOCONFIRM);
    assert_int_equal(lago_publisher_new(ch, &(lago_publisher_options_t){ .on_settled = noted_settled }, &p), LAGO_ENOCONFIRM);
    assert_int_equal(lago_channel_error(ch), LAGO_EINVAL);
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    lago_publisher_options_t both = { .on_outcome = noted_publish, .on_settled = noted_settled };
    assert_int_equal(lago_publisher_new(ch, &both, &p), LAGO_EINVAL);
    assert_int_equal(lago_publisher_new(ch, &(lago_publisher_options_t){ .reserved = { 1 } }, &p), LAGO_EINVAL);
    assert_int_equal(lago_publisher_new(ch, &(lago_publisher_options_t){ .exchange = name }, &p), LAGO_ETOOLONG);
    lago_field_t field = LAGO_FIELD_STR("k", large);
    lago_properties_t properties = { .headers = { .fields = &field, .size = 1 } };
    assert_int_equal(lago_publisher_new(ch, &(lago_publisher_options_t){ .properties = &properties }, &p), LAGO_ETOOBIG);
    assert_null(p);
    p = make(NULL);
    assert_int_equal(lago_publisher_publish(NULL, (lago_bytes_t){ "x", 1 }, NULL), LAGO_EINVAL);
    assert_int_equal(lago_publisher_publish(p, (lago_bytes_t){ NULL, 1 }, NULL), LAGO_EINVAL);
    assert_int_equal(lago_publisher_publish_batch(NULL, NULL, 0, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_publisher_publish_message(NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_publisher_publish_message(p, NULL, NULL), LAGO_EINVAL);
    lago_publisher_message_t message = { .release_body = noted_release, .release_data = probe(t, "body") };
    message.routing_key = name;
    assert_int_equal(lago_publisher_publish_message(p, &message, NULL), LAGO_ETOOLONG);
    message.routing_key = NULL;
    message.properties = &properties;
    assert_int_equal(lago_publisher_publish_message(p, &message, NULL), LAGO_ETOOBIG);
    message.reserved[0] = 1;
    assert_int_equal(lago_publisher_publish_message(p, &message, NULL), LAGO_EINVAL);
    assert_int_equal(lago_publisher_unconfirmed_count(p) + lago_publisher_unconfirmed_count(NULL), 0);
    assert_null(lago_publisher_data(NULL));
    assert_null(lago_publisher_channel(NULL));
    assert_int_equal(lago_publisher_room(NULL), 0);
    assert_int_equal(publish(p, "first", NULL), 1); /* what was refused took no number */
    assert_journal(t, "");
    client_end(t);
}

/* The k-th allocation fails, and all after it: what was accepted has one outcome, what was refused none. */
static bool live_without(size_t k, bool from_then_on) {
    static char large[5000];
    const lago_bytes_t batch[] = { { "1", 1 }, { large, sizeof(large) }, { "3", 1 } };
    lago_publisher_t *p = NULL;
    unsigned accepted = 0, lent_count = 0;
    open_channel();
    struct probe *outcome = probe(t, "outcome"), *body = probe(t, "body");
    lago_publisher_message_t lent = { .body = { large, sizeof(large) }, .release_body = noted_release, .release_data = body };
    lago_publisher_message_t other = { .body = { "x", 1 },
                                       .properties = &(lago_properties_t){ .type = "t" },
                                       .routing_key = "o" };
    fail_alloc_at(&t->v.alloc, k, from_then_on);
    lago_publisher_options_t options = {
        .routing_key = "k", .mandatory = true, .on_outcome = noted_publish, .window_count = 200
    };
    int rc = lago_publisher_new(ch, &options, &p);
    assert_true(rc == (p ? 0 : LAGO_ENOMEM));
    for (int i = 0; p && i < 100; i++) {
        uint64_t first = 0;
        int64_t sent = i % 10 == 3   ? lago_publisher_publish_message(p, &lent, outcome)
                       : i % 10 == 6 ? lago_publisher_publish_message(p, &other, outcome)
                       : i % 10 == 8 ? lago_publisher_publish_batch(p, batch, 3, outcome, &first)
                                     : publish(p, "x", outcome);
        assert_true(sent > 0 || sent == LAGO_ENOMEM);
        if (sent > 0) assert_int_equal(i % 10 == 8 ? first : (uint64_t)sent, accepted + 1);
        if (sent > 0) accepted += i % 10 == 8 ? (unsigned)sent : 1;
        lent_count += sent > 0 && i % 10 == 3;
    }
    bool failed = t->v.alloc.calls >= k;
    fail_alloc_at(&t->v.alloc, 0, false);
    virtual_run(&t->v);
    assert_int_equal(body->calls, lent_count);
    if (accepted > 0) server_send(&t->v, "1 basic.ack multiple=1");
    assert_int_equal(outcome->calls, accepted);
    assert_true(from_then_on || accepted >= 117 || !p);
    client_end(t);
    return failed;
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        size_t k = 1;
        untraced = way >= 2;
        while (live_without(k, way % 2)) k++;
        assert_true(k > 10);
    }
    untraced = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prepared_message_leaves_as_a_plain_one),
        cmocka_unit_test(a_message_may_differ_from_what_was_prepared),
        cmocka_unit_test(before_it_is_open_everything_keeps_its_order),
        cmocka_unit_test(a_blocked_connection_holds_it),
        cmocka_unit_test(a_blocked_connection_may_refuse_it),
        cmocka_unit_test(a_lent_body_comes_back),
        cmocka_unit_test(a_batch_is_taken_whole_or_in_part),
        cmocka_unit_test(a_thousand_confirms_are_one_call),
        cmocka_unit_test(runs_end_where_others_begin),
        cmocka_unit_test(returned_ones_have_runs_of_their_own),
        cmocka_unit_test(each_reason_of_a_return_has_a_run),
        cmocka_unit_test(a_return_is_of_one_exchange),
        cmocka_unit_test(a_return_that_was_expected_is_not_logged),
        cmocka_unit_test(outcomes_have_names),
        cmocka_unit_test(what_is_refused_is_the_channels_error),
        cmocka_unit_test(returns_find_messages_with_another_key),
        cmocka_unit_test(a_run_lasts_over_turns),
        cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
