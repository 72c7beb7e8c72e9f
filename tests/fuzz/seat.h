/*
 * Where a session sits while it is fuzzed: it is given bytes in memory of exactly their size, its events are pulled, checked and put
 * into a digest that does not depend on how the bytes were cut, and the handshake is answered as lib/client does. It knows the
 * session's doors and the codec; what is done in between is the target's.
 */
#ifndef FUZZ_SEAT_H
#define FUZZ_SEAT_H

#include "arena.h"
#include "session.h"

#define SEAT_INPUT_MAX ((size_t)1 << 18)
#define SEAT_CHANNELS  16u

struct conversation;

struct seat {
    struct session s;
    struct session_settings settings;
    struct arena *arena;
    lago_tune_t tune; /* what the client wants, as lago_parameters_t has it */
    uint64_t now;
    bool straight;                                                          /* bytes go to session_room where there is some */
    bool hands_out;                                                         /* bodies that are announced are taken in pieces */
    bool answers;                                                           /* the handshake */
    void (*on_event)(struct seat *seat, const struct session_event *event); /* behind each one but those of bodies under way */
    struct conversation *wire; /* hears what is read and written, and all is written at once; NULL: nobody */
    const uint8_t *said;       /* the input that is lent now, and how much of it the wire has heard */
    size_t said_size, heard;
    uint64_t digest;
    size_t events, contents, pieces;
    uint64_t largest_body;
    unsigned ended;
    bool begun;
    struct {
        bool under_way;
        uint64_t at, digest;
    } bodies[SEAT_CHANNELS];
};

/* A session in IDLE; s.settings may be changed before. */
void seat_init(struct seat *seat, struct arena *arena, const struct session_settings *settings, const lago_tune_t *tune);

/* Up to SEAT_INPUT_MAX bytes, and the events of them. */
void seat_feed(struct seat *seat, const uint8_t *data, size_t size);
void seat_pull(struct seat *seat, size_t events_max);

/* Up to so many bytes of the output are written. @return how many */
size_t seat_write(struct seat *seat, size_t max);

/* Time passes: a tick when the session asks for it. */
void seat_pass(struct seat *seat, uint64_t ms);

/* The link is gone, if there is still one; all events are pulled, the end was told once, everything is released. */
void seat_end(struct seat *seat);

/* Bytes that depend on every byte, fast. */
uint64_t seat_mix(uint64_t digest, const void *data, size_t size);

#endif
