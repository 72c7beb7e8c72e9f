/* The small types that every other header uses: handles, views, the export mark. */
#ifndef LAGO_TYPES_H
#define LAGO_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LAGO_EXPORT __attribute__((visibility("default")))
#else
#define LAGO_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* libuv's loop. lago's headers never include <uv.h>. */
typedef struct uv_loop_s uv_loop_t;
typedef struct uv_stream_s uv_stream_t;

/* Handles. They belong to the caller from the call that makes them to the matching free. */
typedef struct lago_context lago_context_t;
typedef struct lago_connection lago_connection_t;
typedef struct lago_channel lago_channel_t;
typedef struct lago_poster lago_poster_t;

/* A `size` that stands for "as long as strlen() says", in strings that the caller gives. */
#define LAGO_NUL_TERMINATED SIZE_MAX

/**
 * A string that lago lends: the size is the truth, embedded NULs included.
 *
 * Strings of methods and properties have a NUL behind their last byte as well (not counted), so that `data` can be printed
 * as it is; strings inside tables have none. Where a caller gives one, `size` may be LAGO_NUL_TERMINATED.
 */
typedef struct lago_string {
    const char *data;
    size_t size;
} lago_string_t;

/** Bytes that mean nothing to lago: a body. A received body has a NUL behind its last byte (not counted). */
typedef struct lago_bytes {
    const void *data;
    size_t size;
} lago_bytes_t;

#ifdef __cplusplus
}
#endif
#endif
