/* Login mechanisms of the caller's own: rounds of challenges, answered at once, later, or never (1.4.2.1 to 1.4.2.4). */
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

static struct client_test test;
static struct client_test *const t = &test;

/* A mechanism that notes what it was asked, and answers by `answer`. */
struct mine {
    const char *name;
    const char *answer; /* NULL: not now */
    uint64_t ticket;    /* of the last challenge */
};

static int respond(uint64_t ticket, const char *answer) {
    return lago_login_respond(t->conn, ticket, (lago_bytes_t){ answer, strlen(answer) });
}

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    struct mine *mine = data;
    assert_ptr_equal(conn, t->conn);
    note(t, "%s %u <%.*s>", mine->name, challenge->round, (int)challenge->asked.size, (const char *)challenge->asked.data);
    mine->ticket = challenge->ticket;
    if (mine->answer) assert_int_equal(respond(challenge->ticket, mine->answer), 0);
}

/* Up to connection.start, by a login that may use these two. */
static void start_with(struct mine *first, struct mine *second, const char *others, const char *offered) {
    char line[256];
    lago_mechanism_t own[2] = { { first->name, on_challenge, first }, { second ? second->name : "-", on_challenge, second } };
    lago_parameters_t parameters = { .credentials = { .username = "user",
                                                      .password = "very-secret",
                                                      .mechanisms = others,
                                                      .own_mechanisms = own,
                                                      .own_mechanism_count = second ? 2 : 1 } };
    client_init(t);
    client_connect_with(t, &parameters);
    memset(own, 0, sizeof(own)); /* copied, names too */
    virtual_run(&t->v);
    (void)snprintf(line, sizeof(line), "0 connection.start version_minor=9 mechanisms=\"%s\" locales=\"en_US\"", offered);
    server_send(&t->v, line);
}

static void secure(const char *challenge) {
    char line[128];
    (void)snprintf(line, sizeof(line), "0 connection.secure challenge=\"%s\"", challenge);
    server_send(&t->v, line);
}

static void tune_and_open(void) {
    server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60\n");
    server_send(&t->v, "0 connection.open-ok\n");
}

/* The mechanism and response of what was written as start-ok, or the response of the n-th secure-ok after it. */
static void assert_answer(size_t n, const char *mechanism, const char *response) {
    struct frame frame;
    union method_args args;
    const struct method_info *info = NULL;
    size_t need = 0, at = PROTOCOL_HEADER_SIZE;
    for (size_t i = 0; i <= n; i++, at += need)
        assert_int_equal(frame_decode(t->v.output + at, t->v.output_size - at, SIZE_MAX, &frame, &need), FRAME_COMPLETE);
    assert_int_equal(method_read(frame.payload, frame.size, &info, &args), 0);
    assert_int_equal(info->id, n ? METHOD_CONNECTION_SECURE_OK : METHOD_CONNECTION_START_OK);
    lago_bytes_t said = n ? args.connection_secure_ok.response : args.connection_start_ok.response;
    if (response) {
        assert_int_equal(said.size, strlen(response));
        assert_memory_equal(said.data, response, said.size);
    }
    if (n) return;
    assert_int_equal(args.connection_start_ok.mechanism.size, strlen(mechanism));
    assert_memory_equal(args.connection_start_ok.mechanism.data, mechanism, strlen(mechanism));
}

/* ---------------------------------------------------------------- which one */

static void the_first_one_that_is_offered_is_used(void **state) {
    struct mine a = { "SCRAM", "a", 0 }, b = { "OTHER", "b", 0 };
    (void)state;
    start_with(&a, &b, NULL, "PLAIN OTHER SCRAM");
    assert_journal(t, "SCRAM 0 <>");
    assert_answer(0, "SCRAM", "a");
    tune_and_open();
    assert_journal(t, "open");
    client_end(t);
    start_with(&a, &b, NULL, "PLAIN OTHER");
    assert_answer(0, "OTHER", "b");
    client_end(t);
}

/* Nobody's password goes out by PLAIN because a broker, or who says that he is one, offers nothing else. */
static void lagos_own_are_used_only_when_asked_for(void **state) {
    struct mine a = { "SCRAM", "a", 0 };
    char words[512];
    (void)state;
    start_with(&a, NULL, NULL, "PLAIN AMQPLAIN");
    assert_journal(t, "open_error EMECHANISM; connection free");
    lago_reason_format(lago_connection_reason(t->conn), words, sizeof(words));
    assert_non_null(strstr(words, "this login may use SCRAM"));
    assert_int_equal(t->v.output_size, PROTOCOL_HEADER_SIZE);
    client_end(t);
    start_with(&a, NULL, "PLAIN", "PLAIN AMQPLAIN");
    assert_answer(0, "PLAIN", NULL);
    client_end(t);
}

/* ---------------------------------------------------------------- rounds */

static void a_challenge_is_answered(void **state) {
    struct mine a = { "CR", "user", 0 };
    (void)state;
    start_with(&a, NULL, NULL, "CR");
    assert_journal(t, "CR 0 <>");
    a.answer = "My password is x";
    secure("Please tell me your password");
    assert_journal(t, "CR 1 <Please tell me your password>");
    assert_answer(0, "CR", "user");
    assert_answer(1, NULL, "My password is x");
    tune_and_open();
    assert_journal(t, "open");
    client_end(t);
}

static void eight_rounds_and_no_more(void **state) {
    struct mine a = { "CR", "x", 0 };
    (void)state;
    start_with(&a, NULL, NULL, "CR");
    for (int i = 0; i < LAGO_LOGIN_ROUNDS_MAX; i++) secure("?");
    assert_journal(t, "CR 0 <>; CR 1 <?>; CR 2 <?>; CR 3 <?>; CR 4 <?>; CR 5 <?>; CR 6 <?>; CR 7 <?>; CR 8 <?>");
    assert_answer(8, NULL, "x");
    secure("?");
    assert_journal(t, "open_error EMECHANISM; connection free");
    client_end(t);
}

static void an_answer_may_come_later(void **state) {
    struct mine a = { "CR", NULL, 0 };
    (void)state;
    start_with(&a, NULL, NULL, "CR");
    assert_int_equal(t->v.output_size, PROTOCOL_HEADER_SIZE);
    virtual_advance(&t->v, 1000);
    assert_int_equal(respond(a.ticket + 1, "x"), LAGO_ESTALE);
    assert_int_equal(respond(0, "x"), LAGO_ESTALE);
    assert_int_equal(respond(a.ticket, "user"), 0);
    assert_int_equal(respond(a.ticket, "user"), LAGO_ESTALE);
    virtual_run(&t->v);
    assert_answer(0, "CR", "user");
    uint64_t first = a.ticket;
    secure("?");
    assert_int_equal(respond(first, "x"), LAGO_ESTALE);
    assert_int_equal(respond(a.ticket, ""), 0);
    virtual_run(&t->v);
    assert_answer(1, NULL, "");
    tune_and_open();
    assert_int_equal(respond(a.ticket, "x"), LAGO_ESTALE);
    assert_journal(t, "CR 0 <>; CR 1 <?>; open");
    client_end(t);
}

static void an_answer_that_never_comes_is_told(void **state) {
    struct mine a = { "CR", NULL, 0 };
    char words[512];
    (void)state;
    start_with(&a, NULL, NULL, "CR");
    virtual_advance(&t->v, 15000);
    assert_journal(t, "CR 0 <>; open_error ETIMEDOUT; connection free");
    lago_reason_format(lago_connection_reason(t->conn), words, sizeof(words));
    assert_non_null(strstr(words, "has not answered on_challenge"));
    assert_int_equal(respond(a.ticket, "x"), LAGO_ESTALE);
    client_end(t);
}

static void too_much_may_be_answered_again(void **state) {
    static char much[5000];
    struct mine a = { "CR", NULL, 0 };
    (void)state;
    memset(much, 'x', sizeof(much) - 1);
    start_with(&a, NULL, NULL, "CR");
    assert_int_equal(respond(a.ticket, much), LAGO_ETOOBIG);
    assert_int_equal(lago_login_respond(t->conn, a.ticket, (lago_bytes_t){ NULL, 1 }), LAGO_EINVAL);
    assert_int_equal(lago_login_respond(NULL, a.ticket, (lago_bytes_t){ "", 0 }), LAGO_EINVAL);
    assert_int_equal(respond(a.ticket, "less"), 0);
    virtual_run(&t->v);
    assert_answer(0, "CR", "less");
    client_end(t);
}

/* ---------------------------------------------------------------- given up, refused */

static void the_application_gives_up(void **state) {
    struct mine a = { "CR", NULL, 0 };
    (void)state;
    start_with(&a, NULL, NULL, "CR");
    assert_int_equal(lago_login_refuse(NULL, a.ticket, NULL), LAGO_EINVAL);
    assert_int_equal(lago_login_refuse(t->conn, a.ticket + 1, NULL), LAGO_ESTALE);
    assert_int_equal(lago_login_refuse(t->conn, a.ticket, "no token at hand"), 0);
    assert_int_equal(lago_login_refuse(t->conn, a.ticket, "no token at hand"), LAGO_ESTALE);
    virtual_run(&t->v);
    assert_journal(t, "CR 0 <>; open_error EAUTH; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->origin, LAGO_BY_CLIENT);
    assert_string_equal(lago_connection_reason(t->conn)->detail, "no token at hand");
    client_end(t);
}

static void a_refusal_names_the_mechanism(void **state) {
    struct mine a = { "CR", "x", 0 };
    char words[512];
    (void)state;
    start_with(&a, NULL, NULL, "CR");
    server_send(&t->v, "0 connection.close reply_code=403 reply_text=\"ACCESS_REFUSED\" class_id=0 method_id=0");
    assert_journal(t, "CR 0 <>; open_error EAUTH; connection free");
    lago_reason_format(lago_connection_reason(t->conn), words, sizeof(words));
    assert_non_null(strstr(words, "login by CR refused"));
    client_end(t);
}

static void answers_are_in_no_line_of_the_log(void **state) {
    struct mine a = { "CR", "very-secret", 0 };
    (void)state;
    start_with(&a, NULL, NULL, "CR");
    secure("?");
    assert_true(virtual_saw(&t->v, "C> 0 connection.start-ok*"));
    assert_true(virtual_saw(&t->v, "C> 0 connection.secure-ok*"));
    assert_null(strstr(t->v.log, "very-secret"));
    client_end(t);
}

/* A callback like any other. */
static void frees_the_connection(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    (void)challenge;
    note(t, "asked");
    lago_connection_free(conn);
    t->conn = NULL;
    (void)data;
}

static void aborts_the_connection(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    (void)data;
    assert_int_equal(lago_connection_abort(conn), 0);
    assert_int_equal(lago_login_respond(conn, challenge->ticket, (lago_bytes_t){ "x", 1 }), LAGO_ESTALE);
}

static void a_challenge_may_end_the_connection(void **state) {
    static const lago_challenge_cb ways[] = { frees_the_connection, aborts_the_connection };
    static const char *const journals[] = { "asked; connection free", "open_error ECLOSED; connection free" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        lago_mechanism_t own = { "CR", ways[i], NULL };
        client_init(t);
        client_connect_with(t, &(lago_parameters_t){ .credentials = { .own_mechanisms = &own, .own_mechanism_count = 1 } });
        virtual_run(&t->v);
        server_send(&t->v, "0 connection.start version_minor=9 mechanisms=\"CR\" locales=\"en_US\"");
        assert_journal(t, journals[i]);
        client_end(t);
    }
}

/* ---------------------------------------------------------------- parameters */

static void bad_mechanisms_are_refused(void **state) {
    static char long_name[257];
    (void)state;
    memset(long_name, 'x', 256);
    const lago_mechanism_t bad[] = {
        { NULL, on_challenge, NULL },      { "", on_challenge, NULL }, { "A B", on_challenge, NULL },
        { long_name, on_challenge, NULL }, { "CR", NULL, NULL },
    };
    lago_parameters_t parameters = { .credentials = { .own_mechanism_count = 1 } };
    lago_connection_options_t options = { .parameters = &parameters };
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
        parameters.credentials.own_mechanisms = i < sizeof(bad) / sizeof(bad[0]) ? &bad[i] : NULL;
        client_init(t);
        assert_int_equal(virtual_connect(&t->v, NULL, &options), LAGO_EPARAMETER);
        assert_null(t->v.conn);
        client_end(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_one_that_is_offered_is_used),
        cmocka_unit_test(lagos_own_are_used_only_when_asked_for),
        cmocka_unit_test(a_challenge_is_answered),
        cmocka_unit_test(eight_rounds_and_no_more),
        cmocka_unit_test(an_answer_may_come_later),
        cmocka_unit_test(an_answer_that_never_comes_is_told),
        cmocka_unit_test(too_much_may_be_answered_again),
        cmocka_unit_test(the_application_gives_up),
        cmocka_unit_test(a_refusal_names_the_mechanism),
        cmocka_unit_test(answers_are_in_no_line_of_the_log),
        cmocka_unit_test(a_challenge_may_end_the_connection),
        cmocka_unit_test(bad_mechanisms_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
