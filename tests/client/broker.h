/*
 * A broker that answers by itself: it hears the client's frames in the log and says what RabbitMQ would, from the handshake to
 * close-ok. For tests that are not about what the broker says.
 */
#ifndef CLIENT_BROKER_H
#define CLIENT_BROKER_H

#include "server.h"
#include "virtual.h"

#define BROKER_CHANNELS 64

struct broker {
    struct virtual *v;
    bool silent;      /* answers nothing but goodbyes */
    bool challenges;  /* logs in by the mechanism DEMO, in two rounds */
    unsigned deliver; /* how many messages a new consumer gets */
    bool connection_gone;
    struct {
        bool open, confirming;
        unsigned long long published, delivered;
        char reply_tag[128]; /* consumer_tag="..." of replies to requests; they are answered at once */
    } channels[BROKER_CHANNELS];
    char answers[32768];
    size_t size;
};

/* From here on it hears `v`. Before virtual_connect. */
void broker_init(struct broker *b, struct virtual *v);

/* A lago_log_cb that only listens, `data` is the broker: what it would answer waits in `answers`, for who has no virtual. */
void broker_hear(void *data, lago_log_level_t level, const char *line);

/* Run the client and answer it until both are quiet. */
void broker_run(struct broker *b);

/* Say lines of one's own and run, if channel and connection still live at the broker. */
void broker_say(struct broker *b, unsigned channel, const char *lines);

#endif
