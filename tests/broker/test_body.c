/* Bodies in pieces from RabbitMQ: intact, acknowledged, and never in memory; paused, cancelled and closed in between. */
#include "fixture.h"

#define MIB ((size_t)1024 * 1024)

static struct {
    uint64_t size, begun, ended, lost;
    size_t wrong, calls;
    bool ack;
    unsigned pause_at, cancel_at, close_at; /* calls of a message; 0: never */
    unsigned call;
} got;

static uint8_t pattern(uint64_t i) { return (uint8_t)(i ^ (i >> 8) ^ (i >> 16)); }

static void on_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    const uint8_t *bytes = body->piece.data;
    (void)data;
    if (body->begins) {
        got.size = got.call = 0;
        got.begun++;
        assert_int_equal(lago_channel_unacked_count(ch), 1);
        assert_string_equal(body->message->properties->message_id, "m");
    }
    assert_int_equal(body->offset, got.size);
    for (size_t i = 0; i < body->piece.size; i++) got.wrong += bytes[i] != pattern(body->offset + i);
    got.size += body->piece.size;
    got.calls++;
    got.call++;
    const char *tag = body->message->consumer_tag.data;
    if (got.call == got.pause_at) assert_int_equal(lago_consumer_pause(ch, tag), 0);
    if (got.call == got.cancel_at)
        assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = tag }, on_consumer, label("cancel")), 0);
    if (got.call == got.close_at) assert_int_equal(lago_channel_close(ch, NULL), 0);
    if (!body->ends) return;
    got.ended += body->reason == NULL;
    got.lost += body->reason != NULL;
    if (body->reason) return;
    assert_int_equal(got.size, body->size);
    assert_int_equal(lago_basic_ack(ch, body->message->delivery_tag, 0), 0);
}

static const char *send_some(struct fixture *f, size_t size, unsigned count) {
    uint8_t *body = malloc(size);
    const char *queue = queue_name(f);
    assert_non_null(body);
    for (size_t i = 0; i < size; i++) body[i] = pattern(i);
    lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue }, on_declared, label("declare"));
    lago_confirm_select(f->ch, NULL, NULL, NULL);
    lago_properties_t properties = { .message_id = "m" };
    lago_basic_publish_t args = { .routing_key = queue, .properties = &properties, .body = { body, size } };
    for (unsigned i = 0; i < count; i++)
        while (lago_basic_publish(f->ch, &args, NULL, NULL) == LAGO_EAGAIN) uv_run(&f->loop, UV_RUN_ONCE);
    free(body);
    run_until(f, lago_channel_unconfirmed_count(f->ch) == 0);
    forget_events(f);
    return queue;
}

static void consume(struct fixture *f, lago_channel_t *ch, const char *queue) {
    memset(&got, 0, sizeof got);
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = 1 }, NULL, NULL), 0);
    lago_basic_consume_t args = { .queue = queue, .consumer_tag = "pieces", .on_body = on_body };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    (void)f;
}

/* Of a size that needs one frame, nine, and hundreds: what is held does not grow with it. */
static void they_are_never_in_memory(void **state) {
    struct fixture *f = *state;
    static const size_t sizes[] = { 1, 100000, MIB, 64 * MIB };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *queue = send_some(f, sizes[i], sizes[i] > MIB ? 1 : 10);
        lago_channel_t *ch = open_channel(f);
        size_t live = f->alloc.live_bytes;
        f->alloc.peak_bytes = live;
        consume(f, ch, queue);
        run_until(f, got.ended == (sizes[i] > MIB ? 1 : 10));
        assert_int_equal(got.wrong, 0);
        assert_int_equal(got.begun, got.ended);
        assert_true(f->alloc.peak_bytes - live < 4 * MIB); /* read buffers */
        lago_channel_free(ch);
    }
}

static void one_that_is_paused_goes_on(void **state) {
    struct fixture *f = *state;
    const char *queue = send_some(f, 4 * MIB, 2);
    lago_channel_t *ch = open_channel(f);
    consume(f, ch, queue);
    got.pause_at = 3;
    for (unsigned n = 1; n <= 2; n++) {
        run_until(f, got.begun == n && got.call == 3);
        size_t size = got.size;
        for (int i = 0; i < 100; i++) uv_run(&f->loop, UV_RUN_NOWAIT);
        assert_int_equal(got.size, size);
        assert_int_equal(lago_consumer_resume(ch, "pieces"), 0);
        run_until(f, got.ended == n);
    }
    assert_int_equal(got.wrong, 0);
}

static void one_that_is_cancelled_comes_to_its_end(void **state) {
    struct fixture *f = *state;
    const char *queue = send_some(f, 4 * MIB, 3);
    lago_channel_t *ch = open_channel(f);
    consume(f, ch, queue);
    got.cancel_at = 2;
    run_until(f, has_event(f, "cancel ok"));
    assert_int_equal(got.begun, 1);
    assert_int_equal(got.ended, 1);
    assert_int_equal(got.wrong, 0);
    lago_queue_declare(f->ch, &(lago_queue_declare_t){ .queue = queue, .passive = true }, on_declared, label("again"));
    run_until(f, has_event(f, "again ok"));
    assert_int_equal(f->declared.message_count, 2);
}

static void one_whose_channel_closes_is_told(void **state) {
    struct fixture *f = *state;
    const char *queue = send_some(f, 4 * MIB, 1);
    lago_channel_t *ch = open_channel(f);
    consume(f, ch, queue);
    got.close_at = 2;
    run_until(f, lago_channel_state(ch) == LAGO_CHANNEL_CLOSED && got.lost == 1);
    assert_int_equal(got.ended, 0);
    assert_true(got.size < 4 * MIB);
}

/* Those that wait behind the prefetch count, and come in order. */
static void small_ones_are_held(void **state) {
    struct fixture *f = *state;
    const char *queue = send_some(f, 1000, 50);
    lago_channel_t *ch = open_channel(f);
    lago_basic_consume_t args = { .queue = queue, .consumer_tag = "held", .on_message = on_message };
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = 20 }, NULL, NULL), 0);
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_consumer_pause(ch, "held"), 0);
    run_until(f, lago_channel_unacked_count(ch) == 20);
    assert_int_equal(f->tag_count, 0);
    assert_int_equal(lago_basic_ack(ch, 0, LAGO_MULTIPLE), LAGO_ESTALE);
    assert_int_equal(lago_consumer_resume(ch, "held"), 0);
    run_until(f, f->tag_count == 20);
    for (size_t i = 0; i < 20; i++) assert_int_equal(f->tags[i], i + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_never_in_memory, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_paused_goes_on, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_cancelled_comes_to_its_end, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(one_whose_channel_closes_is_told, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(small_ones_are_held, setup_channel, teardown),
    };
    return run_broker_tests(tests);
}
