/* Frames: where one begins and ends. Looks at nothing inside a payload, allocates nothing, keeps nothing. */
#include "frame.h"
#include <stdbool.h>

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

    frame->type = data[0];
    frame->channel = get_u16(data + 1);
    frame->size = get_u32(data + 3);
    if (frame_max < FRAME_OVERHEAD || frame->size > frame_max - FRAME_OVERHEAD) return FRAME_TOO_LARGE;
    *need = frame->size + FRAME_OVERHEAD;
    if (size < *need) return FRAME_INCOMPLETE;
    if (data[*need - FRAME_END_SIZE] != FRAME_END) return FRAME_BAD_END;
    frame->payload = data + FRAME_HEADER_SIZE;
    return FRAME_COMPLETE;
}
