/* The query's keys, but for TLS and the proxy: what they set, in which unit, what they refuse and how the refusal helps. */
#include "fail_alloc.h"
#include "url_query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static lago_parameters_t *parsed(const char *query) {
    char url[512];
    lago_parameters_t *parameters = NULL;
    lago_reason_t reason;
    snprintf(url, sizeof url, "amqp://h/?%s", query);
    int rc = lago_parameters_parse(url, &parameters, &reason);
    if (rc < 0) fail_msg("%s: %s", url, reason.detail);
    return parameters;
}

static void assert_refused(const char *query, int code, const char *detail, const char *hint) {
    char url[512];
    lago_parameters_t *parameters = NULL;
    lago_reason_t reason;
    snprintf(url, sizeof url, "amqp://h/?%s", query);
    int rc = lago_parameters_parse(url, &parameters, &reason);
    if (rc == 0) fail_msg("accepted: %s", url);
    assert_int_equal(rc, code);
    assert_string_equal(reason.detail, detail);
    if (hint && !strstr(reason.hint, hint)) fail_msg("%s: hint '%s'", url, reason.hint);
}

static void sets_numbers(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("channel_max=2047&frame_max=1048576&heartbeat=65535&connection_attempts=3&locale=de_DE");
    assert_int_equal(p->channel_max, 2047);
    assert_int_equal(p->frame_max, 1048576); /* pika's cap of 131072 is lifted */
    assert_int_equal(p->heartbeat_s, 65535);
    assert_int_equal(p->connection_attempts, 3);
    assert_string_equal(p->locale, "de_DE");
    lago_parameters_free(p);
}

static void reads_times_as_seconds(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("socket_timeout=1.5&stack_timeout=0.0001&blocked_connection_timeout=300&retry_delay=2.0625");
    assert_int_equal(p->socket_timeout_ms, 1500);
    assert_int_equal(p->stack_timeout_ms, 1); /* rounded up: it is not 0 */
    assert_int_equal(p->blocked_connection_timeout_ms, 300000);
    assert_int_equal(p->retry_delay_ms, 2063);
    lago_parameters_free(p);
    p = parsed("socket_timeout=4233600");
    assert_true(p->socket_timeout_ms == 4233600000u);
    lago_parameters_free(p);
    p = parsed("socket_timeout=.5");
    assert_int_equal(p->socket_timeout_ms, 500);
    lago_parameters_free(p);
    p = parsed("socket_timeout=1.50000&stack_timeout=1.5000001"); /* noughts are nothing to round up */
    assert_int_equal(p->socket_timeout_ms, 1500);
    assert_int_equal(p->stack_timeout_ms, 1501);
    lago_parameters_free(p);
    p = parsed("socket_timeout=1.99999999999999999999999");
    assert_int_equal(p->socket_timeout_ms, 2000);
    lago_parameters_free(p);
}

static void knows_what_zero_means(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("heartbeat=0&retry_delay=0&blocked_connection_timeout=0.0");
    assert_int_equal(p->heartbeat_s, LAGO_HEARTBEAT_OFF);
    assert_true(p->retry_delay_ms == LAGO_NO_DELAY);
    assert_int_equal(p->blocked_connection_timeout_ms, 1);
    lago_parameters_free(p);
    assert_refused("socket_timeout=0", LAGO_EURL, "socket_timeout: 0", "more than 0");
    assert_refused("stack_timeout=0.0", LAGO_EURL, "stack_timeout: 0", "more than 0");
    assert_refused("channel_max=0", LAGO_EURL, "channel_max: out of range", "1 to 65535");
    assert_refused("connection_attempts=0", LAGO_EURL, "connection_attempts: out of range", "from 1");
    assert_refused("frame_max=0", LAGO_EURL, "frame_max: out of range", "from 4096");
}

static void refuses_values_out_of_range(void **state) {
    (void)state;
    assert_refused("frame_max=4095", LAGO_EURL, "frame_max: out of range", "4096");
    assert_refused("frame_max=4294967296", LAGO_EURL, "frame_max: out of range", "4096");
    assert_refused("channel_max=65536", LAGO_EURL, "channel_max: out of range", "65535");
    assert_refused("heartbeat=65536", LAGO_EURL, "heartbeat: out of range", "65535");
    assert_refused("heartbeat=-1", LAGO_EURL, "heartbeat: not a whole number", "65535");
    assert_refused("heartbeat=1.5", LAGO_EURL, "heartbeat: not a whole number", "whole seconds");
    assert_refused("retry_delay=-1", LAGO_EURL, "retry_delay: negative", "seconds");
    assert_refused("retry_delay=4233601", LAGO_EURL, "retry_delay: out of range", "49 days");
    assert_refused("retry_delay=1e3", LAGO_EURL, "retry_delay: not a number of seconds", "seconds");
    assert_refused("retry_delay=inf", LAGO_EURL, "retry_delay: not a number of seconds", "seconds");
    assert_refused("retry_delay=1.", LAGO_EURL, "retry_delay: no digit behind the point", "seconds");
    assert_refused("retry_delay=1.5s", LAGO_EURL, "retry_delay: not a number of seconds", "seconds");
    assert_refused("retry_delay=+1", LAGO_EURL, "retry_delay: not a number of seconds", "seconds");
}

static void refuses_unknown_repeated_and_empty_keys(void **state) {
    (void)state;
    assert_refused("foo=1", LAGO_EURL, "query: unknown key 'foo'", "lists the keys");
    assert_refused("Heartbeat=1", LAGO_EURL, "query: unknown key 'Heartbeat'", "perhaps heartbeat?");
    assert_refused("ca_certfile=1", LAGO_EURL, "query: unknown key 'ca_certfile'", "perhaps cacertfile?");
    assert_refused("heartbaet=1", LAGO_EURL, "query: unknown key 'heartbaet'", "perhaps heartbeat?");
    assert_refused("a_name_that_is_longer_than_any_of_the_keys=1", LAGO_EURL,
                   "query: unknown key 'a_name_that_is_longer_than_any_of_the_keys'", "lists the keys");
    assert_refused("f%0ao=1", LAGO_EURL, "query: unknown key 'f\\no'", NULL);
    assert_refused("=1", LAGO_EURL, "query: unknown key ''", NULL);
    lago_parameters_t *none = (lago_parameters_t *)1;
    assert_int_equal(lago_parameters_parse("amqp://h/?heartbaet=1", &none, NULL), LAGO_EURL); /* nobody wants to know */
    assert_null(none);
    assert_refused("heartbeat=1&heartbeat=1", LAGO_EURL, "heartbeat: given more than once", NULL);
    assert_refused("heartbeat=1&he%61rtbeat=1", LAGO_EURL, "heartbeat: given more than once", NULL);
    assert_refused("heartbeat=", LAGO_EURL, "heartbeat: empty", "whole seconds");
    assert_refused("locale", LAGO_EURL, "locale: empty", NULL);
    assert_refused("locale=%", LAGO_EURL, "query: a '%' that is not followed by two hexadecimal digits, or %00", "%25");
    assert_refused("locale=%00", LAGO_EURL, "query: a '%' that is not followed by two hexadecimal digits, or %00", NULL);
}

/* None that takes another one's place, and the hint of each says something. */
static void knows_each_key_once(void **state) {
    (void)state;
    for (size_t i = 0; i < QUERY_KEY_COUNT; i++) {
        char query[64], detail[64];
        for (size_t k = 0; k < i; k++) assert_string_not_equal(query_key_name(i), query_key_name(k));
        snprintf(query, sizeof query, "%s=", query_key_name(i));
        snprintf(detail, sizeof detail, "%s: empty", query_key_name(i));
        assert_refused(query, LAGO_EURL, detail, " ");
    }
}

/* ---------------------------------------------------------------- beyond pika */

static void sets_lagos_own_parameters(void **state) {
    (void)state;
    lago_parameters_t *p =
        parsed("write_timeout=1.5&connect_deadline=60&close_timeout=2&operation_timeout=3&resolve_timeout=4&retry_delay_max=60"
               "&shuffle_endpoints=true&fast_open=true&local_address=::1&message_size_max=18446744073709551615&high_water=10&low_"
               "water=5&assembly_size_max=7");
    assert_int_equal(p->write_timeout_ms, 1500);
    assert_int_equal(p->connect_deadline_ms, 60000);
    assert_int_equal(p->close_timeout_ms, 2000);
    assert_int_equal(p->operation_timeout_ms, 3000);
    assert_int_equal(p->resolve_timeout_ms, 4000);
    assert_int_equal(p->retry_delay_max_ms, 60000);
    assert_true(p->shuffle_endpoints && p->fast_open);
    assert_string_equal(p->local_address, "::1");
    assert_true(p->message_size_max == UINT64_MAX);
    assert_true(p->assembly_size_max == 7);
    assert_int_equal(p->high_water, 10);
    assert_int_equal(p->low_water, 5);
    lago_parameters_free(p);
    p = parsed("write_timeout=none&connect_deadline=none&close_timeout=none&operation_timeout=none&resolve_timeout=none"
               "&shuffle_endpoints=false&fast_open=false");
    assert_true(p->write_timeout_ms == LAGO_NO_TIMEOUT && p->connect_deadline_ms == LAGO_NO_TIMEOUT);
    assert_true(p->close_timeout_ms == LAGO_NO_TIMEOUT && p->operation_timeout_ms == LAGO_NO_TIMEOUT);
    assert_true(p->resolve_timeout_ms == LAGO_NO_TIMEOUT);
    assert_false(p->shuffle_endpoints || p->fast_open);
    lago_parameters_free(p);
}

static void refuses_bad_values_of_lagos_own(void **state) {
    (void)state;
    assert_refused("write_timeout=0", LAGO_EURL, "write_timeout: 0", "or none");
    assert_refused("close_timeout=None", LAGO_EURL, "close_timeout: not a number of seconds", "or none");
    assert_refused("retry_delay_max=none", LAGO_EURL, "retry_delay_max: not a number of seconds", "more than 0");
    assert_refused("retry_delay_max=0", LAGO_EURL, "retry_delay_max: 0", "more than 0");
    assert_refused("shuffle_endpoints=1", LAGO_EURL, "shuffle_endpoints: neither true nor false", "true or false");
    assert_refused("fast_open=yes", LAGO_EURL, "fast_open: neither true nor false", "true or false");
    assert_refused("local_address=localhost", LAGO_EURL, "local_address: not an IPv4 or IPv6 address", "192.0.2.1");
    assert_refused("local_address=1:2", LAGO_EURL, "local_address: not an IPv6 address", "192.0.2.1");
    assert_refused("message_size_max=0", LAGO_EURL, "message_size_max: out of range", "bytes");
    assert_refused("assembly_size_max=0", LAGO_EURL, "assembly_size_max: out of range", "bytes");
    assert_refused("message_size_max=18446744073709551616", LAGO_EURL, "message_size_max: out of range", NULL);
    assert_refused("message_size_max=99999999999999999999999", LAGO_EURL, "message_size_max: out of range", NULL);
    assert_refused("high_water=1k", LAGO_EURL, "high_water: not a whole number", "bytes");
    assert_refused("low_water=-1", LAGO_EURL, "low_water: not a whole number", "bytes");
}

static void reads_erlangs_names(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("connection_timeout=1500&name=shop");
    assert_int_equal(p->socket_timeout_ms, 1500); /* milliseconds there */
    assert_string_equal(p->connection_name, "shop");
    lago_parameters_free(p);
    assert_refused("connection_timeout=0", LAGO_EURL, "connection_timeout: out of range", "milliseconds");
    assert_refused("connection_timeout=1.5", LAGO_EURL, "connection_timeout: not a whole number", "milliseconds");
    assert_refused("connection_timeout=1&socket_timeout=1", LAGO_EURL,
                   "connection_timeout: given beside socket_timeout, which means the same", "seconds");
    char query[300] = "name=";
    memset(query + 5, 'n', 256);
    assert_refused(query, LAGO_EURL, "name: longer than 255 bytes", NULL);
}

static void reads_mechanisms_in_their_order(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        { "auth_mechanism=plain", "PLAIN" },
        { "auth_mechanism=EXTERNAL,plain", "EXTERNAL PLAIN" },
        { "auth_mechanism=amqplain&heartbeat=5&auth_mechanism=plain", "AMQPLAIN PLAIN" },
        { "auth_mechanism=a&auth_mechanism=b,c&auth_mechanism=d+e", "A B C D E" },
        { "auth_mechanism=rabbit-cr-demo,x_1", "RABBIT-CR-DEMO X_1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lago_parameters_t *p = parsed(rows[i][0]);
        assert_string_equal(p->credentials.mechanisms, rows[i][1]);
        lago_parameters_free(p);
    }
    assert_refused("auth_mechanism=plain,", LAGO_EURL, "auth_mechanism: an empty name", "plain, amqplain, external");
    assert_refused("auth_mechanism=,", LAGO_EURL, "auth_mechanism: an empty name", NULL);
    assert_refused("auth_mechanism=plain&auth_mechanism=", LAGO_EURL, "auth_mechanism: an empty name", NULL);
    assert_refused("auth_mechanism=plain;x", LAGO_EURL, "auth_mechanism: a character that no mechanism's name has", NULL);
    assert_refused("auth_mechanism=pl%0aain", LAGO_EURL, "auth_mechanism: a character that no mechanism's name has", NULL);
}

static void reports_no_memory_for_repeated_mechanisms(void **state) {
    (void)state;
    unsigned n = 0;
    for (int rc = LAGO_ENOMEM; rc == LAGO_ENOMEM;) {
        struct fail_alloc memory;
        struct parameters *p = NULL;
        lago_reason_t reason = { 0 };
        fail_alloc_init(&memory);
        fail_alloc_at(&memory, ++n, false);
        rc = url_parse(&memory.allocator, "amqp://h/?auth_mechanism=plain&auth_mechanism=external", &p, &reason);
        assert_int_equal(reason.code, rc);
        if (rc == 0) assert_string_equal(p->values.credentials.mechanisms, "PLAIN EXTERNAL");
        parameters_free(p);
        fail_alloc_check(&memory);
    }
    assert_true(n > 7);
}

/* ---------------------------------------------------------------- dictionaries */

static void reads_client_properties(void **state) {
    (void)state;
    char text[128];
    lago_parameters_t *p = parsed("client_properties={'product':+'my%20app',+'n':+{'a':+[1,+2]}}");
    assert_null(p->client_properties.fields);
    lago_table_format(&p->client_properties, text, sizeof text);
    assert_string_equal(text, "{product=\"my app\", n={a=[1, 2]}}");
    lago_parameters_free(p);
    p = parsed("client_properties=None");
    assert_int_equal(p->client_properties.size, 0);
    lago_parameters_free(p);
    assert_refused("client_properties={'a':1", LAGO_EURL, "client_properties: ',' or '}' is expected, at byte 6", "dictionary");
    assert_refused("client_properties=[1]", LAGO_EURL, "client_properties: not a dictionary, at byte 3", "dictionary");
}

static void refuses_property_names_beyond_255_bytes(void **state) {
    (void)state;
    char query[512] = "client_properties={'";
    size_t size = strlen(query);
    memset(query + size, 'n', 256);
    strcpy(query + size + 256, "':1}");
    assert_refused(query, LAGO_EURL, "client_properties: a name is longer than 255 bytes", NULL);
}

static void reads_tcp_options(void **state) {
    (void)state;
    lago_parameters_t *p =
        parsed("tcp_options={'TCP_KEEPIDLE': 60, \"TCP_KEEPINTVL\": 10, 'TCP_KEEPCNT': 5, 'TCP_USER_TIMEOUT': 30000}");
    assert_int_equal(p->tcp_options.keepidle_s, 60);
    assert_int_equal(p->tcp_options.keepintvl_s, 10);
    assert_int_equal(p->tcp_options.keepcnt, 5);
    assert_int_equal(p->tcp_options.user_timeout_ms, 30000);
    lago_parameters_free(p);
    assert_refused("tcp_options={'TCP_NODELAY': 1}", LAGO_EURL, "tcp_options: TCP_NODELAY is not an option", "TCP_KEEPIDLE");
    assert_refused("tcp_options={'TCP_KEEPCNT': 0}", LAGO_EURL, "tcp_options: TCP_KEEPCNT is out of range", NULL);
    assert_refused("tcp_options={'TCP_KEEPCNT': -1}", LAGO_EURL, "tcp_options: TCP_KEEPCNT is out of range", NULL);
    assert_refused("tcp_options={'TCP_KEEPCNT': 4294967296}", LAGO_EURL, "tcp_options: TCP_KEEPCNT is out of range", NULL);
    assert_refused("tcp_options={'TCP_KEEPCNT': '5'}", LAGO_EURL, "tcp_options: TCP_KEEPCNT is not a whole number", NULL);
    assert_refused("tcp_options={'TCP_KEEPCNT': True}", LAGO_EURL, "tcp_options: TCP_KEEPCNT is not a whole number", NULL);
    assert_refused("tcp_options={'TCP_KEEPCNT': 128}", LAGO_EURL, "tcp_options: TCP_KEEPCNT is above 127", NULL);
    assert_refused("tcp_options={'TCP_KEEPIDLE': 40000}", LAGO_EURL, "tcp_options: TCP_KEEPIDLE is above 32767 seconds", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_numbers),
        cmocka_unit_test(reads_times_as_seconds),
        cmocka_unit_test(knows_what_zero_means),
        cmocka_unit_test(refuses_values_out_of_range),
        cmocka_unit_test(refuses_unknown_repeated_and_empty_keys),
        cmocka_unit_test(knows_each_key_once),
        cmocka_unit_test(sets_lagos_own_parameters),
        cmocka_unit_test(refuses_bad_values_of_lagos_own),
        cmocka_unit_test(reads_erlangs_names),
        cmocka_unit_test(reads_mechanisms_in_their_order),
        cmocka_unit_test(reports_no_memory_for_repeated_mechanisms),
        cmocka_unit_test(reads_client_properties),
        cmocka_unit_test(refuses_property_names_beyond_255_bytes),
        cmocka_unit_test(reads_tcp_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
