/* Texts of lives, compared. Must not know who lived. */
#include "facts.h"

#include <stdlib.h>
#include <string.h>

#define LINES_MAX 2000

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The lines of a text, sorted, without their numbers, and but for those that tell of memory that was given back. */
static size_t sorted_lines(char *text, char **lines, size_t max) {
    size_t count = 0;
    for (char *line = strtok(text, "\n"); line && count < max; line = strtok(NULL, "\n")) {
        char *to = line;
        for (const char *from = line; *from; from++)
            if (*from < '0' || *from > '9') *to++ = *from;
        *to = '\0';
        if (strcmp(line, "! body") != 0 && strcmp(line, "! prepared body") != 0) lines[count++] = line;
    }
    qsort(lines, count, sizeof *lines, by_text);
    return count;
}

bool same_facts(const char *golden, const char *text) {
    static char *lines[2][LINES_MAX];
    char *copies[2] = { strdup(golden), strdup(text) };
    size_t counts[2];
    for (int i = 0; i < 2; i++) counts[i] = sorted_lines(copies[i], lines[i], LINES_MAX);
    bool same = counts[0] == counts[1];
    for (size_t i = 0; same && i < counts[0]; i++) same = strcmp(lines[0][i], lines[1][i]) == 0;
    free(copies[0]);
    free(copies[1]);
    return same;
}
