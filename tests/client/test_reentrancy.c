/*
 * Anything in any callback: one life of a connection with all that there is, in which every kind of callback comes at least
 * twice; in each of them, one after the other, every action is taken. Whatever happens then, nothing nests, each completion
 * that is owed comes exactly once (or is dropped by a free), what was lent comes back, and no memory is left.
 */
#include "broker.h"
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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
    ON_PREPARED, /* an outcome of a publisher's message */
    ON_SETTLED,
    ON_READY,
    ON_TIMER,
    ON_REPLY,
    ON_RELEASE,
    ON_FREE_RPC,
    ON_FREE_PUBLISHER,
    ON_FREE_CONSUMER,
    ON_FREE_CHANNEL,
    ON_FREE_CONNECTION,
    PLACES
};

enum action {
    DO_NOTHING,
    DO_CLOSE,
    DO_ABORT,
    DO_FREE,
    DO_CLOSE_CHANNEL,
    DO_FREE_CHANNEL,
    DO_CLOSE_OTHER,
    DO_FREE_OTHER,
    DO_CANCEL,
    DO_PAUSE, /* each consumer; and resume one of them */
    DO_PUBLISH,
    DO_ACK,
    DO_DECLARE,
    DO_ISSUE, /* one operation of each kind */
    DO_TIMER,
    DO_UNREF,
    DO_CALL,
    DO_FORGET_CALL,
    DO_FREE_RPC,
    DO_NEW_RPC,
    DO_PREPARE, /* a publisher if there is none, and publish by it */
    DO_FREE_PUBLISHERS,
    DO_FREE_CHANNELS,
    DO_CLOSE_AND_FREE,
    DO_OPEN_CHANNEL,
    DO_OPEN_CONNECTION,
    ACTIONS
};

enum finale { BY_LOSS, BY_CHANNEL_CLOSE, BY_CLOSE, BY_REFUSAL, FINALES };

/* A completion, or what was lent: how often it came. `channel` 0 is the connection's. */
struct promise {
    enum place place;
    unsigned channel;
    bool accepted;
    bool even_if_freed; /* release_body, free_data */
    bool of_rpc;        /* goes with its handle */
    bool of_publisher;  /* the same */
    bool forgotten;
    int calls;
};

static struct life {
    struct virtual v, other_v;
    struct broker broker;
    lago_connection_t *conn, *other_conn;
    lago_channel_t *channels[4]; /* 1 and 2, and 3 from inside a callback */
    lago_rpc_t *rpc, *other_rpc; /* of channel 2; of channel 1, from inside a callback */
    bool freed_rpc;
    lago_publisher_t *publisher, *runs; /* of channel 1: with on_outcome, with on_settled */
    bool freed_publishers;
    uint64_t in_runs, settled;
    unsigned begun, ended; /* bodies in pieces, of channel 1 */
    bool consuming_bodies;
    int64_t last_call;
    struct promise *last_reply;
    bool freed[4]; /* of these; 0: the connection */
    int opened[4], closed[4], told_open[4];
    struct promise promises[256];
    size_t promise_count;
    enum place place;
    enum action action;
    int nth, fired[PLACES];
    int in_callback, in_call;
    int replies; /* to calls that were answered */
    bool acted, ending;
    const char *row;
} life;

static struct life *const l = &life;

#define CALL(expression) (l->in_call++, called(expression))
static int called(int64_t rc) {
    l->in_call--;
    return (int)(rc > 0 ? 0 : rc);
}

static struct promise *promise(enum place place, unsigned channel) {
    assert_true(l->promise_count < sizeof(l->promises) / sizeof(l->promises[0]));
    struct promise *p = &l->promises[l->promise_count++];
    *p = (struct promise){ .place = place, .channel = channel };
    return p;
}

/* ---------------------------------------------------------------- actions */

static void publish(unsigned n);
static void declare(unsigned n);
static void timer(void);
static void open_channel(unsigned n);
static void issue(const char *tag, const char *cancelled);
static void call(void);
static lago_rpc_t *new_rpc(unsigned n);
static void prepare(void);

static void free_channel(unsigned n) {
    lago_channel_t *ch = l->channels[n];
    if (!ch) return;
    l->channels[n] = NULL;
    l->freed[n] = true;
    if (n == 2) l->rpc = NULL;
    if (n == 1) {
        l->other_rpc = NULL;
        l->publisher = l->runs = NULL;
    }
    l->in_call++;
    lago_channel_free(ch);
    l->in_call--;
}

static void free_connection(void) {
    lago_connection_t *conn = l->conn;
    l->conn = NULL;
    memset(l->channels, 0, sizeof(l->channels));
    l->rpc = l->other_rpc = NULL;
    l->publisher = l->runs = NULL;
    l->freed[0] = true;
    l->in_call++;
    lago_connection_free(conn);
    l->in_call--;
}

static void free_rpc(void) {
    lago_rpc_t *rpc = l->rpc;
    if (!rpc) return;
    l->rpc = NULL;
    l->freed_rpc = true;
    l->in_call++;
    lago_rpc_free(rpc);
    l->in_call--;
}

static void free_publishers(void) {
    lago_publisher_t *publisher = l->publisher, *runs = l->runs;
    if (!publisher && !runs) return;
    l->publisher = l->runs = NULL;
    l->freed_publishers = true;
    l->in_call++;
    lago_publisher_free(publisher);
    lago_publisher_free(runs);
    l->in_call--;
}

static void open_connection(void) {
    virtual_init(&l->other_v);
    assert_int_equal(virtual_connect(&l->other_v, NULL, NULL), 0);
    l->other_conn = l->other_v.conn;
}

static void act(void) {
    lago_channel_t *ch = l->channels[1];
    switch (l->action) {
    case DO_NOTHING: break;
    case DO_CLOSE: (void)CALL(lago_connection_close(l->conn, NULL)); break;
    case DO_ABORT: (void)CALL(lago_connection_abort(l->conn)); break;
    case DO_FREE: free_connection(); break;
    case DO_CLOSE_CHANNEL: (void)CALL(lago_channel_close(ch, NULL)); break;
    case DO_FREE_CHANNEL: free_channel(1); break;
    case DO_CLOSE_OTHER: (void)CALL(lago_channel_close(l->channels[2], NULL)); break;
    case DO_FREE_OTHER: free_channel(2); break;
    case DO_CANCEL: (void)CALL(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "c" }, NULL, NULL)); break;
    case DO_PAUSE:
        (void)CALL(lago_consumer_pause(ch, "c"));
        (void)CALL(lago_consumer_resume(ch, "c"));
        (void)CALL(lago_consumer_pause(ch, "i"));
        timer(); /* it resumes */
        break;
    case DO_PUBLISH: publish(1); break;
    case DO_ACK:
        (void)CALL(lago_basic_ack(ch, 1, 0));
        (void)CALL(lago_basic_nack(ch, 0, LAGO_MULTIPLE));
        break;
    case DO_DECLARE: declare(1); break;
    case DO_ISSUE: issue("g", "h"); break;
    case DO_TIMER: timer(); break;
    case DO_UNREF: lago_connection_unref(l->conn); break;
    case DO_CALL: call(); break;
    case DO_FORGET_CALL:
        if (CALL(lago_rpc_forget(l->rpc, l->last_call)) == 0) l->last_reply->forgotten = true;
        break;
    case DO_FREE_RPC: free_rpc(); break;
    case DO_NEW_RPC:
        if (!l->other_rpc) l->other_rpc = new_rpc(1);
        break;
    case DO_PREPARE: prepare(); break;
    case DO_FREE_PUBLISHERS: free_publishers(); break;
    case DO_FREE_CHANNELS:
        free_channel(1);
        free_channel(2);
        break;
    case DO_CLOSE_AND_FREE:
        (void)CALL(lago_connection_close(l->conn, NULL));
        free_connection();
        break;
    case DO_OPEN_CHANNEL: open_channel(3); break;
    case DO_OPEN_CONNECTION: open_connection(); break;
    case ACTIONS: break;
    }
}

/* Every callback passes here. */
static void came(enum place place) {
    bool giving_back = place >= ON_RELEASE;
    if (!giving_back && (l->in_callback || l->in_call)) fail_msg("%s: place %d nests", l->row, place);
    if (l->freed[0] && !giving_back) fail_msg("%s: place %d after free", l->row, place);
    l->fired[place]++;
    if (place != l->place || l->fired[place] != l->nth || l->in_call || l->ending || !l->conn) return;
    l->in_callback++;
    l->acted = true;
    act();
    l->in_callback--;
}

static void kept(void *data) {
    struct promise *p = data;
    p->calls++;
    if (p->channel && l->freed[p->channel] && !p->even_if_freed) fail_msg("%s: place %d after channel free", l->row, p->place);
    came(p->place);
}

/* ---------------------------------------------------------------- callbacks */

static void on_phase(lago_connection_t *conn, lago_phase_t phase, uint32_t attempt, void *data) {
    (void)conn, (void)phase, (void)attempt, (void)data;
    came(ON_PHASE);
}
static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    (void)data;
    came(ON_CHALLENGE);
    assert_int_equal(challenge->asked.size, challenge->round ? 4 : 0);
    if (challenge->round) assert_memory_equal(challenge->asked.data, "who?", 4); /* borrowed until here */
    if (l->conn) (void)CALL(lago_login_respond(conn, challenge->ticket, (lago_bytes_t){ "me", 2 }));
}
/* The first answer expires soon: there is a second question, when the connection is open. */
static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    lago_login_t login = { .password = "secret", .expires_in_s = request->refresh ? 0 : 1 };
    uint64_t ticket = request->ticket;
    (void)data;
    came(ON_LOGIN);
    if (l->conn) (void)CALL(lago_login_provide(conn, ticket, &login));
}
static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    l->opened[0]++;
    came(ON_OPEN);
}
static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    l->told_open[0]++;
    came(ON_OPEN_ERROR);
}
static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    l->closed[0]++;
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
    (void)ch;
    unsigned n = ((struct promise *)data)->channel;
    if (l->freed[n]) fail_msg("%s: channel on_open after free", l->row);
    l->told_open[n]++;
    l->opened[n] += reason == NULL;
    came(ON_CHANNEL_OPEN);
}
static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    unsigned n = ((struct promise *)data)->channel;
    assert_non_null(reason);
    if (l->freed[n]) fail_msg("%s: channel on_close after free", l->row);
    l->closed[n]++;
    came(ON_CHANNEL_CLOSE);
}
static void on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    (void)ch, (void)data;
    assert_string_equal(returned->message->routing_key.data, "q");
    came(ON_RETURN);
    assert_string_equal(returned->message->routing_key.data, "q"); /* borrowed until here */
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
    if (body->begins) l->begun++;
    if (body->ends) l->ended++;
    assert_in_range(l->begun - l->ended, 0, 1);
    came(ON_BODY);
    assert_string_equal(body->message->consumer_tag.data, "i"); /* borrowed until here */
    if (body->piece.size) assert_memory_equal(body->piece.data, "x", 1);
}
static void on_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)data;
    came(ON_CANCEL);
    assert_string_equal(consumer_tag.data, "c");
}
static void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason;
    kept(data);
}
static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch;
    assert_true((reason == NULL) != (ok == NULL));
    kept(data);
    if (ok) assert_string_equal(ok->queue.data, "q");
}
static void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    (void)ch, (void)reason, (void)message_count;
    kept(data);
}
static void on_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    (void)ch, (void)reason, (void)active;
    kept(data);
}
static void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    (void)ch, (void)reason;
    kept(data);
    assert_int_equal(consumer_tag.size, 1);
    assert_true(consumer_tag.data[0] >= 'c' && consumer_tag.data[0] <= 'i');
    if (consumer_tag.data[0] == 'i') l->consuming_bodies = reason == NULL;
}
static void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    (void)ch, (void)reason;
    kept(data);
    if (message) assert_string_equal(message->body.data, "x");
}
static void on_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason;
    kept(data);
}
static void on_published(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    assert_true(result->sequence_number > 0);
    kept(data);
}
static void on_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data) {
    (void)data;
    assert_true(settled->first > 0 && settled->first <= settled->last);
    l->settled += settled->last - settled->first + 1;
    if (l->runs) assert_ptr_equal(publisher, l->runs);
    came(ON_SETTLED);
}
static void on_ready(lago_publisher_t *publisher, void *data) {
    (void)data;
    if (l->publisher) assert_ptr_equal(publisher, l->publisher);
    came(ON_READY);
}
static void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn, (void)status;
    kept(data);
    if (l->channels[1]) (void)CALL(lago_consumer_resume(l->channels[1], "i"));
}

static void on_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data) {
    struct promise *p = data;
    (void)rpc;
    assert_true((result->reply == NULL) != (result->reason == NULL));
    if (l->freed_rpc) fail_msg("%s: a reply after rpc free", l->row);
    if (p->forgotten) fail_msg("%s: a reply that was forgotten", l->row);
    l->replies += result->reply != NULL;
    kept(data);
    if (result->reply) assert_string_equal(result->reply->body.data, "x"); /* borrowed until here */
}

/* ---------------------------------------------------------------- the life */

static struct promise *lend(enum place place, unsigned n) {
    struct promise *p = promise(place, n);
    p->even_if_freed = true;
    return p;
}

static void open_channel(unsigned n) {
    lago_channel_t *ch = NULL;
    struct promise *data = lend(ON_FREE_CHANNEL, n);
    lago_channel_options_t options = { .on_open = on_channel_open,
                                       .on_close = on_channel_close,
                                       .on_return = on_return,
                                       .on_flow = on_flow,
                                       .data = data,
                                       .free_data = kept };
    data->accepted = CALL(lago_channel_open(l->conn, &options, &ch)) == 0;
    l->channels[n] = ch;
}

static void publish(unsigned n) {
    struct promise *outcome = promise(ON_PUBLISHED, n), *body = lend(ON_RELEASE, n);
    lago_basic_publish_t args = {
        .routing_key = "q", .mandatory = true, .body = { "lent", 4 }, .release_body = kept, .release_data = body
    };
    int rc = CALL(lago_basic_publish(l->channels[n], &args, on_published, outcome));
    outcome->accepted = body->accepted = rc == 0;
}

static void declare(unsigned n) {
    struct promise *p = promise(ON_DECLARED, n);
    p->accepted = CALL(lago_queue_declare(l->channels[n], &(lago_queue_declare_t){ .queue = "q" }, on_declared, p)) == 0;
}

static lago_rpc_t *new_rpc(unsigned n) {
    lago_rpc_t *rpc = NULL;
    struct promise *data = lend(ON_FREE_RPC, n);
    lago_rpc_options_t options = { .data = data, .free_data = kept };
    data->accepted = CALL(lago_rpc_new(l->channels[n], &options, &rpc)) == 0;
    return rpc;
}

static void call(void) {
    struct promise *p = promise(ON_REPLY, 2), *body = lend(ON_RELEASE, 2);
    lago_rpc_call_t args = {
        .routing_key = "q", .body = { "lent", 4 }, .release_body = kept, .release_data = body, .timeout_ms = 8
    };
    l->in_call++;
    int64_t rc = lago_rpc_call(l->rpc, &args, on_reply, p);
    l->in_call--;
    p->of_rpc = true;
    p->accepted = body->accepted = rc > 0;
    if (rc <= 0) return;
    l->last_call = rc;
    l->last_reply = p;
}

static lago_publisher_t *new_publisher(bool in_runs) {
    lago_publisher_t *publisher = NULL;
    struct promise *data = lend(ON_FREE_PUBLISHER, 1);
    lago_publisher_options_t options = { .routing_key = "q", .window_count = 2, .data = data, .free_data = kept };
    if (in_runs)
        options.on_settled = on_settled;
    else
        options.on_outcome = on_published;
    if (!in_runs) options.on_ready = on_ready;
    data->accepted = CALL(lago_publisher_new(l->channels[1], &options, &publisher)) == 0;
    return publisher;
}

/* The third one finds the window full. */
static void prepare(void) {
    if (!l->publisher) l->publisher = new_publisher(false);
    if (!l->runs) l->runs = new_publisher(true);
    l->in_call++;
    for (int i = 0; i < 3; i++) {
        struct promise *p = promise(ON_PREPARED, 1);
        p->of_publisher = true;
        p->accepted = lago_publisher_publish(l->publisher, (lago_bytes_t){ "x", 1 }, p) > 0;
        l->in_runs += lago_publisher_publish(l->runs, (lago_bytes_t){ "x", 1 }, NULL) > 0;
    }
    l->in_call--;
}

static void timer(void) {
    struct promise *p = promise(ON_TIMER, 0);
    p->accepted = CALL(lago_connection_call_later(l->conn, 5, on_timer, p, NULL)) == 0;
}

static void consume(const char *tag) {
    struct promise *p = promise(ON_CONSUMING, 1), *data = lend(ON_FREE_CONSUMER, 1);
    lago_basic_consume_t args = {
        .queue = "q", .consumer_tag = tag, .on_message = on_message, .on_cancel = on_cancel, .data = data, .free_data = kept
    };
    p->accepted = data->accepted = CALL(lago_basic_consume(l->channels[1], &args, on_consumer, p)) == 0;
}

static void consume_bodies(void) {
    struct promise *p = promise(ON_CONSUMING, 1), *data = lend(ON_FREE_CONSUMER, 1);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "i", .on_body = on_body, .data = data, .free_data = kept };
    p->accepted = data->accepted = CALL(lago_basic_consume(l->channels[1], &args, on_consumer, p)) == 0;
}

/* The broker begins a message for it, and never ends it. */
static void leave_a_body_unfinished(void) {
    struct broker *b = &l->broker;
    char lines[200];
    (void)snprintf(lines, sizeof(lines),
                   "1 basic.deliver consumer_tag=\"i\" delivery_tag=%llu\n1 header body_size=2\n1 body \"x\"",
                   b->channels[1].delivered + 1);
    if (l->consuming_bodies) broker_say(b, 1, lines);
}

static void cancel(const char *tag) {
    struct promise *p = promise(ON_CANCELLED, 1);
    p->accepted = CALL(lago_basic_cancel(l->channels[1], &(lago_basic_cancel_t){ .consumer_tag = tag }, on_consumer, p)) == 0;
}

/* One operation of each kind on channel 1. */
static void issue(const char *tag, const char *cancelled) {
    lago_channel_t *ch = l->channels[1];
    struct promise *p;
    if (!ch) return;
    p = promise(ON_DONE, 1);
    p->accepted = CALL(lago_confirm_select(ch, NULL, on_done, p)) == 0;
    declare(1);
    p = promise(ON_COUNT, 1);
    p->accepted = CALL(lago_queue_purge(ch, NULL, on_count, p)) == 0;
    p = promise(ON_FLOW_OK, 1);
    p->accepted = CALL(lago_channel_flow(ch, &(lago_channel_flow_t){ .active = true }, on_flow_ok, p)) == 0;
    consume(tag);
    consume(cancelled);
    cancel(cancelled);
    p = promise(ON_GOT, 1);
    p->accepted = CALL(lago_basic_get(ch, NULL, on_got, p)) == 0;
    p = promise(ON_CONNECTION_DONE, 0);
    p->accepted = CALL(lago_update_secret(l->conn, "s", NULL, on_connection_done, p)) == 0;
    publish(1);
    prepare();
    if (l->conn) call();
    timer();
}

static void fill(void) {
    static char body[3000];
    lago_basic_publish_t args = { .routing_key = "q", .body = { body, sizeof(body) } };
    int rc = 0;
    if (!l->channels[1]) return;
    virtual_take(&l->v, 0);
    for (unsigned i = 0; i < 20 && rc == 0; i++) rc = CALL(lago_basic_publish(l->channels[1], &args, NULL, NULL));
    virtual_take(&l->v, SIZE_MAX);
    broker_run(&l->broker);
}

static void stimulate(void) {
    struct broker *b = &l->broker;
    for (unsigned twice = 0; twice < 2; twice++) {
        broker_say(b, 1, "0 connection.blocked reason=\"memory\"");
        if (l->channels[1]) publish(1);
        broker_say(b, 1, "0 connection.unblocked");
        broker_say(b, 1, "1 channel.flow\n1 channel.flow active=1");
        broker_say(b, 1,
                   "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"q\"\n1 header body_size=4\n"
                   "1 body \"lent\"");
        fill();
        b->silent = true; /* this call ends by its time limit, and its body comes back */
        if (l->conn) call();
        virtual_advance(&l->v, 10);
        b->silent = false;
        broker_run(b);
    }
    broker_say(b, 1, l->fired[ON_CONSUMING] ? "1 basic.cancel consumer_tag=\"c\" no_wait=1" : "0 heartbeat");
}

static void finish(enum finale finale) {
    struct broker *b = &l->broker;
    if (finale == BY_CHANNEL_CLOSE) broker_say(b, 1, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    if (finale == BY_CLOSE && l->conn) (void)CALL(lago_connection_close(l->conn, NULL));
    broker_run(b);
    if (finale != BY_CLOSE && l->v.link == VIRTUAL_CONNECTED) virtual_lose(&l->v, END_OF_FILE);
    virtual_run(&l->v);
    if (l->v.conn) virtual_advance(&l->v, 20000);
    broker_run(b);
}

static void live(enum finale finale) {
    static const lago_mechanism_t demo = { .name = "DEMO", .on_challenge = on_challenge };
    lago_parameters_t parameters = { .high_water = 16000, .low_water = 4000, .credentials = { .on_login = on_login } };
    struct promise *data = lend(ON_FREE_CONNECTION, 0);
    lago_connection_options_t options = { .parameters = &parameters,
                                          .on_phase = on_phase,
                                          .on_open = on_open,
                                          .on_open_error = on_open_error,
                                          .on_close = on_close,
                                          .on_blocked = on_blocked,
                                          .on_unblocked = on_unblocked,
                                          .on_drain = on_drain,
                                          .data = data,
                                          .free_data = kept };
    if (l->broker.challenges) parameters.credentials = (lago_credentials_t){ .own_mechanisms = &demo, .own_mechanism_count = 1 };
    if (finale == BY_REFUSAL) l->v.connect_status[0] = REFUSED;
    assert_int_equal(virtual_connect(&l->v, NULL, &options), 0);
    data->accepted = true;
    l->conn = l->v.conn;
    if (finale != BY_REFUSAL) broker_run(&l->broker);
    if (l->conn) open_channel(1);
    if (l->conn) open_channel(2);
    if (l->channels[2]) l->rpc = new_rpc(2);
    l->broker.deliver = 2;
    if (l->conn) issue("c", "d");
    if (l->channels[1]) consume_bodies();
    broker_run(&l->broker);
    stimulate();
    if (!l->broker.challenges && l->v.conn) virtual_advance(&l->v, 1000); /* the first password expires */
    broker_run(&l->broker);
    l->broker.silent = true;
    if (l->conn) issue("e", "f");
    leave_a_body_unfinished();
    finish(finale);
}

/* ---------------------------------------------------------------- what must hold at the end */

static void check_promises(void) {
    for (size_t i = 0; i < l->promise_count; i++) {
        struct promise *p = &l->promises[i];
        bool dropped =
            (l->freed[0] || l->freed[p->channel] || (p->of_rpc && l->freed_rpc) || (p->of_publisher && l->freed_publishers)) &&
            !p->even_if_freed;
        bool good = !p->accepted || p->forgotten ? p->calls == 0 : dropped ? p->calls <= 1 : p->calls == 1;
        if (!good) fail_msg("%s: place %d of channel %u came %d times", l->row, p->place, p->channel, p->calls);
    }
    if (l->freed[0] || l->freed[1] ? l->ended > l->begun : l->ended != l->begun)
        fail_msg("%s: %u of %u bodies were ended", l->row, l->ended, l->begun);
    bool untold = l->freed[0] || l->freed[1] || l->freed_publishers;
    if (untold ? l->settled > l->in_runs : l->settled != l->in_runs)
        fail_msg("%s: %u of %u messages in runs were settled", l->row, (unsigned)l->settled, (unsigned)l->in_runs);
}

static void check_ends(void) {
    for (unsigned n = 0; n < 4; n++) {
        bool existed = n == 0 || l->channels[n] != NULL;
        if (l->freed[0] || l->freed[n] || !existed) continue;
        int told = n == 0 ? l->opened[0] + l->told_open[0] : l->told_open[n];
        if (told != 1) fail_msg("%s: %u was told %d times that it is open or not", l->row, n, told);
        if (l->closed[n] != (l->opened[n] > 0)) fail_msg("%s: %u was closed %d times", l->row, n, l->closed[n]);
    }
}

static void run(enum place place, int nth, enum action action, enum finale finale) {
    static char row[64];
    (void)snprintf(row, sizeof(row), "place %d (%d), action %d, finale %d", place, nth, action, finale);
    memset(l, 0, sizeof(*l));
    l->row = row;
    l->place = place;
    l->nth = nth;
    l->action = action;
    virtual_init(&l->v);
    l->v.piece_seed = nth == 2 ? (uint32_t)(1 + place * ACTIONS + action) : 0; /* frames come whole, or in pieces */
    broker_init(&l->broker, &l->v);
    l->broker.challenges = finale != BY_CLOSE; /* in this one on_login is asked */
    live(finale);
    if (l->conn) assert_int_equal(lago_connection_state(l->conn), LAGO_CONNECTION_CLOSED);
    l->ending = true;
    check_ends();
    if (l->conn) {
        lago_connection_free(l->conn);
        l->conn = NULL;
    }
    virtual_run(&l->v);
    check_promises();
    virtual_deinit(&l->v);
    if (!l->other_conn) return;
    virtual_run(&l->other_v);
    lago_connection_free(l->other_conn);
    virtual_deinit(&l->other_v);
}

/* ---------------------------------------------------------------- tests */

static void every_place_is_reached(void **state) {
    int reached[PLACES] = { 0 };
    (void)state;
    for (int finale = 0; finale < FINALES; finale++) {
        run(PLACES, 1, DO_NOTHING, (enum finale)finale);
        assert_int_equal(l->replies, finale == BY_REFUSAL ? 0 : 1);
        for (int place = 0; place < PLACES; place++)
            if (l->fired[place] > reached[place]) reached[place] = l->fired[place];
    }
    for (int place = 0; place < PLACES; place++)
        if (!reached[place]) fail_msg("place %d is never reached", place);
}

static void anything_in_any_callback(void **state) {
    unsigned acted = 0;
    (void)state;
    for (int place = 0; place < PLACES; place++)
        for (int nth = 1; nth <= 3; nth++)
            for (int action = DO_CLOSE; action < ACTIONS; action++)
                for (int finale = 0; finale < FINALES; finale++) {
                    run((enum place)place, nth, (enum action)action, (enum finale)finale);
                    acted += l->acted;
                }
    assert_true(acted > 1500);
    print_message("%u cells\n", acted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_is_reached),
        cmocka_unit_test(anything_in_any_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
