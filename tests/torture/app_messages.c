/* What the application does with messages that come, and its calls. Must not know what fails. */
#include "app_parts.h"

/* ---------------------------------------------------------------- messages */

static void settle(struct app_channel *ch, uint64_t tag, unsigned flags) {
    if (lago_basic_ack(ch->ch, tag, flags) == 0) legal_settled(&ch->app->legal, ch->legal, tag, flags & LAGO_MULTIPLE);
}

/* Two of three are acked, one is given back. */
static void deal_with(struct app_channel *ch, const lago_message_t *message) {
    struct app *app = ch->app;
    if (!ch->ch) return;
    if (++ch->messages % 3 == 0)
        (void)app_plain(app, "reject", lago_basic_reject(ch->ch, message->delivery_tag, LAGO_NO_REQUEUE));
    else
        settle(ch, message->delivery_tag, 0);
    if (ch->answer_with) app_publish(ch, ch->answer_with, 20);
    if (app->kept) return;
    (void)app_plain(app, "keep", lago_message_keep(message, &app->kept));
}

static void on_message(lago_channel_t *handle, const lago_message_t *message, void *data) {
    struct legal_promise *p = data;
    struct app *app = app_of(p);
    struct app_channel *ch = lago_channel_data(handle);
    app_begin(app, LEGAL_NEWS, ch->legal);
    if (p->told) legal_break(&app->legal, "a message behind its consumer's end");
    app_note(app, "! %u message %llu of %zu", ch->legal->number, (unsigned long long)message->delivery_tag, message->body.size);
    deal_with(ch, message);
    app_finish(app, "message");
}

static void on_body(lago_channel_t *handle, const lago_body_t *body, void *data) {
    struct legal_promise *p = data;
    struct app *app = app_of(p);
    struct app_channel *ch = lago_channel_data(handle);
    app_begin(app, body->reason ? LEGAL_CONSUMER : LEGAL_NEWS, ch->legal);
    if (body->begins == ch->bodies_due) legal_break(&app->legal, "a body that has not begun, or two at once");
    ch->bodies_due = !body->ends;
    if (body->begins || body->ends)
        app_note(app, "! %u body %llu%s%s", ch->legal->number, (unsigned long long)body->message->delivery_tag,
                 body->begins ? " begins" : "", body->ends ? " ends" : "");
    if (body->ends) legal_event(&app->legal, body->reason ? LEGAL_CONSUMER : LEGAL_NEWS, ch->legal, 0, app_code_of(body->reason));
    if (body->ends && !body->reason) settle(ch, body->message->delivery_tag, LAGO_MULTIPLE);
    app_finish(app, "body");
}

static void on_cancel(lago_channel_t *handle, lago_string_t tag, void *data) {
    struct app_channel *ch = lago_channel_data(handle);
    (void)tag, (void)data;
    app_news(ch->app, ch->legal, "cancelled");
}

void app_consume(struct app_channel *ch, const char *tag, bool pieces) {
    if (!ch->ch) return;
    struct legal_promise *consumer = legal_ask(&ch->app->legal, NULL, LEGAL_FREED, "consumer data");
    lago_basic_consume_t consume = { .queue = "q",
                                     .consumer_tag = tag,
                                     .on_message = pieces ? NULL : on_message,
                                     .on_body = pieces ? on_body : NULL,
                                     .on_cancel = on_cancel,
                                     .data = consumer,
                                     .free_data = app_freed_data };
    OPERATION(ch, "consume", lago_basic_consume(ch->ch, &consume, app_consumer_told, p));
    legal_answer(consumer, ch->app->legal.last_promise->accepted ? 0 : -1);
}

static void on_got(lago_channel_t *handle, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    struct legal_promise *p = data;
    struct app *app = app_of(p);
    struct app_channel *ch = lago_channel_data(handle);
    app_begin(app, LEGAL_OPERATION, p->channel);
    app_note(app, "! %u get %s", p->channel->number, message ? "a message" : app_result_of(reason));
    legal_told(p, app_code_of(reason));
    if (message) deal_with(ch, message);
    app_finish(app, "get");
}

void app_get(struct app_channel *ch) { OPERATION(ch, "get", lago_basic_get(ch->ch, NULL, on_got, p)); }

/* ---------------------------------------------------------------- calls */

static void on_reply(lago_rpc_t *rpc, const lago_rpc_result_t *result, void *data) {
    struct legal_promise *p = data;
    (void)rpc;
    if (!result->reply == !result->reason) legal_break(p->legal, "a call has a reply and a reason, or neither");
    app_told(p, app_code_of(result->reason));
}

void app_rpc(struct app_channel *ch) {
    if (!ch->ch) return;
    struct legal_promise *data = legal_ask(&ch->app->legal, NULL, LEGAL_FREED, "rpc data");
    legal_call(&ch->app->legal, false);
    int64_t rc = app_plain(ch->app, "rpc",
                           lago_rpc_new(ch->ch, &(lago_rpc_options_t){ .data = data, .free_data = app_freed_data }, &ch->rpc));
    legal_answer(data, rc);
}

void app_call(struct app_channel *ch, const char *type, uint32_t timeout_ms) {
    if (!ch->rpc) return;
    lago_properties_t properties = { .type = type };
    lago_rpc_call_t call = {
        .routing_key = "q", .properties = &properties, .body = { app_filling, 30 }, .timeout_ms = timeout_ms
    };
    ASK(ch->app, ch->legal, LEGAL_CALL, "call", lago_rpc_call(ch->rpc, &call, on_reply, p));
    if (ch->app->legal.last_promise->accepted) (void)legal_published(ch->legal, 0);
}

void app_rpc_free(struct app_channel *ch) {
    if (!ch->rpc) return;
    for (struct legal_promise *p = ch->app->legal.promises; p; p = p->next)
        if (p->channel == ch->legal && p->kind == LEGAL_CALL) p->loose = true;
    legal_call(&ch->app->legal, true);
    lago_rpc_free(ch->rpc);
    (void)legal_returned(&ch->app->legal, 0);
    ch->rpc = NULL;
}
