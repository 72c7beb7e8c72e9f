/* Logging in to a real broker: by lago's mechanisms, and by one with a challenge (RabbitMQ's RABBIT-CR-DEMO). */
#include "fixture.h"

/* What the application knows, and whether it answers at once or from a timer. */
struct demo {
    struct fixture *f;
    const char *password;
    bool later;
    uint64_t ticket;
    char answer[64];
    char asked[64];
};

static void answer_now(struct demo *demo) {
    lago_bytes_t answer = { demo->answer, strlen(demo->answer) };
    assert_int_equal(lago_login_respond(demo->f->conn, demo->ticket, answer), 0);
}

static void answer_later(lago_connection_t *conn, int status, void *data) {
    (void)conn;
    assert_int_equal(status, 0);
    answer_now(data);
}

/* The name first, then "My password is X". */
static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    struct demo *demo = data;
    demo->ticket = challenge->ticket;
    snprintf(demo->asked, sizeof demo->asked, "%.*s", (int)challenge->asked.size, (const char *)challenge->asked.data);
    if (challenge->round == 0)
        snprintf(demo->answer, sizeof demo->answer, "guest");
    else
        snprintf(demo->answer, sizeof demo->answer, "My password is %s", demo->password);
    if (demo->later)
        assert_int_equal(lago_connection_call_later(conn, 1, answer_later, demo, NULL), 0);
    else
        answer_now(demo);
}

static void connect_by_demo(struct fixture *f, struct demo *demo) {
    demo->f = f;
    lago_mechanism_t own = { "RABBIT-CR-DEMO", on_challenge, demo };
    f->parameters->credentials.own_mechanisms = &own;
    f->parameters->credentials.own_mechanism_count = 1;
    connect_now(f);
    f->parameters->credentials.own_mechanism_count = 0;
}

static void a_challenge_is_answered(void **state) {
    struct demo demo = { .password = "guest" };
    connect_by_demo(*state, &demo);
    expect_events(demo.f, "open");
    assert_string_equal(demo.asked, "Please tell me your password");
}

static void a_challenge_is_answered_later(void **state) {
    struct demo demo = { .password = "guest", .later = true };
    connect_by_demo(*state, &demo);
    expect_events(demo.f, "open");
    assert_string_equal(demo.asked, "Please tell me your password");
}

static void a_wrong_answer_is_refused(void **state) {
    struct demo demo = { .password = "wrong" };
    char words[512];
    connect_by_demo(*state, &demo);
    expect_events(demo.f, "open error 403");
    assert_int_equal(demo.f->reason.code, LAGO_EAUTH);
    lago_reason_format(&demo.f->reason, words, sizeof words);
    assert_non_null(strstr(words, "login by RABBIT-CR-DEMO refused"));
}

static void amqplain_logs_in_too(void **state) {
    struct fixture *f = *state;
    f->parameters->credentials.mechanisms = LAGO_MECHANISM_AMQPLAIN;
    connect_now(f);
    expect_events(f, "open");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_challenge_is_answered, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_challenge_is_answered_later, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_answer_is_refused, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(amqplain_logs_in_too, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
