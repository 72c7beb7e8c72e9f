/*
 * What librabbitmq has read, measured on the octets that it has read: how far it went, whether an entry reached beyond the end of
 * its table, how deep it went. These are the points where it is laxer than lago on purpose (of lago).
 */
#ifndef DIFFERENTIAL_EXPLAIN_H
#define DIFFERENTIAL_EXPLAIN_H

#include "method.h"
#include "peer.h"

struct reading {
    const uint8_t *at; /* behind what has been read */
    bool overrun;      /* the last entry of a table or array ends behind it */
    unsigned levels;   /* tables and arrays in each other */
};

/* `raw` is what librabbitmq was given, from a table's four octets of size, a method's first argument, the property flags. */
struct reading explain_table(const uint8_t *raw, const amqp_table_t *table);
struct reading explain_args(const uint8_t *raw, const struct method_info *info, const void *args);
struct reading explain_properties(const uint8_t *raw, const amqp_basic_properties_t *properties);

/* Where a table that lago has accepted has the first value of this letter, tables inside it included; NULL when there is none. */
const uint8_t *explain_letter(const lago_table_t *table, char letter);
bool explain_args_have_letter(const struct method_info *info, const void *args, char letter);

/* Whether a name in librabbitmq's table, or in one inside it, is empty. */
bool explain_has_empty_name(const amqp_table_t *table);

#endif
