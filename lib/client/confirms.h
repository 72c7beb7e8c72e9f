/*
 * Publisher confirms of a channel: sequence numbers, their outcomes, and the returns that belong to them. A ring indexed by
 * sequence number; every rule about a tag is O(1), spreading out a `multiple` costs what it settles.
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

struct confirm_slot {
    lago_publish_cb callback;
    void *data;
    struct route *route; /* mandatory and not returned */
    size_t body_size;
    uint16_t reply_code; /* returned: why */
    bool settled;
};

struct confirms {
    const lago_allocator_t *alloc;
    bool selected;
    uint64_t earlier; /* publishes on the channel before confirm.select */
    uint64_t first;   /* the oldest number that is not settled */
    uint64_t next;    /* the number of the next publish, from 1 */
    size_t unsettled;
    struct confirm_slot *slots; /* ring; capacity is a power of two */
    size_t capacity;
    struct route *route;  /* of the last mandatory publish */
    uint64_t return_from; /* no unreturned mandatory publish is below this */
    uint64_t single;      /* a single confirm that is to be told; 0: none */
    uint64_t run_through; /* a `multiple` that is being told: up to here; 0: none */
    uint64_t cursor;      /* how far it has been told */
    uint64_t sent;        /* at the end: numbers up to this have left */
    lago_publish_outcome_t run_outcome;
};

void confirms_init(struct confirms *c, const lago_allocator_t *alloc);
void confirms_clear(struct confirms *c);

/* From here on publishes are numbered; `earlier` were published before. */
void confirms_select(struct confirms *c, uint64_t earlier);

/*
 * Room for the next publish: its slot, filled in but not counted until confirms_commit. NULL without memory.
 * `exchange` and `routing_key` matter for mandatory ones only.
 */
struct confirm_slot *confirms_prepare(struct confirms *c, bool mandatory, lago_string_t exchange, lago_string_t routing_key);
void confirms_abandon(struct confirms *c);
uint64_t confirms_commit(struct confirms *c);

/*
 * basic.ack or basic.nack of the broker. 0, or the AMQP reply code to close the connection with, *problem saying why:
 * tag 0 without multiple, a tag never issued, a single tag settled before.
 */
int confirms_settle(struct confirms *c, uint64_t tag, bool multiple, lago_publish_outcome_t outcome, const char **problem);

/* The next outcome of a run to tell: false when there is none. The slot's memory is reused after the next call. */
bool confirms_next(struct confirms *c, lago_publish_result_t *result, struct confirm_slot *slot);

/* The channel has ended after `sent` of its publishes had left: all that is unsettled becomes a run of UNKNOWN, NOT_SENT. */
void confirms_end(struct confirms *c, uint64_t sent);

/* How many unsettled publishes have a callback. */
size_t confirms_owed(const struct confirms *c);

/* basic.return: the oldest unreturned mandatory publish with equal exchange, routing key and size. False if there is none. */
bool confirms_returned(struct confirms *c, lago_string_t exchange, lago_string_t routing_key, size_t body_size,
                       uint16_t reply_code);

#endif
