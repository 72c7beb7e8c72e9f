/* Ledgers and messages: see book.h. */
#include "book.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------- lines */

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

bool book_open(struct book *book, const char *path) {
    char last = '\n';
    book->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (book->fd < 0) return false;
    off_t size = lseek(book->fd, 0, SEEK_END);
    if (size > 0 && pread(book->fd, &last, 1, size - 1) == 1 && last != '\n' && write(book->fd, "\n", 1) != 1) return false;
    book_write(book, "B %d", (int)getpid());
    return true;
}

void book_write(const struct book *book, const char *format, ...) {
    char line[160];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line - 32, format, args);
    va_end(args);
    size += snprintf(line + size, 32, " %" PRIu64 " .\n", now_us());
    if (write(book->fd, line, (size_t)size) != size) abort(); /* a full disk: nothing can be said any more */
}

/* ---------------------------------------------------------------- what was left */

struct past {
    uint32_t *attempt; /* by number; 0: it has come to a good end, or never began */
    uint64_t capacity, highest;
};

static void remember(struct past *past, uint64_t number, uint32_t attempt) {
    while (number >= past->capacity) {
        uint64_t more = past->capacity ? past->capacity * 2 : 4096;
        past->attempt = realloc(past->attempt, more * sizeof *past->attempt);
        if (!past->attempt) abort();
        memset(past->attempt + past->capacity, 0, (more - past->capacity) * sizeof *past->attempt);
        past->capacity = more;
    }
    past->attempt[number] = attempt;
    if (number > past->highest) past->highest = number;
}

uint64_t book_replay(const char *path, book_open_cb open, void *data) {
    struct past past = { 0 };
    char line[200], what, end[8];
    uint64_t number;
    uint32_t attempt;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        size_t size = strlen(line);
        if (size < 3 || strcmp(line + size - 2, ".\n") != 0) continue; /* cut short by a kill */
        if (sscanf(line, "%c %" SCNu64 " %" SCNu32 " %7s", &what, &number, &attempt, end) < 4) continue;
        if (what == 'S') remember(&past, number, attempt);
        if (what == 'A' || what == 'R') remember(&past, number, 0);
    }
    fclose(file);
    for (number = 1; number <= past.highest; number++)
        if (past.attempt[number]) open(data, number, past.attempt[number]);
    free(past.attempt);
    return past.highest;
}

/* ---------------------------------------------------------------- messages */

/* That of zlib, so that others can check it. */
static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    static uint32_t table[256];
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
    for (size_t i = 0; i < size; i++) crc = table[(crc ^ bytes[i]) & 0xFF] ^ (crc >> 8);
    return ~crc;
}

enum { AT_PRODUCER = 4, AT_NUMBER = 8, AT_ATTEMPT = 16, AT_SIZE = 20, AT_CRC = 28 };

static void put(uint8_t *at, uint64_t value, int size) {
    for (int i = size - 1; i >= 0; i--, value >>= 8) at[i] = (uint8_t)value;
}

static uint64_t get(const uint8_t *at, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value = value << 8 | at[i];
    return value;
}

void message_fill(const struct message *message, uint8_t *bytes, size_t size) {
    memset(bytes, 0, MESSAGE_MIN_SIZE);
    memcpy(bytes, "LAGO", 4);
    put(bytes + AT_PRODUCER, message->producer, 4);
    put(bytes + AT_NUMBER, message->number, 8);
    put(bytes + AT_ATTEMPT, message->attempt, 4);
    put(bytes + AT_SIZE, size, 4);
    for (size_t i = MESSAGE_MIN_SIZE; i < size; i++) bytes[i] = (uint8_t)(message->number * 7 + i);
    put(bytes + AT_CRC, crc32_of(bytes, size), 4);
}

bool message_read(const uint8_t *bytes, size_t size, struct message *message) {
    *message = (struct message){ 0 };
    if (size < MESSAGE_MIN_SIZE || memcmp(bytes, "LAGO", 4) != 0) return false;
    message->producer = (uint32_t)get(bytes + AT_PRODUCER, 4);
    message->number = get(bytes + AT_NUMBER, 8);
    message->attempt = (uint32_t)get(bytes + AT_ATTEMPT, 4);
    uint8_t *copy = malloc(size);
    if (!copy) abort();
    memcpy(copy, bytes, size);
    put(copy + AT_CRC, 0, 4);
    bool same = get(bytes + AT_SIZE, 4) == size && get(bytes + AT_CRC, 4) == crc32_of(copy, size);
    free(copy);
    return same;
}
