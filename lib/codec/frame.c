/* Frames: where one begins and ends. Looks at nothing inside a payload, allocates nothing, keeps nothing. */
#include "frame.h"
#include "reader.h"

static bool is_frame_type(uint8_t type) {
    return type == FRAME_METHOD || type == FRAME_HEADER || type == FRAME_BODY || type == FRAME_HEARTBEAT;
}

enum frame_result frame_decode(uint8_t *data, size_t size, size_t frame_max, struct frame *frame, size_t *need) {
    *need = 0;
    *frame = (struct frame){ 0 };
    if (size == 0) return FRAME_INCOMPLETE;
    if (!is_frame_type(data[0])) {
        frame->type = data[0];
        return FRAME_BAD_TYPE;
    }
    if (size < FRAME_HEADER_SIZE) return FRAME_INCOMPLETE;

    struct reader r = reader_over(data, FRAME_HEADER_SIZE);
    frame->type = reader_u8(&r);
    frame->channel = reader_u16(&r);
    frame->size = reader_u32(&r);
    if (frame_max < FRAME_OVERHEAD || frame->size > frame_max - FRAME_OVERHEAD) return FRAME_TOO_LARGE;
    *need = frame->size + FRAME_OVERHEAD;
    if (size < *need) return FRAME_INCOMPLETE;
    if (data[*need - FRAME_END_SIZE] != FRAME_END) return FRAME_BAD_END;
    frame->payload = data + FRAME_HEADER_SIZE;
    return FRAME_COMPLETE;
}

uint8_t *frame_begin(uint8_t *out, enum frame_type type, uint16_t channel, size_t payload_size) {
    out[0] = (uint8_t)type;
    out[1] = (uint8_t)(channel >> 8);
    out[2] = (uint8_t)channel;
    out[3] = (uint8_t)(payload_size >> 24);
    out[4] = (uint8_t)(payload_size >> 16);
    out[5] = (uint8_t)(payload_size >> 8);
    out[6] = (uint8_t)payload_size;
    return out + FRAME_HEADER_SIZE;
}

uint8_t *frame_finish(uint8_t *out) {
    out[0] = FRAME_END;
    return out + FRAME_END_SIZE;
}
