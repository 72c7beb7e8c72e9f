/*
 * The command line that all tools have in common: where the broker is and who logs in, by the flags of rabbitmq-c's amqp-tools.
 * Knows nothing of what a tool does; read a tool first, declare_queue.c for one.
 */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <lago.h>
#include <popt.h>

/* The last line but one in the table of each tool; --help says what letters --url and --server have, see options_letters. */
#define CONNECTION_OPTIONS                                                                                                       \
    { NULL, '\0', POPT_ARG_INCLUDE_TABLE, connection_options, 0, "Connection options", NULL }

extern struct poptOption connection_options[];

/* Before options_read, in a tool that needs 'u' or 's' for something else: other letters for --url and --server, '\0' for none. */
void options_letters(char url, char server);

/*
 * Read the command line into the variables of `table`. Does not return after --help (exit code 0) or a mistake (one line on
 * stderr, exit code 1, as the amqp-tools). Passwords are overwritten in argv, so that ps and /proc show none from here on.
 *
 * `operands` describes in the help what may follow the options, NULL if nothing may. Options end at the first operand, so that
 * those of a command stay the command's.
 *
 * Returns the operands, NULL-terminated, to the end of the program; NULL if there are none.
 */
const char *const *options_read(int argc, char **argv, struct poptOption *table, const char *operands);

/* End for a mistake on the command line: one line on stderr, exit code 1. */
void options_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/*
 * What the options, else the environment (AMQP_URL ...) say of the connection. To be freed by lago_parameters_free, and then
 * options_forget. Ends the program for options that contradict each other. On error a reason is filled.
 */
int options_parameters(lago_parameters_t **parameters, lago_reason_t *reason);

/* Wipe what is still known of passwords. */
void options_forget(void);

/* --timeout in milliseconds; 0 for none. */
uint32_t options_timeout_ms(void);

/* The name of this program, for its messages. */
const char *options_program(void);

#endif
