/* The hosts of a URL: one or several, names, addresses, paths; which host an error is about; and amqps. */
#include "url_case.h"

static void assert_place(const char *host, uint16_t port, const char *expected_host, uint16_t expected_port) {
    assert_string_equal(host, expected_host);
    assert_int_equal(port, expected_port);
}

static void reads_several_hosts(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqp://u:p@h1:5673,h2,[::1]:5674,[fe80::1%25eth0],192.0.2.1/v?heartbeat=5");
    assert_string_equal(p->credentials.username, "u");
    assert_string_equal(p->credentials.password, "p");
    assert_string_equal(p->virtual_host, "v");
    assert_int_equal(p->heartbeat_s, 5);
    assert_place(p->host, p->port, "h1", 5673);
    assert_int_equal(p->endpoint_count, 4);
    assert_place(p->endpoints[0].host, p->endpoints[0].port, "h2", 5672);
    assert_place(p->endpoints[1].host, p->endpoints[1].port, "::1", 5674);
    assert_place(p->endpoints[2].host, p->endpoints[2].port, "fe80::1%eth0", 5672);
    assert_place(p->endpoints[3].host, p->endpoints[3].port, "192.0.2.1", 5672);
    lago_parameters_free(p);
    p = parsed("amqp://h");
    assert_null(p->endpoints);
    assert_int_equal(p->endpoint_count, 0);
    lago_parameters_free(p);
}

static void turns_tls_on_by_the_scheme(void **state) {
    (void)state;
    static const char *const urls[] = { "amqps://h1,h2:5673", "AMQPS://h1,h2:5673" };
    for (size_t i = 0; i < 2; i++) {
        static const lago_tls_options_t zero;
        lago_parameters_t *p = parsed(urls[i]);
        assert_non_null(p->tls);
        assert_memory_equal(p->tls, &zero, sizeof zero);
        assert_place(p->host, p->port, "h1", 5671);
        assert_place(p->endpoints[0].host, p->endpoints[0].port, "h2", 5673);
        lago_parameters_free(p);
    }
    lago_parameters_t *p = parsed("amqp://h1");
    assert_null(p->tls);
    assert_int_equal(p->port, 5672);
    lago_parameters_free(p);
    assert_refused("amqpss://h", "scheme: not amqp:// or amqps://", NULL);
    assert_refused("amqps:/h", "scheme: not amqp:// or amqps://", NULL);
}

static void reads_paths_of_sockets(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqp://u:p@%2Frun%2Fbroker%3A1.sock,h,%2fx%20y/v");
    assert_place(p->host, p->port, "/run/broker:1.sock", 0);
    assert_place(p->endpoints[0].host, p->endpoints[0].port, "h", 5672);
    assert_place(p->endpoints[1].host, p->endpoints[1].port, "/x y", 0);
    assert_string_equal(p->virtual_host, "v");
    lago_parameters_free(p);
    char url[200] = "amqp://%2F", *end = url + strlen(url);
    memset(end, 'p', 106);
    lago_parameters_free(parsed(url));
    end[106] = 'p';
    assert_refused(url, "host: a path longer than 107 bytes, which no Unix domain socket has", NULL);
    assert_refused("amqp://%2F", "host: the path of a directory", NULL);
    assert_refused("amqp://%2Frun%2F", "host: the path of a directory", NULL);
    assert_refused("amqp://%2Fa%0Ab", "host: contains a control character", NULL);
    assert_refused("amqp://%2Fa%00b", "host: a '%' that is not followed by two hexadecimal digits, or %00", NULL);
    assert_refused("amqp://%2Frun%2Fx:5672", "port: given, but a path has none", NULL);
    assert_refused("amqp://h,%2Frun%2Fx:5672", "second host's port: given, but a path has none", NULL);
    assert_refused("amqp://[%2Frun]", "host: no IPv6 address in the brackets", NULL);
    assert_refused("amqp://[%2Frun%3Ax]", "host: no IPv6 address in the brackets", NULL);
    assert_refused("amqp://run%2Fx", "host: contains a character that no host name has", NULL);
}

static void says_which_host_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *url, *detail;
    } rows[] = {
        { "amqp://,h", "first host: empty" },
        { "amqp://h,", "second host: empty" },
        { "amqp://a,,b", "second host: empty" },
        { "amqp://a,b,:5672", "third host: empty" },
        { "amqp://a,b:x", "second host's port: not a whole number" },
        { "amqp://a:,b", "first host's port: empty" },
        { "amqp://a,b:0", "second host's port: out of range" },
        { "amqp://a,b:65536", "second host's port: out of range" },
        { "amqp://a,b:18446744073709551617", "second host's port: out of range" },
        { "amqp://a,b:5672:1", "second host: more than one ':'" },
        { "amqp://a,[::1", "second host: '[' without ']'" },
        { "amqp://a,[::1]x", "second host: something follows ']'" },
        { "amqp://a,[]", "second host: empty, or two dots in a row" },
        { "amqp://a,[b]", "second host: no IPv6 address in the brackets" },
        { "amqp://a,[1:2]", "second host: neither a name nor an IPv6 address (a port has its own place)" },
        { "amqp://a,b,c,d,e,f,g,h,i,j%20", "tenth host: contains a space or control character" },
        { "amqp://a,b,c,d,e,f,g,h,i,j,k..k", "host 11: empty, or two dots in a row" },
        { "amqp://a,127.1", "second host: a number that is no IPv4 address (a.b.c.d)" },
        { "amqp://a,b%zz", "second host: a '%' that is not followed by two hexadecimal digits, or %00" },
        { "amqp://a,b%00", "second host: a '%' that is not followed by two hexadecimal digits, or %00" },
        { "amqp://a%2Cb", "host: contains a character that no host name has" },
        { "amqp://h1,amqp://h2", "second host's port: empty" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) assert_refused(rows[i].url, rows[i].detail, NULL);
}

static void bounds_the_hosts(void **state) {
    (void)state;
    char url[400] = "amqp://h";
    for (size_t i = 0; i < 64; i++) strcat(url, ",h");
    lago_parameters_t *p = parsed(url);
    assert_int_equal(p->endpoint_count, 64);
    lago_parameters_free(p);
    strcat(url, ",h");
    assert_refused(url, "hosts: more than 65", NULL);
}

static void bounds_each_name(void **state) {
    (void)state;
    char url[600] = "amqp://h,", *end = url + strlen(url);
    memset(end, 'a', 254);
    for (size_t i = 63; i < 253; i += 64) end[i] = '.';
    assert_refused(url, "second host: longer than 253 bytes", NULL);
    end[253] = '\0';
    lago_parameters_free(parsed(url));
    memset(end, 'a', 64);
    end[64] = '\0';
    assert_refused(url, "second host: a label is longer than 63 bytes", NULL);
}

/* u1:p1@h1,u2:p2@h2: the last '@' ends the password, which would be sent to h2. */
static void refuses_a_user_for_each_host(void **state) {
    (void)state;
    static const char detail[] = "user and password: '@' and then ',' stand in them";
    assert_refused("amqp://u:hunter@h1,u:hunter@h2", detail, "%40");
    assert_refused("amqp://u:hunter@h1:1,h2,u2:hunter@h3/v", detail, "%40");
    assert_refused("amqp://u@h1,u@h2", detail, "once, before the first host");
    lago_parameters_t *p = parsed("amqp://u:a,b@c@h1,h2");
    assert_string_equal(p->credentials.password, "a,b@c");
    assert_string_equal(p->endpoints[0].host, "h2");
    lago_parameters_free(p);
    p = parsed("amqp://u:a%40b,c@h1");
    assert_string_equal(p->credentials.password, "a@b,c");
    lago_parameters_free(p);
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    fail_every_allocation("amqps://u:p@h1:5673,h2,[::1],%2Frun%2Fx/v");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_several_hosts),
        cmocka_unit_test(turns_tls_on_by_the_scheme),
        cmocka_unit_test(reads_paths_of_sockets),
        cmocka_unit_test(says_which_host_is_wrong),
        cmocka_unit_test(bounds_the_hosts),
        cmocka_unit_test(bounds_each_name),
        cmocka_unit_test(refuses_a_user_for_each_host),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
