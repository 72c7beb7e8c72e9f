/* The same application, and what it does with messages: publish, consume, get, acknowledge, call. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static uint8_t body_room[BODY_MAX];

/* Mostly small, now and then of many frames. */
static size_t some_size(struct chance *c) {
    uint64_t kind = roll(c, 100);
    if (kind < 8) return roll(c, 8);
    if (kind < 90) return 8 + roll(c, 120);
    if (kind < 97) return 8 + roll(c, 9000);
    return 8 + roll(c, 40000);
}

static const char *some_key(struct chance *c) {
    static const char *const names[] = { "q0", "q0", "q0", "q1", "q1", "q2", "q3", "nowhere" };
    return names[roll(c, 8)];
}

/* The body of a post; lent ones are the application's until they are released. */
struct sim_body {
    lago_bytes_t bytes;
    bool lent;
};

static struct sim_body make_body(struct life *life, struct post *post) {
    struct sim_body body = { .lent = percent(life->c, 15) };
    uint8_t *room = body.lent ? model_new(life->broker, post->size + 1) : body_room;
    body.bytes = (lago_bytes_t){ book_body(post->id, post->size, room), post->size };
    return body;
}

/* on_drain must follow, or the end. */
void app_refused(struct sim_channel *ch, int64_t rc) {
    if (rc != LAGO_EAGAIN) return;
    COUNT(publish_eagain);
    ch->conn->drain_owed = true;
}

/* on_ready must follow; on_drain too if it was the output, and it may come if that is full when the window is open again. */
static void note_closed(struct sim_channel *ch) {
    struct sim_conn *conn = ch->conn;
    ch->publishing->ready_owed = conn->drain_may_come = true;
    conn->drain_owed = conn->drain_owed || !lago_connection_writable(conn->h);
}

static void accepted(struct life *life, struct post *post, int64_t rc, bool lent) {
    app_refused(post->ch, rc);
    TRACE(life, "    publish on channel %u = %lld (message %llu, %zu bytes)", post->ch->number, (long long)rc,
          (unsigned long long)post->id, post->size);
    if (rc < 0) return;
    post->lent = lent;
    if (lent) COUNT(lent_bodies);
    book_accept(post, rc);
}

static void publish(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    struct post *post = book_new(life, ch, some_size(c));
    struct sim_body body = make_body(life, post);
    char room[24], *id = &room[23];
    *id = '\0';
    for (uint64_t left = post->id; left > 0; left /= 10) *--id = (char)('0' + left % 10);
    lago_properties_t properties = { .message_id = id, .delivery_mode = percent(c, 50) ? LAGO_PERSISTENT : 0 };
    if (percent(c, 10)) properties.content_type = "text/plain";
    lago_field_t fields[] = { LAGO_FIELD_I32("n", 7), LAGO_FIELD_STR("s", "text") };
    if (percent(c, 10)) properties.headers = (lago_table_t){ .fields = fields, .size = 2 };
    bool plain = post->size >= 8 && percent(c, 40);
    uint64_t where = roll(c, 100);
    lago_basic_publish_t args = { .exchange = where < 10   ? "amq.fanout"
                                              : where < 14 ? "amq.direct"
                                                           : "",
                                  .routing_key = some_key(c),
                                  .mandatory = percent(c, 30),
                                  .properties = plain ? NULL : &properties,
                                  .body = body.bytes,
                                  .release_body = body.lent ? told_released : NULL,
                                  .release_data = post };
    if (roll(c, 600) == 0) args.exchange = "nobody's";
    if (roll(c, 2000) == 0) args.immediate = true;
    post->mandatory = args.mandatory;
    post->owed = ch->confirms && percent(c, 90);
    int64_t rc = CALL(life, lago_basic_publish(ch->h, &args, post->owed ? told_published : NULL, post));
    accepted(life, post, rc, body.lent);
}

/* ---------------------------------------------------------------- prepared */

static void publisher_new(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    struct sim_publisher *p = model_new(life->broker, sizeof(*p));
    p->ch = ch;
    p->mandatory = percent(c, 30);
    p->tells = ch->confirms;
    p->runs = ch->confirms && percent(c, 50);
    ch->publisher_windowed = ch->confirms && percent(c, 60);
    lago_publisher_options_t options = { .exchange = percent(c, 90) ? "" : "amq.fanout",
                                         .routing_key = some_key(c),
                                         .mandatory = p->mandatory,
                                         .window_count = ch->publisher_windowed ? 1 + (uint32_t)roll(c, 8) : 0,
                                         .on_outcome = ch->confirms && !p->runs ? told_published : NULL,
                                         .on_settled = p->runs ? told_settled : NULL,
                                         .on_ready = told_ready,
                                         .data = p,
                                         .free_data = told_publisher_free };
    if (CALL(life, lago_publisher_new(ch->h, &options, &ch->publisher)) < 0) return;
    TRACE(life, "    lago_publisher_new on channel %u", ch->number);
    ch->publishing = p;
}

static void publisher_accept(struct sim_channel *ch, struct post *post, int64_t rc) {
    struct sim_publisher *p = ch->publishing;
    post->owed = p->tells && rc > 0;
    post->prepared = true;
    COUNT(prepared_publishes);
    book_accept(post, rc);
    TRACE(post->life, "      message %llu, number %lld", (unsigned long long)post->id, (long long)rc);
}

static void publisher_batch(struct life *life, struct sim_channel *ch) {
    enum { BATCH_MAX = 6 };
    static uint8_t rooms[BATCH_MAX][256];
    lago_bytes_t bodies[BATCH_MAX];
    struct post *posts[BATCH_MAX];
    size_t count = 1 + roll(life->c, BATCH_MAX);
    uint64_t first = 0;
    for (size_t i = 0; i < count; i++) {
        posts[i] = book_new(life, ch, 8 + roll(life->c, 200));
        posts[i]->id = posts[i]->content = life->post_count + i;
        posts[i]->mandatory = ch->publishing->mandatory;
        bodies[i] = (lago_bytes_t){ book_body(posts[i]->id, posts[i]->size, rooms[i]), posts[i]->size };
    }
    int64_t taken = CALL(life, lago_publisher_publish_batch(ch->publisher, bodies, count, NULL, &first));
    TRACE(life, "    lago_publisher_publish_batch of %zu = %lld", count, (long long)taken);
    COUNT(batches);
    for (int64_t i = 0; i < taken; i++) publisher_accept(ch, posts[i], first ? (int64_t)first + i : 0);
    if (taken == LAGO_EAGAIN || (taken >= 0 && (size_t)taken < count)) note_closed(ch);
}

static void publisher_act(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    if (!ch->publisher) {
        publisher_new(life, ch);
        return;
    }
    if (percent(c, 4)) {
        for (size_t i = 0; i < ch->post_count; i++) /* their outcomes are told no more */
            if (ch->posts[i]->prepared && ch->posts[i]->told == TOLD_NOTHING) ch->posts[i]->owed = false;
        life->in_free++;
        TRACE(life, "    lago_publisher_free on channel %u", ch->number);
        CALL(life, (lago_publisher_free(ch->publisher), 0));
        life->in_free--;
        ch->publisher = NULL;
        return;
    }
    if (ch->publishing->runs && percent(c, 40)) {
        publisher_batch(life, ch);
        return;
    }
    struct post *post = book_new(life, ch, 8 + roll(c, percent(c, 90) ? 200 : 9000));
    post->mandatory = ch->publishing->mandatory;
    lago_bytes_t body = { book_body(post->id, post->size, body_room), post->size };
    int64_t rc;
    if (percent(c, 70)) {
        rc = CALL(life, lago_publisher_publish(ch->publisher, body, post));
    } else {
        lago_publisher_message_t message = { .body = body, .routing_key = percent(c, 50) ? some_key(c) : NULL };
        rc = CALL(life, lago_publisher_publish_message(ch->publisher, &message, post));
    }
    TRACE(life, "    lago_publisher_publish on channel %u = %lld", ch->number, (long long)rc);
    if (rc == LAGO_EAGAIN) note_closed(ch);
    if (rc >= 0) publisher_accept(ch, post, rc);
}

/* ---------------------------------------------------------------- consuming */

static void consume(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    struct sim_consumer *consumer = model_new(life->broker, sizeof(*consumer));
    consumer->ch = ch;
    consumer->pieces = percent(c, 25);
    consumer->auto_ack = percent(c, 20);
    consumer->tag[0] = 'c';
    consumer->tag[1] = (char)('A' + ch->tags / 26 % 26);
    consumer->tag[2] = (char)('a' + ch->tags++ % 26);
    struct request *r = request_new(ch->conn, ch, "basic.consume");
    r->ordered = false;
    r->consumer = consumer;
    bool no_wait = percent(c, 5);
    lago_basic_consume_t args = { .queue = app_queue(life, ch),
                                  .consumer_tag = consumer->tag,
                                  .auto_ack = consumer->auto_ack,
                                  .exclusive = percent(c, 2),
                                  .no_wait = no_wait,
                                  .on_message = consumer->pieces ? NULL : told_message,
                                  .on_body = consumer->pieces ? told_body : NULL,
                                  .on_cancel = told_broker_cancel,
                                  .data = consumer,
                                  .free_data = told_consumer_free,
                                  .timeout_ms = !no_wait && percent(c, 6) ? 1 + (uint32_t)roll(c, 3000) : 0 };
    int rc = CALL(life, lago_basic_consume(ch->h, &args, no_wait ? NULL : told_consuming, no_wait ? NULL : r));
    if (!no_wait) request_keep(r, rc);
    if (rc < 0) return;
    COUNT(consumers);
    consumer->begun = true;
    consumer->next = ch->consumers;
    ch->consumers = consumer;
}

static struct sim_consumer *some_consumer(struct life *life, struct sim_channel *ch) {
    struct sim_consumer *chosen = NULL;
    uint64_t seen = 0;
    for (struct sim_consumer *consumer = ch->consumers; consumer; consumer = consumer->next)
        if (!consumer->ended && !consumer->cancelled && roll(life->c, ++seen) == 0) chosen = consumer;
    return chosen;
}

static void consumer_act(struct life *life, struct sim_channel *ch) {
    struct sim_consumer *consumer = some_consumer(life, ch);
    if (!consumer || percent(life->c, 30)) {
        consume(life, ch);
        return;
    }
    if (percent(life->c, 60)) {
        bool resume = consumer->paused;
        int rc = resume ? CALL(life, lago_consumer_resume(ch->h, consumer->tag))
                        : CALL(life, lago_consumer_pause(ch->h, consumer->tag));
        TRACE(life, "    lago_consumer_%s %s = %d", resume ? "resume" : "pause", consumer->tag, rc);
        if (rc < 0) return;
        consumer->paused = !resume;
        ch->recover_unsure = ch->recover_unsure || (consumer->paused && ch->recovers > 0);
        ch->conn->quiet_from = life->now;
        if (!resume) COUNT(consumer_pauses);
        return;
    }
    struct request *r = request_new(ch->conn, ch, "basic.cancel");
    r->ordered = false;
    r->consumer = consumer;
    bool no_wait = percent(life->c, 20);
    lago_basic_cancel_t args = { .consumer_tag = consumer->tag, .no_wait = no_wait };
    int rc = CALL(life, lago_basic_cancel(ch->h, &args, no_wait ? NULL : told_cancelled, r));
    if (!no_wait) request_keep(r, rc);
    if (rc < 0) return;
    COUNT(cancels);
    consumer->cancelled = true;
}

static void get(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    struct request *r = request_new(ch->conn, ch, "basic.get");
    r->auto_ack = percent(c, 20);
    lago_basic_get_t args = { .queue = app_queue(life, ch),
                              .auto_ack = r->auto_ack,
                              .timeout_ms = percent(c, 6) ? 1 + (uint32_t)roll(c, 3000) : 0 };
    request_keep(r, CALL(life, lago_basic_get(ch->h, &args, told_get, r)));
}

static void qos(struct life *life, struct sim_channel *ch) {
    struct request *r = request_new(ch->conn, ch, "basic.qos");
    lago_basic_qos_t args = { .prefetch_count = (uint16_t)roll(life->c, 12), .global_qos = percent(life->c, 10) };
    if (roll(life->c, 60) == 0) args.prefetch_size = 1;
    request_keep(r, CALL(life, lago_basic_qos(ch->h, &args, told_done, r)));
}

/* ---------------------------------------------------------------- settling */

static bool is_open(const struct record *record) { return record->told && !record->no_ack && !record->settled && !record->stale; }

/* Beside a consumer that is paused: which of them were settled is not told. */
static void half_settled(struct sim_channel *ch, uint64_t tag) {
    for (size_t i = 0; i < ch->record_count && (tag == 0 || i < tag); i++)
        if (is_open(&ch->records[i])) ch->records[i].rolled_back = ch->records[i].covered = true;
    ch->recover_unsure = true;
}

static void settle(struct life *life, struct sim_channel *ch, uint64_t tag) {
    struct chance *c = life->c;
    uint64_t how = roll(c, 100);
    unsigned flags = how < 85 && percent(c, 30) ? LAGO_MULTIPLE : 0;
    bool requeue = percent(c, 60), expected = false;
    if (how >= 70 && !requeue) flags |= LAGO_NO_REQUEUE;
    uint8_t as = how < 70 ? 'a' : how < 85 ? 'n' : 'r';
    for (size_t i = 0; i < ch->record_count; i++) {
        bool meant = i + 1 == tag || ((flags & LAGO_MULTIPLE) && (tag == 0 || i + 1 < tag));
        expected = expected || (meant && is_open(&ch->records[i]));
    }
    /* before the call: what leaves at once is judged at once */
    struct record *records = ch->records;
    size_t count = ch->record_count;
    int rc = as == 'a'   ? CALL(life, lago_basic_ack(ch->h, tag, flags))
             : as == 'n' ? CALL(life, lago_basic_nack(ch->h, tag, flags))
                         : CALL(life, lago_basic_reject(ch->h, tag, flags));
    TRACE(life, "    %s channel %u tag %llu flags %u = %d",
          as == 'a'   ? "ack"
          : as == 'n' ? "nack"
                      : "reject",
          ch->number, (unsigned long long)tag, flags, rc);
    if (rc == LAGO_ESTALE) COUNT(stale_acks);
    struct record *guessed = tag && tag <= count && !records[tag - 1].told ? &records[tag - 1] : NULL; /* one that is held */
    bool sure = !ch->conn->lied && !ch->recover_unsure;
    if (rc == 0 && !expected && !guessed && sure) sim_broken(life, "a tag was settled that is not open");
    if (rc == LAGO_ESTALE && expected && tag && tag <= count && is_open(&records[tag - 1]) && sure)
        sim_broken(life, "an open tag is called stale");
    if (rc == LAGO_ENOMEM && (flags & LAGO_MULTIPLE)) half_settled(ch, tag);
    if (rc < 0) return;
    as == 'a' ? COUNT(acks) : as == 'n' ? COUNT(nacks) : COUNT(rejects);
    if (flags & LAGO_MULTIPLE) COUNT(multiple_acks);
    for (size_t i = 0; i < count; i++) {
        bool meant = i + 1 == tag || ((flags & LAGO_MULTIPLE) && (tag == 0 || i + 1 < tag));
        records[i].covered = records[i].covered || (meant && ch->tx && (flags & LAGO_MULTIPLE));
        bool covered = is_open(&records[i]) || (records[i].rolled_back && (flags & LAGO_MULTIPLE)) ||
                       (&records[i] == guessed && !(flags & LAGO_MULTIPLE));
        if (!meant || !covered) continue;
        records[i].settled = as;
        records[i].requeue = as != 'a' && requeue;
    }
}

void app_settle_some(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    bool any = false;
    for (size_t i = 0; i < ch->record_count; i++) any = any || is_open(&ch->records[i]);
    if (!any && !percent(c, 10)) return;
    uint64_t tag = ch->record_count ? 1 + roll(c, ch->record_count) : 1;
    for (size_t i = 0; i < ch->record_count && percent(c, 90); i++) { /* mostly one that is open */
        uint64_t at = ch->record_count - i;
        if (!is_open(&ch->records[at - 1])) continue;
        tag = at;
        break;
    }
    if (percent(c, 2)) tag = 0;
    if (percent(c, 2)) tag = 1 + roll(c, 1000);
    settle(life, ch, tag);
}

static void recover(struct life *life, struct sim_channel *ch) {
    struct request *r = request_new(ch->conn, ch, "basic.recover");
    lago_basic_recover_t args = { .no_requeue = roll(life->c, 40) == 0 };
    int rc = CALL(life, lago_basic_recover(ch->h, &args, told_done, r));
    request_keep(r, rc);
    if (rc < 0) return;
    COUNT(recovers);
    for (const struct sim_consumer *consumer = ch->consumers; consumer; consumer = consumer->next)
        ch->recover_unsure = ch->recover_unsure || (consumer->paused && !consumer->ended);
    ch->recovers++;
    r->recovers = true;
    for (size_t i = 0; i < ch->record_count; i++)
        if (is_open(&ch->records[i])) ch->records[i].settled = 'R';
}

/* ---------------------------------------------------------------- calls, forwarding */

static void call(struct life *life, struct sim_channel *ch) {
    struct chance *c = life->c;
    if (ch->tx) return;
    if (!ch->rpc) {
        if (ch->has_rpc) return;
        lago_rpc_options_t options = { .data = ch, .free_data = told_rpc_free, .timeout_ms = 1 + (uint32_t)roll(c, 5000) };
        if (CALL(life, lago_rpc_new(ch->h, &options, &ch->rpc)) < 0) return;
        TRACE(life, "    lago_rpc_new on channel %u", ch->number);
        ch->has_rpc = true;
        return;
    }
    if (percent(c, 3)) {
        for (size_t i = 0; i < ch->post_count; i++) ch->posts[i]->call_open = false;
        ch->calls_open = 0;
        life->in_free++;
        TRACE(life, "    lago_rpc_free on channel %u", ch->number);
        CALL(life, (lago_rpc_free(ch->rpc), 0));
        life->in_free--;
        ch->rpc = NULL;
        return;
    }
    struct post *post = book_new(life, ch, 8 + roll(c, 100));
    lago_rpc_call_t args = { .routing_key = some_key(c), .body = { book_body(post->id, post->size, body_room), post->size } };
    int64_t rc = CALL(life, lago_rpc_call(ch->rpc, &args, told_reply, post));
    TRACE(life, "    lago_rpc_call on channel %u = %lld (message %llu)", ch->number, (long long)rc, (unsigned long long)post->id);
    app_refused(ch, rc);
    if (rc < 0) return;
    COUNT(calls);
    size_t earlier = 0;
    for (size_t i = 0; i < ch->post_count; i++) earlier += ch->posts[i]->number > 0;
    post->mandatory = true;
    book_accept(post, ch->confirms ? (int64_t)earlier + 1 : 0);
    post->call_open = true;
    ch->calls_open++;
    if (!percent(c, 5)) return;
    if (CALL(life, lago_rpc_forget(ch->rpc, rc)) == 0) {
        post->call_open = false;
        ch->calls_open--;
    }
}

static void forward(struct life *life, struct sim_channel *ch) {
    size_t i = roll(life->c, KEPT_MAX);
    if (!life->kept[i]) return;
    const struct post *from = life->posts[life->kept_ids[i]];
    struct post *post = book_new(life, ch, from->size);
    post->content = from->content;
    post->answers = from->answers;
    post->owed = ch->confirms;
    lago_forward_t args = { .exchange = "", .routing_key = some_key(life->c) };
    int64_t rc = CALL(life, lago_message_forward(ch->h, life->kept[i], &args, post->owed ? told_published : NULL, post));
    TRACE(life, "    lago_message_forward on channel %u = %lld", ch->number, (long long)rc);
    app_refused(ch, rc);
    if (rc < 0) return;
    if (life->kept_of[i] != ch->conn) life->kept_of[i]->across = true;
    book_accept(post, rc);
    COUNT(forwarded);
}

/* As producers do: until it is too much again. */
void app_go_on(struct life *life, struct sim_conn *conn) {
    for (struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        for (uint64_t n = ch->h && !ch->ended_told ? roll(life->c, 8) : 0; n > 0 && !conn->drain_owed; n--) publish(life, ch);
}

bool app_waits(const struct sim_conn *conn) {
    for (const struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        if (ch->publisher && ch->publishing->ready_owed) return true;
    return false;
}

void app_message_act(struct life *life, struct sim_channel *ch) {
    uint64_t what = roll(life->c, 100);
    if (what < 34)
        publish(life, ch);
    else if (what < 50)
        publisher_act(life, ch);
    else if (what < 60)
        consumer_act(life, ch);
    else if (what < 68)
        get(life, ch);
    else if (what < 86)
        app_settle_some(life, ch);
    else if (what < 89)
        qos(life, ch);
    else if (what < 91)
        recover(life, ch);
    else if (what < 97)
        call(life, ch);
    else
        forward(life, ch);
}
