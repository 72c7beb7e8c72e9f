/* Contents that are not what they said: headers, sizes, overruns and underruns, what comes in between (S20, S21, S25 to S28). */
#include "hostile.h"

#include <stdio.h>

static void header_octets(struct bytes *b, uint16_t class_id, uint16_t weight, uint64_t size, uint16_t flags) {
    uint8_t octets[14] = { (uint8_t)(class_id >> 8), (uint8_t)class_id, (uint8_t)(weight >> 8), (uint8_t)weight };
    for (unsigned i = 0; i < 8; i++) octets[4 + i] = (uint8_t)(size >> (56 - 8 * i));
    octets[12] = (uint8_t)(flags >> 8);
    octets[13] = (uint8_t)flags;
    bytes_add(b, octets, sizeof(octets));
}

static void say_header(const struct bytes *payload, const char *letters) {
    struct bytes b = { 0 };
    bytes_frame(&b, FRAME_HEADER, 1, payload->data, payload->size);
    attack(CH_HEADER, &b, letters);
}

/* ---------------------------------------------------------------- headers */

static void every_class_and_weight(void) {
    for (unsigned id = 0; id < 65536; id += id < 300 ? 1 : 509) {
        struct bytes payload = { 0 };
        case_is("a header of class %u", id);
        header_octets(&payload, (uint16_t)id, 0, 10, 0);
        say_header(&payload, id == 60 ? "c" : "5");
        payload.size = 0;
        case_is("a header of weight %u", id);
        header_octets(&payload, 60, (uint16_t)id, 10, 0);
        say_header(&payload, id == 0 ? "c" : "1");
        bytes_free(&payload);
    }
}

/* Fourteen properties, one octet each but for a table and a timestamp: what the flags say is there, and it is the whole of it. */
static void add_properties(struct bytes *payload, unsigned flags) {
    for (unsigned bit = 15; bit >= 2; bit--) {
        bool is_table = bit == 13, is_stamp = bit == 6, is_octet = bit == 12 || bit == 11;
        if (!(flags & 1u << bit)) continue;
        bytes_add(payload, is_octet ? "\2" : "\0\0\0\0\0\0\0\0", is_table ? 4 : is_stamp ? 8 : 1);
    }
}

/* Bit 0 says that more flags follow, which no class needs; bit 1 is none of the fourteen. */
static void every_flag(void) {
    for (unsigned flags = 0; flags < 65536; flags += flags % 4 == 3 ? 5 : 1) {
        struct bytes payload = { 0 };
        case_is("property flags %#x", flags);
        header_octets(&payload, 60, 0, 10, (uint16_t)flags);
        add_properties(&payload, flags);
        say_header(&payload, flags & 3 ? "1" : "c");
        bytes_free(&payload);
    }
}

/* All fourteen, cut at every length, and with more behind them. */
static void every_length_of_a_header(void) {
    struct bytes payload = { 0 }, whole = { 0 };
    static const lago_field_t fields[] = { LAGO_FIELD_STR("k", "v") };
    lago_properties_t all = { .content_type = "t",
                              .content_encoding = "e",
                              .headers = LAGO_TABLE_OF(fields),
                              .delivery_mode = 2,
                              .priority = 3,
                              .correlation_id = "c",
                              .reply_to = "r",
                              .expiration = "1",
                              .message_id = "m",
                              .timestamp = 5,
                              .type = "y",
                              .user_id = "u",
                              .app_id = "a",
                              .cluster_id = "l" };
    bytes_header(&whole, 1, 10, &all);
    for (size_t size = 0; size < whole.size - FRAME_OVERHEAD + 20; size++) {
        bool is_whole = size == whole.size - FRAME_OVERHEAD;
        case_is("a header of %zu octets, not %zu", size, whole.size - FRAME_OVERHEAD);
        payload.size = 0;
        bytes_add(&payload, whole.data + FRAME_HEADER_SIZE,
                  is_whole || size < whole.size - FRAME_OVERHEAD ? size : whole.size - FRAME_OVERHEAD);
        while (payload.size < size) bytes_add(&payload, "", 1);
        say_header(&payload, is_whole ? "c" : size < 14 ? "1" : "12");
    }
    /* each octet of it, each value: it is taken as it is or refused, and never more than that */
    for (size_t at = FRAME_HEADER_SIZE + 12; at < whole.size - 1; at++) {
        for (unsigned value = 0; value < 256; value += 5) {
            payload.size = 0;
            case_is("octet %zu of a header is %u", at - FRAME_HEADER_SIZE, value);
            bytes_add(&payload, whole.data + FRAME_HEADER_SIZE, whole.size - FRAME_OVERHEAD);
            payload.data[at - FRAME_HEADER_SIZE] = (uint8_t)value;
            say_header(&payload, "c12");
        }
    }
    bytes_free(&payload);
    bytes_free(&whole);
}

/* ---------------------------------------------------------------- sizes of bodies (S25): an announced size is a claim */

static void announced(uint64_t size) {
    struct scene s;
    struct bytes b = { 0 };
    case_is("a body of %llu octets is announced", (unsigned long long)size);
    scene_begin(&s, CH_HEADER);
    s.peer.memory.peak_bytes = s.peer.memory.live_bytes;
    bytes_header(&b, 1, size, NULL);
    if (size > 0 && size <= 1 << 20) bytes_body(&b, 1, 0, 1);
    scene_say(&s, b.data, b.size);
    bytes_free(&b);
    char seen = scene_seen(&s), expected = size == 0 || size == 1 ? 'm' : size > 1 << 20 ? 't' : 'c';
    if (seen != expected) case_failed("'%c', not '%c'", seen, expected);
    if (s.peer.memory.peak_bytes > s.memory + 16384) case_failed("%zu bytes for one", s.peer.memory.peak_bytes - s.memory);
    scene_end(&s);
    sum.cases++;
}

static void every_announced_size(void) {
    for (unsigned bit = 0; bit < 64; bit++)
        for (int more = -3; more <= 3; more++) announced(((uint64_t)1 << bit) + (uint64_t)(int64_t)more);
}

/* ---------------------------------------------------------------- overruns, underruns, what comes in between (S27) */

static void overrun(size_t announced_size, size_t first, size_t second) {
    struct scene s;
    struct bytes b = { 0 };
    size_t left = announced_size - (first < announced_size ? first : announced_size);
    case_is("%zu announced, then %zu and %zu", announced_size, first, second);
    scene_begin(&s, CH_HEADER);
    bytes_header(&b, 1, announced_size, NULL);
    bytes_body(&b, 1, 0, first);
    bool over = first > announced_size;
    if (!over && left > 0) {
        bytes_body(&b, 1, first, second);
        over = second > left;
    }
    scene_say(&s, b.data, b.size);
    bytes_free(&b);
    char seen = scene_seen(&s);
    char expected = over ? '1' : left == 0 || second == left ? 'm' : 'c';
    if (seen != expected) case_failed("'%c', not '%c'", seen, expected);
    scene_end(&s);
    sum.cases++;
}

static void overruns(void) {
    for (size_t size = 1; size <= 16; size++)
        for (size_t first = 0; first <= 18; first++)
            for (size_t second = 0; second <= 18; second += 1 + second / 8) overrun(size, first, second);
}

/* Another method of the server in the middle of a content, on its own channel and on another one, which it does not concern. */
static void between(void) {
    const struct method_info *info;
    for (size_t i = 0; (info = method_at(i)) != NULL; i++) {
        for (unsigned other = 0; other < 2; other++) {
            struct bytes b = { 0 };
            union method_args args;
            struct scene s;
            if (info->id >> 16 == 10 || info->id >> 16 == 20 || !info->from_server) continue;
            case_is("%s in the middle of a message, on channel %u", info->name, 1 + other);
            fill_args(info, &args);
            scene_begin(&s, CH_BODY);
            bytes_method(&b, (uint16_t)(1 + other), info->id, &args);
            if (info->content && other) bytes_header(&b, 2, 0, NULL);
            bytes_body(&b, 1, 4, 6);
            scene_say(&s, b.data, b.size);
            bytes_free(&b);
            const char *events = peer_events(&s.peer);
            const char *told = strstr(events, "basic.deliver");
            bool fine = other ? s.peer.session.state == SESSION_OPEN && told != NULL : s.peer.session.reason.reply_code == 505;
            if (!fine) case_failed("reply code %u: %s", s.peer.session.reason.reply_code, events);
            scene_end(&s);
            sum.cases++;
        }
    }
}

/* Two messages whose frames take turns in every order: both are whole, and each is its own. */
static void interleaved(void) {
    for (unsigned order = 0; order < 256; order++) {
        struct scene s;
        struct bytes b = { 0 };
        unsigned next[2] = { 0, 0 };
        case_is("frames of two messages in the order %#x", order);
        scene_begin(&s, CH_OPEN);
        for (unsigned i = 0; i < 8; i++) {
            unsigned channel = order >> i & 1;
            if (next[channel] == 4) channel = !channel;
            switch (next[channel]++) {
            case 0: bytes_method(&b, (uint16_t)(1 + channel), METHOD_BASIC_DELIVER, NULL); break;
            case 1: bytes_header(&b, (uint16_t)(1 + channel), 8, NULL); break;
            case 2: bytes_body(&b, (uint16_t)(1 + channel), 0, 5); break;
            default: bytes_body(&b, (uint16_t)(1 + channel), 5, 3); break;
            }
        }
        scene_say(&s, b.data, b.size);
        bytes_free(&b);
        const char *events = peer_events(&s.peer);
        if (!strstr(events, "content 1 one basic.deliver body=8\n") || !strstr(events, "content 2 two basic.deliver body=8\n"))
            case_failed("%s", events);
        scene_end(&s);
        sum.cases++;
    }
}

void attack_contents(void) {
    every_class_and_weight();
    every_flag();
    every_length_of_a_header();
    every_announced_size();
    overruns();
    between();
    interleaved();
}
