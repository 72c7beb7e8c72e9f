/*
 * A conversation's life: its states, its ways to end, and the doors that time comes in by. Frames are input.c's, what is sent
 * is output.c's, deadlines are liveness.c's.
 */
#include "session.h"

#include "alloc.h"
#include "deadline.h"
#include "internal.h"
#include "reason.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Time for a peer that broke the protocol to answer our close, and for our close-ok to be written: RabbitMQ resets at once. */
#define LINGER_MS 1000u

void session_init(struct session *s, const lago_allocator_t *alloc, const struct session_settings *settings, uint64_t now) {
    memset(s, 0, sizeof(*s));
    s->alloc = alloc;
    s->settings = *settings;
    s->now = now;
    s->reading = true;
    s->linger = s->held_retry = DEADLINE_NEVER;
    chunks_init(&s->out, alloc);
    idmap_init(&s->channels, alloc);
    list_init(&s->held);
    list_init(&s->borrowing);
}

void session_rest(struct session *s) {
    chunks_clear(&s->out);
    session_forget_input(s);
    s->partial.size = 0;
    s->garbled = s->streaming = s->blocked = s->ended_told = s->opened = false;
    s->tune = (lago_tune_t){ 0 };
    s->unsure = false;
    s->taken = 0;
    s->linger = s->held_retry = DEADLINE_NEVER;
    s->state = SESSION_IDLE;
}

int session_start(struct session *s, uint64_t now) {
    session_rest(s);
    s->now = now;
    liveness_start(s);
    uint8_t *room = chunks_reserve(&s->out, PROTOCOL_HEADER_SIZE);
    if (!room) return LAGO_ENOMEM;
    memcpy(room, PROTOCOL_HEADER, PROTOCOL_HEADER_SIZE);
    chunks_commit(&s->out, PROTOCOL_HEADER_SIZE);
    s->out.wipe = true; /* until the handshake is over: start-ok carries the password */
    if (s->settings.trace) trace_line(s, 'C', "protocol-header 0-9-1");
    s->state = SESSION_WAIT_START;
    return 0;
}

void session_deinit(struct session *s) {
    output_clear(s); /* first, so that channels need not look for what they hold */
    for (uint16_t n = 0; (n = idmap_next(&s->channels, n)) != 0;) channel_release(s, channel_find(s, n));
    chunks_clear(&s->out);
    idmap_clear(&s->channels);
    mem_free(s->alloc, s->partial.data);
    memset(&s->partial, 0, sizeof(s->partial));
}

void session_set_state(struct session *s, enum session_state state) {
    if (s->state == state || s->state == SESSION_ENDED) return;
    s->state = state;
    if (state == SESSION_FAILED || state == SESSION_LEAVING) liveness_linger(s, LINGER_MS);
    if (state == SESSION_OPEN) {
        s->opened = true;
        liveness_start(s);
    }
}

lago_phase_t session_phase(enum session_state state) {
    switch (state) {
    case SESSION_IDLE: return LAGO_PHASE_CONNECT;
    case SESSION_WAIT_START:
    case SESSION_STARTING:
    case SESSION_WAIT_TUNE:
    case SESSION_SECURING:
    case SESSION_TUNING: return LAGO_PHASE_HANDSHAKE;
    case SESSION_WAIT_OPEN: return LAGO_PHASE_OPEN;
    case SESSION_OPEN: return LAGO_PHASE_RUNNING;
    case SESSION_CLOSING:
    case SESSION_FAILED:
    case SESSION_LEAVING:
    case SESSION_ENDED: break;
    }
    return LAGO_PHASE_CLOSING;
}

void session_abandon(struct session *s, const lago_reason_t *reason) {
    if (s->state == SESSION_ENDED) return;
    if (s->state != SESSION_FAILED && s->state != SESSION_LEAVING) { /* there the first reason is the true one */
        lago_phase_t phase = session_phase(s->state);
        s->reason = *reason;
        if (s->reason.phase == LAGO_PHASE_NONE) s->reason.phase = phase;
    }
    session_set_state(s, SESSION_ENDED);
}

/* ---------------------------------------------------------------- the handshake's answers (2.2.4, 4.2.2) */

int session_start_ok(struct session *s, const struct connection_start_ok *args) {
    if (s->state != SESSION_STARTING) return LAGO_ECLOSED;
    int rc = output_method(s, 0, METHOD_CONNECTION_START_OK, args);
    if (rc == 0) session_set_state(s, SESSION_WAIT_TUNE);
    return rc;
}

int session_secure_ok(struct session *s, lago_bytes_t response) {
    if (s->state != SESSION_SECURING) return LAGO_ECLOSED;
    struct connection_secure_ok args = { .response = response };
    int rc = output_method(s, 0, METHOD_CONNECTION_SECURE_OK, &args);
    if (rc == 0) session_set_state(s, SESSION_WAIT_TUNE);
    return rc;
}

int session_tune_ok(struct session *s, const lago_tune_t *tune, const char *virtual_host) {
    if (s->state != SESSION_TUNING) return LAGO_ECLOSED;
    struct connection_tune_ok ok = { .channel_max = tune->channel_max,
                                     .frame_max = tune->frame_max,
                                     .heartbeat = tune->heartbeat_s };
    struct connection_open open = { .virtual_host = { virtual_host, LAGO_NUL_TERMINATED } };
    int rc = output_method(s, 0, METHOD_CONNECTION_TUNE_OK, &ok);
    if (rc == 0) rc = output_method(s, 0, METHOD_CONNECTION_OPEN, &open);
    if (rc < 0) return rc;
    s->tune = *tune;
    session_set_state(s, SESSION_WAIT_OPEN);
    return 0;
}

/* ---------------------------------------------------------------- ends */

int session_close(struct session *s, uint16_t reply_code, const char *reply_text) {
    if (s->state != SESSION_OPEN) return LAGO_ECLOSED;
    struct connection_close args = { .reply_code = reply_code, .reply_text = { reply_text, LAGO_NUL_TERMINATED } };
    int rc = output_method(s, 0, METHOD_CONNECTION_CLOSE, &args);
    if (rc < 0) return rc;
    reason_init(&s->reason, LAGO_ECLOSED, LAGO_BY_CLIENT);
    reason_reply(&s->reason, reply_code, reply_text, strlen(reply_text), 0, 0);
    s->reason.phase = LAGO_PHASE_CLOSING;
    session_set_state(s, SESSION_CLOSING);
    return 0;
}

void session_fail(struct session *s, int code, uint16_t reply_code, uint32_t method, const char *detail, ...) {
    if (s->state > SESSION_CLOSING) return;
    enum session_state was = s->state;
    lago_phase_t phase = session_phase(was);
    va_list args;
    reason_init(&s->reason, code, LAGO_BY_CLIENT);
    s->reason.phase = phase;
    s->reason.reply_code = reply_code;
    s->reason.class_id = (uint16_t)(method >> 16);
    s->reason.method_id = (uint16_t)method;
    va_start(args, detail);
    (void)vsnprintf(s->reason.detail, sizeof(s->reason.detail), detail, args);
    va_end(args);
    struct connection_close close = { .reply_code = reply_code,
                                      .reply_text = { s->reason.detail, LAGO_NUL_TERMINATED },
                                      .class_id = s->reason.class_id,
                                      .method_id = s->reason.method_id };
    /* Before start there is nobody to say goodbye to; after our own close it has been said; without memory it stays unsaid. */
    bool said = was != SESSION_WAIT_START && was != SESSION_CLOSING && output_method(s, 0, METHOD_CONNECTION_CLOSE, &close) == 0;
    session_set_state(s, said ? SESSION_FAILED : SESSION_ENDED);
}

/* The link went in the middle of login or open: old brokers, and RabbitMQ without the capability, just hang up (as pika). */
static void refused_silently(struct session *s, int status) {
    lago_reason_t reason;
    bool login = s->state == SESSION_WAIT_TUNE;
    reason_init(&reason, login ? LAGO_EAUTH : LAGO_EACCESS, LAGO_BY_NETWORK);
    reason.os_error = status == LAGO_ETRUNCATED ? 0 : status;
    reason_detail(&reason, login ? "the broker hung up during login: probably refused"
                                 : "the broker hung up while opening the virtual host: probably refused");
    reason_hint(&reason, login ? "check user name and password" : "check that the virtual host exists and the user may use it");
    session_abandon(s, &reason);
}

void session_lost(struct session *s, int status, uint64_t now) {
    s->now = now;
    switch (s->state) {
    case SESSION_WAIT_START:
        if (s->partial.size > 0 && greeting_is_foreign(s->partial.data, s->partial.size)) {
            lago_reason_t reason;
            greeting_explain(&reason, s->partial.data, s->partial.size);
            session_abandon(s, &reason);
            return;
        }
        break;
    case SESSION_WAIT_TUNE:
    case SESSION_WAIT_OPEN: refused_silently(s, status); return;
    case SESSION_CLOSING: /* we said goodbye; the peer went without its own, or somebody cut the link for it */
        if (status == LAGO_ETRUNCATED) break;
        reason_detail(&s->reason, "closed; the broker hung up before its close-ok");
        session_set_state(s, SESSION_ENDED);
        return;
    case SESSION_IDLE:
    case SESSION_STARTING:
    case SESSION_SECURING:
    case SESSION_TUNING:
    case SESSION_OPEN:
    case SESSION_FAILED:
    case SESSION_LEAVING:
    case SESSION_ENDED: break;
    }
    lago_reason_t reason;
    bool cut = status == LAGO_ETRUNCATED; /* only TLS can tell */
    reason_init(&reason, cut ? LAGO_ETRUNCATED : LAGO_ELOST, LAGO_BY_NETWORK);
    reason.os_error = cut ? 0 : status;
    if (s->state == SESSION_WAIT_START) reason_hint(&reason, "it said nothing: a TLS port, a proxy, or no AMQP broker?");
    session_abandon(s, &reason);
}

void session_written(struct session *s, size_t size, uint64_t now) {
    s->now = now;
    chunks_consume(&s->out, size);
    liveness_written(s);
    while (s->mark_count && s->marks[s->mark_head].offset < s->out.consumed) {
        struct session_channel *ch = channel_find(s, s->marks[s->mark_head].channel);
        if (ch) ch->publishes_sent++;
        s->mark_head = (s->mark_head + 1) & (s->mark_capacity - 1);
        s->mark_count--;
    }
    if (s->out.size) return;
    if (s->state == SESSION_OPEN) s->out.wipe = false;
    if (s->state == SESSION_LEAVING) session_set_state(s, SESSION_ENDED);
}
