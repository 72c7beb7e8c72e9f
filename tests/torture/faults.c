/* The plan, and the allocators of libuv and OpenSSL. Must not know scenarios. */
#include "faults.h"
#include "shim.h"

#include <execinfo.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct faults faults;

static size_t calls[SHIM_CALLS_MAX];

const char *source_name(enum source source) {
    static const char *const names[SOURCES] = { "lago", "libuv", "OpenSSL" };
    return names[source];
}

/* The same rule as lago's allocator: one of one byte is asked for instead, and not kept. */
static bool fails(enum source source, enum allocation how) {
    struct fail_alloc *counter = &faults.others[source];
    if (faults.off || !counter->allocator.malloc) return false;
    void *probe = counter->allocator.malloc(1, counter);
    if (probe) counter->allocator.free(probe, counter);
    if (probe) return false;
    faults.refusal.source = source;
    faults.refusal.how = how;
    faults.refusal.count = backtrace(faults.refusal.frames, FAULTS_FRAMES_MAX);
    return true;
}

static void *uv_malloc_(size_t size) { return fails(SOURCE_UV, ALLOC_NEW) ? NULL : malloc(size); }
static void *uv_realloc_(void *old, size_t size) { return fails(SOURCE_UV, ALLOC_AGAIN) ? NULL : realloc(old, size); }
static void *uv_calloc_(size_t count, size_t size) { return fails(SOURCE_UV, ALLOC_NEW) ? NULL : calloc(count, size); }

static void *openssl_malloc(size_t size, const char *file, int line) {
    (void)file, (void)line;
    return fails(SOURCE_OPENSSL, ALLOC_NEW) ? NULL : malloc(size);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line) {
    (void)file, (void)line;
    return fails(SOURCE_OPENSSL, ALLOC_AGAIN) ? NULL : realloc(old, size);
}

static void openssl_free(void *old, const char *file, int line) {
    (void)file, (void)line;
    free(old);
}

void faults_install(void) {
    faults.off = true;
    faults.calls = calls;
    if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free)) abort();
    if (uv_replace_allocator(uv_malloc_, uv_realloc_, uv_calloc_, free) != 0) abort();
}

void faults_begin(const struct plan *plan) {
    faults.plan = *plan;
    faults.refusal.count = 0;
    faults.struck = false;
    faults.second = -1;
    faults.since = 0;
    faults.told = 0;
    memset(calls, 0, sizeof calls);
    fail_alloc_init(&faults.lago);
    for (enum source s = 0; s < SOURCES; s++) {
        fail_alloc_init(&faults.others[s]);
        fail_alloc_mode(s == SOURCE_LAGO ? &faults.lago : &faults.others[s], s == plan->source ? plan->alloc_at : 0, plan->mode);
    }
}

void faults_lift(void) {
    faults.plan.call = -1;
    faults.plan.then_at = 0;
    faults.lago.fail_at = 0;
    for (enum source s = 0; s < SOURCES; s++) faults.others[s].fail_at = 0;
}

bool faults_call(int call, unsigned errors, unsigned *error) {
    if (faults.off) return false;
    faults.calls[call]++;
    if (faults.struck && faults.plan.then_at && ++faults.since == faults.plan.then_at) {
        faults.second = call;
        *error = faults.plan.then_error % errors;
        return true;
    }
    if (faults.calls[call] != faults.plan.call_at || call != faults.plan.call || faults.plan.error >= errors) return false;
    *error = faults.plan.error;
    faults.struck = true;
    if (faults.plan.alloc_behind) fail_alloc_mode(&faults.lago, faults.plan.alloc_behind, FAIL_ONCE);
    return true;
}
