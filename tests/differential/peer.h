/*
 * librabbitmq's methods as tables: which members its structs have, of which type and where. Made of its header by the compiler
 * (offsetof, _Generic), so that nothing here comes from lago's tables, which are what is to be tested.
 */
#ifndef DIFFERENTIAL_PEER_H
#define DIFFERENTIAL_PEER_H

#include <amqp.h>
#include <amqp_framing.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_FIELDS_MAX  9u /* exchange.declare */
#define PEER_STRUCT_SIZE 256u

enum peer_type { PEER_BIT, PEER_OCTET, PEER_SHORT, PEER_LONG, PEER_LONGLONG, PEER_BYTES, PEER_TABLE };

struct peer_field {
    const char *name;
    enum peer_type type;
    size_t offset;
};

struct peer_method {
    amqp_method_number_t id;
    const char *name;
    struct peer_field fields[PEER_FIELDS_MAX];
};

/* NULL for a method that librabbitmq does not have. */
const struct peer_method *peer_find(uint32_t id);
const struct peer_method *peer_at(size_t index); /* NULL beyond the last */
size_t peer_field_count(const struct peer_method *method);

/* The fourteen properties in the order of their flags. */
extern const struct peer_field peer_properties[14];

#endif
