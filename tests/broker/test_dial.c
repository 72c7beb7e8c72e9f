/*
 * Many ways to a real broker: through proxies, a Unix domain socket, streams of the application's own, from an address of its
 * choice; one of several endpoints; and what RabbitMQ says to those whom it does not let in. (tests/FAULTS.md.)
 */
#include "fixture.h"
#include "relay.h"
#include <sys/socket.h>
#include <unistd.h>

#define BODY_SIZE ((size_t)1 << 20) /* many frames, in both directions */

static lago_tls_options_t tls; /* those of AMQP_URL, to be changed */
static struct relay relay;

/* Its certificate is for localhost. */
static void expect_localhost(struct fixture *f) {
    if (!f->parameters->tls) return;
    tls = *f->parameters->tls;
    tls.server_name = "localhost";
    f->parameters->tls = &tls;
}

static void on_big(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    const char *body = data;
    assert_null(reason);
    assert_non_null(message);
    assert_int_equal(message->body.size, BODY_SIZE);
    assert_memory_equal(message->body.data, body, BODY_SIZE);
    record(fixture_of(ch), "got it");
}

/* Open, and a big message there and back. */
static void expect_to_work(struct fixture *f) {
    char *body = malloc(BODY_SIZE);
    assert_non_null(body);
    for (size_t i = 0; i < BODY_SIZE; i++) body[i] = (char)(i * 31 >> 3);
    run_until(f, f->opened || f->closed);
    expect_events(f, "open");
    f->ch = open_channel(f);
    assert_int_equal(lago_queue_declare(f->ch, &(lago_queue_declare_t){ .exclusive = true }, on_declared, label("declare")), 0);
    expect_events(f, "declare ok");
    assert_int_equal(lago_confirm_select(f->ch, NULL, NULL, NULL), 0);
    lago_basic_publish_t args = { .routing_key = f->declared_name, .body = { body, BODY_SIZE } };
    assert_int_equal(lago_basic_publish(f->ch, &args, on_outcome, label("big")), 1);
    expect_events(f, "big #1 confirmed");
    assert_int_equal(lago_basic_get(f->ch, &(lago_basic_get_t){ .queue = f->declared_name, .auto_ack = true }, on_big, body), 0);
    expect_events(f, "got it");
    free(body);
}

static void say_goodbye(struct fixture *f) {
    if (lago_connection_close(f->conn, NULL) == 0) run_until(f, f->closed);
    lago_connection_free(f->conn);
    f->conn = NULL;
    forget_events(f);
}

static void stop_relay(struct fixture *f) {
    say_goodbye(f);
    run_until(f, relay.ways == 0);
    relay_stop(&relay);
}

/* ---------------------------------------------------------------- proxies */

static void start_proxy(struct fixture *f, enum relay_kind kind) {
    relay_start(&relay, &f->loop, kind, NULL, f->parameters->port);
    f->parameters->proxy = (lago_proxy_t){ .type = kind == RELAY_SOCKS ? LAGO_PROXY_SOCKS5 : LAGO_PROXY_HTTP,
                                           .host = "127.0.0.1",
                                           .port = relay.port };
    f->parameters->host = "broker.invalid"; /* it is the proxy that looks it up */
    expect_localhost(f);
}

static void expect_refusal(struct fixture *f, const char *words) {
    char line[1024];
    connect_now(f);
    expect_events(f, "open error EPROXY");
    lago_reason_format(&f->reason, line, sizeof line);
    if (!strstr(line, words)) fail_msg("\"%s\" is not in: %s", words, line);
    assert_int_equal(f->reason.phase, LAGO_PHASE_PROXY);
    say_goodbye(f);
}

static void through_a_proxy(struct fixture *f, enum relay_kind kind, const char *secret) {
    char asked[64];
    start_proxy(f, kind);
    snprintf(asked, sizeof asked, "broker.invalid:%u", f->parameters->port);
    connect_now(f);
    expect_to_work(f);
    assert_string_equal(relay.asked, asked);
    say_goodbye(f);

    relay.username = "user";
    relay.password = secret;
    expect_refusal(f, kind == RELAY_SOCKS ? "login" : "407");
    f->parameters->proxy.username = "user";
    f->parameters->proxy.password = "wrong";
    expect_refusal(f, kind == RELAY_SOCKS ? "login" : "407");
    f->parameters->proxy.password = "secret";
    connect_now(f);
    expect_to_work(f);
    say_goodbye(f);

    relay.refuses = true;
    expect_refusal(f, kind == RELAY_SOCKS ? "not allowed" : "403");
    assert_int_equal(relay.carried, 2);
    stop_relay(f);
}

static void through_socks5(void **state) { through_a_proxy(*state, RELAY_SOCKS, "secret"); }

static void through_http_connect(void **state) { through_a_proxy(*state, RELAY_HTTP, "dXNlcjpzZWNyZXQ="); }

static void a_proxy_in_front_of_a_dead_port(void **state) {
    struct fixture *f = *state;
    start_proxy(f, RELAY_SOCKS);
    relay.to = 1;
    connect_now(f);
    expect_events(f, "open error ELOST"); /* this proxy just hangs up */
    assert_int_equal(f->reason.phase, LAGO_PHASE_PROXY);
    stop_relay(f);
}

/* ---------------------------------------------------------------- sockets of other kinds */

static void by_a_unix_domain_socket(void **state) {
    struct fixture *f = *state;
    char directory[] = "/tmp/lago-dial.XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/broker.sock", directory);
    relay_start(&relay, &f->loop, RELAY_PLAIN, path, f->parameters->port);
    f->parameters->host = path;
    f->parameters->port = 0;
    expect_localhost(f);
    connect_now(f);
    expect_to_work(f);
    assert_string_equal(lago_connection_endpoint(f->conn), path);
    assert_int_equal(f->log_count, 0);
    stop_relay(f);
    run_until(f, access(path, F_OK) < 0);
    connect_now(f);
    expect_events(f, "open error ECONNECT");
    assert_int_equal(f->reason.os_error, UV_ENOENT);
    rmdir(directory);
}

static void connected(uv_connect_t *request, int status) {
    assert_int_equal(status, 0);
    *(bool *)request->data = true;
}

static uv_stream_t *freed;

static void on_free_stream(uv_stream_t *stream, void *data) {
    (void)data;
    assert_null(freed);
    freed = stream;
}

static void by_a_stream_of_ones_own(void **state) {
    static uv_tcp_t stream;
    struct fixture *f = *state;
    uv_connect_t request;
    struct sockaddr_in address;
    bool there = false;
    request.data = &there;
    freed = NULL;
    uv_ip4_addr("127.0.0.1", f->parameters->port, &address);
    uv_tcp_init(&f->loop, &stream);
    assert_int_equal(uv_tcp_connect(&request, &stream, (struct sockaddr *)&address, connected), 0);
    run_until(f, there);
    lago_connection_options_t options = connection_options(f);
    options.stream = (uv_stream_t *)&stream;
    options.free_stream = on_free_stream;
    f->parameters->host = "127.0.0.1";
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    expect_to_work(f);
    assert_null(freed);
    say_goodbye(f);
    run_until(f, freed == (uv_stream_t *)&stream);
}

static void by_a_socket_of_ones_own(void **state) {
    struct fixture *f = *state;
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", f->parameters->port, &address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    lago_connection_options_t options = connection_options(f);
    options.socket_fd = fd;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    expect_to_work(f);
    say_goodbye(f);
    assert_int_equal(close(fd), -1); /* it was lago's to close */
}

static void from_an_address_of_ones_own(void **state) {
    struct fixture *f = *state;
    char expression[512];
    need_control();
    f->parameters->local_address = "127.0.0.2";
    connect_and_wait(f);
    snprintf(expression, sizeof expression,
             "[{127,0,0,2}] = [proplists:get_value(peer_host, I) || I <- rabbit_networking:connection_info_all([peer_host, "
             "client_properties]), lists:keyfind(<<\"connection_name\">>, 1, proplists:get_value(client_properties, I)) == "
             "{<<\"connection_name\">>, longstr, <<\"%s\">>}].",
             f->connection_name);
    broker_eval(f, expression);
}

/* ---------------------------------------------------------------- several endpoints */

static void one_of_several_endpoints_lives(void **state) {
    struct fixture *f = *state;
    for (int shuffled = 0; shuffled <= 1; shuffled++) {
        const lago_endpoint_t more[] = { { .host = "127.0.0.1", .port = f->parameters->port } };
        lago_parameters_t mine = *f->parameters;
        mine.port = 1;
        mine.endpoints = more;
        mine.endpoint_count = 1;
        mine.shuffle_endpoints = shuffled;
        lago_connection_options_t options = connection_options(f);
        options.parameters = &mine;
        f->opened = f->closed = false;
        assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
        expect_to_work(f);
        const lago_reason_t *reason = lago_connection_attempt(f->conn, 0, NULL);
        assert_true(shuffled || reason);
        if (reason) assert_int_equal(reason->os_error, UV_ECONNREFUSED);
        if (reason) assert_string_equal(reason->endpoint, "127.0.0.1:1");
        say_goodbye(f);
    }
}

/* ---------------------------------------------------------------- not let in */

static void expect_access_refused(struct fixture *f, const char *words) {
    connect_now(f);
    expect_events(f, "open error 530");
    assert_int_equal(f->reason.code, LAGO_EACCESS);
    assert_int_equal(f->reason.phase, LAGO_PHASE_OPEN);
    if (!strstr(f->reason.reply_text, words)) fail_msg("\"%s\" is not in: %s", words, f->reason.reply_text);
    say_goodbye(f);
}

/* A virtual host that this user may not enter; one that lets nobody in for now; and one round later it does. */
static void a_virtual_host_that_is_closed_to_us(void **state) {
    struct fixture *f = *state;
    const char *host = f->connection_name;
    need_control();
    f->parameters->virtual_host = host;
    expect_access_refused(f, "not found");
    broker(f, "ctl", "add_vhost", host);
    expect_access_refused(f, "refused");
    broker(f, "ctl", "set_permissions", "-p", host, "guest", ".*", ".*", ".*");
    broker(f, "ctl", "set_vhost_limits", "-p", host, "{\"max-connections\": 0}");
    expect_access_refused(f, "limit");
    f->parameters->connection_attempts = 1000;
    f->parameters->retry_delay_ms = 100;
    connect_now(f);
    broker(f, "ctl", "clear_vhost_limits", "-p", host);
    expect_to_work(f);
    assert_int_equal(lago_connection_attempt(f->conn, 0, NULL)->reply_code, 530);
    say_goodbye(f);
    broker(f, "ctl", "delete_vhost", host);
}

/* Before tuning a frame has 4096 bytes: RabbitMQ resets who sends more. What fits is told apart from what is refused. */
static void a_password_that_just_fits(void **state) {
    struct fixture *f = *state;
    static char password[5000];
    f->parameters->credentials.password = memset(password, 'x', 3000);
    connect_now(f);
    expect_events(f, "open error 403");
    assert_int_equal(f->reason.code, LAGO_EAUTH);
    say_goodbye(f);
    memset(password, 'x', sizeof password - 1);
    connect_now(f);
    expect_events(f, "open error EPARAMETER");
    assert_non_null(strstr(f->reason.detail, "4096"));
    say_goodbye(f);
}

/* ---------------------------------------------------------------- open, and in no hurry */

static void on_slow(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct fixture *f = fixture_of(ch);
    (void)data;
    f->tags[f->tag_count++] = message->delivery_tag;
}

static void on_timer(lago_connection_t *conn, int status, void *data) {
    assert_int_equal(status, 0);
    record(lago_connection_data(conn), "%s", (char *)data);
}

/* Prefetch is how an application holds deliveries back; heartbeats go on both ways meanwhile. */
static void who_takes_no_more_messages_is_not_dead(void **state) {
    struct fixture *f = *state;
    f->parameters->heartbeat_s = 1;
    connect_and_wait(f);
    f->ch = open_channel(f);
    const char *queue = new_queue(f);
    assert_int_equal(lago_basic_qos(f->ch, &(lago_basic_qos_t){ .prefetch_count = 1 }, NULL, NULL), 0);
    for (int i = 0; i < 100; i++) publish_text(f, queue, "x");
    assert_int_equal(lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = queue, .on_message = on_slow }, NULL, NULL), 0);
    assert_int_equal(lago_connection_call_later(f->conn, 3500, on_timer, label("later"), NULL), 0);
    uint64_t received = lago_connection_counters(f->conn).heartbeats_received;
    expect_events(f, "later");
    lago_counters_t counters = lago_connection_counters(f->conn);
    assert_int_equal(f->tag_count, 1);
    assert_in_range(counters.heartbeats_sent, 5, 8);
    assert_true(counters.heartbeats_received - received >= 5);
    assert_int_equal(lago_basic_ack(f->ch, f->tags[0], 0), 0);
    run_until(f, f->tag_count == 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(through_socks5, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(through_http_connect, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_proxy_in_front_of_a_dead_port, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(by_a_unix_domain_socket, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(by_a_stream_of_ones_own, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(by_a_socket_of_ones_own, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(from_an_address_of_ones_own, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(one_of_several_endpoints_lives, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_virtual_host_that_is_closed_to_us, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_password_that_just_fits, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(who_takes_no_more_messages_is_not_dead, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
