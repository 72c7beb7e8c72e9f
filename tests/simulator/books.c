/* What the broker saw, held against what the application did and was told. Must not know faults. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- publishes */

/* Bytes of a body are made from its number: the first eight are the number. */
static uint8_t body_byte(uint64_t id, uint64_t at) {
    return at < 8 ? (uint8_t)(id >> (8 * at)) : (uint8_t)(id * 157u + at * 59u + (at >> 8));
}

/* The part that follows from the place alone, made once: so the loops below, a fifth of a life's time, become wide. */
static uint8_t places[BODY_MAX];

void book_prepare(void) {
    for (uint32_t i = 0; i < BODY_MAX; i++) places[i] = (uint8_t)(i * 59u + (i >> 8));
}

const uint8_t *book_body(uint64_t id, size_t size, uint8_t *room) {
    uint8_t add = (uint8_t)(id * 157u);
    for (size_t i = 0; i < size && i < 8; i++) room[i] = body_byte(id, i);
    for (size_t i = 8; i < size; i++) room[i] = (uint8_t)(places[i] + add);
    return room;
}

static bool is_body(uint64_t content, uint64_t offset, lago_bytes_t piece) {
    const uint8_t *bytes = piece.data;
    uint8_t add = (uint8_t)(content * 157u), wrong = 0;
    size_t at = 0;
    if (offset > BODY_MAX || piece.size > BODY_MAX - offset) return piece.size == 0; /* there are none so large */
    const uint8_t *place = places + offset;
    for (; at < piece.size && offset + at < 8; at++) wrong |= bytes[at] ^ body_byte(content, offset + at);
    for (size_t i = at; i < piece.size; i++) wrong |= bytes[i] ^ (uint8_t)(place[i] + add);
    return wrong == 0;
}

void book_body_check(struct life *life, uint64_t content, uint64_t offset, lago_bytes_t piece) {
    const uint8_t *bytes = piece.data;
    if (is_body(content, offset, piece)) return;
    for (size_t i = 0; i < piece.size; i++)
        if (bytes[i] != body_byte(content, offset + i))
            sim_broken(life, "body of message %llu: byte %llu is wrong", (unsigned long long)content,
                       (unsigned long long)(offset + i));
    sim_broken(life, "body of message %llu: it is larger than any", (unsigned long long)content);
}

uint64_t book_content(const struct life *life, lago_bytes_t body, const lago_properties_t *properties) {
    (void)life;
    uint64_t id = 0;
    const uint8_t *bytes = body.data;
    if (body.size >= 8) {
        for (unsigned i = 0; i < 8; i++) id |= (uint64_t)bytes[i] << (8 * i);
        return id;
    }
    return properties && properties->message_id ? strtoull(properties->message_id, NULL, 10) : UINT64_MAX;
}

struct post *book_new(struct life *life, struct sim_channel *ch, size_t size) {
    struct post *post = model_new(life->broker, sizeof(*post));
    *post = (struct post){ .life = life, .ch = ch, .id = life->post_count, .content = life->post_count, .size = size };
    struct model_link *link = ch->conn->link;
    if (link && ch->conn->h && lago_connection_is_blocked(ch->conn->h)) post->blocked_count = ch->conn->blocked_told;
    return post;
}

static void *grown(struct model_broker *b, void *old, size_t *capacity, size_t needed, size_t item) {
    if (needed <= *capacity) return old;
    size_t more = *capacity ? *capacity * 2 : 16;
    void *room = model_new(b, more * item);
    if (*capacity) memcpy(room, old, *capacity * item);
    *capacity = more;
    return room;
}

void book_accept(struct post *post, int64_t rc) {
    struct life *life = post->life;
    struct sim_channel *ch = post->ch;
    life->posts = grown(life->broker, life->posts, &life->post_capacity, life->post_count + 1, sizeof(*life->posts));
    post->id = life->post_count;
    life->posts[life->post_count++] = post;
    ch->posts = grown(life->broker, ch->posts, &ch->post_capacity, ch->post_count + 1, sizeof(*ch->posts));
    ch->posts[ch->post_count++] = post;
    post->number = (uint64_t)rc;
    COUNT(publishes);
}

/* The n-th message that comes on a channel is the n-th that was accepted there, whole and as it was. */
uint64_t book_arrived(void *data, struct model_channel *model, const struct model_message *message) {
    struct life *life = data;
    struct sim_channel *ch = model->owner;
    COUNT(arrived);
    if (!ch) sim_broken(life, "a message on a channel that nobody opened");
    if (ch->arrived >= ch->post_count) sim_broken(life, "a message came that was never published, or came twice");
    struct post *post = ch->posts[ch->arrived++];
    struct content_header header;
    (void)content_header_read(message->header.data, message->header.size, &header);
    if (message->body.size != post->size) sim_broken(life, "message %llu came with another size", (unsigned long long)post->id);
    char id[32] = "";
    if (header.properties.message_id)
        (void)snprintf(id, sizeof(id), "%.*s", header.properties.sizes.message_id, header.properties.message_id);
    header.properties.message_id = id;
    uint64_t content = book_content(life, message->body, &header.properties);
    if (content != post->content)
        sim_broken(life, "message %llu came where %llu was next", (unsigned long long)content, (unsigned long long)post->content);
    book_body_check(life, content, 0, message->body);
    if (post->arrived) sim_broken(life, "message %llu came twice", (unsigned long long)post->id);
    post->arrived = true;
    if (model->confirms && post->number != model->publish_tag + 1)
        sim_broken(life, "message %llu has number %llu here, and %llu there", (unsigned long long)post->id,
                   (unsigned long long)post->number, (unsigned long long)model->publish_tag + 1);
    if (post->told == TOLD_NOT_SENT)
        sim_broken(life, "message %llu came though it was told not sent", (unsigned long long)post->id);
    if (post->blocked_count && model->link->blocked && model->link->blocked_count == post->blocked_count)
        sim_broken(life, "message %llu left while the connection was blocked", (unsigned long long)post->id);
    return post->id;
}

void book_judged(void *data, uint64_t id, uint32_t method) {
    struct life *life = data;
    struct post *post = life->posts[id];
    if (method == METHOD_BASIC_RETURN)
        post->returned = true;
    else
        *(method == METHOD_BASIC_ACK ? &post->acked : &post->nacked) = true;
}

void book_outcome(struct post *post, lago_publish_outcome_t outcome) {
    static const enum told told[] = { TOLD_CONFIRMED, TOLD_NACKED, TOLD_RETURNED, TOLD_NOT_SENT, TOLD_UNKNOWN };
    struct life *life = post->life;
    unsigned long long id = post->id;
    if (post->told != TOLD_NOTHING) sim_broken(life, "message %llu has two outcomes", id);
    post->told = told[outcome];
    sim_shared->counts[COUNT_confirmed + outcome]++;
    if (post->ch->conn->lied) return;
    switch (outcome) {
    case LAGO_PUBLISH_CONFIRMED:
        if (!post->acked || post->returned) sim_broken(life, "message %llu is told confirmed: it is not", id);
        break;
    case LAGO_PUBLISH_NACKED:
        if (!post->nacked) sim_broken(life, "message %llu is told nacked: it is not", id);
        break;
    case LAGO_PUBLISH_RETURNED:
        if (!post->returned || !post->acked) sim_broken(life, "message %llu is told returned: it is not", id);
        break;
    case LAGO_PUBLISH_NOT_SENT:
        if (post->arrived) sim_broken(life, "message %llu is told not sent: it arrived", id);
        break;
    case LAGO_PUBLISH_UNKNOWN: break;
    }
}

/* ---------------------------------------------------------------- deliveries */

void book_opened(void *data, struct model_channel *model) {
    struct life *life = data;
    struct sim_conn *conn = model->link->owner;
    for (struct sim_channel *ch = conn->channels; ch; ch = ch->next) { /* the newest comes first */
        if (ch->number != model->number) continue;
        if (ch->model && ch->model->link == model->link) sim_broken(life, "channel %u was opened twice on a link", model->number);
        ch->model = model;
        ch->record_count = 0; /* an earlier link did not get as far as to be heard */
        model->owner = ch;
        return;
    }
    sim_broken(life, "channel.open %u of nobody", model->number);
}

struct record *book_record(struct sim_channel *ch, uint64_t tag) {
    return tag >= 1 && tag <= ch->record_count ? &ch->records[tag - 1] : NULL;
}

void book_delivered(void *data, struct model_channel *model, const struct model_message *message, uint64_t tag, bool to_get) {
    struct life *life = data;
    struct sim_channel *ch = model->owner;
    ch->records = grown(life->broker, ch->records, &ch->record_capacity, ch->record_count + 1, sizeof(*ch->records));
    if (tag != ch->record_count + 1) sim_broken(life, "the model broker has lost count");
    ch->records[ch->record_count++] = (struct record){ .id = message->id, .to_get = to_get, .redelivered = message->redelivered };
}

static uint8_t settled_by(uint32_t method) { return method == METHOD_BASIC_ACK ? 'a' : method == METHOD_BASIC_NACK ? 'n' : 'r'; }

/* Acknowledged: the application did it. Refused: it did, or it never saw the message, which goes back. */
void book_settled(void *data, struct model_channel *model, uint64_t tag, uint32_t method, bool requeue) {
    struct life *life = data;
    struct sim_channel *ch = model->owner;
    struct record *record = book_record(ch, tag);
    unsigned long long id = record->id;
    if (ch->conn->lied) return;
    if (method == METHOD_TX_ROLLBACK) { /* open again for the broker, and of nobody's concern here but to a `multiple` */
        record->wire = record->settled = 0;
        record->stale = record->rolled_back = true;
        return;
    }
    if (record->wire) sim_broken(life, "delivery %llu (message %llu) is settled twice", (unsigned long long)tag, id);
    record->wire = settled_by(method);
    if (record->rolled_back && record->covered) return;
    if (method == METHOD_BASIC_ACK) {
        if (record->settled != 'a')
            sim_broken(life, "delivery %llu (message %llu) is acknowledged: the application did not", (unsigned long long)tag,
                       id);
        return;
    }
    if (!record->told && !record->settled) {
        COUNT(given_back);
        if (!requeue) sim_broken(life, "delivery %llu (message %llu), which nobody saw, is dropped", (unsigned long long)tag, id);
        return;
    }
    if (record->settled != record->wire || record->requeue != requeue)
        sim_broken(life, "delivery %llu (message %llu) is refused: the application did not say that", (unsigned long long)tag,
                   id);
}

/* ---------------------------------------------------------------- calm points: everything that was owed has come */

static bool consumer_hears(const struct sim_consumer *consumer) {
    return consumer && !consumer->paused && !consumer->cancelled && !consumer->ended;
}

static void check_records(struct life *life, struct sim_channel *ch) {
    for (size_t i = 0; i < ch->record_count; i++) {
        const struct record *record = &ch->records[i];
        unsigned long long tag = i + 1;
        if (record->settled && record->settled != 'R' && !record->wire && !record->no_ack && !record->rolled_back &&
            !ch->recover_unsure)
            sim_broken(life, "delivery %llu on channel %u: its acknowledgement never left", tag, ch->number);
        if (record->begun && !record->ended && consumer_hears(record->consumer))
            sim_broken(life, "delivery %llu on channel %u: its body never ended", tag, ch->number);
    }
}

/* Consumers that live hear all; who is heard by what tag is known only once it was told, so this looks at the model's. */
static void check_consumers(struct life *life, struct sim_channel *ch) {
    for (struct sim_consumer *consumer = ch->consumers; consumer; consumer = consumer->next) {
        if (!consumer_hears(consumer) || consumer->auto_ack || consumer->replies) continue;
        const struct model_consumer *model = ch->model->consumers;
        while (model && (model->gone || model->tag.size != strlen(consumer->tag) ||
                         memcmp(model->tag.data, consumer->tag, model->tag.size) != 0))
            model = model->next;
        if (!model) continue;
        for (const struct model_delivery *d = ch->model->unacked; d; d = d->next) {
            const struct record *record = book_record(ch, d->tag);
            if (d->consumer == model && !record->told)
                sim_broken(life, "delivery %llu on channel %u was never told", (unsigned long long)d->tag, ch->number);
        }
    }
}

static void check_posts(struct life *life, struct sim_channel *ch) {
    for (size_t i = 0; i < ch->post_count; i++) {
        const struct post *post = ch->posts[i];
        if (post->owed && post->told == TOLD_NOTHING)
            sim_broken(life, "message %llu: %s, and no outcome was told", (unsigned long long)post->id,
                       post->acked || post->nacked ? "it was confirmed"
                       : post->arrived             ? "it arrived"
                                                   : "it never left");
        if (!post->arrived) sim_broken(life, "message %llu never left", (unsigned long long)post->id);
    }
}

static bool is_calm(const struct sim_conn *conn) {
    return conn->used && conn->h && conn->link && conn->link->state == MODEL_RUNNING && !conn->link->mute && !conn->lied &&
           !conn->memory_failed && !conn->halted && !conn->v.swallowed && lago_connection_state(conn->h) == LAGO_CONNECTION_OPEN;
}

static bool has_paused(const struct sim_conn *conn) {
    for (const struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        for (const struct sim_consumer *consumer = ch->consumers; consumer; consumer = consumer->next)
            if (consumer->paused && !consumer->ended) return true;
    return false;
}

void book_check_calm(struct life *life) {
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct sim_conn *conn = &life->conns[i];
        if (!is_calm(conn) || has_paused(conn)) continue; /* who is paused may have halted all */
        COUNT(calm_points);
        if (lago_connection_output_size(conn->h) > 0) sim_broken(life, "output waits, and nothing is in its way");
        if (conn->drain_owed) sim_broken(life, "on_drain was promised, and never came");
        for (const struct request *request = conn->requests; request; request = request->next)
            if (!request->done) sim_broken(life, "%s was never answered", request->name);
        for (struct sim_channel *ch = conn->channels; ch; ch = ch->next) {
            bool open = ch->h && lago_channel_state(ch->h) == LAGO_CHANNEL_OPEN && ch->model;
            if (!open || ch->model->state != MODEL_CHANNEL_OPEN || ch->model->link != conn->link) continue;
            if (ch->publisher && ch->publishing->ready_owed) sim_broken(life, "on_ready was promised, and never came");
            check_records(life, ch);
            check_consumers(life, ch);
            check_posts(life, ch);
        }
    }
}

/* ---------------------------------------------------------------- ends: everything has been told */

void book_check_channel_ended(struct sim_channel *ch) {
    struct life *life = ch->conn->life;
    for (const struct request *request = ch->conn->requests; request; request = request->next)
        if (request->ch == ch && !request->done)
            sim_broken(life, "channel %u ended, and %s was not told", ch->number, request->name);
    for (size_t i = 0; i < ch->post_count; i++)
        if (ch->posts[i]->owed && ch->posts[i]->told == TOLD_NOTHING)
            sim_broken(life, "channel %u ended, and message %llu has no outcome", ch->number,
                       (unsigned long long)ch->posts[i]->id);
    for (const struct sim_consumer *consumer = ch->consumers; consumer; consumer = consumer->next)
        if (consumer->begun && !consumer->freed) sim_broken(life, "channel %u ended before its consumer", ch->number);
    for (size_t i = 0; i < ch->record_count; i++)
        if (ch->records[i].begun && !ch->records[i].ended)
            sim_broken(life, "channel %u ended in the middle of a body", ch->number);
    if (ch->calls_open) sim_broken(life, "channel %u ended with %zu calls", ch->number, ch->calls_open);
}

void book_check_ended(struct sim_conn *conn) {
    struct life *life = conn->life;
    for (const struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        if (ch->h && !ch->ended_told) sim_broken(life, "the connection ended before its channel %u", ch->number);
    for (const struct request *request = conn->requests; request; request = request->next)
        if (!request->done && (!request->ch || request->ch->h))
            sim_broken(life, "the connection ended, and %s was not told", request->name);
    for (const struct sim_timer *timer = conn->timers; timer; timer = timer->next)
        if (!timer->done) sim_broken(life, "the connection ended, and a timer was not told");
}
