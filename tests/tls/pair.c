/* lago's filter and a server in memory: see pair.h. */
#include "pair.h"
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READ_SIZE_MAX ((size_t)256 * 1024)

struct cert *pair_ca, *pair_leaf, *pair_stranger_ca;
char *pair_ca_pem, *pair_stranger_pem;

/* ---------------------------------------------------------------- bytes */

void heap_add(struct heap *heap, const void *data, size_t size) {
    if (heap->size + size > heap->capacity) {
        heap->capacity = (heap->size + size) * 2;
        heap->data = realloc(heap->data, heap->capacity);
        assert_non_null(heap->data);
    }
    if (size > 0) memcpy(heap->data + heap->size, data, size);
    heap->size += size;
}

void heap_free(struct heap *heap) {
    free(heap->data);
    *heap = (struct heap){ 0 };
}

static size_t next_piece(struct pair *p, size_t size) {
    if (size == 0 || p->split == SPLIT_NONE) return size;
    if (p->split == SPLIT_BYTES) return 1;
    p->random = p->random * 1103515245u + 12345u;
    size_t piece = 1 + (p->random >> 16) % 600;
    return piece < size ? piece : size;
}

/* ---------------------------------------------------------------- fixtures */

int pair_make_certs(void **state) {
    (void)state;
    pair_ca = cert_new(&(struct cert_options){ .subject = "good authority", .is_ca = true });
    pair_stranger_ca = cert_new(&(struct cert_options){ .subject = "stranger", .is_ca = true });
    /* Ed25519: its signatures are of one size, so that a handshake is as long each time */
    pair_leaf = cert_new(&(struct cert_options){
        .subject = "the broker", .issuer = pair_ca, .names = "DNS:" PAIR_NAME ",IP:127.0.0.1,IP:::1", .key = CERT_ED25519 });
    pair_ca_pem = cert_pem((const struct cert *const[]){ pair_ca }, 1);
    pair_stranger_pem = cert_pem((const struct cert *const[]){ pair_stranger_ca }, 1);
    return 0;
}

int pair_free_certs(void **state) {
    (void)state;
    cert_free(pair_leaf);
    cert_free(pair_ca);
    cert_free(pair_stranger_ca);
    free(pair_ca_pem);
    free(pair_stranger_pem);
    return 0;
}

/* The server keeps tickets in memory and takes whatever protocol is offered first. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in, unsigned in_size,
                       void *data) {
    struct pair *p = data;
    (void)ssl;
    assert_true(in_size > 1 && in[0] < sizeof p->alpn);
    memcpy(p->alpn, in + 1, in[0]);
    *out = in + 1;
    *out_size = in[0];
    return SSL_TLSEXT_ERR_OK;
}

int pair_setup(void **state) {
    static struct pair p;
    p = (struct pair){ .host = PAIR_NAME, .cut_at = SIZE_MAX, .flip_at = SIZE_MAX, .random = 1 };
    fail_alloc_init(&p.memory);
    p.server_ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(p.server_ctx);
    SSL_CTX_set_session_id_context(p.server_ctx, (const unsigned char *)"pair", 4);
    SSL_CTX_set_alpn_select_cb(p.server_ctx, select_alpn, &p);
    pair_show(&p, pair_leaf, NULL);
    *state = &p;
    return 0;
}

int pair_teardown(void **state) {
    struct pair *p = *state;
    pair_end(p);
    pair_forget_context(p);
    SSL_CTX_free(p->server_ctx);
    fail_alloc_check(&p->memory);
    assert_int_equal(ERR_peek_error(), 0);
    return 0;
}

void pair_show(struct pair *p, const struct cert *leaf, const struct cert *between) {
    SSL_CTX_set_security_level(p->server_ctx, 0); /* the server has no scruples */
    SSL_CTX_clear_chain_certs(p->server_ctx);
    assert_int_equal(SSL_CTX_use_certificate(p->server_ctx, leaf->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->server_ctx, leaf->key), 1);
    if (between) assert_int_equal(SSL_CTX_add1_chain_cert(p->server_ctx, between->x509), 1);
    ERR_clear_error();
}

int pair_begin(struct pair *p) {
    lago_tls_options_t *o = &p->options;
    if (!o->ca_file && !o->ca_directory && !o->ca_pem.size) o->ca_pem = (lago_bytes_t){ pair_ca_pem, strlen(pair_ca_pem) };
    int rc = p->context ? 0 : tls_context_new(&p->memory.allocator, o, &p->context, &p->reason);
    if (rc == 0) rc = tls_filter_new(p->context, p->host, &p->filter, &p->reason);
    assert_int_equal(ERR_peek_error(), 0);
    if (rc < 0) return rc;
    p->server = SSL_new(p->server_ctx);
    assert_non_null(p->server);
    SSL_set_bio(p->server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(p->server);
    p->done = p->end = 0;
    p->server_ended = false;
    p->server_sent = 0;
    return 0;
}

void pair_end(struct pair *p) {
    tls_filter_free(p->filter);
    if (p->server) SSL_set_shutdown(p->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* it keeps its sessions */
    SSL_free(p->server);
    p->filter = NULL;
    p->server = NULL;
    heap_free(&p->heard);
    heap_free(&p->server_heard);
    heap_free(&p->sent);
    heap_free(&p->input);
    ERR_clear_error(); /* the server's */
}

void pair_forget_context(struct pair *p) {
    tls_context_unref(p->context);
    p->context = NULL;
}

/* ---------------------------------------------------------------- moving */

static bool client_sends(struct pair *p) {
    struct slice slices[4];
    size_t count = tls_filter_output(p->filter, slices, 4);
    if (count == 0) return false;
    size_t size = next_piece(p, slices[0].size);
    heap_add(&p->sent, slices[0].data, size);
    if (BIO_write(SSL_get_rbio(p->server), slices[0].data, (int)size) != (int)size) p->server_ended = true; /* no memory */
    tls_filter_written(p->filter, size);
    return true;
}

static void server_works(struct pair *p) {
    uint8_t buffer[4096];
    size_t got;
    if (p->server_ended) return;
    ERR_clear_error();
    int rc = SSL_is_init_finished(p->server) ? 1 : SSL_do_handshake(p->server);
    const char *name = SSL_get_servername(p->server, TLSEXT_NAMETYPE_host_name);
    if (name) snprintf(p->server_name, sizeof p->server_name, "%s", name);
    while (rc == 1 && (rc = SSL_read_ex(p->server, buffer, sizeof buffer, &got)) == 1) heap_add(&p->server_heard, buffer, got);
    if (SSL_get_error(p->server, rc) != SSL_ERROR_WANT_READ) p->server_ended = true;
    ERR_clear_error();
}

/* Once the filter has used up what it got. */
static bool server_sends(struct pair *p) {
    BIO *bio = SSL_get_wbio(p->server);
    size_t size = next_piece(p, BIO_ctrl_pending(bio));
    if (size == 0 || !tls_filter_is_starved(p->filter)) return false;
    heap_free(&p->input); /* a new block: what still reads the old one is found */
    p->input.data = malloc(size);
    assert_non_null(p->input.data);
    assert_int_equal(BIO_read(bio, p->input.data, (int)size), size);
    if (p->flip_at >= p->server_sent && p->flip_at < p->server_sent + size) p->input.data[p->flip_at - p->server_sent] ^= 0x20;
    size_t left = p->cut_at > p->server_sent ? p->cut_at - p->server_sent : 0;
    p->input.size = size < left ? size : left;
    p->server_sent += size;
    if (p->input.size > 0) tls_filter_input(p->filter, p->input.data, p->input.size);
    return p->input.size > 0;
}

/* @return whether something came. */
static bool client_reads(struct pair *p) {
    static uint8_t buffer[READ_SIZE_MAX];
    bool some = false;
    int64_t got;
    if (p->done == 0) p->done = tls_filter_handshake(p->filter);
    if (p->done != 1) return false;
    while ((got = tls_filter_read(p->filter, buffer, p->read_size ? p->read_size : sizeof buffer)) > 0) {
        heap_add(&p->heard, buffer, (size_t)got);
        some = true;
    }
    p->end = (int)got;
    return some;
}

void pair_run(struct pair *p) {
    for (bool moves = true; moves;) {
        moves = client_reads(p);
        assert_int_equal(ERR_peek_error(), 0); /* the queue of errors is the thread's, not lago's */
        if (client_sends(p)) {
            server_works(p);
            moves = true;
        }
        if (server_sends(p)) moves = true;
    }
}

void pair_feed(struct pair *p, const void *data, size_t size) {
    heap_free(&p->input);
    heap_add(&p->input, data, size);
    tls_filter_input(p->filter, p->input.data, size);
    (void)client_reads(p);
}

void pair_open(struct pair *p) {
    if (pair_begin(p) != 0) fail_msg("%s", p->reason.detail);
    pair_run(p);
    const lago_reason_t *reason = tls_filter_reason(p->filter);
    if (reason) fail_msg("%s (%s)", reason->detail, reason->hint);
    assert_int_equal(p->done, 1);
    assert_true(SSL_is_init_finished(p->server));
}

const lago_reason_t *pair_refused(struct pair *p) {
    if (pair_begin(p) != 0) fail_msg("%s", p->reason.detail);
    pair_run(p);
    assert_int_equal(p->done, TLS_FAILED);
    assert_int_equal(p->server_heard.size, 0);
    const lago_reason_t *reason = tls_filter_reason(p->filter);
    assert_non_null(reason);
    assert_int_equal(reason->phase, LAGO_PHASE_TLS);
    return reason;
}

void pair_say(struct pair *p, const void *data, size_t size) {
    struct slice slice = { data, size };
    while (slice.size > 0) {
        int64_t taken = tls_filter_write(p->filter, &slice, 1);
        assert_true(taken >= 0);
        slice.data += taken;
        slice.size -= (size_t)taken;
        pair_run(p);
    }
}

void pair_server_says(struct pair *p, const void *data, size_t size) {
    size_t written;
    assert_int_equal(SSL_write_ex(p->server, data, size, &written), 1);
    assert_int_equal(written, size);
}

void pair_expect(const lago_reason_t *reason, int code, const char *words, const char *hint) {
    assert_non_null(reason);
    if (reason->code != code || !strstr(reason->detail, words) || (hint && !strstr(reason->hint, hint)))
        fail_msg("%d \"%s\" (%s), not %d \"%s\" (%s)", reason->code, reason->detail, reason->hint, code, words, hint ? hint : "");
    assert_true(strlen(reason->detail) < sizeof reason->detail - 1); /* whole */
    assert_true(strlen(reason->hint) < sizeof reason->hint - 1);
}
