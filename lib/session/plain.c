/*
 * The short way of a publish that was not prepared: small strings and a small body are written where they will stay, unmeasured
 * (profile: measuring first, and the state for it, took 300 of 830 instructions). Everything else goes output.c's ways, which know
 * what is wrong, too.
 */
#include "everyday.h"
#include "internal.h"
#include <string.h>

int session_publish(struct session *s, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                    const struct session_body *body) {
    size_t size = body->bytes.size;
    uint8_t *room = s->out.room, *at = NULL;
    bool small = !body->block && size - 1 < COPY_SIZE_MAX;
    if (small && output_is_usual(s, channel, MESSAGE_HEAD_MAX + FRAME_OVERHEAD + size) && marks_reserve(s) == 0)
        at = message_head_put(room, channel, args, properties, size);
    if (!at) return output_publish(s, channel, args, properties, body);
    at = frame_begin(at, FRAME_BODY, channel, size);
    memcpy(at, body->bytes.data, size);
    at = frame_finish(at + size);
    size = (size_t)(at - room);
    marks_push(s, channel, size);
    output_counted(s, size, 3);
    chunks_commit(&s->out, size);
    return 0;
}
