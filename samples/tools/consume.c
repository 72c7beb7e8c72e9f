/*
 * lago-consume: consume a queue; run a command for each message, or print it.
 *
 *   lago-consume [-q QUEUE] [-e EXCHANGE [-r KEY,...]] [-dxA] [-c COUNT] [-p COUNT] [--raw | --json] [COMMAND ARGUMENTS...]
 *
 * A message is acknowledged when it has been printed, or when its command has ended with exit code 0.
 */
#include "consume.h"
#include "arguments.h"
#include "json.h"
#include "options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What the broker may send ahead. A command takes one at a time: more would only wait here, kept from other consumers, and be
 * timed out by the broker when commands take long. Printing is faster than a round trip.
 */
#define PREFETCH_COMMAND 1
#define PREFETCH_PRINT   100

/* A queue without a consumer is not deleted with its last one: it goes by itself if something fails before there is one. */
#define EXPIRES_WITHOUT_CONSUMER_MS 60000

static char *queue, *exchange, *routing_key, **arguments;
static int declares, exclusive, passive, auto_delete = 1, no_ack, is_raw, as_json, no_requeue;
static int count = -1, prefetch_count;

static program_t program;
static consume_t consume = { .program = &program };
static lago_table_builder_t *table;
static int taken;
static bool is_consuming, is_stopping;

/* ---------------------------------------------------------------- the end */

static bool is_busy(void) { return consume.command ? command_is_busy() : printer_is_busy(); }

void consume_rest(consume_t *c) {
    if (is_stopping && !is_busy()) program_close(c->program);
}

static void on_canceled(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)consumer_tag;
    if (reason) program_fail(data, "cannot cancel the consumer", reason);
}

/* No message comes after this. What the broker had sent ahead goes back to the queue. */
static void stop_consuming(program_t *p) {
    lago_string_t tag = lago_channel_last_consumer_tag(p->ch);
    is_stopping = true;
    if (is_consuming)
        program_took(p, "cannot cancel the consumer",
                     lago_basic_cancel(p->ch, &(lago_basic_cancel_t){ .consumer_tag = tag.data }, on_canceled, p));
    is_consuming = false;
    consume_rest(&consume);
}

/* What is under way is finished: its message has been processed, and should not be once more. */
static void on_stop(program_t *p) {
    if (consume.command)
        command_stop();
    else
        printer_stop();
    stop_consuming(p);
}

/* ---------------------------------------------------------------- messages */

char *consume_render(const consume_t *c, const lago_message_t *message, size_t *size) {
    lago_bytes_t body = message->body;
    if (c->format == FORMAT_JSON) {
        char *json = json_message(message, false);
        *size = json ? strlen(json) : 0;
        return json;
    }
    char *text = malloc(body.size + 1);
    if (!text) return NULL;
    memcpy(text, body.data, body.size);
    *size = body.size;
    bool is_line = body.size > 0 && text[body.size - 1] == '\n'; /* lago-publish -l leaves its line feed to it */
    if (c->format == FORMAT_LINE && !c->command && !is_line) text[(*size)++] = '\n';
    return text;
}

void consume_settle(consume_t *c, uint64_t delivery_tag, bool is_good) {
    program_t *p = c->program;
    if (is_good || c->no_ack)
        program_took(p, "cannot acknowledge", lago_basic_ack(p->ch, delivery_tag, 0));
    else
        program_took(p, "cannot give the message back",
                     lago_basic_reject(p->ch, delivery_tag, c->no_requeue ? LAGO_NO_REQUEUE : 0));
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    program_t *p = data;
    (void)ch;
    if (is_stopping || count == 0 || program_is_ending(p)) return;
    taken++;
    if (consume.command)
        command_take(&consume, message);
    else
        printer_take(&consume, message);
    if (taken == count) stop_consuming(p);
}

/* Not our doing: somebody has deleted the queue, or its node has died. */
static void on_canceled_by_broker(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)consumer_tag;
    is_consuming = false;
    program_complain(data, "the broker has cancelled the consumer: the queue is gone");
}

/* ---------------------------------------------------------------- the set-up: all is asked for in one go */

static void on_consuming(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)consumer_tag;
    if (reason)
        program_fail(data, "cannot consume", reason);
    else if (count == 0)
        stop_consuming(data);
}

static void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    if (reason) program_fail(data, "cannot set up the consumer", reason);
}

static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    char name[4 * 255 + 8];
    (void)ch;
    if (reason)
        program_fail(data, "cannot declare the queue", reason);
    else if (!queue || !*queue)
        fprintf(stderr, "Server provided queue name: %s\n", program_escape(ok->queue, name, sizeof name));
}

static bool bind_under(program_t *p, const char *key) {
    lago_queue_bind_t bind = { .queue = queue, .exchange = exchange, .routing_key = key };
    return program_took(p, "cannot bind the queue", lago_queue_bind(p->ch, &bind, on_done, p));
}

/* With several keys, separated by commas, it is bound under each of them. */
static void bind_queue(program_t *p) {
    char *rest = NULL, *key = routing_key ? strtok_r(routing_key, ",", &rest) : NULL;
    if (!key) bind_under(p, "");
    while (key && bind_under(p, key)) key = strtok_r(NULL, ",", &rest);
}

static void declare_queue(program_t *p) {
    bool has_no_name = !queue || !*queue;
    lago_queue_features_t features = { .expires_ms = EXPIRES_WITHOUT_CONSUMER_MS };
    lago_value_t own;
    lago_table_t given = arguments_table(table);
    lago_queue_declare_t declare = {
        .queue = queue,
        .passive = passive,
        .exclusive = exclusive,
        .auto_delete = auto_delete,
        .arguments = given,
        .features = has_no_name && !exclusive && lago_table_get(&given, "x-expires", &own) == 0 ? &features : NULL,
    };
    program_took(p, "cannot declare the queue", lago_queue_declare(p->ch, &declare, on_declared, p));
}

static void start(program_t *p) {
    if (declares) declare_queue(p);
    if (exchange) bind_queue(p);
    lago_basic_qos_t qos = { .prefetch_count = (uint16_t)prefetch_count };
    lago_basic_consume_t args = {
        .queue = queue,
        .on_message = on_message,
        .on_cancel = on_canceled_by_broker,
        .data = p,
    };
    if (program_is_ending(p) || !program_took(p, "cannot consume", lago_basic_qos(p->ch, &qos, on_done, p))) return;
    is_consuming = program_took(p, "cannot consume", lago_basic_consume(p->ch, &args, on_consuming, p));
    if (is_consuming && !consume.command) printer_watch(&consume);
}

/* ---------------------------------------------------------------- the program */

static void check_options(void) {
    if (routing_key && !exchange) options_fail("--routing-key option requires an exchange name to be provided with --exchange");
    declares = declares || exclusive || passive || exchange || !queue;
    if (arguments && !declares) options_fail("--argument is for a queue that is declared: --declare or --exclusive");
    if (is_raw && as_json) options_fail("--raw and --json options cannot be used at the same time");
    if (prefetch_count < 0 || prefetch_count > 65535) options_fail("--prefetch-count must be a number from 0 to 65535");
    if (prefetch_count == 0) prefetch_count = consume.command ? PREFETCH_COMMAND : PREFETCH_PRINT;
    if (count > 0 && count < prefetch_count) prefetch_count = count;
}

int main(int argc, char **argv) {
    struct poptOption known[] = {
        { "queue", 'q', POPT_ARG_STRING, &queue, 0, "the queue to consume from", "queue" },
        { "exchange", 'e', POPT_ARG_STRING, &exchange, 0, "declare the queue and bind it to this exchange", "exchange" },
        { "routing-key", 'r', POPT_ARG_STRING, &routing_key, 0, "the routing key to bind with, or several: a,b", "routing key" },
        { "declare", 'd', POPT_ARG_VAL, &declares, 1, "declare the queue, to be deleted with its last consumer", NULL },
        { "exclusive", 'x', POPT_ARG_VAL, &exclusive, 1, "declare the queue as exclusive", NULL },
        { "passive", '\0', POPT_ARG_VAL, &passive, 1, "only check that the queue exists", NULL },
        { "no-auto-delete", '\0', POPT_ARG_VAL, &auto_delete, 0, "declare a queue that outlives its consumers", NULL },
        { "argument", '\0', POPT_ARG_ARGV, &arguments, 0,
          "an argument of the queue that is declared (may be specified multiple times)", "name[:type]=value" },
        { "no-ack", 'A', POPT_ARG_VAL, &no_ack, 1, "acknowledge whatever becomes of the message", NULL },
        { "reject", '\0', POPT_ARG_VAL, &no_requeue, 1, "drop or dead-letter what a command fails on, instead of requeueing",
          NULL },
        { "count", 'c', POPT_ARG_INT, &count, 0, "stop consuming after this many messages are consumed", "limit" },
        { "prefetch-count", 'p', POPT_ARG_INT, &prefetch_count, 0, "receive only this many message at a time from the server",
          "limit" },
        { "raw", '\0', POPT_ARG_VAL, &is_raw, 1, "print bodies as they are, without line feeds between them", NULL },
        { "json", '\0', POPT_ARG_VAL, &as_json, 1, "print, or give the command, everything as a line of JSON", NULL },
        CONNECTION_OPTIONS,
        POPT_AUTOHELP POPT_TABLEEND,
    };
    consume.command = options_read(argc, argv, known, "[OPTIONS]... [<command> <args>]");
    check_options();
    consume.format = as_json ? FORMAT_JSON : is_raw ? FORMAT_RAW : FORMAT_LINE;
    consume.no_ack = no_ack;
    consume.no_requeue = no_requeue;
    table = arguments_parse(arguments);

    program.on_stop = on_stop;
    program_run(&program, start);
    lago_table_builder_free(table);
    return program_end(&program, NULL);
}
