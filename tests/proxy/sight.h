/*
 * What passes in one direction of a link: AMQP frames or TLS records, told apart by the first byte, found by their heads while
 * their bodies pass. Must not know sockets.
 */
#ifndef PROXY_SIGHT_H
#define PROXY_SIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGHT_HEAD_MAX 11u /* a frame's header, its class and method */

enum sight_kind {
    SIGHT_NEW,     /* no byte has come yet */
    SIGHT_FRAMES,  /* AMQP 0-9-1, 2.3.5, behind a protocol header or not */
    SIGHT_RECORDS, /* TLS: RFC 8446, 5.1 */
    SIGHT_BLIND    /* something else, or no longer that */
};

/* A frame or a record, from `begin` to before `end`, counted from the first byte of the link. */
struct sighting {
    uint64_t begin, end;
    uint8_t type;
    uint16_t channel; /* frames only, as the next */
    uint32_t method;  /* class << 16 | method; 0 in a frame of another type */
};

struct sight {
    enum sight_kind kind;
    uint64_t seen;       /* bytes */
    struct sighting now; /* end 0: its head is not complete */
    uint8_t head[SIGHT_HEAD_MAX];
    size_t head_size;
    uint64_t count; /* frames or records found */
};

/* Each frame or record whose head has come is told once. */
typedef void (*sight_found_cb)(void *data, const struct sighting *found);
void sight_look(struct sight *sight, const uint8_t *bytes, size_t size, sight_found_cb found, void *data);

/* Up to where all is known; what is behind is the beginning of a head. */
uint64_t sight_known(const struct sight *sight);

#endif
