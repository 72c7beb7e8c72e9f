/*
 * fast_open with a real broker: a whole bring-up is one write and one round trip, and a refusal tells its cause all the same, after
 * an ordinary opening.
 */
#include "fixture.h"

static void say_goodbye(struct fixture *f) {
    if (lago_connection_close(f->conn, NULL) == 0) run_until(f, f->closed);
    lago_connection_free(f->conn);
    f->conn = NULL;
    forget_events(f);
}

static void open_ordinarily(struct fixture *f) {
    f->parameters->fast_open = true;
    connect_and_wait(f);
    assert_true(lago_connection_counters(f->conn).writes >= 3); /* header, start-ok, tune-ok and open */
    say_goodbye(f);
}

/* Channel, queue, binding, consumer, before there is a connection. */
static void bring_up(struct fixture *f, const char *queue) {
    lago_channel_options_t options = channel_options();
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &f->ch), 0);
    lago_queue_declare_t declare = { .queue = queue, .exclusive = true };
    assert_int_equal(lago_queue_declare(f->ch, &declare, on_declared, label("declare")), 0);
    lago_queue_bind_t bind = { .queue = queue, .exchange = "amq.topic", .routing_key = queue };
    assert_int_equal(lago_queue_bind(f->ch, &bind, on_done, label("bind")), 0);
    assert_int_equal(lago_basic_qos(f->ch, &(lago_basic_qos_t){ .prefetch_count = 10 }, on_done, label("qos")), 0);
    lago_basic_consume_t consume = { .queue = queue, .auto_ack = true, .on_message = on_message };
    assert_int_equal(lago_basic_consume(f->ch, &consume, on_consumer, label("consume")), 0);
}

static void a_bring_up_is_one_write(void **state) {
    struct fixture *f = *state;
    open_ordinarily(f);
    for (int i = 0; i < 5; i++) {
        const char *queue = queue_name(f);
        bring_up(f, queue);
        run_until(f, f->event_count >= 6 || f->closed);
        assert_int_equal(lago_connection_counters(f->conn).writes, 1);
        expect_events(f, "open", "channel 1 open ok", "declare ok", "bind ok", "qos ok", "consume ok");
        lago_basic_publish_t publish = { .exchange = "amq.topic", .routing_key = queue, .body = { "hello", 5 } };
        assert_int_equal(lago_basic_publish(f->ch, &publish, NULL, NULL), 0);
        expect_events(f, "got hello");
        say_goodbye(f);
    }
}

/* A publish waits for open-ok, and what follows it on its channel: a second write. */
static void publishes_wait_for_open_ok(void **state) {
    struct fixture *f = *state;
    open_ordinarily(f);
    const char *queue = queue_name(f);
    bring_up(f, queue);
    lago_basic_publish_t publish = { .routing_key = queue, .body = { "early", 5 } };
    assert_int_equal(lago_basic_publish(f->ch, &publish, NULL, NULL), 0);
    run_until(f, f->event_count >= 7 || f->closed);
    assert_true(has_event(f, "got early"));
    assert_int_equal(lago_connection_counters(f->conn).writes, 2);
    say_goodbye(f);
}

static void expect_refusal(struct fixture *f, const char *word, int code) {
    connect_now(f);
    run_until(f, f->opened || f->closed);
    expect_events(f, word);
    assert_int_equal(f->reason.code, code);
    assert_int_equal(f->reason.origin, LAGO_BY_BROKER);
    assert_non_null(lago_connection_attempt(f->conn, 0, NULL));
    assert_null(lago_connection_attempt(f->conn, 1, NULL)); /* what went ahead was no attempt of its own */
    say_goodbye(f);
}

static void a_wrong_password_is_told(void **state) {
    struct fixture *f = *state;
    const char *password = f->parameters->credentials.password;
    open_ordinarily(f);
    f->parameters->credentials.password = "wrong";
    expect_refusal(f, "open error 403", LAGO_EAUTH);
    f->parameters->credentials.password = password;
    open_ordinarily(f); /* what was known of it is forgotten */
    bring_up(f, queue_name(f));
    run_until(f, f->event_count >= 6 || f->closed);
    assert_int_equal(lago_connection_counters(f->conn).writes, 1);
    say_goodbye(f);
}

static void another_virtual_host_is_told(void **state) {
    struct fixture *f = *state;
    open_ordinarily(f);
    f->parameters->virtual_host = "nowhere";
    expect_refusal(f, "open error 530", LAGO_EACCESS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bring_up_is_one_write, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(publishes_wait_for_open_ok, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_password_is_told, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(another_virtual_host_is_told, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
