/*
 * A node that goes away and comes back, as a whole: shut down, killed, stopped, in maintenance, booting; and its clients, who dial
 * on meanwhile, or go to the next node. It is a node of the test's own, beside that of the other tests. (tests/FAULTS.md F16, F43,
 * F46-F50.)
 */
#include "fixture.h"
#include "own_node.h"

static lago_parameters_t *other; /* the node of the other tests */

/* ---------------------------------------------------------------- commands to a node */

/* Tests that run beside each other ask the same node. */
static void many_ask_it_at_once(void **state) {
    char command[512];
    (void)state;
    snprintf(command, sizeof command,
             "asked=; for i in 1 2 3 4 5 6 7 8; do '%s' eval '%s' 'node().' >/dev/null & asked=\"$asked $!\"; done; "
             "for i in $asked; do wait $i || exit 1; done",
             getenv("LAGO_TEST_BROKER"), getenv("BROKER_DIR"));
    assert_int_equal(system(command), 0);
}

/* ---------------------------------------------------------------- dialling on */

static void let_go(struct fixture *f) {
    lago_connection_free(f->conn);
    f->conn = NULL;
    f->ch = NULL;
    forget_events(f);
}

/* Until the node is there: patient, and often. */
static void dial_on(struct fixture *f) {
    f->parameters->connection_attempts = 100000;
    f->parameters->retry_delay_ms = 20;
    connect_now(f);
}

/* It has opened, after failures that are all of a kind that may pass. */
static void expect_open_at_last(struct fixture *f) {
    unsigned refused = 0, hung_up = 0, told = 0;
    run_until(f, f->opened || f->closed);
    expect_events(f, "open");
    for (size_t i = 0; i < LAGO_ATTEMPTS_MAX; i++) {
        uint32_t number;
        const lago_reason_t *reason = lago_connection_attempt(f->conn, i, &number);
        if (!reason) break;
        refused += reason->code == LAGO_ECONNECT;
        hung_up += reason->code == LAGO_ELOST || reason->code == LAGO_EAUTH || reason->code == LAGO_EACCESS;
        told += reason->code == LAGO_ECONNECTION;
        assert_true(reason->code == LAGO_ECONNECT || reason->code == LAGO_ELOST || reason->code == LAGO_EAUTH ||
                    reason->code == LAGO_EACCESS || reason->code == LAGO_ECONNECTION || reason->code == LAGO_ETIMEDOUT);
    }
    print_message("of the last attempts %u were refused, %u hung up on, %u told why not\n", refused, hung_up, told);
    assert_int_equal(f->log_count, 0);
    f->ch = open_channel(f);
    sync_channel(f);
}

/* The node that is gone first, then the other one. */
static void expect_the_other_node(struct fixture *f) {
    const lago_endpoint_t next = { .host = other->host, .port = other->port };
    lago_parameters_t mine = *f->parameters;
    mine.tls = NULL;
    mine.endpoints = &next;
    mine.endpoint_count = 1;
    mine.connection_attempts = 1;
    mine.stack_timeout_ms = 300;
    lago_connection_options_t options = connection_options(f);
    options.parameters = &mine;
    f->opened = f->closed = false;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    expect_events(f, "open");
    assert_non_null(lago_connection_attempt(f->conn, 0, NULL));
    f->ch = open_channel(f);
    sync_channel(f);
    assert_int_equal(lago_connection_abort(f->conn), 0);
    expect_events(f, "channel 1 close ECLOSED", "close ECLOSED");
    let_go(f);
}

/* ---------------------------------------------------------------- F47, F48, F46: it says goodbye */

static void a_node_that_shuts_down(void **state) {
    struct fixture *f = *state;
    broker(f, "ctl", "stop_app");
    expect_events(f, "channel 1 close 320", "close 320");
    assert_int_equal(f->reason.code, LAGO_ECONNECTION);
    assert_int_equal(f->reason.phase, LAGO_PHASE_RUNNING);
    assert_non_null(strstr(f->reason.reply_text, "CONNECTION_FORCED"));
    let_go(f);
    expect_the_other_node(f);
    dial_on(f);
    broker(f, "ctl", "start_app");
    expect_open_at_last(f);
}

static void a_node_in_maintenance(void **state) {
    struct fixture *f = *state;
    if (broker_version(f) >= 400) skip(); /* it has other words for it */
    broker_eval(f, "rabbit_maintenance:drain().");
    expect_events(f, "channel 1 close 320", "close 320");
    assert_non_null(strstr(f->reason.reply_text, "maintenance"));
    let_go(f);
    expect_the_other_node(f);
    dial_on(f);
    broker_eval(f, "rabbit_maintenance:revive().");
    expect_open_at_last(f);
}

/* ---------------------------------------------------------------- F49, F50, F43, F16: it does not */

static void a_node_that_is_killed(void **state) {
    struct fixture *f = *state;
    uint64_t before = uv_hrtime();
    broker(f, "kill9");
    expect_events(f, "channel 1 close ELOST", "close ELOST");
    assert_in_range((uv_hrtime() - before) / 1000000, 0, 1000);
    assert_true(f->reason.os_error == UV_ECONNRESET || f->reason.os_error == UV_EOF);
    let_go(f);
    expect_the_other_node(f);
    dial_on(f);
    broker(f, "up");
    expect_open_at_last(f);
}

static void a_node_that_is_stopped(void **state) {
    struct fixture *f = *state;
    let_go(f);
    f->parameters->heartbeat_s = 1;
    connect_and_wait(f);
    f->ch = open_channel(f);
    broker(f, "pause");
    uint64_t before = uv_hrtime();
    expect_events(f, "channel 1 close EHEARTBEAT", "close EHEARTBEAT");
    assert_in_range((uv_hrtime() - before) / 1000000, 400,
                    1600); /* its last byte may be half an interval old, or half a one new */
    let_go(f);
    expect_the_other_node(f); /* the kernel accepts for it, and nobody speaks */
    dial_on(f);
    broker(f, "resume");
    expect_open_at_last(f);
    assert_int_equal(f->event_count, 0); /* nothing of the old link has come to anybody */
}

static int teardown_resumed(void **state) {
    struct fixture *f = *state;
    if (!f->running) broker(f, "resume");
    return teardown(state);
}

static int start_node(void **state) {
    int rc = own_node_start(state);
    return rc == 0 ? lago_parameters_parse(own_node_other_url(), &other, NULL) : rc;
}

static int stop_node(void **state) {
    lago_parameters_free(other);
    return own_node_stop(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_ask_it_at_once),
        cmocka_unit_test_setup_teardown(a_node_that_shuts_down, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_node_in_maintenance, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(a_node_that_is_stopped, setup_channel, teardown_resumed),
        cmocka_unit_test_setup_teardown(a_node_that_is_killed, setup_channel, teardown),
    };
    if (!own_node_is_possible()) return 77;
    return cmocka_run_group_tests_name("broker/node", tests, start_node, stop_node);
}
