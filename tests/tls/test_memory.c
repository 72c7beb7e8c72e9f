/* No memory, at each allocation in turn: lago's own, and OpenSSL's, which has them all from here. */
#include "pair.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- OpenSSL's memory */

static size_t openssl_calls, openssl_fail_at;

/* Not quite each, for the sake of valgrind: each but for the stranger's kind; of a handshake every third. */
#define BEGIN_STEP     2
#define HANDSHAKE_STEP 6

static bool fails(void) { return ++openssl_calls == openssl_fail_at; }

static void *openssl_malloc(size_t size, const char *file, int line) {
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(size);
}

static void *openssl_realloc(void *pointer, size_t size, const char *file, int line) {
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(pointer, size);
}

static void openssl_free(void *pointer, const char *file, int line) {
    (void)file;
    (void)line;
    free(pointer);
}

static void openssl_fail(size_t n) {
    openssl_calls = 0;
    openssl_fail_at = n;
}

/* ---------------------------------------------------------------- a life */

/* The parts of the client only; whatever fails is final and said. */
static int live(struct pair *p) {
    int rc = tls_context_new(&p->memory.allocator, &p->options, &p->context, &p->reason);
    if (rc == 0) rc = tls_filter_new(p->context, p->host, &p->filter, &p->reason);
    return rc;
}

static void fails_to_begin(struct pair *p, int rc) {
    assert_null(p->filter);
    if (rc == LAGO_ENOMEM) return;
    /* OpenSSL does not always say that it was for want of memory */
    assert_true(rc == LAGO_EPARAMETER || rc == LAGO_ETLS);
    assert_string_not_equal(p->reason.detail, "");
}

static void begin_fails_at_each(void **state) {
    struct pair *p = *state;
    p->options.ca_pem = (lago_bytes_t){ pair_ca_pem, strlen(pair_ca_pem) };
    p->options.ciphers = "HIGH"; /* copied */
    int rc = LAGO_ENOMEM;
    size_t n = 0;
    for (; rc < 0; n++) {
        fail_alloc_at(&p->memory, n + 1, false);
        rc = live(p);
        fail_alloc_at(&p->memory, 0, false);
        if (rc == 0) break;
        assert_int_equal(rc, LAGO_ENOMEM);
        assert_null(p->filter);
        pair_forget_context(p);
        fail_alloc_check(&p->memory);
    }
    assert_in_range(n, 2, 10);
}

static void set_some_options(struct pair *p) {
    p->options.ca_pem = (lago_bytes_t){ pair_ca_pem, strlen(pair_ca_pem) };
    p->options.ciphers = "HIGH";
    p->options.alpn = "amqp";
}

/* A context and a filter that were made of half of what they asked for believe a stranger as little as whole ones. */
static void expect_suspicion(struct pair *p) {
    struct tls_filter *filter = p->filter;
    p->filter = NULL;
    assert_int_equal(pair_begin(p), 0);
    tls_filter_free(p->filter);
    p->filter = filter;
    pair_run(p);
    assert_int_equal(p->done, TLS_FAILED);
    assert_string_not_equal(tls_filter_reason(p->filter)->detail, "");
}

static void openssl_fails_to_begin_at(struct pair *p, size_t n) {
    openssl_fail(n);
    int rc = live(p);
    openssl_fail(0);
    if (rc == 0)
        expect_suspicion(p); /* it could do without */
    else
        fails_to_begin(p, rc);
    pair_end(p);
    pair_forget_context(p);
    fail_alloc_check(&p->memory);
}

/* How many allocations it has when all is well. */
static size_t count_openssl(struct pair *p, int (*what)(struct pair *p)) {
    openssl_fail(0);
    (void)what(p);
    size_t count = openssl_calls;
    pair_end(p);
    pair_forget_context(p);
    return count;
}

/* Of another name, of another authority; their keys are of the kind of pair_leaf's, so that the server has nobody else to show. */
static struct cert *stranger(unsigned n) {
    return cert_new(&(struct cert_options){
        .issuer = n ? pair_ca : pair_stranger_ca, .names = n ? "DNS:other.example" : "DNS:" PAIR_NAME, .key = CERT_ED25519 });
}

static void openssl_fails_to_begin_at_each(void **state) {
    struct pair *p = *state;
    set_some_options(p);
    for (unsigned i = 0; i < 2; i++) {
        struct cert *leaf = stranger(i);
        pair_show(p, leaf, NULL);
        (void)count_openssl(p, live); /* what OpenSSL makes once */
        size_t count = count_openssl(p, live);
        assert_true(count > 50);
        for (size_t n = 1 + i; n <= count; n += BEGIN_STEP) openssl_fails_to_begin_at(p, n);
        cert_free(leaf);
    }
}

static int meet(struct pair *p) {
    (void)pair_begin(p);
    openssl_calls = 0; /* this is about the handshake */
    pair_run(p);
    return 0;
}

/* Nobody is believed by mistake in a handshake without memory either, on whichever side that was. */
static void openssl_fails_to_shake_hands_at_each(void **state) {
    struct pair *p = *state;
    for (unsigned i = 0; i < 2; i++) {
        struct cert *leaf = stranger(i);
        pair_show(p, leaf, NULL);
        (void)count_openssl(p, meet);
        size_t count = count_openssl(p, meet);
        assert_true(count > 100);
        for (size_t n = 1 + 3 * i; n <= count; n += HANDSHAKE_STEP) {
            assert_int_equal(pair_begin(p), 0);
            openssl_fail(n);
            pair_run(p);
            openssl_fail(0);
            assert_int_not_equal(p->done, 1);
            pair_end(p);
        }
        pair_forget_context(p);
        cert_free(leaf);
    }
}

/* ---------------------------------------------------------------- a link */

static void expect_no_memory(struct pair *p) {
    const lago_reason_t *reason = tls_filter_reason(p->filter);
    assert_non_null(reason);
    assert_int_equal(reason->code, LAGO_ENOMEM);
}

/* A handshake and data, of which one allocation fails. @return whether it worked all the same. */
static bool talks(struct pair *p) {
    static uint8_t data[40000];
    struct slice slice = { data, sizeof data };
    pair_run(p);
    int64_t taken = p->done == 1 ? tls_filter_write(p->filter, &slice, 1) : 0;
    if (p->done == 1 && taken < (int64_t)sizeof data) assert_int_equal(tls_filter_write(p->filter, &slice, 1), TLS_FAILED);
    pair_run(p);
    /* what was not taken must not have left: its sender would send it again */
    assert_int_equal(p->server_heard.size, taken < 0 ? 0 : taken);
    if (!tls_filter_reason(p->filter)) tls_filter_close(p->filter);
    pair_run(p);
    return !tls_filter_reason(p->filter) && p->server_heard.size == sizeof data;
}

static void a_link_fails_at_each(void **state) {
    struct pair *p = *state;
    size_t n = 1;
    p->options.no_session_resumption = true;
    for (;; n++) {
        assert_int_equal(pair_begin(p), 0);
        fail_alloc_at(&p->memory, n, false);
        bool good = talks(p);
        fail_alloc_at(&p->memory, 0, false);
        if (good) break;
        if (!SSL_get_shutdown(p->server)) expect_no_memory(p);
        pair_end(p);
    }
    assert_true(n > 4);
}

/* What comes may need an answer: a warning at once, a key update before the next data. */
static void answers_need_memory(void **state) {
    struct pair *p = *state;
    static const struct slice slice = { (const uint8_t *)"x", 1 };
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX_set_max_proto_version(p->server_ctx, version);
        pair_open(p);
        int asked = version == TLS1_2_VERSION ? SSL_renegotiate(p->server) : SSL_key_update(p->server, SSL_KEY_UPDATE_REQUESTED);
        assert_int_equal(asked, 1);
        assert_int_equal(SSL_do_handshake(p->server), 1);
        fail_alloc_at(&p->memory, 1, true);
        pair_run(p);
        if (version == TLS1_2_VERSION)
            assert_int_equal(p->end, TLS_FAILED);
        else
            assert_int_equal(tls_filter_write(p->filter, &slice, 1), TLS_FAILED);
        fail_alloc_at(&p->memory, 0, false);
        expect_no_memory(p);
        assert_int_equal(tls_filter_output_size(p->filter), 0);
        pair_end(p);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(begin_fails_at_each),
        TEST(openssl_fails_to_begin_at_each),
        TEST(openssl_fails_to_shake_hands_at_each),
        TEST(a_link_fails_at_each),
        TEST(answers_need_memory),
    };
    if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free)) return 1;
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
