/* A build without TLS says so, and what is asked of a filter that never is does no harm. */
#include "tls_filter.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void says_that_there_is_no_tls(void **state) {
    static lago_tls_options_t options;
    struct tls_context *context = (void *)&options;
    struct tls_filter *filter = (void *)&options;
    lago_reason_t reason;
    (void)state;
    assert_int_equal(tls_context_new(NULL, &options, &context, &reason), LAGO_ENOTLS);
    assert_null(context);
    assert_int_equal(reason.code, LAGO_ENOTLS);
    assert_int_equal(reason.origin, LAGO_BY_CLIENT);
    assert_non_null(strstr(reason.detail, "without TLS"));
    assert_non_null(strstr(reason.hint, "-Dtls=enabled"));
    assert_int_equal(tls_context_refresh(NULL, &reason), LAGO_ENOTLS);
    assert_int_equal(tls_filter_new(NULL, "broker", &filter, &reason), LAGO_ENOTLS);
    assert_null(filter);
}

static void a_filter_that_is_none_takes_nothing(void **state) {
    struct slice slice = { (const uint8_t *)"x", 1 };
    uint8_t buffer[1];
    (void)state;
    tls_context_unref(tls_context_ref(NULL));
    tls_filter_input(NULL, buffer, 1);
    tls_filter_close(NULL);
    tls_filter_written(NULL, 0);
    tls_filter_free(NULL);
    assert_true(tls_filter_is_starved(NULL));
    assert_false(tls_filter_has_room(NULL));
    assert_int_equal(tls_filter_handshake(NULL), TLS_FAILED);
    assert_int_equal(tls_filter_read(NULL, buffer, 1), TLS_FAILED);
    assert_int_equal(tls_filter_write(NULL, &slice, 1), TLS_FAILED);
    assert_int_equal(tls_filter_output(NULL, &slice, 1), 0);
    assert_int_equal(tls_filter_output_size(NULL), 0);
    assert_null(tls_filter_reason(NULL));
    assert_false(tls_filter_is_resumed(NULL));
    assert_string_equal(tls_filter_version(NULL), "");
    assert_string_equal(tls_filter_cipher(NULL), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_that_there_is_no_tls),
        cmocka_unit_test(a_filter_that_is_none_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
