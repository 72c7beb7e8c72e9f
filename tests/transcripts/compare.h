/* What was written down of a replay, beside what the transcript says. */
#ifndef TRANSCRIPTS_COMPARE_H
#define TRANSCRIPTS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

/* A file, malloc'ed and NUL-terminated; ends the program if there is none. */
char *script_read(const char *path);

/* The next line that counts, no comment, of *size octets; NULL at the end. Moves *at. */
const char *script_next_line(const char **at, size_t *size);

/* Whether the lines that count are the same; and both beside each other, for people. */
bool script_matches(const char *expected, const char *actual);
void script_print_sides(const char *expected, const char *actual);

#endif
