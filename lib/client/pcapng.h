/*
 * The file format pcapng, and packets made up around a stream of bytes: IPv4 and TCP with right sequence numbers, so that readers
 * put the stream together again. Knows no AMQP and no connection; writes nothing but small headers of its own.
 */
#ifndef LAGO_CLIENT_PCAPNG_H
#define LAGO_CLIENT_PCAPNG_H

#include <lago/capture.h>
#include <stdbool.h>
#include <stdint.h>

/* Shared by the connections of a context. */
struct pcapng {
    lago_capture_cb write; /* NULL: off */
    void *data;
    uint64_t wall_us;    /* wall clock minus the monotonic one */
    uint32_t generation; /* of the file: a conversation belongs to one */
    uint32_t streams;    /* how many conversations there were */
};

enum pcapng_direction { PCAPNG_IN, PCAPNG_OUT };

/* One TCP conversation. */
struct pcapng_stream {
    uint32_t generation; /* 0: none has begun */
    uint8_t server[4];
    uint8_t client;   /* the last octet of the client's address */
    uint16_t port;    /* and its port */
    uint32_t next[2]; /* sequence numbers, by direction */
    enum pcapng_direction last;
    uint32_t in_a_row; /* packets with bytes in the direction of the last one */
};

/* A new file begins: section and interface. */
void pcapng_begin(struct pcapng *file);

/* The three packets of a connect. `endpoint` is "127.0.0.1:5672" or any other text. */
void pcapng_connect(struct pcapng *file, struct pcapng_stream *stream, const char *endpoint, uint64_t now_us);
void pcapng_bytes(struct pcapng *file, struct pcapng_stream *stream, enum pcapng_direction direction, const void *bytes,
                  size_t size, uint64_t now_us);
/* `first` is whose goodbye comes first. */
void pcapng_disconnect(struct pcapng *file, struct pcapng_stream *stream, enum pcapng_direction first, uint64_t now_us);

#endif
