/* A life: what kind it is, its steps, its calm points, its end. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

uint64_t chance_mix(uint64_t a, uint64_t b) {
    uint64_t z = a * UINT64_C(0x9e3779b97f4a7c15) ^ (b + UINT64_C(0x632be59bd9b4e019));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* splitmix64: any seed will do. (In place everywhere it is slower.) */
uint64_t roll(struct chance *c, uint64_t below) {
    uint64_t z = (c->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

#define CALM 0u
#define NET  (FAULT_CUT | FAULT_STALL | FAULT_BROKER)
#define ALL  (NET | FAULT_TIME | FAULT_OPENING | FAULT_BLOCK)

/* Weights are parts of their sum; faults are the percentage of steps that go wrong. */
static const struct sim_kind kinds[] = {
    { "calm", 18, 70, 1, 10, FAULT_BROKER },
    { "network", 22, 70, 1, 25, NET | FAULT_BLOCK },
    { "opening", 16, 30, 1, 20, ALL },
    { "time", 12, 60, 1, 25, NET | FAULT_TIME | FAULT_BLOCK },
    { "crowd", 12, 90, 3, 20, ALL },
    { "memory", 10, 70, 1, 25, ALL | FAULT_MEMORY },
    { "garbage", 8, 50, 1, 20, ALL | FAULT_GARBAGE },
    { "logged", 2, 60, 2, 20, ALL | FAULT_MEMORY | FAULT_LOGGED },
};

static const struct sim_kind *choose_kind(struct chance *c) {
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) sum += kinds[i].weight;
    uint64_t at = roll(c, sum);
    const struct sim_kind *kind = kinds;
    while (at >= kind->weight) at -= (kind++)->weight;
    return kind;
}

/* ---------------------------------------------------------------- steps */

static struct sim_conn *some_conn(struct life *life) {
    struct sim_conn *conn = NULL;
    uint64_t seen = 0;
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (life->conns[i].used && roll(life->c, ++seen) == 0) conn = &life->conns[i];
    return conn;
}

/* Something of the network's everyday: a little of what waits moves. */
static void flow(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    if (percent(c, 30)) (void)model_broker_work(life->broker, roll(c, 10));
    bool all = percent(c, 60);
    world_deliver(conn, all ? SIZE_MAX : roll(c, 6), all ? SIZE_MAX : roll(c, 300));
    if (conn->v.hold_input && percent(c, 40)) {
        conn->v.hold_input = false;
        conn->quiet_from = life->now;
    }
    if (conn->v.room == SIZE_MAX || !percent(c, 50)) return;
    conn->v.room = percent(c, 60) ? SIZE_MAX : roll(c, 1000);
    conn->writes_from = life->now;
}

/* A connection that has ended is let go, and perhaps another one takes its place. */
static void renew(struct life *life, struct sim_conn *conn) {
    if (conn->h && conn->ended_told && percent(life->c, 50)) app_free_connection(life, conn);
    if (conn->h || conn->v.conn || conn->across) return;
    world_connection_gone(life, conn);
    if (!percent(life->c, 60)) return;
    COUNT(reconnections);
    (void)world_connect(life, conn);
}

static void step(struct life *life) {
    struct chance *c = life->c;
    struct sim_conn *conn = some_conn(life);
    if (!conn) {
        (void)world_connect(life, &life->conns[0]);
        return;
    }
    uint64_t what = roll(c, 100);
    if (what < life->kind->faults) {
        world_fault(life, conn);
    } else if (what < 75) {
        for (uint64_t n = 1 + roll(c, 3); n > 0; n--) app_act(life, conn);
    } else if (what < 78) {
        world_advance(life, roll(c, percent(c, 80) ? 300 : 12000));
    } else if (what < 80) {
        if (!world_settle(life)) sim_broken(life, "it never comes to rest");
        book_check_calm(life);
    } else if (what < 82) {
        renew(life, conn);
    }
    if (percent(c, 70)) flow(life, conn);
    if (percent(c, 80)) world_run(life);
    world_check(life);
}

/* What most lives begin with: a few names, a consumer, confirms. */
static void begin(struct life *life) {
    struct chance *c = life->c;
    for (unsigned i = 0; i < life->kind->conns; i++) {
        struct sim_conn *conn = &life->conns[i];
        (void)world_connect(life, conn);
        for (uint64_t n = roll(c, 12); n > 0; n--) app_act(life, conn);
        if (percent(c, 80)) (void)app_opening_act(life, conn);
    }
    for (unsigned i = 0; i < 4; i++) {
        static const lago_string_t names[] = { { "q0", 2 }, { "q1", 2 }, { "q2", 2 }, { "q3", 2 } };
        if (percent(c, 85)) (void)model_queue_new(life->broker, names[i]);
    }
    unsigned rounds = percent(c, 85) ? 8 : 0; /* mostly it opens first */
    for (unsigned i = 0; i < rounds; i++) {
        world_run(life);
        for (unsigned k = 0; k < CONNS_MAX; k++)
            if (life->conns[k].used) world_deliver(&life->conns[k], SIZE_MAX, SIZE_MAX);
    }
}

/* ---------------------------------------------------------------- the end */

static void ask_for_end(struct life *life, struct sim_conn *conn) {
    struct chance *c = life->c;
    if (!conn->h) return;
    int rc = 0;
    switch (roll(c, 6)) {
    case 0: app_free_connection(life, conn); return;
    case 1: rc = CALL(life, lago_connection_abort(conn->h)); break;
    case 2:
        if (conn->link && model_link_close(conn->link, 320, "CONNECTION_FORCED - shutdown", 0)) return;
        break;
    case 3:
        if (conn->link) {
            virtual_lose(&conn->v, -104);
            conn->link->mute = true;
            return;
        }
        break;
    default: break;
    }
    rc = CALL(life, lago_connection_close(conn->h, NULL));
    conn->end_asked = conn->end_asked || rc >= 0;
    if (rc >= 0) conn->halted = false;
}

static bool all_ended(const struct life *life) {
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (life->conns[i].used && life->conns[i].h && !life->conns[i].ended_told) return false;
    return true;
}

static void end(struct life *life) {
    if (percent(life->c, 70)) {
        if (!world_settle(life)) sim_broken(life, "it never comes to rest");
        book_check_calm(life);
    }
    life->ending = true;
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (life->conns[i].used) ask_for_end(life, &life->conns[i]);
    (void)world_settle(life);
    for (unsigned i = 0; i < 20 && !all_ended(life); i++) { /* a goodbye takes at most close_timeout */
        world_advance(life, 2000);
        (void)world_settle(life);
    }
    for (unsigned i = 0; i < CONNS_MAX; i++) { /* who was reborn in a callback, or only gets silence, is aborted */
        struct sim_conn *conn = &life->conns[i];
        if (!conn->used) continue;
        if (conn->h && conn->end_asked && !conn->ended_told) sim_broken(life, "a close did not end in 20 s");
        if (conn->h) (void)CALL(life, lago_connection_abort(conn->h));
    }
    world_run(life);
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct sim_conn *conn = &life->conns[i];
        if (!conn->used) continue;
        if (conn->h && !conn->ended_told) sim_broken(life, "an abort did not end it");
        if (conn->h) app_free_connection(life, conn);
    }
    world_run(life);
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (life->conns[i].used) world_connection_gone(life, &life->conns[i]);
}

void sim_live(const struct sim_options *options) {
    static struct sim_conn conns[CONNS_MAX];
    static struct model_broker broker;
    static struct life life;
    life = (struct life){ .options = options, .now = VIRTUAL_START_MS, .broker = &broker, .conns = conns };
    life.step_chance.state = chance_mix(options->seed, 1);
    life.c = &life.step_chance;
    life.kind = choose_kind(life.c);
    life.faults = life.kind->set & ~options->without;
    life.fast = percent(life.c, 25);
    life.logged = (life.kind->set & FAULT_LOGGED) != 0;
    for (unsigned i = 0; i < CONNS_MAX; i++) conns[i] = (struct sim_conn){ .index = i, .life = &life };
    struct model_hooks hooks = world_hooks(&life);
    model_broker_init(&broker, &hooks, options->seed);
    life.posts = model_new(&broker, 16 * sizeof(*life.posts));
    life.post_capacity = 16;
    life.post_count = 1; /* 0 is nobody's */
    fail_alloc_init(&life.book_alloc);
    book_init(&life.book, &life.book_alloc.allocator);
    TRACE(&life, "seed %llu: a life of the kind \"%s\"", (unsigned long long)options->seed, life.kind->name);
    COUNT(lives);
    if (life.logged) COUNT(logged_lives);
    begin(&life);
    unsigned steps = options->steps ? options->steps : life.kind->steps / 2 + (unsigned)roll(life.c, life.kind->steps);
    for (unsigned i = 0; i < steps && i < STEPS_MAX_OF_LIFE; i++) {
        sim_shared->steps = i;
        COUNT(steps);
        if (options->skip[i]) continue;
        life.step_chance.state = chance_mix(options->seed, 1000 + i);
        broker.dice = chance_mix(options->seed, 900000 + i);
        TRACE(&life, "step %u at %llu ms", i, (unsigned long long)(life.now - VIRTUAL_START_MS));
        step(&life);
    }
    sim_shared->steps = steps;
    life.step_chance.state = chance_mix(options->seed, 2);
    TRACE(&life, "the end begins");
    end(&life);
    book_clear(&life.book);
    if (life.book_alloc.live_count) sim_broken(&life, "the book is left in memory");
}
