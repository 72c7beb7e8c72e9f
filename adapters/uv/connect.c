/* The public doors of this adapter: lago_connect and lago_connection_poster. */
#include "context.h"
#include "uv_transport.h"
#include <lago/connection.h>
#include <lago/error.h>
#include <lago/poster.h>

static bool is_given(const lago_connection_options_t *options) { return options->stream != NULL || options->socket_fd != 0; }

static bool options_valid(uv_loop_t *loop, const char *url, const lago_connection_options_t *options) {
    if (url != NULL && options->parameters != NULL) return false;
    if (options->context != NULL && options->context->loop != loop) return false;
    if (options->parameters_count > 1 && (options->parameters == NULL || is_given(options))) return false;
    for (size_t i = 0; i < sizeof options->reserved / sizeof options->reserved[0]; i++)
        if (options->reserved[i] != 0) return false;
    return true;
}

/* A stream of the caller's, if there is one: looked at, and set down for when the connection has been made. */
static int give_stream(struct uv_transport *transport, const lago_context_t *context, const lago_connection_options_t *options) {
    struct stream_gift gift = { options->stream, options->free_stream, options->data, options->socket_fd };
    if (options->free_stream != NULL && options->stream == NULL) return LAGO_EINVAL;
    if (!is_given(options)) return 0;
    int rc = stream_check(context->loop, &gift);
    return rc < 0 ? rc : uv_transport_give(transport, &gift);
}

/* Nothing of libuv is opened before all that can fail has been done: its handles need the loop to close. */
static int connect_in(lago_context_t *context, const char *url, const lago_connection_options_t *options,
                      lago_connection_t **conn) {
    struct uv_transport *transport = uv_transport_new(context);
    if (transport == NULL) return LAGO_ENOMEM;
    struct transport seam = { .ops = &uv_transport_ops, .self = transport };
    int rc = give_stream(transport, context, options);
    if (rc == 0) rc = connection_new(&context->environment, &seam, url, options, conn);
    if (rc < 0) {
        uv_transport_free(transport);
        *conn = NULL;
        return rc;
    }
    uv_transport_start(transport, *conn);
    return 0;
}

int lago_connect(uv_loop_t *loop, const char *url, const lago_connection_options_t *options, lago_connection_t **conn) {
    static const lago_connection_options_t defaults = { .data = NULL };
    if (conn == NULL) return LAGO_EINVAL;
    *conn = NULL;
    if (options == NULL) options = &defaults;
    if (loop == NULL || !options_valid(loop, url, options)) return LAGO_EINVAL;

    if (options->context != NULL) return connect_in(options->context, url, options, conn);
    lago_context_t *context;
    int rc = lago_context_new(loop, NULL, &context);
    if (rc < 0) return rc;
    rc = connect_in(context, url, options, conn);
    lago_context_free(context); /* the connection keeps it */
    return rc;
}

int lago_connection_poster(lago_connection_t *conn, lago_poster_t **poster) {
    if (poster == NULL) return LAGO_EINVAL;
    *poster = NULL;
    if (conn == NULL) return LAGO_EINVAL;
    if (lago_connection_state(conn) == LAGO_CONNECTION_CLOSED) return LAGO_ECLOSED; /* its transport may be gone */
    return uv_transport_poster(connection_transport(conn), poster);
}
