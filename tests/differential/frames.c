/*
 * Frames (AMQP 0-9-1, 4.2.3): what lago frames, librabbitmq must take from a stream cut anywhere; what librabbitmq sends through
 * a socket, lago must take.
 */
#include "explain.h"
#include "frame.h"
#include "run.h"
#include <amqp_tcp_socket.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_MAX     131072 /* RabbitMQ's default */
#define BODY_SIZE_MAX 5000u

/* A frame in lago's form: of which kind, and its payload. */
struct sent {
    enum frame_type type;
    uint16_t channel;
    const struct method_info *info;
    union method_args args;
    lago_properties_t properties;
    uint64_t body_size;
    const char *body;
    size_t size; /* of the whole frame */
};

static void make_payload(struct run *run, struct sent *sent, struct writer *w) {
    struct random *r = &run->random;
    size_t size;
    switch (sent->type) {
    case FRAME_METHOD:
        do sent->info = method_at(random_below(r, METHOD_COUNT));
        while (peer_find(sent->info->id) == NULL);
        own_args(r, sent->info, &sent->args);
        method_write(w, sent->info, &sent->args);
        break;
    case FRAME_HEADER:
        own_make_properties(r, (uint16_t)(random_u64(r) & 0xfffc), &sent->properties);
        sent->body_size = random_number(r, 64);
        content_header_write(w, sent->body_size, &sent->properties);
        break;
    case FRAME_BODY:
        sent->body = random_octets(r, BODY_SIZE_MAX, &size);
        sent->body_size = size;
        writer_bytes(w, sent->body, size);
        break;
    case FRAME_HEARTBEAT: sent->channel = 0; break;
    }
}

/* Write a whole frame to own_out. False when chance made it larger than a frame may be. */
static bool make_frame(struct run *run, struct sent *sent) {
    static const enum frame_type types[] = { FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT };
    struct writer w = writer_over(run->own_out + FRAME_HEADER_SIZE, BUFFER_SIZE - FRAME_OVERHEAD);
    memset(sent, 0, sizeof *sent);
    sent->type = types[random_below(&run->random, 4)];
    sent->channel = (uint16_t)(1 + random_below(&run->random, 100)); /* librabbitmq keeps a pool for each channel */
    make_payload(run, sent, &w);
    if (w.error != 0 || w.size > FRAME_MAX - FRAME_OVERHEAD) return false;
    frame_begin(run->own_out, sent->type, sent->channel, w.size);
    frame_finish(run->own_out + FRAME_HEADER_SIZE + w.size);
    sent->size = w.size + FRAME_OVERHEAD;
    return true;
}

static bool same_frame(struct run *run, const struct sent *sent, const amqp_frame_t *frame) {
    if (frame->frame_type != sent->type) return differ(run, "frame type %u, %u", sent->type, frame->frame_type);
    if (frame->channel != sent->channel) return differ(run, "channel");
    switch (sent->type) {
    case FRAME_METHOD:
        if (frame->payload.method.id != sent->info->id) return differ(run, "method");
        return same_args(sent->info, &sent->args, frame->payload.method.decoded, &run->why);
    case FRAME_HEADER:
        if (frame->payload.properties.class_id != CLASS_BASIC) return differ(run, "class");
        if (frame->payload.properties.body_size != sent->body_size) return differ(run, "body size");
        return same_properties(&sent->properties, frame->payload.properties.decoded, &run->why);
    case FRAME_BODY:
        if (frame->payload.body_fragment.len != sent->body_size) return differ(run, "size of a body");
        return sent->body_size == 0 || memcmp(frame->payload.body_fragment.bytes, sent->body, sent->body_size) == 0 ||
               differ(run, "body");
    default: return true;
    }
}

/* librabbitmq must say "not yet" to every part but the last. */
static bool take_in_parts(struct run *run, amqp_connection_state_t state, const struct sent *sent) {
    size_t at = 0;
    amqp_frame_t frame;
    do {
        size_t left = sent->size - at, part = 1 + random_below(&run->random, left);
        if (random_chance(&run->random, 2)) part = left;
        int rc = amqp_handle_input(state, (amqp_bytes_t){ part, run->own_out + at }, &frame);
        if (rc <= 0) return differ(run, "librabbitmq cannot read a frame: %s", amqp_error_string2(rc));
        at += (size_t)rc;
        if (at < sent->size && frame.frame_type != 0) return differ(run, "librabbitmq sees the end of a frame early");
    } while (at < sent->size);
    return same_frame(run, sent, &frame);
}

/* As after the handshake: until it has seen a protocol header librabbitmq takes no short frames. */
static amqp_connection_state_t new_peer(void) {
    amqp_connection_state_t state = amqp_new_connection();
    amqp_bytes_t header = { PROTOCOL_HEADER_SIZE, (void *)(uintptr_t)PROTOCOL_HEADER };
    amqp_frame_t frame;
    if (state == NULL) return NULL;
    amqp_handle_input(state, header, &frame);
    amqp_tune_connection(state, 0, FRAME_MAX, 0);
    return state;
}

static bool own_to_peer_frame(struct run *run, const struct sent *sent) {
    amqp_connection_state_t state = new_peer();
    if (state == NULL) return differ(run, "no memory");
    bool same = take_in_parts(run, state, sent);
    amqp_destroy_connection(state);
    return same;
}

/* ---------------------------------------------------------------- the other way */

static void convert_frame(struct run *run, const struct sent *sent, void *decoded, amqp_frame_t *frame) {
    struct random *r = &run->random;
    frame->frame_type = (uint8_t)sent->type;
    frame->channel = sent->channel;
    switch (sent->type) {
    case FRAME_METHOD:
        convert_args(r, sent->info, &sent->args, decoded, LICENSE_NONE);
        frame->payload.method.id = sent->info->id;
        frame->payload.method.decoded = decoded;
        break;
    case FRAME_HEADER:
        convert_properties(r, &sent->properties, decoded, LICENSE_NONE);
        frame->payload.properties.class_id = CLASS_BASIC;
        frame->payload.properties.body_size = sent->body_size;
        frame->payload.properties.decoded = decoded;
        break;
    default:
        frame->payload.body_fragment.len = sent->body_size;
        frame->payload.body_fragment.bytes = (void *)(uintptr_t)sent->body;
    }
}

/* Send it through a pair of sockets, which have room for a frame. @return how many octets came. */
static size_t send_as_peer(struct run *run, const amqp_frame_t *frame, int *rc) {
    int pair[2];
    amqp_connection_state_t state = new_peer();
    amqp_socket_t *socket = state == NULL ? NULL : amqp_tcp_socket_new(state);
    *rc = -1;
    if (socket == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        if (state != NULL) amqp_destroy_connection(state);
        return 0;
    }
    amqp_tcp_socket_set_sockfd(socket, pair[0]);
    *rc = amqp_send_frame(state, frame);
    shutdown(pair[0], SHUT_WR);
    size_t size = 0;
    ssize_t got;
    while ((got = read(pair[1], run->peer_out + size, BUFFER_SIZE - size)) > 0) size += (size_t)got;
    amqp_destroy_connection(state); /* closes pair[0] */
    close(pair[1]);
    return size;
}

static bool peer_to_own_frame(struct run *run, const struct sent *sent) {
    _Alignas(max_align_t) uint8_t decoded[PEER_STRUCT_SIZE];
    amqp_frame_t out;
    int rc;
    memset(&out, 0, sizeof out);
    convert_frame(run, sent, decoded, &out);
    size_t size = send_as_peer(run, &out, &rc);
    if (rc != 0) return differ(run, "librabbitmq cannot send: %s", amqp_error_string2(rc));
    show_octets(run, "librabbitmq sent", run->peer_out, size);
    struct frame frame;
    size_t need = 0;
    uint8_t *copy = exact_copy(run, run->peer_out, size);
    enum frame_result early = frame_decode(copy, size - 1, FRAME_MAX, &frame, &need);
    if (early != FRAME_INCOMPLETE || need != size) return differ(run, "lago does not see that a frame is incomplete");
    if (frame_decode(copy, size, FRAME_MAX, &frame, &need) != FRAME_COMPLETE || need != size) return differ(run, "lago's frame");
    if (frame.type != sent->type || frame.channel != sent->channel) return differ(run, "frame type or channel");
    return (size == sent->size && memcmp(run->own_out, run->peer_out, size) == 0) || differ(run, "octets of a frame");
}

bool case_frames(struct run *run, uint64_t number) {
    struct sent sent;
    (void)number;
    if (!make_frame(run, &sent)) return true;
    show_octets(run, "lago wrote", run->own_out, sent.size);
    if (!own_to_peer_frame(run, &sent)) return false;
    return sent.type == FRAME_HEARTBEAT || peer_to_own_frame(run, &sent);
}
