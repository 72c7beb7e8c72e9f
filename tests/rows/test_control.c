/* What rows.py must tell apart: its page is control.md. LAGO_ROWS_TURN is the number of the run, from 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void passes(void **state) { (void)state; }

static void fails(void **state) {
    (void)state;
    fail_msg("as it should");
}

static void fails_the_second_time(void **state) {
    const char *turn = getenv("LAGO_ROWS_TURN");
    (void)state;
    if (turn && atoi(turn) == 2) fail_msg("as it should");
}

static void hangs_the_second_time(void **state) {
    const char *turn = getenv("LAGO_ROWS_TURN");
    (void)state;
    while (turn && atoi(turn) == 2) continue;
}

static void crashes_the_second_time(void **state) {
    const char *turn = getenv("LAGO_ROWS_TURN");
    (void)state;
    if (turn && atoi(turn) == 2) abort();
}

static void skips(void **state) {
    (void)state;
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes),
        cmocka_unit_test(fails),
        cmocka_unit_test(fails_the_second_time),
        cmocka_unit_test(hangs_the_second_time),
        cmocka_unit_test(crashes_the_second_time),
        cmocka_unit_test(skips),
    };
    return getenv("LAGO_ROWS_TURN") ? cmocka_run_group_tests(tests, NULL, NULL) : 0; /* only rows.py knows what to expect */
}
