/* Many ways to a broker: endpoints in order and shuffled, addresses side by side, proxies, TLS, streams; and their story. */
#include "client_test.h"
#include "deadline.h"
#include "reason.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

static void begin_with(const lago_parameters_t *parameters) {
    client_init(t);
    client_connect_with(t, parameters);
}

static void refuse_all(int status) {
    for (size_t i = 0; i < VIRTUAL_ADDRESSES_MAX; i++) t->v.connect_status[i] = status;
}

static const lago_reason_t *attempt(size_t index) {
    const lago_reason_t *reason = lago_connection_attempt(t->conn, index, NULL);
    assert_non_null(reason);
    return reason;
}

/* ---------------------------------------------------------------- endpoints */

static const lago_endpoint_t more[] = { { .host = "b", .port = 2 }, { .host = "c", .port = 3 } };

#define THREE .host = "a", .port = 1, .endpoints = more, .endpoint_count = 2

static void endpoints_are_tried_in_their_order(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ THREE });
    refuse_all(REFUSED);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.resolve, 3);
    assert_string_equal(t->v.host, "c");
    assert_int_equal(t->v.port, 3);
    assert_journal(t, "open_error ECONNECT; connection free");
    assert_int_equal(client_attempt_count(t), 3);
    client_end(t);
}

/* Lookup, refusal, TLS, login, virtual host: whatever it is, the next endpoint gets its chance. */
static void any_failure_moves_on(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ THREE });
    t->v.resolve_status = NO_NAME;
    t->v.address_count = 2;
    virtual_run(&t->v);
    assert_string_equal(t->v.host, "c"); /* none of them has a name here */
    client_end(t);

    begin_with(&(lago_parameters_t){ THREE });
    t->v.address_count = 2;
    virtual_run(&t->v);
    server_send(&t->v, SERVER_START);
    server_send(&t->v, "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"");
    assert_string_equal(t->v.host, "b");
    assert_int_equal(t->v.counts.connect, 2); /* the other address of a is the same broker */
    server_send(&t->v, SERVER_START);
    server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
    server_send(&t->v, "0 connection.close reply_code=530 reply_text=\"NOT_ALLOWED\"");
    assert_string_equal(t->v.host, "c");
    server_handshake(&t->v);
    assert_journal(t, "open");
    assert_int_equal(attempt(0)->code, LAGO_EAUTH);
    assert_int_equal(attempt(1)->code, LAGO_EACCESS);
    assert_int_equal(attempt(1)->phase, LAGO_PHASE_OPEN);
    client_end(t);
}

static void rounds_go_over_all_endpoints(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ THREE, .connection_attempts = 2, .retry_delay_ms = 1000 });
    refuse_all(REFUSED);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.resolve, 3);
    virtual_advance(&t->v, 1000);
    assert_int_equal(t->v.counts.resolve, 6);
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);
}

static void shuffled_rounds_reach_every_endpoint_once(void **state) {
    (void)state;
    bool first_seen[3] = { false };
    for (uint64_t seed = 0; seed < 12; seed++) {
        bool seen[3] = { false };
        begin_with(&(lago_parameters_t){ THREE, .shuffle_endpoints = true });
        t->v.random = seed;
        t->v.resolve_status = VIRTUAL_NEVER;
        virtual_run(&t->v);
        first_seen[t->v.host[0] - 'a'] = true;
        for (int i = 0; i < 3; i++) {
            assert_in_range(t->v.host[0], 'a', 'c');
            assert_int_equal(t->v.port, t->v.host[0] - 'a' + 1); /* host and port stay together */
            assert_false(seen[t->v.host[0] - 'a']);
            seen[t->v.host[0] - 'a'] = true;
            virtual_advance(&t->v, 10000); /* resolve_timeout */
        }
        assert_journal(t, "open_error ETIMEDOUT; connection free");
        client_end(t);
    }
    assert_true(first_seen[0] && first_seen[1] && first_seen[2]);
}

static void each_parameters_have_their_own_rules(void **state) {
    const lago_parameters_t two[] = {
        { .host = "a", .virtual_host = "one", .connection_attempts = 2, .retry_delay_ms = 500 },
        { .host = "b", .virtual_host = "two", .connection_attempts = 9, .credentials = { .username = "u", .password = "p" } },
    };
    lago_connection_options_t options;
    (void)state;
    client_init(t);
    options = client_options(t);
    options.parameters = two;
    options.parameters_count = 2;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    refuse_all(REFUSED);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.resolve, 2);
    virtual_advance(&t->v, 500); /* rounds and pauses are those of the first */
    assert_int_equal(t->v.counts.resolve, 4);
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);

    client_init(t);
    options = client_options(t);
    options.parameters = two;
    options.parameters_count = 2;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    t->v.resolve_status = NO_NAME;
    virtual_advance(&t->v, 500);
    assert_journal(t, "open_error ERESOLVE; connection free");
    assert_int_equal(client_attempt_count(t), 4);
    client_end(t);
}

/* ---------------------------------------------------------------- pauses */

static void pauses_double_and_are_random(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .host = "a", .connection_attempts = 6, .retry_delay_ms = 1000, .retry_delay_max_ms = 5000 });
    refuse_all(REFUSED);
    const uint64_t most[] = { 1000, 2000, 4000, 5000, 5000 };
    for (size_t i = 0; i < 5; i++) {
        t->v.random = most[i]; /* the largest remainder: the whole pause */
        if (i == 0) virtual_run(&t->v);
        assert_int_equal(virtual_next_deadline(&t->v), most[i]);
        t->v.random = i < 4 ? most[i + 1] : 0;
        virtual_advance(&t->v, most[i]);
    }
    assert_journal(t, "open_error ECONNECT; connection free");
    client_end(t);

    begin_with(&(lago_parameters_t){ .host = "a", .connection_attempts = 2, .retry_delay_ms = 1000, .retry_delay_max_ms = 5000 });
    refuse_all(REFUSED);
    t->v.random = 0; /* full jitter: it may be nothing at all */
    virtual_run(&t->v);
    assert_true(virtual_next_deadline(&t->v) <= 1);
    client_end(t);
}

/* ---------------------------------------------------------------- addresses side by side (RFC 8305) */

static void the_next_address_starts_beside_a_slow_one(void **state) {
    (void)state;
    begin_with(NULL);
    t->v.address_count = 3;
    t->v.connect_status[0] = t->v.connect_status[1] = VIRTUAL_NEVER;
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.connect, 1);
    virtual_advance(&t->v, 249);
    assert_int_equal(t->v.counts.connect, 1);
    virtual_advance(&t->v, 1);
    assert_int_equal(t->v.counts.connect, 2);
    assert_int_equal(t->v.connecting, 3); /* both on the way */
    virtual_advance(&t->v, 250);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.3:5672");
    assert_int_equal(t->v.counts.hang_up, 0);
    server_handshake(&t->v);
    assert_journal(t, "open");
    assert_int_equal(client_attempt_count(t), 0); /* who lost the race did not fail */
    client_end(t);
}

static void the_slow_one_may_win(void **state) {
    (void)state;
    begin_with(NULL);
    t->v.address_count = 2;
    t->v.connect_status[0] = t->v.connect_status[1] = VIRTUAL_NEVER;
    virtual_advance(&t->v, 300);
    t->v.connect_status[0] = 0;
    virtual_run(&t->v);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.1:5672");
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

static void a_refusal_starts_the_next_at_once(void **state) {
    (void)state;
    begin_with(NULL);
    t->v.address_count = 3;
    t->v.connect_status[0] = VIRTUAL_NEVER;
    t->v.connect_status[1] = REFUSED;
    virtual_advance(&t->v, 250);
    assert_int_equal(virtual_time(&t->v), 250);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.3:5672");
    assert_int_equal(client_attempt_count(t), 1);
    assert_string_equal(attempt(0)->endpoint, "192.0.2.2:5672");
    client_end(t);
}

static void whoever_lost_the_race_is_tried_when_the_winner_fails(void **state) {
    (void)state;
    begin_with(NULL);
    t->v.address_count = 2;
    t->v.connect_status[0] = VIRTUAL_NEVER;
    virtual_advance(&t->v, 250);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.2:5672");
    t->v.connect_status[0] = 0;
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
    assert_string_equal(lago_connection_endpoint(t->conn), "192.0.2.1:5672");
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

static void silence_of_all_is_told_for_each(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .socket_timeout_ms = 3000 });
    t->v.address_count = 2;
    refuse_all(VIRTUAL_NEVER);
    virtual_advance(&t->v, 3249);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_int_equal(client_attempt_count(t), 2);
    assert_string_equal(attempt(0)->endpoint, "192.0.2.1:5672");
    assert_string_equal(attempt(1)->endpoint, "192.0.2.2:5672");
    assert_int_equal(attempt(1)->phase, LAGO_PHASE_CONNECT);
    client_end(t);
}

/* ---------------------------------------------------------------- the story */

static void old_attempts_are_forgotten_but_counted(void **state) {
    uint32_t number = 0;
    (void)state;
    begin_with(&(lago_parameters_t){ .connection_attempts = 40, .retry_delay_ms = LAGO_NO_DELAY });
    refuse_all(REFUSED);
    virtual_advance(&t->v, 100);
    assert_int_equal(client_attempt_count(t), LAGO_ATTEMPTS_MAX);
    assert_non_null(lago_connection_attempt(t->conn, 0, &number));
    assert_int_equal(number, 40 - LAGO_ATTEMPTS_MAX + 1);
    assert_non_null(lago_connection_attempt(t->conn, LAGO_ATTEMPTS_MAX - 1, &number));
    assert_int_equal(number, 40);
    assert_null(lago_connection_attempt(NULL, 0, NULL));
    client_end(t);
}

static void on_phase(lago_connection_t *conn, lago_phase_t phase, uint32_t number, void *data) {
    struct probe *p = data;
    (void)conn;
    note(p->t, "%u %s", (unsigned)number, lago_phase_name(phase));
}

static void begin_watched(const lago_parameters_t *parameters) {
    client_init(t);
    lago_connection_options_t options = client_options(t);
    options.parameters = parameters;
    options.on_phase = on_phase;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
}

static void phases_are_told_in_order(void **state) {
    (void)state;
    begin_watched(NULL);
    t->v.address_count = 2;
    t->v.connect_status[0] = REFUSED;
    server_handshake(&t->v);
    assert_journal(t, "1 host name lookup; 1 connecting; 2 connecting; 2 AMQP handshake; 2 opening the virtual host; open");
    client_end(t);
    begin_watched(&(lago_parameters_t){ .tls = &(lago_tls_options_t){ 0 } });
    server_handshake(&t->v);
    assert_journal(t, "1 host name lookup; 1 connecting; 1 TLS handshake; 1 AMQP handshake; "
                      "1 opening the virtual host; open");
    client_end(t);
}

static void closes(lago_connection_t *conn, lago_phase_t phase, uint32_t number, void *data) {
    on_phase(conn, phase, number, data);
    if (phase == LAGO_PHASE_CONNECT) lago_connection_abort(conn);
}

static void frees(lago_connection_t *conn, lago_phase_t phase, uint32_t number, void *data) {
    struct probe *p = data;
    (void)number;
    if (phase != LAGO_PHASE_CONNECT) return;
    p->t->conn = NULL;
    lago_connection_free(conn);
}

static void a_phase_may_be_the_last(void **state) {
    (void)state;
    client_init(t);
    lago_connection_options_t options = client_options(t);
    options.on_phase = closes;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    virtual_run(&t->v);
    assert_journal(t, "1 host name lookup; 1 connecting; open_error ECLOSED; connection free");
    client_end(t);
    client_init(t);
    options = client_options(t);
    options.on_phase = frees;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    virtual_run(&t->v);
    assert_journal(t, "connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- TLS */

static const lago_tls_options_t verified = { 0 };

static void tls_comes_before_amqp(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .host = "mq.example", .tls = &verified });
    t->v.secure_status = VIRTUAL_NEVER;
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.trust, 1);
    assert_int_equal(t->v.port, 5671);
    assert_string_equal(t->v.server_name, "mq.example");
    assert_int_equal(t->v.output_size, 0); /* nothing of AMQP before the peer is verified */
    t->v.secure_status = 0;
    virtual_run(&t->v);
    assert_int_equal(t->v.output_size, 8);
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

static void tls_that_fails_sends_nothing(void **state) {
    lago_reason_t failure;
    (void)state;
    reason_init(&failure, LAGO_ECERTIFICATE, LAGO_BY_NETWORK);
    failure.phase = LAGO_PHASE_TLS;
    failure.tls_verify_result = 10;
    reason_detail(&failure, "certificate has expired");
    begin_with(&(lago_parameters_t){ THREE, .tls = &verified });
    t->v.address_count = 2;
    t->v.secure_failure = &failure;
    virtual_run(&t->v);
    assert_journal(t, "open_error ECERTIFICATE; connection free");
    assert_int_equal(t->v.output_size, 0);
    assert_int_equal(t->v.counts.secure, 3); /* each endpoint once: its other address has the same certificate */
    assert_int_equal(lago_connection_reason(t->conn)->tls_verify_result, 10);
    assert_string_equal(lago_connection_reason(t->conn)->endpoint, "192.0.2.1:5672");
    client_end(t);
}

static void a_handshake_that_stalls_ends_in_time(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .stack_timeout_ms = 2000, .tls = &verified });
    t->v.secure_status = VIRTUAL_NEVER;
    virtual_advance(&t->v, 2000);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->phase, LAGO_PHASE_TLS);
    client_end(t);
}

static void a_hang_up_inside_the_handshake_is_a_lost_link(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .tls = &verified });
    t->v.secure_status = VIRTUAL_NEVER;
    virtual_run(&t->v);
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
    assert_journal(t, "open_error ELOST; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->phase, LAGO_PHASE_TLS);
    client_end(t);
}

static void options_that_nobody_can_trust_are_refused_at_once(void **state) {
    (void)state;
    client_init(t);
    lago_connection_options_t options = client_options(t);
    options.parameters = &(lago_parameters_t){ .tls = &verified };
    t->v.trust_result = LAGO_EPARAMETER;
    assert_int_equal(virtual_connect(&t->v, NULL, &options), LAGO_EPARAMETER);
    assert_true(virtual_saw(&t->v, "refused"));
    virtual_deinit(&t->v);
}

static void a_cut_link_is_no_clean_end(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .tls = &verified });
    server_handshake(&t->v);
    virtual_lose(&t->v, LAGO_ETRUNCATED);
    virtual_run(&t->v);
    assert_journal(t, "open; close ETRUNCATED; connection free");
    client_end(t);
    begin_with(&(lago_parameters_t){ .tls = &verified });
    server_handshake(&t->v);
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_run(&t->v);
    virtual_lose(&t->v, LAGO_ETRUNCATED); /* somebody cut it before close-ok */
    virtual_run(&t->v);
    assert_journal(t, "open; close ETRUNCATED; connection free");
    client_end(t);
}

static void skipping_verification_is_warned_of(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ .tls = &(lago_tls_options_t){ .insecure_skip_verification = true } });
    assert_true(virtual_saw(&t->v, "the broker's certificate is not verified*"));
    virtual_run(&t->v);
    client_end(t);
}

/* ---------------------------------------------------------------- proxies */

static void a_proxy_is_asked_first(void **state) {
    (void)state;
    begin_with(
        &(lago_parameters_t){ .host = "mq.example", .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "proxy", .port = 1080 } });
    virtual_run(&t->v);
    assert_string_equal(t->v.host, "proxy");
    assert_int_equal(t->v.port, 1080);
    assert_memory_equal(t->v.output, "\5\1\0", 3);
    virtual_input(&t->v, "\5\0", 2);
    virtual_run(&t->v);
    assert_int_equal(t->v.output_size, 3 + 4 + 1 + 10 + 2);
    assert_memory_equal(t->v.output + 3, "\5\1\0\3\12mq.example\x16\x28", 17);
    virtual_input(&t->v, "\5\0\0\1\1\2\3\4\5\6", 10);
    virtual_run(&t->v);
    assert_memory_equal(t->v.output + 20, "AMQP\0\0\11\1", 8);
    server_handshake(&t->v);
    assert_journal(t, "open");
    client_end(t);
}

static void a_proxy_that_refuses_moves_on(void **state) {
    (void)state;
    begin_with(&(lago_parameters_t){ THREE, .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "proxy", .port = 1080 } });
    for (int i = 0; i < 3; i++) {
        virtual_run(&t->v);
        virtual_input(&t->v, "\5\0", 2);
        virtual_run(&t->v);
        virtual_input(&t->v, "\5\5", 2);
        virtual_run(&t->v);
    }
    assert_journal(t, "open_error EPROXY; connection free");
    assert_non_null(strstr(lago_connection_reason(t->conn)->detail, "refused by the broker's host"));
    assert_int_equal(attempt(2)->phase, LAGO_PHASE_PROXY);
    client_end(t);
}

static void a_proxy_that_hangs_up_or_says_nothing(void **state) {
    const lago_parameters_t p = { .proxy = { .type = LAGO_PROXY_HTTP, .host = "proxy", .port = 8080 } };
    (void)state;
    begin_with(&p);
    virtual_run(&t->v);
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
    assert_journal(t, "open_error ELOST; connection free");
    client_end(t);
    begin_with(&p);
    virtual_advance(&t->v, 15000);
    assert_journal(t, "open_error ETIMEDOUT; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->phase, LAGO_PHASE_PROXY);
    client_end(t);
}

/* ---------------------------------------------------------------- a stream of the caller's */

static void a_stream_is_taken_as_it_is(void **state) {
    (void)state;
    client_init(t);
    lago_connection_options_t options = client_options(t);
    options.socket_fd = 7;
    options.parameters = &(lago_parameters_t){ .connection_attempts = 5 };
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.adopt, 1);
    assert_int_equal(t->v.counts.resolve, 0);
    virtual_lose(&t->v, END_OF_FILE);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.adopt, 1); /* there is no second one */
    assert_journal(t, "open_error ELOST; connection free");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_tried_in_their_order),
        cmocka_unit_test(any_failure_moves_on),
        cmocka_unit_test(rounds_go_over_all_endpoints),
        cmocka_unit_test(shuffled_rounds_reach_every_endpoint_once),
        cmocka_unit_test(each_parameters_have_their_own_rules),
        cmocka_unit_test(pauses_double_and_are_random),
        cmocka_unit_test(the_next_address_starts_beside_a_slow_one),
        cmocka_unit_test(the_slow_one_may_win),
        cmocka_unit_test(a_refusal_starts_the_next_at_once),
        cmocka_unit_test(whoever_lost_the_race_is_tried_when_the_winner_fails),
        cmocka_unit_test(silence_of_all_is_told_for_each),
        cmocka_unit_test(old_attempts_are_forgotten_but_counted),
        cmocka_unit_test(phases_are_told_in_order),
        cmocka_unit_test(a_phase_may_be_the_last),
        cmocka_unit_test(tls_comes_before_amqp),
        cmocka_unit_test(tls_that_fails_sends_nothing),
        cmocka_unit_test(a_handshake_that_stalls_ends_in_time),
        cmocka_unit_test(a_hang_up_inside_the_handshake_is_a_lost_link),
        cmocka_unit_test(options_that_nobody_can_trust_are_refused_at_once),
        cmocka_unit_test(a_cut_link_is_no_clean_end),
        cmocka_unit_test(skipping_verification_is_warned_of),
        cmocka_unit_test(a_proxy_is_asked_first),
        cmocka_unit_test(a_proxy_that_refuses_moves_on),
        cmocka_unit_test(a_proxy_that_hangs_up_or_says_nothing),
        cmocka_unit_test(a_stream_is_taken_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
