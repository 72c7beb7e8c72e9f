/* stdin as a row of messages: line by line, or all of it as one. Bounded by the longest line. */
#ifndef TOOLS_LINES_H
#define TOOLS_LINES_H

#include "io.h"
#include <lago.h>

typedef struct lines {
    io_t io;
    char *buffer;
    size_t start, scanned, end, capacity; /* from `start` to `end`: not taken yet; up to `scanned`: no line feed */
    bool whole;                           /* all of stdin is one message */
    bool at_end;                          /* of the file */
    bool taken_any;
} lines_t;

enum { LINES_NONE, LINES_ONE, LINES_MORE, LINES_TOO_LONG };

/*
 * The next message, with its line feed, as amqp-publish sends it; borrowed until the next call.
 *
 * Returns LINES_ONE with a message, LINES_NONE at the end, LINES_MORE: call lines_read first, LINES_TOO_LONG: there is a limit.
 */
int lines_next(lines_t *lines, lago_bytes_t *line);

/* Take a message that lines_next returned. */
void lines_take(lines_t *lines, lago_bytes_t line);

/* Read on. In the callback call lines_got. Returns 0 or an error, and then calls nothing. */
int lines_read(lines_t *lines, uv_loop_t *loop, io_cb callback, void *data);
void lines_got(lines_t *lines, size_t count);

void lines_free(lines_t *lines);

#endif
