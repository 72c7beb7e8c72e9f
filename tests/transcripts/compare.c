/* What was written down of a replay beside what the transcript says. Must not know what the lines mean. */
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_WIDTH = 76 };

char *script_read(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(2);
    }
    size_t size = (size_t)ftell(file);
    char *text = calloc(1, size + 1);
    rewind(file);
    if (!text || fread(text, 1, size, file) != size) abort();
    fclose(file);
    return text;
}

const char *script_next_line(const char **at, size_t *size) {
    while (**at) {
        const char *line = *at;
        *size = strcspn(line, "\n");
        *at += *size + (line[*size] == '\n');
        while (*size > 0 && line[*size - 1] == ' ') --*size;
        if (*size > 0 && line[0] != '#') return line;
    }
    *size = 0;
    return NULL;
}

static bool same(const char *a, size_t a_size, const char *b, size_t b_size) {
    return (a == NULL) == (b == NULL) && a_size == b_size && (a == NULL || memcmp(a, b, a_size) == 0);
}

void script_print_sides(const char *expected, const char *actual) {
    printf("  %-*s | %s\n", SIDE_WIDTH, "expected", "actual");
    for (;;) {
        size_t expected_size, actual_size;
        const char *e = script_next_line(&expected, &expected_size), *a = script_next_line(&actual, &actual_size);
        if (!e && !a) return;
        bool equal = same(e, expected_size, a, actual_size);
        printf("%c %-*.*s %c %.*s\n", equal ? ' ' : '*', SIDE_WIDTH, (int)expected_size, e ? e : "", equal ? '|' : '!',
               (int)actual_size, a ? a : "");
    }
}

bool script_matches(const char *expected, const char *actual) {
    const char *e, *a;
    size_t expected_size, actual_size;
    do {
        e = script_next_line(&expected, &expected_size);
        a = script_next_line(&actual, &actual_size);
        if (!same(e, expected_size, a, actual_size)) return false;
    } while (e && a);
    return true;
}
