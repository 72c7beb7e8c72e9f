/*
 * The answering broker of tests/client on a TCP socket of the test's own loop: for tests of the whole library over the real
 * transport where no RabbitMQ is needed. It hears the client through the client's log (level TRACE), and so knows what was said
 * before the bytes come; it answers one client at a time, and keeps what really came over the wire.
 */
#ifndef LAGO_TESTS_LOOP_BROKER_H
#define LAGO_TESTS_LOOP_BROKER_H

#include "broker.h"
#include <uv.h>

struct loop_broker {
    struct broker script; /* what it answers: broker.h */
    bool mute;            /* says nothing at all from here on */
    bool deaf;            /* reads nothing: set it before the client comes */
    char url[64];         /* amqp://127.0.0.1:port */
    int client_count;     /* how many have come */
    uint8_t *received;    /* from the last of them */
    size_t received_size;
    bool hung_up; /* and it has gone again */
    uv_loop_t *loop;
    uv_tcp_t listener, *client; /* client: NULL when nobody is there */
    uv_check_t check;
};

void loop_broker_start(struct loop_broker *b, uv_loop_t *loop);

/* The lago_log_cb of the client's context; `data` is the broker. Level TRACE. */
void loop_broker_log(lago_log_level_t level, const char *line, void *data);

/* Say lines of one's own, if the client is there and the channel lives. */
void loop_broker_say(struct loop_broker *b, unsigned channel, const char *lines);

/* Hang up without a word. */
void loop_broker_hang_up(struct loop_broker *b);

/* Whether this method ("1 queue.declare", a beginning of its line) came over the wire. */
bool loop_broker_got(const struct loop_broker *b, const char *line);

/* Everything of it is closed when the loop has run. */
void loop_broker_stop(struct loop_broker *b);

#endif
