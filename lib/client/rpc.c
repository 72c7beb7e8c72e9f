/*
 * Calls: a request, published with reply_to and a correlation_id, and its reply, delivered to a consumer. Knows what a channel
 * offers to everybody; that it is told of returns and ends is the other rooms' (rpc.h).
 */
#include "rpc.h"

#include "alloc.h"
#include "operation.h"
#include "reason.h"
#include "text.h"
#include <lago/rpc.h>
#include <string.h>

/* Behind it a number of 20 digits: well below the 255 bytes of a short string, and room in a call's record. */
#define PREFIX_SIZE_MAX 64u
#define NUMBER_SIZE_MAX 20u

/* Where replies come from. One setter: rpc_enter. */
enum rpc_state {
    RPC_STARTING, /* consume-ok is awaited */
    RPC_OPEN,
    RPC_LOST /* the consumer ended before its channel: `reason` says why */
};

struct lago_rpc {
    struct list node; /* connection.lost_rpcs, or connection.freed_rpcs */
    lago_connection_t *conn;
    lago_channel_t *ch;
    lago_rpc_options_t options; /* its strings are our copies, behind this struct */
    enum rpc_state state;
    bool consumer_lives; /* its record points here: this memory must stay */
    bool freed;          /* the handle is gone */
    bool reaped;         /* and its user was told: only the consumer is awaited */
    struct strmap calls; /* by correlation_id */
    struct list in_order;
    uint64_t dropped_count;
    lago_reason_t reason;
    char consumer_tag[32];
};

struct call {
    struct strmap_node node; /* key: id */
    struct list in_order;
    struct deadline deadline;
    lago_rpc_t *rpc;
    uint64_t published; /* which publish of its channel it was, from 1 */
    lago_rpc_cb callback;
    void *data;
    size_t exchange_size, routing_key_size;
    char id[PREFIX_SIZE_MAX + NUMBER_SIZE_MAX + 1];
    char route[]; /* exchange, then routing key */
};

static lago_rpc_t *rpc_of(const lago_channel_t *ch) { return ch->consuming ? ch->consuming->rpc : NULL; }

static void rpc_enter(lago_rpc_t *rpc, enum rpc_state state) { rpc->state = state; }

/* ---------------------------------------------------------------- calls */

static struct call *first_call(const lago_rpc_t *rpc) {
    struct list *node = list_first(&rpc->in_order);
    return node ? LIST_ENTRY(node, struct call, in_order) : NULL;
}

static struct call *find_call(const lago_rpc_t *rpc, const char *id, size_t size) {
    struct strmap_node *node = strmap_find(&rpc->calls, id, size);
    return node ? LIST_ENTRY(node, struct call, node) : NULL;
}

static struct call *call_of(const lago_rpc_t *rpc, const lago_message_t *message) {
    const lago_properties_t *p = message->properties;
    return p->correlation_id ? find_call(rpc, p->correlation_id, p->sizes.correlation_id) : NULL;
}

static size_t write_id(const lago_rpc_t *rpc, uint64_t number, char *id, size_t size) {
    struct text t;
    text_init(&t, id, size);
    text_addf(&t, "%s%llu", rpc->options.correlation_prefix, (unsigned long long)number);
    return t.length;
}

static struct call *call_new(lago_rpc_t *rpc, const lago_rpc_call_t *args, uint64_t number) {
    const char *exchange = args->exchange ? args->exchange : "", *routing_key = args->routing_key ? args->routing_key : "";
    size_t exchange_size = strlen(exchange), routing_key_size = strlen(routing_key);
    struct call *call = mem_zero(rpc->conn->alloc, 1, sizeof(*call) + exchange_size + routing_key_size);
    if (!call) return NULL;
    list_init(&call->in_order);
    call->rpc = rpc;
    call->exchange_size = exchange_size;
    call->routing_key_size = routing_key_size;
    memcpy(call->route, exchange, exchange_size);
    memcpy(call->route + exchange_size, routing_key, routing_key_size);
    size_t id_size = write_id(rpc, number, call->id, sizeof(call->id));
    if (strmap_add(&rpc->calls, &call->node, call->id, id_size) == 0) return call;
    mem_free(rpc->conn->alloc, call);
    return NULL;
}

/* One whose request was refused has no place in the order yet. */
static void call_free(struct call *call) {
    lago_rpc_t *rpc = call->rpc;
    strmap_remove(&rpc->calls, &call->node);
    deadline_cancel(rpc->conn, &call->deadline);
    if (!list_empty(&call->in_order)) rpc->conn->owed_calls--;
    list_remove(&call->in_order);
    mem_free(rpc->conn->alloc, call);
}

/* User code: nothing of the call is left when it runs, and nothing of the handle is touched behind it. */
static void tell(struct call *call, const lago_rpc_result_t *result) {
    lago_rpc_t *rpc = call->rpc;
    lago_rpc_cb callback = call->callback;
    void *data = call->data;
    call_free(call);
    callback(rpc, result, data);
}

static void timed_out(lago_connection_t *conn, struct deadline *self) {
    struct call *call = DEADLINE_OWNER(self, struct call, deadline);
    lago_reason_t reason;
    reason_init(&reason, LAGO_ETIMEDOUT, LAGO_BY_NETWORK);
    reason.phase = connection_phase(conn);
    reason_detail(&reason, "no reply to request %s in time", call->id);
    tell(call, &(lago_rpc_result_t){ .reason = &reason });
}

static void drop_calls(lago_rpc_t *rpc) {
    for (struct call *call; (call = first_call(rpc)) != NULL;) call_free(call);
}

/* ---------------------------------------------------------------- replies */

static void on_reply(lago_channel_t *ch, const lago_message_t *message, void *data) {
    lago_rpc_t *rpc = data;
    struct call *call = call_of(rpc, message); /* a freed handle has none */
    (void)ch;
    if (call)
        tell(call, &(lago_rpc_result_t){ .reply = message });
    else
        rpc->dropped_count++;
}

static bool is_route(const struct call *call, lago_string_t exchange, lago_string_t routing_key) {
    return call->exchange_size == exchange.size && call->routing_key_size == routing_key.size &&
           memcmp(call->route, exchange.data, exchange.size) == 0 &&
           memcmp(call->route + exchange.size, routing_key.data, routing_key.size) == 0;
}

/* By the route as well: a channel may forward requests of others, whose ids look like ours. */
bool rpc_returned(lago_channel_t *ch, const lago_return_t *returned) {
    lago_reason_t reason;
    struct call *call = rpc_of(ch) ? call_of(rpc_of(ch), returned->message) : NULL;
    if (!call || !is_route(call, returned->message->exchange, returned->message->routing_key)) return false;
    reason_init(&reason, LAGO_EUNROUTABLE, LAGO_BY_BROKER);
    reason.phase = connection_phase(ch->conn);
    reason_reply(&reason, returned->reply_code, returned->reply_text.data, returned->reply_text.size,
                 (uint16_t)(METHOD_BASIC_PUBLISH >> 16), (uint16_t)METHOD_BASIC_PUBLISH);
    reason_detail(&reason, "no queue took request %s", call->id);
    reason_hint(&reason, "is the server running, and are exchange and routing key right?");
    tell(call, &(lago_rpc_result_t){ .reason = &reason, .not_served = true });
    return true;
}

/* ---------------------------------------------------------------- the consumer */

/* No reply can come any more, though the channel lives: the calls are told from the turn, one per step. */
static void lose(lago_rpc_t *rpc, const lago_reason_t *reason) {
    if (rpc->freed) return;
    rpc_enter(rpc, RPC_LOST);
    rpc->reason = *reason;
    log_reason(&rpc->conn->env, LAGO_LOG_WARNING, "no more replies", reason);
    list_append(&rpc->conn->lost_rpcs, &rpc->node);
    rpc->conn->errands = true;
    connection_wake(rpc->conn, true);
}

/* At an end the channel's other operations come first, then rpc_end_step. */
static void on_consuming(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t consumer_tag, void *data) {
    lago_rpc_t *rpc = data;
    (void)consumer_tag;
    if (!reason) rpc_enter(rpc, RPC_OPEN);
    if (reason && ch->state != LAGO_CHANNEL_CLOSED && ch->conn->stage < STAGE_ENDING) lose(rpc, reason);
    if (rpc->freed && !reason) ch->consuming->rpc = NULL; /* the basic.cancel that waited for this leaves now */
}

static void on_cancelled(lago_channel_t *ch, lago_string_t consumer_tag, void *data) {
    lago_reason_t reason;
    (void)consumer_tag;
    reason_init(&reason, LAGO_ECONSUMER, LAGO_BY_BROKER);
    reason.phase = connection_phase(ch->conn);
    reason_detail(&reason, "the consumer of replies was cancelled");
    lose(data, &reason);
}

static void rpc_release(lago_rpc_t *rpc) {
    const lago_allocator_t *alloc = rpc->conn->alloc;
    strmap_clear(&rpc->calls);
    mem_free(alloc, rpc);
}

/* free_data of the consumer: its record is gone, or will never call back. */
static void on_consumer_gone(void *data) {
    lago_rpc_t *rpc = data;
    rpc->consumer_lives = false;
    if (rpc->freed && rpc->ch->consuming->rpc == rpc) rpc->ch->consuming->rpc = NULL;
    if (rpc->reaped) rpc_release(rpc);
}

/* ---------------------------------------------------------------- the handle */

static int check_options(const lago_rpc_options_t *options) {
    if (!RESERVED_IS_ZERO(options)) return LAGO_EINVAL;
    if (options->reply_to && strlen(options->reply_to) > UINT8_MAX) return LAGO_ETOOLONG;
    return options->correlation_prefix && strlen(options->correlation_prefix) > PREFIX_SIZE_MAX ? LAGO_ETOOLONG : 0;
}

static lago_rpc_t *rpc_make(lago_channel_t *ch, const lago_rpc_options_t *options) {
    const char *reply_to = options->reply_to && options->reply_to[0] ? options->reply_to : LAGO_DIRECT_REPLY_TO;
    const char *prefix = options->correlation_prefix ? options->correlation_prefix : "";
    size_t reply_to_size = strlen(reply_to) + 1, prefix_size = strlen(prefix) + 1;
    lago_rpc_t *rpc = mem_zero(ch->conn->alloc, 1, sizeof(*rpc) + reply_to_size + prefix_size);
    if (!rpc) return NULL;
    char *strings = (char *)(rpc + 1);
    list_init(&rpc->node);
    rpc->conn = ch->conn;
    rpc->ch = ch;
    rpc->options = *options;
    rpc->options.reply_to = memcpy(strings, reply_to, reply_to_size);
    rpc->options.correlation_prefix = memcpy(strings + reply_to_size, prefix, prefix_size);
    strmap_init(&rpc->calls, ch->conn->alloc);
    list_init(&rpc->in_order);
    return rpc;
}

/* RabbitMQ answers 406 to a reply_to of the pseudo-queue before it is consumed from, with no_ack, on the same channel. */
static int start_consuming(lago_rpc_t *rpc) {
    lago_basic_consume_t args = { .queue = rpc->options.reply_to,
                                  .auto_ack = true,
                                  .on_message = on_reply,
                                  .on_cancel = on_cancelled,
                                  .data = rpc,
                                  .free_data = on_consumer_gone };
    int rc = lago_basic_consume(rpc->ch, &args, on_consuming, rpc);
    if (rc < 0) return rc;
    struct text tag;
    text_init(&tag, rpc->consumer_tag, sizeof(rpc->consumer_tag));
    text_add(&tag, lago_channel_last_consumer_tag(rpc->ch).data);
    rpc->consumer_lives = true;
    return 0;
}

int lago_rpc_new(lago_channel_t *ch, const lago_rpc_options_t *options, lago_rpc_t **result) {
    static const lago_rpc_options_t defaults = { 0 };
    if (result) *result = NULL;
    int rc = channel_usable(ch);
    if (rc == 0 && !result) rc = LAGO_EINVAL;
    if (rc == 0) rc = check_options(options ? options : &defaults);
    if (rc == 0 && rpc_of(ch)) rc = LAGO_EEXIST;
    if (rc < 0) return channel_result(ch, rc);
    lago_rpc_t *rpc = rpc_make(ch, options ? options : &defaults);
    if (!rpc) return channel_result(ch, LAGO_ENOMEM);
    rc = start_consuming(rpc);
    if (rc < 0) {
        rpc_release(rpc);
        return rc;
    }
    ch->consuming->rpc = rpc;
    *result = rpc;
    return 0;
}

/* A consumer that was not confirmed yet is cancelled once it is: until then the channel keeps the place taken. */
static void cancel_consumer(lago_rpc_t *rpc) {
    if (rpc->state == RPC_LOST || !rpc->consumer_lives || channel_usable(rpc->ch) < 0) return;
    int rc = lago_basic_cancel(rpc->ch, &(lago_basic_cancel_t){ .consumer_tag = rpc->consumer_tag, .no_wait = true }, NULL, NULL);
    if (rc < 0) log_line(&rpc->conn->env, LAGO_LOG_WARNING, "consumer of replies not cancelled: %s", lago_strerror(rc));
}

void lago_rpc_free(lago_rpc_t *rpc) {
    if (!rpc || rpc->freed) return;
    lago_connection_t *conn = rpc->conn;
    connection_touch(conn);
    rpc->freed = true;
    drop_calls(rpc);
    cancel_consumer(rpc);
    if (rpc->state != RPC_STARTING || !rpc->consumer_lives) rpc->ch->consuming->rpc = NULL;
    list_remove(&rpc->node);
    list_append(&conn->freed_rpcs, &rpc->node);
    connection_wake(conn, conn->stage == STAGE_CLOSING);
    connection_reap(conn);
}

static void call_free_data(lago_rpc_t *rpc) {
    void (*free_data)(void *data) = rpc->options.free_data;
    rpc->options.free_data = NULL;
    if (free_data) free_data(rpc->options.data);
}

void rpc_reap(lago_connection_t *conn) {
    for (struct list *node; (node = list_first(&conn->freed_rpcs)) != NULL;) {
        lago_rpc_t *rpc = LIST_ENTRY(node, lago_rpc_t, node);
        list_remove(node);
        call_free_data(rpc);
        rpc->reaped = true;
        if (!rpc->consumer_lives) rpc_release(rpc);
    }
}

void rpc_forget_calls(lago_channel_t *ch) {
    if (rpc_of(ch)) drop_calls(rpc_of(ch));
}

void rpc_destroy(lago_channel_t *ch) {
    lago_rpc_t *rpc = rpc_of(ch);
    if (!rpc) return; /* a freed one has left its place by now: its consumer is gone */
    ch->consuming->rpc = NULL;
    rpc->freed = true; /* free_data may free it once more */
    drop_calls(rpc);
    list_remove(&rpc->node);
    call_free_data(rpc);
    rpc_release(rpc);
}

/* ---------------------------------------------------------------- ends */

bool rpc_end_step(lago_channel_t *ch) {
    lago_rpc_t *rpc = rpc_of(ch);
    struct call *call = rpc ? first_call(rpc) : NULL;
    if (call) {
        lago_rpc_result_t result = { .reason = lago_channel_reason(ch), .not_served = call->published > ch->publishes_sent };
        tell(call, &result);
        return true;
    }
    if (rpc) call_free_data(rpc);
    return false;
}

bool rpc_lost_step(lago_connection_t *conn) {
    struct list *node = list_first(&conn->lost_rpcs);
    if (!node) return false;
    lago_rpc_t *rpc = LIST_ENTRY(node, lago_rpc_t, node);
    struct call *call = first_call(rpc);
    watch_calling(conn, "a call whose replies are lost", rpc->ch->number);
    if (call)
        tell(call, &(lago_rpc_result_t){ .reason = &rpc->reason });
    else
        list_remove(node);
    return true;
}

/* ---------------------------------------------------------------- calling */

static int check_call(const lago_rpc_t *rpc, const lago_rpc_call_t *args, lago_rpc_cb callback) {
    int rc = channel_usable(rpc->ch);
    if (rc < 0) return rc;
    if (rpc->freed || !args || !callback || !RESERVED_IS_ZERO(args)) return LAGO_EINVAL;
    const lago_properties_t *p = args->properties;
    bool ours = p && (p->correlation_id || p->reply_to || (p->present & (LAGO_PROPERTY_CORRELATION_ID | LAGO_PROPERTY_REPLY_TO)));
    if (ours) return LAGO_EINVAL;
    return rpc->state == RPC_LOST ? LAGO_ECLOSED : 0;
}

static int64_t publish_request(const lago_rpc_t *rpc, const lago_rpc_call_t *args, const struct call *call) {
    lago_properties_t properties = args->properties ? *args->properties : (lago_properties_t){ 0 };
    properties.correlation_id = call->id;
    properties.sizes.correlation_id = 0;
    properties.reply_to = rpc->options.reply_to;
    properties.sizes.reply_to = 0;
    return lago_basic_publish(rpc->ch,
                              &(lago_basic_publish_t){ .exchange = args->exchange,
                                                       .routing_key = args->routing_key,
                                                       .mandatory = true,
                                                       .properties = &properties,
                                                       .body = args->body,
                                                       .release_body = args->release_body,
                                                       .release_data = args->release_data },
                              NULL, NULL);
}

static uint32_t timeout_of(const lago_rpc_t *rpc, const lago_rpc_call_t *args) {
    if (args->timeout_ms) return args->timeout_ms;
    return rpc->options.timeout_ms ? rpc->options.timeout_ms : rpc->conn->p->operation_timeout_ms;
}

int64_t lago_rpc_call(lago_rpc_t *rpc, const lago_rpc_call_t *args, lago_rpc_cb callback, void *data) {
    if (!rpc) return LAGO_EINVAL;
    lago_connection_t *conn = rpc->conn;
    int rc = check_call(rpc, args, callback);
    if (rc < 0) return channel_result(rpc->ch, rc);
    struct call *call = timers_reserve(&conn->timers) == 0 ? call_new(rpc, args, conn->calls_made + 1) : NULL;
    if (!call) return channel_result(rpc->ch, LAGO_ENOMEM);
    int64_t published = publish_request(rpc, args, call);
    if (published < 0) {
        call_free(call);
        return published;
    }
    call->published = rpc->ch->published;
    call->callback = callback;
    call->data = data;
    list_append(&rpc->in_order, &call->in_order);
    conn->owed_calls++;
    (void)deadline_set(conn, &call->deadline, timeout_of(rpc, args), timed_out); /* room was reserved */
    connection_wake(conn, false);
    return (int64_t)++conn->calls_made;
}

int lago_rpc_forget(lago_rpc_t *rpc, int64_t number) {
    char id[PREFIX_SIZE_MAX + NUMBER_SIZE_MAX + 1];
    if (!rpc || number <= 0) return LAGO_EINVAL;
    size_t size = write_id(rpc, (uint64_t)number, id, sizeof(id));
    struct call *call = find_call(rpc, id, size);
    if (!call) return LAGO_ESTALE;
    call_free(call);
    connection_wake(rpc->conn, false);
    return 0;
}

/* ---------------------------------------------------------------- asking */

lago_channel_t *lago_rpc_channel(const lago_rpc_t *rpc) { return rpc ? rpc->ch : NULL; }

void *lago_rpc_data(const lago_rpc_t *rpc) { return rpc ? rpc->options.data : NULL; }

size_t lago_rpc_pending_count(const lago_rpc_t *rpc) { return rpc ? rpc->calls.count : 0; }

uint64_t lago_rpc_dropped_count(const lago_rpc_t *rpc) { return rpc ? rpc->dropped_count : 0; }

const lago_reason_t *lago_rpc_reason(const lago_rpc_t *rpc) {
    if (!rpc) return NULL;
    return rpc->state == RPC_LOST ? &rpc->reason : lago_channel_reason(rpc->ch);
}

/* ---------------------------------------------------------------- the server's side */

int64_t lago_rpc_reply(lago_channel_t *ch, const lago_message_t *request, const lago_basic_publish_t *reply,
                       lago_publish_cb callback, void *data) {
    lago_basic_publish_t args = { 0 };
    lago_properties_t properties = { 0 };
    if (!ch || !request) return channel_result(ch, LAGO_EINVAL);
    if (reply) args = *reply;
    if (args.properties) properties = *args.properties;
    bool addressed =
        args.exchange || args.routing_key || properties.correlation_id || (properties.present & LAGO_PROPERTY_CORRELATION_ID);
    const lago_properties_t *asked = request->properties;
    if (addressed) return channel_result(ch, LAGO_EINVAL);
    if (!asked->reply_to || asked->sizes.reply_to == 0) return channel_result(ch, LAGO_ENOREPLY);
    if (memchr(asked->reply_to, '\0', asked->sizes.reply_to))
        return channel_result(ch, LAGO_EINVAL); /* a name that no queue has */
    properties.correlation_id = asked->correlation_id;
    properties.sizes.correlation_id = asked->sizes.correlation_id;
    args.routing_key = asked->reply_to;
    args.properties = &properties;
    return lago_basic_publish(ch, &args, callback, data);
}
