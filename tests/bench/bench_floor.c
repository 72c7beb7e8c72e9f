/*
 * How little a client could cost: bench-floor MODE HOST PORT COUNT SIZE
 *
 * No library: one connection, one channel, one job, on libuv. Small bodies are copied into a large output buffer, others are
 * referenced; all that a turn of the loop has made leaves in one write. Modes, environment and the line that is printed are those
 * of bench_lago.c, but for publish-plain, consume-ack-each, TLS and streams: bodies of several frames always go by in pieces.
 */
#include "floor.h"
#include "report.h"
#include "wire.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BUFFER_SIZE (256u << 10) /* larger ones win nothing */
#define COPIED_MAX  8192         /* a larger body costs more to copy than a piece of a write does */
#define PIECES_MAX  1024         /* of a write: IOV_MAX */
#define QUEUED_MAX  (1u << 20)   /* referenced octets: then the broker should begin to read */
#define BATCH       1000u
#define WINDOW      1000u
#define ROOM        1024 /* for all but a body */

enum mode { PUBLISH, PUBLISH_CONFIRM, AUTOACK, ACK, ACK_100, PINGPONG, MODES };
static const char *const mode_names[MODES + 1] = { "publish",     "publish-confirm", "consume-autoack",
                                                   "consume-ack", "consume-ack100",  "pingpong",
                                                   NULL };

/* A stretch of the output buffer, or of the body. */
typedef struct piece {
    const char *body; /* NULL: of the buffer, where the one before ended */
    size_t size;
} piece_t;

static struct bench_job job;
static uint64_t sent, settled, received;
static view_t exchange, routing_key;
static struct bench_mark begin;
static double since;
static bool is_publishing, is_synced;

static uv_tcp_t tcp;
static uv_connect_t connecting;
static uv_write_t writing;
static uv_check_t check;
static uv_idle_t idle;
static bool is_writing;
static uint8_t *out, *flying, *in;
static size_t out_size, out_capacity = BUFFER_SIZE, flying_capacity = BUFFER_SIZE, in_size;
static size_t sealed, referenced; /* octets of `out` that are in pieces already; octets that are referenced */
static piece_t pieces[PIECES_MAX];
static size_t piece_count;
static floor_decoder_t decoder;

static void die(const char *what) {
    fprintf(stderr, "bench-floor: %s\n", what);
    exit(1);
}

static void finish(void) {
    bench_report("floor", mode_names[job.mode], job.count, job.size, begin, job.latencies);
    exit(0);
}

/* ---------------------------------------------------------------- writing */

static void pump(void);
static void flush(void);

static void on_written(uv_write_t *request, int status) {
    (void)request;
    if (status < 0) die("cannot write");
    is_writing = false;
    flush();
    if (is_publishing) pump();
}

static void seal(void) {
    if (out_size > sealed) pieces[piece_count++] = (piece_t){ NULL, out_size - sealed };
    sealed = out_size;
}

/* What the socket did not take stays where it is, and the other buffer is filled. */
static void write_later(uv_buf_t *buffers, size_t buffer_count, size_t written) {
    uint8_t *swapped = flying;
    size_t capacity = flying_capacity;
    while (written >= buffers->len) {
        written -= buffers->len;
        buffers++;
        buffer_count--;
    }
    buffers->base += written;
    buffers->len -= written;
    flying = out;
    flying_capacity = out_capacity;
    out = swapped;
    out_capacity = capacity;
    is_writing = true;
    if (uv_write(&writing, (uv_stream_t *)&tcp, buffers, (unsigned)buffer_count, on_written) < 0) die("cannot write");
}

static void flush(void) {
    static uv_buf_t buffers[PIECES_MAX];
    size_t whole = 0, at = 0;
    if (is_writing) return;
    seal();
    if (piece_count == 0) return;
    for (size_t i = 0; i < piece_count; i++) {
        buffers[i].base = pieces[i].body != NULL ? job.body + (pieces[i].body - job.body) : (char *)out + at;
        buffers[i].len = pieces[i].size;
        if (pieces[i].body == NULL) at += pieces[i].size;
        whole += pieces[i].size;
    }
    int written = uv_try_write((uv_stream_t *)&tcp, buffers, (unsigned)piece_count);
    if (written < 0 && written != UV_EAGAIN) die("cannot write");
    if (written < 0) written = 0;
    if ((size_t)written < whole) write_later(buffers, piece_count, (size_t)written);
    piece_count = out_size = sealed = referenced = 0;
}

/* While a write is under way only acks and the like may still come: they find room in any case. */
static uint8_t *room(size_t wanted) {
    if (out_size + wanted > BUFFER_SIZE || piece_count + 4 >= PIECES_MAX) flush();
    if (out_size + wanted > out_capacity) {
        out_capacity *= 2;
        out = realloc(out, out_capacity);
        if (out == NULL) die("no memory");
    }
    return out + out_size;
}

static void call(uint16_t channel, uint32_t method, const uint8_t *arguments, const uint8_t *end) {
    uint8_t *at = room((size_t)(end - arguments) + METHOD_OVERHEAD);
    out_size = (size_t)(put_method(at, channel, method, arguments, (size_t)(end - arguments)) - out);
}

/* ---------------------------------------------------------------- publishing */

static void publish_referenced(void) {
    out_size = (size_t)(floor_publish(room(ROOM), exchange, routing_key, NULL, job.size) - out);
    for (size_t left = job.size; left > 0;) {
        size_t part = left < FLOOR_FRAME_MAX - 8 ? left : FLOOR_FRAME_MAX - 8;
        out_size = (size_t)(put_frame(room(ROOM), FRAME_BODY, 1, (uint32_t)part) - out);
        seal();
        pieces[piece_count++] = (piece_t){ job.body + (job.size - left), part };
        out[out_size++] = FRAME_END;
        left -= part;
        referenced += part;
    }
}

static void publish(void) {
    if (job.size > COPIED_MAX)
        publish_referenced();
    else
        out_size = (size_t)(floor_publish(room(ROOM + job.size), exchange, routing_key, job.body, job.size) - out);
}

static void declare(const char *name, unsigned bits) {
    uint8_t text[300];
    call(1, QUEUE_DECLARE, text, put32(put8(put_shortstr(put16(text, 0), name), bits), 0));
}

static bool may_publish(void) {
    return sent < job.count && !is_writing && (job.mode != PUBLISH_CONFIRM || sent - settled < WINDOW);
}

static void on_idle(uv_idle_t *handle) { (void)handle; }

static void pump(void) {
    for (unsigned i = 0; i < BATCH && may_publish(); i++, sent++) {
        publish();
        if (referenced > QUEUED_MAX) flush();
    }
    flush();
    if (may_publish())
        uv_idle_start(&idle, on_idle);
    else
        uv_idle_stop(&idle);
    if (sent < job.count || job.mode == PUBLISH_CONFIRM || is_synced || is_writing) return;
    is_synced = true; /* an answer proves that all was read */
    declare("bench.sync", 8);
    flush();
}

static void on_check(uv_check_t *handle) {
    (void)handle;
    if (is_publishing && !is_writing) pump();
}

static void begin_publishing(void) {
    is_publishing = true;
    begin = bench_mark();
    pump();
}

/* ---------------------------------------------------------------- consuming */

static void ping(void) {
    since = bench_now();
    publish();
}

static void acknowledge(const floor_message_t *message, bool multiple) {
    uint8_t *at = room(32);
    at = put32(put_frame(at, FRAME_METHOD, message->channel, 13), BASIC_ACK);
    out_size = (size_t)(put8(put8(put64(at, message->delivery_tag), multiple), FRAME_END) - out);
}

static void on_message(const floor_message_t *message) {
    if (message->body_size != job.size) die("a body of another size");
    received++;
    if (job.mode == PINGPONG) job.latencies[received - 1] = bench_now() - since;
    if (job.mode == ACK) acknowledge(message, false);
    if (job.mode == ACK_100 && received % 100 == 0) acknowledge(message, true);
    if (received == job.count) {
        flush();
        finish();
    }
    if (job.mode == PINGPONG) ping();
}

static void consume(void) {
    uint8_t text[600], *at = put16(put32(text, 0), WINDOW);
    if (job.mode == PINGPONG) declare(job.queue, 8);
    if (job.mode == ACK || job.mode == ACK_100) call(1, BASIC_QOS, text, put8(at, 0));
    at = put_shortstr(put_shortstr(put16(text, 0), job.queue), "ctag1.0");
    begin = bench_mark();
    call(1, BASIC_CONSUME, text, put32(put8(at, job.mode == AUTOACK || job.mode == PINGPONG ? 2 : 0), 0));
}

/* ---------------------------------------------------------------- coming up */

static void log_in(void) {
    uint8_t text[128], *at = put_shortstr(put32(text, 0), "PLAIN");
    at = put_octets(put32(at, 12), "\0guest\0guest", 12);
    call(0, CONNECTION_START_OK, text, put_shortstr(at, "en_US"));
}

static void open_host(const uint8_t *tune) {
    uint8_t text[16];
    call(0, CONNECTION_TUNE_OK, text, put16(put_octets(text, tune, 6), 0));
    call(0, CONNECTION_OPEN, text, put16(put_shortstr(text, "/"), 0));
}

static void go(void) {
    uint8_t text[1] = { 0 };
    if (job.mode >= AUTOACK) {
        consume();
        return;
    }
    if (getenv("BENCH_QUEUE")) declare(job.queue, 0);
    if (job.mode == PUBLISH_CONFIRM)
        call(1, CONFIRM_SELECT, text, text + 1);
    else
        begin_publishing();
}

static void on_confirm(const uint8_t *arguments, size_t arguments_size) {
    if (arguments_size < 9) die("basic.ack is cut short");
    settled = arguments[8] & 1 ? get64(arguments) : settled + 1;
    if (settled == job.count) finish();
}

static void on_method(uint32_t method, const uint8_t *arguments, size_t arguments_size) {
    static const uint8_t zero[1];
    switch (method) {
    case CONNECTION_START: log_in(); break;
    case CONNECTION_TUNE:
        if (arguments_size < 8) die("connection.tune is cut short");
        open_host(arguments);
        break;
    case CONNECTION_OPEN_OK: call(1, CHANNEL_OPEN, zero, zero + 1); break;
    case CHANNEL_OPEN_OK: go(); break;
    case CONFIRM_SELECT_OK: begin_publishing(); break;
    case BASIC_CONSUME_OK:
        if (job.mode == PINGPONG) ping();
        break;
    case BASIC_ACK: on_confirm(arguments, arguments_size); break;
    case QUEUE_DECLARE_OK:
        if (is_synced) finish();
        break;
    case CONNECTION_CLOSE:
    case CHANNEL_CLOSE: die("the broker has closed it"); break;
    default: break;
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle, (void)suggested;
    *buffer = uv_buf_init((char *)in + in_size, (unsigned)(BUFFER_SIZE - in_size));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
    (void)stream, (void)buffer;
    if (n < 0) die(uv_strerror((int)n));
    in_size += (size_t)n;
    size_t used = floor_take(&decoder, in, in_size);
    if (used == SIZE_MAX) die("that is no AMQP");
    in_size -= used;
    if (in_size > 0) memmove(in, in + used, in_size);
    flush();
}

static void on_connected(uv_connect_t *request, int status) {
    uv_buf_t greeting;
    static char protocol[] = "AMQP\0\0\x9\x1";
    if (status < 0) die(uv_strerror(status));
    greeting = uv_buf_init(protocol, 8);
    if (uv_try_write(request->handle, &greeting, 1) != 8) die("cannot write");
    uv_read_start(request->handle, on_room, on_read);
}

static view_t view_of(const char *text) { return (view_t){ (const uint8_t *)text, strlen(text) }; }

static bool read_arguments(int argc, char **argv) {
    if (!bench_job_read(&job, argc, argv, mode_names)) return false;
    exchange = view_of(job.mode == PINGPONG ? "" : job.exchange);
    routing_key = view_of(job.mode == PINGPONG ? job.queue : job.routing_key);
    in = malloc(BUFFER_SIZE);
    out = malloc(BUFFER_SIZE);
    flying = malloc(BUFFER_SIZE);
    return in != NULL && out != NULL && flying != NULL;
}

int main(int argc, char **argv) {
    struct sockaddr_in address;
    uv_loop_t *loop = uv_default_loop();
    if (!read_arguments(argc, argv) || uv_ip4_addr(argv[2], atoi(argv[3]), &address) < 0) {
        fprintf(stderr, "usage: bench-floor MODE ADDRESS PORT COUNT SIZE\n");
        return 2;
    }
    decoder.on_message = on_message;
    decoder.on_method = on_method;
    uv_tcp_init(loop, &tcp);
    uv_tcp_nodelay(&tcp, 1);
    uv_idle_init(loop, &idle);
    uv_check_init(loop, &check);
    uv_check_start(&check, on_check);
    uv_tcp_connect(&connecting, &tcp, (const struct sockaddr *)&address, on_connected);
    if (job.mode == PINGPONG && getenv("BENCH_SPIN")) uv_idle_start(&idle, on_idle);
    uv_run(loop, UV_RUN_DEFAULT);
    return 1;
}
