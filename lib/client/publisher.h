/* Prepared routes, seen by the rooms that tell outcomes, ends and room in the output. */
#ifndef LAGO_CLIENT_PUBLISHER_H
#define LAGO_CLIENT_PUBLISHER_H

#include "channel.h"
#include <lago/publisher.h>

struct lago_publisher {
    struct list node;    /* channel.publishers; freed: connection.freed_publishers */
    struct list in_wait; /* connection.waiting_publishers: for low_water; or .ready_publishers: to be told */
    lago_connection_t *conn;
    lago_channel_t *ch; /* NULL: the handle is gone */
    struct session_route *route;
    struct basic_publish method;      /* of the route; its strings are our copies, behind this struct */
    lago_publisher_options_t options; /* callbacks and data only */
    bool owed;                        /* outcomes are told */
    bool ready_owed;                  /* a publish was refused: on_ready is promised */
    bool output_full;                 /* because of the output: low_water is awaited */
    bool passed_over;                 /* it was ready, but others had filled the output before its turn came */
    size_t window;                    /* SIZE_MAX: none */
    size_t reopening;                 /* on_ready comes when no more than this are unconfirmed */
    size_t unconfirmed;
};

/* It may be time for on_ready: it is noted, and told from the turn. */
void publisher_look(lago_publisher_t *publisher);

/* One of its messages has an outcome. */
static inline void publisher_settled(lago_publisher_t *publisher) {
    if (--publisher->unconfirmed == publisher->reopening && publisher->ready_owed) publisher_look(publisher);
}

/* The output is at low_water. */
void publishers_look(lago_connection_t *conn);

/* Somebody was passed over the last time: it is his turn, before on_drain. */
bool publishers_are_first(const lago_connection_t *conn);

/* on_ready of one publisher; false if there is none. */
bool publisher_ready_step(lago_connection_t *conn);

/* The channel has ended, outcomes have been told: free_data of one publisher. False when there is nothing more to tell. */
bool publishers_end_step(lago_channel_t *ch);

/* The channel was freed: nothing is told any more. And: memory goes, and the handles with it. */
void publishers_forget(lago_channel_t *ch);
void publishers_destroy(lago_channel_t *ch);

/* Nobody is on the stack: handles that were freed go. */
void publishers_reap(lago_connection_t *conn);

#endif
