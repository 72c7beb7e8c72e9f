/*
 * A broker in memory that means what it says: queues hold messages, consumers get them within their prefetch count, confirms and
 * returns tell the truth, what was not acknowledged comes back with `redelivered`. It works on bytes, with lib/codec, as RabbitMQ
 * would, and judges each frame of the client: what no client may do is told by hooks.broken. It knows no client, no clock and no
 * network: who owns it moves bytes, lets it work when it pleases, and reads its books by the hooks.
 *
 * A broker outlives its links; one link is one connection of a client. All memory is the broker's, until model_broker_reset.
 */
#ifndef SUPPORT_MODEL_BROKER_H
#define SUPPORT_MODEL_BROKER_H

#include "frame.h"
#include "method.h"
#include "properties.h"
#include <lago/connection.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes on their way: those from `done` on are still to go. */
struct model_bytes {
    uint8_t *data;
    size_t size, done, capacity;
    uint64_t added, passed; /* ever */
};

struct model_message {
    uint64_t id; /* as hooks.arrived gave it */
    uint64_t place;
    lago_string_t exchange, routing_key;
    lago_bytes_t header; /* payload of its header frame */
    lago_bytes_t body;
    bool redelivered, mandatory;
    struct model_message *next;
};

struct model_queue {
    lago_string_t name;
    bool durable, exclusive, auto_delete, had_consumers, gone;
    struct model_link *owner; /* exclusive */
    struct model_message *first;
    size_t count;
    struct model_queue *next;
};

struct model_exchange {
    lago_string_t name, type;
    bool durable, gone;
    struct model_exchange *next;
};

struct model_binding {
    struct model_exchange *from;
    struct model_queue *to;       /* or */
    struct model_exchange *other; /* an exchange */
    lago_string_t key;
    bool gone;
    struct model_binding *next;
};

struct model_consumer {
    struct model_channel *ch;
    struct model_queue *queue; /* NULL: direct reply-to */
    lago_string_t tag;
    bool no_ack, exclusive, gone;
    uint16_t prefetch;
    size_t unacked;
    uint64_t ok_at; /* ch->out.added behind its consume-ok; 0: it has none */
    struct model_consumer *next;
};

/* What was sent to a consumer, or for a get, and is not settled. */
struct model_delivery {
    uint64_t tag;
    struct model_message *message;
    struct model_queue *queue;
    struct model_consumer *consumer; /* NULL: of a get */
    struct model_delivery *next;
};

/* A publish that is to be confirmed. */
struct model_confirm {
    uint64_t tag, id;
    bool nack;
    struct model_confirm *next;
};

enum model_channel_state { MODEL_CHANNEL_OPEN, MODEL_CHANNEL_CLOSING /* by us */, MODEL_CHANNEL_CLOSED };

struct model_channel {
    struct model_link *link;
    void *owner; /* the hooks' */
    uint16_t number;
    enum model_channel_state state;
    bool flow, flow_said;    /* what was asked last; what the client has answered last */
    bool confirms, tx, slow; /* slow: what it has to say waits */
    uint16_t prefetch, global_prefetch;
    lago_string_t last_queue;
    uint64_t delivery_tag, publish_tag;
    struct model_delivery *unacked; /* ascending */
    struct model_confirm *unconfirmed;
    struct model_consumer *consumers;
    struct model_consumer *replies; /* direct reply-to */
    struct model_message *tx_messages;
    struct model_delivery *tx_acked;
    /* the content that is coming in */
    bool in_content, in_body;
    struct basic_publish publish;
    lago_bytes_t header;
    uint8_t *body;
    size_t body_size, body_done;
    struct model_bytes out; /* whole frames */
    struct model_channel *next;
};

enum model_link_state {
    MODEL_WAIT_HEADER,
    MODEL_WAIT_START_OK,
    MODEL_WAIT_SECURE_OK,
    MODEL_WAIT_TUNE_OK,
    MODEL_WAIT_OPEN,
    MODEL_RUNNING,
    MODEL_CLOSING, /* we said close */
    MODEL_CLOSED   /* both have, or it was refused by hanging up: `hang_up` */
};

/* A mechanism with rounds: the broker asks "? 1", "? 2" ..., and wants to hear "! 0" at first, then "! 1" ... */
#define MODEL_MECHANISM "MODEL-CR"
void model_challenge_words(char *words, size_t size, char sign, unsigned round);

/* How a login or a virtual host is refused. */
enum model_refusal { MODEL_WELCOME, MODEL_REFUSES_LOGIN, MODEL_HANGS_UP_ON_LOGIN, MODEL_REFUSES_VHOST, MODEL_HANGS_UP_ON_VHOST };

struct model_link {
    struct model_broker *broker;
    void *owner; /* the hooks' */
    enum model_link_state state;
    enum model_refusal refusal;
    bool hang_up;       /* the link is to be closed behind `out` */
    bool mute;          /* it has gone dead: nothing is said any more, what comes is not heard */
    bool blocked;       /* connection.blocked was said last */
    bool client_closed; /* the client has said connection.close */
    bool answered_close;
    bool forged; /* a goodbye came in its place, which may be answered */
    unsigned blocked_count;
    uint64_t tune_at;  /* out.added behind our tune */
    bool went_ahead;   /* the client answered it before it was sent */
    bool may_go_ahead; /* it may have meant to, and its octets came late */
    lago_tune_t offered, tune;
    const char *user, *password;
    unsigned challenges, round; /* in a login by MODEL_MECHANISM: so many are asked; this one was asked last */
    struct model_bytes in, out;
    struct model_channel *channels;
    struct model_link *next;
    uint64_t frames;
};

struct model_hooks {
    void *data;
    void (*broken)(void *data, const char *words); /* the client did what no client may */
    void (*opened)(void *data, struct model_channel *ch);
    /* A publish came, whole. @return its id. */
    uint64_t (*arrived)(void *data, struct model_channel *ch, const struct model_message *message);
    void (*judged)(void *data, uint64_t id, uint32_t method); /* basic.ack, basic.nack, basic.return was said of a publish */
    void (*delivered)(void *data, struct model_channel *ch, const struct model_message *message, uint64_t tag, bool to_get);
    /* By ack, nack or reject; by tx.rollback: it is open again. */
    void (*settled)(void *data, struct model_channel *ch, uint64_t tag, uint32_t method, bool requeue);
    void (*frame)(void *data, struct model_link *link, char direction, const char *words); /* NULL: nobody listens */
};

struct model_broker {
    struct model_hooks hooks;
    uint64_t dice;
    unsigned nack_share; /* of 100 publishes so many are refused */
    unsigned piece_max;  /* bodies leave in frames of at most so many bytes; 0: as large as they may be */
    struct model_queue *queues;
    struct model_exchange *exchanges;
    struct model_binding *bindings;
    struct model_link *links;
    uint64_t places, names;
    /* memory */
    struct model_block *blocks, *block;
};

void model_broker_init(struct model_broker *b, const struct model_hooks *hooks, uint64_t seed);
void model_broker_reset(struct model_broker *b); /* back to nothing; memory is kept for the next life */
void model_broker_free(struct model_broker *b);
void *model_new(struct model_broker *b, size_t size); /* zeroed, until the reset */
uint64_t model_random(struct model_broker *b, uint64_t below);

/* A new link; the client speaks first. And its end: what was unacknowledged goes back, what was exclusive goes. */
struct model_link *model_link_new(struct model_broker *b, void *owner);
void model_link_lost(struct model_link *link);

/* Bytes of the client. */
void model_link_input(struct model_link *link, const uint8_t *data, size_t size);

/* Move whole frames of channels, in an order of chance, behind what is to go out: at most so many. @return how many. */
size_t model_link_pump(struct model_link *link, size_t max);

/* Bytes that are ready to go out, and so many of them went. */
static inline size_t model_link_ready(const struct model_link *link) { return link->out.size - link->out.done; }
void model_link_sent(struct model_link *link, size_t size);

/* Whether it has nothing to say. */
bool model_link_is_quiet(const struct model_link *link);

/* Deliver and confirm: at most so many things, or all that can be done. @return whether anything was. */
bool model_broker_work(struct model_broker *b, size_t max);

/* What a broker does by itself; without effect where it may not. */
void model_link_heartbeat(struct model_link *link);
bool model_link_close(struct model_link *link, uint16_t code, const char *text, uint32_t method);
bool model_link_block(struct model_link *link, bool blocked);
bool model_channel_close(struct model_channel *ch, uint16_t code, const char *text, uint32_t method);
bool model_channel_flow(struct model_channel *ch, bool active);
bool model_consumer_cancel(struct model_consumer *consumer);
void model_queue_delete(struct model_broker *b, struct model_queue *queue);

/* ---------------------------------------------------------------- between its rooms */

void model_broken(struct model_broker *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
lago_string_t model_string(struct model_broker *b, lago_string_t s);
lago_bytes_t model_copy(struct model_broker *b, lago_bytes_t bytes);
bool model_same(lago_string_t a, lago_string_t b);
void model_append(struct model_broker *b, struct model_bytes *to, const void *data, size_t size);
void model_say(struct model_link *link, struct model_channel *ch, uint32_t method, const void *args);
void model_say_content(struct model_channel *ch, uint32_t method, const void *args, const struct model_message *message);
void model_trace(struct model_link *link, char direction, const struct frame *frame);

struct model_channel *model_channel_find(struct model_link *link, uint16_t number);
void model_channel_open(struct model_link *link, uint16_t number);
void model_channel_frame(struct model_channel *ch, const struct frame *frame);
void model_channel_end(struct model_channel *ch);

struct model_queue *model_queue_find(struct model_broker *b, lago_string_t name);
struct model_exchange *model_exchange_find(struct model_broker *b, lago_string_t name);
struct model_queue *model_queue_new(struct model_broker *b, lago_string_t name);
struct model_exchange *model_exchange_new(struct model_broker *b, lago_string_t name, lago_string_t type);
void model_bind(struct model_broker *b, const struct model_binding *binding);
bool model_unbind(struct model_broker *b, const struct model_binding *binding);
bool model_route(struct model_broker *b, struct model_message *message); /* @return whether a queue took it */
void model_requeue(struct model_queue *queue, struct model_message *message);
struct model_message *model_take(struct model_queue *queue);
bool model_queue_is_used(const struct model_broker *b, const struct model_queue *queue);
void model_consumer_gone(struct model_consumer *consumer);
void model_deliver(struct model_consumer *consumer, struct model_message *message);
void model_unacked_add(struct model_channel *ch, struct model_queue *queue, struct model_consumer *consumer,
                       struct model_message *message);
void model_publish(struct model_channel *ch, struct model_message *message);

#endif
