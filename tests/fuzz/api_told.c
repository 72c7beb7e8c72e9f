/*
 * What an application is told in fuzz_api, and whether it may be told that now: never nested, never from inside a call, behind an end
 * or behind a free; each promise once.
 */
#include "api_life.h"
#include <string.h>

/* ---------------------------------------------------------------- around calls and callbacks */

void calls(bool frees) {
    REQUIRE(!life.in_call);
    life.in_call = true;
    life.in_free = frees;
}

int64_t returned(int64_t rc) {
    life.in_call = life.in_free = false;
    return rc;
}

struct channel *channel_of(unsigned index) {
    return index ? &life.channels[index - 1] : NULL;
}

void enter(const struct channel *channel) {
    REQUIRE(!life.in_call && !life.in_callback && !life.ended && !life.freed);
    REQUIRE(!channel || (!channel->ended && !channel->freed));
    life.in_callback = true;
}

/* Anything may be done in a callback. */
void leave(void) {
    if (life.inside < INSIDE_MAX && decide(&life.d) & 1) {
        life.inside++;
        act();
    }
    life.in_callback = false;
}

struct promise *promise(const struct channel *channel, const char *name) {
    if (life.promise_count == PROMISES_MAX) return NULL;
    struct promise *p = &life.promises[life.promise_count++];
    *p = (struct promise){ .name = name, .channel = (unsigned char)(channel ? channel - life.channels + 1 : 0) };
    return p;
}

int64_t answered(struct promise *p, int64_t rc) {
    p->accepted = rc >= 0;
    REQUIRE(p->told == 0 || p->is_freed_kind);
    return returned(rc);
}

void told(struct promise *p) {
    REQUIRE(p->accepted && !p->loose);
    REQUIRE(++p->told <= (p->due ? p->due : 1));
}

/* free_data and release_body: also from inside of what frees. */
void given_back(void *data) {
    struct promise *p = data;
    REQUIRE((!life.in_call && !life.in_callback) || life.in_free || life.in_callback);
    REQUIRE(++p->told == 1);
}

struct promise *lend(const struct channel *channel, const char *name) {
    struct promise *p = promise(channel, name);
    if (p) p->is_freed_kind = true;
    return p;
}

void loosen(const struct channel *channel) {
    for (unsigned i = 0; i < life.promise_count; i++)
        if (!channel || channel_of(life.promises[i].channel) == channel) life.promises[i].loose = true;
}

static void all_told(const struct channel *channel) {
    for (unsigned i = 0; i < life.promise_count; i++) {
        const struct promise *p = &life.promises[i];
        if (channel && channel_of(p->channel) != channel) continue;
        if (p->accepted && !p->loose && !p->is_freed_kind && p->told != (p->due ? p->due : 1))
            fuzz_broken(__FILE__, __LINE__, p->name);
    }
}

static void check_reason(const lago_reason_t *reason) {
    if (!reason) return;
    char words[700];
    REQUIRE(reason->code < 0 && lago_reason_format(reason, words, sizeof(words)) > 0);
    for (const char *c = words; *c; c++) REQUIRE(*c >= ' ' && *c <= '~');
    REACH_IF(reason->code == LAGO_ETIMEDOUT, TIMED_OUT);
    REACH_IF(reason->code == LAGO_ENOMEM && life.opened, NO_MEMORY);
    REACH_IF(reason->code == LAGO_EPROTOCOL && life.opened, BROKEN_BY_PEER);
    REACH_IF(reason->code == LAGO_EHEARTBEAT, SILENT);
    REACH_IF(reason->code == LAGO_ELOST && life.opened, LOST);
}

/* ---------------------------------------------------------------- callbacks */

static void finish_promise(void *data, const lago_reason_t *reason) {
    struct promise *p = data;
    enter(channel_of(p->channel));
    told(p);
    check_reason(reason);
    leave();
}

void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    REACH_IF(!reason && strcmp(((struct promise *)data)->name, "tx.commit") == 0, TRANSACTION);
    finish_promise(data, reason);
}

void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch;
    REQUIRE(!reason != !ok);
    if (ok) REQUIRE(strlen(ok->queue.data) <= ok->queue.size);
    finish_promise(data, reason);
}

void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t count, void *data) {
    (void)ch;
    REQUIRE(!reason || count == 0);
    finish_promise(data, reason);
}

void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch;
    REQUIRE(reason || tag.data[tag.size] == '\0');
    finish_promise(data, reason);
}

void on_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    finish_promise(data, reason);
}

void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn;
    REQUIRE(status == 0 || status == LAGO_ECANCELED);
    REACH_IF(status == 0, TIMER);
    finish_promise(data, NULL);
}

void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch;
    bool has_reason = result->outcome == LAGO_PUBLISH_NOT_SENT || result->outcome == LAGO_PUBLISH_UNKNOWN;
    REQUIRE(has_reason == (result->reason != NULL));
    life.in_a_row = result->outcome == LAGO_PUBLISH_NACKED ? life.in_a_row + 1 : 0;
    REACH_IF(result->outcome == LAGO_PUBLISH_CONFIRMED, CONFIRMED);
    REACH_IF(life.in_a_row > 1, NACKED_MULTIPLE);
    REACH_IF(result->outcome == LAGO_PUBLISH_RETURNED, RETURNED);
    REACH_IF(result->outcome == LAGO_PUBLISH_UNKNOWN, UNKNOWN_OUTCOME);
    REACH_IF(result->outcome == LAGO_PUBLISH_NOT_SENT, NOT_SENT);
    finish_promise(data, result->reason);
}

void on_ready(lago_publisher_t *publisher, void *data) {
    (void)publisher;
    enter(data);
    REACH(READY);
    leave();
}

static void read_deaths(const lago_message_t *message) {
    lago_death_iterator_t it = lago_message_deaths(message);
    lago_death_t death;
    size_t count = 0, headers = message->properties->headers.size;
    uint64_t offset;
    while (lago_death_next(&it, &death)) {
        REQUIRE(++count <= headers && death.reason_text.size <= headers && death.queue.size <= headers);
        REACH_IF(death.reason == LAGO_DEATH_EXPIRED, DEAD_LETTER);
    }
    (void)lago_message_first_death(message, &death);
    (void)lago_message_last_death(message, &death);
    life.sum += lago_message_delivery_count(message) + lago_message_acquired_count(message);
    (void)lago_message_stream_offset(message, &offset);
}

/* All of it may be read, and strings end where they say. */
void read_message(const lago_message_t *message) {
    const lago_properties_t *p = message->properties;
    uint64_t sum = 0;
    REQUIRE(p && message->exchange.data[message->exchange.size] == '\0' &&
            message->routing_key.data[message->routing_key.size] == '\0');
    if (p->content_type) REQUIRE(p->content_type[p->sizes.content_type] == '\0');
    if (p->correlation_id) REQUIRE(p->correlation_id[p->sizes.correlation_id] == '\0');
    for (size_t i = 0; i < message->body.size; i++) sum += ((const uint8_t *)message->body.data)[i];
    (void)lago_table_check(&p->headers);
    if (p->headers.size) read_deaths(message);
    life.sum ^= sum;
}

static void delivered(struct channel *channel, uint64_t tag) {
    if (tag == 0) return;
    memmove(&channel->tags[1], &channel->tags[0], sizeof(channel->tags) - sizeof(channel->tags[0]));
    channel->tags[0] = tag;
}

static void maybe_keep(const lago_message_t *message) {
    if (life.kept_count == KEPT_MAX || (decide(&life.d) & 7) != 1) return;
    if (lago_message_keep(message, &life.kept[life.kept_count]) == 0) {
        read_message(life.kept[life.kept_count]);
        life.kept_count++;
    }
}

void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct channel *channel = channel_of(((struct promise *)data)->channel);
    (void)ch;
    enter(channel);
    REACH(CONSUMED);
    read_message(message);
    delivered(channel, message->delivery_tag);
    maybe_keep(message);
    leave();
    read_message(message); /* borrowed until the callback returns, whatever was done in it */
}

void on_body(lago_channel_t *ch, const lago_body_t *body, void *data) {
    struct channel *channel = channel_of(((struct promise *)data)->channel);
    uint8_t sum = 0;
    (void)ch;
    enter(channel);
    REQUIRE(!body->reason || body->ends);
    if (body->begins) delivered(channel, body->message->delivery_tag);
    for (size_t i = 0; i < body->piece.size; i++) sum = (uint8_t)(sum + ((const uint8_t *)body->piece.data)[i]);
    REQUIRE(body->reason || body->offset + body->piece.size <= body->size);
    REACH_IF(!body->begins && body->piece.size, IN_PIECES);
    check_reason(body->reason);
    life.sum ^= sum;
    leave();
}

void on_cancel(lago_channel_t *ch, lago_string_t tag, void *data) {
    (void)ch;
    (void)tag;
    enter(channel_of(((struct promise *)data)->channel));
    REACH(CANCELLED_BY_BROKER);
    leave();
}

void on_get(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    struct promise *p = data;
    (void)ch;
    if (message) {
        REACH(GOT);
        read_message(message);
        delivered(channel_of(p->channel), message->delivery_tag);
        maybe_keep(message);
    }
    finish_promise(p, reason);
}

void on_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data) {
    (void)rpc;
    REQUIRE(!result->reply != !result->reason && (result->reason || !result->not_served));
    if (result->reply) {
        REACH(REPLY);
        read_message(result->reply);
    }
    finish_promise(data, result->reason);
}

void on_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    (void)ch;
    (void)active;
    finish_promise(data, reason);
}

void on_return(lago_channel_t *ch, const lago_return_t *back, void *data) {
    (void)ch;
    enter(data);
    read_message(back->message);
    leave();
}

void on_flow(lago_channel_t *ch, bool active, void *data) {
    (void)ch;
    (void)active;
    enter(data);
    leave();
}

void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    struct channel *channel = data;
    (void)ch;
    REQUIRE(!channel->opened);
    if (reason) {
        all_told(channel);
        enter(channel);
        channel->ended = true;
    } else {
        enter(channel);
        channel->opened = true;
    }
    check_reason(reason);
    leave();
}

void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    struct channel *channel = data;
    (void)ch;
    REQUIRE(channel->opened && reason);
    all_told(channel);
    enter(channel);
    channel->ended = true;
    REACH_IF(reason->code == LAGO_ECHANNEL, CHANNEL_CLOSED);
    check_reason(reason);
    leave();
}

void on_open(lago_connection_t *conn, void *data) {
    (void)conn;
    (void)data;
    REQUIRE(!life.opened);
    enter(NULL);
    life.opened = true;
    REACH_IF(life.broker.tunnel == BROKER_THROUGH, PROXIED);
    REACH_IF(life.v.address > 0, NEXT_PLACE);
    REACH_IF(life.booked && life.v.counts.inputs == 1, FAST);
    REACH(OPENED);
    leave();
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    (void)data;
    all_told(NULL);
    for (unsigned i = 0; i < life.channel_count; i++) REQUIRE(life.channels[i].ended || life.channels[i].freed);
    enter(NULL);
    life.ended = true;
    check_reason(reason);
    REACH_IF(life.opened && reason->code == LAGO_ECLOSED && life.broker.closed, CLEAN_CLOSE);
    leave();
}

void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    REQUIRE(!life.opened);
    on_end(conn, reason, data);
}

void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    REQUIRE(life.opened);
    on_end(conn, reason, data);
}

void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    (void)conn;
    (void)data;
    enter(NULL);
    REQUIRE(reason.data[reason.size] == '\0');
    life.blocked = true;
    leave();
}

void on_unblocked(lago_connection_t *conn, void *data) {
    (void)conn;
    (void)data;
    enter(NULL);
    REACH_IF(life.blocked, BLOCKED);
    leave();
}

void on_drain(lago_connection_t *conn, void *data) {
    (void)conn;
    (void)data;
    enter(NULL);
    REACH(DRAINED);
    leave();
}
