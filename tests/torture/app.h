/*
 * An application that reports all it does and hears to the judge (legal.h), and keeps a text of it: with nothing failing, the
 * golden one. It goes on whatever is refused, as far as it has what it needs. Knows no transport: who makes the connection gives it
 * the handle, what passes on the wire, and time.
 */
#ifndef TORTURE_APP_H
#define TORTURE_APP_H

#include "legal.h"
#include <lago.h>

#define APP_CHANNELS 40

struct app;

struct app_channel {
    struct app *app;
    lago_channel_t *ch; /* NULL: never opened, or freed */
    struct legal_channel *legal;
    lago_publisher_t *publisher;
    lago_rpc_t *rpc;
    unsigned messages;       /* that came */
    bool bodies_due;         /* a body has begun and not ended */
    const char *answer_with; /* not NULL: each message is answered by a publish with this routing key */
};

struct app {
    struct legal legal;
    lago_connection_t *conn;
    struct app_channel channels[APP_CHANNELS];
    size_t channel_count;
    char *text;
    size_t text_size, text_capacity;
    uint64_t ticket;
    void (*on_told)(struct app *app, const char *what); /* inside each callback, with its words; NULL: nothing */
    void *data;
    lago_message_t *kept;
    const char *forgets; /* a control: completions of this name are lost on their way; NULL: none */
};

void app_init(struct app *app);
void app_clear(struct app *app);

void app_note(struct app *app, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Options whose callbacks report; the promise of free_data is asked here, so the call follows at once, and app_connected. */
lago_connection_options_t app_options(struct app *app);
void app_connected(struct app *app, int rc, lago_connection_t *conn);
void app_login(lago_connection_t *conn, const lago_login_request_t *request, void *data);

/* Each does nothing if its channel is not there. */
struct app_channel *app_channel(struct app *app);
void app_channel_close(struct app_channel *ch);
void app_channel_free(struct app_channel *ch);
void app_confirm(struct app_channel *ch);
void app_declare(struct app_channel *ch, const char *queue);
void app_topology(struct app_channel *ch); /* an exchange, bindings both ways, purge, delete */
void app_qos(struct app_channel *ch);
void app_tx(struct app_channel *ch, bool commit);
void app_flow(struct app_channel *ch);
void app_recover(struct app_channel *ch);
void app_publish(struct app_channel *ch, const char *routing_key, size_t size);
void app_lend(struct app_channel *ch, const char *routing_key, size_t size);
void app_consume(struct app_channel *ch, const char *tag, bool pieces);
void app_cancel(struct app_channel *ch, const char *tag);
void app_pause(struct app_channel *ch, const char *tag, bool pause);
void app_get(struct app_channel *ch);
void app_publisher(struct app_channel *ch, unsigned window, bool settled);
void app_prepared(struct app_channel *ch, size_t size);
void app_prepared_lend(struct app_channel *ch, size_t size);
void app_batch(struct app_channel *ch, size_t count);
void app_publisher_free(struct app_channel *ch);
void app_rpc(struct app_channel *ch);
void app_call(struct app_channel *ch, const char *type, uint32_t timeout_ms);
void app_rpc_free(struct app_channel *ch);
void app_secret(struct app *app);
void app_later(struct app *app, uint32_t ms);

/* What is still promised and must have come by now, whoever is asked; NULL: nothing. */
const char *app_pending(const struct app *app);

void app_close(struct app *app, uint32_t timeout_ms); /* without memory: abort */
void app_abort(struct app *app);
void app_free(struct app *app);

#endif
