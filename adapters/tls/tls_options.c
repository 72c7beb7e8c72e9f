/* The user's options become an SSL_CTX: whom to trust, who we are, how to talk. Must not know links or sessions. */
#include "tls_options.h"
#include "alloc.h"
#include "reason.h"
#include "tls_name.h"
#include "tls_words.h"
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>

#define SECURITY_LEVEL 2 /* 112 bits: no RSA below 2048, no signatures by SHA-1 */

/* ---------------------------------------------------------------- what is wrong */

int tls_refuse(const struct tls_making *m, const char *option, const char *problem, const char *hint) {
    reason_init(m->reason, LAGO_EPARAMETER, LAGO_BY_CLIENT);
    m->reason->phase = LAGO_PHASE_TLS;
    reason_detail(m->reason, "tls.%s: %s", option, problem);
    if (hint) reason_hint(m->reason, "%s", hint);
    ERR_clear_error();
    return LAGO_EPARAMETER;
}

/* What the system said, if it said anything; else the last error: the first ones say only that something could not be read. */
int tls_refuse_errors(const struct tls_making *m, const char *option, const char *hint) {
    char words[120];
    struct tls_errors errors = tls_errors_take();
    if (errors.memory) return LAGO_ENOMEM;
    tls_error_words(errors.system ? errors.system : errors.last, words, sizeof(words));
    int rc = tls_refuse(m, option, words, hint);
    m->reason->tls_error = errors.last;
    return rc;
}

/* ---------------------------------------------------------------- reading PEM */

static BIO *open_pem(const char *file, lago_bytes_t memory) {
    if (file) return BIO_new_file(file, "r");
    return memory.size <= INT_MAX ? BIO_new_mem_buf(memory.data, (int)memory.size) : NULL;
}

/* The certificates of a PEM text end where no further one begins; anything else that is wrong is an error. */
static bool ended_well(void) {
    unsigned long error = ERR_peek_last_error();
    bool good = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    if (good) ERR_clear_error();
    return good;
}

/* Always given to OpenSSL, which would ask on the terminal otherwise. */
static int passphrase(char *buffer, int size, int writing, void *data) {
    const lago_tls_options_t *options = data;
    (void)writing;
    int got = options->passphrase_cb ? options->passphrase_cb(buffer, (size_t)size, options->passphrase_data) : -1;
    return got <= size ? got : -1;
}

static void *data_of(const struct tls_making *m) { return (void *)(uintptr_t)m->options; }

/* ---------------------------------------------------------------- whom to trust */

static int trust_memory(const struct tls_making *m) {
    BIO *bio = open_pem(NULL, m->options->ca_pem);
    X509_STORE *store = SSL_CTX_get_cert_store(m->ctx);
    X509 *certificate = NULL;
    unsigned count = 0;
    bool good = bio != NULL;
    for (; good && (certificate = PEM_read_bio_X509(bio, NULL, passphrase, data_of(m))) != NULL; count++) {
        good = X509_STORE_add_cert(store, certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    if (!good || count == 0 || !ended_well()) return tls_refuse_errors(m, "ca_pem", "PEM certificates are expected");
    return 0;
}

/* OpenSSL looks into it only when it needs a certificate, and then a missing directory is an empty one. */
static int trust_directory(const struct tls_making *m) {
    struct stat found;
    const char *directory = m->options->ca_directory;
    if (stat(directory, &found) < 0 || !S_ISDIR(found.st_mode))
        return tls_refuse(m, "ca_directory", "there is no such directory", "one that c_rehash has made is expected");
    return SSL_CTX_load_verify_dir(m->ctx, directory) ? 0 : tls_refuse_errors(m, "ca_directory", NULL);
}

static int trust(const struct tls_making *m) {
    const lago_tls_options_t *o = m->options;
    if (!o->ca_file && !o->ca_directory && !o->ca_pem.size)
        return SSL_CTX_set_default_verify_paths(m->ctx) ? 0
                                                        : tls_refuse_errors(m, "ca_file", "the system's store cannot be read");
    if (o->ca_file && !SSL_CTX_load_verify_file(m->ctx, o->ca_file))
        return tls_refuse_errors(m, "ca_file", "a readable file of PEM certificates is expected");
    int rc = o->ca_directory ? trust_directory(m) : 0;
    return rc == 0 && o->ca_pem.size ? trust_memory(m) : rc;
}

static int read_crl(const struct tls_making *m) {
    X509_STORE *store = SSL_CTX_get_cert_store(m->ctx);
    if (!m->options->crl_file) return 0;
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (!lookup || X509_load_crl_file(lookup, m->options->crl_file, X509_FILETYPE_PEM) <= 0)
        return tls_refuse_errors(m, "crl_file", "a readable file of PEM revocation lists is expected");
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return 0;
}

static int verify(const struct tls_making *m) {
    const char *name = m->options->server_name;
    char buffer[TLS_NAME_SIZE];
    if (name && *name == '\0')
        return tls_refuse(m, "server_name", "empty", "OpenSSL would take that as any name; NULL for the host's");
    if (name && !tls_name(name, buffer)) return tls_refuse(m, "server_name", "no name that a certificate could have", NULL);
    if (m->options->insecure_skip_verification) {
        if (name)
            return tls_refuse(m, "server_name", "a name that would not be looked at",
                              "leave it out, or do not skip the verification");
        SSL_CTX_set_verify(m->ctx, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    /* names in the subject are out of use since RFC 6125, and "f*.example" is nobody's intention */
    X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(m->ctx), TLS_NAME_FLAGS);
    int rc = trust(m);
    return rc < 0 ? rc : read_crl(m);
}

/* ---------------------------------------------------------------- who we are */

static int use_certificate(const struct tls_making *m, const char *option) {
    BIO *bio = open_pem(m->options->certificate_file, m->options->certificate_pem);
    X509 *certificate = bio ? PEM_read_bio_X509_AUX(bio, NULL, passphrase, data_of(m)) : NULL;
    bool good = certificate && SSL_CTX_use_certificate(m->ctx, certificate);
    X509_free(certificate);
    while (good && (certificate = PEM_read_bio_X509(bio, NULL, passphrase, data_of(m))) != NULL) {
        good = SSL_CTX_add1_chain_cert(m->ctx, certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    if (!good || !ended_well()) return tls_refuse_errors(m, option, "a PEM certificate, with its chain, is expected");
    return 0;
}

static int use_key(const struct tls_making *m, const char *option) {
    const lago_tls_options_t *o = m->options;
    const char *file = o->key_pem.size ? NULL : o->key_file;
    if (!o->key_file && !o->key_pem.size) file = o->certificate_file; /* one file with both is common */
    lago_bytes_t memory = o->key_pem.size ? o->key_pem : o->certificate_pem;
    BIO *bio = open_pem(file, memory);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, passphrase, data_of(m)) : NULL;
    bool found = key != NULL;
    bool fits = found && SSL_CTX_use_PrivateKey(m->ctx, key) && SSL_CTX_check_private_key(m->ctx);
    EVP_PKEY_free(key);
    BIO_free(bio);
    if (!found) return tls_refuse_errors(m, option, "a PEM key is expected; if it is encrypted, set passphrase_cb");
    return fits ? 0 : tls_refuse_errors(m, option, "the key is not that of the certificate");
}

static int identify(const struct tls_making *m) {
    const lago_tls_options_t *o = m->options;
    bool certificate = o->certificate_file || o->certificate_pem.size, key = o->key_file || o->key_pem.size;
    if (!certificate && key) return tls_refuse(m, o->key_file ? "key_file" : "key_pem", "a key without a certificate", NULL);
    if (!certificate) return 0;
    int rc = use_certificate(m, o->certificate_file ? "certificate_file" : "certificate_pem");
    if (rc < 0) return rc;
    if (!key) return use_key(m, o->certificate_file ? "certificate_file" : "certificate_pem");
    return use_key(m, o->key_pem.size ? "key_pem" : "key_file");
}

/* ---------------------------------------------------------------- how */

static int version_number(lago_tls_version_t version, int fallback) {
    switch (version) {
    case LAGO_TLS_1_2: return TLS1_2_VERSION;
    case LAGO_TLS_1_3: return TLS1_3_VERSION;
    case LAGO_TLS_DEFAULT: break;
    }
    return fallback;
}

static int set_versions(const struct tls_making *m) {
    const lago_tls_options_t *o = m->options;
    int lowest = version_number(o->min_version, TLS1_2_VERSION), highest = version_number(o->max_version, 0);
    if (highest && highest < lowest) return tls_refuse(m, "max_version", "below min_version", NULL);
    /* whatever the system's openssl.cnf says */
    if (!SSL_CTX_set_min_proto_version(m->ctx, lowest)) return tls_refuse_errors(m, "min_version", NULL);
    if (!SSL_CTX_set_max_proto_version(m->ctx, highest)) return tls_refuse_errors(m, "max_version", NULL);
    return 0;
}

/* Whatever the caller lists: without a certificate there is nobody to verify. */
static int set_ciphers(const struct tls_making *m) {
    static const char safe[] = ":!aNULL:!eNULL";
    const lago_tls_options_t *o = m->options;
    SSL_CTX_set_security_level(m->ctx, SECURITY_LEVEL);
    if (o->ciphersuites && !SSL_CTX_set_ciphersuites(m->ctx, o->ciphersuites)) return tls_refuse_errors(m, "ciphersuites", NULL);
    if (!o->ciphers) return 0;
    size_t size = strlen(o->ciphers);
    char *list = mem_alloc(m->alloc, size + sizeof(safe));
    if (!list) return LAGO_ENOMEM;
    memcpy(list, o->ciphers, size);
    memcpy(list + size, safe, sizeof(safe));
    int good = SSL_CTX_set_cipher_list(m->ctx, list);
    mem_free(m->alloc, list);
    return good ? 0 : tls_refuse_errors(m, "ciphers", NULL);
}

static int set_alpn(const struct tls_making *m) {
    uint8_t list[1 + UINT8_MAX];
    size_t size = m->options->alpn ? strlen(m->options->alpn) : 0;
    if (!m->options->alpn) return 0;
    if (size == 0 || size > UINT8_MAX) return tls_refuse(m, "alpn", "empty, or longer than 255 bytes", NULL);
    list[0] = (uint8_t)size;
    memcpy(list + 1, m->options->alpn, size);
    return SSL_CTX_set_alpn_protos(m->ctx, list, (unsigned)size + 1) == 0 ? 0 : LAGO_ENOMEM;
}

static int check_reserved(const struct tls_making *m) {
    for (size_t i = 0; i < sizeof(m->options->reserved) / sizeof(m->options->reserved[0]); i++)
        if (m->options->reserved[i]) return tls_refuse(m, "reserved", "not zero", "initialise lago_tls_options_t with {0}");
    return 0;
}

int tls_options_apply(const struct tls_making *m) {
    SSL_CTX_set_options(m->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_clear_options(m->ctx,
                          SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    /* idle links own no record buffers; a write that was cut short may go on from another buffer */
    SSL_CTX_set_mode(m->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int rc = check_reserved(m);
    if (rc == 0) rc = set_versions(m);
    if (rc == 0) rc = set_ciphers(m);
    if (rc == 0) rc = set_alpn(m);
    if (rc == 0) rc = verify(m);
    if (rc == 0) rc = identify(m);
    return rc;
}
