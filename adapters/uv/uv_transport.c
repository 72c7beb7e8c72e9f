/*
 * The verbs of a transport, and the order of things in a turn: news that must not come from inside a verb, link_turn, the flush,
 * then whatever the client wants (settle). Must not know AMQP.
 */
#include "uv_transport.h"
#include "alloc.h"
#include "deadline.h"
#include "lookup.h"
#include "wire.h"
#include <lago/error.h>
#include <string.h>
#include <time.h>

/* News found inside a verb, told in the next turn. */
enum news { NO_NEWS, NEWS_RESOLVED, NEWS_ADOPTED, NEWS_LOST };

struct uv_transport {
    struct stream_owner owner; /* streams know their transport as this */
    struct wire wire;          /* the link */
    struct pass_member member;
    struct pass *pass;      /* until the start: for the context, in case it has none */
    struct posts *posts;    /* NULL until a poster was asked for */
    struct lookup *lookup;  /* the lookup that runs, or NULL */
    struct list connecting; /* streams that race */
    struct stream *gift;    /* the caller's, until it is adopted */
    int gift_status;
    struct address_list addresses;
    union address *path; /* of a Unix domain socket, instead of items in the list */
    struct stream_options options;
    union address *local;         /* options.local, NULL until there was one */
    struct tls_context **trusted; /* by the number of the parameters; NULL for those without TLS */
    size_t trusted_count;
    enum news news;
    int news_status;
    bool started;
    bool finishing;
    bool posts_closing;
};

static const lago_allocator_t *alloc_of(const struct uv_transport *t) { return &t->owner.context->environment.alloc; }

static struct uv_transport *transport_of(struct stream_owner *owner) { return LIST_ENTRY(owner, struct uv_transport, owner); }

static uint64_t clock_ms(void) { return uv_hrtime() / 1000000; }

static void set_news(struct uv_transport *t, enum news news, int status) {
    t->news = news;
    t->news_status = status;
}

/* ---------------------------------------------------------------- settle: what the client wants */

static void settle(struct uv_transport *t) {
    struct wire *wire = &t->wire;
    if (t->finishing) return;
    pass_forget(&t->member);
    wire_give_slab(wire);
    struct link_wants wants = link_wants(wire->conn);
    if (wire->stream != NULL) {
        bool reading = wire_wants_read(wire, &wants) || (stream_is_reading(wire->stream) && wire_keeps_reading(wire, &wants));
        int rc = stream_set_reading(wire->stream, reading);
        if (rc < 0) set_news(t, NEWS_LOST, rc);
    }
    if (context_is_rich(t->owner.context)) context_tidy_later(t->owner.context);
    struct pass *pass = t->owner.context->pass;
    bool due = wants.deadline <= uv_now(t->owner.context->loop);
    if (!due) pass_at(pass, &t->member, wants.deadline);
    pass_hold(pass, &t->member, wants.alive);
    bool work = wants.turn || due || t->news != NO_NEWS || wire_wants_flush(wire, &wants) || wire_wants_pump(wire, &wants);
    if (work) pass_later(pass, &t->member, wants.alive);
}

/* ---------------------------------------------------------------- the turn */

static void tell_adopted(struct uv_transport *t) {
    if (t->news_status == 0) {
        t->wire.stream = t->gift;
        t->gift = NULL;
    }
    link_connected(t->wire.conn, 0, t->news_status);
}

static void tell_news(struct uv_transport *t) {
    enum news news = t->news;
    t->news = NO_NEWS;
    switch (news) {
    case NO_NEWS: break;
    case NEWS_RESOLVED: link_resolved(t->wire.conn, t->news_status, t->addresses.count); break;
    case NEWS_ADOPTED: tell_adopted(t); break;
    case NEWS_LOST: wire_lost(&t->wire, t->news_status); break;
    }
}

static void work_on(struct uv_transport *t) {
    uint64_t pass = t->owner.context->pass->number;
    tell_news(t);
    if (t->finishing) return;
    struct link_wants wants = link_wants(t->wire.conn);
    if (wants.write_first) {
        wire_flush(&t->wire);
        wants = link_wants(t->wire.conn);
    }
    if (t->member.pass != pass && (wants.turn || wants.deadline <= clock_ms())) {
        t->member.pass = pass; /* the second round of a pass only writes */
        link_turn(t->wire.conn);
    }
    wire_pump(&t->wire);
    wire_flush(&t->wire);
    settle(t);
}

static void finish_when_closed(struct uv_transport *t);

static void work(struct pass_member *member) {
    struct uv_transport *t = LIST_ENTRY(member, struct uv_transport, member);
    if (t->finishing)
        finish_when_closed(t);
    else
        work_on(t);
}

/* ---------------------------------------------------------------- news of lookups and streams */

/* Without a local address of the same family there is no way to the others. */
static int take_addresses(struct uv_transport *t, struct address_list list) {
    t->addresses = list;
    if (t->options.local == NULL) {
        address_list_alternate(&t->addresses);
        return 0;
    }
    address_list_keep(&t->addresses, t->local->any.sa_family);
    return t->addresses.count > 0 ? 0 : UV_EAI_ADDRFAMILY;
}

static void on_lookup(void *data, int status, struct address_list list) {
    struct uv_transport *t = data;
    t->lookup = NULL;
    int rc = take_addresses(t, list);
    if (status == 0) status = rc;
    link_resolved(t->wire.conn, status, t->addresses.count);
    settle(t);
}

static void drop_connecting(struct uv_transport *t) {
    for (struct list *node; (node = list_first(&t->connecting)) != NULL;) {
        list_remove(node);
        stream_close(stream_of_node(node), false);
    }
}

/* The first one wins. */
static void on_connected(struct stream_owner *owner, struct stream *stream, int status) {
    struct uv_transport *t = transport_of(owner);
    size_t address = *stream_address(stream);
    list_remove(stream_node(stream));
    if (status < 0) {
        stream_close(stream, false);
    } else {
        drop_connecting(t);
        t->wire.stream = stream;
    }
    link_connected(t->wire.conn, address, status);
    settle(t);
}

static bool offer(struct stream_owner *owner, struct stream_offer *offer) {
    return wire_offer(&transport_of(owner)->wire, offer);
}

static void on_declined(struct stream_owner *owner) { wire_declined(&transport_of(owner)->wire); }

/*
 * What the turn has made leaves at once: else an answer waited for all others of the loop. If there is more to do it may make more,
 * and all of that leaves together.
 */
static void on_received(struct stream_owner *owner, const struct stream_offer *offer, size_t size) {
    struct uv_transport *t = transport_of(owner);
    wire_received(&t->wire, offer, size);
    if (!t->finishing && !link_wants(t->wire.conn).turn) wire_flush(&t->wire);
    settle(t);
}

static void on_lost(struct stream_owner *owner, int status) {
    struct uv_transport *t = transport_of(owner);
    wire_lost(&t->wire, status);
    settle(t);
}

static void on_writable(struct stream_owner *owner) {
    struct uv_transport *t = transport_of(owner);
    wire_flush(&t->wire);
    settle(t);
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

static uint64_t transport_random(void *self) {
    uint64_t number = 0;
    (void)self;
    return uv_random(NULL, NULL, &number, sizeof number, 0, NULL) == 0 ? number : uv_hrtime();
}

/* The caller's stream is wanted once, or not at all. */
static void drop_gift(struct uv_transport *t) {
    if (t->gift != NULL) stream_close(t->gift, false);
    t->gift = NULL;
}

static void transport_hang_up(void *self, bool reset) {
    struct uv_transport *t = self;
    if (t->news == NEWS_ADOPTED) drop_gift(t);
    if (t->lookup != NULL) lookup_drop(t->lookup);
    t->lookup = NULL;
    t->news = NO_NEWS;
    drop_connecting(t);
    wire_hang_up(&t->wire, reset);
}

static void transport_wake(void *self) {
    struct uv_transport *t = self;
    if (t->started && !t->finishing) pass_wake(t->owner.context->pass, &t->member);
}

/* What could not be done is told in the next turn. */
static void tell_later(struct uv_transport *t, enum news news, int status) {
    set_news(t, news, status);
    transport_wake(t);
}

static void clear_addresses(struct uv_transport *t) {
    mem_free(alloc_of(t), t->addresses.items);
    mem_free(alloc_of(t), t->path);
    t->path = NULL;
    t->addresses = (struct address_list){ .items = NULL };
}

/* An address needs no lookup: the thread pool may be busy for long with others' names. */
static int resolve_at_once(struct uv_transport *t, const union address *address) {
    struct address_list list = { .count = 1 };
    if (address->any.sa_family == AF_UNIX) {
        t->path = mem_alloc(alloc_of(t), sizeof *address);
        if (t->path == NULL) return LAGO_ENOMEM;
        *t->path = *address;
    } else {
        list.items = mem_alloc(alloc_of(t), sizeof *list.items);
        if (list.items == NULL) return LAGO_ENOMEM;
        list.items[0] = address->ip;
    }
    tell_later(t, NEWS_RESOLVED, take_addresses(t, list));
    return 0;
}

static const union address *address_at(const struct uv_transport *t, size_t i, union address *room) {
    if (t->path != NULL) return t->path;
    memset(room, 0, sizeof *room);
    room->ip = t->addresses.items[i];
    return room;
}

static int set_options(struct uv_transport *t, const struct link_target *target) {
    static const lago_tcp_options_t defaults = { .keepcnt = 0 };
    t->options = (struct stream_options){ .tcp = target->tcp_options != NULL ? *target->tcp_options : defaults };
    if (target->local_address == NULL || target->host[0] == '/') return 0;
    if (t->local == NULL) t->local = mem_zero(alloc_of(t), 1, sizeof *t->local);
    if (t->local == NULL) return LAGO_ENOMEM;
    t->options.local = t->local;
    return address_numeric(target->local_address, 0, t->local);
}

static int transport_resolve(void *self, const struct link_target *target) {
    struct uv_transport *t = self;
    union address address;
    transport_hang_up(t, false);
    clear_addresses(t);
    int rc = set_options(t, target);
    if (rc < 0) return rc;
    if (target->host[0] == '/') {
        rc = address_path(target->host, &address);
        return rc < 0 ? rc : resolve_at_once(t, &address);
    }
    if (address_numeric(target->host, target->port, &address) == 0) return resolve_at_once(t, &address);
    rc = lookup_start(t->owner.context->loop, alloc_of(t), target->host, target->port, &t->lookup);
    if (rc == 0) lookup_expect(t->lookup, on_lookup, t);
    return rc;
}

static int transport_connect(void *self, size_t address) {
    struct uv_transport *t = self;
    struct stream *stream;
    if (address >= t->addresses.count) return LAGO_EINVAL;
    union address room;
    int rc = stream_open(&t->owner, address_at(t, address, &room), &t->options, &stream);
    if (rc < 0) return rc;
    *stream_address(stream) = address;
    list_append(&t->connecting, stream_node(stream));
    return 0;
}

static int transport_adopt(void *self) {
    struct uv_transport *t = self;
    if (t->gift == NULL) return LAGO_EINVAL;
    tell_later(t, NEWS_ADOPTED, t->gift_status);
    return 0;
}

static const char *transport_endpoint(void *self, size_t address) {
    struct uv_transport *t = self;
    struct stream *adopted = t->gift != NULL ? t->gift : t->wire.stream;
    char *endpoint = t->owner.context->endpoint;
    endpoint[0] = '\0';
    union address room;
    if (address < t->addresses.count)
        address_format(address_at(t, address, &room), endpoint, ENDPOINT_SIZE);
    else if (adopted != NULL)
        stream_endpoint(adopted, endpoint, ENDPOINT_SIZE);
    return endpoint;
}

/* ---------------------------------------------------------------- TLS */

static int transport_trust(void *self, size_t parameters, const lago_tls_options_t *options, lago_reason_t *reason) {
    struct uv_transport *t = self;
    if (parameters >= t->trusted_count) {
        struct tls_context **grown = mem_resize(alloc_of(t), t->trusted, parameters + 1, sizeof *grown);
        if (grown == NULL) return LAGO_ENOMEM;
        memset(grown + t->trusted_count, 0, (parameters + 1 - t->trusted_count) * sizeof *grown);
        t->trusted = grown;
        t->trusted_count = parameters + 1;
    }
    return tls_context_new(alloc_of(t), options, &t->trusted[parameters], reason);
}

static void clear_trusted(struct uv_transport *t) {
    for (size_t i = 0; i < t->trusted_count; i++) tls_context_unref(t->trusted[i]);
    mem_free(alloc_of(t), t->trusted);
}

static int transport_secure(void *self, size_t parameters, const char *host) {
    struct uv_transport *t = self;
    if (t->wire.stream == NULL || parameters >= t->trusted_count || t->trusted[parameters] == NULL) return LAGO_EINVAL;
    int rc = wire_secure(&t->wire, t->trusted[parameters], host);
    if (rc == 0) transport_wake(t);
    return rc;
}

static bool transport_is_private(const void *self) { return wire_is_private(&((const struct uv_transport *)self)->wire); }

static lago_tls_info_t transport_tls(const void *self) {
    const struct uv_transport *t = self;
    if (t->wire.filter == NULL || t->wire.securing) return (lago_tls_info_t){ .version = "", .cipher = "" };
    return (lago_tls_info_t){ .version = tls_filter_version(t->wire.filter),
                              .cipher = tls_filter_cipher(t->wire.filter),
                              .resumed = tls_filter_is_resumed(t->wire.filter) };
}

/* ---------------------------------------------------------------- asking */

static void transport_push(void *self) { wire_push(&((struct uv_transport *)self)->wire); }

static bool transport_unread(void *self) { return wire_unread(&((struct uv_transport *)self)->wire); }

static uint64_t transport_taken(void *self, bool *waiting) { return wire_taken(&((struct uv_transport *)self)->wire, waiting); }

static void transport_cancel_posts(void *self) {
    struct uv_transport *t = self;
    if (t->posts != NULL) posts_cancel(t->posts);
}

/* ---------------------------------------------------------------- the end */

static void on_detached(void *data) {
    struct uv_transport *t = data;
    lago_context_t *context = t->owner.context;
    lago_connection_t *conn = t->wire.conn;
    mem_free(alloc_of(t), t);
    link_finished(conn);
    context_unref(context);
}

static void finish_when_closed(struct uv_transport *t) {
    if (!t->finishing || t->posts_closing || t->owner.stream_count > 0) return;
    pass_leave(t->owner.context->pass, &t->member);
    clear_addresses(t);
    clear_trusted(t);
    mem_free(alloc_of(t), t->local);
    posts_free(t->posts);
    wire_clear(&t->wire);
    context_detach(t->owner.context, on_detached, t);
}

static void on_stream_closed(struct stream_owner *owner) { finish_when_closed(transport_of(owner)); }

static void on_posts_closed(void *data) {
    struct uv_transport *t = data;
    t->posts_closing = false;
    finish_when_closed(t);
}

static void transport_finish(void *self) {
    struct uv_transport *t = self;
    transport_hang_up(t, false);
    drop_gift(t); /* nobody came to adopt it */
    t->finishing = true;
    pass_leave(t->owner.context->pass, &t->member);
    t->posts_closing = t->posts != NULL && posts_close(t->posts, on_posts_closed, t);
    if (!t->posts_closing && t->owner.stream_count == 0)
        pass_wake(t->owner.context->pass, &t->member); /* not from inside a verb */
}

const struct transport_ops uv_transport_ops = {
    .clock = transport_clock,
    .coarse_ms = transport_coarse_ms,
    .random = transport_random,
    .trust = transport_trust,
    .resolve = transport_resolve,
    .connect = transport_connect,
    .adopt = transport_adopt,
    .endpoint = transport_endpoint,
    .secure = transport_secure,
    .is_private = transport_is_private,
    .tls = transport_tls,
    .taken = transport_taken,
    .hang_up = transport_hang_up,
    .wake = transport_wake,
    .push = transport_push,
    .unread = transport_unread,
    .cancel_posts = transport_cancel_posts,
    .finish = transport_finish,
};

/* ---------------------------------------------------------------- the beginning */

static const struct stream_events events = {
    .connected = on_connected,
    .offer = offer,
    .received = on_received,
    .declined = on_declined,
    .lost = on_lost,
    .writable = on_writable,
    .closed = on_stream_closed,
};

struct uv_transport *uv_transport_new(lago_context_t *context) {
    const lago_allocator_t *alloc = &context->environment.alloc;
    struct uv_transport *t = mem_zero(alloc, 1, sizeof *t);
    if (t == NULL) return NULL;
    if (context->pass == NULL) t->pass = pass_new(alloc);
    if ((context->pass == NULL && t->pass == NULL) || context_join(context) < 0) {
        if (t->pass != NULL) pass_free(t->pass);
        mem_free(alloc, t);
        return NULL;
    }
    t->wire.context = t->owner.context = context_ref(context);
    t->owner.events = &events;
    list_init(&t->connecting);
    pass_member_init(&t->member, work);
    return t;
}

void uv_transport_free(struct uv_transport *t) {
    lago_context_t *context = t->owner.context;
    if (t->pass != NULL) pass_free(t->pass);
    context_part(context);
    stream_decline(t->gift);
    clear_trusted(t);
    mem_free(alloc_of(t), t);
    context_unref(context);
}

int uv_transport_give(struct uv_transport *t, const struct stream_gift *gift) {
    t->gift = stream_accept(&t->owner, gift);
    return t->gift != NULL ? 0 : LAGO_ENOMEM;
}

void uv_transport_start(struct uv_transport *t, lago_connection_t *conn) {
    t->wire.conn = conn;
    context_attach(t->owner.context, t->pass);
    t->pass = NULL; /* the context's now */
    t->started = true;
    if (t->gift != NULL) t->gift_status = stream_begin(t->gift);
    transport_wake(t);
}

int uv_transport_poster(struct uv_transport *t, lago_poster_t **poster) {
    if (t->posts == NULL) t->posts = posts_new(t->wire.conn);
    if (t->posts == NULL) return LAGO_ENOMEM;
    return posts_poster(t->posts, t->owner.context->loop, poster);
}
