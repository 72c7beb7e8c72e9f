/* The query key `proxy`: a URL within a URL. */
#include "url_case.h"

static void reads_a_socks_proxy(void **state) {
    (void)state;
    /* decoded twice: as a value of the query, and as a part of the proxy's URL */
    lago_parameters_t *p = parsed("amqp://h?proxy=socks5://us%2565r:p%2540%252Bs@proxy.example:1081");
    assert_int_equal(p->proxy.type, LAGO_PROXY_SOCKS5);
    assert_string_equal(p->proxy.username, "user");
    assert_string_equal(p->proxy.password, "p@+s");
    assert_string_equal(p->proxy.host, "proxy.example");
    assert_int_equal(p->proxy.port, 1081);
    lago_parameters_free(p);
    p = parsed("amqp://h?proxy=SOCKS5h%3A%2F%2F127.0.0.1%2F");
    assert_int_equal(p->proxy.type, LAGO_PROXY_SOCKS5);
    assert_string_equal(p->proxy.host, "127.0.0.1");
    assert_int_equal(p->proxy.port, 0); /* the default comes with the copy */
    assert_null(p->proxy.username);
    assert_null(p->proxy.password);
    lago_parameters_free(p);
}

static void reads_an_http_proxy(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqp://h?proxy=http://u@[::1]:3128");
    assert_int_equal(p->proxy.type, LAGO_PROXY_HTTP);
    assert_string_equal(p->proxy.host, "::1");
    assert_int_equal(p->proxy.port, 3128);
    assert_string_equal(p->proxy.username, "u");
    assert_string_equal(p->proxy.password, "");
    lago_parameters_free(p);
}

static void refuses_bad_proxies(void **state) {
    (void)state;
    static const struct {
        const char *proxy, *problem;
    } rows[] = {
        { "h:1080", "neither socks5:// nor http://" },
        { "socks4://h", "neither socks5:// nor http://" },
        { "https://h", "neither socks5:// nor http://" },
        { "socks5://", "host: empty" },
        { "socks5://u:hunter@", "host: empty" },
        { "socks5://h/path", "something follows the host" },
        { "socks5://h?x", "something follows the host" },
        { "socks5://h%23x", "something follows the host" },
        { "socks5://h:x", "port: not a whole number" },
        { "socks5://h:0", "port: out of range" },
        { "socks5://a..b", "host: empty, or two dots in a row" },
        { "socks5://a%2520b", "host: contains a space or control character" },
        { "socks5://%252Frun%252Fx", "host: a path" },
        { "socks5://u%25zz:hunter@h", "user: a '%' that is not followed by two hexadecimal digits, or %00" },
        { "socks5://u:hunter%25zz@h", "password: a '%' that is not followed by two hexadecimal digits, or %00" },
        { "socks5://:hunter@h", "user: empty" },
        { "http://u%253A:hunter@h", "user: contains ':', which ends it for HTTP" },
    };
    char url[200], detail[200];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(url, sizeof url, "amqp://h?proxy=%s", rows[i].proxy);
        snprintf(detail, sizeof detail, "proxy: %s", rows[i].problem);
        assert_refused(url, detail, "socks5://host:port");
    }
    assert_refused("amqp://h?proxy=", "proxy: empty", NULL);
}

static void bounds_user_and_password(void **state) {
    (void)state;
    static const char start[] = "amqp://h?proxy=socks5://u:";
    char url[400];
    memset(url, 'p', sizeof url);
    memcpy(url, start, strlen(start));
    strcpy(url + strlen(start) + 255, "@h");
    lago_parameters_free(parsed(url));
    strcpy(url + strlen(start) + 255, "p@h");
    assert_refused(url, "proxy: password: longer than 255 bytes", NULL);
    memset(url + strlen(start) - 2, 'u', 256);
    strcpy(url + strlen(start) + 254, "@h");
    assert_refused(url, "proxy: user: longer than 255 bytes", NULL);
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    fail_every_allocation("amqp://h?proxy=socks5://u:hunter@h:1080");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_socks_proxy),
        cmocka_unit_test(reads_an_http_proxy),
        cmocka_unit_test(refuses_bad_proxies),
        cmocka_unit_test(bounds_user_and_password),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
