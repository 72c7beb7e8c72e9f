/* A consumer's record, for the rooms that know it: its life (consume.c), what it is given (deliver.c, body.c), what waits (hold.c). */
#ifndef LAGO_CLIENT_CONSUMER_H
#define LAGO_CLIENT_CONSUMER_H

#include "channel.h"
#include "message.h"
#include "strmap.h"

/* From CONSUMER_ASKED_CANCELLED on there is no more on_message: what still comes is given back. */
enum consumer_state {
    CONSUMER_ASKED,           /* consume-ok is awaited; the broker may deliver before we have seen it */
    CONSUMER_LIVING,          /* consume-ok came, or none will */
    CONSUMER_ASKED_CANCELLED, /* basic.cancel waits for consume-ok */
    CONSUMER_GIVEN_UP,        /* the user was told that consume-ok did not come; when it does, the consumer is cancelled */
    CONSUMER_CANCELLING       /* basic.cancel was sent: cancel-ok ends the record */
};

struct consumer {
    struct strmap_node node;   /* key: tag */
    enum consumer_state state; /* one setter: consumer_enter */
    bool auto_ack;
    bool of_stream;  /* as far as its arguments say */
    bool of_replies; /* direct reply-to: its deliveries have no numbers of their own */
    uint64_t delivered;
    lago_channel_t *ch;
    lago_message_cb on_message; /* who gets a message, and its data: the user, body_whole or hold_message (consumer_route) */
    void *data;
    struct {
        lago_message_cb on_message; /* one of these two is NULL */
        lago_body_cb on_body;
        lago_cancel_cb on_cancel;
        void *data;
    } user;
    void (*free_data)(void *data);
    /* body.c: the message whose body is handed out */
    bool in_body;
    uint64_t body_tag, body_size, body_offset;
    /* hold.c */
    bool paused;
    bool stalls;            /* it is in a body, so nothing more of the connection is read: counted there */
    struct list held;       /* struct message.held, in order */
    struct list in_resumed; /* connection.resumed: goes on, and there is something held */
    struct list *seen;      /* hold_settle's own */
    const char *queue;      /* as it was asked for; behind the tag */
    size_t tag_size;
    char tag[]; /* NUL-terminated */
};
static inline bool consumer_is_living(const struct consumer *consumer) { return consumer->state <= CONSUMER_LIVING; }

/* From the call of a close on, of the channel or the connection, messages are not told any more. */
static inline bool takes_messages(const lago_channel_t *ch) {
    return ch->state == LAGO_CHANNEL_OPEN && ch->conn->stage == STAGE_OPEN;
}

static inline struct consumer *consumer_find(const lago_channel_t *ch, const char *tag, size_t size) {
    struct strmap_node *node = ch->consuming ? strmap_find(&ch->consuming->consumers, tag, size) : NULL;
    return node ? LIST_ENTRY(node, struct consumer, node) : NULL;
}

/* ---------------------------------------------------------------- deliver.c */

/* A delivery came: its tag is open from here on. False: the session has ended. And give one back. */
bool delivery_accepted(lago_channel_t *ch, uint64_t tag, bool open);
void delivery_give_back(lago_channel_t *ch, uint64_t tag, const struct consumer *consumer); /* not NULL */

/* Whose it is, most often that of the one before; NULL: nobody's. Of a channel that has consumed. */
struct consumer *delivery_consumer(lago_channel_t *ch, lago_string_t tag);

/* ---------------------------------------------------------------- body.c */

/* A message that is here whole, for a consumer that takes bodies in pieces: `data` is the consumer. */
void body_whole(lago_channel_t *ch, const lago_message_t *message, void *data);

/* The first word of one that is not. */
void body_begin(struct consumer *consumer, const lago_message_t *message);

/* Its channel has ended: say so if it is in a body. False: it is not. */
bool body_lost(struct consumer *consumer);

/* ---------------------------------------------------------------- hold.c */

/* Who gets its next message. */
void consumer_route(struct consumer *consumer);

/* A message for a consumer that is paused, or was and has not been told everything yet: `data` is the consumer. */
void hold_message(lago_channel_t *ch, const lago_message_t *message, void *data);
void hold_begin(struct consumer *consumer, const lago_message_t *message);

/* What it holds goes, back to the queue or nowhere, and it goes on. */
void hold_drop(struct consumer *consumer, bool give_back);

#endif
