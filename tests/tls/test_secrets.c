/* What the filter encrypts is plaintext before: it stays nowhere, not on a stack either. */
#include "pair.h"
#include "scan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECRET_SIZE 40u
#define SLICE_SIZE  1000u
#define SLICES      60u /* three records and more, gathered from small pieces: less than the filter takes at once */

struct writing {
    struct tls_filter *filter;
    struct slice slices[SLICES];
    int64_t written;
};

static void write_all(void *data) {
    struct writing *w = data;
    w->written = tls_filter_write(w->filter, w->slices, SLICES);
}

static void plaintext_is_nowhere(void **state) {
    struct pair *p = *state;
    const size_t size = (size_t)SLICES * SLICE_SIZE;
    struct needle secret;
    char *text = malloc(size + 1);
    assert_non_null(text);
    pair_open(p);
    needle_random(&secret, "the plaintext", SECRET_SIZE);
    for (size_t i = 0; i < size; i += SECRET_SIZE) needle_copy(&secret, text + i, false);
    struct writing w = { .filter = p->filter };
    for (size_t i = 0; i < SLICES; i++) w.slices[i] = (struct slice){ (uint8_t *)text + i * SLICE_SIZE, SLICE_SIZE };
    scan_on_own_stack(write_all, &w);
    assert_int_equal(w.written, size);
    assert_true(scan_memory(&secret, 1, false) > 0);
    explicit_bzero(text, size);
    assert_int_equal(scan_memory(&secret, 1, true), 0);
    free(text);
    pair_run(p);
    assert_int_equal(p->server_heard.size, size);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plaintext_is_nowhere, pair_setup, pair_teardown),
    };
    return cmocka_run_group_tests(tests, pair_make_certs, pair_free_certs);
}
