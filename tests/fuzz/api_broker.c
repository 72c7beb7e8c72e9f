/* See api_broker.h. */
#include "api_broker.h"
#include "frame.h"
#include "fuzz.h"
#include "method.h"
#include "properties.h"
#include <stdlib.h>
#include <string.h>

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
    b->tunnel = b->proxy ? BROKER_GREETED : BROKER_NO_PROXY;
    b->tunnel_size = 0;
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

static void content(struct api_broker *b, uint16_t channel, size_t size, const lago_properties_t *properties) {
    static uint8_t body[BROKER_BODY_MAX], payload[512];
    struct writer w = writer_over(payload, sizeof(payload));
    if (size > BROKER_BODY_MAX) size = BROKER_BODY_MAX;
    content_header_write(&w, size, properties);
    broker_frame(b, FRAME_HEADER, channel, payload, w.size);
    size_t max = (b->frame_max ? b->frame_max : FRAME_MIN_SIZE) - FRAME_OVERHEAD;
    for (size_t part; size > 0; size -= part) {
        part = size < max ? size : max;
        broker_frame(b, FRAME_BODY, channel, body, part);
    }
}

void broker_content(struct api_broker *b, uint16_t channel, size_t size, bool properties) {
    static const lago_properties_t some = {
        .content_type = "a/b", .delivery_mode = 2, .correlation_id = "id", .reply_to = "amq.reply"
    };
    content(b, channel, size, properties ? &some : NULL);
}

/* Of a dead letter, as RabbitMQ has it. */
static void dead_letter(struct api_broker *b, uint16_t channel, size_t size) {
    const lago_field_t death[] = { LAGO_FIELD_I64("count", 2), LAGO_FIELD_STR("reason", "expired"),
                                   LAGO_FIELD_STR("queue", "q") };
    const lago_value_t deaths[] = { { .type = LAGO_TYPE_TABLE, .as.table = { death, NULL, 3, 0 } } };
    const lago_array_t all = { deaths, NULL, 1, 0 };
    const lago_field_t headers[] = { LAGO_FIELD_ARRAY("x-death", all), LAGO_FIELD_I64("x-delivery-count", 3) };
    lago_properties_t properties = { .headers = { headers, NULL, 2, 0 } };
    content(b, channel, size, &properties);
}

/* The answer to the last request. */
static void answer(struct api_broker *b, uint16_t channel, size_t size) {
    const struct broker_channel *ch = &b->channels[channel];
    lago_properties_t properties = { .correlation_id = ch->correlation,
                                     .sizes = { .correlation_id = (uint8_t)ch->correlation_size } };
    content(b, channel, size, ch->correlation_size ? &properties : NULL);
}

static void deliver_head(struct api_broker *b, uint16_t channel, unsigned consumer) {
    struct broker_channel *ch = &b->channels[channel];
    struct basic_deliver deliver = { .consumer_tag = { ch->consumers[consumer].tag, ch->consumers[consumer].tag_size },
                                     .delivery_tag = ++ch->delivered,
                                     .exchange = { "ex", 2 },
                                     .routing_key = { "key", 3 } };
    broker_method(b, channel, METHOD_BASIC_DELIVER, &deliver);
}

void broker_deliver_headers(struct api_broker *b, uint16_t channel, const uint8_t *headers, size_t size) {
    struct broker_channel *ch = &b->channels[channel % BROKER_CHANNELS];
    uint8_t payload[12 + 2 + 4 + UINT8_MAX] = { 0, CLASS_BASIC };
    if (!ch->open || !ch->consumers[0].used || size > UINT8_MAX) return;
    deliver_head(b, channel, 0);
    uint8_t *at = put_u16(payload + 12, LAGO_PROPERTY_HEADERS);
    at = put_u32(at, (uint32_t)size);
    if (size) memcpy(at, headers, size);
    broker_frame(b, FRAME_HEADER, channel, payload, (size_t)(at - payload) + size);
}

bool broker_deliver(struct api_broker *b, uint16_t channel, unsigned consumer, size_t size, bool properties) {
    struct broker_channel *ch = &b->channels[channel % BROKER_CHANNELS];
    if (!ch->open) return false;
    for (unsigned i = 0; i < BROKER_CONSUMERS; i++) {
        unsigned n = (consumer + i) % BROKER_CONSUMERS;
        if (!ch->consumers[n].used) continue;
        deliver_head(b, channel, n);
        if (ch->consumers[n].replies)
            answer(b, channel, size);
        else if (properties && consumer == 3)
            dead_letter(b, channel, size);
        else
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
        ch->consumers[i].replies = args->queue.size > 1; /* the target's own consumers have "q" */
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

static void on_connection(struct api_broker *b, uint32_t method, const union method_args *args) {
    switch (method) {
    case METHOD_CONNECTION_START_OK:
        if (args->connection_start_ok.mechanism.size == strlen("RABBIT-CR-DEMO"))
            broker_method(b, 0, METHOD_CONNECTION_SECURE, &(struct connection_secure){ .challenge = { "who?", 4 } });
        else
            tune(b);
        break;
    case METHOD_CONNECTION_SECURE_OK: tune(b); break;
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

/* Who asks, wants an answer with the same correlation_id. */
static void hear_header(struct api_broker *b, const struct frame *frame) {
    struct content_header header;
    if (frame->channel >= BROKER_CHANNELS || content_header_read(frame->payload, frame->size, &header) != 0) return;
    struct broker_channel *ch = &b->channels[frame->channel];
    size_t size = header.properties.sizes.correlation_id;
    if (!header.properties.reply_to || size >= sizeof(ch->correlation)) return;
    ch->correlation_size = size;
    if (size) memcpy(ch->correlation, header.properties.correlation_id, size);
}

static void hear_frame(struct api_broker *b, const struct frame *frame) {
    const struct method_info *info = NULL;
    union method_args args;
    if (frame->type == FRAME_HEADER) hear_header(b, frame);
    if (frame->type != FRAME_METHOD) return;
    REQUIRE(method_read(frame->payload, frame->size, &info, &args) == 0);
    if (b->closed) return;
    if (frame->channel == 0)
        on_connection(b, info->id, &args);
    else if (frame->channel < BROKER_CHANNELS)
        on_channel(b, frame->channel, info, &args);
}

/* ---------------------------------------------------------------- the proxy */

static void proxy_says(struct api_broker *b, const char *bytes, size_t size) {
    broker_raw(b, bytes, size);
    b->tunnel_size += size;
}

/* How long the request is that begins here; 0: more of it is to come. */
static size_t request_size(const struct api_broker *b, const uint8_t *heard, size_t size) {
    size_t need = 2;
    if (b->proxy == BROKER_HTTP) {
        for (need = 4; need <= size; need++)
            if (memcmp(heard + need - 4, "\r\n\r\n", 4) == 0) return need;
        return 0;
    }
    if (b->tunnel == BROKER_ASKED) need = 5;
    if (b->tunnel == BROKER_GREETED && size >= 2) {
        need = 2u + heard[1];
    } else if (b->tunnel == BROKER_LOGGED_IN && size >= 2) {
        need = 3u + heard[1];
        if (size >= need) need += heard[need - 1];
    } else if (b->tunnel == BROKER_ASKED && size >= 5) {
        need = heard[3] == 1 ? 10 : 7u + heard[4];
    }
    return need <= size ? need : 0;
}

/* It wants what is right, and says yes. @return how much it has heard */
static size_t hear_proxy(struct api_broker *b, const uint8_t *heard, size_t left) {
    size_t size = request_size(b, heard, left);
    bool asks_login = b->tunnel == BROKER_GREETED && size > 3 && heard[1] == 2;
    if (size == 0) return 0;
    if (b->proxy == BROKER_HTTP) {
        static const char ok[] = "HTTP/1.1 200 Connection established\r\nVia: 1.1 p\r\n\r\n";
        proxy_says(b, ok, sizeof(ok) - 1);
        b->tunnel = BROKER_THROUGH;
    } else if (b->tunnel == BROKER_GREETED) {
        proxy_says(b, asks_login ? "\5\2" : "\5\0", 2);
        b->tunnel = asks_login ? BROKER_LOGGED_IN : BROKER_ASKED;
    } else if (b->tunnel == BROKER_LOGGED_IN) {
        proxy_says(b, "\1\0", 2);
        b->tunnel = BROKER_ASKED;
    } else {
        proxy_says(b, "\5\0\0\1\0\0\0\0\0\0", 10);
        b->tunnel = BROKER_THROUGH;
    }
    return size;
}

bool broker_is_proxy(const struct api_broker *b) { return b->tunnel != BROKER_NO_PROXY && b->tunnel != BROKER_THROUGH; }

void broker_hear(struct api_broker *b, uint8_t *written, size_t size) {
    static const struct connection_start start = { .version_minor = 9,
                                                   .mechanisms = { BROKER_MECHANISMS, sizeof(BROKER_MECHANISMS) - 1 },
                                                   .locales = { "en_US", 5 } };
    while (b->heard < size) {
        struct frame frame;
        size_t need = 0, left = size - b->heard;
        if (broker_is_proxy(b)) {
            size_t heard = hear_proxy(b, written + b->heard, left);
            if (heard == 0) return;
            b->heard += heard;
            continue;
        }
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
