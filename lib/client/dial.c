/*
 * Dialing: rounds over the targets, each target's addresses raced (RFC 8305), until connection.open-ok; each attempt within
 * stack_timeout, all of it within connect_deadline. What the network refuses moves on to the next address; what a broker, its
 * certificate or a proxy refuses moves on to the next target, because the other addresses are the same broker.
 */
#include "alloc.h"
#include "channel.h"
#include "connection.h"
#include "deadline.h"
#include "reason.h"
#include "text.h"
#include <string.h>

/* How long an address has the field for itself before the next one is tried beside it (RFC 8305, section 5). */
#define STAGGER_MS 250u

/* Pauses double up to here; then retry_delay_max has long been reached. */
#define DOUBLINGS_MAX 31u

static void begin_target(lago_connection_t *conn);
static void try_address(lago_connection_t *conn);
static void attempt_timed_out(lago_connection_t *conn, struct deadline *self);

static const struct target *target_of(const lago_connection_t *conn) { return &conn->targets.items[conn->dial.way->target]; }

static bool is_proxied(const lago_connection_t *conn) { return conn->p->proxy.type != LAGO_PROXY_NONE; }

static void drop_proxy(lago_connection_t *conn) {
    if (conn->dial.proxy) proxy_stop(conn->dial.proxy);
    mem_free(conn->alloc, conn->dial.proxy);
    conn->dial.proxy = NULL;
}

static void stop_timers(lago_connection_t *conn) {
    deadline_cancel(conn, &conn->dial.way->attempt);
    deadline_cancel(conn, &conn->dial.way->socket);
    deadline_cancel(conn, &conn->dial.way->stagger);
}

int dial_init(lago_connection_t *conn) {
    conn->dial.way = mem_zero(conn->alloc, 1, sizeof(*conn->dial.way));
    return conn->dial.way ? 0 : LAGO_ENOMEM;
}

void dial_stop(lago_connection_t *conn) {
    conn->attempts.phase_count = 0; /* they are history */
    conn->dial.step = DIAL_IDLE;
    if (!conn->dial.way) return;
    stop_timers(conn);
    deadline_cancel(conn, &conn->dial.way->overall);
    drop_proxy(conn);
    mem_free(conn->alloc, conn->dial.way);
    conn->dial.way = NULL;
}

static void enter(lago_connection_t *conn, enum dial_step step) {
    conn->dial.step = step;
    conn->dial.since_us = conn->clock_us;
    phase_begun(conn, connection_phase(conn));
}

static const char *known_endpoint(const lago_connection_t *conn, const char *words) {
    for (const struct endpoint *told = conn->endpoints; told; told = told->older)
        if (strcmp(told->words, words) == 0) return told->words;
    return NULL;
}

/* Where it was stays where it is, because lago_connection_endpoint has lent it. Without memory nobody is told where it is. */
static void set_endpoint(lago_connection_t *conn, const char *words) {
    conn->endpoint = *words ? known_endpoint(conn, words) : "";
    if (conn->endpoint) return;
    size_t size = strlen(words) + 1;
    conn->endpoint = "";
    struct endpoint *told = mem_alloc(conn->alloc, sizeof(*told) + size);
    if (!told) return;
    memcpy(told->words, words, size);
    told->older = conn->endpoints;
    conn->endpoints = told;
    conn->endpoint = told->words;
}

void dial_forget_endpoints(lago_connection_t *conn) {
    for (struct endpoint *told; (told = conn->endpoints) != NULL;) {
        conn->endpoints = told->older;
        mem_free(conn->alloc, told);
    }
    conn->endpoint = "";
}

void dial_phase_done(lago_connection_t *conn, lago_metric_t metric) {
    metrics_record(conn, metric, conn->dial.since_us);
    conn->dial.since_us = conn->clock_us;
}

/* ---------------------------------------------------------------- what went wrong */

static void name_host(const lago_connection_t *conn, lago_reason_t *reason) {
    char host[100];
    struct text t;
    const char *name = is_proxied(conn) ? conn->p->proxy.host : target_of(conn)->host;
    text_init(&t, host, sizeof(host));
    text_add_escaped(&t, name, strlen(name), 80);
    reason_detail(reason, "cannot find %s \"%s\"", is_proxied(conn) ? "the proxy" : "host", host);
}

static void make_reason(const lago_connection_t *conn, lago_reason_t *reason, int code, int os_error, const char *hint) {
    reason_init(reason, code, LAGO_BY_NETWORK);
    reason->phase = connection_phase(conn);
    reason->os_error = os_error;
    if (hint) reason_hint(reason, "%s", hint);
    if (code == LAGO_ERESOLVE) name_host(conn, reason);
}

static void fail_with(lago_connection_t *conn, int code, int os_error, const char *hint) {
    lago_reason_t reason;
    make_reason(conn, &reason, code, os_error, hint);
    dial_failed(conn, &reason);
}

/* Before the broker spoke (or when only the link failed) another address of the host may do better. */
static bool is_of_the_link(const lago_reason_t *reason) {
    switch (reason->code) {
    case LAGO_ELOST:
    case LAGO_ETIMEDOUT:
    case LAGO_ETLS:
    case LAGO_ETRUNCATED:
    case LAGO_ENOMEM: return true;
    default: return false;
    }
}

/* What only the client knows of a refusal: where it was, and whose login or which virtual host. */
void dial_describe(const lago_connection_t *conn, lago_reason_t *reason) {
    char user[80], vhost[80];
    struct text t;
    if (!reason->endpoint[0]) {
        text_init(&t, reason->endpoint, sizeof(reason->endpoint));
        text_add(&t, conn->endpoint);
    }
    login_describe(conn, reason);
    if (reason->origin != LAGO_BY_BROKER || reason->detail[0]) return;
    text_init(&t, user, sizeof(user));
    text_add_escaped(&t, conn->p->credentials.username, strlen(conn->p->credentials.username), 64);
    text_init(&t, vhost, sizeof(vhost));
    text_add_escaped(&t, conn->p->virtual_host, strlen(conn->p->virtual_host), 64);
    if (reason->code == LAGO_EACCESS) {
        reason_detail(reason, "virtual host '%.70s' refused for user '%.70s'", vhost, user);
        reason_hint(reason, "check that it exists and that the user may use it");
    }
}

/* An attempt is over: for the record, and for the log if it is not the end. */
static void note_failure(lago_connection_t *conn, const lago_reason_t *reason, bool goes_on) {
    attempts_failed(conn, reason);
    if (goes_on) log_reason(&conn->env, LAGO_LOG_INFO, "attempt failed", reason);
}

/* ---------------------------------------------------------------- rounds and targets */

static void pause_over(lago_connection_t *conn, struct deadline *self) {
    (void)self;
    begin_target(conn);
}

/* With a maximum, a random part of what doubles: a thousand clients of a broker that restarts must not come all at once. */
static uint32_t pause_ms(const lago_connection_t *conn) {
    const lago_parameters_t *p = conn->targets.items[0].p;
    uint64_t delay = p->retry_delay_ms;
    if (!p->retry_delay_max_ms) return (uint32_t)delay;
    uint32_t doublings = conn->dial.way->round - 1;
    delay <<= doublings < DOUBLINGS_MAX ? doublings : DOUBLINGS_MAX;
    if (delay > p->retry_delay_max_ms) delay = p->retry_delay_max_ms;
    return (uint32_t)(conn->transport.ops->random(conn->transport.self) % (delay + 1));
}

static const lago_parameters_t *rules(const lago_connection_t *conn) { return &conn->targets.parameters[0]->values; }

static bool has_next_round(const lago_connection_t *conn) {
    return !conn->options.stream_is_given && conn->dial.way->round < rules(conn)->connection_attempts;
}

static void begin_round(lago_connection_t *conn) {
    conn->dial.way->round++;
    conn->dial.way->target = 0;
    if (rules(conn)->shuffle_endpoints) targets_shuffle(&conn->targets, conn->transport.ops->random, conn->transport.self);
}

/* This target is done with: the next one, the next round, or the end. */
static void leave_target(lago_connection_t *conn, const lago_reason_t *reason) {
    if (conn->dial.way->target + 1 < conn->targets.count) {
        conn->dial.way->target++;
        begin_target(conn);
    } else if (has_next_round(conn)) {
        uint32_t delay_ms = pause_ms(conn);
        conn->dial.step = DIAL_PAUSING;
        begin_round(conn);
        if (deadline_set(conn, &conn->dial.way->attempt, delay_ms, pause_over) < 0) ending_start(conn, reason);
    } else {
        ending_start(conn, reason);
    }
}

static bool has_more(const lago_connection_t *conn) {
    return conn->dial.way->target + 1 < conn->targets.count || has_next_round(conn);
}

/* ---------------------------------------------------------------- addresses, side by side */

static uint64_t bit(size_t address) { return UINT64_C(1) << address; }

/* The first one that was not tried, or LINK_ADDRESSES_MAX. */
static size_t next_address(const lago_connection_t *conn) {
    for (size_t i = 0; i < conn->dial.way->address_count; i++)
        if (!((conn->dial.way->failed | conn->dial.way->pending) & bit(i))) return i;
    return LINK_ADDRESSES_MAX;
}

static bool has_address(const lago_connection_t *conn) { return next_address(conn) != LINK_ADDRESSES_MAX; }

/* Of the attempt nothing is left but what waits for the next one. */
static void drop_attempt(lago_connection_t *conn) {
    stop_timers(conn);
    drop_proxy(conn);
    login_stop(conn);
    connection_hang_up(conn, false);
    conn->write_error = 0;
    deadline_cancel(conn, &conn->write_error_timer);
    session_rest(&conn->session);
}

void dial_failed(lago_connection_t *conn, const lago_reason_t *reason) {
    lago_reason_t told = *reason;
    bool resolving = conn->dial.step == DIAL_RESOLVING, ahead = conn->session.ahead;
    dial_describe(conn, &told);
    drop_attempt(conn);
    if (ahead) { /* no attempt of its own: the same address once more */
        fast_failed(conn, &told);
        conn->dial.way->pending = 0;
        try_address(conn);
        return;
    }
    if (!resolving) conn->dial.way->failed |= bit(conn->dial.way->address);
    conn->dial.way->pending = 0; /* those that lost the race may be tried again */
    bool same_target = !resolving && is_of_the_link(&told) && has_address(conn);
    note_failure(conn, &told, same_target || has_more(conn));
    if (same_target)
        try_address(conn);
    else
        leave_target(conn, &told);
}

/* Nobody else is on the way: one of them must have been the last. */
static void all_refused(lago_connection_t *conn, const lago_reason_t *reason) {
    stop_timers(conn);
    leave_target(conn, reason);
}

/* One of the race is out; the others go on. */
static void address_failed(lago_connection_t *conn, size_t address, int code, int status, const char *hint) {
    lago_reason_t reason;
    conn->dial.way->pending &= ~bit(address);
    conn->dial.way->failed |= bit(address);
    set_endpoint(conn, conn->transport.ops->endpoint(conn->transport.self, address));
    make_reason(conn, &reason, code, status, hint);
    dial_describe(conn, &reason);
    bool goes_on = conn->dial.way->pending || has_address(conn);
    note_failure(conn, &reason, goes_on || has_more(conn));
    if (has_address(conn))
        try_address(conn);
    else if (!goes_on)
        all_refused(conn, &reason);
}

static void stagger_over(lago_connection_t *conn, struct deadline *self) {
    (void)self;
    try_address(conn); /* there is one: else nobody would wait for its turn */
}

/* Nobody answers, whoever was asked: each is an attempt that failed, and the last one tells how it goes on. */
static void socket_timed_out(lago_connection_t *conn, struct deadline *self) {
    uint64_t silent = conn->dial.way->pending;
    lago_reason_t reason;
    (void)self;
    make_reason(conn, &reason, LAGO_ETIMEDOUT, 0, NULL);
    connection_hang_up(conn, false);
    conn->dial.way->pending = 0;
    conn->dial.way->failed |= silent;
    for (size_t i = 0; silent; silent &= ~bit(i++)) {
        if (!(silent & bit(i))) continue;
        set_endpoint(conn, conn->transport.ops->endpoint(conn->transport.self, i));
        reason.endpoint[0] = '\0';
        dial_describe(conn, &reason);
        note_failure(conn, &reason, has_address(conn) || has_more(conn) || silent != bit(i));
    }
    stop_timers(conn);
    if (has_address(conn))
        try_address(conn);
    else
        leave_target(conn, &reason);
}

/* Connect to the next one, beside those that are on the way. */
static void try_address(lago_connection_t *conn) {
    size_t address = next_address(conn);
    bool first = conn->dial.way->pending == 0;
    conn->dial.way->pending |= bit(address);
    set_endpoint(conn, conn->transport.ops->endpoint(conn->transport.self, address));
    if (first) enter(conn, DIAL_CONNECTING);
    conn->dial.way->address = address;
    uint32_t stagger_ms = has_address(conn) ? STAGGER_MS : LAGO_NO_TIMEOUT;
    /* the first has its room: from the lookup, or from the address before */
    (void)deadline_set(conn, &conn->dial.way->attempt, conn->p->stack_timeout_ms, attempt_timed_out);
    if (deadline_set(conn, &conn->dial.way->socket, conn->p->socket_timeout_ms, socket_timed_out) < 0 ||
        deadline_set(conn, &conn->dial.way->stagger, stagger_ms, stagger_over) < 0) {
        fail_with(conn, LAGO_ENOMEM, 0, NULL);
        return;
    }
    int rc = conn->transport.ops->connect(conn->transport.self, address);
    if (rc < 0) link_connected(conn, address, rc);
}

/* ---------------------------------------------------------------- time */

static const char *silence_hint(const lago_connection_t *conn) {
    if (login_silence(conn)) return login_silence(conn);
    if (conn->dial.step == DIAL_SECURING) return "it accepted the connection and then said nothing: a plain port, or no broker?";
    return conn->session.state == SESSION_WAIT_START ? "it accepted the connection and then said nothing" : NULL;
}

static void attempt_timed_out(lago_connection_t *conn, struct deadline *self) {
    enum session_state state = conn->session.state;
    (void)self;
    if (conn->dial.step == DIAL_RESOLVING) {
        fail_with(conn, LAGO_ETIMEDOUT, 0, "the name server does not answer");
    } else if (conn->dial.step == DIAL_CONNECTING) {
        socket_timed_out(conn, self);
    } else if (conn->dial.step == DIAL_TALKING && state >= SESSION_FAILED) {
        lago_reason_t room; /* it has failed already: only its goodbye, or this turn, took too long */
        dial_failed(conn, reason_kept(&conn->session.reason, &room));
    } else {
        fail_with(conn, LAGO_ETIMEDOUT, 0, silence_hint(conn));
    }
}

static void overall_timed_out(lago_connection_t *conn, struct deadline *self) {
    lago_reason_t reason;
    (void)self;
    reason_init(&reason, LAGO_ETIMEDOUT, LAGO_BY_NETWORK);
    reason.phase = connection_phase(conn);
    reason_detail(&reason, "not connected within connect_deadline (%lu ms)", (unsigned long)rules(conn)->connect_deadline_ms);
    ending_start(conn, &reason);
}

/* ---------------------------------------------------------------- the way, step by step */

static void adopt(lago_connection_t *conn) {
    conn->dial.way->address_count = 1;
    conn->dial.way->address = 0;
    enter(conn, DIAL_CONNECTING);
    int rc = deadline_set(conn, &conn->dial.way->attempt, conn->p->stack_timeout_ms, attempt_timed_out);
    if (rc == 0) rc = conn->transport.ops->adopt(conn->transport.self);
    if (rc < 0) link_connected(conn, 0, rc);
}

static void begin_target(lago_connection_t *conn) {
    const struct target *target = target_of(conn);
    connection_use(conn, target->p);
    conn->dial.way->address = conn->dial.way->address_count = 0;
    conn->dial.way->failed = conn->dial.way->pending = 0;
    conn->dial.way->ordinary = false;
    set_endpoint(conn, "");
    if (conn->options.stream_is_given) {
        adopt(conn);
        return;
    }
    struct link_target to = { .host = is_proxied(conn) ? conn->p->proxy.host : target->host,
                              .port = is_proxied(conn) ? conn->p->proxy.port : target->port,
                              .local_address = conn->p->local_address,
                              .tcp_options = &conn->p->tcp_options };
    const lago_parameters_t *p = conn->p;
    uint32_t limit_ms = p->resolve_timeout_ms < p->stack_timeout_ms ? p->resolve_timeout_ms : p->stack_timeout_ms;
    enter(conn, DIAL_RESOLVING);
    int rc = deadline_set(conn, &conn->dial.way->attempt, limit_ms, attempt_timed_out);
    if (rc == 0) rc = conn->transport.ops->resolve(conn->transport.self, &to);
    if (rc < 0) link_resolved(conn, rc, 0);
}

void dial_start(lago_connection_t *conn) {
    conn->dial.way->round = 0;
    begin_round(conn);
    if (deadline_set(conn, &conn->dial.way->overall, rules(conn)->connect_deadline_ms, overall_timed_out) < 0) {
        conn->dial.step = DIAL_RESOLVING;
        fail_with(conn, LAGO_ENOMEM, 0, NULL);
    } else {
        begin_target(conn);
    }
}

void link_resolved(lago_connection_t *conn, int status, size_t address_count) {
    if (conn->dial.step != DIAL_RESOLVING) return;
    connection_touch(conn);
    conn->dial.way->address_count = address_count < LINK_ADDRESSES_MAX ? address_count : LINK_ADDRESSES_MAX;
    if (status == LAGO_ENOMEM)
        fail_with(conn, LAGO_ENOMEM, 0, NULL);
    else if (status < 0 || address_count == 0)
        fail_with(conn, LAGO_ERESOLVE, status, "check the host's name, and the name server");
    else {
        dial_phase_done(conn, LAGO_METRIC_RESOLVE);
        try_address(conn);
    }
    connection_wake(conn, true);
}

/* The link is there, and so is who guards it: AMQP begins. */
static void talk(lago_connection_t *conn) {
    capture_connected(conn);
    if (session_start(&conn->session, conn->session.now) < 0 || fast_start(conn) < 0) {
        fail_with(conn, LAGO_ENOMEM, 0, NULL);
        return;
    }
    enter(conn, DIAL_TALKING);
}

static void secure(lago_connection_t *conn) {
    const struct target *target = target_of(conn);
    if (!conn->p->tls) {
        talk(conn);
        return;
    }
    enter(conn, DIAL_SECURING);
    int rc = conn->transport.ops->secure(conn->transport.self, target->parameters, target->host);
    if (rc < 0) fail_with(conn, rc, 0, NULL);
}

static void ask_proxy(lago_connection_t *conn) {
    const struct target *target = target_of(conn);
    if (!is_proxied(conn) || conn->options.stream_is_given) {
        secure(conn);
        return;
    }
    enter(conn, DIAL_PROXYING);
    conn->dial.proxy = mem_zero(conn->alloc, 1, sizeof(*conn->dial.proxy));
    if (!conn->dial.proxy || proxy_start(conn->dial.proxy, conn->alloc, &conn->p->proxy, target->host, target->port) < 0)
        fail_with(conn, LAGO_ENOMEM, 0, NULL);
}

void link_connected(lago_connection_t *conn, size_t address, int status) {
    if (conn->dial.step != DIAL_CONNECTING) return;
    connection_touch(conn);
    if (status == LAGO_ENOMEM) {
        address_failed(conn, address, LAGO_ENOMEM, 0, NULL);
    } else if (status < 0) {
        address_failed(conn, address, LAGO_ECONNECT, status, is_proxied(conn) ? "no proxy listening?" : "no broker listening?");
    } else {
        conn->dial.way->address = address;
        conn->dial.way->pending = 0;
        conn->link_up = true;
        deadline_cancel(conn, &conn->dial.way->socket);
        deadline_cancel(conn, &conn->dial.way->stagger);
        set_endpoint(conn, conn->transport.ops->endpoint(conn->transport.self, address));
        dial_phase_done(conn, LAGO_METRIC_CONNECT);
        ask_proxy(conn);
    }
    connection_wake(conn, true);
}

/* ---------------------------------------------------------------- what comes before AMQP */

void dial_input(lago_connection_t *conn, const uint8_t *data, size_t size) {
    lago_reason_t reason;
    if (conn->dial.step != DIAL_PROXYING) return; /* nobody speaks in the other steps: a transport that does is wrong */
    int rc = proxy_input(conn->dial.proxy, data, size, &reason);
    if (rc < 0) dial_failed(conn, &reason);
    if (rc != 1) return;
    drop_proxy(conn);
    secure(conn);
}

void dial_lost(lago_connection_t *conn, int status) {
    bool proxying = conn->dial.step == DIAL_PROXYING;
    fail_with(conn, LAGO_ELOST, status,
              proxying ? "the proxy hung up: a proxy of another kind?"
                       : "does this port speak TLS, and does it want a client certificate?");
}

void link_secured(lago_connection_t *conn, const lago_reason_t *failure) {
    if (conn->dial.step != DIAL_SECURING) return;
    connection_touch(conn);
    if (failure) {
        dial_failed(conn, failure);
    } else {
        dial_phase_done(conn, LAGO_METRIC_TLS);
        talk(conn);
    }
    connection_wake(conn, true);
}

void dial_opened(lago_connection_t *conn) {
    dial_phase_done(conn, LAGO_METRIC_OPEN);
    fast_opened(conn);
    dial_stop(conn);
    timers_trim(&conn->timers);
    conn->connected_once = true;
    link_look(conn); /* from here on progress counts */
    connection_set_stage(conn, STAGE_OPEN);
    log_line(&conn->env, LAGO_LOG_INFO, "connected to %s", conn->endpoint);
    if (conn->options.on_open) conn->options.on_open(conn, conn->options.data);
}
