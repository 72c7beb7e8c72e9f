/*
 * The life of an SSL_CTX: made of the options, made again when a file has changed; and what OpenSSL's callbacks tell while links
 * live: sessions to resume, keys to log, certificates that were refused, messages without data.
 */
#include "tls_context.h"
#include "alloc.h"
#include "reason.h"
#include "tls_bio.h"
#include "tls_options.h"
#include "tls_peer.h"
#include "tls_words.h"
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Which version of a file was read. */
struct stamp {
    struct timespec written, changed; /* the second one grows even if somebody sets the first one back */
    off_t size;
    ino_t inode;
};

#define FILE_COUNT 4u /* see files_of */

struct tls_context {
    lago_allocator_t alloc;
    const lago_tls_options_t *options;
    unsigned ref_count;
    BIO_METHOD *method;
    SSL_CTX *ctx;
    SSL_SESSION *session;             /* the newest one, NULL for none */
    char session_name[TLS_NAME_SIZE]; /* whose it is: the chain is not verified again when it is resumed */
    struct stamp stamps[FILE_COUNT];
    int key_log; /* descriptor, -1 for none */
};

static struct tls_peer *peer_of(const SSL *ssl) { return SSL_get_app_data(ssl); }

/* ---------------------------------------------------------------- what OpenSSL tells */

/* Changes no verdict: remembers whom it was about, which OpenSSL forgets. */
static int on_verify(int good, X509_STORE_CTX *store) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    struct tls_peer *peer = ssl ? peer_of(ssl) : NULL;
    if (good || !peer || !certificate || peer->refused || !X509_up_ref(certificate)) return good;
    peer->refused = certificate;
    peer->refused_depth = X509_STORE_CTX_get_error_depth(store);
    return good;
}

/* Messages of TLS itself behind the handshake: tickets, key updates, requests to renegotiate. Each alone is legal. */
static void on_message(int writing, int version, int type, const void *data, size_t size, SSL *ssl, void *unused) {
    struct tls_peer *peer = peer_of(ssl);
    (void)version;
    (void)data;
    (void)size;
    (void)unused;
    if (peer && !writing && type == SSL3_RT_HANDSHAKE) peer->chat_count++;
}

/* One write a line: other processes may append to the same file. */
static void log_key(const SSL *ssl, const char *line) {
    const struct tls_peer *peer = peer_of(ssl);
    if (!peer || peer->context->key_log < 0) return;
    struct iovec parts[] = { { (void *)(uintptr_t)line, strlen(line) }, { (void *)(uintptr_t) "\n", 1 } };
    ssize_t written = writev(peer->context->key_log, parts, 2);
    (void)written; /* a full disk is no reason to fail */
}

/*
 * TLS 1.3 tickets come after the handshake; the newest one is kept. Not that of a link which began under options that have changed.
 * @return 1: the session is ours.
 */
static int on_session(SSL *ssl, SSL_SESSION *session) {
    const struct tls_peer *peer = peer_of(ssl);
    if (!peer || SSL_get_SSL_CTX(ssl) != peer->context->ctx) return 0;
    SSL_SESSION_free(peer->context->session);
    peer->context->session = session;
    memcpy(peer->context->session_name, peer->name, sizeof(peer->name));
    return 1;
}

/* ---------------------------------------------------------------- making it */

static int set_key_log(struct tls_context *context, const struct tls_making *m) {
    if (!m->options->key_log_file) return 0;
    context->key_log = open(m->options->key_log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, S_IRUSR | S_IWUSR);
    if (context->key_log < 0) return tls_refuse(m, "key_log_file", "cannot be opened for appending", NULL);
    SSL_CTX_set_keylog_callback(m->ctx, log_key);
    return 0;
}

static void set_resumption(const struct tls_making *m) {
    bool off = m->options->no_session_resumption;
    SSL_CTX_set_session_cache_mode(m->ctx, off ? SSL_SESS_CACHE_OFF : SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (off)
        SSL_CTX_set_options(m->ctx, SSL_OP_NO_TICKET);
    else
        SSL_CTX_sess_set_new_cb(m->ctx, on_session);
}

static int set_up(struct tls_context *context, const struct tls_making *m) {
    SSL_CTX_set_msg_callback(m->ctx, on_message);
    if (!m->options->insecure_skip_verification) SSL_CTX_set_verify(m->ctx, SSL_VERIFY_PEER, on_verify);
    set_resumption(m);
    int rc = tls_options_apply(m);
    if (rc == 0) rc = set_key_log(context, m);
    if (rc == 0 && m->options->configure && m->options->configure(m->ctx, m->options->configure_data) != 0)
        rc = tls_refuse(m, "configure", "the callback refused", NULL);
    ERR_clear_error();
    return rc;
}

static void files_of(const lago_tls_options_t *options, const char *files[FILE_COUNT]) {
    files[0] = options->ca_file;
    files[1] = options->certificate_file;
    files[2] = options->key_file;
    files[3] = options->crl_file;
}

static struct stamp stamp_of(const char *file) {
    struct stat found;
    if (!file || stat(file, &found) < 0) return (struct stamp){ .size = 0 };
    return (struct stamp){ found.st_mtim, found.st_ctim, found.st_size, found.st_ino };
}

static bool is_same_time(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

static bool is_same(const struct stamp *a, const struct stamp *b) {
    return is_same_time(a->written, b->written) && is_same_time(a->changed, b->changed) && a->size == b->size &&
           a->inode == b->inode;
}

static void read_stamps(const lago_tls_options_t *options, struct stamp *stamps) {
    const char *files[FILE_COUNT];
    files_of(options, files);
    for (size_t i = 0; i < FILE_COUNT; i++) stamps[i] = stamp_of(files[i]);
}

/* OpenSSL's own configuration may be broken. */
static int cannot_be_made(lago_reason_t *reason) {
    char words[120];
    struct tls_errors errors = tls_errors_take();
    if (errors.memory || errors.last == 0) return LAGO_ENOMEM;
    tls_error_words(errors.last, words, sizeof(words));
    reason_init(reason, LAGO_ETLS, LAGO_BY_CLIENT);
    reason->phase = LAGO_PHASE_TLS;
    reason->tls_error = errors.last;
    reason_detail(reason, "OpenSSL cannot be used: %s", words);
    reason_hint(reason, "its configuration (openssl.cnf) or its providers are broken");
    return LAGO_ETLS;
}

static int fill(struct tls_context *context, lago_reason_t *reason) {
    ERR_clear_error();
    context->key_log = -1;
    /* before they are read: a change in between is then found at the next look */
    read_stamps(context->options, context->stamps);
    context->ctx = SSL_CTX_new(TLS_client_method());
    if (!context->ctx) return cannot_be_made(reason);
    return set_up(context, &(struct tls_making){ context->ctx, context->options, &context->alloc, reason });
}

static void empty(struct tls_context *context) {
    SSL_SESSION_free(context->session);
    SSL_CTX_free(context->ctx);
    if (context->key_log >= 0) close(context->key_log);
}

/* ---------------------------------------------------------------- life */

int tls_context_new(const lago_allocator_t *alloc, const lago_tls_options_t *options, struct tls_context **context,
                    lago_reason_t *reason) {
    struct tls_context *made = mem_zero(alloc, 1, sizeof(*made));
    *context = NULL;
    if (!made) return LAGO_ENOMEM;
    *made =
        (struct tls_context){ .alloc = *alloc, .options = options, .ref_count = 1, .key_log = -1, .method = tls_bio_method() };
    int rc = made->method ? fill(made, reason) : LAGO_ENOMEM;
    if (rc < 0) {
        tls_context_unref(made);
        return rc;
    }
    *context = made;
    return 0;
}

int tls_context_refresh(struct tls_context *context, lago_reason_t *reason) {
    struct stamp now[FILE_COUNT];
    bool changed = false;
    read_stamps(context->options, now);
    for (size_t i = 0; i < FILE_COUNT; i++) changed = changed || !is_same(&now[i], &context->stamps[i]);
    if (!changed) return 0;
    struct tls_context fresh = *context;
    fresh.session = NULL; /* none is resumed under new rules */
    int rc = fill(&fresh, reason);
    if (rc < 0) {
        empty(&fresh);
        return rc;
    }
    empty(context); /* links that live have their own count of the old SSL_CTX */
    *context = fresh;
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *context) {
    context->ref_count++;
    return context;
}

void tls_context_unref(struct tls_context *context) {
    if (!context || --context->ref_count > 0) return;
    lago_allocator_t alloc = context->alloc;
    empty(context);
    BIO_meth_free(context->method);
    mem_free(&alloc, context);
}

/* ---------------------------------------------------------------- links */

const lago_allocator_t *tls_context_alloc(const struct tls_context *context) { return &context->alloc; }

const char *tls_context_server_name(const struct tls_context *context) { return context->options->server_name; }

bool tls_context_verifies(const struct tls_context *context) { return !context->options->insecure_skip_verification; }

const BIO_METHOD *tls_context_method(const struct tls_context *context) { return context->method; }

/* A ticket is used once (RFC 8446, C.4), and one that makes a handshake fail must not make the next ones fail as well. */
static SSL_SESSION *take_session(struct tls_context *context, const char *name) {
    SSL_SESSION *session = context->session;
    if (!session || strcmp(context->session_name, name) != 0) return NULL;
    context->session = NULL;
    return session;
}

SSL *tls_context_open(struct tls_context *context, struct tls_peer *peer) {
    SSL *ssl = SSL_new(context->ctx);
    if (!ssl) return NULL;
    SSL_set_app_data(ssl, peer);
    peer->context = context;
    SSL_set_connect_state(ssl);
    SSL_SESSION *session = take_session(context, peer->name);
    /* one that cannot be used (too old) only means a full handshake */
    if (session && SSL_SESSION_is_resumable(session)) (void)SSL_set_session(ssl, session);
    SSL_SESSION_free(session);
    ERR_clear_error();
    return ssl;
}

void tls_context_shaken(struct tls_context *context, SSL *ssl, bool good) {
    bool own = SSL_get_SSL_CTX(ssl) == context->ctx;
    if (!good && own) {
        SSL_SESSION_free(context->session);
        context->session = NULL;
    }
    /* sessions of TLS 1.2 are for many links, and the server need not send another */
    if (!good || !own || context->session || !SSL_session_reused(ssl) || SSL_version(ssl) >= TLS1_3_VERSION) return;
    context->session = SSL_get1_session(ssl);
}
