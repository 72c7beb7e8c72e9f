/* Publishing (1.8.3.7), its confirms and returns, lent bodies, and the high-water rule. */
#include "publish.h"

#include "alloc.h"
#include "channel.h"
#include "message.h"
#include "operation.h"
#include "probes.h"
#include "publisher.h"
#include "reason.h"
#include "rpc.h"

const char *lago_publish_outcome_name(lago_publish_outcome_t outcome) {
    switch (outcome) {
    case LAGO_PUBLISH_CONFIRMED: return "confirmed";
    case LAGO_PUBLISH_NACKED: return "nacked";
    case LAGO_PUBLISH_RETURNED: return "returned";
    case LAGO_PUBLISH_NOT_SENT: return "not sent";
    case LAGO_PUBLISH_UNKNOWN: return "unknown";
    }
    return "no outcome";
}

/* ---------------------------------------------------------------- lent bodies */

/* A lent body's last slice is gone; its owner is told from the turn, like everybody, not from inside a write. */
void publish_released(struct lender *lender) {
    lago_connection_t *conn = LIST_ENTRY(lender, lago_connection_t, lender);
    conn->errands = true;
    connection_wake(conn, true);
}

bool release_step(lago_connection_t *conn) {
    struct due_release due;
    if (!lender_next(&conn->lender, &due)) return false;
    watch_calling(conn, "release_body", 0);
    due.release(due.data);
    return true;
}

/* ---------------------------------------------------------------- publish */

bool drain_step(lago_connection_t *conn) {
    if (!conn->drain_owed || !publish_has_room(conn) || !publish_is_possible(conn)) return false;
    bool others_first = publishers_are_first(conn) && !conn->drain_passed; /* in turn, so that nobody starves */
    conn->drain_passed = others_first;
    publishers_look(conn);
    if (others_first) return true;
    conn->drain_owed = false;
    watch_calling(conn, "on_drain", 0);
    if (conn->options.on_drain) conn->options.on_drain(conn, conn->options.data);
    return true;
}

static int check_channel(lago_channel_t *ch, lago_publish_cb callback) {
    if (callback && !ch->confirming) return LAGO_ENOCONFIRM;
    return publish_waits(ch->conn) ? LAGO_EAGAIN : 0;
}

static int check(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback) {
    int rc = channel_usable(ch);
    if (rc < 0) return rc;
    if (!args || (args->body.size && !args->body.data)) return LAGO_EINVAL;
    for (size_t i = 0; i < sizeof(args->reserved) / sizeof(args->reserved[0]); i++)
        if (args->reserved[i]) return LAGO_EINVAL;
    return check_channel(ch, callback);
}

int64_t publish_submit(lago_channel_t *ch, const struct outgoing *out) {
    struct session *session = &ch->conn->session;
    struct confirm_slot *slot;
    int rc = publish_begin(ch, &out->method, &out->body.bytes, &slot);
    if (rc < 0) return rc;
    rc = out->route ? session_publish_route(session, out->route, out->body.bytes, out->body.block)
                    : session_publish(session, ch->number, &out->method, out->properties, &out->body);
    return publish_end(ch, rc, slot, out->body.bytes.size, &out->receipt);
}

int64_t publish_submit_body(lago_channel_t *ch, struct outgoing *out, const struct lent_body *body) {
    lago_connection_t *conn = ch->conn;
    out->body = (struct session_body){ .bytes = body->bytes };
    if (!body->release_body) return publish_submit(ch, out);
    struct block *block =
        block_lend(&conn->lender, conn->alloc, body->bytes.data, body->bytes.size, body->release_body, body->data);
    if (!block) return LAGO_ENOMEM;
    out->body.block = block;
    int64_t sent = publish_submit(ch, out);
    if (sent < 0) block_keep_quiet(block); /* nothing was taken */
    block_unref(block);
    return sent;
}

static struct basic_publish method_of(const lago_basic_publish_t *args) {
    return (struct basic_publish){ .exchange = { args->exchange, LAGO_NUL_TERMINATED },
                                   .routing_key = { args->routing_key, LAGO_NUL_TERMINATED },
                                   .mandatory = args->mandatory,
                                   .immediate = args->immediate };
}

/* Its body stays where it is. Apart, so that the usual way does not pay for it. */
__attribute__((noinline)) static int64_t publish_lent(lago_channel_t *ch, const lago_basic_publish_t *args,
                                                      lago_publish_cb callback, void *data) {
    struct outgoing out = { .method = method_of(args),
                            .properties = args->properties,
                            .receipt = { .owed = callback != NULL, .callback = callback, .data = data } };
    struct lent_body body = { args->body, args->release_body, args->release_data };
    return publish_submit_body(ch, &out, &body);
}

static int64_t publish_copy(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback, void *data) {
    struct basic_publish method = method_of(args);
    struct session_body body = { .bytes = args->body };
    struct confirm_slot *slot;
    int rc = publish_begin(ch, &method, &args->body, &slot);
    if (rc < 0) return rc;
    rc = session_publish(&ch->conn->session, ch->number, &method, args->properties, &body);
    struct receipt receipt = { .owed = callback != NULL, .callback = callback, .data = data };
    return publish_end(ch, rc, slot, args->body.size, &receipt);
}

int64_t lago_basic_publish(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback, void *data) {
    int rc = check(ch, args, callback);
    if (rc < 0) return channel_result(ch, rc);
    connection_touch_once(ch->conn);
    int64_t sent = args->release_body ? publish_lent(ch, args, callback, data) : publish_copy(ch, args, callback, data);
    if (sent < 0) (void)channel_result(ch, (int)sent);
    return sent;
}

/* ---------------------------------------------------------------- forwarding */

/* RabbitMQ closes the channel (406) for a user_id that is not the name of the connection's user. */
static lago_properties_t without_user_id(const lago_properties_t *properties) {
    lago_properties_t p = *properties;
    p.user_id = NULL;
    p.present &= (uint16_t)~LAGO_PROPERTY_USER_ID;
    return p;
}

int64_t lago_message_forward(lago_channel_t *ch, const lago_message_t *message, const lago_forward_t *args,
                             lago_publish_cb callback, void *data) {
    static const lago_forward_t defaults = { 0 };
    if (!args) args = &defaults;
    int rc = channel_usable(ch);
    if (rc == 0 && (!message || !RESERVED_IS_ZERO(args))) rc = LAGO_EINVAL;
    if (rc == 0) rc = check_channel(ch, callback);
    if (rc < 0) return channel_result(ch, rc);
    lago_properties_t properties = args->keep_user_id ? *message->properties : without_user_id(message->properties);
    struct outgoing out = { .properties = &properties,
                            .receipt = { .owed = callback != NULL, .callback = callback, .data = data } };
    out.method.exchange = args->exchange ? (lago_string_t){ args->exchange, LAGO_NUL_TERMINATED } : message->exchange;
    out.method.routing_key = args->routing_key ? (lago_string_t){ args->routing_key, LAGO_NUL_TERMINATED } : message->routing_key;
    out.method.mandatory = args->mandatory;
    /* a big body is counted: it stays where it is until it is written, and until its other holders have let go */
    out.body =
        (struct session_body){ .bytes = message->body, .block = ((const struct message *)(const void *)message)->body_block };
    connection_touch(ch->conn);
    int64_t sent = publish_submit(ch, &out);
    if (sent < 0) (void)channel_result(ch, (int)sent);
    return sent;
}

/* ---------------------------------------------------------------- basic.return */

void publish_returned(lago_channel_t *ch, const struct session_event *event) {
    const struct basic_return *m = &event->args->basic_return;
    struct message message;
    message_borrow(&message, ch->conn->alloc, event);
    message.fields.exchange = m->exchange;
    message.fields.routing_key = m->routing_key;
    lago_return_t returned = { .reply_code = m->reply_code, .reply_text = m->reply_text, .message = &message.fields };
    size_t passed = 0;
    bool matched =
        ch->confirming && confirms_returned(&ch->confirming->confirms, m->exchange, m->routing_key, event->body.size,
                                            confirms_mark(event->body), m->reply_code ? m->reply_code : REPLY_NO_ROUTE, &passed);
    if (!session_made_to_work(&ch->conn->session, "returns of what is not awaited", passed)) return;
    if (rpc_returned(ch, &returned)) return;
    if (ch->options.on_return)
        ch->options.on_return(ch, &returned, ch->options.data);
    else if (!matched)
        log_line(&ch->conn->env, LAGO_LOG_WARNING, "channel %u: a message came back unroutable, and nobody handles on_return",
                 ch->number);
}
