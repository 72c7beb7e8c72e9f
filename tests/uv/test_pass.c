/* The end of a turn: who is woken is called before the loop sleeps, everyone in each pass, nobody without end. */
#include "alloc.h"
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
    pass_open(pass, &loop);
    return 0;
}

static void on_closed(void *data) { *(bool *)data = true; }

static int teardown(void **state) {
    bool closed = false;
    (void)state;
    pass_close(pass, on_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(idle_turn_does_not_keep_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wake_keeps_the_loop_for_one_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(later_without_alive_does_not_keep_it, setup, teardown),
        cmocka_unit_test_setup_teardown(later_is_the_next_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(two_that_wake_each_other_let_the_loop_poll, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_woken_often_is_reached, setup, teardown),
    };
    return cmocka_run_group_tests_name("uv/pass", tests, NULL, NULL);
}
