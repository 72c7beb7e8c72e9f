/*
 * The transport of lib/client on libuv: one per connection. It has no policy: which address is tried, when, and for how long is
 * said from above.
 */
#ifndef LAGO_UV_UV_TRANSPORT_H
#define LAGO_UV_UV_TRANSPORT_H

#include "context.h"
#include "posts.h"
#include "stream.h"
#include "transport.h"

struct uv_transport;

extern const struct transport_ops uv_transport_ops;

/* Memory only, undone by uv_transport_free until uv_transport_start. Takes a reference of the context. NULL without memory. */
struct uv_transport *uv_transport_new(lago_context_t *context);
void uv_transport_free(struct uv_transport *transport);

/* The link is to be this one, which was checked. Before the start. 0 or LAGO_ENOMEM. */
int uv_transport_give(struct uv_transport *transport, const struct stream_gift *gift);

/* Open the handles and begin. Cannot fail. */
void uv_transport_start(struct uv_transport *transport, lago_connection_t *conn);

/* As lago_connection_poster, for a connection that has not finished. */
int uv_transport_poster(struct uv_transport *transport, lago_poster_t **poster);

#endif
