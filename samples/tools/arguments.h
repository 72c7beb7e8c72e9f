/* Tables from the command line: arguments of queues, headers of messages. */
#ifndef TOOLS_ARGUMENTS_H
#define TOOLS_ARGUMENTS_H

#include <lago.h>

/*
 * From --argument NAME=VALUE, NULL-terminated or NULL: a whole number is an integer, true and false are booleans, all else is a
 * string. NAME:TYPE=VALUE forces one of: string int bool double timestamp. Ends the program for what cannot be read. To be freed.
 */
lago_table_builder_t *arguments_parse(char *const *texts);

/* From --header "NAME: VALUE", all of them strings. Likewise. */
lago_table_builder_t *headers_parse(char *const *texts);

/* The table of one; empty for NULL. */
lago_table_t arguments_table(const lago_table_builder_t *builder);

#endif
