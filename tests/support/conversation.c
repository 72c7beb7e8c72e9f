/* The rules of a conversation, from a server's side. Must not know who speaks. */
#include "conversation.h"

#include "frame.h"
#include "method.h"
#include "properties.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASS_CONNECTION 10u
#define CLASS_CHANNEL    20u

__attribute__((format(printf, 2, 3))) static void problem(struct conversation *c, const char *format, ...) {
    char words[400];
    va_list args;
    if (c->problem) return;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    c->problem = strdup(words);
}

static void *grown(void *data, size_t size) {
    data = realloc(data, size ? size : 1);
    if (!data) abort();
    return data;
}

/* ---------------------------------------------------------------- channels */

struct spoken_channel *conversation_channel(const struct conversation *c, uint16_t number) {
    struct spoken_channel *ch = c->channels;
    while (ch && ch->number != number) ch = ch->next;
    return ch;
}

unsigned conversation_instances(const struct conversation *c, uint16_t number) {
    const struct spoken_channel *ch = conversation_channel(c, number);
    return ch ? ch->instance : 0;
}

static void open_channel(struct conversation *c, uint16_t number) {
    struct spoken_channel *last = conversation_channel(c, number), *ch = grown(NULL, sizeof *ch);
    if (last && !last->closed) problem(c, "channel %u is opened twice", number);
    *ch = (struct spoken_channel){ .next = c->channels, .number = number, .instance = last ? last->instance + 1 : 1 };
    c->channels = ch;
}

static void free_channel(struct spoken_channel *ch) {
    for (size_t i = 0; i < ch->quiet_count; i++) free(ch->quiet[i]);
    free(ch->quiet);
    free(ch->gets);
    free(ch->fates);
    free(ch->deliveries);
    free(ch);
}

enum fate conversation_fate(const struct spoken_channel *ch, uint64_t publish) {
    return publish > 0 && publish <= ch->fates_size ? (enum fate)ch->fates[publish - 1] : FATE_UNKNOWN;
}

/* ---------------------------------------------------------------- deliveries */

static void deliver(struct spoken_channel *ch, uint64_t tag, bool no_ack) {
    if (ch->delivery_count == ch->delivery_capacity) {
        ch->delivery_capacity = ch->delivery_capacity * 2 + 8;
        ch->deliveries = grown(ch->deliveries, ch->delivery_capacity * sizeof *ch->deliveries);
    }
    ch->deliveries[ch->delivery_count++] = (struct spoken_delivery){ .tag = tag, .no_ack = no_ack };
}

void conversation_settled(struct conversation *c, uint16_t number, uint64_t tag, bool multiple) {
    struct spoken_channel *ch = conversation_channel(c, number);
    for (size_t i = 0; ch && i < ch->delivery_count; i++) {
        struct spoken_delivery *d = &ch->deliveries[i];
        if (d->tag == tag || (multiple && (tag == 0 || d->tag < tag))) d->granted = true;
    }
}

/* `positive`: only that takes the message away from others; a client may hand back what nobody will see. */
static void settle(struct conversation *c, struct spoken_channel *ch, uint64_t tag, bool multiple, bool positive) {
    bool found = false;
    for (size_t i = 0; i < ch->delivery_count; i++) {
        struct spoken_delivery *d = &ch->deliveries[i];
        if (d->settled || d->no_ack || (d->tag != tag && !(multiple && (tag == 0 || d->tag < tag)))) continue;
        found = found || d->tag == tag || tag == 0;
        d->settled = true;
        if (positive && !d->granted)
            problem(c, "channel %u: delivery %llu is acknowledged, and the application did not", ch->number,
                    (unsigned long long)d->tag);
    }
    if (!found && !(multiple && tag == 0))
        problem(c, "channel %u: %llu is settled, which is not open", ch->number, (unsigned long long)tag);
}

/* ---------------------------------------------------------------- methods of the client */

static void sent_connection(struct conversation *c, const struct method_info *info, const union method_args *args) {
    bool closes = info->id == METHOD_CONNECTION_CLOSE || info->id == METHOD_CONNECTION_CLOSE_OK;
    if (info->id == METHOD_CONNECTION_START_OK) {
        if (c->start_ok) problem(c, "a second start-ok");
        c->start_ok = true;
    } else if (!c->start_ok && !closes) {
        problem(c, "%s before start-ok", info->name);
    }
    if (info->id == METHOD_CONNECTION_TUNE_OK) {
        if (c->tune_ok) problem(c, "a second tune-ok");
        c->tune_ok = true;
        c->frame_max = args->connection_tune_ok.frame_max;
    }
    if (info->id == METHOD_CONNECTION_OPEN) {
        if (!c->tune_ok || c->opened) problem(c, "connection.open before tune-ok, or twice");
        c->opened = true;
    }
    if (info->id == METHOD_CONNECTION_CLOSE) {
        if (c->close_sent) problem(c, "a second connection.close");
        c->close_sent = true;
        c->close_code = args->connection_close.reply_code;
        for (const struct spoken_channel *ch = c->channels; ch && c->close_code == REPLY_SUCCESS; ch = ch->next)
            if (!ch->closed && (ch->header_due || ch->body_due))
                problem(c, "connection.close within a content of channel %u", ch->number);
    }
    if (info->id == METHOD_CONNECTION_CLOSE_OK) {
        if (c->close_ok_sent) problem(c, "a second connection.close-ok");
        c->close_ok_sent = true;
    }
}

static void sent_basic(struct conversation *c, struct spoken_channel *ch, const struct method_info *info,
                       const union method_args *args) {
    switch (info->id) {
    case METHOD_BASIC_PUBLISH:
        ch->header_due = true;
        ch->begun = ch->whole + 1;
        break;
    case METHOD_BASIC_ACK: settle(c, ch, args->basic_ack.delivery_tag, args->basic_ack.multiple, true); break;
    case METHOD_BASIC_NACK: settle(c, ch, args->basic_nack.delivery_tag, args->basic_nack.multiple, false); break;
    case METHOD_BASIC_REJECT: settle(c, ch, args->basic_reject.delivery_tag, false, false); break;
    case METHOD_BASIC_GET:
        ch->gets = grown(ch->gets, ch->get_count + 1);
        ch->gets[ch->get_count++] = args->basic_get.no_ack;
        break;
    case METHOD_BASIC_CONSUME:
        if (!args->basic_consume.no_ack) break;
        ch->quiet = grown(ch->quiet, (ch->quiet_count + 1) * sizeof *ch->quiet);
        ch->quiet[ch->quiet_count++] = strndup(args->basic_consume.consumer_tag.data, args->basic_consume.consumer_tag.size);
        break;
    case METHOD_CONFIRM_SELECT:
        if (!ch->confirming) ch->confirm_from = ch->whole;
        ch->confirming = true;
        break;
    default: break;
    }
}

static void sent_channel(struct conversation *c, uint16_t number, const struct method_info *info, const union method_args *args) {
    if (!c->opened) problem(c, "%s on channel %u before connection.open", info->name, number);
    if (info->id == METHOD_CHANNEL_OPEN) {
        open_channel(c, number);
        return;
    }
    struct spoken_channel *ch = conversation_channel(c, number);
    if (info->id == METHOD_CHANNEL_CLOSE_OK) {
        if (ch) ch->closed = true;
        return; /* also for a channel that the broker imagines */
    }
    if (!ch || ch->closed) {
        problem(c, "%s on channel %u, which is not open", info->name, number);
        return;
    }
    if (ch->header_due || ch->body_due) problem(c, "%s within a content of channel %u", info->name, number);
    if (ch->closing) problem(c, "%s behind channel.close of %u", info->name, number);
    if (info->id == METHOD_CHANNEL_CLOSE) ch->closing = true;
    sent_basic(c, ch, info, args);
}

static void sent_method(struct conversation *c, const struct frame *frame) {
    const struct method_info *info;
    union method_args args;
    int code = method_read(frame->payload, frame->size, &info, &args);
    if (code != 0) {
        problem(c, "a method that cannot be read: %d", code);
        return;
    }
    bool of_connection = info->id >> 16 == CLASS_CONNECTION;
    if (!info->from_client) problem(c, "%s, which no client sends", info->name);
    if (of_connection != (frame->channel == 0)) problem(c, "%s on channel %u", info->name, frame->channel);
    if (c->close_ok_sent) problem(c, "%s behind connection.close-ok", info->name);
    if (c->close_sent && info->id != METHOD_CONNECTION_CLOSE_OK) problem(c, "%s behind connection.close", info->name);
    if (c->problem) return;
    if (of_connection)
        sent_connection(c, info, &args);
    else
        sent_channel(c, frame->channel, info, &args);
}

/* ---------------------------------------------------------------- contents of the client */

static struct spoken_channel *content_of(struct conversation *c, const struct frame *frame) {
    struct spoken_channel *ch = conversation_channel(c, frame->channel);
    bool due = ch && !ch->closed && (frame->type == FRAME_HEADER ? ch->header_due : !ch->header_due && ch->body_due > 0);
    if (!due || c->close_sent || c->close_ok_sent) {
        problem(c, "a %s frame on channel %u that nothing asked for", frame->type == FRAME_HEADER ? "header" : "body",
                frame->channel);
        return NULL;
    }
    return ch;
}

static void content_done(struct spoken_channel *ch) {
    if (!ch->header_due && ch->body_due == 0) ch->whole++;
}

static void sent_content(struct conversation *c, const struct frame *frame) {
    struct content_header header;
    struct spoken_channel *ch = content_of(c, frame);
    if (!ch) return;
    if (frame->type == FRAME_HEADER) {
        if (content_header_read(frame->payload, frame->size, &header) != 0) problem(c, "a content header that cannot be read");
        ch->header_due = false;
        ch->body_due = header.body_size;
    } else if (frame->size == 0 || frame->size > ch->body_due) {
        problem(c, "a body frame of %zu bytes on channel %u, where %llu are due", frame->size, frame->channel,
                (unsigned long long)ch->body_due);
    } else {
        ch->body_due -= frame->size;
    }
    content_done(ch);
}

static void sent_frame(struct conversation *c, const struct frame *frame) {
    c->frames_sent++;
    if (c->frame_max && frame->size + FRAME_OVERHEAD > c->frame_max) problem(c, "a frame of %zu bytes", frame->size);
    switch (frame->type) {
    case FRAME_METHOD: sent_method(c, frame); break;
    case FRAME_HEARTBEAT:
        if (frame->channel != 0 || frame->size != 0) problem(c, "a heartbeat that is none");
        if (c->close_ok_sent) problem(c, "a heartbeat behind connection.close-ok");
        break;
    default: sent_content(c, frame); break;
    }
}

/* ---------------------------------------------------------------- what the broker said */

static bool is_quiet(const struct spoken_channel *ch, lago_string_t tag) {
    for (size_t i = 0; i < ch->quiet_count; i++)
        if (strlen(ch->quiet[i]) == tag.size && memcmp(ch->quiet[i], tag.data, tag.size) == 0) return true;
    return false;
}

static void confirm(struct spoken_channel *ch, uint64_t tag, bool multiple, enum fate fate) {
    if (!ch->confirming) return;
    uint64_t first = multiple ? ch->confirm_from : ch->confirm_from + tag - 1, last = ch->confirm_from + (tag ? tag : ch->whole);
    if (tag > ch->begun || last > ch->begun) last = ch->begun; /* nonsense of the broker's: the client's matter */
    if (last > ch->fates_size) {
        ch->fates = grown(ch->fates, (size_t)last);
        memset(ch->fates + ch->fates_size, FATE_UNKNOWN, (size_t)last - ch->fates_size);
        ch->fates_size = (size_t)last;
    }
    for (uint64_t i = first; i < last; i++)
        if (ch->fates[i] == FATE_UNKNOWN) ch->fates[i] = (unsigned char)fate;
}

static void came_channel(struct spoken_channel *ch, const struct method_info *info, const union method_args *args) {
    switch (info->id) {
    case METHOD_CHANNEL_CLOSE_OK:
        if (ch->closing) ch->closed = true;
        break;
    case METHOD_CHANNEL_CLOSE: ch->ended_by_peer = true; break;
    case METHOD_BASIC_DELIVER:
        deliver(ch, args->basic_deliver.delivery_tag, is_quiet(ch, args->basic_deliver.consumer_tag));
        break;
    case METHOD_BASIC_GET_OK:
        deliver(ch, args->basic_get_ok.delivery_tag, ch->get_answered < ch->get_count && ch->gets[ch->get_answered]);
        ch->get_answered++;
        break;
    case METHOD_BASIC_GET_EMPTY: ch->get_answered++; break;
    case METHOD_BASIC_ACK: confirm(ch, args->basic_ack.delivery_tag, args->basic_ack.multiple, FATE_ACKED); break;
    case METHOD_BASIC_NACK: confirm(ch, args->basic_nack.delivery_tag, args->basic_nack.multiple, FATE_NACKED); break;
    case METHOD_BASIC_RETURN: ch->returned++; break;
    default: break;
    }
}

static void came_frame(struct conversation *c, const struct frame *frame) {
    const struct method_info *info;
    union method_args args;
    struct spoken_channel *ch = conversation_channel(c, frame->channel);
    if (frame->type != FRAME_METHOD || method_read(frame->payload, frame->size, &info, &args) != 0) return;
    if (info->id == METHOD_CONNECTION_CLOSE) c->close_came = true;
    if (ch && !ch->closed) came_channel(ch, info, &args);
}

/* ---------------------------------------------------------------- bytes */

static void hear(struct heard *heard, const void *bytes, size_t size) {
    if (heard->size + size > heard->capacity) {
        heard->capacity = (heard->size + size) * 2;
        heard->bytes = grown(heard->bytes, heard->capacity);
    }
    if (size) memcpy(heard->bytes + heard->size, bytes, size);
    heard->size += size;
}

static void forget(struct heard *heard, size_t size) {
    heard->size -= size;
    if (size && heard->size) memmove(heard->bytes, heard->bytes + size, heard->size);
}

/* Whole frames, from the front. @return false: there is something that is none. */
static bool take_frames(struct conversation *c, struct heard *heard, void (*take)(struct conversation *, const struct frame *)) {
    size_t at = 0, need;
    struct frame frame;
    enum frame_result result = FRAME_INCOMPLETE;
    while (at < heard->size &&
           (result = frame_decode(heard->bytes + at, heard->size - at, UINT32_MAX, &frame, &need)) == FRAME_COMPLETE) {
        take(c, &frame);
        at += need;
    }
    forget(heard, at);
    return result == FRAME_COMPLETE || result == FRAME_INCOMPLETE;
}

void conversation_sent(struct conversation *c, const void *bytes, size_t size) {
    if (!c->up) problem(c, "%zu bytes without a link", size);
    hear(&c->out, bytes, size);
    if (!c->greeted) {
        if (c->out.size < PROTOCOL_HEADER_SIZE) return;
        if (memcmp(c->out.bytes, PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE) != 0)
            problem(c, "it does not begin with the protocol header");
        forget(&c->out, PROTOCOL_HEADER_SIZE);
        c->greeted = true;
    }
    if (!c->problem && !take_frames(c, &c->out, sent_frame)) problem(c, "what was sent is no frame");
}

void conversation_received(struct conversation *c, const void *bytes, size_t size) {
    if (c->deaf) return;
    hear(&c->in, bytes, size);
    if (!take_frames(c, &c->in, came_frame)) c->deaf = true;
}

/* ---------------------------------------------------------------- links */

static void begin_link(struct conversation *c) {
    if (c->up) problem(c, "a link over a link");
    c->out.size = c->in.size = 0;
    c->deaf = c->greeted = c->start_ok = c->tune_ok = c->opened = false;
    c->close_sent = c->close_ok_sent = c->close_came = false;
    c->frame_max = 0;
    c->links++;
}

/* A publish whose first bytes have left, if they tell that it is one. */
static void count_cut(struct conversation *c) {
    static const uint8_t publish[4] = { 0, 60, 0, 40 };
    const uint8_t *b = c->out.bytes;
    if (c->out.size == 0 || b[0] != FRAME_METHOD) return;
    if (c->out.size < FRAME_HEADER_SIZE + sizeof publish) {
        for (struct spoken_channel *ch = c->channels; ch; ch = ch->next) ch->cut = true;
        return;
    }
    struct spoken_channel *ch = conversation_channel(c, (uint16_t)(b[1] << 8 | b[2]));
    if (ch && memcmp(b + FRAME_HEADER_SIZE, publish, sizeof publish) == 0) ch->begun = ch->whole + 1;
}

/* Whoever says goodbye has said everything before it; else the link was dropped, wherever it was. */
static void end_link(struct conversation *c) {
    bool goodbye = (c->close_sent && c->close_code == REPLY_SUCCESS) || c->close_ok_sent;
    if (goodbye && c->out.size > 0) problem(c, "%zu bytes of a frame behind a goodbye", c->out.size);
    count_cut(c);
    for (struct spoken_channel *ch = c->channels; ch; ch = ch->next) ch->closed = true;
}

void conversation_link(struct conversation *c, bool up) {
    if (up)
        begin_link(c);
    else if (c->up)
        end_link(c);
    c->up = up;
}

void conversation_init(struct conversation *c) { memset(c, 0, sizeof *c); }

void conversation_clear(struct conversation *c) {
    for (struct spoken_channel *next; c->channels; c->channels = next) {
        next = c->channels->next;
        free_channel(c->channels);
    }
    free(c->out.bytes);
    free(c->in.bytes);
    free(c->problem);
    conversation_init(c);
}
