/* Methods that are too short, too long, or none: each method at each length, and each number that no method has (S4, S22, S24). */
#include "hostile.h"

#include <stdio.h>

/* Before anybody was met it ends without a word; after our goodbye nothing counts any more; a channel's goodbye forgives no syntax. */
static char malformed_at(enum place place, char letter) {
    return place == AT_WAIT_START ? 'q' : place >= AT_CLOSING ? '.' : letter;
}

static void of_length(enum place place, const struct method_info *info, const struct bytes *payload, size_t size) {
    struct bytes b = { 0 };
    uint16_t channel = info->id >> 16 == 10 ? 0 : 1;
    const char letter[] = { malformed_at(place, size < 4 ? '1' : '2'), '\0' };
    case_is("%s of %zu octets, not %zu", info->name, size, payload->size);
    uint8_t *octets = calloc(1, size + 1);
    assert_non_null(octets);
    memcpy(octets, payload->data, size < payload->size ? size : payload->size);
    bytes_frame(&b, FRAME_METHOD, channel, octets, size);
    free(octets);
    attack(place, &b, letter);
}

static void every_length(enum place place) {
    static const size_t more[] = { 1, 2, 3, 4, 8, 255, 1000 };
    const struct method_info *info;
    for (size_t i = 0; (info = method_at(i)) != NULL; i++) {
        struct bytes payload = { 0 };
        payload_of(info, &payload);
        for (size_t size = 0; size < payload.size; size++) of_length(place, info, &payload, size);
        for (size_t j = 0; j < sizeof(more) / sizeof(more[0]); j++) of_length(place, info, &payload, payload.size + more[j]);
        bytes_free(&payload);
    }
}

/* ---------------------------------------------------------------- lengths inside */

/* Where the size of a string or table stands in a payload, and how many octets it has: walks the fields as they were filled. */
static void each_size(enum place place, const struct method_info *info, const struct bytes *payload) {
    static const uint32_t values[] = { 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8, 0xfffffffb, 0x00010000, 0x01000000 };
    static const size_t sizes[] = {
        0, 1, 2, 4, 8, 2, 9, 18
    }; /* of fields as fill_args has made them, by type; a bit has a share */
    size_t at = 4, bits = 0;
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        bool is_short = field->type == FIELD_SHORTSTR, is_long = field->type >= FIELD_LONGSTR;
        if (field->type == FIELD_BIT) {
            at += bits++ % 8 == 0;
            continue;
        }
        bits = 0;
        for (size_t v = 0; (is_short && v < 256) || (is_long && v < sizeof(values) / sizeof(values[0])); v++) {
            struct bytes b = { 0 };
            if (is_short && v == payload->data[at]) continue;
            case_is("%s whose %s says its size is %zu", info->name, field->name, v);
            bytes_frame(&b, FRAME_METHOD, info->id >> 16 == 10 ? 0 : 1, payload->data, payload->size);
            uint8_t *size = b.data + FRAME_HEADER_SIZE + at;
            if (is_short) size[0] = (uint8_t)v;
            for (unsigned j = 0; is_long && j < 4; j++) size[j] = (uint8_t)(values[v] >> (24 - 8 * j));
            /* a shorter string may make another method of it by chance: what follows is read as something else, and all must fit */
            attack(place, &b, is_short && v < payload->size - at ? "2e3mcfxao." : (char[]){ malformed_at(place, '2'), '\0' });
        }
        at += field->reserved && field->type >= FIELD_SHORTSTR ? (is_short ? 1u : 4u) : sizes[field->type];
    }
}

static void sizes_inside(enum place place) {
    const struct method_info *info;
    for (size_t i = 0; (info = method_at(i)) != NULL; i++) {
        struct bytes payload = { 0 };
        if (!info->from_server) continue;
        payload_of(info, &payload);
        each_size(place, info, &payload);
        bytes_free(&payload);
    }
}

/* ---------------------------------------------------------------- numbers of no method */

static void unknown_method(enum place place, uint16_t channel, uint32_t id) {
    struct bytes b = { 0 };
    const uint8_t octets[] = { (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id, 'x' };
    case_is("method %u,%u", id >> 16, id & 0xffff);
    bytes_frame(&b, FRAME_METHOD, channel, octets, 4 + id % 2);
    attack(place, &b, (char[]){ malformed_at(place, '0'), '\0' });
}

static void numbers_of_no_method(void) {
    struct dice dice = { 20261121 };
    for (uint32_t class_id = 0; class_id <= 100; class_id++)
        for (uint32_t method_id = 0; method_id <= 125; method_id++)
            if (!method_find(class_id << 16 | method_id))
                unknown_method(class_id % 3 ? CH_OPEN : AT_WAIT_TUNE, (uint16_t)(class_id % 3 != 0), class_id << 16 | method_id);
    for (int i = 0; i < 1000; i++) {
        uint32_t id = (uint32_t)dice_roll(&dice);
        if (!method_find(id)) unknown_method((enum place)(i % PLACES), 1, id);
    }
}

void attack_methods(void) {
    static const enum place places[] = { AT_WAIT_START, AT_WAIT_TUNE, AT_WAIT_OPEN, CH_OPEN, CH_BODY, CH_CLOSING, AT_CLOSING };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) every_length(places[i]);
    sizes_inside(CH_OPEN);
    sizes_inside(AT_WAIT_TUNE);
    numbers_of_no_method();
}
