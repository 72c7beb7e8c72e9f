/* What the torture has found: each failing point as a test with a name. */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

/* The next allocation fails, and those behind it do not. */
static void fail_next(void) { fail_alloc_at(&t->v.alloc, 1, false); }

/* All output was written, and new output needs a block: the next one has none behind it. */
static void without_room(void) { fail_alloc_at(&t->v.alloc, 1, true); }

static void with_memory(void) { fail_alloc_at(&t->v.alloc, 0, false); }

/* What was accepted was dropped with the channel, because channel.close could not wait behind it. */
static void a_freed_channel_says_what_was_accepted(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    server_send(&t->v, "0 connection.blocked reason=\"low\"");
    assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q", .body = { "x", 1 } }, NULL, NULL), 0);
    without_room();
    lago_channel_free(ch);
    with_memory();
    server_send(&t->v, "0 connection.unblocked");
    virtual_advance(&t->v, 100);
    assert_true(virtual_saw(&t->v, "C> 1 basic.publish routing_key=\"q\""));
    assert_true(virtual_saw(&t->v, "C> 1 channel.close reply_code=200*"));
    client_end(t);
}

/* connection.close was tried once; then ten seconds passed, and the broker was blamed for them. */
static void a_goodbye_is_tried_again(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    fail_next();
    virtual_run(&t->v);
    assert_false(virtual_saw(&t->v, "C> 0 connection.close*"));
    with_memory();
    virtual_advance(&t->v, 100);
    assert_true(virtual_saw(&t->v, "C> 0 connection.close*"));
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "close ECLOSED; connection free");
    client_end(t);
}

static void a_goodbye_that_is_never_said_is_not_the_brokers_fault(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_close(t->conn, &(lago_close_t){ .timeout_ms = 1000 }), 0);
    without_room();
    virtual_advance(&t->v, 1000);
    assert_journal(t, "close ENOMEM; connection free");
    client_end(t);
}

/* With the n-th allocation failing; the call itself may be refused. */
static void a_channels_goodbye_is_tried_again(void **state) {
    (void)state;
    for (size_t n = 1; n <= 4; n++) {
        client_open(t);
        lago_channel_t *ch = client_open_channel(t);
        fail_alloc_at(&t->v.alloc, n, false);
        if (lago_channel_close(ch, NULL) == LAGO_ENOMEM) assert_int_equal(lago_channel_close(ch, NULL), 0);
        virtual_run(&t->v);
        with_memory();
        virtual_advance(&t->v, 100);
        assert_true(virtual_saw(&t->v, "C> 1 channel.close reply_code=200*"));
        server_send(&t->v, "1 channel.close-ok");
        assert_journal(t, "1 close ECLOSED; channel free");
        client_end(t);
    }
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) { (void)ch, (void)message, (void)data; }

/* An accepted cancel that waited for consume-ok was never said, nor tried again: its completion came with the end only. */
static void a_cancel_that_cannot_be_said_ends_the_connection(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t consume = { .queue = "q", .consumer_tag = "c", .on_message = on_message };
    assert_int_equal(lago_basic_consume(ch, &consume, NULL, NULL), 0);
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, noted_consumer, probe(t, "cancel")), 0);
    virtual_run(&t->v);
    server_queue(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    without_room();
    virtual_run(&t->v);
    with_memory();
    virtual_run(&t->v);
    assert_journal(t, "cancel ENOMEM c; 1 close ENOMEM; channel free; close ENOMEM; connection free");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_freed_channel_says_what_was_accepted),
        cmocka_unit_test(a_goodbye_is_tried_again),
        cmocka_unit_test(a_goodbye_that_is_never_said_is_not_the_brokers_fault),
        cmocka_unit_test(a_channels_goodbye_is_tried_again),
        cmocka_unit_test(a_cancel_that_cannot_be_said_ends_the_connection),
    };
    return cmocka_run_group_tests_name("torture/found", tests, NULL, NULL);
}
