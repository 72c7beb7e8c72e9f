/*
 * A whole session from the first byte: what a broker says, cut anyhow, with time that passes, writes that the system takes in part,
 * calls between events, and memory that fails. What the client says stays a conversation that AMQP allows.
 *
 * Input: see items.h. mutator.c knows it as well, and keeps the sizes of frames right half of the time.
 */
#include "conversation.h"
#include "frame.h"
#include "fuzz.h"
#include "items.h"
#include "seat.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPENED,
    SECURED,
    DELIVERED,
    THREE_FRAMES,
    IN_PIECES,
    CLOSED_505,
    CLOSED_311,
    BLOCKED,
    HELD,
    SILENT,
    STALLED,
    CLOSED_BY_US,
    CLOSED_BY_BROKER,
    CHANNEL_REUSED,
    ACKS_MERGED,
    GREETED,
    NO_MEMORY,
    FLOW_STOPPED,
    REFUSED_LOGIN,
    SMALL_CHANNEL_MAX,
    SECRET_UPDATED,
    HEARTBEAT,
    ANSWERED,
    GOT,
    RETURNED
};
const char *const fuzz_milestones[] = { "session OPEN",
                                        "a second round of login",
                                        "a delivery",
                                        "a delivery assembled over three frames",
                                        "a body handed out in pieces",
                                        "close by 505",
                                        "a channel ended by 311",
                                        "connection.blocked and unblocked",
                                        "a publish held until it was unblocked",
                                        "ended because the broker was silent",
                                        "ended because nothing could be written",
                                        "our close answered",
                                        "the broker's close answered",
                                        "a channel's number used again",
                                        "acknowledgements merged",
                                        "a peer that speaks no AMQP",
                                        "no memory in an open session",
                                        "channel.flow stops and goes on",
                                        "a login refused by 403",
                                        "a channel beyond channel_max",
                                        "update-secret-ok",
                                        "a heartbeat sent",
                                        "five requests answered",
                                        "a message by basic.get",
                                        "a message returned",
                                        NULL };

#define MESSAGE_SIZE_MAX 60000u
#define HANDS_OUT        1u
#define READ_STRAIGHT    2u
#define CUTS             4u
#define FAILS            8u
#define WRITES_LATE      16u /* only what ITEM_WRITES says */
#define SWALLOWED        32u
#define AHEAD            64u
#define ACTS_MAX         200u
#define CHANNELS         4u

/* Beside the input: messages of four channels, a partial frame, what is held and waits to be written. */
#define MEMORY_MAX ((size_t)8 << 20)

static struct arena arena;
static struct seat seat;
static struct conversation wire;
static char owner[CHANNELS];
static uint32_t leaving; /* channels that we have closed: lib/client says nothing more on them */
static const uint8_t *acts;
static unsigned acts_done;
static struct {
    uint64_t highest, last; /* `last` is open, and the next to be acknowledged; 0: none */
    uint64_t lowest_open;   /* of those that were passed over; 0: none */
} tags[SEAT_CHANNELS];
static struct session_route *route;
static uint16_t route_channel;
static bool freed_number, was_blocked, was_stopped, held;
static uint64_t acked;
static unsigned answered; /* requests */

/* ---------------------------------------------------------------- what a client does */

static void publish(uint16_t channel, unsigned how) {
    static const char text[5000] = "bytes";
    lago_properties_t properties = { .content_type = "a/b", .delivery_mode = how & 1 };
    struct basic_publish args = { .exchange = { "", 0 }, .routing_key = { "q", 1 }, .mandatory = how & 2 };
    struct session_body body = { .bytes = { text, how & 4 ? sizeof(text) : 5 } };
    int rc = session_publish(&seat.s, channel, &args, how & 8 ? &properties : NULL, &body);
    held = held || (rc == 0 && seat.s.blocked);
}

/* A route goes with its channel. */
static void forget_route(uint16_t channel) {
    if (channel != route_channel) return;
    session_route_free(&seat.s, route);
    route = NULL;
    route_channel = 0;
}

static void publish_route(uint16_t channel) {
    struct basic_publish args = { .routing_key = { "route", 5 } };
    if (!route && session_route_make(&seat.s, channel, &args, NULL, &route) == 0) route_channel = channel;
    if (route && channel == route_channel) (void)session_publish_route(&seat.s, route, (lago_bytes_t){ "abc", 3 }, NULL);
}

static void ack(uint16_t channel) {
    uint64_t tag = tags[channel % SEAT_CHANNELS].last;
    if (tag == 0) return;
    tags[channel % SEAT_CHANNELS].last = 0;
    conversation_settled(&wire, channel, tag, false);
    int rc = session_ack(&seat.s, channel, tag, tags[channel % SEAT_CHANNELS].lowest_open);
    acked += rc >= 0;
    REACH_IF(rc > 1, ACKS_MERGED);
}

static void open_channel(void) {
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (owner[i]) continue;
        int number = session_channel_open(&seat.s, &owner[i]);
        if (number < 0) return;
        owner[i] = (char)number;
        REACH_IF(freed_number && seat.s.state == SESSION_OPEN, CHANNEL_REUSED);
        if (seat.hands_out) session_announce_bodies(&seat.s, (uint16_t)number);
        return;
    }
}

static void disown(uint16_t channel) {
    char *whose = session_channel_owner(&seat.s, channel);
    if (whose) *whose = 0;
    session_channel_own(&seat.s, channel, NULL);
}

static void send(uint16_t channel, unsigned which) {
    struct queue_declare declare = { .queue = { "q", 1 }, .durable = true };
    struct basic_consume consume = { .queue = { "q", 1 }, .consumer_tag = { "c", 1 } };
    switch (which & 3) {
    case 0: (void)session_send(&seat.s, channel, METHOD_QUEUE_DECLARE, &declare); break;
    case 1: (void)session_send(&seat.s, channel, METHOD_BASIC_CONSUME, &consume); break;
    case 2: (void)session_send(&seat.s, channel, METHOD_CONFIRM_SELECT, &(struct confirm_select){ 0 }); break;
    default:
        if (seat.s.state != SESSION_OPEN) return; /* as lib/client asks for it */
        (void)session_send(&seat.s, 0, METHOD_CONNECTION_UPDATE_SECRET,
                           &(struct connection_update_secret){ .new_secret = { "s", 1 } });
    }
}

/* Requests that have an answer; seeds.py knows their order. */
#define REQUEST_FIRST 22u
static const struct {
    uint32_t method;
    union method_args args;
} requests[] = {
    { METHOD_QUEUE_DECLARE, { .queue_declare = { .queue = { "q", 1 } } } },
    { METHOD_BASIC_CONSUME, { .basic_consume = { .queue = { "q", 1 }, .consumer_tag = { "c", 1 } } } },
    { METHOD_CONFIRM_SELECT, { .confirm_select = { .no_wait = false } } },
    { METHOD_BASIC_GET, { .basic_get = { .queue = { "q", 1 } } } },
    { METHOD_BASIC_QOS, { .basic_qos = { .prefetch_count = 1 } } },
    { METHOD_QUEUE_BIND, { .queue_bind = { .queue = { "q", 1 }, .exchange = { "e", 1 } } } },
    { METHOD_BASIC_CANCEL, { .basic_cancel = { .consumer_tag = { "c", 1 } } } },
    { METHOD_EXCHANGE_DECLARE, { .exchange_declare = { .exchange = { "e", 1 }, .type = { "fanout", 6 } } } },
    { METHOD_TX_SELECT, { .tx_select = { 0 } } },
    { METHOD_QUEUE_DELETE, { .queue_delete = { .queue = { "q", 1 } } } },
};

static void act(unsigned what) {
    uint16_t channel = (uint16_t)(1 + (what >> 5 & 3));
    bool owned = session_channel_owner(&seat.s, channel) && !(leaving >> channel & 1) && seat.s.state <= SESSION_OPEN;
    if (acts_done++ > ACTS_MAX) return;
    switch (what & 31) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        if (owned) ack(channel);
        break;
    case 5: session_flush_acks(&seat.s); break;
    case 6:
    case 7:
    case 8:
        if (owned) publish(channel, what >> 3);
        break;
    case 9:
        if (owned) publish_route(channel);
        break;
    case 10:
        if (!owned) break;
        leaving |= session_channel_close(&seat.s, channel, 200, "bye") == 0 ? 1u << channel : 0;
        break;
    case 11:
        if (!owned) break;
        (void)session_channel_give_up(&seat.s, channel, 200, "bye");
        forget_route(channel);
        disown(channel);
        break;
    case 12: open_channel(); break;
    case 13:
    case 14:
        if (owned) send(channel, what >> 5);
        break;
    case 15: (void)session_close(&seat.s, 200, "bye"); break;
    case 16: session_reading(&seat.s, what & 32, seat.now); break;
    case 17: session_looked(&seat.s, seat.s.out.appended - seat.s.out.size, what & 32, seat.now); break;
    case 18:
        if (what > 240) session_abandon(&seat.s, &(lago_reason_t){ .code = LAGO_ECLOSED, .origin = LAGO_BY_CLIENT });
        break;
    case 19:
        if (what > 200) session_forget_input(&seat.s);
        break;
    case 20: (void)seat_write(&seat, what & 32 ? 10 : SIZE_MAX); break;
    case 21: break;
    default:
        what = (what & 31) - REQUEST_FIRST;
        if (owned) (void)session_send(&seat.s, channel, requests[what].method, &requests[what].args);
        break;
    }
}

/* ---------------------------------------------------------------- what it is told */

static void note(const struct session_event *event) {
    REACH_IF(event->type == SESSION_EVENT_OPEN, OPENED);
    REACH_IF(event->type == SESSION_EVENT_SECURE, SECURED);
    REACH_IF(event->type == SESSION_EVENT_CHANNEL_CLOSE && event->reason, CLOSED_311);
    REACH_IF(event->type == SESSION_EVENT_UNBLOCKED && was_blocked, BLOCKED);
    REACH_IF(event->type == SESSION_EVENT_UNBLOCKED && held && seat.s.held_size == 0, HELD);
    REACH_IF(event->type == SESSION_EVENT_METHOD && event->info->id == METHOD_CONNECTION_UPDATE_SECRET_OK, SECRET_UPDATED);
    REACH_IF(event->type == SESSION_EVENT_CONTENT && event->info->id == METHOD_BASIC_GET_OK, GOT);
    REACH_IF(event->type == SESSION_EVENT_CONTENT && event->info->id == METHOD_BASIC_RETURN, RETURNED);
    for (size_t i = 0; event->type == SESSION_EVENT_METHOD && i < sizeof(requests) / sizeof(requests[0]); i++)
        answered += method_find(requests[i].method)->replies[0] == event->info->id;
    REACH_IF(answered == 5, ANSWERED);
    if (event->type == SESSION_EVENT_BLOCKED) was_blocked = true;
    if (event->type == SESSION_EVENT_METHOD && event->info->id == METHOD_CHANNEL_FLOW) {
        REACH_IF(was_stopped && event->args->channel_flow.active, FLOW_STOPPED);
        was_stopped = !event->args->channel_flow.active;
    }
}

/* As lib/client: tags only rise. */
static void delivered(uint16_t channel, uint64_t tag, bool may_ack) {
    unsigned at = channel % SEAT_CHANNELS;
    REACH(DELIVERED);
    if (tag <= tags[at].highest) {
        session_fail(&seat.s, LAGO_EPROTOCOL, REPLY_COMMAND_INVALID, METHOD_BASIC_DELIVER, "a delivery tag that goes back");
        return;
    }
    tags[at].highest = tag;
    uint64_t passed = may_ack ? tags[at].last : tag;
    if (passed && tags[at].lowest_open == 0) tags[at].lowest_open = passed;
    if (may_ack) tags[at].last = tag;
}

static void on_event(struct seat *s, const struct session_event *event) {
    note(event);
    if (event->type == SESSION_EVENT_CONTENT || event->type == SESSION_EVENT_BODY) {
        if (event->info->id == METHOD_BASIC_DELIVER) delivered(event->channel, event->args->basic_deliver.delivery_tag, true);
        if (event->info->id == METHOD_BASIC_GET_OK) delivered(event->channel, event->args->basic_get_ok.delivery_tag, false);
    }
    if (event->type == SESSION_EVENT_CHANNEL_CLOSE || event->type == SESSION_EVENT_CHANNEL_CLOSE_OK) {
        char *whose = event->owner;
        if (whose) *whose = 0;
        leaving &= ~(1u << (event->channel & 31));
        forget_route(event->channel);
        memset(&tags[event->channel % SEAT_CHANNELS], 0, sizeof(tags[0]));
        freed_number = true;
    }
    act(acts[acts_done % 12]);
    (void)s;
}

/* ---------------------------------------------------------------- a life */

/* FUZZ_TRACE=1: tell the conversation, for who looks at a finding. */
static void tell(void *data, char direction, const char *line) {
    (void)data;
    fprintf(stderr, "%c> %s\n", direction, line);
}

static bool is_traced(void) {
    static int asked = -1;
    if (asked < 0) asked = getenv("FUZZ_TRACE") != NULL;
    return asked;
}

static bool begin(const uint8_t *head) {
    struct session_settings settings = { .channel_max = 100, .message_size_max = MESSAGE_SIZE_MAX, .write_timeout_ms = 3000 };
    lago_tune_t tune = { .channel_max = 100, .frame_max = head[3] & 1 ? 131072 : 8192 };
    if (is_traced()) settings.trace = tell;
    seat_init(&seat, &arena, &settings, &tune);
    conversation_init(&wire);
    conversation_link(&wire, true);
    if (!(head[0] & (WRITES_LATE | FAILS))) seat.wire = &wire; /* else it is answered before it has spoken */
    seat.hands_out = head[0] & HANDS_OUT;
    seat.straight = head[0] & READ_STRAIGHT;
    acts = head + 4;
    acts_done = 0;
    acked = 0;
    answered = 0;
    leaving = 0;
    route = NULL;
    route_channel = 0;
    freed_number = was_blocked = was_stopped = held = false;
    memset(tags, 0, sizeof(tags));
    memset(owner, 0, sizeof(owner));
    open_channel();
    open_channel();
    if (head[3] & 2) publish(1, head[3] >> 2); /* held until it is open */
    if (head[3] & 4) open_channel();
    if (session_start(&seat.s, seat.now) < 0) return false;
    (void)seat_write(&seat, SIZE_MAX);
    seat.on_event = on_event;
    if (head[0] & FAILS) arena.fail_at = arena.calls + 1 + (head[2] & 63u);
    if (head[0] & FAILS && head[2] & 64) arena.fail_every = 1 + (head[2] >> 7);
    return true;
}

static void says(const struct item *item, uint32_t *cuts) {
    for (size_t at = 0, size; at < item->size && seat.s.state != SESSION_ENDED; at += size) {
        size = item->size - at;
        if (*cuts) {
            *cuts = *cuts * 1664525u + 1013904223u;
            size_t piece = *cuts & 0x80000000u ? 1 + (*cuts >> 8 & 15) : 1 + (*cuts >> 8 & 4095);
            if (piece < size) size = piece;
        }
        seat_feed(&seat, item->bytes + at, size);
    }
}

static void number_of(const struct item *item, uint32_t *number) {
    *number = item->size > 1 ? (uint32_t)(item->bytes[0] << 8 | item->bytes[1]) : 1;
}

static void play(const struct item *item, unsigned how, uint32_t *cuts) {
    uint32_t number;
    number_of(item, &number);
    switch (item->what) {
    case ITEM_SAYS: says(item, cuts); break;
    case ITEM_TIME: seat_pass(&seat, number); break;
    case ITEM_WRITES: (void)seat_write(&seat, number); break;
    case ITEM_ACTS:
        for (size_t i = 0; i < item->size && i < 32; i++) act(item->bytes[i]);
        seat_pull(&seat, 8);
        break;
    default: break;
    }
    if (!(how & WRITES_LATE)) (void)seat_write(&seat, SIZE_MAX);
    seat_pull(&seat, 8);
    REQUIRE(arena.live_bytes <= MEMORY_MAX);
}

static void note_end(void) {
    lago_reason_t room;
    const lago_reason_t *reason = reason_kept(&seat.s.reason, &room);
    REACH_IF(seat.largest_body > 16384, THREE_FRAMES);
    REACH_IF(seat.pieces > seat.contents && seat.pieces > 2, IN_PIECES);
    REACH_IF(seat.s.opened && seat.s.tune.channel_max == 1, SMALL_CHANNEL_MAX);
    REACH_IF(seat.s.counters.heartbeats_sent, HEARTBEAT);
    if (seat.s.state < SESSION_CLOSING || !reason) return;
    REACH_IF(seat.s.state == SESSION_FAILED && reason->reply_code == 505, CLOSED_505);
    REACH_IF(reason->code == LAGO_EHEARTBEAT, SILENT);
    REACH_IF(reason->code == LAGO_EAUTH, REFUSED_LOGIN);
    REACH_IF(reason->code == LAGO_ENOMEM && seat.s.opened, NO_MEMORY);
    REACH_IF(reason->code == LAGO_ESTALLED, STALLED);
    REACH_IF(reason->code == LAGO_ECLOSED && seat.s.state == SESSION_ENDED && wire.close_sent, CLOSED_BY_US);
    REACH_IF(reason->code == LAGO_ECONNECTION, CLOSED_BY_BROKER);
    REACH_IF(seat.s.state == SESSION_ENDED && !wire.start_ok && reason->code == LAGO_ENOTAMQP, GREETED);
}

/* Tags that went back cost the connection, but not before what is under way: what `multiple` means then nobody can say. */
static bool tags_rise(void) {
    for (const struct spoken_channel *ch = wire.channels; ch; ch = ch->next)
        for (size_t i = 1; i < ch->delivery_count; i++)
            if (ch->deliveries[i].tag <= ch->deliveries[i - 1].tag) return false;
    return true;
}

static void finish(void) {
    arena.fail_at = arena.fail_every = 0;
    session_flush_acks(&seat.s);
    note_end();
    session_route_free(&seat.s, route);
    seat.on_event = NULL;
    seat_end(&seat);
    if (wire.problem && tags_rise()) fuzz_broken(__FILE__, __LINE__, wire.problem);
    conversation_clear(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.room) arena_init(&arena);
    if (size < ITEM_HEAD || size > SEAT_INPUT_MAX / 2) return 0;
    const uint8_t *at = data + ITEM_HEAD;
    size_t left = size - ITEM_HEAD;
    uint32_t cuts = data[0] & CUTS ? 1u + data[1] : 0;
    struct item item;
    if (begin(data))
        while (item_next(&at, &left, &item)) play(&item, data[0], &cuts);
    finish();
    arena_reset(&arena);
    return 0;
}
