/*
 * Lives of a client: a row of decisions becomes calls of the API, from outside and from inside callbacks, answers of a broker or bytes
 * that no broker says, time, and memory that fails; over the virtual transport. What was promised comes exactly once, nothing comes
 * from inside a call, nested, behind an end or behind a free, and what the client writes is a conversation that AMQP allows.
 *
 * Input: an octet of flags, two for the memory, then the decisions.
 */
#include "api_life.h"
#include "frame.h"
#include "method.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const fuzz_milestones[] = { "on_open",
                                        "a publish confirmed",
                                        "several publishes nacked by one frame",
                                        "a publish returned",
                                        "a publish of unknown outcome",
                                        "a publish not sent",
                                        "a message consumed",
                                        "a body told in pieces",
                                        "several messages acknowledged at once",
                                        "a message kept beyond its callback",
                                        "a message forwarded",
                                        "a message by basic.get",
                                        "a consumer cancelled by the broker",
                                        "a channel closed by the broker",
                                        "a peer that breaks the protocol",
                                        "a link lost",
                                        "on_drain",
                                        "on_ready",
                                        "on_blocked and on_unblocked",
                                        "a consumer paused and resumed",
                                        "an operation past its deadline",
                                        "a timer",
                                        "a transaction committed",
                                        "the connection freed in a callback",
                                        "the connection closed in a callback",
                                        "an orderly close",
                                        "no memory in an open connection",
                                        "a broker taken as dead",
                                        NULL };

struct life life;
struct arena arena;

/* ---------------------------------------------------------------- calls */

static struct channel *pick(void) {
    if (life.channel_count == 0 || life.freed) return NULL;
    struct channel *channel = &life.channels[decide(&life.d) % life.channel_count];
    return channel->freed ? NULL : channel;
}

static void open_channel(void) {
    if (life.channel_count == CHANNELS || life.freed) return;
    struct channel *channel = &life.channels[life.channel_count];
    struct promise *p = lend(channel, "free_data of a channel");
    if (!p) return;
    lago_channel_options_t options = { .on_open = on_channel_open,
                                       .on_close = on_channel_close,
                                       .on_return = on_return,
                                       .on_flow = on_flow,
                                       .data = channel,
                                       .timeout_ms = decide(&life.d) & 15 ? 0 : 500,
                                       .single_acks = decide(&life.d) & 1 };
    *channel = (struct channel){ 0 };
    calls(false);
    int64_t rc = returned(lago_channel_open(life.conn, &options, &channel->ch));
    REQUIRE((rc == 0) == (channel->ch != NULL));
    if (rc == 0) life.channel_count++;
}

static uint32_t some_timeout(void) { return decide(&life.d) & 7 ? 0 : 300; }

#define CALL(channel_, name_, call_)                                                                                             \
    do {                                                                                                                         \
        struct promise *p = promise(channel_, name_);                                                                            \
        if (!p) break;                                                                                                           \
        calls(false);                                                                                                            \
        (void)answered(p, call_);                                                                                                \
    } while (0)

static void declare(struct channel *c) {
    static const char *const names[] = { "", "q", "a-queue", NULL };
    lago_queue_declare_t args = { .queue = names[decide(&life.d) & 3],
                                  .durable = decide(&life.d) & 1,
                                  .timeout_ms = some_timeout() };
    CALL(c, "queue.declare", lago_queue_declare(c->ch, &args, on_declared, p));
}

static void other_operation(struct channel *c) {
    uint32_t timeout = some_timeout();
    lago_queue_bind_t bind = { .queue = "q", .exchange = "amq.topic", .timeout_ms = timeout };
    lago_queue_purge_t purge = { .queue = "q", .timeout_ms = timeout };
    lago_tx_t tx = { timeout };
    switch (decide(&life.d) & 7) {
    case 0: CALL(c, "queue.bind", lago_queue_bind(c->ch, &bind, on_done, p)); break;
    case 1: CALL(c, "queue.purge", lago_queue_purge(c->ch, &purge, on_count, p)); break;
    case 2: CALL(c, "basic.qos", lago_basic_qos(c->ch, &(lago_basic_qos_t){ .prefetch_count = 10 }, on_done, p)); break;
    case 3: CALL(c, "basic.recover", lago_basic_recover(c->ch, NULL, on_done, p)); break;
    case 4:
        c->confirms = true;
        CALL(c, "confirm.select", lago_confirm_select(c->ch, NULL, on_done, p));
        break;
    case 5: CALL(c, "tx.select", lago_tx_select(c->ch, &tx, on_done, p)); break;
    case 6: CALL(c, "tx.commit", lago_tx_commit(c->ch, &tx, on_done, p)); break;
    default: CALL(c, "tx.rollback", lago_tx_rollback(c->ch, &tx, on_done, p)); break;
    }
}

static char big[40000];
static const size_t sizes[] = { 0, 5, 100, 2040, 2100, 4088, 9000, 40000 };

static void publish(struct channel *c) {
    uint8_t how = decide(&life.d);
    lago_properties_t properties = { .delivery_mode = 2, .headers = LAGO_TABLE(LAGO_FIELD_I32("n", 1)) };
    lago_basic_publish_t args = { .exchange = how & 8 ? "ex" : "",
                                  .routing_key = "key",
                                  .mandatory = how & 16,
                                  .properties = how & 32 ? &properties : NULL,
                                  .body = { big, sizes[how & 7] } };
    struct promise *lent = how & 64 ? lend(c, "release_body") : NULL, *p = how & 128 ? promise(c, "a publish") : NULL;
    if (lent) {
        args.release_body = given_back;
        args.release_data = lent;
    }
    calls(false);
    int64_t rc = returned(lago_basic_publish(c->ch, &args, p ? on_outcome : NULL, p));
    if (lent) lent->accepted = rc >= 0;
    if (p) p->accepted = rc >= 0;
}

static void new_publisher(struct channel *c) {
    uint8_t how = decide(&life.d);
    lago_publisher_options_t options = { .routing_key = "key", .mandatory = how & 1, .on_ready = on_ready, .data = c };
    if (c->confirms) {
        options.window_count = how & 2 ? 2 : 0;
        options.on_outcome = on_outcome;
    }
    c->publisher_tells = options.on_outcome;
    calls(false);
    (void)returned(lago_publisher_new(c->ch, &options, &c->publisher));
}

static void use_publisher(struct channel *c) {
    uint8_t how = decide(&life.d);
    if (!c->publisher) {
        new_publisher(c);
        return;
    }
    if ((how & 31) == 31) {
        calls(true);
        lago_publisher_free(c->publisher);
        (void)returned(0);
        c->publisher = NULL; /* what it has published is nobody's now */
        for (unsigned i = 0; i < life.promise_count; i++)
            if (life.promises[i].name[0] == 'P' && channel_of(life.promises[i].channel) == c) life.promises[i].loose = true;
        return;
    }
    struct promise *p = promise(c, "Publisher's message");
    if (!p) return;
    calls(false);
    int64_t rc = returned(lago_publisher_publish(c->publisher, (lago_bytes_t){ big, sizes[how & 7] }, p));
    p->accepted = rc > 0 && c->publisher_tells; /* 0: without confirms nothing is owed */
}

static void consume(struct channel *c) {
    static const char *const tags[] = { "one", NULL, "two", NULL, "auto", NULL, "auto2", NULL };
    uint8_t how = decide(&life.d);
    struct promise *data = lend(c, "free_data of a consumer");
    if (!data) return;
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = tags[how & 7], /* one tag, one way: so the wire's judge knows which it was */
                                  .auto_ack = how & 4,
                                  .on_cancel = on_cancel,
                                  .data = data,
                                  .free_data = given_back,
                                  .timeout_ms = some_timeout() };
    if (how & 8)
        args.on_body = on_body;
    else
        args.on_message = on_message;
    struct promise *p = promise(c, "basic.consume");
    if (!p) return;
    calls(false);
    int64_t rc = answered(p, lago_basic_consume(c->ch, &args, on_consumer, p));
    data->accepted = rc >= 0;
    if (rc < 0) return;
    lago_string_t tag = lago_channel_last_consumer_tag(c->ch);
    if (tag.size < sizeof(c->consumer_tag))
        (void)snprintf(c->consumer_tag, sizeof(c->consumer_tag), "%s", tag.size ? tag.data : "");
}

static void with_consumer(struct channel *c) {
    uint8_t how = decide(&life.d);
    lago_basic_cancel_t args = { .consumer_tag = how & 4 ? "one" : c->consumer_tag };
    switch (how & 3) {
    case 0:
        calls(false);
        life.paused |= returned(lago_consumer_pause(c->ch, args.consumer_tag)) == 0;
        break;
    case 1:
        calls(false);
        REACH_IF(returned(lago_consumer_resume(c->ch, args.consumer_tag)) == 0 && life.paused, PAUSED);
        break;
    default: CALL(c, "basic.cancel", lago_basic_cancel(c->ch, &args, on_consumer, p)); break;
    }
}

static void settle(struct channel *c) {
    uint8_t how = decide(&life.d);
    uint64_t tag = how & 64 ? decide(&life.d) : c->tags[how & 3];
    bool multiple = how & 16;
    unsigned flags = (multiple ? LAGO_MULTIPLE : 0u) | (how & 32 ? LAGO_NO_REQUEUE : 0u);
    uint16_t number = lago_channel_number(c->ch);
    int64_t rc;
    conversation_settled(&life.wire, number, tag, multiple); /* before: it may leave at once */
    calls(false);
    switch (how >> 2 & 3) {
    case 0:
    case 1: rc = lago_basic_ack(c->ch, tag, flags & LAGO_MULTIPLE); break;
    case 2: rc = lago_basic_nack(c->ch, tag, flags); break;
    default: rc = lago_basic_reject(c->ch, tag, flags & LAGO_NO_REQUEUE); break;
    }
    (void)returned(rc);
    REACH_IF(rc == 0 && multiple && c->tags[1], ACKED_MULTIPLE);
}

static void get(struct channel *c) {
    lago_basic_get_t args = { .queue = "q", .auto_ack = decide(&life.d) & 1, .timeout_ms = some_timeout() };
    CALL(c, "basic.get", lago_basic_get(c->ch, &args, on_get, p));
}

static void forward(struct channel *c) {
    if (life.kept_count == 0) return;
    struct promise *p = c->confirms ? promise(c, "a forward") : NULL;
    calls(false);
    int64_t rc = returned(lago_message_forward(c->ch, life.kept[life.kept_count - 1], NULL, p ? on_outcome : NULL, p));
    if (p) p->accepted = rc >= 0;
    REACH_IF(rc >= 0, FORWARDED);
}

static void release(void) {
    if (life.kept_count == 0) return;
    REACH(KEPT);
    read_message(life.kept[--life.kept_count]);
    lago_message_release(life.kept[life.kept_count]);
}

static void end_channel(struct channel *c) {
    uint8_t how = decide(&life.d);
    lago_close_t options = { .timeout_ms = how & 2 ? 500 : 0, .no_await_confirms = how & 4 };
    if (how & 1) {
        calls(false);
        (void)returned(lago_channel_close(c->ch, &options));
        return;
    }
    loosen(c);
    calls(true);
    lago_channel_free(c->ch);
    (void)returned(0);
    c->freed = true;
    c->publisher = NULL;
}

static void end_connection(void) {
    uint8_t how = decide(&life.d);
    lago_close_t options = { .timeout_ms = how & 4 ? 500 : 0, .no_await_confirms = how & 8 };
    if (life.freed || how > 40) return; /* rarely, or nothing else would be seen */
    switch (how & 3) {
    case 0:
    case 1:
        calls(false);
        (void)returned(lago_connection_close(life.conn, &options));
        REACH_IF(life.in_callback, CLOSED_INSIDE);
        break;
    case 2:
        calls(false);
        (void)returned(lago_connection_abort(life.conn));
        break;
    default:
        REACH_IF(life.in_callback, FREED_INSIDE);
        loosen(NULL);
        calls(true);
        lago_connection_free(life.conn);
        (void)returned(0);
        life.freed = true;
        break;
    }
}

static void set_timer(unsigned slot) {
    struct promise *p = promise(NULL, "a timer");
    if (!p) return;
    calls(false);
    int64_t rc = answered(p, lago_connection_call_later(life.conn, decide(&life.d) * 20u, on_timer, p, &life.timers[slot]));
    if (rc == 0) life.timed[slot] = p;
}

static void remove_timer(unsigned slot) {
    struct promise *p = life.timed[slot];
    calls(false);
    int64_t rc = returned(lago_connection_remove_timeout(life.conn, p ? life.timers[slot] : 0));
    REQUIRE(p ? (rc == 0) == (!p->told && !p->loose && !life.ended) || rc == LAGO_ECLOSED : rc < 0);
    if (rc == 0) p->loose = true; /* it will not come */
}

static void on_connection(void) {
    uint8_t how = decide(&life.d);
    if (life.freed) return;
    switch (how & 7) {
    case 0:
        calls(false);
        (void)returned(lago_connection_pause(life.conn));
        break;
    case 1:
    case 2:
        calls(false);
        (void)returned(lago_connection_resume(life.conn));
        break;
    case 3:
    case 4: set_timer(how >> 3 & 1); break;
    case 5: remove_timer(how >> 3 & 1); break;
    case 6: CALL(NULL, "update-secret", lago_update_secret(life.conn, "new", NULL, on_connection_done, p)); break;
    default: REQUIRE(lago_connection_output_size(life.conn) < MEMORY_MAX); break;
    }
}

void act(void) {
    uint8_t op = decide(&life.d) & 31;
    struct channel *c = op >= 8 ? pick() : NULL;
    if (op < 8) {
        switch (op) {
        case 0:
        case 1: open_channel(); break;
        case 2:
        case 3: on_connection(); break;
        case 4: end_connection(); break;
        default: release(); break;
        }
        return;
    }
    if (!c) return;
    switch (op) {
    case 8:
    case 9: declare(c); break;
    case 10:
    case 11: other_operation(c); break;
    case 12:
    case 13:
    case 14:
    case 15: publish(c); break;
    case 16:
    case 17:
    case 18: use_publisher(c); break;
    case 19:
    case 20: consume(c); break;
    case 21:
    case 22: with_consumer(c); break;
    case 23:
    case 24:
    case 25:
    case 26: settle(c); break;
    case 27: get(c); break;
    case 28: forward(c); break;
    case 29: end_channel(c); break;
    default: publish(c); break;
    }
}

/* ---------------------------------------------------------------- the world */

static void tap(void *data, enum virtual_tap what, const uint8_t *bytes, size_t size) {
    (void)data;
    switch (what) {
    case VIRTUAL_LINK_UP:
        conversation_link(&life.wire, true);
        broker_link(&life.broker, life.v.output_size);
        break;
    case VIRTUAL_LINK_DOWN: conversation_link(&life.wire, false); break;
    case VIRTUAL_SENT: conversation_sent(&life.wire, bytes, size); break;
    default: conversation_received(&life.wire, bytes, size); break;
    }
}

static void run(void) {
    virtual_run(&life.v);
    if (!(life.flags & FLAG_SILENT) || !life.opened) broker_hear(&life.broker, life.v.output, life.v.output_size);
    REQUIRE(arena.live_bytes <= MEMORY_MAX);
}

static bool is_up(void) { return life.v.conn && life.v.link == VIRTUAL_CONNECTED; }

/* Give the client what the broker has said, up to so many bytes. */
static void push(size_t max) {
    struct api_broker *b = &life.broker;
    size_t size = b->says_size - b->says_at;
    if (size > max) size = max;
    if (size > 0 && is_up()) virtual_input(&life.v, b->says + b->says_at, size);
    b->says_at += size;
    if (b->says_at == b->says_size) b->says_at = b->says_size = 0;
}

static void settle_rounds(unsigned rounds) {
    while (rounds-- > 0) {
        run();
        if (life.broker.says_size == 0 || !life.v.conn) break;
        push(SIZE_MAX);
    }
    run();
}

static void confirm(uint16_t channel) {
    struct broker_channel *ch = &life.broker.channels[channel];
    uint8_t how = decide(&life.d);
    if (!ch->open || ch->settled >= ch->published) return;
    uint64_t tag = ch->settled + 1;
    if (how & 1) tag = ch->published;
    ch->settled = tag;
    struct basic_ack ack = { .delivery_tag = tag, .multiple = how & 1 };
    struct basic_nack nack = { .delivery_tag = tag, .multiple = how & 1, .requeue = false };
    if (how & 2)
        broker_method(&life.broker, channel, METHOD_BASIC_NACK, &nack);
    else
        broker_method(&life.broker, channel, METHOD_BASIC_ACK, &ack);
}

static void give_back(uint16_t channel) {
    struct basic_return args = {
        .reply_code = 312, .reply_text = { "NO_ROUTE", 8 }, .exchange = { "", 0 }, .routing_key = { "key", 3 }
    };
    if (!life.broker.channels[channel].open) return;
    broker_method(&life.broker, channel, METHOD_BASIC_RETURN, &args);
    broker_content(&life.broker, channel, sizes[decide(&life.d) & 3], false);
}

static void close_channel(uint16_t channel) {
    struct channel_close args = { .reply_code = 404, .reply_text = { "NOT_FOUND", 9 } };
    if (!life.broker.channels[channel].open) return;
    life.broker.channels[channel].open = false;
    broker_method(&life.broker, channel, METHOD_CHANNEL_CLOSE, &args);
}

static void cancel_consumer(uint16_t channel) {
    struct broker_channel *ch = &life.broker.channels[channel];
    if (!ch->open || !ch->consumers[0].used) return;
    struct basic_cancel args = { .consumer_tag = { ch->consumers[0].tag, ch->consumers[0].tag_size }, .no_wait = true };
    broker_method(&life.broker, channel, METHOD_BASIC_CANCEL, &args);
    ch->consumers[0].used = false;
}

/* Any method of a broker, well-formed, whether it is its time or not; or any bytes. */
static void surprise(uint16_t channel) {
    uint8_t payload[64], how = decide(&life.d);
    const struct method_info *info = method_at(how % METHOD_COUNT);
    size_t size = decide(&life.d) & 31;
    const uint8_t *bytes = decide_bytes(&life.d, &size);
    life.hostile = true;
    if (how >= 250) {
        broker_raw(&life.broker, bytes, size);
        return;
    }
    (void)put_u32(payload, info->id);
    if (size) memcpy(payload + 4, bytes, size);
    broker_frame(&life.broker, how >= 240 ? how & 7 : FRAME_METHOD, info->id >> 16 == 10 ? 0 : channel, payload, 4 + size);
}

static void blocked(bool is_blocked) {
    struct connection_blocked args = { .reason = { "memory", 6 } };
    if (!life.opened) return;
    broker_method(&life.broker, 0, is_blocked ? METHOD_CONNECTION_BLOCKED : METHOD_CONNECTION_UNBLOCKED,
                  is_blocked ? &args : NULL);
}

static void world(void) {
    uint8_t op = decide(&life.d);
    uint16_t channel = (uint16_t)(1 + (op >> 5) % (BROKER_CHANNELS - 1));
    switch (op & 31) {
    case 0:
    case 1:
    case 2:
    case 3: settle_rounds(3); break;
    case 4:
    case 5:
    case 6:
    case 7: (void)broker_deliver(&life.broker, channel, op >> 6, sizes[decide(&life.d) & 7], op & 1); break;
    case 8:
    case 9: push(decide(&life.d) * 3u); break;
    case 10:
    case 11:
    case 12: confirm(channel); break;
    case 13: give_back(channel); break;
    case 14: close_channel(channel); break;
    case 15: cancel_consumer(channel); break;
    case 16: blocked(op & 32); break;
    case 17:
        broker_method(&life.broker, channel, METHOD_CHANNEL_FLOW, &(struct channel_flow){ .active = decide(&life.d) & 1 });
        break;
    case 18: virtual_take(&life.v, op & 32 ? SIZE_MAX : decide(&life.d)); break;
    case 19:
        virtual_advance(&life.v, decide(&life.d) * 30u);
        run();
        break;
    case 20:
        if (op > 160 && is_up()) virtual_lose(&life.v, -104);
        break;
    case 21:
        if (op > 128) surprise(channel);
        break;
    case 22: virtual_fail_write(&life.v, op > 200 && is_up() ? -32 : 0); break;
    case 23: run(); break;
    default: act(); break;
    }
}

/* ---------------------------------------------------------------- a life */

/* FUZZ_TRACE=1: tell the conversation, for who looks at a finding. */
static bool is_traced(void) {
    static int asked = -1;
    if (asked < 0) asked = getenv("FUZZ_TRACE") != NULL;
    return asked;
}

static void hear_line(void *data, lago_log_level_t level, const char *line) {
    (void)data;
    (void)level;
    for (const char *c = line; *c; c++) REQUIRE(*c >= ' ' && *c <= '~');
    if (is_traced()) fprintf(stderr, "%s\n", line);
}

static bool begin(const uint8_t *data, size_t size) {
    struct api_broker broker = life.broker;
    memset(&life, 0, offsetof(struct life, promises));
    life.broker = broker;
    life.flags = data[0];
    life.d = (struct decisions){ data + 3, size - 3 };
    broker_begin(&life.broker);
    life.broker.heartbeat_s = life.flags & FLAG_HEARTBEAT ? 2 : 0;
    life.broker.frame_max = life.flags & FLAG_SMALL ? 4096 : 16384;
    conversation_init(&life.wire);
    virtual_init(&life.v);
    life.v.alloc.allocator = arena.allocator;
    life.v.log_level = is_traced() ? LAGO_LOG_TRACE : LAGO_LOG_WARNING;
    life.v.on_line = hear_line;
    life.v.tap = tap;
    if (life.flags & FLAG_PIECES) {
        life.v.piece_max = 1 + data[2] * 8u;
        life.v.piece_seed = 1u + data[1];
    }
    lago_parameters_t parameters = { .operation_timeout_ms = 2000,
                                     .close_timeout_ms = 3000,
                                     .high_water = life.flags & FLAG_LOW_WATER ? 3000 : 0,
                                     .message_size_max = 30000 };
    struct promise *p = lend(NULL, "free_data of the connection");
    lago_connection_options_t options = { .parameters = &parameters,
                                          .on_open = on_open,
                                          .on_open_error = on_open_error,
                                          .on_close = on_close,
                                          .on_blocked = on_blocked,
                                          .on_unblocked = on_unblocked,
                                          .on_drain = on_drain,
                                          .data = p,
                                          .free_data = given_back };
    calls(false);
    life.connected = answered(p, virtual_connect(&life.v, NULL, &options)) == 0;
    life.conn = life.v.conn;
    return life.connected;
}

static void finish(void) {
    arena.fail_at = arena.fail_every = 0;
    life.inside = INSIDE_MAX;
    life.d.left = 0;
    if (!life.freed) {
        loosen(NULL);
        calls(true);
        lago_connection_free(life.conn);
        (void)returned(0);
        life.freed = true;
    }
    while (life.kept_count > 0) release();
    virtual_run(&life.v);
    virtual_deinit(&life.v);
    for (unsigned i = 0; i < life.promise_count; i++) {
        const struct promise *p = &life.promises[i];
        if (p->is_freed_kind && p->accepted != (p->told == 1)) fuzz_broken(__FILE__, __LINE__, p->name);
    }
    if (life.wire.problem) fuzz_broken(__FILE__, __LINE__, life.wire.problem);
    conversation_clear(&life.wire);
}

static void fail_from_here(const uint8_t *data) {
    if (!(life.flags & FLAG_FAILS)) return;
    arena.fail_at = arena.calls + 1 + data[1];
    arena.fail_every = data[2] & 1 ? 1u + (data[2] >> 1) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.room) arena_init(&arena);
    if (size < 4 || size > INPUT_MAX) return 0;
    if (!begin(data, size)) fuzz_broken(__FILE__, __LINE__, "no connection");
    if (!(life.flags & FLAG_EARLY)) settle_rounds(6);
    open_channel();
    open_channel();
    if (life.flags & FLAG_CONFIRMS) {
        life.channels[0].confirms = true;
        CALL(&life.channels[0], "confirm.select", lago_confirm_select(life.channels[0].ch, NULL, on_done, p));
    }
    fail_from_here(data);
    for (unsigned steps = 0; life.d.left > 0 && steps < STEPS_MAX && life.v.conn; steps++) world();
    if (life.v.conn) settle_rounds(4);
    finish();
    arena_reset(&arena);
    return 0;
}
