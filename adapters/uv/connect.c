/* The public doors of this adapter: lago_connect and lago_connection_poster. */
#include "context.h"
#include "tcp_transport.h"
#include <lago/connection.h>
#include <lago/error.h>
#include <lago/poster.h>

static bool options_valid(uv_loop_t *loop, const char *url, const lago_connection_options_t *options) {
    if (url != NULL && options->parameters != NULL) return false;
    if (options->context != NULL && options->context->loop != loop) return false;
    for (size_t i = 0; i < sizeof options->reserved / sizeof options->reserved[0]; i++)
        if (options->reserved[i] != 0) return false;
    return true;
}

/* Nothing of libuv is opened before all that can fail has been done: its handles need the loop to close. */
static int connect_in(lago_context_t *context, const char *url, const lago_connection_options_t *options,
                      lago_connection_t **conn) {
    struct tcp_transport *transport = tcp_transport_new(context);
    if (transport == NULL) return LAGO_ENOMEM;
    struct transport seam = { .ops = &tcp_transport_ops, .self = transport };
    int rc = connection_new(&context->environment, &seam, url, options, conn);
    if (rc < 0) {
        tcp_transport_free(transport);
        *conn = NULL;
        return rc;
    }
    tcp_transport_start(transport, *conn);
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
    return tcp_transport_poster(connection_transport(conn), poster);
}
