/* The blocked-loop detective. */
#include "watch.h"
#include "channel.h"
#include "connection.h"
#include "deadline.h"
#include "probes.h"
#include "text.h"

#define LINES_APART_MS 1000u /* one line a second; what was left out is counted in the next */

/* Without a transport there is no clock: in the last callback of a connection's life. */
static bool is_on(const lago_connection_t *conn) {
    return conn->env.callback_limit_ms != LAGO_NO_TIMEOUT && conn->transport.self;
}

static void tell(lago_connection_t *conn, const char *who, uint64_t held_ms) {
    struct watch *watch = &conn->watch;
    char more[64] = "";
    struct text t;
    if (watch->told_ms && watch->mark_ms - watch->told_ms < LINES_APART_MS) {
        watch->untold++;
        return;
    }
    text_init(&t, more, sizeof(more));
    if (watch->untold) text_addf(&t, " (and %u more such callbacks)", watch->untold);
    log_line(&conn->env, LAGO_LOG_WARNING, "%s held the loop for %llu ms%s; the heartbeat is %u s", who,
             (unsigned long long)held_ms, more, conn->session.tune.heartbeat_s);
    watch->told_ms = watch->mark_ms;
    watch->untold = 0;
}

/* "basic.deliver on channel 1 (consumer ctag1.1)" */
static void name_callback(const lago_connection_t *conn, struct text *t) {
    const struct watch *watch = &conn->watch;
    const lago_channel_t *ch = watch->channel ? session_channel_owner(&conn->session, watch->channel) : NULL;
    lago_string_t tag = ch ? consume_recent_tag(ch) : (lago_string_t){ NULL, 0 };
    text_addf(t, "the callback of %s", watch->what);
    if (watch->channel) text_addf(t, " on channel %u", watch->channel);
    if (tag.size && watch->what == method_find(METHOD_BASIC_DELIVER)->name) {
        text_add(t, " (consumer ");
        text_add_escaped(t, tag.data, tag.size, 64);
        text_add(t, ")");
    }
}

void watch_begin(lago_connection_t *conn, const char *what) {
    if (!is_on(conn)) return;
    conn->watch.what = what;
    conn->watch.channel = 0;
    conn->watch.unlooked = 1;
    conn->watch.mark_ms = conn->transport.ops->coarse_ms(conn->transport.self);
}

static void held(lago_connection_t *conn, uint64_t held_ms) {
    char who[192];
    struct text t;
    conn->counters.slow_callbacks++;
    PROBE2(callback__slow, conn, held_ms);
    text_init(&t, who, sizeof(who));
    name_callback(conn, &t);
    tell(conn, who, held_ms);
}

void watch_look(lago_connection_t *conn) {
    if (conn->watch.unlooked == 0 || !is_on(conn)) return;
    conn->watch.unlooked = 0;
    uint64_t now = conn->transport.ops->coarse_ms(conn->transport.self), held_ms = now - conn->watch.mark_ms;
    conn->watch.mark_ms = conn->watch.left_ms = now;
    if (held_ms >= conn->env.callback_limit_ms) held(conn, held_ms);
}

void watch_turn(lago_connection_t *conn) {
    conn->watch.unlooked = 0; /* the turn itself calls nobody */
    uint64_t since = conn->watch.wanted_ms > conn->watch.left_ms ? conn->watch.wanted_ms : conn->watch.left_ms;
    uint64_t now = conn->session.now;
    bool late = conn->watch.wanted_ms != DEADLINE_NEVER && conn->watch.wanted_ms && now > since;
    conn->watch.wanted_ms = DEADLINE_NEVER;
    if (!is_on(conn) || !late || now - since < conn->env.callback_limit_ms) return;
    tell(conn, "something else than this connection's callbacks (or a stopped process)", now - since);
}
