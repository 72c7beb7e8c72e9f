/* What the application does and hears. Must not know what fails. */
#include "app_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char app_filling[APP_LARGEST];

/* ---------------------------------------------------------------- the text */

void app_note(struct app *app, const char *format, ...) {
    char line[600];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    size_t size = strlen(line);
    line[size++] = '\n';
    if (app->text_size + size + 1 > app->text_capacity) {
        app->text_capacity = (app->text_size + size + 1) * 2;
        app->text = realloc(app->text, app->text_capacity);
        if (!app->text) abort();
    }
    memcpy(app->text + app->text_size, line, size);
    app->text_size += size;
    app->text[app->text_size] = '\0';
}

const char *app_name_of(int64_t rc) { return lago_error_name((int)rc); }

const char *app_result_of(const lago_reason_t *reason) { return reason ? lago_error_name(reason->code) : "ok"; }

int app_code_of(const lago_reason_t *reason) { return reason ? reason->code : 0; }

/* One that promises nothing. */
int64_t app_plain(struct app *app, const char *name, int64_t rc) {
    (void)legal_returned(&app->legal, rc);
    if (rc < 0) app_note(app, "%s = %s", name, app_name_of(rc));
    return rc;
}

/* ---------------------------------------------------------------- callbacks, in general */

void app_begin(struct app *app, enum legal_kind kind, struct legal_channel *channel) { legal_enter(&app->legal, kind, channel); }

void app_finish(struct app *app, const char *what) {
    if (app->on_told) app->on_told(app, what);
    legal_leave(&app->legal);
}

struct app *app_of(const struct legal_promise *p) {
    return (struct app *)p->legal;
} /* its first member */

void app_told(struct legal_promise *p, int code) {
    struct app *app = app_of(p);
    if (app->forgets && strcmp(p->name, app->forgets) == 0) return;
    app_begin(app, p->kind, p->channel);
    app_note(app, "! %u %s %s", p->channel ? p->channel->number : 0u, p->name, code ? app_name_of(code) : "ok");
    legal_told(p, code);
    app_finish(app, p->name);
}

static void on_done(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    app_told(data, app_code_of(reason));
}

static void on_declared(lago_channel_t *ch, const lago_reason_t *reason, const lago_queue_declare_ok_t *ok, void *data) {
    (void)ch, (void)ok;
    app_told(data, app_code_of(reason));
}

static void on_count(lago_channel_t *ch, const lago_reason_t *reason, uint32_t count, void *data) {
    (void)ch, (void)count;
    app_told(data, app_code_of(reason));
}

static void on_flow_ok(lago_channel_t *ch, const lago_reason_t *reason, bool active, void *data) {
    (void)ch, (void)active;
    app_told(data, app_code_of(reason));
}

void app_consumer_told(lago_channel_t *ch, const lago_reason_t *reason, lago_string_t tag, void *data) {
    (void)ch, (void)tag;
    app_told(data, app_code_of(reason));
}

static void on_connection_done(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    (void)conn;
    app_told(data, app_code_of(reason));
}

static void on_timer(lago_connection_t *conn, int status, void *data) {
    (void)conn;
    app_told(data, status);
}

/* free_data and releases: also from inside calls that free. */
void app_freed_data(void *data) {
    struct legal_promise *p = data;
    struct app *app = app_of(p);
    bool inside = app->legal.in_call;
    legal_enter(&app->legal, LEGAL_FREED, NULL);
    app_note(app, "! %s", p->name);
    legal_told(p, 0);
    if (!inside) legal_leave(&app->legal);
}

/* ---------------------------------------------------------------- the connection */

static void on_open(lago_connection_t *conn, void *data) {
    struct app *app = app_of(data);
    (void)conn;
    app_begin(app, LEGAL_NEWS, NULL);
    app_note(app, "! open");
    legal_opened(&app->legal);
    app_finish(app, "open");
}

static void on_open_error(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct app *app = app_of(data);
    (void)conn;
    app_begin(app, LEGAL_CONNECTION_END, NULL);
    app_note(app, "! open_error %s", app_result_of(reason));
    legal_open_failed(&app->legal, reason->code);
    app_finish(app, "open_error");
}

static void on_close(lago_connection_t *conn, const lago_reason_t *reason, void *data) {
    struct app *app = app_of(data);
    (void)conn;
    app_begin(app, LEGAL_CONNECTION_END, NULL);
    app_note(app, "! close %s", app_result_of(reason));
    legal_closed(&app->legal, reason->code);
    app_finish(app, "close");
}

void app_news(struct app *app, struct legal_channel *channel, const char *what) {
    app_begin(app, LEGAL_NEWS, channel);
    app_note(app, "! %s", what);
    app_finish(app, what);
}

static void on_blocked(lago_connection_t *conn, lago_string_t reason, void *data) {
    (void)conn, (void)reason;
    app_news(app_of(data), NULL, "blocked");
}

static void on_unblocked(lago_connection_t *conn, void *data) {
    (void)conn;
    app_news(app_of(data), NULL, "unblocked");
}

static void on_drain(lago_connection_t *conn, void *data) {
    (void)conn;
    app_news(app_of(data), NULL, "drain");
}

lago_connection_options_t app_options(struct app *app) {
    return (lago_connection_options_t){ .on_open = on_open,
                                        .on_open_error = on_open_error,
                                        .on_close = on_close,
                                        .on_blocked = on_blocked,
                                        .on_unblocked = on_unblocked,
                                        .on_drain = on_drain,
                                        .data = legal_ask(&app->legal, NULL, LEGAL_FREED, "connection data"),
                                        .free_data = app_freed_data };
}

void app_connected(struct app *app, int rc, lago_connection_t *conn) {
    for (struct legal_promise *p = app->legal.promises; p; p = p->next) legal_answer(p, rc);
    (void)app_plain(app, "connect", rc);
    app->legal.connected = rc == 0;
    app->conn = conn;
}

void app_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    struct app *app = data;
    app_begin(app, LEGAL_NEWS, NULL);
    app_note(app, "! login");
    app->ticket = request->ticket;
    lago_login_t login = { .username = "u", .password = "p" };
    int64_t rc = LAGO_ENOMEM;
    for (int i = 0; i < 3 && rc == LAGO_ENOMEM; i++)
        rc = app_plain(app, "provide", lago_login_provide(conn, request->ticket, &login));
    if (rc == LAGO_ENOMEM) (void)app_plain(app, "refuse", lago_login_refuse(conn, request->ticket, "no memory"));
    app_finish(app, "login");
}

void app_secret(struct app *app) {
    if (app->conn) ASK(app, NULL, LEGAL_OPERATION, "secret", lago_update_secret(app->conn, "new", NULL, on_connection_done, p));
}

void app_later(struct app *app, uint32_t ms) {
    if (app->conn) ASK(app, NULL, LEGAL_TIMER, "timer", lago_connection_call_later(app->conn, ms, on_timer, p, NULL));
}

void app_abort(struct app *app) {
    if (app->conn) (void)app_plain(app, "abort", lago_connection_abort(app->conn));
}

void app_close(struct app *app, uint32_t timeout_ms) {
    if (!app->conn) return;
    legal_call(&app->legal, false);
    for (struct legal_channel *ch = app->legal.channels; ch; ch = ch->next) legal_channel_closing(ch);
    int64_t rc = app_plain(app, "close", lago_connection_close(app->conn, &(lago_close_t){ .timeout_ms = timeout_ms }));
    if (rc == LAGO_ENOMEM) app_abort(app); /* what needs no memory must still end it */
}

void app_free(struct app *app) {
    lago_connection_t *conn = app->conn;
    if (!conn) return;
    app->conn = NULL;
    for (size_t i = 0; i < app->channel_count; i++) {
        app->channels[i].ch = NULL;
        app->channels[i].publisher = NULL;
        app->channels[i].rpc = NULL;
    }
    bool outer = app->legal.in_callback;
    legal_freed(&app->legal);
    legal_call(&app->legal, true);
    lago_connection_free(conn);
    (void)legal_returned(&app->legal, 0);
    app->legal.in_callback = outer;
}

/* ---------------------------------------------------------------- channels */

static void channel_told(struct app_channel *ch, const char *what, const lago_reason_t *reason) {
    struct app *app = ch->app;
    app_begin(app, reason ? LEGAL_CHANNEL_END : LEGAL_NEWS, ch->legal);
    app_note(app, "! %u %s %s", ch->legal->number, what, app_result_of(reason));
    if (reason) legal_channel_ended(&app->legal, ch->legal, reason->code);
    app_finish(app, what);
}

static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    channel_told(data, "channel open", reason);
}

static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch;
    channel_told(data, "channel close", reason);
}

static void on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    struct app_channel *channel = data;
    (void)ch, (void)returned;
    app_news(channel->app, channel->legal, "return");
}

static void on_flow(lago_channel_t *ch, bool active, void *data) {
    struct app_channel *channel = data;
    (void)ch;
    app_news(channel->app, channel->legal, active ? "flow on" : "flow off");
}

struct app_channel *app_channel(struct app *app) {
    struct app_channel *channel = &app->channels[app->channel_count];
    *channel = (struct app_channel){ .app = app };
    if (!app->conn || app->channel_count == APP_CHANNELS) return channel;
    lago_channel_options_t options = {
        .on_open = on_channel_open, .on_close = on_channel_close, .on_return = on_return, .on_flow = on_flow, .data = channel
    };
    legal_call(&app->legal, false);
    if (app_plain(app, "channel", lago_channel_open(app->conn, &options, &channel->ch)) < 0) return channel;
    app->channel_count++;
    channel->legal = legal_channel_new(&app->legal, lago_channel_number(channel->ch));
    return channel;
}

void app_channel_close(struct app_channel *ch) {
    if (!ch->ch) return;
    legal_call(&ch->app->legal, false);
    if (app_plain(ch->app, "channel close", lago_channel_close(ch->ch, NULL)) == 0) legal_channel_closing(ch->legal);
}

void app_channel_free(struct app_channel *ch) {
    struct app *app = ch->app;
    if (!ch->ch) return;
    lago_channel_t *handle = ch->ch;
    ch->ch = NULL;
    ch->publisher = NULL;
    ch->rpc = NULL;
    legal_channel_freed(&app->legal, ch->legal);
    legal_call(&app->legal, true);
    lago_channel_free(handle);
    (void)legal_returned(&app->legal, 0);
}

/* ---------------------------------------------------------------- operations */

void app_confirm(struct app_channel *ch) { OPERATION(ch, "confirm", lago_confirm_select(ch->ch, NULL, on_done, p)); }

void app_declare(struct app_channel *ch, const char *queue) {
    lago_queue_declare_t declare = { .queue = queue, .arguments = LAGO_TABLE(LAGO_FIELD_I32("x", 1), LAGO_FIELD_STR("y", "z")) };
    OPERATION(ch, "declare", lago_queue_declare(ch->ch, &declare, on_declared, p));
}

void app_topology(struct app_channel *ch) {
    lago_exchange_declare_t exchange = { .exchange = "e", .exchange_type = "topic" };
    lago_exchange_bind_t both = { .destination = "e", .source = "amq.topic", .routing_key = "#" };
    lago_queue_bind_t bind = {
        .queue = "q", .exchange = "e", .routing_key = "k", .arguments = LAGO_TABLE(LAGO_FIELD_BOOL("b", 1))
    };
    OPERATION(ch, "exchange declare", lago_exchange_declare(ch->ch, &exchange, on_done, p));
    OPERATION(ch, "exchange bind", lago_exchange_bind(ch->ch, &both, on_done, p));
    OPERATION(ch, "bind", lago_queue_bind(ch->ch, &bind, on_done, p));
    OPERATION(ch, "unbind", lago_queue_unbind(ch->ch, &bind, on_done, p));
    OPERATION(ch, "purge", lago_queue_purge(ch->ch, &(lago_queue_purge_t){ .queue = "q" }, on_count, p));
    OPERATION(ch, "delete", lago_queue_delete(ch->ch, &(lago_queue_delete_t){ .queue = "q" }, on_count, p));
    OPERATION(ch, "exchange unbind", lago_exchange_unbind(ch->ch, &both, on_done, p));
    OPERATION(ch, "exchange delete", lago_exchange_delete(ch->ch, &(lago_exchange_delete_t){ .exchange = "e" }, on_done, p));
}

void app_qos(struct app_channel *ch) {
    OPERATION(ch, "qos", lago_basic_qos(ch->ch, &(lago_basic_qos_t){ .prefetch_count = 10 }, on_done, p));
}

void app_tx(struct app_channel *ch, bool commit) {
    OPERATION(ch, "tx select", lago_tx_select(ch->ch, NULL, on_done, p));
    app_publish(ch, "q", 10);
    if (commit)
        OPERATION(ch, "tx commit", lago_tx_commit(ch->ch, NULL, on_done, p));
    else
        OPERATION(ch, "tx rollback", lago_tx_rollback(ch->ch, NULL, on_done, p));
}

void app_flow(struct app_channel *ch) {
    OPERATION(ch, "flow", lago_channel_flow(ch->ch, &(lago_channel_flow_t){ .active = true }, on_flow_ok, p));
}

void app_recover(struct app_channel *ch) { OPERATION(ch, "recover", lago_basic_recover(ch->ch, NULL, on_done, p)); }

void app_cancel(struct app_channel *ch, const char *tag) {
    OPERATION(ch, "cancel", lago_basic_cancel(ch->ch, &(lago_basic_cancel_t){ .consumer_tag = tag }, app_consumer_told, p));
}

void app_pause(struct app_channel *ch, const char *tag, bool pause) {
    if (!ch->ch) return;
    legal_call(&ch->app->legal, false);
    (void)app_plain(ch->app, "pause", pause ? lago_consumer_pause(ch->ch, tag) : lago_consumer_resume(ch->ch, tag));
}

/* ---------------------------------------------------------------- publishes */

static void on_published(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    struct legal_promise *p = data;
    struct app *app = app_of(p);
    (void)ch;
    app_begin(app, LEGAL_OUTCOME, p->channel);
    app_note(app, "! %u %s %llu %s", p->channel->number, p->name, (unsigned long long)result->sequence_number,
             lago_publish_outcome_name(result->outcome));
    if (++p->told > 1) legal_break(&app->legal, "an outcome of %s came %u times", p->name, p->told);
    legal_outcome(&app->legal, p->channel, p->order, result->outcome, app_code_of(result->reason));
    app_finish(app, p->name);
}

static bool confirms(const struct app_channel *ch) {
    for (const struct legal_promise *p = ch->app->legal.promises; p; p = p->next)
        if (p->channel == ch->legal && p->accepted && strcmp(p->name, "confirm") == 0) return true;
    return false;
}

/* A publish that nobody waits for still counts. */
static void publish(struct app_channel *ch, const lago_basic_publish_t *args, const char *name, struct legal_promise *body) {
    struct app *app = ch->app;
    if (confirms(ch)) {
        ASK(app, ch->legal, LEGAL_OUTCOME, name, lago_basic_publish(ch->ch, args, on_published, p));
        if (body) legal_answer(body, app->legal.last_promise->accepted ? 0 : -1);
        return;
    }
    legal_call(&app->legal, false);
    int64_t rc = app_plain(app, name, lago_basic_publish(ch->ch, args, NULL, NULL));
    if (rc >= 0) (void)legal_published(ch->legal, rc);
    if (body) legal_answer(body, rc);
}

void app_publish(struct app_channel *ch, const char *routing_key, size_t size) {
    lago_properties_t properties = { .content_type = "text/app_plain", .headers = LAGO_TABLE(LAGO_FIELD_I64("n", 1)) };
    if (!ch->ch) return;
    lago_basic_publish_t args = { .routing_key = routing_key, .mandatory = true, .body = { app_filling, size } };
    if (size > 1000) args.properties = &properties;
    publish(ch, &args, "publish", NULL);
}

void app_lend(struct app_channel *ch, const char *routing_key, size_t size) {
    if (!ch->ch) return;
    struct legal_promise *body = legal_ask(&ch->app->legal, NULL, LEGAL_FREED, "body");
    lago_basic_publish_t args = {
        .routing_key = routing_key, .body = { app_filling, size }, .release_body = app_freed_data, .release_data = body
    };
    publish(ch, &args, "lend", body);
}

/* ---------------------------------------------------------------- publishers */

static void on_settled(lago_publisher_t *publisher, const lago_publisher_settled_t *settled, void *data) {
    struct app_channel *ch = data;
    (void)publisher;
    app_begin(ch->app, LEGAL_OUTCOME, ch->legal);
    app_note(ch->app, "! %u settled %llu to %llu %s", ch->legal->number, (unsigned long long)settled->first,
             (unsigned long long)settled->last, lago_publish_outcome_name(settled->outcome));
    for (uint64_t i = settled->first; i <= settled->last; i++)
        legal_outcome(&ch->app->legal, ch->legal, ch->legal->sequence_base + i, settled->outcome, app_code_of(settled->reason));
    app_finish(ch->app, "settled");
}

static void on_ready(lago_publisher_t *publisher, void *data) {
    struct app_channel *ch = data;
    (void)publisher;
    app_news(ch->app, ch->legal, "ready");
}

void app_publisher(struct app_channel *ch, unsigned window, bool settled) {
    lago_properties_t properties = { .content_type = "text/app_plain", .message_id = "m" };
    if (!ch->ch) return;
    lago_publisher_options_t options = { .routing_key = "q",
                                         .properties = &properties,
                                         .window_count = window,
                                         .on_outcome = settled ? NULL : on_published,
                                         .on_settled = settled ? on_settled : NULL,
                                         .on_ready = on_ready,
                                         .data = ch };
    legal_call(&ch->app->legal, false);
    (void)app_plain(ch->app, "publisher", lago_publisher_new(ch->ch, &options, &ch->publisher));
}

void app_prepared(struct app_channel *ch, size_t size) {
    if (!ch->publisher) return;
    ASK(ch->app, ch->legal, LEGAL_OUTCOME, "prepared",
        lago_publisher_publish(ch->publisher, (lago_bytes_t){ app_filling, size }, p));
}

void app_prepared_lend(struct app_channel *ch, size_t size) {
    if (!ch->publisher) return;
    struct legal_promise *body = legal_ask(&ch->app->legal, NULL, LEGAL_FREED, "prepared body");
    lago_publisher_message_t message = {
        .body = { app_filling, size }, .routing_key = "other", .release_body = app_freed_data, .release_data = body
    };
    ASK(ch->app, ch->legal, LEGAL_OUTCOME, "prepared lend", lago_publisher_publish_message(ch->publisher, &message, p));
    legal_answer(body, ch->app->legal.last_promise->accepted ? 0 : -1);
}

/* Its outcomes are told in runs. */
void app_batch(struct app_channel *ch, size_t count) {
    lago_bytes_t bodies[32];
    uint64_t first = 0;
    if (!ch->publisher) return;
    for (size_t i = 0; i < count; i++) bodies[i] = (lago_bytes_t){ app_filling, 5 };
    legal_call(&ch->app->legal, false);
    int64_t rc = app_plain(ch->app, "batch", lago_publisher_publish_batch(ch->publisher, bodies, count, NULL, &first));
    app_note(ch->app, "batch = %lld", (long long)rc);
    if (rc >= 0 && (size_t)rc < count)
        (void)legal_returned(&ch->app->legal, LAGO_ENOMEM); /* the next one would have been told so */
    for (int64_t i = 0; i < rc; i++) (void)legal_published(ch->legal, first ? (int64_t)first + i : 0);
}

/* Outcomes of what it published are nobody's from here on. */
void app_publisher_free(struct app_channel *ch) {
    if (!ch->publisher) return;
    for (struct legal_promise *p = ch->app->legal.promises; p; p = p->next)
        if (p->channel == ch->legal && strncmp(p->name, "prepared", 8) == 0) p->loose = true;
    legal_call(&ch->app->legal, true);
    lago_publisher_free(ch->publisher);
    (void)legal_returned(&ch->app->legal, 0);
    ch->publisher = NULL;
}

/* ---------------------------------------------------------------- life */

const char *app_pending(const struct app *app) {
    for (const struct legal_promise *p = app->legal.promises; p; p = p->next)
        if (p->accepted && !p->told && !p->loose && p->kind != LEGAL_FREED) return p->name;
    return NULL;
}

void app_init(struct app *app) {
    memset(app, 0, sizeof *app);
    memset(app_filling, 'x', sizeof app_filling);
    legal_init(&app->legal);
}

void app_clear(struct app *app) {
    lago_message_release(app->kept);
    legal_clear(&app->legal);
    free(app->text);
    memset(app, 0, sizeof *app);
}
