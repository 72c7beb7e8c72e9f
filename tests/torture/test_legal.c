/* The judge sees what it is there for: each rule broken once, in a life that is legal but for that. */
#include "legal.h"
#include "server.h"
#include <lago/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct legal legal;
static struct legal *const l = &legal;

static int begin(void **state) {
    (void)state;
    legal_init(l);
    l->connected = true;
    return 0;
}

static int end(void **state) {
    (void)state;
    legal_clear(l);
    return 0;
}

static void found(const char *words) {
    const char *problem = legal_problem(l);
    if (!problem || !strstr(problem, words)) fail_msg("found \"%s\" instead of \"%s\"", problem ? problem : "nothing", words);
}

static void well(void) {
    if (legal_problem(l)) fail_msg("%s", legal_problem(l));
}

/* ---------------------------------------------------------------- the wire */

static void sent(const char *lines) {
    size_t size;
    uint8_t *bytes = server_encode(lines, &size);
    conversation_sent(&l->wire, bytes, size);
    free(bytes);
}

static void came(const char *lines) {
    size_t size;
    uint8_t *bytes = server_encode(lines, &size);
    conversation_received(&l->wire, bytes, size);
    free(bytes);
}

static void open_link(void) {
    legal_link(l, true);
    conversation_sent(&l->wire, "AMQP\0\0\11\1", 8);
    sent("0 connection.start-ok mechanism=\"PLAIN\"\n0 connection.tune-ok frame_max=4096\n0 connection.open virtual_host=\"/\"");
    well();
}

static void open_channel(void) {
    open_link();
    sent("1 channel.open");
    came("1 channel.open-ok");
    well();
}

static void what_is_not_amqp(void **state) {
    (void)state;
    legal_link(l, true);
    conversation_sent(&l->wire, "HELO....", 8);
    found("protocol header");
}

static void a_frame_too_large(void **state) {
    (void)state;
    open_channel();
    sent("1 basic.publish\n1 header body_size=5000\n1 body size=5000");
    found("a frame of 5000 bytes");
}

static void a_body_without_its_rest(void **state) {
    (void)state;
    open_channel();
    sent("1 basic.publish\n1 header body_size=10\n1 body \"12345\"\n1 basic.publish");
    found("within a content");
}

static void a_body_without_its_rest_before_a_goodbye(void **state) {
    (void)state;
    open_channel();
    sent("1 basic.publish\n1 header body_size=10\n1 body \"12345\"\n0 connection.close reply_code=200");
    found("within a content");
}

static void half_a_frame_behind_a_goodbye(void **state) {
    (void)state;
    open_channel();
    sent("0 connection.close reply_code=200");
    conversation_sent(&l->wire, "\10", 1);
    legal_link(l, false);
    found("behind a goodbye");
}

static void a_second_goodbye(void **state) {
    (void)state;
    open_link();
    sent("0 connection.close reply_code=200\n0 connection.close reply_code=200");
    found("behind connection.close");
}

static void a_channel_that_is_not_open(void **state) {
    (void)state;
    open_link();
    sent("1 queue.declare queue=\"q\"");
    found("which is not open");
}

static void a_word_behind_a_channels_goodbye(void **state) {
    (void)state;
    open_channel();
    sent("1 channel.close reply_code=200\n1 queue.declare queue=\"q\"");
    found("behind channel.close");
}

static void an_ack_that_nobody_gave(void **state) {
    (void)state;
    open_channel();
    struct legal_channel *ch = legal_channel_new(l, 1);
    sent("1 basic.consume consumer_tag=\"c\"");
    for (int i = 1; i <= 3; i++)
        came(i == 1   ? "1 basic.deliver consumer_tag=\"c\" delivery_tag=1"
             : i == 2 ? "1 basic.deliver consumer_tag=\"c\" delivery_tag=2"
                      : "1 basic.deliver consumer_tag=\"c\" delivery_tag=3");
    legal_settled(l, ch, 1, false);
    legal_settled(l, ch, 3, false);
    sent("1 basic.ack delivery_tag=1");
    well();
    sent("1 basic.ack delivery_tag=3 multiple=1");
    found("delivery 2 is acknowledged");
}

static void an_ack_of_what_was_settled(void **state) {
    (void)state;
    open_channel();
    sent("1 basic.ack delivery_tag=7");
    found("7 is settled, which is not open");
}

/* ---------------------------------------------------------------- promises */

static struct legal_promise *promised(void) {
    struct legal_promise *p = legal_ask(l, NULL, LEGAL_OPERATION, "declare");
    legal_answer(p, 0);
    return p;
}

static void a_completion_that_is_forgotten(void **state) {
    (void)state;
    (void)promised();
    l->opened = 1;
    legal_closed(l, LAGO_ECLOSED);
    found("declare was not told before the end");
}

static void a_completion_that_comes_twice(void **state) {
    (void)state;
    struct legal_promise *p = promised();
    legal_told(p, 0);
    well();
    legal_told(p, 0);
    found("came 2 times");
}

static void a_refused_call_that_calls_back(void **state) {
    (void)state;
    struct legal_promise *p = legal_ask(l, NULL, LEGAL_OPERATION, "declare");
    legal_answer(p, LAGO_ENOMEM);
    legal_told(p, 0);
    l->opened = 1;
    legal_closed(l, LAGO_ECLOSED);
    legal_check(l);
    found("refused and came");
}

static void memory_that_is_not_given_back(void **state) {
    (void)state;
    legal_answer(legal_ask(l, NULL, LEGAL_FREED, "body"), 0);
    l->opened = 1;
    legal_closed(l, LAGO_ECLOSED);
    legal_check(l);
    found("body was accepted and came 0 times");
}

static void a_callback_inside_a_call(void **state) {
    (void)state;
    legal_call(l, false);
    legal_enter(l, LEGAL_NEWS, NULL);
    found("from inside a call");
}

static void callbacks_that_nest(void **state) {
    (void)state;
    legal_enter(l, LEGAL_NEWS, NULL);
    legal_enter(l, LEGAL_NEWS, NULL);
    found("nest");
}

static void something_behind_the_end(void **state) {
    (void)state;
    l->opened = 1;
    legal_closed(l, LAGO_ECLOSED);
    legal_enter(l, LEGAL_NEWS, NULL);
    found("behind the connection's end");
}

static void an_end_that_is_not_told(void **state) {
    (void)state;
    legal_check(l);
    found("end was not told");
}

static void an_end_out_of_order(void **state) {
    (void)state;
    struct legal_channel *one = legal_channel_new(l, 1), *two = legal_channel_new(l, 2);
    l->opened = 1;
    legal_link(l, true);
    legal_link(l, false);
    legal_channel_ended(l, two, LAGO_ELOST);
    legal_channel_ended(l, one, LAGO_ELOST);
    legal_closed(l, LAGO_ELOST);
    found("out of order");
}

static void an_operation_told_behind_its_channel(void **state) {
    (void)state;
    struct legal_channel *one = legal_channel_new(l, 1);
    legal_answer(legal_ask(l, one, LEGAL_OPERATION, "declare"), 0);
    legal_channel_ended(l, one, LAGO_ELOST);
    found("before declare was told");
}

/* ---------------------------------------------------------------- outcomes */

static struct legal_channel *publishing(int count) {
    open_channel();
    struct legal_channel *ch = legal_channel_new(l, 1);
    ch->instance = 1;
    sent("1 confirm.select");
    for (int i = 1; i <= count; i++) (void)legal_published(ch, i);
    sent("1 basic.publish\n1 header body_size=0");
    return ch;
}

static void a_confirm_that_the_broker_did_not_give(void **state) {
    (void)state;
    struct legal_channel *ch = publishing(1);
    legal_outcome(l, ch, 1, LAGO_PUBLISH_CONFIRMED, 0);
    found("told to be confirmed, and is not");
}

static void a_confirm_that_the_broker_gave(void **state) {
    (void)state;
    struct legal_channel *ch = publishing(1);
    came("1 basic.ack delivery_tag=1");
    legal_outcome(l, ch, 1, LAGO_PUBLISH_CONFIRMED, 0);
    well();
}

static void not_sent_and_yet_it_left(void **state) {
    (void)state;
    struct legal_channel *ch = publishing(2);
    legal_outcome(l, ch, 2, LAGO_PUBLISH_NOT_SENT, LAGO_ELOST);
    well();
    legal_outcome(l, ch, 1, LAGO_PUBLISH_NOT_SENT, LAGO_ELOST);
    found("told to be not sent, and is not");
}

static void not_sent_and_then_it_comes(void **state) {
    (void)state;
    struct legal_channel *ch = publishing(2);
    legal_outcome(l, ch, 2, LAGO_PUBLISH_NOT_SENT, LAGO_ELOST);
    sent("1 basic.publish\n1 header body_size=0");
    l->connected = false;
    legal_check(l);
    found("told not to be sent, and came");
}

static void unknown_although_it_never_left(void **state) {
    (void)state;
    struct legal_channel *ch = publishing(2);
    legal_outcome(l, ch, 2, LAGO_PUBLISH_UNKNOWN, LAGO_ELOST);
    found("told to be unknown, and is not");
}

static void a_silent_difference(void **state) {
    (void)state;
    legal_check_explained(l, false);
    well();
    (void)legal_returned(l, LAGO_ECLOSED);
    legal_check_explained(l, true);
    found("nobody was told why");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_amqp),
        TEST(a_frame_too_large),
        TEST(a_body_without_its_rest),
        TEST(a_body_without_its_rest_before_a_goodbye),
        TEST(half_a_frame_behind_a_goodbye),
        TEST(a_second_goodbye),
        TEST(a_channel_that_is_not_open),
        TEST(a_word_behind_a_channels_goodbye),
        TEST(an_ack_that_nobody_gave),
        TEST(an_ack_of_what_was_settled),
        TEST(a_completion_that_is_forgotten),
        TEST(a_completion_that_comes_twice),
        TEST(a_refused_call_that_calls_back),
        TEST(memory_that_is_not_given_back),
        TEST(a_callback_inside_a_call),
        TEST(callbacks_that_nest),
        TEST(something_behind_the_end),
        TEST(an_end_that_is_not_told),
        TEST(an_end_out_of_order),
        TEST(an_operation_told_behind_its_channel),
        TEST(a_confirm_that_the_broker_did_not_give),
        TEST(a_confirm_that_the_broker_gave),
        TEST(not_sent_and_yet_it_left),
        TEST(not_sent_and_then_it_comes),
        TEST(unknown_although_it_never_left),
        TEST(a_silent_difference),
    };
    return cmocka_run_group_tests_name("torture/legal", tests, NULL, NULL);
}
