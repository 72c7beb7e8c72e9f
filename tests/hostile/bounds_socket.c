/*
 * What the attackers of attacks.c cost a real process: each talks over a loopback socket to a client in a process of its own, as fast
 * as it is listened to. The peak of the process' resident memory above what it was before, and its CPU time.
 *
 *     hostile_bounds [MEGABYTES]
 */
#include "attacks.h"

#include "peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define PATIENCE_MS 5000u
#define ENOUGH      (5.0 * 1048576)

struct cost {
    double received, spent_s, grown_kib;
};

static double cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* From here on VmHWM is of what follows (proc(5)). */
static void forget_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file || fputs("5", file) < 0) fail_msg("no /proc");
    fclose(file);
}

/* A line of /proc/self/status, in KiB. */
static double status_kib(const char *name) {
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) fail_msg("no /proc");
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0) kib = strtod(line + strlen(name) + 1, NULL);
    fclose(file);
    return kib;
}

/* ---------------------------------------------------------------- the attacker */

static bool write_all(int fd, const uint8_t *data, size_t size) {
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done <= 0) return false;
        data += done;
        size -= (size_t)done;
    }
    return true;
}

static void drink(int fd) {
    char octets[4096];
    while (recv(fd, octets, sizeof(octets), MSG_DONTWAIT) > 0) {
    }
}

static void attack_over(int listener, const struct attack *attack, size_t limit) {
    size_t said = 0, size;
    int fd = accept(listener, NULL, NULL);
    close(listener);
    const uint8_t *bytes = attack_prologue(attack, &size);
    bool heard = write_all(fd, bytes, size);
    for (unsigned turn = 0; heard && said < limit && turn < limit / 10000; turn++) {
        bytes = attack_block(attack, turn, &size);
        heard = write_all(fd, bytes, size);
        said += size;
        if (!attack->deaf) drink(fd);
    }
    _exit(0);
}

/* ---------------------------------------------------------------- the client */

static bool over;

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)reason, (void)data;
    over = true;
}

static void on_late(uv_timer_t *timer) {
    (void)timer;
    over = true;
}

static struct cost converse(uint16_t port, const struct attack *attack) {
    char url[160];
    uv_loop_t loop;
    uv_timer_t patience;
    lago_connection_t *conn;
    lago_connection_options_t options = { .on_open_error = on_end, .on_close = on_end };
    struct cost cost = { 0 };
    uv_loop_init(&loop);
    uv_timer_init(&loop, &patience);
    uv_timer_start(&patience, on_late, PATIENCE_MS, 0);
    uv_unref((uv_handle_t *)&patience);
    snprintf(url, sizeof(url), "amqp://127.0.0.1:%u/?" ATTACK_PARAMETERS, port);
    double before = status_kib("VmRSS:"), began = cpu_s();
    if (lago_connect(&loop, url, &options, &conn) < 0) fail_msg("no connection");
    attack_begin(attack, conn);
    over = false;
    while (!over) uv_run(&loop, UV_RUN_ONCE);
    cost.spent_s = cpu_s() - began;
    cost.received = (double)lago_connection_counters(conn).bytes_received;
    cost.grown_kib = status_kib("VmHWM:") - before;
    lago_connection_free(conn);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return cost;
}

/* ---------------------------------------------------------------- one after the other */

static int listen_here(uint16_t *port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1) < 0) fail_msg("no socket");
    getsockname(fd, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return fd;
}

/* What is needed at all, code and buffers, is there before anything is measured. */
static void warm_up(void) {
    uint16_t port;
    int listener = listen_here(&port);
    pid_t attacker = fork();
    if (attacker == 0) attack_over(listener, &attacks[0], 1 << 20);
    close(listener);
    (void)converse(port, &attacks[0]);
    kill(attacker, SIGKILL);
    waitpid(attacker, NULL, 0);
}

static struct cost measure(const struct attack *attack, size_t limit) {
    struct cost cost = { 0 };
    int way[2];
    if (pipe(way) < 0) fail_msg("no pipe");
    pid_t client = fork();
    if (client == 0) {
        uint16_t port;
        warm_up();
        forget_peak();
        int listener = listen_here(&port);
        pid_t attacker = fork();
        if (attacker == 0) attack_over(listener, attack, limit);
        close(listener);
        cost = converse(port, attack);
        if (write(way[1], &cost, sizeof(cost)) != sizeof(cost)) _exit(1);
        kill(attacker, SIGKILL);
        waitpid(attacker, NULL, 0);
        _exit(0);
    }
    close(way[1]);
    if (read(way[0], &cost, sizeof(cost)) != sizeof(cost)) fail_msg("%s: the client died", attack->name);
    close(way[0]);
    waitpid(client, NULL, 0);
    return cost;
}

int main(int argc, char **argv) {
    size_t limit = (argc > 1 ? strtoul(argv[1], NULL, 10) : 100) << 20;
    double worst_kib = 0, slowest = 0, allowed_kib = (double)((ATTACK_CAP + ATTACK_ALLOWANCE) / 1024);
    unsigned failures = 0;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < attack_count; i++) {
        struct cost cost = measure(&attacks[i], limit);
        double per_100mb = cost.received >= ENOUGH ? cost.spent_s * 100 * 1048576 / cost.received : 0;
        bool bad = cost.grown_kib > allowed_kib || per_100mb > 1;
        printf("%-52s %7.0f KiB more %7.1f MB received %6.2f s/100 MB%s\n", attacks[i].name, cost.grown_kib, cost.received / 1e6,
               per_100mb, bad ? "  TOO MUCH" : "");
        if (cost.grown_kib > worst_kib) worst_kib = cost.grown_kib;
        if (per_100mb > slowest) slowest = per_100mb;
        failures += bad;
    }
    printf(
        "bounds: %zu attacks over a socket, %.0f KiB at most (cap + 1 MiB: %.0f), %.2f CPU s per 100 MB at most, %u failures\n",
        attack_count, worst_kib, allowed_kib, slowest, failures);
    return failures ? 1 : 0;
}
