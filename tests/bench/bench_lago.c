/*
 * lago as a driver of the usual measurements: bench-lago MODE HOST PORT COUNT SIZE
 *
 *   publish          by a prepared route           consume-autoack   no acknowledgements
 *   publish-plain    by lago_basic_publish         consume-ack       each one acknowledged; neighbours merge
 *   publish-confirm  1000 unconfirmed at most,     consume-ack-each  each one acknowledged by a frame of its own
 *                    a completion for each         consume-ack100    a multiple for each hundred
 *                                                  pingpong          publish as by `publish`, and wait until it is back
 *
 * BENCH_EXCHANGE, BENCH_RKEY, BENCH_QUEUE: where to; BENCH_SPIN: the loop never sleeps; BENCH_CACERT: over TLS, whom to trust;
 * BENCH_STREAM: consumers take bodies in pieces (on_body). Prints one line of figures.
 */
#include "report.h"
#include <lago.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define WINDOW    1000u
#define PREFETCH  1000u
#define LENT_FROM 2048u /* above this bodies are lent */
#define BATCH     1000u /* publishes before the loop gets a turn: lago returns LAGO_EAGAIN when more wait than is good */

enum mode { PUBLISH, PUBLISH_PLAIN, PUBLISH_CONFIRM, AUTOACK, ACK, ACK_EACH, ACK_100, PINGPONG, MODES };

static const char *const mode_names[MODES + 1] = { "publish",         "publish-plain", "publish-confirm",
                                                   "consume-autoack", "consume-ack",   "consume-ack-each",
                                                   "consume-ack100",  "pingpong",      NULL };

static struct bench {
    struct bench_job job;
    uint64_t sent, done;
    lago_connection_t *conn;
    lago_channel_t *ch;
    lago_publisher_t *publisher;
    uv_idle_t idle;
    uint64_t octets; /* not beside `done`: both at once takes more instructions */
    struct bench_mark begin;
    double since;
    bool finished;
} bench;

static void die(const char *what, int rc) {
    fprintf(stderr, "bench-lago: %s: %s\n", what, lago_strerror(rc));
    exit(1);
}

static void finish(void) {
    if (bench.finished) return;
    bench.finished = true;
    if (bench.job.mode >= AUTOACK && bench.job.mode < PINGPONG && bench.octets != bench.job.count * bench.job.size)
        die("octets are missing", LAGO_ELOST);
    bench_report("lago", mode_names[bench.job.mode], bench.job.count, bench.job.size, bench.begin, bench.job.latencies);
    uv_idle_stop(&bench.idle);
    lago_connection_abort(bench.conn);
}

/* ---------------------------------------------------------------- publishing */

static void pump(void);
static void on_idle(uv_idle_t *idle);

static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch, (void)data;
    if (result->outcome != LAGO_PUBLISH_CONFIRMED) die("not confirmed", LAGO_ECHANNEL);
    if (++bench.done == bench.job.count) finish();
}

static const lago_properties_t properties = { .content_type = "application/octet-stream", .delivery_mode = 1 };

static void on_released(void *data) { (void)data; }

/* As an application would: what is small is copied anyway, what is large stays where it is. */
static int64_t publish_prepared(void) {
    lago_bytes_t body = { bench.job.body, bench.job.size };
    if (bench.job.size <= LENT_FROM) return lago_publisher_publish(bench.publisher, body, NULL);
    return lago_publisher_publish_message(bench.publisher,
                                          &(lago_publisher_message_t){ .body = body, .release_body = on_released }, NULL);
}

static int64_t publish_one(void) {
    if (bench.publisher) return publish_prepared();
    lago_basic_publish_t publish = { .exchange = bench.job.exchange,
                                     .routing_key = bench.job.routing_key,
                                     .properties = &properties,
                                     .body = { bench.job.body, bench.job.size } };
    return lago_basic_publish(bench.ch, &publish, NULL, NULL);
}

static void on_ready(lago_publisher_t *publisher, void *data) {
    (void)publisher, (void)data;
    uv_idle_start(&bench.idle, on_idle);
    pump();
}

static void prepare(void) {
    bool pings = bench.job.mode == PINGPONG;
    lago_publisher_options_t options = { .exchange = pings ? "" : bench.job.exchange,
                                         .routing_key = pings ? bench.job.queue : bench.job.routing_key,
                                         .properties = &properties,
                                         .on_ready = pings ? NULL : on_ready };
    if (bench.job.mode == PUBLISH_CONFIRM) {
        options.window_count = WINDOW;
        options.on_outcome = on_outcome;
    }
    int rc = lago_publisher_new(bench.ch, &options, &bench.publisher);
    if (rc < 0) die("lago_publisher_new", rc);
}

static void on_synced(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch, (void)ok, (void)data;
    if (reason) die("queue.declare", reason->code);
    finish();
}

static void pump(void) {
    for (unsigned n = 0; n < BATCH && bench.sent < bench.job.count; n++) {
        int64_t rc = publish_one();
        if (rc == LAGO_EAGAIN) {
            uv_idle_stop(&bench.idle);
            return;
        }
        if (rc < 0) die("publish", (int)rc);
        bench.sent++;
    }
    if (bench.sent < bench.job.count) return;
    uv_idle_stop(&bench.idle);
    if (bench.job.mode == PUBLISH_CONFIRM) return;
    /* an answer proves that all was read */
    lago_queue_declare(bench.ch, &(lago_queue_declare_t){ .queue = "bench.sync", .auto_delete = true }, on_synced, NULL);
}

static void on_idle(uv_idle_t *idle) {
    (void)idle;
    if (bench.job.mode < AUTOACK && bench.begin.wall > 0) pump();
}

static void on_drain(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    if (!bench.publisher) uv_idle_start(&bench.idle, on_idle);
}

static void begin(void) {
    if (bench.job.mode == PUBLISH || bench.job.mode == PUBLISH_CONFIRM || bench.job.mode == PINGPONG) prepare();
    bench.begin = bench_mark();
    if (bench.job.mode < AUTOACK) uv_idle_start(&bench.idle, on_idle);
}

static void on_selected(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    if (reason) die("confirm.select", reason->code);
    begin();
}

/* ---------------------------------------------------------------- consuming */

static void ping(void) {
    bench.since = bench_now();
    int64_t rc = publish_prepared();
    if (rc < 0) die("publish", (int)rc);
}

static void received(lago_channel_t *ch, uint64_t delivery_tag) {
    bench.done++;
    if (bench.job.mode == ACK || bench.job.mode == ACK_EACH) lago_basic_ack(ch, delivery_tag, 0);
    if (bench.job.mode == ACK_100 && bench.done % 100 == 0) lago_basic_ack(ch, delivery_tag, LAGO_MULTIPLE);
    if (bench.job.mode == PINGPONG) bench.job.latencies[bench.done - 1] = bench_now() - bench.since;
    if (bench.done == bench.job.count)
        finish();
    else if (bench.job.mode == PINGPONG)
        ping();
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)data;
    bench.octets += message->body.size;
    received(ch, message->delivery_tag);
}

static void on_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    (void)data;
    bench.octets += body->piece.size;
    if (body->ends) received(ch, body->message->delivery_tag);
}

static void on_consuming(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch, (void)tag, (void)data;
    if (reason) die("basic.consume", reason->code);
    if (bench.job.mode != PINGPONG) return;
    begin();
    ping();
}

static void consume(void) {
    bool auto_ack = bench.job.mode == AUTOACK || bench.job.mode == PINGPONG;
    if (bench.job.mode == PINGPONG)
        lago_queue_declare(bench.ch, &(lago_queue_declare_t){ .queue = bench.job.queue, .auto_delete = true }, NULL, NULL);
    if (!auto_ack) lago_basic_qos(bench.ch, &(lago_basic_qos_t){ .prefetch_count = PREFETCH }, NULL, NULL);
    begin();
    lago_basic_consume_t args = { .queue = bench.job.queue, .consumer_tag = "ctag1.0", .auto_ack = auto_ack };
    if (getenv("BENCH_STREAM"))
        args.on_body = on_body;
    else
        args.on_message = on_message;
    lago_basic_consume(bench.ch, &args, on_consuming, NULL);
}

/* ---------------------------------------------------------------- coming up */

static void on_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)data;
    if (reason) die("channel.open", reason->code);
    if (bench.job.mode < AUTOACK && getenv("BENCH_QUEUE"))
        lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = bench.job.queue }, NULL, NULL);
    if (bench.job.mode == PUBLISH_CONFIRM)
        lago_confirm_select(ch, NULL, on_selected, NULL);
    else if (bench.job.mode < AUTOACK)
        begin();
    else
        consume();
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    char words[512];
    (void)conn, (void)data;
    if (bench.finished) return;
    lago_reason_format(reason, words, sizeof words);
    fprintf(stderr, "bench-lago: %s\n", words);
    exit(1);
}

int main(int argc, char **argv) {
    if (!bench_job_read(&bench.job, argc, argv, mode_names)) {
        fprintf(stderr, "usage: bench-lago MODE HOST PORT COUNT SIZE\n");
        return 2;
    }
    uv_loop_t *loop = uv_default_loop();
    lago_tls_options_t tls = { .ca_file = getenv("BENCH_CACERT") };
    lago_parameters_t parameters = { .host = argv[2],
                                     .port = (uint16_t)atoi(argv[3]),
                                     .heartbeat_s = LAGO_HEARTBEAT_OFF,
                                     .tls = tls.ca_file != NULL ? &tls : NULL };
    lago_connection_options_t options = {
        .parameters = &parameters, .on_drain = on_drain, .on_open_error = on_end, .on_close = on_end
    };
    uv_idle_init(loop, &bench.idle);
    int rc = lago_connect(loop, NULL, &options, &bench.conn);
    if (rc < 0) die("lago_connect", rc);
    rc = lago_channel_open(bench.conn, &(lago_channel_options_t){ .on_open = on_open, .single_acks = bench.job.mode == ACK_EACH },
                           &bench.ch);
    if (rc < 0) die("lago_channel_open", rc);
    if (getenv("BENCH_SPIN")) uv_idle_start(&bench.idle, on_idle);
    uv_run(loop, UV_RUN_DEFAULT);
    lago_connection_free(bench.conn);
    uv_run(loop, UV_RUN_DEFAULT);
    free(bench.job.body);
    free(bench.job.latencies);
    return 0;
}
