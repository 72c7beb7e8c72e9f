/*
 * A stream of frames (AMQP 0-9-1, 4.2.3) into a session that is open with two channels, cut in any way: what is cut says the same as
 * what is whole.
 *
 * Input: an octet of flags, one that seeds the cuts, then a row of frames in short: an octet of what (three bits) on which channel
 * (two bits), then what it needs. Lengths and end octets are right unless it says RAW.
 */
#include "frame.h"
#include "fuzz.h"
#include "seat.h"
#include <string.h>

enum {
    DELIVERED,
    THREE_FRAMES,
    IN_PIECES,
    INTERLEAVED,
    UNEXPECTED_505,
    FRAME_ERROR_501,
    SYNTAX_502,
    INVALID_503,
    CHANNEL_504,
    UNKNOWN_540,
    TOO_LARGE_311,
    CHANNEL_CLOSED,
    CLOSED,
    RETURNED,
    ALIKE,
    STRAIGHT
};
const char *const fuzz_milestones[] = { "a delivery",
                                        "a body of three frames",
                                        "a body handed out in ten pieces",
                                        "messages of two channels interleaved",
                                        "close by 505",
                                        "close by 501",
                                        "close by 502",
                                        "close by 503",
                                        "close by 504",
                                        "close by 540",
                                        "a channel ended by 311",
                                        "a channel closed by the broker",
                                        "the connection closed by the broker",
                                        "a message returned",
                                        "a delivery like the last",
                                        "bytes read straight into the body",
                                        NULL };

#define STREAM_MAX       ((size_t)1 << 17)
#define MESSAGE_SIZE_MAX 20000u
#define HANDS_OUT        1u
#define CUT              2u /* and compare with the same in one piece */
#define SMALL_FRAMES     4u
#define READ_STRAIGHT    8u

/* What a run may hold beside the input: two messages, a partial frame, what chunks and maps round up to. */
#define MEMORY_MAX (4u * MESSAGE_SIZE_MAX + 2u * 131072u + 65536u)

enum op { OP_METHOD, OP_HEADER, OP_BODY, OP_DELIVER, OP_LONG_BODY, OP_HEARTBEAT, OP_FRAME, OP_RAW };

static struct arena arena;
static uint8_t stream[STREAM_MAX];
static size_t stream_size;
static unsigned channels_seen, last_alike;

/* ---------------------------------------------------------------- frames from decisions */

static uint8_t *room(size_t size) { return stream_size + size <= STREAM_MAX ? stream + stream_size : NULL; }

static void add_frame(unsigned type, uint16_t channel, const void *payload, size_t size) {
    uint8_t *at = room(size + FRAME_OVERHEAD);
    if (!at) return;
    at = frame_begin(at, (enum frame_type)type, channel, size);
    if (size) memcpy(at, payload, size);
    frame_finish(at + size);
    stream_size += size + FRAME_OVERHEAD;
}

/* Broker's methods, those of messages first. */
static const uint32_t methods[] = { METHOD_BASIC_DELIVER,    METHOD_BASIC_RETURN,         METHOD_BASIC_GET_OK,
                                    METHOD_CHANNEL_CLOSE,    METHOD_CHANNEL_CLOSE_OK,     METHOD_CHANNEL_FLOW,
                                    METHOD_BASIC_ACK,        METHOD_BASIC_NACK,           METHOD_BASIC_CANCEL,
                                    METHOD_BASIC_CONSUME_OK, METHOD_QUEUE_DECLARE_OK,     METHOD_CONNECTION_BLOCKED,
                                    METHOD_CONNECTION_CLOSE, METHOD_CONNECTION_UNBLOCKED, METHOD_CHANNEL_OPEN_OK,
                                    METHOD_CONNECTION_TUNE };

static void add_method(struct decisions *d, uint16_t channel) {
    uint8_t payload[4 + UINT8_MAX], which = decide(d);
    size_t size = decide(d), count = sizeof(methods) / sizeof(methods[0]);
    (void)put_u32(payload, which < count ? methods[which] : (uint32_t)which << 16 | decide(d));
    const uint8_t *args = decide_bytes(d, &size);
    if (size) memcpy(payload + 4, args, size);
    add_frame(FRAME_METHOD, methods[which % count] >> 16 == 10 && which < count ? 0 : channel, payload, size + 4);
}

static void add_header(struct decisions *d, uint16_t channel, uint64_t body_size) {
    uint8_t payload[12 + UINT8_MAX] = { 0, 60 };
    size_t size = decide(d);
    (void)put_u64(payload + 4, body_size);
    const uint8_t *properties = decide_bytes(d, &size);
    if (size) memcpy(payload + 12, properties, size);
    if (size < 2) size = 2;
    add_frame(FRAME_HEADER, channel, payload, 12 + size);
}

static void add_body(uint16_t channel, size_t size) {
    static uint8_t pattern[1 << 15];
    if (pattern[1] == 0)
        for (size_t i = 0; i < sizeof(pattern); i++) pattern[i] = (uint8_t)(i * 7 + i / 256);
    add_frame(FRAME_BODY, channel, pattern, size);
}

/* All of a message, as a broker sends it; the body in one to four frames. */
static void add_delivery(struct decisions *d, uint16_t channel) {
    static const uint8_t text_plain[] = { 0x90, 0, 3, 'a', '/', 'b', 2 };
    uint8_t payload[64], what = decide(d), header[12 + sizeof(text_plain)] = { 0, 60 };
    size_t size = (size_t)decide(d) << (what & 5), frames = 1 + (what >> 6);
    uint8_t *at = put_u32(payload, METHOD_BASIC_DELIVER);
    memcpy(at, "\1c", 2);
    at = put_u64(at + 2, 1 + stream_size);
    *at++ = what >> 3 & 1;
    memcpy(at, "\0\1k", 3);
    add_frame(FRAME_METHOD, channel, payload, (size_t)(at + 3 - payload));
    (void)put_u64(header + 4, size);
    if (what & 16) memcpy(header + 12, text_plain, sizeof(text_plain));
    add_frame(FRAME_HEADER, channel, header, what & 16 ? sizeof(header) : 14);
    for (size_t part = size / frames + 1; size > 0; size -= part) {
        if (part > size) part = size;
        add_body(channel, part);
    }
}

static void add_any_frame(struct decisions *d, uint16_t channel) {
    uint8_t type = decide(d);
    size_t size = decide(d);
    const uint8_t *bytes = decide_bytes(d, &size);
    add_frame(type, channel, bytes, size);
}

static void add_raw(struct decisions *d) {
    size_t size = decide(d);
    const uint8_t *bytes = decide_bytes(d, &size);
    uint8_t *at = room(size);
    if (!at) return;
    if (size) memcpy(at, bytes, size);
    stream_size += size;
}

static void add(struct decisions *d) {
    uint8_t op = decide(d);
    uint16_t channel = op >> 3 & 3;
    switch ((enum op)(op & 7)) {
    case OP_METHOD: add_method(d, channel); break;
    case OP_HEADER: add_header(d, channel, op & 0x80 ? decide_u64(d) : decide_u16(d)); break;
    case OP_BODY: add_body(channel, decide(d)); break;
    case OP_DELIVER: add_delivery(d, channel); break;
    case OP_LONG_BODY: add_body(channel, (size_t)decide(d) * 32); break;
    case OP_HEARTBEAT: add_frame(FRAME_HEARTBEAT, op & 0x80 ? channel : 0, NULL, 0); break;
    case OP_FRAME: add_any_frame(d, channel); break;
    case OP_RAW: add_raw(d); break;
    }
}

/* ---------------------------------------------------------------- the session */

static void say(struct seat *seat, uint16_t channel, uint32_t method, const void *args) {
    uint8_t payload[64], frame[80];
    static const union method_args none;
    struct writer w = writer_over(payload, sizeof(payload));
    method_write(&w, method_find(method), args ? args : &none);
    uint8_t *at = frame_begin(frame, FRAME_METHOD, channel, w.size);
    memcpy(at, payload, w.size);
    at = frame_finish(at + w.size);
    seat_feed(seat, frame, (size_t)(at - frame));
}

static char owner[2];

static void bring_up(struct seat *seat, unsigned how) {
    struct session_settings settings = { .channel_max = 3, .message_size_max = MESSAGE_SIZE_MAX };
    lago_tune_t tune = { .channel_max = 3, .frame_max = how & SMALL_FRAMES ? FRAME_MIN_SIZE : 131072 };
    seat_init(seat, &arena, &settings, &tune);
    REQUIRE(session_channel_open(&seat->s, &owner[0]) == 1 && session_channel_open(&seat->s, &owner[1]) == 2);
    REQUIRE(session_start(&seat->s, seat->now) == 0);
    say(seat, 0, METHOD_CONNECTION_START, &(struct connection_start){ .version_minor = 9 });
    say(seat, 0, METHOD_CONNECTION_TUNE, NULL);
    say(seat, 0, METHOD_CONNECTION_OPEN_OK, NULL);
    say(seat, 1, METHOD_CHANNEL_OPEN_OK, NULL);
    say(seat, 2, METHOD_CHANNEL_OPEN_OK, NULL);
    (void)seat_write(seat, SIZE_MAX);
    REQUIRE(seat->s.state == SESSION_OPEN && seat->ended == 0);
    seat->digest = 1;
    seat->hands_out = how & HANDS_OUT;
    if (how & HANDS_OUT) session_announce_bodies(&seat->s, 1);
}

static void note(struct seat *seat, const struct session_event *event) {
    if (event->type == SESSION_EVENT_CHANNEL_CLOSE) REACH(event->reason ? TOO_LARGE_311 : CHANNEL_CLOSED);
    if (event->type != SESSION_EVENT_CONTENT && event->type != SESSION_EVENT_BODY) return;
    REACH(DELIVERED);
    channels_seen |= 1u << event->channel;
    REACH_IF(event->info->id == METHOD_BASIC_RETURN, RETURNED);
    if (event->type != SESSION_EVENT_CONTENT) return;
    REACH_IF(event->alike && event->alike == last_alike, ALIKE);
    last_alike = event->alike;
    (void)seat;
}

static void note_end(const struct session *s) {
    lago_reason_t room_for_it;
    const lago_reason_t *reason = reason_kept(&s->reason, &room_for_it);
    if (s->state == SESSION_LEAVING) REACH(CLOSED);
    if (s->state != SESSION_FAILED) return;
    switch (reason->reply_code) {
    case 501: REACH(FRAME_ERROR_501); break;
    case 502: REACH(SYNTAX_502); break;
    case 503: REACH(INVALID_503); break;
    case 504: REACH(CHANNEL_504); break;
    case 505: REACH(UNEXPECTED_505); break;
    case 540: REACH(UNKNOWN_540); break;
    default: fuzz_broken(__FILE__, __LINE__, "a reply code that no rule has");
    }
}

/* @return the digest */
static uint64_t converse(unsigned how, uint32_t cuts) {
    static struct seat seat;
    bring_up(&seat, how);
    size_t before = arena.peak_bytes;
    seat.on_event = note;
    seat.straight = how & READ_STRAIGHT;
    channels_seen = last_alike = 0;
    for (size_t at = 0, size; at < stream_size && seat.s.state != SESSION_ENDED; at += size) {
        size = stream_size - at;
        if (cuts) {
            cuts = cuts * 1664525u + 1013904223u;
            size_t piece = cuts & 0x80000000u ? 1 + (cuts >> 8 & 15) : 1 + (cuts >> 8 & 2047);
            if (piece < size) size = piece;
        }
        seat_feed(&seat, stream + at, size);
    }
    REQUIRE(arena.peak_bytes <= before + MEMORY_MAX);
    note_end(&seat.s);
    REACH_IF(seat.largest_body > 4096, THREE_FRAMES);
    REACH_IF(seat.pieces >= 10, IN_PIECES);
    REACH_IF(channels_seen == 6 && seat.contents > 2, INTERLEAVED);
    REACH_IF(seat.straight && seat.largest_body > 4096 && cuts, STRAIGHT);
    seat_end(&seat);
    arena_reset(&arena);
    return seat.digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.room) arena_init(&arena);
    if (size < 3) return 0;
    struct decisions d = { data + 2, size - 2 };
    stream_size = 0;
    while (d.left > 0) add(&d);
    uint64_t digest = converse(data[0], data[0] & CUT ? 0 : data[1]);
    if (data[0] & CUT) REQUIRE(digest == converse(data[0], 1u + data[1]));
    return 0;
}
