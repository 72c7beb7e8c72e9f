/*
 * fast_open: the second connection to a broker says everything in its first write. What may not be said before open-ok, who may not go
 * ahead at all, and that a broker which is not what it was is met once more, the ordinary way.
 */
#include "book.h"
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TUNE "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60"

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;
static struct fail_alloc book_alloc;
static struct book book;
static lago_parameters_t parameters;
static lago_channel_t *ch;

#define assert_saw(line)  assert_true(virtual_saw(&t->v, line))
#define assert_none(line) assert_false(virtual_saw(&t->v, line))

static int setup(void **state) {
    (void)state;
    fail_alloc_init(&book_alloc);
    book_init(&book, &book_alloc.allocator);
    parameters = (lago_parameters_t){ .fast_open = true };
    return 0;
}

static int teardown(void **state) {
    (void)state;
    book_clear(&book);
    fail_alloc_check(&book_alloc);
    return 0;
}

static void begin(void) {
    client_init(t);
    t->v.book = &book;
    t->v.is_private = true;
    client_connect_with(t, &parameters);
}

static void open_ordinarily(void) {
    begin();
    virtual_run(&t->v);
    assert_saw("C> protocol-header 0-9-1");
    assert_none("C> 0 connection.start-ok*");
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

/* What a program says at its beginning. */
static void say_all(void) {
    ch = client_channel(t);
    lago_queue_declare_t declare = { .queue = "q" };
    assert_int_equal(lago_queue_declare(ch, &declare, noted_declare, probe(t, "declare")), 0);
    lago_queue_bind_t bind = { .queue = "q", .exchange = "e", .routing_key = "#" };
    assert_int_equal(lago_queue_bind(ch, &bind, noted_done, probe(t, "bind")), 0);
    lago_basic_consume_t consume = { .queue = "q", .on_message = noted_message, .data = probe(t, "consumer") };
    assert_int_equal(lago_basic_consume(ch, &consume, noted_consumer, probe(t, "consume")), 0);
}

static void assert_all_was_said(void) {
    assert_saw("C> protocol-header 0-9-1");
    assert_saw("C> 0 connection.start-ok*");
    assert_saw("C> 0 connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=60");
    assert_saw("C> 0 connection.open virtual_host=\"/\"*");
    assert_saw("C> 1 channel.open*");
    assert_saw("C> 1 queue.declare queue=\"q\"*");
    assert_saw("C> 1 queue.bind queue=\"q\"*");
    assert_saw("C> 1 basic.consume queue=\"q\"*");
}

/* Connected for the second time, with all of it in one write. */
static void go_ahead(void) {
    begin();
    say_all();
    virtual_run(&t->v);
    assert_all_was_said();
    assert_int_equal(t->v.counts.writes, 1);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_PROTOCOL);
    assert_int_equal(lago_connection_tune(t->conn).frame_max, 0); /* nothing is agreed yet */
    assert_journal(t, "");
}

#define ANSWERS   "1 channel.open-ok\n1 queue.declare-ok queue=\"q\"\n1 queue.bind-ok\n1 basic.consume-ok consumer_tag=\"ctag1.1\""
#define COMPLETED "1 open; declare ok q 0 0; bind ok; consume ok ctag1.1"

/* ---------------------------------------------------------------- how it goes */

static void the_second_time_it_is_one_write(void **state) {
    (void)state;
    open_ordinarily();
    for (int i = 0; i < 3; i++) {
        go_ahead();
        server_send(&t->v, SERVER_START "\n" TUNE "\n0 connection.open-ok\n" ANSWERS);
        assert_journal(t, "open; " COMPLETED);
        assert_int_equal(t->v.counts.writes, 1);
        assert_int_equal(lago_connection_tune(t->conn).channel_max, 2047);
        assert_int_equal(lago_connection_output_size(t->conn), 0);
        assert_true(lago_connection_server_has(t->conn, "basic.nack"));
        assert_null(lago_connection_attempt(t->conn, 0, NULL));
        client_end(t);
    }
}

/* Whatever the broker sends when. */
static void answers_come_one_by_one(void **state) {
    (void)state;
    open_ordinarily();
    go_ahead();
    server_handshake(&t->v);
    assert_journal(t, "open");
    server_send(&t->v, ANSWERS);
    assert_journal(t, COMPLETED);
    client_end(t);
}

/* The specification's word (1.4.2.6) is kept for what could be lost, or cannot be said twice. */
static void some_things_wait_for_open_ok(void **state) {
    (void)state;
    open_ordinarily();
    begin();
    say_all();
    assert_int_equal(lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "k" }, NULL, NULL), 0);
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = 7 }, NULL, NULL), 0); /* behind a publish */
    lago_channel_t *second = client_channel(t), *third = client_channel(t);
    assert_int_equal(lago_queue_declare(second, &(lago_queue_declare_t){ .queue = "" }, NULL, NULL), 0);
    assert_int_equal(lago_basic_get(third, &(lago_basic_get_t){ .queue = "q" }, noted_get, probe(t, "get")), 0);
    virtual_run(&t->v);
    assert_all_was_said();
    assert_saw("C> 2 channel.open*");
    assert_saw("C> 3 channel.open*");
    assert_none("C> 1 basic.publish*");
    assert_none("C> 1 basic.qos*");
    assert_none("C> 2 queue.declare*");
    assert_none("C> 3 basic.get*");
    server_handshake(&t->v);
    assert_none("C> 1 channel.open*"); /* said before */
    assert_saw("C> 1 basic.publish*");
    assert_saw("C> 1 basic.qos*");
    assert_saw("C> 2 queue.declare*");
    assert_saw("C> 3 basic.get*");
    assert_int_equal(t->v.counts.writes, 2);
    client_end(t);
}

/* What is said while the answers are on their way waits as ever. */
static void later_calls_keep_their_order(void **state) {
    (void)state;
    open_ordinarily();
    go_ahead();
    assert_int_equal(lago_basic_qos(ch, &(lago_basic_qos_t){ .prefetch_count = 7 }, NULL, NULL), 0);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.writes, 1);
    server_handshake(&t->v);
    assert_saw("C> 1 basic.qos*");
    client_end(t);
}

/* ---------------------------------------------------------------- who may not */

static void assert_ordinary(void) {
    begin();
    say_all();
    virtual_run(&t->v);
    assert_saw("C> protocol-header 0-9-1");
    assert_none("C> 0 connection.start-ok*");
    client_end(t);
}

static void only_who_wants_to(void **state) {
    (void)state;
    open_ordinarily();
    parameters.fast_open = false;
    assert_ordinary();
}

static void only_where_it_was_before(void **state) {
    (void)state;
    open_ordinarily();
    client_init(t);
    t->v.book = &book;
    t->v.is_private = true;
    t->v.endpoint[0] = "127.0.0.2:5672";
    client_connect_with(t, &parameters);
    virtual_run(&t->v);
    assert_none("C> 0 connection.start-ok*");
    client_end(t);
    /* nor after a connection that did not want to know */
    book_clear(&book);
    parameters.fast_open = false;
    open_ordinarily();
    parameters.fast_open = true;
    assert_ordinary();
}

static void only_where_nobody_stands_between(void **state) {
    (void)state;
    open_ordinarily();
    client_init(t);
    t->v.book = &book;
    client_connect_with(t, &parameters);
    virtual_run(&t->v);
    assert_none("C> 0 connection.start-ok*");
    client_end(t);
}

/* Its address is the proxy's, and it would read along. */
static void never_through_a_proxy(void **state) {
    (void)state;
    static const char answer[] = "HTTP/1.1 200 OK\r\n\r\n";
    open_ordinarily();
    parameters.proxy = (lago_proxy_t){ .type = LAGO_PROXY_HTTP, .host = "proxy" };
    begin();
    virtual_run(&t->v);
    virtual_input(&t->v, answer, sizeof(answer) - 1);
    virtual_run(&t->v);
    assert_saw("C> protocol-header 0-9-1");
    assert_none("C> 0 connection.start-ok*");
    client_end(t);
}

/* There is no second link to fall back to. */
static void never_over_a_stream_that_was_given(void **state) {
    (void)state;
    open_ordinarily();
    client_init(t);
    t->v.book = &book;
    t->v.is_private = true;
    lago_connection_options_t options = client_options(t);
    options.parameters = &parameters;
    options.socket_fd = 5;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    virtual_run(&t->v);
    assert_saw("C> protocol-header 0-9-1");
    assert_none("C> 0 connection.start-ok*");
    client_end(t);
}

static void only_with_a_context_of_several(void **state) {
    (void)state;
    open_ordinarily();
    client_init(t);
    t->v.is_private = true;
    client_connect_with(t, &parameters);
    virtual_run(&t->v);
    assert_none("C> 0 connection.start-ok*");
    server_handshake(&t->v);
    client_end(t);
}

static void ask(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    (void)data;
    assert_int_equal(lago_login_provide(conn, request->ticket, &(lago_login_t){ .password = "p" }), 0);
}

static void only_with_what_is_known(void **state) {
    (void)state;
    parameters.credentials.on_login = ask;
    open_ordinarily();
    assert_ordinary();
    parameters.credentials.on_login = NULL;
    parameters.credentials.mechanisms = "EXTERNAL"; /* not offered */
    assert_ordinary();
}

static void without_a_password(void **state) {
    (void)state;
    parameters.credentials.mechanisms = "EXTERNAL";
    begin();
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"EXTERNAL PLAIN\" locales=\"en_US\"\n" TUNE
                       "\n0 connection.open-ok");
    assert_journal(t, "open");
    client_end(t);
    begin();
    virtual_run(&t->v);
    assert_saw("C> 0 connection.start-ok*");
    client_end(t);
}

/* ---------------------------------------------------------------- falling back */

/* The link is gone, and the next one is being opened ordinarily. */
static void assert_fallen_back(void) {
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.connect, 2);
    assert_saw("fast_open failed, trying the ordinary way*");
    assert_saw("C> protocol-header 0-9-1");
    assert_none("C> 0 connection.start-ok*");
    assert_journal(t, "");
    assert_null(lago_connection_attempt(t->conn, 0, NULL)); /* it was no attempt of its own */
}

/* Everything is said again, once. */
static void go_on_ordinarily(void) {
    server_handshake(&t->v);
    assert_journal(t, "open");
    assert_saw("C> 1 channel.open*");
    assert_saw("C> 1 queue.declare*");
    assert_saw("C> 1 queue.bind*");
    assert_saw("C> 1 basic.consume*");
    server_send(&t->v, ANSWERS);
    assert_journal(t, COMPLETED);
    client_end(t);
}

static void a_refused_login_is_tried_ordinarily(void **state) {
    (void)state;
    open_ordinarily();
    go_ahead();
    for (int i = 0; i < 2; i++) {
        server_send(&t->v, SERVER_START);
        server_send(&t->v, "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"");
        if (i == 0) assert_fallen_back();
    }
    assert_journal(
        t, "declare EAUTH; bind EAUTH; consume EAUTH ctag1.1; 1 open EAUTH; channel free; open_error EAUTH; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->reply_code, 403);
    client_end(t);
}

static void a_refused_virtual_host_as_well(void **state) {
    (void)state;
    open_ordinarily();
    parameters.virtual_host = "/";
    go_ahead();
    server_send(&t->v, SERVER_START "\n" TUNE "\n0 connection.close reply_code=530 reply_text=\"NOT_ALLOWED\"");
    assert_fallen_back();
    server_send(&t->v, SERVER_START);
    server_send(&t->v, TUNE);
    server_send(&t->v, "0 connection.close reply_code=530 reply_text=\"NOT_ALLOWED\"");
    assert_int_equal(lago_connection_reason(t->conn)->code, LAGO_EACCESS);
    client_end(t);
}

static void a_broker_that_has_changed(void **state) {
    (void)state;
    static const char *const answers[] = {
        "0 connection.start version_minor=9 mechanisms=\"AMQPLAIN\" locales=\"en_US\"",
        "0 connection.start version_minor=8 mechanisms=\"PLAIN\" locales=\"en_US\"",
        SERVER_START "\n0 connection.tune channel_max=2046 frame_max=131072 heartbeat=60",
        SERVER_START "\n0 connection.tune channel_max=2047 frame_max=4096 heartbeat=60",
        SERVER_START "\n0 connection.tune channel_max=2047 frame_max=131072 heartbeat=30",
        SERVER_START "\n0 connection.tune channel_max=2047 frame_max=1 heartbeat=60",
        SERVER_START "\n0 connection.secure challenge=\"who?\"",
        "raw 41 4d 51 50 03 01 00 00",
        "raw 01 00 00 ff ff ff ff 00",
        "1 channel.open-ok",
    };
    open_ordinarily();
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        go_ahead();
        server_send(&t->v, answers[i]);
        virtual_advance(&t->v, 1000); /* a goodbye that nobody answers */
        assert_fallen_back();
        go_on_ordinarily();
    }
}

static void a_broker_that_hangs_up(void **state) {
    (void)state;
    static const char *const before[] = { "", SERVER_START, SERVER_START "\n" TUNE };
    open_ordinarily();
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        go_ahead();
        server_send(&t->v, before[i]);
        virtual_lose(&t->v, -104);
        assert_fallen_back();
        go_on_ordinarily(); /* and learns again */
    }
}

static void a_broker_that_says_nothing(void **state) {
    (void)state;
    parameters.stack_timeout_ms = 1000;
    open_ordinarily();
    go_ahead();
    virtual_advance(&t->v, 1000);
    assert_fallen_back();
    go_on_ordinarily();
}

static void what_failed_is_not_assumed_again(void **state) {
    (void)state;
    open_ordinarily();
    go_ahead();
    virtual_lose(&t->v, -104);
    assert_fallen_back();
    client_end(t);
    assert_ordinary();
}

/* ---------------------------------------------------------------- channels that end meanwhile */

static void a_channel_is_freed_meanwhile(void **state) {
    (void)state;
    open_ordinarily();
    go_ahead();
    lago_channel_free(ch);
    assert_journal(t, "channel free");
    server_send(&t->v, SERVER_START "\n" TUNE "\n0 connection.open-ok\n" ANSWERS);
    assert_saw("C> 1 channel.close*");
    server_send(&t->v, "1 channel.close-ok");
    assert_journal(t, "open");
    ch = client_open_channel(t); /* the number is free again */
    assert_int_equal(lago_channel_number(ch), 1);
    client_end(t);
}

/* It will be opened, though nobody wants it any more. */
static void a_channel_times_out_meanwhile(void **state) {
    (void)state;
    for (int falls_back = 0; falls_back < 2; falls_back++) {
        parameters.operation_timeout_ms = 100;
        open_ordinarily();
        go_ahead();
        virtual_advance(&t->v, 100);
        journal_clear(t);
        if (falls_back) {
            virtual_lose(&t->v, -104);
            assert_fallen_back();
            server_handshake(&t->v);
            assert_none("C> 1*"); /* nobody has heard of it */
        } else {
            server_send(&t->v, SERVER_START "\n" TUNE "\n0 connection.open-ok\n" ANSWERS);
            assert_saw("C> 1 channel.close*");
            server_send(&t->v, "1 channel.close-ok");
        }
        assert_journal(t, "open");
        ch = client_open_channel(t);
        assert_int_equal(lago_channel_number(ch), 1);
        client_end(t);
        book_clear(&book);
    }
}

static void a_channel_is_too_many(void **state) {
    (void)state;
    begin();
    server_handshake_with(&t->v, "channel_max=1 frame_max=131072 heartbeat=60");
    client_end(t);
    begin();
    (void)client_channel(t);
    (void)client_channel(t);
    virtual_run(&t->v);
    assert_saw("C> 1 channel.open*");
    assert_none("C> 2 channel.open*");
    server_handshake_with(&t->v, "channel_max=1 frame_max=131072 heartbeat=60");
    assert_journal(t, "open; 2 open ENOCHANNEL; channel free");
    client_end(t);
}

static void it_is_closed_meanwhile(void **state) {
    (void)state;
    open_ordinarily();
    go_ahead();
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.connect, 1);
    assert_int_equal(lago_connection_reason(t->conn)->code, LAGO_ECLOSED);
    client_end(t);
}

/* ---------------------------------------------------------------- the book, and no memory */

static void the_book_has_an_end(void **state) {
    (void)state;
    struct book_entry entry = { .tls = false, .mechanisms = "PLAIN" };
    for (int i = 0; i < 100; i++) {
        (void)snprintf(entry.endpoint, sizeof(entry.endpoint), "10.0.0.%d:5672", i);
        book_learn(&book, &entry);
        assert_non_null(book_find(&book, "10.0.0.0:5672", false)); /* who is used stays */
    }
    assert_in_range(book.count, 2, 64);
    assert_int_equal(book_alloc.live_count, book.count);
    assert_null(book_find(&book, "10.0.0.1:5672", false));
    assert_non_null(book_find(&book, "10.0.0.99:5672", false));
    assert_null(book_find(&book, "10.0.0.99:5672", true));
    entry.offered.frame_max = 5000;
    book_learn(&book, &entry);
    assert_int_equal(book_find(&book, "10.0.0.99:5672", false)->offered.frame_max, 5000);
    book_forget(&book, "10.0.0.99:5672", false);
    assert_null(book_find(&book, "10.0.0.99:5672", false));
    fail_alloc_at(&book_alloc, 1, true);
    book_learn(&book, &entry);
    assert_null(book_find(&book, "10.0.0.99:5672", false));
    fail_alloc_at(&book_alloc, 0, false);
}

static void what_was_never_opened_is_not_known(void **state) {
    (void)state;
    open_ordinarily();
    parameters.connection_attempts = 2;
    begin();
    t->v.endpoint[0] = "192.0.2.7:5672";
    virtual_run(&t->v);
    server_queue(&t->v, SERVER_START);
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    t->v.endpoint[0] = NULL; /* the second attempt meets the broker that is known */
    virtual_advance(&t->v, 2000);
    assert_saw("C> 0 connection.open virtual_host*");
    server_send(&t->v, SERVER_START "\n" TUNE "\n0 connection.open-ok");
    assert_journal(t, "open");
    assert_null(book_find(&book, "192.0.2.7:5672", false));
    client_end(t);
}

/* It opens, or tells why not; nothing is lost on the way. */
static bool live_without(size_t k) {
    begin();
    say_all();
    fail_alloc_at(&t->v.alloc, k, false);
    for (int i = 0; i < 2; i++) {
        virtual_run(&t->v);
        if (!t->v.conn || lago_connection_state(t->conn) == LAGO_CONNECTION_OPEN) break;
        server_queue(&t->v, SERVER_START "\n" TUNE "\n0 connection.open-ok");
    }
    virtual_run(&t->v);
    bool failed = t->v.alloc.calls >= k;
    fail_alloc_at(&t->v.alloc, 0, false);
    virtual_advance(&t->v, 20000);
    assert_true(t->self->calls >= 1); /* open, or open_error */
    client_end(t);
    return failed;
}

static void each_allocation_may_fail(void **state) {
    size_t k = 1;
    (void)state;
    do {
        book_clear(&book);
        open_ordinarily();
    } while (live_without(k++));
    assert_true(k > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_second_time_it_is_one_write),
        TEST(answers_come_one_by_one),
        TEST(some_things_wait_for_open_ok),
        TEST(later_calls_keep_their_order),
        TEST(only_who_wants_to),
        TEST(only_where_it_was_before),
        TEST(only_where_nobody_stands_between),
        TEST(never_through_a_proxy),
        TEST(never_over_a_stream_that_was_given),
        TEST(only_with_a_context_of_several),
        TEST(only_with_what_is_known),
        TEST(without_a_password),
        TEST(a_refused_login_is_tried_ordinarily),
        TEST(a_refused_virtual_host_as_well),
        TEST(a_broker_that_has_changed),
        TEST(a_broker_that_hangs_up),
        TEST(a_broker_that_says_nothing),
        TEST(what_failed_is_not_assumed_again),
        TEST(a_channel_is_freed_meanwhile),
        TEST(a_channel_times_out_meanwhile),
        TEST(a_channel_is_too_many),
        TEST(it_is_closed_meanwhile),
        TEST(the_book_has_an_end),
        TEST(what_was_never_opened_is_not_known),
        TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
