/* Calls at their edges: requests of others that look like ours, handles that are freed twice, consumers that cannot be had or left. */
#include "client_test.h"
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
static int64_t from_within; /* what a call on the freed handle came to */

static void noted_reply(lago_rpc_t *on, const lago_rpc_result_t *result, void *data) {
    struct probe *p = data;
    (void)on;
    note(t, "%s %s", p->name, result->reply ? "reply" : code_name(result->reason->code));
}

static int64_t call(const char *name) {
    lago_rpc_call_t args = { .exchange = "e", .routing_key = "rpc" };
    return lago_rpc_call(rpc, &args, noted_reply, probe(t, name));
}

static lago_channel_t *start_with(const lago_rpc_options_t *options) {
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_rpc_new(ch, options, &rpc), 0);
    virtual_run(&t->v);
    return ch;
}

/* ---------------------------------------------------------------- requests of others */

static void returned(const char *exchange, const char *routing_key) {
    char lines[256];
    (void)snprintf(lines, sizeof(lines),
                   "1 basic.return reply_code=312 exchange=\"%s\" routing_key=\"%s\"\n1 header body_size=0 correlation_id=\"1\"",
                   exchange, routing_key);
    server_send(&t->v, lines);
}

/* A channel may forward requests, and their ids may be those of its own: the route must be the same as well, in each of its octets. */
static void a_return_for_another_route_is_not_ours(void **state) {
    static const char *const others[][2] = { { "", "rpc" }, { "ee", "rpc" }, { "f", "rpc" },
                                             { "e", "" },   { "e", "rpcs" }, { "e", "rpd" } };
    (void)state;
    (void)start_with(NULL);
    server_send(&t->v, CONSUME_OK);
    assert_int_equal(call("a"), 1);
    virtual_run(&t->v);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char expected[64];
        returned(others[i][0], others[i][1]);
        (void)snprintf(expected, sizeof(expected), "1 return 312 %s", others[i][1]);
        assert_journal(t, expected);
    }
    assert_int_equal(lago_rpc_pending_count(rpc), 1);
    returned("e", "rpc");
    assert_journal(t, "a EUNROUTABLE");
    client_end(t);
}

/* ---------------------------------------------------------------- handles that are gone */

static void frees_again(void *data) {
    noted_free(data);
    lago_rpc_call_t args = { .routing_key = "rpc" };
    from_within = lago_rpc_call(rpc, &args, noted_reply, NULL);
    lago_rpc_free(rpc);
}

static void free_data_may_free_it_once_more(void **state) {
    (void)state;
    struct probe handle = { .t = t, .name = "handle" };
    lago_rpc_options_t options = { .data = &handle, .free_data = frees_again };
    lago_channel_t *ch = start_with(&options);
    server_send(&t->v, CONSUME_OK);
    (void)call("a");
    lago_channel_free(ch);
    assert_journal(t, "handle free; channel free");
    assert_int_equal(from_within, LAGO_ECLOSED);
    client_end(t);

    (void)start_with(&options);
    server_send(&t->v, CONSUME_OK);
    from_within = 0;
    lago_rpc_free(rpc);
    assert_journal(t, "handle free");
    assert_int_equal(from_within, LAGO_EINVAL); /* the channel lives, the handle does not */
    client_end(t);
}

/* Freed before its consumer was confirmed, which then never is: nobody is told, and the place is free again. */
static void nobody_is_told_what_a_freed_handle_waited_for(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .operation_timeout_ms = 700, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    lago_channel_t *ch = client_channel(t);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.open-ok");
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    (void)call("a");
    lago_rpc_free(rpc);
    journal_clear(t);
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), LAGO_EEXIST);
    virtual_advance(&t->v, 700);
    assert_false(virtual_saw(&t->v, "no more replies*"));
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    assert_int_equal(lago_rpc_pending_count(rpc), 0);
    assert_journal(t, "");
    client_end(t);
}

/* There is no memory to cancel its consumer: what still comes to that is nobody's, its end is not news. */
static void a_consumer_that_could_not_be_left(void **state) {
    (void)state;
    lago_channel_t *ch = start_with(NULL);
    server_send(&t->v, CONSUME_OK);
    (void)call("a");
    virtual_run(&t->v);
    fail_alloc_at(&t->v.alloc, 1, true);
    lago_rpc_free(rpc);
    fail_alloc_at(&t->v.alloc, 0, false);
    assert_true(virtual_saw(&t->v, "consumer of replies not cancelled: out of memory*"));
    server_send(&t->v, "1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=1\n1 header body_size=0 correlation_id=\"1\"");
    server_send(&t->v, "1 basic.cancel consumer_tag=\"ctag1.1\" no_wait=1");
    assert_false(virtual_saw(&t->v, "no more replies*"));
    assert_journal(t, "");
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    client_end(t);
}

/* ---------------------------------------------------------------- what is asked for */

static void no_name_is_the_pseudo_queue(void **state) {
    (void)state;
    (void)start_with(&(lago_rpc_options_t){ .reply_to = "" });
    assert_true(virtual_saw(&t->v, "C> 1 basic.consume queue=\"amq.rabbitmq.reply-to\" consumer_tag=\"ctag1.1\" no_ack=1"));
    client_end(t);
}

static void what_a_later_version_may_ask_is_refused(void **state) {
    (void)state;
    (void)start_with(NULL);
    lago_rpc_call_t args = { .routing_key = "rpc", .reserved = { 1 } };
    assert_int_equal(lago_rpc_call(rpc, &args, noted_reply, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_pending_count(rpc), 0);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_return_for_another_route_is_not_ours),
        cmocka_unit_test(free_data_may_free_it_once_more),
        cmocka_unit_test(nobody_is_told_what_a_freed_handle_waited_for),
        cmocka_unit_test(a_consumer_that_could_not_be_left),
        cmocka_unit_test(no_name_is_the_pseudo_queue),
        cmocka_unit_test(what_a_later_version_may_ask_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
