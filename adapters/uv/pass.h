/*
 * The end of each turn of the loop: whoever has something to do is called before the loop sleeps again, so that everything
 * produced in one turn leaves in one write. A uv_prepare calls; a uv_idle makes sure that the loop does not sleep first, hosts
 * that run it with UV_RUN_ONCE or embed its descriptor included. And the deadlines of all of them by one timer, which keeps the
 * loop alive for those who want that. Knows nothing of connections.
 */
#ifndef LAGO_UV_PASS_H
#define LAGO_UV_PASS_H

#include "list.h"
#include "timers.h"
#include <lago/context.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pass_member {
    struct list node; /* in one of the lists of the pass, or in none */
    bool later;       /* it waits for the next pass */
    bool held;        /* it keeps the loop alive */
    uint64_t pass;    /* for the member: the number of the pass in which it did its work */
    struct timer_node deadline;
    void (*work)(struct pass_member *member);
};

/* An object of its own on the heap: it closes by itself, while its context may start another one. */
struct pass {
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t timer;
    uint64_t armed;               /* when the timer fires */
    struct timer_heap *deadlines; /* of the members, which have reserved their places */
    size_t held_count;
    uv_timer_t reminder;
    void (*reminded)(void *data);
    void *reminded_data;
    struct list woken;      /* handled in this pass if there is one */
    struct list later;      /* handled in the next one */
    uint64_t number;        /* counts */
    lago_allocator_t alloc; /* a copy: it outlives the context */
    unsigned handle_count;
    void (*closed)(void *data);
    void *closed_data;
};

/* Memory only; undone by pass_free as long as pass_open was not called. NULL without memory. */
struct pass *pass_new(const lago_allocator_t *alloc);
void pass_free(struct pass *pass);
void pass_open(struct pass *pass, uv_loop_t *loop, struct timer_heap *deadlines);

/* Close and free; `closed` is called from the last close callback. There must be no members left in the lists. */
void pass_close(struct pass *pass, void (*closed)(void *data), void *data);

void pass_member_init(struct pass_member *member, void (*work)(struct pass_member *member));

/* Call the member in this pass or, outside of one, in the next; the loop is kept alive until then. */
void pass_wake(struct pass *pass, struct pass_member *member);

/* Call it in the next pass, with a poll of the loop in between. `alive`: keep the loop alive until then. */
void pass_later(struct pass *pass, struct pass_member *member, bool alive);

/* Call back once after a while, unless that is awaited already. The loop is not kept alive for it. */
void pass_remind(struct pass *pass, uint64_t ms, void (*reminded)(void *data), void *data);

/*
 * Call it later at this time of the loop's clock, or earlier: a deadline that is put off leaves the one that was set, and the member
 * will say again what it wants. DEADLINE_NEVER: not at all.
 */
void pass_at(struct pass *pass, struct pass_member *member, uint64_t deadline);

/* Whether it keeps the loop alive. */
void pass_hold(struct pass *pass, struct pass_member *member, bool held);

/* Nothing to do now; or any more. */
static inline void pass_forget(struct pass_member *member) { list_remove(&member->node); }
void pass_leave(struct pass *pass, struct pass_member *member);

#endif
