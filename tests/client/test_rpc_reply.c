/* The server's side of calls: a reply goes to where its request asked for it, with the request's correlation_id. */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;

static lago_message_t *request;
static void keep_request(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)ch, (void)data;
    lago_message_release(request);
    assert_int_equal(lago_message_keep(message, &request), 0);
}

static void get_request(unsigned tag, const char *properties) {
    char lines[512];
    (void)snprintf(lines, sizeof(lines), "1 basic.deliver consumer_tag=\"s\" delivery_tag=%u\n1 header body_size=0 %s", tag,
                   properties);
    server_send(&t->v, lines);
}

static void a_server_replies(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t consume = { .queue = "rpc", .consumer_tag = "s", .on_message = keep_request };
    assert_int_equal(lago_basic_consume(ch, &consume, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"s\"");
    get_request(1, "correlation_id=\"a\\x00b\" reply_to=\"amq.rabbitmq.reply-to.g1h2\"");
    lago_basic_publish_t args = { .body = { "42", 2 }, .properties = &(lago_properties_t){ .content_type = "a/b" } };
    virtual_forget_log(&t->v);
    assert_int_equal(lago_rpc_reply(ch, request, &args, NULL, NULL), 0);
    assert_int_equal(lago_rpc_reply(ch, request, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 basic.publish routing_key=\"amq.rabbitmq.reply-to.g1h2\""));
    assert_true(virtual_saw(&t->v, "C> 1 header body_size=2 content_type=\"a/b\" correlation_id=\"a\\x00b\""));
    assert_true(virtual_saw(&t->v, "C> 1 header body_size=0 correlation_id=\"a\\x00b\""));
    lago_properties_t own = { .correlation_id = "c" };
    lago_properties_t none = { .present = LAGO_PROPERTY_CORRELATION_ID };
    lago_basic_publish_t wrong[] = {
        { .exchange = "" }, { .routing_key = "q" }, { .properties = &own }, { .properties = &none }
    };
    for (size_t i = 0; i < 4; i++) assert_int_equal(lago_rpc_reply(ch, request, &wrong[i], NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_reply(NULL, request, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_reply(ch, NULL, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_reply(ch, request, NULL, noted_publish, NULL), LAGO_ENOCONFIRM);
    get_request(2, "correlation_id=\"1\"");
    assert_int_equal(lago_rpc_reply(ch, request, NULL, NULL, NULL), LAGO_ENOREPLY);
    get_request(3, "reply_to=\"\"");
    assert_int_equal(lago_rpc_reply(ch, request, NULL, NULL, NULL), LAGO_ENOREPLY);
    get_request(4, "reply_to=\"a\\x00b\"");
    assert_int_equal(lago_rpc_reply(ch, request, NULL, NULL, NULL), LAGO_EINVAL);
    get_request(5, "reply_to=\"q\"");
    assert_int_equal(lago_rpc_reply(ch, request, NULL, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 basic.publish routing_key=\"q\""));
    assert_true(virtual_saw(&t->v, "C> 1 header body_size=0"));
    lago_message_release(request);
    request = NULL;
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_server_replies) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
