/*
 * Who holds the loop: the time of each callback is looked at, and one that took too long is named in the log; so is a loop that
 * came late although no callback of ours took long. A look costs one cheap reading of the clock, so a row of callbacks of one kind
 * (deliveries of a channel, outcomes of its publishes) is looked at together, 16 at the most.
 */
#ifndef LAGO_CLIENT_WATCH_H
#define LAGO_CLIENT_WATCH_H

#include <lago/types.h>
#include <stdbool.h>

struct watch {
    uint64_t mark_ms;   /* the callback that runs began then; of the coarse clock */
    uint64_t left_ms;   /* the last callback returned then */
    uint64_t wanted_ms; /* when the transport was asked to call, DEADLINE_NEVER for not at all */
    uint64_t told_ms;   /* the last line */
    unsigned untold;    /* since then */
    const char *what;   /* is being called back, or was last */
    uint16_t channel;   /* 0: of the connection */
    bool calling;       /* in this step somebody is called */
    unsigned unlooked;  /* callbacks since the last look */
};

/* So many callbacks of one kind are looked at together: a slow one is still named by its kind. */
#define WATCH_ROW_MAX 16u

/* From here on time is the callback's that watch_calling (connection.h) names; up to watch_look. */
void watch_begin(lago_connection_t *conn, const char *what);
void watch_look(lago_connection_t *conn);

/* A turn begins: is it much later than it was wanted? */
void watch_turn(lago_connection_t *conn);

#endif
