/*
 * Listens to a wire and says whether what the client sent is a conversation that AMQP 0-9-1 allows: frames whole and decodable, in
 * an order that a server accepts, no content without its rest, nothing behind a goodbye, at most one connection.close a link, and
 * no delivery settled that the application did not settle. Knows nothing of lago but its codec; of what the peer said it believes
 * as much as it can read.
 *
 *     conversation_link(&c, true);
 *     conversation_sent(&c, bytes, size); conversation_received(&c, bytes, size);      as they pass, in any pieces
 *     conversation_settled(&c, channel, tag, multiple);                                the application has acked, nacked or rejected
 *     conversation_link(&c, false);
 *     ... c.problem: NULL, or the first thing that was wrong
 */
#ifndef SUPPORT_CONVERSATION_H
#define SUPPORT_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the broker said of a publish, counted from 1 on its channel. */
enum fate { FATE_UNKNOWN, FATE_ACKED, FATE_NACKED };

struct spoken_delivery {
    uint64_t tag;
    bool no_ack;  /* nobody may settle it */
    bool granted; /* the application did */
    bool settled; /* and so it was said */
};

/* From channel.open on. A number that is used again is another one. */
struct spoken_channel {
    struct spoken_channel *next; /* the one before */
    uint16_t number;
    unsigned instance; /* of its number, from 1, over all links */
    bool closing;      /* channel.close was sent */
    bool closed;
    bool ended_by_peer; /* its channel.close came: what is confirmed is as it was */
    bool cut;           /* by a frame of which too little has left to know whether it was a publish */
    /* a content that is under way: what is still to come */
    bool header_due;
    uint64_t body_due;
    uint64_t begun;        /* publishes of which at least a byte has left */
    uint64_t whole;        /* publishes that have left */
    uint64_t confirm_from; /* publishes before confirm.select; valid with `confirming` */
    bool confirming;
    unsigned char *fates; /* by publish, from 0 */
    size_t fates_size;
    uint64_t returned; /* basic.return of it */
    struct spoken_delivery *deliveries;
    size_t delivery_count, delivery_capacity;
    char **quiet; /* consumer tags that need no ack */
    size_t quiet_count;
    unsigned char *gets; /* no_ack of basic.get, in order; answered: taken */
    size_t get_count, get_answered;
};

struct heard {
    uint8_t *bytes;
    size_t size, capacity;
};

struct conversation {
    char *problem;
    bool up;
    struct heard out, in;
    bool deaf; /* the peer says what is no AMQP: it is not listened to */
    /* of this link */
    bool greeted, start_ok, tune_ok, opened, close_sent, close_ok_sent, close_came;
    uint16_t close_code;             /* of the connection.close that was sent */
    uint32_t frame_max;              /* of tune-ok; 0 before */
    struct spoken_channel *channels; /* newest first, of all links */
    uint64_t frames_sent, links;
};

void conversation_init(struct conversation *c);
void conversation_clear(struct conversation *c);

void conversation_link(struct conversation *c, bool up);
void conversation_sent(struct conversation *c, const void *bytes, size_t size);
void conversation_received(struct conversation *c, const void *bytes, size_t size);

/* The application settled this delivery, or with `multiple` all up to it, tag 0: all. */
void conversation_settled(struct conversation *c, uint16_t channel, uint64_t tag, bool multiple);

/* The newest channel of a number that was opened on the wire, or NULL. */
struct spoken_channel *conversation_channel(const struct conversation *c, uint16_t number);
unsigned conversation_instances(const struct conversation *c, uint16_t number);
enum fate conversation_fate(const struct spoken_channel *ch, uint64_t publish); /* from 1 */

#endif
