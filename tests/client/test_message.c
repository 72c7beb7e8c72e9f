/* Kept messages: everything in them is a copy or is counted, and outlives what it came from. And messages that are forwarded. */
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
    message_borrow(&s->message, &s->fail.allocator, &event);
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
    struct message message;
    message_borrow(&message, &fail.allocator, &event);
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

static void keep_returned(lago_channel_t *ch, const lago_return_t *returned, void *data) { keep(ch, returned->message, data); }

static void keep_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    assert_null(reason);
    keep(ch, message, data);
}

/* A keep of a keep of what was returned, and of what was fetched, when nothing else of it is left. */
static void returned_and_fetched_messages_are_kept(void **state) {
    static const char *const comes[] = {
        "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" exchange=\"e\" routing_key=\"k\"\n"
        "1 header body_size=2 type=\"a\\x00b\"\n1 body \"hi\"",
        "1 basic.get-ok delivery_tag=1 exchange=\"e\" routing_key=\"k\" message_count=3\n1 header body_size=2 "
        "type=\"a\\x00b\"\n1 body \"hi\""
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        client_open(t);
        lago_channel_options_t options = { .on_return = keep_returned };
        lago_channel_t *ch;
        lago_message_t *again;
        assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
        assert_int_equal(lago_basic_get(ch, NULL, keep_got, NULL), 0);
        server_send(&t->v, "1 channel.open-ok");
        server_send(&t->v, comes[i]);
        lago_connection_free(t->conn);
        t->conn = NULL;
        virtual_run(&t->v);
        assert_int_equal(lago_message_keep(kept_message, &again), 0);
        lago_message_release(kept_message);
        assert_string_equal(again->body.data, "hi");
        assert_string_equal(again->exchange.data, "e");
        assert_memory_equal(again->properties->type, "a\0b", 4);
        assert_int_equal(again->message_count, i == 0 ? 0 : 3);
        assert_string_equal(again->consumer_tag.data, "");
        lago_message_release(again);
        client_end(t);
    }
}

/* ---------------------------------------------------------------- forwarding */

/* A channel on which `lines` came as a delivery to a consumer that keeps. */
static lago_channel_t *receive(const char *lines) {
    client_open(t);
    lago_channel_t *ch = client_open_channel(t);
    lago_basic_consume_t args = { .queue = "q", .consumer_tag = "c", .on_message = keep };
    assert_int_equal(lago_basic_consume(ch, &args, NULL, NULL), 0);
    server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"\n"
                       "1 basic.deliver consumer_tag=\"c\" delivery_tag=1 exchange=\"from\" routing_key=\"a\\x00b\"");
    server_send(&t->v, lines);
    assert_non_null(kept_message);
    t->v.output_size = 0;
    virtual_forget_log(&t->v);
    return ch;
}

static void sent_these(const char *lines) {
    size_t size;
    uint8_t *bytes = server_encode(lines, &size);
    virtual_run(&t->v);
    assert_int_equal(t->v.output_size, size);
    assert_memory_equal(t->v.output, bytes, size);
    free(bytes);
}

static void done(void) {
    lago_message_release(kept_message);
    kept_message = NULL;
    client_end(t);
}

#define ALL_BUT_USER                                                                                                             \
    "content_type=\"text/plain\" content_encoding=\"\" headers={b=1, a=\"x\", b=\"again\", v=void, f=1.5, in={z=1, a=void, "     \
    "z=2}, "                                                                                                                     \
    "list=[1, \"a\", {}, []]} delivery_mode=2 priority=0 correlation_id=\"a\\x00b\\x00\" reply_to=\"r\" expiration=\"1\" "       \
    "message_id=\"m\" timestamp=0 type=\"t\" "

static void forwards_byte_for_byte(void **state) {
    (void)state;
    lago_channel_t *ch =
        receive("1 header body_size=3 " ALL_BUT_USER "user_id=\"u\" app_id=\"p\" cluster_id=\"c\"\n1 body \"a\\x00b\"");
    assert_int_equal(
        lago_message_forward(ch, kept_message, &(lago_forward_t){ .keep_user_id = true, .mandatory = true }, NULL, NULL), 0);
    sent_these("1 basic.publish exchange=\"from\" routing_key=\"a\\x00b\" mandatory=1\n"
               "1 header body_size=3 " ALL_BUT_USER "user_id=\"u\" app_id=\"p\" cluster_id=\"c\"\n1 body \"a\\x00b\"");
    done();
}

static void a_user_id_stays_behind(void **state) {
    (void)state;
    lago_channel_t *ch = receive("1 header body_size=0 " ALL_BUT_USER "user_id=\"u\" app_id=\"p\" cluster_id=\"c\"");
    assert_int_equal(lago_message_forward(ch, kept_message, &(lago_forward_t){ .exchange = "", .routing_key = "to" }, NULL, NULL),
                     0);
    sent_these("1 basic.publish routing_key=\"to\"\n1 header body_size=0 " ALL_BUT_USER "app_id=\"p\" cluster_id=\"c\"");
    assert_string_equal(kept_message->properties->user_id, "u");
    done();
}

/* A message of the test's own, with this header table. */
static int64_t forward_table(lago_channel_t *ch, const void *raw, size_t size) {
    lago_properties_t properties = { .present = LAGO_PROPERTY_HEADERS, .headers = { .raw = raw, .size = size } };
    struct session_event event = { .properties = &properties, .body = { "", 0 } };
    struct message message;
    message_borrow(&message, &t->v.alloc.allocator, &event);
    message.fields.exchange = message.fields.routing_key = (lago_string_t){ "", 0 };
    return lago_message_forward(ch, &message.fields, NULL, NULL, NULL);
}

/* Every letter that RabbitMQ takes, once; and those that it would close the connection for. */
static void odd_letters(void **state) {
    static const char every[] =
        "\1nt\1\1nb\x80\1nB\xff\1ns\x80\0\1nu\xff\xff\1nI\x80\0\0\0\1ni\xff\xff\xff\xff\1nl\x80\0\0\0\0\0\0\0"
        "\1nf\x7f\xc0\0\1\1nd\x80\0\0\0\0\0\0\0\1nD\xff\xff\xff\xff\xff\1nS\0\0\0\2\0x\1nA\0\0\0\2VV"
        "\1nT\xff\xff\xff\xff\xff\xff\xff\xff\1nF\0\0\0\3\1nV\1nV\1nx\0\0\0\1\0\0V";
    (void)state;
    lago_channel_t *ch = receive("1 header body_size=0");
    assert_int_equal(forward_table(ch, every, sizeof(every) - 1), 0);
    virtual_run(&t->v);
    const uint8_t *end = t->v.output + t->v.output_size - 1;
    assert_memory_equal(end - (sizeof(every) - 1), every, sizeof(every) - 1);
    t->v.output_size = 0;
    assert_int_equal(forward_table(ch, "\1nU\0\1", 5), LAGO_ETYPE);
    assert_int_equal(forward_table(ch, "\1nL\0\0\0\0\0\0\0\1", 11), LAGO_ETYPE);
    assert_int_equal(forward_table(ch, "\1nA\0\0\0\3U\0\1", 10), LAGO_ETYPE);
    assert_int_equal(forward_table(ch, "\1nI\0\0", 5), LAGO_ETABLE);
    virtual_run(&t->v);
    assert_int_equal(t->v.output_size, 0);
    assert_int_equal(lago_message_forward(NULL, kept_message, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_message_forward(ch, NULL, NULL, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_message_forward(ch, kept_message, &(lago_forward_t){ .reserved = { 1 } }, NULL, NULL), LAGO_EINVAL);
    assert_int_equal(lago_message_forward(ch, kept_message, NULL, noted_publish, NULL), LAGO_ENOCONFIRM);
    done();
}

/* The counted body goes out where it lies: now, and when the message is long gone. */
static void a_big_body_is_forwarded_without_a_copy(void **state) {
    (void)state;
    for (int blocked = 0; blocked < 2; blocked++) {
        lago_channel_t *ch =
            receive("1 header body_size=200000\n1 body size=60000\n1 body size=60000\n1 body size=60000\n1 body size=20000");
        if (blocked) server_send(&t->v, "0 connection.blocked");
        virtual_take(&t->v, 0);
        size_t before = t->v.alloc.live_bytes;
        for (int i = 0; i < 3; i++) assert_int_equal(lago_message_forward(ch, kept_message, NULL, NULL, NULL), 0);
        assert_true(t->v.alloc.live_bytes - before < 20000);
        lago_message_release(kept_message);
        kept_message = NULL;
        virtual_take(&t->v, SIZE_MAX);
        if (blocked) server_send(&t->v, "0 connection.unblocked");
        virtual_run(&t->v);
        assert_true(t->v.output_size > 600000);
        const uint8_t *end = t->v.output + t->v.output_size - 1;
        for (size_t i = 1; i <= 68936; i++) assert_int_equal(end[-(ptrdiff_t)i], 'x');
        assert_true(lago_connection_output_size(t->conn) == 0);
        done();
    }
}

/* Its return finds it, though no C string holds its routing key. */
static void a_forwarded_message_comes_back(void **state) {
    (void)state;
    lago_channel_t *ch = receive("1 header body_size=1\n1 body \"x\"");
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    lago_forward_t how = { .mandatory = true };
    assert_int_equal(lago_message_forward(ch, kept_message, &how, noted_publish, probe(t, "p")), 1);
    server_send(&t->v, "1 confirm.select-ok\n"
                       "1 basic.return reply_code=312 reply_text=\"NO_ROUTE\" exchange=\"from\" routing_key=\"a\\x00b\"\n"
                       "1 header body_size=1\n1 body \"x\"\n1 basic.ack delivery_tag=1");
    assert_journal(t, "1 return 312 a; p 1 returned");
    done();
}

static void an_owed_outcome_keeps_the_loop_alive(void **state) {
    (void)state;
    lago_channel_t *ch = receive("1 header body_size=1\n1 body \"x\"");
    assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
    server_send(&t->v, "1 confirm.select-ok");
    lago_connection_unref(t->conn);
    assert_int_equal(lago_message_forward(ch, kept_message, NULL, NULL, NULL), 1);
    virtual_run(&t->v);
    assert_false(link_wants(t->conn).alive); /* nobody waits for that one */
    assert_int_equal(lago_message_forward(ch, kept_message, NULL, noted_publish, probe(t, "p")), 2);
    virtual_run(&t->v);
    assert_true(link_wants(t->conn).alive);
    server_send(&t->v, "1 basic.ack delivery_tag=2 multiple=1");
    assert_journal(t, "p 2 confirmed");
    assert_false(link_wants(t->conn).alive);
    done();
}

static void the_channel_remembers_what_could_not_be_forwarded(void **state) {
    (void)state;
    lago_channel_t *ch = receive("1 header body_size=0");
    assert_int_equal(forward_table(ch, "\1nU\0\1", 5), LAGO_ETYPE);
    assert_int_equal(lago_channel_error(ch), LAGO_ETYPE);
    done();
}

static void forwarding_without_memory(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        lago_channel_t *ch =
            receive("1 header body_size=200000\n1 body size=60000\n1 body size=60000\n1 body size=60000\n1 body size=20000");
        assert_int_equal(lago_confirm_select(ch, NULL, NULL, NULL), 0);
        lago_forward_t how = { .mandatory = true };
        virtual_take(&t->v, 0);
        fail_alloc_at(&t->v.alloc, n, true);
        int64_t rc = lago_message_forward(ch, kept_message, &how, noted_publish, probe(t, "p"));
        fail_alloc_at(&t->v.alloc, 0, false);
        assert_true(rc == (rc < 0 ? LAGO_ENOMEM : 1));
        assert_int_equal(lago_channel_unconfirmed_count(ch), rc < 0 ? 0 : 1);
        done();
        if (rc > 0) return;
    }
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
        cmocka_unit_test(returned_and_fetched_messages_are_kept),
        cmocka_unit_test(forwards_byte_for_byte),
        cmocka_unit_test(a_user_id_stays_behind),
        cmocka_unit_test(odd_letters),
        cmocka_unit_test(a_big_body_is_forwarded_without_a_copy),
        cmocka_unit_test(a_forwarded_message_comes_back),
        cmocka_unit_test(an_owed_outcome_keeps_the_loop_alive),
        cmocka_unit_test(the_channel_remembers_what_could_not_be_forwarded),
        cmocka_unit_test(forwarding_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
