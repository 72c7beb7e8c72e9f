/*
 * A recorded conversation (pack.py's), and a client that says again what the client said, when it was said, while the broker's bytes come
 * in pieces of any size. What comes of it must not depend on the pieces.
 */
#ifndef SPLITS_RECORDING_H
#define SPLITS_RECORDING_H

#include "peer.h"

enum { FRAMES_MAX = 512 };

/* What the client said when so much of the server's words had come. */
struct said {
    size_t gate;
    uint8_t type;
    uint16_t channel;
    uint8_t *payload;
    size_t size;
};

struct recording {
    char path[1024];
    struct bytes server, client;
    struct said said[FRAMES_MAX];
    size_t said_count;
    lago_tune_t tune;
};

/* Reads it whole: `client` keeps the bytes that the frames point into, so it is made first, and does not move. */
bool recording_load(struct recording *file, const char *path);
void recording_free(struct recording *file);

/* Each recording of a directory, in order; it is borrowed. */
void recordings_of(const char *directory, void (*with)(const struct recording *file));

/* ---------------------------------------------------------------- the client, once more */

enum taking { TAKE_INPUT, TAKE_STRAIGHT, TAKE_PIECES, TAKINGS };

struct replay {
    struct peer peer;
    const struct recording *file;
    size_t fed, done; /* of the server's bytes; of what the client said */
    struct bytes body;
    union method_args publish; /* the one whose content is being put together */
    uint16_t publish_channel;
    uint64_t body_left;
    struct content_header header;
    struct dice dice; /* how much is written when; 0: all, at the end */
};

/* What came of it. `trace` has no time, `wire` is what the client has written. */
struct outcome {
    struct bytes events, trace, wire;
};

void replay_begin(struct replay *r, const struct recording *file, enum taking taking, uint64_t seed);

/* The next `size` bytes of the broker, stopping where the client has something to say; or others in their place. */
void replay_feed(struct replay *r, size_t size);
void replay_feed_bytes(struct replay *r, const uint8_t *data, size_t size);

void replay_end(struct replay *r, struct outcome *o);
void outcome_free(struct outcome *o);
bool outcome_same(const struct outcome *a, const struct outcome *b);

/* ---------------------------------------------------------------- the program: [--brief] [--plant] [--sessions N] DIRECTORY... */

extern struct splits {
    bool brief, plant;
    unsigned long limit; /* of sessions */
    unsigned long sessions, cuts, different;
} splits;

/* Calls `cut` for each recording, then prints the line with the figures. @return the exit code. */
int splits_main(int argc, char **argv, const char *title, void (*cut)(const struct recording *file));

/* ---------------------------------------------------------------- what is compared with */

/* All of it in one piece, which must be the conversation that was recorded: with this the others are compared. */
void replay_whole(const struct recording *file, struct outcome *whole);

#endif
