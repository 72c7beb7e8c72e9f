/* The checked copy that a connection lives on: defaults, sentinels, limits, ownership, and a password that does not linger. */
#include "parameters_case.h"
#include <stdlib.h>

static void fills_in_the_defaults_of_pika(void **state) {
    (void)state;
    struct parameters *p = copied(NULL);
    const lago_parameters_t *v = &p->values;
    assert_string_equal(v->host, "localhost");
    assert_int_equal(v->port, 5672);
    assert_string_equal(v->virtual_host, "/");
    assert_string_equal(v->credentials.username, "guest");
    assert_string_equal(v->credentials.password, "guest");
    assert_string_equal(v->credentials.mechanisms, "PLAIN AMQPLAIN");
    assert_int_equal(v->channel_max, 65535);
    assert_int_equal(v->frame_max, 131072);
    assert_int_equal(v->heartbeat_s, 0);
    assert_int_equal(v->connection_attempts, 1);
    assert_int_equal(v->retry_delay_ms, 2000);
    assert_int_equal(v->socket_timeout_ms, 10000);
    assert_int_equal(v->stack_timeout_ms, 15000);
    assert_string_equal(v->locale, "en_US");
    assert_null(v->connection_name);
    assert_int_equal(v->client_properties.size, 0);
    parameters_free(p);
}

static void fills_in_the_defaults_beyond_pika(void **state) {
    (void)state;
    struct parameters *p = copied(NULL);
    const lago_parameters_t *v = &p->values;
    assert_true(v->connect_deadline_ms == LAGO_NO_TIMEOUT);
    assert_true(v->blocked_connection_timeout_ms == LAGO_NO_TIMEOUT);
    assert_true(v->operation_timeout_ms == LAGO_NO_TIMEOUT);
    assert_int_equal(v->write_timeout_ms, 0); /* 2 x the heartbeat that will be agreed */
    assert_int_equal(v->close_timeout_ms, 10000);
    assert_true(v->message_size_max == 134217728);
    assert_true(v->assembly_size_max == 268435456);
    assert_int_equal(v->high_water, 4194304);
    assert_int_equal(v->low_water, 1048576);
    parameters_free(p);
}

/* Twice message_size_max, or all that can be said. */
static void messages_under_way_may_take_twice_the_largest(void **state) {
    (void)state;
    static const uint64_t sizes[][2] = {
        { 1, 2 }, { UINT64_MAX / 2, UINT64_MAX - 1 }, { UINT64_MAX / 2 + 1, UINT64_MAX }, { UINT64_MAX, UINT64_MAX }
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct parameters *p = copied(&(lago_parameters_t){ .message_size_max = sizes[i][0] });
        assert_true(p->values.assembly_size_max == sizes[i][1]);
        parameters_free(p);
    }
}

static void keeps_what_is_given(void **state) {
    (void)state;
    lago_parameters_t from = {
        .host = "mq",
        .port = 1,
        .credentials = { .username = "u" },
        .heartbeat_s = LAGO_HEARTBEAT_OFF,
        .retry_delay_ms = LAGO_NO_DELAY,
        .socket_timeout_ms = LAGO_NO_TIMEOUT,
        .write_timeout_ms = LAGO_NO_TIMEOUT,
        .frame_max = 4096,
        .high_water = 8,
        .connection_name = "shop",
    };
    struct parameters *p = copied(&from);
    assert_string_equal(p->values.host, "mq");
    assert_ptr_not_equal(p->values.host, from.host);
    assert_string_equal(p->values.credentials.password, ""); /* guest's password is only for guest */
    assert_int_equal(p->values.heartbeat_s, LAGO_HEARTBEAT_OFF);
    assert_int_equal(p->values.retry_delay_ms, 0);
    assert_true(p->values.socket_timeout_ms == LAGO_NO_TIMEOUT);
    assert_true(p->values.write_timeout_ms == LAGO_NO_TIMEOUT);
    assert_int_equal(p->values.frame_max, 4096);
    assert_int_equal(p->values.low_water, 2);
    assert_string_equal(p->values.connection_name, "shop");
    parameters_free(p);
}

static void names_the_parameter_that_is_wrong(void **state) {
    (void)state;
    assert_refused(&(lago_parameters_t){ .frame_max = 1 }, LAGO_EPARAMETER, "frame_max");
    assert_refused(&(lago_parameters_t){ .frame_max = 4095 }, LAGO_EPARAMETER, "frame_max");
    assert_refused(&(lago_parameters_t){ .heartbeat_s = -2 }, LAGO_EPARAMETER, "heartbeat_s");
    assert_refused(&(lago_parameters_t){ .heartbeat_s = 65536 }, LAGO_EPARAMETER, "heartbeat_s");
    assert_refused(&(lago_parameters_t){ .credentials = { .mechanisms = "SCRAM" } }, LAGO_EPARAMETER, "credentials.mechanisms");
    assert_refused(&(lago_parameters_t){ .credentials = { .username = "" } }, LAGO_EPARAMETER, "credentials.username");
    assert_refused(&(lago_parameters_t){ .high_water = 1, .low_water = 2 }, LAGO_EPARAMETER, "low_water");
    assert_refused(&(lago_parameters_t){ .low_water = 4194305 }, LAGO_EPARAMETER, "low_water");
    assert_refused(&(lago_parameters_t){ .message_size_max = 2, .assembly_size_max = 1 }, LAGO_EPARAMETER, "assembly_size_max");
    assert_refused(&(lago_parameters_t){ .assembly_size_max = 134217727 }, LAGO_EPARAMETER, "assembly_size_max");
    assert_refused(&(lago_parameters_t){ .tcp_options = { .keepidle_s = 32768 } }, LAGO_EPARAMETER, "tcp_options: TCP_KEEPIDLE");
    assert_refused(&(lago_parameters_t){ .tcp_options = { .keepintvl_s = 32768 } }, LAGO_EPARAMETER,
                   "tcp_options: TCP_KEEPINTVL");
    assert_refused(&(lago_parameters_t){ .tcp_options = { .keepcnt = 128 } }, LAGO_EPARAMETER, "tcp_options: TCP_KEEPCNT");
    assert_refused(&(lago_parameters_t){ .tcp_options = { .user_timeout_ms = UINT32_C(1) << 31 } }, LAGO_EPARAMETER,
                   "tcp_options: TCP_USER_TIMEOUT");
    const lago_tcp_options_t largest = {
        .keepidle_s = 32767, .keepintvl_s = 32767, .keepcnt = 127, .user_timeout_ms = INT32_MAX
    };
    parameters_free(copied(&(lago_parameters_t){ .tcp_options = largest }));
    for (size_t i = 0; i < 8; i++) {
        lago_parameters_t from = { 0 };
        from.reserved[i] = 1;
        assert_refused(&from, LAGO_EINVAL, "reserved");
    }
}

static void refuses_names_beyond_255_bytes(void **state) {
    (void)state;
    char name[257];
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    assert_refused(&(lago_parameters_t){ .virtual_host = name }, LAGO_ETOOLONG, "virtual_host");
    assert_refused(&(lago_parameters_t){ .credentials = { .username = name } }, LAGO_ETOOLONG, "credentials.username");
    assert_refused(&(lago_parameters_t){ .locale = name }, LAGO_ETOOLONG, "locale");
    assert_refused(&(lago_parameters_t){ .connection_name = name }, LAGO_ETOOLONG, "connection_name");
    name[255] = '\0';
    lago_parameters_t from = {
        .virtual_host = name, .credentials = { .username = name, .password = name }, .locale = name, .connection_name = name
    };
    parameters_free(copied(&from));
}

static void encodes_client_properties(void **state) {
    (void)state;
    char text[64];
    lago_parameters_t from = { .client_properties = LAGO_TABLE(LAGO_FIELD_STR("product", "x"), LAGO_FIELD_BOOL("b", true)) };
    struct parameters *p = copied(&from), *again;
    assert_null(p->values.client_properties.fields);
    again = copied(&p->values); /* raw bytes, as a received table */
    parameters_free(p);
    lago_table_format(&again->values.client_properties, text, sizeof text);
    assert_string_equal(text, "{product=\"x\", b=true}");
    parameters_free(again);
}

static void refuses_tables_that_cannot_be_sent(void **state) {
    (void)state;
    char name[257];
    memset(name, 'n', 256);
    name[256] = '\0';
    lago_parameters_t from = { .client_properties = { .size = 1 } };
    assert_refused(&from, LAGO_ETABLE, "client_properties");
    from.client_properties = (lago_table_t){ .raw = "\5a", .size = 2 };
    assert_refused(&from, LAGO_ETABLE, "client_properties");
    from.client_properties = (lago_table_t){ .raw = "\1a?", .size = 3 };
    assert_refused(&from, LAGO_ETYPE, "client_properties");
    lago_table_t malformed = { .raw = "\5a", .size = 2 };
    from.client_properties = LAGO_TABLE(LAGO_FIELD_TABLE("inner", malformed));
    assert_refused(&from, LAGO_ETABLE, "client_properties");
    from.client_properties = LAGO_TABLE(LAGO_FIELD_STR(name, "x"));
    assert_refused(&from, LAGO_ETOOLONG, "client_properties");
}

/* ---------------------------------------------------------------- memory */

static const char secret[] = "correct-horse-battery";

/* An allocator that looks for the secret in whatever is given back. */
static void *watch_malloc(size_t size, void *data) {
    (void)data;
    size_t *block = malloc(sizeof(max_align_t) + size);
    if (!block) return NULL;
    *block = size;
    return (char *)block + sizeof(max_align_t);
}

static void watch_free(void *pointer, void *data) {
    char *start = (char *)pointer - sizeof(max_align_t), *bytes = pointer;
    size_t size = *(size_t *)(void *)start;
    for (size_t i = 0; i + sizeof secret - 1 <= size; i++)
        if (memcmp(bytes + i, secret, sizeof secret - 1) == 0) *(bool *)data = true;
    free(start);
}

/* Wherever it is: as password, as key, behind the proxy. */
static void wipes_the_password(void **state) {
    (void)state;
    bool seen = false;
    lago_allocator_t watched = { .malloc = watch_malloc, .free = watch_free, .data = &seen };
    lago_bytes_t pem = { secret, sizeof secret - 1 };
    lago_tls_options_t tls = { .certificate_pem = pem, .key_pem = pem };
    lago_parameters_t from = { .credentials = { .password = secret },
                               .tls = &tls,
                               .proxy = { .type = LAGO_PROXY_SOCKS5, .host = "p", .username = "u", .password = secret } };
    struct parameters *p = NULL;
    assert_int_equal(parameters_copy(&watched, &from, &p, NULL), 0);
    assert_string_equal(p->values.credentials.password, secret);
    p->values.credentials.password = NULL;
    lago_parameters_free(&p->values);
    assert_false(seen);
}

static bool are_same(const lago_parameters_t *a, const lago_parameters_t *b) {
    struct parameters *x = copied(a), *y = copied(b);
    bool same = parameters_same(x, y);
    assert_int_equal(parameters_same(y, x), same);
    parameters_free(x);
    parameters_free(y);
    return same;
}

/* Which connections may share them; what points to more than a string is never the same. */
static void knows_what_is_the_same(void **state) {
    (void)state;
    char host[] = "mq", password[] = "p";
    const lago_parameters_t all = { .host = "mq",
                                    .credentials = { .username = "u", .password = "p" },
                                    .client_properties = LAGO_TABLE(LAGO_FIELD_STR("a", "b")),
                                    .connection_name = "n",
                                    .heartbeat_s = 7 };
    lago_parameters_t other = all;
    assert_true(are_same(NULL, NULL));
    assert_false(are_same(&all, NULL));
    other.host = host;
    other.credentials.password = password;
    assert_true(are_same(&all, &other));
    password[0] = 'q';
    assert_false(are_same(&all, &other));
    other = all;
    other.connection_name = NULL;
    assert_false(are_same(&all, &other));
    other = all;
    other.client_properties = LAGO_TABLE(LAGO_FIELD_STR("a", "c"));
    assert_false(are_same(&all, &other));
    other = all;
    other.heartbeat_s = 8;
    assert_false(are_same(&all, &other));
    other = all;
    other.tls = &(lago_tls_options_t){ .server_name = "mq" };
    assert_false(are_same(&other, &other));
    other = all;
    other.endpoints = &(lago_endpoint_t){ .host = "mq2" };
    other.endpoint_count = 1;
    assert_false(are_same(&other, &other));
}

static void is_freed_with_its_last_reference(void **state) {
    (void)state;
    struct parameters *p = copied(NULL);
    assert_ptr_equal(parameters_ref(p), p);
    parameters_free(p);
    assert_string_equal(p->values.host, "localhost");
    parameters_free(p);
}

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    (void)conn, (void)challenge, (void)data;
}

static void reports_no_memory_at_every_allocation(void **state) {
    (void)state;
    lago_parameters_t from = { .host = "mq", .client_properties = LAGO_TABLE(LAGO_FIELD_STR("a", "b")), .connection_name = "n" };
    assert_int_equal(fail_every_allocation(&from), 9); /* the owner, seven strings, the table */
    const lago_mechanism_t own[] = { { "A", on_challenge, NULL }, { "B", on_challenge, NULL } };
    from.credentials = (lago_credentials_t){ .own_mechanisms = own, .own_mechanism_count = 2 };
    assert_int_equal(fail_every_allocation(&from), 12); /* and these with their names */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in_the_defaults_of_pika),
        cmocka_unit_test(fills_in_the_defaults_beyond_pika),
        cmocka_unit_test(messages_under_way_may_take_twice_the_largest),
        cmocka_unit_test(keeps_what_is_given),
        cmocka_unit_test(names_the_parameter_that_is_wrong),
        cmocka_unit_test(refuses_names_beyond_255_bytes),
        cmocka_unit_test(encodes_client_properties),
        cmocka_unit_test(refuses_tables_that_cannot_be_sent),
        cmocka_unit_test(wipes_the_password),
        cmocka_unit_test(knows_what_is_the_same),
        cmocka_unit_test(is_freed_with_its_last_reference),
        cmocka_unit_test(reports_no_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
