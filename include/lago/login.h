/*
 * Login mechanisms of the caller's own: SASL as AMQP carries it (AMQP 0-9-1, 1.4.2.1 to 1.4.2.4). lago itself has PLAIN and
 * AMQPLAIN; anything else that a broker offers can be added here, with as many rounds as it needs.
 */
#ifndef LAGO_LOGIN_H
#define LAGO_LOGIN_H

#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* So many challenges of the broker are answered in one login; more end the attempt with LAGO_EMECHANISM. */
#define LAGO_LOGIN_ROUNDS_MAX 8

/** What the broker wants to know. Borrowed until the callback returns. */
typedef struct lago_challenge {
    uint64_t ticket;    /* names this question in the answer */
    unsigned round;     /* 0: the initial response, before anything was asked; then 1 to LAGO_LOGIN_ROUNDS_MAX */
    lago_bytes_t asked; /* connection.secure's challenge; empty in round 0 */
} lago_challenge_t;

/**
 * Answer a challenge by lago_login_respond or lago_login_refuse, from inside or later: stack_timeout_ms runs meanwhile. A
 * callback like any other, from the loop: every call is legal.
 */
typedef void (*lago_challenge_cb)(lago_connection_t *conn, const lago_challenge_t *challenge, void *data);

/** A mechanism. Copied with its name by lago_connect; `data` stays the caller's, until on_open_error or on_close. */
typedef struct lago_mechanism {
    const char *name; /* exactly as the broker announces it, "RABBIT-CR-DEMO"; 1 to 255 bytes, no space */
    lago_challenge_cb on_challenge;
    void *data;
} lago_mechanism_t;

/**
 * Answer a challenge.
 *
 * @param ticket    Of the challenge.
 * @param response  Encoded before the call returns, and wiped from lago's memory when it was written. May be empty.
 * @return 0, LAGO_EINVAL (NULL handle, NULL data with a size), LAGO_ESTALE (nobody waits for this answer any more: it was given,
 *         or that attempt is over), LAGO_ETOOBIG (with the client properties it does not fit into a frame of 4096 bytes; still to be
 *         answered), LAGO_ENOMEM (likewise). Thread: the loop's.
 */
LAGO_EXPORT int lago_login_respond(lago_connection_t *conn, uint64_t ticket, lago_bytes_t response);

/**
 * Give up this attempt instead: LAGO_EAUTH by LAGO_BY_CLIENT, with `why` (NULL: none) as its detail.
 *
 * @return 0, LAGO_EINVAL, or LAGO_ESTALE as above. Thread: the loop's.
 */
LAGO_EXPORT int lago_login_refuse(lago_connection_t *conn, uint64_t ticket, const char *why);

#ifdef __cplusplus
}
#endif
#endif
