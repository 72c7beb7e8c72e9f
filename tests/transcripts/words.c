/* The words of a `do` line: bare words, and key=value. Knows no calls. */
#include "play.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn)) static void bad_words(const struct args *args, const char *what, const char *where) {
    fprintf(stderr, "transcript: %s: \"%s\" in: %s\n", what, where, args->line);
    abort();
}

static char unescape(const char **at) {
    char c = *(*at)++;
    if (c != '\\') return c;
    c = *(*at)++;
    if (c == 'n') return '\n';
    if (c == 'x') {
        char digits[3] = { (*at)[0], (*at)[1], '\0' };
        *at += 2;
        return (char)strtoul(digits, NULL, 16);
    }
    return c;
}

static const char *read_quoted(struct args *args, struct arg *arg, const char *at) {
    for (at++; *at && *at != '"';) arg->value[arg->size++] = unescape(&at);
    if (!*at) bad_words(args, "a string does not end", args->line);
    return at + 1;
}

static const char *read_plain(struct arg *arg, const char *at) {
    int depth = 0;
    for (; *at && (depth > 0 || *at != ' '); at++) {
        depth += (*at == '{') - (*at == '}');
        arg->value[arg->size++] = *at;
    }
    return at;
}

static const char *read_arg(struct args *args, const char *at) {
    struct arg *arg = &args->items[args->count];
    if (args->count++ == ARGS_MAX) bad_words(args, "too many words", at);
    size_t key = 0;
    while (isalnum((unsigned char)at[key]) || at[key] == '_') key++;
    if (key > 0 && at[key] == '=') {
        arg->key = strndup(at, key);
        at += key + 1;
    }
    arg->value = calloc(1, strlen(at) + 1);
    if (!arg->value) abort();
    return *at == '"' ? read_quoted(args, arg, at) : read_plain(arg, at);
}

void args_read(struct args *args, const char *line) {
    memset(args, 0, sizeof(*args));
    args->line = line;
    while (*line) {
        if (*line == ' ')
            line++;
        else
            line = read_arg(args, line);
    }
}

void args_release(struct args *args) {
    for (size_t i = 0; i < args->count; i++) {
        struct arg *arg = &args->items[i];
        if (!arg->used) bad_words(args, "what is", arg->key ? arg->key : arg->value);
        free(arg->key);
        free(arg->value);
    }
}

const char *arg_word(struct args *args) {
    for (size_t i = 0; i < args->count; i++) {
        struct arg *arg = &args->items[i];
        if (arg->key || arg->used) continue;
        arg->used = true;
        return arg->value;
    }
    return NULL;
}

static const struct arg *find(const struct args *args, const char *key) {
    for (size_t i = 0; i < args->count; i++)
        if (args->items[i].key && strcmp(args->items[i].key, key) == 0) return &args->items[i];
    return NULL;
}

const char *arg_string(struct args *args, const char *key) {
    const struct arg *arg = find(args, key);
    if (!arg) return NULL;
    args->items[arg - args->items].used = true;
    return arg->value;
}

size_t arg_size(const struct args *args, const char *key) {
    const struct arg *arg = find(args, key);
    return arg ? arg->size : 0;
}

uint64_t arg_number(struct args *args, const char *key) {
    const char *value = arg_string(args, key);
    char *end;
    if (!value) return 0;
    if (strcmp(value, "never") == 0) return UINT32_MAX;
    uint64_t number = strtoull(value, &end, 10);
    if (end == value || *end) bad_words(args, "not a number", value);
    bool is_time = strlen(key) > 3 && strcmp(key + strlen(key) - 3, "_ms") == 0;
    return is_time && args->ms_scale ? number * args->ms_scale : number;
}

bool arg_flag(struct args *args, const char *key) {
    for (size_t i = 0; i < args->count; i++) {
        struct arg *arg = &args->items[i];
        if (arg->key || arg->used || strcmp(arg->value, key) != 0) continue;
        return arg->used = true;
    }
    return false;
}

int code_by_name(const char *name) {
    for (int code = -1; code > -20000; code--)
        if (strcmp(lago_error_name(code), name) == 0) return code;
    fprintf(stderr, "transcript: no error is called %s\n", name);
    abort();
}
