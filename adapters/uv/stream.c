/* One socket on libuv: its life, reading and writing. How it is made is stream_open.c's. Must not know AMQP, TLS or deadlines. */
#include "alloc.h"
#include "stream_handle.h"
#include <errno.h>
#include <fcntl.h>
#include <lago/error.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

/* ---------------------------------------------------------------- the end */

static void on_close(uv_handle_t *handle) {
    struct stream *stream = handle->data;
    struct stream_owner *owner = stream->owner;
    if (--stream->handle_count > 0) return;
    struct stream_gift gift = { .fd = 0 };
    if (stream->gift != NULL) gift = *stream->gift;
    mem_free(&owner->context->environment.alloc, stream->gift);
    mem_free(&owner->context->environment.alloc, stream->poll);
    mem_free(&owner->context->environment.alloc, stream);
    if (gift.handle && gift.free_handle) gift.free_handle(gift.handle, gift.data);
    owner->stream_count--;
    owner->events->closed(owner);
}

void stream_close(struct stream *stream, bool reset) {
    stream->closing = true;
    if (stream->poll != NULL) {
        uv_close((uv_handle_t *)stream->poll, on_close);
        close(stream->poll_fd); /* legal right after uv_close, and an RST leaves only with the last descriptor */
    }
    bool is_tcp = stream->handle->type == UV_TCP;
    if (reset && is_tcp && uv_tcp_close_reset((uv_tcp_t *)stream->handle, on_close) == 0) return;
    uv_close((uv_handle_t *)stream->handle, on_close);
}

/* ---------------------------------------------------------------- reading */

/* Bytes read in one go before others get their turn: a millisecond at 8 Gbit/s. */
#define BURST_SIZE ((size_t)1024 * 1024)

/*
 * libuv reads up to 32 times in a wake-up as long as its buffer comes back full. An empty buffer ends that without a system
 * call, and the next poll of the loop reports the socket again; so other connections get their turn after one read, or a few.
 */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct stream *stream = handle->data;
    (void)suggested;
    stream->offer = (struct stream_offer){ .data = NULL };
    stream->refused = stream->full || !stream->owner->events->offer(stream->owner, &stream->offer);
    *buffer = uv_buf_init((char *)stream->offer.data, (unsigned)stream->offer.size);
}

static void lose(struct stream *stream, int status) {
    (void)stream_set_reading(stream, false);
    stream->lost = true;
    stream->owner->events->lost(stream->owner, status);
}

/*
 * When bytes and an RST (or the kernel's own timeout) are found by the same wake-up, libuv makes an EOF of it. EPIPE: the FIN came
 * first, and the RST is the answer to what was written since.
 */
static int true_end(const struct stream *stream, int status) {
    int error = 0;
    socklen_t size = sizeof error;
    if (status != UV_EOF || getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return status;
    return error != 0 && error != EPIPE ? uv_translate_sys_error(error) : status;
}

static void on_read(uv_stream_t *handle, ssize_t size, const uv_buf_t *buffer) {
    struct stream *stream = handle->data;
    struct stream_owner *owner = stream->owner;
    struct stream_offer offer = stream->offer;
    (void)buffer;
    bool filled = size > 0 && (size_t)size == offer.size; /* else libuv reads no more in this wake-up */
    stream->burst = filled ? stream->burst + offer.size : 0;
    stream->full = filled && (!offer.again || stream->burst >= BURST_SIZE);
    if (size == UV_ENOBUFS) { /* the buffer was refused: on purpose, or for want of memory */
        if (!stream->refused) lose(stream, LAGO_ENOMEM);
    } else if (size > 0) {
        owner->events->received(owner, &offer, (size_t)size);
    } else {
        owner->events->declined(owner);
        if (size < 0) lose(stream, true_end(stream, (int)size)); /* 0: nothing there after all */
    }
}

int stream_set_reading(struct stream *stream, bool reading) {
    if (reading == stream->reading || (reading && (!stream->connected || stream->lost))) return 0;
    int rc = reading ? uv_read_start(stream->handle, on_alloc, on_read) : uv_read_stop(stream->handle);
    if (rc < 0) return rc;
    stream->reading = reading;
    stream->full = false;
    stream->burst = 0;
    return 0;
}

bool stream_is_reading(const struct stream *stream) { return stream->reading; }

bool stream_unread(const struct stream *stream) {
    struct pollfd look = { .fd = stream->fd, .events = POLLIN };
    return stream->connected && !stream->lost && poll(&look, 1, 0) > 0;
}

/* ---------------------------------------------------------------- writing */

bool stream_can_write(const struct stream *stream) { return stream->connected && !stream->blocked && !stream->write_failed; }

static void on_writable(uv_poll_t *poll, int status, int events) {
    struct stream *stream = poll->data;
    (void)status; /* sendmsg knows the error better */
    (void)events;
    stream->blocked = false;
    stream->owner->events->writable(stream->owner);
    if (!stream->closing && !stream->blocked) uv_poll_stop(stream->poll);
}

static int open_poll(struct stream *stream) {
    const lago_allocator_t *alloc = &stream->owner->context->environment.alloc;
    uv_poll_t *poll = mem_zero(alloc, 1, sizeof *poll);
    if (poll == NULL) return LAGO_ENOMEM;
    int fd = fcntl(stream->fd, F_DUPFD_CLOEXEC, 0);
    int rc = fd < 0 ? uv_translate_sys_error(errno) : uv_poll_init(stream->owner->context->loop, poll, fd);
    if (rc < 0) {
        if (fd >= 0) close(fd);
        mem_free(alloc, poll);
        return rc;
    }
    poll->data = stream;
    stream->poll = poll;
    stream->poll_fd = fd;
    stream->handle_count++;
    uv_unref((uv_handle_t *)poll);
    return 0;
}

/* The send buffer is full: wait for the peer. */
static int block(struct stream *stream) {
    int rc = stream->poll != NULL ? 0 : open_poll(stream);
    if (rc == 0 && !uv_is_active((uv_handle_t *)stream->poll)) rc = uv_poll_start(stream->poll, UV_WRITABLE, on_writable);
    if (rc == 0) stream->blocked = true;
    return rc;
}

/* @return bytes written, or libuv's error. */
static ssize_t send_slices(int fd, const struct slice *slices, size_t count) {
    struct iovec vector[STREAM_SLICES_MAX];
    for (size_t i = 0; i < count; i++)
        vector[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)slices[i].data, .iov_len = slices[i].size };
    struct msghdr message = { .msg_iov = vector };
    message.msg_iovlen = count;
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); /* a caller's socket may be a blocking one */
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return 0;
    return uv_translate_sys_error(errno);
}

ssize_t stream_write(struct stream *stream, const struct slice *slices, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += slices[i].size;
    ssize_t sent = send_slices(stream->fd, slices, count);
    if (sent >= 0) stream->written += (uint64_t)sent;
    int rc = sent < 0 ? (int)sent : 0;
    if (rc == 0 && (size_t)sent < size) rc = block(stream); /* a short write has filled the buffer: sendmsg would only say so */
    if (rc == 0 || sent > 0) return sent; /* what has left must be known: the next write, which there is, tells the error */
    stream->write_failed = true;
    if (stream->poll != NULL) uv_poll_stop(stream->poll);
    return rc;
}

uint64_t stream_taken(const struct stream *stream, bool *waiting) {
    int held = 0;
#ifdef SIOCOUTQ
    if (ioctl(stream->fd, SIOCOUTQ, &held) < 0 || held < 0) held = 0;
#endif
    *waiting = held > 0;
    return stream->written + INT_MAX - (uint64_t)held; /* Unix sockets count their overhead too: more than was written */
}
