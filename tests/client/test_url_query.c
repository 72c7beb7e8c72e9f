/* The twelve keys of pika: what they set, in which unit, what they refuse and how the refusal helps. */
#include "url.h"
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
    assert_refused("foo=1", LAGO_EURL, "query: unknown key 'foo'", "heartbeat");
    assert_refused("Heartbeat=1", LAGO_EURL, "query: unknown key 'Heartbeat'", "heartbeat");
    assert_refused("f%0ao=1", LAGO_EURL, "query: unknown key 'f\\no'", NULL);
    assert_refused("=1", LAGO_EURL, "query: unknown key ''", NULL);
    assert_refused("heartbeat=1&heartbeat=1", LAGO_EURL, "heartbeat: given more than once", NULL);
    assert_refused("heartbeat=1&he%61rtbeat=1", LAGO_EURL, "heartbeat: given more than once", NULL);
    assert_refused("heartbeat=", LAGO_EURL, "heartbeat: empty", "whole seconds");
    assert_refused("locale", LAGO_EURL, "locale: empty", NULL);
    assert_refused("locale=%", LAGO_EURL, "query: a '%' that is not followed by two hexadecimal digits, or %00", "%25");
    assert_refused("locale=%00", LAGO_EURL, "query: a '%' that is not followed by two hexadecimal digits, or %00", NULL);
    assert_refused("ssl_options={}", LAGO_ENOTLS, "ssl_options: needs TLS, which this build does not have", NULL);
}

static void lists_the_keys_in_the_hint(void **state) {
    (void)state;
    lago_parameters_t *parameters;
    lago_reason_t reason;
    assert_int_equal(lago_parameters_parse("amqp://h/?x=1", &parameters, &reason), LAGO_EURL);
    for (size_t i = 0; i < QUERY_KEY_COUNT; i++) {
        if (strcmp(query_key_name(i), "ssl_options") == 0) continue;
        if (!strstr(reason.hint, query_key_name(i))) fail_msg("%s is missing in '%s'", query_key_name(i), reason.hint);
    }
}

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
        cmocka_unit_test(lists_the_keys_in_the_hint),
        cmocka_unit_test(reads_client_properties),
        cmocka_unit_test(refuses_property_names_beyond_255_bytes),
        cmocka_unit_test(reads_tcp_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
