/*
 * What the client calls back, written down as lines; after each line the script may act inside the callback (`on ... do ...`).
 * Counts every promise, for the check at the end.
 */
#include "play.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- around a callback */

static void hooks_run(struct play *p, const char *line) {
    for (size_t i = 0; i < p->hook_count; i++) {
        struct hook *hook = &p->hooks[i];
        if (hook->used || strncmp(line, hook->prefix, strlen(hook->prefix)) != 0) continue;
        hook->used = !hook->always;
        play_act(p, hook->act);
    }
}

/* A line, and what the script does there. `may_nest`: free_data and releases, which lago_connection_free makes at once. */
__attribute__((format(printf, 4, 5))) static void tell(struct play *p, const struct played_channel *channel, bool may_nest,
                                                       const char *format, ...) {
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (p->in_call && !(may_nest && p->in_free)) play_problem(p, "called back from inside a call: %s", line);
    if (p->in_callback && !(may_nest && p->in_free)) play_problem(p, "callbacks nest: %s", line);
    p->legal.in_free = p->in_free;
    legal_enter(&p->legal, may_nest ? LEGAL_FREED : LEGAL_NEWS, channel && !p->in_free ? channel->legal : NULL);
    play_emit(p, "!  ", "%s", line);
    bool outer = p->in_callback;
    p->in_callback = true;
    if (!p->silent) hooks_run(p, line);
    p->in_callback = outer;
    legal_leave(&p->legal);
}

static int code_of(const lago_reason_t *reason) { return reason ? reason->code : 0; }

/* What a promise came to, for the judge. */
static void judge(struct owed *owed, enum legal_kind kind, int code) {
    legal_event(&owed->play->legal, kind, owed->channel ? owed->channel->legal : NULL, owed->order, code);
}

/* A reason's facts; its wording is the log's matter. */
static const char *words_of(const lago_reason_t *r) {
    static const char *const origins[] = { "client", "broker", "network" };
    static char words[600];
    if (!r) return "";
    int size = snprintf(words, sizeof(words), " %s by %s in %s", lago_error_name(r->code), origins[r->origin],
                        lago_phase_name(r->phase));
    if (r->reply_code) size += snprintf(words + size, sizeof(words) - (size_t)size, ", %u", r->reply_code);
    if (r->reply_text_size) size += snprintf(words + size, sizeof(words) - (size_t)size, " \"%s\"", r->reply_text);
    if (r->os_error) size += snprintf(words + size, sizeof(words) - (size_t)size, ", %s", lago_error_name(r->os_error));
    if (r->class_id) snprintf(words + size, sizeof(words) - (size_t)size, ", method %u,%u", r->class_id, r->method_id);
    return words;
}

static struct owed *told_once(void *data) {
    struct owed *owed = data;
    if (++owed->told > 1) play_problem(owed->play, "%s was told %u times", owed->name, owed->told);
    return owed;
}

/* "c1 queue.declare", or with a name given by the script "c1 first". */
static const char *who(const struct owed *owed) {
    static char words[300];
    if (owed->channel)
        snprintf(words, sizeof(words), "c%d %s", owed->channel->number, owed->name);
    else
        snprintf(words, sizeof(words), "%s", owed->name);
    return words;
}

static void tell_end(struct owed *owed, const lago_reason_t *reason, const char *good) {
    int code = code_of(reason);
    tell(owed->play, owed->channel, false, "%s%s%s", who(owed), reason ? " failed:" : good, words_of(reason));
    judge(owed, LEGAL_OPERATION, code);
}

/* ---------------------------------------------------------------- the log */

void told_line(void *data, lago_log_level_t level, const char *line) {
    struct play *p = data;
    if (level == LAGO_LOG_TRACE && strncmp(line, "C> ", 3) == 0 && !p->handshaking) play_emit(p, "C> ", "%s", line + 3);
    if (strstr(line, "memory")) p->legal.explained = true;
    if (level == LAGO_LOG_ERROR) play_emit(p, "L> ", "error: %s", line);
    if (level == LAGO_LOG_WARNING && strncmp(line, "password sent in clear", 22) != 0) /* in all that log in by PLAIN */
        play_emit(p, "L> ", "warning: %s", line);
}

/* ---------------------------------------------------------------- the wire */

void told_wire(void *data, enum virtual_tap what, const uint8_t *bytes, size_t size) {
    struct play *p = data;
    switch (what) {
    case VIRTUAL_LINK_UP: legal_link(&p->legal, true); break;
    case VIRTUAL_LINK_DOWN: legal_link(&p->legal, false); break;
    case VIRTUAL_SENT: conversation_sent(&p->legal.wire, bytes, size); break;
    case VIRTUAL_RECEIVED: conversation_received(&p->legal.wire, bytes, size); break;
    }
}

/* ---------------------------------------------------------------- the connection */

void told_open(lago_connection_t *conn, void *data) {
    struct play *p = data;
    (void)conn;
    p->opened++;
    tell(p, NULL, false, "on_open");
    legal_opened(&p->legal);
}

void told_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct play *p = data;
    (void)conn;
    p->open_failed++;
    int code = reason->code;
    tell(p, NULL, false, "on_open_error%s", words_of(reason));
    legal_open_failed(&p->legal, code);
}

void told_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct play *p = data;
    (void)conn;
    p->closed++;
    int code = reason->code;
    tell(p, NULL, false, "on_close%s", words_of(reason));
    legal_closed(&p->legal, code);
}

void told_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    (void)conn;
    tell(data, NULL, false, "on_blocked \"%s\"", reason.data);
}

void told_unblocked(lago_connection_t *conn, void *data) {
    (void)conn;
    tell(data, NULL, false, "on_unblocked");
}

void told_drain(lago_connection_t *conn, void *data) {
    (void)conn;
    tell(data, NULL, false, "on_drain");
}

void told_data_freed(void *data) {
    struct play *p = data;
    if (++p->data_freed > 1) play_problem(p, "the connection's data was freed %u times", p->data_freed);
    tell(p, NULL, true, "data freed");
}

void told_timer(lago_connection_t *conn, int status, void *data) {
    struct owed *owed = told_once(data);
    (void)conn;
    tell(owed->play, owed->channel, false, "%s%s", owed->name, status ? " canceled" : "");
    judge(owed, LEGAL_TIMER, status);
}

void told_secret(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    tell_end(told_once(data), reason, " ok");
}

void told_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    struct play *p = data;
    (void)conn;
    p->ticket = request->ticket;
    tell(p, NULL, false, "on_login %s%s", request->mechanism, request->refresh ? " refresh" : "");
}

/* ---------------------------------------------------------------- channels */

void told_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    struct played_channel *channel = data;
    (void)ch;
    channel->opened += reason == NULL;
    channel->ended += reason != NULL;
    int code = code_of(reason);
    tell(channel->play, channel, false, "c%d on_open%s%s", channel->number, reason ? " failed:" : "", words_of(reason));
    if (code < 0) legal_channel_ended(&channel->play->legal, channel->legal, code);
}

void told_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    struct played_channel *channel = data;
    (void)ch;
    if (++channel->ended > 1) play_problem(channel->play, "c%d ended %u times", channel->number, channel->ended);
    int code = reason->code;
    tell(channel->play, channel, false, "c%d on_close%s", channel->number, words_of(reason));
    legal_channel_ended(&channel->play->legal, channel->legal, code);
}

void told_return(lago_channel_t *ch, const lago_return_t *r, void *data) {
    struct played_channel *channel = data;
    (void)ch;
    tell(channel->play, channel, false, "c%d on_return %u \"%s\" exchange=\"%s\" routing_key=\"%s\" body=\"%s\"", channel->number,
         r->reply_code, r->reply_text.data, r->message->exchange.data, r->message->routing_key.data,
         (const char *)r->message->body.data);
}

void told_flow(lago_channel_t *ch, bool active, void *data) {
    struct played_channel *channel = data;
    (void)ch;
    tell(channel->play, channel, false, "c%d on_flow %s", channel->number, active ? "active" : "stopped");
}

void told_channel_data_freed(void *data) {
    struct played_channel *channel = data;
    if (++channel->data_freed > 1) play_problem(channel->play, "c%d's data was freed twice", channel->number);
    tell(channel->play, channel, true, "c%d data freed", channel->number);
}

/* ---------------------------------------------------------------- operations */

void told_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    tell_end(told_once(data), reason, " ok");
}

void told_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    char words[400] = "";
    (void)ch;
    if (ok)
        snprintf(words, sizeof(words), " ok queue=\"%s\" message_count=%u consumer_count=%u", ok->queue.data, ok->message_count,
                 ok->consumer_count);
    tell_end(told_once(data), reason, words);
}

void told_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    char words[64];
    (void)ch;
    snprintf(words, sizeof(words), " ok message_count=%u", message_count);
    tell_end(told_once(data), reason, words);
}

void told_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    struct owed *owed = told_once(data);
    (void)ch;
    int code = code_of(reason);
    tell(owed->play, owed->channel, false, "%s \"%s\"%s%s", who(owed), tag.data, reason ? " failed:" : " ok", words_of(reason));
    judge(owed, LEGAL_OPERATION, code);
}

void told_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    (void)ch;
    tell_end(told_once(data), reason, active ? " ok active" : " ok stopped");
}

/* ---------------------------------------------------------------- messages */

/* "<tag> redelivered exchange="" routing_key="q" content_type="text/plain" body="hello"" */
static const char *message_words(const lago_message_t *m) {
    static char words[1200];
    char properties[400];
    lago_properties_format(m->properties, properties, sizeof(properties));
    int size = snprintf(words, sizeof(words), " %llu%s exchange=\"%s\" routing_key=\"%s\"%s%s",
                        (unsigned long long)m->delivery_tag, m->redelivered ? " redelivered" : "", m->exchange.data,
                        m->routing_key.data, properties[0] ? " " : "", properties);
    if (m->message_count) size += snprintf(words + size, sizeof(words) - (size_t)size, " message_count=%u", m->message_count);
    if (m->body.size <= 64)
        snprintf(words + size, sizeof(words) - (size_t)size, " body=\"%s\"", (const char *)m->body.data);
    else
        snprintf(words + size, sizeof(words) - (size_t)size, " body size=%zu", strlen(m->body.data));
    return words;
}

void told_message(lago_channel_t *ch, const lago_message_t *m, void *data) {
    struct owed *owed = data;
    (void)ch;
    owed->play->message = m;
    if (owed->told > 0) play_problem(owed->play, "a message after the end of consumer %s", owed->name);
    tell(owed->play, owed->channel, false, "c%d message \"%s\"%s", owed->channel->number, m->consumer_tag.data, message_words(m));
    owed->play->message = NULL;
}

/* Its pieces are the network's business: they are counted, and told by its beginning and its end. */
void told_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    struct owed *owed = data;
    const lago_message_t *m = body->message;
    (void)ch;
    if (owed->told > 0) play_problem(owed->play, "a body after the end of consumer %s", owed->name);
    if (body->begins) owed->body_size = 0;
    if (body->offset != owed->body_size) play_problem(owed->play, "a piece of a body is missing");
    owed->bodies += body->begins;
    owed->body_size += body->piece.size;
    if (owed->bodies != 1) play_problem(owed->play, "a body that has not begun, or two at once");
    owed->bodies -= body->ends;
    if (body->begins)
        tell(owed->play, owed->channel, false, "c%d body \"%s\"%s size=%llu", owed->channel->number, m->consumer_tag.data,
             message_words(m), (unsigned long long)body->size);
    if (body->ends)
        tell(owed->play, owed->channel, false, "c%d body \"%s\" %llu ends with %llu bytes%s%s", owed->channel->number,
             m->consumer_tag.data, (unsigned long long)m->delivery_tag, (unsigned long long)owed->body_size,
             body->reason ? ":" : "", words_of(body->reason));
}

void told_cancel(lago_channel_t *ch, lago_string_t tag, void *data) {
    struct owed *owed = data;
    (void)ch;
    tell(owed->play, owed->channel, false, "c%d on_cancel \"%s\"", owed->channel->number, tag.data);
    judge(owed, LEGAL_CONSUMER, 0);
}

void told_consumer_data_freed(void *data) {
    struct owed *owed = told_once(data);
    if (owed->bodies > 0 && !owed->loose) play_problem(owed->play, "a body was never ended");
    tell(owed->play, owed->channel, true, "c%d consumer data freed", owed->channel->number);
}

void told_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *m, void *data) {
    struct owed *owed = told_once(data);
    (void)ch;
    owed->play->message = m;
    if (m)
        tell(owed->play, owed->channel, false, "%s%s", who(owed), message_words(m));
    else
        tell_end(owed, reason, " empty");
    owed->play->message = NULL;
}

void told_published(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    if (!data) return; /* one of a batch, whose publisher should have been another */
    struct owed *owed = told_once(data);
    char code[16] = "";
    (void)ch;
    if (result->reply_code) snprintf(code, sizeof(code), " %u", result->reply_code);
    lago_publish_outcome_t outcome = result->outcome;
    int reason = code_of(result->reason);
    tell(owed->play, owed->channel, false, "%s %llu %s%s%s%s", who(owed), (unsigned long long)result->sequence_number,
         lago_publish_outcome_name(result->outcome), code, result->reason ? ":" : "", words_of(result->reason));
    legal_outcome(&owed->play->legal, owed->channel->legal, owed->publish, outcome, reason);
}

void told_body_released(void *data) {
    struct owed *owed = told_once(data);
    free(owed->memory);
    owed->memory = NULL;
    tell(owed->play, owed->channel, true, "c%d body released", owed->channel->number);
}

void told_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data) {
    struct owed *owed = told_once(data);
    (void)rpc;
    int code = code_of(result->reason);
    owed->play->message = result->reply;
    if (result->reply)
        tell(owed->play, owed->channel, false, "%s reply%s", who(owed), message_words(result->reply));
    else
        tell(owed->play, owed->channel, false, "%s %s:%s", who(owed), result->not_served ? "not served" : "no reply",
             words_of(result->reason));
    judge(owed, LEGAL_CALL, code);
    owed->play->message = NULL;
}

void told_rpc_data_freed(void *data) {
    struct owed *owed = told_once(data);
    tell(owed->play, owed->channel, true, "c%d rpc data freed", owed->channel->number);
}

void told_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data) {
    struct owed *owed = data;
    struct legal_channel *channel = owed->channel->legal;
    char code[16] = "";
    int reason = code_of(settled->reason);
    lago_publisher_settled_t told = *settled;
    (void)publisher;
    if (settled->reply_code) snprintf(code, sizeof(code), " %u", settled->reply_code);
    tell(owed->play, owed->channel, false, "c%d settled %llu to %llu %s%s%s%s", owed->channel->number,
         (unsigned long long)settled->first, (unsigned long long)settled->last, lago_publish_outcome_name(settled->outcome), code,
         settled->reason ? ":" : "", words_of(settled->reason));
    for (uint64_t i = told.first; i <= told.last; i++)
        legal_outcome(&owed->play->legal, channel, channel->sequence_base + i, told.outcome, reason);
}

void told_ready(lago_publisher_t *publisher, void *data) {
    struct owed *owed = data;
    (void)publisher;
    tell(owed->play, owed->channel, false, "c%d on_ready", owed->channel->number);
}

void told_publisher_data_freed(void *data) {
    struct owed *owed = told_once(data);
    tell(owed->play, owed->channel, true, "c%d publisher data freed", owed->channel->number);
}
