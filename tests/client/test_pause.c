/* A connection that takes no input for a while: who is told, what goes on, who is not condemned. */
#include "client_test.h"
#include "deadline.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static lago_channel_t *consuming(void) {
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = noted_message, .data = probe(t, "got") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    journal_clear(t);
    return ch;
}

#define DELIVERY(n) "1 basic.deliver consumer_tag=\"c\" delivery_tag=" #n "\n1 header body_size=0"

static void what_comes_waits(void **state) {
    (void)state;
    consuming();
    server_send(&t->v, DELIVERY(1));
    assert_int_equal(t->probes[t->probe_count - 1].calls, 1);
    assert_int_equal(lago_connection_pause(t->conn), 0);
    unsigned inputs = t->v.counts.inputs;
    server_send(&t->v, DELIVERY(2));
    server_send(&t->v, DELIVERY(3));
    assert_int_equal(t->v.counts.inputs, inputs); /* it stays in the kernel */
    assert_int_equal(t->probes[t->probe_count - 1].calls, 1);
    assert_int_equal(lago_connection_resume(t->conn), 0);
    assert_int_equal(t->probes[t->probe_count - 1].calls, 1); /* never from inside the call */
    virtual_run(&t->v);
    assert_int_equal(t->probes[t->probe_count - 1].calls, 3);
    client_end(t);
}

static void pauses(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct probe *p = data;
    (void)message;
    p->calls++;
    lago_connection_pause(lago_channel_connection(ch));
}

/* What came with it in one read is not told either. */
static void a_message_may_pause(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    struct probe *got = probe(t, "got");
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = pauses, .data = got };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    server_send(&t->v, DELIVERY(1) "\n" DELIVERY(2) "\n" DELIVERY(3));
    for (unsigned calls = 1; calls <= 3; calls++) {
        assert_int_equal(got->calls, calls);
        virtual_advance(&t->v, 10);
        assert_int_equal(got->calls, calls);
        lago_connection_resume(t->conn);
        virtual_run(&t->v);
    }
    client_end(t);
}

static void it_lives_on_meanwhile(void **state) {
    (void)state;
    consuming();
    assert_int_equal(lago_connection_pause(t->conn), 0);
    virtual_run(&t->v);
    virtual_forget_log(&t->v);
    virtual_advance(&t->v, 600000);
    assert_journal(t, ""); /* ten minutes of silence, with heartbeats of 60 s */
    assert_true(virtual_saw(&t->v, "C> 0 heartbeat"));
    assert_int_equal(lago_connection_resume(t->conn), 0);
    virtual_run(&t->v);
    virtual_advance(&t->v, 62999); /* from here on the broker's silence counts, from the beginning */
    assert_journal(t, "");
    virtual_advance(&t->v, 2000);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSED);
    client_end(t);
}

static void timers_and_ends_are_told(void **state) {
    (void)state;
    consuming();
    assert_int_equal(lago_connection_pause(t->conn), 0);
    assert_int_equal(lago_connection_call_later(t->conn, 5, noted_timer, probe(t, "timer"), NULL), 0);
    virtual_advance(&t->v, 5);
    assert_journal(t, "timer ok");
    virtual_fail_write(&t->v, -104);
    virtual_advance(&t->v, 40000); /* a heartbeat meets the end of the link */
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSED);
    assert_int_equal(lago_connection_pause(t->conn), LAGO_ECLOSED);
    assert_int_equal(lago_connection_resume(NULL), LAGO_EINVAL);
    client_end(t);
}

static void closing_goes_on(void **state) {
    (void)state;
    client_open(t);
    assert_int_equal(lago_connection_pause(t->conn), 0);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    assert_int_equal(lago_connection_pause(t->conn), 0); /* without effect: it waits for the broker's answer */
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.close-ok");
    assert_journal(t, "close ECLOSED; connection free");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_waits),      cmocka_unit_test(a_message_may_pause),
        cmocka_unit_test(it_lives_on_meanwhile), cmocka_unit_test(timers_and_ends_are_told),
        cmocka_unit_test(closing_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
