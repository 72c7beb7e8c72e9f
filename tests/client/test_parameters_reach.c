/* Where the broker is and how to get there, in the checked copy: endpoints, paths, proxy, local address, and the ports of all. */
#include "parameters_case.h"

#define ENDPOINTS(...)                                                                                                           \
    .endpoints = (lago_endpoint_t[]){ __VA_ARGS__ },                                                                             \
    .endpoint_count = sizeof((lago_endpoint_t[]){ __VA_ARGS__ }) / sizeof(lago_endpoint_t)

static void fills_in_the_ports(void **state) {
    (void)state;
    static const lago_tls_options_t tls;
    lago_parameters_t from = { .host = "h", ENDPOINTS({ "a", 0 }, { "b", 1 }, { "/c", 0 }) };
    struct parameters *p = copied(&from);
    assert_int_equal(p->values.port, 5672);
    assert_int_equal(p->values.endpoints[0].port, 5672);
    assert_int_equal(p->values.endpoints[1].port, 1);
    assert_int_equal(p->values.proxy.port, 0);
    assert_int_equal(from.endpoints[0].port, 0); /* the caller's are only read */
    parameters_free(p);
    from = (lago_parameters_t){ .tls = &tls, ENDPOINTS({ "a", 0 }, { "b", 1 }) };
    p = copied(&from);
    assert_int_equal(p->values.port, 5671);
    assert_int_equal(p->values.endpoints[0].port, 5671);
    assert_int_equal(p->values.endpoints[1].port, 1);
    parameters_free(p);
    from = (lago_parameters_t){ .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "p" } };
    p = copied(&from);
    assert_int_equal(p->values.proxy.port, 1080);
    parameters_free(p);
    from.proxy.type = LAGO_PROXY_HTTP;
    p = copied(&from);
    assert_int_equal(p->values.proxy.port, 8080);
    parameters_free(p);
    from.proxy.port = 3128;
    p = copied(&from);
    assert_int_equal(p->values.proxy.port, 3128);
    parameters_free(p);
}

static void copies_what_it_is_given(void **state) {
    (void)state;
    char host[] = "h", first[] = "a", address[] = "192.0.2.1", proxy[] = "p", user[] = "u", password[] = "s";
    lago_endpoint_t endpoints[] = { { first, 1 } };
    lago_parameters_t from = {
        .host = host,
        .endpoints = endpoints,
        .endpoint_count = 1,
        .shuffle_endpoints = true,
        .local_address = address,
        .proxy = { .type = LAGO_PROXY_HTTP, .host = proxy, .username = user, .password = password },
        .retry_delay_max_ms = 60000,
    };
    struct parameters *p = copied(&from);
    host[0] = first[0] = address[0] = proxy[0] = user[0] = password[0] = 'x';
    endpoints[0].port = 2;
    const lago_parameters_t *v = &p->values;
    assert_string_equal(v->host, "h");
    assert_string_equal(v->endpoints[0].host, "a");
    assert_int_equal(v->endpoints[0].port, 1);
    assert_true(v->shuffle_endpoints);
    assert_string_equal(v->local_address, "192.0.2.1");
    assert_string_equal(v->proxy.host, "p");
    assert_string_equal(v->proxy.username, "u");
    assert_string_equal(v->proxy.password, "s");
    assert_int_equal(v->retry_delay_max_ms, 60000);
    parameters_free(p);
}

static void says_which_endpoint_is_wrong(void **state) {
    (void)state;
    static const char *const bad[] = { "", "a b", "h:5672", "127.1", "[::1]", "/", "/run/", "a,b" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused(&(lago_parameters_t){ .host = bad[i] }, LAGO_EPARAMETER, "host: ");
        assert_refused(&(lago_parameters_t){ ENDPOINTS({ "a", 0 }, { bad[i], 0 }) }, LAGO_EPARAMETER, "endpoints[1].host: ");
    }
    assert_refused(&(lago_parameters_t){ ENDPOINTS({ NULL, 1 }) }, LAGO_EPARAMETER, "endpoints[0].host: NULL");
    assert_refused(&(lago_parameters_t){ .endpoint_count = 1 }, LAGO_EPARAMETER, "endpoints: NULL with a count");
}

static void bounds_the_endpoints(void **state) {
    (void)state;
    lago_endpoint_t endpoints[65];
    for (size_t i = 0; i < 65; i++) endpoints[i] = (lago_endpoint_t){ "h", 0 };
    lago_parameters_t from = { .endpoints = endpoints, .endpoint_count = 64 };
    parameters_free(copied(&from));
    from.endpoint_count = 65;
    assert_refused(&from, LAGO_EPARAMETER, "endpoint_count: above 64");
}

static void knows_what_a_path_goes_without(void **state) {
    (void)state;
    static const lago_tls_options_t tls = { 0 }, named = { .server_name = "mq" };
    lago_parameters_t from = { .host = "/run/x", .port = 5672 };
    parameters_free(copied(&from)); /* a port beside a path is not looked at */
    from.tls = &named;
    parameters_free(copied(&from));
    from.tls = &tls;
    assert_refused(&from, LAGO_EPARAMETER, "tls.server_name: missing");
    from = (lago_parameters_t){ .tls = &tls, ENDPOINTS({ "/run/x", 0 }) };
    assert_refused(&from, LAGO_EPARAMETER, "tls.server_name: missing");
    from = (lago_parameters_t){ .host = "/run/x", .proxy = { .type = LAGO_PROXY_HTTP, .host = "p" } };
    assert_refused(&from, LAGO_EPARAMETER, "host: the path of a Unix domain socket, beside a proxy");
    from.host = "h";
    from.endpoints = &(lago_endpoint_t){ "/run/x", 0 };
    from.endpoint_count = 1;
    assert_refused(&from, LAGO_EPARAMETER, "endpoints[0].host: the path of a Unix domain socket, beside a proxy");
}

static void refuses_bad_proxies(void **state) {
    (void)state;
    char name[257];
    memset(name, 'n', 256);
    name[256] = '\0';
    const struct {
        lago_proxy_t proxy;
        const char *detail;
    } rows[] = {
        { { .host = "p" }, "proxy.type: none, but" },
        { { .port = 1 }, "proxy.type: none, but" },
        { { .username = "u" }, "proxy.type: none, but" },
        { { .password = "u" }, "proxy.type: none, but" },
        { { .type = (lago_proxy_type_t)3, .host = "p" }, "proxy.type: unknown" },
        { { .type = LAGO_PROXY_HTTP }, "proxy.host: NULL" },
        { { .type = LAGO_PROXY_HTTP, .host = "a b" }, "proxy.host: contains a space" },
        { { .type = LAGO_PROXY_SOCKS5, .host = "/run/x" }, "proxy.host: contains a character" },
        { { .type = LAGO_PROXY_SOCKS5, .host = "p", .username = "" }, "proxy.username: empty" },
        { { .type = LAGO_PROXY_SOCKS5, .host = "p", .username = name }, "proxy.username: longer than 255 bytes" },
        { { .type = LAGO_PROXY_SOCKS5, .host = "p", .username = "u", .password = name },
          "proxy.password: longer than 255 bytes" },
        { { .type = LAGO_PROXY_SOCKS5, .host = "p", .password = "s" }, "proxy.password: without a username" },
        { { .type = LAGO_PROXY_HTTP, .host = "p", .username = "a:b" }, "proxy.username: contains ':'" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(&(lago_parameters_t){ .proxy = rows[i].proxy }, LAGO_EPARAMETER, rows[i].detail);
    name[255] = '\0';
    lago_proxy_t most = { .type = LAGO_PROXY_SOCKS5, .host = "p", .username = name, .password = name };
    parameters_free(copied(&(lago_parameters_t){ .proxy = most }));
    most.username = "a:b"; /* SOCKS5 counts its bytes */
    parameters_free(copied(&(lago_parameters_t){ .proxy = most }));
}

static void refuses_local_addresses_that_are_none(void **state) {
    (void)state;
    static const char *const bad[] = { "", "localhost", "1.2.3", "1:2", "192.0.2.1:0", "[::1]" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(&(lago_parameters_t){ .local_address = bad[i] }, LAGO_EPARAMETER, "local_address: not an I");
    parameters_free(copied(&(lago_parameters_t){ .local_address = "::1" }));
}

static void refuses_a_maximum_below_the_delay(void **state) {
    (void)state;
    assert_refused(&(lago_parameters_t){ .retry_delay_max_ms = 1999 }, LAGO_EPARAMETER, "retry_delay_max_ms: below");
    assert_refused(&(lago_parameters_t){ .retry_delay_ms = 5, .retry_delay_max_ms = 4 }, LAGO_EPARAMETER, "retry_delay_max_ms");
    parameters_free(copied(&(lago_parameters_t){ .retry_delay_max_ms = 2000 }));
    parameters_free(copied(&(lago_parameters_t){ .retry_delay_ms = LAGO_NO_DELAY, .retry_delay_max_ms = 1 }));
    struct parameters *p = copied(NULL);
    assert_int_equal(p->values.retry_delay_max_ms, 0);
    assert_int_equal(p->values.resolve_timeout_ms, 10000);
    parameters_free(p);
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    lago_parameters_t from = { .host = "h",
                               .local_address = "::1",
                               .proxy = { .type = LAGO_PROXY_HTTP, .host = "p", .username = "u", .password = "s" } };
    unsigned plain = fail_every_allocation(&(lago_parameters_t){ .host = "h" });
    assert_int_equal(fail_every_allocation(&from), plain + 4);
    from = (lago_parameters_t){ .host = "h", ENDPOINTS({ "a", 0 }, { "b", 1 }) };
    assert_int_equal(fail_every_allocation(&from), plain + 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in_the_ports),
        cmocka_unit_test(copies_what_it_is_given),
        cmocka_unit_test(says_which_endpoint_is_wrong),
        cmocka_unit_test(bounds_the_endpoints),
        cmocka_unit_test(knows_what_a_path_goes_without),
        cmocka_unit_test(refuses_bad_proxies),
        cmocka_unit_test(refuses_local_addresses_that_are_none),
        cmocka_unit_test(refuses_a_maximum_below_the_delay),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
