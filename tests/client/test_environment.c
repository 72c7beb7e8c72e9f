/* Parameters from variables, through a lookup over pairs: no test changes the process's environment. */
#include "alloc.h"
#include "fail_alloc.h"
#include "parameters.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* name, value, name, value, NULL */
static const char *lookup(const char *name, void *data) {
    for (const char *const *pair = data; *pair; pair += 2)
        if (strcmp(pair[0], name) == 0) return pair[1];
    return NULL;
}

#define VARIABLES(...) ((const char *[]){ __VA_ARGS__, NULL })

static struct parameters *loaded(const char **variables) {
    struct parameters *p = NULL;
    lago_reason_t reason;
    int rc = parameters_from_variables(&mem_default, lookup, variables, &p, &reason);
    if (rc < 0) fail_msg("%s", reason.detail);
    return p;
}

static void assert_refused(const char **variables, int code, const char *detail) {
    struct parameters *p = (struct parameters *)1;
    lago_reason_t reason;
    assert_int_equal(parameters_from_variables(&mem_default, lookup, variables, &p, &reason), code);
    assert_null(p);
    assert_int_equal(reason.code, code);
    assert_string_equal(reason.detail, detail);
    assert_int_equal(parameters_from_variables(&mem_default, lookup, variables, &p, NULL), code);
}

static void defaults_without_variables(void **state) {
    (void)state;
    struct parameters *p = loaded(VARIABLES(NULL));
    assert_string_equal(p->values.host, "localhost");
    assert_int_equal(p->values.port, 5672);
    assert_string_equal(p->values.virtual_host, "/");
    assert_null(p->values.credentials.username);
    parameters_free(p);
}

static void lays_variables_over_the_url(void **state) {
    (void)state;
    struct parameters *p = loaded(VARIABLES("AMQP_URL", "amqp://u:p@h:1/v?heartbeat=5&frame_max=8192", "RABBITMQ_PORT", "2",
                                            "RABBITMQ_USER", "me", "RABBITMQ_HEARTBEAT", "0"));
    assert_string_equal(p->values.host, "h");
    assert_int_equal(p->values.port, 2);
    assert_string_equal(p->values.credentials.username, "me");
    assert_string_equal(p->values.credentials.password, "p");
    assert_string_equal(p->values.virtual_host, "v");
    assert_int_equal(p->values.heartbeat_s, LAGO_HEARTBEAT_OFF);
    assert_int_equal(p->values.frame_max, 8192);
    parameters_free(p);
}

static void takes_strings_as_they_are(void **state) {
    (void)state;
    struct parameters *p = loaded(VARIABLES("RABBITMQ_HOST", "::1", "RABBITMQ_USERNAME", "a%20b", "RABBITMQ_PASSWORD", "p@s/%s",
                                            "RABBITMQ_VHOST", "%2F", "RABBITMQ_CONNECTION_NAME", "shop"));
    assert_string_equal(p->values.host, "::1");
    assert_string_equal(p->values.credentials.username, "a%20b");
    assert_string_equal(p->values.credentials.password, "p@s/%s");
    assert_string_equal(p->values.virtual_host, "%2F");
    assert_string_equal(p->values.connection_name, "shop");
    parameters_free(p);
}

static void takes_every_query_key(void **state) {
    (void)state;
    struct parameters *p =
        loaded(VARIABLES("RABBITMQ_BLOCKED_CONNECTION_TIMEOUT", "1", "RABBITMQ_CHANNEL_MAX", "2", "RABBITMQ_CLIENT_PROPERTIES",
                         "{'a': 1}", "RABBITMQ_CONNECTION_ATTEMPTS", "3", "RABBITMQ_FRAME_MAX", "4096", "RABBITMQ_HEARTBEAT", "5",
                         "RABBITMQ_LOCALE", "l", "RABBITMQ_RETRY_DELAY", "6.5", "RABBITMQ_SOCKET_TIMEOUT", "7",
                         "RABBITMQ_STACK_TIMEOUT", "8", "RABBITMQ_TCP_OPTIONS", "{'TCP_KEEPCNT': 9}"));
    const lago_parameters_t *v = &p->values;
    assert_int_equal(v->blocked_connection_timeout_ms, 1000);
    assert_int_equal(v->channel_max, 2);
    assert_int_equal(lago_table_check(&v->client_properties), 1);
    assert_int_equal(v->connection_attempts, 3);
    assert_int_equal(v->frame_max, 4096);
    assert_int_equal(v->heartbeat_s, 5);
    assert_string_equal(v->locale, "l");
    assert_int_equal(v->retry_delay_ms, 6500);
    assert_int_equal(v->socket_timeout_ms, 7000);
    assert_int_equal(v->stack_timeout_ms, 8000);
    assert_int_equal(v->tcp_options.keepcnt, 9);
    parameters_free(p);
}

static void counts_empty_as_unset(void **state) {
    (void)state;
    struct parameters *p = loaded(VARIABLES("AMQP_URL", "", "RABBITMQ_HOST", "", "RABBITMQ_PORT", "", "RABBITMQ_USER", "",
                                            "RABBITMQ_USERNAME", "u", "RABBITMQ_HEARTBEAT", ""));
    assert_string_equal(p->values.host, "localhost");
    assert_string_equal(p->values.credentials.username, "u");
    assert_int_equal(p->values.heartbeat_s, 0);
    parameters_free(p);
}

static void names_the_variable_that_is_wrong(void **state) {
    (void)state;
    assert_refused(VARIABLES("AMQP_URL", "amqp://h:x"), LAGO_EPARAMETER, "AMQP_URL: port: not a whole number");
    assert_refused(VARIABLES("AMQP_URL", "amqp://h,a b"), LAGO_EPARAMETER, "AMQP_URL: URL: contains a space");
    assert_refused(VARIABLES("RABBITMQ_HOST", "a b"), LAGO_EPARAMETER, "RABBITMQ_HOST: contains a space or control character");
    assert_refused(VARIABLES("RABBITMQ_PORT", "tcp://10.0.0.1:5672"), LAGO_EPARAMETER, "RABBITMQ_PORT: not a whole number");
    assert_refused(VARIABLES("RABBITMQ_FRAME_MAX", "1"), LAGO_EPARAMETER, "RABBITMQ_FRAME_MAX: out of range");
    assert_refused(VARIABLES("RABBITMQ_SOCKET_TIMEOUT", "0"), LAGO_EPARAMETER, "RABBITMQ_SOCKET_TIMEOUT: 0");
    assert_refused(VARIABLES("RABBITMQ_CLIENT_PROPERTIES", "{"), LAGO_EPARAMETER,
                   "RABBITMQ_CLIENT_PROPERTIES: a name in quotes is expected, at byte 1");
    assert_refused(VARIABLES("RABBITMQ_SSL_OPTIONS", "{'x': 1}"), LAGO_EPARAMETER, "RABBITMQ_SSL_OPTIONS: x is not an option");
    assert_refused(VARIABLES("RABBITMQ_PROXY", "h:1"), LAGO_EPARAMETER, "RABBITMQ_PROXY: neither socks5:// nor http://");
    assert_refused(VARIABLES("RABBITMQ_WRITE_TIMEOUT", "0"), LAGO_EPARAMETER, "RABBITMQ_WRITE_TIMEOUT: 0");
}

static void takes_the_keys_for_tls(void **state) {
    (void)state;
    struct parameters *p =
        loaded(VARIABLES("AMQP_URL", "amqps://h?cacertfile=a&certfile=b&verify=verify_none", "RABBITMQ_CACERTFILE", "my ca.pem",
                         "RABBITMQ_KEYFILE", "k", "RABBITMQ_VERIFY", "verify_peer", "RABBITMQ_SERVER_NAME_INDICATION", "mq"));
    const lago_tls_options_t *tls = p->values.tls;
    assert_int_equal(p->values.port, 5671);
    assert_string_equal(tls->ca_file, "my ca.pem");
    assert_string_equal(tls->certificate_file, "b");
    assert_string_equal(tls->key_file, "k");
    assert_string_equal(tls->server_name, "mq");
    assert_false(tls->insecure_skip_verification);
    parameters_free(p);
    /* it takes the place of all that the URL says, but for `verify` */
    p = loaded(VARIABLES("AMQP_URL", "amqps://h?cacertfile=a&verify=verify_none", "RABBITMQ_SSL_OPTIONS", "{'certfile': 'b'}"));
    assert_null(p->values.tls->ca_file);
    assert_string_equal(p->values.tls->key_file, "b");
    assert_true(p->values.tls->insecure_skip_verification);
    parameters_free(p);
    p = loaded(VARIABLES("RABBITMQ_HOST", "h", "RABBITMQ_SSL_OPTIONS", "{}", "RABBITMQ_VERIFY", "verify_none"));
    assert_int_equal(p->values.port, 5671);
    assert_true(p->values.tls->insecure_skip_verification);
    parameters_free(p);
    assert_refused(VARIABLES("RABBITMQ_CACERTFILE", "a"), LAGO_EPARAMETER,
                   "RABBITMQ_CACERTFILE: is for TLS, but the URL is amqp://");
    assert_refused(VARIABLES("RABBITMQ_CACERTFILE", "a", "RABBITMQ_SSL_OPTIONS", "{}"), LAGO_EPARAMETER,
                   "RABBITMQ_CACERTFILE: given beside ssl_options");
    assert_refused(VARIABLES("AMQP_URL", "amqps://h", "RABBITMQ_SSL_OPTIONS", "None"), LAGO_EPARAMETER,
                   "RABBITMQ_SSL_OPTIONS: None, which is for amqp://, beside amqps://");
    assert_refused(VARIABLES("AMQP_URL", "amqps://h", "RABBITMQ_KEYFILE", "k"), LAGO_EPARAMETER,
                   "RABBITMQ_KEYFILE: given without certfile");
}

static void takes_one_host_in_place_of_several(void **state) {
    (void)state;
    struct parameters *p = loaded(VARIABLES("AMQP_URL", "amqp://h1:1,h2", "RABBITMQ_HOST", "x"));
    assert_string_equal(p->values.host, "x");
    assert_int_equal(p->values.port, 1);
    assert_int_equal(p->values.endpoint_count, 0);
    parameters_free(p);
    p = loaded(VARIABLES("AMQP_URL", "amqp://h1:1,h2", "RABBITMQ_PORT", "2"));
    assert_int_equal(p->values.port, 2);
    assert_int_equal(p->values.endpoints[0].port, 2);
    parameters_free(p);
    p = loaded(VARIABLES("AMQP_URL", "amqp://h1:1", "RABBITMQ_HOST", "/run/x"));
    assert_string_equal(p->values.host, "/run/x");
    parameters_free(p);
    assert_refused(VARIABLES("RABBITMQ_HOST", "a,b"), LAGO_EPARAMETER,
                   "RABBITMQ_HOST: contains a character that no host name has");
}

static void takes_mechanisms_and_the_proxy(void **state) {
    (void)state;
    struct parameters *p =
        loaded(VARIABLES("AMQP_URL", "amqp://h?auth_mechanism=plain", "RABBITMQ_AUTH_MECHANISM", "external", "RABBITMQ_PROXY",
                         "socks5://u:p%40@h:1", "RABBITMQ_CONNECTION_TIMEOUT", "9", "RABBITMQ_NAME", "not looked at"));
    assert_string_equal(p->values.credentials.mechanisms, "EXTERNAL");
    assert_string_equal(p->values.proxy.password, "p@"); /* decoded once: it is a URL, but no query's value */
    assert_int_equal(p->values.socket_timeout_ms, 9);
    assert_null(p->values.connection_name);
    parameters_free(p);
}

static void refuses_names_beyond_255_bytes(void **state) {
    (void)state;
    char name[257];
    memset(name, 'n', 256);
    name[256] = '\0';
    assert_refused(VARIABLES("RABBITMQ_USER", name), LAGO_EPARAMETER, "RABBITMQ_USER: longer than 255 bytes");
    assert_refused(VARIABLES("RABBITMQ_USERNAME", name), LAGO_EPARAMETER, "RABBITMQ_USERNAME: longer than 255 bytes");
    assert_refused(VARIABLES("RABBITMQ_VHOST", name), LAGO_EPARAMETER, "RABBITMQ_VHOST: longer than 255 bytes");
    assert_refused(VARIABLES("RABBITMQ_LOCALE", name), LAGO_EPARAMETER, "RABBITMQ_LOCALE: longer than 255 bytes");
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    const char **variables = VARIABLES("AMQP_URL", "amqp://u:p@h/v", "RABBITMQ_PASSWORD", "q", "RABBITMQ_LOCALE", "l",
                                       "RABBITMQ_TCP_OPTIONS", "{'TCP_KEEPCNT': 9}", "RABBITMQ_PROXY", "http://u:p@h",
                                       "RABBITMQ_SSL_OPTIONS", "{'certfile': 'a', 'password': 'p'}");
    int rc = LAGO_ENOMEM;
    for (unsigned n = 1; rc == LAGO_ENOMEM; n++) {
        struct fail_alloc memory;
        struct parameters *p = NULL;
        lago_reason_t reason = { 0 };
        fail_alloc_init(&memory);
        memory.fail_at = n;
        rc = parameters_from_variables(&memory.allocator, lookup, variables, &p, &reason);
        assert_int_equal(reason.code, rc);
        parameters_free(p);
        fail_alloc_check(&memory);
    }
    assert_int_equal(rc, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_without_variables),
        cmocka_unit_test(lays_variables_over_the_url),
        cmocka_unit_test(takes_strings_as_they_are),
        cmocka_unit_test(takes_every_query_key),
        cmocka_unit_test(counts_empty_as_unset),
        cmocka_unit_test(names_the_variable_that_is_wrong),
        cmocka_unit_test(takes_the_keys_for_tls),
        cmocka_unit_test(takes_one_host_in_place_of_several),
        cmocka_unit_test(takes_mechanisms_and_the_proxy),
        cmocka_unit_test(refuses_names_beyond_255_bytes),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
