/* How a socket comes to be: connected to an address, or taken from the caller. */
#include "alloc.h"
#include "stream_handle.h"
#include <errno.h>
#include <lago/error.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static struct stream *make(struct stream_owner *owner) {
    struct stream *stream = mem_zero(&owner->context->environment.alloc, 1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->owner = owner;
    stream->handle = (uv_stream_t *)&stream->own;
    list_init(&stream->node);
    return stream;
}

/* libuv has made the handle: from here on it has to be closed. The transport's timer alone keeps the loop alive. */
static void begin(struct stream *stream) {
    stream->handle->data = stream;
    stream->handle_count = 1;
    stream->owner->stream_count++;
    uv_unref((uv_handle_t *)stream->handle);
}

size_t *stream_address(struct stream *stream) { return &stream->address; }

struct list *stream_node(struct stream *stream) {
    return &stream->node;
}

struct stream *stream_of_node(struct list *node) {
    return LIST_ENTRY(node, struct stream, node);
}

/* ---------------------------------------------------------------- options */

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
static int set_options(int fd, const lago_tcp_options_t *options) {
    bool keepalive = options->keepalive || options->keepidle_s > 0 || options->keepintvl_s > 0 || options->keepcnt > 0;
    int rc = options->no_nodelay ? 0 : set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rc == 0 && keepalive) rc = set_keepalive(fd, options);
#ifdef TCP_USER_TIMEOUT
    if (rc == 0 && options->user_timeout_ms > 0) rc = set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout_ms);
#endif
    return rc;
}

/* ---------------------------------------------------------------- connecting */

static void on_connect(uv_connect_t *request, int status) {
    struct stream *stream = request->data;
    mem_free(&stream->owner->context->environment.alloc, request);
    if (stream->closing) return;
    stream->connected = status == 0;
    if (status == 0 && stream->fd < 0) (void)uv_fileno((uv_handle_t *)stream->handle, &stream->fd);
    stream->owner->events->connected(stream->owner, stream, status);
}

static int connect_tcp(struct stream *stream, uv_connect_t *request, const union address *address,
                       const struct stream_options *options) {
    int rc = uv_fileno((uv_handle_t *)&stream->own.tcp, &stream->fd);
    if (rc == 0) rc = set_options(stream->fd, &options->tcp);
    if (rc == 0 && options->local != NULL) rc = uv_tcp_bind(&stream->own.tcp, &options->local->any, 0);
    if (rc == 0) rc = uv_tcp_connect(request, &stream->own.tcp, &address->any, on_connect);
    return rc;
}

/* libuv makes the socket of a pipe when it connects, and tells every failure by the callback. */
static int connect_pipe(struct stream *stream, uv_connect_t *request, const union address *address) {
    stream->fd = -1;
    uv_pipe_connect(request, &stream->own.pipe, address->local.sun_path, on_connect);
    return 0;
}

/* The request lives until on_connect, which comes in any case, unless this fails. */
static int start_connecting(struct stream *stream, const union address *address, const struct stream_options *options) {
    const lago_allocator_t *alloc = &stream->owner->context->environment.alloc;
    uv_connect_t *request = mem_zero(alloc, 1, sizeof *request);
    if (request == NULL) return LAGO_ENOMEM;
    request->data = stream;
    bool is_pipe = address->any.sa_family == AF_UNIX;
    int rc = is_pipe ? connect_pipe(stream, request, address) : connect_tcp(stream, request, address, options);
    if (rc < 0) mem_free(alloc, request);
    return rc;
}

int stream_open(struct stream_owner *owner, const union address *address, const struct stream_options *options,
                struct stream **stream) {
    uv_loop_t *loop = owner->context->loop;
    bool is_pipe = address->any.sa_family == AF_UNIX;
    struct stream *made = make(owner);
    if (made == NULL) return LAGO_ENOMEM;
    /* With a family libuv makes the socket at once, close-on-exec; on an error there is no handle to close. */
    int rc = is_pipe ? uv_pipe_init(loop, &made->own.pipe, 0) : uv_tcp_init_ex(loop, &made->own.tcp, address->any.sa_family);
    if (rc < 0) {
        mem_free(&owner->context->environment.alloc, made);
        return rc;
    }
    begin(made);
    rc = start_connecting(made, address, options);
    if (rc < 0) {
        stream_close(made, false);
        return rc;
    }
    *stream = made;
    return 0;
}

/* ---------------------------------------------------------------- the caller's */

static int check_socket(int fd) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    int type = 0;
    socklen_t type_size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0) return uv_translate_sys_error(errno);
    if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0) return uv_translate_sys_error(errno);
    bool known = peer.ss_family == AF_INET || peer.ss_family == AF_INET6 || peer.ss_family == AF_UNIX;
    return known && type == SOCK_STREAM ? 0 : UV_EPROTONOSUPPORT;
}

/* Of a pipe that hands descriptors over nobody would take them; and bytes that libuv still has to write would mix with ours. */
static int check_handle(const uv_loop_t *loop, uv_stream_t *handle) {
    int fd;
    bool is_pipe = handle->type == UV_NAMED_PIPE;
    if (handle->loop != loop || uv_is_closing((uv_handle_t *)handle)) return LAGO_EINVAL;
    if (handle->type != UV_TCP && !is_pipe) return UV_ENOTSOCK;
    if (is_pipe && ((uv_pipe_t *)handle)->ipc) return LAGO_EINVAL;
    if (uv_stream_get_write_queue_size(handle) > 0) return LAGO_EINVAL;
    int rc = uv_fileno((uv_handle_t *)handle, &fd);
    return rc == UV_EBADF ? UV_ENOTCONN : rc < 0 ? rc : check_socket(fd);
}

int stream_check(const uv_loop_t *loop, const struct stream_gift *gift) {
    if (gift->handle != NULL) return gift->fd != 0 ? LAGO_EINVAL : check_handle(loop, gift->handle);
    return check_socket(gift->fd);
}

struct stream *stream_accept(struct stream_owner *owner, const struct stream_gift *gift) {
    struct stream *stream = make(owner);
    if (stream == NULL) return NULL;
    stream->gift = mem_alloc(&owner->context->environment.alloc, sizeof *gift);
    if (stream->gift == NULL) {
        stream_decline(stream);
        return NULL;
    }
    *stream->gift = *gift;
    if (gift->handle != NULL) stream->handle = gift->handle;
    return stream;
}

void stream_decline(struct stream *stream) {
    if (stream == NULL) return;
    const lago_allocator_t *alloc = &stream->owner->context->environment.alloc;
    mem_free(alloc, stream->gift);
    mem_free(alloc, stream);
}

static int open_descriptor(struct stream *stream) {
    union address peer = { .any = { .sa_family = AF_UNSPEC } };
    socklen_t size = sizeof peer;
    uv_loop_t *loop = stream->owner->context->loop;
    int fd = stream->gift->fd;
    bool is_pipe = getpeername(fd, &peer.any, &size) == 0 && peer.any.sa_family == AF_UNIX;
    if (is_pipe)
        uv_pipe_init(loop, &stream->own.pipe, 0); /* cannot fail, nor can the other one */
    else
        uv_tcp_init(loop, &stream->own.tcp);
    begin(stream);
    int rc = is_pipe ? uv_pipe_open(&stream->own.pipe, fd) : uv_tcp_open(&stream->own.tcp, fd);
    if (rc < 0 && rc != UV_EEXIST) close(fd); /* ours, and libuv did not take it; UV_EEXIST: another handle has it */
    stream->fd = rc < 0 ? -1 : fd;
    return rc;
}

int stream_begin(struct stream *stream) {
    int rc;
    if (stream->gift->handle != NULL) {
        (void)uv_read_stop(stream->handle);
        begin(stream);
        rc = uv_fileno((uv_handle_t *)stream->handle, &stream->fd);
    } else {
        rc = open_descriptor(stream);
    }
    stream->connected = rc == 0;
    return rc;
}

bool stream_is_local(const struct stream *stream) {
    union address peer = { .any = { .sa_family = AF_UNSPEC } };
    socklen_t size = sizeof peer;
    return getpeername(stream->fd, &peer.any, &size) == 0 && address_is_local(&peer);
}

void stream_endpoint(const struct stream *stream, char *endpoint, size_t size) {
    union address peer = { .any = { .sa_family = AF_UNSPEC } };
    socklen_t peer_size = sizeof peer;
    if (getpeername(stream->fd, &peer.any, &peer_size) < 0) peer.any.sa_family = AF_UNIX;
    address_format(&peer, endpoint, size);
    if (endpoint[0] == '\0') snprintf(endpoint, size, "a Unix domain socket"); /* one without a name */
}
