/* The calls that fail. Must not know when: faults.h. Errors are those that manuals and sources name. */
#define _GNU_SOURCE
#include "shim.h"
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---------------------------------------------------------------- ways to fail */

/* libuv's own */
static const int uv_errors[] = { UV_ENOMEM, UV_EMFILE, UV_EINVAL, UV_EBADF };
static const int uv_address_errors[] = { UV_EADDRNOTAVAIL, UV_EADDRINUSE, UV_EACCES, UV_EINVAL, UV_ENOMEM };
static const int uv_connect_errors[] = { UV_ECONNREFUSED,  UV_ENETUNREACH, UV_EHOSTUNREACH, UV_ETIMEDOUT,
                                         UV_EADDRNOTAVAIL, UV_EPERM,       UV_ENOMEM,       UV_EALREADY };
static const int uv_lookup_errors[] = { UV_ENOMEM, UV_EINVAL, UV_EAI_AGAIN, UV_EAI_NONAME, UV_ENOSYS };
/* what a callback is told */
static const int uv_read_errors[] = { UV_ECONNRESET, UV_EOF, UV_ETIMEDOUT, UV_ENOBUFS, UV_ENOMEM, UV_EHOSTUNREACH, UV_EIO, 0 };
/* errno */
static const int send_errors[] = { EAGAIN, EINTR, ENOBUFS, EPIPE, ECONNRESET, ENOMEM, ETIMEDOUT, EHOSTUNREACH, EMSGSIZE };
static const int errnos[] = { EINVAL, ENOMEM, EBADF, ENOPROTOOPT, ENOTSOCK };
static const int file_errnos[] = { ENOENT, EACCES, EMFILE, EIO, ENOMEM };
static const int fd_errnos[] = { EMFILE, EBADF, EINVAL };
/* OpenSSL's queue: nothing in it, no memory, something */
static const int ssl_errors[] = { 0, ERR_R_MALLOC_FAILURE, ERR_R_INTERNAL_ERROR };
/* what SSL_get_error says then */
static const int ssl_classes[] = { SSL_ERROR_SSL,        SSL_ERROR_SYSCALL,     SSL_ERROR_WANT_READ,
                                   SSL_ERROR_WANT_WRITE, SSL_ERROR_ZERO_RETURN, SSL_ERROR_WANT_X509_LOOKUP };

static int next_class = -1; /* of the SSL that has just failed */

/* ---------------------------------------------------------------- the table */

/* Every call: its name, its errors. */
#define CALLS(X)                                                                                                                 \
    X(uv_async_init, uv_errors)                                                                                                  \
    X(uv_async_send, uv_errors)                                                                                                  \
    X(uv_fileno, uv_errors)                                                                                                      \
    X(uv_getaddrinfo, uv_lookup_errors)                                                                                          \
    X(uv_getaddrinfo_answer, uv_lookup_errors)                                                                                   \
    X(uv_gettimeofday, uv_errors)                                                                                                \
    X(uv_ip_name, uv_errors)                                                                                                     \
    X(uv_mutex_init, uv_errors)                                                                                                  \
    X(uv_pipe_connect_answer, uv_connect_errors)                                                                                 \
    X(uv_pipe_init, uv_errors)                                                                                                   \
    X(uv_pipe_open, uv_errors)                                                                                                   \
    X(uv_poll_init, uv_errors)                                                                                                   \
    X(uv_poll_start, uv_errors)                                                                                                  \
    X(uv_random, uv_errors)                                                                                                      \
    X(uv_read_start, uv_errors)                                                                                                  \
    X(uv_read_answer, uv_read_errors)                                                                                            \
    X(uv_tcp_bind, uv_address_errors)                                                                                            \
    X(uv_tcp_close_reset, uv_errors)                                                                                             \
    X(uv_tcp_connect, uv_connect_errors)                                                                                         \
    X(uv_tcp_connect_answer, uv_connect_errors)                                                                                  \
    X(uv_tcp_init_ex, uv_errors)                                                                                                 \
    X(uv_tcp_open, uv_errors)                                                                                                    \
    X(uv_cancel, uv_errors)                                                                                                      \
    X(calloc, errnos)                                                                                                            \
    X(malloc, errnos)                                                                                                            \
    X(clock_gettime, errnos)                                                                                                     \
    X(fcntl, fd_errnos)                                                                                                          \
    X(getpeername, errnos)                                                                                                       \
    X(getsockopt, errnos)                                                                                                        \
    X(setsockopt, errnos)                                                                                                        \
    X(ioctl, errnos)                                                                                                             \
    X(poll, errnos)                                                                                                              \
    X(sendmsg, send_errors)                                                                                                      \
    X(sendmsg_short, send_errors)                                                                                                \
    X(open, file_errnos)                                                                                                         \
    X(stat, file_errnos)                                                                                                         \
    X(writev, file_errnos)                                                                                                       \
    X(ASN1_TIME_to_tm, ssl_errors)                                                                                               \
    X(BIO_meth_new, ssl_errors)                                                                                                  \
    X(BIO_meth_set_ctrl, ssl_errors)                                                                                             \
    X(BIO_meth_set_read_ex, ssl_errors)                                                                                          \
    X(BIO_meth_set_write_ex, ssl_errors)                                                                                         \
    X(BIO_new, ssl_errors)                                                                                                       \
    X(BIO_new_file, ssl_errors)                                                                                                  \
    X(BIO_new_mem_buf, ssl_errors)                                                                                               \
    X(BIO_read, ssl_errors)                                                                                                      \
    X(PEM_read_bio_PrivateKey, ssl_errors)                                                                                       \
    X(PEM_read_bio_X509, ssl_errors)                                                                                             \
    X(PEM_read_bio_X509_AUX, ssl_errors)                                                                                         \
    X(SSL_CTX_check_private_key, ssl_errors)                                                                                     \
    X(SSL_CTX_ctrl, ssl_errors)                                                                                                  \
    X(SSL_CTX_load_verify_dir, ssl_errors)                                                                                       \
    X(SSL_CTX_load_verify_file, ssl_errors)                                                                                      \
    X(SSL_CTX_new, ssl_errors)                                                                                                   \
    X(SSL_CTX_set_alpn_protos, ssl_errors)                                                                                       \
    X(SSL_CTX_set_cipher_list, ssl_errors)                                                                                       \
    X(SSL_CTX_set_ciphersuites, ssl_errors)                                                                                      \
    X(SSL_CTX_set_default_verify_paths, ssl_errors)                                                                              \
    X(SSL_CTX_use_PrivateKey, ssl_errors)                                                                                        \
    X(SSL_CTX_use_certificate, ssl_errors)                                                                                       \
    X(SSL_ctrl, ssl_errors)                                                                                                      \
    X(SSL_do_handshake, ssl_classes)                                                                                             \
    X(SSL_get0_peer_certificate, ssl_errors)                                                                                     \
    X(SSL_get1_session, ssl_errors)                                                                                              \
    X(SSL_get_current_cipher, ssl_errors)                                                                                        \
    X(SSL_get_verify_result, ssl_errors)                                                                                         \
    X(SSL_new, ssl_errors)                                                                                                       \
    X(SSL_read_ex, ssl_classes)                                                                                                  \
    X(SSL_set_ex_data, ssl_errors)                                                                                               \
    X(SSL_set_session, ssl_errors)                                                                                               \
    X(SSL_shutdown, ssl_classes)                                                                                                 \
    X(SSL_write_ex, ssl_classes)                                                                                                 \
    X(X509_NAME_print_ex, ssl_errors)                                                                                            \
    X(X509_STORE_add_cert, ssl_errors)                                                                                           \
    X(X509_STORE_add_lookup, ssl_errors)                                                                                         \
    X(X509_STORE_set_flags, ssl_errors)                                                                                          \
    X(X509_VERIFY_PARAM_set1_host, ssl_errors)                                                                                   \
    X(X509_VERIFY_PARAM_set1_ip_asc, ssl_errors)                                                                                 \
    X(X509_check_host, ssl_errors)                                                                                               \
    X(X509_check_ip_asc, ssl_errors)                                                                                             \
    X(X509_load_crl_file, ssl_errors)                                                                                            \
    X(X509_up_ref, ssl_errors)                                                                                                   \
    X(a2i_IPADDRESS, ssl_errors)

#define INDEX(name, errors) CALL_##name,
enum { CALLS(INDEX) CALL_COUNT };

#define ENTRY(name, errors) { #name, COUNT(errors) },
const struct shim_call shim_calls[] = { CALLS(ENTRY) };
const int shim_call_count = CALL_COUNT;
_Static_assert(CALL_COUNT <= SHIM_CALLS_MAX, "room for each call");

#define ERRORS_OF(name, errors)                                                                                                  \
    case CALL_##name: return errors[error];

static int error_of(int call, unsigned error) {
    switch (call) {
        CALLS(ERRORS_OF)
    default: return 0;
    }
}

const char *shim_error(int call, unsigned error) {
    static char words[64];
    const char *name = shim_calls[call].name;
    int code = error_of(call, error);
    if (strncmp(name, "uv_", 3) == 0)
        (void)snprintf(words, sizeof words, "%s", code ? uv_err_name(code) : "nothing");
    else
        (void)snprintf(words, sizeof words, "%s %d", strchr(name, '_') && name[0] < 'a' ? "class or reason" : "errno", code);
    return words;
}

/* Whether it fails now; the error. */
static bool strikes(int call, int *error) {
    unsigned index;
    if (!faults_call(call, shim_calls[call].errors, &index)) return false;
    *error = error_of(call, index);
    faults.told = *error;
    return true;
}

/* ---------------------------------------------------------------- libuv */

#define UV(name, parameters, arguments)                                                                                          \
    int shim_##name parameters;                                                                                                  \
    int shim_##name parameters {                                                                                                 \
        int error;                                                                                                               \
        return strikes(CALL_##name, &error) ? error : name arguments;                                                            \
    }

UV(uv_async_init, (uv_loop_t * loop, uv_async_t *async, uv_async_cb callback), (loop, async, callback))
UV(uv_async_send, (uv_async_t * async), (async))
UV(uv_fileno, (const uv_handle_t *handle, uv_os_fd_t *fd), (handle, fd))
UV(uv_gettimeofday, (uv_timeval64_t * tv), (tv))
UV(uv_ip_name, (const struct sockaddr *src, char *dst, size_t size), (src, dst, size))
UV(uv_mutex_init, (uv_mutex_t * mutex), (mutex))
UV(uv_pipe_init, (uv_loop_t * loop, uv_pipe_t *pipe, int ipc), (loop, pipe, ipc))
UV(uv_pipe_open, (uv_pipe_t * pipe, uv_file file), (pipe, file))
UV(uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd))
UV(uv_poll_start, (uv_poll_t * poll, int events, uv_poll_cb callback), (poll, events, callback))
UV(uv_random, (uv_loop_t * loop, uv_random_t *req, void *buf, size_t size, unsigned flags, uv_random_cb cb),
   (loop, req, buf, size, flags, cb))
UV(uv_tcp_bind, (uv_tcp_t * tcp, const struct sockaddr *address, unsigned flags), (tcp, address, flags))
UV(uv_tcp_close_reset, (uv_tcp_t * tcp, uv_close_cb callback), (tcp, callback))
UV(uv_tcp_init_ex, (uv_loop_t * loop, uv_tcp_t *tcp, unsigned flags), (loop, tcp, flags))
UV(uv_tcp_open, (uv_tcp_t * tcp, uv_os_sock_t sock), (tcp, sock))
UV(uv_cancel, (uv_req_t * req), (req))

/* Those with a callback fail there as well: the one that is under way for a request stands in its `reserved`. */
struct asked {
    const void *request;
    union {
        uv_getaddrinfo_cb lookup;
        uv_connect_cb connect;
        struct {
            uv_alloc_cb alloc;
            uv_read_cb read;
        } reading;
    } callback;
};

static struct asked asked[64];

static struct asked *asked_of(const void *request) {
    struct asked *empty = NULL;
    for (size_t i = 0; i < COUNT(asked); i++) {
        if (asked[i].request == request) return &asked[i];
        if (!asked[i].request && !empty) empty = &asked[i];
    }
    if (!empty) abort();
    empty->request = request;
    return empty;
}

static void on_lookup(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct asked *a = asked_of(request);
    uv_getaddrinfo_cb callback = a->callback.lookup;
    int error;
    a->request = NULL;
    if (status == 0 && strikes(CALL_uv_getaddrinfo_answer, &error)) {
        uv_freeaddrinfo(found);
        found = NULL;
        status = error;
    }
    callback(request, status, found);
}

int shim_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb callback, const char *node,
                        const char *service, const struct addrinfo *hints);
int shim_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb callback, const char *node,
                        const char *service, const struct addrinfo *hints) {
    int error;
    if (strikes(CALL_uv_getaddrinfo, &error)) return error;
    asked_of(request)->callback.lookup = callback;
    int rc = uv_getaddrinfo(loop, request, on_lookup, node, service, hints);
    if (rc < 0) asked_of(request)->request = NULL;
    return rc;
}

static void connected(uv_connect_t *request, int status, int call) {
    struct asked *a = asked_of(request);
    uv_connect_cb callback = a->callback.connect;
    int error;
    a->request = NULL;
    if (status == 0 && strikes(call, &error)) status = error;
    callback(request, status);
}

static void on_connected_tcp(uv_connect_t *request, int status) { connected(request, status, CALL_uv_tcp_connect_answer); }
static void on_connected_pipe(uv_connect_t *request, int status) { connected(request, status, CALL_uv_pipe_connect_answer); }

int shim_uv_tcp_connect(uv_connect_t *request, uv_tcp_t *tcp, const struct sockaddr *address, uv_connect_cb callback);
int shim_uv_tcp_connect(uv_connect_t *request, uv_tcp_t *tcp, const struct sockaddr *address, uv_connect_cb callback) {
    int error;
    if (strikes(CALL_uv_tcp_connect, &error)) return error;
    asked_of(request)->callback.connect = callback;
    int rc = uv_tcp_connect(request, tcp, address, on_connected_tcp);
    if (rc < 0) asked_of(request)->request = NULL;
    return rc;
}

void shim_uv_pipe_connect(uv_connect_t *request, uv_pipe_t *pipe, const char *name, uv_connect_cb callback);
void shim_uv_pipe_connect(uv_connect_t *request, uv_pipe_t *pipe, const char *name, uv_connect_cb callback) {
    asked_of(request)->callback.connect = callback;
    uv_pipe_connect(request, pipe, name, on_connected_pipe);
}

/* The buffer was filled by the kernel all the same: those bytes are lost with the link, or (0, EAGAIN) they would be: not tried then. */
static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    int error;
    struct asked *a = asked_of(stream);
    if (size > 0 && strikes(CALL_uv_read_answer, &error)) {
        if (error == 0) {
            a->callback.reading.read(stream, 0, buffer); /* libuv's EAGAIN; what came is told right behind it */
            uv_buf_t again;
            if (!uv_is_active((uv_handle_t *)stream)) return;
            a->callback.reading.alloc((uv_handle_t *)stream, 65536, &again);
            size_t fits = again.len < (size_t)size ? again.len : (size_t)size;
            if (fits < (size_t)size) {
                if (again.len > 0) a->callback.reading.read(stream, 0, &again);
                a->callback.reading.read(stream, UV_ECONNRESET, &again); /* it cannot be told as it was: the link is gone */
                return;
            }
            memmove(again.base, buffer->base, fits);
            a->callback.reading.read(stream, size, &again);
            return;
        }
        size = error;
    }
    a->callback.reading.read(stream, size, buffer);
}

int shim_uv_read_start(uv_stream_t *stream, uv_alloc_cb alloc, uv_read_cb read);
int shim_uv_read_start(uv_stream_t *stream, uv_alloc_cb alloc, uv_read_cb read) {
    int error;
    if (strikes(CALL_uv_read_start, &error)) return error;
    struct asked *a = asked_of(stream);
    a->callback.reading.alloc = alloc;
    a->callback.reading.read = read;
    return uv_read_start(stream, alloc, on_read);
}

/* A stream is closed for good: its place is free. */
void shim_uv_close(uv_handle_t *handle, uv_close_cb callback);
void shim_uv_close(uv_handle_t *handle, uv_close_cb callback) {
    for (size_t i = 0; i < COUNT(asked); i++)
        if (asked[i].request == handle) asked[i].request = NULL;
    uv_close(handle, callback);
}

/* ---------------------------------------------------------------- the system */

#define SYSTEM(type, bad, name, parameters, arguments)                                                                           \
    type shim_##name parameters;                                                                                                 \
    type shim_##name parameters {                                                                                                \
        int error;                                                                                                               \
        if (!strikes(CALL_##name, &error)) return name arguments;                                                                \
        errno = error;                                                                                                           \
        return bad;                                                                                                              \
    }

SYSTEM(void *, NULL, calloc, (size_t count, size_t size), (count, size))
SYSTEM(void *, NULL, malloc, (size_t size), (size))
SYSTEM(int, -1, clock_gettime, (clockid_t clock, struct timespec *now), (clock, now))
SYSTEM(int, -1, getpeername, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size))
SYSTEM(int, -1, getsockopt, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size))
SYSTEM(int, -1, setsockopt, (int fd, int level, int name, const void *value, socklen_t size), (fd, level, name, value, size))
SYSTEM(int, -1, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
SYSTEM(int, -1, stat, (const char *path, struct stat *room), (path, room))
SYSTEM(ssize_t, -1, writev, (int fd, const struct iovec *vector, int count), (fd, vector, count))

int shim_fcntl(int fd, int command, int argument);
int shim_fcntl(int fd, int command, int argument) {
    int error;
    if (!strikes(CALL_fcntl, &error)) return fcntl(fd, command, argument);
    errno = error;
    return -1;
}

int shim_ioctl(int fd, unsigned long request, void *argument);
int shim_ioctl(int fd, unsigned long request, void *argument) {
    int error;
    if (!strikes(CALL_ioctl, &error)) return ioctl(fd, request, argument);
    errno = error;
    return -1;
}

int shim_open(const char *path, int flags, unsigned mode);
int shim_open(const char *path, int flags, unsigned mode) {
    int error;
    if (!strikes(CALL_open, &error)) return open(path, flags, mode);
    errno = error;
    return -1;
}

/* Short: as much as the buffer has room for, from one octet to all but one; the call before the one that fails. */
ssize_t shim_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t shim_sendmsg(int fd, const struct msghdr *message, int flags) {
    int error;
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) size += message->msg_iov[i].iov_len;
    if (strikes(CALL_sendmsg, &error)) {
        errno = error;
        return -1;
    }
    if (size > 1 && strikes(CALL_sendmsg_short, &error)) {
        size_t part = 1 + (size_t)error % (size - 1);
        uint8_t *bytes = malloc(size);
        if (!bytes) abort();
        size_t at = 0;
        for (size_t i = 0; i < message->msg_iovlen; at += message->msg_iov[i++].iov_len)
            memcpy(bytes + at, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
        ssize_t sent = send(fd, bytes, part, flags);
        free(bytes);
        return sent;
    }
    return sendmsg(fd, message, flags);
}

/* ---------------------------------------------------------------- OpenSSL */

static void queue_error(int reason) {
    if (reason) ERR_raise(ERR_LIB_SSL, reason);
}

#define SSL_(type, bad, name, parameters, arguments)                                                                             \
    type shim_##name parameters;                                                                                                 \
    type shim_##name parameters {                                                                                                \
        int error;                                                                                                               \
        if (!strikes(CALL_##name, &error)) return name arguments;                                                                \
        queue_error(error);                                                                                                      \
        return bad;                                                                                                              \
    }

SSL_(int, 0, ASN1_TIME_to_tm, (const ASN1_TIME *s, struct tm *tm), (s, tm))
SSL_(BIO_METHOD *, NULL, BIO_meth_new, (int type, const char *name), (type, name))
SSL_(int, 0, BIO_meth_set_ctrl, (BIO_METHOD * m, long (*f)(BIO *, int, long, void *)), (m, f))
SSL_(int, 0, BIO_meth_set_read_ex, (BIO_METHOD * m, int (*f)(BIO *, char *, size_t, size_t *)), (m, f))
SSL_(int, 0, BIO_meth_set_write_ex, (BIO_METHOD * m, int (*f)(BIO *, const char *, size_t, size_t *)), (m, f))
SSL_(BIO *, NULL, BIO_new, (const BIO_METHOD *m), (m))
SSL_(BIO *, NULL, BIO_new_file, (const char *name, const char *mode), (name, mode))
SSL_(BIO *, NULL, BIO_new_mem_buf, (const void *data, int size), (data, size))
SSL_(int, -1, BIO_read, (BIO * b, void *data, int size), (b, data, size))
SSL_(EVP_PKEY *, NULL, PEM_read_bio_PrivateKey, (BIO * b, EVP_PKEY **x, pem_password_cb *cb, void *u), (b, x, cb, u))
SSL_(X509 *, NULL, PEM_read_bio_X509, (BIO * b, X509 **x, pem_password_cb *cb, void *u), (b, x, cb, u))
SSL_(X509 *, NULL, PEM_read_bio_X509_AUX, (BIO * b, X509 **x, pem_password_cb *cb, void *u), (b, x, cb, u))
SSL_(int, 0, SSL_CTX_check_private_key, (const SSL_CTX *c), (c))
SSL_(long, 0, SSL_CTX_ctrl, (SSL_CTX * c, int command, long number, void *data), (c, command, number, data))
SSL_(int, 0, SSL_CTX_load_verify_dir, (SSL_CTX * c, const char *path), (c, path))
SSL_(int, 0, SSL_CTX_load_verify_file, (SSL_CTX * c, const char *path), (c, path))
SSL_(SSL_CTX *, NULL, SSL_CTX_new, (const SSL_METHOD *m), (m))
SSL_(int, 1, SSL_CTX_set_alpn_protos, (SSL_CTX * c, const unsigned char *protos, unsigned size), (c, protos, size))
SSL_(int, 0, SSL_CTX_set_cipher_list, (SSL_CTX * c, const char *s), (c, s))
SSL_(int, 0, SSL_CTX_set_ciphersuites, (SSL_CTX * c, const char *s), (c, s))
SSL_(int, 0, SSL_CTX_set_default_verify_paths, (SSL_CTX * c), (c))
SSL_(int, 0, SSL_CTX_use_PrivateKey, (SSL_CTX * c, EVP_PKEY *key), (c, key))
SSL_(int, 0, SSL_CTX_use_certificate, (SSL_CTX * c, X509 *x), (c, x))
SSL_(long, 0, SSL_ctrl, (SSL * s, int command, long number, void *data), (s, command, number, data))
SSL_(X509 *, NULL, SSL_get0_peer_certificate, (const SSL *s), (s))
SSL_(SSL_SESSION *, NULL, SSL_get1_session, (SSL * s), (s))
SSL_(const SSL_CIPHER *, NULL, SSL_get_current_cipher, (const SSL *s), (s))
SSL_(long, X509_V_ERR_UNSPECIFIED, SSL_get_verify_result, (const SSL *s), (s))
SSL_(SSL *, NULL, SSL_new, (SSL_CTX * c), (c))
SSL_(int, 0, SSL_set_ex_data, (SSL * s, int index, void *data), (s, index, data))
SSL_(int, 0, SSL_set_session, (SSL * s, SSL_SESSION *session), (s, session))
SSL_(int, -1, X509_NAME_print_ex, (BIO * b, const X509_NAME *name, int indent, unsigned long flags), (b, name, indent, flags))
SSL_(int, 0, X509_STORE_add_cert, (X509_STORE * s, X509 *x), (s, x))
SSL_(X509_LOOKUP *, NULL, X509_STORE_add_lookup, (X509_STORE * s, X509_LOOKUP_METHOD *m), (s, m))
SSL_(int, 0, X509_STORE_set_flags, (X509_STORE * s, unsigned long flags), (s, flags))
SSL_(int, 0, X509_VERIFY_PARAM_set1_host, (X509_VERIFY_PARAM * p, const char *name, size_t size), (p, name, size))
SSL_(int, 0, X509_VERIFY_PARAM_set1_ip_asc, (X509_VERIFY_PARAM * p, const char *ip), (p, ip))
SSL_(int, -1, X509_check_host, (X509 * x, const char *name, size_t size, unsigned flags, char **found),
     (x, name, size, flags, found))
SSL_(int, -1, X509_check_ip_asc, (X509 * x, const char *ip, unsigned flags), (x, ip, flags))
SSL_(int, 0, X509_load_crl_file, (X509_LOOKUP * l, const char *file, int type), (l, file, type))
SSL_(int, 0, X509_up_ref, (X509 * x), (x))
SSL_(ASN1_OCTET_STRING *, NULL, a2i_IPADDRESS, (const char *ip), (ip))

/* The three that talk: SSL_get_error says afterwards what is the matter. */
#define TALKS(bad, name, parameters, arguments)                                                                                  \
    int shim_##name parameters;                                                                                                  \
    int shim_##name parameters {                                                                                                 \
        int error;                                                                                                               \
        next_class = -1;                                                                                                         \
        if (!strikes(CALL_##name, &error)) return name arguments;                                                                \
        next_class = error;                                                                                                      \
        if (error == SSL_ERROR_SSL) ERR_raise(ERR_LIB_SSL, ERR_R_INTERNAL_ERROR);                                                \
        return bad;                                                                                                              \
    }

TALKS(-1, SSL_do_handshake, (SSL * s), (s))
TALKS(0, SSL_read_ex, (SSL * s, void *data, size_t size, size_t *got), (s, data, size, got))
TALKS(0, SSL_write_ex, (SSL * s, const void *data, size_t size, size_t *written), (s, data, size, written))
TALKS(-1, SSL_shutdown, (SSL * s), (s))

int shim_SSL_get_error(const SSL *s, int rc);
int shim_SSL_get_error(const SSL *s, int rc) {
    int error = next_class;
    next_class = -1;
    return error >= 0 ? error : SSL_get_error(s, rc);
}
