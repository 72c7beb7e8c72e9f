/*
 * The least that a checked client does for a message: sizes, frame ends and the order of frames are verified, all properties are
 * looked at, what is handed out points into the buffer. No tables, no consumers, no channels, no memory of its own.
 */
#ifndef LAGO_TESTS_BENCH_FLOOR_H
#define LAGO_TESTS_BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOOR_FRAME_MAX 131072u

typedef struct view {
    const uint8_t *data;
    size_t size;
} view_t;

typedef struct floor_message {
    uint16_t channel;
    uint64_t delivery_tag;
    bool redelivered;
    view_t consumer_tag, exchange, routing_key;
    uint16_t flags;
    view_t strings[14]; /* by the bit of the flag, the highest first; headers too */
    uint8_t delivery_mode, priority;
    uint64_t timestamp;
    uint64_t body_size;
    view_t body; /* if it came in one frame */
} floor_message_t;

typedef struct floor_decoder {
    void (*on_message)(const floor_message_t *message);
    void (*on_method)(uint32_t method, const uint8_t *arguments, size_t size);
    floor_message_t message;
    uint64_t body_left;  /* of a message in several frames, */
    uint32_t frame_left; /* of one of them, its end included */
} floor_decoder_t;

/*
 * Take what came. A message of one body frame that is not there as a whole is left alone; of larger ones the bodies go by in pieces.
 * Returns how many octets were used; SIZE_MAX for what is no AMQP.
 */
size_t floor_take(floor_decoder_t *decoder, const uint8_t *octets, size_t size);

/* basic.publish, header and, if it is to be copied, the body in one frame. Returns the end. */
uint8_t *floor_publish(uint8_t *at, view_t exchange, view_t routing_key, const void *body, size_t size);

#endif
