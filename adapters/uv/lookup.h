/*
 * Looking a host up on libuv's thread pool. A lookup that runs cannot be taken back: it is let go instead, owns its memory and
 * knows nobody any more. It still keeps uv_run going until it ends: libuv counts requests.
 */
#ifndef LAGO_UV_LOOKUP_H
#define LAGO_UV_LOOKUP_H

#include "address.h"
#include <lago/context.h>

struct lookup;

/* `list` is the receiver's to free, empty unless status is 0. */
typedef void (*lookup_cb)(void *owner, int status, struct address_list list);

/* 0: `callback` follows, if it is not dropped. Or LAGO_ENOMEM, libuv's error. */
int lookup_start(uv_loop_t *loop, const lago_allocator_t *alloc, const char *host, uint16_t port, struct lookup **lookup);
void lookup_expect(struct lookup *lookup, lookup_cb callback, void *owner);

/* Let go of it: no callback. */
void lookup_drop(struct lookup *lookup);

#endif
