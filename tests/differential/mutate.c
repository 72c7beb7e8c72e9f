/* Damage what was valid. Sizes and letters are aimed at: in a long string every change is harmless. */
#include "mutate.h"
#include <string.h>

#define AIM_TRIES   64u
#define INSERT_MAX  8u
#define CHANGES_MAX 4u

static const char letters[] = "tbBsuIilfdDSATFVxUL"; /* of both, and the old ones */

static bool is_letter(const uint8_t *p) { return *p != 0 && strchr(letters, *p) != NULL; }
static bool is_small_size(const uint8_t *p) { return p[0] == 0 && p[1] == 0 && p[2] == 0; }

/* Most structure is at the front; NULL when nothing fits. */
static uint8_t *aim(struct random *r, uint8_t *data, size_t size, size_t width, bool (*fits)(const uint8_t *)) {
    if (size < width) return NULL;
    size_t places = size - width + 1;
    if (places > 64 && random_chance(r, 2)) places = 64;
    for (unsigned i = 0; i < AIM_TRIES; i++) {
        uint8_t *p = data + random_below(r, places);
        if (fits == NULL || fits(p)) return p;
    }
    return NULL;
}

static void put_u32(uint8_t *p, uint32_t v) {
    for (unsigned i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static size_t insert(struct random *r, uint8_t *data, size_t size, size_t capacity) {
    size_t count = 1 + random_below(r, INSERT_MAX), at = random_below(r, size + 1);
    if (count > capacity - size) return size;
    memmove(data + at + count, data + at, size - at);
    for (size_t i = 0; i < count; i++) data[at + i] = (uint8_t)random_number(r, 8);
    return size + count;
}

static size_t cut(struct random *r, uint8_t *data, size_t size) {
    size_t at = random_below(r, size + 1), count = 1 + random_below(r, INSERT_MAX);
    if (count > size - at) count = size - at;
    memmove(data + at, data + at + count, size - at - count);
    return size - count;
}

static size_t change(struct random *r, uint8_t *data, size_t size, size_t capacity) {
    uint8_t *p;
    switch (random_below(r, 9)) {
    case 0:
        if ((p = aim(r, data, size, 1, NULL)) != NULL) *p ^= (uint8_t)(1u << random_below(r, 8));
        return size;
    case 1:
        if ((p = aim(r, data, size, 1, NULL)) != NULL) *p = (uint8_t)random_number(r, 8);
        return size;
    case 2:
    case 3:
        if ((p = aim(r, data, size, 1, is_letter)) != NULL) *p = (uint8_t)letters[random_below(r, sizeof letters - 1)];
        return size;
    case 4:
    case 5: /* a little more or less */
        if ((p = aim(r, data, size, 4, is_small_size)) != NULL) p[3] = (uint8_t)(p[3] + random_below(r, 17) - 8);
        return size;
    case 6:
        if ((p = aim(r, data, size, 4, NULL)) != NULL) put_u32(p, (uint32_t)random_number(r, 32));
        return size;
    case 7: return random_chance(r, 3) ? random_below(r, size + 1) : cut(r, data, size);
    default: return insert(r, data, size, capacity);
    }
}

size_t mutate(struct random *r, uint8_t *data, size_t size, size_t capacity) {
    size_t changes = 1 + random_below(r, CHANGES_MAX);
    for (size_t i = 0; i < changes; i++) size = change(r, data, size, capacity);
    return size;
}
