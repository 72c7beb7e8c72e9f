/* Frames that are none: types, sizes, end octets, channels, cut in two or whole (S1 to S10, S29). */
#include "hostile.h"

#include <stdio.h>

static bool is_type(unsigned type) { return type == 1 || type == 2 || type == 3 || type == 8; }

/* What a broken frame comes to. After our own connection.close nobody waits for the other's answer: the framing is lost. */
static const char *broken_at(enum place place) {
    return place == AT_WAIT_START ? "q" : place == AT_CLOSING ? "d" : place > AT_CLOSING ? "." : "1";
}

/* ---------------------------------------------------------------- types */

static void every_type(enum place place, uint16_t channel) {
    for (unsigned type = 0; type < 256; type++) {
        struct bytes b = { 0 };
        if (is_type(type)) continue;
        case_is("a frame of type %u on channel %u", type, channel);
        bytes_frame(&b, type, channel, "payload", type % 8);
        attack(place, &b, broken_at(place));
    }
}

/* ---------------------------------------------------------------- end octets */

static void every_end(enum place place, unsigned type, const void *payload, size_t size) {
    for (unsigned end = 0; end < 256; end++) {
        struct bytes b = { 0 };
        if (end == FRAME_END) continue;
        case_is("a frame of type %u with %#x for its end", type, end);
        bytes_frame(&b, type, type == FRAME_HEARTBEAT ? 0 : 1, payload, size);
        b.data[b.size - 1] = (uint8_t)end;
        attack(place, &b, place == AT_WAIT_START && type != FRAME_METHOD ? "q" : broken_at(place));
    }
}

/* The same in two reads: the end octet comes alone. */
static void ends_that_come_alone(void) {
    for (unsigned end = 0; end < 256; end += 3) {
        struct scene s;
        struct bytes b = { 0 };
        case_is("a body's end octet %#x alone", end);
        if (end == FRAME_END) continue;
        scene_begin(&s, CH_BODY);
        bytes_body(&b, 1, 4, 6);
        b.data[b.size - 1] = (uint8_t)end;
        scene_say(&s, b.data, b.size - 1);
        scene_say(&s, b.data + b.size - 1, 1);
        bytes_free(&b);
        if (scene_seen(&s) != '1') case_failed("it was taken");
        scene_end(&s);
        sum.cases++;
    }
}

/* ---------------------------------------------------------------- sizes */

/* Only the head of a frame: a size that is too large is refused at sight, and nothing is allocated for it. */
static void head(enum place place, unsigned type, uint32_t size, size_t limit) {
    struct scene s;
    const uint8_t octets[] = {
        (uint8_t)type, 0, (uint8_t)(type != FRAME_HEARTBEAT), (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
        (uint8_t)size
    };
    case_is("a frame of type %u that says its size is %u, at %s", type, size, place_names[place]);
    scene_begin(&s, place);
    s.peer.memory.peak_bytes = s.peer.memory.live_bytes;
    scene_say(&s, octets, sizeof(octets));
    if (s.peer.memory.peak_bytes > s.memory + 4096) case_failed("%zu bytes for it", s.peer.memory.peak_bytes - s.memory);
    char seen = scene_seen(&s);
    bool refused = seen != '.' && seen != 'c';
    bool foreign = place == AT_WAIT_START && type != FRAME_METHOD;
    if (foreign ? refused : size > limit - FRAME_OVERHEAD ? !strchr(broken_at(place), seen) : refused) case_failed("'%c'", seen);
    scene_end(&s);
    sum.cases++;
}

static void every_size(enum place place, size_t limit) {
    static const unsigned types[] = { FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT };
    for (size_t i = 0; i < 4; i++) {
        if (types[i] == FRAME_BODY && place == CH_BODY) continue; /* its own rule: no more than was announced */
        if (types[i] == FRAME_BODY && place >= AT_STARTING && place != CH_CLOSING && place < AT_CLOSING)
            continue; /* judged at sight */
        for (unsigned bit = 0; bit < 32; bit++)
            for (int more = -9; more <= 9; more++) head(place, types[i], (1u << bit) + (uint32_t)more, limit);
        for (uint32_t size = (uint32_t)limit - 20; size < limit + 4; size++) head(place, types[i], size, limit);
    }
}

/* A body frame is judged by its head as well: no place for it, or longer than what was announced. */
static void sizes_of_bodies(void) {
    for (uint32_t size = 0; size < 5000; size += size < 20 ? 1 : 61) {
        struct scene s;
        const uint8_t octets[] = { FRAME_BODY, 0, 1, 0, 0, (uint8_t)(size >> 8), (uint8_t)size };
        case_is("the head of a body frame of %u, 6 are to come", size);
        scene_begin(&s, CH_BODY);
        scene_say(&s, octets, sizeof(octets));
        char seen = scene_seen(&s);
        if (seen != (size > 6 ? '1' : 'c')) case_failed("'%c'", seen);
        scene_end(&s);
        sum.cases++;
    }
}

/* ---------------------------------------------------------------- channels */

/* Channels that never were: refused, and nothing is kept for them (S29). */
static void every_channel(void) {
    struct basic_deliver deliver = { .delivery_tag = 1 };
    for (unsigned channel = 3; channel < 65536; channel += channel < 300 ? 1 : 997) {
        struct bytes b = { 0 };
        case_is("basic.deliver on channel %u", channel);
        bytes_method(&b, (uint16_t)channel, METHOD_BASIC_DELIVER, &deliver);
        attack(AT_OPEN, &b, "4");
        bytes_header(&b, (uint16_t)channel, 10, NULL);
        attack(AT_OPEN, &b, "4");
        bytes_body(&b, (uint16_t)channel, 0, 10);
        attack(AT_OPEN, &b, "4");
        bytes_frame(&b, FRAME_HEARTBEAT, (uint16_t)channel, NULL, 0);
        attack(AT_OPEN, &b, "1");
        bytes_method(&b, (uint16_t)channel, METHOD_CONNECTION_CLOSE, NULL);
        attack(AT_OPEN, &b, "3");
    }
}

static void heartbeats_that_say_something(void) {
    for (size_t size = 1; size < 200; size++) {
        struct bytes b = { 0 };
        uint8_t payload[200] = { 0 };
        case_is("a heartbeat of %zu octets", size);
        bytes_frame(&b, FRAME_HEARTBEAT, 0, payload, size);
        attack(size % 2 ? CH_OPEN : AT_WAIT_OPEN, &b, "1");
    }
}

void attack_frames(void) {
    static const uint8_t get_empty[] = { 0, 60, 0, 72, 0 };
    for (enum place place = 0; place < PLACES; place++) every_type(place, (uint16_t)(place % 2));
    every_end(CH_OPEN, FRAME_METHOD, get_empty, sizeof(get_empty));
    every_end(CH_HEADER, FRAME_HEADER, "\0\74\0\0\0\0\0\0\0\0\0\12\0\0", 14);
    every_end(CH_BODY, FRAME_BODY, "456789", 6);
    every_end(AT_WAIT_TUNE, FRAME_HEARTBEAT, "", 0);
    every_end(AT_WAIT_START, FRAME_METHOD, get_empty, sizeof(get_empty));
    every_end(AT_CLOSING, FRAME_METHOD, get_empty, sizeof(get_empty));
    ends_that_come_alone();
    every_size(AT_WAIT_START, 8192);
    every_size(AT_WAIT_TUNE, 8192);
    every_size(CH_OPEN, 4096);
    every_size(CH_CLOSING, 4096);
    every_size(AT_CLOSING, 4096);
    sizes_of_bodies();
    every_channel();
    heartbeats_that_say_something();
}
