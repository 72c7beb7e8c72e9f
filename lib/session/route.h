/* What is ready of a prepared publish: seen by route.c, which makes it, and output.c, which holds and references. */
#ifndef LAGO_SESSION_ROUTE_H
#define LAGO_SESSION_ROUTE_H

#include "internal.h"

struct session_route {
    uint16_t channel;
    size_t payload_max;           /* of its two frames the larger payload: frame_max may be less on the next attempt */
    size_t body_size_at;          /* where in `frames` the body's size belongs */
    size_t head_size;             /* the frames of method and header */
    size_t size;                  /* and the beginning of a body's frame, its size to be filled in */
    lago_properties_t properties; /* views into `frames`: strings without a NUL */
    uint8_t frames[];
};

/* Any way but the short one: held, referenced, in many frames. */
int output_publish_route(struct session *s, struct session_channel *ch, const struct session_route *route,
                         const struct session_body *body);

#endif
