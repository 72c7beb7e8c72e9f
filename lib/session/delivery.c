/*
 * The short ways of a delivery: all of its frames lie whole in the input, on an open channel that is in no other message. It is
 * looked at as one thing, without a copy and without a state. Anything else, and anything that is wrong, is left untouched to
 * the long way in input.c, which is the oracle (profile: three frames through it cost 1400 instructions of 2300).
 *
 * Shorter still: the deliveries of a queue mostly differ in nothing but tag, size and body. One that looks like the last of its
 * channel, octet for octet, need not be read again (profile: reading it was half of what was left).
 */
#include "alloc.h"
#include "everyday.h"
#include "internal.h"
#include "probes.h"
#include <stddef.h>
#include <string.h>

/* What comes before a body's size: names and a few properties, in whole blocks. Longer ones are read each time. */
#define LAST_MAX 256u

/* Compared at once (profile: word by word took three times as long, and so did memcmp). */
#define BLOCK 16u
typedef uint64_t block
    __attribute__((vector_size(BLOCK), aligned(_Alignof(max_align_t) < BLOCK ? _Alignof(max_align_t) : BLOCK)));
_Static_assert(LAST_MAX % (2 * BLOCK) == 0, "whole pairs of blocks");

/* What two that look alike may differ in: delivery tag and `redelivered` (1.8.3.9), body size (4.2.6.1); where they stand in payloads. */
#define TAG_OFFSET       5u /* behind the ids of class and method, a length, and the consumer's tag */
#define TAG_SIZE         9u
#define BODY_SIZE_OFFSET 4u /* behind class and weight */
#define BODY_SIZE_SIZE   8u

/* A delivery, up to the size of its body frame. */
struct last_delivery {
    uint32_t alike;       /* what its strings are known by; 0: only `octets` is set, as they came */
    uint16_t block_count; /* of `frames`, before the last pair */
    uint16_t left_min;    /* octets of input that are looked at: the last pair may reach into the body */
    uint16_t channel, method_size, header_size;
    uint16_t tag_at, body_size_at, size; /* in the frames */
    uint64_t body_size_max;              /* of those that may be whole */
    block mask[2];                       /* of the last pair: zero behind the frames */
    block frames[LAST_MAX / BLOCK];      /* as they came, but for what they may differ in: that is the next one's */
    union method_args args;              /* views into `octets`, terminated */
    lago_properties_t properties;
    uint8_t octets[LAST_MAX];
};

/* A frame of this type and channel, whole and with its end octet. @return its payload, NULL if it is not that. */
static uint8_t *whole_frame(uint8_t *at, size_t left, enum frame_type type, uint16_t channel, size_t *size) {
    if (left < FRAME_OVERHEAD || at[0] != type || get_u16(at + 1) != channel) return NULL;
    *size = get_u32(at + 3);
    if (*size > left - FRAME_OVERHEAD || at[FRAME_HEADER_SIZE + *size] != FRAME_END) return NULL;
    return at + FRAME_HEADER_SIZE;
}

struct delivery {
    struct session_channel *ch;
    uint8_t *method, *header, *body; /* payloads */
    size_t method_size, header_size, body_size;
    size_t size; /* all frames */
};

static bool takes_deliveries(const struct session_channel *ch) {
    return ch && ch->state == CHANNEL_OPEN && ch->receiving == CONTENT_NONE;
}

/* Whether its frames are there. What they say is not looked at. */
static bool find(const struct session *s, struct delivery *d) {
    uint8_t *at = s->input;
    size_t left = s->input_size, max = s->tune.frame_max - FRAME_OVERHEAD;
    if (left < FRAME_HEADER_SIZE + 4) return false;
    uint16_t channel = get_u16(at + 1);
    d->method = whole_frame(at, left, FRAME_METHOD, channel, &d->method_size);
    if (!d->method || d->method_size < 4 || get_u32(d->method) != METHOD_BASIC_DELIVER) return false;
    d->ch = channel_find(s, channel);
    if (!takes_deliveries(d->ch)) return false;
    at += d->method_size + FRAME_OVERHEAD;
    left -= d->method_size + FRAME_OVERHEAD;
    d->header = whole_frame(at, left, FRAME_HEADER, channel, &d->header_size);
    if (!d->header || d->header_size < CONTENT_HEADER_FIXED_SIZE + 2) return false;
    at += d->header_size + FRAME_OVERHEAD;
    left -= d->header_size + FRAME_OVERHEAD;
    uint64_t announced = get_u64(d->header + BODY_SIZE_OFFSET);
    d->body = NULL;
    d->body_size = 0;
    if (announced > 0) {
        d->body = whole_frame(at, left, FRAME_BODY, channel, &d->body_size);
        if (!d->body || d->body_size != announced) return false;
        at += d->body_size + FRAME_OVERHEAD;
    }
    d->size = (size_t)(at - s->input);
    return d->method_size <= max && d->header_size <= max && d->body_size <= max && announced <= s->settings.message_size_max;
}

/* ---------------------------------------------------------------- one that looks like the last */

static inline block block_at(const uint8_t *octets, size_t i) {
    block b;
    memcpy(&b, octets + i * BLOCK, BLOCK);
    return b;
}

/* What they may differ in is taken over first: then nothing differs there. */
static inline bool looks_like(struct last_delivery *last, const uint8_t *at, size_t left) {
    uint8_t *frames = (uint8_t *)last->frames;
    size_t i = 0, end = last->block_count;
    if (left < last->left_min) return false;
    memcpy(frames + last->tag_at, at + last->tag_at, TAG_SIZE);
    memcpy(frames + last->body_size_at, at + last->body_size_at, BODY_SIZE_SIZE);
    block differ = { 0 };
    for (; i < end; i += 2) differ |= (block_at(at, i) ^ last->frames[i]) | (block_at(at, i + 1) ^ last->frames[i + 1]);
    differ |=
        ((block_at(at, i) ^ last->frames[i]) & last->mask[0]) | ((block_at(at, i + 1) ^ last->frames[i + 1]) & last->mask[1]);
    return (differ[0] | differ[1]) == 0;
}

static bool same(const struct last_delivery *last, const uint8_t *at, size_t from, size_t to) {
    return memcmp(last->octets + from, at + from, to - from) == 0;
}

static bool looks_like_first(const struct last_delivery *last, const uint8_t *at, size_t left) {
    size_t names = last->tag_at + TAG_SIZE, properties = last->body_size_at + BODY_SIZE_SIZE;
    return last->size > 0 && left > last->size + sizeof(uint32_t) && same(last, at, properties, last->size) &&
           same(last, at, 0, last->tag_at) && same(last, at, names, last->body_size_at);
}

/* The second of its kind: only now, because most messages that differ from the last also differ from the next. */
static void read_first(struct session *s, struct last_delivery *last) {
    struct content_header header;
    struct basic_deliver *args = &last->args.basic_deliver;
    size_t before = ((size_t)last->size - 1) / (2 * BLOCK) * 2;
    memset(last->frames, 0, sizeof(last->frames));
    memcpy(last->frames, last->octets, last->size);
    memset(last->mask, 0, sizeof(last->mask));
    memset(last->mask, 0xff, last->size - before * BLOCK);
    /* the same octets have been read before: neither can fail */
    (void)deliver_read(last->octets + FRAME_HEADER_SIZE, last->method_size, args);
    (void)content_header_read(last->octets + last->body_size_at - BODY_SIZE_OFFSET, last->header_size, &header);
    deliver_terminate(args);
    content_header_terminate(&header);
    last->properties = header.properties;
    last->block_count = (uint16_t)before;
    last->body_size_max = s->tune.frame_max - FRAME_OVERHEAD;
    if (last->body_size_max > s->settings.message_size_max) last->body_size_max = s->settings.message_size_max;
    last->left_min = (uint16_t)((before + 2) * BLOCK + sizeof(uint32_t));
    if (++s->alike == ALIKE_NONE) s->alike = 1;
    last->alike = s->alike;
}

static struct last_delivery **place_of(struct session *s) { return &s->last[get_u16(s->input + 1) % LAST_DELIVERIES]; }

static void remember(struct session *s, struct last_delivery **place, const struct delivery *d) {
    size_t size = (size_t)(d->body - s->input) - sizeof(uint32_t);
    if (size > LAST_MAX) return;
    if (!*place && !(*place = mem_alloc(s->alloc, sizeof(**place)))) return; /* it is read each time, then */
    struct last_delivery *last = *place;
    last->alike = 0;
    last->channel = d->ch->number;
    last->method_size = (uint16_t)d->method_size;
    last->header_size = (uint16_t)d->header_size;
    last->tag_at = (uint16_t)(FRAME_HEADER_SIZE + TAG_OFFSET + d->method[TAG_OFFSET - 1]);
    last->body_size_at = (uint16_t)((size_t)(d->header - s->input) + BODY_SIZE_OFFSET);
    last->size = (uint16_t)size;
    memcpy(last->octets, s->input, size);
}

void deliveries_forget(struct session *s) {
    for (unsigned i = 0; i < LAST_DELIVERIES; i++)
        if (s->last[i]) s->last[i]->alike = s->last[i]->size = 0;
}

void deliveries_free(struct session *s) {
    for (unsigned i = 0; i < LAST_DELIVERIES; i++) mem_free(s->alloc, s->last[i]);
    memset(s->last, 0, sizeof(s->last));
    mem_free(s->alloc, s->header);
    s->header = NULL;
}

/* ---------------------------------------------------------------- events */

__attribute__((always_inline)) static inline void count(struct session *s, uint16_t channel, size_t method_size,
                                                        size_t header_size, size_t body_size) {
    s->counters.frames_received += body_size ? 3 : 2;
    PROBE4(frame__in, s, FRAME_METHOD, channel, method_size);
    PROBE4(frame__in, s, FRAME_HEADER, channel, header_size);
    if (body_size) PROBE4(frame__in, s, FRAME_BODY, channel, body_size);
    (void)channel, (void)method_size, (void)header_size;
}

/* The input goes on behind `body` of `size`, of `left` octets, and its end octet, which becomes a NUL: it was checked and is done with. */
static inline bool told(struct session *s, struct session_event *event, const struct session_channel *ch, uint8_t *body,
                        size_t size, size_t left) {
    event->type = SESSION_EVENT_CONTENT;
    event->channel = ch->number;
    event->owner = ch->owner;
    event->info = s->deliver;
    event->body = (lago_bytes_t){ body, size };
    event->body_block = NULL;
    event->reason = NULL;
    body[size] = '\0';
    s->input_size = left - size - FRAME_END_SIZE;
    s->input = body + size + FRAME_END_SIZE;
    return true;
}

__attribute__((always_inline)) static inline bool alike_step(struct session *s, struct last_delivery *last,
                                                             struct session_event *event) {
    const struct session_channel *ch = channel_find(s, last->channel);
    uint8_t *body = s->input + last->size + sizeof(uint32_t);
    size_t left = s->input_size - last->size - sizeof(uint32_t), size = get_u32(body - sizeof(uint32_t));
    bool whole = size > 0 && size < left && body[size] == FRAME_END && size == get_u64(s->input + last->body_size_at);
    if (!whole || size > last->body_size_max) return false;
    if (!takes_deliveries(ch)) return false;
    deliver_read_tag(s->input + last->tag_at, &last->args.basic_deliver);
    count(s, ch->number, last->method_size, last->header_size, size);
    event->alike = last->alike;
    event->args = &last->args;
    event->properties = &last->properties;
    return told(s, event, ch, body, size, left);
}

/* Whole, but new. */
static bool read_step(struct session *s, struct last_delivery **place, struct session_event *event) {
    struct delivery d;
    if (!find(s, &d)) return false;
    if (!s->header && !(s->header = mem_alloc(s->alloc, sizeof(*s->header)))) return false;
    if (content_header_read(d.header, d.header_size, s->header) != 0) return false;
    if (deliver_read(d.method, d.method_size, &s->args.basic_deliver) != 0) return false;
    if (d.body) remember(s, place, &d);
    deliver_terminate(&s->args.basic_deliver); /* the NULs come last: they overwrite octets that have been read */
    content_header_terminate(s->header);
    count(s, d.ch->number, d.method_size, d.header_size, d.body_size);
    event->alike = 0;
    event->args = &s->args;
    event->properties = &s->header->properties;
    uint8_t *body = d.body ? d.body : d.header + d.header_size;
    return told(s, event, d.ch, body, d.body_size, s->input_size - (size_t)(body - s->input));
}

/* Apart, so that the usual way does not pay for its registers. */
__attribute__((noinline)) static bool first_step(struct session *s, struct session_event *event) {
    struct last_delivery **place = place_of(s), *last = *place;
    if (last && !last->alike && looks_like_first(last, s->input, s->input_size)) {
        read_first(s, last);
        if (alike_step(s, last, event)) return true;
    }
    return read_step(s, place, event);
}

__attribute__((always_inline)) static inline bool short_step(struct session *s, struct session_event *event) {
    if (s->state != SESSION_OPEN || s->settings.trace || s->input_size < FRAME_HEADER_SIZE) return false;
    struct last_delivery *last = *place_of(s);
    if (last && last->alike && looks_like(last, s->input, s->input_size) && alike_step(s, last, event)) return true;
    return s->input[0] == FRAME_METHOD && first_step(s, event); /* else a piece of a body, of which there may be many */
}

bool delivery_step(struct session *s, struct session_event *event) { return short_step(s, event); }

/* Here, because it is a delivery nearly every time: then nothing is called. */
int session_next_event(struct session *s, struct session_event *event) {
    if (s->delivered && input_told(s, event)) return 1;
    return input_is_between_frames(s) && short_step(s, event) ? 1 : input_event(s, event);
}
