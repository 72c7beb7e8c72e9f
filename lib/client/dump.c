/* A page of a connection's state, for people who wonder what it waits for. Names of peers and users are escaped. */
#include "channel.h"
#include "connection.h"
#include "deadline.h"
#include "operation.h"
#include "text.h"
#include <string.h>

#define CHANNELS_SHOWN   64u
#define CONSUMERS_SHOWN  16u
#define OPERATIONS_SHOWN 8u
#define NAME_SHOWN       80u

static const char *stage_name(const lago_connection_t *conn) {
    static const char *const names[] = { "closed", "connecting", "protocol", "start", "tune", "open", "closing" };
    return names[lago_connection_state(conn)];
}

static void add_name(struct text *t, const char *name) { text_add_escaped(t, name, strlen(name), NAME_SHOWN); }

static void add_seconds(struct text *t, uint64_t ms) {
    text_addf(t, "%llu.%03llu s", (unsigned long long)(ms / 1000u), (unsigned long long)(ms % 1000u));
}

/* Up to now, not to the last turn: of a connection where nothing happens any more that may be long ago. */
static void add_age(struct text *t, const lago_connection_t *conn, uint64_t since_us) {
    uint64_t now_us = connection_clock_us(conn);
    add_seconds(t, now_us > since_us ? (now_us - since_us) / 1000u : 0);
}

/* ---------------------------------------------------------------- the connection */

static void add_link(struct text *t, const lago_connection_t *conn) {
    const struct session *s = &conn->session;
    text_addf(t, "  link: %zu bytes to write, %llu sent, %llu received", session_output_size(s),
              (unsigned long long)conn->counters.bytes_sent, (unsigned long long)s->counters.bytes_received);
    if (conn->link_up) {
        text_add(t, "; last byte in ");
        add_age(t, conn, s->last_received * 1000u);
        text_add(t, " ago, out ");
        add_age(t, conn, s->last_written * 1000u);
        text_add(t, " ago");
    }
    text_add(t, session_has_input(s) ? "; input waits for the application\n" : "\n");
}

static void add_timers(struct text *t, const lago_connection_t *conn) {
    uint64_t next = deadline_min(timers_next(&conn->timers), conn->link_up ? session_deadline(&conn->session) : DEADLINE_NEVER);
    uint64_t now = connection_clock_us(conn) / 1000u;
    size_t count = 0;
    if (conn->stage >= STAGE_ENDING) return;
    for (struct list *node = conn->later.next; node != &conn->later; node = node->next) count++;
    text_addf(t, "  timers: %zu of the application", count);
    if (next != DEADLINE_NEVER) {
        text_add(t, next < now ? "; the next deadline is overdue by " : "; the next deadline in ");
        add_seconds(t, next < now ? now - next : next - now);
    }
    text_add(t, "\n");
}

static void add_tune(struct text *t, const lago_connection_t *conn) {
    lago_tune_t tune = conn->session.tune;
    if (!tune.frame_max) return;
    text_addf(t, "  tune: channel_max %u, frame_max %lu, heartbeat %u s\n", tune.channel_max, (unsigned long)tune.frame_max,
              tune.heartbeat_s);
}

static void add_dialing(struct text *t, const lago_connection_t *conn) {
    if (conn->stage != STAGE_DIALING) return;
    text_addf(t, "  connecting: %s, round %lu of %lu, address %zu of %zu, for ", lago_phase_name(connection_phase(conn)),
              (unsigned long)conn->dial.way->round, (unsigned long)conn->p->connection_attempts, conn->dial.way->address + 1,
              conn->dial.way->address_count);
    add_age(t, conn, conn->dial.since_us);
    text_add(t, "\n");
}

static void add_connection(struct text *t, const lago_connection_t *conn) {
    char words[512];
    text_addf(t, "connection %s to ", stage_name(conn));
    if (conn->endpoint[0])
        text_add(t, conn->endpoint);
    else
        add_name(t, conn->p->host);
    text_add(t, ", virtual host ");
    add_name(t, conn->p->virtual_host);
    text_add(t, ", user ");
    add_name(t, conn->p->credentials.username);
    text_add(t, "\n");
    if (conn->stage >= STAGE_ENDING) {
        lago_reason_t room;
        lago_reason_format(reason_kept(&conn->reason, &room), words, sizeof(words));
        text_addf(t, "  ended: %s\n", words);
    }
    add_dialing(t, conn);
    add_tune(t, conn);
    if (conn->blocked_since_us) {
        text_add(t, "  blocked by the broker for ");
        add_age(t, conn, conn->blocked_since_us);
        text_add(t, "\n");
    }
    add_link(t, conn);
    add_timers(t, conn);
}

/* ---------------------------------------------------------------- what waits */

/* The operations of a channel; NULL: of the connection itself. */
static void add_operations(struct text *t, const lago_connection_t *conn, const lago_channel_t *ch) {
    unsigned count = 0;
    for (struct list *node = conn->operations.next; node != &conn->operations; node = node->next) {
        const struct operation *op = LIST_ENTRY(node, struct operation, in_connection);
        if (op->ch != ch || ++count > OPERATIONS_SHOWN) continue;
        text_addf(t, "%s%s (", count == 1 ? "    waits for: " : ", ", method_find(op->method)->name);
        add_age(t, conn, op->since_us);
        text_add(t, ")");
    }
    if (count > OPERATIONS_SHOWN) text_addf(t, " and %u more", count - OPERATIONS_SHOWN);
    if (count) text_add(t, "\n");
}

static void add_oldest(struct text *t, const lago_channel_t *ch, const char *what, uint64_t number, uint64_t since_us) {
    text_addf(t, ", the oldest is %s %llu", what, (unsigned long long)number);
    if (!since_us) return;
    text_add(t, ", since ");
    add_age(t, ch->conn, since_us);
}

static void add_messages(struct text *t, const lago_channel_t *ch) {
    const struct consuming *in = ch->consuming;
    const struct confirming *out = ch->confirming;
    text_addf(t, "    unacknowledged: %zu", lago_channel_unacked_count(ch));
    if (in && in->prefetch_count) text_addf(t, " of prefetch_count %u", in->prefetch_count);
    uint64_t lowest = in ? tagset_lowest(&in->unacked) : 0;
    if (lowest) {
        add_oldest(t, ch, "tag", lowest, timeline_at(&in->delivered, lowest));
    }
    text_add(t, "\n");
    if (!out) return;
    text_addf(t, "    unconfirmed: %zu", out->confirms.unsettled);
    if (out->confirms.unsettled) {
        uint64_t oldest = confirms_oldest(&out->confirms);
        add_oldest(t, ch, "number", oldest, timeline_at(&out->published_at, oldest));
    }
    text_add(t, "\n");
}

/* ---------------------------------------------------------------- channels */

static void add_channel(struct text *t, const lago_channel_t *ch) {
    static const char *const names[] = { "closed", "opening", "open", "closing" };
    text_addf(t, "  channel %u %s, %llu published, last delivery tag %llu", ch->number, names[ch->state],
              (unsigned long long)ch->published, ch->consuming ? (unsigned long long)ch->consuming->last_delivery_tag : 0);
    if (ch->error) text_addf(t, ", a call failed: %s", lago_strerror(ch->error));
    text_add(t, ch->state == LAGO_CHANNEL_OPEN && !lago_channel_is_flow_active(ch) ? ", stopped by channel.flow\n" : "\n");
    if (ch->state == LAGO_CHANNEL_CLOSED) return;
    add_operations(t, ch->conn, ch);
    add_messages(t, ch);
    consumers_describe(ch, t, CONSUMERS_SHOWN);
}

static void add_channels(struct text *t, const struct list *channels, unsigned *count) {
    for (struct list *node = channels->next; node != channels; node = node->next)
        if (++*count <= CHANNELS_SHOWN) add_channel(t, LIST_ENTRY(node, lago_channel_t, in_connection));
}

size_t lago_connection_dump(const lago_connection_t *conn, char *buffer, size_t size) {
    struct text t;
    unsigned count = 0;
    text_init(&t, buffer, size);
    if (!conn) return t.length;
    add_connection(&t, conn);
    add_operations(&t, conn, NULL);
    add_channels(&t, &conn->channels, &count);
    add_channels(&t, &conn->ended_channels, &count);
    if (count > CHANNELS_SHOWN) text_addf(&t, "  and %u channels more\n", count - CHANNELS_SHOWN);
    return t.length;
}
