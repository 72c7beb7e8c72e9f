/*
 * The whole library over a stream that the caller gives: one attempt, no dialing, and the stream comes back once, when it is
 * closed, before the connection's last words.
 */
#include "fail_alloc.h"
#include "loop_broker.h"
#include "peer.h"
#include <lago.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* What was called, in order: o opened, e on_open_error, c on_close, s free_stream, d free_data. */
static struct rig {
    uv_loop_t loop;
    struct loop_broker broker;
    struct fail_alloc alloc;
    lago_context_t *context;
    lago_connection_t *conn;
    char calls[16];
    lago_reason_t reason;
    bool freed_within;     /* the connection, inside of free_stream */
    bool opened, finished; /* finished: its data was freed */
} rig;

static struct rig *const r = &rig;

static void note(char call) {
    size_t size = strlen(r->calls);
    assert_in_range(size, 0, sizeof r->calls - 2);
    r->calls[size] = call;
}

static void on_open(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    note('o');
    r->opened = true;
}

static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    note('e');
    r->reason = *reason;
}

static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    note('c');
    r->reason = *reason;
}

static void on_free_stream(uv_stream_t *stream, void *data) {
    assert_ptr_equal(data, r);
    note('s');
    free(stream);
    if (!r->freed_within) return;
    lago_connection_free(r->conn);
    r->conn = NULL;
}

static void on_free_data(void *data) {
    assert_ptr_equal(data, r);
    note('d');
    r->finished = true;
}

static void start(void) {
    memset(r, 0, sizeof *r);
    fail_alloc_init(&r->alloc);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    loop_broker_start(&r->broker, &r->loop);
    lago_context_options_t options = {
        .allocator = r->alloc.allocator, .log = loop_broker_log, .log_data = &r->broker, .log_level = LAGO_LOG_TRACE
    };
    assert_int_equal(lago_context_new(&r->loop, &options, &r->context), 0);
}

static int connected_socket(void) {
    struct sockaddr_in address;
    int size = sizeof address, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(uv_tcp_getsockname(&r->broker.listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static uv_stream_t *connected_stream(void) {
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    assert_non_null(tcp);
    assert_int_equal(uv_tcp_init(&r->loop, tcp), 0);
    assert_int_equal(uv_tcp_open(tcp, connected_socket()), 0);
    return (uv_stream_t *)tcp;
}

static int give(uv_stream_t *stream, const char *url) {
    lago_connection_options_t options = { .context = r->context,
                                          .stream = stream,
                                          .free_stream = on_free_stream,
                                          .on_open = on_open,
                                          .on_open_error = on_open_error,
                                          .on_close = on_close,
                                          .data = r,
                                          .free_data = on_free_data };
    return lago_connect(&r->loop, url, &options, &r->conn);
}

static void begin(const char *url) {
    start();
    assert_int_equal(give(connected_stream(), url), 0);
}

static void open_it(void) {
    begin("amqp://broker.invalid"); /* nobody looks that up */
    run_until(&r->loop, &r->opened);
}

/* The loop ends by itself, and nothing is left. */
static void stop(const char *calls) {
    lago_context_free(r->context);
    loop_broker_stop(&r->broker);
    run_to_end(&r->loop);
    assert_string_equal(r->calls, calls);
    fail_alloc_check(&r->alloc);
}

static void closed_by_a_goodbye(void **state) {
    (void)state;
    open_it();
    assert_int_equal(strncmp(lago_connection_endpoint(r->conn), "127.0.0.1:", 10), 0);
    assert_int_equal(lago_connection_close(r->conn, NULL), 0);
    run_until(&r->loop, &r->finished);
    assert_int_equal(r->reason.code, LAGO_ECLOSED);
    lago_connection_free(r->conn);
    stop("oscd");
}

static void dropped(void **state) {
    (void)state;
    open_it();
    assert_int_equal(lago_connection_abort(r->conn), 0);
    run_until(&r->loop, &r->finished);
    lago_connection_free(r->conn);
    stop("oscd");
}

/* `data` lasts until the stream has come back. */
static void freed_while_open(void **state) {
    (void)state;
    open_it();
    lago_connection_free(r->conn);
    assert_string_equal(r->calls, "o");
    stop("osd");
}

static void freed_before_the_first_turn(void **state) {
    (void)state;
    begin(NULL);
    lago_connection_free(r->conn);
    assert_string_equal(r->calls, "");
    stop("sd");
}

static void freed_inside_of_free_stream(void **state) {
    (void)state;
    open_it();
    r->freed_within = true;
    assert_int_equal(lago_connection_abort(r->conn), 0);
    stop("osd");
}

/* One attempt, whatever the parameters say of more. */
static void a_lost_one_is_not_dialed_again(void **state) {
    (void)state;
    begin("amqp://broker.invalid?connection_attempts=5&retry_delay=0.01");
    r->broker.mute = true;
    while (!r->broker.client) uv_run(&r->loop, UV_RUN_ONCE);
    loop_broker_hang_up(&r->broker);
    run_until(&r->loop, &r->finished);
    assert_int_equal(r->broker.client_count, 1);
    assert_int_equal(r->reason.code, LAGO_ELOST);
    assert_null(lago_connection_attempt(r->conn, 1, NULL));
    lago_connection_free(r->conn);
    stop("sed");
}

static void on_gone(uv_handle_t *handle) { free(handle); }

static void several_hosts_are_too_many(void **state) {
    (void)state;
    start();
    uv_stream_t *stream = connected_stream();
    assert_int_equal(give(stream, "amqp://one.invalid,two.invalid"), LAGO_EPARAMETER);
    assert_null(r->conn);
    assert_string_equal(r->calls, "");
    assert_false(uv_is_closing((uv_handle_t *)stream));
    uv_close((uv_handle_t *)stream, on_gone);
    stop("");
}

static void a_descriptor(void **state) {
    (void)state;
    start();
    lago_connection_options_t options = { .context = r->context, .socket_fd = connected_socket(), .on_open = on_open };
    assert_int_equal(lago_connect(&r->loop, NULL, &options, &r->conn), 0);
    run_until(&r->loop, &r->opened);
    lago_connection_free(r->conn);
    stop("o");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_by_a_goodbye),
        cmocka_unit_test(dropped),
        cmocka_unit_test(freed_while_open),
        cmocka_unit_test(freed_before_the_first_turn),
        cmocka_unit_test(freed_inside_of_free_stream),
        cmocka_unit_test(a_lost_one_is_not_dialed_again),
        cmocka_unit_test(several_hosts_are_too_many),
        cmocka_unit_test(a_descriptor),
    };
    return cmocka_run_group_tests_name("uv/loop_streams", tests, NULL, NULL);
}
