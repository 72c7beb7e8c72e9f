/* What floor and fake broker both need to write AMQP by hand: numbers, frames, the methods' numbers. Knows no state. */
#ifndef LAGO_TESTS_BENCH_WIRE_H
#define LAGO_TESTS_BENCH_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define METHOD(class_id, method_id) ((uint32_t)(class_id) << 16 | (method_id))

#define CONNECTION_START    METHOD(10, 10)
#define CONNECTION_START_OK METHOD(10, 11)
#define CONNECTION_TUNE     METHOD(10, 30)
#define CONNECTION_TUNE_OK  METHOD(10, 31)
#define CONNECTION_OPEN     METHOD(10, 40)
#define CONNECTION_OPEN_OK  METHOD(10, 41)
#define CONNECTION_CLOSE    METHOD(10, 50)
#define CHANNEL_OPEN        METHOD(20, 10)
#define CHANNEL_OPEN_OK     METHOD(20, 11)
#define CHANNEL_CLOSE       METHOD(20, 40)
#define EXCHANGE_DECLARE    METHOD(40, 10)
#define QUEUE_DECLARE       METHOD(50, 10)
#define QUEUE_DECLARE_OK    METHOD(50, 11)
#define QUEUE_BIND          METHOD(50, 20)
#define QUEUE_PURGE         METHOD(50, 30)
#define QUEUE_DELETE        METHOD(50, 40)
#define BASIC_QOS           METHOD(60, 10)
#define BASIC_QOS_OK        METHOD(60, 11)
#define BASIC_CONSUME       METHOD(60, 20)
#define BASIC_CONSUME_OK    METHOD(60, 21)
#define BASIC_CANCEL        METHOD(60, 30)
#define BASIC_CANCEL_OK     METHOD(60, 31)
#define BASIC_PUBLISH       METHOD(60, 40)
#define BASIC_DELIVER       METHOD(60, 60)
#define BASIC_ACK           METHOD(60, 80)
#define CONFIRM_SELECT      METHOD(85, 10)
#define CONFIRM_SELECT_OK   METHOD(85, 11)

enum { FRAME_METHOD = 1, FRAME_HEADER = 2, FRAME_BODY = 3, FRAME_HEARTBEAT = 8, FRAME_END = 0xCE };

#define METHOD_OVERHEAD 12 /* of a method's frame: header, class and method, end */

static inline uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static inline uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static inline uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) << 32 | get32(at + 4); }

/* Each returns where the next octet goes. */
static inline uint8_t *put8(uint8_t *at, unsigned value) {
    *at = (uint8_t)value;
    return at + 1;
}
static inline uint8_t *put16(uint8_t *at, unsigned value) { return put8(put8(at, value >> 8), value); }
static inline uint8_t *put32(uint8_t *at, uint32_t value) { return put16(put16(at, value >> 16), value & 0xffff); }
static inline uint8_t *put64(uint8_t *at, uint64_t value) { return put32(put32(at, (uint32_t)(value >> 32)), (uint32_t)value); }

static inline uint8_t *put_octets(uint8_t *at, const void *octets, size_t size) {
    if (size > 0) memcpy(at, octets, size);
    return at + size;
}

static inline uint8_t *put_shortstr(uint8_t *at, const char *text) {
    size_t size = strlen(text);
    return put_octets(put8(at, (unsigned)size), text, size);
}

static inline uint8_t *put_longstr(uint8_t *at, const char *text) {
    size_t size = strlen(text);
    return put_octets(put32(at, (uint32_t)size), text, size);
}

/* The 7 octets before a payload. */
static inline uint8_t *put_frame(uint8_t *at, unsigned type, uint16_t channel, uint32_t size) {
    return put32(put16(put8(at, type), channel), size);
}

static inline uint8_t *put_method(uint8_t *at, uint16_t channel, uint32_t method, const void *arguments, size_t size) {
    at = put32(put_frame(at, FRAME_METHOD, channel, (uint32_t)size + 4), method);
    return put8(put_octets(at, arguments, size), FRAME_END);
}

/* A content header with content-type and delivery-mode 1. */
static inline uint8_t *put_header(uint8_t *at, uint16_t channel, uint64_t body_size, const char *content_type) {
    at = put_frame(at, FRAME_HEADER, channel, (uint32_t)(16 + strlen(content_type)));
    at = put16(put64(put32(at, METHOD(60, 0)), body_size), 0x9000);
    return put8(put8(put_shortstr(at, content_type), 1), FRAME_END);
}

#endif
