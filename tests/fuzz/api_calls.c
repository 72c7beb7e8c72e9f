/*
 * What an application does in fuzz_api: decisions become calls, from outside and from inside callbacks, with arguments good and bad.
 */
#include "api_life.h"
#include <stdio.h>
#include <string.h>

static struct channel *pick(void) {
    if (life.channel_count == 0 || life.freed) return NULL;
    struct channel *channel = &life.channels[decide(&life.d) % life.channel_count];
    return channel->freed ? NULL : channel;
}

void open_channel(void) {
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

static char big[BROKER_BODY_MAX];
const size_t sizes[8] = { 0, 5, 100, 2040, 2100, 4088, 9000, BROKER_BODY_MAX };

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

void release(void) {
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
    c->rpc = NULL;
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
    case 30: more(c); break;
    default: publish(c); break;
    }
}
