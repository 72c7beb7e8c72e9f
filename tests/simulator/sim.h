/*
 * The simulator: whole lives of connections in virtual time, decided by one 64-bit seed, against a model broker, with faults of the
 * network, of memory and of time. Everything that the library says is held against books of our own; what does not fit is told by
 * sim_broken, which ends the process.
 *
 *   main.c    seeds, workers, the shrinker       life.c   kinds of lives, their steps, calm points, the end
 *   world.c   links, time, faults, plants        books.c  what the broker saw, and what must hold
 *   app*.c    an application that does anything  told.c   callbacks, and what may be told when (app_login.c: two of them)
 */
#ifndef SIMULATOR_SIM_H
#define SIMULATOR_SIM_H

#include "book.h"
#include "model_broker.h"
#include "virtual.h"
#include <lago.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* ---------------------------------------------------------------- chance */

struct chance {
    uint64_t state;
};

uint64_t chance_mix(uint64_t a, uint64_t b);
uint64_t roll(struct chance *c, uint64_t below); /* 0 to below - 1 */
static inline bool percent(struct chance *c, unsigned share) { return roll(c, 100) < share; }

/* ---------------------------------------------------------------- what is counted: each must be reached */

/* clang-format off */
#define SIM_COUNTS(XX)                                                                                                           \
    XX(lives)                                                                                                                    \
    XX(connections)                                                                                                              \
    XX(reconnections) XX(opened) XX(never_opened) XX(closed) XX(fast_opened) XX(channels) XX(channels_opened)                    \
        XX(channels_refused) XX(channels_ended) XX(requests) XX(answers) XX(refusals) XX(publishes) XX(prepared_publishes)       \
            XX(batches) XX(lent_bodies) XX(forwarded) XX(arrived) XX(confirmed) XX(nacked) XX(returned) XX(not_sent) XX(unknown) \
                XX(publish_eagain) XX(drains) XX(readies) XX(returns_told) XX(deliveries) XX(redelivered) XX(gets)               \
                    XX(empty_gets) XX(pieces) XX(broken_bodies) XX(kept) XX(consumers) XX(cancels) XX(broker_cancels) XX(acks)   \
                        XX(multiple_acks) XX(nacks) XX(rejects) XX(stale_acks) XX(recovers) XX(given_back) XX(consumer_pauses)   \
                            XX(pauses) XX(calls) XX(replies) XX(calls_timed_out) XX(calls_unroutable) XX(calls_ended) XX(timers) \
                                XX(timers_canceled) XX(timers_removed) XX(secrets_updated) XX(blocked) XX(unblocked)             \
                                    XX(flow_told) XX(tx_commits) XX(tx_rollbacks) XX(frees_in_callbacks) XX(closes_in_callbacks) \
                                        XX(acts_in_callbacks) XX(cuts) XX(hang_ups) XX(write_errors) XX(stalls) XX(swallows)     \
                                            XX(mutes) XX(oversleeps) XX(garbage) XX(memory_failures) XX(lookups_failed)          \
                                                XX(connects_failed) XX(logins_refused) XX(vhosts_refused) XX(late_answers)       \
                                                    XX(broker_closes) XX(broker_channel_closes) XX(calm_points) XX(logged_lives) XX(late_logins) XX(stale_answers) XX(challenges) XX(refreshes) \
 XX(steps) XX(callbacks) XX(frames) XX(turns)

/* clang-format on */

enum sim_count {
#define SIM_COUNT_ENUM_(name) COUNT_##name,
    SIM_COUNTS(SIM_COUNT_ENUM_) COUNT_COUNT
#undef SIM_COUNT_ENUM_
};

#define CODES_MAX         64
#define STATES_MAX        16
#define STEPS_MAX_OF_LIFE 1024

/* Shared by the worker and the one who watches it. */
struct sim_shared {
    uint64_t seed;   /* the life under way */
    uint32_t steps;  /* that it has taken */
    char words[400]; /* what was broken */
    uint64_t counts[COUNT_COUNT];
    uint64_t ends[CODES_MAX];  /* of connections, by -10000 - code folded: sim_code_index */
    uint64_t fails[CODES_MAX]; /* of operations and channels */
    uint64_t session_edges[STATES_MAX][STATES_MAX];
    uint64_t channel_edges[STATES_MAX][STATES_MAX];
    uint64_t stage_edges[STATES_MAX][STATES_MAX];
};
extern struct sim_shared *sim_shared;

#define COUNT(name) ((void)sim_shared->counts[COUNT_##name]++)
size_t sim_code_index(int code); /* CODES_MAX - 1: unknown */

/* ---------------------------------------------------------------- planted bugs: a control that they are seen */

/* clang-format off */
#define SIM_PLANTS(XX)                                                                                                           \
    XX(none)                                                                                                                     \
    XX(ack_tag_plus_one)                                                                                                         \
    XX(ack_dropped) XX(ack_doubled) XX(publish_dropped) XX(publish_doubled) XX(body_flipped) XX(delivery_flipped)                \
        XX(confirm_shifted) XX(confirm_lost) XX(not_sent_lie) XX(redelivered_flipped) XX(leak) XX(busy) XX(deaf_clock)           \
            XX(late_heartbeat) XX(close_twice) XX(frame_after_close) XX(secret_logged) XX(told_twice) XX(not_told)               \
                XX(told_inside) XX(drain_lost)

/* clang-format on */

enum sim_plant {
#define SIM_PLANT_ENUM_(name) PLANT_##name,
    SIM_PLANTS(SIM_PLANT_ENUM_) PLANT_COUNT
#undef SIM_PLANT_ENUM_
};

/* ---------------------------------------------------------------- the books */

struct life;
struct sim_conn;
struct sim_channel;

/* Something that owes exactly one callback. */
struct request {
    struct sim_conn *conn;
    struct sim_channel *ch; /* NULL: of the connection */
    struct request *next;
    const char *name;
    uint64_t number; /* in the life, rising */
    bool ordered;    /* among its channel's answers */
    bool done, recovers;
    struct sim_consumer *consumer;
    bool auto_ack;
};

enum told { TOLD_NOTHING, TOLD_CONFIRMED, TOLD_NACKED, TOLD_RETURNED, TOLD_NOT_SENT, TOLD_UNKNOWN };

/* A publish that was accepted. */
struct post {
    struct life *life;
    struct sim_channel *ch;
    uint64_t id, content; /* content: whose body it carries, itself but for a forwarded one */
    uint64_t number;      /* sequence number, 0: none */
    uint64_t answers;     /* id of the request that it is a reply to */
    size_t size;
    bool owed, mandatory;
    bool call_open, call_done; /* it is a request, and nobody has told how it ended; it was told, or given up */
    unsigned blocked_count;    /* the broker's, if it was published while it was blocked; else 0 */
    enum told told;
    bool lent, released, prepared;
    /* the broker's side */
    bool arrived, acked, nacked, returned;
};

/* A delivery, by its tag on its channel. */
struct record {
    uint64_t id; /* of the post */
    bool to_get, no_ack, redelivered;
    bool told, begun, ended;   /* the application has it; for pieces: how far */
    bool rolled_back, covered; /* covered: by a `multiple` of the application, so that a rollback may bring it to count */
    bool stale;                /* it came while basic.recover was under way */
    uint8_t settled;           /* by the application: 0, or 'a', 'n', 'r', 'R' (recovered) */
    bool requeue;
    uint8_t wire;    /* by the client: the same */
    uint64_t handed; /* bytes */
    struct sim_consumer *consumer;
};

struct sim_consumer {
    struct sim_channel *ch;
    struct sim_consumer *next;
    char tag[32];
    bool pieces, auto_ack, paused;
    bool begun, cancelled, ended, freed; /* freed: free_data came */
    bool replies;
    uint64_t last_tag;
};

struct sim_channel {
    struct sim_conn *conn;
    struct sim_channel *next;
    lago_channel_t *h; /* NULL: freed */
    uint16_t number;
    bool open_told, ended_told, freed_told;
    bool closing;      /* close was called */
    bool end_outcomes; /* outcomes of its end are being told */
    bool confirms, tx, has_rpc, declared;
    bool recover_unsure;     /* one was given up: when its answer comes is not told */
    unsigned tags, recovers; /* recovers: whose answer is awaited */
    struct model_channel *model;
    struct post **posts; /* in the order of the calls */
    size_t post_count, post_capacity, arrived;
    struct record *records; /* by tag, from 1 */
    size_t record_count, record_capacity;
    uint64_t last_answer, last_outcome;
    struct sim_consumer *consumers;
    lago_publisher_t *publisher;
    struct sim_publisher *publishing;
    lago_rpc_t *rpc;
    size_t calls_open;
    bool publisher_windowed;
};

struct sim_publisher {
    struct sim_channel *ch;
    bool freed, ready_owed, tells, runs, mandatory;
};

struct sim_timer {
    struct sim_conn *conn;
    struct sim_timer *next;
    uint64_t id, due;
    bool done;
};

#define KEPT_MAX 8

/* What the login waits for: credentials, or the response to a challenge. */
struct sim_question {
    uint64_t ticket, due;   /* due: when the answer comes, UINT64_MAX for never */
    uint64_t links, frames; /* where the handshake was when it was asked */
    bool owed, is_challenge, refresh;
    char words[24]; /* the response */
};

struct sim_conn {
    struct life *life;
    unsigned index;
    bool used; /* its virtual transport is set up */
    struct virtual v;
    lago_connection_t *h; /* NULL: freed */
    struct model_link *link;
    bool open_told, ended_told, freed_told, free_called;
    bool end_asked; /* close, abort */
    bool halted;    /* pause was called */
    bool fast;
    bool across;         /* a body of its memory may be in another's output */
    bool lied;           /* the peer's bytes are not the broker's any more */
    bool drain_owed;     /* a publish was refused since on_drain came last */
    bool drain_may_come; /* as well for a publisher that waits for its window */
    bool memory_failed;  /* so that not all that was accepted need have gone well */
    enum model_refusal refusal;
    lago_tune_t offered;
    uint64_t high_water, message_size_max;
    unsigned blocked_told; /* blocks and unblocks */
    uint64_t links;        /* so many came up */
    unsigned challenges;   /* the broker asks so many */
    struct sim_question question;
    /* time */
    uint64_t last_received, last_sent, last_beat, quiet_from, writes_from;
    /* owed */
    struct sim_channel *channels;
    struct request *requests; /* of the connection, and of all its channels */
    struct sim_timer *timers;
};

#define CONNS_MAX 3

struct sim_kind {
    const char *name;
    unsigned weight, steps, conns;
    unsigned faults; /* percent of steps */
    unsigned set;    /* which: FAULT_ bits */
};

enum {
    FAULT_CUT = 1,
    FAULT_STALL = 2,
    FAULT_TIME = 4,
    FAULT_OPENING = 8,
    FAULT_MEMORY = 16,
    FAULT_GARBAGE = 32,
    FAULT_BROKER = 64,
    FAULT_LOGGED = 128,
    FAULT_BLOCK = 256
};

struct sim_options {
    uint64_t seed;
    bool trace;
    bool no_callback_acts;
    unsigned without; /* FAULT_ bits that are left out */
    unsigned steps;   /* at most; 0: as the kind says */
    enum sim_plant plant;
    bool skip[STEPS_MAX_OF_LIFE];
};

struct life {
    const struct sim_options *options;
    const struct sim_kind *kind;
    unsigned faults;
    struct chance *c; /* of the step, or of the callback under way */
    struct chance step_chance;
    uint64_t callbacks; /* told so far */
    uint64_t now;
    struct model_broker *broker;
    struct sim_conn *conns;
    struct post **posts;
    size_t post_count, post_capacity;
    uint64_t numbers; /* of requests */
    unsigned in_call, in_free, acts_left;
    bool in_callback, ending;
    lago_message_t *kept[KEPT_MAX];
    struct sim_conn *kept_of[KEPT_MAX];
    uint64_t kept_ids[KEPT_MAX];
    struct fail_alloc book_alloc; /* of what connections share */
    struct book book;
    bool logged, fast;
    uint64_t delivered_bytes, sent_bytes; /* to and by clients, to see progress */
};

/* ---------------------------------------------------------------- main.c */

void sim_broken(struct life *life, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
void sim_trace_line(struct life *life, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define TRACE(life, ...)                                                                                                         \
    do {                                                                                                                         \
        if ((life)->options->trace) sim_trace_line((life), __VA_ARGS__);                                                         \
    } while (0)
static inline bool planted(const struct life *life, enum sim_plant plant) { return life->options->plant == plant; }
extern enum sim_plant sim_plant; /* for what has no life at hand */

/* ---------------------------------------------------------------- life.c */

void sim_live(const struct sim_options *options);

/* ---------------------------------------------------------------- world.c */

#define SIM_USER     "moritz"
#define SIM_PASSWORD "Geheim-7c1f"

bool world_connect(struct life *life, struct sim_conn *conn);
void world_connection_gone(struct life *life, struct sim_conn *conn); /* it has finished and its handle is freed */
void world_run(struct life *life);
void world_advance(struct life *life, uint64_t ms);
void world_oversleep(struct life *life, uint64_t ms);
void world_deliver(struct sim_conn *conn, size_t frames, size_t bytes);
void world_fault(struct life *life, struct sim_conn *conn);
void world_broker_act(struct life *life, struct sim_conn *conn);
bool world_settle(struct life *life); /* everything flows until nothing moves; @return false: it never came to rest */
void world_check(struct life *life);
struct model_hooks world_hooks(struct life *life);

/* ---------------------------------------------------------------- books.c */

uint64_t book_arrived(void *data, struct model_channel *model, const struct model_message *message);
void book_opened(void *data, struct model_channel *model);
void book_judged(void *data, uint64_t id, uint32_t method);
void book_delivered(void *data, struct model_channel *model, const struct model_message *message, uint64_t tag, bool to_get);
void book_settled(void *data, struct model_channel *model, uint64_t tag, uint32_t method, bool requeue);
struct post *book_post(struct sim_channel *ch, size_t size, int64_t rc);
struct post *book_new(struct life *life, struct sim_channel *ch, size_t size); /* not accepted yet */
void book_accept(struct post *post, int64_t rc);
struct record *book_record(struct sim_channel *ch, uint64_t tag); /* NULL: never delivered */
uint64_t book_content(const struct life *life, lago_bytes_t body, const lago_properties_t *properties);
void book_prepare(void); /* once, before all lives */
void book_body_check(struct life *life, uint64_t content, uint64_t offset, lago_bytes_t piece);
const uint8_t *book_body(uint64_t id, size_t size, uint8_t *room); /* room: BODY_MAX bytes */
void book_check_calm(struct life *life);
void book_check_channel_ended(struct sim_channel *ch);
void book_check_ended(struct sim_conn *conn);
void book_outcome(struct post *post, lago_publish_outcome_t outcome);
#define BODY_MAX 70000u

/* ---------------------------------------------------------------- app.c, app_messages.c */

void app_act(struct life *life, struct sim_conn *conn);
void app_message_act(struct life *life, struct sim_channel *ch);
bool app_opening_act(struct life *life, struct sim_conn *conn);
void app_free_connection(struct life *life, struct sim_conn *conn);
void app_free_channel(struct sim_channel *ch);
void app_settle_some(struct life *life, struct sim_channel *ch);
struct request *request_new(struct sim_conn *conn, struct sim_channel *ch, const char *name);
void request_keep(struct request *request, int64_t rc); /* it was accepted, or not */
struct sim_conn *app_conn(struct life *life);
void app_refused(struct sim_channel *ch, int64_t rc);     /* a publish of any kind, if it was */
void app_go_on(struct life *life, struct sim_conn *conn); /* a publish would be taken again */
bool app_waits(const struct sim_conn *conn);              /* one of its publishers, for on_ready */
const char *app_queue(struct life *life, const struct sim_channel *ch);

/* Around every call of the library. */
#define CALL(life, expression) ((life)->in_call++, TRACE_CALL(life, expression))
#define TRACE_CALL(life, expression)                                                                                             \
    __extension__({                                                                                                              \
        __auto_type result_ = (expression);                                                                                      \
        (life)->in_call--;                                                                                                       \
        result_;                                                                                                                 \
    })

/* ---------------------------------------------------------------- app_login.c */

void app_answer_login(struct life *life, struct sim_conn *conn); /* if it is time */

/* ---------------------------------------------------------------- told.c */

struct life *sim_enter(struct sim_conn *conn, const char *what); /* a callback begins, and ends */
void sim_leave(struct life *life, struct sim_conn *conn);
void told_challenge(lago_connection_t *h, const lago_challenge_t *challenge, void *data);
void told_conn_open(lago_connection_t *h, void *data);
void told_conn_open_error(lago_connection_t *h, const lago_reason_t *reason, void *data);
void told_conn_close(lago_connection_t *h, const lago_reason_t *reason, void *data);
void told_blocked(lago_connection_t *h, lago_string_t reason, void *data);
void told_unblocked(lago_connection_t *h, void *data);
void told_drain(lago_connection_t *h, void *data);
void told_phase(lago_connection_t *h, lago_phase_t phase, uint32_t attempt, void *data);
void told_conn_free(void *data);
void told_login(lago_connection_t *h, const lago_login_request_t *request, void *data);
void told_timer(lago_connection_t *h, int status, void *data);
void told_conn_done(lago_connection_t *h, const lago_reason_t *reason, void *data);
void told_channel_open(lago_channel_t *h, const lago_reason_t *reason, void *data);
void told_channel_close(lago_channel_t *h, const lago_reason_t *reason, void *data);
void told_return(lago_channel_t *h, const lago_return_t *returned, void *data);
void told_flow(lago_channel_t *h, bool active, void *data);
void told_channel_free(void *data);
void told_done(lago_channel_t *h, const lago_reason_t *reason, void *data);
void told_declared(lago_channel_t *h, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data);
void told_count(lago_channel_t *h, const lago_reason_t *reason, uint32_t count, void *data);
void told_flow_ok(lago_channel_t *h, const lago_reason_t *reason, bool active, void *data);
void told_consuming(lago_channel_t *h, const lago_reason_t *reason, lago_string_t tag, void *data);
void told_cancelled(lago_channel_t *h, const lago_reason_t *reason, lago_string_t tag, void *data);
void told_get(lago_channel_t *h, const lago_reason_t *reason, const lago_message_t *message, void *data);
void told_message(lago_channel_t *h, const lago_message_t *message, void *data);
void told_body(lago_channel_t *h, const lago_body_t *body, void *data);
void told_broker_cancel(lago_channel_t *h, lago_string_t tag, void *data);
void told_consumer_free(void *data);
void told_published(lago_channel_t *h, const lago_publish_result_t *result, void *data);
void told_settled(lago_publisher_t *h, const lago_publisher_settled_t *settled, void *data);
void told_ready(lago_publisher_t *h, void *data);
void told_publisher_free(void *data);
void told_released(void *data);
void told_reply(lago_rpc_t *h, const lago_rpc_result_t *result, void *data);
void told_rpc_free(void *data);

#endif
