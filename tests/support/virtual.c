/* Virtual time and an imagined network. Must not know AMQP; server.h is the broker's side. */
#include "virtual.h"

#include "deadline.h"
#include "reason.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICES_MAX   64u     /* as adapters/uv */
#define PIECE_RANDOM 16u     /* largest random piece without piece_max: several to a frame */
#define STEPS_MAX    1000000 /* a client that never comes to rest has a bug */

struct virtual_piece {
    struct virtual_piece *next;
    size_t size, done;
    uint8_t bytes[];
};

__attribute__((format(printf, 1, 2), noreturn)) static void broken(const char *format, ...) {
    va_list args;
    fprintf(stderr, "virtual transport: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

static void *grown(void *data, size_t *capacity, size_t needed) {
    if (needed <= *capacity) return data;
    while (*capacity < needed) *capacity = *capacity ? *capacity * 2 : 1024;
    data = realloc(data, *capacity);
    if (!data) broken("no memory for the test itself");
    return data;
}

static void tap(struct virtual *v, enum virtual_tap what, const uint8_t *bytes, size_t size) {
    if (v->tap) v->tap(v->tap_data, what, bytes, size);
}

/* ---------------------------------------------------------------- input that waits */

static void pieces_clear(struct virtual *v) {
    while (v->first_piece) {
        struct virtual_piece *piece = v->first_piece;
        v->first_piece = piece->next;
        free(piece);
    }
    v->last_piece = NULL;
}

void virtual_input(struct virtual *v, const void *data, size_t size) {
    struct virtual_piece *piece = malloc(sizeof(*piece) + size);
    if (!piece) broken("no memory for the test itself");
    if (size) memcpy(piece->bytes, data, size);
    piece->next = NULL;
    piece->size = size;
    piece->done = 0;
    if (v->last_piece)
        v->last_piece->next = piece;
    else
        v->first_piece = piece;
    v->last_piece = piece;
}

/* A small generator of its own, so that a seed means the same everywhere. */
static uint32_t random_next(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static size_t piece_size(struct virtual *v, size_t left) {
    size_t max = v->piece_max;
    if (v->piece_seed) max = 1 + random_next(&v->piece_seed) % (max ? max : PIECE_RANDOM);
    return max && max < left ? max : left;
}

static void piece_done(struct virtual *v) {
    struct virtual_piece *piece = v->first_piece;
    v->first_piece = piece->next;
    if (!v->first_piece) v->last_piece = NULL;
    free(piece);
}

/* The next bytes in memory of exactly their size, so that a sanitizer sees who reads beyond. */
static size_t lend_input(struct virtual *v) {
    struct virtual_piece *piece = v->first_piece;
    size_t size = piece_size(v, piece->size - piece->done);
    v->lent = malloc(size ? size : 1);
    if (!v->lent) broken("no memory for the test itself");
    memcpy(v->lent, piece->bytes + piece->done, size);
    tap(v, VIRTUAL_RECEIVED, v->lent, size);
    piece->done += size;
    if (piece->done == piece->size) piece_done(v);
    return size;
}

static void take_back_input(struct virtual *v) {
    if (!v->lent || (!v->finished && link_has_input(v->conn))) return;
    free(v->lent);
    v->lent = NULL;
}

/* ---------------------------------------------------------------- verbs */

static struct virtual *verb(void *transport, const char *name) {
    struct virtual *v = transport;
    if (v->finishing) broken("%s after finish", name);
    return v;
}

static uint64_t verb_clock(void *transport) { return ((struct virtual *)transport)->now * 1000000u; }

static uint64_t verb_coarse_ms(void *transport) { return ((struct virtual *)transport)->now; }

static uint64_t verb_random(void *transport) { return verb(transport, "random")->random++; }

static int verb_trust(void *transport, size_t parameters, const lago_tls_options_t *options, lago_reason_t *reason) {
    struct virtual *v = verb(transport, "trust");
    (void)parameters;
    (void)options;
    v->counts.trust++;
    if (v->trust_result < 0) {
        reason_init(reason, v->trust_result, LAGO_BY_CLIENT);
        reason_detail(reason, "refused");
    }
    return v->trust_result;
}

static int verb_resolve(void *transport, const struct link_target *target) {
    struct virtual *v = verb(transport, "resolve");
    if (v->link != VIRTUAL_NO_LINK) broken("resolve before hang_up");
    v->counts.resolve++;
    snprintf(v->host, sizeof(v->host), "%s", target->host);
    snprintf(v->local_address, sizeof(v->local_address), "%s", target->local_address ? target->local_address : "");
    v->port = target->port;
    if (v->resolve_result < 0) return v->resolve_result;
    v->link = VIRTUAL_RESOLVING;
    v->answer_pending = true;
    return 0;
}

static uint64_t bit(size_t address) { return UINT64_C(1) << address; }

static int verb_connect(void *transport, size_t address) {
    struct virtual *v = verb(transport, "connect");
    if (v->link != VIRTUAL_NO_LINK && v->link != VIRTUAL_CONNECTING) broken("connect before hang_up");
    if (address >= v->address_count || address >= VIRTUAL_ADDRESSES_MAX)
        broken("connect to address %zu of %zu", address, v->address_count);
    if (v->connecting & bit(address)) broken("connect to address %zu twice", address);
    v->counts.connect++;
    v->address = address;
    if (v->connect_result < 0) return v->connect_result;
    v->link = VIRTUAL_CONNECTING;
    v->connecting |= bit(address);
    return 0;
}

static int verb_adopt(void *transport) {
    struct virtual *v = verb(transport, "adopt");
    if (v->link != VIRTUAL_NO_LINK) broken("adopt before hang_up");
    v->counts.adopt++;
    if (v->adopt_result < 0) return v->adopt_result;
    v->address = 0;
    v->link = VIRTUAL_CONNECTING;
    v->connecting = bit(0);
    return 0;
}

static const char *verb_endpoint(void *transport, size_t address) {
    struct virtual *v = verb(transport, "endpoint");
    if (v->endpoint[address % VIRTUAL_ADDRESSES_MAX]) return v->endpoint[address % VIRTUAL_ADDRESSES_MAX];
    snprintf(v->words, sizeof(v->words), "192.0.2.%zu:5672", address + 1);
    return v->words;
}

static int verb_secure(void *transport, size_t parameters, const char *host) {
    struct virtual *v = verb(transport, "secure");
    if (v->link != VIRTUAL_CONNECTED) broken("secure without a link");
    v->counts.secure++;
    v->trusted = parameters;
    snprintf(v->server_name, sizeof(v->server_name), "%s", host);
    if (v->secure_result < 0) return v->secure_result;
    v->link = VIRTUAL_SECURING;
    v->answer_pending = true;
    return 0;
}

static bool verb_is_private(const void *transport) { return ((const struct virtual *)transport)->is_private; }

static lago_tls_info_t verb_tls(const void *transport) {
    (void)transport;
    return (lago_tls_info_t){ .version = "", .cipher = "" };
}

static uint64_t verb_taken(void *transport, bool *waiting) {
    struct virtual *v = verb(transport, "taken");
    v->counts.taken++;
    *waiting = v->swallowed;
    return v->taken;
}

static void drop_link(struct virtual *v) {
    if (v->link == VIRTUAL_CONNECTED || v->link == VIRTUAL_SECURING) tap(v, VIRTUAL_LINK_DOWN, NULL, 0);
    v->link = VIRTUAL_NO_LINK;
    v->answer_pending = v->lost_pending = v->write_failed = false;
    v->connecting = 0;
    v->taken = 0;
    v->write_status = 0;
    pieces_clear(v);
}

static void verb_hang_up(void *transport, bool reset) {
    struct virtual *v = verb(transport, "hang_up");
    v->counts.hang_up++;
    v->counts.reset += reset;
    drop_link(v);
}

static void verb_wake(void *transport) { verb(transport, "wake")->counts.wake++; }

static bool verb_unread(void *transport) {
    struct virtual *v = verb(transport, "unread");
    v->counts.unread++;
    return v->link == VIRTUAL_CONNECTED && (v->unread_always || v->first_piece || v->lost_pending);
}

static void verb_cancel_posts(void *transport) { verb(transport, "cancel_posts")->counts.cancel_posts++; }

static void verb_finish(void *transport) {
    struct virtual *v = verb(transport, "finish");
    v->counts.finish++;
    v->finishing = true;
    drop_link(v);
}

/* ---------------------------------------------------------------- output */

static void keep_output(struct virtual *v, const uint8_t *data, size_t size) {
    if (!v->output_untold) {
        v->output = grown(v->output, &v->output_capacity, v->output_size + size);
        memcpy(v->output + v->output_size, data, size);
        v->output_size += size;
    }
    tap(v, VIRTUAL_SENT, data, size);
}

/* One write of what the peer takes now. @return how much that is. */
static size_t write_once(struct virtual *v) {
    struct slice slices[SLICES_MAX];
    size_t limit = v->room < v->write_max ? v->room : v->write_max, size = 0;
    size_t count = link_output(v->conn, slices, SLICES_MAX);
    for (size_t i = 0; i < count && size < limit; i++) {
        size_t part = slices[i].size < limit - size ? slices[i].size : limit - size;
        keep_output(v, slices[i].data, part);
        size += part;
    }
    if (size == 0) return 0;
    if (v->room != SIZE_MAX) v->room -= size;
    v->counts.writes++;
    v->drained_at = v->now;
    if (!v->swallowed) v->taken += size;
    link_written(v->conn, size);
    return size;
}

/* What the peer takes now; false if nothing moved. */
static bool write_some(struct virtual *v, const struct link_wants *wants) {
    if (v->link != VIRTUAL_CONNECTED || v->write_failed || !wants->write) return false;
    if (v->write_status < 0) {
        v->write_failed = true;
        link_write_failed(v->conn, v->write_status);
        return true;
    }
    if (write_once(v) > 0) return true;
    struct slice slice;
    if (link_output(v->conn, &slice, 1) == 0) broken("link_wants says write, and there is no output");
    return false;
}

/* An error is found here and told later. */
static void verb_push(void *transport) {
    struct virtual *v = verb(transport, "push");
    if (v->link != VIRTUAL_CONNECTED) broken("push without a link");
    v->counts.push++;
    while (!v->write_failed && v->write_status == 0 && write_once(v) > 0) continue;
}

static const struct transport_ops virtual_ops = {
    .clock = verb_clock,
    .coarse_ms = verb_coarse_ms,
    .random = verb_random,
    .trust = verb_trust,
    .resolve = verb_resolve,
    .connect = verb_connect,
    .adopt = verb_adopt,
    .endpoint = verb_endpoint,
    .secure = verb_secure,
    .is_private = verb_is_private,
    .tls = verb_tls,
    .taken = verb_taken,
    .hang_up = verb_hang_up,
    .wake = verb_wake,
    .push = verb_push,
    .unread = verb_unread,
    .cancel_posts = verb_cancel_posts,
    .finish = verb_finish,
};

/* ---------------------------------------------------------------- the log */

static void log_line_came(lago_log_level_t level, const char *line, void *data) {
    struct virtual *v = data;
    size_t size = strlen(line);
    v->log = grown(v->log, &v->log_capacity, v->log_size + size + 2);
    memcpy(v->log + v->log_size, line, size);
    v->log_size += size;
    v->log[v->log_size++] = '\n';
    v->log[v->log_size] = '\0';
    if (v->on_line) v->on_line(v->on_line_data, level, line);
}

static bool line_matches(const char *line, size_t size, const char *wanted) {
    size_t wanted_size = strlen(wanted);
    bool prefix = wanted_size > 0 && wanted[wanted_size - 1] == '*';
    if (prefix) wanted_size--;
    return (prefix ? size >= wanted_size : size == wanted_size) && memcmp(line, wanted, wanted_size) == 0;
}

bool virtual_saw(struct virtual *v, const char *line) {
    for (size_t at = v->log_seen; at < v->log_size;) {
        const char *start = v->log + at;
        size_t size = (size_t)((const char *)memchr(start, '\n', v->log_size - at) - start);
        at += size + 1;
        if (!line_matches(start, size, line)) continue;
        v->log_seen = at;
        return true;
    }
    return false;
}

void virtual_forget_log(struct virtual *v) { v->log_seen = v->log_size; }

/* ---------------------------------------------------------------- running */

static void turn(struct virtual *v) {
    v->counts.turns++;
    link_turn(v->conn);
}

static bool tell_resolved(struct virtual *v) {
    if (!v->answer_pending || v->resolve_status == VIRTUAL_NEVER) return false;
    v->answer_pending = false;
    v->link = VIRTUAL_NO_LINK;
    link_resolved(v->conn, v->resolve_status, v->resolve_status < 0 ? 0 : v->address_count);
    return true;
}

/* The first address that has an answer; a success drops the others. */
static bool tell_connected(struct virtual *v) {
    for (size_t i = 0; i < VIRTUAL_ADDRESSES_MAX; i++) {
        if (!(v->connecting & bit(i)) || v->connect_status[i] == VIRTUAL_NEVER) continue;
        v->connecting &= ~bit(i);
        if (v->connect_status[i] == 0) {
            v->connecting = 0;
            v->link = VIRTUAL_CONNECTED;
            tap(v, VIRTUAL_LINK_UP, NULL, 0);
        } else if (v->connecting == 0) {
            v->link = VIRTUAL_NO_LINK;
        }
        link_connected(v->conn, i, v->connect_status[i]);
        return true;
    }
    return false;
}

static bool tell_secured(struct virtual *v) {
    if (!v->answer_pending || v->secure_status == VIRTUAL_NEVER) return false;
    v->answer_pending = false;
    v->link = VIRTUAL_CONNECTED;
    link_secured(v->conn, v->secure_failure);
    return true;
}

/* The answer of a lookup, a connect or a handshake; false if there is none. */
static bool tell_answer(struct virtual *v) {
    switch (v->link) {
    case VIRTUAL_RESOLVING: return tell_resolved(v);
    case VIRTUAL_CONNECTING: return tell_connected(v);
    case VIRTUAL_SECURING: return tell_secured(v);
    case VIRTUAL_NO_LINK:
    case VIRTUAL_CONNECTED: break;
    }
    return false;
}

/* Straight to where it belongs, as far as there is room. */
static bool fill_room(struct virtual *v) {
    uint8_t *room;
    size_t max = link_room(v->conn, &room);
    if (max == 0) return false;
    struct virtual_piece *piece = v->first_piece;
    size_t size = piece_size(v, piece->size - piece->done);
    if (size > max) size = max;
    memcpy(room, piece->bytes + piece->done, size);
    tap(v, VIRTUAL_RECEIVED, room, size);
    piece->done += size;
    if (piece->done == piece->size) piece_done(v);
    v->counts.filled++;
    link_filled(v->conn, room, size);
    return true;
}

/* One piece of input, or the end of the link behind it; false if there is nothing or nobody wants it. */
static bool read_some(struct virtual *v, const struct link_wants *wants) {
    bool up = v->link == VIRTUAL_CONNECTED || v->link == VIRTUAL_SECURING;
    if (!up || v->hold_input || v->lent || !wants->read) return false;
    if (v->first_piece) {
        v->counts.inputs++;
        if (!fill_room(v)) {
            size_t size = lend_input(v);
            link_input(v->conn, v->lent, size);
        }
        turn(v);
        return true;
    }
    if (!v->lost_pending) return false;
    v->lost_pending = false;
    link_lost(v->conn, v->lost_status);
    return true;
}

static void finish(struct virtual *v) {
    lago_connection_t *conn = v->conn;
    v->finished = true;
    v->conn = NULL;
    free(v->lent); /* the client must not have it any more */
    v->lent = NULL;
    link_finished(conn);
}

/* One thing, in an adapter's order: answers, the turn, writing, reading. False when nothing is left to do. */
static bool step(struct virtual *v) {
    if (tell_answer(v)) return true;
    struct link_wants wants = link_wants(v->conn);
    if (wants.write_first && write_some(v, &wants)) return true;
    if (wants.turn || wants.deadline <= v->now) {
        turn(v);
        return true;
    }
    return write_some(v, &wants) || read_some(v, &wants); /* what did nothing has changed no wish */
}

void virtual_run(struct virtual *v) {
    int steps = 0;
    if (v->in_client) broken("virtual_run from inside a callback");
    v->in_client = true;
    while (v->conn) {
        if (v->finishing) {
            finish(v);
            break;
        }
        bool more = step(v);
        take_back_input(v);
        if (!more && !v->finishing) break;
        if (++steps > STEPS_MAX) broken("the client never comes to rest");
    }
    v->in_client = false;
}

/* ---------------------------------------------------------------- time */

uint64_t virtual_time(const struct virtual *v) { return v->now - VIRTUAL_START_MS; }

uint64_t virtual_next_deadline(const struct virtual *v) {
    if (!v->conn) return DEADLINE_NEVER;
    uint64_t deadline = link_wants(v->conn).deadline;
    if (deadline == DEADLINE_NEVER) return deadline;
    return deadline > v->now ? deadline - v->now : 0;
}

void virtual_advance(struct virtual *v, uint64_t ms) {
    uint64_t end = v->now + ms;
    virtual_run(v);
    for (;;) {
        uint64_t next = virtual_next_deadline(v);
        if (v->now > end || next > end - v->now) break; /* a callback may have moved the clock */
        v->now += next;
        virtual_run(v);
    }
    if (v->now < end) v->now = end;
    virtual_run(v);
}

void virtual_oversleep(struct virtual *v, uint64_t ms) { v->now += ms; }

/* ---------------------------------------------------------------- the rest of the network */

void virtual_lose(struct virtual *v, int status) {
    v->lost_pending = true;
    v->lost_status = status;
}

void virtual_fail_write(struct virtual *v, int status) { v->write_status = status; }

void virtual_take(struct virtual *v, size_t size) { v->room = size; }

/* ---------------------------------------------------------------- life */

void virtual_init(struct virtual *v) {
    memset(v, 0, sizeof(*v));
    fail_alloc_init(&v->alloc);
    v->now = VIRTUAL_START_MS;
    v->address_count = 1;
    v->room = v->write_max = SIZE_MAX;
    v->log_level = LAGO_LOG_TRACE;
    v->callback_limit_ms = 500;
}

int virtual_connect(struct virtual *v, const char *url, const lago_connection_options_t *options) {
    struct environment environment = { .alloc = v->alloc.allocator,
                                       .log = log_line_came,
                                       .log_data = v,
                                       .log_level = v->log_level,
                                       .callback_limit_ms = v->callback_limit_ms,
                                       .book = v->book,
                                       .alike = v->alike,
                                       .capture = &v->capture };
    struct transport transport = { .ops = &virtual_ops, .self = v };
    return connection_new(&environment, &transport, url, options, &v->conn);
}

void virtual_deinit(struct virtual *v) {
    virtual_run(v);
    if (v->conn) broken("the connection has not ended");
    if (v->counts.finish > 1) broken("finish was called %u times", v->counts.finish);
    pieces_clear(v);
    free(v->output);
    free(v->log);
    if (v->alloc.live_count > 0) broken("%zu blocks (%zu bytes) leaked", v->alloc.live_count, v->alloc.live_bytes);
}
