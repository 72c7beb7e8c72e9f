/* Contexts: options, counting, the default log. Must not know sockets or connections. */
#include "context.h"
#include "alloc.h"
#include <lago/error.h>
#include <stdio.h>

#define READ_SIZE_MIN ((size_t)4096)             /* the smallest frame_max (AMQP 0-9-1, 4.2.3) */
#define READ_SIZE_MAX ((size_t)16 * 1024 * 1024) /* more than any socket buffer holds */

/* Large read buffers that nobody has used for so long are let go of. */
#define TIDY_MS 1000u

/* Half of the shortest heartbeat there is. */
#define CALLBACK_LIMIT_MS 500u

static const char *level_name(lago_log_level_t level) {
    switch (level) {
    case LAGO_LOG_ERROR: return "error";
    case LAGO_LOG_WARNING: return "warning";
    case LAGO_LOG_INFO: return "info";
    case LAGO_LOG_DEBUG: return "debug";
    case LAGO_LOG_TRACE: return "trace";
    case LAGO_LOG_DEFAULT:
    case LAGO_LOG_OFF: break;
    }
    return "log";
}

static void log_to_stderr(lago_log_level_t level, const char *line, void *data) {
    (void)data;
    fprintf(stderr, "lago: %s: %s\n", level_name(level), line);
}

static bool options_valid(const lago_context_options_t *options) {
    const lago_allocator_t *alloc = &options->allocator;
    bool all = alloc->malloc != NULL && alloc->realloc != NULL && alloc->free != NULL;
    bool none = alloc->malloc == NULL && alloc->realloc == NULL && alloc->free == NULL;
    if (!all && !none) return false;
    if (options->read_size != 0 && (options->read_size < READ_SIZE_MIN || options->read_size > READ_SIZE_MAX)) return false;
    for (size_t i = 0; i < sizeof options->reserved / sizeof options->reserved[0]; i++)
        if (options->reserved[i] != 0) return false;
    return true;
}

static void environment_init(struct environment *environment, const lago_context_options_t *options) {
    environment->alloc = options->allocator.malloc != NULL ? options->allocator : mem_default;
    environment->log = options->log != NULL ? options->log : log_to_stderr;
    environment->log_data = options->log_data;
    environment->callback_limit_ms = options->callback_limit_ms ? options->callback_limit_ms : CALLBACK_LIMIT_MS;
    environment->log_level = options->log_level == LAGO_LOG_DEFAULT ? LAGO_LOG_WARNING : options->log_level;
}

int lago_context_new(uv_loop_t *loop, const lago_context_options_t *options, lago_context_t **context) {
    static const lago_context_options_t defaults = { .read_size = 0 };
    if (context == NULL) return LAGO_EINVAL;
    *context = NULL;
    if (options == NULL) options = &defaults;
    if (loop == NULL || !options_valid(options)) return LAGO_EINVAL;

    struct environment environment;
    environment_init(&environment, options);
    lago_context_t *made = mem_zero(&environment.alloc, 1, sizeof *made);
    if (made == NULL) return LAGO_ENOMEM;
    made->loop = loop;
    made->environment = environment;
    made->environment.capture = &made->capture;
    made->environment.blocks = &made->blocks;
    made->environment.alike = &made->alike;
    made->environment.book = &made->book;
    book_init(&made->book, &made->environment.alloc);
    made->ref_count = 1;
    timers_init(&made->deadlines, &made->environment.alloc);
    slab_pool_init(&made->slabs, &made->environment.alloc, options->read_size);
    *context = made;
    return 0;
}

int lago_context_capture(lago_context_t *context, lago_capture_cb capture, void *data) {
    uv_timeval64_t wall;
    if (context == NULL) return LAGO_EINVAL;
    context->capture.write = capture;
    context->capture.data = data;
    if (capture == NULL) return 0;
    /* the file has the time of day; all else is monotonic */
    if (uv_gettimeofday(&wall) == 0)
        context->capture.wall_us = (uint64_t)wall.tv_sec * 1000000u + (uint64_t)wall.tv_usec - uv_hrtime() / 1000u;
    pcapng_begin(&context->capture);
    return 0;
}

void lago_context_free(lago_context_t *context) {
    if (context != NULL) context_unref(context);
}

lago_context_t *context_ref(lago_context_t *context) {
    context->ref_count++;
    return context;
}

/* What is kept for the next connection. */
static void trim(lago_context_t *context) {
    slab_pool_trim(&context->slabs);
    block_pool_trim(&context->blocks);
    block_unref(context->alike.server_properties);
    context->alike.server_properties = NULL;
}

void context_unref(lago_context_t *context) {
    if (--context->ref_count > 0) return;
    lago_allocator_t alloc = context->environment.alloc;
    timers_clear(&context->deadlines);
    trim(context);
    book_clear(&context->book);
    mem_free(&alloc, context);
}

int context_join(lago_context_t *context) {
    int rc = timers_reserve_for(&context->deadlines, context->joined_count + 1);
    if (rc == 0) context->joined_count++;
    return rc;
}

void context_part(lago_context_t *context) { context->joined_count--; }

void context_attach(lago_context_t *context, struct pass *pass) {
    context->attached_count++;
    if (context->pass != NULL) {
        if (pass != NULL) pass_free(pass);
        return;
    }
    pass_open(pass, context->loop, &context->deadlines);
    context->pass = pass;
}

bool context_is_rich(const lago_context_t *context) {
    return slab_pool_is_rich(&context->slabs) || block_pool_is_rich(&context->blocks);
}

static void tidy(void *data) {
    lago_context_t *context = data;
    slab_pool_relax(&context->slabs);
    block_pool_relax(&context->blocks);
    if (context_is_rich(context)) context_tidy_later(context);
}

void context_tidy_later(lago_context_t *context) { pass_remind(context->pass, TIDY_MS, tidy, context); }

void context_detach(lago_context_t *context, void (*detached)(void *data), void *data) {
    context_part(context);
    if (--context->attached_count > 0) {
        detached(data);
        return;
    }
    trim(context);
    struct pass *pass = context->pass;
    context->pass = NULL; /* a connection that comes while this one closes starts another */
    pass_close(pass, detached, data);
}
