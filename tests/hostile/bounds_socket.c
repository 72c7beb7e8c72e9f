/*
 * What the attackers of attacks.c cost a real process: each talks over a loopback socket to a client in a process of its own, as fast
 * as it is listened to. The peak of the process' resident memory above what it was when the application's channels were open and an
 * honest peer had spoken as fast, and its CPU time.
 *
 *     hostile_bounds [MEGABYTES [WORD]]
 *     hostile_bounds --plant
 *
 * WORD: only attacks whose name has it. --plant: a client without the cap, which must be found out.
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

/* It begins when it gets an octet from `go`. */
static void attack_over(int listener, int go, const struct attack *attack, size_t limit) {
    size_t said = 0, size;
    char octet;
    int fd = accept(listener, NULL, NULL);
    close(listener);
    const uint8_t *bytes = attack_prologue(attack, &size);
    bool heard = write_all(fd, bytes, size) && read(go, &octet, 1) == 1;
    for (unsigned turn = 0; heard && said < limit && turn < limit / 10000; turn++) {
        bytes = attack_block(attack, turn, &size);
        heard = write_all(fd, bytes, size);
        said += size;
        if (!attack->deaf) drink(fd);
    }
    pause(); /* until it is killed: its end is no part of what is measured */
}

/* ---------------------------------------------------------------- the client */

struct client {
    uv_loop_t loop;
    uv_timer_t patience;
    bool over;
};

/* A connection, and the process that it talks to. */
struct talk {
    lago_connection_t *conn;
    pid_t attacker;
};

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct client *client = data;
    (void)conn, (void)reason;
    client->over = true;
}

static void on_late(uv_timer_t *timer) {
    struct client *client = timer->data;
    client->over = true;
}

/* The cap, or in the control next to none. */
static const char *parameters = ATTACK_PARAMETERS;

static void client_init(struct client *client) {
    *client = (struct client){ 0 };
    uv_loop_init(&client->loop);
    uv_timer_init(&client->loop, &client->patience);
    client->patience.data = client;
    uv_unref((uv_handle_t *)&client->patience);
}

static void client_deinit(struct client *client) {
    uv_close((uv_handle_t *)&client->patience, NULL);
    uv_run(&client->loop, UV_RUN_DEFAULT);
    uv_loop_close(&client->loop);
}

static int listen_here(uint16_t *port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1) < 0) fail_msg("no socket");
    getsockname(fd, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return fd;
}

/* The peer is told to begin when all channels are open. */
static struct talk talk_begin(struct client *client, const struct attack *attack, size_t limit, struct cost *cost) {
    char url[160];
    uint16_t port;
    int go[2], listener = listen_here(&port);
    size_t prologue_size;
    struct talk talk;
    lago_connection_options_t options = { .on_open_error = on_end, .on_close = on_end, .data = client };
    if (pipe(go) < 0) fail_msg("no pipe");
    talk.attacker = fork();
    if (talk.attacker == 0) attack_over(listener, go[0], attack, limit);
    close(listener);
    close(go[0]);
    (void)attack_prologue(attack, &prologue_size);
    snprintf(url, sizeof(url), "amqp://127.0.0.1:%u/?%s", port, parameters);
    uv_timer_start(&client->patience, on_late, PATIENCE_MS, 0);
    if (lago_connect(&client->loop, url, &options, &talk.conn) < 0) fail_msg("no connection");
    attack_begin(attack, talk.conn);
    while (!client->over && lago_connection_counters(talk.conn).bytes_received < prologue_size)
        uv_run(&client->loop, UV_RUN_ONCE);
    if (client->over) fail_msg("%s: the channels do not open", attack->name);
    double before = status_kib("VmRSS:"), began = cpu_s();
    forget_peak();
    if (write(go[1], "", 1) != 1) fail_msg("no pipe");
    uv_timer_start(&client->patience, on_late, PATIENCE_MS, 0);
    while (!client->over && lago_connection_counters(talk.conn).bytes_received < limit) uv_run(&client->loop, UV_RUN_ONCE);
    *cost = (struct cost){ .received = (double)lago_connection_counters(talk.conn).bytes_received,
                           .spent_s = cpu_s() - began,
                           .grown_kib = status_kib("VmHWM:") - before };
    close(go[1]);
    return talk;
}

static void talk_end(struct talk talk) {
    lago_connection_free(talk.conn);
    kill(talk.attacker, SIGKILL);
    waitpid(talk.attacker, NULL, 0);
}

/* ---------------------------------------------------------------- one after the other */

/* An honest peer, as fast: then code and read buffers are there before anything is measured. */
#define HONEST_SIZE ((size_t)16 << 20)

static const struct attack *honest(void) {
    for (size_t i = 0; i < attack_count; i++)
        if (strcmp(attacks[i].name, "small messages") == 0) return &attacks[i];
    fail_msg("no honest peer");
    return NULL;
}

static struct cost measure(const struct attack *attack, size_t limit) {
    struct cost cost = { 0 };
    int way[2];
    if (pipe(way) < 0) fail_msg("no pipe");
    pid_t process = fork();
    if (process == 0) {
        struct client client;
        struct cost usual;
        client_init(&client);
        struct talk first = talk_begin(&client, honest(), HONEST_SIZE, &usual);
        if (client.over) fail_msg("the honest peer is not understood");
        struct talk second = talk_begin(&client, attack, limit, &cost);
        if (write(way[1], &cost, sizeof(cost)) != sizeof(cost)) _exit(1);
        talk_end(second);
        talk_end(first);
        client_deinit(&client);
        _exit(0);
    }
    close(way[1]);
    if (read(way[0], &cost, sizeof(cost)) != sizeof(cost)) fail_msg("%s: the client died", attack->name);
    close(way[0]);
    waitpid(process, NULL, 0);
    return cost;
}

/* The attacks whose name has `word`. @return how many cost too much. */
static unsigned judge(size_t limit, const char *word) {
    double worst_kib = 0, slowest = 0, allowed_kib = (double)((ATTACK_CAP + ATTACK_ALLOWANCE) / 1024);
    unsigned failures = 0, count = 0;
    for (size_t i = 0; i < attack_count; i++) {
        if (!strstr(attacks[i].name, word)) continue;
        struct cost cost = measure(&attacks[i], limit);
        double per_100mb = cost.received >= ENOUGH ? cost.spent_s * 100 * 1048576 / cost.received : 0;
        bool bad = cost.grown_kib > allowed_kib || per_100mb > 1;
        printf("%-52s %7.0f KiB more %7.1f MB received %6.2f s/100 MB%s\n", attacks[i].name, cost.grown_kib, cost.received / 1e6,
               per_100mb, bad ? "  TOO MUCH" : "");
        if (cost.grown_kib > worst_kib) worst_kib = cost.grown_kib;
        if (per_100mb > slowest) slowest = per_100mb;
        failures += bad;
        count++;
    }
    printf("bounds: %u attacks over a socket, %.0f KiB at most (cap + 1 MiB: %.0f), %.2f CPU s per 100 MB at most, %u failures\n",
           count, worst_kib, allowed_kib, slowest, failures);
    return failures;
}

int main(int argc, char **argv) {
    bool planted = argc > 1 && strcmp(argv[1], "--plant") == 0;
    size_t limit = (argc > 1 && !planted ? strtoul(argv[1], NULL, 10) : 100) << 20;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failing check ends the program, with a word */
    if (!planted) return judge(limit, argc > 2 ? argv[2] : "") ? 1 : 0;
    parameters = "message_size_max=1048576&assembly_size_max=1073741824&heartbeat=0";
    return judge(limit, "500 messages at once") ? 0 : 1;
}
