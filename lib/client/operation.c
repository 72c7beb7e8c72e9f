/* Requests and their completions. The broker answers a channel's requests in order, but for two; so a queue finds the owner. */
#include "operation.h"

#include "alloc.h"
#include "reason.h"

static int check(const lago_channel_t *ch, const struct request *request) {
    int rc = channel_usable(ch);
    return rc == 0 && request->no_wait && request->callback ? LAGO_EINVAL : rc;
}

static struct operation *operation_new(lago_connection_t *conn, lago_channel_t *ch, const struct request *request) {
    struct operation *op = mem_zero(conn->alloc, 1, sizeof(*op));
    if (!op) return NULL;
    list_init(&op->in_connection);
    list_init(&op->in_channel);
    op->conn = conn;
    op->ch = ch;
    op->method = request->method;
    op->tell = request->tell;
    op->callback = request->callback;
    op->data = request->data;
    op->consumer = request->consumer;
    op->auto_ack = request->auto_ack;
    return op;
}

/* A deadline passed: tell; the operation stays in its channel's queue, so that a late answer finds whom it was for. */
static void expired(lago_connection_t *conn, struct deadline *self) {
    struct operation *op = DEADLINE_OWNER(self, struct operation, deadline);
    lago_reason_t reason;
    reason_init(&reason, LAGO_ETIMEDOUT, LAGO_BY_NETWORK);
    reason.phase = connection_phase(conn);
    reason.class_id = (uint16_t)(op->method >> 16);
    reason.method_id = (uint16_t)op->method;
    reason_detail(&reason, "%s was not answered in time", method_find(op->method)->name);
    op->expired = true;
    list_remove(&op->in_connection);
    struct operation told = *op;
    if (!op->ch) {
        conn->late_answers++;
        operation_free(op);
    }
    if (!told.callback) log_reason(&conn->env, LAGO_LOG_WARNING, NULL, &reason);
    told.tell(&told, &reason, NULL);
    if (told.ch && !told.ch->freed && !conn->freed) channel_advance(told.ch);
}

static int submit(lago_connection_t *conn, lago_channel_t *ch, const struct request *request) {
    uint32_t timeout_ms = request->timeout_ms ? request->timeout_ms : conn->p->operation_timeout_ms;
    struct operation *op = operation_new(conn, ch, request);
    if (!op || deadline_reserve(conn, timeout_ms) < 0) {
        mem_free(conn->alloc, op);
        return LAGO_ENOMEM;
    }
    connection_touch(conn);
    int rc = request->held ? 0 : session_send(&conn->session, ch ? ch->number : 0, request->method, request->args);
    if (rc < 0) {
        mem_free(conn->alloc, op);
        return rc;
    }
    op->since_us = conn->clock_us;
    list_append(&conn->operations, &op->in_connection);
    if (ch) list_append(&ch->operations, &op->in_channel);
    (void)deadline_set(conn, &op->deadline, timeout_ms, expired); /* room was reserved */
    connection_wake(conn, false);
    return 0;
}

int operation_request(lago_channel_t *ch, const struct request *request) {
    int rc = check(ch, request);
    if (rc < 0) return channel_result(ch, rc);
    if (!request->no_wait) return channel_result(ch, submit(ch->conn, ch, request));
    connection_touch(ch->conn);
    rc = session_send(&ch->conn->session, ch->number, request->method, request->args);
    if (rc == 0) connection_wake(ch->conn, false);
    return channel_result(ch, rc);
}

int operation_request_connection(lago_connection_t *conn, const struct request *request) { return submit(conn, NULL, request); }

struct operation *operation_first(const lago_channel_t *ch) {
    struct list *node = list_first(&ch->operations);
    return node ? LIST_ENTRY(node, struct operation, in_channel) : NULL;
}

/* They are all of one kind (connection.update-secret), and answered in their order. */
static struct operation *first_of_connection(const lago_connection_t *conn) {
    for (struct list *node = conn->operations.next; node != &conn->operations; node = node->next) {
        struct operation *op = LIST_ENTRY(node, struct operation, in_connection);
        if (!op->ch) return op;
    }
    return NULL;
}

bool operation_is_owed(const lago_channel_t *ch) {
    for (struct list *node = ch->operations.next; node != &ch->operations; node = node->next)
        if (!LIST_ENTRY(node, struct operation, in_channel)->expired) return true;
    return false;
}

void operation_free(struct operation *op) {
    list_remove(&op->in_connection);
    list_remove(&op->in_channel);
    deadline_cancel(op->conn, &op->deadline);
    mem_free(op->conn->alloc, op);
}

void operation_fail(struct operation *op, const lago_reason_t *reason) {
    struct operation told = *op;
    bool expired = op->expired;
    operation_free(op);
    if (!expired) told.tell(&told, reason, NULL);
}

/* Its user was told that nothing came; so what came must not count. */
static void swallow(const struct operation *op, const struct session_event *answer) {
    if (answer->info->id == METHOD_BASIC_GET_OK)
        get_undo(op->ch, answer, op->auto_ack);
    else if (answer->info->id == METHOD_BASIC_CONSUME_OK)
        consume_undo_consume(op->ch, op->consumer);
    else if (answer->info->id == METHOD_BASIC_CANCEL_OK)
        consume_undone(op->ch, op->consumer);
}

/*
 * Consume and cancel are answered by the queue's process, all else by the channel's: so these two answers may come behind those
 * to later requests (RabbitMQ 3.10), and are known by their tag.
 */
static bool may_come_late(const struct operation *op) {
    return op->method == METHOD_BASIC_CONSUME || op->method == METHOD_BASIC_CANCEL;
}

static struct operation *find_asker(const lago_channel_t *ch, const struct session_event *answer) {
    for (struct list *node = ch->operations.next; node != &ch->operations; node = node->next) {
        struct operation *op = LIST_ENTRY(node, struct operation, in_channel);
        const struct method_info *asked = method_find(op->method);
        bool fits = asked->replies[0] == answer->info->id || asked->replies[1] == answer->info->id;
        if (fits && (!op->consumer || consume_is_answer(op->consumer, answer))) return op;
        if (!may_come_late(op)) return NULL;
    }
    return NULL;
}

bool operation_answered(lago_connection_t *conn, lago_channel_t *ch, const struct session_event *answer) {
    if (!ch && conn->late_answers > 0) { /* they come in order, and all have the same deadline */
        conn->late_answers--;
        return true;
    }
    struct operation *op = ch ? find_asker(ch, answer) : first_of_connection(conn);
    if (!op) return false;
    struct operation told = *op;
    metrics_record(conn, LAGO_METRIC_OPERATION, op->since_us);
    operation_free(op);
    if (told.expired)
        swallow(&told, answer);
    else
        told.tell(&told, NULL, answer);
    if (ch && !ch->freed && !conn->freed) channel_advance(ch);
    return true;
}

void tell_done(struct operation *op, const lago_reason_t *reason, const struct session_event *answer) {
    (void)answer;
    if (op->callback) ((lago_done_cb)op->callback)(op->ch, reason, op->data);
}
