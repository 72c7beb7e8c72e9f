/*
 * A connection to a broker, living on the caller's loop.
 *
 * Life: lago_connect -> exactly one of on_open and on_open_error; after on_open exactly one on_close, which is final.
 * Everything happens on the loop's thread. Nothing blocks. Callbacks never nest, and none comes from inside a call (but free_data
 * and release_body from inside a free); in any callback any call is legal, lago_connection_free included. A call that returns
 * an error has done nothing and calls nothing back; one that returns 0 or more ends its completion exactly once, with the result
 * or with the reason.
 *
 * When a link ends the callbacks come in this order, all with the same reason: completions of operations in the order of their
 * calls; for each channel, ascending: its calls (rpc.h), outcomes of its publishes by sequence number, its consumers (the end of a
 * body under way to on_body, then free_data), its on_close (or on_open with the reason); posts and timers with LAGO_ECANCELED; then
 * on_open_error or on_close, when all handles of the link are closed, so that uv_loop_close succeeds after uv_run has returned.
 * After lago_connection_close each channel ends when the broker has answered its goodbye, with a reason of its own. An end that
 * nobody handles is logged as one line.
 */
#ifndef LAGO_CONNECTION_H
#define LAGO_CONNECTION_H

#include <lago/context.h>
#include <lago/error.h>
#include <lago/parameters.h>
#include <lago/table.h>
#include <lago/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** connection.open-ok arrived. */
typedef void (*lago_connection_open_cb)(lago_connection_t *conn, void *data);

/** The connection could not be opened (on_open_error), or has ended (on_close). `reason` is borrowed. */
typedef void (*lago_connection_end_cb)(lago_connection_t *conn, const lago_reason_t *reason, void *data);

/** The broker takes no publishes for now; `reason` in its words ("low on memory"). RabbitMQ says so at the first publish. */
typedef void (*lago_connection_blocked_cb)(lago_connection_t *conn, lago_string_t reason, void *data);

/**
 * What is done now to open it: looking up, connecting, asking the proxy, TLS, AMQP, opening the virtual host; that it is open is
 * said by on_open. `attempt` is 1 more than have failed.
 */
typedef void (*lago_connection_phase_cb)(lago_connection_t *conn, lago_phase_t phase, uint32_t attempt, void *data);

/**
 * It takes publishes again (on_unblocked); or: after a LAGO_EAGAIN the output fell to low_water (on_drain). However many publishes
 * were refused, on_drain comes exactly once, as soon as a publish would be taken again and there is room for more than one; or the
 * end comes instead.
 */
typedef void (*lago_connection_event_cb)(lago_connection_t *conn, void *data);

typedef struct lago_connection_options {
    const lago_parameters_t *parameters; /* instead of a URL; copied */
    /*
     * How many there are behind that pointer: tried in order, each with its own user, TLS and so on. Rounds, pauses, their deadline
     * and shuffling are those of the first. Default 1; at most 64.
     */
    size_t parameters_count;
    /*
     * An open stream of this loop instead of dialing (uv_tcp_t, or uv_pipe_t of a Unix socket, not for descriptors): a tunnel, a
     * proxy of your own. Nothing may wait in it to be written; its socket options stay as they are. lago takes its data, reading,
     * writing and closing over when lago_connect returns 0. Parameters say the rest, of one host; with TLS that is the name
     * expected. One attempt, no rounds. An error of lago_connect leaves it as it was.
     */
    uv_stream_t *stream;
    /*
     * The stream is closed, and its memory the caller's again: called once, with `data`, from libuv's close callback, before
     * on_open_error or on_close and free_data; after lago_connection_free as well. Any call is legal in it.
     */
    void (*free_stream)(uv_stream_t *stream, void *data);
    int socket_fd;           /* or a connected TCP or Unix stream socket; lago's when lago_connect returns 0. 0: none */
    lago_context_t *context; /* shared with other connections of this loop; default: a private one */
    lago_connection_open_cb on_open;
    lago_connection_end_cb on_open_error;
    lago_connection_end_cb on_close;
    lago_connection_blocked_cb on_blocked;
    lago_connection_event_cb on_unblocked;
    lago_connection_event_cb on_drain;
    lago_connection_phase_cb on_phase; /* to watch; INFO lines of the log tell more */
    void *data;
    void (*free_data)(void *data); /* called once, after the last callback of this connection */
    uintptr_t reserved[8];         /* zero */
} lago_connection_options_t;

/**
 * Start to connect.
 *
 * The handle is usable at once: channels may be opened and operations issued before on_open; they leave in order after it.
 *
 * @param loop     Borrowed until the connection has ended. Its thread is the connection's.
 * @param url      See lago_parameters_parse. NULL: options->parameters, or amqp://guest:guest@localhost:5672/ without those.
 * @param options  Copied; NULL: no callbacks, all defaults.
 * @param conn     The handle, the caller's to free with lago_connection_free; NULL on error.
 * @return 0: one of on_open and on_open_error follows. Or
 *         LAGO_EINVAL      NULL loop or conn, url and parameters both given, a context of another loop, non-zero `reserved`;
 *                          stream and socket_fd both given, a stream of another loop, closing, or with bytes to write
 *         libuv's error    stream or socket_fd: UV_ENOTSOCK, UV_ENOTCONN, UV_EPROTONOSUPPORT (neither TCP nor a Unix stream) ...
 *         LAGO_EURL        bad URL; what is wrong is logged as one line
 *         LAGO_EPARAMETER  a parameter out of range, likewise logged
 *         LAGO_ETOOLONG    virtual host, user name, locale or connection name longer than 255 bytes
 *         LAGO_ETABLE, LAGO_ETYPE, LAGO_EDEPTH  client_properties cannot be read
 *         LAGO_ENOTLS      `tls` in a build without it; LAGO_ETLS: OpenSSL itself does not work, see the log
 *         LAGO_ENOMEM
 */
LAGO_EXPORT int lago_connect(uv_loop_t *loop, const char *url, const lago_connection_options_t *options,
                             lago_connection_t **conn);

/** How to close; NULL or zero: defaults. */
typedef struct lago_close {
    uint16_t reply_code;    /* told to the broker; default 200 */
    const char *reply_text; /* at most 255 bytes, copied; default "Normal shutdown" */
    uint32_t timeout_ms;    /* from now to the end; default close_timeout_ms */
    bool no_await_confirms; /* do not wait until the broker has confirmed what was published */
} lago_close_t;

/**
 * Say goodbye: write what was accepted, wait for its answers and confirms, close the channels, then the connection (1.4.2.4).
 *
 * From now on messages are no longer delivered and new operations are LAGO_ECLOSED; acks of what was delivered are taken
 * until the channels close. During opening this gives up: on_open_error with LAGO_ECLOSED. A second call changes nothing.
 *
 * @return 0: on_close (or on_open_error) follows, at the latest after `timeout_ms`, then with LAGO_ETIMEDOUT. Or
 *         LAGO_EINVAL    NULL handle
 *         LAGO_ETOOLONG  reply_text
 *         LAGO_ENOMEM    nothing has changed
 *         LAGO_ECLOSED   it has ended already
 */
LAGO_EXPORT int lago_connection_close(lago_connection_t *conn, const lago_close_t *options);

/**
 * Drop the link without a word. on_close or on_open_error follows, with LAGO_ECLOSED.
 *
 * @return 0, LAGO_EINVAL, or LAGO_ECLOSED if it has ended already.
 */
LAGO_EXPORT int lago_connection_abort(lago_connection_t *conn);

/**
 * Let go of the handle and of its channels' handles, at any time, in any callback. A living connection is dropped without a
 * word, and nothing of it is called back any more but free_data and release_body (at once, or after the running callback; with a
 * stream of the caller's free_stream, and then free_data, when it is closed); the loop must run once more to close its
 * descriptors. NULL is allowed.
 */
LAGO_EXPORT void lago_connection_free(lago_connection_t *conn);

/**
 * Take no more input until lago_connection_resume: nothing that the broker says is told, but timers, posts, drains, released bodies,
 * timeouts of operations and channels, outcomes of a confirm that was being told, and the end. What has come stays with lago (up to a
 * read buffer), the rest in the kernel, so that the broker sees it and stops: this bounds memory where a prefetch count cannot.
 * Heartbeats are sent, the broker's silence and blocked_connection_timeout rest; but its goodbye, blocks and unblocks are not seen
 * either. Closing resumes. Both may be repeated.
 *
 * @return 0, LAGO_EINVAL, or LAGO_ECLOSED if it has ended.
 */
LAGO_EXPORT int lago_connection_pause(lago_connection_t *conn);
LAGO_EXPORT int lago_connection_resume(lago_connection_t *conn);

/** As uv_unref: this connection alone does not keep uv_run alive, unless bytes are unsent or a completion is owed. */
LAGO_EXPORT void lago_connection_unref(lago_connection_t *conn);
LAGO_EXPORT void lago_connection_ref(lago_connection_t *conn);

/* ---------------------------------------------------------------- what it is and how it fares */

/* pika's states and numbers. */
typedef enum lago_connection_state {
    LAGO_CONNECTION_CLOSED = 0,
    LAGO_CONNECTION_INIT = 1,     /* looking up, connecting, waiting to try again */
    LAGO_CONNECTION_PROTOCOL = 2, /* protocol header sent */
    LAGO_CONNECTION_START = 3,    /* start-ok sent */
    LAGO_CONNECTION_TUNE = 4,     /* tune-ok and open sent */
    LAGO_CONNECTION_OPEN = 5,
    LAGO_CONNECTION_CLOSING = 6
} lago_connection_state_t;

/** The state; CLOSED for NULL. */
LAGO_EXPORT lago_connection_state_t lago_connection_state(const lago_connection_t *conn);

/** `data` of the options. */
LAGO_EXPORT void *lago_connection_data(const lago_connection_t *conn);

/**
 * Why it ended; borrowed until the handle is freed. If there was no memory to keep that its code is LAGO_ENOMEM: on_close was told the
 * true one. @return NULL while it lives.
 */
LAGO_EXPORT const lago_reason_t *lago_connection_reason(const lago_connection_t *conn);

/** The address connected to, "127.0.0.1:5672"; "" before there is one. Borrowed until the handle is freed. */
LAGO_EXPORT const char *lago_connection_endpoint(const lago_connection_t *conn);

/* So many failed attempts are remembered; older ones are forgotten, but counted. */
#define LAGO_ATTEMPTS_MAX 32

/**
 * What failed on the way to open it, each with its phase, endpoint and cause: a lookup, an address, a login ... For on_open_error,
 * whose own reason is that of the last one.
 *
 * @param index   From 0, the oldest that is remembered.
 * @param number  Filled with which attempt it was, from 1; may be NULL.
 * @return Borrowed until the next attempt fails or the handle is freed; NULL behind the last one, or for a NULL handle.
 */
LAGO_EXPORT const lago_reason_t *lago_connection_attempt(const lago_connection_t *conn, size_t index, uint32_t *number);

/** TLS of the link in words; all "" on a plain one. Borrowed until the link ends. */
typedef struct lago_tls_info {
    const char *version; /* "TLSv1.3" */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    bool resumed;        /* an earlier session went on */
} lago_tls_info_t;
LAGO_EXPORT lago_tls_info_t lago_connection_tls(const lago_connection_t *conn);

/** What the broker said of itself (connection.start); empty before. Borrowed until the handle is freed. */
LAGO_EXPORT lago_table_t lago_connection_server_properties(const lago_connection_t *conn);

/** Whether the broker announced a capability: "basic.nack", "consumer_cancel_notify" ... False before connection.start. */
LAGO_EXPORT bool lago_connection_server_has(const lago_connection_t *conn, const char *capability);

/** What was agreed (connection.tune-ok); all zero before. */
typedef struct lago_tune {
    uint16_t channel_max;
    uint32_t frame_max;
    uint16_t heartbeat_s; /* 0: none */
} lago_tune_t;
LAGO_EXPORT lago_tune_t lago_connection_tune(const lago_connection_t *conn);

/** Whether the broker has it blocked now. */
LAGO_EXPORT bool lago_connection_is_blocked(const lago_connection_t *conn);

/** Whether a publish would be taken now, and not LAGO_EAGAIN or LAGO_ECLOSED. Asking promises no on_drain. False for NULL. */
LAGO_EXPORT bool lago_connection_writable(const lago_connection_t *conn);

/** Bytes accepted and not yet handed to the system; what waits until it is open or unblocked counts with what keeping it takes. */
LAGO_EXPORT size_t lago_connection_output_size(const lago_connection_t *conn);

/* ---------------------------------------------------------------- timers and secrets */

/** @param status  0: the time has come; LAGO_ECANCELED: the connection ended first. */
typedef void (*lago_timer_cb)(lago_connection_t *conn, int status, void *data);

/**
 * Call back once after a delay (pika's call_later).
 *
 * @param delay_ms  0 is taken as 1; LAGO_NO_TIMEOUT never comes, but for its LAGO_ECANCELED.
 * @param timer_id  For lago_connection_remove_timeout; may be NULL.
 * @return 0: `callback` follows once. Or LAGO_EINVAL, LAGO_ECLOSED, LAGO_ENOMEM.
 */
LAGO_EXPORT int lago_connection_call_later(lago_connection_t *conn, uint32_t delay_ms, lago_timer_cb callback, void *data,
                                           uint64_t *timer_id);

/** Take a timer back: its callback will not come. @return 0, LAGO_EINVAL, or LAGO_ESTALE if it is not waiting any more. */
LAGO_EXPORT int lago_connection_remove_timeout(lago_connection_t *conn, uint64_t timer_id);

/** @param reason  NULL: the broker took it; else why not. Borrowed. */
typedef void (*lago_connection_done_cb)(lago_connection_t *conn, const lago_reason_t *reason, void *data);

/**
 * Replace the secret of this login, such as a token before it expires (RabbitMQ: connection.update-secret).
 *
 * @param new_secret  Copied, and wiped after it was sent. A refusal closes the connection (530).
 * @param reason      For the broker's log, at most 255 bytes; NULL is "".
 * @param callback    Called once, or NULL.
 * @return 0, LAGO_EINVAL, LAGO_ETOOLONG, LAGO_ETOOBIG, LAGO_ECLOSED, LAGO_ENOMEM.
 */
LAGO_EXPORT int lago_update_secret(lago_connection_t *conn, const char *new_secret, const char *reason,
                                   lago_connection_done_cb callback, void *data);

#ifdef __cplusplus
}
#endif
#endif
