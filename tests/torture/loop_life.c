/* Lives on a real loop. Must not know what is made to fail, only that something may be. */
#define _GNU_SOURCE
#include "loop_life.h"

#include "app.h"
#include "certs.h"
#include "facts.h"
#include "net_broker.h"
#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define WAIT_MS     150u   /* for an answer that does not come */
#define PATIENCE_MS 20000u /* a life that has not ended then never ends */
#define LARGE       ((size_t)300000)
#define BULK        ((size_t)400000) /* several of them fill any socket's buffer */

static struct life {
    struct app app;
    struct net_broker broker;
    uv_loop_t loop;
    lago_context_t *context;
    struct loop_scenario scenario;
    uv_tcp_t *given;
    bool stream_freed;
    int posts_run, posts_accepted;
} life;

static struct life *const l = &life;

static struct {
    char directory[64];
    char *ca, *other, *leaf, *key, *crl;
    char *ca_file, *leaf_file, *key_file, *crl_file;
    lago_tls_options_t memory, files;
} tls;

/* ---------------------------------------------------------------- names */

static void add_address(struct addrinfo **list, uint32_t ip, uint16_t port) {
    struct addrinfo *made = calloc(1, sizeof *made + sizeof(struct sockaddr_in)); /* in one block, as freeaddrinfo() wants them */
    if (!made) abort();
    struct sockaddr_in *address = (struct sockaddr_in *)(made + 1);
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip) };
    *made = (struct addrinfo){ .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_next = *list };
    made->ai_addr = (struct sockaddr *)address;
    made->ai_addrlen = sizeof *address;
    *list = made;
}

/* In the place of libc's, for libuv as well: "two.test" has an address where nobody is, and the broker's. */
LAGO_EXPORT int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (node && strcmp(node, "two.test") == 0) {
        *list = NULL;
        add_address(list, INADDR_LOOPBACK, (uint16_t)atoi(service));
        add_address(list, INADDR_LOOPBACK + 4, (uint16_t)atoi(service));
        return 0;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, list);
}

/* ---------------------------------------------------------------- ways */

static const char *const ways[LOOP_WAYS] = { "tcp", "name", "unix", "fd", "stream", "socks", "http", "tls", "tls-files" };
static const char *const fates[LOOP_FATES] = { "well", "bulk", "cut", "busy" };

const char *loop_name(struct loop_scenario scenario) {
    static char name[40];
    (void)snprintf(name, sizeof name, "%s-%s", ways[scenario.way], fates[scenario.fate]);
    return name;
}

static bool is_tls(void) { return l->scenario.way == LOOP_TLS || l->scenario.way == LOOP_TLS_FILES; }

bool loop_makes_sense(struct loop_scenario scenario) { return scenario.way < LOOP_WAYS && scenario.fate < LOOP_FATES; }

void loop_prepare(void) {
    (void)snprintf(tls.directory, sizeof tls.directory, "/tmp/lago-torture-XXXXXX");
    if (!mkdtemp(tls.directory)) abort();
    struct cert *ca = cert_new(&(struct cert_options){ .subject = "torture", .is_ca = true, .key = CERT_ED25519 });
    struct cert *leaf = cert_new(&(struct cert_options){ .issuer = ca, .usage = "clientAuth", .key = CERT_ED25519 });
    tls.leaf = cert_pem((const struct cert *const *)&leaf, 1);
    tls.key = cert_key_pem(leaf, NULL);
    tls.leaf_file = cert_file(tls.directory, "leaf.pem", tls.leaf);
    tls.key_file = cert_file(tls.directory, "key.pem", tls.key);
    cert_free(leaf);
    cert_free(ca);
    tls.memory = *peer_tls_trust();
    tls.ca = strndup(tls.memory.ca_pem.data, tls.memory.ca_pem.size);
    tls.ca_file = cert_file(tls.directory, "ca.pem", tls.ca);
    tls.memory.certificate_pem = (lago_bytes_t){ tls.leaf, strlen(tls.leaf) };
    tls.memory.key_pem = (lago_bytes_t){ tls.key, strlen(tls.key) };
    tls.memory.alpn = "amqp";
    tls.files = (lago_tls_options_t){ .ca_file = tls.ca_file,
                                      .ca_directory = tls.directory,
                                      .certificate_file = tls.leaf_file,
                                      .key_file = tls.key_file,
                                      .ciphers = "HIGH",
                                      .ciphersuites = "TLS_AES_128_GCM_SHA256",
                                      .server_name = "localhost" };
    peer_tls_free(peer_tls_new());
    uv_loop_t first; /* opens what libuv keeps for the process */
    if (uv_loop_init(&first) != 0 || uv_loop_close(&first) != 0) abort();
}

void loop_clean(void) {
    char *files[] = { tls.ca_file, tls.leaf_file, tls.key_file };
    for (size_t i = 0; i < 3; i++) (void)unlink(files[i]);
    (void)rmdir(tls.directory);
}

/* ---------------------------------------------------------------- running */

static uint64_t now_ms(void) { return uv_hrtime() / 1000000; }

static bool serve(void) {
    faults.off = true;
    bool any = net_broker_serve(&l->broker);
    faults.off = false;
    return any;
}

/* One turn of everybody; sleeps until somebody has something to do, at most `ms`. */
static void turn(int ms) {
    struct pollfd fds[NET_CLIENTS + 2];
    int timeout = uv_backend_timeout(&l->loop);
    if (timeout < 0 || timeout > ms) timeout = ms;
    if (!uv_run(&l->loop, UV_RUN_NOWAIT)) timeout = timeout < 2 ? timeout : 2;
    if (serve()) return;
    if (uv_backend_timeout(&l->loop) == 0) return;
    size_t count = net_broker_fds(&l->broker, fds, NET_CLIENTS + 1);
    fds[count++] = (struct pollfd){ .fd = uv_backend_fd(&l->loop), .events = POLLIN };
    (void)poll(fds, count, timeout);
}

static bool has_ended(void) { return l->app.legal.closed + l->app.legal.open_failed > 0; }

static bool is_quiet(void) { return has_ended() || (!app_pending(&l->app) && l->app.legal.opened); }

static bool run_until(bool (*goal)(void), uint64_t ms) {
    uint64_t end = now_ms() + ms;
    while (!goal() && now_ms() < end) turn(5);
    return goal();
}

static bool never(void) { return false; }

/* ---------------------------------------------------------------- connecting */

static void on_stream_freed(uv_stream_t *stream, void *data) {
    (void)data;
    free(stream);
    l->stream_freed = true;
}

static void give_stream(lago_connection_options_t *options) {
    faults.off = true;
    l->given = calloc(1, sizeof *l->given);
    if (!l->given || uv_tcp_init(&l->loop, l->given) != 0 || uv_tcp_open(l->given, net_broker_socket(&l->broker)) != 0) abort();
    faults.off = false;
    options->stream = (uv_stream_t *)l->given;
    options->free_stream = on_stream_freed;
}

static void reach(lago_parameters_t *parameters) {
    *parameters = (lago_parameters_t){ .host = l->broker.path[0] ? l->broker.path : "127.0.0.1",
                                       .port = l->broker.port,
                                       .heartbeat_s = 5,
                                       .connection_name = "torture",
                                       .socket_timeout_ms = WAIT_MS,
                                       .stack_timeout_ms = WAIT_MS,
                                       .resolve_timeout_ms = WAIT_MS,
                                       .close_timeout_ms = WAIT_MS,
                                       .tcp_options = { .keepalive = true, .keepidle_s = 60, .user_timeout_ms = 5000 } };
    switch (l->scenario.way) {
    case LOOP_NAME:
        parameters->host = "two.test";
        parameters->local_address = l->scenario.fate == FATE_WELL ? "127.0.0.1" : NULL;
        break;
    case LOOP_SOCKS:
    case LOOP_HTTP:
        parameters->proxy = (lago_proxy_t){ .type = l->scenario.way == LOOP_SOCKS ? LAGO_PROXY_SOCKS5 : LAGO_PROXY_HTTP,
                                            .host = "127.0.0.1",
                                            .port = l->broker.port };
        parameters->host = "broker.test";
        break;
    case LOOP_TLS: parameters->tls = &tls.memory; break;
    case LOOP_TLS_FILES: parameters->tls = &tls.files; break;
    default: break;
    }
}

static int connect_it(struct app *app, const lago_parameters_t *parameters, int fd) {
    lago_connection_options_t options = app_options(app);
    lago_connection_t *conn;
    options.parameters = parameters;
    options.context = l->context;
    options.socket_fd = fd;
    if (l->scenario.way == LOOP_STREAM && app == &l->app) give_stream(&options);
    legal_call(&app->legal, false);
    int rc = lago_connect(&l->loop, NULL, &options, &conn);
    app_connected(app, rc, conn);
    if (rc < 0 && fd) close(fd);
    if (rc < 0 && options.stream) uv_close((uv_handle_t *)l->given, (uv_close_cb)(void (*)(void))free);
    if (rc < 0) l->given = NULL;
    return rc;
}

/* ---------------------------------------------------------------- living */

static void on_post(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)data, (void)status;
    l->posts_run++;
}

static void post(void) {
    lago_poster_t *poster;
    int rc = lago_connection_poster(l->app.conn, &poster);
    (void)legal_returned(&l->app.legal, rc);
    if (rc < 0) return;
    for (int i = 0; i < 3; i++) {
        rc = lago_post(poster, on_post, NULL);
        (void)legal_returned(&l->app.legal, rc);
        l->posts_accepted += rc == 0;
    }
    lago_poster_unref(poster);
}

static void use_it(void) {
    struct app *app = &l->app;
    struct app_channel *ch = app_channel(app);
    app_confirm(ch);
    app_declare(ch, "q");
    app_publish(ch, "q", 10);
    app_lend(ch, "q", LARGE);
    app_consume(ch, "c", false);
    app_get(ch);
    app_secret(app);
    app_later(app, 2);
    post();
    (void)run_until(is_quiet, WAIT_MS);
    app_publisher(ch, 10, true);
    app_batch(ch, 5);
    app_cancel(ch, "c");
    (void)run_until(is_quiet, WAIT_MS);
    if (app->conn) (void)lago_connection_endpoint(app->conn);
    if (app->conn) (void)lago_connection_tls(app->conn);
}

/* More than the kernel takes, and a broker that sleeps for a while. */
static void use_in_bulk(void) {
    struct app_channel *ch = app_channel(&l->app);
    app_confirm(ch);
    app_publish(ch, "q", 10);
    (void)run_until(is_quiet, WAIT_MS);
    l->broker.asleep = true;
    for (int i = 0; i < 12; i++) app_lend(ch, "q", i % 4 ? BULK : 5000);
    (void)run_until(never, 20);
    l->broker.asleep = false;
    (void)run_until(is_quiet, 4 * WAIT_MS);
}

static void live(void) {
    lago_parameters_t parameters;
    reach(&parameters);
    int fd = l->scenario.way == LOOP_FD ? net_broker_socket(&l->broker) : 0;
    if (connect_it(&l->app, &parameters, fd) < 0) return;
    l->broker.cut_at = l->scenario.fate == FATE_CUT ? 30000 : 0;
    if (l->scenario.fate == FATE_BULK)
        use_in_bulk();
    else
        use_it();
    if (l->scenario.fate == FATE_BUSY) {
        struct app_channel *ch = app_channel(&l->app);
        l->broker.asleep = true;
        app_confirm(ch);
        for (int i = 0; i < 10; i++) app_lend(ch, "q", BULK);
        (void)run_until(never, 5);
    }
    app_close(&l->app, l->scenario.fate == FATE_BUSY ? WAIT_MS / 4 : WAIT_MS);
    (void)run_until(has_ended, 2 * WAIT_MS);
    l->broker.asleep = false;
    if (!has_ended()) app_abort(&l->app);
    if (!run_until(has_ended, PATIENCE_MS)) legal_break(&l->app.legal, "the connection does not end");
    for (size_t i = 0; i < LAGO_ATTEMPTS_MAX && l->app.conn; i++) {
        const lago_reason_t *reason = lago_connection_attempt(l->app.conn, i, NULL);
        if (reason) (void)legal_returned(&l->app.legal, reason->code), (void)legal_returned(&l->app.legal, reason->os_error);
    }
    app_free(&l->app);
}

/* ---------------------------------------------------------------- afterwards */

static bool opened_again;
static bool again_is_over;

static void on_again(lago_connection_t *conn, void *data) {
    (void)data;
    opened_again = true;
    (void)lago_connection_close(conn, NULL);
}

static void on_again_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    again_is_over = true;
    if (!opened_again)
        legal_break(&l->app.legal, "a new connection fails: %s, %s", lago_error_name(reason->code), reason->detail);
}

static bool is_again_over(void) { return again_is_over; }

/* The fault is lifted: in the same context everything works. */
static void live_again(void) {
    lago_parameters_t parameters;
    lago_connection_t *conn;
    reach(&parameters);
    parameters.stack_timeout_ms = parameters.socket_timeout_ms = parameters.resolve_timeout_ms = parameters.close_timeout_ms =
        5000;
    lago_connection_options_t options = { .parameters = &parameters,
                                          .context = l->context,
                                          .on_open = on_again,
                                          .on_open_error = on_again_end,
                                          .on_close = on_again_end };
    opened_again = again_is_over = false;
    faults.off = true;
    net_broker_drop(&l->broker);
    faults.off = false;
    l->broker.wire = NULL;
    l->broker.cut_at = 0;
    if (lago_connect(&l->loop, NULL, &options, &conn) < 0) {
        legal_break(&l->app.legal, "a new connection is refused");
        return;
    }
    if (!run_until(is_again_over, PATIENCE_MS)) legal_break(&l->app.legal, "a new connection does not end");
    lago_connection_free(conn);
}

static int descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count;
}

static void on_log(lago_log_level_t level, const char *line, void *data) {
    (void)data, (void)level;
    if (strstr(line, "memory")) l->app.legal.explained = true;
}

/* Some error, for a call that has failed; which one the text says. And OpenSSL does not always say that it was memory. */
static bool explains(int code, void *data) {
    (void)data;
    bool by_openssl = code == LAGO_ETLS || code == LAGO_ECERTIFICATE || code == LAGO_EPARAMETER;
    return (by_openssl && faults.others[SOURCE_OPENSSL].failures > 0) || (faults.struck && code < 0);
}

static void loop_is_empty(void) {
    uint64_t end = now_ms() + PATIENCE_MS;
    while (uv_run(&l->loop, UV_RUN_NOWAIT) && now_ms() < end) turn(2);
    int rc = uv_loop_close(&l->loop);
    if (rc != 0) legal_break(&l->app.legal, "the loop is not empty: %s", uv_err_name(rc));
}

bool loop_same(struct loop_scenario scenario, const char *golden, const char *text) {
    return scenario.fate == FATE_CUT ? same_promises(golden, text) : same_facts(golden, text);
}

static void check(int before, const char *golden) {
    legal_check(&l->app.legal);
    if (faults.lago.live_count) legal_break(&l->app.legal, "%zu blocks are left", faults.lago.live_count);
    if (l->posts_run != l->posts_accepted) legal_break(&l->app.legal, "%d posts of %d ran", l->posts_run, l->posts_accepted);
    if (descriptors() != before) legal_break(&l->app.legal, "%d descriptors were open, and %d are", before, descriptors());
    if (l->scenario.way == LOOP_STREAM && l->given && !l->stream_freed)
        legal_break(&l->app.legal, "the stream was not given back");
    if (golden) legal_check_explained(&l->app.legal, !loop_same(l->scenario, golden, l->app.text ? l->app.text : ""));
}

const char *loop_live(struct loop_scenario scenario, const struct plan *plan, const char *golden, char **text) {
    static char words[500];
    lago_context_options_t options = { .log = on_log, .log_level = LAGO_LOG_DEBUG };
    int before = descriptors();
    faults.off = true;
    memset(l, 0, sizeof *l);
    l->scenario = scenario;
    app_init(&l->app);
    l->app.legal.vague_bytes = true;
    l->app.legal.explains = explains;
    net_broker_open(&l->broker, scenario.way == LOOP_UNIX);
    l->broker.wire = &l->app.legal.wire;
    l->broker.is_tls = is_tls();
    l->broker.is_socks = scenario.way == LOOP_SOCKS;
    l->broker.is_http = scenario.way == LOOP_HTTP;
    l->broker.script.deliver = 3;
    if (uv_loop_init(&l->loop) != 0) abort();
    faults_begin(plan);
    options.allocator = faults.lago.allocator;
    faults.off = false;
    int rc = lago_context_new(&l->loop, &options, &l->context);
    (void)legal_returned(&l->app.legal, rc);
    if (rc == 0) live();
    faults_lift();
    if (rc == 0 && plan->mode == FAIL_ONCE && scenario.way != LOOP_FD && scenario.way != LOOP_STREAM) live_again();
    lago_message_release(l->app.kept);
    l->app.kept = NULL;
    lago_context_free(l->context);
    loop_is_empty();
    faults.off = true;
    net_broker_close(&l->broker); /* which hears what is still in the kernel */
    check(before, golden);
    const char *problem = legal_problem(&l->app.legal);
    (void)snprintf(words, sizeof words, "%s", problem ? problem : "");
    *text = strdup(l->app.text ? l->app.text : "");
    app_clear(&l->app);
    return problem ? words : NULL;
}
