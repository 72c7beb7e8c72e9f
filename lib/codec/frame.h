/* Frames (AMQP 0-9-1, 4.2.3): type, channel, size, payload, end octet; and the protocol header (4.2.2). */
#ifndef LAGO_CODEC_FRAME_H
#define LAGO_CODEC_FRAME_H

#include "octets.h"
#include <stddef.h>
#include <stdint.h>

enum frame_type { FRAME_METHOD = 1, FRAME_HEADER = 2, FRAME_BODY = 3, FRAME_HEARTBEAT = 8 };

#define FRAME_HEADER_SIZE 7u
#define FRAME_END_SIZE    1u
#define FRAME_OVERHEAD    (FRAME_HEADER_SIZE + FRAME_END_SIZE)
#define FRAME_END         0xCEu
#define FRAME_MIN_SIZE    4096u /* what every peer must be able to take (4.2.3); the limit before tuning */

#define PROTOCOL_HEADER      "AMQP\0\0\11\1"
#define PROTOCOL_HEADER_SIZE 8u

struct frame {
    uint8_t type;
    uint16_t channel;
    uint8_t *payload;
    size_t size; /* of the payload */
};

enum frame_result {
    FRAME_INCOMPLETE, /* *need says how many bytes the whole frame has; 0 while its header is incomplete */
    FRAME_COMPLETE,   /* *need is how many bytes it took */
    FRAME_BAD_TYPE,   /* known from the first octet */
    FRAME_TOO_LARGE,  /* known from the header, before any of the payload is there */
    FRAME_BAD_END
};

/*
 * Look at the front of `data` for a frame of at most `frame_max` bytes in all (compares size > max - 8: nothing wraps).
 * `frame` has its type, channel and size as far as they are known; its payload only when it is complete.
 */
enum frame_result frame_decode(uint8_t *data, size_t size, size_t frame_max, struct frame *frame, size_t *need);

/* Write the 7 octets before a payload; and the one behind it. Both return the byte behind what they wrote. */
static inline uint8_t *frame_begin(uint8_t *out, enum frame_type type, uint16_t channel, size_t payload_size) {
    *out++ = (uint8_t)type;
    out = put_u16(out, channel);
    return put_u32(out, (uint32_t)payload_size);
}

static inline uint8_t *frame_finish(uint8_t *out) {
    *out++ = FRAME_END;
    return out;
}

#endif
