/*
 * What the parts of fuzz_api share: a life, what was promised in it, and the callbacks that see that it is kept.
 */
#ifndef FUZZ_API_LIFE_H
#define FUZZ_API_LIFE_H

#include "api_broker.h"
#include "arena.h"
#include "book.h"
#include "conversation.h"
#include "fuzz.h"
#include "virtual.h"
#include <lago.h>

/* Milestones. */
enum {
    OPENED,
    CONFIRMED,
    NACKED_MULTIPLE,
    RETURNED,
    UNKNOWN_OUTCOME,
    NOT_SENT,
    CONSUMED,
    IN_PIECES,
    ACKED_MULTIPLE,
    KEPT,
    FORWARDED,
    GOT,
    CANCELLED_BY_BROKER,
    CHANNEL_CLOSED,
    BROKEN_BY_PEER,
    LOST,
    DRAINED,
    READY,
    BLOCKED,
    PAUSED,
    TIMED_OUT,
    TIMER,
    TRANSACTION,
    FREED_INSIDE,
    CLOSED_INSIDE,
    CLEAN_CLOSE,
    NO_MEMORY,
    SILENT,
    REPLY,
    REPLIED,
    BATCH,
    PROXIED,
    NEXT_PLACE,
    REFRESHED,
    CHALLENGED,
    FAST,
    DEAD_LETTER
};
#define CHANNELS     6u
#define PROMISES_MAX 2048u
#define KEPT_MAX     8u
#define STEPS_MAX    300u
#define INSIDE_MAX   60u /* actions from inside callbacks, of one life */
#define INPUT_MAX    4096u
#define MEMORY_MAX   ((size_t)16 << 20)

#define FLAG_FAILS     1u
#define FLAG_PIECES    2u
#define FLAG_EARLY     4u /* the first calls come before the connection is open */
#define FLAG_HEARTBEAT 8u
#define FLAG_LOW_WATER 16u
#define FLAG_CONFIRMS  32u  /* the first channel confirms from the beginning */
#define FLAG_SMALL     64u  /* frame_max 4096 */
#define FLAG_SILENT    128u /* the broker answers nothing but the handshake */

struct promise {
    const char *name;
    unsigned char channel; /* its index + 1; 0: the connection's */
    bool accepted, loose, is_freed_kind;
    unsigned told, due; /* times; 0: once */
};

struct channel {
    lago_channel_t *ch;
    lago_publisher_t *publisher;
    lago_rpc_t *rpc;
    int64_t call; /* the last one */
    struct promise *called;
    bool opened, ended, freed, confirms, publisher_tells;
    uint64_t tags[8]; /* deliveries that are not settled, the newest first */
    char consumer_tag[32];
};

struct life {
    struct virtual v;
    struct api_broker broker;
    struct conversation wire;
    struct decisions d;
    lago_connection_t *conn;
    struct channel channels[CHANNELS];
    unsigned channel_count;
    unsigned promise_count;
    lago_message_t *kept[KEPT_MAX];
    unsigned kept_count, inside, in_a_row;
    uint64_t timers[2], sum;
    uint64_t login_ticket; /* a question that is not answered; 0: none */
    struct book book;
    struct promise *timed[2];
    bool in_call, in_free, in_callback, hostile, opened, ended, freed, connected, blocked, paused, settled_multiple;
    bool challenged, booked, chosen;
    uint8_t flags;
    struct promise promises[PROMISES_MAX]; /* last: not cleared */
};
extern struct life life;
extern struct arena arena;

/* ---------------------------------------------------------------- api_calls.c */

/* Of bodies: small, about where lago copies no more, more than a frame, more than may be received. */
extern const size_t sizes[8];

/* Anything that an application may do. */
void act(void);
void open_channel(void);
void release(void); /* a message that was kept */

/* A call with a promise, which is dropped when there are too many. */
#define CALL(channel_, name_, call_)                                                                                             \
    do {                                                                                                                         \
        struct promise *p = promise(channel_, name_);                                                                            \
        if (!p) break;                                                                                                           \
        calls(false);                                                                                                            \
        (void)answered(p, call_);                                                                                                \
    } while (0)

/* ---------------------------------------------------------------- api_more.c */

void more(struct channel *c);
void answer_login(uint8_t how);

/* Parameters and network by two octets; behind virtual_init. And what must be released behind the connection. */
void choose_way(uint8_t way, uint8_t how, lago_parameters_t *parameters);
void forget_way(void);

/* ---------------------------------------------------------------- api_told.c */

void calls(bool frees);
int64_t returned(int64_t rc);
struct channel *channel_of(unsigned index);
void enter(const struct channel *channel);
void leave(void);
struct promise *promise(const struct channel *channel, const char *name);
int64_t answered(struct promise *p, int64_t rc);
void told(struct promise *p);
void given_back(void *data);
struct promise *lend(const struct channel *channel, const char *name);
void loosen(const struct channel *channel);
void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data);
void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t count, void *data);
void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data);
void on_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data);
void on_timer(lago_connection_t *conn, int status, void *data);
void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data);
void on_ready(lago_publisher_t *publisher, void *data);
void read_message(const lago_message_t *message);
void on_message(lago_channel_t *ch, const lago_message_t *message, void *data);
void on_body(lago_channel_t *ch, const lago_body_t *body, void *data);
void on_cancel(lago_channel_t *ch, lago_string_t tag, void *data);
void on_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data);
void on_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data);
void on_get(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data);
void on_return(lago_channel_t *ch, const lago_return_t *back, void *data);
void on_flow(lago_channel_t *ch, bool active, void *data);
void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void on_open(lago_connection_t *conn, void *data);
void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data);
void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data);
void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data);
void on_unblocked(lago_connection_t *conn, void *data);
void on_drain(lago_connection_t *conn, void *data);

#endif
