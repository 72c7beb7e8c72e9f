/*
 * Who logs in, and by what: the part of the parameters that login.c works with. Checked and copied here, and the mechanism is
 * chosen here. Knows no connection.
 */
#ifndef LAGO_CLIENT_CREDENTIALS_H
#define LAGO_CLIENT_CREDENTIALS_H

#include "mechanism.h"
#include "parameters.h"
#include "text.h"

/* Fill in the defaults: `mechanisms` is not NULL afterwards, nor is the user name; the password is NULL with on_login only. */
void credentials_fill(lago_credentials_t *who);

/* What is wrong with them: 0, LAGO_EPARAMETER, LAGO_ETOOLONG. `reason` may be NULL. */
int credentials_check(const lago_credentials_t *who, lago_reason_t *reason);

/* Copy what they point to. 0 or LAGO_ENOMEM. */
int credentials_hold(struct parameters *p);

/* A mechanism of the caller's, or one of lago's own; the other is NULL. */
struct chosen_mechanism {
    const lago_mechanism_t *own;
    const struct mechanism *ours;
};

/* The first in the caller's order that is offered; false if none is. */
bool credentials_choose(const lago_credentials_t *who, lago_string_t offered, struct chosen_mechanism *chosen);

/* "EXTERNAL, PLAIN": which may be used, in the caller's order. */
void credentials_list(struct text *t, const lago_credentials_t *who);

#endif
