/* The bounded writer: numbers, strings, measuring, and what happens at the end of the room. */
#include "codec_test.h"

static void write_a_bit_of_everything(struct writer *w) {
    writer_u8(w, 0x01);
    writer_u16(w, 0x0203);
    writer_u32(w, 0x04050607);
    writer_u64(w, 0x08090a0b0c0d0e0f);
    writer_bytes(w, "xyz", 3);
    writer_shortstr(w, STRING("ab"));
    writer_longstr(w, (lago_bytes_t){ "c", 1 });
}

static const char everything[] = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0fxyz\2ab\0\0\0\1c";
#define EVERYTHING_SIZE (sizeof everything - 1)

static void all_is_in_network_order(void **state) {
    (void)state;
    uint8_t room[EVERYTHING_SIZE];
    struct writer w = writer_over(room, sizeof room);
    write_a_bit_of_everything(&w);
    assert_written(&w, everything, EVERYTHING_SIZE);
}

static void measuring_needs_no_room(void **state) {
    (void)state;
    struct writer w = writer_measure();
    write_a_bit_of_everything(&w);
    writer_patch_u32(&w, 0, 1);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.size, EVERYTHING_SIZE);
}

static void without_room_it_counts_and_writes_nothing_beyond(void **state) {
    (void)state;
    for (size_t capacity = 0; capacity < EVERYTHING_SIZE; capacity++) {
        uint8_t room[EVERYTHING_SIZE + 1];
        memset(room, 0xaa, sizeof room);
        struct writer w = writer_over(room, capacity);
        write_a_bit_of_everything(&w);
        assert_int_equal(w.error, LAGO_ETOOBIG);
        assert_int_equal(w.size, EVERYTHING_SIZE);
        for (size_t i = capacity; i < sizeof room; i++) assert_int_equal(room[i], 0xaa);
    }
}

static void strings_may_end_at_their_nul(void **state) {
    (void)state;
    uint8_t room[32];
    struct writer w = writer_over(room, sizeof room);
    writer_shortstr(&w, (lago_string_t){ "abc", LAGO_NUL_TERMINATED });
    writer_longstr(&w, (lago_bytes_t){ "de", LAGO_NUL_TERMINATED });
    assert_written(&w, BYTES("\3abc\0\0\0\2de"));
}

static void no_string_is_an_empty_string(void **state) {
    (void)state;
    uint8_t room[32];
    struct writer w = writer_over(room, sizeof room);
    writer_shortstr(&w, (lago_string_t){ NULL, LAGO_NUL_TERMINATED });
    writer_shortstr(&w, (lago_string_t){ NULL, 0 });
    writer_longstr(&w, (lago_bytes_t){ NULL, 7 });
    writer_bytes(&w, NULL, 0);
    assert_written(&w, BYTES("\0\0\0\0\0\0"));
}

static void a_short_string_has_at_most_255_bytes(void **state) {
    (void)state;
    static char text[513];
    memset(text, 'x', sizeof text - 1);
    static const size_t sizes[] = { 0, 1, 254, 255, 256, 257, 511, 512 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t room[600];
        struct writer w = writer_over(room, sizeof room);
        writer_shortstr(&w, (lago_string_t){ text, sizes[i] });
        if (sizes[i] > 255) {
            assert_int_equal(w.error, LAGO_ETOOLONG);
            continue;
        }
        assert_int_equal(w.error, 0);
        assert_int_equal(w.size, sizes[i] + 1);
        assert_int_equal(room[0], sizes[i]);
        assert_memory_equal(room + 1, text, sizes[i]);
    }
}

static void a_long_string_has_at_most_4_gib(void **state) {
    (void)state;
#if SIZE_MAX > UINT32_MAX
    struct writer w = writer_measure();
    writer_longstr(&w, (lago_bytes_t){ "x", UINT32_MAX });
    assert_int_equal(w.error, 0);
    assert_true(w.size == (size_t)UINT32_MAX + 4);
    writer_longstr(&w, (lago_bytes_t){ "x", (size_t)UINT32_MAX + 1 });
    assert_int_equal(w.error, LAGO_ETOOBIG);
#endif
}

static void the_count_saturates(void **state) {
    (void)state;
    struct writer w = writer_measure();
    writer_bytes(&w, "x", SIZE_MAX - 1);
    assert_int_equal(w.error, 0);
    writer_u16(&w, 0);
    assert_int_equal(w.error, LAGO_ETOOBIG);
    assert_true(w.size == SIZE_MAX);
}

static void the_first_error_sticks(void **state) {
    (void)state;
    uint8_t room[4] = { 0 };
    struct writer w = writer_over(room, sizeof room);
    writer_fail(&w, LAGO_EDEPTH);
    writer_u64(&w, UINT64_MAX);
    writer_fail(&w, LAGO_EINVAL);
    assert_int_equal(w.error, LAGO_EDEPTH);
    writer_patch_u32(&w, 0, UINT32_MAX);
    assert_memory_equal(room, "\0\0\0\0", 4);
}

static void a_size_is_patched_in_later(void **state) {
    (void)state;
    uint8_t room[8];
    struct writer w = writer_over(room, sizeof room);
    writer_u16(&w, 0xaaaa);
    writer_u32(&w, 0);
    writer_u8(&w, 0xbb);
    writer_patch_u32(&w, 2, 0x01020304);
    assert_written(&w, BYTES("\xaa\xaa\x01\x02\x03\x04\xbb"));
    writer_patch_u32(&w, 3, 0);
    assert_int_equal(w.error, 0);
    writer_patch_u32(&w, 4, 0); /* one beyond what was written */
    assert_int_equal(w.error, LAGO_EINVAL);
    w = writer_over(room, sizeof room);
    writer_u16(&w, 0);
    writer_u8(&w, 0); /* less than a size */
    writer_patch_u32(&w, 0, 0);
    assert_int_equal(w.error, LAGO_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_in_network_order),
        cmocka_unit_test(measuring_needs_no_room),
        cmocka_unit_test(without_room_it_counts_and_writes_nothing_beyond),
        cmocka_unit_test(strings_may_end_at_their_nul),
        cmocka_unit_test(no_string_is_an_empty_string),
        cmocka_unit_test(a_short_string_has_at_most_255_bytes),
        cmocka_unit_test(a_long_string_has_at_most_4_gib),
        cmocka_unit_test(the_count_saturates),
        cmocka_unit_test(the_first_error_sticks),
        cmocka_unit_test(a_size_is_patched_in_later),
    };
    return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
