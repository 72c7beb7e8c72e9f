/* Blocks of pcapng (draft-ietf-opsawg-pcapng), in this machine's order of bytes, which the section says. */
#include "pcapng.h"
#include "text.h"
#include <lago/version.h>
#include <string.h>

#define BLOCK_SECTION   0x0A0D0D0Au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET    6u
#define BYTE_ORDER_MARK 0x1A2B3C4Du
#define LINK_RAW        101u /* packets begin with the IP header */

#define OPTION_END        0u
#define OPTION_COMMENT    1u
#define OPTION_FLAGS      2u /* of a packet: 1 inbound, 2 outbound */
#define OPTION_USER_APPL  4u
#define OPTION_RESOLUTION 9u

#define IP_SIZE     20u
#define TCP_SIZE    20u
#define TCP_SCALE   0x0103030Eu     /* an option: windows count in units of 2^14, so that readers see none full (RFC 7323, 2.2) */
#define SEGMENT_MAX ((size_t)60000) /* an IP packet has at most 65535 octets */
#define SERVER_PORT 5672u
#define ACK_EVERY   1000u  /* packets one way: Wireshark gives up following at 10000 without an ACK, and sees losses */
#define FIRST_PORT  49152u /* the dynamic ports (RFC 6335) */
#define PORT_COUNT  16384u
#define HOST_COUNT  254u /* of a /24 */

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u

/* A block's own bytes, before they are handed over. */
struct out {
    uint8_t bytes[320];
    size_t size;
};

static void put(struct out *out, const void *bytes, size_t size) {
    if (size > 0) memcpy(out->bytes + out->size, bytes, size); /* an option's end has no value, not even a pointer */
    out->size += size;
}

static void put16(struct out *out, uint16_t value) { put(out, &value, 2); }

static void put32(struct out *out, uint32_t value) { put(out, &value, 4); }

/* Of the network: the high octet first. */
static void net16(struct out *out, uint32_t value) { put(out, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2); }

static void net32(struct out *out, uint32_t value) {
    net16(out, value >> 16);
    net16(out, value & 0xffff);
}

static void pad(struct out *out, size_t size) {
    static const uint8_t zeros[4];
    put(out, zeros, (4 - size % 4) % 4);
}

static void put_option(struct out *out, uint16_t code, const void *value, size_t size) {
    put16(out, code);
    put16(out, (uint16_t)size);
    put(out, value, size);
    pad(out, size);
}

static void hand_over(const struct pcapng *file, const void *bytes, size_t size) {
    if (size > 0) file->write(bytes, size, file->data);
}

/* The block's size goes in front and behind. */
static void finish(const struct pcapng *file, struct out *out) {
    uint32_t size = (uint32_t)out->size + 4;
    memcpy(out->bytes + 4, &size, 4);
    put32(out, size);
    hand_over(file, out->bytes, out->size);
}

static struct out block(uint32_t type) {
    struct out out = { .size = 0 };
    put32(&out, type);
    put32(&out, 0);
    return out;
}

void pcapng_begin(struct pcapng *file) {
    static const char application[] = "lago " LAGO_VERSION;
    static const uint8_t nanoseconds = 9;
    file->generation++;
    struct out section = block(BLOCK_SECTION);
    put32(&section, BYTE_ORDER_MARK);
    put16(&section, 1);
    put16(&section, 0);
    put32(&section, UINT32_MAX); /* the section's size is not known */
    put32(&section, UINT32_MAX);
    put_option(&section, OPTION_USER_APPL, application, sizeof(application) - 1);
    put_option(&section, OPTION_END, NULL, 0);
    finish(file, &section);
    struct out interface = block(BLOCK_INTERFACE);
    put16(&interface, LINK_RAW);
    put16(&interface, 0);
    put32(&interface, 0); /* packets are whole */
    put_option(&interface, OPTION_RESOLUTION, &nanoseconds, 1);
    put_option(&interface, OPTION_END, NULL, 0);
    finish(file, &interface);
}

/* ---------------------------------------------------------------- packets */

struct packet {
    enum pcapng_direction direction;
    uint8_t flags; /* of TCP */
    const void *bytes;
    size_t size;
    const char *comment; /* or NULL */
    uint64_t now_us;
};

/* RFC 1071 over the IP header, whose checksum is still 0. */
static uint16_t ip_checksum(const uint8_t *header) {
    uint32_t sum = 0;
    for (size_t i = 0; i < IP_SIZE; i += 2) sum += (uint32_t)(header[i] << 8 | header[i + 1]);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static size_t head_size(const struct packet *p) { return IP_SIZE + TCP_SIZE + (p->flags & TCP_SYN ? 4 : 0); }

static void put_ip(struct out *out, const struct pcapng_stream *stream, const struct packet *p) {
    const uint8_t client[4] = { 192, 0, 2, stream->client }; /* an address for examples (RFC 5737): ours is not known */
    bool outbound = p->direction == PCAPNG_OUT;
    size_t begin = out->size;
    net16(out, 0x4500);
    net16(out, (uint32_t)(head_size(p) + p->size));
    net32(out, 0x00004000); /* no fragments */
    net16(out, 0x4006);     /* 64 hops, TCP */
    net16(out, 0);
    put(out, outbound ? client : stream->server, 4);
    put(out, outbound ? stream->server : client, 4);
    uint16_t sum = ip_checksum(out->bytes + begin);
    out->bytes[begin + 10] = (uint8_t)(sum >> 8);
    out->bytes[begin + 11] = (uint8_t)sum;
}

static void put_tcp(struct out *out, const struct pcapng_stream *stream, const struct packet *p) {
    bool outbound = p->direction == PCAPNG_OUT;
    net16(out, outbound ? stream->port : SERVER_PORT);
    net16(out, outbound ? SERVER_PORT : stream->port);
    net32(out, stream->next[p->direction]);
    net32(out, p->flags & TCP_ACK ? stream->next[!p->direction] : 0);
    net16(out, (uint32_t)(head_size(p) - IP_SIZE) / 4 << 12 | p->flags);
    net16(out, 0xffff); /* window */
    net32(out, 0);      /* no checksum: readers do not insist */
    if (p->flags & TCP_SYN) net32(out, TCP_SCALE);
}

/* The header is ours, the payload is handed over as it lies. */
static void put_packet(const struct pcapng *file, struct pcapng_stream *stream, const struct packet *p) {
    uint64_t time_ns = (file->wall_us + p->now_us) * 1000u;
    uint32_t size = (uint32_t)(head_size(p) + p->size), flags = p->direction == PCAPNG_OUT ? 2 : 1;
    struct out head = block(BLOCK_PACKET), tail = { .size = 0 };
    put32(&head, 0); /* the interface */
    put32(&head, (uint32_t)(time_ns >> 32));
    put32(&head, (uint32_t)time_ns);
    put32(&head, size);
    put32(&head, size);
    put_ip(&head, stream, p);
    put_tcp(&head, stream, p);
    pad(&tail, p->size);
    if (p->comment) put_option(&tail, OPTION_COMMENT, p->comment, strlen(p->comment));
    put_option(&tail, OPTION_FLAGS, &flags, 4);
    put_option(&tail, OPTION_END, NULL, 0);
    uint32_t whole = (uint32_t)(head.size + p->size + tail.size) + 4;
    memcpy(head.bytes + 4, &whole, 4);
    put32(&tail, whole);
    hand_over(file, head.bytes, head.size);
    hand_over(file, p->bytes, p->size);
    hand_over(file, tail.bytes, tail.size);
    stream->next[p->direction] += (uint32_t)p->size + (p->flags & (TCP_SYN | TCP_FIN) ? 1 : 0);
}

/* "127.0.0.1:5672" as an address; anything else gets one for examples. */
static void read_address(const char *text, uint8_t *address) {
    static const uint8_t example[4] = { 198, 51, 100, 1 };
    uint8_t parts[4];
    for (size_t i = 0; i < 4; i++) {
        unsigned value = 0, digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 3; text++, digits++) value = value * 10 + (unsigned)(*text - '0');
        if (digits == 0 || value > 255 || *text != (i < 3 ? '.' : ':')) {
            memcpy(address, example, 4);
            return;
        }
        parts[i] = (uint8_t)value;
        text++;
    }
    memcpy(address, parts, 4);
}

void pcapng_connect(struct pcapng *file, struct pcapng_stream *stream, const char *endpoint, uint64_t now_us) {
    char comment[160];
    struct text t;
    text_init(&t, comment, sizeof(comment));
    text_add(&t, "to ");
    text_add_escaped(&t, endpoint, strlen(endpoint), 120);
    *stream = (struct pcapng_stream){ .generation = file->generation };
    read_address(endpoint, stream->server);
    /* an address and port that come again would be the old conversation to readers, and its packets were sent twice */
    stream->client = (uint8_t)(1 + file->streams / PORT_COUNT % HOST_COUNT);
    stream->port = (uint16_t)(FIRST_PORT + file->streams++ % PORT_COUNT);
    put_packet(file, stream, &(struct packet){ .direction = PCAPNG_OUT, .flags = TCP_SYN, .comment = comment, .now_us = now_us });
    put_packet(file, stream, &(struct packet){ .direction = PCAPNG_IN, .flags = TCP_SYN | TCP_ACK, .now_us = now_us });
    put_packet(file, stream, &(struct packet){ .direction = PCAPNG_OUT, .flags = TCP_ACK, .now_us = now_us });
}

/* Bytes that go one way for long are acknowledged in between. */
static void acknowledge(const struct pcapng *file, struct pcapng_stream *stream, enum pcapng_direction direction,
                        uint64_t now_us) {
    enum pcapng_direction back = direction == PCAPNG_OUT ? PCAPNG_IN : PCAPNG_OUT;
    if (stream->last != direction) stream->in_a_row = 0;
    stream->last = direction;
    if (++stream->in_a_row % ACK_EVERY) return;
    put_packet(file, stream, &(struct packet){ .direction = back, .flags = TCP_ACK, .now_us = now_us });
}

void pcapng_bytes(struct pcapng *file, struct pcapng_stream *stream, enum pcapng_direction direction, const void *bytes,
                  size_t size, uint64_t now_us) {
    const uint8_t *at = bytes;
    while (size > 0) {
        size_t piece = size < SEGMENT_MAX ? size : SEGMENT_MAX;
        put_packet(
            file, stream,
            &(struct packet){ .direction = direction, .flags = TCP_PSH | TCP_ACK, .bytes = at, .size = piece, .now_us = now_us });
        acknowledge(file, stream, direction, now_us);
        at += piece;
        size -= piece;
    }
}

void pcapng_disconnect(struct pcapng *file, struct pcapng_stream *stream, enum pcapng_direction first, uint64_t now_us) {
    enum pcapng_direction second = first == PCAPNG_OUT ? PCAPNG_IN : PCAPNG_OUT;
    put_packet(file, stream, &(struct packet){ .direction = first, .flags = TCP_FIN | TCP_ACK, .now_us = now_us });
    put_packet(file, stream, &(struct packet){ .direction = second, .flags = TCP_FIN | TCP_ACK, .now_us = now_us });
    put_packet(file, stream, &(struct packet){ .direction = first, .flags = TCP_ACK, .now_us = now_us });
    stream->generation = 0;
}
