/* The scripts of attacks.h. A block has some tens of kilobytes, so that making it costs nothing beside taking it. */
#include "attacks.h"

#include "peer.h"

#define MANY       500u
#define WAITING    2000
#define BLOCK_SIZE ((size_t)60000)

static struct bytes out;
static uint64_t tag; /* of the last delivery */

static bool full(void) { return out.size >= BLOCK_SIZE; }

/* ---------------------------------------------------------------- what is said */

static void deliver_as(uint16_t channel, uint64_t number, const char *consumer, size_t size,
                       const lago_properties_t *properties) {
    struct basic_deliver args = { .consumer_tag = { consumer, strlen(consumer) }, .delivery_tag = number };
    bytes_method(&out, channel, METHOD_BASIC_DELIVER, &args);
    bytes_header(&out, channel, size, properties);
}

static void heartbeats(unsigned turn) {
    (void)turn;
    while (!full()) bytes_frame(&out, FRAME_HEARTBEAT, 0, NULL, 0);
}

static void blocks(unsigned turn) {
    struct connection_blocked args = { .reason = { "low on memory", 13 } };
    (void)turn;
    while (!full()) {
        bytes_method(&out, 0, METHOD_CONNECTION_BLOCKED, &args);
        bytes_method(&out, 0, METHOD_CONNECTION_UNBLOCKED, NULL);
    }
}

static void flows(unsigned turn) {
    for (unsigned i = turn; !full(); i++) bytes_method(&out, 1, METHOD_CHANNEL_FLOW, &(struct channel_flow){ .active = i % 2 });
}

/* Of what was published, but for its body. */
static void returns(unsigned turn) {
    struct basic_return args = { .reply_code = 312, .reply_text = { "NO_ROUTE", 8 }, .routing_key = { "k", 1 } };
    (void)turn;
    while (!full()) {
        bytes_method(&out, 1, METHOD_BASIC_RETURN, &args);
        bytes_header(&out, 1, 0, NULL);
    }
}

static void empty_bodies(unsigned turn) {
    if (turn == 0) deliver_as(1, ++tag, "c", 10, NULL);
    while (!full()) bytes_body(&out, 1, 0, 0);
}

static void bodies_octet_by_octet(unsigned turn) {
    (void)turn;
    deliver_as(1, ++tag, "c", 7000, NULL);
    for (size_t i = 0; i < 7000; i++) bytes_body(&out, 1, i, 1);
}

static void small_messages(unsigned turn) {
    (void)turn;
    while (!full()) {
        deliver_as(1, ++tag, "c", 1, NULL);
        bytes_body(&out, 1, 0, 1);
    }
}

static void empty_messages(unsigned turn) {
    (void)turn;
    while (!full()) deliver_as(1, ++tag, "c", 0, NULL);
}

static void messages_of_64_kib(unsigned turn) {
    (void)turn;
    deliver_as(1, ++tag, "c", 65536, NULL);
    bytes_body(&out, 1, 0, 65536);
}

static void messages_of_the_largest_size(unsigned turn) {
    if (turn % 16 == 0) deliver_as(1, ++tag, "c", 1 << 20, NULL);
    bytes_body(&out, 1, 0, 65536);
}

static void large_messages_in_small_frames(unsigned turn) {
    if (turn % 16 == 0) deliver_as(1, ++tag, "c", 1 << 20, NULL);
    for (size_t i = 0; i < 65536; i += 64) bytes_body(&out, 1, i, 64);
}

static void messages_too_large(unsigned turn) {
    if (turn == 0) deliver_as(1, ++tag, "c", (uint64_t)1 << 40, NULL);
    bytes_body(&out, 1, 0, 60000);
}

static void messages_a_little_too_large(unsigned turn) {
    if (turn == 0) deliver_as(1, ++tag, "c", (1 << 20) + 1, NULL);
    bytes_body(&out, 1, 0, 60000);
}

/* A message on each channel, and none is ever whole. */
static void many_at_once(unsigned turn) {
    for (uint16_t channel = 1; channel <= MANY; channel++) {
        if (turn == 0) deliver_as(channel, 1, "c", 1 << 20, NULL);
        if (turn < 2000) bytes_body(&out, channel, 0, 500);
    }
}

static void many_that_only_announce(unsigned turn) {
    lago_properties_t properties = { .message_id = "a name that is kept while the message is under way, for each of them" };
    for (uint16_t channel = 1; channel <= MANY; channel++) {
        if (turn == 0) deliver_as(channel, 1, "c", 1 << 20, &properties);
        if (turn > 0) bytes_body(&out, channel, 0, 1);
    }
}

static void many_by_turns(unsigned turn) {
    for (uint16_t channel = 1; channel <= MANY; channel++) {
        deliver_as(channel, turn + 1, "c", 20, NULL);
        bytes_body(&out, channel, 0, 10);
    }
    for (uint16_t channel = MANY; channel >= 1; channel--) bytes_body(&out, channel, 10, 10);
}

static void tags_with_gaps(unsigned turn) {
    (void)turn;
    while (!full()) deliver_as(1, tag += 100, "c", 0, NULL);
}

static void tags_with_gaps_on_all(unsigned turn) {
    for (uint16_t channel = 1; channel <= MANY; channel++) deliver_as(channel, (uint64_t)turn * 100 + 1, "c", 0, NULL);
}

static void tags_from_high_up(unsigned turn) {
    if (turn == 0) tag = UINT64_MAX / 2 + 10;
    while (!full()) deliver_as(1, ++tag, "c", 0, NULL);
}

static void tags_in_pairs(unsigned turn) {
    (void)turn;
    while (!full()) deliver_as(1, tag += tag % 64 ? 1 : 63, "c", 0, NULL);
}

static void properties_in_full(unsigned turn) {
    static char words[256];
    lago_properties_t p = { .content_type = words,
                            .content_encoding = words,
                            .delivery_mode = 2,
                            .priority = 9,
                            .correlation_id = words,
                            .reply_to = words,
                            .expiration = words,
                            .message_id = words,
                            .timestamp = 1,
                            .type = words,
                            .user_id = words,
                            .app_id = words,
                            .cluster_id = words };
    (void)turn;
    memset(words, 'w', 255);
    while (!full()) deliver_as(1, ++tag, "c", 0, &p);
}

static void deliver_headers(const void *raw, size_t size) {
    lago_table_t table = { NULL, raw, size, 0 };
    lago_properties_t properties = { .headers = table };
    struct bytes *b = &out;
    struct basic_deliver args = { .consumer_tag = { "c", 1 }, .delivery_tag = ++tag };
    uint8_t head[14 + 4] = { 0,
                             60,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0x20,
                             0,
                             (uint8_t)(size >> 24),
                             (uint8_t)(size >> 16),
                             (uint8_t)(size >> 8),
                             (uint8_t)size };
    struct bytes payload = { 0 };
    (void)properties;
    bytes_method(b, 1, METHOD_BASIC_DELIVER, &args);
    bytes_add(&payload, head, sizeof(head));
    bytes_add(&payload, raw, size);
    bytes_frame(b, FRAME_HEADER, 1, payload.data, payload.size);
    bytes_free(&payload);
}

static void entries_of_nothing(unsigned turn) {
    static uint8_t raw[60000];
    (void)turn;
    for (size_t i = 0; i < sizeof(raw); i += 2) raw[i] = 0, raw[i + 1] = 'V';
    deliver_headers(raw, sizeof(raw));
}

static void tables_in_tables(unsigned turn) {
    static uint8_t raw[60000];
    (void)turn;
    for (size_t i = 0; i < sizeof(raw); i += 6) {
        size_t left = sizeof(raw) - i - 6;
        memcpy(raw + i, (uint8_t[]){ 0, 'F', 0, (uint8_t)(left >> 16), (uint8_t)(left >> 8), (uint8_t)left }, 6);
    }
    deliver_headers(raw, sizeof(raw));
}

static void confirms_of_all(unsigned turn) {
    (void)turn;
    while (!full()) bytes_method(&out, 1, METHOD_BASIC_ACK, &(struct basic_ack){ .delivery_tag = 0, .multiple = true });
}

static void confirms_once_more(unsigned turn) {
    (void)turn;
    while (!full()) bytes_method(&out, 1, METHOD_BASIC_ACK, &(struct basic_ack){ .delivery_tag = 1, .multiple = true });
}

static void confirms_of_the_future(unsigned turn) {
    (void)turn;
    while (!full())
        bytes_method(&out, 1, METHOD_BASIC_NACK, &(struct basic_nack){ .delivery_tag = UINT64_MAX, .multiple = true });
}

static void cancels_of_nobody(unsigned turn) {
    struct basic_cancel args = { .consumer_tag = { "nobody", 6 }, .no_wait = true };
    (void)turn;
    while (!full()) bytes_method(&out, 1, METHOD_BASIC_CANCEL, &args);
}

static void answers_to_nobody(unsigned turn) {
    (void)turn;
    while (!full()) bytes_method(&out, 1, METHOD_QUEUE_DECLARE_OK, NULL);
}

static void deliveries_to_nobody(unsigned turn) {
    (void)turn;
    while (!full()) deliver_as(1, ++tag, "nobody", 0, NULL);
}

static void channels_that_never_were(unsigned turn) {
    for (uint16_t channel = 2; channel < 2000; channel++) deliver_as(channel, turn + 1, "c", 0, NULL);
}

/* Behind its goodbye: all of it is to be discarded. */
static void on_and_on_after_close(unsigned turn) {
    if (turn == 0) bytes_method(&out, 0, METHOD_CONNECTION_TUNE, NULL); /* breaks the protocol: we say goodbye, and wait */
    while (!full()) deliver_as(1, ++tag, "c", 0, NULL);
}

static void closes(unsigned turn) {
    (void)turn;
    while (!full()) bytes_method(&out, 1, METHOD_CHANNEL_CLOSE, NULL);
}

static void starts(unsigned turn) {
    struct connection_start args = { .version_minor = 9, .mechanisms = { "PLAIN", 5 }, .locales = { "en_US", 5 } };
    (void)turn;
    while (!full()) bytes_method(&out, 0, METHOD_CONNECTION_START, &args);
}

static void noise(unsigned turn) {
    struct dice dice = { 1 + turn };
    uint8_t octets[4096];
    for (size_t i = 0; i < sizeof(octets); i++) octets[i] = (uint8_t)dice_roll(&dice);
    while (!full()) bytes_add(&out, octets, sizeof(octets));
}

/* The head of a frame that never ends: each block is a piece of it. */
static void a_frame_without_end(unsigned turn) {
    if (turn == 0) bytes_add(&out, (const uint8_t[]){ FRAME_METHOD, 0, 0, 0, 1, 0xff, 0xf8 }, 7);
    if (turn < 120) bytes_add(&out, out.data, 7), bytes_add(&out, "octets of an argument that goes on", 34);
    if (turn >= 120) bytes_add(&out, ".", 1);
}

static void words_in_full(unsigned turn) {
    static char words[256];
    (void)turn;
    memset(words, '\x1b', 255);
    struct connection_blocked args = { .reason = { words, 255 } };
    while (!full()) bytes_method(&out, 0, METHOD_CONNECTION_BLOCKED, &args);
}

const struct attack attacks[] = {
    { "heartbeats", APP_CONSUMES, heartbeats, false },
    { "blocked and unblocked", APP_CONSUMES, blocks, false },
    { "blocked in many words", APP_CONSUMES, words_in_full, false },
    { "flow stopped and started", APP_CONSUMES, flows, false },
    { "flow, and no answer is read", APP_CONSUMES, flows, true },
    { "returns of nothing", APP_CONSUMES, returns, false },
    { "returns to a publisher", APP_CONFIRMS, returns, false },
    { "empty bodies", APP_CONSUMES, empty_bodies, false },
    { "empty bodies, taken in pieces", APP_PIECES, empty_bodies, false },
    { "bodies octet by octet", APP_CONSUMES, bodies_octet_by_octet, false },
    { "bodies octet by octet, taken in pieces", APP_PIECES, bodies_octet_by_octet, false },
    { "small messages", APP_CONSUMES, small_messages, false },
    { "small messages, acknowledged", APP_ACKS, small_messages, false },
    { "small messages, acknowledged, and nothing is read", APP_ACKS, small_messages, true },
    { "small messages that nobody acknowledges", APP_HOLDS, small_messages, false },
    { "small messages for a paused consumer", APP_PAUSED, small_messages, false },
    { "large messages for a paused consumer", APP_PAUSED, messages_of_64_kib, false },
    { "properties in full for a paused consumer", APP_PAUSED, properties_in_full, false },
    { "headers of 30,000 entries for a paused consumer", APP_PAUSED, entries_of_nothing, false },
    { "empty messages", APP_CONSUMES, empty_messages, false },
    { "messages of 64 KiB", APP_CONSUMES, messages_of_64_kib, false },
    { "messages of the largest size", APP_CONSUMES, messages_of_the_largest_size, false },
    { "large messages in small frames", APP_CONSUMES, large_messages_in_small_frames, false },
    { "messages of a terabyte", APP_CONSUMES, messages_too_large, false },
    { "messages of a terabyte, taken in pieces", APP_PIECES, messages_too_large, false },
    { "messages one octet too large", APP_CONSUMES, messages_a_little_too_large, false },
    { "500 messages at once", APP_MANY, many_at_once, false },
    { "500 announced messages", APP_MANY, many_that_only_announce, false },
    { "500 channels by turns", APP_MANY, many_by_turns, false },
    { "delivery tags with gaps", APP_HOLDS, tags_with_gaps, false },
    { "delivery tags in pairs", APP_HOLDS, tags_in_pairs, false },
    { "delivery tags with gaps on 500 channels", APP_MANY_HOLD, tags_with_gaps_on_all, false },
    { "delivery tags from 2^63 on", APP_ASKS, tags_from_high_up, false },
    { "properties in full", APP_CONSUMES, properties_in_full, false },
    { "headers of 30,000 entries", APP_CONSUMES, entries_of_nothing, false },
    { "headers of 10,000 tables", APP_CONSUMES, tables_in_tables, false },
    { "confirms of all", APP_CONFIRMS, confirms_of_all, false },
    { "confirms once more", APP_CONFIRMS, confirms_once_more, false },
    { "confirms of the future", APP_CONFIRMS, confirms_of_the_future, false },
    { "cancels of nobody", APP_CONSUMES, cancels_of_nobody, false },
    { "answers to nobody", APP_CONSUMES, answers_to_nobody, false },
    { "deliveries to nobody", APP_CONSUMES, deliveries_to_nobody, false },
    { "channels that never were", APP_CONSUMES, channels_that_never_were, false },
    { "on and on behind a goodbye", APP_CONSUMES, on_and_on_after_close, false },
    { "closes", APP_CONSUMES, closes, false },
    { "connection.start again and again", APP_LOGIN, starts, false },
    { "noise", APP_LOGIN, noise, false },
    { "a frame without end", APP_LOGIN, a_frame_without_end, false },
};
const size_t attack_count = sizeof(attacks) / sizeof(attacks[0]);

/* ---------------------------------------------------------------- the application */

static void on_message(lago_channel_t *ch, const lago_message_t *message, void *data) {
    (void)message->properties;
    if (data) lago_basic_ack(ch, message->delivery_tag, 0);
}

static void on_body(lago_channel_t *ch, const lago_body_t *body, void *data) { (void)ch, (void)body, (void)data; }

static void on_channel_close(lago_channel_t *ch, const lago_reason_t *reason, void *data) { (void)ch, (void)reason, (void)data; }

static void on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) { (void)ch, (void)returned, (void)data; }

static void on_cancel(lago_channel_t *ch, lago_string_t consumer_tag, void *data) { (void)ch, (void)consumer_tag, (void)data; }

static unsigned channels_of(const struct attack *attack) {
    if (attack->app == APP_LOGIN) return 0;
    return attack->app == APP_MANY || attack->app == APP_MANY_HOLD ? MANY : 1;
}

static bool holds(const struct attack *attack) { return attack->app == APP_HOLDS || attack->app == APP_MANY_HOLD; }

static void consume(const struct attack *attack, lago_channel_t *ch) {
    static char yes[] = "yes";
    lago_basic_consume_t args = { .queue = "q",
                                  .consumer_tag = "c",
                                  .auto_ack = !holds(attack) && attack->app != APP_ACKS,
                                  .on_message = attack->app == APP_PIECES ? NULL : on_message,
                                  .on_body = attack->app == APP_PIECES ? on_body : NULL,
                                  .on_cancel = on_cancel,
                                  .data = attack->app == APP_ACKS ? yes : NULL };
    lago_basic_consume(ch, &args, NULL, NULL);
    if (attack->app == APP_PAUSED) lago_consumer_pause(ch, "c");
}

void attack_begin(const struct attack *attack, lago_connection_t *conn) {
    lago_channel_options_t options = { .on_close = on_channel_close, .on_return = on_return };
    lago_queue_declare_t declare = { .queue = "q" };
    lago_basic_publish_t publish = { .routing_key = "k", .mandatory = true, .body = { "x", 1 } };
    for (unsigned i = 0; i < channels_of(attack); i++) {
        lago_channel_t *ch = NULL;
        lago_channel_open(conn, &options, &ch);
        if (attack->app != APP_CONFIRMS) consume(attack, ch);
        for (int j = 0; j < WAITING && attack->app == APP_ASKS; j++) lago_queue_declare(ch, &declare, NULL, NULL);
        if (attack->app != APP_CONFIRMS) continue;
        lago_confirm_select(ch, NULL, NULL, NULL);
        for (int j = 0; j < WAITING; j++) lago_basic_publish(ch, &publish, NULL, NULL);
    }
}

const uint8_t *attack_prologue(const struct attack *attack, size_t *size) {
    out.size = 0;
    tag = 0;
    if (attack->app != APP_LOGIN) bytes_handshake(&out);
    for (uint16_t i = 1; i <= channels_of(attack); i++) {
        struct basic_consume_ok ok = { .consumer_tag = { "c", 1 } };
        bytes_method(&out, i, METHOD_CHANNEL_OPEN_OK, NULL);
        if (attack->app == APP_CONFIRMS)
            bytes_method(&out, i, METHOD_CONFIRM_SELECT_OK, NULL);
        else
            bytes_method(&out, i, METHOD_BASIC_CONSUME_OK, &ok);
    }
    *size = out.size;
    return out.data;
}

const uint8_t *attack_block(const struct attack *attack, unsigned turn, size_t *size) {
    out.size = 0;
    attack->block(turn);
    *size = out.size;
    return out.data;
}
