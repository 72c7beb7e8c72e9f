/*
 * What the attackers of attacks.c cost in memory: the allocator's peak, and the CPU time that it takes to have it said. A client on the
 * virtual transport; time passes as fast as 1 MB/ms, so that no deadline helps. bounds_socket.c does the same through a real socket.
 */
#include "attacks.h"
#include "hostile.h"
#include "virtual.h"

#include <stdio.h>
#include <sys/resource.h>

#define BRIEF_SIZE ((size_t)8 << 20)
#define WHOLE_SIZE ((size_t)100 << 20)

static double cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

struct cost {
    size_t received, peak;
    double spent_s; /* the client's share: the blocks are made outside of it */
    bool over;      /* the client has hung up */
    bool unread;    /* it reads no more: the attacker waits */
};

static struct virtual v;

/* The network has no memory of its own here: what was written is forgotten. */
static void say(const uint8_t *data, size_t size, struct cost *cost) {
    double began = cpu_s();
    virtual_input(&v, data, size);
    virtual_run(&v);
    cost->spent_s += cpu_s() - began;
    cost->received += size;
    v.output_size = 0;
    virtual_forget_log(&v);
}

static struct cost measure(const struct attack *attack, size_t limit) {
    struct cost cost = { 0 };
    size_t size;
    virtual_init(&v);
    v.log_level = LAGO_LOG_ERROR;
    if (attack->deaf) v.room = 4096;
    if (virtual_connect(&v, "amqp://localhost/?" ATTACK_PARAMETERS, NULL) < 0) fail_msg("no connection");
    lago_connection_t *conn = v.conn;
    attack_begin(attack, conn);
    virtual_run(&v);
    const uint8_t *bytes = attack_prologue(attack, &size);
    say(bytes, size, &cost);
    for (unsigned turn = 0; cost.received < limit && v.link == VIRTUAL_CONNECTED && !v.first_piece && turn < limit / 10000;
         turn++) {
        bytes = attack_block(attack, turn, &size);
        say(bytes, size, &cost);
        if (cost.received % 1000000 < size) virtual_advance(&v, 1);
    }
    cost.unread = v.first_piece != NULL;
    cost.over = v.link != VIRTUAL_CONNECTED;
    cost.peak = v.alloc.peak_bytes;
    lago_connection_free(conn);
    virtual_deinit(&v);
    return cost;
}

/* Times mean something when there was enough to measure. */
#define ENOUGH ((size_t)5 << 20)

int bounds(bool brief) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    size_t worst = 0;
    double slowest = 0;
    unsigned failures = 0;
    for (size_t i = 0; i < attack_count; i++) {
        struct cost cost = measure(&attacks[i], brief ? BRIEF_SIZE : WHOLE_SIZE);
        double per_100mb = cost.received >= ENOUGH ? cost.spent_s * (double)WHOLE_SIZE / (double)cost.received : 0;
        bool bad = cost.peak > ATTACK_CAP + ATTACK_ALLOWANCE || (!brief && per_100mb > 1);
        if (!brief || bad)
            printf("%-52s %9zu KiB peak %7.1f MB said%s %6.2f s/100 MB%s\n", attacks[i].name, cost.peak / 1024,
                   (double)cost.received / 1e6,
                   cost.over     ? ", hung up,"
                   : cost.unread ? ", unread, "
                                 : ",         ",
                   per_100mb, bad ? "  TOO MUCH" : "");
        if (cost.peak > worst) worst = cost.peak;
        if (per_100mb > slowest) slowest = per_100mb;
        failures += bad;
    }
    printf("bounds: %zu attacks in memory, %zu KiB at most (cap + 1 MiB: %zu), %.2f CPU s per 100 MB at most, %u failures\n",
           attack_count, worst / 1024, (ATTACK_CAP + ATTACK_ALLOWANCE) / 1024, slowest, failures);
    return failures ? 1 : 0;
}
