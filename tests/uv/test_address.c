/* Addresses: their order, their words, and what is none. */
#include "address.h"
#include "alloc.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "4" and "6" for the families; the port tells them apart. */
static struct address_list make(const char *families) {
    struct address_list list = { .items = calloc(strlen(families) + 1, sizeof(union ip)) };
    assert_non_null(list.items);
    for (; families[list.count]; list.count++) {
        const char *host = families[list.count] == '6' ? "::1" : "127.0.0.1";
        union address address;
        assert_int_equal(address_numeric(host, (uint16_t)(list.count + 1), &address), 0);
        list.items[list.count] = address.ip;
    }
    return list;
}

/* "4a6b" ...: the family, and which one it was. */
static void assert_order(struct address_list *list, const char *expected) {
    char words[64] = "";
    for (size_t i = 0; i < list->count; i++) {
        bool v6 = list->items[i].any.sa_family == AF_INET6;
        unsigned port = ntohs(v6 ? list->items[i].v6.sin6_port : list->items[i].v4.sin_port);
        snprintf(words + 2 * i, sizeof words - 2 * i, "%c%c", v6 ? '6' : '4', 'a' + (int)port - 1);
    }
    assert_string_equal(words, expected);
    free(list->items);
}

static void families_take_turns(void **state) {
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        { "", "" },
        { "4", "4a" },
        { "66", "6a6b" },
        { "6644", "6a4c6b4d" },
        { "4466", "4a6c4b6d" },
        { "66664", "6a4e6b6c6d" },
        { "464646", "4a6b4c6d4e6f" },
        { "6444446", "6a4b6g4c4d4e4f" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address_list list = make(cases[i].before);
        address_list_alternate(&list);
        assert_order(&list, cases[i].after);
    }
}

static void other_families_are_left_out(void **state) {
    (void)state;
    struct address_list list = make("64466");
    address_list_keep(&list, AF_INET6);
    assert_order(&list, "6a6d6e");
    list = make("66");
    address_list_keep(&list, AF_INET);
    assert_order(&list, "");
}

static void found_ones_are_copied(void **state) {
    (void)state;
    union address v4, v6;
    struct address_list list;
    assert_int_equal(address_numeric("10.0.0.1", 7, &v4), 0);
    assert_int_equal(address_numeric("fe80::1", 8, &v6), 0);
    struct addrinfo third = { .ai_family = AF_INET6, .ai_addr = &v6.any };
    struct addrinfo second = { .ai_family = AF_UNIX, .ai_next = &third };
    struct addrinfo first = { .ai_family = AF_INET, .ai_addr = &v4.any, .ai_next = &second };
    assert_int_equal(address_list_copy(&list, &mem_default, &first), 0);
    assert_int_equal(list.count, 2);
    assert_memory_equal(&list.items[0].v4, &v4.v4, sizeof v4.v4);
    assert_memory_equal(&list.items[1].v6, &v6.v6, sizeof v6.v6);
    mem_free(&mem_default, list.items);
    second.ai_next = NULL;
    assert_int_equal(address_list_copy(&list, &mem_default, &second), UV_EAI_NONAME);
    assert_null(list.items);
}

static void assert_words(const union address *address, const char *expected) {
    char words[ENDPOINT_SIZE];
    address_format(address, words, sizeof words);
    assert_string_equal(words, expected);
}

static void written_in_words(void **state) {
    (void)state;
    union address address;
    char path[120];
    assert_int_equal(address_numeric("192.0.2.1", 5672, &address), 0);
    assert_words(&address, "192.0.2.1:5672");
    assert_int_equal(address_numeric("2001:db8:0:0::1", 65535, &address), 0);
    assert_words(&address, "[2001:db8::1]:65535");
    assert_int_equal(address_path("/run/broker.sock", &address), 0);
    assert_words(&address, "/run/broker.sock");
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[sizeof address.local.sun_path - 1] = '\0';
    assert_int_equal(address_path(path, &address), 0);
    assert_words(&address, path);
    memset(address.local.sun_path, 'y', sizeof address.local.sun_path); /* the kernel's may do without a NUL */
    memset(path, 'y', sizeof address.local.sun_path);
    path[sizeof address.local.sun_path] = '\0';
    assert_words(&address, path);
    assert_int_equal(address_path(path, &address), UV_ENAMETOOLONG);
}

static void names_are_no_addresses(void **state) {
    (void)state;
    static const char *const names[] = {
        "", "localhost", "1.2.3", "1.2.3.4.5", "300.1.1.1", ":::", "[::1]", "1.2.3.4 ", "0x7f.1"
    };
    union address address;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) assert_true(address_numeric(names[i], 1, &address) < 0);
}

static void some_are_of_this_machine(void **state) {
    (void)state;
    static const char *const local[] = { "127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:127.9.9.9" };
    static const char *const others[] = { "126.255.255.255", "128.0.0.1",   "192.0.2.1",        "0.0.0.0",    "::", "::2",
                                          "fe80::1",         "2001:db8::1", "::ffff:192.0.2.1", "::127.0.0.1" };
    union address address;
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++) {
        assert_int_equal(address_numeric(local[i], 1, &address), 0);
        assert_true(address_is_local(&address));
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(address_numeric(others[i], 1, &address), 0);
        assert_false(address_is_local(&address));
    }
    assert_int_equal(address_path("/run/broker.sock", &address), 0);
    assert_true(address_is_local(&address));
    address.any.sa_family = AF_UNSPEC;
    assert_false(address_is_local(&address));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_take_turns),    cmocka_unit_test(other_families_are_left_out),
        cmocka_unit_test(found_ones_are_copied),  cmocka_unit_test(written_in_words),
        cmocka_unit_test(names_are_no_addresses), cmocka_unit_test(some_are_of_this_machine),
    };
    return cmocka_run_group_tests_name("uv/address", tests, NULL, NULL);
}
