/* Publisher confirms (RabbitMQ: confirm.select). Knows numbers and slots, no channel and no session. */
#include "confirms.h"

#include "alloc.h"
#include "method.h"
#include <string.h>

#define FIRST_CAPACITY 64u

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

static size_t size_of(lago_string_t name) { return name.size == LAGO_NUL_TERMINATED ? strlen(name.data) : name.size; }

/* The route of the last mandatory publish if it is the same one, else a new one, which becomes the last. */
static struct route *route_get(struct confirms *c, lago_string_t to, lago_string_t by) {
    const char *exchange = to.data, *routing_key = by.data;
    size_t exchange_size = size_of(to), key_size = size_of(by);
    if (!c->route || !route_is(c->route, exchange, exchange_size, routing_key, key_size)) {
        struct route *route = mem_alloc(c->alloc, sizeof(*route) + exchange_size + key_size + 1);
        if (!route) return NULL;
        route->refs = 1;
        route->exchange_size = exchange_size;
        route->routing_key_size = key_size;
        memcpy(route->bytes, exchange, exchange_size);
        memcpy(route->bytes + exchange_size, routing_key, key_size);
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

void confirms_clear(struct confirms *c) {
    for (uint64_t n = c->first; n < c->next; n++) route_unref(c->alloc, slot_of(c, n)->route);
    route_unref(c->alloc, c->route);
    mem_free(c->alloc, c->slots);
    confirms_init(c, c->alloc);
}

void confirms_select(struct confirms *c, uint64_t earlier) {
    if (c->selected) return;
    c->selected = true;
    c->earlier = earlier;
}

static bool grow(struct confirms *c) {
    size_t capacity = c->capacity ? c->capacity * 2 : FIRST_CAPACITY;
    struct confirm_slot *slots = mem_zero(c->alloc, capacity, sizeof(*slots));
    if (!slots) return false;
    for (uint64_t n = c->first; n < c->next; n++) slots[n & (capacity - 1)] = *slot_of(c, n);
    mem_free(c->alloc, c->slots);
    c->slots = slots;
    c->capacity = capacity;
    return true;
}

struct confirm_slot *confirms_prepare(struct confirms *c, bool mandatory, lago_string_t exchange, lago_string_t routing_key) {
    if (c->next - c->first == c->capacity && !grow(c)) return NULL;
    struct confirm_slot *slot = slot_of(c, c->next);
    memset(slot, 0, sizeof(*slot));
    if (mandatory && !(slot->route = route_get(c, exchange, routing_key))) return NULL;
    return slot;
}

void confirms_abandon(struct confirms *c) {
    struct confirm_slot *slot = slot_of(c, c->next);
    route_unref(c->alloc, slot->route);
    slot->route = NULL;
}

uint64_t confirms_commit(struct confirms *c) {
    c->unsettled++;
    return c->next++;
}

int confirms_settle(struct confirms *c, uint64_t tag, bool multiple, lago_publish_outcome_t outcome, const char **problem) {
    *problem = !c->selected               ? "a confirm on a channel without confirms"
               : tag >= c->next           ? "a confirm for a message that was never published"
               : tag == 0 && !multiple    ? "a single confirm for no message"
               : multiple                 ? NULL
               : tag < c->first           ? "a second confirm for a message"
               : slot_of(c, tag)->settled ? "a second confirm for a message"
                                          : NULL;
    if (*problem) return REPLY_COMMAND_INVALID;
    c->run_outcome = outcome;
    if (multiple) {
        c->run_through = tag ? tag : c->next - 1;
        return 0;
    }
    slot_of(c, tag)->settled = true;
    c->single = tag;
    return 0;
}

/* Numbers whose outcome has been told leave the ring from its old end. */
static void retire(struct confirms *c) {
    while (c->first < c->next && slot_of(c, c->first)->settled) c->first++;
    if (c->return_from < c->first) c->return_from = c->first;
}

static void tell(struct confirms *c, uint64_t number, lago_publish_result_t *result, struct confirm_slot *slot) {
    struct confirm_slot *ours = slot_of(c, number);
    lago_publish_outcome_t outcome = c->run_outcome;
    if (outcome == LAGO_PUBLISH_UNKNOWN && number > c->sent) outcome = LAGO_PUBLISH_NOT_SENT;
    if (outcome == LAGO_PUBLISH_CONFIRMED && ours->reply_code) outcome = LAGO_PUBLISH_RETURNED;
    *slot = *ours;
    *result = (lago_publish_result_t){ .outcome = outcome,
                                       .sequence_number = number,
                                       .reply_code = outcome == LAGO_PUBLISH_RETURNED ? ours->reply_code : 0 };
    route_unref(c->alloc, ours->route);
    ours->route = slot->route = NULL;
    ours->settled = true;
    c->unsettled--;
    retire(c);
}

bool confirms_next(struct confirms *c, lago_publish_result_t *result, struct confirm_slot *slot) {
    if (c->single) {
        uint64_t number = c->single;
        c->single = 0;
        tell(c, number, result, slot);
        return true;
    }
    if (c->cursor < c->first) c->cursor = c->first;
    while (c->cursor <= c->run_through && slot_of(c, c->cursor)->settled) c->cursor++;
    if (c->cursor > c->run_through) {
        c->cursor = c->run_through = 0;
        return false;
    }
    tell(c, c->cursor, result, slot);
    return true;
}

void confirms_end(struct confirms *c, uint64_t sent) {
    c->sent = sent > c->earlier ? sent - c->earlier : 0;
    c->run_outcome = LAGO_PUBLISH_UNKNOWN;
    c->run_through = c->next - 1;
    c->single = 0;
    c->cursor = 0;
}

bool confirms_returned(struct confirms *c, lago_string_t exchange, lago_string_t routing_key, size_t body_size,
                       uint16_t reply_code) {
    bool oldest = true; /* nothing unreturned was passed yet */
    for (uint64_t n = c->return_from; n < c->next; n++) {
        struct confirm_slot *slot = slot_of(c, n);
        if (!slot->route) {
            if (oldest) c->return_from = n + 1;
            continue;
        }
        oldest = false;
        if (slot->settled || slot->body_size != body_size ||
            !route_is(slot->route, exchange.data, exchange.size, routing_key.data, routing_key.size))
            continue;
        slot->reply_code = reply_code;
        route_unref(c->alloc, slot->route);
        slot->route = NULL;
        return true;
    }
    return false;
}

size_t confirms_owed(const struct confirms *c) {
    size_t owed = c->single && slot_of(c, c->single)->callback; /* settled, and not told yet */
    for (uint64_t n = c->first; n < c->next; n++) owed += !slot_of(c, n)->settled && slot_of(c, n)->callback;
    return owed;
}
