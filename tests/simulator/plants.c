/*
 * Planted bugs, for the control: some in bytes on their way, some in the library itself, whose functions are wrapped by the linker
 * (--wrap, see meson.build). Without a plant everything passes as it is.
 */
#include "plants.h"

#include "internal.h"
#include <string.h>

/* ---------------------------------------------------------------- in the bytes */

/* The first frame of these bytes, if one begins there and is whole. */
static bool whole_frame(uint8_t *bytes, size_t size, struct frame *frame, size_t *need) {
    return frame_decode(bytes, size, SIZE_MAX, frame, need) == FRAME_COMPLETE;
}

static bool is_method(const struct frame *frame, uint32_t method) {
    return frame->type == FRAME_METHOD && frame->size >= 4 && get_u32(frame->payload) == method;
}

/* @return whether the frame is to be left out; `*again`: it is to come twice. */
static bool spoil(struct life *life, struct frame *frame, bool out, bool *again) {
    switch (life->options->plant) {
    case PLANT_body_flipped:
        if (out && frame->type == FRAME_BODY && frame->size > 20) frame->payload[17] ^= 1;
        break;
    case PLANT_delivery_flipped:
        if (!out && frame->type == FRAME_BODY && frame->size > 20) frame->payload[17] ^= 1;
        break;
    case PLANT_confirm_shifted:
        if (!out && is_method(frame, METHOD_BASIC_ACK) && life->callbacks % 3 == 0)
            (void)put_u64(frame->payload + 4, get_u64(frame->payload + 4) + 1);
        break;
    case PLANT_confirm_lost: return !out && is_method(frame, METHOD_BASIC_ACK) && life->callbacks % 7 == 0;
    case PLANT_redelivered_flipped:
        if (!out && is_method(frame, METHOD_BASIC_DELIVER)) frame->payload[5 + frame->payload[4] + 8] ^= 1;
        break;
    case PLANT_close_twice: *again = out && is_method(frame, METHOD_CONNECTION_CLOSE); break;
    default: break;
    }
    return false;
}

/* Pass bytes on, frame by frame where frames begin and are whole. */
static void pass(struct sim_conn *conn, const uint8_t *bytes, size_t size, bool out) {
    uint8_t copy[2048];
    struct frame frame;
    size_t at = 0, need;
    while (at < size) {
        size_t left = size - at, max = left < sizeof(copy) ? left : sizeof(copy);
        memcpy(copy, bytes + at, max);
        bool again = false, whole = whole_frame(copy, max, &frame, &need);
        if (!whole) need = left;
        bool gone = whole && spoil(conn->life, &frame, out, &again);
        for (unsigned times = gone ? 0 : again ? 2 : 1; times > 0; times--) {
            const uint8_t *from = whole ? copy : bytes + at;
            if (out && conn->link) model_link_input(conn->link, from, need);
            if (!out) virtual_input(&conn->v, from, need);
        }
        if (planted(conn->life, PLANT_frame_after_close) && out && whole && is_method(&frame, METHOD_CONNECTION_CLOSE) &&
            conn->link) {
            uint8_t beat[FRAME_OVERHEAD];
            (void)frame_finish(frame_begin(beat, FRAME_HEARTBEAT, 0, 0));
            model_link_input(conn->link, beat, sizeof(beat));
        }
        at += need;
    }
}

void plant_output(struct sim_conn *conn, const uint8_t *bytes, size_t size) {
    const struct model_bytes *in = &conn->link->in;
    bool begins = in->done == in->size && conn->link->state != MODEL_WAIT_HEADER;
    if (conn->life->options->plant != PLANT_none && begins)
        pass(conn, bytes, size, true);
    else
        model_link_input(conn->link, bytes, size);
}

void plant_input(struct sim_conn *conn, const uint8_t *bytes, size_t size) {
    if (conn->life->options->plant == PLANT_none)
        virtual_input(&conn->v, bytes, size);
    else
        pass(conn, bytes, size, false);
}

/* ---------------------------------------------------------------- in the library */

int __real_session_ack(struct session *s, uint16_t channel, uint64_t delivery_tag, uint64_t lowest_open);
int __wrap_session_ack(struct session *s, uint16_t channel, uint64_t delivery_tag, uint64_t lowest_open);
int __wrap_session_ack(struct session *s, uint16_t channel, uint64_t delivery_tag, uint64_t lowest_open) {
    if (sim_plant == PLANT_ack_tag_plus_one) delivery_tag++;
    if (sim_plant == PLANT_ack_dropped && delivery_tag % 3 == 0) return 0;
    int rc = __real_session_ack(s, channel, delivery_tag, lowest_open);
    if (sim_plant == PLANT_ack_doubled && delivery_tag % 3 == 0) {
        session_flush_acks(s);
        (void)__real_session_ack(s, channel, delivery_tag, lowest_open);
    }
    return rc;
}

int __real_session_publish(struct session *s, uint16_t channel, const struct basic_publish *args,
                           const lago_properties_t *properties, const struct session_body *body);
int __wrap_session_publish(struct session *s, uint16_t channel, const struct basic_publish *args,
                           const lago_properties_t *properties, const struct session_body *body);
int __wrap_session_publish(struct session *s, uint16_t channel, const struct basic_publish *args,
                           const lago_properties_t *properties, const struct session_body *body) {
    if (sim_plant == PLANT_publish_dropped && body->bytes.size % 7 == 0 && !body->block) return 0;
    int rc = __real_session_publish(s, channel, args, properties, body);
    if (rc == 0 && sim_plant == PLANT_publish_doubled && body->bytes.size % 7 == 0 && !body->block)
        (void)__real_session_publish(s, channel, args, properties, body);
    return rc;
}

uint64_t __real_session_publishes_sent(const struct session *s, uint16_t channel);
uint64_t __wrap_session_publishes_sent(const struct session *s, uint16_t channel);
uint64_t __wrap_session_publishes_sent(const struct session *s, uint16_t channel) {
    uint64_t sent = __real_session_publishes_sent(s, channel);
    return sim_plant == PLANT_not_sent_lie && sent ? sent - 1 : sent;
}

uint64_t __real_session_deadline(const struct session *s);
uint64_t __wrap_session_deadline(const struct session *s);
uint64_t __wrap_session_deadline(const struct session *s) {
    return sim_plant == PLANT_busy && s->state == SESSION_OPEN ? s->now + 1 : __real_session_deadline(s);
}

void __real_session_tick(struct session *s, uint64_t now, bool unread);
void __wrap_session_tick(struct session *s, uint64_t now, bool unread);
void __wrap_session_tick(struct session *s, uint64_t now, bool unread) {
    if (sim_plant == PLANT_deaf_clock) s->last_received = now;
    __real_session_tick(s, now, unread);
}

int __real_output_heartbeat(struct session *s);
int __wrap_output_heartbeat(struct session *s);
int __wrap_output_heartbeat(struct session *s) {
    if (sim_plant != PLANT_late_heartbeat) return __real_output_heartbeat(s);
    s->last_written = s->now;
    return 0;
}
