/* Frames and records are found by their heads, however the bytes come. */
#include "frame.h"
#include "method.h"
#include "sight.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FOUND_MAX 16

static struct sighting seen[FOUND_MAX];
static size_t seen_count;

static void on_found(void *data, const struct sighting *found) {
    (void)data;
    assert_true(seen_count < FOUND_MAX);
    seen[seen_count++] = *found;
}

static uint8_t *put_frame(uint8_t *out, enum frame_type type, uint16_t channel, uint32_t method, size_t size) {
    out = frame_begin(out, type, channel, size);
    memset(out, 1, size); /* looks like more frames */
    if (method) put_u32(out, method);
    return frame_finish(out + size);
}

/* A protocol header, a method, a header, a body, a heartbeat, a method of two bytes. */
static size_t conversation(uint8_t *bytes) {
    uint8_t *out = bytes;
    memcpy(out, PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE);
    out = put_frame(out + PROTOCOL_HEADER_SIZE, FRAME_METHOD, 3, METHOD_BASIC_DELIVER, 40);
    out = put_frame(out, FRAME_HEADER, 3, 0, 14);
    out = put_frame(out, FRAME_BODY, 3, 0, 5);
    out = put_frame(out, FRAME_HEARTBEAT, 0, 0, 0);
    return (size_t)(put_frame(out, FRAME_METHOD, 0, 0, 2) - bytes);
}

static void expect_found(size_t index, uint8_t type, uint16_t channel, uint32_t method, uint64_t begin, uint64_t size) {
    assert_int_equal(seen[index].type, type);
    assert_int_equal(seen[index].channel, channel);
    assert_int_equal(seen[index].method, method);
    assert_int_equal(seen[index].begin, begin);
    assert_int_equal(seen[index].end, begin + size);
}

static void frames_are_found_at_every_cut(void **state) {
    uint8_t bytes[256];
    size_t size = conversation(bytes);
    (void)state;
    for (size_t cut = 0; cut <= size; cut++) {
        struct sight sight = { 0 };
        seen_count = 0;
        sight_look(&sight, bytes, cut, on_found, NULL);
        assert_true(sight_known(&sight) <= cut);
        sight_look(&sight, bytes + cut, size - cut, on_found, NULL);
        assert_int_equal(sight_known(&sight), size);
        assert_int_equal(seen_count, 6);
        assert_int_equal(sight.count, 6);
        expect_found(0, 'A', 0, 0, 0, 8);
        expect_found(1, FRAME_METHOD, 3, METHOD_BASIC_DELIVER, 8, 48);
        expect_found(2, FRAME_HEADER, 3, 0, 56, 22);
        expect_found(3, FRAME_BODY, 3, 0, 78, 13);
        expect_found(4, FRAME_HEARTBEAT, 0, 0, 91, 8);
        expect_found(5, FRAME_METHOD, 0, 0, 99, 10);
    }
}

static void what_may_be_a_head_is_not_known(void **state) {
    uint8_t bytes[256];
    (void)state;
    conversation(bytes);
    for (size_t size = 9; size < 19; size++) {
        struct sight sight = { 0 };
        sight_look(&sight, bytes, size, on_found, NULL);
        assert_int_equal(sight_known(&sight), 8);
        seen_count = 0;
    }
}

static void records_are_found_at_every_cut(void **state) {
    static const uint8_t bytes[] = { 22, 3, 1, 0, 3, 1, 1, 1, 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 0, 21, 3, 3, 0, 2, 2, 10 };
    (void)state;
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        struct sight sight = { 0 };
        seen_count = 0;
        sight_look(&sight, bytes, cut, on_found, NULL);
        sight_look(&sight, bytes + cut, sizeof bytes - cut, on_found, NULL);
        assert_int_equal(sight.kind, SIGHT_RECORDS);
        assert_int_equal(seen_count, 4);
        expect_found(0, 22, 0, 0, 0, 8);
        expect_found(1, 20, 0, 0, 8, 6);
        expect_found(2, 23, 0, 0, 14, 5);
        expect_found(3, 21, 0, 0, 19, 7);
    }
}

static void something_else_is_not_looked_at(void **state) {
    struct sight sight = { 0 };
    (void)state;
    seen_count = 0;
    sight_look(&sight, (const uint8_t *)"HTTP/1.1 200 OK", 15, on_found, NULL);
    assert_int_equal(sight.kind, SIGHT_BLIND);
    assert_int_equal(sight_known(&sight), 15);
    sight = (struct sight){ 0 };
    sight_look(&sight, (const uint8_t *)"\10\0\0\0\0\0\0\316SSH-2.0", 15, on_found, NULL);
    assert_int_equal(seen_count, 1);
    assert_int_equal(sight.kind, SIGHT_BLIND);
    assert_int_equal(sight.seen, 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_found_at_every_cut),
        cmocka_unit_test(what_may_be_a_head_is_not_known),
        cmocka_unit_test(records_are_found_at_every_cut),
        cmocka_unit_test(something_else_is_not_looked_at),
    };
    return cmocka_run_group_tests_name("proxy/sight", tests, NULL, NULL);
}
