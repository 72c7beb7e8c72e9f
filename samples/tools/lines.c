/* Cuts stdin into messages. Knows no broker. */
#include "lines.h"
#include <stdlib.h>
#include <string.h>

#define READ_SIZE     ((size_t)64 << 10) /* what a pipe holds */
#define LINE_SIZE_MAX (128u << 20)       /* what RabbitMQ 3.x takes as one message */

int lines_next(lines_t *lines, lago_bytes_t *line) {
    char *from = lines->buffer ? lines->buffer + lines->start : NULL;
    size_t size = lines->end - lines->start;
    char *feed = NULL;
    if (!lines->whole && lines->scanned < lines->end)
        feed = memchr(lines->buffer + lines->scanned, '\n', lines->end - lines->scanned);
    if (feed) size = (size_t)(feed - from) + 1;
    if (size > LINE_SIZE_MAX) return LINES_TOO_LONG;
    if (!feed && !lines->at_end) {
        lines->scanned = lines->end;
        return LINES_MORE;
    }
    /* an empty stdin is no line, but it is a message */
    if (!feed && size == 0 && !(lines->whole && !lines->taken_any)) return LINES_NONE;
    *line = (lago_bytes_t){ from, size };
    return LINES_ONE;
}

void lines_take(lines_t *lines, lago_bytes_t line) {
    lines->start += line.size;
    lines->scanned = lines->start;
    lines->taken_any = true;
}

/* Room for one read behind what is there. */
static bool make_room(lines_t *lines) {
    if (lines->start > 0) {
        memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->scanned -= lines->start;
        lines->start = 0;
    }
    if (lines->capacity - lines->end >= READ_SIZE) return true;
    size_t capacity = lines->capacity * 2 > READ_SIZE ? lines->capacity * 2 : 2 * READ_SIZE;
    char *larger = realloc(lines->buffer, capacity);
    if (!larger) return false;
    lines->buffer = larger;
    lines->capacity = capacity;
    return true;
}

int lines_read(lines_t *lines, uv_loop_t *loop, io_cb callback, void *data) {
    if (!make_room(lines)) return LAGO_ENOMEM;
    return io_read(loop, &lines->io, 0, lines->buffer + lines->end, lines->capacity - lines->end, callback, data);
}

void lines_got(lines_t *lines, size_t count) {
    lines->end += count;
    if (count == 0) lines->at_end = true;
}

void lines_free(lines_t *lines) {
    if (!lines->io.is_busy) free(lines->buffer); /* else a thread is reading into it still; the program ends anyway */
}
