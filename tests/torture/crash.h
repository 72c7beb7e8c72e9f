/*
 * What a crash in this process says about whose fault it is. It is ours, wherever it happens: libuv's and OpenSSL's assertions are
 * about what they were told to do. Excused is only what stands in the table of crash.c.
 */
#ifndef TORTURE_CRASH_H
#define TORTURE_CRASH_H

#include <stdbool.h>

struct crash {
    bool excused;
    char words[400]; /* empty: there was none */
};

/* From here on a crash of this process is written there, in memory that others see, and ends it. */
void crash_watch(struct crash *crash);

#endif
