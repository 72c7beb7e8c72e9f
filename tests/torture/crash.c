/* Crashes and their excuses. Must not know scenarios. */
#define _GNU_SOURCE
#include "crash.h"
#include "faults.h"

#include <execinfo.h>
#include <lago.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where they give up themselves when their own allocation fails, so that no caller can help it. */
static const struct excuse {
    enum source source;
    enum allocation how;
    int signal;
    const char *reason;
} excuses[] = {
    { SOURCE_UV, ALLOC_AGAIN, SIGABRT,
      "maybe_resize() of uv__io_start(), which returns nothing, calls abort() if its table of descriptors cannot grow (libuv "
      "1.44)" },
};

static struct crash *crash;
static bool asserted;

/*
 * Whether it crashed in the very call that has just been refused memory: but for the frame that gives up, and those below it, both
 * stacks are the same.
 */
static bool is_of_refusal(void *const *frames, int count) {
    const struct refusal *refusal = &faults.refusal;
    return count < FAULTS_FRAMES_MAX && refusal->count < FAULTS_FRAMES_MAX && refusal->count > count &&
           memcmp(refusal->frames + (refusal->count - count), frames, (size_t)count * sizeof *frames) == 0;
}

static const char *excuse_of(int number, void *const *callers, int count) {
    if (!is_of_refusal(callers, count)) return NULL;
    for (size_t i = 0; i < sizeof excuses / sizeof *excuses; i++)
        if (excuses[i].source == faults.refusal.source && excuses[i].how == faults.refusal.how && excuses[i].signal == number)
            return excuses[i].reason;
    return NULL;
}

/* The innermost frame that is not libc's has crashed. */
static void on_crash(int number) {
    void *frames[FAULTS_FRAMES_MAX];
    if (asserted) _exit(3);
    int count = backtrace(frames, FAULTS_FRAMES_MAX), i = 1;
    char **names = backtrace_symbols(frames, count);
    while (names && i < count && (strstr(names[i], "libc.so") || strstr(names[i], "on_crash"))) i++;
    if (!names || i == count) _exit(3);
    const char *excuse = excuse_of(number, frames + i + 1, count - i - 1);
    (void)snprintf(crash->words, sizeof crash->words, "signal %d in %s%s%s", number, names[i], excuse ? ": " : "",
                   excuse ? excuse : "");
    crash->excused = excuse != NULL;
    _exit(3);
}

/* In the place of libc's, for libuv and OpenSSL as well: who asserts does not crash for want of memory. */
LAGO_EXPORT _Noreturn void __assert_fail(const char *what, const char *file, unsigned line, const char *function);
LAGO_EXPORT _Noreturn void __assert_fail(const char *what, const char *file, unsigned line, const char *function) {
    asserted = true;
    if (crash) (void)snprintf(crash->words, sizeof crash->words, "%s:%u, %s: not %s", file, line, function, what);
    abort();
}

void crash_watch(struct crash *to) {
    const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
    crash = to;
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) (void)signal(fatal[i], on_crash);
}
