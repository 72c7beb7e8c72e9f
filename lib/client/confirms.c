/* Publisher confirms (RabbitMQ: confirm.select). Knows numbers and slots, no channel and no session. */
#include "confirms.h"

#include "alloc.h"
#include "method.h"
#include <string.h>

/* Of the ring: a publisher that sends now and then keeps half a kilobyte. */
#define FIRST_CAPACITY 8u

/* A ring so large (48 KiB) does not grow while no more than an 8th of its older half is unsettled: those are set aside. */
#define CROWDED_CAPACITY 1024u
#define FEW_SHARE        8u

struct route {
    unsigned refs;
    size_t exchange_size, routing_key_size;
    char bytes[]; /* exchange, then routing key */
};

static void route_unref(const lago_allocator_t *alloc, struct route *route) {
    if (route && --route->refs == 0) mem_free(alloc, route);
}

static bool route_is(const struct route *route, const char *exchange, size_t exchange_size, const char *key, size_t key_size) {
    return route->exchange_size == exchange_size && route->routing_key_size == key_size &&
           memcmp(route->bytes, exchange, exchange_size) == 0 && memcmp(route->bytes + exchange_size, key, key_size) == 0;
}

/* NULL is the empty name. */
static lago_string_t measured(lago_string_t name) {
    if (!name.data) return (lago_string_t){ "", 0 };
    return name.size == LAGO_NUL_TERMINATED ? (lago_string_t){ name.data, strlen(name.data) } : name;
}

/* The route of the last mandatory publish if it is the same one, else a new one, which becomes the last. */
static struct route *route_get(struct confirms *c, lago_string_t to, lago_string_t by) {
    const lago_string_t exchange = measured(to), key = measured(by);
    if (!c->route || !route_is(c->route, exchange.data, exchange.size, key.data, key.size)) {
        struct route *route = mem_alloc(c->alloc, sizeof(*route) + exchange.size + key.size + 1);
        if (!route) return NULL;
        route->refs = 1;
        route->exchange_size = exchange.size;
        route->routing_key_size = key.size;
        memcpy(route->bytes, exchange.data, exchange.size);
        memcpy(route->bytes + exchange.size, key.data, key.size);
        route_unref(c->alloc, c->route);
        c->route = route;
    }
    c->route->refs++;
    return c->route;
}

void confirms_init(struct confirms *c, const lago_allocator_t *alloc) {
    memset(c, 0, sizeof(*c));
    c->alloc = alloc;
    c->first = c->next = c->return_from = 1;
}

static struct confirm_slot *slot_of(const struct confirms *c, uint64_t number) { return &c->slots[number & (c->capacity - 1)]; }

static struct straggler *straggler_at(const struct confirms *c, uint64_t i) { return &c->stragglers[c->straggler_head + i]; }

/* All that are kept, from the oldest on. */
static uint64_t kept_count(const struct confirms *c) { return c->straggler_count + (c->next - c->first); }
static struct confirm_slot *kept_at(const struct confirms *c, uint64_t i) {
    return i < c->straggler_count ? &straggler_at(c, i)->slot : slot_of(c, c->first + (i - c->straggler_count));
}

void confirms_clear(struct confirms *c) {
    for (uint64_t i = 0; i < kept_count(c); i++) route_unref(c->alloc, kept_at(c, i)->route);
    route_unref(c->alloc, c->route);
    mem_free(c->alloc, c->slots);
    mem_free(c->alloc, c->stragglers);
    confirms_init(c, c->alloc);
}

void confirms_select(struct confirms *c, uint64_t earlier) {
    if (c->selected) return;
    c->selected = true;
    c->earlier = earlier;
}

/* ---------------------------------------------------------------- stragglers */

/* The first of this number or a higher one; straggler_count if there is none. */
static size_t straggler_from(const struct confirms *c, uint64_t number) {
    size_t low = 0, high = c->straggler_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (straggler_at(c, middle)->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* NULL: settled, and forgotten. */
static struct confirm_slot *straggler_find(const struct confirms *c, uint64_t number) {
    size_t i = straggler_from(c, number);
    bool found = i < c->straggler_count && straggler_at(c, i)->number == number;
    return found ? &straggler_at(c, i)->slot : NULL;
}

/* Numbers whose outcome has been told leave from the old end. */
static void retire(struct confirms *c) {
    while (c->straggler_count && straggler_at(c, 0)->slot.settled) {
        c->straggler_head++;
        c->straggler_count--;
    }
    if (c->straggler_count == 0 && c->stragglers) {
        mem_free(c->alloc, c->stragglers);
        c->stragglers = NULL;
        c->straggler_head = c->straggler_capacity = 0;
    }
    while (c->first < c->next && slot_of(c, c->first)->settled) c->first++;
}

/* Room for so many more; those that were settled in the middle go. */
static bool stragglers_reserve(struct confirms *c, size_t more) {
    size_t needed = more, kept = 0;
    for (size_t i = 0; i < c->straggler_count; i++) needed += !straggler_at(c, i)->slot.settled;
    struct straggler *to = c->stragglers;
    if (needed > c->straggler_capacity && !(to = mem_zero(c->alloc, 2 * needed, sizeof(*to)))) return false;
    for (size_t i = 0; i < c->straggler_count; i++)
        if (!straggler_at(c, i)->slot.settled) to[kept++] = *straggler_at(c, i);
    if (to != c->stragglers) {
        mem_free(c->alloc, c->stragglers);
        c->stragglers = to;
        c->straggler_capacity = 2 * needed;
    }
    c->straggler_head = 0;
    c->straggler_count = kept;
    return true;
}

/* @return whether the older half of the full ring could be cleared. */
static bool set_aside(struct confirms *c) {
    size_t half = c->capacity / 2, few = 0;
    if (c->capacity < CROWDED_CAPACITY || c->straggler_count > half) return false;
    for (uint64_t n = c->first; n < c->first + half; n++) few += !slot_of(c, n)->settled;
    if (few > half / FEW_SHARE || !stragglers_reserve(c, few)) return false;
    for (uint64_t n = c->first; n < c->first + half; n++)
        if (!slot_of(c, n)->settled)
            *straggler_at(c, c->straggler_count++) = (struct straggler){ .number = n, .slot = *slot_of(c, n) };
    c->first += half;
    c->usual = 0;
    retire(c);
    return true;
}

/* ---------------------------------------------------------------- the ring */

bool confirms_grow(struct confirms *c) {
    if (set_aside(c)) return true;
    size_t capacity = c->capacity ? c->capacity * 2 : FIRST_CAPACITY;
    struct confirm_slot *slots = mem_zero(c->alloc, capacity, sizeof(*slots));
    if (!slots) return false;
    for (uint64_t n = c->first; n < c->next; n++) slots[n & (capacity - 1)] = *slot_of(c, n);
    mem_free(c->alloc, c->slots);
    c->slots = slots;
    c->capacity = capacity;
    return true;
}

/* Of a large body the two ends only: 64 steps, 0.1 us, are what a mandatory message may cost for this. */
#define MARKED_END ((size_t)256)

/* Eight octets at a time; multiplier and shift are those of splitmix64. */
static uint64_t mark_octets(uint64_t mark, const uint8_t *at, size_t size) {
    for (uint64_t octets = 0; size > 0; octets = 0) {
        size_t step = size < sizeof(octets) ? size : sizeof(octets);
        memcpy(&octets, at, step);
        mark = (mark ^ octets) * UINT64_C(0xbf58476d1ce4e5b9);
        mark ^= mark >> 27;
        at += step;
        size -= step;
    }
    return mark;
}

uint32_t confirms_mark(lago_bytes_t body) {
    const uint8_t *octets = body.data;
    size_t head = body.size < 2 * MARKED_END ? body.size : MARKED_END;
    uint64_t mark = mark_octets(body.size, octets, head);
    if (head < body.size) mark = mark_octets(mark, octets + body.size - MARKED_END, MARKED_END);
    return (uint32_t)(mark >> 32);
}

bool confirms_note_route(struct confirms *c, struct confirm_slot *slot, lago_string_t exchange, lago_string_t routing_key,
                         lago_bytes_t body) {
    slot->body_mark = confirms_mark(body);
    slot->route = route_get(c, exchange, routing_key);
    return slot->route != NULL;
}

void confirms_abandon(struct confirms *c) {
    struct confirm_slot *slot = slot_of(c, c->next);
    route_unref(c->alloc, slot->route);
    slot->route = NULL;
}

static struct confirm_slot *slot_find(const struct confirms *c, uint64_t number) {
    return number < c->first ? straggler_find(c, number) : slot_of(c, number);
}

static bool is_settled(const struct confirms *c, uint64_t number) {
    const struct confirm_slot *slot = slot_find(c, number);
    return !slot || slot->settled;
}

int confirms_settle(struct confirms *c, uint64_t tag, bool multiple, lago_publish_outcome_t outcome, const char **problem) {
    *problem = !c->selected                      ? "a confirm on a channel without confirms"
               : tag >= c->next                  ? "a confirm for a message that was never published"
               : tag == 0 && !multiple           ? "a single confirm for no message"
               : !multiple && is_settled(c, tag) ? "a second confirm for a message"
                                                 : NULL;
    if (*problem) return REPLY_COMMAND_INVALID;
    c->run_outcome = outcome;
    if (!multiple) {
        c->single = tag;
        return 0;
    }
    c->run_through = tag ? tag : c->next - 1;
    if (c->run_through < confirms_oldest(c)) c->run_through = 0;
    c->usual = c->straggler_count ? 0 : c->run_through;
    return 0;
}

static void tell(struct confirms *c, uint64_t number, lago_publish_result_t *result, struct confirm_slot *slot) {
    struct confirm_slot *ours = slot_find(c, number);
    lago_publish_outcome_t outcome = c->run_outcome;
    if (outcome == LAGO_PUBLISH_UNKNOWN && number > c->sent) outcome = LAGO_PUBLISH_NOT_SENT;
    if (outcome == LAGO_PUBLISH_CONFIRMED && ours->reply_code) outcome = LAGO_PUBLISH_RETURNED;
    *slot = *ours;
    *result = (lago_publish_result_t){ .outcome = outcome,
                                       .sequence_number = number,
                                       .reply_code = outcome == LAGO_PUBLISH_RETURNED ? ours->reply_code : 0 };
    route_unref(c->alloc, ours->route);
    ours->route = slot->route = NULL;
    ours->publisher = NULL;
    ours->owed = false;
    ours->settled = true;
    c->unsettled--;
    retire(c);
}

/* 0 if there is none. Whatever was told of a run of stragglers has left: their first is the next. */
static uint64_t next_of_run(struct confirms *c) {
    if (c->straggler_count) return confirms_oldest(c) <= c->run_through ? confirms_oldest(c) : 0;
    uint64_t number = c->first;
    while (number <= c->run_through && slot_of(c, number)->settled) number++;
    return number <= c->run_through ? number : 0;
}

bool confirms_find_next(struct confirms *c, lago_publish_result_t *result, struct confirm_slot *slot) {
    uint64_t number = c->single ? c->single : next_of_run(c);
    c->single = 0;
    if (number) {
        tell(c, number, result, slot);
        return true;
    }
    c->run_through = 0;
    retire(c);
    return false;
}

void confirms_end(struct confirms *c, uint64_t sent) {
    c->sent = sent > c->earlier ? sent - c->earlier : 0;
    c->run_outcome = LAGO_PUBLISH_UNKNOWN;
    c->run_through = c->next - 1;
    c->usual = c->single = 0;
}

/* What came back. */
struct came_back {
    lago_string_t exchange, routing_key;
    size_t body_size;
    uint32_t body_mark;
};

/* It waits for a return, which what is settled does not, and this may be the one. */
static bool is_meant(const struct confirm_slot *slot, const struct came_back *r) {
    return slot->route && slot->body_size == r->body_size && slot->body_mark == r->body_mark &&
           route_is(slot->route, r->exchange.data, r->exchange.size, r->routing_key.data, r->routing_key.size);
}

/* The oldest that it may mean of these numbers; *passed grows by those that it does not. */
static struct confirm_slot *find_meant(const struct confirms *c, const struct came_back *r, uint64_t from, uint64_t before,
                                       uint64_t *number, size_t *passed) {
    for (size_t i = straggler_from(c, from); i < c->straggler_count && straggler_at(c, i)->number < before; i++, ++*passed) {
        *number = straggler_at(c, i)->number;
        if (is_meant(&straggler_at(c, i)->slot, r)) return &straggler_at(c, i)->slot;
    }
    for (*number = from > c->first ? from : c->first; *number < before; ++*number, ++*passed)
        if (is_meant(slot_of(c, *number), r)) return slot_of(c, *number);
    return NULL;
}

bool confirms_returned(struct confirms *c, lago_string_t exchange, lago_string_t routing_key, size_t body_size,
                       uint32_t body_mark, uint16_t reply_code, size_t *passed) {
    struct came_back r = { exchange, routing_key, body_size, body_mark };
    uint64_t number;
    *passed = 0;
    struct confirm_slot *slot = find_meant(c, &r, c->return_from, c->next, &number, passed);
    if (slot) {
        c->return_from = number + 1;
        *passed = 0; /* they are not looked at again */
    } else {
        slot = find_meant(c, &r, 0, c->return_from, &number, passed);
    }
    if (!slot) return false;
    slot->reply_code = reply_code;
    route_unref(c->alloc, slot->route);
    slot->route = NULL;
    return true;
}

size_t confirms_owed(const struct confirms *c) {
    size_t owed = 0;
    for (uint64_t i = 0; i < kept_count(c); i++) owed += kept_at(c, i)->owed;
    return owed;
}

size_t confirms_detach(struct confirms *c, const struct lago_publisher *publisher) {
    size_t owed = 0;
    for (uint64_t i = 0; i < kept_count(c); i++) {
        struct confirm_slot *slot = kept_at(c, i);
        if (slot->publisher != publisher) continue;
        owed += slot->owed;
        slot->publisher = NULL;
        slot->callback = NULL;
        slot->owed = false;
    }
    return owed;
}
