/* A capture of a real conversation, read back by tshark: every frame decoded, none malformed. */
#include "fixture.h"
#include <unistd.h>

static char path[] = "/tmp/lago-capture-XXXXXX"; /* the last six made anew for each test */

static void append(const void *bytes, size_t size, void *data) { assert_int_equal(fwrite(bytes, 1, size, data), size); }

/* The output of tshark on the file, at most `size` bytes of it. @return how many lines. */
static size_t tshark(const char *options, char *output, size_t size) {
    char command[512];
    size_t lines = 0, length = 0;
    snprintf(command, sizeof command, "tshark -r %s %s 2>/dev/null", path, options);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    for (int c; (c = fgetc(pipe)) != EOF; lines += c == '\n')
        if (length + 1 < size) output[length++] = (char)c;
    output[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
    return lines;
}

/* Each of these words, in this order. */
static void assert_in_order(const char *text, const char *const *words) {
    for (; *words; words++) {
        const char *found = strstr(text, *words);
        if (!found) fail_msg("\"%s\" is missing in: %.2000s", *words, text);
        text = found + strlen(*words);
    }
}

/* Bodies of nothing, of one frame, of several; confirms; two channels; a channel that the broker closes. */
static void talk(struct fixture *f) {
    static char body[300000];
    const char *queue = new_queue(f);
    lago_channel_options_t options = channel_options();
    lago_channel_t *other;
    lago_confirm_select(f->ch, NULL, NULL, NULL);
    lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = queue, .auto_ack = true, .on_message = on_message }, NULL, NULL);
    static const size_t sizes[] = { 0, 5, 200000 };
    memset(body, 'b', sizeof body);
    for (size_t i = 0; i < 3; i++) {
        lago_properties_t properties = { .content_type = "text/plain", .headers = LAGO_TABLE(LAGO_FIELD_I32("n", 42)) };
        lago_basic_publish_t args = { .routing_key = queue, .properties = &properties, .body = { body, sizes[i] } };
        assert_int_equal(lago_basic_publish(f->ch, &args, NULL, NULL), i + 1);
    }
    assert_int_equal(lago_channel_open(f->conn, &options, &other), 0);
    lago_queue_declare(other, &(lago_queue_declare_t){ .queue = "lago.none", .passive = true }, NULL, NULL);
    run_until(f, lago_connection_counters(f->conn).messages_received == 3 && lago_connection_counters(f->conn).confirmed == 3 &&
                     f->channel_closes == 1);
}

static FILE *capture_begin(struct fixture *f) {
    if (system("tshark --version >/dev/null 2>&1") != 0) {
        print_message("tshark is not installed: the capture is not read back\n");
        skip();
    }
    strcpy(path, "/tmp/lago-capture-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "wb");
    assert_non_null(file);
    assert_int_equal(lago_context_capture(f->context, append, file), 0);
    return file;
}

static void capture_end(struct fixture *f, FILE *file) {
    static char output[1000];
    assert_int_equal(lago_context_capture(f->context, NULL, NULL), 0);
    fclose(file);
    assert_int_equal(tshark("-Y '_ws.malformed or _ws.expert.group == \"Malformed\" or _ws.expert.severity >= 0x800000'", output,
                            sizeof output),
                     0);
    assert_int_equal(tshark("-Y 'tcp.analysis.flags'", output, sizeof output), 0);
}

static void tshark_reads_what_was_said(void **state) {
    static const char *const said[] = { "Connection.Start",   "Connection.Start-Ok", "Connection.Tune",
                                        "Connection.Tune-Ok", "Connection.Open",     "Connection.Open-Ok",
                                        "Channel.Open",       "Channel.Open-Ok",     "Queue.Declare",
                                        "Basic.Consume",      "Basic.Publish",       "Basic.Deliver",
                                        "Connection.Close",   "Connection.Close-Ok", NULL };
    static char output[100000];
    struct fixture *f = *state;
    FILE *file = capture_begin(f);
    connect_and_wait(f);
    f->ch = open_channel(f);
    talk(f);
    assert_int_equal(lago_connection_close(f->conn, NULL), 0);
    run_until(f, f->closed);
    capture_end(f, file);
    assert_true(tshark("-Y amqp", output, sizeof output) >= 14);
    assert_in_order(output, said);
    tshark("-Y 'amqp.method.method == 40 and amqp.method.class == 60' -T fields -e amqp.method.arguments.routing_key", output,
           sizeof output);
    assert_non_null(strstr(output, f->connection_name));
    tshark("-Y amqp.method.arguments.response -T fields -e amqp.method.arguments.response", output, sizeof output);
    assert_true(strstr(output, "2a2a2a2a") || strstr(output, "****"));
    forget_events(f);
    unlink(path);
}

#define CHANNELS 3

static void on_other_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    (void)reason;
    ++*(int *)data;
}

/* Bodies of nothing to 1 MiB on several channels of two connections at once, confirmed; one says goodbye, the other is killed. */
static void two_connections_share_a_file(void **state) {
    static const size_t sizes[] = { 0, 1, 2047, 2049, 131064, 131065, (size_t)1 << 20 };
    static char body[(size_t)1 << 20], output[4096];
    struct fixture *f = *state;
    const size_t count = sizeof sizes / sizeof sizes[0] * CHANNELS;
    int other_closed = 0;
    FILE *file = capture_begin(f);
    connect_and_wait(f);
    f->ch = open_channel(f);
    const char *queue = new_queue(f);
    lago_connection_options_t options = { .parameters = f->parameters, .on_close = on_other_close, .data = &other_closed };
    lago_connection_t *other;
    options.context = f->context;
    assert_int_equal(lago_connect(&f->loop, NULL, &options, &other), 0);
    for (size_t c = 0; c < CHANNELS; c++) {
        lago_channel_t *ch;
        assert_int_equal(lago_channel_open(other, NULL, &ch), 0);
        lago_confirm_select(ch, NULL, NULL, NULL);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            lago_basic_publish_t args = { .routing_key = queue, .body = { body, sizes[i] } };
            assert_true(lago_basic_publish(ch, &args, NULL, NULL) > 0);
        }
    }
    lago_basic_consume(f->ch, &(lago_basic_consume_t){ .queue = queue, .auto_ack = true, .on_message = on_message }, NULL, NULL);
    run_until(f,
              lago_connection_counters(f->conn).messages_received == count && lago_connection_counters(other).confirmed == count);
    assert_int_equal(lago_connection_close(other, NULL), 0);
    run_until(f, other_closed);
    lago_connection_free(other);
    lago_connection_abort(f->conn);
    run_until(f, f->closed);
    capture_end(f, file);
    /* SYN, SYN-ACK, ACK, data, FIN: each of both from its beginning to its end */
    assert_true(tshark("-2 -Y 'tcp.completeness == 31 and tcp.stream <= 1'", output, sizeof output) > 2 * count);
    assert_int_equal(tshark("-2 -Y 'tcp.completeness != 31 or tcp.stream > 1'", output, sizeof output), 0);
    /* as often as they were said, whatever else shares their packets; 40 is publish, 60 deliver */
    static const char *const methods[] = { "40", "60" };
    tshark("-Y 'amqp.method.class == 60' -T fields -E occurrence=a -e amqp.method.method", output, sizeof output);
    for (size_t i = 0; i < 2; i++) {
        size_t found = 0;
        for (const char *at = output; (at = strstr(at, methods[i])) != NULL; at += 2) found++;
        assert_int_equal(found, count);
    }
    forget_events(f);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tshark_reads_what_was_said, setup_loop, teardown),
        cmocka_unit_test_setup_teardown(two_connections_share_a_file, setup_loop, teardown),
    };
    return run_broker_tests(tests);
}
