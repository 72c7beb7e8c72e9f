/* Parameters for tests: ones that are copied, and ones that are refused with a certain word in front. */
#ifndef CLIENT_PARAMETERS_CASE_H
#define CLIENT_PARAMETERS_CASE_H

#include "alloc.h"
#include "fail_alloc.h"
#include "parameters.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static inline struct parameters *copied(const lago_parameters_t *from) {
    struct parameters *p = NULL;
    lago_reason_t reason;
    int rc = parameters_copy(&mem_default, from, &p, &reason);
    if (rc < 0) fail_msg("%s", reason.detail);
    return p;
}

/* `detail` is how it begins. */
static inline void assert_refused(const lago_parameters_t *from, int code, const char *detail) {
    struct parameters *p = (struct parameters *)1;
    lago_reason_t reason;
    assert_int_equal(parameters_copy(&mem_default, from, &p, &reason), code);
    assert_null(p);
    assert_int_equal(reason.code, code);
    assert_int_equal(reason.phase, LAGO_PHASE_NONE);
    assert_int_equal(reason.origin, LAGO_BY_CLIENT);
    if (strncmp(reason.detail, detail, strlen(detail)) != 0) fail_msg("'%s' instead of '%s'", reason.detail, detail);
    assert_int_equal(parameters_copy(&mem_default, from, &p, NULL), code);
}

/* Each allocation fails in turn, until none does: after how many. */
static inline unsigned fail_every_allocation(const lago_parameters_t *from) {
    int rc = LAGO_ENOMEM;
    unsigned n = 0;
    while (rc == LAGO_ENOMEM) {
        struct fail_alloc memory;
        struct parameters *p = NULL;
        lago_reason_t reason = { 0 };
        fail_alloc_init(&memory);
        memory.fail_at = ++n;
        rc = parameters_copy(&memory.allocator, from, &p, &reason);
        assert_int_equal(reason.code, rc);
        parameters_free(p);
        fail_alloc_check(&memory);
    }
    assert_int_equal(rc, 0);
    return n - 1;
}

#endif
