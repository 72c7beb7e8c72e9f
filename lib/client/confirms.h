/*
 * Publisher confirms of a channel: sequence numbers, their outcomes, and the returns that belong to them. A ring indexed by
 * sequence number; every rule about a tag is O(1), spreading out a `multiple` costs what it settles. A few that stay without an
 * outcome for long (their queue is stuck, the others go on) are set aside, so that memory follows the number of unsettled ones,
 * not the distance between them.
 */
#ifndef LAGO_CLIENT_CONFIRMS_H
#define LAGO_CLIENT_CONFIRMS_H

#include "chunks.h"
#include <lago/basic.h>
#include <lago/context.h>
#include <stdbool.h>
#include <stdint.h>

/* Where a mandatory message was sent: counted, shared by publishes in a row with the same exchange and routing key. */
struct route;

struct lago_publisher;

struct confirm_slot {
    lago_publish_cb callback;
    void *data;
    struct lago_publisher *publisher; /* whose it is, or NULL */
    size_t body_size;
    struct route *route; /* mandatory and not returned */
    uint32_t body_mark;  /* of a mandatory one */
    uint16_t reply_code; /* returned: why */
    bool owed;           /* somebody is to be told */
    bool settled;
};

/* One that was set aside. */
struct straggler {
    uint64_t number;
    struct confirm_slot slot;
};

struct confirms {
    const lago_allocator_t *alloc;
    bool selected;
    uint64_t earlier; /* publishes on the channel before confirm.select */
    uint64_t first;   /* of the ring: below are only stragglers; when all has been told, this one is not settled */
    uint64_t next;    /* the number of the next publish, from 1 */
    size_t unsettled;
    struct confirm_slot *slots; /* ring; capacity is a power of two */
    size_t capacity;
    struct straggler *stragglers; /* rising, the first one unsettled */
    size_t straggler_head, straggler_count, straggler_capacity;
    struct route *route;  /* of the last mandatory publish */
    uint64_t return_from; /* behind the newest that came back */
    uint64_t single;      /* a single confirm that is to be told; 0: none */
    uint64_t run_through; /* a `multiple` that is being told: up to here; 0: none */
    uint64_t usual;       /* the same if it is broker's and nothing is set aside, or below `first` */
    uint64_t sent;        /* at the end: numbers up to this have left */
    lago_publish_outcome_t run_outcome;
};

void confirms_init(struct confirms *c, const lago_allocator_t *alloc);
void confirms_clear(struct confirms *c);

/* From here on publishes are numbered; `earlier` were published before. */
void confirms_select(struct confirms *c, uint64_t earlier);

/* The ring is full: it grows, or what has been in it for long is set aside. False without memory. */
bool confirms_grow(struct confirms *c);

/*
 * Room for the next publish: its slot, not counted until confirms_commit; the first four members and `owed` are the caller's to
 * fill in. NULL without memory.
 */
static inline struct confirm_slot *confirms_reserve(struct confirms *c) {
    if (c->next - c->first == c->capacity && !confirms_grow(c)) return NULL;
    struct confirm_slot *slot = &c->slots[c->next & (c->capacity - 1)];
    slot->route = NULL;
    slot->reply_code = 0;
    slot->owed = slot->settled = false;
    return slot;
}

/* It is a mandatory one, to there. False without memory. */
bool confirms_note_route(struct confirms *c, struct confirm_slot *slot, lago_string_t exchange, lago_string_t routing_key,
                         lago_bytes_t body);

static inline uint64_t confirms_commit(struct confirms *c) {
    c->unsettled++;
    return c->next++;
}

void confirms_abandon(struct confirms *c);

/*
 * basic.ack or basic.nack of the broker. 0, or the AMQP reply code to close the connection with, *problem saying why:
 * tag 0 without multiple, a tag never issued, a single tag settled before.
 */
int confirms_settle(struct confirms *c, uint64_t tag, bool multiple, lago_publish_outcome_t outcome, const char **problem);

/* Whether it, or the end, has left outcomes to tell: a `multiple` may find all settled. */
static inline bool confirms_have_some(const struct confirms *c) { return c->single || c->run_through; }

/* The next outcome to tell, with a copy of its slot: false when there is none. Any but the usual one is looked for. */
bool confirms_find_next(struct confirms *c, lago_publish_result_t *result, struct confirm_slot *slot);
static inline bool confirms_next(struct confirms *c, lago_publish_result_t *result, struct confirm_slot *slot) {
    uint64_t number = c->first;
    struct confirm_slot *oldest = number <= c->usual ? &c->slots[number & (c->capacity - 1)] : NULL;
    if (!oldest || oldest->settled || oldest->route || oldest->reply_code) {
        struct confirm_slot found; /* so that the caller's need not be in memory */
        if (!confirms_find_next(c, result, &found)) return false;
        *slot = found;
        return true;
    }
    *slot = *oldest;
    *result = (lago_publish_result_t){ .outcome = c->run_outcome, .sequence_number = number };
    c->unsettled--;
    c->first = number + 1; /* which leaves the ring: nothing in its slot counts any more */
    return true;
}

/* The channel has ended after `sent` of its publishes had left: all that is unsettled becomes a run of UNKNOWN, NOT_SENT. */
void confirms_end(struct confirms *c, uint64_t sent);

/* None below is unsettled. */
static inline uint64_t confirms_oldest(const struct confirms *c) {
    return c->straggler_count ? c->stragglers[c->straggler_head].number : c->first;
}

/* How many outcomes are owed to somebody. */
size_t confirms_owed(const struct confirms *c);

/* A publisher is gone: outcomes of what it published are nobody's. @return how many were owed. */
size_t confirms_detach(struct confirms *c, const struct lago_publisher *publisher);

/*
 * basic.return has no number. It means the oldest unreturned mandatory publish with equal exchange, routing key, size and mark, behind
 * the newest that came back, for a broker returns in the order of the publishes; else the oldest at all. False if there is none: it is
 * of one without a number, or the broker is wrong. *passed: how many were looked at in vain, 0 in order.
 */
bool confirms_returned(struct confirms *c, lago_string_t exchange, lago_string_t routing_key, size_t body_size,
                       uint32_t body_mark, uint16_t reply_code, size_t *passed);

/* By what bodies of equal size are told apart. */
uint32_t confirms_mark(lago_bytes_t body);

#endif
