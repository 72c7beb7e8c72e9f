/*
 * The TLS filter (adapters/tls) against OpenSSL's server in memory (tests/tls/pair.h): what the server sends is cut, changed in one
 * octet, cut short, or made up; then both talk, renew their keys, say goodbye. Nothing is heard that was not said, nothing before the
 * server is verified, and nothing behind a failure.
 *
 * Input: an octet of flags, one of the server, four for the place of a change, then the decisions. With RAW all the rest is what the
 * server says. Both sides draw random numbers: the same input goes the same way, but not with the same octets.
 */
#include "fuzz.h"
#include "pair.h"
#include <openssl/err.h>
#include <string.h>

enum {
    TALKED,
    VERSION_12,
    RESUMED,
    REFUSED_STRANGER,
    BROKEN_HANDSHAKE,
    BROKEN_RECORD,
    NO_TLS,
    KEYS_RENEWED,
    GOODBYE,
    CUT_SHORT,
    FULL,
    IN_OCTETS
};
const char *const fuzz_milestones[] = { "both sides heard",
                                        "TLS 1.2",
                                        "a session resumed",
                                        "a certificate of a stranger's authority refused",
                                        "a handshake with an octet changed",
                                        "a record with an octet changed",
                                        "a peer that speaks no TLS",
                                        "keys renewed",
                                        "the server's close_notify",
                                        "a handshake cut short",
                                        "no more room for plaintext",
                                        "everything octet by octet",
                                        NULL };

#define RAW      1u
#define FLIPS    2u /* an octet of what the server sends, by its place */
#define CUTS     4u /* nothing more from that place on */
#define SPLITS   8u
#define TWICE    16u /* a second connection of the same context */
#define IN_BYTES 32u

#define OLD_VERSION 1u /* the server knows TLS 1.2 at most */
#define IS_STRANGER 2u

#define SAID_MAX 200000u
#define OPS_MAX  24u

/* Beside what waits: a record and what encrypts it, an alert. */
#define OUTPUT_MAX (TLS_AHEAD_MAX + 2 * (TLS_RECORD_SIZE_MAX + 512))

static struct pair *p;
static struct cert *stranger;
static uint8_t pattern[SAID_MAX];
static size_t said, told; /* by the server, by the client, of the pattern */

static void begin_program(void) {
    void *none = NULL;
    if (stranger) return;
    (void)pair_make_certs(&none);
    stranger = cert_new(&(struct cert_options){ .subject = "no broker", .issuer = pair_stranger_ca, .names = "DNS:" PAIR_NAME });
    REQUIRE(stranger);
    for (size_t i = 0; i < sizeof(pattern); i++) pattern[i] = (uint8_t)(i * 31 + i / 256);
}

/* ---------------------------------------------------------------- what holds at any time */

static void check_failure(const lago_reason_t *reason) {
    uint8_t byte = 0;
    REQUIRE(reason->code < 0 && reason->phase == (p->done == 1 ? LAGO_PHASE_NONE : LAGO_PHASE_TLS));
    for (const char *c = reason->detail; *c; c++) REQUIRE(*c >= ' ' && *c <= '~');
    for (const char *c = reason->hint; *c; c++) REQUIRE(*c >= ' ' && *c <= '~');
    REQUIRE(tls_filter_read(p->filter, &byte, 1) == TLS_FAILED);
    REQUIRE(tls_filter_write(p->filter, &(struct slice){ pattern, 1 }, 1) == TLS_FAILED);
}

static void check(void) {
    const lago_reason_t *reason = tls_filter_reason(p->filter);
    bool good = p->done == 1 && (reason || tls_filter_is_verified(p->filter)); /* what has failed is not good any more */
    REQUIRE(p->heard.size <= said && (p->heard.size == 0 || memcmp(p->heard.data, pattern, p->heard.size) == 0));
    REQUIRE(p->heard.size == 0 || good);
    REQUIRE(p->server_heard.size <= told &&
            (p->server_heard.size == 0 || memcmp(p->server_heard.data, pattern, p->server_heard.size) == 0));
    REQUIRE(tls_filter_output_size(p->filter) <= OUTPUT_MAX);
    REQUIRE((p->done == TLS_FAILED) <= (reason != NULL));
    if (reason) check_failure(reason);
}

/* ---------------------------------------------------------------- a conversation */

static void server_says(struct decisions *d) {
    size_t size = (size_t)decide(d) * 256, written = 0;
    if (size > sizeof(pattern) - said) size = sizeof(pattern) - said;
    if (size == 0 || p->server_ended || SSL_write_ex(p->server, pattern + said, size, &written) != 1) return;
    said += written;
}

static void client_says(struct decisions *d) {
    struct slice slice = { pattern + told, (size_t)decide(d) * 256 };
    if (slice.size > sizeof(pattern) - told) slice.size = sizeof(pattern) - told;
    int64_t taken = tls_filter_write(p->filter, &slice, 1);
    REQUIRE(taken == TLS_FAILED || (taken >= 0 && (size_t)taken <= slice.size));
    REACH_IF(taken == 0 && slice.size > 0, FULL);
    if (taken > 0) told += (size_t)taken;
}

static void made_up(struct decisions *d) {
    size_t size = decide(d);
    const uint8_t *bytes = decide_bytes(d, &size);
    if (size > 0 && tls_filter_is_starved(p->filter)) pair_feed(p, bytes, size);
}

static void change(struct decisions *d) { p->flip_at = p->server_sent + decide(d); }

static void server_acts(unsigned what) {
    if (p->server_ended) return;
    if (what == 0 && SSL_version(p->server) == TLS1_3_VERSION)
        REACH_IF(SSL_key_update(p->server, SSL_KEY_UPDATE_REQUESTED) == 1, KEYS_RENEWED);
    else if (what == 0)
        (void)SSL_renegotiate(p->server);
    else
        (void)SSL_shutdown(p->server);
    ERR_clear_error();
}

static void talk(struct decisions *d) {
    for (unsigned ops = 0; ops < OPS_MAX && d->left > 0; ops++) {
        uint8_t op = decide(d);
        switch (op & 7) {
        case 0: server_says(d); break;
        case 1: client_says(d); break;
        case 2: made_up(d); break;
        case 3: change(d); break;
        case 4: server_acts(op >> 3 & 1); break;
        case 5:
            if (op >> 3 == 1) tls_filter_close(p->filter);
            break;
        default: pair_run(p); break;
        }
        ERR_clear_error(); /* the server's */
        check();
    }
    if (!tls_filter_reason(p->filter)) pair_run(p);
    check();
    REACH_IF(p->heard.size && p->server_heard.size, TALKED);
    REACH_IF(p->end == TLS_CLOSED, GOODBYE);
    REACH_IF(p->flip_at < p->server_sent && p->end == TLS_FAILED, BROKEN_RECORD);
}

/* ---------------------------------------------------------------- a connection */

static void connect_once(unsigned flags, unsigned server, struct decisions *d) {
    said = told = 0;
    if (pair_begin(p) < 0) fuzz_broken(__FILE__, __LINE__, p->reason.detail);
    if (flags & RAW) {
        (void)tls_filter_handshake(p->filter);
        while (d->left > 0 && !tls_filter_reason(p->filter)) made_up(d);
        REQUIRE(p->done != 1 && p->heard.size == 0 && !tls_filter_is_verified(p->filter));
        REACH_IF(p->done == TLS_FAILED, NO_TLS);
        check();
        pair_end(p);
        return;
    }
    pair_run(p);
    check();
    REQUIRE(p->done != 1 || !(server & IS_STRANGER));
    REACH_IF(p->done == TLS_FAILED && server & IS_STRANGER, REFUSED_STRANGER);
    REACH_IF(p->done == TLS_FAILED && flags & FLIPS, BROKEN_HANDSHAKE);
    REACH_IF(p->done == 0 && flags & CUTS, CUT_SHORT);
    if (p->done == 1) {
        REACH_IF(server & OLD_VERSION, VERSION_12);
        REACH_IF(tls_filter_is_resumed(p->filter), RESUMED);
        REACH_IF(flags & IN_BYTES, IN_OCTETS);
        talk(d);
    }
    pair_end(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 6) return 0;
    struct decisions d = { data, size };
    void *state = NULL;
    begin_program();
    unsigned flags = decide(&d), server = decide(&d);
    uint32_t flip_at = decide_u16(&d), cut_at = decide_u16(&d);
    (void)pair_setup(&state);
    p = state;
    if (server & IS_STRANGER) pair_show(p, stranger, NULL);
    if (server & OLD_VERSION) (void)SSL_CTX_set_max_proto_version(p->server_ctx, TLS1_2_VERSION);
    if (flags & SPLITS) p->split = flags & IN_BYTES ? SPLIT_BYTES : SPLIT_RANDOM;
    if (flags & FLIPS) p->flip_at = flip_at;
    if (flags & CUTS) p->cut_at = cut_at;
    connect_once(flags, server, &d);
    if (flags & TWICE) connect_once(flags & ~(FLIPS | CUTS), server, &d);
    (void)pair_teardown(&state);
    return 0;
}
