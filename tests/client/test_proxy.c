/* A proxy's conversation: what is said, and every answer, whole and octet by octet. */
#include "alloc.h"
#include "fail_alloc.h"
#include "proxy.h"
#include "scan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct proxy proxy;
static lago_reason_t reason;

static void begin(const lago_proxy_t *how, const char *host) {
    assert_int_equal(proxy_start(&proxy, &mem_default, how, host, 5672), 0);
}

/* All that is to be sent is this. */
static void assert_says(const char *expected, size_t size) {
    struct slice slices[8];
    uint8_t said[1024];
    size_t at = 0, count = chunks_peek(&proxy.out, slices, 8);
    for (size_t i = 0; i < count; i++) {
        memcpy(said + at, slices[i].data, slices[i].size);
        at += slices[i].size;
    }
    assert_int_equal(at, size);
    assert_memory_equal(said, expected, size);
    chunks_consume(&proxy.out, at);
}

#define SAYS(text) assert_says(text, sizeof(text) - 1)

static int hears_bytes(const char *data, size_t size) { return proxy_input(&proxy, (const uint8_t *)data, size, &reason); }

#define HEARS(text) hears_bytes(text, sizeof(text) - 1)

static void assert_refused(int rc, const char *words) {
    assert_int_equal(rc, LAGO_EPROXY);
    assert_int_equal(reason.code, LAGO_EPROXY);
    assert_int_equal(reason.phase, LAGO_PHASE_PROXY);
    if (!strstr(reason.detail, words)) fail_msg("\"%s\" is not in \"%s\"", words, reason.detail);
    proxy_stop(&proxy);
}

static const lago_proxy_t socks = { .type = LAGO_PROXY_SOCKS5 };
static const lago_proxy_t socks_login = { .type = LAGO_PROXY_SOCKS5, .username = "me", .password = "se:cret" };
static const lago_proxy_t socks_user = { .type = LAGO_PROXY_SOCKS5, .username = "me" };
static const lago_proxy_t http = { .type = LAGO_PROXY_HTTP };
static const lago_proxy_t http_login = { .type = LAGO_PROXY_HTTP, .username = "Aladdin", .password = "open sesame" };
static const lago_proxy_t http_user = { .type = LAGO_PROXY_HTTP, .username = "me" };

/* ---------------------------------------------------------------- SOCKS5 (RFC 1928) */

static void socks_lets_through(void **state) {
    (void)state;
    begin(&socks, "mq.example");
    SAYS("\5\1\0");
    assert_int_equal(HEARS("\5\0"), 0);
    SAYS("\5\1\0\3\12mq.example\x16\x28");
    assert_int_equal(HEARS("\5\0\0\4"), 0); /* the bound address may be of any kind, and come in pieces */
    assert_int_equal(HEARS("0123456789abcdef"), 0);
    assert_int_equal(HEARS("\0\1"), 1);
    proxy_stop(&proxy);
    begin(&socks, "192.0.2.7");
    SAYS("\5\1\0");
    assert_int_equal(HEARS("\5\0"), 0);
    SAYS("\5\1\0\1\xc0\0\2\7\x16\x28");
    assert_int_equal(HEARS("\5\0\0\3\4name\0\1"), 1);
    proxy_stop(&proxy);
    begin(&socks, "2001:db8::1");
    SAYS("\5\1\0");
    assert_int_equal(HEARS("\5\0"), 0);
    SAYS("\5\1\0\3\x0b"
         "2001:db8::1\x16\x28");
    assert_int_equal(HEARS("\5\0\0\1\1\2\3\4\5\6"), 1);
    proxy_stop(&proxy);
}

static void socks_logs_in(void **state) {
    (void)state;
    begin(&socks_login, "h");
    SAYS("\5\2\0\2");
    assert_int_equal(HEARS("\5\2"), 0);
    SAYS("\1\2me\7se:cret");
    assert_int_equal(HEARS("\1\0"), 0);
    SAYS("\5\1\0\3\1h\x16\x28");
    assert_int_equal(HEARS("\5\0\0\1\1\2\3\4\5\6"), 1);
    proxy_stop(&proxy);
}

/* A name may begin as an address does; who has no password sends an empty one; and a proxy may want neither. */
static void socks_asks_for_a_name(void **state) {
    static const char *const names[] = { "12345.example", "4294967297.0.0.1", "1.2.3x4.example", "1a.2.3.4", "256.1.1.1.example",
                                         "1.2.3",         "1.2.3.4." };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char asked[64] = "\5\1\0\3";
        size_t size = strlen(names[i]);
        begin(&socks, names[i]);
        SAYS("\5\1\0");
        assert_int_equal(HEARS("\5\0"), 0);
        asked[4] = (char)size;
        memcpy(asked + 5, names[i], size);
        memcpy(asked + 5 + size, "\x16\x28", 2);
        assert_says(asked, size + 7);
        proxy_stop(&proxy);
    }
    begin(&socks_user, "h");
    SAYS("\5\2\0\2");
    assert_int_equal(HEARS("\5\2"), 0);
    SAYS("\1\2me\0");
    proxy_stop(&proxy);
    begin(&socks_login, "h");
    SAYS("\5\2\0\2");
    assert_int_equal(HEARS("\5\0"), 0);
    SAYS("\5\1\0\3\1h\x16\x28");
    proxy_stop(&proxy);
}

static void socks_refuses(void **state) {
    (void)state;
    begin(&socks, "h");
    assert_refused(HEARS("\5\xff"), "wants a login");
    assert_string_equal(reason.hint, "give proxy.username and proxy.password");
    begin(&socks_login, "h");
    assert_refused(HEARS("\5\xff"), "wants a login");
    assert_string_equal(reason.hint, "of a kind that lago does not have");
    begin(&socks, "h");
    assert_refused(HEARS("\5\2"), "wants a login");
    begin(&socks, "h");
    assert_refused(HEARS("\5\1"), "not offered");
    begin(&socks, "h");
    assert_refused(HEARS("HT"), "does not speak SOCKS5");
    begin(&socks_login, "h");
    assert_int_equal(HEARS("\5\2"), 0);
    assert_refused(HEARS("\1\1"), "refused the login");
    for (char code = 1; code < 12; code++) {
        const char answer[2] = { 5, code };
        begin(&socks, "h");
        assert_int_equal(HEARS("\5\0"), 0);
        assert_refused(hears_bytes(answer, 2), "could not connect to the broker: ");
    }
    begin(&socks, "h");
    assert_int_equal(HEARS("\5\0"), 0);
    assert_refused(HEARS("\5\0\0\7\0"), "malformed");
    begin(&socks, "h");
    assert_int_equal(HEARS("\5\0"), 0);
    assert_refused(HEARS("\5\0\0\1\1\2\3\4\5\6A"), "more than its answer");
}

/* ---------------------------------------------------------------- HTTP CONNECT (RFC 9110, 9.3.6) */

static void http_lets_through(void **state) {
    static const char answer[] = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
    (void)state;
    begin(&http, "mq.example");
    SAYS("CONNECT mq.example:5672 HTTP/1.1\r\nHost: mq.example:5672\r\n\r\n");
    for (size_t i = 0; i + 2 < sizeof(answer); i++) assert_int_equal(hears_bytes(answer + i, 1), 0);
    assert_int_equal(hears_bytes("\n", 1), 1);
    proxy_stop(&proxy);
    begin(&http, "2001:db8::1");
    SAYS("CONNECT [2001:db8::1]:5672 HTTP/1.1\r\nHost: [2001:db8::1]:5672\r\n\r\n");
    proxy_stop(&proxy);
    begin(&http_login, "h"); /* the example of RFC 7617 */
    SAYS("CONNECT h:5672 HTTP/1.1\r\nHost: h:5672\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n");
    assert_int_equal(HEARS("HTTP/1.0 204 x\r\n\r\n"), 1);
    proxy_stop(&proxy);
    begin(&http_user, "h");
    SAYS("CONNECT h:5672 HTTP/1.1\r\nHost: h:5672\r\nProxy-Authorization: Basic bWU6\r\n\r\n");
    proxy_stop(&proxy);
}

static void http_refuses(void **state) {
    static char endless[9000];
    (void)state;
    begin(&http, "h");
    assert_refused(HEARS("HTTP/1.1 403 Forbidden\033[31m\r\n\r\n"), "403 Forbidden\\x1b[31m");
    begin(&http, "h");
    assert_refused(HEARS("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), "407");
    assert_non_null(strstr(reason.hint, "proxy.password"));
    begin(&http, "h");
    assert_refused(HEARS("AMQP\0\0\11\1\r\n\r\n"), "does not speak HTTP");
    begin(&http, "h");
    assert_refused(HEARS("\r\n\r\n"), "does not speak HTTP");
    begin(&http, "h");
    assert_refused(HEARS("ICY 200 OK, welcome\r\n\r\n"), "does not speak HTTP");
    begin(&http, "h");
    assert_refused(HEARS("HTTP/1.10 200 OK\r\n\r\n"), "does not speak HTTP");
    begin(&http, "h");
    assert_refused(HEARS("HTTP/1.1 200 OK\r\n\r\n\1"), "more than its answer");
    memset(endless, 'x', sizeof(endless));
    begin(&http, "h");
    assert_refused(hears_bytes(endless, sizeof(endless)), "longer than 8192");
}

/* What a proxy answers until it lets through: it has read what was said by then. */
struct conversation {
    const lago_proxy_t *how;
    const char *answers[3];
    size_t sizes[3];
};

static int converse(const struct conversation *c, const lago_allocator_t *alloc, const char *host) {
    int rc = proxy_start(&proxy, alloc, c->how, host, 5672);
    for (size_t i = 0; rc == 0 && i < 3 && c->answers[i]; i++) {
        chunks_consume(&proxy.out, proxy.out.size);
        rc = proxy_input(&proxy, (const uint8_t *)c->answers[i], c->sizes[i], &reason);
    }
    return rc;
}

/* Each allocation fails in turn: it is said, and nothing is left. With none that fails the way is free. */
static void without_memory_nothing_is_left(void **state) {
    static char name[254], secret[256];
    memset(name, 'h', sizeof(name) - 1);
    memset(secret, 's', sizeof(secret) - 1);
    const lago_proxy_t socks_long = { .type = LAGO_PROXY_SOCKS5, .username = secret, .password = secret };
    const lago_proxy_t http_long = { .type = LAGO_PROXY_HTTP, .username = secret, .password = secret };
    const struct conversation all[] = {
        { &socks_long, { "\5\2", "\1\0", "\5\0\0\1\1\2\3\4\5\6" }, { 2, 2, 10 } },
        { &socks_long, { "\5\0", "\5\0\0\1\1\2\3\4\5\6" }, { 2, 10 } },
        { &http_long, { "HTTP/1.1 200 OK\r\n\r\n" }, { 19 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int rc = LAGO_ENOMEM;
        for (size_t at = 1; rc != 1; at++) {
            struct fail_alloc alloc;
            fail_alloc_init(&alloc);
            fail_alloc_at(&alloc, at, false);
            rc = converse(&all[i], &alloc.allocator, name);
            assert_int_equal(rc, alloc.failures ? LAGO_ENOMEM : 1);
            proxy_stop(&proxy);
            assert_int_equal(alloc.live_count, 0);
        }
    }
}

/* ---------------------------------------------------------------- the password */

#define OFFERS_A_LOGIN "\5\2\0\2"
#define WANTS_A_LOGIN  "\5\2"

struct asking {
    lago_proxy_t how;
    int rc;
};

/* What is said by then has the password in it. */
static void log_in(void *data) {
    struct asking *asking = data;
    asking->rc = proxy_start(&proxy, &mem_default, &asking->how, "h", 5672);
    if (asking->rc < 0 || asking->how.type != LAGO_PROXY_SOCKS5) return;
    chunks_consume(&proxy.out, sizeof(OFFERS_A_LOGIN) - 1);
    asking->rc = proxy_input(&proxy, (const uint8_t *)WANTS_A_LOGIN, sizeof(WANTS_A_LOGIN) - 1, &reason);
}

/* Once it has left it is nowhere, not on a stack either. */
static void the_password_is_nowhere(void **state) {
    static const lago_proxy_type_t types[] = { LAGO_PROXY_SOCKS5, LAGO_PROXY_HTTP };
    struct needle needles[2];
    char password[NEEDLE_MAX + 1];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        needle_random(&needles[0], "the password", 40);
        struct needle login;
        needle_begin(&login, "the login");
        needle_add(&login, "me:", 3);
        needle_add_needle(&login, &needles[0]);
        needle_base64(&needles[1], "the login in base64", &login);
        needle_copy(&needles[0], password, false);
        struct asking asking = { .how = { .type = types[i], .username = "me", .password = password } };
        scan_on_own_stack(log_in, &asking);
        assert_int_equal(asking.rc, 0);
        assert_true(scan_memory(&needles[i], 1, false) >= 1); /* it waits */
        chunks_consume(&proxy.out, proxy.out.size);
        proxy_stop(&proxy);
        mem_wipe(password, sizeof(password));
        assert_int_equal(scan_memory(needles, 2, true), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(socks_lets_through),
        cmocka_unit_test(socks_logs_in),
        cmocka_unit_test(socks_asks_for_a_name),
        cmocka_unit_test(socks_refuses),
        cmocka_unit_test(http_lets_through),
        cmocka_unit_test(http_refuses),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(the_password_is_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
