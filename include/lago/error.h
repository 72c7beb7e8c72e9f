/* Error codes, and the reason that every end carries. */
#ifndef LAGO_ERROR_H
#define LAGO_ERROR_H

#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every error: name, number, scope, text. The scope is how much has ended: CALL (nothing happened, the call took no effect),
 * CHANNEL (that channel is dead), CONNECTION (the link is dead). Numbers are below -10000 so as not to meet libuv's, which
 * lago passes through; they never change.
 */
#define LAGO_ERROR_MAP(XX)                                                                                                       \
    XX(EINVAL, -10001, CALL, "invalid argument")                                                                                 \
    XX(ENOMEM, -10002, CALL, "out of memory")                                                                                    \
    XX(ECLOSED, -10003, CALL, "closed by the application, or already ended")                                                     \
    XX(EAGAIN, -10004, CALL, "too much output is waiting; publish again after on_drain")                                         \
    XX(ESTALE, -10005, CALL, "no open delivery has this tag")                                                                    \
    XX(ETOOLONG, -10006, CALL, "a name is longer than 255 bytes")                                                                \
    XX(ETOOBIG, -10007, CALL, "method or header does not fit into a frame of frame_max")                                         \
    XX(ETABLE, -10008, CALL, "malformed table")                                                                                  \
    XX(ETYPE, -10009, CALL, "unknown field type in a table")                                                                     \
    XX(EDEPTH, -10010, CALL, "tables are nested too deeply")                                                                     \
    XX(ENOCONFIRM, -10011, CALL, "the channel does not confirm; call lago_confirm_select first")                                 \
    XX(EEXIST, -10012, CALL, "consumer tag already in use on this channel")                                                      \
    XX(EURL, -10013, CALL, "bad URL")                                                                                            \
    XX(EPARAMETER, -10014, CALL, "bad connection parameter")                                                                     \
    XX(ENOTLS, -10015, CALL, "TLS is not available in this build")                                                               \
    XX(ECANCELED, -10016, CALL, "canceled because its owner ended")                                                              \
    XX(ETIMEDOUT, -10017, CALL, "deadline passed")                                                                               \
    XX(EUNROUTABLE, -10018, CALL, "no queue took the message")                                                                   \
    XX(ENOREPLY, -10019, CALL, "the message has no reply_to: its sender wants no reply")                                         \
    XX(ENOCHANNEL, -10101, CHANNEL, "no channel number is free")                                                                 \
    XX(ECHANNEL, -10102, CHANNEL, "the broker closed the channel")                                                               \
    XX(EMSGSIZE, -10103, CHANNEL, "a message is too large: message_size_max, assembly_size_max")                                 \
    XX(ECONSUMER, -10104, CHANNEL, "the broker cancelled the consumer")                                                          \
    XX(ERESOLVE, -10201, CONNECTION, "host name lookup failed")                                                                  \
    XX(ECONNECT, -10202, CONNECTION, "connecting failed")                                                                        \
    XX(ELOST, -10203, CONNECTION, "the link to the broker was lost")                                                             \
    XX(EHEARTBEAT, -10204, CONNECTION, "the broker went silent: no heartbeat")                                                   \
    XX(ESTALLED, -10205, CONNECTION, "the broker took no bytes for write_timeout")                                               \
    XX(EBLOCKED, -10206, CONNECTION, "the broker kept the connection blocked for blocked_connection_timeout")                    \
    XX(EVERSION, -10207, CONNECTION, "the broker speaks another version of AMQP")                                                \
    XX(EPROTOCOL, -10208, CONNECTION, "the broker violated the protocol")                                                        \
    XX(EFRAMEMAX, -10209, CONNECTION, "the broker offers a frame_max below 4096")                                                \
    XX(EMECHANISM, -10210, CONNECTION, "no login mechanism in common with the broker")                                           \
    XX(EAUTH, -10211, CONNECTION, "login refused")                                                                               \
    XX(EACCESS, -10212, CONNECTION, "virtual host refused")                                                                      \
    XX(ECONNECTION, -10213, CONNECTION, "the broker closed the connection")                                                      \
    XX(ENOTAMQP, -10214, CONNECTION, "the peer is not an AMQP broker")                                                           \
    XX(ETLS, -10215, CONNECTION, "TLS failed")                                                                                   \
    XX(ECERTIFICATE, -10216, CONNECTION, "the broker's certificate is not trusted")                                              \
    XX(ETRUNCATED, -10217, CONNECTION, "the link was cut: it ended without TLS's close_notify")                                  \
    XX(EPROXY, -10218, CONNECTION, "the proxy does not let us through")

enum {
    LAGO_OK = 0,
#define LAGO_ERROR_ENUM_(name, number, scope, text) LAGO_##name = (number),
    LAGO_ERROR_MAP(LAGO_ERROR_ENUM_)
#undef LAGO_ERROR_ENUM_
};

typedef enum lago_scope { LAGO_SCOPE_NONE, LAGO_SCOPE_CALL, LAGO_SCOPE_CHANNEL, LAGO_SCOPE_CONNECTION } lago_scope_t;

/**
 * The text of a code: lago's own, or the system's for libuv's codes. An unknown code has a text that says so.
 *
 * @return A static string, never NULL. Thread: any.
 */
LAGO_EXPORT const char *lago_strerror(int code);

/** The name of a code, "LAGO_EINVAL"; of libuv's, "ECONNREFUSED". @return A static string. Thread: any. */
LAGO_EXPORT const char *lago_error_name(int code);

/** How much a code ends. libuv's codes end the connection; 0 and positive numbers nothing. Thread: any. */
LAGO_EXPORT lago_scope_t lago_error_scope(int code);

/* Where a connection was in its life. */
typedef enum lago_phase {
    LAGO_PHASE_NONE,      /* not started */
    LAGO_PHASE_RESOLVE,   /* looking up the host name */
    LAGO_PHASE_CONNECT,   /* TCP, or a Unix domain socket */
    LAGO_PHASE_PROXY,     /* asking a proxy for the way on */
    LAGO_PHASE_TLS,       /* TLS handshake */
    LAGO_PHASE_HANDSHAKE, /* AMQP: protocol header to tune */
    LAGO_PHASE_OPEN,      /* AMQP: connection.open, the virtual host */
    LAGO_PHASE_RUNNING,   /* open */
    LAGO_PHASE_CLOSING    /* closing */
} lago_phase_t;

/** The name of a phase, in words. @return A static string. Thread: any. */
LAGO_EXPORT const char *lago_phase_name(lago_phase_t phase);

/* Who ended it. */
typedef enum lago_origin {
    LAGO_BY_CLIENT, /* this application, through lago */
    LAGO_BY_BROKER, /* the broker said so: reply_code and reply_text are its words */
    LAGO_BY_NETWORK /* nobody said anything: the link, a deadline, a lookup */
} lago_origin_t;

/**
 * Why something ended: an operation, a consumer, a channel, a connection, an attempt to open one.
 *
 * Borrowed where a callback gets it; it is a plain struct, so assign it to keep it. Peer text is as it came: print it with
 * lago_reason_format, which escapes and bounds it.
 */
typedef struct lago_reason {
    int code; /* LAGO_E*, never 0. LAGO_ECLOSED by LAGO_BY_CLIENT is an end that this application asked for */
    lago_origin_t origin;
    lago_phase_t phase;  /* of the connection when it happened */
    uint16_t reply_code; /* of connection.close, channel.close or basic.return; 0 where there was none */
    uint16_t class_id;   /* the method that the broker blames, 0 if none */
    uint16_t method_id;
    int os_error;            /* libuv's code (UV_ECONNREFUSED ...), 0 if none */
    unsigned long tls_error; /* OpenSSL's code, 0 if none */
    long tls_verify_result;  /* X509_V_*, 0 if verification was not the cause */
    size_t reply_text_size;  /* the truth about reply_text */
    char reply_text[256];    /* the broker's, byte for byte; NUL-terminated as well. To be shown by lago_reason_format */
    char endpoint[128];      /* "127.0.0.1:5672", empty before an address was known */
    char detail[320];        /* what exactly, in words; may be empty */
    char hint[200];          /* what to do about it, in words; may be empty */
    uintptr_t reserved[8];
} lago_reason_t;

/**
 * One helpful line for people: "connection refused by 127.0.0.1:5672 (no broker listening?)",
 * "login refused for user 'x' (403 ACCESS_REFUSED - ...)". Peer text is escaped, and cut at 256 bytes.
 *
 * @param reason  NULL prints "no error".
 * @param buffer  Filled with a NUL-terminated text, cut short if `size` is too small; 512 bytes hold most. May be NULL when
 *                `size` is 0.
 * @return How many bytes the whole text has, as snprintf counts. Thread: any.
 */
LAGO_EXPORT size_t lago_reason_format(const lago_reason_t *reason, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
