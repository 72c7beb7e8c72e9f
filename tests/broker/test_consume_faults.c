/*
 * What becomes of deliveries and consumers when a link or a channel ends under them, and who may consume again and when
 * (tests/FAULTS.md F95 to F97, F100 to F102); and an application that is slower than the broker (F104).
 */
#include "fixture.h"

#define NUMBER_SIZE sizeof(uint32_t)

/* A queue that outlives its connection, the teardown deletes it. */
static const char *lasting_queue(struct fixture *f) {
    const char *queue = queue_name(f);
    lago_queue_declare_t args = { .queue = queue, .durable = true }; /* 4.3 refuses queues that are neither this nor exclusive */
    assert_int_equal(lago_queue_declare(f->ch, &args, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
    return queue;
}

static void on_free_data(void *data) { record(data, "free data"); }

static void consume(struct fixture *f, const char *queue) {
    lago_basic_consume_t args = { .queue = queue,
                                  .consumer_tag = "c",
                                  .on_message = on_message,
                                  .on_cancel = on_cancel,
                                  .data = f,
                                  .free_data = on_free_data };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
}

/* "1", "2" and "3" are delivered and open. */
static const char *three_delivered(struct fixture *f) {
    const char *queue = lasting_queue(f);
    consume(f, queue);
    publish_text(f, queue, "1");
    publish_text(f, queue, "2");
    publish_text(f, queue, "3");
    expect_events(f, "consume ok", "got 1", "got 2", "got 3");
    assert_int_equal(lago_channel_unacked_count(f->ch), 3);
    return queue;
}

static void connect_again(struct fixture *f) {
    lago_connection_free(f->conn);
    f->opened = f->closed = false;
    f->tag_count = 0;
    connect_and_wait(f);
    f->ch = open_channel(f);
}

/* ---------------------------------------------------------------- F95, F96 */

static void a_lost_link_gives_back_what_was_open(void **state) {
    need_control();
    struct fixture *f = *state;
    const char *queue = three_delivered(f);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    sync_channel(f);
    broker_kill_connections(f);
    expect_events(f, "free data", "channel 1 close ELOST", "close ELOST");
    lago_counters_t counters = lago_connection_counters(f->conn);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[1], 0), LAGO_ECLOSED);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[2], LAGO_MULTIPLE), LAGO_ECLOSED);
    assert_int_equal(lago_basic_nack(f->ch, 0, LAGO_MULTIPLE), LAGO_ECLOSED);
    assert_int_equal(lago_connection_counters(f->conn).frames_sent, counters.frames_sent);
    connect_again(f);
    assert_int_equal(lago_basic_ack(f->ch, 3, LAGO_MULTIPLE), LAGO_ESTALE); /* of another link: nothing is open on this one */
    consume(f, queue);
    expect_events(f, "consume ok", "got 2 again", "got 3 again");
    assert_int_equal(lago_basic_ack(f->ch, 3, 0), LAGO_ESTALE);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[1], LAGO_MULTIPLE), 0);
    sync_channel(f);
    assert_int_equal(lago_channel_state(f->ch), LAGO_CHANNEL_OPEN);
    expect_length(f, queue, 0);
    assert_int_equal(f->event_count, 0);
}

/* ---------------------------------------------------------------- F97 */

/* A 406 for something else: the consumer ends with its channel, the connection and other channels do not. */
static void an_error_of_its_channel_gives_back_what_was_open(void **state) {
    struct fixture *f = *state;
    lago_channel_t *other = open_channel(f);
    const char *queue = three_delivered(f);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), LAGO_ESTALE); /* this one would have been a 406 */
    lago_queue_declare_t differs = { .queue = queue, .durable = false, .auto_delete = true };
    assert_int_equal(lago_queue_declare(f->ch, &differs, on_declared, label("differs")), 0);
    expect_events(f, "differs 406", "free data", "channel 1 close 406");
    assert_int_equal(lago_basic_ack(f->ch, f->tags[1], 0), LAGO_ECLOSED);
    f->ch = other;
    sync_channel(f);
    f->ch = open_channel(f);
    assert_int_equal(lago_channel_number(f->ch), 1);
    consume(f, queue);
    expect_events(f, "consume ok", "got 2 again", "got 3 again");
    assert_int_equal(lago_basic_ack(f->ch, 0, LAGO_MULTIPLE), 0);
    expect_length(f, queue, 0);
}

/* ---------------------------------------------------------------- F100 */

static void on_again(lago_connection_t *conn, int status, void *data) {
    assert_int_equal(status, 0);
    (void)conn;
    *(bool *)data = true;
}

static void wait_a_little(struct fixture *f) {
    bool over = false;
    assert_int_equal(lago_connection_call_later(f->conn, 20, on_again, &over, NULL), 0);
    run_until(f, over);
}

/* Refused as long as the one before is there, which costs a channel each time, and nothing else. */
static void an_exclusive_consumer_waits_for_the_one_before(void **state) {
    struct fixture *f = *state;
    const char *queue = lasting_queue(f);
    lago_basic_consume_t args = { .queue = queue, .exclusive = true, .on_message = on_message };
    lago_connection_options_t options = { .parameters = f->parameters, .context = f->context, .data = f };
    lago_connection_t *before;
    lago_channel_t *ch;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &before), 0);
    assert_int_equal(lago_channel_open(before, NULL, &ch), 0);
    assert_int_equal(lago_basic_consume(ch, &args, on_consumer, label("first")), 0);
    expect_events(f, "first ok");
    unsigned refused = 0;
    for (bool mine = false; !mine; wait_a_little(f)) {
        assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("second")), 0);
        run_until(f, f->event_count >= 1);
        mine = strcmp(f->events[0], "second ok") == 0;
        if (!mine) {
            expect_events(f, "second 403", "channel 1 close 403");
            if (++refused == 3) assert_int_equal(lago_connection_abort(before), 0);
            f->ch = open_channel(f);
            assert_int_equal(lago_channel_number(f->ch), 1);
        }
        forget_events(f);
    }
    assert_in_range(refused, 3, 1000);
    publish_text(f, queue, "x");
    expect_events(f, "got x");
    lago_connection_free(before);
}

/* ---------------------------------------------------------------- F101, F102 */

static void on_gone(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    assert_null(ok); /* it is another connection's, or nobody's: never ours */
    (void)ch;
    *(int *)data = reason->reply_code;
}

/* It goes with its link. Until the broker has noticed, it is somebody else's (405), then it is not there (404). */
static void an_exclusive_queue_goes_with_its_link(void **state) {
    need_control();
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_queue_bind_t binding = { .queue = queue, .exchange = "amq.direct", .routing_key = queue };
    lago_basic_publish_t through_the_binding = { .exchange = "amq.direct", .routing_key = queue, .body = { "x", 1 } };
    assert_int_equal(lago_queue_bind(f->ch, &binding, NULL, NULL), 0);
    consume(f, queue);
    expect_events(f, "consume ok");
    broker_kill_connections(f);
    expect_events(f, "free data", "channel 1 close ELOST", "close ELOST");
    connect_again(f);
    for (int code = 0; code != 404; wait_a_little(f)) {
        code = 0;
        lago_queue_declare_t passive = { .queue = queue, .passive = true };
        assert_int_equal(lago_queue_declare(f->ch, &passive, on_gone, &code), 0);
        run_until(f, f->event_count == 1);
        assert_true(code == 404 || code == 405);
        forget_events(f);
        f->ch = open_channel(f);
    }
    lago_queue_declare_t anew = { .queue = queue, .exclusive = true };
    assert_int_equal(lago_queue_declare(f->ch, &anew, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
    lago_basic_publish(f->ch, &through_the_binding, NULL, NULL); /* the old binding has gone, too */
    expect_length(f, queue, 0);
    assert_int_equal(lago_queue_bind(f->ch, &binding, NULL, NULL), 0);
    consume(f, queue);
    lago_basic_publish(f->ch, &through_the_binding, NULL, NULL);
    expect_events(f, "consume ok", "got x");
}

static void a_servers_name_is_another_one_on_each_link(void **state) {
    need_control();
    struct fixture *f = *state;
    char before[256] = "";
    for (int link = 0; link < 2; link++) {
        lago_queue_declare_t unnamed = { .queue = "", .exclusive = true };
        assert_int_equal(lago_queue_declare(f->ch, &unnamed, on_declared, label("declare")), 0);
        lago_queue_bind_t binding = { .exchange = "amq.direct", .routing_key = f->connection_name }; /* queue NULL: that one */
        assert_int_equal(lago_queue_bind(f->ch, &binding, on_done, label("bind")), 0);
        expect_events(f, "declare ok", "bind ok");
        assert_string_not_equal(f->declared_name, before);
        snprintf(before, sizeof before, "%s", f->declared_name);
        consume(f, NULL);
        lago_basic_publish_t args = { .exchange = "amq.direct", .routing_key = f->connection_name, .body = { "x", 1 } };
        assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
        expect_events(f, "consume ok", "got x");
        if (link == 1) break;
        broker_kill_connections(f);
        expect_events(f, "free data", "channel 1 close ELOST", "close ELOST");
        connect_again(f);
    }
}

/* ---------------------------------------------------------------- F104 */

#define MANY      100000u
#define BODY_SIZE 200u
#define MEMORY    ((size_t)1024 * 1024) /* above what the connection had; the messages are 20 MB */

struct slow {
    uint32_t next;
    unsigned pauses;
    uint64_t last;
};

static void on_resume(lago_connection_t *conn, int status, void *data) {
    (void)data;
    if (status == 0) assert_int_equal(lago_connection_resume(conn), 0);
}

/* A thousand, then a pause of 3 ms, as if each took 3 us more than the broker needs to send it. */
static void on_slow(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct slow *slow = data;
    lago_connection_t *conn = lago_channel_connection(ch);
    uint32_t number;
    assert_int_equal(message->body.size, BODY_SIZE);
    memcpy(&number, message->body.data, NUMBER_SIZE);
    assert_int_equal(number, slow->next++); /* none is lost, none overtakes */
    slow->last = message->delivery_tag;
    if (slow->next % 1000) return;
    assert_int_equal(lago_basic_ack(ch, slow->last, LAGO_MULTIPLE), 0);
    assert_int_equal(lago_connection_pause(conn), 0);
    assert_int_equal(lago_connection_call_later(conn, 3, on_resume, NULL, NULL), 0);
    slow->pauses++;
}

static void publish_many(struct fixture *f, const char *queue) {
    uint8_t body[BODY_SIZE] = { 0 };
    for (uint32_t number = 0; number < MANY;) {
        memcpy(body, &number, NUMBER_SIZE);
        lago_basic_publish_t args = { .routing_key = queue, .body = { body, sizeof body } };
        int64_t rc = lago_basic_publish(f->ch, &args, NULL, NULL);
        assert_true(rc == 0 || rc == LAGO_EAGAIN);
        if (rc == 0)
            number++;
        else
            run_until(f, lago_connection_writable(f->conn));
    }
    expect_length(f, queue, MANY);
    forget_events(f); /* drains */
}

/* It publishes without these heartbeats: a starved broker that takes so many may miss half of one. */
static void a_slow_application_holds_up_the_broker(void **state) {
    struct fixture *f = *state;
    struct slow slow = { 0 };
    const char *queue = lasting_queue(f);
    publish_many(f, queue);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    run_until(f, f->closed);
    forget_events(f);
    f->parameters->heartbeat_s = 1;
    connect_again(f);
    size_t before = f->alloc.live_bytes;
    f->alloc.peak_bytes = before;
    lago_basic_consume_t args = { .queue = queue, .on_message = on_slow, .data = &slow };
    assert_int_equal(lago_basic_consume(f->ch, &args, on_consumer, label("consume")), 0);
    run_until(f, slow.next == MANY);
    expect_events(f, "consume ok");
    assert_int_equal(slow.pauses, MANY / 1000);
    assert_in_range(f->alloc.peak_bytes - before, 0, MEMORY);
    expect_length(f, queue, 0);
    assert_int_equal(lago_channel_unacked_count(f->ch), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lost_link_gives_back_what_was_open, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_error_of_its_channel_gives_back_what_was_open, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_exclusive_consumer_waits_for_the_one_before, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(an_exclusive_queue_goes_with_its_link, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_servers_name_is_another_one_on_each_link, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_slow_application_holds_up_the_broker, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
