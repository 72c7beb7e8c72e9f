/* Frames in words, one line each, for the log and for the tests. Bodies are sizes only, credentials are masked (method.h). */
#include "internal.h"
#include "text.h"
#include <string.h>

/* Long enough for every method with its arguments; longer ones are cut. */
#define TRACE_LINE_SIZE  2048u
#define TRACE_STRING_MAX 256u

void trace_line(const struct session *s, char direction, const char *line) {
    s->settings.trace(s->settings.trace_data, direction, line);
}

static void print_method(struct text *t, const struct frame *frame) {
    const struct method_info *info = NULL;
    union method_args args;
    if (method_read(frame->payload, frame->size, &info, &args) == 0)
        method_print(t, info, &args);
    else
        text_addf(t, "%s malformed", info ? info->name : "method");
}

static void print_header(struct text *t, const struct frame *frame) {
    struct content_header header;
    if (content_header_read(frame->payload, frame->size, &header) != 0) {
        text_add(t, "header malformed");
        return;
    }
    text_addf(t, "header body_size=%llu", (unsigned long long)header.body_size);
    if (header.properties.present) text_add(t, " ");
    properties_print(t, &header.properties, TRACE_STRING_MAX);
}

void trace_frame(const struct session *s, char direction, const struct frame *frame) {
    char line[TRACE_LINE_SIZE];
    struct text t;
    text_init(&t, line, sizeof(line));
    text_addf(&t, "%u ", frame->channel);
    switch (frame->type) {
    case FRAME_METHOD: print_method(&t, frame); break;
    case FRAME_HEADER: print_header(&t, frame); break;
    case FRAME_BODY: text_addf(&t, "body size=%zu", frame->size); break;
    default: text_add(&t, "heartbeat"); break;
    }
    trace_line(s, direction, line);
}

void trace_frames(const struct session *s, char direction, const uint8_t *data, size_t size) {
    struct frame frame;
    size_t need = 0;
    /* the bytes are our own; frame_decode hands out a writable payload, which printing only reads */
    uint8_t *at = (uint8_t *)(uintptr_t)data;
    while (size > 0 && frame_decode(at, size, SIZE_MAX, &frame, &need) == FRAME_COMPLETE) { /* unreachable: ours are whole */
        trace_frame(s, direction, &frame);
        at += need;
        size -= need;
    }
}
