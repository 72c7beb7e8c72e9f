/* Links between clients and the model broker, time, and what goes wrong with them. Must not know the application. */
#include "sim.h"

#include "deadline.h"
#include "plants.h"
#include <stdlib.h>
#include <string.h>

#define SIM_EOF          (-4095) /* libuv's codes */
#define SIM_ECONNRESET   (-104)
#define SIM_EPIPE        (-32)
#define SIM_ECONNREFUSED (-111)
#define SIM_EAI_NONAME   (-3008)

/* ---------------------------------------------------------------- bytes that pass */

static void on_frame(void *data, struct model_link *link, char direction, const char *words) {
    const struct sim_conn *conn = link->owner;
    TRACE((struct life *)data, "        %u %c> %s", conn->index, direction, words);
}

static void on_broken(void *data, const char *words) { sim_broken(data, "%s", words); }

struct model_hooks world_hooks(struct life *life) {
    return (struct model_hooks){ .data = life,
                                 .broken = on_broken,
                                 .opened = book_opened,
                                 .arrived = book_arrived,
                                 .judged = book_judged,
                                 .delivered = book_delivered,
                                 .settled = book_settled,
                                 .frame = life->options->trace ? on_frame : NULL };
}

static void link_up(struct life *life, struct sim_conn *conn) {
    TRACE(life, "      %u: the link is up", conn->index);
    conn->link = model_link_new(life->broker, conn);
    conn->link->offered = conn->offered;
    conn->link->refusal = conn->refusal;
    conn->link->user = SIM_USER;
    conn->link->password = SIM_PASSWORD;
    conn->link->challenges = conn->challenges;
    conn->link->may_go_ahead = conn->fast;
    if (conn->refusal == MODEL_REFUSES_LOGIN || conn->refusal == MODEL_HANGS_UP_ON_LOGIN) COUNT(logins_refused);
    if (conn->refusal == MODEL_REFUSES_VHOST || conn->refusal == MODEL_HANGS_UP_ON_VHOST) COUNT(vhosts_refused);
    conn->last_received = conn->last_sent = conn->last_beat = conn->quiet_from = life->now;
    conn->links++;
    conn->blocked_told = 0;
}

static void link_down(struct life *life, struct sim_conn *conn) {
    if (!conn->link) return;
    TRACE(life, "      %u: the link is down", conn->index);
    sim_shared->counts[COUNT_frames] += conn->link->frames;
    model_link_lost(conn->link);
    conn->link = NULL;
}

static void on_tap(void *data, enum virtual_tap what, const uint8_t *bytes, size_t size) {
    struct sim_conn *conn = data;
    struct life *life = conn->life;
    switch (what) {
    case VIRTUAL_LINK_UP: link_up(life, conn); break;
    case VIRTUAL_LINK_DOWN: link_down(life, conn); break;
    case VIRTUAL_RECEIVED:
        conn->last_received = life->now;
        life->delivered_bytes += size;
        break;
    case VIRTUAL_SENT:
        conn->last_sent = life->now;
        life->sent_bytes += size;
        if (conn->link && !conn->v.swallowed) plant_output(conn, bytes, size);
        break;
    }
}

static void on_line(void *data, lago_log_level_t level, const char *line) {
    struct sim_conn *conn = data;
    (void)level;
    if (strstr(line, SIM_PASSWORD) || (planted(conn->life, PLANT_secret_logged) && strstr(line, "start-ok")))
        sim_broken(conn->life, "the password is in the log: %s", line);
}

/* ---------------------------------------------------------------- connecting */

static uint32_t some_time(struct chance *c, uint32_t max) { return percent(c, 50) ? 0 : 1 + (uint32_t)roll(c, max); }

static void choose_network(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    struct virtual *v = &conn->v;
    v->random = roll(c, 1000000);
    v->address_count = 1 + roll(c, 3);
    v->is_private = percent(c, life->fast ? 95 : 50);
    if (percent(c, 30)) v->piece_max = 1 + roll(c, 300);
    if (percent(c, 30)) v->piece_seed = 1 + (uint32_t)roll(c, 1000000);
    if (percent(c, 20)) v->write_max = 1 + roll(c, 400);
    if (!(life->faults & FAULT_OPENING)) return;
    for (size_t i = 0; i < v->address_count; i++) {
        if (!percent(c, 35)) continue;
        v->connect_status[i] = percent(c, 60) ? SIM_ECONNREFUSED : VIRTUAL_NEVER;
        COUNT(connects_failed);
    }
    if (percent(c, 10)) v->resolve_status = percent(c, 60) ? SIM_EAI_NONAME : VIRTUAL_NEVER;
    if (v->resolve_status) COUNT(lookups_failed);
    if (percent(c, 30)) conn->refusal = (enum model_refusal)roll(c, 5);
    if (percent(c, 5)) conn->offered.frame_max = 1 + (uint32_t)roll(c, 4095);
}

/* Who logs in, and how. */
static lago_credentials_t credentials(struct life *life, struct sim_conn *conn) {
    static struct lago_mechanism own = { .name = MODEL_MECHANISM, .on_challenge = told_challenge };
    struct chance *c = life->c;
    lago_credentials_t who = { .username = SIM_USER, .password = SIM_PASSWORD };
    if (percent(c, 10)) who.mechanisms = "AMQPLAIN PLAIN";
    if (percent(c, 12)) who.on_login = told_login, who.login_data = conn;
    if (!percent(c, 8)) return who;
    own.data = conn; /* copied at once */
    who.own_mechanisms = &own;
    who.own_mechanism_count = 1;
    if (percent(c, 10)) who.mechanisms = "PLAIN " MODEL_MECHANISM;
    conn->challenges = (unsigned)roll(c, percent(c, 80) ? 4 : LAGO_LOGIN_ROUNDS_MAX + 2);
    return who;
}

static lago_parameters_t parameters(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    bool opening = life->faults & FAULT_OPENING;
    lago_parameters_t p = { .host = "broker.example", .credentials = credentials(life, conn) };
    if (percent(c, 60)) p.heartbeat_s = percent(c, 10) ? LAGO_HEARTBEAT_OFF : 1 + (int32_t)roll(c, 10);
    if (percent(c, 40)) p.frame_max = 4096 + (uint32_t)roll(c, 5000);
    if (percent(c, 10)) p.channel_max = 1 + (uint16_t)roll(c, 4);
    if (opening) p.connection_attempts = 1 + (uint32_t)roll(c, 3);
    p.retry_delay_ms = some_time(c, 3000);
    p.stack_timeout_ms = some_time(c, 5000);
    p.socket_timeout_ms = some_time(c, 5000);
    p.resolve_timeout_ms = some_time(c, 5000);
    p.connect_deadline_ms = some_time(c, 20000);
    p.close_timeout_ms = some_time(c, 8000);
    p.write_timeout_ms = some_time(c, 20000);
    p.operation_timeout_ms = percent(c, 10) ? 1 + (uint32_t)roll(c, 9000) : 0;
    p.blocked_connection_timeout_ms = percent(c, 30) ? 1 + (uint32_t)roll(c, 9000) : 0;
    p.high_water = percent(c, 50) ? 1 + roll(c, 20000) : 0;
    p.low_water = p.high_water > 1 && percent(c, 50) ? 1 + roll(c, p.high_water - 1) : 0;
    p.message_size_max = percent(c, 20) ? 5000 + roll(c, 30000) : 0;
    p.refuse_while_blocked = percent(c, 30);
    p.fast_open = conn->fast;
    return p;
}

bool world_connect(struct life *life, struct sim_conn *conn) {
    static const lago_endpoint_t others[] = { { "second.example", 0 }, { "third.example", 5673 } };
    struct chance *c = life->c;
    unsigned index = conn->index;
    *conn = (struct sim_conn){ .life = life, .index = index, .used = true };
    virtual_init(&conn->v);
    struct virtual *v = &conn->v;
    v->now = life->now;
    v->tap = on_tap;
    v->tap_data = conn;
    v->output_untold = true;
    v->log_level = life->logged ? LAGO_LOG_TRACE : LAGO_LOG_OFF;
    v->on_line = on_line;
    v->on_line_data = conn;
    v->book = &life->book;
    conn->fast = life->fast;
    conn->offered = (lago_tune_t){ .channel_max = percent(c, 20) ? 1 + (uint16_t)roll(c, 6) : 2047,
                                   .frame_max = percent(c, 30) ? 4096 + (uint32_t)roll(c, 9000) : 131072,
                                   .heartbeat_s = percent(c, 80) ? 1 + (uint16_t)roll(c, 20) : 0 };
    choose_network(life, conn);
    lago_parameters_t p = parameters(life, conn);
    if (percent(c, 20)) {
        p.endpoints = others;
        p.endpoint_count = 1 + roll(c, 2);
        p.shuffle_endpoints = percent(c, 30);
    }
    lago_connection_options_t options = { .parameters = &p,
                                          .on_open = told_conn_open,
                                          .on_open_error = told_conn_open_error,
                                          .on_close = told_conn_close,
                                          .on_blocked = told_blocked,
                                          .on_unblocked = told_unblocked,
                                          .on_drain = told_drain,
                                          .on_phase = percent(c, 30) ? told_phase : NULL,
                                          .data = conn,
                                          .free_data = told_conn_free };
    int rc = CALL(life, virtual_connect(v, NULL, &options));
    TRACE(life, "    lago_connect (%u) = %d", conn->index, rc);
    if (rc < 0) sim_broken(life, "lago_connect = %s", lago_error_name(rc));
    conn->h = v->conn;
    COUNT(connections);
    return true;
}

static void let_go_of_kept(struct life *life, const struct sim_conn *conn) {
    for (size_t i = 0; i < KEPT_MAX; i++) {
        if (!life->kept[i] || life->kept_of[i] != conn) continue;
        book_body_check(life, life->posts[life->kept_ids[i]]->content, 0, life->kept[i]->body);
        lago_message_release(life->kept[i]);
        life->kept[i] = NULL;
    }
}

/* All of it is gone: nothing may be left. */
void world_connection_gone(struct life *life, struct sim_conn *conn) {
    let_go_of_kept(life, conn);
    if (conn->v.conn) sim_broken(life, "the connection has not finished");
    if (!conn->freed_told) sim_broken(life, "free_data of the connection never came");
    for (const struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        if (!ch->freed_told) sim_broken(life, "free_data of channel %u never came", ch->number);
    for (size_t i = 1; i < life->post_count; i++)
        if (life->posts[i]->ch->conn == conn && life->posts[i]->lent && !life->posts[i]->released)
            sim_broken(life, "a lent body never came back");
    if (planted(life, PLANT_leak)) (void)conn->v.alloc.allocator.malloc(1, conn->v.alloc.allocator.data);
    if (conn->v.alloc.live_count > 0)
        sim_broken(life, "%zu blocks (%zu bytes) are left in memory", conn->v.alloc.live_count, conn->v.alloc.live_bytes);
    for (size_t i = 1; i < life->post_count; i++) /* its books go with it */
        if (life->posts[i]->ch->conn == conn) life->posts[i]->lent = false;
    sim_shared->counts[COUNT_turns] += conn->v.counts.turns;
    virtual_deinit(&conn->v);
    conn->used = false;
}

/* ---------------------------------------------------------------- running */

/* Memory that a connection may take: what it is told to hold, and what its size needs. */
static void check_memory(struct life *life, const struct sim_conn *conn) {
    enum { FIXED = 256 * 1024, MESSAGE = 160 * 1024, CHANNEL = 64 * 1024 };
    size_t channels = 0, allowed = FIXED + LAGO_HELD_SIZE_MAX + (4u << 20);
    for (const struct sim_channel *ch = conn->channels; ch; ch = ch->next) channels += ch->h != NULL;
    allowed += channels * (CHANNEL + MESSAGE);
    if (conn->v.alloc.peak_bytes > allowed)
        sim_broken(life, "%zu bytes of memory, %zu are allowed", conn->v.alloc.peak_bytes, allowed);
}

static void run_one(struct life *life, struct sim_conn *conn) {
    if (!conn->used || !conn->v.conn) return;
    virtual_run(&conn->v);
    check_memory(life, conn);
    if (!conn->v.conn && conn->link) link_down(life, conn);
}

/* Twice: what one does in its callbacks may concern another. */
void world_run(struct life *life) {
    for (unsigned i = 0; i < CONNS_MAX; i++) life->conns[i].v.now = life->now; /* it is the same time for all */
    for (unsigned i = 0; i < CONNS_MAX; i++) app_answer_login(life, &life->conns[i]);
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < CONNS_MAX; i++) run_one(life, &life->conns[i]);
}

void world_deliver(struct sim_conn *conn, size_t frames, size_t bytes) {
    struct model_link *link = conn->link;
    if (!link) return;
    (void)model_link_pump(link, frames);
    size_t ready = model_link_ready(link);
    if (ready > bytes) ready = bytes;
    if (ready > 0 && !link->mute) {
        plant_input(conn, link->out.data + link->out.done, ready);
        model_link_sent(link, ready);
    }
    if (link->hang_up && model_link_ready(link) == 0 && !conn->v.lost_pending) {
        COUNT(hang_ups);
        virtual_lose(&conn->v, SIM_EOF);
    }
}

/* ---------------------------------------------------------------- time */

static uint64_t heartbeat_ms(const struct sim_conn *conn) {
    const struct model_link *link = conn->link;
    return link && link->state == MODEL_RUNNING ? link->tune.heartbeat_s * UINT64_C(500) : 0;
}

/* RabbitMQ beats every half interval. */
static uint64_t next_beat(const struct sim_conn *conn) {
    uint64_t every = heartbeat_ms(conn);
    return conn->used && every ? conn->last_beat + every : DEADLINE_NEVER;
}

static void beat(struct life *life, struct sim_conn *conn) {
    if (next_beat(conn) > life->now) return;
    conn->last_beat = life->now;
    model_link_heartbeat(conn->link);
    world_deliver(conn, 0, SIZE_MAX);
}

static uint64_t next_time(struct life *life) {
    uint64_t next = DEADLINE_NEVER;
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct sim_conn *conn = &life->conns[i];
        if (!conn->used) continue;
        uint64_t wait = conn->v.conn ? virtual_next_deadline(&conn->v) : DEADLINE_NEVER;
        if (wait != DEADLINE_NEVER && life->now + wait < next) next = life->now + wait;
        if (next_beat(conn) < next) next = next_beat(conn);
        if (conn->question.owed && conn->question.due > life->now && conn->question.due < next) next = conn->question.due;
    }
    return next;
}

/* Turns without a reason: neither bytes moved. */
static uint64_t idle_turns(const struct sim_conn *conn) {
    const struct virtual_counts *counts = &conn->v.counts;
    uint64_t moves = 2 * ((uint64_t)counts->inputs + counts->writes);
    return conn->used && counts->turns > moves ? counts->turns - moves : 0;
}

/* Time passes from deadline to deadline. What is busy without a reason shows by its turns. */
void world_advance(struct life *life, uint64_t ms) {
    uint64_t end = life->now + ms, turns[CONNS_MAX] = { 0 }, callbacks = life->callbacks;
    for (unsigned i = 0; i < CONNS_MAX; i++) turns[i] = idle_turns(&life->conns[i]);
    world_run(life);
    for (;;) {
        uint64_t next = next_time(life);
        if (next > end) break;
        if (next > life->now) life->now = next;
        for (unsigned i = 0; i < CONNS_MAX; i++)
            if (life->conns[i].used) beat(life, &life->conns[i]);
        world_run(life);
        world_check(life);
    }
    life->now = end;
    world_run(life);
    world_check(life);
    uint64_t allowed = 40 + ms / 20 + 8 * (life->callbacks - callbacks);
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (!life->conns[i].v.hold_input && idle_turns(&life->conns[i]) > turns[i] + allowed)
            sim_broken(life, "%llu turns in %llu ms", (unsigned long long)(idle_turns(&life->conns[i]) - turns[i]),
                       (unsigned long long)ms);
}

void world_oversleep(struct life *life, uint64_t ms) {
    life->now += ms;
    COUNT(oversleeps);
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct sim_conn *conn = &life->conns[i];
        if (!conn->used) continue;
        conn->last_sent = conn->quiet_from = life->now; /* nobody could */
        if (conn->v.conn) conn->v.now = life->now;
    }
    world_run(life);
    world_check(life);
}

/* A peer that is silent is found in 1.1 intervals; and ours are sent. */
static void check_silence(struct life *life, struct sim_conn *conn) {
    if (!conn->h || !conn->link || conn->lied || conn->halted || conn->v.hold_input || conn->v.first_piece) return;
    if (lago_connection_state(conn->h) != LAGO_CONNECTION_OPEN) return;
    uint64_t interval = lago_connection_tune(conn->h).heartbeat_s * UINT64_C(1000);
    if (!interval) return;
    for (const struct sim_channel *ch = conn->channels; ch; ch = ch->next)
        for (const struct sim_consumer *consumer = ch->consumers; consumer; consumer = consumer->next)
            if (consumer->paused && !consumer->ended) conn->last_received = life->now; /* it may not be reading */
    uint64_t since = conn->last_received > conn->quiet_from ? conn->last_received : conn->quiet_from;
    if (life->now - since > interval + interval / 10 + 1)
        sim_broken(life, "a peer that has been silent for %llu ms lives on", (unsigned long long)(life->now - since));
    bool writes = conn->v.room > 64 && conn->v.write_max > 0 && !conn->v.write_failed && !conn->memory_failed;
    uint64_t last = conn->last_sent > conn->quiet_from ? conn->last_sent : conn->quiet_from;
    if (last < conn->writes_from) last = conn->writes_from;
    if (writes && life->now - last > interval)
        sim_broken(life, "no heartbeat left for %llu ms", (unsigned long long)(life->now - last));
}

void world_check(struct life *life) {
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (life->conns[i].used) check_silence(life, &life->conns[i]);
}

/* ---------------------------------------------------------------- faults */

static void cut(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    static const int how[] = { SIM_EOF, SIM_ECONNRESET, SIM_EPIPE };
    int status = how[roll(c, 3)];
    TRACE(life, "    the link is cut (%d)", status);
    COUNT(cuts);
    conn->v.room = percent(c, 70) ? roll(c, 300) : SIZE_MAX;
    conn->writes_from = life->now; /* it may have taken nothing until here */
    world_deliver(conn, roll(c, 8), roll(c, 200));
    if (percent(c, 50)) world_run(life);
    if (!conn->used || !conn->link) return;
    if (percent(c, 30)) {
        virtual_fail_write(&conn->v, SIM_EPIPE);
        COUNT(write_errors);
    }
    conn->link->mute = true;
    virtual_lose(&conn->v, status);
}

static void stall(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    switch (roll(c, 6)) {
    case 0:
        TRACE(life, "    the peer takes little");
        conn->v.room = roll(c, 500);
        conn->writes_from = life->now; /* it may have taken less */
        COUNT(stalls);
        break;
    case 1:
        TRACE(life, "    the peer takes all");
        conn->v.room = SIZE_MAX;
        conn->writes_from = life->now;
        break;
    case 2:
        TRACE(life, "    input waits in the kernel");
        conn->v.hold_input = true;
        break;
    case 3: conn->v.write_max = percent(c, 50) ? SIZE_MAX : 1 + roll(c, 300); break;
    case 4:
        if (!conn->link || !percent(c, 20)) break;
        TRACE(life, "    the kernel takes what is written, the peer nothing");
        conn->v.swallowed = true; /* for good: bytes are lost */
        conn->link->mute = percent(c, 50);
        COUNT(swallows);
        break;
    default:
        if (!conn->link || !percent(c, 20)) break;
        TRACE(life, "    the peer has gone dead");
        conn->link->mute = true;
        COUNT(mutes);
        break;
    }
}

/* connection.close or channel.close: the only octets out of nowhere that a goodbye may answer. */
static bool is_goodbye(const uint8_t *frame) {
    unsigned class_id = frame[8], method_id = frame[10];
    return (class_id == 10 && method_id == 50) || (class_id == 20 && method_id == 40);
}

static void garbage(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    uint8_t bytes[64];
    bool forged = false;
    size_t size = percent(c, 10) ? 0 : 1 + roll(c, sizeof(bytes));
    if (!conn->link || !percent(c, 30)) return;
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)roll(c, 256);
    if (percent(c, 50)) bytes[0] = (uint8_t)(1 + roll(c, 3)); /* more of a frame */
    if (percent(c, 40) && size > 12) {
        (void)frame_begin(bytes, FRAME_METHOD, (uint16_t)roll(c, 3), size - FRAME_OVERHEAD);
        bytes[7] = bytes[9] = 0;
        bytes[8] = (uint8_t)(10 * (1 + roll(c, 9)));
        bytes[10] = (uint8_t)(10 * (1 + roll(c, 12)));
        bytes[size - 1] = FRAME_END;
        forged = is_goodbye(bytes);
    }
    TRACE(life, "    %zu bytes of garbage", size);
    COUNT(garbage);
    conn->lied = true;
    if (percent(c, 85)) world_deliver(conn, roll(c, 10), percent(c, 50) ? SIZE_MAX : roll(c, 100));
    if (conn->link) conn->link->forged |= forged; /* it may be another one by now */
    virtual_input(&conn->v, bytes, size);
    if (percent(c, 50)) return;
    static const uint8_t goodbye[] = { 1, 0, 0, 0, 0, 0, 11, 0, 10, 0, 50, 1, 64, 0, 0, 0, 0, 0, FRAME_END }; /* 320 */
    if (percent(c, 50)) world_run(life);
    if (!conn->link) return;
    conn->link->forged = true;
    virtual_input(&conn->v, goodbye, sizeof(goodbye));
}

static void memory(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    if (conn->v.alloc.fail_at && percent(c, 60)) {
        TRACE(life, "    there is memory again");
        fail_alloc_mode(&conn->v.alloc, 0, FAIL_ONCE);
        return;
    }
    size_t at = 1 + roll(c, 30);
    enum fail_mode mode = (enum fail_mode)roll(c, FAIL_MODES);
    TRACE(life, "    memory fails at allocation %zu, %s", at, fail_mode_name(mode));
    COUNT(memory_failures);
    conn->memory_failed = true;
    fail_alloc_mode(&conn->v.alloc, at, mode);
}

static void choose(struct life *life, struct sim_conn *conn, unsigned fault) {
    struct chance *c = life->c;
    switch (fault) {
    case FAULT_CUT:
        if (conn->link && percent(c, 25)) cut(life, conn);
        break;
    case FAULT_STALL: stall(life, conn); break;
    case FAULT_TIME:
        if (percent(c, 50))
            world_oversleep(life, roll(c, 20000));
        else
            world_advance(life, roll(c, 40000));
        break;
    case FAULT_MEMORY: memory(life, conn); break;
    case FAULT_GARBAGE: garbage(life, conn); break;
    case FAULT_BROKER: world_broker_act(life, conn); break;
    case FAULT_BLOCK:
        if (conn->link) (void)model_link_block(conn->link, percent(c, 50));
        break;
    default: break;
    }
}

void world_fault(struct life *life, struct sim_conn *conn) {
    unsigned fault = 1u << roll(life->c, 9);
    if (life->faults & fault) choose(life, conn, fault);
}

static struct model_channel *some_channel(struct life *life, const struct sim_conn *conn) {
    struct model_channel *chosen = NULL;
    uint64_t seen = 0;
    for (struct model_channel *ch = conn->link->channels; ch; ch = ch->next)
        if (ch->state == MODEL_CHANNEL_OPEN && roll(life->c, ++seen) == 0) chosen = ch;
    return chosen;
}

/* What a broker does by itself, seldom. */
void world_broker_act(struct life *life, struct sim_conn *conn) {
    static const uint16_t codes[] = { 320, 541, 501, 505, 506 };
    static const uint16_t channel_codes[] = { 404, 403, 405, 406, 506 };
    struct chance *c = life->c;
    if (!conn->link) return;
    struct model_channel *ch = some_channel(life, conn);
    switch (roll(c, 12)) {
    case 0:
        if (percent(c, 15) && model_link_close(conn->link, codes[roll(c, 5)], "CONNECTION_FORCED - by the model", 0))
            COUNT(broker_closes);
        break;
    case 1:
        if (ch && percent(c, 30) && model_channel_close(ch, channel_codes[roll(c, 5)], "by the model", 0))
            COUNT(broker_channel_closes);
        break;
    case 2:
    case 3:
        if (ch) (void)model_channel_flow(ch, !ch->flow || percent(c, 50));
        break;
    case 4:
        if (ch && ch->consumers && ch->consumers->queue && percent(c, 30)) (void)model_consumer_cancel(ch->consumers);
        break;
    case 5:
    case 6:
        if (ch) ch->slow = !ch->slow;
        if (ch && ch->slow) COUNT(late_answers);
        break;
    case 7: life->broker->piece_max = percent(c, 50) ? 0 : 1 + (unsigned)roll(c, 3000); break;
    case 8: life->broker->nack_share = percent(c, 50) ? 0 : (unsigned)roll(c, 60); break;
    default: (void)model_broker_work(life->broker, roll(c, 20)); break;
    }
}

/* ---------------------------------------------------------------- calm */

static void make_calm(struct life *life, struct sim_conn *conn) {
    if (conn->v.room != SIZE_MAX) conn->writes_from = life->now;
    conn->v.room = conn->v.write_max = SIZE_MAX;
    if (conn->v.hold_input) conn->quiet_from = life->now;
    conn->v.hold_input = false;
    if (conn->v.alloc.fail_at) fail_alloc_mode(&conn->v.alloc, 0, FAIL_ONCE);
    if (conn->halted && conn->h) {
        (void)CALL(life, lago_connection_resume(conn->h));
        conn->halted = false;
        conn->quiet_from = life->now;
    }
    if (!conn->link || conn->link->mute) return;
    (void)model_link_block(conn->link, false);
    for (struct model_channel *ch = conn->link->channels; ch; ch = ch->next) {
        ch->slow = false;
        (void)model_channel_flow(ch, true);
    }
}

static bool is_moving(const struct sim_conn *conn) {
    return conn->link && !conn->link->mute && (!model_link_is_quiet(conn->link) || (conn->link->hang_up && conn->v.conn));
}

bool world_settle(struct life *life) {
    enum { ROUNDS = 3000 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool moving = model_broker_work(life->broker, 30);
        for (unsigned i = 0; i < CONNS_MAX; i++) {
            struct sim_conn *conn = &life->conns[i];
            if (!conn->used) continue;
            make_calm(life, conn);
            moving = moving || is_moving(conn);
            world_deliver(conn, SIZE_MAX, SIZE_MAX);
        }
        uint64_t bytes = life->delivered_bytes + life->sent_bytes, callbacks = life->callbacks;
        world_run(life);
        for (unsigned i = 0; i < CONNS_MAX; i++) moving = moving || (life->conns[i].used && is_moving(&life->conns[i]));
        if (!moving && bytes == life->delivered_bytes + life->sent_bytes && callbacks == life->callbacks) return true;
    }
    return false;
}
