/*
 * Manners on a loop that belongs to somebody else: it ends when nothing is owed, it can be closed, it may be one of several; and
 * any callback may do anything, the connection's own end included.
 */
#include "fixture.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---------------------------------------------------------------- when uv_run returns */

static void on_open_close(lago_connection_t *conn, void *data) {
    *(bool *)data = true;
    assert_int_equal(lago_connection_close(conn, NULL), 0);
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    (void)reason;
    *(bool *)data = true;
}

/* No context, no fixture: what a first program does. */
static void the_loop_closes_after_it_has_run(void **state) {
    (void)state;
    uv_loop_t loop;
    bool opened = false;
    lago_connection_t *conn;
    lago_connection_options_t options = { .on_open = on_open_close, .on_close = on_end, .data = &opened };
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lago_connect(&loop, getenv("AMQP_URL"), &options, &conn), 0);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_true(opened);
    assert_int_equal(uv_loop_close(&loop), 0);
    lago_connection_free(conn); /* legal even now */
}

static void two_loops_have_nothing_in_common(void **state) {
    (void)state;
    uv_loop_t loops[2];
    bool opened[2] = { false };
    lago_connection_t *conns[2];
    for (int i = 0; i < 2; i++) {
        lago_connection_options_t options = { .on_open = on_open_close, .data = &opened[i] };
        assert_int_equal(uv_loop_init(&loops[i]), 0);
        assert_int_equal(lago_connect(&loops[i], getenv("AMQP_URL"), &options, &conns[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(uv_run(&loops[i], UV_RUN_DEFAULT), 0);
        assert_true(opened[i]);
        lago_connection_free(conns[i]);
        assert_int_equal(uv_loop_close(&loops[i]), 0);
    }
}

static void an_unreferenced_connection_lets_the_loop_go(void **state) {
    struct fixture *f = *state;
    const char *queue = new_queue(f);
    lago_connection_unref(f->conn);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0); /* nothing is owed */
    publish_text(f, queue, "x");
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(lago_connection_output_size(f->conn), 0); /* but what is unsent leaves first */
    assert_int_equal(lago_queue_purge(f->ch, &(lago_queue_purge_t){ .queue = queue }, on_count, label("purge")), 0);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(f->event_count, 1); /* and so does an owed completion */
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    lago_basic_publish_t args = { .routing_key = queue };
    assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("p")), 1);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    expect_events(f, "purge ok", "p #1 confirmed");
    lago_connection_ref(f->conn);
    assert_true(uv_run(&f->loop, UV_RUN_NOWAIT) != 0);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    lago_connection_unref(f->conn);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_true(f->closed);
    forget_events(f);
}

static void several_connections_of_a_context(void **state) {
    enum { COUNT = 8 };
    struct fixture *f = *state;
    lago_connection_t *conns[COUNT];
    for (int i = 0; i < COUNT; i++) {
        connect_now(f);
        conns[i] = f->conn;
    }
    run_until(f, f->event_count == COUNT);
    forget_events(f);
    for (int i = 0; i < COUNT; i += 2) lago_connection_free(conns[i]);
    for (int i = 1; i < COUNT; i += 2) {
        f->conn = conns[i];
        f->ch = open_channel(f);
        sync_channel(f);
    }
    for (int i = 1; i < COUNT - 1; i += 2) lago_connection_free(conns[i]);
}

/* ---------------------------------------------------------------- ended at every moment of its life */

/* After so many turns of the loop it is looking up, connecting, greeting, opening, open. */
static void end_after_turns(struct fixture *f, int turns, void (*end)(lago_connection_t *)) {
    lago_channel_options_t options = channel_options();
    lago_channel_t *ch;
    connect_now(f);
    assert_int_equal(lago_channel_open(f->conn, &options, &ch), 0);
    assert_int_equal(lago_basic_qos(ch, NULL, on_done, label("qos")), 0);
    for (int i = 0; i < turns && !has_event(f, "qos ok"); i++) uv_run(&f->loop, UV_RUN_ONCE);
    end(f->conn);
}

static void end_by_close(lago_connection_t *conn) { (void)lago_connection_close(conn, NULL); }
static void end_by_abort(lago_connection_t *conn) { (void)lago_connection_abort(conn); }
static void end_by_free(lago_connection_t *conn) { lago_connection_free(conn); }

#define TURNS 16

static void ended_at_every_turn(void **state) {
    struct fixture *f = *state;
    static char localhost[] = "localhost"; /* needs a lookup */
    const char *hosts[] = { f->parameters->host, localhost };
    for (int i = 0; i < 2 * TURNS; i++) {
        f->parameters->host = hosts[i % 2];
        end_after_turns(f, i / 2, end_by_close);
        run_until(f, f->closed);
        lago_connection_free(f->conn);
        end_after_turns(f, i / 2, end_by_abort);
        run_until(f, f->closed);
        lago_connection_free(f->conn);
        forget_events(f);
        end_after_turns(f, i / 2, end_by_free);
        size_t told = f->event_count;
        while (uv_run(&f->loop, UV_RUN_NOWAIT)) {
        }
        assert_int_equal(f->event_count, told); /* nothing is called back any more */
        forget_events(f);
    }
    f->conn = NULL;
    f->parameters->host = hosts[0];
}

/* ---------------------------------------------------------------- free inside every callback */

/* The callback of that number frees the connection, or the channel. */
struct freer {
    struct fixture *f;
    lago_connection_t *conn;
    lago_channel_t *ch;
    int free_at, called, freed_data;
    bool free_channel, freed, inside;
};

static void enter(struct freer *freer) {
    assert_false(freer->inside); /* callbacks never nest */
    freer->inside = true;
    if (!freer->free_channel) assert_false(freer->freed);
    if (freer->called++ != freer->free_at) return;
    freer->freed = true;
    if (freer->free_channel)
        lago_channel_free(freer->ch);
    else
        lago_connection_free(freer->conn);
}

static void leave(struct freer *freer) { freer->inside = false; }

static void touch(struct freer *freer) {
    enter(freer);
    leave(freer);
}

static void free_on_conn(lago_connection_t *conn, void *data) {
    (void)conn;
    touch(data);
}

static void free_on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    (void)reason;
    touch(data);
}

static void free_on_channel(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    (void)reason;
    touch(data);
}

static void free_on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch;
    (void)reason;
    (void)ok;
    touch(data);
}

static void free_on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t count, void *data) {
    (void)ch;
    (void)reason;
    (void)count;
    touch(data);
}

static void free_on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch;
    (void)reason;
    (void)tag;
    touch(data);
}

static void free_on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    (void)result;
    touch(data);
}

static void free_on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    (void)ch;
    (void)returned;
    touch(data);
}

static void free_on_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn;
    (void)status;
    touch(data);
}

static void free_on_cancel(lago_channel_t *ch, lago_string_t tag, void *data) {
    (void)ch;
    (void)tag;
    touch(data);
}

/* The last thing that happens: a message; then its queue is deleted, an error closes the channel, and the connection is closed. */
static void free_on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct freer *freer = data;
    enter(freer);
    if (!freer->freed) {
        lago_basic_get(ch, &(lago_basic_get_t){ .auto_ack = true }, NULL, NULL); /* refused: no callback */
        (void)lago_basic_ack(ch, message->delivery_tag, 0);
        lago_queue_delete(ch, NULL, free_on_count, freer);
        lago_queue_purge(ch, &(lago_queue_purge_t){ .queue = "lago.missing" }, free_on_count, freer);
    }
    leave(freer);
}

static void free_on_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    struct freer *freer = data;
    (void)ch;
    (void)reason;
    enter(freer);
    if (!freer->freed) (void)lago_connection_close(freer->conn, NULL);
    leave(freer);
}

static void on_free_data(void *data) { ++*(int *)data; }

static void issue_everything(struct freer *freer) {
    struct fixture *f = freer->f;
    lago_connection_options_t options = { .parameters = f->parameters,
                                          .context = f->context,
                                          .on_open = free_on_conn,
                                          .on_open_error = free_on_end,
                                          .on_close = free_on_end,
                                          .data = freer };
    lago_channel_options_t channel = {
        .on_open = free_on_channel, .on_close = free_on_close, .on_return = free_on_return, .data = freer
    };
    lago_basic_consume_t consume = { .on_message = free_on_message, .on_cancel = free_on_cancel, .data = freer };
    lago_basic_publish_t lost = { .routing_key = "lago.nowhere", .mandatory = true };
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &freer->conn), 0);
    assert_int_equal(lago_channel_open(freer->conn, &channel, &freer->ch), 0);
    lago_connection_call_later(freer->conn, 0, free_on_timer, freer, NULL);
    lago_confirm_select(freer->ch, NULL, free_on_channel, freer);
    lago_queue_declare(freer->ch, NULL, free_on_declared, freer);
    lago_queue_bind(freer->ch, &(lago_queue_bind_t){ .exchange = "amq.fanout" }, free_on_channel, freer);
    lago_basic_consume(freer->ch, &consume, free_on_consumer, freer);
    lago_basic_publish(freer->ch, &lost, free_on_outcome, freer);
    lost = (lago_basic_publish_t){ .exchange = "amq.fanout" };
    lago_basic_publish(freer->ch, &lost, free_on_outcome, freer);
}

static int free_inside(struct fixture *f, int number, bool channel) {
    struct freer freer = { .f = f, .free_at = number, .free_channel = channel };
    issue_everything(&freer);
    if (channel) {
        run_until(f, freer.freed || lago_connection_state(freer.conn) == LAGO_CONNECTION_CLOSED);
        lago_connection_free(freer.conn);
        while (uv_run(&f->loop, UV_RUN_NOWAIT)) {
        }
        return freer.called;
    }
    while (uv_run(&f->loop, UV_RUN_ONCE)) {
    }
    if (!freer.freed) lago_connection_free(freer.conn);
    return freer.called;
}

static void freed_inside_every_callback(void **state) {
    struct fixture *f = *state;
    int last = free_inside(f, -1, false); /* how many there are */
    assert_in_range(last, 14, 20);
    for (int i = 0; i < last; i++) assert_int_equal(free_inside(f, i, false), i + 1);
}

static void a_channel_freed_inside_every_callback(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < 16; i++) free_inside(f, i, true);
}

static void free_data_comes_once(void **state) {
    struct fixture *f = *state;
    int freed = 0;
    lago_connection_options_t options = connection_options(f);
    options.free_data = on_free_data;
    options.data = &freed;
    options.on_open = NULL;
    options.on_open_error = options.on_close = NULL;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    lago_connection_free(f->conn);
    assert_int_equal(freed, 1);
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    assert_int_equal(lago_connection_abort(f->conn), 0);
    run_until(f, freed == 2);
    lago_connection_free(f->conn);
    f->conn = NULL;
    assert_int_equal(freed, 2);
}

/* ---------------------------------------------------------------- signals */

/* The loop writes before it looks at its sockets: so it writes to a link that was reset, and again until it has noticed. */
static void publish_until_the_end(void) {
    void *state;
    setup_channel(&state);
    struct fixture *f = state;
    static char body[65536];
    lago_basic_publish_t args = { .routing_key = "lago.nowhere", .body = { body, sizeof body } };
    broker_kill_connections_unseen(f);
    assert_false(f->closed);
    while (!f->closed) {
        while (lago_basic_publish(f->ch, &args, NULL, NULL) == 0) {
        }
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    _exit(f->reason.code == LAGO_ELOST ? 0 : 3);
}

static void writing_to_a_dead_link_raises_no_signal(void **state) {
    (void)state;
    need_control();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGPIPE, SIG_DFL);
        publish_until_the_end();
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFSIGNALED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loop_closes_after_it_has_run),
        cmocka_unit_test(two_loops_have_nothing_in_common),
        cmocka_unit_test_setup_teardown(an_unreferenced_connection_lets_the_loop_go, setup_channel, teardown),
        cmocka_unit_test_setup_teardown(several_connections_of_a_context, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(ended_at_every_turn, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(freed_inside_every_callback, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_channel_freed_inside_every_callback, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(free_data_comes_once, setup_loop, teardown),
        cmocka_unit_test(writing_to_a_dead_link_raises_no_signal),
    };
    return run_broker_tests(tests);
}
