/*
 * What a broker writes into any of its strings reaches no terminal and no log as it is: control characters, escape sequences, lines of
 * its own, formats, what is no ASCII (S44, S66, S67; CVE-2019-11287 was a format from a header). Every string and table field of every
 * method that a broker may send, by the table of methods, in the state in which it is waited for and in one in which it is not, and
 * every string of the properties of a message.
 */
#include "client_test.h"
#include "frame.h"
#include "method.h"
#include "properties.h"
#include "table.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct client_test test; /* too large for a stack under a sanitizer */
static struct client_test *const t = &test;

/* A reason with all its parts; a dump has many lines. */
#define LINE_MAX_ 2400u

static struct {
    size_t lines, reasons;
    const char *method; /* the case */
} seen;

static void assert_clean(const char *text, size_t size, bool may_break, const char *where) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < ' ' || c > '~') && !(may_break && c == '\n')) fail_msg("%s: byte 0x%02x in %s: %s", seen.method, c, where, text);
    }
}

static void on_line(void *data, lago_log_level_t level, const char *line) {
    (void)data;
    (void)level;
    size_t size = strlen(line);
    if (size > LINE_MAX_) fail_msg("%s: a line of %zu bytes", seen.method, size);
    assert_clean(line, size, false, "the log");
    seen.lines++;
}

/* All that is made for people; reply_text is the broker's own, with its size. */
static void assert_reason_is_clean(const lago_reason_t *reason) {
    char words[LINE_MAX_];
    if (!reason) return;
    size_t size = lago_reason_format(reason, words, sizeof(words));
    assert_true(size < sizeof(words));
    assert_clean(words, size, false, "a reason");
    assert_clean(reason->detail, strlen(reason->detail), false, "a detail");
    assert_clean(reason->hint, strlen(reason->hint), false, "a hint");
    assert_true(reason->reply_text_size < sizeof(reason->reply_text));
    seen.reasons++;
}

static void assert_dump_is_clean(void) {
    static char dump[65536];
    size_t size = lago_connection_dump(t->conn, dump, sizeof(dump));
    assert_true(size < sizeof(dump));
    assert_clean(dump, size, true, "the dump");
}

static void ended(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn, (void)data;
    assert_reason_is_clean(reason);
}

static void channel_ended(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    assert_reason_is_clean(reason);
}

static void declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch, (void)ok, (void)data;
    assert_reason_is_clean(reason);
}

static void consumed(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch, (void)tag, (void)data;
    assert_reason_is_clean(reason);
}

static void got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    (void)ch, (void)message, (void)data;
    assert_reason_is_clean(reason);
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    char words[LINE_MAX_];
    size_t size = lago_table_format(&message->properties->headers, words, sizeof(words));
    (void)ch, (void)data;
    assert_clean(words, size < sizeof(words) ? size : sizeof(words) - 1, false, "a table");
}

/* ---------------------------------------------------------------- what it says */

static char all_octets[255];

static const struct {
    const char *data;
    size_t size;
} texts[] = {
    { all_octets, sizeof(all_octets) },
    { "%s%n%1000000d%x%*c%$", 20 },
    { "\x1b[2J\x1b]0;owned\x07\x1bP\r\n2026-11-21 ERROR lago: a line of its own\n", 58 },
    { "\0a\0b\0", 5 },
    { "\x9b"
      "31m\xc2\x9b\xe2\x80\xae\xff\xfe\xc0\x80\xf8\x7f",
      16 },
    { "\"\\\"} x=\"", 8 },
};

#define TEXTS (sizeof(texts) / sizeof(texts[0]))

static lago_string_t text_of(size_t i) { return (lago_string_t){ texts[i].data, texts[i].size }; }

/* A table with the text as a name, a string, bytes, and inside. */
static lago_table_t table_of(lago_string_t text) {
    static lago_field_t inner[1], fields[4];
    static lago_value_t values[1];
    inner[0] = (lago_field_t){ text, { LAGO_TYPE_STRING, { .string = text } } };
    values[0] = (lago_value_t){ LAGO_TYPE_BYTES, { .string = text } };
    fields[0] = inner[0];
    fields[1] = (lago_field_t){ { "product", 7 }, { LAGO_TYPE_BYTES, { .string = text } } };
    fields[2] = (lago_field_t){ { "capabilities", 12 }, { LAGO_TYPE_TABLE, { .table = { inner, NULL, 1, 0 } } } };
    fields[3] = (lago_field_t){ { "a", 1 }, { LAGO_TYPE_ARRAY, { .array = { values, NULL, 1, 0 } } } };
    return (lago_table_t){ fields, NULL, 4, 0 };
}

static bool is_text(const struct method_field *field) { return field->type >= FIELD_SHORTSTR; }

/* @return how many fields were set. */
static size_t fill(union method_args *args, const struct method_info *info, lago_string_t text) {
    size_t count = 0;
    memset(args, 0, sizeof(*args));
    for (size_t i = 0; i < info->field_count; i++) {
        const struct method_field *field = &info->fields[i];
        char *at = (char *)args + field->offset;
        if (field->reserved || !is_text(field)) continue;
        count++;
        if (field->type == FIELD_SHORTSTR) memcpy(at, &text, sizeof(text));
        if (field->type == FIELD_LONGSTR) memcpy(at, &(lago_bytes_t){ text.data, text.size }, sizeof(lago_bytes_t));
        if (field->type == FIELD_TABLE) memcpy(at, &(lago_table_t){ 0 }, sizeof(lago_table_t));
        if (field->type == FIELD_TABLE) *(lago_table_t *)(void *)at = table_of(text);
    }
    return count;
}

static void input_frame(enum frame_type type, uint16_t channel, const struct writer *w) {
    static uint8_t bytes[16384];
    assert_int_equal(w->error, 0);
    uint8_t *at = frame_begin(bytes, type, channel, w->size);
    memcpy(at, w->data, w->size);
    (void)frame_finish(at + w->size);
    virtual_input(&t->v, bytes, w->size + FRAME_OVERHEAD);
}

static void say(uint16_t channel, const struct method_info *info, const union method_args *args) {
    uint8_t payload[8192];
    struct writer w = writer_over(payload, sizeof(payload));
    method_write(&w, info, args);
    input_frame(FRAME_METHOD, channel, &w);
}

static void say_header(lago_string_t text) {
    uint8_t payload[8192];
    char whole[256];
    lago_table_t headers = table_of(text);
    (void)snprintf(whole, sizeof(whole), "%.*s", (int)text.size, text.data); /* up to a NUL, which properties do not take */
    lago_properties_t properties = { .headers = headers,
                                     .content_type = whole,
                                     .content_encoding = whole,
                                     .correlation_id = whole,
                                     .reply_to = whole,
                                     .expiration = whole,
                                     .message_id = whole,
                                     .type = whole,
                                     .user_id = whole,
                                     .app_id = whole,
                                     .cluster_id = whole };
    struct writer w = writer_over(payload, sizeof(payload));
    content_header_write(&w, 0, &properties);
    input_frame(FRAME_HEADER, 1, &w);
}

/* ---------------------------------------------------------------- when */

static void begin(void) {
    client_init(t);
    t->v.on_line = on_line;
    lago_connection_options_t options = { .on_open_error = ended, .on_close = ended };
    assert_int_equal(virtual_connect(&t->v, NULL, &options), 0);
    t->conn = t->v.conn;
    virtual_run(&t->v);
}

/* Open, with a channel that waits for what the method answers, and has published. */
static void bring_open(uint32_t method, bool waited_for) {
    lago_channel_t *ch;
    server_handshake(&t->v);
    lago_channel_options_t options = { .on_close = channel_ended };
    assert_int_equal(lago_channel_open(t->conn, &options, &ch), 0);
    virtual_run(&t->v);
    server_send(&t->v, "1 channel.open-ok");
    lago_basic_publish_t publish = { .routing_key = "q", .mandatory = true, .body = { "x", 1 } };
    assert_int_equal(lago_basic_publish(ch, &publish, NULL, NULL), 0);
    lago_basic_consume_t consume = { .queue = "q", .consumer_tag = "c", .on_message = on_message };
    if (waited_for && method == METHOD_QUEUE_DECLARE_OK) assert_int_equal(lago_queue_declare(ch, NULL, declared, NULL), 0);
    if (waited_for && method == METHOD_BASIC_GET_OK) assert_int_equal(lago_basic_get(ch, NULL, got, NULL), 0);
    if (waited_for && method == METHOD_BASIC_CONSUME_OK) consume.consumer_tag = NULL;
    if (waited_for) assert_int_equal(lago_basic_consume(ch, &consume, consumed, NULL), 0);
    virtual_run(&t->v);
    if (waited_for && method != METHOD_BASIC_CONSUME_OK) server_send(&t->v, "1 basic.consume-ok consumer_tag=\"c\"");
}

static void bring(uint32_t method, bool waited_for) {
    begin();
    if (!waited_for && method >> 16 != 10) bring_open(method, false);
    if (!waited_for) return;
    switch (method) {
    case METHOD_CONNECTION_START: return;
    case METHOD_CONNECTION_SECURE:
    case METHOD_CONNECTION_TUNE: server_send(&t->v, SERVER_START); return;
    case METHOD_CONNECTION_OPEN_OK: server_send(&t->v, SERVER_START "\n0 connection.tune heartbeat=60"); return;
    default: bring_open(method, true); return;
    }
}

static void one(const struct method_info *info, size_t text, bool waited_for) {
    union method_args args;
    fill(&args, info, text_of(text));
    bring(info->id, waited_for);
    if (waited_for && info->id == METHOD_BASIC_DELIVER) args.basic_deliver.consumer_tag = (lago_string_t){ "c", 1 };
    if (info->id == METHOD_BASIC_DELIVER) args.basic_deliver.delivery_tag = 1;
    if (info->id == METHOD_BASIC_GET_OK) args.basic_get_ok.delivery_tag = 1;
    say(info->id >> 16 == 10 ? 0 : 1, info, &args);
    if (info->content) say_header(text_of(text));
    virtual_run(&t->v);
    assert_dump_is_clean();
    if (t->v.conn) virtual_lose(&t->v, -4095);
    virtual_run(&t->v);
    lago_connection_free(t->conn);
    virtual_deinit(&t->v);
}

static void no_string_of_a_broker_is_told_as_it_is(void **state) {
    (void)state;
    union method_args args;
    size_t methods = 0;
    for (size_t i = 0; i < sizeof(all_octets); i++) all_octets[i] = (char)(i + 1);
    for (size_t i = 0; method_at(i); i++) {
        const struct method_info *info = method_at(i);
        if (!info->from_server || fill(&args, info, text_of(0)) == 0) continue;
        methods++;
        seen.method = info->name;
        for (size_t text = 0; text < TEXTS; text++) {
            one(info, text, true);
            one(info, text, false);
        }
    }
    assert_true(methods >=
                12); /* start, secure, close, blocked; channel.close; declare-ok; consume-ok, cancel, cancel-ok, return ... */
    assert_true(seen.reasons >= methods * TEXTS);
    assert_true(seen.lines > 1000);
}

/* A stranger's first bytes, which are no frame at all. */
static void nor_are_the_first_bytes(void **state) {
    (void)state;
    static const char *const words[] = { "\x1b[2J\x9b\r\n%s%n\x7f", "AMQP\x1b\x07\xff%n%s", "HTTP/1.1 \x1b[31m\r\n\r\n" };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        seen.method = "a greeting";
        begin();
        virtual_input(&t->v, words[i], strlen(words[i]));
        virtual_run(&t->v);
        assert_dump_is_clean();
        lago_connection_free(t->conn);
        virtual_deinit(&t->v);
    }
}

/* What is kept of a broker is what one string can hold, and the answer to connection.start fits into the first frames. */
static void what_is_kept_is_bounded(void **state) {
    (void)state;
    static char words[8400], line[9000];
    for (size_t size = 7000; size <= 8200; size += 1200) {
        begin();
        memset(words, 'x', size);
        words[size] = '\0';
        (void)snprintf(line, sizeof(line),
                       "0 connection.start version_minor=9 server_properties={p=\"%s\"} mechanisms=\"PLAIN\" "
                       "locales=\"en_US\"",
                       words);
        size_t before = t->v.alloc.live_bytes;
        server_send(&t->v, line);
        assert_true(t->v.alloc.live_bytes - before < 32768);
        assert_int_equal(virtual_saw(&t->v, "C> 0 connection.start-ok*"), size < 8192); /* the largest frame before tune */
        lago_connection_free(t->conn);
        virtual_deinit(&t->v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_string_of_a_broker_is_told_as_it_is),
        cmocka_unit_test(nor_are_the_first_bytes),
        cmocka_unit_test(what_is_kept_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
