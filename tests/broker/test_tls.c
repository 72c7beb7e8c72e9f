/*
 * TLS to a real broker: whom lago believes and what it says of those it does not, client certificates, the two kinds of port
 * taken for each other, and the end. Needs the listeners of `broker start -t`; logins by certificate are in test_login.c.
 */
#include "fixture.h"

#define BIG_SIZE (5u * 1024 * 1024) /* many frames, many records */

struct secure {
    struct fixture *f;
    lago_tls_options_t tls; /* those of AMQPS_URL, to be changed */
    char paths[3][512];
};

static int setup_secure(void **state) {
    static struct secure s;
    lago_parameters_t *parameters;
    setup_loop(state);
    s = (struct secure){ .f = *state };
    assert_int_equal(lago_parameters_parse(getenv("AMQPS_URL"), &parameters, NULL), 0);
    parameters->connection_name = s.f->connection_name;
    lago_parameters_free(s.f->parameters);
    s.f->parameters = parameters;
    s.tls = *parameters->tls;
    parameters->tls = &s.tls;
    *state = &s;
    return 0;
}

static int teardown_secure(void **state) {
    struct secure *s = *state;
    void *fixture = s->f;
    return teardown(&fixture);
}

static const char *file_of(struct secure *s, unsigned n, const char *name) {
    snprintf(s->paths[n], sizeof s->paths[n], "%s/%s", getenv("BROKER_TLS"), name);
    return s->paths[n];
}

static void use_certificate(struct secure *s, const char *name) {
    char file[64];
    snprintf(file, sizeof file, "%s.pem", name);
    s->tls.certificate_file = file_of(s, 0, file);
    snprintf(file, sizeof file, "%s.key", name);
    s->tls.key_file = file_of(s, 1, file);
}

static void demand_certificate(struct secure *s) { s->f->parameters->port = (uint16_t)atoi(getenv("AMQPS_CERT_PORT")); }

static void expect_words(const struct secure *s, const char *expected) {
    char words[1024];
    lago_reason_format(&s->f->reason, words, sizeof words);
    if (!strstr(words, expected)) fail_msg("\"%s\" is not in: %s", expected, words);
}

static void expect_refusal(struct secure *s, int code, const char *words) {
    char event[64];
    snprintf(event, sizeof event, "open error %s", lago_error_name(code) + strlen("LAGO_"));
    connect_now(s->f);
    expect_events(s->f, event);
    expect_words(s, words);
    assert_true(s->f->reason.hint[0] != '\0');
}

/* ---------------------------------------------------------------- whom lago believes */

static void a_broker_of_the_ca_is_believed(void **state) {
    struct secure *s = *state;
    connect_now(s->f);
    assert_string_equal(lago_connection_tls(s->f->conn).version, "");
    expect_events(s->f, "open");
    lago_tls_info_t info = lago_connection_tls(s->f->conn);
    assert_string_equal(info.version, "TLSv1.3");
    assert_non_null(strstr(info.cipher, "GCM"));
    assert_false(info.resumed);
    assert_int_equal(s->f->log_count, 0);
}

static void tls_1_2_is_believed_too(void **state) {
    struct secure *s = *state;
    s->tls.max_version = LAGO_TLS_1_2;
    connect_now(s->f);
    expect_events(s->f, "open");
    assert_string_equal(lago_connection_tls(s->f->conn).version, "TLSv1.2");
}

static void a_ca_may_come_from_memory(void **state) {
    struct secure *s = *state;
    char pem[8192];
    FILE *file = fopen(s->tls.ca_file, "r");
    assert_non_null(file);
    size_t size = fread(pem, 1, sizeof pem, file);
    fclose(file);
    s->tls.ca_file = NULL;
    s->tls.ca_pem = (lago_bytes_t){ pem, size };
    connect_now(s->f);
    expect_events(s->f, "open");
}

static void another_ca_does_not_do(void **state) {
    struct secure *s = *state;
    s->tls.ca_file = file_of(s, 0, "foreign-ca.pem");
    expect_refusal(s, LAGO_ECERTIFICATE, "CN=lago test ca");
    assert_int_equal(s->f->reason.phase, LAGO_PHASE_TLS);
    assert_int_equal(s->f->reason.tls_verify_result, 19); /* X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: RabbitMQ shows its CA */
}

static void nor_does_the_systems_store(void **state) {
    struct secure *s = *state;
    s->tls.ca_file = NULL;
    expect_refusal(s, LAGO_ECERTIFICATE, "cacertfile");
}

static void another_name_does_not_do(void **state) {
    struct secure *s = *state;
    s->tls.server_name = "broker.example";
    expect_refusal(s, LAGO_ECERTIFICATE, "hostname mismatch (broker.example): subject CN=localhost");
    assert_int_equal(s->f->reason.tls_verify_result, 62); /* X509_V_ERR_HOSTNAME_MISMATCH */
}

static void server_name_says_what_to_expect(void **state) {
    struct secure *s = *state;
    s->tls.server_name = "localhost"; /* and not 127.0.0.1, which the certificate has as well */
    connect_now(s->f);
    expect_events(s->f, "open");
}

static void whoever_skips_verification_is_warned(void **state) {
    struct secure *s = *state;
    s->tls = (lago_tls_options_t){ .insecure_skip_verification = true };
    connect_now(s->f);
    expect_events(s->f, "open");
    assert_int_equal(s->f->log_count, 1);
    assert_non_null(strstr(s->f->log[0], "verif"));
}

/* ---------------------------------------------------------------- client certificates */

static void a_certificate_that_is_demanded_is_given(void **state) {
    struct secure *s = *state;
    demand_certificate(s);
    use_certificate(s, "client");
    connect_now(s->f);
    expect_events(s->f, "open");
}

/* TLS 1.2: RabbitMQ says no more than "handshake failure". */
static void without_it_tls_1_2_fails(void **state) {
    struct secure *s = *state;
    demand_certificate(s);
    s->tls.max_version = LAGO_TLS_1_2;
    expect_refusal(s, LAGO_ETLS, "client certificate");
    assert_int_equal(s->f->reason.phase, LAGO_PHASE_TLS);
}

/* TLS 1.3: the alert comes when the client's handshake is done already. */
static void without_it_tls_1_3_fails_later(void **state) {
    struct secure *s = *state;
    demand_certificate(s);
    expect_refusal(s, LAGO_ETLS, "certificate required");
    expect_words(s, "certificate_file");
    assert_int_equal(s->f->reason.phase, LAGO_PHASE_HANDSHAKE);
}

static void a_foreign_certificate_is_refused(void **state) {
    struct secure *s = *state;
    use_certificate(s, "foreign");
    expect_refusal(s, LAGO_ETLS, "does not trust this client's certificate");
}

static void a_foreign_certificate_is_refused_by_tls_1_2(void **state) {
    struct secure *s = *state;
    s->tls.max_version = LAGO_TLS_1_2;
    use_certificate(s, "foreign");
    expect_refusal(s, LAGO_ETLS, "does not trust this client's certificate");
}

/* ---------------------------------------------------------------- the wrong port */

static void plain_amqp_on_the_tls_port_is_told(void **state) {
    struct secure *s = *state;
    s->f->parameters->tls = NULL;
    connect_now(s->f);
    run_until(s->f, s->f->closed);
    assert_int_equal(s->f->reason.code, LAGO_ENOTAMQP);
    expect_words(s, "TLS");
    expect_words(s, "amqps://");
    forget_events(s->f);
}

static void tls_on_the_plain_port_is_told(void **state) {
    struct secure *s = *state;
    lago_parameters_t *plain;
    assert_int_equal(lago_parameters_parse(getenv("AMQP_URL"), &plain, NULL), 0);
    s->f->parameters->port = plain->port;
    lago_parameters_free(plain);
    expect_refusal(s, LAGO_ETLS, "does not speak TLS");
    expect_words(s, "amqp://");
}

/* ---------------------------------------------------------------- what goes through it */

static void on_big(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct fixture *f = fixture_of(ch);
    const uint8_t *bytes = message->body.data;
    (void)data;
    assert_int_equal(message->body.size, BIG_SIZE);
    for (size_t i = 0; i < BIG_SIZE; i += 997) assert_int_equal(bytes[i], (uint8_t)(i * 7));
    f->finished = true;
}

static void a_big_message_comes_back(void **state) {
    struct fixture *f = ((struct secure *)*state)->f;
    uint8_t *body = malloc(BIG_SIZE);
    assert_non_null(body);
    for (size_t i = 0; i < BIG_SIZE; i++) body[i] = (uint8_t)(i * 7);
    connect_and_wait(f);
    f->ch = open_channel(f);
    const char *queue = new_queue(f);
    lago_basic_consume_t consume = { .queue = queue, .on_message = on_big, .auto_ack = true };
    assert_int_equal(lago_basic_consume(f->ch, &consume, NULL, NULL), 0);
    lago_basic_publish_t publish = { .routing_key = queue, .body = { body, BIG_SIZE } };
    assert_true(lago_basic_publish(f->ch, &publish, NULL, NULL) >= 0);
    free(body);
    run_until(f, f->finished);
}

/* A session belongs to a connection: its next attempt goes on with it. RabbitMQ has sessions by default in TLS 1.2, up to 4.0. */
static void on_phase(lago_connection_t *conn, lago_phase_t phase, uint32_t attempt, void *data) {
    if (phase == LAGO_PHASE_HANDSHAKE)
        record(data, "attempt %u %s", attempt, lago_connection_tls(conn).resumed ? "resumed" : "new");
}

static void the_next_attempt_resumes_the_session(void **state) {
    struct fixture *f = ((struct secure *)*state)->f;
    lago_connection_options_t options = connection_options(f);
    const char *version = getenv("BROKER_VERSION");
    if (!version || strcmp(version, "4.1") >= 0) skip();
    ((struct secure *)*state)->tls.max_version = LAGO_TLS_1_2;
    f->parameters->virtual_host = "nowhere";
    f->parameters->connection_attempts = 2;
    f->parameters->retry_delay_ms = LAGO_NO_DELAY;
    options.on_phase = on_phase;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &f->conn), 0);
    expect_events(f, "attempt 1 new", "attempt 2 resumed", "open error 530");
}

/* ---------------------------------------------------------------- the end */

/* RabbitMQ keeps a TLS link open for seconds after its close-ok: lago does not wait for that. */
static void the_end_does_not_wait_for_the_broker(void **state) {
    struct fixture *f = ((struct secure *)*state)->f;
    connect_and_wait(f);
    uint64_t begin = uv_hrtime();
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    run_until(f, f->closed);
    expect_events(f, "close ECLOSED");
    lago_connection_free(f->conn);
    f->conn = NULL;
    uv_run(&f->loop, UV_RUN_DEFAULT); /* its descriptors are closed */
    assert_true((uv_hrtime() - begin) / 1000000u < 1000);
}

static void a_dead_node_is_a_cut_link(void **state) {
    struct fixture *f = ((struct secure *)*state)->f;
    need_control();
    connect_and_wait(f);
    broker_kill_connections(f);
    run_until(f, f->closed);
    assert_true(f->reason.code == LAGO_ETRUNCATED || f->reason.code == LAGO_ELOST);
    forget_events(f);
}

static void the_brokers_words_come_first(void **state) {
    struct fixture *f = ((struct secure *)*state)->f;
    need_control();
    connect_and_wait(f);
    broker_close_connections(f);
    expect_events(f, "close 320");
}

#define secure_test(test) cmocka_unit_test_setup_teardown(test, setup_secure, teardown_secure)

int main(void) {
    const struct CMUnitTest tests[] = {
        secure_test(a_broker_of_the_ca_is_believed),
        secure_test(tls_1_2_is_believed_too),
        secure_test(a_ca_may_come_from_memory),
        secure_test(another_ca_does_not_do),
        secure_test(nor_does_the_systems_store),
        secure_test(another_name_does_not_do),
        secure_test(server_name_says_what_to_expect),
        secure_test(whoever_skips_verification_is_warned),
        secure_test(a_certificate_that_is_demanded_is_given),
        secure_test(without_it_tls_1_2_fails),
        secure_test(without_it_tls_1_3_fails_later),
        secure_test(a_foreign_certificate_is_refused),
        secure_test(a_foreign_certificate_is_refused_by_tls_1_2),
        secure_test(plain_amqp_on_the_tls_port_is_told),
        secure_test(tls_on_the_plain_port_is_told),
        secure_test(a_big_message_comes_back),
        secure_test(the_next_attempt_resumes_the_session),
        secure_test(the_end_does_not_wait_for_the_broker),
        secure_test(a_dead_node_is_a_cut_link),
        secure_test(the_brokers_words_come_first),
    };
    if (!getenv("AMQPS_URL") || !getenv("BROKER_TLS")) {
        puts("AMQPS_URL and BROKER_TLS are not set: no broker with TLS to test against");
        return 77;
    }
    return run_broker_tests(tests);
}
