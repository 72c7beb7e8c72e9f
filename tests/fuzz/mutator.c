/*
 * What libFuzzer does to inputs of fuzz_session besides its own: half of the time it takes the broker's words apart into frames, does
 * something to one of them, and puts them together again with right sizes and end octets, so that what is changed gets past the frame
 * reader. It knows items.h and what a frame is.
 */
#include "frame.h"
#include "fuzz.h"
#include "items.h"
#include "method.h"
#include <string.h>

#define FRAMES_MAX 64u
#define ROOM       ((size_t)1 << 17)

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

struct piece {
    uint8_t type;
    uint16_t channel;
    const uint8_t *payload;
    size_t size;
};

static uint32_t state;
static uint32_t roll(uint32_t limit) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % limit;
}

/* ---------------------------------------------------------------- frames of an item */

/* Leniently: where there is no frame, what is left is the payload of one. */
static size_t take_apart(const uint8_t *at, size_t left, struct piece *pieces) {
    size_t count = 0;
    while (left > 0 && count < FRAMES_MAX) {
        struct piece *p = &pieces[count++];
        *p = (struct piece){ FRAME_METHOD, 0, at, left };
        if (left < FRAME_OVERHEAD) break;
        p->type = at[0];
        p->channel = get_u16(at + 1);
        p->payload = at + FRAME_HEADER_SIZE;
        p->size = get_u32(at + 3);
        if (p->size > left - FRAME_OVERHEAD) p->size = left - FRAME_OVERHEAD;
        at += p->size + FRAME_OVERHEAD;
        left -= p->size + FRAME_OVERHEAD;
    }
    return count;
}

static size_t put_together(uint8_t *out, size_t room, const struct piece *pieces, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const struct piece *p = &pieces[i];
        if (p->size + FRAME_OVERHEAD > room - size) break;
        uint8_t *at = frame_begin(out + size, (enum frame_type)p->type, p->channel, p->size);
        if (p->size) memcpy(at, p->payload, p->size);
        frame_finish(at + p->size);
        size += p->size + FRAME_OVERHEAD;
    }
    return size;
}

/* ---------------------------------------------------------------- what is done to them */

static uint8_t fresh[4096];

static void change_payload(struct piece *p) {
    size_t size = p->size < sizeof(fresh) / 2 ? p->size : sizeof(fresh) / 2;
    memcpy(fresh, p->payload, size);
    p->size = LLVMFuzzerMutate(fresh, size, sizeof(fresh));
    p->payload = fresh;
}

/* Its arguments are those that were there, or none. */
static void change_method(struct piece *p) {
    const struct method_info *info = method_at(roll(METHOD_COUNT));
    size_t size = p->type == FRAME_METHOD && p->size > 4 && p->size < sizeof(fresh) ? p->size - 4 : 0;
    if (size) memcpy(fresh + 4, p->payload + 4, size);
    if (size == 0) {
        size = roll(24);
        memset(fresh + 4, (int)roll(3), size);
    }
    (void)put_u32(fresh, info->id);
    *p = (struct piece){ FRAME_METHOD, info->id >> 16 == 10 ? 0 : (uint16_t)(1 + roll(2)), fresh, size + 4 };
}

static size_t change(struct piece *pieces, size_t count) {
    size_t at = roll((uint32_t)count), other = roll((uint32_t)count);
    struct piece kept = pieces[at];
    switch (roll(7)) {
    case 0:
    case 1: change_payload(&pieces[at]); break;
    case 2: change_method(&pieces[at]); break;
    case 3: pieces[at].channel = (uint16_t)roll(4); break;
    case 4:
        pieces[at] = pieces[other];
        pieces[other] = kept;
        break;
    case 5:
        memmove(&pieces[at], &pieces[at + 1], (count - at - 1) * sizeof(*pieces));
        count--;
        break;
    default:
        if (count == FRAMES_MAX) break;
        memmove(&pieces[at + 1], &pieces[at], (count - at) * sizeof(*pieces));
        count++;
        break;
    }
    return count;
}

/* ---------------------------------------------------------------- an input */

static uint8_t out[ROOM];

static size_t add_item(size_t size, size_t max, enum item_what what, const uint8_t *bytes, size_t item_size) {
    if (item_size > UINT16_MAX || size + ITEM_SIZE + item_size > max) return size;
    out[size] = (uint8_t)what;
    (void)put_u16(out + size + 1, (uint16_t)item_size);
    memmove(out + size + ITEM_SIZE, bytes, item_size);
    return size + ITEM_SIZE + item_size;
}

static size_t add_another(size_t size, size_t max) {
    uint8_t bytes[4] = { (uint8_t)roll(8), (uint8_t)roll(256), (uint8_t)roll(256), (uint8_t)roll(256) };
    return add_item(size, max, (enum item_what)(1 + roll(3)), bytes, 1 + roll(4));
}

/* One of the items is changed; sometimes it is cut in two, or another one comes behind it. */
static size_t mutate_items(const uint8_t *data, size_t left, size_t max, size_t chosen) {
    static uint8_t frames[ROOM / 2];
    struct piece pieces[FRAMES_MAX + 1];
    struct item item;
    size_t size = ITEM_HEAD, n = 0;
    memcpy(out, data, ITEM_HEAD);
    data += ITEM_HEAD;
    left -= ITEM_HEAD;
    while (item_next(&data, &left, &item)) {
        size_t count;
        if (n++ != chosen || item.what != ITEM_SAYS || (count = take_apart(item.bytes, item.size, pieces)) == 0) {
            size = add_item(size, max, item.what, item.bytes, item.size);
            continue;
        }
        size_t whole = put_together(frames, sizeof(frames), pieces, change(pieces, count));
        size_t first = roll(4) ? whole : roll((uint32_t)whole + 1);
        size = add_item(size, max, ITEM_SAYS, frames, first);
        if (roll(4) == 0) size = add_another(size, max);
        if (first < whole) size = add_item(size, max, ITEM_SAYS, frames + first, whole - first);
    }
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    const uint8_t *at = data + ITEM_HEAD;
    struct item item;
    size_t items = 0;
    state = seed | 1u;
    if (size > ITEM_HEAD && max_size <= ROOM / 2 && roll(2)) {
        size_t left = size - ITEM_HEAD;
        while (item_next(&at, &left, &item)) items++;
    }
    if (items == 0) return LLVMFuzzerMutate(data, size, max_size);
    size_t changed = mutate_items(data, size, max_size < ROOM ? max_size : ROOM, roll((uint32_t)items));
    memcpy(data, out, changed);
    return changed;
}
