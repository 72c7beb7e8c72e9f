/* The consumers of lago-perf: count messages, tell how old our own are, and acknowledge. */
#include "perf.h"
#include <stdlib.h>
#include <string.h>

typedef struct consumer {
    lago_channel_t *ch;
    uint64_t received;
    bool is_done;
} consumer_t;

typedef struct consumer_link {
    program_link_t link;
    consumer_t *consumers;
} consumer_link_t;

static perf_t *perf;
static consumer_link_t *links;
static consumer_t *consumers;

/* ---------------------------------------------------------------- messages */

/* Messages of others, or of an earlier run, have clocks of their own. */
static void take_time(const lago_message_t *message, uint64_t now) {
    const char *body = message->body.data;
    uint64_t published;
    if (message->body.size < PERF_STAMP_SIZE || memcmp(body, &perf->run, sizeof perf->run) != 0) return;
    memcpy(&published, body + sizeof perf->run, sizeof published);
    latency_add(&perf->now.consumer_latency, now - published);
}

static void acknowledge(consumer_t *consumer, uint64_t delivery_tag) {
    uint64_t every = (uint64_t)perf->settings.ack_every;
    bool is_multiple = every > 1;
    if (perf->settings.auto_ack || (is_multiple && consumer->received % every != 0 && !consumer->is_done)) return;
    program_took(&perf->program, "cannot acknowledge",
                 lago_basic_ack(consumer->ch, delivery_tag, is_multiple ? LAGO_MULTIPLE : 0));
}

/* What the broker had sent ahead goes back: others may wait for it. */
static void finish(consumer_t *consumer, lago_string_t consumer_tag) {
    lago_basic_cancel_t cancel = { .consumer_tag = consumer_tag.data };
    program_took(&perf->program, "cannot cancel the consumer", lago_basic_cancel(consumer->ch, &cancel, NULL, NULL));
    perf_consumer_is_done(perf);
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    consumer_t *consumer = data;
    uint64_t now = uv_hrtime();
    (void)ch;
    if (perf->is_over || consumer->is_done) return;
    if (perf->began == 0) perf->began = now; /* the queue was not empty */
    consumer->received++;
    consumer->is_done = consumer->received == (uint64_t)perf->settings.consumes;
    perf->now.received++;
    take_time(message, now);
    acknowledge(consumer, message->delivery_tag);
    if (consumer->is_done) finish(consumer, message->consumer_tag);
}

static void on_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)consumer_tag, (void)data;
    if (!perf->is_over) program_complain(&perf->program, "the broker has cancelled a consumer: the queue is gone");
}

/* ---------------------------------------------------------------- coming up */

static void on_consuming(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)consumer_tag, (void)data;
    if (reason)
        program_fail(&perf->program, "cannot consume", reason);
    else
        perf_one_is_ready(perf);
}

static bool consume(consumer_t *consumer) {
    const perf_settings_t *settings = &perf->settings;
    lago_basic_qos_t qos = { .prefetch_count = (uint16_t)settings->prefetch };
    lago_basic_consume_t args = {
        .queue = settings->queue,
        .auto_ack = settings->auto_ack,
        .on_message = on_message,
        .on_cancel = on_cancel,
        .data = consumer,
    };
    if (!perf_declare_queue(perf, consumer->ch)) return false;
    if (qos.prefetch_count > 0 && !program_took(&perf->program, "cannot consume", lago_basic_qos(consumer->ch, &qos, NULL, NULL)))
        return false;
    return program_took(&perf->program, "cannot consume", lago_basic_consume(consumer->ch, &args, on_consuming, NULL));
}

static void on_open(program_link_t *link) {
    consumer_link_t *own = (consumer_link_t *)link;
    lago_channel_options_t options = { .on_open = perf_on_channel_open, .on_close = perf_on_channel_end };
    for (int i = 0; i < perf->settings.consumer_channels; i++) {
        int rc = lago_channel_open(link->conn, &options, &own->consumers[i].ch);
        if (!program_took(&perf->program, "cannot open a channel", rc) || !consume(&own->consumers[i])) return;
    }
}

bool consumers_connect(perf_t *ours) {
    perf = ours;
    size_t channels = (size_t)perf->settings.consumer_channels;
    links = calloc((size_t)perf->settings.consumers + 1, sizeof *links);
    consumers = calloc((size_t)perf->settings.consumers * channels + 1, sizeof *consumers);
    if (!links || !consumers) return program_took(&perf->program, "cannot consume", LAGO_ENOMEM);
    for (int i = 0; i < perf->settings.consumers; i++) {
        links[i].link = (program_link_t){ .on_open = on_open };
        links[i].consumers = consumers + (size_t)i * channels;
        if (!program_connect(&perf->program, &links[i].link)) return false;
    }
    return true;
}

void consumers_free(void) {
    free(links);
    free(consumers);
}
