/*
 * TLS as a filter. OpenSSL reads from the ciphertext that is at hand and writes straight into the chunks that the socket sends;
 * it keeps what is part of a record itself. Its queue of errors is the thread's: it is emptied before every call and read right
 * behind it.
 */
#include "tls_filter.h"
#include "alloc.h"
#include "reason.h"
#include "tls_bio.h"
#include "tls_peer.h"
#include "tls_words.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

/*
 * Messages of TLS itself: RabbitMQ sends two tickets, and a key update comes once in 2^24 records. More than a thousand keep the
 * processor busy on purpose, but for one in 64 records (whoever is idle and renews his keys each hour beats more often) or 64 KiB.
 */
#define CHAT_MAX    1000u
#define CALM_RECORD 1024u
#define CALM        64u

/*
 * Answers to such messages (alerts, key updates) are queued whether there is room or not: a peer that has us talk and does not read
 * would fill the memory. More than what a writer puts there, and what honest peers cause.
 */
#define OUTPUT_SIZE_MAX (2 * TLS_AHEAD_MAX)

struct tls_filter {
    const lago_allocator_t *alloc; /* the context's */
    struct tls_context *context;
    SSL *ssl;
    struct tls_pipe pipe;
    bool done; /* the handshake */
    bool failed;
    bool closing; /* close_notify is queued */
    lago_reason_t reason;
    struct tls_peer peer;
};

/* ---------------------------------------------------------------- life */

static int bad_name(lago_reason_t *reason) {
    reason_init(reason, LAGO_EPARAMETER, LAGO_BY_CLIENT);
    reason->phase = LAGO_PHASE_TLS;
    reason_detail(reason, "the host is no name that a certificate could have");
    reason_hint(reason, "set tls.server_name to the name in the broker's certificate");
    return LAGO_EPARAMETER;
}

static int no_memory(lago_reason_t *reason) {
    reason_init(reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    reason->phase = LAGO_PHASE_TLS;
    ERR_clear_error();
    return LAGO_ENOMEM;
}

static bool open_ssl(struct tls_filter *f) {
    f->ssl = tls_context_open(f->context, &f->peer);
    return f->ssl && tls_bio_attach(f->ssl, tls_context_method(f->context), &f->pipe) &&
           tls_name_expect(f->ssl, f->peer.name, tls_context_verifies(f->context));
}

int tls_filter_new(struct tls_context *context, const char *host, struct tls_filter **filter, lago_reason_t *reason) {
    const lago_allocator_t *alloc = tls_context_alloc(context);
    struct tls_filter *f = mem_zero(alloc, 1, sizeof(*f));
    *filter = NULL;
    if (!f) return no_memory(reason);
    f->alloc = alloc;
    f->context = tls_context_ref(context);
    chunks_init(&f->pipe.output, alloc);
    f->pipe.output.wipe = false; /* ciphertext */
    const char *name = tls_context_server_name(context) ? tls_context_server_name(context) : host;
    int rc = tls_name(name, f->peer.name) ? 0 : bad_name(reason);
    if (rc == 0 && !open_ssl(f)) rc = no_memory(reason);
    if (rc < 0) {
        tls_filter_free(f);
        return rc;
    }
    *filter = f;
    return 0;
}

void tls_filter_free(struct tls_filter *f) {
    if (!f) return;
    struct tls_context *context = f->context;
    /* a link that ended without close_notify must not cost the session: it is only ever resumed with the same peer's key */
    if (f->ssl && f->done && !f->failed) SSL_set_shutdown(f->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(f->ssl);
    X509_free(f->peer.refused);
    chunks_clear(&f->pipe.output);
    mem_free(f->alloc, f);
    tls_context_unref(context);
}

/* ---------------------------------------------------------------- failing */

static bool is_flooded(const struct tls_filter *f) {
    return f->peer.chat_count > CHAT_MAX || f->pipe.output.size > OUTPUT_SIZE_MAX;
}

static void explain(struct tls_filter *f) {
    if (f->pipe.out_of_memory) {
        reason_init(&f->reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
    } else if (is_flooded(f)) {
        reason_init(&f->reason, LAGO_ETLS, LAGO_BY_NETWORK);
        reason_detail(&f->reason, "the peer floods the link with messages of TLS itself");
        reason_hint(&f->reason, "a broken peer");
    } else {
        tls_failure(f->ssl, &f->peer, f->done, &f->reason);
    }
    f->reason.phase = f->done ? LAGO_PHASE_NONE : LAGO_PHASE_TLS; /* behind the handshake the client knows it better */
}

static int fail(struct tls_filter *f) {
    f->failed = true;
    explain(f);
    if (!f->done) tls_context_shaken(f->context, f->ssl, false);
    ERR_clear_error();
    return TLS_FAILED;
}

const lago_reason_t *tls_filter_reason(const struct tls_filter *f) { return f->failed ? &f->reason : NULL; }

/* ---------------------------------------------------------------- in */

void tls_filter_input(struct tls_filter *f, const uint8_t *data, size_t size) {
    f->pipe.input = data;
    f->pipe.input_size = size;
    for (size_t i = 0; i < size && f->peer.first_size < TLS_FIRST_SIZE; i++) f->peer.first[f->peer.first_size++] = data[i];
}

bool tls_filter_is_starved(const struct tls_filter *f) { return f->pipe.input_size == 0 || f->failed; }

/* What the handshake has verified is asked once more: a callback of the user's may have been lenient. */
static bool is_trusted(const struct tls_filter *f) {
    X509 *certificate = SSL_get0_peer_certificate(f->ssl);
    if (!tls_context_verifies(f->context)) return true;
    return certificate && SSL_get_verify_result(f->ssl) == X509_V_OK && tls_name_matches(certificate, f->peer.name);
}

static int shaken(struct tls_filter *f) {
    if (!is_trusted(f)) {
        ERR_raise(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
        return fail(f);
    }
    f->done = true;
    f->peer.chat_count = 0;
    tls_context_shaken(f->context, f->ssl, true);
    ERR_clear_error();
    return 1;
}

int tls_filter_handshake(struct tls_filter *f) {
    if (f->failed) return TLS_FAILED;
    if (f->done) return 1;
    ERR_clear_error();
    int rc = SSL_do_handshake(f->ssl);
    if (is_flooded(f)) return fail(f);
    if (rc == 1) return shaken(f);
    return SSL_get_error(f->ssl, rc) == SSL_ERROR_WANT_READ && !f->pipe.out_of_memory ? 0 : fail(f);
}

static void calm_down(struct tls_peer *peer, size_t size) {
    peer->calm += 1 + (unsigned)(size / CALM_RECORD);
    if (peer->calm < CALM) return;
    peer->calm = 0;
    peer->chat_count -= peer->chat_count > 0;
}

int64_t tls_filter_read(struct tls_filter *f, uint8_t *buffer, size_t size) {
    size_t total = 0, got = 0;
    if (f->failed) return TLS_FAILED;
    while (total < size) {
        ERR_clear_error();
        int rc = SSL_read_ex(f->ssl, buffer + total, size - total, &got);
        if (is_flooded(f)) return fail(f);
        if (rc == 1) {
            total += got;
            calm_down(&f->peer, got);
            continue;
        }
        int error = SSL_get_error(f->ssl, rc);
        bool waits = error == SSL_ERROR_WANT_READ && !f->pipe.out_of_memory;
        bool broken = !waits && error != SSL_ERROR_ZERO_RETURN;
        if (broken) (void)fail(f); /* now: OpenSSL says only once why */
        if (total > 0 || waits) break;
        return broken ? TLS_FAILED : TLS_CLOSED;
    }
    return (int64_t)total;
}

/* ---------------------------------------------------------------- out */

bool tls_filter_has_room(const struct tls_filter *f) {
    return f->done && !f->failed && !f->closing && f->pipe.output.size < TLS_AHEAD_MAX;
}

/* Up to a whole record in one piece: the first slice itself if it is that big, else small ones gathered in `scratch`. */
static struct slice next_record(const struct slice *slices, size_t count, size_t skip, uint8_t *scratch) {
    struct slice first = { slices->data + skip, slices->size - skip };
    if (first.size >= TLS_RECORD_SIZE_MAX || count == 1) {
        if (first.size > TLS_RECORD_SIZE_MAX) first.size = TLS_RECORD_SIZE_MAX;
        return first;
    }
    size_t size = 0;
    for (size_t i = 0; i < count && size < TLS_RECORD_SIZE_MAX; i++, skip = 0) {
        size_t piece = slices[i].size - skip;
        if (piece > TLS_RECORD_SIZE_MAX - size) piece = TLS_RECORD_SIZE_MAX - size;
        memcpy(scratch + size, slices[i].data + skip, piece);
        size += piece;
    }
    return (struct slice){ scratch, size };
}

int64_t tls_filter_write(struct tls_filter *f, const struct slice *slices, size_t count) {
    uint8_t scratch[TLS_RECORD_SIZE_MAX];
    size_t total = 0, skip = 0, written = 0;
    if (f->failed) return TLS_FAILED;
    if (f->pipe.out_of_memory) return fail(f);
    while (count > 0 && tls_filter_has_room(f)) {
        struct slice record = next_record(slices, count, skip, scratch);
        ERR_clear_error();
        int rc = SSL_write_ex(f->ssl, record.data, record.size, &written);
        if (record.data == scratch) mem_wipe(scratch, record.size); /* there may be a password in it */
        if (rc != 1 && total == 0) return fail(f);
        if (rc != 1) break; /* the records before are on their way, and the caller must know: the next call fails */
        total += written;
        for (skip += written; count > 0 && skip >= slices->size; slices++, count--) skip -= slices->size;
    }
    ERR_clear_error();
    return (int64_t)total;
}

void tls_filter_close(struct tls_filter *f) {
    if (!f->done || f->failed || f->closing) return;
    f->closing = true;
    ERR_clear_error();
    (void)SSL_shutdown(f->ssl); /* 0: sent, the peer's is awaited; nobody does */
    ERR_clear_error();
}

size_t tls_filter_output(const struct tls_filter *f, struct slice *slices, size_t max) {
    return chunks_peek(&f->pipe.output, slices, max);
}

size_t tls_filter_output_size(const struct tls_filter *f) { return f->pipe.output.size; }

void tls_filter_written(struct tls_filter *f, size_t size) { chunks_consume(&f->pipe.output, size); }

/* ---------------------------------------------------------------- asking */

bool tls_filter_is_verified(const struct tls_filter *f) { return f->done && !f->failed && tls_context_verifies(f->context); }

bool tls_filter_is_resumed(const struct tls_filter *f) { return f->done && SSL_session_reused(f->ssl); }

const char *tls_filter_version(const struct tls_filter *f) { return SSL_get_version(f->ssl); }

const char *tls_filter_cipher(const struct tls_filter *f) { return SSL_get_cipher_name(f->ssl); }
