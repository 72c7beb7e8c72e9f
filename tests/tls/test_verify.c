/* Whom the filter believes, and what it says of those that it does not. The long table of bad certificates is tests/badpeers. */
#include "pair.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY_S 86400L

/* Show such a leaf, and be refused. */
static const lago_reason_t *refused(struct pair *p, struct cert_options options) {
    if (!options.issuer) options.issuer = pair_ca;
    struct cert *leaf = cert_new(&options);
    pair_show(p, leaf, NULL);
    const lago_reason_t *reason = pair_refused(p);
    cert_free(leaf);
    return reason;
}

static void refuses_a_wrong_name(void **state) {
    struct pair *p = *state;
    const lago_reason_t *reason = refused(p, (struct cert_options){ .subject = "other", .names = "DNS:other.example" });
    pair_expect(reason, LAGO_ECERTIFICATE, "(" PAIR_NAME ")", "set server_name to one");
    pair_expect(reason, LAGO_ECERTIFICATE, "subject CN=other, issuer CN=good authority, 2", NULL);
    assert_int_equal(reason->tls_verify_result, X509_V_ERR_HOSTNAME_MISMATCH);
    assert_true(reason->tls_error != 0);
    assert_true(p->server_ended); /* it has got an alert */
    pair_end(p);
    pair_forget_context(p);
    p->host = "127.0.0.2";
    pair_show(p, pair_leaf, NULL);
    reason = pair_refused(p);
    pair_expect(reason, LAGO_ECERTIFICATE, "(127.0.0.2)", "set server_name to one");
    assert_int_equal(reason->tls_verify_result, X509_V_ERR_IP_ADDRESS_MISMATCH);
}

/* The days as the certificate says them. */
static void says_the_dates(void **state) {
    struct pair *p = *state;
    char days[64];
    time_t from = time(NULL) - 3 * DAY_S, to = time(NULL) - 2 * DAY_S;
    strftime(days, 16, "%Y-%m-%d to ", gmtime(&from));
    strftime(days + strlen(days), 16, "%Y-%m-%d", gmtime(&to));
    const lago_reason_t *reason =
        refused(p, (struct cert_options){ .names = "DNS:" PAIR_NAME, .from_s = -3 * DAY_S, .to_s = -2 * DAY_S });
    pair_expect(reason, LAGO_ECERTIFICATE, "certificate has expired: subject CN=test", "this machine's clock");
    pair_expect(reason, LAGO_ECERTIFICATE, days, NULL);
}

/* It may be another one than the peer's own that is bad: that one is named. */
static void names_the_certificate_that_is_bad(void **state) {
    struct pair *p = *state;
    struct cert *between =
        cert_new(&(struct cert_options){ .subject = "between", .issuer = pair_ca, .is_ca = true, .to_s = -DAY_S / 2 });
    struct cert *leaf = cert_new(&(struct cert_options){ .subject = "leaf", .issuer = between, .names = "DNS:" PAIR_NAME });
    pair_show(p, leaf, between);
    const lago_reason_t *reason = pair_refused(p);
    pair_expect(reason, LAGO_ECERTIFICATE, "certificate has expired; in its chain: subject CN=between, issuer CN=good", "renew");
    assert_null(strstr(reason->detail, "leaf"));
    cert_free(leaf);
    cert_free(between);
}

static void escapes_and_cuts_what_the_peer_says(void **state) {
    struct pair *p = *state;
    char subject[65] = "evil\r\n\033[2Jname \"";
    const lago_reason_t *reason = refused(p, (struct cert_options){ .subject = subject });
    for (const char *c = reason->detail; *c; c++) assert_in_range(*c, ' ', '~');
    pair_expect(reason, LAGO_ECERTIFICATE, "subject CN=evil", NULL);
    pair_end(p);
    memset(subject, 'x', 64);
    reason = refused(p, (struct cert_options){ .subject = subject });
    pair_expect(reason, LAGO_ECERTIFICATE, "xxxx..., issuer CN=good authority", NULL);
}

static void refuses_strangers(void **state) {
    struct pair *p = *state;
    pair_expect(refused(p, (struct cert_options){ .issuer = pair_stranger_ca, .names = "DNS:" PAIR_NAME }), LAGO_ECERTIFICATE,
                "unable to get local issuer certificate: subject CN=test, issuer CN=stranger", "ca_file");
    pair_end(p);
    struct cert *alone = cert_new(&(struct cert_options){ .names = "DNS:" PAIR_NAME });
    pair_show(p, alone, NULL);
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "self-signed certificate", "ca_file");
    cert_free(alone);
}

/* One that is trusted by itself needs no authority. */
static void believes_a_certificate_that_is_given(void **state) {
    struct pair *p = *state;
    struct cert *alone = cert_new(&(struct cert_options){ .names = "DNS:" PAIR_NAME });
    char *pem = cert_pem((const struct cert *const[]){ alone }, 1);
    p->options.ca_pem = (lago_bytes_t){ pem, strlen(pem) };
    pair_show(p, alone, NULL);
    pair_open(p);
    free(pem);
    cert_free(alone);
}

static void believes_names_and_addresses(void **state) {
    struct pair *p = *state;
    static const char *const hosts[] = { PAIR_NAME, "BROKER.example",  PAIR_NAME ".", "127.0.0.1",
                                         "::1",     "0:0:0:0:0:0:0:1", "::1%lo" };
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        p->host = hosts[i];
        pair_open(p);
        pair_end(p);
    }
}

/* To OpenSSL ".example" would be any name below it, and "" none at all. */
static void refuses_hosts_that_are_no_names(void **state) {
    struct pair *p = *state;
    char longest[257];
    memset(longest, 'a', 256);
    longest[256] = '\0';
    const char *const hosts[] = { "", ".", ".example", "." PAIR_NAME, longest, "%lo", ":%" };
    for (size_t i = 0; i < 5; i++) {
        p->host = hosts[i];
        assert_int_equal(pair_begin(p), LAGO_EPARAMETER);
        assert_null(p->filter);
        pair_expect(&p->reason, LAGO_EPARAMETER, "no name that a certificate could have", "server_name");
        assert_int_equal(p->reason.phase, LAGO_PHASE_TLS);
    }
    longest[255] = '\0';
    for (size_t i = 4; i < 7; i++) {
        p->host = hosts[i];
        pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "", NULL);
        pair_end(p);
    }
}

/* Without verification anybody is believed, but for somebody without a certificate. */
static void believes_anybody_when_told_so(void **state) {
    struct pair *p = *state;
    struct cert *alone = cert_new(&(struct cert_options){ .subject = "anybody", .to_s = -DAY_S / 2 });
    p->options.insecure_skip_verification = true;
    pair_show(p, alone, NULL);
    pair_open(p);
    assert_string_equal(p->server_name, PAIR_NAME);
    cert_free(alone);
    pair_end(p);
    SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(p->server_ctx, "aNULL@SECLEVEL=0"), 1);
    SSL_CTX_set_dh_auto(p->server_ctx, 1);
    pair_expect(pair_refused(p), LAGO_ETLS, "handshake failure", NULL);
}

/* Addresses and paths are no names to ask for (RFC 6066, 3), and nobody looks at those in the certificate. */
static void believes_anybody_anywhere_when_told_so(void **state) {
    static const char *const hosts[] = { "127.0.0.1", "::1", "/run/amqp.sock" };
    struct pair *p = *state;
    struct cert *alone = cert_new(&(struct cert_options){ .subject = "anybody" });
    p->options.insecure_skip_verification = true;
    pair_show(p, alone, NULL);
    for (size_t i = 0; i < 3; i++) {
        p->host = hosts[i];
        pair_open(p);
        assert_string_equal(p->server_name, "");
        assert_false(tls_filter_is_verified(p->filter));
        pair_end(p);
    }
    cert_free(alone);
}

/* ---------------------------------------------------------------- links of the application's own */

static SSL_CTX *shared_ctx;

static int remember(SSL_CTX *ctx, void *data) {
    (void)data;
    shared_ctx = ctx;
    return 0;
}

/* @return whether they have shaken hands. */
static bool shake_hands_with(SSL_CTX *client_ctx, SSL_CTX *server_ctx) {
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    BIO *near_end, *far_end;
    char byte;
    assert_int_equal(BIO_new_bio_pair(&near_end, 0, &far_end, 0), 1);
    SSL_set_bio(client, near_end, near_end);
    SSL_set_bio(server, far_end, far_end);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int i = 0; i < 20; i++) { /* with the tickets behind it */
        (void)SSL_read(client, &byte, 1);
        (void)SSL_read(server, &byte, 1);
    }
    bool good = SSL_is_init_finished(client) && SSL_is_init_finished(server);
    SSL_free(client);
    SSL_free(server);
    ERR_clear_error();
    return good;
}

static long size_of(const char *path) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    fclose(file);
    return size;
}

/* `configure` is given the SSL_CTX itself: what is made of it elsewhere is verified by it, and else nothing to lago. */
static void links_of_others_on_its_context(void **state) {
    struct pair *p = *state;
    char path[] = "/tmp/lago-keys-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    p->options.configure = remember;
    p->options.key_log_file = path;
    pair_open(p);
    long size = size_of(path);
    assert_true(size > 0);
    assert_true(shake_hands_with(shared_ctx, p->server_ctx));
    struct cert *stranger = cert_new(&(struct cert_options){ .issuer = pair_stranger_ca, .names = "DNS:" PAIR_NAME });
    pair_show(p, stranger, NULL);
    assert_false(shake_hands_with(shared_ctx, p->server_ctx));
    pair_show(p, pair_leaf, NULL);
    assert_int_equal(size_of(path), size);
    pair_end(p);
    pair_open(p);
    assert_true(tls_filter_is_resumed(p->filter)); /* by its own session */
    assert_int_equal(unlink(path), 0);
    cert_free(stranger);
}

/* ---------------------------------------------------------------- a lenient hook */

static int forgive(int good, X509_STORE_CTX *store) {
    (void)good;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static int overlook(int good, X509_STORE_CTX *store) {
    (void)good;
    (void)store;
    return 1;
}

static int approve(X509_STORE_CTX *store, void *data) {
    (void)store;
    (void)data;
    return 1;
}

static int set_verify(SSL_CTX *ctx, void *data) {
    SSL_verify_cb *verify = data;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, *verify);
    return 0;
}

static int set_none(SSL_CTX *ctx, void *data) {
    (void)data;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    return 0;
}

static int set_approve(SSL_CTX *ctx, void *data) {
    (void)data;
    SSL_CTX_set_cert_verify_callback(ctx, approve, NULL);
    return 0;
}

static int set_anonymous(SSL_CTX *ctx, void *data) {
    (void)data;
    return SSL_CTX_set_cipher_list(ctx, "aNULL@SECLEVEL=0") ? 0 : 1;
}

/* A hook of the user's may trust who it likes, but the name is lago's, and so is a verdict that it did not change. */
static void a_lenient_hook_does_not_weaken_the_name(void **state) {
    struct pair *p = *state;
    static SSL_verify_cb callbacks[] = { forgive, overlook };
    struct cert *other = cert_new(&(struct cert_options){ .issuer = pair_ca, .names = "DNS:other.example" });
    const struct {
        lago_tls_configure_cb configure;
        SSL_verify_cb *data;
    } hooks[] = { { set_verify, &callbacks[0] }, { set_verify, &callbacks[1] }, { set_none, NULL }, { set_approve, NULL } };
    pair_show(p, other, NULL);
    for (size_t version = 0; version < 2; version++) {
        SSL_CTX_set_max_proto_version(p->server_ctx, version ? TLS1_2_VERSION : 0);
        for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++) {
            p->options.configure = hooks[i].configure;
            p->options.configure_data = hooks[i].data;
            for (int again = 0; again < 2; again++) { /* nor by a session of the first time */
                const lago_reason_t *reason = pair_refused(p);
                pair_expect(reason, LAGO_ECERTIFICATE, "ostname mismatch (" PAIR_NAME ")", "set server_name");
                assert_int_equal(reason->tls_verify_result, X509_V_ERR_HOSTNAME_MISMATCH);
                pair_end(p);
            }
            pair_forget_context(p);
        }
    }
    cert_free(other);
}

static void a_lenient_hook_may_trust_strangers(void **state) {
    struct pair *p = *state;
    static SSL_verify_cb callbacks[] = { forgive, overlook };
    struct cert *stranger = cert_new(&(struct cert_options){ .issuer = pair_stranger_ca, .names = "DNS:" PAIR_NAME });
    pair_show(p, stranger, NULL);
    p->options.configure = set_verify;
    p->options.configure_data = &callbacks[0];
    pair_open(p);
    pair_end(p);
    pair_forget_context(p);
    p->options.configure_data = &callbacks[1]; /* goes on, but the verdict stays */
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "unable to", NULL);
    cert_free(stranger);
}

static void nobody_is_anonymous(void **state) {
    struct pair *p = *state;
    SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(p->server_ctx, "aNULL@SECLEVEL=0"), 1);
    SSL_CTX_set_dh_auto(p->server_ctx, 1);
    p->options.configure = set_anonymous;
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "the peer shows no certificate", "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(refuses_a_wrong_name),
        TEST(says_the_dates),
        TEST(names_the_certificate_that_is_bad),
        TEST(escapes_and_cuts_what_the_peer_says),
        TEST(refuses_strangers),
        TEST(believes_a_certificate_that_is_given),
        TEST(believes_names_and_addresses),
        TEST(refuses_hosts_that_are_no_names),
        TEST(believes_anybody_when_told_so),
        TEST(believes_anybody_anywhere_when_told_so),
        TEST(links_of_others_on_its_context),
        TEST(a_lenient_hook_does_not_weaken_the_name),
        TEST(a_lenient_hook_may_trust_strangers),
        TEST(nobody_is_anonymous),
    };
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
