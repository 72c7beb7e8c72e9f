/*
 * A program that has a link to a broker and makes a new one whenever it loses it: what producer.c and consumer.c share. lago does
 * not recover by itself yet; so they do it by hand, as an application would.
 */
#ifndef LEDGER_LIFE_H
#define LEDGER_LIFE_H

#include "book.h"
#include <lago.h>
#include <uv.h>

struct life {
    struct book book;
    const char *url, *path, *queue;
    uv_loop_t *loop;
    lago_connection_t *conn; /* NULL between two links */
    lago_channel_t *ch;      /* open or opening; NULL when there is none */
    unsigned epoch;          /* of the link, from 1 */
    bool open;               /* the connection */
    bool stopping;           /* asked to come to an end */
    bool leaving;            /* and has begun to close */
    uv_signal_t signal;
    uv_timer_t again, tick;
    void (*on_link)(struct life *life); /* the channel was just asked for; nothing is open */
    void (*on_open)(struct life *life);
    void (*on_lost)(struct life *life); /* nothing will come of this link any more */
    void (*on_tick)(struct life *life); /* TICK_MS, whether there is a link or not */
    void (*on_stop)(struct life *life); /* SIGTERM, once */
};

#define TICK_MS 5

/* Until life_leave. @return the exit code. */
int life_run(struct life *life);

/* Close in order, and end. */
void life_leave(struct life *life);

#endif
