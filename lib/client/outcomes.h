/* Telling outcomes of publishes: the turn's room for settled ones, ending.c's for those that an end settles. */
#ifndef LAGO_CLIENT_OUTCOMES_H
#define LAGO_CLIENT_OUTCOMES_H

#include "channel.h"

/*
 * Tell some outcomes of those that confirms_settle or confirms_end has made known; `reason`: of the end, or NULL. False when there
 * is nothing more to tell. Says in connection.told how many they were.
 */
bool outcomes_step(lago_channel_t *ch, const lago_reason_t *reason);

#endif
