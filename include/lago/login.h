/*
 * Logging in: credentials that the application provides when they are asked for, tokens that expire, and login mechanisms of the
 * caller's own, which is SASL as AMQP carries it (AMQP 0-9-1, 1.4.2.1 to 1.4.2.4). See lago_credentials_t.
 */
#ifndef LAGO_LOGIN_H
#define LAGO_LOGIN_H

#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- credentials by callback */

/** What is wanted. Borrowed until the callback returns. */
typedef struct lago_login_request {
    uint64_t ticket;       /* names this question in the answer */
    const char *mechanism; /* by which the login goes: "PLAIN" or "AMQPLAIN" */
    bool refresh;          /* the login stands, but what was provided for it expires soon: its successor is wanted */
} lago_login_request_t;

/**
 * Provide credentials: answer by lago_login_provide or lago_login_refuse, from inside or later. Asked at every attempt, when the
 * broker has said that it takes PLAIN or AMQPLAIN; stack_timeout_ms runs meanwhile, and after it the answer is LAGO_ESTALE. And
 * asked for a refresh, which has until the old credentials expire, and longer. A callback like any other, from the loop: every
 * call is legal.
 */
typedef void (*lago_login_cb)(lago_connection_t *conn, const lago_login_request_t *request, void *data);

/** The answer: a user and a password, or a token in its place. All zero but for what is said. */
typedef struct lago_login {
    const char *username;  /* at most 255 bytes; default: credentials.username. Nobody looks at it in a refresh */
    const char *password;  /* never NULL */
    uint32_t expires_in_s; /* good for so long from now; default: for ever */
    uintptr_t reserved[4]; /* zero */
} lago_login_t;

/**
 * Answer on_login.
 *
 * When 80 % of expires_in_s have passed and the connection is open, on_login is asked for a refresh. What it provides is sent by
 * connection.update-secret (RabbitMQ), and its own expires_in_s counts from there. After a refusal, which is logged as a warning,
 * it is asked again when half of what is left has passed, at the earliest a second later, and for the last time when the
 * credentials expire. There is never more than one open question.
 *
 * @param ticket  Of the request.
 * @param login   Encoded before the call returns, kept nowhere, and wiped from lago's memory when it was written.
 * @return 0, or
 *         LAGO_EINVAL    NULL handle, login or password; non-zero `reserved`
 *         LAGO_ESTALE    nobody waits for this answer any more: it was given, or that attempt or connection is over
 *         LAGO_ETOOLONG  the user name has more than 255 bytes; still to be answered, as for those below
 *         LAGO_ETOOBIG   with the client properties it does not fit into a frame of 4096 bytes; in a refresh, of frame_max
 *         LAGO_ENOMEM
 *         Thread: the loop's.
 */
LAGO_EXPORT int lago_login_provide(lago_connection_t *conn, uint64_t ticket, const lago_login_t *login);

/* ---------------------------------------------------------------- mechanisms of the caller's own */

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

/* ---------------------------------------------------------------- giving up */

/**
 * Give up this attempt instead of answering a challenge or on_login: LAGO_EAUTH by LAGO_BY_CLIENT, with `why` (NULL: none) as its
 * detail. In a refresh: there are no new credentials now; nothing ends.
 *
 * @return 0, LAGO_EINVAL, or LAGO_ESTALE as above. Thread: the loop's.
 */
LAGO_EXPORT int lago_login_refuse(lago_connection_t *conn, uint64_t ticket, const char *why);

#ifdef __cplusplus
}
#endif
#endif
