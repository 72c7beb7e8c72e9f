/*
 * AFL++: a target in persistent mode, inputs in shared memory. Only afl-clang-fast compiles this. Which milestones were reached is
 * of no interest here.
 */
#include "fuzz.h"
#include <unistd.h>

__AFL_FUZZ_INIT();

#define RUNS_PER_PROCESS 100000 /* then a new one: whatever leaks would show as memory that grows */

int main(void) {
    __AFL_INIT();
    const uint8_t *input = __AFL_FUZZ_TESTCASE_BUF;
    while (__AFL_LOOP(RUNS_PER_PROCESS)) (void)LLVMFuzzerTestOneInput(input, (size_t)__AFL_FUZZ_TESTCASE_LEN);
    return 0;
}
