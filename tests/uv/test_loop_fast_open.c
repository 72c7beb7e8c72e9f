/*
 * fast_open of the whole library over real sockets: connections of a context learn of each other what a broker says, those of another
 * one do not, and a broker that has gone is met ordinarily.
 */
#include "fail_alloc.h"
#include "loop_broker.h"
#include "peer.h"
#include <lago.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rig {
    uv_loop_t loop;
    struct loop_broker broker;
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn;
    bool opened, consuming, ended;
    lago_reason_t reason;
} rig;

static struct rig *const r = &rig;

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    r->opened = true;
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    r->ended = true;
    r->reason = *reason;
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) { (void)ch, (void)message, (void)data; }

static void on_consuming(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch, (void)tag, (void)data;
    assert_null(reason);
    r->consuming = true;
}

static void begin(void) {
    memset(r, 0, sizeof *r);
    fail_alloc_init(&r->alloc);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    loop_broker_start(&r->broker, &r->loop);
    lago_context_options_t options = {
        .allocator = r->alloc.allocator, .log = loop_broker_log, .log_data = &r->broker, .log_level = LAGO_LOG_TRACE
    };
    assert_int_equal(lago_context_new(&r->loop, &options, &r->context), 0);
}

static void end(void) {
    lago_context_free(r->context);
    loop_broker_stop(&r->broker);
    run_to_end(&r->loop);
    fail_alloc_check(&r->alloc);
}

/* A connection with a consumer. @return in how many writes. */
static uint64_t bring_up(lago_context_t *context) {
    char url[128];
    lago_channel_t *ch;
    snprintf(url, sizeof url, "%s/?fast_open=true", r->broker.url);
    lago_connection_options_t options = { .context = context, .on_open = on_open, .on_open_error = on_end, .on_close = on_end };
    r->opened = r->consuming = r->ended = false;
    assert_int_equal(lago_connect(&r->loop, url, &options, &r->conn), 0);
    assert_int_equal(lago_channel_open(r->conn, NULL, &ch), 0);
    assert_int_equal(lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "q" }, NULL, NULL), 0);
    assert_int_equal(
        lago_basic_consume(ch, &(lago_basic_consume_t){ .queue = "q", .on_message = on_message }, on_consuming, NULL), 0);
    run_until(&r->loop, &r->consuming);
    assert_true(r->opened);
    return lago_connection_counters(r->conn).writes;
}

static void leave(void) {
    assert_int_equal(lago_connection_close(r->conn, NULL), 0);
    run_until(&r->loop, &r->ended);
    assert_int_equal(r->reason.code, LAGO_ECLOSED);
    lago_connection_free(r->conn);
}

/* It came over the wire. */
#define RUN_UNTIL_GOT(line)                                                                                                      \
    do {                                                                                                                         \
        for (int i = 0; i < 1000 && !loop_broker_got(&r->broker, line); i++) uv_run(&r->loop, UV_RUN_NOWAIT);                    \
        assert_true(loop_broker_got(&r->broker, line));                                                                          \
    } while (0)

static void those_of_a_context_learn_of_each_other(void **state) {
    (void)state;
    begin();
    assert_int_equal(bring_up(r->context), 4); /* header, start-ok, tune-ok and open, all the rest */
    leave();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bring_up(r->context), 1);
        assert_true(loop_broker_got(&r->broker, "1 basic.consume"));
        leave();
    }
    end();
}

static void another_context_knows_nothing(void **state) {
    lago_context_t *other;
    (void)state;
    begin();
    (void)bring_up(r->context);
    leave();
    lago_context_options_t options = { .log = loop_broker_log, .log_data = &r->broker, .log_level = LAGO_LOG_TRACE };
    assert_int_equal(lago_context_new(&r->loop, &options, &other), 0);
    assert_int_equal(bring_up(other), 4);
    leave();
    lago_context_free(other);
    end();
}

/* What the first write said is said again. */
static void a_broker_that_hangs_up_is_dialed_again(void **state) {
    (void)state;
    begin();
    (void)bring_up(r->context);
    leave();
    r->broker.mute = true;
    r->broker.received_size = 0; /* what the first one said */
    char url[128];
    lago_channel_t *ch;
    snprintf(url, sizeof url, "%s/?fast_open=true", r->broker.url);
    lago_connection_options_t options = {
        .context = r->context, .on_open = on_open, .on_open_error = on_end, .on_close = on_end
    };
    r->opened = r->ended = false;
    assert_int_equal(lago_connect(&r->loop, url, &options, &r->conn), 0);
    assert_int_equal(lago_channel_open(r->conn, NULL, &ch), 0);
    run_until_size(&r->loop, &r->broker.received_size, 200);
    assert_true(loop_broker_got(&r->broker, "1 channel.open")); /* it never answered */
    loop_broker_hang_up(&r->broker);
    r->broker.script.size = 0; /* nor will it */
    r->broker.mute = false;
    run_until(&r->loop, &r->opened);
    assert_int_equal(r->broker.client_count, 3);
    assert_null(lago_connection_attempt(r->conn, 0, NULL));
    RUN_UNTIL_GOT("1 channel.open");
    assert_int_equal(lago_connection_counters(r->conn).writes, 1 + 4);
    leave();
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_of_a_context_learn_of_each_other),
        cmocka_unit_test(another_context_knows_nothing),
        cmocka_unit_test(a_broker_that_hangs_up_is_dialed_again),
    };
    return cmocka_run_group_tests_name("uv/loop_fast_open", tests, NULL, NULL);
}
