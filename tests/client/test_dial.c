/* Dialing: addresses, rounds, delays, deadlines, verdicts; and giving up at every step. */
#include "client_test.h"
#include "deadline.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static void begin(const char *url) {
    client_init(t);
    client_connect(t, url);
}

static void refuse_all(int status) {
    for (size_t i = 0; i < VIRTUAL_ADDRESSES_MAX; i++) t->v.connect_status[i] = status;
}

static const lago_reason_t *reason(void) {
    const lago_reason_t *r = lago_connection_reason(t->conn);
    assert_non_null(r);
    return r;
}

/* ---------------------------------------------------------------- the way that works */

static void dials_at_the_first_turn(void **state) {
    (void)state;
    begin("amqp://mq.example:1234/");
    assert_int_equal(t->v.counts.resolve, 0); /* nothing happens inside the call */
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_INIT);
    virtual_run(&t->v);
    assert_string_equal(t->v.host, "mq.example");
    assert_int_equal(t->v.port, 1234);
    assert_int_equal(t->v.counts.connect, 1);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.1:5672");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_PROTOCOL);
    assert_memory_equal(t->v.output, "AMQP\0\0\11\1", 8);
    assert_int_equal(t->v.output_size, 8);
    assert_journal(t, "");
    client_end(t);
}

static void opens(void **state) {
    (void)state;
    begin(NULL);
    virtual_run(&t->v);
    server_send(&t->v, SERVER_START);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_START);
    assert_true(lago_connection_server_has(t->conn, "basic.nack"));
    assert_false(lago_connection_server_has(t->conn, "nonsense"));
    server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_TUNE);
    assert_journal(t, "");
    server_send(&t->v, "0 connection.open-ok");
    assert_journal(t, "open");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    assert_int_equal(t->v.counts.hang_up, 0);
    client_end(t);
    assert_journal(t, "connection free");
}

/* ---------------------------------------------------------------- addresses and rounds */

static void tries_every_address(void **state) {
    (void)state;
    begin(NULL);
    t->v.address_count = 3;
    t->v.connect_status[0] = REFUSED;
    t->v.connect_status[1] = UNREACHABLE;
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.connect, 3);
    assert_int_equal(t->v.counts.resolve, 1);
    assert_int_equal(t->v.counts.hang_up, 0); /* what did not connect is no link */
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.3:5672");
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

static void ends_with_the_last_address(void **state) {
    (void)state;
    begin(NULL);
    t->v.address_count = 2;
    t->v.connect_status[0] = UNREACHABLE;
    t->v.connect_status[1] = REFUSED;
    virtual_run(&t->v);
    assert_journal(t, "open_error ECONNECT; connection free");
    assert_int_equal(t->v.counts.connect, 2);
    assert_int_equal(reason()->os_error, REFUSED);
    assert_int_equal(reason()->phase, LAGO_PHASE_CONNECT);
    assert_int_equal(reason()->origin, LAGO_BY_NETWORK);
    assert_int_equal(t->v.counts.finish, 1);
    client_end(t);
}

static void a_verb_that_fails_at_once_is_an_answer(void **state) {
    (void)state;
    begin(NULL);
    t->v.connect_result = UNREACHABLE;
    virtual_run(&t->v);
    assert_journal(t, "open_error ECONNECT; connection free");
    assert_int_equal(reason()->os_error, UNREACHABLE);
    client_end(t);
    begin(NULL);
    t->v.resolve_result = NO_NAME;
    virtual_run(&t->v);
    assert_journal(t, "open_error ERESOLVE; connection free");
    assert_int_equal(reason()->os_error, NO_NAME);
    client_end(t);
}

static void rounds_look_up_again_after_the_delay(void **state) {
    (void)state;
    begin("amqp://mq/?connection_attempts=3&retry_delay=5");
    t->v.address_count = 2;
    refuse_all(REFUSED);
    virtual_run(&t->v);
    for (unsigned round = 1; round < 3; round++) {
        assert_int_equal(t->v.counts.resolve, round);
        assert_int_equal(t->v.counts.connect, 2 * round);
        assert_int_equal(virtual_next_deadline(&t->v), 5000);
        assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_INIT);
        assert_journal(t, "");
        virtual_advance(&t->v, 5000);
    }
    assert_int_equal(t->v.counts.connect, 6);
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);
}

static void the_default_is_one_round(void **state) {
    (void)state;
    begin(NULL);
    refuse_all(REFUSED);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.resolve, 1);
    assert_int_equal(virtual_time(&t->v), 0);
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);
}

static void no_delay_tries_again_at_once(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .connection_attempts = 4, .retry_delay_ms = LAGO_NO_DELAY });
    refuse_all(REFUSED);
    virtual_advance(&t->v, 3); /* the next millisecond is "at once" */
    assert_int_equal(t->v.counts.resolve, 4);
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);
}

static void a_name_that_is_not_found_is_looked_up_in_each_round(void **state) {
    (void)state;
    begin("amqp://nowhere/?connection_attempts=2&retry_delay=1");
    t->v.resolve_status = NO_NAME;
    virtual_advance(&t->v, 1000);
    assert_int_equal(t->v.counts.resolve, 2);
    assert_int_equal(t->v.counts.connect, 0);
    assert_journal(t, "open_error ERESOLVE; connection free");
    assert_int_equal(reason()->phase, LAGO_PHASE_RESOLVE);
    assert_non_null(strstr(reason()->detail, "nowhere"));
    client_end(t);
}

static void no_address_at_all_is_a_failed_lookup(void **state) {
    (void)state;
    begin(NULL);
    t->v.address_count = 0;
    virtual_run(&t->v);
    assert_journal(t, "open_error ERESOLVE; connection free");
    client_end(t);
}

static void a_second_round_may_succeed(void **state) {
    (void)state;
    begin("amqp://mq/?connection_attempts=2&retry_delay=2");
    refuse_all(REFUSED);
    virtual_run(&t->v);
    refuse_all(0);
    virtual_advance(&t->v, 2000);
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

/* ---------------------------------------------------------------- deadlines */

static void socket_timeout_ends_an_attempt(void **state) {
    (void)state;
    begin("amqp://mq/?socket_timeout=3&connection_attempts=2&retry_delay=1");
    t->v.connect_status[0] = VIRTUAL_NEVER;
    virtual_run(&t->v);
    assert_int_equal(virtual_next_deadline(&t->v), 3000);
    virtual_advance(&t->v, 3000);
    assert_int_equal(t->v.counts.hang_up, 1);
    t->v.connect_status[0] = 0;
    virtual_advance(&t->v, 1000);
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

static void stack_timeout_spans_connect_and_handshake(void **state) {
    (void)state;
    begin("amqp://mq/?stack_timeout=4");
    virtual_advance(&t->v, 3000);
    server_send(&t->v, SERVER_START);
    virtual_advance(&t->v, 999);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_int_equal(reason()->phase, LAGO_PHASE_HANDSHAKE);
    assert_string_equal(reason()->endpoint, "192.0.2.1:5672");
    client_end(t);
}

static void stack_timeout_spans_the_lookup_alone(void **state) {
    (void)state;
    begin("amqp://mq/?stack_timeout=4");
    t->v.resolve_status = VIRTUAL_NEVER;
    virtual_advance(&t->v, 4000);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_int_equal(reason()->phase, LAGO_PHASE_RESOLVE);
    client_end(t);
}

static void each_address_has_a_stack_timeout_of_its_own(void **state) {
    (void)state;
    begin("amqp://mq/?stack_timeout=4");
    t->v.address_count = 2;
    virtual_advance(&t->v, 4000); /* the first accepted, and said nothing */
    assert_int_equal(t->v.address, 1);
    virtual_advance(&t->v, 3999);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    client_end(t);
}

static void connect_deadline_ends_everything(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .connection_attempts = 100, .connect_deadline_ms = 4500 });
    refuse_all(REFUSED);
    virtual_advance(&t->v, 4499);
    assert_int_equal(t->v.counts.connect, 3);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_non_null(strstr(reason()->detail, "connect_deadline"));
    client_end(t);
}

static void no_deadline_is_left_once_it_is_open(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .connect_deadline_ms = 1000, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    assert_int_equal(virtual_next_deadline(&t->v), DEADLINE_NEVER);
    virtual_advance(&t->v, 100000);
    assert_journal(t, "open");
    client_end(t);
}

/* ---------------------------------------------------------------- verdicts and losses */

static const char refused[] = "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"";

static void a_verdict_ends_the_round(void **state) {
    (void)state;
    begin("amqp://mq/?connection_attempts=2&retry_delay=1");
    t->v.address_count = 3;
    for (unsigned round = 1; round <= 2; round++) {
        virtual_run(&t->v);
        server_send(&t->v, SERVER_START);
        server_send(&t->v, refused);
        assert_int_equal(t->v.counts.connect, round); /* the other addresses are the same broker */
        virtual_advance(&t->v, round == 1 ? 1000 : 0);
    }
    assert_journal(t, "open_error EAUTH; connection free");
    assert_int_equal(reason()->reply_code, 403);
    assert_int_equal(reason()->origin, LAGO_BY_BROKER);
    client_end(t);
}

static void a_lost_link_before_start_tries_the_next_address(void **state) {
    (void)state;
    begin(NULL);
    t->v.address_count = 2;
    virtual_run(&t->v);
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
    assert_int_equal(t->v.address, 1);
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

/* Its grace is over when the link is: the next attempt may last longer. */
static void a_write_error_is_of_its_own_attempt_only(void **state) {
    (void)state;
    begin(NULL);
    t->v.address_count = 2;
    virtual_fail_write(&t->v, BROKEN_PIPE);
    virtual_advance(&t->v, 500);
    virtual_lose(&t->v, RESET);
    virtual_run(&t->v);
    assert_int_equal(t->v.address, 1);
    virtual_advance(&t->v, 2000);
    assert_int_equal(client_attempt_count(t), 1); /* of the first */
    assert_int_equal(t->v.link, VIRTUAL_CONNECTED);
    server_handshake(&t->v);
    virtual_advance(&t->v, 2000);
    assert_journal(t, "open");
    client_end(t);
}

static void a_silent_hang_up_during_login_is_a_refusal(void **state) {
    (void)state;
    begin(NULL);
    t->v.address_count = 2;
    virtual_run(&t->v);
    server_send(&t->v, SERVER_START);
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
    assert_journal(t, "open_error EAUTH; connection free");
    client_end(t);
}

static void what_is_no_broker_ends_the_round(void **state) {
    (void)state;
    begin(NULL);
    t->v.address_count = 2;
    virtual_run(&t->v);
    virtual_input(&t->v, "HTTP/1.1 400 Bad Request\r\n", 26);
    virtual_run(&t->v);
    assert_journal(t, "open_error ENOTAMQP; connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- operations meanwhile */

static void operations_are_taken_at_every_step(void **state) {
    lago_channel_t *ch = NULL;
    (void)state;
    begin("amqp://mq/?connection_attempts=2&retry_delay=1");
    refuse_all(REFUSED);
    assert_int_equal(lago_channel_open(t->conn, NULL, &ch), 0);
    virtual_run(&t->v); /* the first round has failed, the second one waits */
    assert_int_equal(lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "a" }, noted_declare, probe(t, "a")), 0);
    assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "a" }, NULL, NULL), 0);
    refuse_all(0);
    virtual_advance(&t->v, 1000);
    assert_int_equal(lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "b" }, noted_declare, probe(t, "b")), 0);
    server_handshake(&t->v);
    server_send(&t->v, "1 channel.open-ok\n1 queue.declare-ok queue=\"a\"\n1 queue.declare-ok queue=\"b\"");
    assert_journal(t, "open; a ok a 0 0; b ok b 0 0");
    assert_true(virtual_saw(&t->v, "C> 1 channel.open"));
    assert_true(virtual_saw(&t->v, "C> 1 queue.declare queue=\"a\""));
    assert_true(virtual_saw(&t->v, "C> 1 basic.publish routing_key=\"a\""));
    assert_true(virtual_saw(&t->v, "C> 1 queue.declare queue=\"b\""));
    client_end(t);
}

/* ---------------------------------------------------------------- giving up at every step */

enum giving_up { BY_ABORT, BY_CLOSE, BY_FREE };

/* Bring it to one of the steps of dialing. */
static void reach(unsigned step) {
    begin("amqp://mq/?connection_attempts=2&retry_delay=1");
    if (step == 1) t->v.resolve_status = VIRTUAL_NEVER;
    if (step == 2) t->v.connect_status[0] = VIRTUAL_NEVER;
    if (step == 3) t->v.connect_status[0] = REFUSED; /* the pause */
    if (step >= 1) virtual_run(&t->v);
    if (step >= 5) server_send(&t->v, SERVER_START);
    if (step >= 6) server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
}

static void give_up(unsigned step, enum giving_up how) {
    reach(step);
    (void)client_channel(t);
    unsigned hang_ups = t->v.counts.hang_up;
    if (how == BY_ABORT) assert_int_equal(lago_connection_abort(t->conn), 0);
    if (how == BY_CLOSE) assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    if (how == BY_FREE) {
        lago_connection_free(t->conn);
        t->conn = NULL;
    }
    if (how != BY_FREE) assert_journal(t, ""); /* never from inside the call */
    virtual_run(&t->v);
    assert_journal(t, how == BY_FREE ? "channel free; connection free"
                                     : "1 open ECLOSED; channel free; open_error ECLOSED; connection free");
    assert_int_equal(t->v.counts.hang_up, hang_ups + 1);
    assert_int_equal(t->v.counts.finish, 1);
    if (how != BY_FREE) {
        assert_int_equal(reason()->origin, LAGO_BY_CLIENT);
        assert_int_equal(lago_connection_abort(t->conn), LAGO_ECLOSED);
        assert_int_equal(lago_connection_close(t->conn, NULL), LAGO_ECLOSED);
    }
    client_end(t);
}

static void gives_up_at_every_step(void **state) {
    (void)state;
    for (unsigned step = 0; step <= 6; step++)
        for (unsigned how = BY_ABORT; how <= BY_FREE; how++) give_up(step, how);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dials_at_the_first_turn),
        cmocka_unit_test(opens),
        cmocka_unit_test(tries_every_address),
        cmocka_unit_test(ends_with_the_last_address),
        cmocka_unit_test(a_verb_that_fails_at_once_is_an_answer),
        cmocka_unit_test(rounds_look_up_again_after_the_delay),
        cmocka_unit_test(the_default_is_one_round),
        cmocka_unit_test(no_delay_tries_again_at_once),
        cmocka_unit_test(a_name_that_is_not_found_is_looked_up_in_each_round),
        cmocka_unit_test(no_address_at_all_is_a_failed_lookup),
        cmocka_unit_test(a_second_round_may_succeed),
        cmocka_unit_test(socket_timeout_ends_an_attempt),
        cmocka_unit_test(stack_timeout_spans_connect_and_handshake),
        cmocka_unit_test(stack_timeout_spans_the_lookup_alone),
        cmocka_unit_test(each_address_has_a_stack_timeout_of_its_own),
        cmocka_unit_test(connect_deadline_ends_everything),
        cmocka_unit_test(no_deadline_is_left_once_it_is_open),
        cmocka_unit_test(a_verdict_ends_the_round),
        cmocka_unit_test(a_lost_link_before_start_tries_the_next_address),
        cmocka_unit_test(a_write_error_is_of_its_own_attempt_only),
        cmocka_unit_test(a_silent_hang_up_during_login_is_a_refusal),
        cmocka_unit_test(what_is_no_broker_ends_the_round),
        cmocka_unit_test(operations_are_taken_at_every_step),
        cmocka_unit_test(gives_up_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
