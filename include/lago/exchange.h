/* Exchanges (AMQP 0-9-1, 1.6). The rules for every operation are at the top of channel.h. */
#ifndef LAGO_EXCHANGE_H
#define LAGO_EXCHANGE_H

#include <lago/channel.h>
#include <lago/table.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *exchange;      /* required */
    const char *exchange_type; /* "direct" (default), "fanout", "topic", "headers", or a plugin's */
    bool passive;              /* only check that it exists: 404 closes the channel */
    bool durable;
    bool auto_delete;
    bool internal; /* takes messages from exchanges only */
    bool no_wait;
    lago_table_t arguments; /* "alternate-exchange" ... */
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_exchange_declare_t;

/** Create an exchange, or check that one exists with these settings (1.6.2.1). Different settings: 406 closes the channel. */
LAGO_EXPORT int lago_exchange_declare(lago_channel_t *ch, const lago_exchange_declare_t *args, lago_done_cb callback, void *data);

typedef struct {
    const char *exchange; /* required */
    bool if_unused;       /* with bindings: 406 closes the channel */
    bool no_wait;
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_exchange_delete_t;

/** Delete an exchange (1.6.2.3). RabbitMQ is content if it does not exist. */
LAGO_EXPORT int lago_exchange_delete(lago_channel_t *ch, const lago_exchange_delete_t *args, lago_done_cb callback, void *data);

typedef struct {
    const char *destination; /* the exchange that receives */
    const char *source;      /* the exchange that gives */
    const char *routing_key; /* default "" */
    bool no_wait;
    lago_table_t arguments;
    uint32_t timeout_ms;
    uintptr_t reserved[4]; /* zero */
} lago_exchange_bind_t;

/** Bind an exchange to an exchange, or undo that (RabbitMQ: exchange.bind, exchange.unbind). */
LAGO_EXPORT int lago_exchange_bind(lago_channel_t *ch, const lago_exchange_bind_t *args, lago_done_cb callback, void *data);
LAGO_EXPORT int lago_exchange_unbind(lago_channel_t *ch, const lago_exchange_bind_t *args, lago_done_cb callback, void *data);

#ifdef __cplusplus
}
#endif
#endif
