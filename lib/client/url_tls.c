/*
 * The query keys for TLS: the five of Erlang's client, and pika's ssl_options, which is a dictionary for Python's SSLContext.
 *
 * Must not know OpenSSL; files are named here and read elsewhere.
 */
#include "url_query.h"
#include <string.h>

#define PASSPHRASE_SIZE_MAX 1024u /* the buffer of lago_tls_passphrase_cb */

/* Python's numbers for ssl.VerifyMode and ssl._SSLMethod: a dictionary literal cannot name them. */
#define PYTHON_CERT_REQUIRED       2
#define PYTHON_PROTOCOL_TLS        2
#define PYTHON_PROTOCOL_TLS_V1_2   5
#define PYTHON_PROTOCOL_TLS_CLIENT 16

/* ---------------------------------------------------------------- Erlang's */

int set_cacertfile(struct setting *s) { return setting_hold(s, &s->p->tls->ca_file); }

int set_certfile(struct setting *s) { return setting_hold(s, &s->p->tls->certificate_file); }

int set_keyfile(struct setting *s) { return setting_hold(s, &s->p->tls->key_file); }

int set_verify(struct setting *s) {
    bool none = strcmp(s->value, "verify_none") == 0;
    if (!none && strcmp(s->value, "verify_peer") != 0) return setting_bad(s, "neither verify_peer nor verify_none");
    s->p->tls->insecure_skip_verification = none;
    return 0;
}

int set_server_name_indication(struct setting *s) {
    if (strcmp(s->value, "disable") == 0) return setting_bad(s, "'disable', but the name is always verified");
    const char *problem = parameters_host_problem(s->value);
    return problem ? setting_bad(s, problem) : setting_hold(s, &s->p->tls->server_name);
}

/* ---------------------------------------------------------------- pika's */

static const char **text_option(lago_tls_options_t *tls, lago_string_t name) {
    if (literal_name_is(name, "cafile") || literal_name_is(name, "ca_certs")) return &tls->ca_file;
    if (literal_name_is(name, "capath") || literal_name_is(name, "ca_path")) return &tls->ca_directory;
    if (literal_name_is(name, "certfile")) return &tls->certificate_file;
    if (literal_name_is(name, "keyfile")) return &tls->key_file;
    if (literal_name_is(name, "ciphers")) return &tls->ciphers;
    if (literal_name_is(name, "server_hostname")) return &tls->server_name;
    return NULL;
}

/* A string of the dictionary, copied. `known` is its name, one of ours. */
static int hold_string(struct setting *s, const lago_field_t *known, char **out) {
    lago_string_t text = known->value.as.string;
    if (known->value.type != LAGO_TYPE_STRING) return setting_bad_name(s, known->name, " is not a string");
    if (text.size == 0) return setting_bad_name(s, known->name, " is empty");
    if (memchr(text.data, '\0', text.size)) return setting_bad_name(s, known->name, " holds a NUL");
    *out = parameters_room(s->p, text.size);
    if (!*out) return LAGO_ENOMEM;
    memcpy(*out, text.data, text.size);
    return 0;
}

static int bad_twice(struct setting *s, lago_string_t name) {
    return setting_bad_name(s, name, " is given under its other name too");
}

static int set_text_option(struct setting *s, const lago_field_t *field, const char **out) {
    char *text = NULL;
    if (*out) return bad_twice(s, field->name);
    int rc = hold_string(s, field, &text);
    if (rc < 0) return rc;
    if (literal_name_is(field->name, "server_hostname") && parameters_host_problem(text))
        return setting_bad_name(s, field->name, " is neither a name nor an address");
    *out = text;
    return 0;
}

static int set_ca_data(struct setting *s, const lago_field_t *field, lago_tls_options_t *tls) {
    char *text = NULL;
    if (tls->ca_pem.data) return bad_twice(s, field->name);
    int rc = hold_string(s, field, &text);
    if (rc == 0) tls->ca_pem = (lago_bytes_t){ text, strlen(text) };
    return rc;
}

static int set_password(struct setting *s, const lago_field_t *field, lago_tls_options_t *tls) {
    char *text = NULL;
    int rc = hold_string(s, field, &text);
    if (rc < 0) return rc;
    if (strlen(text) > PASSPHRASE_SIZE_MAX) return setting_bad_name(s, field->name, " is longer than 1024 bytes");
    tls->passphrase_cb = parameters_passphrase;
    tls->passphrase_data = text;
    return 0;
}

static int set_protocol(struct setting *s, const lago_field_t *field, lago_tls_options_t *tls) {
    int64_t protocol = field->value.type == LAGO_TYPE_INT32 ? field->value.as.integer : -1;
    if (protocol == PYTHON_PROTOCOL_TLS_V1_2)
        tls->min_version = tls->max_version = LAGO_TLS_1_2;
    else if (protocol != PYTHON_PROTOCOL_TLS && protocol != PYTHON_PROTOCOL_TLS_CLIENT)
        return setting_bad_name(s, field->name, " is none of 2 (TLS), 5 (TLS 1.2) and 16 (TLS, as a client)");
    return 0;
}

/* pika passes it by; Python's default there is to trust anybody, which takes `verify` here. */
static int check_cert_reqs(struct setting *s, const lago_field_t *field) {
    bool required = field->value.type == LAGO_TYPE_INT32 && field->value.as.integer == PYTHON_CERT_REQUIRED;
    return required ? 0 : setting_bad_name(s, field->name, " is not 2 (CERT_REQUIRED); only verify=verify_none trusts anybody");
}

/* `secret`: a name that is unknown may be a piece of a password. */
static int set_option(struct setting *s, const lago_field_t *field, lago_tls_options_t *tls, bool secret) {
    const char **text = text_option(tls, field->name);
    bool none = field->value.type == LAGO_TYPE_VOID; /* None is as good as left out */
    if (text) return none ? 0 : set_text_option(s, field, text);
    if (literal_name_is(field->name, "cadata") || literal_name_is(field->name, "ca_data"))
        return none ? 0 : set_ca_data(s, field, tls);
    if (literal_name_is(field->name, "password")) return none ? 0 : set_password(s, field, tls);
    if (literal_name_is(field->name, "cert_reqs")) return check_cert_reqs(s, field);
    if (literal_name_is(field->name, "protocol") || literal_name_is(field->name, "ssl_version"))
        return set_protocol(s, field, tls);
    return secret ? setting_bad(s, "an unknown name") : setting_bad_name(s, field->name, " is not an option");
}

static int read_options(struct setting *s, const lago_table_t *from, lago_tls_options_t *tls) {
    bool secret = false;
    for (size_t i = 0; i < from->size; i++) secret = secret || literal_name_is(from->fields[i].name, "password");
    for (size_t i = 0; i < from->size; i++) {
        int rc = set_option(s, &from->fields[i], tls, secret);
        if (rc < 0) return rc;
    }
    if ((tls->key_file || tls->passphrase_cb) && !tls->certificate_file)
        return setting_bad(s, "keyfile or password without certfile");
    return 0;
}

int set_ssl_options(struct setting *s) {
    struct literal literal;
    struct parameters *p = s->p;
    lago_tls_options_t tls = { .insecure_skip_verification = p->tls->insecure_skip_verification }; /* `verify` is beside it */
    int rc = setting_dictionary(s, &literal);
    if (rc == 0) rc = read_options(s, &literal.table, &tls);
    bool none = literal.none;
    literal_free(&literal);
    if (rc < 0) return rc;
    if (none) return p->values.tls ? setting_bad(s, "None, which is for amqp://, beside amqps://") : 0;
    *p->tls = tls;
    p->values.tls = p->tls;
    return 0;
}
