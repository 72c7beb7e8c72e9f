/* One pass over those who have something to do, before the loop sleeps. Must not know what they do. */
#include "pass.h"
#include "alloc.h"
#include "deadline.h"

/* The timer that keeps the loop alive while nothing is due: a day, any long time will do. */
#define KEEPER_MS ((uint64_t)24 * 60 * 60 * 1000)

struct pass *pass_new(const lago_allocator_t *alloc) {
    struct pass *pass = mem_zero(alloc, 1, sizeof *pass);
    if (pass == NULL) return NULL;
    pass->alloc = *alloc;
    list_init(&pass->woken);
    list_init(&pass->later);
    return pass;
}

void pass_free(struct pass *pass) {
    lago_allocator_t alloc = pass->alloc;
    mem_free(&alloc, pass);
}

static void move_all(struct list *to, struct list *from) {
    for (struct list *node; (node = list_first(from)) != NULL;) {
        LIST_ENTRY(node, struct pass_member, node)->later = false;
        list_remove(node);
        list_append(to, node);
    }
}

static void work_through(struct list *round) {
    for (struct list *node; (node = list_first(round)) != NULL;) {
        struct pass_member *member = LIST_ENTRY(node, struct pass_member, node);
        list_remove(node);
        member->work(member);
    }
}

/*
 * Two rounds: callbacks of one connection often use another one that has had its round already, and what they write should
 * leave now. Not more, so that two that wake each other do not keep the loop from polling.
 */
static void on_prepare(uv_prepare_t *prepare) {
    struct pass *pass = prepare->data;
    struct list round;
    list_init(&round);
    pass->number++;
    uv_unref((uv_handle_t *)&pass->idle);
    move_all(&round, &pass->later);
    move_all(&round, &pass->woken);
    work_through(&round);
    move_all(&round, &pass->woken);
    work_through(&round);
    if (!list_empty(&pass->woken) || !list_empty(&pass->later)) return;
    uv_prepare_stop(&pass->prepare);
    uv_idle_stop(&pass->idle);
}

/* Only its being active matters: the loop polls without sleeping. */
static void on_idle(uv_idle_t *idle) { (void)idle; }

void pass_open(struct pass *pass, uv_loop_t *loop, struct timer_heap *deadlines) {
    pass->deadlines = deadlines;
    uv_prepare_init(loop, &pass->prepare);
    uv_idle_init(loop, &pass->idle);
    uv_timer_init(loop, &pass->timer);
    uv_timer_init(loop, &pass->reminder);
    pass->prepare.data = pass->idle.data = pass->timer.data = pass->reminder.data = pass;
    pass->handle_count = 4;
    uv_unref((uv_handle_t *)&pass->timer);
    uv_unref((uv_handle_t *)&pass->prepare);
    uv_unref((uv_handle_t *)&pass->idle);
    uv_unref((uv_handle_t *)&pass->reminder);
}

static void on_reminder(uv_timer_t *timer) {
    struct pass *pass = timer->data;
    pass->reminded(pass->reminded_data);
}

void pass_remind(struct pass *pass, uint64_t ms, void (*reminded)(void *data), void *data) {
    if (uv_is_active((uv_handle_t *)&pass->reminder)) return;
    pass->reminded = reminded;
    pass->reminded_data = data;
    uv_timer_start(&pass->reminder, on_reminder, ms, 0);
}

static void on_close(uv_handle_t *handle) {
    struct pass *pass = handle->data;
    if (--pass->handle_count > 0) return;
    void (*closed)(void *) = pass->closed;
    void *data = pass->closed_data;
    pass_free(pass);
    closed(data);
}

void pass_close(struct pass *pass, void (*closed)(void *data), void *data) {
    pass->closed = closed;
    pass->closed_data = data;
    uv_close((uv_handle_t *)&pass->prepare, on_close);
    uv_close((uv_handle_t *)&pass->idle, on_close);
    uv_close((uv_handle_t *)&pass->timer, on_close);
    uv_close((uv_handle_t *)&pass->reminder, on_close);
}

void pass_member_init(struct pass_member *member, void (*work)(struct pass_member *member)) {
    *member = (struct pass_member){ .work = work };
    list_init(&member->node);
}

static void schedule(struct pass *pass, struct pass_member *member, bool later) {
    list_remove(&member->node);
    list_append(later ? &pass->later : &pass->woken, &member->node);
    member->later = later;
    uv_prepare_start(&pass->prepare, on_prepare); /* these two do nothing when they run already, and cannot fail */
    uv_idle_start(&pass->idle, on_idle);
}

/* Who has its place in this pass keeps it: moved to the end each time it is woken it might never be reached. */
void pass_wake(struct pass *pass, struct pass_member *member) {
    uv_ref((uv_handle_t *)&pass->idle);
    if (list_empty(&member->node) || member->later) schedule(pass, member, false);
}

void pass_later(struct pass *pass, struct pass_member *member, bool alive) {
    if (alive) uv_ref((uv_handle_t *)&pass->idle);
    schedule(pass, member, true);
}

/* ---------------------------------------------------------------- deadlines */

static void on_timer(uv_timer_t *timer);

/*
 * Loop time and uv_hrtime are one clock, so the delay counts from the loop's cached time: a timer that is set late in a long turn
 * does not fire early. One that is armed for an earlier time is left to fire, and then it is armed anew.
 */
static void arm(struct pass *pass) {
    uint64_t now = uv_now(pass->timer.loop), first = timers_next(pass->deadlines);
    if (pass->held_count > 0) first = deadline_min(first, deadline_after(now, KEEPER_MS));
    if (first == DEADLINE_NEVER || (uv_is_active((uv_handle_t *)&pass->timer) && pass->armed <= first)) return;
    pass->armed = first;
    uv_timer_start(&pass->timer, on_timer, first > now ? first - now : 0,
                   0); /* fails only without a callback or on a closing handle */
}

/*
 * Only marks: members are called before the loop polls, so that between two calls there always is a look at the sockets. One that
 * finds itself late relies on that.
 */
static void on_timer(uv_timer_t *timer) {
    struct pass *pass = timer->data;
    for (struct timer_node *node; (node = timers_expired(pass->deadlines, uv_now(timer->loop))) != NULL;) {
        struct pass_member *member = LIST_ENTRY(node, struct pass_member, deadline);
        pass_later(pass, member, member->held);
    }
    arm(pass);
}

void pass_at(struct pass *pass, struct pass_member *member, uint64_t deadline) {
    bool put_off = timers_is_set(&member->deadline) && deadline >= member->deadline.deadline;
    if (put_off && deadline != DEADLINE_NEVER) return;
    (void)timers_set(pass->deadlines, &member->deadline, deadline); /* its place was reserved */
    arm(pass);
}

void pass_hold(struct pass *pass, struct pass_member *member, bool held) {
    if (held == member->held) return;
    member->held = held;
    if (held)
        pass->held_count++;
    else
        pass->held_count--;
    if (pass->held_count > 0)
        uv_ref((uv_handle_t *)&pass->timer);
    else
        uv_unref((uv_handle_t *)&pass->timer);
    arm(pass);
}

void pass_leave(struct pass *pass, struct pass_member *member) {
    pass_forget(member);
    timers_cancel(pass->deadlines, &member->deadline);
    pass_hold(pass, member, false);
}
