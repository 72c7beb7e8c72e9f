/*
 * The other end of a session: frames as a broker writes them, a loop that pulls events and answers the handshake, and both
 * sides' words as text. It knows the session's doors and the codec, no client and no transport.
 *
 * All input is handed over in blocks of exactly its size, which are freed as soon as the session has done with them, so that
 * the sanitizer sees whoever keeps a pointer for too long.
 */
#ifndef LAGO_TESTS_SESSION_PEER_H
#define LAGO_TESTS_SESSION_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fail_alloc.h"
#include "frame.h"
#include "method.h"
#include "session.h"

/* ---------------------------------------------------------------- bytes that a broker sends */

struct bytes {
    uint8_t *data;
    size_t size, capacity;
};

void bytes_add(struct bytes *b, const void *data, size_t size);
void bytes_free(struct bytes *b);
void bytes_frame(struct bytes *b, unsigned type, uint16_t channel, const void *payload, size_t size);

/* `args` is the method's struct; NULL: all zero. */
void bytes_method(struct bytes *b, uint16_t channel, uint32_t method, const void *args);
void bytes_header(struct bytes *b, uint16_t channel, uint64_t body_size, const lago_properties_t *properties);

/* Body frame with the bytes of the pattern from `offset` on. */
void bytes_body(struct bytes *b, uint16_t channel, size_t offset, size_t size);

/* basic.deliver with a body of `size` bytes of the pattern, in frames of at most `frame_max`. */
void bytes_deliver(struct bytes *b, uint16_t channel, uint64_t tag, size_t size, size_t frame_max);

/* start, tune and open-ok: the broker's part of a handshake. */
void bytes_handshake(struct bytes *b);

/* What bodies are made of: any byte tells where it belongs. */
void pattern_fill(uint8_t *data, size_t offset, size_t size);
bool pattern_is(const uint8_t *data, size_t size);

/* ---------------------------------------------------------------- the session and what it said */

#define PASSWORD "correct horse battery"

struct peer {
    struct fail_alloc memory;
    const lago_allocator_t *allocator; /* NULL: `memory`'s */
    struct session session;
    struct session_settings settings;
    lago_tune_t tune;        /* what tune is answered with */
    enum session_state stop; /* the state in which the handshake is not answered any more; SESSION_ENDED: none */
    bool mute;               /* answers nothing */
    bool hands_out;          /* bodies that are announced; the log is the same, a message is noted with its last piece */
    bool any_body;           /* what is handed out need not be the pattern */
    bool straight;           /* peer_feed asks session_room and session_read_max */
    size_t filled;           /* bytes that went there */
    size_t pieces;           /* of bodies handed out */
    uint64_t handed[4];      /* of the body under way, by channel */
    uint64_t now;
    void (*on_event)(struct peer *p, const struct session_event *event); /* after an event was noted; may be NULL */
    void *data;                                                          /* the test's */
    struct bytes events, frames, trace;                                  /* one line each */
    struct bytes wire;                                                   /* written by the session */
    size_t wire_read;                                                    /* how much of it stands in `frames` */
    struct bytes bodies;                                                 /* payloads of body frames in it */
    size_t close_count;                                                  /* connection.close that left */
    bool swallowed;                                                      /* the kernel takes what is written, the peer nothing */
    uint64_t taken;                                                      /* by the peer */
};

/* A session in SESSION_IDLE: frame_max 4096, channel_max 8, no heartbeats, messages up to 1 MiB, trace on. */
void peer_init(struct peer *p);

/* Free all; nothing of the allocator's may be left. */
void peer_deinit(struct peer *p);

/* Bring it to a state, with channels 1 ("one") and 2 ("two") open from SESSION_OPEN on, or opening. Logs are empty then. */
void peer_bring(struct peer *p, enum session_state state);
void peer_open(struct peer *p);

/* Hand over input and pull events until there are none; `b` is empty then. */
void peer_feed(struct peer *p, const void *data, size_t size);
void peer_say(struct peer *p, struct bytes *b);
void peer_say_method(struct peer *p, uint16_t channel, uint32_t method, const void *args);

/* Pull events. */
void peer_pull(struct peer *p);

/* Write up to `max` bytes of the output; all of it, and pull the events of that. */
void peer_write(struct peer *p, size_t max);
void peer_write_all(struct peer *p);

/* Lines since the last question; valid until the next one of the kind. peer_frames writes all first. */
const char *peer_events(struct peer *p);
const char *peer_frames(struct peer *p);

/* A publish of `size` bytes of the pattern, copied. */
int peer_publish(struct peer *p, uint16_t channel, size_t size);

/* Time passes: a tick each time that the session has asked for, and one at the end. */
void peer_pass(struct peer *p, uint64_t ms);

/* ---------------------------------------------------------------- numbers from a fixed seed */

/* xorshift: the same numbers on every machine. */
struct dice {
    uint64_t state; /* not 0 */
};

static inline uint64_t dice_roll(struct dice *d) {
    d->state ^= d->state << 13;
    d->state ^= d->state >> 7;
    d->state ^= d->state << 17;
    return d->state;
}

/* 0 to limit - 1. */
static inline size_t dice_below(struct dice *d, size_t limit) { return (size_t)(dice_roll(d) % limit); }

#endif
