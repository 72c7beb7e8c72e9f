/*
 * Loaded before a test program of cmocka, it lets one test run: the one that LAGO_ROWS_TEST names, in the program LAGO_ROWS_PROGRAM
 * only, not in what starts it. The program need not know; what it starts is left alone.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char wanted[256];

__attribute__((constructor)) static void filter(void) {
    const char *program = getenv("LAGO_ROWS_PROGRAM"), *name = getenv("LAGO_ROWS_TEST");
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (!program || !name || strlen(name) >= sizeof wanted || size < 0) return;
    self[size] = '\0';
    if (strcmp(self, program) != 0) return;
    cmocka_set_test_filter(strcpy(wanted, name)); /* which keeps the pointer */
    unsetenv("LD_PRELOAD");
    unsetenv("LAGO_ROWS_TEST");
    unsetenv("LAGO_ROWS_PROGRAM");
}
