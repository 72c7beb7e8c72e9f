/* A message of 64 MiB, intact, and neither side holds much more than the message itself. */
#include "fixture.h"

#define SIZE ((size_t)64 * 1024 * 1024)

/* One side: a connection with a context and so an allocator of its own. */
struct side {
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn;
    lago_channel_t *ch;
    size_t before;
};

static void open_side(struct fixture *f, struct side *side) {
    lago_connection_options_t options = connection_options(f);
    fail_alloc_init(&side->alloc);
    lago_context_options_t context = { .allocator = side->alloc.allocator };
    assert_int_equal(lago_context_new(&f->loop, &context, &side->context), 0);
    options.context = side->context;
    f->opened = false;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &side->conn), 0);
    assert_int_equal(lago_channel_open(side->conn, NULL, &side->ch), 0);
    run_until(f, f->opened && lago_channel_state(side->ch) == LAGO_CHANNEL_OPEN);
    forget_events(f);
    side->before = side->alloc.live_bytes;
    side->alloc.peak_bytes = side->before;
}

static void close_side(struct fixture *f, struct side *side) {
    f->closed = false;
    assert_int_equal(lago_connection_close(side->conn, NULL), 0);
    run_until(f, f->closed);
    lago_connection_free(side->conn);
    lago_context_free(side->context);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    fail_alloc_check(&side->alloc);
}

static uint8_t pattern(size_t i) { return (uint8_t)(i ^ (i >> 8) ^ (i >> 16)); }

static void on_big(lago_channel_t *ch, const lago_message_t *message, void *data) {
    const uint8_t *bytes = message->body.data;
    size_t wrong = 0;
    (void)data;
    assert_int_equal(message->body.size, SIZE);
    for (size_t i = 0; i < SIZE; i++) wrong += bytes[i] != pattern(i);
    assert_int_equal(wrong, 0);
    assert_int_equal(bytes[SIZE], 0);
    assert_int_equal(lago_basic_ack(ch, message->delivery_tag, 0), 0);
    record(fixture_of(ch), "intact");
}

static void on_release(void *data) { ++*(unsigned *)data; }

static void send_and_receive(struct fixture *f, bool lent) {
    struct side sender, receiver;
    unsigned released = 0;
    uint8_t *body = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) body[i] = pattern(i);
    open_side(f, &receiver);
    open_side(f, &sender);
    const char *queue = queue_name(f);
    lago_queue_declare(receiver.ch, &(lago_queue_declare_t){ .queue = queue }, on_declared, label("declare"));
    lago_basic_consume(receiver.ch, &(lago_basic_consume_t){ .queue = queue, .on_message = on_big }, on_consumer,
                       label("consume"));
    expect_events(f, "declare ok", "consume ok");
    lago_basic_publish_t args = { .routing_key = queue, .body = { body, SIZE } };
    if (lent) args.release_body = on_release;
    args.release_data = &released;
    assert_int_equal(lago_confirm_select(sender.ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_basic_publish(sender.ch, &args, on_outcome, label("big")), 1);
    if (!lent) free(body);
    run_until(f, f->event_count == 2);
    assert_true(has_event(f, "intact") && has_event(f, "big #1 confirmed"));
    assert_int_equal(released, lent);
    size_t own = lent ? SIZE / 5 : SIZE + SIZE / 5;
    assert_true(sender.alloc.peak_bytes - sender.before < own);
    assert_true(receiver.alloc.peak_bytes - receiver.before < SIZE + SIZE / 5);
    forget_events(f);
    close_side(f, &sender);
    close_side(f, &receiver);
    forget_events(f);
    if (lent) free(body);
}

static void copied(void **state) { send_and_receive(*state, false); }

static void lent(void **state) { send_and_receive(*state, true); }

/* One that is larger than allowed ends its channel with 311; the connection lives. */
static void larger_than_allowed(void **state) {
    struct fixture *f = *state;
    char *body = calloc(1, 300000);
    f->parameters->message_size_max = 262144;
    connect_and_wait(f);
    f->ch = open_channel(f);
    const char *queue = new_queue(f);
    lago_basic_publish_t args = { .routing_key = queue, .body = { body, 262144 } };
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    args.body.size = 262145;
    assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), 0);
    expect_length(f, queue, 2);
    lago_channel_t *other = open_channel(f);
    for (int i = 0; i < 2; i++) lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = queue }, on_got, label("get"));
    expect_events(f, "got ", "get EMSGSIZE", "channel 1 close EMSGSIZE");
    f->ch = other;
    expect_length(f, queue, 2); /* both came back */
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copied, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(lent, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(larger_than_allowed, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
