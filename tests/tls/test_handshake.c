/* The handshake: in any pieces, with what the options ask for, and cut or changed at every byte. */
#include "pair.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void opens(struct pair *p, enum pair_split split) {
    p->split = split;
    pair_open(p);
    assert_null(tls_filter_reason(p->filter));
    pair_say(p, "AMQP", 4);
    pair_server_says(p, "start", 5);
    pair_run(p);
    assert_int_equal(p->server_heard.size, 4);
    assert_int_equal(p->heard.size, 5);
}

static void works_in_any_pieces(void **state) {
    struct pair *p = *state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX_set_min_proto_version(p->server_ctx, version);
        SSL_CTX_set_max_proto_version(p->server_ctx, version);
        for (unsigned i = 0; i < 100; i++) {
            pair_forget_context(p);
            opens(p, i == 0 ? SPLIT_NONE : i == 1 ? SPLIT_BYTES : SPLIT_RANDOM);
            pair_end(p);
        }
    }
}

static void says_what_was_agreed(void **state) {
    struct pair *p = *state;
    p->options.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
    pair_open(p);
    assert_string_equal(tls_filter_version(p->filter), "TLSv1.3");
    assert_string_equal(tls_filter_cipher(p->filter), "TLS_CHACHA20_POLY1305_SHA256");
    assert_false(tls_filter_is_resumed(p->filter));
    assert_string_equal(p->server_name, PAIR_NAME);
    assert_string_equal(p->alpn, "");
    pair_end(p);
    pair_forget_context(p);
    p->options.max_version = LAGO_TLS_1_2;
    p->options.ciphers = "AES256-GCM-SHA384:ECDHE+AES256:!AES256-GCM-SHA384";
    pair_open(p);
    assert_string_equal(tls_filter_version(p->filter), "TLSv1.2");
    assert_non_null(strstr(tls_filter_cipher(p->filter), "AES256"));
}

/* Whatever is asked before it is known, is not so. */
static void says_nothing_before_it_is_known(void **state) {
    struct pair *p = *state;
    assert_int_equal(pair_begin(p), 0);
    assert_false(tls_filter_is_verified(p->filter));
    assert_false(tls_filter_is_resumed(p->filter));
    assert_false(tls_filter_has_room(p->filter));
    pair_run(p);
    assert_int_equal(p->done, 1);
    assert_int_equal(tls_filter_handshake(p->filter), 1); /* once more: it is done */
    assert_true(tls_filter_is_verified(p->filter));
    pair_feed(p, "no record", 9);
    assert_int_equal(p->end, TLS_FAILED);
    assert_false(tls_filter_is_verified(p->filter));
}

/* Names in SNI, addresses never (RFC 6066, 3); a name without the dot of the root. */
static void names_the_server(void **state) {
    struct pair *p = *state;
    static const struct {
        const char *host, *server_name, *sni;
    } rows[] = {
        { PAIR_NAME, NULL, PAIR_NAME },
        { "Broker.Example", NULL, "Broker.Example" },
        { PAIR_NAME ".", NULL, PAIR_NAME },
        { "127.0.0.1", NULL, "" },
        { "::1", NULL, "" },
        { "::1%lo", NULL, "" },
        { "10.0.0.1", PAIR_NAME, PAIR_NAME },
        { "10.0.0.1", PAIR_NAME ".", PAIR_NAME },
        { "elsewhere", "127.0.0.1", "" },
        { "/run/amqp", PAIR_NAME, PAIR_NAME },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        p->host = rows[i].host;
        p->options.server_name = rows[i].server_name;
        p->server_name[0] = '\0';
        pair_open(p);
        assert_string_equal(p->server_name, rows[i].sni);
        pair_end(p);
        pair_forget_context(p);
    }
}

static void offers_alpn(void **state) {
    struct pair *p = *state;
    p->options.alpn = "amqp";
    pair_open(p);
    assert_string_equal(p->alpn, "amqp");
}

static void refuses_old_versions(void **state) {
    struct pair *p = *state;
    SSL_CTX_set_min_proto_version(p->server_ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_1_VERSION);
    pair_expect(pair_refused(p), LAGO_ETLS, "alert protocol version", "no TLS version in common");
    pair_end(p);
    pair_forget_context(p);
    p->options.min_version = LAGO_TLS_1_3;
    SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_2_VERSION);
    pair_expect(pair_refused(p), LAGO_ETLS, "alert protocol version", "no TLS version in common");
}

static void refuses_anonymous_servers(void **state) {
    struct pair *p = *state;
    SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(p->server_ctx, "aNULL@SECLEVEL=0"), 1);
    SSL_CTX_set_dh_auto(p->server_ctx, 1);
    pair_expect(pair_refused(p), LAGO_ETLS, "handshake failure", "client certificate");
    pair_end(p);
    pair_forget_context(p);
    /* nor if the caller lists such ciphers */
    p->options.ciphers = "ALL:aNULL:@SECLEVEL=0";
    pair_expect(pair_refused(p), LAGO_ETLS, "handshake failure", NULL);
}

/* ---------------------------------------------------------------- bytes that are missing or wrong */

static size_t handshake_size(struct pair *p) {
    pair_open(p);
    size_t size = p->server_sent;
    pair_end(p);
    return size;
}

static void for_both_versions(struct pair *p, void (*try)(struct pair *p, size_t at)) {
    p->options.no_session_resumption = true;
    SSL_CTX_set_num_tickets(p->server_ctx, 0);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX_set_min_proto_version(p->server_ctx, version);
        SSL_CTX_set_max_proto_version(p->server_ctx, version);
        size_t size = handshake_size(p);
        assert_true(size > 500);
        for (size_t at = 0; at < size; at++) {
            assert_int_equal(pair_begin(p), 0);
            try(p, at);
            pair_end(p);
            p->cut_at = p->flip_at = SIZE_MAX;
        }
    }
}

/* Nothing is said before the last byte has come. */
static void try_cut(struct pair *p, size_t at) {
    p->cut_at = at;
    pair_run(p);
    assert_int_equal(p->done, 0);
    assert_null(tls_filter_reason(p->filter));
    assert_false(tls_filter_has_room(p->filter));
    assert_int_equal(tls_filter_write(p->filter, &(struct slice){ (const uint8_t *)"AMQP", 4 }, 1), 0);
    assert_int_equal(p->server_heard.size, 0);
}

/* The first record's minor version means nothing (RFC 8446, 5.1: legacy_record_version). */
#define IGNORED_BYTE 2u

/* A failure, or waiting for bytes that never come; never done. */
static void try_flip(struct pair *p, size_t at) {
    if (at == IGNORED_BYTE) return;
    p->flip_at = at;
    pair_run(p);
    assert_int_not_equal(p->done, 1);
    if (p->done == 0) return;
    const lago_reason_t *reason = tls_filter_reason(p->filter);
    assert_non_null(reason);
    assert_true(reason->code == LAGO_ETLS || reason->code == LAGO_ECERTIFICATE);
    assert_string_not_equal(reason->detail, "");
    assert_string_not_equal(reason->hint, "");
    assert_int_equal(tls_filter_handshake(p->filter), TLS_FAILED);
    assert_int_equal(tls_filter_read(p->filter, (uint8_t[8]){ 0 }, 8), TLS_FAILED);
    assert_int_equal(tls_filter_write(p->filter, &(struct slice){ (const uint8_t *)"AMQP", 4 }, 1), TLS_FAILED);
}

static void waits_where_it_is_cut(void **state) { for_both_versions(*state, try_cut); }
static void finds_every_wrong_bit(void **state) { for_both_versions(*state, try_flip); }

/* ---------------------------------------------------------------- the key log */

static char *contents_of(const char *path) {
    static char text[8192];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* What Wireshark needs, for whoever owns the file and nobody else. */
static void logs_keys(void **state) {
    struct pair *p = *state;
    char directory[] = "/tmp/lago-tls-XXXXXX", path[64];
    struct stat found;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/keys", directory);
    p->options.key_log_file = path;
    p->options.no_session_resumption = true;
    mode_t mask = umask(0);
    pair_open(p);
    umask(mask);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    size_t size = strlen(contents_of(path));
    assert_non_null(strstr(contents_of(path), "CLIENT_TRAFFIC_SECRET_0 "));
    pair_end(p);
    pair_open(p);
    assert_int_equal(strlen(contents_of(path)), size * 2);
    unlink(path);
    rmdir(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(works_in_any_pieces),
        TEST(says_what_was_agreed),
        TEST(says_nothing_before_it_is_known),
        TEST(names_the_server),
        TEST(offers_alpn),
        TEST(refuses_old_versions),
        TEST(refuses_anonymous_servers),
        TEST(waits_where_it_is_cut),
        TEST(finds_every_wrong_bit),
        TEST(logs_keys),
    };
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
