/*
 * How a link comes to be: sockets that the system refuses, options, addresses to connect from, paths; and sockets of the
 * caller's, which stay the caller's until lago_connect has succeeded, and are closed once from then on.
 */
#include "peer_tls.h"
#include "stream.h"
#include "way.h"
#include <fcntl.h>
#include <lago/connection.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct room {
    uv_loop_t loop;
    struct peer peer;
    lago_connection_t *conn;
} room;

static void enter(struct peer peer) {
    room.peer = peer;
    room.conn = NULL;
    assert_int_equal(uv_loop_init(&room.loop), 0);
    peer_listen(&room.peer, &room.loop, peer.is_unix ? NULL : "127.0.0.1");
}

static void leave(void) {
    if (room.conn != NULL) fake_end(room.conn, false);
    peer_close(&room.peer);
    run_to_end(&room.loop);
    if (room.conn != NULL) fake_free(room.conn);
}

static int connect_with(lago_connection_options_t options) {
    if (options.parameters == NULL) return lago_connect(&room.loop, room.peer.url, &options, &room.conn);
    return lago_connect(&room.loop, NULL, &options, &room.conn);
}

static void dial(const char *url) { assert_int_equal(lago_connect(&room.loop, url, NULL, &room.conn), 0); }

static void assert_echo(void) {
    run_until(&room.loop, &room.conn->up);
    fake_send(room.conn, "hello", 5);
    run_until_size(&room.loop, &room.conn->received_size, 5);
    assert_memory_equal(room.conn->received, "hello", 5);
}

/* ---------------------------------------------------------------- what the system refuses */

static void refused_by_the_system(const char *url, int status) {
    dial(url);
    run_until(&room.loop, &room.conn->down);
    assert_int_equal(room.conn->connected_status, status);
    assert_int_equal(room.conn->counts[FAKE_CONNECTED], 1);
    run_a_while(&room.loop);
    assert_int_not_equal(uv_backend_timeout(&room.loop), 0); /* told once, and no busy loop */
    fake_end(room.conn, false);
    while (room.conn->counts[FAKE_FINISHED] == 0) uv_run(&room.loop, UV_RUN_ONCE);
    fake_free(room.conn);
    room.conn = NULL;
}

static void no_descriptors_left(void **state) {
    (void)state;
    struct rlimit saved, none;
    enter((struct peer){ .echo = true });
    int next = dup(0);
    assert_true(next > 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    none = (struct rlimit){ (rlim_t)next, saved.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    refused_by_the_system(room.peer.url, UV_EMFILE);
    refused_by_the_system("/nowhere/broker.sock:0", UV_EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
    dial(room.peer.url);
    assert_echo();
    leave();
}

static void no_such_path(void **state) {
    (void)state;
    enter((struct peer){ .is_unix = true });
    refused_by_the_system("/nowhere/broker.sock:0", UV_ENOENT);
    refused_by_the_system("/:0", UV_ECONNREFUSED); /* no socket at all */
    leave();
}

static void a_path_that_is_too_long(void **state) {
    (void)state;
    char url[128];
    memset(url, 'x', sizeof url);
    url[0] = '/';
    strcpy(url + 108, ":0");
    enter((struct peer){ .is_unix = true });
    dial(url);
    run_until(&room.loop, &room.conn->down);
    assert_int_equal(room.conn->resolved_status, UV_ENAMETOOLONG);
    leave();
}

static void a_path_is_an_endpoint(void **state) {
    (void)state;
    enter((struct peer){ .is_unix = true, .echo = true });
    dial(room.peer.url);
    assert_echo();
    assert_string_equal(room.conn->winner, room.peer.host);
    leave();
}

/* ---------------------------------------------------------------- options and addresses of one's own */

static int found_fd;

/* The client's end: connected, and not the peer's. */
static void look_at(uv_handle_t *handle, void *data) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int fd;
    (void)data;
    if (handle->type != UV_TCP || uv_fileno(handle, &fd) != 0) return;
    if (getpeername(fd, (struct sockaddr *)&address, &size) == 0 && ntohs(address.sin_port) == room.peer.port) found_fd = fd;
}

static int option(int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    found_fd = -1;
    uv_walk(&room.loop, look_at, NULL);
    assert_int_equal(getsockopt(found_fd, level, name, &value, &size), 0);
    return value;
}

static void connect_with_options(lago_tcp_options_t options) {
    dial(room.peer.url);
    room.conn->tcp_options = options;
    run_until(&room.loop, &room.conn->up);
}

static void defaults_of_sockets(void **state) {
    (void)state;
    enter((struct peer){ .echo = true });
    connect_with_options((lago_tcp_options_t){ .keepcnt = 0 });
    assert_true(option(IPPROTO_TCP, TCP_NODELAY) != 0);
    assert_int_equal(option(SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    assert_true((fcntl(found_fd, F_GETFD) & FD_CLOEXEC) != 0);
    leave();
}

static void options_reach_the_socket(void **state) {
    (void)state;
    enter((struct peer){ .echo = true });
    connect_with_options(
        (lago_tcp_options_t){ .keepidle_s = 60, .keepintvl_s = 11, .keepcnt = 3, .user_timeout_ms = 4321, .no_nodelay = true });
    assert_int_equal(option(IPPROTO_TCP, TCP_NODELAY), 0);
    assert_true(option(SOL_SOCKET, SO_KEEPALIVE) != 0);
    assert_int_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(IPPROTO_TCP, TCP_KEEPINTVL), 11);
    assert_int_equal(option(IPPROTO_TCP, TCP_KEEPCNT), 3);
    assert_int_equal(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 4321);
    leave();
}

static void keepalive_alone_is_the_systems(void **state) {
    (void)state;
    enter((struct peer){ .echo = true });
    int idle = 0;
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_keepalive_time", "r");
    connect_with_options((lago_tcp_options_t){ .keepalive = true });
    assert_true(option(SOL_SOCKET, SO_KEEPALIVE) != 0);
    if (file != NULL && fscanf(file, "%d", &idle) == 1) assert_int_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), idle);
    if (file != NULL) fclose(file);
    leave();
}

/* As pika: any of them turns it on. */
static void each_option_of_keepalive_turns_it_on(void **state) {
    (void)state;
    static const lago_tcp_options_t options[] = { { .keepidle_s = 7 }, { .keepintvl_s = 7 }, { .keepcnt = 7 } };
    static const int names[] = { TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT };
    for (int i = 0; i < 3; i++) {
        enter((struct peer){ .echo = true });
        connect_with_options(options[i]);
        assert_int_equal(option(SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option(IPPROTO_TCP, names[i]), 7);
        assert_int_not_equal(option(IPPROTO_TCP, names[(i + 1) % 3]), 7);
        leave();
    }
}

static void dial_again(void) {
    fake_hang_up(room.conn, false);
    room.conn->dialed = false;
    room.conn->wants.turn = true;
    fake_wake(room.conn);
    run_until(&room.loop, &room.conn->up);
}

static void connects_from_an_address(void **state) {
    (void)state;
    struct sockaddr_in address;
    int size = sizeof address;
    enter((struct peer){ .echo = true });
    dial(room.peer.url);
    room.conn->local_address = "127.0.0.5";
    assert_echo();
    assert_int_equal(uv_tcp_getpeername(&room.peer.clients[0].uv.tcp, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(ntohl(address.sin_addr.s_addr), 0x7f000005);
    room.conn->local_address = "127.0.0.6"; /* each time anew */
    dial_again();
    run_until_count(&room.loop, &room.peer.client_count, 2);
    assert_int_equal(uv_tcp_getpeername(&room.peer.clients[1].uv.tcp, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(ntohl(address.sin_addr.s_addr), 0x7f000006);
    leave();
}

/* From no address at all: there is none on a path. */
static void a_path_needs_no_address(void **state) {
    (void)state;
    enter((struct peer){ .is_unix = true, .echo = true });
    dial(room.peer.url);
    room.conn->local_address = "127.0.0.5";
    assert_echo();
    leave();
}

static void from_an_address_of_another_family(void **state) {
    (void)state;
    enter((struct peer){ .echo = true });
    dial(room.peer.url);
    room.conn->local_address = "::1";
    run_until(&room.loop, &room.conn->down);
    assert_int_equal(room.conn->resolved_status, UV_EAI_ADDRFAMILY);
    leave();
}

static void from_no_address(void **state) {
    (void)state;
    enter((struct peer){ .echo = true });
    dial(room.peer.url);
    room.conn->local_address = "eth0";
    run_until(&room.loop, &room.conn->down);
    assert_int_equal(room.conn->resolved_status, UV_EINVAL);
    leave();
}

static void from_somebody_elses_address(void **state) {
    (void)state;
    enter((struct peer){ .echo = true });
    dial(room.peer.url);
    room.conn->local_address = "192.0.2.1"; /* documentation's (RFC 5737) */
    run_until(&room.loop, &room.conn->down);
    assert_int_equal(room.conn->connected_status, UV_EADDRNOTAVAIL);
    assert_string_equal(room.conn->endpoint, room.peer.url);
    leave();
}

/* ---------------------------------------------------------------- the caller's: what is refused */

static int freed;

static void count_free(uv_stream_t *stream, void *data) {
    freed++;
    assert_ptr_equal(data, &room);
    assert_true(uv_is_closing((uv_handle_t *)stream));
}

static void assert_refused(uv_stream_t *stream, int fd, int status) {
    lago_connection_options_t options = { .stream = stream, .socket_fd = fd, .data = &room };
    if (stream != NULL) options.free_stream = count_free;
    assert_int_equal(connect_with(options), status);
    assert_null(room.conn);
    assert_int_equal(freed, 0);
    if (stream != NULL) assert_false(uv_is_closing((uv_handle_t *)stream));
    if (fd > 0) assert_true(fcntl(fd, F_GETFD) >= 0);
}

static void close_both(int *fds) {
    close(fds[0]);
    close(fds[1]);
}

static void descriptors_that_are_no_links(void **state) {
    (void)state;
    int pair[2], datagrams[2], ends[2], listener = socket(AF_INET, SOCK_STREAM, 0), file = open("/dev/null", O_RDWR);
    freed = 0;
    enter((struct peer){ .echo = true });
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams), 0);
    assert_refused(NULL, ends[0], UV_ENOTSOCK);
    assert_refused(NULL, file, UV_ENOTSOCK);
    assert_refused(NULL, listener, UV_ENOTCONN);
    assert_refused(NULL, datagrams[0], UV_EPROTONOSUPPORT);
    close_both(datagrams);
    close_both(ends);
    close(file);
    close(listener);
    lago_connection_options_t closed = { .socket_fd = listener }, negative = { .socket_fd = -1 };
    assert_int_equal(connect_with(closed), UV_EBADF);
    assert_int_equal(connect_with(negative), UV_EBADF);
    lago_connection_options_t freeing = { .socket_fd = pair[0], .free_stream = count_free };
    assert_int_equal(connect_with(freeing), LAGO_EINVAL); /* there is no stream to free */
    close_both(pair);
    leave();
}

/* A pipe of two sockets as the caller's uv_pipe_t; the other end is pair[1]. */
static void open_pipe(uv_pipe_t *handle, int ipc, int *pair) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(uv_pipe_init(&room.loop, handle, ipc), 0);
    assert_int_equal(uv_pipe_open(handle, pair[0]), 0);
}

static void streams_that_are_no_links(void **state) {
    (void)state;
    uv_tcp_t unconnected, listener;
    uv_pipe_t ipc, one_way;
    int pair[2], ends[2];
    struct sockaddr_in any = { .sin_family = AF_INET };
    freed = 0;
    enter((struct peer){ .echo = true });
    uv_tcp_init(&room.loop, &unconnected);
    uv_tcp_init(&room.loop, &listener);
    assert_int_equal(uv_tcp_bind(&listener, (struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&listener, 1, NULL), 0);
    open_pipe(&ipc, 1, pair);
    assert_int_equal(pipe(ends), 0);
    uv_pipe_init(&room.loop, &one_way, 0);
    assert_int_equal(uv_pipe_open(&one_way, ends[0]), 0);
    assert_refused((uv_stream_t *)&unconnected, 0, UV_ENOTCONN);
    assert_refused((uv_stream_t *)&listener, 0, UV_ENOTCONN);
    assert_refused((uv_stream_t *)&ipc, 0, LAGO_EINVAL);
    assert_refused((uv_stream_t *)&one_way, 0, UV_ENOTSOCK);
    uv_udp_t datagrams; /* cast by mistake */
    assert_int_equal(uv_udp_init(&room.loop, &datagrams), 0);
    assert_refused((uv_stream_t *)(void *)&datagrams, 0, UV_ENOTSOCK);
    uv_close((uv_handle_t *)&datagrams, NULL);
    uv_close((uv_handle_t *)&unconnected, NULL);
    uv_close((uv_handle_t *)&listener, NULL);
    uv_close((uv_handle_t *)&ipc, NULL);
    uv_close((uv_handle_t *)&one_way, NULL);
    assert_int_equal(connect_with((lago_connection_options_t){ .stream = (uv_stream_t *)&ipc }), LAGO_EINVAL); /* it is closing */
    close(pair[1]);
    close(ends[1]);
    leave();
}

/* Good streams in bad company. */
static void calls_that_are_wrong(void **state) {
    (void)state;
    static const lago_tls_options_t nameless = { .server_name = "" };
    lago_parameters_t two[2] = { { .host = "a" }, { .host = "b" } }, bad_tls = { .host = "a", .tls = &nameless };
    uv_loop_t other;
    uv_pipe_t handle;
    int pair[2], saved[2];
    freed = 0;
    enter((struct peer){ .echo = true });
    open_pipe(&handle, 0, pair);
    handle.data = saved;
    lago_connection_options_t options = { .stream = (uv_stream_t *)&handle, .free_stream = count_free, .data = &room };
    lago_connection_options_t several = options, distrusting = options;
    several.parameters = two;
    several.parameters_count = 2;
    distrusting.parameters = &bad_tls;
    assert_refused((uv_stream_t *)&handle, pair[1], LAGO_EINVAL); /* a stream, or a descriptor */
    assert_int_equal(connect_with(several), LAGO_EINVAL);
    assert_int_equal(connect_with(distrusting), LAGO_EPARAMETER);
    assert_int_equal(lago_connect(&room.loop, "no port", &options, &room.conn), LAGO_EURL);
    assert_int_equal(uv_loop_init(&other), 0);
    assert_int_equal(lago_connect(&other, room.peer.url, &options, &room.conn), LAGO_EINVAL);
    assert_int_equal(uv_loop_close(&other), 0);
    assert_int_equal(freed, 0);
    assert_ptr_equal(handle.data, saved);
    assert_true(uv_has_ref((uv_handle_t *)&handle));
    assert_int_equal(write(pair[1], "x", 1), 1); /* still a pair */
    uv_close((uv_handle_t *)&handle, NULL);
    close(pair[1]);
    leave();
}

static void on_written(uv_write_t *request, int status) {
    (void)request;
    (void)status;
}

/* What libuv has still to write would mix with what lago writes. */
static void a_stream_with_bytes_to_write(void **state) {
    (void)state;
    static char flood[1 << 20];
    uv_pipe_t handle;
    uv_write_t request;
    uv_buf_t buffer = uv_buf_init(flood, sizeof flood);
    int pair[2];
    freed = 0;
    enter((struct peer){ .echo = true });
    open_pipe(&handle, 0, pair);
    assert_int_equal(uv_write(&request, (uv_stream_t *)&handle, &buffer, 1, on_written), 0);
    assert_refused((uv_stream_t *)&handle, 0, LAGO_EINVAL);
    uv_close((uv_handle_t *)&handle, NULL);
    close(pair[1]);
    leave();
}

/* ---------------------------------------------------------------- the caller's: taken over */

static void on_foreign_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    static char room_for_it[16];
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(room_for_it, sizeof room_for_it);
}

static void on_foreign_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    (void)stream;
    (void)size;
    (void)buffer;
    fail_msg("the caller's reading goes on");
}

static void give(uv_pipe_t *handle) {
    lago_connection_options_t options = { .stream = (uv_stream_t *)handle, .free_stream = count_free, .data = &room };
    freed = 0;
    assert_int_equal(connect_with(options), 0);
}

static void reading_is_taken_over(void **state) {
    (void)state;
    uv_pipe_t handle;
    int pair[2];
    char answer[8];
    enter((struct peer){ .echo = true });
    open_pipe(&handle, 0, pair);
    assert_int_equal(uv_stream_set_blocking((uv_stream_t *)&handle, 1), 0); /* writes of lago's do not block all the same */
    assert_int_equal(uv_read_start((uv_stream_t *)&handle, on_foreign_alloc, on_foreign_read), 0);
    give(&handle);
    assert_int_equal(write(pair[1], "for lago", 8), 8);
    run_until_size(&room.loop, &room.conn->received_size, 8);
    assert_string_equal(room.conn->winner, "a Unix domain socket");
    fake_send(room.conn, "for you", 7);
    run_a_while(&room.loop);
    assert_int_equal(read(pair[1], answer, sizeof answer), 7);
    close(pair[1]);
    leave();
    assert_int_equal(freed, 1);
}

/* It is closed all the same; its memory is nobody's but the caller's. */
static void a_stream_need_not_be_given_back(void **state) {
    (void)state;
    uv_pipe_t handle;
    int pair[2];
    char answer[8];
    enter((struct peer){ .echo = true });
    open_pipe(&handle, 0, pair);
    assert_int_equal(connect_with((lago_connection_options_t){ .stream = (uv_stream_t *)&handle }), 0);
    fake_send(room.conn, "for you", 7);
    run_a_while(&room.loop);
    assert_int_equal(read(pair[1], answer, sizeof answer), 7);
    leave();
    assert_int_equal(read(pair[1], answer, sizeof answer), 0);
    close(pair[1]);
}

static void a_blocking_stream_does_not_block(void **state) {
    (void)state;
    static uint8_t flood[4 << 20];
    uv_pipe_t handle;
    int pair[2];
    enter((struct peer){ .echo = true });
    open_pipe(&handle, 0, pair);
    assert_int_equal(uv_stream_set_blocking((uv_stream_t *)&handle, 1), 0);
    give(&handle);
    run_until(&room.loop, &room.conn->up);
    fake_send(room.conn, flood, sizeof flood);
    run_a_while(&room.loop); /* would never come back */
    assert_in_range(room.conn->output_done, 1, sizeof flood - 1);
    close(pair[1]);
    leave();
    assert_int_equal(freed, 1);
}

/* Given back once, whenever the end comes. */
static void given_back_at_every_end(void **state) {
    (void)state;
    for (int turns = 0; turns < 6; turns++) {
        uv_pipe_t handle;
        int pair[2];
        enter((struct peer){ .echo = true });
        open_pipe(&handle, 0, pair);
        give(&handle);
        for (int i = 0; i < turns; i++) uv_run(&room.loop, UV_RUN_NOWAIT);
        if (turns % 2) {
            fake_hang_up(room.conn, false);
            run_a_while(&room.loop);
            assert_int_equal(freed, 1); /* at once */
        }
        fake_end(room.conn, false);
        assert_int_equal(freed, turns % 2); /* not from inside a call */
        leave();
        assert_int_equal(freed, 1);
        close(pair[1]);
    }
}

static void adopted_once(void **state) {
    (void)state;
    uv_pipe_t handle;
    int pair[2];
    enter((struct peer){ .echo = true });
    open_pipe(&handle, 0, pair);
    give(&handle);
    run_until(&room.loop, &room.conn->up);
    fake_hang_up(room.conn, false);
    run_a_while(&room.loop);
    assert_int_equal(freed, 1); /* at once, not with the connection */
    assert_int_equal(room.conn->transport.ops->adopt(room.conn->transport.self), LAGO_EINVAL);
    close(pair[1]);
    leave();
    assert_int_equal(freed, 1);
}

/* A descriptor that another handle of the loop has: told, and left to that one. */
static void a_descriptor_in_use(void **state) {
    (void)state;
    uv_pipe_t handle;
    int pair[2];
    freed = 0;
    enter((struct peer){ .echo = true });
    open_pipe(&handle, 0, pair);
    assert_int_equal(uv_read_start((uv_stream_t *)&handle, on_foreign_alloc, on_foreign_read), 0);
    uv_run(&room.loop, UV_RUN_NOWAIT);
    assert_int_equal(connect_with((lago_connection_options_t){ .socket_fd = pair[0] }), 0);
    run_until(&room.loop, &room.conn->down);
    assert_int_equal(room.conn->connected_status, UV_EEXIST);
    fake_end(room.conn, false);
    run_a_while(&room.loop);
    assert_true(fcntl(pair[0], F_GETFD) >= 0);
    uv_close((uv_handle_t *)&handle, NULL);
    close(pair[1]);
    leave();
}

static void a_tcp_descriptor(void **state) {
    (void)state;
    enter((struct peer){ .echo = true });
    int fd = way_socket(&room.peer);
    assert_int_equal(connect_with((lago_connection_options_t){ .socket_fd = fd }), 0);
    assert_echo();
    assert_string_equal(room.conn->winner, room.peer.url);
    fake_hang_up(room.conn, true);
    run_until(&room.loop, &room.peer.closed);
    assert_int_equal(room.peer.last_status, UV_ECONNRESET);
    assert_true(fcntl(fd, F_GETFD) < 0); /* closed with the link */
    leave();
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_descriptors_left, way_begin, way_end),
        cmocka_unit_test_setup_teardown(no_such_path, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_path_that_is_too_long, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_path_is_an_endpoint, way_begin, way_end),
        cmocka_unit_test_setup_teardown(defaults_of_sockets, way_begin, way_end),
        cmocka_unit_test_setup_teardown(options_reach_the_socket, way_begin, way_end),
        cmocka_unit_test_setup_teardown(keepalive_alone_is_the_systems, way_begin, way_end),
        cmocka_unit_test_setup_teardown(each_option_of_keepalive_turns_it_on, way_begin, way_end),
        cmocka_unit_test_setup_teardown(connects_from_an_address, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_path_needs_no_address, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_stream_need_not_be_given_back, way_begin, way_end),
        cmocka_unit_test_setup_teardown(from_an_address_of_another_family, way_begin, way_end),
        cmocka_unit_test_setup_teardown(from_no_address, way_begin, way_end),
        cmocka_unit_test_setup_teardown(from_somebody_elses_address, way_begin, way_end),
        cmocka_unit_test_setup_teardown(descriptors_that_are_no_links, way_begin, way_end),
        cmocka_unit_test_setup_teardown(streams_that_are_no_links, way_begin, way_end),
        cmocka_unit_test_setup_teardown(calls_that_are_wrong, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_stream_with_bytes_to_write, way_begin, way_end),
        cmocka_unit_test_setup_teardown(reading_is_taken_over, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_blocking_stream_does_not_block, way_begin, way_end),
        cmocka_unit_test_setup_teardown(given_back_at_every_end, way_begin, way_end),
        cmocka_unit_test_setup_teardown(adopted_once, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_descriptor_in_use, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_tcp_descriptor, way_begin, way_end),
    };
    if (!way_choose(argc, argv)) return 2;
    return cmocka_run_group_tests_name("uv/stream_open", tests, NULL, NULL);
}
