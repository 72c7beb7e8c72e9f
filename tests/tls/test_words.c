/* What does not speak TLS, and what peers say when they refuse us, in words that help. */
#include "pair.h"
#include "tls_words.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Our hello was answered by these bytes. */
static const lago_reason_t *answered(struct pair *p, const void *data, size_t size, bool bytewise) {
    assert_int_equal(pair_begin(p), 0);
    assert_int_equal(tls_filter_handshake(p->filter), 0);
    for (size_t at = 0; at < size && p->done == 0; at += bytewise ? 1 : size)
        pair_feed(p, (const char *)data + at, bytewise ? 1 : size);
    assert_int_equal(p->done, TLS_FAILED);
    const lago_reason_t *reason = tls_filter_reason(p->filter);
    assert_int_equal(reason->phase, LAGO_PHASE_TLS);
    return reason;
}

static void knows_what_is_no_tls(void **state) {
    struct pair *p = *state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *words, *hint;
    } rows[] = {
        { "AMQP\0\0\x09\x01", 8, "does not speak TLS but AMQP", "5671" },
        { "AMQP\x03\x01\0\0", 8, "does not speak TLS but AMQP", "5671" },
        { "\1\0\0\0\0\1\xf8\0\x0a\0\x0a", 11, "does not speak TLS but AMQP", "5671" },
        { "HTTP/1.1 400 Bad Request\r\n", 26, "does not speak TLS but HTTP", "web server" },
        { "SSH-2.0-OpenSSH_9.2\r\n", 21, "does not speak TLS; it begins with \"SSH-2.0-\"", "a plain port" },
        { "\r\n\033[2J\"x\n", 9, "it begins with \"\\r\\n\\x1b[2J\\\"x\"", "a plain port" },
        { "\0\0\0\0\0\0\0\0\0", 9, "it begins with \"\\x00\\x00\\x00", "a plain port" },
        { "GET / HTTP/1.1\r\n", 16, "it begins with \"GET / HT\"", "a plain port" },
    };
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        const lago_reason_t *reason = answered(p, rows[i / 2].bytes, rows[i / 2].size, i % 2);
        if (i % 2 == 0 || i / 2 < 4) pair_expect(reason, LAGO_ETLS, rows[i / 2].words, rows[i / 2].hint);
        pair_expect(reason, LAGO_ETLS, "does not speak TLS", i / 2 == 3 ? "web server" : "5671");
        pair_end(p);
    }
}

static const lago_reason_t *alerted(struct pair *p, uint8_t number) {
    const uint8_t record[] = { 21, 3, 3, 0, 2, 2, number };
    return answered(p, record, sizeof record, false);
}

/* Every alert there can be: a name and a hint. */
static void knows_alerts(void **state) {
    struct pair *p = *state;
    static const struct {
        uint8_t number;
        const char *words, *hint;
    } rows[] = {
        { 40, "handshake failure", "client certificate" },
        { 42, "bad certificate", "does not trust this client's certificate" },
        { 43, "unsupported certificate", "does not trust this client's certificate" },
        { 44, "certificate revoked", "renew" },
        { 45, "certificate expired", "renew" },
        { 46, "certificate unknown", "does not trust" },
        { 48, "unknown ca", "does not trust" },
        { 49, "access denied", "does not trust" },
        { 70, "protocol version", "no TLS version in common" },
        { 71, "insufficient security", "ciphersuites" },
        { 80, "internal error", "its log says why" },
        { 112, "unrecognized name", "server_name" },
        { 116, "certificate required", "certificate_file" },
        { 120, "no application protocol", "alpn" },
        { 255, "alert 255", "its log says why" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const lago_reason_t *reason = alerted(p, rows[i].number);
        pair_expect(reason, LAGO_ETLS, rows[i].words, rows[i].hint);
        assert_true(reason->tls_error != 0);
        pair_end(p);
    }
    for (unsigned number = 0; number < 256; number++) {
        const lago_reason_t *reason = alerted(p, (uint8_t)number);
        assert_string_not_equal(reason->detail, "");
        assert_string_not_equal(reason->hint, "");
        pair_expect(reason, LAGO_ETLS, "", "");
        pair_end(p);
    }
}

/* TLS 1.3: the client is done before the server has seen its certificate. */
static void knows_a_late_alert(void **state) {
    struct pair *p = *state;
    SSL_CTX_set_verify(p->server_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_int_equal(pair_begin(p), 0);
    pair_run(p);
    assert_int_equal(p->done, 1);
    assert_int_equal(p->end, TLS_FAILED);
    const lago_reason_t *reason = tls_filter_reason(p->filter);
    pair_expect(reason, LAGO_ETLS, "certificate required", "wants a client certificate");
    assert_int_equal(reason->phase, LAGO_PHASE_NONE);
}

static void knows_a_goodbye_in_the_handshake(void **state) {
    struct pair *p = *state;
    static const uint8_t close_notify[] = { 21, 3, 3, 0, 2, 1, 0 };
    pair_expect(answered(p, close_notify, sizeof close_notify, false), LAGO_ETLS, "goodbye in the handshake", "");
}

static void words_of_errors(void **state) {
    char words[64];
    (void)state;
    tls_error_words(0, words, sizeof words);
    assert_string_equal(words, "no error");
    tls_error_words(ERR_PACK(ERR_LIB_SSL, 0, SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE), words, sizeof words);
    assert_non_null(strstr(words, "handshake failure"));
    tls_error_words(ERR_PACK(ERR_LIB_SSL, 0, 990), words, sizeof words);
    assert_non_null(strstr(words, "OpenSSL error "));
}

/* ---------------------------------------------------------------- errors as OpenSSL leaves them */

/* After this error of its SSL library (0: none), with this verdict on the certificate, and these first bytes. */
static lago_reason_t failure(int error, long verdict, bool done, const char *first) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    struct tls_peer peer = { .name = PAIR_NAME };
    lago_reason_t reason;
    assert_non_null(ssl);
    ERR_clear_error();
    peer.first_size = strlen(first);
    memcpy(peer.first, first, strlen(first));
    SSL_set_verify_result(ssl, verdict);
    if (error) ERR_raise(ERR_LIB_SSL, error);
    tls_failure(ssl, &peer, done, &reason);
    assert_int_equal(ERR_peek_error(), 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return reason;
}

/* What is to be done about each verdict. */
static void knows_verdicts(void **state) {
    static const struct {
        long verdict;
        const char *hint;
    } rows[] = {
        { X509_V_ERR_HOSTNAME_MISMATCH, "set server_name" },
        { X509_V_ERR_IP_ADDRESS_MISMATCH, "set server_name" },
        { X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "ca_file" },
        { X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "ca_file" },
        { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "ca_file" },
        { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "ca_file" },
        { X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "ca_file" },
        { X509_V_ERR_CERT_HAS_EXPIRED, "renew the broker's certificate" },
        { X509_V_ERR_CERT_NOT_YET_VALID, "this machine's clock" },
        { X509_V_ERR_CERT_REVOKED, "do not trust it" },
        { X509_V_ERR_UNABLE_TO_GET_CRL, "crl_file has no list" },
        { X509_V_ERR_INVALID_PURPOSE, "not made for servers" },
        { X509_V_ERR_EE_KEY_TOO_SMALL, "too weak" },
        { X509_V_ERR_CA_KEY_TOO_SMALL, "too weak" },
        { X509_V_ERR_CA_MD_TOO_WEAK, "too weak" },
        { X509_V_ERR_CRL_HAS_EXPIRED, "newest list" },
        { X509_V_ERR_CERT_SIGNATURE_FAILURE, "an impostor" },
        { X509_V_ERR_CRL_SIGNATURE_FAILURE, "an impostor" },
        { X509_V_ERR_PATH_LENGTH_EXCEEDED, "has to mend this" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lago_reason_t reason = failure(SSL_R_CERTIFICATE_VERIFY_FAILED, rows[i].verdict, false, "");
        pair_expect(&reason, LAGO_ECERTIFICATE, X509_verify_cert_error_string(rows[i].verdict), rows[i].hint);
        assert_int_equal(reason.tls_verify_result, rows[i].verdict);
        assert_int_equal(strstr(reason.detail, PAIR_NAME) != NULL, i < 2); /* the name is of interest where it is wrong */
    }
}

/* Before the handshake is done these mean that something else is spoken there; behind it, that a record is broken. */
static void knows_errors_that_mean_no_tls(void **state) {
    static const int errors[] = { SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST,
                                  SSL_R_PACKET_LENGTH_TOO_LONG, SSL_R_RECORD_LENGTH_MISMATCH };
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        lago_reason_t reason = failure(errors[i], X509_V_OK, false, "AM");
        pair_expect(&reason, LAGO_ETLS, "does not speak TLS; it begins with \"AM\"", "5671");
        reason = failure(errors[i], X509_V_OK, true, "");
        pair_expect(&reason, LAGO_ETLS, "", "a broken peer");
        assert_null(strstr(reason.detail, "does not speak TLS"));
    }
}

static void says_something_without_an_error(void **state) {
    (void)state;
    lago_reason_t reason = failure(0, X509_V_OK, true, "");
    pair_expect(&reason, LAGO_ETLS, "the link is broken", "a broken peer");
    reason = failure(0, X509_V_OK, false, "");
    pair_expect(&reason, LAGO_ETLS, "goodbye in the handshake", "a broken peer");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(knows_what_is_no_tls),
        TEST(knows_alerts),
        TEST(knows_a_late_alert),
        TEST(knows_a_goodbye_in_the_handshake),
        cmocka_unit_test(words_of_errors),
        cmocka_unit_test(knows_verdicts),
        cmocka_unit_test(knows_errors_that_mean_no_tls),
        cmocka_unit_test(says_something_without_an_error),
    };
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
