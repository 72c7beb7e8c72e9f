/* Sessions: kept for the next link, offered to the same name only, and never in the way of a full handshake. */
#include "pair.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void use_version(struct pair *p, int version) {
    SSL_CTX_set_min_proto_version(p->server_ctx, version);
    SSL_CTX_set_max_proto_version(p->server_ctx, version);
}

static bool resumes(struct pair *p) {
    pair_open(p);
    bool resumed = tls_filter_is_resumed(p->filter);
    assert_int_equal(resumed, SSL_session_reused(p->server));
    pair_say(p, "x", 1);
    pair_server_says(p, "y", 1);
    pair_run(p); /* the tickets come with it */
    assert_int_equal(p->heard.size, 1);
    assert_int_equal(p->server_heard.size, 1);
    pair_end(p);
    return resumed;
}

static void for_both_versions(struct pair *p, void (*try)(struct pair *p)) {
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        use_version(p, version);
        try(p);
        pair_forget_context(p);
    }
}

/* Again and again, though a ticket of TLS 1.3 is good for one link. */
static void try_again(struct pair *p) {
    assert_false(resumes(p));
    for (int i = 0; i < 5; i++) assert_true(resumes(p));
}

static void resumes_links(void **state) { for_both_versions(*state, try_again); }

/* TLS 1.2 by number instead of ticket: the server says nothing new when it is resumed. */
static void resumes_by_number(void **state) {
    struct pair *p = *state;
    use_version(p, TLS1_2_VERSION);
    SSL_CTX_set_options(p->server_ctx, SSL_OP_NO_TICKET);
    try_again(p);
}

static void try_off(struct pair *p) {
    p->options.no_session_resumption = true;
    assert_false(resumes(p));
    assert_false(resumes(p));
    p->options.no_session_resumption = false;
}

static void resumes_nothing_when_told_not_to(void **state) { for_both_versions(*state, try_off); }

/* The name is not verified when a session is resumed: it is for this name only. */
static void try_names(struct pair *p) {
    p->host = PAIR_NAME;
    assert_false(resumes(p));
    p->host = "127.0.0.1";
    assert_false(resumes(p));
    p->host = "::1";
    assert_false(resumes(p));
    p->host = PAIR_NAME; /* the newest one is that of ::1 */
    assert_false(resumes(p));
    assert_true(resumes(p));
    p->host = PAIR_NAME ".";
    assert_true(resumes(p));
    p->host = PAIR_NAME;
}

static void offers_sessions_to_the_same_name_only(void **state) { for_both_versions(*state, try_names); }

/* A server that has lost its keys. */
static void try_foreign(struct pair *p) {
    SSL_CTX *old = p->server_ctx;
    assert_false(resumes(p));
    p->server_ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(p->server_ctx);
    pair_show(p, pair_leaf, NULL);
    use_version(p, (int)SSL_CTX_get_max_proto_version(old));
    assert_false(resumes(p));
    assert_true(resumes(p));
    SSL_CTX_free(p->server_ctx);
    p->server_ctx = old;
}

static void shakes_hands_in_full_with_another_server(void **state) { for_both_versions(*state, try_foreign); }

/* Not resumed: the next server is verified like the first one. */
static void try_impostor(struct pair *p) {
    assert_false(resumes(p));
    SSL_CTX *old = p->server_ctx;
    struct cert *other = cert_new(&(struct cert_options){ .issuer = pair_ca, .names = "DNS:other.example" });
    p->server_ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(p->server_ctx);
    pair_show(p, other, NULL);
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "ostname mismatch", NULL);
    pair_end(p);
    SSL_CTX_free(p->server_ctx);
    p->server_ctx = old;
    cert_free(other);
}

static void verifies_whom_it_does_not_resume(void **state) { for_both_versions(*state, try_impostor); }

/* A session that goes wrong is not tried again. */
static void try_trouble(struct pair *p) {
    SSL_CTX_set_num_tickets(p->server_ctx, 1);
    assert_false(resumes(p));
    p->flip_at = 60; /* in the server's hello or behind it */
    assert_int_equal(pair_begin(p), 0);
    pair_run(p);
    assert_int_not_equal(p->done, 1);
    pair_end(p);
    p->flip_at = SIZE_MAX;
    assert_false(resumes(p));
    assert_true(resumes(p));
}

static void forgets_a_session_that_makes_trouble(void **state) { for_both_versions(*state, try_trouble); }

/* A link that was cut, even without close_notify, leaves its session; one with a forged record does not matter to it either. */
static void keeps_the_session_of_a_cut_link(void **state) {
    struct pair *p = *state;
    pair_open(p);
    pair_server_says(p, "y", 1);
    pair_run(p);
    pair_end(p);
    assert_true(resumes(p));
}

/* One that could be resumed with what the client no longer allows is not. */
static void the_options_bind_resumed_links_as_well(void **state) {
    struct pair *p = *state;
    use_version(p, TLS1_2_VERSION);
    assert_false(resumes(p));
    use_version(p, TLS1_3_VERSION);
    assert_false(resumes(p));
    assert_true(resumes(p));
    use_version(p, TLS1_2_VERSION);
    assert_false(resumes(p));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(resumes_links),
        TEST(resumes_by_number),
        TEST(resumes_nothing_when_told_not_to),
        TEST(offers_sessions_to_the_same_name_only),
        TEST(shakes_hands_in_full_with_another_server),
        TEST(verifies_whom_it_does_not_resume),
        TEST(forgets_a_session_that_makes_trouble),
        TEST(keeps_the_session_of_a_cut_link),
        TEST(the_options_bind_resumed_links_as_well),
    };
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
