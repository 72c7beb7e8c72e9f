/*
 * A network that fails as it is told: libc's getaddrinfo, socket and wall clocks are led here, for libuv as well; segments are lost by
 * a filter on the socket that they come to, which the kernel asks before TCP sees them. Must not know lago.
 */
#define _GNU_SOURCE /* RTLD_NEXT, unshare */
#include "faults.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define NAMES_MAX 8

/* ---------------------------------------------------------------- names */

static struct {
    uv_once_t once;
    uv_mutex_t mutex; /* lookups are on libuv's threads */
    uv_cond_t goes_on;
    struct {
        char name[64], addresses[128];
    } known[NAMES_MAX];
    size_t count;
    unsigned hanging, asked, round;
} names = { .once = UV_ONCE_INIT };

static void names_init(void) {
    uv_mutex_init(&names.mutex);
    uv_cond_init(&names.goes_on);
}

static void names_lock(void) {
    uv_once(&names.once, names_init);
    uv_mutex_lock(&names.mutex);
}

void name_is(const char *name, const char *addresses) {
    names_lock();
    if (!name) names.count = names.asked = 0;
    if (name && names.count < NAMES_MAX) {
        snprintf(names.known[names.count].name, sizeof names.known[0].name, "%s", name);
        snprintf(names.known[names.count++].addresses, sizeof names.known[0].addresses, "%s", addresses);
    }
    uv_mutex_unlock(&names.mutex);
}

void names_go_on(void) {
    name_is(NULL, NULL);
    names_lock();
    names.round++;
    uv_cond_broadcast(&names.goes_on);
    uv_mutex_unlock(&names.mutex);
}

static unsigned names_ask(const unsigned *what) {
    names_lock();
    unsigned answer = *what;
    uv_mutex_unlock(&names.mutex);
    return answer;
}

unsigned names_hanging(void) { return names_ask(&names.hanging); }

unsigned names_asked(void) { return names_ask(&names.asked); }

static int hang(void) {
    unsigned round = names.round;
    names.hanging++;
    while (names.round == round) uv_cond_wait(&names.goes_on, &names.mutex);
    names.hanging--;
    return EAI_NONAME;
}

/* In one block, as freeaddrinfo() wants them. @return where the next one goes. */
static struct addrinfo **add_address(struct addrinfo **list, const char *ip, uint16_t port) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    bool v6 = strchr(ip, ':') != NULL;
    struct addrinfo *made = calloc(1, sizeof *made + sizeof address);
    if (!made || (v6 ? uv_ip6_addr(ip, port, &address.v6) : uv_ip4_addr(ip, port, &address.v4)) < 0) abort();
    *made = (struct addrinfo){ .ai_family = v6 ? AF_INET6 : AF_INET, .ai_socktype = SOCK_STREAM };
    made->ai_addr = memcpy(made + 1, &address, sizeof address);
    made->ai_addrlen = v6 ? sizeof address.v6 : sizeof address.v4;
    *list = made;
    return &made->ai_next;
}

/* The lock is held. */
static int answer(const char *addresses, const char *service, struct addrinfo **list) {
    char words[128], *at = words, *ip;
    if (strcmp(addresses, NAME_HANGS) == 0) return hang();
    if (strcmp(addresses, NAME_MISSING) == 0) return EAI_NONAME;
    snprintf(words, sizeof words, "%s", addresses);
    *list = NULL;
    while ((ip = strsep(&at, " ")) != NULL) list = add_address(list, ip, (uint16_t)atoi(service));
    return 0;
}

static const char *find_name(const char *name) {
    for (size_t i = 0; i < names.count; i++)
        if (strcmp(names.known[i].name, name) == 0) return names.known[i].addresses;
    return NULL;
}

LAGO_EXPORT int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    names_lock();
    const char *known = node ? find_name(node) : NULL;
    names.asked += known != NULL;
    int rc = known ? answer(known, service, list) : 0;
    uv_mutex_unlock(&names.mutex);
    return known ? rc : real(node, service, hints, list);
}

/* ---------------------------------------------------------------- sockets */

static struct {
    unsigned failing, made;
    int error;
    int last;
} sockets = { .last = -1 };

void sockets_fail(unsigned count, int error) {
    sockets.failing = count;
    sockets.error = error;
}

unsigned sockets_made(void) {
    unsigned made = sockets.made;
    sockets.made = 0;
    return made;
}

int socket_of_client(void) { return sockets.last; }

LAGO_EXPORT int socket(int domain, int type, int protocol) {
    int (*real)(int, int, int);
    *(void **)&real = dlsym(RTLD_NEXT, "socket");
    if (domain == AF_UNIX) return real(domain, type, protocol);
    sockets.made++;
    if (sockets.failing == 0) return sockets.last = real(domain, type, protocol);
    sockets.failing--;
    errno = sockets.error;
    return -1;
}

/* A classic BPF program of one word: take 0 bytes of it. */
void segments_lost(int fd, bool lost) {
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = { .len = 1, .filter = &drop };
    int none = 0;
    int rc = lost ? setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)
                  : setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
    assert_int_equal(rc, 0);
}

/* ---------------------------------------------------------------- ports */

static struct dead_port bind_port(const char *ip, uint16_t port) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(uv_ip4_addr(ip, port, &address), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return (struct dead_port){ .fd = fd, .port = ntohs(address.sin_port) };
}

struct dead_port dead_port_open(void) {
    return bind_port("127.0.0.1", 0);
}

struct dead_port black_hole_open(const char *ip, uint16_t port) {
    struct dead_port hole = bind_port(ip, port);
    segments_lost(hole.fd, true);
    assert_int_equal(listen(hole.fd, 8), 0);
    return hole;
}

void dead_port_close(struct dead_port *port) {
    close(port->fd);
    port->fd = -1;
}

/* ---------------------------------------------------------------- clocks */

static struct {
    int64_t ahead_s;
    unsigned asked;
} wall_clock;

void wall_clock_jumps(int64_t seconds) { wall_clock.ahead_s = seconds; }

unsigned wall_clock_asked(void) {
    unsigned asked = wall_clock.asked;
    wall_clock.asked = 0;
    return asked;
}

static bool is_wall_clock(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

LAGO_EXPORT int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *);
    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(clock, now);
    if (!is_wall_clock(clock)) return rc;
    wall_clock.asked++;
    now->tv_sec += (time_t)wall_clock.ahead_s;
    return rc;
}

LAGO_EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int (*real)(struct timeval *, void *);
    *(void **)&real = dlsym(RTLD_NEXT, "gettimeofday");
    wall_clock.asked++;
    int rc = real(now, zone);
    now->tv_sec += (time_t)wall_clock.ahead_s;
    return rc;
}

LAGO_EXPORT time_t time(time_t *now) {
    time_t (*real)(time_t *);
    *(void **)&real = dlsym(RTLD_NEXT, "time");
    wall_clock.asked++;
    time_t told = real(NULL) + (time_t)wall_clock.ahead_s;
    if (now) *now = told;
    return told;
}

/* ---------------------------------------------------------------- networks */

static int network_before = -1;

static bool loopback_up(void) {
    struct ifreq lo = { .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    snprintf(lo.ifr_name, sizeof lo.ifr_name, "lo");
    bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    close(fd);
    return up;
}

bool network_apart(void) {
    network_before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (network_before < 0 || unshare(CLONE_NEWNET) < 0) return false;
    assert_true(loopback_up());
    return true;
}

void network_back(void) {
    if (network_before < 0) return;
    (void)setns(network_before, CLONE_NEWNET);
    close(network_before);
    network_before = -1;
}
