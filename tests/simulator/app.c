/* An application that does anything at any time: connections, channels, topology, timers. Must not know what is checked. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct sim_conn *app_conn(struct life *life) {
    struct sim_conn *conn = &life->conns[roll(life->c, CONNS_MAX)];
    return conn->used ? conn : NULL;
}

/* ---------------------------------------------------------------- requests */

struct request *request_new(struct sim_conn *conn, struct sim_channel *ch, const char *name) {
    struct request *request = model_new(conn->life->broker, sizeof(*request));
    *request = (struct request){ .conn = conn, .ch = ch, .name = name, .number = ++conn->life->numbers, .ordered = true };
    return request;
}

void request_keep(struct request *request, int64_t rc) {
    TRACE(request->conn->life, "    %s = %s", request->name, rc < 0 ? lago_error_name((int)rc) : "ok");
    if (rc < 0) return;
    COUNT(requests);
    request->next = request->conn->requests;
    request->conn->requests = request;
}

/* ---------------------------------------------------------------- names: few, so that they meet */

const char *app_queue(struct life *life, const struct sim_channel *ch) {
    static const char *const names[] = { "q0", "q0", "q0", "q1", "q1", "q2", "q3", "" };
    struct chance *c = life->c;
    if (roll(c, 100) == 0) return "nobody's";
    return names[roll(c, ch->declared ? 8 : 7)]; /* "": the one that was declared last */
}

static const char *exchange(struct chance *c) {
    static const char *const names[] = { "amq.fanout", "amq.fanout", "amq.direct", "amq.direct", "x0", "x1", "nobody's" };
    return names[roll(c, percent(c, 98) ? 4 : 7)];
}

static const char *key(struct chance *c) {
    static const char *const names[] = { "q0", "q1", "a", "b", "" };
    return names[roll(c, 5)];
}

static uint32_t timeout(struct chance *c) { return percent(c, 6) ? 1 + (uint32_t)roll(c, 3000) : 0; }

/* ---------------------------------------------------------------- topology */

static void declare(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    struct request *r = request_new(ch->conn, ch, "queue.declare");
    const char *name = percent(c, 15) ? "" : app_queue(life, ch);
    lago_queue_declare_t args = { .queue = name,
                                  .passive = percent(c, 4),
                                  .durable = percent(c, 1),
                                  .exclusive = name[0] == '\0' && percent(c, 50),
                                  .auto_delete = name[0] == '\0' && percent(c, 20),
                                  .timeout_ms = timeout(c) };
    if (name[0] && percent(c, 10)) {
        args.no_wait = true;
        args.timeout_ms = 0;
        (void)CALL(life, lago_queue_declare(ch->h, &args, NULL, NULL));
        return;
    }
    int rc = CALL(life, lago_queue_declare(ch->h, &args, told_declared, r));
    request_keep(r, rc);
    ch->declared = ch->declared || rc >= 0;
}

static void bind(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    bool undo = percent(c, 20);
    struct request *r = request_new(ch->conn, ch, undo ? "queue.unbind" : "queue.bind");
    lago_queue_bind_t args = {
        .queue = app_queue(life, ch), .exchange = exchange(c), .routing_key = key(c), .timeout_ms = timeout(c)
    };
    request_keep(r, undo ? CALL(life, lago_queue_unbind(ch->h, &args, told_done, r))
                         : CALL(life, lago_queue_bind(ch->h, &args, told_done, r)));
}

static void queue_end(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    if (percent(c, 60)) {
        struct request *r = request_new(ch->conn, ch, "queue.purge");
        lago_queue_purge_t args = { .queue = app_queue(life, ch), .timeout_ms = timeout(c) };
        request_keep(r, CALL(life, lago_queue_purge(ch->h, &args, told_count, r)));
        return;
    }
    struct request *r = request_new(ch->conn, ch, "queue.delete");
    lago_queue_delete_t args = {
        .queue = app_queue(life, ch), .if_unused = percent(c, 10), .if_empty = percent(c, 10), .timeout_ms = timeout(c)
    };
    request_keep(r, CALL(life, lago_queue_delete(ch->h, &args, told_count, r)));
}

static void exchange_act(struct life *life, struct sim_channel *ch) {
    static const char *const own[] = { "x0", "x1" };
    struct chance *c = life->c;
    struct request *r = request_new(ch->conn, ch, "an exchange's method");
    int rc;
    if (percent(c, 50)) {
        lago_exchange_declare_t args = { .exchange = own[roll(c, 2)],
                                         .exchange_type = percent(c, 95) ? "fanout" : "direct",
                                         .passive = percent(c, 3),
                                         .timeout_ms = timeout(c) };
        rc = CALL(life, lago_exchange_declare(ch->h, &args, told_done, r));
    } else if (percent(c, 30)) {
        lago_exchange_delete_t args = { .exchange = own[roll(c, 2)], .timeout_ms = timeout(c) };
        rc = CALL(life, lago_exchange_delete(ch->h, &args, told_done, r));
    } else {
        lago_exchange_bind_t args = { .destination = exchange(c), .source = exchange(c), .routing_key = key(c) };
        rc = percent(c, 70) ? CALL(life, lago_exchange_bind(ch->h, &args, told_done, r))
                            : CALL(life, lago_exchange_unbind(ch->h, &args, told_done, r));
    }
    request_keep(r, rc);
}

static void select_act(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    if (!ch->tx && percent(c, 85)) {
        struct request *r = request_new(ch->conn, ch, "confirm.select");
        int rc = CALL(life, lago_confirm_select(ch->h, NULL, told_done, r));
        request_keep(r, rc);
        ch->confirms = ch->confirms || rc >= 0;
        return;
    }
    if (ch->confirms && percent(c, 95)) return;
    struct request *r = request_new(ch->conn, ch, "a transaction's method");
    int rc;
    if (!ch->tx) {
        rc = CALL(life, lago_tx_select(ch->h, NULL, told_done, r));
        ch->tx = ch->tx || rc >= 0;
    } else if (percent(c, 70)) {
        rc = CALL(life, lago_tx_commit(ch->h, NULL, told_done, r));
        COUNT(tx_commits);
    } else {
        rc = CALL(life, lago_tx_rollback(ch->h, NULL, told_done, r));
        COUNT(tx_rollbacks);
    }
    request_keep(r, rc);
}

static void flow_act(struct life *life, struct sim_channel *ch) {
    struct request *r = request_new(ch->conn, ch, "channel.flow");
    lago_channel_flow_t args = { .active = percent(life->c, 95) };
    request_keep(r, CALL(life, lago_channel_flow(ch->h, &args, told_flow_ok, r)));
}

/* ---------------------------------------------------------------- channels come and go */

static void channel_open(struct life *life, struct sim_conn *conn) {
    struct sim_channel *ch = model_new(life->broker, sizeof(*ch));
    ch->conn = conn;
    lago_channel_options_t options = { .on_open = told_channel_open,
                                       .on_close = told_channel_close,
                                       .on_return = told_return,
                                       .on_flow = told_flow,
                                       .data = ch,
                                       .free_data = told_channel_free,
                                       .timeout_ms = timeout(life->c),
                                       .single_acks = percent(life->c, 20) };
    int rc = CALL(life, lago_channel_open(conn->h, &options, &ch->h));
    TRACE(life, "    lago_channel_open = %s %u", rc < 0 ? lago_error_name(rc) : "ok", lago_channel_number(ch->h));
    if (rc < 0) return;
    COUNT(channels);
    ch->number = lago_channel_number(ch->h);
    ch->next = conn->channels;
    conn->channels = ch;
}

/* What it owed is owed no longer. */
static void forget_channel(struct sim_channel *ch) {
    struct life *life = ch->conn->life;
    ch->h = NULL;
    ch->publisher = NULL;
    ch->rpc = NULL;
    ch->calls_open = 0;
    for (struct request *r = ch->conn->requests; r; r = r->next)
        if (r->ch == ch) r->done = true;
    for (size_t i = 0; i < ch->post_count; i++) {
        ch->posts[i]->owed = ch->posts[i]->told != TOLD_NOTHING;
        ch->posts[i]->call_open = false;
    }
    for (size_t i = 0; i < ch->record_count; i++) ch->records[i].ended = true;
    (void)life;
}

void app_free_channel(struct sim_channel *ch) {
    struct life *life = ch->conn->life;
    TRACE(life, "    lago_channel_free %u", ch->number);
    if (life->in_callback) COUNT(frees_in_callbacks);
    lago_channel_t *h = ch->h;
    forget_channel(ch);
    life->in_free++;
    CALL(life, (lago_channel_free(h), 0));
    life->in_free--;
}

void app_free_connection(struct life *life, struct sim_conn *conn) {
    TRACE(life, "    lago_connection_free");
    if (life->in_callback) COUNT(frees_in_callbacks);
    lago_connection_t *h = conn->h;
    conn->h = NULL;
    conn->free_called = true;
    for (struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        if (ch->h) forget_channel(ch);
    for (struct request *r = conn->requests; r; r = r->next) r->done = true;
    for (struct sim_timer *timer = conn->timers; timer; timer = timer->next) timer->done = true;
    life->in_free++;
    CALL(life, (lago_connection_free(h), 0));
    life->in_free--;
}

static void channel_close(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    lago_close_t how = { .timeout_ms = percent(c, 30) ? 1 + (uint32_t)roll(c, 5000) : 0, .no_await_confirms = percent(c, 20) };
    if (life->in_callback) COUNT(closes_in_callbacks);
    int rc = CALL(life, lago_channel_close(ch->h, &how));
    TRACE(life, "    lago_channel_close %u = %s", ch->number, rc < 0 ? lago_error_name(rc) : "ok");
    if (rc >= 0) ch->closing = true;
}

static struct sim_channel *some_channel(struct life *life, struct sim_conn *conn) {
    struct sim_channel *chosen = NULL;
    uint64_t seen = 0;
    for (struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        if (ch->h && roll(life->c, ++seen) == 0) chosen = ch;
    return chosen;
}

static size_t channel_count(const struct sim_conn *conn) {
    size_t count = 0;
    for (const struct sim_channel *ch = conn->channels; ch; ch = ch->next) count += ch->h && !ch->ended_told;
    return count;
}

static void channel_act(struct life *life, struct sim_channel *ch) {
    switch (roll(life->c, 12)) {
    case 0:
    case 1:
    case 2: declare(life, ch); break;
    case 3:
    case 4: bind(life, ch); break;
    case 5: percent(life->c, 40) ? queue_end(life, ch) : bind(life, ch); break;
    case 6: exchange_act(life, ch); break;
    case 7:
    case 8:
    case 9: select_act(life, ch); break;
    case 10: percent(life->c, 10) ? flow_act(life, ch) : declare(life, ch); break;
    default:
        if (percent(life->c, 60))
            channel_close(life, ch);
        else
            app_free_channel(ch);
        break;
    }
}

/* ---------------------------------------------------------------- the connection */

static void timer_act(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    for (struct sim_timer *timer = conn->timers; timer; timer = timer->next) {
        if (!percent(c, 15)) continue;
        int rc = CALL(life, lago_connection_remove_timeout(conn->h, timer->id));
        if (rc == 0 && timer->done) sim_broken(life, "a timer was removed that had come");
        if (rc == LAGO_ESTALE && !timer->done && !conn->ended_told) sim_broken(life, "a timer is lost");
        if (rc == 0) timer->done = true;
        if (rc == 0) COUNT(timers_removed);
        return;
    }
    struct sim_timer *timer = model_new(life->broker, sizeof(*timer));
    uint32_t delay = (uint32_t)roll(c, percent(c, 50) ? 50 : 20000);
    timer->conn = conn;
    timer->due = life->now + delay;
    if (CALL(life, lago_connection_call_later(conn->h, delay, told_timer, timer, &timer->id)) < 0) return;
    TRACE(life, "    lago_connection_call_later %u", delay);
    timer->next = conn->timers;
    conn->timers = timer;
}

static void pause_act(struct life *life, struct sim_conn *conn) {
    bool resume = conn->halted;
    int rc = resume ? CALL(life, lago_connection_resume(conn->h)) : CALL(life, lago_connection_pause(conn->h));
    TRACE(life, "    lago_connection_%s = %d", resume ? "resume" : "pause", rc);
    if (rc < 0) return;
    conn->halted = !resume && !conn->end_asked;
    conn->quiet_from = life->now;
    if (!resume) COUNT(pauses);
}

static void secret_act(struct life *life, struct sim_conn *conn) {
    struct request *r = request_new(conn, NULL, "update-secret");
    request_keep(
        r, CALL(life, lago_update_secret(conn->h, SIM_PASSWORD, percent(life->c, 95) ? "expires" : "bad", told_conn_done, r)));
}

static void look_act(struct life *life, struct sim_conn *conn) {
    char page[1024];
    lago_histogram_t histogram;
    (void)CALL(life, lago_connection_counters(conn->h).frames_sent);
    (void)CALL(life, lago_connection_histogram(conn->h, (lago_metric_t)roll(life->c, LAGO_METRIC_COUNT), &histogram));
    (void)CALL(life, lago_connection_dump(conn->h, page, sizeof(page)));
    if (strstr(page, SIM_PASSWORD)) sim_broken(life, "the password stands in the dump");
    (void)CALL(life, lago_connection_output_size(conn->h));
    lago_connection_unref(conn->h);
    lago_connection_ref(conn->h);
}

static void end_act(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    if (life->in_callback) COUNT(closes_in_callbacks);
    switch (roll(c, 5)) {
    case 0: {
        int rc = CALL(life, lago_connection_abort(conn->h));
        TRACE(life, "    lago_connection_abort = %d", rc);
        conn->end_asked = conn->end_asked || rc >= 0;
        break;
    }
    case 1: app_free_connection(life, conn); break;
    default: {
        lago_close_t how = { .timeout_ms = percent(c, 30) ? 1 + (uint32_t)roll(c, 5000) : 0,
                             .no_await_confirms = percent(c, 20) };
        int rc = CALL(life, lago_connection_close(conn->h, &how));
        TRACE(life, "    lago_connection_close = %d", rc);
        conn->end_asked = conn->end_asked || rc >= 0;
        if (rc >= 0) conn->halted = false;
        break;
    }
    }
}

bool app_opening_act(struct life *life, struct sim_conn *conn) {
    if (!conn->h || channel_count(conn) > 0) return false;
    channel_open(life, conn);
    return true;
}

void app_act(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    if (!conn->h) return;
    uint64_t what = roll(c, 1000);
    struct sim_channel *ch = some_channel(life, conn);
    if (what < 30 || !ch) {
        if (channel_count(conn) < 5) channel_open(life, conn);
    } else if (what < 760) {
        app_message_act(life, ch);
    } else if (what < 900) {
        channel_act(life, ch);
    } else if (what < 930) {
        timer_act(life, conn);
    } else if (what < 955) {
        look_act(life, conn);
    } else if (what < 975) {
        pause_act(life, conn);
    } else if (what < 985) {
        secret_act(life, conn);
    } else if (what < 994) {
        if (ch->ended_told) app_free_channel(ch);
    } else {
        end_act(life, conn);
    }
}
