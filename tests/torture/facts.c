/* Texts of lives, compared. Must not know who lived. */
#include "facts.h"

#include <stdlib.h>
#include <string.h>

#define LINES_MAX 2000

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The last word, as in "! declare ok". */
static void cut_outcome(char *line) {
    char *last = strrchr(line, ' ');
    if (last && last > line + 1) *last = '\0';
}

/*
 * The lines of a text, sorted, without their numbers, and but for those that tell of memory that was given back; if there are no
 * `outcomes`, without these.
 */
static size_t sorted_lines(char *text, bool outcomes, char **lines, size_t max) {
    size_t count = 0;
    for (char *line = strtok(text, "\n"); line && count < max; line = strtok(NULL, "\n")) {
        char *to = line;
        for (const char *from = line; *from; from++)
            if (*from < '0' || *from > '9') *to++ = *from;
        *to = '\0';
        if (!outcomes && strncmp(line, "!  channel close ", 17) == 0) continue;
        if (!outcomes) cut_outcome(line);
        if (strcmp(line, "! body") != 0 && strcmp(line, "! prepared body") != 0) lines[count++] = line;
    }
    qsort(lines, count, sizeof *lines, by_text);
    return count;
}

static bool same(const char *golden, const char *text, bool outcomes) {
    static char *lines[2][LINES_MAX];
    char *copies[2] = { strdup(golden), strdup(text) };
    size_t counts[2];
    for (int i = 0; i < 2; i++) counts[i] = sorted_lines(copies[i], outcomes, lines[i], LINES_MAX);
    bool alike = counts[0] == counts[1];
    for (size_t i = 0; alike && i < counts[0]; i++) alike = strcmp(lines[0][i], lines[1][i]) == 0;
    free(copies[0]);
    free(copies[1]);
    return alike;
}

bool same_facts(const char *golden, const char *text) { return same(golden, text, true); }

bool same_promises(const char *golden, const char *text) { return same(golden, text, false); }
