/*
 * The story of a dialing connection: what has failed, for whoever asks at the end, and the phases that on_phase is still to be
 * told. Decides nothing.
 */
#ifndef LAGO_CLIENT_ATTEMPTS_H
#define LAGO_CLIENT_ATTEMPTS_H

#include <lago/connection.h>

/* Phases that wait to be told: a turn of the loop makes two at most, and tells all. */
#define PHASES_WAITING_MAX 8u

struct waiting_phase {
    lago_phase_t phase;
    uint32_t attempt;
};

struct attempts {
    lago_reason_t *failed;         /* a ring that grows up to LAGO_ATTEMPTS_MAX, as far as there is memory */
    uint32_t capacity, kept_count; /* of it; and how many were ever put there: the last ones are in it */
    uint32_t failed_count;         /* all of them */
    struct waiting_phase *phases;  /* NULL: nobody watches */
    unsigned phase_count;
};

/* `watched`: somebody wants to be told of phases. 0 or LAGO_ENOMEM. */
int attempts_init(lago_connection_t *conn, bool watched);

/* An attempt has failed; the next one is counted from here. */
void attempts_failed(lago_connection_t *conn, const lago_reason_t *reason);
void attempts_clear(lago_connection_t *conn);

/* A phase has begun; phase_step tells it: false if there is none. */
void phase_begun(lago_connection_t *conn, lago_phase_t phase);
bool phase_step(lago_connection_t *conn);

#endif
