/* The bounded reader: numbers, strings, and what happens at the end of the bytes. */
#include "codec_test.h"
#include "reader.h"

static void numbers_are_in_network_order(void **state) {
    (void)state;
    struct reader r = reader_over("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", 15);
    assert_int_equal(reader_u8(&r), 0x01);
    assert_int_equal(reader_u16(&r), 0x0203);
    assert_int_equal(reader_u32(&r), 0x04050607);
    assert_true(reader_u64(&r) == 0x08090a0b0c0d0e0f);
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.failed);
}

static void high_bits_do_not_become_signs(void **state) {
    (void)state;
    struct reader r = reader_over("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 15);
    assert_int_equal(reader_u8(&r), UINT8_MAX);
    assert_int_equal(reader_u16(&r), UINT16_MAX);
    assert_true(reader_u32(&r) == UINT32_MAX);
    assert_true(reader_u64(&r) == UINT64_MAX);
}

static void strings_are_views(void **state) {
    (void)state;
    static const char bytes[] = "\3abc\0\0\0\0\2de";
    struct reader r = reader_over(bytes, sizeof bytes - 1);
    lago_string_t s = reader_shortstr(&r);
    assert_string_is(s, BYTES("abc"));
    assert_ptr_equal(s.data, bytes + 1);
    assert_int_equal(reader_shortstr(&r).size, 0);
    r = reader_over(bytes + 5, sizeof bytes - 1 - 5);
    lago_bytes_t b = reader_longstr(&r);
    assert_int_equal(b.size, 2);
    assert_memory_equal(b.data, "de", 2);
}

static void a_number_cut_short_is_zero_and_fails(void **state) {
    (void)state;
    for (size_t left = 0; left < 8; left++) {
        struct reader r = reader_over("\xff\xff\xff\xff\xff\xff\xff\xff", left);
        (void)reader_u64(&r);
        assert_true(r.failed);
        assert_int_equal(reader_u8(&r), 0);
        assert_int_equal(reader_u16(&r), 0);
        assert_int_equal(reader_u32(&r), 0);
    }
}

static void after_a_failure_nothing_is_read(void **state) {
    (void)state;
    struct reader r = reader_over("\5ab", 3);
    lago_string_t s = reader_shortstr(&r);
    assert_true(r.failed);
    assert_null(s.data);
    assert_int_equal(s.size, 0);
    assert_int_equal(reader_left(&r), 2); /* there are bytes, */
    assert_int_equal(reader_u8(&r), 0);   /* but who knows what they mean */
    assert_int_equal(reader_shortstr(&r).size, 0);
    assert_int_equal(reader_longstr(&r).size, 0);
    assert_null(reader_take(&r, 0));
}

static void a_hostile_size_does_not_wrap(void **state) {
    (void)state;
    struct reader r = reader_over("\xff\xff\xff\xff!", 5);
    lago_bytes_t b = reader_longstr(&r);
    assert_true(r.failed);
    assert_null(b.data);
    assert_int_equal(b.size, 0);
    r = reader_over("abc", 3);
    assert_null(reader_take(&r, SIZE_MAX));
    assert_true(r.failed);
}

static void taking_exactly_the_rest_is_fine(void **state) {
    (void)state;
    struct reader r = reader_over("abc", 3);
    assert_non_null(reader_take(&r, 3));
    assert_non_null(reader_take(&r, 0));
    assert_false(r.failed);
    assert_null(reader_take(&r, 1));
    assert_true(r.failed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_in_network_order),
        cmocka_unit_test(high_bits_do_not_become_signs),
        cmocka_unit_test(strings_are_views),
        cmocka_unit_test(a_number_cut_short_is_zero_and_fails),
        cmocka_unit_test(after_a_failure_nothing_is_read),
        cmocka_unit_test(a_hostile_size_does_not_wrap),
        cmocka_unit_test(taking_exactly_the_rest_is_fine),
    };
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
