/* The handshake's answers: mechanisms, who we say we are, and what is negotiated (as pika does). */
#include "client_test.h"
#include "frame.h"
#include "method.h"
#include "targets.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;

/* The n-th method that the client wrote (0: start-ok), read back; the arguments point into the output. */
static const struct method_info *written(size_t n, union method_args *args) {
    struct frame frame;
    const struct method_info *info = NULL;
    size_t need = 0, at = PROTOCOL_HEADER_SIZE;
    do {
        assert_int_equal(frame_decode(t->v.output + at, t->v.output_size - at, SIZE_MAX, &frame, &need), FRAME_COMPLETE);
        at += need;
    } while (n--);
    assert_int_equal(method_read(frame.payload, frame.size, &info, args), 0);
    return info;
}

static void start(const lago_parameters_t *parameters, const char *mechanisms) {
    char line[256];
    client_init(t);
    client_connect_with(t, parameters);
    virtual_run(&t->v);
    (void)snprintf(line, sizeof(line), "0 connection.start version_minor=9 mechanisms=\"%s\" locales=\"en_US\"", mechanisms);
    server_send(&t->v, line);
}

static struct connection_start_ok start_ok(void) {
    union method_args args;
    assert_int_equal(written(0, &args)->id, METHOD_CONNECTION_START_OK);
    return args.connection_start_ok;
}

/* ---------------------------------------------------------------- mechanisms */

static void plain_is_nul_user_nul_password(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .credentials = { .username = "user", .password = "secret" } }, "PLAIN AMQPLAIN");
    struct connection_start_ok ok = start_ok();
    assert_int_equal(ok.mechanism.size, 5);
    assert_memory_equal(ok.mechanism.data, "PLAIN", 5);
    assert_int_equal(ok.response.size, 12);
    assert_memory_equal(ok.response.data, "\0user\0secret", 12);
    assert_memory_equal(ok.locale.data, "en_US", 5);
    client_end(t);
}

static void amqplain_is_a_table_without_its_size(void **state) {
    static const char expected[] = "\5LOGINS\0\0\0\4user\10PASSWORDS\0\0\0\6secret";
    (void)state;
    start(&(lago_parameters_t){ .credentials = { .username = "user", .password = "secret", .mechanisms = "AMQPLAIN" },
                                .locale = "de_DE" },
          "PLAIN AMQPLAIN");
    struct connection_start_ok ok = start_ok();
    assert_int_equal(ok.mechanism.size, 8);
    assert_memory_equal(ok.mechanism.data, "AMQPLAIN", 8);
    assert_int_equal(ok.response.size, sizeof(expected) - 1);
    assert_memory_equal(ok.response.data, expected, sizeof(expected) - 1);
    assert_memory_equal(ok.locale.data, "de_DE", 5);
    client_end(t);
}

static void plain_is_preferred_wherever_it_stands(void **state) {
    (void)state;
    start(NULL, "EXTERNAL AMQPLAIN PLAIN");
    assert_int_equal(start_ok().mechanism.size, 5);
    assert_memory_equal(start_ok().response.data, "\0guest\0guest", 12);
    client_end(t);
    start(NULL, "RABBIT-CR-DEMO AMQPLAIN");
    assert_int_equal(start_ok().mechanism.size, 8);
    client_end(t);
}

/* "XPLAIN" and "PLAINTEXT" are not PLAIN. */
static void mechanisms_are_exact_words(void **state) {
    static const char *const none[] = { "", " ", "XPLAIN", "PLAINTEXT", "XAMQPLAIN", "plain", "PLAIN,AMQPLAIN", "PLAI N" };
    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        start(NULL, none[i]);
        assert_journal(t, "open_error EMECHANISM; connection free");
        assert_int_equal(lago_connection_reason(t->conn)->phase, LAGO_PHASE_HANDSHAKE);
        assert_int_equal(t->v.output_size, PROTOCOL_HEADER_SIZE); /* no password left */
        client_end(t);
    }
    static const char *const some[] = { "PLAIN", " PLAIN", "PLAIN ", "XPLAIN  PLAIN" };
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        start(NULL, some[i]);
        assert_int_equal(start_ok().mechanism.size, 5);
        client_end(t);
    }
}

static void a_mechanism_that_is_not_allowed_is_not_used(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .credentials = { .mechanisms = "AMQPLAIN" } }, "PLAIN");
    assert_journal(t, "open_error EMECHANISM; connection free");
    client_end(t);
}

static void a_second_round_is_refused(void **state) {
    (void)state;
    start(NULL, "PLAIN");
    server_send(&t->v, "0 connection.secure challenge=\"who?\"");
    assert_journal(t, "open_error EMECHANISM; connection free");
    client_end(t);
}

static void another_version_is_refused(void **state) {
    (void)state;
    client_init(t);
    client_connect(t, NULL);
    virtual_run(&t->v);
    server_send(&t->v, "0 connection.start version_major=1 version_minor=0 mechanisms=\"PLAIN\"");
    assert_journal(t, "open_error EVERSION; connection free");
    client_end(t);
}

static void the_password_is_in_no_line_of_the_log(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .credentials = { .username = "user", .password = "very-secret" } }, "PLAIN");
    assert_true(virtual_saw(&t->v, "C> 0 connection.start-ok*"));
    assert_null(strstr(t->v.log, "very-secret"));
    client_end(t);
}

/* ---------------------------------------------------------------- client properties */

static lago_value_t property(const char *name) {
    static struct connection_start_ok ok;
    lago_value_t value = { 0 };
    ok = start_ok();
    if (lago_table_get(&ok.client_properties, name, &value) != 1) value.type = LAGO_TYPE_VOID;
    return value;
}

static void assert_property(const char *name, const char *expected) {
    lago_value_t value = property(name);
    assert_int_equal(value.type, LAGO_TYPE_STRING);
    assert_int_equal(value.as.string.size, strlen(expected));
    assert_memory_equal(value.as.string.data, expected, strlen(expected));
}

static void says_who_it_is(void **state) {
    static const char *const capabilities[] = { "publisher_confirms", "exchange_exchange_bindings",
                                                "basic.nack",         "consumer_cancel_notify",
                                                "connection.blocked", "authentication_failure_close" };
    (void)state;
    start(NULL, "PLAIN");
    assert_property("product", "lago");
    assert_property("version", LAGO_VERSION);
    assert_property("platform", "C");
    assert_int_equal(property("connection_name").type, LAGO_TYPE_VOID);
    lago_value_t table = property("capabilities");
    assert_int_equal(table.type, LAGO_TYPE_TABLE);
    assert_int_equal(lago_table_check(&table.as.table), 6);
    for (size_t i = 0; i < 6; i++) {
        lago_value_t value;
        assert_int_equal(lago_table_get(&table.as.table, capabilities[i], &value), 1);
        assert_true(value.type == LAGO_TYPE_BOOLEAN && value.as.boolean);
    }
    client_end(t);
}

static void properties_of_the_caller_come_over_its_own(void **state) {
    (void)state;
    lago_parameters_t parameters = { .connection_name = "billing",
                                     .client_properties = LAGO_TABLE(
                                         LAGO_FIELD_STR("product", "mine"), LAGO_FIELD_I32("answer", 42),
                                         LAGO_FIELD_TABLE("capabilities", LAGO_TABLE(LAGO_FIELD_BOOL("basic.nack", false)))) };
    start(&parameters, "PLAIN");
    assert_property("product", "mine");
    assert_property("version", LAGO_VERSION);
    assert_property("connection_name", "billing");
    assert_int_equal(property("answer").as.integer, 42);
    lago_value_t table = property("capabilities");
    assert_int_equal(lago_table_check(&table.as.table), 1); /* replaced as a whole */
    struct connection_start_ok ok = start_ok();
    assert_int_equal(lago_table_check(&ok.client_properties), 6); /* no name twice */
    client_end(t);
}

#define SERVER(product)                                                                                                          \
    "0 connection.start version_minor=9 server_properties={product=\"" product "\"} mechanisms=\"PLAIN\" locales=\"en_US\""

static const char *server_of(const lago_connection_t *conn) {
    static char words[128];
    lago_table_t table = lago_connection_server_properties(conn);
    lago_table_format(&table, words, sizeof(words));
    return words;
}

/* Connections of a context keep them once if they are the same, octet for octet. */
static void the_brokers_properties_are_shared_if_they_are_the_same(void **state) {
    static const char *const said[] = { SERVER("RabbitMQ"), SERVER("RabbitMQ"), SERVER("Rabbit"), SERVER("Rabbbb") };
    static const char *const wanted[] = { "{product=\"RabbitMQ\"}", "{product=\"RabbitMQ\"}", "{product=\"Rabbit\"}",
                                          "{product=\"Rabbbb\"}" };
    static struct client_test all[4];
    struct alike alike = { 0 };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        client_init(&all[i]);
        all[i].v.alike = &alike;
        client_connect_with(&all[i], NULL);
        virtual_run(&all[i].v);
        server_send(&all[i].v, said[i]);
    }
    for (size_t i = 0; i < 4; i++) assert_string_equal(server_of(all[i].conn), wanted[i]);
    const void *first = lago_connection_server_properties(all[0].conn).raw;
    assert_ptr_equal(lago_connection_server_properties(all[1].conn).raw, first);
    block_unref(alike.server_properties); /* as the context's end does */
    alike.server_properties = NULL;
    for (size_t i = 4; i-- > 0;) client_end(&all[i]);
    assert_null(alike.parameters);
}

static void what_does_not_fit_into_a_frame_is_refused(void **state) {
    static char password[5000];
    (void)state;
    memset(password, 'p', sizeof(password) - 1);
    start(&(lago_parameters_t){ .credentials = { .username = "user", .password = password } }, "PLAIN");
    assert_journal(t, "open_error EPARAMETER; connection free");
    client_end(t);
}

/* ---------------------------------------------------------------- tune */

static uint16_t chosen_heartbeat, proposed_heartbeat;

static uint16_t choose(uint16_t server_heartbeat_s, void *data) {
    proposed_heartbeat = server_heartbeat_s;
    assert_ptr_equal(data, &chosen_heartbeat);
    return chosen_heartbeat;
}

struct tuning {
    uint32_t ours, theirs, agreed;
};

static lago_tune_t tune(const lago_parameters_t *parameters, uint32_t channel_max, uint32_t frame_max, uint32_t heartbeat) {
    char line[128];
    union method_args args;
    start(parameters, "PLAIN");
    (void)snprintf(line, sizeof(line), "0 connection.tune channel_max=%u frame_max=%u heartbeat=%u", channel_max, frame_max,
                   heartbeat);
    server_send(&t->v, line);
    assert_int_equal(written(1, &args)->id, METHOD_CONNECTION_TUNE_OK);
    lago_tune_t agreed = lago_connection_tune(t->conn);
    assert_int_equal(args.connection_tune_ok.channel_max, agreed.channel_max);
    assert_int_equal(args.connection_tune_ok.frame_max, agreed.frame_max);
    assert_int_equal(args.connection_tune_ok.heartbeat, agreed.heartbeat_s);
    assert_int_equal(written(2, &args)->id, METHOD_CONNECTION_OPEN);
    client_end(t);
    return agreed;
}

/* 0 of the broker is "no limit"; 0 of ours is the default. */
static void the_smaller_limit_wins(void **state) {
    static const struct tuning channels[] = { { 0, 0, 65535 },  { 0, 2047, 2047 }, { 0, 65535, 65535 }, { 10, 0, 10 },
                                              { 10, 2047, 10 }, { 2047, 10, 10 },  { 10, 10, 10 },      { 1, 65535, 1 } };
    static const struct tuning frames[] = { { 0, 0, 131072 },        { 0, 131072, 131072 },    { 0, 4096, 4096 },
                                            { 0, 1048576, 131072 },  { 4096, 0, 4096 },        { 4096, 131072, 4096 },
                                            { 1048576, 0, 1048576 }, { 1048576, 65536, 65536 } };
    (void)state;
    for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++) {
        lago_parameters_t p = { .channel_max = (uint16_t)channels[i].ours };
        assert_int_equal(tune(&p, channels[i].theirs, 131072, 60).channel_max, channels[i].agreed);
    }
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        lago_parameters_t p = { .frame_max = frames[i].ours };
        assert_int_equal(tune(&p, 2047, frames[i].theirs, 60).frame_max, frames[i].agreed);
    }
}

static void the_heartbeat_is_the_clients_choice(void **state) {
    static const struct {
        int32_t ours;
        uint32_t theirs, agreed;
    } heartbeats[] = { { 0, 60, 60 },
                       { 0, 0, 0 },
                       { 30, 60, 30 },
                       { 60, 30, 60 },
                       { 30, 0, 30 },
                       { 65535, 1, 65535 },
                       { LAGO_HEARTBEAT_OFF, 60, 0 },
                       { LAGO_HEARTBEAT_OFF, 0, 0 } };
    (void)state;
    for (size_t i = 0; i < sizeof(heartbeats) / sizeof(heartbeats[0]); i++) {
        lago_parameters_t p = { .heartbeat_s = heartbeats[i].ours };
        assert_int_equal(tune(&p, 2047, 131072, heartbeats[i].theirs).heartbeat_s, heartbeats[i].agreed);
    }
}

static void a_callback_decides_over_everything(void **state) {
    static const int32_t ours[] = { 0, 30, LAGO_HEARTBEAT_OFF };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (unsigned chosen = 0; chosen <= 7; chosen += 7) {
            chosen_heartbeat = (uint16_t)chosen;
            lago_parameters_t p = { .heartbeat_s = ours[i], .heartbeat_cb = choose, .heartbeat_data = &chosen_heartbeat };
            assert_int_equal(tune(&p, 2047, 131072, 60).heartbeat_s, chosen);
            assert_int_equal(proposed_heartbeat, 60);
        }
    }
}

static void a_frame_max_below_4096_is_refused(void **state) {
    static const unsigned bad[] = { 1, 8, 4095 };
    char line[64];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        start(NULL, "PLAIN");
        (void)snprintf(line, sizeof(line), "0 connection.tune channel_max=2047 frame_max=%u heartbeat=60", bad[i]);
        server_send(&t->v, line);
        assert_journal(t, "open_error EFRAMEMAX; connection free");
        client_end(t);
    }
}

/* 1.4.2.7: the name as it is, no slash added. */
static void opens_the_virtual_host(void **state) {
    static const char *const names[] = { "/", "", "prod", "/a b/%2f" };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        union method_args args;
        start(&(lago_parameters_t){ .virtual_host = names[i] }, "PLAIN");
        server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
        assert_int_equal(written(2, &args)->id, METHOD_CONNECTION_OPEN);
        assert_int_equal(args.connection_open.virtual_host.size, strlen(names[i]));
        assert_memory_equal(args.connection_open.virtual_host.data, names[i], strlen(names[i]));
        client_end(t);
    }
}

static void a_refused_virtual_host_is_named(void **state) {
    (void)state;
    start(&(lago_parameters_t){ .virtual_host = "nowhere" }, "PLAIN");
    server_send(&t->v, "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60");
    server_send(&t->v, "0 connection.close reply_code=530 reply_text=\"NOT_ALLOWED - vhost nowhere not found\" class_id=10 "
                       "method_id=40");
    assert_journal(t, "open_error EACCESS; connection free");
    assert_int_equal(lago_connection_reason(t->conn)->reply_code, 530);
    assert_int_equal(lago_connection_reason(t->conn)->phase, LAGO_PHASE_OPEN);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_is_nul_user_nul_password),
        cmocka_unit_test(amqplain_is_a_table_without_its_size),
        cmocka_unit_test(plain_is_preferred_wherever_it_stands),
        cmocka_unit_test(mechanisms_are_exact_words),
        cmocka_unit_test(a_mechanism_that_is_not_allowed_is_not_used),
        cmocka_unit_test(a_second_round_is_refused),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(the_password_is_in_no_line_of_the_log),
        cmocka_unit_test(says_who_it_is),
        cmocka_unit_test(properties_of_the_caller_come_over_its_own),
        cmocka_unit_test(the_brokers_properties_are_shared_if_they_are_the_same),
        cmocka_unit_test(what_does_not_fit_into_a_frame_is_refused),
        cmocka_unit_test(the_smaller_limit_wins),
        cmocka_unit_test(the_heartbeat_is_the_clients_choice),
        cmocka_unit_test(a_callback_decides_over_everything),
        cmocka_unit_test(a_frame_max_below_4096_is_refused),
        cmocka_unit_test(opens_the_virtual_host),
        cmocka_unit_test(a_refused_virtual_host_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
