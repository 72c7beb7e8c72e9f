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
    s->deliver = method_find(METHOD_BASIC_DELIVER);
    chunks_init(&s->out, alloc);
    idmap_init(&s->channels, alloc);
    list_init(&s->held);
    list_init(&s->borrowing);
    list_init(&s->acking);
}

void session_rest(struct session *s) {
    chunks_clear(&s->out);
    session_forget_input(s);
    deliveries_forget(s);
    s->partial.size = 0;
    s->garbled = s->streaming = s->blocked = s->ended_told = s->opened = false;
    s->tune = (lago_tune_t){ 0 };
    if (s->ahead) output_stay_back(s);
    s->ahead = false;
    s->unsure = false;
    s->taken = 0;
    s->idle_until = s->idle_credit = s->answers_from = 0;
    s->linger = s->held_retry = DEADLINE_NEVER;
    PROBE3(session__state, s, (int)SESSION_IDLE, (int)s->state);
    s->state = SESSION_IDLE;
    reason_forget(&s->reason, s->alloc);
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
    PROBE3(session__state, s, (int)SESSION_WAIT_START, (int)s->state);
    s->state = SESSION_WAIT_START;
    return 0;
}

void session_deinit(struct session *s) {
    output_clear(s); /* first, so that channels need not look for what they hold */
    for (uint16_t n = 0; (n = idmap_next(&s->channels, n)) != 0;) channel_release(s, channel_find(s, n));
    chunks_clear(&s->out);
    idmap_clear(&s->channels);
    deliveries_free(s);
    contents_tidy(s);
    mem_free(s->alloc, s->partial.data);
    memset(&s->partial, 0, sizeof(s->partial));
    reason_forget(&s->reason, s->alloc);
}

void session_set_state(struct session *s, enum session_state state) {
    if (s->state == state) return;
    PROBE3(session__state, s, (int)state, (int)s->state);
    s->state = state;
    if (state == SESSION_FAILED || state == SESSION_LEAVING) liveness_linger(s, LINGER_MS);
    if (state == SESSION_OPEN) {
        s->opened = true;
        s->ahead = false;
        liveness_start(s);
    }
}

lago_phase_t session_phase(enum session_state state) {
    static const lago_phase_t phases[] = {
        [SESSION_IDLE] = LAGO_PHASE_CONNECT,       [SESSION_WAIT_START] = LAGO_PHASE_HANDSHAKE,
        [SESSION_STARTING] = LAGO_PHASE_HANDSHAKE, [SESSION_WAIT_TUNE] = LAGO_PHASE_HANDSHAKE,
        [SESSION_SECURING] = LAGO_PHASE_HANDSHAKE, [SESSION_TUNING] = LAGO_PHASE_HANDSHAKE,
        [SESSION_WAIT_OPEN] = LAGO_PHASE_OPEN,     [SESSION_OPEN] = LAGO_PHASE_RUNNING,
        [SESSION_CLOSING] = LAGO_PHASE_CLOSING,    [SESSION_FAILED] = LAGO_PHASE_CLOSING,
        [SESSION_LEAVING] = LAGO_PHASE_CLOSING,    [SESSION_ENDED] = LAGO_PHASE_CLOSING,
    };
    return phases[state];
}

void session_abandon(struct session *s, const lago_reason_t *reason) {
    if (s->state == SESSION_ENDED) return;
    if (s->state != SESSION_FAILED && s->state != SESSION_LEAVING) { /* there the first reason is the true one */
        lago_reason_t known = *reason;
        if (known.phase == LAGO_PHASE_NONE) known.phase = session_phase(s->state);
        reason_keep(&s->reason, s->alloc, &known);
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

static int say_tune_ok(struct session *s, const lago_tune_t *tune, const char *virtual_host) {
    struct connection_tune_ok ok = { .channel_max = tune->channel_max,
                                     .frame_max = tune->frame_max,
                                     .heartbeat = tune->heartbeat_s };
    struct connection_open open = { .virtual_host = { virtual_host, LAGO_NUL_TERMINATED } };
    int rc = output_method(s, 0, METHOD_CONNECTION_TUNE_OK, &ok);
    return rc < 0 ? rc : output_method(s, 0, METHOD_CONNECTION_OPEN, &open);
}

static void tuned(struct session *s, const lago_tune_t *tune) {
    s->tune = *tune;
    session_set_state(s, SESSION_WAIT_OPEN);
}

int session_tune_ok(struct session *s, const lago_tune_t *tune, const char *virtual_host) {
    if (s->state != SESSION_TUNING) return LAGO_ECLOSED;
    int rc = say_tune_ok(s, tune, virtual_host);
    if (rc == 0) tuned(s, tune);
    return rc;
}

/* ---------------------------------------------------------------- and before anybody asks */

/* RabbitMQ reads what comes after the header as it comes: it need not have said start or tune before. */
int session_go_ahead(struct session *s, const struct connection_start_ok *start_ok, const lago_tune_t *tune,
                     const char *virtual_host) {
    if (s->state != SESSION_WAIT_START || s->ahead) return LAGO_ECLOSED;
    int rc = output_method(s, 0, METHOD_CONNECTION_START_OK, start_ok);
    if (rc < 0) return rc;
    if (say_tune_ok(s, tune, virtual_host) < 0) return LAGO_ENOMEM;
    s->ahead = true;
    s->assumed = *tune;
    output_go_ahead(s);
    return 0;
}

int session_assumed(struct session *s) {
    if (!s->ahead || (s->state != SESSION_STARTING && s->state != SESSION_TUNING)) return LAGO_ECLOSED;
    if (s->state == SESSION_STARTING)
        session_set_state(s, SESSION_WAIT_TUNE);
    else
        tuned(s, &s->assumed);
    return 0;
}

/* ---------------------------------------------------------------- ends */

int session_close(struct session *s, uint16_t reply_code, const char *reply_text) {
    if (s->state != SESSION_OPEN) return LAGO_ECLOSED;
    struct connection_close args = { .reply_code = reply_code, .reply_text = { reply_text, LAGO_NUL_TERMINATED } };
    int rc = output_method(s, 0, METHOD_CONNECTION_CLOSE, &args);
    if (rc < 0) return rc;
    lago_reason_t reason;
    reason_init(&reason, LAGO_ECLOSED, LAGO_BY_CLIENT);
    reason_reply(&reason, reply_code, reply_text, strlen(reply_text), 0, 0);
    reason.phase = LAGO_PHASE_CLOSING;
    reason_keep(&s->reason, s->alloc, &reason);
    session_set_state(s, SESSION_CLOSING);
    return 0;
}

void session_fail(struct session *s, int code, uint16_t reply_code, uint32_t method, const char *detail, ...) {
    if (s->state > SESSION_CLOSING) return;
    enum session_state was = s->state;
    lago_reason_t reason;
    va_list args;
    reason_init(&reason, code, LAGO_BY_CLIENT);
    reason.phase = session_phase(was);
    reason.reply_code = reply_code;
    reason.class_id = (uint16_t)(method >> 16);
    reason.method_id = (uint16_t)method;
    va_start(args, detail);
    (void)vsnprintf(reason.detail, sizeof(reason.detail), detail, args);
    va_end(args);
    reason_keep(&s->reason, s->alloc, &reason);
    struct connection_close close = { .reply_code = reply_code,
                                      .reply_text = { reason.detail, LAGO_NUL_TERMINATED },
                                      .class_id = reason.class_id,
                                      .method_id = reason.method_id };
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
    switch (s->state) { /* unreachable: all are named */
    case SESSION_WAIT_START:
        if (s->partial.size > 0 && greeting_is_foreign(s->partial.data[0])) {
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
        if (s->reason.whole) reason_detail(s->reason.whole, "closed; the broker hung up before its close-ok");
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
    marks_written(s);
    if (s->out.size) return;
    if (s->state == SESSION_OPEN) s->out.wipe = false;
    if (s->state == SESSION_LEAVING) session_set_state(s, SESSION_ENDED);
}
