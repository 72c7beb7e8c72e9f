/*
 * What may be asked of a handle at any time, of none (NULL) as well; and what is wrong with a call, which is said at once: then
 * nothing has happened, and nothing is called.
 */
#include "client_test.h"
#include "server.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;

/* ---------------------------------------------------------------- nobody */

static void no_connection_answers_nothing(void **state) {
    (void)state;
    assert_int_equal(lago_connection_state(NULL), LAGO_CONNECTION_CLOSED);
    assert_null(lago_connection_data(NULL));
    assert_null(lago_connection_reason(NULL));
    assert_string_equal(lago_connection_endpoint(NULL), "");
    assert_string_equal(lago_connection_tls(NULL).version, "");
    assert_int_equal(lago_connection_server_properties(NULL).size, 0);
    assert_false(lago_connection_server_has(NULL, "basic.nack"));
    assert_int_equal(lago_connection_tune(NULL).frame_max, 0);
    assert_false(lago_connection_is_blocked(NULL));
    assert_false(lago_connection_writable(NULL));
    assert_int_equal(lago_connection_output_size(NULL), 0);
    lago_connection_free(NULL);
    lago_connection_abort(NULL);
}

static void no_channel_answers_nothing(void **state) {
    (void)state;
    lago_channel_t *ch = (lago_channel_t *)1;
    assert_int_equal(lago_channel_open(NULL, NULL, &ch), LAGO_EINVAL);
    assert_null(ch);
    assert_int_equal(lago_channel_open(NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_number(NULL), 0);
    assert_null(lago_channel_connection(NULL));
    assert_null(lago_channel_data(NULL));
    assert_null(lago_channel_reason(NULL));
    assert_int_equal(lago_channel_unacked_count(NULL), 0);
    assert_int_equal(lago_channel_unconfirmed_count(NULL), 0);
    assert_false(lago_channel_is_flow_active(NULL));
    lago_channel_free(NULL);
}

static void no_rpc_answers_nothing(void **state) {
    (void)state;
    assert_null(lago_rpc_channel(NULL));
    assert_null(lago_rpc_data(NULL));
    assert_int_equal(lago_rpc_pending_count(NULL), 0);
    assert_int_equal(lago_rpc_dropped_count(NULL), 0);
    assert_null(lago_rpc_reason(NULL));
    assert_int_equal(lago_rpc_forget(NULL, 1), LAGO_EINVAL);
    lago_rpc_free(NULL);
}

/* ---------------------------------------------------------------- what a handle says of itself */

static void a_channel_knows_its_data_and_its_end(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = NULL;
    lago_channel_options_t options = client_channel_options(t);
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    assert_ptr_equal(lago_channel_data(ch), options.data);
    assert_ptr_equal(lago_channel_connection(ch), t->conn);
    assert_null(lago_channel_reason(ch));
    assert_null(lago_connection_reason(t->conn));
    assert_ptr_equal(lago_connection_data(t->conn), t->self);
    server_send(&t->v, "1 channel.open-ok");
    assert_true(lago_channel_is_flow_active(ch));
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"gone\"");
    assert_int_equal(lago_channel_reason(ch)->reply_code, 404);
    assert_false(lago_channel_is_flow_active(ch));
    client_end(t);
}

/* Each kind of answer that a broker, or something like one, may have given. */
static void what_the_server_has(void **state) {
    (void)state;
    static const struct {
        const char *properties;
        bool has;
    } cases[] = {
        { "{capabilities={basic.nack=true}}", true },
        { "{capabilities={basic.nack=false}}", false },
        { "{capabilities={basic.nack=\"yes\"}}", false },
        { "{capabilities={publisher_confirms=true}}", false },
        { "{capabilities=\"all\"}", false },
        { "{product=\"RabbitMQ\"}", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[256] = "0 connection.start version_minor=9 mechanisms=\"PLAIN\" locales=\"en_US\" server_properties=";
        strcat(line, cases[i].properties);
        client_init(t);
        client_connect(t, "amqp://localhost");
        assert_false(lago_connection_server_has(t->conn, "basic.nack")); /* it has said nothing yet */
        server_send(&t->v, line);
        assert_int_equal(lago_connection_server_has(t->conn, "basic.nack"), cases[i].has);
        assert_false(lago_connection_server_has(t->conn, NULL));
        assert_true(lago_connection_server_properties(t->conn).size > 0);
        lago_connection_abort(t->conn);
        virtual_run(&t->v);
        client_end(t);
    }
}

/* ---------------------------------------------------------------- reserved members are zero */

static void what_nobody_has_defined_is_refused(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = NULL;
    lago_channel_options_t options = client_channel_options(t);
    size_t count = sizeof options.reserved / sizeof options.reserved[0];
    for (size_t i = 0; i < count; i++) {
        options.reserved[i] = 1;
        assert_int_equal(lago_channel_open(t->conn, &options, &ch), LAGO_EINVAL);
        options.reserved[i] = 0;
    }
    ch = client_open_channel(t);
    lago_rpc_t *rpc = NULL;
    assert_int_equal(lago_rpc_new(ch, NULL, &rpc), 0);
    lago_rpc_call_t call = { .routing_key = "q" };
    assert_int_equal(lago_rpc_call(rpc, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_call(rpc, &call, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_rpc_pending_count(rpc), 0);
    assert_null(lago_rpc_data(rpc));
    assert_journal(t, "");
    client_end(t);
}

/* Each call without its arguments, without what they must name, or with something in what is reserved. */
static void wrong_arguments_are_refused_at_once(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_exchange_delete_t no_name = { 0 }, odd_delete = { .exchange = "e", .reserved = { 1 } };
    lago_exchange_bind_t no_source = { .destination = "d" }, no_destination = { .source = "s" };
    lago_exchange_bind_t odd_bind = { .destination = "d", .source = "s", .reserved = { 1 } };
    lago_queue_bind_t no_exchange = { .queue = "q" }, no_answer = { .queue = "q", .exchange = "e", .no_wait = true };
    lago_queue_bind_t odd_queue_bind = { .queue = "q", .exchange = "e", .reserved = { 1 } };
    lago_basic_publish_t odd_publish = { .routing_key = "q" };
    assert_int_equal(lago_exchange_delete(ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_delete(ch, &no_name, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_delete(ch, &odd_delete, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_bind(ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_bind(ch, &no_source, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_unbind(ch, &no_destination, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_exchange_unbind(ch, &odd_bind, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_bind(ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_bind(ch, &no_exchange, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_bind(ch, &odd_queue_bind, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_unbind(ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_unbind(ch, &no_exchange, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_queue_unbind(ch, &no_answer, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_flow(ch, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_basic_publish(ch, NULL, NULL, NULL), LAGO_EINVAL);
    for (size_t i = 0; i < sizeof odd_publish.reserved / sizeof odd_publish.reserved[0]; i++) {
        odd_publish.reserved[i] = 1;
        assert_int_equal(lago_basic_publish(ch, &odd_publish, NULL, NULL), LAGO_EINVAL);
        odd_publish.reserved[i] = 0;
    }
    assert_int_equal(lago_connection_call_later(t->conn, 1, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_connection_call_later(NULL, 1, noted_timer, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_error(ch), LAGO_EINVAL); /* the first of them */
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    assert_journal(t, "");
    client_end(t);
}

/* What is left out has its default: a queue.delete and a tx.select of nothing in particular. */
static void arguments_may_be_left_out(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_int_equal(lago_queue_delete(ch, NULL, NULL, NULL), 0);
    assert_int_equal(lago_tx_select(ch, &(lago_tx_t){ .timeout_ms = 5000 }, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_true(virtual_saw(&t->v, "C> 1 queue.delete*"));
    assert_true(virtual_saw(&t->v, "C> 1 tx.select*"));
    client_end(t);
}

/* How the link looks from within: words of TLS only while there is a link. */
static void the_link_is_asked_while_it_is_there(void **state) {
    (void)state;
    client_open(t);
    assert_non_null(lago_connection_tls(t->conn).version);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.1:5672");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSING);
    server_send(&t->v, "0 connection.close-ok");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSED);
    assert_string_equal(lago_connection_tls(t->conn).version, "");
    assert_int_equal(lago_connection_reason(t->conn)->code, LAGO_ECLOSED);
    client_end(t);
}

/* Who would log in by a certificate, and cannot, hears whether the certificate was the reason. */
static int configured(struct ssl_ctx_st *ssl_ctx, void *data) {
    (void)ssl_ctx, (void)data;
    return 0;
}

static void external_says_what_it_lacks(void **state) {
    (void)state;
    static const lago_tls_options_t certificates[] = {
        { .certificate_file = "c.pem", .key_file = "k.pem" },
        { .certificate_pem = { "c", 1 }, .key_pem = { "k", 1 } },
        { .configure = configured },
        { .insecure_skip_verification = false },
    };
    for (size_t i = 0; i <= sizeof certificates / sizeof certificates[0]; i++) {
        bool has_tls = i < sizeof certificates / sizeof certificates[0], has_certificate = i < 3;
        for (int offered = 0; offered < 2; offered++) {
            lago_parameters_t parameters = { .host = "localhost", .credentials = { .mechanisms = "EXTERNAL" } };
            if (has_tls) parameters.tls = &certificates[i];
            client_init(t);
            client_connect_with(t, &parameters);
            server_send(&t->v, offered ? "0 connection.start version_minor=9 mechanisms=\"EXTERNAL\" locales=\"en_US\""
                                       : "0 connection.start version_minor=9 mechanisms=\"PLAIN\" locales=\"en_US\"");
            if (offered) server_send(&t->v, "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"");
            const char *hint = lago_connection_reason(t->conn)->hint;
            const char *wanted = offered
                                     ? (has_certificate ? "ssl_cert_login_from" : "and here is none")
                                     : (has_certificate ? "rabbitmq_auth_mechanism_ssl" : "needs TLS with a client certificate");
            if (!strstr(hint, wanted)) fail_msg("%zu %d: %s", i, offered, hint);
            client_end(t);
        }
    }
}

static void a_connection_has_one_address(void **state) {
    (void)state;
    lago_parameters_t parameters = { .host = "localhost" };
    lago_connection_options_t options = { .parameters = &parameters };
    client_init(t);
    assert_int_equal(virtual_connect(&t->v, "amqp://localhost", &options), LAGO_EINVAL);
    options = (lago_connection_options_t){ .on_open = NULL };
    size_t count = sizeof options.reserved / sizeof options.reserved[0];
    for (size_t i = 0; i < count; i++) {
        options.reserved[i] = 1;
        assert_int_equal(virtual_connect(&t->v, "amqp://localhost", &options), LAGO_EINVAL);
        options.reserved[i] = 0;
    }
    virtual_deinit(&t->v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_connection_answers_nothing), cmocka_unit_test(no_channel_answers_nothing),
        cmocka_unit_test(no_rpc_answers_nothing),        cmocka_unit_test(a_channel_knows_its_data_and_its_end),
        cmocka_unit_test(what_the_server_has),           cmocka_unit_test(what_nobody_has_defined_is_refused),
        cmocka_unit_test(a_connection_has_one_address),  cmocka_unit_test(wrong_arguments_are_refused_at_once),
        cmocka_unit_test(arguments_may_be_left_out),     cmocka_unit_test(the_link_is_asked_while_it_is_there),
        cmocka_unit_test(external_says_what_it_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
