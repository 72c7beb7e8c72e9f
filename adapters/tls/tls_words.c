/* Errors of OpenSSL as reasons: the cause, the certificate that it is about, and a hint. All text of the peer is escaped. */
#include "tls_words.h"
#include "reason.h"
#include "text.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

static bool is_alert(unsigned long error) {
    return ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET;
}

static bool is_refusal(unsigned long error) {
    return ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

struct tls_errors tls_errors_take(void) {
    struct tls_errors errors = { 0 };
    for (unsigned long error; (error = ERR_get_error()) != 0; errors.last = error) {
        if (!errors.first) errors.first = error;
        if (is_refusal(error)) errors.refusal = error;
        if (ERR_SYSTEM_ERROR(error)) errors.system = error;
        if (!ERR_SYSTEM_ERROR(error) && ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) errors.memory = true;
    }
    return errors;
}

void tls_error_words(unsigned long error, char *buffer, size_t size) {
    struct text t;
    bool is_system = error && ERR_SYSTEM_ERROR(error);
    const char *words = error ? ERR_reason_error_string(error) : "no error";
    text_init(&t, buffer, size);
    if (is_system)
        text_add(&t, strerror(ERR_GET_REASON(error)));
    else if (words)
        text_add(&t, words);
    else if (is_alert(error))
        text_addf(&t, "alert %d, which no specification knows", ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET);
    else
        text_addf(&t, "OpenSSL error %lx", error);
}

/* ---------------------------------------------------------------- certificates */

static void add_name(struct text *t, const char *what, const X509_NAME *name) {
    char words[72];
    BIO *bio = BIO_new(BIO_s_mem());
    int size = 0;
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) size = BIO_read(bio, words, (int)sizeof(words) - 1);
    text_addf(t, "%s ", what);
    text_add_escaped(t, words, size > 0 ? (size_t)size : 0, 64);
    BIO_free(bio);
    ERR_clear_error();
}

/* "2026-11-21": the day is what matters for a date that is over. */
static void add_day(struct text *t, const ASN1_TIME *time) {
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm)) text_addf(t, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}

static void add_certificate(struct text *t, X509 *certificate) {
    add_name(t, "subject", X509_get_subject_name(certificate));
    add_name(t, ", issuer", X509_get_issuer_name(certificate));
    text_add(t, ", ");
    add_day(t, X509_get0_notBefore(certificate));
    text_add(t, " to ");
    add_day(t, X509_get0_notAfter(certificate));
}

static const char *verdict_hint(long verdict) {
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return "connect by a name in the certificate, or set server_name to one";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: return "give the authority that signed it as ca_file (cacertfile)";
    case X509_V_ERR_CERT_HAS_EXPIRED: return "renew the broker's certificate, or check this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "check this machine's clock";
    case X509_V_ERR_CERT_REVOKED: return "its authority has taken it back: do not trust it";
    case X509_V_ERR_UNABLE_TO_GET_CRL: return "crl_file has no list of this authority";
    case X509_V_ERR_INVALID_PURPOSE: return "it is not made for servers";
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK: return "its key or signature is too weak to be trusted";
    case X509_V_ERR_CRL_HAS_EXPIRED: return "crl_file is out of date: get the authority's newest list";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE: return "an impostor of the authority that is trusted, or its key is new";
    default: return "whoever issues the broker's certificates has to mend this";
    }
}

/* The verdict is good, and yet it was refused: a callback of the user's looked away. */
static void add_verdict(struct text *t, long verdict, X509 *certificate) {
    if (verdict != X509_V_OK)
        text_add(t, X509_verify_cert_error_string(verdict));
    else
        text_add(t, certificate ? "hostname mismatch" : "the peer shows no certificate");
}

static bool is_about_name(long verdict) {
    return verdict == X509_V_OK || verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH;
}

static void certificate_refused(const SSL *ssl, const struct tls_peer *peer, lago_reason_t *reason) {
    char words[sizeof(reason->detail)], name[64];
    struct text t;
    X509 *certificate = peer->refused ? peer->refused : SSL_get0_peer_certificate(ssl);
    long verdict = SSL_get_verify_result(ssl);
    reason->code = LAGO_ECERTIFICATE;
    reason->tls_verify_result = verdict == X509_V_OK && certificate ? X509_V_ERR_HOSTNAME_MISMATCH : verdict;
    text_init(&t, name, sizeof(name));
    text_add_escaped(&t, peer->name, strlen(peer->name), 48);
    text_init(&t, words, sizeof(words));
    add_verdict(&t, verdict, certificate);
    if (is_about_name(verdict)) text_addf(&t, " (%s)", name);
    if (certificate) {
        text_add(&t, peer->refused && peer->refused_depth > 0 ? "; in its chain: " : ": ");
        add_certificate(&t, certificate);
    }
    reason_detail(reason, "%s", words);
    reason_hint(reason, "%s", verdict_hint(reason->tls_verify_result));
}

/* ---------------------------------------------------------------- other failures */

/* The peer answered with something that is no TLS. */
static bool is_no_tls(unsigned long error) {
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) return false;
    switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_LENGTH_MISMATCH: return true;
    default: return false;
    }
}

static bool begins(const struct tls_peer *peer, const void *bytes, size_t size) {
    return peer->first_size >= size && memcmp(peer->first, bytes, size) == 0;
}

/* What it speaks instead. */
static void no_tls(const struct tls_peer *peer, lago_reason_t *reason) {
    static const char plain[] = "a plain port: RabbitMQ has TLS on 5671, plain AMQP on 5672 (amqp://)";
    static const uint8_t frame[] = { 1, 0, 0 }; /* a method on channel 0 */
    char words[64];
    struct text t;
    text_init(&t, words, sizeof(words));
    text_add_escaped(&t, peer->first, peer->first_size, sizeof(peer->first));
    if (begins(peer, "AMQP", 4) || begins(peer, frame, sizeof(frame))) {
        reason_detail(reason, "the peer does not speak TLS but AMQP");
        reason_hint(reason, "%s", plain);
    } else if (begins(peer, "HTTP/", 5)) {
        reason_detail(reason, "the peer does not speak TLS but HTTP");
        reason_hint(reason, "a web server, or a proxy that wants to be asked by HTTP CONNECT");
    } else {
        reason_detail(reason, "the peer does not speak TLS; it begins with \"%s\"", words);
        reason_hint(reason, "%s?", plain);
    }
}

static const char *failure_hint(unsigned long error) {
    const char *other = "a broken peer, or somebody on the way changes what it says";
    if (is_alert(error)) other = "the broker ended this: its log says why";
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) return other;
    switch (ERR_GET_REASON(error)) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the broker wants a client certificate: certificate_file and key_file (certfile, keyfile)";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return "no cipher in common, or the broker wants a client certificate: certificate_file and key_file (certfile, keyfile)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: return "the broker does not trust this client's certificate";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED: return "renew this client's certificate";
    case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY: return "the broker wants stronger ciphers (ciphers, ciphersuites)";
    case SSL_R_TLSV1_UNRECOGNIZED_NAME: return "the broker does not know the name: set server_name to one that it does";
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: return "the broker does not want this protocol: leave alpn out";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL: return "the broker has no TLS version in common with this client (1.2 and newer)";
    default: return other;
    }
}

/*
 * The first error is the cause, the others are who passed it on; but that a certificate was refused stands behind what libcrypto
 * says of a signature that does not fit.
 */
void tls_failure(const SSL *ssl, const struct tls_peer *peer, bool done, lago_reason_t *reason) {
    char words[120];
    struct tls_errors errors = tls_errors_take();
    unsigned long error = errors.refusal ? errors.refusal : errors.first;
    reason_init(reason, LAGO_ETLS, LAGO_BY_NETWORK);
    reason->tls_error = error;
    if (errors.memory) {
        reason_init(reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    } else if (errors.refusal) {
        certificate_refused(ssl, peer, reason);
    } else if (is_no_tls(error) && !done) {
        no_tls(peer, reason);
    } else {
        tls_error_words(error, words, sizeof(words));
        reason_detail(reason, "%s", error ? words : done ? "the link is broken" : "the peer said goodbye in the handshake");
        reason_hint(reason, "%s", failure_hint(error));
    }
}
