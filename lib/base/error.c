/*
 * Names and texts of codes: lago's own, and the system's as libuv passes them on. No strerror(): its text depends on the locale
 * and its buffer on the thread. <errno.h> is here for its constants only.
 */
#include <errno.h>
#include <lago/error.h>
#include <stddef.h>

struct entry {
    int code;
    lago_scope_t scope;
    const char *name, *text;
};

static const struct entry no_error = { LAGO_OK, LAGO_SCOPE_NONE, "LAGO_OK", "no error" };

#define OWN(name, number, scope, text) { (number), LAGO_SCOPE_##scope, "LAGO_" #name, (text) },

static const struct entry own[] = { LAGO_ERROR_MAP(OWN) };

/* What a network client meets. On Unix libuv's codes are the system's, negated. */
#define SYSTEM(name, text)                                                                                                       \
    { -(name), LAGO_SCOPE_CONNECTION, #name, (text) }

/* libuv's own, which no header of the system has. */
#define UV(name, number, text)                                                                                                   \
    { (number), LAGO_SCOPE_CONNECTION, (name), (text) }

static const struct entry foreign[] = {
    SYSTEM(EACCES, "permission denied"),
    SYSTEM(EADDRINUSE, "address already in use"),
    SYSTEM(EADDRNOTAVAIL, "address not available"),
    SYSTEM(EAFNOSUPPORT, "address family not supported"),
    SYSTEM(EAGAIN, "resource temporarily unavailable"),
    SYSTEM(EALREADY, "already in progress"),
    SYSTEM(EBADF, "bad file descriptor"),
    SYSTEM(EBUSY, "resource busy"),
    SYSTEM(ECANCELED, "operation canceled"),
    SYSTEM(ECONNABORTED, "connection aborted"),
    SYSTEM(ECONNREFUSED, "connection refused"),
    SYSTEM(ECONNRESET, "connection reset by peer"),
    SYSTEM(EFAULT, "bad address in a system call"),
    SYSTEM(EHOSTDOWN, "host is down"),
    SYSTEM(EHOSTUNREACH, "host is unreachable"),
    SYSTEM(EINTR, "interrupted system call"),
    SYSTEM(EINVAL, "invalid argument to a system call"),
    SYSTEM(EIO, "input/output error"),
    SYSTEM(EISCONN, "socket is already connected"),
    SYSTEM(EMFILE, "too many open files in this process"),
    SYSTEM(EMSGSIZE, "message too long"),
    SYSTEM(ENAMETOOLONG, "name too long"),
    SYSTEM(ENETDOWN, "network is down"),
    SYSTEM(ENETRESET, "network dropped the connection"),
    SYSTEM(ENETUNREACH, "network is unreachable"),
    SYSTEM(ENFILE, "too many open files in the system"),
    SYSTEM(ENOBUFS, "no buffer space available"),
    SYSTEM(ENODEV, "no such device"),
    SYSTEM(ENOENT, "no such file or directory"),
    SYSTEM(ENOMEM, "the system is out of memory"),
    SYSTEM(ENOPROTOOPT, "protocol option not available"),
    SYSTEM(ENOSPC, "no space left on device"),
    SYSTEM(ENOSYS, "function not implemented"),
    SYSTEM(ENOTCONN, "socket is not connected"),
    SYSTEM(ENOTSOCK, "not a socket"),
    SYSTEM(ENOTSUP, "operation not supported"),
    SYSTEM(EPERM, "operation not permitted"),
    SYSTEM(EPIPE, "broken pipe"),
    SYSTEM(EPROTO, "protocol error below AMQP"),
    SYSTEM(EPROTONOSUPPORT, "protocol not supported"),
    SYSTEM(EPROTOTYPE, "wrong protocol type for a socket"),
    SYSTEM(ETIMEDOUT, "connection timed out"),
    UV("EAI_ADDRFAMILY", -3000, "host has no address of this family"),
    UV("EAI_AGAIN", -3001, "temporary failure of name lookup"),
    UV("EAI_BADFLAGS", -3002, "bad flags for name lookup"),
    UV("EAI_CANCELED", -3003, "name lookup canceled"),
    UV("EAI_FAIL", -3004, "permanent failure of name lookup"),
    UV("EAI_FAMILY", -3005, "address family not supported by name lookup"),
    UV("EAI_MEMORY", -3006, "name lookup is out of memory"),
    UV("EAI_NODATA", -3007, "host name has no address"),
    UV("EAI_NONAME", -3008, "unknown host name or service"),
    UV("EAI_OVERFLOW", -3009, "result of name lookup is too large"),
    UV("EAI_SERVICE", -3010, "service not available for this socket type"),
    UV("EAI_SOCKTYPE", -3011, "socket type not supported by name lookup"),
    UV("EAI_BADHINTS", -3013, "bad hints for name lookup"),
    UV("EAI_PROTOCOL", -3014, "name lookup gave an unknown protocol"),
    UV("UNKNOWN", -4094, "unknown error"),
    UV("EOF", -4095, "closed by the peer"),
};

static const struct entry *find_in(const struct entry *entries, size_t count, int code) {
    for (size_t i = 0; i < count; i++) {
        if (entries[i].code == code) return &entries[i];
    }
    return NULL;
}

static const struct entry *find(int code) {
    if (code == LAGO_OK) return &no_error;
    const struct entry *entry = find_in(own, sizeof(own) / sizeof(own[0]), code);
    return entry != NULL ? entry : find_in(foreign, sizeof(foreign) / sizeof(foreign[0]), code);
}

const char *lago_strerror(int code) {
    const struct entry *entry = find(code);
    return entry == NULL ? "unknown error" : entry->text;
}

const char *lago_error_name(int code) {
    const struct entry *entry = find(code);
    return entry == NULL ? "UNKNOWN" : entry->name;
}

lago_scope_t lago_error_scope(int code) {
    const struct entry *entry = find(code);
    if (entry != NULL) return entry->scope;
    return code < 0 ? LAGO_SCOPE_CONNECTION : LAGO_SCOPE_NONE;
}

const char *lago_phase_name(lago_phase_t phase) {
    switch (phase) {
    case LAGO_PHASE_NONE: return "not started";
    case LAGO_PHASE_RESOLVE: return "host name lookup";
    case LAGO_PHASE_CONNECT: return "connecting";
    case LAGO_PHASE_PROXY: return "asking the proxy";
    case LAGO_PHASE_TLS: return "TLS handshake";
    case LAGO_PHASE_HANDSHAKE: return "AMQP handshake";
    case LAGO_PHASE_OPEN: return "opening the virtual host";
    case LAGO_PHASE_RUNNING: return "open";
    case LAGO_PHASE_CLOSING: return "closing";
    }
    return "unknown phase";
}
