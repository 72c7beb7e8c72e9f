/*
 * The transport of lib/client on libuv: one per connection. It has no policy: which address is tried, when, and for how long is
 * said from above.
 */
#ifndef LAGO_UV_TCP_TRANSPORT_H
#define LAGO_UV_TCP_TRANSPORT_H

#include "context.h"
#include "posts.h"
#include "transport.h"

struct tcp_transport;

extern const struct transport_ops tcp_transport_ops;

/* Memory only, undone by tcp_transport_free until tcp_transport_start. Takes a reference of the context. NULL without memory. */
struct tcp_transport *tcp_transport_new(lago_context_t *context);
void tcp_transport_free(struct tcp_transport *transport);

/* Open the handles and begin. Cannot fail. */
void tcp_transport_start(struct tcp_transport *transport, lago_connection_t *conn);

/* As lago_connection_poster, for a connection that has not finished. */
int tcp_transport_poster(struct tcp_transport *transport, lago_poster_t **poster);

#endif
