/* Messages of TLS itself behind the handshake: each is legal, too many are an attack. */
#include "pair.h"
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void ticket(SSL *server) { assert_int_equal(SSL_new_session_ticket(server), 1); }

static void key_update(SSL *server) { assert_int_equal(SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED), 1); }

static void hello_request(SSL *server) { assert_int_equal(SSL_renegotiate(server), 1); }

/* So many of them from the server, which hears no answers in between. */
static void send_many(struct pair *p, void (*one)(SSL *server), unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        one(p->server);
        assert_int_equal(SSL_do_handshake(p->server), 1);
    }
    ERR_clear_error();
}

static void expect_flood(struct pair *p) {
    assert_int_equal(p->end, TLS_FAILED);
    pair_expect(tls_filter_reason(p->filter), LAGO_ETLS, "floods", "a broken peer");
}

static void opens_again(struct pair *p) {
    pair_end(p);
    pair_open(p);
    pair_server_says(p, "x", 1);
    pair_run(p);
}

/* What makes `count` of them good: 64 KiB each, or 64 records. */
static void say_much(struct pair *p, unsigned count, bool in_records) {
    static const char data[64 * 1024];
    for (unsigned i = 0; i < count * (in_records ? 64 : 1); i++) pair_server_says(p, data, in_records ? 1 : sizeof data);
    pair_run(p);
}

/* A thousand are normal, also with a little between them; more are not, but for those that much data has made good. */
static void bounds(struct pair *p, void (*one)(SSL *server), enum pair_split split) {
    opens_again(p);
    p->split = split;
    for (unsigned i = 0; i < 9; i++) {
        send_many(p, one, 100);
        pair_server_says(p, "x", 1);
        pair_run(p);
    }
    say_much(p, 20, split == SPLIT_NONE);
    send_many(p, one, 110);
    pair_run(p);
    assert_int_equal(p->end, 0);
    size_t heard = p->heard.size;
    send_many(p, one, 20);
    pair_server_says(p, "x", 1);
    pair_run(p);
    p->split = SPLIT_NONE;
    expect_flood(p);
    assert_int_equal(p->heard.size, heard);
}

static void bounds_tickets(void **state) {
    bounds(*state, ticket, SPLIT_NONE);
    bounds(*state, ticket, SPLIT_RANDOM);
}

static void bounds_key_updates(void **state) {
    bounds(*state, key_update, SPLIT_NONE);
    bounds(*state, key_update, SPLIT_RANDOM);
}

/* TLS 1.2: each is answered by a warning, which is no failure; the server of OpenSSL would not hear it well, so it does not. */
static void bounds_renegotiation(void **state) {
    struct pair *p = *state;
    SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_2_VERSION);
    opens_again(p);
    p->server_ended = true;
    send_many(p, hello_request, 500);
    pair_server_says(p, "x", 1);
    pair_run(p);
    assert_int_equal(p->heard.size, 2);
    assert_int_equal(p->end, 0);
    send_many(p, hello_request, 1100);
    pair_run(p);
    expect_flood(p);
}

/* Then it is the answers that may not pile up, behind what we have written ourselves, if nobody reads them. */
static void bounds_answers_that_nobody_reads(void **state) {
    struct pair *p = *state;
    static char ours[16 * 1024];
    struct slice slice = { (const uint8_t *)ours, sizeof ours };
    size_t answers_size = 0;
    SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_2_VERSION);
    opens_again(p);
    while (tls_filter_has_room(p->filter)) assert_true(tls_filter_write(p->filter, &slice, 1) > 0);
    assert_in_range(tls_filter_output_size(p->filter), TLS_AHEAD_MAX, TLS_AHEAD_MAX + 18 * 1024);
    for (unsigned i = 0; i < 1000 && p->end == 0; i++) {
        static char records[256 * 1024];
        send_many(p, hello_request, 20);
        for (unsigned n = 0; n < 64 * 15; n++) pair_server_says(p, "x", 1); /* no flood: 15 of them are good */
        int size = BIO_read(SSL_get_wbio(p->server), records, sizeof records);
        assert_true(size > 0);
        pair_feed(p, records, (size_t)size);
        if (p->end == 0) answers_size = tls_filter_output_size(p->filter);
        assert_true(tls_filter_output_size(p->filter) <= 2 * TLS_AHEAD_MAX + 1024);
    }
    expect_flood(p);
    assert_in_range(answers_size, 2 * TLS_AHEAD_MAX - 1024, 2 * TLS_AHEAD_MAX);
}

/* In the handshake such requests are to be ignored (RFC 5246, 7.4.1.1), by OpenSSL for ever. */
static void bounds_requests_in_the_handshake(void **state) {
    struct pair *p = *state;
    static const uint8_t request[] = { 22, 3, 3, 0, 4, 0, 0, 0, 0 };
    assert_int_equal(pair_begin(p), 0);
    assert_int_equal(tls_filter_handshake(p->filter), 0);
    for (unsigned i = 0; i < 1100 && p->done == 0; i++) pair_feed(p, request, sizeof request);
    assert_int_equal(p->done, TLS_FAILED);
    pair_expect(tls_filter_reason(p->filter), LAGO_ETLS, "floods", NULL);
    assert_int_equal(tls_filter_reason(p->filter)->phase, LAGO_PHASE_TLS);
}

static void renews_keys_by_itself(void **state) {
    struct pair *p = *state;
    opens_again(p);
    send_many(p, key_update, 1);
    pair_run(p);
    pair_say(p, "new", 3);
    assert_int_equal(p->server_heard.size, 3);
    pair_server_says(p, "new", 3);
    pair_run(p);
    assert_int_equal(p->heard.size, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bounds_tickets),
        TEST(bounds_key_updates),
        TEST(bounds_renegotiation),
        TEST(bounds_answers_that_nobody_reads),
        TEST(bounds_requests_in_the_handshake),
        TEST(renews_keys_by_itself),
    };
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
