/*
 * Much output does not wait for the end of a turn: whoever publishes a lot within one callback has the kernel and the broker at work
 * meanwhile. Small publishes never cost a write of their own, a full kernel is not asked twice, and nobody is called from inside.
 */
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PUSH_SIZE ((size_t)128 * 1024) /* link.c's */
#define BODY_SIZE ((size_t)16 * 1024)

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;
static lago_channel_t *ch;
static char body[1024 * 1024];

static int64_t publish_size(size_t size) {
    return lago_basic_publish(ch, &(lago_basic_publish_t){ .routing_key = "k", .body = { body, size } }, NULL, NULL);
}

/* As if each had taken a millisecond to make. */
static void publish_slowly(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        virtual_oversleep(&t->v, 1);
        assert_int_equal(publish_size(BODY_SIZE), 0);
    }
}

static void open_it(void) {
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .high_water = 64u << 20, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    server_handshake(&t->v);
    journal_clear(t);
    ch = client_open_channel(t);
    journal_clear(t);
}

static void much_leaves_within_a_callback(void **state) {
    (void)state;
    open_it();
    size_t before = t->v.output_size;
    publish_slowly(100);
    assert_in_range(t->v.counts.push, 5, 7); /* looked at every eighth, and every other look finds that time has passed */
    assert_true(lago_connection_output_size(t->conn) < 2 * PUSH_SIZE + BODY_SIZE);
    assert_true(t->v.output_size - before > 80 * BODY_SIZE);
    virtual_run(&t->v);
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    assert_in_range(t->v.counts.push, 5, 7);
    client_end(t);
}

/* What is there in no time leaves as soon at the end of the turn. */
static void what_took_no_time_is_not_pushed(void **state) {
    (void)state;
    open_it();
    unsigned writes = t->v.counts.writes;
    for (int i = 0; i < 1000; i++) assert_int_equal(publish_size(BODY_SIZE), 0);
    assert_int_equal(t->v.counts.writes, writes);
    client_end(t);
}

/* However long it takes: a turn's usual output leaves at its end, in one write. */
static void little_waits_for_the_end_of_the_turn(void **state) {
    (void)state;
    open_it();
    unsigned writes = t->v.counts.writes;
    for (int i = 0; i < 300; i++) {
        virtual_oversleep(&t->v, 1);
        assert_int_equal(publish_size(256), 0);
    }
    assert_int_equal(t->v.counts.push, 0);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.writes, writes + 1);
    client_end(t);
}

/* It is asked whether it takes more now and then, and says no without a system call; at the end of the turn it is not asked at all. */
static void a_full_kernel_takes_no_more(void **state) {
    (void)state;
    open_it();
    virtual_take(&t->v, 300000);
    publish_slowly(200);
    assert_in_range(t->v.counts.push, 5, 200 / 8);
    unsigned writes = t->v.counts.writes;
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.writes, writes);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    writes = t->v.counts.writes;
    publish_slowly(20); /* it takes again */
    assert_int_equal(t->v.counts.writes, writes + 1);
    client_end(t);
}

/* Lent bodies are given back by the turn, though they left earlier. */
static void nobody_is_called_from_inside(void **state) {
    (void)state;
    open_it();
    lago_basic_publish_t lent = { .routing_key = "k", .body = { body, sizeof(body) }, .release_body = noted_release };
    lent.release_data = probe(t, "first");
    assert_int_equal(lago_basic_publish(ch, &lent, NULL, NULL), 0);
    virtual_oversleep(&t->v, 1);
    lent.release_data = probe(t, "second");
    assert_int_equal(lago_basic_publish(ch, &lent, NULL, NULL), 0);
    assert_int_equal(lago_connection_output_size(t->conn), 0);
    assert_journal(t, "");
    virtual_run(&t->v);
    assert_journal(t, "first released; second released");
    client_end(t);
}

/* Nor of what fails; the publish was accepted all the same. */
static void what_fails_is_told_later(void **state) {
    (void)state;
    open_it();
    virtual_fail_write(&t->v, -32);
    publish_slowly(40);
    assert_true(t->v.counts.push > 0);
    assert_journal(t, "");
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    virtual_run(&t->v);
    unsigned pushed = t->v.counts.push;
    publish_slowly(40);
    assert_int_equal(t->v.counts.push, pushed); /* it is known to be in vain */
    virtual_lose(&t->v, -104);
    virtual_run(&t->v);
    assert_journal(t, "1 close ELOST; channel free; close ELOST; connection free");
    client_end(t);
}

static void what_may_not_leave_is_not_pushed(void **state) {
    (void)state;
    client_init(t);
    client_connect_with(t, &(lago_parameters_t){ .high_water = 64u << 20, .heartbeat_s = LAGO_HEARTBEAT_OFF });
    ch = client_channel(t);
    publish_slowly(20); /* before there is a link */
    assert_int_equal(t->v.counts.push, 0);
    server_handshake(&t->v);
    server_send(&t->v, "1 channel.open-ok\n0 connection.blocked reason=\"memory\"");
    unsigned writes = t->v.counts.writes;
    publish_slowly(20);
    virtual_run(&t->v);
    assert_int_equal(t->v.counts.writes, writes);
    assert_int_equal(t->v.counts.push, 0);
    client_end(t);
}

/* What was refused, and drains while somebody publishes, is told once, from the turn. */
static void on_drain(lago_connection_t *conn, void *data) {
    (void)conn, (void)data;
    note(t, "drain");
    publish_slowly(5);
}

static void pushing_goes_with_the_marks(void **state) {
    (void)state;
    client_init(t);
    lago_parameters_t parameters = { .high_water = 150000, .heartbeat_s = LAGO_HEARTBEAT_OFF };
    lago_connection_options_t options = client_options(t);
    options.parameters = &parameters;
    options.on_drain = on_drain;
    client_open_options(t, &options);
    ch = client_open_channel(t);
    virtual_take(&t->v, 0);
    publish_slowly(10);
    assert_int_equal(publish_size(BODY_SIZE), LAGO_EAGAIN);
    virtual_take(&t->v, SIZE_MAX);
    virtual_run(&t->v);
    assert_journal(t, "drain");
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_leaves_within_a_callback),        cmocka_unit_test(what_took_no_time_is_not_pushed),
        cmocka_unit_test(little_waits_for_the_end_of_the_turn), cmocka_unit_test(a_full_kernel_takes_no_more),
        cmocka_unit_test(nobody_is_called_from_inside),         cmocka_unit_test(what_fails_is_told_later),
        cmocka_unit_test(what_may_not_leave_is_not_pushed),     cmocka_unit_test(pushing_goes_with_the_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
