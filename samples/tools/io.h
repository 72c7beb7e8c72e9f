/*
 * Reading stdin and writing stdout without blocking the loop, whatever they are: a pipe whose reader sleeps, a terminal, a file on a
 * slow disk. The system call waits on a thread of libuv; heartbeats and signals go on meanwhile. (A uv_pipe_t would make the
 * descriptor non-blocking, also for the other programs that have it.)
 */
#ifndef TOOLS_IO_H
#define TOOLS_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* `error` is 0 or libuv's. `count` bytes were read (0 at the end) or written (all, unless there was an error). */
typedef void (*io_cb)(void *data, int error, size_t count);

typedef struct io {
    uv_work_t work;
    int fd;
    char *buffer;
    size_t size, count;
    int error;
    bool is_write, is_busy;
    io_cb callback;
    void *data;
} io_t;

/* One at a time for each io. The bytes are borrowed until the callback. Returns 0, or libuv's error and then calls nothing. */
int io_read(uv_loop_t *loop, io_t *io, int fd, char *buffer, size_t size, io_cb callback, void *data);
int io_write(uv_loop_t *loop, io_t *io, int fd, char *buffer, size_t size, io_cb callback, void *data);

#endif
