/*
 * Dialing: rounds over the addresses of a host until connection.open-ok, each attempt within stack_timeout, all of it within
 * connect_deadline. What a broker refuses in words ends the round, because its other addresses are the same broker; what the
 * network refuses moves on to the next address.
 */
#include "channel.h"
#include "connection.h"
#include "reason.h"
#include "text.h"
#include <string.h>

static void resolve(lago_connection_t *conn);
static void attempt_timed_out(lago_connection_t *conn, struct deadline *self);

static void stop_timers(lago_connection_t *conn) {
    deadline_cancel(conn, &conn->dial.attempt);
    deadline_cancel(conn, &conn->dial.socket);
}

void dial_stop(lago_connection_t *conn) {
    stop_timers(conn);
    deadline_cancel(conn, &conn->dial.overall);
    conn->dial.step = DIAL_IDLE;
}

static void fail_with(lago_connection_t *conn, int code, lago_phase_t phase, int os_error, const char *hint) {
    lago_reason_t reason;
    reason_init(&reason, code, LAGO_BY_NETWORK);
    reason.phase = phase;
    reason.os_error = os_error;
    if (hint) reason_hint(&reason, "%s", hint);
    if (code == LAGO_ERESOLVE) reason_detail(&reason, "cannot find host \"%s\"", conn->p->host);
    dial_failed(conn, &reason);
}

/* Before the broker spoke (or when only the link failed) another address of the host may do better. */
static bool is_of_the_link(const lago_reason_t *reason) {
    return reason->code == LAGO_ECONNECT || reason->code == LAGO_ELOST || reason->code == LAGO_ETIMEDOUT ||
           reason->code == LAGO_ENOMEM;
}

/* The n-th address of this round. */
static void try_address(lago_connection_t *conn) {
    conn->endpoint[0] = '\0';
    conn->dial.step = DIAL_CONNECTING;
    conn->dial.since_us = conn->clock_us;
    if (deadline_set(conn, &conn->dial.attempt, conn->p->stack_timeout_ms, attempt_timed_out) < 0 ||
        deadline_set(conn, &conn->dial.socket, conn->p->socket_timeout_ms, attempt_timed_out) < 0) {
        fail_with(conn, LAGO_ENOMEM, LAGO_PHASE_CONNECT, 0, NULL);
        return;
    }
    int rc = conn->transport.ops->connect(conn->transport.self, conn->dial.address);
    if (rc < 0) link_connected(conn, rc, "");
}

static void pause_over(lago_connection_t *conn, struct deadline *self) {
    (void)self;
    resolve(conn);
}

static void next_round(lago_connection_t *conn, const lago_reason_t *reason) {
    if (conn->dial.round >= conn->p->connection_attempts) {
        ending_start(conn, reason);
        return;
    }
    conn->dial.round++;
    conn->dial.step = DIAL_PAUSING;
    if (deadline_set(conn, &conn->dial.attempt, conn->p->retry_delay_ms, pause_over) < 0) ending_start(conn, reason);
}

/* What only the client knows of a refusal: where it was, and whose login or which virtual host. */
void dial_describe(const lago_connection_t *conn, lago_reason_t *reason) {
    char user[80], vhost[80];
    struct text t;
    if (!reason->endpoint[0]) memcpy(reason->endpoint, conn->endpoint, sizeof(reason->endpoint));
    if (reason->origin != LAGO_BY_BROKER || reason->detail[0]) return;
    text_init(&t, user, sizeof(user));
    text_add_escaped(&t, conn->p->credentials.username, strlen(conn->p->credentials.username), 64);
    text_init(&t, vhost, sizeof(vhost));
    text_add_escaped(&t, conn->p->virtual_host, strlen(conn->p->virtual_host), 64);
    if (reason->code == LAGO_EAUTH && conn->login.own) {
        reason_detail(reason, "login by %.64s refused", conn->login.own->name);
        reason_hint(reason, "check what the mechanism answers");
    } else if (reason->code == LAGO_EAUTH) {
        reason_detail(reason, "login refused for user '%.70s'", user);
        reason_hint(reason, "check user name and password");
    } else if (reason->code == LAGO_EACCESS) {
        reason_detail(reason, "virtual host '%.70s' refused for user '%.70s'", vhost, user);
        reason_hint(reason, "check that it exists and that the user may use it");
    }
}

void dial_failed(lago_connection_t *conn, const lago_reason_t *reason) {
    lago_reason_t told = *reason;
    enum dial_step step = conn->dial.step;
    dial_describe(conn, &told);
    stop_timers(conn);
    connection_hang_up(conn, false);
    conn->write_error = 0;
    deadline_cancel(conn, &conn->write_error_timer);
    session_rest(&conn->session);
    bool same_round = step != DIAL_RESOLVING && is_of_the_link(&told) && conn->dial.address + 1 < conn->dial.address_count;
    if (same_round || conn->dial.round < conn->p->connection_attempts)
        log_reason(&conn->env, LAGO_LOG_INFO, "attempt failed", &told);
    if (!same_round) {
        next_round(conn, &told);
        return;
    }
    conn->dial.address++;
    try_address(conn);
}

static void attempt_timed_out(lago_connection_t *conn, struct deadline *self) {
    enum session_state state = conn->session.state;
    (void)self;
    if (conn->dial.step == DIAL_RESOLVING || conn->dial.step == DIAL_CONNECTING) {
        fail_with(conn, LAGO_ETIMEDOUT, connection_phase(conn), 0, NULL);
    } else if (state == SESSION_FAILED || state == SESSION_LEAVING) {
        lago_reason_t known = conn->session.reason; /* only its goodbye took too long */
        dial_failed(conn, &known);
    } else {
        const char *hint = state == SESSION_WAIT_START ? "it accepted the connection and then said nothing" : NULL;
        if (conn->login.awaited) hint = "the application has not answered on_challenge";
        fail_with(conn, LAGO_ETIMEDOUT, connection_phase(conn), 0, hint);
    }
}

static void overall_timed_out(lago_connection_t *conn, struct deadline *self) {
    lago_reason_t reason;
    (void)self;
    reason_init(&reason, LAGO_ETIMEDOUT, LAGO_BY_NETWORK);
    reason.phase = connection_phase(conn);
    reason_detail(&reason, "not connected within connect_deadline (%lu ms)", (unsigned long)conn->p->connect_deadline_ms);
    ending_start(conn, &reason);
}

static void resolve(lago_connection_t *conn) {
    conn->dial.step = DIAL_RESOLVING;
    conn->dial.since_us = conn->clock_us;
    conn->dial.address = conn->dial.address_count = 0;
    conn->endpoint[0] = '\0';
    int rc = deadline_set(conn, &conn->dial.attempt, conn->p->stack_timeout_ms, attempt_timed_out);
    if (rc == 0) rc = conn->transport.ops->resolve(conn->transport.self, conn->p->host, conn->p->port, &conn->p->tcp_options);
    if (rc < 0) link_resolved(conn, rc, 0);
}

void dial_start(lago_connection_t *conn) {
    conn->dial.round = 1;
    if (deadline_set(conn, &conn->dial.overall, conn->p->connect_deadline_ms, overall_timed_out) < 0)
        fail_with(conn, LAGO_ENOMEM, LAGO_PHASE_RESOLVE, 0, NULL);
    else
        resolve(conn);
}

void link_resolved(lago_connection_t *conn, int status, size_t address_count) {
    if (conn->stage != STAGE_DIALING || conn->dial.step != DIAL_RESOLVING) return;
    connection_touch(conn);
    conn->dial.address_count = address_count;
    if (status == LAGO_ENOMEM)
        fail_with(conn, LAGO_ENOMEM, LAGO_PHASE_RESOLVE, 0, NULL);
    else if (status < 0 || address_count == 0)
        fail_with(conn, LAGO_ERESOLVE, LAGO_PHASE_RESOLVE, status, "check the host's name, and the name server");
    else {
        dial_phase_done(conn, LAGO_METRIC_RESOLVE);
        try_address(conn);
    }
    connection_wake(conn, true);
}

void link_connected(lago_connection_t *conn, int status, const char *endpoint) {
    struct text t;
    if (conn->stage != STAGE_DIALING || conn->dial.step != DIAL_CONNECTING) return;
    connection_touch(conn);
    text_init(&t, conn->endpoint, sizeof(conn->endpoint));
    text_add(&t, endpoint);
    deadline_cancel(conn, &conn->dial.socket);
    if (status == 0) capture_connected(conn);
    if (status == 0) status = session_start(&conn->session, conn->session.now);
    if (status == LAGO_ENOMEM) {
        fail_with(conn, LAGO_ENOMEM, LAGO_PHASE_CONNECT, 0, NULL);
    } else if (status < 0) {
        fail_with(conn, LAGO_ECONNECT, LAGO_PHASE_CONNECT, status, "no broker listening?");
    } else {
        dial_phase_done(conn, LAGO_METRIC_CONNECT);
        conn->login.awaited = 0;
        conn->dial.step = DIAL_TALKING;
        conn->link_up = true;
    }
    connection_wake(conn, true);
}

void dial_phase_done(lago_connection_t *conn, lago_metric_t metric) {
    metrics_record(conn, metric, conn->dial.since_us);
    conn->dial.since_us = conn->clock_us;
}

void dial_opened(lago_connection_t *conn) {
    dial_phase_done(conn, LAGO_METRIC_OPEN);
    dial_stop(conn);
    conn->connected_once = true;
    connection_set_stage(conn, STAGE_OPEN);
    log_line(&conn->env, LAGO_LOG_INFO, "connected to %s", conn->endpoint);
    if (conn->options.on_open) conn->options.on_open(conn, conn->options.data);
}
