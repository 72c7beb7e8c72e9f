/*
 * The parameters that secure a link: their checks and copies. What the files hold is the transport's to find out.
 *
 * Must not know OpenSSL. No message ever holds a value, and keys and passphrases live in memory that is wiped.
 */
#include "alloc.h"
#include "parameters.h"
#include <string.h>

#define PEM_SIZE_MAX  ((size_t)16 << 20) /* the bundle of all public CAs has 200 KiB; OpenSSL counts in int */
#define ALPN_SIZE_MAX 255u               /* one octet on the wire (RFC 7301, 3.1) */

static int reject(lago_reason_t *reason, const char *name, const char *problem, const char *hint) {
    return parameters_reject(reason, LAGO_EPARAMETER, name, problem, hint);
}

/* ---------------------------------------------------------------- checks */

static int check_reserved(const lago_tls_options_t *tls, lago_reason_t *reason) {
    for (size_t i = 0; i < sizeof tls->reserved / sizeof tls->reserved[0]; i++)
        if (tls->reserved[i])
            return parameters_reject(reason, LAGO_EINVAL, "tls.reserved", "not zero", "initialise lago_tls_options_t with {0}");
    return 0;
}

/* An empty string comes from an unset variable: it must not switch a check off, nor mean the default. */
static int check_strings(const lago_tls_options_t *tls, lago_reason_t *reason) {
    const struct {
        const char *name, *value;
    } strings[] = {
        { "tls.server_name", tls->server_name },
        { "tls.ca_file", tls->ca_file },
        { "tls.ca_directory", tls->ca_directory },
        { "tls.certificate_file", tls->certificate_file },
        { "tls.key_file", tls->key_file },
        { "tls.crl_file", tls->crl_file },
        { "tls.ciphers", tls->ciphers },
        { "tls.ciphersuites", tls->ciphersuites },
        { "tls.alpn", tls->alpn },
        { "tls.key_log_file", tls->key_log_file },
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        if (strings[i].value && *strings[i].value == '\0')
            return reject(reason, strings[i].name, "empty", "NULL for the default");
    const char *problem = tls->server_name ? parameters_host_problem(tls->server_name) : NULL;
    if (problem)
        return reject(reason, "tls.server_name", problem, "a name or an address that the broker's certificate is made for");
    if (tls->alpn && strlen(tls->alpn) > ALPN_SIZE_MAX) return reject(reason, "tls.alpn", "longer than 255 bytes", NULL);
    return 0;
}

static const char *pem_problem(lago_bytes_t pem) {
    if (pem.size && !pem.data) return "NULL with a size";
    return pem.size > PEM_SIZE_MAX ? "larger than 16 MiB" : NULL;
}

static int check_pems(const lago_tls_options_t *tls, lago_reason_t *reason) {
    const struct {
        const char *name;
        lago_bytes_t pem;
        const char *file;
    } pems[] = {
        { "tls.ca_pem", tls->ca_pem, NULL }, /* beside ca_file: they add up */
        { "tls.certificate_pem", tls->certificate_pem, tls->certificate_file },
        { "tls.key_pem", tls->key_pem, tls->key_file },
    };
    for (size_t i = 0; i < sizeof pems / sizeof pems[0]; i++) {
        const char *problem = pem_problem(pems[i].pem);
        if (!problem && pems[i].pem.size && pems[i].file) problem = "given in memory and as a file";
        if (problem) return reject(reason, pems[i].name, problem, "PEM, as text in memory; or as a file, but not both");
    }
    return 0;
}

static int check_identity(const lago_tls_options_t *tls, lago_reason_t *reason) {
    bool has_certificate = tls->certificate_file || tls->certificate_pem.size;
    bool has_key = tls->key_file || tls->key_pem.size;
    if (has_certificate && !has_key)
        return reject(reason, "tls.key_file", "missing, beside a certificate", "if one file holds both, name it for both");
    if (has_key && !has_certificate) return reject(reason, "tls.certificate_file", "missing, beside a key", NULL);
    return 0;
}

static int check_versions(const lago_tls_options_t *tls, lago_reason_t *reason) {
    static const char hint[] = "LAGO_TLS_1_2, LAGO_TLS_1_3, or 0 for the default";
    if ((unsigned)tls->min_version > LAGO_TLS_1_3) return reject(reason, "tls.min_version", "unknown", hint);
    if ((unsigned)tls->max_version > LAGO_TLS_1_3) return reject(reason, "tls.max_version", "unknown", hint);
    if (tls->max_version != LAGO_TLS_DEFAULT && tls->min_version > tls->max_version)
        return reject(reason, "tls.max_version", "below min_version", hint);
    return 0;
}

int parameters_check_tls(const lago_parameters_t *v, lago_reason_t *reason) {
    if (!v->tls) return 0;
    int rc = check_reserved(v->tls, reason);
    if (rc == 0) rc = check_strings(v->tls, reason);
    if (rc == 0) rc = check_pems(v->tls, reason);
    if (rc == 0) rc = check_identity(v->tls, reason);
    if (rc == 0) rc = check_versions(v->tls, reason);
    return rc;
}

/* ---------------------------------------------------------------- copies */

int parameters_passphrase(char *buffer, size_t size, void *data) {
    size_t length = strlen(data);
    if (length > size) return -1;
    memcpy(buffer, data, length);
    return (int)length;
}

static int hold_pem(struct parameters *p, lago_bytes_t *pem) {
    if (pem->size == 0) return 0;
    char *held = parameters_room(p, pem->size);
    if (!held) return LAGO_ENOMEM;
    memcpy(held, pem->data, pem->size);
    pem->data = held;
    return 0;
}

/* A passphrase of the URL lives in the parameters that are copied here, and may be freed before the copy is. */
static int hold_passphrase(struct parameters *p) {
    if (p->tls->passphrase_cb != parameters_passphrase) return 0;
    p->tls->passphrase_data = parameters_hold(p, p->tls->passphrase_data);
    return p->tls->passphrase_data ? 0 : LAGO_ENOMEM;
}

lago_tls_options_t *parameters_new_tls(struct parameters *p) {
    return p->tls = (void *)parameters_room(p, sizeof *p->tls); /* aligned, as with endpoints */
}

int parameters_hold_tls(struct parameters *p) {
    if (!p->values.tls) return 0;
    lago_tls_options_t *tls = parameters_new_tls(p);
    if (!tls) return LAGO_ENOMEM;
    *tls = *p->values.tls;
    p->values.tls = tls;
    const char **strings[] = {
        &tls->server_name, &tls->ca_file,      &tls->ca_directory, &tls->certificate_file, &tls->key_file, &tls->crl_file,
        &tls->ciphers,     &tls->ciphersuites, &tls->alpn,         &tls->key_log_file,
    };
    int rc = parameters_hold_all(p, strings, sizeof strings / sizeof strings[0]);
    if (rc == 0) rc = hold_pem(p, &tls->ca_pem);
    if (rc == 0) rc = hold_pem(p, &tls->certificate_pem);
    if (rc == 0) rc = hold_pem(p, &tls->key_pem);
    return rc == 0 ? hold_passphrase(p) : rc;
}
