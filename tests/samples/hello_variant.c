/*
 * samples/hello.c as it stands, at the broker and with the queues that a test names by the environment: HELLO_URL, HELLO_QUEUE
 * (declared, and consumed) and HELLO_CONSUME (consumed instead). Its callers see the same program otherwise.
 */
#include <lago.h>
#include <stdio.h>
#include <stdlib.h>

static int connect_there(uv_loop_t *loop, const char *url, const lago_connection_options_t *options, lago_connection_t **conn) {
    const char *there = getenv("HELLO_URL");
    setvbuf(stdout, NULL, _IOLBF, 0); /* the test reads along */
    return lago_connect(loop, there ? there : url, options, conn);
}

static int declare_other(lago_channel_t *ch, const lago_queue_declare_t *args, lago_queue_declare_cb callback, void *data) {
    lago_queue_declare_t other = *args;
    if (getenv("HELLO_QUEUE")) other.queue = getenv("HELLO_QUEUE");
    return lago_queue_declare(ch, &other, callback, data);
}

static int consume_other(lago_channel_t *ch, const lago_basic_consume_t *args, lago_consumer_cb callback, void *data) {
    lago_basic_consume_t other = *args;
    if (getenv("HELLO_QUEUE")) other.queue = getenv("HELLO_QUEUE");
    if (getenv("HELLO_CONSUME")) other.queue = getenv("HELLO_CONSUME");
    return lago_basic_consume(ch, &other, callback, data);
}

#define lago_connect       connect_there
#define lago_queue_declare declare_other
#define lago_basic_consume consume_other
#include "hello.c"
