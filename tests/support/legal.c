/* Judges a life by the contracts. Must not know what was made to fail, nor how the library works inside. */
#include "legal.h"

#include <lago/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *zeroed(size_t size) {
    void *data = calloc(1, size);
    if (!data) abort();
    return data;
}

void legal_break(struct legal *l, const char *format, ...) {
    char words[400];
    va_list args;
    if (l->problem) return;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    l->problem = strdup(words);
}

const char *legal_problem(const struct legal *l) { return l->problem ? l->problem : l->wire.problem; }

static void note_code(struct legal *l, int code) {
    if (code >= 0) return;
    if (code == LAGO_ENOMEM || (l->explains && l->explains(code, l->explains_data))) l->explained = true;
}

/* ---------------------------------------------------------------- life */

void legal_init(struct legal *l) {
    memset(l, 0, sizeof *l);
    conversation_init(&l->wire);
}

void legal_clear(struct legal *l) {
    for (struct legal_channel *next; l->channels; l->channels = next) {
        next = l->channels->next;
        free(l->channels);
    }
    for (struct legal_promise *next; l->promises; l->promises = next) {
        next = l->promises->next;
        free(l->promises);
    }
    conversation_clear(&l->wire);
    free(l->events);
    free(l->problem);
    legal_init(l);
}

void legal_link(struct legal *l, bool up) {
    conversation_link(&l->wire, up);
    l->event_count = 0;
}

/* ---------------------------------------------------------------- calls */

void legal_call(struct legal *l, bool frees) {
    l->in_call = true;
    l->in_free = frees;
}

int64_t legal_returned(struct legal *l, int64_t rc) {
    l->in_call = l->in_free = false;
    if (rc < 0) note_code(l, (int)rc);
    return rc;
}

struct legal_promise *legal_ask(struct legal *l, struct legal_channel *channel, enum legal_kind kind, const char *name) {
    struct legal_promise *promise = zeroed(sizeof *promise);
    *promise = (struct legal_promise){ .legal = l, .channel = channel, .kind = kind, .name = name, .order = ++l->asked };
    if (l->last_promise)
        l->last_promise->next = promise;
    else
        l->promises = promise;
    l->last_promise = promise;
    return promise;
}

void legal_answer(struct legal_promise *promise, int64_t rc) {
    promise->accepted = rc >= 0;
    if (rc >= 0 && promise->kind == LEGAL_OUTCOME && promise->channel) promise->order = legal_published(promise->channel, rc);
}

struct legal_channel *legal_channel_new(struct legal *l, uint16_t number) {
    struct legal_channel *channel = zeroed(sizeof *channel);
    *channel = (struct legal_channel){ .next = l->channels, .number = number, .is_only = true };
    channel->instance = conversation_instances(&l->wire, number) + 1;
    for (struct legal_channel *other = l->channels; other; other = other->next)
        if (other->number == number) other->is_only = channel->is_only = false;
    l->channels = channel;
    return channel;
}

void legal_channel_closing(struct legal_channel *channel) { channel->closing = true; }

void legal_channel_freed(struct legal *l, struct legal_channel *channel) {
    channel->freed = channel->closing = true;
    for (struct legal_promise *p = l->promises; p; p = p->next)
        if (p->channel == channel) p->loose = true;
}

void legal_freed(struct legal *l) {
    l->freed = true;
    for (struct legal_channel *ch = l->channels; ch; ch = ch->next) ch->freed = true;
    for (struct legal_promise *p = l->promises; p; p = p->next) p->loose = true;
}

uint64_t legal_published(struct legal_channel *channel, int64_t rc) {
    channel->accepted++;
    if (rc > 0) channel->sequence_base = channel->accepted - (uint64_t)rc;
    return channel->accepted;
}

void legal_settled(struct legal *l, const struct legal_channel *channel, uint64_t tag, bool multiple) {
    conversation_settled(&l->wire, channel->number, tag, multiple);
}

/* ---------------------------------------------------------------- callbacks */

void legal_enter(struct legal *l, enum legal_kind kind, struct legal_channel *channel) {
    bool may_nest = kind == LEGAL_FREED && l->in_free;
    if (l->in_call && !may_nest) legal_break(l, "called back from inside a call");
    if (l->in_callback && !may_nest) legal_break(l, "callbacks nest");
    bool over = l->open_failed || l->closed;
    if (kind != LEGAL_FREED && over) legal_break(l, "called back behind the connection's end");
    if (kind != LEGAL_FREED && l->freed) legal_break(l, "called back behind the connection's free");
    if (kind != LEGAL_FREED && channel && (channel->ended || channel->freed))
        legal_break(l, "channel %u: called back behind its %s", channel->number, channel->ended ? "end" : "free");
    if (!may_nest) l->in_callback = true;
}

void legal_leave(struct legal *l) {
    if (!l->in_free) l->in_callback = false;
}

void legal_event(struct legal *l, enum legal_kind kind, struct legal_channel *channel, uint64_t order, int code) {
    note_code(l, code);
    if (l->event_count == l->event_capacity) {
        l->event_capacity = l->event_capacity * 2 + 32;
        l->events = realloc(l->events, l->event_capacity * sizeof *l->events);
        if (!l->events) abort();
    }
    l->events[l->event_count++] = (struct legal_event){ kind, channel, order, code };
}

void legal_told(struct legal_promise *promise, int code) {
    struct legal *l = promise->legal;
    if (++promise->told > 1) legal_break(l, "%s came %u times", promise->name, promise->told);
    legal_event(l, promise->kind, promise->channel, promise->order, code);
}

/* ---------------------------------------------------------------- outcomes */

/* What is on the wire of this handle and no other: NULL if that is not known, or nothing is. */
static const struct spoken_channel *spoken(const struct legal *l, const struct legal_channel *channel) {
    const struct spoken_channel *ch = conversation_channel(&l->wire, channel->number);
    return channel->is_only && ch && ch->instance == channel->instance ? ch : NULL;
}

static bool is_true(const struct legal *l, struct legal_channel *channel, uint64_t publish, lago_publish_outcome_t outcome) {
    const struct spoken_channel *ch = spoken(l, channel);
    uint64_t begun = ch ? ch->begun : 0, returned = ch ? ch->returned : 0;
    enum fate fate = ch ? conversation_fate(ch, publish) : FATE_UNKNOWN;
    if (l->scripted && outcome < LAGO_PUBLISH_NOT_SENT && publish > begun) return true;
    switch (outcome) {
    case LAGO_PUBLISH_CONFIRMED: return fate == FATE_ACKED;
    case LAGO_PUBLISH_NACKED: return fate == FATE_NACKED;
    case LAGO_PUBLISH_RETURNED: return ++channel->returned <= returned;
    case LAGO_PUBLISH_NOT_SENT:
        if (!channel->not_sent || publish < channel->not_sent) channel->not_sent = publish; /* and so it must stay */
        return publish > begun;
    case LAGO_PUBLISH_UNKNOWN: return l->vague_bytes || publish <= begun + (ch && ch->cut);
    }
    return false;
}

void legal_outcome(struct legal *l, struct legal_channel *channel, uint64_t publish, lago_publish_outcome_t outcome, int code) {
    legal_event(l, LEGAL_OUTCOME, channel, publish, code);
    bool is_known = channel->is_only && l->wire.links <= 1;
    if (is_known && !is_true(l, channel, publish, outcome))
        legal_break(l, "channel %u: publish %llu is told to be %s, and is not", channel->number, (unsigned long long)publish,
                    lago_publish_outcome_name(outcome));
    bool has_reason = outcome == LAGO_PUBLISH_NOT_SENT || outcome == LAGO_PUBLISH_UNKNOWN;
    if (has_reason != (code < 0)) legal_break(l, "an outcome's reason is missing, or too much");
}

/* ---------------------------------------------------------------- ends */

void legal_opened(struct legal *l) {
    if (++l->opened > 1) legal_break(l, "on_open came twice");
}

/* Where an event stands when everything ends at once. */
static void place(const struct legal_event *event, uint64_t key[4]) {
    bool of_channel = event->kind >= LEGAL_CALL && event->kind <= LEGAL_CHANNEL_END;
    key[0] = of_channel ? LEGAL_CALL : event->kind;
    key[1] = of_channel && event->channel ? event->channel->number : 0;
    key[2] = of_channel ? event->kind : 0;
    key[3] = event->kind == LEGAL_OPERATION || event->kind == LEGAL_OUTCOME ? event->order : 0;
}

/* Whether an event belongs to the end, and not to one of before. */
static bool is_of_the_end(const struct legal_event *event, int code) {
    if (event->kind == LEGAL_NEWS || event->kind == LEGAL_FREED) return false;
    if (event->channel && event->channel->closing) return false;
    if (event->kind == LEGAL_TIMER || event->kind == LEGAL_POST) return event->code < 0;
    return event->code == code;
}

static void check_order(struct legal *l, int code) {
    uint64_t last[4] = { 0 }, key[4];
    for (size_t i = 0; i < l->event_count; i++) {
        if (!is_of_the_end(&l->events[i], code)) continue;
        place(&l->events[i], key);
        for (size_t k = 0; k < 4; k++) {
            if (key[k] > last[k]) break;
            if (key[k] == last[k]) continue;
            legal_break(l, "the end is told out of order: event %zu of kind %u on channel %u", i, (unsigned)l->events[i].kind,
                        l->events[i].channel ? l->events[i].channel->number : 0u);
            return;
        }
        memcpy(last, key, sizeof last);
    }
}

static void check_all_told(struct legal *l) {
    for (const struct legal_promise *p = l->promises; p; p = p->next)
        if (p->accepted && !p->told && !p->loose && p->kind != LEGAL_FREED)
            legal_break(l, "%s was not told before the end", p->name);
    for (const struct legal_channel *ch = l->channels; ch; ch = ch->next)
        if (!ch->ended && !ch->freed && !ch->silent) legal_break(l, "channel %u has not ended before the connection", ch->number);
}

static void end(struct legal *l, int code) {
    legal_event(l, LEGAL_CONNECTION_END, NULL, 0, code);
    if (l->open_failed + l->closed > 1) legal_break(l, "the connection ended twice");
    check_order(l, code);
    check_all_told(l);
}

void legal_open_failed(struct legal *l, int code) {
    l->open_failed++;
    if (l->opened) legal_break(l, "on_open_error behind on_open");
    end(l, code);
}

void legal_closed(struct legal *l, int code) {
    l->closed++;
    if (!l->opened) legal_break(l, "on_close without on_open");
    end(l, code);
}

void legal_channel_ended(struct legal *l, struct legal_channel *channel, int code) {
    legal_event(l, LEGAL_CHANNEL_END, channel, 0, code);
    if (channel->ended) legal_break(l, "channel %u ended twice", channel->number);
    for (const struct legal_promise *p = l->promises; p; p = p->next)
        if (p->channel == channel && p->accepted && !p->told && !p->loose && p->kind != LEGAL_FREED)
            legal_break(l, "channel %u ended before %s was told", channel->number, p->name);
    channel->ended = true;
}

void legal_check(struct legal *l) {
    if (l->connected && !l->freed && l->open_failed + l->closed != 1) legal_break(l, "the connection's end was not told");
    for (const struct legal_promise *p = l->promises; p; p = p->next) {
        bool due = p->accepted && (!p->loose || p->kind == LEGAL_FREED);
        if (due && p->told != 1) legal_break(l, "%s was accepted and came %u times", p->name, p->told);
        if (!p->accepted && p->told) legal_break(l, "%s was refused and came all the same", p->name);
    }
    for (const struct legal_channel *channel = l->channels; channel; channel = channel->next) {
        const struct spoken_channel *ch = spoken(l, channel);
        /* behind its own channel.close a broker discards what comes (1.5.2.5): it may as well come */
        if (channel->not_sent && ch && !ch->ended_by_peer && ch->begun >= channel->not_sent)
            legal_break(l, "channel %u: publish %llu was told not to be sent, and came", channel->number,
                        (unsigned long long)channel->not_sent);
    }
}

void legal_check_explained(struct legal *l, bool differs) {
    if (differs && !l->explained) legal_break(l, "something is missing, and nobody was told why");
}
