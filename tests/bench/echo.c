/*
 * What a round trip costs without AMQP: two ends on libuv, one sends what the other sends back.
 *
 *   bench-echo pingpong ADDRESS PORT COUNT SIZE    as the other drivers; BENCH_SPIN: it never sleeps
 *   bench-echo --serve [--spin] PORT               the other end, which says "port NUMBER" as fake-broker does
 */
#include "report.h"
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <uv.h>

#define BUFFER_SIZE (1u << 20)

static uv_tcp_t tcp, listener;
static uv_idle_t idle;
static uv_connect_t connecting;
static char buffer[BUFFER_SIZE];
static char *body;
static size_t size, received;
static uint64_t count, done;
static double *latencies, since;
static struct bench_mark begin;

static void die(const char *what, int error) {
    fprintf(stderr, "bench-echo: %s: %s\n", what, uv_strerror(error));
    exit(1);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *into) {
    (void)handle, (void)suggested;
    *into = uv_buf_init(buffer, sizeof buffer);
}

static void on_idle(uv_idle_t *handle) { (void)handle; }

static void on_written(uv_write_t *request, int status) {
    if (status < 0) die("cannot write", status);
    free(request);
}

/* What does not fit at once is copied. */
static void send_octets(uv_stream_t *stream, char *data, size_t octets) {
    uv_buf_t one = uv_buf_init(data, (unsigned)octets);
    int sent = uv_try_write(stream, &one, 1);
    if (sent == (int)octets) return;
    if (sent < 0 && sent != UV_EAGAIN) die("cannot write", sent);
    size_t left = octets - (sent > 0 ? (size_t)sent : 0);
    uv_write_t *request = malloc(sizeof *request + left);
    if (request == NULL) die("cannot write", UV_ENOMEM);
    memcpy(request + 1, data + (octets - left), left);
    one = uv_buf_init((char *)(request + 1), (unsigned)left);
    int rc = uv_write(request, stream, &one, 1, on_written);
    if (rc < 0) die("cannot write", rc);
}

/* ---------------------------------------------------------------- the end that asks */

static void ask(void) {
    since = bench_now();
    send_octets((uv_stream_t *)&tcp, body, size);
}

static void on_answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *read) {
    (void)stream, (void)read;
    if (n < 0) die("cannot read", (int)n);
    received += (size_t)n;
    if (received < size) return;
    received = 0;
    latencies[done++] = bench_now() - since;
    if (done < count) {
        ask();
        return;
    }
    bench_report("echo", "pingpong", count, size, begin, latencies);
    exit(0);
}

static void on_connected(uv_connect_t *request, int status) {
    if (status < 0) die("cannot connect", status);
    uv_tcp_nodelay(&tcp, 1);
    uv_read_start(request->handle, on_room, on_answer);
    begin = bench_mark();
    ask();
}

static void run_client(const char *address, int port) {
    struct sockaddr_in where;
    body = malloc(size + 1);
    latencies = calloc(count + 1, sizeof *latencies);
    int rc = body == NULL || latencies == NULL ? UV_ENOMEM : uv_ip4_addr(address, port, &where);
    if (rc < 0) die(address, rc);
    memset(body, 'x', size);
    uv_tcp_init(uv_default_loop(), &tcp);
    uv_tcp_connect(&connecting, &tcp, (const struct sockaddr *)&where, on_connected);
    if (getenv("BENCH_SPIN")) uv_idle_start(&idle, on_idle);
}

/* ---------------------------------------------------------------- the end that answers */

static void on_closed(uv_handle_t *handle) { free(handle); }

static void on_asked(uv_stream_t *stream, ssize_t n, const uv_buf_t *read) {
    if (n < 0)
        uv_close((uv_handle_t *)stream, on_closed);
    else
        send_octets(stream, read->base, (size_t)n);
}

static void on_connection(uv_stream_t *server, int status) {
    uv_tcp_t *peer = status < 0 ? NULL : malloc(sizeof *peer);
    if (peer == NULL) return;
    uv_tcp_init(server->loop, peer);
    if (uv_accept(server, (uv_stream_t *)peer) < 0) die("cannot accept", UV_ECONNABORTED);
    uv_tcp_nodelay(peer, 1);
    uv_read_start((uv_stream_t *)peer, on_room, on_asked);
}

static void serve(int port, bool spins) {
    struct sockaddr_in where;
    int length = sizeof where;
    uv_ip4_addr("127.0.0.1", port, &where);
    uv_tcp_init(uv_default_loop(), &listener);
    uv_tcp_bind(&listener, (const struct sockaddr *)&where, 0);
    int rc = uv_listen((uv_stream_t *)&listener, 16, on_connection);
    if (rc < 0 || uv_tcp_getsockname(&listener, (struct sockaddr *)&where, &length) < 0) die("cannot listen", rc);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    printf("port %u\n", (unsigned)ntohs(where.sin_port));
    fflush(stdout);
    if (spins) uv_idle_start(&idle, on_idle);
}

int main(int argc, char **argv) {
    uv_idle_init(uv_default_loop(), &idle);
    bool serves = argc > 2 && strcmp(argv[1], "--serve") == 0, spins = serves && strcmp(argv[2], "--spin") == 0;
    if (serves && argc == 3 + spins) {
        serve(atoi(argv[2 + spins]), spins);
    } else if (argc == 6 && strcmp(argv[1], "pingpong") == 0 && strtoull(argv[4], NULL, 10) > 0 &&
               strtoull(argv[5], NULL, 10) > 0) {
        count = strtoull(argv[4], NULL, 10);
        size = strtoull(argv[5], NULL, 10);
        run_client(argv[2], atoi(argv[3]));
    } else {
        fprintf(stderr, "usage: bench-echo pingpong ADDRESS PORT COUNT SIZE | --serve [--spin] PORT\n");
        return 2;
    }
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return 1;
}
