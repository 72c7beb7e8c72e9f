/* Each fault of the proxy, between a plain client and a server that echoes: what arrives, and how it ends. */
#include "peer.h"
#include "proxy.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/socket.h>

#define ECHO_MAX (1024u * 1024)

/* A client that remembers what it was told. */
struct client {
    union proxy_stream stream;
    uv_connect_t connecting;
    uint8_t received[ECHO_MAX];
    size_t received_size;
    int unsent; /* writes that the kernel has not taken */
    int status; /* how it ended */
    bool ended;
};

static uv_loop_t loop;
static struct peer server;
static struct proxy proxy;
static struct client client;
static uint8_t data[ECHO_MAX];

/* ---------------------------------------------------------------- the client */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct client *c = handle->data;
    (void)suggested;
    *buffer = uv_buf_init((char *)c->received + c->received_size, (unsigned)(sizeof c->received - c->received_size));
}

/* libuv takes an RST behind bytes for an EOF; the kernel does not. */
static int true_status(uv_stream_t *stream, int status) {
    int fd;
    char byte;
    if (uv_fileno((uv_handle_t *)stream, &fd) == 0 && recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno != EAGAIN) return -errno;
    return status;
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct client *c = stream->data;
    (void)buffer;
    if (size >= 0) {
        c->received_size += (size_t)size;
        return;
    }
    c->ended = true;
    c->status = true_status(stream, (int)size);
    uv_read_stop(stream);
}

static void on_connected(uv_connect_t *request, int status) {
    struct client *c = request->data;
    c->ended = status < 0;
    c->status = status;
    if (status == 0) uv_read_start(&c->stream.stream, on_alloc, on_read);
}

static void connect_client(struct client *c) {
    struct sockaddr_in address;
    memset(c, 0, sizeof *c);
    c->connecting.data = c;
    if (proxy.options.path) {
        uv_pipe_init(&loop, &c->stream.pipe, 0);
        uv_pipe_connect(&c->connecting, &c->stream.pipe, proxy.options.path, on_connected);
    } else {
        uv_ip4_addr("127.0.0.1", proxy.port, &address);
        uv_tcp_init(&loop, &c->stream.tcp);
        uv_tcp_nodelay(&c->stream.tcp, 1);
        assert_int_equal(uv_tcp_connect(&c->connecting, &c->stream.tcp, (struct sockaddr *)&address, on_connected), 0);
    }
    c->stream.handle.data = c;
}

static void on_sent(uv_write_t *request, int status) {
    struct client *c = request->data;
    (void)status;
    c->unsent--;
    free(request);
}

/* The first `size` bytes of `data`. */
static void client_send(struct client *c, size_t size) {
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned)size);
    uv_write_t *request = malloc(sizeof *request);
    assert_non_null(request);
    request->data = c;
    c->unsent++;
    assert_int_equal(uv_write(request, &c->stream.stream, &buffer, 1, on_sent), 0);
}

static void close_client(struct client *c) {
    if (!uv_is_closing(&c->stream.handle)) uv_close(&c->stream.handle, NULL);
}

/* ---------------------------------------------------------------- the room */

static void begin(struct proxy_options options) {
    assert_int_equal(uv_loop_init(&loop), 0);
    peer_listen(&server, &loop, server.is_unix ? NULL : "127.0.0.1");
    if (server.is_unix)
        options.to_path = server.host;
    else
        options.to_port = server.port;
    assert_int_equal(proxy_begin(&proxy, &loop, &options), 0);
}

/* With the faults of both directions, NULL: none; and a client. */
static void begin_with(const char *up, const char *down) {
    server = (struct peer){ .echo = true };
    begin((struct proxy_options){ .seed = 7 });
    if (up) assert_null(proxy_faults(&proxy, up));
    if (down) assert_null(proxy_faults(&proxy, down));
    connect_client(&client);
}

static void end(void) {
    close_client(&client);
    proxy_end(&proxy);
    peer_close(&server);
    while (!proxy_is_gone(&proxy)) uv_run(&loop, UV_RUN_NOWAIT);
    run_to_end(&loop);
}

static void until_received(size_t size) {
    run_until_size(&loop, &client.received_size, size);
    assert_int_equal(client.received_size, size);
    assert_memory_equal(client.received, data, size);
}

static void until_ended(int status) {
    run_until(&loop, &client.ended);
    assert_int_equal(client.status, status);
}

static int fill_data(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 31 + i / 253);
    return 0;
}

/* ---------------------------------------------------------------- slower */

static void carries_both_ways(void **state) {
    (void)state;
    begin_with(NULL, NULL);
    client_send(&client, sizeof data);
    until_received(sizeof data);
    assert_int_equal(proxy.first->up.passed, sizeof data);
    assert_int_equal(proxy.first->down.passed, sizeof data);
    end();
}

static void carries_many(void **state) {
    enum { MANY = 30 };
    struct client *many = calloc(MANY, sizeof *many);
    (void)state;
    assert_non_null(many);
    begin_with("up slice_max=100 jitter_ms=3", "down slice_max=50");
    for (int i = 0; i < MANY; i++) {
        connect_client(&many[i]);
        client_send(&many[i], 2000);
    }
    for (int i = 0; i < MANY; i++) {
        run_until_size(&loop, &many[i].received_size, 2000);
        assert_memory_equal(many[i].received, data, 2000);
    }
    for (int i = 0; i < MANY; i++) close_client(&many[i]);
    end();
    free(many);
}

static uint64_t ms_for(const char *up, const char *down, size_t size) {
    begin_with(up, down);
    uint64_t before = uv_hrtime();
    client_send(&client, size);
    until_received(size);
    uint64_t took = (uv_hrtime() - before) / 1000000;
    end();
    return took;
}

static void is_late(void **state) {
    (void)state;
    assert_true(ms_for("up latency_ms=30", "down latency_ms=40", 1000) >= 69);
    assert_true(ms_for(NULL, "down latency_ms=20 jitter_ms=20 slice_max=100", 5000) >= 19);
}

static void is_narrow(void **state) {
    (void)state;
    uint64_t took = ms_for("up bytes_per_s=100000", NULL, 20000);
    assert_true(took >= 150); /* 200, but for the first piece and for what the clock rounds */
}

static void is_sliced(void **state) {
    (void)state;
    begin_with("up slice_max=1", "down slice_max=5");
    client_send(&client, 1000);
    until_received(1000);
    assert_int_equal(proxy.first->up.segments, 1000);
    assert_in_range(proxy.first->down.segments, 200, 1000);
    end();
}

/* ---------------------------------------------------------------- cuts */

/* Exactly the bytes in front of the cut arrive; both sides hear of it as they should. */
static void cut(const char *way, const char *act, size_t at, int status) {
    char words[64];
    bool up = strcmp(way, "up") == 0;
    snprintf(words, sizeof words, "%s act=%s byte=%zu", way, act, at);
    begin_with(up ? words : NULL, up ? NULL : words);
    client_send(&client, 60);
    until_ended(status);
    assert_int_equal(client.received_size, at);
    assert_memory_equal(client.received, data, at);
    assert_int_equal(proxy.fired, 1);
    if (server.client_count > 0 && !server.closed) run_until(&loop, &server.closed);
    if (up) assert_int_equal(server.received_size, at);
    close_client(&client);
    while (proxy.link_count > 0) uv_run(&loop, UV_RUN_ONCE);
    end();
}

static void cuts_at_each_byte(void **state) {
    (void)state;
    for (size_t at = 0; at < 60; at++) {
        cut("down", "close", at, UV_EOF);
        cut("down", "reset", at, UV_ECONNRESET);
    }
}

/* What was on its way back may be lost, or not. */
static void cuts_what_goes_up(void **state) {
    (void)state;
    for (size_t at = 0; at < 60; at++) {
        char words[64];
        snprintf(words, sizeof words, "up act=%s byte=%zu", at % 2 ? "reset" : "close", at);
        begin_with(words, NULL);
        client_send(&client, 60);
        until_ended(at % 2 ? UV_ECONNRESET : UV_EOF);
        if (server.client_count == 0) run_until_count(&loop, &server.client_count, 1);
        if (!server.closed) run_until(&loop, &server.closed);
        assert_int_equal(server.received_size, at);
        assert_in_range(client.received_size, 0, at);
        end();
    }
}

static void closes_one_half(void **state) {
    (void)state;
    begin_with(NULL, "down act=half_close byte=100");
    client_send(&client, 300);
    until_ended(UV_EOF);
    assert_int_equal(client.received_size, 100);
    client_send(&client, 70000);
    run_until_size(&loop, &server.received_size, 70300);
    assert_false(server.closed);
    end();
}

static void ends_are_handed_on(void **state) {
    (void)state;
    begin_with(NULL, NULL);
    client_send(&client, 10);
    until_received(10);
    peer_abort(&server, 0);
    until_ended(UV_ECONNRESET);
    end();
    begin_with(NULL, "down close_ms=40");
    client_send(&client, 10);
    until_received(10);
    uint64_t before = uv_hrtime();
    peer_cut(&server, 0);
    until_ended(UV_EOF);
    assert_true((uv_hrtime() - before) / 1000000 >= 39);
    end();
    begin_with(NULL, NULL);
    client_send(&client, 10);
    until_received(10);
    close_client(&client);
    run_until(&loop, &server.closed);
    assert_int_equal(server.last_status, UV_EOF);
    end();
}

static void ends_a_link_when_told(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        begin_with(NULL, NULL);
        client_send(&client, 10);
        until_received(10);
        link_end(proxy.first, i == 0 ? PROXY_CLOSE : PROXY_RESET);
        until_ended(i == 0 ? UV_EOF : UV_ECONNRESET);
        assert_null(proxy_find(&proxy, 2));
        end();
    }
}

/* ---------------------------------------------------------------- stalls */

static void stalls_until_told(void **state) {
    (void)state;
    begin_with("up act=stall byte=10", NULL);
    client_send(&client, 1000);
    until_received(10);
    for (int i = 0; i < 8; i++) client_send(&client, sizeof data); /* more than kernels and the proxy hold */
    run_a_while(&loop);
    assert_int_equal(client.received_size, 10);
    assert_int_not_equal(client.unsent, 0);
    assert_in_range(proxy.first->up.queued, 1, 2 * 65536);
    close_client(&client);
    link_go_on(proxy.first);
    run_until_size(&loop, &server.received_size, 100000);
    end();
}

static void the_other_way_goes_on(void **state) {
    (void)state;
    begin_with("up act=stall byte=10", NULL);
    client_send(&client, 1000);
    until_received(10);
    memcpy(client.received, data, 10);
    peer_write(&server, 0, data + 10, 5000);
    until_received(5010);
    link_go_on(proxy.first);
    run_until_size(&loop, &server.received_size, 1000);
    end();
}

static void drops_the_rest(void **state) {
    (void)state;
    begin_with("up act=drop byte=25", NULL);
    client_send(&client, sizeof data);
    until_received(25);
    client_send(&client, sizeof data);
    run_until_size(&loop, &client.received_size, 25);
    while (client.unsent > 0) uv_run(&loop, UV_RUN_ONCE); /* somebody takes it */
    assert_int_equal(server.received_size, 25);
    assert_false(client.ended);
    end();
}

/* ---------------------------------------------------------------- wrong bits */

static size_t wrong_bits(const uint8_t *bytes, size_t size, size_t *where) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != data[i]) *where = i;
        count += (size_t)__builtin_popcount((unsigned)(bytes[i] ^ data[i]));
    }
    return count;
}

static void a_wrong_bit(void **state) {
    (void)state;
    for (size_t at = 0; at < 10; at++) {
        char words[64];
        size_t where = 100;
        snprintf(words, sizeof words, "down act=flip byte=%zu", at);
        begin_with(NULL, words);
        client_send(&client, 10);
        run_until_size(&loop, &client.received_size, 10);
        assert_int_equal(wrong_bits(client.received, 10, &where), 1);
        assert_int_equal(where, at);
        end();
    }
}

/* The same seed spoils the same bits, however they come. */
static void wrong_bits_by_rate(void **state) {
    static uint8_t first[100000];
    size_t where, count = 0;
    (void)state;
    for (int i = 0; i < 3; i++) {
        server = (struct peer){ .echo = true };
        begin((struct proxy_options){ .seed = i < 2 ? 5 : 6 });
        assert_null(proxy_faults(&proxy, i == 1 ? "up flip_per_million=1000 slice_max=3000" : "up flip_per_million=1000"));
        connect_client(&client);
        client_send(&client, sizeof first);
        run_until_size(&loop, &client.received_size, sizeof first);
        if (i == 0) memcpy(first, client.received, sizeof first);
        count = wrong_bits(client.received, sizeof first, &where);
        assert_in_range(count, 50, 200);
        assert_true((memcmp(first, client.received, sizeof first) == 0) == (i < 2));
        end();
    }
}

/* ---------------------------------------------------------------- frames and records */

/* Two body frames, which the server echoes. */
static void send_frames(void) {
    static uint8_t frames[] = { 3, 0, 1, 0, 0, 0, 2, 'a', 'b', 0xCE, 3, 0, 2, 0, 0, 0, 3, 'c', 'd', 'e', 0xCE };
    memcpy(data, frames, sizeof frames);
    client_send(&client, sizeof frames);
}

static void cut_at(const char *words, size_t size) {
    begin_with(NULL, words);
    send_frames();
    until_ended(UV_EOF);
    assert_int_equal(client.received_size, size);
    end();
}

static void cuts_at_a_frame(void **state) {
    (void)state;
    cut_at("down act=close frame=body", 0);
    cut_at("down act=close frame=body nth=2", 10);
    cut_at("down act=close frame=any channel=2 offset=4 slice_max=1", 14);
    cut_at("down act=close frame=body behind=1", 10);
    cut_at("down act=close frame=body nth=2 behind=1 slice_max=2", 21);
    fill_data(NULL);
}

static void cuts_at_a_record(void **state) {
    static const uint8_t records[] = { 22, 3, 3, 0, 2, 1, 2, 23, 3, 3, 0, 1, 9, 23, 3, 3, 0, 1, 8 };
    (void)state;
    for (int i = 0; i < 2; i++) {
        begin_with(NULL,
                   i ? "down act=close record=application_data nth=2 offset=5" : "down act=close record=handshake behind=1");
        memcpy(data, records, sizeof records);
        client_send(&client, sizeof records);
        until_ended(UV_EOF);
        assert_int_equal(client.received_size, i ? 18 : 7);
        end();
    }
    fill_data(NULL);
}

/* Faults of a link in the middle of its life count from there. */
static void faults_may_change(void **state) {
    (void)state;
    begin_with(NULL, NULL);
    client_send(&client, 100);
    until_received(100);
    assert_null(link_faults(proxy.first, "down act=close byte=20"));
    client_send(&client, 100);
    until_ended(UV_EOF);
    assert_int_equal(client.received_size, 120);
    end();
}

/* ---------------------------------------------------------------- others */

static void welcomes(void **state) {
    static const enum proxy_welcome ways[] = { PROXY_HANGS_UP, PROXY_RESETS, PROXY_IS_SILENT };
    (void)state;
    for (int i = 0; i < 3; i++) {
        server = (struct peer){ .echo = true };
        begin((struct proxy_options){ .welcome = ways[i] });
        connect_client(&client);
        client_send(&client, 10);
        if (i < 2) run_until(&loop, &client.ended);
        if (i == 0) assert_true(client.status == UV_EOF || client.status == UV_ECONNRESET); /* it may have said something */
        if (i == 1) assert_int_equal(client.status, UV_ECONNRESET);
        run_a_while(&loop);
        assert_int_equal(client.ended, i < 2);
        assert_int_equal(client.received_size + (size_t)server.client_count, 0);
        end();
    }
}

static void nobody_is_behind_it(void **state) {
    (void)state;
    begin_with(NULL, NULL);
    proxy_leads_to(&proxy, 1);
    until_ended(UV_EOF);
    end();
}

static void at_paths(void **state) {
    char path[100];
    (void)state;
    snprintf(path, sizeof path, "%s/lago-proxy-%d.sock", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
    unlink(path); /* of a process that had this number before, and was killed */
    server = (struct peer){ .echo = true, .is_unix = true };
    begin((struct proxy_options){ .path = path });
    assert_null(proxy_faults(&proxy, "down act=close byte=5000 slice_max=77"));
    connect_client(&client);
    client_send(&client, 10000);
    until_ended(UV_EOF);
    assert_int_equal(client.received_size, 5000);
    end();
}

static void words_that_are_wrong(void **state) {
    static const char *const wrong[] = { "",           "sideways act=close",     "up act=explode",   "up byte",
                                         "up byte=x",  "up frame=basic.nothing", "down record=body", "up latency_ms=99999999999",
                                         "up speed=3", "up act=close frame=",    "up channel=70000", "up act=close nth=0" };
    struct proxy_faults before;
    (void)state;
    begin_with(NULL, NULL);
    before = proxy.up;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_non_null(proxy_faults(&proxy, wrong[i]));
    assert_memory_equal(&before, &proxy.up, sizeof before);
    assert_string_equal(proxy_faults(&proxy, "up fram=x"), "there is no such word");
    assert_null(proxy_faults(&proxy, "up latency_ms=3 act=reset frame=basic.publish nth=2 channel=4"));
    assert_int_equal(proxy.up.latency_ms, 3);
    assert_int_equal(proxy.up.channel, 4);
    assert_null(proxy_faults(&proxy, "up latency_ms=4"));
    assert_int_equal(proxy.up.act, PROXY_RESET);
    assert_null(proxy_faults(&proxy, "up act=stall byte=3"));
    assert_int_equal(proxy.up.channel, PROXY_ANY_CHANNEL);
    assert_null(proxy_faults(&proxy, "up"));
    assert_memory_equal(&before, &proxy.up, sizeof before);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_both_ways),
        cmocka_unit_test(carries_many),
        cmocka_unit_test(is_late),
        cmocka_unit_test(is_narrow),
        cmocka_unit_test(is_sliced),
        cmocka_unit_test(cuts_at_each_byte),
        cmocka_unit_test(cuts_what_goes_up),
        cmocka_unit_test(closes_one_half),
        cmocka_unit_test(ends_are_handed_on),
        cmocka_unit_test(ends_a_link_when_told),
        cmocka_unit_test(stalls_until_told),
        cmocka_unit_test(the_other_way_goes_on),
        cmocka_unit_test(drops_the_rest),
        cmocka_unit_test(a_wrong_bit),
        cmocka_unit_test(wrong_bits_by_rate),
        cmocka_unit_test(cuts_at_a_frame),
        cmocka_unit_test(cuts_at_a_record),
        cmocka_unit_test(faults_may_change),
        cmocka_unit_test(welcomes),
        cmocka_unit_test(nobody_is_behind_it),
        cmocka_unit_test(at_paths),
        cmocka_unit_test(words_that_are_wrong),
    };
    return cmocka_run_group_tests_name("proxy/proxy", tests, fill_data, NULL);
}
