/* What a channel says of itself when it is asked: its consumers, and whether it may publish. */
#include "client_test.h"
#include "server.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test;
static struct client_test *const t = &test;

/* ---------------------------------------------------------------- consumers */

static int by_text(const void *a, const void *b) {
    return strcmp(((const lago_string_t *)a)->data, ((const lago_string_t *)b)->data);
}

/* "2: a c", sorted. */
static const char *tags_of(const lago_channel_t *ch) {
    static char words[256];
    lago_string_t tags[8];
    size_t count = lago_channel_consumer_tags(ch, tags, 8);
    int length = snprintf(words, sizeof words, "%zu:", count);
    qsort(tags, count, sizeof tags[0], by_text);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tags[i].size, strlen(tags[i].data));
        length += snprintf(words + length, sizeof words - (size_t)length, " %s", tags[i].data);
    }
    return words;
}

static void consume(lago_channel_t *ch, const char *tag) {
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = tag, .on_message = noted_message, .on_cancel = noted_cancel };
    args.data = t->self;
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
}

static void names_its_consumers(void **state) {
    (void)state;
    client_init(t);
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    assert_string_equal(tags_of(ch), "0:");
    consume(ch, "a");
    consume(ch, "b");
    consume(ch, NULL);
    assert_string_equal(tags_of(ch), "3: a b ctag1.1");
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"a\"\n1 basic.consume-ok consumer_tag=\"b\"");
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"ctag1.1\"");
    assert_string_equal(tags_of(ch), "3: a b ctag1.1");
    assert_int_equal(lago_basic_cancel(ch, &(lago_basic_cancel_t){ .consumer_tag = "a" }, NULL, NULL), 0);
    assert_string_equal(tags_of(ch), "2: b ctag1.1"); /* from the call on, not only from cancel-ok */
    server_send(&t->v, "1 basic.cancel consumer_tag=\"b\" no_wait=1");
    assert_string_equal(tags_of(ch), "1: ctag1.1");
    lago_string_t one[1] = { { "untouched", 9 } };
    assert_int_equal(lago_channel_consumer_tags(ch, one, 0), 1);
    assert_string_equal(one[0].data, "untouched");
    assert_int_equal(lago_channel_consumer_tags(ch, NULL, 0), 1);
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    assert_string_equal(tags_of(ch), "0:");
    assert_int_equal(lago_channel_consumer_tags(NULL, NULL, 0), 0);
    client_end(t);
}

static void names_many_consumers(void **state) {
    enum { MANY = 500 };
    static lago_string_t tags[MANY];
    bool seen[MANY] = { false };
    (void)state;
    client_init(t);
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    for (int i = 0; i < MANY; i++) {
        char tag[16];
        snprintf(tag, sizeof tag, "%d", i);
        consume(ch, tag);
    }
    assert_int_equal(lago_channel_consumer_tags(ch, tags, MANY / 2), MANY);
    assert_int_equal(lago_channel_consumer_tags(ch, tags, MANY), MANY);
    for (int i = 0; i < MANY; i++) {
        int n = atoi(tags[i].data);
        assert_in_range(n, 0, MANY - 1);
        assert_false(seen[n]);
        seen[n] = true;
    }
    client_end(t);
}

/* ---------------------------------------------------------------- flow */

static void says_whether_it_may_publish(void **state) {
    (void)state;
    client_init(t);
    client_open(t);
    lago_channel_t *ch = client_open_channel(t), *other = client_open_channel(t);
    assert_true(lago_channel_is_flow_active(ch));
    server_send(&t->v, "1 channel.flow");
    assert_false(lago_channel_is_flow_active(ch));
    assert_true(lago_channel_is_flow_active(other));
    server_send(&t->v, "1 channel.flow active=1");
    assert_true(lago_channel_is_flow_active(ch));
    server_send(&t->v, "1 channel.close reply_code=404 reply_text=\"NOT_FOUND\"");
    assert_false(lago_channel_is_flow_active(ch));
    assert_false(lago_channel_is_flow_active(NULL));
    client_end(t);
}

/* The broker stops a channel whose owner did not ask to hear of it: it is obeyed all the same. */
static void flow_that_nobody_hears_of(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = NULL;
    assert_int_equal(lago_channel_open(t->conn, NULL, &ch), 0);
    server_send(&t->v, "1 channel.open-ok\n1 channel.flow");
    assert_true(virtual_saw(&t->v, "C> 1 channel.flow-ok*"));
    assert_false(lago_channel_is_flow_active(ch));
    client_end(t);
}

static void what_cannot_be_opened_is_refused(void **state) {
    (void)state;
    client_open(t);
    lago_channel_t *ch = (lago_channel_t *)1;
    assert_int_equal(lago_channel_open(t->conn, &(lago_channel_options_t){ .reserved = { 1 } }, &ch), LAGO_EINVAL);
    assert_null(ch);
    assert_int_equal(lago_channel_open(t->conn, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_channel_open(NULL, NULL, &ch), LAGO_EINVAL);
    client_end(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_its_consumers),
        cmocka_unit_test(names_many_consumers),
        cmocka_unit_test(says_whether_it_may_publish),
        cmocka_unit_test(flow_that_nobody_hears_of),
        cmocka_unit_test(what_cannot_be_opened_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
