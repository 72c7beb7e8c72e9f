/* Requests that owe a completion: told once, by the broker's answer, by their deadline, or by the end of their channel. */
#ifndef LAGO_CLIENT_OPERATION_H
#define LAGO_CLIENT_OPERATION_H

#include "channel.h"

struct operation;

/* Calls the user: with `reason`, or with the answer. */
typedef void (*operation_tell)(struct operation *op, const lago_reason_t *reason, const struct session_event *answer);

/* A user's callback of any type; operation_tell knows which. */
typedef void (*operation_callback)(void);

struct operation {
    struct list in_connection; /* in the order of the calls, until it was told */
    struct list in_channel;    /* in the order of the answers, until its answer came */
    struct deadline deadline;
    lago_connection_t *conn;
    lago_channel_t *ch; /* NULL: of the connection */
    uint32_t method;
    uint64_t since_us; /* the call */
    operation_tell tell;
    operation_callback callback; /* NULL: nobody asked */
    void *data;
    struct consumer *consumer; /* consume, cancel */
    bool auto_ack;             /* get */
    bool expired;              /* told by its deadline: its answer is swallowed */
};

struct request {
    uint32_t method;
    const void *args;
    uint32_t timeout_ms;
    bool no_wait;
    bool held; /* sent later, by the caller */
    bool auto_ack;
    struct consumer *consumer;
    operation_tell tell;
    operation_callback callback;
    void *data;
};

/* What later versions may ask is zero: an older one must not ignore it. */
static inline bool is_zero(const uintptr_t *reserved, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (reserved[i]) return false;
    return true;
}
#define RESERVED_IS_ZERO(args) is_zero((args)->reserved, sizeof((args)->reserved) / sizeof((args)->reserved[0]))

/*
 * Send a request and remember who wants its answer, all or nothing. Checks the channel, and that no_wait has no callback.
 * @return 0 or a negative code.
 */
int operation_request(lago_channel_t *ch, const struct request *request);

/* The same for the connection itself (update-secret). */
int operation_request_connection(lago_connection_t *conn, const struct request *request);

/* An answer came: false if no operation waits for it (the peer broke the protocol). */
bool operation_answered(lago_connection_t *conn, lago_channel_t *ch, const struct session_event *answer);

/* Whether an answer is outstanding that somebody still waits for. */
bool operation_is_owed(const lago_channel_t *ch);

/* The oldest operation of a channel whose answer is outstanding, or NULL. */
struct operation *operation_first(const lago_channel_t *ch);

/* End one without an answer; and forget one without telling. */
void operation_fail(struct operation *op, const lago_reason_t *reason);
void operation_free(struct operation *op);

/* operation_tell for lago_done_cb. */
void tell_done(struct operation *op, const lago_reason_t *reason, const struct session_event *answer);

#endif
