/*
 * Has short conversations with a real broker, one a number, and leaves each as a capture (pcapng), which pack.py makes small: what
 * is said is decided by the number, so that a recording can be made anew. A recorder: it looks at no answer but to go on.
 *
 *     record URL DIRECTORY COUNT
 */
#include <lago.h>
#include <lago/rabbitmq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define PATIENCE_MS 1500u

static struct talk {
    uv_loop_t loop;
    uv_timer_t timer;
    bool late, closed;
    lago_context_t *context;
    lago_connection_t *conn;
    lago_channel_t *ch;
    unsigned owed, messages;
    uint64_t tag; /* of the newest delivery */
    unsigned number;
    uint64_t dice;
    char queue[32], exchange[32];
} talk;

static char body_bytes[300000];

static unsigned roll(unsigned limit) {
    talk.dice = talk.dice * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(talk.dice >> 33) % limit;
}

/* ---------------------------------------------------------------- being told */

static void told(void) {
    if (talk.owed > 0) talk.owed--;
}

static void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason, (void)data;
    told();
}

static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch, (void)reason, (void)ok, (void)data;
    told();
}

static void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t count, void *data) {
    (void)ch, (void)reason, (void)count, (void)data;
    told();
}

static void on_consumer(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch, (void)reason, (void)tag, (void)data;
    told();
}

static void on_flow(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    (void)ch, (void)reason, (void)active, (void)data;
    told();
}

static void on_get(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    (void)ch, (void)reason, (void)data;
    if (message) talk.tag = message->delivery_tag;
    told();
}

static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch, (void)result, (void)data;
    told();
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)ch, (void)data;
    talk.messages++;
    talk.tag = message->delivery_tag;
}

static void on_cancel(lago_channel_t *ch, lago_string_t tag, void *data) { (void)ch, (void)tag, (void)data; }

static void on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) { (void)ch, (void)returned, (void)data; }

static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)reason, (void)data;
    told();
}

static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) { (void)ch, (void)reason, (void)data; }

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    told();
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    talk.closed = true;
    talk.owed = 0;
}

/* ---------------------------------------------------------------- waiting */

static void on_late(uv_timer_t *timer) {
    (void)timer;
    talk.late = true;
}

/* Until what is owed was told and so many messages have come, or nothing has for a while. */
static void wait_for(unsigned messages) {
    talk.late = false;
    uv_timer_start(&talk.timer, on_late, PATIENCE_MS, 0);
    while (!talk.late && !talk.closed && (talk.owed > 0 || talk.messages < messages)) uv_run(&talk.loop, UV_RUN_ONCE);
    uv_timer_stop(&talk.timer);
    talk.owed = 0;
}

static void owe(int64_t rc) {
    if (rc >= 0) talk.owed++;
}

static void channel(void) {
    lago_channel_options_t options = { .on_open = on_channel_open, .on_close = on_channel_close, .on_return = on_return };
    owe(lago_channel_open(talk.conn, &options, &talk.ch));
    wait_for(0);
}

/* ---------------------------------------------------------------- what can be said */

static void declare(void) {
    lago_queue_declare_t args = { .queue = talk.queue, .auto_delete = roll(2) == 0, .exclusive = true };
    owe(lago_queue_declare(talk.ch, &args, on_declared, NULL));
    wait_for(0);
}

static size_t body_size(void) {
    static const size_t sizes[] = { 0, 1, 2, 7, 8, 100, 255, 256, 1000, 2047, 2048, 4088, 4089 };
    return sizes[roll(sizeof(sizes) / sizeof(sizes[0]))];
}

static void publish_size(size_t size, lago_publish_cb callback, const char *key) {
    lago_field_t fields[] = { LAGO_FIELD_STR("text", "v\xc3\xa4lue"), LAGO_FIELD_I32("n", -5), LAGO_FIELD_BOOL("b", true),
                              LAGO_FIELD_DOUBLE("d", 1.5), LAGO_FIELD_VOID("nothing") };
    lago_properties_t properties = { .content_type = "text/plain", .delivery_mode = roll(3) ? 0 : 2, .message_id = "m" };
    if (roll(3) == 0) properties.headers = (lago_table_t)LAGO_TABLE_OF(fields);
    if (roll(4) == 0) properties.correlation_id = "c", properties.reply_to = "r", properties.timestamp = 1700000000;
    lago_basic_publish_t args = { .routing_key = key,
                                  .properties = roll(5) ? &properties : NULL,
                                  .mandatory = key != talk.queue,
                                  .body = { body_bytes, size } };
    int64_t rc = lago_basic_publish(talk.ch, &args, callback, NULL);
    if (callback) owe(rc);
}

static void publish_some(unsigned count) {
    for (unsigned i = 0; i < count; i++) publish_size(body_size(), NULL, talk.queue);
}

static void consume_with(bool auto_ack, unsigned count) {
    unsigned want = talk.messages + count;
    lago_basic_consume_t args = { .queue = talk.queue, .auto_ack = auto_ack, .on_message = on_message, .on_cancel = on_cancel };
    owe(lago_basic_consume(talk.ch, &args, on_consumer, NULL));
    wait_for(want);
}

static void nothing(void) {}

static void declare_named_by_broker(void) {
    owe(lago_queue_declare(talk.ch, &(lago_queue_declare_t){ .queue = "", .exclusive = true }, on_declared, NULL));
    wait_for(0);
}

static void declare_with_arguments(void) {
    lago_queue_declare_t args = { .queue = talk.queue,
                                  .durable = true,
                                  .arguments = LAGO_TABLE(LAGO_FIELD_I32("x-max-length", 10), LAGO_FIELD_I32("x-expires", 20000),
                                                          LAGO_FIELD_STR("x-overflow", "reject-publish")) };
    owe(lago_queue_declare(talk.ch, &args, on_declared, NULL));
    wait_for(0);
}

static void declare_quorum(void) {
    lago_queue_declare_t args = { .queue = talk.queue,
                                  .durable = true,
                                  .arguments =
                                      LAGO_TABLE(LAGO_FIELD_STR("x-queue-type", "quorum"), LAGO_FIELD_I32("x-expires", 20000)) };
    owe(lago_queue_declare(talk.ch, &args, on_declared, NULL));
    wait_for(0);
}

static void topology(void) {
    static const char *const types[] = { "direct", "fanout", "topic", "headers" };
    lago_exchange_declare_t exchange = { .exchange = talk.exchange, .exchange_type = types[roll(4)], .auto_delete = true };
    declare();
    owe(lago_exchange_declare(talk.ch, &exchange, on_done, NULL));
    lago_queue_bind_t bind = { .queue = talk.queue, .exchange = talk.exchange, .routing_key = "a.b" };
    owe(lago_queue_bind(talk.ch, &bind, on_done, NULL));
    lago_exchange_bind_t between = { .destination = talk.exchange, .source = "amq.topic", .routing_key = "x.#" };
    owe(lago_exchange_bind(talk.ch, &between, on_done, NULL));
    owe(lago_exchange_unbind(talk.ch, &between, on_done, NULL));
    owe(lago_queue_purge(talk.ch, &(lago_queue_purge_t){ .queue = talk.queue }, on_count, NULL));
    owe(lago_queue_unbind(talk.ch, &bind, on_done, NULL));
    owe(lago_queue_delete(talk.ch, &(lago_queue_delete_t){ .queue = talk.queue }, on_count, NULL));
    owe(lago_exchange_delete(talk.ch, &(lago_exchange_delete_t){ .exchange = talk.exchange }, on_done, NULL));
    wait_for(0);
}

static void consume_and_ack(void) {
    unsigned count = 1 + roll(6);
    declare();
    owe(lago_basic_qos(talk.ch, &(lago_basic_qos_t){ .prefetch_count = (uint16_t)(count + 1) }, on_done, NULL));
    publish_some(count);
    consume_with(false, count);
    lago_basic_ack(talk.ch, talk.tag, LAGO_MULTIPLE);
}

static void consume_unacked(void) {
    declare();
    publish_some(2);
    consume_with(true, 2);
}

static void nack_and_again(void) {
    declare();
    publish_some(1);
    consume_with(false, 1);
    if (roll(2))
        lago_basic_nack(talk.ch, talk.tag, 0);
    else
        lago_basic_reject(talk.ch, talk.tag, 0);
    wait_for(talk.messages + 1);
    lago_basic_nack(talk.ch, talk.tag, LAGO_NO_REQUEUE);
}

static void recover(void) {
    declare();
    publish_some(2);
    consume_with(false, 2);
    owe(lago_basic_recover(talk.ch, NULL, on_done, NULL));
    wait_for(talk.messages + 2);
}

static void get_some(void) {
    declare();
    publish_some(1);
    for (unsigned i = 0; i < 2; i++) {
        owe(lago_basic_get(talk.ch, &(lago_basic_get_t){ .queue = talk.queue, .auto_ack = roll(2) == 0 }, on_get, NULL));
        wait_for(0);
    }
}

static void confirms(void) {
    declare();
    owe(lago_confirm_select(talk.ch, NULL, on_done, NULL));
    for (unsigned i = 1 + roll(8); i > 0; i--) publish_size(body_size(), on_outcome, talk.queue);
    wait_for(0);
}

static void returned(void) {
    owe(lago_confirm_select(talk.ch, NULL, on_done, NULL));
    publish_size(body_size(), on_outcome, "nobody.listens.here");
    publish_size(body_size(), on_outcome, "nor.here");
    wait_for(0);
}

static void rejected_when_full(void) {
    lago_queue_declare_t args = { .queue = talk.queue,
                                  .exclusive = true,
                                  .arguments = LAGO_TABLE(LAGO_FIELD_I32("x-max-length", 1),
                                                          LAGO_FIELD_STR("x-overflow", "reject-publish")) };
    owe(lago_queue_declare(talk.ch, &args, on_declared, NULL));
    owe(lago_confirm_select(talk.ch, NULL, on_done, NULL));
    for (unsigned i = 0; i < 3; i++) publish_size(3, on_outcome, talk.queue);
    wait_for(0);
}

static void transaction(void) {
    declare();
    owe(lago_tx_select(talk.ch, NULL, on_done, NULL));
    publish_some(2);
    owe(roll(2) ? lago_tx_commit(talk.ch, NULL, on_done, NULL) : lago_tx_rollback(talk.ch, NULL, on_done, NULL));
    wait_for(0);
}

static void cancel(void) {
    declare();
    consume_with(true, 0);
    lago_basic_cancel_t args = { .consumer_tag = "ctag1.1" };
    owe(lago_basic_cancel(talk.ch, &args, on_consumer, NULL));
    wait_for(0);
}

static void cancelled_by_the_broker(void) {
    declare();
    consume_with(true, 0);
    owe(lago_queue_delete(talk.ch, &(lago_queue_delete_t){ .queue = talk.queue }, on_count, NULL));
    owe(lago_basic_qos(talk.ch, NULL, on_done, NULL));
    wait_for(0);
}

static void flow(void) {
    owe(lago_channel_flow(talk.ch, &(lago_channel_flow_t){ 0 }, on_flow, NULL));
    wait_for(0);
}

static void channels(void) {
    for (unsigned i = 0; i < 4; i++) channel();
    lago_channel_close(talk.ch, NULL);
    owe(lago_channel_open(talk.conn, &(lago_channel_options_t){ .on_open = on_channel_open }, &talk.ch));
    wait_for(0);
}

static void large(void) {
    declare();
    publish_size(roll(2) ? 9000 : 20000, NULL, talk.queue);
    consume_with(false, 1);
}

/* ---------------------------------------------------------------- errors: of a channel, of the connection */

static void error_not_found(void) {
    owe(lago_queue_declare(talk.ch, &(lago_queue_declare_t){ .queue = "lago.none", .passive = true }, on_declared, NULL));
    wait_for(0);
}

static void error_no_exchange(void) {
    lago_basic_publish_t args = { .exchange = "lago.none", .routing_key = "k", .body = { body_bytes, body_size() } };
    lago_basic_publish(talk.ch, &args, NULL, NULL);
    owe(lago_basic_qos(talk.ch, NULL, on_done, NULL));
    wait_for(0);
}

static void error_refused(void) {
    owe(lago_exchange_declare(talk.ch, &(lago_exchange_declare_t){ .exchange = "amq.mine" }, on_done, NULL));
    wait_for(0);
}

static void error_precondition(void) {
    declare();
    lago_queue_declare_t args = { .queue = talk.queue,
                                  .exclusive = true,
                                  .arguments = LAGO_TABLE(LAGO_FIELD_I32("x-max-length", 3)) };
    owe(lago_queue_declare(talk.ch, &args, on_declared, NULL));
    wait_for(0);
}

static void error_consumer_not_found(void) { consume_with(true, 0); }

static void error_exclusive(void) {
    declare();
    consume_with(true, 0);
    lago_basic_consume_t args = { .queue = talk.queue, .exclusive = true, .on_message = on_message };
    owe(lago_basic_consume(talk.ch, &args, on_consumer, NULL));
    wait_for(0);
}

static void error_confirm_and_tx(void) {
    owe(lago_confirm_select(talk.ch, NULL, on_done, NULL));
    owe(lago_tx_select(talk.ch, NULL, on_done, NULL));
    wait_for(0);
}

static void error_immediate(void) { /* 540 ends the connection */
    lago_basic_publish_t args = { .routing_key = "k", .immediate = true, .body = { "x", 1 } };
    lago_basic_publish(talk.ch, &args, NULL, NULL);
    owe(lago_basic_qos(talk.ch, NULL, on_done, NULL));
    wait_for(0);
}

static void error_prefetch_size(void) { /* 540 ends the connection */
    owe(lago_basic_qos(talk.ch, &(lago_basic_qos_t){ .prefetch_size = 10 }, on_done, NULL));
    wait_for(0);
}

static void error_exchange_type(void) { /* 503 ends the connection */
    owe(lago_exchange_declare(talk.ch, &(lago_exchange_declare_t){ .exchange = talk.exchange, .exchange_type = "none" }, on_done,
                              NULL));
    wait_for(0);
}

/* A letter of old clients' tables and the like cannot be said with lago; an exchange that is internal can be asked for its messages. */
static void error_publish_to_internal(void) {
    owe(lago_exchange_declare(
        talk.ch, &(lago_exchange_declare_t){ .exchange = talk.exchange, .internal = true, .auto_delete = true }, on_done, NULL));
    lago_basic_publish(talk.ch, &(lago_basic_publish_t){ .exchange = talk.exchange, .body = { "x", 1 } }, NULL, NULL);
    owe(lago_basic_qos(talk.ch, NULL, on_done, NULL));
    wait_for(0);
}

static void (*const things[])(void) = { nothing,
                                        declare,
                                        declare_named_by_broker,
                                        declare_with_arguments,
                                        declare_quorum,
                                        topology,
                                        consume_and_ack,
                                        consume_unacked,
                                        nack_and_again,
                                        recover,
                                        get_some,
                                        confirms,
                                        returned,
                                        rejected_when_full,
                                        transaction,
                                        cancel,
                                        cancelled_by_the_broker,
                                        flow,
                                        channels,
                                        large,
                                        error_not_found,
                                        error_no_exchange,
                                        error_refused,
                                        error_precondition,
                                        error_consumer_not_found,
                                        error_exclusive,
                                        error_confirm_and_tx,
                                        error_immediate,
                                        error_prefetch_size,
                                        error_exchange_type,
                                        error_publish_to_internal };

#define THINGS (sizeof(things) / sizeof(things[0]))

/* ---------------------------------------------------------------- one conversation */

static void append(const void *bytes, size_t size, void *data) {
    if (fwrite(bytes, 1, size, data) != size) exit(1);
}

static void say(unsigned number) {
    for (unsigned i = 0; i < 1 + roll(2) && !talk.closed; i++) {
        if (lago_channel_state(talk.ch) == LAGO_CHANNEL_CLOSED) channel();
        if (!talk.closed) things[i ? roll(THINGS) : number % THINGS]();
    }
}

static void converse(const char *url, const char *directory, unsigned number) {
    char path[4096], full[4096];
    static const char *const ends[] = { "", "?frame_max=4096", "?heartbeat=1", "?channel_max=3" };
    snprintf(path, sizeof(path), "%s/%03u.pcapng", directory, number);
    FILE *file = fopen(path, "wb");
    if (!file) exit(1);
    talk.dice = number * 0x9e3779b97f4a7c15u + 1;
    talk.number = number;
    talk.closed = false;
    talk.messages = 0;
    snprintf(talk.queue, sizeof(talk.queue), "lago.recorded.%u", number);
    snprintf(talk.exchange, sizeof(talk.exchange), "lago.exchange.%u", number);
    snprintf(full, sizeof(full), "%s%s", url, ends[number / THINGS % 4]);
    if (number % 37 == 36) snprintf(full, sizeof(full), "amqp://nobody:wrong@%s", strchr(url, '@') + 1);
    if (number % 37 == 35) { /* a virtual host that does not exist */
        snprintf(full, sizeof(full), "%s", url);
        strcpy(strrchr(full, '/'), "/none");
    }
    lago_connection_options_t options = {
        .context = talk.context, .on_open = on_open, .on_open_error = on_end, .on_close = on_end
    };
    if (lago_context_capture(talk.context, append, file) < 0) exit(1);
    if (lago_connect(&talk.loop, full, &options, &talk.conn) < 0) exit(1);
    talk.owed = 1;
    wait_for(0);
    if (!talk.closed) channel();
    if (!talk.closed) say(number);
    if (!talk.closed) lago_connection_close(talk.conn, NULL);
    talk.owed = 1;
    wait_for(0);
    lago_connection_free(talk.conn);
    while (uv_loop_alive(&talk.loop)) uv_run(&talk.loop, UV_RUN_ONCE);
    lago_context_capture(talk.context, NULL, NULL);
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    for (size_t i = 0; i < sizeof(body_bytes); i++) body_bytes[i] = (char)(i * 7 + i / 256 * 13 + i / 65536 * 31);
    uv_loop_init(&talk.loop);
    uv_timer_init(&talk.loop, &talk.timer);
    lago_context_options_t options = { 0 };
    if (lago_context_new(&talk.loop, &options, &talk.context) < 0) return 1;
    for (unsigned i = 0; i < (unsigned)atoi(argv[3]); i++) converse(argv[1], argv[2], i);
    lago_context_free(talk.context);
    uv_close((uv_handle_t *)&talk.timer, NULL);
    uv_run(&talk.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&talk.loop) ? 1 : 0;
}
