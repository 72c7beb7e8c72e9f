/* A broker on a socket. Must not know what is tested; only its words (broker.c) know AMQP. */
#include "loop_broker.h"
#include "frame.h"
#include "method.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle;
    *buffer = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_written(uv_write_t *request, int status) {
    (void)status;
    free(request->data);
    free(request);
}

static void say(struct loop_broker *b, const char *lines) {
    size_t size;
    uv_write_t *request = calloc(1, sizeof *request);
    assert_non_null(request);
    request->data = server_encode(lines, &size);
    uv_buf_t buffer = uv_buf_init(request->data, (unsigned)size);
    if (uv_write(request, (uv_stream_t *)b->client, &buffer, 1, on_written) < 0) on_written(request, 0);
}

/* What the script has answered meanwhile. */
static void answer(struct loop_broker *b) {
    if (!b->client || b->mute || b->script.size == 0) return;
    char *now = malloc(b->script.size + 1);
    assert_non_null(now);
    memcpy(now, b->script.answers, b->script.size);
    now[b->script.size] = '\0';
    b->script.size = 0;
    say(b, now);
    free(now);
}

static void on_check(uv_check_t *check) { answer(check->data); }

static void on_gone(uv_handle_t *handle) { free(handle); }

void loop_broker_hang_up(struct loop_broker *b) {
    if (!b->client) return;
    uv_close((uv_handle_t *)b->client, on_gone);
    b->client = NULL;
    b->hung_up = true;
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct loop_broker *b = stream->data;
    if ((uv_stream_t *)b->client != stream) {
        free(buffer->base); /* the one before */
        return;
    }
    if (size > 0) {
        b->received = realloc(b->received, b->received_size + (size_t)size);
        assert_non_null(b->received);
        memcpy(b->received + b->received_size, buffer->base, (size_t)size);
        b->received_size += (size_t)size;
    } else if (size < 0) {
        loop_broker_hang_up(b);
    }
    free(buffer->base);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct loop_broker *b = listener->data;
    assert_int_equal(status, 0);
    loop_broker_hang_up(b);
    b->client = malloc(sizeof *b->client);
    assert_non_null(b->client);
    uv_tcp_init(listener->loop, b->client);
    uv_unref((uv_handle_t *)b->client);
    b->client->data = b;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)b->client), 0);
    b->hung_up = false;
    b->client_count++;
    b->received_size = 0;
    if (!b->deaf) uv_read_start((uv_stream_t *)b->client, on_alloc, on_read);
    answer(b);
}

void loop_broker_start(struct loop_broker *b, uv_loop_t *loop) {
    struct sockaddr_in address;
    int size = sizeof address;
    memset(b, 0, sizeof *b);
    b->loop = loop;
    uv_tcp_init(loop, &b->listener);
    uv_check_init(loop, &b->check);
    b->listener.data = b->check.data = b;
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
    assert_int_equal(uv_tcp_bind(&b->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&b->listener, 8, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&b->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(b->url, sizeof b->url, "amqp://127.0.0.1:%u", ntohs(address.sin_port));
    uv_check_start(&b->check, on_check);
    uv_unref((uv_handle_t *)&b->check);
    uv_unref((uv_handle_t *)&b->listener);
}

void loop_broker_log(lago_log_level_t level, const char *line, void *data) {
    struct loop_broker *b = data;
    broker_hear(&b->script, level, line);
}

void loop_broker_say(struct loop_broker *b, unsigned channel, const char *lines) {
    answer(b);
    if (!b->client || b->script.connection_gone || (channel && !b->script.channels[channel].open)) return;
    say(b, lines);
}

/* A method as the log has it: "1 queue.declare queue="q"". */
static void print(const struct frame *frame, char *line, size_t size) {
    const struct method_info *info;
    union method_args args;
    struct text t;
    text_init(&t, line, size);
    text_addf(&t, "%u ", frame->channel);
    if (frame->type == FRAME_METHOD && method_read(frame->payload, frame->size, &info, &args) == 0) method_print(&t, info, &args);
}

bool loop_broker_got(const struct loop_broker *b, const char *line) {
    char printed[512];
    struct frame frame;
    size_t at = PROTOCOL_HEADER_SIZE, need;
    while (at < b->received_size) {
        if (frame_decode(b->received + at, b->received_size - at, SIZE_MAX, &frame, &need) != FRAME_COMPLETE) return false;
        print(&frame, printed, sizeof printed);
        if (strncmp(printed, line, strlen(line)) == 0) return true;
        at += need;
    }
    return false;
}

static void on_stopped(uv_handle_t *handle) {
    struct loop_broker *b = handle->data;
    free(b->received);
    b->received = NULL;
    b->received_size = 0;
}

void loop_broker_stop(struct loop_broker *b) {
    loop_broker_hang_up(b);
    uv_close((uv_handle_t *)&b->check, NULL);
    uv_close((uv_handle_t *)&b->listener, on_stopped);
}
