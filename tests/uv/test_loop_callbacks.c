/*
 * What only a real loop can do, in every kind of callback that there is: stop the loop, post a function, open another
 * connection. A loop that was stopped runs on as if nothing had been, what was posted runs once, and nothing that is owed is lost.
 * (Everything else that a callback may do is tried in tests/client/test_reentrancy.c.)
 */
#include "fail_alloc.h"
#include "loop_broker.h"
#include <lago.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 10000

enum place {
    ON_PHASE,
    ON_CHALLENGE,
    ON_LOGIN,
    ON_OPEN,
    ON_OPEN_ERROR,
    ON_CLOSE,
    ON_BLOCKED,
    ON_UNBLOCKED,
    ON_DRAIN,
    ON_CHANNEL_OPEN,
    ON_CHANNEL_CLOSE,
    ON_RETURN,
    ON_FLOW,
    ON_MESSAGE,
    ON_BODY,
    ON_CANCEL,
    ON_DONE,
    ON_DECLARED,
    ON_COUNT,
    ON_FLOW_OK,
    ON_CONSUMING,
    ON_CANCELLED,
    ON_GOT,
    ON_CONNECTION_DONE,
    ON_PUBLISHED,
    ON_PREPARED,
    ON_SETTLED,
    ON_READY,
    ON_TIMER,
    ON_POST,
    ON_REPLY,
    ON_RELEASE,
    ON_FREE_RPC,
    ON_FREE_PUBLISHER,
    ON_FREE_CONSUMER,
    ON_FREE_CHANNEL,
    ON_FREE_CONNECTION,
    PLACES
};

enum action { DO_NOTHING, DO_STOP, DO_POST, DO_OPEN_CONNECTION, ACTIONS };

enum finale { BY_CLOSE, BY_LOSS, BY_REFUSAL, FINALES };

static struct life {
    uv_loop_t loop;
    uv_timer_t patience;
    uv_prepare_t watch;
    struct loop_broker broker;
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn, *other;
    lago_channel_t *ch;
    lago_rpc_t *rpc;
    lago_publisher_t *publisher, *runs; /* with on_outcome, with on_settled */
    lago_poster_t *poster;
    enum place place;
    enum action action;
    int nth, fired[PLACES];
    bool acted;
    int stopped;                        /* how often uv_run came back because a callback had stopped it */
    int posts_accepted, posts_run;      /* those of the action */
    int connections, connections_ended; /* likewise */
    bool (*goal)(void);
} life;

static struct life *const l = &life;

/* ---------------------------------------------------------------- actions */

static void on_other_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    assert_int_equal(reason->code, LAGO_ECONNECT);
    l->connections_ended++;
}

static void on_own_post(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)data;
    assert_true(status == 0 || status == LAGO_ECANCELED);
    l->posts_run++;
}

static void act(void) {
    lago_connection_options_t refused = { .on_open_error = on_other_end, .context = l->nth % 2 ? l->context : NULL };
    int rc;
    switch (l->action) {
    case DO_STOP: uv_stop(&l->loop); break;
    case DO_POST:
        rc = lago_post(l->poster, on_own_post, NULL);
        assert_true(rc == 0 || rc == LAGO_ECLOSED);
        l->posts_accepted += rc == 0;
        break;
    case DO_OPEN_CONNECTION:
        assert_int_equal(lago_connect(&l->loop, "amqp://127.0.0.1:1", &refused, &l->other), 0);
        l->connections++;
        break;
    case DO_NOTHING:
    case ACTIONS: break;
    }
}

static void came(enum place place) {
    l->fired[place]++;
    if (place != l->place || l->fired[place] != l->nth) return;
    l->acted = true;
    act();
}

/* ---------------------------------------------------------------- callbacks */

static void counted(void *data) { came((enum place)(uintptr_t)data); }
static void *as(enum place place) { return (void *)(uintptr_t)place; }

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    counted(data);
    assert_int_equal(lago_login_respond(conn, challenge->ticket, (lago_bytes_t){ "me", 2 }), 0);
}
static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    lago_login_t login = { .password = "secret" };
    counted(data);
    assert_int_equal(lago_login_provide(conn, request->ticket, &login), 0);
}
static void on_phase(lago_connection_t *conn, lago_phase_t phase, uint32_t attempt, void *data) {
    (void)conn, (void)phase, (void)attempt, (void)data;
    came(ON_PHASE);
}
static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    came(ON_OPEN);
}
static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    came(ON_OPEN_ERROR);
}
static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    came(ON_CLOSE);
}
static void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    (void)conn, (void)reason, (void)data;
    came(ON_BLOCKED);
}
static void on_unblocked(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    came(ON_UNBLOCKED);
}
static void on_drain(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    came(ON_DRAIN);
}
static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason, (void)data;
    came(ON_CHANNEL_OPEN);
}
static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason, (void)data;
    came(ON_CHANNEL_CLOSE);
}
static void on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    (void)ch, (void)returned, (void)data;
    came(ON_RETURN);
}
static void on_flow(lago_channel_t *ch, bool active, void *data) {
    (void)ch, (void)active, (void)data;
    came(ON_FLOW);
}
static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)ch, (void)data;
    came(ON_MESSAGE);
    assert_string_equal(message->body.data, "x"); /* borrowed until here */
}
static void on_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    (void)ch, (void)data;
    came(ON_BODY);
    assert_string_equal(body->message->consumer_tag.data, "i"); /* borrowed until here */
}
static void on_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)consumer_tag, (void)data;
    came(ON_CANCEL);
}
static void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason;
    counted(data);
}
static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch, (void)reason, (void)ok;
    counted(data);
}
static void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    (void)ch, (void)reason, (void)message_count;
    counted(data);
}
static void on_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    (void)ch, (void)reason, (void)active;
    counted(data);
}
static void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)reason, (void)consumer_tag;
    counted(data);
}
static void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    (void)ch, (void)reason, (void)message;
    counted(data);
}
static void on_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason;
    counted(data);
}
static void on_published(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch, (void)result;
    counted(data);
}
static void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)status;
    counted(data);
}
static void on_post(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)status;
    counted(data);
}

static void on_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data) {
    (void)rpc, (void)result;
    counted(data);
}

static void on_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data) {
    (void)publisher, (void)settled, (void)data;
    came(ON_SETTLED);
}
static void on_ready(lago_publisher_t *publisher, void *data) {
    (void)publisher, (void)data;
    came(ON_READY);
}

/* ---------------------------------------------------------------- running */

static void on_patience(uv_timer_t *timer) {
    (void)timer;
    fail_msg("place %d, action %d: something was lost", l->place, l->action);
}

static void on_watch(uv_prepare_t *watch) {
    if (l->goal()) uv_stop(watch->loop);
}

/* Run until the goal, as often as somebody stops the loop before. */
static void run_to(bool (*goal)(void)) {
    l->goal = goal;
    uv_timer_start(&l->patience, on_patience, PATIENCE_MS, 0);
    while (!goal()) {
        uv_run(&l->loop, UV_RUN_DEFAULT);
        if (!goal()) {
            l->stopped++;
            assert_true(uv_loop_alive(&l->loop));
            assert_true(l->action == DO_STOP && l->acted && l->stopped == 1);
        }
    }
    uv_timer_stop(&l->patience);
}

static bool is_answered(void) {
    return l->fired[ON_CHANNEL_OPEN] >= 2 && l->fired[ON_PUBLISHED] >= 1 && l->fired[ON_DONE] >= 1 && l->fired[ON_GOT] >= 1 &&
           l->fired[ON_CONNECTION_DONE] >= 1 && l->fired[ON_CANCELLED] >= 1 && l->fired[ON_TIMER] >= 1 &&
           l->fired[ON_POST] >= 1 && l->fired[ON_MESSAGE] >= 2 && l->fired[ON_BODY] >= 4 && l->fired[ON_CONSUMING] >= 3 &&
           l->fired[ON_DECLARED] >= 1 && l->fired[ON_COUNT] >= 1 && l->fired[ON_FLOW_OK] >= 1 && l->fired[ON_RELEASE] >= 1 &&
           l->fired[ON_REPLY] >= 1 && l->fired[ON_PREPARED] >= 1 && l->fired[ON_SETTLED] >= 1 && l->fired[ON_READY] >= 1;
}
static bool is_stimulated(void) {
    return l->fired[ON_UNBLOCKED] >= 1 && l->fired[ON_FLOW] >= 2 && l->fired[ON_RETURN] >= 1 && l->fired[ON_DRAIN] >= 1 &&
           l->fired[ON_CANCEL] >= 1;
}
static bool has_ended(void) { return l->fired[ON_CLOSE] + l->fired[ON_OPEN_ERROR] == 1; }

/* ---------------------------------------------------------------- the life */

static void begin(enum finale finale) {
    static lago_mechanism_t demo = { .name = "DEMO", .on_challenge = on_challenge };
    lago_parameters_t parameters = { .host = "127.0.0.1",
                                     .high_water = 16000,
                                     .low_water = 4000,
                                     .credentials = { .on_login = on_login, .login_data = as(ON_LOGIN) } };
    lago_connection_options_t options = { .parameters = &parameters,
                                          .on_phase = on_phase,
                                          .on_open = on_open,
                                          .on_open_error = on_open_error,
                                          .on_close = on_close,
                                          .on_blocked = on_blocked,
                                          .on_unblocked = on_unblocked,
                                          .on_drain = on_drain,
                                          .data = as(ON_FREE_CONNECTION),
                                          .free_data = counted };
    lago_context_options_t context = {
        .allocator = l->alloc.allocator, .log = loop_broker_log, .log_data = &l->broker, .log_level = LAGO_LOG_TRACE
    };
    demo.data = as(ON_CHALLENGE);
    if (finale != BY_CLOSE) parameters.credentials = (lago_credentials_t){ .own_mechanisms = &demo, .own_mechanism_count = 1 };
    parameters.port = finale == BY_REFUSAL ? 1 : (uint16_t)strtoul(strrchr(l->broker.url, ':') + 1, NULL, 10);
    assert_int_equal(lago_context_new(&l->loop, &context, &l->context), 0);
    options.context = l->context;
    assert_int_equal(lago_connect(&l->loop, NULL, &options, &l->conn), 0);
    assert_int_equal(lago_connection_poster(l->conn, &l->poster), 0);
}

static lago_channel_t *open_channel(void) {
    lago_channel_options_t options = { .on_open = on_channel_open,
                                       .on_close = on_channel_close,
                                       .on_return = on_return,
                                       .on_flow = on_flow,
                                       .data = as(ON_FREE_CHANNEL),
                                       .free_data = counted };
    lago_channel_t *ch;
    assert_int_equal(lago_channel_open(l->conn, &options, &ch), 0);
    return ch;
}

static void consume(const char *tag) {
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = tag,
                                  .on_message = on_message,
                                  .on_cancel = on_cancel,
                                  .data = as(ON_FREE_CONSUMER),
                                  .free_data = counted };
    assert_int_equal(lago_basic_consume(l->ch, &args, on_consumer, as(ON_CONSUMING)), 0);
}

static void consume_bodies(void) {
    lago_basic_consume_t args = {
        .queue = "q", .consumer_tag = "i", .on_body = on_body, .data = as(ON_FREE_CONSUMER), .free_data = counted
    };
    assert_int_equal(lago_basic_consume(l->ch, &args, on_consumer, as(ON_CONSUMING)), 0);
}

static void publish(void) {
    lago_basic_publish_t args = {
        .routing_key = "q", .mandatory = true, .body = { "lent", 4 }, .release_body = counted, .release_data = as(ON_RELEASE)
    };
    assert_true(lago_basic_publish(l->ch, &args, on_published, as(ON_PUBLISHED)) > 0);
}

static void make_publishers(void) {
    lago_publisher_options_t outcome = {
        .routing_key = "q", .on_outcome = on_published, .data = as(ON_FREE_PUBLISHER), .free_data = counted
    };
    lago_publisher_options_t settled = { .routing_key = "q",
                                         .window_count = 1,
                                         .on_settled = on_settled,
                                         .on_ready = on_ready,
                                         .data = as(ON_FREE_PUBLISHER),
                                         .free_data = counted };
    assert_int_equal(lago_publisher_new(l->ch, &outcome, &l->publisher), 0);
    assert_int_equal(lago_publisher_new(l->ch, &settled, &l->runs), 0);
}

static void publish_prepared(void) {
    lago_bytes_t body = { "x", 1 };
    if (!l->publisher) make_publishers();
    assert_true(lago_publisher_publish(l->publisher, body, as(ON_PREPARED)) > 0);
    assert_true(lago_publisher_publish(l->runs, body, NULL) > 0);
    assert_int_equal(lago_publisher_publish(l->runs, body, NULL), LAGO_EAGAIN);
}

static void issue(const char *cancelled) {
    lago_channel_flow_t go = { .active = true };
    assert_int_equal(lago_confirm_select(l->ch, NULL, on_done, as(ON_DONE)), 0);
    assert_int_equal(lago_queue_declare(l->ch, &(lago_queue_declare_t){ .queue = "q" }, on_declared, as(ON_DECLARED)), 0);
    assert_int_equal(lago_queue_purge(l->ch, NULL, on_count, as(ON_COUNT)), 0);
    assert_int_equal(lago_channel_flow(l->ch, &go, on_flow_ok, as(ON_FLOW_OK)), 0);
    consume(cancelled);
    lago_basic_cancel_t cancel = { .consumer_tag = cancelled };
    assert_int_equal(lago_basic_cancel(l->ch, &cancel, on_consumer, as(ON_CANCELLED)), 0);
    assert_int_equal(lago_basic_get(l->ch, NULL, on_got, as(ON_GOT)), 0);
    assert_int_equal(lago_update_secret(l->conn, "s", NULL, on_connection_done, as(ON_CONNECTION_DONE)), 0);
    publish();
    publish_prepared();
    assert_true(lago_rpc_call(l->rpc, &(lago_rpc_call_t){ .routing_key = "q" }, on_reply, as(ON_REPLY)) > 0);
    assert_int_equal(lago_connection_call_later(l->conn, 3, on_timer, as(ON_TIMER), NULL), 0);
    assert_int_equal(lago_post(l->poster, on_post, as(ON_POST)), 0);
}

static void stimulate(void) {
    static char body[3000];
    lago_basic_publish_t args = { .routing_key = "q", .body = { body, sizeof body } };
    loop_broker_say(&l->broker, 1,
                    "0 connection.blocked reason=\"memory\"\n0 connection.unblocked\n1 channel.flow\n1 channel.flow active=1\n"
                    "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"q\"\n1 header body_size=4\n"
                    "1 body \"lent\"\n1 basic.cancel consumer_tag=\"c\" no_wait=1");
    while (lago_basic_publish(l->ch, &args, NULL, NULL) > 0) {
    }
}

static void finish(enum finale finale) {
    if (finale != BY_REFUSAL) {
        l->broker.mute = finale == BY_LOSS;
        issue("e");
    }
    if (finale == BY_CLOSE) assert_int_equal(lago_connection_close(l->conn, NULL), 0);
    if (finale == BY_LOSS) loop_broker_hang_up(&l->broker);
    run_to(has_ended);
    lago_connection_free(l->conn);
    lago_connection_free(l->other);
    lago_poster_unref(l->poster);
    lago_context_free(l->context);
    loop_broker_stop(&l->broker);
    uv_close((uv_handle_t *)&l->patience, NULL);
    uv_close((uv_handle_t *)&l->watch, NULL);
    while (uv_run(&l->loop, UV_RUN_DEFAULT)) { /* a free_data may have stopped it */
    }
    assert_int_equal(uv_loop_close(&l->loop), 0);
}

/* What a life without an action has called back: every other one must call back the same. */
static int usual[FINALES][PLACES];

static void run(enum place place, int nth, enum action action, enum finale finale) {
    memset(l, 0, sizeof *l);
    l->place = place;
    l->nth = nth;
    l->action = action;
    fail_alloc_init(&l->alloc);
    assert_int_equal(uv_loop_init(&l->loop), 0);
    uv_timer_init(&l->loop, &l->patience);
    uv_prepare_init(&l->loop, &l->watch);
    uv_prepare_start(&l->watch, on_watch);
    uv_unref((uv_handle_t *)&l->watch);
    loop_broker_start(&l->broker, &l->loop);
    l->broker.script.challenges = finale != BY_CLOSE; /* in this one on_login is asked */
    l->broker.script.deliver = 2;
    begin(finale);
    if (finale != BY_REFUSAL) {
        l->ch = open_channel();
        lago_rpc_options_t rpc = { .data = as(ON_FREE_RPC), .free_data = counted };
        assert_int_equal(lago_rpc_new(open_channel(), &rpc, &l->rpc), 0);
        consume("c");
        consume_bodies();
        issue("d");
        run_to(is_answered);
        stimulate();
        run_to(is_stimulated);
    }
    finish(finale);
    assert_int_equal(l->posts_run, l->posts_accepted);
    assert_in_range(l->connections_ended, 0, l->connections); /* none if the loop's end was the last thing: it was freed */
    fail_alloc_check(&l->alloc);
    if (action == DO_NOTHING) memcpy(usual[finale], l->fired, sizeof l->fired);
    for (int i = 0; i < PLACES; i++)
        if (l->fired[i] != usual[finale][i])
            fail_msg("place %d (%d), action %d, finale %d: callback %d came %d times, not %d", place, nth, action, finale, i,
                     l->fired[i], usual[finale][i]);
}

/* ---------------------------------------------------------------- tests */

static void every_place_is_reached(void **state) {
    int reached[PLACES] = { 0 };
    (void)state;
    for (int finale = 0; finale < FINALES; finale++) {
        run(PLACES, 1, DO_NOTHING, (enum finale)finale);
        for (int place = 0; place < PLACES; place++) reached[place] += l->fired[place];
    }
    for (int place = 0; place < PLACES; place++)
        if (!reached[place]) fail_msg("place %d is never reached", place);
}

static unsigned stopped; /* how many lives went on in another uv_run */

static unsigned in_every_place(enum action action) {
    unsigned acted = 0;
    stopped = 0;
    for (int finale = 0; finale < FINALES; finale++)
        for (int place = 0; place < PLACES; place++)
            for (int nth = 1; nth <= usual[finale][place] && nth <= 3; nth++) {
                run((enum place)place, nth, action, (enum finale)finale);
                assert_true(l->acted);
                acted++;
                stopped += (unsigned)l->stopped;
            }
    return acted;
}

static void the_loop_is_stopped_and_runs_on(void **state) {
    (void)state;
    unsigned acted = in_every_place(DO_STOP);
    assert_in_range(stopped, acted / 2, acted); /* in the others that turn of the loop was the last one anyway */
    assert_in_range(acted, PLACES, 1000);
}

static void a_post_of_ones_own_runs_once(void **state) {
    (void)state;
    assert_in_range(in_every_place(DO_POST), PLACES, 1000);
}

static void another_connection_lives_beside_it(void **state) {
    (void)state;
    assert_in_range(in_every_place(DO_OPEN_CONNECTION), PLACES, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_is_reached),
        cmocka_unit_test(the_loop_is_stopped_and_runs_on),
        cmocka_unit_test(a_post_of_ones_own_runs_once),
        cmocka_unit_test(another_connection_lives_beside_it),
    };
    return cmocka_run_group_tests_name("uv/loop_callbacks", tests, NULL, NULL);
}
