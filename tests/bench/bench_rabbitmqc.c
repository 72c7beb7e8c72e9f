/*
 * rabbitmq-c as a driver of the usual measurements, by its documented calls: bench-rabbitmqc MODE HOST PORT COUNT SIZE
 *
 * Modes, environment and the line that is printed are those of bench_lago.c, but for publish-plain, consume-ack-each and streams.
 */
#include "report.h"
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define WINDOW    1000u
#define PREFETCH  1000
#define FRAME_MAX 131072

enum mode { PUBLISH, PUBLISH_CONFIRM, AUTOACK, ACK, ACK_100, PINGPONG, MODES };
static const char *const mode_names[MODES + 1] = { "publish",     "publish-confirm", "consume-autoack",
                                                   "consume-ack", "consume-ack100",  "pingpong",
                                                   NULL };

static struct bench_job job;
static amqp_connection_state_t conn;
static amqp_basic_properties_t properties;

static void die(const char *what) {
    fprintf(stderr, "bench-rabbitmqc: %s\n", what);
    exit(1);
}

static void expect(const char *what) {
    if (amqp_get_rpc_reply(conn).reply_type != AMQP_RESPONSE_NORMAL) die(what);
}

static amqp_bytes_t bytes(const char *string) { return amqp_cstring_bytes(string); }

static amqp_socket_t *make_socket(void) {
    const char *cacert = getenv("BENCH_CACERT");
    if (conn == NULL) return NULL;
    if (cacert == NULL) return amqp_tcp_socket_new(conn);
    amqp_socket_t *socket = amqp_ssl_socket_new(conn);
    if (socket != NULL && amqp_ssl_socket_set_cacert(socket, cacert) != AMQP_STATUS_OK) die("cannot trust BENCH_CACERT");
    if (socket != NULL) amqp_ssl_socket_set_verify_hostname(socket, 0); /* it knows no addresses there */
    return socket;
}

static void dial(const char *host, int port) {
    conn = amqp_new_connection();
    amqp_socket_t *socket = make_socket();
    if (socket == NULL || amqp_socket_open(socket, host, port) != AMQP_STATUS_OK) die("cannot connect");
    amqp_rpc_reply_t reply = amqp_login(conn, "/", 2047, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) die("cannot log in");
    amqp_channel_open(conn, 1);
    expect("channel.open");
}

/* ---------------------------------------------------------------- publishing */

static void publish(amqp_bytes_t exchange, amqp_bytes_t routing_key) {
    amqp_bytes_t body = { job.size, job.body };
    if (amqp_basic_publish(conn, 1, exchange, routing_key, 0, 0, &properties, body) != AMQP_STATUS_OK) die("basic.publish");
}

/* Returns how many are confirmed by now. */
static uint64_t await_confirm(uint64_t settled) {
    amqp_frame_t frame;
    if (amqp_simple_wait_frame(conn, &frame) != AMQP_STATUS_OK) die("no confirm");
    if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
        const amqp_basic_ack_t *ack = frame.payload.method.decoded;
        settled = ack->multiple ? ack->delivery_tag : settled + 1;
    }
    amqp_maybe_release_buffers(conn);
    return settled;
}

static void run_publisher(void) {
    amqp_bytes_t exchange = bytes(job.exchange), key = bytes(job.routing_key);
    uint64_t settled = 0;
    if (getenv("BENCH_QUEUE")) {
        amqp_queue_declare(conn, 1, bytes(job.queue), 0, 0, 0, 0, amqp_empty_table);
        expect("queue.declare");
    }
    if (job.mode == PUBLISH_CONFIRM) {
        amqp_confirm_select(conn, 1);
        expect("confirm.select");
    }
    amqp_maybe_release_buffers(conn);
    struct bench_mark begin = bench_mark();
    for (uint64_t sent = 1; sent <= job.count; sent++) {
        publish(exchange, key);
        if (job.mode == PUBLISH_CONFIRM && sent - settled >= WINDOW) settled = await_confirm(settled);
    }
    while (job.mode == PUBLISH_CONFIRM && settled < job.count) settled = await_confirm(settled);
    if (job.mode == PUBLISH) { /* an answer proves that all was read */
        amqp_queue_declare(conn, 1, bytes("bench.sync"), 0, 0, 0, 1, amqp_empty_table);
        expect("queue.declare");
    }
    bench_report("rabbitmqc", mode_names[job.mode], job.count, job.size, begin, NULL);
}

/* ---------------------------------------------------------------- consuming */

static void consume(bool auto_ack) {
    amqp_basic_consume(conn, 1, bytes(job.queue), bytes("ctag1.0"), 0, auto_ack, 0, amqp_empty_table);
    expect("basic.consume");
}

static void await_message(amqp_envelope_t *envelope, bool spins) {
    struct timeval now = { 0, 0 };
    amqp_rpc_reply_t reply;
    do {
        reply = amqp_consume_message(conn, envelope, spins ? &now : NULL, 0);
    } while (spins && reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) die("no message");
    if (envelope->message.body.len != job.size) die("a body of another size");
}

static void run_consumer(void) {
    if (job.mode != AUTOACK) {
        amqp_basic_qos(conn, 1, 0, PREFETCH, 0);
        expect("basic.qos");
    }
    struct bench_mark begin = bench_mark();
    consume(job.mode == AUTOACK);
    for (uint64_t received = 1; received <= job.count; received++) {
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(conn);
        await_message(&envelope, false);
        bool acks = job.mode == ACK || (job.mode == ACK_100 && received % 100 == 0);
        if (acks && amqp_basic_ack(conn, 1, envelope.delivery_tag, job.mode == ACK_100) != 0) die("basic.ack");
        amqp_destroy_envelope(&envelope);
    }
    bench_report("rabbitmqc", mode_names[job.mode], job.count, job.size, begin, NULL);
}

static void run_pingpong(void) {
    bool spins = getenv("BENCH_SPIN") != NULL;
    amqp_queue_declare(conn, 1, bytes(job.queue), 0, 0, 0, 1, amqp_empty_table);
    expect("queue.declare");
    consume(true);
    struct bench_mark begin = bench_mark();
    for (uint64_t i = 0; i < job.count; i++) {
        amqp_envelope_t envelope;
        double since = bench_now();
        publish(amqp_empty_bytes, bytes(job.queue));
        amqp_maybe_release_buffers(conn);
        await_message(&envelope, spins);
        amqp_destroy_envelope(&envelope);
        job.latencies[i] = bench_now() - since;
    }
    bench_report("rabbitmqc", mode_names[job.mode], job.count, job.size, begin, job.latencies);
}

static bool read_arguments(int argc, char **argv) {
    properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties.content_type = bytes("application/octet-stream");
    properties.delivery_mode = 1;
    return bench_job_read(&job, argc, argv, mode_names);
}

int main(int argc, char **argv) {
    if (!read_arguments(argc, argv)) {
        fprintf(stderr, "usage: bench-rabbitmqc MODE HOST PORT COUNT SIZE\n");
        return 2;
    }
    dial(argv[2], atoi(argv[3]));
    if (job.mode < AUTOACK)
        run_publisher();
    else if (job.mode == PINGPONG)
        run_pingpong();
    else
        run_consumer();
    amqp_connection_close(conn, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(conn);
    free(job.body);
    free(job.latencies);
    return 0;
}
