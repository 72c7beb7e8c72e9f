/* Publishing (1.8.3.7), its confirms and returns, lent bodies, and the high-water rule. */
#include "alloc.h"
#include "channel.h"
#include "message.h"
#include "reason.h"

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
    if (conn->options.on_drain) conn->options.on_drain(conn, conn->options.data);
    return true;
}

static int check(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback) {
    int rc = channel_usable(ch);
    if (rc < 0) return rc;
    if (!args || (args->body.size && !args->body.data)) return LAGO_EINVAL;
    for (size_t i = 0; i < sizeof(args->reserved) / sizeof(args->reserved[0]); i++)
        if (args->reserved[i]) return LAGO_EINVAL;
    if (callback && !ch->confirms.selected) return LAGO_ENOCONFIRM;
    return too_much_waits(ch->conn) ? LAGO_EAGAIN : 0;
}

static int send_publish(lago_channel_t *ch, const lago_basic_publish_t *args) {
    struct session_body body;
    struct release *release;
    struct basic_publish m = { .exchange = { args->exchange ? args->exchange : "", LAGO_NUL_TERMINATED },
                               .routing_key = { args->routing_key ? args->routing_key : "", LAGO_NUL_TERMINATED },
                               .mandatory = args->mandatory,
                               .immediate = args->immediate };
    int rc = take_body(ch->conn, args, &body, &release);
    if (rc < 0) return rc;
    rc = session_publish(&ch->conn->session, ch->number, &m, args->properties, &body);
    if (rc == 0 && release) release->release_body = args->release_body;
    block_unref(body.block);
    return rc;
}

int64_t lago_basic_publish(lago_channel_t *ch, const lago_basic_publish_t *args, lago_publish_cb callback, void *data) {
    int rc = check(ch, args, callback);
    if (rc < 0) return channel_result(ch, rc);
    struct confirm_slot *slot = NULL;
    connection_touch(ch->conn);
    if (ch->confirms.selected) {
        slot = confirms_prepare(&ch->confirms, args->mandatory, args->exchange ? args->exchange : "",
                                args->routing_key ? args->routing_key : "");
        if (!slot) return channel_result(ch, LAGO_ENOMEM);
        slot->callback = callback;
        slot->data = data;
        slot->body_size = args->body.size;
    }
    rc = send_publish(ch, args);
    if (rc < 0) {
        if (slot) confirms_abandon(&ch->confirms);
        return channel_result(ch, rc);
    }
    ch->published++;
    ch->conn->messages_sent++;
    ch->conn->owed_publishes += callback != NULL;
    connection_wake(ch->conn, false);
    return slot ? (int64_t)confirms_commit(&ch->confirms) : 0;
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
    if (ch->options.on_return)
        ch->options.on_return(ch, &returned, ch->options.data);
    else if (!matched)
        log_line(&ch->conn->env, LAGO_LOG_WARNING, "channel %u: a message came back unroutable, and nobody handles on_return",
                 ch->number);
}
