/*
 * What stands between a call and its bytes, without sockets, loop and callbacks: bench-micro JOB COUNT
 *
 *   decode        deliveries of 256 bytes from memory, through the session   decode-floor  the same by the floor
 *   encode        publishes of 256 bytes by a prepared route                 encode-floor  the same by the floor
 *   encode-plain  the same with all their arguments
 *   table-lookup  a header in the middle of ten                              table-encode  a table of four headers
 *
 * Prints one line: the job, how many, nanoseconds for each. What is measured is work(), alone, for callgrind's --toggle-collect too.
 */
#include "alloc.h"
#include "floor.h"
#include "frame.h"
#include "report.h"
#include "session.h"
#include "table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_SIZE    256u
#define BATCH        200u /* things done by one work(): 70 KB of messages, about what a read brings or a write takes */
#define MESSAGE_SIZE 512u /* more than one has */
#define HEADER_COUNT 10u
#define EXCHANGE     "amq.direct"
#define ROUTING_KEY  "bench"
#define CONTENT_TYPE "application/octet-stream"
#define SIZE_FROM_END                                                                                                            \
    (FRAME_HEADER_SIZE + FRAME_END_SIZE + 1 + sizeof(CONTENT_TYPE) + 2 + 8) /* of the template: the body's size */

static const lago_properties_t properties = { .content_type = CONTENT_TYPE, .delivery_mode = 1 };
static const struct basic_publish publish = { .exchange = { EXCHANGE, sizeof(EXCHANGE) - 1 },
                                              .routing_key = { ROUTING_KEY, sizeof(ROUTING_KEY) - 1 } };
static uint8_t body[BODY_SIZE], pristine[BATCH * MESSAGE_SIZE], input[BATCH * MESSAGE_SIZE + 1], output[BATCH * MESSAGE_SIZE];
static size_t pristine_size;
static struct session session;
static struct session_route *route;
static floor_decoder_t decoder;
static uint8_t template[MESSAGE_SIZE]; /* the floor's: a publish without its body */
static size_t template_size;
static lago_table_t headers;
static uint64_t seen; /* by the floor; else nobody would look, and the compiler might not either */

static void die(const char *what) {
    fprintf(stderr, "bench-micro: %s\n", what);
    exit(1);
}

/* ---------------------------------------------------------------- what a broker says */

static void add_frame(enum frame_type type, uint16_t channel, const uint8_t *payload, size_t size) {
    uint8_t *at = frame_begin(pristine + pristine_size, type, channel, size);
    memcpy(at, payload, size);
    frame_finish(at + size);
    pristine_size += size + FRAME_OVERHEAD;
}

static void add_method(uint16_t channel, uint32_t method, const void *args) {
    static const union method_args nothing;
    uint8_t payload[1024];
    struct writer w = writer_over(payload, sizeof payload);
    method_write(&w, method_find(method), args != NULL ? args : &nothing);
    add_frame(FRAME_METHOD, channel, payload, w.size);
}

static void add_delivery(uint64_t tag) {
    struct basic_deliver deliver = {
        .consumer_tag = { "ctag1.0", 7 }, .delivery_tag = tag, .exchange = publish.exchange, .routing_key = publish.routing_key
    };
    uint8_t header[256];
    struct writer w = writer_over(header, sizeof header);
    add_method(1, METHOD_BASIC_DELIVER, &deliver);
    content_header_write(&w, BODY_SIZE, &properties);
    add_frame(FRAME_HEADER, 1, header, w.size);
    add_frame(FRAME_BODY, 1, body, BODY_SIZE);
}

/* Strings get their NULs inside the input: each time it is a new one. */
static void restore(void) { memcpy(input, pristine, pristine_size); }

static void add_deliveries(void) {
    pristine_size = 0;
    for (uint64_t tag = 1; tag <= BATCH; tag++) add_delivery(tag);
}

/* ---------------------------------------------------------------- a session that is open */

static void on_event(const struct session_event *event) {
    static const struct connection_start_ok ok = { .mechanism = { "PLAIN", 5 },
                                                   .response = { "\0a\0b", 4 },
                                                   .locale = { "en_US", 5 } };
    static const lago_tune_t tune = { .channel_max = 8, .frame_max = 131072 };
    int rc = 0;
    if (event->type == SESSION_EVENT_START) rc = session_start_ok(&session, &ok);
    if (event->type == SESSION_EVENT_TUNE) rc = session_tune_ok(&session, &tune, "/");
    if (event->type == SESSION_EVENT_OPEN) session_release_held(&session);
    if (rc < 0 || event->type == SESSION_EVENT_ENDED) die("the handshake failed");
}

static void drain(void) {
    if (session.out.size > 0) session_written(&session, session.out.size, 1);
}

static void hear(uint16_t channel, uint32_t method, const void *args) {
    struct session_event event;
    pristine_size = 0;
    add_method(channel, method, args);
    restore();
    session_input(&session, input, pristine_size, 1);
    while (session_next_event(&session, &event)) on_event(&event);
    drain();
}

static void open_session(void) {
    static const struct session_settings settings = { .channel_max = 8,
                                                      .message_size_max = 1u << 20,
                                                      .write_timeout_ms = LAGO_NO_TIMEOUT };
    static const struct connection_start start = { .version_minor = 9, .mechanisms = { "PLAIN", 5 }, .locales = { "en_US", 5 } };
    static const struct connection_tune tune = { .channel_max = 8, .frame_max = 131072 };
    static char owner[1];
    session_init(&session, &mem_default, &settings, 1);
    if (session_channel_open(&session, owner) != 1 || session_start(&session, 1) < 0) die("no memory");
    drain();
    hear(0, METHOD_CONNECTION_START, &start);
    hear(0, METHOD_CONNECTION_TUNE, &tune);
    hear(0, METHOD_CONNECTION_OPEN_OK, NULL);
    hear(1, METHOD_CHANNEL_OPEN_OK, NULL);
    if (session.state != SESSION_OPEN) die("the session is not open");
}

/* ---------------------------------------------------------------- jobs */

/* The one function that is measured; it must have a frame of its own. */
#define WORK __attribute__((noinline)) static

WORK void work(void (*job)(void)) { job(); }

static void decode(void) {
    struct session_event event;
    session_input(&session, input, pristine_size, 1);
    while (session_next_event(&session, &event)) seen += event.body.size;
}

static void count_message(const floor_message_t *message) { seen += message->body.size; }

static void decode_by_floor(void) {
    if (floor_take(&decoder, input, pristine_size) != pristine_size) die("that is no AMQP");
}

static void encode(void) {
    for (size_t i = 0; i < BATCH; i++)
        if (session_publish_route(&session, route, (lago_bytes_t){ body, BODY_SIZE }, NULL) < 0) die("not published");
}

static void encode_plain(void) {
    struct session_body copied = { .bytes = { body, BODY_SIZE } };
    for (size_t i = 0; i < BATCH; i++)
        if (session_publish(&session, 1, &publish, &properties, &copied) < 0) die("not published");
}

/* Frames that are ready but for the body: nothing can be less. */
static void encode_by_floor(void) {
    uint8_t *at = output;
    for (size_t i = 0; i < BATCH; i++) {
        memcpy(at, template, template_size);
        put_u64(at + template_size - SIZE_FROM_END, BODY_SIZE);
        put_u32(at + template_size - 4, BODY_SIZE);
        memcpy(at + template_size, body, BODY_SIZE);
        at = frame_finish(at + template_size + BODY_SIZE);
    }
    seen += (size_t)(at - output);
}

static void look_up(void) {
    lago_value_t value;
    for (size_t i = 0; i < BATCH; i++)
        if (lago_table_get(&headers, "header-5", &value) == 1) seen++;
}

static void encode_table(void) {
    const lago_table_t table =
        LAGO_TABLE(LAGO_FIELD_STR("x-queue-type", "quorum"), LAGO_FIELD_I32("x-delivery-limit", 5),
                   LAGO_FIELD_BOOL("x-single-active-consumer", true), LAGO_FIELD_I64("x-time", 1700000000));
    for (size_t i = 0; i < BATCH; i++) {
        struct writer w = writer_over(output, sizeof output);
        table_write(&w, &table);
        seen += w.size;
    }
}

/* ---------------------------------------------------------------- what they need */

static void prepare_decode(void) {
    open_session();
    add_deliveries();
}

static void prepare_floor(void) {
    add_deliveries();
    decoder.on_message = count_message;
}

static void prepare_template(void) {
    const view_t exchange = { (const uint8_t *)EXCHANGE, sizeof(EXCHANGE) - 1 },
                 routing_key = { (const uint8_t *)ROUTING_KEY, sizeof(ROUTING_KEY) - 1 };
    uint8_t *at = floor_publish(template, exchange, routing_key, NULL, BODY_SIZE);
    template_size = (size_t)(frame_begin(at, FRAME_BODY, 1, BODY_SIZE) - template);
}

static void prepare_encode(void) {
    open_session();
    if (session_route_make(&session, 1, &publish, &properties, &route) < 0) die("no route");
}

static void prepare_table(void) {
    static char names[HEADER_COUNT][16];
    static lago_field_t fields[HEADER_COUNT];
    for (unsigned i = 0; i < HEADER_COUNT; i++) {
        int size = snprintf(names[i], sizeof names[i], "header-%u", i);
        fields[i] = (lago_field_t){ .name = { names[i], (size_t)size },
                                    .value = { .type = LAGO_TYPE_STRING, .as.string = { "a value", 7 } } };
    }
    struct writer w = writer_over(pristine, sizeof pristine);
    table_write(&w, &(lago_table_t){ .fields = fields, .size = HEADER_COUNT });
    headers = table_over(pristine + 4, w.size - 4);
}

static void nothing(void) {}

static const struct job {
    const char *name;
    void (*prepare)(void);      /* once */
    void (*prepare_each)(void); /* before each work(); neither is measured */
    void (*work)(void);
} jobs[] = {
    { "decode", prepare_decode, restore, decode },
    { "decode-floor", prepare_floor, restore, decode_by_floor },
    { "encode", prepare_encode, drain, encode },
    { "encode-plain", prepare_encode, drain, encode_plain },
    { "encode-floor", prepare_template, nothing, encode_by_floor },
    { "table-lookup", prepare_table, nothing, look_up },
    { "table-encode", prepare_table, nothing, encode_table },
};

static const struct job *find_job(const char *name) {
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        if (strcmp(jobs[i].name, name) == 0) return &jobs[i];
    return NULL;
}

int main(int argc, char **argv) {
    const struct job *job = argc == 3 ? find_job(argv[1]) : NULL;
    uint64_t wanted = job != NULL ? strtoull(argv[2], NULL, 10) : 0, done = 0;
    double spent = 0;
    if (wanted == 0) {
        fprintf(stderr, "usage: bench-micro JOB COUNT\n");
        return 2;
    }
    job->prepare();
    for (; done < wanted; done += BATCH) {
        job->prepare_each();
        double begin = bench_now();
        work(job->work);
        spent += bench_now() - begin;
    }
    if (seen == 0 && strncmp(job->name, "encode", 6) != 0) die("nothing was done");
    printf("job=%s count=%llu ns=%.2f\n", job->name, (unsigned long long)done, spent * 1e9 / (double)done);
    if (route != NULL) session_route_free(&session, route);
    if (session.alloc != NULL) session_deinit(&session);
    return 0;
}
