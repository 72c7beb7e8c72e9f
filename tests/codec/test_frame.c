/* Frames (4.2.3): where one ends, and which ones are none. */
#include "codec_test.h"
#include "frame.h"

#define MAX 4096u

static size_t make_frame(uint8_t *out, enum frame_type type, uint16_t channel, size_t size) {
    uint8_t *p = frame_begin(out, type, channel, size);
    memset(p, 0x55, size);
    return (size_t)(frame_finish(p + size) - out);
}

static void a_frame_is_written_as_specified(void **state) {
    (void)state;
    uint8_t out[16];
    assert_int_equal(make_frame(out, FRAME_METHOD, 0x1234, 2), 10);
    assert_memory_equal(out, "\1\x12\x34\0\0\0\2\x55\x55\xce", 10);
    assert_ptr_equal(frame_begin(out, FRAME_HEARTBEAT, 0, 0), out + FRAME_HEADER_SIZE);
    assert_memory_equal(out, "\10\0\0\0\0\0\0", 7);
}

static void the_size_has_four_octets(void **state) {
    (void)state;
    uint8_t out[FRAME_HEADER_SIZE];
    frame_begin(out, FRAME_BODY, UINT16_MAX, 0xfedcba98);
    assert_memory_equal(out, "\3\xff\xff\xfe\xdc\xba\x98", 7);
}

static void the_protocol_header_is_0_9_1(void **state) {
    (void)state;
    assert_int_equal(sizeof PROTOCOL_HEADER - 1, PROTOCOL_HEADER_SIZE);
    assert_memory_equal(PROTOCOL_HEADER, "AMQP\x00\x00\x09\x01", 8);
}

static void a_whole_frame_is_found(void **state) {
    (void)state;
    uint8_t data[64];
    size_t size = make_frame(data, FRAME_HEADER, 77, 20), need;
    struct frame frame;
    assert_int_equal(frame_decode(data, sizeof data, MAX, &frame, &need), FRAME_COMPLETE);
    assert_int_equal(need, size);
    assert_int_equal(frame.type, FRAME_HEADER);
    assert_int_equal(frame.channel, 77);
    assert_int_equal(frame.size, 20);
    assert_ptr_equal(frame.payload, data + 7);
}

static void every_beginning_of_a_frame_is_incomplete(void **state) {
    (void)state;
    uint8_t data[64];
    size_t size = make_frame(data, FRAME_BODY, 1, 20);
    for (size_t have = 0; have < size; have++) {
        struct frame frame;
        size_t need = 99;
        uint8_t *part = exact_copy(data, have);
        assert_int_equal(frame_decode(part, have, MAX, &frame, &need), FRAME_INCOMPLETE);
        assert_int_equal(need, have < FRAME_HEADER_SIZE ? 0 : size);
        free(part);
    }
}

static void only_four_types_exist(void **state) {
    (void)state;
    for (unsigned type = 0; type <= UINT8_MAX; type++) {
        uint8_t data[8] = { (uint8_t)type, 0, 0, 0, 0, 0, 0, FRAME_END };
        bool good = type == FRAME_METHOD || type == FRAME_HEADER || type == FRAME_BODY || type == FRAME_HEARTBEAT;
        struct frame frame;
        size_t need;
        assert_int_equal(frame_decode(data, 8, MAX, &frame, &need), good ? FRAME_COMPLETE : FRAME_BAD_TYPE);
        assert_int_equal(frame.type, type);
        assert_int_equal(frame_decode(data, 1, MAX, &frame, &need), good ? FRAME_INCOMPLETE : FRAME_BAD_TYPE);
    }
}

static void only_one_end_octet_exists(void **state) {
    (void)state;
    for (unsigned end = 0; end <= UINT8_MAX; end++) {
        uint8_t data[8] = { FRAME_METHOD, 0, 0, 0, 0, 0, 0, (uint8_t)end };
        struct frame frame;
        size_t need;
        assert_int_equal(frame_decode(data, 8, MAX, &frame, &need), end == FRAME_END ? FRAME_COMPLETE : FRAME_BAD_END);
    }
}

static enum frame_result decode_size(uint32_t size, size_t frame_max) {
    uint8_t data[FRAME_HEADER_SIZE];
    struct frame frame;
    size_t need;
    frame_begin(data, FRAME_BODY, 1, size);
    return frame_decode(data, sizeof data, frame_max, &frame, &need);
}

static void frame_max_counts_the_whole_frame(void **state) {
    (void)state;
    assert_int_equal(decode_size(MAX - 9, MAX), FRAME_INCOMPLETE);
    assert_int_equal(decode_size(MAX - 8, MAX), FRAME_INCOMPLETE);
    assert_int_equal(decode_size(MAX - 7, MAX), FRAME_TOO_LARGE);
    assert_int_equal(decode_size(MAX, MAX), FRAME_TOO_LARGE);
}

static void no_size_wraps(void **state) {
    (void)state;
    for (uint32_t less = 0; less < 16; less++) assert_int_equal(decode_size(UINT32_MAX - less, MAX), FRAME_TOO_LARGE);
    assert_int_equal(decode_size(UINT32_MAX, UINT32_MAX), FRAME_TOO_LARGE);
    assert_int_equal(decode_size(UINT32_MAX - 8, UINT32_MAX), FRAME_INCOMPLETE);
    assert_int_equal(decode_size(0, 7), FRAME_TOO_LARGE); /* a limit that no frame meets */
    assert_int_equal(decode_size(0, 8), FRAME_INCOMPLETE);
}

static void a_frame_of_exactly_frame_max_is_taken(void **state) {
    (void)state;
    static uint8_t data[MAX];
    struct frame frame;
    size_t need;
    assert_int_equal(make_frame(data, FRAME_BODY, 9, MAX - FRAME_OVERHEAD), MAX);
    assert_int_equal(frame_decode(data, MAX, MAX, &frame, &need), FRAME_COMPLETE);
    assert_int_equal(need, MAX);
    assert_int_equal(frame.size, MAX - 8);
}

static void frames_follow_each_other(void **state) {
    (void)state;
    uint8_t data[64];
    size_t first = make_frame(data, FRAME_METHOD, 1, 4);
    size_t second = make_frame(data + first, FRAME_HEARTBEAT, 0, 0);
    struct frame frame;
    size_t need;
    assert_int_equal(frame_decode(data, first + second, MAX, &frame, &need), FRAME_COMPLETE);
    assert_int_equal(need, first);
    assert_int_equal(frame_decode(data + need, second, MAX, &frame, &need), FRAME_COMPLETE);
    assert_int_equal(frame.type, FRAME_HEARTBEAT);
    assert_int_equal(frame.size, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_written_as_specified),
        cmocka_unit_test(the_size_has_four_octets),
        cmocka_unit_test(the_protocol_header_is_0_9_1),
        cmocka_unit_test(a_whole_frame_is_found),
        cmocka_unit_test(every_beginning_of_a_frame_is_incomplete),
        cmocka_unit_test(only_four_types_exist),
        cmocka_unit_test(only_one_end_octet_exists),
        cmocka_unit_test(frame_max_counts_the_whole_frame),
        cmocka_unit_test(no_size_wraps),
        cmocka_unit_test(a_frame_of_exactly_frame_max_is_taken),
        cmocka_unit_test(frames_follow_each_other),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
