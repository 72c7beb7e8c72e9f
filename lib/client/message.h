/* Received messages: the public fields, and what keeping them needs. */
#ifndef LAGO_CLIENT_MESSAGE_H
#define LAGO_CLIENT_MESSAGE_H

#include "session.h"
#include <lago/basic.h>

/* `fields` comes first: what a callback gets points to it. */
struct message {
    lago_message_t fields;
    lago_allocator_t alloc;       /* a copy: a kept message may outlive its connection */
    struct block *body_block;     /* the counted body, or NULL: copied when kept */
    lago_properties_t properties; /* kept messages only */
    struct list held;             /* kept by a consumer that is paused: consumer.held */
};

/* A message of an event, borrowed as the event is: properties, body, and the block behind it. */
struct message message_of(const lago_allocator_t *alloc, const struct session_event *event);

#endif
