/* Certificates made on the spot: see certs.h. */
#include "certs.h"
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400L

/* Nothing here depends on a peer: a failure is a mistake of the test. */
#define must(done)                                                                                                               \
    do {                                                                                                                         \
        if (!(done)) die(#done);                                                                                                 \
    } while (0)

static void die(const char *what) {
    fprintf(stderr, "cannot make a certificate: %s\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

static EVP_PKEY *make_key(enum cert_key kind) {
    EVP_PKEY *key = NULL;
    switch (kind) {
    case CERT_EC: key = EVP_EC_gen("P-256"); break;
    case CERT_EC_P384: key = EVP_EC_gen("P-384"); break;
    case CERT_EC_P192: key = EVP_EC_gen("P-192"); break;
    case CERT_ED25519: key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); break;
    case CERT_RSA_1024: key = EVP_RSA_gen(1024); break;
    case CERT_RSA_2048: key = EVP_RSA_gen(2048); break;
    }
    must(key);
    return key;
}

static void set_name(X509_NAME *name, const char *subject) {
    const unsigned char *words = (const unsigned char *)subject;
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, words, -1, -1, 0));
}

static void add_extension(X509 *x509, int nid, const char *words) {
    if (!words || !*words) return;
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, words);
    must(extension);
    must(X509_add_ext(x509, extension, -1));
    X509_EXTENSION_free(extension);
}

static void add_unknown(X509 *x509, const char *words) {
    X509_EXTENSION *extension = X509V3_EXT_conf(NULL, NULL, "1.3.6.1.4.1.99999.1", words);
    must(extension);
    must(X509_add_ext(x509, extension, -1));
    X509_EXTENSION_free(extension);
}

/* What the words of a configuration cannot say, such as a name with a NUL in it. */
static void add_raw_name(X509 *x509, const void *bytes, size_t size) {
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();
    must(names && name && string);
    must(ASN1_STRING_set(string, bytes, (int)size));
    GENERAL_NAME_set0_value(name, GEN_DNS, string);
    must(sk_GENERAL_NAME_push(names, name));
    must(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, 0));
    GENERAL_NAMES_free(names);
}

static const EVP_MD *digest_of(const EVP_PKEY *key, const char *digest) {
    if (EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) return NULL;
    const EVP_MD *md = EVP_get_digestbyname(digest ? digest : "SHA256");
    must(md);
    return md;
}

static void add_extensions(X509 *x509, const struct cert_options *o) {
    const char *constraints = o->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE", *usage = o->is_ca ? NULL : "serverAuth";
    add_extension(x509, NID_basic_constraints, o->constraints ? o->constraints : constraints);
    add_extension(x509, NID_key_usage, o->is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment");
    add_extension(x509, NID_ext_key_usage, o->usage ? o->usage : usage);
    add_extension(x509, NID_name_constraints, o->name_constraints);
    add_extension(x509, NID_subject_alt_name, o->names);
    if (o->unknown) add_unknown(x509, o->unknown);
    if (o->raw_name) add_raw_name(x509, o->raw_name, o->raw_name_size);
}

struct cert *cert_new(const struct cert_options *o) {
    static long serial;
    struct cert *cert = calloc(1, sizeof *cert);
    must(cert);
    const struct cert *issuer = o->issuer ? o->issuer : cert;
    cert->issuer = o->issuer;
    cert->is_ca = o->is_ca;
    cert->x509 = X509_new();
    cert->key = make_key(o->key);
    must(cert->x509);
    must(X509_set_version(cert->x509, X509_VERSION_3));
    must(ASN1_INTEGER_set(X509_get_serialNumber(cert->x509), ++serial));
    must(X509_gmtime_adj(X509_getm_notBefore(cert->x509), o->from_s ? o->from_s : -DAY_S));
    must(X509_gmtime_adj(X509_getm_notAfter(cert->x509), o->to_s ? o->to_s : DAY_S));
    set_name(X509_get_subject_name(cert->x509), o->subject ? o->subject : "test");
    must(X509_set_issuer_name(cert->x509, X509_get_subject_name(issuer->x509)));
    must(X509_set_pubkey(cert->x509, cert->key));
    add_extensions(cert->x509, o);
    must(X509_sign(cert->x509, issuer->key, digest_of(issuer->key, o->digest)));
    return cert;
}

void cert_free(struct cert *cert) {
    if (!cert) return;
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
    free(cert);
}

/* ---------------------------------------------------------------- PEM */

static char *text_of(BIO *bio) {
    char *data, *text;
    long size = BIO_get_mem_data(bio, &data);
    text = malloc((size_t)size + 1);
    must(text);
    memcpy(text, data, (size_t)size);
    text[size] = '\0';
    BIO_free(bio);
    return text;
}

char *cert_pem(const struct cert *const *chain, size_t count) {
    BIO *bio = BIO_new(BIO_s_mem());
    for (size_t i = 0; i < count; i++) must(PEM_write_bio_X509(bio, chain[i]->x509));
    return text_of(bio);
}

char *cert_key_pem(const struct cert *cert, const char *passphrase) {
    BIO *bio = BIO_new(BIO_s_mem());
    const EVP_CIPHER *cipher = passphrase ? EVP_aes_128_cbc() : NULL;
    int size = passphrase ? (int)strlen(passphrase) : 0;
    must(PEM_write_bio_PrivateKey(bio, cert->key, cipher, (const unsigned char *)passphrase, size, NULL, NULL));
    return text_of(bio);
}

/* ---------------------------------------------------------------- revocation */

static void revoke(X509_CRL *crl, const struct cert *cert, const ASN1_TIME *when) {
    X509_REVOKED *entry = X509_REVOKED_new();
    must(entry);
    must(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert->x509)));
    must(X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *)(uintptr_t)when));
    must(X509_CRL_add0_revoked(crl, entry));
}

char *cert_crl_pem(const struct cert *issuer, const struct cert *revoked, long to_s) {
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -DAY_S), *to = X509_gmtime_adj(NULL, to_s);
    BIO *bio = BIO_new(BIO_s_mem());
    must(crl && from && to && bio);
    must(X509_CRL_set_version(crl, X509_CRL_VERSION_2));
    must(X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x509)));
    must(X509_CRL_set1_lastUpdate(crl, from));
    must(X509_CRL_set1_nextUpdate(crl, to));
    if (revoked) revoke(crl, revoked, from);
    must(X509_CRL_sign(crl, issuer->key, digest_of(issuer->key, NULL)));
    must(PEM_write_bio_X509_CRL(bio, crl));
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    X509_CRL_free(crl);
    return text_of(bio);
}

char *cert_file(const char *directory, const char *name, const char *text) {
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = malloc(size);
    must(path);
    snprintf(path, size, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    must(file);
    must(fputs(text, file) >= 0);
    must(fclose(file) == 0);
    return path;
}
