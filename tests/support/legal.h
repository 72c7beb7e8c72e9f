/*
 * Whether a life was legal, whatever failed in it: what an application asked for and what it was told (the contracts at the top of
 * connection.h and channel.h), beside what passed on the wire (conversation.h). A scenario reports both as they happen:
 *
 *   - each call: its result, negative: nothing was promised; else what was promised comes exactly once;
 *   - ends are told once, in the order that the contract names, and nothing is told after them;
 *   - an outcome is true: confirmed only if the broker confirmed it, not sent only if no byte of it has left, and no worse than known;
 *   - whatever differs from a life in which nothing failed is explained: somebody was told why.
 *
 * It judges; it does not know what was made to fail. The first thing that is wrong stays in legal_problem().
 */
#ifndef SUPPORT_LEGAL_H
#define SUPPORT_LEGAL_H

#include "conversation.h"
#include <lago/basic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is told; in this order when a link ends: operations first, then channel by channel. */
enum legal_kind {
    LEGAL_NEWS, /* a message, blocked, drain ...: wherever it comes */
    LEGAL_OPERATION,
    LEGAL_CALL, /* of rpc.h */
    LEGAL_OUTCOME,
    LEGAL_CONSUMER,
    LEGAL_CHANNEL_END,
    LEGAL_POST,
    LEGAL_TIMER,
    LEGAL_CONNECTION_END,
    LEGAL_FREED, /* free_data and releases: also behind an end, and inside of calls that free */
};

struct legal;

/* A channel handle. */
struct legal_channel {
    struct legal_channel *next;
    uint16_t number;
    unsigned instance;      /* of its number on the wire, if it gets there */
    bool is_only;           /* nobody else has had or has the number: what is on the wire is its own */
    uint64_t accepted;      /* publishes */
    uint64_t sequence_base; /* of them before the first sequence number */
    uint64_t returned;      /* outcomes that say so */
    uint64_t not_sent;      /* the first publish that was told not to have been sent; 0: none */
    bool closing;           /* its end was asked for, or is its own */
    bool silent;            /* nobody listens for its end */
    bool ended, freed;
};

/* Something that was asked for. */
struct legal_promise {
    struct legal_promise *next;
    struct legal *legal;
    struct legal_channel *channel; /* NULL: of the connection */
    enum legal_kind kind;
    const char *name;
    uint64_t order; /* of asking; a publish: its number on the channel */
    bool accepted;  /* the call has returned >= 0 */
    bool loose;     /* what it belongs to was freed: it may stay untold (but for LEGAL_FREED) */
    unsigned told;
};

struct legal_event {
    enum legal_kind kind;
    struct legal_channel *channel;
    uint64_t order;
    int code; /* 0: a success */
};

struct legal {
    struct conversation wire;
    char *problem;
    struct legal_channel *channels;
    struct legal_promise *promises, *last_promise;
    uint64_t asked;
    unsigned opened, open_failed, closed;
    bool connected;   /* lago_connect was accepted */
    bool freed;       /* the connection's handle */
    bool vague_bytes; /* what has left is not known to the byte: TLS, a real socket */
    bool scripted;    /* the broker speaks by a script, and may answer what has not left yet */
    bool in_call, in_free, in_callback;
    bool explained;                         /* somebody was told LAGO_ENOMEM, or what `explains` says */
    bool (*explains)(int code, void *data); /* which codes explain that something is missing; NULL: LAGO_ENOMEM */
    void *explains_data;
    struct legal_event *events; /* since the link went down */
    size_t event_count, event_capacity;
};

void legal_init(struct legal *l);
void legal_clear(struct legal *l);

/* The first thing that is wrong, or NULL. */
const char *legal_problem(const struct legal *l);
void legal_break(struct legal *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---------------------------------------------------------------- the wire */

void legal_link(struct legal *l, bool up);

/* ---------------------------------------------------------------- calls */

/* Around every call of the library: nothing may be called back from inside, but by a call that frees. */
void legal_call(struct legal *l, bool frees);
int64_t legal_returned(struct legal *l, int64_t rc); /* @return rc */

/* What the call that comes next promises, and then how it was answered; the `data` of its callback is the promise. */
struct legal_promise *legal_ask(struct legal *l, struct legal_channel *channel, enum legal_kind kind, const char *name);
void legal_answer(struct legal_promise *promise, int64_t rc);

/* A channel was opened; it was asked to close; it was freed; the same of the connection. */
struct legal_channel *legal_channel_new(struct legal *l, uint16_t number);
void legal_channel_closing(struct legal_channel *channel);
void legal_channel_freed(struct legal *l, struct legal_channel *channel);
void legal_freed(struct legal *l);

/* A publish of any kind was accepted (rc: its sequence number, or 0). @return its number on the channel, from 1. */
uint64_t legal_published(struct legal_channel *channel, int64_t rc);

/* A settlement was accepted. */
void legal_settled(struct legal *l, const struct legal_channel *channel, uint64_t tag, bool multiple);

/* ---------------------------------------------------------------- callbacks */

/* Every one of them, first and last thing. */
void legal_enter(struct legal *l, enum legal_kind kind, struct legal_channel *channel);
void legal_leave(struct legal *l);

/* A promise is kept, by this result. */
void legal_told(struct legal_promise *promise, int code);

/* Parts of it, for who keeps promises himself: an event; an outcome of the publish of this number. */
void legal_event(struct legal *l, enum legal_kind kind, struct legal_channel *channel, uint64_t order, int code);
void legal_outcome(struct legal *l, struct legal_channel *channel, uint64_t publish, lago_publish_outcome_t outcome, int code);

void legal_opened(struct legal *l);
void legal_open_failed(struct legal *l, int code);
void legal_closed(struct legal *l, int code);
void legal_channel_ended(struct legal *l, struct legal_channel *channel, int code);

/* ---------------------------------------------------------------- the end */

/* Everything is over: what was promised must have come. */
void legal_check(struct legal *l);

/* That life differs from the one without a failure: somebody must have been told. */
void legal_check_explained(struct legal *l, bool differs);

#endif
