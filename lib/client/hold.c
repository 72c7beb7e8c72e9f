/*
 * Consumers that are paused. AMQP cannot pause one (RabbitMQ refuses channel.flow), so their messages are held here, in order, up
 * to a bound; beyond it nothing more of the connection is read. Must not know what a message is for.
 */
#include "consumer.h"
#include "message.h"
#include "reason.h"
#include <string.h>

/* As much as a read buffer at its largest: what came with one read can be held, and the connection's others go on. */
#define HELD_SIZE_MAX ((size_t)LAGO_HELD_SIZE_MAX)

static void count_held(lago_connection_t *conn, size_t more, size_t less) {
    conn->held_size = conn->held_size + more - less;
    connection_halt(conn, HALT_HELD, conn->held_size > HELD_SIZE_MAX);
}

/* A body that comes in pieces cannot be held: its next piece stays where it is. */
static void stall(struct consumer *consumer, bool on) {
    lago_connection_t *conn = consumer->ch->conn;
    if (consumer->stalls == on) return;
    consumer->stalls = on;
    conn->stalled_count += on ? 1u : -1u;
    connection_halt(conn, HALT_BODY, conn->stalled_count > 0);
}

/* Its turn has come, or is over. */
static void queue_resumed(struct consumer *consumer, bool on) {
    lago_connection_t *conn = consumer->ch->conn;
    list_remove(&consumer->in_resumed);
    if (on) list_append(&conn->resumed, &consumer->in_resumed);
    connection_halt(conn, HALT_RESUMED, !list_empty(&conn->resumed));
}

void consumer_route(struct consumer *consumer) {
    bool holds = consumer->paused || !list_empty(&consumer->held);
    consumer->on_message = holds ? hold_message : consumer->user.on_body ? body_whole : consumer->user.on_message;
    consumer->data = consumer->on_message == consumer->user.on_message ? consumer->user.data : consumer;
}

/* ---------------------------------------------------------------- holding */

void hold_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct consumer *consumer = data;
    lago_message_t *kept;
    if (lago_message_keep(message, &kept) < 0) {
        lago_reason_t reason;
        reason_init(&reason, LAGO_ENOMEM, LAGO_BY_CLIENT);
        reason_detail(&reason, "no memory to hold a message of a paused consumer");
        session_abandon(&ch->conn->session, &reason);
        return;
    }
    struct message *held = (struct message *)(void *)kept;
    list_init(&held->held);
    list_append(&consumer->held, &held->held);
    ch->consuming->held_count++;
    count_held(ch->conn, message_cost(held), 0);
}

/* The last that is held: what follows of it is not read. */
void hold_begin(struct consumer *consumer, const lago_message_t *message) {
    size_t before = consumer->ch->consuming->held_count;
    hold_message(consumer->ch, message, consumer);
    bool held = consumer->ch->consuming->held_count > before;
    if (!held) consumer->in_body = false; /* there was no memory: the link ends, and it never began */
    stall(consumer, held);
}

static struct message *first_held(const struct consumer *consumer) {
    struct list *node = list_first(&consumer->held);
    return node ? LIST_ENTRY(node, struct message, held) : NULL;
}

/* The first one is nobody's any more. @return whether it is the beginning of a body: behind that nothing is held. */
static bool let_go(struct consumer *consumer, struct message *held) {
    list_remove(&held->held);
    consumer->ch->consuming->held_count--;
    count_held(consumer->ch->conn, 0, message_cost(held));
    return consumer->in_body && list_empty(&consumer->held);
}

static void drop(struct consumer *consumer, bool give_back) {
    lago_connection_t *conn = consumer->ch->conn;
    if (conn->halted) conn->turn_wanted = true; /* what waits in the input may be told now */
    for (struct message *held; (held = first_held(consumer)) != NULL;) {
        if (let_go(consumer, held)) consumer->in_body = false; /* never begun, so it has no end */
        if (give_back) delivery_give_back(consumer->ch, held->fields.delivery_tag, consumer);
        lago_message_release(&held->fields);
    }
    if (!consumer->in_body) stall(consumer, false);
    queue_resumed(consumer, false);
}

void hold_drop(struct consumer *consumer, bool give_back) {
    drop(consumer, give_back);
    consumer->paused = false;
    stall(consumer, false);
    consumer_route(consumer);
}

/* With auto_ack the broker has forgotten them long ago. */
void hold_recovered(lago_channel_t *ch) {
    for (struct strmap_node *node = NULL; (node = strmap_next(&ch->consuming->consumers, node)) != NULL;) {
        struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
        if (!consumer->auto_ack && !list_empty(&consumer->held)) drop(consumer, false);
        consumer_route(consumer);
    }
}

void hold_drop_all(lago_channel_t *ch, bool give_back) {
    if (!ch->consuming || ch->consuming->held_count + ch->conn->stalled_count == 0) return;
    for (struct strmap_node *node = NULL; (node = strmap_next(&ch->consuming->consumers, node)) != NULL;) {
        struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
        if (consumer->on_message == hold_message) hold_drop(consumer, give_back);
    }
}

/* ---------------------------------------------------------------- telling */

bool hold_step(lago_connection_t *conn) {
    struct list *node = conn->halted & HALT_PAUSED ? NULL : list_first(&conn->resumed);
    if (!node) return false;
    struct consumer *consumer = LIST_ENTRY(node, struct consumer, in_resumed);
    lago_channel_t *ch = consumer->ch;
    struct message *held = first_held(consumer); /* there is one: else it would not wait here */
    bool begins = let_go(consumer, held);
    if (begins) stall(consumer, false);
    if (list_empty(&consumer->held)) {
        queue_resumed(consumer, false);
        consumer_route(consumer);
    }
    watch_calling(conn, "a message that was held", ch->number);
    if (begins)
        body_begin(consumer, &held->fields);
    else if (consumer->user.on_body)
        body_whole(ch, &held->fields, consumer);
    else
        consumer->user.on_message(ch, &held->fields, consumer->user.data);
    lago_message_release(&held->fields);
    return true;
}

/* ---------------------------------------------------------------- pause and resume */

static int find_living(lago_channel_t *ch, const char *tag, struct consumer **consumer) {
    int rc = channel_usable(ch);
    if (rc == 0 && !tag) rc = LAGO_EINVAL;
    if (rc < 0) return rc;
    *consumer = ch->consuming ? consumer_find(ch, tag, strlen(tag)) : NULL;
    return *consumer && consumer_is_living(*consumer) ? 0 : LAGO_ESTALE;
}

int lago_consumer_pause(lago_channel_t *ch, const char *consumer_tag) {
    struct consumer *consumer;
    int rc = find_living(ch, consumer_tag, &consumer);
    if (rc < 0) return channel_result(ch, rc);
    consumer->paused = true;
    queue_resumed(consumer, false);
    consumer_route(consumer);
    if (consumer->in_body) stall(consumer, true);
    connection_wake(ch->conn, false);
    return 0;
}

int lago_consumer_resume(lago_channel_t *ch, const char *consumer_tag) {
    struct consumer *consumer;
    int rc = find_living(ch, consumer_tag, &consumer);
    if (rc < 0) return channel_result(ch, rc);
    if (!consumer->paused) return 0;
    consumer->paused = false;
    if (list_empty(&consumer->held))
        stall(consumer, false);
    else
        queue_resumed(consumer, true);
    consumer_route(consumer);
    connection_wake(ch->conn, true);
    return 0;
}

/* ---------------------------------------------------------------- `multiple` while something is held */

/* Asked with falling tags. */
static bool is_held(const lago_channel_t *ch, uint64_t tag) {
    for (struct strmap_node *node = NULL; (node = strmap_next(&ch->consuming->consumers, node)) != NULL;) {
        struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
        for (; consumer->seen != &consumer->held; consumer->seen = consumer->seen->prev) {
            uint64_t held = LIST_ENTRY(consumer->seen, struct message, held)->fields.delivery_tag;
            if (held == tag) return true;
            if (held < tag) break;
        }
    }
    return false;
}

int hold_settle(lago_channel_t *ch, uint64_t tag, unsigned flags, int (*settle)(lago_channel_t *, uint64_t, unsigned)) {
    int rc = LAGO_ESTALE;
    for (struct strmap_node *node = NULL; (node = strmap_next(&ch->consuming->consumers, node)) != NULL;) {
        struct consumer *consumer = LIST_ENTRY(node, struct consumer, node);
        consumer->seen = consumer->held.prev;
    }
    for (uint64_t at = tag ? tag : UINT64_MAX; at > 0 && (at = tagset_floor(&ch->consuming->unacked, at)) != 0; at--) {
        if (is_held(ch, at)) continue;
        rc = settle(ch, at, flags & ~LAGO_MULTIPLE);
        if (rc < 0) return rc;
    }
    return rc;
}
