/* Text into a buffer of fixed size: never overflows, counts what it would have needed, escapes what peers sent. */
#ifndef LAGO_BASE_TEXT_H
#define LAGO_BASE_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *data;    /* NUL-terminated after every call, if size > 0 */
    size_t size;   /* of the buffer */
    size_t length; /* of the whole text, as snprintf counts */
};

void text_init(struct text *t, char *data, size_t size);
void text_add(struct text *t, const char *s);
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_addv(struct text *t, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Peer bytes: printable ASCII as it is, but \ and " and all else as \\, \", \n, \r, \t, \xNN; after `max` of them "...". */
void text_add_escaped(struct text *t, const void *data, size_t size, size_t max);

#endif
