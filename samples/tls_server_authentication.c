/*
 * pika's example of this name, with lago: TLS, and the broker must prove who it is before a byte of AMQP leaves, the password above
 * all. Declares a queue, publishes a message and gets it back.
 *
 *   tls_server_authentication amqps://user:password@host/ [ca.pem]
 *
 * The name in the broker's certificate must be the URL's host. Without ca.pem a CA of the system's store must have signed it.
 */
#include <lago.h>
#include <stdio.h>
#include <uv.h>

/* Done, or given up. What is under way ends with the connection; uv_run returns when that has ended. */
static void end(lago_channel_t *ch) { lago_connection_close(lago_channel_connection(ch), NULL); }

static void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    (void)data;
    if (message) printf("received: %s\n", (const char *)message->body.data);
    if (!message && !reason) puts("the queue is empty");
    end(ch);
}

/* The broker has made a name for our queue. Both calls leave in this order, in one write, so the get finds the message. */
static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)data;
    if (reason) return; /* the channel's end, or the connection's, says why */
    lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = ok->queue.data, .body = { "abc", 3 } }, NULL, NULL);
    if (lago_basic_get(ch, &(lago_basic_get_t){ .queue = ok->queue.data, .auto_ack = true }, on_got, NULL) < 0) end(ch);
}

static void on_open(lago_connection_t *conn, void *data) {
    lago_channel_t *ch;
    lago_tls_info_t tls = lago_connection_tls(conn);
    *(int *)data = 0;
    printf("connected to %s by %s, %s\n", lago_connection_endpoint(conn), tls.version, tls.cipher);
    lago_channel_open(conn, NULL, &ch); /* NULL handles are refused, so the next call's result says enough */
    if (lago_queue_declare(ch, &(lago_queue_declare_t){ .exclusive = true }, on_declared, NULL) < 0)
        lago_connection_close(conn, NULL);
}

/* Not connected, and why: "certificate has expired", "hostname mismatch", "plain AMQP on this port" ... with a hint. */
static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    char why[1024];
    (void)conn, (void)data;
    lago_reason_format(reason, why, sizeof why);
    fprintf(stderr, "%s\n", why);
}

int main(int argc, char **argv) {
    lago_parameters_t *parameters;
    lago_connection_t *conn;
    lago_reason_t reason;
    lago_tls_options_t tls = { .ca_file = argc > 2 ? argv[2] : NULL }; /* all zero is a good choice: the system's store */
    int exit_code = 1;
    if (argc < 2) return fprintf(stderr, "usage: %s amqps://user:password@host/ [ca.pem]\n", argv[0]), 2;
    if (lago_parameters_parse(argv[1], &parameters, &reason) < 0)
        return fprintf(stderr, "%s (%s)\n", reason.detail, reason.hint), 2;
    parameters->tls = &tls; /* also with amqp://, but then the port that is left out is 5672 */

    uv_loop_t *loop = uv_default_loop();
    lago_connection_options_t options = {
        .parameters = parameters,
        .on_open = on_open,
        .on_open_error = on_open_error,
        .data = &exit_code,
    };
    int rc = lago_connect(loop, NULL, &options, &conn); /* copies all that it is given, and reads ca.pem */
    lago_parameters_free(parameters);
    if (rc < 0) return 1; /* and the log says why */
    uv_run(loop, UV_RUN_DEFAULT);
    lago_connection_free(conn);
    return exit_code;
}
