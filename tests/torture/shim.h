/*
 * The calls of libuv, of the system and of OpenSSL that adapters/ makes and that can fail: each goes through a function here, which
 * fails when the plan says so (the build renames the symbols in the adapters' objects, shim.py). What is not here stands in
 * allowed.txt with the reason why it cannot fail, or not so that it matters; a test compares both with the objects.
 */
#ifndef TORTURE_SHIM_H
#define TORTURE_SHIM_H

#define SHIM_CALLS_MAX 128

struct shim_call {
    const char *name;
    unsigned errors; /* in how many ways it fails */
};

extern const struct shim_call shim_calls[];
extern const int shim_call_count;

/* The last error that was made up is this one in words. */
const char *shim_error(int call, unsigned error);

#endif
