/* Frames and records in a stream: see sight.h. The codec says what a frame is. */
#include "sight.h"
#include "frame.h"

enum { RECORD_FIRST = 20, RECORD_LAST = 23, RECORD_HEAD = 5, METHOD_HEAD = FRAME_HEADER_SIZE + 4 };

static enum sight_kind kind_of(uint8_t first) {
    if (first >= RECORD_FIRST && first <= RECORD_LAST) return SIGHT_RECORDS;
    return first == PROTOCOL_HEADER[0] || (first >= FRAME_METHOD && first <= FRAME_HEARTBEAT) ? SIGHT_FRAMES : SIGHT_BLIND;
}

/* The head tells how long it is itself. @return whether it is complete; then `now` is known. */
static bool know_record(struct sight *sight) {
    const uint8_t *head = sight->head;
    if (head[0] < RECORD_FIRST || head[0] > RECORD_LAST) {
        sight->kind = SIGHT_BLIND;
        return false;
    }
    if (sight->head_size < RECORD_HEAD) return false;
    sight->now.type = head[0];
    sight->now.end = sight->now.begin + RECORD_HEAD + get_u16(head + 3);
    return true;
}

static bool know_frame(struct sight *sight) {
    struct frame frame;
    size_t need;
    if (sight->head[0] == PROTOCOL_HEADER[0]) {
        if (sight->head_size < PROTOCOL_HEADER_SIZE) return false;
        sight->now.type = sight->head[0];
        sight->now.end = sight->now.begin + PROTOCOL_HEADER_SIZE;
        return true;
    }
    enum frame_result result = frame_decode(sight->head, sight->head_size, SIZE_MAX, &frame, &need);
    if (result == FRAME_BAD_TYPE) sight->kind = SIGHT_BLIND;
    bool has_method = frame.type == FRAME_METHOD && frame.size >= METHOD_HEAD - FRAME_HEADER_SIZE;
    if (result == FRAME_BAD_TYPE || need == 0 || (has_method && sight->head_size < METHOD_HEAD)) return false;
    sight->now.type = frame.type;
    sight->now.channel = frame.channel;
    sight->now.method = has_method ? get_u32(sight->head + FRAME_HEADER_SIZE) : 0;
    sight->now.end = sight->now.begin + need;
    return true;
}

static void begin_next(struct sight *sight) {
    sight->now = (struct sighting){ .begin = sight->seen };
    sight->head_size = 0;
}

void sight_look(struct sight *sight, const uint8_t *bytes, size_t size, sight_found_cb found, void *data) {
    if (sight->kind == SIGHT_NEW && size > 0) sight->kind = kind_of(bytes[0]);
    while (size > 0 && sight->kind != SIGHT_BLIND) {
        uint64_t step = 1;
        if (sight->now.end > 0) {
            step = sight->now.end - sight->seen < size ? sight->now.end - sight->seen : size;
        } else {
            sight->head[sight->head_size++] = *bytes;
            bool known = sight->kind == SIGHT_RECORDS ? know_record(sight) : know_frame(sight);
            if (known) sight->count++;
            if (known) found(data, &sight->now);
        }
        sight->seen += step;
        bytes += step;
        size -= (size_t)step;
        if (sight->now.end > 0 && sight->seen >= sight->now.end) begin_next(sight);
    }
    sight->seen += size;
}

uint64_t sight_known(const struct sight *sight) {
    bool in_head = sight->kind != SIGHT_BLIND && sight->now.end == 0 && sight->head_size > 0;
    return in_head ? sight->now.begin : sight->seen;
}
