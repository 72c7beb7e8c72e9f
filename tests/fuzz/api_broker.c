/* See api_broker.h. */
#include "api_broker.h"
#include "frame.h"
#include "fuzz.h"
#include "method.h"
#include "properties.h"
#include <stdlib.h>
#include <string.h>

#define BODY_MAX 20000u

void broker_begin(struct api_broker *b) {
    uint8_t *says = b->says;
    if (!says) says = malloc(BROKER_SAYS_MAX);
    REQUIRE(says);
    *b = (struct api_broker){ .says = says };
}

void broker_link(struct api_broker *b, size_t heard) {
    b->heard = heard;
    b->says_size = b->says_at = 0;
    b->closed = false;
    memset(b->channels, 0, sizeof(b->channels));
}

/* ---------------------------------------------------------------- speaking */

void broker_raw(struct api_broker *b, const void *bytes, size_t size) {
    if (size == 0 || size > BROKER_SAYS_MAX - b->says_size) return;
    memcpy(b->says + b->says_size, bytes, size);
    b->says_size += size;
}

void broker_frame(struct api_broker *b, unsigned type, uint16_t channel, const void *payload, size_t size) {
    uint8_t head[FRAME_HEADER_SIZE], end;
    if (size + FRAME_OVERHEAD > BROKER_SAYS_MAX - b->says_size) return;
    (void)frame_begin(head, (enum frame_type)type, channel, size);
    (void)frame_finish(&end);
    broker_raw(b, head, sizeof(head));
    broker_raw(b, payload, size);
    broker_raw(b, &end, 1);
}

void broker_method(struct api_broker *b, uint16_t channel, uint32_t method, const void *args) {
    static const union method_args none;
    uint8_t payload[1024];
    struct writer w = writer_over(payload, sizeof(payload));
    method_write(&w, method_find(method), args ? args : &none);
    REQUIRE(w.error == 0);
    broker_frame(b, FRAME_METHOD, channel, payload, w.size);
}

void broker_content(struct api_broker *b, uint16_t channel, size_t size, bool properties) {
    static uint8_t body[BODY_MAX], payload[256];
    lago_properties_t some = { .content_type = "a/b", .delivery_mode = 2, .correlation_id = "id", .reply_to = "amq.reply" };
    struct writer w = writer_over(payload, sizeof(payload));
    if (size > BODY_MAX) size = BODY_MAX;
    content_header_write(&w, size, properties ? &some : NULL);
    broker_frame(b, FRAME_HEADER, channel, payload, w.size);
    size_t max = (b->frame_max ? b->frame_max : FRAME_MIN_SIZE) - FRAME_OVERHEAD;
    for (size_t part; size > 0; size -= part) {
        part = size < max ? size : max;
        broker_frame(b, FRAME_BODY, channel, body, part);
    }
}

bool broker_deliver(struct api_broker *b, uint16_t channel, unsigned consumer, size_t size, bool properties) {
    struct broker_channel *ch = &b->channels[channel % BROKER_CHANNELS];
    if (!ch->open) return false;
    for (unsigned i = 0; i < BROKER_CONSUMERS; i++) {
        unsigned n = (consumer + i) % BROKER_CONSUMERS;
        if (!ch->consumers[n].used) continue;
        struct basic_deliver deliver = { .consumer_tag = { ch->consumers[n].tag, ch->consumers[n].tag_size },
                                         .delivery_tag = ++ch->delivered,
                                         .exchange = { "ex", 2 },
                                         .routing_key = { "key", 3 } };
        broker_method(b, channel, METHOD_BASIC_DELIVER, &deliver);
        broker_content(b, channel, size, properties);
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------- listening */

static void consume(struct api_broker *b, uint16_t channel, const struct basic_consume *args) {
    struct broker_channel *ch = &b->channels[channel];
    for (unsigned i = 0; i < BROKER_CONSUMERS; i++) {
        if (ch->consumers[i].used || args->consumer_tag.size >= sizeof(ch->consumers[i].tag)) continue;
        ch->consumers[i].used = true;
        ch->consumers[i].tag_size = args->consumer_tag.size;
        memcpy(ch->consumers[i].tag, args->consumer_tag.data, args->consumer_tag.size);
        break;
    }
    if (!args->no_wait) broker_method(b, channel, METHOD_BASIC_CONSUME_OK, &(struct basic_consume_ok){ args->consumer_tag });
}

static void cancel(struct api_broker *b, uint16_t channel, const struct basic_cancel *args) {
    struct broker_channel *ch = &b->channels[channel];
    for (unsigned i = 0; i < BROKER_CONSUMERS; i++) {
        bool same = ch->consumers[i].tag_size == args->consumer_tag.size &&
                    memcmp(ch->consumers[i].tag, args->consumer_tag.data, args->consumer_tag.size) == 0;
        if (same) ch->consumers[i].used = false;
    }
    if (!args->no_wait) broker_method(b, channel, METHOD_BASIC_CANCEL_OK, &(struct basic_cancel_ok){ args->consumer_tag });
}

static void get(struct api_broker *b, uint16_t channel) {
    struct broker_channel *ch = &b->channels[channel];
    if (ch->delivered % 3 == 2) {
        broker_method(b, channel, METHOD_BASIC_GET_EMPTY, NULL);
        ch->delivered += 1;
        return;
    }
    struct basic_get_ok ok = { .delivery_tag = ++ch->delivered, .exchange = { "", 0 }, .routing_key = { "q", 1 } };
    broker_method(b, channel, METHOD_BASIC_GET_OK, &ok);
    broker_content(b, channel, 5, true);
}

static void tune(struct api_broker *b) {
    struct connection_tune args = { .channel_max = BROKER_CHANNELS - 1, .frame_max = b->frame_max, .heartbeat = b->heartbeat_s };
    broker_method(b, 0, METHOD_CONNECTION_TUNE, &args);
}

static void on_connection(struct api_broker *b, uint32_t method) {
    switch (method) {
    case METHOD_CONNECTION_START_OK: tune(b); break;
    case METHOD_CONNECTION_OPEN: broker_method(b, 0, METHOD_CONNECTION_OPEN_OK, NULL); break;
    case METHOD_CONNECTION_CLOSE:
        broker_method(b, 0, METHOD_CONNECTION_CLOSE_OK, NULL);
        b->closed = true;
        break;
    case METHOD_CONNECTION_UPDATE_SECRET: broker_method(b, 0, METHOD_CONNECTION_UPDATE_SECRET_OK, NULL); break;
    default: break;
    }
}

/* What has one answer without words. */
static void on_any(struct api_broker *b, uint16_t channel, const struct method_info *info, const union method_args *args) {
    struct queue_declare_ok declared = { .queue = { "q", 1 }, .message_count = 3 };
    if (info->id == METHOD_QUEUE_DECLARE) {
        if (!args->queue_declare.no_wait) broker_method(b, channel, METHOD_QUEUE_DECLARE_OK, &declared);
    } else if (info->replies[0] && info->id != METHOD_BASIC_GET) {
        broker_method(b, channel, info->replies[0], NULL);
    }
}

static void on_channel(struct api_broker *b, uint16_t channel, const struct method_info *info, const union method_args *args) {
    struct broker_channel *ch = &b->channels[channel];
    if (info->id == METHOD_CHANNEL_OPEN) *ch = (struct broker_channel){ .open = true };
    if (!ch->open && info->id != METHOD_CHANNEL_CLOSE) return;
    switch (info->id) {
    case METHOD_CHANNEL_CLOSE:
        ch->open = false;
        broker_method(b, channel, METHOD_CHANNEL_CLOSE_OK, NULL);
        break;
    case METHOD_CONFIRM_SELECT:
        ch->confirming = true;
        if (!args->confirm_select.no_wait) broker_method(b, channel, METHOD_CONFIRM_SELECT_OK, NULL);
        break;
    case METHOD_BASIC_PUBLISH: ch->published += ch->confirming; break;
    case METHOD_BASIC_CONSUME: consume(b, channel, &args->basic_consume); break;
    case METHOD_BASIC_CANCEL: cancel(b, channel, &args->basic_cancel); break;
    case METHOD_BASIC_GET: get(b, channel); break;
    case METHOD_CHANNEL_FLOW:
        broker_method(b, channel, METHOD_CHANNEL_FLOW_OK, &(struct channel_flow_ok){ args->channel_flow.active });
        break;
    default: on_any(b, channel, info, args); break;
    }
}

static void hear_frame(struct api_broker *b, const struct frame *frame) {
    const struct method_info *info = NULL;
    union method_args args;
    if (frame->type != FRAME_METHOD) return;
    REQUIRE(method_read(frame->payload, frame->size, &info, &args) == 0);
    if (b->closed) return;
    if (frame->channel == 0)
        on_connection(b, info->id);
    else if (frame->channel < BROKER_CHANNELS)
        on_channel(b, frame->channel, info, &args);
}

void broker_hear(struct api_broker *b, uint8_t *written, size_t size) {
    static const struct connection_start start = { .version_minor = 9,
                                                   .mechanisms = { "PLAIN AMQPLAIN", 14 },
                                                   .locales = { "en_US", 5 } };
    while (b->heard < size) {
        struct frame frame;
        size_t need = 0, left = size - b->heard;
        if (left >= PROTOCOL_HEADER_SIZE && memcmp(written + b->heard, PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE) == 0) {
            b->heard += PROTOCOL_HEADER_SIZE;
            broker_method(b, 0, METHOD_CONNECTION_START, &start);
            continue;
        }
        if (frame_decode(written + b->heard, left, UINT32_MAX, &frame, &need) != FRAME_COMPLETE) return;
        hear_frame(b, &frame);
        b->heard += need;
    }
}
