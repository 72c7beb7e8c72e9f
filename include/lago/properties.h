/* The fourteen properties of a message (AMQP 0-9-1, 1.8.3 and 4.2.6.1; class basic). */
#ifndef LAGO_PROPERTIES_H
#define LAGO_PROPERTIES_H

#include <lago/table.h>
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values of delivery_mode. */
#define LAGO_TRANSIENT  1
#define LAGO_PERSISTENT 2

/* Bits of `present`; on the wire these very bits are the property flags. */
typedef enum lago_property {
    LAGO_PROPERTY_CONTENT_TYPE = 1 << 15,
    LAGO_PROPERTY_CONTENT_ENCODING = 1 << 14,
    LAGO_PROPERTY_HEADERS = 1 << 13,
    LAGO_PROPERTY_DELIVERY_MODE = 1 << 12,
    LAGO_PROPERTY_PRIORITY = 1 << 11,
    LAGO_PROPERTY_CORRELATION_ID = 1 << 10,
    LAGO_PROPERTY_REPLY_TO = 1 << 9,
    LAGO_PROPERTY_EXPIRATION = 1 << 8,
    LAGO_PROPERTY_MESSAGE_ID = 1 << 7,
    LAGO_PROPERTY_TIMESTAMP = 1 << 6,
    LAGO_PROPERTY_TYPE = 1 << 5,
    LAGO_PROPERTY_USER_ID = 1 << 4,
    LAGO_PROPERTY_APP_ID = 1 << 3,
    LAGO_PROPERTY_CLUSTER_ID = 1 << 2
} lago_property_t;

/**
 * Properties, given or received.
 *
 * Given: every field that is not zero is sent; to send a zero (priority 0, timestamp 0, an empty table) set its bit in
 * `present` as well. Strings end at their NUL, unless `sizes` says how long they are; at most 255 bytes each.
 * Received: `present` says what was there, strings are NUL-terminated, `sizes` is the truth; what is absent is NULL or 0.
 * So what one message brought can be given to the next: .correlation_id = msg->properties->correlation_id.
 */
typedef struct lago_properties {
    uint16_t present;             /* LAGO_PROPERTY_* */
    uint8_t delivery_mode;        /* LAGO_TRANSIENT or LAGO_PERSISTENT; RabbitMQ takes an absent one as transient */
    uint8_t priority;             /* 0 to 255 */
    const char *content_type;     /* MIME type */
    const char *content_encoding; /* MIME encoding */
    lago_table_t headers;
    const char *correlation_id;
    const char *reply_to;
    const char *expiration; /* milliseconds, as a decimal string */
    const char *message_id;
    uint64_t timestamp; /* seconds since 1970-01-01 00:00 UTC */
    const char *type;
    const char *user_id; /* RabbitMQ refuses (406) a name that is not the connection's user */
    const char *app_id;
    const char *cluster_id; /* deprecated by the specification */
    struct {
        uint8_t content_type, content_encoding, correlation_id, reply_to, expiration, message_id, type, user_id, app_id,
            cluster_id;
    } sizes; /* given: 0 with a string means strlen() */
} lago_properties_t;

/**
 * Print properties for people: content_type="text/plain" headers={n=1} delivery_mode=2. Control characters are escaped.
 *
 * @param buffer  Filled with a NUL-terminated text, cut short if `size` is too small. May be NULL when `size` is 0.
 * @return How many bytes the whole text has, as snprintf counts.
 */
LAGO_EXPORT size_t lago_properties_format(const lago_properties_t *properties, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
