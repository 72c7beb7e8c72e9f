/* Queues, exchanges, who gets what. Must not know frames. */
#include "model_broker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- memory: one arena, forgotten at once */

#define BLOCK_SIZE ((size_t)256 * 1024)

struct model_block {
    struct model_block *next;
    size_t size, used;
    max_align_t bytes[];
};

static struct model_block *block_new(size_t size) {
    struct model_block *block = malloc(sizeof(*block) + size);
    if (!block) abort();
    *block = (struct model_block){ .size = size };
    return block;
}

/* Not cleared: for what is filled at once. */
static void *room(struct model_broker *b, size_t size) {
    size = (size + 15) & ~(size_t)15;
    while (b->block && b->block->size - b->block->used < size) {
        if (!b->block->next) b->block->next = block_new(size > BLOCK_SIZE ? size : BLOCK_SIZE);
        b->block = b->block->next;
        b->block->used = 0;
    }
    if (!b->block) b->block = b->blocks = block_new(size > BLOCK_SIZE ? size : BLOCK_SIZE);
    uint8_t *found = (uint8_t *)b->block->bytes + b->block->used;
    b->block->used += size;
    return found;
}

void *model_new(struct model_broker *b, size_t size) { return memset(room(b, size), 0, size); }

void model_broker_reset(struct model_broker *b) {
    struct model_block *blocks = b->blocks;
    struct model_hooks hooks = b->hooks;
    *b = (struct model_broker){ .hooks = hooks, .blocks = blocks, .block = blocks };
    if (blocks) blocks->used = 0;
    lago_string_t direct = { "direct", 6 }, fanout = { "fanout", 6 };
    model_exchange_new(b, (lago_string_t){ "", 0 }, direct);
    model_exchange_new(b, (lago_string_t){ "amq.direct", 10 }, direct);
    model_exchange_new(b, (lago_string_t){ "amq.fanout", 10 }, fanout);
}

void model_broker_init(struct model_broker *b, const struct model_hooks *hooks, uint64_t seed) {
    b->hooks = *hooks;
    model_broker_reset(b);
    b->dice = seed;
}

void model_broker_free(struct model_broker *b) {
    while (b->blocks) {
        struct model_block *next = b->blocks->next;
        free(b->blocks);
        b->blocks = next;
    }
    b->block = NULL;
}

/* splitmix64: any seed will do, 0 too. */
uint64_t model_random(struct model_broker *b, uint64_t below) {
    uint64_t z = (b->dice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

void model_broken(struct model_broker *b, const char *format, ...) {
    char words[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    b->hooks.broken(b->hooks.data, words);
}

lago_bytes_t model_copy(struct model_broker *b, lago_bytes_t bytes) {
    uint8_t *copy = room(b, bytes.size + 1);
    if (bytes.size) memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = 0;
    return (lago_bytes_t){ copy, bytes.size };
}

lago_string_t model_string(struct model_broker *b, lago_string_t s) {
    lago_bytes_t copy = model_copy(b, (lago_bytes_t){ s.data, s.size });
    return (lago_string_t){ copy.data, copy.size };
}

bool model_same(lago_string_t a, lago_string_t b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

void model_append(struct model_broker *b, struct model_bytes *to, const void *data, size_t size) {
    if (to->done == to->size) to->done = to->size = 0;
    if (to->capacity - to->size < size) {
        size_t left = to->size - to->done;
        size_t capacity = to->capacity ? to->capacity : 512;
        while (capacity < left + size) capacity *= 2;
        uint8_t *larger = room(b, capacity);
        if (left) memcpy(larger, to->data + to->done, left);
        to->data = larger;
        to->capacity = capacity;
        to->size = left;
        to->done = 0;
    }
    if (size) memcpy(to->data + to->size, data, size);
    to->size += size;
    to->added += size;
}

/* ---------------------------------------------------------------- names */

struct model_queue *model_queue_find(struct model_broker *b, lago_string_t name) {
    for (struct model_queue *q = b->queues; q; q = q->next)
        if (!q->gone && model_same(q->name, name)) return q;
    return NULL;
}

struct model_exchange *model_exchange_find(struct model_broker *b, lago_string_t name) {
    for (struct model_exchange *x = b->exchanges; x; x = x->next)
        if (!x->gone && model_same(x->name, name)) return x;
    return NULL;
}

struct model_queue *model_queue_new(struct model_broker *b, lago_string_t name) {
    struct model_queue *q = model_new(b, sizeof(*q));
    q->name = model_string(b, name);
    q->next = b->queues;
    b->queues = q;
    return q;
}

struct model_exchange *model_exchange_new(struct model_broker *b, lago_string_t name, lago_string_t type) {
    struct model_exchange *x = model_new(b, sizeof(*x));
    x->name = model_string(b, name);
    x->type = model_string(b, type);
    x->next = b->exchanges;
    b->exchanges = x;
    return x;
}

static bool is_binding(const struct model_binding *a, const struct model_binding *b) {
    return !a->gone && a->from == b->from && a->to == b->to && a->other == b->other && model_same(a->key, b->key);
}

void model_bind(struct model_broker *b, const struct model_binding *binding) {
    for (struct model_binding *at = b->bindings; at; at = at->next)
        if (is_binding(at, binding)) return;
    struct model_binding *copy = model_new(b, sizeof(*copy));
    *copy = *binding;
    copy->key = model_string(b, binding->key);
    copy->next = b->bindings;
    b->bindings = copy;
}

bool model_unbind(struct model_broker *b, const struct model_binding *binding) {
    for (struct model_binding *at = b->bindings; at; at = at->next)
        if (is_binding(at, binding)) return at->gone = true;
    return false;
}

/* ---------------------------------------------------------------- messages in queues */

static void enqueue(struct model_broker *b, struct model_queue *q, const struct model_message *message) {
    struct model_message *copy = model_new(b, sizeof(*copy));
    *copy = *message;
    copy->place = ++b->places;
    copy->next = NULL;
    struct model_message **end = &q->first;
    while (*end) end = &(*end)->next;
    *end = copy;
    q->count++;
}

void model_requeue(struct model_queue *q, struct model_message *message) {
    if (q->gone) return;
    struct model_message **at = &q->first;
    while (*at && (*at)->place < message->place) at = &(*at)->next;
    message->redelivered = true;
    message->next = *at;
    *at = message;
    q->count++;
}

struct model_message *model_take(struct model_queue *q) {
    struct model_message *message = q->first;
    if (!message) return NULL;
    q->first = message->next;
    q->count--;
    message->next = NULL;
    return message;
}

/* To every queue at most once. */
#define TARGETS_MAX 64
struct targets {
    struct model_queue *queues[TARGETS_MAX];
    size_t count;
};

static void target_add(struct targets *t, struct model_queue *q) {
    for (size_t i = 0; i < t->count; i++)
        if (t->queues[i] == q) return;
    if (t->count < TARGETS_MAX) t->queues[t->count++] = q;
}

static void find_targets(struct model_broker *b, const struct model_exchange *x, lago_string_t key, struct targets *t,
                         int depth) {
    if (x->name.size == 0) {
        struct model_queue *q = model_queue_find(b, key);
        if (q) target_add(t, q);
        return;
    }
    bool fanout = x->type.size == 6 && memcmp(x->type.data, "fanout", 6) == 0;
    for (struct model_binding *at = b->bindings; at; at = at->next) {
        if (at->gone || at->from != x || (!fanout && !model_same(at->key, key))) continue;
        if (at->to && !at->to->gone) target_add(t, at->to);
        if (at->other && !at->other->gone && depth < 4) find_targets(b, at->other, key, t, depth + 1);
    }
}

bool model_route(struct model_broker *b, struct model_message *message) {
    struct targets t = { .count = 0 };
    const struct model_exchange *x = model_exchange_find(b, message->exchange);
    if (x) find_targets(b, x, message->routing_key, &t, 0);
    for (size_t i = 0; i < t.count; i++) enqueue(b, t.queues[i], message);
    return t.count > 0;
}

/* ---------------------------------------------------------------- consumers */

bool model_queue_is_used(const struct model_broker *b, const struct model_queue *q) {
    for (struct model_link *link = b->links; link; link = link->next)
        for (struct model_channel *ch = link->channels; ch; ch = ch->next)
            for (struct model_consumer *c = ch->consumers; c; c = c->next)
                if (!c->gone && c->queue == q) return true;
    return false;
}

void model_consumer_gone(struct model_consumer *consumer) {
    consumer->gone = true;
    if (consumer->ch->replies == consumer) consumer->ch->replies = NULL;
    struct model_queue *q = consumer->queue;
    struct model_broker *b = consumer->ch->link->broker;
    if (q && q->auto_delete && !q->gone && !model_queue_is_used(b, q)) model_queue_delete(b, q);
}

bool model_consumer_cancel(struct model_consumer *consumer) {
    struct model_channel *ch = consumer->ch;
    if (consumer->gone || ch->state != MODEL_CHANNEL_OPEN) return false;
    struct basic_cancel args = { .consumer_tag = consumer->tag, .no_wait = true };
    model_say(ch->link, ch, METHOD_BASIC_CANCEL, &args);
    model_consumer_gone(consumer);
    return true;
}

void model_queue_delete(struct model_broker *b, struct model_queue *q) {
    if (q->gone) return;
    q->gone = true;
    q->first = NULL;
    q->count = 0;
    for (struct model_binding *at = b->bindings; at; at = at->next)
        if (at->to == q) at->gone = true;
    for (struct model_link *link = b->links; link; link = link->next)
        for (struct model_channel *ch = link->channels; ch; ch = ch->next)
            for (struct model_consumer *c = ch->consumers; c; c = c->next)
                if (c->queue == q) (void)model_consumer_cancel(c);
}

static size_t unacked_count(const struct model_channel *ch) {
    size_t count = 0;
    for (const struct model_delivery *d = ch->unacked; d; d = d->next) count += d->consumer != NULL;
    return count;
}

static bool has_credit(const struct model_consumer *c) {
    const struct model_channel *ch = c->ch;
    if (c->gone || !c->queue || c->queue->gone || ch->state != MODEL_CHANNEL_OPEN) return false;
    if (c->no_ack) return true;
    if (c->prefetch && c->unacked >= c->prefetch) return false;
    return !ch->global_prefetch || unacked_count(ch) < ch->global_prefetch;
}

void model_unacked_add(struct model_channel *ch, struct model_queue *queue, struct model_consumer *consumer,
                       struct model_message *message) {
    struct model_delivery *d = model_new(ch->link->broker, sizeof(*d));
    *d = (struct model_delivery){ .tag = ch->delivery_tag, .message = message, .queue = queue, .consumer = consumer };
    struct model_delivery **end = &ch->unacked;
    while (*end) end = &(*end)->next;
    *end = d;
    if (consumer) consumer->unacked++;
}

void model_deliver(struct model_consumer *c, struct model_message *message) {
    struct model_channel *ch = c->ch;
    struct basic_deliver args = { .consumer_tag = c->tag,
                                  .delivery_tag = ++ch->delivery_tag,
                                  .redelivered = message->redelivered,
                                  .exchange = message->exchange,
                                  .routing_key = message->routing_key };
    struct model_broker *b = ch->link->broker;
    b->hooks.delivered(b->hooks.data, ch, message, ch->delivery_tag, false);
    model_say_content(ch, METHOD_BASIC_DELIVER, &args, message);
    if (!c->no_ack) model_unacked_add(ch, c->queue, c, message);
}

static bool link_takes(const struct model_link *link) { return link->state == MODEL_RUNNING && !link->mute; }

/* One message to one consumer, chosen by chance. */
static bool deliver_one(struct model_broker *b) {
    struct model_consumer *chosen = NULL;
    uint64_t seen = 0;
    for (struct model_link *link = b->links; link; link = link->next) {
        if (!link_takes(link)) continue;
        for (struct model_channel *ch = link->channels; ch; ch = ch->next)
            for (struct model_consumer *c = ch->consumers; c; c = c->next)
                if (has_credit(c) && c->queue->first && model_random(b, ++seen) == 0) chosen = c;
    }
    if (!chosen) return false;
    model_deliver(chosen, model_take(chosen->queue));
    return true;
}

/* ---------------------------------------------------------------- confirms */

static void confirm_say(struct model_channel *ch, const struct model_confirm *c, bool multiple) {
    if (c->nack) {
        struct basic_nack args = { .delivery_tag = c->tag, .multiple = multiple };
        model_say(ch->link, ch, METHOD_BASIC_NACK, &args);
    } else {
        struct basic_ack args = { .delivery_tag = c->tag, .multiple = multiple };
        model_say(ch->link, ch, METHOD_BASIC_ACK, &args);
    }
}

/* Some of what waits: a run from the first, or one in the middle. A run has one verdict. */
static void confirm_some(struct model_channel *ch) {
    struct model_broker *b = ch->link->broker;
    struct model_confirm **at = &ch->unconfirmed;
    if (model_random(b, 3) == 0)
        for (uint64_t skip = model_random(b, 4); skip > 0 && (*at)->next; skip--) at = &(*at)->next;
    bool multiple = at == &ch->unconfirmed && model_random(b, 2) == 0;
    uint64_t count = multiple ? 1 + model_random(b, 8) : 1;
    struct model_confirm *last = *at;
    bool nack = last->nack;
    while (count-- > 0 && *at && (*at)->nack == nack) {
        last = *at;
        b->hooks.judged(b->hooks.data, last->id, nack ? METHOD_BASIC_NACK : METHOD_BASIC_ACK);
        *at = last->next;
    }
    confirm_say(ch, last, multiple);
}

static bool confirm_one(struct model_broker *b) {
    struct model_channel *chosen = NULL;
    uint64_t seen = 0;
    for (struct model_link *link = b->links; link; link = link->next) {
        if (!link_takes(link)) continue;
        for (struct model_channel *ch = link->channels; ch; ch = ch->next)
            if (ch->state == MODEL_CHANNEL_OPEN && ch->unconfirmed && model_random(b, ++seen) == 0) chosen = ch;
    }
    if (!chosen) return false;
    confirm_some(chosen);
    return true;
}

bool model_broker_work(struct model_broker *b, size_t max) {
    bool worked = false;
    for (size_t i = 0; i < max; i++) {
        bool first = model_random(b, 2) == 0 ? confirm_one(b) : deliver_one(b);
        bool any = first || deliver_one(b) || confirm_one(b);
        if (!any) break;
        worked = true;
    }
    return worked;
}
