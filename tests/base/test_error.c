/* Codes have names, texts and scopes; a reason is one helpful line, whatever the peer wrote. */
#include "fail_alloc.h"
#include "reason.h"
#include <errno.h>
#include <lago/error.h>
#include <lago/version.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EP "127.0.0.1:5672"

enum { OS_EOF = -4095, OS_NONAME = -3008 };

static const struct {
    int code;
    const char *name;
} codes[] = {
#define CODE(name, number, scope, text) { LAGO_##name, "LAGO_" #name },
    LAGO_ERROR_MAP(CODE)
#undef CODE
};

enum { CODES = sizeof(codes) / sizeof(codes[0]) };

static void test_every_code_has_name_text_and_scope(void **state) {
    (void)state;
    for (size_t i = 0; i < CODES; i++) {
        assert_true(codes[i].code < -10000);
        assert_string_equal(lago_error_name(codes[i].code), codes[i].name);
        assert_string_not_equal(lago_strerror(codes[i].code), "unknown error");
        assert_true(strlen(lago_strerror(codes[i].code)) > 0);
        assert_int_not_equal(lago_error_scope(codes[i].code), LAGO_SCOPE_NONE);
        for (size_t k = 0; k < i; k++) assert_int_not_equal(codes[i].code, codes[k].code);
    }
    assert_int_equal(lago_error_scope(LAGO_EINVAL), LAGO_SCOPE_CALL);
    assert_int_equal(lago_error_scope(LAGO_ECHANNEL), LAGO_SCOPE_CHANNEL);
    assert_int_equal(lago_error_scope(LAGO_ELOST), LAGO_SCOPE_CONNECTION);
}

static void test_codes_of_the_system_pass_through(void **state) {
    (void)state;
    assert_string_equal(lago_strerror(-ECONNREFUSED), "connection refused");
    assert_string_equal(lago_error_name(-ECONNREFUSED), "ECONNREFUSED");
    assert_string_equal(lago_error_name(-EINVAL), "EINVAL");
    assert_string_equal(lago_error_name(OS_EOF), "EOF");
    assert_string_equal(lago_error_name(OS_NONAME), "EAI_NONAME");
    assert_string_equal(lago_strerror(OS_NONAME), "unknown host name or service");
    assert_int_equal(lago_error_scope(-ECONNREFUSED), LAGO_SCOPE_CONNECTION);
    assert_int_equal(lago_error_scope(OS_EOF), LAGO_SCOPE_CONNECTION);
}

static void test_unknown_codes_say_so(void **state) {
    (void)state;
    static const int unknown[] = { -1234, -10999, INT32_MIN, 111 };
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_string_equal(lago_strerror(unknown[i]), "unknown error");
        assert_string_equal(lago_error_name(unknown[i]), "UNKNOWN");
    }
    assert_int_equal(lago_error_scope(-1234), LAGO_SCOPE_CONNECTION);
    assert_int_equal(lago_error_scope(111), LAGO_SCOPE_NONE);
    assert_int_equal(lago_error_scope(0), LAGO_SCOPE_NONE);
    assert_string_equal(lago_strerror(0), "no error");
}

static void test_every_phase_has_a_name(void **state) {
    (void)state;
    for (int i = LAGO_PHASE_NONE; i <= LAGO_PHASE_CLOSING; i++) {
        assert_string_not_equal(lago_phase_name((lago_phase_t)i), "unknown phase");
        for (int k = 0; k < i; k++) assert_string_not_equal(lago_phase_name((lago_phase_t)i), lago_phase_name((lago_phase_t)k));
    }
    assert_string_equal(lago_phase_name((lago_phase_t)99), "unknown phase");
    assert_string_equal(lago_version(), LAGO_VERSION);
}

static void check(const lago_reason_t *reason, const char *expected) {
    char line[2048];
    memset(line, '#', sizeof(line));
    size_t length = lago_reason_format(reason, line, sizeof(line));
    assert_string_equal(line, expected);
    assert_int_equal(length, strlen(expected));
}

/* A reason with the broker's words. */
static lago_reason_t said(int code, uint16_t reply_code, const char *reply_text) {
    lago_reason_t r = { .code = code, .origin = LAGO_BY_BROKER, .reply_code = reply_code, .endpoint = EP };
    r.reply_text_size = strlen(reply_text);
    memcpy(r.reply_text, reply_text, r.reply_text_size + 1);
    return r;
}

static void test_connecting(void **state) {
    (void)state;
    lago_reason_t r = { .code = LAGO_ECONNECT, .os_error = -ECONNREFUSED, .endpoint = EP, .hint = "no broker listening?" };
    r.phase = LAGO_PHASE_CONNECT;
    check(&r, "connection refused by " EP " (no broker listening?)");
    r.hint[0] = '\0';
    r.os_error = -EHOSTUNREACH;
    check(&r, "connecting to " EP " failed: host is unreachable");
    r.os_error = -9999;
    check(&r, "connecting to " EP " failed: system error -9999");
    strcpy(r.detail, "none of 2 addresses answered");
    r.os_error = -ECONNREFUSED;
    check(&r, "none of 2 addresses answered by " EP ": connection refused");
    strcpy(r.detail, "connection refused by all addresses, " EP " was the last");
    check(&r, "connection refused by all addresses, " EP " was the last");
    check(&(lago_reason_t){ .code = -ECONNREFUSED, .endpoint = EP }, "connection refused by " EP);
    check(&(lago_reason_t){ .code = -ECONNREFUSED, .os_error = -ECONNREFUSED }, "connection refused");
    r = (lago_reason_t){ .code = LAGO_ERESOLVE, .os_error = OS_NONAME, .phase = LAGO_PHASE_RESOLVE };
    check(&r, "host name lookup failed: unknown host name or service");
    strcpy(r.detail, "no address for host 'rabbit'");
    strcpy(r.hint, "is it spelled right?");
    check(&r, "no address for host 'rabbit': unknown host name or service (is it spelled right?)");
}

static void test_deadlines(void **state) {
    (void)state;
    lago_reason_t r = { .code = LAGO_ETIMEDOUT, .endpoint = EP, .phase = LAGO_PHASE_CONNECT };
    check(&r, "connecting to " EP " timed out");
    r.phase = LAGO_PHASE_TLS;
    check(&r, "TLS handshake with " EP " timed out");
    r.phase = LAGO_PHASE_HANDSHAKE;
    check(&r, "AMQP handshake with " EP " timed out");
    r.phase = LAGO_PHASE_OPEN;
    check(&r, "opening the virtual host at " EP " timed out");
    r.phase = LAGO_PHASE_CLOSING;
    check(&r, "closing the connection to " EP " timed out");
    r.phase = LAGO_PHASE_RUNNING;
    check(&r, "deadline passed");
    strcpy(r.detail, "queue.declare was not answered within 5000 ms");
    check(&r, "queue.declare was not answered within 5000 ms");
    r.phase = LAGO_PHASE_RESOLVE;
    r.detail[0] = r.endpoint[0] = '\0';
    check(&r, "host name lookup timed out");
}

static void test_a_lost_link(void **state) {
    (void)state;
    lago_reason_t r = { .code = LAGO_ELOST, .os_error = -ECONNRESET, .endpoint = EP, .phase = LAGO_PHASE_RUNNING };
    check(&r, "lost the link to " EP " (connection reset by peer)");
    r.os_error = OS_EOF;
    check(&r, "lost the link to " EP " (closed by the peer)");
    r.phase = LAGO_PHASE_HANDSHAKE;
    strcpy(r.hint, "wrong password?");
    check(&r, "lost the link to " EP " during the AMQP handshake (closed by the peer) (wrong password?)");
    check(&(lago_reason_t){ .code = LAGO_ELOST }, "lost the link to the broker");
    check(&(lago_reason_t){ .code = LAGO_ELOST, .phase = LAGO_PHASE_OPEN },
          "lost the link to the broker while opening the virtual host");
    check(&(lago_reason_t){ .code = LAGO_EHEARTBEAT, .endpoint = EP }, "the broker at " EP " went silent: no heartbeat");
    check(&(lago_reason_t){ .code = LAGO_ENOTAMQP, .endpoint = EP }, "the peer at " EP " is not an AMQP broker");
    check(&(lago_reason_t){ .code = LAGO_EHEARTBEAT }, "the broker went silent: no heartbeat");
}

static void test_the_brokers_words(void **state) {
    (void)state;
    lago_reason_t r = said(LAGO_ECHANNEL, 404, "NOT_FOUND - no queue 'x' in vhost '/'");
    r.class_id = 50;
    r.method_id = 10;
    check(&r, "the broker closed the channel: 404 NOT_FOUND - no queue 'x' in vhost '/' (method 50,10)");
    strcpy(r.detail, "channel 3 closed by the broker");
    check(&r, "channel 3 closed by the broker: 404 NOT_FOUND - no queue 'x' in vhost '/'");
    strcpy(r.detail, "404 NOT_FOUND - no queue 'x' in vhost '/'");
    check(&r, "404 NOT_FOUND - no queue 'x' in vhost '/'");
    r = said(LAGO_ECONNECTION, 320, "CONNECTION_FORCED - bye");
    check(&r, "the broker at " EP " closed the connection: 320 CONNECTION_FORCED - bye");
    r = said(LAGO_ECONNECTION, 541, "");
    check(&r, "the broker at " EP " closed the connection: 541");
    r = said(LAGO_EAUTH, 403, "ACCESS_REFUSED - Login was refused");
    check(&r, "login refused by " EP " (403 ACCESS_REFUSED - Login was refused)");
    strcpy(r.detail, "login refused for user 'x'");
    r.endpoint[0] = '\0';
    check(&r, "login refused for user 'x' (403 ACCESS_REFUSED - Login was refused)");
}

static void test_the_rest(void **state) {
    (void)state;
    check(NULL, "no error");
    check(&(lago_reason_t){ .code = 0 }, "no error");
    check(&(lago_reason_t){ .code = -12345 }, "unknown error");
    check(&(lago_reason_t){ .code = LAGO_ECLOSED, .origin = LAGO_BY_CLIENT, .endpoint = EP }, "closed by the application");
    check(&(lago_reason_t){ .code = LAGO_ENOMEM, .endpoint = EP }, "out of memory");
    lago_reason_t r = { .code = LAGO_ELOST, .endpoint = EP, .tls_error = 0x0a000086, .tls_verify_result = 18 };
    check(&r, "lost the link to " EP " (TLS error 0xa000086) (certificate verification 18)");
    strcpy(r.detail, "certificate of the broker refused: self-signed");
    check(&r, "certificate of the broker at " EP " refused: self-signed");
    strcpy(r.detail, "user \"x\\x00\"\n");
    strcpy(r.hint, "see\tthere");
    check(&r, "user \"x\\x00\"\\n at " EP " (see\\tthere)");
}

static void test_reasons_are_filled_in(void **state) {
    (void)state;
    lago_reason_t r;
    char text[400];
    memset(&r, 0xff, sizeof(r));
    reason_init(&r, LAGO_EHEARTBEAT, LAGO_BY_NETWORK);
    reason_detail(&r, "no heartbeat from the broker: nothing came for %.1f s", 21.5);
    reason_hint(&r, "is the %s up?", "network");
    strcpy(r.endpoint, EP);
    check(&r, "no heartbeat from the broker at " EP ": nothing came for 21.5 s (is the network up?)");
    assert_int_equal(r.origin, LAGO_BY_NETWORK);
    reason_init(&r, LAGO_ECHANNEL, LAGO_BY_BROKER);
    reason_reply(&r, 404, "NOT_FOUND\0 and more", 9, 60, 20);
    check(&r, "the broker closed the channel: 404 NOT_FOUND (method 60,20)");
    memset(text, 'x', sizeof(text));
    reason_reply(&r, 404, text, sizeof(text), 0, 0);
    assert_int_equal(r.reply_text_size, 255);
    assert_int_equal(strlen(r.reply_text), 255);
    reason_reply(&r, 404, NULL, 0, 0, 0);
    assert_string_equal(r.reply_text, "");
    reason_detail(&r, "%.*s", (int)sizeof(text), text);
    assert_int_equal(strlen(r.detail), sizeof(r.detail) - 1);
}

static void test_hostile_words_are_escaped_and_cut(void **state) {
    (void)state;
    lago_reason_t r = said(LAGO_ECHANNEL, 406, "");
    static const char hostile[] = "a\0b\x1b[2J\r\nfake log line\"\xff";
    memcpy(r.reply_text, hostile, sizeof(hostile));
    r.reply_text_size = sizeof(hostile) - 1;
    check(&r, "the broker closed the channel: 406 a\\x00b\\x1b[2J\\r\\nfake log line\\\"\\xff");
    char line[2048];
    memset(r.reply_text, 0xfe, sizeof(r.reply_text) - 1);
    r.reply_text_size = SIZE_MAX; /* a lie: the array ends all the same */
    assert_true(lago_reason_format(&r, line, sizeof(line)) < 4 * 256 + 64);
    for (const char *c = line; *c != '\0'; c++) assert_true(*c >= ' ' && *c <= '~');
}

static void test_a_small_buffer_cuts(void **state) {
    (void)state;
    lago_reason_t r = said(LAGO_ECHANNEL, 404, "NOT_FOUND - no queue\n");
    char whole[128], line[128];
    size_t length = lago_reason_format(&r, whole, sizeof(whole));
    assert_int_equal(lago_reason_format(&r, NULL, 0), length);
    for (size_t size = 1; size <= length + 1; size++) {
        memset(line, '#', sizeof(line));
        assert_int_equal(lago_reason_format(&r, line, size), length);
        assert_int_equal(strlen(line), size - 1);
        assert_memory_equal(line, whole, size - 1);
        assert_int_equal(line[size], '#');
    }
}

/* ---------------------------------------------------------------- kept */

static lago_reason_t refused(void) {
    lago_reason_t r;
    reason_init(&r, LAGO_EAUTH, LAGO_BY_BROKER);
    r.phase = LAGO_PHASE_HANDSHAKE;
    r.os_error = -5;
    r.tls_error = 6;
    r.tls_verify_result = 7;
    reason_reply(&r, 403, "ACCESS_REFUSED", 14, 10, 11);
    reason_detail(&r, "why");
    return r;
}

static void test_a_kept_reason_is_the_same(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct kept_reason kept = { 0 };
    lago_reason_t r = refused(), room;
    fail_alloc_init(&fail);
    reason_keep(&kept, &fail.allocator, &r);
    assert_memory_equal(reason_kept(&kept, &room), &r, sizeof(r));
    reason_detail(&r, "something else");
    reason_keep(&kept, &fail.allocator, &r);
    reason_keep(&kept, &fail.allocator, reason_kept(&kept, &room)); /* itself */
    assert_string_equal(reason_kept(&kept, &room)->detail, "something else");
    assert_int_equal(fail.live_count, 1);
    reason_forget(&kept, &fail.allocator);
    assert_int_equal(kept.code, 0);
    fail_alloc_check(&fail);
}

static void test_without_memory_a_kept_reason_has_its_facts(void **state) {
    (void)state;
    struct fail_alloc fail;
    struct kept_reason kept = { 0 };
    lago_reason_t r = refused(), room;
    fail_alloc_init(&fail);
    fail_alloc_at(&fail, 1, true);
    reason_keep(&kept, &fail.allocator, &r);
    memset(r.reply_text, 0, sizeof(r.reply_text));
    memset(r.detail, 0, sizeof(r.detail));
    r.reply_text_size = 0;
    assert_memory_equal(reason_kept(&kept, &room), &r, sizeof(r));
    reason_forget(&kept, &fail.allocator);
    fail_alloc_check(&fail);
}

/* What is rare: one of two numbers, words without a number, what the detail says already. */
static void test_parts_may_be_missing(void **state) {
    (void)state;
    check(&(lago_reason_t){ .code = LAGO_ETIMEDOUT }, "deadline passed");
    check(&(lago_reason_t){ .code = LAGO_ELOST, .endpoint = EP, .phase = LAGO_PHASE_CLOSING },
          "lost the link to " EP " while closing");
    check(&(lago_reason_t){ .code = LAGO_ELOST, .phase = LAGO_PHASE_PROXY },
          "lost the link to the broker while asking the proxy");
    check(&(lago_reason_t){ .code = LAGO_ECLOSED, .origin = LAGO_BY_BROKER }, "closed by the application, or already ended");
    lago_reason_t r = said(LAGO_ECONNECTION, 0, "only words");
    check(&r, "the broker at " EP " closed the connection: only words");
    r.os_error = -ECONNRESET; /* the words explain, so the system's are an aside */
    check(&r, "the broker at " EP " closed the connection: only words (connection reset by peer)");
    r = (lago_reason_t){ .code = LAGO_ECHANNEL, .method_id = 10 };
    check(&r, "the broker closed the channel (method 0,10)");
    strcpy(r.detail, "no such queue; is it spelled right?");
    strcpy(r.hint, "is it spelled right?");
    check(&r, "no such queue; is it spelled right?");
    strcpy(r.detail, "bell\x7f");
    r.hint[0] = '\0';
    check(&r, "bell\\x7f");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_name_text_and_scope),
        cmocka_unit_test(test_codes_of_the_system_pass_through),
        cmocka_unit_test(test_unknown_codes_say_so),
        cmocka_unit_test(test_every_phase_has_a_name),
        cmocka_unit_test(test_connecting),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_a_lost_link),
        cmocka_unit_test(test_the_brokers_words),
        cmocka_unit_test(test_the_rest),
        cmocka_unit_test(test_reasons_are_filled_in),
        cmocka_unit_test(test_hostile_words_are_escaped_and_cut),
        cmocka_unit_test(test_a_small_buffer_cuts),
        cmocka_unit_test(test_a_kept_reason_is_the_same),
        cmocka_unit_test(test_without_memory_a_kept_reason_has_its_facts),
        cmocka_unit_test(test_parts_may_be_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
