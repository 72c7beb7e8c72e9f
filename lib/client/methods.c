/* The requests of the classes exchange, queue, channel, confirm, tx and connection: public structs to methods, answers back. */
#include "channel.h"
#include "feature.h"
#include "operation.h"
#include <lago/exchange.h>
#include <lago/queue.h>
#include <string.h>

static lago_string_t name(const char *s) { return (lago_string_t){ s ? s : "", LAGO_NUL_TERMINATED }; }

/* A request whose answer says no more than that it is done. */
static int ask(lago_channel_t *ch, struct request *request, lago_done_cb callback, void *data) {
    request->tell = tell_done;
    request->callback = (operation_callback)callback;
    request->data = data;
    return operation_request(ch, request);
}

/* ---------------------------------------------------------------- exchange (1.6) */

int lago_exchange_declare(lago_channel_t *ch, const lago_exchange_declare_t *args, lago_done_cb callback, void *data) {
    if (!args || !args->exchange || !RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct exchange_declare m = { .exchange = name(args->exchange),
                                  .type = name(args->exchange_type ? args->exchange_type : "direct"),
                                  .passive = args->passive,
                                  .durable = args->durable,
                                  .auto_delete = args->auto_delete,
                                  .internal = args->internal,
                                  .no_wait = args->no_wait,
                                  .arguments = args->arguments };
    struct request request = {
        .method = METHOD_EXCHANGE_DECLARE, .args = &m, .timeout_ms = args->timeout_ms, .no_wait = args->no_wait
    };
    return ask(ch, &request, callback, data);
}

int lago_exchange_delete(lago_channel_t *ch, const lago_exchange_delete_t *args, lago_done_cb callback, void *data) {
    if (!args || !args->exchange || !RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct exchange_delete m = { .exchange = name(args->exchange), .if_unused = args->if_unused, .no_wait = args->no_wait };
    struct request request = {
        .method = METHOD_EXCHANGE_DELETE, .args = &m, .timeout_ms = args->timeout_ms, .no_wait = args->no_wait
    };
    return ask(ch, &request, callback, data);
}

/* exchange.bind and exchange.unbind have the same arguments in the same order. */
static int exchange_binding(lago_channel_t *ch, uint32_t method, const lago_exchange_bind_t *args, lago_done_cb callback,
                            void *data) {
    if (!args || !args->destination || !args->source || !RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct exchange_bind bind = { .destination = name(args->destination),
                                  .source = name(args->source),
                                  .routing_key = name(args->routing_key),
                                  .no_wait = args->no_wait,
                                  .arguments = args->arguments };
    struct exchange_unbind unbind = { .destination = bind.destination,
                                      .source = bind.source,
                                      .routing_key = bind.routing_key,
                                      .no_wait = bind.no_wait,
                                      .arguments = bind.arguments };
    struct request request = { .method = method,
                               .args = method == METHOD_EXCHANGE_BIND ? (void *)&bind : (void *)&unbind,
                               .timeout_ms = args->timeout_ms,
                               .no_wait = args->no_wait };
    return ask(ch, &request, callback, data);
}

int lago_exchange_bind(lago_channel_t *ch, const lago_exchange_bind_t *args, lago_done_cb callback, void *data) {
    return exchange_binding(ch, METHOD_EXCHANGE_BIND, args, callback, data);
}

int lago_exchange_unbind(lago_channel_t *ch, const lago_exchange_bind_t *args, lago_done_cb callback, void *data) {
    return exchange_binding(ch, METHOD_EXCHANGE_UNBIND, args, callback, data);
}

/* ---------------------------------------------------------------- queue (1.7) */

static void tell_declared(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    lago_queue_declare_ok_t ok = { 0 };
    if (!op->callback) return;
    if (answer) {
        const struct queue_declare_ok *m = &answer->args->queue_declare_ok;
        ok = (lago_queue_declare_ok_t){ .queue = m->queue,
                                        .message_count = m->message_count,
                                        .consumer_count = m->consumer_count };
    }
    ((lago_queue_declare_cb)op->callback)(op->ch, reason, answer ? &ok : NULL, op->data);
}

int lago_queue_declare(lago_channel_t *ch, const lago_queue_declare_t *args, lago_queue_declare_cb callback, void *data) {
    static const lago_queue_declare_t defaults = { 0 };
    if (!args) args = &defaults;
    bool nameless = !args->queue || !args->queue[0];
    if (!ch || !RESERVED_IS_ZERO(args) || (nameless && args->no_wait)) return channel_result(ch, LAGO_EINVAL);
    struct queue_declare m = { .queue = name(args->queue),
                               .passive = args->passive,
                               .durable = args->durable,
                               .exclusive = args->exclusive,
                               .auto_delete = args->auto_delete,
                               .no_wait = args->no_wait };
    struct features features;
    int rc = feature_of_queue(&features, ch, args, &m.arguments);
    if (rc == 0)
        rc = operation_request(ch, &(struct request){ .method = METHOD_QUEUE_DECLARE,
                                                      .args = &m,
                                                      .timeout_ms = args->timeout_ms,
                                                      .no_wait = args->no_wait,
                                                      .tell = tell_declared,
                                                      .callback = (operation_callback)callback,
                                                      .data = data });
    feature_free(&features);
    return channel_result(ch, rc);
}

int lago_queue_bind(lago_channel_t *ch, const lago_queue_bind_t *args, lago_done_cb callback, void *data) {
    if (!args || !args->exchange || !RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct queue_bind m = { .queue = name(args->queue),
                            .exchange = name(args->exchange),
                            .routing_key = name(args->routing_key ? args->routing_key : args->queue),
                            .no_wait = args->no_wait,
                            .arguments = args->arguments };
    struct request request = {
        .method = METHOD_QUEUE_BIND, .args = &m, .timeout_ms = args->timeout_ms, .no_wait = args->no_wait
    };
    return ask(ch, &request, callback, data);
}

int lago_queue_unbind(lago_channel_t *ch, const lago_queue_bind_t *args, lago_done_cb callback, void *data) {
    if (!args || !args->exchange || args->no_wait || !RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct queue_unbind m = { .queue = name(args->queue),
                              .exchange = name(args->exchange),
                              .routing_key = name(args->routing_key ? args->routing_key : args->queue),
                              .arguments = args->arguments };
    struct request request = { .method = METHOD_QUEUE_UNBIND, .args = &m, .timeout_ms = args->timeout_ms };
    return ask(ch, &request, callback, data);
}

/* purge-ok and delete-ok both say how many messages are gone. */
static void tell_count(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    uint32_t count = 0;
    if (!op->callback) return;
    if (answer)
        count = answer->info->id == METHOD_QUEUE_PURGE_OK ? answer->args->queue_purge_ok.message_count
                                                          : answer->args->queue_delete_ok.message_count;
    ((lago_queue_count_cb)op->callback)(op->ch, reason, count, op->data);
}

int lago_queue_purge(lago_channel_t *ch, const lago_queue_purge_t *args, lago_queue_count_cb callback, void *data) {
    static const lago_queue_purge_t defaults = { 0 };
    if (!args) args = &defaults;
    if (!RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct queue_purge m = { .queue = name(args->queue), .no_wait = args->no_wait };
    return operation_request(ch, &(struct request){ .method = METHOD_QUEUE_PURGE,
                                                    .args = &m,
                                                    .timeout_ms = args->timeout_ms,
                                                    .no_wait = args->no_wait,
                                                    .tell = tell_count,
                                                    .callback = (operation_callback)callback,
                                                    .data = data });
}

int lago_queue_delete(lago_channel_t *ch, const lago_queue_delete_t *args, lago_queue_count_cb callback, void *data) {
    static const lago_queue_delete_t defaults = { 0 };
    if (!args) args = &defaults;
    if (!RESERVED_IS_ZERO(args)) return channel_result(ch, LAGO_EINVAL);
    struct queue_delete m = {
        .queue = name(args->queue), .if_unused = args->if_unused, .if_empty = args->if_empty, .no_wait = args->no_wait
    };
    return operation_request(ch, &(struct request){ .method = METHOD_QUEUE_DELETE,
                                                    .args = &m,
                                                    .timeout_ms = args->timeout_ms,
                                                    .no_wait = args->no_wait,
                                                    .tell = tell_count,
                                                    .callback = (operation_callback)callback,
                                                    .data = data });
}

/* ---------------------------------------------------------------- channel, confirm, tx (1.5.2.3, RabbitMQ, 1.9) */

static void tell_flow(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    bool active = answer && answer->args->channel_flow_ok.active;
    if (op->callback) ((lago_channel_flow_ok_cb)op->callback)(op->ch, reason, active, op->data);
}

int lago_channel_flow(lago_channel_t *ch, const lago_channel_flow_t *args, lago_channel_flow_ok_cb callback, void *data) {
    if (!args) return channel_result(ch, LAGO_EINVAL);
    struct channel_flow m = { .active = args->active };
    return operation_request(ch, &(struct request){ .method = METHOD_CHANNEL_FLOW,
                                                    .args = &m,
                                                    .timeout_ms = args->timeout_ms,
                                                    .tell = tell_flow,
                                                    .callback = (operation_callback)callback,
                                                    .data = data });
}

int lago_confirm_select(lago_channel_t *ch, const lago_confirm_select_t *args, lago_done_cb callback, void *data) {
    static const lago_confirm_select_t defaults = { 0 };
    if (!args) args = &defaults;
    struct confirm_select m = { .no_wait = args->no_wait };
    bool confirming = ch && ch->confirming;
    int rc = channel_usable(ch);
    if (rc == 0) rc = channel_begin_confirming(ch);
    if (rc < 0) return channel_result(ch, rc);
    rc = operation_request(ch, &(struct request){ .method = METHOD_CONFIRM_SELECT,
                                                  .args = &m,
                                                  .timeout_ms = args->timeout_ms,
                                                  .no_wait = args->no_wait,
                                                  .tell = tell_done,
                                                  .callback = (operation_callback)callback,
                                                  .data = data });
    if (rc == 0)
        confirms_select(&ch->confirming->confirms, ch->published);
    else if (!confirming)
        channel_end_confirming(ch);
    return rc;
}

static int tx_request(lago_channel_t *ch, uint32_t method, const lago_tx_t *args, lago_done_cb callback, void *data) {
    struct request request = { .method = method, .timeout_ms = args ? args->timeout_ms : 0 };
    return ask(ch, &request, callback, data);
}

/* Acknowledgements that a rollback undoes are open for the broker again, so from here on no lower tag is known to be settled. */
int lago_tx_select(lago_channel_t *ch, const lago_tx_t *args, lago_done_cb callback, void *data) {
    int rc = tx_request(ch, METHOD_TX_SELECT, args, callback, data);
    if (rc < 0) return rc;
    ch->single_acks = true;
    if (ch->consuming) ch->consuming->ack_run_max = 1;
    return rc;
}

int lago_tx_commit(lago_channel_t *ch, const lago_tx_t *args, lago_done_cb callback, void *data) {
    return tx_request(ch, METHOD_TX_COMMIT, args, callback, data);
}

int lago_tx_rollback(lago_channel_t *ch, const lago_tx_t *args, lago_done_cb callback, void *data) {
    return tx_request(ch, METHOD_TX_ROLLBACK, args, callback, data);
}

/* ---------------------------------------------------------------- connection.update-secret (RabbitMQ) */

static void tell_connection(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    (void)answer;
    if (op->callback) ((lago_connection_done_cb)op->callback)(op->conn, reason, op->data);
}

int lago_update_secret(lago_connection_t *conn, const char *new_secret, const char *reason, lago_connection_done_cb callback,
                       void *data) {
    if (!conn || !new_secret) return LAGO_EINVAL;
    if (conn->stage > STAGE_OPEN) return LAGO_ECLOSED;
    struct connection_update_secret m = { .new_secret = { new_secret, strlen(new_secret) }, .reason = name(reason) };
    return operation_request_connection(conn, &(struct request){ .method = METHOD_CONNECTION_UPDATE_SECRET,
                                                                 .args = &m,
                                                                 .tell = tell_connection,
                                                                 .callback = (operation_callback)callback,
                                                                 .data = data });
}
