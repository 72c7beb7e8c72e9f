/*
 * The broker of fuzz_api: reads what the client wrote, and answers as RabbitMQ would, into a queue of bytes that the target gives to
 * the client when it likes. It knows the codec and no client.
 */
#ifndef FUZZ_API_BROKER_H
#define FUZZ_API_BROKER_H

#include <lago/properties.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BROKER_CHANNELS  8u /* numbers 1 to 7 */
#define BROKER_CONSUMERS 4u
#define BROKER_SAYS_MAX  ((size_t)1 << 19)
#define BROKER_BODY_MAX  20000u /* two frames of the larger frame_max */

#define BROKER_MECHANISMS "PLAIN AMQPLAIN EXTERNAL RABBIT-CR-DEMO"

/* In front of it. */
enum broker_proxy { BROKER_DIRECT, BROKER_SOCKS, BROKER_HTTP };
/* How far the way through the proxy is. */
enum broker_tunnel { BROKER_NO_PROXY, BROKER_GREETED, BROKER_LOGGED_IN, BROKER_ASKED, BROKER_THROUGH };

struct broker_channel {
    bool open, confirming;
    uint64_t published, settled; /* by tag */
    uint64_t delivered;
    char correlation[64]; /* of the last request */
    size_t correlation_size;
    struct {
        bool used;
        char tag[64];
        size_t tag_size;
        bool replies; /* what it gets answers a request */
    } consumers[BROKER_CONSUMERS];
};

struct api_broker {
    size_t heard; /* of the client's bytes */
    uint16_t heartbeat_s;
    uint32_t frame_max;
    bool closed;
    enum broker_proxy proxy;
    enum broker_tunnel tunnel;
    size_t tunnel_size; /* bytes of the proxy that the client has still to be given */
    struct broker_channel channels[BROKER_CHANNELS];
    uint8_t *says;
    size_t says_size, says_at;
};

/* `says` is kept over lives. */
void broker_begin(struct api_broker *b);

/* A new link: nothing was said on it. */
void broker_link(struct api_broker *b, size_t heard);

/* Whether it is still the proxy that hears and speaks. */
bool broker_is_proxy(const struct api_broker *b);

/* Answer all that was written and not heard yet. */
void broker_hear(struct api_broker *b, uint8_t *written, size_t size);

void broker_method(struct api_broker *b, uint16_t channel, uint32_t method, const void *args);
void broker_frame(struct api_broker *b, unsigned type, uint16_t channel, const void *payload, size_t size);
void broker_raw(struct api_broker *b, const void *bytes, size_t size);

/* A message for one of its consumers; header and bodies. False if there is no consumer. */
bool broker_deliver(struct api_broker *b, uint16_t channel, unsigned consumer, size_t size, bool properties);
void broker_content(struct api_broker *b, uint16_t channel, size_t size, bool properties);

/* An empty message whose headers are these bytes, whatever they are. */
void broker_deliver_headers(struct api_broker *b, uint16_t channel, const uint8_t *headers, size_t size);

#endif
