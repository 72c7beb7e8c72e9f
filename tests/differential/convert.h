/* The same values in librabbitmq's form, for its encoder. */
#ifndef DIFFERENTIAL_CONVERT_H
#define DIFFERENTIAL_CONVERT_H

#include "own.h"
#include "peer.h"

/* How much of what lago cannot say librabbitmq may say: 'L' for 'l', anything in reserved members. The bytes differ then. */
enum license { LICENSE_NONE, LICENSE_FREE };

amqp_table_t convert_table(struct random *r, const lago_table_t *table, enum license license);

/* `args` and `out` are the methods' structs; `out` has PEER_STRUCT_SIZE bytes. */
void convert_args(struct random *r, const struct method_info *info, const void *args, void *out, enum license license);

void convert_properties(struct random *r, const lago_properties_t *from, amqp_basic_properties_t *to, enum license license);

#endif
