/*
 * Publishers: a route that is prepared once, a window, and the promise to say when it is open again. Knows what a publish is, but
 * not how frames look (session's route.c) nor how outcomes are told (outcomes.c).
 */
#include "publisher.h"

#include "alloc.h"
#include "operation.h"
#include "publish.h"
#include <string.h>

/* ---------------------------------------------------------------- on_ready */

static void promise_ready(lago_publisher_t *p) {
    if (!p->options.on_ready) return;
    p->conn->owed_ready += !p->ready_owed;
    p->ready_owed = true;
}

/* Those who were passed over come before all others, in their order, so that nobody is for ever. */
static struct list *place_of(const lago_publisher_t *p) {
    struct list *all = &p->conn->waiting_publishers, *node = p->passed_over ? all->next : all;
    while (node != all && LIST_ENTRY(node, lago_publisher_t, in_wait)->passed_over) node = node->next;
    return node;
}

/* Who waits for low_water waits for what on_drain waits for. */
static void await_low_water(lago_publisher_t *p) {
    p->output_full = p->conn->drain_owed = p->conn->errands = true;
    list_remove(&p->in_wait);
    list_append(place_of(p), &p->in_wait);
}

static void forget_ready(lago_publisher_t *p) {
    p->conn->owed_ready -= p->ready_owed;
    p->ready_owed = p->output_full = p->passed_over = false;
    list_remove(&p->in_wait);
}

/* While others keep the output above low_water, one that only waited for its window need not wait for them. */
static bool is_ready(const lago_publisher_t *p) {
    const lago_connection_t *conn = p->conn;
    bool room = p->output_full ? publish_has_room(conn) : session_output_size(&conn->session) < conn->output_limit;
    return room && p->unconfirmed <= p->reopening;
}

void publisher_look(lago_publisher_t *p) {
    if (p->unconfirmed > p->reopening) return; /* the next outcomes will look again */
    if (channel_usable(p->ch) < 0) return;     /* its end comes instead */
    if (!is_ready(p)) {
        await_low_water(p);
        return;
    }
    p->output_full = false;
    list_remove(&p->in_wait);
    list_append(&p->conn->ready_publishers, &p->in_wait);
    p->conn->errands = true;
}

void publishers_look(lago_connection_t *conn) {
    for (struct list *node; (node = list_first(&conn->waiting_publishers)) != NULL;) {
        lago_publisher_t *p = LIST_ENTRY(node, lago_publisher_t, in_wait);
        p->output_full = false; /* from here on it waits for its window at most */
        list_remove(node);
        publisher_look(p);
    }
}

bool publishers_are_first(const lago_connection_t *conn) {
    struct list *node = list_first(&conn->waiting_publishers);
    return node && LIST_ENTRY(node, lago_publisher_t, in_wait)->passed_over;
}

bool publisher_ready_step(lago_connection_t *conn) {
    struct list *node = list_first(&conn->ready_publishers);
    if (!node) return false;
    lago_publisher_t *p = LIST_ENTRY(node, lago_publisher_t, in_wait);
    list_remove(node);
    if (!is_ready(p)) { /* others were faster */
        p->passed_over = true;
        publisher_look(p);
        return true;
    }
    forget_ready(p);
    if (channel_usable(p->ch) < 0) return true; /* its end follows instead */
    watch_calling(conn, "on_ready of a publisher", p->ch->number);
    p->options.on_ready(p, p->options.data);
    return true;
}

/* ---------------------------------------------------------------- those of a channel */

/* A ring without a head: a channel without publishers, as most are, pays for a pointer only. */
static lago_publisher_t *publisher_first(const lago_channel_t *ch) {
    return ch->publishers ? LIST_ENTRY(ch->publishers, lago_publisher_t, node) : NULL;
}

static lago_publisher_t *publisher_next(const lago_channel_t *ch, const lago_publisher_t *p) {
    return p->node.next != ch->publishers ? LIST_ENTRY(p->node.next, lago_publisher_t, node) : NULL;
}

static void leave_channel(lago_publisher_t *p) {
    if (p->ch->publishers == &p->node) p->ch->publishers = list_first(&p->node);
    list_remove(&p->node);
    p->ch = NULL;
}

/* ---------------------------------------------------------------- the handle */

static int check_options(const lago_channel_t *ch, const lago_publisher_options_t *options) {
    if (!RESERVED_IS_ZERO(options) || (options->on_outcome && options->on_settled)) return LAGO_EINVAL;
    bool confirmed = options->window_count || options->on_outcome || options->on_settled;
    return confirmed && !ch->confirming ? LAGO_ENOCONFIRM : 0;
}

static lago_publisher_t *publisher_make(lago_channel_t *ch, const lago_publisher_options_t *options) {
    const char *exchange = options->exchange ? options->exchange : "",
               *routing_key = options->routing_key ? options->routing_key : "";
    size_t exchange_size = strlen(exchange), routing_key_size = strlen(routing_key);
    lago_publisher_t *p = mem_zero(ch->conn->alloc, 1, sizeof(*p) + exchange_size + routing_key_size);
    if (!p) return NULL;
    char *names = (char *)(p + 1);
    list_init(&p->node);
    list_init(&p->in_wait);
    p->conn = ch->conn;
    p->ch = ch;
    p->method.exchange = (lago_string_t){ memcpy(names, exchange, exchange_size), exchange_size };
    p->method.routing_key = (lago_string_t){ memcpy(names + exchange_size, routing_key, routing_key_size), routing_key_size };
    p->method.mandatory = options->mandatory;
    p->options = *options;
    p->options.properties = NULL; /* the session's route has them */
    p->options.exchange = p->options.routing_key = NULL;
    p->owed = options->on_outcome || options->on_settled;
    p->window = options->window_count ? options->window_count : SIZE_MAX;
    p->reopening = options->window_count ? options->window_count / 2 : SIZE_MAX;
    return p;
}

int lago_publisher_new(lago_channel_t *ch, const lago_publisher_options_t *options, lago_publisher_t **result) {
    static const lago_publisher_options_t defaults = { 0 };
    if (result) *result = NULL;
    if (!options) options = &defaults;
    int rc = channel_usable(ch);
    if (rc == 0 && !result) rc = LAGO_EINVAL;
    if (rc == 0) rc = check_options(ch, options);
    if (rc < 0) return channel_result(ch, rc);
    lago_publisher_t *p = publisher_make(ch, options);
    if (!p) return channel_result(ch, LAGO_ENOMEM);
    rc = session_route_make(&ch->conn->session, ch->number, &p->method, options->properties, &p->route);
    if (rc < 0) {
        mem_free(ch->conn->alloc, p);
        return channel_result(ch, rc);
    }
    if (ch->publishers)
        list_append(ch->publishers, &p->node);
    else
        ch->publishers = &p->node;
    *result = p;
    return 0;
}

static void call_free_data(lago_publisher_t *p) {
    void (*free_data)(void *data) = p->options.free_data;
    p->options.free_data = NULL;
    if (free_data) free_data(p->options.data);
}

static void publisher_release(lago_publisher_t *p) {
    session_route_free(&p->conn->session, p->route);
    mem_free(p->conn->alloc, p);
}

static void forget_run(const lago_publisher_t *p) {
    if (p->conn->run.publisher == p) p->conn->run.publisher = NULL;
}

void lago_publisher_free(lago_publisher_t *p) {
    if (!p || !p->ch) return;
    lago_connection_t *conn = p->conn;
    if (p->ch->confirming) conn->owed_publishes -= confirms_detach(&p->ch->confirming->confirms, p);
    leave_channel(p);
    forget_ready(p);
    forget_run(p);
    list_append(&conn->freed_publishers, &p->node);
    connection_wake(conn, conn->stage == STAGE_CLOSING);
    connection_reap(conn);
}

void publishers_reap(lago_connection_t *conn) {
    for (struct list *node; (node = list_first(&conn->freed_publishers)) != NULL;) {
        lago_publisher_t *p = LIST_ENTRY(node, lago_publisher_t, node);
        list_remove(node);
        call_free_data(p);
        publisher_release(p);
    }
}

void publishers_forget(lago_channel_t *ch) {
    for (lago_publisher_t *p = publisher_first(ch); p; p = publisher_next(ch, p)) {
        forget_ready(p);
        forget_run(p);
    }
}

void publishers_destroy(lago_channel_t *ch) {
    publishers_forget(ch);
    for (lago_publisher_t *p; (p = publisher_first(ch)) != NULL;) {
        leave_channel(p); /* free_data may free it once more */
        call_free_data(p);
        publisher_release(p);
    }
}

bool publishers_end_step(lago_channel_t *ch) {
    for (lago_publisher_t *p = publisher_first(ch); p; p = publisher_next(ch, p)) {
        forget_ready(p);
        if (!p->options.free_data) continue;
        call_free_data(p);
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------- publishing */

static int refuse(lago_publisher_t *p) {
    int rc = channel_usable(p->ch);
    if (rc < 0) return rc;
    promise_ready(p);
    if (publish_waits(p->conn) && p->ready_owed) await_low_water(p);
    return LAGO_EAGAIN;
}

static inline int check(lago_publisher_t *p) {
    bool open = channel_usable(p->ch) == 0 && p->unconfirmed < p->window && !publish_waits(p->conn);
    return open ? 0 : refuse(p);
}

static bool is_body(lago_bytes_t body) { return body.data || body.size == 0; }

int64_t lago_publisher_publish(lago_publisher_t *p, lago_bytes_t body, void *data) {
    if (!p) return LAGO_EINVAL;
    int rc = is_body(body) ? check(p) : LAGO_EINVAL;
    if (rc < 0) return channel_result(p->ch, rc);
    lago_channel_t *ch = p->ch;
    struct confirm_slot *slot;
    connection_touch_once(p->conn);
    rc = publish_begin(ch, &p->method, &body, &slot);
    if (rc == 0) rc = session_publish_route(&p->conn->session, p->route, body, NULL);
    struct receipt receipt = { p, p->owed, p->options.on_outcome, data };
    int64_t sent = publish_end(ch, rc, slot, body.size, &receipt);
    return sent < 0 ? channel_result(ch, rc) : sent;
}

int64_t lago_publisher_publish_batch(lago_publisher_t *p, const lago_bytes_t *bodies, size_t count, void *data, uint64_t *first) {
    if (first) *first = 0;
    if (!p) return LAGO_EINVAL;
    if (count > 0 && !bodies) return channel_result(p->ch, LAGO_EINVAL);
    for (size_t i = 0; i < count; i++)
        if (!is_body(bodies[i])) return channel_result(p->ch, LAGO_EINVAL);
    for (size_t taken = 0; taken < count; taken++) {
        int64_t sent = lago_publisher_publish(p, bodies[taken], data);
        if (sent < 0) return taken ? (int64_t)taken : sent;
        if (first && taken == 0) *first = (uint64_t)sent;
    }
    return (int64_t)count;
}

int64_t lago_publisher_publish_message(lago_publisher_t *p, const lago_publisher_message_t *message, void *data) {
    if (!p) return LAGO_EINVAL;
    int rc = message && RESERVED_IS_ZERO(message) && is_body(message->body) ? check(p) : LAGO_EINVAL;
    if (rc < 0) return channel_result(p->ch, rc);
    lago_properties_t properties = *session_route_properties(p->route);
    struct outgoing out = { .method = p->method, .receipt = { p, p->owed, p->options.on_outcome, data } };
    struct lent_body body = { message->body, message->release_body, message->release_data };
    if (message->routing_key) out.method.routing_key = (lago_string_t){ message->routing_key, LAGO_NUL_TERMINATED };
    if (message->properties) properties_overlay(&properties, message->properties);
    out.properties = &properties;
    if (!message->routing_key && !message->properties) out.route = p->route;
    connection_touch_once(p->conn);
    int64_t sent = publish_submit_body(p->ch, &out, &body);
    return sent < 0 ? channel_result(p->ch, (int)sent) : sent;
}

/* ---------------------------------------------------------------- asking */

size_t lago_publisher_room(const lago_publisher_t *p) {
    if (!p || channel_usable(p->ch) < 0 || !lago_connection_writable(p->conn)) return 0;
    if (p->window == SIZE_MAX) return SIZE_MAX;
    return p->unconfirmed < p->window ? p->window - p->unconfirmed : 0;
}

size_t lago_publisher_unconfirmed_count(const lago_publisher_t *p) { return p ? p->unconfirmed : 0; }

lago_channel_t *lago_publisher_channel(const lago_publisher_t *p) { return p ? p->ch : NULL; }

void *lago_publisher_data(const lago_publisher_t *p) { return p ? p->options.data : NULL; }
