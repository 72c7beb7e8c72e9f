/* Lines that tell a proxy what to do, and lines that say what it does. For fault_proxy.c. */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include "proxy.h"

/*
 * Do what a line says; the answer goes into `answer`, one or more lines.
 *     new WORDS        faults of links that begin (proxy.h)          link N WORDS     of one; link all WORDS
 *     welcome carry|hang_up|reset|silent                             end N close|reset; end all ...
 *     go_on N|all      what was stalled                              links            list them
 *     lead PORT        where new links lead                          quit
 * @return false: quit.
 */
bool control_line(struct proxy *proxy, const char *line, char *answer, size_t answer_size);

/* "link 3 fired down 1234" and the like. */
void control_words(const struct proxy_link *link, enum proxy_event event, char *words, size_t words_size);

#endif
