/*
 * A connection, seen from inside the client: who is who, and which rooms do what.
 *
 *   connection.c  the handle: make, free, ask            dial.c      targets, addresses, rounds: until it is open
 *   targets.c     where to dial                          proxy.c     asking SOCKS5 and HTTP proxies for the way
 *   fast.c        opening in one round trip              book.c      what brokers said before
 *   attempts.c    what failed on the way, its phases     link.c      the bytes of the link, up and down
 *   turn.c        the one place where user code runs     login.c     start-ok, tune-ok: mechanism, properties, negotiation
 *   dispatch.c    the broker's words, to whom they go    ending.c    who is told what when a link or channel is gone
 *   closing.c     goodbye in order                       operation.c requests that owe a completion
 *   channel.c     the channel handle                     methods.c   exchange, queue, confirm, tx
 *   consume.c deliver.c settle.c                         the class basic, way in: consumers, messages, acks
 *   body.c hold.c                                        bodies in pieces; consumers that are paused
 *   publish.c confirms.c message.c                       the class basic, way out, and messages themselves
 *   publisher.c outcomes.c                               prepared routes, windows; what became of publishes
 *   feature.c feature_*.c                                RabbitMQ's settings and headers by their names
 *   credentials.c mechanism.c  who logs in, and by what  log.c       lines for the log
 *   refresh.c     tokens that expire
 *   later.c       timers of the user                     rpc.c       calls: requests and their replies
 *   metrics.c     counters, histograms                   dump.c      a page of its state
 *   watch.c       who held the loop                      capture.c pcapng.c   what was said, into a file
 *   parameters.c url.c url_query.c literal.c variables.c how to reach a broker: read, checked, owned
 *
 * User code runs only inside turn.c's loop (and timers and releases that it drives). Nothing else calls back, so no room needs
 * to ask whether it still exists after a call.
 */
#ifndef LAGO_CLIENT_CONNECTION_H
#define LAGO_CLIENT_CONNECTION_H

#include "attempts.h"
#include "book.h"
#include "capture.h"
#include "credentials.h"
#include "list.h"
#include "metrics.h"
#include "parameters.h"
#include "proxy.h"
#include "session.h"
#include "targets.h"
#include "timers.h"
#include "transport.h"
#include "watch.h"
#include <lago/channel.h>
#include <lago/connection.h>
#include <lago/publisher.h>

/* Why no input is taken. */
#define HALT_PAUSED  1u /* lago_connection_pause */
#define HALT_HELD    2u /* paused consumers hold enough */
#define HALT_BODY    4u /* a paused consumer is in a body */
#define HALT_RESUMED 8u /* connection.resumed comes first */

/* Where a connection is in its life. One setter: connection_set_stage. */
enum connection_stage {
    STAGE_DIALING, /* until open-ok */
    STAGE_OPEN,
    STAGE_CLOSING,   /* lago_connection_close was called on an open connection */
    STAGE_ENDING,    /* the link is gone: completions, channels, posts and timers are being told */
    STAGE_FINISHING, /* the transport closes its handles */
    STAGE_ENDED      /* on_close or on_open_error was called, or nobody was left to be told */
};

/* A deadline and what to do when it passes. Lives in its owner; set and taken back through the functions below. */
struct deadline {
    struct timer_node node;
    void (*passed)(lago_connection_t *conn, struct deadline *self);
};

#define DEADLINE_OWNER(self, type, member) LIST_ENTRY(self, type, member)

/* What a dialing connection waits for. */
enum dial_step {
    DIAL_IDLE,
    DIAL_RESOLVING,
    DIAL_CONNECTING, /* to one address, or several side by side */
    DIAL_PROXYING,   /* asking the proxy */
    DIAL_SECURING,   /* TLS's handshake */
    DIAL_TALKING,    /* AMQP: the session knows how far */
    DIAL_PAUSING
};

/* A place that was dialed, in words. */
struct endpoint {
    struct endpoint *older;
    char words[];
};

/* How far it is; only while it dials. */
struct way {
    uint32_t round;           /* 1 .. connection_attempts */
    size_t target;            /* of conn->targets */
    size_t address;           /* of the link, or the last one that was tried */
    size_t address_count;     /* at most LINK_ADDRESSES_MAX */
    uint64_t failed, pending; /* addresses, a bit each */
    bool ordinary;            /* fast_open has failed at this target */
    struct book_entry said;   /* by the broker, in an ordinary opening; endpoint "": nothing to learn */
    struct deadline attempt;  /* resolve_timeout, stack_timeout, or the retry delay while pausing */
    struct deadline socket;   /* socket_timeout */
    struct deadline stagger;  /* the next address is tried beside the last */
    struct deadline overall;  /* connect_deadline */
};

struct dial {
    enum dial_step step;
    uint64_t since_us; /* when the phase under way began */
    struct way *way;
    struct proxy *proxy; /* while it is asked */
};

/* The login of the attempt under way, or of the link. */
struct login {
    struct chosen_mechanism mechanism; /* none before connection.start */
    unsigned round;                    /* of the caller's mechanism */
    uint64_t tickets;                  /* how many were given out */
    uint64_t awaited;                  /* the ticket that is to be answered, 0 for none */
    bool refreshing;                   /* it asks for a new token, on an open connection */
    bool warned;                       /* that the password goes in clear text */
    const lago_tune_t *assumed;        /* while start-ok goes ahead; else NULL */
    uint64_t expires_at;               /* what was provided is good until then; 0: for ever */
    struct deadline refresh;           /* when to ask for its successor; while that is asked for, when it expires */
};

/* How far a goodbye is. */
struct closing {
    bool await_confirms;
    bool channels_asked; /* every channel has been told to close */
    bool unsaid;         /* there was no memory for connection.close: it is tried again */
    uint16_t reply_code;
    char *reply_text; /* NULL: the default */
    struct deadline deadline;
};

/* Where the telling of an end is: a cursor, so that every turn tells a bounded number. */
enum ending_step { ENDING_OPERATIONS, ENDING_CHANNELS, ENDING_POSTS, ENDING_TIMERS, ENDING_DONE };

/* Outcomes of one publisher that are told by one call (outcomes.c). */
struct outcome_run {
    lago_publisher_t *publisher; /* NULL: none */
    lago_publisher_settled_t settled;
};

/* What of its options is needed for as long as it lives. */
struct callbacks {
    lago_connection_open_cb on_open;
    lago_connection_end_cb on_open_error;
    lago_connection_end_cb on_close;
    lago_connection_blocked_cb on_blocked;
    lago_connection_event_cb on_unblocked;
    lago_connection_event_cb on_drain;
    lago_connection_phase_cb on_phase;
    void *data;
    void (*free_data)(void *data);
    bool stream_is_given; /* instead of dialing */
    bool stream_is_lent;  /* free_stream wants `data` when it is closed */
};

struct lago_connection {
    struct environment env; /* a copy: the handle may outlive the context */
    const lago_allocator_t *alloc;
    struct transport transport;
    struct targets targets;     /* where to dial; owns the parameters */
    const lago_parameters_t *p; /* of the target under way */
    struct callbacks options;
    enum connection_stage stage;
    uint64_t clock_us; /* as session.now, which is this in milliseconds: set at the doors */
    struct session session;
    struct dial dial;
    struct attempts attempts;
    struct login login;
    struct closing closing;
    enum ending_step ending;
    uint16_t ending_channel;    /* cursor: numbers up to this have been told */
    struct kept_reason reason;  /* why it ended, once it is ENDING */
    const char *endpoint;       /* "" before there is one */
    struct endpoint *endpoints; /* all that there were: the application may have been given them */
    struct block *server_properties;
    size_t server_properties_size;

    struct timer_heap timers;   /* every deadline of this connection but the session's */
    struct list operations;     /* struct operation, in the order of the calls */
    unsigned late_answers;      /* to operations of the connection itself whose deadline has passed */
    struct list channels;       /* handles, lago_channel.in_connection: living, and ended ones until they are freed */
    struct list ended_channels; /* the same: whose end is being told */
    struct lender lender;       /* of bodies: those to give back */
    struct list later;          /* struct later */
    uint64_t later_ids;
    struct list garbage;            /* channel handles freed inside a callback */
    struct list lost_rpcs;          /* lago_rpc.node: the consumer of replies is lost, and calls wait to be told */
    struct list freed_rpcs;         /* lago_rpc.node: their users are still to be told, by free_data */
    struct list waiting_publishers; /* lago_publisher.in_wait: refused, until the output is at low_water */
    struct list ready_publishers;   /* lago_publisher.in_wait: on_ready is due */
    struct list freed_publishers;   /* lago_publisher.node: their users are still to be told, by free_data */
    size_t owed_ready;              /* publishers that on_ready is promised to */
    size_t push_at;                 /* at so many bytes of output link_push is asked whether to write before the turn ends */
    uint64_t push_since_us;         /* when it was asked first since the last write, or wrote; 0: it was not */
    size_t output_limit;            /* of so many bytes on publishes are refused: connection_limit_output sets it */
    lago_channel_t *settling;       /* whose confirms are being told */
    struct outcome_run run;         /* of that channel, or of the one whose end is being told */
    unsigned told;                  /* in this step of the turn: outcomes, or 1 */
    bool errands;                   /* a turn may have more to do than to tell the broker's events (turn.c: is_quiet) */
    unsigned row;                   /* so many callbacks may come before the turn looks at the clock again */

    struct capture *capture; /* NULL: nobody listened when the link began */
    struct metrics metrics;
    struct watch watch;
    struct counters counters;
    uint64_t blocked_since_us; /* 0: it is not blocked */
    size_t owed_publishes;     /* publishes whose outcome has a callback */
    size_t owed_channels;      /* channels that are opening or closing */
    size_t owed_calls;         /* calls (rpc.c) that are in flight */
    uint64_t calls_made;
    int write_error; /* writing failed; reading may still bring the reason */
    struct deadline write_error_timer;
    struct deadline blocked_deadline;
    unsigned depth; /* the transport's calls on the stack; posts that are canceled in a turn are a second one */
    bool link_up;
    bool connected_once; /* on_open was called: the end is on_close's */
    bool referenced;
    unsigned halted;        /* why no input is taken: HALT_ bits */
    unsigned stalled_count; /* consumers whose next piece of a body must wait */
    size_t held_size;       /* of messages of paused consumers */
    unsigned tag_gaps;      /* of all channels (deliver.c) */
    struct list resumed;    /* consumer.in_resumed: what they hold is to be told before anything new */
    bool abandoned;         /* an unhandled channel end left nothing that could ever call back: the loop may go */
    bool drain_owed;        /* a publish was refused: on_drain is promised */
    bool drain_passed;      /* the last time publishers that had been passed over went first */
    bool freed;             /* the handle is gone; memory goes when the transport has finished */
    bool torn_down;         /* and what it owned is gone */
    bool turn_wanted;
    bool hurried;  /* the turn was cut short: what it has to write leaves before the next one */
    bool touched;  /* the clock was read since the transport asked what is wanted */
    bool woken;    /* the transport was told to ask */
    bool finished; /* the transport has no handle left */
};

/* ---------------------------------------------------------------- connection.c */

void connection_set_stage(lago_connection_t *conn, enum connection_stage stage);

/* Where in its life it is, for reasons. */
lago_phase_t connection_phase(const lago_connection_t *conn);

/* A door: time enters the session here when the caller comes from outside the loop's callbacks. */
void connection_touch(lago_connection_t *conn);

/* Take no input any more for this reason, or not for this one. */
static inline void connection_halt(lago_connection_t *conn, unsigned why, bool on) {
    conn->halted = on ? conn->halted | why : conn->halted & ~why;
    conn->errands = true;
}

/* The same, for calls that come by the thousand: the clock is read once until the transport asks what is wanted. */
static inline void connection_touch_once(lago_connection_t *conn) {
    if (conn->touched) return;
    connection_touch(conn);
    conn->touched = true;
}

/* What clock_us would be by now: for who only asks how old things are. It stands still once the connection has ended. */
uint64_t connection_clock_us(const lago_connection_t *conn);

/* These parameters hold from here on. */
void connection_use(lago_connection_t *conn, const lago_parameters_t *p);

/* The marks of the output hold from here on: other parameters, blocked, unblocked. */
void connection_limit_output(lago_connection_t *conn);

/* Drop the link, `reset`: by RST. */
void connection_hang_up(lago_connection_t *conn, bool reset);

/* Something changed: the transport shall ask what is wanted. `turn`: there is something to tell. */
void connection_wake(lago_connection_t *conn, bool turn);

/* After a callback or call: free what was waiting until nobody is on the stack. */
void connection_reap(lago_connection_t *conn);

/*
 * `delay_ms` from now, at least one; LAGO_NO_TIMEOUT: never. The first setting may need memory: 0 or LAGO_ENOMEM; it cannot fail
 * after timers_reserve, nor when it is set already.
 */
int deadline_set(lago_connection_t *conn, struct deadline *deadline, uint32_t delay_ms,
                 void (*passed)(lago_connection_t *conn, struct deadline *self));
void deadline_cancel(lago_connection_t *conn, struct deadline *deadline);

/* Memory for the next deadline_set with this delay: 0 or LAGO_ENOMEM. One that never comes needs none. */
static inline int deadline_reserve(lago_connection_t *conn, uint32_t delay_ms) {
    return delay_ms == LAGO_NO_TIMEOUT ? 0 : timers_reserve(&conn->timers);
}

/* ---------------------------------------------------------------- dial.c */

/* Memory for the way: 0 or LAGO_ENOMEM. dial_stop gives it back. */
int dial_init(lago_connection_t *conn);

void dial_start(lago_connection_t *conn);

/* The attempt under way failed; try the next, or end. */
void dial_failed(lago_connection_t *conn, const lago_reason_t *reason);
void dial_opened(lago_connection_t *conn);

/* A phase was passed: it is measured, the next one begins. */
void dial_phase_done(lago_connection_t *conn, lago_metric_t metric);

/* Add to a reason what the client knows: endpoint, user, virtual host. */
void dial_describe(const lago_connection_t *conn, lago_reason_t *reason);

void dial_stop(lago_connection_t *conn);
void dial_forget_endpoints(lago_connection_t *conn);

/* Bytes that came before AMQP began; and the end of a link in those steps. */
void dial_input(lago_connection_t *conn, const uint8_t *data, size_t size);
void dial_lost(lago_connection_t *conn, int status);

/* ---------------------------------------------------------------- link.c */

/* The output has come to push_at. */
void link_push(lago_connection_t *conn);

/* Ask how much the peer has taken, for the session to judge. */
void link_look(lago_connection_t *conn);

/* ---------------------------------------------------------------- login.c */

void login_start(lago_connection_t *conn, const struct connection_start *args);
void login_secure(lago_connection_t *conn, const struct connection_secure *args);
void login_tune(lago_connection_t *conn, const struct connection_tune *args);

/* The attempt or the link is over: what was asked is no longer awaited. */
void login_stop(lago_connection_t *conn);

/* Which answer the application owes, in words; NULL if it owes none. */
const char *login_silence(const lago_connection_t *conn);

/* Add to the reason of a refused login whose it was, and what to do about it. */
void login_describe(const lago_connection_t *conn, lago_reason_t *reason);

/* What comes of a broker's proposal. */
lago_tune_t login_negotiate(const lago_connection_t *conn, const lago_tune_t *offered);

/* Log in and open without being asked, by a mechanism of lago's own. 0, or an error of session_go_ahead. */
int login_go_ahead(lago_connection_t *conn, const struct chosen_mechanism *mechanism, const lago_tune_t *tune);

/* ---------------------------------------------------------------- fast.c */

/* The session has begun: say more at once, if that may be. 0, or LAGO_ENOMEM: this link is of no use any more. */
int fast_start(lago_connection_t *conn);

/* The broker said so; @return whether it has been answered before. Else it is noted, and learned when the connection has opened. */
bool fast_started(lago_connection_t *conn, lago_string_t offered);
bool fast_tuned(lago_connection_t *conn, const lago_tune_t *offered, const lago_tune_t *agreed);
void fast_opened(lago_connection_t *conn);

/* It came to nothing; from here on this target is dialed ordinarily. */
void fast_failed(lago_connection_t *conn, const lago_reason_t *reason);

/* ---------------------------------------------------------------- refresh.c */

/* What was provided is good for so long; 0: for ever. 0 or LAGO_ENOMEM, which cannot come when a timer was reserved. */
int refresh_schedule(lago_connection_t *conn, uint32_t expires_in_s);

/* The application's answer to a refresh: a new secret (lago_login_provide's errors, then nothing has changed), or none. */
int refresh_provided(lago_connection_t *conn, const lago_login_t *login);
void refresh_refused(lago_connection_t *conn, const char *why);

void refresh_stop(lago_connection_t *conn);

/* ---------------------------------------------------------------- closing.c */

/* Do what can be done of a goodbye now: after every turn while STAGE_CLOSING. */
void closing_advance(lago_connection_t *conn);

/* ---------------------------------------------------------------- ending.c */

/* The connection has ended: from here on everything is told, step by step, by ending_step. */
void ending_start(lago_connection_t *conn, const lago_reason_t *reason);

/* Tell one thing. @return false when there is nothing more to tell. */
bool ending_step(lago_connection_t *conn);

/* Tell one thing about a channel that has ended by itself. @return false when there is none. */
bool ending_channel_step(lago_connection_t *conn);

/* The last word: on_open_error or on_close. */
void ending_told(lago_connection_t *conn);

/* ---------------------------------------------------------------- later.c */

/* Cancel the first one: false if there is none. */
bool later_cancel_step(lago_connection_t *conn);
void later_clear(lago_connection_t *conn);

/* ---------------------------------------------------------------- publish.c */

/* Give a lent body back to its owner: one per call, false if there is none. */
bool release_step(lago_connection_t *conn);
void publish_released(struct lender *lender); /* there is one more */

/* on_drain, if it is owed and due: false if not. */
bool drain_step(lago_connection_t *conn);

/* ---------------------------------------------------------------- metrics.c, watch.c: in place because they come with every message */

/* A delivery was held until now. */
static inline void metrics_held(lago_connection_t *conn, uint64_t since_us) {
    struct held_run *run = &conn->metrics.held;
    if (run->since_us == since_us && run->until_us == conn->clock_us)
        run->count++;
    else
        metrics_held_others(conn, since_us);
}

static inline void watch_calling(lago_connection_t *conn, const char *what, uint16_t channel) {
    struct watch *watch = &conn->watch;
    if (watch->what != what || watch->channel != channel) {
        if (watch->unlooked) watch_look(conn); /* that time was another's */
        watch->what = what;
        watch->channel = channel;
    }
    watch->calling = true;
}

/* The step is over: whoever was called has returned. */
static inline void watch_after(lago_connection_t *conn) {
    struct watch *watch = &conn->watch;
    watch->unlooked += watch->calling;
    watch->calling = false;
    if (watch->unlooked >= WATCH_ROW_MAX) watch_look(conn);
}

/* ---------------------------------------------------------------- hold.c */

/* Tell a message that was held: false if there is none to tell now. */
bool hold_step(lago_connection_t *conn);

/* ---------------------------------------------------------------- turn.c */

/* What the broker sent, to those whom it concerns (dispatch.c). */
void dispatch_event(lago_connection_t *conn, const struct session_event *event);

/* Blocked, and read from: from now on its time runs, if it does not run already. */
void dispatch_watch_blocked(lago_connection_t *conn);

/* ---------------------------------------------------------------- log.c */

bool log_wants(const struct environment *env, lago_log_level_t level);
void log_line(const struct environment *env, lago_log_level_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "<what>: <reason>" in one line; `what` may be NULL. */
void log_reason(const struct environment *env, lago_log_level_t level, const char *what, const lago_reason_t *reason);

/* session_trace_fn: frames to the log. `data` is the environment. */
void log_frame(void *data, char direction, const char *line);

#endif
