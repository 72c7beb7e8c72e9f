/* Publishing (1.8.3.7), its confirms and returns, lent bodies, and the high-water rule. */
#include "alloc.h"
#include "channel.h"
#include "message.h"
#include "operation.h"
#include "probes.h"
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
struct release {
    struct list node;
    lago_connection_t *conn;
    void (*release_body)(void *data); /* NULL: the publish failed, nothing was taken */
    void *data;
};

static void body_done(void *data) {
    struct release *release = data;
    lago_connection_t *conn = release->conn;
    if (!release->release_body) {
        mem_free(conn->alloc, release);
        return;
    }
    list_append(&conn->releases, &release->node);
    connection_wake(conn, true);
}

bool release_step(lago_connection_t *conn) {
    struct list *node = list_first(&conn->releases);
    if (!node) return false;
    struct release *release = LIST_ENTRY(node, struct release, node);
    struct release told = *release;
    list_remove(node);
    mem_free(conn->alloc, release);
    watch_calling(conn, "release_body", 0);
    told.release_body(told.data);
    return true;
}

/* The body as the session wants it. On success `*release` is set for a lent one. 0 or LAGO_ENOMEM. */
static int take_body(lago_connection_t *conn, const lago_basic_publish_t *args, struct session_body *body,
                     struct release **release) {
    *body = (struct session_body){ .bytes = args->body };
    *release = NULL;
    if (!args->release_body) return 0;
    struct release *r = mem_zero(conn->alloc, 1, sizeof(*r));
    if (!r) return LAGO_ENOMEM;
    list_init(&r->node);
    r->conn = conn;
    r->data = args->release_data;
    body->block = block_lend(conn->alloc, args->body.data, args->body.size, body_done, r);
    if (!body->block) {
        mem_free(conn->alloc, r);
        return LAGO_ENOMEM;
    }
    *release = r;
    return 0;
}

/* ---------------------------------------------------------------- publish */

/* Above the mark a publish is refused, and on_drain is promised. */
static bool too_much_waits(lago_connection_t *conn) {
    if (session_output_size(&conn->session) < conn->p->high_water) return false;
    conn->drain_owed = true;
    return true;
}

bool drain_step(lago_connection_t *conn) {
    bool due = conn->drain_owed && conn->stage <= STAGE_OPEN && session_output_size(&conn->session) <= conn->p->low_water;
    if (!due) return false;
    conn->drain_owed = false;
    watch_calling(conn, "on_drain", 0);
    if (conn->options.on_drain) conn->options.on_drain(conn, conn->options.data);
    return true;
}

static int check_channel(lago_channel_t *ch, lago_publish_cb callback) {
    if (callback && !ch->confirms.selected) return LAGO_ENOCONFIRM;
    return too_much_waits(ch->conn) ? LAGO_EAGAIN : 0;
}

static int check(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback) {
    int rc = channel_usable(ch);
    if (rc < 0) return rc;
    if (!args || (args->body.size && !args->body.data)) return LAGO_EINVAL;
    for (size_t i = 0; i < sizeof(args->reserved) / sizeof(args->reserved[0]); i++)
        if (args->reserved[i]) return LAGO_EINVAL;
    return check_channel(ch, callback);
}

/* What goes out; names with their size, for a forwarded one may have a NUL in it. */
struct outgoing {
    struct basic_publish method;
    const lago_properties_t *properties;
    struct session_body body;
};

static int64_t submit(lago_channel_t *ch, const struct outgoing *out, lago_publish_cb callback, void *data) {
    struct confirm_slot *slot = NULL;
    if (ch->confirms.selected) {
        slot = confirms_prepare(&ch->confirms, out->method.mandatory, out->method.exchange, out->method.routing_key);
        if (!slot) return LAGO_ENOMEM;
        slot->callback = callback;
        slot->data = data;
        slot->body_size = out->body.bytes.size;
    }
    int rc = session_publish(&ch->conn->session, ch->number, &out->method, out->properties, &out->body);
    if (rc < 0) {
        if (slot) confirms_abandon(&ch->confirms);
        return rc;
    }
    ch->published++;
    ch->conn->counters.messages_sent++;
    ch->conn->owed_publishes += callback != NULL;
    connection_wake(ch->conn, false);
    PROBE4(publish, ch->conn, ch->number, slot ? ch->confirms.next : 0, out->body.bytes.size);
    if (!slot) return 0;
    timeline_note(&ch->published_at, ch->confirms.next, ch->conn->clock_us);
    return (int64_t)confirms_commit(&ch->confirms);
}

int64_t lago_basic_publish(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback, void *data) {
    int rc = check(ch, args, callback);
    if (rc < 0) return channel_result(ch, rc);
    struct release *release;
    struct outgoing out = { .properties = args->properties };
    out.method.exchange = (lago_string_t){ args->exchange ? args->exchange : "", LAGO_NUL_TERMINATED };
    out.method.routing_key = (lago_string_t){ args->routing_key ? args->routing_key : "", LAGO_NUL_TERMINATED };
    out.method.mandatory = args->mandatory;
    out.method.immediate = args->immediate;
    connection_touch(ch->conn);
    rc = take_body(ch->conn, args, &out.body, &release);
    if (rc < 0) return channel_result(ch, rc);
    int64_t sent = submit(ch, &out, callback, data);
    if (sent >= 0 && release) release->release_body = args->release_body;
    block_unref(out.body.block);
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
    struct outgoing out = { .properties = &properties };
    out.method.exchange = args->exchange ? (lago_string_t){ args->exchange, LAGO_NUL_TERMINATED } : message->exchange;
    out.method.routing_key = args->routing_key ? (lago_string_t){ args->routing_key, LAGO_NUL_TERMINATED } : message->routing_key;
    out.method.mandatory = args->mandatory;
    /* a big body is counted: it stays where it is until it is written, and until its other holders have let go */
    out.body =
        (struct session_body){ .bytes = message->body, .block = ((const struct message *)(const void *)message)->body_block };
    connection_touch(ch->conn);
    int64_t sent = submit(ch, &out, callback, data);
    if (sent < 0) (void)channel_result(ch, (int)sent);
    return sent;
}

/* ---------------------------------------------------------------- basic.return */

void publish_returned(lago_channel_t *ch, const struct session_event *event) {
    const struct basic_return *m = &event->args->basic_return;
    struct message message = message_of(ch->conn->alloc, event);
    message.fields.exchange = m->exchange;
    message.fields.routing_key = m->routing_key;
    lago_return_t returned = { .reply_code = m->reply_code, .reply_text = m->reply_text, .message = &message.fields };
    bool matched = ch->confirms.selected && confirms_returned(&ch->confirms, m->exchange, m->routing_key, event->body.size,
                                                              m->reply_code ? m->reply_code : REPLY_NO_ROUTE);
    if (rpc_returned(ch, &returned)) return;
    if (ch->options.on_return)
        ch->options.on_return(ch, &returned, ch->options.data);
    else if (!matched)
        log_line(&ch->conn->env, LAGO_LOG_WARNING, "channel %u: a message came back unroutable, and nobody handles on_return",
                 ch->number);
}
