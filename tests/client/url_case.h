/* URLs for tests: one that must be read, and one that must be refused in certain words and never with its secret. */
#ifndef CLIENT_URL_CASE_H
#define CLIENT_URL_CASE_H

#include "fail_alloc.h"
#include "url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static inline lago_parameters_t *parsed(const char *url) {
    lago_parameters_t *parameters = NULL;
    lago_reason_t reason;
    int rc = lago_parameters_parse(url, &parameters, &reason);
    if (rc < 0) fail_msg("%s: %s", url, reason.detail);
    return parameters;
}

/* `detail` is the whole of it. `hint` is a part, NULL for any. */
static inline void assert_refused(const char *url, const char *detail, const char *hint) {
    lago_parameters_t *parameters = (lago_parameters_t *)1;
    lago_reason_t reason;
    char line[1024];
    int rc = lago_parameters_parse(url, &parameters, &reason);
    if (rc == 0) fail_msg("accepted: %s", url);
    assert_null(parameters);
    assert_int_equal(rc, LAGO_EURL);
    assert_int_equal(reason.code, LAGO_EURL);
    if (strcmp(reason.detail, detail) != 0) fail_msg("%s: '%s' instead of '%s'", url, reason.detail, detail);
    if (hint && !strstr(reason.hint, hint)) fail_msg("%s: hint '%s' without '%s'", url, reason.hint, hint);
    lago_reason_format(&reason, line, sizeof line);
    if (strstr(line, "hunter")) fail_msg("%s: the secret is in '%s'", url, line);
    assert_int_equal(lago_parameters_parse(url, &parameters, NULL), LAGO_EURL);
}

/* Each allocation fails in turn, until none does. */
static inline void fail_every_allocation(const char *url) {
    int rc = LAGO_ENOMEM;
    for (unsigned n = 1; rc == LAGO_ENOMEM; n++) {
        struct fail_alloc memory;
        struct parameters *p = NULL;
        lago_reason_t reason = { 0 };
        fail_alloc_init(&memory);
        memory.fail_at = n;
        rc = url_parse(&memory.allocator, url, &p, &reason);
        assert_int_equal(reason.code, rc);
        assert_true((p != NULL) == (rc == 0));
        parameters_free(p);
        fail_alloc_check(&memory);
    }
    assert_int_equal(rc, 0);
}

#endif
