/* Dialing when several things happen at once, or the wrong ones: addresses side by side, goodbyes that do not leave, little memory. */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static void begin_with(const lago_parameters_t *parameters) {
    client_init(t);
    client_connect_with(t, parameters);
}

static const lago_reason_t *reason(void) {
    const lago_reason_t *r = lago_connection_reason(t->conn);
    assert_non_null(r);
    return r;
}

static const lago_reason_t *attempt(size_t index) { return lago_connection_attempt(t->conn, index, NULL); }

/* ---------------------------------------------------------------- addresses side by side */

/* The last one is refused while an earlier one is still on its way: that one decides. */
static void a_refusal_leaves_the_others_on_their_way(void **state) {
    (void)state;
    begin_with(NULL);
    t->v.address_count = 2;
    t->v.connect_status[0] = VIRTUAL_NEVER;
    t->v.connect_status[1] = REFUSED;
    virtual_advance(&t->v, 1000);
    assert_int_equal(t->v.connecting, 1);
    assert_int_equal(client_attempt_count(t), 1);
    assert_true(virtual_saw(&t->v, "attempt failed*"));
    t->v.connect_status[0] = 0;
    server_handshake(&t->v);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.1:5672");
    assert_journal(t, "open");
    client_end(t);

    begin_with(NULL);
    t->v.address_count = 2;
    t->v.connect_status[0] = VIRTUAL_NEVER;
    t->v.connect_status[1] = REFUSED;
    virtual_advance(&t->v, 1000);
    t->v.connect_status[0] = REFUSED;
    virtual_run(&t->v);
    assert_journal(t, "open_error ECONNECT; connection free");
    assert_string_equal(reason()->endpoint, "192.0.2.1:5672");
    assert_int_equal(client_attempt_count(t), 2);
    client_end(t);
}

/* Whoever was refused before is not told as silent once more. */
static void only_the_silent_ones_time_out(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .socket_timeout_ms = 3000 });
    t->v.address_count = 3;
    t->v.connect_status[0] = REFUSED;
    t->v.connect_status[1] = t->v.connect_status[2] = VIRTUAL_NEVER;
    virtual_advance(&t->v, 3250);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_int_equal(client_attempt_count(t), 3);
    assert_int_equal(attempt(0)->code, LAGO_ECONNECT);
    assert_string_equal(attempt(1)->endpoint, "192.0.2.2:5672");
    assert_string_equal(attempt(2)->endpoint, "192.0.2.3:5672");
    assert_int_equal(attempt(2)->code, LAGO_ETIMEDOUT);
    client_end(t);
}

/* Who waits less than the next one's turn comes to it all the same. */
static void the_next_one_follows_a_short_timeout(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .socket_timeout_ms = 100 });
    t->v.address_count = 2;
    t->v.connect_status[0] = VIRTUAL_NEVER;
    virtual_advance(&t->v, 99);
    assert_int_equal(t->v.counts.connect, 1);
    virtual_advance(&t->v, 1);
    assert_int_equal(t->v.counts.connect, 2);
    assert_true(virtual_saw(&t->v, "attempt failed*"));
    server_handshake(&t->v);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.2:5672");
    assert_journal(t, "open");
    client_end(t);
}

/* The time for all of an attempt may be the shorter one. */
static void the_attempts_time_is_over_for_all_of_them(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .stack_timeout_ms = 300 });
    t->v.address_count = 2;
    t->v.connect_status[0] = t->v.connect_status[1] = VIRTUAL_NEVER;
    virtual_advance(&t->v, 549);
    assert_journal(t, "");
    virtual_advance(&t->v, 1); /* from the second one on */
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_int_equal(client_attempt_count(t), 2);
    client_end(t);
}

/* More addresses than are tried. */
static void no_more_than_a_limit(void **state) {
    (void)state;
    begin_with(NULL);
    t->v.address_count = LINK_ADDRESSES_MAX + 1;
    for (size_t i = 0; i < VIRTUAL_ADDRESSES_MAX; i++) t->v.connect_status[i] = REFUSED;
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.connect, LINK_ADDRESSES_MAX);
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);
}

/* Also after the time in which it would have doubled beyond all numbers. */
static void a_pause_never_exceeds_its_maximum(void **state) {
    (void)state;
    begin_with(
        &(lago_parameters_t){ .host = "a", .connection_attempts = 100, .retry_delay_ms = 1, .retry_delay_max_ms = 1999999999 });
    t->v.connect_status[0] = REFUSED;
    for (unsigned i = 0; i < 99; i++) {
        t->v.random = 1999999999; /* the largest remainder there may be */
        if (i == 0) virtual_run(&t->v);
        uint64_t pause = virtual_next_deadline(&t->v);
        assert_in_range(pause, 1, 1999999999);
        if (i >= 31) assert_int_equal(pause, 1999999999);
        t->v.random = 1999999999;
        virtual_advance(&t->v, pause);
    }
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- what fails at an address, and at all of a host */

static void tls_that_fails_tries_the_next_address(void **state) {
    static const lago_tls_options_t verified = { 0 };
    const lago_reason_t failure = { .code = LAGO_ETLS, .origin = LAGO_BY_NETWORK, .phase = LAGO_PHASE_TLS };
    (void)state;
    begin_with(&(lago_parameters_t){ .tls = &verified });
    t->v.address_count = 2;
    t->v.secure_failure = &failure;
    virtual_run(&t->v);
    assert_journal(t, "open_error ETLS; connection free");
    assert_int_equal(client_attempt_count(t), 2);
    assert_string_equal(attempt(1)->endpoint, "192.0.2.2:5672");
    client_end(t);

    begin_with(&(lago_parameters_t){ .tls = &verified });
    t->v.address_count = 2;
    t->v.secure_result = LAGO_ENOMEM; /* of the verb itself */
    virtual_run(&t->v);
    assert_journal(t, "open_error ENOMEM; connection free");
    assert_int_equal(t->v.counts.secure, 2);
    client_end(t);
}

static void a_link_that_is_cut_before_start_tries_the_next_address(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .tls = &(lago_tls_options_t){ 0 } });
    t->v.address_count = 2;
    virtual_run(&t->v);
    virtual_lose(&t->v, LAGO_ETRUNCATED);
    server_handshake(&t->v);
    assert_journal(t, "open");
    assert_int_equal(client_attempt_count(t), 1);
    assert_int_equal(attempt(0)->code, LAGO_ETRUNCATED);
    client_end(t);
}

/* What it has failed for is told, not that its goodbye did not leave in time. */
static void a_goodbye_that_does_not_leave_hides_no_reason(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .stack_timeout_ms = 100 });
    virtual_run(&t->v);
    virtual_take(&t->v, 0);
    server_send(&t->v, SERVER_START "\n1 channel.open-ok");
    assert_journal(t, "");
    virtual_advance(&t->v, 100);
    assert_journal(t, "open_error EPROTOCOL; connection free");
    client_end(t);
}

/* A proxy stands between, so its address is not the host's. */
static void a_proxy_that_is_not_there(void **state) {
    const lago_parameters_t p = { .host = "mq", .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "between", .port = 1080 } };
    (void)state;
    begin_with(&p);
    t->v.resolve_status = NO_NAME;
    virtual_run(&t->v);
    assert_journal(t, "open_error ERESOLVE; connection free");
    assert_string_equal(reason()->detail, "cannot find the proxy \"between\"");
    client_end(t);

    begin_with(&p);
    t->v.connect_status[0] = REFUSED;
    virtual_run(&t->v);
    assert_journal(t, "open_error ECONNECT; connection free");
    assert_string_equal(reason()->hint, "no proxy listening?");
    client_end(t);
}

/* While the proxy is asked nobody else's words count, and a write that failed is the reason, whether the proxy hangs up or not. */
static void a_proxy_that_cannot_be_written_to(void **state) {
    const lago_parameters_t p = { .host = "mq", .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "between", .port = 1080 } };
    (void)state;
    for (int hangs_up = 0; hangs_up < 2; hangs_up++) {
        begin_with(&p);
        virtual_take(&t->v, 0);
        virtual_run(&t->v);
        virtual_fail_write(&t->v, BROKEN_PIPE);
        virtual_run(&t->v);
        assert_journal(t, "");
        if (hangs_up)
            virtual_lose(&t->v, END_OF_FILE);
        else
            virtual_advance(&t->v, 1000);
        virtual_run(&t->v);
        assert_journal(t, "open_error ELOST; connection free");
        assert_int_equal(reason()->os_error, BROKEN_PIPE);
        assert_int_equal(reason()->phase, LAGO_PHASE_PROXY);
        client_end(t);
    }
}

/* ---------------------------------------------------------------- a stream of the caller's */

static void begin_stream(const lago_parameters_t *parameters) {
    client_init(t);
    lago_connection_options_t options = client_options(t);
    options.socket_fd = 7;
    options.parameters = parameters;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
}

static void a_stream_that_cannot_be_adopted(void **state) {
    (void)state;
    begin_stream(NULL);
    t->v.adopt_result = BROKEN_PIPE;
    virtual_run(&t->v);
    assert_journal(t, "open_error ECONNECT; connection free");
    assert_int_equal(reason()->os_error, BROKEN_PIPE);
    client_end(t);
}

/* It leads to the broker already. */
static void a_stream_asks_no_proxy(void **state) {
    (void)state;
    begin_stream(&(lago_parameters_t){ .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "between", .port = 1080 } });
    virtual_run(&t->v);
    assert_memory_equal(t->v.output, "AMQP\0\0\11\1", 8);
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

/* ---------------------------------------------------------------- words that are too long, or too many */

/* Lent as it is; a reason has its beginning; and the same place is remembered once, however often it is dialed. */
static void an_endpoint_of_any_length(void **state) {
    static char path[300];
    (void)state;
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    begin_with(&(lago_parameters_t){ .connection_attempts = 30, .retry_delay_ms = 1000 });
    t->v.endpoint[0] = path;
    t->v.connect_status[0] = REFUSED;
    virtual_run(&t->v);
    const char *lent = lago_connection_endpoint(t->conn);
    assert_string_equal(lent, path);
    assert_memory_equal(attempt(0)->endpoint, path, sizeof(attempt(0)->endpoint) - 4); /* its end says that it was longer */
    virtual_advance(&t->v, 20000);
    assert_ptr_equal(lago_connection_endpoint(t->conn), lent);
    t->v.connect_status[0] = 0;
    virtual_advance(&t->v, 1000);
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

static void on_phase(lago_connection_t *conn, lago_phase_t phase, uint32_t number, void *data) {
    struct probe *p = data;
    (void)conn;
    note(p->t, "%u %s", (unsigned)number, lago_phase_name(phase));
}

/* Nobody turns while twelve addresses are refused at once: the oldest news is lost, and no more than that. */
static void the_oldest_phases_are_lost(void **state) {
    (void)state;
    client_init(t);
    lago_connection_options_t options = client_options(t);
    options.on_phase = on_phase;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    t->v.address_count = 12;
    t->v.connect_result = REFUSED;
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.connect, 12);
    assert_journal(t, "1 host name lookup; open_error ECONNECT; connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- a transport that is out of step */

/* What it tells of a step that is over, or has not come yet, is not heard. */
static void news_of_another_step_are_not_heard(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .tls = &(lago_tls_options_t){ 0 } });
    t->v.resolve_status = VIRTUAL_NEVER;
    virtual_run(&t->v);
    link_connected(t->conn, 0, 0);
    link_secured(t->conn, NULL);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.secure, 0);
    t->v.resolve_status = 0;
    t->v.secure_status = VIRTUAL_NEVER;
    virtual_run(&t->v);
    link_resolved(t->conn, 0, 3);
    link_connected(t->conn, 1, REFUSED);
    virtual_input(&t->v, "AMQP\0\0\11\1", 8); /* inside the handshake of TLS */
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.connect, 1);
    t->v.secure_status = 0;
    server_handshake(&t->v);
    assert_journal(t, "open");
    link_resolved(t->conn, 0, 3);
    link_connected(t->conn, 0, REFUSED);
    link_secured(t->conn, NULL);
    virtual_run(&t->v);
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    assert_journal(t, "");
    client_end(t);
}

/* ---------------------------------------------------------------- little memory */

static void nothing(lago_connection_t *conn, int status, void *data) { (void)conn, (void)status, (void)data; }

static bool ends_with(const char *bytes, size_t size) {
    return t->v.output_size >= size && memcmp(t->v.output + t->v.output_size - size, bytes, size) == 0;
}

/* A proxy and a broker that answer what was said last, until nothing is said any more. */
static void answer_all(void) {
    for (size_t heard = 0; t->v.output_size > heard;) {
        heard = t->v.output_size;
        if (ends_with("\5\1\0", 3))
            virtual_input(&t->v, "\5\0", 2);
        else if (ends_with("\x16\x28", 2))
            virtual_input(&t->v, "\5\0\0\1\1\2\3\4\5\6", 10);
        else if (ends_with("AMQP\0\0\11\1", 8))
            server_queue(&t->v, SERVER_START);
        else if (virtual_saw(&t->v, "C> 0 connection.start-ok*"))
            server_queue(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
        else if (virtual_saw(&t->v, "C> 0 connection.open*"))
            server_queue(&t->v, "0 connection.open-ok");
        virtual_advance(&t->v, 300); /* or another address is tried */
    }
}

/* A life of an opening, with `timers` of the user's, in which the n-th allocation fails. @return whether one has failed. */
static bool open_with_little(const lago_connection_options_t *options, unsigned timers, size_t n) {
    client_init(t);
    lago_connection_options_t own = client_options(t);
    own.parameters = options->parameters;
    own.socket_fd = options->socket_fd;
    own.on_phase = options->on_phase;
    fail_alloc_at(&t->v.alloc, n, false);
    int rc = virtual_connect(&t->v, NULL, &own);
    t->conn = t->v.conn;
    if (rc < 0) {
        assert_int_equal(rc, LAGO_ENOMEM);
        assert_int_equal(t->v.alloc.live_count, 0);
        virtual_deinit(&t->v);
        return true;
    }
    for (unsigned i = 0; i < timers; i++) (void)lago_connection_call_later(t->conn, 100000, nothing, NULL, NULL);
    t->v.address_count = 3;
    t->v.connect_status[0] = VIRTUAL_NEVER;
    t->v.connect_status[1] = REFUSED;
    virtual_advance(&t->v, 300);
    t->v.connect_status[0] = 0; /* should it be tried again */
    virtual_run(&t->v);
    answer_all();
    bool failed = t->v.alloc.failures > 0;
    bool open = strstr(t->journal, "open") && !strstr(t->journal, "open_error");
    if (!open) {
        assert_true(failed);
        assert_int_equal(reason()->code, LAGO_ENOMEM);
        assert_non_null(strstr(t->journal, "open_error ENOMEM; connection free"));
    }
    client_end(t);
    return failed;
}

/* It opens, or says that there was no memory. */
static void it_opens_or_says_that_memory_is_short(void **state) {
    const lago_parameters_t proxied = { .host = "mq", .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "between", .port = 1080 } };
    const lago_connection_options_t ways[] = { { .parameters = &proxied, .on_phase = on_phase }, { .socket_fd = 7 } };
    (void)state;
    for (size_t way = 0; way < 2; way++)
        for (unsigned timers = 0; timers < 8; timers++)
            for (size_t n = 1; open_with_little(&ways[way], timers, n); n++) continue;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_leaves_the_others_on_their_way),
        cmocka_unit_test(only_the_silent_ones_time_out),
        cmocka_unit_test(the_next_one_follows_a_short_timeout),
        cmocka_unit_test(the_attempts_time_is_over_for_all_of_them),
        cmocka_unit_test(no_more_than_a_limit),
        cmocka_unit_test(a_pause_never_exceeds_its_maximum),
        cmocka_unit_test(tls_that_fails_tries_the_next_address),
        cmocka_unit_test(a_link_that_is_cut_before_start_tries_the_next_address),
        cmocka_unit_test(a_goodbye_that_does_not_leave_hides_no_reason),
        cmocka_unit_test(a_proxy_that_is_not_there),
        cmocka_unit_test(a_proxy_that_cannot_be_written_to),
        cmocka_unit_test(a_stream_that_cannot_be_adopted),
        cmocka_unit_test(a_stream_asks_no_proxy),
        cmocka_unit_test(an_endpoint_of_any_length),
        cmocka_unit_test(the_oldest_phases_are_lost),
        cmocka_unit_test(news_of_another_step_are_not_heard),
        cmocka_unit_test(it_opens_or_says_that_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
