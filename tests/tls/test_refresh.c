/* Files that change while a connection lives: certificates are renewed every few weeks, and nobody restarts for that. */
#include "pair.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/lago-tls-XXXXXX";

static int make_directory(void **state) {
    assert_non_null(mkdtemp(directory));
    return pair_make_certs(state);
}

static int remove_directory(void **state) {
    rmdir(directory);
    return pair_free_certs(state);
}

/* A new file in the place of the old one, as tools do it; `in_place`: the same file. */
static void replace(const char *path, const char *text, bool in_place) {
    char *fresh = cert_file(directory, "fresh", text);
    if (in_place) {
        struct stat before, after;
        assert_int_equal(stat(path, &before), 0);
        do { /* a file system's clock is coarse */
            free(cert_file(directory, strrchr(path, '/') + 1, text));
            assert_int_equal(stat(path, &after), 0);
        } while (before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
        unlink(fresh);
    } else {
        assert_int_equal(rename(fresh, path), 0);
    }
    free(fresh);
}

static void expect_refreshed(struct pair *p, bool opens) {
    assert_int_equal(tls_context_refresh(p->context, &p->reason), 0);
    if (opens)
        pair_open(p);
    else
        pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "unable to get local issuer", NULL);
    pair_end(p);
}

static void reads_changed_files(void **state) {
    struct pair *p = *state;
    char *ca = cert_file(directory, "ca.pem", pair_stranger_pem);
    p->options.ca_file = ca;
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "unable to get local issuer", NULL);
    pair_end(p);
    expect_refreshed(p, false);
    replace(ca, pair_ca_pem, false);
    expect_refreshed(p, true);
    replace(ca, pair_stranger_pem, true);
    expect_refreshed(p, false);
    replace(ca, pair_ca_pem, true);
    expect_refreshed(p, true);
    unlink(ca);
    free(ca);
}

static SSL_CTX *configured;

static int remember(SSL_CTX *ctx, void *data) {
    unsigned *count = data;
    ++*count;
    configured = ctx;
    return 0;
}

/* And only then: reading them and asking for passphrases is not free. */
static void leaves_alone_what_has_not_changed(void **state) {
    struct pair *p = *state;
    unsigned count = 0;
    char *ca = cert_file(directory, "ca.pem", pair_ca_pem);
    p->options = (lago_tls_options_t){ .ca_file = ca, .configure = remember, .configure_data = &count };
    for (int i = 0; i < 5; i++) {
        pair_open(p);
        pair_end(p);
        assert_int_equal(tls_context_refresh(p->context, &p->reason), 0);
    }
    assert_int_equal(count, 1);
    replace(ca, pair_ca_pem, false);
    assert_int_equal(tls_context_refresh(p->context, &p->reason), 0);
    assert_int_equal(count, 2);
    assert_int_equal(tls_context_refresh(p->context, &p->reason), 0);
    assert_int_equal(count, 2);
    unlink(ca);
    free(ca);
}

/* Half a renewal: the attempt fails and says why, the next one looks again. */
static void says_what_is_wrong_with_the_new_ones(void **state) {
    struct pair *p = *state;
    struct cert_options options = { .issuer = pair_ca, .usage = "clientAuth" };
    struct cert *old = cert_new(&options), *fresh = cert_new(&options);
    char *old_pem = cert_pem((const struct cert *const[]){ old }, 1), *old_key = cert_key_pem(old, NULL);
    char *fresh_pem = cert_pem((const struct cert *const[]){ fresh }, 1), *fresh_key = cert_key_pem(fresh, NULL);
    char *certificate = cert_file(directory, "client.pem", old_pem), *key = cert_file(directory, "client.key", old_key);
    p->options.certificate_file = certificate;
    p->options.key_file = key;
    pair_open(p);
    pair_end(p);
    replace(certificate, fresh_pem, false);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tls_context_refresh(p->context, &p->reason), LAGO_EPARAMETER);
        pair_expect(&p->reason, LAGO_EPARAMETER, "tls.key_file: key values mismatch", "not that of the certificate");
    }
    replace(key, fresh_key, false);
    expect_refreshed(p, true);
    unlink(key);
    assert_int_equal(tls_context_refresh(p->context, &p->reason), LAGO_EPARAMETER);
    pair_expect(&p->reason, LAGO_EPARAMETER, "tls.key_file: No such file", NULL);
    unlink(certificate);
    char *texts[] = { old_pem, old_key, fresh_pem, fresh_key, certificate, key };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) free(texts[i]);
    cert_free(old);
    cert_free(fresh);
}

/* A link that lives is not touched; and neither its session nor its tickets that still come are for links under the new rules. */
static void links_that_live_go_on(void **state) {
    struct pair *p = *state;
    char *ca = cert_file(directory, "ca.pem", pair_ca_pem);
    p->options.ca_file = ca;
    pair_open(p);
    replace(ca, pair_stranger_pem, false);
    assert_int_equal(tls_context_refresh(p->context, &p->reason), 0);
    assert_int_equal(SSL_new_session_ticket(p->server), 1);
    pair_server_says(p, "still here", 10);
    pair_run(p);
    assert_int_equal(p->heard.size, 10);
    pair_say(p, "me too", 6);
    assert_int_equal(p->server_heard.size, 6);
    pair_end(p);
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "unable to get local issuer", NULL);
    unlink(ca);
    free(ca);
}

static void a_list_revokes_from_now_on(void **state) {
    struct pair *p = *state;
    char *before = cert_crl_pem(pair_ca, NULL, 3600), *after = cert_crl_pem(pair_ca, pair_leaf, 3600);
    char *crl = cert_file(directory, "crl.pem", before);
    p->options.crl_file = crl;
    pair_open(p);
    pair_server_says(p, "x", 1);
    pair_run(p);
    pair_end(p);
    replace(crl, after, false);
    assert_int_equal(tls_context_refresh(p->context, &p->reason), 0);
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "certificate revoked", "do not trust");
    unlink(crl);
    free(crl);
    free(before);
    free(after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_changed_files),   TEST(leaves_alone_what_has_not_changed), TEST(says_what_is_wrong_with_the_new_ones),
        TEST(links_that_live_go_on), TEST(a_list_revokes_from_now_on),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
