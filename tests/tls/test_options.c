/* The options: each mistake in its own words before any I/O; keys and passphrases; and that nothing is ever asked on a terminal. */
#include "pair.h"
#include "tls_context.h"
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/lago-tls-XXXXXX";
static struct cert *client, *other_client, *weak_client;
static char *client_pem, *client_key, *client_both, *encrypted_key, *other_key, *weak_pem, *weak_key;
static char *text_file, *empty_file, *client_file, *key_file, *both_file, *missing_file;

static char *joined(const char *a, const char *b) {
    char *text = malloc(strlen(a) + strlen(b) + 1);
    assert_non_null(text);
    return strcat(strcpy(text, a), b);
}

static int make_files(void **state) {
    pair_make_certs(state);
    assert_non_null(mkdtemp(directory));
    struct cert_options options = { .subject = "client", .issuer = pair_ca, .usage = "clientAuth" };
    client = cert_new(&options);
    other_client = cert_new(&options);
    options.key = CERT_RSA_1024;
    weak_client = cert_new(&options);
    client_pem = cert_pem((const struct cert *const[]){ client, pair_ca }, 2);
    weak_pem = cert_pem((const struct cert *const[]){ weak_client }, 1);
    client_key = cert_key_pem(client, NULL);
    other_key = cert_key_pem(other_client, NULL);
    weak_key = cert_key_pem(weak_client, NULL);
    encrypted_key = cert_key_pem(client, "open sesame");
    client_both = joined(client_key, client_pem);
    text_file = cert_file(directory, "text", "no PEM at all\n");
    empty_file = cert_file(directory, "empty", "");
    client_file = cert_file(directory, "client.pem", client_pem);
    key_file = cert_file(directory, "client.key", client_key);
    both_file = cert_file(directory, "both.pem", client_both);
    missing_file = joined(directory, "/missing");
    return 0;
}

static int remove_files(void **state) {
    char *files[] = { text_file, empty_file, client_file, key_file, both_file };
    char *texts[] = { client_pem, weak_pem, client_key, other_key, weak_key, encrypted_key, client_both, missing_file };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        unlink(files[i]);
        free(files[i]);
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) free(texts[i]);
    rmdir(directory);
    cert_free(client);
    cert_free(other_client);
    cert_free(weak_client);
    return pair_free_certs(state);
}

static lago_bytes_t bytes(const char *text) { return (lago_bytes_t){ text, strlen(text) }; }

/* Refused at once, and nothing is left. */
static void expect_refusal(const lago_tls_options_t *options, const char *words, const char *hint) {
    struct fail_alloc memory;
    struct tls_context *context;
    lago_reason_t reason = { 0 };
    fail_alloc_init(&memory);
    int rc = tls_context_new(&memory.allocator, options, &context, &reason);
    if (rc != LAGO_EPARAMETER) fail_msg("%d instead of: %s", rc, words);
    assert_null(context);
    pair_expect(&reason, LAGO_EPARAMETER, words, hint);
    assert_int_equal(strncmp(reason.detail, "tls.", 4), 0);
    assert_int_equal(reason.phase, LAGO_PHASE_TLS);
    fail_alloc_check(&memory);
}

static void refuses_bad_options(void **state) {
    (void)state;
    char alpn[257];
    memset(alpn, 'a', 256);
    alpn[256] = '\0';
    const struct {
        lago_tls_options_t options;
        const char *words, *hint;
    } rows[] = {
        { { .server_name = "" }, "tls.server_name: empty", "NULL for the host's" },
        { { .server_name = "." }, "tls.server_name: no name", NULL },
        { { .server_name = ".example" }, "tls.server_name: no name", NULL },
        { { .server_name = "broker", .insecure_skip_verification = true }, "tls.server_name: a name that would", "leave it out" },
        { { .ca_file = missing_file }, "tls.ca_file: No such file", "PEM" },
        { { .ca_file = text_file }, "tls.ca_file: no certificate or crl found", "PEM" },
        { { .ca_file = empty_file }, "tls.ca_file: no certificate or crl found", "PEM" },
        { { .ca_file = directory }, "tls.ca_file: ", "PEM" },
        { { .ca_directory = missing_file }, "tls.ca_directory: there is no such directory", "c_rehash" },
        { { .ca_directory = text_file }, "tls.ca_directory: there is no such directory", "c_rehash" },
        { { .ca_pem = bytes("nothing") }, "tls.ca_pem: no start line", "PEM" },
        { { .ca_pem = bytes("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") }, "tls.ca_pem: ", "PEM" },
        { { .ca_pem = bytes("-----BEGIN CERTIFICATE-----\nAAAA\n") }, "tls.ca_pem: bad end line", "PEM" },
        { { .certificate_file = missing_file }, "tls.certificate_file: No such file", "PEM" },
        { { .certificate_file = text_file }, "tls.certificate_file: no start line", "PEM" },
        { { .certificate_file = key_file, .key_file = key_file }, "tls.certificate_file: no start line", "PEM" },
        { { .certificate_pem = bytes("x"), .key_file = key_file }, "tls.certificate_pem: no start line", "PEM" },
        { { .certificate_file = client_file }, "tls.certificate_file: ", "PEM key" },
        { { .certificate_file = client_file, .key_file = missing_file }, "tls.key_file: No such file", "PEM key" },
        { { .certificate_file = client_file, .key_file = text_file }, "tls.key_file: ", "PEM key" },
        { { .certificate_file = client_file, .key_pem = bytes("x") }, "tls.key_pem: ", "PEM key" },
        { { .certificate_file = client_file, .key_pem = bytes(other_key) }, "tls.key_pem: key values mismatch", "key" },
        { { .certificate_pem = bytes(weak_pem), .key_pem = bytes(weak_key) }, "tls.certificate_pem: ee key too small", NULL },
        { { .key_file = key_file }, "tls.key_file: a key without a certificate", NULL },
        { { .key_pem = bytes(client_key) }, "tls.key_pem: a key without a certificate", NULL },
        { { .crl_file = missing_file, .ca_pem = bytes(pair_ca_pem) }, "tls.crl_file: No such file", "revocation" },
        { { .crl_file = text_file, .ca_pem = bytes(pair_ca_pem) }, "tls.crl_file: ", "revocation" },
        { { .crl_file = client_file, .ca_pem = bytes(pair_ca_pem) }, "tls.crl_file: ", "revocation" },
        { { .ciphers = "" }, "tls.ciphers: no cipher match", NULL },
        { { .ciphers = "nonsense" }, "tls.ciphers: no cipher match", NULL },
        { { .ciphers = "aNULL" }, "tls.ciphers: no cipher match", NULL },
        { { .ciphersuites = "nonsense" }, "tls.ciphersuites: ", NULL },
        { { .min_version = LAGO_TLS_1_3, .max_version = LAGO_TLS_1_2 }, "tls.max_version: below min_version", NULL },
        { { .alpn = "" }, "tls.alpn: empty", NULL },
        { { .alpn = alpn }, "tls.alpn: empty, or longer than 255 bytes", NULL },
        { { .key_log_file = directory }, "tls.key_log_file: cannot be opened for appending", NULL },
        { { .reserved = { 0, 0, 1 } }, "tls.reserved: not zero", "{0}" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) expect_refusal(&rows[i].options, rows[i].words, rows[i].hint);
}

/* The system's store, a directory as c_rehash makes it, memory: what is trusted adds up. */
static void trusts_from_everywhere(void **state) {
    struct pair *p = *state;
    char link[64];
    char *ca_file = cert_file(directory, "ca.pem", pair_ca_pem);
    char *stranger_file = cert_file(directory, "stranger.pem", pair_stranger_pem);
    snprintf(link, sizeof link, "%s/%08lx.0", directory,
             X509_NAME_hash_ex(X509_get_subject_name(pair_ca->x509), NULL, NULL, NULL));
    assert_int_equal(symlink("ca.pem", link), 0);
    const lago_tls_options_t trusting[] = {
        { .ca_file = ca_file },
        { .ca_directory = directory },
        { .ca_pem = bytes(pair_ca_pem) },
        { .ca_file = stranger_file, .ca_pem = bytes(pair_ca_pem) },
        { .ca_file = stranger_file, .ca_directory = directory },
        { .ca_file = ca_file, .ca_pem = bytes(pair_stranger_pem) },
    };
    for (size_t i = 0; i < sizeof trusting / sizeof trusting[0]; i++) {
        p->options = trusting[i];
        pair_open(p);
        pair_end(p);
        pair_forget_context(p);
    }
    unlink(link);
    for (int i = 0; i < 2; i++) { /* an empty directory; another authority */
        p->options = i ? (lago_tls_options_t){ .ca_file = stranger_file } : (lago_tls_options_t){ .ca_directory = directory };
        pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "unable to get local issuer", "ca_file");
        pair_end(p);
        pair_forget_context(p);
    }
    unlink(ca_file);
    unlink(stranger_file);
    free(ca_file);
    free(stranger_file);
}

static void the_system_trusts_no_test(void **state) {
    struct pair *p = *state;
    static const lago_tls_options_t none;
    lago_reason_t reason;
    assert_int_equal(tls_context_new(&p->memory.allocator, &none, &p->context, &reason), 0);
    pair_expect(pair_refused(p), LAGO_ECERTIFICATE, "unable to get local issuer", "ca_file");
}

/* ---------------------------------------------------------------- who we are */

static void expect_client(struct pair *p) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(p->server_ctx), pair_ca->x509);
    SSL_CTX_set_verify(p->server_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    pair_open(p);
    assert_int_equal(p->end, 0);
    assert_int_equal(X509_cmp(SSL_get0_peer_certificate(p->server), client->x509), 0);
    assert_int_equal(sk_X509_num(SSL_get0_verified_chain(p->server)), 2);
    pair_end(p);
    pair_forget_context(p);
}

static void shows_a_certificate(void **state) {
    struct pair *p = *state;
    const lago_tls_options_t known[] = {
        { .certificate_file = client_file, .key_file = key_file },
        { .certificate_file = both_file, .key_file = both_file },
        { .certificate_file = both_file },
        { .certificate_pem = bytes(client_pem), .key_pem = bytes(client_key) },
        { .certificate_pem = bytes(client_both) },
        { .certificate_file = client_file, .key_pem = bytes(client_key) },
        { .certificate_pem = bytes(client_pem), .key_file = key_file },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        p->options = known[i];
        expect_client(p);
    }
}

/* ---------------------------------------------------------------- passphrases */

static unsigned asked_count;

static int say(char *buffer, size_t size, void *data) {
    asked_count++;
    assert_int_equal(size, 1024);
    if (!data) return -1;
    memcpy(buffer, data, strlen(data));
    return (int)strlen(data);
}

static int say_too_much(char *buffer, size_t size, void *data) {
    (void)data;
    memset(buffer, 'x', size);
    return (int)size + 1;
}

static void asks_for_passphrases(void **state) {
    struct pair *p = *state;
    static char good[] = "open sesame", bad[] = "open barley", none[] = "";
    lago_tls_options_t options = { .certificate_pem = bytes(client_pem), .key_pem = bytes(encrypted_key), .passphrase_cb = say };
    p->options = options;
    p->options.passphrase_data = good;
    asked_count = 0;
    expect_client(p);
    assert_in_range(asked_count, 1, 3);
    options.passphrase_data = bad;
    expect_refusal(&options, "tls.key_pem: ", "passphrase_cb");
    options.passphrase_data = none;
    expect_refusal(&options, "tls.key_pem: ", "passphrase_cb");
    options.passphrase_data = NULL;
    expect_refusal(&options, "tls.key_pem: ", "passphrase_cb");
    options.passphrase_cb = say_too_much;
    expect_refusal(&options, "tls.key_pem: ", "passphrase_cb");
    options.passphrase_cb = NULL;
    expect_refusal(&options, "tls.key_pem: ", "passphrase_cb");
    p->options = (lago_tls_options_t){ .certificate_pem = bytes(client_pem), .key_pem = bytes(client_key), .passphrase_cb = say };
    asked_count = 0;
    expect_client(p);
    assert_int_equal(asked_count, 0);
}

/* A certificate may be encrypted as well, which nobody does; OpenSSL would ask on the terminal. */
static void never_asks_on_a_terminal(void **state) {
    (void)state;
    char *text, *pem;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_ASN1_write_bio((i2d_of_void *)i2d_X509, PEM_STRING_X509, bio, client->x509, EVP_aes_128_cbc(),
                                        (const unsigned char *)"x", 1, NULL, NULL),
                     1);
    long size = BIO_get_mem_data(bio, &text);
    pem = calloc(1, (size_t)size + 1);
    assert_non_null(pem);
    memcpy(pem, text, (size_t)size);
    BIO_free(bio);
    char *file = cert_file(directory, "encrypted.pem", pem);
    const lago_tls_options_t encrypted[] = {
        { .ca_pem = bytes(pem) },
        { .ca_file = file },
        { .crl_file = file, .ca_pem = bytes(pair_ca_pem) },
        { .certificate_pem = bytes(pem), .key_pem = bytes(client_key) },
        { .certificate_file = file, .key_pem = bytes(client_key) },
    };
    for (size_t i = 0; i < sizeof encrypted / sizeof encrypted[0]; i++) expect_refusal(&encrypted[i], "tls.", "PEM");
    unlink(file);
    free(file);
    free(pem);
}

/* ---------------------------------------------------------------- the hook */

static int configure(SSL_CTX *ctx, void *data) {
    unsigned *count = data;
    ++*count;
    /* it comes last, and sees what the other options have made */
    assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_3_VERSION);
    assert_int_equal(SSL_CTX_get_security_level(ctx), 2);
    assert_int_equal(SSL_CTX_get_verify_mode(ctx), SSL_VERIFY_PEER);
    assert_non_null(SSL_CTX_get0_certificate(ctx));
    assert_int_equal(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256"), 1);
    return 0;
}

static int refuse(SSL_CTX *ctx, void *data) {
    (void)data;
    SSL_CTX_set_ciphersuites(ctx, "nonsense"); /* leaves errors behind */
    return -1;
}

static void a_hook_comes_last(void **state) {
    struct pair *p = *state;
    unsigned count = 0;
    p->options = (lago_tls_options_t){
        .certificate_file = both_file, .min_version = LAGO_TLS_1_3, .configure = configure, .configure_data = &count
    };
    pair_open(p);
    assert_int_equal(count, 1);
    assert_string_equal(tls_filter_cipher(p->filter), "TLS_AES_128_GCM_SHA256");
    lago_tls_options_t refusing = { .configure = refuse };
    expect_refusal(&refusing, "tls.configure: the callback refused", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(refuses_bad_options),  TEST(trusts_from_everywhere),   TEST(the_system_trusts_no_test), TEST(shows_a_certificate),
        TEST(asks_for_passphrases), TEST(never_asks_on_a_terminal), TEST(a_hook_comes_last),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
