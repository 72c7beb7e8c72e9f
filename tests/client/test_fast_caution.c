/* fast_open, and when it is better not to: logins of the caller's own, brokers whose words do not fit, or have become others. */
#include "book.h"
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define REST "0 connection.tune channel_max=2047 frame_max=131072 heartbeat=60\n0 connection.open-ok"

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;
static struct fail_alloc book_alloc;
static struct book book;

static int setup(void **state) {
    (void)state;
    fail_alloc_init(&book_alloc);
    book_init(&book, &book_alloc.allocator);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    book_clear(&book);
    fail_alloc_check(&book_alloc);
    return 0;
}

static void begin(const lago_parameters_t *parameters, const char *endpoint) {
    client_init(t);
    t->v.book = &book;
    t->v.is_private = true;
    t->v.endpoint[0] = endpoint;
    client_connect_with(t, parameters);
    virtual_run(&t->v);
}

static void start(const char *mechanisms) {
    char line[512];
    (void)snprintf(line, sizeof(line), "0 connection.start version_minor=9 mechanisms=\"%s\" locales=\"en_US\"", mechanisms);
    server_send(&t->v, line);
}

#define assert_ahead()    assert_true(virtual_saw(&t->v, "C> 0 connection.start-ok*"))
#define assert_ordinary() assert_false(virtual_saw(&t->v, "C> 0 connection.start-ok*"))

static void open_ordinarily(const lago_parameters_t *parameters, const char *endpoint, const char *mechanisms) {
    begin(parameters, endpoint);
    assert_ordinary();
    start(mechanisms);
    server_send(&t->v, REST);
    assert_journal(t, "open");
    client_end(t);
}

/* ---------------------------------------------------------------- who logs in */

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    note(t, "asked");
    (void)data;
    assert_int_equal(lago_login_respond(conn, challenge->ticket, (lago_bytes_t){ "x", 1 }), 0);
}

/* Its answer is the application's, and may be another one each time. */
static void a_mechanism_of_the_callers_is_asked_each_time(void **state) {
    lago_mechanism_t own = { "OWN", on_challenge, NULL };
    const lago_parameters_t p = { .fast_open = true, .credentials = { .own_mechanisms = &own, .own_mechanism_count = 1 } };
    (void)state;
    for (int i = 0; i < 2; i++) {
        begin(&p, NULL);
        assert_ordinary();
        start("PLAIN OWN");
        server_send(&t->v, REST);
        assert_journal(t, "asked; open");
        client_end(t);
    }
}

/* ---------------------------------------------------------------- what the broker says */

/* What was offered is not offered any more: the password has gone in vain, and the ordinary way tells why. */
static void a_mechanism_that_is_not_offered_any_more(void **state) {
    const lago_parameters_t p = { .fast_open = true };
    (void)state;
    open_ordinarily(&p, NULL, "PLAIN");
    begin(&p, NULL);
    assert_ahead();
    start("EXTERNAL");
    assert_true(virtual_saw(
        &t->v, "fast_open failed, trying the ordinary way: the broker at 192.0.2.1:5672's connection.start is not what*"));
    assert_ordinary();
    start("EXTERNAL");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_CLOSED);
    assert_int_equal(strncmp(t->journal, "open_error ", 11), 0);
    client_end(t);
}

static const char *words(char *room, size_t size) {
    memset(room, 'X', size);
    room[size] = '\0';
    return room;
}

/* Names that are too long to note are not noted: it is opened ordinarily each time. The longest that fit are. */
static void words_that_do_not_fit_are_not_noted(void **state) {
    char room[BOOK_NAME_SIZE + 1], offered[BOOK_NAME_SIZE + 1];
    const lago_parameters_t p = { .fast_open = true };
    (void)state;
    for (int i = 0; i < 2; i++) open_ordinarily(&p, words(room, BOOK_NAME_SIZE), "PLAIN");
    for (int i = 0; i < 2; i++) {
        memcpy(offered, "PLAIN ", 6);
        words(offered + 6, BOOK_NAME_SIZE - 6);
        open_ordinarily(&p, "a", offered);
    }
    words(offered + 6, BOOK_NAME_SIZE - 6 - 1);
    open_ordinarily(&p, words(room, BOOK_NAME_SIZE - 1), offered);
    begin(&p, room);
    assert_ahead();
    start(offered);
    server_send(&t->v, REST);
    assert_journal(t, "open");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_mechanism_of_the_callers_is_asked_each_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mechanism_that_is_not_offered_any_more, setup, teardown),
        cmocka_unit_test_setup_teardown(words_that_do_not_fit_are_not_noted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
