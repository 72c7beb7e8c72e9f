/*
 * The verbs of a transport, and the order of things in a turn: news that must not come from inside a verb, link_turn, the flush,
 * then whatever the client wants (settle). Must not know AMQP.
 */
#include "tcp_transport.h"
#include "alloc.h"
#include "deadline.h"
#include "lookup.h"
#include "tcp_link.h"
#include <lago/error.h>
#include <time.h>

/* The timer that keeps the loop alive while nothing is due: a day, any long time will do. */
#define KEEPER_MS ((uint64_t)24 * 60 * 60 * 1000)

/* News found inside a verb, told in the next turn. */
enum news { NO_NEWS, NEWS_RESOLVED, NEWS_CONNECT_FAILED, NEWS_LOST };

struct tcp_transport {
    struct tcp_link_owner owner; /* links know their transport as this */
    struct pass_member member;
    struct pass *pass; /* until the start: for the context, in case it has none */
    uv_timer_t timer;
    uint64_t armed; /* when the timer fires */
    struct posts posts;
    struct lookup *lookup; /* the lookup that runs, or NULL */
    struct tcp_link *link; /* the attempt or connection, or NULL */
    struct address_list addresses;
    char endpoint[ENDPOINT_SIZE];
    enum news news;
    int news_status;
    bool started;
    bool finishing;
    unsigned handle_count; /* timer and async, once finishing */
};

static const lago_allocator_t *alloc_of(const struct tcp_transport *t) { return &t->owner.context->environment.alloc; }

static struct tcp_transport *transport_of(struct tcp_link_owner *owner) { return LIST_ENTRY(owner, struct tcp_transport, owner); }

static uint64_t clock_ms(void) { return uv_hrtime() / 1000000; }

static void set_news(struct tcp_transport *t, enum news news, int status) {
    t->news = news;
    t->news_status = status;
}

static void give_slab(struct tcp_transport *t) {
    if (t->owner.slab != NULL) slab_give(&t->owner.context->slabs, t->owner.slab);
    t->owner.slab = NULL;
}

static void on_timer(uv_timer_t *timer);

/* ---------------------------------------------------------------- settle: what the client wants */

/*
 * Loop time and uv_hrtime are one clock, so the delay counts from the loop's cached time: a timer that is set late in a long turn
 * does not fire early. One that is armed for an earlier time is left to fire, and then this is asked again.
 */
static void arm_timer(struct tcp_transport *t, uint64_t now, uint64_t deadline, bool alive) {
    if (alive) deadline = deadline_min(deadline, deadline_after(now, KEEPER_MS));
    if (deadline == DEADLINE_NEVER) return;
    if (uv_is_active((uv_handle_t *)&t->timer) && t->armed <= deadline) return;
    t->armed = deadline;
    uv_timer_start(&t->timer, on_timer, deadline - now, 0); /* fails only without a callback or on a closing handle */
}

static void settle(struct tcp_link_owner *owner) {
    struct tcp_transport *t = transport_of(owner);
    pass_forget(&t->member);
    if (t->finishing) return;
    if (!link_has_input(owner->conn)) give_slab(t);
    struct link_wants wants = link_wants(owner->conn);
    if (t->link != NULL) {
        int rc = tcp_link_set_reading(t->link, wants.read && owner->slab == NULL);
        if (rc < 0) set_news(t, NEWS_LOST, rc);
    }
    if (wants.alive)
        uv_ref((uv_handle_t *)&t->timer);
    else
        uv_unref((uv_handle_t *)&t->timer);
    uint64_t now = uv_now(owner->context->loop);
    bool due = wants.deadline <= now;
    arm_timer(t, now, due ? DEADLINE_NEVER : wants.deadline, wants.alive);
    bool write = wants.write && t->link != NULL && tcp_link_can_write(t->link);
    if (wants.turn || due || write || t->news != NO_NEWS) pass_later(owner->context->pass, &t->member, wants.alive);
}

/*
 * Only a mark: link_turn is called before the loop polls, so that between two turns of a client there always is a look at the
 * sockets. A client that finds itself late relies on that.
 */
static void on_timer(uv_timer_t *timer) {
    struct tcp_transport *t = timer->data;
    pass_later(t->owner.context->pass, &t->member, uv_has_ref((uv_handle_t *)timer));
}

/* ---------------------------------------------------------------- the turn */

static void tell_news(struct tcp_transport *t) {
    enum news news = t->news;
    t->news = NO_NEWS;
    switch (news) {
    case NO_NEWS: break;
    case NEWS_RESOLVED: link_resolved(t->owner.conn, 0, t->addresses.count); break;
    case NEWS_CONNECT_FAILED: link_connected(t->owner.conn, t->news_status, t->endpoint); break;
    case NEWS_LOST: link_lost(t->owner.conn, t->news_status); break;
    }
}

static void work(struct pass_member *member) {
    struct tcp_transport *t = LIST_ENTRY(member, struct tcp_transport, member);
    uint64_t pass = t->owner.context->pass->number;
    tell_news(t);
    if (t->finishing) return;
    struct link_wants wants = link_wants(t->owner.conn);
    if (member->pass != pass && (wants.turn || wants.deadline <= clock_ms())) {
        member->pass = pass; /* the second round of a pass only writes */
        link_turn(t->owner.conn);
    }
    if (t->link != NULL) tcp_link_flush(t->link);
    settle(&t->owner);
}

/* ---------------------------------------------------------------- news of lookups and links */

static void on_lookup(void *data, int status, struct address_list list) {
    struct tcp_transport *t = data;
    t->lookup = NULL;
    t->addresses = list;
    link_resolved(t->owner.conn, status, list.count);
    settle(&t->owner);
}

static void on_connected(struct tcp_link_owner *owner, int status) {
    struct tcp_transport *t = transport_of(owner);
    if (status < 0) {
        tcp_link_close(t->link, false);
        t->link = NULL;
    }
    link_connected(owner->conn, status, t->endpoint);
    settle(owner);
}

/* ---------------------------------------------------------------- verbs */

static uint64_t transport_clock(void *self) {
    (void)self;
    return uv_hrtime();
}

static uint64_t transport_coarse_ms(void *self) {
    (void)self;
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0) return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
#endif
    return clock_ms();
}

static void transport_hang_up(void *self, bool reset) {
    struct tcp_transport *t = self;
    if (t->lookup != NULL) lookup_drop(t->lookup);
    if (t->link != NULL) tcp_link_close(t->link, reset);
    t->lookup = NULL;
    t->link = NULL;
    t->news = NO_NEWS;
}

static void transport_wake(void *self) {
    struct tcp_transport *t = self;
    if (t->started && !t->finishing) pass_wake(t->owner.context->pass, &t->member);
}

/* What could not be done is told in the next turn. */
static void tell_later(struct tcp_transport *t, enum news news, int status) {
    set_news(t, news, status);
    transport_wake(t);
}

static void clear_addresses(struct tcp_transport *t) {
    mem_free(alloc_of(t), t->addresses.items);
    t->addresses = (struct address_list){ .items = NULL };
}

/* A numeric host needs no lookup: the thread pool may be busy for long with others' names. */
static int resolve_numeric(struct tcp_transport *t, const union address *address) {
    t->addresses.items = mem_zero(alloc_of(t), 1, sizeof *address);
    if (t->addresses.items == NULL) return LAGO_ENOMEM;
    t->addresses.items[0] = *address;
    t->addresses.count = 1;
    tell_later(t, NEWS_RESOLVED, 0);
    return 0;
}

static int transport_resolve(void *self, const char *host, uint16_t port, const lago_tcp_options_t *tcp_options) {
    struct tcp_transport *t = self;
    union address address;
    transport_hang_up(t, false);
    clear_addresses(t);
    t->owner.tcp_options = tcp_options != NULL ? *tcp_options : (lago_tcp_options_t){ .keepcnt = 0 };
    if (address_numeric(host, port, &address) == 0) return resolve_numeric(t, &address);
    int rc = lookup_start(t->owner.context->loop, alloc_of(t), host, port, &t->lookup);
    if (rc == 0) lookup_expect(t->lookup, on_lookup, t);
    return rc;
}

/* A failure at once is told like a later one: that call names the endpoint. */
static int transport_connect(void *self, size_t address) {
    struct tcp_transport *t = self;
    transport_hang_up(t, false);
    if (address >= t->addresses.count) return LAGO_EINVAL;
    address_format(&t->addresses.items[address], t->endpoint, sizeof t->endpoint);
    int rc = tcp_link_open(&t->owner, &t->addresses.items[address], &t->link);
    if (rc < 0) tell_later(t, NEWS_CONNECT_FAILED, rc);
    return 0;
}

static bool transport_unread(void *self) {
    const struct tcp_transport *t = self;
    return t->link != NULL && tcp_link_unread(t->link);
}

static void transport_cancel_posts(void *self) {
    struct tcp_transport *t = self;
    posts_cancel(&t->posts);
}

/* ---------------------------------------------------------------- the end */

static void on_detached(void *data) {
    struct tcp_transport *t = data;
    lago_context_t *context = t->owner.context;
    lago_connection_t *conn = t->owner.conn;
    mem_free(alloc_of(t), t);
    link_finished(conn);
    context_unref(context);
}

static void finish_when_closed(struct tcp_transport *t) {
    if (!t->finishing || t->handle_count > 0 || t->owner.link_count > 0) return;
    clear_addresses(t);
    give_slab(t);
    context_detach(t->owner.context, on_detached, t);
}

static void on_link_closed(struct tcp_link_owner *owner) { finish_when_closed(transport_of(owner)); }

static void on_posts_closed(void *data) {
    struct tcp_transport *t = data;
    t->handle_count--;
    finish_when_closed(t);
}

static void on_timer_closed(uv_handle_t *handle) { on_posts_closed(handle->data); }

static void transport_finish(void *self) {
    struct tcp_transport *t = self;
    transport_hang_up(t, false);
    t->finishing = true;
    pass_forget(&t->member);
    t->handle_count = 1;
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
    if (posts_close(&t->posts, on_posts_closed, t)) t->handle_count++;
}

const struct transport_ops tcp_transport_ops = {
    .clock = transport_clock,
    .coarse_ms = transport_coarse_ms,
    .resolve = transport_resolve,
    .connect = transport_connect,
    .hang_up = transport_hang_up,
    .wake = transport_wake,
    .unread = transport_unread,
    .cancel_posts = transport_cancel_posts,
    .finish = transport_finish,
};

/* ---------------------------------------------------------------- the beginning */

struct tcp_transport *tcp_transport_new(lago_context_t *context) {
    const lago_allocator_t *alloc = &context->environment.alloc;
    struct tcp_transport *t = mem_zero(alloc, 1, sizeof *t);
    if (t == NULL) return NULL;
    t->pass = pass_new(alloc);
    if (t->pass == NULL) {
        mem_free(alloc, t);
        return NULL;
    }
    t->owner.context = context_ref(context);
    t->owner.connected = on_connected;
    t->owner.settle = settle;
    t->owner.closed = on_link_closed;
    pass_member_init(&t->member, work);
    return t;
}

void tcp_transport_free(struct tcp_transport *t) {
    lago_context_t *context = t->owner.context;
    pass_free(t->pass);
    mem_free(alloc_of(t), t);
    context_unref(context);
}

void tcp_transport_start(struct tcp_transport *t, lago_connection_t *conn) {
    t->owner.conn = t->posts.conn = conn;
    uv_timer_init(t->owner.context->loop, &t->timer); /* cannot fail */
    t->timer.data = t;
    uv_unref((uv_handle_t *)&t->timer);
    context_attach(t->owner.context, t->pass);
    t->pass = NULL; /* the context's now */
    t->started = true;
    transport_wake(t);
}

int tcp_transport_poster(struct tcp_transport *t, lago_poster_t **poster) {
    return posts_poster(&t->posts, t->owner.context->loop, poster);
}
