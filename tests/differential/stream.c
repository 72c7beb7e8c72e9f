/*
 * Streams of frames (AMQP 0-9-1, 4.2.3): the same octets, one frame after the other, to lago's reading and to one connection of
 * librabbitmq's that never ends. A frame comes as it was made and in damaged copies; most of the damage is within the payload, and
 * the frame around it is made good.
 */
#include "frame.h"
#include "mutate.h"
#include "octets.h"
#include "verdict.h"
#include <string.h>

#define BASES         2u
#define COPIES        32u /* of each, itself among them: they cost less than their making, and are not less different */
#define CHANNELS      4u
#define BODY_SIZE_MAX 400u
#define CLASS_AT      FRAME_HEADER_SIZE /* of a content header */
#define WEIGHT_AT     (FRAME_HEADER_SIZE + 2)
#define FLAGS_AT      12u  /* in its payload */
#define PLANT_EVERY   256u /* cases */

/* ---------------------------------------------------------------- librabbitmq's side */

void stream_close(struct run *run) {
    if (run->stream != NULL) amqp_destroy_connection(run->stream);
    run->stream = NULL;
}

/* As after the handshake: until it has seen a protocol header librabbitmq takes no short frames. */
static bool open_stream(struct run *run) {
    amqp_bytes_t header = { PROTOCOL_HEADER_SIZE, (void *)(uintptr_t)PROTOCOL_HEADER };
    amqp_frame_t frame;
    if (run->stream == NULL) {
        run->stream = amqp_new_connection();
        if (run->stream == NULL) return differ(run, "no memory");
        amqp_handle_input(run->stream, header, &frame);
        amqp_tune_connection(run->stream, 0, STREAM_FRAME_MAX, 0);
    }
    amqp_maybe_release_buffers(run->stream);
    return true;
}

/* ---------------------------------------------------------------- making */

/* A frame of any kind in own_out. @return its size; 0: chance made it too large. */
static size_t make_frame(struct run *run, uint64_t number) {
    static const enum frame_type types[] = { FRAME_METHOD, FRAME_METHOD, FRAME_METHOD, FRAME_HEADER,
                                             FRAME_METHOD, FRAME_HEADER, FRAME_HEADER, FRAME_BODY };
    struct random *r = &run->random;
    struct writer w = writer_over(run->own_out + FRAME_HEADER_SIZE, BUFFER_SIZE - FRAME_OVERHEAD);
    enum frame_type type = random_chance(r, 64) ? FRAME_HEARTBEAT : types[number % (sizeof types / sizeof types[0])];
    union method_args args;
    lago_properties_t properties;
    size_t size;
    if (type == FRAME_METHOD) {
        const struct method_info *info = method_at(random_below(r, METHOD_COUNT));
        own_args(r, info, &args);
        method_write(&w, info, &args);
    } else if (type == FRAME_HEADER) {
        own_make_properties(r, (uint16_t)(random_u64(r) << 2), &properties);
        content_header_write(&w, random_number(r, 64), &properties);
    } else if (type == FRAME_BODY) {
        const char *body = random_octets(r, BODY_SIZE_MAX, &size);
        writer_bytes(&w, body, size);
    }
    if (w.error != 0 || w.size > STREAM_FRAME_MAX / 2) return 0; /* it grows */
    frame_begin(run->own_out, type, (uint16_t)random_below(r, CHANNELS), w.size);
    frame_finish(run->own_out + FRAME_HEADER_SIZE + w.size);
    return w.size + FRAME_OVERHEAD;
}

/* A header's body size is any number: what is damaged in it is no damage. */
static size_t payload_kept(struct random *r, uint8_t type) {
    if (type == FRAME_METHOD) return random_chance(r, 32) ? 0 : METHOD_ID_SIZE;
    return type != FRAME_HEADER || random_chance(r, 16) ? 0 : FLAGS_AT;
}

/* A damaged copy in peer_out. @return its size. */
static size_t damaged_copy(struct run *run, size_t size) {
    struct random *r = &run->random;
    uint8_t *out = run->peer_out, *payload = out + FRAME_HEADER_SIZE;
    memcpy(out, run->own_out, size);
    if (random_chance(r, 24)) return mutate(r, out, size, STREAM_FRAME_MAX); /* the frame itself */
    size_t kept = payload_kept(r, out[0]), whole = size - FRAME_OVERHEAD;
    if (kept > whole) kept = whole;
    whole = kept + mutate(r, payload + kept, whole - kept, STREAM_FRAME_MAX - FRAME_OVERHEAD - kept);
    put_u32(out + 3, (uint32_t)whole);
    frame_finish(payload + whole);
    return whole + FRAME_OVERHEAD;
}

/* ---------------------------------------------------------------- comparing */

static bool same_method_frame(struct run *run, struct verdict *v, const struct frame *own, const amqp_frame_t *peer) {
    union method_args args;
    const struct method_info *info = verdict_own_method(run, v, own->payload, own->size, &args);
    const uint8_t *payload = run->peer_out + FRAME_HEADER_SIZE;
    if (v->peer == 0) verdict_peer_method(run, v, payload, own->size, peer->payload.method.decoded);
    if (!judge(run, v)) return false;
    return !both_accept(v) || same_args(info, &args, peer->payload.method.decoded, &run->why);
}

static bool same_header_frame(struct run *run, struct verdict *v, const struct frame *own, const amqp_frame_t *peer) {
    struct content_header header;
    const uint8_t *payload = run->peer_out + FRAME_HEADER_SIZE;
    verdict_own_header(run, v, own->payload, own->size, &header);
    bool is_basic = get_u16(run->peer_out + CLASS_AT) == CLASS_BASIC;
    v->weight = !is_basic || get_u16(run->peer_out + WEIGHT_AT) != 0;
    if (v->peer == 0 && is_basic)
        verdict_peer_properties(run, v, payload + FLAGS_AT, own->size - FLAGS_AT, peer->payload.properties.decoded);
    if (!judge(run, v)) return false;
    if (!both_accept(v)) return true;
    if (header.body_size != peer->payload.properties.body_size) return differ(run, "body size");
    return same_properties(&header.properties, peer->payload.properties.decoded, &run->why);
}

/* lago has found a whole frame. */
static bool same_frame(struct run *run, int rc, const struct frame *own, size_t need, const amqp_frame_t *peer) {
    struct verdict v = { .peer = rc < 0 ? rc : 0 };
    if (rc >= 0 && (size_t)rc != need) return differ(run, "librabbitmq's frame has %d octets of %zu", rc, need);
    if (rc >= 0 && (peer->frame_type != own->type || peer->channel != own->channel)) return differ(run, "frame type or channel");
    if (own->type == FRAME_METHOD) return same_method_frame(run, &v, own, peer);
    if (own->type == FRAME_HEADER) return same_header_frame(run, &v, own, peer);
    if (!judge(run, &v)) return false;
    if (own->type == FRAME_HEARTBEAT) return true;
    if (peer->payload.body_fragment.len != own->size) return differ(run, "size of a body");
    return own->size == 0 || memcmp(peer->payload.body_fragment.bytes, own->payload, own->size) == 0 || differ(run, "body");
}

/* Whether librabbitmq must not be asked: there are no octets where it would read. lago must refuse. */
static bool is_too_short(struct run *run, enum frame_result result, const struct frame *frame, bool *refused) {
    struct verdict v = { 0 };
    union method_args args;
    struct content_header header;
    if (result != FRAME_COMPLETE) return false;
    if (frame->type == FRAME_METHOD && frame->size < METHOD_ID_SIZE)
        (void)verdict_own_method(run, &v, frame->payload, frame->size, &args);
    else if (frame->type == FRAME_HEADER && frame->size < FLAGS_AT)
        verdict_own_header(run, &v, frame->payload, frame->size, &header);
    else
        return false;
    *refused = v.own != 0 && excuse(run, REASON_SHORT);
    if (v.own == 0) (void)differ(run, "lago reads a payload of %zu octets", frame->size);
    return true;
}

/* lago has found no whole frame. */
static bool same_refusal(struct run *run, enum frame_result result, int rc, const amqp_frame_t *peer, size_t size) {
    if (result == FRAME_BAD_TYPE)
        return rc < 0 || peer->frame_type == 0 ? excuse(run, REASON_FRAME_TYPE) : differ(run, "frame type");
    if (result == FRAME_INCOMPLETE)
        return (rc >= 0 && (size_t)rc == size && peer->frame_type == 0) || differ(run, "librabbitmq sees the end of a frame");
    run->both_refuse += rc < 0;
    return rc < 0 || differ(run, "librabbitmq accepts the frame, lago refuses it (%d)", result);
}

/* The octets in peer_out, read by both. */
static bool both_read(struct run *run, size_t size) {
    struct frame own;
    amqp_frame_t peer;
    size_t need = 0;
    bool refused = false;
    uint8_t *copy = exact_copy(run, run->peer_out, size);
    if (run->planted && size > FRAME_OVERHEAD) copy[size - FRAME_END_SIZE - 1] ^= 0x20;
    show_octets(run, "the octets", run->peer_out, size);
    enum frame_result result = frame_decode(copy, size, STREAM_FRAME_MAX, &own, &need);
    if (is_too_short(run, result, &own, &refused)) return refused;
    if (result == FRAME_COMPLETE && own.type == FRAME_METHOD && own.size >= METHOD_ID_SIZE) {
        const struct method_info *info = method_find(get_u32(own.payload));
        if (info != NULL && peer_find(info->id) == NULL) return excuse(run, REASON_ONLY_LAGO);
    }
    if (!open_stream(run)) return false;
    memset(&peer, 0, sizeof peer);
    int rc = amqp_handle_input(run->stream, (amqp_bytes_t){ size, run->peer_out }, &peer);
    run->frames++;
    bool same = result == FRAME_COMPLETE ? same_frame(run, rc, &own, need, &peer) : same_refusal(run, result, rc, &peer, size);
    if (rc < 0 || result == FRAME_INCOMPLETE || (peer.frame_type == 0 && result == FRAME_BAD_TYPE))
        stream_close(run); /* it is lost */
    return same;
}

bool case_stream(struct run *run, uint64_t number) {
    run->planted = run->plant && number % PLANT_EVERY == PLANT_EVERY / 2;
    for (unsigned base = 0; base < BASES; base++) {
        size_t size = make_frame(run, number * BASES + base);
        if (size == 0) continue;
        memcpy(run->peer_out, run->own_out, size);
        if (!both_read(run, size)) return false;
        for (unsigned copy = 1; copy < COPIES; copy++)
            if (!both_read(run, damaged_copy(run, size))) return false;
    }
    return true;
}
