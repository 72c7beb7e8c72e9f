/* Numbers on command lines of the instruments: all of the word, and within its bounds, or it is refused. */
#ifndef SUPPORT_NUMBER_H
#define SUPPORT_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits, `size` of them. @return false: it is no such number; *number is as it was. */
static inline bool number_read_part(const char *text, size_t size, uint64_t least, uint64_t most, uint64_t *number) {
    uint64_t read = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || read > UINT64_MAX / 10 - 1) return false;
        read = read * 10 + (uint64_t)(text[i] - '0');
    }
    if (size == 0 || read < least || read > most) return false;
    *number = read;
    return true;
}

static inline bool number_read(const char *text, uint64_t least, uint64_t most, uint64_t *number) {
    size_t size = 0;
    while (text[size]) size++;
    return number_read_part(text, size, least, most, number);
}

static inline bool number_read_size(const char *text, size_t least, size_t *number) {
    uint64_t read;
    if (!number_read(text, least, SIZE_MAX, &read)) return false;
    *number = (size_t)read;
    return true;
}

#endif
