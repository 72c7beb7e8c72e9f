/* Reading and writing on libuv's threads. Knows no message. */
#include "io.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define WRITE_MAX (1u << 30) /* Linux writes less than 2 GiB in one call */

/* Somebody may have made it non-blocking: then wait here. */
static bool can_go_on(const io_t *io) {
    struct pollfd pollfd = { .fd = io->fd, .events = io->is_write ? POLLOUT : POLLIN };
    if (errno == EINTR) return true;
    return (errno == EAGAIN || errno == EWOULDBLOCK) && (poll(&pollfd, 1, -1) >= 0 || errno == EINTR);
}

/* A read is done with the first bytes, a write with the last. */
static void on_work(uv_work_t *work) {
    io_t *io = work->data;
    while (io->count < io->size) {
        size_t rest = io->size - io->count;
        ssize_t n = io->is_write ? write(io->fd, io->buffer + io->count, rest < WRITE_MAX ? rest : WRITE_MAX)
                                 : read(io->fd, io->buffer, rest);
        if (n < 0) {
            if (can_go_on(io)) continue;
            io->error = uv_translate_sys_error(errno);
            return;
        }
        io->count += (size_t)n;
        if (!io->is_write) return;
    }
}

static void on_worked(uv_work_t *work, int status) {
    io_t *io = work->data;
    io->is_busy = false;
    io->callback(io->data, status < 0 ? status : io->error, io->count);
}

static int begin(uv_loop_t *loop, io_t *io) {
    io->work.data = io;
    io->count = 0;
    io->error = 0;
    int rc = uv_queue_work(loop, &io->work, on_work, on_worked);
    io->is_busy = rc == 0;
    return rc;
}

int io_read(uv_loop_t *loop, io_t *io, int fd, char *buffer, size_t size, io_cb callback, void *data) {
    *io = (io_t){ .fd = fd, .buffer = buffer, .size = size, .callback = callback, .data = data };
    return begin(loop, io);
}

int io_write(uv_loop_t *loop, io_t *io, int fd, char *buffer, size_t size, io_cb callback, void *data) {
    *io = (io_t){ .fd = fd, .buffer = buffer, .size = size, .is_write = true, .callback = callback, .data = data };
    return begin(loop, io);
}
