/*
 * lago-declare-queue: make a queue, or check that one is there, and print its name.
 *
 *   lago-declare-queue -q NAME [-d] [--exclusive] [--auto-delete] [--passive] [--argument NAME=VALUE]...
 */
#include "arguments.h"
#include "io.h"
#include "options.h"
#include "program.h"
#include <stdio.h>
#include <string.h>

static char *queue, **arguments;
static int durable, exclusive, auto_delete, passive;

static program_t program;
static lago_table_builder_t *table;
static io_t out;
static char line[256 + 1]; /* a name has at most 255 bytes */

static void on_printed(void *data, int error, size_t count) {
    (void)count;
    if (error)
        program_output_failed(data, error);
    else
        program_close(data);
}

static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    program_t *p = data;
    (void)ch;
    if (reason) {
        program_fail(p, "cannot declare the queue", reason);
        return;
    }
    memcpy(line, ok->queue.data, ok->queue.size);
    line[ok->queue.size] = '\n';
    program_took(p, "cannot print", io_write(&p->loop, &out, 1, line, ok->queue.size + 1, on_printed, p));
}

static void start(program_t *p) {
    lago_queue_declare_t declare = {
        .queue = queue,
        .passive = passive,
        .durable = durable,
        .exclusive = exclusive,
        .auto_delete = auto_delete,
        .arguments = arguments_table(table),
    };
    program_took(p, "cannot declare the queue", lago_queue_declare(p->ch, &declare, on_declared, p));
}

int main(int argc, char **argv) {
    struct poptOption known[] = {
        { "queue", 'q', POPT_ARG_STRING, &queue, 0, "the queue name to declare, or the empty string", "queue" },
        { "durable", 'd', POPT_ARG_VAL, &durable, 1, "declare a durable queue", NULL },
        { "exclusive", 'x', POPT_ARG_VAL, &exclusive, 1, "declare a queue of this connection: gone when the command ends", NULL },
        { "auto-delete", '\0', POPT_ARG_VAL, &auto_delete, 1, "declare a queue that goes with its last consumer", NULL },
        { "passive", '\0', POPT_ARG_VAL, &passive, 1, "only check that the queue exists", NULL },
        { "argument", '\0', POPT_ARG_ARGV, &arguments, 0, "an argument of the queue (may be specified multiple times)",
          "name[:type]=value" },
        CONNECTION_OPTIONS,
        POPT_AUTOHELP POPT_TABLEEND,
    };
    options_read(argc, argv, known, NULL);
    if (!queue) options_fail("queue name not specified");
    table = arguments_parse(arguments);
    program_run(&program, start);
    lago_table_builder_free(table);
    return program_end(&program, NULL);
}
