/* One client and one peer on a loop: see scene.h. */
#include "scene.h"
#include "fail_alloc.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <unistd.h>

/* A row that takes longer has hung: the longest deadline is 5 s. */
#define GUARD_MS         20000u
#define STACK_TIMEOUT_MS 5000u

struct cert *scene_ca, *scene_server, *scene_stranger_ca;
static char directory[] = "/tmp/lago-badpeers.XXXXXX";
static struct fail_alloc openssl_memory; /* OpenSSL's is the process's */

struct run {
    struct outcome *outcome;
    lago_connection_t *conn;
    uv_loop_t loop;
    uv_timer_t guard;
    struct peer peer;
};

/* ---------------------------------------------------------------- the world */

static void *openssl_malloc(size_t size, const char *file, int line) {
    (void)file;
    (void)line;
    return size ? openssl_memory.allocator.malloc(size, openssl_memory.allocator.data) : NULL;
}

static void openssl_free(void *pointer, const char *file, int line) {
    (void)file;
    (void)line;
    if (pointer) openssl_memory.allocator.free(pointer, openssl_memory.allocator.data);
}

static void *openssl_realloc(void *pointer, size_t size, const char *file, int line) {
    if (!pointer) return openssl_malloc(size, file, line);
    if (size) return openssl_memory.allocator.realloc(pointer, size, openssl_memory.allocator.data);
    openssl_free(pointer, file, line);
    return NULL;
}

void scene_begin(void) {
    fail_alloc_init(&openssl_memory);
    if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free)) abort();
    if (!mkdtemp(directory)) abort();
    scene_ca = cert_new(&(struct cert_options){ .subject = "good authority", .is_ca = true });
    scene_stranger_ca = cert_new(&(struct cert_options){ .subject = "strange authority", .is_ca = true });
    scene_server = cert_new(&(struct cert_options){ .subject = "server", .issuer = scene_ca, .names = "DNS:" SCENE_NAME });
}

void scene_end(void) {
    cert_free(scene_server);
    cert_free(scene_stranger_ca);
    cert_free(scene_ca);
    rmdir(directory);
}

/* ---------------------------------------------------------------- making a scene */

static void own(struct scene *scene, void *pointer, void (*free_it)(void *)) {
    if (scene->owned_count == sizeof scene->owned / sizeof scene->owned[0]) abort();
    scene->owned[scene->owned_count] = pointer;
    scene->free_owned[scene->owned_count++] = free_it;
}

static void free_cert(void *cert) { cert_free(cert); }

static void free_context(void *ctx) { SSL_CTX_free(ctx); }

static void free_file(void *path) {
    unlink(path);
    free(path);
}

struct cert *scene_cert(struct scene *scene, const struct cert_options *options) {
    struct cert *cert = cert_new(options);
    own(scene, cert, free_cert);
    return cert;
}

char *scene_text(struct scene *scene, char *text) {
    own(scene, text, free);
    return text;
}

const char *scene_file(struct scene *scene, char *text) {
    char name[16];
    snprintf(name, sizeof name, "%u", scene->file_count++);
    char *path = cert_file(directory, name, text);
    free(text);
    own(scene, path, free_file);
    return path;
}

void scene_serve_these(struct scene *scene, const struct cert *const *chain) {
    SSL_CTX *ctx = peer_context(chain[0]->x509, chain[0]->key);
    for (size_t i = 1; chain[i]; i++)
        if (!SSL_CTX_add1_chain_cert(ctx, chain[i]->x509)) abort();
    own(scene, ctx, free_context);
    scene->script.ctx = ctx;
}

void scene_trust(struct scene *scene, const struct cert *ca) {
    char *pem = scene_text(scene, cert_pem(&ca, 1));
    scene->tls.ca_pem = (lago_bytes_t){ (const uint8_t *)pem, strlen(pem) };
}

void scene_init(struct scene *scene) {
    *scene = (struct scene){ .tls = { .server_name = SCENE_NAME } };
    scene->parameters = (lago_parameters_t){ .host = "127.0.0.1",
                                             .credentials = { .username = SCENE_USER, .password = SCENE_PASSWORD },
                                             .stack_timeout_ms = STACK_TIMEOUT_MS,
                                             .retry_delay_ms = LAGO_NO_DELAY };
    scene_trust(scene, scene_ca);
    scene_serve(scene, scene_server);
}

void scene_free(struct scene *scene) {
    while (scene->owned_count > 0) {
        scene->owned_count--;
        scene->free_owned[scene->owned_count](scene->owned[scene->owned_count]);
    }
}

/* ---------------------------------------------------------------- running it */

static void note_link(struct run *run, lago_connection_t *conn) {
    lago_tls_info_t info = lago_connection_tls(conn);
    run->outcome->resumed = info.resumed;
    if (!info.version[0]) return;
    snprintf(run->outcome->version, sizeof run->outcome->version, "%s", info.version);
    snprintf(run->outcome->cipher, sizeof run->outcome->cipher, "%s", info.cipher);
}

static void on_open(lago_connection_t *conn, void *data) {
    struct run *run = data;
    run->outcome->opened = true;
    note_link(run, conn);
    lago_connection_close(conn, NULL);
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct run *run = data;
    char words[1024];
    (void)conn;
    run->outcome->ended = true;
    lago_reason_format(reason, words, sizeof words);
    if (strstr(words, SCENE_PASSWORD)) run->outcome->password_told = true;
    if (!run->outcome->opened || reason->code != LAGO_ECLOSED) run->outcome->reason = *reason;
}

static void on_log(lago_log_level_t level, const char *line, void *data) {
    struct run *run = data;
    (void)level;
    if (strstr(line, SCENE_PASSWORD)) run->outcome->password_told = true;
    if (getenv("BADPEERS_LOG")) printf("    log: %s\n", line);
}

static void on_guard(uv_timer_t *timer) { ((struct run *)timer->data)->outcome->hung = true; }

static void converse(struct run *run, const struct scene *scene, lago_context_t *context) {
    struct outcome *o = run->outcome;
    lago_parameters_t parameters = scene->parameters;
    parameters.port = (uint16_t)run->peer.port;
    parameters.tls = &scene->tls;
    lago_connection_options_t options = { .parameters = &parameters,
                                          .context = context,
                                          .on_open = on_open,
                                          .on_open_error = on_end,
                                          .on_close = on_end,
                                          .data = run };
    uint64_t began = uv_hrtime();
    int rc = lago_connect(&run->loop, NULL, &options, &run->conn);
    if (rc < 0) o->reason.code = rc;
    while (rc == 0 && !o->ended && !o->hung) uv_run(&run->loop, UV_RUN_ONCE);
    o->ms = (double)(uv_hrtime() - began) / 1e6;
    lago_connection_free(run->conn);
    while (run->peer.has_client && !o->hung) uv_run(&run->loop, UV_RUN_ONCE); /* what is still in the kernel counts as well */
}

static void judge(struct run *run) {
    struct outcome *o = run->outcome;
    const struct peer *peer = &run->peer;
    o->plain_size = peer->plain.size;
    o->flight_size = peer->flight_size;
    o->client_count = peer->client_count;
    o->header_in_clear = blob_has(&peer->raw, "AMQP", 4);
    o->password_received = blob_has(&peer->raw, SCENE_PASSWORD, strlen(SCENE_PASSWORD)) ||
                           blob_has(&peer->plain, SCENE_PASSWORD, strlen(SCENE_PASSWORD));
}

void scene_run(const struct scene *scene, struct outcome *outcome) {
    struct run run = { .outcome = outcome };
    struct fail_alloc memory;
    lago_context_t *context;
    *outcome = (struct outcome){ 0 };
    fail_alloc_init(&memory);
    if (uv_loop_init(&run.loop) != 0 || uv_timer_init(&run.loop, &run.guard) != 0) abort();
    run.guard.data = &run;
    uv_timer_start(&run.guard, on_guard, GUARD_MS, 0);
    peer_listen(&run.peer, &run.loop, &scene->script);
    lago_context_options_t options = {
        .allocator = memory.allocator, .log = on_log, .log_data = &run, .log_level = LAGO_LOG_TRACE
    };
    if (lago_context_new(&run.loop, &options, &context) != 0) abort();
    size_t before = openssl_memory.live_bytes;
    openssl_memory.peak_bytes = before;
    converse(&run, scene, context);
    judge(&run);
    peer_close(&run.peer);
    uv_close((uv_handle_t *)&run.guard, NULL);
    lago_context_free(context);
    uv_run(&run.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&run.loop) != 0) outcome->hung = true;
    peer_free(&run.peer);
    outcome->leaked = memory.live_count > 0;
    outcome->memory_peak = memory.peak_bytes + openssl_memory.peak_bytes - before;
}
