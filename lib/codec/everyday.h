/*
 * The methods that come with every message, written out by hand: basic.publish, basic.deliver, basic.ack (1.8.3). The engine in
 * method.c does the same in ten times as many instructions, and is their oracle in the tests.
 */
#ifndef LAGO_CODEC_EVERYDAY_H
#define LAGO_CODEC_EVERYDAY_H

#include "frame.h"
#include "method.h"
#include "octets.h"
#include "properties.h"

/*
 * basic.publish: the size of its payload; strings that end at their NUL get their sizes. @return LAGO_ETOOLONG or 0.
 */
int publish_measure(struct basic_publish *args, size_t *size);
uint8_t *publish_put(uint8_t *out, const struct basic_publish *args);

/*
 * The frames of basic.publish and of its content header at once, unmeasured: at most MESSAGE_HEAD_MAX octets. @return the octet
 * behind; NULL for what has to be measured: headers, and what is wrong.
 */
#define CONTENT_HEADER_PLAIN_MAX (14u + 10u + 10u * 256u)
#define MESSAGE_HEAD_MAX         (2u * FRAME_OVERHEAD + 8u + 2u * 256u + CONTENT_HEADER_PLAIN_MAX)
uint8_t *message_head_put(uint8_t *out, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                          uint64_t body_size);

/* basic.deliver, its payload whole; views, not yet terminated. @return as method_read: 0 or 502. */
int deliver_read(const uint8_t *payload, size_t size, struct basic_deliver *args);

/* Of it only what follows the consumer tag: delivery tag and `redelivered`. */
static inline void deliver_read_tag(const uint8_t *at, struct basic_deliver *args) {
    args->delivery_tag = get_u64(at);
    args->redelivered = at[8] & 1u;
}

/* A NUL behind each of its strings, as method_terminate. */
void deliver_terminate(const struct basic_deliver *args);

/* basic.ack as a whole frame. */
#define ACK_FRAME_SIZE (FRAME_OVERHEAD + 4u + 8u + 1u)
uint8_t *ack_frame_put(uint8_t *out, uint16_t channel, uint64_t delivery_tag, bool multiple);

#endif
