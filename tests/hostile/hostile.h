/*
 * What a hostile broker may say, and what must come of it. A case brings a session (or a whole client) to a place, says something,
 * and compares what came of it, a letter, with what was written down; then the life is ended, and must have been in order all the
 * same: one connection.close at most, the end told once and last, all memory back.
 *
 * The letters:
 *   .  nothing: it is discarded                      e  an event of it is told
 *   c  a content begins or goes on                   m  a content is told, whole
 *   o  the channel is open                           a  channel.flow: told and answered
 *   x  channel.close: answered, told, number free    X  the same, but the number waits for our own close-ok
 *   f  close-ok: told, number free                   t  channel closed by us: 311
 *   k  connection.close: answered, over              K  answered, and our own close-ok is awaited still
 *   d  close-ok: over                                q  over without a word: nobody was met
 *   1  501, 2  502, 3  503, 4  504, 5  505, 0  540: connection.close with that reply code, and nothing is told but the end
 */
#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H

#include "peer.h"

enum place {
    AT_WAIT_START,
    AT_STARTING,
    AT_WAIT_TUNE,
    AT_SECURING,
    AT_TUNING,
    AT_WAIT_OPEN,
    AT_OPEN,    /* and the channel is one that never was */
    CH_OPENING, /* from here on the connection is open, and it is the channel that is at a place */
    CH_OPEN,
    CH_HEADER,  /* basic.deliver came: its header is next */
    CH_BODY,    /* 4 of 10 octets came */
    CH_LEAVING, /* our channel.close waits behind what is held */
    CH_CLOSING, /* it is sent */
    CH_CROSSED, /* and the broker's came */
    CH_CLOSED,  /* and was answered: the number is free */
    AT_CLOSING,
    AT_FAILED,
    AT_LEAVING,
    AT_ENDED,
    PLACES
};

extern const char *const place_names[PLACES];

/* ---------------------------------------------------------------- the sum */

struct sum {
    unsigned long cells, cases, failures;
};
extern struct sum sum;

/* What is under way, for messages; and that something was wrong with it. */
void case_is(const char *format, ...) __attribute__((format(printf, 1, 2)));
void case_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---------------------------------------------------------------- one case on a session */

struct scene {
    struct peer peer;
    enum place place;
    uint16_t channel; /* the one that it is about */
    enum session_state state;
    size_t memory; /* what lived when the attack began */
    unsigned ends; /* how often the end was told */
};

void scene_begin(struct scene *s, enum place place);
void scene_say(struct scene *s, const void *data, size_t size);

/* What came of it: a letter, '?' if it was nothing that has one. */
char scene_seen(struct scene *s);

/* The life ends, in order. */
void scene_end(struct scene *s);

/* All of it: one of `letters` must come of the bytes, which are gone then. Counts a case. */
void attack(enum place place, struct bytes *b, const char *letters);

/* The method's arguments, none of them empty: struct to hand to bytes_method. */
void fill_args(const struct method_info *info, union method_args *args);
void payload_of(const struct method_info *info, struct bytes *payload);

/* ---------------------------------------------------------------- one case on a whole client */

/* Bring it to a column of cells_client.txt; say what is to be said; then compare, end and count. */
struct client_test *client_at(const char *place);
lago_channel_t *client_channel_here(void);
void client_expect(char letter);

/* ---------------------------------------------------------------- the parts */

void cells_of_session(const char *path);
void cells_of_client(const char *path);
void attack_methods(void);
void attack_frames(void);
void attack_contents(void);
void attack_tables(void);
void attack_client(void);
void replay_cves(const char *path, const char *tests);
int bounds(bool brief); /* brief: a few megabytes each, and memory only */

#endif
