/* The keys for TLS: Erlang's five, pika's dictionary, what they do not mix with, and that a passphrase is never shown. */
#include "url_case.h"
#include <stdlib.h>

static void reads_erlangs_keys(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqps://h?cacertfile=/etc/ssl/my%20ca.pem&certfile=c.pem&keyfile=k.pem&verify=verify_peer"
                                  "&server_name_indication=mq.example");
    assert_string_equal(p->tls->ca_file, "/etc/ssl/my ca.pem");
    assert_string_equal(p->tls->certificate_file, "c.pem");
    assert_string_equal(p->tls->key_file, "k.pem");
    assert_string_equal(p->tls->server_name, "mq.example");
    assert_false(p->tls->insecure_skip_verification);
    lago_parameters_free(p);
    p = parsed("amqps://h?verify=verify_none");
    assert_true(p->tls->insecure_skip_verification);
    lago_parameters_free(p);
}

/* As ssl:connect/2 and SSLContext.load_cert_chain do. */
static void takes_the_key_from_the_certificates_file(void **state) {
    (void)state;
    static const char *const urls[] = { "amqps://h?certfile=both.pem", "amqps://h?ssl_options={'certfile': 'both.pem'}" };
    for (size_t i = 0; i < 2; i++) {
        lago_parameters_t *p = parsed(urls[i]);
        assert_string_equal(p->tls->certificate_file, "both.pem");
        assert_string_equal(p->tls->key_file, "both.pem");
        lago_parameters_free(p);
    }
}

static void refuses_bad_values(void **state) {
    (void)state;
    assert_refused("amqps://h?verify=none", "verify: neither verify_peer nor verify_none", "verify_none to trust anybody");
    assert_refused("amqps://h?verify=Verify_peer", "verify: neither verify_peer nor verify_none", NULL);
    assert_refused("amqps://h?server_name_indication=disable",
                   "server_name_indication: 'disable', but the name is always verified", "by default the host");
    assert_refused("amqps://h?server_name_indication=a%20b", "server_name_indication: contains a space or control character",
                   NULL);
    assert_refused("amqps://h?server_name_indication=", "server_name_indication: empty", NULL);
    assert_refused("amqps://h?cacertfile=", "cacertfile: empty", "PEM file");
    assert_refused("amqps://h?keyfile=k", "keyfile: given without certfile", "certfile");
    assert_refused("amqps://h?verify=verify_none&verify=verify_peer", "verify: given more than once", NULL);
}

/* Whoever writes a CA into a URL without amqps:// believes to be safe. */
static void refuses_tls_keys_without_tls(void **state) {
    (void)state;
    static const char *const keys[] = { "cacertfile", "certfile", "keyfile", "server_name_indication" };
    char url[100], detail[100];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        snprintf(url, sizeof url, "amqp://h?%s=x", keys[i]);
        snprintf(detail, sizeof detail, "%s: is for TLS, but the URL is amqp://", keys[i]);
        assert_refused(url, detail, "use amqps://");
    }
    assert_refused("amqp://h?verify=verify_none", "verify: is for TLS, but the URL is amqp://", "use amqps://");
    assert_refused("amqp://h?verify=verify_none&ssl_options=None", "verify: is for TLS, but the URL is amqp://", NULL);
}

/* ---------------------------------------------------------------- pika's dictionary */

static void reads_pikas_dictionary(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqps://h?ssl_options={'cafile': 'a', 'capath': 'b', 'cadata': 'c\\nd', 'certfile': 'e', "
                                  "'keyfile': 'f', 'password': 'hunter', 'ciphers': 'g', 'server_hostname': 'h.i', "
                                  "'cert_reqs': 2, 'protocol': 16}");
    const lago_tls_options_t *tls = p->tls;
    char buffer[16] = "";
    assert_string_equal(tls->ca_file, "a");
    assert_string_equal(tls->ca_directory, "b");
    assert_int_equal(tls->ca_pem.size, 3);
    assert_memory_equal(tls->ca_pem.data, "c\nd", 3);
    assert_string_equal(tls->certificate_file, "e");
    assert_string_equal(tls->key_file, "f");
    assert_string_equal(tls->ciphers, "g");
    assert_string_equal(tls->server_name, "h.i");
    assert_int_equal(tls->min_version, LAGO_TLS_DEFAULT);
    assert_int_equal(tls->passphrase_cb(buffer, sizeof buffer, tls->passphrase_data), 6);
    assert_memory_equal(buffer, "hunter", 6);
    assert_int_equal(tls->passphrase_cb(buffer, 5, tls->passphrase_data), -1);
    lago_parameters_free(p);
    p = parsed("amqps://h?ssl_options={'cadata': None, 'password': None, 'protocol': 2}"); /* None is as good as left out */
    assert_null(p->tls->ca_pem.data);
    assert_null(p->tls->passphrase_cb);
    assert_int_equal(p->tls->max_version, LAGO_TLS_DEFAULT);
    lago_parameters_free(p);
    p = parsed("amqps://h?ssl_options={'ca_certs': 'a', 'ca_path': 'b', 'ca_data': 'c', 'protocol': 5, 'keyfile': None}");
    assert_string_equal(p->tls->ca_file, "a");
    assert_string_equal(p->tls->ca_directory, "b");
    assert_int_equal(p->tls->ca_pem.size, 1);
    assert_null(p->tls->key_file);
    assert_int_equal(p->tls->min_version, LAGO_TLS_1_2);
    assert_int_equal(p->tls->max_version, LAGO_TLS_1_2);
    lago_parameters_free(p);
}

/* As pika; but pika leaves the port at 5672 then. */
static void turns_tls_on_by_the_dictionary(void **state) {
    (void)state;
    lago_parameters_t *p = parsed("amqp://h1,h2:5673?ssl_options={}");
    assert_non_null(p->tls);
    assert_int_equal(p->port, 5671);
    assert_int_equal(p->endpoints[0].port, 5673);
    lago_parameters_free(p);
    p = parsed("amqp://h?ssl_options=None");
    assert_null(p->tls);
    assert_int_equal(p->port, 5672);
    lago_parameters_free(p);
    assert_refused("amqps://h?ssl_options=None", "ssl_options: None, which is for amqp://, beside amqps://", NULL);
}

static void keeps_verify_beside_the_dictionary(void **state) {
    (void)state;
    static const char *const urls[] = { "amqps://h?verify=verify_none&ssl_options={'cafile':'a'}",
                                        "amqp://h?ssl_options={'cafile':'a'}&verify=verify_none" };
    for (size_t i = 0; i < 2; i++) {
        lago_parameters_t *p = parsed(urls[i]);
        assert_true(p->tls->insecure_skip_verification);
        assert_string_equal(p->tls->ca_file, "a");
        lago_parameters_free(p);
    }
    assert_refused("amqps://h?cacertfile=x&ssl_options={}", "cacertfile: given beside ssl_options", "a name of its own");
    assert_refused("amqps://h?ssl_options={}&server_name_indication=x", "server_name_indication: given beside ssl_options", NULL);
}

static void refuses_bad_dictionaries(void **state) {
    (void)state;
    static const struct {
        const char *options, *problem;
    } rows[] = {
        { "{'x': 1}", "x is not an option" },
        { "{'cafile': 1}", "cafile is not a string" },
        { "{'cafile': ''}", "cafile is empty" },
        { "{'cafile': 'a\\x00b'}", "cafile holds a NUL" },
        { "{'cafile': 'a', 'ca_certs': 'b'}", "ca_certs is given under its other name too" },
        { "{'cadata': 'a', 'ca_data': 'b'}", "ca_data is given under its other name too" },
        { "{'keyfile': 'a'}", "keyfile or password without certfile" },
        { "{'password': 'hunter'}", "keyfile or password without certfile" },
        { "{'password': 5, 'certfile': 'a'}", "password is not a string" },
        { "{'password': 'a', 'hunter': 'b'}", "an unknown name" },
        { "{'hunter': 'b', 'password': 'a'}", "an unknown name" },
        { "{'password': 'hunter'", "',' or '}' is expected, at byte 21" },
        { "{'password': 'hunter", "a string is not closed, at byte 14" },
        { "{'server_hostname': 'a b'}", "server_hostname is neither a name nor an address" },
        { "{'cert_reqs': 0}", "cert_reqs is not 2 (CERT_REQUIRED); only verify=verify_none trusts anybody" },
        { "{'cert_reqs': 1}", "cert_reqs is not 2 (CERT_REQUIRED); only verify=verify_none trusts anybody" },
        { "{'cert_reqs': '2'}", "cert_reqs is not 2 (CERT_REQUIRED); only verify=verify_none trusts anybody" },
        { "{'protocol': 3}", "protocol is none of 2 (TLS), 5 (TLS 1.2) and 16 (TLS, as a client)" },
        { "{'ssl_version': 'TLS'}", "ssl_version is none of 2 (TLS), 5 (TLS 1.2) and 16 (TLS, as a client)" },
        { "['cafile']", "not a dictionary, at byte 10" },
    };
    char url[200], detail[200];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(url, sizeof url, "amqps://h?ssl_options=%s", rows[i].options);
        snprintf(detail, sizeof detail, "ssl_options: %s", rows[i].problem);
        assert_refused(url, detail, "{'cafile': 'ca.pem'}");
    }
}

static void bounds_the_passphrase(void **state) {
    (void)state;
    static const char start[] = "amqps://h?ssl_options={'certfile':'a','password':'";
    char url[1200], buffer[1024];
    memset(url, 'p', sizeof url);
    memcpy(url, start, strlen(start));
    strcpy(url + strlen(start) + 1024, "'}");
    lago_parameters_t *p = parsed(url);
    assert_int_equal(p->tls->passphrase_cb(buffer, sizeof buffer, p->tls->passphrase_data), 1024);
    lago_parameters_free(p);
    strcpy(url + strlen(start) + 1024, "p'}");
    assert_refused(url, "ssl_options: password is longer than 1024 bytes", NULL);
}

/* ---------------------------------------------------------------- memory */

/* An allocator that looks for the secret in whatever is given back. */
static void *watch_malloc(size_t size, void *data) {
    (void)data;
    size_t *block = malloc(sizeof(max_align_t) + size);
    if (!block) return NULL;
    *block = size;
    return (char *)block + sizeof(max_align_t);
}

static void watch_free(void *pointer, void *data) {
    char *start = (char *)pointer - sizeof(max_align_t), *bytes = pointer;
    size_t size = *(size_t *)(void *)start;
    for (size_t i = 0; i + 6 <= size; i++)
        if (memcmp(bytes + i, "hunter", 6) == 0) *(bool *)data = true;
    free(start);
}

static void wipes_what_held_a_passphrase(void **state) {
    (void)state;
    static const char *const urls[] = {
        "amqps://h?ssl_options={'certfile': 'a', 'password': 'hunter'}",
        "amqps://h?ssl_options={'certfile': 'a', 'password': 'hunter', 'x': 1}",
        "amqps://u:hunter@h?ssl_options={'password': 'hunter'",
        "amqp://u:hunter@h?proxy=socks5://u:hunter@h",
        "amqp://u:hunter@h?proxy=socks5://u:hunter@h/x",
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        bool seen = false;
        lago_allocator_t watched = { .malloc = watch_malloc, .free = watch_free, .data = &seen };
        struct parameters *p = NULL, *copy = NULL;
        if (url_parse(&watched, urls[i], &p, NULL) == 0) assert_int_equal(parameters_copy(&watched, &p->values, &copy, NULL), 0);
        parameters_free(p);
        parameters_free(copy);
        if (seen) fail_msg("the secret lingers: %s", urls[i]);
    }
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    fail_every_allocation("amqps://h?cacertfile=a&certfile=b&keyfile=c&server_name_indication=d&verify=verify_none");
    fail_every_allocation("amqps://h?ssl_options={'cafile': 'a', 'capath': 'b', 'cadata': 'c', 'certfile': 'e', "
                          "'keyfile': 'f', 'password': 'hunter', 'ciphers': 'g', 'server_hostname': 'h.i'}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_erlangs_keys),
        cmocka_unit_test(takes_the_key_from_the_certificates_file),
        cmocka_unit_test(refuses_bad_values),
        cmocka_unit_test(refuses_tls_keys_without_tls),
        cmocka_unit_test(reads_pikas_dictionary),
        cmocka_unit_test(turns_tls_on_by_the_dictionary),
        cmocka_unit_test(keeps_verify_beside_the_dictionary),
        cmocka_unit_test(refuses_bad_dictionaries),
        cmocka_unit_test(bounds_the_passphrase),
        cmocka_unit_test(wipes_what_held_a_passphrase),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
