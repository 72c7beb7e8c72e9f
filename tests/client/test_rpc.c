/* Calls: requests leave with reply_to and a correlation_id, replies find them, and each ends once, whatever comes. */
#include "client_test.h"
#include "connection.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CONSUME_OK "1 basic.consume-ok consumer_tag=\"ctag1.1\""

static struct client_test test;
static struct client_test *const t = &test;
static lago_rpc_t *rpc;
static uint64_t tag_of_reply;
static unsigned next_tag;
static struct probe handle = { .t = &test, .name = "handle" };
static const lago_rpc_options_t handle_options = { .data = &handle, .free_data = noted_free };

/* "<name> reply BODY", "<name> ETIMEDOUT", "... not served". */
static void noted_reply(lago_rpc_t *on, const lago_rpc_result_t *result, void *data) {
    struct probe *p = data;
    (void)on;
    p->calls++;
    if (result->reply) tag_of_reply = result->reply->delivery_tag;
    if (result->reply)
        note(t, "%s reply %s", p->name, (const char *)result->reply->body.data);
    else
        note(t, "%s %s%s", p->name, code_name(result->reason->code), result->not_served ? " not served" : "");
}

static int64_t call(const char *name) {
    lago_rpc_call_t args = { .routing_key = "rpc", .body = { name, strlen(name) } };
    return lago_rpc_call(rpc, &args, noted_reply, probe(t, name));
}

static void reply(const char *id, const char *body) {
    char lines[512];
    (void)snprintf(lines, sizeof(lines),
                   "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=%u routing_key=\"amq.rabbitmq.reply-to.x\"\n"
                   "1 header body_size=%zu correlation_id=\"%s\"\n1 body \"%s\"",
                   next_tag, strlen(body), id, body);
    server_send(&t->v, lines);
}

/* An open channel with a handle whose consumer is not confirmed yet. */
static lago_channel_t *start_with(const lago_rpc_options_t *options) {
    next_tag = 1;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_rpc_new(ch, options, &rpc), 0);
    return ch;
}

static lago_channel_t *start(void) {
    lago_channel_t *ch = start_with(NULL);
    server_send(&t->v, CONSUME_OK);
    assert_null(lago_rpc_reason(rpc));
    return ch;
}

/* ---------------------------------------------------------------- replies */

static void a_request_and_its_reply(void **state) {
    (void)state;
    lago_channel_t *ch = start();
    lago_properties_t properties = { .content_type = "a/b", .headers = LAGO_TABLE(LAGO_FIELD_I32("n", 1)) };
    lago_rpc_call_t args = { .exchange = "e", .routing_key = "rpc", .properties = &properties, .body = { "30", 2 } };
    assert_int_equal(lago_rpc_call(rpc, &args, noted_reply, probe(t, "one")), 1);
    assert_ptr_equal(lago_rpc_channel(rpc), ch);
    assert_int_equal(lago_rpc_pending_count(rpc), 1);
    assert_string_equal(t->journal, "");
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 basic.consume queue=\"amq.rabbitmq.reply-to\" consumer_tag=\"ctag1.1\" no_ack=1"));
    assert_true(virtual_saw(&t->v, "C> 1 basic.publish exchange=\"e\" routing_key=\"rpc\" mandatory=1"));
    assert_true(virtual_saw(&t->v, "C> 1 header body_size=2 content_type=\"a/b\" headers={n=1} correlation_id=\"1\" "
                                   "reply_to=\"amq.rabbitmq.reply-to\""));
    reply("1", "832040");
    assert_journal(t, "one reply 832040");
    assert_int_equal(lago_rpc_pending_count(rpc), 0);
    assert_int_equal(lago_channel_unacked_count(ch), 0);
    client_end(t);
}

static void replies_come_in_any_order(void **state) {
    (void)state;
    (void)start();
    assert_int_equal(call("a"), 1);
    assert_int_equal(call("b"), 2);
    assert_int_equal(call("c"), 3);
    reply("3", "C");
    reply("1", "A");
    reply("2", "B");
    assert_journal(t, "c reply C; a reply A; b reply B");
    client_end(t);
}

static void replies_that_nobody_waits_for_are_counted(void **state) {
    (void)state;
    (void)start();
    assert_int_equal(call("a"), 1);
    reply("2", "of another");
    reply("01", "not quite");
    reply("1\\x00", "nor this");
    reply("", "of nobody");
    server_send(&t->v, "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=1\n1 header body_size=0");
    reply("1", "right");
    reply("1", "twice");
    assert_journal(t, "a reply right");
    assert_int_equal(lago_rpc_dropped_count(rpc), 6);
    client_end(t);
}

/* RabbitMQ gives direct replies the tag of the next delivery from a queue: it must not be taken for that one. */
static void replies_have_no_delivery_tags(void **state) {
    (void)state;
    lago_channel_t *ch = start();
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = noted_message, .data = probe(t, "q") };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
    for (int i = 0; i < 3; i++) (void)call("a");
    reply("1", "x");
    reply("2", "y");
    server_send(&t->v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=1\n1 header body_size=1\n1 body \"1\"");
    assert_int_equal(lago_channel_unacked_count(ch), 1);
    server_send(
        &t->v,
        "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=2\n1 header body_size=1 correlation_id=\"3\"\n1 body \"z\"\n"
        "1 basic.deliver consumer_tag=\"c\" delivery_tag=2\n1 header body_size=1\n1 body \"2\"");
    assert_journal(t, "a reply x; a reply y; q got 1; a reply z; q got 2");
    assert_int_equal(tag_of_reply, 0);
    assert_int_equal(lago_basic_ack(ch, 1, 0), 0);
    lago_rpc_free(rpc);
    reply("1", "while the cancel is on its way");
    assert_int_equal(lago_basic_ack(ch, 2, 0), 0);
    client_end(t);
}

static void a_queue_of_the_callers_and_a_prefix(void **state) {
    (void)state;
    (void)start_with(&(lago_rpc_options_t){ .reply_to = "answers", .correlation_prefix = "host-7/" });
    server_send(&t->v, CONSUME_OK);
    assert_int_equal(call("a"), 1);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 basic.consume queue=\"answers\" consumer_tag=\"ctag1.1\" no_ack=1"));
    assert_true(virtual_saw(&t->v, "C> 1 header body_size=1 correlation_id=\"host-7/1\" reply_to=\"answers\""));
    reply("1", "late, of another life");
    next_tag++; /* of a queue they count */
    reply("host-7/1", "x");
    assert_journal(t, "a reply x");
    client_end(t);
}

static void everything_leaves_in_order_before_open(void **state) {
    (void)state;
    client_init(t);
    client_connect(t, NULL);
    lago_channel_t *ch = client_channel(t);
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    assert_int_equal(call("early"), 1);
    server_handshake(&t->v);
    server_send(&t->v, "1 channel.open-ok\n" CONSUME_OK);
    assert_true(virtual_saw(&t->v, "C> 1 channel.open"));
    assert_true(virtual_saw(&t->v, "C> 1 basic.consume *"));
    assert_true(virtual_saw(&t->v, "C> 1 basic.publish *"));
    reply("1", "x");
    assert_journal(t, "open; 1 open; early reply x");
    client_end(t);
}

static void many_calls_in_flight(void **state) {
    (void)state;
    (void)start();
    struct probe *p = probe(t, "many");
    lago_rpc_call_t args = { .routing_key = "rpc" };
    t->v.log_level = LAGO_LOG_ERROR;
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(lago_rpc_call(rpc, &args, noted_reply, p), i + 1);
        if (i % 100 == 0) virtual_run(&t->v);
    }
    for (int i = 20000; i > 2; i--) assert_int_equal(lago_rpc_forget(rpc, i), 0);
    reply("2", "x");
    assert_journal(t, "many reply x");
    assert_int_equal(lago_rpc_pending_count(rpc), 1);
    client_end(t);
}

/* ---------------------------------------------------------------- no reply */

static void time_limits(void **state) {
    (void)state;
    lago_channel_t *ch = start_with(&(lago_rpc_options_t){ .timeout_ms = 500 });
    server_send(&t->v, CONSUME_OK);
    lago_rpc_call_t sooner = { .routing_key = "rpc", .timeout_ms = 100 };
    lago_rpc_call_t never = { .routing_key = "rpc", .timeout_ms = LAGO_NO_TIMEOUT };
    assert_int_equal(call("by handle"), 1);
    assert_int_equal(lago_rpc_call(rpc, &sooner, noted_reply, probe(t, "sooner")), 2);
    assert_int_equal(lago_rpc_call(rpc, &never, noted_reply, probe(t, "never")), 3);
    virtual_advance(&t->v, 99);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "sooner ETIMEDOUT");
    reply("2", "too late");
    virtual_advance(&t->v, 399);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "by handle ETIMEDOUT");
    assert_int_equal(lago_rpc_dropped_count(rpc), 1);
    assert_int_equal(lago_channel_error(ch), 0);
    reply("3", "x");
    assert_journal(t, "never reply x");
    client_end(t);
}

static void the_connections_time_limit_is_the_default(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .operation_timeout_ms = 700, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    (void)lago_rpc_new(client_channel(t), NULL, &rpc);
    server_send(&t->v, "1 channel.open-ok\n" CONSUME_OK);
    journal_clear(t);
    (void)call("a");
    virtual_advance(&t->v, 699);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "a ETIMEDOUT");
    client_end(t);
}

static lago_reason_t reason;
static void keep_reason(lago_rpc_t *on, const lago_rpc_result_t *result, void *data) {
    reason = *result->reason;
    noted_reply(on, result, data);
}

static void return_(const char *routing_key, const char *id) {
    char lines[512];
    (void)snprintf(lines, sizeof(lines),
                   "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"%s\"\n"
                   "1 header body_size=0 correlation_id=\"%s\" reply_to=\"amq.rabbitmq.reply-to.x\"",
                   routing_key, id);
    server_send(&t->v, lines);
}

static void an_unroutable_request(void **state) {
    char line[512];
    (void)state;
    (void)start();
    (void)call("a");
    assert_int_equal(lago_rpc_call(rpc, &(lago_rpc_call_t){ .routing_key = "none" }, keep_reason, probe(t, "b")), 2);
    return_("none", "1"); /* somebody's request that this channel had forwarded */
    assert_journal(t, "1 return 312 none");
    return_("none", "2");
    assert_journal(t, "b EUNROUTABLE not served");
    assert_int_equal(reason.code, LAGO_EUNROUTABLE);
    assert_int_equal(reason.reply_code, 312);
    assert_string_equal(reason.reply_text, "NO_ROUTE");
    (void)lago_reason_format(&reason, line, sizeof(line));
    assert_non_null(strstr(line, "312 NO_ROUTE"));
    return_("none", "2"); /* it has ended: nobody's any more */
    assert_journal(t, "1 return 312 none");
    reply("1", "x");
    assert_journal(t, "a reply x");
    client_end(t);
}

/* The request's own place among the confirms takes the return, not the application's publish to the same route. */
static void an_unroutable_request_among_confirms(void **state) {
    (void)state;
    lago_channel_t *ch = start();
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    lago_basic_publish_t own = { .routing_key = "none", .mandatory = true };
    assert_int_equal(lago_rpc_call(rpc, &(lago_rpc_call_t){ .routing_key = "none" }, noted_reply, probe(t, "a")), 1);
    assert_int_equal(lago_basic_publish(ch, &own, noted_publish, probe(t, "own")), 2);
    server_send(&t->v, "1 confirm.select-ok");
    return_("none", "1");
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_journal(t, "a EUNROUTABLE not served; own 2 confirmed");
    client_end(t);
}

/* ---------------------------------------------------------------- ends */

static void the_link_is_lost(void **state) {
    (void)state;
    lago_channel_t *ch = start();
    lago_rpc_t *first = rpc, *second = NULL;
    lago_channel_t *other = client_open_channel(t);
    assert_int_equal(lago_confirm_select(ch, NULL, noted_done, probe(t, "select")), 0);
    assert_int_equal(lago_rpc_new(other, &handle_options, &second), 0);
    server_send(&t->v, "1 confirm.select-ok");
    rpc = second;
    (void)call("d");
    rpc = first;
    (void)call("a");
    (void)lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "q" }, noted_publish, probe(t, "p"));
    (void)call("b");
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.blocked");
    (void)call("c");
    (void)lago_basic_qos(ch, NULL, noted_done, probe(t, "qos"));
    (void)lago_basic_qos(other, NULL, noted_done, probe(t, "qos2"));
    journal_clear(t);
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_journal(t, "qos ELOST; qos2 ELOST; a ELOST; b ELOST; c ELOST not served; p 2 unknown; 1 close ELOST; channel free; "
                      "d ELOST; handle free; 2 close ELOST; channel free; close ELOST; connection free");
    assert_int_equal(call("late"), LAGO_ECLOSED);
    assert_int_equal(lago_rpc_reason(rpc)->code, LAGO_ELOST);
    client_end(t);
}

static void the_broker_closes_the_channel(void **state) {
    (void)state;
    (void)start_with(NULL);
    (void)call("a");
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    assert_journal(t, "a ECHANNEL; 1 close ECHANNEL; channel free");
    lago_rpc_free(rpc);
    client_end(t);
}

/* A goodbye does not wait for replies, and says what it waits for: the operations and confirms of the broker. */
static void closing_does_not_wait(void **state) {
    (void)state;
    lago_channel_t *ch = start();
    (void)call("a");
    assert_int_equal(lago_channel_close(ch, NULL), 0);
    reply("1", "too late");
    assert_journal(t, "");
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "a ECLOSED; 1 close ECLOSED; channel free");
    assert_int_equal(call("b"), LAGO_ECLOSED);
    client_end(t);
}

static void the_broker_cancels_the_consumer(void **state) {
    (void)state;
    lago_channel_t *ch = start_with(&(lago_rpc_options_t){ .reply_to = "answers" });
    server_send(&t->v, CONSUME_OK);
    (void)call("a");
    (void)call("b");
    server_send(&t->v, "1 basic.cancel consumer_tag=\"ctag1.1\"");
    assert_journal(t, "a ECONSUMER; b ECONSUMER");
    assert_int_equal(call("c"), LAGO_ECLOSED);
    assert_int_equal(lago_rpc_reason(rpc)->code, LAGO_ECONSUMER);
    lago_rpc_free(rpc);
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    (void)call("d");
    virtual_run(&t->v);
    assert_journal(t, "");
    client_end(t);
}

static void the_consumer_is_never_confirmed(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .operation_timeout_ms = 700, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    journal_clear(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    virtual_advance(&t->v, 1);
    (void)call("a");
    virtual_advance(&t->v, 699);
    assert_journal(t, "a ETIMEDOUT");
    assert_int_equal(call("b"), LAGO_ECLOSED);
    assert_int_equal(lago_channel_error(ch), LAGO_ECLOSED);
    assert_int_equal(lago_rpc_reason(rpc)->code, LAGO_ETIMEDOUT);
    server_send(&t->v, CONSUME_OK); /* too late: it is cancelled */
    assert_true(virtual_saw(&t->v, "C> 1 basic.cancel consumer_tag=\"ctag1.1\""));
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"ctag1.1\"");
    client_end(t);
}

/* What is left unsaid still keeps the loop: lago_connection_unref. */
static void a_call_keeps_the_loop_alive(void **state) {
    (void)state;
    (void)start();
    lago_connection_unref(t->conn);
    assert_false(link_wants(t->conn).alive);
    assert_int_equal(call("a"), 1);
    virtual_run(&t->v);
    assert_true(link_wants(t->conn).alive);
    assert_int_equal(lago_rpc_forget(rpc, 1), 0);
    assert_false(link_wants(t->conn).alive);
    assert_int_equal(call("b"), 2);
    reply("2", "x");
    assert_false(link_wants(t->conn).alive);
    assert_int_equal(call("c"), 3);
    lago_rpc_free(rpc);
    virtual_run(&t->v);
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"ctag1.1\"");
    assert_false(link_wants(t->conn).alive);
    client_end(t);
}

/* ---------------------------------------------------------------- letting go */

static void forgotten_calls_are_not_told(void **state) {
    (void)state;
    (void)start();
    (void)call("a");
    (void)call("b");
    assert_int_equal(lago_rpc_forget(rpc, 1), 0);
    assert_int_equal(lago_rpc_forget(rpc, 1), LAGO_ESTALE);
    assert_int_equal(lago_rpc_forget(rpc, 3), LAGO_ESTALE);
    assert_int_equal(lago_rpc_forget(rpc, 0), LAGO_EINVAL);
    assert_int_equal(lago_rpc_forget(NULL, 1), LAGO_EINVAL);
    reply("1", "x");
    virtual_advance(&t->v, 20000);
    assert_journal(t, "");
    reply("2", "y");
    assert_journal(t, "b reply y");
    client_end(t);
}

static void a_freed_handle_tells_nothing_more(void **state) {
    (void)state;
    lago_channel_t *ch = start_with(&handle_options);
    server_send(&t->v, CONSUME_OK);
    (void)call("a");
    virtual_run(&t->v);
    lago_rpc_free(rpc);
    assert_journal(t, "handle free");
    reply("1", "x");
    assert_true(virtual_saw(&t->v, "C> 1 basic.cancel consumer_tag=\"ctag1.1\""));
    /* the next may begin at once: the broker reads the cancel first */
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    assert_int_equal(call("b"), 2);
    server_send(&t->v, "1 basic.cancel-ok consumer_tag=\"ctag1.1\"\n1 basic.consume-ok consumer_tag=\"ctag1.2\"");
    server_send(
        &t->v,
        "1 basic.deliver consumer_tag=\"ctag1.2\" delivery_tag=2\n1 header body_size=1 correlation_id=\"2\"\n1 body \"y\"");
    assert_journal(t, "b reply y");
    lago_rpc_free(NULL);
    client_end(t);
}

/* Until then basic.cancel waits (RabbitMQ 3.10), and a second consumer of the pseudo-queue would cost the channel (406). */
static void a_handle_that_is_freed_before_it_was_confirmed(void **state) {
    (void)state;
    lago_channel_t *ch = start_with(&handle_options);
    lago_rpc_t *none = (lago_rpc_t *)1;
    assert_int_equal(lago_rpc_new(ch, NULL, &none), LAGO_EEXIST);
    assert_null(none);
    (void)call("a");
    virtual_run(&t->v);
    lago_rpc_free(rpc);
    assert_journal(t, "handle free");
    assert_int_equal(lago_rpc_new(ch, NULL, &none), LAGO_EEXIST);
    assert_null(none);
    assert_false(virtual_saw(&t->v, "C> 1 basic.cancel*"));
    server_send(&t->v, CONSUME_OK);
    assert_true(virtual_saw(&t->v, "C> 1 basic.cancel consumer_tag=\"ctag1.1\""));
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    assert_int_equal(call("b"), 2);
    lago_channel_free(ch);
    virtual_run(&t->v);
    assert_journal(t, "channel free");
    client_end(t);
}

static void handles_go_with_their_channel(void **state) {
    (void)state;
    lago_channel_t *ch = start_with(&handle_options);
    (void)call("a");
    lago_channel_free(ch);
    assert_journal(t, "handle free; channel free");
    virtual_run(&t->v);
    client_end(t);
    (void)start_with(&handle_options);
    server_send(&t->v, CONSUME_OK);
    (void)call("a");
    client_end(t);
    assert_journal(t, "handle free; channel free; connection free");
}

/* ---------------------------------------------------------------- refusals */

static void refuses_nonsense(void **state) {
    (void)state;
    lago_channel_t *ch = start();
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = '\0';
    lago_rpc_t *none;
    lago_rpc_call_t args = { .routing_key = "rpc" };
    assert_int_equal(lago_rpc_new(NULL, NULL, &none), LAGO_EINVAL);
    assert_int_equal(lago_rpc_new(ch, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_new(ch, &(lago_rpc_options_t){ .reserved = { 1 } }, &none), LAGO_EINVAL);
    assert_int_equal(lago_rpc_new(ch, &(lago_rpc_options_t){ .reply_to = longest }, &none), LAGO_ETOOLONG);
    assert_int_equal(lago_rpc_new(ch, &(lago_rpc_options_t){ .correlation_prefix = longest + 256 - 65 }, &none), LAGO_ETOOLONG);
    assert_int_equal(lago_rpc_call(NULL, &args, noted_reply, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_call(rpc, NULL, noted_reply, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_call(rpc, &args, NULL, NULL), LAGO_EINVAL);
    lago_properties_t own[] = { { .correlation_id = "1" }, { .reply_to = "q" }, { .present = LAGO_PROPERTY_REPLY_TO } };
    for (size_t i = 0; i < 3; i++) {
        args.properties = &own[i];
        assert_int_equal(lago_rpc_call(rpc, &args, noted_reply, NULL), LAGO_EINVAL);
    }
    args = (lago_rpc_call_t){ .routing_key = longest };
    assert_int_equal(lago_rpc_call(rpc, &args, noted_reply, NULL), LAGO_ETOOLONG);
    args = (lago_rpc_call_t){ .body = { NULL, 1 } };
    assert_int_equal(lago_rpc_call(rpc, &args, noted_reply, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_pending_count(rpc), 0);
    assert_int_equal(lago_rpc_pending_count(NULL) + lago_rpc_dropped_count(NULL), 0);
    assert_null(lago_rpc_data(NULL));
    assert_null(lago_rpc_channel(NULL));
    assert_null(lago_rpc_reason(NULL));
    assert_int_equal(call("first"), 1); /* what was refused took no number */
    assert_journal(t, "");
    client_end(t);
}

static void above_high_water_a_call_is_refused(void **state) {
    static char body[70000];
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .high_water = 65536, .low_water = 1024, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    journal_clear(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    virtual_run(&t->v);
    virtual_take(&t->v, 0);
    lago_rpc_call_t args = { .body = { body, sizeof(body) }, .release_body = noted_release, .release_data = probe(t, "body") };
    assert_int_equal(lago_rpc_call(rpc, &args, noted_reply, probe(t, "big")), 1);
    assert_int_equal(call("a"), LAGO_EAGAIN);
    assert_int_equal(lago_rpc_pending_count(rpc), 1);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "body released; drain");
    assert_int_equal(call("a"), 2);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_and_its_reply),
        cmocka_unit_test(replies_come_in_any_order),
        cmocka_unit_test(replies_that_nobody_waits_for_are_counted),
        cmocka_unit_test(replies_have_no_delivery_tags),
        cmocka_unit_test(a_queue_of_the_callers_and_a_prefix),
        cmocka_unit_test(everything_leaves_in_order_before_open),
        cmocka_unit_test(many_calls_in_flight),
        cmocka_unit_test(time_limits),
        cmocka_unit_test(the_connections_time_limit_is_the_default),
        cmocka_unit_test(an_unroutable_request),
        cmocka_unit_test(an_unroutable_request_among_confirms),
        cmocka_unit_test(the_link_is_lost),
        cmocka_unit_test(the_broker_closes_the_channel),
        cmocka_unit_test(closing_does_not_wait),
        cmocka_unit_test(the_broker_cancels_the_consumer),
        cmocka_unit_test(the_consumer_is_never_confirmed),
        cmocka_unit_test(a_call_keeps_the_loop_alive),
        cmocka_unit_test(forgotten_calls_are_not_told),
        cmocka_unit_test(a_freed_handle_tells_nothing_more),
        cmocka_unit_test(a_handle_that_is_freed_before_it_was_confirmed),
        cmocka_unit_test(handles_go_with_their_channel),
        cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(above_high_water_a_call_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
