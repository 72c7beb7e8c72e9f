/* Every message's methods. Profile that justified them (callgrind, 256-byte messages): the engine's walk was 40 % of all. */
#include "everyday.h"
#include <lago/error.h>
#include <string.h>

#define PUBLISH_FIXED_SIZE 9u  /* class and method, ticket, two lengths, flags */
#define DELIVER_FIXED_SIZE 16u /* class and method, three lengths, delivery tag, flags */
#define MANDATORY          1u
#define IMMEDIATE          2u
#define MULTIPLE           1u

static int measure(lago_string_t *s) {
    if (s->data == NULL)
        s->size = 0;
    else if (s->size == LAGO_NUL_TERMINATED)
        s->size = strlen(s->data);
    return s->size <= UINT8_MAX ? 0 : LAGO_ETOOLONG;
}

int publish_measure(struct basic_publish *args, size_t *size) {
    if (measure(&args->exchange) < 0 || measure(&args->routing_key) < 0) return LAGO_ETOOLONG;
    *size = PUBLISH_FIXED_SIZE + args->exchange.size + args->routing_key.size;
    return 0;
}

static uint8_t bits_of(const struct basic_publish *args) {
    return (uint8_t)((args->mandatory ? MANDATORY : 0) | (args->immediate ? IMMEDIATE : 0));
}

uint8_t *publish_put(uint8_t *out, const struct basic_publish *args) {
    out = put_u32(out, METHOD_BASIC_PUBLISH);
    out = put_u16(out, 0); /* the ticket of AMQP 0-8 */
    *out++ = (uint8_t)args->exchange.size;
    out = put_short(out, args->exchange.data, args->exchange.size);
    *out++ = (uint8_t)args->routing_key.size;
    out = put_short(out, args->routing_key.data, args->routing_key.size);
    *out++ = bits_of(args);
    return out;
}

/*
 * A content header of at most CONTENT_HEADER_PLAIN_MAX octets, in one pass instead of three (which flags, which sizes, the octets).
 * NULL if there are headers, or something is wrong.
 */
#define STRING_PUT_(name, flag)                                                                                                  \
    if (p->name || present & LAGO_PROPERTY_##flag) {                                                                             \
        flags |= LAGO_PROPERTY_##flag;                                                                                           \
        out = put_string(out, p->name, p->sizes.name > 0 ? p->sizes.name : LAGO_NUL_TERMINATED, longest);                        \
    }
#define NUMBER_PUT_(name, flag, put)                                                                                             \
    if (p->name || present & LAGO_PROPERTY_##flag) {                                                                             \
        flags |= LAGO_PROPERTY_##flag;                                                                                           \
        out = put(out, p->name);                                                                                                 \
    }

static bool has_any_behind_priority(const lago_properties_t *p) {
    return p->timestamp ||
           ((uintptr_t)p->correlation_id | (uintptr_t)p->reply_to | (uintptr_t)p->expiration | (uintptr_t)p->message_id |
            (uintptr_t)p->type | (uintptr_t)p->user_id | (uintptr_t)p->app_id | (uintptr_t)p->cluster_id);
}

static inline uint8_t *put_plain(uint8_t *out, const lago_properties_t *p, unsigned *all_flags, size_t *longest) {
    unsigned present = p->present, flags = 0;
    STRING_PUT_(content_type, CONTENT_TYPE)
    STRING_PUT_(content_encoding, CONTENT_ENCODING)
    NUMBER_PUT_(delivery_mode, DELIVERY_MODE, put_u8)
    NUMBER_PUT_(priority, PRIORITY, put_u8)
    if (present || has_any_behind_priority(p)) {
        STRING_PUT_(correlation_id, CORRELATION_ID)
        STRING_PUT_(reply_to, REPLY_TO)
        STRING_PUT_(expiration, EXPIRATION)
        STRING_PUT_(message_id, MESSAGE_ID)
        NUMBER_PUT_(timestamp, TIMESTAMP, put_u64)
        STRING_PUT_(type, TYPE)
        STRING_PUT_(user_id, USER_ID)
        STRING_PUT_(app_id, APP_ID)
        STRING_PUT_(cluster_id, CLUSTER_ID)
    }
    *all_flags = flags;
    return out;
}

static inline uint8_t *content_header_put_plain(uint8_t *out, const lago_properties_t *properties, uint64_t body_size) {
    unsigned flags = 0;
    size_t longest = 0;
    out = put_u64(put_u32(out, (uint32_t)CLASS_BASIC << 16), body_size);
    uint8_t *flags_at = out;
    out += sizeof(uint16_t);
    if (properties != NULL) {
        if (properties->headers.size || properties->present & (LAGO_PROPERTY_HEADERS | ~PROPERTY_FLAGS)) return NULL;
        out = put_plain(out, properties, &flags, &longest);
    }
    (void)put_u16(flags_at, (uint16_t)flags);
    return longest <= UINT8_MAX ? out : NULL;
}

/* A frame of a size that is known at its end. */
static uint8_t *begin_frame(uint8_t *out, enum frame_type type, uint16_t channel) {
    return put_u16(put_u8(out, (uint8_t)type), channel) + sizeof(uint32_t);
}

static uint8_t *end_frame(uint8_t *frame, uint8_t *end) {
    (void)put_u32(frame + 3, (uint32_t)(end - frame) - FRAME_HEADER_SIZE);
    return frame_finish(end);
}

uint8_t *message_head_put(uint8_t *out, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                          uint64_t body_size) {
    uint8_t *frame = out;
    size_t longest = 0;
    out = put_u32(begin_frame(frame, FRAME_METHOD, channel), METHOD_BASIC_PUBLISH);
    out = put_u16(out, 0);
    out = put_string(out, args->exchange.data, args->exchange.size, &longest);
    out = put_string(out, args->routing_key.data, args->routing_key.size, &longest);
    *out++ = bits_of(args);
    frame = end_frame(frame, out);
    out = content_header_put_plain(begin_frame(frame, FRAME_HEADER, channel), properties, body_size);
    return out && longest <= UINT8_MAX ? end_frame(frame, out) : NULL;
}

/* `left`: what may be read beyond the fixed parts, which were checked. */
static bool take(const uint8_t **at, size_t *left, lago_string_t *s) {
    size_t size = *(*at)++;
    *s = (lago_string_t){ (const char *)*at, size };
    if (size > *left) return false;
    *left -= size;
    *at += size;
    return true;
}

int deliver_read(const uint8_t *payload, size_t size, struct basic_deliver *args) {
    const uint8_t *at = payload + 4;
    if (size < DELIVER_FIXED_SIZE) return REPLY_SYNTAX_ERROR;
    size_t left = size - DELIVER_FIXED_SIZE;
    if (!take(&at, &left, &args->consumer_tag)) return REPLY_SYNTAX_ERROR;
    deliver_read_tag(at, args);
    at += 9;
    if (!take(&at, &left, &args->exchange) || !take(&at, &left, &args->routing_key)) return REPLY_SYNTAX_ERROR;
    return left == 0 ? 0 : REPLY_SYNTAX_ERROR;
}

static void terminate(lago_string_t s) { ((char *)(uintptr_t)s.data)[s.size] = '\0'; }

void deliver_terminate(const struct basic_deliver *args) {
    terminate(args->consumer_tag);
    terminate(args->exchange);
    terminate(args->routing_key);
}

uint8_t *ack_frame_put(uint8_t *out, uint16_t channel, uint64_t delivery_tag, bool multiple) {
    out = frame_begin(out, FRAME_METHOD, channel, ACK_FRAME_SIZE - FRAME_OVERHEAD);
    out = put_u32(out, METHOD_BASIC_ACK);
    out = put_u64(out, delivery_tag);
    *out++ = multiple ? MULTIPLE : 0;
    return frame_finish(out);
}
