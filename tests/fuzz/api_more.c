/*
 * What an application does less often in fuzz_api: calls with replies, exchanges, batches, looking at counters; and the ways in
 * which a connection comes up: proxies, several places, credentials when they are asked for, mechanisms of its own, one round trip.
 */
#include "api_life.h"
#include <string.h>

static char body[5000];

/* ---------------------------------------------------------------- requests and replies */

static void new_rpc(struct channel *c) {
    uint8_t how = decide(&life.d);
    lago_rpc_options_t options = { .timeout_ms = how & 1 ? 700 : 0,
                                   .reply_to = how & 2 ? "replies" : NULL,
                                   .correlation_prefix = how & 4 ? "prefix-" : NULL };
    struct promise *p = lend(c, "free_data of an rpc");
    if (!p) return;
    options.data = p;
    options.free_data = given_back;
    calls(false);
    p->accepted = returned(lago_rpc_new(c->ch, &options, &c->rpc)) == 0;
}

static void free_rpc(struct channel *c) {
    calls(true);
    lago_rpc_free(c->rpc);
    (void)returned(0);
    c->rpc = NULL;
    for (unsigned i = 0; i < life.promise_count; i++)
        if (life.promises[i].name[0] == 'R' && channel_of(life.promises[i].channel) == c) life.promises[i].loose = true;
}

static void call(struct channel *c) {
    uint8_t how = decide(&life.d);
    lago_properties_t properties = { .content_type = "a/b" };
    lago_rpc_call_t args = { .routing_key = "rpc",
                             .body = { body, how & 1 ? 9 : 3000 },
                             .properties = how & 2 ? &properties : NULL,
                             .timeout_ms = how & 4 ? 400 : 0 };
    struct promise *p = promise(c, "Rpc's reply"), *lent = how & 8 ? lend(c, "release_body of a call") : NULL;
    if (!p) return;
    if (lent) {
        args.release_body = given_back;
        args.release_data = lent;
    }
    calls(false);
    int64_t rc = returned(lago_rpc_call(c->rpc, &args, on_reply, p));
    p->accepted = rc > 0;
    if (lent) lent->accepted = rc > 0;
    if (rc > 0) {
        c->call = rc;
        c->called = p;
    }
}

static void use_rpc(struct channel *c) {
    uint8_t how = decide(&life.d) & 15;
    if (!c->rpc) {
        new_rpc(c);
    } else if (how == 15) {
        free_rpc(c);
    } else if (how == 14) {
        calls(false);
        int64_t rc = returned(lago_rpc_forget(c->rpc, c->call));
        REQUIRE(rc != 0 || (c->called && !c->called->told));
        if (rc == 0) c->called->loose = true;
    } else {
        call(c);
    }
}

static void reply(struct channel *c) {
    lago_basic_publish_t args = { .body = { body, 3 } };
    if (life.kept_count == 0) return;
    struct promise *p = c->confirms ? promise(c, "a reply") : NULL;
    calls(false);
    int64_t rc = returned(lago_rpc_reply(c->ch, life.kept[life.kept_count - 1], &args, p ? on_outcome : NULL, p));
    if (p) p->accepted = rc >= 0;
    REACH_IF(rc >= 0, REPLIED);
}

/* ---------------------------------------------------------------- publishers */

static void publish_batch(struct channel *c) {
    lago_bytes_t bodies[5];
    uint64_t first = 0;
    struct promise *p = promise(c, "Publisher's batch");
    if (!p) return;
    for (unsigned i = 0; i < 5; i++) bodies[i] = (lago_bytes_t){ body, 20u * i };
    calls(false);
    int64_t rc = returned(lago_publisher_publish_batch(c->publisher, bodies, 5, p, &first));
    p->accepted = rc > 0 && c->publisher_tells;
    p->due = rc > 0 ? (unsigned)rc : 1;
    REACH_IF(rc == 5, BATCH);
}

static void publish_message(struct channel *c) {
    uint8_t how = decide(&life.d);
    lago_properties_t properties = { .expiration = "100", .priority = 3 };
    lago_publisher_message_t message = { .body = { body, how & 1 ? 20 : 4500 },
                                         .routing_key = how & 2 ? "another" : NULL,
                                         .properties = how & 4 ? &properties : NULL };
    struct promise *p = promise(c, "Publisher's own message"), *lent = how & 8 ? lend(c, "release_body of a publisher") : NULL;
    if (!p) return;
    if (lent) {
        message.release_body = given_back;
        message.release_data = lent;
    }
    calls(false);
    int64_t rc = returned(lago_publisher_publish_message(c->publisher, &message, p));
    p->accepted = rc > 0 && c->publisher_tells;
    if (lent) lent->accepted = rc >= 0;
}

/* ---------------------------------------------------------------- looking */

static void look(void) {
    static char page[8192];
    lago_histogram_t histogram;
    lago_metric_t metric = (lago_metric_t)(decide(&life.d) % LAGO_METRIC_COUNT);
    if (life.freed) return;
    size_t size = lago_connection_dump(life.conn, page, sizeof(page));
    REQUIRE(strlen(page) == (size < sizeof(page) ? size : sizeof(page) - 1));
    for (const char *at = page; *at; at++) REQUIRE(*at == '\n' || (*at >= ' ' && *at <= '~'));
    REQUIRE(lago_connection_histogram(life.conn, metric, &histogram) == 0);
    REQUIRE(histogram.count == 0 || lago_histogram_quantile(&histogram, 0.5) <= 2 * histogram.max_us + 1);
    REQUIRE(lago_connection_counters(life.conn).channels <= CHANNELS);
    (void)lago_connection_server_has(life.conn, "basic.nack");
    (void)lago_connection_endpoint(life.conn);
}

/* ---------------------------------------------------------------- credentials and mechanisms */

void answer_login(uint8_t how) {
    lago_login_t login = { .username = "me", .password = "secret", .expires_in_s = how & 8 ? 3 : 0 };
    uint64_t ticket = life.login_ticket;
    if (life.freed || ticket == 0) return;
    life.login_ticket = 0;
    calls(false);
    if ((how & 7) == 7)
        (void)returned(lago_login_refuse(life.conn, ticket, "no"));
    else if (life.challenged)
        (void)returned(lago_login_respond(life.conn, ticket, (lago_bytes_t){ "answer", 6 }));
    else
        (void)returned(lago_login_provide(life.conn, ticket, &login));
}

static void asked(uint64_t ticket, bool challenged) {
    life.login_ticket = ticket;
    life.challenged = challenged;
    uint8_t how = decide(&life.d);
    if (how & 16) return; /* later */
    answer_login(how);
}

static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    (void)conn;
    (void)data;
    enter(NULL);
    REACH_IF(request->refresh, REFRESHED);
    asked(request->ticket, false);
    leave();
}

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    (void)conn;
    (void)data;
    enter(NULL);
    REQUIRE(challenge->round <= LAGO_LOGIN_ROUNDS_MAX);
    REACH_IF(challenge->round > 0, CHALLENGED);
    asked(challenge->ticket, true);
    leave();
}

/* ---------------------------------------------------------------- how it comes up */

static const lago_mechanism_t mechanism = { .name = "RABBIT-CR-DEMO", .on_challenge = on_challenge };
static const lago_endpoint_t endpoints[] = { { "192.0.2.9", 0 }, { "other.example", 5673 } };
static struct pcapng nowhere;

static void swallow(const void *bytes, size_t size, void *data) {
    (void)data;
    for (size_t i = 0; i < size; i++) life.sum += ((const uint8_t *)bytes)[i];
}

/* What this broker is known to say. */
static void know_broker(void) {
    static const struct book_entry said = { .endpoint = "192.0.2.1:5672",
                                            .mechanisms = BROKER_MECHANISMS,
                                            .offered = { .channel_max = BROKER_CHANNELS - 1, .frame_max = 16384 } };
    book_init(&life.book, &arena.allocator);
    book_learn(&life.book, &said);
    life.v.book = &life.book;
    life.v.is_private = true;
    life.booked = true;
}

void choose_way(uint8_t way, uint8_t how, lago_parameters_t *parameters) {
    if ((way & 3) == 1) parameters->proxy = (lago_proxy_t){ .type = LAGO_PROXY_SOCKS5, .host = "p" };
    if ((way & 3) == 2) parameters->proxy = (lago_proxy_t){ .type = LAGO_PROXY_HTTP, .host = "p" };
    if ((way & 3) && how & 128) parameters->proxy.username = parameters->proxy.password = "u";
    life.broker.proxy = way & 3 ? (enum broker_proxy)((way & 3) % 3) : BROKER_DIRECT;
    if (way & 4) {
        parameters->endpoints = endpoints;
        parameters->endpoint_count = 2;
        parameters->connection_attempts = 2;
        parameters->retry_delay_ms = 50;
        parameters->shuffle_endpoints = how & 64;
        life.v.address_count = 1 + (how >> 1 & 3);
        life.v.connect_status[0] = how & 1 ? -111 : 0;
        life.v.connect_status[1] = how & 8 ? VIRTUAL_NEVER : 0;
        life.v.resolve_status = how & 16 ? -3008 : 0;
    }
    if (way & 8) parameters->credentials.on_login = on_login;
    if (way & 16) {
        parameters->credentials.own_mechanisms = &mechanism;
        parameters->credentials.own_mechanism_count = 1;
    }
    if (way & 32) parameters->credentials.mechanisms = how & 32 ? "AMQPLAIN" : "RABBIT-CR-DEMO PLAIN";
    if (way & 64) {
        parameters->fast_open = true;
        know_broker();
    }
    if (way & 128) {
        nowhere = (struct pcapng){ .write = swallow };
        life.v.capture = nowhere;
        pcapng_begin(&life.v.capture);
    }
}

void forget_way(void) {
    if (life.booked) book_clear(&life.book);
}

/* ---------------------------------------------------------------- all of them */

void more(struct channel *c) {
    uint8_t op = decide(&life.d), timeout = op >> 4;
    lago_exchange_declare_t declared = { .exchange = "ex", .exchange_type = op & 64 ? "topic" : NULL };
    lago_exchange_delete_t deleted = { .exchange = "ex", .timeout_ms = timeout * 100u };
    lago_exchange_bind_t bound = { .destination = "ex", .source = "amq.topic" };
    lago_queue_bind_t unbound = { .queue = "q", .exchange = "amq.topic" };
    lago_queue_delete_t queue = { .queue = op & 64 ? "q" : "" };
    lago_channel_flow_t flow = { .active = op & 64 };
    switch (op & 15) {
    case 0: CALL(c, "exchange.declare", lago_exchange_declare(c->ch, &declared, on_done, p)); break;
    case 1: CALL(c, "exchange.delete", lago_exchange_delete(c->ch, &deleted, on_done, p)); break;
    case 2: CALL(c, "exchange.bind", lago_exchange_bind(c->ch, &bound, on_done, p)); break;
    case 3: CALL(c, "exchange.unbind", lago_exchange_unbind(c->ch, &bound, on_done, p)); break;
    case 4: CALL(c, "queue.unbind", lago_queue_unbind(c->ch, &unbound, on_done, p)); break;
    case 5: CALL(c, "queue.delete", lago_queue_delete(c->ch, &queue, on_count, p)); break;
    case 6: CALL(c, "channel.flow", lago_channel_flow(c->ch, &flow, on_flow_ok, p)); break;
    case 7:
        if (c->publisher) publish_batch(c);
        break;
    case 8:
        if (c->publisher) publish_message(c);
        break;
    case 9: look(); break;
    case 10: reply(c); break;
    case 11: answer_login(op >> 4); break;
    default: use_rpc(c); break;
    }
}
