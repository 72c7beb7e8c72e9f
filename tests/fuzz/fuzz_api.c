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
                                        "a reply to a request",
                                        "a request answered",
                                        "a batch published",
                                        "open through a proxy",
                                        "open at the second address",
                                        "credentials refreshed",
                                        "a challenge of one's own mechanism",
                                        "open in one round trip",
                                        "a dead letter read",
                                        NULL };

struct life life;
struct arena arena;

/* ---------------------------------------------------------------- the world */

/* What a proxy says is not for the wire's judge. */
static void received(const uint8_t *bytes, size_t size) {
    size_t skipped = life.broker.tunnel_size < size ? life.broker.tunnel_size : size;
    life.broker.tunnel_size -= skipped;
    if (skipped < size) conversation_received(&life.wire, bytes + skipped, size - skipped);
}

static void tap(void *data, enum virtual_tap what, const uint8_t *bytes, size_t size) {
    (void)data;
    switch (what) {
    case VIRTUAL_LINK_UP:
        conversation_link(&life.wire, true);
        broker_link(&life.broker, life.v.output_size);
        break;
    case VIRTUAL_LINK_DOWN: conversation_link(&life.wire, false); break;
    case VIRTUAL_SENT:
        if (!broker_is_proxy(&life.broker)) conversation_sent(&life.wire, bytes, size);
        break;
    default: received(bytes, size); break;
    }
}

static void run(void) {
    virtual_run(&life.v);
    if (!(life.flags & FLAG_SILENT) || !life.opened)
        broker_hear(&life.broker, life.v.output, life.v.output_size);
    else
        life.broker.heard = life.v.output_size;
    if (life.broker.heard == life.v.output_size) life.broker.heard = life.v.output_size = 0;
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

static void deliver_headers(uint16_t channel) {
    size_t size = decide(&life.d);
    const uint8_t *headers = decide_bytes(&life.d, &size);
    life.hostile = true;
    broker_deliver_headers(&life.broker, channel, headers, size);
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
    if (broker_is_proxy(&life.broker) || life.broker.tunnel_size) return;
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
    case 6: (void)broker_deliver(&life.broker, channel, op >> 6, sizes[decide(&life.d) & 7], op & 1); break;
    case 7: deliver_headers(channel); break;
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
    case 23: /* the network is well again */
        life.v.connect_status[0] = life.v.connect_status[1] = life.v.resolve_status = 0;
        run();
        break;
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

/* What the client writes: one buffer for all lives. */
static uint8_t *output;
static size_t output_capacity;

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
    life.v.output = output;
    life.v.output_capacity = output_capacity;
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
                                     .message_size_max = 15000 };
    life.chosen = !(life.flags & (FLAG_PIECES | FLAG_FAILS)) && data[1];
    if (life.chosen) choose_way(data[1], data[2], &parameters);
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
    if (!life.freed && life.conn) {
        loosen(NULL);
        calls(true);
        lago_connection_free(life.conn);
        (void)returned(0);
        life.freed = true;
    }
    while (life.kept_count > 0) release();
    virtual_run(&life.v);
    output = life.v.output;
    output_capacity = life.v.output_capacity;
    life.v.output = NULL;
    forget_way();
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
    if (!begin(data, size)) {
        REQUIRE(life.chosen); /* parameters that do not go together */
        finish();
        arena_reset(&arena);
        return 0;
    }
    if (!(life.flags & FLAG_EARLY)) settle_rounds(6);
    open_channel();
    open_channel();
    if (life.flags & FLAG_CONFIRMS && life.channel_count > 0 && !life.channels[0].freed && !life.freed) {
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
