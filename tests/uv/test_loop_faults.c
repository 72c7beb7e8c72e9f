/*
 * Faults that clients of AMQP have had, on real sockets: freeing while a connect or a lookup hangs, connecting again and again,
 * a goodbye that is not answered or not sent, a system call for every message. (Those that need RabbitMQ are in
 * tests/broker/test_faults.c.)
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "fail_alloc.h"
#include "loop_broker.h"
#include "peer.h"
#include <dlfcn.h>
#include <lago.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 10000

/* ---------------------------------------------------------------- counting system calls */

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

static unsigned sendmsg_calls;

/* The linker leads lago's calls here: --wrap=sendmsg. */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
    sendmsg_calls++;
    return __real_sendmsg(fd, message, flags);
}

/* ---------------------------------------------------------------- names: with several addresses, and with none for long */

static const char *const several[] = { "127.0.0.3", "::1", "127.0.0.1" }; /* at the first two nobody listens */

static void add_address(struct addrinfo **list, const char *ip, uint16_t port) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    struct addrinfo *made = calloc(1, sizeof *made + sizeof address); /* in one block, as freeaddrinfo() wants them */
    bool v6 = strchr(ip, ':') != NULL;
    assert_non_null(made);
    assert_int_equal(v6 ? uv_ip6_addr(ip, port, &address.v6) : uv_ip4_addr(ip, port, &address.v4), 0);
    *made = (struct addrinfo){ .ai_family = v6 ? AF_INET6 : AF_INET, .ai_socktype = SOCK_STREAM, .ai_next = *list };
    made->ai_addr = memcpy(made + 1, &address, sizeof address);
    made->ai_addrlen = v6 ? sizeof address.v6 : sizeof address.v4;
    *list = made;
}

static uv_sem_t slow_begins, slow_may_end;

/* In the place of libc's, for libuv as well. */
LAGO_EXPORT int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(node, "slow.test") == 0) {
        uv_sem_post(&slow_begins);
        uv_sem_wait(&slow_may_end);
        return EAI_NONAME;
    }
    if (strcmp(node, "several.test") != 0) return real(node, service, hints, list);
    *list = NULL;
    for (size_t i = sizeof several / sizeof several[0]; i-- > 0;) add_address(list, several[i], (uint16_t)atoi(service));
    return 0;
}

/* ---------------------------------------------------------------- a connection and its broker on one loop */

static struct rig {
    uv_loop_t loop;
    uv_timer_t timer;
    struct loop_broker broker;
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn;
    lago_channel_t *ch;
    bool opened, closed, time_is_up;
    lago_reason_t reason;
    int outcomes;
} rig;

static struct rig *const r = &rig;

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    r->opened = true;
}

static void on_end(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    r->closed = true;
    r->reason = *reason;
}

static void start(void) {
    memset(r, 0, sizeof *r);
    fail_alloc_init(&r->alloc);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    uv_timer_init(&r->loop, &r->timer);
    loop_broker_start(&r->broker, &r->loop);
    lago_context_options_t options = {
        .allocator = r->alloc.allocator, .log = loop_broker_log, .log_data = &r->broker, .log_level = LAGO_LOG_TRACE
    };
    assert_int_equal(lago_context_new(&r->loop, &options, &r->context), 0);
}

static void connect_to(const char *url) {
    lago_connection_options_t options = {
        .context = r->context, .on_open = on_open, .on_open_error = on_end, .on_close = on_end
    };
    r->opened = r->closed = false;
    assert_int_equal(lago_connect(&r->loop, url, &options, &r->conn), 0);
}

static void on_time(uv_timer_t *timer) {
    (void)timer;
    r->time_is_up = true;
}

#define RUN_UNTIL(condition)                                                                                                     \
    do {                                                                                                                         \
        r->time_is_up = false;                                                                                                   \
        uv_timer_start(&r->timer, on_time, PATIENCE_MS, 0);                                                                      \
        while (!(condition) && !r->time_is_up) uv_run(&r->loop, UV_RUN_ONCE);                                                    \
        uv_timer_stop(&r->timer);                                                                                                \
        assert_true(condition);                                                                                                  \
    } while (0)

static void open_connection(void) {
    connect_to(r->broker.url);
    RUN_UNTIL(r->opened || r->closed);
    assert_true(r->opened);
    assert_int_equal(lago_channel_open(r->conn, NULL, &r->ch), 0);
}

/* The loop ends by itself, and nothing is left. */
static void stop(void) {
    lago_connection_free(r->conn);
    lago_context_free(r->context);
    loop_broker_stop(&r->broker);
    uv_close((uv_handle_t *)&r->timer, NULL);
    run_to_end(&r->loop);
    fail_alloc_check(&r->alloc);
}

static uint64_t ms_since(uint64_t start_ns) { return (uv_hrtime() - start_ns) / 1000000; }

/* ---------------------------------------------------------------- freed while it connects */

enum { BACKLOG_FILLERS = 8 };

/* A port where a connect hangs: its backlog is full, so SYNs are dropped. */
struct black_hole {
    int listener, fillers[BACKLOG_FILLERS];
    char url[64];
};

static void black_hole_open(struct black_hole *hole) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
    hole->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(hole->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(hole->listener, 0), 0);
    assert_int_equal(getsockname(hole->listener, (struct sockaddr *)&address, &size), 0);
    for (int i = 0; i < BACKLOG_FILLERS; i++) {
        hole->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(hole->fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    snprintf(hole->url, sizeof hole->url, "amqp://127.0.0.1:%u", ntohs(address.sin_port));
}

static void black_hole_close(struct black_hole *hole) {
    for (int i = 0; i < BACKLOG_FILLERS; i++) close(hole->fillers[i]);
    close(hole->listener);
}

static void freed_before_a_black_hole_answers(void **state) {
    (void)state;
    struct black_hole hole;
    start();
    black_hole_open(&hole);
    connect_to(hole.url);
    for (int i = 0; i < 10; i++) uv_run(&r->loop, UV_RUN_NOWAIT);
    assert_int_equal(lago_connection_state(r->conn), LAGO_CONNECTION_INIT); /* it is connecting */
    assert_false(r->closed);
    uint64_t before = uv_hrtime();
    lago_connection_free(r->conn);
    r->conn = NULL;
    while (uv_run(&r->loop, UV_RUN_ONCE)) { /* nothing of it keeps the loop */
    }
    assert_in_range(ms_since(before), 0, 500);
    connect_to(r->broker.url); /* the next one may have the same descriptor */
    RUN_UNTIL(r->opened);
    black_hole_close(&hole);
    stop();
}

/* One that runs cannot be cancelled: it is left behind, and its answer finds nobody. */
static void freed_before_a_lookup_answers(void **state) {
    (void)state;
    start();
    uv_sem_init(&slow_begins, 0);
    uv_sem_init(&slow_may_end, 0);
    connect_to("amqp://slow.test");
    while (uv_sem_trywait(&slow_begins) != 0) uv_run(&r->loop, UV_RUN_NOWAIT);
    uint64_t before = uv_hrtime();
    lago_connection_free(r->conn);
    assert_in_range(ms_since(before), 0, 500);
    open_connection(); /* others live on meanwhile */
    RUN_UNTIL(lago_channel_state(r->ch) == LAGO_CHANNEL_OPEN);
    lago_connection_free(r->conn);
    r->conn = NULL;
    for (int i = 0; i < 10; i++) uv_run(&r->loop, UV_RUN_NOWAIT); /* nothing is left of either, but the lookup */
    uv_sem_post(&slow_may_end);
    while (uv_run(&r->loop, UV_RUN_ONCE)) {
    }
    uv_sem_destroy(&slow_begins);
    uv_sem_destroy(&slow_may_end);
    stop();
}

/* At every moment of its life: each time the descriptors of the last one are used again. */
static void connected_again_and_again(void **state) {
    (void)state;
    start();
    for (int i = 0; i < 400; i++) {
        connect_to(r->broker.url);
        (void)lago_channel_open(r->conn, NULL, &r->ch);
        (void)lago_queue_declare(r->ch, NULL, NULL, NULL);
        for (int turns = i % 20; turns > 0; turns--) uv_run(&r->loop, UV_RUN_NOWAIT);
        if (i % 3 == 0) (void)lago_connection_abort(r->conn);
        lago_connection_free(r->conn);
    }
    open_connection();
    assert_int_equal(lago_connection_close(r->conn, NULL), 0);
    RUN_UNTIL(r->closed);
    stop();
}

/* ---------------------------------------------------------------- several addresses */

static void the_addresses_of_a_name_are_tried_in_turn(void **state) {
    (void)state;
    char url[64];
    start();
    snprintf(url, sizeof url, "amqp://several.test%s", strrchr(r->broker.url, ':'));
    connect_to(url);
    RUN_UNTIL(r->opened || r->closed);
    assert_true(r->opened);
    assert_string_equal(lago_connection_endpoint(r->conn), strstr(r->broker.url, "127.0.0.1"));
    stop();
}

static void the_last_address_is_the_one_that_is_told(void **state) {
    (void)state;
    start();
    connect_to("amqp://several.test:1?connection_attempts=2&retry_delay=0.01");
    RUN_UNTIL(r->closed);
    assert_false(r->opened);
    assert_int_equal(r->reason.code, LAGO_ECONNECT);
    assert_int_equal(r->reason.os_error, UV_ECONNREFUSED);
    assert_string_equal(r->reason.endpoint, "127.0.0.1:1");
    stop();
}

/* ---------------------------------------------------------------- goodbyes */

static void close_ok_reaches_a_broker_that_closes(void **state) {
    (void)state;
    start();
    open_connection();
    RUN_UNTIL(loop_broker_got(&r->broker, "1 channel.open"));
    loop_broker_say(&r->broker, 0, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    RUN_UNTIL(r->closed);
    assert_int_equal(r->reason.reply_code, 320);
    RUN_UNTIL(r->broker.hung_up);
    assert_true(loop_broker_got(&r->broker, "0 connection.close-ok"));
    stop();
}

static void close_ok_reaches_a_broker_that_closes_a_channel(void **state) {
    (void)state;
    start();
    open_connection();
    RUN_UNTIL(lago_channel_state(r->ch) == LAGO_CHANNEL_OPEN);
    loop_broker_say(&r->broker, 1, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    RUN_UNTIL(loop_broker_got(&r->broker, "1 channel.close-ok"));
    assert_false(r->closed);
    stop();
}

static void close_ends_without_close_ok(void **state) {
    (void)state;
    start();
    open_connection();
    RUN_UNTIL(lago_channel_state(r->ch) == LAGO_CHANNEL_OPEN);
    r->broker.mute = true;
    uint64_t before = uv_hrtime();
    assert_int_equal(lago_connection_close(r->conn, &(lago_close_t){ .timeout_ms = 100 }), 0);
    RUN_UNTIL(r->closed);
    assert_in_range(ms_since(before), 99, 1000);
    assert_int_equal(r->reason.code, LAGO_ETIMEDOUT);
    stop();
}

static void close_ends_when_the_peer_takes_no_bytes(void **state) {
    (void)state;
    static char body[4 << 20]; /* more than the kernel's buffers hold */
    start();
    open_connection();
    RUN_UNTIL(lago_channel_state(r->ch) == LAGO_CHANNEL_OPEN);
    uv_read_stop((uv_stream_t *)r->broker.client);
    r->broker.mute = true; /* it hears what has not come */
    lago_basic_publish_t args = { .routing_key = "q", .body = { body, sizeof body } };
    assert_int_equal(lago_basic_publish(r->ch, &args, NULL, NULL), 0);
    assert_int_equal(lago_basic_publish(r->ch, &args, NULL, NULL), LAGO_EAGAIN);
    uint64_t before = uv_hrtime();
    assert_int_equal(lago_connection_close(r->conn, &(lago_close_t){ .timeout_ms = 100 }), 0);
    RUN_UNTIL(r->closed);
    assert_in_range(ms_since(before), 99, 1000);
    assert_int_equal(r->reason.code, LAGO_ETIMEDOUT);
    stop();
}

/* ---------------------------------------------------------------- system calls */

static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    (void)ch, (void)data;
    r->outcomes += result->outcome == LAGO_PUBLISH_CONFIRMED;
}

static void ten_thousand_publishes_are_few_writes(void **state) {
    (void)state;
    enum { COUNT = 10000, BODY_SIZE = 100, WRITES_MAX = 50, AT_A_TIME = 100 };
    static char body[BODY_SIZE];
    start();
    open_connection();
    RUN_UNTIL(lago_channel_state(r->ch) == LAGO_CHANNEL_OPEN);
    uint64_t before = lago_connection_counters(r->conn).bytes_sent;
    sendmsg_calls = 0;
    lago_basic_publish_t args = { .routing_key = "q", .body = { body, sizeof body } };
    for (int i = 0; i < COUNT; i++) assert_int_equal(lago_basic_publish(r->ch, &args, NULL, NULL), 0);
    RUN_UNTIL(lago_connection_output_size(r->conn) == 0);
    assert_true(lago_connection_counters(r->conn).bytes_sent - before > COUNT * BODY_SIZE);
    assert_in_range(sendmsg_calls, 1, WRITES_MAX);
    print_message("%d publishes in %u writes\n", COUNT, sendmsg_calls);

    /* with confirms, from their callbacks: what one turn of the loop publishes is one write */
    assert_int_equal(lago_confirm_select(r->ch, NULL, NULL, NULL), 0);
    sendmsg_calls = 0;
    for (int i = 0; i < AT_A_TIME; i++) {
        r->outcomes = 0;
        for (int n = 0; n < AT_A_TIME; n++) assert_true(lago_basic_publish(r->ch, &args, on_outcome, NULL) > 0);
        RUN_UNTIL(r->outcomes == AT_A_TIME);
    }
    assert_in_range(sendmsg_calls, AT_A_TIME, AT_A_TIME + 5);
    stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_before_a_black_hole_answers),
        cmocka_unit_test(freed_before_a_lookup_answers),
        cmocka_unit_test(connected_again_and_again),
        cmocka_unit_test(the_addresses_of_a_name_are_tried_in_turn),
        cmocka_unit_test(the_last_address_is_the_one_that_is_told),
        cmocka_unit_test(close_ok_reaches_a_broker_that_closes),
        cmocka_unit_test(close_ok_reaches_a_broker_that_closes_a_channel),
        cmocka_unit_test(close_ends_without_close_ok),
        cmocka_unit_test(close_ends_when_the_peer_takes_no_bytes),
        cmocka_unit_test(ten_thousand_publishes_are_few_writes),
    };
    return cmocka_run_group_tests_name("uv/loop_faults", tests, NULL, NULL);
}
