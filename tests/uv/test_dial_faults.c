/*
 * The way to a broker, when names, addresses and sockets fail: each fault is bounded, told with its place and cause, and the next
 * endpoint gets its chance. On real sockets; the network that fails is faults_net.c's. (tests/FAULTS.md F1-F16; the many ways in
 * virtual time are in tests/client/test_dial*.c.)
 */
#include "dial_peer.h"
#include "faults.h"
#include "reason.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static struct rig *const r = &rig;
static struct dial_peer good; /* the broker that answers */

static void start(void) {
    rig_start();
    dial_peer_start(&good, &r->loop, "127.0.0.1", 0);
    names_go_on();
    sockets_fail(0, 0);
}

static void stop(void) {
    names_go_on(); /* a lookup that runs keeps the loop */
    rig_free();
    dial_peer_stop(&good);
    rig_stop();
}

static const lago_endpoint_t *then_good(void) {
    static lago_endpoint_t endpoint;
    endpoint = (lago_endpoint_t){ .host = good.ip, .port = good.port };
    return &endpoint;
}

/* ---------------------------------------------------------------- F1, F2, F3, F7: names */

static void a_name_that_nobody_has(void **state) {
    (void)state;
    start();
    name_is("nobody.test", NAME_MISSING);
    rig_connect(&(lago_parameters_t){ .host = "nobody.test", .connection_attempts = 3, .retry_delay_ms = 10 });
    rig_until_told();
    assert_int_equal(r->failed, 1);
    assert_int_equal(names_asked(), 3); /* the first failure is not the last word: the policy of rounds holds for it, too */
    for (size_t i = 0; i < 3; i++) {
        const lago_reason_t *reason = rig_attempt(i, LAGO_PHASE_RESOLVE, LAGO_ERESOLVE, NULL);
        assert_int_equal(reason->os_error, UV_EAI_NONAME);
        assert_non_null(strstr(reason->detail, "nobody.test"));
    }
    rig_free();
    rig_connect(&(lago_parameters_t){ .host = "nobody.test", .endpoints = then_good(), .endpoint_count = 1 });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    stop();
}

static void a_silent_name_server_is_given_up(void **state) {
    (void)state;
    start();
    name_is("slow.test", NAME_HANGS);
    rig_connect(
        &(lago_parameters_t){ .host = "slow.test", .resolve_timeout_ms = 200, .endpoints = then_good(), .endpoint_count = 1 });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    ASSERT_TOLD_IN(r->began, 199, 250);
    const lago_reason_t *reason = rig_attempt(0, LAGO_PHASE_RESOLVE, LAGO_ETIMEDOUT, NULL);
    assert_non_null(strstr(reason->hint, "name server"));
    assert_int_equal(names_hanging(), 1);
    names_go_on(); /* the late answer finds nobody */
    RIG_UNTIL(names_hanging() == 0);
    rig_run_ms(50);
    assert_int_equal(r->opened + r->failed + r->closed, 1);
    assert_int_equal(good.client_count, 1);
    stop();
}

static void the_deadline_over_all_ends_a_lookup(void **state) {
    (void)state;
    start();
    name_is("slow.test", NAME_HANGS);
    rig_connect(&(lago_parameters_t){ .host = "slow.test", .connect_deadline_ms = 150, .connection_attempts = 9 });
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(r->began, 149, 200);
    assert_int_equal(r->reason.code, LAGO_ETIMEDOUT);
    assert_int_equal(r->reason.phase, LAGO_PHASE_RESOLVE);
    rig_free();
    names_go_on(); /* its memory is not gone before it has answered: see the allocator's count in rig_stop, and ASan */
    stop();
}

enum { LOST_ONES = 64 };

static int lost_count;

static void on_lost_one(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    assert_int_equal(reason->code, LAGO_ETIMEDOUT);
    assert_int_equal(reason->phase, LAGO_PHASE_RESOLVE);
    lost_count++;
}

/* libuv lets two slow lookups run at once; who has an address needs none, and the others end in their own time. */
static void many_silent_lookups_hold_up_no_address(void **state) {
    static lago_connection_t *lost[LOST_ONES];
    (void)state;
    start();
    name_is("slow.test", NAME_HANGS);
    lago_parameters_t parameters = { .host = "slow.test", .resolve_timeout_ms = 400 };
    lago_connection_options_t options = { .parameters = &parameters, .context = r->context, .on_open_error = on_lost_one };
    lost_count = 0;
    for (size_t i = 0; i < LOST_ONES; i++) assert_int_equal(lago_connect(&r->loop, NULL, &options, &lost[i]), 0);
    RIG_UNTIL(names_hanging() > 0);
    rig_connect(&(lago_parameters_t){ .host = good.ip, .port = good.port });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    ASSERT_TOLD_IN(r->began, 0, 50);
    assert_int_equal(lost_count, 0);
    RIG_UNTIL(lost_count == LOST_ONES);
    for (size_t i = 0; i < LOST_ONES; i++) lago_connection_free(lost[i]);
    stop();
}

static void closed_while_it_looks_up(void **state) {
    (void)state;
    start();
    name_is("slow.test", NAME_HANGS);
    rig_connect(&(lago_parameters_t){ .host = "slow.test" });
    RIG_UNTIL(names_hanging() == 1);
    uint64_t before = uv_hrtime();
    assert_int_equal(lago_connection_close(r->conn, NULL), 0);
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(before, 0, 50);
    assert_int_equal(r->reason.code, LAGO_ECLOSED);
    names_go_on();
    rig_run_ms(50);
    assert_int_equal(r->opened + r->failed + r->closed, 1);
    stop();
}

/* ---------------------------------------------------------------- F4, F5: several addresses of a name */

static void a_dead_address_beside_a_good_one(void **state) {
    (void)state;
    start();
    struct dead_port hole = black_hole_open("127.0.0.2", good.port);
    name_is("both.test", "127.0.0.2 127.0.0.1");
    rig_connect(&(lago_parameters_t){ .host = "both.test", .port = good.port });
    rig_until_open();
    ASSERT_TOLD_IN(r->began, 249, 300); /* beside the dead one, after the 250 ms of RFC 8305 */
    assert_string_equal(lago_connection_endpoint(r->conn), good.endpoint);
    assert_int_equal(r->opened, 1);
    assert_int_equal(good.client_count, 1);
    assert_int_equal(rig_attempts(), 0); /* the dead one has lost the race: nobody waited for its failure */
    dead_port_close(&hole);
    stop();
}

static void a_refused_address_beside_a_good_one(void **state) {
    (void)state;
    char endpoint[64];
    start();
    name_is("both.test", "127.0.0.2 127.0.0.1");
    rig_connect(&(lago_parameters_t){ .host = "both.test", .port = good.port });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    ASSERT_TOLD_IN(r->began, 0, 50);
    snprintf(endpoint, sizeof endpoint, "127.0.0.2:%u", good.port);
    assert_int_equal(rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ECONNECT, endpoint)->os_error, UV_ECONNREFUSED);
    stop();
}

static void no_route_to_an_ipv6_address(void **state) {
    (void)state;
    char endpoint[64];
    if (!network_apart()) {
        print_message("skipped: a network of its own (unshare(CLONE_NEWNET)) is not allowed here\n");
        network_back();
        skip();
    }
    start();
    name_is("both.test", "2001:db8::1 127.0.0.1");
    name_is("six.test", "2001:db8::1");
    rig_connect(&(lago_parameters_t){ .host = "both.test", .port = good.port });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    ASSERT_TOLD_IN(r->began, 0, 50);
    snprintf(endpoint, sizeof endpoint, "[2001:db8::1]:%u", good.port);
    assert_int_equal(rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ECONNECT, endpoint)->os_error, UV_ENETUNREACH);
    rig_free();
    rig_connect(&(lago_parameters_t){ .host = "six.test", .port = good.port });
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(r->began, 0, 50);
    assert_int_equal(rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ECONNECT, endpoint)->os_error, UV_ENETUNREACH);
    stop();
    network_back();
}

/* ---------------------------------------------------------------- F8, F9, F14: nobody there */

static void a_refusal_is_told_at_once(void **state) {
    (void)state;
    char endpoint[64];
    start();
    struct dead_port dead = dead_port_open();
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", dead.port);
    rig_connect(&(lago_parameters_t){ .host = "127.0.0.1", .port = dead.port });
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(r->began, 0, 50);
    assert_int_equal(rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ECONNECT, endpoint)->os_error, UV_ECONNREFUSED);
    rig_free();

    /* the next endpoint at once; the next round after its delay */
    rig_connect(&(lago_parameters_t){ .host = "127.0.0.1", .port = dead.port, .endpoints = then_good(), .endpoint_count = 1 });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    ASSERT_TOLD_IN(r->began, 0, 50);
    rig_free();
    rig_connect(&(lago_parameters_t){ .host = "127.0.0.1", .port = dead.port, .connection_attempts = 2, .retry_delay_ms = 200 });
    rig_until_told();
    assert_int_equal(rig_attempts(), 2);
    ASSERT_TOLD_IN(r->began, 199, 250);
    dead_port_close(&dead);
    stop();
}

static void a_black_hole_is_given_up(void **state) {
    (void)state;
    char endpoint[64];
    start();
    struct dead_port hole = black_hole_open("127.0.0.1", 0);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", hole.port);
    lago_parameters_t p = {
        .host = "127.0.0.1", .port = hole.port, .socket_timeout_ms = 150, .endpoints = then_good(), .endpoint_count = 1
    };
    rig_connect(&p);
    rig_until_told();
    assert_int_equal(r->opened, 1);
    ASSERT_TOLD_IN(r->began, 149, 200);
    (void)rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ETIMEDOUT, endpoint);
    rig_free();
    p.socket_timeout_ms = 0;
    p.stack_timeout_ms = 150;
    rig_connect(&p);
    rig_until_told();
    assert_int_equal(r->opened, 1);
    ASSERT_TOLD_IN(r->began, 149, 200);
    (void)rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ETIMEDOUT, endpoint);
    rig_free();
    p.stack_timeout_ms = 0;
    p.connect_deadline_ms = 150;
    rig_connect(&p);
    rig_until_told();
    assert_int_equal(r->failed, 1); /* over all: there is no next one */
    ASSERT_TOLD_IN(r->began, 149, 200);
    assert_int_equal(r->reason.code, LAGO_ETIMEDOUT);
    assert_string_equal(r->reason.endpoint, endpoint);
    dead_port_close(&hole);
    stop();
}

static void closed_while_it_connects(void **state) {
    (void)state;
    start();
    struct dead_port hole = black_hole_open("127.0.0.1", 0);
    size_t before = rig_descriptors();
    rig_connect(&(lago_parameters_t){ .host = "127.0.0.1", .port = hole.port });
    RIG_UNTIL(rig_descriptors() > before);
    rig_run_ms(20);
    uint64_t then = uv_hrtime();
    assert_int_equal(lago_connection_close(r->conn, NULL), 0);
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(then, 0, 50);
    assert_int_equal(r->reason.code, LAGO_ECLOSED);
    assert_int_equal(rig_descriptors(), before);
    rig_run_ms(20);
    assert_int_equal(r->opened + r->failed + r->closed, 1);
    dead_port_close(&hole);
    stop();
}

/* ---------------------------------------------------------------- F13: no socket to be had */

/* It is an attempt that failed like any other, and the next round comes after its delay: no busy loop. */
static void without_a_socket_it_waits(void **state) {
    static const struct {
        int error, told;
    } faults[] = { { EMFILE, UV_EMFILE }, { ENFILE, UV_ENFILE }, { ENOBUFS, UV_ENOBUFS }, { EAFNOSUPPORT, UV_EAFNOSUPPORT } };
    (void)state;
    start();
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        rig_connect(&(lago_parameters_t){ .host = good.ip, .port = good.port, .connection_attempts = 9, .retry_delay_ms = 100 });
        sockets_fail(2, faults[i].error);
        (void)sockets_made();
        r->turns = 0;
        rig_until_told();
        assert_int_equal(r->opened, 1);
        ASSERT_TOLD_IN(r->began, 199, 250);
        assert_int_equal(sockets_made(), 3);
        assert_in_range(r->turns, 0, 100); /* some 20 are the pulse's */
        for (size_t n = 0; n < 2; n++)
            assert_int_equal(rig_attempt(n, LAGO_PHASE_CONNECT, LAGO_ECONNECT, good.endpoint)->os_error, faults[i].told);
        rig_free();
    }
    stop();
}

static void without_descriptors_it_waits(void **state) {
    (void)state;
    struct rlimit limit, none;
    start();
    rig_connect(&(lago_parameters_t){ .host = good.ip, .port = good.port, .connection_attempts = 99, .retry_delay_ms = 50 });
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    r->turns = 0;
    RIG_UNTIL(rig_attempts() == 4);
    assert_in_range(r->turns, 0, 150);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rig_until_told();
    assert_int_equal(r->opened, 1);
    assert_int_equal(rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ECONNECT, good.endpoint)->os_error, UV_EMFILE);
    stop();
}

static void a_local_address_of_somebody_else(void **state) {
    (void)state;
    start();
    rig_connect(&(lago_parameters_t){ .host = good.ip, .port = good.port, .local_address = "192.0.2.1" });
    rig_until_told();
    assert_int_equal(r->failed, 1);
    ASSERT_TOLD_IN(r->began, 0, 50);
    assert_int_equal(rig_attempt(0, LAGO_PHASE_CONNECT, LAGO_ECONNECT, good.endpoint)->os_error, UV_EADDRNOTAVAIL);
    rig_free();
    rig_connect(&(lago_parameters_t){ .host = good.ip, .port = good.port, .local_address = "127.0.0.2" });
    rig_until_told();
    assert_int_equal(r->opened, 1);
    assert_string_equal(good.client_ip, "127.0.0.2");
    stop();
}

/* ---------------------------------------------------------------- every way to fail, in one list */

/* The proxy that hangs up, the broker that is silent, and two that refuse; nine ways, in order, and then the one that answers. */
static void every_attempt_is_told(void **state) {
    static struct dial_peer silent, refuses_user, refuses_host, hangs_up, version;
    (void)state;
    start();
    struct dead_port dead = dead_port_open(), hole = black_hole_open("127.0.0.1", 0);
    struct dial_peer *const peers[] = { &silent, &refuses_user, &refuses_host, &hangs_up, &version };
    for (size_t i = 0; i < 5; i++) dial_peer_start(peers[i], &r->loop, "127.0.0.1", 0);
    silent.cut = hangs_up.cut = 0;
    hangs_up.fate = PEER_HANGS_UP;
    refuses_user.tune = "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"";
    refuses_host.open_ok = "0 connection.close reply_code=530 reply_text=\"NOT_ALLOWED\"";
    version.start = "raw 41 4d 51 50 00 00 09 00"; /* what RabbitMQ says to who speaks another one */
    name_is("nobody.test", NAME_MISSING);
    name_is("slow.test", NAME_HANGS);
    const lago_tls_options_t tls = { .ca_file = NULL };
    const lago_proxy_t proxy = { .type = LAGO_PROXY_SOCKS5, .host = "127.0.0.1", .port = hangs_up.port };
#define TO(port_) .host = "127.0.0.1", .port = (port_)
    const lago_parameters_t ways[] = {
        { .host = "nobody.test" }, { .host = "slow.test", .resolve_timeout_ms = 50 },
        { TO(dead.port) },         { TO(hole.port), .socket_timeout_ms = 50 },
        { TO(1), .proxy = proxy }, { TO(hangs_up.port), .tls = &tls },
        { TO(hangs_up.port) },     { TO(silent.port), .stack_timeout_ms = 100 },
        { TO(version.port) },      { TO(refuses_user.port) },
        { TO(refuses_host.port) }, { TO(good.port) },
    };
    static const struct {
        lago_phase_t phase;
        int code;
    } told[] = { { LAGO_PHASE_RESOLVE, LAGO_ERESOLVE },   { LAGO_PHASE_RESOLVE, LAGO_ETIMEDOUT },
                 { LAGO_PHASE_CONNECT, LAGO_ECONNECT },   { LAGO_PHASE_CONNECT, LAGO_ETIMEDOUT },
                 { LAGO_PHASE_PROXY, LAGO_ELOST },        { LAGO_PHASE_TLS, LAGO_ELOST },
                 { LAGO_PHASE_HANDSHAKE, LAGO_ELOST },    { LAGO_PHASE_HANDSHAKE, LAGO_ETIMEDOUT },
                 { LAGO_PHASE_HANDSHAKE, LAGO_EVERSION }, { LAGO_PHASE_HANDSHAKE, LAGO_EAUTH },
                 { LAGO_PHASE_OPEN, LAGO_EACCESS } };
    const uint16_t ports[] = { 0,
                               0,
                               dead.port,
                               hole.port,
                               hangs_up.port,
                               hangs_up.port,
                               hangs_up.port,
                               silent.port,
                               version.port,
                               refuses_user.port,
                               refuses_host.port };
    rig_connect_many(ways, sizeof ways / sizeof ways[0]);
    rig_until_told();
    assert_int_equal(r->opened, 1);
    assert_int_equal(rig_attempts(), sizeof told / sizeof told[0]);
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        char endpoint[64];
        snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", ports[i]);
        (void)rig_attempt(i, told[i].phase, told[i].code, ports[i] ? endpoint : NULL);
    }
    rig_free();

    /* without the one that answers: the last of them is the reason, and the list is there in on_open_error */
    rig_connect_many(ways, sizeof ways / sizeof ways[0] - 1);
    rig_until_told();
    assert_int_equal(r->failed, 1);
    assert_int_equal(r->reason.code, LAGO_EACCESS);
    assert_int_equal(rig_attempts(), sizeof told / sizeof told[0]);
    for (size_t i = 0; i < 5; i++) dial_peer_stop(peers[i]);
    dead_port_close(&dead);
    dead_port_close(&hole);
    stop();
}

/* A thread that hangs would hold the process's end up, too. */
static int let_lookups_go(void **state) {
    (void)state;
    names_go_on();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_nobody_has),
        cmocka_unit_test(a_silent_name_server_is_given_up),
        cmocka_unit_test(the_deadline_over_all_ends_a_lookup),
        cmocka_unit_test(many_silent_lookups_hold_up_no_address),
        cmocka_unit_test(closed_while_it_looks_up),
        cmocka_unit_test(a_dead_address_beside_a_good_one),
        cmocka_unit_test(a_refused_address_beside_a_good_one),
        cmocka_unit_test(no_route_to_an_ipv6_address),
        cmocka_unit_test(a_refusal_is_told_at_once),
        cmocka_unit_test(a_black_hole_is_given_up),
        cmocka_unit_test(closed_while_it_connects),
        cmocka_unit_test(without_a_socket_it_waits),
        cmocka_unit_test(without_descriptors_it_waits),
        cmocka_unit_test(a_local_address_of_somebody_else),
        cmocka_unit_test(every_attempt_is_told),
    };
    return cmocka_run_group_tests_name("uv/dial_faults", tests, NULL, let_lookups_go);
}
