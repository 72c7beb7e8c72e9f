/*
 * lago-delete-queue: delete a queue, and print how many messages were in it.
 *
 *   lago-delete-queue -q NAME [--if-unused] [--if-empty]
 */
#include "io.h"
#include "options.h"
#include "program.h"
#include <inttypes.h>
#include <stdio.h>

static char *queue;
static int if_unused, if_empty;

static program_t program;
static io_t out;
static char line[16];

static void on_printed(void *data, int error, size_t count) {
    (void)count;
    if (error)
        program_output_failed(data, error);
    else
        program_close(data);
}

static void on_deleted(lago_channel_t *ch, const lago_reason_t *reason, uint32_t message_count, void *data) {
    program_t *p = data;
    (void)ch;
    if (reason) {
        program_fail(p, "cannot delete the queue", reason);
        return;
    }
    int length = snprintf(line, sizeof line, "%" PRIu32 "\n", message_count);
    program_took(p, "cannot print", io_write(&p->loop, &out, 1, line, (size_t)length, on_printed, p));
}

static void start(program_t *p) {
    lago_queue_delete_t delete = { .queue = queue, .if_unused = if_unused, .if_empty = if_empty };
    program_took(p, "cannot delete the queue", lago_queue_delete(p->ch, &delete, on_deleted, p));
}

int main(int argc, char **argv) {
    struct poptOption known[] = {
        { "queue", 'q', POPT_ARG_STRING, &queue, 0, "the queue name to delete", "queue" },
        { "if-unused", '\0', POPT_ARG_VAL, &if_unused, 1, "do not delete unless queue is unused", NULL },
        { "if-empty", 'e', POPT_ARG_VAL, &if_empty, 1, "do not delete unless queue is empty", NULL },
        CONNECTION_OPTIONS,
        POPT_AUTOHELP POPT_TABLEEND,
    };
    options_read(argc, argv, known, NULL);
    if (!queue || !*queue) options_fail("queue name not specified");
    program_run(&program, start);
    return program_end(&program, NULL);
}
