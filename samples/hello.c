#include <lago.h>
#include <stdio.h>
#include <uv.h>

static void on_message(lago_channel_t *ch, const lago_message_t *msg, void *data) {
    (void)data;
    printf("received %s\n", (const char *)msg->body.data);
    lago_basic_ack(ch, msg->delivery_tag, 0);
}

int main(void) {
    uv_loop_t *loop = uv_default_loop();
    lago_connection_t *conn;
    lago_channel_t *ch;
    int rc = lago_connect(loop, "amqp://guest:guest@localhost/", NULL, &conn);
    if (rc < 0) return fprintf(stderr, "%s\n", lago_strerror(rc)), 1;

    lago_channel_open(conn, NULL, &ch);
    lago_queue_declare(ch, &(lago_queue_declare_t){ .queue = "hello", .durable = true }, NULL, NULL);
    lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = 100 }, NULL, NULL);
    lago_basic_consume(ch, &(lago_basic_consume_t){ .queue = "hello", .on_message = on_message }, NULL, NULL);
    uv_run(loop, UV_RUN_DEFAULT); /* an end that nobody handles is logged: refused, 404, 406 ... */
    lago_connection_free(conn);
    return 0;
}
