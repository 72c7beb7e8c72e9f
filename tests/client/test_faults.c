/*
 * Headers that have cost other clients their connection, again after each redelivery: numbers of little used types, letters of
 * old clients, and a letter that nobody knows. Here each costs no more than itself.
 */
#include "client_test.h"
#include "server.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;
static lago_channel_t *ch;

/* A delivery whose headers are these bytes, up to 255 of them, in the words of server.h. */
static void deliver(unsigned tag, const char *table, size_t size) {
    char lines[512];
    (void)snprintf(
        lines, sizeof lines,
        "1 basic.deliver consumer_tag=\"c\" delivery_tag=%u routing_key=\"q\"\n"
        "1 frame 2 \"\\x00\\x3c\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x20\\x00\\x00\\x00\\x00\\x%02zx%s\"\n"
        "1 body \"x\"",
        tag, size, table);
    server_send(&t->v, lines);
}

static int64_t integer_of(const lago_table_t *headers, const char *name) {
    lago_value_t value;
    assert_int_equal(lago_table_get(headers, name, &value), 1);
    return value.as.integer;
}

static void on_numbers(lago_channel_t *channel, const lago_message_t *message, void *data) {
    const lago_table_t *headers = &message->properties->headers;
    assert_int_equal(lago_table_check(headers), 4);
    assert_int_equal(integer_of(headers, "s"), -1000);
    assert_true(integer_of(headers, "l") == -1000);
    assert_int_equal(integer_of(headers, "U"), -1000);
    assert_true(integer_of(headers, "L") == -1000);
    note(t, "numbers");
    assert_int_equal(lago_basic_ack(channel, message->delivery_tag, 0), 0);
    (void)data;
}

static void on_odd(lago_channel_t *channel, const lago_message_t *message, void *data) {
    const lago_table_t *headers = &message->properties->headers;
    lago_basic_publish_t again = { .routing_key = "q", .properties = message->properties, .body = message->body };
    lago_table_iterator_t iterator = lago_table_iterate(headers);
    lago_field_t field;
    (void)data;
    assert_int_equal(lago_table_next(&iterator, &field), 1); /* what stands before the odd one can be read */
    assert_int_equal(field.value.as.integer, 7);
    assert_int_equal(lago_table_next(&iterator, &field), LAGO_ETYPE);
    assert_int_equal(lago_table_check(headers), LAGO_ETYPE);
    assert_string_equal(message->body.data, "x");
    assert_int_equal(lago_basic_publish(channel, &again, NULL, NULL), LAGO_ETYPE); /* it would cost the connection there */
    note(t, "odd");
    assert_int_equal(lago_basic_reject(channel, message->delivery_tag, LAGO_NO_REQUEUE), 0);
}

static void begin(lago_message_cb on_message) {
    client_init(t);
    client_open(t);
    ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = on_message };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
}

static void end(void) {
    assert_int_equal(lago_connection_state(t->conn), LAGO_CONNECTION_OPEN);
    assert_int_equal(lago_channel_state(ch), LAGO_CHANNEL_OPEN);
    client_end(t);
}

#define SHORT_NUMBER "\\xfc\\x18"
#define LONG_NUMBER  "\\xff\\xff\\xff\\xff\\xff\\xff\\xfc\\x18"

static void numbers_of_little_used_types_are_read_as_they_are(void **state) {
    (void)state;
    begin(on_numbers);
    for (unsigned tag = 1; tag <= 3; tag++)
        deliver(tag, "\\x01ss" SHORT_NUMBER "\\x01ll" LONG_NUMBER "\\x01UU" SHORT_NUMBER "\\x01LL" LONG_NUMBER, 32);
    assert_journal(t, "numbers; numbers; numbers");
    end();
}

static void an_unknown_type_costs_that_header_only(void **state) {
    (void)state;
    begin(on_odd);
    for (unsigned tag = 1; tag <= 3; tag++) deliver(tag, "\\x01nb\\x07\\x03oddZ\\x00\\x01", 11);
    assert_journal(t, "odd; odd; odd");
    assert_true(virtual_saw(&t->v, "C> 1 basic.reject delivery_tag=3"));
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_little_used_types_are_read_as_they_are),
        cmocka_unit_test(an_unknown_type_costs_that_header_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
