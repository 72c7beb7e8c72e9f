/* The seam to the transport at its edges: what a connection that is gone wants, bytes straight to their place, what a page of it asks. */
#include "client_test.h"
#include "connection.h"
#include "deadline.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

/* ---------------------------------------------------------------- behind the end */

/* The transport closes its handles, and its loop may still come by: there is nothing to do, nothing to write, nothing to read. */
static void a_connection_that_is_gone_wants_nothing(void **state) {
    (void)state;
    for (int freed = 0; freed < 2; freed++) {
        uint8_t *room = NULL;
        client_open(t);
        virtual_input(&t->v, "\1\0\1", 3); /* in the middle of a frame */
        virtual_run(&t->v);
        lago_connection_t *conn = t->conn;
        if (freed) {
            lago_connection_free(conn);
            t->conn = NULL;
        } else {
            assert_int_equal(lago_connection_abort(conn), 0);
            while (!t->v.finishing) link_turn(conn);
        }
        struct link_wants wants = link_wants(conn);
        assert_int_equal(wants.deadline, DEADLINE_NEVER);
        assert_false(wants.turn || wants.read || wants.write || wants.write_first || wants.alive);
        assert_false(link_has_input(conn));
        assert_ptr_equal(link_handle(conn), t->conn);
        if (freed) assert_int_equal(link_room(conn, &room), 0);
        if (freed) assert_int_equal(link_read_max(conn), SIZE_MAX);
        unsigned turns = t->v.counts.hang_up;
        link_turn(conn);
        assert_int_equal(t->v.counts.hang_up, turns);
        assert_int_equal(t->v.counts.finish, 1);
        client_end(t);
    }
}

static void nobodys_transport(void **state) {
    (void)state;
    client_open(t);
    assert_ptr_equal(connection_transport(t->conn), &t->v);
    assert_null(connection_transport(NULL));
    assert_int_equal(lago_connection_abort(t->conn), 0);
    virtual_run(&t->v);
    assert_null(connection_transport(t->conn)); /* its handles are closed */
    client_end(t);
}

static void free_stream(struct uv_stream_s *stream, void *data) { (void)stream, (void)data; }

/* A stream that is given back when it is closed needs its owner's data until then: free_data comes last. */
static void a_lent_stream_needs_its_data_until_it_is_closed(void **state) {
    (void)state;
    for (int ended = 0; ended < 2; ended++) {
        client_init(t);
        lago_connection_options_t options = client_options(t);
        options.stream = (void *)&test;
        options.free_stream = free_stream;
        client_open_options(t, &options);
        if (ended) assert_int_equal(lago_connection_abort(t->conn), 0);
        virtual_run(&t->v);
        if (ended) assert_journal(t, "close ECLOSED; connection free");
        lago_connection_free(t->conn);
        t->conn = NULL;
        assert_journal(t, ""); /* not before it is closed */
        virtual_run(&t->v);
        assert_journal(t, ended ? "" : "connection free");
        client_end(t);
    }
}

/* With no memory for the words of an end, there is still an end, and a reason. */
static void an_end_without_memory_has_a_reason(void **state) {
    (void)state;
    client_open(t);
    fail_alloc_at(&t->v.alloc, 1, true);
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    fail_alloc_at(&t->v.alloc, 0, false);
    assert_journal(t, "close ELOST; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->code, LAGO_ENOMEM);
    client_end(t);
}

/* ---------------------------------------------------------------- reading */

/* Before AMQP begins there is no message that bytes could belong to, and reads may be as large as they are. */
static void what_comes_before_amqp_has_no_place(void **state) {
    (void)state;
    uint8_t *room = NULL;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "between", .port = 1080 } });
    virtual_run(&t->v);
    assert_int_equal(link_room(t->conn, &room), 0);
    assert_int_equal(link_read_max(t->conn), SIZE_MAX);
    client_end(t);
}

static size_t body_got, in_file;

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    const uint8_t *octets = message->body.data;
    (void)ch, (void)data;
    body_got = message->body.size;
    for (size_t i = 0; i < body_got; i++) assert_int_equal(octets[i], 'b');
}

static void count_octets(const void *octets, size_t size, void *data) {
    (void)octets, (void)data;
    in_file += size;
}

/* A body of two frames: small reads lead to it, the rest is read straight into it. The capture has it all the same. */
static void a_large_body_is_read_to_its_place(void **state) {
    (void)state;
    static uint8_t body[200000];
    const size_t first = 131064; /* what a frame of 131072 has room for */
    memset(body, 'b', sizeof(body));
    for (int captured = 0; captured < 2; captured++) {
        uint8_t *room = NULL;
        client_init(t);
        if (captured) {
            t->v.capture = (struct pcapng){ .write = count_octets };
            pcapng_begin(&t->v.capture);
        }
        client_connect(t, NULL);
        server_handshake(&t->v);
        journal_clear(t);
        lago_channel_t *ch = client_open_channel(t);
        lago_basic_consume_t args = { .consumer_tag = "c", .on_message = on_message };
        assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
        server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
        assert_int_equal(link_read_max(t->conn), SIZE_MAX);
        server_send(&t->v, "1 basic.deliver consumer_tag=\"c\" delivery_tag=1\n1 header body_size=200000");
        virtual_input(&t->v, "\3\0\1\0\1\xff\xf8", 7);
        virtual_run(&t->v);
        assert_in_range(link_read_max(t->conn), 1, 65536);
        assert_in_range(link_room(t->conn, &room), 1, first + 8);
        body_got = in_file = 0;
        virtual_input(&t->v, body, first);
        virtual_input(&t->v, "\xce\3\0\1\0\1\x0d\x48", 8);
        virtual_input(&t->v, body + first, sizeof(body) - first);
        virtual_input(&t->v, "\xce", 1);
        virtual_run(&t->v);
        assert_true(t->v.counts.filled >= 2);
        assert_int_equal(body_got, sizeof(body));
        if (captured) assert_true(in_file > sizeof(body));
        client_end(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_is_gone_wants_nothing),
        cmocka_unit_test(nobodys_transport),
        cmocka_unit_test(a_lent_stream_needs_its_data_until_it_is_closed),
        cmocka_unit_test(an_end_without_memory_has_a_reason),
        cmocka_unit_test(what_comes_before_amqp_has_no_place),
        cmocka_unit_test(a_large_body_is_read_to_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
