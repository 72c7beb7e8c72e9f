/*
 * Opening in one round trip (fast_open): who knows from an ordinary opening what this broker says answers before it says so again.
 * A password leaves before the broker has spoken, so only to where nobody can stand between; and whatever comes otherwise than
 * assumed ends the link, and the next one is opened ordinarily, which tells the cause. What is sent is login.c's and the session's.
 */
#include "connection.h"
#include "mechanism.h"
#include "reason.h"
#include <string.h>

static bool is_wanted(const lago_connection_t *conn) {
    return conn->p->fast_open && conn->env.book && !conn->options.stream_is_given;
}

/* A proxy stands between; and its address is not the broker's. */
static bool is_private(const lago_connection_t *conn) {
    return conn->p->proxy.type == LAGO_PROXY_NONE && conn->transport.ops->is_private(conn->transport.self);
}

/* One that needs neither the application nor a second round. */
static bool choose(const lago_connection_t *conn, const char *offered, struct chosen_mechanism *chosen) {
    const lago_credentials_t *who = &conn->p->credentials;
    if (!credentials_choose(who, (lago_string_t){ offered, strlen(offered) }, chosen) || !chosen->ours) return false;
    return !chosen->ours->response || !who->on_login;
}

int fast_start(lago_connection_t *conn) {
    struct chosen_mechanism mechanism;
    if (!is_wanted(conn) || conn->dial.way->ordinary || !is_private(conn)) return 0;
    const struct book_entry *known = book_find(conn->env.book, conn->endpoint, conn->p->tls != NULL);
    if (!known || !choose(conn, known->mechanisms, &mechanism)) return 0;
    lago_tune_t tune = login_negotiate(conn, &known->offered); /* a broker's that has opened so: not below the minimum */
    int rc = login_go_ahead(conn, &mechanism, &tune);
    return rc == LAGO_ENOMEM ? rc : 0; /* what does not fit ahead is told by the ordinary way */
}

/* It is not as it was. */
static void changed(lago_connection_t *conn, const char *what) {
    lago_reason_t reason;
    reason_init(&reason, LAGO_EPROTOCOL, LAGO_BY_CLIENT);
    reason_detail(&reason, "the broker's %s is not what it said before", what);
    session_abandon(&conn->session, &reason);
}

bool fast_started(lago_connection_t *conn, lago_string_t offered) {
    struct chosen_mechanism mechanism;
    struct book_entry *said = &conn->dial.way->said;
    said->endpoint[0] = '\0'; /* what an attempt before this one heard was never opened */
    if (conn->session.ahead) {
        bool same = credentials_choose(&conn->p->credentials, offered, &mechanism) &&
                    mechanism.ours == conn->login.mechanism.ours; /* which is one of lago's own */
        if (same)
            (void)session_assumed(&conn->session); /* it waits for just that */
        else
            changed(conn, "connection.start");
        return true;
    }
    bool fits = strlen(conn->endpoint) < sizeof(said->endpoint) && offered.size < sizeof(said->mechanisms);
    if (!is_wanted(conn) || !fits) return false;
    memcpy(said->endpoint, conn->endpoint, strlen(conn->endpoint) + 1);
    memcpy(said->mechanisms, offered.data, offered.size);
    said->mechanisms[offered.size] = '\0';
    said->tls = conn->p->tls != NULL;
    return false;
}

bool fast_tuned(lago_connection_t *conn, const lago_tune_t *offered, const lago_tune_t *agreed) {
    const lago_tune_t *assumed = &conn->session.assumed;
    if (!conn->session.ahead) {
        conn->dial.way->said.offered = *offered;
        return false;
    }
    bool same = agreed->channel_max == assumed->channel_max && agreed->frame_max == assumed->frame_max &&
                agreed->heartbeat_s == assumed->heartbeat_s;
    if (same)
        (void)session_assumed(&conn->session); /* as above */
    else
        changed(conn, "connection.tune");
    return true;
}

void fast_opened(lago_connection_t *conn) {
    if (conn->dial.way->said.endpoint[0]) book_learn(conn->env.book, &conn->dial.way->said);
}

void fast_failed(lago_connection_t *conn, const lago_reason_t *reason) {
    book_forget(conn->env.book, conn->endpoint, conn->p->tls != NULL);
    conn->dial.way->ordinary = true;
    log_reason(&conn->env, LAGO_LOG_INFO, "fast_open failed, trying the ordinary way", reason);
}
