/* The options for TLS in the checked copy: every string and key its own, and every mistake found before any I/O. */
#include "parameters_case.h"

static void assert_options_refused(const lago_tls_options_t *tls, int code, const char *detail) {
    assert_refused(&(lago_parameters_t){ .tls = tls }, code, detail);
}

static lago_bytes_t bytes(const char *text) { return (lago_bytes_t){ text, strlen(text) }; }

/* All of them at once: files for ourselves, memory for whom to trust. */
static lago_tls_options_t everything(char *text, lago_tls_passphrase_cb cb, void *data) {
    return (lago_tls_options_t){
        .server_name = text,
        .ca_file = text,
        .ca_directory = text,
        .ca_pem = bytes(text),
        .certificate_file = text,
        .key_file = text,
        .passphrase_cb = cb,
        .passphrase_data = data,
        .crl_file = text,
        .ciphers = text,
        .ciphersuites = text,
        .alpn = text,
        .key_log_file = text,
        .min_version = LAGO_TLS_1_2,
        .max_version = LAGO_TLS_1_3,
        .insecure_skip_verification = true,
        .no_session_resumption = true,
    };
}

static void copies_every_string(void **state) {
    (void)state;
    char text[] = "text";
    lago_tls_options_t from = everything(text, NULL, text);
    struct parameters *p = copied(&(lago_parameters_t){ .tls = &from });
    memset(text, 'x', 4);
    memset(&from, 0, sizeof from);
    const lago_tls_options_t *tls = p->values.tls;
    const char *strings[] = { tls->server_name, tls->ca_file,     tls->ca_directory, tls->certificate_file,
                              tls->key_file,    tls->crl_file,    tls->ciphers,      tls->ciphersuites,
                              tls->alpn,        tls->key_log_file };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) assert_string_equal(strings[i], "text");
    assert_int_equal(tls->ca_pem.size, 4);
    assert_memory_equal(tls->ca_pem.data, "text", 4);
    assert_ptr_equal(tls->passphrase_data, text); /* the caller's callback, the caller's data */
    assert_int_equal(tls->min_version, LAGO_TLS_1_2);
    assert_int_equal(tls->max_version, LAGO_TLS_1_3);
    assert_true(tls->insecure_skip_verification);
    assert_true(tls->no_session_resumption);
    parameters_free(p);
    p = copied(NULL);
    assert_null(p->values.tls);
    parameters_free(p);
}

/* PEM may come from a file as it is, whatever it holds. */
static void copies_keys_as_bytes(void **state) {
    (void)state;
    static const char key[] = { 'k', '\0', 'y' };
    lago_tls_options_t from = { .certificate_pem = bytes("c"), .key_pem = { key, 3 } };
    struct parameters *p = copied(&(lago_parameters_t){ .tls = &from });
    const lago_tls_options_t *tls = p->values.tls;
    assert_ptr_not_equal(tls->key_pem.data, key);
    assert_int_equal(tls->key_pem.size, 3);
    assert_memory_equal(tls->key_pem.data, key, 3);
    assert_memory_equal(tls->certificate_pem.data, "c", 1);
    parameters_free(p);
}

/* The passphrase of a URL belongs to the parameters that were read from it, which go first. */
static void copies_its_own_passphrase(void **state) {
    (void)state;
    char buffer[1024];
    lago_parameters_t *url = NULL;
    assert_int_equal(lago_parameters_parse("amqps://h?ssl_options={'certfile':'c','password':'secret'}", &url, NULL), 0);
    struct parameters *p = copied(url);
    lago_parameters_free(url);
    const lago_tls_options_t *tls = p->values.tls;
    assert_int_equal(tls->passphrase_cb(buffer, sizeof buffer, tls->passphrase_data), 6);
    assert_memory_equal(buffer, "secret", 6);
    parameters_free(p);
}

static void refuses_empty_strings(void **state) {
    (void)state;
    const struct {
        lago_tls_options_t tls;
        const char *detail;
    } rows[] = {
        { { .server_name = "" }, "tls.server_name: empty" },
        { { .ca_file = "" }, "tls.ca_file: empty" },
        { { .ca_directory = "" }, "tls.ca_directory: empty" },
        { { .certificate_file = "" }, "tls.certificate_file: empty" },
        { { .key_file = "" }, "tls.key_file: empty" },
        { { .crl_file = "" }, "tls.crl_file: empty" },
        { { .ciphers = "" }, "tls.ciphers: empty" },
        { { .ciphersuites = "" }, "tls.ciphersuites: empty" },
        { { .alpn = "" }, "tls.alpn: empty" },
        { { .key_log_file = "" }, "tls.key_log_file: empty" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_options_refused(&rows[i].tls, LAGO_EPARAMETER, rows[i].detail);
}

static void refuses_what_does_not_go_together(void **state) {
    (void)state;
    const struct {
        lago_tls_options_t tls;
        const char *detail;
    } rows[] = {
        { { .certificate_file = "c" }, "tls.key_file: missing" },
        { { .certificate_pem = bytes("c") }, "tls.key_file: missing" },
        { { .key_file = "k" }, "tls.certificate_file: missing" },
        { { .key_pem = bytes("k") }, "tls.certificate_file: missing" },
        { { .certificate_file = "c", .certificate_pem = bytes("c"), .key_file = "k" },
          "tls.certificate_pem: given in memory and" },
        { { .certificate_file = "c", .key_pem = bytes("k"), .key_file = "k" }, "tls.key_pem: given in memory and" },
        { { .min_version = LAGO_TLS_1_3, .max_version = LAGO_TLS_1_2 }, "tls.max_version: below min_version" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_options_refused(&rows[i].tls, LAGO_EPARAMETER, rows[i].detail);
    lago_tls_options_t mixed = { .certificate_file = "c", .key_pem = bytes("k"), .ca_file = "a", .ca_pem = bytes("b") };
    parameters_free(copied(&(lago_parameters_t){ .tls = &mixed }));
}

static void refuses_values_out_of_range(void **state) {
    (void)state;
    char alpn[257];
    memset(alpn, 'a', 256);
    alpn[256] = '\0';
    const struct {
        lago_tls_options_t tls;
        const char *detail;
    } rows[] = {
        { { .server_name = "a b" }, "tls.server_name: contains a space" },
        { { .server_name = "/run/x" }, "tls.server_name: contains a character" },
        { { .ca_pem = { NULL, 1 } }, "tls.ca_pem: NULL with a size" },
        { { .key_pem = { NULL, 1 }, .certificate_file = "c" }, "tls.key_pem: NULL with a size" },
        { { .ca_pem = { "", ((size_t)16 << 20) + 1 } }, "tls.ca_pem: larger than 16 MiB" },
        { { .alpn = alpn }, "tls.alpn: longer than 255 bytes" },
        { { .min_version = (lago_tls_version_t)3 }, "tls.min_version: unknown" },
        { { .max_version = (lago_tls_version_t)3 }, "tls.max_version: unknown" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_options_refused(&rows[i].tls, LAGO_EPARAMETER, rows[i].detail);
    for (size_t i = 0; i < 8; i++) {
        lago_tls_options_t tls = { 0 };
        tls.reserved[i] = 1;
        assert_options_refused(&tls, LAGO_EINVAL, "tls.reserved: not zero");
    }
    alpn[255] = '\0';
    parameters_free(copied(&(lago_parameters_t){ .tls = &(lago_tls_options_t){ .alpn = alpn, .server_name = "192.0.2.1" } }));
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    char text[] = "text", passphrase[] = "secret";
    lago_tls_options_t files = everything(text, parameters_passphrase, passphrase);
    lago_tls_options_t memory = { .ca_pem = bytes("a"), .certificate_pem = bytes("c"), .key_pem = bytes("k") };
    unsigned plain = fail_every_allocation(NULL);
    assert_int_equal(fail_every_allocation(&(lago_parameters_t){ .tls = &files }), plain + 13);
    assert_int_equal(fail_every_allocation(&(lago_parameters_t){ .tls = &memory }), plain + 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_every_string),
        cmocka_unit_test(copies_keys_as_bytes),
        cmocka_unit_test(copies_its_own_passphrase),
        cmocka_unit_test(refuses_empty_strings),
        cmocka_unit_test(refuses_what_does_not_go_together),
        cmocka_unit_test(refuses_values_out_of_range),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
