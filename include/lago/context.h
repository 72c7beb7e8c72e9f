/*
 * What the connections of one loop share: memory for reading, the allocator, the log. Optional: lago_connect without a context
 * makes a private one with the defaults.
 */
#ifndef LAGO_CONTEXT_H
#define LAGO_CONTEXT_H

#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Memory. All three are set or none; they are called from the loop's thread only, so posts of other threads use malloc. It must
 * live until uv_run has returned after the last handle was freed, and as long as messages that were kept.
 */
typedef struct lago_allocator {
    void *(*malloc)(size_t size, void *data);
    void *(*realloc)(void *pointer, size_t size, void *data);
    void (*free)(void *pointer, void *data); /* never called with NULL */
    void *data;
} lago_allocator_t;

typedef enum lago_log_level {
    LAGO_LOG_DEFAULT, /* WARNING */
    LAGO_LOG_OFF,
    LAGO_LOG_ERROR,   /* something ended and nobody handles it */
    LAGO_LOG_WARNING, /* something is wrong and goes on */
    LAGO_LOG_INFO,    /* opened, closed, blocked */
    LAGO_LOG_DEBUG,   /* states */
    LAGO_LOG_TRACE    /* every frame, without credentials and bodies */
} lago_log_level_t;

/**
 * Receives a line of the log.
 *
 * @param line  NUL-terminated, printable ASCII, no line feed; borrowed.
 * @param data  `log_data`. From the loop's thread, also inside calls; must not call lago.
 */
typedef void (*lago_log_cb)(lago_log_level_t level, const char *line, void *data);

typedef struct lago_context_options {
    lago_allocator_t allocator; /* default: malloc and free */
    lago_log_cb log;            /* default: a line to stderr */
    void *log_data;
    lago_log_level_t log_level; /* what reaches `log`: this level and the more serious ones */
    size_t read_size;           /* bytes of a read buffer, 4096 to 16 MiB; default: follows what comes, 32 KiB to 256 KiB */
    uint32_t callback_limit_ms; /* a callback that takes longer is named in the log; default 500, LAGO_NO_TIMEOUT: none is */
    uintptr_t reserved[8];      /* zero */
} lago_context_options_t;

/**
 * Make a context for a loop.
 *
 * @param loop     Borrowed until the context is freed and its connections have ended.
 * @param options  Copied; NULL for the defaults.
 * @param context  The new context; NULL on error.
 * @return 0, LAGO_EINVAL (NULL loop or context, half an allocator, read_size out of range, non-zero `reserved`) or
 *         LAGO_ENOMEM. Thread: the loop's.
 */
LAGO_EXPORT int lago_context_new(uv_loop_t *loop, const lago_context_options_t *options, lago_context_t **context);

/**
 * Let go of a context. Connections made with it keep it until they have ended; so this is legal at any time. NULL is allowed.
 * Thread: the loop's.
 */
LAGO_EXPORT void lago_context_free(lago_context_t *context);

#ifdef __cplusplus
}
#endif
#endif
