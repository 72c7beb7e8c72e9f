/*
 * pika's asynchronous consumer example, with lago: consume a queue and acknowledge each message.
 *
 *   async_consumer [--url URL] [--exchange NAME] [--queue NAME] [--count N] [--prefetch N] [--delete] [--progress]
 *
 * Read it from top to bottom. Each step of the set-up is asked for in one function, and its callback goes on with the next:
 *
 *   connect -> open a channel -> declare the exchange -> declare the queue -> bind it -> limit the prefetch -> consume
 *
 * and the way out is: cancel the consumer -> (delete the queue) -> close the channel -> close the connection.
 * (lago does not need this one-by-one: calls may be issued in a row, before the connection is open. hello.c does so.)
 *
 * Without --count it goes on until Ctrl-C, and prints a line for each message.
 */
#include "options.h"
#include <inttypes.h>
#include <lago.h>
#include <signal.h>
#include <stdio.h>
#include <uv.h>

#define PROGRESS_INTERVAL_MS 200

/*
 * How many messages the broker may send ahead of our acknowledgements. pika's example says 1, for safety's sake; then each message
 * waits for a round trip. With more they are on their way while we work, and lago acknowledges many in one frame.
 */
#define PREFETCH 500

typedef struct consumer {
    options_t options;
    uv_loop_t loop; /* lago runs on any loop; it need not be the default one, and need not be lago's alone */
    uv_signal_t sigint, sigterm;
    lago_connection_t *conn;
    lago_channel_t *ch;

    uint64_t received, acked;
    uint64_t started_at, ended_at; /* uv_hrtime; of the first and the last message */
    uint64_t shown;                /* what --progress has shown last */

    bool is_set_up; /* whether there are results to tell */
    bool consuming; /* the broker has our consumer, and nobody has asked us to stop */
    bool stopping;
    bool failed; /* and the user has been told */
} consumer_t;

/* ---------------------------------------------------------------- when something goes wrong */

static void complain(consumer_t *c, const char *what, const char *why) {
    if (!c->failed) fprintf(stderr, "consumer: %s: %s\n", what, why);
    c->failed = true; /* one cause, one line: what follows from it is no news */
    c->consuming = false;
}

/* Something was refused, or was cut off by the end of the channel or the connection: say why, and go. */
static void fail(consumer_t *c, const char *what, const lago_reason_t *reason) {
    char why[512];
    lago_reason_format(reason, why, sizeof why);
    /* what was still waiting when we closed ends as well, with this reason: that is no failure */
    if (reason->code != LAGO_ECLOSED || reason->origin != LAGO_BY_CLIENT) complain(c, what, why);
    lago_connection_close(c->conn, NULL); /* a second time, or too late, it does nothing */
}

/*
 * Every call returns at once; it fails at once for want of memory or for bad arguments. LAGO_ECLOSED says only that channel or
 * connection is ending: the callback that tells why is about to come.
 */
static bool is_taken(consumer_t *c, const char *what, int rc) {
    if (rc >= 0) return true;
    if (rc != LAGO_ECLOSED) complain(c, what, lago_strerror(rc));
    c->consuming = false;
    lago_connection_close(c->conn, NULL);
    return false;
}

/* ---------------------------------------------------------------- the way out, step by step */

/* uv_run returns when the loop has nothing left to wait for, so our own handles have to go, too. */
static void end_signals(consumer_t *c) {
    uv_close((uv_handle_t *)&c->sigint, NULL);
    uv_close((uv_handle_t *)&c->sigterm, NULL);
}

/* The last callback of a connection that was open. */
static void on_connection_closed(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    consumer_t *c = data;
    (void)conn;
    fail(c, "the connection has ended", reason);
    end_signals(c);
}

/*
 * The channel has ended. If we asked for it, the broker has answered; it works a channel off in order, so it has taken all our
 * acknowledgements. Whether we wanted the end or not, the connection goes next.
 */
static void on_channel_closed(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    consumer_t *c = data;
    (void)ch;
    fail(c, "the channel has ended", reason);
}

static void on_queue_deleted(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    consumer_t *c = data;
    (void)message_count; /* how many were still in it */
    if (reason)
        fail(c, "cannot delete the queue", reason);
    else
        is_taken(c, "cannot close the channel", lago_channel_close(ch, NULL));
}

/* With the queue goes its binding, and with its last binding the exchange, which was declared auto_delete. */
static void clean_up(consumer_t *c) {
    if (c->options.delete_at_end)
        is_taken(c, "cannot delete the queue",
                 lago_queue_delete(c->ch, &(lago_queue_delete_t){ .queue = c->options.queue }, on_queue_deleted, c));
    else
        is_taken(c, "cannot close the channel", lago_channel_close(c->ch, NULL));
}

static void on_consumer_canceled(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    consumer_t *c = data;
    (void)ch, (void)consumer_tag;
    if (reason)
        fail(c, "cannot cancel the consumer", reason);
    else
        clean_up(c);
}

/* After this call on_message is not called any more; what the broker had sent ahead goes back to the queue. */
static void stop_consuming(consumer_t *c) {
    lago_string_t tag = lago_channel_last_consumer_tag(c->ch);
    c->consuming = false;
    is_taken(c, "cannot cancel the consumer",
             lago_basic_cancel(c->ch, &(lago_basic_cancel_t){ .consumer_tag = tag.data }, on_consumer_canceled, c));
}

static void stop(consumer_t *c) {
    if (c->stopping) return;
    c->stopping = true;
    if (c->consuming)
        stop_consuming(c);
    else
        lago_connection_close(c->conn, NULL); /* still setting up: what is under way ends with LAGO_ECLOSED */
}

static void on_signal(uv_signal_t *handle, int signum) {
    consumer_t *c = handle->data;
    (void)signum;
    if (c->stopping)
        lago_connection_abort(c->conn); /* a second Ctrl-C: the user does not want to wait */
    else
        stop(c);
}

/* ---------------------------------------------------------------- consuming */

/* Names and properties come from strangers: print them escaped. The body is printed by its size alone for the same reason. */
static void print_message(const consumer_t *c, const lago_message_t *message) {
    char properties[256];
    lago_properties_format(message->properties, properties, sizeof properties);
    printf("consumer: message %" PRIu64 "%s, %zu bytes, %s\n", c->received, message->redelivered ? " (redelivered)" : "",
           message->body.size, properties);
    fflush(stdout);
}

/* The message is lent until this function returns. An unacknowledged one would be delivered again, to us or somebody else. */
static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    consumer_t *c = data;
    c->ended_at = uv_hrtime();
    if (c->received++ == 0) c->started_at = c->ended_at;
    if (c->options.count == ENDLESS && !c->options.progress) print_message(c, message);

    /* done with it; a program that needs longer keeps the delivery_tag and acknowledges later */
    if (!is_taken(c, "cannot acknowledge", lago_basic_ack(ch, message->delivery_tag, 0))) return;
    c->acked++;
    if (c->received == c->options.count) stop(c);
}

/* Not our doing: somebody has deleted the queue, or its node has died. */
static void on_consumer_canceled_by_broker(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    consumer_t *c = data;
    (void)ch, (void)consumer_tag;
    complain(c, "the broker has canceled the consumer", "the queue is gone");
    lago_connection_close(c->conn, NULL);
}

/* A timer ends with its connection: `status` says whether its time has come (0), or that it will not (LAGO_ECANCELED). */
static void on_progress(lago_connection_t *conn, int status, void *data) {
    consumer_t *c = data;
    if (status < 0) return;
    if (c->received != c->shown) {
        c->shown = c->received;
        printf("consumer: received=%" PRIu64 "\n", c->received);
        fflush(stdout);
    }
    /* nothing is lost if this fails */
    lago_connection_call_later(conn, PROGRESS_INTERVAL_MS, on_progress, c, NULL);
}

/* ---------------------------------------------------------------- the set-up, step by step */

/* basic.consume-ok: the broker has our consumer, and no message comes before this callback. */
static void on_consuming(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    consumer_t *c = data;
    (void)consumer_tag;
    if (reason) {
        fail(c, "cannot consume", reason);
        return;
    }
    if (c->stopping) return;
    c->consuming = true;
    puts("consumer: ready");
    fflush(stdout);
    if (c->options.progress) on_progress(lago_channel_connection(ch), 0, c);
}

static void on_prefetch_limited(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    consumer_t *c = data;
    if (reason) {
        fail(c, "cannot limit the prefetch", reason);
        return;
    }
    if (c->stopping) return;
    c->is_set_up = true;
    if (c->options.count == 0) { /* nothing to wait for */
        c->stopping = true;
        clean_up(c);
        return;
    }
    lago_basic_consume_t consume = {
        .queue = c->options.queue,
        .on_message = on_message,
        .on_cancel = on_consumer_canceled_by_broker,
        .data = c,
    };
    is_taken(c, "cannot consume", lago_basic_consume(ch, &consume, on_consuming, c));
}

/* Without a limit the broker would send us the whole queue at once. */
static void on_queue_bound(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    consumer_t *c = data;
    if (reason)
        fail(c, "cannot bind the queue", reason);
    else
        is_taken(c, "cannot limit the prefetch",
                 lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = c->options.prefetch }, on_prefetch_limited, c));
}

/* The routing key is the queue's name, so that several pairs of publisher and consumer can share an exchange. */
static void on_queue_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    consumer_t *c = data;
    (void)ok;
    if (reason)
        fail(c, "cannot declare the queue", reason);
    else
        is_taken(c, "cannot bind the queue",
                 lago_queue_bind(ch,
                                 &(lago_queue_bind_t){
                                     .queue = c->options.queue,
                                     .exchange = c->options.exchange,
                                     .routing_key = c->options.queue,
                                 },
                                 on_queue_bound, c));
}

/* Publisher and consumer both declare the queue, with the same settings: whoever comes first makes it, and the messages wait. */
static void on_exchange_declared(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    consumer_t *c = data;
    if (reason)
        fail(c, "cannot declare the exchange", reason);
    else
        is_taken(
            c, "cannot declare the queue",
            lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = c->options.queue, .durable = true }, on_queue_declared, c));
}

/* An exchange that lasts as long as a queue is bound to it: durable, but gone with the last binding. */
static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    consumer_t *c = data;
    if (reason) {
        fail(c, "cannot open a channel", reason);
        return;
    }
    is_taken(c, "cannot declare the exchange",
             lago_exchange_declare(ch,
                                   &(lago_exchange_declare_t){
                                       .exchange = c->options.exchange,
                                       .exchange_type = "topic",
                                       .durable = true,
                                       .auto_delete = true,
                                   },
                                   on_exchange_declared, c));
}

static void on_connection_open(lago_connection_t *conn, void *data) {
    consumer_t *c = data;
    lago_channel_options_t options = { .on_open = on_channel_open, .on_close = on_channel_closed, .data = c };
    is_taken(c, "cannot open a channel", lago_channel_open(conn, &options, &c->ch));
}

/* Instead of on_connection_open: no broker there, login refused, no such virtual host ... on_close does not follow. */
static void on_connection_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    consumer_t *c = data;
    (void)conn;
    fail(c, "cannot connect", reason);
    end_signals(c);
}

static bool connect_to_broker(consumer_t *c) {
    lago_parameters_t *parameters;
    lago_reason_t reason;
    int rc = c->options.url ? lago_parameters_parse(c->options.url, &parameters, &reason)
                            : lago_parameters_from_environment(&parameters, &reason);
    if (rc < 0) {
        fail(c, "cannot connect", &reason);
        return false;
    }
    parameters->connection_name = "async_consumer"; /* shown by RabbitMQ's management */
    lago_connection_options_t options = {
        .parameters = parameters,
        .on_open = on_connection_open,
        .on_open_error = on_connection_open_error,
        .on_close = on_connection_closed,
        .data = c,
    };
    rc = lago_connect(&c->loop, NULL, &options, &c->conn);
    lago_parameters_free(parameters);
    return is_taken(c, "cannot connect", rc);
}

/* ---------------------------------------------------------------- the program */

static void print_summary(const consumer_t *c) {
    double seconds = (double)(c->ended_at - c->started_at) / 1e9;
    printf("consumer: received=%" PRIu64 " acked=%" PRIu64 " seconds=%.2f rate=%.0f/s\n", c->received, c->acked, seconds,
           seconds > 0 ? (double)c->received / seconds : 0.0);
    fflush(stdout);
}

/* Whether all that was asked for is done; if not, and nobody has said so yet, says it. */
static bool is_done(consumer_t *c) {
    char why[96];
    if (c->options.count != ENDLESS && c->received != c->options.count) {
        snprintf(why, sizeof why, "%" PRIu64 " of %" PRIu64 " messages were received", c->received, c->options.count);
        complain(c, "interrupted", why);
    }
    return !c->failed;
}

static void watch_signals(consumer_t *c) {
    c->sigint.data = c->sigterm.data = c;
    uv_signal_init(&c->loop, &c->sigint);
    uv_signal_init(&c->loop, &c->sigterm);
    uv_signal_start(&c->sigint, on_signal, SIGINT);
    uv_signal_start(&c->sigterm, on_signal, SIGTERM);
}

static void read_options(consumer_t *c, int argc, char **argv) {
    static const struct option known[] = {
        { "url", required_argument, NULL, 'u' },
        { "exchange", required_argument, NULL, 'e' },
        { "queue", required_argument, NULL, 'q' },
        { "count", required_argument, NULL, 'c' },
        { "prefetch", required_argument, NULL, 'f' },
        { "delete", no_argument, NULL, 'd' },
        { "progress", no_argument, NULL, 'p' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    c->options = (options_t){ .exchange = "lago.message", .queue = "lago.text", .count = ENDLESS, .prefetch = PREFETCH };
    options_read(
        &c->options, argc, argv, known,
        "usage: async_consumer [--url URL] [--exchange NAME] [--queue NAME] [--count N] [--prefetch N] [--delete] [--progress]\n"
        "  --url URL        the broker; default: AMQP_URL and RABBITMQ_HOST ... of the environment\n"
        "  --exchange NAME  default lago.message\n"
        "  --queue NAME     default lago.text\n"
        "  --count N        end after N messages; default: go on until Ctrl-C\n"
        "  --prefetch N     how many may be unacknowledged, 0: all; default 500\n"
        "  --delete         delete the queue at the end\n"
        "  --progress       say now and then how far it is\n");
}

int main(int argc, char **argv) {
    consumer_t c = { 0 };
    read_options(&c, argc, argv);
    if (uv_loop_init(&c.loop) < 0) {
        complain(&c, "cannot start", "out of memory or of file descriptors");
        return 1;
    }

    watch_signals(&c);
    if (!connect_to_broker(&c)) end_signals(&c);
    uv_run(&c.loop, UV_RUN_DEFAULT); /* returns when the connection has ended, whatever ended it */
    lago_connection_free(c.conn);    /* and its channel */

    if (c.is_set_up) print_summary(&c);
    bool done = is_done(&c);
    if (uv_loop_close(&c.loop) < 0) { /* UV_EBUSY: somebody has left a handle open */
        complain(&c, "cannot end", "the loop is still busy");
        done = false;
    }
    return done ? 0 : 1;
}
