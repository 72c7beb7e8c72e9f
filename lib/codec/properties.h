/* Content headers (AMQP 0-9-1, 4.2.6.1): class, weight, body size, property flags, properties. */
#ifndef LAGO_CODEC_PROPERTIES_H
#define LAGO_CODEC_PROPERTIES_H

#include "text.h"
#include "writer.h"
#include <lago/properties.h>
#include <stdint.h>

#define CLASS_BASIC 60

/* Property octets of basic start here: class 2, weight 2, body size 8 */
#define CONTENT_HEADER_FIXED_SIZE 12u

#define PROPERTY_FLAGS 0xfffcu /* fourteen properties, from the highest bit down */

struct content_header {
    uint64_t body_size;
    lago_properties_t properties; /* views into the payload, not yet NUL-terminated */
};

/* What a header will look like: found out once, for its size and for writing it. */
struct header_plan {
    const lago_properties_t *properties; /* borrowed until it was put */
    uint16_t flags;
    size_t size; /* of the payload */
    size_t table_size;
    uint8_t string_sizes[14]; /* by the property's place; set for those that there are */
};

/* 0, LAGO_EINVAL (flag bits that basic does not have), LAGO_ETOOLONG, what is wrong with the table. `properties` may be NULL. */
int content_header_plan(struct header_plan *plan, const lago_properties_t *properties);

/* Write it, plan->size octets. @return the octet behind. */
uint8_t *content_header_put(uint8_t *out, const struct header_plan *plan, uint64_t body_size);

/*
 * Write the payload of a header frame. `properties` may be NULL. `present` is ORed with every field that is not zero.
 * LAGO_EINVAL sticks for flag bits that basic does not have.
 */
void content_header_write(struct writer *w, uint64_t body_size, const lago_properties_t *properties);

/*
 * Read the payload of a header frame, whole. @return 0, or the AMQP reply code to close the connection with: 501 (cut short,
 * trailing bytes, continuation flag, unknown flags), 505 (class not basic; weight not 0 is 501).
 */
int content_header_read(const void *payload, size_t size, struct content_header *header);

/* Put a NUL behind every string, on octets that have been read already: the payload and its end octet must be writable. */
void content_header_terminate(struct content_header *header);

/* What `over` has takes the place of the same in `to`: borrowed, as all of it. */
void properties_overlay(lago_properties_t *to, const lago_properties_t *over);

/* Print as lago_properties_format does. */
void properties_print(struct text *t, const lago_properties_t *properties, size_t string_max);

#endif
