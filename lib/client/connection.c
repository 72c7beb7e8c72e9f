/* The handle: made, asked, referenced, dropped, freed. What it does in between is the other rooms' (see connection.h). */
#include "connection.h"

#include "alloc.h"
#include "channel.h"
#include "deadline.h"
#include "operation.h"
#include "probes.h"
#include "publish.h"
#include "reason.h"
#include "rpc.h"
#include "url.h"
#include <string.h>

void connection_set_stage(lago_connection_t *conn, enum connection_stage stage) {
    static const char *const names[] = { "dialing", "open", "closing", "ending", "finishing", "ended" };
    log_line(&conn->env, LAGO_LOG_DEBUG, "connection to %s: %s -> %s", conn->endpoint[0] ? conn->endpoint : conn->p->host,
             names[conn->stage], names[stage]);
    PROBE3(connection__stage, conn, (int)stage, (int)conn->stage);
    conn->stage = stage;
    conn->errands = true;
}

lago_phase_t connection_phase(const lago_connection_t *conn) {
    if (conn->stage != STAGE_DIALING) return session_phase(conn->session.state);
    switch (conn->dial.step) { /* unreachable: all are named */
    case DIAL_IDLE: return LAGO_PHASE_NONE;
    case DIAL_RESOLVING: return LAGO_PHASE_RESOLVE;
    case DIAL_CONNECTING:
    case DIAL_PAUSING: return LAGO_PHASE_CONNECT;
    case DIAL_PROXYING: return LAGO_PHASE_PROXY;
    case DIAL_SECURING: return LAGO_PHASE_TLS;
    case DIAL_TALKING: break;
    }
    return session_phase(conn->session.state);
}

uint64_t connection_clock_us(const lago_connection_t *conn) {
    return conn->transport.self ? conn->transport.ops->clock(conn->transport.self) / 1000u : conn->clock_us;
}

/* The only place where time enters. */
void connection_touch(lago_connection_t *conn) {
    if (!conn->transport.self) return;
    conn->clock_us = conn->transport.ops->clock(conn->transport.self) / 1000u;
    conn->session.now = conn->clock_us / 1000u;
}

void connection_limit_output(lago_connection_t *conn) {
    bool refuses = conn->session.blocked && conn->p->refuse_while_blocked;
    conn->output_limit = refuses ? 0 : conn->p->high_water;
}

void connection_hang_up(lago_connection_t *conn, bool reset) {
    capture_ended(conn);
    conn->transport.ops->hang_up(conn->transport.self, reset);
    conn->link_up = false;
}

void connection_wake(lago_connection_t *conn, bool turn) {
    if (turn) conn->turn_wanted = true;
    if (conn->woken || !conn->transport.self) return;
    conn->woken = true;
    conn->transport.ops->wake(conn->transport.self);
}

int deadline_set(lago_connection_t *conn, struct deadline *deadline, uint32_t delay_ms,
                 void (*passed)(lago_connection_t *conn, struct deadline *self)) {
    deadline->passed = passed;
    if (delay_ms == 0) delay_ms = 1; /* what sets itself anew without a delay must not keep one turn going for ever */
    uint64_t at = delay_ms == LAGO_NO_TIMEOUT ? DEADLINE_NEVER : deadline_after(conn->session.now, delay_ms);
    return timers_set(&conn->timers, &deadline->node, at);
}

void deadline_cancel(lago_connection_t *conn, struct deadline *deadline) { timers_cancel(&conn->timers, &deadline->node); }

/* ---------------------------------------------------------------- making */

static int check_options(const char *url, const lago_connection_options_t *options) {
    if (!options) return 0;
    if (url && options->parameters) return LAGO_EINVAL;
    for (size_t i = 0; i < sizeof(options->reserved) / sizeof(options->reserved[0]); i++)
        if (options->reserved[i]) return LAGO_EINVAL;
    return 0;
}

/* Whom each of the parameters trusts, and a word about those that trust anybody. */
static int read_trust(lago_connection_t *conn, lago_reason_t *reason) {
    for (size_t i = 0; i < conn->targets.parameters_count; i++) {
        const lago_tls_options_t *tls = conn->targets.parameters[i]->values.tls;
        if (!tls) continue;
        int rc = conn->transport.ops->trust(conn->transport.self, i, tls, reason);
        if (rc < 0) return rc;
        if (tls->insecure_skip_verification)
            log_line(
                &conn->env, LAGO_LOG_WARNING,
                "the broker's certificate is not verified (insecure_skip_verification): anybody can read and change everything");
    }
    return 0;
}

static void init_lists(lago_connection_t *conn) {
    list_init(&conn->operations);
    list_init(&conn->channels);
    list_init(&conn->ended_channels);
    conn->lender = (struct lender){ .pool = conn->env.blocks, .has_some = publish_released };
    list_init(&conn->later);
    list_init(&conn->garbage);
    list_init(&conn->resumed);
    list_init(&conn->lost_rpcs);
    list_init(&conn->freed_rpcs);
    list_init(&conn->waiting_publishers);
    list_init(&conn->ready_publishers);
    list_init(&conn->freed_publishers);
}

static struct session_settings settings_of(const lago_parameters_t *p) {
    return (struct session_settings){ .channel_max = p->channel_max,
                                      .message_size_max = p->message_size_max,
                                      .assembly_size_max = p->assembly_size_max,
                                      .write_timeout_ms = p->write_timeout_ms };
}

void connection_use(lago_connection_t *conn, const lago_parameters_t *p) {
    struct session_settings settings = settings_of(p);
    settings.trace = conn->session.settings.trace;
    settings.trace_data = conn->session.settings.trace_data;
    conn->session.settings = settings;
    conn->p = p;
    connection_limit_output(conn);
}

static void init_session(lago_connection_t *conn) {
    struct session_settings settings = settings_of(conn->p);
    if (log_wants(&conn->env, LAGO_LOG_TRACE)) {
        settings.trace = log_frame;
        settings.trace_data = &conn->env;
    }
    session_init(&conn->session, conn->alloc, &settings, transport_now_ms(&conn->transport));
    conn->session.out.pool = conn->env.blocks;
    connection_limit_output(conn);
    connection_touch(conn);
}

static struct callbacks callbacks_of(const lago_connection_options_t *options) {
    return (struct callbacks){ .on_open = options->on_open,
                               .on_open_error = options->on_open_error,
                               .on_close = options->on_close,
                               .on_blocked = options->on_blocked,
                               .on_unblocked = options->on_unblocked,
                               .on_drain = options->on_drain,
                               .on_phase = options->on_phase,
                               .data = options->data,
                               .free_data = options->free_data,
                               .stream_is_given = options->stream || options->socket_fd,
                               .stream_is_lent = options->free_stream };
}

static void init(lago_connection_t *conn, const struct environment *environment, const struct transport *transport,
                 const lago_connection_options_t *options) {
    conn->env = *environment;
    conn->alloc = &conn->env.alloc;
    conn->transport = *transport;
    if (options) conn->options = callbacks_of(options);
    conn->referenced = true;
    conn->push_at = SIZE_MAX;
    conn->endpoint = "";
    timers_init(&conn->timers, conn->alloc);
    init_lists(conn);
}

/* What can be wrong with what was given. */
static int read_options(lago_connection_t *conn, const char *url, const lago_connection_options_t *options,
                        lago_reason_t *reason) {
    int rc = attempts_init(conn, conn->options.on_phase);
    if (rc == 0) rc = dial_init(conn);
    if (rc == 0) rc = targets_make(conn->alloc, url, options, &conn->targets, reason);
    if (rc == 0) rc = read_trust(conn, reason);
    if (rc < 0 && reason->code) log_reason(&conn->env, LAGO_LOG_ERROR, NULL, reason);
    return rc;
}

int connection_new(const struct environment *environment, const struct transport *transport, const char *url,
                   const lago_connection_options_t *options, lago_connection_t **result) {
    lago_reason_t reason;
    *result = NULL;
    reason_init(&reason, 0, LAGO_BY_CLIENT);
    int rc = check_options(url, options);
    if (rc < 0) return rc;
    lago_connection_t *conn = mem_zero(&environment->alloc, 1, sizeof(*conn));
    if (!conn) return LAGO_ENOMEM;
    init(conn, environment, transport, options);
    rc = read_options(conn, url, options, &reason);
    if (rc < 0) {
        dial_stop(conn);
        attempts_clear(conn);
        targets_free(conn->alloc, &conn->targets);
        mem_free(&environment->alloc, conn);
        return rc;
    }
    targets_share(&conn->targets, conn->env.alike);
    conn->p = conn->targets.items[0].p;
    init_session(conn);
    conn->turn_wanted = true; /* to dial */
    *result = conn;
    return 0;
}

void *connection_transport(const lago_connection_t *conn) { return conn ? conn->transport.self : NULL; }

/* ---------------------------------------------------------------- ending by hand */

int lago_connection_abort(lago_connection_t *conn) {
    lago_reason_t reason;
    if (!conn) return LAGO_EINVAL;
    if (conn->stage >= STAGE_ENDING) return LAGO_ECLOSED;
    reason_init(&reason, LAGO_ECLOSED, LAGO_BY_CLIENT);
    reason_detail(&reason, "dropped by the application");
    connection_touch(conn);
    ending_start(conn, &reason);
    return 0;
}

static void destroy_channels(struct list *channels) {
    for (struct list *node; (node = list_first(channels)) != NULL;)
        channel_destroy(LIST_ENTRY(node, lago_channel_t, in_connection));
}

/* The last word, but what the caller's stream belongs to is needed until free_stream, when it is closed: destroy has it then. */
static void let_go_of_data(lago_connection_t *conn) {
    struct callbacks rest = { 0 };
    if (conn->options.stream_is_lent && !conn->finished) {
        rest.free_data = conn->options.free_data;
        rest.data = conn->options.data;
    } else if (conn->options.free_data) {
        conn->options.free_data(conn->options.data);
    }
    conn->options = rest;
}

/* Without a word: nothing of it may call back any more but free_data, free_stream and release_body. */
static void tear_down(lago_connection_t *conn) {
    conn->settling = NULL;
    later_clear(conn);
    destroy_channels(&conn->channels);
    destroy_channels(&conn->ended_channels);
    destroy_channels(&conn->garbage);
    rpc_reap(conn);
    publishers_reap(conn);
    for (struct list *node; (node = list_first(&conn->operations)) != NULL;)
        operation_free(LIST_ENTRY(node, struct operation, in_connection));
    session_deinit(&conn->session);
    while (release_step(conn)) {
    }
    let_go_of_data(conn);
    if (conn->stage < STAGE_FINISHING) {
        if (conn->stage < STAGE_ENDING) connection_hang_up(conn, false);
        connection_set_stage(conn, STAGE_FINISHING);
        conn->transport.ops->finish(conn->transport.self);
    }
}

static void destroy(lago_connection_t *conn) {
    lago_allocator_t alloc = *conn->alloc;
    if (conn->options.free_data) conn->options.free_data(conn->options.data);
    mem_free(&alloc, conn->closing.reply_text);
    block_unref(conn->server_properties);
    dial_stop(conn);
    dial_forget_endpoints(conn);
    timers_clear(&conn->timers);
    metrics_clear(conn);
    attempts_clear(conn);
    reason_forget(&conn->reason, &alloc);
    targets_free(&alloc, &conn->targets);
    mem_free(&alloc, conn);
}

/* Freed ones of channels. */
static bool handles_wait(const lago_connection_t *conn) {
    return !list_empty(&conn->freed_rpcs) || !list_empty(&conn->freed_publishers);
}

void connection_reap(lago_connection_t *conn) {
    if (conn->depth > 0) return;
    bool frees = !list_empty(&conn->garbage) || handles_wait(conn) || (conn->freed && !conn->torn_down);
    if (frees) watch_begin(conn, "free_data");
    conn->depth++; /* a free_data may free more: that waits for its turn here */
    do {
        rpc_reap(conn);
        publishers_reap(conn);
        destroy_channels(&conn->garbage);
    } while (handles_wait(conn));
    if (conn->freed && !conn->torn_down) {
        conn->torn_down = true;
        tear_down(conn);
    }
    conn->depth--;
    if (frees) watch_look(conn);
    if (conn->freed && conn->finished) destroy(conn);
}

void lago_connection_free(lago_connection_t *conn) {
    if (!conn) return;
    conn->freed = conn->errands = true;
    connection_reap(conn);
}

void link_enter(lago_connection_t *conn) {
    conn->depth++;
    connection_touch_once(conn);
    watch_begin(conn, "a post");
}

void link_leave(lago_connection_t *conn) {
    watch_look(conn);
    conn->depth--;
    connection_reap(conn);
}

lago_connection_t *link_handle(lago_connection_t *conn) { return conn->freed ? NULL : conn; }

void link_finished(lago_connection_t *conn) {
    conn->finished = true;
    conn->transport.self = NULL;
    conn->session.out.pool = conn->lender.pool = NULL; /* the context may go before the handle does; nothing is queued any more */
    targets_unshare(&conn->targets, conn->env.alike);
    conn->env.alike = NULL;
    conn->depth++;
    ending_told(conn);
    conn->depth--;
    connection_reap(conn);
}

/* ---------------------------------------------------------------- pausing */

static int set_paused(lago_connection_t *conn, bool paused) {
    if (!conn) return LAGO_EINVAL;
    if (conn->stage >= STAGE_ENDING) return LAGO_ECLOSED;
    connection_touch(conn);
    connection_halt(conn, HALT_PAUSED, paused && conn->stage != STAGE_CLOSING);
    connection_wake(conn, true);
    return 0;
}

int lago_connection_pause(lago_connection_t *conn) { return set_paused(conn, true); }

int lago_connection_resume(lago_connection_t *conn) { return set_paused(conn, false); }

/* ---------------------------------------------------------------- references */

void lago_connection_unref(lago_connection_t *conn) {
    if (!conn) return;
    conn->referenced = false;
    connection_wake(conn, false);
}

void lago_connection_ref(lago_connection_t *conn) {
    if (!conn) return;
    conn->referenced = true;
    connection_wake(conn, false);
}

/* ---------------------------------------------------------------- asking */

/* Of a session that comes up, by pika's names; of one that has ended before, it begins again. */
static const lago_connection_state_t pika_states[] = {
    [SESSION_IDLE] = LAGO_CONNECTION_INIT,         [SESSION_WAIT_START] = LAGO_CONNECTION_PROTOCOL,
    [SESSION_STARTING] = LAGO_CONNECTION_PROTOCOL, [SESSION_WAIT_TUNE] = LAGO_CONNECTION_START,
    [SESSION_SECURING] = LAGO_CONNECTION_START,    [SESSION_TUNING] = LAGO_CONNECTION_START,
    [SESSION_WAIT_OPEN] = LAGO_CONNECTION_TUNE,    [SESSION_OPEN] = LAGO_CONNECTION_INIT,
    [SESSION_CLOSING] = LAGO_CONNECTION_INIT,      [SESSION_FAILED] = LAGO_CONNECTION_INIT,
    [SESSION_LEAVING] = LAGO_CONNECTION_INIT,      [SESSION_ENDED] = LAGO_CONNECTION_INIT,
};

lago_connection_state_t lago_connection_state(const lago_connection_t *conn) {
    if (!conn || conn->stage >= STAGE_ENDING) return LAGO_CONNECTION_CLOSED;
    if (conn->stage == STAGE_CLOSING) return LAGO_CONNECTION_CLOSING;
    if (conn->stage == STAGE_OPEN) return conn->session.state == SESSION_OPEN ? LAGO_CONNECTION_OPEN : LAGO_CONNECTION_CLOSING;
    return conn->dial.step == DIAL_TALKING ? pika_states[conn->session.state] : LAGO_CONNECTION_INIT;
}

void *lago_connection_data(const lago_connection_t *conn) { return conn ? conn->options.data : NULL; }

const lago_reason_t *lago_connection_reason(const lago_connection_t *conn) {
    static const lago_reason_t without_memory = { .code = LAGO_ENOMEM, .origin = LAGO_BY_CLIENT };
    if (!conn || conn->stage < STAGE_ENDING) return NULL;
    return conn->reason.whole ? conn->reason.whole : &without_memory;
}

lago_tls_info_t lago_connection_tls(const lago_connection_t *conn) {
    static const lago_tls_info_t none = { .version = "", .cipher = "" };
    return conn && conn->link_up ? conn->transport.ops->tls(conn->transport.self) : none;
}

const char *lago_connection_endpoint(const lago_connection_t *conn) { return conn ? conn->endpoint : ""; }

lago_table_t lago_connection_server_properties(const lago_connection_t *conn) {
    lago_table_t table = { 0 };
    if (conn) {
        table.raw = conn->server_properties ? block_data(conn->server_properties) : NULL;
        table.size = conn->server_properties_size;
    }
    return table;
}

bool lago_connection_server_has(const lago_connection_t *conn, const char *capability) {
    lago_table_t properties = lago_connection_server_properties(conn);
    lago_value_t capabilities, value;
    return capability && lago_table_get(&properties, "capabilities", &capabilities) == 1 &&
           capabilities.type == LAGO_TYPE_TABLE && lago_table_get(&capabilities.as.table, capability, &value) == 1 &&
           value.type == LAGO_TYPE_BOOLEAN && value.as.boolean;
}

lago_tune_t lago_connection_tune(const lago_connection_t *conn) { return conn ? conn->session.tune : (lago_tune_t){ 0 }; }

bool lago_connection_is_blocked(const lago_connection_t *conn) {
    return conn && conn->session.blocked && conn->stage < STAGE_ENDING;
}

bool lago_connection_writable(const lago_connection_t *conn) {
    return conn && publish_is_possible(conn) && session_output_size(&conn->session) < conn->output_limit;
}

size_t lago_connection_output_size(const lago_connection_t *conn) { return conn ? session_output_size(&conn->session) : 0; }
