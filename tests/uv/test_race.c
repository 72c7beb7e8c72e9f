/*
 * Several connects side by side (RFC 8305): the first one that succeeds is the link, and of the others nothing is heard any more,
 * nor is anything left of them.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "way.h"
#include <dlfcn.h>
#include <lago/connection.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define BACKLOG_FILLERS 4
#define ADDRESSES_MAX   (LINK_ADDRESSES_MAX + 36)

static const char *addresses[ADDRESSES_MAX]; /* of "several.test" */
static size_t address_count;

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

/* In the place of libc's, for libuv as well. */
LAGO_EXPORT int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(node, "several.test") != 0) return real(node, service, hints, list);
    *list = NULL;
    for (size_t i = address_count; i-- > 0;) add_address(list, addresses[i], (uint16_t)atoi(service));
    return 0;
}

/* ---------------------------------------------------------------- peers: two that answer, one that never does */

static struct room {
    uv_loop_t loop;
    struct peer peer, other;            /* at 127.0.0.1 and 127.0.0.4, if it is there */
    int hole, fillers[BACKLOG_FILLERS]; /* at 127.0.0.2: its queue is full */
    lago_connection_t *conn;
    int told[8]; /* statuses of link_connected, in order */
    char endpoints[8][64];
    int told_count;
} room;

static struct sockaddr_in address_of(const char *ip) {
    struct sockaddr_in address;
    assert_int_equal(uv_ip4_addr(ip, room.peer.port, &address), 0);
    return address;
}

static void open_hole(void) {
    struct sockaddr_in address = address_of("127.0.0.2");
    room.hole = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(room.hole, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(room.hole, 0), 0);
    for (int i = 0; i < BACKLOG_FILLERS; i++) {
        room.fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(room.fillers[i], (struct sockaddr *)&address, sizeof address);
    }
}

static void close_hole(void) {
    for (int i = 0; i < BACKLOG_FILLERS; i++) close(room.fillers[i]);
    close(room.hole);
}

static void on_call(lago_connection_t *conn, enum fake_call call, int status) {
    if (call != FAKE_CONNECTED) return;
    assert_in_range(room.told_count, 0, 7);
    room.told[room.told_count] = status;
    snprintf(room.endpoints[room.told_count++], sizeof room.endpoints[0], "%.63s", conn->endpoint);
}

#define HOLE    "127.0.0.2"
#define REFUSED "127.0.0.3"
#define GOOD    "127.0.0.1"
#define OTHER   "127.0.0.4"

/* Dial these addresses, so many of them at once. */
static void dial(const char *const *names, size_t count, size_t abreast) {
    char url[64];
    room = (struct room){ .told_count = 0 };
    memcpy(addresses, names, count * sizeof *names);
    address_count = count;
    assert_int_equal(uv_loop_init(&room.loop), 0);
    peer_listen(&room.peer, &room.loop, GOOD);
    open_hole();
    snprintf(url, sizeof url, "several.test:%u", (unsigned)room.peer.port);
    assert_int_equal(lago_connect(&room.loop, url, NULL, &room.conn), 0);
    room.conn->abreast = abreast;
    room.conn->hook = on_call;
}

static void listen_at_the_other(void) {
    struct sockaddr_in address = address_of(OTHER);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    peer_listen_on(&room.other, &room.loop, fd);
}

static void leave(void) {
    fake_end(room.conn, false);
    peer_close(&room.peer);
    if (room.other.is_open) peer_close(&room.other);
    close_hole();
    run_to_end(&room.loop);
    fake_free(room.conn);
}

static void assert_endpoint(int nth, const char *ip) {
    char words[64];
    snprintf(words, sizeof words, "%s:%u", ip, (unsigned)room.peer.port);
    assert_string_equal(room.endpoints[nth], words);
}

/* ---------------------------------------------------------------- who wins */

static void the_first_answer_wins(void **state) {
    (void)state;
    static const char *const names[] = { HOLE, REFUSED, GOOD };
    dial(names, 3, 3);
    run_until(&room.loop, &room.conn->up);
    run_a_while(&room.loop);
    assert_int_equal(room.told_count, 2); /* and nothing of the one that never answers */
    assert_int_equal(room.told[0], UV_ECONNREFUSED);
    assert_endpoint(0, REFUSED);
    assert_int_equal(room.told[1], 0);
    assert_endpoint(1, GOOD);
    leave();
}

static void the_second_answer_is_dropped(void **state) {
    (void)state;
    static const char *const names[] = { HOLE, OTHER, GOOD };
    dial(names, 3, 3);
    listen_at_the_other();
    run_until(&room.loop, &room.conn->up);
    struct peer *loser = strncmp(room.conn->winner, GOOD, strlen(GOOD)) == 0 ? &room.other : &room.peer;
    struct peer *winner = loser == &room.peer ? &room.other : &room.peer;
    run_until(&room.loop, &loser->closed); /* at once, without a word */
    assert_int_equal(loser->received_size, 0);
    assert_int_equal(room.told_count, 1);
    fake_send(room.conn, "hello", 5);
    run_until_size(&room.loop, &winner->received_size, 5);
    assert_false(winner->closed);
    leave();
}

static void one_joins_those_that_are_under_way(void **state) {
    (void)state;
    static const char *const names[] = { HOLE, GOOD };
    dial(names, 2, 1);
    run_until_count(&room.loop, &room.conn->counts[FAKE_RESOLVED], 1);
    run_a_while(&room.loop);
    assert_int_equal(room.told_count, 0);
    assert_int_equal(room.conn->transport.ops->connect(room.conn->transport.self, 1), 0); /* 250 ms later, so to speak */
    run_until(&room.loop, &room.conn->up);
    assert_endpoint(0, GOOD);
    leave();
}

static void each_refusal_is_told(void **state) {
    (void)state;
    static const char *const names[] = { REFUSED, "127.0.0.5", "127.0.0.6", "127.0.0.7" };
    dial(names, 4, 4);
    run_until(&room.loop, &room.conn->down);
    run_a_while(&room.loop);
    assert_int_equal(room.told_count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(room.told[i], UV_ECONNREFUSED);
        for (int k = 0; k < i; k++) assert_string_not_equal(room.endpoints[i], room.endpoints[k]);
    }
    assert_int_not_equal(uv_backend_timeout(&room.loop), 0);
    leave();
}

/* What the system refuses inside of the call, beside one that is under way. */
static void a_refusal_at_once_spoils_nothing(void **state) {
    (void)state;
    static const char *const names[] = { GOOD, "255.255.255.255" };
    dial(names, 2, 2);
    run_until(&room.loop, &room.conn->up);
    assert_int_equal(room.told_count, 2);
    assert_true(room.told[0] == UV_ENETUNREACH || room.told[0] == UV_EACCES);
    assert_int_equal(room.told[1], 0);
    leave();
}

static void families_alternate(void **state) {
    (void)state;
    static const char *const names[] = { "::1", "::2", GOOD, REFUSED };
    static const char *const order[] = { "[::1]", GOOD, "[::2]", REFUSED };
    dial(names, 4, 0);
    run_until_count(&room.loop, &room.conn->counts[FAKE_RESOLVED], 1);
    for (size_t i = 0; i < 4; i++) {
        const char *endpoint = room.conn->transport.ops->endpoint(room.conn->transport.self, i);
        assert_int_equal(strncmp(endpoint, order[i], strlen(order[i])), 0);
    }
    leave();
}

static void no_more_addresses_than_there_are(void **state) {
    (void)state;
    const char *names[ADDRESSES_MAX];
    for (size_t i = 0; i < ADDRESSES_MAX; i++) names[i] = HOLE;
    dial(names, ADDRESSES_MAX, 0);
    run_until_count(&room.loop, &room.conn->counts[FAKE_RESOLVED], 1);
    assert_int_equal(room.conn->transport.ops->connect(room.conn->transport.self, ADDRESSES_MAX), LAGO_EINVAL);
    for (size_t i = 1; i < LINK_ADDRESSES_MAX; i++)
        assert_int_equal(room.conn->transport.ops->connect(room.conn->transport.self, i), 0);
    run_a_while(&room.loop);
    assert_int_equal(room.told_count, 0);
    leave();
}

/* ---------------------------------------------------------------- who is dropped */

static void hanging_up_drops_all(void **state) {
    (void)state;
    static const char *const names[] = { HOLE, OTHER, GOOD, REFUSED, HOLE };
    for (int turns = 0; turns < 4; turns++) {
        dial(names, 5, 5);
        listen_at_the_other();
        run_until_count(&room.loop, &room.conn->counts[FAKE_RESOLVED], 1);
        for (int i = 0; i < turns && !room.conn->up; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
        int told = room.told_count;
        fake_hang_up(room.conn, false);
        run_a_while(&room.loop);
        assert_int_equal(room.told_count, told);
        leave();
    }
}

static enum fake_call stage;
static int stage_status;

static void end_there(lago_connection_t *conn, enum fake_call call, int status) {
    if (call == stage && (status < 0) == (stage_status < 0)) fake_end(conn, false);
}

static void ending_inside_of_the_news(void **state) {
    (void)state;
    static const char *const names[] = { HOLE, REFUSED, "127.0.0.5", GOOD };
    static const struct {
        enum fake_call call;
        int status;
    } cases[] = { { FAKE_RESOLVED, 0 }, { FAKE_CONNECTED, -1 }, { FAKE_CONNECTED, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dial(names, 4, 4);
        stage = cases[i].call;
        stage_status = cases[i].status;
        room.conn->hook = end_there;
        run_until_count(&room.loop, &room.conn->counts[FAKE_FINISHED], 1);
        leave();
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_answer_wins, way_begin, way_end),
        cmocka_unit_test_setup_teardown(the_second_answer_is_dropped, way_begin, way_end),
        cmocka_unit_test_setup_teardown(one_joins_those_that_are_under_way, way_begin, way_end),
        cmocka_unit_test_setup_teardown(each_refusal_is_told, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_refusal_at_once_spoils_nothing, way_begin, way_end),
        cmocka_unit_test_setup_teardown(families_alternate, way_begin, way_end),
        cmocka_unit_test_setup_teardown(no_more_addresses_than_there_are, way_begin, way_end),
        cmocka_unit_test_setup_teardown(hanging_up_drops_all, way_begin, way_end),
        cmocka_unit_test_setup_teardown(ending_inside_of_the_news, way_begin, way_end),
    };
    if (!way_choose(argc, argv)) return 2;
    return cmocka_run_group_tests_name("uv/race", tests, NULL, NULL);
}
