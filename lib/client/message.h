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

/* A message of an event, borrowed as the event is. Not zeroed first: what is not set here is a kept message's. */
static inline void message_borrow(struct message *message, const lago_allocator_t *alloc, const struct session_event *event) {
    message->fields = (lago_message_t){ .properties = event->properties, .body = event->body };
    message->alloc = *alloc;
    message->body_block = event->body_block;
}

/* About what keeping it takes, a shared body included. */
size_t message_cost(const struct message *m);

#endif
