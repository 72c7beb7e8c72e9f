/* Frames and methods of a broker that answers everything and keeps nothing. Knows no socket. */
#include "fake_amqp.h"
#include "wire.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIRM_EVERY 100u         /* publishes: RabbitMQ does about so under load */
#define STOCK_SIZE    (512u << 10) /* as much as a socket takes at once */

#define BAD SIZE_MAX

/* What is being read of a method. */
typedef struct cursor {
    const uint8_t *at, *end;
    bool is_bad;
} cursor_t;

/* ---------------------------------------------------------------- octets out */

static uint8_t *room(octets_t *octets, size_t size) {
    if (octets->sent == octets->size) octets->sent = octets->size = 0;
    if (octets->size + size > octets->capacity) {
        octets->capacity = (octets->size + size) * 2;
        octets->data = realloc(octets->data, octets->capacity);
        if (octets->data == NULL) exit(1);
    }
    return octets->data + octets->size;
}

static void append(octets_t *octets, const void *data, size_t size) {
    memcpy(room(octets, size), data, size);
    octets->size += size;
}

static void answer(fake_peer_t *peer, uint16_t channel, uint32_t method, const void *arguments, size_t size) {
    uint8_t *begin = room(&peer->out, size + METHOD_OVERHEAD);
    peer->out.size += (size_t)(put_method(begin, channel, method, arguments, size) - begin);
}

static void greet(fake_peer_t *peer) {
    static const char *const capabilities[] = { "publisher_confirms", "basic.nack", "consumer_cancel_notify",
                                                "connection.blocked", "authentication_failure_close" };
    uint8_t text[512], *at = put8(put8(text, 0), 9), *outer = at, *inner;
    at = put_shortstr(at + 4, "capabilities");
    *at++ = 'F';
    inner = at;
    at += 4;
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        at = put8(put8(put_shortstr(at, capabilities[i]), 't'), 1);
    put32(inner, (uint32_t)(at - inner - 4));
    put32(outer, (uint32_t)(at - outer - 4));
    at = put_longstr(put_longstr(at, "PLAIN"), "en_US");
    answer(peer, 0, CONNECTION_START, text, (size_t)(at - text));
}

/* ---------------------------------------------------------------- octets in */

static uint8_t read8(cursor_t *cursor) {
    if (cursor->at >= cursor->end) {
        cursor->is_bad = true;
        return 0;
    }
    return *cursor->at++;
}

static void skip(cursor_t *cursor, size_t size) {
    if ((size_t)(cursor->end - cursor->at) < size) {
        cursor->is_bad = true;
        size = 0;
    }
    cursor->at += size;
}

/* NUL-terminated into 256 octets. */
static char *read_shortstr(cursor_t *cursor, char *text) {
    size_t size = read8(cursor);
    const uint8_t *begin = cursor->at;
    skip(cursor, size);
    if (cursor->is_bad) size = 0;
    memcpy(text, begin, size);
    text[size] = '\0';
    return text;
}

/* ---------------------------------------------------------------- what is published */

static void confirm(fake_peer_t *peer, uint16_t channel) {
    confirms_t *confirms = &peer->confirms[channel];
    uint8_t text[9];
    if (confirms->published == confirms->confirmed) return;
    confirms->confirmed = confirms->published;
    put8(put64(text, confirms->confirmed), 1);
    answer(peer, channel, BASIC_ACK, text, sizeof text);
}

static void on_published(fake_peer_t *peer, uint16_t channel) {
    if (peer->confirms == NULL || !peer->confirms[channel].wanted) return;
    confirms_t *confirms = &peer->confirms[channel];
    if (peer->unconfirmed_on != channel) confirm(peer, peer->unconfirmed_on);
    peer->unconfirmed_on = channel;
    if (++confirms->published - confirms->confirmed >= CONFIRM_EVERY) confirm(peer, channel);
}

void fake_rest(fake_peer_t *peer) {
    if (peer->confirms != NULL) confirm(peer, peer->unconfirmed_on);
}

static void want_confirms(fake_peer_t *peer, uint16_t channel) {
    if (peer->confirms == NULL) peer->confirms = calloc(FAKE_CHANNEL_MAX + 1, sizeof *peer->confirms);
    if (peer->confirms == NULL) exit(1);
    peer->confirms[channel].wanted = true;
}

/* Its header and body follow as they came. */
static void echo(fake_peer_t *peer, uint16_t channel, cursor_t *cursor) {
    char exchange[256], key[256];
    uint8_t text[800], *at = put8(put64(put_shortstr(text, peer->consumer_tag), ++peer->echo_tag), 0);
    skip(cursor, 2);
    at = put_shortstr(put_shortstr(at, read_shortstr(cursor, exchange)), read_shortstr(cursor, key));
    answer(peer, channel, BASIC_DELIVER, text, (size_t)(at - text));
}

/* ---------------------------------------------------------------- what is consumed */

static uint8_t *put_delivery(fake_peer_t *peer, uint8_t *at, uint16_t channel, size_t size) {
    uint8_t text[600], *end = put_shortstr(text, peer->consumer_tag), *begin = at;
    peer->stock_at = 11 + (size_t)(end - text);
    end = put_shortstr(put_shortstr(put8(put64(end, 0), 0), "amq.direct"), "bench");
    at = put_method(at, channel, BASIC_DELIVER, text, (size_t)(end - text));
    at = put_header(at, channel, size, "application/octet-stream");
    for (size_t left = size; left > 0;) {
        size_t part = left < FAKE_FRAME_MAX - 8 ? left : FAKE_FRAME_MAX - 8;
        at = put_frame(at, FRAME_BODY, channel, (uint32_t)part);
        memset(at, 'x', part);
        at = put8(at + part, FRAME_END);
        left -= part;
    }
    peer->stock_unit = (size_t)(at - begin);
    return at;
}

static void open_stock(fake_peer_t *peer, uint16_t channel, uint64_t count, size_t size) {
    size_t most = size + (size / (FAKE_FRAME_MAX - 8) + 1) * 8 + 512;
    uint8_t *one = room(&peer->stock, most + STOCK_SIZE);
    size_t unit = (size_t)(put_delivery(peer, one, channel, size) - one);
    for (size_t at = unit; at + unit <= STOCK_SIZE; at += unit) memcpy(one + at, one, unit);
    peer->stock_left = count;
    peer->stock_tag = 0;
}

bool fake_restock(fake_peer_t *peer) {
    octets_t *stock = &peer->stock;
    if (stock->sent < stock->size) return true;
    if (peer->stock_left == 0) return false;
    size_t most = peer->stock_unit < STOCK_SIZE ? STOCK_SIZE / peer->stock_unit : 1;
    size_t count = peer->stock_left < most ? (size_t)peer->stock_left : most;
    for (size_t i = 0; i < count; i++) put64(stock->data + i * peer->stock_unit + peer->stock_at, ++peer->stock_tag);
    peer->stock_left -= count;
    stock->sent = 0;
    stock->size = count * peer->stock_unit;
    return true;
}

static void consume(fake_peer_t *peer, uint16_t channel, cursor_t *cursor) {
    char queue[256], *tag = peer->consumer_tag;
    unsigned long long count;
    size_t size;
    uint8_t text[256];
    skip(cursor, 2);
    read_shortstr(cursor, queue);
    read_shortstr(cursor, tag);
    if (!*tag) strcpy(tag, "ctag1.0");
    uint8_t *end = put_shortstr(text, tag);
    answer(peer, channel, BASIC_CONSUME_OK, text, (size_t)(end - text));
    if (sscanf(queue, "src.%llu.%zu", &count, &size) == 2)
        open_stock(peer, channel, count, size);
    else
        peer->is_echo = true;
}

/* ---------------------------------------------------------------- methods */

static void declare_queue(fake_peer_t *peer, uint16_t channel, cursor_t *cursor) {
    char queue[256];
    uint8_t text[300];
    skip(cursor, 2);
    read_shortstr(cursor, queue);
    uint8_t *end = put32(put32(put_shortstr(text, *queue ? queue : "amq.gen-1"), 0), 0);
    if (!(read8(cursor) & 16)) answer(peer, channel, QUEUE_DECLARE_OK, text, (size_t)(end - text));
}

static void cancel(fake_peer_t *peer, uint16_t channel, cursor_t *cursor) {
    char tag[256];
    uint8_t text[256], *end = put_shortstr(text, read_shortstr(cursor, tag));
    answer(peer, channel, BASIC_CANCEL_OK, text, (size_t)(end - text));
}

static void tune(fake_peer_t *peer) {
    uint8_t text[8];
    put16(put32(put16(text, FAKE_CHANNEL_MAX), FAKE_FRAME_MAX), peer->heartbeat_s);
    answer(peer, 0, CONNECTION_TUNE, text, sizeof text);
}

/* Those that only need an answer, and what is in it: so many zeros. */
static const struct {
    uint32_t method, answer;
    size_t size;
} simple_answers[] = {
    { CONNECTION_OPEN, CONNECTION_OPEN + 1, 1 },
    { CONNECTION_CLOSE, CONNECTION_CLOSE + 1, 0 },
    { CHANNEL_OPEN, CHANNEL_OPEN + 1, 4 },
    { CHANNEL_CLOSE, CHANNEL_CLOSE + 1, 0 },
    { EXCHANGE_DECLARE, EXCHANGE_DECLARE + 1, 0 },
    { QUEUE_BIND, QUEUE_BIND + 1, 0 },
    { QUEUE_PURGE, QUEUE_PURGE + 1, 4 },
    { QUEUE_DELETE, QUEUE_DELETE + 1, 4 },
    { BASIC_QOS, BASIC_QOS + 1, 0 },
    { CONFIRM_SELECT, CONFIRM_SELECT + 1, 0 },
};

static void answer_simply(fake_peer_t *peer, uint16_t channel, uint32_t method) {
    static const uint8_t zeros[8];
    for (size_t i = 0; i < sizeof simple_answers / sizeof *simple_answers; i++)
        if (simple_answers[i].method == method) answer(peer, channel, simple_answers[i].answer, zeros, simple_answers[i].size);
}

static bool on_method(fake_peer_t *peer, uint16_t channel, const uint8_t *payload, size_t size) {
    cursor_t cursor = { payload + 4, payload + size, false };
    if (size < 4 || channel > FAKE_CHANNEL_MAX) return false;
    uint32_t method = get32(payload);
    switch (method) {
    case BASIC_PUBLISH:
        peer->is_publishing = true;
        if (peer->is_echo) echo(peer, channel, &cursor);
        break;
    case BASIC_ACK: break;
    case CONNECTION_START_OK: tune(peer); break;
    case BASIC_CONSUME: consume(peer, channel, &cursor); break;
    case BASIC_CANCEL: cancel(peer, channel, &cursor); break;
    case QUEUE_DECLARE: declare_queue(peer, channel, &cursor); break;
    case CONFIRM_SELECT:
        want_confirms(peer, channel);
        answer_simply(peer, channel, method);
        break;
    default:
        peer->is_leaving = method == CONNECTION_CLOSE;
        answer_simply(peer, channel, method);
        break;
    }
    return !cursor.is_bad;
}

/* ---------------------------------------------------------------- frames */

/* A body frame whose end is not here yet may be large: the octets need not be kept to be forgotten. */
static size_t take_body(fake_peer_t *peer, uint16_t channel, const uint8_t *frame, size_t here, size_t whole) {
    size_t used = whole <= here ? whole : here;
    if (whole - 8 > peer->body_left) return BAD;
    peer->body_left -= whole - 8;
    if (peer->is_echo) append(&peer->out, frame, used);
    peer->skip = whole - used;
    peer->body_on = channel;
    if (peer->skip == 0 && peer->body_left == 0) on_published(peer, channel);
    return used;
}

/* Returns how many octets were used; 0: the rest of the frame is still to come. */
static size_t take_frame(fake_peer_t *peer, const uint8_t *frame, size_t here) {
    if (here < 8) return 0;
    uint16_t channel = get16(frame + 1);
    size_t whole = (size_t)get32(frame + 3) + 8;
    if (whole > FAKE_FRAME_MAX) return BAD;
    if (frame[0] == FRAME_BODY) return take_body(peer, channel, frame, here, whole);
    if (here < whole) return 0;
    if (frame[whole - 1] != FRAME_END) return BAD;
    switch (frame[0]) {
    case FRAME_METHOD: return on_method(peer, channel, frame + 7, whole - 8) ? whole : BAD;
    case FRAME_HEADER:
        if (whole < 22) return BAD;
        peer->body_left = get64(frame + 11);
        if (peer->is_echo) append(&peer->out, frame, whole);
        if (peer->body_left == 0) on_published(peer, channel);
        return whole;
    case FRAME_HEARTBEAT: append(&peer->out, frame, whole); return whole;
    default: return BAD;
    }
}

static size_t take_rest_of_body(fake_peer_t *peer, const uint8_t *octets, size_t size) {
    size_t used = peer->skip < size ? peer->skip : size;
    if (peer->is_echo) append(&peer->out, octets, used);
    peer->skip -= used;
    if (peer->skip == 0 && peer->body_left == 0) on_published(peer, peer->body_on);
    return used;
}

size_t fake_take(fake_peer_t *peer, const uint8_t *octets, size_t size) {
    size_t used = 0;
    if (!peer->is_greeted) {
        if (size < 8) return 0;
        if (memcmp(octets, "AMQP\0\0\x9\x1", 8) != 0) return BAD;
        peer->is_greeted = true;
        greet(peer);
        used = 8;
    }
    while (used < size) {
        size_t more =
            peer->skip > 0 ? take_rest_of_body(peer, octets + used, size - used) : take_frame(peer, octets + used, size - used);
        if (more == BAD) return BAD;
        if (more == 0) break;
        used += more;
    }
    return used;
}

void fake_free(fake_peer_t *peer) {
    free(peer->out.data);
    free(peer->stock.data);
    free(peer->confirms);
}
