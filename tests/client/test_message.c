/* Kept messages: everything in them is a copy or is counted, and outlives what it came from. */
#include "message.h"

#include "chunks.h"
#include "client_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Copies without a spare byte, so that a sanitizer sees who reads beyond. The NUL is part of them. */
static char *exact(const char *text, size_t size) {
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

#define STRINGS 13u

struct source {
    struct fail_alloc fail;
    struct message message;
    lago_properties_t properties;
    char *strings[STRINGS];
    char *headers, *body;
};

/* {n=1, s="x"}, encoded. */
static const char headers[] = "\1nI\0\0\0\1\1sS\0\0\0\1x";
#define HEADERS_SIZE (sizeof(headers) - 1)

static void source_init(struct source *s) {
    static const char *const names[STRINGS] = { "consumer",    "exchange", "a.key", "text/plain", "gzip",
                                                "correlation", "reply",    "60000", "message",    "some\0type",
                                                "guest",       "app",      "" };
    memset(s, 0, sizeof(*s));
    fail_alloc_init(&s->fail);
    for (unsigned i = 0; i < STRINGS; i++) s->strings[i] = exact(names[i], i == 9 ? 9 : strlen(names[i]));
    s->headers = malloc(HEADERS_SIZE);
    memcpy(s->headers, headers, HEADERS_SIZE);
    s->properties = (lago_properties_t){ .present = 0xfffc,
                                         .delivery_mode = 2,
                                         .priority = 7,
                                         .content_type = s->strings[3],
                                         .content_encoding = s->strings[4],
                                         .headers = { .raw = s->headers, .size = HEADERS_SIZE },
                                         .correlation_id = s->strings[5],
                                         .reply_to = s->strings[6],
                                         .expiration = s->strings[7],
                                         .message_id = s->strings[8],
                                         .timestamp = 1234567890123,
                                         .type = s->strings[9],
                                         .user_id = s->strings[10],
                                         .app_id = s->strings[11],
                                         .cluster_id = s->strings[12],
                                         .sizes = { 10, 4, 11, 5, 5, 7, 9, 5, 3, 0 } };
    s->body = exact("bo\0dy", 5);
    struct session_event event = { .properties = &s->properties, .body = { s->body, 5 } };
    s->message = message_of(&s->fail.allocator, &event);
    s->message.fields.consumer_tag = (lago_string_t){ s->strings[0], 8 };
    s->message.fields.delivery_tag = 42;
    s->message.fields.redelivered = true;
    s->message.fields.message_count = 3;
    s->message.fields.exchange = (lago_string_t){ s->strings[1], 8 };
    s->message.fields.routing_key = (lago_string_t){ s->strings[2], 5 };
}

/* What was borrowed goes. */
static void source_forget(struct source *s) {
    for (unsigned i = 0; i < STRINGS; i++) free(s->strings[i]);
    free(s->headers);
    free(s->body);
    memset(&s->message, 0xee, sizeof(s->message));
    memset(&s->properties, 0xee, sizeof(s->properties));
}

static void check_properties(const lago_properties_t *p) {
    int64_t n = 0;
    lago_value_t value;
    assert_int_equal(p->present, 0xfffc);
    assert_int_equal(p->delivery_mode, 2);
    assert_int_equal(p->priority, 7);
    assert_string_equal(p->content_type, "text/plain");
    assert_string_equal(p->content_encoding, "gzip");
    assert_string_equal(p->correlation_id, "correlation");
    assert_string_equal(p->reply_to, "reply");
    assert_string_equal(p->expiration, "60000");
    assert_string_equal(p->message_id, "message");
    assert_true(p->timestamp == 1234567890123);
    assert_memory_equal(p->type, "some\0type", 10);
    assert_int_equal(p->sizes.type, 9);
    assert_string_equal(p->user_id, "guest");
    assert_string_equal(p->app_id, "app");
    assert_string_equal(p->cluster_id, "");
    assert_int_equal(lago_table_check(&p->headers), 2);
    assert_int_equal(lago_table_get(&p->headers, "n", &value), 1);
    n = value.as.integer;
    assert_int_equal(n, 1);
}

static void check_message(const lago_message_t *m) {
    assert_string_equal(m->consumer_tag.data, "consumer");
    assert_int_equal(m->consumer_tag.size, 8);
    assert_int_equal(m->delivery_tag, 42);
    assert_true(m->redelivered);
    assert_int_equal(m->message_count, 3);
    assert_string_equal(m->exchange.data, "exchange");
    assert_string_equal(m->routing_key.data, "a.key");
    assert_int_equal(m->body.size, 5);
    assert_memory_equal(m->body.data, "bo\0dy", 6); /* and its NUL */
    check_properties(m->properties);
}

static void keeps_everything(void **state) {
    struct source s;
    lago_message_t *kept = NULL, *again = NULL;
    (void)state;
    source_init(&s);
    assert_int_equal(lago_message_keep(&s.message.fields, &kept), 0);
    source_forget(&s);
    check_message(kept);
    assert_int_equal(s.fail.live_count, 1); /* one piece */
    assert_int_equal(lago_message_keep(kept, &again), 0);
    lago_message_release(kept);
    check_message(again);
    lago_message_release(again);
    fail_alloc_check(&s.fail);
}

static void keeps_nothing_of_nothing(void **state) {
    struct fail_alloc fail;
    lago_message_t *kept = NULL;
    static const lago_properties_t none = { 0 };
    (void)state;
    fail_alloc_init(&fail);
    struct session_event event = { .properties = &none, .body = { "", 0 } };
    struct message message = message_of(&fail.allocator, &event);
    assert_int_equal(lago_message_keep(&message.fields, &kept), 0);
    assert_int_equal(kept->body.size, 0);
    assert_string_equal(kept->body.data, "");
    assert_string_equal(kept->exchange.data, "");
    assert_null(kept->properties->content_type);
    assert_int_equal(kept->properties->present, 0);
    assert_int_equal(kept->properties->headers.size, 0);
    lago_message_release(kept);
    fail_alloc_check(&fail);
}

static void shares_a_body_of_several_frames(void **state) {
    struct source s;
    lago_message_t *kept = NULL;
    (void)state;
    source_init(&s);
    struct block *block = block_grow(&s.fail.allocator, NULL, 6);
    memcpy(block_bytes(block), "bo\0dy", 6);
    s.message.fields.body.data = block_bytes(block);
    s.message.body_block = block;
    assert_int_equal(lago_message_keep(&s.message.fields, &kept), 0);
    assert_ptr_equal(kept->body.data, block_bytes(block));
    block_unref(block); /* the session is done with it */
    source_forget(&s);
    check_message(kept);
    lago_message_release(kept);
    fail_alloc_check(&s.fail);
}

static void without_memory_nothing_is_kept(void **state) {
    struct source s;
    lago_message_t *kept = (lago_message_t *)1;
    (void)state;
    source_init(&s);
    struct block *block = block_grow(&s.fail.allocator, NULL, 6);
    s.message.body_block = block;
    fail_alloc_at(&s.fail, 1, true);
    assert_int_equal(lago_message_keep(&s.message.fields, &kept), LAGO_ENOMEM);
    assert_null(kept);
    source_forget(&s);
    block_unref(block); /* no reference was left behind */
    fail_alloc_check(&s.fail);
}

static void refuses_nonsense(void **state) {
    struct source s;
    lago_message_t *kept = (lago_message_t *)1;
    (void)state;
    source_init(&s);
    assert_int_equal(lago_message_keep(NULL, &kept), LAGO_EINVAL);
    assert_null(kept);
    assert_int_equal(lago_message_keep(&s.message.fields, NULL), LAGO_EINVAL);
    lago_message_release(NULL);
    source_forget(&s);
    fail_alloc_check(&s.fail);
}

/* ---------------------------------------------------------------- from a connection */

static struct client_test test;
static struct client_test *const t = &test;
static lago_message_t *kept_message;

static void keep(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)ch;
    (void)data;
    assert_int_equal(lago_message_keep(message, &kept_message), 0);
}

/* Message, channel and connection end; the message stays. */
static void outlive(const char *message, size_t size) {
    client_init(t);
    client_connect(t, NULL);
    server_handshake_with(&t->v, "channel_max=10 frame_max=4096 heartbeat=0");
    journal_clear(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = keep };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"\n"
                       "1 basic.deliver consumer_tag=\"c\" delivery_tag=1 routing_key=\"q\"");
    server_send(&t->v, message);
    assert_non_null(kept_message);
    lago_connection_free(t->conn);
    t->conn = NULL;
    virtual_run(&t->v);
    assert_true(t->v.finished);
    assert_int_equal(kept_message->body.size, size);
    for (size_t i = 0; i < size; i++) assert_int_equal(((const char *)kept_message->body.data)[i], 'x');
    assert_string_equal(kept_message->routing_key.data, "q");
    assert_string_equal(kept_message->properties->content_type, "text/plain");
    lago_message_release(kept_message);
    client_end(t);
}

static void a_small_message_outlives_its_connection(void **state) {
    (void)state;
    outlive("1 header body_size=10 content_type=\"text/plain\"\n1 body size=10", 10);
}

static void a_large_message_outlives_its_connection(void **state) {
    (void)state;
    outlive("1 header body_size=10000 content_type=\"text/plain\"\n1 body size=4000\n1 body size=4000\n1 body size=2000", 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_everything),
        cmocka_unit_test(keeps_nothing_of_nothing),
        cmocka_unit_test(shares_a_body_of_several_frames),
        cmocka_unit_test(without_memory_nothing_is_kept),
        cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(a_small_message_outlives_its_connection),
        cmocka_unit_test(a_large_message_outlives_its_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
