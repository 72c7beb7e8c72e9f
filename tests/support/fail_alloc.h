/* An allocator for tests: counts exactly what lives, fails when told, and fills memory so that stale reads show. */
#ifndef SUPPORT_FAIL_ALLOC_H
#define SUPPORT_FAIL_ALLOC_H

#include <lago/context.h>
#include <stdbool.h>
#include <stddef.h>

struct fail_alloc {
    lago_allocator_t allocator; /* `data` points back here, so the struct must not move */
    size_t live_bytes, live_count;
    size_t peak_bytes;      /* a realloc counts as the new size in place of the old */
    size_t peak_both_bytes; /* a realloc counts as old and new together, as when it moves */
    size_t calls;           /* of malloc and realloc, failed ones included */
    size_t fail_at;         /* fail this call, counted from 1; 0: none */
    bool fail_from_then_on; /* and all calls after it */
    bool fail_every_second; /* or every second one after it */
    size_t failures;        /* how many have failed since fail_alloc_at */
};

/* Memory that is gone once; for good; that comes and goes, so that what follows a failure finds some and lacks it again. */
enum fail_mode { FAIL_ONCE, FAIL_FROM_THEN_ON, FAIL_EVERY_SECOND, FAIL_MODES };

void fail_alloc_init(struct fail_alloc *fail);

/* Count from 1 again, and fail the `n`-th call from here. */
void fail_alloc_at(struct fail_alloc *fail, size_t n, bool from_then_on);
void fail_alloc_mode(struct fail_alloc *fail, size_t n, enum fail_mode mode); /* the same; `n` 0: none */
const char *fail_mode_name(enum fail_mode mode);

/* Nothing lives. For files that include cmocka. */
#define fail_alloc_check(fail)                                                                                                   \
    do {                                                                                                                         \
        assert_int_equal((fail)->live_count, 0);                                                                                 \
        assert_int_equal((fail)->live_bytes, 0);                                                                                 \
    } while (0)

#endif
