/* Where to dial: what a list of places is made of, which ones are refused, and what connections share of it. */
#include "alloc.h"
#include "fail_alloc.h"
#include "targets.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct targets made(const char *url, const lago_connection_options_t *options) {
    struct targets targets;
    lago_reason_t reason;
    if (targets_make(&mem_default, url, options, &targets, &reason) < 0) fail_msg("%s", reason.detail);
    return targets;
}

static void assert_refused(const char *url, const lago_connection_options_t *options, const char *detail) {
    struct targets targets;
    lago_reason_t reason;
    assert_int_equal(targets_make(&mem_default, url, options, &targets, &reason), LAGO_EPARAMETER);
    assert_string_equal(reason.detail, detail);
    assert_int_equal(targets.count, 0);
    assert_null(targets.parameters);
}

static void all_places_in_their_order(void **state) {
    (void)state;
    const lago_endpoint_t more[] = { { "b", 2 }, { "c", 3 } };
    const lago_parameters_t parameters[] = { { .host = "a", .port = 1, .endpoints = more, .endpoint_count = 2 },
                                             { .host = "d" } };
    struct targets targets = made(NULL, &(lago_connection_options_t){ .parameters = parameters, .parameters_count = 2 });
    static const struct {
        const char *host;
        uint16_t port;
        size_t parameters;
    } wanted[] = { { "a", 1, 0 }, { "b", 2, 0 }, { "c", 3, 0 }, { "d", 5672, 1 } };
    assert_int_equal(targets.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(targets.items[i].host, wanted[i].host);
        assert_int_equal(targets.items[i].port, wanted[i].port);
        assert_int_equal(targets.items[i].parameters, wanted[i].parameters);
    }
    targets_free(&mem_default, &targets);
    targets = made("amqp://a,b", NULL);
    assert_int_equal(targets.count, 2);
    targets_free(&mem_default, &targets);
    targets = made(NULL, NULL);
    assert_int_equal(targets.count, 1);
    assert_string_equal(targets.items[0].host, "localhost");
    targets_free(&mem_default, &targets);
}

/* A count that was never set leads through memory that is nobody's. */
static void at_most_64_parameters(void **state) {
    (void)state;
    static const lago_parameters_t parameters[64];
    lago_connection_options_t options = { .parameters = parameters, .parameters_count = 64 };
    struct targets targets = made(NULL, &options);
    assert_int_equal(targets.count, 64);
    targets_free(&mem_default, &targets);
    options.parameters_count = 65;
    assert_refused(NULL, &options, "parameters_count: above 64");
}

/* It is connected already, to one of them at most. */
static void a_stream_leads_to_one_place(void **state) {
    (void)state;
    const lago_endpoint_t more = { "b", 2 };
    const lago_parameters_t two = { .host = "a", .endpoints = &more, .endpoint_count = 1 }, one = { .host = "a" };
    for (int way = 0; way < 2; way++) {
        lago_connection_options_t options = { .parameters = &two };
        if (way == 0) options.socket_fd = 5;
        if (way == 1) options.stream = (uv_stream_t *)(void *)&options; /* nobody looks into it here */
        assert_refused(NULL, &options, "stream: given with several hosts");
        assert_refused("amqp://a,b", &options, "stream: given with several hosts");
        options.parameters = &one;
        struct targets targets = made(NULL, &options);
        assert_int_equal(targets.count, 1);
        targets_free(&mem_default, &targets);
    }
}

static void those_that_are_the_same_are_kept_once(void **state) {
    (void)state;
    struct alike alike = { 0 };
    struct targets first = made("amqp://a", NULL), second = made("amqp://a", NULL), other = made("amqp://b", NULL);
    targets_share(&first, &alike);
    assert_ptr_equal(alike.parameters, first.parameters[0]);
    targets_share(&second, &alike);
    assert_ptr_equal(second.parameters[0], first.parameters[0]);
    assert_ptr_equal(second.items[0].p, &first.parameters[0]->values);
    targets_share(&other, &alike);
    assert_ptr_equal(alike.parameters, other.parameters[0]); /* the newest that differs */
    targets_unshare(&first, &alike);
    assert_ptr_equal(alike.parameters, other.parameters[0]); /* not its */
    targets_unshare(&other, &alike);
    assert_null(alike.parameters);
    targets_share(&first, NULL);
    targets_unshare(&first, NULL);
    targets_free(&mem_default, &first);
    assert_string_equal(second.items[0].host, "a"); /* counted */
    targets_free(&mem_default, &second);
    targets_free(&mem_default, &other);
}

/* What several parameters lead to is nobody else's. */
static void lists_are_not_shared(void **state) {
    (void)state;
    const lago_parameters_t parameters[2] = { { .host = "a" }, { .host = "a" } };
    struct alike alike = { 0 };
    struct targets list = made(NULL, &(lago_connection_options_t){ .parameters = parameters, .parameters_count = 2 });
    targets_share(&list, &alike);
    assert_null(alike.parameters);
    targets_free(&mem_default, &list);
    targets_unshare(&list, &alike); /* of what could not be made */
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    const lago_parameters_t parameters[2] = { { .host = "a" }, { .host = "b" } };
    const lago_connection_options_t options = { .parameters = parameters, .parameters_count = 2 };
    int rc = LAGO_ENOMEM;
    size_t n = 0;
    while (rc == LAGO_ENOMEM) {
        struct fail_alloc memory;
        struct targets targets;
        fail_alloc_init(&memory);
        fail_alloc_at(&memory, ++n, false);
        rc = targets_make(&memory.allocator, NULL, &options, &targets, NULL);
        if (rc < 0) assert_null(targets.parameters);
        targets_free(&memory.allocator, &targets);
        fail_alloc_check(&memory);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_places_in_their_order),   cmocka_unit_test(at_most_64_parameters),
        cmocka_unit_test(a_stream_leads_to_one_place), cmocka_unit_test(those_that_are_the_same_are_kept_once),
        cmocka_unit_test(lists_are_not_shared),        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
