/* What the client's other rooms call of rpc.c: the calls of a channel's lago_rpc_t at its returns, at its end, and at frees. */
#ifndef LAGO_CLIENT_RPC_H
#define LAGO_CLIENT_RPC_H

#include "channel.h"

/* basic.return: true if it was a request of a call, which has been told. */
bool rpc_returned(lago_channel_t *ch, const lago_return_t *returned);

/* The channel has ended: tell one call. False when there is nothing more to tell; free_data was called then. */
bool rpc_end_step(lago_channel_t *ch);

/* The consumer of replies is lost, and its channel lives: tell one call. False when there is none. */
bool rpc_lost_step(lago_connection_t *conn);

/* The channel was freed: no call is told any more. And: its memory goes, and that of its handle. */
void rpc_forget_calls(lago_channel_t *ch);
void rpc_destroy(lago_channel_t *ch);

/* Nobody is on the stack: handles that were freed go. */
void rpc_reap(lago_connection_t *conn);

#endif
