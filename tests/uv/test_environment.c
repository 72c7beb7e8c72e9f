/* The call that reads the environment reads the real one, and answers as lago_parameters_parse does. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <lago/parameters.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void set(const char *name, const char *value) { assert_int_equal(setenv(name, value, 1), 0); }

static void reads_the_environment(void **state) {
    (void)state;
    lago_parameters_t *p = NULL;
    set("AMQP_URL", "amqp://u:p@h:1/v");
    set("RABBITMQ_HOST", "mq");
    set("RABBITMQ_CONNECTION_NAME", "shop");
    assert_int_equal(lago_parameters_from_environment(&p, NULL), 0);
    assert_string_equal(p->host, "mq");
    assert_int_equal(p->port, 1);
    assert_string_equal(p->virtual_host, "v");
    assert_string_equal(p->connection_name, "shop");
    lago_parameters_free(p);
}

static void names_the_variable_that_is_wrong(void **state) {
    (void)state;
    lago_parameters_t *p = (lago_parameters_t *)1;
    lago_reason_t reason;
    set("RABBITMQ_HEARTBEAT", "often");
    assert_int_equal(lago_parameters_from_environment(&p, &reason), LAGO_EPARAMETER);
    assert_null(p);
    assert_non_null(strstr(reason.detail, "RABBITMQ_HEARTBEAT"));
    assert_int_equal(unsetenv("RABBITMQ_HEARTBEAT"), 0);
    assert_int_equal(lago_parameters_from_environment(NULL, &reason), LAGO_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_environment),
        cmocka_unit_test(names_the_variable_that_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
