/*
 * pika's asynchronous publisher example, with lago: publish with confirms, and know what became of every message.
 *
 *   async_publisher [--url URL] [--exchange NAME] [--queue NAME] [--count N] [--size BYTES] [--progress]
 *
 * Read it from top to bottom. Each step of the set-up is asked for in one function, and its callback goes on with the next:
 *
 *   connect -> open a channel -> declare the exchange -> declare the queue -> bind it -> have publishes confirmed -> publish
 *
 * and the way out is: stop publishing -> close the channel (this waits for outstanding confirms) -> close the connection.
 * (lago does not need this one-by-one: calls may be issued in a row, before the connection is open. hello.c does so.)
 *
 * Without --count it publishes a message each second until Ctrl-C. With --count it goes as fast as the broker confirms.
 */
#include "options.h"
#include <inttypes.h>
#include <lago.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define PUBLISH_INTERVAL_MS  1000 /* without --count, as in pika's example */
#define PROGRESS_INTERVAL_MS 200

/*
 * How many messages may be without a confirm. More would only lie in queues: the broker writes persistent messages to disk in
 * batches before it confirms them, and this is plenty for a batch. What is unconfirmed is also what has to be published again
 * after a crash.
 */
#define UNCONFIRMED_MAX 4096

typedef struct publisher {
    options_t options;
    uv_loop_t loop; /* lago runs on any loop; it need not be the default one, and need not be lago's alone */
    uv_signal_t sigint, sigterm;
    lago_connection_t *conn;
    lago_channel_t *ch;
    char *body;

    /* The bookkeeping: every message that was sent ends in exactly one of the four. */
    uint64_t sent;
    uint64_t confirmed, nacked, returned, unknown;
    uint64_t started_at, ended_at; /* uv_hrtime */
    uint64_t shown;                /* what --progress has shown last */

    bool publishing; /* the set-up is done, and nobody has asked us to stop */
    bool stopping;
    bool failed; /* and the user has been told */
} publisher_t;

static uint64_t settled_count(const publisher_t *p) { return p->confirmed + p->nacked + p->returned + p->unknown; }

/* ---------------------------------------------------------------- when something goes wrong */

static void complain(publisher_t *p, const char *what, const char *why) {
    if (!p->failed) fprintf(stderr, "publisher: %s: %s\n", what, why);
    p->failed = true; /* one cause, one line: what follows from it is no news */
    p->publishing = false;
}

/* Something was refused, or was cut off by the end of the channel or the connection: say why, and go. */
static void fail(publisher_t *p, const char *what, const lago_reason_t *reason) {
    char why[512];
    lago_reason_format(reason, why, sizeof why);
    /* what was still waiting when we closed ends as well, with this reason: that is no failure */
    if (reason->code != LAGO_ECLOSED || reason->origin != LAGO_BY_CLIENT) complain(p, what, why);
    lago_connection_close(p->conn, NULL); /* a second time, or too late, it does nothing */
}

/*
 * Every call returns at once; it fails at once for want of memory or for bad arguments. LAGO_ECLOSED says only that channel or
 * connection is ending: the callback that tells why is about to come.
 */
static bool is_taken(publisher_t *p, const char *what, int64_t rc) {
    if (rc >= 0) return true;
    if (rc != LAGO_ECLOSED) complain(p, what, lago_strerror((int)rc));
    p->publishing = false;
    lago_connection_close(p->conn, NULL);
    return false;
}

/* ---------------------------------------------------------------- stopping */

/* Nothing more is published. Closing the channel writes what was accepted and waits for its confirms, then says goodbye. */
static void stop(publisher_t *p) {
    if (p->stopping) return;
    p->stopping = true;
    p->publishing = false;
    /* LAGO_ECLOSED (or LAGO_EINVAL, without a channel): there is nothing to close in good order yet, or any more */
    if (lago_channel_close(p->ch, NULL) < 0) lago_connection_close(p->conn, NULL);
}

static void on_signal(uv_signal_t *handle, int signum) {
    publisher_t *p = handle->data;
    (void)signum;
    if (p->stopping)
        lago_connection_abort(p->conn); /* a second Ctrl-C: the user does not want to wait */
    else
        stop(p);
}

/* The channel has ended; all outcomes have been told before. Whether we wanted that or not, the connection goes next. */
static void on_channel_closed(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    publisher_t *p = data;
    (void)ch;
    fail(p, "the channel has ended", reason);
}

/* uv_run returns when the loop has nothing left to wait for, so our own handles have to go, too. */
static void end_signals(publisher_t *p) {
    uv_close((uv_handle_t *)&p->sigint, NULL);
    uv_close((uv_handle_t *)&p->sigterm, NULL);
}

/* The last callback of a connection that was open. */
static void on_connection_closed(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    publisher_t *p = data;
    (void)conn;
    fail(p, "the connection has ended", reason);
    end_signals(p);
}

/* ---------------------------------------------------------------- publishing */

static void publish_more(publisher_t *p);

/* What became of one message: called exactly once for each, also if channel or connection die. */
static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    publisher_t *p = data;
    (void)ch;
    switch (result->outcome) {
    case LAGO_PUBLISH_CONFIRMED: p->confirmed++; break; /* on disk, in the queue */
    case LAGO_PUBLISH_NACKED: p->nacked++; break;       /* the broker could not take it: publish it again, later */
    case LAGO_PUBLISH_RETURNED: p->returned++; break;   /* no queue is bound under this key */
    case LAGO_PUBLISH_UNKNOWN: p->unknown++; break;     /* it may have arrived: published again, it may be there twice */
    case LAGO_PUBLISH_NOT_SENT: p->sent--; break;       /* it has certainly not arrived */
    }
    p->ended_at = uv_hrtime();
    if (p->publishing) publish_more(p);
}

/* Returns whether the message was accepted. */
static bool publish_one(publisher_t *p) {
    lago_properties_t properties = {
        .content_type = "text/plain",
        .delivery_mode = LAGO_PERSISTENT, /* together with a durable queue: it survives a restart of the broker */
        .app_id = "async_publisher",
    };
    int length = snprintf(p->body, p->options.size + 1, "message %" PRIu64, p->sent + 1);
    if (length > 0 && (size_t)length < p->options.size) p->body[length] = '.'; /* snprintf put its NUL there */

    /* The body is copied before the call returns, so the same buffer serves again. */
    int64_t rc = lago_basic_publish(p->ch,
                                    &(lago_basic_publish_t){
                                        .exchange = p->options.exchange,
                                        .routing_key = p->options.queue,
                                        .mandatory = true, /* if no queue gets it we want to know */
                                        .properties = &properties,
                                        .body = { p->body, p->options.size },
                                    },
                                    on_outcome, p);
    if (rc == LAGO_EAGAIN) return false; /* too many bytes are waiting to be written: on_drain will tell when to go on */
    if (!is_taken(p, "cannot publish", rc)) return false;
    p->sent++;
    return true;
}

/* With --count: keep the window of unconfirmed messages full. */
static void publish_more(publisher_t *p) {
    if (p->options.count == ENDLESS) return;
    while (p->publishing && p->sent < p->options.count && p->sent - settled_count(p) < UNCONFIRMED_MAX) {
        if (!publish_one(p)) return;
    }
    if (settled_count(p) == p->options.count) stop(p);
}

static void on_drain(lago_connection_t *conn, void *data) {
    publisher_t *p = data;
    (void)conn;
    if (p->publishing) publish_more(p);
}

/* A broker short of memory or disk stops publishers. lago holds back what is published meanwhile; here, one window at most. */
static void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    (void)conn, (void)reason, (void)data;
    puts("publisher: the broker takes no messages for now");
    fflush(stdout);
}

static void on_unblocked(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    puts("publisher: the broker takes messages again");
    fflush(stdout);
}

/* ---------------------------------------------------------------- timers */

/* A timer ends with its connection: `status` says whether its time has come (0), or that it will not (LAGO_ECANCELED). */
static void on_second(lago_connection_t *conn, int status, void *data) {
    publisher_t *p = data;
    if (status < 0 || !p->publishing) return;
    if (publish_one(p)) {
        printf("publisher: published message %" PRIu64 ", confirmed so far: %" PRIu64 "\n", p->sent, p->confirmed);
        fflush(stdout);
    }
    /* after a publish that failed the connection is closing, and takes no timers */
    if (p->publishing) is_taken(p, "cannot go on", lago_connection_call_later(conn, PUBLISH_INTERVAL_MS, on_second, p, NULL));
}

static void on_progress(lago_connection_t *conn, int status, void *data) {
    publisher_t *p = data;
    if (status < 0) return;
    if (p->sent + settled_count(p) != p->shown) {
        p->shown = p->sent + settled_count(p);
        printf("publisher: sent=%" PRIu64 " confirmed=%" PRIu64 "\n", p->sent, p->confirmed);
        fflush(stdout);
    }
    /* nothing is lost if this fails */
    lago_connection_call_later(conn, PROGRESS_INTERVAL_MS, on_progress, p, NULL);
}

/* ---------------------------------------------------------------- the set-up, step by step */

/* confirm.select-ok: all is in place. */
static void on_confirm_selected(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    publisher_t *p = data;
    if (reason) {
        fail(p, "cannot have publishes confirmed", reason);
        return;
    }
    if (p->stopping) return;
    lago_connection_t *conn = lago_channel_connection(ch);
    p->publishing = true;
    p->started_at = p->ended_at = uv_hrtime();
    if (p->options.progress) on_progress(conn, 0, p);
    if (p->options.count == ENDLESS)
        on_second(conn, 0, p);
    else
        publish_more(p);
}

/* From here on the broker confirms each message that it has taken responsibility for. */
static void on_queue_bound(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    publisher_t *p = data;
    if (reason)
        fail(p, "cannot bind the queue", reason);
    else
        is_taken(p, "cannot have publishes confirmed", lago_confirm_select(ch, NULL, on_confirm_selected, p));
}

/* The routing key is the queue's name, so that several pairs of publisher and consumer can share an exchange. */
static void on_queue_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    publisher_t *p = data;
    (void)ok;
    if (reason)
        fail(p, "cannot declare the queue", reason);
    else
        is_taken(p, "cannot bind the queue",
                 lago_queue_bind(ch,
                                 &(lago_queue_bind_t){
                                     .queue = p->options.queue,
                                     .exchange = p->options.exchange,
                                     .routing_key = p->options.queue,
                                 },
                                 on_queue_bound, p));
}

/* Publisher and consumer both declare the queue, with the same settings: whoever comes first makes it, and the messages wait. */
static void on_exchange_declared(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    publisher_t *p = data;
    if (reason)
        fail(p, "cannot declare the exchange", reason);
    else
        is_taken(
            p, "cannot declare the queue",
            lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = p->options.queue, .durable = true }, on_queue_declared, p));
}

/* An exchange that lasts as long as a queue is bound to it: durable, but gone with the last binding. */
static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    publisher_t *p = data;
    if (reason) {
        fail(p, "cannot open a channel", reason);
        return;
    }
    is_taken(p, "cannot declare the exchange",
             lago_exchange_declare(ch,
                                   &(lago_exchange_declare_t){
                                       .exchange = p->options.exchange,
                                       .exchange_type = "topic",
                                       .durable = true,
                                       .auto_delete = true,
                                   },
                                   on_exchange_declared, p));
}

static void on_connection_open(lago_connection_t *conn, void *data) {
    publisher_t *p = data;
    lago_channel_options_t options = { .on_open = on_channel_open, .on_close = on_channel_closed, .data = p };
    is_taken(p, "cannot open a channel", lago_channel_open(conn, &options, &p->ch));
}

/* Instead of on_connection_open: no broker there, login refused, no such virtual host ... on_close does not follow. */
static void on_connection_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    publisher_t *p = data;
    (void)conn;
    fail(p, "cannot connect", reason);
    end_signals(p);
}

static bool connect_to_broker(publisher_t *p) {
    lago_parameters_t *parameters;
    lago_reason_t reason;
    int rc = p->options.url ? lago_parameters_parse(p->options.url, &parameters, &reason)
                            : lago_parameters_from_environment(&parameters, &reason);
    if (rc < 0) {
        fail(p, "cannot connect", &reason);
        return false;
    }
    parameters->connection_name = "async_publisher"; /* shown by RabbitMQ's management */
    lago_connection_options_t options = {
        .parameters = parameters,
        .on_open = on_connection_open,
        .on_open_error = on_connection_open_error,
        .on_close = on_connection_closed,
        .on_blocked = on_blocked,
        .on_unblocked = on_unblocked,
        .on_drain = on_drain,
        .data = p,
    };
    rc = lago_connect(&p->loop, NULL, &options, &p->conn);
    lago_parameters_free(parameters);
    return is_taken(p, "cannot connect", rc);
}

/* ---------------------------------------------------------------- the program */

static void print_summary(const publisher_t *p) {
    double seconds = (double)(p->ended_at - p->started_at) / 1e9;
    printf("publisher: sent=%" PRIu64 " confirmed=%" PRIu64 " nacked=%" PRIu64 " returned=%" PRIu64 " unknown=%" PRIu64
           " seconds=%.2f rate=%.0f/s\n",
           p->sent, p->confirmed, p->nacked, p->returned, p->unknown, seconds,
           seconds > 0 ? (double)p->confirmed / seconds : 0.0);
    fflush(stdout);
}

/* Whether all that was asked for is done; if not, and nobody has said so yet, says it. */
static bool is_done(publisher_t *p) {
    char why[128];
    if (p->confirmed != p->sent) {
        snprintf(why, sizeof why, "nacked=%" PRIu64 " returned=%" PRIu64 " unknown=%" PRIu64, p->nacked, p->returned, p->unknown);
        complain(p, "not every message was confirmed", why);
    } else if (p->options.count != ENDLESS && p->sent != p->options.count) {
        snprintf(why, sizeof why, "%" PRIu64 " of %" PRIu64 " messages were sent", p->sent, p->options.count);
        complain(p, "interrupted", why);
    }
    return !p->failed;
}

static void watch_signals(publisher_t *p) {
    p->sigint.data = p->sigterm.data = p;
    uv_signal_init(&p->loop, &p->sigint);
    uv_signal_init(&p->loop, &p->sigterm);
    uv_signal_start(&p->sigint, on_signal, SIGINT);
    uv_signal_start(&p->sigterm, on_signal, SIGTERM);
}

static void read_options(publisher_t *p, int argc, char **argv) {
    static const struct option known[] = {
        { "url", required_argument, NULL, 'u' },   { "exchange", required_argument, NULL, 'e' },
        { "queue", required_argument, NULL, 'q' }, { "count", required_argument, NULL, 'c' },
        { "size", required_argument, NULL, 's' },  { "progress", no_argument, NULL, 'p' },
        { "help", no_argument, NULL, 'h' },        { NULL, 0, NULL, 0 },
    };
    p->options = (options_t){ .exchange = "lago.message", .queue = "lago.text", .count = ENDLESS, .size = 256 };
    options_read(&p->options, argc, argv, known,
                 "usage: async_publisher [--url URL] [--exchange NAME] [--queue NAME] [--count N] [--size BYTES] [--progress]\n"
                 "  --url URL        the broker; default: AMQP_URL and RABBITMQ_HOST ... of the environment\n"
                 "  --exchange NAME  default lago.message\n"
                 "  --queue NAME     default lago.text\n"
                 "  --count N        publish N messages, fast; default: one a second until Ctrl-C\n"
                 "  --size BYTES     of each message; default 256\n"
                 "  --progress       say now and then how far it is\n");
}

int main(int argc, char **argv) {
    publisher_t p = { 0 };
    read_options(&p, argc, argv);
    p.body = malloc(p.options.size + 1); /* and a NUL, for snprintf */
    if (!p.body || uv_loop_init(&p.loop) < 0) {
        complain(&p, "cannot start", "out of memory or of file descriptors");
        free(p.body);
        return 1;
    }
    memset(p.body, '.', p.options.size);

    watch_signals(&p);
    if (!connect_to_broker(&p)) end_signals(&p);
    uv_run(&p.loop, UV_RUN_DEFAULT); /* returns when the connection has ended, whatever ended it */
    lago_connection_free(p.conn);    /* and its channel */
    free(p.body);

    if (p.started_at > 0) print_summary(&p);
    bool done = is_done(&p);
    if (uv_loop_close(&p.loop) < 0) { /* UV_EBUSY: somebody has left a handle open */
        complain(&p, "cannot end", "the loop is still busy");
        done = false;
    }
    return done ? 0 : 1;
}
