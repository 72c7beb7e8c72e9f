/*
 * Links to a real broker that break in the middle: of a delivery, a publish, a confirm, a frame. What was lost is told so, what was
 * not sent too; what was cut is never delivered in part, and comes again. (tests/FAULTS.md F59, F60, F64, F71, F72, F74, F79.)
 * Over TLS the same by records.
 */
#include "fixture.h"
#include "proxy.h"

static struct proxy proxy;
static bool over_tls;

/* ---------------------------------------------------------------- the proxy between */

/* The links of this fixture lead through it from here on. */
static int setup_proxy(void **state) {
    setup_loop(state);
    struct fixture *f = *state;
    over_tls = f->parameters->tls != NULL;
    struct proxy_options options = { .to_port = f->parameters->port, .seed = 1 };
    assert_int_equal(proxy_begin(&proxy, &f->loop, &options), 0);
    f->parameters->host = "127.0.0.1";
    f->parameters->port = proxy.port;
    return 0;
}

static int teardown_proxy(void **state) {
    struct fixture *f = *state;
    if (f->running) return 0;
    assert_null(proxy_faults(&proxy, "up"));
    assert_null(proxy_faults(&proxy, "down"));
    if (f->conn && lago_connection_close(f->conn, NULL) == 0) run_until(f, f->closed);
    lago_connection_free(f->conn);
    f->conn = NULL;
    if (f->name_count > 0) connect_and_wait(f); /* to delete them */
    if (f->conn && f->name_count > 0) {
        lago_channel_t *ch;
        assert_int_equal(lago_channel_open(f->conn, NULL, &ch), 0);
        for (size_t i = 0; i < f->name_count; i++)
            lago_queue_delete(ch, &(lago_queue_delete_t){ .queue = f->names[i], .no_wait = true }, NULL, NULL);
        assert_int_equal(lago_connection_close(f->conn, NULL), 0);
        run_until(f, f->closed);
    }
    f->name_count = 0;
    proxy_end(&proxy);
    while (!proxy_is_gone(&proxy)) uv_run(&f->loop, UV_RUN_NOWAIT);
    return teardown(state);
}

static void faults(const char *words) {
    const char *wrong = proxy.first ? link_faults(proxy.first, words) : "there is no link";
    if (wrong) fail_msg("\"%s\": %s", words, wrong);
}

static void let_go(struct fixture *f) {
    lago_connection_free(f->conn);
    f->conn = NULL;
    f->ch = NULL;
    f->tag_count = 0;
    forget_events(f);
    if (proxy.first && (proxy.first->up.stalled || proxy.first->down.stalled)) link_end(proxy.first, PROXY_RESET);
    uv_ref(&proxy.listener.handle); /* else the loop has nothing to do */
    run_until(f, proxy.link_count == 0);
    uv_unref(&proxy.listener.handle);
}

static void come_again(struct fixture *f) {
    if (f->conn) let_go(f);
    connect_and_wait(f);
    f->ch = open_channel(f);
}

/* A queue that survives its connection, by a name nobody else has. */
static const char *kept_queue(struct fixture *f) {
    const char *queue = queue_name(f);
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
    return queue;
}

static void confirming(struct fixture *f) {
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "select ok");
}

static void consume(struct fixture *f, const char *queue) {
    lago_basic_consume_t args = { .queue = queue, .consumer_tag = "c", .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &args, NULL, NULL), 0);
}

static bool is_lost(const struct fixture *f) {
    int code = f->reason.code;
    return code == LAGO_ELOST || (over_tls && (code == LAGO_ETRUNCATED || code == LAGO_ETLS));
}

/* ---------------------------------------------------------------- F31: strange but whole */

/* A hundred messages, confirmed, and back. */
static void expect_to_work(struct fixture *f) {
    come_again(f);
    const char *queue = new_queue(f);
    confirming(f);
    for (int i = 0; i < 100; i++) {
        lago_basic_publish_t args = { .routing_key = queue, .body = { "again and again", 15 } };
        assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("p")), i + 1);
    }
    run_until(f, f->event_count == 100);
    assert_true(has_event(f, "p #1 confirmed") && has_event(f, "p #100 confirmed"));
    forget_events(f);
    consume(f, queue);
    run_until(f, f->event_count == 100);
    assert_true(has_event(f, "got again and again"));
    assert_int_equal(lago_basic_ack(f->ch, f->tags[99], LAGO_MULTIPLE), 0);
    sync_channel(f);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    run_until(f, f->closed);
    assert_int_equal(f->reason.code, LAGO_ECLOSED);
    let_go(f);
}

static void what_is_only_slow_or_in_pieces_is_whole(void **state) {
    struct fixture *f = *state;
    static const char *const words[][2] = { { "up slice_max=1", "down slice_max=1" },
                                            { "up latency_ms=5 jitter_ms=5", "down latency_ms=5 jitter_ms=10" },
                                            { "up bytes_per_s=200000 slice_max=99", "down bytes_per_s=200000 close_ms=20" } };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_null(proxy_faults(&proxy, "up"));
        assert_null(proxy_faults(&proxy, "down"));
        assert_null(proxy_faults(&proxy, words[i][0]));
        assert_null(proxy_faults(&proxy, words[i][1]));
        expect_to_work(f);
    }
}

/* ---------------------------------------------------------------- F59: cut in a delivery */

static void expect_nothing_but_the_end(struct fixture *f) {
    run_until(f, f->closed);
    assert_int_equal(f->tag_count, 0);
    assert_int_equal(f->event_count, 2);
    assert_true(is_lost(f));
}

static void expect_again(struct fixture *f, const char *queue, const char *event) {
    come_again(f);
    consume(f, queue);
    expect_events(f, event);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    sync_channel(f);
    expect_length(f, queue, 0);
}

/* How long a delivery is: what the proxy has seen of one that is not cut. */
static unsigned delivery_size(struct fixture *f, const char *queue) {
    come_again(f);
    faults("down act=tell frame=basic.deliver");
    consume(f, queue);
    expect_events(f, "got half a message");
    return (unsigned)(proxy.first->down.passed - proxy.first->down.fired_at);
}

static void cut_at_each_byte_of_a_delivery(void **state) {
    struct fixture *f = *state;
    char words[96];
    if (over_tls) skip(); /* frames cannot be seen */
    come_again(f);
    const char *queue = kept_queue(f);
    publish_text(f, queue, "half a message");
    sync_channel(f);
    unsigned size = delivery_size(f, queue), fired = proxy.fired;
    assert_in_range(size, 60, 300);
    for (unsigned at = 0; at < size; at++) {
        come_again(f);
        snprintf(words, sizeof words, "down act=%s frame=basic.deliver offset=%u", at % 2 ? "reset" : "close", at);
        faults(words);
        consume(f, queue);
        expect_nothing_but_the_end(f);
    }
    assert_int_equal(proxy.fired, fired + size);
    expect_again(f, queue, "got half a message again");
}

/* Below TLS: at the boundary of a record, in its head, in its middle; or with a wrong bit in it. */
static void cut_in_the_records_of_a_delivery(void **state) {
    struct fixture *f = *state;
    static const char *const cuts[] = {
        "act=close record=application_data",          "act=reset record=application_data offset=1",
        "act=close record=application_data offset=5", "act=reset record=application_data offset=40",
        "act=close record=application_data offset=6", "act=flip record=application_data offset=5",
        "act=flip record=application_data offset=70"
    };
    if (!over_tls) skip();
    /* RabbitMQ 4.0.5 once did not notice the FIN of a link, and would have kept the message until it missed heartbeats */
    f->parameters->heartbeat_s = 2;
    come_again(f);
    const char *queue = kept_queue(f);
    publish_text(f, queue, "half a message");
    sync_channel(f);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        char words[96];
        come_again(f);
        snprintf(words, sizeof words, "down %s", cuts[i]);
        faults(words);
        consume(f, queue);
        expect_nothing_but_the_end(f);
        if (strstr(words, "flip")) assert_int_equal(f->reason.code, LAGO_ETLS);
    }
    come_again(f);
    consume(f, queue);
    run_until(f, f->event_count == 1); /* "again" only if one of the records was the delivery */
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    sync_channel(f);
    expect_length(f, queue, 0);
}

/* ---------------------------------------------------------------- F60: stalled in a frame */

static void stalled_in_the_middle_of_a_frame(void **state) {
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 1;
    come_again(f);
    const char *queue = kept_queue(f);
    publish_text(f, queue, "half a message");
    faults(over_tls ? "down act=stall record=application_data offset=30" : "down act=stall frame=basic.deliver offset=30");
    consume(f, queue);
    run_until(f, proxy.first->down.fired);
    uint64_t before = uv_hrtime();
    expect_events(f, "channel 1 close EHEARTBEAT", "close EHEARTBEAT");
    assert_in_range((uv_hrtime() - before) / 1000000, 400, 1600); /* as in test_node.c */
    assert_int_equal(f->tag_count, 0);
}

/* ---------------------------------------------------------------- F64: deliveries on a channel that closes */

static void deliveries_for_a_channel_that_closes(void **state) {
    struct fixture *f = *state;
    come_again(f);
    const char *queue = kept_queue(f);
    for (int i = 0; i < 200; i++) publish_text(f, queue, "for nobody");
    expect_length(f, queue, 200);
    faults("down act=stall byte=0");
    consume(f, queue);
    assert_int_equal(lago_channel_close(f->ch, NULL), 0);
    uint64_t before = proxy.first->down.arrived;
    run_until(f, proxy.first->down.arrived > before + 200 * 60); /* they are on their way */
    assert_int_equal(f->event_count, 0);
    link_go_on(proxy.first);
    expect_events(f, "channel 1 close ECLOSED");
    assert_int_equal(f->tag_count, 0);
    lago_channel_free(f->ch);
    f->ch = open_channel(f);
    expect_length(f, queue, 200);
}

/* ---------------------------------------------------------------- F71, F72: a broker that does not read */

enum { BIG = 1024 * 1024, MANY = 64 };

static unsigned unknown, not_sent;
static bool in_order;

/* First those of which a byte has left, then those of which none has. */
static void on_lost(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    (void)data;
    in_order = in_order && result->sequence_number == unknown + not_sent + 1;
    if (result->outcome == LAGO_PUBLISH_UNKNOWN) {
        in_order = in_order && not_sent == 0;
        unknown++;
    } else {
        assert_int_equal(result->outcome, LAGO_PUBLISH_NOT_SENT);
        not_sent++;
    }
}

/* Publish until it is refused. @return how many were taken. */
static unsigned fill(struct fixture *f, const char *queue) {
    static char body[BIG];
    unsigned taken = 0;
    int64_t rc;
    lago_basic_publish_t args = { .routing_key = queue, .body = { body, BIG } };
    unknown = not_sent = 0;
    in_order = true;
    while ((rc = lago_basic_publish(f->ch, &args, on_lost, NULL)) > 0) taken++;
    assert_int_equal(rc, LAGO_EAGAIN);
    return taken;
}

static unsigned fill_a_stalled_link(struct fixture *f, const char **queue) {
    f->parameters->high_water = (size_t)MANY * BIG;
    come_again(f);
    *queue = kept_queue(f);
    confirming(f);
    faults("up act=stall byte=30000");
    unsigned taken = fill(f, *queue);
    run_until(f, proxy.first->up.fired);
    return taken;
}

/* Those of which the broker has not had a whole one: nothing of them is there. */
static void expect_lost(struct fixture *f, const char *queue, unsigned taken) {
    assert_int_equal(unknown + not_sent, taken);
    assert_true(in_order);
    assert_in_range(unknown, 1, taken - 1);
    f->parameters->high_water = 0;
    come_again(f);
    expect_length(f, queue, 0);
}

static void a_broker_that_does_not_read(void **state) {
    struct fixture *f = *state;
    const char *queue;
    f->parameters->write_timeout_ms = 1000;
    unsigned taken = fill_a_stalled_link(f, &queue);
    uint64_t before = uv_hrtime();
    expect_events(f, "channel 1 close ESTALLED", "close ESTALLED");
    assert_in_range((uv_hrtime() - before) / 1000000, 900, 2500);
    expect_lost(f, queue, taken);
}

static void reset_in_the_middle_of_a_publish(void **state) {
    struct fixture *f = *state;
    const char *queue;
    unsigned taken = fill_a_stalled_link(f, &queue);
    for (int i = 0; i < 100; i++) uv_run(&f->loop, UV_RUN_NOWAIT); /* as much as the kernel takes */
    link_end(proxy.first, PROXY_RESET);
    run_until(f, f->closed);
    assert_true(is_lost(f));
    expect_lost(f, queue, taken);
}

/* Whatever the byte: unknown, and the broker has none of it. */
static void cut_at_each_byte_of_a_publish(void **state) {
    struct fixture *f = *state;
    char words[64];
    if (over_tls) skip();
    come_again(f);
    const char *queue = kept_queue(f);
    lago_basic_publish_t args = { .routing_key = queue, .body = { "half a message", 14 } };
    const unsigned size = 7 + 4 + 2 + 1 + 1 + (unsigned)strlen(queue) + 1 + 1 + 7 + 14 + 1 + 7 + 14 + 1;
    for (unsigned at = 0; at < size; at++) {
        come_again(f);
        confirming(f);
        snprintf(words, sizeof words, "up act=%s frame=basic.publish offset=%u", at % 2 ? "reset" : "close", at);
        faults(words);
        assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("p")), 1);
        expect_events(f, "p #1 unknown", "channel 1 close ELOST", "close ELOST");
    }
    come_again(f);
    expect_length(f, queue, 0);
    confirming(f);
    snprintf(words, sizeof words, "up act=close frame=basic.publish offset=%u", size); /* behind its last byte: it is there */
    faults(words);
    assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("p")), 1);
    run_until(f, f->closed);
    come_again(f);
    expect_length(f, queue, 1);
}

/* ---------------------------------------------------------------- F74: cut between two frames of a body */

static void cut_between_two_frames_of_a_body(void **state) {
    struct fixture *f = *state;
    static char body[300000];
    if (over_tls) skip();
    come_again(f);
    const char *queue = kept_queue(f);
    for (int i = 0; i < 4; i++) {
        lago_basic_publish_t args = { .routing_key = queue, .body = { body, sizeof body } };
        come_again(f);
        confirming(f);
        char words[64];
        snprintf(words, sizeof words, "up act=%s frame=body nth=2%s", i % 2 ? "reset" : "close", i > 1 ? " offset=1000" : "");
        faults(words);
        assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("big")), 1);
        expect_events(f, "big #1 unknown", "channel 1 close ELOST", "close ELOST");
    }
    come_again(f);
    expect_length(f, queue, 0);
    publish_text(f, queue, "small");
    expect_length(f, queue, 1);
}

/* ---------------------------------------------------------------- F79: the ack is lost */

static void cut_at_each_byte_of_an_ack(void **state) {
    enum { ACK_SIZE = 7 + 4 + 8 + 1 + 1 };
    struct fixture *f = *state;
    if (over_tls) skip();
    come_again(f);
    const char *queue = kept_queue(f);
    lago_basic_publish_t args = { .routing_key = queue, .body = { "once more", 9 } };
    for (unsigned at = 0; at < ACK_SIZE; at++) {
        char words[64];
        come_again(f);
        confirming(f);
        snprintf(words, sizeof words, "down act=%s frame=basic.ack offset=%u", at % 2 ? "reset" : "close", at);
        faults(words);
        assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("p")), 1);
        expect_events(f, "p #1 unknown", "channel 1 close ELOST", "close ELOST");
    }
    come_again(f);
    confirming(f);
    assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("p")), 1);
    expect_events(f, "p #1 confirmed");
    expect_length(f, queue, ACK_SIZE + 1); /* each of them had arrived */
    consume(f, queue);
    run_until(f, f->event_count == ACK_SIZE + 1);
    assert_false(has_event(f, "got once more again")); /* they are other messages: nobody had them before */
}

/* ---------------------------------------------------------------- wrong bits */

static void on_enough(lago_connection_t *conn, int status, void *data) {
    (void)data;
    if (status == 0) lago_connection_abort(conn);
}

/* Whatever the broker seems to say: one end, in time, and nothing that a sanitizer minds. */
static void wrong_bits_from_the_broker(void **state) {
    struct fixture *f = *state;
    unsigned ended = 0;
    assert_null(proxy_faults(&proxy, "down flip_per_million=3000 slice_max=200"));
    for (int i = 0; i < 20; i++) {
        connect_now(f);
        assert_int_equal(lago_connection_call_later(f->conn, 100, on_enough, NULL, NULL), 0);
        assert_int_equal(lago_channel_open(f->conn, NULL, &f->ch), 0);
        lago_queue_declare(f->ch, &(lago_queue_declare_t){ .exclusive = true }, NULL, NULL);
        lago_confirm_select(f->ch, NULL, NULL, NULL);
        for (int k = 0; k < 50; k++) publish_text(f, "", "x");
        run_until(f, f->opened || f->closed);
        if (!f->closed) lago_connection_close(f->conn, NULL);
        run_until(f, f->closed);
        ended += f->reason.code != LAGO_ECLOSED;
        let_go(f);
    }
    f->log_count = 0;
    assert_in_range(ended, 5, 20);
    print_message("%u of 20 ended by it\n", ended);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_only_slow_or_in_pieces_is_whole, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(cut_at_each_byte_of_a_delivery, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(cut_in_the_records_of_a_delivery, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(stalled_in_the_middle_of_a_frame, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(deliveries_for_a_channel_that_closes, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(a_broker_that_does_not_read, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(reset_in_the_middle_of_a_publish, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(cut_at_each_byte_of_a_publish, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(cut_between_two_frames_of_a_body, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(cut_at_each_byte_of_an_ack, setup_proxy, teardown_proxy),
        cmocka_unit_test_setup_teardown(wrong_bits_from_the_broker, setup_proxy, teardown_proxy),
    };
    return run_broker_tests(tests);
}
