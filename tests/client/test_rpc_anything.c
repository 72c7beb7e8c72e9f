/*
 * Calls whatever happens: one life with every way in which a call ends; in each of its callbacks, one after the other, every
 * action is taken; and with memory that runs out at each allocation. No call is told twice, none is left untold but by a free or
 * a forget, nothing nests, and no memory is left.
 */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum action {
    DO_NOTHING,
    DO_CLOSE_CHANNEL,
    DO_FREE_CHANNEL,
    DO_CLOSE,
    DO_ABORT,
    DO_FREE,
    DO_FREE_HANDLE,
    DO_FREE_BOTH_HANDLES,
    DO_CALL,
    DO_FORGET,
    DO_NEW_HANDLE,
    ACTIONS
};
enum finale { BY_LOSS, BY_CHANNEL_CLOSE, BY_CLOSE, FINALES };

#define CALLS_MAX 64

static struct client_test test;
static struct client_test *const t = &test;

static struct life {
    lago_channel_t *channels[2];
    lago_rpc_t *handles[2];
    struct called {
        bool accepted, excused; /* excused: its handle was freed, or it was forgotten */
        int told;
        unsigned handle;
        int64_t number;
    } calls[CALLS_MAX];
    size_t call_count;
    int callbacks, act_at; /* the action is taken in the n-th callback */
    bool in_callback, in_call;
    int data_freed[2], handles_made[2];
    enum action action;
} life;
static struct life *const l = &life;

static void excuse(unsigned handle) {
    for (size_t i = 0; i < l->call_count; i++)
        if (l->calls[i].handle == handle) l->calls[i].excused = true;
}

static void ended(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data);

static void call(unsigned handle, uint32_t timeout_ms) {
    if (!l->handles[handle] || l->call_count == CALLS_MAX) return;
    struct called *c = &l->calls[l->call_count++];
    *c = (struct called){ .handle = handle };
    lago_rpc_call_t args = { .routing_key = "rpc", .body = { "x", 1 }, .timeout_ms = timeout_ms };
    bool outer = l->in_call;
    l->in_call = true;
    c->number = lago_rpc_call(l->handles[handle], &args, ended, c);
    l->in_call = outer;
    c->accepted = c->number > 0;
}

static void data_freed(void *data) {
    int *count = data;
    (*count)++;
}

static void new_handle(unsigned handle) {
    lago_rpc_options_t options = { .data = &l->data_freed[handle],
                                   .free_data = data_freed,
                                   .reply_to = handle ? "answers" : NULL };
    if (!l->channels[handle] || l->handles[handle]) return;
    if (lago_rpc_new(l->channels[handle], &options, &l->handles[handle]) == 0) l->handles_made[handle]++;
}

static void free_handle(unsigned handle) {
    lago_rpc_t *rpc = l->handles[handle];
    l->handles[handle] = NULL;
    if (rpc) excuse(handle);
    lago_rpc_free(rpc);
}

static void free_channel(unsigned handle) {
    lago_channel_t *ch = l->channels[handle];
    l->channels[handle] = NULL;
    l->handles[handle] = NULL;
    if (ch) excuse(handle);
    lago_channel_free(ch);
}

static void free_connection(void) {
    lago_connection_t *conn = t->conn;
    t->conn = NULL;
    memset(l->channels, 0, sizeof(l->channels));
    memset(l->handles, 0, sizeof(l->handles));
    excuse(0);
    excuse(1);
    lago_connection_free(conn);
}

static void forget(void) {
    for (size_t i = 0; i < l->call_count; i++) {
        struct called *c = &l->calls[i];
        if (c->accepted && c->told == 0 && l->handles[c->handle] && lago_rpc_forget(l->handles[c->handle], c->number) == 0)
            c->excused = true;
    }
}

static void act(enum action action, unsigned handle) {
    switch (action) {
    case DO_NOTHING:
    case ACTIONS: return;
    case DO_CLOSE_CHANNEL: (void)lago_channel_close(l->channels[handle], NULL); return;
    case DO_FREE_CHANNEL: free_channel(handle); return;
    case DO_CLOSE: (void)lago_connection_close(t->conn, NULL); return;
    case DO_ABORT: (void)lago_connection_abort(t->conn); return;
    case DO_FREE: free_connection(); return;
    case DO_FREE_HANDLE: free_handle(handle); return;
    case DO_FREE_BOTH_HANDLES:
        free_handle(0);
        free_handle(1);
        return;
    case DO_CALL:
        call(0, 0);
        call(1, 0);
        return;
    case DO_FORGET: forget(); return;
    case DO_NEW_HANDLE:
        free_handle(handle);
        new_handle(handle);
        call(handle, 0);
        return;
    }
}

static void callback(unsigned handle) {
    assert_false(l->in_callback);
    assert_false(l->in_call);
    if (l->callbacks++ != l->act_at) return;
    l->in_callback = true;
    act(l->action, handle);
    l->in_callback = false;
}

static void ended(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data) {
    struct called *c = data;
    assert_true(c->accepted);
    assert_false(c->excused);
    assert_int_equal(c->told++, 0);
    assert_int_not_equal(result->reply != NULL, result->reason != NULL);
    assert_ptr_equal(rpc, l->handles[c->handle]);
    callback(c->handle);
}

static void channel_ended(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason;
    callback(*(unsigned *)data);
}

/* ---------------------------------------------------------------- the life */

static void say(const char *lines) {
    if (t->conn && !t->v.finished && t->v.link == VIRTUAL_CONNECTED) server_send(&t->v, lines);
}

static void finish(enum finale finale) {
    if (finale == BY_LOSS) {
        if (t->v.link == VIRTUAL_CONNECTED) virtual_lose(&t->v, -104);
        virtual_run(&t->v);
    } else if (finale == BY_CHANNEL_CLOSE) {
        say("1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
        say("2 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    } else if (t->conn) {
        (void)lago_connection_close(t->conn, NULL);
        virtual_run(&t->v);
        virtual_advance(&t->v, 100000);
    }
}

/* Replies, time limits, returns, a lost consumer, a handle that goes; what is left ends with the finale. */
static void live(enum finale finale) {
    static unsigned which[2] = { 0, 1 };
    for (unsigned i = 0; i < 2; i++) {
        lago_channel_options_t options = { .on_open = channel_ended, .on_close = channel_ended, .data = &which[i] };
        (void)lago_channel_open(t->conn, &options, &l->channels[i]);
        new_handle(i);
    }
    call(0, 0);
    call(0, 50);
    call(0, 0);
    call(1, 0);
    call(1, 0);
    virtual_run(&t->v);
    say("1 channel.open-ok\n2 channel.open-ok");
    say("1 basic.consume-ok consumer_tag=\"ctag1.1\"\n2 basic.consume-ok consumer_tag=\"ctag2.1\"");
    say("1 basic.deliver consumer_tag=\"ctag1.1\" delivery_tag=1\n1 header body_size=1 correlation_id=\"1\"\n1 body \"y\"\n"
        "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"rpc\"\n"
        "1 header body_size=1 correlation_id=\"3\"\n1 body \"x\"");
    virtual_advance(&t->v, 60);
    say("2 basic.cancel consumer_tag=\"ctag2.1\"");
    call(0, 0);
    call(0, 0);
    call(1, 0);
    virtual_run(&t->v);
    finish(finale);
}

static void begin(enum action action, int act_at) {
    memset(l, 0, sizeof(*l));
    l->action = action;
    l->act_at = act_at;
    client_open(t);
}

/* Everything goes; then the books are checked. */
static void end(void) {
    if (t->conn) excuse(0), excuse(1);
    client_end(t);
    for (size_t i = 0; i < l->call_count; i++) {
        struct called *c = &l->calls[i];
        assert_true(c->told <= 1);
        if (!c->accepted) assert_int_equal(c->told, 0);
    }
    for (unsigned i = 0; i < 2; i++) assert_int_equal(l->data_freed[i], l->handles_made[i]);
}

/* Before everything is freed: who was promised something has got it. A lost handle or ended channel owes nothing. */
static void check_told(void) {
    for (size_t i = 0; i < l->call_count; i++) {
        struct called *c = &l->calls[i];
        if (c->accepted && !c->excused) assert_int_equal(c->told, 1);
    }
}

static void any_action_in_any_callback(void **state) {
    (void)state;
    for (enum finale finale = 0; finale < FINALES; finale++) {
        for (enum action action = 0; action < ACTIONS; action++) {
            for (int at = 0; at < 20; at++) {
                begin(action, at);
                live(finale);
                bool over = !t->conn || lago_connection_state(t->conn) == LAGO_CONNECTION_CLOSED;
                if (over || (action == DO_NOTHING && finale != BY_CLOSE)) check_told();
                bool reached = l->callbacks > at;
                end();
                if (!reached) break;
            }
        }
    }
}

static void memory_runs_out(void **state) {
    (void)state;
    for (enum finale finale = 0; finale < FINALES; finale++) {
        for (int from_then_on = 0; from_then_on < 2; from_then_on++) {
            for (size_t n = 1;; n++) {
                assert_true(n < 1000);
                begin(DO_NOTHING, -1);
                fail_alloc_at(&t->v.alloc, n, from_then_on);
                live(finale);
                bool failed = t->v.alloc.calls >= n;
                fail_alloc_at(&t->v.alloc, 0, false);
                virtual_run(&t->v);
                if (finale != BY_CHANNEL_CLOSE) {
                    virtual_advance(&t->v, 100000);
                    check_told();
                }
                end();
                if (!failed) break;
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_action_in_any_callback), cmocka_unit_test(memory_runs_out) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
