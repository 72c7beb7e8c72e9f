/*
 * The way of every publish, plain or prepared, once it was checked: a place in the ring of confirms, the session, the accounts.
 * In place, because it comes with every message (profile: calls and a struct between them took 70 instructions).
 */
#ifndef LAGO_CLIENT_PUBLISH_H
#define LAGO_CLIENT_PUBLISH_H

#include "channel.h"
#include "probes.h"
#include "publisher.h"

/* A publish that is too much is refused (LAGO_EAGAIN), and on_drain is promised: here. */
static inline bool publish_waits(lago_connection_t *conn) {
    if (session_output_size(&conn->session) < conn->output_limit) return false;
    conn->drain_owed = conn->errands = true;
    return true;
}

/* Whether who was refused may go on. */
static inline bool publish_has_room(const lago_connection_t *conn) {
    size_t size = session_output_size(&conn->session);
    return size <= conn->p->low_water && size < conn->output_limit; /* the marks may be one */
}

/* Whether the connection takes publishes at all, now or when there is room. */
static inline bool publish_is_possible(const lago_connection_t *conn) {
    return conn->stage <= STAGE_OPEN && !session_is_over(&conn->session);
}

/* A place for the outcome, on a confirming channel; else NULL. 0 or LAGO_ENOMEM. */
static inline int publish_begin(lago_channel_t *ch, const struct basic_publish *method, const lago_bytes_t *body,
                                struct confirm_slot **slot) {
    *slot = NULL;
    if (!ch->confirming) return 0;
    *slot = confirms_reserve(&ch->confirming->confirms);
    if (!*slot) return LAGO_ENOMEM;
    bool noted =
        !method->mandatory || confirms_note_route(&ch->confirming->confirms, *slot, method->exchange, method->routing_key, *body);
    return noted ? 0 : LAGO_ENOMEM;
}

/* Who is told the outcome of a message; zero: nobody. */
struct receipt {
    lago_publisher_t *publisher; /* whose it is, or NULL */
    bool owed;
    lago_publish_cb callback;
    void *data;
};

static inline int64_t publish_number(lago_channel_t *ch, struct confirm_slot *slot, size_t body_size,
                                     const struct receipt *receipt) {
    lago_connection_t *conn = ch->conn;
    slot->callback = receipt->callback;
    slot->data = receipt->data;
    slot->publisher = receipt->publisher;
    slot->body_size = body_size;
    slot->owed = receipt->owed;
    conn->owed_publishes += receipt->owed;
    if (receipt->publisher) receipt->publisher->unconfirmed++;
    timeline_note(&ch->confirming->published_at, ch->confirming->confirms.next, conn->clock_us);
    uint64_t number = confirms_commit(&ch->confirming->confirms);
    PROBE4(publish, conn, ch->number, number, body_size);
    return (int64_t)number;
}

/* The session said `rc`. @return that if it is an error; else as lago_basic_publish. */
static inline int64_t publish_end(lago_channel_t *ch, int rc, struct confirm_slot *slot, size_t body_size,
                                  const struct receipt *receipt) {
    lago_connection_t *conn = ch->conn;
    if (rc < 0) {
        if (slot) confirms_abandon(&ch->confirming->confirms);
        return rc;
    }
    ch->published++;
    conn->counters.messages_sent++;
    if (!conn->woken) connection_wake(conn, false);
    if (conn->session.out.size >= conn->push_at) link_push(conn);
    if (slot) return publish_number(ch, slot, body_size, receipt);
    PROBE4(publish, conn, ch->number, 0, body_size);
    return 0;
}

/* What is encoded on its way; names with their size, for a forwarded one may have a NUL in it. */
struct outgoing {
    const struct session_route *route; /* or frames that are ready */
    struct basic_publish method;
    const lago_properties_t *properties;
    struct session_body body;
    struct receipt receipt;
};

/* Hand a message to the session and number it, all or nothing. @return as lago_basic_publish. */
int64_t publish_submit(lago_channel_t *ch, const struct outgoing *out);

/*
 * The same with a body as the caller gave it: copied, or lent with `release_body`, which is called once if this succeeds.
 * `out->body` is set here.
 */
struct lent_body {
    lago_bytes_t bytes;
    void (*release_body)(void *data); /* NULL: copy */
    void *data;
};
int64_t publish_submit_body(lago_channel_t *ch, struct outgoing *out, const struct lent_body *body);

#endif
