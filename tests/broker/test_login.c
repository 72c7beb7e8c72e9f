/*
 * Logging in to a real broker: by lago's mechanisms, by one with a challenge (RabbitMQ's RABBIT-CR-DEMO), with credentials that
 * the application provides, and by a client certificate.
 */
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
    f->parameters->credentials.mechanisms = "AMQPLAIN";
    connect_now(f);
    expect_events(f, "open");
}

/* ---------------------------------------------------------------- credentials by callback */

/* What the application provides; without a password it refuses. */
struct provider {
    struct fixture *f;
    lago_login_t login, next; /* the first answer, and those to refreshes */
    bool later;
    uint64_t ticket;
};

static void provide(struct provider *p, const lago_login_t *login) {
    int rc = login->password ? lago_login_provide(p->f->conn, p->ticket, login)
                             : lago_login_refuse(p->f->conn, p->ticket, "nothing at hand");
    assert_int_equal(rc, 0);
}

static void provide_later(lago_connection_t *conn, int status, void *data) {
    struct provider *p = data;
    (void)conn;
    assert_int_equal(status, 0);
    provide(p, &p->login);
}

static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    struct provider *p = data;
    p->ticket = request->ticket;
    record(p->f, "%s %s", request->refresh ? "refresh" : "asked", request->mechanism);
    if (request->refresh)
        provide(p, &p->next);
    else if (p->later)
        assert_int_equal(lago_connection_call_later(conn, 1, provide_later, p, NULL), 0);
    else
        provide(p, &p->login);
}

static void connect_by(struct fixture *f, struct provider *p, const char *mechanisms) {
    p->f = f;
    f->parameters->credentials.password = NULL;
    f->parameters->credentials.mechanisms = mechanisms;
    f->parameters->credentials.on_login = on_login;
    f->parameters->credentials.login_data = p;
    connect_now(f);
}

static void credentials_come_when_they_are_asked_for(void **state) {
    struct provider p = { .login = { .username = "guest", .password = "guest" } };
    connect_by(*state, &p, NULL);
    expect_events(p.f, "asked PLAIN", "open");
}

static void credentials_come_later(void **state) {
    struct provider p = { .login = { .password = "guest" }, .later = true };
    connect_by(*state, &p, "AMQPLAIN PLAIN");
    expect_events(p.f, "asked AMQPLAIN", "open");
}

static void wrong_credentials_are_asked_for_again(void **state) {
    struct provider p = { .login = { .password = "wrong" } };
    struct fixture *f = *state;
    char words[512];
    f->parameters->connection_attempts = 2;
    f->parameters->retry_delay_ms = LAGO_NO_DELAY;
    connect_by(f, &p, NULL);
    expect_events(f, "asked PLAIN", "asked PLAIN", "open error 403");
    assert_int_equal(f->reason.code, LAGO_EAUTH);
    lago_reason_format(&f->reason, words, sizeof words);
    assert_non_null(strstr(words, "login refused for what on_login provided"));
}

static void without_credentials_nothing_is_sent(void **state) {
    struct provider p = { .login = { .password = NULL } };
    connect_by(*state, &p, NULL);
    expect_events(p.f, "asked PLAIN", "open error EAUTH");
    assert_int_equal(p.f->reason.origin, LAGO_BY_CLIENT);
    assert_string_equal(p.f->reason.detail, "nothing at hand");
}

/* RabbitMQ's own users have nothing to expire, but update-secret is taken for them, too (3.10 to 4.3). */
static void a_secret_that_expires_is_replaced(void **state) {
    struct provider p = { .login = { .password = "guest", .expires_in_s = 1 }, .next = { .password = "guest" } };
    connect_by(*state, &p, NULL);
    expect_events(p.f, "asked PLAIN", "open", "refresh PLAIN");
    p.f->ch = open_channel(p.f);
    sync_channel(p.f); /* update-secret-ok came before it */
    assert_false(p.f->closed);
    assert_int_equal(p.f->log_count, 0);
}

/* ---------------------------------------------------------------- EXTERNAL (rabbitmq_auth_mechanism_ssl) */

/* The broker's TLS listener instead; by a client certificate, or without one. */
static void use_tls(struct fixture *f, lago_tls_options_t *tls, const char *certificate, char paths[2][512]) {
    lago_parameters_t *parameters;
    if (!getenv("AMQPS_URL") || !getenv("BROKER_TLS")) skip();
    assert_int_equal(lago_parameters_parse(getenv("AMQPS_URL"), &parameters, NULL), 0);
    parameters->connection_name = f->connection_name;
    lago_parameters_free(f->parameters);
    f->parameters = parameters;
    *tls = *parameters->tls;
    parameters->tls = tls;
    if (!certificate) return;
    snprintf(paths[0], 512, "%s/%s.pem", getenv("BROKER_TLS"), certificate);
    snprintf(paths[1], 512, "%s/%s.key", getenv("BROKER_TLS"), certificate);
    tls->certificate_file = paths[0];
    tls->key_file = paths[1];
}

static void the_certificate_logs_in(void **state) {
    struct fixture *f = *state;
    lago_tls_options_t tls;
    char paths[2][512];
    use_tls(f, &tls, "client", paths);
    f->parameters->credentials = (lago_credentials_t){ .username = "nobody", .password = "x", .mechanisms = "EXTERNAL PLAIN" };
    connect_now(f);
    expect_events(f, "open");
}

static void a_certificate_of_nobody_is_refused(void **state) {
    struct fixture *f = *state;
    lago_tls_options_t tls;
    char paths[2][512], words[512];
    use_tls(f, &tls, "stranger", paths);
    f->parameters->credentials = (lago_credentials_t){ .mechanisms = "EXTERNAL" };
    connect_now(f);
    expect_events(f, "open error 403");
    assert_int_equal(f->reason.code, LAGO_EAUTH);
    lago_reason_format(&f->reason, words, sizeof words);
    assert_non_null(strstr(words, "login by EXTERNAL refused"));
    assert_non_null(strstr(words, "names a user of the broker"));
}

/* RabbitMQ offers it over TLS, with a certificate or without, and then refuses. */
static void without_a_certificate_external_is_refused(void **state) {
    struct fixture *f = *state;
    lago_tls_options_t tls;
    char words[512];
    use_tls(f, &tls, NULL, NULL);
    f->parameters->credentials.mechanisms = "EXTERNAL PLAIN";
    connect_now(f);
    expect_events(f, "open error 403");
    lago_reason_format(&f->reason, words, sizeof words);
    assert_non_null(strstr(words, "EXTERNAL takes the user from a TLS client certificate, and here is none"));
}

/* Over plain TCP it does not; what else is named is used. */
static void without_tls_external_is_not_offered(void **state) {
    struct fixture *f = *state;
    char words[512];
    if (f->parameters->tls) skip();
    f->parameters->credentials.mechanisms = "EXTERNAL";
    connect_now(f);
    expect_events(f, "open error EMECHANISM");
    lago_reason_format(&f->reason, words, sizeof words);
    assert_non_null(strstr(words, "EXTERNAL needs TLS with a client certificate"));
    lago_connection_free(f->conn);
    f->parameters->credentials.mechanisms = "EXTERNAL PLAIN";
    connect_now(f);
    expect_events(f, "open");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_challenge_is_answered, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_challenge_is_answered_later, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_answer_is_refused, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(amqplain_logs_in_too, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(credentials_come_when_they_are_asked_for, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(credentials_come_later, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(wrong_credentials_are_asked_for_again, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(without_credentials_nothing_is_sent, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_secret_that_expires_is_replaced, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(the_certificate_logs_in, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(a_certificate_of_nobody_is_refused, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(without_a_certificate_external_is_refused, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(without_tls_external_is_not_offered, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
