/* Callbacks: whether they may come at all, now, and with these words; and what the application does inside them. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* A callback begins. None comes inside a call or another one, nor to who was freed. */
struct life *sim_enter(struct sim_conn *conn, const char *what) {
    struct life *life = conn->life;
    if (life->in_call || planted(life, PLANT_told_inside)) sim_broken(life, "%s was called from inside a call", what);
    if (life->in_callback) sim_broken(life, "%s was called inside another callback", what);
    if (conn->free_called) sim_broken(life, "%s after lago_connection_free", what);
    if (conn->ended_told) sim_broken(life, "%s after the connection's end", what);
    TRACE(life, "      <- %s", what);
    life->in_callback = true;
    life->callbacks++;
    COUNT(callbacks);
    return life;
}

static void act(struct life *life, struct sim_conn *conn) {
    struct chance chance = { chance_mix(life->options->seed, UINT64_C(0xca11) + life->callbacks * 2) };
    struct chance *before = life->c;
    if (life->options->no_callback_acts || !percent(&chance, 12)) return;
    life->c = &chance;
    for (uint64_t n = 1 + roll(&chance, 2); n > 0; n--) {
        struct sim_conn *where = percent(&chance, 90) ? conn : app_conn(life);
        COUNT(acts_in_callbacks);
        if (where && where->h) app_act(life, where);
    }
    life->c = before;
}

void sim_leave(struct life *life, struct sim_conn *conn) {
    act(life, conn);
    life->in_callback = false;
}

/* free_data and release_body: also from inside a free. */
static void quiet(struct sim_conn *conn, bool *told, const char *what) {
    struct life *life = conn->life;
    if (life->in_call && !life->in_free) sim_broken(life, "%s was called from inside a call", what);
    if (*told) sim_broken(life, "%s was called twice", what);
    TRACE(life, "      <- %s", what);
    *told = true;
}

static const char *code(const lago_reason_t *reason) { return reason ? lago_error_name(reason->code) : "ok"; }

static void note_failure(const lago_reason_t *reason) {
    if (reason) sim_shared->fails[sim_code_index(reason->code)]++;
}

static void check_reason(struct life *life, const lago_reason_t *reason) {
    char line[600];
    if (!reason) return;
    if (reason->code >= 0) sim_broken(life, "a reason without a code");
    if (!life->logged && life->callbacks % 16) return;
    (void)lago_reason_format(reason, line, sizeof(line));
    if (strstr(line, SIM_PASSWORD)) sim_broken(life, "the password stands in a reason");
}

/* ---------------------------------------------------------------- the connection */

void told_conn_open(lago_connection_t *h, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_open");
    if (conn->open_told) sim_broken(life, "on_open twice");
    if (h != conn->h || lago_connection_state(h) != LAGO_CONNECTION_OPEN) sim_broken(life, "on_open, and it is not open");
    conn->open_told = true;
    conn->quiet_from = life->now;
    COUNT(opened);
    if (conn->link && conn->link->went_ahead) COUNT(fast_opened);
    sim_leave(life, conn);
}

static void ended(struct life *life, struct sim_conn *conn, const lago_reason_t *reason) {
    check_reason(life, reason);
    book_check_ended(conn);
    sim_shared->ends[sim_code_index(reason->code)]++;
    TRACE(life, "         %s, phase %s", code(reason), lago_phase_name(reason->phase));
    act(life, conn);
    conn->ended_told = true;
    life->in_callback = false;
}

void told_conn_open_error(lago_connection_t *h, const lago_reason_t *reason, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_open_error");
    (void)h;
    if (conn->open_told) sim_broken(life, "on_open_error after on_open");
    COUNT(never_opened);
    ended(life, conn, reason);
}

void told_conn_close(lago_connection_t *h, const lago_reason_t *reason, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_close");
    (void)h;
    if (!conn->open_told) sim_broken(life, "on_close without on_open");
    COUNT(closed);
    ended(life, conn, reason);
}

void told_blocked(lago_connection_t *h, lago_string_t reason, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_blocked");
    (void)reason;
    if (!lago_connection_is_blocked(h)) sim_broken(life, "on_blocked, and it is not");
    conn->blocked_told++;
    COUNT(blocked);
    sim_leave(life, conn);
}

void told_unblocked(lago_connection_t *h, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_unblocked");
    (void)h;
    conn->blocked_told++;
    COUNT(unblocked);
    sim_leave(life, conn);
}

static void go_on(struct life *life, struct sim_conn *conn) {
    struct chance chance = { chance_mix(life->options->seed, UINT64_C(0xd4a1) + life->callbacks * 2) };
    struct chance *before = life->c;
    if (life->options->no_callback_acts || !percent(&chance, 30)) return;
    life->c = &chance;
    app_go_on(life, conn);
    life->c = before;
}

void told_drain(lago_connection_t *h, void *data) {
    struct sim_conn *conn = data;
    if (planted(conn->life, PLANT_drain_lost)) return;
    struct life *life = sim_enter(conn, "on_drain");
    if (!lago_connection_writable(h)) sim_broken(life, "on_drain, and a publish would be refused");
    if (!conn->drain_owed && !conn->drain_may_come) sim_broken(life, "on_drain that nobody was promised");
    conn->drain_owed = false;
    conn->drain_may_come = app_waits(conn);
    COUNT(drains);
    go_on(life, conn);
    sim_leave(life, conn);
}

void told_phase(lago_connection_t *h, lago_phase_t phase, uint32_t attempt, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_phase");
    (void)h, (void)phase, (void)attempt;
    if (conn->open_told) sim_broken(life, "on_phase after on_open");
    sim_leave(life, conn);
}

void told_conn_free(void *data) {
    struct sim_conn *conn = data;
    quiet(conn, &conn->freed_told, "free_data of the connection");
}

void told_timer(lago_connection_t *h, int status, void *data) {
    struct sim_timer *timer = data;
    struct life *life = sim_enter(timer->conn, "a timer");
    (void)h;
    if (timer->done) sim_broken(life, "a timer came twice, or after it was removed");
    if (status == 0 && life->now < timer->due) sim_broken(life, "a timer came too early");
    if (status != 0 && status != LAGO_ECANCELED) sim_broken(life, "a timer with status %d", status);
    timer->done = true;
    status ? COUNT(timers_canceled) : COUNT(timers);
    sim_leave(life, timer->conn);
}

/* ---------------------------------------------------------------- requests */

static struct life *answered(struct request *request, const lago_reason_t *reason) {
    struct life *life = sim_enter(request->conn, request->name);
    struct sim_channel *ch = request->ch;
    TRACE(life, "         %s", code(reason));
    check_reason(life, reason);
    note_failure(reason);
    reason ? COUNT(refusals) : COUNT(answers);
    if (request->done) sim_broken(life, "%s was told twice", request->name);
    request->done = !planted(life, PLANT_not_told) || life->callbacks % 97 != 0;
    if (!ch) return life;
    if (request->recovers) {
        ch->recovers--;
        ch->recover_unsure = ch->recover_unsure || reason != NULL;
    }
    if (ch->ended_told) sim_broken(life, "%s was told after its channel's end", request->name);
    if (ch->end_outcomes) sim_broken(life, "%s was told behind outcomes of the end", request->name);
    if (reason || !request->ordered) return life;
    if (request->number < ch->last_answer) sim_broken(life, "%s was answered out of order", request->name);
    ch->last_answer = request->number;
    return life;
}

void told_conn_done(lago_connection_t *h, const lago_reason_t *reason, void *data) {
    struct request *request = data;
    (void)h;
    sim_leave(answered(request, reason), request->conn);
    if (!reason) COUNT(secrets_updated);
}

void told_done(lago_channel_t *h, const lago_reason_t *reason, void *data) {
    struct request *request = data;
    (void)h;
    sim_leave(answered(request, reason), request->conn);
}

void told_declared(lago_channel_t *h, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    struct request *request = data;
    (void)h;
    struct life *life = answered(request, reason);
    if (!reason == !ok) sim_broken(life, "declared, with a reason and a result, or neither");
    sim_leave(life, request->conn);
}

void told_count(lago_channel_t *h, const lago_reason_t *reason, uint32_t count, void *data) {
    (void)count;
    told_done(h, reason, data);
}

void told_flow_ok(lago_channel_t *h, const lago_reason_t *reason, bool active, void *data) {
    (void)active;
    told_done(h, reason, data);
}

void told_consuming(lago_channel_t *h, const lago_reason_t *reason, lago_string_t tag, void *data) {
    struct request *request = data;
    struct life *life = answered(request, reason);
    (void)h, (void)tag;
    if (reason) request->consumer->ended = true;
    sim_leave(life, request->conn);
}

void told_cancelled(lago_channel_t *h, const lago_reason_t *reason, lago_string_t tag, void *data) {
    struct request *request = data;
    struct life *life = answered(request, reason);
    (void)h, (void)tag;
    if (request->consumer) request->consumer->ended = true;
    sim_leave(life, request->conn);
}

/* ---------------------------------------------------------------- channels */

static struct sim_channel *channel_of(lago_channel_t *h, struct sim_channel *ch) {
    if (!ch->h) sim_broken(ch->conn->life, "a callback of channel %u, which was freed", ch->number);
    if (ch->h != h) sim_broken(ch->conn->life, "a callback of channel %u with another's handle", ch->number);
    if (ch->ended_told) sim_broken(ch->conn->life, "a callback of channel %u after its end", ch->number);
    return ch;
}

static void channel_ended(struct life *life, struct sim_channel *ch, const lago_reason_t *reason) {
    check_reason(life, reason);
    note_failure(reason);
    TRACE(life, "         channel %u: %s", ch->number, code(reason));
    book_check_channel_ended(ch);
    ch->ended_told = true;
    ch->publisher = NULL;
    ch->rpc = NULL;
}

void told_channel_open(lago_channel_t *h, const lago_reason_t *reason, void *data) {
    struct sim_channel *ch = channel_of(h, data);
    struct life *life = sim_enter(ch->conn, "on_open of a channel");
    if (ch->open_told) sim_broken(life, "on_open of channel %u twice", ch->number);
    ch->open_told = true;
    if (reason) {
        COUNT(channels_refused);
        channel_ended(life, ch, reason);
    } else {
        COUNT(channels_opened);
    }
    sim_leave(life, ch->conn);
}

void told_channel_close(lago_channel_t *h, const lago_reason_t *reason, void *data) {
    struct sim_channel *ch = channel_of(h, data);
    struct life *life = sim_enter(ch->conn, "on_close of a channel");
    if (!ch->open_told) sim_broken(life, "on_close of channel %u, which was never open", ch->number);
    if (!reason) sim_broken(life, "on_close without a reason");
    COUNT(channels_ended);
    channel_ended(life, ch, reason);
    sim_leave(life, ch->conn);
}

void told_return(lago_channel_t *h, const lago_return_t *returned, void *data) {
    struct sim_channel *ch = channel_of(h, data);
    struct life *life = sim_enter(ch->conn, "on_return");
    uint64_t content = book_content(life, returned->message->body, returned->message->properties);
    COUNT(returns_told);
    if (!ch->conn->lied) {
        if (content >= life->post_count) sim_broken(life, "a message was returned that was never published");
        book_body_check(life, content, 0, returned->message->body);
        if (returned->reply_code != 312) sim_broken(life, "returned with %u", returned->reply_code);
    }
    sim_leave(life, ch->conn);
}

void told_flow(lago_channel_t *h, bool active, void *data) {
    struct sim_channel *ch = channel_of(h, data);
    struct life *life = sim_enter(ch->conn, "on_flow");
    if (lago_channel_is_flow_active(h) != active) sim_broken(life, "on_flow does not say what holds");
    COUNT(flow_told);
    sim_leave(life, ch->conn);
}

void told_channel_free(void *data) {
    struct sim_channel *ch = data;
    quiet(ch->conn, &ch->freed_told, "free_data of a channel");
}

/* ---------------------------------------------------------------- messages */

static void check_message(struct life *life, const struct record *record, const lago_message_t *message, bool whole) {
    const struct post *post = life->posts[record->id];
    if (message->redelivered != record->redelivered)
        sim_broken(life, "message %llu: `redelivered` is wrong", (unsigned long long)post->id);
    if (message->redelivered) COUNT(redelivered);
    if (!whole) return;
    if (message->body.size != post->size)
        sim_broken(life, "message %llu of %zu bytes came with %zu", (unsigned long long)post->id, post->size, message->body.size);
    uint64_t content = book_content(life, message->body, message->properties);
    if (content != post->content) sim_broken(life, "another message came than was sent");
    book_body_check(life, content, 0, message->body);
}

static struct record *record_of(struct life *life, struct sim_channel *ch, uint64_t tag, bool to_get) {
    struct record *record = book_record(ch, tag);
    if (!record) sim_broken(life, "delivery %llu on channel %u was never made", (unsigned long long)tag, ch->number);
    if (record->told) sim_broken(life, "delivery %llu on channel %u was told twice", (unsigned long long)tag, ch->number);
    if (record->to_get != to_get) sim_broken(life, "a get's message for a consumer, or the other way round");
    record->told = true;
    record->stale = record->stale || ch->recovers > 0;
    return record;
}

static void keep_some(struct life *life, struct sim_conn *conn, const lago_message_t *message, uint64_t id) {
    struct chance chance = { chance_mix(life->options->seed, UINT64_C(0x3ee9) + life->callbacks) };
    if (!percent(&chance, 10)) return;
    size_t i = roll(&chance, KEPT_MAX);
    if (life->kept[i]) {
        book_body_check(life, life->posts[life->kept_ids[i]]->content, 0, life->kept[i]->body);
        CALL(life, (lago_message_release(life->kept[i]), 0));
        life->kept[i] = NULL;
    }
    if (CALL(life, lago_message_keep(message, &life->kept[i])) < 0) return;
    life->kept_of[i] = conn;
    life->kept_ids[i] = id;
    COUNT(kept);
}

static struct life *consumed(lago_channel_t *h, struct sim_consumer *consumer, const char *what) {
    struct sim_channel *ch = channel_of(h, consumer->ch);
    struct life *life = sim_enter(ch->conn, what);
    if (consumer->freed) sim_broken(life, "a message for a consumer whose free_data came");
    return life;
}

/* Requests are answered, most of them. */
static void serve(struct life *life, struct sim_channel *ch, const lago_message_t *message, const struct post *post) {
    struct chance chance = { chance_mix(life->options->seed, UINT64_C(0x5e4e) + life->callbacks) };
    if (!message->properties->reply_to || !percent(&chance, 80)) return;
    static uint8_t room[BODY_MAX];
    size_t size = 8 + roll(&chance, 100);
    struct post *reply = book_new(life, ch, size);
    reply->answers = post->content;
    lago_basic_publish_t args = { .body = { book_body(reply->id, size, room), size } };
    int64_t rc = CALL(life, lago_rpc_reply(ch->h, message, &args, NULL, NULL));
    TRACE(life, "         lago_rpc_reply = %lld", (long long)rc);
    app_refused(ch, rc);
    if (rc >= 0) book_accept(reply, rc);
}

void told_message(lago_channel_t *h, const lago_message_t *message, void *data) {
    struct sim_consumer *consumer = data;
    struct sim_channel *ch = consumer->ch;
    struct life *life = consumed(h, consumer, "on_message");
    if (consumer->cancelled || consumer->ended) sim_broken(life, "a message after lago_basic_cancel, or the consumer's end");
    if (consumer->paused) sim_broken(life, "a message for a consumer that is paused");
    if (ch->closing || ch->conn->end_asked) sim_broken(life, "a message after the close");
    COUNT(deliveries);
    if (ch->conn->lied) {
        sim_leave(life, ch->conn);
        return;
    }
    struct record *record = record_of(life, ch, message->delivery_tag, false);
    TRACE(life, "         channel %u, tag %llu, message %llu", ch->number, (unsigned long long)message->delivery_tag,
          (unsigned long long)record->id);
    if (message->delivery_tag <= consumer->last_tag) sim_broken(life, "deliveries of a consumer out of order");
    consumer->last_tag = message->delivery_tag;
    record->consumer = consumer;
    record->no_ack = consumer->auto_ack;
    check_message(life, record, message, true);
    keep_some(life, ch->conn, message, record->id);
    serve(life, ch, message, life->posts[record->id]);
    struct chance chance = { chance_mix(life->options->seed, UINT64_C(0xac4) + life->callbacks) };
    struct chance *before = life->c;
    life->c = &chance;
    if (ch->h && percent(&chance, 60)) app_settle_some(life, ch);
    life->c = before;
    sim_leave(life, ch->conn);
}

void told_body(lago_channel_t *h, const lago_body_t *body, void *data) {
    struct sim_consumer *consumer = data;
    struct sim_channel *ch = consumer->ch;
    struct life *life = consumed(h, consumer, "on_body");
    uint64_t tag = body->message->delivery_tag;
    COUNT(pieces);
    if (ch->conn->lied) {
        struct record *record = book_record(ch, tag);
        if (record) record->begun = record->ended = true;
        sim_leave(life, ch->conn);
        return;
    }
    struct record *record = body->begins ? record_of(life, ch, tag, false) : book_record(ch, tag);
    if (!record || (!body->begins && !record->begun)) sim_broken(life, "a piece of a body that never began");
    if (body->begins && (consumer->cancelled || consumer->ended)) sim_broken(life, "a body begins after lago_basic_cancel");
    const struct post *post = life->posts[record->id];
    if (record->ended) sim_broken(life, "a piece behind the last one");
    if (body->begins) check_message(life, record, body->message, false);
    record->begun = true;
    record->consumer = consumer;
    record->no_ack = consumer->auto_ack;
    if (!body->reason) {
        if (body->offset != record->handed || body->size != post->size) sim_broken(life, "pieces of a body do not fit together");
        book_body_check(life, post->content, body->offset, body->piece);
        record->handed += body->piece.size;
    } else {
        COUNT(broken_bodies);
        if (!body->ends) sim_broken(life, "a body is broken, and goes on");
    }
    if (body->ends && !body->reason && record->handed != post->size) sim_broken(life, "a body ended before it was whole");
    record->ended = body->ends;
    sim_leave(life, ch->conn);
}

void told_broker_cancel(lago_channel_t *h, lago_string_t tag, void *data) {
    struct sim_consumer *consumer = data;
    struct life *life = consumed(h, consumer, "on_cancel");
    (void)tag;
    COUNT(broker_cancels);
    consumer->ended = true;
    sim_leave(life, consumer->ch->conn);
}

void told_consumer_free(void *data) {
    struct sim_consumer *consumer = data;
    quiet(consumer->ch->conn, &consumer->freed, "free_data of a consumer");
    consumer->ended = true;
}

void told_get(lago_channel_t *h, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    struct request *request = data;
    struct sim_channel *ch = channel_of(h, request->ch);
    struct life *life = answered(request, reason);
    if (reason && message) sim_broken(life, "a get with a message and a reason");
    if (!message && !reason) COUNT(empty_gets);
    if (message && !ch->conn->lied) {
        struct record *record = record_of(life, ch, message->delivery_tag, true);
        COUNT(gets);
        record->no_ack = request->auto_ack;
        check_message(life, record, message, true);
        keep_some(life, ch->conn, message, record->id);
    }
    sim_leave(life, ch->conn);
}

/* ---------------------------------------------------------------- publishes */

static struct life *settled(struct post *post, lago_publish_outcome_t outcome, const lago_reason_t *reason) {
    struct sim_channel *ch = post->ch;
    struct life *life = ch->conn->life;
    TRACE(life, "         message %llu, number %llu: %s", (unsigned long long)post->id, (unsigned long long)post->number,
          lago_publish_outcome_name(outcome));
    bool at_end = outcome == LAGO_PUBLISH_NOT_SENT || outcome == LAGO_PUBLISH_UNKNOWN;
    if (at_end != (reason != NULL)) sim_broken(life, "an outcome with a reason that it needs not, or without");
    check_reason(life, reason);
    if (!post->owed) sim_broken(life, "an outcome that nobody asked for");
    if (at_end && ch->end_outcomes && post->number < ch->last_outcome) sim_broken(life, "outcomes of an end out of order");
    ch->last_outcome = post->number;
    ch->end_outcomes = ch->end_outcomes || at_end;
    book_outcome(post, outcome);
    return life;
}

void told_published(lago_channel_t *h, const lago_publish_result_t *result, void *data) {
    struct post *post = data;
    struct life *life = sim_enter(post->ch->conn, "the outcome of a publish");
    (void)channel_of(h, post->ch);
    if (result->sequence_number != post->number && !post->ch->conn->lied) sim_broken(life, "an outcome with another number");
    (void)settled(post, result->outcome, result->reason);
    if (planted(life, PLANT_told_twice) && life->callbacks % 97 == 0) (void)settled(post, result->outcome, result->reason);
    sim_leave(life, post->ch->conn);
}

void told_settled(lago_publisher_t *h, const lago_publisher_settled_t *run, void *data) {
    struct sim_publisher *publishing = data;
    struct sim_channel *ch = publishing->ch;
    struct life *life = sim_enter(ch->conn, "on_settled");
    (void)h;
    if (run->first > run->last)
        sim_broken(life, "a run from %llu to %llu", (unsigned long long)run->first, (unsigned long long)run->last);
    for (size_t i = 0; i < ch->post_count; i++)
        if (ch->posts[i]->number >= run->first && ch->posts[i]->number <= run->last && ch->posts[i]->number)
            (void)settled(ch->posts[i], run->outcome, run->reason);
    sim_leave(life, ch->conn);
}

void told_ready(lago_publisher_t *h, void *data) {
    struct sim_publisher *publishing = data;
    struct life *life = sim_enter(publishing->ch->conn, "on_ready");
    if (!publishing->ready_owed) sim_broken(life, "on_ready that nobody was promised");
    publishing->ready_owed = false;
    if (lago_publisher_room(h) == 0) sim_broken(life, "on_ready, and there is no room");
    COUNT(readies);
    sim_leave(life, publishing->ch->conn);
}

void told_publisher_free(void *data) {
    struct sim_publisher *publishing = data;
    quiet(publishing->ch->conn, &publishing->freed, "free_data of a publisher");
}

void told_released(void *data) {
    struct post *post = data;
    struct life *life = post->life;
    if (life->in_call && !life->in_free) sim_broken(life, "release_body was called from inside a call");
    if (post->released) sim_broken(life, "release_body was called twice");
    post->released = true;
}

void told_reply(lago_rpc_t *h, const lago_rpc_result_t *result, void *data) {
    struct post *post = data;
    struct sim_channel *ch = post->ch;
    struct life *life = sim_enter(ch->conn, "the end of a call");
    (void)h;
    if (!post->call_open) sim_broken(life, "a call ended twice, or after it was forgotten");
    post->call_open = false;
    ch->calls_open--;
    if (!result->reply == !result->reason) sim_broken(life, "a call with a reply and a reason, or neither");
    check_reason(life, result->reason);
    if (result->reason) {
        int why = result->reason->code;
        why == LAGO_ETIMEDOUT ? COUNT(calls_timed_out) : why == LAGO_EUNROUTABLE ? COUNT(calls_unroutable) : COUNT(calls_ended);
        if (result->not_served && post->arrived && why != LAGO_EUNROUTABLE)
            sim_broken(life, "a call was told not served: it arrived");
    } else if (!ch->conn->lied) {
        COUNT(replies);
        uint64_t content = book_content(life, result->reply->body, result->reply->properties);
        if (content >= life->post_count || life->posts[content]->answers != post->id) sim_broken(life, "a reply to another call");
        book_body_check(life, content, 0, result->reply->body);
    }
    sim_leave(life, ch->conn);
}

void told_rpc_free(void *data) {
    struct sim_channel *ch = data;
    ch->has_rpc = false;
}
