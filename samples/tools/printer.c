/*
 * Prints messages. While one write is under way the next messages are gathered, so that there is one write, and one ack, for many.
 * A message is acknowledged when all of it has been written.
 */
#include "consume.h"
#include "io.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    size_t end; /* where in the text it ends */
    uint64_t delivery_tag;
} mark_t;

typedef struct {
    char *text;
    size_t size, capacity;
    mark_t *marks;
    size_t count, marks_capacity;
} batch_t;

static batch_t waiting, writing;
static io_t out;
static uv_poll_t reader;
static bool reader_is_gone;

bool printer_is_busy(void) { return out.is_busy || waiting.count > 0; }

static void *grown(void *memory, size_t *capacity, size_t wanted, size_t unit) {
    if (wanted <= *capacity) return memory;
    size_t larger = wanted > *capacity * 2 ? wanted : *capacity * 2;
    void *moved = realloc(memory, larger * unit);
    if (moved) *capacity = larger;
    return moved;
}

static bool batch_add(batch_t *batch, const char *text, size_t size, uint64_t delivery_tag) {
    char *room = grown(batch->text, &batch->capacity, batch->size + size + 1, 1);
    if (!room) return false;
    batch->text = room;
    mark_t *marks = grown(batch->marks, &batch->marks_capacity, batch->count + 1, sizeof *marks);
    if (!marks) return false;
    batch->marks = marks;
    memcpy(batch->text + batch->size, text, size);
    batch->size += size;
    batch->marks[batch->count++] = (mark_t){ batch->size, delivery_tag };
    return true;
}

static void write_waiting(consume_t *c);

static void on_written(void *data, int error, size_t count) {
    consume_t *c = data;
    for (size_t i = 0; i < writing.count && writing.marks[i].end <= count; i++)
        consume_settle(c, writing.marks[i].delivery_tag, true);
    if (!error && reader_is_gone) error = UV_EPIPE; /* it went when that had just been written */
    if (error) {
        waiting.count = waiting.size = 0;
        program_output_failed(c->program, error);
    }
    write_waiting(c);
}

static void write_waiting(consume_t *c) {
    if (out.is_busy) return;
    if (waiting.count == 0) {
        consume_rest(c);
        return;
    }
    batch_t empty = writing;
    writing = waiting;
    waiting = empty;
    waiting.count = waiting.size = 0;
    program_took(c->program, "cannot print",
                 io_write(&c->program->loop, &out, STDOUT_FILENO, writing.text, writing.size, on_written, c));
}

void printer_take(consume_t *c, const lago_message_t *message) {
    size_t size;
    char *text = consume_render(c, message, &size);
    if (!text || !batch_add(&waiting, text, size, message->delivery_tag)) program_complain(c->program, "out of memory");
    free(text);
    write_waiting(c);
}

void printer_stop(void) {
    waiting.count = waiting.size = 0;
    if (uv_is_active((uv_handle_t *)&reader)) uv_poll_stop(&reader);
}

/* ---------------------------------------------------------------- `| head -1` */

static void on_reader_gone(uv_poll_t *poll, int status, int events) {
    consume_t *c = poll->data;
    (void)status, (void)events;
    uv_poll_stop(poll);
    reader_is_gone = true;
    if (out.is_busy) return; /* that write says how far it came */
    program_output_failed(c->program, UV_EPIPE);
}

void printer_watch(consume_t *c) {
    struct stat stat;
    if (fstat(STDOUT_FILENO, &stat) < 0 || !S_ISFIFO(stat.st_mode)) return;
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (flags < 0 || uv_poll_init(&c->program->loop, &reader, STDOUT_FILENO) < 0) return;
    fcntl(STDOUT_FILENO, F_SETFL, flags); /* libuv makes it non-blocking, for everybody who has it */
    reader.data = c;
    uv_poll_start(&reader, UV_DISCONNECT, on_reader_gone);
}
