/*
 * Who is alive: heartbeats both ways (4.2.7), the silent peer, the peer that takes nothing, and lingering at the end. Two
 * facts are kept, when bytes last came and when bytes last left; deadlines follow from them.
 */
#include "deadline.h"
#include "internal.h"
#include "reason.h"

/* A peer beats every half interval (RabbitMQ); one whole interval and 5 % for the network is death: promised is 1.1. */
#define SILENCE_PERCENT 105u

/*
 * What was written may lie in the kernel for ever, so the peer's progress is asked for while something is under way: so often in
 * write_timeout that a stall is found within 1.25 of it. By default that is when the next heartbeat is due: an idle link does not
 * wake for it.
 */
#define LOOKS_PER_STALL 4u

/*
 * A frame that is not here whole has to get on by so many bytes in each such time, or in a heartbeat interval if that is longer: a peer
 * that sends one byte a second is never silent, and would keep us waiting for ever. The slowest modem does 34 bytes a second.
 */
#define FRAME_PROGRESS  1024u
#define FRAME_WINDOW_MS 30000u

/* Without heartbeats there is no telling what a peer is used to. */
#define STALL_MS 120000u

/* A late loop: how soon to look again whether the bytes that waited have been read. */
#define REPRIEVE_MS 10u

static uint64_t interval_ms(const struct session *s) { return (uint64_t)s->tune.heartbeat_s * 1000u; }

/* Counting starts with open-ok: before that stack_timeout rules, and a handshake is never silent for long. */
void liveness_start(struct session *s) { s->last_received = s->last_written = s->last_progress = s->last_look = s->now; }

void liveness_received(struct session *s) {
    s->last_received = s->now;
    s->reprieve = 0;
}

void liveness_frame_began(struct session *s) {
    s->frame_since = s->now;
    s->frame_from = s->counters.bytes_received;
}

/* What rested while the broker had the connection blocked begins anew. */
void liveness_unblocked(struct session *s) { s->last_progress = s->last_look = s->now; }

void liveness_written(struct session *s) {
    s->last_written = s->now;
    if (s->unsure) return;
    s->unsure = true;
    s->last_progress = s->last_look = s->now;
}

void liveness_linger(struct session *s, uint64_t delay_ms) { s->linger = deadline_after(s->now, delay_ms); }

static uint64_t silence_deadline(const struct session *s) {
    if (!interval_ms(s) || !s->reading || s->state != SESSION_OPEN) return DEADLINE_NEVER;
    uint64_t due = deadline_after(s->last_received, interval_ms(s) * SILENCE_PERCENT / 100u);
    return s->reprieve > due ? s->reprieve : due;
}

static uint64_t frame_deadline(const struct session *s) {
    if (input_is_between_frames(s) || !s->reading || s->state != SESSION_OPEN) return DEADLINE_NEVER;
    uint64_t window = interval_ms(s) > FRAME_WINDOW_MS ? interval_ms(s) : FRAME_WINDOW_MS;
    uint64_t due = deadline_after(s->frame_since, window);
    return s->reprieve > due ? s->reprieve : due;
}

/* When the peer has kept us waiting for too long. */
static uint64_t peer_deadline(const struct session *s) { return deadline_min(silence_deadline(s), frame_deadline(s)); }

static uint64_t beat_deadline(const struct session *s) {
    bool beating = interval_ms(s) && s->state == SESSION_OPEN && s->out.size == 0;
    return beating ? deadline_after(s->last_written, interval_ms(s) / 2) : DEADLINE_NEVER;
}

/* 0: none. A blocked connection is not read by the broker (RabbitMQ), so a full queue proves nothing then. */
static uint64_t stall_ms(const struct session *s) {
    uint64_t timeout = s->settings.write_timeout_ms;
    if (timeout == LAGO_NO_TIMEOUT || s->blocked || s->state != SESSION_OPEN) return 0;
    if (timeout) return timeout;
    return interval_ms(s) ? 2 * interval_ms(s) : STALL_MS;
}

static uint64_t stall_deadline(const struct session *s) {
    bool waits = stall_ms(s) && (s->unsure || s->out.size > 0);
    return waits ? deadline_after(s->last_progress, stall_ms(s)) : DEADLINE_NEVER;
}

static uint64_t look_deadline(const struct session *s) {
    uint64_t stall = stall_ms(s), every = stall < LOOKS_PER_STALL ? 1 : stall / LOOKS_PER_STALL;
    return stall && s->unsure ? deadline_after(s->last_look, every) : DEADLINE_NEVER;
}

uint64_t session_deadline(const struct session *s) {
    if (s->state == SESSION_ENDED) return DEADLINE_NEVER;
    uint64_t first = deadline_min(deadline_min(s->linger, s->held_retry), peer_deadline(s));
    return deadline_min(deadline_min(first, beat_deadline(s)), deadline_min(stall_deadline(s), look_deadline(s)));
}

bool session_wants_look(const struct session *s, uint64_t now) {
    return now >= deadline_min(look_deadline(s), stall_deadline(s));
}

void session_looked(struct session *s, uint64_t taken, bool waiting, uint64_t now) {
    s->last_look = now;
    s->unsure = waiting;
    if (taken == s->taken) return;
    s->taken = taken;
    s->last_progress = now;
}

bool session_is_overdue(const struct session *s, uint64_t now) { return now >= peer_deadline(s); }

static void condemn(struct session *s, int code, uint64_t since) {
    lago_reason_t reason;
    reason_init(&reason, code, LAGO_BY_NETWORK);
    if (code == LAGO_EHEARTBEAT)
        reason_detail(&reason, "no heartbeat from the broker: nothing came for %.1f s, the agreed interval is %u s",
                      (double)(s->now - since) / 1000.0, (unsigned)s->tune.heartbeat_s);
    else
        reason_detail(&reason, "the broker took no bytes for %.1f s, and more than %zu are waiting",
                      (double)(s->now - since) / 1000.0, s->out.size);
    session_abandon(s, &reason);
}

/* A frame is not here yet: either it has got on meanwhile, or the link is of no use. */
static void frame_waited_for(struct session *s) {
    uint64_t came = s->counters.bytes_received - s->frame_from;
    if (came >= FRAME_PROGRESS) {
        liveness_frame_began(s);
        return;
    }
    session_fail(s, LAGO_EPROTOCOL, REPLY_FRAME_ERROR, 0, "the broker does not finish a frame: %llu bytes of it in %.1f s",
                 (unsigned long long)came, (double)(s->now - s->frame_since) / 1000.0);
    if (s->reason.whole) reason_hint(s->reason.whole, "a link that is hardly alive, or a peer that means harm");
}

void session_tick(struct session *s, uint64_t now, bool unread) {
    s->now = now;
    if (s->state == SESSION_ENDED) return;
    if (now >= s->held_retry) (void)output_release_held(s);
    if (now >= s->linger)
        session_set_state(s, SESSION_ENDED);
    else if (now >= peer_deadline(s) && unread)
        s->reprieve = deadline_after(now, REPRIEVE_MS);
    else if (now >= silence_deadline(s))
        condemn(s, LAGO_EHEARTBEAT, s->last_received);
    else if (now >= stall_deadline(s))
        condemn(s, LAGO_ESTALLED, s->last_progress);
    else if (now >= frame_deadline(s))
        frame_waited_for(s);
    else if (now >= beat_deadline(s) && output_heartbeat(s) < 0)
        s->last_written = now; /* no memory for 8 bytes: try again half an interval later */
}

void session_reading(struct session *s, bool reading, uint64_t now) {
    if (reading == s->reading) return;
    s->now = now;
    s->reading = reading;
    s->paused = reading ? s->paused : now;
    if (!reading) return;
    flood_paused(s, now - s->paused);
    s->last_received = now; /* what the peer did meanwhile nobody saw: it starts afresh */
    liveness_frame_began(s);
}
