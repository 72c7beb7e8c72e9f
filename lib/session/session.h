/*
 * One AMQP conversation over one link: protocol header to close-ok. Bytes and time come in, events are pulled out, bytes wait
 * in a queue to be written. It knows frames, states of connection and channels, contents, heartbeats; it does not know
 * consumers, completions, confirms, addresses or sockets, and calls nobody back but the trace.
 *
 * Input is borrowed: what an event points to is valid until the next session_next_event, and the input itself until
 * session_has_input is false. While an event is out the parser is off the stack, so anything may be called.
 */
#ifndef LAGO_SESSION_SESSION_H
#define LAGO_SESSION_SESSION_H

#include "chunks.h"
#include "idmap.h"
#include "list.h"
#include "method.h"
#include "properties.h"
#include "reason.h"
#include <lago/connection.h>
#include <stdbool.h>
#include <stdint.h>

/* Told each frame in words, 'C' for ours and 'S' for the server's; credentials are masked. */
typedef void (*session_trace_fn)(void *data, char direction, const char *line);

struct session_settings {
    uint16_t channel_max;       /* the limit until tuning says less */
    uint64_t message_size_max;  /* a larger message ends its channel with 311 */
    uint64_t assembly_size_max; /* so does one that no longer fits beside those under way; 0: no limit */
    uint32_t write_timeout_ms;  /* 0: 2 x heartbeat, or 120 s without; LAGO_NO_TIMEOUT: none */
    session_trace_fn trace;     /* NULL: none */
    void *trace_data;
};

/* Ordered: what is below OPEN is still coming up, what is above is going down. */
enum session_state {
    SESSION_IDLE,       /* no link yet: what is sent on channels is held */
    SESSION_WAIT_START, /* protocol header sent */
    SESSION_STARTING,   /* connection.start is out as an event: session_start_ok is expected */
    SESSION_WAIT_TUNE,  /* start-ok sent: secure or tune is next */
    SESSION_SECURING,   /* connection.secure is out: session_secure_ok is expected */
    SESSION_TUNING,     /* connection.tune is out: session_tune_ok is expected */
    SESSION_WAIT_OPEN,  /* tune-ok and open sent */
    SESSION_OPEN,
    SESSION_CLOSING, /* we sent connection.close and wait for close-ok */
    SESSION_FAILED,  /* the peer broke the protocol: close sent; its close-ok, or the linger deadline, ends it */
    SESSION_LEAVING, /* the peer sent close: close-ok is being written */
    SESSION_ENDED    /* nothing goes in or out any more; `reason` says why */
};

enum session_event_type {
    SESSION_EVENT_START,   /* args: connection.start; answer with session_start_ok or session_abandon */
    SESSION_EVENT_SECURE,  /* args: connection.secure; answer with session_secure_ok */
    SESSION_EVENT_TUNE,    /* args: connection.tune; answer with session_tune_ok */
    SESSION_EVENT_OPEN,    /* connection.open-ok; drop the channels beyond channel_max, then session_release_held */
    SESSION_EVENT_BLOCKED, /* args: connection.blocked */
    SESSION_EVENT_UNBLOCKED,
    SESSION_EVENT_CHANNEL_OPEN,     /* channel.open-ok */
    SESSION_EVENT_CHANNEL_CLOSE,    /* the channel is gone: by the broker (args: channel.close), or by us (reason is set: 311) */
    SESSION_EVENT_CHANNEL_CLOSE_OK, /* the close that we asked for is done; the number is free */
    SESSION_EVENT_METHOD,           /* any other method, with its args; channel 0 for update-secret-ok */
    SESSION_EVENT_CONTENT,          /* basic.deliver, basic.return or basic.get-ok with properties and body */
    SESSION_EVENT_BODY_BEGIN, /* of a basic.deliver on a channel that announces them: session_hand_out, or CONTENT follows */
    SESSION_EVENT_BODY,       /* a piece of a body that is handed out */
    SESSION_EVENT_ENDED       /* SESSION_ENDED was reached; the last event */
};

struct session_event {
    enum session_event_type type;
    uint16_t channel;
    void *owner;             /* session_channel_own's; NULL if nobody owns the channel */
    uint64_t publishes_sent; /* CHANNEL_CLOSE, CHANNEL_CLOSE_OK: session_publishes_sent when it ended */
    const struct method_info *info;
    union method_args *args;
    const struct kept_reason *reason;    /* CHANNEL_CLOSE by us, ENDED */
    const lago_properties_t *properties; /* CONTENT */
    lago_bytes_t body;                   /* CONTENT; NUL behind its last byte */
    struct block *body_block;            /* CONTENT: the counted bytes that hold the body, or NULL: it lies in the input */
    uint64_t body_size, body_offset;     /* BODY_BEGIN, BODY: of the whole; of `body` in it */
    bool body_ends;                      /* BODY: nothing more follows */
    uint32_t alike; /* CONTENT: of deliveries with the same number here all strings are the same; 0: not known */
};

struct session_counters {
    uint64_t bytes_received, frames_sent, frames_received;
    uint64_t heartbeats_sent, heartbeats_received;
    uint64_t deliveries_dropped; /* on a channel or connection that is closing */
};

/* Where in the stream publishes begin that are not written yet: neighbours of one channel, of `size` bytes each (marks.c). */
struct session_mark {
    uint64_t offset, end; /* of the first; behind the last */
    size_t size;
    uint16_t channel; /* 0: gone */
};

/* A number that no event has: what is remembered by its number is not there. */
#define ALIKE_NONE UINT32_MAX

/* The last delivery of a channel, by its number (delivery.c): so many channels may take turns. */
#define LAST_DELIVERIES 4u
struct last_delivery;

struct session {
    const lago_allocator_t *alloc;
    struct session_settings settings;
    enum session_state state;
    uint64_t now;              /* set at the doors, read everywhere */
    struct kept_reason reason; /* set when it fails or ends */
    bool ended_told;
    bool opened; /* this link got as far as OPEN; before that, what an attempt does not carry is held for the next */
    bool blocked;
    bool close_answered; /* the peer's, while ours waits for its answer: it is answered once */
    bool ahead;          /* we have answered what was not asked yet: session_go_ahead */
    lago_tune_t assumed; /* and this is what we took for granted */
    lago_tune_t tune;    /* zero before session_tune_ok */
    struct session_counters counters;

    /* way out (output.c) */
    struct chunk_queue out;
    struct list held;           /* struct held, in the order of the calls: waits for open-ok, or for the end of a block */
    size_t held_size;           /* with what keeping it takes */
    uint64_t held_retry;        /* when to try again to release it, because there was no memory */
    struct session_mark *marks; /* ring, in the order of the stream */
    size_t mark_capacity, mark_head, mark_count;
    struct session_mark *newest_mark; /* NULL: there is none */

    /* way in (input.c, content.c) */
    uint8_t *input;
    size_t input_size;
    struct partial {
        uint8_t *data;
        size_t size, capacity;
    } partial;           /* a frame that began in an earlier input */
    bool garbled;        /* a frame was malformed: where the next one begins, nobody knows; all else is dropped */
    bool streaming;      /* in the middle of a body frame */
    bool streaming_skip; /* whose bytes are dropped */
    uint16_t streaming_channel;
    size_t streaming_left;             /* payload bytes of it still to come; then its end octet */
    unsigned small_reads;              /* inputs that had better be small: session_read_max */
    struct list acking;                /* channels whose acknowledgements wait for their neighbours */
    struct list borrowing;             /* contents that point into the input */
    struct session_channel *delivered; /* the channel of the content event that is out */
    struct content *spare_content;     /* for the next message of this input; NULL: none */
    union method_args args;
    struct content_header *header; /* of a delivery that came the short way; made with the first one */
    struct last_delivery *last[LAST_DELIVERIES];
    uint32_t alike;                    /* the newest number of deliveries that look alike */
    const struct method_info *deliver; /* basic.deliver */

    uint64_t assembled; /* octets that messages under way take */

    struct idmap channels; /* struct session_channel */

    /* frames that bring nothing (floods.c) */
    uint64_t answers_from; /* a place in `out`, and what has been answered behind it */
    size_t answers_size;
    uint64_t idle_until;  /* each takes so much time; this is when all of it has passed */
    uint64_t idle_credit; /* but those that waited while nobody read have passed it there */

    /* liveness (liveness.c) */
    uint64_t last_received, last_written, last_progress, linger;
    uint64_t last_look;               /* when the transport was last asked how much the peer has taken */
    uint64_t taken;                   /* what it said */
    bool unsure;                      /* bytes were written, and nobody knows whether the peer took them */
    bool reading;                     /* false: the application lags, so silence proves nothing */
    uint64_t paused;                  /* since when */
    uint64_t reprieve;                /* the peer was overdue, but its bytes wait unread in the kernel: ask again then */
    uint64_t frame_since, frame_from; /* when an incomplete frame began, or last got on; bytes_received then */
};

/* ---------------------------------------------------------------- life */

void session_init(struct session *s, const lago_allocator_t *alloc, const struct session_settings *settings, uint64_t now);

/* Forget everything; lent bodies are released. */
void session_deinit(struct session *s);

/*
 * A new link: the protocol header goes into the queue. Channels and what they hold stay, so this also follows an attempt that
 * ended before it was open. 0 or LAGO_ENOMEM.
 */
int session_start(struct session *s, uint64_t now);

/*
 * An attempt failed before it was open: forget the link, keep channels and what they hold for the next one. What is sent
 * meanwhile is held; no ENDED event comes of it.
 */
void session_rest(struct session *s);

/* connection.start-ok. @return 0, an encoding error, or LAGO_ECLOSED when it is not the turn of this answer (any more). */
int session_start_ok(struct session *s, const struct connection_start_ok *args);
int session_secure_ok(struct session *s, lago_bytes_t response);

/* connection.tune-ok and connection.open; channels beyond tune->channel_max are for the caller to end. */
int session_tune_ok(struct session *s, const lago_tune_t *tune, const char *virtual_host);

/*
 * Right after session_start: start-ok, tune-ok and open before anybody has asked. Behind them follows what is held and does no harm
 * if it is said twice, in each channel up to the first that would: it stays held, and if this link does not get as far as OPEN it is
 * said again on the next. 0; an encoding error, and nothing was said; LAGO_ENOMEM: the link is of no use any more.
 */
int session_go_ahead(struct session *s, const struct connection_start_ok *start_ok, const lago_tune_t *tune,
                     const char *virtual_host);

/* In place of session_start_ok and session_tune_ok then: the question was as assumed. 0 or LAGO_ECLOSED. */
int session_assumed(struct session *s);

/* connection.close: 0, or LAGO_ECLOSED outside OPEN. Contents that are under way in are dropped. */
int session_close(struct session *s, uint16_t reply_code, const char *reply_text);

/* The peer broke a rule: tell it so by connection.close, linger for its answer, end with `code`. */
void session_fail(struct session *s, int code, uint16_t reply_code, uint32_t method, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));

/* End here and now, without a word. Does nothing if it has ended. */
void session_abandon(struct session *s, const lago_reason_t *reason);

/* The link is gone (UV code); `greeting` bytes that came and were no AMQP are explained. */
void session_lost(struct session *s, int status, uint64_t now);

/* Whether nothing that is sent will leave any more. */
static inline bool session_is_over(const struct session *s) { return s->opened && s->state > SESSION_OPEN; }

/* Where in the connection's life a state is. */
lago_phase_t session_phase(enum session_state state);

/* ---------------------------------------------------------------- way in */

void session_input(struct session *s, uint8_t *data, size_t size, uint64_t now);

/*
 * Where the bytes that come next may be put, instead of into an input: the rest of a body frame has its place in its message.
 * 0: nowhere, or there is input. `session_filled` follows at once, or nothing was put there.
 */
size_t session_room(struct session *s, uint8_t **room);
void session_filled(struct session *s, size_t size, uint64_t now);

/* How large the next input should be at most: what comes next is put together anyway, and is spared a copy by session_room. */
size_t session_read_max(const struct session *s);

/* The next event: 1, or 0 when there is none until more input or time comes. */
int session_next_event(struct session *s, struct session_event *event);

/* Whether input that was handed over is still in use. */
bool session_has_input(const struct session *s);

/*
 * Messages for consumers on this channel that are not here whole are announced by BODY_BEGIN, as soon as their size is known and
 * before it is judged. Its strings have no NUL behind them.
 */
void session_announce_bodies(struct session *s, uint16_t channel);

/*
 * While BODY_BEGIN is out: hand this body out as it comes, in BODY events, and never hold it, whatever its size. *args are the
 * event's, whose strings have their NULs now, as its properties' have. 0; LAGO_ENOMEM: the session has to be given up.
 */
int session_hand_out(struct session *s, uint16_t channel, union method_args **args);

/*
 * A frame was of no use, in a way that may happen to an honest broker now and then. @return false: it was one too many, and the
 * session has failed.
 */
bool session_brought_nothing(struct session *s, const char *what);

/* One of those that had us look through so many things that are open, in vain; none if there were none. */
bool session_made_to_work(struct session *s, const char *what, size_t steps);

/* So much was sent only because of what came. A peer that takes nothing of it is left. */
void session_made_to_answer(struct session *s, size_t size);

/* Drop the input unread: the conversation is over. An event that is out stays valid until its callback returns. */
void session_forget_input(struct session *s);

/* The link is gone for good: what was not written never will be. Lent bodies go back; session_publishes_sent stays as it is. */
void session_forget_output(struct session *s);

/* ---------------------------------------------------------------- way out */

/* A method on a channel (0: the connection). @return 0 or LAGO_ETOOBIG, LAGO_ETOOLONG, table errors, LAGO_ENOMEM. */
int session_send(struct session *s, uint16_t channel, uint32_t method, const void *args);

/*
 * Acknowledge one delivery, which is not open any more; `lowest_open`: the lowest that is, 0 for none. It leaves before anything
 * else that is sent on the channel, at the latest with session_flush_acks, alone or as part of a `multiple` that says the same.
 * @return how many wait now (0: it waits for other things than its neighbours), LAGO_ECLOSED, LAGO_ENOMEM (not taken).
 */
int session_ack(struct session *s, uint16_t channel, uint64_t delivery_tag, uint64_t lowest_open);

/* Put what waits into the output: at the end of a turn, or when somebody wants it to leave alone. */
void session_flush_acks(struct session *s);
static inline bool session_has_acks(const struct session *s) { return !list_empty(&s->acking); }

/* A message's body: bytes to copy, or a block to reference. */
struct session_body {
    lago_bytes_t bytes;
    struct block *block; /* NULL: copy */
};

/* basic.publish with its content, all or nothing. */
int session_publish(struct session *s, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                    const struct session_body *body);

/*
 * A publish of a channel whose frames are ready but for the body: args and properties are encoded here, and copied for each
 * message. *route is freed by session_route_free. 0, or as session_publish.
 */
struct session_route;
int session_route_make(struct session *s, uint16_t channel, const struct basic_publish *args, const lago_properties_t *properties,
                       struct session_route **route);
void session_route_free(struct session *s, struct session_route *route); /* NULL is allowed */

/* As session_publish; `block` holds the bytes, or is NULL: they are copied. */
int session_publish_route(struct session *s, const struct session_route *route, lago_bytes_t body, struct block *block);

/* What it was made with, borrowed: strings have sizes and no NUL. */
const lago_properties_t *session_route_properties(const struct session_route *route);

/* Write what was held until the connection was open. */
void session_release_held(struct session *s);

/* Of the publishes on this channel: how many have at least one byte on the way to the peer. */
uint64_t session_publishes_sent(const struct session *s, uint16_t channel);

/* Everything that waits, held publishes included. */
static inline size_t session_output_size(const struct session *s) { return s->out.size + s->held_size; }

/* `size` bytes of `out` were written. */
void session_written(struct session *s, size_t size, uint64_t now);

/* ---------------------------------------------------------------- channels */

/* Open the lowest free number; events carry `owner`. @return the number, LAGO_ENOCHANNEL or LAGO_ENOMEM. */
int session_channel_open(struct session *s, void *owner);

/* Who owns a channel; NULL for a number that is not in use. And set it: NULL, when the owner goes before the channel does. */
void *session_channel_owner(const struct session *s, uint16_t channel);
void session_channel_own(struct session *s, uint16_t channel, void *owner);

/* Whether the broker has stopped its publishes (channel.flow, 1.5.2.3). */
bool session_channel_is_stopped(const struct session *s, uint16_t channel);

/* The next number in use above `channel` (start with 0), or 0. */
uint16_t session_channel_next(const struct session *s, uint16_t channel);

/*
 * channel.close, behind all that was accepted; without memory a little later. 0, LAGO_ECLOSED if it is not open or opening, or an
 * encoding error.
 */
int session_channel_close(struct session *s, uint16_t channel, uint16_t reply_code, const char *reply_text);

/*
 * Its owner waits no longer: what it holds is dropped, channel.close is sent unless it was. @return how many of its publishes
 * may still arrive; the others never will.
 */
uint64_t session_channel_give_up(struct session *s, uint16_t channel, uint16_t reply_code, const char *reply_text);

/* Forget a channel that cannot exist after tuning: its number is free, what it held is dropped. */
void session_channel_drop(struct session *s, uint16_t channel);

/* ---------------------------------------------------------------- time */

/* There was no memory: session_tick shall be called soon. */
void session_retry(struct session *s);

/* When session_tick wants to be called. */
uint64_t session_deadline(const struct session *s);

/* Whether a tick at `now` would condemn the peer as silent, or as too slow with a frame; then find out whether bytes of it wait unread, and tell tick. */
bool session_is_overdue(const struct session *s, uint64_t now);

/*
 * Whether it is time to ask how much the peer has taken of what was written: a number that grows while a link lives; `waiting`:
 * there is more that it has not taken. Then tell it, before the tick.
 */
bool session_wants_look(const struct session *s, uint64_t now);
void session_looked(struct session *s, uint64_t taken, bool waiting, uint64_t now);
void session_tick(struct session *s, uint64_t now, bool unread);

/* Whether the application takes input; while it does not, the peer's silence is not held against it. */
void session_reading(struct session *s, bool reading, uint64_t now);

#endif
