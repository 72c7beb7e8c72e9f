/* Messages for stdout and for commands: the body as it is, or everything as a line of JSON. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <lago.h>

/*
 * A message as one line of JSON, ending with a line feed; what it looks like is in lago-tools(7).
 *
 * Returns NULL when there is no memory. To be freed by free().
 */
char *json_message(const lago_message_t *message, bool with_message_count);

#endif
