/*
 * lago-get: take one message from a queue and print its body. Exit code 2: the queue is empty.
 *
 *   lago-get -q NAME [--json]
 *
 * The message is acknowledged when it has been written, so one that could not be printed stays in the queue.
 */
#include "io.h"
#include "json.h"
#include "options.h"
#include "program.h"
#include <stdlib.h>
#include <string.h>

#define EXIT_EMPTY 2 /* as amqp-get */

static char *queue;
static int as_json;

static program_t program;
static lago_message_t *message;
static char *text; /* what is printed of it */
static io_t out;

static void on_printed(void *data, int error, size_t count) {
    program_t *p = data;
    (void)count;
    if (error)
        program_output_failed(p, error);
    else if (program_took(p, "cannot acknowledge", lago_basic_ack(p->ch, message->delivery_tag, 0)))
        program_close(p);
}

static void print_message(program_t *p) {
    text = as_json ? json_message(message, true) : malloc(message->body.size + 1);
    if (!text) {
        program_complain(p, "out of memory");
        return;
    }
    if (!as_json) memcpy(text, message->body.data, message->body.size);
    size_t size = as_json ? strlen(text) : message->body.size;
    program_took(p, "cannot print", io_write(&p->loop, &out, 1, text, size, on_printed, p));
}

static void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *got, void *data) {
    program_t *p = data;
    (void)ch;
    if (reason) {
        program_fail(p, "cannot get a message", reason);
    } else if (!got) {
        p->exit_code = EXIT_EMPTY;
        program_close(p);
    } else if (program_took(p, "cannot keep the message", lago_message_keep(got, &message))) {
        print_message(p);
    }
}

static void start(program_t *p) {
    program_took(p, "cannot get a message", lago_basic_get(p->ch, &(lago_basic_get_t){ .queue = queue }, on_got, p));
}

int main(int argc, char **argv) {
    struct poptOption known[] = {
        { "queue", 'q', POPT_ARG_STRING, &queue, 0, "the queue to consume from", "queue" },
        { "json", '\0', POPT_ARG_VAL, &as_json, 1, "print everything about the message as a line of JSON", NULL },
        CONNECTION_OPTIONS,
        POPT_AUTOHELP POPT_TABLEEND,
    };
    options_read(argc, argv, known, NULL);
    if (!queue) options_fail("queue not specified");
    program_run(&program, start);
    if (!out.is_busy) {
        lago_message_release(message);
        free(text);
    }
    return program_end(&program, NULL);
}
