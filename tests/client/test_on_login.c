/* Credentials by callback, and tokens that expire: what is asked when, what is sent, and what is refused. */
#include "client_test.h"
#include "frame.h"
#include "method.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TUNE "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=0"

static struct client_test test;
static struct client_test *const t = &test;

/* What the application answers: `login`, nothing (its password is NULL), or a refusal. */
static struct application {
    lago_login_t login;
    bool refuses;
    uint64_t ticket; /* of the last question */
} application;

static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    struct application *a = data;
    assert_ptr_equal(conn, t->conn);
    assert_true(request->ticket != 0 && request->ticket != a->ticket);
    a->ticket = request->ticket;
    note(t, "%s by %s", request->refresh ? "refresh" : "asked", request->mechanism);
    if (a->login.password) assert_int_equal(lago_login_provide(conn, request->ticket, &a->login), 0);
    if (a->refuses) assert_int_equal(lago_login_refuse(conn, request->ticket, "why not"), 0);
}

static int provide(lago_login_t login) { return lago_login_provide(t->conn, application.ticket, &login); }

/* Up to connection.start. */
static void start_with(lago_parameters_t *parameters, const char *offered) {
    char line[128];
    if (!parameters->credentials.on_login) parameters->credentials.on_login = on_login;
    parameters->credentials.login_data = &application;
    client_init(t);
    client_connect_with(t, parameters);
    virtual_run(&t->v);
    (void)snprintf(line, sizeof(line), "0 connection.start version_minor=9 mechanisms=\"%s\" locales=\"en_US\"", offered);
    server_send(&t->v, line);
}

static void start(lago_login_t login, const char *offered) {
    application = (struct application){ .login = login };
    start_with(&(lago_parameters_t){ .credentials = { .username = "user" } }, offered);
}

static void open_with(lago_login_t login) {
    start(login, "PLAIN");
    server_send(&t->v, TUNE);
    server_send(&t->v, "0 connection.open-ok");
    assert_journal(t, "asked by PLAIN; open");
}

/* With a login for ten seconds: two before its end the application is asked for the next one, which it has not yet. */
static void open_asked_again(void) {
    open_with((lago_login_t){ .password = "first", .expires_in_s = 10 });
    application.login.password = NULL;
    virtual_advance(&t->v, 8000);
    assert_journal(t, "refresh by PLAIN");
}

/* The n-th method that the client has written (0: start-ok). */
static const struct method_info *written(size_t n, union method_args *args) {
    struct frame frame;
    const struct method_info *info = NULL;
    size_t need = 0, at = PROTOCOL_HEADER_SIZE;
    for (size_t i = 0; i <= n; i++, at += need)
        assert_int_equal(frame_decode(t->v.output + at, t->v.output_size - at, SIZE_MAX, &frame, &need), FRAME_COMPLETE);
    assert_int_equal(method_read(frame.payload, frame.size, &info, args), 0);
    return info;
}

static void assert_start_ok(const char *mechanism, const char *response, size_t size) {
    union method_args args;
    assert_int_equal(written(0, &args)->id, METHOD_CONNECTION_START_OK);
    assert_int_equal(args.connection_start_ok.mechanism.size, strlen(mechanism));
    assert_memory_equal(args.connection_start_ok.mechanism.data, mechanism, strlen(mechanism));
    assert_int_equal(args.connection_start_ok.response.size, size);
    assert_memory_equal(args.connection_start_ok.response.data, response, size);
}

/* The n-th update-secret of an open connection (0: the first). */
static void assert_update_secret(size_t n, const char *secret) {
    union method_args args;
    assert_int_equal(written(3 + n, &args)->id, METHOD_CONNECTION_UPDATE_SECRET);
    assert_int_equal(args.connection_update_secret.new_secret.size, strlen(secret));
    assert_memory_equal(args.connection_update_secret.new_secret.data, secret, strlen(secret));
}

/* ---------------------------------------------------------------- what is sent */

static void by_plain(void **state) {
    (void)state;
    start((lago_login_t){ .password = "secret" }, "PLAIN AMQPLAIN");
    assert_journal(t, "asked by PLAIN");
    assert_start_ok("PLAIN", "\0user\0secret", 12);
    client_end(t);
    start((lago_login_t){ .username = "", .password = "" }, "PLAIN"); /* a token needs no name, says RabbitMQ's OAuth 2 backend */
    assert_start_ok("PLAIN", "\0\0", 2);
    client_end(t);
}

static void by_amqplain(void **state) {
    static const char expected[] = "\5LOGINS\0\0\0\5other\10PASSWORDS\0\0\0\6secret";
    (void)state;
    start((lago_login_t){ .username = "other", .password = "secret" }, "AMQPLAIN");
    assert_journal(t, "asked by AMQPLAIN");
    assert_start_ok("AMQPLAIN", expected, sizeof(expected) - 1);
    client_end(t);
}

/* A mechanism that wants no password asks for none. */
static void by_external_nobody_is_asked(void **state) {
    (void)state;
    application = (struct application){ .login = { .password = "secret" } };
    start_with(&(lago_parameters_t){ .credentials = { .mechanisms = "EXTERNAL PLAIN" } }, "PLAIN EXTERNAL");
    assert_journal(t, "");
    assert_start_ok("EXTERNAL", "", 0);
    client_end(t);
}

/* ---------------------------------------------------------------- answers */

static void an_answer_may_come_later(void **state) {
    (void)state;
    start((lago_login_t){ .password = NULL }, "PLAIN");
    virtual_advance(&t->v, 5000);
    assert_int_equal(t->v.output_size, PROTOCOL_HEADER_SIZE);
    assert_int_equal(provide((lago_login_t){ .password = "secret" }), 0);
    assert_int_equal(provide((lago_login_t){ .password = "secret" }), LAGO_ESTALE);
    assert_int_equal(lago_login_refuse(t->conn, application.ticket, NULL), LAGO_ESTALE);
    virtual_run(&t->v);
    assert_start_ok("PLAIN", "\0user\0secret", 12);
    client_end(t);
}

static void bad_answers_leave_the_question_open(void **state) {
    static char name[257], much[5000];
    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    memset(much, 'x', sizeof(much) - 1);
    start((lago_login_t){ .password = NULL }, "PLAIN");
    uint64_t ticket = application.ticket;
    lago_login_t good = { .password = "secret" };
    assert_int_equal(lago_login_provide(NULL, ticket, &good), LAGO_EINVAL);
    assert_int_equal(lago_login_provide(t->conn, ticket, NULL), LAGO_EINVAL);
    assert_int_equal(provide((lago_login_t){ .username = "user" }), LAGO_EINVAL);
    assert_int_equal(provide((lago_login_t){ .password = "secret", .reserved = { 0, 0, 0, 1 } }), LAGO_EINVAL);
    assert_int_equal(lago_login_provide(t->conn, 0, &good), LAGO_ESTALE);
    assert_int_equal(lago_login_provide(t->conn, ticket + 1, &good), LAGO_ESTALE);
    assert_int_equal(lago_login_respond(t->conn, ticket, (lago_bytes_t){ "x", 1 }), LAGO_ESTALE); /* no challenge */
    assert_int_equal(provide((lago_login_t){ .username = name, .password = "secret" }), LAGO_ETOOLONG);
    assert_int_equal(provide((lago_login_t){ .password = much, .expires_in_s = 1 }), LAGO_ETOOBIG);
    virtual_run(&t->v);
    assert_int_equal(t->v.output_size, PROTOCOL_HEADER_SIZE);
    name[255] = '\0';
    assert_int_equal(provide((lago_login_t){ .username = name, .password = "secret" }), 0);
    assert_journal(t, "asked by PLAIN");
    client_end(t);
}

/* The broker has said goodbye, and its answer waits to be written: until that ends, nothing that is answered is of use. */
static void an_answer_behind_the_brokers_goodbye(void **state) {
    (void)state;
    start((lago_login_t){ .password = NULL }, "PLAIN");
    virtual_take(&t->v, 0);
    server_send(&t->v, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    assert_journal(t, "asked by PLAIN");
    assert_int_equal(provide((lago_login_t){ .password = "secret" }), LAGO_ESTALE);
    assert_int_equal(lago_login_refuse(t->conn, application.ticket, NULL), LAGO_ESTALE);
    client_end(t);
    open_with((lago_login_t){ .password = "first", .expires_in_s = 100 });
    application.login.password = NULL;
    virtual_advance(&t->v, 80000);
    virtual_take(&t->v, 0);
    server_send(&t->v, "0 connection.close reply_code=320 reply_text=\"CONNECTION_FORCED\"");
    assert_journal(t, "refresh by PLAIN");
    assert_int_equal(provide((lago_login_t){ .password = "second" }), LAGO_ESTALE);
    client_end(t);
}

static void a_refusal_without_words(void **state) {
    (void)state;
    start((lago_login_t){ .password = NULL }, "PLAIN");
    assert_int_equal(lago_login_refuse(t->conn, application.ticket, NULL), 0);
    virtual_run(&t->v);
    assert_journal(t, "asked by PLAIN; open_error EAUTH; connection free");
    assert_string_equal(lago_connection_reason(t->conn)->detail, "the application gave the login up");
    client_end(t);
}

/* However many timers there are: all of an answer, or nothing. */
static void an_answer_without_memory_may_be_given_again(void **state) {
    (void)state;
    for (unsigned timers = 0; timers < 20; timers++) {
        for (size_t n = 1, hit = 1; hit; n++) {
            start((lago_login_t){ .password = NULL }, "PLAIN");
            for (unsigned i = 0; i < timers; i++)
                assert_int_equal(lago_connection_call_later(t->conn, 1000000, noted_timer, probe(t, "timer"), NULL), 0);
            fail_alloc_at(&t->v.alloc, n, false);
            int rc = provide((lago_login_t){ .password = "secret", .expires_in_s = 100 });
            hit = t->v.alloc.failures;
            fail_alloc_at(&t->v.alloc, 0, false);
            assert_int_equal(rc, hit ? LAGO_ENOMEM : 0);
            if (hit) assert_int_equal(provide((lago_login_t){ .password = "secret", .expires_in_s = 100 }), 0);
            virtual_run(&t->v);
            assert_start_ok("PLAIN", "\0user\0secret", 12);
            client_end(t);
        }
    }
}

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    lago_login_t login = { .password = "secret" };
    (void)data;
    assert_int_equal(lago_login_provide(conn, challenge->ticket, &login), LAGO_ESTALE);
    note(t, "challenged");
}

static void a_challenge_is_not_answered_by_provide(void **state) {
    lago_mechanism_t own = { "CR", on_challenge, NULL };
    (void)state;
    start_with(&(lago_parameters_t){ .credentials = { .own_mechanisms = &own, .own_mechanism_count = 1 } }, "CR");
    assert_journal(t, "challenged");
    client_end(t);
}

static void each_attempt_asks_anew(void **state) {
    (void)state;
    application = (struct application){ .login = { .password = NULL } };
    lago_parameters_t parameters = { .connection_attempts = 3, .retry_delay_ms = 100 };
    start_with(&parameters, "PLAIN");
    uint64_t first = application.ticket;
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_int_equal(lago_login_provide(t->conn, first, &(lago_login_t){ .password = "x" }), LAGO_ESTALE);
    virtual_advance(&t->v, 100);
    server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\"");
    assert_int_equal(lago_login_provide(t->conn, first, &(lago_login_t){ .password = "x" }), LAGO_ESTALE);
    application.refuses = true;
    assert_int_equal(lago_login_refuse(t->conn, application.ticket, "not yet"), 0);
    virtual_run(&t->v);
    virtual_advance(&t->v, 100);
    server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\"");
    assert_journal(t, "asked by PLAIN; asked by PLAIN; asked by PLAIN; open_error EAUTH; connection free");
    assert_string_equal(lago_connection_reason(t->conn)->detail, "why not");
    client_end(t);
}

/* ---------------------------------------------------------------- words */

static const char *words(void) {
    static char line[512];
    lago_reason_format(lago_connection_reason(t->conn), line, sizeof(line));
    return line;
}

static void silence_of_the_application_is_named(void **state) {
    (void)state;
    start((lago_login_t){ .password = NULL }, "PLAIN");
    virtual_advance(&t->v, 15000);
    assert_journal(t, "asked by PLAIN; open_error ETIMEDOUT; connection free");
    assert_non_null(strstr(words(), "the application has not answered on_login"));
    client_end(t);
    start((lago_login_t){ .password = NULL }, "PLAIN"); /* RabbitMQ's handshake_timeout comes before that */
    virtual_lose(&t->v, -4095);
    virtual_run(&t->v);
    assert_journal(t, "asked by PLAIN; open_error ELOST; connection free");
    assert_non_null(strstr(words(), "the application has not answered on_login"));
    client_end(t);
}

static void the_secret_is_in_no_words(void **state) {
    static const char *const ends[] = {
        "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"",
        "0 connection.secure challenge=\"more?\"",
        "0 connection.tune channel_max=2047 frame_max=1 heartbeat=0",
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char page[4096];
        start((lago_login_t){ .username = "user", .password = "very-secret", .expires_in_s = 60 }, "PLAIN");
        assert_true(virtual_saw(&t->v, "C> 0 connection.start-ok*"));
        (void)lago_connection_dump(t->conn, page, sizeof(page));
        assert_null(strstr(page, "very-secret"));
        server_send(&t->v, ends[i]);
        assert_null(strstr(words(), "very-secret"));
        assert_null(strstr(t->v.log, "very-secret"));
        client_end(t);
    }
}

static bool warned(const char *endpoint, lago_parameters_t *parameters) {
    application = (struct application){ .login = { .password = "secret" } };
    parameters->credentials.on_login = on_login;
    parameters->credentials.login_data = &application;
    parameters->connection_attempts = 2;
    client_init(t);
    t->v.endpoint[0] = endpoint;
    client_connect_with(t, parameters);
    for (int i = 0; i < 2; i++) {
        virtual_run(&t->v);
        server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"EXTERNAL PLAIN\"");
        virtual_lose(&t->v, -104);
        virtual_advance(&t->v, 2000);
    }
    const char *line = strstr(t->v.log, "password sent in clear text to ");
    if (line) assert_null(strstr(line + 1, "password sent in clear text")); /* once */
    client_end(t);
    return line != NULL;
}

static void clear_text_to_other_machines_is_a_warning(void **state) {
    static const char *const here[] = { "127.0.0.1:5672", "127.8.8.8:1", "[::1]:5672", "[::ffff:127.0.0.1]:5672",
                                        "/run/rabbit.sock" };
    static const char *const there[] = { "192.0.2.1:5672", "[2001:db8::1]:5672", "[::ffff:10.0.0.1]:5672", "128.0.0.1:127" };
    (void)state;
    for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) assert_false(warned(here[i], &(lago_parameters_t){ 0 }));
    for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++) assert_true(warned(there[i], &(lago_parameters_t){ 0 }));
    assert_false(warned(there[0], &(lago_parameters_t){ .credentials = { .mechanisms = "EXTERNAL" } }));
}

/* A stream that is given leads where it leads: the proxy of the parameters is not on its way. */
static void a_stream_that_is_given_goes_through_no_proxy(void **state) {
    static const char *const ends[] = { "127.0.0.1:5672", "192.0.2.1:5672" };
    (void)state;
    for (int there = 0; there < 2; there++) {
        const lago_parameters_t parameters = { .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "proxy" } };
        client_init(t);
        t->v.endpoint[0] = ends[there];
        lago_connection_options_t options = client_options(t);
        options.parameters = &parameters;
        options.socket_fd = 5;
        assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
        t->conn = t->v.conn;
        virtual_run(&t->v);
        server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\"");
        assert_true(virtual_saw(&t->v, "C> 0 connection.start-ok*"));
        assert_null(strstr(t->v.log, "through the proxy"));
        assert_int_equal(strstr(t->v.log, "password sent in clear text to 192.0.2.1") != NULL, there);
        client_end(t);
    }
}

static void off_is_off(void **state) {
    (void)state;
    application = (struct application){ .login = { .password = "secret" } };
    client_init(t);
    t->v.log_level = LAGO_LOG_OFF;
    client_connect_with(t, &(lago_parameters_t){ .credentials = { .on_login = on_login, .login_data = &application } });
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"PLAIN\"");
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_int_equal(t->v.log_size, 0);
    client_end(t);
}

/* ---------------------------------------------------------------- refreshes */

static void a_token_is_replaced_in_time(void **state) {
    (void)state;
    open_with((lago_login_t){ .password = "first", .expires_in_s = 100 });
    application.login = (lago_login_t){ .username = "whoever", .password = "second", .expires_in_s = 1000 };
    virtual_advance(&t->v, 79999);
    assert_journal(t, "");
    virtual_advance(&t->v, 1);
    assert_journal(t, "refresh by PLAIN");
    assert_update_secret(0, "second");
    server_send(&t->v, "0 connection.update-secret-ok");
    application.login = (lago_login_t){ .password = "last" };
    virtual_advance(&t->v, 800000);
    assert_journal(t, "refresh by PLAIN");
    assert_update_secret(1, "last");
    server_send(&t->v, "0 connection.update-secret-ok");
    virtual_advance(&t->v, 10000000);
    assert_journal(t, "");
    assert_null(strstr(t->v.log, "second"));
    client_end(t);
}

/* Deadlines have 32 bits of milliseconds; a lifetime has more. */
static void a_token_for_years(void **state) {
    (void)state;
    application = (struct application){ 0 };
    open_with((lago_login_t){ .password = "first", .expires_in_s = UINT32_MAX });
    application.login.password = NULL;
    virtual_advance(&t->v, UINT32_MAX - 2u);
    assert_journal(t, "");
    virtual_advance(&t->v, UINT64_C(1000) * UINT32_MAX);
    assert_journal(t, "refresh by PLAIN"); /* once */
    assert_true(virtual_saw(&t->v, "the login's credentials have expired; the application has not answered on_login"));
    client_end(t);
}

/* The machine slept over the whole of it. */
static void a_late_loop_asks_all_the_same(void **state) {
    (void)state;
    open_with((lago_login_t){ .password = "first", .expires_in_s = 100 });
    application.login = (lago_login_t){ .password = "second" };
    virtual_oversleep(&t->v, 3600000);
    virtual_run(&t->v);
    assert_journal(t, "refresh by PLAIN");
    assert_update_secret(0, "second");
    client_end(t);
}

static void a_refresh_that_cannot_be_sent_is_still_open(void **state) {
    static char much[140000];
    (void)state;
    memset(much, 'x', sizeof(much) - 1);
    open_asked_again();
    assert_int_equal(provide((lago_login_t){ .password = much, .expires_in_s = 1000 }), LAGO_ETOOBIG);
    fail_alloc_at(&t->v.alloc, 1, true);
    assert_int_equal(provide((lago_login_t){ .password = "second", .expires_in_s = 1000 }), LAGO_ENOMEM);
    fail_alloc_at(&t->v.alloc, 0, false);
    virtual_advance(&t->v, 2000);
    assert_true(virtual_saw(&t->v, "the login's credentials have expired*")); /* the old end still counts */
    assert_int_equal(provide((lago_login_t){ .password = much, .expires_in_s = 1000 }), LAGO_ETOOBIG);
    assert_int_equal(provide((lago_login_t){ .password = "second" }), 0);
    virtual_run(&t->v);
    assert_update_secret(0, "second");
    assert_journal(t, ""); /* it was not asked twice for what it owes */
    client_end(t);
}

/* The same of one that would never expire. */
static void one_for_ever_that_cannot_be_sent_is_still_open(void **state) {
    static char much[140000];
    (void)state;
    memset(much, 'x', sizeof(much) - 1);
    open_asked_again();
    assert_int_equal(provide((lago_login_t){ .password = much }), LAGO_ETOOBIG);
    virtual_advance(&t->v, 2000);
    assert_true(virtual_saw(&t->v, "the login's credentials have expired; the application has not answered on_login"));
    assert_journal(t, "");
    assert_int_equal(provide((lago_login_t){ .password = "second" }), 0);
    virtual_run(&t->v);
    assert_update_secret(0, "second");
    client_end(t);
}

/* The same of a successor, when there is no room for its end. */
static void a_refresh_without_memory_may_be_given_again(void **state) {
    (void)state;
    for (unsigned timers = 0; timers < 20; timers++) {
        open_asked_again();
        virtual_advance(&t->v, 2000);
        assert_true(virtual_saw(&t->v, "the login's credentials have expired*"));
        for (unsigned i = 0; i < timers; i++)
            assert_int_equal(lago_connection_call_later(t->conn, 1000000, noted_timer, probe(t, "timer"), NULL), 0);
        fail_alloc_at(&t->v.alloc, 1, true);
        assert_int_equal(provide((lago_login_t){ .password = "second", .expires_in_s = 100 }), LAGO_ENOMEM);
        fail_alloc_at(&t->v.alloc, 0, false);
        assert_int_equal(provide((lago_login_t){ .password = "second", .expires_in_s = 100 }), 0);
        virtual_run(&t->v);
        assert_update_secret(0, "second");
        server_send(&t->v, "0 connection.update-secret-ok");
        assert_journal(t, "");
        virtual_advance(&t->v, 80000);
        assert_journal(t, "refresh by PLAIN"); /* of the second one's */
        client_end(t);
    }
}

/* What the application says goes into the log as it may stand there. */
static void words_of_a_refusal_are_made_printable(void **state) {
    (void)state;
    open_asked_again();
    assert_int_equal(lago_login_refuse(t->conn, application.ticket, "kein \xc3\xa4\x7f\n"), 0);
    assert_true(virtual_saw(&t->v, "no new credentials: kein ????; those of the login expire in 2 s"));
    client_end(t);
}

static void nothing_is_asked_of_a_connection_that_ends(void **state) {
    (void)state;
    open_with((lago_login_t){ .password = "first", .expires_in_s = 5 });
    assert_int_equal(lago_connection_close(t->conn, NULL), 0);
    virtual_advance(&t->v, 9000);
    assert_journal(t, "");
    client_end(t);
    open_with((lago_login_t){ .password = "first", .expires_in_s = 5 });
    application.login.password = NULL;
    virtual_advance(&t->v, 4000);
    virtual_lose(&t->v, -104);
    assert_int_equal(provide((lago_login_t){ .password = "second" }), 0); /* nobody knows yet */
    virtual_run(&t->v);
    assert_int_equal(provide((lago_login_t){ .password = "second" }), LAGO_ESTALE);
    assert_journal(t, "refresh by PLAIN; close ELOST; connection free");
    client_end(t);
}

/* The connection fails while it is being opened: what was provided for that attempt is forgotten with it. */
static void a_token_of_a_failed_attempt_is_not_refreshed(void **state) {
    (void)state;
    application = (struct application){ .login = { .password = "first", .expires_in_s = 5 } };
    lago_parameters_t parameters = { .connection_attempts = 2, .retry_delay_ms = 60000 };
    start_with(&parameters, "PLAIN");
    server_send(&t->v, "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\"");
    virtual_advance(&t->v, 59000);
    assert_journal(t, "asked by PLAIN");
    assert_false(virtual_saw(&t->v, "the login's credentials*"));
    client_end(t);
}

/* A login that takes longer than the token's life: nothing is asked before the connection is open. */
static void a_token_that_expires_while_the_connection_opens(void **state) {
    (void)state;
    start((lago_login_t){ .password = "first", .expires_in_s = 10 }, "PLAIN");
    virtual_advance(&t->v, 8500);
    assert_journal(t, "asked by PLAIN");
    server_send(&t->v, TUNE);
    server_send(&t->v, "0 connection.open-ok");
    assert_journal(t, "open");
    virtual_advance(&t->v, 1000);
    assert_journal(t, "refresh by PLAIN");
    client_end(t);
}

/* ---------------------------------------------------------------- a callback like any other */

static void on_login_frees(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    (void)request, (void)data;
    note(t, "asked");
    lago_connection_free(conn);
    t->conn = NULL;
}

static void on_login_aborts(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    (void)data;
    assert_int_equal(lago_connection_abort(conn), 0);
    assert_int_equal(lago_login_provide(conn, request->ticket, &(lago_login_t){ .password = "x" }), LAGO_ESTALE);
    assert_int_equal(lago_login_refuse(conn, request->ticket, "x"), LAGO_ESTALE);
}

static void on_login_closes(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    (void)data;
    assert_int_equal(lago_connection_close(conn, NULL), 0);
    assert_int_equal(lago_login_provide(conn, request->ticket, &(lago_login_t){ .password = "x" }), LAGO_ESTALE);
}

static const lago_login_cb ways[] = { on_login_frees, on_login_aborts, on_login_closes };

static void it_may_end_the_connection(void **state) {
    static const char *const journals[] = { "asked; connection free", "open_error ECLOSED; connection free",
                                            "open_error ECLOSED; connection free" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        lago_parameters_t parameters = { .credentials = { .on_login = ways[i] } };
        start_with(&parameters, "PLAIN");
        assert_journal(t, journals[i]);
        client_end(t);
    }
}

static lago_login_cb then;

static void on_login_provides_then(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    lago_login_t login = { .password = "x", .expires_in_s = 10 };
    if (request->refresh)
        then(conn, request, data);
    else
        assert_int_equal(lago_login_provide(conn, request->ticket, &login), 0);
}

static void a_refresh_may_end_the_connection(void **state) {
    static const char *const journals[] = { "open; asked; connection free", "open; close ECLOSED; connection free", "open" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        lago_parameters_t parameters = { .credentials = { .on_login = on_login_provides_then } };
        then = ways[i];
        start_with(&parameters, "PLAIN");
        server_send(&t->v, TUNE);
        server_send(&t->v, "0 connection.open-ok");
        virtual_advance(&t->v, 8000);
        assert_journal(t, journals[i]);
        client_end(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_plain),
        cmocka_unit_test(by_amqplain),
        cmocka_unit_test(by_external_nobody_is_asked),
        cmocka_unit_test(an_answer_may_come_later),
        cmocka_unit_test(bad_answers_leave_the_question_open),
        cmocka_unit_test(an_answer_behind_the_brokers_goodbye),
        cmocka_unit_test(a_refusal_without_words),
        cmocka_unit_test(an_answer_without_memory_may_be_given_again),
        cmocka_unit_test(a_challenge_is_not_answered_by_provide),
        cmocka_unit_test(each_attempt_asks_anew),
        cmocka_unit_test(silence_of_the_application_is_named),
        cmocka_unit_test(the_secret_is_in_no_words),
        cmocka_unit_test(clear_text_to_other_machines_is_a_warning),
        cmocka_unit_test(a_stream_that_is_given_goes_through_no_proxy),
        cmocka_unit_test(off_is_off),
        cmocka_unit_test(a_token_is_replaced_in_time),
        cmocka_unit_test(a_token_for_years),
        cmocka_unit_test(a_late_loop_asks_all_the_same),
        cmocka_unit_test(a_refresh_that_cannot_be_sent_is_still_open),
        cmocka_unit_test(one_for_ever_that_cannot_be_sent_is_still_open),
        cmocka_unit_test(a_refresh_without_memory_may_be_given_again),
        cmocka_unit_test(words_of_a_refusal_are_made_printable),
        cmocka_unit_test(nothing_is_asked_of_a_connection_that_ends),
        cmocka_unit_test(a_token_of_a_failed_attempt_is_not_refreshed),
        cmocka_unit_test(a_token_that_expires_while_the_connection_opens),
        cmocka_unit_test(it_may_end_the_connection),
        cmocka_unit_test(a_refresh_may_end_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
