/* Whether what an application did and heard, as text (app.h), is the same as in another life. */
#ifndef TORTURE_FACTS_H
#define TORTURE_FACTS_H

#include <stdbool.h>

/*
 * Whether the same came of it. Not when: what was accepted without memory to write it leaves a little later, and what hung on it comes
 * later, or gets another number.
 */
bool same_facts(const char *golden, const char *text);

/*
 * Whether the same promises were kept, however they ended: of a link that is cut. How much was answered before depends on when its
 * octets left, which a failure may put off; so also whether a channel was open, and has an end of its own.
 */
bool same_promises(const char *golden, const char *text);

#endif
