/* The end of a turn: who is woken is called before the loop sleeps, everyone in each pass, nobody without end. One timer for all. */
#include "alloc.h"
#include "deadline.h"
#include "pass.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct worker {
    struct pass_member member;
    int calls;
    struct worker *wakes; /* wakes this one whenever it works */
    bool again;           /* wants the next pass as well */
};

static uv_loop_t loop;
static struct pass *pass;
static struct timer_heap deadlines;

static void work(struct pass_member *member) {
    struct worker *self = LIST_ENTRY(member, struct worker, member);
    self->calls++;
    if (self->wakes != NULL) pass_wake(pass, &self->wakes->member);
    if (self->again) pass_later(pass, &self->member, true);
}

static void init(struct worker *worker) {
    *worker = (struct worker){ .calls = 0 };
    pass_member_init(&worker->member, work);
}

static int setup(void **state) {
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    pass = pass_new(&mem_default);
    assert_non_null(pass);
    timers_init(&deadlines, &mem_default);
    pass_open(pass, &loop, &deadlines);
    return 0;
}

static void on_closed(void *data) { *(bool *)data = true; }

static int teardown(void **state) {
    bool closed = false;
    (void)state;
    pass_close(pass, on_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    timers_clear(&deadlines);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void idle_turn_does_not_keep_the_loop(void **state) {
    (void)state;
    assert_false(uv_loop_alive(&loop));
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
}

static void a_wake_keeps_the_loop_for_one_pass(void **state) {
    (void)state;
    struct worker worker;
    init(&worker);
    pass_wake(pass, &worker.member);
    pass_wake(pass, &worker.member);
    assert_true(uv_loop_alive(&loop));
    assert_int_equal(uv_backend_timeout(&loop), 0);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(worker.calls, 1);
}

static void later_without_alive_does_not_keep_it(void **state) {
    (void)state;
    struct worker worker;
    init(&worker);
    pass_later(pass, &worker.member, false);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(worker.calls, 0);
    pass_wake(pass, &worker.member); /* waking does */
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(worker.calls, 1);
}

static void later_is_the_next_pass(void **state) {
    (void)state;
    struct worker worker;
    init(&worker);
    worker.again = true;
    pass_wake(pass, &worker.member);
    for (int i = 1; i < 5; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(worker.calls, i);
    }
    pass_forget(&worker.member);
}

static void two_that_wake_each_other_let_the_loop_poll(void **state) {
    (void)state;
    struct worker a, b;
    init(&a);
    init(&b);
    a.wakes = &b;
    b.wakes = &a;
    pass_wake(pass, &a.member);
    for (int i = 0; i < 10; i++) uv_run(&loop, UV_RUN_NOWAIT);
    assert_in_range(a.calls, 9, 20);
    assert_in_range(b.calls, 9, 20);
    pass_forget(&a.member);
    pass_forget(&b.member);
}

static void who_is_woken_often_is_reached(void **state) {
    (void)state;
    struct worker workers[3], last;
    init(&last);
    for (int i = 0; i < 3; i++) {
        init(&workers[i]);
        workers[i].again = true;
        workers[i].wakes = &last;
        pass_wake(pass, &workers[i].member);
    }
    for (int i = 1; i < 10; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(last.calls, i);
    }
    for (int i = 0; i < 3; i++) pass_forget(&workers[i].member);
    pass_forget(&last.member);
}

/* ---------------------------------------------------------------- deadlines */

#define MANY 1000

static int timers_of_loop;

static void count_timers(uv_handle_t *handle, void *data) {
    (void)data;
    timers_of_loop += handle->type == UV_TIMER && uv_is_active(handle);
}

static void a_deadline_calls_its_member_alone(void **state) {
    (void)state;
    static struct worker workers[MANY];
    assert_int_equal(timers_reserve_for(&deadlines, MANY), 0);
    for (int i = 0; i < MANY; i++) {
        init(&workers[i]);
        pass_at(pass, &workers[i].member, uv_now(&loop) + (i == 500 ? 1 : 60000));
        pass_hold(pass, &workers[i].member, true);
    }
    uv_walk(&loop, count_timers, NULL);
    assert_int_equal(timers_of_loop, 1);
    while (workers[500].calls == 0) uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < MANY; i++) assert_int_equal(workers[i].calls, i == 500);
    for (int i = 0; i < MANY; i++) pass_leave(pass, &workers[i].member);
    assert_false(uv_loop_alive(&loop));
}

static void a_deadline_is_put_off_without_work_and_put_forward_at_once(void **state) {
    (void)state;
    struct worker worker;
    init(&worker);
    assert_int_equal(timers_reserve_for(&deadlines, 1), 0);
    uint64_t now = uv_now(&loop);
    pass_at(pass, &worker.member, now + 60000);
    pass_at(pass, &worker.member, now + 70000);
    assert_int_equal(timers_next(&deadlines), now + 60000); /* it is asked again then */
    pass_at(pass, &worker.member, now + 1);
    assert_int_equal(timers_next(&deadlines), now + 1);
    pass_at(pass, &worker.member, DEADLINE_NEVER);
    assert_int_equal(timers_next(&deadlines), DEADLINE_NEVER);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(worker.calls, 0);
}

static void who_holds_the_loop_needs_no_deadline(void **state) {
    (void)state;
    struct worker a, b;
    init(&a);
    init(&b);
    assert_int_equal(timers_reserve_for(&deadlines, 2), 0);
    assert_false(uv_loop_alive(&loop));
    pass_hold(pass, &a.member, true);
    pass_hold(pass, &b.member, true);
    pass_hold(pass, &b.member, false);
    assert_true(uv_loop_alive(&loop));
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_in_range(uv_backend_timeout(&loop), 60 * 60 * 1000, INT32_MAX); /* a long sleep */
    pass_at(pass, &b.member, uv_now(&loop) + 60000);
    pass_hold(pass, &a.member, false);
    assert_false(uv_loop_alive(&loop)); /* a deadline alone does not */
    pass_leave(pass, &b.member);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(idle_turn_does_not_keep_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wake_keeps_the_loop_for_one_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(later_without_alive_does_not_keep_it, setup, teardown),
        cmocka_unit_test_setup_teardown(later_is_the_next_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(two_that_wake_each_other_let_the_loop_poll, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_woken_often_is_reached, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_calls_its_member_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_is_put_off_without_work_and_put_forward_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(who_holds_the_loop_needs_no_deadline, setup, teardown),
    };
    return cmocka_run_group_tests_name("uv/pass", tests, NULL, NULL);
}
