/* What may stand where a host is given: names, addresses, paths; and what only looks like one. */
#include "parameters.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_good(const char *(*problem)(const char *), const char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *found = problem(texts[i]);
        if (found) fail_msg("%s: %s", texts[i], found);
    }
}

static void assert_bad(const char *(*problem)(const char *), const char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!problem(texts[i])) fail_msg("accepted: '%s'", texts[i]);
}

static void accepts_names_and_addresses(void **state) {
    (void)state;
    static const char *const good[] = { "localhost",
                                        "mq.example.com",
                                        "mq.example.com.",
                                        "a_b-c",
                                        "127.0.0.1",
                                        "::1",
                                        "::",
                                        "fe80::1%eth0",
                                        "::ffff:1.2.3.4",
                                        "m\xc3\xbcnchen.de",
                                        "3com.com",
                                        "1.2.3.4.example",
                                        "1:2:3:4:5:6:7:8",
                                        "1::8",
                                        "1:2:3:4:5:6:7::",
                                        "::2:3:4:5:6:7:8",
                                        "1:2:3:4:5:6:1.2.3.4",
                                        "2001:DB8::ab" };
    assert_good(parameters_host_problem, good, COUNT(good));
    assert_good(parameters_place_problem, good, COUNT(good));
}

static void refuses_what_is_neither(void **state) {
    (void)state;
    static const char *const bad[] = { "",          ".",          "a..b",       ".a",       "a b",        "a\n",
                                       "a\x7f",     "a/b",        "u@h",        "[::1]",    "h:5672",     "h:",
                                       "::g",       "fe80::1%",   "fe80::1%a/", "0x7f.1",   "127.1",      "2130706433",
                                       "1.2.3.256", "01.2.3.4",   "1.2.3.4.5",  "1.2.3.4.", "0X7f000001", "0x7f000001",
                                       "a%20b",     "1234.1.1.1", "h1,h2",      "/run/x" };
    assert_bad(parameters_host_problem, bad, COUNT(bad));
    assert_bad(parameters_place_problem, bad, COUNT(bad) - 1);
}

static void refuses_bad_ipv6_addresses(void **state) {
    (void)state;
    static const char *const bad[] = { ":",
                                       ":::",
                                       "1:",
                                       ":1",
                                       "1:2:3:4:5:6:7",
                                       "1:2:3:4:5:6:7:8:9",
                                       "1::2::3",
                                       "12345::",
                                       "1:2:3:4:5:6:7:8::",
                                       "::1:2:3:4:5:6:7:8",
                                       "1.2.3.4::",
                                       "::1.2.3",
                                       "::1.2.3.256",
                                       "1:2:3:4:5:6:7:1.2.3.4",
                                       "::1.2.3.4:5",
                                       "::1%eth0 ",
                                       "1:::2",
                                       "::1 " };
    assert_bad(parameters_host_problem, bad, COUNT(bad));
    assert_bad(parameters_address_problem, bad, COUNT(bad));
}

static void tells_addresses_from_names(void **state) {
    (void)state;
    static const char *const good[] = { "127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "fe80::1%eth0", "2001:db8::1" };
    static const char *const bad[] = { "", "localhost", "1.2.3", "1.2.3.4.", "1.2.3.4 ", "1.2.3.4:1", "[::1]", "/run/x" };
    assert_good(parameters_address_problem, good, COUNT(good));
    assert_bad(parameters_address_problem, bad, COUNT(bad));
}

/* "\xc3\xa9." is looked up as "xn--9ca.": what is not ASCII may be a third as long. */
static void bounds_hosts_that_grow(void **state) {
    (void)state;
    char host[260] = "";
    for (size_t i = 0; i < 28; i++) memcpy(host + 3 * i, "\xc3\xa9.", 4);
    assert_int_equal(strlen(host), 84);
    assert_null(parameters_host_problem(host));
    memcpy(host + 84, "e", 2);
    assert_non_null(parameters_host_problem(host));
    memset(host, 'e', 85);
    host[60] = '.';
    assert_null(parameters_host_problem(host));
}

static void bounds_hosts_and_labels(void **state) {
    (void)state;
    char host[260];
    memset(host, 'a', sizeof host);
    for (size_t i = 63; i < 253; i += 64) host[i] = '.';
    host[253] = '\0';
    assert_null(parameters_host_problem(host));
    host[253] = 'a';
    host[254] = '\0';
    assert_non_null(parameters_host_problem(host));
    memset(host, 'a', 64);
    host[64] = '\0';
    assert_non_null(parameters_host_problem(host));
}

static void takes_absolute_paths(void **state) {
    (void)state;
    static const char *const good[] = { "/a", "/run/lago/broker.sock", "/a b", "/a:1", "/\xc3\xbc" };
    static const char *const bad[] = { "/", "/run/", "/a\n", "/a\x7f" };
    char path[110];
    assert_good(parameters_place_problem, good, COUNT(good));
    assert_bad(parameters_place_problem, bad, COUNT(bad));
    memset(path, '/', sizeof path);
    memset(path + 1, 'p', 107);
    path[108] = '\0';
    assert_non_null(parameters_place_problem(path));
    path[107] = '\0'; /* sun_path holds it with its NUL */
    assert_null(parameters_place_problem(path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_names_and_addresses), cmocka_unit_test(refuses_what_is_neither),
        cmocka_unit_test(refuses_bad_ipv6_addresses),  cmocka_unit_test(tells_addresses_from_names),
        cmocka_unit_test(bounds_hosts_and_labels),     cmocka_unit_test(bounds_hosts_that_grow),
        cmocka_unit_test(takes_absolute_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
