/*
 * Whether lago's value is librabbitmq's: each number, each octet, the order and the nesting. The first difference is written
 * to `why`.
 */
#ifndef DIFFERENTIAL_SAME_H
#define DIFFERENTIAL_SAME_H

#include "own.h"
#include "peer.h"
#include "text.h"

bool same_table(const lago_table_t *own, const amqp_table_t *peer, struct text *why);
bool same_args(const struct method_info *info, const void *own, const void *peer, struct text *why);
bool same_properties(const lago_properties_t *own, const amqp_basic_properties_t *peer, struct text *why);

/* librabbitmq's reading, for people. */
void peer_print_table(struct text *t, const amqp_table_t *table);
void peer_print_args(struct text *t, const struct peer_method *method, const void *args);
void peer_print_properties(struct text *t, const amqp_basic_properties_t *properties);

#endif
