/*
 * Acknowledgements that coalesce say to the broker what each of them would have said alone. Random lives of a few channels, by a
 * seed that a failure names: `test_client_acks_property SEED` plays that one again. The broker here decodes the frames and keeps,
 * for each channel, what was settled and how, and what was published or declared in between; the application keeps the same of its
 * calls. Both must be equal, but for the order among acknowledgements that stand side by side.
 */
#include "client_test.h"
#include "frame.h"
#include "method.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEQUENCES     20000u
#define CHANNELS      3u
#define CONSUMERS_MAX 3u
#define TAGS_MAX      1024u
#define ITEMS_MAX     4096u

/* What has happened on a channel, in its order. */
enum kind { ACKED = 'a', REQUEUED = 'r', DROPPED = 'd', PUBLISHED = 'p', DECLARED = 'q' };

struct item {
    enum kind kind;
    uint64_t number; /* the delivery tag, or the name */
};

struct history {
    struct item items[ITEMS_MAX];
    size_t count;
};

struct side {
    lago_channel_t *ch;
    bool single;                          /* single_acks */
    unsigned consumers;                   /* "0", "1" ...; the last of several has auto_ack */
    uint64_t sent;                        /* delivery tags of the broker */
    bool open[TAGS_MAX], known[TAGS_MAX]; /* sent and not settled there; received and not settled here */
    uint64_t newest;                      /* that the application has seen */
    struct history wire, calls;
    unsigned settle_frames, settle_calls;
};

static struct {
    struct virtual v;
    uint64_t seed, state;
    struct side sides[CHANNELS + 1]; /* by channel */
    unsigned names;
    uint8_t say[65536];
    size_t say_size, read;
    bool blocked;
    unsigned ways;   /* of this sequence: what the application does at all */
    uint64_t untidy; /* and how often it does not acknowledge at once, or does something else: one time of so many */
    uint64_t coalescing_calls, coalescing_frames; /* of all sequences */
} test;

static uint64_t below(uint64_t limit) {
    test.state ^= test.state << 13;
    test.state ^= test.state >> 7;
    test.state ^= test.state << 17;
    return test.state % limit;
}

#define check(condition)                                                                                                         \
    do {                                                                                                                         \
        if (!(condition)) fail_msg("sequence %llu: %s", (unsigned long long)test.seed, #condition);                              \
    } while (0)

static void remember(struct history *history, enum kind kind, uint64_t number) {
    check(history->count < ITEMS_MAX);
    history->items[history->count++] = (struct item){ kind, number };
}

/* ---------------------------------------------------------------- the broker speaks */

static void say(uint16_t channel, uint32_t method, const void *args) {
    struct writer w = writer_measure();
    method_write(&w, method_find(method), args);
    size_t size = w.size;
    check(test.say_size + size + FRAME_OVERHEAD <= sizeof(test.say));
    uint8_t *at = frame_begin(test.say + test.say_size, FRAME_METHOD, channel, size);
    w = writer_over(at, size);
    method_write(&w, method_find(method), args);
    frame_finish(at + size);
    test.say_size += size + FRAME_OVERHEAD;
}

static void say_header(uint16_t channel) {
    uint8_t *at = frame_begin(test.say + test.say_size, FRAME_HEADER, channel, 14);
    memset(at, 0, 14);
    at[1] = 60; /* class basic; an empty body, no properties */
    frame_finish(at + 14);
    test.say_size += 14 + FRAME_OVERHEAD;
}

/* Into the kernel: the client is not run. */
static void hand_over(void) {
    if (test.say_size) virtual_input(&test.v, test.say, test.say_size);
    test.say_size = 0;
}

static lago_string_t consumer_name(unsigned consumer) {
    static const char *const names[CONSUMERS_MAX] = { "0", "1", "2" };
    return (lago_string_t){ names[consumer], 1 };
}

static bool has_auto_ack(const struct side *side, unsigned consumer) { return consumer > 0 && consumer == side->consumers - 1; }

static void deliver(uint16_t channel) {
    struct side *side = &test.sides[channel];
    unsigned consumer = (unsigned)below(side->consumers);
    if (side->sent + 2 >= TAGS_MAX) return;
    struct basic_deliver args = { .consumer_tag = consumer_name(consumer), .delivery_tag = ++side->sent };
    side->open[side->sent] = !has_auto_ack(side, consumer);
    say(channel, METHOD_BASIC_DELIVER, &args);
    say_header(channel);
}

static void give(uint16_t channel) {
    struct side *side = &test.sides[channel];
    if (side->sent + 2 >= TAGS_MAX || below(3) == 0) {
        say(channel, METHOD_BASIC_GET_EMPTY, &(struct basic_get_empty){ 0 });
        return;
    }
    struct basic_get_ok args = { .delivery_tag = ++side->sent };
    side->open[side->sent] = true;
    say(channel, METHOD_BASIC_GET_OK, &args);
    say_header(channel);
}

/* ---------------------------------------------------------------- the broker listens */

/* RabbitMQ closes the channel (406) for a tag that is not open, be it a `multiple`'s. */
static void settled(uint16_t channel, enum kind kind, uint64_t tag, bool multiple) {
    struct side *side = &test.sides[channel];
    check(tag > 0 && tag <= side->sent);
    check(side->open[tag]);
    side->settle_frames++;
    for (uint64_t t = multiple ? 1 : tag; t <= tag; t++) {
        if (!side->open[t]) continue;
        side->open[t] = false;
        remember(&side->wire, kind, t);
    }
}

static void consumed(uint16_t channel, const struct basic_consume *m) {
    struct basic_consume_ok ok = { .consumer_tag = m->consumer_tag };
    say(channel, METHOD_BASIC_CONSUME_OK, &ok);
}

static void hear_method(uint16_t channel, const struct method_info *info, const union method_args *args) {
    static const union method_args zero;
    struct history *wire = &test.sides[channel].wire;
    switch (info->id) {
    case METHOD_CHANNEL_OPEN: say(channel, METHOD_CHANNEL_OPEN_OK, &zero); break;
    case METHOD_BASIC_QOS: say(channel, METHOD_BASIC_QOS_OK, &zero); break;
    case METHOD_BASIC_CONSUME: consumed(channel, &args->basic_consume); break;
    case METHOD_BASIC_GET: give(channel); break;
    case METHOD_BASIC_PUBLISH: remember(wire, PUBLISHED, strtoull(args->basic_publish.routing_key.data, NULL, 10)); break;
    case METHOD_QUEUE_DECLARE:
        remember(wire, DECLARED, strtoull(args->queue_declare.queue.data, NULL, 10));
        say(channel, METHOD_QUEUE_DECLARE_OK, &(struct queue_declare_ok){ .queue = { "q", 1 } });
        break;
    case METHOD_BASIC_ACK: settled(channel, ACKED, args->basic_ack.delivery_tag, args->basic_ack.multiple); break;
    case METHOD_BASIC_NACK:
        settled(channel, args->basic_nack.requeue ? REQUEUED : DROPPED, args->basic_nack.delivery_tag, args->basic_nack.multiple);
        break;
    case METHOD_BASIC_REJECT:
        settled(channel, args->basic_reject.requeue ? REQUEUED : DROPPED, args->basic_reject.delivery_tag, false);
        break;
    default: fail_msg("sequence %llu: %s", (unsigned long long)test.seed, info->name);
    }
}

/* Behind what was read already; bodies go by. */
static void hear(void) {
    struct frame frame;
    size_t used;
    while (frame_decode(test.v.output + test.read, test.v.output_size - test.read, 131072, &frame, &used) == FRAME_COMPLETE) {
        const struct method_info *info;
        union method_args args;
        test.read += used;
        if (frame.type != FRAME_METHOD) continue;
        check(frame.channel >= 1 && frame.channel <= CHANNELS);
        assert_int_equal(method_read(frame.payload, frame.size, &info, &args), 0);
        hear_method(frame.channel, info, &args);
    }
    check(test.read == test.v.output_size);
}

/* Until both have nothing to say. */
static void run_all(void) {
    do {
        hand_over();
        virtual_run(&test.v);
        hear();
    } while (test.say_size);
}

/* ---------------------------------------------------------------- the application */

static struct side *side_of(lago_channel_t *ch) { return &test.sides[lago_channel_number(ch)]; }

/* One call, and what a broker would make of it alone. */
static void settle(struct side *side, enum kind kind, uint64_t tag, bool multiple) {
    uint64_t first = multiple ? 1 : tag, last = multiple && (tag == 0 || tag > side->newest) ? side->newest : tag, named = 0;
    unsigned flags = (multiple ? LAGO_MULTIPLE : 0) | (kind == DROPPED ? LAGO_NO_REQUEUE : 0);
    for (uint64_t t = first; t <= last && t <= side->newest; t++)
        if (side->known[t]) named = t;
    int rc = kind == ACKED               ? lago_basic_ack(side->ch, tag, flags)
             : multiple || below(2) == 0 ? lago_basic_nack(side->ch, tag, flags)
                                         : lago_basic_reject(side->ch, tag, flags);
    check(rc == (named ? 0 : LAGO_ESTALE));
    side->settle_calls += named != 0;
    for (uint64_t t = first; t <= named; t++) {
        if (!side->known[t]) continue;
        side->known[t] = false;
        remember(&side->calls, kind, t);
    }
}

static void publish(struct side *side) {
    static const char body[3000]; /* small ones are copied, larger ones referenced */
    char name[32];
    (void)snprintf(name, sizeof(name), "%u", ++test.names);
    lago_basic_publish_t args = { .routing_key = name, .body = { body, (size_t)below(4) * 999 } };
    check(lago_basic_publish(side->ch, &args, NULL, NULL) >= 0);
    remember(&side->calls, PUBLISHED, test.names);
}

static void declare(struct side *side) {
    char name[32];
    (void)snprintf(name, sizeof(name), "%u", ++test.names);
    check(lago_queue_declare(side->ch, &(lago_queue_declare_t){ .queue = name }, NULL, NULL) == 0);
    remember(&side->calls, DECLARED, test.names);
}

static void on_got(lago_channel_t *ch, const lago_reason_t *reason, const lago_message_t *message, void *data) {
    struct side *side = side_of(ch);
    (void)data;
    if (reason) fail_msg("sequence %llu: %s", (unsigned long long)test.seed, reason->detail);
    if (!message) return;
    check(message->delivery_tag > side->newest);
    side->newest = message->delivery_tag;
    side->known[side->newest] = true;
}

/* Any tag about those that were seen: open, closed, of auto_ack, too high, 0. */
static uint64_t some_tag(const struct side *side) { return below(side->newest + 3); }

static uint64_t lowest_known(const struct side *side) {
    for (uint64_t t = 1; t <= side->newest; t++)
        if (side->known[t]) return t;
    return side->newest;
}

static void act(struct side *side) {
    static const enum kind kinds[] = { ACKED, REQUEUED, DROPPED };
    switch (below(16)) {
    case 0: publish(side); break;
    case 1:
        if (test.ways & 1) declare(side);
        break;
    case 2: settle(side, kinds[below(3)], some_tag(side), true); break;
    case 3: settle(side, kinds[below(3)], some_tag(side), false); break;
    case 4:
        if (test.ways & 2) settle(side, kinds[1 + below(2)], lowest_known(side), false);
        break;
    case 5: check(lago_basic_get(side->ch, &(lago_basic_get_t){ .queue = "q" }, on_got, NULL) == 0); break;
    case 6: check(lago_basic_qos(side->ch, &(lago_basic_qos_t){ .prefetch_count = (uint16_t)below(40) }, NULL, NULL) == 0); break;
    case 7: settle(side, ACKED, some_tag(side), false); break;
    case 8:
    case 9: settle(side, ACKED, 0, true); break;
    default: settle(side, ACKED, lowest_known(side), false); break;
    }
}

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    struct side *side = side_of(ch);
    check(message->delivery_tag > side->newest);
    side->newest = message->delivery_tag;
    side->known[side->newest] = data == NULL;
    if (below(8) == 0) test.v.now += below(3); /* this one took its time */
    if (data == NULL && below(test.untidy) != 0) settle(side, ACKED, side->newest, false);
    for (uint64_t n = below(test.untidy) == 0 ? below(4) : 0; n > 0; n--) act(&test.sides[1 + below(CHANNELS)]);
}

/* ---------------------------------------------------------------- a sequence */

static void open_side(uint16_t channel) {
    static char is_auto_ack[1];
    struct side *side = &test.sides[channel];
    memset(side, 0, sizeof(*side));
    side->single = below(4) == 0;
    side->consumers = 1 + (unsigned)below(CONSUMERS_MAX);
    check(lago_channel_open(test.v.conn, &(lago_channel_options_t){ .single_acks = side->single }, &side->ch) == 0);
    lago_basic_qos_t qos = { .prefetch_count = (uint16_t)(below(2) ? 0 : 1 + below(40)) };
    check(lago_basic_qos(side->ch, &qos, NULL, NULL) == 0);
    for (unsigned n = 0; n < side->consumers; n++) {
        lago_basic_consume_t args = { .queue = "q",
                                      .consumer_tag = consumer_name(n).data,
                                      .auto_ack = has_auto_ack(side, n),
                                      .on_message = on_message,
                                      .data = has_auto_ack(side, n) ? is_auto_ack : NULL };
        check(lago_basic_consume(side->ch, &args, NULL, NULL) == 0);
    }
}

static void toggle_block(void) {
    static const struct connection_blocked blocked = { .reason = { "memory", 6 } };
    static const union method_args nothing;
    test.blocked = !test.blocked;
    say(0, test.blocked ? METHOD_CONNECTION_BLOCKED : METHOD_CONNECTION_UNBLOCKED,
        test.blocked ? (const void *)&blocked : (const void *)&nothing);
}

static void play_step(void) {
    switch (below(8)) {
    case 0:
    case 1:
    case 2:
        for (uint64_t n = 1 + below(60); n > 0; n--) deliver((uint16_t)(1 + below(CHANNELS)));
        hand_over();
        break;
    case 3: virtual_run(&test.v); break;
    case 4: act(&test.sides[1 + below(CHANNELS)]); break;
    case 5: virtual_advance(&test.v, below(4)); break;
    case 6:
        if (below(4) == 0) toggle_block();
        hand_over();
        break;
    default: run_all(); break;
    }
}

/* Side by side they mean the same in any order. */
static void sort_acks(struct history *history) {
    for (size_t i = 1; i < history->count; i++)
        for (size_t j = i; j > 0; j--) {
            struct item *a = &history->items[j - 1], *b = &history->items[j], swapped = *a;
            if (a->kind != ACKED || b->kind != ACKED || a->number < b->number) break;
            *a = *b;
            *b = swapped;
        }
}

static void compare(struct side *side) {
    sort_acks(&side->wire);
    sort_acks(&side->calls);
    check(side->wire.count == side->calls.count);
    for (size_t i = 0; i < side->wire.count; i++) {
        check(side->wire.items[i].kind == side->calls.items[i].kind);
        check(side->wire.items[i].number == side->calls.items[i].number);
    }
    for (uint64_t t = 1; t <= side->sent; t++) check(side->open[t] == side->known[t]);
    check(side->settle_frames <= side->settle_calls);
    if (side->single) {
        check(side->settle_frames == side->settle_calls);
    } else {
        test.coalescing_calls += side->settle_calls;
        test.coalescing_frames += side->settle_frames;
    }
}

static void play(uint64_t seed) {
    static const lago_connection_options_t options;
    test.seed = seed;
    test.state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < 4; i++) (void)below(2);
    test.ways = (unsigned)below(4);
    test.untidy = (uint64_t)2 << below(9);
    test.blocked = false;
    virtual_init(&test.v);
    test.v.log_level = LAGO_LOG_ERROR;
    check(virtual_connect(&test.v, NULL, &options) == 0);
    server_handshake(&test.v);
    test.read = test.v.output_size;
    for (uint16_t channel = 1; channel <= CHANNELS; channel++) open_side(channel);
    run_all();
    if (below(4) == 0) {
        test.v.piece_max = 1 + (size_t)below(4000);
        test.v.piece_seed = 1 + (uint32_t)below(1000);
    }
    if (below(4) == 0) test.v.write_max = 1 + (size_t)below(40);
    for (uint64_t steps = 5 + below(25); steps > 0; steps--) play_step();
    if (test.blocked) toggle_block();
    run_all();
    virtual_advance(&test.v, 100);
    run_all();
    for (uint16_t channel = 1; channel <= CHANNELS; channel++) compare(&test.sides[channel]);
    lago_connection_free(test.v.conn);
    virtual_deinit(&test.v);
}

static uint64_t first = 1, last = SEQUENCES;

static void the_broker_sees_what_was_said(void **state) {
    (void)state;
    for (uint64_t seed = first; seed <= last; seed++) play(seed);
    print_message("sequences %llu to %llu: %llu calls, %llu frames\n", (unsigned long long)first, (unsigned long long)last,
                  (unsigned long long)test.coalescing_calls, (unsigned long long)test.coalescing_frames);
    if (first != last) assert_true(test.coalescing_frames < test.coalescing_calls * 3 / 4); /* else this proves little */
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_broker_sees_what_was_said) };
    if (argc > 1) first = last = strtoull(argv[1], NULL, 10);
    if (argc > 2) last = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
