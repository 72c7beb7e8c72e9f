/*
 * Faults that clients of AMQP have had, against a real broker: idle connections that die, headers that break the stream, pending
 * calls that are forgotten, calls at the wrong time, and batches whose failure names nobody.
 */
#include "fixture.h"

/* ---------------------------------------------------------------- idle */

static void on_timer(lago_connection_t *conn, int status, void *data) {
    record(lago_connection_data(conn), "%s %s", (char *)data, status ? lago_error_name(status) : "fired");
}

/* RabbitMQ resets a client that is silent for three intervals; some adapters of other clients never beat. */
static void an_idle_connection_lives_on(void **state) {
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 1;
    connect_and_wait(f);
    f->ch = open_channel(f);
    const char *queue = new_queue(f);
    lago_basic_consume_t consume = { .queue = queue, .auto_ack = true, .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &consume, on_consumer, label("consume")), 0);
    expect_events(f, "consume ok");
    uint64_t messages = lago_connection_counters(f->conn).messages_sent;
    assert_int_equal(lago_connection_call_later(f->conn, 5000, on_timer, label("five intervals"), NULL), 0);
    expect_events(f, "five intervals fired");
    assert_int_equal(lago_connection_counters(f->conn).messages_sent, messages);
    publish_text(f, queue, "still here");
    expect_events(f, "got still here");
}

/* ---------------------------------------------------------------- headers that do not fit */

static int64_t publish_with_header(struct fixture *f, const char *queue, const char *text, size_t size) {
    lago_properties_t properties = { .headers = LAGO_TABLE(LAGO_FIELD_STRING("x", text, size)) };
    lago_basic_publish_t args = { .routing_key = queue, .properties = &properties, .body = { "x", 1 } };
    return lago_basic_publish(f->ch, &args, on_outcome, label("p"));
}

/* 7 octets of frame, 14 of content header before the table's size, 4 of that, "x" and 'S' and its size: 7; the end octet. */
#define HEADER_OVERHEAD ((size_t)7 + 14 + 4 + 7 + 1)

/* Not a byte of such a message leaves, it takes no number, and what comes after it is as if it had not been. */
static void a_header_that_does_not_fit_is_as_if_it_had_not_been(void **state) {
    struct fixture *f = *state;
    static char text[16384];
    f->parameters->frame_max = 8192; /* RabbitMQ 4.1 and newer take no less */
    connect_and_wait(f);
    f->ch = open_channel(f);
    const char *queue = new_queue(f);
    size_t largest = lago_connection_tune(f->conn).frame_max - HEADER_OVERHEAD;
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_done, label("select")), 0);
    expect_events(f, "select ok");
    memset(text, 'x', sizeof text);
    assert_int_equal(publish_with_header(f, queue, text, largest), 1);
    uint64_t frames = lago_connection_counters(f->conn).frames_sent;
    assert_int_equal(publish_with_header(f, queue, text, largest + 1), LAGO_ETOOBIG);
    assert_int_equal(publish_with_header(f, queue, text, sizeof text), LAGO_ETOOBIG);
    assert_int_equal(lago_connection_counters(f->conn).frames_sent, frames);
    assert_int_equal(publish_with_header(f, queue, text, 1), 2);
    expect_events(f, "p #1 confirmed", "p #2 confirmed");
    expect_length(f, queue, 2);
    assert_int_equal(lago_channel_state(f->ch), LAGO_CHANNEL_OPEN);
}

/* ---------------------------------------------------------------- nothing that is pending is forgotten */

/* One of each operation that has an answer. */
static void issue_everything(struct fixture *f) {
    lago_channel_t *ch = f->ch;
    lago_queue_bind_t bind = { .queue = "q", .exchange = "amq.direct" };
    lago_exchange_bind_t exchange_bind = { .destination = "amq.direct", .source = "amq.fanout" };
    lago_basic_consume_t consume = { .queue = "q", .consumer_tag = "c", .on_message = on_message };
    assert_int_equal(lago_basic_qos(ch, NULL, on_done, label("qos")), 0);
    assert_int_equal(lago_basic_get(ch, &(lago_basic_get_t){ .queue = "q" }, on_got, label("get")), 0);
    assert_int_equal(lago_basic_get(ch, &(lago_basic_get_t){ .queue = "q" }, on_got, label("get again")), 0);
    assert_int_equal(lago_basic_consume(ch, &consume, on_consumer, label("consume")), 0);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, on_consumer, label("cancel")), 0);
    assert_int_equal(lago_basic_recover(ch, NULL, on_done, label("recover")), 0);
    assert_int_equal(lago_queue_declare(ch, NULL, on_declared, label("declare")), 0);
    assert_int_equal(lago_queue_bind(ch, &bind, on_done, label("bind")), 0);
    assert_int_equal(lago_queue_unbind(ch, &bind, on_done, label("unbind")), 0);
    assert_int_equal(lago_queue_purge(ch, &(lago_queue_purge_t){ .queue = "q" }, on_count, label("purge")), 0);
    assert_int_equal(lago_queue_delete(ch, &(lago_queue_delete_t){ .queue = "q" }, on_count, label("delete")), 0);
    assert_int_equal(lago_exchange_declare(ch, &(lago_exchange_declare_t){ .exchange = "e" }, on_done, label("exchange")), 0);
    assert_int_equal(lago_exchange_bind(ch, &exchange_bind, on_done, label("exchange bind")), 0);
    assert_int_equal(lago_exchange_unbind(ch, &exchange_bind, on_done, label("exchange unbind")), 0);
    assert_int_equal(lago_exchange_delete(ch, &(lago_exchange_delete_t){ .exchange = "e" }, on_done, label("exchange delete")),
                     0);
    assert_int_equal(lago_channel_flow(ch, &(lago_channel_flow_t){ .active = true }, on_flow_ok, label("flow")), 0);
    assert_int_equal(lago_tx_commit(ch, NULL, on_done, label("commit")), 0);
    assert_int_equal(lago_confirm_select(ch, NULL, on_done, label("confirm")), 0);
}

/* Every operation in its order; but cancel, which waits for consume-ok, is behind consume in any case. */
#define EXPECT_ALL(word)                                                                                                         \
    "qos " word, "get " word, "get again " word, "consume " word, "cancel " word, "recover " word, "declare " word,              \
        "bind " word, "unbind " word, "purge " word, "delete " word, "exchange " word, "exchange bind " word,                    \
        "exchange unbind " word, "exchange delete " word, "flow " word, "commit " word, "confirm " word

static void an_error_of_the_channel_tells_all_that_waits(void **state) {
    struct fixture *f = *state;
    lago_exchange_bind_t missing = { .destination = "amq.direct", .source = "lago.missing" };
    assert_int_equal(lago_exchange_bind(f->ch, &missing, on_done, label("first")), 0);
    issue_everything(f);
    expect_events(f, "first 404", EXPECT_ALL("404"), "channel 1 close 404");
}

static void an_abort_tells_all_that_waits(void **state) {
    struct fixture *f = *state;
    issue_everything(f);
    assert_int_equal(lago_connection_abort(f->conn), 0);
    expect_events(f, EXPECT_ALL("ECLOSED"), "channel 1 close ECLOSED", "close ECLOSED");
}

static void a_get_from_an_empty_queue_answers_each_time(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get")), 0);
    expect_events(f, "get empty", "get empty", "get empty");
}

/* ---------------------------------------------------------------- early and late calls */

static void early_calls_wait_and_late_ones_say_so(void **state) {
    struct fixture *f = *state;
    lago_channel_options_t options = channel_options();
    lago_channel_t *late;
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &f->ch), 0);
    const char *queue = queue_name(f);
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, on_declared, label("early")), 0);
    expect_events(f, "open", "channel 1 open ok", "early ok");
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0); /* twice is once */
    assert_int_equal(lago_channel_close(f->ch, NULL), 0);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .routing_key = queue }, NULL, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_done, label("late")), LAGO_ECLOSED);
    assert_int_equal(lago_channel_open(f->conn, &options, &late), LAGO_ECLOSED);
    assert_null(late);
    expect_events(f, "channel 1 close ECLOSED", "close ECLOSED");
    assert_int_equal(lago_connection_close(f->conn, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_channel_close(f->ch, NULL), LAGO_ECLOSED);
    assert_int_equal(lago_basic_ack(f->ch, 1, 0), LAGO_ECLOSED);
    assert_int_equal(lago_connection_call_later(f->conn, 1, on_timer, label("late"), NULL), LAGO_ECLOSED);
}

/* ---------------------------------------------------------------- batches */

enum { BATCH = 200 };

static struct {
    unsigned answered, failed;
    unsigned first_failed;
    bool in_order;
} batch;

static void on_of_batch(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    unsigned number = (unsigned)(uintptr_t)data;
    (void)ch;
    batch.in_order = batch.in_order && number == batch.answered;
    if (reason && batch.failed++ == 0) batch.first_failed = number;
    batch.answered++;
}

static void on_declare_of_batch(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ok;
    on_of_batch(ch, reason, data);
}

/* 2 x BATCH operations and five more in one go; that of `bad` goes wrong. @return how many were issued. */
static unsigned issue_batch(struct fixture *f, unsigned bad) {
    unsigned n = 0;
    batch.answered = batch.failed = 0;
    batch.in_order = true;
    for (unsigned i = 0; i < BATCH; i++) {
        lago_queue_declare_t declare = { .exclusive = true };
        lago_queue_bind_t bind = { .exchange = n + 1 == bad ? "lago.missing" : "amq.fanout" };
        assert_int_equal(lago_queue_declare(f->ch, &declare, on_declare_of_batch, (void *)(uintptr_t)n++), 0);
        assert_int_equal(lago_queue_bind(f->ch, &bind, on_of_batch, (void *)(uintptr_t)n++), 0);
    }
    assert_int_equal(lago_confirm_select(f->ch, NULL, on_of_batch, (void *)(uintptr_t)n++), 0);
    assert_int_equal(lago_basic_qos(f->ch, NULL, on_of_batch, (void *)(uintptr_t)n++), 0);
    assert_int_equal(lago_basic_consume(f->ch, &(lago_basic_consume_t){ .on_message = on_message }, NULL, NULL), 0);
    assert_int_equal(lago_basic_publish(f->ch, &(lago_basic_publish_t){ .exchange = "amq.fanout", .body = { "m", 1 } },
                                        on_outcome, label("p")),
                     1);
    return n;
}

static void hundreds_of_operations_in_one_go(void **state) {
    struct fixture *f = *state;
    uint64_t before = lago_connection_counters(f->conn).frames_received;
    unsigned n = issue_batch(f, UINT32_MAX);
    run_until(f, batch.answered == n && f->event_count == 2);
    assert_true(batch.in_order);
    assert_int_equal(batch.failed, 0);
    assert_true(has_event(f, "got m") && has_event(f, "p #1 confirmed"));
    assert_true(lago_connection_counters(f->conn).frames_received - before >= n);
    forget_events(f);
}

/* The one that was refused is the first that fails, and the reason names its method. */
static void an_error_in_the_middle_names_its_operation(void **state) {
    struct fixture *f = *state;
    const unsigned bad = BATCH + 1; /* a bind */
    unsigned n = issue_batch(f, bad);
    run_until(f, f->channel_closes == 1);
    assert_int_equal(batch.answered, n);
    assert_true(batch.in_order);
    assert_int_equal(batch.first_failed, bad);
    assert_int_equal(batch.failed, n - bad);
    expect_events(f, "p #1 unknown", "channel 1 close 404");
    assert_int_equal(f->reason.class_id, 50);
    assert_int_equal(f->reason.method_id, 20);
    assert_non_null(strstr(f->reason.detail, "queue.bind"));
    assert_non_null(strstr(f->reason.reply_text, "lago.missing"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_idle_connection_lives_on, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_header_that_does_not_fit_is_as_if_it_had_not_been, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(an_error_of_the_channel_tells_all_that_waits, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_abort_tells_all_that_waits, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_get_from_an_empty_queue_answers_each_time, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(early_calls_wait_and_late_ones_say_so, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(hundreds_of_operations_in_one_go, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_error_in_the_middle_names_its_operation, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
