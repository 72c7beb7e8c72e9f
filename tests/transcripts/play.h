/*
 * One replay of a transcript: a client over one of the media, what the script has made with it, and the lines of what happened.
 * words.c reads the words of a line, acts.c and acts_channel.c do what they say, told.c writes down what is called back, script.c
 * walks the lines, medium_memory.c and medium_socket.c carry them, runner.c replays a script in memory in every way and compares,
 * sockets.c over sockets.
 */
#ifndef TRANSCRIPTS_PLAY_H
#define TRANSCRIPTS_PLAY_H

#include "book.h"
#include "legal.h"
#include "medium.h"
#include "server.h"
#include "virtual.h"
#include <lago/basic.h>
#include <lago/channel.h>
#include <lago/connection.h>
#include <lago/exchange.h>
#include <lago/publisher.h>
#include <lago/rpc.h>
#include <stdbool.h>
#include <stddef.h>

#define CHANNELS_MAX 16
#define HOOKS_MAX    32
#define TIMERS_MAX   8
#define ARGS_MAX     24

/* ---------------------------------------------------------------- words.c */

struct arg {
    char *key; /* NULL: a word without a value */
    char *value;
    size_t size;
    bool used;
};

struct args {
    const char *line;
    struct arg items[ARGS_MAX];
    size_t count;
    unsigned ms_scale; /* of numbers whose key ends in _ms; 0: 1 */
};

/* `a "b" key=value key="va\nlue" key={...}`; args_release aborts if a word was not used: a typo must not pass. */
void args_read(struct args *args, const char *line);
void args_release(struct args *args);

/* The next word without a key, or NULL. */
const char *arg_word(struct args *args);

/* The value of a key: NULL, 0 or false if it is not there. `never` is UINT32_MAX. */
const char *arg_string(struct args *args, const char *key);
size_t arg_size(const struct args *args, const char *key);
uint64_t arg_number(struct args *args, const char *key);
bool arg_flag(struct args *args, const char *key);

/* Unescape a copy of words in quotes, and the number of a code by its name: "ECONNRESET". */
int code_by_name(const char *name);

/* What follows `prefix` in the line, or NULL. */
const char *word_behind(const char *line, const char *prefix);

/* ---------------------------------------------------------------- what is played */

struct play;

/* A channel of the script: c1, c2 ... */
struct played_channel {
    struct play *play;
    lago_channel_t *ch;          /* NULL: never opened, or freed */
    lago_rpc_t *rpc;             /* of rpc.new; NULL: none, or freed */
    lago_publisher_t *publisher; /* of publisher.new; the same */
    struct legal_channel *legal; /* NULL: never opened */
    int number;                  /* of its name */
    bool made, freed;
    unsigned opened, ended, data_freed; /* how often it was called */
    bool has_on_open, has_on_close;
};

/* A promise of the client: a completion, a release, a free_data. Kept until the end of the play. */
struct owed {
    struct owed *next;
    struct play *play;
    struct played_channel *channel; /* NULL: of the connection */
    char *name;                     /* "queue.declare", a consumer's tag ... */
    char *memory;                   /* a lent body */
    uint64_t bodies;                /* begun and not ended */
    uint64_t body_size;             /* what has come of the last one */
    uint64_t order;                 /* of asking */
    uint64_t publish;               /* of its channel, from 1; 0: it is none */
    unsigned told;
    bool accepted; /* the call returned >= 0 */
    bool loose;    /* its handle was freed: it may stay untold */
    bool call;     /* of rpc.call: it goes with its rpc handle */
    bool prepared; /* of publisher.publish: the same */
};

struct hook {
    char *prefix, *act;
    bool always, used;
};

struct play {
    const struct medium *medium;
    struct virtual v;        /* of the memory */
    struct sockets *sockets; /* of a real loop; NULL: none */
    struct legal legal;      /* judges it */
    struct book book;        /* what is known of the broker */
    lago_connection_t *conn; /* the handle; NULL before connect and once it was freed */
    bool connected, freed;   /* lago_connect was accepted; the handle was freed */
    unsigned opened, open_failed, closed, data_freed;
    bool has_on_open, has_on_open_error, has_on_close;
    struct played_channel channels[CHANNELS_MAX + 1];
    struct owed *owed;
    struct hook hooks[HOOKS_MAX];
    size_t hook_count;
    uint64_t timers[TIMERS_MAX];
    uint64_t ticket;               /* of the last on_login */
    const lago_message_t *message; /* of the callback that is on the stack */
    lago_message_t *kept;
    bool in_call, in_free, in_callback;
    bool handshaking; /* the client's frames are not written down */
    bool silent;      /* the script is over: nothing is written down, no hook acts */
    bool curious;     /* failures of allocations: only invariants count */
    char *problem;    /* the first broken invariant */

    uint64_t shown; /* the time of the last t= line */
    char *text;     /* what happened, a line each */
    size_t text_size, text_capacity;
};

/* Write a line down: as it is, or as something that came out of the client. */
void play_echo(struct play *p, const char *line);
void play_emit(struct play *p, const char *mark, const char *format, ...) __attribute__((format(printf, 3, 4)));
void play_problem(struct play *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Execute a script. `update`: comments and blank lines are kept in the text. */
void play_script(struct play *p, const char *script, bool update);

/* Begin, and end whatever the script left; checks what was owed. */
void play_init(struct play *p, const struct medium *medium);
void play_end(struct play *p);

/* ---------------------------------------------------------------- acts.c */

/* Do what the words behind `do` say. */
void play_act(struct play *p, const char *words);

/* The result of a call, written down if it is not 0. */
void play_result(struct play *p, int64_t result);

/* A promise that a call is about to make; it counts if the call is accepted (owed_accept with its result). */
struct owed *owed_new(struct play *p, struct played_channel *channel, const char *name);
void owed_accept(struct owed *owed, int64_t result);

/* Calls are made between these, so that a callback from inside one is seen. */
void call_begin(struct play *p);
void call_end(struct play *p);

/* ---------------------------------------------------------------- acts_channel.c */

/* What a channel can do. False if there is no such act. */
bool channel_act(struct play *p, const char *verb, struct args *args);

/* ---------------------------------------------------------------- told.c */

void told_line(void *data, lago_log_level_t level, const char *line);
void told_wire(void *data, enum virtual_tap what, const uint8_t *bytes, size_t size);
void told_open(lago_connection_t *conn, void *data);
void told_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data);
void told_close(lago_connection_t *conn, const lago_reason_t *reason, void *data);
void told_blocked(lago_connection_t *conn, lago_string_t reason, void *data);
void told_unblocked(lago_connection_t *conn, void *data);
void told_drain(lago_connection_t *conn, void *data);
void told_data_freed(void *data);
void told_timer(lago_connection_t *conn, int status, void *data);
void told_secret(lago_connection_t *conn, const lago_reason_t *reason, void *data);
void told_login(lago_connection_t *conn, const lago_login_request_t *request, void *data);

void told_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void told_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void told_return(lago_channel_t *ch, const lago_return_t *returned, void *data);
void told_flow(lago_channel_t *ch, bool active, void *data);
void told_channel_data_freed(void *data);

void told_done(lago_channel_t *ch, const lago_reason_t *reason, void *data);
void told_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data);
void told_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data);
void told_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data);
void told_message(lago_channel_t *ch, const lago_message_t *message, void *data);
void told_body(lago_channel_t *ch, const lago_body_t *body, void *data);
void told_cancel(lago_channel_t *ch, lago_string_t tag, void *data);
void told_consumer_data_freed(void *data);
void told_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data);
void told_published(lago_channel_t *ch, const lago_publish_result_t *result, void *data);
void told_body_released(void *data);
void told_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data);
void told_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data);
void told_rpc_data_freed(void *data);
void told_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data);
void told_ready(lago_publisher_t *publisher, void *data);
void told_publisher_data_freed(void *data);

#endif
