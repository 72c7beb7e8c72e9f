/*
 * Credentials that expire: the application is asked for new ones while the old ones are still good, and they are sent by
 * connection.update-secret (RabbitMQ). One question at a time; who has none is asked again, less and less ahead of the end.
 */
#include "connection.h"
#include "deadline.h"

/* RabbitMQ's Java client does so, too: early enough for a second try, late enough to use most of a token's life. */
#define REFRESH_PERCENT 80u

/* After a refusal: an identity provider that is down is not asked more often. */
#define ASK_AGAIN_MIN_MS 1000u

static void ask_or_expire(lago_connection_t *conn, struct deadline *self);

/* Longer than a deadline can be (49 days): earlier does no harm. */
static uint32_t limited(uint64_t ms) { return ms < LAGO_NO_TIMEOUT ? (uint32_t)ms : LAGO_NO_TIMEOUT - 1; }

static int wait_for(lago_connection_t *conn, uint64_t ms) {
    return deadline_set(conn, &conn->login.refresh, limited(ms), ask_or_expire);
}

static uint64_t time_left(const lago_connection_t *conn) {
    uint64_t now = conn->session.now;
    return conn->login.expires_at > now ? conn->login.expires_at - now : 0;
}

int refresh_schedule(lago_connection_t *conn, uint32_t expires_in_s) {
    if (expires_in_s == 0) {
        refresh_stop(conn);
        return 0;
    }
    int rc = wait_for(conn, (uint64_t)expires_in_s * 10u * REFRESH_PERCENT);
    if (rc == 0) conn->login.expires_at = deadline_after(conn->session.now, (uint64_t)expires_in_s * 1000u);
    return rc;
}

void refresh_stop(lago_connection_t *conn) {
    deadline_cancel(conn, &conn->login.refresh);
    conn->login.expires_at = 0;
    conn->login.refreshing = false;
}

/* Nothing may be touched afterwards: the application may have done anything. */
static void ask(lago_connection_t *conn) {
    struct login *login = &conn->login;
    const lago_credentials_t *who = &conn->p->credentials;
    lago_login_request_t request = { .ticket = ++login->tickets, .mechanism = login->mechanism.ours->name, .refresh = true };
    login->awaited = request.ticket;
    login->refreshing = true;
    watch_calling(conn, "on_login", 0);
    who->on_login(conn, &request, who->login_data);
}

/* Who came late, or refused up to now, is asked even at the end: the broker may be more patient than the credentials. */
static void ask_or_expire(lago_connection_t *conn, struct deadline *self) {
    uint64_t left = time_left(conn);
    (void)self;
    if (conn->stage == STAGE_CLOSING) return;
    if (conn->stage == STAGE_DIALING) { /* logging in takes longer than most of their life */
        (void)wait_for(conn, ASK_AGAIN_MIN_MS);
        return;
    }
    if (left > 0)
        (void)wait_for(conn, left); /* the node has just left the heap: there is room for it */
    else
        log_line(&conn->env, LAGO_LOG_WARNING, "the login's credentials have expired%s",
                 conn->login.refreshing ? "; the application has not answered on_login" : "");
    if (!conn->login.refreshing) ask(conn);
}

int refresh_provided(lago_connection_t *conn, const lago_login_t *login) {
    uint64_t expires_at = conn->login.expires_at;
    int rc = refresh_schedule(conn, login->expires_in_s);
    if (rc < 0) return rc;
    rc = lago_update_secret(conn, login->password, "the token expires", NULL, NULL);
    if (rc == 0) return 0;
    /* still to be answered, as if nothing had been said */
    conn->login.expires_at = expires_at;
    conn->login.refreshing = true;
    if (time_left(conn) > 0)
        (void)wait_for(conn, time_left(conn)); /* there was room for it before */
    else
        deadline_cancel(conn, &conn->login.refresh);
    return rc;
}

void refresh_refused(lago_connection_t *conn, const char *why) {
    uint64_t left = time_left(conn), pause = left / 2 > ASK_AGAIN_MIN_MS ? left / 2 : ASK_AGAIN_MIN_MS;
    const char *colon = why ? ": " : "";
    if (!why) why = "";
    if (left == 0) {
        log_line(&conn->env, LAGO_LOG_WARNING, "no new credentials%s%s; those of the login have expired", colon, why);
        return;
    }
    log_line(&conn->env, LAGO_LOG_WARNING, "no new credentials%s%s; those of the login expire in %llu s", colon, why,
             (unsigned long long)(left / 1000u));
    (void)wait_for(conn, pause < left ? pause : left); /* it was set: there is room for it */
}
