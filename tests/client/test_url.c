/* URLs: what each part means, which ones are refused and in which words, and that no word is the password. */
#include "alloc.h"
#include "fail_alloc.h"
#include "url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static lago_parameters_t *parsed(const char *url) {
    lago_parameters_t *parameters = NULL;
    lago_reason_t reason;
    int rc = lago_parameters_parse(url, &parameters, &reason);
    if (rc < 0) fail_msg("%s: %s", url, reason.detail);
    return parameters;
}

static void assert_refused(const char *url, int code, const char *detail) {
    lago_parameters_t *parameters = (lago_parameters_t *)1;
    lago_reason_t reason;
    int rc = lago_parameters_parse(url, &parameters, &reason);
    if (rc == 0) fail_msg("accepted: %s", url);
    assert_null(parameters);
    assert_int_equal(rc, code);
    assert_int_equal(reason.code, code);
    assert_int_equal(reason.origin, LAGO_BY_CLIENT);
    assert_int_equal(reason.phase, LAGO_PHASE_NONE);
    if (!strstr(reason.detail, detail)) fail_msg("%s: '%s' instead of '%s'", url, reason.detail, detail);
}

static void reads_every_part(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("AMQP://us%65r:p%40s%2Fs%3a@mq.example.com:5673/my%20host?heartbeat=30");
    assert_string_equal(p->credentials.username, "user");
    assert_string_equal(p->credentials.password, "p@s/s:");
    assert_string_equal(p->host, "mq.example.com");
    assert_int_equal(p->port, 5673);
    assert_string_equal(p->virtual_host, "my host");
    assert_int_equal(p->heartbeat_s, 30);
    lago_parameters_free(p);
}

static void fills_in_host_port_and_virtual_host(void **state) {
    (void)state;
    static const char *const urls[] = { "amqp://",  "amqp:///",           "amqp://localhost", "amqp://localhost:5672/%2F",
                                        "amqp://?", "amqp://localhost/?&" };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        lago_parameters_t *p = parsed(urls[i]);
        assert_string_equal(p->host, "localhost");
        assert_int_equal(p->port, 5672);
        assert_string_equal(p->virtual_host, "/");
        assert_null(p->credentials.username);
        assert_null(p->credentials.password);
        assert_int_equal(p->frame_max, 0);
        lago_parameters_free(p);
    }
}

static void takes_the_virtual_host_whole(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        { "amqp://host//", "/" },     { "amqp://host/a", "a" },       { "amqp://host/a/b", "a/b" },
        { "amqp://host/%2Fa", "/a" }, { "amqp://host/%252F", "%2F" }, { "amqp://host/a/?locale=x", "a/" },
        { "amqp://host/a+b", "a+b" }, { "amqp://u@host/a@b", "a@b" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lago_parameters_t *p = parsed(rows[i][0]);
        assert_string_equal(p->virtual_host, rows[i][1]);
        lago_parameters_free(p);
    }
}

static void splits_the_user_at_the_last_at(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqp://u:a@b:c@h/");
    assert_string_equal(p->credentials.username, "u");
    assert_string_equal(p->credentials.password, "a@b:c");
    assert_string_equal(p->host, "h");
    lago_parameters_free(p);
    p = parsed("amqp://u@h/");
    assert_string_equal(p->credentials.username, "u");
    assert_string_equal(p->credentials.password, "");
    lago_parameters_free(p);
}

static void reads_ipv6_in_brackets(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqp://[::1]:5673/");
    assert_string_equal(p->host, "::1");
    assert_int_equal(p->port, 5673);
    lago_parameters_free(p);
    p = parsed("amqp://u:p@[fe80::1%25eth0]");
    assert_string_equal(p->host, "fe80::1%eth0");
    assert_int_equal(p->port, 5672);
    lago_parameters_free(p);
}

static void refuses_bad_urls(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        { "", "scheme" },
        { "localhost", "scheme" },
        { "http://localhost", "scheme" },
        { "amqp:localhost", "scheme" },
        { "amqp:/", "scheme" },
        { "amqp://h:0", "port: out of range" },
        { "amqp://h:65536", "port: out of range" },
        { "amqp://h:99999999999999999999", "port: out of range" },
        { "amqp://h:", "port: empty" },
        { "amqp://h:-1", "port: not a whole number" },
        { "amqp://h:5672x", "port: not a whole number" },
        { "amqp://::1/", "host: more than one ':'" },
        { "amqp://[::1/", "host: '[' without ']'" },
        { "amqp://[::1]x/", "host: something follows ']'" },
        { "amqp://[]/", "host" },
        { "amqp://[localhost]/", "host: no IPv6 address" },
        { "amqp://%3A%3A1/", "host: an IPv6 address without brackets" },
        { "amqp://a..b/", "host" },
        { "amqp://a%20b/", "host: contains a space" },
        { "amqp://0x7f.1/", "host: a number" },
        { "amqp://@h/", "user: empty" },
        { "amqp://:p@h/", "user: empty" },
        { "amqp://h/%", "virtual host: a '%'" },
        { "amqp://h/%2", "virtual host: a '%'" },
        { "amqp://h/%zz", "virtual host: a '%'" },
        { "amqp://h/a%00b", "virtual host: a '%'" },
        { "amqp://u%0:p@h/", "user: a '%'" },
        { "amqp://u:%@h/", "password: a '%'" },
        { "amqp://h/#top", "fragment" },
        { "amqp://h/a b", "space" },
        { "amqp://h/\n", "control character" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) assert_refused(rows[i][0], LAGO_EURL, rows[i][1]);
}

static void refuses_names_beyond_255_bytes(void **state) {
    (void)state;
    char url[600] = "amqp://h/", *end = url + strlen(url);
    memset(end, 'v', 255);
    lago_parameters_free(parsed(url));
    end[255] = 'v';
    assert_refused(url, LAGO_EURL, "virtual host: longer than 255 bytes");
    strcpy(url, "amqp://");
    memset(url + 7, 'u', 256);
    strcpy(url + 263, "@h/");
    assert_refused(url, LAGO_EURL, "user: longer than 255 bytes");
    memset(url + 7, 'h', 256);
    url[263] = '\0';
    assert_refused(url, LAGO_EURL, "host: longer than 253 bytes");
}

static void refuses_null_arguments(void **state) {
    (void)state;
    lago_parameters_t *p = NULL;
    assert_refused(NULL, LAGO_EINVAL, "url");
    assert_int_equal(lago_parameters_parse("amqp://", NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_parameters_parse(NULL, &p, NULL), LAGO_EINVAL);
    assert_int_equal(lago_parameters_parse("http://", &p, NULL), LAGO_EURL);
    lago_parameters_free(NULL);
}

/* The password holds what should have been encoded, so that its pieces land in every other part. */
static void never_names_a_piece_of_a_password(void **state) {
    (void)state;
    static const char *const urls[] = {
        "user:hunter@h/",
        "amqp://user:hunter/x@h/",
        "amqp://user:1?hunter@h/",
        "amqp://user:1?x&hunter=2@h/",
        "amqp://user:1/hunter@h/",
        "amqp://user:a@b?hunter=1@h/",
        "amqp://user:hunter%zz@h/",
        "amqp://user:hunter#@h/",
        "amqp://user:hunter@h:x/",
        "amqp://user:hunter@h/?foo=1",
        "amqp://user:[hunter@[x/",
        "amqp://user:hunter@h/?heartbeat=hunter",
        "amqp://user:p:hunter/@h/",
        "amqp://user:hunter@h@/ ",
        "amqp://user:hunter@h/v?locale=a&locale=hunter",
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        lago_parameters_t *p = NULL;
        lago_reason_t reason;
        char line[1024];
        if (lago_parameters_parse(urls[i], &p, &reason) == 0) fail_msg("accepted: %s", urls[i]);
        lago_reason_format(&reason, line, sizeof line);
        assert_null(strstr(line, "hunter"));
        assert_null(strstr(reason.detail, "hunter"));
        assert_null(strstr(reason.hint, "hunter"));
        assert_true(reason.detail[0] != '\0');
    }
}

/* Members may be pointed elsewhere; what was parsed is freed all the same, and what the user gave is not. */
static void lets_members_be_changed(void **state) {
    (void)state;
    char mine[] = "mine";
    lago_parameters_t *p = parsed("amqp://u:p@h/v?client_properties={'a':1}");
    p->host = mine;
    p->credentials.password = mine;
    p->client_properties = (lago_table_t){ 0 };
    lago_parameters_free(p);
    assert_string_equal(mine, "mine");
}

/* ---------------------------------------------------------------- robustness */

static const char *const samples[] = {
    "amqp://us%65r:p%40s@mq.example.com:5673/my%20host?heartbeat=30&retry_delay=1.5&locale=a+b",
    "amqp://[fe80::1%25eth0]:5673/a/b?client_properties={'a':[1,(2.5,)],\"b\":null}&tcp_options={'TCP_KEEPIDLE': 60}",
    "amqp://u@127.0.0.1/?channel_max=1&frame_max=4096&blocked_connection_timeout=0&socket_timeout=0.5&&stack_timeout=3",
    "amqps://u:p@h1:5673,h2,[::1],%2Frun%2Fx/v?cacertfile=a&certfile=b&keyfile=c&verify=verify_none&auth_mechanism=plain,x",
    "amqp://h?ssl_options={'cafile': 'a', 'certfile': 'c', 'password': 'p', 'protocol': 5}&proxy=http://u:p@[::1]:1/&low_water=9",
};

static void try_url(const char *url) {
    struct parameters *p = NULL;
    lago_reason_t reason = { 0 };
    int rc = url_parse(&mem_default, url, &p, &reason);
    assert_true(rc == 0 ? p != NULL : p == NULL && rc == LAGO_EURL);
    assert_int_equal(reason.code, rc);
    assert_true(rc == 0 || reason.detail[0] != '\0');
    parameters_free(p);
}

static void survives_every_prefix_and_mutation(void **state) {
    (void)state;
    static const char bytes[] = "\x01\n #%&'+,-./0:;=?@A[\\]{}~\x7f\x80\xff";
    char url[256];
    for (size_t s = 0; s < sizeof samples / sizeof samples[0]; s++) {
        size_t size = strlen(samples[s]);
        assert_true(size < sizeof url - 1);
        for (size_t at = 0; at < size; at++) {
            for (size_t i = 0; i < sizeof bytes; i++) { /* the NUL at the end makes the prefix */
                memcpy(url, samples[s], size + 1);
                url[at] = bytes[i];
                try_url(url);
                memmove(url + at + 1, samples[s] + at, size - at + 1); /* inserted instead */
                try_url(url);
            }
            memcpy(url, samples[s], at); /* left out */
            memcpy(url + at, samples[s] + at + 1, size - at);
            try_url(url);
        }
    }
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    int rc = LAGO_ENOMEM;
    unsigned n = 1;
    for (; rc == LAGO_ENOMEM; n++) {
        struct fail_alloc memory;
        struct parameters *p = NULL;
        lago_reason_t reason = { 0 };
        fail_alloc_init(&memory);
        memory.fail_at = n;
        rc = url_parse(&memory.allocator, samples[1], &p, &reason);
        assert_int_equal(reason.code, rc);
        parameters_free(p);
        fail_alloc_check(&memory);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_part),
        cmocka_unit_test(fills_in_host_port_and_virtual_host),
        cmocka_unit_test(takes_the_virtual_host_whole),
        cmocka_unit_test(splits_the_user_at_the_last_at),
        cmocka_unit_test(reads_ipv6_in_brackets),
        cmocka_unit_test(refuses_bad_urls),
        cmocka_unit_test(refuses_names_beyond_255_bytes),
        cmocka_unit_test(refuses_null_arguments),
        cmocka_unit_test(never_names_a_piece_of_a_password),
        cmocka_unit_test(lets_members_be_changed),
        cmocka_unit_test(survives_every_prefix_and_mutation),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
