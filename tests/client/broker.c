/* Answers by the words of the log. Must not know what is tested. */
#include "broker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_WITH_CHALLENGES "0 connection.start version_minor=9 mechanisms=\"DEMO\" locales=\"en_US\""

__attribute__((format(printf, 2, 3))) static void answer(struct broker *b, const char *format, ...) {
    va_list args;
    if (b->size) b->answers[b->size++] = '\n';
    va_start(args, format);
    int size = vsnprintf(b->answers + b->size, sizeof(b->answers) - b->size, format, args);
    va_end(args);
    if (size < 0 || b->size + (size_t)size + 1 >= sizeof(b->answers)) abort();
    b->size += (size_t)size;
}

static void message(struct broker *b, unsigned channel, const char *method, const char *more) {
    answer(b, "%u %s delivery_tag=%llu routing_key=\"q\"%s\n%u header body_size=1\n%u body \"x\"", channel, method,
           ++b->channels[channel].delivered, more, channel, channel);
}

/* consumer_tag="..." of a line, quotes included. */
static const char *tag_of(const char *line, char *tag, size_t size) {
    const char *at = strstr(line, "consumer_tag=\"");
    (void)snprintf(tag, size, "%.*s", at ? (int)(strchr(at + 14, '"') + 1 - at) : 0, at ? at : "");
    return tag;
}

static bool is(const char *line, const char *method) {
    size_t size = strlen(method);
    return strncmp(line, method, size) == 0 && (line[size] == '\0' || line[size] == ' ');
}

static void hear_connection(struct broker *b, const char *line) {
    bool asked = b->challenges && is(line, "connection.start-ok");
    if (asked) answer(b, "0 connection.secure challenge=\"who?\"");
    if ((is(line, "connection.start-ok") && !asked) || is(line, "connection.secure-ok"))
        answer(b, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
    if (is(line, "connection.open")) answer(b, "0 connection.open-ok");
    if (is(line, "connection.update-secret") && !b->silent) answer(b, "0 connection.update-secret-ok");
    if (is(line, "connection.close")) answer(b, "0 connection.close-ok");
    if (is(line, "connection.close") || is(line, "connection.close-ok")) b->connection_gone = true;
}

static void hear_consumer(struct broker *b, unsigned channel, const char *line) {
    char tag[128];
    if (is(line, "basic.cancel")) answer(b, "%u basic.cancel-ok %s", channel, tag_of(line, tag, sizeof(tag)));
    if (!is(line, "basic.consume")) return;
    answer(b, "%u basic.consume-ok %s", channel, tag_of(line, tag, sizeof(tag)));
    if (strstr(line, "queue=\"amq.rabbitmq.reply-to\"")) {
        memcpy(b->channels[channel].reply_tag, tag, sizeof(tag));
        return;
    }
    char more[160];
    (void)snprintf(more, sizeof(more), " %s", tag);
    for (unsigned i = 0; i < b->deliver; i++) message(b, channel, "basic.deliver", more);
}

/* A request's header: its reply at once, of a server that nobody sees. */
static void hear_request(struct broker *b, unsigned channel, const char *line) {
    const char *id = strstr(line, "correlation_id=\"");
    if (!is(line, "header") || !id || !b->channels[channel].reply_tag[0] || strstr(line, "type=\"no reply\"")) return;
    answer(b, "%u basic.deliver %s delivery_tag=%llu\n%u header body_size=1 %.*s\n%u body \"x\"", channel,
           b->channels[channel].reply_tag, ++b->channels[channel].delivered, channel, (int)(strchr(id + 16, '"') + 1 - id), id,
           channel);
}

static const struct {
    const char *method, *answer;
} answers[] = {
    { "basic.qos", "basic.qos-ok" },
    { "queue.declare", "queue.declare-ok queue=\"q\"" },
    { "queue.purge", "queue.purge-ok message_count=3" },
    { "queue.bind", "queue.bind-ok" },
    { "queue.unbind", "queue.unbind-ok" },
    { "queue.delete", "queue.delete-ok message_count=3" },
    { "exchange.declare", "exchange.declare-ok" },
    { "exchange.delete", "exchange.delete-ok" },
    { "exchange.bind", "exchange.bind-ok" },
    { "exchange.unbind", "exchange.unbind-ok" },
    { "tx.select", "tx.select-ok" },
    { "tx.commit", "tx.commit-ok" },
    { "tx.rollback", "tx.rollback-ok" },
    { "channel.flow", "channel.flow-ok active=1" },
    { "confirm.select", "confirm.select-ok" },
    { "basic.recover", "basic.recover-ok" },
};

static void hear_channel(struct broker *b, unsigned channel, const char *line) {
    if (is(line, "channel.open")) {
        memset(&b->channels[channel], 0, sizeof(b->channels[channel]));
        b->channels[channel].open = true;
        answer(b, "%u channel.open-ok", channel);
    }
    if (is(line, "channel.close")) answer(b, "%u channel.close-ok", channel);
    if (is(line, "channel.close") || is(line, "channel.close-ok")) b->channels[channel].open = false;
    if (is(line, "confirm.select")) b->channels[channel].confirming = true;
    if (is(line, "basic.publish") && b->channels[channel].confirming) b->channels[channel].published++;
    if (b->silent || !b->channels[channel].open) return;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (is(line, answers[i].method)) answer(b, "%u %s", channel, answers[i].answer);
    hear_consumer(b, channel, line);
    hear_request(b, channel, line);
    if (is(line, "basic.get")) message(b, channel, "basic.get-ok", "");
    if (is(line, "basic.publish") && b->channels[channel].confirming)
        answer(b, "%u basic.ack delivery_tag=%llu", channel, b->channels[channel].published);
}

void broker_hear(void *data, lago_log_level_t level, const char *line) {
    struct broker *b = data;
    unsigned channel = 0;
    int skip = 0;
    if (level != LAGO_LOG_TRACE || strncmp(line, "C> ", 3) != 0) return;
    line += 3;
    if (is(line, "protocol-header")) {
        b->connection_gone = false;
        b->size = 0;
        answer(b, "%s", b->challenges ? START_WITH_CHALLENGES : SERVER_START);
        return;
    }
    if (sscanf(line, "%u %n", &channel, &skip) != 1 || channel >= BROKER_CHANNELS) return;
    if (channel == 0)
        hear_connection(b, line + skip);
    else
        hear_channel(b, channel, line + skip);
}

void broker_init(struct broker *b, struct virtual *v) {
    memset(b, 0, sizeof(*b));
    b->v = v;
    v->on_line = broker_hear;
    v->on_line_data = b;
}

void broker_run(struct broker *b) {
    static char now[sizeof(b->answers)];
    for (;;) {
        virtual_run(b->v);
        if (b->size == 0) return;
        memcpy(now, b->answers, b->size);
        now[b->size] = '\0';
        b->size = 0;
        if (b->v->conn && b->v->link == VIRTUAL_CONNECTED) server_send(b->v, now);
    }
}

void broker_say(struct broker *b, unsigned channel, const char *lines) {
    broker_run(b);
    if (b->connection_gone || !b->v->conn || b->v->link != VIRTUAL_CONNECTED) return;
    if (channel && !b->channels[channel].open) return;
    server_send(b->v, lines);
    broker_run(b);
}
