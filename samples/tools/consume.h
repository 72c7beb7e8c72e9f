/* What lago-consume does with a message: printer.c prints it, command.c gives it to a command. consume.c knows about queues. */
#ifndef TOOLS_CONSUME_H
#define TOOLS_CONSUME_H

#include "program.h"

enum { FORMAT_LINE, FORMAT_RAW, FORMAT_JSON };

typedef struct consume {
    program_t *program;
    int format;
    const char *const *command; /* NULL: print */
    bool no_ack;                /* acknowledge whatever becomes of the message */
    bool no_requeue;            /* what a command has failed on is rejected for good */
} consume_t;

/* A message has been printed, or its command has ended. */
void consume_settle(consume_t *consume, uint64_t delivery_tag, bool is_good);

/* Nothing is under way any more: if we are to end, now is the time. */
void consume_rest(consume_t *consume);

/* The bytes of a message in the format. Returns NULL when there is no memory. To be freed by free(). */
char *consume_render(const consume_t *consume, const lago_message_t *message, size_t *size);

/* Take a message, borrowed until the call returns. */
void printer_take(consume_t *consume, const lago_message_t *message);
void command_take(consume_t *consume, const lago_message_t *message);

/* Whether something is under way. */
bool printer_is_busy(void);
bool command_is_busy(void);

/* Let go of what has not been begun: the broker will give it to somebody else. */
void printer_stop(void);
void command_stop(void);

/* Notice when nobody reads stdout any more, also while there is nothing to print. */
void printer_watch(consume_t *consume);

#endif
