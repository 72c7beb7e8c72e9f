/* Lines for the log: printable, bounded, and only built when somebody wants them. */
#include "connection.h"
#include "text.h"
#include <stdarg.h>

/* A reason with all its parts, and a trace of a long method, fit. */
#define LOG_LINE_SIZE 2304u

bool log_wants(const struct environment *env, lago_log_level_t level) {
    return env->log_level != LAGO_LOG_OFF && level <= env->log_level;
}

void log_line(const struct environment *env, lago_log_level_t level, const char *format, ...) {
    char line[LOG_LINE_SIZE];
    struct text t;
    va_list args;
    if (!log_wants(env, level)) return;
    text_init(&t, line, sizeof(line));
    va_start(args, format);
    text_addv(&t, format, args);
    va_end(args);
    for (char *c = line; *c; c++) /* names of the application's own come here as they are */
        if (*c < ' ' || *c > '~') *c = '?';
    env->log(level, line, env->log_data);
}

void log_reason(const struct environment *env, lago_log_level_t level, const char *what, const lago_reason_t *reason) {
    char words[LOG_LINE_SIZE / 2];
    if (!log_wants(env, level)) return;
    lago_reason_format(reason, words, sizeof(words));
    log_line(env, level, "%s%s%s", what ? what : "", what ? ": " : "", words);
}

void log_frame(void *data, char direction, const char *line) { log_line(data, LAGO_LOG_TRACE, "%c> %s", direction, line); }
