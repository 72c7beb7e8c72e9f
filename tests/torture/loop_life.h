/*
 * A whole life of the library on libuv, real sockets and OpenSSL, against net_broker: every way to a broker, in several fates. One
 * life at a time, judged by legal.h; descriptors, handles and memory are counted.
 */
#ifndef TORTURE_LOOP_LIFE_H
#define TORTURE_LOOP_LIFE_H

#include "faults.h"
#include <stdbool.h>
#include <stddef.h>

enum loop_way {
    LOOP_TCP,
    LOOP_NAME,
    LOOP_UNIX,
    LOOP_FD,
    LOOP_STREAM,
    LOOP_SOCKS,
    LOOP_HTTP,
    LOOP_TLS,
    LOOP_TLS_FILES,
    LOOP_WAYS
};
enum loop_fate { FATE_WELL, FATE_BULK, FATE_CUT, FATE_BUSY, LOOP_FATES };

struct loop_scenario {
    enum loop_way way;
    enum loop_fate fate;
};

const char *loop_name(struct loop_scenario scenario);
bool loop_makes_sense(struct loop_scenario scenario);

/* Whether the same came of two lives, as far as this fate is always the same. */
bool loop_same(struct loop_scenario scenario, const char *golden, const char *text);

/* Before the first life: certificates, files. */
void loop_prepare(void);
void loop_clean(void);

/*
 * Live it. @return NULL, or what was wrong (of this module until the next). *text: what the application did and heard, malloc'ed.
 * `golden`: the text of a life in which nothing failed, or NULL. Where another comes out somebody has to have been told why.
 */
const char *loop_live(struct loop_scenario scenario, const struct plan *plan, const char *golden, char **text);

#endif
