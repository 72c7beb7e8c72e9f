/*
 * The story of a dialing connection: what has failed, for whoever asks at the end, and the phases that on_phase is still to be
 * told. Decides nothing.
 */
#ifndef LAGO_CLIENT_ATTEMPTS_H
#define LAGO_CLIENT_ATTEMPTS_H

#include <lago/connection.h>

/* Phases that wait to be told: a turn of the loop makes two at most, and tells all. */
#define PHASES_WAITING_MAX 8u

struct attempts {
    lago_reason_t
        *failed; /* a ring of LAGO_ATTEMPTS_MAX, made at the first failure; NULL without memory: they are only counted */
    uint32_t failed_count; /* all of them */
    struct {
        lago_phase_t phase;
        uint32_t attempt;
    } phases[PHASES_WAITING_MAX];
    unsigned phase_count;
};

/* An attempt has failed; the next one is counted from here. */
void attempts_failed(lago_connection_t *conn, const lago_reason_t *reason);
void attempts_clear(lago_connection_t *conn);

/* A phase has begun; phase_step tells it: false if there is none. */
void phase_begun(lago_connection_t *conn, lago_phase_t phase);
bool phase_step(lago_connection_t *conn);

#endif
