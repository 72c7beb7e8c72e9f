/* Encodes and decodes what passes by a thousand times. Knows no socket. */
#include "floor.h"
#include "wire.h"

#define BAD SIZE_MAX

static const char content_type[] = "application/octet-stream";

/* ---------------------------------------------------------------- out */

static uint8_t *put_view(uint8_t *at, view_t view) { return put_octets(put8(at, (unsigned)view.size), view.data, view.size); }

uint8_t *floor_publish(uint8_t *at, view_t exchange, view_t routing_key, const void *body, size_t size) {
    size_t type_size = sizeof content_type - 1;
    at = put_frame(at, FRAME_METHOD, 1, (uint32_t)(9 + exchange.size + routing_key.size));
    at = put16(put32(at, BASIC_PUBLISH), 0);
    at = put8(put8(put_view(put_view(at, exchange), routing_key), 0), FRAME_END);
    at = put_frame(at, FRAME_HEADER, 1, (uint32_t)(16 + type_size));
    at = put16(put64(put32(at, METHOD(60, 0)), size), 0x9000);
    at = put8(put8(put_view(at, (view_t){ (const uint8_t *)content_type, type_size }), 1), FRAME_END);
    if (body == NULL || size == 0) return at;
    at = put_octets(put_frame(at, FRAME_BODY, 1, (uint32_t)size), body, size);
    return put8(at, FRAME_END);
}

/* ---------------------------------------------------------------- in */

/* Each returns where the next field is; NULL when it would be behind the end. */
static inline const uint8_t *get_view(const uint8_t *at, const uint8_t *end, view_t *view) {
    if (at == NULL || at >= end || end - at - 1 < *at) return NULL;
    *view = (view_t){ at + 1, *at };
    return at + 1 + *at;
}

static const uint8_t *get_table(const uint8_t *at, const uint8_t *end, view_t *view) {
    if (at == NULL || end - at < 4 || (size_t)(end - at - 4) < get32(at)) return NULL;
    *view = (view_t){ at + 4, get32(at) };
    return at + 4 + get32(at);
}

static inline const uint8_t *get_octet(const uint8_t *at, const uint8_t *end, uint8_t *octet) {
    if (at == NULL || at >= end) return NULL;
    *octet = *at;
    return at + 1;
}

/* 2.3.5.2: the highest bit is content-type, then come encoding, headers, delivery-mode, priority, ... */
static const uint8_t *get_rare(floor_message_t *m, unsigned bit, const uint8_t *at, const uint8_t *end) {
    switch (bit) {
    case 2: return get_table(at, end, &m->strings[bit]);
    case 4: return get_octet(at, end, &m->priority);
    case 9:
        if (at == NULL || end - at < 8) return NULL;
        m->timestamp = get64(at);
        return at + 8;
    default: return bit < 14 ? get_view(at, end, &m->strings[bit]) : NULL;
    }
}

static bool get_properties(floor_message_t *m, const uint8_t *at, const uint8_t *end) {
    uint16_t flags = m->flags = get16(at);
    at += 2;
    if (flags & 0x8000) at = get_view(at, end, &m->strings[0]);
    if (flags & 0x6000) {
        if (flags & 0x4000) at = get_rare(m, 1, at, end);
        if (flags & 0x2000) at = get_rare(m, 2, at, end);
    }
    if (flags & 0x1000) at = get_octet(at, end, &m->delivery_mode);
    for (unsigned bit = 4; (flags & 0x0fff) != 0 && bit < 16; bit++)
        if (flags & (0x8000u >> bit)) at = get_rare(m, bit, at, end);
    return at == end;
}

/* The octets of the whole frame; 0 when not all of it is here. */
static inline size_t frame_at(const uint8_t *at, const uint8_t *end) {
    if (end - at < 8) return 0;
    size_t whole = (size_t)get32(at + 3) + 8;
    if (whole > FLOOR_FRAME_MAX) return BAD;
    if ((size_t)(end - at) < whole) return 0;
    return at[whole - 1] == FRAME_END ? whole : BAD;
}

static inline bool get_deliver(floor_message_t *m, const uint8_t *at, const uint8_t *end) {
    at = get_view(at, end, &m->consumer_tag);
    if (at == NULL || end - at < 9) return false;
    m->delivery_tag = get64(at);
    m->redelivered = at[8] & 1;
    return get_view(get_view(at + 9, end, &m->exchange), end, &m->routing_key) == end;
}

/* `at` is behind the method of a delivery. */
static inline size_t take_content(floor_decoder_t *decoder, const uint8_t *at, const uint8_t *end) {
    floor_message_t *m = &decoder->message;
    size_t header = frame_at(at, end);
    if (header == 0 || header == BAD) return header;
    if (at[0] != FRAME_HEADER || get16(at + 1) != m->channel || header < 22 || get32(at + 7) != METHOD(60, 0)) return BAD;
    m->body_size = get64(at + 11);
    if (!get_properties(m, at + 19, at + header - 1)) return BAD;
    if (m->body_size + 8 > FLOOR_FRAME_MAX) {
        decoder->body_left = m->body_size;
        return header;
    }
    m->body = (view_t){ 0 };
    size_t body = 0;
    if (m->body_size > 0) {
        body = frame_at(at + header, end);
        if (body == 0 || body == BAD) return body;
        at += header;
        if (at[0] != FRAME_BODY || get16(at + 1) != m->channel || body - 8 != m->body_size) return BAD;
        m->body = (view_t){ at + 7, (size_t)m->body_size };
    }
    decoder->on_message(m);
    return header + body;
}

static size_t take_frames(floor_decoder_t *decoder, const uint8_t *at, const uint8_t *end) {
    size_t method = frame_at(at, end), content;
    if (method == 0 || method == BAD) return method;
    if (at[0] == FRAME_HEARTBEAT) return method;
    if (at[0] != FRAME_METHOD || method < METHOD_OVERHEAD) return BAD;
    if (get32(at + 7) != BASIC_DELIVER) {
        decoder->on_method(get32(at + 7), at + 11, method - METHOD_OVERHEAD);
        return method;
    }
    decoder->message.channel = get16(at + 1);
    if (!get_deliver(&decoder->message, at + 11, at + method - 1)) return BAD;
    content = take_content(decoder, at + method, end);
    return content == 0 || content == BAD ? content : method + content;
}

/* A piece of a body that goes by. */
static size_t take_piece(floor_decoder_t *decoder, const uint8_t *at, size_t size) {
    if (decoder->frame_left == 0) {
        if (size < 8) return 0;
        uint32_t payload = get32(at + 3);
        if (at[0] != FRAME_BODY || get16(at + 1) != decoder->message.channel) return BAD;
        if (payload > FLOOR_FRAME_MAX - 8 || payload > decoder->body_left) return BAD;
        decoder->frame_left = payload + 1;
        return 7;
    }
    uint32_t piece = decoder->frame_left < size ? decoder->frame_left : (uint32_t)size;
    decoder->frame_left -= piece;
    decoder->body_left -= decoder->frame_left == 0 ? piece - 1 : piece;
    if (decoder->frame_left > 0) return piece;
    if (at[piece - 1] != FRAME_END) return BAD;
    if (decoder->body_left == 0) decoder->on_message(&decoder->message);
    return piece;
}

size_t floor_take(floor_decoder_t *decoder, const uint8_t *octets, size_t size) {
    const uint8_t *at = octets, *end = octets + size;
    while (at < end) {
        bool is_body = decoder->body_left > 0 || decoder->frame_left > 0;
        size_t used = is_body ? take_piece(decoder, at, (size_t)(end - at)) : take_frames(decoder, at, end);
        if (used == BAD) return BAD;
        if (used == 0) break;
        at += used;
    }
    return (size_t)(at - octets);
}
