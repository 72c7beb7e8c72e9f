/*
 * What fails, and when: allocations of lago, of libuv and of OpenSSL, and calls that the adapters make (shim.h). One plan for the
 * process; what the test itself and its broker do is never made to fail.
 */
#ifndef TORTURE_FAULTS_H
#define TORTURE_FAULTS_H

#include "fail_alloc.h"
#include <stdbool.h>
#include <stddef.h>

enum source { SOURCE_LAGO, SOURCE_UV, SOURCE_OPENSSL, SOURCES };

struct plan {
    enum source source;
    size_t alloc_at; /* of that source, from 1; 0: none */
    enum fail_mode mode;
    int call;            /* index of a call in the shim's table, or -1 */
    size_t call_at;      /* from 1 */
    unsigned error;      /* which of its errors */
    size_t alloc_behind; /* lago's so-many-th allocation behind that failure fails as well; 0: none */
    size_t then_at;      /* the so-many-th call of the table behind that failure, whichever it is, fails as well; 0: none */
    unsigned then_error; /* which of its errors, counted around */
};

enum allocation { ALLOC_NEW, ALLOC_AGAIN /* realloc */ };

#define FAULTS_FRAMES_MAX 64

/* The last allocation of libuv or OpenSSL that has failed, and who had asked for it. */
struct refusal {
    enum source source;
    enum allocation how;
    int count; /* of frames; 0: none has failed */
    void *frames[FAULTS_FRAMES_MAX];
};

struct faults {
    struct plan plan;
    struct refusal refusal;
    struct fail_alloc lago;
    struct fail_alloc others[SOURCES]; /* libuv's and OpenSSL's: only counted and failed */
    bool off;                          /* the test's own turn */
    size_t *calls;                     /* by the shim's table */
    bool struck;                       /* the call has failed */
    int second;                        /* the second call that has failed, or -1 */
    size_t since;                      /* so many calls were made since */
    int told;                          /* by this error */
};

extern struct faults faults;

/* Once per process, before libuv or OpenSSL has allocated anything. */
void faults_install(void);

void faults_begin(const struct plan *plan);
void faults_lift(void);

/* Whether this is the call that fails; *error: an index below `errors`. */
bool faults_call(int call, unsigned errors, unsigned *error);

const char *source_name(enum source source);

#endif
