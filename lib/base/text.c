/* Text into a fixed buffer. The only room that formats; it does not know who reads the text. */
#include "text.h"

#include <stdio.h>
#include <string.h>

void text_init(struct text *t, char *data, size_t size) {
    *t = (struct text){ .data = data, .size = size };
    if (size > 0) data[0] = '\0';
}

/* What is left of the buffer, the NUL included. */
static size_t room(const struct text *t) { return t->length < t->size ? t->size - t->length : 0; }

static void add_bytes(struct text *t, const char *data, size_t size) {
    size_t left = room(t);
    if (left > 0) {
        size_t fits = size < left ? size : left - 1;
        memcpy(t->data + t->length, data, fits);
        t->data[t->length + fits] = '\0';
    }
    t->length += size;
}

void text_add(struct text *t, const char *s) { add_bytes(t, s, strlen(s)); }

void text_addv(struct text *t, const char *format, va_list args) {
    size_t left = room(t);
    int length = vsnprintf(left > 0 ? t->data + t->length : NULL, left, format, args);
    if (length > 0) t->length += (size_t)length;
}

void text_addf(struct text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_addv(t, format, args);
    va_end(args);
}

static void add_escaped_byte(struct text *t, unsigned char c) {
    static const char digits[] = "0123456789abcdef";
    switch (c) {
    case '\\': add_bytes(t, "\\\\", 2); return;
    case '"': add_bytes(t, "\\\"", 2); return;
    case '\n': add_bytes(t, "\\n", 2); return;
    case '\r': add_bytes(t, "\\r", 2); return;
    case '\t': add_bytes(t, "\\t", 2); return;
    default: break;
    }
    if (c >= 0x20 && c < 0x7f) {
        add_bytes(t, &(char){ (char)c }, 1);
    } else {
        add_bytes(t, (char[]){ '\\', 'x', digits[c >> 4], digits[c & 15] }, 4);
    }
}

void text_add_escaped(struct text *t, const void *data, size_t size, size_t max) {
    const unsigned char *bytes = data;
    size_t count = size < max ? size : max;
    for (size_t i = 0; i < count; i++) add_escaped_byte(t, bytes[i]);
    if (count < size) text_add(t, "...");
}
