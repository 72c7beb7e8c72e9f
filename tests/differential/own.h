/* Random values in lago's own form: tables, the arguments of any method, properties. */
#ifndef DIFFERENTIAL_OWN_H
#define DIFFERENTIAL_OWN_H

#include "method.h"
#include "properties.h"
#include "random.h"

#define OWN_PROPERTY_COUNT 14u

struct own_property {
    uint16_t flag;
    enum { OWN_STRING, OWN_NUMBER8, OWN_NUMBER64, OWN_TABLE } type;
    size_t offset, size_offset; /* in lago_properties_t */
};
extern const struct own_property own_properties[OWN_PROPERTY_COUNT];

/* A table of at most `levels` tables and arrays in each other, itself counted. */
lago_table_t own_table(struct random *r, unsigned levels);

/* Exactly `levels` tables and arrays in each other, and little else. */
lago_table_t own_chain(struct random *r, unsigned levels);

void own_args(struct random *r, const struct method_info *info, union method_args *args);
void own_make_properties(struct random *r, uint16_t flags, lago_properties_t *properties);

/* A string property as it is received: with its length. */
lago_string_t own_property_string(const lago_properties_t *properties, const struct own_property *property);

#endif
