/* One TCP connection on libuv. Must not know AMQP, deadlines or which attempt this is. */
#include "tcp_link.h"
#include "alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <lago/error.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Slices of one sendmsg: about what a turn produces; Linux takes up to 1024, and copies the vector either way. */
#define SLICES_MAX 64

/* Bytes written in one go before others get their turn: a millisecond at 8 Gbit/s. */
#define FLUSH_SIZE ((size_t)1024 * 1024)

struct tcp_link {
    uv_tcp_t tcp;
    uv_poll_t poll; /* says when the peer takes bytes again; made at the first full send buffer */
    uv_connect_t request;
    struct tcp_link_owner *owner;
    int fd;      /* the socket */
    int poll_fd; /* its duplicate: libuv refuses two watchers for one descriptor. -1: no poll handle yet */
    unsigned handle_count;
    bool connected;
    bool reading;
    bool lost;    /* the client was told */
    bool full;    /* the last read filled the buffer: no second one in this wake-up */
    bool blocked; /* the send buffer is full: `poll` is awaited */
    bool write_failed;
    bool closing;
};

static void on_close(uv_handle_t *handle) {
    struct tcp_link *link = handle->data;
    struct tcp_link_owner *owner = link->owner;
    if (--link->handle_count > 0) return;
    mem_free(&owner->context->environment.alloc, link);
    owner->link_count--;
    owner->closed(owner);
}

void tcp_link_close(struct tcp_link *link, bool reset) {
    link->closing = true;
    if (link->poll_fd >= 0) {
        uv_close((uv_handle_t *)&link->poll, on_close);
        close(link->poll_fd); /* legal right after uv_close, and an RST leaves only with the last descriptor */
        link->poll_fd = -1;
    }
    if (reset && uv_tcp_close_reset(&link->tcp, on_close) == 0) return;
    uv_close((uv_handle_t *)&link->tcp, on_close);
}

/* ---------------------------------------------------------------- connecting */

static int set_option(int fd, int level, int name, uint32_t value) {
    int number = value > INT32_MAX ? INT32_MAX : (int)value;
    return setsockopt(fd, level, name, &number, sizeof number) == 0 ? 0 : uv_translate_sys_error(errno);
}

static int set_keepalive(int fd, const lago_tcp_options_t *options) {
    int rc = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
    if (rc == 0 && options->keepidle_s > 0) rc = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, options->keepidle_s);
#endif
#ifdef TCP_KEEPINTVL
    if (rc == 0 && options->keepintvl_s > 0) rc = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, options->keepintvl_s);
#endif
#ifdef TCP_KEEPCNT
    if (rc == 0 && options->keepcnt > 0) rc = set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, options->keepcnt);
#endif
    return rc;
}

/* As pika: any TCP_KEEP* option turns SO_KEEPALIVE on. */
static int set_options(struct tcp_link *link, const lago_tcp_options_t *options) {
    int rc = uv_tcp_nodelay(&link->tcp, 1);
    if (rc == 0 && (options->keepidle_s > 0 || options->keepintvl_s > 0 || options->keepcnt > 0))
        rc = set_keepalive(link->fd, options);
#ifdef TCP_USER_TIMEOUT
    if (rc == 0 && options->user_timeout_ms > 0)
        rc = set_option(link->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout_ms);
#endif
    return rc;
}

static void on_connect(uv_connect_t *request, int status) {
    struct tcp_link *link = request->data;
    if (link->closing) return;
    link->connected = status == 0;
    link->owner->connected(link->owner, status);
}

static int start_connect(struct tcp_link *link, const union address *address) {
    int rc = uv_fileno((uv_handle_t *)&link->tcp, &link->fd);
    if (rc == 0) rc = set_options(link, &link->owner->tcp_options);
    if (rc == 0) rc = uv_tcp_connect(&link->request, &link->tcp, &address->any, on_connect);
    return rc;
}

int tcp_link_open(struct tcp_link_owner *owner, const union address *address, struct tcp_link **link) {
    struct tcp_link *made = mem_zero(&owner->context->environment.alloc, 1, sizeof *made);
    if (made == NULL) return LAGO_ENOMEM;
    made->owner = owner;
    made->poll_fd = -1;
    made->tcp.data = made->request.data = made;
    /* With a family libuv makes the socket at once, close-on-exec; on an error there is no handle to close. */
    int rc = uv_tcp_init_ex(owner->context->loop, &made->tcp, address->any.sa_family);
    if (rc < 0) {
        mem_free(&owner->context->environment.alloc, made);
        return rc;
    }
    made->handle_count = 1;
    owner->link_count++;
    uv_unref((uv_handle_t *)&made->tcp); /* the transport's timer alone keeps the loop alive */
    rc = start_connect(made, address);
    if (rc < 0) {
        tcp_link_close(made, false);
        return rc;
    }
    *link = made;
    return 0;
}

/* ---------------------------------------------------------------- reading */

/*
 * libuv reads up to 32 times in a wake-up as long as its buffer comes back full. An empty buffer ends that without a system
 * call, and the next poll of the loop reports the socket again; so other connections get their turn after one read.
 */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct tcp_link *link = handle->data;
    struct tcp_link_owner *owner = link->owner;
    (void)suggested;
    *buffer = uv_buf_init(NULL, 0);
    if (link->full || owner->slab != NULL) return;
    owner->slab = slab_take(&owner->context->slabs);
    if (owner->slab != NULL) *buffer = uv_buf_init((char *)owner->slab->data, (unsigned)owner->context->slabs.size);
}

static void give_slab(struct tcp_link_owner *owner) {
    if (owner->slab != NULL) slab_give(&owner->context->slabs, owner->slab);
    owner->slab = NULL;
}

static void lose(struct tcp_link *link, int status) {
    (void)tcp_link_set_reading(link, false);
    link->lost = true;
    link_lost(link->owner->conn, status);
    link->owner->settle(link->owner);
}

/* The buffer was refused: on purpose, or for want of memory. */
static void on_no_buffer(struct tcp_link *link) {
    struct tcp_link_owner *owner = link->owner;
    bool on_purpose = link->full || owner->slab != NULL;
    link->full = false;
    if (on_purpose) return;
    lose(link, LAGO_ENOMEM);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct tcp_link *link = stream->data;
    struct tcp_link_owner *owner = link->owner;
    (void)buffer;
    if (size == UV_ENOBUFS) {
        on_no_buffer(link);
    } else if (size > 0) {
        link->full = (size_t)size == owner->context->slabs.size;
        link_input(owner->conn, owner->slab->data, (size_t)size);
        if (!link->closing) link_turn(owner->conn);
        owner->settle(owner);
    } else {
        give_slab(owner);
        if (size == 0) return; /* nothing there after all */
        lose(link, (int)size);
    }
}

int tcp_link_set_reading(struct tcp_link *link, bool reading) {
    if (reading == link->reading || (reading && (!link->connected || link->lost))) return 0;
    int rc = reading ? uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read) : uv_read_stop((uv_stream_t *)&link->tcp);
    if (rc < 0) return rc;
    link->reading = reading;
    link->full = false;
    return 0;
}

bool tcp_link_unread(const struct tcp_link *link) {
    struct pollfd look = { .fd = link->fd, .events = POLLIN };
    return link->connected && !link->lost && poll(&look, 1, 0) > 0;
}

/* ---------------------------------------------------------------- writing */

bool tcp_link_can_write(const struct tcp_link *link) { return link->connected && !link->blocked && !link->write_failed; }

static void fail_write(struct tcp_link *link, int status) {
    link->write_failed = true;
    if (link->poll_fd >= 0) uv_poll_stop(&link->poll);
    link_write_failed(link->owner->conn, status);
}

static void on_writable(uv_poll_t *poll, int status, int events) {
    struct tcp_link *link = poll->data;
    struct tcp_link_owner *owner = link->owner;
    (void)status; /* sendmsg knows the error better */
    (void)events;
    link->blocked = false;
    tcp_link_flush(link);
    if (link->closing) return;
    if (!link->blocked) uv_poll_stop(&link->poll);
    owner->settle(owner);
}

static int open_poll(struct tcp_link *link) {
    int fd = fcntl(link->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return uv_translate_sys_error(errno);
    int rc = uv_poll_init(link->owner->context->loop, &link->poll, fd);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    link->poll.data = link;
    link->poll_fd = fd;
    link->handle_count++;
    uv_unref((uv_handle_t *)&link->poll);
    return 0;
}

/* The send buffer is full: wait for the peer. */
static void block(struct tcp_link *link) {
    int rc = link->poll_fd >= 0 ? 0 : open_poll(link);
    if (rc == 0 && !uv_is_active((uv_handle_t *)&link->poll)) rc = uv_poll_start(&link->poll, UV_WRITABLE, on_writable);
    if (rc < 0)
        fail_write(link, rc);
    else
        link->blocked = true;
}

/* @return bytes written, or libuv's error. */
static ssize_t send_slices(int fd, const struct slice *slices, size_t count) {
    struct iovec vector[SLICES_MAX];
    for (size_t i = 0; i < count; i++)
        vector[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)slices[i].data, .iov_len = slices[i].size };
    struct msghdr message = { .msg_iov = vector };
    message.msg_iovlen = count;
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return UV_EAGAIN;
    return uv_translate_sys_error(errno);
}

/* @return bytes written; 0 if there were none, or no more can be written now. */
static size_t flush_once(struct tcp_link *link) {
    lago_connection_t *conn = link->owner->conn;
    struct slice slices[SLICES_MAX];
    size_t size = 0, count = link_output(conn, slices, SLICES_MAX);
    if (count == 0) return 0;
    for (size_t i = 0; i < count; i++) size += slices[i].size;
    ssize_t sent = send_slices(link->fd, slices, count);
    if (sent < 0 && sent != UV_EAGAIN) {
        fail_write(link, (int)sent);
        return 0;
    }
    size_t written = sent > 0 ? (size_t)sent : 0;
    if (written > 0) link_written(conn, written);
    if (written < size && !link->closing) block(link); /* a short write has filled the buffer: sendmsg would only say so */
    return written;
}

void tcp_link_flush(struct tcp_link *link) {
    if (!tcp_link_can_write(link) || !link_wants(link->owner->conn).write) return;
    for (size_t sent = 0; sent < FLUSH_SIZE && !link->closing && tcp_link_can_write(link);) {
        size_t size = flush_once(link);
        if (size == 0) return;
        sent += size;
    }
}
